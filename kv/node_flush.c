/* When the engine is flushed: the log can be cut only behind what the engine has on disk. One flush at
 * a time, on the background thread. */
#include <malloc.h>

#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"

#define LOOK_NS (1 * NS_PER_S)	   /* while anything is unflushed */
#define ROOM_NS (200 * NS_PER_MS) /* between flushes for the sake of a full log */

struct flush_wait {
	STAILQ_ENTRY(flush_wait) link;
	struct kv_caller caller;
};

struct flush_job {
	struct kv_work work;
	struct kv_node *node;
	bool engine;	  /* flush it */
	bool full;	  /* nothing was flushed: no room on the disk */
	bool quiet;	  /* nothing else happens: give memory back, too */
	struct buf peers; /* write it, if not empty */
	int err;
	struct msg m;
	uint64_t took_ns;
};

static void run(struct kv_work *w)
{
	struct flush_job *job = container_of(w, struct flush_job, work);
	uint64_t begin = env_mono_ns(job->node->env);

	FAILPOINT_IF(job->engine, flush_before);
	if (job->engine) {
		int err = engine_flush(job->node->engine);

		job->full = err == ERR_NOSPACE;
		if (err && !job->full)
			logger_die("flush of the engine in %s failed", job->node->dir.path);
	}
	FAILPOINT_IF(job->engine, flush_after);
	if (job->peers.len)
		job->err = datadir_write(&job->node->dir, "peers", buf_slice(&job->peers), &job->m);
	job->took_ns = env_mono_ns(job->node->env) - begin;
	if (job->quiet)
		(void)malloc_trim(0); /* what a burst, or a long log at the start, has left behind */
}

/* The log may now be cut. */
static void tell_durable(struct kv_node *n)
{
	struct kv_time t = kv__now(n);

	for (uint32_t i = 0; i < n->group_count; i++) {
		struct node_group *g = n->list[i];

		kv_replica_durable(g->replica, engine_durable(kv_apply_engine(g->apply)), &t);
		kv__touch(g);
	}
}

static void answer_waits(struct kv_node *n)
{
	struct flush_wait *w;

	while ((w = STAILQ_FIRST(&n->flush_waits)) != NULL) {
		STAILQ_REMOVE_HEAD(&n->flush_waits, link);
		kv__answer(n, &w->caller, 0, 0, (struct slice){0});
		mem_free(w);
	}
}

static void start(struct kv_node *n, bool engine);

static void done(struct kv_work *w)
{
	static struct logger_limit limit;
	struct flush_job *job = container_of(w, struct flush_job, work);
	struct kv_node *n = job->node;
	bool full = job->full;

	n->flushing = false;
	if (job->err)
		log_warn("%s", job->m.text);
	if (full) {
		logger_write_limited(&limit, 1, LOG_WARN_,
				     "the disk is full: %s is flushed when there is room", n->dir.path);
		n->flush_not_before_ns = env_mono_ns(n->env) + LOOK_NS;
		STAILQ_CONCAT(&n->flush_next, &n->flush_waits);
	} else if (job->engine) {
		tell_durable(n);
		answer_waits(n);
		if (job->took_ns > NS_PER_S)
			log_info("flush of the engine took %llu ms",
				 (unsigned long long)(job->took_ns / NS_PER_MS));
	}
	buf_release(&job->peers);
	mem_free(job);
	if (n->closed || full) /* the timer tries again */
		return;
	if (n->flush_again || !STAILQ_EMPTY(&n->flush_next))
		start(n, true);
	else if (n->peers_dirty)
		start(n, false);
}

static bool is_quiet(const struct kv_node *n)
{
	return env_mono_ns(n->env) - n->last_entry_ns >= KV_FLUSH_QUIET_NS;
}

/* What the other nodes acknowledged goes to disk with every flush. */
static void start(struct kv_node *n, bool engine)
{
	struct flush_job *job;

	if (n->flushing) {
		n->flush_again |= engine;
		return;
	}
	job = mem_must_alloc(sizeof(*job));
	job->node = n;
	job->engine = engine;
	job->quiet = n->trim_due && is_quiet(n);
	if (job->quiet)
		n->trim_due = false;
	job->work.run = run;
	job->work.done = done;
	if (n->has_layout)
		kv__peers_encode(n, &job->peers);
	if (!buf_ok(&job->peers))
		buf_release(&job->peers);
	n->flushing = true;
	n->peers_dirty = false;
	if (engine) {
		n->flush_again = false;
		n->appended_bytes = 0;
		STAILQ_CONCAT(&n->flush_waits, &n->flush_next);
	}
	kv_worker_push(n->back, &job->work);
}

/* What the log has to keep for this node itself is what was appended since the last flush. (A replica
 * that is down makes it keep more; a flush does not change that.) */
static bool log_is_long(const struct kv_node *n)
{
	return n->appended_bytes >= n->cfg.log_bytes / 8;
}

static bool memory_fills(const struct kv_node *n)
{
	return engine_unflushed_bytes(n->engine) >= n->cfg.flush_bytes ||
	       engine_wants_flush(n->engine);
}

static void on_timer(struct env_timer *t)
{
	struct kv_node *n = container_of(t, struct kv_node, flush_timer);
	uint64_t unflushed = engine_unflushed_bytes(n->engine);
	bool full = engine_reserve_missing(n->engine) > 0 || !STAILQ_EMPTY(&n->flush_next);

	if (unflushed == 0 && !n->trim_due && !full)
		return;
	if (memory_fills(n) || is_quiet(n) || log_is_long(n) || full)
		start(n, unflushed > 0 || full);
	env_timer_set(n->env, t, env_mono_ns(n->env) + LOOK_NS);
}

void kv__flush_begin(struct kv_node *n)
{
	n->trim_due = true; /* the log was replayed */
	n->last_entry_ns = env_mono_ns(n->env);
	env_timer_set(n->env, &n->flush_timer, n->last_entry_ns + LOOK_NS);
}

void kv__flush_note_entry(struct kv_node *n)
{
	n->last_entry_ns = env_mono_ns(n->env);
	n->trim_due = true;
	if (n->closed)
		return;
	if (!n->flush_timer.armed)
		env_timer_set(n->env, &n->flush_timer, n->last_entry_ns + LOOK_NS);
	if (!n->flushing && memory_fills(n) && n->last_entry_ns >= n->flush_not_before_ns)
		start(n, true);
}

/* The log grows faster than the timer looks. */
void kv__flush_note_append(struct kv_node *n, size_t bytes)
{
	n->appended_bytes += bytes;
	if (log_is_long(n) && !n->flushing && n->online)
		start(n, true);
}

void kv__flush_request(struct kv_node *n, const struct kv_caller *c)
{
	struct flush_wait *w = mem_must_alloc(sizeof(*w));

	w->caller = *c;
	STAILQ_INSERT_TAIL(&n->flush_next, w, link);
	start(n, true);
}

bool kv__flush_make_room(struct kv_node *n)
{
	uint64_t now = env_mono_ns(n->env);

	n->appended = true; /* nothing was, but a submit looks for room */
	if (n->flushing || !n->online || now - n->room_ns < ROOM_NS ||
	    engine_unflushed_bytes(n->engine) == 0)
		return false;
	n->room_ns = now;
	start(n, true);
	return false;
}

void kv__flush_peers(struct kv_node *n)
{
	n->peers_dirty = true;
	start(n, false);
}

void kv__flush_init(struct kv_node *n)
{
	STAILQ_INIT(&n->flush_waits);
	STAILQ_INIT(&n->flush_next);
	n->flush_timer.fire = on_timer;
}

void kv__flush_free(struct kv_node *n)
{
	env_timer_cancel(n->env, &n->flush_timer);
	STAILQ_CONCAT(&n->flush_waits, &n->flush_next);
	answer_waits(n);
}
