/* See process.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"
#include "base/err.h"
#include "base/mem.h"
#include "tools/process.h"

#define KILLED_NS (5 * NS_PER_S) /* for the kernel to end it */

/* Field 22 of /proc/PID/stat: tells a process from a later one with the same pid. 0: no process. */
static unsigned long long start_time(pid_t pid)
{
	char path[64], text[1024], *p;
	unsigned long long t = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')'); /* the name may hold anything */
	if (!p || p[1] == '\0' || p[2] == 'Z')
		return 0;
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%llu", &t) == 1 ? t : 0;
}

static int write_pid_file(const char *path, pid_t pid)
{
	FILE *f = fopen(path, "we");
	int err;

	if (!f)
		return err_from_errno(errno);
	fprintf(f, "%d %llu\n", (int)pid, start_time(pid));
	err = fclose(f) != 0 ? ERR_IO : 0;
	return err;
}

pid_t process_running(const char *pid_path)
{
	FILE *f = fopen(pid_path, "re");
	int pid = 0;
	unsigned long long started = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%d %llu", &pid, &started) != 2)
		pid = 0;
	fclose(f);
	return pid > 1 && started != 0 && start_time(pid) == started ? pid : 0;
}

static void last_log_line(const char *path, char *out, size_t size)
{
	char line[MSG_SIZE];
	FILE *f = fopen(path, "re");

	out[0] = '\0';
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (line[0] != '\n')
			snprintf(out, size, "%.*s", (int)size - 1, line);
	fclose(f);
	out[strcspn(out, "\n")] = '\0';
}

/* By its path, so that `ps` shows a name that means something. */
static const char *own_path(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);

	if (n <= 0)
		return "/proc/self/exe";
	path[n] = '\0';
	return path;
}

static _Noreturn void child(char *const *argv, const char *log_path, int ready_fd)
{
	unsigned n = 0;
	char fd_text[16], path[PATH_MAX];
	char **args;
	int log, null;

	setsid();
	log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(127);
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC); /* what the caller has open is not the daemon's */
	fcntl(ready_fd, F_SETFD, 0);
	while (argv[n])
		n++;
	args = mem_must_alloc((n + 3) * sizeof(*args));
	memcpy(args, argv, n * sizeof(*args));
	snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
	args[n] = (char *)(uintptr_t) "--ready-fd";
	args[n + 1] = fd_text;
	execv(own_path(path, sizeof(path)), args);
	execv("/proc/self/exe", args); /* the file has been replaced meanwhile */
	_exit(127);
}

/* Reads one line from @fd within the timeout. ERR_TIMEOUT; ERR_CLOSED when the writer ended. */
static int read_line(int fd, uint64_t timeout_ns, char line[256])
{
	size_t len = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct timespec t0, t;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (;;) {
		uint64_t used;
		ssize_t n;

		clock_gettime(CLOCK_MONOTONIC, &t);
		used = (uint64_t)(t.tv_sec - t0.tv_sec) * NS_PER_S + (uint64_t)t.tv_nsec -
		       (uint64_t)t0.tv_nsec;
		if (used >= timeout_ns)
			return ERR_TIMEOUT;
		if (poll(&p, 1, (int)((timeout_ns - used) / NS_PER_MS) + 1) < 0 && errno != EINTR)
			return ERR_IO;
		if (!(p.revents & (POLLIN | POLLHUP)))
			continue;
		n = read(fd, line + len, 255 - len);
		if (n <= 0)
			return ERR_CLOSED;
		len += (size_t)n;
		line[len] = '\0';
		if (strchr(line, '\n') || len >= 255) {
			line[strcspn(line, "\n")] = '\0';
			return 0;
		}
	}
}

int process_start(char *const *argv, const char *log_path, const char *pid_path,
		  uint64_t timeout_ns, char line[256], struct msg *m)
{
	char text[256], last[MSG_SIZE - 64];
	int fds[2], err;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return msg_set(m, ERR_IO, "pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(argv, log_path, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return msg_set(m, ERR_IO, "fork: %s", strerror(errno));
	}
	err = write_pid_file(pid_path, pid);
	if (!err)
		err = read_line(fds[0], timeout_ns, text);
	close(fds[0]);
	if (!err) {
		if (line)
			memcpy(line, text, sizeof(text));
		return 0;
	}
	last_log_line(log_path, last, sizeof(last));
	if (err == ERR_CLOSED) {
		waitpid(pid, NULL, 0);
		unlink(pid_path);
		return msg_set(m, ERR_IO, "%s", last[0] ? last : "it ended without a message");
	}
	return msg_set(m, err, "not ready in time; last log line: %s", last);
}

/* Waits for the end of a process that need not be a child. */
static bool wait_gone(int pidfd, uint64_t timeout_ns)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, (int)(timeout_ns / NS_PER_MS)) > 0;
}

/* SIGTERM, help, SIGKILL: until one of them ends it. */
static enum process_end end_process(pid_t pid, int pidfd, uint64_t timeout_ns,
				    void (*unblock)(const void *ctx), const void *ctx)
{
	kill(pid, SIGTERM);
	kill(pid, SIGCONT);
	if (wait_gone(pidfd, timeout_ns / 2))
		return PROCESS_ENDED;
	if (unblock)
		unblock(ctx);
	if (wait_gone(pidfd, timeout_ns / 2))
		return PROCESS_ENDED;
	kill(pid, SIGKILL);
	return wait_gone(pidfd, KILLED_NS) ? PROCESS_KILLED : PROCESS_STAYS;
}

enum process_end process_stop(const char *pid_path, uint64_t timeout_ns,
			      void (*unblock)(const void *ctx), const void *ctx)
{
	pid_t pid = process_running(pid_path);
	int pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	enum process_end end = PROCESS_ENDED;

	/* between the look and the open the pid could have changed hands: look again */
	if (pidfd >= 0 && process_running(pid_path) == pid)
		end = end_process(pid, pidfd, timeout_ns, unblock, ctx);
	if (pidfd >= 0)
		close(pidfd);
	if (pid)
		waitpid(pid, NULL, WNOHANG);
	if (end != PROCESS_STAYS)
		unlink(pid_path);
	return end;
}
