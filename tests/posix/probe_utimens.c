#include "tests/posix/probe.h"

static void sets_times(void)
{
	struct timespec t[2] = {{.tv_sec = 1000, .tv_nsec = 123456789},
				{.tv_sec = 2000000000, .tv_nsec = 1}};
	struct stat st;

	touch("f");
	DOES(utimensat(AT_FDCWD, "f", t, 0));
	st = seen("f");
	WANT_EQ(st.st_atim.tv_sec, 1000);
	WANT_EQ(st.st_atim.tv_nsec, 123456789);
	WANT_EQ(st.st_mtim.tv_sec, 2000000000);
	WANT_EQ(st.st_mtim.tv_nsec, 1);
}

static void one_of_them(void)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 5}};
	struct stat was, is;

	touch("f");
	was = seen("f");
	pause_ms(20);
	DOES(utimensat(AT_FDCWD, "f", t, 0));
	is = seen("f");
	WANT_EQ(is.st_atim.tv_nsec, was.st_atim.tv_nsec);
	WANT_EQ(is.st_mtim.tv_sec, 5);
	WANT(is.st_ctim.tv_sec > was.st_ctim.tv_sec || is.st_ctim.tv_nsec > was.st_ctim.tv_nsec);
}

static void before_1970(void)
{
	struct timespec t[2] = {{.tv_sec = -10}, {.tv_sec = -20, .tv_nsec = 7}};

	touch("f");
	DOES(utimensat(AT_FDCWD, "f", t, 0));
	WANT_EQ(seen("f").st_atim.tv_sec, -10);
	WANT_EQ(seen("f").st_mtim.tv_sec, -20);
	WANT_EQ(seen("f").st_mtim.tv_nsec, 7);
}

static void of_a_symlink(void)
{
	struct timespec t[2] = {{.tv_sec = 5}, {.tv_sec = 6}};

	DOES(symlink("x", "l"));
	DOES(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
	WANT_EQ(seen("l").st_mtim.tv_sec, 6);
}

static void now_for_who_may_write(void)
{
	touch("f");
	DOES(chmod("f", 0666));
	become(1000, 1000);
	DOES(utimensat(AT_FDCWD, "f", NULL, 0));
}

static struct timespec some[2] = {{.tv_sec = 1}, {.tv_sec = 2}};

static long of_nothing(void) { return utimensat(AT_FDCWD, "f", some, 0); }

static long bad_nanoseconds(void)
{
	struct timespec t[2] = {{.tv_nsec = 1000000000}, {.tv_sec = 1}};

	touch("f");
	return utimensat(AT_FDCWD, "f", t, 0);
}

static long of_another_s(void)
{
	touch("f");
	DOES(chmod("f", 0666));
	become(1000, 1000);
	return utimensat(AT_FDCWD, see("f"), some, 0);
}

static long now_without_permission(void)
{
	touch("f");
	become(1000, 1000);
	return utimensat(AT_FDCWD, see("f"), NULL, 0);
}

static const struct probe_case cases[] = {
	OK(sets_times),
	OK(one_of_them),
	OK(before_1970),
	OK(of_a_symlink),
	OK(now_for_who_may_write),
	FAILS(of_nothing, ENOENT),
	FAILS(bad_nanoseconds, EINVAL),
	FAILS(of_another_s, EPERM),
	FAILS(now_without_permission, EACCES),
};
PROBE_SUITE(utimens);
