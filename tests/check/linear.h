/* Linearizability of registers: READ, WRITE, CAS and DELETE, per key; every key is absent at first.
 *
 * The algorithm is that of Wing & Gong (1993) with Lowe's (2017) cache of configurations.
 */
#ifndef PAXFS_TESTS_CHECK_LINEAR_H
#define PAXFS_TESTS_CHECK_LINEAR_H

#include <stdint.h>

#include "tests/check/history.h"
#include "tests/check/verdict.h"

struct linear_limits {
	uint64_t steps_max;  /* operations tried, per key */
	uint64_t cached_max; /* configurations remembered, per key; up to 64 bytes each, and a bit
			      * for each unknown operation of the key */
};

#define LINEAR_LIMITS_DEFAULT                                                                       \
	((struct linear_limits){.steps_max = 50u * 1000 * 1000, .cached_max = 2u * 1024 * 1024})

/* Judges all keys; the first one that is wrong, in order of key, goes into @v with the shortest
 * prefix of its history that no order explains. VERDICT_GAVE_UP if some key ran out of limits and
 * none is wrong. @limits may be NULL for the default. */
void linear_check(const struct history *h, const struct linear_limits *limits, struct verdict *v);

#endif
