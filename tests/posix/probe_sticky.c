/* Sticky directories, and those that hand on their group. */
#include "tests/posix/probe.h"

static void directory(const char *name, uid_t uid, mode_t mode)
{
	DOES(mkdir(name, 0755));
	DOES(chown(name, uid, uid));
	DOES(chmod(name, mode));
}

static void owned(const char *name, uid_t uid)
{
	touch(name);
	DOES(chown(name, uid, uid));
}

static void owners_of_files_may(void)
{
	directory("d", 0, 01777);
	owned("d/a", 1000);
	owned("d/b", 1000);
	become(1000, 1000);
	DOES(rename(see("d/a"), see("d/c")));
	DOES(unlink(see("d/b")));
	DOES(mkdir(see("d/e"), 0755));
	DOES(rmdir(see("d/e")));
}

static void owners_of_the_directory_may(void)
{
	directory("d", 1000, 01755);
	owned("d/a", 0);
	owned("d/b", 1001);
	become(1000, 1000);
	DOES(unlink(see("d/a")));
	DOES(rename(see("d/b"), see("d/c")));
}

static void others_may_not(void)
{
	directory("d", 0, 01777);
	owned("d/a", 1001);
	DOES(mkdir("d/e", 0777));
	touch("f");
	DOES(chown("f", 1000, 1000));
	become(1000, 1000);
	WANT_ERRNO(unlink(see("d/a")), EPERM);
	WANT_ERRNO(rmdir(see("d/e")), EPERM);
	WANT_ERRNO(rename(see("d/a"), see("d/b")), EPERM);
	WANT_ERRNO(rename(see("d/a"), see("a")), EPERM);
	WANT_ERRNO(rename(see("f"), see("d/a")), EPERM); /* over another's */
	DOES(rename(see("f"), see("d/g")));
}

static void set_by_another(void)
{
	directory("d", 0, 0777);
	owned("d/a", 0);
	DOES(chmod(see("d"), 01777));
	become(1000, 1000);
	WANT_ERRNO(unlink("d/a"), EPERM);
}

static void group_is_handed_on(void)
{
	directory("d", 0, 02777);
	DOES(chown("d", 0, 77));
	DOES(chmod("d", 02777));
	DOES(mkdir("d/e", 0755));
	DOES(mkdir("d/e/g", 0755));
	DOES(symlink("x", "d/l"));
	DOES(mkfifo("d/p", 0644));
	WANT_EQ(seen("d/e").st_mode & 07777, 02755);
	WANT_EQ(seen("d/e/g").st_mode & 07777, 02755);
	WANT_EQ(seen("d/e/g").st_gid, 77);
	WANT_EQ(seen("d/l").st_gid, 77);
	WANT_EQ(seen("d/p").st_gid, 77);
	become(1000, 1000);
	DOES(close(file("d/f", "")));
	WANT_EQ(seen("d/f").st_gid, 77);
	WANT_EQ(seen("d/f").st_uid, 1000);
}

static void set_by_another_too(void)
{
	DOES(mkdir("d", 0755));
	DOES(close(file("d/a", "")));
	DOES(chown(see("d"), 0, 77));
	DOES(chmod(see("d"), 02777));
	DOES(close(file("d/b", "")));
	WANT_EQ(seen("d/b").st_gid, 77);
	WANT_EQ(seen("d/a").st_gid, 0);
}

static void not_for_programs_of_others(
	void) /* a new file gets no set-group-id bit of a group that is not one's own */
{
	directory("d", 0, 02777);
	DOES(chown("d", 0, 77));
	DOES(chmod("d", 02777));
	become(1000, 1000);
	DOES(close(open("d/f", O_CREAT | O_WRONLY, 02755)));
	WANT_EQ(seen("d/f").st_mode & 07777, 0755);
	DOES(mkdir("d/e", 02755));
	WANT_EQ(seen("d/e").st_mode & 07777, 02755);
}

static void sticky_files(void)
{
	touch("f");
	DOES(chown("f", 1000, 1000));
	become(1000, 1000);
	DOES(chmod("f", 01644)); /* on Linux anybody's */
	WANT_EQ(seen("f").st_mode & 07777, 01644);
}

static const struct probe_case cases[] = {
	OK(owners_of_files_may),
	OK(owners_of_the_directory_may),
	OK(others_may_not),
	OK(set_by_another),
	OK(group_is_handed_on),
	OK(set_by_another_too),
	OK(not_for_programs_of_others),
	OK(sticky_files),
};
PROBE_SUITE(sticky);
