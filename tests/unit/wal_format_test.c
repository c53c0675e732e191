/* Bytes of records and segment headers: what is written is read back, and nothing else passes. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tests/lib/check.h"
#include "wal/wal_format.h"

#define SALT	   0x5a17u
#define GENERATION 42u

static uint8_t bytes[8192];

static struct wal_image image_of(uint32_t size)
{
	return (struct wal_image){.data = bytes,
				  .size = size,
				  .generation = GENERATION,
				  .salt = SALT,
				  .block = 512};
}

static struct wal_frame frame_of(const void *payload, size_t len)
{
	return (struct wal_frame){.generation = GENERATION,
				  .batch = UINT64_C(0x0102030405060708),
				  .type = WAL_ENTRY,
				  .group = 0xa1b2c3d4u,
				  .ballot = UINT64_MAX - 1,
				  .slot = UINT64_C(1) << 63,
				  .payload = slice_of(payload, len)};
}

static uint32_t put(const struct wal_frame *f, bool last)
{
	memset(bytes, 0xee, sizeof(bytes));
	wal__record_put(bytes, f);
	wal__record_finish(bytes, SALT, last);
	return wal__record_size((uint32_t)f->payload.len);
}

static void check_same(const struct wal_frame *a, const struct wal_frame *b)
{
	CHECK_U64_EQ(a->generation, b->generation);
	CHECK_U64_EQ(a->batch, b->batch);
	CHECK_INT_EQ(a->type, b->type);
	CHECK_INT_EQ(a->group, b->group);
	CHECK_U64_EQ(a->ballot, b->ballot);
	CHECK_U64_EQ(a->slot, b->slot);
	CHECK_SLICE_EQ(a->payload, b->payload);
}

static void a_record_of_any_length_is_read_back(void)
{
	uint8_t payload[300];

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 37);
	for (size_t len = 0; len <= sizeof(payload); len++) {
		struct wal_frame f = frame_of(payload, len), got;
		struct wal_image image = image_of(put(&f, len % 2 == 0));

		CHECK_U64_EQ(image.size % WAL_RECORD_ALIGN, 0);
		CHECK_INT_EQ(bytes[image.size], 0xee); /* not a byte more */
		CHECK_U64_EQ(wal__record_length(bytes), len);
		CHECK_TRUE(wal__record_get(&image, 0, &got));
		check_same(&f, &got);
		CHECK_INT_EQ(got.flags, len % 2 == 0 ? WAL_FLAG_LAST : 0);
	}
}

/* README.md, "Record". */
static void the_fields_are_where_the_table_says(void)
{
	struct wal_frame f = frame_of("paxos", 5);

	CHECK_U64_EQ(put(&f, true), 56);
	CHECK_INT_EQ(le32_get(bytes), crc32c(SALT, bytes + 4, 48 - 4 + 5));
	CHECK_INT_EQ(le32_get(bytes + 4), 5);
	CHECK_U64_EQ(le64_get(bytes + 8), GENERATION);
	CHECK_U64_EQ(le64_get(bytes + 16), f.batch);
	CHECK_INT_EQ(bytes[24], WAL_ENTRY);
	CHECK_INT_EQ(bytes[25], WAL_FLAG_LAST);
	CHECK_INT_EQ(le16_get(bytes + 26), 0);
	CHECK_U64_EQ(le32_get(bytes + 28), f.group);
	CHECK_U64_EQ(le64_get(bytes + 32), f.ballot);
	CHECK_U64_EQ(le64_get(bytes + 40), f.slot);
	CHECK_MEM_EQ(bytes + 48, "paxos\0\0\0", 8);
}

static void every_flipped_bit_is_detected(void)
{
	uint8_t payload[100];
	struct wal_frame f = frame_of(payload, sizeof(payload)), got;
	struct wal_image image;

	memset(payload, 0x3c, sizeof(payload));
	image = image_of(put(&f, true));
	for (uint32_t bit = 0; bit < (WAL_RECORD_HEADER + sizeof(payload)) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_FALSE(wal__record_get(&image, 0, &got));
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK_TRUE(wal__record_get(&image, 0, &got));
}

static void every_replaced_byte_is_detected(void)
{
	struct wal_frame f = frame_of("0123456789", 10), got;
	struct wal_image image = image_of(put(&f, false));

	for (uint32_t at = 0; at < WAL_RECORD_HEADER + 10; at++) {
		uint8_t was = bytes[at];

		for (unsigned v = 0; v < 256; v++) {
			bytes[at] = (uint8_t)v;
			CHECK_TRUE(wal__record_get(&image, 0, &got) == (v == was));
		}
		bytes[at] = was;
	}
}

static void a_record_that_does_not_end_in_the_image_is_not_one(void)
{
	struct wal_frame f = frame_of("0123456789abcdef", 16), got;
	uint32_t size = put(&f, true);

	for (uint32_t n = 0; n < size; n++) {
		/* Of its own size: a read behind the end is seen by the sanitizer. */
		uint8_t *part = malloc(n > 0 ? n : 1);
		struct wal_image image = image_of(n);

		memcpy(part, bytes, n);
		image.data = part;
		CHECK_FALSE(wal__record_get(&image, 0, &got));
		free(part);
	}
}

static void a_record_of_another_generation_or_salt_is_not_one(void)
{
	struct wal_frame f = frame_of("x", 1), got;
	struct wal_image image = image_of(put(&f, true));

	image.generation++;
	CHECK_FALSE(wal__record_get(&image, 0, &got));
	image.generation--;
	image.salt++;
	CHECK_FALSE(wal__record_get(&image, 0, &got));
	image.salt--;
	CHECK_TRUE(wal__record_get(&image, 0, &got));
}

static void random_bytes_are_no_record(void)
{
	struct wal_image image = image_of(sizeof(bytes));
	struct wal_frame got;

	srandom(11);
	for (unsigned round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)random();
		for (uint32_t at = 0; at + 16 <= sizeof(bytes); at += WAL_RECORD_ALIGN) {
			le64_put(bytes + at + 8, GENERATION);
			CHECK_FALSE(wal__record_get(&image, at, &got));
		}
	}
}

static void a_seal_is_read_back(void)
{
	struct wal_seal seal = {.next_number = 7, .next_generation = UINT64_MAX / 3, .end = 65536};
	struct wal_seal got;
	uint8_t payload[WAL_SEAL_PAYLOAD];
	struct wal_frame f = {.type = WAL_SEAL, .payload = slice_of(payload, sizeof(payload))};

	wal__seal_put(payload, &seal);
	CHECK_TRUE(wal__seal_get(&f, &got));
	CHECK_INT_EQ(got.next_number, 7);
	CHECK_U64_EQ(got.next_generation, UINT64_MAX / 3);
	CHECK_INT_EQ(got.end, 65536);
	f.type = WAL_ENTRY;
	CHECK_FALSE(wal__seal_get(&f, &got));
	f.type = WAL_SEAL;
	f.payload.len--;
	CHECK_FALSE(wal__seal_get(&f, &got));
}

static const struct wal_header header = {
	.generation = 77,
	.salt = 0xdeadbeef,
	.number = 12,
	.size = 16u << 20,
	.block = 4096,
	.synced = 1000,
	.used = 1003,
	.active_number = 11,
	.active_generation = 76,
};

static void a_header_is_read_back(void)
{
	uint8_t slot[WAL_HEADER_SLOT];
	struct wal_header got;

	wal__header_put(slot, &header);
	CHECK_MEM_EQ(slot, "PAXFSWAL", 8);
	CHECK_INT_EQ(wal__header_get(slot, &got), WAL_HEADER_OK);
	CHECK_U64_EQ(got.generation, header.generation);
	CHECK_INT_EQ(got.salt, header.salt);
	CHECK_INT_EQ(got.number, header.number);
	CHECK_INT_EQ(got.size, header.size);
	CHECK_INT_EQ(got.block, header.block);
	CHECK_U64_EQ(got.synced, header.synced);
	CHECK_U64_EQ(got.used, header.used);
	CHECK_INT_EQ(got.active_number, header.active_number);
	CHECK_U64_EQ(got.active_generation, header.active_generation);
}

static void every_flipped_bit_of_a_header_is_detected(void)
{
	uint8_t slot[WAL_HEADER_SLOT];
	struct wal_header got;

	wal__header_put(slot, &header);
	for (uint32_t bit = 0; bit < WAL_HEADER_SIZE * 8; bit++) {
		slot[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_INT_EQ(wal__header_get(slot, &got), WAL_HEADER_NONE);
		slot[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void a_header_of_another_version_is_told_apart(void)
{
	uint8_t slot[WAL_HEADER_SLOT];
	struct wal_header got;

	wal__header_put(slot, &header);
	le32_put(slot + 12, WAL_VERSION + 1);
	le32_put(slot + 8, crc32c(0, slot + 12, WAL_HEADER_SIZE - 12));
	CHECK_INT_EQ(wal__header_get(slot, &got), WAL_HEADER_VERSION);
}

static const struct check_test tests[] = {
	CHECK_TEST(a_record_of_any_length_is_read_back),
	CHECK_TEST(the_fields_are_where_the_table_says),
	CHECK_TEST(every_flipped_bit_is_detected),
	CHECK_TEST(every_replaced_byte_is_detected),
	CHECK_TEST(a_record_that_does_not_end_in_the_image_is_not_one),
	CHECK_TEST(a_record_of_another_generation_or_salt_is_not_one),
	CHECK_TEST(random_bytes_are_no_record),
	CHECK_TEST(a_seal_is_read_back),
	CHECK_TEST(a_header_is_read_back),
	CHECK_TEST(every_flipped_bit_of_a_header_is_detected),
	CHECK_TEST(a_header_of_another_version_is_told_apart),
};

CHECK_MAIN(tests)
