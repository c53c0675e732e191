#include "tests/sim/sim_attack.h"

#include <string.h>

#include "kv/node_internal.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_load.h"
#include "tests/sim/sim_net.h"
#include "txn/tsm_internal.h"

#define LEASE_NS (250 * NS_PER_MS)

static struct {
	enum sim_attack kind, now; /* now: of "all", the one whose turn it is */
	bool on;
	uint64_t kill_at_ns; /* decision: not twice at the same time */
} at;

static const char *const names[] = {
	"none",
#define X(name, text) #name,
	SIM_ATTACKS(X)
#undef X
};

static const char *const texts[] = {
	"",
#define X(name, text) text,
	SIM_ATTACKS(X)
#undef X
};

enum sim_attack sim_attack_find(const char *name)
{
	for (unsigned i = 1; i < SIM_ATTACK_COUNT; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum sim_attack)i;
	return SIM_ATTACK_NONE;
}

const char *sim_attack_name(enum sim_attack a)
{
	return names[a];
}

const char *sim_attack_text(enum sim_attack a)
{
	return texts[a];
}

void sim_attack_configure(enum sim_attack a, struct sim_cluster_config *c, struct sim_load_config *l)
{
	c->nodes = c->replicas = sim_chance(800000) ? 3 : 5;
	c->groups = (uint32_t)sim_between(2, 3);
	c->leases = true;
	l->clients = (uint32_t)sim_between(2, 4);
	l->fibers = 4;
	l->think_max_ns = 2 * NS_PER_MS;
	l->timeout_ns = 0;
	l->registers = 3;
	l->lists = 3;
	l->accounts = 4;
	l->counters = 2;
	if (a != SIM_ATTACK_snapshot && a != SIM_ATTACK_recycle && a != SIM_ATTACK_all)
		return;
	c->segment_bytes = 256 * 1024;
	c->log_bytes = 8 << 20;
	c->flush_bytes = 16 * 1024;
	c->retain_bytes = 4 * 1024;
}

/* ---- who is who ---- */

static uint32_t node_count(void)
{
	return sim_cluster.cfg.nodes;
}

/* 0: nobody. */
static uint32_t leader_of(uint32_t group)
{
	for (uint32_t i = 1; i <= node_count(); i++) {
		const struct sim_node *n = &sim_cluster.nodes[i];

		if (sim_node_up(n) && n->kv->groups[group] &&
		    kv_replica_serving(n->kv->groups[group]->replica))
			return i;
	}
	return 0;
}

static uint32_t some_leader(void)
{
	return leader_of((uint32_t)sim_below(sim_cluster.cfg.groups + 1));
}

static uint32_t someone_but(uint32_t node)
{
	uint32_t other = 1 + (uint32_t)sim_below(node_count() - 1);

	return other >= node ? other + 1 : other;
}

/* ---- what can be done to a node ---- */

static void start_again(void *ctx)
{
	struct sim_node *n = ctx;

	if (!n->proc && !n->refused)
		sim_node_start(n);
}

static void kill_for(uint32_t id, uint64_t ns)
{
	struct sim_node *n = &sim_cluster.nodes[id];

	if (!n->proc)
		return;
	sim_fault_note(SIM_FAULT_CRASH);
	sim_node_kill(n);
	sim_at(sim_now() + ns, start_again, n);
}

static void uncut(void *ctx)
{
	uint32_t id = (uint32_t)(uintptr_t)ctx;

	for (uint32_t k = 1; k <= node_count(); k++) {
		sim_net_cut(id, k, false);
		sim_net_cut(k, id, false);
	}
	sim_trace("node %u is back among the others", id);
}

/* From the other nodes, not from clients. */
static void cut_for(uint32_t id, bool there, bool back, uint64_t ns)
{
	sim_fault_note(there && back ? SIM_FAULT_PARTITION : SIM_FAULT_ONE_WAY);
	sim_trace("node %u is cut off%s%s", id, there ? " there" : "", back ? " back" : "");
	for (uint32_t k = 1; k <= node_count(); k++) {
		if (k == id)
			continue;
		if (there)
			sim_net_cut(id, k, true);
		if (back)
			sim_net_cut(k, id, true);
	}
	sim_at(sim_now() + ns, uncut, (void *)(uintptr_t)id);
}

static uint64_t about_a_lease(void)
{
	return sim_between(LEASE_NS / 2, 3 * LEASE_NS);
}

/* ---- the attacks: one blow each; they return how long to wait ---- */

static uint64_t blow_lease(void)
{
	uint32_t leader = some_leader();
	uint64_t how = sim_below(4);

	if (leader)
		cut_for(leader, how != 0, how != 1, about_a_lease());
	return sim_between(LEASE_NS, 4 * LEASE_NS);
}

static uint64_t blow_oblivion(void)
{
	uint32_t leader = some_leader();

	if (!leader)
		return LEASE_NS / 4;
	for (uint32_t i = 1; i <= node_count(); i++)
		if (i != leader && sim_chance(600000))
			kill_for(i, sim_between(NS_PER_MS, LEASE_NS / 2));
	if (sim_chance(800000))
		cut_for(leader, true, true, about_a_lease());
	return sim_between(LEASE_NS, 6 * LEASE_NS);
}

static uint64_t blow_freeze(void)
{
	uint32_t leader = some_leader();

	if (leader) {
		sim_fault_note(SIM_FAULT_PAUSE);
		sim_proc_pause(sim_cluster.nodes[leader].proc, about_a_lease());
		if (sim_chance(200000))
			sim_clock_set_rate(&sim_cluster.nodes[leader].machine.clock,
					   (int64_t)sim_below(80000) - 40000);
	}
	return sim_between(LEASE_NS, 4 * LEASE_NS);
}

static uint64_t blow_client(void)
{
	sim_load_kill_one();
	if (sim_chance(50000) && some_leader())
		kill_for(some_leader(), 50 * NS_PER_MS);
	return sim_between(NS_PER_MS, 60 * NS_PER_MS);
}

static void kill_some_leader(void *ctx)
{
	uint32_t leader = some_leader();

	(void)ctx;
	if (at.on && leader)
		kill_for(leader, sim_between(10 * NS_PER_MS, 600 * NS_PER_MS));
}

static uint64_t blow_snapshot(void)
{
	uint32_t leader = some_leader();
	uint32_t victim = leader ? someone_but(leader) : 1;
	uint64_t away = sim_between(500 * NS_PER_MS, 2 * NS_PER_S);

	if (sim_chance(500000))
		kill_for(victim, away);
	else
		cut_for(victim, true, true, away);
	for (uint64_t i = sim_below(3); i > 0; i--)
		sim_at(sim_now() + away + sim_below(500 * NS_PER_MS), kill_some_leader, NULL);
	return away + sim_below(1500 * NS_PER_MS);
}

static uint64_t blow_handover(void)
{
	uint32_t leader = some_leader();

	sim_net_faults()->loss_ppm = (uint32_t)sim_below(150000);
	if (leader) {
		sim_fault_note(SIM_FAULT_CLEAN_STOP);
		sim_node_stop(&sim_cluster.nodes[leader]);
		for (uint64_t t = 1; t <= 40; t++)
			sim_at(sim_now() + t * 100 * NS_PER_MS, start_again,
			       &sim_cluster.nodes[leader]);
	}
	return sim_between(100 * NS_PER_MS, 3 * NS_PER_S);
}

static uint64_t blow_recycle(void)
{
	sim_fault_note(SIM_FAULT_POWER_CUT);
	for (uint32_t i = 1; i <= node_count(); i++) {
		struct sim_disk_faults *f = sim_disk_faults(sim_cluster.nodes[i].machine.disk);

		f->torn_ppm = 700000;
		f->sync_min_ns = 200 * NS_PER_US;
		f->sync_max_ns = sim_between(NS_PER_MS, 20 * NS_PER_MS);
		kill_for(i, sim_between(NS_PER_MS, 100 * NS_PER_MS));
	}
	return sim_between(400 * NS_PER_MS, 3 * NS_PER_S);
}

static void room_again(void *ctx)
{
	sim_disk_faults(ctx)->capacity = 0;
}

static uint64_t blow_full(void)
{
	uint32_t leader = some_leader();
	uint64_t until = sim_now() + sim_between(500 * NS_PER_MS, 4 * NS_PER_S);

	for (uint32_t i = 1; i <= node_count(); i++) {
		struct sim_disk *d = sim_cluster.nodes[i].machine.disk;

		if (sim_disk_faults(d)->capacity || sim_chance(300000))
			continue;
		sim_fault_note(SIM_FAULT_DISK_FULL);
		sim_disk_faults(d)->capacity = sim_disk_used(d) + sim_below(3) * 512 * 1024;
		sim_at(until, room_again, d);
	}
	if (leader && sim_chance(700000))
		cut_for(leader, true, true, sim_between(100 * NS_PER_MS, NS_PER_S));
	return sim_between(200 * NS_PER_MS, 2 * NS_PER_S);
}

static uint64_t blow_none(void)
{
	return 500 * NS_PER_MS;
}

static uint64_t (*const blows[SIM_ATTACK_COUNT])(void) = {
	[SIM_ATTACK_lease] = blow_lease,       [SIM_ATTACK_oblivion] = blow_oblivion,
	[SIM_ATTACK_freeze] = blow_freeze,     [SIM_ATTACK_decision] = blow_none,
	[SIM_ATTACK_client] = blow_client,     [SIM_ATTACK_snapshot] = blow_snapshot,
	[SIM_ATTACK_handover] = blow_handover, [SIM_ATTACK_recycle] = blow_recycle,
	[SIM_ATTACK_full] = blow_full,
};

/* ---- decision ---- */

static void kill_node(void *ctx)
{
	if (at.on)
		kill_for((uint32_t)(uintptr_t)ctx, sim_between(5 * NS_PER_MS, 700 * NS_PER_MS));
}

/* The commit of a transaction of several groups has just been executed by the coordinator's leader; what
 * it says to the others is still to leave. */
void sim_attack_on_entry(struct tsm *t)
{
	struct coord *c, *next;
	bool decided = false;
	uint32_t id;

	if (!at.on || at.now != SIM_ATTACK_decision || !t->leading || sim_now() < at.kill_at_ns)
		return;
	HASH_ITER(hh, t->coords, c, next)
		decided |= c->state == COORD_COMMITTED && c->due_ns == 0 && c->tries == 0;
	if (!decided || !sim_chance(100000))
		return;
	id = sim_self()->machine->id;
	at.kill_at_ns = sim_now() + sim_between(20 * NS_PER_MS, 2 * NS_PER_S);
	sim_at(sim_now() + sim_below(400 * NS_PER_US), kill_node, (void *)(uintptr_t)id);
	for (uint32_t g = 0; g <= sim_cluster.cfg.groups; g++) {
		uint32_t leader = leader_of(g);

		if (leader && leader != id && sim_chance(500000))
			sim_at(sim_now() + sim_below(2 * NS_PER_MS), kill_node,
			       (void *)(uintptr_t)leader);
	}
}

/* ---- life ---- */

static void next_blow(void *ctx)
{
	(void)ctx;
	if (!at.on)
		return;
	if (at.kind == SIM_ATTACK_all && sim_chance(150000)) {
		at.now = (enum sim_attack)sim_between(1, SIM_ATTACK_all - 1);
		sim_trace("attack: %s", names[at.now]);
	}
	sim_at(sim_now() + blows[at.now](), next_blow, NULL);
}

void sim_attack_start(enum sim_attack a)
{
	at.kind = a;
	at.now = a == SIM_ATTACK_all ? SIM_ATTACK_lease : a;
	at.on = true;
	next_blow(NULL);
}

void sim_attack_stop(void)
{
	at.on = false;
}
