#include "consensus/paxos_private.h"

static bool may_promise(struct paxos *p, const struct paxos_message *m)
{
	uint64_t bar;

	if (m->ballot == p->promised)
		return true;
	/* "followers waive their lease promise only for a PREPARE that carries that ballot as
	 * token" */
	bar = paxos__lease_bar(p, m->from, m->token);
	if (bar > 0)
		paxos__reject(p, m, bar);
	return bar == 0;
}

int paxos__recv_prepare(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	CHECK(q->node == m->from);
	CHECK(PAXOS_BALLOT_NODE(m->ballot) == m->from);
	paxos__note_round(p, m->ballot);
	if (m->ballot < p->promised) {
		paxos__reject(p, m, 0);
		return 0;
	}
	if (!may_promise(p, m))
		return 0;
	if (m->ballot > p->promised) {
		if (p->state != PAXOS_ST_FOLLOWER)
			paxos__follow(p);
		paxos__raise_promise(p, m->ballot);
		paxos__rearm_election(p);
	}
	paxos__hold_promise(p, m);
	return 0;
}
