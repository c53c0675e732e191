/* The log in memory: a ring of consecutive slots. It always holds what is not applied, and as much of
 * what is applied as the cache's bounds allow. */
#include "consensus/paxos_private.h"

#include <string.h>

enum { RING_CAP_FIRST = 64 };

uint64_t paxos__entry_size(const struct paxos_entry *e)
{
	return sizeof(*e) + e->len;
}

bool paxos__in_window(const struct paxos *p, uint64_t slot)
{
	return slot >= p->window.first && slot <= p->window.last;
}

struct paxos_slot *paxos__slot(struct paxos *p, uint64_t slot)
{
	CHECK(paxos__in_window(p, slot));
	return &p->window.slots[slot & (p->window.cap - 1)];
}

static void ring_grow(struct paxos_window *w)
{
	uint64_t cap = w->cap > 0 ? w->cap * 2 : RING_CAP_FIRST;
	struct paxos_slot *slots = mem_must_alloc(cap * sizeof(*slots));

	CHECK(w->last + 1 - w->first == w->cap);
	CHECK((cap & (cap - 1)) == 0);
	for (uint64_t s = w->first; s <= w->last; s++)
		slots[s & (cap - 1)] = w->slots[s & (w->cap - 1)];
	mem_free(w->slots);
	w->slots = slots;
	w->cap = cap;
}

static void count_entry(struct paxos *p, const struct paxos_entry *e, int sign)
{
	uint64_t size = paxos__entry_size(e);
	uint64_t delta = sign > 0 ? size : 0 - size;

	p->window.bytes += delta;
	if (e->slot > p->commit)
		p->window.open_bytes += delta;
	if (e->slot > p->applied)
		p->window.backlog_bytes += delta;
}

void paxos__window_put(struct paxos *p, struct paxos_entry *e, uint64_t seq)
{
	struct paxos_window *w = &p->window;
	struct paxos_slot *s;

	CHECK(e->slot >= w->first && e->slot <= w->last + 1);
	CHECK(e->slot > p->applied);
	if (w->last + 1 - w->first == w->cap && e->slot == w->last + 1)
		ring_grow(w);
	s = &w->slots[e->slot & (w->cap - 1)];
	if (e->slot == w->last + 1) {
		w->last++;
	} else {
		count_entry(p, s->entry, -1);
		paxos__drop_entry(p, s->entry);
	}
	*s = (struct paxos_slot){
		.entry = paxos_entry_ref(e), .seq = seq, .time_ns = p->now_ns};
	count_entry(p, e, 1);
}

static void drop_first(struct paxos *p)
{
	struct paxos_slot *s = paxos__slot(p, p->window.first);

	CHECK(s->entry != NULL);
	CHECK(s->entry->slot == p->window.first);
	count_entry(p, s->entry, -1);
	paxos__drop_entry(p, s->entry);
	s->entry = NULL;
	p->window.first++;
}

void paxos__window_trim(struct paxos *p)
{
	struct paxos_window *w = &p->window;

	CHECK(p->applied <= p->commit);
	while (w->first <= w->last && w->first <= p->applied) {
		if (w->bytes <= p->cfg.cache_bytes &&
		    w->last - w->first < PAXOS_CACHE_SLOTS_MAX)
			break;
		if (paxos__slot(p, w->first)->seq > p->persisted)
			break;
		drop_first(p);
	}
}

void paxos__window_cut(struct paxos *p, uint64_t below)
{
	struct paxos_window *w = &p->window;

	CHECK(below > 0);
	while (w->first <= w->last && w->first < below)
		drop_first(p);
	if (w->first > w->last && w->first < below) {
		w->first = below;
		w->last = below - 1;
	}
	CHECK(w->last + 1 >= w->first);
}

void paxos__window_recount(struct paxos *p)
{
	struct paxos_window *w = &p->window;

	CHECK(w->last + 1 >= w->first);
	w->bytes = w->open_bytes = w->backlog_bytes = 0;
	for (uint64_t s = w->first; s <= w->last; s++)
		count_entry(p, paxos__slot(p, s)->entry, 1);
}

void paxos__set_commit(struct paxos *p, uint64_t commit)
{
	CHECK(commit >= p->commit);
	CHECK(commit <= p->window.last);
	for (uint64_t s = p->commit + 1; s <= commit; s++) {
		struct paxos_slot *slot = paxos__slot(p, s);

		p->window.open_bytes -= paxos__entry_size(slot->entry);
		slot->time_ns = p->now_ns;
	}
	p->commit = commit;
}

void paxos__set_applied(struct paxos *p, uint64_t applied)
{
	CHECK(applied <= p->emitted);
	CHECK(p->emitted <= p->commit);
	for (uint64_t s = p->applied + 1; s <= applied; s++)
		p->window.backlog_bytes -= paxos__entry_size(paxos__slot(p, s)->entry);
	p->applied = u64_max(p->applied, applied);
}

bool paxos__backlog_full(const struct paxos *p)
{
	CHECK(p->window.last >= p->applied);
	return p->window.backlog_bytes >= PAXOS_BACKLOG_BYTES_MAX ||
	       p->window.last - p->applied >= PAXOS_BACKLOG_SLOTS_MAX;
}
