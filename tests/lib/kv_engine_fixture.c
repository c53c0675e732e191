#include "tests/lib/kv_engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"
#include "tests/lib/check.h"
#include "tests/lib/scratch.h"

#define MEMORY (8u * 1024 * 1024) /* little, so that RocksDB flushes and compacts in tests too */

/* RocksDB comes without ThreadSanitizer's instrumentation: its own locks are not seen. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

/* ---- engines ---- */

void ef_open_mem(struct engine_fixture *f)
{
	f->dir[0] = '\0';
	CHECK_OK(engine_mem_open(&f->engine));
}

int ef_try_open(struct engine_fixture *f, struct msg *m)
{
	struct engine_config cfg = {.dir = f->dir, .memory_bytes = MEMORY};

	return engine_rocks_open(&cfg, &f->engine, m);
}

void ef_open_rocks(struct engine_fixture *f)
{
	snprintf(f->dir, sizeof(f->dir), "/tmp/paxfs-engine-XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
	ef_reopen(f);
}

void ef_shut(struct engine_fixture *f)
{
	engine_close(f->engine);
	f->engine = NULL;
}

void ef_reopen(struct engine_fixture *f)
{
	struct msg m = {0};
	int err;

	ef_shut(f);
	err = ef_try_open(f, &m);
	if (err)
		CHECK_FAIL("open: %s: %s", err_name(err), m.text);
}

void ef_close(struct engine_fixture *f)
{
	ef_shut(f);
	if (f->dir[0])
		scratch_remove(f->dir);
	f->dir[0] = '\0';
}

/* ---- shorthands ---- */

void ef_put(struct engine_group *g, enum engine_table t, const char *key, const char *value)
{
	engine_put(g, t, slice_str(key), slice_str(value));
}

void ef_del(struct engine_group *g, enum engine_table t, const char *key)
{
	engine_del(g, t, slice_str(key));
}

void ef_commit_put(struct engine_group *g, uint64_t slot, enum engine_table t, const char *key,
		   const char *value)
{
	engine_begin(g);
	ef_put(g, t, key, value);
	engine_commit(g, slot);
}

static char text[65536];

const char *ef_get(struct engine_group *g, enum engine_table t, const char *key)
{
	struct buf b = BUF_INIT;
	int err = engine_get(g, t, slice_str(key), &b);

	if (err == ERR_NOT_FOUND)
		snprintf(text, sizeof(text), "(none)");
	else if (err)
		snprintf(text, sizeof(text), "(%s)", err_name(err));
	else
		snprintf(text, sizeof(text), "%.*s", (int)b.len, b.len ? (char *)b.data : "");
	buf_release(&b);
	return text;
}

const char *ef_scan(struct engine_group *g, enum engine_table t, const char *from, const char *to)
{
	struct engine_iter *it = engine_iter_new(g, t, slice_str(from), slice_str(to));
	size_t at = 0;
	int err;

	text[0] = '\0';
	for (; engine_iter_valid(it) && at < sizeof(text) - 1; engine_iter_next(it)) {
		struct slice k = engine_iter_key(it), v = engine_iter_value(it);
		int n = snprintf(text + at, sizeof(text) - at, "%s%.*s=%.*s", at ? " " : "",
				 (int)k.len, (const char *)k.p, (int)v.len, (const char *)v.p);

		at += (size_t)n;
	}
	err = engine_iter_err(it);
	engine_iter_free(it);
	CHECK_OK(err);
	return text;
}

uint32_t ef_checksum(struct engine_group *g)
{
	uint32_t crc = 0;

	CHECK_OK(engine_checksum(g, &crc));
	return crc;
}

/* ---- the workload ---- */

uint64_t ef_random(uint64_t *state)
{
	return splitmix64(state);
}

static void work_write(struct engine_group *g, uint64_t *rnd, uint64_t slot)
{
	static const size_t size_max[TABLE_COUNT] = {[TABLE_DATA] = 300, [TABLE_BLOCK] = 16384};
	uint64_t r = ef_random(rnd);
	enum engine_table t = r % TABLE_COUNT;
	uint8_t key[12] = "key";
	static __thread uint8_t value[16384];
	size_t len = 8 + (r >> 40) % (size_max[t] ? size_max[t] - 8 : 50);

	be64_put(key + 4, (r >> 8) % 500);
	if ((r >> 32) % 4 == 0) {
		engine_del(g, t, slice_of(key, sizeof(key)));
		return;
	}
	for (size_t i = 0; i + 8 <= len; i += 8)
		le64_put(value + i, slot * 31 + i);
	engine_put(g, t, slice_of(key, sizeof(key)), slice_of(value, len & ~(size_t)7));
}

void ef_work(struct engine_group *g, uint64_t seed, uint64_t last)
{
	for (uint64_t slot = engine_applied(g) + 1; slot <= last; slot++) {
		uint64_t rnd = seed * 1000003 + slot;
		unsigned writes = 1 + ef_random(&rnd) % 12;

		engine_begin(g);
		for (unsigned i = 0; i < writes; i++)
			work_write(g, &rnd, slot);
		engine_commit(g, slot);
	}
}

uint32_t ef_work_checksum(uint64_t seed, uint64_t last)
{
	struct engine *e;
	struct engine_group *g;
	uint32_t crc;

	CHECK_OK(engine_mem_open(&e));
	g = engine_group_open(e, 1);
	ef_work(g, seed, last);
	crc = ef_checksum(g);
	engine_group_close(g);
	engine_close(e);
	return crc;
}

/* ---- snapshots ---- */

struct buf *ef_chunks(struct engine_group *g, size_t chunk_max, size_t *count)
{
	struct buf *chunks = NULL;
	struct engine_snapshot *s;
	size_t n = 0;

	CHECK_OK(engine_snapshot_new(g, &s));
	for (;;) {
		struct buf b = BUF_INIT;

		CHECK_OK(engine_snapshot_next(s, chunk_max, &b));
		if (b.len == 0) {
			buf_release(&b);
			break;
		}
		chunks = mem_must_realloc(chunks, (n + 1) * sizeof(*chunks));
		chunks[n++] = b;
	}
	engine_snapshot_free(s);
	*count = n;
	return chunks;
}

void ef_chunks_free(struct buf *chunks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_release(&chunks[i]);
	mem_free(chunks);
}

void ef_install(struct engine_group *g, const struct buf *chunks, size_t count, uint64_t slot)
{
	CHECK_OK(engine_install_begin(g));
	for (size_t i = 0; i < count; i++)
		CHECK_OK(engine_install_chunk(g, buf_slice(&chunks[i])));
	CHECK_OK(engine_install_finish(g, slot));
}
