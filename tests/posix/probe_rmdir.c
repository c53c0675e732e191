#include <stdlib.h>

#include "tests/posix/probe.h"

static void takes_it(void)
{
	struct stat was, is;

	DOES(mkdir("d", 0755));
	was = seen(".");
	pause_ms(20);
	DOES(rmdir(see("d")));
	is = seen(".");
	WANT(absent("d"));
	WANT_EQ(is.st_nlink, was.st_nlink - 1);
	WANT(is.st_mtim.tv_sec > was.st_mtim.tv_sec || is.st_mtim.tv_nsec > was.st_mtim.tv_nsec);
	WANT_ERRNO(rmdir("d"), ENOENT);
}

static void with_a_slash(void)
{
	DOES(mkdir("d", 0755));
	DOES(rmdir("d/"));
	WANT(absent("d"));
}

static void what_another_emptied(void)
{
	DOES(mkdir("d", 0755));
	DOES(close(file("d/f", "")));
	WANT_ERRNO(rmdir(see("d")), ENOTEMPTY);
	DOES(unlink("d/f"));
	DOES(rmdir(see("d")));
	WANT_ERRNO(chdir("d"), ENOENT);
}

/* ENOENT on a disk; ESTALE where the kernel asks for the directory first (docs/fs-semantics.md). */
static bool is_gone(long rc)
{
	return rc == -1 && (errno == ENOENT || errno == ESTALE);
}

static void nothing_is_made_in_a_removed_one(void)
{
	char b[4096];

	DOES(mkdir("d", 0755));
	DOES(chdir("d"));
	DOES(rmdir("../d"));
	WANT(is_gone(open("f", O_CREAT | O_WRONLY, 0644)));
	WANT(is_gone(mkdir("e", 0755)));
	WANT(is_gone(symlink("x", "l")));
	WANT(is_gone(mkfifo("p", 0644)));
	WANT(getcwd(b, sizeof(b)) == NULL && errno == ENOENT);
	WANT(absent("d"));
}

static void unlinkat_does_too(void)
{
	DOES(mkdir("d", 0755));
	WANT_ERRNO(unlinkat(AT_FDCWD, "d", 0), EISDIR);
	DOES(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
	WANT(absent("d"));
	touch("f");
	WANT_ERRNO(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
	WANT_ERRNO(unlinkat(AT_FDCWD, "f", 1), EINVAL);
}

static long a_link_to_one(void)
{
	DOES(mkdir("d", 0755));
	DOES(symlink("d", "l"));
	return rmdir("l");
}

static long a_link_with_a_slash(void)
{
	DOES(mkdir("d", 0755));
	DOES(symlink("d", "l"));
	return rmdir("l/");
}

static long a_fifo(void)
{
	return DOES(mkfifo("p", 0644)), rmdir(see("p"));
}
static long of_what_is_there_on_the_other(void)
{
	DOES(mkdir("d", 0755));
	DOES(mkdir(see("d/e"), 0755));
	return rmdir("d");
}

static long without_permission(void)
{
	DOES(chmod(".", 0755));
	DOES(mkdir("d", 0777));
	become(1000, 1000);
	return rmdir(see("d"));
}

static long no_name(void)
{
	return rmdir("");
}
static long the_root(void)
{
	return rmdir("/");
}

static const struct probe_case cases[] = {
	OK(takes_it),
	OK(with_a_slash),
	OK(what_another_emptied),
	OK(nothing_is_made_in_a_removed_one),
	OK(unlinkat_does_too),
	FAILS(a_link_to_one, ENOTDIR),
	FAILS(a_link_with_a_slash, ENOTDIR),
	FAILS(a_fifo, ENOTDIR),
	FAILS(of_what_is_there_on_the_other, ENOTEMPTY),
	FAILS(without_permission, EACCES),
	FAILS(no_name, ENOENT),
	FAILS(the_root, EBUSY),
};
PROBE_SUITE(rmdir);
