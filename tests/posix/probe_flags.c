/* What open's flags mean. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "tests/posix/probe.h"

static void truncates_behind_a_link(void)
{
	DOES(close(file("f", "abc")));
	DOES(symlink("f", "l"));
	DOES(close(open("l", O_WRONLY | O_CREAT | O_TRUNC, 0600)));
	WANT_EQ(seen("f").st_size, 0);
	WANT_EQ(seen("f").st_mode & 07777, 0644);
}

static void creates_behind_a_dangling_link(void)
{
	DOES(symlink("f", "l"));
	DOES(close(open("l", O_WRONLY | O_CREAT, 0640)));
	WANT_EQ(seen("f").st_mode & 07777, 0640);
}

static void append_has_no_offset(void)
{
	int fd;

	DOES(close(file("f", "abc")));
	fd = open("f", O_WRONLY | O_APPEND);
	WANT_EQ(pwrite(fd, "d", 1, 0), 1);
	WANT_EQ(lseek(fd, 0, SEEK_SET), 0);
	WANT_EQ(write(fd, "e", 1), 1);
	contents("f", "abcde");
}

static void append_behind_the_others(void)
{
	int fd = open("f", O_CREAT | O_WRONLY | O_APPEND, 0644), there = open(see("f"), O_WRONLY);

	WANT_EQ(write(fd, "a", 1), 1);
	WANT_EQ(pwrite(there, "bcd", 3, 1), 3);
	WANT_EQ(write(fd, "e", 1), 1);
	contents("f", "abcde");
	DOES(ftruncate(there, 2));
	WANT_EQ(write(fd, "f", 1), 1);
	contents("f", "abf");
}

static void append_tells_where(
	void) /* of one mount's; another's end is not known to the kernel's file (docs) */
{
	int fd = open("f", O_CREAT | O_WRONLY | O_APPEND, 0644), other = open("f", O_WRONLY);

	WANT_EQ(write(other, "abc", 3), 3);
	WANT_EQ(write(fd, "d", 1), 1);
	WANT_EQ(lseek(fd, 0, SEEK_CUR), 4);
	contents("f", "abcd");
}

static void append_set_later(void)
{
	int fd = file("f", "abc");

	DOES(fcntl(fd, F_SETFL, O_APPEND));
	WANT_EQ(pwrite(fd, "d", 1, 0), 1);
	contents("f", "abcd");
}

static void direct(void)
{
	int fd = open("f", O_CREAT | O_RDWR | O_DIRECT, 0644),
	    there = open(see("f"), O_RDONLY | O_DIRECT);
	char *p = NULL;

	WANT_EQ(posix_memalign((void **)&p, 65536, 65536), 0);
	memset(p, 'd', 65536);
	WANT_EQ(pwrite(fd, p, 65536, 65536), 65536);
	WANT_EQ(seen("f").st_size, 131072);
	memset(p, 0, 65536);
	WANT_EQ(pread(there, p, 65536, 65536), 65536);
	WANT(p[0] == 'd' && p[65535] == 'd');
	WANT_EQ(pread(there, p, 65536, 0), 65536);
	WANT(p[0] == 0 && p[65535] == 0);
	WANT_EQ(pread(there, p, 65536, 131072), 0);
	free(p);
}

static void direct_beside_pages(void)
{
	int fd = file("f", ""), there = open(see("f"), O_RDONLY);
	char *p = NULL, b[4];
	int direct_fd;

	WANT_EQ(posix_memalign((void **)&p, 4096, 4096), 0);
	memset(p, 'o', 4096);
	WANT_EQ(pwrite(fd, p, 4096, 0), 4096);
	WANT_EQ(pread(there, b, 4, 0), 4);
	direct_fd = open("f", O_RDWR | O_DIRECT);
	memset(p, 'n', 4096);
	WANT_EQ(pwrite(direct_fd, p, 4096, 0), 4096);
	WANT_EQ(pread(fd, b, 4, 0), 4);
	WANT(memcmp(b, "nnnn", 4) == 0);
	WANT_EQ(pread(there, b, 4, 0), 4);
	WANT(memcmp(b, "nnnn", 4) == 0);
	free(p);
}

static void direct_of_any_alignment(void)
{
	int fd = open("f", O_CREAT | O_RDWR | O_DIRECT, 0644);

	WANT_EQ(pwrite(fd, "abc", 3, 5), 3);
	WANT_EQ(seen("f").st_size, 8);
}

static void synchronous(void)
{
	int fd = open("f", O_CREAT | O_WRONLY | O_DSYNC, 0644);

	WANT_EQ(write(fd, "abc", 3), 3);
	WANT_EQ(pwrite(fd, "d", 1, 3), 1);
	contents("f", "abcd");
	WANT((fcntl(fd, F_GETFL) & O_DSYNC) != 0);
}

static void mode_zero_counts_later(void)
{
	int fd;

	become(1000, 1000);
	fd = open("f", O_CREAT | O_RDWR, 0);
	WANT_EQ(write(fd, "abc", 3), 3);
	WANT_EQ(seen("f").st_size, 3);
	WANT_ERRNO(open("f", O_RDONLY), EACCES);
	WANT_ERRNO(open(see("f"), O_RDONLY), EACCES);
}

static void path_only(void)
{
	struct stat st;
	char c;
	int fd;

	DOES(mkdir("d", 0755));
	DOES(close(file("d/f", "abc")));
	fd = open("d/f", O_PATH);
	DOES(fstat(fd, &st));
	WANT_EQ(st.st_size, 3);
	WANT_ERRNO(read(fd, &c, 1), EBADF);
	WANT_ERRNO(fchmod(fd, 0600), EBADF);
	WANT_ERRNO(ftruncate(fd, 0), EBADF);
	fd = open("d", O_PATH | O_DIRECTORY);
	DOES(openat(fd, "f", O_RDONLY));
	DOES(mkdirat(fd, "e", 0755));
	WANT(S_ISDIR(seen("d/e").st_mode));
}

static void path_without_permission(void)
{
	touch("f");
	DOES(chmod("f", 0));
	become(1000, 1000);
	DOES(open("f", O_PATH));
	WANT_ERRNO(open("f", O_RDONLY), EACCES);
}

static void path_of_a_link(void)
{
	struct stat st;
	char b[8];
	int fd;

	DOES(symlink("nowhere", "l"));
	fd = open("l", O_PATH | O_NOFOLLOW);
	DOES(fstat(fd, &st));
	WANT(S_ISLNK(st.st_mode));
	WANT_EQ(readlinkat(fd, "", b, sizeof(b)), 7);
}

static void devices_work(void)
{
	char b[4];
	int fd;

	DOES(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	DOES(mknod("zero", S_IFCHR | 0666, makedev(1, 5)));
	fd = open(see("null"), O_RDWR);
	WANT_EQ(write(fd, "abc", 3), 3);
	WANT_EQ(read(fd, b, 4), 0);
	WANT_EQ(read(open(see("zero"), O_RDONLY), b, 4), 4);
	WANT_EQ(seen("null").st_size, 0);
}

static void fifos_work(void)
{
	char b[4];
	int r, w;

	DOES(mkfifo("p", 0644));
	r = open("p", O_RDONLY | O_NONBLOCK);
	w = open("p", O_WRONLY);
	WANT_EQ(write(w, "abc", 3), 3);
	WANT_EQ(read(r, b, 4), 3);
}

static long a_running_program_to_write(void)
{
	char *const argv[] = {"./prog", "60", NULL};
	int hold[2];
	char c;
	long rc;
	pid_t pid;

	DOES(system("cp /bin/sleep prog && chmod 755 prog") == 0 ? 0 : -1);
	DOES(pipe2(hold, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		execv("prog", argv);
		_exit(1);
	}
	close(hold[1]);
	(void)!read(hold[0], &c, 1); /* ends when it runs */
	rc = open("prog", O_WRONLY);
	hold[1] = errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	errno = hold[1];
	return rc;
}

static long a_program_that_is_written(void)
{
	char *const argv[] = {"./prog", NULL};

	DOES(system("cp /bin/true prog && chmod 755 prog") == 0 ? 0 : -1);
	DOES(open("prog", O_WRONLY));
	return execv("prog", argv);
}

static long truncate_a_directory(void)
{
	return open(".", O_RDONLY | O_TRUNC);
}
static long exclusive_of_a_directory(void)
{
	return open(".", O_RDONLY | O_CREAT | O_EXCL, 0644);
}
static long to_make_with_a_slash(void)
{
	return open("f/", O_WRONLY | O_CREAT, 0644);
}
static long at_nothing(void)
{
	return openat(-1, "f", O_RDONLY);
}

static long at_a_file(void)
{
	return openat(file("f", ""), "g", O_RDONLY);
}

static long a_file_with_a_slash(void)
{
	touch("f");
	return open("f/", O_RDONLY);
}

static long truncate_without_permission(void)
{
	touch("f");
	DOES(chmod("f", 0444));
	become(1000, 1000);
	return open(see("f"), O_WRONLY | O_TRUNC);
}

static long no_atime_of_another_s(void)
{
	touch("f");
	become(1000, 1000);
	return open(see("f"), O_RDONLY | O_NOATIME);
}

static long a_socket(void)
{
	DOES(mknod("s", S_IFSOCK | 0644, 0));
	return open(see("s"), O_RDONLY);
}

static long a_directory_not_followed(void)
{
	DOES(mkdir("d", 0755));
	DOES(symlink("d", "l"));
	return open("l", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

static long a_link_as_a_directory(void)
{
	touch("f");
	DOES(symlink("f", "l"));
	return open("l", O_RDONLY | O_DIRECTORY);
}

static long one_too_many(void)
{
	struct rlimit l = {.rlim_cur = 3, .rlim_max = 3};

	DOES(setrlimit(RLIMIT_NOFILE, &l));
	return open(".", O_RDONLY);
}

static const struct probe_case cases[] = {
	OK(truncates_behind_a_link),
	OK(creates_behind_a_dangling_link),
	OK(append_has_no_offset),
	OK(append_behind_the_others),
	OK(append_tells_where),
	OK(append_set_later),
	OK(direct),
	OK(direct_beside_pages),
	OK_HERE(direct_of_any_alignment),
	OK(synchronous),
	OK(mode_zero_counts_later),
	OK(path_only),
	OK(path_without_permission),
	OK(path_of_a_link),
	OK(devices_work),
	OK(fifos_work),
	FAILS(a_running_program_to_write, ETXTBSY),
	FAILS(a_program_that_is_written, ETXTBSY),
	FAILS(truncate_a_directory, EISDIR),
	FAILS(exclusive_of_a_directory, EEXIST),
	FAILS(to_make_with_a_slash, EISDIR),
	FAILS(at_nothing, EBADF),
	FAILS(at_a_file, ENOTDIR),
	FAILS(a_file_with_a_slash, ENOTDIR),
	FAILS(truncate_without_permission, EACCES),
	FAILS(no_atime_of_another_s, EPERM),
	FAILS(a_socket, ENXIO),
	FAILS(a_directory_not_followed, ENOTDIR),
	FAILS(a_link_as_a_directory, ENOTDIR),
	FAILS(one_too_many, EMFILE),
};
PROBE_SUITE(flags);
