/* Making names, finding them, attributes and changing them. */
#include <stdio.h>

#include "fs/fs_internal.h"
#include "kv/layout.h"
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO

static struct fs_cred cred_of(uint32_t uid, uint32_t gid, uint32_t umask)
{
	return (struct fs_cred){.uid = uid, .gid = gid, .umask = umask};
}

FSC_CASE(root_is_there)
{
	struct fs_attr a = fsc_attr(m, ROOT), b;

	CHECK_U64_EQ(a.ino, ROOT);
	CHECK_U64_EQ(a.mode, S_IFDIR | 0755);
	CHECK_U64_EQ(a.nlink, 2);
	CHECK_U64_EQ(a.parent, ROOT);
	CHECK_OK(fs_lookup(m->fs, ROOT, slice_str(".."), &b));
	CHECK_U64_EQ(b.ino, ROOT);
	CHECK_ERR(fs_format(&m->b), ERR_EXISTS);
	CHECK_U64_EQ(fsc_entries(m, ROOT), 0);
}

static void drop(struct fsx *x, const struct fs_key *k)
{
	fsx_delete(x, fs__key_slice(k));
}

/* As in a cluster that is electing its leaders. */
FSC_CASE(what_was_refused_is_formatted_at_another_try)
{
	struct fs_key k;

	fs__meta_key(&k, KV_KEY_INODES);
	drop(m->x, &k);
	fs__meta_key(&k, KV_KEY_RENAME);
	drop(m->x, &k);
	fs__key_system(&k);
	drop(m->x, &k);
	fs__key_inode(&k, ROOT);
	drop(m->x, &k);
	m->x->fault_percent = 80;
	m->x->no_timeouts = true;
	CHECK_OK(fs_format(&m->b));
	m->x->fault_percent = 0;
	CHECK_ERR(fs_format(&m->b), ERR_EXISTS);
	CHECK_U64_EQ(fsc_attr(m, ROOT).nlink, 2);
}

FSC_CASE(a_file_is_made_and_found)
{
	struct fs_attr before = fsc_attr(m, ROOT), a, b, after;
	int64_t was = (int64_t)m->x->now_ns;

	m->x->now_ns += NS_PER_S;
	CHECK_OK(fs_mknod(m->fs, &fsc_cred, ROOT, slice_str("f"), S_IFREG | 0666, 0, &a));
	CHECK_U64_EQ(a.mode, S_IFREG | 0644);
	CHECK_U64_EQ(a.nlink, 1);
	CHECK_U64_EQ(a.uid, 1000);
	CHECK_U64_EQ(a.gid, 100);
	CHECK_U64_EQ(a.size, 0);
	CHECK_TRUE(a.btime_ns > was);
	CHECK_U64_EQ(a.mtime_ns, a.btime_ns);
	CHECK_U64_EQ(a.ctime_ns, a.btime_ns);
	CHECK_U64_EQ(a.atime_ns, a.btime_ns);
	CHECK_OK(fs_lookup(m->fs, ROOT, slice_str("f"), &b));
	CHECK_MEM_EQ(&a, &b, sizeof(a));
	b = fsc_attr(m, a.ino);
	CHECK_MEM_EQ(&a, &b, sizeof(a));
	after = fsc_attr(m, ROOT);
	CHECK_U64_EQ(after.mtime_ns, a.mtime_ns);
	CHECK_U64_EQ(after.ctime_ns, a.mtime_ns);
	CHECK_U64_EQ(after.nlink, before.nlink);
	CHECK_U64_EQ(after.data_version, before.data_version + 1);
	CHECK_U64_EQ(fs__place(a.ino), fs__place(ROOT)); /* beside its directory */
}

FSC_CASE(a_name_is_made_once)
{
	fs_ino f = fsc_file(m, ROOT, "f", "x");
	struct fs_file *file = NULL;
	struct fs_attr a;

	CHECK_ERR(fs_mknod(m->fs, &fsc_cred, ROOT, slice_str("f"), S_IFREG | 0666, 0, &a),
		  ERR_EXISTS);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, ROOT, slice_str("f"), 0777, &a), ERR_EXISTS);
	CHECK_ERR(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("f"), slice_str("t"), &a),
		  ERR_EXISTS);
	CHECK_ERR(fs_create(m->fs, &fsc_cred, ROOT, slice_str("f"), S_IFREG | 0666,
			    FS_O_WRITE | FS_O_EXCL, &a, &file),
		  ERR_EXISTS);
	CHECK_NULL(file);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, ROOT, slice_str("."), 0777, &a), ERR_EXISTS);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, ROOT, slice_str(".."), 0777, &a), ERR_EXISTS);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "f"), f);
	CHECK_U64_EQ(fsc_entries(m, ROOT), 1);
}

FSC_CASE(create_opens_what_is_there)
{
	fs_ino f = fsc_file(m, ROOT, "f", "old");
	struct fs_file *file = NULL;
	struct fs_attr a;

	CHECK_OK(fs_create(m->fs, &fsc_cred, ROOT, slice_str("f"), S_IFREG | 0600,
			   FS_O_READ | FS_O_WRITE, &a, &file));
	CHECK_U64_EQ(a.ino, f);
	CHECK_U64_EQ(fs_file_ino(file), f);
	CHECK_U64_EQ(a.size, 3);
	CHECK_U64_EQ(a.mode, S_IFREG | 0644);
	fs_file_close(file);
	CHECK_OK(fs_create(m->fs, &fsc_cred, ROOT, slice_str("f"), S_IFREG | 0600,
			   FS_O_WRITE | FS_O_TRUNC, &a, &file));
	CHECK_U64_EQ(a.size, 0);
	fs_file_close(file);
	fsc_contents(m, f, "");
}

FSC_CASE(all_types)
{
	static const uint32_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	struct fs_attr a, b;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%zu", i);
		CHECK_OK(fs_mknod(m->fs, &fsc_cred, ROOT, slice_str(name), types[i] | 0777,
				  0x12345 + i, &a));
		CHECK_U64_EQ(a.mode, types[i] | 0755);
		CHECK_U64_EQ(a.rdev, 0x12345 + i);
		CHECK_OK(fs_lookup(m->fs, ROOT, slice_str(name), &b));
		CHECK_MEM_EQ(&a, &b, sizeof(a));
	}
	CHECK_ERR(fs_mknod(m->fs, &fsc_cred, ROOT, slice_str("d"), S_IFDIR | 0777, 0, &a),
		  ERR_INVAL);
	CHECK_OK(fs_mknod(m->fs, &fsc_cred, ROOT, slice_str("plain"), 0600, 0, &a));
	CHECK_U64_EQ(a.mode, S_IFREG | 0600);
}

FSC_CASE(lookups_that_fail)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_ERR(fsc_lookup(m, ROOT, "g"), ERR_NOT_FOUND);
	CHECK_ERR(fsc_lookup(m, ROOT, "F"), ERR_NOT_FOUND);
	CHECK_ERR(fsc_lookup(m, ROOT, ""), ERR_NOT_FOUND);
	CHECK_ERR(fsc_lookup(m, f, ".."), ERR_NOT_DIR);
	CHECK_ERR(fs_getattr(m->fs, 12345, &(struct fs_attr){0}), ERR_STALE);
}

FSC_CASE(making_in_what_is_no_directory)
{
	fs_ino f = fsc_file(m, ROOT, "f", ""), d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr a;

	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, f, slice_str("x"), 0777, &a), ERR_NOT_DIR);
	CHECK_OK(fsc_rmdir(m, ROOT, "d"));
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, d, slice_str("x"), 0777, &a), ERR_NOT_FOUND);
	CHECK_ERR(fs_mknod(m->fs, &fsc_cred, d, slice_str("x"), S_IFREG, 0, &a), ERR_NOT_FOUND);
}

FSC_CASE(umask_is_applied)
{
	struct fs_cred c = cred_of(7, 8, 0277);
	struct fs_attr a;

	CHECK_OK(fs_mkdir(m->fs, &c, ROOT, slice_str("d"), 01777, &a));
	CHECK_U64_EQ(a.mode, S_IFDIR | 01500);
	CHECK_OK(fs_mknod(m->fs, &c, ROOT, slice_str("f"), S_IFREG | 04777, 0, &a));
	CHECK_U64_EQ(a.mode, S_IFREG | 04500);
	CHECK_U64_EQ(a.uid, 7);
	CHECK_U64_EQ(a.gid, 8);
}

FSC_CASE(setgid_directories_pass_their_group_on)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr in = {.mode = 02775, .gid = 555}, a;

	CHECK_OK(fs_setattr(m->fs, d, FS_SET_MODE | FS_SET_GID, &in, &a));
	CHECK_OK(fs_mkdir(m->fs, &fsc_cred, d, slice_str("sub"), 0777, &a));
	CHECK_U64_EQ(a.gid, 555);
	CHECK_U64_EQ(a.mode, S_IFDIR | 02755);
	CHECK_OK(fs_mknod(m->fs, &fsc_cred, d, slice_str("f"), S_IFREG | 0666, 0, &a));
	CHECK_U64_EQ(a.gid, 555);
	CHECK_U64_EQ(a.mode, S_IFREG | 0644);
}

FSC_CASE(setattr_sets_what_it_is_asked_to)
{
	fs_ino f = fsc_file(m, ROOT, "f", "12345");
	struct fs_attr in = {.mode = S_IFDIR | 07711, .uid = 5, .gid = 6, .atime_ns = 7,
			     .mtime_ns = 8, .size = 3},
		       before = fsc_attr(m, f), a, b;

	m->x->now_ns += 5 * NS_PER_S;
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, &a));
	CHECK_U64_EQ(a.mode, S_IFREG | 07711); /* the type stays */
	CHECK_U64_EQ(a.uid, before.uid);
	CHECK_U64_EQ(a.mtime_ns, before.mtime_ns);
	CHECK_TRUE(a.ctime_ns > before.ctime_ns);
	CHECK_U64_EQ(a.size, 5);
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_UID, &in, &a));
	CHECK_U64_EQ(a.uid, 5);
	CHECK_U64_EQ(a.gid, before.gid);
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_GID | FS_SET_ATIME | FS_SET_MTIME, &in, &a));
	CHECK_U64_EQ(a.gid, 6);
	CHECK_U64_EQ(a.atime_ns, 7);
	CHECK_U64_EQ(a.mtime_ns, 8);
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_SIZE | FS_SET_MODE, &in, &a));
	CHECK_U64_EQ(a.size, 3);
	CHECK_TRUE(a.mtime_ns > before.mtime_ns);
	b = fsc_attr(m, f);
	CHECK_MEM_EQ(&a, &b, sizeof(a));
	fsc_contents(m, f, "123");
}

FSC_CASE(times_of_now_come_from_the_transaction)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_attr in = {.ctime_ns = 99}, before = fsc_attr(m, f), a, b;

	m->x->now_ns += 7 * NS_PER_S;
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_ATIME_NOW | FS_SET_MTIME_NOW, &in, &a));
	CHECK_TRUE(a.atime_ns >= before.atime_ns + 6 * (int64_t)NS_PER_S);
	CHECK_U64_EQ(a.mtime_ns, a.atime_ns);
	CHECK_U64_EQ(a.ctime_ns, a.atime_ns);
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_CTIME, &in, &a));
	CHECK_U64_EQ(a.ctime_ns, 99);
	b = fsc_attr(m, f);
	CHECK_MEM_EQ(&a, &b, sizeof(a));
}

FSC_CASE(suid_is_killed)
{
	fs_ino f = fsc_file(m, ROOT, "f", "12345");
	struct fs_attr in = {.mode = 06755, .size = 2}, a;

	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, &a));
	CHECK_OK(fs_setattr(m->fs, f, FS_KILL_SUID, &in, &a));
	CHECK_U64_EQ(a.mode, S_IFREG | 0755);
	in.mode = 06745; /* setgid without x for the group means something else */
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, &a));
	CHECK_OK(fs_setattr(m->fs, f, FS_KILL_SUID | FS_SET_SIZE, &in, &a));
	CHECK_U64_EQ(a.mode, S_IFREG | 02745);
	CHECK_U64_EQ(a.size, 2);
	CHECK_U64_EQ(fsc_attr(m, f).mode, S_IFREG | 02745);
}

/* What comes back is what is stored, not what this mount remembers. */
FSC_CASE(attributes_after_truncation_are_fresh)
{
	struct fsx_mount *n = fsx_mount(m->x);
	struct fs_attr in = {.mode = 0600, .size = 1}, a, b;
	fs_ino f = fsc_file(m, ROOT, "f", "12345");

	CHECK_OK(fs_setattr(n->fs, f, FS_SET_MODE, &in, &a));
	CHECK_OK(fsc_link(n, f, ROOT, "g"));
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_SIZE, &in, &a));
	b = fsc_attr(m, f);
	CHECK_MEM_EQ(&a, &b, sizeof(a));
	CHECK_U64_EQ(a.mode, S_IFREG | 0600);
	CHECK_U64_EQ(a.nlink, 2);
}

FSC_CASE(setattr_of_nothing_is_stale)
{
	struct fs_attr in = {.mode = 0700, .size = 1}, a;
	fs_ino f = fsc_file(m, ROOT, "f", ""), d = fsc_mkdir(m, ROOT, "d");

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_ERR(fs_setattr(m->fs, f, FS_SET_MODE, &in, &a), ERR_STALE);
	CHECK_ERR(fs_setattr(m->fs, f, FS_SET_SIZE, &in, &a), ERR_STALE);
	CHECK_ERR(fs_setattr(m->fs, f, FS_KILL_SUID, &in, &a), ERR_STALE);
	CHECK_ERR(fs_setattr(m->fs, d, FS_SET_SIZE, &in, &a), ERR_IS_DIR);
}

FSC_CASE(read_only_mounts_change_nothing)
{
	struct fs_options o = {.read_only = true};
	fs_ino f = fsc_file(m, ROOT, "f", "x");
	struct fsx_mount *ro = fsx_mount_with(m->x, &o);
	uint64_t writes = m->x->writes;
	struct fs_file *file;
	struct fs_attr a = {0};
	struct buf b = BUF_INIT;

	CHECK_ERR(fs_mkdir(ro->fs, &fsc_cred, ROOT, slice_str("d"), 0777, &a), ERR_READ_ONLY);
	CHECK_ERR(fs_setattr(ro->fs, f, FS_SET_MODE, &a, &a), ERR_READ_ONLY);
	CHECK_ERR(fsc_unlink(ro, ROOT, "f"), ERR_READ_ONLY);
	CHECK_ERR(fsc_rename(ro, ROOT, "f", ROOT, "g", 0), ERR_READ_ONLY);
	CHECK_ERR(fsc_link(ro, f, ROOT, "g"), ERR_READ_ONLY);
	CHECK_ERR(fs_setxattr(ro->fs, f, slice_str("user.a"), slice_str("b"), 0), ERR_READ_ONLY);
	CHECK_ERR(fs_removexattr(ro->fs, f, slice_str("user.a")), ERR_READ_ONLY);
	CHECK_ERR(fs_file_open(ro->fs, f, FS_O_WRITE, &file), ERR_READ_ONLY);
	file = fsc_open(ro, f, FS_O_READ);
	CHECK_OK(fs_read(file, 0, 10, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("x"));
	buf_release(&b);
	fs_file_close(file);
	fsc_idle(m);
	CHECK_U64_EQ(m->x->writes, writes);
}

/* Numbers are taken from the store in batches, and none twice, by any mount. */
FSC_CASE(numbers_are_used_once)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d"), last = 0;

	for (int i = 0; i < 3000; i++) {
		struct fs_attr a, b;
		char name[32];

		snprintf(name, sizeof(name), "a%d", i);
		CHECK_OK(fs_mknod(m->fs, &fsc_cred, d, slice_str(name), S_IFREG, 0, &a));
		name[0] = 'b';
		CHECK_OK(fs_mknod(n->fs, &fsc_cred, d, slice_str(name), S_IFREG, 0, &b));
		CHECK_TRUE(a.ino != b.ino && a.ino > last);
		last = a.ino;
	}
	CHECK_U64_EQ(fsx_count(m->x, 'I'), 6002);
}

static const struct check_test tests[] = {
	CHECK_TEST(root_is_there),
	CHECK_TEST(what_was_refused_is_formatted_at_another_try),
	CHECK_TEST(a_file_is_made_and_found),
	CHECK_TEST(a_name_is_made_once),
	CHECK_TEST(create_opens_what_is_there),
	CHECK_TEST(all_types),
	CHECK_TEST(lookups_that_fail),
	CHECK_TEST(making_in_what_is_no_directory),
	CHECK_TEST(umask_is_applied),
	CHECK_TEST(setgid_directories_pass_their_group_on),
	CHECK_TEST(setattr_sets_what_it_is_asked_to),
	CHECK_TEST(times_of_now_come_from_the_transaction),
	CHECK_TEST(suid_is_killed),
	CHECK_TEST(attributes_after_truncation_are_fresh),
	CHECK_TEST(setattr_of_nothing_is_stale),
	CHECK_TEST(read_only_mounts_change_nothing),
	CHECK_TEST(numbers_are_used_once),
};
CHECK_MAIN(tests)
