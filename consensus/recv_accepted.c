#include "consensus/paxos_private.h"

static bool makes_sense(const struct paxos *p, const struct paxos_message *m)
{
	return m->last <= p->window.last && m->first > m->last && m->first <= p->window.last + 1 &&
	       m->echo_ns <= p->now_ns && m->round <= p->round;
}

/* A follower that knows more to be chosen than its leader, and for long, cannot vouch for it at this
 * ballot (invariant 5); a new phase 1 learns it. */
static void watch_ahead(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	if (m->commit <= p->commit)
		q->ahead_ns = 0;
	else if (q->ahead_ns == 0)
		q->ahead_ns = p->now_ns;
	else if (p->now_ns - q->ahead_ns >= p->cfg.timing.stall)
		paxos__step_down(p);
}

/* What it has acknowledged once it holds for good. What it lacks may begin before that: a restart makes
 * it forget that values of older ballots are chosen, and it has to hear that again. */
static void note_progress(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	CHECK(m->last <= p->window.last);
	CHECK(q->want <= q->next);
	if (m->last > q->acked || m->first > q->want) {
		q->progress_ns = p->now_ns;
		q->probes = 0;
		q->probe_ns = p->now_ns + p->cfg.timing.retransmit;
	}
	q->acked = u64_max(q->acked, m->last);
	q->want = m->first;
	q->applied = u64_max(q->applied, m->applied);
	q->round = u64_max(q->round, m->round);
	/* The echo of something sent after the last entries: what it lacks now was lost. */
	if (m->echo_ns > q->entries_ns && q->want < q->next)
		paxos__rewind(p, q, q->want);
	q->next = u64_max(q->next, q->want);
}

int paxos__recv_accepted(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	if (p->ballot == 0 || m->ballot != p->ballot)
		return 0;
	if (p->state != PAXOS_ST_LEADING && p->state != PAXOS_ST_CATCHING_UP)
		return 0;
	CHECK(p->ballot == p->promised);
	if (p->state == PAXOS_ST_CATCHING_UP)
		return 0;
	if (m->first > p->window.last + 1) {
		/* It knows chosen slots of which this leader has not heard. */
		watch_ahead(p, q, m);
		return 0;
	}
	if (!makes_sense(p, m)) {
		p->dropped++;
		return 0;
	}
	paxos__lease_ack(p, q, m);
	note_progress(p, q, m);
	watch_ahead(p, q, m);
	return 0;
}
