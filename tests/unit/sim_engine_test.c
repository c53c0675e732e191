/* The engine of the simulated disk: what a crash leaves is a prefix of the commits of all groups, and
 * at least what was flushed. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/datadir.h"
#include "kv/engine.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_engine_fixture.h"
#include "tests/lib/sim_fake.h"
#include "tests/sim/sim_disk.h"

#define GROUPS	    3u
#define COMMITS_MAX 4096u

static struct sim_disk *disk;
static struct engine *engine;
static struct engine_group *groups[GROUPS];

/* What the watch was told, in its order. */
static struct {
	uint32_t group, crc;
	uint64_t slot;
} commits[COMMITS_MAX];
static size_t commit_count, installs;
static uint64_t reverted_to[GROUPS];

static void on_commit(struct sim_disk *d, uint32_t group, uint64_t slot, uint32_t crc)
{
	CHECK_PTR_EQ(d, disk);
	if (commit_count == COMMITS_MAX)
		CHECK_FAIL("too many commits");
	commits[commit_count].group = group;
	commits[commit_count].slot = slot;
	commits[commit_count++].crc = crc;
}

static void on_install(struct sim_disk *d, uint32_t group, uint64_t slot)
{
	CHECK_PTR_EQ(d, disk);
	CHECK_TRUE(group < GROUPS && slot > 0);
	installs++;
}

static void on_revert(struct sim_disk *d, uint32_t group, uint64_t slot)
{
	CHECK_PTR_EQ(d, disk);
	reverted_to[group] = slot;
}

static const struct sim_engine_watch watch = {on_commit, on_install, on_revert};

/* ---- a machine with an engine ---- */

static void open_engine(void)
{
	const struct engine_config cfg = {.dir = "/sim/a/engine"};
	struct msg m = {.text = ""};

	if (engine_rocks_open(&cfg, &engine, &m) != 0)
		CHECK_FAIL("%s", m.text);
	for (uint32_t i = 0; i < GROUPS; i++)
		groups[i] = engine_group_open(engine, i);
}

static void start(uint64_t seed)
{
	sim_fake_reset(seed);
	disk = sim_disk_new("a");
	*sim_disk_faults(disk) =
		(struct sim_disk_faults){.sync_min_ns = 1000, .sync_max_ns = 2000};
	CHECK_INT_EQ(mkdir("/sim/a", 0700), 0);
	CHECK_INT_EQ(mkdir("/sim/a/engine", 0700), 0);
	commit_count = installs = 0;
	sim_engine_watch = &watch;
	open_engine();
}

static void shut(void)
{
	engine_close(engine);
	engine = NULL;
}

static void stop(void)
{
	if (disk == NULL)
		return;
	shut();
	sim_disk_free(disk);
	disk = NULL;
	sim_engine_watch = NULL;
}

/* The process is killed: nobody closes anything. */
static void crash(void)
{
	sim_fake_abandon(engine);
	engine = NULL;
	sim_disk_crash(disk);
}

/* ---- what crashes leave ---- */

#define SEED_OF(group) (77 + (group))

static void check_states(void)
{
	for (uint32_t i = 0; i < GROUPS; i++) {
		uint64_t slot = engine_applied(groups[i]);

		CHECK_U64_EQ(engine_durable(groups[i]), slot);
		CHECK_U64_EQ(ef_checksum(groups[i]), ef_work_checksum(SEED_OF(i), slot));
		CHECK_U64_EQ(reverted_to[i], slot);
	}
}

/* What is left is what some first commits made; all of them count from the last time on. */
static void check_prefix(void)
{
	uint64_t slots[GROUPS];
	size_t keep = 0;

	for (uint32_t i = 0; i < GROUPS; i++)
		slots[i] = engine_applied(groups[i]);
	while (keep < commit_count && commits[keep].slot <= slots[commits[keep].group])
		keep++;
	for (size_t i = keep; i < commit_count; i++)
		CHECK_TRUE(commits[i].slot > slots[commits[i].group]);
	commit_count = keep;
}

static uint64_t flushed[GROUPS];

static void work(void *arg)
{
	(void)arg;
	memset(flushed, 0, sizeof(flushed));
	open_engine();
	for (unsigned n = 0; n < 40; n++) {
		struct engine_group *g = groups[sim_below(GROUPS)];
		uint32_t i = g == groups[0] ? 0 : g == groups[1] ? 1 : 2;

		ef_work(g, SEED_OF(i), engine_applied(g) + 1 + sim_below(3));
		if (sim_below(8) == 0)
			CHECK_OK(engine_flush(engine));
		for (i = 0; i < GROUPS; i++)
			flushed[i] = engine_durable(groups[i]);
	}
}

static void lives(uint64_t seed, uint32_t auto_flush_ppm)
{
	start(seed);
	shut();
	sim_disk_faults(disk)->auto_flush_ppm = auto_flush_ppm;
	for (unsigned n = 0; n < 8; n++) {
		sim_fake_run(work, NULL, 1 + sim_below(8));
		engine = NULL;
		sim_disk_crash(disk);
		open_engine();
		for (uint32_t i = 0; i < GROUPS; i++)
			CHECK_TRUE(engine_applied(groups[i]) >= flushed[i]);
		check_prefix();
		check_states();
		shut();
	}
	open_engine();
	stop();
}

static void a_crash_leaves_a_prefix_of_all_commits(void)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		lives(seed, 0);
	CHECK_TRUE(sim_fault_count(SIM_FAULT_UNFLUSHED_LOST) > 10);
}

static void flushes_of_its_own_are_a_prefix_too(void)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		lives(seed, 100000);
}

static void a_flush_of_its_own_is_not_told(void)
{
	start(1);
	sim_disk_faults(disk)->auto_flush_ppm = 1000000;
	ef_commit_put(groups[0], 5, TABLE_DATA, "k", "v");
	CHECK_U64_EQ(engine_durable(groups[0]), 0);
	crash();
	open_engine();
	CHECK_U64_EQ(engine_applied(groups[0]), 5);
	CHECK_STR_EQ(ef_get(groups[0], TABLE_DATA, "k"), "v");
}

/* ---- flushes ---- */

static void commit_meanwhile(void)
{
	ef_commit_put(groups[1], 9, TABLE_DATA, "late", "1");
}

static void a_flush_takes_what_was_committed_before_it(void)
{
	start(1);
	ef_commit_put(groups[0], 3, TABLE_DATA, "k", "1");
	ef_commit_put(groups[1], 4, TABLE_DATA, "k", "2");
	sim_fake.on_sleep = commit_meanwhile;
	CHECK_OK(engine_flush(engine));
	CHECK_U64_EQ(engine_durable(groups[0]), 3);
	CHECK_U64_EQ(engine_durable(groups[1]), 4);
	CHECK_TRUE(engine_unflushed_bytes(engine) > 0);
	CHECK_OK(engine_flush(engine));
	CHECK_U64_EQ(engine_durable(groups[1]), 9);
	CHECK_U64_EQ(engine_unflushed_bytes(engine), 0);
	sim_disk_faults(disk)->fail_ppm = 1000000;
	CHECK_OK(engine_flush(engine)); /* there is nothing to do */
	ef_commit_put(groups[0], 10, TABLE_DATA, "k", "3");
	CHECK_ERR(engine_flush(engine), ERR_IO);
	CHECK_ERR(engine_flush(engine), ERR_IO);
	sim_disk_faults(disk)->fail_ppm = 0;
	CHECK_OK(engine_flush(engine));
	CHECK_U64_EQ(engine_durable(groups[0]), 10);
}

static void only_one_process_opens_it(void)
{
	const struct engine_config cfg = {.dir = "/sim/a/engine"};
	struct engine *other;

	start(1);
	CHECK_ERR(engine_rocks_open(&cfg, &other, NULL), ERR_LOCKED);
	crash();
	open_engine();
}

static void a_batch_has_a_digest(void)
{
	start(1);
	engine_begin(groups[0]);
	ef_put(groups[0], TABLE_DATA, "a", "1");
	ef_put(groups[0], TABLE_STATE, "b", "2");
	engine_commit(groups[0], 1);
	engine_begin(groups[1]); /* the same in another order */
	ef_put(groups[1], TABLE_STATE, "b", "2");
	ef_put(groups[1], TABLE_DATA, "a", "1");
	engine_commit(groups[1], 1);
	engine_begin(groups[2]); /* a delete instead */
	ef_put(groups[2], TABLE_STATE, "b", "2");
	ef_del(groups[2], TABLE_DATA, "a");
	engine_commit(groups[2], 1);
	CHECK_U64_EQ(commit_count, 3);
	CHECK_U64_EQ(commits[0].crc, commits[1].crc);
	CHECK_TRUE(commits[0].crc != commits[2].crc);
	ef_commit_put(groups[0], 2, TABLE_DATA, "a", "");
	engine_begin(groups[1]);
	ef_del(groups[1], TABLE_DATA, "a");
	engine_commit(groups[1], 2);
	CHECK_TRUE(commits[3].crc != commits[4].crc);
}

static void a_stall_is_off_the_main_thread_only(void)
{
	uint64_t before;

	start(1);
	sim_disk_faults(disk)->engine_stall_ppm = 1000000;
	sim_disk_faults(disk)->engine_stall_ns = 5000;
	before = sim_now();
	ef_commit_put(groups[0], 1, TABLE_DATA, "k", "1");
	CHECK_U64_EQ(sim_now() - before, 5000);
	sim_fake.main_thread = true;
	ef_commit_put(groups[0], 2, TABLE_DATA, "k", "2");
	CHECK_OK(engine_flush(engine));
	CHECK_U64_EQ(sim_now() - before, 5000);
	CHECK_U64_EQ(sim_fault_count(SIM_FAULT_ENGINE_STALL), 1);
}

/* ---- snapshots ---- */

static void a_snapshot_stays_what_it_was(void)
{
	struct buf chunk = BUF_INIT;
	struct engine_snapshot *s;

	start(1);
	ef_work(groups[0], 5, 50);
	CHECK_OK(engine_snapshot_new(groups[0], &s));
	ef_work(groups[0], 5, 80);
	CHECK_U64_EQ(engine_snapshot_applied(s), 50);
	CHECK_U64_EQ(ef_checksum(groups[0]), ef_work_checksum(5, 80));
	CHECK_OK(engine_install_begin(groups[1]));
	for (;;) {
		CHECK_OK(engine_snapshot_next(s, 4096, &chunk));
		if (chunk.len == 0)
			break;
		CHECK_OK(engine_install_chunk(groups[1], buf_slice(&chunk)));
	}
	CHECK_OK(engine_install_finish(groups[1], 50));
	CHECK_U64_EQ(installs, 1);
	CHECK_U64_EQ(ef_checksum(groups[1]), ef_work_checksum(5, 50));
	engine_snapshot_free(s);
	buf_release(&chunk);
}

static void an_install_is_on_disk_with_all_before_it(void)
{
	struct buf *chunks;
	size_t count;

	start(1);
	ef_work(groups[0], 5, 50);
	chunks = ef_chunks(groups[0], 4096, &count);
	ef_work(groups[2], 6, 20);
	ef_install(groups[1], chunks, count, 50);
	CHECK_U64_EQ(engine_durable(groups[1]), 50);
	CHECK_U64_EQ(engine_durable(groups[2]), 20);
	ef_work(groups[1], 5, 60); /* is lost, perhaps, but no more than that */
	crash();
	open_engine();
	CHECK_U64_EQ(ef_checksum(groups[0]), ef_work_checksum(5, 50));
	CHECK_TRUE(engine_applied(groups[1]) >= 50);
	CHECK_U64_EQ(ef_checksum(groups[1]), ef_work_checksum(5, engine_applied(groups[1])));
	CHECK_U64_EQ(ef_checksum(groups[2]), ef_work_checksum(6, 20));
	/* A half-received one leaves nothing. */
	CHECK_OK(engine_install_begin(groups[2]));
	CHECK_OK(engine_install_chunk(groups[2], buf_slice(&chunks[0])));
	crash();
	open_engine();
	CHECK_U64_EQ(ef_checksum(groups[2]), ef_work_checksum(6, 20));
	ef_chunks_free(chunks, count);
}

/* ---- damage, copies ---- */

static unsigned unreadable(struct engine_group *g)
{
	struct buf b = BUF_INIT;
	unsigned n = 0;

	for (char k = 'a'; k <= 'e'; k++) {
		int err = engine_get(g, TABLE_DATA, slice_of(&k, 1), &b);

		CHECK_TRUE(err == 0 || err == ERR_CORRUPT);
		n += err != 0;
	}
	buf_release(&b);
	return n;
}

static int scan(struct engine_group *g, unsigned *count)
{
	struct engine_iter *it =
		engine_iter_new(g, TABLE_DATA, (struct slice){0}, (struct slice){0});
	int err;

	for (*count = 0; engine_iter_valid(it); engine_iter_next(it))
		++*count;
	err = engine_iter_err(it);
	engine_iter_free(it);
	return err;
}

static void rotten(void)
{
	start(1);
	for (char k = 'a'; k <= 'e'; k++)
		ef_commit_put(groups[0], (uint64_t)(k - 'a') + 1, TABLE_DATA,
			      (const char[]){k, '\0'}, "v");
	CHECK_OK(engine_flush(engine));
	crash();
	CHECK_TRUE(sim_disk_rot_engine(disk));
	open_engine();
}

static void a_rotten_record_is_corrupt_everywhere(void)
{
	struct buf chunk = BUF_INIT;
	struct engine_snapshot *s;
	unsigned count;
	uint32_t crc;
	uint64_t slot;

	rotten();
	CHECK_U64_EQ(unreadable(groups[0]), 1);
	CHECK_ERR(scan(groups[0], &count), ERR_CORRUPT);
	CHECK_TRUE(count < 5);
	CHECK_ERR(engine_checksum(groups[0], &crc), ERR_CORRUPT);
	CHECK_OK(engine_snapshot_new(groups[0], &s));
	CHECK_ERR(engine_snapshot_next(s, 1 << 20, &chunk), ERR_CORRUPT);
	engine_snapshot_free(s);
	buf_release(&chunk);
	crash();
	CHECK_FALSE(sim_disk_engine_state(disk, 0, &slot, &crc));
	open_engine();
}

static void what_is_written_anew_can_be_read(void)
{
	unsigned count;

	rotten();
	for (char k = 'a'; k <= 'e'; k++)
		ef_commit_put(groups[0], (uint64_t)(k - 'a') + 6, TABLE_DATA,
			      (const char[]){k, '\0'}, "w");
	CHECK_U64_EQ(unreadable(groups[0]), 0);
	CHECK_OK(scan(groups[0], &count));
	CHECK_U64_EQ(count, 5);
	crash(); /* and if that is lost, it is as it was */
	open_engine();
	CHECK_U64_EQ(unreadable(groups[0]), engine_applied(groups[0]) == 5 ? 1 : 0);
	for (char k = 'a'; k <= 'e'; k++)
		ef_commit_put(groups[0], (uint64_t)(k - 'a') + 11, TABLE_DATA,
			      (const char[]){k, '\0'}, "x");
	CHECK_OK(engine_flush(engine));
	crash();
	open_engine();
	CHECK_U64_EQ(unreadable(groups[0]), 0);
}

static void a_state_is_told_copied_and_restored(void)
{
	struct sim_disk *old;
	uint32_t crc;
	uint64_t slot;

	start(1);
	ef_work(groups[0], 5, 50);
	CHECK_OK(engine_flush(engine));
	crash();
	CHECK_TRUE(sim_disk_engine_state(disk, 0, &slot, &crc));
	CHECK_U64_EQ(slot, 50);
	CHECK_U64_EQ(crc, ef_work_checksum(5, 50));
	CHECK_FALSE(sim_disk_engine_state(disk, 1, &slot, &crc));
	old = sim_disk_copy(disk);
	open_engine();
	ef_work(groups[0], 5, 90);
	ef_work(groups[1], 6, 10);
	CHECK_OK(engine_flush(engine));
	crash();
	CHECK_U64_EQ(reverted_to[0], 90);
	sim_disk_restore(disk, old);
	CHECK_U64_EQ(reverted_to[0], 50);
	CHECK_U64_EQ(reverted_to[1], 0);
	CHECK_U64_EQ(sim_disk_used(disk), sim_disk_used(old));
	sim_disk_free(old);
	open_engine();
	CHECK_U64_EQ(engine_applied(groups[0]), 50);
	CHECK_U64_EQ(ef_checksum(groups[0]), ef_work_checksum(5, 50));
	CHECK_U64_EQ(engine_applied(groups[1]), 0);
	ef_work(groups[0], 5, 60);
	CHECK_U64_EQ(ef_checksum(groups[0]), ef_work_checksum(5, 60));
}

static void a_stop_without_a_flush_may_lose_batches(void)
{
	uint64_t slots = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		start(seed);
		ef_work(groups[0], 5, 10);
		CHECK_OK(engine_flush(engine));
		ef_work(groups[0], 5, 20);
		shut();
		open_engine();
		CHECK_TRUE(engine_applied(groups[0]) >= 10);
		CHECK_U64_EQ(ef_checksum(groups[0]),
			     ef_work_checksum(5, engine_applied(groups[0])));
		slots += engine_applied(groups[0]);
		stop();
	}
	CHECK_TRUE(slots > 20 * 10 && slots < 20 * 20);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, stop, a_crash_leaves_a_prefix_of_all_commits),
	CHECK_TEST_WITH(NULL, stop, flushes_of_its_own_are_a_prefix_too),
	CHECK_TEST_WITH(NULL, stop, a_flush_of_its_own_is_not_told),
	CHECK_TEST_WITH(NULL, stop, a_flush_takes_what_was_committed_before_it),
	CHECK_TEST_WITH(NULL, stop, only_one_process_opens_it),
	CHECK_TEST_WITH(NULL, stop, a_batch_has_a_digest),
	CHECK_TEST_WITH(NULL, stop, a_stall_is_off_the_main_thread_only),
	CHECK_TEST_WITH(NULL, stop, a_snapshot_stays_what_it_was),
	CHECK_TEST_WITH(NULL, stop, an_install_is_on_disk_with_all_before_it),
	CHECK_TEST_WITH(NULL, stop, a_rotten_record_is_corrupt_everywhere),
	CHECK_TEST_WITH(NULL, stop, what_is_written_anew_can_be_read),
	CHECK_TEST_WITH(NULL, stop, a_state_is_told_copied_and_restored),
	CHECK_TEST_WITH(NULL, stop, a_stop_without_a_flush_may_lose_batches),
};

CHECK_MAIN(tests)
