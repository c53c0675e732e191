/* Open files that live on while something happens to their mount: obeys lines from standard input, one
 * answer each ("ok", "ok TEXT" or the name of the error).
 *
 *     open KEY PATH            write KEY OFFSET TEXT    read KEY OFFSET LENGTH    size KEY
 *     lock KEY r|w|u|R|W       flock KEY s|x|u          links KEY                 end KEY
 *     map KEY TEXT (a shared mapping of the first page; the text is put to its start, and msync)
 *     close KEY
 * Locks: fcntl on the whole file; R, W: as r and w, but waiting. end: lseek to the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 26

static int fds[FILES];

static void answer(long rc, const char *text)
{
	if (rc < 0)
		printf("%s\n", strerrorname_np(errno));
	else if (text)
		printf("ok %s\n", text);
	else
		printf("ok\n");
	fflush(stdout);
}

static void answer_number(long rc, long long n)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", n);
	answer(rc, text);
}

static void do_lock(int fd, const char *how)
{
	struct flock l = {.l_whence = SEEK_SET};

	l.l_type = strchr("rR", *how) ? F_RDLCK : strchr("wW", *how) ? F_WRLCK : F_UNLCK;
	answer(fcntl(fd, *how == 'R' || *how == 'W' ? F_SETLKW : F_SETLK, &l), NULL);
}

static void do_flock(int fd, const char *how)
{
	answer(flock(fd, (*how == 's' ? LOCK_SH : *how == 'x' ? LOCK_EX : LOCK_UN) | LOCK_NB), NULL);
}

static void do_read(int fd, const char *rest)
{
	static char data[65536];
	long offset = 0, len = 0;
	ssize_t n = -1;

	if (sscanf(rest, "%ld %ld", &offset, &len) == 2 && len < (long)sizeof(data))
		n = pread(fd, data, (size_t)len, offset);
	data[n > 0 ? n : 0] = '\0';
	answer(n, data);
}

static void do_write(int fd, const char *rest)
{
	char *text;
	long offset = strtol(rest, &text, 10);

	while (*text == ' ')
		text++;
	answer(pwrite(fd, text, strlen(text), offset), NULL);
}

static void do_map(int fd, const char *text)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int rc = -1;

	if (p != MAP_FAILED) {
		memcpy(p, text, strlen(text));
		rc = msync(p, 4096, MS_SYNC);
		munmap(p, 4096);
	}
	answer(rc, NULL);
}

static void obey(const char *verb, int *fd, const char *rest)
{
	struct stat st = {.st_size = 0};

	if (strcmp(verb, "open") == 0)
		answer(*fd = open(rest, O_RDWR | O_CREAT | O_CLOEXEC, 0644), NULL);
	else if (strcmp(verb, "write") == 0)
		do_write(*fd, rest);
	else if (strcmp(verb, "read") == 0)
		do_read(*fd, rest);
	else if (strcmp(verb, "size") == 0)
		answer_number(fstat(*fd, &st), (long long)st.st_size);
	else if (strcmp(verb, "links") == 0)
		answer_number(fstat(*fd, &st), (long long)st.st_nlink);
	else if (strcmp(verb, "end") == 0)
		answer(lseek(*fd, 0, SEEK_END), NULL);
	else if (strcmp(verb, "lock") == 0)
		do_lock(*fd, rest);
	else if (strcmp(verb, "flock") == 0)
		do_flock(*fd, rest);
	else if (strcmp(verb, "map") == 0)
		do_map(*fd, rest);
	else if (strcmp(verb, "close") == 0)
		answer(close(*fd), NULL);
	else
		answer(0, "what?");
}

int main(void)
{
	char line[8192], verb[16], key[4];

	while (fgets(line, sizeof(line), stdin)) {
		int at = 0;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%15s %3s %n", verb, key, &at) < 2 || key[0] < 'a' ||
		    key[0] >= 'a' + FILES)
			return 1;
		obey(verb, &fds[key[0] - 'a'], line + at);
	}
	return 0;
}
