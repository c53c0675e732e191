#include <dirent.h>

#include "tests/posix/probe.h"

static unsigned entries(DIR *d)
{
	unsigned n = 0;

	while (readdir(d))
		n++;
	return n;
}

static void lists_all(void)
{
	char name[16];
	DIR *d;

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		touch(name);
	}
	d = opendir(see("."));
	WANT(d);
	WANT_EQ(entries(d), 502);
	rewinddir(d);
	DOES(unlink("f7"));
	WANT_EQ(entries(d), 501);
	closedir(d);
}

static void types_and_numbers(void)
{
	struct dirent *e;
	DIR *d;

	touch("f");
	DOES(mkdir("d", 0755));
	DOES(symlink("f", "l"));
	d = opendir(see("."));
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, "f") == 0)
			WANT(e->d_type == DT_REG && e->d_ino == seen("f").st_ino);
		if (strcmp(e->d_name, "d") == 0)
			WANT_EQ(e->d_type, DT_DIR);
		if (strcmp(e->d_name, "l") == 0)
			WANT_EQ(e->d_type, DT_LNK);
	}
	closedir(d);
}

static void goes_on_where_it_was(void)
{
	char name[16], first[256] = "";
	struct dirent *e;
	long at = 0;
	DIR *d;

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		touch(name);
	}
	d = opendir(see("."));
	for (int i = 0; i < 20; i++)
		WANT(readdir(d));
	at = telldir(d);
	e = readdir(d);
	WANT(e);
	if (e)
		snprintf(first, sizeof(first), "%s", e->d_name);
	(void)entries(d);
	seekdir(d, at);
	e = readdir(d);
	WANT(e && strcmp(e->d_name, first) == 0);
	closedir(d);
}

static void of_a_removed_directory(void)
{
	DIR *d;

	DOES(mkdir("d", 0755));
	d = opendir("d");
	DOES(rmdir(see("d")));
	WANT_EQ(entries(d) > 2, 0);
	closedir(d);
}

static long nothing(void) { return opendir("d") ? 0 : -1; }
static long a_file(void) { return touch("f"), opendir("f") ? 0 : -1; }

static long without_permission(void)
{
	DOES(mkdir("d", 0711));
	become(1000, 1000);
	return opendir(see("d")) ? 0 : -1;
}

static const struct probe_case cases[] = {
	OK(lists_all),
	OK(types_and_numbers),
	OK(goes_on_where_it_was),
	OK(of_a_removed_directory),
	FAILS(nothing, ENOENT),
	FAILS(a_file, ENOTDIR),
	FAILS(without_permission, EACCES),
};
PROBE_SUITE(readdir);
