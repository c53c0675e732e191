/* A part of a test in a process of its own, which may end in any way. */
#ifndef PAXFS_TESTS_LIB_FORKED_H
#define PAXFS_TESTS_LIB_FORKED_H

#include <stddef.h>

/* Waits for it. @text: what it wrote to stderr; of more than @size, the first half and the end. Returns
 * its exit status (0 if @body returned), or minus the signal that ended it. */
int forked(void (*body)(void *ctx), void *ctx, char *text, size_t size);

#endif
