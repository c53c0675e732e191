/* Two mounts of one file system: each sees what the other did at once, and of calls that cannot all
 * succeed exactly one does. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define SEEDS 40u

/* ---- one after the other ---- */

FSC_CASE(changes_are_seen_at_once)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f;
	struct fs_attr in = {.mode = 0600}, a, b;

	CHECK_ERR(fsc_lookup(n, d, "f"), ERR_NOT_FOUND);
	f = fsc_file(m, d, "f", "one");
	CHECK_U64_EQ(fsc_ino(n, d, "f"), f);
	fsc_contents(n, f, "one");
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_MODE, &in, &a));
	b = fsc_attr(m, f);
	CHECK_TRUE(a.atime_ns > b.atime_ns); /* a read is told of later */
	a.atime_ns = b.atime_ns;
	CHECK_MEM_EQ(&a, &b, sizeof(a));
	CHECK_OK(fsc_rename(n, d, "f", ROOT, "g", 0));
	CHECK_ERR(fsc_lookup(m, d, "f"), ERR_NOT_FOUND);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "g"), f);
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
	CHECK_ERR(fsc_lookup(n, ROOT, "g"), ERR_NOT_FOUND);
	CHECK_ERR(fs_getattr(n->fs, f, &a), ERR_STALE);
	CHECK_OK(fsc_rmdir(n, ROOT, "d"));
	CHECK_ERR(fs_getattr(m->fs, d, &a), ERR_STALE);
}

/* What a mount remembers is wrong; the call finds out, and does the right thing. */
FSC_CASE(memories_are_checked)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f = fsc_file(m, d, "f", "1"), g, h;

	CHECK_U64_EQ(fsc_ino(m, d, "f"), f); /* remembered */
	CHECK_OK(fsc_unlink(n, d, "f"));
	CHECK_ERR(fsc_unlink(m, d, "f"), ERR_NOT_FOUND);
	g = fsc_mkdir(n, d, "f"); /* the name is something else now */
	CHECK_ERR(fsc_unlink(m, d, "f"), ERR_IS_DIR);
	CHECK_OK(fsc_rmdir(m, d, "f"));
	CHECK_ERR(fs_getattr(n->fs, g, &(struct fs_attr){0}), ERR_STALE);
	g = fsc_file(m, d, "a", "a");
	CHECK_U64_EQ(fsc_ino(m, d, "a"), g);
	CHECK_OK(fsc_rename(n, d, "a", d, "b", 0));
	h = fsc_file(n, d, "a", "other");
	CHECK_OK(fsc_rename(m, d, "a", d, "c", 0)); /* moves what is there now */
	CHECK_U64_EQ(fsc_ino(n, d, "c"), h);
	CHECK_U64_EQ(fsc_ino(n, d, "b"), g);
	CHECK_OK(fsc_link(n, g, d, "b2"));
	CHECK_OK(fsc_unlink(m, d, "b")); /* m thinks that this is the last name */
	CHECK_U64_EQ(fsc_attr(m, g).nlink, 1);
	fsc_contents(m, g, "a");
}

FSC_CASE(a_file_that_grew_elsewhere_is_deleted_whole)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "small");
	struct fs_file *file = fsc_open(n, f, FS_O_WRITE);

	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	fsc_write(file, 3 * STRIPE_SIZE, slice_str("far"));
	fs_file_close(file);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B') + fsx_count(m->x, 'S') + fsx_count(m->x, 'G'), 0);
}

/* ---- at the same time ---- */

/* The same call from `count` fibers over two mounts; how many succeeded, and how they failed. */
struct crowd;
typedef int crowd_fn(struct crowd *c, struct fsx_mount *m, unsigned i);

struct crowd {
	struct fsx *x;
	struct fsx_mount *mounts[2];
	crowd_fn *fn;
	fs_ino dirs[2], inos[8];
	unsigned count, ok, failed;
	int want; /* the error of those who lose */
};

struct member {
	struct crowd *c;
	unsigned i;
};

static void member_fiber(void *arg)
{
	struct member *b = arg;
	struct crowd *c = b->c;
	int err = c->fn(c, c->mounts[b->i % 2], b->i);

	if (err == 0) {
		c->ok++;
	} else {
		c->failed++;
		CHECK_ERR(err, c->want);
	}
}

static void run_crowd(struct crowd *c, unsigned count, crowd_fn *fn, int want)
{
	struct member members[16];

	CHECK_TRUE(count <= 16);
	c->fn = fn;
	c->want = want;
	c->count = count;
	c->ok = c->failed = 0;
	c->x->delay_ns = NS_PER_MS;
	for (unsigned i = 0; i < count; i++) {
		members[i] = (struct member){c, i};
		fsx_start(c->x, member_fiber, &members[i]);
	}
	fsx_settle(c->x);
	c->x->delay_ns = 0;
	CHECK_U64_EQ(c->ok + c->failed, count);
}

static void prepare_fiber(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < 2; i++)
		c->dirs[i] = fsc_mkdir(c->mounts[i], ROOT, i ? "d1" : "d0");
	for (int i = 0; i < 8; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		c->inos[i] = fsc_file(c->mounts[i % 2], c->dirs[0], name, name);
	}
}

/* @test for many seeds, each in a fresh cluster with d0/f0 .. d0/f7 and an empty d1. */
static void each_seed(void (*test)(struct crowd *c))
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct crowd c = {.x = fsx_new(4, seed)};

		c.mounts[0] = fsx_mount(c.x);
		c.mounts[1] = fsx_mount(c.x);
		fsx_call(c.x, prepare_fiber, &c);
		test(&c);
		fsx_umount_all(c.x);
		fsx_check(c.x, false);
		fsx_free(c.x);
	}
}

struct counting {
	struct crowd *c;
	unsigned n[2];
};

static void count_fiber(void *arg)
{
	struct counting *k = arg;

	for (int i = 0; i < 2; i++)
		k->n[i] = fsc_entries(k->c->mounts[0], k->c->dirs[i]);
}

static unsigned entries(struct crowd *c, int dir)
{
	struct counting k = {.c = c};

	fsx_call(c->x, count_fiber, &k);
	return k.n[dir];
}

static int make_x(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	struct fs_attr a;

	if (i % 3 == 0)
		return fs_mkdir(m->fs, &fsc_cred, c->dirs[1], slice_str("x"), 0777, &a);
	return fs_mknod(m->fs, &fsc_cred, c->dirs[1], slice_str("x"), S_IFREG | 0644, 0, &a);
}

static void make_test(struct crowd *c)
{
	run_crowd(c, 8, make_x, ERR_EXISTS);
	CHECK_U64_EQ(c->ok, 1);
	CHECK_U64_EQ(entries(c, 1), 1);
}

static void one_of_many_makes_a_name(void)
{
	each_seed(make_test);
}

static int unlink_f0(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	(void)i;
	return fsc_unlink(m, c->dirs[0], "f0");
}

static void unlink_test(struct crowd *c)
{
	run_crowd(c, 8, unlink_f0, ERR_NOT_FOUND);
	CHECK_U64_EQ(c->ok, 1);
	CHECK_U64_EQ(entries(c, 0), 7);
}

static void one_of_many_unlinks_a_name(void)
{
	each_seed(unlink_test);
}

static int rename_f0(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	char to[16];

	snprintf(to, sizeof(to), "to%u", i);
	return fsc_rename(m, c->dirs[0], "f0", c->dirs[i / 2 % 2], to, 0);
}

static void rename_test(struct crowd *c)
{
	run_crowd(c, 8, rename_f0, ERR_NOT_FOUND);
	CHECK_U64_EQ(c->ok, 1);
	CHECK_U64_EQ(entries(c, 0) + entries(c, 1), 8);
}

static void one_of_many_renames_a_file(void)
{
	each_seed(rename_test);
}

static int rename_onto_x(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	char from[16];

	snprintf(from, sizeof(from), "f%u", i);
	return fsc_rename(m, c->dirs[0], from, c->dirs[1], "x", 0);
}

/* Each replaces the one before it: one file is left, nothing is lost from the books. */
static void replace_test(struct crowd *c)
{
	run_crowd(c, 8, rename_onto_x, 0);
	CHECK_U64_EQ(c->ok, 8);
	CHECK_U64_EQ(entries(c, 0), 0);
	CHECK_U64_EQ(entries(c, 1), 1);
	CHECK_U64_EQ(fsx_count(c->x, 'B'), 1);
}

static void renames_onto_one_name_leave_one_file(void)
{
	each_seed(replace_test);
}

static int rename_noreplace(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	char from[16];

	snprintf(from, sizeof(from), "f%u", i);
	return fsc_rename(m, c->dirs[0], from, c->dirs[1], "x", FS_RENAME_NOREPLACE);
}

static void noreplace_test(struct crowd *c)
{
	run_crowd(c, 8, rename_noreplace, ERR_EXISTS);
	CHECK_U64_EQ(c->ok, 1);
	CHECK_U64_EQ(entries(c, 0), 7);
	CHECK_U64_EQ(entries(c, 1), 1);
}

static void one_of_many_takes_a_free_name(void)
{
	each_seed(noreplace_test);
}

/* A directory is removed while files are made in it: either the one or the others. */
static int rmdir_or_make(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	char name[16];
	int err;

	if (i == 0) {
		err = fsc_rmdir(m, ROOT, "d1");
		c->inos[0] = err == 0;
		return err == ERR_NOT_EMPTY ? ERR_NOT_FOUND : err; /* whoever loses */
	}
	snprintf(name, sizeof(name), "f%u", i);
	if (i % 2)
		return fsc_rename(m, c->dirs[0], name, c->dirs[1], name, 0);
	return fsc_link(m, c->inos[i], c->dirs[1], name);
}

static unsigned removed, kept;

static void rmdir_test(struct crowd *c)
{
	run_crowd(c, 3, rmdir_or_make, ERR_NOT_FOUND);
	if (c->inos[0]) {
		CHECK_U64_EQ(c->ok, 1);
		removed++;
	} else {
		CHECK_U64_EQ(c->ok, 2);
		CHECK_U64_EQ(entries(c, 1), 2);
		kept++;
	}
}

static void a_directory_goes_only_when_empty(void)
{
	removed = kept = 0;
	each_seed(rmdir_test);
	CHECK_TRUE(removed > 0 && kept > 0);
}

/* Two directories into each other: one of the two, or there would be a ring. */
static int cross_move(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	return i == 0 ? fsc_rename(m, ROOT, "d0", c->dirs[1], "in", 0)
		      : fsc_rename(m, ROOT, "d1", c->dirs[0], "in", 0);
}

static void cross_test(struct crowd *c)
{
	run_crowd(c, 2, cross_move, ERR_INVAL);
	CHECK_U64_EQ(c->ok, 1);
}

static void directories_do_not_swallow_each_other(void)
{
	each_seed(cross_test);
}

/* ---- appends ---- */

#define APPENDS 12u

static int append_many(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	struct fs_file *f = fsc_open(m, c->inos[0], FS_O_WRITE | FS_O_APPEND);
	uint8_t rec[64];
	int err = 0;

	for (unsigned k = 0; k < APPENDS && !err; k++) {
		uint64_t end = 0;

		memset(rec, (int)(1 + i * APPENDS + k), sizeof(rec));
		err = fs_write(f, 0, slice_of(rec, sizeof(rec)), &end);
		CHECK_U64_EQ(end % sizeof(rec), 2); /* "f0" was there before */
	}
	fs_file_close(f);
	return err;
}

static void read_appends_fiber(void *arg)
{
	struct crowd *c = arg;
	struct fs_file *f = fsc_open(c->mounts[1], c->inos[0], FS_O_READ);
	bool seen[256] = {false};
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(f, 0, WRITE_SIZE_MAX, &b));
	CHECK_U64_EQ(b.len, 2 + 8 * APPENDS * 64);
	for (size_t at = 2; at + 64 <= b.len; at += 64) {
		uint8_t what = b.data[at];

		CHECK_FALSE(seen[what]);
		seen[what] = true;
		for (size_t i = 0; i < 64; i++)
			if (b.data[at + i] != what)
				CHECK_FAIL("record at %zu is torn", at);
	}
	for (unsigned i = 1; i <= 8 * APPENDS; i++)
		CHECK_TRUE(seen[i]);
	buf_release(&b);
	fs_file_close(f);
}

static void append_test(struct crowd *c)
{
	run_crowd(c, 8, append_many, 0);
	CHECK_U64_EQ(c->ok, 8);
	fsx_call(c->x, read_appends_fiber, c);
}

static void concurrent_appends_lose_nothing(void)
{
	each_seed(append_test);
}

/* ---- links ---- */

static int link_or_unlink(struct crowd *c, struct fsx_mount *m, unsigned i)
{
	char name[16];

	snprintf(name, sizeof(name), "l%u", i);
	if (i == 0)
		return fsc_unlink(m, c->dirs[0], "f0");
	return fsc_link(m, c->inos[0], c->dirs[1], name);
}

/* A link after the last name is gone fails; one before it keeps the file. */
static void link_test(struct crowd *c)
{
	run_crowd(c, 4, link_or_unlink, ERR_STALE);
	CHECK_U64_EQ(entries(c, 0), 7);
	CHECK_U64_EQ(entries(c, 1), c->ok - 1);
	CHECK_U64_EQ(fsx_count(c->x, 'B'), c->ok > 1 ? 8 : 7);
}

static void links_and_the_last_unlink(void)
{
	each_seed(link_test);
}

/* ---- a read is never half of a write ---- */

struct torn {
	struct crowd *c;
	unsigned rounds, mixed, whole;
	uint64_t at;
	bool done;
};

static void writer_fiber(void *arg)
{
	struct torn *t = arg;
	struct fs_file *f = fsc_open(t->c->mounts[0], t->c->inos[0], FS_O_WRITE);
	size_t len = 3 * BLOCK_SIZE;
	uint8_t *p = malloc(len);

	for (unsigned i = 1; i <= 30; i++) {
		memset(p, (int)i, len);
		fsc_write(f, t->at, slice_of(p, len));
	}
	t->done = true;
	fs_file_close(f);
	free(p);
}

static void reader_fiber(void *arg)
{
	struct torn *t = arg;
	struct fs_file *f = fsc_open(t->c->mounts[1], t->c->inos[0], FS_O_READ);
	struct buf b = BUF_INIT;

	while (!t->done) {
		CHECK_OK(fs_read(f, t->at, 3 * BLOCK_SIZE, &b));
		for (size_t i = 1; i < b.len; i++)
			if (b.data[i] != b.data[0]) {
				t->mixed++;
				break;
			}
		t->rounds += b.len > 0;
		t->whole += b.len == 0 || b.len == 3 * BLOCK_SIZE;
		CHECK_OK(fiber_sleep(NS_PER_MS / 4));
	}
	buf_release(&b);
	fs_file_close(f);
}

static void read_test(struct crowd *c)
{
	static const uint64_t at[] = {2, BLOCK_SIZE * 5 + 77, STRIPE_SIZE + 77};
	static unsigned which;
	struct torn t = {.c = c, .at = at[which++ % 3]};

	c->x->delay_ns = NS_PER_MS;
	fsx_start(c->x, writer_fiber, &t);
	fsx_start(c->x, reader_fiber, &t);
	fsx_settle(c->x);
	c->x->delay_ns = 0;
	CHECK_U64_EQ(t.mixed, 0);
	CHECK_TRUE(t.rounds > 0);
}

static void reads_are_never_half_of_a_write(void)
{
	each_seed(read_test);
}

static const struct check_test tests[] = {
	CHECK_TEST(changes_are_seen_at_once),
	CHECK_TEST(memories_are_checked),
	CHECK_TEST(a_file_that_grew_elsewhere_is_deleted_whole),
	CHECK_TEST(one_of_many_makes_a_name),
	CHECK_TEST(one_of_many_unlinks_a_name),
	CHECK_TEST(one_of_many_renames_a_file),
	CHECK_TEST(renames_onto_one_name_leave_one_file),
	CHECK_TEST(one_of_many_takes_a_free_name),
	CHECK_TEST(a_directory_goes_only_when_empty),
	CHECK_TEST(directories_do_not_swallow_each_other),
	CHECK_TEST(concurrent_appends_lose_nothing),
	CHECK_TEST(links_and_the_last_unlink),
	CHECK_TEST(reads_are_never_half_of_a_write),
};
CHECK_MAIN(tests)
