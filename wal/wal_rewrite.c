/* Live records of a segment that holds few are appended again, so that the segment gets free.
 *
 *   IDLE --(a segment of few live bytes, while most of the log is dead; near the limit of the log's
 *           size one of not too many will do)--> RUNNING
 *   RUNNING --(the helper has read it)--> DONE | FAILED
 *   DONE --(its live records are appended; free once they are on disk)--> IDLE
 *   DONE --(there is no room for them any more)--> IDLE
 *   FAILED --(the segment is left alone)--> IDLE
 */
#include <inttypes.h>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "wal/wal_internal.h"
#include "wal/wal_scan.h"

#define SEALED_MIN 4u /* fewer than this are not worth it */
#define LIVE_SHARE 4u /* a victim has at most 1 / LIVE_SHARE live bytes */
/* What groups keep that grow at different rates lies scattered: no segment is free, few
 * are victims of that kind. Near the limit, one that is moved must give back this share of it. */
#define PRESSED_GAIN 3u

static bool on_disk(const struct wal *w, const struct wal_segment *s)
{
	return s->free_after <= atomic_load(&w->synced);
}

static bool has_few(const struct wal *w, const struct wal_segment *s)
{
	return s->live_bytes <= w->segment_size / LIVE_SHARE;
}

static bool pays_near_the_limit(struct wal *w, const struct wal_segment *s)
{
	return s->live_bytes <= w->segment_size - w->segment_size / PRESSED_GAIN &&
	       wal__space_short(w) && wal__space_present(w, s->live_bytes);
}

static struct wal_segment *victim_find(struct wal *w)
{
	struct wal_segment *best = NULL;
	uint64_t sealed = 0, live = 0;

	for (uint32_t i = 0; i < w->segment_count; i++) {
		struct wal_segment *s = w->segments[i];

		if (s->role != WAL_SEALED || s->live_count == 0)
			continue;
		sealed++;
		live += s->live_bytes;
		if (!s->unreadable && on_disk(w, s) &&
		    (best == NULL || s->live_bytes < best->live_bytes))
			best = s;
	}
	if (best == NULL)
		return NULL;
	if (sealed >= SEALED_MIN && live * 2 <= sealed * w->segment_size && has_few(w, best))
		return best;
	return pays_near_the_limit(w, best) ? best : NULL;
}

static void load_start(struct wal *w)
{
	struct wal_segment *s = victim_find(w);

	w->look = false;
	if (s == NULL)
		return;
	w->load_data = mem_try_alloc(w->segment_size);
	if (w->load_data == NULL)
		return;
	w->victim = s;
	wal__lock(w);
	w->load = WAL_LOAD_RUNNING;
	s->load = true;
	wal__job_add(w, s);
	wal__unlock(w);
}

void wal__rewrite_load(struct wal *w, struct wal_segment *s)
{
	struct msg m = {{0}};
	int err = w->device->ops->pread(s->file, w->load_data, w->segment_size, 0, &m);

	if (err != 0)
		log_error("log segment %08" PRIu32 ".wal cannot be read: %s", s->number, m.text);
	wal__lock(w);
	w->load = err == 0 ? WAL_LOAD_DONE : WAL_LOAD_FAILED;
	wal__unlock(w);
}

static void rewrite(struct wal *w, struct wal_segment *s)
{
	struct wal_image image = {
		.data = w->load_data,
		.size = w->segment_size,
		.generation = s->generation,
		.salt = s->salt,
		.block = s->block,
	};
	struct wal_scan scan;
	struct wal_frame f;
	uint32_t at;

	FAILPOINT(log_rewrite);
	wal__scan_init(&scan, &image, 0);
	while (wal__scan_next(&scan, &f, &at) == WAL_SCAN_RECORD) {
		struct wal_place place = {
			.segment = s->number, .offset = at, .length = (uint32_t)f.payload.len};
		struct wal_record r = {.type = (enum wal_type)f.type,
				       .group = f.group,
				       .ballot = f.ballot,
				       .slot = f.slot,
				       .payload = f.payload};

		if (f.type < WAL_START && wal_index_is_live(&w->index, &r, &place))
			wal_append(w, &r);
	}
}

void wal__rewrite_tend(struct wal *w)
{
	struct wal_segment *s = w->victim;
	enum wal_load load;
	bool fits;

	wal__lock(w);
	load = s != NULL && s->queued ? WAL_LOAD_RUNNING : w->load;
	wal__unlock(w);
	if (load == WAL_LOAD_IDLE && w->look)
		load_start(w);
	if (load == WAL_LOAD_IDLE || load == WAL_LOAD_RUNNING)
		return;
	CHECK(s != NULL);
	fits = has_few(w, s) || wal__space_takes(w, s->live_bytes); /* still */
	if (load == WAL_LOAD_DONE && fits)
		rewrite(w, s);
	if (s->live_count > 0 && (fits || load == WAL_LOAD_FAILED)) {
		s->unreadable = true;
		log_error("log segment %08" PRIu32 ".wal: live records cannot be read", s->number);
	}
	mem_free(w->load_data);
	w->load_data = NULL;
	w->victim = NULL;
	w->look = true;
	wal__lock(w);
	w->load = WAL_LOAD_IDLE;
	wal__unlock(w);
}
