/* The checkers of counters, sets and the bank, and all of them together. */
#include "tests/check/bank.h"
#include "tests/check/counter.h"
#include "tests/check/judge.h"
#include "tests/check/setcheck.h"

#include <string.h>

#include "tests/lib/check.h"
#include "tests/lib/check_fixture.h"
#include "tests/unit/check_random.h"

static void judge(const char *lines)
{
	chf_text(lines);
	judge_history(&chf.h, NULL, &chf.v);
}

static void accepted(const char *lines)
{
	judge(lines);
	chf_accepted();
}

static void refused(const char *name, const char *part, const char *lines)
{
	judge(lines);
	chf_refused(name, part);
}

/* ---- the bank ---- */

static void all_money_is_there(void)
{
	accepted("bank 3 100 0\n"
		 "i 0 1 1 balances\n"
		 "r 0 2 ok [0,100,0]\n"
		 "i 1 1 3 balances\n"
		 "r 1 4 unknown\n"
		 "i 2 1 3 balances\n"
		 "r 2 4 failed\n");
	CHECK_U64_EQ(chf.v.checked, 1);
	accepted("bank 2 -5 1\n"
		 "i 0 1 1 balances\n"
		 "r 0 2 ok [-10,5]\n");
}

static void money_is_lost(void)
{
	refused("wrong total", "too small by 10",
		"bank 3 100 0\n"
		"i 0 1 1 balances\n"
		"r 0 2 ok [0,90,0]\n");
}

static void money_is_made(void)
{
	refused("wrong total", "too big by 1",
		"bank 3 100 1\n"
		"i 0 1 1 balances\n"
		"r 0 2 ok [-10,100,11]\n");
}

static void account_below_zero(void)
{
	refused("negative", "account 1 holds -1",
		"bank 2 100 0\n"
		"i 0 1 1 balances\n"
		"r 0 2 ok [101,-1]\n");
}

static void account_is_missing(void)
{
	refused("wrong number of accounts", "there are 3, the read has 2",
		"bank 3 100 0\n"
		"i 0 1 1 balances\n"
		"r 0 2 ok [50,50]\n");
}

static void bank_without_rules(void)
{
	refused("unfit", "nobody said the total",
		"i 0 1 1 balances\n"
		"r 0 2 ok [50,50]\n");
}

/* ---- counters ---- */

static void counts_once(void)
{
	accepted("i 0 1 1 add 3 2\n"
		 "r 0 2 ok\n"
		 "i 1 1 3 add 3 5\n"
		 "r 1 4 failed\n"
		 "i 2 1 5 get 3\n"
		 "r 2 6 ok 2\n"
		 "i 3 1 7 add 3 100\n"
		 "r 3 8 unknown\n"
		 "i 4 1 9 get 3\n"
		 "r 4 10 ok 2\n"
		 "i 5 1 11 get 3\n"
		 "r 5 12 ok 102\n"
		 "i 6 1 11 get 4\n"
		 "r 6 12 ok 0\n");
}

static void acknowledged_addition_is_lost(void)
{
	refused("too small", "at least 1",
		"i 0 1 1 add 3 1\n"
		"r 0 2 ok\n"
		"i 1 1 3 get 3\n"
		"r 1 4 ok 0\n");
}

static void addition_counts_twice(void)
{
	refused("too big", "at most 1",
		"i 0 1 1 add 3 1\n"
		"r 0 2 ok\n"
		"i 1 1 3 get 3\n"
		"r 1 4 ok 2\n");
}

static void failed_addition_counts(void)
{
	refused("too big", "at most 0",
		"i 0 1 1 add 3 1\n"
		"r 0 2 failed\n"
		"i 1 1 3 get 3\n"
		"r 1 4 ok 1\n");
}

static void counted_before_it_began(void)
{
	refused("too big", "at most 0",
		"i 0 1 1 get 3\n"
		"r 0 2 ok 1\n"
		"i 1 1 3 add 3 1\n"
		"r 1 4 ok\n");
}

static void counter_goes_back(void)
{
	refused("too small", "[3, 4] get 3 -> ok 1",
		"i 0 1 1 add 3 1\n"
		"r 0 2 unknown\n"
		"i 1 1 3 get 3\n"
		"r 1 4 ok 1\n"
		"i 2 1 5 get 3\n"
		"r 2 6 ok 0\n");
}

/* Each read alone is possible: 0..2 were unknown then. Between them lies an addition. */
static void lost_between_two_reads(void)
{
	refused("too small", "at least 3",
		"i 0 1 1 add 3 2\n"
		"r 0 2 unknown\n"
		"i 1 1 3 get 3\n"
		"r 1 4 ok 2\n"
		"i 2 1 5 add 3 1\n"
		"r 2 6 ok\n"
		"i 3 1 7 get 3\n"
		"r 3 8 ok 2\n");
}

static void concurrent_additions_may_count(void)
{
	accepted("i 0 1 1 add 3 1\n"
		 "i 1 2 1 add 3 1\n"
		 "i 2 3 2 get 3\n"
		 "r 2 5 ok 2\n"
		 "i 3 4 2 get 3\n"
		 "r 3 5 ok 0\n"
		 "r 0 9 ok\n"
		 "r 1 9 ok\n");
}

static void sums_overflow(void)
{
	refused("unfit", "overflows",
		"i 0 1 1 add 3 9000000000000000000\n"
		"i 1 1 1 add 3 9000000000000000000\n");
}

/* ---- sets ---- */

static void elements_stay(void)
{
	accepted("i 0 1 1 insert 3 10\n"
		 "r 0 2 ok\n"
		 "i 1 1 3 insert 3 11\n"
		 "r 1 4 unknown\n"
		 "i 2 1 5 members 3\n"
		 "r 2 6 ok [10]\n"
		 "i 3 1 7 members 3\n"
		 "r 3 8 ok [11,10]\n"
		 "i 4 1 7 insert 3 12\n"
		 "r 4 9 failed\n"
		 "i 5 1 9 members 4\n"
		 "r 5 9 ok []\n");
}

static void acknowledged_element_is_lost(void)
{
	refused("lost", "element 10",
		"i 0 1 1 insert 3 10\n"
		"r 0 2 ok\n"
		"i 1 1 3 insert 3 11\n"
		"r 1 4 ok\n"
		"i 2 1 5 members 3\n"
		"r 2 6 ok [11]\n");
}

static void failed_element_is_seen(void)
{
	refused("failed insert seen", "element 10",
		"i 0 1 1 insert 3 10\n"
		"r 0 2 failed\n"
		"i 1 1 5 members 3\n"
		"r 1 6 ok [10]\n");
}

static void failed_and_tried_again(void)
{
	accepted("i 0 1 1 insert 3 10\n"
		 "r 0 2 failed\n"
		 "i 1 1 3 insert 3 10\n"
		 "r 1 4 ok\n"
		 "i 2 1 5 members 3\n"
		 "r 2 6 ok [10]\n");
}

static void element_from_nowhere(void)
{
	refused("from nowhere", "element 10",
		"i 0 1 1 members 3\n"
		"r 0 2 ok [10]\n");
	refused("from nowhere", "inserted by a call at 3",
		"i 0 1 1 members 3\n"
		"r 0 2 ok [10]\n"
		"i 1 1 3 insert 3 10\n"
		"r 1 4 ok\n");
}

static void seen_then_unseen(void)
{
	refused("vanished", "a read had it at 4",
		"i 0 1 1 insert 3 10\n"
		"r 0 2 unknown\n"
		"i 1 1 3 members 3\n"
		"r 1 4 ok [10]\n"
		"i 2 1 5 members 3\n"
		"r 2 6 ok []\n");
}

static void element_twice(void)
{
	refused("duplicate element", "element 10",
		"i 0 1 1 insert 3 10\n"
		"r 0 2 ok\n"
		"i 1 1 3 members 3\n"
		"r 1 4 ok [10,10]\n");
}

/* ---- all together ---- */

static void the_first_wrong_one_is_told(void)
{
	refused("not linearizable", "key 9",
		"i 0 1 1 read 9\n"
		"r 0 2 ok 5\n"
		"i 1 1 3 get 3\n"
		"r 1 4 ok 1\n");
	refused("G1a", "failed",
		"i 0 1 1 txn a 7 1\n"
		"r 0 2 failed\n"
		"i 1 2 1 txn r 7\n"
		"r 1 4 ok r 7 [1]\n"
		"i 2 1 3 get 3\n"
		"r 2 4 ok 1\n");
	accepted("i 0 1 1 read 9\n"
		 "r 0 2 ok -\n"
		 "i 1 1 3 get 3\n"
		 "r 1 4 ok 0\n"
		 "i 2 1 3 members 3\n"
		 "r 2 4 ok []\n");
	CHECK_U64_EQ(chf.v.checked, 3);
}

/* ---- random ---- */

/* A counter, a set and registers of their own time: each operation is called, happens, returns. */
struct running {
	size_t id;
	bool called, happened;
	uint64_t value;
	uint64_t list[512];
	size_t list_count;
};

static void run_model(uint64_t seed, size_t ops, bool unlucky)
{
	struct rng r = {seed};
	static struct running clients[6];
	static uint64_t members[512];
	size_t member_count = 0;
	uint64_t sum = 0, now = 1;

	chf_start_over();
	memset(clients, 0, sizeof(clients));
	while (chf.h.count < ops) {
		struct running *c = &clients[rng_below(&r, 6)];
		struct history_op op = {.kind = (enum history_kind)(HISTORY_ADD + rng_below(&r, 4)),
					.arg = chf.h.count};
		struct history_result res;
		enum history_outcome outcome = HISTORY_OK;

		now += rng_below(&r, 3);
		if (!c->called) {
			c->id = history_invoke(&chf.h, now, &op);
			c->called = true;
			c->happened = false;
			continue;
		}
		op = chf.h.ops[c->id];
		if (!c->happened && !(unlucky && rng_below(&r, 10) == 0)) {
			sum += op.kind == HISTORY_ADD ? op.arg : 0;
			if (op.kind == HISTORY_INSERT)
				members[member_count++] = op.arg;
			c->value = sum;
			c->list_count = member_count;
			memcpy(c->list, members, member_count * sizeof(members[0]));
			c->happened = true;
			continue;
		}
		if (!c->happened || (unlucky && rng_below(&r, 10) == 0))
			outcome = !c->happened && rng_below(&r, 2) ? HISTORY_FAILED : HISTORY_UNKNOWN;
		res = (struct history_result){.value = c->value, .list = c->list};
		res.list_count = op.kind == HISTORY_MEMBERS ? c->list_count : 0;
		history_return(&chf.h, c->id, now, outcome, &res);
		c->called = false;
	}
}

static void model_histories_are_accepted(void)
{
	uint64_t seeds[] = {500, rng_fresh_seed()};

	for (unsigned n = 0; n < 2000; n++) {
		run_model(seeds[n % 2] + n * 7919, 10 + n % 300, n % 4 != 0);
		judge_history(&chf.h, NULL, &chf.v);
		if (chf.v.code != VERDICT_OK)
			CHECK_FAIL("round %u: %s", n, chf.v.text);
	}
}

/* Takes one element out of a read that had to have it, or adds to a counter what was added before. */
static bool change_one(struct rng *r)
{
	struct history_op *op = &chf.h.ops[rng_below(r, chf.h.count)];
	const struct history_op *other = &chf.h.ops[rng_below(r, chf.h.count)];
	bool before = other->outcome == HISTORY_OK && other->return_ns < op->invoke_ns;

	if (op->outcome != HISTORY_OK || !before || other->arg == 0)
		return false;
	if (op->kind == HISTORY_GET && other->kind == HISTORY_ADD) {
		op->result = other->arg - 1; /* less than that one alone */
		return true;
	}
	for (size_t i = 0; op->kind == HISTORY_MEMBERS && i < op->list_count; i++) {
		if (other->kind != HISTORY_INSERT || op->list[i] != other->arg)
			continue;
		((uint64_t *)op->list)[i] = op->list[op->list_count - 1];
		op->list_count--;
		return true;
	}
	return false;
}

static void changed_histories_are_refused(void)
{
	uint64_t seeds[] = {600, rng_fresh_seed()};
	struct rng r = {seeds[1]};
	unsigned refusals = 0;

	for (unsigned n = 0; n < 2000; n++) {
		bool changed = false;

		run_model(seeds[n % 2] + n * 7919, 50 + n % 300, n % 4 != 0);
		for (unsigned tries = 0; tries < 100 && !changed; tries++)
			changed = change_one(&r);
		judge_history(&chf.h, NULL, &chf.v);
		if (changed && chf.v.code != VERDICT_WRONG)
			CHECK_FAIL("round %u: %s", n, chf.v.name);
		refusals += changed;
	}
	CHECK_TRUE(refusals > 1000);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(chf_setup, chf_teardown, all_money_is_there),
	CHECK_TEST_WITH(chf_setup, chf_teardown, money_is_lost),
	CHECK_TEST_WITH(chf_setup, chf_teardown, money_is_made),
	CHECK_TEST_WITH(chf_setup, chf_teardown, account_below_zero),
	CHECK_TEST_WITH(chf_setup, chf_teardown, account_is_missing),
	CHECK_TEST_WITH(chf_setup, chf_teardown, bank_without_rules),
	CHECK_TEST_WITH(chf_setup, chf_teardown, counts_once),
	CHECK_TEST_WITH(chf_setup, chf_teardown, acknowledged_addition_is_lost),
	CHECK_TEST_WITH(chf_setup, chf_teardown, addition_counts_twice),
	CHECK_TEST_WITH(chf_setup, chf_teardown, failed_addition_counts),
	CHECK_TEST_WITH(chf_setup, chf_teardown, counted_before_it_began),
	CHECK_TEST_WITH(chf_setup, chf_teardown, counter_goes_back),
	CHECK_TEST_WITH(chf_setup, chf_teardown, lost_between_two_reads),
	CHECK_TEST_WITH(chf_setup, chf_teardown, concurrent_additions_may_count),
	CHECK_TEST_WITH(chf_setup, chf_teardown, sums_overflow),
	CHECK_TEST_WITH(chf_setup, chf_teardown, elements_stay),
	CHECK_TEST_WITH(chf_setup, chf_teardown, acknowledged_element_is_lost),
	CHECK_TEST_WITH(chf_setup, chf_teardown, failed_element_is_seen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, failed_and_tried_again),
	CHECK_TEST_WITH(chf_setup, chf_teardown, element_from_nowhere),
	CHECK_TEST_WITH(chf_setup, chf_teardown, seen_then_unseen),
	CHECK_TEST_WITH(chf_setup, chf_teardown, element_twice),
	CHECK_TEST_WITH(chf_setup, chf_teardown, the_first_wrong_one_is_told),
	CHECK_TEST_WITH(chf_setup, chf_teardown, model_histories_are_accepted),
	CHECK_TEST_WITH(chf_setup, chf_teardown, changed_histories_are_refused),
};

CHECK_MAIN(tests)
