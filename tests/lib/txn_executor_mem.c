#include "tests/lib/txn_executor_mem.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "txn/reply_codec.h"

static struct txn_mem_executor *executor_of(struct txn_executor *x)
{
	return container_of(x, struct txn_mem_executor, x);
}

static int one_group(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)key;
	(void)to;
	*group = 0;
	return 0;
}

uint64_t txn_mem_executor_version(struct txn_mem_executor *e, struct slice key)
{
	uint64_t version = 0;

	(void)txn_mem_record(e->mem, key, NULL, &version, NULL);
	return version;
}

struct range_sum {
	uint32_t count;
	uint64_t hash;
};

static bool sum_item(void *ctx, struct slice key, struct slice stored)
{
	struct range_sum *s = ctx;

	s->count++;
	s->hash = txn_range_hash(s->hash, key, be64_get(stored.p));
	return true;
}

static bool holds(struct txn_mem_executor *e, const struct txn_cond *c)
{
	struct range_sum s = {0};
	struct txn_store *st = txn_mem_store(e->mem);

	switch (c->kind) {
	case TXN_ABSENT:
		return txn_mem_executor_version(e, c->key) == 0;
	case TXN_VERSION:
		return txn_mem_executor_version(e, c->key) == c->number;
	case TXN_RANGE_SAME:
		CHECK_OK(st->scan(st, TXN_TABLE_DATA, c->key, c->to, sum_item, &s));
		return s.count == c->count && s.hash == c->number;
	default:
		CHECK_FAIL("condition %d is not for interactive transactions", c->kind);
		return false;
	}
}

static void put_record(struct txn_mem_executor *e, struct slice key, struct slice bytes)
{
	struct txn_store *st = txn_mem_store(e->mem);
	struct buf b = BUF_INIT;

	buf_add_be64(&b, e->stamp);
	buf_add_be64(&b, e->stamp);
	buf_add_slice(&b, bytes);
	st->put(st, TXN_TABLE_DATA, key, buf_slice(&b));
	buf_release(&b);
}

static void reply_get(struct txn_mem_executor *e, struct buf *b, uint32_t i, struct slice key)
{
	struct buf bytes = BUF_INIT;
	struct reply_value v = {0};

	v.status = txn_mem_record(e->mem, key, &bytes, &v.version, NULL);
	v.value = buf_slice(&bytes);
	enc_u64(b, REPLY_GET);
	enc_u64(b, i);
	txn__reply_value(b, &v);
	buf_release(&bytes);
}

struct scan_reply {
	struct buf *b;
	uint32_t left;
	bool more;
};

static bool reply_item(void *ctx, struct slice key, struct slice stored)
{
	struct scan_reply *s = ctx;

	if (s->left == 0) {
		s->more = true;
		return false;
	}
	s->left--;
	enc_u64(s->b, REPLY_ITEM);
	enc_bytes(s->b, key);
	enc_u64(s->b, be64_get(stored.p));
	enc_bytes(s->b, slice_of(stored.p + 16, stored.len - 16));
	return true;
}

static void reply_scan(struct txn_mem_executor *e, struct buf *b, uint32_t i,
		       const struct txn_read *r)
{
	struct txn_store *st = txn_mem_store(e->mem);
	struct scan_reply s = {.b = b, .left = r->limit < e->page ? r->limit : e->page};

	enc_u64(b, REPLY_SCAN);
	enc_u64(b, i);
	CHECK_OK(st->scan(st, TXN_TABLE_DATA, r->key, r->to, reply_item, &s));
	enc_u64(b, s.more ? REPLY_MORE : REPLY_DONE);
}

static void write_all(struct txn_mem_executor *e, const struct txn_mini *m)
{
	struct txn_store *st = txn_mem_store(e->mem);

	txn_mem_begin(e->mem);
	for (uint32_t i = 0; i < m->mut_count; i++) {
		if (m->muts[i].kind == TXN_PUT)
			put_record(e, m->muts[i].key, m->muts[i].value);
		else
			st->del(st, TXN_TABLE_DATA, m->muts[i].key);
	}
	txn_mem_commit(e->mem);
}

static void execute(struct txn_mem_executor *e, const struct txn_mini *m, struct buf *reply)
{
	struct reply_head h = {0};

	for (uint32_t i = 0; i < m->cond_count && h.status == 0; i++) {
		if (!holds(e, &m->conds[i]))
			h = (struct reply_head){.status = ERR_CONDITION, .failed = i};
	}
	if (h.status == 0 && m->mut_count)
		h.stamp = ++e->stamp;
	txn__reply_head(reply, &h);
	for (uint32_t i = 0; i < m->read_count && h.status == 0; i++) {
		if (m->reads[i].kind == TXN_GET)
			reply_get(e, reply, i, m->reads[i].key);
		else
			reply_scan(e, reply, i, &m->reads[i]);
	}
	if (h.status == 0)
		write_all(e, m);
}

static int exec_all(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	struct txn_mem_executor *e = executor_of(x);
	struct buf reply = BUF_INIT;
	void (*before)(void) = e->before_commit;
	int err = e->fail;

	if (m->err) /* of building it */
		return m->err;
	e->execs++;
	e->fail = 0;
	if (err)
		return err;
	if (m->cond_count || m->mut_count) {
		e->commits++;
		e->before_commit = NULL;
		if (before)
			before();
	}
	execute(e, m, &reply);
	txn_result_prepare(r, m);
	CHECK_OK(txn_result_merge(r, buf_slice(&reply)));
	buf_release(&reply);
	return r->status;
}

/* What is behind this has memory. */
static int exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	int err;

	mem_fail_pause(true);
	err = exec_all(x, m, r);
	mem_fail_pause(false);
	return err;
}

static int lock(struct txn_executor *x, const struct txn_mini *m, struct txn_lock *l)
{
	struct txn_mem_executor *e = executor_of(x);
	struct txn_part part;
	uint32_t n = 0;
	int err = e->fail;

	e->fail = 0;
	e->locks++;
	if (err)
		return err;
	mem_fail_pause(true);
	CHECK_OK(txn_split(m, one_group, NULL, &part, &n));
	mem_fail_pause(false);
	buf_move(&e->lock_body, &part.body);
	l->sequence = 1000 + e->locks;
	l->home_len = 4;
	memcpy(l->home, "home", 4);
	return 0;
}

static int exec_locked(struct txn_executor *x, const struct txn_mini *m, const struct txn_lock *l,
		       struct txn_result *r)
{
	struct txn_mem_executor *e = executor_of(x);
	bool reads_home = false;

	CHECK_U64_EQ(l->sequence, 1000 + e->locks);
	e->locked_execs++;
	for (uint32_t i = 0; i < m->read_count; i++)
		reads_home |= slice_eq(m->reads[i].key, slice_str("home"));
	CHECK_TRUE(reads_home);
	return exec(x, m, r);
}

static void unlock(struct txn_executor *x, const struct txn_lock *l)
{
	struct txn_mem_executor *e = executor_of(x);

	CHECK_U64_EQ(l->sequence, 1000 + e->locks);
	e->unlocks++;
}

void txn_mem_executor_init(struct txn_mem_executor *e)
{
	*e = (struct txn_mem_executor){.x = {.exec = exec,
					     .lock = lock,
					     .exec_locked = exec_locked,
					     .unlock = unlock},
				       .mem = txn_mem_new(),
				       .stamp = 100,
				       .page = UINT32_MAX};
}

void txn_mem_executor_release(struct txn_mem_executor *e)
{
	txn_mem_free(e->mem);
	e->mem = NULL;
	buf_release(&e->lock_body);
}

void txn_mem_executor_put(struct txn_mem_executor *e, struct slice key, struct slice value)
{
	e->stamp++;
	txn_mem_begin(e->mem);
	put_record(e, key, value);
	txn_mem_commit(e->mem);
}

void txn_mem_executor_delete(struct txn_mem_executor *e, struct slice key)
{
	struct txn_store *st = txn_mem_store(e->mem);

	txn_mem_begin(e->mem);
	st->del(st, TXN_TABLE_DATA, key);
	txn_mem_commit(e->mem);
}
