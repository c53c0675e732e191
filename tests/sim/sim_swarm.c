#include "tests/sim/sim_swarm.h"

#include <string.h>

#include "base/check.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_fs.h"
#include "tests/sim/sim_load.h"
#include "tests/sim/sim_nemesis.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_watch.h"

#define READY_MAX_NS	(60 * NS_PER_S)
#define SAFETY_MIN_NS	(10 * NS_PER_S)
#define SAFETY_MAX_NS	(60 * NS_PER_S)
#define OWED_MAX_NS	(40 * NS_PER_S) /* until all calls have returned, a quorum being healthy */
#define DEAD_MAX_NS	(75 * NS_PER_S) /* until locks of a dead client are free: its session must die */
#define CONVERGE_MAX_NS (60 * NS_PER_S)
#define INSPECT_MAX_NS	(900 * NS_PER_S) /* sessions of mounts that died end meanwhile */
#define LOOK_NS		(100 * NS_PER_MS)

static uint64_t one_of(const uint64_t *list, size_t n)
{
	return list[sim_below(n)];
}

#define ONE_OF(...)                                                                                 \
	one_of((const uint64_t[]){__VA_ARGS__},                                                     \
	       sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void draw_cluster(struct sim_cluster_config *c, const struct sim_swarm_options *o)
{
	bool quiet = o->profile == SIM_QUIET;

	c->nodes = quiet ? 3 : (uint32_t)ONE_OF(1, 3, 3, 3, 3, 3, 3, 5);
	c->replicas = c->nodes == 5 ? (uint32_t)ONE_OF(3, 5) : c->nodes;
	c->groups = quiet ? 2 : (uint32_t)ONE_OF(1, 2, 2, 3, 4);
	c->leases = quiet || sim_chance(800000);
	c->segment_bytes = quiet ? 0 : (uint32_t)ONE_OF(256, 512, 1024) * 1024;
	c->log_bytes = quiet ? 0 : ONE_OF(8, 16, 64) << 20;
	c->flush_bytes = quiet ? 0 : ONE_OF(16, 64, 512, 4096) * 1024;
	c->retain_bytes = quiet ? 0 : ONE_OF(4, 64, 1024) * 1024;
}

static void draw_load(struct sim_load_config *l, const struct sim_swarm_options *o)
{
	bool quiet = o->profile == SIM_QUIET;

	l->clients = o->no_clients ? 0 : quiet ? 1 : (uint32_t)sim_between(1, 4);
	l->fibers = quiet ? 1 : (uint32_t)sim_between(1, 4);
	l->think_min_ns = 0;
	l->think_max_ns = quiet ? 400 * NS_PER_MS : ONE_OF(2, 20, 100, 500) * NS_PER_MS;
	l->timeout_ns = ONE_OF(0, 0, 3, 15) * NS_PER_S;
	l->registers = (uint32_t)ONE_OF(0, 2, 5, 10);
	l->lists = (uint32_t)ONE_OF(0, 3, 6);
	l->accounts = (uint32_t)ONE_OF(0, 3, 8);
	l->counters = (uint32_t)ONE_OF(0, 2, 4);
	l->sets = (uint32_t)ONE_OF(1, 2);
	l->list_len_max = 200;
	l->bells = (uint32_t)ONE_OF(0, 1, 2, 4);
}

/* By the seed alone: runs of the key-value load are what they were before there was another. */
static enum sim_load draw_kind(uint64_t seed, const struct sim_swarm_options *o)
{
	uint64_t h = (seed + 1) * 0x9e3779b97f4a7c15ull;

	if (o->load != SIM_LOAD_DRAWN || o->profile == SIM_QUIET)
		return o->load ? o->load : SIM_LOAD_KV;
	switch ((h ^ h >> 29) % 5) {
	case 0:
	case 1:
		return SIM_LOAD_FS;
	case 2:
		return SIM_LOAD_BOTH;
	default:
		return SIM_LOAD_KV;
	}
}

static void draw_fs(struct sim_fs_config *f, enum sim_load kind, const struct sim_swarm_options *o)
{
	bool quiet = o->profile == SIM_QUIET;

	*f = (struct sim_fs_config){.mounts = 0};
	if (kind == SIM_LOAD_KV || o->no_clients)
		return;
	f->mounts = quiet ? 2 : (uint32_t)sim_between(1, 4);
	f->fibers = quiet ? 1 : (uint32_t)sim_between(1, 4);
	f->think_max_ns = quiet ? 400 * NS_PER_MS : ONE_OF(5, 20, 100, 500) * NS_PER_MS;
	f->timeout_ns = ONE_OF(0, 0, 3, 15) * NS_PER_S;
	f->locks = (uint32_t)ONE_OF(2, 10, 20, 60);
	f->registers = 6;
	f->logs = 3;
}

/* Runs until @done says so; false when that takes longer than @max_ns. */
static bool run_until(bool (*done)(void), uint64_t max_ns)
{
	uint64_t until = sim_now() + max_ns;

	while (!done()) {
		if (sim_now() >= until)
			return false;
		sim_run(sim_now() + LOOK_NS);
	}
	return true;
}

static bool is_ready(void)
{
	return sim_cluster.ready;
}

static bool is_finished(void)
{
	return sim_load_finished() && sim_fs_finished();
}

static uint64_t oldest_ns(void)
{
	uint64_t a = sim_load_oldest_ns(), b = sim_fs_oldest_ns();

	return !a || (b && b < a) ? b : a;
}

static bool is_converged(void)
{
	return sim_cluster_converged() == 1;
}

static void fill_result(struct sim_result *r, uint64_t judged, uint64_t fs_judged)
{
	*r = (struct sim_result){
		.simulated_ns = sim_now(),
		.calls = sim_load_stats.calls,
		.ok = sim_load_stats.ok,
		.failed = sim_load_stats.failed,
		.unknown = sim_load_stats.unknown,
		.judged = judged,
		.fs_calls = sim_fs_stats.calls,
		.fs_ok = sim_fs_stats.ok,
		.fs_failed = sim_fs_stats.failed,
		.fs_unknown = sim_fs_stats.unknown,
		.fs_judged = fs_judged,
		.steps = sim_watch_stats.steps,
		.entries = sim_watch_stats.entries,
		.batches = sim_watch_stats.batches,
		.elections = sim_watch_stats.elections,
		.snapshots = sim_watch_stats.snapshots,
		.hash = sim_trace_hash(),
	};
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		r->faults[i] = sim_fault_count(i);
}

void sim_swarm_run(uint64_t seed, const struct sim_swarm_options *o, struct sim_result *out)
{
	struct sim_cluster_config cluster;
	struct sim_load_config load;
	struct sim_fs_config fs;
	enum sim_load kind = draw_kind(seed, o);
	uint64_t safety = o->safety_ns, judged, owed;

	sim_world_init(seed);
	sim_watch_init();
	draw_cluster(&cluster, o);
	draw_load(&load, o);
	if (o->attack) {
		kind = SIM_LOAD_KV;
		sim_attack_configure(o->attack, &cluster, &load);
	}
	if (kind == SIM_LOAD_FS)
		load.clients = 0;
	draw_fs(&fs, kind, o);
	if (!safety)
		safety = sim_between(SAFETY_MIN_NS, SAFETY_MAX_NS);
	sim_cluster_start(&cluster);
	sim_trace("%u nodes, %u groups, %u replicas, leases %s; %u clients of %u fibers; "
		  "%u mounts of %u",
		  cluster.nodes, cluster.groups + 1, cluster.replicas, cluster.leases ? "on" : "off",
		  load.clients, load.fibers, fs.mounts, fs.fibers);
	if (!run_until(is_ready, READY_MAX_NS))
		sim_violation("the cluster did not become ready");
	sim_load_start(&load);
	sim_fs_start(&fs);
	if (!run_until(sim_fs_ready, READY_MAX_NS))
		sim_violation("the first directories could not be made");
	if (o->attack)
		sim_attack_start(o->attack);
	else if (o->profile == SIM_SWARM)
		sim_nemesis_start();
	sim_run(sim_now() + safety);
	sim_attack_stop();

	sim_nemesis_heal_quorum();
	sim_load_finish();
	sim_fs_finish();
	owed = OWED_MAX_NS + (sim_fault_count(SIM_FAULT_CLIENT_CRASH) ? DEAD_MAX_NS : 0);
	if (!run_until(is_finished, owed)) {
		sim_fs_tell();
		sim_violation("calls have not returned %llu s after a quorum was healed; oldest since "
			      "%.3f",
			      (unsigned long long)(owed / NS_PER_S),
			      (double)oldest_ns() / NS_PER_S);
	}
	sim_nemesis_heal_all();
	if (!run_until(is_converged, CONVERGE_MAX_NS))
		sim_violation("replicas do not become equal");
	sim_fs_inspect();
	if (!run_until(sim_fs_inspected, INSPECT_MAX_NS))
		sim_violation("the file system cannot be checked");
	judged = sim_load_judge();
	fill_result(out, judged, sim_fs_judge());
}
