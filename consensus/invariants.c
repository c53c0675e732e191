/* The audit of one replica: what must hold in every state, and since the last look. What needs the
 * sight of several replicas (one value per slot) is the business of tests. Numbers are those of
 * README.md, "Invariants". */
#include "consensus/paxos_private.h"

/* "applied <= emitted <= commit <= match <= last and synced <= match" */
static void audit_order(const struct paxos *p)
{
	const struct paxos_window *w = &p->window;

	CHECK(p->applied <= p->emitted);
	CHECK(p->emitted <= p->commit);
	CHECK(p->commit <= p->match);
	CHECK(p->match <= w->last);
	CHECK(p->synced <= p->match);
	CHECK(p->durable <= p->applied);
	CHECK(p->log_start >= 1);
	CHECK(p->log_start <= p->durable + 1);
	CHECK(p->persisted <= p->seq);
	CHECK(p->promised_seq <= p->seq);
}

static void audit_slot(const struct paxos *p, uint64_t slot)
{
	const struct paxos_slot *s = &p->window.slots[slot & (p->window.cap - 1)];

	CHECK(s->entry != NULL);
	CHECK(s->entry->slot == slot);
	CHECK(__atomic_load_n(&s->entry->refs, __ATOMIC_RELAXED) > 0);
	CHECK(s->entry->ballot > 0);
	/* 1 and 5: nothing is held beyond the promise. */
	CHECK(s->entry->ballot <= p->promised);
	CHECK(s->entry->chosen < slot);
	CHECK(s->seq <= p->seq);
	if (slot > p->commit && slot <= p->match)
		CHECK(s->entry->ballot == p->promised);
	if (slot > p->commit && slot <= p->synced)
		CHECK(s->seq <= p->persisted);
}

/* No holes; all that is not applied is in memory; the sums are right. Unless @all, only the slots above
 * `applied` are looked at: those below do not change, and are many. */
static void audit_window(const struct paxos *p, bool all)
{
	const struct paxos_window *w = &p->window;
	uint64_t bytes = 0, open = 0, backlog = 0;

	CHECK(w->first <= p->applied + 1);
	CHECK(w->first >= p->log_start);
	CHECK(w->last + 1 >= w->first);
	CHECK(w->last + 1 - w->first <= w->cap);
	for (uint64_t slot = all ? w->first : p->applied + 1; slot <= w->last; slot++) {
		const struct paxos_entry *e = w->slots[slot & (w->cap - 1)].entry;

		audit_slot(p, slot);
		bytes += paxos__entry_size(e);
		open += slot > p->commit ? paxos__entry_size(e) : 0;
		backlog += slot > p->applied ? paxos__entry_size(e) : 0;
	}
	CHECK(all ? bytes == w->bytes : bytes <= w->bytes);
	CHECK(open == w->open_bytes);
	CHECK(backlog == w->backlog_bytes);
}

static void audit_peers(const struct paxos *p)
{
	PAXOS_FOR_EACH_PEER_CONST(p, q) {
		CHECK(q->next >= 1 && q->next <= p->window.last + 1);
		CHECK(q->want >= 1);
		CHECK(q->want <= q->next);
		CHECK(q->acked <= p->window.last);
		CHECK(q->told <= p->commit);
		CHECK(q->round <= p->round);
		CHECK(q->page_end[0] != 0 || q->page_end[1] == 0);
		CHECK(q->page_end[1] == 0 || q->page_end[0] < q->page_end[1]);
	}
}

static void audit_leader(const struct paxos *p)
{
	CHECK(p->ballot != 0 && p->ballot == p->promised);
	CHECK(p->promised_seq <= p->persisted);
	/* 3: everything open is an own proposal. */
	CHECK(p->match == p->window.last);
	CHECK(p->reign_slot >= 1 && p->reign_slot <= p->window.last);
	CHECK(!p->serving || p->applied >= p->reign_slot);
	CHECK(p->window.last - p->commit <= PAXOS_BACKLOG_SLOTS_MAX + PAXOS_WINDOW_SLOTS_MAX);
	audit_peers(p);
}

static void audit_state(const struct paxos *p)
{
	CHECK(p->ballot == 0 || PAXOS_BALLOT_NODE(p->ballot) == p->cfg.self);
	CHECK(p->leader != p->cfg.self);
	CHECK(p->leader == 0 || PAXOS_BALLOT_NODE(p->promised) == p->leader);
	CHECK(p->state == PAXOS_ST_LEADING || !p->serving);
	CHECK(p->state == PAXOS_ST_LEADING || p->reads.count == 0);
	CHECK(p->max_round >= PAXOS_BALLOT_ROUND(p->promised));
	switch (p->state) {
	case PAXOS_ST_FOLLOWER:
		return;
	case PAXOS_ST_PREVOTING:
		CHECK(p->ballot >= p->promised);
		return;
	case PAXOS_ST_PROMISING:
		CHECK(p->ballot == p->promised);
		return;
	case PAXOS_ST_COLLECTING:
	case PAXOS_ST_CATCHING_UP:
		CHECK(p->ballot == p->promised);
		/* "A candidate has its own promise for b on disk before PREPARE(b) leaves." */
		CHECK(p->promised_seq <= p->persisted);
		return;
	case PAXOS_ST_LEADING:
		audit_leader(p);
		return;
	}
	CHECK(!"a state that does not exist");
}

/* What was emitted in this step lies gapless below `emitted`; what was sent names this replica. */
static void audit_update(const struct paxos *p)
{
	const struct paxos_out *o = &p->out;

	for (size_t i = 0; i < o->committed_count; i++)
		CHECK(o->committed[i]->slot == p->emitted - o->committed_count + 1 + i);
	for (size_t i = 0; i < o->message_count; i++) {
		const struct paxos_message *m = &o->messages[i];

		CHECK(m->from == p->cfg.self && m->to != p->cfg.self);
		CHECK(m->commit <= p->commit);
		if (m->type == PAXOS_ACCEPTED || m->type == PAXOS_PROMISE)
			CHECK(p->promised_seq <= p->persisted || m->ballot < p->promised);
		if (m->type == PAXOS_ACCEPT)
			CHECK(m->synced <= p->synced);
	}
}

static void audit_progress(const struct paxos *p, const struct paxos_audit *prev)
{
	CHECK(p->commit >= prev->commit);
	CHECK(p->applied >= prev->applied);
	CHECK(p->log_start >= prev->log_start);
	CHECK(p->promised >= prev->promised);
}

void paxos_audit(const struct paxos *p, struct paxos_audit *prev)
{
	CHECK(p->started);
	audit_order(p);
	audit_window(p, prev == NULL || prev->steps % PAXOS_AUDIT_ALL == 0);
	audit_state(p);
	audit_update(p);
	if (prev == NULL)
		return;
	audit_progress(p, prev);
	*prev = (struct paxos_audit){.commit = p->commit,
				     .applied = p->applied,
				     .log_start = p->log_start,
				     .promised = p->promised,
				     .steps = prev->steps + 1};
}
