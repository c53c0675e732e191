/* Start after a restart: from what the log and the engine held to a follower. */
#include "consensus/paxos_private.h"

#include <stdlib.h>

void paxos_restore_promise(struct paxos *p, paxos_ballot ballot)
{
	CHECK(!p->started);
	p->promised = u64_max(p->promised, ballot);
	paxos__note_round(p, ballot);
}

void paxos_restore_entry(struct paxos *p, struct paxos_entry *e)
{
	CHECK(!p->started);
	CHECK(e->slot > 0 && e->ballot > 0);
	/* Whoever stored it had promised its ballot. */
	paxos_restore_promise(p, e->ballot);
	p->restored = paxos__grow(p->restored, p->restored_count, &p->restored_cap,
				  sizeof(struct paxos_entry *));
	p->restored[p->restored_count++] = paxos_entry_ref(e);
}

void paxos_restore_mark(struct paxos *p, uint64_t log_start)
{
	CHECK(!p->started);
	p->log_start = u64_max(p->log_start, log_start);
}

/* By slot; of one slot the highest ballot first. */
static int by_slot(const void *va, const void *vb)
{
	const struct paxos_entry *a = *(struct paxos_entry *const *)va;
	const struct paxos_entry *b = *(struct paxos_entry *const *)vb;

	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	if (a->ballot != b->ballot)
		return a->ballot > b->ballot ? -1 : 1;
	return 0;
}

/* Sorts, and keeps per slot the highest ballot, and nothing that was cut off. */
static void tidy(struct paxos *p)
{
	size_t kept = 0;

	if (p->restored_count > 0)
		qsort(p->restored, p->restored_count, sizeof(struct paxos_entry *), by_slot);
	for (size_t i = 0; i < p->restored_count; i++) {
		struct paxos_entry *e = p->restored[i];

		if (e->slot < p->log_start ||
		    (kept > 0 && p->restored[kept - 1]->slot == e->slot))
			paxos_entry_unref(e);
		else
			p->restored[kept++] = e;
	}
	CHECK(kept <= p->restored_count);
	p->restored_count = kept;
}

/* What is below a gap is of no use: the state of @applied came as a snapshot. Above @applied there is
 * no gap, because an acceptor stores nothing behind one. */
static int find_start(struct paxos *p, uint64_t applied, size_t *first)
{
	size_t i = p->restored_count;
	uint64_t next = applied + 1;

	if (i > 0 && p->restored[i - 1]->slot >= next)
		next = p->restored[i - 1]->slot + 1;
	while (i > 0 && p->restored[i - 1]->slot + 1 == next) {
		next--;
		i--;
	}
	if (next > applied + 1)
		return ERR_CORRUPT;
	CHECK(next >= p->log_start);
	*first = i;
	return 0;
}

/* The highest chosen index that a leader with a ballot of at most @b has told in an entry. */
static uint64_t chosen_by(const struct paxos *p, paxos_ballot b)
{
	uint64_t chosen = 0;

	for (uint64_t s = p->commit + 1; s <= p->window.last; s++) {
		const struct paxos_entry *e = p->window.slots[s & (p->window.cap - 1)].entry;

		if (e->ballot <= b)
			chosen = u64_max(chosen, e->chosen);
	}
	return chosen;
}

/* A leader that knew slots up to c as chosen proposed those values and no others, and so did every
 * leader with a higher ballot. */
static uint64_t known_chosen(struct paxos *p)
{
	uint64_t commit = p->commit;

	while (commit < p->window.last) {
		paxos_ballot b = paxos__slot(p, commit + 1)->entry->ballot;
		uint64_t to = u64_min(chosen_by(p, b), p->window.last);

		if (to <= commit)
			break;
		while (commit < to && paxos__slot(p, commit + 1)->entry->ballot >= b)
			commit++;
	}
	return commit;
}

static void fill_window(struct paxos *p, size_t first)
{
	CHECK(p->window.last == p->applied);
	for (size_t i = first; i < p->restored_count; i++) {
		struct paxos_entry *e = p->restored[i];

		paxos__log_grew(p, e->slot, paxos__entry_size(e));
		if (e->slot > p->applied)
			paxos__window_put(p, e, 0);
	}
	for (size_t i = 0; i < p->restored_count; i++)
		paxos_entry_unref(p->restored[i]);
	mem_free(p->restored);
	p->restored = NULL;
	p->restored_count = p->restored_cap = 0;
}

int paxos_start(struct paxos *p, uint64_t applied, bool fresh, uint64_t now_ns)
{
	size_t first = 0;
	int err;

	CHECK(!p->started);
	if (p->log_start > applied + 1)
		return ERR_CORRUPT;
	tidy(p);
	err = find_start(p, applied, &first);
	if (err != 0)
		return err;
	p->log_start = first < p->restored_count ? p->restored[first]->slot : applied + 1;
	/* Slots that are not in the log may have come in a snapshot, without ballots. */
	p->unvouched = p->log_start - 1;
	p->now_ns = now_ns;
	p->applied = p->emitted = p->commit = p->durable = applied;
	p->window.first = applied + 1;
	p->window.last = applied;
	fill_window(p, first);
	paxos__set_commit(p, known_chosen(p));
	p->match = p->synced = p->commit;
	p->started = true;
	paxos__advance_match(p);
	if (!fresh)
		p->silent_ns = u64_add(now_ns, p->cfg.timing.lease);
	paxos__rearm_election(p);
	CHECK(p->emitted <= p->commit && p->commit <= p->match);
	return 0;
}
