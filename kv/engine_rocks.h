/* Shared inside kv/engine_rocks*.c only; include <rocksdb/c.h> before it. docs/engine.md describes
 * the keys.
 *
 *   engine_rocks.c          keys, records, gets, commits
 *   engine_rocks_open.c     opening, groups
 *   engine_rocks_options.c  how RocksDB is set up
 *   engine_rocks_flush.c    writes, flushes, figures
 *   engine_rocks_scan.c     scans and views
 *   engine_rocks_reserve.c  what is set aside for a full disk
 *   engine_rocks_install.c  second states, and what crashes leave of them
 */
#ifndef PAXFS_KV_ENGINE_ROCKS_H
#define PAXFS_KV_ENGINE_ROCKS_H

#include "base/bytes.h"
#include "kv/engine_internal.h"

/* Column families: one per table, and two of the engine's own. The first is RocksDB's "default". */
#define ROCKS_META	 0u /* format, flush counter, a record per group */
#define ROCKS_TICK	 1u /* never holds anything: see rocks_flush */
#define ROCKS_TABLE(t)	 (2u + (t))
#define ROCKS_FAMILIES	 ROCKS_TABLE(TABLE_COUNT)

/* A stored key is group u32 | generation u32 | key, big-endian. Each install makes a new
 * generation; the group's record names the one that lives. */
#define ROCKS_PREFIX	 8u
#define ROCKS_KEY_MAX	 (ROCKS_PREFIX + ENGINE_KEY_SIZE_MAX)
#define ROCKS_FIRST_GENERATION 1u

struct rocks {
	struct engine base;
	char *dir;
	rocksdb_t *db;
	rocksdb_cache_t *cache;
	rocksdb_column_family_handle_t *families[ROCKS_FAMILIES];
	rocksdb_writeoptions_t *write;	   /* without WAL */
	rocksdb_readoptions_t *read;	   /* gets */
	rocksdb_readoptions_t *read_disk;  /* gets of what is on disk only */
	rocksdb_compactoptions_t *compact; /* of rocks_flush */
	pthread_mutex_t flush_lock;
	uint64_t flushes; /* counted in ROCKS_META; under flush_lock */
	uint64_t begun; /* memtable_bytes when the last flush began, until it is on disk; so, too */
	atomic_bool dirty; /* something was written since the last flush began */
	pthread_rwlock_t begin_lock; /* shared: a write; alone: the begin of a flush */
	_Atomic uint64_t memtable_bytes; /* of all families, not less than there are */
	uint64_t memtable_max; /* before more is written, they are flushed */
	atomic_int full_tries; /* flushes that may fail without a reason, since the disk was full */
	uint64_t write_buffer; /* bytes of one family at which RocksDB flushes by itself */
	struct {
		pthread_mutex_t lock;
		char *path;
		uint64_t size; /* bytes; 0: none is kept */
	} reserve;
};

struct rocks_group {
	struct engine_group base;
	uint32_t generation; /* that lives; the apply thread's */
	uint32_t staged;     /* generation of the last install begun */
	rocksdb_writebatch_t *writes; /* of a commit or an install, reused */
};

static inline struct rocks *rocks_of(struct engine *e)
{
	return container_of(e, struct rocks, base);
}

static inline struct rocks_group *rocks_group(struct engine_group *g)
{
	return container_of(g, struct rocks_group, base);
}

/* A stored key; the slice points into the buffer. */
struct slice rocks__key(uint8_t out[ROCKS_KEY_MAX], uint32_t group, uint32_t generation,
			struct slice key);

/* The first key behind all that have this prefix; false: there is none. */
bool rocks__prefix_end(uint8_t prefix[ROCKS_PREFIX]);

/* Our code of what RocksDB says; frees @text. Logs it, with the family and the stored key (of a
 * scan: its upper bound): RocksDB names file and place, mostly, and a code cannot. */
int rocks__error(struct rocks *r, char *text, const char *doing, unsigned family, struct slice key);
int rocks__error_code(const char *text);

/* A stored value. 0, ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
int rocks__read(struct rocks *r, const rocksdb_readoptions_t *how, unsigned family,
		struct slice key, struct buf *out);

int rocks__get(struct engine_group *g, struct engine_pos pos, struct buf *out);
void rocks__commit(struct engine_group *g, uint64_t applied);

/* ---- the record of a group in ROCKS_META ---- */

struct rocks_record {
	uint32_t generation;
	uint64_t applied;
};

void rocks__record_put(struct rocks *r, rocksdb_writebatch_t *writes, uint32_t group,
		       struct rocks_record rec);
/* ERR_NOT_FOUND: a group without state. */
int rocks__record_get(struct rocks *r, const rocksdb_readoptions_t *how, uint32_t group,
		      struct rocks_record *out);
/* ERR_CORRUPT: not a record. */
int rocks__record_decode(struct slice value, struct rocks_record *out);
bool rocks__record_key(struct slice key, uint32_t *group); /* false: another key of ROCKS_META */

/* ---- engine_rocks_options.c ---- */

const char *rocks__family_name(unsigned family);

/* Opens the database with its families. */
int rocks__open_db(struct rocks *r, const struct engine_config *cfg, struct msg *m);

/* ---- engine_rocks_flush.c ---- */

/* Applies the writes and empties them; flushes first if memory is used up. Waits for room on a full
 * disk. Any other failure is fatal: the log has the entry, and replays it. */
void rocks__write(struct rocks *r, rocksdb_writebatch_t *writes);
int rocks__flush(struct engine *e);
int rocks__flushes_read(struct rocks *r, const rocksdb_readoptions_t *how, uint64_t *out);
uint64_t rocks__stored_bytes(struct engine_group *g, struct engine_pos from, struct engine_pos to);
void rocks__stats(struct engine *e, struct engine_stats *out);

/* ---- engine_rocks_reserve.c ---- */

void rocks__reserve_open(struct rocks *r, uint64_t size);
void rocks__reserve_tend(struct rocks *r); /* takes back what was given up, if there is room */
/* Is there room for a flush? Gives up part of the reserve for it. */
bool rocks__reserve_covers_flush(struct rocks *r);
/* RocksDB found no space: gives it what it wants to go on, if the disk has less, and lets some time
 * pass. Ends the process if that has been too long. Any thread. */
void rocks__wait_for_room(struct rocks *r, uint64_t *since_ns);

/* ---- engine_rocks_scan.c ---- */

unsigned rocks__sources(struct engine_group *g, struct engine_pos from, struct engine_pos to,
			struct engine_source **out);
int rocks__view_new(struct engine_group *g, struct engine_view **out);
void rocks__view_free(struct engine_view *v);

/* ---- engine_rocks_install.c ---- */

int rocks__install_begin(struct engine_group *g);
void rocks__install_put(struct engine_group *g, struct engine_pos pos, struct slice value);
void rocks__install_write(struct engine_group *g);
int rocks__install_finish(struct engine_group *g, uint64_t applied);
/* Removes all keys that no group's record accounts for. At open, with the groups loaded. */
int rocks__remove_leftovers(struct rocks *r, struct msg *m);

#endif
