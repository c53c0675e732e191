/* Many entries, deep trees and large files, made, looked at and removed in bulk; for huge.sh.
 *
 *   hugeplay create|stat|unlink|mkdir|rmdir COUNT THREADS DIR...
 *                                       several DIRs: one directory through several mounts; the kernel
 *                                       lets one caller a mount change a directory
 *   hugeplay list DIR COUNT             every entry is there exactly once, nothing else
 *   hugeplay deep|undeep DIR DEPTH      a chain of directories, by relative steps; a file at its end
 *   hugeplay sparse FILE BYTES          a little data at both ends and in the middle of a hole
 *   hugeplay write|verify FILE BYTES    each 8 bytes tell their offset
 *
 * Each tells its rate, every 10 s how far it is, and exits 1 with a line on the first surprise. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1ul << 20)
#define VERIFIERS 8ul
#define STEP  "a-directory-of-a-chain" /* 500 of them are beyond PATH_MAX */

static atomic_ulong done;
static const char *verb;
static unsigned long total;
static double began;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "hugeplay %s: ", verb);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void *watch(void *arg)
{
	struct timespec ten = {.tv_sec = 10};

	(void)arg;
	for (;;) {
		nanosleep(&ten, NULL);
		printf("    %s: %lu of %lu, %.0f s\n", verb, atomic_load(&done), total, now() - began);
		fflush(stdout);
	}
	return NULL;
}

static void begin(unsigned long count)
{
	pthread_t t;

	total = count;
	began = now();
	if (pthread_create(&t, NULL, watch, NULL) == 0)
		pthread_detach(t);
}

static void end(const char *unit)
{
	double s = now() - began;

	printf("    %s: %lu %s in %.1f s, %.0f/s\n", verb, total, unit, s, (double)total / s);
}

static unsigned long number(const char *s)
{
	char *rest;
	unsigned long v = strtoul(s, &rest, 10);

	if (rest == s || *rest)
		fail("\"%s\" is not a number", s);
	return v;
}

/* ---- entries ---- */

struct part {
	pthread_t thread;
	int dir;
	unsigned long from, step;
};

static void one(int dir, unsigned long i)
{
	struct stat st;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "e%lu", i);
	if (strcmp(verb, "create") == 0) {
		fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0 || close(fd) != 0)
			fail("%s: %s", name, strerror(errno));
	} else if (strcmp(verb, "mkdir") == 0) {
		if (mkdirat(dir, name, 0755) != 0)
			fail("%s: %s", name, strerror(errno));
	} else if (strcmp(verb, "stat") == 0) {
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			fail("%s: %s", name, strerror(errno));
		if (S_ISREG(st.st_mode) ? st.st_nlink != 1 || st.st_size != 0 : st.st_nlink != 2)
			fail("%s: mode %o, %lu links, %ld bytes", name, st.st_mode,
			     (unsigned long)st.st_nlink, (long)st.st_size);
	} else if (unlinkat(dir, name, strcmp(verb, "rmdir") == 0 ? AT_REMOVEDIR : 0) != 0) {
		fail("%s: %s", name, strerror(errno));
	}
}

static void *part_main(void *arg)
{
	struct part *p = arg;

	for (unsigned long i = p->from; i < total; i += p->step) {
		one(p->dir, i);
		atomic_fetch_add(&done, 1);
	}
	return NULL;
}

static void entries(unsigned long count, unsigned long threads, int dirs, char **paths)
{
	struct part *parts = calloc(threads, sizeof(*parts));

	if (!parts)
		fail("no memory");
	for (unsigned long i = 0; i < threads; i++) {
		const char *path = paths[i % (unsigned long)dirs];

		parts[i] = (struct part){
			.dir = open(path, O_RDONLY | O_DIRECTORY), .from = i, .step = threads};
		if (parts[i].dir < 0)
			fail("%s: %s", path, strerror(errno));
	}
	begin(count);
	for (unsigned long i = 0; i < threads; i++) {
		if (pthread_create(&parts[i].thread, NULL, part_main, &parts[i]) != 0)
			fail("no thread");
	}
	for (unsigned long i = 0; i < threads; i++)
		pthread_join(parts[i].thread, NULL);
	end("entries");
	for (unsigned long i = 0; i < threads; i++)
		close(parts[i].dir);
	free(parts);
}

static void list(const char *path, unsigned long count)
{
	unsigned char *seen = calloc(count + 1, 1);
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned long n = 0, i;
	char rest;

	if (!d || !seen)
		fail("%s: %s", path, strerror(errno));
	begin(count);
	while (errno = 0, (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (sscanf(e->d_name, "e%lu%c", &i, &rest) != 1 || i >= count)
			fail("an entry \"%s\"", e->d_name);
		if (seen[i]++)
			fail("%s came twice", e->d_name);
		n++;
		atomic_fetch_add(&done, 1);
	}
	if (errno)
		fail("%s: %s", path, strerror(errno));
	if (n != count)
		fail("%lu entries of %lu", n, count);
	end("entries");
	closedir(d);
	free(seen);
}

/* ---- deep trees ---- */

static int step_into(int dir, bool make)
{
	int next;

	if (make && mkdirat(dir, STEP, 0755) != 0)
		fail("mkdir at %lu: %s", atomic_load(&done), strerror(errno));
	next = openat(dir, STEP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (next < 0)
		fail("open at %lu: %s", atomic_load(&done), strerror(errno));
	atomic_fetch_add(&done, 1);
	return next;
}

/* The bottom: a name that no path reaches in one go, but relative steps do. */
static void look_around(int dir, const char *top, unsigned long depth)
{
	size_t len = strlen(top) + depth * sizeof("/" STEP) + 16;
	char *path = malloc(len), *at = path, text[8] = "";
	struct stat here, up;
	int fd = openat(dir, "file", O_CREAT | O_EXCL | O_RDWR, 0644);

	if (fd < 0 || write(fd, "bottom", 6) != 6 || pread(fd, text, 7, 0) != 6)
		fail("the file at the bottom: %s", strerror(errno));
	close(fd);
	if (fstatat(dir, "file", &here, 0) != 0 || here.st_size != 6)
		fail("stat of the file at the bottom");
	if (fstatat(dir, "..", &up, 0) != 0 || up.st_nlink != 3)
		fail("the directory above the bottom");
	at += sprintf(at, "%s", top);
	for (unsigned long i = 0; i < depth; i++)
		at += sprintf(at, "/" STEP);
	if (strlen(path) >= 4096 && (stat(path, &here) == 0 || errno != ENAMETOOLONG))
		fail("a path of %zu bytes was taken", strlen(path));
	printf("    a file at depth %lu, its path has %zu bytes\n", depth, strlen(path) + 5);
	free(path);
}

/* A directory moves from the top to the bottom and back; the chain does not move into itself. */
static void move_around(int dir, const char *top)
{
	int up = open(top, O_RDONLY | O_DIRECTORY);

	if (up < 0 || mkdirat(up, "moved", 0755) != 0 || renameat(up, "moved", dir, "moved") != 0)
		fail("a move to the bottom: %s", strerror(errno));
	if (renameat(up, STEP, dir, "itself") == 0 || errno != EINVAL)
		fail("a move into itself: %s", strerror(errno));
	if (renameat(dir, "moved", up, "moved") != 0 || unlinkat(up, "moved", AT_REMOVEDIR) != 0)
		fail("a move to the top: %s", strerror(errno));
	close(up);
}

static void deep(const char *path, unsigned long depth)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);

	begin(depth);
	for (unsigned long i = 0; i < depth; i++) {
		int next = step_into(dir, true);

		close(dir);
		dir = next;
	}
	look_around(dir, path, depth);
	move_around(dir, path);
	close(dir);
	end("directories");
}

/* From the bottom up, by "..". */
static void undeep(const char *path, unsigned long depth)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY);

	begin(depth);
	for (unsigned long i = 0; i < depth; i++) {
		int next = step_into(dir, false);

		close(dir);
		dir = next;
	}
	if (unlinkat(dir, "file", 0) != 0)
		fail("unlink at the bottom: %s", strerror(errno));
	for (unsigned long i = 0; i < depth; i++) {
		int up = openat(dir, "..", O_RDONLY | O_DIRECTORY);

		close(dir);
		if (up < 0 || unlinkat(up, STEP, AT_REMOVEDIR) != 0)
			fail("rmdir %lu above the bottom: %s", i, strerror(errno));
		dir = up;
	}
	close(dir);
	end("directories");
}

/* ---- large files ---- */

static void expect_read(int fd, off_t at, const char *want, size_t len)
{
	char got[64];

	if (pread(fd, got, len, at) != (ssize_t)len || memcmp(got, want, len) != 0)
		fail("what is read at %lld", (long long)at);
}

static void sparse(const char *path, unsigned long size)
{
	static const char data[] = "data", zeros[sizeof(data)];
	const off_t spots[] = {0, (off_t)size / 2, (off_t)size - 4};
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
	struct stat st;

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		fail("%s: %s", path, strerror(errno));
	begin(size);
	for (int i = 0; i < 3; i++)
		if (pwrite(fd, data, 4, spots[i]) != 4)
			fail("write at %lld: %s", (long long)spots[i], strerror(errno));
	for (int i = 0; i < 3; i++)
		expect_read(fd, spots[i], data, 4);
	expect_read(fd, (off_t)size / 4, zeros, 5);
	if (fstat(fd, &st) != 0 || (unsigned long)st.st_size != size || st.st_blocks > 4096)
		fail("%lld bytes, %lld blocks", (long long)st.st_size, (long long)st.st_blocks);
	if (lseek(fd, PIECE, SEEK_DATA) / PIECE != spots[1] / PIECE)
		fail("SEEK_DATA gives %lld", (long long)lseek(fd, PIECE, SEEK_DATA));
	if (lseek(fd, spots[1], SEEK_HOLE) > spots[1] + (off_t)PIECE)
		fail("SEEK_HOLE gives %lld", (long long)lseek(fd, spots[1], SEEK_HOLE));
	if (ftruncate(fd, (off_t)size / 2) != 0 || ftruncate(fd, (off_t)size) != 0)
		fail("truncate: %s", strerror(errno));
	expect_read(fd, spots[1], zeros, 4);
	close(fd);
	printf("    %s: %lu bytes in %.2f s\n", verb, size, now() - began);
}

static void fill(uint64_t *piece, unsigned long offset)
{
	for (size_t i = 0; i < PIECE / 8; i++)
		piece[i] = (offset + i * 8) * 0x9e3779b97f4a7c15ull;
}

static void write_whole(const char *path, unsigned long size)
{
	uint64_t *piece = malloc(PIECE);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0 || !piece)
		fail("%s: %s", path, strerror(errno));
	begin(size);
	for (unsigned long at = 0; at < size; at += PIECE) {
		fill(piece, at);
		if (write(fd, piece, PIECE) != (ssize_t)PIECE)
			fail("at %lu: %s", at, strerror(errno));
		atomic_fetch_add(&done, PIECE);
	}
	if (fsync(fd) != 0 || close(fd) != 0)
		fail("the end: %s", strerror(errno));
	end("bytes");
	free(piece);
}

static void *verify_part(void *arg)
{
	struct part *p = arg; /* `dir` is the file */
	uint64_t *want = malloc(PIECE), *got = malloc(PIECE);

	if (!want || !got)
		fail("no memory");
	for (unsigned long at = p->from; at < total; at += p->step) {
		fill(want, at);
		if (pread(p->dir, got, PIECE, (off_t)at) != (ssize_t)PIECE)
			fail("at %lu: %s", at, strerror(errno));
		if (memcmp(want, got, PIECE) != 0)
			fail("other bytes than were written, in the MiB at %lu", at);
		atomic_fetch_add(&done, PIECE);
	}
	free(want);
	free(got);
	return NULL;
}

static void verify_whole(const char *path, unsigned long size)
{
	struct part parts[VERIFIERS];
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &st) != 0 || (unsigned long)st.st_size != size)
		fail("%s: %s", path, fd < 0 ? strerror(errno) : "another size");
	begin(size);
	for (unsigned long i = 0; i < VERIFIERS; i++) {
		parts[i] = (struct part){.dir = fd, .from = i * PIECE, .step = VERIFIERS * PIECE};
		if (pthread_create(&parts[i].thread, NULL, verify_part, &parts[i]) != 0)
			fail("no thread");
	}
	for (unsigned long i = 0; i < VERIFIERS; i++)
		pthread_join(parts[i].thread, NULL);
	close(fd);
	end("bytes");
}

int main(int argc, char **argv)
{
	static const char *const bulk[] = {"create", "stat", "unlink", "mkdir", "rmdir"};

	verb = argc > 1 ? argv[1] : "?";
	for (size_t i = 0; i < sizeof(bulk) / sizeof(bulk[0]) && argc >= 5; i++) {
		if (strcmp(verb, bulk[i]) == 0) {
			entries(number(argv[2]), number(argv[3]), argc - 4, argv + 4);
			return 0;
		}
	}
	if (argc != 4)
		fail("see the top of hugeplay_main.c");
	if (strcmp(verb, "list") == 0)
		list(argv[2], number(argv[3]));
	else if (strcmp(verb, "deep") == 0)
		deep(argv[2], number(argv[3]));
	else if (strcmp(verb, "undeep") == 0)
		undeep(argv[2], number(argv[3]));
	else if (strcmp(verb, "sparse") == 0)
		sparse(argv[2], number(argv[3]));
	else if (strcmp(verb, "write") == 0)
		write_whole(argv[2], number(argv[3]));
	else if (strcmp(verb, "verify") == 0)
		verify_whole(argv[2], number(argv[3]));
	else
		fail("unknown");
	return 0;
}
