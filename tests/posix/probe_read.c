#include <sys/uio.h>

#include "tests/posix/probe.h"

static void far_offsets(void) /* beyond 32 and 40 bits */
{
	static const off_t offsets[] = {(1ll << 31) - 2, (1ll << 32) - 2, (1ll << 40) + 1,
					1ll << 43};
	int fd = file("f", ""), there = open(see("f"), O_RDONLY);
	char b[8];

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		WANT_EQ(pwrite(fd, "abcd", 4, offsets[i]), 4);
		WANT_EQ(seen("f").st_size, offsets[i] + 4);
		memset(b, 0, sizeof(b));
		WANT_EQ(pread(there, b, 8, offsets[i] - 1), 5);
		WANT(memcmp(b, "\0abcd", 5) == 0);
		WANT_EQ(lseek(there, offsets[i], SEEK_SET), offsets[i]);
		WANT_EQ(read(there, b, 8), 4);
		WANT_EQ(lseek(there, 0, SEEK_CUR), offsets[i] + 4);
	}
	DOES(ftruncate(fd, (1ll << 31)));
	WANT_EQ(pread(there, b, 8, (1ll << 31) - 2), 2);
	WANT_EQ(pread(there, b, 8, 1ll << 43), 0);
}

static void the_last_byte(void)
{
	int fd = file("f", ""), there = open(see("f"), O_RDONLY);
	char b[8];

	WANT_EQ(pwrite(fd, "z", 1, (1ll << 53) - 1), 1);
	WANT_EQ(seen("f").st_size, 1ll << 53);
	WANT_EQ(pread(there, b, 8, (1ll << 53) - 2), 2);
	WANT_EQ(b[1], 'z');
	WANT_ERRNO(pwrite(fd, "z", 1, 1ll << 53), EFBIG);
	WANT_ERRNO(ftruncate(fd, (1ll << 53) + 1), EFBIG);
	WANT_EQ(seen("f").st_size, 1ll << 53);
}

static void at_the_end(void)
{
	int fd = file("f", "abcdef"), there = open(see("f"), O_RDONLY);
	char b[8];

	WANT_EQ(pread(there, b, 8, 4), 2);
	WANT_EQ(pread(there, b, 8, 6), 0);
	WANT_EQ(pread(there, b, 8, 7), 0);
	WANT_EQ(pread(there, b, 0, 0), 0);
	WANT_EQ(pwrite(fd, "gh", 2, 6), 2);
	WANT_EQ(pread(there, b, 8, 6), 2);
}

static void the_offset_moves(void)
{
	int fd = file("f", "abcdef");
	char b[8];

	WANT_EQ(lseek(fd, 0, SEEK_SET), 0);
	WANT_EQ(read(fd, b, 2), 2);
	WANT_EQ(pread(fd, b, 4, 0), 4);
	WANT_EQ(read(fd, b, 8), 4);
	WANT(memcmp(b, "cdef", 4) == 0);
	WANT_EQ(read(fd, b, 8), 0);
}

static void
across_blocks(void) /* every way in which a read can lie over the edges of blocks and pages */
{
	static const off_t edges[] = {4096, 32768, 65536, 131072};
	static char want[200000], got[200000];
	int fd = file("f", ""), there = open(see("f"), O_RDONLY);

	for (size_t i = 0; i < sizeof(want); i++)
		want[i] = (char)(i * 7 + i / 251);
	WANT_EQ(pwrite(fd, want, sizeof(want), 0), sizeof(want));
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		for (int before = 0; before < 3; before++) {
			for (int len = 1; len < 5; len++) {
				WANT_EQ(pread(there, got, (size_t)len, edges[i] - before), len);
				WANT(memcmp(got, want + edges[i] - before, (size_t)len) == 0);
			}
		}
	}
	WANT_EQ(pread(there, got, sizeof(got), 1), sizeof(got) - 1);
	WANT(memcmp(got, want + 1, sizeof(got) - 1) == 0);
}

static void scatters(void)
{
	char a[3], b[8];
	struct iovec v[2] = {{.iov_base = a, .iov_len = 3}, {.iov_base = b, .iov_len = 8}};
	int there;

	DOES(close(file("f", "abcdef")));
	there = open(see("f"), O_RDONLY);
	WANT_EQ(readv(there, v, 2), 6);
	WANT(memcmp(a, "abc", 3) == 0 && memcmp(b, "def", 3) == 0);
	WANT_EQ(preadv(there, v, 2, 2), 4);
	WANT_EQ(preadv2(there, v, 2, 4, RWF_HIPRI), 2);
}

static long negative(void)
{
	char c;

	return pread(file("f", "abc"), &c, 1, -1);
}

static long of_a_pipe(void)
{
	int p[2];
	char c;

	DOES(pipe(p));
	return pread(p[0], &c, 1, 0);
}

static long into_nothing(void)
{
	struct iovec v = {.iov_base = (void *)(uintptr_t)1, .iov_len = 3};

	return preadv(file("f", "abc"), &v, 1, 0);
}

static long of_nothing(void)
{
	return read(-1, NULL, 0);
}

static long too_many(void)
{
	static struct iovec v[1025];

	return readv(file("f", "abc"), v, 1025);
}

static long a_path(void)
{
	char c;

	touch("f");
	return read(open("f", O_PATH), &c, 1);
}

static const struct probe_case cases[] = {
	OK(far_offsets),	  OK_HERE(the_last_byte),   OK(at_the_end),
	OK(the_offset_moves),	  OK(across_blocks),	    OK(scatters),
	FAILS(negative, EINVAL),  FAILS(of_a_pipe, ESPIPE), FAILS(into_nothing, EFAULT),
	FAILS(of_nothing, EBADF), FAILS(too_many, EINVAL),  FAILS(a_path, EBADF),
};
PROBE_SUITE(read);
