/* Strict serialisability of transactions that append to lists and read them (HISTORY_TXN), in the
 * style of Elle (Kingsbury & Alvaro, 2020): what was read gives the order of the versions of each
 * list, hence the dependencies between transactions; a cycle of them is an anomaly.
 *
 * Every list is empty at first. An unknown transaction counts as soon as one of its values was read.
 *
 * v->name, in the order in which they are looked for:
 *
 *     "unfit"		      the history appends a value twice to one key (VERDICT_UNFIT)
 *     "internal"	      a transaction contradicts what it read or appended itself
 *     "duplicate element"    a list read holds a value twice
 *     "garbage read"	      a value that nobody appended
 *     "G1a"		      a value of a failed transaction was read (aborted read)
 *     "G1b"		      some, but not the last value of a transaction was read (intermediate)
 *     "incompatible order"   two reads of one list of which neither is a prefix of the other
 *     "lost append"	      acknowledged, but missing in a read that began later, and for ever
 *     "G0" "G1c" "G-single" "G2"
 *			      a cycle: of ww; of ww and wr; with one rw; with several rw
 *     "... realtime"	      the same, if one follows from the order of calls in time only
 */
#ifndef PAXFS_TESTS_CHECK_SERIAL_H
#define PAXFS_TESTS_CHECK_SERIAL_H

#include "tests/check/history.h"
#include "tests/check/verdict.h"

void serial_check(const struct history *h, struct verdict *v);

#endif
