/* Segments: made ahead, recycled once nothing in them is needed, emptied when little is; and what
 * happens when the disk is full. */
#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_fault.h"
#include "tests/lib/wal_fixture.h"

#define SEGMENT (32u * 1024u)

static struct wal_fault *fault;
static struct wal_fixture f;
static struct wal_stats stats;

static void setup_segments(uint32_t size, uint64_t all)
{
	logger_set_level(LOG_ERROR_);
	fault = wal_fault_new(4);
	wal_fixture_init(&f, wal_fault_device(fault), 4);
	f.cfg.segment_size = size;
	f.cfg.size_max = all;
	CHECK_OK(wal_fixture_open(&f));
}

static void setup(void)
{
	setup_segments(SEGMENT, 1 << 20);
}

static void teardown(void)
{
	wal_fixture_release(&f);
	wal_fault_free(fault);
	logger_set_level(LOG_INFO_);
}

static void entry(uint32_t group, size_t len)
{
	wal_fixture_append(&f, WAL_ENTRY, group, 1, ++f.slot[group], len);
	wal_submit(f.wal);
}

static void truncate(uint32_t group, uint64_t slot)
{
	wal_fixture_truncate(&f, group, slot);
	wal_submit(f.wal);
}

static void check_restart(void)
{
	const char *wrong;

	wal_fixture_close(&f);
	CHECK_OK(wal_fixture_open(&f));
	wrong = wal_fixture_verify(&f);
	if (wrong != NULL)
		CHECK_FAIL("%s", wrong);
}

/* ---- reuse ---- */

static void truncated_segments_are_reused(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		entry(i % 4, 1000);
		if (f.slot[i % 4] > 10)
			truncate(i % 4, f.slot[i % 4] - 10);
	}
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.bytes > 50 * SEGMENT);
	CHECK_TRUE(stats.segments <= 8);
	CHECK_U64_EQ(stats.segments, wal_fault_count(fault));
	CHECK_TRUE(stats.bytes_live < 4 * 12 * 1100);
	check_restart();
}

static void without_truncation_nothing_is_reused(void)
{
	for (unsigned i = 0; i < 300; i++)
		entry(i % 4, 1000);
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.segments > 300 * 1000 / SEGMENT);
	check_restart();
	for (size_t i = 0; i < f.count; i++)
		CHECK_TRUE(f.appends[i].seen);
}

/* Nobody may overwrite what a mark killed before that mark is on disk. */
static void a_mark_frees_only_once_it_is_on_disk(void)
{
	uint64_t segments;

	for (unsigned i = 0; i < 100; i++)
		entry(0, 1000);
	wal_stats_get(f.wal, &stats);
	segments = stats.segments;
	wal_fixture_truncate(&f, 0, f.slot[0]); /* not submitted */
	for (unsigned i = 0; i < 60; i++)
		wal_fixture_append(&f, WAL_ENTRY, 1, 1, ++f.slot[1], 1000);
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.segments >= segments + 1); /* grew, though nearly all is dead */
	wal_submit(f.wal);
	wal_stats_get(f.wal, &stats);
	segments = stats.segments;
	for (unsigned i = 0; i < 60; i++)
		entry(1, 1000);
	wal_stats_get(f.wal, &stats);
	CHECK_U64_EQ(stats.segments, segments); /* reused */
	check_restart();
}

/* A group that stands still must not keep every segment it once wrote to. */
static void records_of_a_lagging_group_are_rewritten(void)
{
	for (unsigned i = 0; i < 4000; i++) {
		if (i % 25 == 0 && i < 1000)
			entry(0, 200); /* never truncated: in 40 segments */
		entry(1, 1000);
		if (i % 10 == 0 && f.slot[1] > 5)
			truncate(1, f.slot[1] - 5);
	}
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.segments <= 12);
	CHECK_TRUE(stats.bytes_live < SEGMENT);
	for (uint64_t slot = 1; slot <= f.slot[0]; slot++) {
		struct buf b = BUF_INIT;
		uint64_t ballot;

		CHECK_OK(wal_read(f.wal, 0, slot, &ballot, &b));
		CHECK_U64_EQ(b.len, 200);
		buf_release(&b);
	}
	check_restart();
}

/* What groups keep for members that lag: half of the log (nodes: a quarter), each its share. One of
 * them is written to @hot times as often as each of the others, @batch records at a time. */
static void scattered(unsigned groups, unsigned hot, unsigned batch)
{
	const uint64_t keep = f.cfg.size_max / 2 / groups / 1048;
	uint64_t since = 0, n = 0;

	while (n < 24000) {
		uint64_t k = wal_fixture_random(&f, hot + groups - 1);
		uint32_t g = k < hot ? 0 : (uint32_t)(k - hot + 1);

		if (!wal_has_room(f.wal, 1000))
			CHECK_FAIL("%u groups, %u:1, %u a batch: no room after %u", groups, hot, batch,
				   (unsigned)n);
		wal_fixture_append(&f, WAL_ENTRY, g, 1, ++f.slot[g], 1000);
		if (++n % batch == 0)
			wal_submit(f.wal);
		since += 1048;
		if (since < f.cfg.size_max / 8)
			continue;
		for (uint32_t i = 0; i < groups; i++)
			if (f.slot[i] > keep)
				wal_fixture_truncate(&f, i, f.slot[i] - keep);
		wal_submit(f.wal);
		since = 0;
	}
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.segments * f.cfg.segment_size <= f.cfg.size_max);
	check_restart();
}

static void what_several_groups_keep_does_not_fill_the_log(void)
{
	for (unsigned groups = 1; groups <= 4; groups *= 2)
		for (unsigned hot = 3; hot <= 10; hot += 7)
			for (unsigned batch = 1; batch <= 16; batch *= 4) {
				teardown();
				setup_segments(256 << 10, 8 << 20);
				scattered(groups, hot, batch);
			}
}

/* Nobody writes any more: it is refused, and asks again. */
static void who_asks_again_gets_room_when_half_is_dead(void)
{
	unsigned asked = 0;

	teardown();
	setup_segments(256 << 10, 8 << 20);
	while (wal_has_room(f.wal, 1000)) {
		for (uint32_t g = 0; g < 2; g++)
			wal_fixture_append(&f, WAL_ENTRY, g, 1, ++f.slot[g], 1000);
		wal_submit(f.wal);
	}
	truncate(0, f.slot[0]);
	while (!wal_has_room(f.wal, 1000) && ++asked < 100)
		wal_submit(f.wal);
	CHECK_TRUE(asked > 0);
	CHECK_TRUE(asked < 100);
	check_restart();
}

static void promises_and_marks_survive_any_number_of_turns(void)
{
	wal_fixture_append(&f, WAL_PROMISE, 2, 77, 0, 40);
	truncate(3, 5);
	for (unsigned i = 0; i < 3000; i++) {
		entry(1, 1000);
		if (i % 10 == 0 && f.slot[1] > 5)
			truncate(1, f.slot[1] - 5);
	}
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.segments <= 10);
	check_restart();
	CHECK_TRUE(f.appends[0].seen && f.appends[1].seen);
}

static void with_threads(void)
{
	uint64_t last = 0;

	wal_fixture_close(&f);
	f.cfg.inline_io = false;
	CHECK_OK(wal_fixture_open(&f));
	for (unsigned i = 0; i < 4000; i++) {
		uint32_t g = i % 40 == 0 && i < 1000 ? 0 : 1 + i % 3;

		last = wal_fixture_append(&f, WAL_ENTRY, g, 1, ++f.slot[g], 700);
		if (i % 4 == 0)
			wal_submit(f.wal);
		if (i % 16 == 0) {
			wal_fixture_wait(&f, last - 1);
			if (f.slot[g] > 10 && g != 0)
				wal_fixture_truncate(&f, g, f.slot[g] - 10);
		}
	}
	wal_submit(f.wal);
	wal_fixture_wait(&f, last);
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.bytes > 50 * SEGMENT);
	CHECK_TRUE(stats.segments <= 24);
	check_restart();
}

/* ---- damage at run time ---- */

/* A read of what went bad meanwhile says so, and the segment is left alone. */
static void damage_is_seen_when_read(void)
{
	struct buf b = BUF_INIT;
	uint64_t size, ballot;
	uint8_t *disk;

	entry(0, 200);
	disk = wal_fault_bytes(fault, 0, &size);
	for (uint64_t at = 2 * 4096 + 200; disk[at] != 0; at++) /* in the payload */
		disk[at] ^= 0x40;
	CHECK_ERR(wal_read(f.wal, 0, 1, &ballot, &b), ERR_CORRUPT);
	logger_set_level(LOG_ERROR_);
	for (unsigned i = 0; i < 500; i++) {
		entry(1, 1000);
		if (i % 10 == 0 && f.slot[1] > 5)
			truncate(1, f.slot[1] - 5);
	}
	CHECK_ERR(wal_read(f.wal, 0, 1, &ballot, &b), ERR_CORRUPT);
	wal_fixture_close(&f);
	CHECK_ERR(wal_fixture_open(&f), ERR_CORRUPT);
	CHECK_CONTAINS(f.msg.text, "00000001.wal");
	buf_release(&b);
}

/* ---- a full disk ---- */

static unsigned fill_up(void)
{
	unsigned n = 0;

	while (wal_has_room(f.wal, 1000)) {
		entry(0, 1000);
		CHECK_TRUE(++n < 5000);
	}
	return n;
}

static void the_size_limit_refuses_before_the_reserve(void)
{
	unsigned n = fill_up();

	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(n > 300);
	CHECK_TRUE(stats.segments * SEGMENT <= f.cfg.size_max);
	/* What draws on the reserve still goes, within the limit. */
	for (unsigned i = 0; i < 20; i++)
		entry(2, 1000);
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.segments * SEGMENT <= f.cfg.size_max);
	CHECK_FALSE(wal_has_room(f.wal, 0));
	truncate(0, f.slot[0]);
	CHECK_TRUE(wal_has_room(f.wal, 1000));
	check_restart();
	CHECK_TRUE(wal_has_room(f.wal, 1000));
}

static void a_full_device_refuses_before_a_write_fails(void)
{
	unsigned n;

	f.cfg.size_max = UINT64_C(1) << 40;
	wal_fixture_close(&f);
	wal_fault_capacity(fault, 20 * SEGMENT);
	CHECK_OK(wal_fixture_open(&f));
	n = fill_up();
	CHECK_TRUE(n > 100);
	/* Space is left for others, and for decisions, marks and so on. */
	CHECK_TRUE(wal_fault_count(fault) <= 12);
	for (unsigned i = 0; i < 20; i++)
		entry(2, 1000);
	CHECK_FALSE(wal_has_room(f.wal, 0));
	check_restart();
	CHECK_FALSE(wal_has_room(f.wal, 0));
	truncate(0, f.slot[0]);
	entry(3, 10);
	CHECK_TRUE(wal_has_room(f.wal, 1000));
	fill_up();
	truncate(0, f.slot[0]);
	check_restart();
	CHECK_TRUE(wal_has_room(f.wal, 1000));
}

/* A segment of which two thirds live is moved, on a disk that gets full: while it is read, others are
 * not given the room that its records will need. @first: how many entries come before all that fit. */
static void move_on_a_full_disk(unsigned first)
{
	uint64_t segments;

	for (unsigned i = 0; i < 330; i++) {
		unsigned g = i % 10 < 6 ? 0 : 1;

		wal_fixture_append(&f, WAL_ENTRY, g, 1, ++f.slot[g], 1000);
		if (i % 8 == 0)
			wal_submit(f.wal);
	}
	wal_submit(f.wal);
	wal_stats_get(f.wal, &stats);
	segments = stats.segments;
	wal_fault_capacity(fault, 0);
	truncate(1, f.slot[1]);
	for (unsigned i = 0; i < first && wal_can_take(f.wal, 1000); i++)
		entry(2, 1000);
	while (wal_can_take(f.wal, 1000))
		wal_fixture_append(&f, WAL_ENTRY, 2, 1, ++f.slot[2], 1000);
	for (unsigned i = 0; i < 4; i++)
		wal_submit(f.wal);
	wal_stats_get(f.wal, &stats);
	CHECK_U64_EQ(stats.segments, segments);
	wal_fault_capacity(fault, UINT64_MAX);
	check_restart();
}

static void a_move_keeps_the_room_that_it_needs(void)
{
	for (unsigned first = 0; first < 70; first++) { /* one of them fills a segment */
		teardown();
		setup_segments(64 << 10, 16 << 20);
		move_on_a_full_disk(first);
	}
}

/* Three entries fill a segment but for the last quarter, which is too small for another: no room is
 * gained by moving them. */
static void what_lives_as_a_whole_is_not_moved(void)
{
	uint64_t before;

	teardown();
	setup_segments(256 << 10, 2 << 20);
	while (wal_has_room(f.wal, 65000))
		entry(0, 65000);
	wal_stats_get(f.wal, &stats);
	before = stats.bytes;
	for (unsigned i = 0; i < 200; i++)
		entry(1, 100);
	wal_stats_get(f.wal, &stats);
	CHECK_TRUE(stats.bytes - before <= 200 * 4096 + 64 * 1024);
	check_restart();
}

/* Somebody else fills the disk: what is written ahead is enough to free space, or to wait. */
static void space_that_is_gone_may_come_back(void)
{
	for (unsigned i = 0; i < 30; i++)
		entry(0, 1000);
	wal_fault_capacity(fault, 0);
	CHECK_FALSE(wal_has_room(f.wal, 1000));
	for (unsigned i = 0; i < 10; i++)
		entry(1, 1000);
	wal_fault_capacity(fault, UINT64_MAX);
	CHECK_TRUE(wal_has_room(f.wal, 1000));
	for (unsigned i = 0; i < 200; i++)
		entry(0, 1000);
	check_restart();
}

/* A quota, or somebody who took all the space at once: the device says that there is room. */
static void a_segment_that_cannot_be_made_is_heeded(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 30; i++)
		entry(0, 1000);
	wal_fault_no_create(fault, true);
	while (wal_can_take(f.wal, 1000) && ++n < 500)
		entry(0, 1000);
	CHECK_TRUE(n < 500);
	CHECK_FALSE(wal_has_room(f.wal, 1000));
	for (unsigned i = 0; i < 5; i++)
		entry(1, 1000); /* what is not asked for */
	wal_fault_no_create(fault, false);
	(void)wal_has_room(f.wal, 1000); /* looks again, though nothing is written */
	CHECK_TRUE(wal_can_take(f.wal, 1000));
	CHECK_TRUE(wal_has_room(f.wal, 1000));
	for (unsigned i = 0; i < 200; i++)
		entry(0, 1000);
	check_restart();
}

/* On a full disk the log turns in the segments it has. */
static void a_full_disk_does_not_stop_a_log_that_is_truncated(void)
{
	for (unsigned i = 0; i < 100; i++)
		entry(0, 1000);
	truncate(0, f.slot[0]);
	wal_fault_capacity(fault, 0);
	for (unsigned i = 0; i < 1000; i++) {
		entry(0, 1000);
		if (i % 10 == 0)
			truncate(0, f.slot[0]);
	}
	check_restart();
}

/* The spare could not be created, though there seemed to be space. Free segments will do. */
static void a_spare_that_failed_is_not_insisted_on(void)
{
	for (unsigned i = 0; i < 60; i++)
		entry(0, 1000);
	wal_fault_no_create(fault, true);
	logger_set_level(LOG_ERROR_ + 1);
	for (unsigned i = 0; i < 16; i++)
		entry(0, 1000);
	truncate(0, f.slot[0]);
	for (unsigned i = 0; i < 1000; i++) {
		entry(0, 1000);
		if (i % 10 == 0)
			truncate(0, f.slot[0]);
	}
	wal_fault_no_create(fault, false); /* now it goes, and under the same number */
	for (unsigned i = 0; i < 200; i++)
		entry(0, 1000);
	check_restart();
}

/* One batch over several segments beyond the limits: the first cannot be created, so neither are
 * those behind it, and wherever the power is cut, no file is missing. */
static void files_are_created_in_order(void)
{
	for (uint64_t after = 1; after <= 12; after++) {
		struct wal_fault *disk = wal_fault_new(after);
		struct wal_fixture g;
		uint64_t steps;

		wal_fixture_init(&g, wal_fault_device(disk), 1);
		CHECK_OK(wal_fixture_open(&g));
		wal_fixture_append(&g, WAL_ENTRY, 1, 1, 1, 100);
		wal_submit(g.wal);
		for (unsigned i = 2; i < 60; i++)
			wal_fixture_append(&g, WAL_ENTRY, 1, 1, i, 1900);
		logger_set_level(LOG_ERROR_ + 1);
		steps = wal_fault_steps(disk);
		wal_fault_fail_at(disk, steps + 1);
		wal_fault_cut_at(disk, steps + 1 + after);
		wal_submit(g.wal);
		CHECK_TRUE(wal_fault_dead(disk));
		CHECK_TRUE(wal_fault_was_create(disk, steps + 1));
		wal_fixture_close(&g);
		wal_fault_reboot(disk);
		if (wal_fixture_open(&g) != 0)
			CHECK_FAIL("power cut %u steps later: %s", (unsigned)after, g.msg.text);
		wal_fixture_release(&g);
		wal_fault_free(disk);
	}
}

static void a_full_disk_at_the_first_start_is_told(void)
{
	struct wal_fault *full = wal_fault_new(1);
	struct wal_fixture g;

	wal_fault_capacity(full, SEGMENT - 1);
	wal_fixture_init(&g, wal_fault_device(full), 1);
	CHECK_ERR(wal_fixture_open(&g), ERR_NOSPACE);
	CHECK_CONTAINS(g.msg.text, "create log segment 00000001.wal");
	wal_fault_capacity(full, UINT64_MAX);
	CHECK_OK(wal_fixture_open(&g));
	wal_fixture_release(&g);
	wal_fault_free(full);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, truncated_segments_are_reused),
	CHECK_TEST_WITH(setup, teardown, without_truncation_nothing_is_reused),
	CHECK_TEST_WITH(setup, teardown, a_mark_frees_only_once_it_is_on_disk),
	CHECK_TEST_WITH(setup, teardown, records_of_a_lagging_group_are_rewritten),
	CHECK_TEST_WITH(setup, teardown, what_several_groups_keep_does_not_fill_the_log),
	CHECK_TEST_WITH(setup, teardown, who_asks_again_gets_room_when_half_is_dead),
	CHECK_TEST_WITH(setup, teardown, promises_and_marks_survive_any_number_of_turns),
	CHECK_TEST_WITH(setup, teardown, with_threads),
	CHECK_TEST_WITH(setup, teardown, damage_is_seen_when_read),
	CHECK_TEST_WITH(setup, teardown, the_size_limit_refuses_before_the_reserve),
	CHECK_TEST_WITH(setup, teardown, a_full_device_refuses_before_a_write_fails),
	CHECK_TEST_WITH(setup, teardown, a_move_keeps_the_room_that_it_needs),
	CHECK_TEST_WITH(setup, teardown, what_lives_as_a_whole_is_not_moved),
	CHECK_TEST_WITH(setup, teardown, space_that_is_gone_may_come_back),
	CHECK_TEST_WITH(setup, teardown, a_segment_that_cannot_be_made_is_heeded),
	CHECK_TEST_WITH(setup, teardown, a_full_disk_does_not_stop_a_log_that_is_truncated),
	CHECK_TEST_WITH(setup, teardown, a_spare_that_failed_is_not_insisted_on),
	CHECK_TEST_WITH(setup, teardown, files_are_created_in_order),
	CHECK_TEST_WITH(setup, teardown, a_full_disk_at_the_first_start_is_told),
};

CHECK_MAIN(tests)
