/* The clean stop: hand leaderships over, let fibers end, answer who waits, flush, close. */
#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"
#include "wal/wal_device.h"

/* Is there anybody to hand over to? */
static bool may_hand_over(const struct node_group *g)
{
	for (uint32_t i = 0; i < g->layout->member_count; i++) {
		struct node_peer *p = kv__peer(g->node, g->layout->members[i]);

		if (p && p->up)
			return true;
	}
	return false;
}

static bool leads_any(const struct kv_node *n)
{
	for (uint32_t i = 0; i < n->group_count; i++)
		if (kv_replica_serving(n->list[i]->replica) && may_hand_over(n->list[i]))
			return true;
	return false;
}

static void write_peers(struct kv_node *n)
{
	struct buf b = BUF_INIT;
	struct msg m = {""};

	if (!n->has_layout || !n->online) /* what was not read must not be replaced */
		return;
	kv__peers_encode(n, &b);
	if (buf_ok(&b) && datadir_write(&n->dir, "peers", buf_slice(&b), &m) != 0)
		log_warn("%s", m.text);
	buf_release(&b);
}

/* Threads first: then nothing else touches replicas, engine and log. */
static void close_all(struct kv_node *n)
{
	CHECK(!n->closed && n->fetch_count == 0 && !n->joining);
	for (uint32_t i = 0; i < n->group_count; i++)
		if (n->list[i]->replica) /* else the start failed halfway */
			kv_replica_fail_calls(n->list[i]->replica, ERR_NOT_LEADER);
	n->closed = true;
	env_timer_cancel(n->env, &n->stop_timer);
	if (n->apply)
		kv__apply_hand_on(n);
	kv_worker_free(n->apply);
	kv_worker_free(n->back);
	n->apply = n->back = NULL;
	kv__flush_free(n);
	kv__status_free(n);
	kv__source_free(n);
	write_peers(n);
	kv__peers_free(n);
	kv__groups_free(n);
	if (n->engine && engine_unflushed_bytes(n->engine) > 0)
		(void)engine_flush(n->engine); /* else the log has it */
	if (n->wal)
		wal_submit(n->wal);
	wal_close(n->wal);
	wal_device_free(n->device);
	loop_async_free(n->wal_async);
	engine_close(n->engine);
	net_listener_free(n->listener);
	loop_off_turn(n->loop, &n->turn);
	if (n->has_layout)
		kv_layout_release(&n->layout);
	buf_release(&n->layout_bytes);
	buf_release(&n->scratch);
	datadir_close(&n->dir);
}

static void finish(struct kv_node *n)
{
	close_all(n);
	log_info("stopped");
	n->stop_done(n->stop_ctx);
}

static void on_timer(struct env_timer *t)
{
	struct kv_node *n = container_of(t, struct kv_node, stop_timer);
	bool late = env_mono_ns(n->env) >= n->stop_deadline_ns;

	if (n->fetch_count > 0 || n->joining)
		return; /* their end looks again */
	if (late || !leads_any(n))
		finish(n);
	else
		env_timer_set(n->env, t, n->stop_deadline_ns);
}

/* May be called from deep inside: only looks later, from the timer. */
void kv__stop_check(struct kv_node *n)
{
	if (n->stopping && !n->closed)
		env_timer_set(n->env, &n->stop_timer, env_mono_ns(n->env));
}

void kv_node_stop(struct kv_node *n, uint64_t hand_over_ns, void (*done)(void *ctx), void *ctx)
{
	struct kv_time t = kv__now(n);

	CHECK(!n->stopping && !n->closed);
	n->stopping = true;
	n->stop_done = done;
	n->stop_ctx = ctx;
	n->stop_deadline_ns = t.mono_ns + hand_over_ns;
	n->stop_timer.fire = on_timer;
	kv__fetch_cancel_all(n);
	kv__join_cancel(n);
	for (uint32_t i = 0; i < n->group_count; i++) {
		struct node_group *g = n->list[i];

		if (kv_replica_serving(g->replica) && may_hand_over(g))
			kv_replica_hand_over(g->replica, &t);
		kv__touch(g);
	}
	kv__stop_check(n);
}

void kv_node_free(struct kv_node *n)
{
	if (!n)
		return;
	if (!n->closed)
		close_all(n);
	mem_free((char *)n->cfg.listen);
	mem_free((char *)n->cfg.advertise);
	mem_free((char *)n->cfg.dir);
	mem_free((char *)n->cfg.join);
	mem_free(n);
}
