/* What phase 1 found: per slot the value with the highest ballot, and what a new leader makes of it.
 *
 * "Above, it re-proposes, at its own ballot, the value with the highest ballot for each slot, and a
 * no-op for each gap." The own log takes part like any other acceptor's. */
#include "consensus/paxos_private.h"

#include <string.h>

/* Entries lie at most so far above the chosen index of who has them (its backlog is bounded), and
 * chosen indexes that are further apart move the base. */
#define SPREAD_MAX (2ull * PAXOS_BACKLOG_SLOTS_MAX)

void paxos__adopt_reset(struct paxos *p, uint64_t base)
{
	struct paxos_adopted *a = &p->adopted;

	CHECK(base > 0);
	CHECK(a->count <= a->cap);
	for (size_t i = 0; i < a->count; i++)
		paxos_entry_unref(a->entries[i]);
	a->count = 0;
	a->base = base;
}

void paxos__adopt_release(struct paxos *p)
{
	paxos__adopt_reset(p, 1);
	mem_free(p->adopted.entries);
	p->adopted = (struct paxos_adopted){0};
}

/* Slots below @base are chosen: this replica must learn them, and needs no proposals for them. */
static void move_base(struct paxos *p, uint64_t base)
{
	struct paxos_adopted *a = &p->adopted;
	size_t cut = (size_t)u64_min(base - a->base, a->count);

	CHECK(base > a->base);
	for (size_t i = 0; i < cut; i++)
		paxos_entry_unref(a->entries[i]);
	if (cut > 0)
		memmove(a->entries, a->entries + cut, (a->count - cut) * sizeof(*a->entries));
	a->count -= cut;
	a->base = base;
}

bool paxos__adopt(struct paxos *p, struct paxos_entry *e, uint64_t chosen)
{
	struct paxos_adopted *a = &p->adopted;
	size_t i;

	CHECK(e->ballot < p->ballot);
	CHECK(a->base > 0);
	if (e->slot <= chosen || e->slot - chosen > PAXOS_BACKLOG_SLOTS_MAX + 1)
		return false;
	if (chosen >= a->base && chosen - a->base >= PAXOS_BACKLOG_SLOTS_MAX)
		move_base(p, chosen + 1);
	if (e->slot < a->base)
		return true;
	CHECK(e->slot - a->base <= SPREAD_MAX);
	i = (size_t)(e->slot - a->base);
	while (a->count <= i) {
		a->entries = paxos__grow(a->entries, a->count, &a->cap, sizeof(*a->entries));
		a->entries[a->count++] = NULL;
	}
	if (a->entries[i] != NULL && a->entries[i]->ballot >= e->ballot)
		return true;
	paxos_entry_unref(a->entries[i]);
	a->entries[i] = paxos_entry_ref(e);
	return true;
}

/* ---- proposing it ---- */

static uint64_t adopted_last(const struct paxos *p)
{
	return p->adopted.base + p->adopted.count - 1;
}

/* The value with the highest ballot that the quorum has accepted for @slot; NULL: none. */
static const struct paxos_entry *highest(struct paxos *p, uint64_t slot)
{
	const struct paxos_adopted *a = &p->adopted;
	const struct paxos_entry *e = NULL, *own;

	CHECK(slot > p->commit);
	if (slot >= a->base && slot <= adopted_last(p))
		e = a->entries[slot - a->base];
	if (paxos__in_window(p, slot)) {
		own = paxos__slot(p, slot)->entry;
		if (e == NULL || own->ballot > e->ballot)
			e = own;
	}
	return e;
}

static struct paxos_entry *make_proposal(struct paxos *p, uint64_t slot, uint64_t last)
{
	const struct paxos_entry *e = slot <= last ? highest(p, slot) : NULL;
	struct paxos_entry *own;

	if (e == NULL)
		own = paxos_entry_new(PAXOS_NOOP, p->ballot, slot, p->wall_ns, slice_of(NULL, 0));
	else
		own = paxos_entry_new((enum paxos_kind)e->kind, p->ballot, slot, e->clock_ns,
				      slice_of(e->data, e->len));
	if (own == NULL)
		return NULL;
	CHECK(p->commit < slot);
	own->chosen = p->commit;
	return own;
}

int paxos__adopt_propose(struct paxos *p)
{
	uint64_t last = u64_max(p->window.last, adopted_last(p));
	size_t count, made = 0;
	struct paxos_entry **own;

	CHECK(p->ballot != 0 && p->ballot == p->promised);
	CHECK(p->adopted.base <= p->commit + 1 && last >= p->commit);
	count = (size_t)(last - p->commit) + 1;
	own = mem_try_alloc(count * sizeof(struct paxos_entry *));
	if (own == NULL)
		return ERR_NOMEM;
	while (made < count && (own[made] = make_proposal(p, p->commit + 1 + made, last)) != NULL)
		made++;
	if (made < count) {
		while (made > 0)
			paxos_entry_unref(own[--made]);
		mem_free(own);
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < count; i++)
		paxos__append_own(p, own[i]);
	mem_free(own);
	p->reign_slot = last + 1;
	paxos__adopt_reset(p, last + 2);
	return 0;
}
