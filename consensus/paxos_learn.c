/* Chosen entries, asked for and given. "Gap detection": a follower that sees a slot beyond its next
 * one, or a chosen index beyond what it holds at the leader's ballot, asks. */
#include "consensus/paxos_private.h"

/* ---- giving ---- */

/* A reference in @out. ERR_NOT_FOUND, ERR_NOMEM, ERR_CORRUPT. */
int paxos__load_entry(struct paxos *p, uint64_t slot, struct paxos_entry **out)
{
	struct paxos_entry *e = NULL;
	int err;

	CHECK(slot > 0);
	if (paxos__in_window(p, slot)) {
		*out = paxos_entry_ref(paxos__slot(p, slot)->entry);
		return 0;
	}
	err = p->cfg.read_entry(p->cfg.read_ctx, slot, &e);
	if (err != 0)
		return err;
	CHECK(e != NULL);
	CHECK(e->refs > 0);
	if (e->slot != slot || e->ballot == 0 || e->ballot > p->promised) {
		paxos_entry_unref(e);
		return ERR_CORRUPT;
	}
	*out = e;
	return 0;
}

/* An entry that cannot be had now ends the page; the asker will ask again. Damage is for the
 * driver. */
int paxos__learn_page(struct paxos *p, struct paxos_peer *q, uint64_t first, uint64_t *sent)
{
	struct paxos_message *m;
	uint64_t slot = first, bytes = 0;
	int err = 0;

	CHECK(first > 0);
	CHECK(p->commit <= p->window.last);
	*sent = first - 1;
	if (first > p->commit)
		return 0;
	m = paxos__send(p, PAXOS_LEARN, q->node);
	m->first = first;
	m->last = first - 1;
	if (first < p->log_start)
		return 0;
	while (slot <= p->commit && bytes < PAXOS_PAGE_BYTES && m->count < PAXOS_PAGE_ENTRIES_MAX) {
		struct paxos_entry *e;

		err = paxos__load_entry(p, slot, &e);
		if (err != 0)
			break;
		paxos__send_entry(p, e);
		paxos__drop_entry(p, e); /* the message borrows it until the next step */
		bytes += paxos__entry_size(e);
		slot++;
	}
	CHECK(m->count == slot - first);
	CHECK(slot <= p->commit + 1);
	m->more = slot <= p->commit;
	*sent = slot - 1;
	return err == ERR_CORRUPT ? err : 0;
}

/* ---- asking ---- */

void paxos__learn_reset(struct paxos *p)
{
	p->learn_wanted = false;
	p->learn_first = 0;
	p->learn_ns = 0;
	p->learn_tries = 0;
}

/* What is known to be chosen, as far as it matters here. */
static uint64_t target(const struct paxos *p)
{
	if (p->state == PAXOS_ST_CATCHING_UP)
		return p->catch_up_to;
	if (p->state == PAXOS_ST_FOLLOWER && p->leader != 0)
		return p->leader_commit;
	return 0;
}

static bool lacks(const struct paxos *p)
{
	if (p->state == PAXOS_ST_FOLLOWER && p->leader != 0 && p->learn_wanted)
		return true;
	return target(p) > p->match;
}

/* What a new leader may expect of the member: 2: the entry. 1: to hear at once that it takes a
 * snapshot. 0: nothing. */
static int worth_asking(const struct paxos *p, uint32_t i, uint64_t slot)
{
	const struct paxos_peer *q = &p->peers[i];

	if (p->state != PAXOS_ST_CATCHING_UP || !q->promised || q->chosen < slot)
		return 0;
	return q->log_start <= slot ? 2 : 1;
}

/* A follower asks its leader, and every other time somebody else: the leader may be out of memory,
 * or the way to it lossy. A new leader asks who promised and has it. */
static uint32_t pick_source(const struct paxos *p, uint64_t first)
{
	uint32_t n = p->cfg.member_count;
	bool ask_leader = p->state == PAXOS_ST_FOLLOWER && p->learn_tries % 2 == 0;
	uint32_t best = p->me;

	CHECK(n > 1);
	CHECK(p->learn_source < n);
	for (uint32_t k = 1; k <= n; k++) {
		uint32_t i = (p->learn_source + k) % n;

		if (i == p->me)
			continue;
		if (ask_leader && p->peers[i].node == p->leader)
			return i;
		if (best == p->me || worth_asking(p, i, first) > worth_asking(p, best, first))
			best = i;
	}
	CHECK(best != p->me);
	return best;
}

static void ask(struct paxos *p, uint64_t first)
{
	uint64_t wait = p->cfg.timing.retransmit << (p->learn_tries < 4 ? p->learn_tries : 4);
	struct paxos_message *m;

	CHECK(first > p->commit);
	CHECK(p->state == PAXOS_ST_FOLLOWER || p->state == PAXOS_ST_CATCHING_UP);
	p->learn_source = pick_source(p, first);
	m = paxos__send(p, PAXOS_LEARN_REQUEST, p->peers[p->learn_source].node);
	m->first = first;
	p->learn_first = first;
	p->learn_ns = u64_add(p->now_ns, wait + paxos__random(p, wait / 4));
	p->learn_tries++;
	p->learn_wanted = false;
}

/* Entries are on their way: ask only if they stop coming. */
static void wait_for(struct paxos *p, uint64_t first)
{
	CHECK(first > p->commit);
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	p->learn_first = first;
	p->learn_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
	p->learn_tries = 0;
	p->learn_wanted = false;
}

/* A leader streams what is asked for, all of it; from anyone else each page is asked for. */
void paxos__learn_settle(struct paxos *p)
{
	uint64_t next = p->match + 1;
	bool pages = p->state == PAXOS_ST_CATCHING_UP;

	CHECK(p->match >= p->commit);
	CHECK(p->match <= p->window.last);
	if (!lacks(p)) {
		paxos__learn_reset(p);
		return;
	}
	if (p->learn_first == 0) {
		if (p->learn_wanted || pages)
			ask(p, next);
		else
			wait_for(p, next);
		return;
	}
	if (next > p->learn_first) {
		p->learn_tries = 0;
		if (pages)
			ask(p, next);
		else
			wait_for(p, next);
		return;
	}
	if (p->now_ns >= p->learn_ns)
		ask(p, next);
}

uint64_t paxos__learn_deadline(const struct paxos *p)
{
	CHECK(p->learn_first == 0 || p->learn_ns > 0);
	return p->learn_first == 0 ? UINT64_MAX : p->learn_ns;
}
