/* Counters (HISTORY_ADD, HISTORY_GET) to which each acknowledged ADD adds exactly once, each failed one
 * never, each unknown one at most once; they start at 0 and never shrink.
 *
 * A read is at most all that was begun before it returned and did not fail. It is at least what any
 * read (or the 0 at the beginning) saw that returned before it was called, with what was added by
 * acknowledged calls that lie between the two.
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
