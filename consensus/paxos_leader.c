/* The leader: proposes, streams to the followers, counts what is chosen, gives up.
 *
 * What goes to one follower is a stream from `next` on: slots that are chosen as LEARN pages, at
 * most two of them unanswered (it may be far behind); the open ones as ACCEPT, as soon as they are
 * proposed, bounded by the window. Nothing is sent twice unless the answer to something sent
 * *later* says that it is missing: the echo of a heartbeat, or a LEARN_REQUEST. */
#include "consensus/paxos_private.h"

/* ---- reign ---- */

static void peer_begin(struct paxos *p, struct paxos_peer *q)
{
	CHECK(q->node != p->cfg.self);
	CHECK(p->commit < p->window.last);
	/* A guess: what a voter knew to be chosen. The first answer corrects it. */
	q->next = q->promised ? u64_min(q->chosen, p->commit) + 1 : p->commit + 1;
	q->want = q->next;
	q->acked = q->applied = q->told = 0;
	q->sent_ns = q->entries_ns = q->pause_ns = 0;
	q->progress_ns = q->ack_ns = p->now_ns;
	q->probe_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
	q->probes = 0;
	q->page_end[0] = q->page_end[1] = 0;
	q->ahead_ns = 0;
	q->lease_until_ns = 0;
	q->round = 0;
}

/* "Above, it re-proposes, at its own ballot, the value with the highest ballot for each slot, and a
 * no-op for each gap"; the no-op behind is the first entry of the reign proper. */
void paxos__reign_begin(struct paxos *p)
{
	CHECK(p->state == PAXOS_ST_CATCHING_UP);
	CHECK(p->ballot != 0 && p->ballot == p->promised);
	if (paxos__adopt_propose(p) != 0)
		return;
	CHECK(p->window.last > p->commit);
	CHECK(p->match == p->window.last);
	p->state = PAXOS_ST_LEADING;
	p->reign_slot = p->window.last;
	p->reign_ns = p->now_ns;
	p->serving = false;
	paxos__learn_reset(p);
	PAXOS_FOR_EACH_PEER(p, q)
		peer_begin(p, q);
}

/* The ballot is spent: what it proposed may be chosen by others, so it never proposes again. */
void paxos__step_down(struct paxos *p)
{
	const struct paxos_timing *t = &p->cfg.timing;
	uint64_t wait = t->suspect_max + p->cfg.member_count * t->succession_step;

	CHECK(p->state != PAXOS_ST_FOLLOWER);
	p->ballot = 0;
	paxos__follow(p);
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	p->stand_back_ns = u64_add(p->now_ns, wait);
	paxos__retry_election(p, wait);
}

/* ---- proposing ---- */

static bool window_full(const struct paxos *p, uint64_t size)
{
	const struct paxos_window *w = &p->window;

	CHECK(w->last >= p->commit);
	CHECK(w->open_bytes <= w->backlog_bytes);
	if (w->last == p->commit)
		return paxos__backlog_full(p);
	return w->last - p->commit >= PAXOS_WINDOW_SLOTS_MAX ||
	       w->open_bytes + size > PAXOS_WINDOW_BYTES_MAX || paxos__backlog_full(p);
}

void paxos__append_own(struct paxos *p, struct paxos_entry *e)
{
	CHECK(e->ballot == p->ballot && e->ballot == p->promised);
	CHECK(e->slot == p->match + 1);
	CHECK(e->chosen < e->slot);
	paxos__window_put(p, e, paxos__persist_entry(p, e));
	paxos__log_grew(p, e->slot, paxos__entry_size(e));
	p->match = e->slot;
	p->synced = u64_min(p->synced, e->slot - 1);
	paxos_entry_unref(e);
}

int paxos__propose(struct paxos *p, enum paxos_kind kind, struct slice data)
{
	struct paxos_entry *e;

	if (p->state != PAXOS_ST_LEADING)
		return ERR_NOT_LEADER;
	if (kind > PAXOS_STOP_SIGN)
		return ERR_INVAL;
	if (data.len > ENTRY_SIZE_MAX)
		return ERR_TOO_BIG;
	if (window_full(p, sizeof(*e) + data.len))
		return ERR_BUSY;
	CHECK(p->match == p->window.last);
	e = paxos_entry_new(kind, p->ballot, p->window.last + 1, p->wall_ns, data);
	if (e == NULL)
		return ERR_NOMEM;
	e->chosen = p->commit;
	p->out.proposed_slot = e->slot;
	paxos__append_own(p, e);
	CHECK(p->match == p->window.last);
	return 0;
}

/* ---- choosing ---- */

/* A slot is chosen when a majority has it on disk at this ballot, the leader's own disk being one
 * of them. All that lies above `commit` is of this ballot: phase 1 proposed it anew. */
static void choose(struct paxos *p)
{
	uint64_t v[GROUP_REPLICAS_MAX];
	uint32_t n = 0;
	uint64_t chosen;

	paxos__advance_match(p);
	v[n++] = p->synced;
	PAXOS_FOR_EACH_PEER(p, q)
		v[n++] = q->acked;
	CHECK(n == p->cfg.member_count);
	chosen = paxos__nth_largest(v, n, p->quorum);
	if (chosen <= p->commit)
		return;
	CHECK(chosen <= p->window.last);
	CHECK(paxos__slot(p, chosen)->entry->ballot == p->ballot);
	paxos__set_commit(p, chosen);
}

/* ---- streaming ---- */

static struct paxos_message *send_accept(struct paxos *p, struct paxos_peer *q, uint64_t first)
{
	struct paxos_message *m = paxos__send(p, PAXOS_ACCEPT, q->node);

	CHECK(p->state == PAXOS_ST_LEADING);
	CHECK(p->ballot == p->promised);
	m->ballot = p->ballot;
	m->first = first;
	m->last = first - 1;
	m->synced = p->synced;
	m->round = p->round;
	q->sent_ns = p->now_ns;
	q->told = p->commit;
	return m;
}

/* Says where the stream stands, so that the answer shows what was lost. */
void paxos__heartbeat(struct paxos *p, struct paxos_peer *q)
{
	CHECK(q->next >= 1);
	CHECK(q->next <= p->window.last + 1);
	send_accept(p, q, q->next);
}

void paxos__heartbeat_all(struct paxos *p)
{
	CHECK(p->state == PAXOS_ST_LEADING);
	PAXOS_FOR_EACH_PEER(p, q)
		paxos__heartbeat(p, q);
}

/* The stream goes on at @next: everything from there on is sent again. */
void paxos__rewind(struct paxos *p, struct paxos_peer *q, uint64_t next)
{
	CHECK(p->state == PAXOS_ST_LEADING);
	CHECK(next >= 1 && next <= p->window.last + 1);
	if (next >= q->next)
		return;
	q->next = next;
	q->want = u64_min(q->want, next); /* it says so itself: a restart may have cost it some */
	q->page_end[0] = q->page_end[1] = 0;
	q->progress_ns = p->now_ns;
}

/* Of the two pages in flight those that arrived are struck out. True: there is room for another. */
static bool page_room(struct paxos_peer *q)
{
	CHECK(q->page_end[0] != 0 || q->page_end[1] == 0);
	while (q->page_end[0] != 0 && q->want > q->page_end[0]) {
		q->page_end[0] = q->page_end[1];
		q->page_end[1] = 0;
	}
	CHECK(q->page_end[1] == 0 || q->page_end[0] < q->page_end[1]);
	return q->page_end[1] == 0;
}

static void note_sent(struct paxos *p, struct paxos_peer *q, uint64_t last)
{
	CHECK(last >= q->next);
	CHECK(last <= p->window.last);
	if (q->want >= q->next) { /* nothing was outstanding: its time runs from now */
		q->progress_ns = p->now_ns;
		q->probe_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
		q->probes = 0;
	}
	q->entries_ns = p->now_ns;
	q->next = last + 1;
}

/* What is chosen, of whatever ballot. Does not count as a message of the leader: a LEARN renews no
 * lease. */
static int stream_chosen(struct paxos *p, struct paxos_peer *q)
{
	CHECK(p->commit <= p->window.last);
	while (q->next <= p->commit && page_room(q)) {
		uint64_t last;
		int err = paxos__learn_page(p, q, q->next, &last);

		if (err != 0)
			return err;
		if (last < q->next) { /* not in the log any more: it was told so */
			q->pause_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
			return 0;
		}
		CHECK(last <= p->commit);
		q->page_end[q->page_end[0] == 0 ? 0 : 1] = last;
		note_sent(p, q, last);
	}
	return 0;
}

static void stream_open(struct paxos *p, struct paxos_peer *q)
{
	while (q->next > p->commit && q->next <= p->window.last) {
		struct paxos_message *m = send_accept(p, q, q->next);
		uint64_t slot = q->next, bytes = 0;

		while (slot <= p->window.last && bytes < PAXOS_PAGE_BYTES &&
		       m->count < PAXOS_PAGE_ENTRIES_MAX) {
			struct paxos_entry *e = paxos__slot(p, slot++)->entry;

			CHECK(e->ballot == p->ballot);
			paxos__send_entry(p, e);
			bytes += paxos__entry_size(e);
		}
		CHECK(m->count > 0);
		note_sent(p, q, slot - 1);
	}
}

/* A follower that takes nothing is sent heartbeats only, until it answers one. */
static bool takes_entries(const struct paxos *p, const struct paxos_peer *q)
{
	CHECK(q->progress_ns <= p->now_ns);
	if (p->now_ns < q->pause_ns)
		return false;
	return q->want >= q->next || p->now_ns - q->progress_ns < p->cfg.timing.stall;
}

static int stream(struct paxos *p, struct paxos_peer *q)
{
	int err;

	CHECK(q->next >= 1 && q->next <= p->window.last + 1);
	CHECK(q->want <= q->next);
	if (!takes_entries(p, q))
		return 0;
	err = stream_chosen(p, q);
	if (err != 0)
		return err;
	stream_open(p, q);
	return 0;
}

/* Sends what was proposed in this step before its own record is on disk: "PREPARE, ACCEPT: a
 * promise of b" is all that must be. */
int paxos__leader_settle(struct paxos *p)
{
	if (p->state != PAXOS_ST_LEADING)
		return 0;
	CHECK(p->ballot == p->promised);
	choose(p);
	CHECK(p->match == p->window.last);
	if (!p->serving && p->commit >= p->reign_slot && p->applied >= p->reign_slot)
		p->serving = true;
	PAXOS_FOR_EACH_PEER(p, q) {
		int err = stream(p, q);

		if (err != 0)
			return err;
	}
	return 0;
}

/* ---- giving up ---- */

static uint64_t majority_heard_ns(const struct paxos *p)
{
	uint64_t v[GROUP_REPLICAS_MAX];
	uint32_t n = 0;

	v[n++] = p->now_ns;
	PAXOS_FOR_EACH_PEER_CONST(p, q)
		v[n++] = q->ack_ns;
	CHECK(n == p->cfg.member_count);
	return paxos__nth_largest(v, n, p->quorum);
}

static bool is_old(struct paxos *p, uint64_t slot)
{
	return paxos__in_window(p, slot) &&
	       p->now_ns - paxos__slot(p, slot)->time_ns >= p->cfg.timing.stall;
}

/* "its oldest proposal is not chosen, or its oldest chosen entry not applied, for 500 ms while a
 * majority of the others is faster": as many others as can choose without this replica. */
static bool is_stalled(struct paxos *p)
{
	uint64_t store = p->synced + 1, apply = p->applied + 1;
	bool slow_disk = is_old(p, store);
	bool slow_apply = apply <= p->commit && is_old(p, apply);
	uint32_t stored = 0, applied = 0;

	CHECK(p->synced <= p->match);
	CHECK(p->applied <= p->commit);
	PAXOS_FOR_EACH_PEER(p, q) {
		stored += q->acked >= store;
		applied += q->applied >= apply;
	}
	return (slow_disk && stored >= p->quorum) || (slow_apply && applied >= p->quorum);
}

static void give_away(struct paxos *p)
{
	uint64_t wait = 2 * p->cfg.timing.suspect_max;

	CHECK(p->cfg.member_count > 1);
	paxos__hand_over(p);
	if (p->state == PAXOS_ST_LEADING)
		paxos__step_down(p);
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	p->stand_back_ns = u64_max(p->stand_back_ns, u64_add(p->now_ns, wait));
}

/* ---- time ---- */

/* When @q is to hear of what is chosen, if nothing is sent to it before. */
static uint64_t tell_ns(const struct paxos *p, const struct paxos_peer *q)
{
	const struct paxos_window *w = &p->window;
	uint64_t slot = q->told + 1;

	CHECK(q->told <= p->commit);
	if (q->told >= p->commit)
		return UINT64_MAX;
	if (!paxos__in_window(p, slot))
		return u64_add(q->sent_ns, PAXOS_COMMIT_DELAY_NS);
	return u64_add(w->slots[slot & (w->cap - 1)].time_ns, PAXOS_COMMIT_DELAY_NS);
}

static uint64_t beat_ns(const struct paxos *p, const struct paxos_peer *q)
{
	uint64_t span = p->cfg.timing.heartbeat;
	uint64_t at;

	CHECK(q->sent_ns <= p->now_ns);
	if (p->reads.count > 0) /* it waits for the echo of a round */
		span = u64_min(span, p->cfg.timing.retransmit);
	at = u64_min(u64_add(q->sent_ns, span), tell_ns(p, q));
	if (q->want < q->next && q->probe_ns > q->sent_ns)
		at = u64_min(at, q->probe_ns);
	return at;
}

static void beat(struct paxos *p, struct paxos_peer *q)
{
	uint64_t wait = p->cfg.timing.retransmit << (q->probes < 5 ? q->probes : 5);

	CHECK(q->want <= q->next);
	paxos__heartbeat(p, q);
	CHECK(q->told == p->commit);
	if (q->want < q->next && p->now_ns >= q->probe_ns) {
		q->probes++;
		q->probe_ns = u64_add(p->now_ns, u64_max(1, wait));
	}
}

void paxos__leader_tick(struct paxos *p)
{
	if (p->state != PAXOS_ST_LEADING || p->cfg.member_count == 1)
		return;
	CHECK(p->ballot == p->promised);
	if (p->now_ns - majority_heard_ns(p) >= p->cfg.timing.suspect_max) {
		paxos__step_down(p);
		return;
	}
	if (is_stalled(p)) {
		give_away(p);
		return;
	}
	PAXOS_FOR_EACH_PEER(p, q) {
		if (p->now_ns >= beat_ns(p, q))
			beat(p, q);
	}
}

/* Every heartbeat is an occasion to look for a stall: that has no deadline of its own. */
uint64_t paxos__leader_deadline(const struct paxos *p)
{
	uint64_t at;

	if (p->state != PAXOS_ST_LEADING || p->cfg.member_count == 1)
		return UINT64_MAX;
	CHECK(p->quorum > 1);
	CHECK(majority_heard_ns(p) <= p->now_ns);
	at = u64_add(majority_heard_ns(p), p->cfg.timing.suspect_max);
	PAXOS_FOR_EACH_PEER_CONST(p, q) {
		at = u64_min(at, beat_ns(p, q));
		if (q->pause_ns > p->now_ns && q->next <= p->window.last)
			at = u64_min(at, q->pause_ns);
	}
	return at;
}
