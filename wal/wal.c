#include "wal/wal.h"

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "wal/wal_internal.h"

#define UNITS_PER_SEGMENT 16u /* a fuller batch is split: little of a segment's end is left over */

/* ---- open, close ---- */

static int config_check(const struct wal_config *cfg, uint32_t size, struct msg *m)
{
	uint32_t block = cfg->device->block;

	if (size < WAL_SEGMENT_SIZE_MIN || size > WAL_SEGMENT_SIZE_LIMIT || size % 4096 != 0)
		return msg_set(m, ERR_INVAL, "log: segments of %u bytes are not possible", size);
	if (block < 512 || block > WAL_DEVICE_BLOCK_MAX || (block & (block - 1)) != 0)
		return msg_set(m, ERR_INVAL, "log: blocks of %u bytes are not possible", block);
	return 0;
}

static struct wal *wal_new(const struct wal_config *cfg)
{
	struct wal *w = mem_must_alloc(sizeof(*w));

	w->device = cfg->device;
	w->segment_size = cfg->segment_size > 0 ? cfg->segment_size : WAL_SEGMENT_SIZE_DEFAULT;
	w->size_max = cfg->size_max;
	w->inline_io = cfg->inline_io;
	w->on_synced = cfg->on_synced;
	w->spared = cfg->spared;
	w->ctx = cfg->ctx;
	w->number_next = w->number_first = 1;
	wal_index_init(&w->index, wal__space_count, w);
	TAILQ_INIT(&w->jobs);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	pthread_cond_init(&w->jobs_ready, NULL);
	pthread_cond_init(&w->prepared, NULL);
	return w;
}

static void wal_delete(struct wal *w)
{
	for (uint32_t i = 0; i < w->segment_count; i++) {
		w->device->ops->close(w->segments[i]->file);
		mem_free(w->segments[i]);
	}
	mem_free(w->segments);
	mem_free(w->load_data);
	wal_index_release(&w->index);
	wal__fill_release(&w->fill);
	wal__fill_release(&w->flight);
	buf_release(&w->scratch);
	pthread_cond_destroy(&w->prepared);
	pthread_cond_destroy(&w->jobs_ready);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	mem_free(w);
}

static int threads_start(struct wal *w, struct msg *m)
{
	int err;

	if (w->inline_io)
		return 0;
	err = wal__helper_start(w, m);
	if (err != 0)
		return err;
	err = wal__writer_start(w, m);
	if (err != 0)
		wal__helper_stop(w);
	w->threads = err == 0;
	return err;
}

/* The first append needs a segment: made here, so that a full or bad disk is told to the caller. */
static int first_segment(struct wal *w, struct msg *m)
{
	struct wal_segment *s;

	wal__lock(w);
	s = wal__space_pick(w, true);
	w->spare = s;
	w->run = s->generation;
	wal__unlock(w);
	return wal__prepare(w, s, m);
}

int wal_open(const struct wal_config *cfg, wal_replay_fn *replay, void *replay_ctx,
	     struct wal **out, struct msg *m)
{
	struct wal *w = wal_new(cfg);
	int err = config_check(cfg, w->segment_size, m);

	if (err == 0)
		err = wal__recover(w, replay, replay_ctx, m);
	w->unit_max = w->segment_size / UNITS_PER_SEGMENT;
	if (err == 0)
		err = first_segment(w, m);
	if (err == 0)
		err = threads_start(w, m);
	if (err != 0) {
		wal_delete(w);
		return msg_wrap(m, err, "open the log");
	}
	*out = w;
	return 0;
}

/* An empty record behind all others: it proves, at the next start, that they were on disk. */
static void confirm(struct wal *w)
{
	struct wal_place at;

	wal__lock(w);
	if (w->active != NULL && w->cut == 0) {
		wal__close_unit(w);
		wal__place(w, &(struct wal_frame){.type = WAL_CONFIRM}, &at);
	}
	wal__unlock(w);
	wal_submit(w);
}

void wal_close(struct wal *w)
{
	if (w == NULL)
		return;
	confirm(w);
	if (w->threads) {
		wal__writer_stop(w);
		wal__helper_stop(w);
	}
	wal_delete(w);
}

/* ---- write ---- */

uint64_t wal_append(struct wal *w, const struct wal_record *r)
{
	struct wal_frame f = {
		.type = (uint8_t)r->type,
		.group = r->group,
		.ballot = r->ballot,
		.slot = r->slot,
		.payload = r->payload,
	};
	struct wal_place at;
	uint64_t number;

	FAILPOINT_IF(r->type == WAL_PROMISE, log_promise);
	FAILPOINT_IF(r->type == WAL_ENTRY, log_entry);
	FAILPOINT_IF(r->type == WAL_MARK, log_mark);
	wal__lock(w);
	number = wal__place(w, &f, &at);
	wal__unlock(w);
	w->cause = number;
	wal_index_add(&w->index, r, &at);
	return number;
}

void wal_submit(struct wal *w)
{
	wal__rewrite_tend(w);
	wal__lock(w);
	if (w->fill.count > 0) {
		w->submitted = true;
		if (w->writer_waits)
			pthread_cond_signal(&w->work);
	}
	wal__unlock(w);
	if (!w->threads)
		wal__write_submitted(w);
	wal__space_tend(w);
	if (!w->threads)
		wal__jobs_run(w);
}

uint64_t wal_run(const struct wal *w)
{
	return w->run;
}

uint64_t wal_synced(const struct wal *w)
{
	return atomic_load(&w->synced);
}

bool wal_busy(const struct wal *w)
{
	struct wal *locked = (struct wal *)(uintptr_t)w; /* the lock, not what callers see */
	bool busy;

	wal__lock(locked);
	busy = w->writing || w->submitted;
	wal__unlock(locked);
	return busy;
}

void wal_truncate(struct wal *w, uint32_t group, uint64_t slot)
{
	if (slot > wal_index_mark(&w->index, group))
		wal_append(w, &(struct wal_record){
				      .type = WAL_MARK, .group = group, .slot = slot});
}

/* ---- read ---- */

/* The record's bytes, when they are not known to be on disk yet. */
static bool read_memory(struct wal *w, const struct wal_place *at, struct buf *payload, int *err)
{
	const uint8_t *p;

	wal__lock(w);
	p = wal__fill_find(&w->fill, at->segment, at->offset);
	if (p == NULL)
		p = wal__fill_find(&w->flight, at->segment, at->offset);
	if (p != NULL)
		*err = buf_set(payload, slice_of(p + WAL_RECORD_HEADER, at->length));
	wal__unlock(w);
	return p != NULL;
}

static int read_file(struct wal *w, const struct wal_place *at, const struct wal_frame *want,
		     struct buf *payload)
{
	const struct wal_segment *s = w->segments[at->segment - 1];
	uint32_t size = wal__record_size(at->length);
	struct wal_image image;
	struct wal_frame f;
	int err;

	buf_reset(&w->scratch);
	err = buf_reserve(&w->scratch, size);
	if (err == 0)
		err = w->device->ops->pread(s->file, w->scratch.data, size, at->offset, NULL);
	if (err != 0)
		return err;
	image = (struct wal_image){
		.data = w->scratch.data,
		.size = size,
		.generation = s->generation,
		.salt = s->salt,
		.block = s->block,
	};
	if (!wal__record_get(&image, 0, &f) || f.type != WAL_ENTRY || f.group != want->group ||
	    f.slot != want->slot || f.ballot != want->ballot)
		return ERR_CORRUPT;
	return buf_set(payload, f.payload);
}

int wal_read(struct wal *w, uint32_t group, uint64_t slot, uint64_t *ballot, struct buf *payload)
{
	struct wal_frame want = {.group = group, .slot = slot};
	struct wal_place at;
	int err;

	if (!wal_index_find(&w->index, group, slot, &want.ballot, &at))
		return ERR_NOT_FOUND;
	if (!read_memory(w, &at, payload, &err))
		err = read_file(w, &at, &want, payload);
	if (err == 0)
		*ballot = want.ballot;
	return err;
}

/* ---- figures ---- */

void wal_stats_get(struct wal *w, struct wal_stats *out)
{
	uint64_t since = atomic_load(&w->write_since_ns);
	uint64_t now = wal__now_ns();

	wal__lock(w);
	*out = w->stats;
	wal__unlock(w);
	out->segments = w->segment_count;
	out->bytes_live = w->live_bytes;
	out->oldest_write_ns = since != 0 && now > since ? now - since : 0;
}
