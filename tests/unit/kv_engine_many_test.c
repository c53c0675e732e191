/* kv/engine on disk with more small records than its cache holds: looking one up reads little. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_engine_fixture.h"

#define ROUNDS	  5u
#define PER_ROUND 150000u
#define PER_BATCH 1000u
#define LOOKUPS	  2000u

static struct engine_fixture fx;

/* Spread over all of the key space, the same each time. */
static struct slice key_of(uint64_t i, uint8_t key[16])
{
	be64_put(key, i * 0x9e3779b97f4a7c15ull);
	be64_put(key + 8, i * 0xc2b2ae3d27d4eb4full);
	return slice_of(key, 16);
}

static void fill(struct engine_group *g)
{
	uint64_t i = 0;
	uint8_t key[16];

	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned b = 0; b < PER_ROUND / PER_BATCH; b++) {
			engine_begin(g);
			for (unsigned k = 0; k < PER_BATCH; k++)
				engine_put(g, TABLE_DATA, key_of(i++, key), slice_str("v"));
			engine_commit(g, i / PER_BATCH);
		}
		CHECK_OK(engine_flush(fx.engine));
	}
}

/* Tables with data in them: small ones hold totals and the like. */
static unsigned large_tables(void)
{
	char path[512];
	unsigned n = 0;
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(fx.dir);

	while (d && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", fx.dir, e->d_name);
		if (strstr(e->d_name, ".sst") && stat(path, &st) == 0 && st.st_size > 100000)
			n++;
	}
	if (d)
		closedir(d);
	return n;
}

/* What RocksDB does in the background, of itself. */
static bool merged(void)
{
	struct timespec ms = {.tv_nsec = 10000000};

	for (unsigned i = 0; i < 12000; i++) {
		if (large_tables() < ROUNDS)
			return true;
		nanosleep(&ms, NULL);
	}
	return false;
}

static uint64_t bytes_read(void) /* of this process so far, from files of whatever kind */
{
	char text[256];
	int fd = open("/proc/self/io", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strncmp(text, "rchar: ", 7) == 0 ? strtoull(text + 7, NULL, 10) : 0;
}

static void lookups_read_little(void)
{
	struct engine_group *g;
	struct buf value = BUF_INIT;
	uint64_t before, bytes;
	uint8_t key[16];

	ef_open_rocks(&fx);
	g = engine_group_open(fx.engine, 1);
	fill(g);
	CHECK_TRUE(merged());
	before = bytes_read();
	CHECK_TRUE(before > 0);
	for (uint64_t i = 0; i < LOOKUPS; i++) {
		CHECK_OK(engine_get(g, TABLE_DATA, key_of(i * 371, key), &value));
		CHECK_ERR(engine_get(g, TABLE_DATA, key_of(1000000 + i, key), &value), ERR_NOT_FOUND);
	}
	bytes = bytes_read() - before;
	printf("     %" PRIu64 " bytes a lookup\n", bytes / (2 * LOOKUPS));
	CHECK_TRUE(bytes / (2 * LOOKUPS) < 65536);
	buf_release(&value);
	ef_close(&fx);
}

static const struct check_test tests[] = {
	CHECK_TEST(lookups_read_little),
};
CHECK_MAIN(tests)
