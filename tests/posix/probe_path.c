/* Lengths of names and paths, symbolic links on the way, odd bytes: of every call that takes a
 * path. */
#include <dirent.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "tests/posix/probe.h"

static const char *path_of(size_t len, const char *end) /* "././.../end" */
{
	static char b[8192];
	size_t tail = strlen(end), i = 0;

	while (i + 2 + tail <= len) {
		memcpy(b + i, "./", 2);
		i += 2;
	}
	if (i + tail < len)
		b[i++] = '/';
	memcpy(b + i, end, tail + 1);
	return b;
}

static void names_of_255(void)
{
	char a[256], b[256];

	strcpy(a, long_name(255));
	strcpy(b, long_name(255));
	b[0] = 'm';
	DOES(mkdir(a, 0755));
	DOES(rename(a, b));
	WANT(S_ISDIR(seen(b).st_mode));
	DOES(symlink("x", a));
	WANT(S_ISLNK(seen(a).st_mode));
	DOES(unlink(a));
	DOES(mkfifo(a, 0644));
	DOES(unlink(see(a)));
	touch("f");
	DOES(link("f", a));
	WANT_EQ(seen(a).st_nlink, 2);
	DOES(unlink(a));
	DOES(rmdir(see(b)));
}

static void names_of_256(void)
{
	const char *n = long_name(256);
	struct statfs sf;
	struct stat st;
	char b[8];

	touch("f");
	WANT_ERRNO(stat(n, &st), ENAMETOOLONG);
	WANT_ERRNO(lstat(n, &st), ENAMETOOLONG);
	WANT_ERRNO(access(n, F_OK), ENAMETOOLONG);
	WANT_ERRNO(open(n, O_RDONLY), ENAMETOOLONG);
	WANT_ERRNO(mkdir(n, 0755), ENAMETOOLONG);
	WANT_ERRNO(mkfifo(n, 0755), ENAMETOOLONG);
	WANT_ERRNO(symlink("x", n), ENAMETOOLONG);
	WANT_ERRNO(link("f", n), ENAMETOOLONG);
	WANT_ERRNO(link(n, "g"), ENAMETOOLONG);
	WANT_ERRNO(rename("f", n), ENAMETOOLONG);
	WANT_ERRNO(rename(n, "g"), ENAMETOOLONG);
	WANT_ERRNO(unlink(n), ENAMETOOLONG);
	WANT_ERRNO(rmdir(n), ENAMETOOLONG);
	WANT_ERRNO(chmod(n, 0644), ENAMETOOLONG);
	WANT_ERRNO(chown(n, 0, 0), ENAMETOOLONG);
	WANT_ERRNO(truncate(n, 0), ENAMETOOLONG);
	WANT_ERRNO(utimensat(AT_FDCWD, n, NULL, 0), ENAMETOOLONG);
	WANT_ERRNO(readlink(n, b, sizeof(b)), ENAMETOOLONG);
	WANT_ERRNO(statfs(n, &sf), ENAMETOOLONG);
	WANT_ERRNO(getxattr(n, "user.a", b, sizeof(b)), ENAMETOOLONG);
	WANT_ERRNO(setxattr(n, "user.a", b, 1, 0), ENAMETOOLONG);
	WANT_ERRNO(chdir(n), ENAMETOOLONG);
}

static void paths_of_4095(void)
{
	struct stat st;

	DOES(close(open(path_of(4095, "f"), O_CREAT | O_WRONLY, 0644)));
	DOES(stat(path_of(4095, "f"), &st));
	DOES(rename(path_of(4095, "f"), "g"));
	WANT_EQ(seen("g").st_size, 0);
	DOES(mkdir(path_of(4095, "d"), 0755));
	DOES(rmdir(path_of(4095, "d")));
}

static void paths_of_4096(void)
{
	const char *p = path_of(4096, "f");
	struct stat st;

	touch("f");
	WANT_ERRNO(open(p, O_RDONLY), ENAMETOOLONG);
	WANT_ERRNO(stat(p, &st), ENAMETOOLONG);
	WANT_ERRNO(mkdir(p, 0755), ENAMETOOLONG);
	WANT_ERRNO(symlink("x", p), ENAMETOOLONG);
	WANT_ERRNO(unlink(p), ENAMETOOLONG);
	WANT_ERRNO(rename(p, "g"), ENAMETOOLONG);
	WANT_ERRNO(link("f", p), ENAMETOOLONG);
	WANT_ERRNO(chmod(p, 0644), ENAMETOOLONG);
}

static void
deeper_than_a_path(void) /* directories whose path is longer than any that can be given */
{
	char name[256];
	int fd = open(".", O_RDONLY);

	strcpy(name, long_name(200));
	for (int i = 0; i < 25; i++) {
		DOES(mkdir(name, 0755));
		DOES(chdir(name));
	}
	DOES(close(open("f", O_CREAT | O_WRONLY, 0644)));
	DOES(fchdir(fd));
	WANT(S_ISDIR(seen(name).st_mode));
}

static void odd_bytes(void)
{
	char name[64];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	for (int i = 1; i < 256; i++) {
		if (i == '/')
			continue;
		snprintf(name, sizeof(name), "%c-", i);
		touch(name);
	}
	d = opendir(see("."));
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] != '\0' && strcmp(e->d_name + 1, "-") == 0)
			n++;
	}
	closedir(d);
	WANT_EQ(n, 254);
	WANT_EQ(seen("\xff-").st_size, 0);
	DOES(unlink(see("\n-")));
	WANT(absent("\n-"));
}

static void chain(int links)
{
	char a[16], b[16];

	touch("l0");
	for (int i = 1; i <= links; i++) {
		snprintf(a, sizeof(a), "l%d", i - 1);
		snprintf(b, sizeof(b), "l%d", i);
		DOES(symlink(a, b));
	}
}

static void forty_links(void)
{
	chain(40);
	DOES(open("l40", O_RDONLY));
}

static void links_of_directories(void)
{
	DOES(mkdir("d", 0755));
	DOES(symlink("d", "l"));
	DOES(symlink("../l", "d/up"));
	DOES(close(open("l/up/up/f", O_CREAT | O_WRONLY, 0644)));
	WANT_EQ(seen("d/f").st_size, 0);
	WANT_EQ(seen("l/up/f").st_size, 0);
}

static void loops(void)
{
	struct stat st;

	DOES(symlink("l", "l"));
	WANT_ERRNO(stat("l", &st), ELOOP);
	WANT_ERRNO(open("l", O_RDONLY), ELOOP);
	WANT_ERRNO(open("l/f", O_CREAT | O_WRONLY, 0644), ELOOP);
	WANT_ERRNO(mkdir("l/d", 0755), ELOOP);
	WANT_ERRNO(unlink("l/f"), ELOOP);
	WANT_ERRNO(rmdir("l/f"), ELOOP);
	WANT_ERRNO(rename("l/f", "g"), ELOOP);
	WANT_ERRNO(link("l/f", "g"), ELOOP);
	WANT_ERRNO(symlink("x", "l/f"), ELOOP);
	WANT_ERRNO(chmod("l", 0644), ELOOP);
	WANT_ERRNO(chown("l", 0, 0), ELOOP);
	WANT_ERRNO(truncate("l", 0), ELOOP);
	WANT_ERRNO(access("l", F_OK), ELOOP);
	WANT_ERRNO(chdir("l"), ELOOP);
}

static void not_directories(void)
{
	struct stat st;
	char b[8];

	touch("f");
	WANT_ERRNO(stat("f/x", &st), ENOTDIR);
	WANT_ERRNO(mkdir("f/x", 0755), ENOTDIR);
	WANT_ERRNO(mkfifo("f/x", 0755), ENOTDIR);
	WANT_ERRNO(symlink("x", "f/x"), ENOTDIR);
	WANT_ERRNO(rename("f/x", "g"), ENOTDIR);
	WANT_ERRNO(rename("f", "f/x"), ENOTDIR);
	WANT_ERRNO(rmdir("f/x"), ENOTDIR);
	WANT_ERRNO(chmod("f/x", 0644), ENOTDIR);
	WANT_ERRNO(chown("f/x", 0, 0), ENOTDIR);
	WANT_ERRNO(truncate("f/x", 0), ENOTDIR);
	WANT_ERRNO(readlink("f/x", b, sizeof(b)), ENOTDIR);
	WANT_ERRNO(utimensat(AT_FDCWD, "f/x", NULL, 0), ENOTDIR);
	WANT_ERRNO(chdir("f"), ENOTDIR);
}

static void what_cannot_be_searched(void)
{
	struct stat st;

	DOES(mkdir("d", 0700));
	DOES(close(file("d/f", "")));
	become(1000, 1000);
	WANT_ERRNO(stat(see("d/f"), &st), EACCES);
	WANT_ERRNO(open(see("d/f"), O_RDONLY), EACCES);
	WANT_ERRNO(mkdir(see("d/x"), 0755), EACCES);
	WANT_ERRNO(unlink(see("d/f")), EACCES);
	WANT_ERRNO(rename(see("d/f"), "g"), EACCES);
	WANT_ERRNO(link(see("d/f"), see("g")), EACCES);
	WANT_ERRNO(chmod(see("d/f"), 0644), EACCES);
	WANT_ERRNO(truncate(see("d/f"), 0), EACCES);
	WANT_ERRNO(chdir(see("d")), EACCES);
}

static long through_41_links(void)
{
	return chain(41), open("l41", O_RDONLY);
}
static long from_nowhere(void)
{
	return open((const char *)(uintptr_t)1, O_RDONLY);
}
static long no_name(void)
{
	return mkdir("", 0755);
}
static long unlink_of_dot(void)
{
	return unlink(".");
}
static long rmdir_of_dot_dot(void)
{
	return rmdir("..");
}
static long link_to_dot(void)
{
	return touch("f"), link("f", ".");
}

static const struct probe_case cases[] = {
	OK(names_of_255),
	OK(names_of_256),
	OK(paths_of_4095),
	OK(paths_of_4096),
	OK(deeper_than_a_path),
	OK(odd_bytes),
	OK(forty_links),
	OK(links_of_directories),
	OK(loops),
	OK(not_directories),
	OK(what_cannot_be_searched),
	FAILS(through_41_links, ELOOP),
	FAILS(from_nowhere, EFAULT),
	FAILS(no_name, ENOENT),
	FAILS(unlink_of_dot, EISDIR),
	FAILS(rmdir_of_dot_dot, ENOTEMPTY),
	FAILS(link_to_dot, EEXIST),
};
PROBE_SUITE(path);
