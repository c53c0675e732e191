#include "tests/posix/probe.h"

static void takes_the_name(void)
{
	touch("f");
	DOES(unlink("f"));
	WANT(absent("f"));
	WANT_ERRNO(unlink(see("f")), ENOENT);
}

static void of_a_symlink(void)
{
	touch("f");
	DOES(symlink("f", "l"));
	DOES(unlink("l"));
	WANT(absent("l"));
	WANT_EQ(seen("f").st_nlink, 1);
}

static void moves_the_directory_s_times(void)
{
	struct stat was, is;

	touch("f");
	was = seen(".");
	pause_ms(20);
	DOES(unlink("f"));
	is = seen(".");
	WANT(is.st_mtim.tv_sec > was.st_mtim.tv_sec || is.st_mtim.tv_nsec > was.st_mtim.tv_nsec);
}

static void of_a_directory(void)
{
	DOES(mkdir("d", 0755));
	WANT_EQ(seen(".").st_nlink, 3);
	DOES(rmdir("d"));
	WANT(absent("d"));
	WANT_EQ(seen(".").st_nlink, 2);
}

static long nothing(void) { return unlink("f"); }
static long a_directory(void) { return DOES(mkdir("d", 0755)), unlink("d"); }
static long a_long_name(void) { return unlink(long_name(256)); }
static long rmdir_of_nothing(void) { return rmdir("d"); }
static long rmdir_of_dot(void) { return rmdir("."); }

static long rmdir_of_a_file(void)
{
	touch("f");
	return rmdir("f");
}

static long rmdir_of_a_full_one(void)
{
	DOES(mkdir("d", 0755));
	DOES(close(open(see("d/f"), O_CREAT | O_WRONLY, 0644)));
	return rmdir("d");
}

static long rmdir_of_dot_dot(void)
{
	DOES(mkdir("d", 0755));
	return rmdir("d/..");
}

static long through_a_file(void)
{
	touch("f");
	return unlink("f/x");
}

static long without_permission(void)
{
	DOES(chmod(".", 0755));
	touch("f");
	become(1000, 1000);
	return unlink("f");
}

static long another_s_in_a_sticky_directory(void)
{
	DOES(mkdir("d", 01777));
	DOES(close(file("d/f", "")));
	become(1000, 1000);
	return unlink(see("d/f"));
}

static const struct probe_case cases[] = {
	OK(takes_the_name),
	OK(of_a_symlink),
	OK(moves_the_directory_s_times),
	OK(of_a_directory),
	FAILS(nothing, ENOENT),
	FAILS(a_directory, EISDIR),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(rmdir_of_nothing, ENOENT),
	FAILS(rmdir_of_dot, EINVAL),
	FAILS(rmdir_of_a_file, ENOTDIR),
	FAILS(rmdir_of_a_full_one, ENOTEMPTY),
	FAILS(rmdir_of_dot_dot, ENOTEMPTY),
	FAILS(through_a_file, ENOTDIR),
	FAILS(without_permission, EACCES),
	FAILS(another_s_in_a_sticky_directory, EPERM),
};
PROBE_SUITE(unlink);
