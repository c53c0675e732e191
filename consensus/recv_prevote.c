#include "consensus/paxos_private.h"

/* Would it be promised now? 0, or when to ask again. */
static uint64_t objection(struct paxos *p, const struct paxos_message *m)
{
	uint64_t bar = paxos__lease_bar(p, m->from, 0);
	uint64_t alive;

	if (bar == 0 && p->leader != m->from && paxos__leader_alive(p, &alive))
		bar = alive;
	/* It would have to fetch a snapshot while nobody leads; this replica can lead at once. */
	if (bar == 0 && m->commit + 1 < p->log_start && p->now_ns >= p->stand_back_ns)
		bar = p->cfg.timing.suspect_max;
	return bar;
}

int paxos__recv_prevote(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	uint64_t span = objection(p, m);
	struct paxos_message *r = paxos__send(p, PAXOS_PREVOTE_REPLY, q->node);

	CHECK(q->node == m->from);
	CHECK(PAXOS_BALLOT_NODE(m->ballot) == m->from);
	r->ballot = m->ballot;
	r->promised = p->promised;
	r->ok = m->ballot >= p->promised && span == 0;
	r->span_ns = span;
	return 0;
}
