/* Executing mini-transactions: split by group, read-only ones directly (client_read.c), others through
 * the leader of the home key's group, exactly once (txn/README.md). */
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"
#include "txn/tsm.h"

uint64_t kv__deadline(const struct kv_client *c)
{
	return c->cfg.timeout_ns ? env_mono_ns(c->cfg.env) + c->cfg.timeout_ns : UINT64_MAX;
}

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	struct kv_client *c = ctx;
	struct slice end;

	if (to.len == 0) {
		*group = kv_layout_group_of(&c->layout, key);
		return 0;
	}
	return kv_layout_range_group(&c->layout, key, to, group, &end);
}

int kv__split(struct kv_client *c, const struct txn_mini *m, struct slice home,
	      struct txn_part *parts, uint32_t *n)
{
	uint32_t group = home.len ? kv_layout_group_of(&c->layout, home) : 0;
	int err = txn_split(m, route, c, parts, n);

	if (err || home.len == 0)
		return err;
	for (uint32_t i = 0; i < *n; i++) {
		struct txn_part p = parts[i];

		if (p.group != group)
			continue;
		parts[i] = parts[0];
		parts[0] = p;
		return 0;
	}
	txn_parts_release(parts, *n);
	return ERR_INVAL; /* nothing in it concerns the home key's group */
}

bool kv__worth_another_try(int status)
{
	return status == ERR_ABORTED || status == ERR_DEADLOCK || status == ERR_BUSY;
}

int kv__map_was_stale(struct kv_client *c, uint64_t version, uint64_t *backoff_ns,
		      uint64_t deadline_ns)
{
	int err = kv__layout_refresh(c, version, deadline_ns, NULL);

	if (!err && c->layout.version == version)
		err = kv__pause(c, backoff_ns, deadline_ns);
	return err;
}

/* ---- one request ---- */

static uint64_t acknowledged_mark(const struct kv_client *c)
{
	struct kv_inflight *first = TAILQ_FIRST(&c->inflight);

	return first ? first->sequence - 1 : c->sequence;
}

/* A request whose fate is not known any more: ask for its cancellation. Whichever is executed first,
 * request or CANCEL, is the result. The interrupt that led here has been heard; another one ends the
 * wait, and so does time. */
static int settle(struct kv_write *w, uint32_t group, int why, struct buf *reply,
		  struct slice *body)
{
	struct kv_client *c = w->c;
	struct buf cancel = BUF_INIT;
	bool unknown = true;
	int err;

	fiber_interrupt_clear();
	tsm_command_cancel(&cancel, w->client, w->sequence, why);
	err = buf_ok(&cancel) ? kv__call_group(c, group, KV_EXEC, buf_slice(&cancel),
					       env_mono_ns(c->cfg.env) + CANCEL_NS, &unknown,
					       reply, body)
			      : ERR_NOMEM;
	buf_release(&cancel);
	return err;
}

static int send_request(struct kv_write *w, const struct tsm_request *q, struct buf *reply,
			struct slice *body)
{
	struct buf request = BUF_INIT;
	uint32_t group = w->parts[0].group;
	bool unknown = false;
	int err, fate;

	tsm_request_encode(q, &request);
	err = buf_ok(&request) ? kv__call_group(w->c, group, KV_EXEC, buf_slice(&request),
						w->deadline_ns, &unknown, reply, body)
			       : ERR_NOMEM;
	buf_release(&request);
	w->unknown = unknown;
	w->undecided = err != 0 && unknown;
	if (!unknown || w->client == 0 ||
	    (err != ERR_INTERRUPTED && err != ERR_NOSPACE && err != ERR_NOMEM))
		return err;
	fate = settle(w, group, err, reply, body);
	if (fate == 0) {
		w->undecided = false;
		return 0;
	}
	if (err == ERR_INTERRUPTED)
		return err;
	return fate == ERR_NOSPACE ? ERR_TIMEOUT : fate; /* not "no": the request may be executed yet */
}

/* It was executed: to be without memory for that is worth a few tries. */
static int take_reply(const struct kv_write *w, struct slice body, struct txn_result *r)
{
	int err = ERR_NOMEM;

	for (unsigned tries = 0; err == ERR_NOMEM && tries < MERGE_TRIES; tries++) {
		txn_result_prepare(r, w->m);
		err = txn_result_merge(r, body);
	}
	return err;
}

int kv__write_once(struct kv_write *w, struct txn_result *r)
{
	struct kv_client *c = w->c;
	struct kv_inflight self;
	struct buf reply = BUF_INIT;
	struct slice body = {0};
	struct tsm_request q = {.client = w->client,
				.mark = w->client ? acknowledged_mark(c) : 0,
				.age = w->age,
				.home = w->home,
				.parts = w->parts,
				.part_count = w->part_count,
				.lock_only = w->lock_only,
				.lock = w->lock};
	int err;

	/* anonymous requests need a sequence that nobody else uses at the same time */
	q.sequence = w->client ? ++c->sequence : env_random(c->cfg.env) >> 1;
	self.sequence = w->sequence = q.sequence;
	if (w->client)
		TAILQ_INSERT_TAIL(&c->inflight, &self, link);
	for (uint32_t i = 0; w->client && i < w->part_count; i++)
		c->used[w->parts[i].group] = true;
	err = send_request(w, &q, &reply, &body);
	if (w->client)
		TAILQ_REMOVE(&c->inflight, &self, link);
	if (!err)
		err = take_reply(w, body, r);
	buf_release(&reply);
	if (!err && r->status == ERR_SESSION)
		err = ERR_SESSION;
	if (err == ERR_SESSION && w->client) {
		kv__session_refused(c, w->client);
		err = w->unknown ? ERR_OUTCOME : err; /* its reply may have gone with the session */
	}
	return err;
}

/* ---- whole transactions ---- */

/* A transaction that only reads, when reading is not possible for all the writing of others: as a
 * request it takes locks, in its turn. Requests of several groups need a session. */
static int read_as_request(struct kv_write *w, struct txn_result *r)
{
	int err = kv__session_open(w->c, w->deadline_ns);

	if (err)
		return err;
	w->client = w->c->id;
	w->home = w->m->read_count ? w->m->reads[0].key : w->m->conds[0].key;
	txn_parts_release(w->parts, w->part_count);
	err = kv__split(w->c, w->m, w->home, w->parts, &w->part_count);
	if (err) {
		w->part_count = 0;
		return err;
	}
	w->c->stats.execs++;
	w->c->stats.cross_group++;
	return kv__write_once(w, r);
}

/* One try by the layout of this moment. */
static int try_once(struct kv_write *w, struct txn_result *r)
{
	bool starved = false;
	int err;

	w->home = w->m->mut_count ? w->m->muts[0].key : (struct slice){0};
	err = kv__split(w->c, w->m, w->home, w->parts, &w->part_count);
	if (err)
		return err;
	if (w->m->mut_count == 0) {
		err = kv__read(w->c, w->m, w->parts, w->part_count, w->deadline_ns, &starved, r);
		if (!err && starved)
			err = read_as_request(w, r);
	} else {
		w->c->stats.execs++;
		w->c->stats.cross_group += w->part_count > 1;
		err = kv__write_once(w, r);
	}
	txn_parts_release(w->parts, w->part_count);
	return err;
}

static int exec(struct kv_client *c, const struct txn_mini *m, uint64_t client,
		uint64_t deadline_ns, struct txn_result *r)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	struct kv_write w = {.c = c,
			     .m = m,
			     .client = client,
			     .age = env_wall_ns(c->cfg.env),
			     .deadline_ns = deadline_ns};
	int err;

	w.parts = mem_must_alloc(sizeof(*w.parts) * TXN_GROUPS_MAX);
	for (;;) {
		uint64_t version = c->layout.version;

		err = try_once(&w, r);
		if (err)
			break;
		if (r->status == ERR_WRONG_SHARD)
			err = kv__map_was_stale(c, version, &backoff, deadline_ns);
		else if (kv__worth_another_try(r->status) ||
			 (r->status == ERR_NOT_LEADER && m->mut_count == 0)) /* it waited there */
			err = kv__pause(c, &backoff, deadline_ns);
		else
			break;
		if (err)
			break;
	}
	mem_free(w.parts);
	return err ? err : r->status;
}

int kv__exec_as(struct kv_client *c, const struct txn_mini *m, uint64_t client, uint64_t deadline_ns,
		struct txn_result *r)
{
	return m->err ? m->err : exec(c, m, client, deadline_ns, r);
}

/* Never sent under another session than the one that the call began under: who holds locks by that one
 * must hear first that they are gone. */
int kv__exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	struct kv_client *c = container_of(x, struct kv_client, executor);
	uint64_t deadline = kv__deadline(c);
	int err = m->err, again;

	if (!err && m->mut_count)
		err = kv__session_for_call(c, deadline);
	if (err)
		return err;
	err = exec(c, m, c->id, deadline, r);
	if (err == ERR_OUTCOME && !m->mut_count)
		err = ERR_SESSION; /* a read as a request: whether it was done makes no difference */
	if (err == ERR_SESSION || err == ERR_OUTCOME) {
		again = kv__session_open(c, deadline);
		return again && err == ERR_SESSION ? again : err;
	}
	if (!err && !m->mut_count)
		err = kv__session_confirm(c, deadline); /* what was read, was read while it lived */
	return err;
}
