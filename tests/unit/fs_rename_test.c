/* rename(2) in all its cases. */
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define NOREPLACE FS_RENAME_NOREPLACE
#define EXCHANGE  FS_RENAME_EXCHANGE

/* ---- files ---- */

FSC_CASE(within_a_directory)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_attr before = fsc_attr(m, f), root = fsc_attr(m, ROOT), after;
	uint64_t cross = m->x->cross;

	m->x->now_ns += NS_PER_S;
	CHECK_OK(fsc_rename(m, ROOT, "f", ROOT, "g", 0));
	CHECK_U64_EQ(m->x->cross, cross); /* one group */
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), 0);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "g"), f);
	after = fsc_attr(m, f);
	CHECK_TRUE(after.ctime_ns > before.ctime_ns);
	CHECK_U64_EQ(after.mtime_ns, before.mtime_ns);
	CHECK_U64_EQ(after.nlink, 1);
	CHECK_TRUE(fsc_attr(m, ROOT).mtime_ns > root.mtime_ns);
	CHECK_TRUE(fsc_attr(m, ROOT).data_version > root.data_version);
	CHECK_OK(fsc_rename(m, ROOT, "g", ROOT, "f", 0));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	fsc_contents(m, f, "text");
}

FSC_CASE(to_a_directory_of_another_group)
{
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT), f = fsc_file(m, ROOT, "f", "text");
	uint64_t cross = m->x->cross, v = fsc_attr(m, d).data_version;

	CHECK_OK(fsc_rename(m, ROOT, "f", d, "g", 0));
	CHECK_U64_EQ(m->x->cross, cross + 1);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), 0);
	CHECK_U64_EQ(fsc_ino(m, d, "g"), f);
	CHECK_U64_EQ(fsc_attr(m, d).data_version, v + 1);
	fsc_contents(m, f, "text");
	CHECK_OK(fsc_unlink(m, d, "g"));
	CHECK_ERR(fs_getattr(m->fs, f, &(struct fs_attr){0}), ERR_STALE);
}

FSC_CASE(replaces_a_file)
{
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT), f = fsc_file(m, ROOT, "f", "new");
	fs_ino old = fsc_file(m, d, "g", "old");

	CHECK_OK(fsc_rename(m, ROOT, "f", d, "g", 0));
	CHECK_U64_EQ(fsc_ino(m, d, "g"), f);
	CHECK_ERR(fs_getattr(m->fs, old, &(struct fs_attr){0}), ERR_STALE);
	fsc_contents(m, f, "new");
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 1);
	CHECK_U64_EQ(fsc_entries(m, d), 1);
}

FSC_CASE(replaces_one_of_two_names)
{
	fs_ino f = fsc_file(m, ROOT, "f", "new"), old = fsc_file(m, ROOT, "g", "old");

	CHECK_OK(fsc_link(m, old, ROOT, "h"));
	CHECK_OK(fsc_rename(m, ROOT, "f", ROOT, "g", 0));
	CHECK_U64_EQ(fsc_attr(m, old).nlink, 1);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "h"), old);
	fsc_contents(m, old, "old");
	CHECK_U64_EQ(fsc_ino(m, ROOT, "g"), f);
}

FSC_CASE(replaces_an_open_file)
{
	fs_ino f = fsc_file(m, ROOT, "f", "new"), old = fsc_file(m, ROOT, "g", "old");
	struct fs_file *file = fsc_open(m, old, FS_O_READ);
	struct buf b = BUF_INIT;

	CHECK_OK(fsc_rename(m, ROOT, "f", ROOT, "g", 0));
	CHECK_U64_EQ(fsc_attr(m, old).nlink, 0);
	CHECK_OK(fs_read(file, 0, 10, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("old"));
	fs_file_close(file);
	fsc_idle(m);
	CHECK_ERR(fs_getattr(m->fs, old, &(struct fs_attr){0}), ERR_STALE);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "g"), f);
	buf_release(&b);
}

/* Two names of one file: rename does nothing, both stay (POSIX). */
FSC_CASE(onto_its_own_other_name)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	CHECK_OK(fsc_link(m, f, ROOT, "g"));
	CHECK_OK(fsc_rename(m, ROOT, "f", ROOT, "g", 0));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "g"), f);
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 2);
	CHECK_OK(fsc_rename(m, ROOT, "f", ROOT, "f", 0));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, "f", NOREPLACE), ERR_EXISTS);
}

FSC_CASE(what_is_not_there)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_ERR(fsc_rename(m, ROOT, "x", ROOT, "y", 0), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rename(m, ROOT, "x", ROOT, "x", 0), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rename(m, ROOT, "x", ROOT, "f", 0), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, "x", EXCHANGE), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rename(m, ROOT, "f", f, "x", 0), ERR_NOT_DIR);
	CHECK_ERR(fsc_rename(m, ROOT, "f", 999999, "x", 0), ERR_NOT_FOUND);
	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, ".", 0), ERR_BUSY);
	CHECK_ERR(fsc_rename(m, ROOT, "..", ROOT, "x", 0), ERR_BUSY);
	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, "x", 8), ERR_INVAL);
	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, "x", NOREPLACE | EXCHANGE), ERR_INVAL);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	CHECK_U64_EQ(fsc_entries(m, ROOT), 1);
}

FSC_CASE(into_a_removed_directory)
{
	fs_ino f = fsc_file(m, ROOT, "f", ""), d = fsc_mkdir(m, ROOT, "d");
	struct fsx_mount *n = fsx_mount(m->x);

	CHECK_OK(fsc_rmdir(n, ROOT, "d")); /* m does not know */
	CHECK_ERR(fsc_rename(m, ROOT, "f", d, "x", 0), ERR_NOT_FOUND);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
}

FSC_CASE(noreplace)
{
	fs_ino f = fsc_file(m, ROOT, "f", "1"), g = fsc_file(m, ROOT, "g", "2");

	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, "g", NOREPLACE), ERR_EXISTS);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "g"), g);
	CHECK_OK(fsc_rename(m, ROOT, "f", ROOT, "h", NOREPLACE));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "h"), f);
}

/* ---- directories ---- */

FSC_CASE(a_directory_within_its_parent)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");

	fsc_file(m, d, "f", "");
	CHECK_OK(fsc_rename(m, ROOT, "d", ROOT, "e", 0));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "e"), d);
	CHECK_U64_EQ(fsc_attr(m, d).parent, ROOT);
	CHECK_U64_EQ(fsc_attr(m, ROOT).nlink, 3);
	CHECK_U64_EQ(fsc_entries(m, d), 1);
}

FSC_CASE(a_directory_to_another_parent)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir_far(m, ROOT, "b", a);
	fs_ino d = fsc_mkdir(m, a, "d");

	CHECK_OK(fsc_rename(m, a, "d", b, "e", 0));
	CHECK_U64_EQ(fsc_ino(m, b, "e"), d);
	CHECK_U64_EQ(fsc_ino(m, a, "d"), 0);
	CHECK_U64_EQ(fsc_ino(m, d, ".."), b);
	CHECK_U64_EQ(fsc_attr(m, a).nlink, 2);
	CHECK_U64_EQ(fsc_attr(m, b).nlink, 3);
	CHECK_U64_EQ(fsc_attr(m, d).nlink, 2);
}

FSC_CASE(a_directory_over_an_empty_one)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, ROOT, "b");
	fs_ino d = fsc_mkdir(m, a, "d"), old = fsc_mkdir(m, b, "e");

	fsc_mkdir(m, d, "sub");
	CHECK_OK(fsc_rename(m, a, "d", b, "e", 0));
	CHECK_U64_EQ(fsc_ino(m, b, "e"), d);
	CHECK_ERR(fs_getattr(m->fs, old, &(struct fs_attr){0}), ERR_STALE);
	CHECK_U64_EQ(fsc_attr(m, a).nlink, 2);
	CHECK_U64_EQ(fsc_attr(m, b).nlink, 3);
	CHECK_U64_EQ(fsc_attr(m, d).nlink, 3);
	CHECK_ERR(fsc_rename(m, ROOT, "a", ROOT, "b", 0), ERR_NOT_EMPTY);
	CHECK_OK(fsc_rename(m, b, "e", b, "f", 0));
	fsc_mkdir(m, b, "g");
	CHECK_OK(fsc_rename(m, b, "f", b, "g", 0)); /* same parent */
	CHECK_U64_EQ(fsc_attr(m, b).nlink, 3);
}

FSC_CASE(a_directory_over_a_full_one)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, ROOT, "b");

	fsc_file(m, b, "f", "");
	CHECK_ERR(fsc_rename(m, ROOT, "a", ROOT, "b", 0), ERR_NOT_EMPTY);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "a"), a);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "b"), b);
}

FSC_CASE(kinds_do_not_replace_each_other)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f = fsc_file(m, ROOT, "f", "");

	CHECK_ERR(fsc_rename(m, ROOT, "d", ROOT, "f", 0), ERR_NOT_DIR);
	CHECK_ERR(fsc_rename(m, ROOT, "f", ROOT, "d", 0), ERR_IS_DIR);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "d"), d);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
}

FSC_CASE(not_into_its_own_subtree)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, a, "b"), c = fsc_mkdir(m, b, "c");

	CHECK_ERR(fsc_rename(m, ROOT, "a", a, "x", 0), ERR_INVAL);
	CHECK_ERR(fsc_rename(m, ROOT, "a", b, "x", 0), ERR_INVAL);
	CHECK_ERR(fsc_rename(m, ROOT, "a", c, "x", 0), ERR_INVAL);
	CHECK_ERR(fsc_rename(m, ROOT, "a", c, "x", NOREPLACE), ERR_INVAL);
	CHECK_OK(fsc_rename(m, b, "c", a, "c", 0)); /* up is fine */
	CHECK_OK(fsc_rename(m, a, "b", c, "b", 0));
	CHECK_U64_EQ(fsc_attr(m, b).parent, c);
	CHECK_ERR(fsc_rename(m, a, "c", b, "x", 0), ERR_INVAL);
	/* onto an ancestor: it is not empty */
	CHECK_ERR(fsc_rename(m, c, "b", ROOT, "a", 0), ERR_NOT_EMPTY);
}

/* ---- whiteouts ---- */

FSC_CASE(a_whiteout_takes_the_old_name)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), far = fsc_mkdir_far(m, ROOT, "far", d), f, g, w;
	struct fs_attr a;

	f = fsc_file(m, d, "f", "one");
	g = fsc_file(m, far, "g", "two");
	CHECK_OK(fs_rename_whiteout(m->fs, &fsc_cred, d, slice_str("f"), far, slice_str("g"), 0));
	CHECK_U64_EQ(fsc_ino(m, far, "g"), f);
	CHECK_ERR(fs_getattr(m->fs, g, &a), ERR_STALE);
	w = fsc_ino(m, d, "f");
	a = fsc_attr(m, w);
	CHECK_U64_EQ(a.mode, S_IFCHR);
	CHECK_U64_EQ(a.rdev, 0);
	CHECK_U64_EQ(a.uid, fsc_cred.uid);
	CHECK_U64_EQ(a.nlink, 1);
	CHECK_ERR(fs_rename_whiteout(m->fs, &fsc_cred, far, slice_str("g"), d, slice_str("f"),
				     FS_RENAME_NOREPLACE),
		  ERR_EXISTS);
	CHECK_ERR(fs_rename_whiteout(m->fs, &fsc_cred, far, slice_str("g"), d, slice_str("f"),
				     FS_RENAME_EXCHANGE),
		  ERR_INVAL);
	CHECK_OK(fs_rename_whiteout(m->fs, &fsc_cred, far, slice_str("g"), far, slice_str("h"), 0));
	CHECK_U64_EQ(fsc_ino(m, far, "h"), f);
	CHECK_U64_EQ(fsc_attr(m, fsc_ino(m, far, "g")).mode, S_IFCHR);
}

FSC_CASE(a_directory_leaves_a_whiteout)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), far = fsc_mkdir_far(m, ROOT, "far", d), sub;

	sub = fsc_mkdir(m, d, "sub");
	CHECK_OK(fs_rename_whiteout(m->fs, &fsc_cred, d, slice_str("sub"), far, slice_str("s"), 0));
	CHECK_U64_EQ(fsc_attr(m, d).nlink, 2);
	CHECK_U64_EQ(fsc_attr(m, far).nlink, 3);
	CHECK_U64_EQ(fsc_attr(m, sub).parent, far);
	CHECK_OK(fsc_unlink(m, d, "sub"));
	CHECK_U64_EQ(fsc_entries(m, d), 0);
}

/* ---- exchange ---- */

FSC_CASE(exchange_of_files)
{
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT);
	fs_ino f = fsc_file(m, ROOT, "f", "1"), g = fsc_file(m, d, "g", "2");

	CHECK_OK(fsc_rename(m, ROOT, "f", d, "g", EXCHANGE));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), g);
	CHECK_U64_EQ(fsc_ino(m, d, "g"), f);
	fsc_contents(m, f, "1");
	fsc_contents(m, g, "2");
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 1);
	CHECK_U64_EQ(fsc_attr(m, g).nlink, 1);
}

FSC_CASE(exchange_of_a_file_and_a_directory)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, ROOT, "b");
	fs_ino d = fsc_mkdir(m, a, "d"), f = fsc_file(m, b, "f", "1");

	fsc_file(m, d, "inside", "");
	CHECK_OK(fsc_rename(m, a, "d", b, "f", EXCHANGE));
	CHECK_U64_EQ(fsc_ino(m, a, "d"), f);
	CHECK_U64_EQ(fsc_ino(m, b, "f"), d);
	CHECK_U64_EQ(fsc_attr(m, d).parent, b);
	CHECK_U64_EQ(fsc_attr(m, a).nlink, 2);
	CHECK_U64_EQ(fsc_attr(m, b).nlink, 3);
	CHECK_OK(fsc_rename(m, a, "d", b, "f", EXCHANGE)); /* and back, the file first */
	CHECK_U64_EQ(fsc_ino(m, a, "d"), d);
	CHECK_U64_EQ(fsc_attr(m, a).nlink, 3);
}

FSC_CASE(exchange_of_directories)
{
	fs_ino a = fsc_mkdir(m, ROOT, "a"), b = fsc_mkdir(m, ROOT, "b");
	fs_ino c = fsc_mkdir(m, a, "c"), d = fsc_mkdir(m, b, "d");

	fsc_file(m, c, "x", "");
	fsc_file(m, d, "y", "");
	CHECK_OK(fsc_rename(m, a, "c", b, "d", EXCHANGE));
	CHECK_U64_EQ(fsc_ino(m, a, "c"), d);
	CHECK_U64_EQ(fsc_ino(m, b, "d"), c);
	CHECK_U64_EQ(fsc_attr(m, c).parent, b);
	CHECK_U64_EQ(fsc_attr(m, d).parent, a);
	CHECK_OK(fsc_rename(m, ROOT, "a", ROOT, "b", EXCHANGE));
	/* not with what lies within, in either direction */
	CHECK_ERR(fsc_rename(m, ROOT, "b", a, "c", EXCHANGE), ERR_INVAL);
	CHECK_ERR(fsc_rename(m, a, "c", ROOT, "b", EXCHANGE), ERR_INVAL);
}

FSC_CASE(exchange_in_one_directory)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(fsc_rename(m, ROOT, "d", ROOT, "f", EXCHANGE));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), d);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "d"), f);
	CHECK_U64_EQ(fsc_attr(m, ROOT).nlink, 3);
}

/* ---- permissions change in between ---- */

FSC_CASE(a_directory_whose_permissions_changed)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d"), f = fsc_file(m, ROOT, "f", "");
	struct fsx_mount *n = fsx_mount(m->x);
	struct fs_attr in = {.mode = 0500};

	CHECK_U64_EQ(fsc_ino(m, ROOT, "d"), d); /* as the kernel looks before it checks */
	CHECK_OK(fs_setattr(n->fs, d, FS_SET_MODE, &in, NULL));
	CHECK_ERR(fsc_rename(m, ROOT, "f", d, "f", 0), ERR_STALE);
	CHECK_ERR(fs_setattr(m->fs, d, FS_SET_MODE, &in, NULL), 0);
	CHECK_OK(fsc_rename(m, ROOT, "f", d, "f", 0)); /* looked again */
	CHECK_U64_EQ(fsc_ino(m, d, "f"), f);
}

static const struct check_test tests[] = {
	CHECK_TEST(within_a_directory),
	CHECK_TEST(to_a_directory_of_another_group),
	CHECK_TEST(replaces_a_file),
	CHECK_TEST(replaces_one_of_two_names),
	CHECK_TEST(replaces_an_open_file),
	CHECK_TEST(onto_its_own_other_name),
	CHECK_TEST(what_is_not_there),
	CHECK_TEST(into_a_removed_directory),
	CHECK_TEST(noreplace),
	CHECK_TEST(a_directory_within_its_parent),
	CHECK_TEST(a_directory_to_another_parent),
	CHECK_TEST(a_directory_over_an_empty_one),
	CHECK_TEST(a_directory_over_a_full_one),
	CHECK_TEST(kinds_do_not_replace_each_other),
	CHECK_TEST(not_into_its_own_subtree),
	CHECK_TEST(a_whiteout_takes_the_old_name),
	CHECK_TEST(a_directory_leaves_a_whiteout),
	CHECK_TEST(exchange_of_files),
	CHECK_TEST(exchange_of_a_file_and_a_directory),
	CHECK_TEST(exchange_of_directories),
	CHECK_TEST(exchange_in_one_directory),
	CHECK_TEST(a_directory_whose_permissions_changed),
};
CHECK_MAIN(tests)
