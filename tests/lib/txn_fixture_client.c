/* The clients of the fixture: requests with exactly-once effect, local reads, and an executor. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/txn_fixture.h"
#include "txn/reply_codec.h"

#define BACKOFF_NS_MAX	   (20 * NS_PER_MS)
#define CANCEL_ATTEMPTS	   12u

/* ---- keys ---- */

struct txf_key txf_key(uint32_t group, uint64_t number, char kind, const char *name)
{
	struct txf_key k;
	size_t len = strlen(name);

	CHECK(len + TXN_KEY_HEAD <= KEY_SIZE_MAX);
	be16_put(k.bytes, (uint16_t)(group * TXF_PLACE_STEP));
	be64_put(k.bytes + 2, number | (uint64_t)(group * TXF_PLACE_STEP) << 48);
	k.bytes[10] = (uint8_t)kind;
	memcpy(k.bytes + TXN_KEY_HEAD, name, len);
	k.len = TXN_KEY_HEAD + len;
	return k;
}

static uint32_t group_of(const struct txf *f, struct slice key)
{
	unsigned place = key.len >= 2 ? be16_get(key.p) : 0;
	uint32_t group = place / TXF_PLACE_STEP;

	return group < f->cfg.groups ? group : f->cfg.groups - 1;
}

int txf_route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	struct txf *f = ctx;
	uint32_t g = group_of(f, key);
	uint8_t end[2];

	be16_put(end, (uint16_t)((g + 1) * TXF_PLACE_STEP));
	if (to.len && g + 1 < f->cfg.groups && slice_cmp(to, slice_of(end, sizeof(end))) > 0)
		return ERR_ELSEWHERE;
	*group = g;
	return 0;
}

/* ---- calls ---- */

/* The next call behind @last (NULL: the first) that waits for this reply of @group: a request and
 * its CANCEL have the same id. */
struct txf_call *txf__call_next(struct txf *f, const struct txf_call *last, uint32_t group,
				uint64_t client, uint64_t sequence)
{
	struct txf_call *c = last ? last->hh.next : f->calls;

	for (; c; c = c->hh.next)
		if (!c->read && !c->done && c->group == group && c->client == client &&
		    c->sequence == sequence)
			return c;
	return NULL;
}

static struct txf_call *call_find(struct txf *f, uint64_t id)
{
	struct txf_call *c;

	HASH_FIND(hh, f->calls, &id, sizeof(id), c);
	return c;
}

static struct txf_call *call_new(struct txf *f, uint32_t group)
{
	struct txf_call *c = mem_must_alloc(sizeof(*c));

	c->f = f;
	c->id = ++f->call_ids;
	c->group = group;
	HASH_ADD(hh, f->calls, id, sizeof(c->id), c);
	return c;
}

void txf_drop_call(struct txf_call *call)
{
	if (!call)
		return;
	if (call->owner)
		TAILQ_REMOVE(&call->owner->inflight, &call->inflight, link);
	HASH_DEL(call->f->calls, call);
	buf_release(&call->command);
	buf_release(&call->reply);
	mem_free(call);
}

static int status_of(struct slice reply)
{
	struct reply_head h;
	struct slice items;

	return txn__reply_decode_head(reply, &h, &items) ? ERR_PROTO : h.status;
}

void txf__call_answered(struct txf *f, uint64_t id, struct slice reply)
{
	struct txf_call *call = call_find(f, id);

	if (!call || call->done)
		return;
	if (status_of(reply) == ERR_NOT_LEADER) { /* of a read; it is tried again */
		CHECK_TRUE(call->read);
		return;
	}
	CHECK(buf_set(&call->reply, reply) == 0);
	call->done = true;
	if (call->waiter)
		fiber_wake(call->waiter);
	if (call->detached)
		txf_drop_call(call);
}

void txf__call_retry(struct txf *f, uint64_t id)
{
	struct txf_call *call = call_find(f, id);

	if (!call || call->done)
		return;
	if (call->detached && call->attempts >= CANCEL_ATTEMPTS)
		txf_drop_call(call);
	else
		txf__call_send(call);
}

static void call_wait(struct txf_call *call)
{
	uint64_t limit = call->f->now_ns + call->f->cfg.limit_ns;

	call->waiter = fiber_self();
	while (!call->done && call->waiter)
		fiber_park();
	while (!call->done && call->f->now_ns < limit && txf_step(call->f))
		;
	if (!call->done)
		CHECK_FAIL("seed %llu: a call without an answer",
			   (unsigned long long)call->f->cfg.seed);
}

/* ---- requests ---- */

static uint64_t mark_of(const struct txf_client *c)
{
	struct txf_inflight *i;
	uint64_t mark = c->sequence;

	TAILQ_FOREACH(i, &c->inflight, link)
		if (i->sequence <= mark)
			mark = i->sequence - 1;
	return mark;
}

static void own_call(struct txf_client *c, struct txf_call *call, uint64_t sequence)
{
	call->client = c->id;
	call->sequence = sequence;
	call->owner = c;
	call->inflight.sequence = sequence;
	TAILQ_INSERT_TAIL(&c->inflight, &call->inflight, link);
}

static struct slice home_of(const struct txn_mini *m)
{
	if (m->mut_count)
		return m->muts[0].key;
	if (m->read_count)
		return m->reads[0].key;
	CHECK(m->cond_count > 0);
	return m->conds[0].key;
}

static void put_first(struct txn_part *parts, uint32_t n, uint32_t group)
{
	for (uint32_t i = 1; i < n; i++) {
		if (parts[i].group == group) {
			struct txn_part p = parts[0];

			parts[0] = parts[i];
			parts[i] = p;
		}
	}
	CHECK(parts[0].group == group);
}

int txf_send(struct txf_client *c, const struct txn_mini *m, const struct txf_options *o,
	     struct txf_call **out)
{
	struct txf *f = c->f;
	struct txn_part parts[TXN_GROUPS_MAX];
	uint32_t n = 0;
	struct tsm_request q = {.client = c->id, .parts = parts};
	struct txf_call *call;
	int err = txn_split(m, txf_route, f, parts, &n);

	if (err)
		return err;
	q.part_count = n;
	q.home = o && o->home.len ? o->home : home_of(m);
	q.age = o && o->age ? o->age : f->now_ns;
	q.lock_only = o && o->lock_only;
	q.lock = o ? o->lock : 0;
	put_first(parts, n, group_of(f, q.home));
	call = call_new(f, parts[0].group);
	q.mark = mark_of(c);
	q.sequence = ++c->sequence;
	own_call(c, call, q.sequence);
	tsm_request_encode(&q, &call->command);
	txn_parts_release(parts, n);
	CHECK(buf_ok(&call->command));
	txf__call_send(call);
	*out = call;
	return 0;
}

struct txf_call *txf_send_raw(struct txf_client *c, uint32_t group, uint64_t sequence,
			      struct slice command)
{
	struct txf_call *call = call_new(c->f, group);

	call->client = c->id;
	call->sequence = sequence;
	CHECK(buf_set(&call->command, command) == 0);
	txf__call_send(call);
	return call;
}

int txf_close_session(struct txf_client *c)
{
	struct txf_call *calls[TXF_GROUPS_MAX];
	struct buf close = BUF_INIT;
	int err = 0;

	tsm_command_close(&close, c->id);
	for (uint32_t g = 0; g < c->f->cfg.groups; g++)
		calls[g] = txf_send_raw(c, g, 0, buf_slice(&close));
	for (uint32_t g = 0; g < c->f->cfg.groups; g++) {
		int e = txf_await(calls[g], NULL, NULL);

		err = err ? err : e;
	}
	buf_release(&close);
	return err;
}

int txf_await(struct txf_call *call, const struct txn_mini *m, struct txn_result *r)
{
	int err;

	call_wait(call);
	if (!m) {
		err = call->done ? status_of(buf_slice(&call->reply)) : ERR_TIMEOUT;
		txf_drop_call(call);
		return err;
	}
	txn_result_prepare(r, m);
	err = txn_result_merge(r, buf_slice(&call->reply));
	CHECK_OK(err);
	txf_drop_call(call);
	return err ? err : r->status;
}

static bool worth_another_try(int err)
{
	return err == ERR_ABORTED || err == ERR_DEADLOCK || err == ERR_BUSY;
}

static void back_off(struct txf_client *c)
{
	struct txf *f = c->f;

	c->retries++;
	if (fiber_self())
		txf_sleep(f, txf_below(f, BACKOFF_NS_MAX));
}

/* Under a new sequence each time, with the age of the first. *sequence: of the last. */
static int request(struct txf_client *c, const struct txn_mini *m, struct txf_options o,
		   struct txn_result *r, uint64_t *sequence)
{
	struct txf_call *call;
	int err;

	if (o.age == 0)
		o.age = c->f->now_ns;
	for (;;) {
		err = txf_send(c, m, &o, &call);
		if (err)
			return err;
		*sequence = call->sequence;
		err = txf_await(call, m, r);
		if (!worth_another_try(err))
			return err;
		back_off(c);
	}
}

/* ---- local reads ---- */

static void read_round(struct txf *f, const struct txn_part *parts, uint32_t n, struct buf *replies)
{
	struct txf_call *calls[TXN_GROUPS_MAX];

	for (uint32_t i = 0; i < n; i++) {
		calls[i] = call_new(f, parts[i].group);
		calls[i]->read = true;
		CHECK(buf_set(&calls[i]->command, buf_slice(&parts[i].body)) == 0);
		txf__call_send(calls[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		call_wait(calls[i]);
		buf_move(&replies[i], &calls[i]->reply);
		txf_drop_call(calls[i]);
	}
}

static bool rounds_agree(const struct buf *a, const struct buf *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!slice_eq(buf_slice(&a[i]), buf_slice(&b[i])))
			return false;
	return true;
}

/* One group: one request. Several: until two rounds in a row saw the same. */
static void read_parts(struct txf *f, const struct txn_part *parts, uint32_t n, struct buf *replies)
{
	struct buf *last = mem_must_alloc(sizeof(*last) * TXN_GROUPS_MAX);
	bool agree = n == 1;

	read_round(f, parts, n, replies);
	while (!agree) {
		for (uint32_t i = 0; i < n; i++)
			buf_move(&last[i], &replies[i]);
		read_round(f, parts, n, replies);
		agree = rounds_agree(last, replies, n);
	}
	for (uint32_t i = 0; i < n; i++)
		buf_release(&last[i]);
	mem_free(last);
}

static int read_once(struct txf_client *c, const struct txn_mini *m, struct txn_result *r)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct buf *replies;
	uint32_t n = 0;
	int err = txn_split(m, txf_route, c->f, parts, &n);

	if (err)
		return err;
	replies = mem_must_alloc(sizeof(*replies) * TXN_GROUPS_MAX);
	read_parts(c->f, parts, n, replies);
	txn_result_prepare(r, m);
	for (uint32_t i = 0; i < n && !err; i++)
		err = txn_result_merge(r, buf_slice(&replies[i]));
	for (uint32_t i = 0; i < n; i++)
		buf_release(&replies[i]);
	mem_free(replies);
	txn_parts_release(parts, n);
	CHECK_OK(err);
	return err ? err : r->status;
}

static int read_local(struct txf_client *c, const struct txn_mini *m, struct txn_result *r)
{
	int err;

	while (worth_another_try(err = read_once(c, m, r)))
		back_off(c);
	return err;
}

int txf_exec(struct txf_client *c, const struct txn_mini *m, struct txn_result *r)
{
	uint64_t sequence;

	if (m->err)
		return m->err;
	if (m->mut_count == 0 && !c->reads_by_log)
		return read_local(c, m, r);
	return request(c, m, (struct txf_options){0}, r, &sequence);
}

int txf_put(struct txf_client *c, struct slice key, struct slice value)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_put(&m, key, value);
	err = txf_exec(c, &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

int txf_get(struct txf_client *c, struct slice key, struct buf *value, uint64_t *version)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_get(&m, key);
	err = txf_exec(c, &m, &r);
	if (!err)
		err = r.reads[0].value.status;
	if (!err && value)
		err = buf_set(value, r.reads[0].value.value);
	if (!err && version)
		*version = r.reads[0].value.version;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

/* ---- as an executor ---- */

static struct txf_client *client_of(struct txn_executor *x)
{
	return container_of(x, struct txf_client, executor);
}

static int client_exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	return txf_exec(client_of(x), m, r);
}

/* The sequence stays in flight while the locks are held, so that the mark does not pass it. */
static struct txf_inflight *lock_inflight(struct txf_client *c, uint64_t sequence)
{
	struct txf_inflight *i;

	TAILQ_FOREACH(i, &c->inflight, link)
		if (i->sequence == sequence)
			return i;
	return NULL;
}

static void lock_ended(struct txf_client *c, uint64_t sequence)
{
	struct txf_inflight *i = lock_inflight(c, sequence);

	if (!i)
		return;
	TAILQ_REMOVE(&c->inflight, i, link);
	mem_free(i);
}

static int client_lock(struct txn_executor *x, const struct txn_mini *m, struct txn_lock *lock)
{
	struct txf_client *c = client_of(x);
	struct slice home = home_of(m);
	struct txf_inflight *held;
	struct txn_result r;
	uint64_t sequence = 0;
	int err;

	txn_result_init(&r);
	err = request(c, m, (struct txf_options){.lock_only = true}, &r, &sequence);
	txn_result_release(&r);
	if (err)
		return err;
	held = mem_must_alloc(sizeof(*held));
	held->sequence = lock->sequence = sequence;
	TAILQ_INSERT_TAIL(&c->inflight, held, link);
	lock->home_len = (uint32_t)home.len;
	memcpy(lock->home, home.p, home.len);
	return 0;
}

static int client_exec_locked(struct txn_executor *x, const struct txn_mini *m,
			      const struct txn_lock *lock, struct txn_result *r)
{
	struct txf_options o = {.lock = lock->sequence,
				.home = slice_of(lock->home, lock->home_len)};
	uint64_t sequence;
	int err = m->err ? m->err : request(client_of(x), m, o, r, &sequence);

	lock_ended(client_of(x), lock->sequence);
	return err;
}

static void client_unlock(struct txn_executor *x, const struct txn_lock *lock)
{
	struct txf_client *c = client_of(x);
	struct buf cancel = BUF_INIT;

	tsm_command_cancel(&cancel, c->id, lock->sequence, ERR_CANCELED);
	txf_send_raw(c, group_of(c->f, slice_of(lock->home, lock->home_len)), lock->sequence,
		     buf_slice(&cancel))
		->detached = true;
	buf_release(&cancel);
	lock_ended(c, lock->sequence);
}

void txf_client_init(struct txf_client *c, struct txf *f)
{
	*c = (struct txf_client){.f = f, .id = ++f->client_ids};
	TAILQ_INIT(&c->inflight);
	c->executor = (struct txn_executor){.exec = client_exec,
					    .lock = client_lock,
					    .exec_locked = client_exec_locked,
					    .unlock = client_unlock};
}

/* Its calls, if a test left some, go with the fixture. */
void txf_client_release(struct txf_client *c)
{
	struct txf_call *call, *next_call;
	struct txf_inflight *i;

	HASH_ITER(hh, c->f->calls, call, next_call)
		if (call->owner == c)
			txf_drop_call(call);
	while ((i = TAILQ_FIRST(&c->inflight)) != NULL) {
		TAILQ_REMOVE(&c->inflight, i, link);
		mem_free(i);
	}
}
