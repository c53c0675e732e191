#include "consensus/paxos_private.h"

/* The leader that this replica follows has ended its lease and its ballot: stand at once, without
 * pre-vote. The token frees this replica's own lease promise too. */
int paxos__recv_timeout_now(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	CHECK(q->node == m->from);
	if (p->state != PAXOS_ST_FOLLOWER && p->state != PAXOS_ST_PREVOTING)
		return 0;
	if (m->token == 0 || m->token != p->promised || PAXOS_BALLOT_NODE(m->token) != q->node)
		return 0;
	if (paxos__lease_bar(p, p->cfg.self, m->token) > 0)
		return 0;
	CHECK(p->ballot == 0 || p->ballot != p->promised);
	paxos__candidate_begin(p, m->token);
	return 0;
}
