/* How RocksDB is set up, and opened. */
#include <rocksdb/c.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

#define KIB 1024u
#define MIB (1024u * KIB)

#define MEMORY_DEFAULT	 (96u * MIB)
#define MEMORY_MIN	 (8u * MIB) /* less than that only makes many tiny files */
#define RESERVE_MIN	 (128u * MIB)
#define RESERVE_MORE	 (8u * MIB) /* than what is in memory, and what RocksDB wants to see free */
#define ARENA_BLOCK	 (64u * KIB) /* most families are small: not a megabyte for each */
#define BLOOM_BITS	 10		/* per key: 1 % of the files looked at in vain */
#define OPEN_FILES_MAX	 512
#define BLOB_SIZE_MIN	 (4u * KIB) /* smaller blocks stay in the tree */
#define BLOB_FILE_SIZE	 (64u * MIB)
#define TABLE_FILE_SIZE	 (32u * MIB)
#define CACHE_PART_MIN	 (8u * MIB)
#define LEVEL_BASE_SIZE	 (128u * MIB)
#define BACKGROUND_JOBS	 4 /* a flush must not wait for compactions */
#define INFO_LOG_WARN	 2
#define READ_TIER_DISK	 2 /* kPersistedTier */

static const char *const family_names[ROCKS_FAMILIES] = {
	[ROCKS_META] = "default",
	[ROCKS_TICK] = "tick",
	[ROCKS_TABLE(TABLE_DATA)] = "data",
	[ROCKS_TABLE(TABLE_BLOCK)] = "block",
	[ROCKS_TABLE(TABLE_TXN)] = "txn",
	[ROCKS_TABLE(TABLE_QUEUE)] = "queue",
	[ROCKS_TABLE(TABLE_REPLY)] = "reply",
	[ROCKS_TABLE(TABLE_STATE)] = "state",
	[ROCKS_TABLE(TABLE_HISTORY)] = "history",
};

const char *rocks__family_name(unsigned family)
{
	CHECK(family < ROCKS_FAMILIES);
	return family_names[family];
}

/* ---- options ---- */

/* A close without a flush loses nothing that the log does not have, and ends at once. The C API has
 * no setter for it. */
static rocksdb_options_t *options_base(void)
{
	rocksdb_options_t *plain = rocksdb_options_create();
	rocksdb_options_t *o = rocksdb_options_create();
	char *text = NULL;

	rocksdb_get_options_from_string(plain, "avoid_flush_during_shutdown=true", o, &text);
	CHECK(text == NULL);
	rocksdb_options_destroy(plain);
	return o;
}

static void set_table_format(rocksdb_options_t *o, rocksdb_cache_t *cache)
{
	rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();

	rocksdb_block_based_options_set_block_cache(t, cache);
	rocksdb_block_based_options_set_block_size(t, 8 * KIB);
	rocksdb_block_based_options_set_format_version(t, 5);
	rocksdb_block_based_options_set_filter_policy(
		t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
	rocksdb_block_based_options_set_whole_key_filtering(t, 1);
	/* In parts of a block's size: a filter of a whole file is 1 MiB and more, and would be read anew
	 * for each key that is looked up, once they are not all in memory. */
	rocksdb_block_based_options_set_index_type(
		t, rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_block_based_options_set_partition_filters(t, 1);
	rocksdb_block_based_options_set_metadata_block_size(t, 8 * KIB);
	rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
	/* Counted in the budget; those of the newest files stay in memory. */
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_block_based_options_destroy(t);
}

static rocksdb_options_t *options_new(uint64_t write_buffer, rocksdb_cache_t *cache)
{
	rocksdb_options_t *o = options_base();

	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_create_missing_column_families(o, 1);
	rocksdb_options_set_atomic_flush(o, 1);
	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_options_set_write_buffer_size(o, (size_t)write_buffer);
	rocksdb_options_set_max_write_buffer_number(o, 4);
	rocksdb_options_set_arena_block_size(o, ARENA_BLOCK);
	rocksdb_options_set_max_background_jobs(o, BACKGROUND_JOBS);
	rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
	rocksdb_options_set_bytes_per_sync(o, MIB);
	rocksdb_options_set_compression(o, rocksdb_lz4_compression);
	rocksdb_options_set_target_file_size_base(o, TABLE_FILE_SIZE);
	rocksdb_options_set_max_bytes_for_level_base(o, LEVEL_BASE_SIZE);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
	rocksdb_options_set_max_manifest_file_size(o, 16 * MIB);
	rocksdb_options_set_info_log_level(o, INFO_LOG_WARN);
	rocksdb_options_set_max_log_file_size(o, 4 * MIB);
	rocksdb_options_set_keep_log_file_num(o, 2);
	rocksdb_options_set_stats_dump_period_sec(o, 0);
	rocksdb_options_set_stats_persist_period_sec(o, 0);
	set_table_format(o, cache);
	return o;
}

/* Absent keys are looked up all the time: names before they are created, blocks before they are
 * written. */
static void set_lookups(rocksdb_options_t *o)
{
	rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.013);
	rocksdb_options_set_memtable_whole_key_filtering(o, 1);
}

/* File data is written once and stays: compaction moves only references to it. */
static void set_blobs(rocksdb_options_t *o)
{
	rocksdb_options_set_enable_blob_files(o, 1);
	rocksdb_options_set_min_blob_size(o, BLOB_SIZE_MIN);
	rocksdb_options_set_blob_file_size(o, BLOB_FILE_SIZE);
	rocksdb_options_set_blob_compression_type(o, rocksdb_no_compression);
	rocksdb_options_set_enable_blob_gc(o, 1);
	rocksdb_options_set_blob_gc_age_cutoff(o, 0.25);
	rocksdb_options_set_blob_gc_force_threshold(o, 0.5);
}

static rocksdb_options_t *family_options(const rocksdb_options_t *base, unsigned family)
{
	rocksdb_options_t *o = rocksdb_options_create_copy((rocksdb_options_t *)base);

	if (family == ROCKS_TABLE(TABLE_DATA) || family == ROCKS_TABLE(TABLE_BLOCK))
		set_lookups(o);
	if (family == ROCKS_TABLE(TABLE_BLOCK))
		set_blobs(o);
	return o;
}

/* ---- opening ---- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);

	return n >= k && strcmp(name + n - k, suffix) == 0;
}

/* RocksDB takes a directory without CURRENT for a new one, and would begin with nothing. With
 * tables in it, it is a damaged one. (A creation that a crash broke off has none yet.) */
static int check_current(const char *dir, struct msg *m)
{
	bool current = false, tables = false;
	struct dirent *e;
	DIR *d = opendir(dir);

	if (!d)
		return msg_set(m, err_from_errno(errno), "engine %s: %s", dir, strerror(errno));
	while ((e = readdir(d)) != NULL) {
		current |= strcmp(e->d_name, "CURRENT") == 0;
		tables |= has_suffix(e->d_name, ".sst") || has_suffix(e->d_name, ".blob");
	}
	closedir(d);
	if (tables && !current)
		return msg_set(m, ERR_CORRUPT, "engine %s: the file CURRENT is missing", dir);
	return 0;
}

static int open_error(struct rocks *r, char *text, struct msg *m)
{
	int err = rocks__error_code(text);

	if (err == ERR_LOCKED)
		msg_set(m, err, "engine %s: another process has it open", r->dir);
	else
		msg_set(m, err, "engine %s: %s", r->dir, text);
	rocksdb_free(text);
	return err;
}

static int open_families(struct rocks *r, const rocksdb_options_t *base, struct msg *m)
{
	const rocksdb_options_t *options[ROCKS_FAMILIES];
	char *text = NULL;

	for (unsigned i = 0; i < ROCKS_FAMILIES; i++)
		options[i] = family_options(base, i);
	r->db = rocksdb_open_column_families(base, r->dir, (int)ROCKS_FAMILIES, family_names,
					     options, r->families, &text);
	for (unsigned i = 0; i < ROCKS_FAMILIES; i++)
		rocksdb_options_destroy((rocksdb_options_t *)options[i]);
	return text ? open_error(r, text, m) : 0;
}

/* Split for the sake of threads, of which few read; a part has to hold the largest things that are kept,
 * whole filters of files of earlier versions: what is larger than a part is never kept. */
static rocksdb_cache_t *cache_new(size_t size)
{
	rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
	rocksdb_cache_t *c;
	int bits = 0;

	while (bits < 4 && size >> (bits + 1) >= CACHE_PART_MIN)
		bits++;
	rocksdb_lru_cache_options_set_capacity(o, size);
	rocksdb_lru_cache_options_set_num_shard_bits(o, bits);
	c = rocksdb_cache_create_lru_opts(o);
	rocksdb_lru_cache_options_destroy(o);
	return c;
}

static void make_call_options(struct rocks *r)
{
	r->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(r->write, 1);
	r->read = rocksdb_readoptions_create();
	r->read_disk = rocksdb_readoptions_create();
	rocksdb_readoptions_set_read_tier(r->read_disk, READ_TIER_DISK);
	r->compact = rocksdb_compactoptions_create();
	rocksdb_compactoptions_set_exclusive_manual_compaction(r->compact, 0);
}

/* The directory, with its name on disk, whoever made it: the log is cut behind what lies in it. */
static int make_directory(const char *dir, struct msg *m)
{
	char *parent = mem_must_printf("%s/..", dir);
	int fd = -1, err = 0;

	if ((mkdir(dir, 0700) != 0 && errno != EEXIST) ||
	    (fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(fd) != 0)
		err = msg_set(m, err_from_errno(errno), "engine %s: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	mem_free(parent);
	return err;
}

static uint64_t memory_of(uint64_t configured)
{
	if (configured == 0)
		return MEMORY_DEFAULT;
	return configured > MEMORY_MIN ? configured : MEMORY_MIN;
}

/* Half of the memory is for reading, half for what is not flushed. */
static uint64_t memtable_max(uint64_t memory)
{
	return memory / 2;
}

/* RocksDB would flush by itself when one family has that: what is not flushed, and what memtables waste
 * at the ends of their blocks. */
static uint64_t write_buffer(uint64_t memory)
{
	return memtable_max(memory) / 2 * 3;
}

uint64_t engine_rocks_reserve(uint64_t memory_bytes)
{
	uint64_t memory = memory_of(memory_bytes);
	uint64_t need = memtable_max(memory) + write_buffer(memory) + RESERVE_MORE;

	return need > RESERVE_MIN ? need : RESERVE_MIN;
}

int rocks__open_db(struct rocks *r, const struct engine_config *cfg, struct msg *m)
{
	uint64_t memory = memory_of(cfg->memory_bytes);
	rocksdb_options_t *base;
	int err = make_directory(r->dir, m);

	if (!err)
		err = check_current(r->dir, m);
	if (err)
		return err;
	r->memtable_max = memtable_max(memory);
	r->write_buffer = write_buffer(memory);
	rocks__reserve_open(r, cfg->reserve_bytes);
	r->cache = cache_new((size_t)(memory / 2));
	make_call_options(r);
	base = options_new(r->write_buffer, r->cache);
	err = open_families(r, base, m);
	rocksdb_options_destroy(base);
	return err;
}
