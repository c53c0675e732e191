/* Counters (HISTORY_ADD, HISTORY_GET) to which each acknowledged ADD adds exactly once, each failed one
 * never, each unknown one at most once; they start at 0 and never shrink.
 *
 * For any two reads a and b (and a read of 0 before all) must hold:
 *   b began after a returned:  b >= a + what was added by OK calls that lie between them
 *   always:		       b <= a + what may have been added after a began and before b returned
 *
 * v->name: "too small" (lost, or went back), "too big" (twice, or a failed one), "unfit" (the sums
 * overflow).
 */
#ifndef PAXFS_TESTS_CHECK_COUNTER_H
#define PAXFS_TESTS_CHECK_COUNTER_H

#include "tests/check/history.h"
#include "tests/check/verdict.h"

void counter_check(const struct history *h, struct verdict *v);

#endif
