/* The online check: passes, rounds, and what is told of them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/fsck.h"

struct ck_told { /* a line that has been reported, so that later passes do not repeat it */
	uint64_t digest;
	UT_hash_handle hh;
};

/* ---- telling ---- */

void ck__line(struct ck *c, const char *fmt, ...)
{
	static const uint8_t key[16] = {0};
	char line[CK_LINE_MAX];
	struct ck_told *t;
	uint64_t digest;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	for (char *p = line; *p; p++) /* names are bytes; a line is a line */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	digest = fs__siphash(key, line, strlen(line));
	HASH_FIND(hh, c->told, &digest, sizeof(digest), t);
	if (t)
		return;
	t = mem_must_alloc(sizeof(*t));
	t->digest = digest;
	HASH_ADD(hh, c->told, digest, sizeof(t->digest), t);
	if (c->o->report)
		c->o->report(c->o->ctx, line);
}

void ck__problem(struct ck *c, bool tried, int err)
{
	if (tried && !err)
		c->mended++;
	else
		c->left++;
	if (tried && err && c->o->report)
		ck__line(c, "  could not be repaired: %s", err_text(err));
}

/* ---- rounds ---- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ck_suspect)); /* any order will do */
}

static bool listed(const struct ck_list *l, const struct ck_suspect *s)
{
	return bsearch(s, l->v, l->count, sizeof(*s), compare) != NULL;
}

/* Keeps of this round's suspects those that the round before had, too. */
static void keep_common(struct ck *c)
{
	uint32_t n = 0;

	if (c->before.count > 0)
		qsort(c->before.v, c->before.count, sizeof(*c->before.v), compare);
	for (uint32_t i = 0; c->before.count > 0 && i < c->now.count; i++)
		if (listed(&c->before, &c->now.v[i]))
			c->now.v[n++] = c->now.v[i];
	c->now.count = n;
}

static int verify_all(struct ck *c, const struct ck_list *l)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < l->count; i++)
		err = fiber_interrupted() ? ERR_INTERRUPTED : ck__verify(c, &l->v[i]);
	return err;
}

static int round_once(struct ck *c)
{
	struct ck_list swap = c->before;
	int err;

	c->before = c->now;
	c->now = swap;
	c->now.count = c->verify.count = 0;
	err = ck__scan(c);
	if (!err)
		err = ck__collect(c);
	if (!err && c->round > 0)
		keep_common(c);
	if (!err)
		err = verify_all(c, &c->verify);
	return err;
}

static int pass_once(struct ck *c)
{
	int err = 0;

	c->mended = c->left = 0;
	c->now.count = c->before.count = 0;
	for (c->round = 0; c->round < CK_ROUNDS && !err; c->round++) {
		err = round_once(c);
		if (c->now.count == 0)
			break;
	}
	if (!err)
		err = verify_all(c, &c->now);
	return err ? err : ck__verify_waits(c);
}

static int passes(struct ck *c, struct msg *m)
{
	uint64_t mended = 0;
	int err = 0;

	for (c->pass = 0; c->pass < CK_PASSES_MAX && !err; c->pass++) {
		err = pass_once(c);
		mended += c->mended;
		if (c->mended == 0)
			break;
	}
	c->r->repaired = mended;
	c->r->problems = mended + c->left;
	if (err)
		return msg_set(m, err, "the check stopped after %llu keys: %s",
			       (unsigned long long)c->keys, err_text(err));
	return 0;
}

static void release(struct ck *c)
{
	struct ck_told *t, *next;

	ck__clear(c);
	HASH_ITER(hh, c->told, t, next) {
		HASH_DEL(c->told, t);
		mem_free(t);
	}
	mem_free(c->reaps);
	mem_free(c->now.v);
	mem_free(c->before.v);
	mem_free(c->verify.v);
}

int fs_fsck(struct fs *fs, const struct fs_fsck_options *o, struct fs_fsck_result *out,
	    struct msg *m)
{
	struct fs_fsck_result r = {0};
	struct ck c = {.fs = fs, .o = o, .r = &r};
	int err = passes(&c, m);

	release(&c);
	*out = r;
	return err;
}
