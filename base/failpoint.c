#include "base/failpoint.h"

#ifdef PAXFS_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPEC_MAX 128u
#define PATH_ROOM 512u

enum action { ACTION_KILL, ACTION_STOP, ACTION_DELAY, ACTION_ERROR };

_Atomic unsigned failpoint_armed;
static _Atomic unsigned hits_left; /* until it fires */
static _Atomic unsigned action;
static _Atomic unsigned delay_ms;
static char armed_path[PATH_ROOM], fired_path[PATH_ROOM]; /* empty: PAXFS_FAILPOINT_DIR is not set */

static const char *const names[] = {
#define FAILPOINT_NAME(name, roles, trigger, text) #name,
	FAILPOINTS(FAILPOINT_NAME)
#undef FAILPOINT_NAME
};

/* ---- arming: also in a signal handler, so nothing here allocates or locks ---- */

static unsigned find(const char *name, size_t len)
{
	for (unsigned i = 0; i < FP_COUNT; i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return i + 1;
	return 0;
}

static unsigned number(const char *s)
{
	unsigned v = 0;

	while (*s >= '0' && *s <= '9' && v < 100000000u)
		v = v * 10 + (unsigned)(*s++ - '0');
	return v;
}

static void action_parse(const char *s)
{
	if (strncmp(s, "stop", 4) == 0)
		atomic_store(&action, ACTION_STOP);
	else if (strncmp(s, "error", 5) == 0)
		atomic_store(&action, ACTION_ERROR);
	else if (strncmp(s, "delay=", 6) == 0) {
		atomic_store(&action, ACTION_DELAY);
		atomic_store(&delay_ms, number(s + 6));
	}
}

static void arm(const char *spec)
{
	size_t len = strcspn(spec, ":\n");
	const char *rest = spec + len;

	atomic_store(&failpoint_armed, 0);
	atomic_store(&hits_left, 1);
	atomic_store(&action, ACTION_KILL);
	if (rest[0] == ':' && rest[1] >= '0' && rest[1] <= '9') {
		atomic_store(&hits_left, number(rest + 1));
		rest += 1 + strcspn(rest + 1, ":\n");
	}
	if (rest[0] == ':')
		action_parse(rest + 1);
	atomic_store(&failpoint_armed, find(spec, len));
}

static void on_signal(int signum)
{
	char spec[SPEC_MAX];
	int fd = open(armed_path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, spec, sizeof(spec) - 1);

	(void)signum;
	if (fd >= 0)
		close(fd);
	spec[n > 0 ? n : 0] = '\0';
	arm(spec);
}

/* Only nodes: the commands that start and ask them have the same environment. */
__attribute__((constructor)) static void prepare(int argc, char **argv)
{
	const char *dir = getenv("PAXFS_FAILPOINT_DIR"), *spec = getenv("PAXFS_FAILPOINT");
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (argc < 2 || strcmp(argv[1], "node") != 0)
		return;
	if (dir) {
		snprintf(armed_path, sizeof(armed_path), "%s/%d", dir, (int)getpid());
		snprintf(fired_path, sizeof(fired_path), "%s/%d.fired", dir, (int)getpid());
		sigaction(SIGUSR2, &sa, NULL);
	}
	if (spec)
		arm(spec);
}

/* ---- firing ---- */

static void tell(const char *name)
{
	int fd = open(fired_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	if (write(fd, name, strlen(name)) < 0)
		abort();
	close(fd);
}

static void wait_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) != 0)
		;
}

bool failpoint_hit(enum failpoint f)
{
	unsigned left = atomic_load(&hits_left);

	while (left > 1)
		if (atomic_compare_exchange_weak(&hits_left, &left, left - 1))
			return false;
	if (atomic_load(&action) != ACTION_DELAY)
		atomic_store(&failpoint_armed, 0);
	tell(names[f]);
	switch (atomic_load(&action)) {
	case ACTION_KILL:
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	case ACTION_STOP:
		kill(getpid(), SIGSTOP);
		return false;
	case ACTION_DELAY:
		wait_ms(atomic_load(&delay_ms));
		return false;
	default:
		return true;
	}
}

uint64_t failpoint_tuned(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

#endif
