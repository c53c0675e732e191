/* What the cluster checks of its cores: agreement, durability, linearizable reads. */
#include "tests/lib/paxos_cluster_internal.h"

#include <string.h>

/* ---- the checker ---- */

static uint64_t fingerprint(const struct paxos_entry *e)
{
	uint64_t h = 0xcbf29ce484222325ull ^ e->kind ^ e->clock_ns;

	for (size_t i = 0; i < e->len; i++)
		h = (h ^ e->data[i]) * 0x100000001b3ull;
	return (h ^ e->len) | 1;
}

static void check_majority_has(struct paxos_cluster *c, uint64_t slot, uint64_t print)
{
	uint32_t have = 0;

	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		const struct node *n = &c->nodes[i];
		const struct disk *d = &n->disk;

		have += n->durable >= slot || (slot < d->slots && d->stored[slot] &&
					       fingerprint(d->stored[slot]) == print);
	}
	if (have < c->cfg.nodes / 2 + 1)
		FAIL(c, "slot %llu is given out, but only %u disks have it",
		     (unsigned long long)slot, have);
}

void cluster__check_given(struct paxos_cluster *c, uint32_t i, const struct paxos_entry *e)
{
	struct node *n = &c->nodes[i];
	uint64_t print = fingerprint(e);

	if (e->slot != n->given + 1)
		FAIL(c, "node %u: slot %llu behind %llu", i, (unsigned long long)e->slot,
		     (unsigned long long)n->given);
	n->given = e->slot;
	if (e->slot >= c->chosen_cap) {
		size_t cap = (size_t)e->slot * 2 + 64;

		c->chosen = mem_must_realloc(c->chosen, cap * sizeof(*c->chosen));
		memset(c->chosen + c->chosen_cap, 0, (cap - c->chosen_cap) * sizeof(*c->chosen));
		c->chosen_cap = cap;
	}
	if (!c->chosen[e->slot]) {
		check_majority_has(c, e->slot, print);
		c->chosen[e->slot] = print;
		c->chosen_last = e->slot > c->chosen_last ? e->slot : c->chosen_last;
	}
	if (c->chosen[e->slot] != print)
		FAIL(c, "node %u: another value for slot %llu", i, (unsigned long long)e->slot);
}

/* "An acceptor MUST have its promise or accepted entry on disk before it answers." */
void cluster__check_sent(struct paxos_cluster *c, const struct node *n,
			 const struct paxos_message *m)
{
	switch (m->type) {
	case PAXOS_ACCEPTED:
		MUST(c, m->last <= n->disk.whole || m->last <= n->durable);
		MUST(c, n->disk.promise >= m->ballot);
		return;
	case PAXOS_PREPARE:
	case PAXOS_PROMISE:
	case PAXOS_ACCEPT:
		MUST(c, n->disk.promise >= m->ballot);
		return;
	default:
		return;
	}
}

/* ---- reads ---- */

static void serve(struct paxos_cluster *c, struct read *r)
{
	struct node *n = &c->nodes[r->node];

	if (!r->ready || n->applied < r->slot)
		return;
	if (r->under_lease && !paxos_lease_valid(n->core, cluster__mono(c, n))) {
		r->ready = false;
		cluster__push(c, (struct event){.at = c->now,
						.kind = READ_AGAIN,
						.node = r->node,
						.life = n->life,
						.arg = r->id});
		return;
	}
	if (n->applied < r->floor)
		FAIL(c, "node %u: a read %s sees %llu, but %llu was chosen before", r->node,
		     r->under_lease ? "under lease" : "by index", (unsigned long long)n->applied,
		     (unsigned long long)r->floor);
	r->waits = false;
	c->served++;
}

void cluster__serve_all(struct paxos_cluster *c, uint32_t i)
{
	for (size_t k = 0; k < READS; k++) {
		if (c->reads[k].waits && c->reads[k].node == i)
			serve(c, &c->reads[k]);
	}
}

void cluster__read_ready(struct paxos_cluster *c, uint32_t i, const struct paxos_read_ready *ready)
{
	struct read *r = &c->reads[ready->read_id % READS];

	if (!r->waits || r->id != ready->read_id)
		return;
	MUST(c, r->node == i);
	if (ready->err) {
		MUST(c, ready->err == ERR_NOT_LEADER);
		r->waits = false;
		return;
	}
	r->ready = true;
	r->slot = ready->slot;
	r->under_lease = ready->under_lease;
	serve(c, r);
}
