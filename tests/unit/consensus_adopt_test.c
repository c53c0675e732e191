/* Phase 1: what a candidate makes of the promises. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

#define B(round, node) HAND_BALLOT(round, node)

static struct hand h;

static void vote(uint32_t from, paxos_ballot ballot)
{
	struct paxos_message m = hand_message(&h, PAXOS_PREVOTE_REPLY, from);

	m.ballot = ballot;
	m.ok = true;
	hand_recv(&h, &m);
}

/* From whatever it is to a candidate that has sent its PREPARE. */
static paxos_ballot stand(void)
{
	struct paxos_message m;
	paxos_ballot ballot;

	while (hand_count(&h, PAXOS_PREVOTE, 2) == 0)
		hand_tick(&h, 10 * HAND_MS);
	hand_take(&h, PAXOS_PREVOTE, 2, &m);
	ballot = m.ballot;
	hand_drop(&m);
	for (uint32_t from = 2; from <= h.cfg.member_count / 2 + 1; from++)
		vote(from, ballot);
	CHECK_INT_EQ(hand_count(&h, PAXOS_PREPARE, 2), 0); /* "on disk before PREPARE leaves" */
	hand_persist(&h);
	hand_take(&h, PAXOS_PREPARE, 2, &m);
	CHECK_U64_EQ(m.ballot, ballot);
	CHECK_U64_EQ(m.first, hand_status(&h).commit + 1);
	hand_drop(&m);
	return ballot;
}

static void setup(void)
{
	hand_init(&h, 1, 5);
}

static void teardown(void)
{
	hand_release(&h);
}

/* A higher round was seen, so that there is room for ballots below its own. */
static void see_round_7(void)
{
	struct paxos_message m = hand_message(&h, PAXOS_ACCEPT, 5);

	m.ballot = B(7, 5);
	m.first = 1;
	hand_recv(&h, &m);
	hand_persist(&h);
	hand_clear(&h);
}

struct page {
	uint64_t asked, first, commit, log_start;
	paxos_ballot of; /* its entries' */
	uint32_t count;
	const char *const *texts;
	bool more;
};

static void promise(uint32_t from, paxos_ballot ballot, const struct page *page)
{
	struct paxos_message m = hand_message(&h, PAXOS_PROMISE, from);

	m.ballot = ballot;
	m.page = page->asked ? page->asked : 1;
	m.first = page->first ? page->first : m.page;
	m.last = m.first - 1;
	m.commit = page->commit;
	m.log_start = page->log_start ? page->log_start : 1;
	m.more = page->more;
	if (page->count)
		hand_recv_entries(&h, &m, page->of, page->count, page->texts);
	else
		hand_recv(&h, &m);
}

static void promise_nothing(uint32_t from, paxos_ballot ballot)
{
	promise(from, ballot, &(struct page){0});
}

/* What the leader proposes to node 2 for @slot; kept until the next call. */
static const char *proposed(uint64_t slot, paxos_ballot ballot)
{
	static char text[64];
	const struct paxos_entry *found = NULL;

	for (size_t i = 0; i < h.out_count; i++) {
		const struct paxos_message *m = &h.out[i];

		if (m->type == PAXOS_ACCEPT && m->to == 2 && slot >= m->first &&
		    slot < m->first + m->count)
			found = m->entries[slot - m->first];
	}
	if (!found)
		return "nothing";
	CHECK_U64_EQ(found->ballot, ballot);
	CHECK_TRUE(found->len < sizeof(text));
	memcpy(text, found->data, found->len);
	text[found->len] = '\0';
	return text;
}

static void nothing_found_is_one_no_op(void)
{
	paxos_ballot b = stand();

	promise_nothing(2, b);
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
	promise_nothing(3, b);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_U64_EQ(hand_status(&h).last, 1);
	CHECK_STR_EQ(proposed(1, b), "");
}

static void same_promise_twice_is_one(void)
{
	paxos_ballot b = stand();

	promise_nothing(2, b);
	promise_nothing(2, b);
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
}

static void promise_for_another_ballot_is_none(void)
{
	paxos_ballot b = stand();

	promise_nothing(2, b);
	promise_nothing(3, b - (1 << 16));
	promise_nothing(4, b + (1 << 16));
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
}

/* "it re-proposes, at its own ballot, the value with the highest ballot for each slot, and a no-op
 * for each gap" */
static void highest_ballot_for_each_slot_and_no_ops_between(void)
{
	static const char *const low[] = {"a low", "b low"}, *const high[] = {"b high"};
	static const char *const far[] = {"far"};
	paxos_ballot b;

	see_round_7();
	b = stand();
	CHECK_TRUE(b > B(7, 5));
	promise(2, b, &(struct page){.of = B(2, 2), .count = 2, .texts = low});
	promise(3, b,
		&(struct page){.first = 1, .more = true, .of = B(1, 3), .count = 1, .texts = far});
	promise(3, b,
		&(struct page){.asked = 2, .more = true, .of = B(3, 3), .count = 1, .texts = high});
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
	promise(3, b,
		&(struct page){.asked = 3, .first = 5, .of = B(3, 3), .count = 1, .texts = far});
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_STR_EQ(proposed(1, b), "a low");
	CHECK_STR_EQ(proposed(2, b), "b high");
	CHECK_STR_EQ(proposed(3, b), "");
	CHECK_STR_EQ(proposed(4, b), "");
	CHECK_STR_EQ(proposed(5, b), "far");
	CHECK_STR_EQ(proposed(6, b), ""); /* opens the reign */
	CHECK_U64_EQ(hand_status(&h).last, 6);
}

/* Its own log takes part like any other acceptor's. */
static void own_value_counts_like_the_others(void)
{
	static const char *const own[] = {"own 1", "own 2"}, *const other[] = {"other 1"};
	struct paxos_message m = hand_message(&h, PAXOS_ACCEPT, 5);
	paxos_ballot b;

	m.ballot = B(3, 5);
	m.first = 1;
	hand_recv_entries(&h, &m, m.ballot, 2, own);
	m = hand_message(&h, PAXOS_ACCEPT, 4);
	m.ballot = B(7, 4);
	m.first = 1;
	hand_recv(&h, &m); /* a heartbeat only */
	hand_persist(&h);
	hand_clear(&h);
	b = stand();
	promise(2, b, &(struct page){.of = B(5, 2), .count = 1, .texts = other});
	promise_nothing(3, b);
	CHECK_STR_EQ(proposed(1, b), "other 1");
	CHECK_STR_EQ(proposed(2, b), "own 2");
}

/* "slots below the highest of them in the quorum are chosen, so the new leader proposes nothing
 * there and first fetches them" */
static void what_is_chosen_is_fetched_first(void)
{
	static const char *const chosen[] = {"one", "two", "three"};
	struct paxos_message m;
	paxos_ballot b;

	see_round_7();
	b = stand();
	promise_nothing(2, b);
	promise(3, b, &(struct page){.first = 4, .commit = 3});
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
	CHECK_INT_EQ(hand_count(&h, PAXOS_ACCEPT, 2), 0);
	hand_take(&h, PAXOS_LEARN_REQUEST, 3, &m);
	CHECK_U64_EQ(m.first, 1);
	hand_drop(&m);
	m = hand_message(&h, PAXOS_LEARN, 3);
	m.first = 1;
	m.commit = 3;
	hand_recv_entries(&h, &m, B(6, 3), 3, chosen);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_STR_EQ(hand_chosen(&h, 3), "three");
	CHECK_STR_EQ(proposed(4, b), "");
	CHECK_U64_EQ(hand_status(&h).last, 4);
}

/* The candidate is far behind: it keeps no room for all the slots between. */
static void far_chosen_index_costs_no_memory(void)
{
	static const char *const text[] = {"x"};
	paxos_ballot b;
	struct paxos_message m;

	see_round_7();
	b = stand();
	promise(2, b,
		&(struct page){.first = 1ull << 50,
			       .commit = (1ull << 50) - 1,
			       .of = B(6, 5),
			       .count = 1,
			       .texts = text});
	promise(3, b, &(struct page){.of = B(2, 5), .count = 1, .texts = text});
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE)); /* catching up */
	CHECK_INT_EQ(hand_count(&h, PAXOS_ACCEPT, 2), 0);
	hand_take(&h, PAXOS_LEARN_REQUEST, 2, &m);
	CHECK_U64_EQ(m.first, 1);
	hand_drop(&m);
}

/* What was left out because of a far chosen index is chosen, whether that promise is complete or
 * not. */
static void what_was_left_out_is_never_proposed(void)
{
	static const char *const text[] = {"x"};
	paxos_ballot b;

	see_round_7();
	b = stand();
	promise(2, b,
		&(struct page){.first = 1ull << 50,
			       .commit = (1ull << 50) - 1,
			       .more = true,
			       .of = B(6, 5),
			       .count = 1,
			       .texts = text});
	promise_nothing(3, b);
	promise_nothing(4, b);
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
	CHECK_INT_EQ(hand_count(&h, PAXOS_ACCEPT, 2), 0);
}

static void slots_without_sense_are_dropped(void)
{
	static const char *const text[] = {"x"};
	uint64_t dropped;
	paxos_ballot b;

	see_round_7();
	b = stand();
	dropped = hand_status(&h).dropped;
	/* far above what it says is chosen: it cannot have accepted so much */
	promise(2, b, &(struct page){.first = 1 << 20, .of = B(6, 5), .count = 1, .texts = text});
	/* at or below what is chosen: that is left out */
	promise(3, b, &(struct page){.commit = 5, .of = B(6, 5), .count = 1, .texts = text});
	/* of the ballot that has proposed nothing yet */
	promise(4, b, &(struct page){.of = b, .count = 1, .texts = text});
	CHECK_U64_EQ(hand_status(&h).dropped, dropped + 3);
	promise_nothing(5, b);
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE)); /* none of them counted */
}

/* "ERR_NOMEM: nothing happened" */
static void leads_later_when_memory_is_short(void)
{
	static const char *const texts[] = {"a", "b", "c"};
	paxos_ballot b;
	size_t records;

	see_round_7();
	b = stand();
	promise(2, b, &(struct page){.of = B(6, 5), .count = 3, .texts = texts});
	records = h.disk_count;
	for (unsigned long nth = 1; nth <= 5; nth++) { /* the list, three values, the no-op */
		mem_fail_nth(nth);
		if (nth == 1)
			promise_nothing(3, b);
		else
			hand_tick(&h, 50 * HAND_MS);
		mem_fail_nth(0);
		CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
		CHECK_U64_EQ(h.disk_count, records);
	}
	hand_tick(&h, 50 * HAND_MS);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_STR_EQ(proposed(3, b), "c");
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(nothing_found_is_one_no_op),	       T(same_promise_twice_is_one),
	T(promise_for_another_ballot_is_none), T(highest_ballot_for_each_slot_and_no_ops_between),
	T(own_value_counts_like_the_others),   T(what_is_chosen_is_fetched_first),
	T(far_chosen_index_costs_no_memory),   T(what_was_left_out_is_never_proposed),
	T(slots_without_sense_are_dropped),    T(leads_later_when_memory_is_short),
};
CHECK_MAIN(tests)
