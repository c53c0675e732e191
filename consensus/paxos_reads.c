/* Linearizable reads without a log entry (Ongaro 2014, 6.4): at once under a lease, else after a
 * heartbeat round that started when the read was here already.
 *
 * One round is under way at a time. Reads that come meanwhile wait for the next one, together, so
 * the rounds cost the same however many reads there are. A lost round is repeated by the
 * heartbeats, which carry its number (beat_ns in paxos_leader.c). */
#include "consensus/paxos_private.h"

static struct paxos_read *item(const struct paxos_reads *r, size_t i)
{
	CHECK(i < r->count);
	CHECK((r->cap & (r->cap - 1)) == 0);
	return &r->items[(r->head + i) & (r->cap - 1)];
}

static void push(struct paxos_reads *r, uint64_t id)
{
	CHECK(r->count <= r->cap);
	if (r->count == r->cap) {
		size_t cap = r->cap > 0 ? 2 * r->cap : 16;
		struct paxos_read *items = mem_must_alloc(cap * sizeof(*items));

		for (size_t i = 0; i < r->count; i++)
			items[i] = *item(r, i);
		mem_free(r->items);
		*r = (struct paxos_reads){.items = items, .cap = cap, .count = r->count};
	}
	r->count++;
	*item(r, r->count - 1) = (struct paxos_read){.id = id};
}

static struct paxos_read pop(struct paxos_reads *r)
{
	struct paxos_read read;

	CHECK(r->count > 0);
	read = *item(r, 0);
	r->head = (r->head + 1) & (r->cap - 1);
	r->count--;
	return read;
}

void paxos__reads_fail(struct paxos *p)
{
	while (p->reads.count > 0) {
		struct paxos_read read = pop(&p->reads);

		paxos__emit_read(p, &(struct paxos_read_ready){.read_id = read.id,
							       .err = ERR_NOT_LEADER});
	}
	CHECK(p->reads.count == 0);
}

static void serve(struct paxos *p, uint64_t slot, bool under_lease)
{
	struct paxos_read read = pop(&p->reads);

	CHECK(p->state == PAXOS_ST_LEADING && p->serving);
	CHECK(slot >= p->reign_slot && slot <= p->commit);
	paxos__emit_read(p, &(struct paxos_read_ready){
				    .read_id = read.id, .slot = slot, .under_lease = under_lease});
}

int paxos__read(struct paxos *p, uint64_t id)
{
	CHECK(p->state == PAXOS_ST_LEADING || p->reads.count == 0);
	if (p->reads.count >= PAXOS_READS_MAX)
		return ERR_BUSY;
	if (p->state != PAXOS_ST_LEADING) {
		paxos__emit_read(p, &(struct paxos_read_ready){.read_id = id,
							       .err = ERR_NOT_LEADER});
		return 0;
	}
	push(&p->reads, id); /* paxos__reads_settle finds out how it is to be served */
	CHECK(p->reads.count > 0);
	return 0;
}

/* The latest round that a majority, this replica included, has answered. */
static uint64_t confirmed_round(const struct paxos *p)
{
	uint64_t v[GROUP_REPLICAS_MAX];
	uint32_t n = 0;

	v[n++] = p->round;
	PAXOS_FOR_EACH_PEER_CONST(p, q)
		v[n++] = q->round;
	CHECK(n == p->cfg.member_count);
	return paxos__nth_largest(v, n, p->quorum);
}

/* A new round for all reads that have none. They see what is chosen now: everything that was
 * answered before they came. */
static void start_round(struct paxos *p)
{
	bool any = false;

	CHECK(p->serving);
	CHECK(p->commit >= p->reign_slot);
	for (size_t i = p->reads.count; i > 0; i--) {
		struct paxos_read *read = item(&p->reads, i - 1);

		if (read->round != 0)
			break;
		read->round = p->round + 1;
		read->slot = p->commit;
		any = true;
	}
	if (!any)
		return;
	p->round++;
	paxos__heartbeat_all(p);
}

static void serve_confirmed(struct paxos *p, uint64_t round)
{
	CHECK(round <= p->round);
	while (p->reads.count > 0) {
		const struct paxos_read *read = item(&p->reads, 0);

		if (read->round == 0 || read->round > round)
			break;
		serve(p, read->slot, false);
	}
}

/* "A new leader reads only once an entry of its own ballot is chosen and applied": until then reads
 * wait here. */
void paxos__reads_settle(struct paxos *p)
{
	if (p->state != PAXOS_ST_LEADING) {
		paxos__reads_fail(p);
		return;
	}
	if (!p->serving || p->reads.count == 0)
		return;
	CHECK(p->commit >= p->reign_slot);
	serve_confirmed(p, confirmed_round(p));
	if (paxos__lease_until(p) > p->now_ns) {
		/* Those with a round are older: they may be served in the same way. */
		while (p->reads.count > 0)
			serve(p, p->commit, true);
		return;
	}
	if (confirmed_round(p) < p->round)
		return;
	start_round(p);
	serve_confirmed(p, confirmed_round(p)); /* a group of one */
}
