/* Start after a restart: what the log held, in any order, and what follows from it. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

#define B(round, node) PAXOS_BALLOT(round, node)

static struct hand h;

static void setup(void)
{
	hand_config(&h, 1, 3);
}

static void setup_running(void)
{
	hand_init(&h, 1, 3);
}

static void teardown(void)
{
	hand_release(&h);
}

static void put_promise(paxos_ballot b)
{
	h.disk[h.disk_count++] = (struct hand_record){.promise = true, .ballot = b};
}

static void put_entry(paxos_ballot b, uint64_t slot, uint64_t chosen, const char *text)
{
	struct paxos_entry *e = hand_entry(b, slot, text);

	e->chosen = chosen;
	h.disk[h.disk_count++] = (struct hand_record){.ballot = b, .entry = e};
}

static void accept_one(paxos_ballot b, uint64_t slot, uint64_t commit, const char *text)
{
	struct paxos_message m = hand_message(&h, PAXOS_ACCEPT, PAXOS_BALLOT_NODE(b));

	m.ballot = b;
	m.first = slot;
	m.commit = commit;
	hand_recv_entries(&h, &m, b, 1, &text);
}

/* What it would tell a candidate. */
static void take_promise(paxos_ballot b, uint64_t first, struct paxos_message *m)
{
	h.now_ns += h.cfg.timing.lease;
	*m = hand_message(&h, PAXOS_PREPARE, PAXOS_BALLOT_NODE(b));
	m->ballot = b;
	m->first = first;
	hand_recv(&h, m);
	hand_persist(&h);
	hand_take(&h, PAXOS_PROMISE, PAXOS_BALLOT_NODE(b), m);
}

static void empty_log(void)
{
	hand_start(&h, 0, true);
	CHECK_U64_EQ(hand_status(&h).last, 0);
	CHECK_U64_EQ(hand_status(&h).ballot, 0);
	CHECK_U64_EQ(hand_status(&h).log_start, 1);
	CHECK_U64_EQ(hand_status(&h).leader, 0);
}

static void any_order(void)
{
	struct paxos_message m;

	put_entry(B(1, 2), 3, 0, "c");
	put_promise(B(2, 3));
	put_entry(B(1, 2), 1, 0, "a");
	put_promise(B(1, 2));
	put_entry(B(1, 2), 2, 0, "b");
	hand_start(&h, 0, false);
	CHECK_U64_EQ(hand_status(&h).last, 3);
	CHECK_U64_EQ(hand_status(&h).commit, 0);
	CHECK_U64_EQ(hand_status(&h).ballot, B(2, 3));
	take_promise(B(3, 3), 1, &m);
	CHECK_U64_EQ(m.count, 3);
	CHECK_SLICE_EQ(slice_of(m.entries[2]->data, m.entries[2]->len), slice_of("c", 1));
	hand_drop(&m);
}

static void highest_ballot_of_a_slot_wins(void)
{
	struct paxos_message m;

	put_entry(B(1, 2), 1, 0, "old");
	put_entry(B(3, 2), 1, 0, "new");
	put_entry(B(2, 3), 1, 0, "middle");
	hand_start(&h, 0, false);
	CHECK_U64_EQ(hand_status(&h).ballot, B(3, 2)); /* who stored it had promised it */
	take_promise(B(4, 3), 1, &m);
	CHECK_U64_EQ(m.count, 1);
	CHECK_U64_EQ(m.entries[0]->ballot, B(3, 2));
	CHECK_SLICE_EQ(slice_of(m.entries[0]->data, m.entries[0]->len), slice_of("new", 3));
	hand_drop(&m);
}

static void promise_is_kept(void)
{
	struct paxos_message m;

	put_promise(B(5, 2));
	hand_start(&h, 0, false);
	h.now_ns += h.cfg.timing.lease;
	m = hand_message(&h, PAXOS_PREPARE, 3);
	m.ballot = B(4, 3);
	m.first = 1;
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_REJECT, 3, &m);
	CHECK_U64_EQ(m.promised, B(5, 2));
	accept_one(B(4, 3), 1, 0, "stale");
	CHECK_U64_EQ(hand_count(&h, PAXOS_REJECT, 3), 1);
}

static void a_gap_above_applied_is_damage(void)
{
	put_entry(B(1, 2), 1, 0, "a");
	put_entry(B(1, 2), 3, 0, "c");
	CHECK_ERR(hand_try_start(&h, 0, false), ERR_CORRUPT);
	paxos_free(h.p);
	h.p = NULL;
	CHECK_ERR(hand_try_start(&h, 1, false), ERR_CORRUPT);
	paxos_free(h.p);
	h.p = NULL;
	CHECK_OK(hand_try_start(&h, 2, false)); /* the engine has slot 2 */
}

static void a_start_beyond_applied_is_damage(void)
{
	put_entry(B(1, 2), 5, 4, "e");
	CHECK_ERR(hand_try_start(&h, 3, false), ERR_CORRUPT);
	paxos_free(h.p);
	h.p = NULL;
	CHECK_OK(hand_try_start(&h, 4, false));
	CHECK_U64_EQ(hand_status(&h).commit, 4);
	CHECK_U64_EQ(hand_status(&h).last, 5);
}

static void applied_is_chosen(void)
{
	put_entry(B(1, 2), 1, 0, "a");
	put_entry(B(1, 2), 2, 0, "b");
	hand_start(&h, 1, false);
	CHECK_U64_EQ(hand_status(&h).commit, 1);
	CHECK_U64_EQ(hand_status(&h).applied, 1);
	hand_tick(&h, 1);
	CHECK_NULL(hand_chosen(&h, 1)); /* not a second time */
}

/* An entry says what its leader knew as chosen: that need not be asked of anybody. */
static void the_hint_gives_what_was_chosen(void)
{
	put_entry(B(1, 2), 1, 0, "a");
	put_entry(B(1, 2), 2, 0, "b");
	put_entry(B(1, 2), 3, 2, "c");
	hand_start(&h, 0, false);
	CHECK_U64_EQ(hand_status(&h).commit, 2);
	hand_tick(&h, 1);
	CHECK_STR_EQ(hand_chosen(&h, 2), "b");
	CHECK_NULL(hand_chosen(&h, 3));
}

/* "Chosen is not the same as accepted": a later leader's hint says nothing about what was accepted
 * at an older ballot. */
static void the_hint_is_not_for_older_ballots(void)
{
	put_entry(B(1, 2), 1, 0, "maybe lost");
	put_entry(B(2, 3), 2, 1, "b");
	hand_start(&h, 0, false);
	CHECK_U64_EQ(hand_status(&h).commit, 0);
}

static void an_older_hint_holds_for_newer_ballots(void)
{
	put_entry(B(3, 3), 1, 0, "a");
	put_entry(B(1, 2), 2, 1, "b");
	hand_start(&h, 0, false);
	CHECK_U64_EQ(hand_status(&h).commit, 1);
}

static void what_was_not_synced_is_forgotten(void)
{
	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	accept_one(B(1, 2), 2, 0, "b");
	hand_restart(&h, 0);
	CHECK_U64_EQ(hand_status(&h).last, 1);
	/* The leader says more, and it sees what it lacks. */
	hand_clear(&h);
	accept_one(B(1, 2), 3, 0, "c");
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 2), 1);
}

static void same_leader_goes_on_after_a_restart(void)
{
	struct paxos_message m;

	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	hand_restart(&h, 0);
	accept_one(B(1, 2), 2, 1, "b");
	CHECK_STR_EQ(hand_chosen(&h, 1), "a"); /* of this very ballot: it counts */
	hand_take(&h, PAXOS_ACCEPTED, 2, &m);
	CHECK_U64_EQ(m.last, 1); /* on disk since before */
	hand_persist(&h);
	hand_take(&h, PAXOS_ACCEPTED, 2, &m);
	CHECK_U64_EQ(m.last, 2);
	hand_drop(&m);
}

/* "a ballot dies with its process" */
static void restarted_leader_never_reuses_its_ballot(void)
{
	paxos_ballot before;

	hand_lead(&h);
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	before = hand_status(&h).ballot;
	hand_restart(&h, 0);
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
	CHECK_ERR(hand_propose(&h, "y"), ERR_NOT_LEADER);
	hand_lead(&h);
	CHECK_TRUE(hand_status(&h).ballot > before);
	CHECK_STR_EQ(hand_chosen(&h, 2), "x");
}

static void restarted_stands_for_nothing_for_a_lease(void)
{
	uint64_t since;

	hand_restart(&h, 0);
	since = h.now_ns;
	while (hand_count(&h, PAXOS_PREVOTE, 0) == 0) {
		hand_run(&h, HAND_MS);
		CHECK_TRUE(h.now_ns - since < 2000 * HAND_MS);
	}
	CHECK_TRUE(h.now_ns - since >= h.cfg.timing.lease);
}

static void bad_settings_are_refused(void)
{
	struct paxos_config good = h.cfg, c;
	struct paxos *p = NULL;

	c = good;
	c.member_count = 2;
	CHECK_ERR(paxos_new(&c, &p), ERR_INVAL);
	c = good;
	c.self = 9;
	CHECK_ERR(paxos_new(&c, &p), ERR_INVAL);
	c = good;
	c.members[1] = c.members[2];
	CHECK_ERR(paxos_new(&c, &p), ERR_INVAL);
	c = good;
	c.timing.drift_margin = c.timing.lease;
	CHECK_ERR(paxos_new(&c, &p), ERR_INVAL);
	c = good;
	c.group = GROUPS_MAX;
	CHECK_ERR(paxos_new(&c, &p), ERR_INVAL);
	CHECK_NULL(p);
	CHECK_OK(paxos_new(&good, &p));
	paxos_free(p);
}

/* Invariant 5: what is not in the log may have come as a snapshot, without ballots. */
static void state_without_a_log_is_not_vouched_for(void)
{
	struct paxos_message m;

	hand_start(&h, 10, false);
	m = hand_message(&h, PAXOS_ACCEPT, 2);
	m.ballot = B(5, 2);
	m.first = 11;
	m.commit = 4;
	hand_recv(&h, &m);
	hand_persist(&h);
	hand_take(&h, PAXOS_ACCEPTED, 2, &m);
	CHECK_U64_EQ(m.last, 4);
	CHECK_U64_EQ(m.first, 11);
	hand_drop(&m);
	m = hand_message(&h, PAXOS_ACCEPT, 2);
	m.ballot = B(5, 2);
	m.first = 11;
	m.commit = 10; /* the leader knows itself that these are chosen */
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_ACCEPTED, 2, &m);
	CHECK_U64_EQ(m.last, 10);
	hand_drop(&m);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, state_without_a_log_is_not_vouched_for),
	CHECK_TEST_WITH(setup, teardown, empty_log),
	CHECK_TEST_WITH(setup, teardown, any_order),
	CHECK_TEST_WITH(setup, teardown, highest_ballot_of_a_slot_wins),
	CHECK_TEST_WITH(setup, teardown, promise_is_kept),
	CHECK_TEST_WITH(setup, teardown, a_gap_above_applied_is_damage),
	CHECK_TEST_WITH(setup, teardown, a_start_beyond_applied_is_damage),
	CHECK_TEST_WITH(setup, teardown, applied_is_chosen),
	CHECK_TEST_WITH(setup, teardown, the_hint_gives_what_was_chosen),
	CHECK_TEST_WITH(setup, teardown, the_hint_is_not_for_older_ballots),
	CHECK_TEST_WITH(setup, teardown, an_older_hint_holds_for_newer_ballots),
	CHECK_TEST_WITH(setup_running, teardown, what_was_not_synced_is_forgotten),
	CHECK_TEST_WITH(setup_running, teardown, same_leader_goes_on_after_a_restart),
	CHECK_TEST_WITH(setup_running, teardown, restarted_leader_never_reuses_its_ballot),
	CHECK_TEST_WITH(setup_running, teardown, restarted_stands_for_nothing_for_a_lease),
	CHECK_TEST_WITH(setup, teardown, bad_settings_are_refused),
};

CHECK_MAIN(tests)
