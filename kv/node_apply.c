/* Who runs the jobs of the state machines: the apply thread; or, when that one has nothing to do and
 * there are one or two small ones, the loop itself at the end of its turn. Handing a job to another
 * thread and back costs two wake-ups, more than a small job does, and a single client waits for both.
 *
 * Order: jobs run in the order in which they were scheduled. The loop runs some only while the thread
 * has none; the thread gets those that wait here before it gets another. */
#include "base/check.h"
#include "kv/node_internal.h"

#define HERE_MAX       2u	       /* jobs of a turn: more are worth a thread */
#define HERE_BYTES_MAX (32u * 1024u)   /* of an entry */
#define HERE_SLOW_NS   (2 * NS_PER_MS) /* one that takes longer (a cold read, a slow disk) ... */
#define HERE_BARRED_NS (1 * NS_PER_S)  /* ... bars the loop from running others for so long */

static void run_job(struct kv_work *w)
{
	struct kv_job *job = container_of(w, struct kv_job, work);
	struct node_group *g = kv_replica_user(job->owner);

	kv_apply_run(job, env_mono_ns(g->node->env)); /* a clock, safe from any thread */
}

static void job_done(struct kv_work *w)
{
	struct kv_job *job = container_of(w, struct kv_job, work);
	struct kv_replica *r = job->owner;
	struct node_group *g = kv_replica_user(r);
	struct kv_time t = kv__now(g->node);

	if (job->kind == KV_JOB_ENTRY)
		kv__flush_note_entry(g->node);
	kv_replica_done(r, job, &t);
	kv__touch(g);
}

static bool is_small(const struct kv_job *job)
{
	switch (job->kind) {
	case KV_JOB_ENTRY:
		return job->entry->len <= HERE_BYTES_MAX;
	case KV_JOB_READ:
	case KV_JOB_MESSAGE:
	case KV_JOB_PROPOSED:
	case KV_JOB_TICK:
	case KV_JOB_WATCH:
	case KV_JOB_LEADING:
		return job->bytes.len <= HERE_BYTES_MAX;
	default:
		return false;
	}
}

/* Gives what waits here to the thread. */
void kv__apply_hand_on(struct kv_node *n)
{
	struct kv_work *w;

	while ((w = STAILQ_FIRST(&n->here)) != NULL) {
		STAILQ_REMOVE_HEAD(&n->here, link);
		kv_worker_push(n->apply, w);
	}
	n->here_count = 0;
}

void kv__node_schedule(struct kv_node *n, struct kv_job *job)
{
	CHECK(job->owner != NULL);
	if (n->closed) { /* the threads have ended: nobody waits for it */
		kv_job_free(job);
		return;
	}
	job->work.run = run_job;
	job->work.done = job_done;
	/* While the engine flushes, or the disk is full, it may stall writers: "an engine stall must not
	 * stop heartbeats". */
	if (!n->flushing && engine_reserve_missing(n->engine) == 0 && !engine_wants_flush(n->engine) &&
	    kv_worker_pending(n->apply) == 0 && n->here_count < HERE_MAX && is_small(job) &&
	    env_mono_ns(n->env) >= n->here_barred_ns) {
		STAILQ_INSERT_TAIL(&n->here, &job->work, link);
		n->here_count++;
		return;
	}
	kv__apply_hand_on(n);
	kv_worker_push(n->apply, &job->work);
}

bool kv__apply_turn(struct kv_node *n)
{
	struct kv_work_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
	uint64_t start, took;
	struct kv_work *w;

	if (STAILQ_EMPTY(&n->here))
		return false;
	STAILQ_CONCAT(&jobs, &n->here);
	n->here_count = 0;
	CHECK(kv_worker_pending(n->apply) == 0);
	start = env_mono_ns(n->env);
	STAILQ_FOREACH(w, &jobs, link)
		w->run(w);
	took = env_mono_ns(n->env) - start;
	if (took > HERE_SLOW_NS)
		n->here_barred_ns = start + took + HERE_BARRED_NS;
	while ((w = STAILQ_FIRST(&jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&jobs, link);
		w->done(w); /* may schedule more */
	}
	return true;
}
