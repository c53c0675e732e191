/* Bad disks and told-apart connections for a program that knows nothing of it (LD_PRELOAD).
 *
 *   FAULTIO_CONTROL=FILE   rules, one a line; read again whenever the file is replaced (write a new
 *                          one beside it, and rename). Without the file nothing is changed.
 *                          FILE.hits gets a line for each fault (at most HITS_MAX a rule).
 *   FAULTIO_BIND=ADDRESS   IPv4 sockets are bound to this before they connect
 *
 * A rule:  ACTION[=VALUE] OPERATIONS PATTERN WHEN
 *
 *   ACTION      fail=EIO|ENOSPC   the call fails; nothing is written
 *               tear=EIO          the first half is written, then as fail
 *               delay=MS          the call takes so much longer
 *               drop              the call does nothing and says that all went well
 *   OPERATIONS  comma-separated: write (pwrite, writev ... too), sync (fsync, fdatasync, and writes
 *               to descriptors that are O_DSYNC), allocate, truncate
 *   PATTERN     fnmatch(3) on the descriptor's path; `*` matches `/`, too
 *   WHEN        k=N (the N-th that matches since the rules were read), from=N, upto=N,
 *               p=PERCENT,SEED
 *
 * The first rule that matches and is due decides. What is not seen: mmap, io_uring, direct system
 * calls, and sync_file_range(2), which promises nothing.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 16
#define HITS_MAX 200

enum operation { OP_WRITE = 1, OP_SYNC = 2, OP_ALLOCATE = 4, OP_TRUNCATE = 8 };
enum action { FAIL = 1, TEAR, DELAY, DROP };
enum when { EXACTLY, FROM, UPTO, PERCENT };

struct rule {
	enum action action;
	enum when when;
	int error;
	unsigned delay_ms, operations;
	uint64_t n, seed, seen, hits;
	char pattern[256];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static int rule_count;
static struct stat loaded; /* the control file as it was when it was read */
static const char *control;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_posix_fallocate)(int, off_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_connect)(int, const struct sockaddr *, socklen_t);

static void find(void *pointer, const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	memcpy(pointer, &f, sizeof(f));
}

static void start(void)
{
	control = getenv("FAULTIO_CONTROL");
	find(&real_write, "write");
	find(&real_pwrite, "pwrite");
	find(&real_writev, "writev");
	find(&real_pwritev, "pwritev");
	find(&real_fsync, "fsync");
	find(&real_fdatasync, "fdatasync");
	find(&real_fallocate, "fallocate");
	find(&real_posix_fallocate, "posix_fallocate");
	find(&real_ftruncate, "ftruncate");
	find(&real_connect, "connect");
}

/* ---- rules ---- */

static unsigned operations_of(const char *list)
{
	return (strstr(list, "write") ? OP_WRITE : 0u) | (strstr(list, "sync") ? OP_SYNC : 0u) |
	       (strstr(list, "allocate") ? OP_ALLOCATE : 0u) |
	       (strstr(list, "truncate") ? OP_TRUNCATE : 0u);
}

static bool parse_when(struct rule *r, const char *text)
{
	unsigned long long n = 0, seed = 1;

	if (sscanf(text, "k=%llu", &n) == 1)
		r->when = EXACTLY;
	else if (sscanf(text, "from=%llu", &n) == 1)
		r->when = FROM;
	else if (sscanf(text, "upto=%llu", &n) == 1)
		r->when = UPTO;
	else if (sscanf(text, "p=%llu,%llu", &n, &seed) >= 1)
		r->when = PERCENT;
	else
		return false;
	r->n = n;
	r->seed = seed * 2654435761u + 88172645463325252ull;
	return true;
}

static bool parse_action(struct rule *r, const char *text)
{
	char error[16] = "";

	if (sscanf(text, "delay=%u", &r->delay_ms) == 1)
		r->action = DELAY;
	else if (strcmp(text, "drop") == 0)
		r->action = DROP;
	else if (sscanf(text, "fail=%15s", error) == 1)
		r->action = FAIL;
	else if (sscanf(text, "tear=%15s", error) == 1)
		r->action = TEAR;
	r->error = strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
	return r->action != 0;
}

static void parse_rule(const char *line)
{
	struct rule r = {0};
	char action[32], operations[64], when[64];

	if (sscanf(line, "%31s %63s %255s %63s", action, operations, r.pattern, when) != 4)
		return;
	r.operations = operations_of(operations);
	if (!r.operations || !parse_action(&r, action) || !parse_when(&r, when)) {
		fprintf(stderr, "faultio: bad rule: %s\n", line);
		_exit(99);
	}
	if (rule_count < RULES_MAX)
		rules[rule_count++] = r;
}

static void load(void)
{
	FILE *f;
	char line[512];
	struct stat st;

	if (stat(control, &st) != 0)
		memset(&st, 0, sizeof(st));
	if (st.st_ino == loaded.st_ino && st.st_mtim.tv_nsec == loaded.st_mtim.tv_nsec &&
	    st.st_mtim.tv_sec == loaded.st_mtim.tv_sec)
		return;
	loaded = st;
	rule_count = 0;
	f = fopen(control, "re");
	while (f && fgets(line, sizeof(line), f))
		parse_rule(line);
	if (f)
		fclose(f);
}

static bool is_due(struct rule *r)
{
	r->seen++;
	switch (r->when) {
	case EXACTLY: return r->seen == r->n;
	case FROM: return r->seen >= r->n;
	case UPTO: return r->seen <= r->n;
	default:
		r->seed ^= r->seed << 13;
		r->seed ^= r->seed >> 7;
		r->seed ^= r->seed << 17;
		return r->seed % 100 < r->n;
	}
}

static void tell(struct rule *r, const char *path)
{
	static const char *const names[] = {"", "fail", "tear", "delay", "drop"};
	char name[512], line[600];
	int fd, n;

	if (r->hits++ >= HITS_MAX)
		return;
	snprintf(name, sizeof(name), "%s.hits", control);
	n = snprintf(line, sizeof(line), "%s %s\n", names[r->action], path);
	fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	syscall(SYS_write, fd, line, (size_t)n);
	close(fd);
}

/* What is to happen to an operation on @fd, as a copy of the rule; action 0: nothing. */
static struct rule judge(int fd, unsigned operation)
{
	char link[64], path[512];
	struct rule out = {0};
	int saved = errno;
	ssize_t n;

	pthread_once(&once, start);
	if (!control)
		return out;
	pthread_mutex_lock(&lock);
	load();
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = rule_count ? readlink(link, path, sizeof(path) - 1) : -1;
	path[n > 0 ? n : 0] = 0;
	if (n > 0 && operation == OP_WRITE && (fcntl(fd, F_GETFL) & O_DSYNC))
		operation |= OP_SYNC;
	for (int i = 0; n > 0 && path[0] == '/' && i < rule_count && !out.action; i++) {
		struct rule *r = &rules[i];

		if (!(r->operations & operation) || fnmatch(r->pattern, path, 0) != 0 || !is_due(r))
			continue;
		tell(r, path);
		out = *r;
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return out;
}

static void wait_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

/* true: the call is over, with *@rc (@done if it is said to have gone well). */
static bool is_over(const struct rule *r, ssize_t done, ssize_t *rc)
{
	if (r->action == DELAY)
		wait_ms(r->delay_ms);
	if (r->action == DROP)
		*rc = done;
	if (r->action == FAIL || r->action == TEAR) {
		errno = r->error;
		*rc = -1;
	}
	return r->action == DROP || r->action == FAIL || r->action == TEAR;
}

static size_t length_of(const struct iovec *v, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += v[i].iov_len;
	return sum;
}

/* ---- what is put in the way ---- */

/* Half of it, in whole sectors: it may be a direct write. */
static size_t half(size_t len)
{
	return len >= 1024 ? len / 2 / 512 * 512 : len / 2;
}

ssize_t write(int fd, const void *p, size_t len)
{
	struct rule r = judge(fd, OP_WRITE);
	ssize_t rc = 0;

	if (r.action == TEAR && real_write(fd, p, half(len)) < 0)
		return -1;
	return is_over(&r, (ssize_t)len, &rc) ? rc : real_write(fd, p, len);
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
	struct rule r = judge(fd, OP_WRITE);
	ssize_t rc = 0;

	if (r.action == TEAR && real_pwrite(fd, p, half(len), at) < 0)
		return -1;
	return is_over(&r, (ssize_t)len, &rc) ? rc : real_pwrite(fd, p, len, at);
}

ssize_t pwrite64(int fd, const void *p, size_t len, off64_t at);
ssize_t pwrite64(int fd, const void *p, size_t len, off64_t at)
{
	return pwrite(fd, p, len, at);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
	struct rule r = judge(fd, OP_WRITE);
	ssize_t rc = 0;

	return is_over(&r, (ssize_t)length_of(v, count), &rc) ? rc : real_writev(fd, v, count);
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
	struct rule r = judge(fd, OP_WRITE);
	ssize_t rc = 0;

	return is_over(&r, (ssize_t)length_of(v, count), &rc) ? rc
							       : real_pwritev(fd, v, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at);
ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at)
{
	return pwritev(fd, v, count, at);
}

int fsync(int fd)
{
	struct rule r = judge(fd, OP_SYNC);
	ssize_t rc = 0;

	return is_over(&r, 0, &rc) ? (int)rc : real_fsync(fd);
}

int fdatasync(int fd)
{
	struct rule r = judge(fd, OP_SYNC);
	ssize_t rc = 0;

	return is_over(&r, 0, &rc) ? (int)rc : real_fdatasync(fd);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	struct rule r = judge(fd, OP_ALLOCATE);
	ssize_t rc = 0;

	return is_over(&r, 0, &rc) ? (int)rc : real_fallocate(fd, mode, at, len);
}

int fallocate64(int fd, int mode, off64_t at, off64_t len);
int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
	return fallocate(fd, mode, at, len);
}

int posix_fallocate(int fd, off_t at, off_t len)
{
	struct rule r = judge(fd, OP_ALLOCATE);
	ssize_t rc = 0;

	if (is_over(&r, 0, &rc))
		return rc == 0 ? 0 : errno; /* it returns the error */
	return real_posix_fallocate(fd, at, len);
}

int ftruncate(int fd, off_t len)
{
	struct rule r = judge(fd, OP_TRUNCATE);
	ssize_t rc = 0;

	return is_over(&r, 0, &rc) ? (int)rc : real_ftruncate(fd, len);
}

int ftruncate64(int fd, off64_t len);
int ftruncate64(int fd, off64_t len)
{
	return ftruncate(fd, len);
}

int connect(int fd, __CONST_SOCKADDR_ARG any, socklen_t len)
{
	struct sockaddr_in here = {.sin_family = AF_INET}, now;
	const struct sockaddr *to = any.__sockaddr__; /* the system's header has a union of pointers */
	socklen_t now_len = sizeof(now);
	const char *address = getenv("FAULTIO_BIND");

	pthread_once(&once, start);
	if (address && to->sa_family == AF_INET && inet_aton(address, &here.sin_addr) &&
	    getsockname(fd, (struct sockaddr *)&now, &now_len) == 0 && now.sin_port == 0)
		bind(fd, (struct sockaddr *)&here, sizeof(here));
	return real_connect(fd, to, len);
}
