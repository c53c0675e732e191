/* The tree that damage is planted in, and what happens to it. */
#include <stdio.h>

#include "tests/lib/fs_damage.h"

#define ROOT	 FS_ROOT_INO
#define PUT_SIZE 200000u

/* owner rwx, user 7 rw-, group r-x, mask rwx, other r-x */
static const char list[] = "\2\0\0\0"
			   "\1\0\7\0\377\377\377\377\2\0\6\0\7\0\0\0\4\0\5\0\377\377\377\377"
			   "\20\0\7\0\377\377\377\377\40\0\5\0\377\377\377\377";

static void put_big_value(struct fsx_mount *m)
{
	struct buf v = BUF_INIT;

	buf_resize(&v, PUT_SIZE);
	memset(v.data, 'p', v.len);
	for (int i = 0; i < 2; i++) /* the second one gets new data */
		CHECK_OK(fs_kv_put(m->fs, &fsc_cred, slice_str("/put"), buf_slice(&v), false));
	buf_release(&v);
}

static void make_tree(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_inode rec;
	struct fs_file *f;
	struct fs_attr a;

	t->d = fsc_mkdir(m, ROOT, "d");
	t->sub = fsc_mkdir(m, t->d, "sub");
	t->low = fsc_mkdir(m, t->sub, "low");
	t->deep = fsc_file(m, t->low, "deep", "deep");
	t->f = fsc_file(m, t->d, "f", "text");
	t->g = fsc_file(m, t->d, "g", "linked");
	CHECK_OK(fsc_link(m, t->g, ROOT, "g2"));
	t->big = fsc_file(m, ROOT, "big", "");
	f = fsc_open(m, t->big, FS_O_WRITE);
	fsc_write(f, STRIPE_SIZE + 5, slice_str("far"));
	fs_file_close(f);
	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("link"), slice_str("d/f"), &a));
	t->link = a.ino;
	put_big_value(m);
	t->put = fsc_ino(m, ROOT, "put");
	CHECK_OK(fs__inode_get(m->fs, t->put, &rec));
	CHECK(rec.data_id != t->put);
	t->listed = fsc_file(m, ROOT, "listed", "");
	CHECK_OK(fs_setxattr(m->fs, t->listed, slice_str("system.posix_acl_access"),
			     slice_of(list, 44), 0));
	CHECK_OK(fs_setxattr(m->fs, t->listed, slice_str("security.capability"), slice_str("c"), 0));
	CHECK_OK(fs_setxattr(m->fs, t->listed, slice_str("user.x"), slice_str("v"), 0));
	t->empty = fsc_file(m, ROOT, "empty", "");
	t->open = fsc_file(m, ROOT, "open", "open");
	t->file = fsc_open(m, t->open, FS_O_READ);
	CHECK_OK(fsc_unlink(m, ROOT, "open"));
}

/* ---- is it all there? ---- */

static void check_value(struct fsx_mount *m, fs_ino ino, const char *name, struct slice want)
{
	struct buf got = BUF_INIT;

	CHECK_OK(fs_getxattr(m->fs, ino, slice_str(name), &got));
	CHECK_SLICE_EQ(buf_slice(&got), want);
	buf_release(&got);
}

static void check_put(struct fsx_mount *m)
{
	struct buf v = BUF_INIT;

	CHECK_OK(fs_kv_get(m->fs, slice_str("/put"), &v, NULL));
	CHECK_U64_EQ(v.len, PUT_SIZE);
	for (size_t i = 0; i < v.len; i++)
		CHECK(v.data[i] == 'p');
	buf_release(&v);
}

static void check_big(struct fsx_mount *m, fs_ino big)
{
	struct fs_file *f = fsc_open(m, big, FS_O_READ);
	struct buf v = BUF_INIT;

	CHECK_U64_EQ(fsc_attr(m, big).size, STRIPE_SIZE + 8);
	CHECK_OK(fs_read(f, STRIPE_SIZE + 5, 10, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("far"));
	fs_file_close(f);
	buf_release(&v);
}

static void check_open(struct fsx_mount *m, struct fs_file *f)
{
	struct buf v = BUF_INIT;

	(void)m;
	CHECK_OK(fs_read(f, 0, 10, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("open"));
	buf_release(&v);
}

static void check_listed(struct fsx_mount *m, fs_ino ino)
{
	CHECK_U64_EQ(fsc_attr(m, ino).mode & 07777, 0775);
	check_value(m, ino, "system.posix_acl_access", slice_of(list, 44));
	check_value(m, ino, "security.capability", slice_str("c"));
	check_value(m, ino, "user.x", slice_str("v"));
}

static void check_link(struct fsx_mount *m, fs_ino ino)
{
	struct buf v = BUF_INIT;

	CHECK_U64_EQ(fsc_ino(m, ROOT, "link"), ino);
	CHECK_OK(fs_readlink(m->fs, ino, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("d/f"));
	buf_release(&v);
}

static void check_tree(struct fsx_mount *m, struct fsd_tree *t, unsigned spoiled)
{
	if (!(spoiled & FSD_D))
		CHECK_U64_EQ(fsc_ino(m, ROOT, "d"), t->d);
	if (!(spoiled & FSD_SUB)) {
		CHECK_U64_EQ(fsc_ino(m, t->d, "sub"), t->sub);
		CHECK_U64_EQ(fsc_ino(m, t->sub, "low"), t->low);
		CHECK_U64_EQ(fsc_ino(m, t->low, "deep"), t->deep);
		fsc_contents(m, t->deep, "deep");
	}
	if (!(spoiled & FSD_F)) {
		CHECK_U64_EQ(fsc_ino(m, t->d, "f"), t->f);
		fsc_contents(m, t->f, "text");
	}
	if (!(spoiled & FSD_G)) {
		CHECK_U64_EQ(fsc_ino(m, t->d, "g"), t->g);
		CHECK_U64_EQ(fsc_ino(m, ROOT, "g2"), t->g);
		CHECK_U64_EQ(fsc_attr(m, t->g).nlink, 2);
		fsc_contents(m, t->g, "linked");
	}
	if (!(spoiled & FSD_BIG))
		check_big(m, t->big);
	if (!(spoiled & FSD_LINK))
		check_link(m, t->link);
	if (!(spoiled & FSD_PUT))
		check_put(m);
	if (!(spoiled & FSD_LISTED))
		check_listed(m, t->listed);
	if (!(spoiled & FSD_EMPTY))
		fsc_contents(m, t->empty, "");
	if (!(spoiled & FSD_OPEN))
		check_open(m, t->file);
}

/* ---- a case ---- */

static const struct fsd_case *at; /* the case that is running */

static uint64_t sum_of(const struct fsx *x)
{
	struct fsx_rec *r;
	uint64_t h = 0;

	RB_FOREACH(r, fsx_tree, (struct fsx_tree *)(uintptr_t)&x->tree)
		h = txn_range_hash(h, buf_slice(&r->key), r->version);
	return h;
}

static void expect_told(struct fsx_mount *m, const char *kinds)
{
	uint64_t sum = sum_of(m->x);
	struct fsd_told t;

	fsd_fsck(m, false, &t);
	if (strcmp(t.kinds, kinds) != 0)
		fprintf(stderr, "%s: %s", at->name, (const char *)t.text.data);
	CHECK_STR_EQ(t.kinds, kinds);
	CHECK_TRUE(t.r.problems > 0);
	CHECK_U64_EQ(t.r.repaired, 0);
	CHECK_U64_EQ(sum_of(m->x), sum);
	fsd_release(&t);
}

static void expect_mended(struct fsx_mount *m)
{
	struct fsd_told t;

	fsd_fsck(m, true, &t);
	if (t.r.problems != t.r.repaired)
		fprintf(stderr, "%s: %s", at->name, (const char *)t.text.data);
	CHECK_U64_EQ(t.r.problems, t.r.repaired);
	CHECK_TRUE(t.r.repaired > 0);
	fsd_release(&t);
	fsd_expect_clean(m);
	fsx_check(m->x, true); /* /open is held */
}

static void run_in(struct fsx_mount *m)
{
	struct fsd_tree t = {0};

	make_tree(m, &t);
	fsd_expect_clean(m);
	check_tree(m, &t, 0);
	at->plant(m, &t);
	expect_told(m, at->kinds);
	if (!at->stays)
		expect_mended(m);
	check_tree(m, &t, at->spoils);
	if (at->check)
		at->check(m, &t);
	fs_file_close(t.file);
	fsc_idle(m);
}

void fsd_run_cases(const struct fsd_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct fsx *x = fsx_new(4, 7 + i);
		unsigned failures = check_failures();

		at = &cases[i];
		x->hash_mask = at->hash_mask ? at->hash_mask : x->hash_mask;
		fsc_run_on(x, run_in);
		if (check_failures() > failures)
			fprintf(stderr, "in case \"%s\"\n", at->name);
	}
}
