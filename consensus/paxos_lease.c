/* The leader's lease: promises of a majority, counted from when the leader asked for them. (The
 * follower's half, the promise, is in recv_accept.c and paxos__lease_bar.)
 *
 * A lease stands on the two clocks running alike. The difference of two clocks cannot be measured
 * exactly, only enclosed: what the follower's clock showed when it answered lies between our send
 * and our receive time. If the enclosures of two answers do not meet, even with all the drift that
 * the margin allows, one clock has jumped. */
#include "consensus/paxos_private.h"

#define OFFSET_MAX (INT64_MAX / 4) /* of clocks that make sense; keeps the sums below in range */

/* How far two clocks may drift apart in @span: the margin is what they may in one lease. */
static int64_t drift_in(const struct paxos *p, uint64_t span)
{
	const struct paxos_timing *t = &p->cfg.timing;

	CHECK(t->lease > t->drift_margin);
	span = u64_min(span, OFFSET_MAX / 2); /* the sum below is less than that */
	return (int64_t)(span / t->lease * t->drift_margin +
			 span % t->lease * t->drift_margin / t->lease);
}

static int64_t i64_min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t i64_max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static bool offset_sane(int64_t v)
{
	return v >= -OFFSET_MAX && v <= OFFSET_MAX;
}

static void set_offset(struct paxos *p, struct paxos_peer *q, int64_t lo, int64_t hi)
{
	CHECK(lo <= hi);
	CHECK(offset_sane(lo) && offset_sane(hi));
	q->offset_known = true;
	q->offset_lo = lo;
	q->offset_hi = hi;
	q->offset_ns = p->now_ns;
}

/* False: the clock of @q, or our own, has jumped against the other. An enclosure that misses the
 * one before by less than the margin does not replace it: many small steps are one jump. */
static bool clocks_agree(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	int64_t lo = (int64_t)(m->send_ns - p->now_ns), hi = (int64_t)(m->send_ns - m->echo_ns);
	int64_t margin = (int64_t)u64_min(p->cfg.timing.drift_margin, OFFSET_MAX);
	int64_t old_lo, old_hi, drift;

	CHECK(m->echo_ns <= p->now_ns);
	if (!offset_sane(lo) || !offset_sane(hi) || lo > hi)
		return false;
	if (!q->offset_known) {
		set_offset(p, q, lo, hi);
		return true;
	}
	CHECK(q->offset_ns <= p->now_ns);
	drift = drift_in(p, p->now_ns - q->offset_ns);
	CHECK(drift >= 0);
	old_lo = i64_max(q->offset_lo - drift, -OFFSET_MAX);
	old_hi = i64_min(q->offset_hi + drift, OFFSET_MAX);
	if (lo > old_hi + margin || hi < old_lo - margin) {
		set_offset(p, q, lo, hi);
		return false;
	}
	if (lo <= old_hi && hi >= old_lo) /* what both allow */
		set_offset(p, q, i64_max(lo, old_lo), i64_min(hi, old_hi));
	else
		set_offset(p, q, old_lo, old_hi);
	return true;
}

/* "the leader counts L, less a drift margin, from its *send* time" */
void paxos__lease_ack(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	const struct paxos_timing *t = &p->cfg.timing;
	uint64_t span;

	CHECK(p->state == PAXOS_ST_LEADING);
	CHECK(m->ballot == p->ballot && m->from == q->node);
	q->ack_ns = p->now_ns;
	if (t->lease == 0 || m->echo_ns == 0)
		return;
	if (!clocks_agree(p, q, m)) {
		q->lease_until_ns = 0;
		q->lease_barred_ns = u64_add(p->now_ns, PAXOS_LEASE_BAR * t->lease);
		return;
	}
	span = u64_min(m->span_ns, t->lease);
	if (span <= t->drift_margin)
		return;
	q->lease_until_ns = u64_max(q->lease_until_ns,
				    u64_add(m->echo_ns, span - t->drift_margin));
	CHECK(q->lease_until_ns <= u64_add(p->now_ns, t->lease));
}

uint64_t paxos__lease_until(const struct paxos *p)
{
	uint64_t v[GROUP_REPLICAS_MAX];
	uint32_t n = 0;

	if (p->state != PAXOS_ST_LEADING)
		return 0;
	if (p->cfg.member_count == 1)
		return UINT64_MAX;
	if (p->cfg.timing.lease == 0)
		return 0;
	v[n++] = UINT64_MAX;
	PAXOS_FOR_EACH_PEER_CONST(p, q)
		v[n++] = p->now_ns < q->lease_barred_ns ? 0 : q->lease_until_ns;
	CHECK(n == p->cfg.member_count);
	CHECK(p->quorum > 1);
	return paxos__nth_largest(v, n, p->quorum);
}
