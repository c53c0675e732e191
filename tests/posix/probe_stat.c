#include <sys/sysmacros.h>

#include "tests/posix/probe.h"

#define B 32768

static void of_a_file(void)
{
	struct stat a, b;
	int fd = file("f", "abc");

	DOES(fstat(fd, &a));
	b = seen("f");
	WANT_EQ(a.st_ino, b.st_ino);
	WANT_EQ(b.st_size, 3);
	WANT_EQ(b.st_nlink, 1);
	WANT_EQ(b.st_mode, S_IFREG | 0644);
	WANT_EQ(b.st_uid, 0);
	WANT(b.st_blocks > 0);
	WANT(b.st_blksize > 0);
	WANT_EQ(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
}

static void sparse_files_have_few_blocks(void)
{
	int fd = file("f", "");

	DOES(ftruncate(fd, 100ll << 30));
	WANT_EQ(seen("f").st_blocks, 0);
	WANT_EQ(pwrite(fd, "x", 1, 50ll << 30), 1);
	WANT(seen("f").st_blocks > 0 && seen("f").st_blocks <= B / 512);
	DOES(ftruncate(fd, 0));
	WANT_EQ(seen("f").st_blocks, 0);
}

static void blocks_follow_writes(void)
{
	char b[B] = "x";
	int fd = file("f", "");

	DOES(ftruncate(fd, 100 * B));
	for (int i = 0; i < 10; i++) {
		WANT_EQ(pwrite(fd, b, B, (off_t)i * 3 * B), B);
		WANT_EQ(seen("f").st_blocks, (i + 1) * B / 512);
	}
}

static void an_open_file_without_a_name(void)
{
	int fd = file("f", "abc");
	struct stat st;

	DOES(unlink("f"));
	DOES(fstat(fd, &st));
	WANT_EQ(st.st_nlink, 0);
	WANT_EQ(st.st_size, 3);
	WANT(absent("f"));
}

static void empty_path(void)
{
	struct stat st;

	DOES(fstatat(file("f", "ab"), "", &st, AT_EMPTY_PATH));
	WANT_EQ(st.st_size, 2);
}

static struct stat unused;

static long nothing(void) { return stat("f", &unused); }
static long no_name(void) { return stat("", &unused); }
static long a_long_name(void) { return stat(long_name(256), &unused); }
static long a_long_path(void) { return stat(long_name(4096), &unused); }
static long of_nothing(void) { return fstat(-1, &unused); }

static long through_a_file(void)
{
	touch("f");
	return stat("f/x", &unused);
}

static long a_file_with_a_slash(void)
{
	touch("f");
	return stat("f/", &unused);
}

static long a_loop(void)
{
	DOES(symlink("l", "l"));
	return stat("l", &unused);
}

static long without_search(void)
{
	DOES(mkdir("d", 0700));
	DOES(close(file("d/f", "")));
	become(1000, 1000);
	return stat(see("d/f"), &unused);
}

static const struct probe_case cases[] = {
	OK(of_a_file),
	OK(sparse_files_have_few_blocks),
	OK_HERE(blocks_follow_writes),
	OK(an_open_file_without_a_name),
	OK(empty_path),
	FAILS(nothing, ENOENT),
	FAILS(no_name, ENOENT),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(a_long_path, ENAMETOOLONG),
	FAILS(of_nothing, EBADF),
	FAILS(through_a_file, ENOTDIR),
	FAILS(a_file_with_a_slash, ENOTDIR),
	FAILS(a_loop, ELOOP),
	FAILS(without_search, EACCES),
};
PROBE_SUITE(stat);
