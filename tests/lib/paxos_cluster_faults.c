/* What goes wrong in the cluster, and what it looks like then. */
#include "tests/lib/paxos_cluster_internal.h"

#include <string.h>

static void tell_links(struct paxos_cluster *c, uint32_t node, bool up)
{
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		if (i == node || !c->nodes[i].core)
			continue;
		cluster__push(c, (struct event){.at = c->now + 100 * NS_PER_US,
						.kind = LINK,
						.node = i,
						.from = node,
						.life = c->nodes[i].life,
						.arg = up});
	}
}

void cluster_crash(struct paxos_cluster *c, uint32_t node)
{
	struct node *n = &c->nodes[node];

	if (!n->core)
		return;
	paxos_free(n->core);
	n->core = NULL;
	n->life++;
	n->generation++;
	n->paused_until = 0;
	cluster__disk_crash(c, n);
	for (size_t k = 0; k < READS; k++) {
		if (c->reads[k].node == node)
			c->reads[k].waits = false;
	}
	if (!c->faults.no_break)
		tell_links(c, node, false);
}

void cluster_restart(struct paxos_cluster *c, uint32_t node)
{
	if (c->nodes[node].core)
		return;
	cluster__boot(c, node, c->nodes[node].disk.count == 0 && c->nodes[node].durable == 0);
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		if (i != node && c->nodes[i].core)
			cluster_link(c, node, i, true);
	}
	tell_links(c, node, true);
}

void cluster_pause(struct paxos_cluster *c, uint32_t node, uint64_t ns)
{
	c->nodes[node].paused_until = c->now + ns;
}

void cluster_cut(struct paxos_cluster *c, uint32_t from, uint32_t to, bool cut)
{
	c->cut[from][to] = cut;
}

void cluster_split(struct paxos_cluster *c, uint32_t mask)
{
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		for (uint32_t k = 0; k < c->cfg.nodes; k++)
			c->cut[i][k] = (mask >> i & 1) != (mask >> k & 1);
	}
}

void cluster_heal(struct paxos_cluster *c)
{
	memset(c->cut, 0, sizeof(c->cut));
}

void cluster_disk(struct paxos_cluster *c, uint32_t node, struct cluster_range sync)
{
	c->nodes[node].disk.delay = sync;
}

void cluster_apply(struct paxos_cluster *c, uint32_t node, struct cluster_range apply)
{
	c->nodes[node].apply_delay = apply;
}

void cluster_flush(struct paxos_cluster *c, uint32_t node)
{
	struct node *n = &c->nodes[node];

	if (n->durable == n->applied)
		return;
	n->durable = n->applied;
	cluster__must_step(c, node,
			   (struct paxos_event){.kind = PAXOS_EV_DURABLE, .slot = n->durable});
}

void cluster_hand_over(struct paxos_cluster *c, uint32_t node)
{
	cluster__must_step(c, node, (struct paxos_event){.kind = PAXOS_EV_HAND_OVER});
}

void cluster_link(struct paxos_cluster *c, uint32_t node, uint32_t peer, bool up)
{
	cluster__must_step(c, node,
			   (struct paxos_event){.kind = up ? PAXOS_EV_PEER_UP : PAXOS_EV_PEER_DOWN,
						.node = peer + 1});
}

void cluster_inject(struct paxos_cluster *c, const struct paxos_message *m)
{
	cluster__must_step(c, cluster__index_of(m->to),
			   (struct paxos_event){.kind = PAXOS_EV_MESSAGE, .message = m});
}

void cluster_dump(struct paxos_cluster *c)
{
	static const char *const roles[] = {"follower", "candidate", "leader"};

	fprintf(stderr, "seed %llu, at %.6f s, chosen %llu\n", (unsigned long long)c->cfg.seed,
		(double)c->now / 1e9, (unsigned long long)c->chosen_last);
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		const struct node *n = &c->nodes[i];
		struct paxos_status s;

		if (!n->core) {
			fprintf(stderr, "  node %u: down\n", i);
			continue;
		}
		cluster_status(c, i, &s);
		fprintf(stderr,
			"  node %u: %s%s of %u, ballot %llu.%u, log %llu applied %llu commit %llu "
			"last "
			"%llu; given %llu durable %llu, disk %zu of %zu%s\n",
			i, roles[s.role], s.serving ? " (serving)" : "", s.leader - 1,
			(unsigned long long)PAXOS_BALLOT_ROUND(s.ballot),
			PAXOS_BALLOT_NODE(s.ballot) - 1, (unsigned long long)s.log_start,
			(unsigned long long)s.applied, (unsigned long long)s.commit,
			(unsigned long long)s.last, (unsigned long long)n->given,
			(unsigned long long)n->durable, n->disk.synced, n->disk.count,
			n->fetching ? ", fetching" : "");
	}
}
