/* Names of odd bytes and of all lengths; symbolic links. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO

static int make(struct fsx_mount *m, fs_ino dir, struct slice name)
{
	struct fs_attr a;

	return fs_mknod(m->fs, &fsc_cred, dir, name, S_IFREG | 0644, 0, &a);
}

struct looking {
	struct slice name;
	unsigned found;
};

static bool look(void *ctx, const struct fs_dirent *d)
{
	struct looking *l = ctx;

	l->found += slice_eq(d->name, l->name);
	return true;
}

static unsigned listed(struct fsx_mount *m, fs_ino dir, struct slice name)
{
	struct looking l = {.name = name};

	CHECK_OK(fs_readdir(m->fs, dir, 0, false, look, &l));
	return l.found;
}

FSC_CASE(every_byte_but_two)
{
	fs_ino d = fsc_mkdir(m, ROOT, "d");

	for (int c = 0; c < 256; c++) {
		uint8_t b = (uint8_t)c;
		struct fs_attr a;

		if (c == '.')
			continue;
		if (c == 0 || c == '/') {
			CHECK_ERR(make(m, d, slice_of(&b, 1)), ERR_INVAL);
			CHECK_ERR(fs_lookup(m->fs, d, slice_of(&b, 1), &a), ERR_INVAL);
			continue;
		}
		CHECK_OK(make(m, d, slice_of(&b, 1)));
		CHECK_OK(fs_lookup(m->fs, d, slice_of(&b, 1), &a));
		CHECK_U64_EQ(listed(m, d, slice_of(&b, 1)), 1);
	}
	CHECK_U64_EQ(fsc_entries(m, d), 253);
}

FSC_CASE(bytes_stand_for_themselves)
{
	static const char *names[] = {" ", "  ", "a ", " a", "\n", "-rf", "...", "..a", "*", "\\",
				      "\xc3\xa9", "e\xcc\x81", "\xff\xfe", "A", "a", "\"'`$"};
	size_t n = sizeof(names) / sizeof(names[0]);
	fs_ino d = fsc_mkdir(m, ROOT, "d"), inos[16];

	for (size_t i = 0; i < n; i++)
		inos[i] = fsc_file(m, d, names[i], names[i]);
	CHECK_U64_EQ(fsc_entries(m, d), n);
	for (size_t i = 0; i < n; i++) {
		CHECK_U64_EQ(fsc_ino(m, d, names[i]), inos[i]);
		fsc_contents(m, inos[i], names[i]);
		CHECK_U64_EQ(listed(m, d, slice_str(names[i])), 1);
	}
}

FSC_CASE(lengths)
{
	uint8_t name[FS_NAME_MAX + 1];
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr a;

	memset(name, 0xff, sizeof(name));
	for (size_t n = 1; n <= FS_NAME_MAX; n++) {
		CHECK_OK(make(m, d, slice_of(name, n)));
		CHECK_ERR(make(m, d, slice_of(name, n)), ERR_EXISTS);
	}
	CHECK_U64_EQ(fsc_entries(m, d), FS_NAME_MAX);
	CHECK_U64_EQ(listed(m, d, slice_of(name, FS_NAME_MAX)), 1);
	CHECK_OK(fs_lookup(m->fs, d, slice_of(name, FS_NAME_MAX), &a));
	CHECK_OK(fs_rename(m->fs, d, slice_of(name, FS_NAME_MAX), ROOT, slice_str("s"), 0));
	CHECK_U64_EQ(fsc_ino(m, ROOT, "s"), a.ino);
	CHECK_OK(fs_rename(m->fs, ROOT, slice_str("s"), d, slice_of(name, FS_NAME_MAX), 0));
	CHECK_OK(fs_unlink(m->fs, d, slice_of(name, FS_NAME_MAX)));
}

FSC_CASE(too_long)
{
	struct slice name = slice_of(memset(calloc(1, 300), 'n', 300), 256);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *file;
	struct fs_attr a;

	CHECK_ERR(make(m, ROOT, name), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_lookup(m->fs, ROOT, name, &a), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, ROOT, name, 0777, &a), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_symlink(m->fs, &fsc_cred, ROOT, name, slice_str("t"), &a),
		  ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_create(m->fs, &fsc_cred, ROOT, name, S_IFREG, FS_O_WRITE, &a, &file),
		  ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_link(m->fs, f, ROOT, name, &a), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_unlink(m->fs, ROOT, name), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_rmdir(m->fs, ROOT, name), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_rename(m->fs, ROOT, slice_str("f"), ROOT, name, 0), ERR_NAME_TOO_LONG);
	CHECK_ERR(fs_rename(m->fs, ROOT, name, ROOT, slice_str("g"), 0), ERR_NAME_TOO_LONG);
	CHECK_U64_EQ(fsc_entries(m, ROOT), 1);
	free((void *)(uintptr_t)name.p);
}

FSC_CASE(empty_names)
{
	struct slice none = {0};
	struct fs_attr a;

	CHECK_ERR(make(m, ROOT, none), ERR_NOT_FOUND);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, ROOT, none, 0777, &a), ERR_NOT_FOUND);
	CHECK_ERR(fs_unlink(m->fs, ROOT, none), ERR_NOT_FOUND);
	CHECK_ERR(fs_rename(m->fs, ROOT, none, ROOT, slice_str("x"), 0), ERR_NOT_FOUND);
}

/* ---- symbolic links ---- */

FSC_CASE(symlinks_keep_their_target)
{
	char *target = calloc(1, FS_SYMLINK_MAX + 2);
	struct buf b = BUF_INIT;
	struct fs_attr a, c;

	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("s"), slice_str("../a b/\xff"),
			    &a));
	CHECK_U64_EQ(a.mode, S_IFLNK | 0777);
	CHECK_U64_EQ(a.size, 8);
	CHECK_U64_EQ(a.nlink, 1);
	c = fsc_attr(m, a.ino);
	CHECK_MEM_EQ(&a, &c, sizeof(a));
	CHECK_OK(fs_readlink(m->fs, a.ino, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("../a b/\xff"));
	memset(target, 't', FS_SYMLINK_MAX + 1);
	CHECK_ERR(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("l"), slice_str(target), &a),
		  ERR_NAME_TOO_LONG);
	target[FS_SYMLINK_MAX] = 0;
	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("l"), slice_str(target), &a));
	CHECK_OK(fs_readlink(m->fs, a.ino, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str(target));
	CHECK_ERR(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("e"), slice_str(""), &a),
		  ERR_NOT_FOUND);
	buf_release(&b);
	free(target);
}

FSC_CASE(symlinks_survive_changes)
{
	struct fs_attr in = {.uid = 77, .mtime_ns = 5}, a;
	struct buf b = BUF_INIT;

	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("s"), slice_str("target"), &a));
	CHECK_OK(fs_setattr(m->fs, a.ino, FS_SET_UID | FS_SET_MTIME, &in, &a));
	CHECK_U64_EQ(a.uid, 77);
	CHECK_OK(fsc_link(m, a.ino, ROOT, "t"));
	CHECK_OK(fsc_rename(m, ROOT, "s", ROOT, "u", 0));
	CHECK_OK(fs_readlink(m->fs, a.ino, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("target"));
	CHECK_U64_EQ(fsc_attr(m, a.ino).nlink, 2);
	buf_release(&b);
}

FSC_CASE(symlinks_are_no_files)
{
	fs_ino f = fsc_file(m, ROOT, "f", "x"), d = fsc_mkdir(m, ROOT, "d");
	struct fs_attr in = {.size = 1}, a;
	struct fs_file *file = NULL;
	struct buf b = BUF_INIT;

	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str("s"), slice_str("f"), &a));
	CHECK_ERR(fs_file_open(m->fs, a.ino, FS_O_READ, &file), ERR_LOOP);
	CHECK_ERR(fs_setattr(m->fs, a.ino, FS_SET_SIZE, &in, &a), ERR_INVAL);
	CHECK_ERR(fsc_rmdir(m, ROOT, "s"), ERR_NOT_DIR);
	CHECK_ERR(fs_readlink(m->fs, f, &b), ERR_INVAL);
	CHECK_ERR(fs_readlink(m->fs, d, &b), ERR_INVAL);
	CHECK_ERR(fs_readlink(m->fs, 4711, &b), ERR_STALE);
	CHECK_OK(fsc_unlink(m, ROOT, "s"));
	CHECK_U64_EQ(fsx_count(m->x, 'I'), 3);
	buf_release(&b);
}

static const struct check_test tests[] = {
	CHECK_TEST(every_byte_but_two),
	CHECK_TEST(bytes_stand_for_themselves),
	CHECK_TEST(lengths),
	CHECK_TEST(too_long),
	CHECK_TEST(empty_names),
	CHECK_TEST(symlinks_keep_their_target),
	CHECK_TEST(symlinks_survive_changes),
	CHECK_TEST(symlinks_are_no_files),
};
CHECK_MAIN(tests)
