/* posix_probe [-l] [-o SUITE[/CASE]] DIR [SAME_DIR_ON_ANOTHER_MOUNT]: the POSIX suite (README.md). -l:
 * leave out what only paxfs promises, as on a local disk. Prints what fails, and
 * `N passed, N failed`. */
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/posix/probe.h"
#include "tests/posix/probe_run.h"

#define CASE_SECONDS 60u

extern const struct probe_suite probe_open, probe_flags, probe_path, probe_read, probe_write,
	probe_fsync, probe_mmap, probe_truncate, probe_fallocate, probe_lseek,
	probe_copy_file_range, probe_stat, probe_access, probe_statfs, probe_rename,
	probe_link, probe_unlink, probe_rmdir, probe_mkdir, probe_mknod, probe_symlink,
	probe_readlink, probe_chmod, probe_chown, probe_sticky, probe_utimens, probe_readdir,
	probe_xattr, probe_flock, probe_fcntl;

static const struct probe_suite *const suites[] = {
	&probe_open, &probe_flags, &probe_path, &probe_read, &probe_write, &probe_fsync,
	&probe_mmap, &probe_truncate, &probe_fallocate, &probe_lseek, &probe_copy_file_range,
	&probe_stat, &probe_access, &probe_statfs, &probe_rename, &probe_link, &probe_unlink,
	&probe_rmdir, &probe_mkdir, &probe_mknod, &probe_symlink, &probe_readlink,
	&probe_chmod, &probe_chown, &probe_sticky, &probe_utimens, &probe_readdir,
	&probe_xattr, &probe_flock, &probe_fcntl,
};

char probe_there[PATH_MAX];
static unsigned failures;

void probe_check(bool ok, const char *path, int line, const char *what)
{
	if (ok)
		return;
	failures++;
	printf("    %s:%d: %s: does not hold\n", path, line, what);
}

static const char *text(int e)
{
	return e ? strerrorname_np(e) : "success";
}

void probe_check_call(long rc, int want, const char *path, int line, const char *what)
{
	int got = rc == -1 ? errno : 0;

	if (got == want)
		return;
	failures++;
	printf("    %s:%d: %s: %s, not %s\n", path, line, what, text(got), text(want));
}

void probe_check_num(long long got, long long want, const char *path, int line, const char *what)
{
	if (got == want)
		return;
	failures++;
	printf("    %s:%d: %s is %lld, not %lld\n", path, line, what, got, want);
}

static void run_here(const struct probe_case *c, const char *here)
{
	umask(0);
	if (chdir(here) != 0) {
		perror(here);
		exit(1);
	}
	alarm(CASE_SECONDS);
	if (c->fn)
		c->fn();
	else
		probe_check_call(c->call(), c->want, __FILE__, __LINE__, c->name);
	fflush(stdout);
	_exit(failures ? 1 : 0);
}

/* True: passed. */
static bool run(const struct probe_suite *s, const struct probe_case *c, const char *a, const char *b)
{
	char here[PATH_MAX], name[512];
	int status;
	pid_t pid;

	snprintf(name, sizeof(name), "%s.%s", s->name, c->name);
	snprintf(here, sizeof(here), "%s/%s", a, name);
	snprintf(probe_there, sizeof(probe_there), "%s/%s", b, name);
	if (mkdir(here, 0777) != 0 || chmod(here, 0777) != 0) {
		printf("  FAIL  %s: %s: %s\n", name, here, strerror(errno));
		return false;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run_here(c, here);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("fork");
		exit(1);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		printf("    ended by signal %d\n", WTERMSIG(status));
	printf("  FAIL  %s\n", name);
	return false;
}

static bool wanted(const char *only, const struct probe_suite *s, const struct probe_case *c)
{
	size_t n = strlen(s->name);

	if (!only)
		return true;
	if (strncmp(only, s->name, n) != 0 || (only[n] != '\0' && only[n] != '/'))
		return false;
	return only[n] == '\0' || strcmp(only + n + 1, c->name) == 0;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;
	const char *only = NULL, *a, *b;
	bool elsewhere = false;
	int opt;

	while ((opt = getopt(argc, argv, "lo:")) != -1) {
		if (opt == 'l')
			elsewhere = true;
		else if (opt == 'o')
			only = optarg;
		else
			return 2;
	}
	if (optind >= argc) {
		fprintf(stderr, "usage: posix_probe [-l] [-o SUITE[/CASE]] DIR [SAME_DIR]\n");
		return 2;
	}
	a = argv[optind];
	b = optind + 1 < argc ? argv[optind + 1] : a;
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		const struct probe_suite *s = suites[i];

		for (size_t k = 0; k < s->count; k++) {
			if (!wanted(only, s, &s->cases[k]) || (elsewhere && s->cases[k].local))
				continue;
			if (run(s, &s->cases[k], a, b))
				passed++;
			else
				failed++;
		}
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
