#include "consensus/paxos_private.h"

/* Somebody has promised a higher ballot: this one is over. If that was a failed candidate, the
 * others let this node stand again at once: their lease promises do not bind against it. */
static void lose(struct paxos *p)
{
	bool led = p->state == PAXOS_ST_LEADING;
	uint64_t step = p->cfg.timing.succession_step;

	CHECK(p->state != PAXOS_ST_FOLLOWER);
	p->ballot = 0;
	paxos__follow(p);
	paxos__retry_election(p, paxos__random(p, led ? step : 3 * step));
}

int paxos__recv_reject(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	if (p->ballot == 0 || m->ballot != p->ballot)
		return 0;
	if (p->state == PAXOS_ST_FOLLOWER || p->state == PAXOS_ST_PREVOTING)
		return 0;
	CHECK(p->ballot == p->promised);
	paxos__note_round(p, m->promised);
	if (m->promised > p->ballot)
		lose(p);
	else if (m->span_ns > 0) /* its lease promise ends then: ask again at that moment */
		q->ask_ns = p->now_ns + u64_min(m->span_ns, PAXOS_SPAN_NS_MAX);
	return 0;
}
