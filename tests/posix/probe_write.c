#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "tests/posix/probe.h"

static void is_seen(void)
{
	int fd = file("f", ""), there = open(see("f"), O_RDONLY);
	char b[8] = "";

	WANT_EQ(write(fd, "one", 3), 3);
	WANT_EQ(pread(there, b, 8, 0), 3);
	WANT_EQ(pwrite(fd, "TWO", 3, 0), 3);
	WANT_EQ(pread(there, b, 8, 0), 3);
	WANT(memcmp(b, "TWO", 3) == 0);
}

static void appends(void)
{
	int a = open("f", O_CREAT | O_WRONLY | O_APPEND, 0644), b = open(see("f"), O_WRONLY | O_APPEND);

	for (int i = 0; i < 5; i++) {
		WANT_EQ(write(a, "a", 1), 1);
		WANT_EQ(write(b, "b", 1), 1);
	}
	contents("f", "ababababab");
}

static void behind_the_end(void)
{
	int fd = file("f", "abc");

	WANT_EQ(pwrite(fd, "x", 1, 100000), 1);
	WANT_EQ(seen("f").st_size, 100001);
	zeros("f", 3, 100000 - 3);
}

static void gathers(void)
{
	struct iovec v[2] = {{.iov_base = "ab", .iov_len = 2}, {.iov_base = "cd", .iov_len = 2}};
	int fd = file("f", "");

	WANT_EQ(writev(fd, v, 2), 4);
	contents("f", "abcd");
}

static void shared_mapping(void)
{
	int fd = file("f", "abcdef");
	char *p = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	WANT(p != MAP_FAILED);
	if (p == MAP_FAILED)
		return;
	p[0] = 'X';
	DOES(msync(p, 6, MS_SYNC));
	contents("f", "Xbcdef");
}

static void after_unlink(void)
{
	int fd = file("f", "abc");
	char b[8];

	DOES(unlink(see("f")));
	WANT_EQ(pread(fd, b, 8, 0), 3);
	WANT_EQ(pwrite(fd, "defg", 4, 0), 4);
	WANT_EQ(pread(fd, b, 8, 0), 4);
}

static void set_id_bits_go(void)
{
	int fd = file("f", "abc");

	DOES(fchmod(fd, 06777));
	become(1000, 1000);
	fd = open("f", O_WRONLY);
	WANT_EQ(write(fd, "x", 1), 1);
	WANT_EQ(seen("f").st_mode & 07777, 0777);
}

static void nothing_is_written(void)
{
	struct stat was, is;
	int fd = file("f", "abc");

	was = seen("f");
	pause_ms(20);
	WANT_EQ(write(fd, "", 0), 0);
	is = seen("f");
	WANT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec);
}

static long read_only_handle(void)
{
	touch("f");
	return write(open("f", O_RDONLY), "x", 1);
}

static long read_of_write_only_handle(void)
{
	char c;

	touch("f");
	return read(open("f", O_WRONLY), &c, 1);
}

static long read_of_a_directory(void)
{
	char c;

	return read(open(".", O_RDONLY), &c, 1);
}

static long negative_offset(void) { return pwrite(file("f", ""), "x", 1, -1); }

static long from_nowhere(void)
{
	void *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return write(file("f", ""), p, 10);
}

static long over_the_limit(void)
{
	struct rlimit l = {.rlim_cur = 10, .rlim_max = RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	DOES(setrlimit(RLIMIT_FSIZE, &l));
	return pwrite(file("f", ""), "x", 1, 10);
}

static long too_far(void) { return pwrite(file("f", ""), "x", 1, 1ll << 62); }

static const struct probe_case cases[] = {
	OK(is_seen),
	OK(appends),
	OK(behind_the_end),
	OK(gathers),
	OK(shared_mapping),
	OK(after_unlink),
	OK(set_id_bits_go),
	OK(nothing_is_written),
	FAILS(read_only_handle, EBADF),
	FAILS(read_of_write_only_handle, EBADF),
	FAILS(read_of_a_directory, EISDIR),
	FAILS(negative_offset, EINVAL),
	FAILS(from_nowhere, EFAULT),
	FAILS(over_the_limit, EFBIG),
	FAILS(too_far, EFBIG),
};
PROBE_SUITE(write);
