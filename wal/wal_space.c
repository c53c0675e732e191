/* Segments: which are free, which is next, how much room there is. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "wal/wal_internal.h"

#define FREE_BYTES_AGE_NS 100000000u /* the device is asked for its free space this often */
#define TRY_AGAIN_NS	  1000000000u /* after a segment could not be made */
/* The log does not grow into the last segments' worth of the device's space. What draws on the
 * reserve may, and still the log has room again once it is truncated: below the low mark only does
 * nobody write data here any more, for the sake of everything else on the device. */
#define FREE_SEGMENTS_LEFT 8u
#define FREE_SEGMENTS_LOW  4u
#define SEGMENTS_SHORT	   4u /* fewer free ones, or ones that may be made, than this are few */
#define TAKE_MARGIN	   4u /* this part of a segment is kept for promises and marks */

uint64_t wal__now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void wal__segment_name(char out[WAL_DEVICE_NAME_MAX], uint32_t number)
{
	(void)snprintf(out, WAL_DEVICE_NAME_MAX, "%08" PRIu32 ".wal", number);
}

struct wal_segment *wal__segment_add(struct wal *w)
{
	struct wal_segment *s = mem_must_alloc(sizeof(*s));

	if (w->segment_count == w->segment_cap) {
		w->segment_cap = w->segment_cap > 0 ? 2 * w->segment_cap : 16;
		w->segments = mem_must_realloc(w->segments,
					       w->segment_cap * sizeof(struct wal_segment *));
	}
	w->segments[w->segment_count++] = s;
	s->number = w->segment_count;
	s->role = WAL_SEALED;
	return s;
}

void wal__space_count(void *ctx, const struct wal_place *at, bool live)
{
	struct wal *w = ctx;
	struct wal_segment *s = w->segments[at->segment - 1];
	uint64_t size = wal__record_size(at->length);

	CHECK(at->segment <= w->segment_count);
	if (live) {
		s->live_count++;
		s->live_bytes += size;
		w->live_bytes += size;
		return;
	}
	CHECK(s->live_count > 0 && s->live_bytes >= size);
	s->live_count--;
	s->live_bytes -= size;
	w->live_bytes -= size;
	s->free_after = wal__max(s->free_after, w->cause);
}

/* Under lock. */
static bool is_free(const struct wal *w, const struct wal_segment *s)
{
	return s->role == WAL_SEALED && s->live_count == 0 && s != w->victim && s->file != NULL &&
	       s->free_after <= atomic_load(&w->synced);
}

static struct wal_segment *free_find(const struct wal *w)
{
	for (uint32_t i = 0; i < w->segment_count; i++) {
		if (is_free(w, w->segments[i]))
			return w->segments[i];
	}
	return NULL;
}

/* The next file to be created: one whose creation failed before, or the next number. */
static struct wal_segment *file_next(struct wal *w)
{
	for (uint32_t i = 0; i < w->segment_count; i++) {
		struct wal_segment *s = w->segments[i];

		if (s->role == WAL_SEALED && s->file == NULL && !s->queued)
			return s;
	}
	return wal__segment_add(w);
}

static uint64_t device_free(struct wal *w)
{
	uint64_t now = wal__now_ns();
	uint64_t spared = w->spared != NULL ? w->spared(w->ctx) : 0;

	if (w->inline_io || w->free_bytes_at_ns == 0 || now - w->free_bytes_at_ns > FREE_BYTES_AGE_NS) {
		w->free_bytes = w->device->ops->free_bytes(w->device);
		w->free_bytes_at_ns = now;
	}
	return w->free_bytes > spared ? w->free_bytes - spared : 0;
}

/* Segments that could be created. */
static uint64_t growth(struct wal *w)
{
	uint64_t total = (uint64_t)w->segment_count * w->segment_size;
	uint64_t left = (uint64_t)FREE_SEGMENTS_LEFT * w->segment_size;
	uint64_t device = device_free(w);
	uint64_t allowed = w->size_max > total ? w->size_max - total : 0;

	device = device > left ? device - left : 0;
	return (device < allowed ? device : allowed) / w->segment_size;
}

struct wal_segment *wal__space_pick(struct wal *w, bool beyond_limits)
{
	struct wal_segment *s = free_find(w);

	if (s == NULL && !beyond_limits && growth(w) == 0)
		return NULL;
	if (s == NULL)
		s = file_next(w);
	CHECK(!s->queued);
	s->generation = ++w->generation_last;
	s->salt = (uint32_t)w->device->ops->random(w->device);
	s->block = w->device->block;
	s->role = WAL_SPARE;
	s->free_after = 0;
	s->failed = false;
	s->unreadable = false;
	return s;
}

/* A spare that could not be created is let go when another segment is free. */
static void spare_check(struct wal *w)
{
	if (w->spare == NULL || !w->spare->failed || free_find(w) == NULL)
		return;
	w->spare->role = WAL_SEALED;
	w->spare = NULL;
}

struct wal_segment *wal__space_next(struct wal *w)
{
	struct wal_segment *s;

	spare_check(w);
	s = w->spare;
	w->spare = NULL;
	if (s != NULL)
		return s;
	/* Beyond the limits: only what draws on the reserve is still appended here. */
	s = wal__space_pick(w, true);
	wal__job_add(w, s);
	return s;
}

/* File numbers have no gaps, so a file is created only when the one before it is there; that may
 * be the active one, still on its way. */
static bool may_prepare(const struct wal *w)
{
	return w->active == NULL || w->active->durable == w->active->generation;
}

static bool may_try_again(const struct wal *w)
{
	return w->inline_io || wal__now_ns() - w->create_failed_ns >= TRY_AGAIN_NS;
}

void wal__space_tend(struct wal *w)
{
	wal__lock(w);
	spare_check(w);
	if (w->spare == NULL && may_prepare(w)) {
		w->spare = wal__space_pick(w, false);
		if (w->spare != NULL)
			wal__job_add(w, w->spare);
	} else if (w->spare != NULL && w->spare->failed && may_prepare(w) && may_try_again(w) &&
		   device_free(w) > (uint64_t)(1 + FREE_SEGMENTS_LEFT) * w->segment_size) {
		w->spare->failed = false;
		wal__job_add(w, w->spare);
	}
	wal__unlock(w);
}

/* What segments that are there could still hold; @enough: more than that does not matter. @spare: the
 * next one counts before it is there. */
static uint64_t present_room(struct wal *w, uint64_t enough, bool spare)
{
	uint64_t capacity = wal__limit(w) - WAL_DATA_START;
	uint64_t room = 0;

	if (w->active != NULL && w->cut == 0 && wal__position(w) < wal__limit(w))
		room += wal__limit(w) - wal__position(w);
	if (w->spare != NULL && !w->spare->failed && (spare || w->spare->file != NULL))
		room += capacity;
	for (uint32_t i = 0; i < w->segment_count && room < enough; i++) {
		if (is_free(w, w->segments[i]))
			room += capacity;
	}
	return room;
}

/* The next segment could not be made, whatever the device says of its room: it may be a quota, or the
 * room was taken a moment ago. Under lock. */
static bool is_blocked(const struct wal *w)
{
	return w->spare != NULL && (w->spare->failed || (w->spare->file == NULL && w->create_failed));
}

bool wal__space_short(struct wal *w)
{
	uint64_t n;

	wal__lock(w);
	n = growth(w);
	for (uint32_t i = 0; i < w->segment_count && n < SEGMENTS_SHORT; i++)
		n += is_free(w, w->segments[i]);
	wal__unlock(w);
	return n < SEGMENTS_SHORT;
}

bool wal__space_present(struct wal *w, uint64_t bytes)
{
	uint64_t want = bytes + w->segment_size / TAKE_MARGIN;
	bool enough;

	wal__lock(w);
	enough = present_room(w, want, false) >= want;
	wal__unlock(w);
	return enough;
}

/* What is to be appended again soon. */
static uint64_t moving(const struct wal *w)
{
	return w->victim != NULL ? w->victim->live_bytes : 0;
}

/* Who is refused writes nothing that would make the log try. */
static bool refused(struct wal *w)
{
	bool blocked;

	w->look = true; /* for a victim, at the next submit */
	wal__lock(w);
	blocked = is_blocked(w);
	wal__unlock(w);
	if (blocked) {
		wal__space_tend(w);
		if (!w->threads)
			wal__jobs_run(w);
	}
	return false;
}

bool wal_has_room(struct wal *w, uint64_t bytes)
{
	uint64_t want = bytes + moving(w) + w->segment_size; /* the reserve */
	uint64_t room;

	if (device_free(w) < (uint64_t)FREE_SEGMENTS_LOW * w->segment_size)
		return false;
	wal__lock(w);
	room = is_blocked(w) ? 0 : growth(w) * (wal__limit(w) - WAL_DATA_START);
	if (room < want)
		room += present_room(w, want - room, true);
	wal__unlock(w);
	return want <= room || refused(w);
}

/* A spare that is still being created may fail to be: it does not count. Nor does the limit of the log's
 * size: the leader keeps to its own. */
bool wal__space_takes(struct wal *w, uint64_t bytes)
{
	uint64_t want = bytes + w->segment_size / TAKE_MARGIN;
	uint64_t left = (uint64_t)FREE_SEGMENTS_LEFT * w->segment_size;
	bool takes;

	wal__lock(w);
	takes = (!is_blocked(w) && device_free(w) >= left + 2 * want) ||
		present_room(w, want, false) >= want;
	wal__unlock(w);
	return takes;
}

bool wal_can_take(struct wal *w, uint64_t bytes)
{
	return wal__space_takes(w, bytes) || refused(w);
}
