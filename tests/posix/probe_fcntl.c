/* fcntl's locks of records: of processes, and of open files. */
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tests/posix/probe.h"

static struct flock range(short type, off_t start, off_t len)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return l;
}

static int lock(int fd, int how, short type, off_t start, off_t len)
{
	struct flock l = range(type, start, len);

	return fcntl(fd, how, &l);
}

/* What another process gets that asks for a lock through the other mount: 0 or an errno. */
static int another_gets(short type, off_t start, off_t len)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(see("f"), O_RDWR);

		_exit(lock(fd, F_SETLK, type, start, len) == 0 ? 0 : errno);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void ranges(void)
{
	int fd = file("f", "");

	DOES(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	DOES(lock(fd, F_SETLK, F_RDLCK, 30, 10));
	WANT_EQ(another_gets(F_RDLCK, 19, 1), EAGAIN);
	WANT_EQ(another_gets(F_WRLCK, 20, 10), 0);
	WANT_EQ(another_gets(F_WRLCK, 0, 10), 0);
	WANT_EQ(another_gets(F_WRLCK, 0, 11), EAGAIN);
	WANT_EQ(another_gets(F_RDLCK, 30, 10), 0);
	WANT_EQ(another_gets(F_WRLCK, 39, 1), EAGAIN);
	WANT_EQ(another_gets(F_WRLCK, 0, 0), EAGAIN);
}

static void splits_and_joins(void)
{
	int fd = file("f", "");

	DOES(lock(fd, F_SETLK, F_WRLCK, 0, 30));
	DOES(lock(fd, F_SETLK, F_UNLCK, 10, 10));
	WANT_EQ(another_gets(F_WRLCK, 10, 10), 0);
	WANT_EQ(another_gets(F_WRLCK, 9, 1), EAGAIN);
	WANT_EQ(another_gets(F_WRLCK, 20, 1), EAGAIN);
	DOES(lock(fd, F_SETLK, F_RDLCK, 5, 20));
	WANT_EQ(another_gets(F_RDLCK, 5, 20), 0);
	WANT_EQ(another_gets(F_RDLCK, 4, 1), EAGAIN);
	DOES(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	WANT_EQ(another_gets(F_WRLCK, 0, 0), 0);
}

static void counted_from_elsewhere(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -2, .l_len = 2};
	int fd = file("f", "abcdef");

	DOES(fcntl(fd, F_SETLK, &l));
	WANT_EQ(another_gets(F_WRLCK, 4, 1), EAGAIN);
	WANT_EQ(another_gets(F_WRLCK, 3, 1), 0);
	WANT_EQ(lseek(fd, 3, SEEK_SET), 3);
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 0, .l_len = -2};
	DOES(fcntl(fd, F_SETLK, &l));
	WANT_EQ(another_gets(F_WRLCK, 1, 1), EAGAIN);
	WANT_EQ(another_gets(F_WRLCK, 3, 1), 0);
}

static void the_far_end(void)
{
	int fd = file("f", "");

	DOES(lock(fd, F_SETLK, F_WRLCK, INT64_MAX - 1, 0));
	WANT_EQ(another_gets(F_WRLCK, INT64_MAX, 0), EAGAIN);
	WANT_EQ(another_gets(F_WRLCK, 0, INT64_MAX - 1), 0);
	DOES(lock(fd, F_SETLK, F_WRLCK, 1ll << 40, 1));
	WANT_EQ(another_gets(F_WRLCK, 1ll << 40, 1), EAGAIN);
}

static void who_is_in_the_way(void)
{
	struct flock l;
	int fd = file("f", ""), status;
	pid_t pid;

	DOES(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	l = range(F_WRLCK, 0, 0);
	DOES(fcntl(fd, F_GETLK, &l)); /* its own is not */
	WANT_EQ(l.l_type, F_UNLCK);
	pid = fork();
	if (pid == 0) {
		int there = open(see("f"), O_RDWR);

		l = range(F_RDLCK, 0, 0);
		DOES(fcntl(there, F_GETLK, &l));
		_exit(l.l_type == F_WRLCK && l.l_start == 10 && l.l_len == 10 &&
				      l.l_whence == SEEK_SET
			      ? 0
			      : 1);
	}
	waitpid(pid, &status, 0);
	WANT_EQ(status, 0);
}

/* Not the one that was set first. */
static void the_first_in_the_way(void)
{
	int fd = file("f", ""), status;
	pid_t pid;

	DOES(lock(fd, F_SETLK, F_WRLCK, 10, 5));
	DOES(lock(fd, F_SETLK, F_RDLCK, 5, 8));
	pid = fork();
	if (pid == 0) {
		int there = open(see("f"), O_RDWR);
		struct flock l = range(F_WRLCK, 5, 0);

		DOES(fcntl(there, F_GETLK, &l));
		_exit(l.l_type == F_RDLCK && l.l_start == 5 && l.l_len == 8 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	WANT_EQ(status, 0);
}

static void any_close_frees(void)
{
	int fd = file("f", ""), other = open("f", O_RDONLY);

	DOES(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	WANT_EQ(another_gets(F_WRLCK, 0, 1), EAGAIN);
	DOES(close(other));
	WANT_EQ(another_gets(F_WRLCK, 0, 1), 0);
}

static void not_inherited(void)
{
	int fd = file("f", ""), status;
	pid_t pid;

	DOES(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	pid = fork();
	if (pid == 0)
		_exit(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0 ? 1 : 0);
	waitpid(pid, &status, 0);
	WANT_EQ(status, 0);
	WANT_EQ(another_gets(F_WRLCK, 0, 1), EAGAIN); /* nor freed by its end */
}

static void free_when_its_process_dies(void)
{
	int ready[2], status, fd = file("f", "");
	pid_t pid;
	char c;

	DOES(pipe(ready));
	pid = fork();
	if (pid == 0) {
		DOES(lock(open(see("f"), O_RDWR), F_SETLK, F_WRLCK, 0, 0));
		(void)!write(ready[1], "r", 1);
		pause_ms(60000);
		_exit(0);
	}
	WANT_EQ(read(ready[0], &c, 1), 1);
	WANT_ERRNO(lock(fd, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
	DOES(kill(pid, SIGKILL));
	waitpid(pid, &status, 0);
	DOES(lock(fd, F_SETLK, F_WRLCK, 0, 0));
}

static void waits(void)
{
	int fd = file("f", ""), status;
	pid_t pid;

	DOES(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	pid = fork();
	if (pid == 0)
		_exit(lock(open(see("f"), O_RDWR), F_SETLKW, F_RDLCK, 5, 1) == 0 ? 0 : 1);
	pause_ms(100);
	WANT_EQ(waitpid(pid, &status, WNOHANG), 0);
	DOES(lock(fd, F_SETLK, F_UNLCK, 0, 10));
	WANT_EQ(waitpid(pid, &status, 0), pid);
	WANT_EQ(status, 0);
}

static void of_open_files(void)
{
	int fd = file("f", ""), there = open(see("f"), O_RDWR);

	DOES(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	WANT_ERRNO(lock(there, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
	DOES(lock(there, F_OFD_SETLK, F_WRLCK, 10, 10));
	WANT_ERRNO(lock(fd, F_OFD_SETLK, F_RDLCK, 0, 0), EAGAIN);
	DOES(lock(fd, F_OFD_SETLK, F_RDLCK, 0, 10));
	DOES(lock(there, F_OFD_SETLK, F_RDLCK, 5, 1));
	WANT_ERRNO(lock(there, F_SETLK, F_WRLCK, 0, 1), EAGAIN); /* nor beside the process's own */
	DOES(close(open("f", O_RDONLY)));			 /* does not free them */
	WANT_ERRNO(lock(there, F_OFD_SETLK, F_WRLCK, 0, 1), EAGAIN);
}

static void who_is_in_the_way_of_an_open_file(void)
{
	int fd = file("f", ""), there = open(see("f"), O_RDWR);
	struct flock l = range(F_WRLCK, 0, 0);

	DOES(lock(fd, F_OFD_SETLK, F_WRLCK, 3, 4));
	DOES(fcntl(there, F_OFD_GETLK, &l));
	WANT_EQ(l.l_type, F_WRLCK);
	WANT_EQ(l.l_start, 3);
	WANT_EQ(l.l_len, 4);
}

static void on_signal(int sig)
{
	(void)sig;
}

static int interrupted_at(int how)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct itimerval soon = {.it_value.tv_usec = 100000, .it_interval.tv_usec = 100000};
	int fd = file("f", ""), there = open(see("f"), O_RDWR);

	DOES(lock(there, F_OFD_SETLK, F_WRLCK, 0, 0));
	DOES(sigaction(SIGALRM, &sa, NULL));
	DOES(setitimer(ITIMER_REAL, &soon, NULL));
	return lock(fd, how, F_RDLCK, 0, 1);
}

static long interrupted(void)
{
	return interrupted_at(F_SETLKW);
}
static long interrupted_open_file(void)
{
	return interrupted_at(F_OFD_SETLKW);
}

static long a_circle(void) /* each of two holds what the other wants */
{
	int ready[2], fd = file("f", "");
	long rc;
	pid_t pid;
	char c;

	DOES(pipe(ready));
	DOES(lock(fd, F_SETLK, F_WRLCK, 0, 1));
	pid = fork();
	if (pid == 0) {
		int there = open(see("f"), O_RDWR);

		DOES(lock(there, F_SETLK, F_WRLCK, 1, 1));
		(void)!write(ready[1], "r", 1);
		rc = lock(there, F_SETLKW, F_WRLCK, 0, 1);
		_exit(rc == 0 ? 0 : errno == EDEADLK ? 1 : 2);
	}
	WANT_EQ(read(ready[0], &c, 1), 1);
	rc = lock(fd, F_SETLKW, F_WRLCK, 1, 1);
	if (rc == 0) { /* then it was the other one that was told */
		int status;

		WANT_EQ(waitpid(pid, &status, 0), pid);
		WANT_EQ(WEXITSTATUS(status), 1);
		errno = EDEADLK;
		return -1;
	}
	return rc;
}

static long read_lock_of_a_write_only_handle(void)
{
	touch("f");
	return lock(open("f", O_WRONLY), F_SETLK, F_RDLCK, 0, 0);
}

static long write_lock_of_a_read_only_handle(void)
{
	touch("f");
	return lock(open("f", O_RDONLY), F_SETLK, F_WRLCK, 0, 0);
}

static long negative_start(void)
{
	return lock(file("f", ""), F_SETLK, F_WRLCK, -1, 1);
}
static long before_the_start(void)
{
	return lock(file("f", ""), F_SETLK, F_WRLCK, 5, -6);
}
static long behind_all_numbers(void)
{
	return lock(file("f", ""), F_SETLK, F_WRLCK, INT64_MAX, 2);
}
static long an_unknown_type(void)
{
	return lock(file("f", ""), F_SETLK, 77, 0, 0);
}
static long nothing(void)
{
	return lock(-1, F_SETLK, F_WRLCK, 0, 0);
}

static long an_open_file_with_a_pid(void)
{
	struct flock l = range(F_WRLCK, 0, 0);

	l.l_pid = 1;
	return fcntl(file("f", ""), F_OFD_SETLK, &l);
}

static const struct probe_case cases[] = {
	OK(ranges),
	OK(splits_and_joins),
	OK(counted_from_elsewhere),
	OK(the_far_end),
	OK(who_is_in_the_way),
	OK(the_first_in_the_way),
	OK(any_close_frees),
	OK(not_inherited),
	OK(free_when_its_process_dies),
	OK(waits),
	OK(of_open_files),
	OK(who_is_in_the_way_of_an_open_file),
	FAILS(interrupted, EINTR),
	FAILS(interrupted_open_file, EINTR),
	FAILS(a_circle, EDEADLK),
	FAILS(read_lock_of_a_write_only_handle, EBADF),
	FAILS(write_lock_of_a_read_only_handle, EBADF),
	FAILS(negative_start, EINVAL),
	FAILS(before_the_start, EINVAL),
	FAILS(behind_all_numbers, EOVERFLOW),
	FAILS(an_unknown_type, EINVAL),
	FAILS(nothing, EBADF),
	FAILS(an_open_file_with_a_pid, EINVAL),
};
PROBE_SUITE(fcntl);
