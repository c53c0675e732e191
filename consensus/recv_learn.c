#include "consensus/paxos_private.h"

static bool same_value(const struct paxos_entry *a, const struct paxos_entry *b)
{
	return a->kind == b->kind && a->clock_ns == b->clock_ns &&
	       slice_eq(slice_of(a->data, a->len), slice_of(b->data, b->len));
}

/* A leader counts, it does not believe (invariant 6). But chosen values that it did not propose
 * prove that a higher ballot has led. */
static void compare_with_own(struct paxos *p, const struct paxos_message *m)
{
	CHECK(p->state == PAXOS_ST_LEADING);
	for (uint32_t i = 0; i < m->count; i++) {
		const struct paxos_entry *e = m->entries[i];

		if (e->slot <= p->commit)
			continue;
		if (e->slot > p->window.last ||
		    !same_value(e, paxos__slot(p, e->slot)->entry)) {
			paxos__note_round(p, e->ballot);
			paxos__follow(p);
			paxos__retry_election(p, 0);
			return;
		}
	}
}

/* Invariant 5: what is known as chosen was chosen at or below the promise. */
static void raise_to(struct paxos *p, paxos_ballot b)
{
	if (b <= p->promised)
		return;
	if (p->state != PAXOS_ST_FOLLOWER)
		paxos__follow(p);
	paxos__raise_promise(p, b);
	paxos__rearm_election(p);
}

static void learn_entry(struct paxos *p, struct paxos_entry *e)
{
	CHECK(e->slot == p->commit + 1);
	raise_to(p, e->ballot);
	CHECK(e->ballot <= p->promised);
	/* An own value of an equal or higher ballot is that same value: it is chosen. */
	if (!paxos__in_window(p, e->slot) || paxos__slot(p, e->slot)->entry->ballot < e->ballot) {
		paxos__window_put(p, e, paxos__persist_entry(p, e));
		paxos__log_grew(p, e->slot, paxos__entry_size(e));
		p->synced = u64_min(p->synced, e->slot - 1);
	}
	CHECK(paxos__in_window(p, e->slot));
	p->match = u64_max(p->match, e->slot);
	paxos__set_commit(p, e->slot);
	paxos__advance_match(p);
}

/* "A follower that is behind the log's start gets a snapshot." A candidate in that place would keep
 * everybody waiting: it stands back. */
static void need_snapshot(struct paxos *p, const struct paxos_message *m)
{
	if (m->log_start <= p->commit + 1 || m->commit + 1 < m->log_start)
		return;
	CHECK(p->state != PAXOS_ST_LEADING);
	if (p->state == PAXOS_ST_CATCHING_UP)
		paxos__step_down(p);
	if (p->now_ns < p->snapshot_ns)
		return;
	p->out.snapshot_from = m->from;
	p->snapshot_ns = p->now_ns + 2 * p->cfg.timing.suspect_max;
}

int paxos__recv_learn(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	CHECK(q->node == m->from);
	if (p->state == PAXOS_ST_LEADING) {
		compare_with_own(p, m);
		return 0;
	}
	if (m->count == 0)
		need_snapshot(p, m);
	for (uint32_t i = 0; i < m->count; i++) {
		struct paxos_entry *e = m->entries[i];

		if (e->slot <= p->commit)
			continue;
		if (e->slot > p->commit + 1 || e->slot > m->commit || paxos__backlog_full(p))
			break;
		learn_entry(p, e);
	}
	paxos__advance_commit(p);
	return 0;
}
