#include "kv/node.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"
#include "wal/wal_device.h"

void kv_node_config_default(struct kv_node_config *c)
{
	*c = (struct kv_node_config){.leases = true};
}

const char *kv_node_address(const struct kv_node *n)
{
	return n->address;
}

struct kv_time kv__now(struct kv_node *n)
{
	return (struct kv_time){env_mono_ns(n->env), env_wall_ns(n->env)};
}

/* ---- the turn of the loop: propose, one submit for all groups, next deadlines ---- */

void kv__touch(struct node_group *g)
{
	if (g->is_touched)
		return;
	g->is_touched = true;
	TAILQ_INSERT_TAIL(&g->node->touched, g, touched);
}

static void arm_timer(struct node_group *g)
{
	struct kv_node *n = g->node;
	uint64_t at = kv_replica_deadline(g->replica);

	if (at == UINT64_MAX)
		env_timer_cancel(n->env, &g->timer);
	else if (!g->timer.armed || g->timer.at_ns != at)
		env_timer_set(n->env, &g->timer, at);
}

static void on_turn(struct loop_turn *turn)
{
	struct kv_node *n = container_of(turn, struct kv_node, turn);
	struct kv_time t;
	struct node_group *g;

	do {
		if (n->closed)
			return;
		t = kv__now(n);
		while ((g = TAILQ_FIRST(&n->touched)) != NULL) {
			TAILQ_REMOVE(&n->touched, g, touched);
			g->is_touched = false;
			kv_replica_turn(g->replica, &t);
			arm_timer(g);
		}
		if (n->appended) {
			n->appended = false;
			wal_submit(n->wal);
		}
	} while (kv__apply_turn(n));
}

/* ---- the log writer ---- */

static void on_synced_thread(void *ctx)
{
	struct kv_node *n = ctx;

	loop_async_send(n->wal_async);
}

static void warn_slow_sync(struct kv_node *n)
{
	static struct logger_limit limit;
	struct wal_stats s;

	wal_stats_get(n->wal, &s);
	if (s.sync_ns_last > KV_SLOW_SYNC_NS)
		logger_write_limited(&limit, 1, LOG_WARN_, "slow disk: a log write took %llu ms",
				     (unsigned long long)(s.sync_ns_last / NS_PER_MS));
}

static void on_synced(void *ctx)
{
	struct kv_node *n = ctx;
	struct kv_time t = kv__now(n);
	uint64_t batch;

	if (!n->wal)
		return;
	batch = wal_synced(n->wal);
	for (uint32_t i = 0; i < n->group_count; i++) {
		struct node_group *g = n->list[i];

		if (kv_replica_synced(g->replica, batch, &t) || kv_replica_wants_turn(g->replica))
			kv__touch(g);
	}
	warn_slow_sync(n);
}

/* ---- start ---- */

static int replay(void *ctx, const struct wal_record *rec)
{
	struct kv_node *n = ctx;
	struct node_group *g = rec->group < GROUPS_MAX ? n->groups[rec->group] : NULL;

	return g ? kv_replica_restore(g->replica, rec) : 0;
}

static int make_subdir(struct kv_node *n, const char *name, char **path, struct msg *m)
{
	*path = datadir_path(&n->dir, name);
	if (mkdir(*path, 0700) != 0 && errno != EEXIST)
		return msg_set(m, err_from_errno(errno), "create %s: %s", *path, strerror(errno));
	return 0;
}

static int open_engine(struct kv_node *n, struct msg *m)
{
	struct engine_config ec = {.memory_bytes = n->cfg.memory_bytes,
				   .reserve_bytes = engine_rocks_reserve(n->cfg.memory_bytes)};
	char *path;
	int err = make_subdir(n, "engine", &path, m);

	ec.dir = path;
	if (!err)
		err = engine_rocks_open(&ec, &n->engine, m);
	mem_free(path);
	return err;
}

/* What the engine gave up on a full disk is not for the log. Any thread. */
static uint64_t spared(void *ctx)
{
	return engine_reserve_missing(((struct kv_node *)ctx)->engine);
}

static int open_log(struct kv_node *n, struct msg *m)
{
	struct wal_config wc = {.segment_size = n->cfg.segment_bytes,
				.size_max = n->cfg.log_bytes,
				.spared = spared,
				.on_synced = on_synced_thread,
				.ctx = n};
	char *path;
	int err = make_subdir(n, "log", &path, m);

	if (!err)
		err = wal_device_dir(path, &n->device, m);
	wc.device = n->device;
	if (!err) {
		err = wal_open(&wc, replay, n, &n->wal, m);
		if (err)
			msg_wrap(m, err, "%s", path);
	}
	mem_free(path);
	return err;
}

/* The layout, if this node has one; and a log, if it has a layout. */
static int open_identity(struct kv_node *n, struct msg *m)
{
	struct buf b = BUF_INIT;
	int err = datadir_read(&n->dir, "cluster", &b, m);

	if (err == ERR_NOT_FOUND && datadir_has(&n->dir, "peers"))
		err = msg_set(m, ERR_AMNESIA,
			      "%s has no file `cluster` any more: files are missing; restore or "
			      "rebuild it",
			      n->dir.path);
	else if (err == ERR_NOT_FOUND)
		err = 0;
	else if (!err && (err = kv__layout_adopt(n, buf_slice(&b))) == ERR_NOMEM)
		(void)msg_set(m, err, "%s/cluster: out of memory", n->dir.path);
	else if (err == ERR_PROTO)
		err = msg_set(m, ERR_CORRUPT, "%s/cluster: malformed", n->dir.path);
	else if (!err && !kv_layout_node(&n->layout, n->cfg.id))
		err = msg_set(m, ERR_IDENTITY, "%s/cluster: the layout has no node %u",
			      n->dir.path, n->cfg.id);
	buf_release(&b);
	if (!err && n->has_layout && !datadir_has(&n->dir, "log"))
		err = msg_set(m, ERR_AMNESIA,
			      "%s/log is missing: the node has lost what it promised and must not "
			      "vote; restore or rebuild it",
			      n->dir.path);
	return err;
}

static int recover(struct kv_node *n, struct msg *m)
{
	int err = open_engine(n, m);

	if (!err && n->has_layout)
		err = kv__groups_make(n, m);
	if (!err)
		err = open_log(n, m);
	if (!err)
		n->boot = kv__boot_make(wal_run(n->wal), env_random(n->env));
	if (!err && n->has_layout) {
		kv__peers_make(n);
		err = kv__peers_load(n, m);
	}
	if (!err && n->has_layout)
		err = kv__groups_start(n, m);
	if (!err && n->has_layout)
		err = kv__fence_load(n, m);
	return err;
}

static int go_online(struct kv_node *n, struct msg *m)
{
	struct net_handler h = kv__server_handler;
	int err;

	h.ctx = n;
	err = net_listen(n->loop, n->cfg.listen, &h, &n->listener, m);
	if (err)
		return err;
	snprintf(n->address, sizeof(n->address), "%s",
		 n->cfg.advertise ? n->cfg.advertise : net_listener_address(n->listener));
	if (n->has_layout && kv__peers_connect(n) != 0)
		return msg_set(m, ERR_INVAL, "%s/cluster: an address is malformed", n->dir.path);
	kv__join_start(n);
	return 0;
}

static int open_threads(struct kv_node *n, struct msg *m)
{
	int err = loop_async_new(n->loop, on_synced, n, &n->wal_async);

	if (!err)
		err = kv_worker_new(n->loop, "apply", &n->apply);
	if (!err)
		err = kv_worker_new(n->loop, "background", &n->back);
	return err ? msg_set(m, err, "start threads: %s", err_text(err)) : 0;
}

static char *copy_string(const char *s)
{
	return s ? mem_must_strdup(s) : NULL;
}

static struct kv_node *node_new(const struct kv_node_config *cfg, struct loop *l)
{
	struct kv_node *n = mem_must_alloc(sizeof(*n));

	n->cfg = *cfg;
	n->cfg.listen = copy_string(cfg->listen);
	n->cfg.advertise = copy_string(cfg->advertise);
	n->cfg.dir = copy_string(cfg->dir);
	n->cfg.join = copy_string(cfg->join);
	n->cfg.log_bytes = FAILPOINT_TUNE("PAXFS_LOG_BYTES", n->cfg.log_bytes);
	n->cfg.flush_bytes = FAILPOINT_TUNE("PAXFS_FLUSH_BYTES", n->cfg.flush_bytes);
	n->cfg.retain_bytes = FAILPOINT_TUNE("PAXFS_RETAIN_BYTES", n->cfg.retain_bytes);
	n->cfg.segment_bytes =
		(uint32_t)FAILPOINT_TUNE("PAXFS_SEGMENT_BYTES", n->cfg.segment_bytes);
	if (!n->cfg.log_bytes)
		n->cfg.log_bytes = KV_LOG_BYTES;
	if (!n->cfg.flush_bytes)
		n->cfg.flush_bytes = KV_FLUSH_BYTES;
	n->loop = l;
	n->env = loop_env(l);
	n->anonymous = env_random(n->env) >> 1;
	n->started_ns = env_mono_ns(n->env);
	n->dir.fd = n->dir.lock_fd = -1;
	TAILQ_INIT(&n->touched);
	STAILQ_INIT(&n->here);
	TAILQ_INIT(&n->status_waits);
	kv__flush_init(n);
	kv__source_init(n);
	n->turn.run = on_turn;
	loop_on_turn(l, &n->turn);
	return n;
}

int kv_node_start(const struct kv_node_config *cfg, struct loop *l, struct kv_node **out,
		  struct msg *m)
{
	struct kv_node *n;
	int err;

	if (!cfg->dir || !cfg->listen || cfg->id >= NODES_MAX)
		return msg_set(m, ERR_INVAL, "a node needs an id below %u, a data directory and an "
			       "address to listen on", NODES_MAX);
	n = node_new(cfg, l);
	err = datadir_open(n->cfg.dir, n->cfg.id, env_random(n->env), env_wall_ns(n->env), &n->dir,
			   m);
	n->cfg.id = n->dir.node;
	if (!err)
		err = open_identity(n, m);
	if (!err)
		err = open_threads(n, m);
	if (!err)
		err = recover(n, m);
	if (!err)
		err = go_online(n, m);
	if (err) {
		n->stopping = true;
		kv_node_free(n);
		return err;
	}
	n->online = true;
	kv__flush_begin(n);
	log_info("node %u listens on %s, data in %s%s", n->cfg.id, n->address, n->dir.path,
		 n->has_layout ? "" : ", not initialised");
	*out = n;
	return 0;
}
