/* The check, with repair, while others work: it tells of nothing that is healthy and changes nothing of
 * it; and what is damaged meanwhile it mends. */
#include <stdio.h>

#include "base/bytes.h"
#include "tests/lib/fs_damage.h"

#define ROOT	FS_ROOT_INO
#define WORKERS 3u
#define DIRS	4u
#define VICTIMS 8u

struct live {
	struct fsx *x;
	struct fsx_mount *m, *checker;
	fs_ino dirs[DIRS], victims[VICTIMS], vdir;
	unsigned left, checks, planted;
	bool plants;
};

/* ---- work ---- */

static struct slice any_name(struct live *w)
{
	static const char *const names[] = {"a", "b", "c"};

	return slice_str(names[fsx_random(w->x) % 3]);
}

static void write_some(struct live *w, struct fs_file *f, unsigned i)
{
	static const uint64_t at[] = {0, 7, BLOCK_SIZE * 3, STRIPE_SIZE, STRIPE_SIZE + BLOCK_SIZE};
	struct fs_attr size = {.size = at[fsx_random(w->x) % 5]}, a;

	(void)fs_write(f, at[fsx_random(w->x) % 5], slice_str("data"), NULL);
	if (i % 4 == 0)
		(void)fs_setattr(w->m->fs, fs_file_ino(f), FS_SET_SIZE, &size, &a);
	if (i % 6 == 0)
		(void)fs_fallocate(f, FS_FALLOC_KEEP_SIZE | FS_FALLOC_PUNCH_HOLE, 0, BLOCK_SIZE, NULL);
}

static void with_new_file(struct live *w, fs_ino d, unsigned i)
{
	struct fs_attr a;
	struct fs_file *f;

	if (fs_create(w->m->fs, &fsc_cred, d, any_name(w), S_IFREG | 0644, FS_O_WRITE, &a, &f))
		return;
	write_some(w, f, i);
	if (i % 3 == 0)
		(void)fs_setxattr(w->m->fs, a.ino, slice_str("user.x"), slice_str("v"), 0);
	(void)fs_link(w->m->fs, a.ino, w->dirs[fsx_random(w->x) % DIRS], any_name(w), &a);
	if (i % 5 == 0)
		(void)fs_unlink(w->m->fs, d, any_name(w)); /* perhaps this one, which is open */
	fs_file_close(f);
}

static void worker(void *arg)
{
	struct live *w = arg;

	for (unsigned i = 0; i < 120; i++) {
		fs_ino d = w->dirs[fsx_random(w->x) % DIRS], e = w->dirs[fsx_random(w->x) % DIRS];
		struct slice n = any_name(w), o = any_name(w);
		char path[16];
		struct fs_attr a;

		with_new_file(w, d, i);
		(void)fs_rename(w->m->fs, d, n, e, o, i % 4 ? 0 : FS_RENAME_EXCHANGE);
		(void)fs_mkdir(w->m->fs, &fsc_cred, e, n, S_IFDIR | 0777, &a);
		if (i % 7 == 0) {
			snprintf(path, sizeof(path), "/w%u/k", (unsigned)(fsx_random(w->x) % DIRS));
			(void)fs_kv_put(w->m->fs, &fsc_cred, slice_str(path), slice_str("value"), false);
		}
		(void)fs_unlink(w->m->fs, e, o);
		(void)fs_rmdir(w->m->fs, d, n);
	}
	w->left--;
}

/* ---- damage, to files that the workers leave alone ---- */

static void damage(struct live *w, fs_ino ino, const char *name)
{
	struct fsx_mount *m = w->checker;

	switch (fsx_random(w->x) % 7) {
	case 0:
		fsd_set_field(m, ino, FS_F_NLINK, 5);
		break;
	case 1:
		fsd_set_field(m, ino, FS_F_NLINK, 0);
		break;
	case 2:
		fsd_put_dentry(m, w->vdir, name, ino, FS_T_SYMLINK);
		break;
	case 3:
		fsd_delete_inode(m, ino);
		break;
	case 4:
		fsd_put_reap(m, ino, FS_REAP_INODE, 4711);
		break;
	case 5:
		fsd_set_field(m, ino, FS_F_XATTRS, FS_HAS_CAPABILITY);
		break;
	default:
		fsd_inode(m, ino)->value.data[0] = 3;
		break;
	}
	w->planted++;
}

static bool is_victim(const struct live *w, fs_ino ino)
{
	for (unsigned i = 0; i < VICTIMS; i++)
		if (w->victims[i] == ino)
			return true;
	return false;
}

/* ---- the check ---- */

static void check_once(struct live *w)
{
	struct fsd_told t;

	fsd_fsck(w->checker, true, &t);
	for (unsigned i = 0; i < t.ino_count; i++)
		if (!is_victim(w, t.inos[i]))
			CHECK_FAIL("seed %llu: told of what nobody damaged: %s",
				   (unsigned long long)w->x->seed, (const char *)t.text.data);
	if (!w->plants)
		CHECK_STR_EQ((const char *)t.text.data, "");
	fsd_release(&t);
	w->checks++;
}

static void checker(void *arg)
{
	struct live *w = arg;
	char name[8];

	while (w->left > 0) {
		for (unsigned i = 0; i < VICTIMS && w->plants; i++) {
			snprintf(name, sizeof(name), "v%u", i);
			if (fsx_random(w->x) % 2)
				damage(w, w->victims[i], name);
		}
		check_once(w);
		for (unsigned i = 0; i < VICTIMS; i++)
			fsc_contents(w->checker, w->victims[i], "precious");
	}
	fsd_expect_clean(w->checker);
}

static void begin(void *arg)
{
	struct live *w = arg;
	char name[8];

	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "w%u", i);
		w->dirs[i] = fsc_mkdir(w->m, ROOT, name);
	}
	w->vdir = fsc_mkdir(w->checker, ROOT, "victims");
	for (unsigned i = 0; i < VICTIMS; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		w->victims[i] = fsc_file(w->checker, w->vdir, name, "precious");
	}
}

static void run(uint64_t seed, bool plants)
{
	struct fsx *x = fsx_new(4, seed);
	struct live w = {.x = x, .left = WORKERS, .plants = plants};

	w.m = fsx_mount(x);
	w.checker = fsx_mount(x);
	fsx_call(x, begin, &w);
	x->delay_ns = NS_PER_MS;
	for (unsigned i = 0; i < WORKERS; i++)
		fsx_start(x, worker, &w);
	fsx_start(x, checker, &w);
	fsx_settle(x);
	CHECK_TRUE(w.checks > 3);
	CHECK_TRUE(!plants || w.planted > 10);
	fsx_umount_all(x);
	fsx_check(x, false);
	fsx_free(x);
}

static void nothing_healthy_is_mended(void)
{
	for (uint64_t seed = 1; seed <= 12; seed++)
		run(seed, false);
}

static void what_is_damaged_meanwhile_is_mended(void)
{
	for (uint64_t seed = 101; seed <= 112; seed++)
		run(seed, true);
}

/* ---- what is done to it between its look and its repair ---- */

static struct {
	struct fsx_mount *other;
	fs_ino ino;
	struct fs_file *open; /* a directory that has been removed */
	unsigned damaged;
} meanwhile;

/* As soon as there is a lost+found it is opened, and removed. */
static void take_away(struct fsx *x, const struct txn_mini *m)
{
	fs_ino dir;

	(void)x;
	if (meanwhile.open || m->mut_count == 0)
		return;
	dir = fsc_ino(meanwhile.other, ROOT, "lost+found");
	if (dir == 0)
		return;
	meanwhile.open = fsc_open(meanwhile.other, dir, FS_O_READ);
	CHECK_OK(fsc_rmdir(meanwhile.other, ROOT, "lost+found"));
}

FSC_CASE(nothing_is_put_into_a_removed_directory)
{
	struct fsd_told t;
	fs_ino ino = fsc_file(m, ROOT, "f", "precious"), dir;
	char name[32];

	memset(&meanwhile, 0, sizeof(meanwhile));
	meanwhile.other = fsx_mount(m->x);
	fsd_drop_dentry(m, ROOT, "f");
	m->x->before = take_away;
	fsd_fsck(m, true, &t);
	m->x->before = NULL;
	CHECK_TRUE(meanwhile.open);
	fsd_release(&t);
	fs_file_close(meanwhile.open);
	fsc_idle(m);
	dir = fsc_ino(m, ROOT, "lost+found");
	CHECK_TRUE(dir != 0);
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)ino);
	CHECK_U64_EQ(fsc_ino(m, dir, name), ino);
	fsc_contents(m, ino, "precious");
	fsd_expect_clean(m);
}

static void damage_again(struct fsx *x, const struct txn_mini *m)
{
	(void)x;
	(void)m;
	if (fsc_attr(meanwhile.other, meanwhile.ino).nlink != 1)
		return;
	fsd_set_field(meanwhile.other, meanwhile.ino, FS_F_NLINK, 5);
	meanwhile.damaged++;
}

/* It gives up in the end, and says what it leaves. */
FSC_CASE(what_is_wrong_again_each_time_is_left)
{
	struct fsd_told t;

	memset(&meanwhile, 0, sizeof(meanwhile));
	meanwhile.ino = fsc_file(m, ROOT, "f", "precious");
	meanwhile.other = m;
	m->x->before = damage_again;
	fsd_fsck(m, true, &t);
	m->x->before = NULL;
	CHECK_U64_EQ(meanwhile.damaged, t.r.repaired + 1);
	CHECK_TRUE(t.r.repaired > 10);
	CHECK_U64_EQ(t.r.problems, t.r.repaired + 1);
	fsd_release(&t);
	fsd_set_field(m, meanwhile.ino, FS_F_NLINK, 1);
}

static const struct check_test tests[] = {
	CHECK_TEST(nothing_is_put_into_a_removed_directory),
	CHECK_TEST(what_is_wrong_again_each_time_is_left),
	CHECK_TEST(nothing_healthy_is_mended),
	CHECK_TEST(what_is_damaged_meanwhile_is_mended),
};
CHECK_MAIN(tests)
