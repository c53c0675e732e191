/* A directory for one test. */
#ifndef PAXFS_TESTS_LIB_SCRATCH_H
#define PAXFS_TESTS_LIB_SCRATCH_H

#include <stddef.h>

/* Makes an empty one, in memory where there is such a place: no disk to wait for. @name tells whose it
 * is, @path receives where it is. Aborts if it cannot. */
void scratch_make(char *path, size_t size, const char *name);

void scratch_empty(const char *path);
void scratch_remove(const char *path); /* with all that is in it; it may be gone already */

#endif
