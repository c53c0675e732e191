#include "tests/sim/sim_cluster.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/fs.h"
#include "kv/kv.h"
#include "kv/node_internal.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_internal.h"

#define RESTART_MIN_NS	 (20 * NS_PER_MS) /* of a node that died by itself */
#define RESTART_MAX_NS	 (2 * NS_PER_S)
#define HAND_OVER_NS	 (2 * NS_PER_S)
#define ADMIN_TIMEOUT_NS (2 * NS_PER_S)

struct sim_cluster sim_cluster;

/* ---- a node ---- */

static void node_main(void *arg)
{
	struct sim_node *n = arg;
	const struct sim_cluster_config *cc = &sim_cluster.cfg;
	struct kv_node_config cfg;
	char listen[48], dir[48];
	struct msg m = {""};
	struct kv_node *kv;
	int err;

	snprintf(listen, sizeof(listen), "%s:%u", n->machine.address, SIM_PORT);
	snprintf(dir, sizeof(dir), "/sim/%s", sim_disk_name(n->machine.disk));
	kv_node_config_default(&cfg);
	cfg.id = n->id;
	cfg.listen = listen;
	cfg.dir = dir;
	cfg.leases = cc->leases;
	cfg.segment_bytes = cc->segment_bytes;
	cfg.log_bytes = cc->log_bytes;
	cfg.flush_bytes = cc->flush_bytes;
	cfg.retain_bytes = cc->retain_bytes;
	CHECK(loop_new(&n->loop, &m) == 0);
	err = kv_node_start(&cfg, n->loop, &kv, &m);
	if (err) {
		sim_trace("does not start: %s", m.text);
		if (!n->damaged && err != ERR_IO && err != ERR_NOSPACE)
			sim_violation("an undamaged node does not start: %s", m.text);
		n->refused = err == ERR_CORRUPT || err == ERR_AMNESIA || err == ERR_IDENTITY;
		sim_proc_die("start failed");
	}
	n->kv = kv;
	loop_run(n->loop);
	n->kv = NULL;
	kv_node_free(kv);
	loop_free(n->loop);
}

static void start_again(void *ctx)
{
	struct sim_node *n = ctx;

	if (!n->proc && !n->refused)
		sim_node_start(n);
}

static void gone(struct sim_node *n)
{
	n->proc = NULL;
	n->kv = NULL;
	n->loop = NULL;
	n->stopping = false;
	n->down_since_ns = sim_now();
	sim_disk_crash(n->machine.disk);
}

static void on_exit_(struct sim_proc *p, const char *why)
{
	struct sim_node *n = p->user;

	(void)why;
	gone(n);
	if (!n->refused)
		sim_at(sim_now() + sim_between(RESTART_MIN_NS, RESTART_MAX_NS), start_again, n);
}

void sim_node_start(struct sim_node *n)
{
	char name[24];

	CHECK(!n->proc);
	snprintf(name, sizeof(name), "node %u", n->id);
	n->proc = sim_proc_start(name, &n->machine, node_main, n);
	n->proc->on_exit = on_exit_;
	n->proc->user = n;
	n->up_since_ns = sim_now();
	sim_trace("node %u starts", n->id);
}

void sim_node_kill(struct sim_node *n)
{
	CHECK(n->proc);
	sim_trace("node %u is killed", n->id);
	sim_proc_kill(n->proc);
	gone(n);
}

static void on_stopped(void *ctx)
{
	loop_stop(((struct sim_node *)ctx)->loop);
}

struct stop_item {
	struct sim_item item;
	struct sim_node *node;
};

static void stop_run(struct sim_item *i)
{
	struct sim_node *n = container_of(i, struct stop_item, item)->node;

	mem_free(container_of(i, struct stop_item, item));
	kv_node_stop(n->kv, HAND_OVER_NS, on_stopped, n);
}

void sim_node_stop(struct sim_node *n)
{
	struct stop_item *s;

	if (!n->kv || n->stopping)
		return;
	sim_trace("node %u is stopped", n->id);
	n->stopping = true;
	s = mem_must_alloc(sizeof(*s));
	s->node = n;
	s->item.run = stop_run;
	sim__loop_post(n->loop, &s->item, sim_now());
}

bool sim_node_up(const struct sim_node *n)
{
	return n->proc && n->kv && !n->stopping && n->proc->paused_until_ns <= sim_now();
}

bool sim_node_well(const struct sim_node *n)
{
	const char *why;

	if (!sim_node_up(n))
		return false;
	for (uint32_t i = 0; i < n->kv->group_count; i++)
		if (kv_replica_refused(n->kv->list[i]->replica, &why) != 0)
			return false;
	return true;
}

/* ---- clients ---- */

static void client_fiber(void *arg)
{
	struct sim_client_env *e = arg;

	e->fn(e);
	loop_stop(e->loop);
}

void sim_client_main(void *arg)
{
	struct sim_client_env *e = arg;
	struct msg m = {""};

	CHECK(loop_new(&e->loop, &m) == 0);
	CHECK(kv_transport_net_new(e->loop, &e->transport) == 0);
	CHECK(fiber_start(loop_fibers(e->loop), client_fiber, e) == 0);
	loop_run(e->loop);
	kv_transport_net_free(e->transport);
	loop_free(e->loop);
}

/* ---- the cluster ---- */

static int init_node(struct sim_client_env *e, const struct kv_layout_node *n, struct slice body)
{
	struct buf reply = BUF_INIT;
	int err = kv_client_admin(e->transport, loop_env(e->loop), n->address, KV_INIT, body,
				  ADMIN_TIMEOUT_NS, &reply);

	buf_release(&reply);
	return err;
}

static int format(struct sim_client_env *e)
{
	struct kv_client_config cfg = {.endpoints = sim_cluster.endpoints,
				       .transport = e->transport,
				       .env = loop_env(e->loop),
				       .fibers = loop_fibers(e->loop),
				       .timeout_ns = 10 * NS_PER_S,
				       .connect_timeout_ns = 10 * NS_PER_S,
				       .name = "init"};
	struct msg m = {""};
	struct fs_backend b;
	struct kv_client *c;
	int err = kv_client_open(&cfg, &c, &m);

	if (err)
		return err;
	fs_backend_kv(&b, c, loop_env(e->loop), loop_fibers(e->loop));
	err = fs_format(&b);
	kv_client_close(c);
	return err == ERR_EXISTS ? 0 : err;
}

static void init_fn(struct sim_client_env *e)
{
	struct buf body = BUF_INIT;
	int err;

	kv_layout_encode(&body, &sim_cluster.layout);
	for (uint32_t i = 0; i < sim_cluster.layout.node_count; i++)
		while ((err = init_node(e, &sim_cluster.layout.nodes[i], buf_slice(&body))) != 0) {
			sim_trace("init: %s", err_text(err));
			fiber_sleep(20 * NS_PER_MS);
		}
	buf_release(&body);
	while ((err = format(e)) != 0)
		sim_trace("format: %s", err_text(err));
	sim_trace("the cluster is ready");
	sim_cluster.ready = true;
}

static void make_layout(const struct sim_cluster_config *cfg)
{
	struct kv_layout_node nodes[SIM_NODES_MAX] = {0};
	uint8_t cluster[KV_CLUSTER_ID_SIZE];
	struct msg m = {""};

	for (unsigned i = 0; i < sizeof(cluster); i++)
		cluster[i] = (uint8_t)sim_random();
	for (uint32_t i = 0; i < cfg->nodes; i++) {
		size_t n = strlen(sim_cluster.endpoints);

		nodes[i].id = i + 1;
		snprintf(nodes[i].address, sizeof(nodes[i].address), "10.0.0.%u:%u", i + 1, SIM_PORT);
		snprintf(sim_cluster.endpoints + n, sizeof(sim_cluster.endpoints) - n, "%s%s",
			 n ? "," : "", nodes[i].address);
	}
	if (kv_layout_make(&sim_cluster.layout, cluster, nodes, cfg->nodes, cfg->groups,
			   cfg->replicas, &m) != 0)
		sim_violation("layout: %s", m.text);
}

void sim_cluster_start(const struct sim_cluster_config *cfg)
{
	static struct sim_machine machine;
	static struct sim_client_env init = {.fn = init_fn};

	sim_cluster.cfg = *cfg;
	make_layout(cfg);
	for (uint32_t i = 1; i <= cfg->nodes; i++) {
		struct sim_node *n = &sim_cluster.nodes[i];
		char name[16];

		n->id = i;
		snprintf(name, sizeof(name), "n%u", i);
		sim_machine_init(&n->machine, i, sim_disk_new(name));
		sim_node_start(n);
	}
	sim_machine_init(&machine, SIM_MACHINES_MAX - 1, NULL);
	sim_proc_start("init", &machine, sim_client_main, &init);
}

/* ---- are they equal? ---- */

static bool is_idle(const struct sim_node *n)
{
	return kv_worker_pending(n->kv->apply) == 0 && n->kv->here_count == 0;
}

struct sum {
	uint64_t slot;
	uint32_t crc;
};

static int sum_of(const struct sim_node *n, uint32_t group, struct sum *out)
{
	struct engine_group *g;

	if (!n->kv->groups[group])
		return ERR_NOT_FOUND;
	g = kv_apply_engine(n->kv->groups[group]->apply);
	out->slot = engine_applied(g);
	return engine_checksum(g, &out->crc);
}

int sim_cluster_converged(void)
{
	for (uint32_t group = 0; group <= sim_cluster.cfg.groups; group++) {
		struct sum first = {0}, s;
		uint32_t who = 0;

		for (uint32_t i = 1; i <= sim_cluster.cfg.nodes; i++) {
			const struct sim_node *n = &sim_cluster.nodes[i];

			if (n->damaged && !sim_node_well(n))
				continue;
			if (!sim_node_well(n) || !is_idle(n))
				return 0;
			if (sum_of(n, group, &s) != 0)
				continue;
			if (who && s.slot != first.slot)
				return 0;
			if (who && s.crc != first.crc)
				sim_violation("group %u at slot %llu: nodes %u and %u differ", group,
					      (unsigned long long)s.slot, who, i);
			first = s;
			who = i;
		}
	}
	return 1;
}
