/* Interactive transactions, on the client: reads are remembered with their versions, writes kept
 * until the commit, which is one mini-transaction with the reads as conditions.
 *
 *     OPEN -- get, scan, put, delete --> OPEN -- txn_commit --> DONE
 *       ^                                  |                      |
 *       +----------- txn_retry ------------+------- conflict -----+
 *
 * Locks. After TXN_OPTIMISTIC_TRIES conflicts txn_retry locks what the last try used before
 * anything is read again. Shared locks on its keys and ranges keep other writers away and let our
 * own reads, which are ordinary ones, pass. Two such transactions would both get them, and each
 * would then wait for the other's at commit. So each also takes exclusive locks on "gates": for
 * each object (key prefix) that it used, a key of that object of which no record exists (kind 0).
 * Whoever comes to this point queues there, in order; those that are still optimistic do not know
 * gates.
 *
 * A read outside of what is locked might wait for somebody who waits for our locks, and deadlock
 * detection, which knows transactions only, would not see that. So such a read gives them up first,
 * and the try goes on without.
 */
#include <bsd/sys/tree.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "txn/txn.h"

#define GATE_KIND 0u

enum own_write { OWN_NONE, OWN_PUT, OWN_DELETE };

/* What is known of a key. */
struct entry {
	RB_ENTRY(entry) link;
	bool read;	  /* `version` (0: absent) and `seen` are what the store said */
	enum own_write own;
	uint64_t version;
	struct buf seen, put;
	size_t key_len;
	uint8_t key[];
};
RB_HEAD(entries, entry);

/* A range as it was seen. */
struct seen_range {
	struct seen_range *next;
	uint64_t hash;
	uint32_t count;
	struct buf from, to;
	struct buf asked; /* the end that was asked for; `to` is where the caller stopped */
};

enum state { STATE_OPEN, STATE_DONE };

struct txn_interactive {
	struct txn_executor *x;
	enum state state;
	struct entries entries;
	struct seen_range *ranges;
	uint32_t fetches; /* requests that read */
	uint32_t conflicts;
	bool locked;
	struct txn_lock lock;
	struct txn_mini footprint; /* what is locked, while `locked` */
};

static struct slice entry_key(const struct entry *e)
{
	return slice_of(e->key, e->key_len);
}

static int entry_cmp(const struct entry *a, const struct entry *b)
{
	return slice_cmp(entry_key(a), entry_key(b));
}

RB_GENERATE_INTERNAL(entries, entry, link, entry_cmp, static __attribute__((unused)))

static int check_key(struct slice key)
{
	if (key.len == 0)
		return ERR_INVAL;
	return key.len > KEY_SIZE_MAX ? ERR_NAME_TOO_LONG : 0;
}

/* A key to search the tree with, on the stack. */
struct probe {
	_Alignas(struct entry) uint8_t bytes[sizeof(struct entry) + KEY_SIZE_MAX];
};

static struct entry *probe_set(struct probe *p, struct slice key)
{
	struct entry *e = (struct entry *)(void *)p->bytes;

	CHECK(key.len <= KEY_SIZE_MAX);
	e->key_len = key.len;
	memcpy(e->key, key.p, key.len);
	return e;
}

static struct entry *entry_find(struct txn_interactive *t, struct slice key)
{
	struct probe p;

	return RB_FIND(entries, &t->entries, probe_set(&p, key));
}

/* The first own entry at or behind @key. */
static struct entry *entry_from(struct txn_interactive *t, struct slice key)
{
	struct probe p;

	return RB_NFIND(entries, &t->entries, probe_set(&p, key));
}

/* The entry of @key, made if there is none; NULL without memory. */
static struct entry *entry_get(struct txn_interactive *t, struct slice key)
{
	struct entry *e = entry_find(t, key);

	if (e)
		return e;
	e = mem_try_alloc(sizeof(*e) + key.len);
	if (!e)
		return NULL;
	*e = (struct entry){.key_len = key.len};
	memcpy(e->key, key.p, key.len);
	CHECK(RB_INSERT(entries, &t->entries, e) == NULL);
	return e;
}

/* ---- locks ---- */

static bool range_holds(struct slice from, struct slice to, struct slice key)
{
	return slice_cmp(from, key) <= 0 && slice_cmp(key, to) < 0;
}

/* Is [from, to), or just @from when @to is empty, locked against others? */
static bool footprint_covers(const struct txn_mini *m, struct slice from, struct slice to)
{
	for (uint32_t i = 0; i < m->read_count; i++) {
		const struct txn_read *r = &m->reads[i];

		if (r->kind == TXN_GET && to.len == 0 && slice_eq(r->key, from))
			return true;
		if (r->kind == TXN_SCAN && range_holds(r->key, r->to, from) &&
		    slice_cmp(to, r->to) <= 0)
			return true;
	}
	return false;
}

static void give_up_locks(struct txn_interactive *t)
{
	if (!t->locked)
		return;
	CHECK(t->x->unlock != NULL);
	t->x->unlock(t->x, &t->lock);
	t->locked = false;
}

static void before_read(struct txn_interactive *t, struct slice from, struct slice to)
{
	if (t->locked && !footprint_covers(&t->footprint, from, to))
		give_up_locks(t);
}

/* The gate of @key's object. None for a key that is too short to have one, and none where our own
 * reads would meet it. */
static void add_gate(struct txn_mini *m, struct slice key)
{
	uint8_t bytes[TXN_KEY_HEAD] = {0};
	struct slice gate = slice_of(bytes, sizeof(bytes));

	if (key.len < TXN_KEY_HEAD)
		return;
	memcpy(bytes, key.p, TXN_KEY_HEAD - 1);
	bytes[TXN_KEY_HEAD - 1] = GATE_KIND;
	if (m->mut_count > 0 && slice_eq(m->muts[m->mut_count - 1].key, gate))
		return;
	if (!footprint_covers(m, gate, (struct slice){0}))
		(void)txn_delete(m, gate); /* for its lock: LOCK changes nothing */
}

static void footprint_make(struct txn_interactive *t, struct txn_mini *m)
{
	struct entry *e;

	txn_mini_reset(m);
	for (const struct seen_range *r = t->ranges; r; r = r->next)
		(void)txn_scan(m, buf_slice(&r->from), buf_slice(&r->asked), 1);
	RB_FOREACH(e, entries, &t->entries)
		if (!footprint_covers(m, entry_key(e), (struct slice){0}))
			(void)txn_get(m, entry_key(e));
	for (uint32_t i = 0; i < m->read_count; i++)
		add_gate(m, m->reads[i].key);
}

/* Locks what this try used, for the next one. */
static int lock_up_front(struct txn_interactive *t)
{
	int err;

	if (!t->x->lock || t->conflicts < TXN_OPTIMISTIC_TRIES)
		return 0;
	CHECK(!t->locked && t->x->exec_locked != NULL);
	footprint_make(t, &t->footprint);
	if (t->footprint.err == ERR_TOO_BIG || t->footprint.read_count == 0)
		return 0; /* cannot be locked in one go */
	if (t->footprint.err)
		return t->footprint.err;
	err = t->x->lock(t->x, &t->footprint, &t->lock);
	if (err == ERR_TOO_BIG)
		return 0;
	t->locked = !err;
	return err;
}

/* ---- begin, end ---- */

struct txn_interactive *txn_begin(struct txn_executor *x)
{
	struct txn_interactive *t = mem_must_alloc(sizeof(*t));

	CHECK(x->exec != NULL);
	t->x = x;
	RB_INIT(&t->entries);
	txn_mini_init(&t->footprint);
	return t;
}

static void range_free(struct seen_range *r)
{
	if (!r)
		return;
	buf_release(&r->from);
	buf_release(&r->to);
	buf_release(&r->asked);
	mem_free(r);
}

static void forget(struct txn_interactive *t)
{
	struct entry *e, *next_entry;
	struct seen_range *r, *next_range;

	RB_FOREACH_SAFE(e, entries, &t->entries, next_entry) {
		RB_REMOVE(entries, &t->entries, e);
		buf_release(&e->seen);
		buf_release(&e->put);
		mem_free(e);
	}
	for (r = t->ranges; r; r = next_range) {
		next_range = r->next;
		range_free(r);
	}
	t->ranges = NULL;
	t->fetches = 0;
	CHECK(RB_EMPTY(&t->entries));
}

int txn_retry(struct txn_interactive *t)
{
	int err;

	give_up_locks(t);
	t->conflicts++;
	CHECK(t->conflicts > 0);
	err = lock_up_front(t);
	forget(t);
	t->state = STATE_OPEN;
	return err;
}

void txn_rollback(struct txn_interactive *t)
{
	if (!t)
		return;
	give_up_locks(t);
	forget(t);
	txn_mini_release(&t->footprint);
	mem_free(t);
}

/* ---- reading ---- */

static int answer(const struct entry *e, struct buf *value, uint64_t *version)
{
	int err = 0;

	if (e->own == OWN_DELETE || (e->own == OWN_NONE && e->version == 0))
		return ERR_NOT_FOUND;
	CHECK(e->own == OWN_PUT || e->read);
	if (value)
		err = buf_set(value, buf_slice(e->own == OWN_PUT ? &e->put : &e->seen));
	if (!err && version)
		*version = e->own == OWN_PUT ? 0 : e->version;
	return err;
}

/* Notes what the store said about @key; ERR_CONDITION when it said something else before. */
static int remember(struct txn_interactive *t, struct slice key, const struct txn_value *v)
{
	struct entry *e;
	uint64_t version = v->status == 0 ? v->version : 0;
	int err;

	if (v->status != 0 && v->status != ERR_NOT_FOUND)
		return v->status;
	e = entry_get(t, key);
	if (!e)
		return ERR_NOMEM;
	if (e->read)
		return e->version == version ? 0 : ERR_CONDITION;
	err = v->status == 0 ? buf_set(&e->seen, v->value) : 0;
	if (err)
		return err;
	e->read = true;
	e->version = version;
	return 0;
}

static int fetch(struct txn_interactive *t, struct slice key)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	before_read(t, key, (struct slice){0});
	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_get(&m, key);
	err = txn_exec(t->x, &m, &r);
	t->fetches++;
	if (!err) {
		CHECK(r.read_count == 1);
		err = remember(t, key, &r.reads[0].value);
	}
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

/* *version: 0 for what this transaction has put itself. @value and @version may be NULL. */
int txn_i_get(struct txn_interactive *t, struct slice key, struct buf *value, uint64_t *version)
{
	struct entry *e;
	int err = check_key(key);

	CHECK(t->state == STATE_OPEN);
	if (err)
		return err;
	e = entry_find(t, key);
	if (!e || (!e->read && e->own == OWN_NONE)) {
		err = fetch(t, key);
		e = entry_find(t, key);
	}
	if (err)
		return err;
	CHECK(e != NULL);
	return answer(e, value, version);
}

/* ---- scanning ---- */

/* A scan under way: records and own writes are merged, page by page. */
struct scan {
	struct txn_interactive *t;
	txn_scan_fn *fn;
	void *ctx;
	uint32_t left; /* items still wanted */
	bool stopped;
	struct buf at;	   /* everything below has been handed out */
	struct slice to;   /* the end of the range */
	struct slice end;  /* the end of the page */
	struct seen_range *seen; /* of this page; owned until it is kept */
};

/* The first key behind @key; @end behind the last of all. */
static int set_behind(struct buf *b, struct slice key, struct slice end)
{
	int err = buf_set(b, key);

	if (!err && key.len < KEY_SIZE_MAX) {
		buf_add_u8(b, 0);
		err = buf_ok(b) ? 0 : ERR_NOMEM;
	} else if (!err) { /* no longer key exists: the next of the same length or shorter */
		while (b->len > 0 && b->data[b->len - 1] == 0xff)
			b->len--;
		if (b->len == 0)
			return buf_set(b, end);
		b->data[b->len - 1]++;
	}
	return err;
}

static int hand_out(struct scan *s, struct slice key, struct slice value)
{
	int err;

	CHECK(s->left > 0 && !s->stopped);
	err = set_behind(&s->at, key, s->to);
	if (err)
		return err;
	s->left--;
	s->stopped = !s->fn(s->ctx, key, value) || s->left == 0;
	return 0;
}

/* The own put that comes next, before @bound. The tree is searched anew each time: the callback may
 * change it. */
static struct entry *own_put_before(struct scan *s, struct slice bound)
{
	struct entry *e = entry_from(s->t, buf_slice(&s->at));

	while (e && e->own != OWN_PUT && slice_cmp(entry_key(e), bound) < 0)
		e = RB_NEXT(entries, &s->t->entries, e);
	return e && slice_cmp(entry_key(e), bound) < 0 ? e : NULL;
}

static int hand_out_put(struct scan *s, struct entry *e)
{
	struct buf value = BUF_INIT; /* the callback may put another one */
	int err = buf_set(&value, buf_slice(&e->put));

	CHECK(e->own == OWN_PUT);
	if (!err)
		err = hand_out(s, entry_key(e), buf_slice(&value));
	buf_release(&value);
	return err;
}

static int hand_out_own(struct scan *s, struct slice bound)
{
	struct entry *e;
	int err = 0;

	while (!err && !s->stopped && (e = own_put_before(s, bound)) != NULL)
		err = hand_out_put(s, e);
	return err;
}

static int take_item(struct scan *s, const struct txn_item *it)
{
	struct entry *e;
	int err = hand_out_own(s, it->key);

	if (err || s->stopped)
		return err;
	s->seen->hash = txn_range_hash(s->seen->hash, it->key, it->version);
	s->seen->count++;
	e = entry_find(s->t, it->key);
	if (e && e->read && e->version != it->version)
		return ERR_CONDITION; /* the commit could only fail */
	if (!e || e->own == OWN_NONE)
		return hand_out(s, it->key, it->value);
	return e->own == OWN_PUT ? hand_out_put(s, e) : 0;
}

static int take_page(struct scan *s, const struct txn_read_result *rr)
{
	struct buf end = BUF_INIT;
	int err = rr->more && rr->item_count == 0 ? ERR_PROTO : buf_set(&end, s->to);

	if (!err && rr->more)
		err = set_behind(&end, rr->items[rr->item_count - 1].key, s->to);
	for (uint32_t i = 0; i < rr->item_count && !err && !s->stopped; i++)
		err = take_item(s, &rr->items[i]);
	if (!err && !s->stopped)
		err = hand_out_own(s, buf_slice(&end));
	if (!err && !s->stopped)
		err = buf_set(&s->at, buf_slice(&end));
	buf_release(&end);
	return err;
}

/* What was handed out, from the page's start up to s->at, becomes a condition. */
static int keep_range(struct scan *s)
{
	int err = buf_set(&s->seen->to, buf_slice(&s->at));

	if (err)
		return err;
	s->seen->next = s->t->ranges;
	s->t->ranges = s->seen;
	s->seen = NULL;
	return 0;
}

static int scan_page(struct scan *s)
{
	struct txn_mini m;
	struct txn_result r;
	uint32_t limit = s->left < TXN_SCAN_ITEMS_MAX ? s->left : TXN_SCAN_ITEMS_MAX;
	int err;

	s->seen = mem_must_alloc(sizeof(*s->seen));
	txn_mini_init(&m);
	txn_result_init(&r);
	before_read(s->t, buf_slice(&s->at), s->to);
	(void)txn_scan(&m, buf_slice(&s->at), s->to, limit);
	err = buf_set(&s->seen->from, buf_slice(&s->at));
	if (!err)
		err = buf_set(&s->seen->asked, s->to);
	if (!err)
		err = txn_exec(s->t->x, &m, &r);
	s->t->fetches++;
	if (!err) {
		CHECK(r.read_count == 1);
		err = take_page(s, &r.reads[0]);
	}
	if (!err)
		err = keep_range(s);
	range_free(s->seen);
	s->seen = NULL;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

/* An empty @to is the end of the key space; limit 0 is none. The range must lie in one group, as
 * that of any scan. @fn may use the transaction. */
int txn_i_scan(struct txn_interactive *t, struct slice from, struct slice to, uint32_t limit,
	       txn_scan_fn *fn, void *ctx)
{
	static uint8_t last[KEY_SIZE_MAX];
	struct scan s = {.t = t, .fn = fn, .ctx = ctx, .left = limit ? limit : UINT32_MAX};
	int err = check_key(from);

	CHECK(t->state == STATE_OPEN);
	if (!err && to.len > KEY_SIZE_MAX)
		err = ERR_NAME_TOO_LONG;
	memset(last, 0xff, sizeof(last));
	s.to = to.len ? to : slice_of(last, sizeof(last));
	if (!err)
		err = buf_set(&s.at, from);
	while (!err && !s.stopped && slice_cmp(buf_slice(&s.at), s.to) < 0)
		err = scan_page(&s);
	buf_release(&s.at);
	return err;
}

/* ---- writing ---- */

int txn_i_put(struct txn_interactive *t, struct slice key, struct slice value)
{
	struct entry *e;
	int err = check_key(key);

	CHECK(t->state == STATE_OPEN);
	if (!err && value.len > VALUE_SIZE_MAX)
		err = ERR_TOO_BIG;
	if (err)
		return err;
	e = entry_get(t, key);
	if (!e)
		return ERR_NOMEM;
	err = buf_set(&e->put, value);
	if (err)
		return err; /* the entry stays as it was; without memory nothing will commit */
	e->own = OWN_PUT;
	return 0;
}

int txn_i_delete(struct txn_interactive *t, struct slice key)
{
	struct entry *e;
	int err = check_key(key);

	CHECK(t->state == STATE_OPEN);
	if (err)
		return err;
	e = entry_get(t, key);
	if (!e)
		return ERR_NOMEM;
	buf_reset(&e->put);
	e->own = OWN_DELETE;
	return 0;
}

/* ---- commit ---- */

static void commit_build(struct txn_interactive *t, struct txn_mini *m)
{
	struct entry *e;

	for (const struct seen_range *r = t->ranges; r; r = r->next)
		(void)txn_if_range_same(m, buf_slice(&r->from), buf_slice(&r->to), r->count,
					r->hash);
	RB_FOREACH(e, entries, &t->entries) {
		if (e->read && e->version == 0)
			(void)txn_if_absent(m, entry_key(e));
		else if (e->read)
			(void)txn_if_version(m, entry_key(e), e->version);
		if (e->own == OWN_PUT)
			(void)txn_put_ref(m, entry_key(e), buf_slice(&e->put));
		else if (e->own == OWN_DELETE)
			(void)txn_delete(m, entry_key(e));
	}
	if (t->locked) /* so that the coordinator of the locks has a part */
		(void)txn_get(m, slice_of(t->lock.home, t->lock.home_len));
}

static int commit_exec(struct txn_interactive *t, const struct txn_mini *m, struct txn_result *r)
{
	int err;

	if (m->err || !t->locked)
		return m->err ? m->err : txn_exec(t->x, m, r);
	err = t->x->exec_locked(t->x, m, &t->lock, r);
	if (err == 0 || err == ERR_CONDITION)
		t->locked = false; /* they ended with it */
	return err;
}

int txn_commit(struct txn_interactive *t, uint64_t *stamp)
{
	struct txn_mini m;
	struct txn_result r;
	int err = 0;

	CHECK(t->state == STATE_OPEN);
	txn_mini_init(&m);
	txn_result_init(&r);
	commit_build(t, &m);
	if (m.err || m.mut_count > 0 || t->fetches > 1) /* one read alone is a transaction */
		err = commit_exec(t, &m, &r);
	give_up_locks(t);
	if (!err && stamp)
		*stamp = r.stamp;
	t->state = STATE_DONE;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}
