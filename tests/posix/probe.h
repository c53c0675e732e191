/* Cases of the POSIX suite. Each runs in a process of its own, as root, with umask 0, in a new directory
 * that is its working directory; see() names a file of it as another mount shows it (the same mount when
 * there is only one). A case fails when a check fails, or when it ends in another way than by returning.
 */
#ifndef PAXFS_TESTS_POSIX_PROBE_H
#define PAXFS_TESTS_POSIX_PROBE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct probe_case {
	const char *name;
	void (*fn)(void);   /* makes its own checks; or */
	long (*call)(void); /* the last call of this has to fail ... */
	int want;	    /* ... with this */
	bool local;	    /* another file system may well answer differently: only run on paxfs */
};

struct probe_suite {
	const char *name;
	const struct probe_case *cases;
	size_t count;
};

#define PROBE_SUITE(call)                                                                          \
	const struct probe_suite probe_##call = {#call, cases, sizeof(cases) / sizeof(cases[0])}
#define OK(f)	      {.name = #f, .fn = f}
#define OK_HERE(f)    {.name = #f, .fn = f, .local = true}
#define FAILS(f, e)   {.name = #f, .call = f, .want = e}
#define FAILS_HERE(f, e) {.name = #f, .call = f, .want = e, .local = true}

void probe_check(bool ok, const char *file, int line, const char *what);
void probe_check_call(long rc, int want, const char *file, int line, const char *what);
void probe_check_num(long long got, long long want, const char *file, int line, const char *what);

#define WANT(cond)	     probe_check(cond, __FILE__, __LINE__, #cond)
#define WANT_EQ(got, want)                                                                         \
	probe_check_num((long long)(got), (long long)(want), __FILE__, __LINE__, #got)
#define DOES(call)	     probe_check_call((long)(call), 0, __FILE__, __LINE__, #call) /* not -1 */
#define WANT_ERRNO(call, e)  probe_check_call((long)(call), e, __FILE__, __LINE__, #call)

/* ---- the file system: all of it must work ---- */

const char *see(const char *name); /* of up to 8 names at a time */
struct stat seen(const char *name); /* lstat there */
bool absent(const char *name);	    /* there: ENOENT */
int file(const char *name, const char *contents); /* made, 0644, open for reading and writing */
void touch(const char *name);			  /* made, empty */
void contents(const char *name, const char *want); /* there */
void zeros(const char *name, off_t offset, size_t len); /* there */
const char *long_name(size_t len);
void become(uid_t uid, gid_t gid); /* for the rest of the case; no other groups */
void pause_ms(unsigned ms);	   /* for clocks to move on */

#endif
