/* Many fibers over several mounts do what comes to their mind, with few names, so that they are in
 * each other's way; afterwards what is stored must be whole. With and without faults. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT   FS_ROOT_INO
#define MOUNTS 2u
#define FIBERS 6u
#define DIRS   6u
#define NAMES  5u

struct world {
	struct fsx *x;
	struct fsx_mount *mounts[MOUNTS];
	fs_ino dirs[DIRS]; /* known directories; some are gone */
	unsigned steps;
	uint64_t done[16], failed[16]; /* by operation */
	bool timeouts;		       /* are an answer */
	bool splits;		       /* shards are split meanwhile */
};

struct actor {
	struct world *w;
	struct fsx_mount *m;
	struct fs_file *open; /* held over several operations */
};

static uint64_t draw(struct world *w, uint64_t n)
{
	return fsx_random(w->x) % n;
}

static fs_ino any_dir(struct world *w)
{
	return w->dirs[draw(w, DIRS)];
}

static struct slice any_name(struct world *w)
{
	static const char *names[NAMES] = {"a", "b", "c", "d", "e"};

	return slice_str(names[draw(w, NAMES)]);
}

/* ---- operations ---- */

static int do_mkdir(struct actor *t)
{
	struct world *w = t->w;
	struct fs_attr a;
	int err = fs_mkdir(t->m->fs, &fsc_cred, any_dir(w), any_name(w), 0777, &a);

	if (!err)
		w->dirs[1 + draw(w, DIRS - 1)] = a.ino;
	return err;
}

static int do_create(struct actor *t)
{
	struct fs_file *f = NULL;
	struct fs_attr a;
	int err = fs_create(t->m->fs, &fsc_cred, any_dir(t->w), any_name(t->w), S_IFREG | 0644,
			    FS_O_READ | FS_O_WRITE | (draw(t->w, 2) ? FS_O_EXCL : 0), &a, &f);

	if (err)
		return err;
	if (t->open)
		fs_file_close(t->open);
	t->open = f;
	return 0;
}

static int do_symlink(struct actor *t)
{
	struct fs_attr a;

	return fs_symlink(t->m->fs, &fsc_cred, any_dir(t->w), any_name(t->w), slice_str("t"), &a);
}

static int do_unlink(struct actor *t)
{
	return fs_unlink(t->m->fs, any_dir(t->w), any_name(t->w));
}

static int do_rmdir(struct actor *t)
{
	return fs_rmdir(t->m->fs, any_dir(t->w), any_name(t->w));
}

static int do_rename(struct actor *t)
{
	static const unsigned flags[] = {0, 0, 0, FS_RENAME_NOREPLACE, FS_RENAME_EXCHANGE};

	return fs_rename(t->m->fs, any_dir(t->w), any_name(t->w), any_dir(t->w), any_name(t->w),
			 flags[draw(t->w, 5)]);
}

static int do_link(struct actor *t)
{
	struct fs_attr a;
	int err = fs_lookup(t->m->fs, any_dir(t->w), any_name(t->w), &a);

	return err ? err : fs_link(t->m->fs, a.ino, any_dir(t->w), any_name(t->w), &a);
}

static int do_open(struct actor *t)
{
	struct fs_file *f;
	struct fs_attr a;
	int err = fs_lookup(t->m->fs, any_dir(t->w), any_name(t->w), &a);

	if (!err)
		err = fs_file_open(t->m->fs, a.ino,
				   FS_O_READ | FS_O_WRITE | (draw(t->w, 2) ? FS_O_APPEND : 0), &f);
	if (err)
		return err;
	if (t->open)
		fs_file_close(t->open);
	t->open = f;
	return 0;
}

static int do_close(struct actor *t)
{
	if (t->open)
		fs_file_close(t->open);
	t->open = NULL;
	return 0;
}

static int do_write(struct actor *t)
{
	static const uint64_t at[] = {0, 10, BLOCK_SIZE - 3, STRIPE_SIZE - 5, 2 * STRIPE_SIZE};

	return t->open ? fs_write(t->open, at[draw(t->w, 5)], slice_str("some bytes"), NULL) : 0;
}

static int do_truncate(struct actor *t)
{
	struct fs_attr in = {.size = draw(t->w, 2) ? 0 : draw(t->w, 3 * STRIPE_SIZE)}, a;
	int err = fs_lookup(t->m->fs, any_dir(t->w), any_name(t->w), &a);

	return err ? err : fs_setattr(t->m->fs, a.ino, FS_SET_SIZE, &in, &a);
}

static int do_xattr(struct actor *t)
{
	struct fs_attr a;
	int err = fs_lookup(t->m->fs, any_dir(t->w), any_name(t->w), &a);

	if (err)
		return err;
	if (draw(t->w, 3) == 0)
		return fs_removexattr(t->m->fs, a.ino, slice_str("user.x"));
	return fs_setxattr(t->m->fs, a.ino, slice_str("user.x"), slice_str("v"), 0);
}

static bool count(void *ctx, const struct fs_dirent *d)
{
	(void)d;
	++*(unsigned *)ctx;
	return true;
}

static int do_list(struct actor *t)
{
	unsigned n = 0;
	int err = fs_readdir(t->m->fs, any_dir(t->w), 0, true, count, &n);

	CHECK_TRUE(n <= NAMES + 2);
	return err;
}

static int do_read(struct actor *t)
{
	struct buf b = BUF_INIT;
	int err = t->open ? fs_read(t->open, draw(t->w, 2) ? 0 : STRIPE_SIZE - 100, 200, &b) : 0;

	buf_release(&b);
	return err;
}

static int (*const ops[])(struct actor *t) = {
	do_mkdir, do_create, do_symlink, do_unlink, do_rmdir,	 do_rename, do_link,
	do_open,  do_close,  do_write,	 do_read,   do_truncate, do_xattr,  do_list,
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

/* What such calls may answer. CORRUPT, BUSY and what only transactions say are not among them. */
static bool is_answer(const struct world *w, int err)
{
	static const int answers[] = {0,	      ERR_EXISTS, ERR_NOT_FOUND, ERR_NOT_DIR,
				      ERR_IS_DIR,     ERR_INVAL,  ERR_NOT_EMPTY, ERR_STALE,
				      ERR_NO_DATA,    ERR_PERM,	  ERR_LOOP};

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (err == answers[i])
			return true;
	return w->timeouts && err == ERR_TIMEOUT;
}

static void actor_fiber(void *arg)
{
	struct actor *t = arg;

	for (unsigned i = 0; i < t->w->steps; i++) {
		unsigned op = (unsigned)draw(t->w, OPS);
		int err = ops[op](t);

		if (!is_answer(t->w, err))
			CHECK_FAIL("operation %u of the list answers %s", op, err_name(err));
		if (err)
			t->w->failed[op]++;
		else
			t->w->done[op]++;
	}
	(void)do_close(t);
}

/* Cuts directories and files in two, so that their keys lie in several groups. */
static void splitter_fiber(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < 12; i++) {
		fs_ino dir = any_dir(w);
		struct fs_key k;

		CHECK_OK(fiber_sleep(draw(w, 20 * NS_PER_MS)));
		if (draw(w, 2))
			fs__key_dentry(&k, dir, draw(w, 1ull << 63), (struct slice){0});
		else
			fs__key_head(&k, fs__place(dir), dir + draw(w, 50), FS_KIND_INODE);
		fsx_split(w->x, fs__key_slice(&k), 5 + i);
	}
}

static void dirs_fiber(void *arg)
{
	struct world *w = arg;

	w->dirs[0] = ROOT;
	for (unsigned i = 1; i < DIRS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%c", 'a' + (int)i - 1);
		w->dirs[i] = fsc_mkdir(w->mounts[0], i < 4 ? ROOT : w->dirs[i - 3], name);
	}
}

/* One world; @total collects what was done and what failed. */
static void run_world(uint64_t seed, unsigned fault_percent, bool no_timeouts, uint64_t mask,
		      struct world *total)
{
	struct world w = {.x = fsx_new(4, seed), .steps = 120};
	struct actor actors[FIBERS];

	w.x->hash_mask = mask;
	for (unsigned i = 0; i < MOUNTS; i++)
		w.mounts[i] = fsx_mount(w.x);
	fsx_call(w.x, dirs_fiber, &w);
	w.x->delay_ns = NS_PER_MS;
	w.x->fault_percent = fault_percent;
	w.x->no_timeouts = no_timeouts;
	w.timeouts = fault_percent > 0 && !no_timeouts;
	for (unsigned i = 0; i < FIBERS; i++) {
		actors[i] = (struct actor){.w = &w, .m = w.mounts[i % MOUNTS]};
		fsx_start(w.x, actor_fiber, &actors[i]);
	}
	if (total->splits)
		fsx_start(w.x, splitter_fiber, &w);
	fsx_settle(w.x);
	w.x->fault_percent = 0;
	fsx_umount_all(w.x);
	fsx_check(w.x, w.timeouts); /* an unlink whose end is not known is not reaped */
	for (unsigned i = 0; i < OPS; i++) {
		total->done[i] += w.done[i];
		total->failed[i] += w.failed[i];
	}
	fsx_free(w.x);
}

static void run_seeds(uint64_t seeds, unsigned fault_percent, bool no_timeouts, uint64_t mask,
		      bool splits)
{
	struct world total = {.splits = splits};
	unsigned failures = check_failures();

	for (uint64_t seed = 1; seed <= seeds && check_failures() == failures; seed++) {
		run_world(seed, fault_percent, no_timeouts, mask, &total);
		if (check_failures() != failures)
			fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	}
	for (unsigned i = 0; i < OPS; i++) /* each is done often enough to say something */
		if (check_failures() == failures)
			CHECK_TRUE(total.done[i] >= seeds);
}

static void the_tree_stays_whole(void)
{
	run_seeds(80, 0, false, UINT64_MAX, false);
}

static void with_equal_hashes(void)
{
	run_seeds(30, 0, false, 0, false);
}

static void with_aborted_transactions(void)
{
	run_seeds(40, 15, true, UINT64_MAX, false);
}

static void with_lost_requests_and_replies(void)
{
	run_seeds(60, 10, false, UINT64_MAX, false);
}

static void while_shards_are_split(void)
{
	run_seeds(40, 0, false, UINT64_MAX, true);
}

static const struct check_test tests[] = {
	CHECK_TEST(the_tree_stays_whole),
	CHECK_TEST(with_equal_hashes),
	CHECK_TEST(with_aborted_transactions),
	CHECK_TEST(with_lost_requests_and_replies),
	CHECK_TEST(while_shards_are_split),
};
CHECK_MAIN(tests)
