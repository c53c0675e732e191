/* Listings: cookies, names that come and go meanwhile, large directories, equal hashes. */
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO

struct seen {
	char name[FS_NAME_MAX + 1];
	unsigned times;
	fs_ino ino;
	UT_hash_handle hh;
};

/* A listing in pieces: at most `piece` entries a call, then again from the last cookie. */
struct listing {
	struct seen *names;
	uint64_t cookie;
	unsigned piece, in_piece, total, with_attr, without;
	bool attrs;
};

static bool take(void *ctx, const struct fs_dirent *d)
{
	struct listing *l = ctx;
	struct seen *s;
	char name[FS_NAME_MAX + 1] = {0};

	if (l->in_piece == l->piece)
		return false;
	l->in_piece++;
	l->total++;
	CHECK_TRUE(d->cookie > l->cookie && d->cookie >> 63 == 0);
	CHECK_TRUE(d->name.len > 0 && d->name.len <= FS_NAME_MAX);
	l->cookie = d->cookie;
	memcpy(name, d->name.p, d->name.len);
	HASH_FIND_STR(l->names, name, s);
	if (!s) {
		s = mem_must_alloc(sizeof(*s));
		memcpy(s->name, name, sizeof(name));
		HASH_ADD_STR(l->names, name, s);
	}
	s->times++;
	s->ino = d->ino;
	if (d->attr) {
		l->with_attr++;
		CHECK_U64_EQ(d->attr->ino, d->ino);
		CHECK_U64_EQ(d->attr->mode >> 12, d->type);
	} else {
		l->without++;
	}
	return true;
}

/* One call; true while there is more. */
static bool list_piece(struct fsx_mount *m, fs_ino dir, struct listing *l)
{
	l->in_piece = 0;
	CHECK_OK(fs_readdir(m->fs, dir, l->cookie, l->attrs, take, l));
	return l->in_piece == l->piece;
}

static unsigned times(const struct listing *l, const char *name)
{
	struct seen *s;

	HASH_FIND_STR(l->names, name, s);
	return s ? s->times : 0;
}

static void release(struct listing *l)
{
	struct seen *s, *next;

	HASH_ITER(hh, l->names, s, next) {
		HASH_DEL(l->names, s);
		mem_free(s);
	}
	l->names = NULL;
}

static void make_files(struct fsx_mount *m, fs_ino dir, const char *prefix, int from, int to)
{
	for (int i = from; i < to; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s%d", prefix, i);
		CHECK_OK(fs_mknod(m->fs, &fsc_cred, dir, slice_str(name), S_IFREG | 0644, 0,
				  NULL));
	}
}

FSC_CASE(an_empty_directory_has_two_entries)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), e = fsc_mkdir(m, d, "e");
	struct listing l = {.piece = 10};
	struct seen *s;

	CHECK_FALSE(list_piece(m, e, &l));
	CHECK_U64_EQ(l.total, 2);
	HASH_FIND_STR(l.names, ".", s);
	CHECK_TRUE(s && s->ino == e);
	HASH_FIND_STR(l.names, "..", s);
	CHECK_TRUE(s && s->ino == d);
	release(&l);
}

FSC_CASE(what_cannot_be_listed)
{
	struct listing l = {.piece = 10};
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_ERR(fs_readdir(m->fs, f, 0, false, take, &l), ERR_NOT_DIR);
	CHECK_ERR(fs_readdir(m->fs, 4711, 0, false, take, &l), ERR_STALE);
	CHECK_U64_EQ(l.total, 0);
}

FSC_CASE(all_once_in_pieces_of_any_size)
{
	static const unsigned pieces[] = {1, 2, 3, 7, 100, 255, 256, 257, 5000};
	fs_ino d = fsc_mkdir(m, ROOT, "d");

	make_files(m, d, "f", 0, 1500);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct listing l = {.piece = pieces[i]};

		while (list_piece(m, d, &l))
			;
		CHECK_U64_EQ(l.total, 1502);
		CHECK_U64_EQ(HASH_COUNT(l.names), 1502);
		CHECK_U64_EQ(times(&l, "f0"), 1);
		CHECK_U64_EQ(times(&l, "f1499"), 1);
		release(&l);
	}
}

FSC_CASE(few_requests_for_many_entries)
{
	struct listing l = {.piece = 100000};
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	uint64_t reads;

	make_files(m, d, "f", 0, 5000);
	reads = m->x->reads;
	list_piece(m, d, &l);
	CHECK_U64_EQ(l.total, 5002);
	CHECK_TRUE(m->x->reads - reads <= 10);
	release(&l);
}

FSC_CASE(attributes_come_along_where_they_can)
{
	struct listing l = {.piece = 1000, .attrs = true};
	fs_ino d = fsc_mkdir(m, ROOT, "d"), far;
	struct seen *s;

	make_files(m, d, "f", 0, 100);
	far = fsc_mkdir_far(m, d, "far", d);
	while (list_piece(m, d, &l))
		;
	HASH_FIND_STR(l.names, "f7", s);
	CHECK_TRUE(s && s->ino == fsc_ino(m, d, "f7"));
	CHECK_TRUE(far != 0);
	CHECK_TRUE(l.with_attr >= 100);
	CHECK_TRUE(l.without >= 1); /* of the directory in another group */
	release(&l);
}

/* Names that are there all the time are seen once, whatever else happens between the calls. */
FSC_CASE(names_come_and_go_meanwhile)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct listing l = {.piece = 13};
	char name[32];
	int step = 0;

	make_files(m, d, "stay", 0, 400);
	make_files(m, d, "go", 0, 400);
	while (list_piece(m, d, &l)) {
		for (int i = 0; i < 8 && step * 8 + i < 400; i++) {
			snprintf(name, sizeof(name), "go%d", step * 8 + i);
			CHECK_OK(fsc_unlink(n, d, name));
		}
		make_files(n, d, "new", step * 5, step * 5 + 5);
		step++;
	}
	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "stay%d", i);
		CHECK_U64_EQ(times(&l, name), 1);
		snprintf(name, sizeof(name), "go%d", i);
		CHECK_TRUE(times(&l, name) <= 1);
	}
	release(&l);
}

/* rm -r: unlinks what it lists, page by page. */
FSC_CASE(removing_while_listing)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct listing l = {.piece = 50};
	struct seen *s, *next;
	bool more = true;

	make_files(m, d, "f", 0, 700);
	while (more) {
		more = list_piece(m, d, &l);
		HASH_ITER(hh, l.names, s, next)
			if (s->name[0] == 'f')
				CHECK_OK(fsc_unlink(m, d, s->name));
		release(&l);
	}
	CHECK_OK(fsc_rmdir(m, ROOT, "d"));
}

FSC_CASE(over_several_groups)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct listing l = {.piece = 17};
	struct fs_key k;

	make_files(m, d, "f", 0, 500);
	for (uint64_t i = 1; i < 5; i++) {
		fs__key_dentry(&k, d, i << 60, (struct slice){0});
		fsx_split(m->x, fs__key_slice(&k), (uint32_t)(6 + i));
	}
	while (list_piece(m, d, &l))
		;
	CHECK_U64_EQ(l.total, 502);
	CHECK_U64_EQ(HASH_COUNT(l.names), 502);
	release(&l);
}

/* ---- equal hashes ---- */

static void with_mask(uint64_t mask, fsc_fn *fn)
{
	struct fsx *x = fsx_new(4, 1);

	x->hash_mask = mask;
	fsc_run_on(x, fn);
}

static void ties_in(struct fsx_mount *m)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct listing l = {.piece = 9};
	struct fs_attr a;
	char name[32];
	int made = 0;

	for (; made < 200; made++) {
		int err;

		snprintf(name, sizeof(name), "f%d", made);
		err = fs_mknod(m->fs, &fsc_cred, d, slice_str(name), S_IFREG | 0644, 0, &a);
		if (err) {
			CHECK_ERR(err, ERR_NOSPACE); /* all ties of the hash are taken */
			break;
		}
	}
	CHECK_INT_EQ(made, FS_TIES_MAX);
	CHECK_ERR(fs_mknod(m->fs, &fsc_cred, d, slice_str("f5"), S_IFREG, 0, &a), ERR_EXISTS);
	CHECK_U64_EQ(fsc_ino(m, d, "f127") != 0, 1);
	CHECK_ERR(fsc_lookup(m, d, "f128"), ERR_NOT_FOUND);
	while (list_piece(m, d, &l))
		;
	CHECK_U64_EQ(l.total, FS_TIES_MAX + 2);
	CHECK_U64_EQ(HASH_COUNT(l.names), FS_TIES_MAX + 2);
	release(&l);
	CHECK_OK(fsc_unlink(m, d, "f77"));
	CHECK_OK(fs_mknod(m->fs, &fsc_cred, d, slice_str("again"), S_IFREG | 0644, 0, &a));
	CHECK_OK(fsc_rename(m, d, "f3", d, "f4", 0)); /* takes the tie of what it replaces */
	CHECK_OK(fsc_rename(m, d, "f5", d, "other", 0));
	CHECK_U64_EQ(fsc_entries(m, d), FS_TIES_MAX - 1);
}

static void all_hashes_are_equal(void)
{
	with_mask(0, ties_in);
}

/* A few bits of hash: runs everywhere; cookies stay true over changes. */
static void short_hashes_in(struct fsx_mount *m)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct listing l = {.piece = 5};
	char name[32];
	int step = 0;

	make_files(m, d, "stay", 0, 300);
	make_files(m, d, "go", 0, 300);
	while (list_piece(m, d, &l)) {
		if (step < 300) {
			snprintf(name, sizeof(name), "go%d", step);
			CHECK_OK(fsc_unlink(n, d, name));
			make_files(n, d, "new", step, step + 1);
		}
		step++;
	}
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "stay%d", i);
		CHECK_U64_EQ(times(&l, name), 1);
	}
	release(&l);
	l = (struct listing){.piece = 100000}; /* pages end within runs */
	CHECK_FALSE(list_piece(m, d, &l));
	CHECK_U64_EQ(l.total, 2 + fsx_count(m->x, 'D') - 1);
	CHECK_U64_EQ(HASH_COUNT(l.names), l.total);
	CHECK_TRUE(l.total > 500);
	release(&l);
}

static void short_hashes(void)
{
	with_mask(0x1full << 58, short_hashes_in);
}

static const struct check_test tests[] = {
	CHECK_TEST(an_empty_directory_has_two_entries),
	CHECK_TEST(what_cannot_be_listed),
	CHECK_TEST(all_once_in_pieces_of_any_size),
	CHECK_TEST(few_requests_for_many_entries),
	CHECK_TEST(attributes_come_along_where_they_can),
	CHECK_TEST(names_come_and_go_meanwhile),
	CHECK_TEST(removing_while_listing),
	CHECK_TEST(over_several_groups),
	CHECK_TEST(all_hashes_are_equal),
	CHECK_TEST(short_hashes),
};
CHECK_MAIN(tests)
