#include <sys/statvfs.h>

#include "tests/posix/probe.h"

static void figures(void)
{
	struct statvfs a, b;

	DOES(statvfs(".", &a));
	DOES(statvfs(see("."), &b));
	WANT(a.f_frsize > 0 && a.f_bsize > 0);
	WANT(a.f_blocks > 0);
	WANT(a.f_bfree > 0 && a.f_bfree <= a.f_blocks);
	WANT(a.f_bavail <= a.f_bfree);
	WANT(a.f_files > 0 && a.f_ffree > 0 && a.f_ffree <= a.f_files);
	WANT_EQ(a.f_namemax, 255);
	WANT_EQ(b.f_blocks, a.f_blocks);
	WANT_EQ(b.f_frsize, a.f_frsize);
}

static void of_a_handle(void)
{
	struct statvfs s;

	DOES(fstatvfs(file("f", ""), &s));
	WANT_EQ(s.f_namemax, 255);
}

/* Those of the disk, and less than a petabyte: nothing made up. */
static void of_a_disk(void)
{
	struct statvfs s;

	DOES(statvfs(".", &s));
	WANT(s.f_blocks * s.f_frsize < 1ull << 50);
}

static struct statvfs unused;

static long nothing(void) { return statvfs("f", &unused); }
static long of_nothing(void) { return fstatvfs(-1, &unused); }

static const struct probe_case cases[] = {
	OK(figures),
	OK(of_a_handle),
	OK(of_a_disk),
	FAILS(nothing, ENOENT),
	FAILS(of_nothing, EBADF),
};
PROBE_SUITE(statfs);
