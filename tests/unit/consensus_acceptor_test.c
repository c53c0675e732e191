/* The acceptor's rules, and that nothing is answered before it is on disk. */
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

static struct paxos_message prepare(paxos_ballot b, uint64_t first)
{
	struct paxos_message m = hand_message(&h, PAXOS_PREPARE, PAXOS_BALLOT_NODE(b));

	m.ballot = b;
	m.first = first;
	return m;
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

static void accept_one(paxos_ballot b, uint64_t slot, uint64_t commit, const char *text)
{
	accept_texts(b, slot, commit, 1, &text);
}

static void heartbeat(paxos_ballot b, uint64_t commit)
{
	accept_texts(b, 1, commit, 0, NULL);
}

static void check_accepted(uint32_t to, uint64_t last, uint64_t first)
{
	struct paxos_message m;

	hand_take(&h, PAXOS_ACCEPTED, to, &m);
	CHECK_U64_EQ(m.last, last);
	CHECK_U64_EQ(m.first, first);
	hand_drop(&m);
}

/* ---- promises ---- */

static void promise_waits_for_the_disk(void)
{
	struct paxos_message m = prepare(B(1, 2), 1);

	hand_recv(&h, &m);
	CHECK_U64_EQ(h.disk_count, 1);
	CHECK_TRUE(h.disk[0].promise);
	CHECK_U64_EQ(h.disk[0].ballot, B(1, 2));
	CHECK_U64_EQ(h.out_count, 0);
	hand_persist(&h);
	hand_take(&h, PAXOS_PROMISE, 2, &m);
	CHECK_U64_EQ(m.ballot, B(1, 2));
	CHECK_U64_EQ(m.page, 1);
	CHECK_U64_EQ(m.count, 0);
	CHECK_FALSE(m.more);
	hand_drop(&m);
}

static void lower_ballot_is_rejected(void)
{
	struct paxos_message m = prepare(B(5, 2), 1);

	hand_recv(&h, &m);
	hand_persist(&h);
	hand_clear(&h);
	m = prepare(B(4, 3), 1);
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_REJECT, 3, &m);
	CHECK_U64_EQ(m.ballot, B(4, 3));
	CHECK_U64_EQ(m.promised, B(5, 2));
	CHECK_U64_EQ(h.disk_count, 1);
	accept_one(B(4, 3), 1, 0, "stale");
	hand_take(&h, PAXOS_REJECT, 3, &m);
	CHECK_U64_EQ(m.promised, B(5, 2));
	CHECK_U64_EQ(h.disk_count, 1);
	CHECK_U64_EQ(hand_status(&h).last, 0);
}

static void higher_prepare_supersedes_a_held_one(void)
{
	struct paxos_message m = prepare(B(1, 2), 1);

	hand_recv(&h, &m);
	m = prepare(B(2, 3), 1);
	hand_recv(&h, &m);
	hand_persist(&h);
	CHECK_U64_EQ(hand_count(&h, PAXOS_PROMISE, 2), 0);
	CHECK_U64_EQ(hand_count(&h, PAXOS_PROMISE, 3), 1);
}

static void promise_carries_what_was_accepted(void)
{
	static const char *const texts[] = {"a", "b", "c"};
	struct paxos_message m;

	accept_texts(B(1, 2), 1, 1, 3, texts);
	hand_persist(&h);
	hand_clear(&h);
	h.now_ns += 300 * HAND_MS; /* the lease promise is over */
	m = prepare(B(2, 3), 1);
	hand_recv(&h, &m);
	hand_persist(&h);
	hand_take(&h, PAXOS_PROMISE, 3, &m);
	/* Slot 1 is chosen: the candidate learns it; 2 and 3 are only accepted. */
	CHECK_U64_EQ(m.commit, 1);
	CHECK_U64_EQ(m.first, 2);
	CHECK_U64_EQ(m.count, 2);
	CHECK_U64_EQ(m.entries[0]->slot, 2);
	CHECK_U64_EQ(m.entries[0]->ballot, B(1, 2));
	CHECK_SLICE_EQ(slice_of(m.entries[1]->data, m.entries[1]->len), slice_of("c", 1));
	hand_drop(&m);
}

static void promise_in_pages(void)
{
	static char big[400 * 1024];
	struct paxos_message m;
	uint64_t next = 1;
	unsigned pages = 0;

	memset(big, 'x', sizeof(big) - 1);
	for (uint64_t slot = 1; slot <= 7; slot++)
		accept_one(B(1, 2), slot, 0, big);
	hand_persist(&h);
	h.now_ns += 300 * HAND_MS;
	for (bool more = true; more; pages++) {
		m = prepare(B(2, 3), next);
		hand_recv(&h, &m);
		hand_persist(&h);
		hand_take(&h, PAXOS_PROMISE, 3, &m);
		CHECK_U64_EQ(m.page, next);
		CHECK_U64_EQ(m.first, next);
		CHECK_TRUE(m.count > 0 && m.count <= 3); /* a page is 1 MiB */
		next += m.count;
		more = m.more;
		hand_drop(&m);
	}
	CHECK_U64_EQ(next, 8);
	CHECK_U64_EQ(pages, 3);
}

static void lease_promise_bars_others(void)
{
	struct paxos_message m;

	heartbeat(B(1, 2), 0);
	hand_persist(&h);
	hand_clear(&h);
	m = prepare(B(2, 3), 1);
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_REJECT, 3, &m);
	CHECK_U64_EQ(m.span_ns, h.cfg.timing.lease);
	CHECK_U64_EQ(hand_status(&h).ballot, B(1, 2));
	/* not against the node that has it */
	m = prepare(B(3, 2), 1);
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).ballot, B(3, 2));
}

static void token_waives_the_lease_promise(void)
{
	struct paxos_message m;

	heartbeat(B(1, 2), 0);
	hand_persist(&h);
	hand_clear(&h);
	m = prepare(B(2, 3), 1);
	m.token = B(1, 1); /* a token of some other ballot is worth nothing */
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_count(&h, PAXOS_REJECT, 3), 1);
	m.token = B(1, 2);
	hand_recv(&h, &m);
	hand_persist(&h);
	CHECK_U64_EQ(hand_count(&h, PAXOS_PROMISE, 3), 1);
}

static void restarted_promises_nothing_for_a_lease(void)
{
	struct paxos_message m;

	hand_restart(&h, 0);
	m = prepare(B(1, 2), 1);
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_REJECT, 2, &m);
	CHECK_U64_EQ(m.span_ns, h.cfg.timing.lease);
	h.now_ns += h.cfg.timing.lease;
	m = prepare(B(1, 2), 1);
	hand_recv(&h, &m);
	hand_persist(&h);
	CHECK_U64_EQ(hand_count(&h, PAXOS_PROMISE, 2), 1);
}

/* ---- accepting ---- */

static void accepted_waits_for_the_disk(void)
{
	accept_one(B(1, 2), 1, 0, "a");
	CHECK_U64_EQ(h.disk_count, 2); /* the ballot was new: its promise, then the entry */
	CHECK_TRUE(h.disk[0].promise);
	CHECK_FALSE(h.disk[1].promise);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPTED, 2), 0);
	hand_persist(&h);
	check_accepted(2, 1, 2);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPTED, 2), 0);
}

static void synced_in_part(void)
{
	uint64_t seq;

	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	hand_clear(&h);
	accept_one(B(1, 2), 2, 0, "b");
	seq = h.seq;
	accept_one(B(1, 2), 3, 0, "c");
	CHECK_U64_EQ(h.out_count, 0);
	hand_event(&h, PAXOS_EV_PERSISTED, seq);
	check_accepted(2, 2, 4); /* holds 3, but not on disk */
	hand_persist(&h);
	check_accepted(2, 3, 4);
}

static void heartbeat_is_answered_at_once(void)
{
	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	hand_clear(&h);
	accept_one(B(1, 2), 2, 0, "b");
	heartbeat(B(1, 2), 0);
	check_accepted(2, 1, 3); /* what is on disk; what it lacks next */
}

/* "A slow disk MUST NOT stop heartbeats": the leader has no other sign of life, and no lease. */
static void slow_disk_does_not_silence(void)
{
	struct paxos_message m;
	unsigned answers = 0;

	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	hand_clear(&h);
	for (uint64_t slot = 2; slot <= 21; slot++) {
		h.now_ns += 10 * HAND_MS;
		accept_one(B(1, 2), slot, 0, "x");
		while (hand_count(&h, PAXOS_ACCEPTED, 2) > 0) {
			hand_take(&h, PAXOS_ACCEPTED, 2, &m);
			CHECK_U64_EQ(m.last, 1); /* nothing more is on disk */
			CHECK_U64_EQ(m.first, slot + 1);
			CHECK_U64_EQ(m.echo_ns, h.now_ns);
			answers++;
		}
	}
	CHECK_U64_EQ(answers, 200 * HAND_MS / h.cfg.timing.heartbeat);
}

static void same_slot_twice_is_stored_once(void)
{
	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	accept_one(B(1, 2), 1, 0, "a");
	CHECK_U64_EQ(h.disk_count, 2);
	CHECK_U64_EQ(hand_status(&h).last, 1);
}

static void gap_is_not_stored(void)
{
	accept_one(B(1, 2), 1, 0, "a");
	hand_persist(&h);
	hand_clear(&h);
	accept_one(B(1, 2), 3, 0, "c");
	CHECK_U64_EQ(hand_status(&h).last, 1);
	CHECK_U64_EQ(h.disk_count, 2);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN_REQUEST, 2), 1);
}

static void higher_ballot_replaces(void)
{
	accept_one(B(1, 2), 1, 0, "old");
	accept_one(B(1, 2), 2, 0, "old2");
	hand_persist(&h);
	accept_one(B(2, 3), 1, 0, "new");
	hand_persist(&h);
	CHECK_U64_EQ(hand_status(&h).last, 2);
	heartbeat(B(2, 3), 1);
	CHECK_STR_EQ(hand_chosen(&h, 1), "new");
	CHECK_NULL(hand_chosen(&h, 2));
}

/* ---- "chosen is not the same as accepted" ---- */

static void commit_index_covers_only_its_own_ballot(void)
{
	accept_one(B(1, 2), 1, 0, "of an old ballot");
	hand_persist(&h);
	hand_clear(&h);
	/* The leader of a higher ballot has chosen slot 1, maybe with another value. */
	heartbeat(B(2, 3), 1);
	CHECK_NULL(hand_chosen(&h, 1));
	CHECK_U64_EQ(hand_status(&h).commit, 0);
	hand_persist(&h);
	check_accepted(3, 0, 1); /* it does not vouch for slot 1 either */
	accept_one(B(2, 3), 1, 1, "chosen");
	CHECK_STR_EQ(hand_chosen(&h, 1), "chosen");
}

static void chosen_before_it_is_on_disk_here(void)
{
	accept_one(B(1, 2), 1, 1, "a");
	/* A majority of others has it: it may be applied, and is not acknowledged. */
	CHECK_STR_EQ(hand_chosen(&h, 1), "a");
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPTED, 2), 0);
}

static void chosen_slot_is_never_accepted_again(void)
{
	size_t records;

	accept_one(B(1, 2), 1, 1, "chosen");
	hand_persist(&h);
	hand_apply(&h);
	hand_clear(&h);
	records = h.disk_count;
	accept_one(B(2, 3), 1, 0, "another");
	CHECK_U64_EQ(h.disk_count, records + 1); /* the promise of the new ballot only */
	CHECK_TRUE(h.disk[records].promise);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN, 3), 1); /* it is told what was chosen */
}

static void echo_is_of_the_present_leader(void)
{
	struct paxos_message m = hand_message(&h, PAXOS_ACCEPT, 2);

	m.ballot = B(1, 2);
	m.first = 1;
	m.send_ns = 1ull << 50;
	m.round = 900;
	hand_recv(&h, &m);
	hand_persist(&h);
	hand_clear(&h);
	m = hand_message(&h, PAXOS_ACCEPT, 3);
	m.ballot = B(2, 3);
	m.first = 1;
	m.send_ns = 5;
	m.round = 1;
	hand_recv(&h, &m);
	hand_persist(&h);
	hand_take(&h, PAXOS_ACCEPTED, 3, &m);
	CHECK_U64_EQ(m.echo_ns, 5);
	CHECK_U64_EQ(m.round, 1);
}

/* ---- nonsense ---- */

static void nonsense_is_dropped(void)
{
	struct paxos_message m;
	uint64_t dropped = 0;

	m = prepare(B(1, 2), 1);
	m.epoch++;
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).dropped, ++dropped);
	m = prepare(B(1, 2), 1);
	m.group++;
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).dropped, ++dropped);
	m = prepare(B(1, 2), 1);
	m.from = 9; /* no member */
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).dropped, ++dropped);
	m = prepare(B(1, 2), 1);
	m.from = 3; /* a ballot of somebody else */
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).dropped, ++dropped);
	m = prepare(B(1ull << 41, 2), 1);
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).dropped, ++dropped);
	CHECK_U64_EQ(hand_status(&h).ballot, 0);
	CHECK_U64_EQ(h.disk_count, 0);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, promise_waits_for_the_disk),
	CHECK_TEST_WITH(setup, teardown, lower_ballot_is_rejected),
	CHECK_TEST_WITH(setup, teardown, higher_prepare_supersedes_a_held_one),
	CHECK_TEST_WITH(setup, teardown, promise_carries_what_was_accepted),
	CHECK_TEST_WITH(setup, teardown, promise_in_pages),
	CHECK_TEST_WITH(setup, teardown, lease_promise_bars_others),
	CHECK_TEST_WITH(setup, teardown, token_waives_the_lease_promise),
	CHECK_TEST_WITH(setup, teardown, restarted_promises_nothing_for_a_lease),
	CHECK_TEST_WITH(setup, teardown, accepted_waits_for_the_disk),
	CHECK_TEST_WITH(setup, teardown, synced_in_part),
	CHECK_TEST_WITH(setup, teardown, heartbeat_is_answered_at_once),
	CHECK_TEST_WITH(setup, teardown, slow_disk_does_not_silence),
	CHECK_TEST_WITH(setup, teardown, same_slot_twice_is_stored_once),
	CHECK_TEST_WITH(setup, teardown, gap_is_not_stored),
	CHECK_TEST_WITH(setup, teardown, higher_ballot_replaces),
	CHECK_TEST_WITH(setup, teardown, commit_index_covers_only_its_own_ballot),
	CHECK_TEST_WITH(setup, teardown, chosen_before_it_is_on_disk_here),
	CHECK_TEST_WITH(setup, teardown, chosen_slot_is_never_accepted_again),
	CHECK_TEST_WITH(setup, teardown, echo_is_of_the_present_leader),
	CHECK_TEST_WITH(setup, teardown, nonsense_is_dropped),
};

CHECK_MAIN(tests)
