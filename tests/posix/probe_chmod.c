#include "tests/posix/probe.h"

static void sets_the_mode(void)
{
	touch("f");
	DOES(chmod("f", 04751));
	WANT_EQ(seen("f").st_mode, S_IFREG | 04751);
	DOES(mkdir("d", 0755));
	DOES(chmod("d", 01777));
	WANT_EQ(seen("d").st_mode, S_IFDIR | 01777);
}

static void counts_at_once(void)
{
	touch("f");
	DOES(chmod("f", 0600));
	become(1000, 1000);
	WANT_ERRNO(open(see("f"), O_RDONLY), EACCES);
}

static void setgid_of_a_foreign_group_goes(void)
{
	touch("f");
	DOES(chown("f", 1000, 2000));
	become(1000, 1000);
	DOES(chmod("f", 02755));
	WANT_EQ(seen("f").st_mode & 07777, 0755);
}

static void owner_and_group(void)
{
	touch("f");
	DOES(chown("f", 1234, 4321));
	WANT_EQ(seen("f").st_uid, 1234);
	WANT_EQ(seen("f").st_gid, 4321);
	DOES(chown("f", (uid_t)-1, 77));
	WANT_EQ(seen("f").st_uid, 1234);
	WANT_EQ(seen("f").st_gid, 77);
	DOES(symlink("f", "l"));
	DOES(lchown("l", 5, 6));
	WANT_EQ(seen("l").st_uid, 5);
	WANT_EQ(seen("f").st_uid, 1234);
}

static void chown_takes_set_id_bits(void)
{
	touch("f");
	DOES(chmod("f", 06755));
	DOES(chown("f", 1000, 1000));
	WANT_EQ(seen("f").st_mode & 07777, 0755);
}

static long of_nothing(void) { return chmod("f", 0644); }
static long chown_of_nothing(void) { return chown("f", 0, 0); }

static long of_another_s(void)
{
	touch("f");
	become(1000, 1000);
	return chmod(see("f"), 0777);
}

static long giving_away(void)
{
	touch("f");
	DOES(chown("f", 1000, 1000));
	become(1000, 1000);
	return chown("f", 1001, (gid_t)-1);
}

static long to_a_foreign_group(void)
{
	touch("f");
	DOES(chown("f", 1000, 1000));
	become(1000, 1000);
	return chown("f", (uid_t)-1, 2000);
}

static const struct probe_case cases[] = {
	OK(sets_the_mode),
	OK(counts_at_once),
	OK(setgid_of_a_foreign_group_goes),
	OK(owner_and_group),
	OK(chown_takes_set_id_bits),
	FAILS(of_nothing, ENOENT),
	FAILS(chown_of_nothing, ENOENT),
	FAILS(of_another_s, EPERM),
	FAILS(giving_away, EPERM),
	FAILS(to_a_foreign_group, EPERM),
};
PROBE_SUITE(chmod);
