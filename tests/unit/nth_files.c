#include "tests/unit/nth_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

static char under[PATH_MAX], mark[PATH_MAX];
static unsigned long target;
static int what;
static bool stays;
static atomic_bool armed;
static atomic_ulong count;

void nth_files_arm(const char *dir, unsigned long nth, int how, bool sticky)
{
	snprintf(under, sizeof(under), "%s", dir);
	target = nth;
	what = how;
	stays = sticky;
	atomic_store(&count, 0);
	atomic_store(&armed, true);
}

unsigned long nth_files_disarm(void)
{
	atomic_store(&armed, false);
	return atomic_load(&count);
}

/* ---- over exec ---- */

void nth_env_set(unsigned long nth_file, int how, unsigned long nth_mem, const char *dir,
		 const char *mark_path)
{
	char text[PATH_MAX + 64];

	snprintf(text, sizeof(text), "%lu %d 0 %s", nth_file, how, dir);
	setenv("NTH_FILES", text, 1);
	snprintf(text, sizeof(text), "%lu", nth_mem);
	setenv("NTH_MEM", text, 1);
	setenv("NTH_MARK", mark_path, 1);
	(void)unlink(mark_path);
}

void nth_env_clear(void)
{
	unsetenv("NTH_FILES");
	unsetenv("NTH_MEM");
	unsetenv("NTH_MARK");
}

__attribute__((constructor(101))) static void from_env(void)
{
	const char *files = getenv("NTH_FILES"), *mem = getenv("NTH_MEM"), *m = getenv("NTH_MARK");
	char dir[PATH_MAX];
	unsigned long n;
	int how, sticky;

	if (m)
		snprintf(mark, sizeof(mark), "%s", m);
	if (files && sscanf(files, "%lu %d %d %4095s", &n, &how, &sticky, dir) == 4 && n > 0)
		nth_files_arm(dir, n, how, sticky != 0);
	if (mem && strtoul(mem, NULL, 10) > 0) {
		mem_fail_must_too(true);
		mem_fail_nth(strtoul(mem, NULL, 10));
	}
}

/* ---- whose turn it is ---- */

static long real_write(int fd, const void *p, size_t len)
{
	return syscall(SYS_write, fd, p, len);
}

static void note(const char *call, const char *path)
{
	char text[PATH_MAX + 64];
	long fd;
	int n;

	if (!mark[0])
		return;
	fd = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	n = snprintf(text, sizeof(text), "%s %s\n", call, path);
	if (fd >= 0) {
		(void)!real_write((int)fd, text, (size_t)n);
		(void)syscall(SYS_close, (int)fd);
	}
}

static bool path_of(int fd, char out[PATH_MAX])
{
	char link[64];
	long n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
	if (n < 0)
		return false;
	out[n] = '\0';
	return true;
}

static bool counts(int dirfd, const char *path)
{
	char full[PATH_MAX];

	if (!atomic_load_explicit(&armed, memory_order_relaxed))
		return false;
	if (path && path[0] == '/')
		return strncmp(path, under, strlen(under)) == 0;
	if (dirfd == AT_FDCWD)
		return false;
	return path_of(dirfd, full) && strncmp(full, under, strlen(under)) == 0;
}

/* 0: go on; -1 with errno; or *die: do half of it, then die. */
static int turn(const char *call, int dirfd, const char *path, bool *die)
{
	char full[PATH_MAX] = "";
	unsigned long n;

	*die = false;
	if (!counts(dirfd, path))
		return 0;
	n = atomic_fetch_add(&count, 1) + 1;
	if (target == 0 || (n != target && !(stays && n > target)))
		return 0;
	if (path && path[0] == '/')
		snprintf(full, sizeof(full), "%s", path);
	else if (!path_of(dirfd, full))
		full[0] = '\0';
	note(call, full);
	*die = what == NTH_DIE;
	if (*die)
		return 0;
	errno = what;
	return -1;
}

/* For calls of which there is no half: it dies before it. */
static int turn_whole(const char *call, int dirfd, const char *path)
{
	bool die;
	int rc = turn(call, dirfd, path, &die);

	if (die)
		_exit(NTH_DEAD_STATUS);
	return rc;
}

/* ---- the calls ---- */

static int do_open(int dirfd, const char *path, int flags, mode_t mode)
{
	if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && turn_whole("open", dirfd, path) != 0)
		return -1;
	return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

#define MODE_OF(flags, mode)                                                                       \
	do {                                                                                       \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(ap, mode_t) : 0;                 \
		va_end(ap);                                                                        \
	} while (0)

int open(const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, mode);
	return do_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, mode);
	return do_open(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, mode);
	return do_open(dirfd, path, flags, mode);
}

int openat64(int dirfd, const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, mode);
	return do_open(dirfd, path, flags, mode);
}

ssize_t write(int fd, const void *p, size_t len)
{
	bool die;

	if (turn("write", fd, NULL, &die) != 0)
		return -1;
	if (die) {
		(void)!real_write(fd, p, len / 2);
		_exit(NTH_DEAD_STATUS);
	}
	return real_write(fd, p, len);
}

static ssize_t do_pwrite(int fd, const void *p, size_t len, off_t at)
{
	bool die;

	if (turn("pwrite", fd, NULL, &die) != 0)
		return -1;
	if (die) {
		/* direct writes go in sectors */
		(void)!syscall(SYS_pwrite64, fd, p, len / 2 / 512 * 512, at);
		_exit(NTH_DEAD_STATUS);
	}
	return syscall(SYS_pwrite64, fd, p, len, at);
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
	return do_pwrite(fd, p, len, at);
}

ssize_t pwrite64(int fd, const void *p, size_t len, off_t at)
{
	return do_pwrite(fd, p, len, at);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	if (turn_whole("writev", fd, NULL) != 0)
		return -1;
	return syscall(SYS_writev, fd, iov, n);
}

int fsync(int fd)
{
	return turn_whole("fsync", fd, NULL) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return turn_whole("fdatasync", fd, NULL) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t len)
{
	return turn_whole("ftruncate", fd, NULL) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	if (turn_whole("fallocate", fd, NULL) != 0)
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, at, len);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	if (turn_whole("rename", to_fd, to) != 0)
		return -1;
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return renameat2(from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode)
{
	if (turn_whole("mkdir", AT_FDCWD, path) != 0)
		return -1;
	return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	if (turn_whole("unlink", dirfd, path) != 0)
		return -1;
	return (int)syscall(SYS_unlinkat, dirfd, path, flags);
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int link(const char *from, const char *to)
{
	if (turn_whole("link", AT_FDCWD, to) != 0)
		return -1;
	return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}
