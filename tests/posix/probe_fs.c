/* What cases are made of. */
#include <grp.h>
#include <poll.h>
#include <stdlib.h>

#include "tests/posix/probe.h"
#include "tests/posix/probe_run.h"

const char *see(const char *name)
{
	static char paths[8][4096];
	static unsigned next;
	char *p = paths[next++ % 8];

	snprintf(p, sizeof(paths[0]), "%s/%s", probe_there, name);
	return p;
}

struct stat seen(const char *name)
{
	struct stat st = {0};

	DOES(lstat(see(name), &st));
	return st;
}

bool absent(const char *name)
{
	struct stat st;

	return lstat(see(name), &st) == -1 && errno == ENOENT;
}

int file(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	size_t len = strlen(text);

	DOES(fd);
	WANT_EQ(write(fd, text, len), len);
	return fd;
}

void touch(const char *name)
{
	DOES(close(file(name, "")));
}

void contents(const char *name, const char *want)
{
	char b[4096] = {0};
	int fd = open(see(name), O_RDONLY);
	ssize_t n;

	DOES(fd);
	n = read(fd, b, sizeof(b) - 1);
	WANT_EQ(n, strlen(want));
	WANT(strcmp(b, want) == 0);
	DOES(close(fd));
}

void zeros(const char *name, off_t offset, size_t len)
{
	char b[65536];
	int fd = open(see(name), O_RDONLY);

	DOES(fd);
	while (len > 0) {
		size_t n = len < sizeof(b) ? len : sizeof(b), i = 0;

		if (pread(fd, b, n, offset) != (ssize_t)n) {
			WANT(!"as many bytes as there should be");
			break;
		}
		while (i < n && b[i] == 0)
			i++;
		WANT_EQ(i, n);
		offset += (off_t)n;
		len -= n;
	}
	DOES(close(fd));
}

const char *long_name(size_t len)
{
	static char b[8192];

	memset(b, 'n', len);
	b[len] = '\0';
	return b;
}

void become(uid_t uid, gid_t gid)
{
	DOES(setgroups(0, NULL));
	DOES(setresgid(gid, gid, gid));
	DOES(setresuid(uid, uid, uid));
}

void pause_ms(unsigned ms)
{
	(void)poll(NULL, 0, (int)ms);
}
