#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/posix/probe.h"

static char *mapped(int fd, size_t len, int prot, int flags)
{
	char *p = mmap(NULL, len, prot, flags, fd, 0);

	WANT(p != MAP_FAILED);
	if (p == MAP_FAILED)
		_exit(1);
	return p;
}

static void shared_is_written(void)
{
	int fd = file("f", "abcdef");
	char *p = mapped(fd, 6, PROT_READ | PROT_WRITE, MAP_SHARED), b[8];

	p[0] = 'X';
	WANT_EQ(pread(fd, b, 6, 0), 6); /* at once, here */
	WANT_EQ(b[0], 'X');
	DOES(msync(p, 6, MS_SYNC));
	contents("f", "Xbcdef");
	p[1] = 'Y';
	DOES(fsync(fd));
	contents("f", "XYcdef");
	p[2] = 'Z';
	DOES(munmap(p, 6));
	DOES(close(fd));
	contents("f", "XYZdef");
}

static void shared_between_processes(void)
{
	int fd = file("f", "abcdef"), status;
	char *p = mapped(fd, 6, PROT_READ | PROT_WRITE, MAP_SHARED);
	pid_t pid = fork();

	if (pid == 0) {
		p[3] = 'X';
		_exit(0);
	}
	waitpid(pid, &status, 0);
	WANT_EQ(p[3], 'X');
}

static void private_is_not(void)
{
	int fd, there;
	char *p, c;

	DOES(close(file("f", "abcdef")));
	fd = open("f", O_RDONLY);
	p = mapped(fd, 6, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	p[0] = 'X';
	DOES(msync(p, 6, MS_SYNC));
	contents("f", "abcdef");
	there = open(see("f"), O_RDONLY);
	WANT_EQ(pread(there, &c, 1, 0), 1);
	WANT_EQ(c, 'a');
	WANT_EQ(p[0], 'X');
}

static void what_others_wrote(void)
{
	int there;
	char *p, b[4];

	DOES(close(file("f", "abcdef")));
	there = open(see("f"), O_RDWR);
	p = mapped(open("f", O_RDONLY), 6, PROT_READ, MAP_SHARED);
	WANT_EQ(p[0], 'a');
	WANT_EQ(pwrite(there, "X", 1, 0), 1);
	WANT_EQ(pread(open("f", O_RDONLY), b, 1, 0),
		1); /* whoever asks gets it; and then the mapping has it */
	WANT_EQ(b[0], 'X');
	WANT_EQ(p[0], 'X');
}

static void zeros_behind_the_end(void)
{
	int fd = file("f", "abc");
	char *p = mapped(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED);

	WANT_EQ(p[3], 0);
	WANT_EQ(p[4095], 0);
	p[3] = 'x'; /* goes nowhere */
	DOES(msync(p, 4096, MS_SYNC));
	WANT_EQ(seen("f").st_size, 3);
	contents("f", "abc");
	DOES(ftruncate(fd, 5));
	zeros("f", 3, 2);
}

static void grows_with_the_file(void)
{
	int fd = file("f", "");
	char *p;

	DOES(ftruncate(fd, 200000));
	p = mapped(fd, 200000, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < 200000; i += 1000)
		p[i] = (char)('a' + i / 1000 % 26);
	DOES(msync(p, 200000, MS_SYNC));
	for (size_t i = 0; i < 200000; i += 50000) {
		char c = 0;
		int there = open(see("f"), O_RDONLY);

		WANT_EQ(pread(there, &c, 1, (off_t)i), 1);
		WANT_EQ(c, 'a' + i / 1000 % 26);
		close(there);
	}
	WANT_EQ(seen("f").st_size, 200000);
}

static void mtime_moves(void)
{
	int fd = file("f", "abcdef");
	char *p = mapped(fd, 6, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct stat was, is;

	DOES(fsync(fd));
	was = seen("f");
	pause_ms(20);
	p[0] = 'X';
	DOES(msync(p, 6, MS_SYNC));
	is = seen("f");
	WANT(is.st_mtim.tv_sec > was.st_mtim.tv_sec || is.st_mtim.tv_nsec > was.st_mtim.tv_nsec);
}

static void without_a_name(void)
{
	int fd = file("f", "abcdef");
	char *p = mapped(fd, 6, PROT_READ | PROT_WRITE, MAP_SHARED), b[8];

	DOES(unlink("f"));
	p[0] = 'X';
	DOES(msync(p, 6, MS_SYNC));
	WANT_EQ(pread(fd, b, 6, 0), 6);
	WANT(memcmp(b, "Xbcdef", 6) == 0);
}

static int signal_of(char *p, bool write_it) /* that a child gets */
{
	volatile char *v = p;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (write_it)
			*v = 'x';
		else
			(void)*v;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void pages_behind_the_end(void)
{
	int fd = file("f", "abc");
	char *p = mapped(fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED);

	WANT_EQ(signal_of(p, true), 0);
	WANT_EQ(signal_of(p + 4096, false), 7);
	WANT_EQ(signal_of(p + 4096, true), 7);
	DOES(ftruncate(fd, 8192));
	WANT_EQ(signal_of(p + 4096, true), 0);
	DOES(ftruncate(fd, 0));
	WANT_EQ(signal_of(p, false), 7);
}

static long map(const char *name, int how, int prot, int flags, size_t len, off_t offset)
{
	void *p = mmap(NULL, len, prot, flags, open(name, how), offset);

	return p == MAP_FAILED ? -1 : 0;
}

static long shared_of_a_read_only_handle(void)
{
	touch("f");
	return map("f", O_RDONLY, PROT_READ | PROT_WRITE, MAP_SHARED, 4096, 0);
}

static long of_a_write_only_handle(void)
{
	touch("f");
	return map("f", O_WRONLY, PROT_WRITE, MAP_SHARED, 4096, 0);
}

static long of_an_appending_handle(void)
{
	touch("f");
	return map("f", O_WRONLY | O_APPEND, PROT_WRITE, MAP_PRIVATE, 4096, 0);
}

static long made_writable_later(void)
{
	touch("f");
	return mprotect(mapped(open("f", O_RDONLY), 4096, PROT_READ, MAP_SHARED), 4096,
			PROT_READ | PROT_WRITE);
}

static long no_length(void)
{
	touch("f");
	return map("f", O_RDWR, PROT_READ, MAP_SHARED, 0, 0);
}

static long between_pages(void)
{
	touch("f");
	return map("f", O_RDWR, PROT_READ, MAP_SHARED, 4096, 100);
}

static long a_directory(void)
{
	return map(".", O_RDONLY, PROT_READ, MAP_SHARED, 4096, 0);
}

static long a_fifo(void)
{
	DOES(mkfifo("p", 0644));
	return map("p", O_RDWR, PROT_READ, MAP_SHARED, 4096, 0);
}

static long a_path(void)
{
	touch("f");
	return map("f", O_PATH, PROT_READ, MAP_SHARED, 4096, 0);
}

static long sync_of_nothing(void)
{
	char *p = mapped(file("f", "abc"), 4096, PROT_READ, MAP_SHARED);

	DOES(munmap(p, 4096));
	return msync(p, 4096, MS_SYNC);
}

static long sync_both_ways(void)
{
	return msync(mapped(file("f", "abc"), 4096, PROT_READ, MAP_SHARED), 4096,
		     MS_SYNC | MS_ASYNC);
}

static const struct probe_case cases[] = {
	OK(shared_is_written),
	OK(shared_between_processes),
	OK(private_is_not),
	OK(what_others_wrote),
	OK(zeros_behind_the_end),
	OK(grows_with_the_file),
	OK(mtime_moves),
	OK(without_a_name),
	OK(pages_behind_the_end),
	FAILS(shared_of_a_read_only_handle, EACCES),
	FAILS(of_a_write_only_handle, EACCES),
	FAILS(of_an_appending_handle, EACCES),
	FAILS(made_writable_later, EACCES),
	FAILS(no_length, EINVAL),
	FAILS(between_pages, EINVAL),
	FAILS(a_directory, ENODEV),
	FAILS(a_fifo, ENODEV),
	FAILS(a_path, EBADF),
	FAILS(sync_of_nothing, ENOMEM),
	FAILS(sync_both_ways, EINVAL),
};
PROBE_SUITE(mmap);
