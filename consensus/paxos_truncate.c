/* How much of the log is kept: everything that the engine has not made durable, and behind that
 * what lets a lagging follower catch up without a snapshot, within `retain_bytes`.
 *
 * Sizes along the log are remembered at a few marks only. When there are too many, every second one
 * goes: the answer becomes coarser, and never keeps more than was asked for. */
#include "consensus/paxos_private.h"

static struct paxos_mark *mark_at(struct paxos *p, uint32_t i)
{
	CHECK(i < p->mark_count);
	CHECK(p->mark_count <= PAXOS_MARKS_MAX);
	return &p->marks[(p->mark_head + i) % PAXOS_MARKS_MAX];
}

static void thin_marks(struct paxos *p)
{
	uint32_t kept = 0;

	CHECK(p->mark_count == PAXOS_MARKS_MAX);
	for (uint32_t i = 0; i < p->mark_count; i += 2)
		*mark_at(p, kept++) = *mark_at(p, i);
	p->mark_count = kept;
	CHECK(p->mark_count < PAXOS_MARKS_MAX);
}

/* A slot that is written again, at a higher ballot, counts again: the log holds both records. */
void paxos__log_grew(struct paxos *p, uint64_t slot, uint64_t bytes)
{
	uint64_t before = p->log_bytes;
	uint64_t step = p->cfg.retain_bytes / (PAXOS_MARKS_MAX / 4);
	const struct paxos_mark *last;

	CHECK(slot > 0);
	p->log_bytes += bytes;
	CHECK(p->log_bytes >= before);
	if (p->mark_count > 0) {
		last = mark_at(p, p->mark_count - 1);
		if (slot <= last->slot || before - last->bytes < step)
			return;
	}
	if (p->mark_count == PAXOS_MARKS_MAX)
		thin_marks(p);
	CHECK(p->mark_count < PAXOS_MARKS_MAX);
	p->mark_count++;
	*mark_at(p, p->mark_count - 1) = (struct paxos_mark){.slot = slot, .bytes = before};
}

/* The smallest marked slot from which no more than `retain_bytes` follow. */
static uint64_t retained_from(struct paxos *p)
{
	for (uint32_t i = 0; i < p->mark_count; i++) {
		const struct paxos_mark *k = mark_at(p, i);

		CHECK(k->bytes <= p->log_bytes);
		if (p->log_bytes - k->bytes <= p->cfg.retain_bytes)
			return k->slot;
	}
	return p->window.last + 1;
}

/* The first slot that some other member may still ask for. Only a leader knows; the others keep
 * what they may, in case they lead one day. What a follower has accepted it may still have to
 * learn: it does not know that it is chosen, and if it leads next, only this replica can say. */
static uint64_t needed_from(const struct paxos *p)
{
	uint64_t from = UINT64_MAX;

	if (p->cfg.member_count == 1)
		return from;
	if (p->state != PAXOS_ST_LEADING)
		return 0;
	PAXOS_FOR_EACH_PEER_CONST(p, q)
		from = u64_min(from, u64_min(q->applied + 1, q->want));
	CHECK(from > 0);
	return from;
}

static void forget_marks(struct paxos *p)
{
	/* The mark at or before the start stays: it says how much lies behind. */
	while (p->mark_count > 1 && mark_at(p, 1)->slot <= p->log_start) {
		p->mark_head = (p->mark_head + 1) % PAXOS_MARKS_MAX;
		p->mark_count--;
	}
}

static void truncate(struct paxos *p, uint64_t below)
{
	CHECK(below > p->log_start);
	CHECK(below <= p->applied + 1);
	p->log_start = below;
	p->out.truncate_below = below;
	paxos__window_cut(p, below);
	forget_marks(p);
	CHECK(p->window.first >= below);
}

void paxos__on_durable(struct paxos *p, uint64_t slot)
{
	uint64_t below;

	p->durable = u64_max(p->durable, u64_min(slot, p->applied));
	CHECK(p->durable <= p->applied);
	below = u64_min(p->durable + 1, u64_max(retained_from(p), needed_from(p)));
	if (below > p->log_start)
		truncate(p, below);
}

/* Whatever of the log lies behind the snapshot goes on from there; the rest is history. */
void paxos__on_snapshot_installed(struct paxos *p, uint64_t slot)
{
	if (slot <= p->applied)
		return;
	CHECK(slot <= PAXOS_SLOT_MAX);
	if (slot > p->commit) {
		/* Others have chosen beyond what this replica has counted: it leads no more. */
		if (p->state != PAXOS_ST_FOLLOWER)
			paxos__follow(p);
		p->unvouched = u64_max(p->unvouched, slot);
	}
	p->applied = p->durable = slot;
	p->emitted = u64_max(p->emitted, slot);
	p->commit = u64_max(p->commit, slot);
	p->match = u64_max(p->match, p->commit);
	p->synced = u64_max(p->synced, slot);
	truncate(p, slot + 1);
	paxos__window_recount(p);
	paxos__advance_match(p);
	paxos__learn_reset(p);
	p->snapshot_ns = 0;
	CHECK(p->match <= p->window.last);
}
