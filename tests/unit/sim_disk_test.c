/* The simulated disk under the real log, and under the data directory: crashes at any write lose
 * nothing that was acknowledged; every damage is seen. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/datadir.h"
#include "tests/lib/check.h"
#include "tests/lib/sim_fake.h"
#include "tests/lib/wal_fixture.h"
#include "tests/sim/sim_disk.h"

#define LOG "/sim/a/log"

static struct sim_disk *disk;
static struct wal_device *device;
static struct wal_fixture f;
static struct datadir dir;

/* ---- a machine with a log ---- */

static struct sim_disk_faults quick(void)
{
	return (struct sim_disk_faults){
		.sync_min_ns = 1000, .sync_max_ns = 2000, .torn_ppm = 700000};
}

static void start(uint64_t seed)
{
	sim_fake_reset(seed);
	disk = sim_disk_new("a");
	*sim_disk_faults(disk) = quick();
	sim_fake.main_thread = true;
	CHECK_OK(datadir_open("/sim/a", 1, 7, 8, &dir, NULL));
	sim_fake.main_thread = false;
	CHECK_INT_EQ(mkdir(LOG, 0700), 0);
	CHECK_OK(wal_device_dir(LOG, &device, NULL));
	wal_fixture_init(&f, device, seed);
}

static void stop(void)
{
	if (disk == NULL)
		return;
	wal_fixture_release(&f);
	wal_device_free(device);
	datadir_close(&dir);
	sim_disk_free(disk);
	disk = NULL;
	device = NULL;
}

static void setup(void)
{
	logger_set_level(LOG_ERROR_); /* tails are torn, and damage is found, all the time */
}

static void teardown(void)
{
	stop();
	logger_set_level(LOG_INFO_);
}

static void crash(void)
{
	f.wal = NULL; /* what the process had is out of reach */
	sim_disk_crash(disk);
}

static void live(void *arg)
{
	const uint64_t *steps = arg;
	const char *wrong;

	if (wal_fixture_open(&f) != 0)
		CHECK_FAIL("%s", f.msg.text);
	wrong = wal_fixture_verify(&f);
	if (wrong != NULL)
		CHECK_FAIL("%s", wrong);
	for (uint64_t i = 0; i < *steps; i++)
		wal_fixture_step(&f);
}

/* One life of the process, with @steps operations, killed in its @kill_at-th write. */
static bool life(uint64_t steps, uint64_t kill_at)
{
	bool killed = sim_fake_run(live, &steps, kill_at);

	if (!killed)
		wal_fixture_close(&f);
	crash();
	return killed;
}

/* ---- crashes ---- */

static void a_crash_at_every_write_loses_nothing_acknowledged(void)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		uint64_t at = 1;
		bool killed = true;

		for (; killed; at++) {
			start(seed);
			killed = life(120, at);
			life(20, 0);
			life(0, 0);
			stop();
		}
		CHECK_TRUE(at > 40);
	}
}

static void one_crash_after_another_loses_nothing_acknowledged(void)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		start(1000 + seed);
		for (unsigned i = 0; i < 30; i++)
			life(60, 1 + sim_below(25));
		life(0, 0);
		CHECK_TRUE(sim_fault_count(SIM_FAULT_TORN_WRITE) > 3);
		stop();
	}
}

/* ---- writes under way together ---- */

static struct wal_file *file;
static uint8_t *page; /* aligned */

#define PAGE 8192u

static void second_write(void)
{
	(void)file->device->ops->pwrite_sync(file, page + PAGE, PAGE, PAGE, NULL);
}

static void two_writes(void *arg)
{
	(void)arg;
	sim_fake.on_sleep = second_write;
	(void)file->device->ops->pwrite_sync(file, page, PAGE, 0, NULL);
}

/* Bytes of a half of the file that were written: they come in runs from the start of sectors. */
static unsigned written(const uint8_t *got, uint8_t value)
{
	unsigned n = 0;

	for (unsigned at = 0; at < PAGE; at += 512) {
		unsigned i = 0;

		for (; i < 512 && got[at + i] == value; i++)
			n++;
		for (; i < 512; i++)
			CHECK_INT_EQ(got[at + i], 0);
	}
	return n;
}

static void writes_under_way_are_torn_each_by_itself(void)
{
	unsigned seen[3][3] = {0}; /* none, part, all */
	uint8_t *got = aligned_alloc(4096, 2 * PAGE);

	page = aligned_alloc(4096, 2 * PAGE);
	memset(page, 1, PAGE);
	memset(page + PAGE, 2, PAGE);
	for (uint64_t seed = 1; seed <= 300; seed++) {
		unsigned a, b;

		start(seed);
		CHECK_OK(device->ops->create(device, "f", 2 * PAGE, &file, NULL));
		CHECK_TRUE(sim_fake_run(two_writes, NULL, 2));
		sim_disk_crash(disk);
		CHECK_OK(device->ops->pread(file, got, 2 * PAGE, 0, NULL));
		device->ops->close(file);
		a = written(got, 1);
		b = written(got + PAGE, 2);
		seen[a == 0 ? 0 : a == PAGE ? 2 : 1][b == 0 ? 0 : b == PAGE ? 2 : 1]++;
		stop();
	}
	for (unsigned i = 0; i < 9; i++)
		CHECK_TRUE(seen[i / 3][i % 3] > 0);
	free(page);
	free(got);
}

static void create_one(void *arg)
{
	(void)arg;
	(void)device->ops->create(device, "f", PAGE, &file, NULL);
}

static void a_create_is_all_or_nothing(void)
{
	unsigned there = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		start(seed);
		CHECK_TRUE(sim_fake_run(create_one, NULL, 1));
		CHECK_U64_EQ(sim_disk_used(disk), 0);
		sim_disk_crash(disk);
		if (sim_disk_used(disk) != 0) {
			CHECK_U64_EQ(sim_disk_used(disk), PAGE);
			there++;
		}
		stop();
	}
	CHECK_TRUE(there > 0 && there < 40);
}

static void a_full_disk_refuses_files(void)
{
	start(1);
	sim_disk_faults(disk)->capacity = 3 * PAGE;
	CHECK_U64_EQ(device->ops->free_bytes(device), 3 * PAGE);
	CHECK_ERR(device->ops->create(device, "f", 4 * PAGE, &file, NULL), ERR_NOSPACE);
	CHECK_OK(device->ops->create(device, "f", 2 * PAGE, &file, NULL));
	device->ops->close(file);
	CHECK_U64_EQ(device->ops->free_bytes(device), PAGE);
	CHECK_ERR(device->ops->create(device, "g", 2 * PAGE, &file, NULL), ERR_NOSPACE);
}

static void writes_fail_and_are_slow(void)
{
	uint64_t before;

	start(1);
	page = aligned_alloc(4096, PAGE);
	memset(page, 1, PAGE);
	CHECK_OK(device->ops->create(device, "f", PAGE, &file, NULL));
	before = sim_now();
	CHECK_OK(device->ops->pwrite_sync(file, page, PAGE, 0, NULL));
	CHECK_TRUE(sim_now() - before >= 1000 && sim_now() - before <= 2000);
	sim_disk_faults(disk)->slow_until_ns = sim_now() + 1;
	sim_disk_faults(disk)->slow_ns = 50000;
	before = sim_now();
	CHECK_OK(device->ops->pwrite_sync(file, page, PAGE, 0, NULL));
	CHECK_TRUE(sim_now() - before >= 51000);
	before = sim_now();
	CHECK_OK(device->ops->pwrite_sync(file, page, PAGE, 0, NULL));
	CHECK_TRUE(sim_now() - before <= 2000);
	sim_disk_faults(disk)->slow_sync_ppm = 1000000;
	sim_disk_faults(disk)->slow_sync_ns = 90000;
	before = sim_now();
	CHECK_OK(device->ops->pwrite_sync(file, page, PAGE, 0, NULL));
	CHECK_TRUE(sim_now() - before >= 91000);
	sim_disk_faults(disk)->fail_ppm = 1000000;
	CHECK_ERR(device->ops->pwrite_sync(file, page, PAGE, 0, NULL), ERR_IO);
	device->ops->close(file);
	CHECK_ERR(device->ops->create(device, "g", PAGE, &file, NULL), ERR_IO);
	CHECK_U64_EQ(sim_fault_count(SIM_FAULT_SYNC_FAIL), 2);
	CHECK_U64_EQ(sim_fault_count(SIM_FAULT_SLOW_SYNC), 3);
	free(page);
}

/* ---- damage ---- */

static void fill(void *arg)
{
	uint64_t steps = 250;

	(void)arg;
	live(&steps);
	wal_submit(f.wal);
	wal_fixture_note_synced(&f);
}

/* A log that was used, and that no process has open; by a crash or a clean stop. */
static void filled(uint64_t seed, bool clean)
{
	start(seed);
	CHECK_FALSE(sim_fake_run(fill, NULL, 0));
	if (clean)
		wal_fixture_close(&f);
	crash();
}

/* Opens the damaged log. True: it was refused. */
static bool refused(const char *what, uint64_t seed, bool may_lose)
{
	int err = wal_fixture_open(&f);
	const char *wrong = err == 0 ? wal_fixture_verify(&f) : NULL;

	if (err != 0)
		CHECK_ERR(err, ERR_CORRUPT);
	if (wrong != NULL && !may_lose)
		CHECK_FAIL("seed %" PRIu64 ": %s: %s", seed, what, wrong);
	return err != 0;
}

static void rot_is_seen_or_not_needed(void)
{
	unsigned seen = 0;

	for (uint64_t seed = 1; seed <= 150; seed++) {
		filled(seed, seed % 2 == 0);
		CHECK_TRUE(sim_disk_rot_log(disk));
		CHECK_U64_EQ(sim_fault_count(SIM_FAULT_LOG_ROT), 1);
		seen += refused("rot", seed, false);
		stop();
	}
	CHECK_TRUE(seen > 100);
}

static void a_misdirected_write_is_seen_or_not_needed(void)
{
	unsigned seen = 0, done = 0;

	for (uint64_t seed = 1; seed <= 150; seed++) {
		filled(seed, seed % 2 == 0);
		if (sim_disk_misdirect(disk)) {
			done++;
			seen += refused("misdirected", seed, false);
		}
		stop();
	}
	CHECK_TRUE(done > 100 && seen > 70);
}

/* The last write is what the log cannot miss by itself. But it must not invent anything, and after a
 * clean stop, whose last write says only that all before it was synced, nothing is lost. */
static void a_lost_write_is_the_last_one(void)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		filled(seed, seed % 2 == 0);
		CHECK_TRUE(sim_disk_lose_write(disk));
		(void)refused("lost", seed, seed % 2 != 0);
		CHECK_U64_EQ(f.wrong, 0);
		stop();
	}
}

static void there_may_be_nothing_to_damage(void)
{
	start(1);
	CHECK_FALSE(sim_disk_rot_log(disk));
	CHECK_FALSE(sim_disk_rot_engine(disk));
	CHECK_FALSE(sim_disk_lose_write(disk));
	CHECK_FALSE(sim_disk_misdirect(disk));
}

static void a_disk_is_rolled_back(void)
{
	struct sim_disk *old;
	struct buf b = BUF_INIT;
	size_t count;

	start(5);
	datadir_close(&dir);
	life(60, 0);
	CHECK_OK(datadir_open("/sim/a", 1, 0, 0, &dir, NULL));
	CHECK_OK(datadir_write(&dir, "peers", slice_str("old"), NULL));
	datadir_close(&dir);
	old = sim_disk_copy(disk);
	count = f.count;
	life(60, 0);
	CHECK_OK(datadir_open("/sim/a", 1, 0, 0, &dir, NULL));
	CHECK_OK(datadir_write(&dir, "peers", slice_str("new"), NULL));
	CHECK_OK(datadir_write(&dir, "other", slice_str("new"), NULL));
	datadir_close(&dir);
	sim_disk_restore(disk, old);
	sim_disk_free(old);
	CHECK_OK(wal_fixture_open(&f));
	for (size_t i = count; i < f.count; i++)
		CHECK_FALSE(f.appends[i].seen && f.appends[i].r.type != WAL_MARK);
	CHECK_OK(datadir_open("/sim/a", 1, 0, 0, &dir, NULL));
	CHECK_OK(datadir_read(&dir, "peers", &b, NULL));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("old"));
	CHECK_ERR(datadir_read(&dir, "other", &b, NULL), ERR_NOT_FOUND);
	buf_release(&b);
}

/* ---- the data directory ---- */

static void a_data_directory_is_locked_until_a_crash(void)
{
	struct datadir other;

	start(1);
	CHECK_TRUE(dir.created);
	CHECK_ERR(datadir_open("/sim/a", 1, 0, 0, &other, NULL), ERR_LOCKED);
	sim_disk_crash(disk);
	CHECK_OK(datadir_open("/sim/a", 1, 0, 0, &other, NULL));
	datadir_close(&other);
	CHECK_OK(datadir_open("/sim/a", 0, 0, 0, &other, NULL));
	CHECK_INT_EQ(other.node, 1);
	CHECK_U64_EQ(other.birth, 7);
	CHECK_U64_EQ(other.created_ns, 8);
	CHECK_FALSE(other.created);
	datadir_close(&other);
	CHECK_ERR(datadir_open("/sim/a", 2, 0, 0, &other, NULL), ERR_IDENTITY);
	CHECK_ERR(datadir_open("/sim/b", 2, 0, 0, &other, NULL), ERR_IO);
}

static void directories_are_made_once(void)
{
	char path[] = "/tmp/sim_disk_test.XXXXXX", inside[64];

	start(1);
	CHECK_FALSE(datadir_has(&dir, "log")); /* it is empty */
	CHECK_OK(device->ops->create(device, "f", PAGE, &file, NULL));
	device->ops->close(file);
	CHECK_TRUE(datadir_has(&dir, "log"));
	CHECK_FALSE(datadir_has(&dir, "engine"));
	CHECK_INT_EQ(mkdir(LOG, 0700), -1);
	CHECK_INT_EQ(errno, EEXIST);
	CHECK_INT_EQ(mkdir("/sim/b/log", 0700), -1);
	CHECK_INT_EQ(errno, ENOENT);
	CHECK_NOT_NULL(mkdtemp(path));
	(void)snprintf(inside, sizeof(inside), "%s/d", path);
	CHECK_INT_EQ(mkdir(inside, 0700), 0); /* the real one */
	CHECK_INT_EQ(rmdir(inside), 0);
	CHECK_INT_EQ(rmdir(path), 0);
}

static void write_peers(void *text)
{
	(void)datadir_write(&dir, "peers", slice_str(text), NULL);
}

static void a_small_file_is_old_or_new(void)
{
	struct buf b = BUF_INIT;
	unsigned new = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		start(seed);
		CHECK_FALSE(sim_fake_run(write_peers, "the old one", 0));
		CHECK_TRUE(sim_fake_run(write_peers, "another", 1));
		CHECK_OK(datadir_read(&dir, "peers", &b, NULL));
		CHECK_SLICE_EQ(buf_slice(&b), slice_str("the old one"));
		sim_disk_crash(disk);
		CHECK_OK(datadir_read(&dir, "peers", &b, NULL));
		if (slice_eq(buf_slice(&b), slice_str("another")))
			new++;
		else
			CHECK_SLICE_EQ(buf_slice(&b), slice_str("the old one"));
		CHECK_TRUE(datadir_has(&dir, "peers"));
		stop();
	}
	buf_release(&b);
	CHECK_TRUE(new > 0 && new < 40);
}

/* ---- the same again ---- */

static uint64_t hash_of_a_run(uint64_t seed)
{
	uint64_t hash;

	start(seed);
	for (unsigned i = 0; i < 10; i++)
		life(60, 1 + sim_below(25));
	(void)sim_disk_misdirect(disk);
	(void)sim_disk_rot_log(disk);
	sim_hash(&(uint64_t){sim_random()}, 8);
	hash = sim_trace_hash();
	stop();
	return hash;
}

static void a_seed_gives_the_same_run(void)
{
	CHECK_U64_EQ(hash_of_a_run(1), hash_of_a_run(1));
	CHECK_TRUE(hash_of_a_run(1) != hash_of_a_run(2));
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, a_crash_at_every_write_loses_nothing_acknowledged),
	CHECK_TEST_WITH(setup, teardown, one_crash_after_another_loses_nothing_acknowledged),
	CHECK_TEST_WITH(setup, teardown, writes_under_way_are_torn_each_by_itself),
	CHECK_TEST_WITH(setup, teardown, a_create_is_all_or_nothing),
	CHECK_TEST_WITH(setup, teardown, a_full_disk_refuses_files),
	CHECK_TEST_WITH(setup, teardown, writes_fail_and_are_slow),
	CHECK_TEST_WITH(setup, teardown, rot_is_seen_or_not_needed),
	CHECK_TEST_WITH(setup, teardown, a_misdirected_write_is_seen_or_not_needed),
	CHECK_TEST_WITH(setup, teardown, a_lost_write_is_the_last_one),
	CHECK_TEST_WITH(setup, teardown, there_may_be_nothing_to_damage),
	CHECK_TEST_WITH(setup, teardown, a_disk_is_rolled_back),
	CHECK_TEST_WITH(setup, teardown, a_data_directory_is_locked_until_a_crash),
	CHECK_TEST_WITH(setup, teardown, directories_are_made_once),
	CHECK_TEST_WITH(setup, teardown, a_small_file_is_old_or_new),
	CHECK_TEST_WITH(setup, teardown, a_seed_gives_the_same_run),
};

CHECK_MAIN(tests)
