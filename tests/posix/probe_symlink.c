#include "tests/posix/probe.h"

static void leads(void)
{
	char b[64];

	DOES(close(file("f", "abc")));
	DOES(symlink("f", "l"));
	WANT_EQ(readlink(see("l"), b, sizeof(b)), 1);
	WANT_EQ(b[0], 'f');
	contents("l", "abc");
	WANT_EQ(seen("l").st_size, 1);
	WANT_EQ(seen("l").st_mode, S_IFLNK | 0777);
}

static void long_targets(void)
{
	static char b[5000];
	const char *t = long_name(4095);

	DOES(symlink(t, "l"));
	WANT_EQ(readlink(see("l"), b, sizeof(b)), 4095);
	WANT_EQ(readlink(see("l"), b, 10), 10);
}

static long there_already(void) { return touch("l"), symlink("f", "l"); }
static long to_nothing(void) { return symlink("", "l"); }
static long to_far_too_long(void) { return symlink(long_name(4096), "l"); }
static long a_long_name(void) { return symlink("f", long_name(256)); }

static long readlink_of_a_file(void)
{
	char b[8];

	touch("f");
	return readlink("f", b, sizeof(b));
}

static long readlink_of_nothing(void)
{
	char b[8];

	return readlink("f", b, sizeof(b));
}

static long through_41(void)
{
	char name[16], target[16];

	touch("l0");
	for (int i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		DOES(symlink(target, name));
	}
	return open("l41", O_RDONLY);
}

static const struct probe_case cases[] = {
	OK(leads),
	OK(long_targets),
	FAILS(there_already, EEXIST),
	FAILS(to_nothing, ENOENT),
	FAILS(to_far_too_long, ENAMETOOLONG),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(readlink_of_a_file, EINVAL),
	FAILS(readlink_of_nothing, ENOENT),
	FAILS(through_41, ELOOP),
};
PROBE_SUITE(symlink);
