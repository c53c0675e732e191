#include <linux/fs.h>

#include "tests/posix/probe.h"

static long rename2(const char *a, const char *b, unsigned flags)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void replaces(void)
{
	int old;
	char c;

	DOES(close(file("a", "one")));
	old = file("b", "two");
	DOES(rename("a", "b"));
	WANT(absent("a"));
	contents("b", "one");
	WANT_EQ(pread(old, &c, 1, 0), 1);
	WANT_EQ(c, 't');
}

static void between_directories(void)
{
	DOES(mkdir("d", 0755));
	DOES(mkdir("e", 0755));
	DOES(mkdir("d/sub", 0755));
	DOES(close(file("d/sub/f", "x")));
	DOES(rename("d/sub", "e/moved"));
	contents("e/moved/f", "x");
	WANT_EQ(seen("d").st_nlink, 2);
	WANT_EQ(seen("e").st_nlink, 3);
	DOES(mkdir("d/empty", 0755));
	DOES(rename("e/moved", "d/empty")); /* an empty one is replaced */
	contents("d/empty/f", "x");
}

static void links_of_one_file(void)
{
	touch("a");
	DOES(link("a", "b"));
	DOES(rename("a", "b"));
	WANT_EQ(seen("a").st_nlink, 2);
	WANT_EQ(seen("b").st_nlink, 2);
}

static void exchanges(void)
{
	DOES(close(file("a", "one")));
	DOES(mkdir("d", 0755));
	DOES(rename2("a", "d", RENAME_EXCHANGE));
	contents("d", "one");
	WANT(S_ISDIR(seen("a").st_mode));
}

static void leaves_a_whiteout(void)
{
	DOES(close(file("a", "one")));
	DOES(rename2("a", "b", RENAME_WHITEOUT));
	contents("b", "one");
	WANT_EQ(seen("a").st_mode & S_IFMT, S_IFCHR);
	WANT_EQ(seen("a").st_rdev, 0);
	touch("c");
	DOES(rename2("c", "d", RENAME_WHITEOUT | RENAME_NOREPLACE));
	WANT_EQ(seen("c").st_rdev, 0);
}

static void ctime_moves(void)
{
	struct stat was, is;

	touch("a");
	was = seen("a");
	pause_ms(20);
	DOES(rename("a", "b"));
	is = seen("b");
	WANT(is.st_ctim.tv_sec > was.st_ctim.tv_sec || is.st_ctim.tv_nsec > was.st_ctim.tv_nsec);
	WANT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec);
}

static void ready(void)
{
	touch("f");
	DOES(mkdir("d", 0755));
	DOES(mkdir("d/e", 0755));
}

static long nothing(void) { return rename("x", "y"); }

static long onto_a_directory(void)
{
	ready();
	return rename("f", "d");
}

static long a_directory_onto_a_file(void)
{
	ready();
	return rename("d", "f");
}

static long onto_a_full_directory(void)
{
	ready();
	DOES(mkdir("g", 0755));
	return rename("g", "d");
}

static long into_itself(void)
{
	ready();
	return rename("d", "d/e/x");
}

static long not_over_another(void)
{
	ready();
	touch("g");
	return rename2("g", "f", RENAME_NOREPLACE);
}

static long exchange_with_nothing(void)
{
	ready();
	return rename2("f", "x", RENAME_EXCHANGE);
}

static long exchange_and_not_over(void)
{
	ready();
	return rename2("f", "d", RENAME_EXCHANGE | RENAME_NOREPLACE);
}

static long exchange_and_whiteout(void)
{
	ready();
	return rename2("f", "d", RENAME_EXCHANGE | RENAME_WHITEOUT);
}

static long unknown_flags(void)
{
	ready();
	return rename2("f", "g", 64);
}

static long to_a_long_name(void)
{
	ready();
	return rename("f", long_name(256));
}

static long to_a_file_with_a_slash(void)
{
	ready();
	return rename("f", "x/");
}

static long of_dot(void)
{
	ready();
	return rename("d/.", "x");
}

static long without_permission(void)
{
	DOES(chmod(".", 0755));
	touch("f");
	become(1000, 1000);
	return rename("f", "g");
}

static long of_another_in_a_sticky_directory(void)
{
	DOES(mkdir("d", 01777));
	DOES(close(file("d/f", "")));
	become(1000, 1000);
	return rename("d/f", "d/g");
}

static const struct probe_case cases[] = {
	OK(replaces),
	OK(between_directories),
	OK(links_of_one_file),
	OK(exchanges),
	OK(leaves_a_whiteout),
	OK(ctime_moves),
	FAILS(nothing, ENOENT),
	FAILS(onto_a_directory, EISDIR),
	FAILS(a_directory_onto_a_file, ENOTDIR),
	FAILS(onto_a_full_directory, ENOTEMPTY),
	FAILS(into_itself, EINVAL),
	FAILS(not_over_another, EEXIST),
	FAILS(exchange_with_nothing, ENOENT),
	FAILS(exchange_and_not_over, EINVAL),
	FAILS(exchange_and_whiteout, EINVAL),
	FAILS(unknown_flags, EINVAL),
	FAILS(to_a_long_name, ENAMETOOLONG),
	FAILS(to_a_file_with_a_slash, ENOTDIR),
	FAILS(of_dot, EBUSY),
	FAILS(without_permission, EACCES),
	FAILS(of_another_in_a_sticky_directory, EPERM),
};
PROBE_SUITE(rename);
