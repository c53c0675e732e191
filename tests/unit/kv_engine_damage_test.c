/* kv/engine on disk: damaged and lost files. Whatever happened to them, it is an error, never
 * another state. */
#include <dirent.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_engine_fixture.h"

static struct engine_fixture fx;
static struct engine_group *g;

static void setup(void)
{
	ef_open_rocks(&fx);
	g = engine_group_open(fx.engine, 1);
}

static void teardown(void)
{
	ef_close(&fx);
}

/* ---- damage ---- */

/* Calls fn for each file with the suffix, or prefix. */
static unsigned each_file(const char *part, void (*fn)(const char *path))
{
	DIR *d = opendir(fx.dir);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)) != NULL) {
		char path[512];

		if (!strstr(e->d_name, part))
			continue;
		snprintf(path, sizeof(path), "%s/%s", fx.dir, e->d_name);
		fn(path);
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

static void flip_bits(const char *path)
{
	struct stat st;
	uint8_t byte;
	int fd = open(path, O_RDWR);

	if (fd < 0 || fstat(fd, &st) != 0)
		abort();
	for (off_t at = 40; at < st.st_size - 60; at += 97) {
		if (pread(fd, &byte, 1, at) != 1)
			abort();
		byte ^= 0x04;
		if (pwrite(fd, &byte, 1, at) != 1)
			abort();
	}
	close(fd);
}

static void cut(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0 || truncate(path, st.st_size / 2) != 0)
		abort();
}

static void delete(const char *path)
{
	if (unlink(path) != 0)
		abort();
}

/* Opens and reads everything: the error, wherever it shows. */
static int open_and_read(struct msg *m)
{
	int err = ef_try_open(&fx, m);
	uint32_t crc;

	if (err)
		return err;
	g = engine_group_open(fx.engine, 1);
	err = engine_checksum(g, &crc);
	ef_shut(&fx);
	return err;
}

static void check_damage(const char *part, void (*damage)(const char *path))
{
	struct msg m = {0};

	ef_work(g, 1, 400);
	CHECK_OK(engine_flush(fx.engine));
	ef_shut(&fx);
	CHECK_TRUE(each_file(part, damage) > 0);
	CHECK_ERR(open_and_read(&m), ERR_CORRUPT);
	if (m.text[0])
		CHECK_CONTAINS(m.text, fx.dir);
}

static void flipped_bits_in_tables(void)
{
	check_damage(".sst", flip_bits);
}

static void flipped_bits_in_blobs(void)
{
	check_damage(".blob", flip_bits);
}

static void flipped_bits_in_the_manifest(void)
{
	check_damage("MANIFEST-", flip_bits);
}

static void cut_tables(void)
{
	check_damage(".sst", cut);
}

static void cut_blobs(void)
{
	check_damage(".blob", cut);
}

static void lost_tables(void)
{
	check_damage(".sst", delete);
}

static void lost_blobs(void)
{
	check_damage(".blob", delete);
}

static void a_lost_manifest(void)
{
	check_damage("MANIFEST-", delete);
}

static void a_lost_current(void)
{
	struct msg m = {0};

	check_damage("CURRENT", delete);
	CHECK_ERR(ef_try_open(&fx, &m), ERR_CORRUPT);
	CHECK_CONTAINS(m.text, "CURRENT is missing");
}

static void check_logged(const char *path, const char *part)
{
	static char text[8192];
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	CHECK_CONTAINS(text, part);
}

/* A damaged block is an error of the reads that meet it, not a missing key; the log says where. */
static void damage_is_not_absence(void)
{
	struct msg m = {0};
	struct buf b = BUF_INIT;
	struct engine_iter *it;
	unsigned damaged = 0;
	char log[128];

	engine_begin(g);
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t key[4], value[64];
		uint64_t rnd = i;

		be32_put(key, i);
		for (size_t j = 0; j < sizeof(value); j += 8)
			le64_put(value + j, ef_random(&rnd));
		engine_put(g, TABLE_DATA, slice_of(key, 4), slice_of(value, sizeof(value)));
	}
	engine_commit(g, 1);
	CHECK_OK(engine_flush(fx.engine));
	ef_shut(&fx);
	{ /* one bit in the middle of the largest table */
		DIR *d = opendir(fx.dir);
		struct dirent *e;
		char path[512] = "", largest[512] = "";
		struct stat st;
		off_t size = 0;
		uint8_t byte;
		int fd;

		while ((e = readdir(d)) != NULL) {
			snprintf(path, sizeof(path), "%s/%s", fx.dir, e->d_name);
			if (strstr(path, ".sst") && stat(path, &st) == 0 && st.st_size > size) {
				size = st.st_size;
				memcpy(largest, path, sizeof(path));
			}
		}
		closedir(d);
		fd = open(largest, O_RDWR);
		CHECK_INT_EQ(pread(fd, &byte, 1, size / 2), 1);
		byte ^= 1;
		CHECK_INT_EQ(pwrite(fd, &byte, 1, size / 2), 1);
		close(fd);
	}
	CHECK_OK(ef_try_open(&fx, &m));
	g = engine_group_open(fx.engine, 1);
	snprintf(log, sizeof(log), "%s/test.log", fx.dir);
	CHECK_OK(logger_open(log, &m));
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t key[4];
		int err;

		be32_put(key, i);
		err = engine_get(g, TABLE_DATA, slice_of(key, 4), &b);
		CHECK_TRUE(err == 0 || err == ERR_CORRUPT);
		damaged += err == ERR_CORRUPT;
	}
	CHECK_TRUE(damaged > 0 && damaged < 1000);
	it = engine_iter_new(g, TABLE_DATA, (struct slice){0}, (struct slice){0});
	while (engine_iter_valid(it))
		engine_iter_next(it);
	CHECK_ERR(engine_iter_err(it), ERR_CORRUPT);
	engine_iter_free(it);
	buf_release(&b);
	check_logged(log, "read of data, key 000000010000000100000");
	check_logged(log, ".sst offset ");
}

/* ---- one byte, anywhere ---- */

/* Whatever it hits: an error, or the state of a slot. (A manifest can end earlier than it did, and
 * then says less; the log notices when it does not reach back that far.) */
static void try_byte(const char *path)
{
	static uint64_t rnd = 11;
	struct msg m = {0};
	struct stat st;
	uint8_t byte, bit = (uint8_t)(1u << (ef_random(&rnd) % 8));
	off_t at;
	int fd = open(path, O_RDWR), err;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		abort();
	at = (off_t)(ef_random(&rnd) % (uint64_t)st.st_size);
	CHECK_INT_EQ(pread(fd, &byte, 1, at), 1);
	byte ^= bit;
	CHECK_INT_EQ(pwrite(fd, &byte, 1, at), 1);
	err = ef_try_open(&fx, &m);
	if (!err) {
		uint32_t crc;

		g = engine_group_open(fx.engine, 1);
		err = engine_checksum(g, &crc);
		if (!err)
			CHECK_INT_EQ(crc, ef_work_checksum(1, engine_applied(g)));
		ef_shut(&fx);
	}
	if (err && err != ERR_CORRUPT && err != ERR_UNSUPPORTED)
		CHECK_FAIL("byte %lld of %s: %s: %s", (long long)at, path, err_name(err), m.text);
	byte ^= bit;
	CHECK_INT_EQ(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void copy_directory(const char *from, const char *to)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf %s && cp -r %s %s", to, from, to);
	CHECK_INT_EQ(system(command), 0);
}

/* One of the files with this in their names. */
static void pick_file(const char *part, uint64_t *rnd, char *path, size_t size)
{
	DIR *d = opendir(fx.dir);
	struct dirent *e;
	uint64_t n = 0;

	while ((e = readdir(d)) != NULL)
		if (strstr(e->d_name, part) && ef_random(rnd) % ++n == 0)
			snprintf(path, size, "%s/%s", fx.dir, e->d_name);
	closedir(d);
	CHECK_TRUE(n > 0);
}

static char original[128]; /* a copy of the directory */

static void any_flipped_bit_is_noticed(void)
{
	static const char *const parts[] = {".sst", ".blob", "MANIFEST-", "CURRENT"};
	uint64_t rnd = 3;

	ef_work(g, 1, 150);
	CHECK_OK(engine_flush(fx.engine));
	ef_work(g, 1, 300);
	CHECK_OK(engine_flush(fx.engine));
	ef_shut(&fx);
	snprintf(original, sizeof(original), "%s.original", fx.dir);
	copy_directory(fx.dir, original);
	for (int round = 0; round < 16; round++) {
		char path[512];

		pick_file(parts[round % 4], &rnd, path, sizeof(path));
		try_byte(path);
		copy_directory(original, fx.dir);
	}
	copy_directory(original, fx.dir);
	ef_reopen(&fx);
	g = engine_group_open(fx.engine, 1);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 300));
}

static void remove_original(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s", original);
	CHECK_INT_EQ(system(command), 0);
	teardown();
}

/* ---- records of the engine's own ---- */

/* Puts a record into the first column family of the directory, a new one if need be. */
static void put_own_record(const char *key, size_t key_len, const char *value, size_t len)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
	char *text = NULL;
	rocksdb_t *db;

	snprintf(fx.dir, sizeof(fx.dir), "/tmp/paxfs-engine-XXXXXX");
	CHECK_NOT_NULL(mkdtemp(fx.dir));
	rocksdb_options_set_create_if_missing(o, 1);
	db = rocksdb_open(o, fx.dir, &text);
	CHECK_NULL(text);
	rocksdb_put(db, w, key, key_len, value, len, &text);
	CHECK_NULL(text);
	rocksdb_close(db);
	rocksdb_writeoptions_destroy(w);
	rocksdb_options_destroy(o);
}

static void another_format_is_refused(void)
{
	struct msg m = {0};

	put_own_record("format", 6, "\3\0\0\0", 4);
	CHECK_ERR(ef_try_open(&fx, &m), ERR_UNSUPPORTED);
	CHECK_CONTAINS(m.text, "written by another version (format 3, this one has 2)");
}

/* What is in the files, whatever the open engine has in memory. */
static uint32_t format_on_disk(void)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_readoptions_t *how = rocksdb_readoptions_create();
	uint32_t version = 0;
	char *text = NULL, *value;
	rocksdb_t *db;
	size_t len;

	db = rocksdb_open_for_read_only(o, fx.dir, 0, &text);
	CHECK_NULL(text);
	value = rocksdb_get(db, how, "format", 6, &len, &text);
	CHECK_TRUE(value && len == 4);
	if (value)
		version = (uint32_t)value[0] | (uint32_t)value[1] << 8;
	rocksdb_free(value);
	rocksdb_close(db);
	rocksdb_readoptions_destroy(how);
	rocksdb_options_destroy(o);
	return version;
}

/* On disk at once: an older program must not take it for its own after a crash. */
static void an_older_format_is_raised(void)
{
	struct msg m = {0};

	put_own_record("format", 6, "\1\0\0\0", 4);
	CHECK_U64_EQ(format_on_disk(), 1);
	CHECK_OK(ef_try_open(&fx, &m));
	CHECK_U64_EQ(format_on_disk(), 2);
}

/* Else an older program would take the log for that of a new engine of its own. */
static void a_new_one_has_its_format_on_disk(void)
{
	struct msg m = {0};

	snprintf(fx.dir, sizeof(fx.dir), "/tmp/paxfs-engine-XXXXXX");
	CHECK_NOT_NULL(mkdtemp(fx.dir));
	CHECK_OK(ef_try_open(&fx, &m));
	CHECK_U64_EQ(format_on_disk(), 2);
}

static void a_bad_record_of_a_group_is_refused(void)
{
	struct msg m = {0};

	put_own_record("group/\0\0\0\7", 10, "12345", 5);
	CHECK_ERR(ef_try_open(&fx, &m), ERR_CORRUPT);
	CHECK_CONTAINS(m.text, "the record of group 7 is damaged");
}

static void a_group_without_a_format_is_refused(void)
{
	struct msg m = {0};

	put_own_record("group/\0\0\0\7", 10, "\1\0\0\0\5\0\0\0\0\0\0\0", 12);
	CHECK_ERR(ef_try_open(&fx, &m), ERR_CORRUPT);
	CHECK_CONTAINS(m.text, "the record of its format is missing");
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, flipped_bits_in_tables),
	CHECK_TEST_WITH(setup, teardown, flipped_bits_in_blobs),
	CHECK_TEST_WITH(setup, teardown, flipped_bits_in_the_manifest),
	CHECK_TEST_WITH(setup, teardown, cut_tables),
	CHECK_TEST_WITH(setup, teardown, cut_blobs),
	CHECK_TEST_WITH(setup, teardown, lost_tables),
	CHECK_TEST_WITH(setup, teardown, lost_blobs),
	CHECK_TEST_WITH(setup, teardown, a_lost_manifest),
	CHECK_TEST_WITH(setup, teardown, a_lost_current),
	CHECK_TEST_WITH(setup, teardown, damage_is_not_absence),
	CHECK_TEST_WITH(setup, remove_original, any_flipped_bit_is_noticed),
	CHECK_TEST_WITH(NULL, teardown, another_format_is_refused),
	CHECK_TEST_WITH(NULL, teardown, an_older_format_is_raised),
	CHECK_TEST_WITH(NULL, teardown, a_new_one_has_its_format_on_disk),
	CHECK_TEST_WITH(NULL, teardown, a_bad_record_of_a_group_is_refused),
	CHECK_TEST_WITH(NULL, teardown, a_group_without_a_format_is_refused),
};
CHECK_MAIN(tests)
