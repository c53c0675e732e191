#include <signal.h>
#include <sys/resource.h>

#include "tests/posix/probe.h"

static void shortens(void)
{
	DOES(close(file("f", "abcdef")));
	DOES(truncate("f", 3));
	contents("f", "abc");
	DOES(truncate("f", 6));
	WANT_EQ(seen("f").st_size, 6);
	zeros("f", 3, 3);
}

static void of_a_handle(void)
{
	int fd = file("f", "abcdef");

	DOES(ftruncate(fd, 2));
	contents("f", "ab");
	DOES(ftruncate(fd, 1ll << 40));
	WANT_EQ(seen("f").st_size, 1ll << 40);
	DOES(ftruncate(fd, 0));
	WANT_EQ(seen("f").st_size, 0);
}

static void moves_the_times(void)
{
	struct stat was, is;

	DOES(close(file("f", "abcdef")));
	was = seen("f");
	pause_ms(20);
	DOES(truncate("f", 3));
	is = seen("f");
	WANT(is.st_mtim.tv_sec > was.st_mtim.tv_sec || is.st_mtim.tv_nsec > was.st_mtim.tv_nsec);
}

static void pages_there_go(void)
{
	int fd = file("f", "abcdef"), there = open(see("f"), O_RDONLY);
	char b[8];

	WANT_EQ(pread(there, b, 8, 0), 6);
	DOES(ftruncate(fd, 3));
	WANT_EQ(pread(there, b, 8, 0), 3);
	DOES(ftruncate(fd, 6));
	WANT_EQ(pread(there, b, 8, 0), 6);
	WANT(memcmp(b, "abc\0\0\0", 6) == 0);
}

static long nothing(void) { return truncate("f", 0); }
static long a_directory(void) { return truncate(".", 0); }
static long negative(void) { return ftruncate(file("f", ""), -1); }
static long too_far(void) { return ftruncate(file("f", ""), 1ll << 62); }
static long of_nothing(void) { return ftruncate(-1, 0); }
static long a_long_name(void) { return truncate(long_name(256), 0); }

static long read_only_handle(void)
{
	touch("f");
	return ftruncate(open("f", O_RDONLY), 0);
}

static long over_the_limit(void)
{
	struct rlimit l = {.rlim_cur = 10, .rlim_max = RLIM_INFINITY};
	int fd = file("f", "");

	signal(SIGXFSZ, SIG_IGN);
	DOES(setrlimit(RLIMIT_FSIZE, &l));
	return ftruncate(fd, 11);
}

static long without_permission(void)
{
	touch("f");
	become(1000, 1000);
	return truncate(see("f"), 0);
}

static long of_a_fifo(void)
{
	DOES(mkfifo("p", 0644));
	return truncate("p", 0);
}

static const struct probe_case cases[] = {
	OK(shortens),
	OK(of_a_handle),
	OK(moves_the_times),
	OK(pages_there_go),
	FAILS(nothing, ENOENT),
	FAILS(a_directory, EISDIR),
	FAILS(negative, EINVAL),
	FAILS(too_far, EFBIG),
	FAILS(of_nothing, EBADF),
	FAILS(a_long_name, ENAMETOOLONG),
	FAILS(read_only_handle, EINVAL),
	FAILS(over_the_limit, EFBIG),
	FAILS(without_permission, EACCES),
	FAILS(of_a_fifo, EINVAL),
};
PROBE_SUITE(truncate);
