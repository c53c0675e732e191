/* The bank: whoever reads all accounts at once (HISTORY_BALANCES) sees all the money
 * (history_bank()), and no account below zero unless that is allowed.
 *
 * v->name: "unfit" (no history_bank()), "wrong number of accounts", "wrong total", "negative".
 */
#ifndef PAXFS_TESTS_CHECK_BANK_H
#define PAXFS_TESTS_CHECK_BANK_H

#include "tests/check/history.h"
#include "tests/check/verdict.h"

void bank_check(const struct history *h, struct verdict *v);

#endif
