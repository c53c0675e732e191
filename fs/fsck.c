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

static const char *const kind_names[] = {
	"",
#define X(kind, name) name,
	CK_KINDS(X)
#undef X
};

void ck__about(struct ck *c, enum ck_kind kind, fs_ino ino)
{
	const struct ck_inode *e = ino ? ck__inode(c, ino) : NULL;
	struct fs_key k;

	c->at.kind = kind;
	c->at.ino = ino;
	c->at.dir = e && e->names > 0 ? e->dir : 0;
	c->at.hash = e ? e->hash : 0;
	fs__key_inode(&k, ino);
	c->at.group = c->fs->b.group_of(c->fs->b.ctx, fs__key_slice(&k));
}

void ck__about_name(struct ck *c, enum ck_kind kind, fs_ino dir, uint64_t hash, fs_ino ino)
{
	ck__about(c, kind, ino);
	c->at.dir = dir;
	c->at.hash = hash;
}

static bool told_before(struct ck *c)
{
	static const uint8_t key[16] = {0};
	uint64_t digest = fs__siphash(key, c->at.text, strlen(c->at.text));
	struct ck_told *t;

	HASH_FIND(hh, c->told, &digest, sizeof(digest), t);
	if (t)
		return true;
	t = mem_must_alloc(sizeof(*t));
	t->digest = digest;
	HASH_ADD(hh, c->told, digest, sizeof(t->digest), t);
	return false;
}

static void clean(char *line) /* names are bytes; a line is a line */
{
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void report(struct ck *c)
{
	char line[CK_LINE_MAX + CK_PATH_MAX + 32];
	int n;

	if (!c->o->report)
		return;
	if (c->at.path[0])
		n = snprintf(line, sizeof(line), "%s (group %u, %s)", c->at.text,
			     (unsigned)c->at.group, c->at.path);
	else
		n = snprintf(line, sizeof(line), "%s (group %u)", c->at.text,
			     (unsigned)c->at.group);
	if (n > 0)
		c->o->report(c->o->ctx, line);
}

void ck__line(struct ck *c, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->at.text, sizeof(c->at.text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	clean(c->at.text);
	c->at.path[0] = '\0';
	if (told_before(c))
		return;
	ck__path(c, c->at.path);
	clean(c->at.path);
	report(c);
}

static void tell_problem(struct ck *c, enum fs_fsck_outcome outcome, int err)
{
	struct fs_fsck_problem p = {.kind = kind_names[c->at.kind],
				    .text = c->at.text,
				    .path = c->at.path,
				    .ino = c->at.ino,
				    .group = c->at.group,
				    .outcome = outcome,
				    .err = err};

	if (c->o->problem)
		c->o->problem(c->o->ctx, &p);
}

/* What has changed since it was looked at may be right by now: the next pass will see. */
static bool has_changed(int err)
{
	return err == ERR_CONDITION || err == ERR_NOT_FOUND || err == ERR_STALE;
}

void ck__problem(struct ck *c, bool tried, int err)
{
	bool again = tried && has_changed(err);

	if (tried && !err)
		c->mended++;
	else if (again)
		c->changed++;
	else
		c->left++;
	tell_problem(c, tried && !err ? FS_FSCK_MENDED : FS_FSCK_LEFT, tried ? err : 0);
	if (tried && err && !again && c->o->report)
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
	if (!err && c->round == 0)
		err = ck__check_meta(c);
	if (!err && c->round > 0)
		keep_common(c);
	if (!err)
		err = verify_all(c, &c->verify);
	return err;
}

static int pass_once(struct ck *c)
{
	int err = 0;

	c->mended = c->left = c->changed = 0;
	c->now.count = c->before.count = 0;
	for (c->round = 0; c->round < CK_ROUNDS && !err; c->round++) {
		err = round_once(c);
		if (c->now.count == 0)
			break;
	}
	if (!err)
		err = verify_all(c, &c->now);
	ck__about(c, CK_LOCK_WAIT, 0);
	return err ? err : ck__verify_waits(c);
}

static int passes(struct ck *c, struct msg *m)
{
	uint64_t mended = 0;
	int err = 0;

	for (c->pass = 0; c->pass < CK_PASSES_MAX && !err; c->pass++) {
		err = pass_once(c);
		mended += c->mended;
		if (c->mended + c->changed == 0)
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

	ck__table_release(&c->inodes);
	ck__table_release(&c->data);
	HASH_ITER(hh, c->told, t, next) {
		HASH_DEL(c->told, t);
		mem_free(t);
	}
	mem_free(c->reaps);
	mem_free(c->now.v);
	mem_free(c->before.v);
	mem_free(c->verify.v);
	mem_free(c);
}

int fs_fsck(struct fs *fs, const struct fs_fsck_options *o, struct fs_fsck_result *out,
	    struct msg *m)
{
	struct fs_fsck_result r = {0};
	struct ck *c = mem_must_alloc(sizeof(*c));
	int err;

	*c = (struct ck){.fs = fs,
			 .o = o,
			 .r = &r,
			 .inodes.row_size = sizeof(struct ck_inode),
			 .data.row_size = sizeof(struct ck_data)};
	err = passes(c, m);
	release(c);
	*out = r;
	return err;
}
