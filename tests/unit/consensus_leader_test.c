/* The leader: propose, stream, choose, retransmit, give up. Its followers are played by hand. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

static struct hand h;

static void setup(void)
{
	hand_init(&h, 1, 3);
	hand_lead(&h);
}

static void setup_five(void)
{
	hand_init(&h, 1, 5);
	hand_lead(&h);
}

static void setup_one(void)
{
	hand_init(&h, 1, 1);
}

static void teardown(void)
{
	hand_release(&h);
}

static void check_accept(uint32_t to, uint64_t first, uint32_t count, uint64_t commit)
{
	struct paxos_message m;

	hand_take(&h, PAXOS_ACCEPT, to, &m);
	CHECK_U64_EQ(m.first, first);
	CHECK_U64_EQ(m.count, count);
	CHECK_U64_EQ(m.commit, commit);
	CHECK_U64_EQ(m.ballot, hand_status(&h).ballot);
	hand_drop(&m);
}

/* ---- proposing ---- */

/* In parallel with the own disk write, and to everybody. */
static void proposal_leaves_in_its_own_step(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	CHECK_U64_EQ(h.proposed_slot, 2); /* 1 is the no-op that opened the reign */
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 0), 2);
	check_accept(2, 2, 1, 1);
	check_accept(3, 2, 1, 1);
	CHECK_NOT_NULL(h.disk[h.disk_count - 1].entry);
	CHECK_U64_EQ(h.disk[h.disk_count - 1].entry->slot, 2);
	CHECK_U64_EQ(h.disk[h.disk_count - 1].entry->clock_ns, h.wall_ns);
	CHECK_U64_EQ(h.disk[h.disk_count - 1].entry->chosen, 1);
}

static void proposals_pipeline(void)
{
	for (unsigned i = 0; i < 5; i++)
		CHECK_OK(hand_propose(&h, "x"));
	CHECK_U64_EQ(hand_status(&h).commit, 1);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 2), 5);
	hand_persist(&h);
	hand_ack(&h, 2, 4);
	CHECK_U64_EQ(hand_status(&h).commit, 4);
	hand_ack(&h, 3, 6);
	CHECK_U64_EQ(hand_status(&h).commit, 6);
	CHECK_STR_EQ(hand_chosen(&h, 6), "x");
}

static void commit_index_rides_on_the_next_accept(void)
{
	CHECK_OK(hand_propose(&h, "a"));
	hand_persist(&h);
	hand_clear(&h);
	hand_ack(&h, 2, 2);
	CHECK_U64_EQ(h.out_count, 0);
	CHECK_OK(hand_propose(&h, "b"));
	check_accept(2, 3, 1, 2);
	hand_clear(&h);
	hand_run(&h, 20 * HAND_MS);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 0), 0); /* it has been told */
}

static void commit_index_comes_soon_when_nothing_follows(void)
{
	CHECK_OK(hand_propose(&h, "a"));
	hand_persist(&h);
	hand_ack(&h, 2, 2);
	hand_clear(&h);
	hand_run(&h, 6 * HAND_MS);
	check_accept(2, 3, 0, 2);
	check_accept(3, 3, 0, 2);
	CHECK_U64_EQ(h.out_count, 0);
}

static void not_a_leader_proposes_nothing(void)
{
	hand_release(&h);
	hand_init(&h, 1, 3);
	CHECK_ERR(hand_propose(&h, "x"), ERR_NOT_LEADER);
	CHECK_U64_EQ(h.disk_count, 0);
}

static void window_in_slots(void)
{
	for (unsigned i = 0; i < PAXOS_WINDOW_SLOTS_MAX; i++)
		CHECK_OK(hand_propose(&h, "x"));
	CHECK_U64_EQ(hand_status(&h).window_slots, PAXOS_WINDOW_SLOTS_MAX);
	CHECK_ERR(hand_propose(&h, "x"), ERR_BUSY);
	CHECK_U64_EQ(hand_status(&h).window_slots, PAXOS_WINDOW_SLOTS_MAX);
	hand_persist(&h);
	hand_ack(&h, 2, 2);
	CHECK_OK(hand_propose(&h, "x"));
	CHECK_ERR(hand_propose(&h, "x"), ERR_BUSY);
}

static void window_in_bytes(void)
{
	static char big[ENTRY_SIZE_MAX + 2];
	unsigned n = 0;
	int err;

	memset(big, 'x', sizeof(big) - 1);
	CHECK_ERR(hand_propose(&h, big), ERR_TOO_BIG);
	big[ENTRY_SIZE_MAX] = 0;
	while ((err = hand_propose(&h, big)) == 0)
		n++;
	CHECK_ERR(err, ERR_BUSY);
	CHECK_U64_EQ(n, PAXOS_WINDOW_BYTES_MAX / ENTRY_SIZE_MAX - 1);
	CHECK_TRUE(hand_status(&h).window_bytes <= PAXOS_WINDOW_BYTES_MAX);
}

static void without_memory_nothing_is_proposed(void)
{
	mem_fail_nth(1);
	CHECK_ERR(hand_propose(&h, "x"), ERR_NOMEM);
	mem_fail_nth(0);
	CHECK_U64_EQ(hand_status(&h).last, 1);
	CHECK_OK(hand_propose(&h, "x"));
	CHECK_U64_EQ(h.proposed_slot, 2);
}

/* ---- choosing ---- */

static void own_disk_is_part_of_the_majority(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	hand_ack(&h, 2, 2);
	CHECK_U64_EQ(hand_status(&h).commit, 1); /* one of three */
	hand_persist(&h);
	CHECK_U64_EQ(hand_status(&h).commit, 2);
}

static void others_are_a_majority_without_the_own_disk(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	hand_ack(&h, 2, 2);
	hand_ack(&h, 3, 2);
	CHECK_U64_EQ(hand_status(&h).commit, 2);
	CHECK_STR_EQ(hand_chosen(&h, 2), "x");
}

static void one_peer_twice_is_no_majority(void)
{
	hand_release(&h);
	setup_five();
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	hand_ack(&h, 2, 2);
	hand_ack(&h, 2, 2);
	CHECK_U64_EQ(hand_status(&h).commit, 1);
	hand_ack(&h, 5, 2);
	CHECK_U64_EQ(hand_status(&h).commit, 2);
}

static void answers_to_another_ballot_do_not_count(void)
{
	struct paxos_message m;

	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	m = hand_message(&h, PAXOS_ACCEPTED, 2);
	m.ballot = hand_status(&h).ballot + PAXOS_BALLOT(1, 0);
	m.last = 2;
	m.first = 3;
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).commit, 1);
}

static void impossible_answers_do_not_count(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	hand_ack_full(&h, 2, 9, 10, h.now_ns, 0);     /* beyond what was proposed */
	hand_ack_full(&h, 2, 2, 2, h.now_ns, 0);      /* lacks what it has */
	hand_ack_full(&h, 2, 2, 3, h.now_ns + 1, 0);  /* echo of the future */
	hand_ack_full(&h, 2, 2, 3, h.now_ns, 1000);   /* of a round that never was */
	CHECK_U64_EQ(hand_status(&h).commit, 1);
	CHECK_TRUE(hand_status(&h).dropped >= 3);
}

static void group_of_one(void)
{
	hand_run(&h, 10 * HAND_MS);
	hand_persist(&h);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	hand_persist(&h);
	hand_apply(&h);
	CHECK_TRUE(hand_status(&h).serving);
	CHECK_OK(hand_propose(&h, "x"));
	CHECK_NULL(hand_chosen(&h, 2));
	hand_persist(&h);
	CHECK_STR_EQ(hand_chosen(&h, 2), "x");
	CHECK_OK(hand_read(&h, 5));
	CHECK_U64_EQ(h.read_count, 1);
	CHECK_U64_EQ(h.reads[0].slot, 2);
	CHECK_OK(h.reads[0].err);
	hand_run(&h, 5000 * HAND_MS);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_U64_EQ(paxos_next_deadline(h.p), UINT64_MAX);
	CHECK_U64_EQ(h.out_count, 0);
}

static void reign_waits_for_memory(void)
{
	hand_run(&h, 10 * HAND_MS);
	mem_fail_nth(1);
	hand_persist(&h); /* of its promise: it would lead now */
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
	CHECK_U64_EQ(hand_status(&h).last, 0);
	mem_fail_nth(2);
	hand_run(&h, h.cfg.timing.retransmit);
	CHECK_TRUE(hand_is(&h, PAXOS_CANDIDATE));
	CHECK_U64_EQ(hand_status(&h).last, 0); /* half of it was made, nothing proposed */
	mem_fail_nth(0);
	hand_run(&h, h.cfg.timing.retransmit);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_U64_EQ(hand_status(&h).last, 1);
}

/* ---- what was lost is sent again, and only that ---- */

static void lost_accept_is_sent_again(void)
{
	uint64_t sent_ns;

	CHECK_OK(hand_propose(&h, "x"));
	CHECK_OK(hand_propose(&h, "y"));
	sent_ns = h.now_ns;
	hand_clear(&h); /* both lost */
	/* An answer to something earlier proves nothing. */
	hand_ack_full(&h, 2, 1, 2, sent_ns, 0);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 2), 0);
	hand_run(&h, h.cfg.timing.heartbeat);
	check_accept(2, 4, 0, 1);
	hand_ack_full(&h, 2, 1, 2, h.now_ns, 0);
	check_accept(2, 2, 2, 1);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 2), 0);
}

static void what_is_chosen_goes_as_learn(void)
{
	struct paxos_message m;

	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	hand_clear(&h);
	hand_ack(&h, 2, 2);
	CHECK_OK(hand_propose(&h, "y"));
	hand_clear(&h);
	m = hand_message(&h, PAXOS_LEARN_REQUEST, 3);
	m.first = 2;
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_LEARN, 3, &m);
	CHECK_U64_EQ(m.first, 2);
	CHECK_U64_EQ(m.count, 1);
	CHECK_U64_EQ(m.commit, 2);
	hand_drop(&m);
	check_accept(3, 3, 1, 2);
}

static void silent_follower_gets_heartbeats_only(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	for (unsigned i = 0; i < 20; i++) {
		hand_run(&h, 50 * HAND_MS);
		hand_ack(&h, 2, hand_status(&h).last);
	}
	hand_clear(&h);
	CHECK_OK(hand_propose(&h, "y"));
	check_accept(2, 3, 1, 2);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 3), 0);
	hand_run(&h, h.cfg.timing.heartbeat);
	CHECK_TRUE(hand_count(&h, PAXOS_ACCEPT, 3) > 0);
	hand_clear(&h);
	/* It is back, and gets all that it lacks. */
	hand_ack_full(&h, 3, 1, 2, h.now_ns, 0);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN, 3), 1);
	check_accept(3, 3, 1, 2);
}

/* "a lagging follower": no more than two pages of it are on their way. */
static void catch_up_in_pages(void)
{
	static char big[600 * 1024];
	struct paxos_message m;
	uint64_t got = 1;
	unsigned pages = 0;

	memset(big, 'x', sizeof(big) - 1);
	for (unsigned i = 0; i < 12; i++) {
		CHECK_OK(hand_propose(&h, big));
		hand_persist(&h);
		hand_ack(&h, 2, hand_status(&h).last);
		hand_apply(&h);
	}
	hand_clear(&h);
	m = hand_message(&h, PAXOS_LEARN_REQUEST, 3);
	m.first = 2;
	hand_recv(&h, &m);
	while (got < hand_status(&h).last) {
		CHECK_TRUE(hand_count(&h, PAXOS_LEARN, 3) <= 2);
		hand_take(&h, PAXOS_LEARN, 3, &m);
		CHECK_U64_EQ(m.first, got + 1);
		CHECK_U64_EQ(m.count, 2);
		got = m.first + m.count - 1;
		CHECK_U64_EQ(m.more, got < 13);
		hand_drop(&m);
		hand_ack_full(&h, 3, got, got + 1, 0, 0);
		pages++;
	}
	CHECK_U64_EQ(pages, 6);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN, 3), 0);
}

/* ---- giving up ---- */

static void steps_down_when_a_majority_is_silent(void)
{
	uint64_t since = h.now_ns;

	while (hand_is(&h, PAXOS_LEADER) && h.now_ns - since < 5000 * HAND_MS)
		hand_run(&h, 10 * HAND_MS);
	CHECK_TRUE(h.now_ns - since >= h.cfg.timing.suspect_max);
	CHECK_TRUE(h.now_ns - since <= h.cfg.timing.suspect_max + 20 * HAND_MS);
	CHECK_ERR(hand_propose(&h, "x"), ERR_NOT_LEADER);
	/* It stands back: others go first. */
	hand_clear(&h);
	hand_run(&h, h.cfg.timing.suspect_max - 30 * HAND_MS);
	CHECK_U64_EQ(hand_count(&h, PAXOS_PREVOTE, 0), 0);
	hand_run(&h, 2000 * HAND_MS);
	CHECK_TRUE(hand_count(&h, PAXOS_PREVOTE, 0) > 0);
}

static void one_of_two_followers_suffices(void)
{
	for (unsigned i = 0; i < 100; i++) {
		hand_run(&h, 50 * HAND_MS);
		hand_ack(&h, 3, 1);
		hand_clear(&h);
	}
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
}

static void hands_over_when_its_disk_hangs(void)
{
	struct paxos_message m;
	paxos_ballot ballot = hand_status(&h).ballot;

	CHECK_OK(hand_propose(&h, "x"));
	for (unsigned i = 0; i < 60 && hand_is(&h, PAXOS_LEADER); i++) {
		hand_ack(&h, 2, 2);
		hand_ack(&h, 3, 2);
		hand_clear(&h);
		hand_run(&h, 10 * HAND_MS);
	}
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
	hand_take(&h, PAXOS_TIMEOUT_NOW, 0, &m);
	CHECK_U64_EQ(m.token, ballot);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

static void stays_when_the_others_are_no_faster(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	for (unsigned i = 0; i < 200; i++) {
		hand_ack(&h, 2, 2);
		hand_ack(&h, 3, 1);
		hand_clear(&h);
		hand_run(&h, 10 * HAND_MS);
	}
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
}

static void hands_over_when_apply_hangs(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	hand_ack(&h, 2, 2);
	for (unsigned i = 0; i < 60 && hand_is(&h, PAXOS_LEADER); i++) {
		hand_ack(&h, 2, 2); /* commit = applied = 2 in it */
		hand_ack(&h, 3, 2);
		hand_clear(&h);
		hand_run(&h, 10 * HAND_MS);
	}
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
}

static void higher_ballot_ends_the_reign(void)
{
	struct paxos_message m = hand_message(&h, PAXOS_REJECT, 2);

	CHECK_OK(hand_read(&h, 1));
	m.ballot = hand_status(&h).ballot;
	m.promised = m.ballot + PAXOS_BALLOT(1, 0) + 1;
	hand_recv(&h, &m);
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
	CHECK_TRUE(h.role_changed);
	CHECK_ERR(hand_propose(&h, "x"), ERR_NOT_LEADER);
}

/* A ballot that has led proposes nothing any more, even if the node leads again at once. */
static void next_reign_has_a_new_ballot(void)
{
	paxos_ballot before = hand_status(&h).ballot;

	CHECK_OK(hand_propose(&h, "open"));
	hand_persist(&h);
	hand_run(&h, h.cfg.timing.suspect_max + 20 * HAND_MS);
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
	hand_clear(&h);
	hand_lead(&h);
	CHECK_TRUE(hand_status(&h).ballot > before);
	/* What was open is proposed anew, then the no-op. */
	CHECK_STR_EQ(hand_chosen(&h, 2), "open");
	CHECK_STR_EQ(hand_chosen(&h, 3), "");
	CHECK_U64_EQ(h.chosen[2]->ballot, hand_status(&h).ballot);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, proposal_leaves_in_its_own_step),
	CHECK_TEST_WITH(setup, teardown, proposals_pipeline),
	CHECK_TEST_WITH(setup, teardown, commit_index_rides_on_the_next_accept),
	CHECK_TEST_WITH(setup, teardown, commit_index_comes_soon_when_nothing_follows),
	CHECK_TEST_WITH(setup, teardown, not_a_leader_proposes_nothing),
	CHECK_TEST_WITH(setup, teardown, window_in_slots),
	CHECK_TEST_WITH(setup, teardown, window_in_bytes),
	CHECK_TEST_WITH(setup, teardown, without_memory_nothing_is_proposed),
	CHECK_TEST_WITH(setup, teardown, own_disk_is_part_of_the_majority),
	CHECK_TEST_WITH(setup, teardown, others_are_a_majority_without_the_own_disk),
	CHECK_TEST_WITH(setup, teardown, one_peer_twice_is_no_majority),
	CHECK_TEST_WITH(setup, teardown, answers_to_another_ballot_do_not_count),
	CHECK_TEST_WITH(setup, teardown, impossible_answers_do_not_count),
	CHECK_TEST_WITH(setup_one, teardown, group_of_one),
	CHECK_TEST_WITH(setup_one, teardown, reign_waits_for_memory),
	CHECK_TEST_WITH(setup, teardown, lost_accept_is_sent_again),
	CHECK_TEST_WITH(setup, teardown, what_is_chosen_goes_as_learn),
	CHECK_TEST_WITH(setup, teardown, silent_follower_gets_heartbeats_only),
	CHECK_TEST_WITH(setup, teardown, catch_up_in_pages),
	CHECK_TEST_WITH(setup, teardown, steps_down_when_a_majority_is_silent),
	CHECK_TEST_WITH(setup, teardown, one_of_two_followers_suffices),
	CHECK_TEST_WITH(setup, teardown, hands_over_when_its_disk_hangs),
	CHECK_TEST_WITH(setup, teardown, stays_when_the_others_are_no_faster),
	CHECK_TEST_WITH(setup, teardown, hands_over_when_apply_hangs),
	CHECK_TEST_WITH(setup, teardown, higher_ballot_ends_the_reign),
	CHECK_TEST_WITH(setup, teardown, next_reign_has_a_new_ballot),
};

CHECK_MAIN(tests)
