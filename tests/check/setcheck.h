/* Sets (HISTORY_INSERT, HISTORY_MEMBERS) that only grow. What was acknowledged, or seen once, is in
 * every read that began later.
 *
 * v->name: "lost" (acknowledged), "vanished" (seen before, then not), "failed insert seen",
 * "from nowhere" (never inserted, or not yet when it was seen), "duplicate element".
 * An element may be inserted more than once.
 */
#ifndef PAXFS_TESTS_CHECK_SETCHECK_H
#define PAXFS_TESTS_CHECK_SETCHECK_H

#include "tests/check/history.h"
#include "tests/check/verdict.h"

void set_check(const struct history *h, struct verdict *v);

#endif
