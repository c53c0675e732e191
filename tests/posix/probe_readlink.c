#include "tests/posix/probe.h"

static void every_length(void)
{
	static const size_t lengths[] = {1, 2, 59, 60, 255, 256, 1023, 4094, 4095};
	char b[8192];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		DOES(symlink(long_name(lengths[i]), "l"));
		WANT_EQ(readlink(see("l"), b, sizeof(b)), lengths[i]);
		WANT(memcmp(b, long_name(lengths[i]), lengths[i]) == 0);
		WANT_EQ(seen("l").st_size, lengths[i]);
		DOES(unlink("l"));
	}
}

static void short_buffers(void)
{
	char b[8] = "........";

	DOES(symlink("abcdef", "l"));
	WANT_EQ(readlink(see("l"), b, 3), 3);
	WANT(memcmp(b, "abc.....", 8) == 0);
	WANT_EQ(readlink(see("l"), b, 6), 6);
}

static void of_a_directory_s_handle(void)
{
	char b[8];

	DOES(mkdir("d", 0755));
	DOES(symlink("abc", "d/l"));
	WANT_EQ(readlinkat(open(see("d"), O_RDONLY), "l", b, sizeof(b)), 3);
}

static void another_under_its_name(void)
{
	char b[8];

	DOES(symlink("one", "l"));
	WANT_EQ(readlink("l", b, sizeof(b)), 3);
	DOES(unlink(see("l")));
	DOES(symlink("three", see("l")));
	WANT_EQ(readlink("l", b, sizeof(b)), 5);
	WANT(memcmp(b, "three", 5) == 0);
}

static long len_0(void)
{
	char b[8];

	DOES(symlink("x", "l"));
	return readlink("l", b, 0);
}

static long nothing(void)
{
	char b[8];

	return readlink("l", b, sizeof(b));
}

static long a_directory(void)
{
	char b[8];

	return readlink(".", b, sizeof(b));
}

static long a_fifo(void)
{
	char b[8];

	DOES(mkfifo("p", 0644));
	return readlink(see("p"), b, sizeof(b));
}

static long into_nothing(void)
{
	char *volatile nowhere = (char *)(uintptr_t)1;

	DOES(symlink("x", "l"));
	return readlink("l", nowhere, 8);
}

static long behind_a_slash(void)
{
	char b[8];

	DOES(symlink("x", "l"));
	return readlink("l/", b, sizeof(b));
}

static const struct probe_case cases[] = {
	OK(every_length),
	OK(short_buffers),
	OK(of_a_directory_s_handle),
	OK(another_under_its_name),
	FAILS(len_0, EINVAL),
	FAILS(nothing, ENOENT),
	FAILS(a_directory, EINVAL),
	FAILS(a_fifo, EINVAL),
	FAILS(into_nothing, EFAULT),
	FAILS(behind_a_slash, ENOENT),
};
PROBE_SUITE(readlink);
