/* Random faults against a cluster of cores. Each seed is one history: nodes crash and come back,
 * links are cut one way or both, disks and engines get slow, memory runs out, processes stand
 * still, leadership is handed over, all while values are proposed and reads asked. The cluster
 * checks safety all the time; when the faults end, everything must get on again.
 *
 * SEED=n runs one history, SEEDS=n so many fresh ones, FROM=n those from there on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_cluster.h"

enum { FIXED_SEEDS = 240, FRESH_SEEDS = 20 };

static char abort_text[64];

/* An invariant of the core ends the process: say which history that was. */
static void on_abort(int sig)
{
	ssize_t ignored = write(STDERR_FILENO, abort_text, sizeof(abort_text));

	(void)ignored;
	(void)sig;
}

static struct cluster_range slow_or_fast(struct paxos_cluster *c)
{
	static const struct cluster_range fast = {100 * NS_PER_US, 400 * NS_PER_US};
	static const struct cluster_range slow = {1 * NS_PER_MS, 30 * NS_PER_MS};
	static const struct cluster_range stuck = {400 * NS_PER_MS, 900 * NS_PER_MS};

	switch (cluster_random(c, 6)) {
	case 0:
		return stuck;
	case 1:
	case 2:
		return slow;
	default:
		return fast;
	}
}

static void change_network(struct paxos_cluster *c)
{
	struct cluster_faults *f = cluster_faults(c);

	f->loss_ppm = cluster_random(c, 2) ? 0 : (uint32_t)cluster_random(c, 200000);
	f->double_ppm = cluster_random(c, 2) ? 0 : (uint32_t)cluster_random(c, 100000);
	f->nomem_ppm = cluster_random(c, 4) ? 0 : (uint32_t)cluster_random(c, 300000);
	f->fifo = cluster_random(c, 2);
	f->no_break = cluster_random(c, 2);
	f->delay.max = f->delay.min +
		       (cluster_random(c, 3) ? 200 * NS_PER_US : cluster_random(c, 40 * NS_PER_MS));
}

static void crash_or_restart(struct paxos_cluster *c, uint32_t node)
{
	if (cluster_up(c, node))
		cluster_crash(c, node);
	else
		cluster_restart(c, node);
}

static void crash_all(struct paxos_cluster *c, uint32_t nodes)
{
	for (uint32_t i = 0; i < nodes; i++)
		cluster_crash(c, i);
	for (uint32_t i = 0; i < nodes; i++)
		cluster_restart(c, i);
}

static void one_fault(struct paxos_cluster *c, uint32_t nodes)
{
	uint32_t a = (uint32_t)cluster_random(c, nodes);
	uint32_t b = (uint32_t)cluster_random(c, nodes);
	uint32_t leader = cluster_leader(c);

	if (leader != CLUSTER_NONE && cluster_random(c, 2))
		a = leader;
	switch (cluster_random(c, 12)) {
	case 0:
	case 1:
	case 2:
		crash_or_restart(c, a);
		return;
	case 3:
		cluster_split(c, (uint32_t)cluster_random(c, 1ull << nodes));
		return;
	case 4:
		cluster_cut(c, a, b, cluster_random(c, 2));
		return;
	case 5:
	case 6:
		cluster_heal(c);
		return;
	case 7:
		change_network(c);
		return;
	case 8:
		cluster_disk(c, a, slow_or_fast(c));
		cluster_apply(c, b, slow_or_fast(c));
		return;
	case 9:
		cluster_pause(c, a, cluster_random(c, NS_PER_S));
		return;
	case 10:
		if (cluster_up(c, a))
			cluster_hand_over(c, a);
		return;
	case 11:
		if (cluster_random(c, 4) == 0)
			crash_all(c, nodes);
		else if (a != b && cluster_up(c, a))
			cluster_link(c, a, b, false);
		return;
	}
}

/* Clients ask anybody: only a leader takes it. One value in @large is large. */
static void one_request(struct paxos_cluster *c, uint32_t nodes, uint64_t large)
{
	uint32_t i = (uint32_t)cluster_random(c, nodes);
	size_t len = cluster_random(c, large) ? cluster_random(c, 300) : cluster_random(c, 300000);
	int err;

	if (!cluster_up(c, i))
		return;
	if (cluster_random(c, 2))
		err = cluster_propose(c, i, len, NULL);
	else
		err = cluster_read(c, i);
	CHECK_TRUE(err == 0 || err == ERR_NOT_LEADER || err == ERR_BUSY || err == ERR_NOMEM);
}

static void calm_down(struct paxos_cluster *c, uint32_t nodes)
{
	static const struct cluster_range fast = {100 * NS_PER_US, 300 * NS_PER_US};
	struct cluster_faults *f = cluster_faults(c);

	cluster_heal(c);
	f->loss_ppm = f->double_ppm = f->nomem_ppm = 0;
	f->fifo = true;
	f->delay = (struct cluster_range){20 * NS_PER_US, 200 * NS_PER_US};
	for (uint32_t i = 0; i < nodes; i++) {
		cluster_disk(c, i, fast);
		cluster_apply(c, i, fast);
		cluster_restart(c, i);
		cluster_pause(c, i, 0);
	}
}

static void must(struct paxos_cluster *c, bool holds)
{
	if (!holds)
		cluster_dump(c);
	CHECK_TRUE(holds);
}

/* One value and one read get through, and all replicas have all that was ever chosen. */
static void must_get_on(struct paxos_cluster *c, uint32_t nodes)
{
	uint64_t before = cluster_chosen(c), slot = 0;
	uint64_t served = cluster_reads_served(c);
	uint32_t leader;

	cluster_run(c, 3 * NS_PER_S);
	must(c, cluster_await_leader(c, 3 * NS_PER_S));
	leader = cluster_leader(c);
	CHECK_OK(cluster_propose(c, leader, 100, &slot));
	must(c, slot > before);
	CHECK_OK(cluster_read(c, leader));
	for (uint32_t i = 0; i < nodes; i++)
		must(c, cluster_await_slot(c, i, slot, 3 * NS_PER_S));
	must(c, cluster_await_reads(c, served + 1, NS_PER_S));
}

static void make_config(struct cluster_config *cfg, uint64_t seed)
{
	cluster_config_default(cfg, seed);
	cfg->nodes = seed % 8 == 0 ? 1 : seed % 4 == 1 ? 5 : 3;
	if (seed % 3 == 0)
		cfg->timing.lease = 0;
	if (seed % 5 < 3)
		cfg->cache_bytes = 4096;
	if (seed % 7 < 4)
		cfg->retain_bytes = 32768;
	cfg->drift_ppm = seed % 2 ? 20000 : 0;
}

static void history(uint64_t seed)
{
	struct cluster_config cfg;
	struct paxos_cluster *c;
	uint64_t fault_at, calm, pace;
	unsigned failures = check_failures();

	snprintf(abort_text, sizeof(abort_text), "aborted with SEED=%llu\n",
		 (unsigned long long)seed);
	make_config(&cfg, seed);
	c = cluster_new(&cfg);
	calm = (100 + cluster_random(c, 1000)) * NS_PER_MS;
	pace = (2 + cluster_random(c, 15)) * NS_PER_MS;
	fault_at = cluster_random(c, NS_PER_S);
	while (cluster_now(c) < 6 * NS_PER_S && check_failures() == failures) {
		cluster_run(c, cluster_random(c, pace));
		one_request(c, cfg.nodes, seed % 6 ? 50 : 4);
		if (cluster_now(c) >= fault_at) {
			one_fault(c, cfg.nodes);
			fault_at = cluster_now(c) + cluster_random(c, calm);
		}
	}
	calm_down(c, cfg.nodes);
	must_get_on(c, cfg.nodes);
	if (getenv("VERBOSE"))
		fprintf(stderr, "seed %llu: %llu slots, %llu reads, %llu snapshots\n",
			(unsigned long long)seed, (unsigned long long)cluster_chosen(c),
			(unsigned long long)cluster_reads_served(c),
			(unsigned long long)cluster_snapshots(c));
	cluster_free(c);
}

static void histories(uint64_t from, uint64_t count)
{
	signal(SIGABRT, on_abort);
	for (uint64_t seed = from; seed < from + count; seed++)
		history(seed);
	signal(SIGABRT, SIG_DFL);
}

static void fixed_seeds(void)
{
	const char *one = getenv("SEED");

	if (one)
		histories(strtoull(one, NULL, 10), 1);
	else
		histories(1, FIXED_SEEDS);
}

static void fresh_seeds(void)
{
	const char *count = getenv("SEEDS");
	const char *first = getenv("FROM");
	uint64_t from = first ? strtoull(first, NULL, 10) : (uint64_t)time(NULL) * 1000;

	fprintf(stderr, "fresh seeds from %llu\n", (unsigned long long)from);
	histories(from, count ? strtoull(count, NULL, 10) : FRESH_SEEDS);
}

static const struct check_test tests[] = {
	CHECK_TEST(fixed_seeds),
	CHECK_TEST(fresh_seeds),
};
CHECK_MAIN(tests)
