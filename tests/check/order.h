/* Sorting, for the checkers. */
#ifndef PAXFS_TESTS_CHECK_ORDER_H
#define PAXFS_TESTS_CHECK_ORDER_H

#include "tests/check/history.h"

/* For qsort(): numbers. */
int order_u64(const void *a, const void *b);

/* The operations that are @wanted: by key, of one key by kind, of one kind as they were called. They
 * are borrowed from @h; the array is the caller's, by mem_free(). */
const struct history_op **order_by_key(const struct history *h,
				       bool (*wanted)(const struct history_op *op), size_t *count);

#endif
