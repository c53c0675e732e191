#include <grp.h>

#include "tests/posix/probe.h"

static void bits_of_the_owner(void)
{
	touch("f");
	DOES(chown("f", 1000, 2000));
	DOES(chmod("f", 0477)); /* the owner has the owner's bits, whatever the others may */
	become(1000, 1000);
	DOES(access(see("f"), R_OK));
	WANT_ERRNO(access(see("f"), W_OK), EACCES);
	WANT_ERRNO(access(see("f"), X_OK), EACCES);
	WANT_ERRNO(access(see("f"), R_OK | W_OK), EACCES);
}

static void bits_of_the_group(void)
{
	gid_t groups[2] = {2000, 3000};

	touch("f");
	DOES(chown("f", 1, 3000));
	DOES(chmod("f", 0060));
	DOES(setgroups(2, groups));
	DOES(setresgid(1000, 1000, 1000));
	DOES(setresuid(1000, 1000, 1000));
	DOES(access(see("f"), R_OK | W_OK));
	DOES(open(see("f"), O_RDWR));
	WANT_ERRNO(access(see("f"), X_OK), EACCES);
}

static void what_root_may(void)
{
	touch("f");
	DOES(chmod("f", 0));
	DOES(access(see("f"), R_OK | W_OK));
	WANT_ERRNO(access(see("f"), X_OK), EACCES);
	DOES(mkdir("d", 0));
	DOES(access(see("d"), R_OK | W_OK | X_OK));
	DOES(chmod("f", 0001));
	DOES(access(see("f"), X_OK));
}

static void real_and_effective(void)
{
	touch("f");
	DOES(chmod("f", 0600));
	DOES(setgroups(0, NULL));
	DOES(setresuid(1000, 0, 0));
	WANT_ERRNO(access(see("f"), R_OK), EACCES);
	DOES(faccessat(AT_FDCWD, see("f"), R_OK, AT_EACCESS));
}

static void changed_by_another(void)
{
	touch("f");
	DOES(chown("f", 1000, 1000));
	DOES(chmod("f", 0600));
	become(1000, 1000);
	DOES(access("f", R_OK));
	DOES(chmod(see("f"), 0));
	WANT_ERRNO(access("f", R_OK), EACCES);
	WANT_ERRNO(open("f", O_RDONLY), EACCES);
}

static void of_a_dangling_link(void)
{
	DOES(symlink("x", "l"));
	WANT_ERRNO(access("l", F_OK), ENOENT);
	DOES(faccessat(AT_FDCWD, "l", F_OK, AT_SYMLINK_NOFOLLOW));
}

static long nothing(void)
{
	return access("f", F_OK);
}
static long an_unknown_mode(void)
{
	return access(".", 8);
}
static long at_nothing(void)
{
	return faccessat(-1, "f", F_OK, 0);
}

static long through_a_file(void)
{
	touch("f");
	return access("f/x", F_OK);
}

static long without_search(void)
{
	DOES(mkdir("d", 0600));
	DOES(close(file("d/f", "")));
	become(1000, 1000);
	return access(see("d/f"), F_OK);
}

static const struct probe_case cases[] = {
	OK(bits_of_the_owner),		OK(bits_of_the_group),		OK(what_root_may),
	OK(real_and_effective),		OK(changed_by_another),		OK(of_a_dangling_link),
	FAILS(nothing, ENOENT),		FAILS(an_unknown_mode, EINVAL), FAILS(at_nothing, EBADF),
	FAILS(through_a_file, ENOTDIR), FAILS(without_search, EACCES),
};
PROBE_SUITE(access);
