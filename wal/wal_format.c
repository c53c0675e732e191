#include "wal/wal_format.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"

_Static_assert(WAL_SEAL_ROOM >= WAL_RECORD_HEADER + WAL_SEAL_PAYLOAD, "a SEAL fits its room");

/* Offsets in a record. */
enum {
	R_CRC = 0,
	R_LENGTH = 4,
	R_GENERATION = 8,
	R_BATCH = 16,
	R_TYPE = 24,
	R_FLAGS = 25,
	R_PAD = 26,
	R_GROUP = 28,
	R_BALLOT = 32,
	R_SLOT = 40,
};

void wal__record_put(uint8_t *at, const struct wal_frame *f)
{
	uint32_t len = (uint32_t)f->payload.len;
	uint32_t end = WAL_RECORD_HEADER + len;

	CHECK(f->payload.len <= UINT32_MAX - WAL_RECORD_HEADER - WAL_RECORD_ALIGN);
	le32_put(at + R_CRC, 0);
	le32_put(at + R_LENGTH, len);
	le64_put(at + R_GENERATION, f->generation);
	le64_put(at + R_BATCH, f->batch);
	at[R_TYPE] = f->type;
	at[R_FLAGS] = f->flags;
	le16_put(at + R_PAD, 0);
	le32_put(at + R_GROUP, f->group);
	le64_put(at + R_BALLOT, f->ballot);
	le64_put(at + R_SLOT, f->slot);
	if (len > 0)
		memcpy(at + WAL_RECORD_HEADER, f->payload.p, len);
	memset(at + end, 0, wal__record_size(len) - end);
}

uint32_t wal__record_length(const uint8_t *at)
{
	return le32_get(at + R_LENGTH);
}

static uint32_t record_crc(const uint8_t *at, uint32_t salt)
{
	return crc32c(salt, at + R_LENGTH,
		      (size_t)WAL_RECORD_HEADER - R_LENGTH + wal__record_length(at));
}

void wal__record_finish(uint8_t *at, uint32_t salt, bool last)
{
	if (last)
		at[R_FLAGS] |= WAL_FLAG_LAST;
	le32_put(at + R_CRC, record_crc(at, salt));
}

bool wal__record_get(const struct wal_image *image, uint32_t pos, struct wal_frame *out)
{
	const uint8_t *at = image->data + pos;
	uint32_t len;

	if (pos > image->size || image->size - pos < WAL_RECORD_HEADER)
		return false;
	len = wal__record_length(at);
	if (le64_get(at + R_GENERATION) != image->generation ||
	    len > image->size - pos - WAL_RECORD_HEADER ||
	    le32_get(at + R_CRC) != record_crc(at, image->salt))
		return false;
	*out = (struct wal_frame){
		.generation = image->generation,
		.batch = le64_get(at + R_BATCH),
		.type = at[R_TYPE],
		.flags = at[R_FLAGS],
		.group = le32_get(at + R_GROUP),
		.ballot = le64_get(at + R_BALLOT),
		.slot = le64_get(at + R_SLOT),
		.payload = slice_of(at + WAL_RECORD_HEADER, len),
	};
	return true;
}

void wal__seal_put(uint8_t out[WAL_SEAL_PAYLOAD], const struct wal_seal *s)
{
	le32_put(out, s->next_number);
	le64_put(out + 4, s->next_generation);
	le32_put(out + 12, s->end);
}

bool wal__seal_get(const struct wal_frame *f, struct wal_seal *out)
{
	if (f->type != WAL_SEAL || f->payload.len != WAL_SEAL_PAYLOAD)
		return false;
	out->next_number = le32_get(f->payload.p);
	out->next_generation = le64_get(f->payload.p + 4);
	out->end = le32_get(f->payload.p + 12);
	return true;
}

/* ---- segment header ---- */

static const char magic[8] = {'P', 'A', 'X', 'F', 'S', 'W', 'A', 'L'};

enum {
	H_MAGIC = 0,
	H_CRC = 8,
	H_VERSION = 12,
	H_GENERATION = 16,
	H_SALT = 24,
	H_NUMBER = 28,
	H_SIZE = 32,
	H_BLOCK = 36,
	H_SYNCED = 40,
	H_USED = 48,
	H_ACTIVE_GENERATION = 56,
	H_ACTIVE_NUMBER = 64,
};

void wal__header_put(uint8_t out[WAL_HEADER_SLOT], const struct wal_header *h)
{
	memset(out, 0, WAL_HEADER_SLOT);
	memcpy(out + H_MAGIC, magic, sizeof(magic));
	le32_put(out + H_VERSION, WAL_VERSION);
	le64_put(out + H_GENERATION, h->generation);
	le32_put(out + H_SALT, h->salt);
	le32_put(out + H_NUMBER, h->number);
	le32_put(out + H_SIZE, h->size);
	le32_put(out + H_BLOCK, h->block);
	le64_put(out + H_SYNCED, h->synced);
	le64_put(out + H_USED, h->used);
	le64_put(out + H_ACTIVE_GENERATION, h->active_generation);
	le32_put(out + H_ACTIVE_NUMBER, h->active_number);
	le32_put(out + H_CRC, crc32c(0, out + H_VERSION, WAL_HEADER_SIZE - H_VERSION));
}

enum wal_header_state wal__header_get(const uint8_t in[WAL_HEADER_SIZE], struct wal_header *out)
{
	if (memcmp(in + H_MAGIC, magic, sizeof(magic)) != 0 ||
	    le32_get(in + H_CRC) != crc32c(0, in + H_VERSION, WAL_HEADER_SIZE - H_VERSION))
		return WAL_HEADER_NONE;
	if (le32_get(in + H_VERSION) != WAL_VERSION)
		return WAL_HEADER_VERSION;
	*out = (struct wal_header){
		.generation = le64_get(in + H_GENERATION),
		.salt = le32_get(in + H_SALT),
		.number = le32_get(in + H_NUMBER),
		.size = le32_get(in + H_SIZE),
		.block = le32_get(in + H_BLOCK),
		.synced = le64_get(in + H_SYNCED),
		.used = le64_get(in + H_USED),
		.active_generation = le64_get(in + H_ACTIVE_GENERATION),
		.active_number = le32_get(in + H_ACTIVE_NUMBER),
	};
	return WAL_HEADER_OK;
}
