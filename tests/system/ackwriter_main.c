/* Writes small files one after another, each with fsync and close, and logs each one only after that
 * succeeded; later checks that everything logged is there.
 *
 *   ackwriter write DIR LOG SECONDS   -> "writes N longest_ms X"; exit 1 at the first error
 *   ackwriter check DIR LOG           -> "checked N"; exit 1 when something is missing or wrong
 *
 * LOG is outside of the file system under test. Ends early, cleanly, when standard input closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t contents(char *out, size_t size, long i)
{
	return (size_t)snprintf(out, size, "file %ld, %ld times a prime: %ld\n", i, i, i * 7919);
}

static int write_one(const char *dir, long i)
{
	char path[4096], text[128];
	size_t len = contents(text, sizeof(text), i);
	int fd;

	snprintf(path, sizeof(path), "%s/f%ld", dir, i);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		goto failed;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0) {
		close(fd);
		goto failed;
	}
	if (close(fd) == 0)
		return 0;
failed:
	fprintf(stderr, "ackwriter: %s: %s\n", path, strerror(errno));
	return 1;
}

static int stdin_closed(void)
{
	struct pollfd p = {.fd = 0, .events = POLLIN};
	char c;

	return poll(&p, 1, 0) > 0 && read(0, &c, 1) == 0;
}

static int do_write(const char *dir, const char *log_path, double seconds)
{
	FILE *log = fopen(log_path, "a");
	double end = now_s() + seconds, longest = 0;
	long n = 0;

	if (!log) {
		perror(log_path);
		return 2;
	}
	for (double t0 = now_s(); t0 < end && !stdin_closed(); t0 = now_s()) {
		double took;

		if (write_one(dir, n) != 0)
			return 1;
		took = now_s() - t0;
		longest = took > longest ? took : longest;
		fprintf(log, "%ld\n", n++);
		fflush(log);
	}
	printf("writes %ld longest_ms %.0f\n", n, longest * 1000);
	return fclose(log) != 0;
}

static int check_one(const char *dir, long i)
{
	char path[4096], want[128], got[129];
	size_t len = contents(want, sizeof(want), i);
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/f%ld", dir, i);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, got, sizeof(got));
	if (fd >= 0)
		close(fd);
	if (n == (ssize_t)len && memcmp(want, got, len) == 0)
		return 0;
	fprintf(stderr, "ackwriter: %s: acknowledged, but %s\n", path,
		n < 0 ? strerror(errno) : "its contents differ");
	return 1;
}

static int do_check(const char *dir, const char *log_path)
{
	FILE *log = fopen(log_path, "r");
	long i, n = 0;
	int bad = 0;

	if (!log) {
		perror(log_path);
		return 2;
	}
	while (fscanf(log, "%ld", &i) == 1) {
		bad |= check_one(dir, i);
		n++;
	}
	fclose(log);
	printf("checked %ld\n", n);
	return bad || n == 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "write") == 0)
		return do_write(argv[2], argv[3], atof(argv[4]));
	if (argc == 4 && strcmp(argv[1], "check") == 0)
		return do_check(argv[2], argv[3]);
	fputs("usage: ackwriter write DIR LOG SECONDS | check DIR LOG\n", stderr);
	return 2;
}
