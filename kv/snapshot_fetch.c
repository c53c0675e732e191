/* A replica behind the start of the others' logs fetches a snapshot: a fiber that calls chunk after
 * chunk, while the apply thread stages the one before. */
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"
#include "kv/snapshot_wire.h"

#define CALL_NS	       (5 * NS_PER_S)
#define BACKOFF_NS_MIN (20 * NS_PER_MS)
#define BACKOFF_NS_MAX (500 * NS_PER_MS)
#define CALL_TRIES     8u
#define FETCH_TRIES    3u
#define REST_NS	       (1 * NS_PER_S) /* after a failure, before the core may ask again */
#define SILENT_NS      (2 * NS_PER_S) /* of a source: then another one that offers itself is better */

struct snapshot_fetch {
	struct node_group *group;
	uint32_t from;
	struct fiber *fiber;
	bool canceled;
	bool job_out; /* a job of the apply thread is under way */
	bool waiting; /* the fiber waits for it */
	int job_err;

	uint64_t heard_ns; /* when it began, or the last chunk came */
	uint64_t transfer, chunk;
	uint64_t applied; /* the snapshot's slot */
	uint64_t bytes, bytes_total;
};

/* ---- jobs ---- */

static void job_done(struct kv_job *job)
{
	struct snapshot_fetch *f = job->ctx;

	f->job_out = false;
	if (job->err && !f->job_err)
		f->job_err = job->err;
	if (f->waiting)
		fiber_wake(f->fiber);
}

/* Jobs always come back: interrupts do not matter here. */
static int await_job(struct snapshot_fetch *f)
{
	int err;

	f->waiting = true;
	while (f->job_out)
		fiber_park();
	f->waiting = false;
	err = f->job_err;
	f->job_err = 0;
	return err;
}

/* Gives a job to the apply thread; waits for the one before. */
static int push_job(struct snapshot_fetch *f, enum kv_job_kind kind, struct slice bytes)
{
	struct kv_job *job;
	int err = await_job(f);

	if (err)
		return err;
	job = kv_job_new(kind, f->group->apply);
	job->owner = f->group->replica;
	job->slot = f->applied;
	job->done = job_done;
	job->ctx = f;
	if (buf_set(&job->bytes, bytes) != 0) {
		kv_job_free(job);
		return ERR_NOMEM;
	}
	f->job_out = true;
	kv__node_schedule(f->group->node, job);
	return 0;
}

/* ---- calls ---- */

static int call_once(struct snapshot_fetch *f, struct buf *reply, struct kv_snapshot_reply *out)
{
	struct kv_node *n = f->group->node;
	struct node_peer *p = kv__peer(n, f->from);
	struct kv_snapshot_request q = {f->group->id, f->transfer, f->chunk};
	struct kv_envelope e;
	struct buf b = BUF_INIT;
	struct slice part;
	int err;

	if (!p)
		return ERR_UNREACHABLE;
	kv_snapshot_request_encode(&b, &q);
	part = buf_slice(&b);
	err = buf_ok(&b) ? net_call(p->net, KV_SNAPSHOT, &part, 1, env_mono_ns(n->env) + CALL_NS,
				    reply)
			 : ERR_NOMEM;
	buf_release(&b);
	if (!err)
		err = kv_envelope_decode(buf_slice(reply), &e);
	if (!err)
		err = e.err;
	if (!err)
		err = kv_snapshot_reply_decode(e.body, out);
	if (!err && (out->chunk != f->chunk || (f->transfer && out->transfer != f->transfer)))
		err = ERR_PROTO;
	return err;
}

static bool worth_asking_again(int err)
{
	return err == ERR_TIMEOUT || err == ERR_CLOSED || err == ERR_UNREACHABLE || err == ERR_BUSY;
}

/* One chunk, asked for again after broken connections. */
static int call(struct snapshot_fetch *f, struct buf *reply, struct kv_snapshot_reply *out)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	int err = 0;

	for (unsigned i = 0; i < CALL_TRIES && !f->canceled; i++) {
		err = call_once(f, reply, out);
		if (!worth_asking_again(err))
			return err;
		(void)fiber_sleep(backoff);
		backoff = backoff * 2 < BACKOFF_NS_MAX ? backoff * 2 : BACKOFF_NS_MAX;
	}
	return f->canceled ? ERR_CANCELED : err;
}

static int fetch_chunks(struct snapshot_fetch *f, struct buf *reply)
{
	struct kv_snapshot_reply r;
	int err = push_job(f, KV_JOB_INSTALL_BEGIN, (struct slice){0});

	while (!err) {
		err = call(f, reply, &r);
		if (err)
			break;
		f->heard_ns = env_mono_ns(f->group->node->env);
		f->transfer = r.transfer;
		f->applied = r.applied;
		f->bytes_total = r.bytes_total;
		f->bytes += r.data.len;
		f->chunk++;
		if (r.data.len == 0)
			return push_job(f, KV_JOB_INSTALL_FINISH, (struct slice){0});
		err = push_job(f, KV_JOB_INSTALL_CHUNK, r.data);
	}
	return err;
}

static int fetch_once(struct snapshot_fetch *f)
{
	struct buf reply = BUF_INIT;
	int err, job_err;

	f->transfer = f->chunk = f->bytes = 0;
	err = fetch_chunks(f, &reply);
	job_err = await_job(f);
	buf_release(&reply);
	return err ? err : job_err;
}

/* ---- the fiber ---- */

static void log_end(const struct snapshot_fetch *f, int err)
{
	if (err)
		log_warn("group=%u: snapshot from node %u: %s", f->group->id, f->from,
			 err_text(err));
	else
		log_info("group=%u: snapshot of slot %llu from node %u installed, %llu bytes",
			 f->group->id, (unsigned long long)f->applied, f->from,
			 (unsigned long long)f->bytes);
}

static void fetch_main(void *arg)
{
	struct snapshot_fetch *f = arg;
	struct node_group *g = f->group;
	struct kv_node *n = g->node;
	struct kv_time t;
	int err = ERR_CANCELED;

	f->fiber = fiber_self();
	for (unsigned i = 0; i < FETCH_TRIES && err && !f->canceled; i++)
		err = fetch_once(f);
	log_end(f, err);
	t = kv__now(n);
	if (!err)
		kv_replica_installed(g->replica, f->applied, &t);
	else if (!f->canceled)
		g->fetch_after_ns = t.mono_ns + REST_NS;
	g->fetch = NULL;
	n->fetch_count--;
	mem_free(f);
	kv__touch(g);
	kv__stop_check(n);
}

static void cancel(struct snapshot_fetch *f)
{
	f->canceled = true;
	if (f->fiber)
		fiber_interrupt(f->fiber);
}

/* The core, which asks again and again while it is behind, knows another source by now. One that is gone
 * would be asked for minutes. */
static void reconsider(struct snapshot_fetch *f, uint32_t from)
{
	struct kv_node *n = f->group->node;
	const struct node_peer *p = kv__peer(n, f->from);

	if (f->from == from || f->canceled)
		return;
	if (!p || !p->up || env_mono_ns(n->env) - f->heard_ns >= SILENT_NS)
		cancel(f);
}

void kv__fetch_start(struct kv_node *n, struct node_group *g, uint32_t from)
{
	struct snapshot_fetch *f;

	if (g->fetch)
		reconsider(g->fetch, from);
	if (g->fetch || n->fetch_count >= KV_SNAPSHOT_FETCHES_MAX || n->stopping ||
	    env_mono_ns(n->env) < g->fetch_after_ns || !kv__peer(n, from))
		return; /* the core asks again */
	f = mem_must_alloc(sizeof(*f));
	f->group = g;
	f->from = from;
	f->heard_ns = env_mono_ns(n->env);
	if (fiber_start(loop_fibers(n->loop), fetch_main, f) != 0) {
		mem_free(f);
		return;
	}
	g->fetch = f;
	n->fetch_count++;
	log_info("group=%u: behind the log of node %u; fetching a snapshot", g->id, from);
}

void kv__fetch_cancel_all(struct kv_node *n)
{
	for (uint32_t i = 0; i < n->group_count; i++) {
		struct snapshot_fetch *f = n->list[i]->fetch;

		if (f)
			cancel(f);
	}
}

void kv__fetch_note(const struct node_group *g, uint64_t behind, char *out, size_t size)
{
	const struct snapshot_fetch *f = g->fetch;

	if (!f)
		return;
	if (f->bytes_total == 0 || f->bytes >= f->bytes_total)
		snprintf(out, size, "behind by %llu slots, catching up by snapshot from node %u, "
			 "%llu KiB so far", (unsigned long long)behind, f->from,
			 (unsigned long long)(f->bytes / 1024));
	else
		snprintf(out, size, "behind by %llu slots, catching up by snapshot from node %u, "
			 "%llu %%", (unsigned long long)behind, f->from,
			 (unsigned long long)(100 * f->bytes / f->bytes_total));
}
