/* Works on files while signals keep coming whose handler says SA_RESTART, as children that end and
 * resized terminals make them. On a disk file system no call ends with EINTR then.
 *
 *   fp_signals DIR FILES   -> "done"; exit 1 at the first error
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static void on_alarm(int signum)
{
	(void)signum;
}

static int failed(const char *what, const char *path)
{
	fprintf(stderr, "fp_signals: %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

static int one_file(const char *dir, int i)
{
	char path[4096], other[4096], text[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/s%d", dir, i);
	snprintf(other, sizeof(other), "%s/t%d", dir, i);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		return failed("create", path);
	if (write(fd, "signals", 7) != 7 || fsync(fd) != 0 || pread(fd, text, 64, 0) != 7)
		return failed("write, sync, read", path);
	if (close(fd) != 0 || rename(path, other) != 0 || stat(other, &st) != 0 || unlink(other) != 0)
		return failed("close, rename, stat, unlink", other);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval each = {.it_interval = {.tv_usec = 700}, .it_value = {.tv_usec = 700}};

	if (argc != 3)
		return 2;
	if (sigaction(SIGALRM, &sa, NULL) != 0 || setitimer(ITIMER_REAL, &each, NULL) != 0)
		return failed("set up", "signals");
	for (int i = 0; i < atoi(argv[2]); i++)
		if (one_file(argv[1], i) != 0)
			return 1;
	puts("done");
	return 0;
}
