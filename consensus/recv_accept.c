#include "consensus/paxos_private.h"

/* The lease is promised from receipt, on this replica's clock. A leader with a higher ballot was
 * elected by a majority whose promises to the one before were over. */
static void promise_lease(struct paxos *p)
{
	CHECK(p->leader == PAXOS_BALLOT_NODE(p->promised));
	CHECK(p->lease_ballot <= p->promised);
	if (p->lease_ballot != p->promised)
		p->lease_promise_ns = 0;
	p->lease_ballot = p->promised;
	p->lease_promise_ns =
		u64_max(p->lease_promise_ns, u64_add(p->now_ns, p->cfg.timing.lease));
}

/* "An acceptor that has applied a slot never accepts for it again; it answers with LEARN", when the
 * leader does not know that the slot is chosen. */
static int answer_with_learn(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	uint64_t sent;

	if (m->count == 0 || m->first > p->commit || m->commit >= p->commit)
		return 0;
	return paxos__learn_page(p, q, u64_max(m->first, m->commit + 1), &sent);
}

int paxos__recv_accept(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	uint64_t match;

	CHECK(q->node == m->from);
	if (m->ballot < p->promised) {
		paxos__reject(p, m, 0);
		return 0;
	}
	if (p->state != PAXOS_ST_FOLLOWER)
		paxos__follow(p);
	if (m->ballot > p->promised)
		paxos__raise_promise(p, m->ballot);
	CHECK(p->promised == m->ballot);
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	p->leader = q->node;
	p->leader_commit = u64_max(p->leader_commit, m->commit);
	p->ack_echo_ns = u64_max(p->ack_echo_ns, m->send_ns);
	p->ack_round = u64_max(p->ack_round, m->round);
	paxos__leader_heard(p);
	promise_lease(p);
	match = p->match; /* of this ballot */
	paxos__accept_entries(p, m);
	paxos__advance_commit(p);
	/* What was stored just now is acknowledged when it is on disk, everything else at once.
	 * "A slow disk must not stop heartbeats": entries that come while it hangs are the only
	 * heartbeats there are. */
	p->ack_due = p->ack_due || p->match == match ||
		     p->now_ns - p->acked_ns >= p->cfg.timing.heartbeat;
	return answer_with_learn(p, q, m);
}
