#include "tests/posix/probe.h"

#define B   32768
#define GIB (1ll << 30)

static void the_usual_ones(void)
{
	int fd = file("f", "0123456789");

	WANT_EQ(lseek(fd, 4, SEEK_SET), 4);
	WANT_EQ(lseek(fd, 2, SEEK_CUR), 6);
	WANT_EQ(lseek(fd, -1, SEEK_END), 9);
	WANT_EQ(lseek(fd, 100, SEEK_SET), 100);
	WANT_EQ(seen("f").st_size, 10);
}

static void the_end_that_others_moved(void)
{
	int fd = file("f", "abc"), other = open(see("f"), O_WRONLY | O_APPEND);

	WANT_EQ(write(other, "defg", 4), 4);
	WANT_EQ(lseek(fd, 0, SEEK_END), 7);
}

static void data_and_holes(void)
{
	int fd = file("f", ""), there;

	WANT_EQ(pwrite(fd, "a", 1, 2 * B), 1);
	WANT_EQ(pwrite(fd, "b", 1, 5 * B), 1);
	DOES(ftruncate(fd, 10 * B));
	there = open(see("f"), O_RDONLY);
	WANT_EQ(lseek(there, 0, SEEK_HOLE), 0);
	WANT_EQ(lseek(there, 0, SEEK_DATA), 2 * B);
	WANT_EQ(lseek(there, 5 * B, SEEK_DATA), 5 * B);
	WANT_EQ(lseek(there, 9 * B, SEEK_HOLE), 9 * B);
	WANT_ERRNO(lseek(there, 6 * B, SEEK_DATA), ENXIO);
}

static void exact_to_blocks(void)
{
	int fd = file("f", ""), there;

	WANT_EQ(pwrite(fd, "a", 1, 2 * B), 1);
	DOES(ftruncate(fd, 10 * B));
	there = open(see("f"), O_RDONLY);
	WANT_EQ(lseek(there, 2 * B + 7, SEEK_DATA), 2 * B + 7);
	WANT_EQ(lseek(there, 2 * B, SEEK_HOLE), 3 * B);
	WANT_EQ(seen("f").st_blocks, B / 512);
}

static void a_whole_file(void)
{
	int fd = file("f", "abcdefgh");

	WANT_EQ(lseek(fd, 3, SEEK_DATA), 3);
	WANT_EQ(lseek(fd, 3, SEEK_HOLE), 8);
}

static void a_huge_hole(void)
{
	int fd = file("f", "a"), there;

	WANT_EQ(pwrite(fd, "b", 1, 99 * GIB), 1);
	DOES(ftruncate(fd, 100 * GIB));
	there = open(see("f"), O_RDONLY);
	WANT_EQ(lseek(there, B, SEEK_DATA), 99 * GIB);
	WANT_EQ(lseek(there, 50 * GIB, SEEK_HOLE), 50 * GIB);
	WANT(seen("f").st_blocks <= 2 * B / 512);
}

static int ready(void)
{
	return file("f", "0123456789");
}

static long behind_the_end_data(void) { return lseek(ready(), 10, SEEK_DATA); }
static long behind_the_end_hole(void) { return lseek(ready(), 10, SEEK_HOLE); }
static long negative_data(void) { return lseek(ready(), -1, SEEK_DATA); }
static long negative_set(void) { return lseek(ready(), -1, SEEK_SET); }
static long unknown_whence(void) { return lseek(ready(), 0, 77); }

static long of_a_pipe(void)
{
	int p[2];

	DOES(pipe(p));
	return lseek(p[0], 0, SEEK_SET);
}

static long of_nothing(void)
{
	return lseek(-1, 0, SEEK_SET);
}

static const struct probe_case cases[] = {
	OK(the_usual_ones),
	OK(the_end_that_others_moved),
	OK(data_and_holes),
	OK_HERE(exact_to_blocks),
	OK(a_whole_file),
	OK(a_huge_hole),
	FAILS(behind_the_end_data, ENXIO),
	FAILS(behind_the_end_hole, ENXIO),
	FAILS(negative_data, ENXIO),
	FAILS(negative_set, EINVAL),
	FAILS(unknown_whence, EINVAL),
	FAILS(of_a_pipe, ESPIPE),
	FAILS(of_nothing, EBADF),
};
PROBE_SUITE(lseek);
