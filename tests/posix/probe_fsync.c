#include "tests/posix/probe.h"

static void of_files(void)
{
	int fd = file("f", "abc");

	DOES(fsync(fd));
	DOES(fdatasync(fd));
	DOES(syncfs(fd));
	DOES(sync_file_range(fd, 0, 2, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
	contents("f", "abc");
	fd = open(see("f"), O_RDONLY);
	DOES(fsync(fd));
	DOES(fdatasync(fd));
}

static void of_directories(void)
{
	int fd;

	DOES(mkdir("d", 0755));
	DOES(close(file("d/f", "abc")));
	fd = open(see("d"), O_RDONLY);
	DOES(fsync(fd));
	DOES(fdatasync(fd));
	DOES(syncfs(fd));
}

static void without_a_name(void)
{
	int fd = file("f", "abc");

	DOES(unlink("f"));
	WANT_EQ(write(fd, "d", 1), 1);
	DOES(fsync(fd));
}

static void takes_no_time_along(void) /* what is not written needs no new times */
{
	struct stat was, is;
	int fd = file("f", "abc");

	DOES(fsync(fd));
	was = seen("f");
	pause_ms(20);
	DOES(fsync(fd));
	is = seen("f");
	WANT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec);
	WANT_EQ(is.st_ctim.tv_nsec, was.st_ctim.tv_nsec);
}

static long nothing(void)
{
	return fsync(-1);
}

static long a_pipe(void)
{
	int p[2];

	DOES(pipe(p));
	return fsync(p[0]);
}

static long a_fifo(void)
{
	DOES(mkfifo("p", 0644));
	return fdatasync(open("p", O_RDWR));
}

static long a_path(void)
{
	touch("f");
	return fsync(open("f", O_PATH));
}

static long unknown_flags(void)
{
	return sync_file_range(file("f", "abc"), 0, 2, 64);
}
static long a_negative_range(void)
{
	return sync_file_range(file("f", "abc"), -1, 2, 0);
}

static const struct probe_case cases[] = {
	OK(of_files),
	OK(of_directories),
	OK(without_a_name),
	OK(takes_no_time_along),
	FAILS(nothing, EBADF),
	FAILS(a_pipe, EINVAL),
	FAILS(a_fifo, EINVAL),
	FAILS(a_path, EBADF),
	FAILS(unknown_flags, EINVAL),
	FAILS(a_negative_range, EINVAL),
};
PROBE_SUITE(fsync);
