#include "consensus/paxos_private.h"

/* A leader sends what follows in its stream to that follower, chosen or not; any other replica
 * answers with one page of what it knows to be chosen. */
int paxos__recv_learn_request(struct paxos *p, struct paxos_peer *q,
			      const struct paxos_message *m)
{
	uint64_t sent;

	if (m->first == 0 || m->first > p->window.last + 1)
		return 0;
	CHECK(q->node == m->from);
	if (p->state == PAXOS_ST_LEADING) {
		paxos__rewind(p, q, m->first);
		return 0;
	}
	CHECK(p->commit <= p->window.last);
	return paxos__learn_page(p, q, m->first, &sent);
}
