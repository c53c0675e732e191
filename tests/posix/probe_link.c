#include "tests/posix/probe.h"

static void names_one_file(void)
{
	int fd = file("a", "abc");

	DOES(link("a", "b"));
	WANT_EQ(seen("a").st_ino, seen("b").st_ino);
	WANT_EQ(seen("b").st_nlink, 2);
	WANT_EQ(pwrite(fd, "X", 1, 0), 1);
	contents("b", "Xbc");
	DOES(unlink("a"));
	WANT(absent("a"));
	WANT_EQ(seen("b").st_nlink, 1);
}

static void to_a_symlink(void)
{
	DOES(symlink("x", "l"));
	DOES(linkat(AT_FDCWD, "l", AT_FDCWD, "m", 0));
	WANT(S_ISLNK(seen("m").st_mode));
	WANT_EQ(seen("m").st_nlink, 2);
}

static void moves_ctime(void)
{
	struct stat was, is;

	touch("a");
	was = seen("a");
	pause_ms(20);
	DOES(link("a", "b"));
	is = seen("a");
	WANT(is.st_ctim.tv_sec > was.st_ctim.tv_sec || is.st_ctim.tv_nsec > was.st_ctim.tv_nsec);
}

static long nothing(void) { return link("a", "b"); }

static long there_already(void)
{
	touch("a");
	touch("b");
	return link("a", "b");
}

static long a_directory(void)
{
	DOES(mkdir("d", 0755));
	return link("d", "e");
}

static long to_a_long_name(void)
{
	touch("a");
	return link("a", long_name(256));
}

static long in_a_file(void)
{
	touch("a");
	touch("b");
	return link("a", "b/c");
}

static long between_file_systems(void)
{
	return link("/proc/self/status", "b");
}

static long without_permission(void)
{
	DOES(chmod(".", 0755));
	touch("a");
	DOES(chmod("a", 0666));
	become(1000, 1000);
	return link("a", "b");
}

static const struct probe_case cases[] = {
	OK(names_one_file),
	OK(to_a_symlink),
	OK(moves_ctime),
	FAILS(nothing, ENOENT),
	FAILS(there_already, EEXIST),
	FAILS(a_directory, EPERM),
	FAILS(to_a_long_name, ENAMETOOLONG),
	FAILS(in_a_file, ENOTDIR),
	FAILS(between_file_systems, EXDEV),
	FAILS(without_permission, EACCES),
};
PROBE_SUITE(link);
