/* flock; two open files of one process contend as those of two do. */
#include <signal.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tests/posix/probe.h"

static int here, there;

static void both(void)
{
	here = file("f", "");
	there = open(see("f"), O_RDWR);
	DOES(there);
}

static void one_exclusive(void)
{
	both();
	DOES(flock(here, LOCK_EX));
	WANT_ERRNO(flock(there, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	WANT_ERRNO(flock(there, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	DOES(flock(here, LOCK_UN));
	DOES(flock(there, LOCK_EX | LOCK_NB));
	WANT_ERRNO(flock(here, LOCK_SH | LOCK_NB), EWOULDBLOCK);
}

static void many_shared(void)
{
	int third;

	both();
	third = open(see("f"), O_RDONLY);
	DOES(flock(here, LOCK_SH));
	DOES(flock(there, LOCK_SH | LOCK_NB));
	DOES(flock(third, LOCK_SH | LOCK_NB));
	WANT_ERRNO(flock(here, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	DOES(flock(there, LOCK_UN));
	DOES(close(third));
	DOES(flock(here, LOCK_EX)); /* when it is given back is the mount's affair: this waits */
}

static void converts(void)
{
	both();
	DOES(flock(here, LOCK_EX));
	DOES(flock(here, LOCK_SH | LOCK_NB));
	DOES(flock(there, LOCK_SH | LOCK_NB));
	DOES(flock(there, LOCK_UN));
	DOES(flock(here, LOCK_EX | LOCK_NB));
}

static void belongs_to_the_open_file(void)
{
	int other, status;
	pid_t pid;

	both();
	other = dup(here);
	DOES(flock(here, LOCK_EX));
	DOES(flock(other, LOCK_EX | LOCK_NB));
	pid = fork();
	if (pid == 0) { /* its copy of the descriptor goes; the lock stays */
		close(here);
		close(other);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	DOES(close(here));
	WANT_ERRNO(flock(there, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	DOES(close(other));
	DOES(flock(there, LOCK_EX));
}

static void is_free_when_its_process_dies(void)
{
	int status;
	pid_t pid;

	both();
	pid = fork();
	if (pid == 0) {
		int own = open("f", O_RDWR);

		raise(flock(own, LOCK_EX | LOCK_NB) == 0 ? SIGKILL : SIGTERM);
	}
	waitpid(pid, &status, 0);
	WANT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	DOES(flock(there, LOCK_EX));
}

static void waits(void)
{
	int status;
	pid_t pid;

	both();
	DOES(flock(here, LOCK_EX));
	pid = fork();
	if (pid == 0) {
		int own = open(see("f"), O_RDWR);

		_exit(flock(own, LOCK_EX) == 0 ? 0 : 1);
	}
	pause_ms(100);
	WANT_EQ(waitpid(pid, &status, WNOHANG), 0);
	DOES(flock(here, LOCK_UN));
	WANT_EQ(waitpid(pid, &status, 0), pid);
	WANT_EQ(status, 0);
}

static void on_signal(int sig)
{
	(void)sig;
}

static long interrupted(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct itimerval soon = {.it_value.tv_usec = 100000, .it_interval.tv_usec = 100000};

	both();
	DOES(flock(there, LOCK_EX));
	DOES(sigaction(SIGALRM, &sa, NULL));
	DOES(setitimer(ITIMER_REAL, &soon, NULL));
	return flock(here, LOCK_EX);
}

static void of_a_directory(void) /* which FUSE keeps to the mount */
{
	int a, b;

	DOES(mkdir("d", 0755));
	a = open("d", O_RDONLY);
	b = open("d", O_RDONLY);
	DOES(flock(a, LOCK_EX));
	WANT_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
}

static void not_with_fcntl(void)
{
	struct flock l = {.l_type = F_WRLCK};

	both();
	DOES(flock(here, LOCK_EX));
	DOES(fcntl(there, F_SETLK, &l));
}

static long nothing(void)
{
	return flock(-1, LOCK_EX);
}
static long an_unknown_operation(void)
{
	return flock(file("f", ""), 16);
}

static long a_path(void)
{
	touch("f");
	return flock(open("f", O_PATH), LOCK_SH);
}

static const struct probe_case cases[] = {
	OK(one_exclusive),
	OK(many_shared),
	OK(converts),
	OK(belongs_to_the_open_file),
	OK(is_free_when_its_process_dies),
	OK(waits),
	OK(of_a_directory),
	OK(not_with_fcntl),
	FAILS(interrupted, EINTR),
	FAILS(nothing, EBADF),
	FAILS(an_unknown_operation, EINVAL),
	FAILS(a_path, EBADF),
};
PROBE_SUITE(flock);
