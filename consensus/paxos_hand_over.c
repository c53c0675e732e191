/* Giving leadership away: "the leader first ends its lease and its ballot for good; followers waive
 * their lease promise only for a PREPARE that carries that ballot as token." What it has proposed is
 * not lost: its successor finds it in the promises. */
#include "consensus/paxos_private.h"

/* Better: has more of the log; of equals, earlier in succession. */
static struct paxos_peer *best_follower(struct paxos *p, uint32_t skip)
{
	bool tried[GROUP_REPLICAS_MAX] = {false};
	struct paxos_peer *best;

	CHECK(p->cfg.member_count > 1);
	for (;;) {
		best = NULL;
		PAXOS_FOR_EACH_PEER(p, q) {
			if (!tried[q - p->peers] && (best == NULL || q->acked > best->acked))
				best = q;
		}
		if (skip == 0 || best == NULL)
			return best;
		tried[best - p->peers] = true;
		skip--;
	}
}

static void tell(struct paxos *p)
{
	struct paxos_peer *q = best_follower(p, p->handed_tries % (p->cfg.member_count - 1));
	struct paxos_message *m;

	CHECK(q != NULL);
	CHECK(PAXOS_BALLOT_NODE(p->handed) == p->cfg.self);
	m = paxos__send(p, PAXOS_TIMEOUT_NOW, q->node);
	m->ballot = p->handed;
	m->token = p->handed;
	p->handed_tries++;
	p->handed_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
}

void paxos__hand_over(struct paxos *p)
{
	if (p->state != PAXOS_ST_LEADING || p->cfg.member_count == 1)
		return;
	CHECK(p->ballot == p->promised);
	p->handed = p->ballot;
	p->handed_tries = 0;
	paxos__heartbeat_all(p); /* what is chosen: the successor need not ask for it */
	paxos__step_down(p);
	CHECK(p->ballot == 0);
	tell(p);
}

void paxos__hand_over_tick(struct paxos *p)
{
	if (p->handed == 0)
		return;
	CHECK(p->state != PAXOS_ST_LEADING || p->ballot > p->handed);
	if (p->promised > p->handed || p->handed_tries >= PAXOS_HAND_OVER_TRIES) {
		p->handed = 0;
		return;
	}
	if (p->now_ns >= p->handed_ns)
		tell(p);
}
