/* The checker of transactions: histories that are wrong in known ways. Random ones:
 * check_elle_test.c. */
#include "tests/check/serial.h"

#include "tests/lib/check.h"
#include "tests/lib/check_fixture.h"

static void judge(const char *lines)
{
	chf_text(lines);
	serial_check(&chf.h, &chf.v);
}

static void accepted(const char *lines)
{
	judge(lines);
	chf_accepted();
}

/* @part: stands in the report. */
static void refused(const char *name, const char *part, const char *lines)
{
	judge(lines);
	chf_refused(name, part);
}

static void nothing_is_right(void)
{
	accepted("");
	CHECK_U64_EQ(chf.v.checked, 0);
}

static void one_after_the_other(void)
{
	accepted("i 0 1 1 txn a 7 1 r 8\n"
		 "r 0 2 ok a 7 1 r 8 []\n"
		 "i 1 1 3 txn r 7 a 7 2 r 7 a 8 1\n"
		 "r 1 4 ok r 7 [1] a 7 2 r 7 [1,2] a 8 1\n"
		 "i 2 1 5 txn r 7 r 8\n"
		 "r 2 6 ok r 7 [1,2] r 8 [1]\n");
	CHECK_U64_EQ(chf.v.checked, 3);
}

static void appended_twice_is_unfit(void)
{
	refused("unfit", "appends 1 twice to key 7",
		"i 0 1 1 txn a 7 1\n"
		"i 1 1 3 txn a 7 1\n");
}

static void contradicts_its_own_append(void)
{
	refused("internal", "step 2",
		"i 0 1 1 txn a 7 1 r 7\n"
		"r 0 2 ok a 7 1 r 7 []\n");
	refused("internal", "step 3",
		"i 0 1 1 txn r 7 a 7 1 r 7\n"
		"r 0 2 ok r 7 [] a 7 1 r 7 [2,1]\n"
		"i 1 2 1 txn a 7 2\n"
		"r 1 2 ok\n");
}

/* A fuzzy read: twice the same list, and another. */
static void reads_differ_within_a_transaction(void)
{
	refused("internal", "step 2",
		"i 0 1 1 txn r 7 r 7\n"
		"i 1 2 1 txn a 7 1\n"
		"r 0 2 ok r 7 [] r 7 [1]\n"
		"r 1 2 ok\n");
}

static void duplicate_element(void)
{
	refused("duplicate element", "key 7 has 1 twice",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 ok\n"
		"i 1 2 3 txn r 7\n"
		"r 1 4 ok r 7 [1,1]\n");
}

static void garbage_read(void)
{
	refused("garbage read", "nobody appended 9 to key 7",
		"i 0 1 1 txn a 7 1 a 8 9\n"
		"r 0 2 ok\n"
		"i 1 2 3 txn r 7\n"
		"r 1 4 ok r 7 [1,9]\n");
}

static void aborted_read(void)
{
	refused("G1a", "appended by one that failed",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 failed\n"
		"i 1 2 1 txn r 7\n"
		"r 1 4 ok r 7 [1]\n");
}

/* The dirty read is not in the list that others read. */
static void aborted_read_apart(void)
{
	refused("G1a", "read 9 of key 7",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 ok\n"
		"i 1 1 1 txn a 7 9\n"
		"i 2 2 3 txn r 7\n"
		"r 2 4 ok r 7 [1,9]\n"
		"r 1 5 failed\n"
		"i 3 2 6 txn a 7 2 a 7 3\n"
		"r 3 7 ok\n"
		"i 4 2 8 txn r 7\n"
		"r 4 9 ok r 7 [1,2,3]\n");
}

static void intermediate_read(void)
{
	refused("G1b", "read key 7 up to 1",
		"i 0 1 1 txn a 7 1 a 7 2\n"
		"i 1 2 1 txn r 7\n"
		"r 0 2 ok\n"
		"r 1 4 ok r 7 [1]\n");
}

static void incompatible_order(void)
{
	refused("incompatible order", "element 1 of key 7 is",
		"i 0 1 1 txn a 7 1\n"
		"i 1 2 1 txn a 7 2\n"
		"r 0 2 ok\n"
		"r 1 2 ok\n"
		"i 2 1 3 txn r 7\n"
		"i 3 2 3 txn r 7\n"
		"r 2 4 ok r 7 [1,2]\n"
		"r 3 4 ok r 7 [2,1]\n");
}

static void own_appends_in_the_wrong_order(void)
{
	refused("incompatible order", "1 is behind 2",
		"i 0 1 1 txn a 7 1 a 7 2\n"
		"i 1 2 1 txn a 7 3\n"
		"i 2 1 3 txn r 7\n"
		"r 2 4 ok r 7 [2,1,3]\n");
}

static void lost_append(void)
{
	refused("lost append", "its 1 on key 7 is in no list",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 ok\n"
		"i 1 2 1 txn a 7 2\n"
		"r 1 2 ok\n"
		"i 2 1 3 txn r 7\n"
		"r 2 4 ok r 7 [2]\n");
}

static void one_of_two_appends_lost(void)
{
	refused("lost append", "1 is missing before 2",
		"i 0 1 1 txn a 7 1 a 7 2\n"
		"i 1 1 1 txn r 7\n"
		"r 1 4 ok r 7 [2]\n");
}

/* The second of two appends never shows, though a later one does: it stands behind, or nowhere. */
static void torn_transaction(void)
{
	refused("G0", "T1 before T2",
		"i 0 1 1 txn a 7 1 a 7 2\n"
		"i 1 2 1 txn a 7 3\n"
		"i 2 3 1 txn r 7\n"
		"r 0 9 ok\n"
		"r 1 9 ok\n"
		"r 2 9 ok r 7 [1,3]\n");
}

static void unknown_append_may_show_late_or_never(void)
{
	accepted("i 0 1 1 txn a 7 1\n"
		 "r 0 2 unknown\n"
		 "i 1 1 1 txn a 7 2\n"
		 "i 2 1 3 txn r 7\n"
		 "r 2 4 ok r 7 []\n"
		 "i 3 1 5 txn r 7\n"
		 "r 3 6 ok r 7 [1]\n");
}

static void unknown_append_seen_then_unseen(void)
{
	refused("G-single realtime", "(realtime)",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 unknown\n"
		"i 1 1 3 txn r 7\n"
		"r 1 4 ok r 7 [1]\n"
		"i 2 1 5 txn r 7\n"
		"r 2 6 ok r 7 []\n");
}

/* Half of what an unknown transaction did. */
static void unknown_transaction_is_atomic_too(void)
{
	refused("G-single",
		"T1 read key 8 before anyone had appended to it, to which T2 then appended 1 (rw)",
		"i 0 1 1 txn a 7 1 a 8 1\n"
		"i 1 1 3 txn r 7 r 8\n"
		"r 1 4 ok r 7 [1] r 8 []\n");
}

static void write_cycle(void)
{
	refused("G0", "T1 appended 1 to key 7, T2 then 2 (ww)",
		"i 0 1 1 txn a 7 1 a 8 1\n"
		"i 1 2 1 txn a 7 2 a 8 2\n"
		"r 0 2 ok\n"
		"r 1 2 ok\n"
		"i 2 1 3 txn r 7 r 8\n"
		"r 2 4 ok r 7 [1,2] r 8 [2,1]\n");
}

static void circular_information_flow(void)
{
	refused("G1c", "(wr)",
		"i 0 1 1 txn a 7 1 r 8\n"
		"i 1 2 1 txn a 8 1 r 7\n"
		"r 0 2 ok a 7 1 r 8 [1]\n"
		"r 1 2 ok a 8 1 r 7 [1]\n");
}

static void read_skew(void)
{
	refused("G-single", "a cycle of 2",
		"i 0 1 1 txn a 7 1 a 8 1\n"
		"i 1 2 1 txn r 7 r 8\n"
		"r 0 2 ok\n"
		"r 1 2 ok r 7 [] r 8 [1]\n");
}

static void lost_update(void)
{
	refused("G-single", "T2 appended 1 to key 7, T1 then 2 (ww)",
		"i 0 1 1 txn r 7 a 7 1\n"
		"i 1 2 1 txn r 7 a 7 2\n"
		"r 0 2 ok r 7 [] a 7 1\n"
		"r 1 2 ok r 7 [] a 7 2\n"
		"i 2 2 3 txn r 7\n"
		"r 2 4 ok r 7 [1,2]\n");
}

/* The same when no read came after. */
static void lost_update_unseen(void)
{
	refused("G2", "(rw)",
		"i 0 1 1 txn r 7 a 7 1\n"
		"i 1 2 1 txn r 7 a 7 2\n"
		"r 0 2 ok r 7 [] a 7 1\n"
		"r 1 2 ok r 7 [] a 7 2\n");
}

static void one_unseen_update_is_right(void)
{
	accepted("i 0 1 1 txn r 7 a 7 1\n"
		 "i 1 2 1 txn r 7 a 8 2\n"
		 "r 0 2 ok r 7 [] a 7 1\n"
		 "r 1 2 ok r 7 [] a 8 2\n");
}

static void write_skew(void)
{
	refused("G2", "a cycle of 2",
		"i 0 1 1 txn r 7 a 8 1\n"
		"i 1 2 1 txn r 8 a 7 1\n"
		"r 0 2 ok r 7 [] a 8 1\n"
		"r 1 2 ok r 8 [] a 7 1\n"
		"i 2 1 3 txn r 7 r 8\n"
		"r 2 4 ok r 7 [1] r 8 [1]\n");
}

/* Two readers see two independent writes in opposite orders. */
static void long_fork(void)
{
	refused("G2", "a cycle of 4",
		"i 0 1 1 txn a 7 1\n"
		"i 1 2 1 txn a 8 1\n"
		"i 2 3 1 txn r 7 r 8\n"
		"i 3 4 1 txn r 8 r 7\n"
		"r 0 9 ok\n"
		"r 1 9 ok\n"
		"r 2 9 ok r 7 [1] r 8 []\n"
		"r 3 9 ok r 8 [1] r 7 []\n");
}

static void stale_read_is_serialisable_but_late(void)
{
	refused("G-single realtime", "returned at 2",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 ok\n"
		"i 1 2 3 txn r 7\n"
		"r 1 4 ok r 7 []\n"
		"i 2 2 1 txn r 7\n"
		"r 2 9 ok r 7 [1]\n");
}

static void stale_read_while_it_runs_is_right(void)
{
	accepted("i 0 1 1 txn a 7 1\n"
		 "r 0 3 ok\n"
		 "i 1 2 3 txn r 7\n"
		 "r 1 4 ok r 7 []\n"
		 "i 2 2 1 txn r 7\n"
		 "r 2 9 ok r 7 [1]\n");
}

static void writes_against_time(void)
{
	refused("G0 realtime", "T1 returned at 2, T2 was called at 3",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 ok\n"
		"i 1 2 3 txn a 7 2\n"
		"r 1 4 ok\n"
		"i 2 2 5 txn r 7\n"
		"r 2 6 ok r 7 [2,1]\n");
}

static void read_of_the_future(void)
{
	refused("G1c realtime", "T1 read key 7 up to 1",
		"i 0 1 1 txn r 7\n"
		"r 0 2 ok r 7 [1]\n"
		"i 1 2 3 txn a 7 1\n"
		"r 1 4 ok\n");
}

/* T1 sees 8 without 7, T3 began when 7 was there and does not see 8. */
static void write_skew_in_time(void)
{
	refused("G2 realtime", "a cycle of 4",
		"i 0 1 1 txn r 7 r 8\n"
		"i 1 2 2 txn a 7 1\n"
		"i 2 3 2 txn a 8 1\n"
		"r 1 3 ok\n"
		"i 3 4 4 txn r 8\n"
		"r 2 9 ok\n"
		"r 0 10 ok r 7 [] r 8 [1]\n"
		"r 3 12 ok r 8 []\n");
}

static void failed_and_unseen_ones_do_not_count(void)
{
	accepted("i 0 1 1 txn a 7 1 r 8\n"
		 "r 0 2 failed\n"
		 "i 1 1 3 txn a 8 1 r 7\n"
		 "r 1 4 unknown\n"
		 "i 2 1 5 txn r 7 r 8 a 7 2\n"
		 "r 2 6 ok r 7 [] r 8 [] a 7 2\n"
		 "i 3 1 7 txn r 7\n"
		 "r 3 8 ok r 7 [2]\n");
}

static void the_shortest_cycle_is_shown(void)
{
	refused("G1c", "a cycle of 2",
		"i 0 1 1 txn a 1 1 r 2\n"
		"i 1 2 1 txn a 2 1 r 3\n"
		"i 2 3 1 txn a 3 1 r 4\n"
		"i 3 4 1 txn a 4 1 r 1 r 3\n"
		"r 0 9 ok a 1 1 r 2 [1]\n"
		"r 1 9 ok a 2 1 r 3 [1]\n"
		"r 2 9 ok a 3 1 r 4 [1]\n"
		"r 3 9 ok a 4 1 r 1 [1] r 3 [1]\n");
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(chf_setup, chf_teardown, nothing_is_right),
	CHECK_TEST_WITH(chf_setup, chf_teardown, one_after_the_other),
	CHECK_TEST_WITH(chf_setup, chf_teardown, appended_twice_is_unfit),
	CHECK_TEST_WITH(chf_setup, chf_teardown, contradicts_its_own_append),
	CHECK_TEST_WITH(chf_setup, chf_teardown, reads_differ_within_a_transaction),
	CHECK_TEST_WITH(chf_setup, chf_teardown, duplicate_element),
	CHECK_TEST_WITH(chf_setup, chf_teardown, garbage_read),
	CHECK_TEST_WITH(chf_setup, chf_teardown, aborted_read),
	CHECK_TEST_WITH(chf_setup, chf_teardown, aborted_read_apart),
	CHECK_TEST_WITH(chf_setup, chf_teardown, intermediate_read),
	CHECK_TEST_WITH(chf_setup, chf_teardown, incompatible_order),
	CHECK_TEST_WITH(chf_setup, chf_teardown, own_appends_in_the_wrong_order),
	CHECK_TEST_WITH(chf_setup, chf_teardown, lost_append),
	CHECK_TEST_WITH(chf_setup, chf_teardown, one_of_two_appends_lost),
	CHECK_TEST_WITH(chf_setup, chf_teardown, torn_transaction),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_append_may_show_late_or_never),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_append_seen_then_unseen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_transaction_is_atomic_too),
	CHECK_TEST_WITH(chf_setup, chf_teardown, write_cycle),
	CHECK_TEST_WITH(chf_setup, chf_teardown, circular_information_flow),
	CHECK_TEST_WITH(chf_setup, chf_teardown, read_skew),
	CHECK_TEST_WITH(chf_setup, chf_teardown, lost_update),
	CHECK_TEST_WITH(chf_setup, chf_teardown, lost_update_unseen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, one_unseen_update_is_right),
	CHECK_TEST_WITH(chf_setup, chf_teardown, write_skew),
	CHECK_TEST_WITH(chf_setup, chf_teardown, long_fork),
	CHECK_TEST_WITH(chf_setup, chf_teardown, stale_read_is_serialisable_but_late),
	CHECK_TEST_WITH(chf_setup, chf_teardown, stale_read_while_it_runs_is_right),
	CHECK_TEST_WITH(chf_setup, chf_teardown, writes_against_time),
	CHECK_TEST_WITH(chf_setup, chf_teardown, read_of_the_future),
	CHECK_TEST_WITH(chf_setup, chf_teardown, write_skew_in_time),
	CHECK_TEST_WITH(chf_setup, chf_teardown, failed_and_unseen_ones_do_not_count),
	CHECK_TEST_WITH(chf_setup, chf_teardown, the_shortest_cycle_is_shown),
};

CHECK_MAIN(tests)
