/* Steps that tests of the file system are made of, for use on a fiber. What must work is checked in
 * here; calls that may fail are made with fs.h itself.
 *
 *     FSC_CASE(names_are_seen) { ... uses m ... }
 *     static const struct check_test tests[] = {CHECK_TEST(names_are_seen), ...};
 */
#ifndef PAXFS_TESTS_LIB_FS_CASE_H
#define PAXFS_TESTS_LIB_FS_CASE_H

#include "base/err.h"
#include "fs/fs_internal.h"
#include "tests/lib/check.h"
#include "tests/lib/fs_fixture.h"

typedef void fsc_fn(struct fsx_mount *m);

/* fn(m) on a fiber of a new cluster of 4 groups; then everything is closed, and what is stored must
 * be whole, without leftovers. */
void fsc_run(fsc_fn *fn);
void fsc_run_on(struct fsx *x, fsc_fn *fn); /* on this cluster, which it frees */

/* A test `name` that runs `name_in` that way. */
#define FSC_CASE(name)                                                                             \
	static void name##_in(struct fsx_mount *m);                                                \
	static void name(void)                                                                     \
	{                                                                                          \
		fsc_run(name##_in);                                                                \
	}                                                                                          \
	static void name##_in(struct fsx_mount *m)

extern const struct fs_cred fsc_cred; /* uid 1000, gid 100, umask 022 */

fs_ino fsc_mkdir(struct fsx_mount *m, fs_ino parent, const char *name);
fs_ino fsc_file(struct fsx_mount *m, fs_ino parent, const char *name, const char *contents);
/* A directory in another group than @ino: tries names until one is. */
fs_ino fsc_mkdir_far(struct fsx_mount *m, fs_ino parent, const char *prefix, fs_ino ino);
uint32_t fsc_group(struct fsx_mount *m, fs_ino ino);

int fsc_lookup(struct fsx_mount *m, fs_ino parent, const char *name); /* the error */
fs_ino fsc_ino(struct fsx_mount *m, fs_ino parent, const char *name); /* 0: not there */
struct fs_attr fsc_attr(struct fsx_mount *m, fs_ino ino);
int fsc_unlink(struct fsx_mount *m, fs_ino parent, const char *name);
int fsc_rmdir(struct fsx_mount *m, fs_ino parent, const char *name);
int fsc_rename(struct fsx_mount *m, fs_ino parent, const char *name, fs_ino to, const char *new,
	       unsigned flags);
int fsc_link(struct fsx_mount *m, fs_ino ino, fs_ino parent, const char *name);

struct fs_file *fsc_open(struct fsx_mount *m, fs_ino ino, unsigned flags);
void fsc_write(struct fs_file *f, uint64_t offset, struct slice data);
void fsc_contents(struct fsx_mount *m, fs_ino ino, const char *want); /* whole file */
unsigned fsc_entries(struct fsx_mount *m, fs_ino dir); /* without "." and ".." */

/* Waits, in virtual time, until background work has had every chance. */
void fsc_idle(struct fsx_mount *m);

#endif
