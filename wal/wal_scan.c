#include "wal/wal_scan.h"

#include "base/bytes.h"

void wal__scan_init(struct wal_scan *s, const struct wal_image *image, uint64_t expect)
{
	*s = (struct wal_scan){.image = *image, .pos = WAL_DATA_START, .expect = expect};
}

static uint32_t block_up(const struct wal_scan *s, uint32_t pos)
{
	return wal__align(pos, s->image.block);
}

/* A SEAL at @at that says that the records end at @end. The log writes it right there, or, at a
 * restart, at the next block. */
static bool seal_at(struct wal_scan *s, uint32_t at, uint32_t end, uint64_t above)
{
	struct wal_frame f;
	struct wal_seal seal;

	if (!wal__record_get(&s->image, at, &f) || !wal__seal_get(&f, &seal) ||
	    (f.flags & WAL_FLAG_LAST) == 0 || f.batch < above || f.batch > WAL_NUMBER_MAX ||
	    seal.end != end)
		return false;
	s->seal = seal;
	s->seal_batch = f.batch;
	return true;
}

/* The room that a segment keeps for its SEAL has no other record. */
static bool in_bounds(const struct wal_scan *s, const struct wal_frame *f)
{
	uint32_t limit = s->image.size - WAL_SEAL_ROOM;

	return f->type == WAL_SEAL ||
	       (s->pos <= limit && wal__record_size((uint32_t)f->payload.len) <= limit - s->pos);
}

static bool follows(const struct wal_scan *s, const struct wal_frame *f)
{
	if (!in_bounds(s, f) || f->batch > WAL_NUMBER_MAX)
		return false;
	if (s->inside)
		return f->batch == s->batch;
	return s->expect == 0 || f->batch == s->expect;
}

/* The smallest batch number that, seen behind a bad record, proves that the bad one was synced. */
static uint64_t later_batch(const struct wal_scan *s)
{
	if (s->inside)
		return s->batch + 1;
	return s->expect != 0 ? s->expect + 1 : 0;
}

static bool search(struct wal_scan *s, uint64_t batch_min)
{
	struct wal_frame f;

	for (uint32_t at = s->pos; at < s->image.size; at += WAL_RECORD_ALIGN) {
		if (!wal__record_get(&s->image, at, &f) || f.batch < batch_min)
			continue;
		s->later = at;
		return true;
	}
	return false;
}

/* Something of a batch of this generation begins at the cut, even if it is not whole. */
static bool looks_torn(const struct wal_scan *s)
{
	struct wal_frame f;

	if (s->inside)
		return true;
	if (s->image.size - s->pos < WAL_RECORD_HEADER)
		return false;
	if (le64_get(s->image.data + s->pos + 8) == s->image.generation)
		return true;
	return wal__record_get(&s->image, s->pos, &f);
}

static enum wal_scan_result stopped(struct wal_scan *s)
{
	uint32_t next = block_up(s, s->pos);

	/* At a restart the log was cut here, and sealed behind the cut. */
	if (seal_at(s, next, s->pos, later_batch(s)))
		return WAL_SCAN_SEALED;
	if (search(s, later_batch(s)))
		return WAL_SCAN_DAMAGED;
	s->torn = looks_torn(s);
	return WAL_SCAN_CUT;
}

enum wal_scan_result wal__scan_next(struct wal_scan *s, struct wal_frame *out, uint32_t *at)
{
	struct wal_frame f;

	if (!wal__record_get(&s->image, s->pos, &f) || !follows(s, &f))
		return stopped(s);
	if (f.type == WAL_SEAL)
		return seal_at(s, s->pos, s->pos, f.batch) ? WAL_SCAN_SEALED : stopped(s);
	*at = s->pos;
	*out = f;
	s->batch = f.batch;
	s->expect = f.batch + 1;
	s->inside = (f.flags & WAL_FLAG_LAST) == 0;
	s->pos += wal__record_size((uint32_t)f.payload.len);
	if (!s->inside)
		s->pos = block_up(s, s->pos);
	return WAL_SCAN_RECORD;
}
