#include "tests/posix/probe.h"

static void makes(void)
{
	umask(022);
	DOES(mkdir("d", 0777));
	WANT_EQ(seen("d").st_mode, S_IFDIR | 0755);
	WANT_EQ(seen("d").st_nlink, 2);
	WANT_EQ(seen(".").st_nlink, 3);
	DOES(mkdir(see("d/e"), 0755));
	WANT_EQ(seen("d").st_nlink, 3);
}

static void inherits_setgid(void)
{
	DOES(chown(".", 0, 77));
	DOES(chmod(".", 02777));
	DOES(mkdir("d", 0755));
	WANT_EQ(seen("d").st_gid, 77);
	WANT(seen("d").st_mode & S_ISGID);
}

static void deep(void)
{
	char path[1024] = "";

	for (int i = 0; i < 100; i++) {
		strcat(path, i ? "/d" : "d");
		DOES(mkdir(path, 0755));
	}
	WANT(S_ISDIR(seen(path).st_mode));
}

static long there_already(void) { return DOES(mkdir(see("d"), 0755)), mkdir("d", 0755); }
static long over_a_file(void) { return touch("f"), mkdir("f", 0755); }
static long over_a_dangling_link(void) { return DOES(symlink("x", "l")), mkdir("l", 0755); }
static long in_nothing(void) { return mkdir("a/b", 0755); }
static long in_a_file(void) { return touch("f"), mkdir("f/d", 0755); }
static long a_long_name(void) { return mkdir(long_name(256), 0755); }
static long without_a_name(void) { return mkdir("", 0755); }
static long dot(void) { return mkdir(".", 0755); }

static long without_permission(void)
{
	DOES(chmod(".", 0755));
	become(1000, 1000);
	return mkdir("d", 0755);
}

static const struct probe_case cases[] = {
	OK(makes),
	OK(inherits_setgid),
	OK(deep),
	FAILS(there_already, EEXIST),
	FAILS(over_a_file, EEXIST),
	FAILS(over_a_dangling_link, EEXIST),
	FAILS(in_nothing, ENOENT),
	FAILS(in_a_file, ENOTDIR),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(without_a_name, ENOENT),
	FAILS(dot, EEXIST),
	FAILS(without_permission, EACCES),
};
PROBE_SUITE(mkdir);
