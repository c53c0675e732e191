#include "tests/lib/fs_damage.h"

#include <stdlib.h>

#include "base/bytes.h"

/* ---- fsck ---- */

static void report(void *ctx, const char *line)
{
	struct fsd_told *t = ctx;

	buf_add_slice(&t->text, slice_str(line));
	buf_add_u8(&t->text, '\n');
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

static void problem(void *ctx, const struct fs_fsck_problem *p)
{
	struct fsd_told *t = ctx;
	bool known = p->ino == 0;

	for (unsigned i = 0; i < t->ino_count; i++)
		known = known || t->inos[i] == p->ino;
	if (!known && t->ino_count < 64)
		t->inos[t->ino_count++] = p->ino;
	if (has_word(t->kinds, p->kind))
		return;
	CHECK(strlen(t->kinds) + strlen(p->kind) + 2 <= sizeof(t->kinds));
	if (t->kinds[0])
		strcat(t->kinds, " ");
	strcat(t->kinds, p->kind);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_words(char *words)
{
	char copy[sizeof(((struct fsd_told *)0)->kinds)], *w[64], *save = NULL;
	size_t n = 0;

	strcpy(copy, words);
	for (char *p = strtok_r(copy, " ", &save); p && n < 64; p = strtok_r(NULL, " ", &save))
		w[n++] = p;
	qsort(w, n, sizeof(*w), by_text);
	words[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		strcat(words, i ? " " : "");
		strcat(words, w[i]);
	}
}

void fsd_fsck(struct fsx_mount *m, bool repair, struct fsd_told *t)
{
	struct fs_fsck_options o = {
		.repair = repair, .report = report, .problem = problem, .ctx = t};
	struct msg msg = {{0}};

	*t = (struct fsd_told){0};
	CHECK_OK(fs_fsck(m->fs, &o, &t->r, &msg));
	buf_add_u8(&t->text, 0);
	sort_words(t->kinds);
}

void fsd_release(struct fsd_told *t)
{
	buf_release(&t->text);
}

void fsd_expect_clean(struct fsx_mount *m)
{
	struct fsd_told t;

	fsd_fsck(m, false, &t);
	CHECK_U64_EQ(t.r.problems, 0);
	CHECK_STR_EQ((const char *)t.text.data, "");
	fsd_release(&t);
}

/* ---- damage ---- */

struct fsx_rec *fsd_rec(struct fsx_mount *m, const struct fs_key *k)
{
	struct fsx_rec *r = fsx_find(m->x, fs__key_slice(k));

	CHECK(r);
	r->version = ++m->x->version; /* it is about to be changed */
	return r;
}

struct fsx_rec *fsd_inode(struct fsx_mount *m, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	fs__hint_inode_drop(m->fs, ino);
	return fsd_rec(m, &k);
}

void fsd_put(struct fsx_mount *m, const struct fs_key *k, struct slice value)
{
	m->x->version++;
	fsx_put(m->x, fs__key_slice(k), value);
}

void fsd_delete(struct fsx_mount *m, const struct fs_key *k)
{
	(void)fsd_rec(m, k);
	fsx_delete(m->x, fs__key_slice(k));
}

void fsd_delete_inode(struct fsx_mount *m, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	fs__hint_inode_drop(m->fs, ino);
	fsd_delete(m, &k);
}

void fsd_move(struct fsx_mount *m, const struct fs_key *from, const struct fs_key *to)
{
	struct buf value = BUF_INIT;

	buf_set(&value, buf_slice(&fsd_rec(m, from)->value));
	fsd_delete(m, from);
	fsd_put(m, to, buf_slice(&value));
	buf_release(&value);
}

void fsd_resize(struct fsx_mount *m, const struct fs_key *k, size_t len)
{
	buf_resize(&fsd_rec(m, k)->value, len);
}

void fsd_set_field(struct fsx_mount *m, fs_ino ino, struct txn_field f, uint64_t v)
{
	struct fsx_rec *r = fsd_inode(m, ino);
	uint8_t b[8];

	le64_put(b, v);
	memcpy(r->value.data + f.offset, b, f.width);
}

void fsd_name_key(struct fsx_mount *m, fs_ino dir, const char *name, struct fs_key *k)
{
	struct fs_name n;

	CHECK_OK(fs__name_init(m->fs, dir, slice_str(name), &n));
	*k = n.key;
}

void fsd_put_dentry(struct fsx_mount *m, fs_ino dir, const char *name, fs_ino ino, uint16_t type)
{
	struct fs_dentry d = {.ino = ino, .type = (uint8_t)type};
	uint8_t b[FS_DENTRY_SIZE];
	struct fs_key k;

	fsd_name_key(m, dir, name, &k);
	fs__dentry_encode(b, &d);
	fsd_put(m, &k, slice_of(b, sizeof(b)));
}

void fsd_drop_dentry(struct fsx_mount *m, fs_ino dir, const char *name)
{
	struct fs_key k;

	fsd_name_key(m, dir, name, &k);
	fsd_delete(m, &k);
}

void fsd_put_reap(struct fsx_mount *m, uint64_t object, uint8_t what, uint64_t session)
{
	struct fs_reap g = {.what = what, .session = session};
	uint8_t b[FS_REAP_SIZE];
	struct fs_key k;

	fs__key_reap(&k, object, what);
	fs__reap_encode(b, &g);
	fsd_put(m, &k, slice_of(b, sizeof(b)));
}
