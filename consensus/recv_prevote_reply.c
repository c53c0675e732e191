#include "consensus/paxos_private.h"

int paxos__recv_prevote_reply(struct paxos *p, struct paxos_peer *q,
			      const struct paxos_message *m)
{
	if (p->state != PAXOS_ST_PREVOTING || m->ballot != p->ballot)
		return 0;
	CHECK(p->ballot != 0);
	CHECK(!p->peers[p->me].voted);
	if (m->ok) {
		q->voted = true;
		return 0;
	}
	paxos__note_round(p, m->promised);
	if (m->promised > p->ballot) {
		/* Not refused, only too low: ask everybody again with a higher one. One that stood
		 * stands no more, be it of the same round. */
		p->ballot = 0;
		paxos__prevote_begin(p);
		return 0;
	}
	q->ask_ns = p->now_ns + u64_max(1, u64_min(m->span_ns, PAXOS_SPAN_NS_MAX));
	return 0;
}
