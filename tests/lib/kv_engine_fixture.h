/* Engines for tests: of both kinds, with shorthands for strings, and a workload whose state after
 * any slot is known. */
#ifndef PAXFS_TESTS_LIB_KV_ENGINE_FIXTURE_H
#define PAXFS_TESTS_LIB_KV_ENGINE_FIXTURE_H

#include "kv/engine.h"

struct engine_fixture {
	struct engine *engine;
	char dir[64]; /* of an engine on disk; empty: in memory */
};

void ef_open_mem(struct engine_fixture *f);
void ef_open_rocks(struct engine_fixture *f); /* in a new directory */
void ef_close(struct engine_fixture *f);      /* removes the directory; may be called twice */
void ef_reopen(struct engine_fixture *f);     /* closes without a flush, opens again */
void ef_shut(struct engine_fixture *f);	      /* closes, keeps the directory */
int ef_try_open(struct engine_fixture *f, struct msg *m);

void ef_put(struct engine_group *g, enum engine_table t, const char *key, const char *value);
void ef_del(struct engine_group *g, enum engine_table t, const char *key);
/* One put in a batch of its own. */
void ef_commit_put(struct engine_group *g, uint64_t slot, enum engine_table t, const char *key,
		   const char *value);
/* "(none)" for ERR_NOT_FOUND; valid until the next call. */
const char *ef_get(struct engine_group *g, enum engine_table t, const char *key);
/* "a=1 b=2" of [from, to); valid until the next call. */
const char *ef_scan(struct engine_group *g, enum engine_table t, const char *from, const char *to);
uint32_t ef_checksum(struct engine_group *g);

/* Applies slots (engine_applied, last]: each writes and deletes in all tables, by (seed, slot). */
void ef_work(struct engine_group *g, uint64_t seed, uint64_t last);
/* The checksum of the state that slot @last leaves. */
uint32_t ef_work_checksum(uint64_t seed, uint64_t last);

/* The chunks of a snapshot, each in its buf; *count of them, freed by ef_chunks_free. */
struct buf *ef_chunks(struct engine_group *g, size_t chunk_max, size_t *count);
void ef_chunks_free(struct buf *chunks, size_t count);
/* Begins, gives all chunks and finishes. */
void ef_install(struct engine_group *g, const struct buf *chunks, size_t count, uint64_t slot);

uint64_t ef_random(uint64_t *state);

#endif
