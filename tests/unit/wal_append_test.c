/* Append, submit, read back, start again: on memory and on a real directory, with and without the
 * writer thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_fault.h"
#include "tests/lib/wal_fixture.h"
#include "wal/wal.h"
#include "wal/wal_device.h"

static struct wal_fault *fault;
static char dir[64];
static struct wal_device *device;
static struct wal_fixture f;

static void setup_memory(void)
{
	fault = wal_fault_new(1);
	device = wal_fault_device(fault);
	wal_fixture_init(&f, device, 1);
}

static void setup_directory(void)
{
	struct msg m = {{0}};

	(void)snprintf(dir, sizeof(dir), "/tmp/wal_append_test.XXXXXX");
	CHECK_NOT_NULL(mkdtemp(dir));
	CHECK_OK(wal_device_dir(dir, &device, &m));
	wal_fixture_init(&f, device, 2);
}

static void teardown(void)
{
	char name[128];

	if (fault != NULL)
		wal_fault_hold(fault, false);
	wal_fixture_release(&f);
	if (fault == NULL) {
		wal_device_free(device);
		for (unsigned i = 1; i < 100; i++) {
			(void)snprintf(name, sizeof(name), "%s/%08u.wal", dir, i);
			(void)unlink(name);
		}
		CHECK_INT_EQ(rmdir(dir), 0);
	}
	wal_fault_free(fault);
	fault = NULL;
	device = NULL;
}

static void fill(unsigned entries)
{
	uint64_t last = 0;

	for (unsigned i = 1; i <= entries; i++) {
		last = wal_fixture_append(&f, WAL_ENTRY, i % 4, 7, 1 + i / 4, i % 300);
		if (i % 10 == 0)
			wal_submit(f.wal);
	}
	wal_submit(f.wal);
	wal_fixture_wait(&f, last);
}

static void check_again(void)
{
	const char *wrong;

	CHECK_OK(wal_fixture_open(&f));
	wrong = wal_fixture_verify(&f);
	if (wrong != NULL)
		CHECK_FAIL("%s", wrong);
}

static void new_log_is_empty(void)
{
	struct wal_stats s;

	CHECK_OK(wal_fixture_open(&f));
	wal_stats_get(f.wal, &s);
	CHECK_U64_EQ(s.segments, 1);
	CHECK_U64_EQ(s.records, 0);
	CHECK_U64_EQ(wal_synced(f.wal), 0);
	CHECK_FALSE(wal_busy(f.wal));
	wal_fixture_close(&f);
	check_again();
	CHECK_U64_EQ(f.count, 0);
}

static void appended_is_there_after_restart(void)
{
	CHECK_OK(wal_fixture_open(&f));
	fill(400);
	wal_fixture_close(&f);
	check_again();
	for (size_t i = 0; i < f.count; i++)
		CHECK_TRUE(f.appends[i].synced && f.appends[i].seen);
	fill(100);
	wal_fixture_close(&f);
	check_again();
}

static void with_the_writer_thread(void)
{
	f.cfg.inline_io = false;
	appended_is_there_after_restart();
}

static void entries_are_read_before_and_after_sync(void)
{
	struct buf b = BUF_INIT;
	uint64_t ballot = 0;

	CHECK_OK(wal_fixture_open(&f));
	wal_fixture_append(&f, WAL_ENTRY, 3, 9, 1000, 77);
	CHECK_OK(wal_read(f.wal, 3, 1000, &ballot, &b));
	CHECK_U64_EQ(b.len, 77);
	wal_submit(f.wal);
	CHECK_OK(wal_read(f.wal, 3, 1000, &ballot, &b));
	CHECK_U64_EQ(ballot, 9);
	CHECK_U64_EQ(b.len, 77);
	CHECK_ERR(wal_read(f.wal, 3, 1001, &ballot, &b), ERR_NOT_FOUND);
	CHECK_ERR(wal_read(f.wal, 2, 1000, &ballot, &b), ERR_NOT_FOUND);
	buf_release(&b);
}

static void highest_ballot_of_a_slot_counts(void)
{
	struct buf b = BUF_INIT;
	uint64_t ballot = 0;

	CHECK_OK(wal_fixture_open(&f));
	wal_fixture_append(&f, WAL_ENTRY, 1, 5, 10, 20);
	wal_fixture_append(&f, WAL_ENTRY, 1, 8, 10, 30);
	wal_fixture_append(&f, WAL_ENTRY, 1, 6, 10, 40);
	wal_submit(f.wal);
	CHECK_OK(wal_read(f.wal, 1, 10, &ballot, &b));
	CHECK_U64_EQ(ballot, 8);
	CHECK_U64_EQ(b.len, 30);
	wal_fixture_close(&f);
	check_again();
	CHECK_FALSE(f.appends[0].seen);
	CHECK_TRUE(f.appends[1].seen);
	CHECK_FALSE(f.appends[2].seen);
	CHECK_OK(wal_read(f.wal, 1, 10, &ballot, &b));
	CHECK_U64_EQ(ballot, 8);
	buf_release(&b);
}

static void several_submits_are_one_sync(void)
{
	struct wal_stats s;
	uint64_t a, b;

	CHECK_OK(wal_fixture_open(&f));
	a = wal_fixture_append(&f, WAL_ENTRY, 0, 1, 1, 10);
	for (unsigned i = 2; i <= 20; i++)
		b = wal_fixture_append(&f, WAL_ENTRY, i % 4, 1, i, 10);
	CHECK_U64_EQ(wal_synced(f.wal), 0);
	wal_submit(f.wal);
	wal_stats_get(f.wal, &s);
	CHECK_U64_EQ(a, b);
	CHECK_U64_EQ(wal_synced(f.wal), b);
	CHECK_U64_EQ(s.syncs, 1);
	CHECK_U64_EQ(s.records, 21); /* and the segment's START */
	wal_submit(f.wal);	     /* nothing */
	wal_stats_get(f.wal, &s);
	CHECK_U64_EQ(s.syncs, 1);
	CHECK_TRUE(wal_fixture_append(&f, WAL_ENTRY, 0, 1, 30, 10) > b);
}

/* While one batch is on its way, whatever all groups append and submit becomes the next. */
static void what_comes_during_a_sync_is_one_batch(void)
{
	struct buf b = BUF_INIT;
	struct wal_stats s;
	uint64_t first, batch = 0, ballot;

	f.cfg.inline_io = false;
	f.cfg.segment_size = 1 << 20;
	f.cfg.size_max = 1 << 24;
	CHECK_OK(wal_fixture_open(&f));
	first = wal_fixture_append(&f, WAL_ENTRY, 0, 1, 1, 10);
	wal_submit(f.wal);
	wal_fixture_wait(&f, first);
	CHECK_TRUE(f.appends[0].synced);
	wal_fault_hold(fault, true);
	first = wal_fixture_append(&f, WAL_ENTRY, 0, 1, 2, 10);
	wal_submit(f.wal);
	wal_fault_wait_held(fault);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t n = wal_fixture_append(&f, WAL_ENTRY, i % 4, 1, 3 + i / 4, 10);

		CHECK_TRUE(i == 0 || n == batch);
		batch = n;
		wal_submit(f.wal);
	}
	CHECK_TRUE(batch > first);
	CHECK_TRUE(wal_synced(f.wal) < first);
	CHECK_TRUE(wal_busy(f.wal));
	wal_stats_get(f.wal, &s);
	CHECK_U64_EQ(s.syncs, 1);
	CHECK_TRUE(s.oldest_write_ns > 0);
	CHECK_OK(wal_read(f.wal, 0, 2, &ballot, &b)); /* being written */
	CHECK_OK(wal_read(f.wal, 3, 3, &ballot, &b)); /* waiting */
	wal_fault_hold(fault, false);
	wal_fixture_wait(&f, batch);
	wal_stats_get(f.wal, &s);
	CHECK_U64_EQ(s.syncs, 3);
	CHECK_U64_EQ(s.records, 1 + 42);
	buf_release(&b);
	wal_fixture_close(&f);
	check_again();
}

static void a_record_may_be_as_long_as_a_segment_takes(void)
{
	CHECK_OK(wal_fixture_open(&f));
	wal_fixture_append(&f, WAL_ENTRY, 0, 1, 1, 10);
	wal_fixture_append(&f, WAL_ENTRY, 0, 1, 2, 18000);
	wal_fixture_append(&f, WAL_ENTRY, 0, 1, 3, 18000);
	wal_submit(f.wal);
	wal_fixture_close(&f);
	check_again();
	CHECK_TRUE(f.appends[2].seen);
}

static void a_cut_below_the_mark_is_not_there(void)
{
	struct buf b = BUF_INIT;
	uint64_t ballot;

	CHECK_OK(wal_fixture_open(&f));
	fill(80);
	wal_fixture_truncate(&f, 1, 10);
	CHECK_ERR(wal_read(f.wal, 1, 9, &ballot, &b), ERR_NOT_FOUND);
	CHECK_OK(wal_read(f.wal, 1, 10, &ballot, &b));
	CHECK_OK(wal_read(f.wal, 2, 9, &ballot, &b));
	wal_submit(f.wal);
	wal_fixture_close(&f);
	check_again();
	CHECK_ERR(wal_read(f.wal, 1, 9, &ballot, &b), ERR_NOT_FOUND);
	CHECK_OK(wal_read(f.wal, 1, 10, &ballot, &b));
	buf_release(&b);
}

static void segment_size_of_the_files_stays(void)
{
	CHECK_OK(wal_fixture_open(&f));
	fill(50);
	wal_fixture_close(&f);
	f.cfg.segment_size = 64 * 1024;
	check_again();
	fill(400);
	wal_fixture_close(&f);
	check_again();
}

static void absurd_sizes_are_refused(void)
{
	f.cfg.segment_size = 4096;
	CHECK_ERR(wal_fixture_open(&f), ERR_INVAL);
	f.cfg.segment_size = 32 * 1024 + 1;
	CHECK_ERR(wal_fixture_open(&f), ERR_INVAL);
	CHECK_CONTAINS(f.msg.text, "32769");
}

static int give_up(void *ctx, const struct wal_record *r)
{
	(void)ctx;
	return r->type == WAL_ENTRY ? ERR_CANCELED : 0;
}

static void replay_may_be_given_up(void)
{
	struct wal *w;

	CHECK_OK(wal_fixture_open(&f));
	fill(10);
	wal_fixture_close(&f);
	CHECK_ERR(wal_open(&f.cfg, give_up, NULL, &w, &f.msg), ERR_CANCELED);
	check_again();
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup_memory, teardown, new_log_is_empty),
	CHECK_TEST_WITH(setup_directory, teardown, new_log_is_empty),
	CHECK_TEST_WITH(setup_memory, teardown, appended_is_there_after_restart),
	CHECK_TEST_WITH(setup_directory, teardown, appended_is_there_after_restart),
	CHECK_TEST_WITH(setup_memory, teardown, with_the_writer_thread),
	CHECK_TEST_WITH(setup_directory, teardown, with_the_writer_thread),
	CHECK_TEST_WITH(setup_memory, teardown, entries_are_read_before_and_after_sync),
	CHECK_TEST_WITH(setup_directory, teardown, entries_are_read_before_and_after_sync),
	CHECK_TEST_WITH(setup_memory, teardown, highest_ballot_of_a_slot_counts),
	CHECK_TEST_WITH(setup_memory, teardown, several_submits_are_one_sync),
	CHECK_TEST_WITH(setup_memory, teardown, what_comes_during_a_sync_is_one_batch),
	CHECK_TEST_WITH(setup_memory, teardown, a_record_may_be_as_long_as_a_segment_takes),
	CHECK_TEST_WITH(setup_memory, teardown, a_cut_below_the_mark_is_not_there),
	CHECK_TEST_WITH(setup_directory, teardown, a_cut_below_the_mark_is_not_there),
	CHECK_TEST_WITH(setup_memory, teardown, segment_size_of_the_files_stays),
	CHECK_TEST_WITH(setup_memory, teardown, absurd_sizes_are_refused),
	CHECK_TEST_WITH(setup_memory, teardown, replay_may_be_given_up),
};

CHECK_MAIN(tests)
