/* Watches: calls that wait until a key has another version than they know. The version is looked up by
 * a read like any other (replica_read.c), one for all watches of a key, at the end of a turn; those that
 * know it already are parked until the apply side tells of a write to that key.
 *
 *     new ──due──► asked ──read: another version──► answered
 *                  │  ▲
 *   read: the same │  │ the key was written (the apply side has known the key since before the read)
 *                  ▼  │
 *                 parked ──the wait is over──► ERR_TIMEOUT
 *
 * A watch that arrives while a read is under way takes no part in it: what that one sees may be older
 * than the call. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/replica_internal.h"
#include "kv/wire.h"

#define LOOK_NS (200 * NS_PER_MS) /* a first look may take so long, however short the wait */

struct watch {
	struct kv_caller caller;
	struct watch_key *key;
	uint64_t version, deadline_ns;
	uint64_t due_ns, order; /* by time */
	bool asked;		/* takes part in the read that is under way */
	TAILQ_ENTRY(watch) link;
	RB_ENTRY(watch) by_time;
};

struct watch_key {
	UT_hash_handle hh;
	TAILQ_HEAD(, watch) watches; /* new ones at the end */
	bool reading;		     /* then it stays, even without watches */
	bool again;		     /* look once more when that has ended */
	bool due;
	uint64_t supposed;	     /* version, the condition of the read */
	TAILQ_ENTRY(watch_key) link; /* while due */
	size_t len;
	uint8_t bytes[];
};

static int watch_cmp(const struct watch *a, const struct watch *b)
{
	if (a->due_ns != b->due_ns)
		return a->due_ns < b->due_ns ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

RB_GENERATE_INTERNAL(watch_tree, watch, by_time, watch_cmp, static __attribute__((unused)))

/* ---- keys ---- */

static int tell_apply(struct kv_replica *r, const struct watch_key *k, bool on)
{
	struct kv_job *job = kv_job_new(KV_JOB_WATCH, r->apply);

	job->flag = on;
	if (buf_set(&job->bytes, slice_of(k->bytes, k->len)) != 0) {
		kv_job_free(job);
		return ERR_NOMEM;
	}
	kv__schedule(r, job);
	return 0;
}

static struct watch_key *key_find(struct kv_replica *r, struct slice key)
{
	struct watch_key *k = NULL;

	HASH_FIND(hh, r->watched, key.p, key.len, k);
	return k;
}

static int key_get(struct kv_replica *r, struct slice key, struct watch_key **out)
{
	struct watch_key *k = key_find(r, key);
	int err;

	*out = k;
	if (k)
		return 0;
	k = mem_try_alloc(sizeof(*k) + key.len);
	if (!k)
		return ERR_NOMEM;
	memset(k, 0, sizeof(*k));
	TAILQ_INIT(&k->watches);
	k->len = key.len;
	memcpy(k->bytes, key.p, key.len);
	err = tell_apply(r, k, true);
	if (err) {
		mem_free(k);
		return err;
	}
	HASH_ADD_KEYPTR(hh, r->watched, k->bytes, k->len, k);
	*out = k;
	return 0;
}

static void key_due(struct kv_replica *r, struct watch_key *k)
{
	if (k->reading)
		k->again = true;
	if (k->due || k->reading)
		return;
	k->due = true;
	TAILQ_INSERT_TAIL(&r->watch_due, k, link);
}

static void key_not_due(struct kv_replica *r, struct watch_key *k)
{
	if (k->due)
		TAILQ_REMOVE(&r->watch_due, k, link);
	k->due = false;
}

/* Gone, when nobody watches it any more. (Without memory to say so, the apply side goes on telling of a
 * key that is not found here.) */
static void key_settle(struct kv_replica *r, struct watch_key *k)
{
	if (k->reading || !TAILQ_EMPTY(&k->watches))
		return;
	key_not_due(r, k);
	HASH_DEL(r->watched, k);
	if (!r->ending)
		(void)tell_apply(r, k, false);
	mem_free(k);
}

/* ---- watches ---- */

static void watch_remove(struct kv_replica *r, struct watch *w)
{
	CHECK(r->watch_count > 0);
	r->watch_count--;
	RB_REMOVE(watch_tree, &r->watches, w);
	TAILQ_REMOVE(&w->key->watches, w, link);
	mem_free(w);
}

static void watch_fail(struct kv_replica *r, struct watch *w, int err)
{
	struct kv_caller caller = w->caller;

	watch_remove(r, w);
	kv__reply(r, &caller, err, (struct slice){0});
}

static void watch_answer(struct kv_replica *r, struct watch *w, uint64_t version)
{
	struct buf body = BUF_INIT;

	kv_watch_reply_encode(&body, version);
	if (buf_ok(&body))
		kv__reply(r, &w->caller, 0, buf_slice(&body));
	else
		kv__reply(r, &w->caller, ERR_NOMEM, (struct slice){0});
	watch_remove(r, w);
	buf_release(&body);
}

/* It was looked at: from now on its own deadline counts. */
static void watch_park(struct kv_replica *r, struct watch *w, const struct kv_time *t)
{
	if (w->deadline_ns <= t->mono_ns) {
		watch_fail(r, w, ERR_TIMEOUT);
		return;
	}
	if (w->due_ns == w->deadline_ns)
		return;
	RB_REMOVE(watch_tree, &r->watches, w);
	w->due_ns = w->deadline_ns;
	RB_INSERT(watch_tree, &r->watches, w);
}

static int watch_add(struct kv_replica *r, const struct kv_caller *c,
		     const struct kv_watch_request *q, const struct kv_time *t)
{
	uint64_t wait = q->wait_ns < KV_WATCH_NS_MAX ? q->wait_ns : KV_WATCH_NS_MAX;
	struct watch *w = mem_try_alloc(sizeof(*w));
	struct watch_key *k;
	int err = w ? key_get(r, q->key, &k) : ERR_NOMEM;

	if (err) {
		mem_free(w);
		return err;
	}
	*w = (struct watch){.caller = *c, .key = k, .version = q->version};
	w->deadline_ns = t->mono_ns + wait;
	w->due_ns = t->mono_ns + (wait > LOOK_NS ? wait : LOOK_NS);
	w->order = ++r->watch_order;
	TAILQ_INSERT_TAIL(&k->watches, w, link);
	RB_INSERT(watch_tree, &r->watches, w);
	r->watch_count++;
	key_due(r, k);
	return 0;
}

void kv_replica_watch(struct kv_replica *r, const struct kv_caller *c, struct slice body,
		      const struct kv_time *t)
{
	struct kv_watch_request q;
	int err = kv_watch_request_decode(body, &q);

	if (!err && r->refused)
		err = ERR_AMNESIA;
	else if (!err && !r->leading)
		err = ERR_NOT_LEADER;
	else if (!err && r->watch_count >= KV_WATCHES_MAX)
		err = ERR_BUSY;
	if (!err)
		err = watch_add(r, c, &q, t);
	if (err)
		kv__reply(r, c, err, (struct slice){0});
}

void kv_replica_forget(struct kv_replica *r, uint64_t conn)
{
	struct watch *w, *next;

	RB_FOREACH_SAFE(w, watch_tree, &r->watches, next) {
		struct watch_key *k = w->key;

		if (w->caller.conn != conn)
			continue;
		watch_remove(r, w);
		key_settle(r, k);
	}
}

/* ---- looking ---- */

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)key;
	(void)to;
	*group = *(uint32_t *)ctx;
	return 0;
}

/* A read of nothing, under the condition that the version is @version: the answer holds the present one,
 * and the value only when it is another. */
static void part_init(struct txn_mini *m, struct slice key, uint64_t version)
{
	txn_mini_init(m);
	(void)txn_if_version(m, key, version);
}

static void key_look(struct kv_replica *r, struct watch_key *k, const struct kv_time *t)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct txn_mini m;
	struct watch *w;
	uint32_t n = 0;
	int err;

	CHECK(!k->reading && !TAILQ_EMPTY(&k->watches));
	k->supposed = TAILQ_FIRST(&k->watches)->version;
	part_init(&m, slice_of(k->bytes, k->len), k->supposed);
	err = m.err ? m.err : txn_split(&m, route, &r->group, parts, &n);
	TAILQ_FOREACH(w, &k->watches, link)
		w->asked = true;
	k->reading = true;
	if (err)
		kv__watch_failed(r, k, err);
	else
		kv__read_watch(r, k, buf_slice(&parts[0].body), t); /* k may be gone */
	txn_parts_release(parts, n);
	txn_mini_release(&m);
}

/* 0 and the version in the answer to part_init's read of @k; or what the answer says. */
static int version_of(const struct watch_key *k, struct slice body, uint64_t *now)
{
	struct txn_result res;
	struct txn_mini m;
	int err;

	part_init(&m, slice_of(k->bytes, k->len), 0);
	txn_result_init(&res);
	txn_result_prepare(&res, &m);
	err = m.err ? m.err : txn_result_merge(&res, body);
	if (!err && res.status == ERR_CONDITION) {
		if (res.current.status == 0)
			*now = res.current.version;
		else if (res.current.status == ERR_NOT_FOUND)
			*now = 0;
		else
			err = res.current.status;
	} else if (!err) {
		err = res.status;
	}
	txn_result_release(&res);
	txn_mini_release(&m);
	return err;
}

static void read_ended(struct kv_replica *r, struct watch_key *k)
{
	CHECK(k->reading && !k->due);
	k->reading = false;
	if (k->again)
		key_due(r, k);
	k->again = false;
}

void kv__watch_looked(struct kv_replica *r, struct watch_key *k, struct slice body,
		      const struct kv_time *t)
{
	uint64_t now = k->supposed;
	struct watch *w, *next;
	int err = version_of(k, body, &now);

	if (err) {
		kv__watch_failed(r, k, err);
		return;
	}
	read_ended(r, k);
	TAILQ_FOREACH_SAFE(w, &k->watches, link, next) {
		if (!w->asked)
			continue;
		w->asked = false;
		if (w->version != now)
			watch_answer(r, w, now);
		else
			watch_park(r, w, t);
	}
	key_settle(r, k);
}

void kv__watch_failed(struct kv_replica *r, struct watch_key *k, int err)
{
	struct watch *w, *next;

	CHECK(err != 0);
	read_ended(r, k);
	TAILQ_FOREACH_SAFE(w, &k->watches, link, next)
		if (w->asked)
			watch_fail(r, w, err);
	key_settle(r, k);
}

/* ---- what happens ---- */

void kv__watch_written(struct kv_replica *r, struct slice key)
{
	struct watch_key *k = key_find(r, key);

	if (k)
		key_due(r, k);
}

void kv__watch_turn(struct kv_replica *r, const struct kv_time *t)
{
	struct watch_key *k;

	while ((k = TAILQ_FIRST(&r->watch_due)) != NULL) {
		key_not_due(r, k);
		key_look(r, k, t);
	}
}

void kv__watch_tick(struct kv_replica *r, const struct kv_time *t)
{
	struct watch *w;

	while ((w = RB_MIN(watch_tree, &r->watches)) != NULL && w->due_ns <= t->mono_ns) {
		struct watch_key *k = w->key;

		watch_fail(r, w, ERR_TIMEOUT);
		key_settle(r, k);
	}
}

uint64_t kv__watch_deadline(const struct kv_replica *r)
{
	const struct watch *w = RB_MIN(watch_tree, (struct watch_tree *)(uintptr_t)&r->watches);

	return w ? w->due_ns : UINT64_MAX;
}

void kv__watch_fail(struct kv_replica *r, int err)
{
	struct watch_key *k, *next;
	struct watch *w;

	HASH_ITER(hh, r->watched, k, next) {
		CHECK(!k->reading);
		while ((w = TAILQ_FIRST(&k->watches)) != NULL)
			watch_fail(r, w, err);
		key_settle(r, k);
	}
	CHECK(r->watch_count == 0 && TAILQ_EMPTY(&r->watch_due));
}
