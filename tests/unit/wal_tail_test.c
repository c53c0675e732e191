/* The end of the log after a power cut: what was synced is there, what was torn is cut, and the log
 * goes on behind it. */
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_disk.h"

#define BEFORE 4u /* slots in the batch that was synced */
#define TORN   5u /* slots in the batch that is torn */

static struct wal_disk d;
static struct wal_fault *before, *after;
static struct wal_disk_record *records;
static size_t record_count;
static uint32_t tail_file, tail_from, tail_to;
static const uint8_t *tail_after; /* of the file's bytes, in `after` */

/* The last batch of `after` is not in `before`; no later one tells that it was synced. */
static void setup(void)
{
	const struct wal_disk_record *r;
	uint64_t size;

	logger_set_level(LOG_ERROR_);
	wal_disk_init(&d, 3);
	CHECK_OK(wal_disk_open(&d));
	wal_disk_batch(&d, BEFORE, 100);
	before = wal_fault_clone(d.fault, 1);
	wal_disk_batch(&d, TORN, 330);
	after = wal_fault_clone(d.fault, 1);
	wal_disk_crash(&d);
	record_count = wal_disk_records(after, &records);
	r = &records[record_count - 1];
	tail_file = r->file;
	tail_after = wal_fault_bytes(after, tail_file, &size);
	tail_to = r->at + r->size;
	while (r[-1].batch == r->batch)
		r--;
	tail_from = r->at;
	CHECK_U64_EQ(tail_from % 512, 0);
	CHECK_TRUE(tail_to - tail_from > 3 * 512);
}

static void teardown(void)
{
	wal_disk_release(&d);
	wal_fault_free(before);
	wal_fault_free(after);
	free(records);
	logger_set_level(LOG_INFO_);
}

/* Slots of the torn batch that end before byte @at. */
static unsigned whole_before(uint32_t at)
{
	unsigned n = 0;

	for (size_t i = 0; i < record_count; i++) {
		const struct wal_disk_record *r = &records[i];

		if (r->type == WAL_ENTRY && r->slot > BEFORE && r->at + 48 + r->len <= at)
			n++;
	}
	return n;
}

static void check_slots(uint64_t count)
{
	CHECK_U64_EQ(d.seen_count, count);
	for (uint64_t slot = 1; slot <= count; slot++)
		CHECK_TRUE(d.seen[slot]);
}

/* Starts, finds the first @slots, writes on and starts again. */
static void check_recovers(uint64_t slots)
{
	CHECK_OK(wal_disk_open(&d));
	check_slots(slots);
	d.slots = slots;
	wal_disk_batch(&d, 3, 200);
	wal_disk_crash(&d);
	CHECK_OK(wal_disk_open(&d));
	check_slots(slots + 3);
	wal_disk_close(&d);
}

static uint8_t *tail_bytes(void)
{
	uint64_t size;

	return wal_fault_bytes(d.fault, tail_file, &size);
}

static const uint8_t *old_bytes(void)
{
	uint64_t size;

	return wal_fault_bytes(before, tail_file, &size);
}

/* Only the bytes up to some point got there. */
static void cut_short_at_every_byte(void)
{
	for (uint32_t at = tail_from; at <= tail_to; at++) {
		wal_disk_restore(&d, after);
		memcpy(tail_bytes() + at, old_bytes() + at, tail_to - at);
		check_recovers(BEFORE + whole_before(at));
	}
}

/* Only the bytes from some point on got there: nothing of the batch counts, unless what is missing
 * was the same before. */
static void begun_late_at_every_byte(void)
{
	for (uint32_t at = tail_from + 1; at <= tail_to; at++) {
		bool same = memcmp(old_bytes() + tail_from, tail_after + tail_from, at - tail_from) == 0;

		wal_disk_restore(&d, after);
		memcpy(tail_bytes() + tail_from, old_bytes() + tail_from, at - tail_from);
		check_recovers(same ? BEFORE + TORN : BEFORE);
	}
}

/* A hole of garbage of any length, anywhere. */
static void garbage_anywhere(void)
{
	srandom(5);
	for (uint32_t at = tail_from; at < tail_to; at++) {
		uint32_t len = 1 + (uint32_t)random() % (tail_to - at);
		uint32_t first = UINT32_MAX;

		wal_disk_restore(&d, after);
		for (uint32_t i = at; i < at + len; i++) {
			uint8_t v = (uint8_t)random();

			if (v != tail_bytes()[i] && first == UINT32_MAX)
				first = i;
			tail_bytes()[i] = v;
		}
		CHECK_OK(wal_disk_open(&d));
		check_slots(d.seen_count);
		CHECK_TRUE(d.seen_count >= BEFORE);
		/* Padding counts for nothing; otherwise the record at @first is gone. */
		if (first != UINT32_MAX)
			CHECK_TRUE(d.seen_count >= BEFORE + whole_before(first));
		wal_disk_close(&d);
	}
}

/* Every subset of the batch's sectors. */
static void any_sectors(void)
{
	uint32_t count = (tail_to - tail_from + 511) / 512;

	CHECK_TRUE(count <= 6);
	for (uint32_t set = 0; set < 1u << count; set++) {
		uint32_t whole = 0;

		wal_disk_restore(&d, after);
		for (uint32_t i = 0; i < count; i++) {
			if ((set & (1u << i)) == 0)
				memcpy(tail_bytes() + tail_from + i * 512,
				       old_bytes() + tail_from + i * 512, 512);
		}
		while (whole < count && (set & (1u << whole)) != 0)
			whole++;
		check_recovers(BEFORE + whole_before(tail_from + whole * 512));
	}
}

/* After a cut, the log is sealed there and goes on in a fresh segment. */
static void goes_on_in_a_fresh_segment(void)
{
	struct wal_disk_record *r;
	struct wal_header tail;
	size_t n;

	wal_disk_restore(&d, after);
	memset(tail_bytes() + tail_from + 600, 0x55, 100);
	CHECK_OK(wal_disk_open(&d));
	check_slots(BEFORE + 1);
	d.slots = BEFORE + 1;
	wal_disk_batch(&d, 1, 50);
	n = wal_disk_records(d.fault, &r);
	CHECK_TRUE(r[n - 1].type == WAL_ENTRY && r[n - 1].slot == BEFORE + 2);
	CHECK_TRUE(r[n - 1].file != tail_file);
	CHECK_TRUE(r[n - 1].batch > records[record_count - 1].batch + 1);
	CHECK_TRUE(wal_disk_header(d.fault, r[n - 1].file, &tail) >= 0);
	CHECK_U64_EQ(tail.active_number, tail_file + 1);
	free(r);
	/* What was cut stays cut, with its remains behind the seal. */
	wal_disk_crash(&d);
	CHECK_OK(wal_disk_open(&d));
	check_slots(BEFORE + 2);
}

/* The log ends at a clean stop: the batch before is known to have been synced. */
static void after_a_clean_stop_the_last_entries_are_safe(void)
{
	wal_disk_restore(&d, before);
	CHECK_OK(wal_disk_open(&d));
	wal_disk_close(&d);
	CHECK_OK(wal_disk_open(&d));
	d.slots = BEFORE;
	wal_disk_batch(&d, 2, 100);
	wal_disk_close(&d);
	free(records);
	record_count = wal_disk_records(d.fault, &records);
	CHECK_INT_EQ(records[record_count - 1].type, WAL_CONFIRM);
	CHECK_INT_EQ(records[record_count - 2].type, WAL_ENTRY);
	CHECK_TRUE(records[record_count - 1].batch == records[record_count - 2].batch + 1);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, cut_short_at_every_byte),
	CHECK_TEST_WITH(setup, teardown, begun_late_at_every_byte),
	CHECK_TEST_WITH(setup, teardown, garbage_anywhere),
	CHECK_TEST_WITH(setup, teardown, any_sectors),
	CHECK_TEST_WITH(setup, teardown, goes_on_in_a_fresh_segment),
	CHECK_TEST_WITH(setup, teardown, after_a_clean_stop_the_last_entries_are_safe),
};

CHECK_MAIN(tests)
