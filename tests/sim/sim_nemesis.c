#include "tests/sim/sim_nemesis.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_fs.h"
#include "tests/sim/sim_load.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_watch.h"

#define MARGIN_PPM	40000	/* two clocks so far apart stay within the lease's margin of a tenth */
#define BEYOND_PPM	300000
#define CALM_NS		(3 * NS_PER_S) /* without faults around the start of a damaged node */
#define TOLD_NS	    (2 * NS_PER_S) /* until a node was told what it had acknowledged */
#define PATCH_UP_NS	(8 * NS_PER_S) /* others have been up for so long before one is damaged */

enum act {
	ACT_CRASH, /* one node */
	ACT_STOP,
	ACT_POWER, /* all nodes */
	ACT_PAUSE,
	ACT_CUT, /* one from the others */
	ACT_SPLIT,
	ACT_ONE_WAY,
	ACT_SLOW_LINK,
	ACT_BREAK,
	ACT_SLOW_DISK,
	ACT_CLOCK,
	ACT_JUMP,
	ACT_CLIENT_KILL,
	ACT_CLIENT_PAUSE,
	ACT_CLIENT_CUT,
	ACT_EVICT,
	ACT_DISK_FULL,
	ACT_ROT,
	ACT_COUNT
};

static struct {
	bool enabled[ACT_COUNT];
	uint64_t gap_ns; /* between faults, on average */
	uint64_t last_ns; /* a fault lasts up to so long */
	bool on;
	uint64_t calm_until_ns;
	uint32_t damaged;
	struct sim_disk *copy; /* of a disk, some time ago */
	struct sim_node *copied;
	uint64_t copied_ns;
} nem;

static uint32_t node_count(void)
{
	return sim_cluster.cfg.nodes;
}

static struct sim_node *some_node(void)
{
	return &sim_cluster.nodes[1 + sim_below(node_count())];
}

static uint64_t some_time(void)
{
	return sim_between(NS_PER_MS, nem.last_ns);
}

/* ---- starting again ---- */

static bool others_well(const struct sim_node *n, uint64_t for_ns)
{
	for (uint32_t i = 1; i <= node_count(); i++) {
		const struct sim_node *o = &sim_cluster.nodes[i];

		if (o == n)
			continue;
		if (!sim_node_well(o) || sim_now() - o->up_since_ns < for_ns)
			return false;
		for (uint32_t k = 1; k <= node_count(); k++)
			if (sim_net_is_cut(i, k) || sim_net_is_cut(k, i))
				return false;
	}
	return true;
}

/* Somebody who was there when it last acknowledged anything has died since: too much is forgotten. */
static bool is_witness_gone(const struct sim_node *n)
{
	for (uint32_t i = 1; i <= node_count(); i++) {
		const struct sim_node *o = &sim_cluster.nodes[i];

		if (o != n && o->up_since_ns > sim_watch_answered_ns(n->id))
			return true;
	}
	return false;
}

static void start_later(void *ctx)
{
	struct sim_node *n = ctx;

	if (n->proc || n->refused)
		return;
	if (n->damaged && is_witness_gone(n)) { /* a second fault: it stays away */
		n->refused = true;
		return;
	}
	if (n->damaged && nem.on && (!others_well(n, 0) || sim_now() < nem.calm_until_ns)) {
		nem.calm_until_ns = sim_now() + CALM_NS;
		sim_net_heal();
		sim_at(sim_now() + CALM_NS / 2, start_later, n);
		return;
	}
	if (n->damaged)
		nem.calm_until_ns = sim_now() + CALM_NS;
	sim_node_start(n);
}

/* ---- nodes ---- */

static void crash(struct sim_node *n)
{
	if (!n->proc)
		return;
	sim_fault_note(SIM_FAULT_CRASH);
	sim_node_kill(n);
}

static void act_crash(void)
{
	struct sim_node *n = some_node();

	crash(n);
	sim_at(sim_now() + some_time(), start_later, n);
}

static void act_stop(void)
{
	struct sim_node *n = some_node();

	if (!sim_node_up(n))
		return;
	sim_fault_note(SIM_FAULT_CLEAN_STOP);
	sim_node_stop(n);
	sim_at(sim_now() + 3 * NS_PER_S + some_time(), start_later, n);
}

static void act_power(void)
{
	sim_trace("power cut");
	sim_fault_note(SIM_FAULT_POWER_CUT);
	for (uint32_t i = 1; i <= node_count(); i++) {
		struct sim_node *n = &sim_cluster.nodes[i];

		if (n->proc)
			sim_node_kill(n);
		sim_at(sim_now() + some_time(), start_later, n);
	}
}

static void act_pause(void)
{
	struct sim_node *n = some_node();
	uint64_t ns = some_time();

	if (!n->proc)
		return;
	sim_trace("node %u pauses for %.3f s", n->id, (double)ns / NS_PER_S);
	sim_fault_note(SIM_FAULT_PAUSE);
	sim_proc_pause(n->proc, ns);
}

/* ---- network ---- */

struct cut_end { /* what a partition has cut, one bit a pair */
	uint32_t from[SIM_MACHINES_MAX];
};

static void cut_ends(void *ctx)
{
	struct cut_end *c = ctx;

	for (uint32_t i = 0; i < SIM_MACHINES_MAX; i++)
		for (uint32_t k = 0; k < SIM_MACHINES_MAX; k++)
			if (c->from[i] >> k & 1)
				sim_net_cut(i, k, false);
	sim_trace("a partition ends");
	free(c);
}

static void cut_for(const struct cut_end *c, uint64_t ns)
{
	struct cut_end *copy = malloc(sizeof(*copy));

	CHECK(copy);
	*copy = *c;
	for (uint32_t i = 0; i < SIM_MACHINES_MAX; i++)
		for (uint32_t k = 0; k < SIM_MACHINES_MAX; k++)
			if (c->from[i] >> k & 1)
				sim_net_cut(i, k, true);
	sim_at(sim_now() + ns, cut_ends, copy);
}

/* Nodes in @mask from those that are not; clients go with either side. */
static void split(uint32_t mask, bool there, bool back)
{
	struct cut_end c = {{0}};

	for (uint32_t i = 0; i < SIM_CLIENT_MACHINE; i++)
		for (uint32_t k = 0; k < SIM_CLIENT_MACHINE; k++) {
			bool in_i = mask >> i & 1, in_k = mask >> k & 1;

			if ((there && in_i && !in_k) || (back && !in_i && in_k))
				c.from[i] |= 1u << k;
		}
	sim_trace("partition %x%s%s", mask, there ? " there" : "", back ? " back" : "");
	cut_for(&c, some_time());
}

static void act_cut(void)
{
	sim_fault_note(SIM_FAULT_PARTITION);
	split(1u << some_node()->id, true, true);
}

static void act_split(void)
{
	sim_fault_note(SIM_FAULT_PARTITION);
	split((uint32_t)sim_below(1u << (node_count() + 1)), true, true);
}

static void act_one_way(void)
{
	bool there = sim_chance(500000);

	sim_fault_note(SIM_FAULT_ONE_WAY);
	split(1u << some_node()->id, there, !there);
}

static void slow_ends(void *ctx)
{
	uint64_t pair = (uint64_t)(uintptr_t)ctx;

	sim_net_slow((uint32_t)(pair >> 8), (uint32_t)(pair & 0xff), 0);
}

static void act_slow_link(void)
{
	uint32_t a = some_node()->id, b = some_node()->id;

	if (a == b)
		return;
	sim_fault_note(SIM_FAULT_SLOW_LINK);
	sim_net_slow(a, b, sim_between(NS_PER_MS, 300 * NS_PER_MS));
	sim_at(sim_now() + some_time(), slow_ends, (void *)(uintptr_t)(a << 8 | b));
}

/* Machines of clients, and behind them those of mounts. */
static uint32_t some_client(void)
{
	return SIM_CLIENT_MACHINE + (uint32_t)sim_below(sim_fs_mounts() ? 8 : 4);
}

static void act_break(void)
{
	uint32_t a = some_node()->id;
	uint32_t b = sim_chance(500000) ? some_node()->id
					: some_client();

	sim_fault_note(SIM_FAULT_BREAK);
	sim_net_break(a, b);
}

static void act_client_cut(void)
{
	uint32_t client = some_client();
	struct cut_end c = {{0}};
	bool there = sim_chance(700000), back = !there || sim_chance(500000);

	sim_fault_note(there && back ? SIM_FAULT_PARTITION : SIM_FAULT_ONE_WAY);
	for (uint32_t i = 1; i <= node_count(); i++) {
		if (sim_chance(300000))
			continue;
		c.from[client] |= there ? 1u << i : 0;
		c.from[i] |= back ? 1u << client : 0;
	}
	cut_for(&c, some_time());
}

/* ---- disks ---- */

static void act_slow_disk(void)
{
	struct sim_disk_faults *f = sim_disk_faults(some_node()->machine.disk);

	sim_fault_note(SIM_FAULT_SLOW_DISK);
	f->slow_until_ns = sim_now() + some_time();
	f->slow_ns = sim_between(5 * NS_PER_MS, 2 * NS_PER_S);
}

static void room_again(void *ctx)
{
	sim_disk_faults(ctx)->capacity = 0;
}

static void act_disk_full(void)
{
	struct sim_disk *d = some_node()->machine.disk;

	sim_fault_note(SIM_FAULT_DISK_FULL);
	sim_trace("disk %s is full", sim_disk_name(d));
	sim_disk_faults(d)->capacity = sim_disk_used(d) + sim_below(2) * 1024 * 1024;
	sim_at(sim_now() + some_time(), room_again, d);
}

static uint32_t damage_max(void)
{
	return (sim_cluster.cfg.replicas - 1) / 2;
}

static void take_copy(struct sim_node *n)
{
	if (nem.copy)
		sim_disk_free(nem.copy);
	nem.copy = sim_disk_copy(n->machine.disk);
	nem.copied = n;
	nem.copied_ns = sim_now();
}

/* The copy is older than what it acknowledged since; the others must have been there to see that. */
static bool roll_back(struct sim_node *n)
{
	if (n != nem.copied || !nem.copy || !others_well(n, sim_now() - nem.copied_ns))
		return false;
	sim_trace("disk of node %u is rolled back by %.3f s", n->id,
		  (double)(sim_now() - nem.copied_ns) / NS_PER_S);
	sim_disk_restore(n->machine.disk, nem.copy);
	sim_fault_note(SIM_FAULT_OLD_COPY);
	return true;
}

static bool damage(struct sim_node *n)
{
	struct sim_disk *d = n->machine.disk;

	switch (sim_below(5)) {
	case 0:
		return sim_disk_rot_log(d);
	case 1:
		return sim_disk_rot_engine(d);
	case 2:
		return sim_disk_lose_write(d);
	case 3:
		return sim_disk_misdirect(d);
	default:
		return roll_back(n);
	}
}

/* They were there when it last acknowledged anything, and have been since. (What they remember is in
 * their memory until their engines are flushed.) */
static bool others_remember(const struct sim_node *n)
{
	uint64_t since = sim_now() - sim_watch_answered_ns(n->id) + TOLD_NS;

	return others_well(n, since > PATCH_UP_NS ? since : PATCH_UP_NS);
}

static void act_rot(void)
{
	struct sim_node *n = some_node();

	if (sim_chance(400000) && !n->damaged && n->proc) {
		take_copy(n);
		return;
	}
	if (nem.copied && sim_chance(500000))
		n = nem.copied;
	if (!n->damaged && (nem.damaged >= damage_max() || !others_remember(n)))
		return;
	crash(n);
	if (damage(n)) {
		nem.damaged += !n->damaged;
		n->damaged = true;
	}
	sim_at(sim_now() + some_time(), start_later, n);
}

/* ---- clocks ---- */

static void act_clock(void)
{
	struct sim_clock *c = &some_node()->machine.clock;
	int64_t max = sim_cluster.cfg.leases ? MARGIN_PPM : BEYOND_PPM;

	sim_fault_note(SIM_FAULT_CLOCK_DRIFT);
	sim_clock_set_rate(c, (int64_t)sim_below((uint64_t)(2 * max)) - max);
}

static void act_jump(void)
{
	struct sim_clock *c = &some_node()->machine.clock;
	int64_t wall = (int64_t)sim_below(20 * NS_PER_S) - (int64_t)(10 * NS_PER_S);
	int64_t mono = sim_cluster.cfg.leases ? 0 : (int64_t)sim_below(3 * NS_PER_S);

	sim_fault_note(SIM_FAULT_CLOCK_JUMP);
	sim_clock_jump(c, sim_chance(500000) ? mono : 0, wall);
}

/* ---- clients ---- */

static void act_client_kill(void)
{
	sim_load_kill_one();
	sim_fs_kill_one();
}

/* Seldom: each costs a client its session. */
static void act_evict(void)
{
	if (sim_chance(200000))
		sim_load_evict_one();
	else if (sim_fs_mounts() && sim_chance(400000))
		sim_fs_evict_one();
}

static void act_client_pause(void)
{
	sim_load_pause_one(some_time());
	sim_fs_pause_one(some_time());
}

/* ---- when ---- */

static void (*const acts[ACT_COUNT])(void) = {
	[ACT_CRASH] = act_crash,
	[ACT_STOP] = act_stop,
	[ACT_POWER] = act_power,
	[ACT_PAUSE] = act_pause,
	[ACT_CUT] = act_cut,
	[ACT_SPLIT] = act_split,
	[ACT_ONE_WAY] = act_one_way,
	[ACT_SLOW_LINK] = act_slow_link,
	[ACT_BREAK] = act_break,
	[ACT_SLOW_DISK] = act_slow_disk,
	[ACT_CLOCK] = act_clock,
	[ACT_JUMP] = act_jump,
	[ACT_CLIENT_KILL] = act_client_kill,
	[ACT_CLIENT_PAUSE] = act_client_pause,
	[ACT_CLIENT_CUT] = act_client_cut,
	[ACT_EVICT] = act_evict,
	[ACT_DISK_FULL] = act_disk_full,
	[ACT_ROT] = act_rot,
};

/* The others have been there to see what it acknowledged, and have told it so. */
static void check_memories(void)
{
	for (uint32_t i = 1; i <= node_count(); i++) {
		const struct sim_node *n = &sim_cluster.nodes[i];

		if (n->damaged && sim_watch_forgot(i) && sim_node_well(n) &&
		    sim_now() - n->up_since_ns >= TOLD_NS && others_well(n, TOLD_NS) &&
		    sim_now() >= nem.calm_until_ns)
			sim_violation("node %u has forgotten what it acknowledged, and takes part", i);
	}
}

static void next(void *ctx)
{
	unsigned a = (unsigned)sim_below(ACT_COUNT);

	(void)ctx;
	if (!nem.on)
		return;
	check_memories();
	if (nem.enabled[a] && sim_now() >= nem.calm_until_ns)
		acts[a]();
	sim_at(sim_now() + sim_below(2 * nem.gap_ns), next, NULL);
}

static uint32_t rate(uint32_t max_ppm)
{
	return sim_chance(500000) ? (uint32_t)sim_below(max_ppm) : 0;
}

static void draw_network(void)
{
	struct sim_net_faults *f = sim_net_faults();

	f->delay_min_ns = sim_between(10 * NS_PER_US, NS_PER_MS);
	f->delay_max_ns = f->delay_min_ns + sim_below(sim_chance(200000) ? 30 * NS_PER_MS : NS_PER_MS);
	f->loss_ppm = rate(sim_chance(300000) ? 100000 : 5000);
	f->double_ppm = rate(20000);
	f->reorder_ppm = rate(20000);
	f->corrupt_ppm = rate(500);
	f->late_ppm = rate(10000);
	f->late_ns = sim_between(NS_PER_MS, 500 * NS_PER_MS);
	f->break_ppm = rate(1000);
	f->split_ppm = rate(100000);
}

static void draw_disk(struct sim_disk_faults *f)
{
	f->sync_min_ns = sim_between(20 * NS_PER_US, NS_PER_MS);
	f->sync_max_ns = f->sync_min_ns + sim_below(sim_chance(200000) ? 20 * NS_PER_MS : NS_PER_MS);
	f->slow_sync_ppm = rate(5000);
	f->slow_sync_ns = sim_between(10 * NS_PER_MS, 3 * NS_PER_S);
	f->fail_ppm = rate(200);
	f->torn_ppm = sim_chance(700000) ? 700000 : 0;
	f->auto_flush_ppm = rate(50000);
	f->engine_stall_ppm = rate(2000);
	f->engine_stall_ns = sim_between(NS_PER_MS, 2 * NS_PER_S);
}

void sim_nemesis_start(void)
{
	for (unsigned i = 0; i < ACT_COUNT; i++)
		nem.enabled[i] = sim_chance(500000);
	nem.gap_ns = sim_between(5 * NS_PER_MS, 300 * NS_PER_MS);
	nem.last_ns = sim_between(50 * NS_PER_MS, 8 * NS_PER_S);
	nem.on = true;
	if (sim_chance(700000))
		draw_network();
	for (uint32_t i = 1; i <= node_count(); i++)
		if (sim_chance(700000))
			draw_disk(sim_disk_faults(sim_cluster.nodes[i].machine.disk));
	next(NULL);
}

/* ---- healing ---- */

static void heal_disk(struct sim_disk *d)
{
	*sim_disk_faults(d) = (struct sim_disk_faults){.sync_min_ns = 100 * NS_PER_US,
						       .sync_max_ns = 500 * NS_PER_US};
}

static void heal_node(struct sim_node *n)
{
	heal_disk(n->machine.disk);
	if (n->proc)
		sim_proc_resume(n->proc);
	start_later(n);
}

static void heal_network(void)
{
	*sim_net_faults() = (struct sim_net_faults){.delay_min_ns = 50 * NS_PER_US,
						    .delay_max_ns = 300 * NS_PER_US};
	sim_net_heal();
}

/* The rest stays as it is, or dies: groups need a majority of their own members, so with fewer replicas
 * than nodes only one node may stay away. Damaged ones are those that do, if any. */
void sim_nemesis_heal_quorum(void)
{
	uint32_t away = (sim_cluster.cfg.replicas - 1) / 2;

	nem.on = false;
	heal_network();
	for (uint32_t i = 1; i <= node_count(); i++)
		if (sim_cluster.nodes[i].damaged && away > 0)
			away--;
	for (uint32_t i = 1; i <= node_count(); i++) {
		struct sim_node *n = &sim_cluster.nodes[i];

		if (n->damaged) {
			if (n->proc)
				sim_node_kill(n);
		} else if (away > 0 && sim_chance(500000)) {
			away--;
			if (n->proc && sim_chance(500000))
				sim_node_kill(n);
			else if (n->proc)
				sim_proc_pause(n->proc, 3600 * NS_PER_S);
		} else {
			heal_node(n);
		}
	}
	sim_trace("a quorum is healed");
}

void sim_nemesis_heal_all(void)
{
	heal_network();
	for (uint32_t i = 1; i <= node_count(); i++)
		if (!sim_cluster.nodes[i].damaged)
			heal_node(&sim_cluster.nodes[i]);
	sim_trace("all nodes are healed");
}
