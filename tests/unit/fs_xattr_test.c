/* Extended attributes. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO

static int set(struct fsx_mount *m, fs_ino ino, const char *name, const char *value, unsigned flags)
{
	return fs_setxattr(m->fs, ino, slice_str(name), slice_str(value), flags);
}

static void expect(struct fsx_mount *m, fs_ino ino, const char *name, const char *want)
{
	struct buf b = BUF_INIT;

	CHECK_OK(fs_getxattr(m->fs, ino, slice_str(name), &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str(want));
	buf_release(&b);
}

static int get_err(struct fsx_mount *m, fs_ino ino, struct slice name)
{
	struct buf b = BUF_INIT;
	int err = fs_getxattr(m->fs, ino, name, &b);

	buf_release(&b);
	return err;
}

FSC_CASE(set_get_remove)
{
	fs_ino f = fsc_file(m, ROOT, "f", "x");
	struct fs_attr before = fsc_attr(m, f), after;

	m->x->now_ns += NS_PER_S;
	CHECK_OK(set(m, f, "user.a", "1", 0));
	after = fsc_attr(m, f);
	CHECK_TRUE(after.ctime_ns > before.ctime_ns);
	CHECK_U64_EQ(after.mtime_ns, before.mtime_ns);
	expect(m, f, "user.a", "1");
	CHECK_OK(set(m, f, "user.a", "", 0));
	expect(m, f, "user.a", "");
	CHECK_ERR(get_err(m, f, slice_str("user.a1")), ERR_NO_DATA);
	CHECK_OK(fs_removexattr(m->fs, f, slice_str("user.a")));
	CHECK_ERR(get_err(m, f, slice_str("user.a")), ERR_NO_DATA);
	CHECK_ERR(fs_removexattr(m->fs, f, slice_str("user.a")), ERR_NO_DATA);
}

FSC_CASE(create_and_replace)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_ERR(set(m, f, "user.a", "0", FS_XATTR_REPLACE), ERR_NO_DATA);
	CHECK_OK(set(m, f, "user.a", "1", FS_XATTR_CREATE));
	CHECK_ERR(set(m, f, "user.a", "2", FS_XATTR_CREATE), ERR_EXISTS);
	expect(m, f, "user.a", "1");
	CHECK_OK(set(m, f, "user.a", "3", FS_XATTR_REPLACE));
	expect(m, f, "user.a", "3");
	CHECK_ERR(set(m, f, "user.a", "4", FS_XATTR_CREATE | FS_XATTR_REPLACE), ERR_INVAL);
	CHECK_ERR(set(m, f, "user.a", "4", 8), ERR_INVAL);
}

FSC_CASE(limits)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	uint8_t *big = calloc(1, FS_XATTR_SIZE_MAX + 1);
	char name[FS_XATTR_NAME_MAX + 2] = {0};
	struct buf b = BUF_INIT;

	CHECK_ERR(fs_setxattr(m->fs, f, slice_str("user.b"), slice_of(big, FS_XATTR_SIZE_MAX + 1),
			      0),
		  ERR_TOO_BIG);
	big[FS_XATTR_SIZE_MAX - 1] = 7;
	CHECK_OK(fs_setxattr(m->fs, f, slice_str("user.b"), slice_of(big, FS_XATTR_SIZE_MAX), 0));
	CHECK_OK(fs_getxattr(m->fs, f, slice_str("user.b"), &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_of(big, FS_XATTR_SIZE_MAX));
	memset(name, 'n', FS_XATTR_NAME_MAX + 1);
	memcpy(name, "user.", 5);
	CHECK_ERR(set(m, f, name, "", 0), ERR_RANGE);
	name[FS_XATTR_NAME_MAX] = 0;
	CHECK_OK(set(m, f, name, "long", 0));
	expect(m, f, name, "long");
	CHECK_ERR(set(m, f, "", "x", 0), ERR_INVAL);
	CHECK_ERR(fs_setxattr(m->fs, f, slice_of("a\0b", 3), slice_str("x"), 0), ERR_INVAL);
	CHECK_ERR(get_err(m, f, slice_str("")), ERR_INVAL);
	CHECK_ERR(fs_removexattr(m->fs, f, slice_str("")), ERR_INVAL);
	buf_release(&b);
	free(big);
}

FSC_CASE(name_spaces)
{
	static const char *const kept[] = {"user.a", "trusted.a", "security.a", "security.capability",
					   "user.user."};
	static const char *const empty[] = {"user.", "trusted.", "security."};
	static const char *const others[] = {"user", "usera", "system.a", "system.posix_acl_acces",
					     "system.posix_acl_access1", "system.", "os2.a", "a"};
	fs_ino f = fsc_file(m, ROOT, "f", "");

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		CHECK_ERR(get_err(m, f, slice_str(kept[i])), ERR_NO_DATA);
		CHECK_OK(set(m, f, kept[i], "v", 0));
		expect(m, f, kept[i], "v");
		CHECK_OK(fs_removexattr(m->fs, f, slice_str(kept[i])));
		CHECK_ERR(fs_removexattr(m->fs, f, slice_str(kept[i])), ERR_NO_DATA);
	}
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		CHECK_ERR(set(m, f, empty[i], "v", 0), ERR_INVAL);
		CHECK_ERR(get_err(m, f, slice_str(empty[i])), ERR_INVAL);
		CHECK_ERR(fs_removexattr(m->fs, f, slice_str(empty[i])), ERR_INVAL);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		CHECK_ERR(set(m, f, others[i], "v", 0), ERR_UNSUPPORTED);
		CHECK_ERR(get_err(m, f, slice_str(others[i])), ERR_UNSUPPORTED);
		CHECK_ERR(fs_removexattr(m->fs, f, slice_str(others[i])), ERR_UNSUPPORTED);
	}
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
}

/* ---- security.capability: what a write, a truncation or another owner takes away ---- */

static bool has_capability(struct fsx_mount *m, fs_ino ino)
{
	struct fs_inode rec;
	bool there = get_err(m, ino, slice_str("security.capability")) == 0;

	CHECK_OK(fs__inode_get(m->fs, ino, &rec));
	CHECK_U64_EQ((rec.xattrs & FS_HAS_CAPABILITY) != 0, there);
	return there;
}

static void grant(struct fsx_mount *m, fs_ino ino)
{
	CHECK_OK(set(m, ino, "security.capability", "cap", 0));
	CHECK_TRUE(has_capability(m, ino));
}

FSC_CASE(a_write_takes_capabilities)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *w = fsc_open(m, f, FS_O_WRITE);

	CHECK_OK(set(m, f, "user.a", "stays", 0));
	for (int i = 0; i < 3; i++) {
		grant(i == 1 ? n : m, f); /* the other mount's grant: this one does not know */
		fsc_write(w, 0, slice_str("x"));
		CHECK_FALSE(has_capability(n, f));
		CHECK_FALSE(has_capability(m, f));
	}
	fs_file_close(w);
	expect(m, f, "user.a", "stays");
}

FSC_CASE(so_do_truncation_and_another_owner)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_attr in = {.size = 4, .uid = 7, .gid = 8, .mode = 0700}, out;
	static const unsigned kill[] = {FS_SET_SIZE, FS_SET_UID, FS_SET_GID, FS_SET_SIZE | FS_SET_UID};

	for (size_t i = 0; i < sizeof(kill) / sizeof(kill[0]); i++) {
		grant(n, f);
		CHECK_OK(fs_setattr(m->fs, f, kill[i], &in, &out));
		CHECK_FALSE(has_capability(m, f));
		in.size--;
	}
	grant(n, f);
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE | FS_SET_MTIME_NOW, &in, &out));
	CHECK_TRUE(has_capability(m, f));
	CHECK_OK(fs_kv_put(m->fs, &fsc_cred, slice_str("/f"), slice_str("other"), false));
	CHECK_FALSE(has_capability(m, f));
}

FSC_CASE(known_from_memory_only_while_written)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *r, *w;

	CHECK_FALSE(fs_capability_known_absent(m->fs, f));
	r = fsc_open(m, f, FS_O_READ);
	CHECK_FALSE(fs_capability_known_absent(m->fs, f));
	w = fsc_open(m, f, FS_O_WRITE);
	CHECK_TRUE(fs_capability_known_absent(m->fs, f));
	grant(m, f);
	CHECK_FALSE(fs_capability_known_absent(m->fs, f));
	fsc_write(w, 0, slice_str("x"));
	CHECK_TRUE(fs_capability_known_absent(m->fs, f));
	CHECK_TRUE(fs_written_here(m->fs, f));
	fs_file_close(w);
	CHECK_FALSE(fs_capability_known_absent(m->fs, f));
	CHECK_FALSE(fs_written_here(m->fs, f));
	fs_file_close(r);
}

FSC_CASE(of_nothing)
{
	struct buf b = BUF_INIT;

	CHECK_ERR(set(m, 4711, "user.a", "1", 0), ERR_STALE);
	CHECK_ERR(set(m, 4711, "user.a", "1", FS_XATTR_REPLACE), ERR_STALE);
	CHECK_ERR(get_err(m, 4711, slice_str("user.a")), ERR_STALE);
	CHECK_ERR(fs_removexattr(m->fs, 4711, slice_str("user.a")), ERR_STALE);
	CHECK_ERR(fs_listxattr(m->fs, 4711, &b), ERR_STALE);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
	buf_release(&b);
}

FSC_CASE(listing)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct buf b = BUF_INIT;
	char name[32];
	size_t n = 0;

	CHECK_OK(fs_listxattr(m->fs, d, &b));
	CHECK_U64_EQ(b.len, 0);
	CHECK_OK(set(m, d, "user.b", "1", 0));
	CHECK_OK(set(m, d, "user.a", "2", 0));
	CHECK_OK(set(m, d, "user.\xff\x01", "3", 0));
	CHECK_OK(fs_listxattr(m->fs, d, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_of("user.a\0user.b\0user.\xff\x01", 22));
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "user.%d", i);
		CHECK_OK(set(m, d, name, "v", 0));
	}
	CHECK_OK(fs_listxattr(m->fs, d, &b));
	for (size_t i = 0; i < b.len; i++)
		n += b.data[i] == 0;
	CHECK_U64_EQ(n, 1003);
	CHECK_OK(fs_removexattr(m->fs, d, slice_str("user.500")));
	CHECK_ERR(get_err(m, d, slice_str("user.500")), ERR_NO_DATA);
	expect(m, d, "user.501", "v");
	buf_release(&b);
}

/* The list that Linux takes has 64 KiB. */
FSC_CASE(a_list_that_is_too_long)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct buf b = BUF_INIT;
	char name[FS_XATTR_NAME_MAX + 1];

	memset(name, 'x', sizeof(name));
	memcpy(name, "user.", 5);
	name[FS_XATTR_NAME_MAX] = 0;
	for (int i = 0; i < 256; i++) {
		name[6] = (char)('0' + i / 64);
		name[7] = (char)('0' + i % 64);
		CHECK_OK(set(m, f, name, "", 0));
	}
	CHECK_OK(fs_listxattr(m->fs, f, &b));
	CHECK_U64_EQ(b.len, 64 * 1024);
	CHECK_OK(set(m, f, "user.more", "", 0));
	CHECK_ERR(fs_listxattr(m->fs, f, &b), ERR_TOO_BIG);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
	buf_release(&b);
}

FSC_CASE(of_every_kind_of_file)
{
	struct fs_attr a;
	fs_ino d = fsc_mkdir(m, ROOT, "d");

	CHECK_OK(set(m, ROOT, "user.a", "root", 0));
	expect(m, ROOT, "user.a", "root");
	CHECK_OK(fs_symlink(m->fs, &fsc_cred, d, slice_str("s"), slice_str("t"), &a));
	CHECK_OK(set(m, a.ino, "trusted.a", "link", 0));
	expect(m, a.ino, "trusted.a", "link");
	CHECK_OK(fsc_unlink(m, d, "s"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 1);
}

/* An ACL decides about access: names made under the old one are not. */
FSC_CASE(an_acl_is_a_change_of_permissions)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_key k;
	struct fs_inode before, after;

	fs__key_inode(&k, d);
	CHECK_OK(fs__inode_decode(buf_slice(&fsx_find(m->x, fs__key_slice(&k))->value), &before));
	CHECK_OK(set(n, d, "user.x", "y", 0));
	CHECK_OK(fs__inode_decode(buf_slice(&fsx_find(m->x, fs__key_slice(&k))->value), &after));
	CHECK_U64_EQ(after.perm_version, before.perm_version);
	CHECK_OK(fs_setxattr(n->fs, d, slice_str("system.posix_acl_access"),
			     slice_of("\2\0\0\0"
				      "\1\0\7\0\377\377\377\377"
				      "\4\0\0\0\377\377\377\377"
				      "\40\0\0\0\377\377\377\377",
				      28),
			     0));
	CHECK_OK(fs__inode_decode(buf_slice(&fsx_find(m->x, fs__key_slice(&k))->value), &after));
	CHECK_TRUE(after.perm_version != before.perm_version);
}

FSC_CASE(seen_by_the_other_mount)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct buf b = BUF_INIT;

	CHECK_OK(fs_listxattr(n->fs, f, &b));
	CHECK_OK(set(m, f, "user.a", "1", 0));
	expect(n, f, "user.a", "1");
	CHECK_OK(fs_listxattr(n->fs, f, &b));
	CHECK_U64_EQ(b.len, 7);
	/* n's picture of the inode has no attributes: they must go all the same */
	CHECK_OK(fsc_unlink(n, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'X'), 0);
	buf_release(&b);
}

static const struct check_test tests[] = {
	CHECK_TEST(set_get_remove),
	CHECK_TEST(create_and_replace),
	CHECK_TEST(limits),
	CHECK_TEST(name_spaces),
	CHECK_TEST(a_write_takes_capabilities),
	CHECK_TEST(so_do_truncation_and_another_owner),
	CHECK_TEST(known_from_memory_only_while_written),
	CHECK_TEST(of_nothing),
	CHECK_TEST(listing),
	CHECK_TEST(a_list_that_is_too_long),
	CHECK_TEST(of_every_kind_of_file),
	CHECK_TEST(an_acl_is_a_change_of_permissions),
	CHECK_TEST(seen_by_the_other_mount),
};
CHECK_MAIN(tests)
