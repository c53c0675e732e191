/* Sentences of the papers, each with the run that would break it. Three to five cores; the test
 * carries or loses every message.
 *
 * PMS: Lamport, "Paxos Made Simple" (2001). PMMC: van Renesse and Altinbuken, "Paxos Made
 * Moderately Complex" (2015). Raft: Ongaro, "Consensus: Bridging Theory and Practice" (2014). */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

#define B(round, node) PAXOS_BALLOT(round, node)

enum { NODES_MOST = 5 };

static struct hand nodes[NODES_MOST];
static uint32_t count;
static bool cut[NODES_MOST + 1]; /* by node id: nothing goes in or out */

/* ---- the stage ---- */

static struct hand *node(uint32_t id)
{
	return &nodes[id - 1];
}

static void open_cluster(uint32_t n)
{
	count = n;
	memset(cut, 0, sizeof(cut));
	for (uint32_t id = 1; id <= n; id++)
		hand_init(node(id), id, n);
}

static void setup3(void)
{
	open_cluster(3);
}

static void setup5(void)
{
	open_cluster(5);
}

static void teardown(void)
{
	for (uint32_t id = 1; id <= count; id++)
		hand_release(node(id));
}

/* One round: all messages between nodes that are not cut off arrive, those of the others are lost;
 * all disks and state machines do what they were given. Returns how many arrived. */
static size_t round_of_messages(void)
{
	size_t n = 0;

	for (uint32_t a = 1; a <= count; a++) {
		for (uint32_t b = 1; b <= count; b++) {
			if (a != b && !cut[a] && !cut[b])
				n += hand_carry(node(a), node(b));
		}
		hand_clear(node(a));
	}
	for (uint32_t a = 1; a <= count; a++) {
		hand_persist(node(a));
		hand_apply(node(a));
	}
	return n;
}

static void quiet(void)
{
	for (unsigned i = 0; i < 200; i++) {
		bool pending = false;

		for (uint32_t a = 1; a <= count; a++)
			pending = pending || node(a)->out_count > 0;
		if (!pending)
			return;
		round_of_messages();
	}
	CHECK_FAIL("messages without end");
}

static void live(uint64_t span_ns)
{
	for (uint64_t t = 0; t < span_ns; t += HAND_MS) {
		for (uint32_t a = 1; a <= count; a++)
			hand_run(node(a), HAND_MS);
		quiet();
	}
}

static uint32_t leader(void)
{
	uint32_t id = 0;

	for (uint32_t a = 1; a <= count; a++) {
		if (!hand_status(node(a)).serving || cut[a])
			continue;
		CHECK_U64_EQ(id, 0);
		id = a;
	}
	return id;
}

static uint32_t await_leader(void)
{
	for (unsigned i = 0; i < 300; i++) {
		live(10 * HAND_MS);
		if (leader() != 0)
			return leader();
	}
	CHECK_FAIL("no leader in 3 s");
	return 1;
}

/* All that were told of a slot were told the same. */
static void check_agreement(void)
{
	for (uint64_t slot = 1; slot < HAND_SLOTS_MAX; slot++) {
		const struct paxos_entry *value = NULL;

		for (uint32_t a = 1; a <= count; a++) {
			const struct paxos_entry *e = node(a)->chosen[slot];

			if (e == NULL)
				continue;
			if (value == NULL)
				value = e;
			CHECK_U64_EQ(e->kind, value->kind);
			CHECK_U64_EQ(e->clock_ns, value->clock_ns);
			CHECK_SLICE_EQ(slice_of(e->data, e->len),
				       slice_of(value->data, value->len));
		}
	}
}

static uint64_t slot_of(uint32_t id, const char *text)
{
	for (uint64_t slot = 1; slot < HAND_SLOTS_MAX; slot++) {
		const char *s = hand_chosen(node(id), slot);

		if (s != NULL && strcmp(s, text) == 0)
			return slot;
	}
	return 0;
}

/* Node @id becomes the serving leader: everybody else's clock stands still from now on. */
static void make_leader(uint32_t id)
{
	for (uint32_t a = 1; a <= count; a++) {
		if (a != id && !cut[a]) /* lease promises end, and nobody stands */
			node(a)->now_ns += 2000 * HAND_MS;
	}
	for (unsigned i = 0; i < 3000 && !hand_status(node(id)).serving; i++) {
		hand_run(node(id), HAND_MS);
		quiet();
	}
	CHECK_TRUE(hand_status(node(id)).serving);
	CHECK_U64_EQ(leader(), id);
}

static struct paxos_message prepare_of(struct hand *h, paxos_ballot b, uint64_t first)
{
	struct paxos_message m = hand_message(h, PAXOS_PREPARE, PAXOS_BALLOT_NODE(b));

	m.ballot = b;
	m.first = first;
	return m;
}

static void accept_text(struct hand *h, paxos_ballot b, uint64_t slot, uint64_t commit,
			const char *text)
{
	struct paxos_message m = hand_message(h, PAXOS_ACCEPT, PAXOS_BALLOT_NODE(b));

	m.ballot = b;
	m.first = slot;
	m.commit = commit;
	hand_recv_entries(h, &m, b, text == NULL ? 0 : 1, &text);
}

/* Stands with a ballot above round 3 until its PREPAREs are out; the others only vote. */
static void stand(struct hand *h)
{
	struct paxos_message ask, m;

	for (unsigned i = 0; i < 3000 && hand_count(h, PAXOS_PREPARE, 0) == 0; i++) {
		hand_run(h, HAND_MS);
		while (hand_count(h, PAXOS_PREVOTE, 0) > 0) {
			hand_take(h, PAXOS_PREVOTE, 0, &ask);
			m = hand_message(h, PAXOS_PREVOTE_REPLY, ask.to);
			m.ballot = ask.ballot;
			m.promised = B(3, 3);
			m.ok = ask.ballot >= m.promised;
			hand_recv(h, &m);
		}
		hand_persist(h);
	}
	CHECK_TRUE(hand_status(h).ballot > B(4, 0));
}

/* A page of the promise of @from: one entry, or none when @text is NULL. */
static void promise_page(struct hand *h, uint32_t from, bool more, paxos_ballot b, uint64_t slot,
			 const char *text)
{
	struct paxos_message ask, m;

	hand_take(h, PAXOS_PREPARE, from, &ask);
	m = hand_message(h, PAXOS_PROMISE, from);
	m.ballot = ask.ballot;
	m.page = ask.first;
	m.first = slot;
	m.more = more;
	hand_recv_entries(h, &m, b, text == NULL ? 0 : 1, &text);
}

/* What @h has proposed for @slot at its present ballot. */
static void check_proposed(const struct hand *h, uint64_t slot, const char *text)
{
	for (size_t i = 0; i < h->disk_count; i++) {
		const struct paxos_entry *e = h->disk[i].entry;

		if (e == NULL || e->slot != slot || e->ballot != hand_status(h).ballot)
			continue;
		CHECK_U64_EQ(e->kind, text[0] == 0 ? PAXOS_NOOP : PAXOS_COMMANDS);
		CHECK_SLICE_EQ(slice_of(e->data, e->len), slice_of(text, strlen(text)));
		return;
	}
	CHECK_FAIL("nothing proposed for slot %llu", (unsigned long long)slot);
}

/* ---- Paxos Made Simple ---- */

/* PMS 2.2, P1a: "An acceptor can accept a proposal numbered n iff it has not responded to a prepare
 * request having a number greater than n." */
static void stale_ballot_is_rejected(void)
{
	struct hand *h = node(1);
	struct paxos_message m = prepare_of(h, B(9, 3), 1);

	hand_recv(h, &m);
	hand_persist(h);
	hand_clear(h);
	accept_text(h, B(8, 2), 1, 0, "stale");
	CHECK_U64_EQ(hand_status(h).last, 0);
	CHECK_U64_EQ(hand_count(h, PAXOS_ACCEPTED, 0), 0);
	CHECK_U64_EQ(hand_count(h, PAXOS_REJECT, 2), 1);
	accept_text(h, B(9, 3), 1, 0, "fresh");
	CHECK_U64_EQ(hand_status(h).last, 1);
}

/* PMS 2.2: "an acceptor needs to remember only the highest-numbered proposal that it has ever
 * accepted and the number of the highest-numbered prepare request to which it has responded ...
 * even if it fails and then restarts." */
static void promise_and_value_survive_a_restart(void)
{
	struct hand *h = node(1);
	struct paxos_message m;

	accept_text(h, B(2, 2), 1, 0, "v");
	hand_persist(h);
	h->now_ns += h->cfg.timing.lease;
	m = prepare_of(h, B(3, 3), 1);
	hand_recv(h, &m);
	hand_persist(h);
	hand_restart(h, 0);
	h->now_ns += h->cfg.timing.lease;
	accept_text(h, B(2, 2), 1, 0, "other");
	CHECK_U64_EQ(hand_count(h, PAXOS_REJECT, 2), 1);
	m = prepare_of(h, B(4, 3), 1);
	hand_recv(h, &m);
	hand_persist(h);
	hand_take(h, PAXOS_PROMISE, 3, &m);
	CHECK_U64_EQ(m.count, 1);
	CHECK_U64_EQ(m.entries[0]->ballot, B(2, 2));
	hand_drop(&m);
}

/* PMS 2.2, P2c: v "is the value of the highest-numbered proposal among all proposals numbered less
 * than n accepted by the acceptors in S". In whatever order they answer. */
static void phase_1_adopts_the_highest_ballot(void)
{
	struct hand *h = node(1);

	accept_text(h, B(1, 2), 1, 0, "own, lowest");
	hand_persist(h);
	stand(h);
	promise_page(h, 2, true, B(2, 2), 1, "lower");
	promise_page(h, 3, true, B(3, 3), 1, "highest");
	promise_page(h, 2, false, 0, 2, NULL);
	CHECK_TRUE(hand_is(h, PAXOS_LEADER));
	check_proposed(h, 1, "highest");
	check_proposed(h, 2, "");
}

static void phase_1_adopts_it_when_it_comes_first(void)
{
	struct hand *h = node(1);

	accept_text(h, B(1, 2), 1, 0, "own, lowest");
	hand_persist(h);
	stand(h);
	promise_page(h, 3, true, B(3, 3), 1, "highest");
	promise_page(h, 2, false, B(2, 2), 1, "lower");
	CHECK_TRUE(hand_is(h, PAXOS_LEADER));
	check_proposed(h, 1, "highest");
}

/* The candidate is one of its own acceptors. */
static void phase_1_counts_the_own_value(void)
{
	struct hand *h = node(1);

	accept_text(h, B(3, 2), 1, 0, "own, highest");
	hand_persist(h);
	stand(h);
	promise_page(h, 3, false, B(2, 3), 1, "lower");
	CHECK_TRUE(hand_is(h, PAXOS_LEADER));
	check_proposed(h, 1, "own, highest");
}

/* "S consisting of a majority of acceptors": without one nothing is proposed. */
static void phase_1_needs_a_majority(void)
{
	struct hand *h = node(1);

	teardown();
	open_cluster(5);
	h = node(1);
	stand(h);
	promise_page(h, 2, false, 0, 1, NULL);
	CHECK_FALSE(hand_is(h, PAXOS_LEADER));
	CHECK_U64_EQ(hand_status(h).last, 0);
	promise_page(h, 5, false, 0, 1, NULL);
	CHECK_TRUE(hand_is(h, PAXOS_LEADER));
}

/* PMS 2.2, P2: "If a proposal with value v is chosen, then every higher-numbered proposal that is
 * chosen has value v." The only one who told anybody dies before its commit index leaves. */
static void chosen_value_survives_its_leader(void)
{
	uint64_t slot;

	make_leader(1);
	CHECK_OK(hand_propose(node(1), "v"));
	slot = node(1)->proposed_slot;
	hand_carry(node(1), node(2)); /* node 3 gets nothing */
	hand_clear(node(1));
	hand_persist(node(1));
	hand_persist(node(2));
	CHECK_TRUE(hand_carry(node(2), node(1)) > 0);
	CHECK_STR_EQ(hand_chosen(node(1), slot), "v"); /* chosen, and answered to its client */
	hand_clear(node(1));
	cut[1] = true;
	make_leader(3); /* which never heard of it */
	CHECK_STR_EQ(hand_chosen(node(3), slot), "v");
	CHECK_OK(hand_propose(node(3), "w"));
	quiet();
	cut[1] = false;
	live(1000 * HAND_MS);
	check_agreement();
	CHECK_TRUE(slot_of(1, "w") > slot);
}

/* PMS 2.2: a value that only a minority has accepted may be lost, and then must stay lost. */
static void minority_value_may_be_replaced(void)
{
	uint64_t slot;

	make_leader(1);
	CHECK_OK(hand_propose(node(1), "lost"));
	slot = node(1)->proposed_slot;
	hand_clear(node(1));
	hand_persist(node(1)); /* on its own disk only */
	cut[1] = true;
	make_leader(2);
	CHECK_OK(hand_propose(node(2), "won"));
	quiet();
	cut[1] = false;
	live(3000 * HAND_MS);
	CHECK_U64_EQ(slot_of(1, "lost"), 0);
	CHECK_TRUE(slot_of(1, "won") >= slot);
	check_agreement();
}

/* PMS 2.3: a proposer learns "that a value has been chosen" only from a majority. */
static void accepted_by_a_minority_is_not_chosen(void)
{
	uint64_t slot;

	teardown();
	open_cluster(5);
	make_leader(1);
	CHECK_OK(hand_propose(node(1), "v"));
	slot = node(1)->proposed_slot;
	hand_carry(node(1), node(2));
	hand_clear(node(1));
	hand_persist(node(1));
	hand_persist(node(2));
	hand_carry(node(2), node(1));
	CHECK_NULL(hand_chosen(node(1), slot));
	CHECK_NULL(hand_chosen(node(2), slot));
}

/* PMS 2.4: "two proposers each keep issuing a sequence of proposals with increasing numbers, none
 * of which are ever chosen." Pre-vote and random waits settle it. */
static void duelling_proposers_settle(void)
{
	uint32_t id;

	/* All suspect at the very same moment, again and again. */
	for (unsigned i = 0; i < 3; i++) {
		for (uint32_t a = 1; a <= count; a++) {
			node(a)->now_ns += 5000 * HAND_MS;
			hand_tick(node(a), 0);
		}
		quiet();
	}
	id = await_leader();
	CHECK_OK(hand_propose(node(id), "v"));
	quiet();
	live(100 * HAND_MS);
	for (uint32_t a = 1; a <= count; a++)
		CHECK_TRUE(slot_of(a, "v") > 0);
	/* and it stays: nobody deposes a healthy leader. */
	live(3000 * HAND_MS);
	CHECK_U64_EQ(leader(), id);
	CHECK_TRUE(PAXOS_BALLOT_ROUND(hand_status(node(id)).ballot) < 20);
}

/* PMS 3: "phase 1 ... for infinitely many instances" at once, and it "fills the gap" with "a
 * special no-op command that leaves the state unchanged". */
static void gaps_become_no_ops(void)
{
	struct hand *h = node(1);

	accept_text(h, B(1, 2), 1, 0, "before the gap");
	hand_persist(h);
	stand(h);
	promise_page(h, 3, false, B(2, 3), 3, "after the gap");
	CHECK_TRUE(hand_is(h, PAXOS_LEADER));
	check_proposed(h, 1, "before the gap");
	check_proposed(h, 2, "");
	check_proposed(h, 3, "after the gap");
	check_proposed(h, 4, "");
	CHECK_U64_EQ(hand_status(h).last, 4);
}

/* PMMC 4.3, "a leader that is superseded stops": the ballot that a majority has left gets nothing
 * chosen. */
static void superseded_leader_chooses_nothing(void)
{
	uint64_t slot;

	make_leader(1);
	cut[1] = true;
	make_leader(2);
	CHECK_TRUE(hand_is(node(1), PAXOS_LEADER)); /* it does not know yet */
	CHECK_FALSE(paxos_lease_valid(node(1)->p, node(1)->now_ns + 2000 * HAND_MS));
	CHECK_OK(hand_propose(node(1), "too late"));
	slot = node(1)->proposed_slot;
	hand_persist(node(1));
	cut[1] = false;
	quiet();
	CHECK_FALSE(hand_is(node(1), PAXOS_LEADER));
	live(1000 * HAND_MS);
	CHECK_U64_EQ(slot_of(1, "too late"), 0);
	CHECK_U64_EQ(slot_of(2, "too late"), 0);
	CHECK_TRUE(hand_status(node(1)).commit >= slot);
	check_agreement();
}

/* ---- Raft ---- */

/* Raft, figure 3.7: an entry of an old ballot that lies on a majority is *not* chosen by that. Node
 * 1 gets "old" to node 2 only; node 5 gets "new" to itself only; node 1 is back and copies "old" to
 * 3. If "old" now counted as chosen, node 5, elected by 3, 4 and itself, would replace a chosen
 * entry. Here phase 1 re-proposes "old" at the new ballot of node 1 first, and a follower counts
 * only what it accepted at the ballot of the leader. */
static void old_ballot_on_a_majority_is_not_chosen(void)
{
	struct hand *h = node(3);
	struct paxos_message m;

	/* Node 3 has "old" of ballot 2 of node 1, as nodes 1 and 2 do: a majority of five. */
	accept_text(h, B(2, 1), 1, 0, "old");
	hand_persist(h);
	/* The leader of ballot 4 says that slot 1 is chosen; node 3 accepted slot 1 at ballot 2. */
	accept_text(h, B(4, 1), 1, 1, NULL);
	CHECK_NULL(hand_chosen(h, 1));
	hand_persist(h);
	hand_clear(h);
	/* So node 5, with ballot 5, may still win with what it has. */
	h->now_ns += h->cfg.timing.lease;
	m = prepare_of(h, B(5, 5), 1);
	hand_recv(h, &m);
	hand_persist(h);
	hand_take(h, PAXOS_PROMISE, 5, &m);
	CHECK_U64_EQ(m.entries[0]->ballot, B(2, 1));
	hand_drop(&m);
	accept_text(h, B(5, 5), 1, 1, "new");
	CHECK_STR_EQ(hand_chosen(h, 1), "new");
}

/* The same over a whole cluster, and its end: figure 3.7 (e), re-proposed and chosen. */
static void old_ballot_is_chosen_once_re_proposed(void)
{
	uint64_t slot;

	make_leader(1);
	CHECK_OK(hand_propose(node(1), "old"));
	slot = node(1)->proposed_slot;
	hand_carry(node(1), node(2));
	hand_clear(node(1));
	hand_persist(node(1));
	hand_persist(node(2));
	hand_clear(node(2)); /* the answer is lost */
	cut[1] = cut[2] = true;
	make_leader(5); /* of 3, 4, 5: they know nothing of "old" */
	CHECK_OK(hand_propose(node(5), "new"));
	hand_clear(node(5));
	hand_persist(node(5)); /* on its own disk only */
	cut[5] = true;
	cut[1] = cut[2] = false;
	make_leader(1); /* of 1, 2, 3, 4 */
	live(100 * HAND_MS);
	/* Node 5's reign was opened at `slot` already: a no-op of a higher ballot beats "old". */
	CHECK_STR_EQ(hand_chosen(node(3), slot), "");
	cut[5] = false;
	live(3000 * HAND_MS);
	CHECK_STR_EQ(hand_chosen(node(5), slot), "");
	check_agreement();
}

/* Raft, figure 3.8: a leader that has lost contact with what was chosen cannot win: who promises
 * tells it. */
static void new_leader_fetches_what_is_chosen(void)
{
	make_leader(1);
	cut[3] = true;
	for (unsigned i = 0; i < 20; i++) {
		CHECK_OK(hand_propose(node(1), "v"));
		quiet();
	}
	live(50 * HAND_MS);
	CHECK_TRUE(hand_status(node(2)).commit >= 21);
	CHECK_TRUE(hand_status(node(3)).commit < 5);
	cut[3] = false;
	cut[1] = true;
	make_leader(3);
	CHECK_TRUE(hand_status(node(3)).commit >= 22);
	CHECK_STR_EQ(hand_chosen(node(3), 21), "v");
	check_agreement();
}

/* Raft 9.6: a node that was cut off does not disrupt the leader when it is back (pre-vote). */
static void rejoining_node_deposes_nobody(void)
{
	uint32_t id = await_leader(), other = id == 1 ? 2 : 1;
	paxos_ballot ballot = hand_status(node(id)).ballot;

	cut[other] = true;
	live(3000 * HAND_MS);
	CHECK_FALSE(hand_is(node(other), PAXOS_FOLLOWER)); /* it asks and asks */
	cut[other] = false;
	live(1000 * HAND_MS);
	CHECK_U64_EQ(leader(), id);
	CHECK_U64_EQ(hand_status(node(id)).ballot, ballot);
	CHECK_TRUE(hand_is(node(other), PAXOS_FOLLOWER));
}

/* Raft 3.10: leadership is handed over at once, without waiting for a lease to end. */
static void hand_over_is_quick(void)
{
	uint64_t since;

	make_leader(1);
	for (uint32_t a = 2; a <= count; a++) /* a fresh lease promise */
		node(a)->now_ns = node(1)->now_ns;
	live(200 * HAND_MS);
	since = node(2)->now_ns;
	hand_event(node(1), PAXOS_EV_HAND_OVER, 0);
	quiet();
	for (unsigned i = 0; i < 20 && leader() == 0; i++)
		live(HAND_MS);
	CHECK_TRUE(leader() != 0 && leader() != 1);
	CHECK_TRUE(node(2)->now_ns - since < 20 * HAND_MS);
}

/* Raft 6.4: a leader that was deposed without noticing answers no read. */
static void deposed_leader_answers_no_read(void)
{
	make_leader(1);
	cut[1] = true;
	make_leader(2);
	CHECK_OK(hand_propose(node(2), "newer"));
	quiet();
	node(1)->now_ns += node(1)->cfg.timing.lease;
	CHECK_OK(hand_read(node(1), 9));
	for (unsigned i = 0; i < 3; i++) {
		CHECK_U64_EQ(node(1)->read_count, 0);
		hand_run(node(1), 50 * HAND_MS);
		quiet();
	}
	live(1000 * HAND_MS); /* it notices, and says so */
	CHECK_U64_EQ(node(1)->read_count, 1);
	CHECK_ERR(node(1)->reads[0].err, ERR_NOT_LEADER);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup3, teardown, stale_ballot_is_rejected),
	CHECK_TEST_WITH(setup3, teardown, promise_and_value_survive_a_restart),
	CHECK_TEST_WITH(setup3, teardown, phase_1_adopts_the_highest_ballot),
	CHECK_TEST_WITH(setup3, teardown, phase_1_adopts_it_when_it_comes_first),
	CHECK_TEST_WITH(setup3, teardown, phase_1_counts_the_own_value),
	CHECK_TEST_WITH(setup3, teardown, phase_1_needs_a_majority),
	CHECK_TEST_WITH(setup3, teardown, chosen_value_survives_its_leader),
	CHECK_TEST_WITH(setup3, teardown, minority_value_may_be_replaced),
	CHECK_TEST_WITH(setup3, teardown, accepted_by_a_minority_is_not_chosen),
	CHECK_TEST_WITH(setup3, teardown, duelling_proposers_settle),
	CHECK_TEST_WITH(setup3, teardown, gaps_become_no_ops),
	CHECK_TEST_WITH(setup3, teardown, superseded_leader_chooses_nothing),
	CHECK_TEST_WITH(setup5, teardown, old_ballot_on_a_majority_is_not_chosen),
	CHECK_TEST_WITH(setup5, teardown, old_ballot_is_chosen_once_re_proposed),
	CHECK_TEST_WITH(setup3, teardown, new_leader_fetches_what_is_chosen),
	CHECK_TEST_WITH(setup3, teardown, rejoining_node_deposes_nobody),
	CHECK_TEST_WITH(setup3, teardown, hand_over_is_quick),
	CHECK_TEST_WITH(setup3, teardown, deposed_leader_answers_no_read),
};

CHECK_MAIN(tests)
