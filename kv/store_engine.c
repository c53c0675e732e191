#include "kv/store_engine.h"

#include "base/codec.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "txn/txn.h"

#define KIND_OFFSET 10u /* of a stored key: place(2) | number(8) | kind(1) */

static struct store_engine *self(struct txn_store *s)
{
	return container_of(s, struct store_engine, base);
}

static enum engine_table table_of(enum txn_table t, struct slice key)
{
	switch (t) {
	case TXN_TABLE_DATA:
		return key.len > KIND_OFFSET && key.p[KIND_OFFSET] == TXN_KEY_KIND_BLOCK ? TABLE_BLOCK
											 : TABLE_DATA;
	case TXN_TABLE_TXN:
		return TABLE_TXN;
	case TXN_TABLE_QUEUE:
		return TABLE_QUEUE;
	case TXN_TABLE_REPLY:
		return TABLE_REPLY;
	case TXN_TABLE_STATE:
		break;
	}
	return TABLE_STATE;
}

static int store_get(struct txn_store *s, enum txn_table t, struct slice key, struct buf *out)
{
	return engine_get(self(s)->group, table_of(t, key), key, out);
}

static void note_write(struct store_engine *s, enum txn_table t, struct slice key)
{
	if (s->wrote && t == TXN_TABLE_DATA)
		s->wrote(s->wrote_ctx, key);
}

static void store_put(struct txn_store *s, enum txn_table t, struct slice key, struct slice value)
{
	note_write(self(s), t, key);
	engine_put(self(s)->group, table_of(t, key), key, value);
}

static void store_del(struct txn_store *s, enum txn_table t, struct slice key)
{
	note_write(self(s), t, key);
	engine_del(self(s)->group, table_of(t, key), key);
}

/* ---- scans ---- */

typedef bool store_scan_fn(void *ctx, struct slice key, struct slice value);

static int scan_table(struct engine_group *g, enum engine_table t, struct slice from,
		      struct slice to, store_scan_fn *fn, void *ctx)
{
	struct engine_iter *it = engine_iter_new(g, t, from, to);
	int err;

	while (engine_iter_valid(it) && fn(ctx, engine_iter_key(it), engine_iter_value(it)))
		engine_iter_next(it);
	err = engine_iter_err(it);
	engine_iter_free(it);
	return err;
}

/* Both tables as one: they share the key space. */
static int scan_merged(struct engine_group *g, struct slice from, struct slice to,
		       store_scan_fn *fn, void *ctx)
{
	struct engine_iter *a = engine_iter_new(g, TABLE_DATA, from, to);
	struct engine_iter *b = engine_iter_new(g, TABLE_BLOCK, from, to);
	int err;

	for (;;) {
		struct engine_iter *it = a;

		if (!engine_iter_valid(a) && !engine_iter_valid(b))
			break;
		if (!engine_iter_valid(a) ||
		    (engine_iter_valid(b) &&
		     slice_cmp(engine_iter_key(b), engine_iter_key(a)) < 0))
			it = b;
		if (!fn(ctx, engine_iter_key(it), engine_iter_value(it)))
			break;
		engine_iter_next(it);
	}
	err = engine_iter_err(a);
	if (!err)
		err = engine_iter_err(b);
	engine_iter_free(a);
	engine_iter_free(b);
	return err;
}

/* Which tables can [from, to) touch? Ranges inside one object (a directory's entries, a file's
 * blocks) name their kinds, and need one iterator only. */
static void tables_of_range(struct slice from, struct slice to, bool *data, bool *block)
{
	uint8_t first, last;

	*data = *block = true;
	if (from.len <= KIND_OFFSET || to.len <= KIND_OFFSET ||
	    memcmp(from.p, to.p, KIND_OFFSET) != 0)
		return;
	first = from.p[KIND_OFFSET];
	last = to.p[KIND_OFFSET];
	if (to.len == KIND_OFFSET + 1 && last > first)
		last--; /* `to` itself is excluded, and nothing of its kind sorts before it */
	*block = first <= TXN_KEY_KIND_BLOCK && TXN_KEY_KIND_BLOCK <= last;
	*data = first != TXN_KEY_KIND_BLOCK || last != TXN_KEY_KIND_BLOCK;
}

static int store_scan(struct txn_store *s, enum txn_table t, struct slice from, struct slice to,
		      store_scan_fn *fn, void *ctx)
{
	struct engine_group *g = self(s)->group;
	bool data, block;

	if (t != TXN_TABLE_DATA)
		return scan_table(g, table_of(t, from), from, to, fn, ctx);
	tables_of_range(from, to, &data, &block);
	if (data && block)
		return scan_merged(g, from, to, fn, ctx);
	return scan_table(g, block ? TABLE_BLOCK : TABLE_DATA, from, to, fn, ctx);
}

/* ---- owned ranges ---- */

static bool store_owns(struct txn_store *base, struct slice key, struct slice to)
{
	const struct store_engine *s = self(base);
	uint32_t lo = 0, hi = s->range_count; /* the last range that begins at or below key */

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(s->ranges[mid].from, key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	if (s->ranges[lo - 1].to.len == 0)
		return true;
	if (slice_cmp(key, s->ranges[lo - 1].to) >= 0)
		return false;
	return to.len == 0 || slice_cmp(to, s->ranges[lo - 1].to) <= 0;
}

void store_engine_init(struct store_engine *s, struct engine_group *g)
{
	*s = (struct store_engine){.group = g};
	s->base.get = store_get;
	s->base.put = store_put;
	s->base.del = store_del;
	s->base.scan = store_scan;
	s->base.owns = store_owns;
}

void store_engine_on_write(struct store_engine *s, void (*wrote)(void *ctx, struct slice key),
			   void *ctx)
{
	s->wrote = wrote;
	s->wrote_ctx = ctx;
}

void store_engine_release(struct store_engine *s)
{
	mem_free(s->ranges);
	buf_release(&s->encoded);
	s->ranges = NULL;
	s->range_count = 0;
}

int store_engine_load(struct store_engine *s)
{
	struct buf encoded = BUF_INIT;
	struct store_range *ranges;
	struct dec d;
	uint32_t n;
	int err = engine_get(s->group, TABLE_STATE, slice_str(STORE_KEY_RANGES), &encoded);

	if (err) {
		buf_release(&encoded);
		return err;
	}
	dec_init(&d, buf_slice(&encoded));
	n = dec_count(&d, SHARDS_MAX);
	ranges = mem_must_alloc(sizeof(*ranges) * (n + 1));
	for (uint32_t i = 0; i < n; i++) {
		ranges[i].from = dec_bytes(&d, KEY_SIZE_MAX);
		ranges[i].to = dec_bytes(&d, KEY_SIZE_MAX);
	}
	if (dec_end(&d) != 0) {
		mem_free(ranges);
		buf_release(&encoded);
		return ERR_CORRUPT;
	}
	store_engine_release(s);
	buf_move(&s->encoded, &encoded); /* the slices keep pointing to the same memory */
	s->ranges = ranges;
	s->range_count = n;
	return 0;
}

void store_ranges_encode(struct buf *out, const struct kv_layout *l, uint32_t group)
{
	struct buf body = BUF_INIT;
	uint64_t n = 0;
	uint32_t next;

	for (uint32_t i = 0; i < l->shard_count; i = next) { /* runs of shards of one group */
		struct slice to = {0};

		for (next = i + 1; next < l->shard_count; next++)
			if (l->shards[next].group != l->shards[i].group)
				break;
		if (l->shards[i].group != group)
			continue;
		if (next < l->shard_count)
			to = slice_of(l->shards[next].from, l->shards[next].from_len);
		enc_bytes(&body, slice_of(l->shards[i].from, l->shards[i].from_len));
		enc_bytes(&body, to);
		n++;
	}
	enc_u64(out, n);
	buf_add_slice(out, buf_slice(&body));
	if (!buf_ok(&body))
		out->failed = true;
	buf_release(&body);
}
