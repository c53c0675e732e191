/* Gap detection, LEARN given and taken, and the snapshot when the log does not reach back. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

#define B(round, node) PAXOS_BALLOT(round, node)

static struct hand h;

static void setup(void)
{
	hand_init(&h, 1, 3);
}

static void teardown(void)
{
	hand_release(&h);
}

static void accept_texts(paxos_ballot b, uint64_t first, uint64_t commit, uint32_t count,
			 const char *const *texts)
{
	struct paxos_message m = hand_message(&h, PAXOS_ACCEPT, PAXOS_BALLOT_NODE(b));

	m.ballot = b;
	m.first = first;
	m.commit = commit;
	hand_recv_entries(&h, &m, b, count, texts);
}

static void learn_texts(uint32_t from, paxos_ballot b, uint64_t first, uint64_t commit,
			uint32_t count, const char *const *texts)
{
	struct paxos_message m = hand_message(&h, PAXOS_LEARN, from);

	m.first = first;
	m.commit = commit;
	hand_recv_entries(&h, &m, b, count, texts);
}

static void check_asked(uint32_t to, uint64_t first)
{
	struct paxos_message m;

	hand_take(&h, PAXOS_LEARN_REQUEST, to, &m);
	CHECK_U64_EQ(m.first, first);
	hand_drop(&m);
}

static const char *const abc[] = {"a", "b", "c", "d", "e"};

/* ---- asking ---- */

static void gap_is_asked_for_at_once(void)
{
	accept_texts(B(1, 2), 1, 0, 1, abc);
	accept_texts(B(1, 2), 4, 0, 1, abc + 3);
	check_asked(2, 2);
	/* The next one beyond the gap does not ask again. */
	accept_texts(B(1, 2), 5, 0, 1, abc + 4);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 0), 0);
}

static void asks_again_with_backoff_and_elsewhere(void)
{
	uint64_t gaps[3], before;

	accept_texts(B(1, 2), 1, 0, 1, abc);
	accept_texts(B(1, 2), 4, 4, 1, abc + 3);
	check_asked(2, 2);
	for (unsigned i = 0; i < 3; i++) {
		before = h.now_ns;
		while (hand_count(&h, PAXOS_LEARN_REQUEST, 0) == 0) {
			accept_texts(B(1, 2), 1, 4, 0, NULL); /* the leader lives */
			hand_run(&h, 10 * HAND_MS);
			CHECK_TRUE(h.now_ns - before < 5000 * HAND_MS);
		}
		gaps[i] = h.now_ns - before;
		check_asked(i == 0 ? 3 : i == 1 ? 2 : 3, 2);
	}
	CHECK_TRUE(gaps[0] >= 100 * HAND_MS);
	CHECK_TRUE(gaps[1] > gaps[0] && gaps[2] > gaps[1]);
}

/* Entries on their way are not asked for: the leader sees in the answer what was lost. */
static void known_chosen_index_alone_asks_late(void)
{
	accept_texts(B(1, 2), 1, 3, 0, NULL);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 0), 0);
	hand_run(&h, 50 * HAND_MS);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 0), 0);
	hand_run(&h, 60 * HAND_MS);
	check_asked(2, 1);
}

static void progress_puts_it_off(void)
{
	accept_texts(B(1, 2), 1, 5, 0, NULL);
	for (unsigned i = 0; i < 4; i++) {
		hand_run(&h, 90 * HAND_MS);
		learn_texts(2, B(1, 2), i + 1, 5, 1, abc + i);
		accept_texts(B(1, 2), 1, 5, 0, NULL); /* the leader lives */
	}
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 0), 0);
	hand_run(&h, 110 * HAND_MS);
	check_asked(2, 5);
}

static void nothing_lacking_nothing_asked(void)
{
	accept_texts(B(1, 2), 1, 3, 3, abc);
	hand_persist(&h);
	hand_clear(&h);
	for (unsigned i = 0; i < 50; i++) {
		hand_run(&h, 20 * HAND_MS);
		accept_texts(B(1, 2), 4, 3, 0, NULL);
	}
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 0), 0);
}

/* ---- taking ---- */

static void learned_is_chosen_stored_and_acknowledged(void)
{
	accept_texts(B(1, 2), 1, 3, 0, NULL);
	hand_persist(&h);
	hand_clear(&h);
	learn_texts(2, B(1, 2), 1, 3, 3, abc);
	CHECK_STR_EQ(hand_chosen(&h, 1), "a");
	CHECK_STR_EQ(hand_chosen(&h, 3), "c");
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPTED, 2), 0);
	hand_persist(&h);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPTED, 2), 1);
	CHECK_U64_EQ(hand_status(&h).commit, 3);
}

static void learned_replaces_what_was_only_accepted(void)
{
	accept_texts(B(1, 2), 1, 0, 2, abc);
	accept_texts(B(3, 3), 1, 2, 0, NULL);
	CHECK_NULL(hand_chosen(&h, 1));
	learn_texts(3, B(2, 3), 1, 2, 1, abc + 4);
	CHECK_STR_EQ(hand_chosen(&h, 1), "e");
	CHECK_NULL(hand_chosen(&h, 2));
}

/* Invariant 5: a chosen value of a ballot above the promise raises the promise. */
static void learned_of_a_higher_ballot_raises_the_promise(void)
{
	accept_texts(B(1, 2), 1, 0, 1, abc);
	hand_persist(&h);
	hand_clear(&h);
	learn_texts(3, B(5, 3), 1, 1, 1, abc + 4);
	CHECK_U64_EQ(hand_status(&h).ballot, B(5, 3));
	accept_texts(B(1, 2), 2, 0, 1, abc + 1);
	CHECK_U64_EQ(hand_count(&h, PAXOS_REJECT, 2), 1);
	CHECK_U64_EQ(hand_status(&h).last, 1);
}

static void learned_beyond_a_gap_is_ignored(void)
{
	learn_texts(2, B(1, 2), 2, 3, 2, abc + 1);
	CHECK_U64_EQ(hand_status(&h).last, 0);
	/* and what the sender itself does not call chosen */
	learn_texts(2, B(1, 2), 1, 1, 2, abc);
	CHECK_U64_EQ(hand_status(&h).commit, 1);
	CHECK_U64_EQ(hand_status(&h).last, 1);
}

static void learned_survives_a_restart(void)
{
	learn_texts(2, B(4, 2), 1, 3, 3, abc);
	hand_persist(&h);
	hand_restart(&h, 0);
	CHECK_U64_EQ(hand_status(&h).last, 3);
	CHECK_U64_EQ(hand_status(&h).ballot, B(4, 2));
}

/* "A LEARN that shows it a value that it did not propose ends its reign." */
static void leader_shown_another_value_gives_up(void)
{
	hand_lead(&h);
	CHECK_OK(hand_propose(&h, "mine"));
	learn_texts(3, hand_status(&h).ballot + B(1, 0) + 1, 2, 2, 1, abc);
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
	CHECK_NULL(hand_chosen(&h, 2));
}

static void leader_shown_its_own_value_counts_on(void)
{
	struct paxos_message m = hand_message(&h, PAXOS_LEARN, 3);
	struct paxos_message sent;

	hand_lead(&h);
	CHECK_OK(hand_propose(&h, "mine"));
	hand_take(&h, PAXOS_ACCEPT, 3, &sent);
	m.first = 2;
	m.commit = 2;
	m.count = sent.count;
	m.entries = sent.entries;
	hand_recv(&h, &m);
	hand_drop(&sent);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_U64_EQ(hand_status(&h).commit, 1); /* it counts, it does not believe */
}

/* ---- giving ---- */

static void learn_request(uint32_t from, uint64_t first)
{
	struct paxos_message m = hand_message(&h, PAXOS_LEARN_REQUEST, from);

	m.first = first;
	hand_recv(&h, &m);
}

static void follower_gives_only_what_is_chosen(void)
{
	struct paxos_message m;

	accept_texts(B(1, 2), 1, 3, 5, abc);
	hand_clear(&h);
	learn_request(3, 2);
	hand_take(&h, PAXOS_LEARN, 3, &m);
	CHECK_U64_EQ(m.first, 2);
	CHECK_U64_EQ(m.count, 2);
	CHECK_U64_EQ(m.commit, 3);
	CHECK_FALSE(m.more);
	hand_drop(&m);
	learn_request(3, 4);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN, 3), 0);
}

/* What is applied may have left memory: it comes from the log. */
static void given_from_the_log(void)
{
	struct paxos_message m;
	struct paxos_event ev;

	hand_release(&h);
	hand_config(&h, 1, 3);
	h.cfg.cache_bytes = 0;
	hand_start(&h, 0, true);
	accept_texts(B(1, 2), 1, 3, 3, abc);
	hand_persist(&h);
	hand_apply(&h);
	hand_clear(&h);
	learn_request(3, 1);
	hand_take(&h, PAXOS_LEARN, 3, &m);
	CHECK_U64_EQ(m.count, 3);
	CHECK_SLICE_EQ(slice_of(m.entries[0]->data, m.entries[0]->len), slice_of("a", 1));
	hand_drop(&m);
	/* Damage there is told. */
	h.read_fault_slot = 2;
	m = hand_message(&h, PAXOS_LEARN_REQUEST, 3);
	m.first = 1;
	ev = (struct paxos_event){.kind = PAXOS_EV_MESSAGE, .message = &m};
	CHECK_ERR(hand_step(&h, &ev), ERR_CORRUPT);
}

static void behind_the_log_gets_its_start(void)
{
	struct paxos_message m;

	hand_release(&h);
	hand_config(&h, 1, 3);
	h.cfg.retain_bytes = 0;
	hand_start(&h, 0, true);
	accept_texts(B(1, 2), 1, 3, 3, abc);
	hand_persist(&h);
	hand_apply(&h);
	hand_event(&h, PAXOS_EV_DURABLE, 3);
	CHECK_U64_EQ(h.truncate_below, 4);
	hand_clear(&h);
	learn_request(3, 2);
	hand_take(&h, PAXOS_LEARN, 3, &m);
	CHECK_U64_EQ(m.count, 0);
	CHECK_U64_EQ(m.log_start, 4);
	CHECK_U64_EQ(m.first, 2);
	hand_drop(&m);
}

/* ---- snapshots ---- */

static void truncated_reply(uint32_t from, uint64_t log_start)
{
	struct paxos_message m = hand_message(&h, PAXOS_LEARN, from);

	m.first = 1;
	m.log_start = log_start;
	m.commit = log_start + 5;
	hand_recv(&h, &m);
}

static void snapshot_is_asked_for_once_in_a_while(void)
{
	accept_texts(B(1, 2), 1, 25, 0, NULL);
	truncated_reply(2, 20);
	CHECK_U64_EQ(h.snapshot_from, 2);
	truncated_reply(2, 20);
	CHECK_U64_EQ(h.snapshot_from, 0);
	h.now_ns += 2 * h.cfg.timing.suspect_max;
	truncated_reply(3, 20);
	CHECK_U64_EQ(h.snapshot_from, 3);
}

static void no_snapshot_when_the_log_reaches(void)
{
	truncated_reply(2, 1);
	CHECK_U64_EQ(h.snapshot_from, 0);
}

static void goes_on_behind_a_snapshot(void)
{
	accept_texts(B(1, 2), 1, 25, 0, NULL);
	truncated_reply(2, 20);
	hand_event(&h, PAXOS_EV_SNAPSHOT_INSTALLED, 24);
	CHECK_U64_EQ(hand_status(&h).commit, 24);
	CHECK_U64_EQ(hand_status(&h).applied, 24);
	CHECK_U64_EQ(hand_status(&h).log_start, 25);
	CHECK_U64_EQ(h.truncate_below, 25);
	learn_texts(2, B(1, 2), 25, 25, 1, abc);
	CHECK_STR_EQ(hand_chosen(&h, 25), "a");
}

/* Invariant 5: a snapshot has no ballots, so nothing of it is reported beyond what the leader
 * itself calls chosen. */
static void snapshot_does_not_vouch_at_an_old_ballot(void)
{
	struct paxos_message m;

	accept_texts(B(1, 2), 1, 0, 0, NULL);
	hand_persist(&h);
	hand_event(&h, PAXOS_EV_SNAPSHOT_INSTALLED, 24);
	hand_clear(&h);
	accept_texts(B(1, 2), 1, 10, 0, NULL); /* this leader knows less */
	hand_take(&h, PAXOS_ACCEPTED, 2, &m);
	CHECK_U64_EQ(m.last, 10);
	accept_texts(B(1, 2), 1, 24, 0, NULL);
	hand_take(&h, PAXOS_ACCEPTED, 2, &m);
	CHECK_U64_EQ(m.last, 24);
}

static void old_snapshot_changes_nothing(void)
{
	accept_texts(B(1, 2), 1, 5, 5, abc);
	hand_persist(&h);
	hand_apply(&h);
	hand_event(&h, PAXOS_EV_SNAPSHOT_INSTALLED, 3);
	CHECK_U64_EQ(hand_status(&h).applied, 5);
	CHECK_U64_EQ(hand_status(&h).log_start, 1);
}

/* What was accepted above it stays: it may be part of a majority. */
static void snapshot_keeps_what_lies_above(void)
{
	struct paxos_message m;

	accept_texts(B(1, 2), 1, 0, 5, abc);
	hand_persist(&h);
	hand_event(&h, PAXOS_EV_SNAPSHOT_INSTALLED, 3);
	CHECK_U64_EQ(hand_status(&h).last, 5);
	h.now_ns += 300 * HAND_MS;
	m = hand_message(&h, PAXOS_PREPARE, 3);
	m.ballot = B(2, 3);
	m.first = 1;
	hand_recv(&h, &m);
	hand_persist(&h);
	hand_take(&h, PAXOS_PROMISE, 3, &m);
	CHECK_U64_EQ(m.first, 4);
	CHECK_U64_EQ(m.count, 2);
	CHECK_U64_EQ(m.commit, 3);
	hand_drop(&m);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, gap_is_asked_for_at_once),
	CHECK_TEST_WITH(setup, teardown, asks_again_with_backoff_and_elsewhere),
	CHECK_TEST_WITH(setup, teardown, known_chosen_index_alone_asks_late),
	CHECK_TEST_WITH(setup, teardown, progress_puts_it_off),
	CHECK_TEST_WITH(setup, teardown, nothing_lacking_nothing_asked),
	CHECK_TEST_WITH(setup, teardown, learned_is_chosen_stored_and_acknowledged),
	CHECK_TEST_WITH(setup, teardown, learned_replaces_what_was_only_accepted),
	CHECK_TEST_WITH(setup, teardown, learned_of_a_higher_ballot_raises_the_promise),
	CHECK_TEST_WITH(setup, teardown, learned_beyond_a_gap_is_ignored),
	CHECK_TEST_WITH(setup, teardown, learned_survives_a_restart),
	CHECK_TEST_WITH(setup, teardown, leader_shown_another_value_gives_up),
	CHECK_TEST_WITH(setup, teardown, leader_shown_its_own_value_counts_on),
	CHECK_TEST_WITH(setup, teardown, follower_gives_only_what_is_chosen),
	CHECK_TEST_WITH(setup, teardown, given_from_the_log),
	CHECK_TEST_WITH(setup, teardown, behind_the_log_gets_its_start),
	CHECK_TEST_WITH(setup, teardown, snapshot_is_asked_for_once_in_a_while),
	CHECK_TEST_WITH(setup, teardown, no_snapshot_when_the_log_reaches),
	CHECK_TEST_WITH(setup, teardown, goes_on_behind_a_snapshot),
	CHECK_TEST_WITH(setup, teardown, snapshot_does_not_vouch_at_an_old_ballot),
	CHECK_TEST_WITH(setup, teardown, old_snapshot_changes_nothing),
	CHECK_TEST_WITH(setup, teardown, snapshot_keeps_what_lies_above),
};

CHECK_MAIN(tests)
