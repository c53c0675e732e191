/* The source of snapshot transfers: readers of the engine, one chunk a call, on the background
 * thread. */
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node_internal.h"
#include "kv/snapshot_wire.h"

struct snapshot_source {
	TAILQ_ENTRY(snapshot_source) link;
	struct kv_work work;
	struct node_group *group;
	uint32_t peer; /* the node it is for */
	uint64_t transfer;
	uint64_t used_ns;
	struct kv_caller caller; /* while busy */
	bool busy;		 /* the background thread has it */
	bool dropped;		 /* to be closed when it comes back */

	/* the background thread's while busy */
	struct engine_snapshot *reader; /* NULL before the first chunk */
	struct buf chunk;		/* read last */
	uint64_t chunk_number;
	uint64_t applied;
	int err;
};

static void source_end(struct snapshot_source *s)
{
	struct kv_node *n = s->group->node;

	if (s->busy) {
		s->dropped = true;
		return;
	}
	TAILQ_REMOVE(&n->sources, s, link);
	n->source_count--;
	engine_snapshot_free(s->reader);
	buf_release(&s->chunk);
	mem_free(s);
}

/* ---- on the background thread ---- */

static void read_chunk(struct kv_work *w)
{
	struct snapshot_source *s = container_of(w, struct snapshot_source, work);

	if (!s->reader) {
		s->err = engine_snapshot_new(kv_apply_engine(s->group->apply), &s->reader);
		if (s->err)
			return;
		s->applied = engine_snapshot_applied(s->reader);
	} else {
		s->chunk_number++;
	}
	buf_reset(&s->chunk);
	s->err = engine_snapshot_next(s->reader, PAXOS_SNAPSHOT_CHUNK, &s->chunk);
	FAILPOINT(snapshot_read);
}

/* ---- on the loop ---- */

static void answer_chunk(struct snapshot_source *s, const struct kv_caller *c)
{
	struct kv_node *n = s->group->node;
	struct kv_snapshot_reply r = {.transfer = s->transfer,
				      .chunk = s->chunk_number,
				      .applied = s->applied,
				      .bytes_total = s->group->stats.bytes,
				      .data = buf_slice(&s->chunk)};
	struct buf b = BUF_INIT;

	kv_snapshot_reply_encode(&b, &r);
	kv__answer(n, c, buf_ok(&b) ? 0 : ERR_NOMEM, 0, buf_slice(&b));
	buf_release(&b);
}

static void chunk_read(struct kv_work *w)
{
	struct snapshot_source *s = container_of(w, struct snapshot_source, work);
	struct kv_node *n = s->group->node;

	s->busy = false;
	s->used_ns = env_mono_ns(n->env);
	if (s->err) {
		log_error("group=%u: snapshot for node %u: %s", s->group->id, s->peer,
			  err_text(s->err));
		kv__answer(n, &s->caller, s->err, 0, (struct slice){0});
		source_end(s);
		return;
	}
	answer_chunk(s, &s->caller);
	if (s->chunk.len == 0)
		log_info("group=%u: snapshot of slot %llu for node %u: all sent", s->group->id,
			 (unsigned long long)s->applied, s->peer);
	if (s->dropped)
		source_end(s);
}

static void read_next(struct snapshot_source *s, const struct kv_caller *c)
{
	s->busy = true;
	s->caller = *c;
	s->work.run = read_chunk;
	s->work.done = chunk_read;
	kv_worker_push(s->group->node->back, &s->work);
}

static struct snapshot_source *source_find(struct kv_node *n, uint64_t transfer)
{
	struct snapshot_source *s;

	TAILQ_FOREACH(s, &n->sources, link)
		if (s->transfer == transfer)
			return s;
	return NULL;
}

static void keep_stats(struct kv_job *job)
{
	struct node_group *g = kv_replica_user(job->owner);

	if (!job->err)
		g->stats = job->stats;
}

/* The size is for the receiver's progress only: when it is known late, so is the progress. */
static void estimate_size(struct node_group *g)
{
	struct kv_job *job = kv_job_new(KV_JOB_STATS, g->apply);

	job->owner = g->replica;
	job->flag = true;
	job->done = keep_stats;
	kv__node_schedule(g->node, job);
}

/* A node that starts over has given up what it had open of that group. */
static void drop_earlier(struct kv_node *n, struct node_group *g, uint32_t peer)
{
	struct snapshot_source *s, *next;

	TAILQ_FOREACH_SAFE(s, &n->sources, link, next)
		if (s->group == g && s->peer == peer && !s->dropped)
			source_end(s);
}

/* Room for another transfer: one that is all sent goes (its receiver starts over if it missed the end),
 * else one that was left alone for a while; of those the one used longest ago. */
static void make_room(struct kv_node *n)
{
	uint64_t now = env_mono_ns(n->env);
	struct snapshot_source *s, *best = NULL;

	TAILQ_FOREACH(s, &n->sources, link) {
		bool sent = s->reader && s->chunk.len == 0;

		if (s->busy || (!sent && now - s->used_ns < KV_SNAPSHOT_ALONE_NS))
			continue;
		if (!best || s->used_ns < best->used_ns)
			best = s;
	}
	if (best)
		source_end(best);
}

static int open_source(struct kv_node *n, uint32_t group, uint32_t peer,
		       struct snapshot_source **out)
{
	struct node_group *g = n->groups[group];
	struct snapshot_source *s;

	if (!g)
		return ERR_NO_GROUP;
	if (kv_replica_refused(g->replica, NULL))
		return ERR_AMNESIA;
	drop_earlier(n, g, peer);
	if (n->source_count >= KV_SNAPSHOT_SOURCES_MAX)
		make_room(n);
	if (n->source_count >= KV_SNAPSHOT_SOURCES_MAX)
		return ERR_BUSY;
	s = mem_must_alloc(sizeof(*s));
	s->group = g;
	s->peer = peer;
	s->transfer = ++n->last_transfer;
	TAILQ_INSERT_TAIL(&n->sources, s, link);
	n->source_count++;
	estimate_size(g);
	if (!n->source_timer.armed)
		env_timer_set(n->env, &n->source_timer,
			      env_mono_ns(n->env) + KV_SNAPSHOT_IDLE_NS);
	log_info("group=%u: node %u fetches a snapshot", g->id, peer);
	*out = s;
	return 0;
}

static int serve(struct kv_node *n, const struct kv_caller *c, uint32_t peer,
		 const struct kv_snapshot_request *q)
{
	struct snapshot_source *s = NULL;
	int err = 0;

	if (q->transfer == 0)
		err = open_source(n, q->group, peer, &s);
	else if (!(s = source_find(n, q->transfer)) || s->dropped || s->group->id != q->group)
		err = ERR_NOT_FOUND;
	else if (s->busy)
		err = ERR_BUSY;
	else if (q->chunk != s->chunk_number && q->chunk != s->chunk_number + 1)
		err = ERR_INVAL;
	if (err)
		return err;
	s->used_ns = env_mono_ns(n->env);
	if (s->reader && q->chunk == s->chunk_number)
		answer_chunk(s, c);
	else
		read_next(s, c);
	return 0;
}

void kv__source_request(struct kv_node *n, const struct kv_caller *c, struct slice body)
{
	struct kv_snapshot_request q;
	struct node_conn *conn = NULL;
	int err = kv_snapshot_request_decode(body, &q);

	HASH_FIND(hh, n->conns, &c->conn, sizeof(c->conn), conn);
	if (!err && (!conn || conn->peer == 0))
		err = ERR_ACCESS; /* for nodes of this cluster only */
	if (!err)
		err = serve(n, c, conn->peer, &q);
	if (err)
		kv__answer(n, c, err, 0, (struct slice){0});
}

static void on_timer(struct env_timer *t)
{
	struct kv_node *n = container_of(t, struct kv_node, source_timer);
	struct snapshot_source *s, *next;
	uint64_t now = env_mono_ns(n->env);

	TAILQ_FOREACH_SAFE(s, &n->sources, link, next)
		if (!s->busy && now - s->used_ns >= KV_SNAPSHOT_IDLE_NS)
			source_end(s);
	if (!TAILQ_EMPTY(&n->sources))
		env_timer_set(n->env, t, now + KV_SNAPSHOT_IDLE_NS);
}

void kv__source_init(struct kv_node *n)
{
	TAILQ_INIT(&n->sources);
	n->last_transfer = env_random(n->env) >> 16; /* not those of an earlier boot */
	n->source_timer.fire = on_timer;
}

void kv__source_free(struct kv_node *n)
{
	struct snapshot_source *s;

	env_timer_cancel(n->env, &n->source_timer);
	while ((s = TAILQ_FIRST(&n->sources)) != NULL)
		source_end(s);
}
