/* kv/engine_rocks_reserve: what is set aside on disk. Really full disks: system test full_disk. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_engine_fixture.h"

#define MIB (1024u * 1024u)

static struct engine_fixture fx;
static char path[256];

static void setup(void)
{
	ef_open_rocks(&fx);
	ef_shut(&fx);
	snprintf(path, sizeof(path), "%s.reserve", fx.dir);
}

static void teardown(void)
{
	(void)unlink(path);
	ef_close(&fx);
}

static void open_with(uint64_t reserve)
{
	struct engine_config cfg = {.dir = fx.dir, .reserve_bytes = reserve};
	struct msg m;

	CHECK_OK(engine_rocks_open(&cfg, &fx.engine, &m));
}

static uint64_t blocks_of_file(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void a_reserve_has_its_blocks(void)
{
	open_with(2 * MIB);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), 0);
	CHECK_TRUE(blocks_of_file() >= 2 * MIB);
}

static void none_is_kept_unless_asked_for(void)
{
	open_with(0);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), 0);
	CHECK_INT_EQ(access(path, F_OK), -1);
}

static void one_without_blocks_is_made_anew(void)
{
	FILE *f = fopen(path, "w");

	CHECK_TRUE(f != NULL && fclose(f) == 0 && truncate(path, 2 * MIB) == 0);
	CHECK_U64_EQ(blocks_of_file(), 0);
	open_with(2 * MIB);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), 0);
	CHECK_TRUE(blocks_of_file() >= 2 * MIB);
}

static void one_of_another_size_is_made_anew(void)
{
	open_with(2 * MIB);
	ef_shut(&fx);
	open_with(3 * MIB);
	CHECK_TRUE(blocks_of_file() >= 3 * MIB);
	ef_shut(&fx);
	open_with(MIB);
	CHECK_TRUE(blocks_of_file() < 2 * MIB);
}

/* As on a disk that is full: no node fails to start for it, all is missing, and a flush tells so until
 * there is room. */
static void what_no_disk_has_is_missing(void)
{
	const uint64_t absurd = 1ull << 60;
	struct engine_group *g;

	open_with(absurd);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), absurd);
	CHECK_INT_EQ(access(path, F_OK), -1);
	g = engine_group_open(fx.engine, 1);
	ef_work(g, 1, 20);
	CHECK_OK(engine_flush(fx.engine)); /* there is room for that */
	CHECK_U64_EQ(engine_durable(g), 20);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), absurd);
}

static void what_was_set_aside_stays_where_no_more_fits(void)
{
	const uint64_t absurd = 1ull << 60;

	open_with(2 * MIB);
	ef_shut(&fx);
	open_with(absurd);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), absurd - 2 * MIB);
	CHECK_TRUE(blocks_of_file() >= 2 * MIB);
}

/* A flush looks after it, even if there is nothing to flush. */
static void it_is_made_whole_when_there_is_room(void)
{
	char away[sizeof(path) + 8];

	snprintf(away, sizeof(away), "%s/x", path);
	CHECK_INT_EQ(mkdir(path, 0700), 0); /* no file can be made there */
	CHECK_INT_EQ(mkdir(away, 0700), 0);
	open_with(2 * MIB);
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), 2 * MIB);
	CHECK_OK(engine_flush(fx.engine));
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), 2 * MIB);
	CHECK_TRUE(rmdir(away) == 0 && rmdir(path) == 0);
	CHECK_OK(engine_flush(fx.engine));
	CHECK_U64_EQ(engine_reserve_missing(fx.engine), 0);
	CHECK_TRUE(blocks_of_file() >= 2 * MIB);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, a_reserve_has_its_blocks),
	CHECK_TEST_WITH(setup, teardown, none_is_kept_unless_asked_for),
	CHECK_TEST_WITH(setup, teardown, one_without_blocks_is_made_anew),
	CHECK_TEST_WITH(setup, teardown, one_of_another_size_is_made_anew),
	CHECK_TEST_WITH(setup, teardown, what_no_disk_has_is_missing),
	CHECK_TEST_WITH(setup, teardown, what_was_set_aside_stays_where_no_more_fits),
	CHECK_TEST_WITH(setup, teardown, it_is_made_whole_when_there_is_room),
};

int main(int argc, char **argv)
{
	return check_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
