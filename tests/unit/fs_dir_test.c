/* Directories: mkdir, rmdir, link counts, parents. */
#include <stdio.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO

FSC_CASE(a_directory_knows_its_parent)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, a, "b");
	struct fs_attr at = fsc_attr(m, b), up;

	CHECK_U64_EQ(at.nlink, 2);
	CHECK_U64_EQ(at.mode, S_IFDIR | 0755);
	CHECK_U64_EQ(at.parent, a);
	CHECK_OK(fs_lookup(m->fs, b, slice_str(".."), &up));
	CHECK_U64_EQ(up.ino, a);
	CHECK_OK(fs_lookup(m->fs, b, slice_str("."), &up));
	CHECK_U64_EQ(up.ino, b);
	CHECK_U64_EQ(fsc_ino(m, a, "b"), b);
}

FSC_CASE(link_counts_of_directories)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a");

	CHECK_U64_EQ(fsc_attr(m, ROOT).nlink, 3);
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%d", i);
		fsc_mkdir(m, a, name);
		CHECK_U64_EQ(fsc_attr(m, a).nlink, 3u + i);
		name[0] = 'f';
		fsc_file(m, a, name, "");
		CHECK_U64_EQ(fsc_attr(m, a).nlink, 3u + i);
	}
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%d", i);
		CHECK_OK(fsc_rmdir(m, a, name));
		CHECK_U64_EQ(fsc_attr(m, a).nlink, 11u - i);
	}
	CHECK_U64_EQ(fsc_attr(m, ROOT).nlink, 3);
}

FSC_CASE(rmdir_takes_empty_directories_only)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a");
	uint64_t keys;

	fsc_file(m, a, "f", "x");
	CHECK_ERR(fsc_rmdir(m, ROOT, "a"), ERR_NOT_EMPTY);
	CHECK_OK(fsc_unlink(m, a, "f"));
	fsc_idle(m);
	keys = fsx_count(m->x, 'I');
	CHECK_OK(fsc_rmdir(m, ROOT, "a"));
	CHECK_ERR(fsc_lookup(m, ROOT, "a"), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rmdir(m, ROOT, "a"), ERR_NOT_FOUND);
	CHECK_ERR(fs_getattr(m->fs, a, &(struct fs_attr){0}), ERR_STALE);
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'I'), keys - 1);
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
}

FSC_CASE(each_call_wants_its_kind)
{
	fsc_mkdir(m, ROOT, "d");
	fsc_file(m, ROOT, "f", "");
	CHECK_ERR(fsc_rmdir(m, ROOT, "f"), ERR_NOT_DIR);
	CHECK_ERR(fsc_unlink(m, ROOT, "d"), ERR_IS_DIR);
	CHECK_ERR(fsc_rmdir(m, ROOT, "."), ERR_INVAL);
	CHECK_ERR(fsc_rmdir(m, ROOT, ".."), ERR_NOT_EMPTY);
	CHECK_ERR(fsc_unlink(m, ROOT, "."), ERR_IS_DIR);
	CHECK_ERR(fsc_unlink(m, ROOT, "nothing"), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rmdir(m, ROOT, "nothing"), ERR_NOT_FOUND);
	CHECK_U64_EQ(fsc_entries(m, ROOT), 2);
}

FSC_CASE(rmdir_changes_the_parent)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a");
	struct fs_attr before, after;

	fsc_mkdir(m, a, "b");
	before = fsc_attr(m, a);
	m->x->now_ns += NS_PER_S;
	CHECK_OK(fsc_rmdir(m, a, "b"));
	after = fsc_attr(m, a);
	CHECK_TRUE(after.mtime_ns > before.mtime_ns);
	CHECK_U64_EQ(after.ctime_ns, after.mtime_ns);
	CHECK_U64_EQ(after.data_version, before.data_version + 1);
}

/* A directory that a mount has open stays readable, empty, until it is closed. */
FSC_CASE(an_open_directory_goes_with_its_last_close)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a");
	struct fs_file *f = fsc_open(m, a, FS_O_READ);

	CHECK_OK(fsc_rmdir(m, ROOT, "a"));
	CHECK_U64_EQ(fsc_attr(m, a).nlink, 0);
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 1);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, a, slice_str("x"), 0777, &(struct fs_attr){0}),
		  ERR_NOT_FOUND);
	fs_file_close(f);
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
	CHECK_ERR(fs_getattr(m->fs, a, &(struct fs_attr){0}), ERR_STALE);
}

FSC_CASE(a_directory_with_xattrs_is_removed_with_them)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a");

	CHECK_OK(fs_setxattr(m->fs, a, slice_str("user.x"), slice_str("y"), 0));
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 1);
	CHECK_OK(fsc_rmdir(m, ROOT, "a"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
	CHECK_U64_EQ(fsx_count(m->x, 'I'), 1);
}

/* A directory whose keys two groups share: a split may come anywhere. */
FSC_CASE(a_split_directory)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a");
	struct fs_key k;

	fs__key_dentry(&k, a, 1ull << 62, (struct slice){0});
	fsx_split(m->x, fs__key_slice(&k), 7);
	for (int i = 0; i < 50; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		fsc_file(m, a, name, "x");
	}
	CHECK_U64_EQ(fsc_entries(m, a), 50);
	CHECK_ERR(fsc_rmdir(m, ROOT, "a"), ERR_NOT_EMPTY);
	for (int i = 0; i < 50; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d", i);
		CHECK_ERR(fsc_rmdir(m, ROOT, "a"), ERR_NOT_EMPTY);
		CHECK_OK(fsc_unlink(m, a, name));
	}
	CHECK_U64_EQ(fsc_entries(m, a), 0);
	CHECK_OK(fsc_rmdir(m, ROOT, "a"));
	fsc_idle(m);
}

/* Deep trees are only limited by patience. */
FSC_CASE(deep)
{
	fs_ino at = ROOT, dirs[200];

	for (int i = 0; i < 200; i++)
		at = dirs[i] = fsc_mkdir(m, at, "d");
	for (int i = 199; i > 0; i--) {
		CHECK_U64_EQ(fsc_attr(m, dirs[i]).parent, dirs[i - 1]);
		CHECK_OK(fsc_rmdir(m, dirs[i - 1], "d"));
	}
	CHECK_OK(fsc_rmdir(m, ROOT, "d"));
}

static const struct check_test tests[] = {
	CHECK_TEST(a_directory_knows_its_parent),
	CHECK_TEST(link_counts_of_directories),
	CHECK_TEST(rmdir_takes_empty_directories_only),
	CHECK_TEST(each_call_wants_its_kind),
	CHECK_TEST(rmdir_changes_the_parent),
	CHECK_TEST(an_open_directory_goes_with_its_last_close),
	CHECK_TEST(a_directory_with_xattrs_is_removed_with_them),
	CHECK_TEST(a_split_directory),
	CHECK_TEST(deep),
};
CHECK_MAIN(tests)
