/* kv/engine: what holds for every implementation. What only holds on disk is in
 * kv_engine_disk_test.c. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_engine_fixture.h"

static struct engine_fixture fx, other; /* other: of the other kind */
static struct engine_group *g;

static void setup_mem(void)
{
	ef_open_mem(&fx);
	ef_open_rocks(&other);
	g = engine_group_open(fx.engine, 1);
}

static void setup_rocks(void)
{
	ef_open_rocks(&fx);
	ef_open_mem(&other);
	g = engine_group_open(fx.engine, 1);
}

static void teardown(void)
{
	ef_close(&fx);
	ef_close(&other);
}

/* ---- batches ---- */

static void a_batch_sees_its_own_writes(void)
{
	ef_commit_put(g, 1, TABLE_DATA, "a", "old");
	engine_begin(g);
	ef_put(g, TABLE_DATA, "a", "new");
	ef_put(g, TABLE_DATA, "b", "1");
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "a"), "new");
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "b"), "1");
	ef_del(g, TABLE_DATA, "a");
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "a"), "(none)");
	ef_put(g, TABLE_DATA, "a", "again");
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "a"), "again");
	engine_commit(g, 2);
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "", ""), "a=again b=1");
}

static void an_abandoned_batch_leaves_nothing(void)
{
	ef_commit_put(g, 1, TABLE_DATA, "a", "1");
	engine_begin(g);
	ef_del(g, TABLE_DATA, "a");
	ef_put(g, TABLE_STATE, "b", "2");
	engine_abandon(g);
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "a"), "1");
	CHECK_STR_EQ(ef_get(g, TABLE_STATE, "b"), "(none)");
	CHECK_U64_EQ(engine_applied(g), 1);
}

static void committed_is_readable_before_a_flush(void)
{
	ef_commit_put(g, 7, TABLE_DATA, "a", "1");
	CHECK_U64_EQ(engine_applied(g), 7);
	CHECK_U64_EQ(engine_durable(g), 0);
	CHECK_TRUE(engine_unflushed_bytes(fx.engine) > 0);
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "a"), "1");
	CHECK_OK(engine_flush(fx.engine));
	CHECK_U64_EQ(engine_durable(g), 7);
	CHECK_U64_EQ(engine_unflushed_bytes(fx.engine), 0);
	CHECK_STR_EQ(ef_get(g, TABLE_DATA, "a"), "1");
}

static void an_empty_batch_moves_the_slot(void)
{
	engine_begin(g);
	engine_commit(g, 3);
	CHECK_U64_EQ(engine_applied(g), 3);
	CHECK_OK(engine_flush(fx.engine));
	CHECK_U64_EQ(engine_durable(g), 3);
}

static void slot_zero_can_be_committed(void)
{
	ef_commit_put(g, 0, TABLE_STATE, "ranges", "all");
	CHECK_U64_EQ(engine_applied(g), 0);
	CHECK_STR_EQ(ef_get(g, TABLE_STATE, "ranges"), "all");
}

static void tables_and_groups_are_apart(void)
{
	struct engine_group *h = engine_group_open(fx.engine, 2);

	engine_begin(g);
	for (int t = 0; t < TABLE_COUNT; t++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", t);
		ef_put(g, (enum engine_table)t, "k", value);
	}
	engine_commit(g, 1);
	ef_commit_put(h, 5, TABLE_DATA, "k", "of 2");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "", ""), "k=0");
	CHECK_STR_EQ(ef_scan(g, TABLE_HISTORY, "", ""), "k=6");
	CHECK_STR_EQ(ef_scan(h, TABLE_DATA, "", ""), "k=of 2");
	CHECK_STR_EQ(ef_scan(h, TABLE_BLOCK, "", ""), "");
	CHECK_U64_EQ(engine_applied(g), 1);
	CHECK_U64_EQ(engine_applied(h), 5);
}

static void sizes_at_their_limits(void)
{
	static uint8_t key[1024], big[2 * 1024 * 1024];
	struct buf b = BUF_INIT;

	memset(key, 0xff, sizeof(key));
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	engine_begin(g);
	engine_put(g, TABLE_QUEUE, slice_of(key, sizeof(key)), slice_of(big, sizeof(big)));
	engine_put(g, TABLE_DATA, slice_of(NULL, 0), slice_of(big, 1));
	engine_put(g, TABLE_DATA, slice_of(key, 1), slice_of(NULL, 0));
	engine_commit(g, 1);
	CHECK_OK(engine_flush(fx.engine));
	CHECK_OK(engine_get(g, TABLE_QUEUE, slice_of(key, sizeof(key)), &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_of(big, sizeof(big)));
	CHECK_OK(engine_get(g, TABLE_DATA, slice_of(NULL, 0), &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_of(big, 1));
	CHECK_OK(engine_get(g, TABLE_DATA, slice_of(key, 1), &b));
	CHECK_U64_EQ(b.len, 0);
	buf_release(&b);
}

static void write_outside_a_batch(void *arg)
{
	(void)arg;
	ef_put(g, TABLE_DATA, "a", "1");
}

static void go_back(void *arg)
{
	(void)arg;
	engine_begin(g);
	engine_commit(g, 4);
}

static void misuse_is_caught(void)
{
	engine_begin(g);
	engine_commit(g, 5);
	CHECK_ABORTS(write_outside_a_batch, NULL);
	CHECK_ABORTS(go_back, NULL);
}

/* ---- scans ---- */

static void a_scan_keeps_its_bounds(void)
{
	engine_begin(g);
	for (const char *k = "abcde"; *k; k++) {
		char key[2] = {*k, 0};

		ef_put(g, TABLE_DATA, key, "");
	}
	ef_put(g, TABLE_DATA, "cc", "");
	engine_commit(g, 1);
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "b", "d"), "b= c= cc=");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "bb", ""), "c= cc= d= e=");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "", "b"), "a=");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "c", "c"), "");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "d", "b"), "");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "f", ""), "");
	CHECK_STR_EQ(ef_scan(g, TABLE_TXN, "", ""), "");
}

static void a_scan_merges_the_batch_with_what_is_below(void)
{
	engine_begin(g);
	for (const char *k = "abcdef"; *k; k++) {
		char key[2] = {*k, 0};

		ef_put(g, TABLE_DATA, key, "1");
	}
	engine_commit(g, 1);
	CHECK_OK(engine_flush(fx.engine));
	engine_begin(g);
	ef_put(g, TABLE_DATA, "b", "2");
	ef_del(g, TABLE_DATA, "c");
	engine_commit(g, 2);
	engine_begin(g);
	ef_del(g, TABLE_DATA, "a");
	ef_put(g, TABLE_DATA, "c", "3");
	ef_del(g, TABLE_DATA, "d");
	ef_put(g, TABLE_DATA, "dd", "3");
	ef_del(g, TABLE_DATA, "f");
	ef_del(g, TABLE_DATA, "never there");
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "", ""), "b=2 c=3 dd=3 e=1");
	engine_commit(g, 3);
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "", ""), "b=2 c=3 dd=3 e=1");
	CHECK_OK(engine_flush(fx.engine));
	CHECK_STR_EQ(ef_scan(g, TABLE_DATA, "", ""), "b=2 c=3 dd=3 e=1");
}

/* ---- against a model ---- */

#define MODEL_KEYS 64

static struct {
	bool there[TABLE_COUNT][MODEL_KEYS];
	uint32_t value[TABLE_COUNT][MODEL_KEYS];
} committed, open_batch;

static void model_key(uint8_t out[3], unsigned k)
{
	out[0] = 'k';
	out[1] = (uint8_t)(k * 4); /* up to 0xfc */
	out[2] = 0xff;
}

static void compare_scan(uint64_t *rnd, unsigned t)
{
	unsigned from = (unsigned)(ef_random(rnd) % MODEL_KEYS), to = MODEL_KEYS;
	uint8_t a[3], b[3], key[3];
	struct engine_iter *it;

	if (ef_random(rnd) % 2)
		to = (unsigned)(ef_random(rnd) % MODEL_KEYS);
	model_key(a, from);
	model_key(b, to % MODEL_KEYS);
	it = engine_iter_new(g, (enum engine_table)t, slice_of(a, 3),
			     slice_of(b, to == MODEL_KEYS ? 0 : 3));
	for (unsigned k = from; k < to; k++) {
		uint8_t value[4];

		if (!open_batch.there[t][k])
			continue;
		CHECK_TRUE(engine_iter_valid(it));
		model_key(key, k);
		be32_put(value, open_batch.value[t][k]);
		CHECK_SLICE_EQ(engine_iter_key(it), slice_of(key, 3));
		CHECK_SLICE_EQ(engine_iter_value(it), slice_of(value, 4));
		engine_iter_next(it);
	}
	CHECK_FALSE(engine_iter_valid(it));
	CHECK_OK(engine_iter_err(it));
	engine_iter_free(it);
}

static void compare_get(unsigned t, unsigned k)
{
	struct buf b = BUF_INIT;
	uint8_t key[3], value[4];
	int err;

	model_key(key, k);
	err = engine_get(g, (enum engine_table)t, slice_of(key, 3), &b);
	CHECK_INT_EQ(err, open_batch.there[t][k] ? 0 : ERR_NOT_FOUND);
	be32_put(value, open_batch.value[t][k]);
	if (!err)
		CHECK_SLICE_EQ(buf_slice(&b), slice_of(value, 4));
	buf_release(&b);
}

static void model_write(uint64_t *rnd, unsigned t, unsigned k)
{
	uint8_t key[3], value[4];

	model_key(key, k);
	open_batch.there[t][k] = ef_random(rnd) % 3 != 0;
	open_batch.value[t][k] = (uint32_t)ef_random(rnd);
	be32_put(value, open_batch.value[t][k]);
	if (open_batch.there[t][k])
		engine_put(g, (enum engine_table)t, slice_of(key, 3), slice_of(value, 4));
	else
		engine_del(g, (enum engine_table)t, slice_of(key, 3));
}

static void model_end_batch(uint64_t *rnd)
{
	if (ef_random(rnd) % 4 == 0) {
		engine_abandon(g);
		open_batch = committed;
	} else {
		engine_commit(g, engine_applied(g) + 1);
		committed = open_batch;
	}
	if (ef_random(rnd) % 8 == 0)
		CHECK_OK(engine_flush(fx.engine));
	engine_begin(g);
}

static void agrees_with_a_model(void)
{
	memset(&committed, 0, sizeof(committed));
	memset(&open_batch, 0, sizeof(open_batch));
	for (uint64_t seed = 1; seed <= 3; seed++) {
		uint64_t rnd = seed;

		engine_begin(g);
		for (int step = 0; step < 1500; step++) {
			unsigned t = (unsigned)(ef_random(&rnd) % TABLE_COUNT);
			unsigned k = (unsigned)(ef_random(&rnd) % MODEL_KEYS);
			unsigned what = (unsigned)(ef_random(&rnd) % 16);

			if (what < 8)
				model_write(&rnd, t, k);
			else if (what < 12)
				compare_get(t, k);
			else if (what < 15)
				compare_scan(&rnd, t);
			else
				model_end_batch(&rnd);
		}
		engine_commit(g, engine_applied(g) + 1);
		committed = open_batch;
	}
}

/* ---- checksums, estimates, figures ---- */

static void equal_states_have_equal_checksums(void)
{
	struct engine_group *h = engine_group_open(other.engine, 9);
	uint32_t before;

	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	ef_work(g, 5, 200);
	ef_work(h, 5, 100);
	before = ef_checksum(h);
	CHECK_OK(engine_flush(other.engine));
	CHECK_OK(engine_flush(fx.engine));
	ef_work(h, 5, 200);
	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	CHECK_TRUE(ef_checksum(g) != before);
	ef_commit_put(h, 201, TABLE_HISTORY, "z", "");
	CHECK_TRUE(ef_checksum(g) != ef_checksum(h));
}

static void an_open_batch_is_not_in_the_checksum(void)
{
	uint32_t before;

	ef_work(g, 5, 10);
	before = ef_checksum(g);
	engine_begin(g);
	ef_put(g, TABLE_DATA, "x", "1");
	CHECK_INT_EQ(ef_checksum(g), before);
	engine_abandon(g);
}

static void write_many(unsigned from, unsigned count, size_t value_len)
{
	static uint8_t value[16384];
	uint64_t rnd = from;

	engine_begin(g);
	for (unsigned i = from; i < from + count; i++) {
		uint8_t key[4];

		be32_put(key, i);
		for (size_t j = 0; j + 8 <= value_len; j += 8)
			le64_put(value + j, ef_random(&rnd));
		engine_put(g, i % 2 ? TABLE_BLOCK : TABLE_DATA, slice_of(key, 4),
			   slice_of(value, value_len));
	}
	engine_commit(g, engine_applied(g) + 1);
}

static void estimates_of_small_ranges_are_exact(void)
{
	uint8_t from[4], to[4];
	uint64_t keys, bytes;

	write_many(0, 1000, 96);
	engine_estimate(g, (struct slice){0}, (struct slice){0}, &keys, &bytes);
	CHECK_U64_EQ(keys, 1000);
	CHECK_U64_EQ(bytes, 100000);
	be32_put(from, 100);
	be32_put(to, 200);
	engine_estimate(g, slice_of(from, 4), slice_of(to, 4), &keys, &bytes);
	CHECK_U64_EQ(keys, 100);
	engine_estimate(g, slice_of(to, 4), slice_of(from, 4), &keys, &bytes);
	CHECK_U64_EQ(keys, 0);
}

static void estimates_of_large_ranges_are_near(void)
{
	uint64_t keys, bytes;

	for (unsigned i = 0; i < 40; i++)
		write_many(i * 1000, 1000, 200);
	CHECK_OK(engine_flush(fx.engine));
	engine_estimate(g, (struct slice){0}, (struct slice){0}, &keys, &bytes);
	CHECK_TRUE(keys > 20000 && keys < 80000);
	CHECK_TRUE(bytes > 20000 * 204 && bytes < 80000 * 204);
}

static void figures_follow_what_is_stored(void)
{
	struct engine_stats a, b;

	engine_stats_get(fx.engine, &a);
	write_many(0, 1000, 1000);
	engine_stats_get(fx.engine, &b);
	CHECK_TRUE(b.memory_bytes >= a.memory_bytes + 1000000);
	CHECK_U64_EQ(b.unflushed_bytes, engine_unflushed_bytes(fx.engine));
	CHECK_TRUE(b.unflushed_bytes >= 1000000);
	CHECK_OK(engine_flush(fx.engine));
	engine_stats_get(fx.engine, &b);
	CHECK_U64_EQ(b.unflushed_bytes, 0);
	if (fx.dir[0])
		CHECK_TRUE(b.disk_bytes >= a.disk_bytes + 1000000);
}

/* ---- snapshots ---- */

static void a_snapshot_goes_from_one_kind_to_the_other(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *chunks;
	size_t count;

	ef_work(g, 1, 300);
	ef_work(h, 2, 50); /* is replaced */
	chunks = ef_chunks(g, 4096, &count);
	CHECK_TRUE(count > 10);
	ef_install(h, chunks, count, 300);
	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	CHECK_U64_EQ(engine_applied(h), 300);
	CHECK_U64_EQ(engine_durable(h), 300);
	ef_work(g, 1, 350);
	ef_work(h, 1, 350);
	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	CHECK_OK(engine_flush(other.engine));
	CHECK_U64_EQ(engine_durable(h), 350);
	ef_chunks_free(chunks, count);
	chunks = ef_chunks(g, 1, &count); /* a chunk per record */
	ef_install(h, chunks, count, 350);
	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	ef_chunks_free(chunks, count);
}

static void a_snapshot_of_nothing(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *chunks;
	size_t count;

	chunks = ef_chunks(g, 4096, &count);
	CHECK_U64_EQ(count, 1);
	ef_install(h, chunks, count, 0);
	CHECK_INT_EQ(ef_checksum(h), ef_checksum(g));
	CHECK_U64_EQ(engine_applied(h), 0);
	ef_commit_put(h, 1, TABLE_DATA, "a", "1");
	CHECK_STR_EQ(ef_get(h, TABLE_DATA, "a"), "1");
	ef_chunks_free(chunks, count);
}

static void a_snapshot_is_of_one_moment(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct engine_snapshot *s;
	struct buf chunk = BUF_INIT;
	uint32_t then;

	ef_work(g, 1, 100);
	then = ef_checksum(g);
	CHECK_OK(engine_snapshot_new(g, &s));
	CHECK_OK(engine_install_begin(h));
	for (uint64_t slot = 101;; slot++) {
		CHECK_OK(engine_snapshot_next(s, 2048, &chunk));
		if (chunk.len == 0)
			break;
		ef_work(g, 1, slot);
		if (slot % 20 == 0)
			CHECK_OK(engine_flush(fx.engine));
		CHECK_OK(engine_install_chunk(h, buf_slice(&chunk)));
	}
	CHECK_U64_EQ(engine_snapshot_applied(s), 100);
	CHECK_OK(engine_snapshot_next(s, 2048, &chunk));
	CHECK_U64_EQ(chunk.len, 0);
	engine_snapshot_free(s);
	CHECK_TRUE(engine_applied(g) > 110);
	CHECK_OK(engine_install_finish(h, 100));
	CHECK_INT_EQ(ef_checksum(h), then);
	buf_release(&chunk);
}

static void a_snapshot_outlives_an_install_over_its_group(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct engine_snapshot *s;
	struct buf *chunks, chunk = BUF_INIT;
	size_t count;
	uint32_t then;

	ef_work(g, 1, 50);
	then = ef_checksum(g);
	CHECK_OK(engine_snapshot_new(g, &s));
	ef_work(h, 3, 80);
	chunks = ef_chunks(h, 4096, &count);
	ef_install(g, chunks, count, 80);
	ef_chunks_free(chunks, count);
	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	h = engine_group_open(other.engine, 8);
	CHECK_OK(engine_install_begin(h));
	do {
		CHECK_OK(engine_snapshot_next(s, 4096, &chunk));
		if (chunk.len)
			CHECK_OK(engine_install_chunk(h, buf_slice(&chunk)));
	} while (chunk.len);
	CHECK_OK(engine_install_finish(h, 50));
	CHECK_INT_EQ(ef_checksum(h), then);
	engine_snapshot_free(s);
	buf_release(&chunk);
}

struct reader {
	struct engine_group *group;
	atomic_bool stop;
	atomic_uint rounds;
	unsigned wrong;
};

/* Reads snapshots as long as the writer writes: each must be the state of its slot. */
static void *read_snapshots(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop)) {
		struct engine_snapshot *s;
		struct engine *e;
		struct engine_group *h;
		struct buf chunk = BUF_INIT;
		uint32_t crc = 0;
		int err = engine_snapshot_new(r->group, &s);
		uint64_t slot;

		if (err)
			abort();
		slot = engine_snapshot_applied(s);
		engine_mem_open(&e);
		h = engine_group_open(e, 1);
		err = engine_install_begin(h);
		while (!err && (err = engine_snapshot_next(s, 4096, &chunk)) == 0 && chunk.len)
			err = engine_install_chunk(h, buf_slice(&chunk));
		if (!err)
			err = engine_install_finish(h, slot);
		if (!err)
			err = engine_checksum(h, &crc);
		if (err || crc != ef_work_checksum(1, slot))
			r->wrong++;
		atomic_fetch_add(&r->rounds, 1);
		engine_group_close(h);
		engine_close(e);
		engine_snapshot_free(s);
		buf_release(&chunk);
	}
	return NULL;
}

static void *flush_on(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop)) {
		uint64_t applied = engine_applied(r->group);

		if (engine_flush(fx.engine) != 0 || engine_durable(r->group) < applied)
			r->wrong++;
		atomic_fetch_add(&r->rounds, 1);
	}
	return NULL;
}

static void readers_and_flushes_run_beside_the_writer(void)
{
	struct reader r = {.group = g}, f = {.group = g};
	pthread_t reader, flusher;

	CHECK_INT_EQ(pthread_create(&reader, NULL, read_snapshots, &r), 0);
	CHECK_INT_EQ(pthread_create(&flusher, NULL, flush_on, &f), 0);
	for (uint64_t slot = 1; slot <= 300 || atomic_load(&r.rounds) < 3 ||
				atomic_load(&f.rounds) < 3; slot++)
		ef_work(g, 1, slot);
	atomic_store(&r.stop, true);
	atomic_store(&f.stop, true);
	pthread_join(reader, NULL);
	pthread_join(flusher, NULL);
	CHECK_INT_EQ(r.wrong, 0);
	CHECK_INT_EQ(f.wrong, 0);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, engine_applied(g)));
}

/* ---- damage to the stream ---- */

static void any_damaged_byte_is_refused(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *chunks;
	size_t count;

	ef_work(g, 1, 20);
	chunks = ef_chunks(g, 300, &count);
	CHECK_TRUE(count > 3);
	CHECK_OK(engine_install_begin(h));
	for (size_t i = 0; i < count; i++) {
		for (size_t at = 0; at < chunks[i].len; at += 1 + chunks[i].len / 64) {
			chunks[i].data[at] ^= 0x10;
			CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[i])), ERR_CORRUPT);
			chunks[i].data[at] ^= 0x10;
		}
		for (size_t len = 0; len < chunks[i].len; len += 1 + chunks[i].len / 16)
			CHECK_ERR(engine_install_chunk(h, slice_of(chunks[i].data, len)),
				  ERR_CORRUPT);
		CHECK_OK(engine_install_chunk(h, buf_slice(&chunks[i])));
	}
	CHECK_OK(engine_install_finish(h, 20)); /* the right ones were taken in between */
	CHECK_INT_EQ(ef_checksum(g), ef_checksum(h));
	ef_chunks_free(chunks, count);
}

static void reseal(struct buf *chunk)
{
	le32_put(chunk->data + 4, crc32c(0, chunk->data + 8, chunk->len - 8));
}

/* What a sender with a bug would send: its checksums are right. */
static void a_bad_record_is_refused_with_its_place(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *chunks, copy = BUF_INIT;
	size_t count, second = 24 + 8 + 1 + 1;

	engine_begin(g);
	ef_put(g, TABLE_DATA, "a", "1");
	ef_put(g, TABLE_DATA, "b", "2");
	engine_commit(g, 1);
	chunks = ef_chunks(g, 4096, &count);
	CHECK_U64_EQ(count, 2);
	CHECK_OK(engine_install_begin(h));
	static const struct {
		size_t at; /* from the second record */
		uint8_t byte;
		const char *why;
	} cases[] = {
		{0, TABLE_COUNT, "chunk 0, byte 34: a record of a table that is not known"},
		{1, 1, "chunk 0, byte 34: a record of a table that is not known"},
		{2, 200, "chunk 0, byte 34: a record goes beyond the end of the chunk"},
		{6, 1, "chunk 0, byte 34: a record goes beyond the end of the chunk"},
		{8, 'a', "chunk 0, byte 34: records are out of order"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_OK(buf_set(&copy, buf_slice(&chunks[0])));
		copy.data[second + cases[i].at] = cases[i].byte;
		reseal(&copy);
		CHECK_ERR(engine_install_chunk(h, buf_slice(&copy)), ERR_CORRUPT);
		CHECK_STR_EQ(engine_install_why(h), cases[i].why);
	}
	copy.data[second + 8] = 'c'; /* a valid record, but not the one that was there */
	reseal(&copy);
	CHECK_OK(engine_install_chunk(h, buf_slice(&copy)));
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[1])), ERR_CORRUPT);
	CHECK_CONTAINS(engine_install_why(h), "chunk 1, byte 40: the records are not those");
	CHECK_ERR(engine_install_finish(h, 1), ERR_CORRUPT);
	CHECK_STR_EQ(ef_scan(h, TABLE_DATA, "", ""), "");
	buf_release(&copy);
	ef_chunks_free(chunks, count);
}

static void chunks_come_once_and_in_order(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *chunks;
	size_t count;

	ef_work(g, 1, 50);
	chunks = ef_chunks(g, 1000, &count);
	CHECK_TRUE(count > 4);
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[0])), ERR_INVAL);
	CHECK_ERR(engine_install_finish(h, 50), ERR_INVAL);
	CHECK_OK(engine_install_begin(h));
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[1])), ERR_CORRUPT);
	CHECK_CONTAINS(engine_install_why(h), "chunk 0");
	CHECK_OK(engine_install_chunk(h, buf_slice(&chunks[0])));
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[0])), ERR_CORRUPT);
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[2])), ERR_CORRUPT);
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[count - 1])), ERR_CORRUPT);
	for (size_t i = 1; i < count; i++) {
		CHECK_ERR(engine_install_finish(h, 50), ERR_CORRUPT);
		CHECK_OK(engine_install_chunk(h, buf_slice(&chunks[i])));
	}
	CHECK_ERR(engine_install_chunk(h, buf_slice(&chunks[count - 1])), ERR_CORRUPT);
	CHECK_ERR(engine_install_finish(h, 51), ERR_INVAL);
	CHECK_OK(engine_install_finish(h, 50));
	CHECK_ERR(engine_install_finish(h, 50), ERR_INVAL);
	CHECK_INT_EQ(ef_checksum(h), ef_checksum(g));
	ef_chunks_free(chunks, count);
}

static void chunks_of_two_snapshots_do_not_mix(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *a, *b;
	size_t na, nb;

	ef_work(g, 1, 50);
	a = ef_chunks(g, 1000, &na);
	ef_work(g, 1, 51);
	b = ef_chunks(g, 1000, &nb);
	CHECK_OK(engine_install_begin(h));
	CHECK_OK(engine_install_chunk(h, buf_slice(&a[0])));
	CHECK_ERR(engine_install_chunk(h, buf_slice(&b[1])), ERR_CORRUPT);
	CHECK_CONTAINS(engine_install_why(h), "another slot");
	ef_install(h, b, nb, 51); /* starting over with the other one */
	CHECK_INT_EQ(ef_checksum(h), ef_checksum(g));
	ef_chunks_free(a, na);
	ef_chunks_free(b, nb);
}

static void a_half_received_snapshot_is_not_visible(void)
{
	struct engine_group *h = engine_group_open(other.engine, 7);
	struct buf *chunks;
	size_t count;

	ef_work(h, 1, 30);
	chunks = ef_chunks(h, 500, &count);
	ef_work(g, 2, 20);
	CHECK_OK(engine_install_begin(g));
	for (size_t i = 0; i < count / 2; i++) {
		CHECK_OK(engine_install_chunk(g, buf_slice(&chunks[i])));
		CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(2, 20 + i));
		ef_work(g, 2, 21 + i); /* life goes on meanwhile */
		CHECK_OK(engine_flush(fx.engine));
	}
	ef_chunks_free(chunks, count);
	ef_work(g, 2, 100);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(2, 100));
	ef_work(h, 1, 90);
	chunks = ef_chunks(h, 500, &count);
	CHECK_OK(engine_install_begin(g));
	for (size_t i = 0; i < count; i++)
		CHECK_OK(engine_install_chunk(g, buf_slice(&chunks[i])));
	CHECK_ERR(engine_install_finish(g, 90), ERR_INVAL); /* the group is ahead of it */
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(2, 100));
	ef_chunks_free(chunks, count);
}

#define BOTH(fn)                                                                                   \
	{"mem_" #fn, fn, setup_mem, teardown}, {"rocks_" #fn, fn, setup_rocks, teardown}

static const struct check_test tests[] = {
	BOTH(a_batch_sees_its_own_writes),
	BOTH(an_abandoned_batch_leaves_nothing),
	BOTH(committed_is_readable_before_a_flush),
	BOTH(an_empty_batch_moves_the_slot),
	BOTH(slot_zero_can_be_committed),
	BOTH(tables_and_groups_are_apart),
	BOTH(sizes_at_their_limits),
	BOTH(misuse_is_caught),
	BOTH(a_scan_keeps_its_bounds),
	BOTH(a_scan_merges_the_batch_with_what_is_below),
	BOTH(agrees_with_a_model),
	BOTH(equal_states_have_equal_checksums),
	BOTH(an_open_batch_is_not_in_the_checksum),
	BOTH(estimates_of_small_ranges_are_exact),
	BOTH(estimates_of_large_ranges_are_near),
	BOTH(figures_follow_what_is_stored),
	BOTH(a_snapshot_goes_from_one_kind_to_the_other),
	BOTH(a_snapshot_of_nothing),
	BOTH(a_snapshot_is_of_one_moment),
	BOTH(a_snapshot_outlives_an_install_over_its_group),
	BOTH(readers_and_flushes_run_beside_the_writer),
	BOTH(any_damaged_byte_is_refused),
	BOTH(a_bad_record_is_refused_with_its_place),
	BOTH(chunks_come_once_and_in_order),
	BOTH(chunks_of_two_snapshots_do_not_mix),
	BOTH(a_half_received_snapshot_is_not_visible),
};
CHECK_MAIN(tests)
