#include <stdlib.h>
#include <sys/xattr.h>

#include "tests/posix/probe.h"

static bool listed(const char *name, const char *attribute)
{
	char b[4096];
	ssize_t n = llistxattr(see(name), b, sizeof(b));

	DOES(n);
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(b + i) + 1) {
		if (strcmp(b + i, attribute) == 0)
			return true;
	}
	return false;
}

static void set_and_seen(void)
{
	char b[16];

	touch("f");
	DOES(setxattr("f", "user.a", "one", 3, 0));
	WANT_EQ(getxattr(see("f"), "user.a", b, sizeof(b)), 3);
	WANT(memcmp(b, "one", 3) == 0);
	WANT(listed("f", "user.a"));
	DOES(setxattr("f", "user.a", "three", 5, XATTR_REPLACE));
	WANT_EQ(getxattr(see("f"), "user.a", b, sizeof(b)), 5);
	DOES(setxattr("f", "user.b", "", 0, XATTR_CREATE));
	WANT_EQ(getxattr(see("f"), "user.b", b, sizeof(b)), 0);
	DOES(removexattr("f", "user.a"));
	WANT_ERRNO(getxattr(see("f"), "user.a", b, sizeof(b)), ENODATA);
	WANT(!listed("f", "user.a"));
	WANT(listed("f", "user.b"));
}

static void of_every_kind(void)
{
	char b[16];
	int fd;

	DOES(mkdir("d", 0755));
	DOES(setxattr("d", "user.a", "x", 1, 0));
	WANT_EQ(getxattr(see("d"), "user.a", b, sizeof(b)), 1);
	DOES(symlink("nowhere", "l"));
	DOES(lsetxattr("l", "trusted.a", "x", 1, 0));
	WANT_EQ(lgetxattr(see("l"), "trusted.a", b, sizeof(b)), 1);
	DOES(mkfifo("p", 0644));
	DOES(setxattr("p", "trusted.a", "x", 1, 0));
	WANT_EQ(getxattr(see("p"), "trusted.a", b, sizeof(b)), 1);
	fd = file("f", "");
	DOES(fsetxattr(fd, "security.a", "x", 1, 0));
	WANT_EQ(getxattr(see("f"), "security.a", b, sizeof(b)), 1);
	DOES(fremovexattr(fd, "security.a"));
	WANT_ERRNO(fgetxattr(fd, "security.a", b, sizeof(b)), ENODATA);
}

static void lengths_are_asked_for(void)
{
	char b[8];

	touch("f");
	DOES(setxattr("f", "user.a", "abcdef", 6, 0));
	WANT_EQ(getxattr(see("f"), "user.a", NULL, 0), 6);
	WANT_ERRNO(getxattr(see("f"), "user.a", b, 5), ERANGE);
	WANT_EQ(listxattr(see("f"), NULL, 0), 7);
	WANT_ERRNO(listxattr(see("f"), b, 6), ERANGE);
}

static void lengths_that_fit(size_t len)
{
	char *v = malloc(len), *b = malloc(len);

	for (size_t i = 0; i < len; i++)
		v[i] = (char)(i * 31);
	touch("f");
	DOES(setxattr("f", "user.a", v, len, 0));
	WANT_EQ(getxattr(see("f"), "user.a", b, len), len);
	WANT(memcmp(v, b, len) == 0);
	free(v);
	free(b);
}

static void of_3000_bytes(void)
{
	lengths_that_fit(3000);
}
static void of_65536_bytes(void)
{
	lengths_that_fit(65536);
}

static void moves_ctime_only(void)
{
	struct stat was, is;

	touch("f");
	was = seen("f");
	pause_ms(20);
	DOES(setxattr("f", "user.a", "x", 1, 0));
	is = seen("f");
	WANT(is.st_ctim.tv_sec > was.st_ctim.tv_sec || is.st_ctim.tv_nsec > was.st_ctim.tv_nsec);
	WANT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec);
}

static void trusted_is_root_s(void)
{
	char b[8];

	touch("f");
	DOES(chown("f", 1000, 1000));
	DOES(setxattr("f", "trusted.a", "x", 1, 0));
	WANT(listed("f", "trusted.a"));
	become(1000, 1000);
	WANT(!listed("f", "trusted.a"));
	WANT_ERRNO(getxattr(see("f"), "trusted.a", b, sizeof(b)), ENODATA);
	WANT_ERRNO(setxattr(see("f"), "trusted.a", "x", 1, 0), EPERM);
	WANT_ERRNO(removexattr(see("f"), "trusted.a"), EPERM);
	WANT_ERRNO(setxattr(see("f"), "security.a", "x", 1, 0), EPERM);
}

static void go_with_the_file(void)
{
	char b[8];

	touch("f");
	DOES(setxattr("f", "user.a", "x", 1, 0));
	DOES(link("f", "g"));
	DOES(rename("f", "h"));
	WANT_EQ(getxattr(see("g"), "user.a", b, sizeof(b)), 1);
	WANT_EQ(getxattr(see("h"), "user.a", b, sizeof(b)), 1);
	DOES(unlink("g"));
	DOES(unlink("h"));
	touch("h");
	WANT_ERRNO(getxattr(see("h"), "user.a", b, sizeof(b)), ENODATA);
}

static long there_already(void)
{
	touch("f");
	DOES(setxattr(see("f"), "user.a", "x", 1, 0));
	return setxattr("f", "user.a", "x", 1, XATTR_CREATE);
}

static long set(const char *name, const char *attribute, size_t len, int flags)
{
	static char value[65537];

	return lsetxattr(name, attribute, value, len, flags);
}

static long not_there_yet(void)
{
	return touch("f"), set("f", "user.a", 1, XATTR_REPLACE);
}
static long unknown_flags(void)
{
	return touch("f"), set("f", "user.a", 1, 8);
}
static long too_long(void)
{
	return touch("f"), set("f", "user.a", 65537, 0);
}
static long unknown_names(void)
{
	return touch("f"), set("f", "other.a", 1, 0);
}
static long nothing_behind_user(void)
{
	return touch("f"), set("f", "user.", 1, 0);
}
static long no_attribute(void)
{
	return touch("f"), set("f", "", 1, 0);
}
static long no_file(void)
{
	return set("f", "user.a", 1, 0);
}
static long remove_nothing(void)
{
	return touch("f"), removexattr("f", "user.a");
}
static long get_nothing(void)
{
	return touch("f"), getxattr("f", "user.a", NULL, 0);
}
static long of_no_handle(void)
{
	return fgetxattr(-1, "user.a", NULL, 0);
}

static long too_long_a_name(void)
{
	char name[512];

	touch("f");
	snprintf(name, sizeof(name), "user.%s", long_name(251)); /* 256 with its prefix */
	return set("f", name, 1, 0);
}

static long user_of_a_link(void)
{
	return DOES(symlink("x", "l")), set("l", "user.a", 1, 0);
}
static long user_of_a_fifo(void)
{
	return DOES(mkfifo("p", 0666)), set("p", "user.a", 1, 0);
}

static long set_of_another_s(void)
{
	touch("f");
	become(1000, 1000);
	return set(see("f"), "user.a", 1, 0);
}

static long get_without_permission(void)
{
	touch("f");
	DOES(setxattr("f", "user.a", "x", 1, 0));
	DOES(chmod("f", 0600));
	become(1000, 1000);
	return getxattr(see("f"), "user.a", NULL, 0);
}

static long of_another_s_sticky_directory(void)
{
	DOES(mkdir("d", 01777));
	become(1000, 1000);
	return set(see("d"), "user.a", 1, 0);
}

static const struct probe_case cases[] = {
	OK(set_and_seen),
	OK(of_every_kind),
	OK(lengths_are_asked_for),
	OK(of_3000_bytes),
	OK_HERE(of_65536_bytes),
	OK(moves_ctime_only),
	OK(trusted_is_root_s),
	OK(go_with_the_file),
	FAILS(there_already, EEXIST),
	FAILS(not_there_yet, ENODATA),
	FAILS(unknown_flags, EINVAL),
	FAILS(too_long, E2BIG),
	FAILS(unknown_names, EOPNOTSUPP),
	FAILS(nothing_behind_user, EINVAL),
	FAILS(no_attribute, ERANGE),
	FAILS(no_file, ENOENT),
	FAILS(remove_nothing, ENODATA),
	FAILS(get_nothing, ENODATA),
	FAILS(of_no_handle, EBADF),
	FAILS(too_long_a_name, ERANGE),
	FAILS(user_of_a_link, EPERM),
	FAILS(user_of_a_fifo, EPERM),
	FAILS(set_of_another_s, EACCES),
	FAILS(get_without_permission, EACCES),
	FAILS(of_another_s_sticky_directory, EPERM),
};
PROBE_SUITE(xattr);
