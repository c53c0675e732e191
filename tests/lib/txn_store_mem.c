#include "tests/lib/txn_store_mem.h"

#include <bsd/sys/tree.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "txn/txn.h"

#define RECORD_HEAD 16u /* version, timestamp */

struct rec {
	RB_ENTRY(rec) link;
	struct buf key; /* table byte, key */
	struct buf value;
};
RB_HEAD(recs, rec);

struct undo { /* what stood there before a write */
	struct undo *next;
	struct buf key, value;
	bool existed;
};

struct txn_mem {
	struct txn_store store;
	struct recs recs;
	uint64_t hash;
	bool open;
	struct undo *undo; /* newest first */
	txn_mem_owns_fn *owns;
	void *ctx;
	unsigned long fail_in;
	int fail_err;
};

static int rec_cmp(const struct rec *a, const struct rec *b)
{
	return slice_cmp(buf_slice(&a->key), buf_slice(&b->key));
}

RB_GENERATE_INTERNAL(recs, rec, link, rec_cmp, static __attribute__((unused)))

static struct txn_mem *mem_of(struct txn_store *s)
{
	return container_of(s, struct txn_mem, store);
}

/* The store itself has its memory, when a test lets a machine run out of it. */
static void full_key(struct buf *b, enum txn_table t, struct slice key)
{
	mem_fail_pause(true);
	buf_add_u8(b, (uint8_t)t);
	buf_add_slice(b, key);
	mem_fail_pause(false);
}

/* Sums of these do not depend on the order of writes. */
static uint64_t rec_hash(struct slice key, struct slice value)
{
	return txn_range_hash(txn_range_hash(key.len, key, value.len), value, key.len);
}

static struct rec *find(const struct txn_mem *m, struct slice full)
{
	struct rec probe = {.key = {.data = (uint8_t *)(uintptr_t)full.p, .len = full.len}};

	return RB_FIND(recs, (struct recs *)(uintptr_t)&m->recs, &probe);
}

static struct rec *find_from(struct txn_mem *m, struct slice full)
{
	struct rec probe = {.key = {.data = (uint8_t *)(uintptr_t)full.p, .len = full.len}};

	return RB_NFIND(recs, &m->recs, &probe);
}

/* ---- writing ---- */

static void rec_remove(struct txn_mem *m, struct rec *r)
{
	m->hash -= rec_hash(buf_slice(&r->key), buf_slice(&r->value));
	RB_REMOVE(recs, &m->recs, r);
	buf_release(&r->key);
	buf_release(&r->value);
	mem_free(r);
}

static void set_full(struct txn_mem *m, struct slice full, struct slice value)
{
	struct rec *r = find(m, full);

	if (!r) {
		r = mem_must_alloc(sizeof(*r));
		CHECK(buf_set(&r->key, full) == 0);
		RB_INSERT(recs, &m->recs, r);
	} else {
		m->hash -= rec_hash(full, buf_slice(&r->value));
	}
	CHECK(buf_set(&r->value, value) == 0);
	m->hash += rec_hash(full, value);
}

static void remember(struct txn_mem *m, struct slice full)
{
	struct undo *u = mem_must_alloc(sizeof(*u));
	struct rec *r = find(m, full);

	CHECK(m->open);
	CHECK(buf_set(&u->key, full) == 0);
	if (r) {
		u->existed = true;
		CHECK(buf_set(&u->value, buf_slice(&r->value)) == 0);
	}
	u->next = m->undo;
	m->undo = u;
}

static void mem_put(struct txn_store *s, enum txn_table t, struct slice key, struct slice value)
{
	struct txn_mem *m = mem_of(s);
	struct buf full = BUF_INIT;

	full_key(&full, t, key);
	mem_fail_pause(true);
	remember(m, buf_slice(&full));
	set_full(m, buf_slice(&full), value);
	mem_fail_pause(false);
	buf_release(&full);
}

static void mem_del(struct txn_store *s, enum txn_table t, struct slice key)
{
	struct txn_mem *m = mem_of(s);
	struct buf full = BUF_INIT;
	struct rec *r;

	full_key(&full, t, key);
	mem_fail_pause(true);
	remember(m, buf_slice(&full));
	mem_fail_pause(false);
	r = find(m, buf_slice(&full));
	if (r)
		rec_remove(m, r);
	buf_release(&full);
}

/* ---- reading ---- */

static int fails_now(struct txn_mem *m)
{
	if (m->fail_in == 0 || --m->fail_in > 0)
		return 0;
	return m->fail_err;
}

static int mem_get(struct txn_store *s, enum txn_table t, struct slice key, struct buf *out)
{
	struct txn_mem *m = mem_of(s);
	struct buf full = BUF_INIT;
	struct rec *r;
	int err = fails_now(m);

	if (err)
		return err;
	full_key(&full, t, key);
	r = find(m, buf_slice(&full));
	buf_release(&full);
	return r ? buf_set(out, buf_slice(&r->value)) : ERR_NOT_FOUND;
}

static int mem_scan(struct txn_store *s, enum txn_table t, struct slice from, struct slice to,
		    bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
	struct txn_mem *m = mem_of(s);
	struct buf full = BUF_INIT;
	struct rec *r;
	int err = fails_now(m);

	if (err)
		return err;
	full_key(&full, t, from);
	for (r = find_from(m, buf_slice(&full)); r; r = RB_NEXT(recs, &m->recs, r)) {
		struct slice key = slice_of(r->key.data + 1, r->key.len - 1);

		if (r->key.data[0] != (uint8_t)t || (to.len && slice_cmp(key, to) >= 0))
			break;
		if (!fn(ctx, key, buf_slice(&r->value)))
			break;
	}
	buf_release(&full);
	return 0;
}

static bool mem_owns(struct txn_store *s, struct slice key, struct slice to)
{
	struct txn_mem *m = mem_of(s);

	return !m->owns || m->owns(m->ctx, key, to);
}

/* ---- batches ---- */

void txn_mem_begin(struct txn_mem *m)
{
	CHECK(!m->open && !m->undo);
	m->open = true;
}

static void end_batch(struct txn_mem *m, bool undo)
{
	CHECK(m->open);
	for (struct undo *u = m->undo, *next; u; u = next) {
		struct rec *r = undo ? find(m, buf_slice(&u->key)) : NULL;

		next = u->next;
		if (undo && u->existed)
			set_full(m, buf_slice(&u->key), buf_slice(&u->value));
		else if (r)
			rec_remove(m, r);
		buf_release(&u->key);
		buf_release(&u->value);
		mem_free(u);
	}
	m->undo = NULL;
	m->open = false;
}

void txn_mem_commit(struct txn_mem *m)
{
	end_batch(m, false);
}

void txn_mem_discard(struct txn_mem *m)
{
	end_batch(m, true);
}

/* ---- the store as a whole ---- */

struct txn_mem *txn_mem_new(void)
{
	struct txn_mem *m = mem_must_alloc(sizeof(*m));

	RB_INIT(&m->recs);
	m->store = (struct txn_store){.get = mem_get,
				      .put = mem_put,
				      .del = mem_del,
				      .scan = mem_scan,
				      .owns = mem_owns};
	return m;
}

static void clear(struct txn_mem *m)
{
	struct rec *r;

	CHECK(!m->open);
	while ((r = RB_MIN(recs, &m->recs)) != NULL)
		rec_remove(m, r);
	CHECK(m->hash == 0);
}

void txn_mem_free(struct txn_mem *m)
{
	if (!m)
		return;
	if (m->open)
		txn_mem_discard(m);
	clear(m);
	mem_free(m);
}

struct txn_store *txn_mem_store(struct txn_mem *m)
{
	return &m->store;
}

void txn_mem_set_owner(struct txn_mem *m, txn_mem_owns_fn *owns, void *ctx)
{
	m->owns = owns;
	m->ctx = ctx;
}

void txn_mem_fail_nth(struct txn_mem *m, unsigned long n, int err)
{
	m->fail_in = n;
	m->fail_err = err;
}

uint64_t txn_mem_hash(const struct txn_mem *m)
{
	return m->hash;
}

bool txn_mem_equal(const struct txn_mem *a, const struct txn_mem *b)
{
	struct rec *x = RB_MIN(recs, (struct recs *)(uintptr_t)&a->recs);
	struct rec *y = RB_MIN(recs, (struct recs *)(uintptr_t)&b->recs);

	for (; x && y; x = RB_NEXT(recs, NULL, x), y = RB_NEXT(recs, NULL, y))
		if (!slice_eq(buf_slice(&x->key), buf_slice(&y->key)) ||
		    !slice_eq(buf_slice(&x->value), buf_slice(&y->value)))
			return false;
	return !x && !y;
}

size_t txn_mem_count(const struct txn_mem *m, enum txn_table t)
{
	struct rec *r;
	size_t n = 0;

	RB_FOREACH(r, recs, (struct recs *)(uintptr_t)&m->recs)
		n += r->key.data[0] == (uint8_t)t;
	return n;
}

void txn_mem_copy(struct txn_mem *to, const struct txn_mem *from)
{
	struct rec *r;

	clear(to);
	RB_FOREACH(r, recs, (struct recs *)(uintptr_t)&from->recs)
		set_full(to, buf_slice(&r->key), buf_slice(&r->value));
	CHECK(to->hash == from->hash);
}

static void dump_bytes(FILE *out, const struct buf *b, size_t at)
{
	for (; at < b->len; at++) {
		if (b->data[at] > ' ' && b->data[at] < 0x7f)
			fprintf(out, "%c", b->data[at]);
		else
			fprintf(out, "\\%02x", b->data[at]);
	}
}

void txn_mem_dump(const struct txn_mem *m, FILE *out)
{
	static const char *const tables[] = {"data", "txn", "queue", "reply", "state"};
	struct rec *r;

	RB_FOREACH(r, recs, (struct recs *)(uintptr_t)&m->recs) {
		fprintf(out, "%s ", tables[r->key.data[0]]);
		dump_bytes(out, &r->key, 1);
		fprintf(out, " = ");
		dump_bytes(out, &r->value, 0);
		fprintf(out, "\n");
	}
}

int txn_mem_record(struct txn_mem *m, struct slice key, struct buf *value, uint64_t *version,
		   uint64_t *stamp)
{
	struct buf raw = BUF_INIT;
	int err = mem_get(&m->store, TXN_TABLE_DATA, key, &raw);

	if (!err && raw.len < RECORD_HEAD)
		err = ERR_CORRUPT;
	if (!err && version)
		*version = be64_get(raw.data);
	if (!err && stamp)
		*stamp = be64_get(raw.data + 8);
	if (!err && value)
		err = buf_set(value, slice_of(raw.data + RECORD_HEAD, raw.len - RECORD_HEAD));
	buf_release(&raw);
	return err;
}
