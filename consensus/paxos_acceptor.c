/* The acceptor: what it has promised, accepted and put on disk, and what it answers. */
#include "consensus/paxos_private.h"

/* ---- promises ---- */

static bool is_leading(const struct paxos *p)
{
	return p->state == PAXOS_ST_LEADING;
}

/* "Each acknowledgement promises to promise nobody else for L"; "a restarted node promises nothing
 * for L". The promise does not bind against the node that it was given to: that node either still
 * leads, or has given the lease up by standing again. */
uint64_t paxos__lease_bar(struct paxos *p, uint32_t from, paxos_ballot token)
{
	uint64_t until = 0;

	CHECK(from > 0);
	if (p->now_ns < p->silent_ns)
		until = p->silent_ns;
	if (p->lease_ballot != 0 && PAXOS_BALLOT_NODE(p->lease_ballot) != from &&
	    (token == 0 || token != p->lease_ballot))
		until = u64_max(until, p->lease_promise_ns);
	if (is_leading(p) && from != p->cfg.self)
		until = u64_max(until, paxos__lease_until(p));
	CHECK(p->cfg.member_count > 1 || from == p->cfg.self);
	if (p->cfg.member_count == 1)
		return 0;
	return until > p->now_ns ? until - p->now_ns : 0;
}

void paxos__raise_promise(struct paxos *p, paxos_ballot b)
{
	CHECK(b > p->promised);
	CHECK(p->state == PAXOS_ST_FOLLOWER || PAXOS_BALLOT_NODE(b) == p->cfg.self);
	p->promised = b;
	p->promised_seq = paxos__persist_promise(p, b);
	paxos__note_round(p, b);
	if (p->ballot != b)
		p->ballot = 0;
	p->leader = 0;
	p->leader_commit = 0;
	p->promise_held.due = false;
	p->ack_due = false;
	p->ack_echo_ns = p->ack_round = 0; /* those of another leader's clock and rounds */
	p->acked = 0;
	p->match = p->commit;
	p->synced = u64_min(p->synced, p->match);
	paxos__advance_match(p);
}

void paxos__hold_promise(struct paxos *p, const struct paxos_message *prepare)
{
	CHECK(prepare->ballot == p->promised);
	CHECK(prepare->type == PAXOS_PREPARE);
	p->promise_held = (struct paxos_held){
		.due = true, .to = prepare->from, .first = prepare->first};
}

void paxos__reject(struct paxos *p, const struct paxos_message *m, uint64_t span_ns)
{
	struct paxos_message *r;

	CHECK(m->ballot < p->promised || span_ns > 0);
	r = paxos__send(p, PAXOS_REJECT, m->from);
	r->ballot = m->ballot;
	r->promised = p->promised;
	r->span_ns = span_ns;
	r->echo_ns = m->send_ns;
}

/* One page of what was accepted from @first on. What is chosen is left out: the candidate learns
 * that ("slots below the highest of them in the quorum are chosen"). All of it is on disk, because
 * the record of the promise came behind it. */
static void send_promise(struct paxos *p)
{
	uint64_t slot = u64_max(p->promise_held.first, p->commit + 1);
	struct paxos_message *m = paxos__send(p, PAXOS_PROMISE, p->promise_held.to);
	uint64_t bytes = 0;
	uint32_t count = 0;

	CHECK(p->promised_seq <= p->persisted);
	CHECK(PAXOS_BALLOT_NODE(p->promised) == p->promise_held.to);
	m->ballot = p->promised;
	m->page = p->promise_held.first;
	m->first = slot;
	m->last = slot - 1;
	while (slot <= p->window.last && bytes < PAXOS_PAGE_BYTES &&
	       count < PAXOS_PAGE_ENTRIES_MAX) {
		struct paxos_entry *e = paxos__slot(p, slot)->entry;

		paxos__send_entry(p, e);
		bytes += paxos__entry_size(e);
		slot++;
		count++;
	}
	m->more = slot <= p->window.last;
	p->promise_held.due = false;
}

/* ---- accepting ---- */

void paxos__advance_match(struct paxos *p)
{
	CHECK(p->match >= p->commit);
	while (p->match < p->window.last &&
	       paxos__slot(p, p->match + 1)->entry->ballot == p->promised)
		p->match++;
	while (p->synced < p->match) {
		uint64_t next = p->synced + 1;

		/* Below the ring everything is applied and was on disk when it was dropped. */
		if (paxos__in_window(p, next) && paxos__slot(p, next)->seq > p->persisted)
			break;
		p->synced++;
	}
}

/* "An acceptor that has applied a slot never accepts for it again": the same holds for all that it
 * knows to be chosen. */
void paxos__accept_entries(struct paxos *p, const struct paxos_message *m)
{
	CHECK(m->ballot == p->promised);
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	for (uint32_t i = 0; i < m->count; i++) {
		struct paxos_entry *e = m->entries[i];

		if (e->slot <= p->match)
			continue;
		if (e->slot > p->match + 1 || paxos__backlog_full(p)) {
			p->learn_wanted = true;
			break;
		}
		paxos__window_put(p, e, paxos__persist_entry(p, e));
		paxos__log_grew(p, e->slot, paxos__entry_size(e));
		p->match = e->slot;
	}
	paxos__advance_match(p);
}

/* "A follower may apply slot s <= commit index only if it accepted s at the ballot of the leader
 * that announced that commit index, or received the chosen value by LEARN": match counts nothing
 * else. */
void paxos__advance_commit(struct paxos *p)
{
	CHECK(!is_leading(p));
	CHECK(p->match >= p->commit);
	paxos__set_commit(p, u64_max(p->commit, u64_min(p->leader_commit, p->match)));
}

/* ---- acknowledging ---- */

/* What may be reported as accepted: on disk, and known by ballot (invariant 5). */
static uint64_t reportable(const struct paxos *p)
{
	if (p->leader_commit >= p->unvouched)
		return p->synced;
	return u64_min(p->synced, p->leader_commit);
}

static void send_accepted(struct paxos *p, uint64_t last)
{
	struct paxos_message *m = paxos__send(p, PAXOS_ACCEPTED, p->leader);

	CHECK(p->promised_seq <= p->persisted);
	CHECK(PAXOS_BALLOT_NODE(p->promised) == p->leader);
	m->ballot = p->promised;
	m->first = p->match + 1;
	m->last = last;
	m->echo_ns = p->ack_echo_ns;
	m->round = p->ack_round;
	m->span_ns = p->cfg.timing.lease;
	p->acked = last;
	p->acked_ns = p->now_ns;
	p->ack_due = false;
}

/* "An acceptor MUST have its promise or accepted entry on disk before it answers." */
void paxos__acceptor_settle(struct paxos *p)
{
	uint64_t last;

	paxos__advance_match(p);
	if (p->promised_seq > p->persisted)
		return;
	if (p->promise_held.due)
		send_promise(p);
	if (p->state == PAXOS_ST_LEADING || p->leader == 0)
		return;
	CHECK(p->leader != p->cfg.self);
	last = reportable(p);
	if (p->ack_due || last > p->acked)
		send_accepted(p, last);
}
