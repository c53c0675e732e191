#include <grp.h>

#include "tests/posix/probe.h"

static void every_way(void)
{
	int fd = file("f", "");

	DOES(fchown(fd, 1, 2));
	WANT_EQ(seen("f").st_uid, 1);
	WANT_EQ(seen("f").st_gid, 2);
	DOES(fchownat(fd, "", 3, 4, AT_EMPTY_PATH));
	WANT_EQ(seen("f").st_uid, 3);
	DOES(symlink("f", "l"));
	DOES(fchownat(AT_FDCWD, "l", 5, 6, AT_SYMLINK_NOFOLLOW));
	WANT_EQ(seen("l").st_uid, 5);
	WANT_EQ(seen("f").st_uid, 3);
	DOES(chown("l", 7, (gid_t)-1));
	WANT_EQ(seen("f").st_uid, 7);
	WANT_EQ(seen("f").st_gid, 4);
	DOES(chown("f", 4294967294u, 4294967294u));
	WANT_EQ(seen("f").st_uid, 4294967294u);
	WANT_EQ(seen("f").st_gid, 4294967294u);
}

static void to_an_own_group(void)
{
	gid_t groups[2] = {1000, 3000};

	touch("f");
	DOES(chown("f", 1000, 1000));
	DOES(setgroups(2, groups));
	DOES(setresgid(1000, 1000, 1000));
	DOES(setresuid(1000, 1000, 1000));
	DOES(chown(see("f"), (uid_t)-1, 3000));
	WANT_EQ(seen("f").st_gid, 3000);
	DOES(chown(see("f"), 1000, 1000));
	WANT_ERRNO(chown(see("f"), (uid_t)-1, 4000), EPERM);
}

static void set_id_bits(void)
{
	touch("f");
	DOES(chmod("f", 06770));
	DOES(chown("f", 1000, 1000));
	WANT_EQ(seen("f").st_mode & 07777, 0770);
	DOES(mkdir("d", 0755));
	DOES(chmod("d", 06770));
	DOES(chown("d", 1000, 1000));
	WANT_EQ(seen("d").st_mode & 07777, 06770); /* of directories they stay */
	DOES(chmod("f", 06770));
	become(1000, 1000);
	DOES(chown(see("f"), 1000, 1000));
	WANT_EQ(seen("f").st_mode & 07777, 0770);
}

static void ctime_moves(void)
{
	struct stat was, is;

	touch("f");
	was = seen("f");
	pause_ms(20);
	DOES(chown("f", 1000, 1000));
	is = seen("f");
	WANT(is.st_ctim.tv_sec > was.st_ctim.tv_sec || is.st_ctim.tv_nsec > was.st_ctim.tv_nsec);
	WANT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec);
}

static void rights_go_at_once(void)
{
	DOES(close(file("f", "")));
	DOES(chmod("f", 0600));
	DOES(chown("f", 1000, 1000));
	DOES(chown(see("f"), 1001, 1001));
	become(1000, 1000);
	WANT_ERRNO(open("f", O_RDONLY), EACCES);
}

static long nothing(void)
{
	return fchown(-1, 0, 0);
}
static long a_dangling_link(void)
{
	return DOES(symlink("x", "l")), chown("l", 1, 1);
}
static long unknown_flags(void)
{
	return touch("f"), fchownat(AT_FDCWD, "f", 1, 1, 0x800000);
}

static long owner_by_its_owner(void)
{
	touch("f");
	DOES(chown("f", 1000, 1000));
	become(1000, 1000);
	return chown(see("f"), 1001, (gid_t)-1);
}

static const struct probe_case cases[] = {
	OK(every_way),
	OK(to_an_own_group),
	OK(set_id_bits),
	OK(ctime_moves),
	OK(rights_go_at_once),
	FAILS(nothing, EBADF),
	FAILS(a_dangling_link, ENOENT),
	FAILS(unknown_flags, EINVAL),
	FAILS(owner_by_its_owner, EPERM),
};
PROBE_SUITE(chown);
