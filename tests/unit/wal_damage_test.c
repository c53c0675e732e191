/* Damage before the end of the log is found, told with file and place, and nothing is cut for it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_disk.h"

#define BATCHES 24u /* of 4 entries: five segments and a bit */
#define KEPT	30u /* slots, when the others are truncated */

static struct wal_disk d;
static struct wal_fault *half, *whole; /* after half of the batches; after all, cleanly stopped */
static struct wal_disk_record *records;
static size_t record_count;
static uint64_t live; /* slots that a start must find */
static bool recycled; /* segments were used before: there are older headers and records */

static void make(void)
{
	logger_set_level(LOG_ERROR_);
	wal_disk_init(&d, 8);
	CHECK_OK(wal_disk_open(&d));
	for (unsigned i = 0; i < BATCHES; i++) {
		wal_disk_batch(&d, 4, 700 + i * 30);
		if (recycled && d.slots > KEPT)
			wal_disk_truncate(&d, d.slots - KEPT + 1);
		if (i == BATCHES / 2)
			half = wal_fault_clone(d.fault, 1);
	}
	live = recycled ? KEPT : d.slots;
	wal_disk_close(&d);
	whole = wal_fault_clone(d.fault, 1);
	record_count = wal_disk_records(whole, &records);
	CHECK_INT_EQ(records[record_count - 1].type, WAL_CONFIRM);
}

static void setup(void)
{
	recycled = false;
	make();
}

static void setup_recycled(void)
{
	recycled = true;
	make();
}

static void teardown(void)
{
	wal_disk_release(&d);
	wal_fault_free(half);
	wal_fault_free(whole);
	free(records);
	logger_set_level(LOG_INFO_);
}

static uint8_t *disk(uint32_t file)
{
	uint64_t size;

	return wal_fault_bytes(d.fault, file, &size);
}

static void check_whole(void)
{
	CHECK_OK(wal_disk_open(&d));
	CHECK_U64_EQ(d.seen_count, live);
	wal_disk_close(&d);
	wal_disk_restore(&d, whole);
}

/* Refused, with a message that names @file, and not a byte was changed. */
static void check_refused(uint32_t file)
{
	struct wal_fault *as_it_was = wal_fault_clone(d.fault, 1);
	char name[32];

	(void)snprintf(name, sizeof(name), "%08" PRIu32 ".wal", file + 1);
	CHECK_ERR(wal_disk_open(&d), ERR_CORRUPT);
	CHECK_CONTAINS(d.msg.text, name);
	CHECK_CONTAINS(d.msg.text, "set its data directory aside");
	CHECK_TRUE(wal_disk_same(d.fault, as_it_was));
	wal_fault_free(as_it_was);
}

static void check_refused_at(const struct wal_disk_record *r)
{
	char place[32];

	check_refused(r->file);
	if (r->type == WAL_SEAL)
		return; /* no later batch in its segment: told by the next one */
	(void)snprintf(place, sizeof(place), "at byte %" PRIu32, r->at);
	CHECK_CONTAINS(d.msg.text, place);
}

static void an_undamaged_log_starts(void)
{
	CHECK_TRUE(wal_fault_count(whole) >= 4);
	check_whole();
}

static void segments_were_reused(void)
{
	unsigned count = 0;

	for (uint32_t file = 0; file < wal_fault_count(whole); file++) {
		struct wal_header h;

		CHECK_TRUE(wal_disk_header(whole, file, &h) >= 0);
		if (h.generation > wal_fault_count(whole))
			count++;
	}
	CHECK_TRUE(count >= 2);
	check_whole();
}

/* Every byte of every record of one segment, and of the record before the end. */
static void every_byte_of_a_record(void)
{
	for (size_t i = 0; i + 1 < record_count; i++) {
		const struct wal_disk_record *r = &records[i];

		if (r->file != 1 && i + 2 != record_count)
			continue;
		for (uint32_t at = r->at; at < r->at + 48 + r->len; at++) {
			disk(r->file)[at] ^= 0x10;
			check_refused_at(r);
			disk(r->file)[at] ^= 0x10;
		}
	}
	check_whole();
}

static void every_record(void)
{
	srandom(21);
	for (size_t i = 0; i + 1 < record_count; i++) {
		const struct wal_disk_record *r = &records[i];
		uint32_t at = r->at + (uint32_t)random() % (48 + r->len);

		disk(r->file)[at] ^= (uint8_t)(1 << random() % 8);
		check_refused_at(r);
		wal_disk_restore(&d, whole);
	}
}

/* Sectors that read as zeros, or hold what belongs elsewhere. */
static void every_lost_sector(void)
{
	for (size_t i = 0; i + 1 < record_count; i++) {
		const struct wal_disk_record *r = &records[i];

		memset(disk(r->file) + r->at / 512 * 512, 0, 512);
		check_refused(r->file);
		wal_disk_restore(&d, whole);
		memcpy(disk(r->file) + r->at / 512 * 512, disk(0) + WAL_DATA_START + 512 * 9, 512);
		if (wal_disk_same(d.fault, whole))
			continue;
		check_refused(r->file);
		wal_disk_restore(&d, whole);
	}
}

/* The rest of a segment, from any batch on; the next ones are still there. */
static void the_rest_of_a_segment(void)
{
	for (size_t i = 1; i + 1 < record_count; i++) {
		const struct wal_disk_record *r = &records[i];

		if (r->batch == r[-1].batch || r->file == records[record_count - 1].file)
			continue;
		memset(disk(r->file) + r->at, 0, WAL_DISK_SEGMENT - r->at);
		check_refused(r->file);
		wal_disk_restore(&d, whole);
	}
}

/* The last segment has nothing behind it, but the next one's header knows that it had begun. */
static void all_of_the_last_segment(void)
{
	uint32_t file = records[record_count - 1].file;

	memset(disk(file) + WAL_DATA_START, 0, WAL_DISK_SEGMENT - WAL_DATA_START);
	CHECK_ERR(wal_disk_open(&d), ERR_CORRUPT);
	CHECK_CONTAINS(d.msg.text, "the log ends at batch");
}

/* Bytes between and behind the records mean nothing. */
static void padding_does_not_matter(void)
{
	for (size_t i = 0; i < record_count; i++) {
		const struct wal_disk_record *r = &records[i];

		for (uint32_t at = r->at + 48 + r->len; at < r->at + r->size; at++)
			disk(r->file)[at] ^= 0xff;
	}
	check_whole();
}

static void the_confirmation_is_not_needed(void)
{
	const struct wal_disk_record *r = &records[record_count - 1];

	for (uint32_t at = r->at; at < r->at + 48; at++) {
		disk(r->file)[at] ^= 0x01;
		check_whole();
	}
}

/* ---- headers ---- */

static bool is_used(uint32_t file)
{
	for (size_t i = 0; i < record_count; i++) {
		if (records[i].file == file)
			return true;
	}
	return false;
}

static void every_byte_of_a_header(void)
{
	for (uint32_t file = 0; file < wal_fault_count(whole); file++) {
		struct wal_header h;
		int slot = wal_disk_header(d.fault, file, &h);

		CHECK_TRUE(slot >= 0);
		for (uint32_t i = 0; i < WAL_HEADER_SIZE; i++) {
			uint8_t *at = disk(file) + slot * (int)WAL_HEADER_SLOT + i;

			*at ^= 0x80;
			if (!is_used(file)) {
				check_whole(); /* a spare is made anew */
				continue;
			}
			check_refused(file);
			*at ^= 0x80;
		}
	}
	check_whole();
}

static void a_header_of_another_version(void)
{
	uint8_t *h = disk(2);

	le32_put(h + 12, WAL_VERSION + 1);
	le32_put(h + 8, crc32c(0, h + 12, WAL_HEADER_SIZE - 12));
	CHECK_ERR(wal_disk_open(&d), ERR_UNSUPPORTED);
	CHECK_CONTAINS(d.msg.text, "00000003.wal");
}

/* The checksum is right, and the values are not. */
static void an_absurd_header(void)
{
	struct wal_header h;
	uint8_t bytes[WAL_HEADER_SLOT];

	CHECK_INT_EQ(wal_disk_header(d.fault, 1, &h), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct wal_header bad = h;

		bad.size = i == 0 ? 4096 : i == 1 ? UINT32_MAX : i == 2 ? h.size * 2 : h.size;
		bad.block = i == 3 ? 511 : h.block;
		wal__header_put(bytes, &bad);
		memcpy(disk(1), bytes, sizeof(bytes));
		/* Longer than the files are: one of them must have been cut, but not which. */
		check_refused(i == 2 ? wal_fault_count(whole) - 1 : 1);
	}
}

/* ---- files ---- */

static void every_lost_file(void)
{
	for (uint32_t file = 0; file < wal_fault_count(whole); file++) {
		wal_fault_lose(d.fault, file);
		if (is_used(file) || recycled) {
			check_refused(file);
			CHECK_CONTAINS(d.msg.text, "is missing");
			wal_disk_restore(&d, whole);
		} else {
			check_whole();
		}
	}
}

static void every_two_swapped_files(void)
{
	uint8_t *held = malloc(WAL_DISK_SEGMENT);

	for (uint32_t a = 0; a < wal_fault_count(whole); a++) {
		for (uint32_t b = 0; b < a; b++) {
			memcpy(held, disk(a), WAL_DISK_SEGMENT);
			memcpy(disk(a), disk(b), WAL_DISK_SEGMENT);
			memcpy(disk(b), held, WAL_DISK_SEGMENT);
			check_refused(b);
			CHECK_CONTAINS(d.msg.text, "another file of the log");
			wal_disk_restore(&d, whole);
		}
	}
	free(held);
}

/* A file as it was half way, among newer ones. The newest cannot tell. */
static void every_old_file(void)
{
	unsigned found = 0;

	for (uint32_t file = 0; file < wal_fault_count(half); file++) {
		uint64_t size;

		memcpy(disk(file), wal_fault_bytes(half, file, &size), WAL_DISK_SEGMENT);
		if (wal_disk_same(d.fault, whole))
			continue;
		if (!is_used(file)) {
			check_whole(); /* nothing is lost with a spare */
			continue;
		}
		check_refused(file);
		wal_disk_restore(&d, whole);
		found++;
	}
	CHECK_TRUE(found >= 2); /* the active one of then, and its spare */
}

static void all_files_empty(void)
{
	for (uint32_t file = 0; file < wal_fault_count(whole); file++)
		memset(disk(file), 0, WAL_DISK_SEGMENT);
	CHECK_OK(wal_disk_open(&d)); /* like one that never began; who owns the node knows better */
	CHECK_U64_EQ(d.seen_count, 0);
}

static void random_files(void)
{
	srandom(77);
	for (unsigned round = 0; round < 50; round++) {
		for (uint32_t file = 0; file < wal_fault_count(whole); file++) {
			for (uint32_t i = 0; i < WAL_DISK_SEGMENT; i++)
				disk(file)[i] = (uint8_t)random();
		}
		CHECK_ERR(wal_disk_open(&d), ERR_CORRUPT);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, an_undamaged_log_starts),
	CHECK_TEST_WITH(setup, teardown, every_byte_of_a_record),
	CHECK_TEST_WITH(setup, teardown, every_record),
	CHECK_TEST_WITH(setup, teardown, every_lost_sector),
	CHECK_TEST_WITH(setup, teardown, the_rest_of_a_segment),
	CHECK_TEST_WITH(setup, teardown, all_of_the_last_segment),
	CHECK_TEST_WITH(setup, teardown, padding_does_not_matter),
	CHECK_TEST_WITH(setup, teardown, the_confirmation_is_not_needed),
	CHECK_TEST_WITH(setup, teardown, every_byte_of_a_header),
	CHECK_TEST_WITH(setup, teardown, a_header_of_another_version),
	CHECK_TEST_WITH(setup, teardown, an_absurd_header),
	CHECK_TEST_WITH(setup, teardown, every_lost_file),
	CHECK_TEST_WITH(setup, teardown, every_two_swapped_files),
	CHECK_TEST_WITH(setup, teardown, every_old_file),
	CHECK_TEST_WITH(setup, teardown, all_files_empty),
	CHECK_TEST_WITH(setup, teardown, random_files),
	CHECK_TEST_WITH(setup_recycled, teardown, segments_were_reused),
	CHECK_TEST_WITH(setup_recycled, teardown, every_byte_of_a_record),
	CHECK_TEST_WITH(setup_recycled, teardown, every_record),
	CHECK_TEST_WITH(setup_recycled, teardown, every_lost_sector),
	CHECK_TEST_WITH(setup_recycled, teardown, the_rest_of_a_segment),
	CHECK_TEST_WITH(setup_recycled, teardown, every_byte_of_a_header),
	CHECK_TEST_WITH(setup_recycled, teardown, every_lost_file),
	CHECK_TEST_WITH(setup_recycled, teardown, every_two_swapped_files),
	CHECK_TEST_WITH(setup_recycled, teardown, every_old_file),
};

CHECK_MAIN(tests)
