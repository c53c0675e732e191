/* The n-th file call fails, or is where the process dies. tests/unit/nth_files.c defines open, write,
 * fsync and so on itself, for the program and for the libraries that it is linked with; only those
 * below
 * one directory count. Link it into a test by tests/unit/nth.mk.
 *
 * Counted: opens that may write or create, write, pwrite, writev, fsync, fdatasync, rename,
 * mkdir, unlink, link, ftruncate, fallocate. */
#ifndef PAXFS_TESTS_UNIT_NTH_FILES_H
#define PAXFS_TESTS_UNIT_NTH_FILES_H

#include <stdbool.h>

#define NTH_DIE (-1) /* instead of an errno: half of a write is done, then the process is gone */
#define NTH_DEAD_STATUS 77

/* The @nth from now on (0: none) of those below @dir gives @how. @sticky: all later ones too. */
void nth_files_arm(const char *dir, unsigned long nth, int how, bool sticky);
unsigned long nth_files_disarm(void); /* how many were counted */

/* For a program that starts itself anew: NTH_FILES="nth how sticky dir" and NTH_MEM=nth (also those
 * that must not fail) are looked at before anything else. Where it happened is written to the file
 * NTH_MARK. */
void nth_env_set(unsigned long nth_file, int how, unsigned long nth_mem, const char *dir,
		 const char *mark);
void nth_env_clear(void);

#endif
