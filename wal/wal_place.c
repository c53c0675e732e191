/* Which record goes where. A unit lies within one segment; when a record does not fit any more the
 * log rolls: a SEAL ends the segment and names the next, whose first record is a START. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "wal/wal_internal.h"

static struct wal_unit *unit_open(struct wal *w)
{
	struct wal_unit *u = wal__fill_unit(&w->fill);

	CHECK(!w->open);
	CHECK(w->tail % w->active->block == 0);
	u->number = w->number_next++;
	u->segment = w->active;
	u->generation = w->active->generation;
	u->salt = w->active->salt;
	u->offset = w->tail;
	w->open = true;
	return u;
}

void wal__close_unit(struct wal *w)
{
	struct wal_unit *u = wal__fill_last(&w->fill);
	uint32_t pad;

	if (!w->open)
		return;
	CHECK(u != NULL && u->used > 0 && u->used == u->len);
	pad = wal__align(u->used, u->segment->block) - u->used;
	memset(wal__fill_grow(&w->fill, pad), 0, pad);
	w->tail = u->offset + u->len;
	w->open = false;
}

uint32_t wal__position(struct wal *w)
{
	struct wal_unit *u = wal__fill_last(&w->fill);

	return w->open && u != NULL ? u->offset + u->used : w->tail;
}

uint32_t wal__limit(const struct wal *w)
{
	return w->segment_size - WAL_SEAL_ROOM;
}

static uint64_t record_add(struct wal *w, struct wal_frame f, struct wal_place *at)
{
	struct wal_unit *u = wal__fill_last(&w->fill);
	uint32_t size = wal__record_size((uint32_t)f.payload.len);

	CHECK(w->open && u != NULL);
	f.generation = u->generation;
	f.batch = u->number;
	*at = (struct wal_place){
		.segment = u->segment->number,
		.offset = u->offset + u->used,
		.length = (uint32_t)f.payload.len,
	};
	wal__record_put(wal__fill_grow(&w->fill, size), &f);
	u->used += size;
	return u->number;
}

/* Ends the active segment. Nothing of @next can reach the disk before this has. */
static void seal_add(struct wal *w, struct wal_segment *next)
{
	uint8_t payload[WAL_SEAL_PAYLOAD];
	struct wal_place at;

	wal__seal_put(payload, &(struct wal_seal){
				       .next_number = next->number,
				       .next_generation = next->generation,
				       .end = w->cut != 0 ? w->cut : wal__position(w),
			       });
	if (!w->open)
		unit_open(w);
	record_add(w, (struct wal_frame){.type = WAL_SEAL,
					 .payload = slice_of(payload, sizeof(payload))},
		   &at);
	wal__fill_last(&w->fill)->next = next;
	wal__close_unit(w);
	CHECK(w->tail <= w->segment_size);
	w->cut = 0;
	w->active->role = WAL_SEALED;
	/* Until the next segment begins on disk this one's SEAL is all that tells of it. */
	w->active->free_after = wal__max(w->active->free_after, w->number_next);
}

/* What the files are known to have at least: a lost or old file will be noticed. */
static void start_add(struct wal *w)
{
	struct wal_place at;
	uint32_t count = 0;
	uint8_t *items = mem_must_alloc((size_t)w->segment_count * WAL_START_ITEM);

	for (uint32_t i = 0; i < w->segment_count; i++) {
		const struct wal_segment *s = w->segments[i];

		if (s->durable == 0)
			continue;
		le32_put(items + (size_t)count * WAL_START_ITEM, s->number);
		le64_put(items + (size_t)count * WAL_START_ITEM + 4, s->durable);
		count++;
	}
	unit_open(w);
	record_add(w, (struct wal_frame){.type = WAL_START,
					 .payload = slice_of(items, (size_t)count * WAL_START_ITEM)},
		   &at);
	mem_free(items);
}

static void roll(struct wal *w)
{
	struct wal_segment *next = wal__space_next(w);

	FAILPOINT(log_roll);
	if (w->active != NULL)
		seal_add(w, next);
	CHECK(!w->open);
	next->role = WAL_ACTIVE;
	w->active = next;
	w->tail = WAL_DATA_START;
	w->look = true;
	start_add(w);
}

static bool fits(struct wal *w, uint32_t size)
{
	uint32_t at = wal__position(w);

	return at <= wal__limit(w) && size <= wal__limit(w) - at;
}

uint64_t wal__place(struct wal *w, const struct wal_frame *f, struct wal_place *at)
{
	struct wal_unit *u = wal__fill_last(&w->fill);
	uint32_t size;

	CHECK(f->payload.len <= w->segment_size);
	size = wal__record_size((uint32_t)f->payload.len);
	if (w->open && u->used + size > w->unit_max)
		wal__close_unit(w);
	if (w->active == NULL || w->cut != 0 || !fits(w, size))
		roll(w);
	CHECK(fits(w, size));
	if (!w->open)
		unit_open(w);
	return record_add(w, *f, at);
}
