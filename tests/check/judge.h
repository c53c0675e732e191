/* All checkers over one history. */
#ifndef PAXFS_TESTS_CHECK_JUDGE_H
#define PAXFS_TESTS_CHECK_JUDGE_H

#include "tests/check/history.h"
#include "tests/check/linear.h"
#include "tests/check/verdict.h"

/* Runs each checker that finds operations of its kind. @v is that of the first that is WRONG or UNFIT,
 * else of one that GAVE_UP, else OK with `checked` summed up. @limits may be NULL. */
void judge_history(const struct history *h, const struct linear_limits *limits, struct verdict *v);

#endif
