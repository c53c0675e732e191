#include <linux/falloc.h>

#include "tests/posix/probe.h"

#define B    32768 /* what paxfs stores separately, and more than other file systems' blocks */
#define HOLE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static int full(const char *name, int blocks)
{
	int fd = file(name, "");
	char b[B];

	memset(b, 'x', sizeof(b));
	for (int i = 0; i < blocks; i++)
		WANT_EQ(write(fd, b, B), B);
	return fd;
}

static void extends_the_file(void)
{
	int fd = file("f", "abc");

	DOES(fallocate(fd, 0, 10, 90));
	WANT_EQ(seen("f").st_size, 100);
	zeros("f", 3, 97);
	DOES(fallocate(fd, 0, 0, 50));
	WANT_EQ(seen("f").st_size, 100);
}

static void keeps_the_size(void)
{
	int fd = file("f", "abc");

	DOES(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
	WANT_EQ(seen("f").st_size, 3);
	contents("f", "abc");
}

static void punches_a_hole(void)
{
	int fd = full("f", 4);
	char c;

	DOES(fallocate(fd, HOLE, 100, 2 * B));
	WANT_EQ(seen("f").st_size, 4 * B);
	zeros("f", 100, 2 * B);
	DOES(pread(fd, &c, 1, 99));
	WANT_EQ(c, 'x');
	DOES(pread(fd, &c, 1, 100 + 2 * B));
	WANT_EQ(c, 'x');
	WANT(seen("f").st_blocks <= 3 * B / 512);
}

static void a_hole_is_not_behind_the_end(void)
{
	int fd = full("f", 1);

	DOES(fallocate(fd, HOLE, B, 10 * B));
	DOES(fallocate(fd, HOLE, B - 10, 10 * B));
	WANT_EQ(seen("f").st_size, B);
	zeros("f", B - 10, 10);
}

static void zeroes_a_range(void)
{
	int fd = full("f", 2);

	DOES(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, B, 5 * B));
	WANT_EQ(seen("f").st_size, 2 * B);
	zeros("f", B, B);
	DOES(fallocate(fd, FALLOC_FL_ZERO_RANGE, 10, 5 * B));
	WANT_EQ(seen("f").st_size, 10 + 5 * B);
	zeros("f", 10, 5 * B);
}

static void moves_the_times(void)
{
	int fd = full("f", 2);
	struct stat was = seen("f"), is;

	pause_ms(20);
	DOES(fallocate(fd, HOLE, 0, B));
	is = seen("f");
	WANT(is.st_mtim.tv_sec > was.st_mtim.tv_sec || is.st_mtim.tv_nsec > was.st_mtim.tv_nsec);
	WANT(is.st_ctim.tv_sec > was.st_ctim.tv_sec || is.st_ctim.tv_nsec > was.st_ctim.tv_nsec);
}

static void mapped_pages_go(void)
{
	int fd = full("f", 2), there = open(see("f"), O_RDONLY);
	char c;

	DOES(pread(there, &c, 1, B)); /* now the page cache has it */
	DOES(fallocate(fd, HOLE, B, B));
	DOES(pread(there, &c, 1, B));
	WANT_EQ(c, 0);
	DOES(pread(fd, &c, 1, B));
	WANT_EQ(c, 0);
}

static void set_id_bits_go(void)
{
	int fd = full("f", 1);

	DOES(fchown(fd, 1000, 1000));
	DOES(chmod("f", 06777));
	become(1000, 1000);
	fd = open("f", O_RDWR);
	DOES(fallocate(fd, HOLE, 0, 10));
	WANT_EQ(seen("f").st_mode & 07777, 0777);
}

static int ready(void)
{
	return full("f", 2);
}

static long no_length(void) { return fallocate(ready(), 0, 0, 0); }
static long a_negative_length(void) { return fallocate(ready(), 0, 0, -1); }
static long a_negative_offset(void) { return fallocate(ready(), 0, -1, 10); }
static long a_hole_that_may_extend(void) { return fallocate(ready(), FALLOC_FL_PUNCH_HOLE, 0, 10); }
static long collapse(void) { return fallocate(ready(), FALLOC_FL_COLLAPSE_RANGE, 0, B); }
static long insert(void) { return fallocate(ready(), FALLOC_FL_INSERT_RANGE, 0, B); }
static long an_unknown_mode(void) { return fallocate(ready(), 0x4000, 0, B); }
static long too_far(void) { return fallocate(ready(), 0, 1ll << 62, 10); }
static long over_the_end_of_numbers(void) { return fallocate(ready(), 0, INT64_MAX - 5, 10); }
static long more_than_there_is(void) { return fallocate(ready(), 0, 0, 1ll << 50); }

static long read_only_handle(void)
{
	(void)ready();
	return fallocate(open("f", O_RDONLY), 0, 0, 10);
}

static long a_directory(void)
{
	return fallocate(open(".", O_RDONLY), 0, 0, 10);
}

static long a_pipe(void)
{
	int p[2];

	DOES(pipe(p));
	return fallocate(p[1], 0, 0, 10);
}

static long a_fifo(void)
{
	DOES(mkfifo("p", 0644));
	return fallocate(open("p", O_RDWR), 0, 0, 10);
}

static const struct probe_case cases[] = {
	OK(extends_the_file),
	OK(keeps_the_size),
	OK(punches_a_hole),
	OK(a_hole_is_not_behind_the_end),
	OK(zeroes_a_range),
	OK(moves_the_times),
	OK(mapped_pages_go),
	OK(set_id_bits_go),
	FAILS(no_length, EINVAL),
	FAILS(a_negative_length, EINVAL),
	FAILS(a_negative_offset, EINVAL),
	FAILS(a_hole_that_may_extend, EOPNOTSUPP),
	FAILS_HERE(collapse, EOPNOTSUPP),
	FAILS_HERE(insert, EOPNOTSUPP),
	FAILS(an_unknown_mode, EOPNOTSUPP),
	FAILS(too_far, EFBIG),
	FAILS(over_the_end_of_numbers, EFBIG),
	FAILS_HERE(more_than_there_is, ENOSPC),
	FAILS(read_only_handle, EBADF),
	FAILS(a_directory, EBADF),
	FAILS(a_pipe, ESPIPE),
	FAILS(a_fifo, ESPIPE),
};
PROBE_SUITE(fallocate);
