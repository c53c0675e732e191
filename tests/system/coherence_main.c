/* What programs on one or two mounts of a store see of each other: one case per call.
 *
 *     coherence CASE DIR [SAME_DIR_ON_ANOTHER_MOUNT]
 *     coherence hold PID
 *
 * Exit 0: as it has to be; 1, with a line that says what was not. `setid` prints what it finds, to be
 * compared with another file system. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE   4096
#define ROUNDS 20

static char file_a[4096], file_b[4096];

static _Noreturn void __attribute__((format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

static long must(long r, const char *what)
{
	if (r < 0)
		fail("%s: %s", what, strerror(errno));
	return r;
}
#define MUST(call) must((long)(call), #call)

static int make(const char *path, size_t size, char fill)
{
	char *bytes = malloc(size + 1);
	int fd = (int)MUST(open(path, O_RDWR | O_CREAT | O_TRUNC, 0666));

	memset(bytes, fill, size);
	if (MUST(pwrite(fd, bytes, size, 0)) != (long)size)
		fail("a short write");
	free(bytes);
	return fd;
}

static long size_of(int fd)
{
	struct stat st;

	MUST(fstat(fd, &st));
	return (long)st.st_size;
}

/* ---- the end of the file, moved by the other mount ---- */

/* What @fd reads at @offset has to be @len bytes of @fill, and the end where it is, at the first try. */
static void expect(int fd, long offset, long len, char fill, const char *when)
{
	char got[3 * PAGE];
	long n = MUST(pread(fd, got, sizeof(got), offset));

	if (n != len)
		fail("%s: read %ld bytes at %ld, not %ld", when, n, offset, len);
	for (long i = 0; i < n; i++)
		if (got[i] != fill)
			fail("%s: byte %ld is '%c', not '%c'", when, offset + i, got[i], fill);
}

static void end_moves(void)
{
	char text[300], got[8];
	int a = make(file_a, 100, 'a'), b = (int)MUST(open(file_b, O_RDONLY)), ap;

	memset(text, 'n', sizeof(text));
	expect(b, 0, 100, 'a', "at first");
	ap = (int)MUST(open(file_a, O_WRONLY | O_APPEND));
	for (long end = 100; end < 100 + ROUNDS * 300; end += 300) {
		MUST(write(ap, text, sizeof(text)));
		expect(b, end, 300, 'n', "after an append");
	}
	for (int i = 0; i < ROUNDS; i++) {
		long end = 8000 + i * 700;

		MUST(pwrite(a, text, 200, end - 200));
		if (MUST(lseek(b, 0, SEEK_END)) != end)
			fail("lseek finds the end elsewhere than at %ld", end);
		expect(b, end - 200, 200, 'n', "after a write behind the end");
		MUST(ftruncate(a, end + 300));
		expect(b, end, 300, '\0', "after an extension");
		MUST(ftruncate(a, 50));
		expect(b, 0, 50, 'a', "after a truncation");
		if (MUST(pread(b, got, sizeof(got), 60)) != 0)
			fail("read what was truncated");
	}
}

/* Same size, same time: only the version of the data tells. */
static void forged(void)
{
	struct timespec t[2] = {{1000000000, 5}, {1000000000, 5}};
	int a = make(file_a, 100, 'a'), b;
	char text[100];

	MUST(futimens(a, t));
	b = (int)MUST(open(file_b, O_RDONLY));
	for (int i = 0; i < ROUNDS; i++) {
		char c = (char)('b' + i);

		memset(text, c, sizeof(text));
		MUST(pwrite(a, text, sizeof(text), 0));
		MUST(futimens(a, t));
		expect(b, 0, 100, c, "after a rewrite with the same size and time");
		MUST(pwrite(a, text, 50, 100));
		expect(b, 0, 150, c, "and an extension");
		MUST(ftruncate(a, 100));
		MUST(futimens(a, t));
		expect(b, 0, 100, c, "and a truncation");
	}
}

/* What the own SETATTR tells must not hide what the other mount wrote before it. */
static void hidden_by_setattr(void)
{
	int a = make(file_a, 2 * PAGE, 'a'), b = (int)MUST(open(file_b, O_RDWR));
	char text[PAGE];

	for (int i = 0; i < ROUNDS; i++) {
		char c = (char)('b' + i);

		memset(text, c, sizeof(text));
		expect(b, 2 * PAGE - 1, 1, 'a', "the last byte");
		MUST(pwrite(a, text, PAGE, 0));
		MUST(i % 2 ? ftruncate(b, 2 * PAGE) : fchmod(b, 0600 + (mode_t)i));
		if (MUST(pread(b, text, 1, 0)) != 1 || text[0] != c)
			fail("read '%c', not '%c', after a %s", text[0], c,
			     i % 2 ? "truncation" : "chmod");
	}
}

/* ---- maps with pages to be written back ---- */

static char *map_dirty(int fd)
{
	char *m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (m == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	m[0] = 'Z';
	return m;
}

static void truncate_dirty(void)
{
	static const long sizes[] = {20000, 2 * PAGE, 2 * PAGE - 1, PAGE, 100, 0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd = make(file_a, 2 * PAGE, 'a'), b;
		char *m = map_dirty(fd), c = '?';

		MUST(ftruncate(fd, sizes[i]));
		if (size_of(fd) != sizes[i])
			fail("truncated to %ld, but it is %ld", sizes[i], size_of(fd));
		MUST(munmap(m, 2 * PAGE));
		MUST(fsync(fd));
		MUST(close(fd));
		b = (int)MUST(open(file_b, O_RDONLY));
		if (size_of(b) != sizes[i] || pread(b, &c, 1, 0) != (sizes[i] > 0))
			fail("the other mount sees another size than %ld", sizes[i]);
		if (sizes[i] > 0 && c != 'Z')
			fail("what was mapped is lost at size %ld", sizes[i]);
		MUST(close(b));
	}
}

/* Pages written back never make a file longer that another mount made shorter. */
static void write_back_extends_nothing(void)
{
	for (long size = 0; size <= 2 * PAGE; size += 1000) {
		int fd = make(file_a, 2 * PAGE, 'a');
		char *m = map_dirty(fd);

		m[PAGE + 5] = 'Y';
		MUST(truncate(file_b, size));
		MUST(msync(m, 2 * PAGE, MS_SYNC));
		if (size_of(fd) != size)
			fail("%ld bytes after msync, not %ld", size_of(fd), size);
		MUST(munmap(m, 2 * PAGE));
		MUST(close(fd));
	}
}

/* A page of one mount, written back when the other changed another page: nothing is lost. */
static void both_pages(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int fd = make(file_a, 2 * PAGE, 'a'), b = (int)MUST(open(file_b, O_RDWR));
		char *m = map_dirty(fd), got[2] = {0};

		MUST(pwrite(b, "Q", 1, PAGE + 7));
		if (i % 2)
			MUST(fchmod(fd, 0640));
		MUST(pread(fd, got, 1, PAGE + 7));
		MUST(msync(m, 2 * PAGE, MS_SYNC));
		MUST(pread(b, got + 1, 1, 0));
		if (got[0] != 'Q' || got[1] != 'Z')
			fail("read '%c' and '%c', not Q and Z", got[0], got[1]);
		MUST(munmap(m, 2 * PAGE));
		MUST(close(fd));
		MUST(close(b));
	}
}

/* ---- set-id bits ---- */

#define UID_OTHER 1001
#define GID_OTHER 1002

static void direct_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_DIRECT);
	void *bytes;

	if (fd < 0 && errno == EINVAL) /* tmpfs of older kernels */
		fd = open(path, O_WRONLY);
	must(fd, "open O_DIRECT");
	if (posix_memalign(&bytes, PAGE, PAGE) != 0)
		fail("no memory");
	memset(bytes, 'd', PAGE);
	MUST(pwrite(fd, bytes, PAGE, 0));
}

static void change(const char *path, int how)
{
	int fd;

	switch (how) {
	case 0:
	case 1:
		fd = (int)MUST(open(path, how ? O_WRONLY | O_APPEND : O_WRONLY));
		MUST(write(fd, "x", 1));
		break;
	case 2: direct_write(path); break;
	case 3: MUST(open(path, O_WRONLY | O_TRUNC)); break;
	case 4: MUST(truncate(path, 10)); break;
	case 5:
		fd = (int)MUST(open(path, O_RDWR));
		MUST(ftruncate(fd, 9000));
		break;
	default:
		fd = (int)MUST(open(path, O_WRONLY | O_APPEND));
		MUST(fcntl(fd, F_SETFL, 0));
		MUST(pwrite(fd, "y", 1, 0));
		break;
	}
}

static void changed_by(uid_t uid, gid_t gid, gid_t group, const char *path, int how)
{
	int status;
	pid_t pid = (pid_t)MUST(fork());

	if (pid == 0) {
		MUST(setgroups(1, &group));
		MUST(setgid(gid));
		MUST(setuid(uid));
		change(path, how);
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0));
	if (status != 0)
		fail("the writer failed with %d", status);
}

static void setid(void)
{
	static const mode_t modes[] = {06777, 04777, 02777, 02767, 06767, 0777};
	static const struct {
		const char *name;
		uid_t uid;
		gid_t gid, group;
	} who[] = {{"root", 0, 0, 0},
		   {"other", UID_OTHER, UID_OTHER, UID_OTHER},
		   {"group", UID_OTHER, GID_OTHER, GID_OTHER},
		   {"groups", UID_OTHER, UID_OTHER, GID_OTHER}};
	struct stat st;

	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
		for (size_t w = 0; w < sizeof(who) / sizeof(who[0]); w++) {
			for (int how = 0; how < 7; how++) {
				close(make(file_a, 2 * PAGE, 'a'));
				MUST(chown(file_a, 0, GID_OTHER));
				MUST(chmod(file_a, modes[m]));
				changed_by(who[w].uid, who[w].gid, who[w].group, file_a, how);
				MUST(stat(file_a, &st));
				printf("%04o %s %d -> %04o\n", modes[m], who[w].name, how,
				       st.st_mode & 07777);
			}
		}
	}
}

/* The bits come from the other mount, after the file was opened here. */
static void setid_from_afar(void)
{
	char byte = 'x';
	struct stat st;
	int a, b;

	close(make(file_a, PAGE, 'a'));
	MUST(chmod(file_a, 0666));
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid;
		int status, go[2];

		MUST(pipe(go));
		pid = (pid_t)MUST(fork());
		if (pid == 0) {
			MUST(setgid(UID_OTHER));
			MUST(setuid(UID_OTHER));
			b = (int)MUST(open(file_b, O_RDWR | (i % 2 ? O_APPEND : 0)));
			MUST(pread(b, &byte, 1, 0));
			MUST(write(go[1], "r", 1));
			MUST(kill(getpid(), SIGSTOP));
			MUST(write(b, "y", 1));
			_exit(0);
		}
		MUST(read(go[0], &byte, 1));
		MUST(waitpid(pid, &status, WUNTRACED));
		a = (int)MUST(open(file_a, O_RDONLY));
		MUST(fchmod(a, 06777));
		MUST(kill(pid, SIGCONT));
		MUST(waitpid(pid, &status, 0));
		MUST(fstat(a, &st));
		if ((st.st_mode & 07777) != 0777)
			fail("mode %04o after a %s by another user", st.st_mode & 07777,
			     i % 2 ? "append" : "write");
		MUST(fchmod(a, 0666));
		MUST(close(a));
		MUST(close(go[0]));
		MUST(close(go[1]));
	}
}

/* ---- access times ---- */

static struct timespec atime_of(const char *path)
{
	struct stat st;

	MUST(stat(path, &st));
	return st.st_atim;
}

static bool same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void read_all(const char *path, int flags, int later_flags)
{
	char bytes[PAGE];
	int fd = (int)MUST(open(path, O_RDONLY | flags));

	if (later_flags)
		MUST(fcntl(fd, F_SETFL, later_flags));
	while (MUST(read(fd, bytes, sizeof(bytes))) > 0)
		continue;
	MUST(close(fd));
}

static void noatime(void)
{
	struct timespec old[2] = {{1000, 0}, {2000, 0}};

	close(make(file_a, 2 * PAGE, 'a'));
	MUST(utimensat(AT_FDCWD, file_a, old, 0));
	read_all(file_a, O_NOATIME, 0);
	if (!same(atime_of(file_a), old[0]))
		fail("a read with O_NOATIME changed the access time");
	close(make(file_b, 2 * PAGE, 'a'));
	MUST(utimensat(AT_FDCWD, file_b, old, 0));
	read_all(file_b, 0, O_NOATIME);
	if (!same(atime_of(file_b), old[0]))
		fail("a read with O_NOATIME from fcntl changed the access time");
	close(make(file_b, 2 * PAGE, 'a'));
	MUST(utimensat(AT_FDCWD, file_b, old, 0));
	read_all(file_b, 0, 0);
	if (same(atime_of(file_b), old[0]))
		fail("a read without it did not");
}

/* With strictatime: also one that relatime would not count. */
static void strictatime(void)
{
	struct timespec last;

	close(make(file_a, 2 * PAGE, 'a'));
	for (int i = 0; i < ROUNDS; i++) {
		last = atime_of(file_a);
		read_all(file_a, 0, 0);
		if (same(atime_of(file_a), last))
			fail("read %d did not change the access time", i);
	}
}

/* Keeps a thread of a process where no signal but SIGKILL gets at it, until it is gone. */
static void hold(const char *process)
{
	pid_t pid = (pid_t)atoi(process);
	int status;

	MUST(ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	MUST(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
	MUST(waitpid(pid, &status, __WALL));
	puts("held");
	do
		MUST(waitpid(pid, &status, __WALL));
	while (WIFSTOPPED(status));
}

static const struct {
	const char *name;
	void (*run)(void);
	bool two;
} cases[] = {
	{"end_moves", end_moves, true},
	{"forged", forged, true},
	{"hidden_by_setattr", hidden_by_setattr, true},
	{"truncate_dirty", truncate_dirty, true},
	{"write_back_extends_nothing", write_back_extends_nothing, true},
	{"both_pages", both_pages, true},
	{"setid", setid, false},
	{"setid_from_afar", setid_from_afar, true},
	{"noatime", noatime, false},
	{"strictatime", strictatime, false},
};

int main(int argc, char **argv)
{
	umask(0);
	setvbuf(stdout, NULL, _IOLBF, 0); /* children leave by exit, too */
	if (argc == 3 && strcmp(argv[1], "hold") == 0) {
		hold(argv[2]);
		return 0;
	}
	for (size_t i = 0; argc > 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[1], cases[i].name) != 0 || argc != 3 + cases[i].two)
			continue;
		snprintf(file_a, sizeof(file_a), "%s/%s", argv[2], argv[1]);
		snprintf(file_b, sizeof(file_b), "%s/%s%s", argv[cases[i].two ? 3 : 2], argv[1],
			 cases[i].two ? "" : "_2");
		cases[i].run();
		return 0;
	}
	fprintf(stderr, "usage: coherence CASE DIR [SAME_DIR_ON_ANOTHER_MOUNT]\n");
	return 2;
}
