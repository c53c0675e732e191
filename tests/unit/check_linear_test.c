/* The checker of registers: histories that are wrong in known ways. Random ones: check_wgl_test.c. */
#include "tests/check/linear.h"

#include "tests/lib/check.h"
#include "tests/lib/check_fixture.h"

/* An operation of client 1 on key 7. */
static void op(enum history_kind kind, uint64_t from, uint64_t to, uint64_t arg, uint64_t arg2,
	       enum history_outcome outcome, uint64_t result)
{
	struct history_op o = {.client = 1, .kind = kind, .key = 7, .arg = arg, .arg2 = arg2};
	size_t id = history_invoke(&chf.h, from, &o);

	if (to != HISTORY_NEVER)
		history_return(&chf.h, id, to, outcome, &(struct history_result){.value = result});
}

static void wrote(uint64_t from, uint64_t to, uint64_t value)
{
	op(HISTORY_WRITE, from, to, value, 0, HISTORY_OK, 0);
}

static void maybe_wrote(uint64_t from, uint64_t value)
{
	op(HISTORY_WRITE, from, from + 5, value, 0, HISTORY_UNKNOWN, 0);
}

static void read_(uint64_t from, uint64_t to, uint64_t value)
{
	op(HISTORY_READ, from, to, 0, 0, HISTORY_OK, value);
}

static void cas(uint64_t from, uint64_t to, uint64_t old, uint64_t new, bool swapped)
{
	op(HISTORY_CAS, from, to, old, new, HISTORY_OK, swapped);
}

static void deleted(uint64_t from, uint64_t to, uint64_t result)
{
	op(HISTORY_DELETE, from, to, 0, 0, HISTORY_OK, result);
}

static void accepted(void)
{
	linear_check(&chf.h, NULL, &chf.v);
	chf_accepted();
}

/* @part: stands in the report. */
static void refused(const char *part)
{
	linear_check(&chf.h, NULL, &chf.v);
	chf_refused("not linearizable", part);
	CHECK_CONTAINS(chf.v.text, "key 7");
}

static void nothing_is_right(void)
{
	accepted();
	CHECK_U64_EQ(chf.v.checked, 0);
}

static void one_after_the_other(void)
{
	read_(1, 2, HISTORY_ABSENT);
	wrote(3, 4, 10);
	read_(5, 6, 10);
	cas(7, 8, 10, 11, true);
	cas(9, 10, 10, 12, false);
	read_(11, 12, 11);
	deleted(13, 14, 1);
	deleted(15, 16, 0);
	read_(17, 18, HISTORY_ABSENT);
	cas(19, 20, HISTORY_ABSENT, 5, true);
	deleted(21, 22, HISTORY_UNTOLD);
	deleted(23, 24, HISTORY_UNTOLD);
	accepted();
	CHECK_U64_EQ(chf.v.checked, 12);
}

static void stale_read(void)
{
	wrote(1, 2, 10);
	wrote(3, 4, 11);
	read_(5, 6, 10);
	refused("[5, 6] read 7 -> ok 10");
	CHECK_CONTAINS(chf.v.text, "then the value is 11");
	CHECK_CONTAINS(chf.v.text, "nothing else was pending");
}

/* Each of two concurrent reads may see either, but not one after the other the old. */
static void new_then_old(void)
{
	wrote(1, 2, 10);
	wrote(3, 20, 11);
	read_(4, 5, 11);
	read_(6, 7, 10);
	refused("[6, 7] read 7 -> ok 10");
}

static void overlapping_reads_see_either(void)
{
	wrote(1, 2, 10);
	wrote(3, 20, 11);
	read_(4, 8, 11);
	read_(5, 7, 10);
	accepted();
}

static void equal_times_are_concurrent(void)
{
	wrote(1, 5, 10);
	read_(5, 6, HISTORY_ABSENT);
	accepted();
}

static void value_from_nowhere(void)
{
	wrote(1, 2, 10);
	read_(3, 4, 12);
	refused("read 7 -> ok 12");
}

static void read_of_the_future(void)
{
	read_(1, 2, 10);
	wrote(3, 4, 10);
	refused("[1, 2] read 7 -> ok 10");
}

static void cas_swapped_twice(void)
{
	wrote(1, 2, 10);
	cas(3, 9, 10, 11, true);
	cas(4, 8, 10, 12, true);
	refused("cas 7 10");
}

static void lost_update_by_cas(void)
{
	wrote(1, 2, 10);
	cas(3, 4, 10, 11, true);
	cas(5, 6, 11, 12, true);
	read_(7, 8, 11);
	refused("[7, 8] read 7 -> ok 11");
}

static void cas_did_not_swap_though_it_fits(void)
{
	wrote(1, 2, 10);
	cas(3, 4, 10, 11, false);
	refused("[3, 4] cas 7 10 11 -> ok 0");
}

static void failed_write_is_seen(void)
{
	wrote(1, 2, 10);
	op(HISTORY_WRITE, 3, 4, 11, 0, HISTORY_FAILED, 0);
	read_(5, 6, 11);
	refused("[5, 6] read 7 -> ok 11");
}

static void failed_write_is_not_seen(void)
{
	wrote(1, 2, 10);
	op(HISTORY_WRITE, 3, 4, 11, 0, HISTORY_FAILED, 0);
	op(HISTORY_READ, 3, 4, 0, 0, HISTORY_FAILED, 99);
	op(HISTORY_READ, 3, 4, 0, 0, HISTORY_UNKNOWN, 99);
	read_(5, 6, 10);
	accepted();
}

static void unknown_write_happens_late(void)
{
	wrote(1, 2, 10);
	maybe_wrote(3, 11);
	read_(20, 21, 10);
	read_(22, 23, 11);
	wrote(24, 25, 12);
	read_(26, 27, 12);
	accepted();
}

static void unknown_write_seen_then_unseen(void)
{
	wrote(1, 2, 10);
	maybe_wrote(3, 11);
	read_(20, 21, 11);
	read_(22, 23, 10);
	refused("[22, 23] read 7 -> ok 10");
}

static void unknown_write_happens_once(void)
{
	maybe_wrote(1, 11);
	read_(20, 21, 11);
	wrote(24, 25, 12);
	read_(26, 27, 11);
	refused("[26, 27] read 7 -> ok 11");
}

static void unknown_write_not_before_its_call(void)
{
	read_(1, 2, 11);
	maybe_wrote(3, 11);
	refused("[1, 2] read 7 -> ok 11");
}

static void unknown_ones_in_a_chain(void)
{
	maybe_wrote(1, 11);
	op(HISTORY_CAS, 2, HISTORY_NEVER, 11, 12, HISTORY_UNKNOWN, 0);
	op(HISTORY_CAS, 3, HISTORY_NEVER, 12, 13, HISTORY_UNKNOWN, 0);
	read_(5, 6, HISTORY_ABSENT);
	read_(20, 21, 13);
	accepted();
	read_(22, 23, 12);
	refused("[22, 23] read 7 -> ok 12");
}

static void unknown_write_explains_a_cas(void)
{
	wrote(1, 2, 10);
	maybe_wrote(3, 11);
	cas(20, 21, 10, 12, false);
	accepted();
	read_(22, 23, 10);
	refused("[22, 23] read 7 -> ok 10");
}

static void unknown_delete(void)
{
	wrote(1, 2, 10);
	op(HISTORY_DELETE, 3, HISTORY_NEVER, 0, 0, HISTORY_UNKNOWN, 0);
	read_(5, 6, 10);
	read_(7, 8, HISTORY_ABSENT);
	accepted();
	read_(9, 10, 10);
	refused("[9, 10] read 7 -> ok 10");
}

static void deleted_key_comes_back(void)
{
	wrote(1, 2, 10);
	deleted(3, 4, 1);
	read_(5, 6, 10);
	refused("[5, 6] read 7 -> ok 10");
	CHECK_CONTAINS(chf.v.text, "then the key is absent");
}

static void deleted_twice(void)
{
	wrote(1, 2, 10);
	deleted(3, 9, 1);
	deleted(4, 8, 1);
	refused("delete 7 -> ok 1");
}

static void delete_found_nothing_though_there_was(void)
{
	wrote(1, 2, 10);
	deleted(3, 4, 0);
	refused("[3, 4] delete 7 -> ok 0");
}

static void the_shortest_prefix_is_shown(void)
{
	wrote(1, 2, 10);
	wrote(3, 4, 11);
	read_(5, 6, 10);
	for (uint64_t t = 10; t < 1000; t += 10) {
		wrote(t, t + 1, t);
		read_(t + 2, t + 3, t - 10);
	}
	refused("up to 6, the return of\n    client 1 [5, 6] read 7 -> ok 10");
}

static void pending_ones_are_shown(void)
{
	wrote(1, 2, 10);
	cas(3, 50, 11, 13, true);
	maybe_wrote(4, 12);
	read_(20, 21, 12);
	read_(22, 23, 10);
	refused("pending, or unknown, were");
	CHECK_CONTAINS(chf.v.text, "client 1 [3, 50] cas 7 11 13 -> ok 1");
}

static void keys_are_apart(void)
{
	size_t id;

	wrote(1, 2, 10);
	id = history_invoke(&chf.h, 3, &(struct history_op){.kind = HISTORY_READ, .key = 8});
	history_return(&chf.h, id, 4, HISTORY_OK, &(struct history_result){.value = HISTORY_ABSENT});
	accepted();
	id = history_invoke(&chf.h, 5, &(struct history_op){.kind = HISTORY_READ, .key = 8});
	history_return(&chf.h, id, 6, HISTORY_OK, &(struct history_result){.value = 10});
	linear_check(&chf.h, NULL, &chf.v);
	CHECK_INT_EQ(chf.v.code, VERDICT_WRONG);
	CHECK_CONTAINS(chf.v.text, "key 8");
}

static void absent_cannot_be_written(void)
{
	wrote(1, 2, HISTORY_ABSENT);
	linear_check(&chf.h, NULL, &chf.v);
	CHECK_INT_EQ(chf.v.code, VERDICT_UNFIT);
}

/* 24 concurrent writes, all seen: far more orders than the limits allow. */
static void gives_up_at_its_limits(void)
{
	struct linear_limits few_steps = {.steps_max = 10000, .cached_max = 1000000};
	struct linear_limits little_memory = {.steps_max = 10000000, .cached_max = 1000};

	for (uint64_t i = 0; i < 24; i++)
		wrote(1, 100, 10 + i);
	for (uint64_t i = 0; i < 24; i++)
		cas(101, 200, 10 + i, 10 + i, true);
	linear_check(&chf.h, &few_steps, &chf.v);
	CHECK_INT_EQ(chf.v.code, VERDICT_GAVE_UP);
	CHECK_CONTAINS(chf.v.text, "key 7: gave up");
	linear_check(&chf.h, &little_memory, &chf.v);
	CHECK_INT_EQ(chf.v.code, VERDICT_GAVE_UP);
}

/* Writes that nobody sees cost nothing, however many run at once. */
static void unseen_writes_are_cheap(void)
{
	struct linear_limits few_steps = {.steps_max = 10000, .cached_max = 10000};

	for (uint64_t t = 0; t < 10000; t += 1000) {
		for (uint64_t i = 0; i < 100; i++)
			wrote(t + 1, t + 100, 10 + t + i);
		read_(t + 200, t + 201, 10 + t + 77);
	}
	linear_check(&chf.h, &few_steps, &chf.v);
	CHECK_INT_EQ(chf.v.code, VERDICT_OK);
	read_(20000, 20001, 9010 + 76);
	linear_check(&chf.h, &few_steps, &chf.v);
	CHECK_INT_EQ(chf.v.code, VERDICT_WRONG);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(chf_setup, chf_teardown, nothing_is_right),
	CHECK_TEST_WITH(chf_setup, chf_teardown, one_after_the_other),
	CHECK_TEST_WITH(chf_setup, chf_teardown, stale_read),
	CHECK_TEST_WITH(chf_setup, chf_teardown, new_then_old),
	CHECK_TEST_WITH(chf_setup, chf_teardown, overlapping_reads_see_either),
	CHECK_TEST_WITH(chf_setup, chf_teardown, equal_times_are_concurrent),
	CHECK_TEST_WITH(chf_setup, chf_teardown, value_from_nowhere),
	CHECK_TEST_WITH(chf_setup, chf_teardown, read_of_the_future),
	CHECK_TEST_WITH(chf_setup, chf_teardown, cas_swapped_twice),
	CHECK_TEST_WITH(chf_setup, chf_teardown, lost_update_by_cas),
	CHECK_TEST_WITH(chf_setup, chf_teardown, cas_did_not_swap_though_it_fits),
	CHECK_TEST_WITH(chf_setup, chf_teardown, failed_write_is_seen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, failed_write_is_not_seen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_write_happens_late),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_write_seen_then_unseen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_write_happens_once),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_write_not_before_its_call),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_ones_in_a_chain),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_write_explains_a_cas),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unknown_delete),
	CHECK_TEST_WITH(chf_setup, chf_teardown, deleted_key_comes_back),
	CHECK_TEST_WITH(chf_setup, chf_teardown, deleted_twice),
	CHECK_TEST_WITH(chf_setup, chf_teardown, delete_found_nothing_though_there_was),
	CHECK_TEST_WITH(chf_setup, chf_teardown, the_shortest_prefix_is_shown),
	CHECK_TEST_WITH(chf_setup, chf_teardown, pending_ones_are_shown),
	CHECK_TEST_WITH(chf_setup, chf_teardown, keys_are_apart),
	CHECK_TEST_WITH(chf_setup, chf_teardown, absent_cannot_be_written),
	CHECK_TEST_WITH(chf_setup, chf_teardown, gives_up_at_its_limits),
	CHECK_TEST_WITH(chf_setup, chf_teardown, unseen_writes_are_cheap),
};

CHECK_MAIN(tests)
