#include "tests/posix/probe.h"

static void creates(void)
{
	int fd = open("f", O_CREAT | O_WRONLY, 0640);

	DOES(fd);
	WANT_EQ(seen("f").st_mode, S_IFREG | 0640);
	WANT_EQ(seen("f").st_size, 0);
}

static void umask_counts(void)
{
	umask(027);
	DOES(open("f", O_CREAT | O_WRONLY, 0666));
	WANT_EQ(seen("f").st_mode & 07777, 0640);
}

static void truncates(void)
{
	DOES(close(file("f", "abc")));
	DOES(open("f", O_WRONLY | O_TRUNC));
	WANT_EQ(seen("f").st_size, 0);
}

static void what_others_made_is_there(void)
{
	DOES(close(open(see("f"), O_CREAT | O_EXCL | O_WRONLY, 0644)));
	WANT_ERRNO(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	DOES(unlink(see("f")));
	DOES(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644));
}

static void long_names(void)
{
	const char *name = long_name(255);

	DOES(open(name, O_CREAT | O_WRONLY, 0644));
	WANT_EQ(seen(name).st_size, 0);
}

static void what_is_written_synchronously(void)
{
	int fd = open("f", O_CREAT | O_WRONLY | O_SYNC, 0644);

	WANT_EQ(write(fd, "abc", 3), 3);
	contents("f", "abc");
}

static void group_of_a_setgid_directory(void)
{
	DOES(chown(".", 0, 77));
	DOES(chmod(".", 02777));
	touch("f");
	WANT_EQ(seen("f").st_gid, 77);
}

static long nothing(void) { return open("f", O_RDONLY); }
static long a_long_name(void) { return open(long_name(256), O_CREAT | O_WRONLY, 0644); }
static long a_directory_to_write(void) { return open(".", O_WRONLY); }
static long a_directory_to_make(void) { return open(".", O_CREAT | O_WRONLY, 0644); }
static long in_nothing(void) { return open("d/f", O_CREAT | O_WRONLY, 0644); }
static long without_a_name(void) { return open("", O_RDONLY); }

static long there_already(void)
{
	touch("f");
	return open("f", O_CREAT | O_EXCL | O_WRONLY, 0644);
}

static long a_dangling_link_there(void)
{
	DOES(symlink("x", "f"));
	return open("f", O_CREAT | O_EXCL | O_WRONLY, 0644);
}

static long a_file_as_a_directory(void)
{
	touch("f");
	return open("f", O_RDONLY | O_DIRECTORY);
}

static long through_a_file(void)
{
	touch("f");
	return open("f/x", O_RDONLY);
}

static long a_link_not_followed(void)
{
	DOES(symlink("x", "l"));
	return open("l", O_RDONLY | O_NOFOLLOW);
}

static long a_loop(void)
{
	DOES(symlink("a", "b"));
	DOES(symlink("b", "a"));
	return open("a", O_RDONLY);
}

static long without_permission_to_read(void)
{
	touch("f");
	DOES(chmod("f", 0200));
	become(1000, 1000);
	return open(see("f"), O_RDONLY);
}

static long without_permission_to_make(void)
{
	DOES(chmod(".", 0755));
	become(1000, 1000);
	return open("f", O_CREAT | O_WRONLY, 0644);
}

static long a_fifo_without_a_reader(void)
{
	DOES(mkfifo("p", 0644));
	return open("p", O_WRONLY | O_NONBLOCK);
}

static long a_file_without_a_name(void)
{
	return open(".", O_TMPFILE | O_RDWR, 0644); /* libfuse 3.14 does not hand it on */
}

static const struct probe_case cases[] = {
	OK(creates),
	OK(umask_counts),
	OK(truncates),
	OK(what_others_made_is_there),
	OK(long_names),
	OK(what_is_written_synchronously),
	OK(group_of_a_setgid_directory),
	FAILS(nothing, ENOENT),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(a_directory_to_write, EISDIR),
	FAILS(a_directory_to_make, EISDIR),
	FAILS(in_nothing, ENOENT),
	FAILS(without_a_name, ENOENT),
	FAILS(there_already, EEXIST),
	FAILS(a_dangling_link_there, EEXIST),
	FAILS(a_file_as_a_directory, ENOTDIR),
	FAILS(through_a_file, ENOTDIR),
	FAILS(a_link_not_followed, ELOOP),
	FAILS(a_loop, ELOOP),
	FAILS(without_permission_to_read, EACCES),
	FAILS(without_permission_to_make, EACCES),
	FAILS(a_fifo_without_a_reader, ENXIO),
	FAILS_HERE(a_file_without_a_name, EOPNOTSUPP),
};
PROBE_SUITE(open);
