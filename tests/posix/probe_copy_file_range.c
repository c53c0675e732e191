#include <stdlib.h>

#include "tests/posix/probe.h"

#define B   32768
#define MIB (1ll << 20)

static ssize_t copy(int from, off_t at, int to, off_t to_at, size_t len)
{
	return copy_file_range(from, &at, to, &to_at, len, 0);
}

static void copies(void)
{
	int f = file("f", "0123456789"), g = file("g", "abcdef");

	WANT_EQ(copy(f, 2, g, 1, 3), 3);
	contents("g", "a234ef");
	WANT_EQ(copy(f, 8, g, 5, 100), 2);
	contents("g", "a234e89");
	WANT_EQ(copy(f, 10, g, 0, 100), 0);
	WANT_EQ(copy(f, 50, g, 0, 100), 0);
}

static void moves_offsets(void)
{
	int f = file("f", "0123456789"), g = file("g", "");

	DOES(lseek(f, 4, SEEK_SET));
	WANT_EQ(copy_file_range(f, NULL, g, NULL, 3, 0), 3);
	WANT_EQ(lseek(f, 0, SEEK_CUR), 7);
	WANT_EQ(lseek(g, 0, SEEK_CUR), 3);
	contents("g", "456");
}

static void copies_much(void)
{
	int f = file("f", ""), g = file("g", ""), there;
	size_t len = 3 * MIB + 77;
	char *a = malloc(len), *b = calloc(1, len);
	off_t done = 0;

	for (size_t i = 0; i < len; i++)
		a[i] = (char)(i * 7 + i / 253);
	WANT_EQ(write(f, a, len), len);
	while (done < (off_t)len - 5) {
		ssize_t n = copy(f, 5 + done, g, 11 + done, len);

		WANT(n > 0);
		if (n <= 0)
			break;
		done += n;
	}
	there = open(see("g"), O_RDONLY);
	WANT_EQ(pread(there, b, len, 11), len - 5);
	WANT(memcmp(a + 5, b, len - 5) == 0);
	free(a);
	free(b);
}

static void within_a_file(void)
{
	int f = file("f", "0123456789");

	WANT_EQ(copy(f, 0, f, 5, 5), 5);
	contents("f", "0123401234");
	WANT_EQ(copy(f, 0, f, 10, 5), 5);
	contents("f", "012340123401234");
}

static void holes_stay(void)
{
	int f = file("f", ""), g = file("g", "");
	off_t done = 0;

	WANT_EQ(pwrite(f, "x", 1, 400 * MIB), 1);
	while (done < 400 * MIB + 1) {
		ssize_t n = copy(f, done, g, done, 1 << 30);

		WANT(n > 0);
		if (n <= 0)
			return;
		done += n;
	}
	WANT_EQ(seen("g").st_size, 400 * MIB + 1);
	WANT(seen("g").st_blocks <= B / 512);
}

static void pages_there_go(void)
{
	int f = file("f", "0123456789"), g = file("g", "abcdefghij"), there = open(see("g"), O_RDONLY);
	char c;

	DOES(pread(there, &c, 1, 0));
	WANT_EQ(copy(f, 0, g, 0, 10), 10);
	DOES(pread(there, &c, 1, 0));
	WANT_EQ(c, '0');
	contents("g", "0123456789");
}

static int f_, g_;

static void ready(void)
{
	f_ = file("f", "0123456789");
	g_ = file("g", "");
}

static long overlapping(void)
{
	ready();
	return copy(f_, 0, f_, 3, 5);
}

static long from_what_is_only_written(void)
{
	ready();
	return copy(open("f", O_WRONLY), 0, g_, 0, 5);
}

static long to_what_is_only_read(void)
{
	ready();
	return copy(f_, 0, open("g", O_RDONLY), 0, 5);
}

static long to_what_is_appended(void)
{
	ready();
	return copy(f_, 0, open("g", O_WRONLY | O_APPEND), 0, 5);
}

static long from_a_directory(void)
{
	ready();
	return copy(open(".", O_RDONLY), 0, g_, 0, 5);
}

static long from_a_pipe(void)
{
	int p[2];

	ready();
	DOES(pipe(p));
	return copy_file_range(p[0], NULL, g_, NULL, 5, 0);
}

static long with_flags(void)
{
	ready();
	return copy_file_range(f_, NULL, g_, NULL, 5, 1);
}

static const struct probe_case cases[] = {
	OK(copies),
	OK(moves_offsets),
	OK(copies_much),
	OK(within_a_file),
	OK_HERE(holes_stay),
	OK(pages_there_go),
	FAILS(overlapping, EINVAL),
	FAILS(from_what_is_only_written, EBADF),
	FAILS(to_what_is_only_read, EBADF),
	FAILS(to_what_is_appended, EBADF),
	FAILS(from_a_directory, EISDIR),
	FAILS(from_a_pipe, EINVAL),
	FAILS(with_flags, EINVAL),
};
PROBE_SUITE(copy_file_range);
