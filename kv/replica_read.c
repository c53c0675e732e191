/* Linearizable reads: ready by lease or read index, executed behind the entry of their slot, the lease
 * checked again before the answer. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/replica_internal.h"

static struct read *read_find(struct kv_replica *r, uint64_t token)
{
	struct read *q = NULL;

	HASH_FIND(hh, r->reads, &token, sizeof(token), q);
	return q;
}

static void read_remove(struct kv_replica *r, struct read *q)
{
	if (q->ready && !q->scheduled)
		TAILQ_REMOVE(&r->blocked, q, blocked);
	HASH_DEL(r->reads, q);
}

static void read_fail(struct kv_replica *r, struct read *q, int err)
{
	read_remove(r, q);
	if (q->watch)
		kv__watch_failed(r, q->watch, err);
	else
		kv__reply(r, &q->caller, err, (struct slice){0});
	mem_free(q);
}

static void read_answer(struct kv_replica *r, struct read *q, struct slice body,
			const struct kv_time *t)
{
	read_remove(r, q);
	if (q->watch)
		kv__watch_looked(r, q->watch, body, t);
	else
		kv__reply(r, &q->caller, 0, body);
	mem_free(q);
}

static int ask_core(struct kv_replica *r, struct read *q, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_READ, .read_id = q->token};
	struct paxos_update up;

	q->ready = q->scheduled = false;
	return kv__step(r, &ev, t, &up);
}

/* Why it cannot be read now; 0: @q is there. */
static int read_new(struct kv_replica *r, struct slice part, struct read **out)
{
	struct read *q;

	if (r->refused)
		return ERR_AMNESIA;
	if (!r->leading)
		return ERR_NOT_LEADER;
	if (part.len > COMMAND_SIZE_MAX)
		return ERR_TOO_BIG;
	if (HASH_COUNT(r->reads) >= KV_READS_MAX ||
	    r->scheduled - r->applied > KV_APPLY_LAG_MAX)
		return ERR_BUSY;
	q = mem_try_alloc(sizeof(*q) + part.len);
	if (!q)
		return ERR_NOMEM;
	memset(q, 0, sizeof(*q));
	q->token = ++r->read_token;
	q->len = part.len;
	if (part.len)
		memcpy(q->part, part.p, part.len);
	HASH_ADD(hh, r->reads, token, sizeof(q->token), q);
	*out = q;
	return 0;
}

static void read_begin(struct kv_replica *r, struct read *q, const struct kv_time *t)
{
	uint64_t token = q->token;
	int err = ask_core(r, q, t);

	if (err && (q = read_find(r, token)) != NULL)
		read_fail(r, q, err);
}

void kv_replica_read(struct kv_replica *r, const struct kv_caller *c, struct slice part,
		     const struct kv_time *t)
{
	struct read *q;
	int err = read_new(r, part, &q);

	if (err) {
		kv__reply(r, c, err, (struct slice){0});
		return;
	}
	q->caller = *c;
	read_begin(r, q, t);
}

void kv__read_watch(struct kv_replica *r, struct watch_key *k, struct slice part,
		    const struct kv_time *t)
{
	struct read *q;
	int err = read_new(r, part, &q);

	if (err) {
		kv__watch_failed(r, k, err);
		return;
	}
	q->watch = k;
	read_begin(r, q, t);
}

static void schedule(struct kv_replica *r, struct read *q)
{
	struct kv_job *job = kv_job_new(KV_JOB_READ, r->apply);

	q->scheduled = true;
	job->token = q->token;
	if (buf_set(&job->bytes, slice_of(q->part, q->len)) != 0) {
		kv_job_free(job);
		read_fail(r, q, ERR_NOMEM);
		return;
	}
	kv__schedule(r, job);
}

void kv__read_ready(struct kv_replica *r, const struct paxos_read_ready *ready)
{
	struct read *q = read_find(r, ready->read_id);

	if (!q || q->ready)
		return;
	if (ready->err) {
		read_fail(r, q, ready->err);
		return;
	}
	q->ready = true;
	q->slot = ready->slot;
	q->under_lease = ready->under_lease;
	if (q->slot <= r->scheduled) { /* jobs run in order: behind that entry */
		schedule(r, q);
		return;
	}
	TAILQ_INSERT_TAIL(&r->blocked, q, blocked);
}

void kv__read_scheduled(struct kv_replica *r)
{
	struct read *q, *next;

	TAILQ_FOREACH_SAFE(q, &r->blocked, blocked, next) {
		if (q->slot > r->scheduled)
			continue;
		TAILQ_REMOVE(&r->blocked, q, blocked);
		schedule(r, q);
	}
}

/* The check of the lease comes after the read and before the answer. */
void kv__read_done(struct kv_replica *r, uint64_t token, struct slice body,
		   const struct kv_time *t)
{
	struct read *q = read_find(r, token);

	if (!q)
		return; /* answered when leadership ended */
	CHECK(q->scheduled);
	if (!q->under_lease || paxos_lease_valid(r->paxos, t->mono_ns)) {
		read_answer(r, q, body, t);
		return;
	}
	read_begin(r, q, t);
}

void kv__read_fail(struct kv_replica *r, int err)
{
	struct read *q, *next;

	HASH_ITER(hh, r->reads, q, next)
		read_fail(r, q, err);
}
