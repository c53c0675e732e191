/* Start: which segments there are, what is in them, where the log ends, and whether anything is
 * missing. Two passes: the first decides and indexes, the second hands out what is live. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "wal/wal_internal.h"
#include "wal/wal_scan.h"

#define WAL_ADVICE                                                                                 \
	"this node may have forgotten what it promised and must not vote again: set its data "     \
	"directory aside and let it rejoin as a new member"

struct found {
	struct wal_segment *segment;
	struct wal_header header; /* generation 0: none is valid */
	uint64_t required;	  /* something on disk says that it has this generation or more */
	bool begun;		  /* records were placed in it, or a SEAL says they may be */
	bool sealed;
	struct wal_seal seal;
	uint64_t seal_batch;
	uint32_t cut; /* not sealed: its records end here */
	bool torn;
};

struct recovery {
	struct wal *w;
	struct found *found; /* by file number - 1 */
	uint32_t count;
	struct found **order; /* by generation; those without are first */
	uint8_t *data;	      /* of one segment */
	uint64_t batch_last;
	uint64_t synced_min; /* a batch that was on disk for certain */
	uint32_t lost;	     /* file number beyond all, of which something on disk tells; 0: none */
	struct msg *m;
};

static int damaged(const struct recovery *r, uint32_t number, const char *what)
{
	return msg_set(r->m, ERR_CORRUPT, "log segment %08" PRIu32 ".wal %s; " WAL_ADVICE, number,
		       what);
}

/* ---- files ---- */

struct listing {
	uint32_t count, max;
	uint64_t size;	   /* of the smallest, */
	uint32_t smallest; /* which is this one */
	uint8_t there[WAL_FILES_MAX / 8 + 1];
};

static void list_one(void *ctx, const char *name, uint64_t size)
{
	struct listing *l = ctx;
	char again[WAL_DEVICE_NAME_MAX];
	unsigned long number = strtoul(name, NULL, 10);

	if (number == 0 || number > WAL_FILES_MAX)
		return;
	wal__segment_name(again, (uint32_t)number);
	if (strcmp(again, name) != 0)
		return;
	l->count++;
	l->there[number / 8] |= (uint8_t)(1u << number % 8);
	if (number > l->max)
		l->max = (uint32_t)number;
	if (l->count == 1 || size < l->size) {
		l->size = size;
		l->smallest = (uint32_t)number;
	}
}

static int open_one(struct recovery *r, struct found *f)
{
	struct wal_segment *s = wal__segment_add(r->w);
	char name[WAL_DEVICE_NAME_MAX];

	f->segment = s;
	wal__segment_name(name, s->number);
	return r->w->device->ops->open(r->w->device, name, &s->file, r->m);
}

/* The newest of the two headers. */
static int header_read(struct recovery *r, struct found *f)
{
	struct wal_segment *s = f->segment;
	uint8_t bytes[WAL_HEADER_SIZE];
	struct wal_header h;

	for (uint32_t slot = 0; slot < 2; slot++) {
		int err = r->w->device->ops->pread(s->file, bytes, sizeof(bytes),
						   (uint64_t)slot * WAL_HEADER_SLOT, r->m);

		if (err != 0)
			return err;
		switch (wal__header_get(bytes, &h)) {
		case WAL_HEADER_NONE:
			continue;
		case WAL_HEADER_VERSION:
			return msg_set(r->m, ERR_UNSUPPORTED,
				       "log segment %08" PRIu32 ".wal has a format version that "
				       "this program does not know",
				       s->number);
		case WAL_HEADER_OK:
			break;
		}
		if (h.generation <= f->header.generation)
			continue;
		f->header = h;
		s->slot = slot;
		s->durable = s->generation = h.generation;
		s->salt = h.salt;
		s->block = h.block;
	}
	return 0;
}

static int header_check(struct recovery *r, const struct found *f, const struct listing *l)
{
	const struct wal_header *h = &f->header;

	if (h->generation == 0)
		return 0;
	if (h->number != f->segment->number)
		return damaged(r, f->segment->number, "was another file of the log");
	if (h->size < WAL_SEGMENT_SIZE_MIN || h->size > WAL_SEGMENT_SIZE_LIMIT || h->block < 512 ||
	    h->block > WAL_DEVICE_BLOCK_MAX || (h->block & (h->block - 1)) != 0 ||
	    h->generation > WAL_NUMBER_MAX || h->synced > WAL_NUMBER_MAX ||
	    h->used > WAL_NUMBER_MAX || h->active_generation > WAL_NUMBER_MAX)
		return damaged(r, f->segment->number, "has an absurd header");
	if (h->size > l->size)
		return damaged(r, l->smallest, "was cut short");
	return 0;
}

static int files_open(struct recovery *r)
{
	struct wal *w = r->w;
	struct listing l = {0};
	uint32_t size = 0;
	int err = w->device->ops->list(w->device, list_one, &l, r->m);

	if (err != 0)
		return err;
	for (uint32_t i = 1; l.count < l.max; i++) {
		if ((l.there[i / 8] & (1u << i % 8)) == 0)
			return damaged(r, i, "is missing");
	}
	r->count = l.count;
	r->found = mem_must_alloc(l.count * sizeof(*r->found));
	r->order = mem_must_alloc(l.count * sizeof(struct found *));
	for (uint32_t i = 0; i < l.count; i++) {
		r->order[i] = &r->found[i];
		err = open_one(r, &r->found[i]);
		if (err == 0)
			err = header_read(r, &r->found[i]);
		if (err == 0)
			err = header_check(r, &r->found[i], &l);
		if (err != 0)
			return err;
		if (r->found[i].header.generation == 0)
			continue;
		if (size != 0 && size != r->found[i].header.size)
			return damaged(r, i + 1, "has another size than the others");
		size = r->found[i].header.size;
	}
	if (size != 0)
		w->segment_size = size; /* of what is there, whatever the configuration says */
	return 0;
}

/* ---- first pass ---- */

static int by_generation(const void *a, const void *b)
{
	const struct found *fa = *(struct found *const *)a, *fb = *(struct found *const *)b;

	return fa->header.generation < fb->header.generation ? -1
	       : fa->header.generation > fb->header.generation;
}

static void require(struct recovery *r, uint32_t number, uint64_t generation)
{
	/* Generation 0 is a file that may not have been there yet. */
	if (number == 0 || generation == 0)
		return;
	if (number > r->count)
		r->lost = number;
	else
		r->found[number - 1].required =
			wal__max(r->found[number - 1].required, generation);
}

static int image_read(struct recovery *r, const struct found *f, struct wal_image *image)
{
	*image = (struct wal_image){
		.data = r->data,
		.size = r->w->segment_size,
		.generation = f->header.generation,
		.salt = f->header.salt,
		.block = f->header.block,
	};
	return r->w->device->ops->pread(f->segment->file, r->data, image->size, 0, r->m);
}

static bool to_record(const struct wal_frame *f, uint32_t number, uint32_t at,
		      struct wal_record *out, struct wal_place *place)
{
	if (f->type != WAL_PROMISE && f->type != WAL_ENTRY && f->type != WAL_MARK)
		return false;
	*out = (struct wal_record){.type = (enum wal_type)f->type,
				   .group = f->group,
				   .ballot = f->ballot,
				   .slot = f->slot,
				   .payload = f->payload};
	*place = (struct wal_place){
		.segment = number, .offset = at, .length = (uint32_t)f->payload.len};
	return true;
}

static void frame_note(struct recovery *r, const struct found *f, const struct wal_frame *frame,
		       uint32_t at)
{
	struct wal_record record;
	struct wal_place place;

	if (to_record(frame, f->segment->number, at, &record, &place)) {
		wal_index_add(&r->w->index, &record, &place);
		return;
	}
	if (frame->type != WAL_START)
		return;
	for (size_t i = 0; i + WAL_START_ITEM <= frame->payload.len; i += WAL_START_ITEM)
		require(r, le32_get(frame->payload.p + i), le64_get(frame->payload.p + i + 4));
}

static int scan_one(struct recovery *r, struct found *f, uint64_t expect)
{
	struct wal_image image;
	struct wal_scan scan;
	struct wal_frame frame;
	enum wal_scan_result result;
	uint32_t at;
	int err = image_read(r, f, &image);

	if (err != 0)
		return err;
	wal__scan_init(&scan, &image, expect);
	while ((result = wal__scan_next(&scan, &frame, &at)) == WAL_SCAN_RECORD)
		frame_note(r, f, &frame, at);
	r->batch_last = wal__max(r->batch_last, scan.batch);
	f->begun = f->begun || scan.batch != 0;
	f->cut = scan.pos;
	f->torn = scan.torn;
	if (result == WAL_SCAN_DAMAGED)
		return msg_set(r->m, ERR_CORRUPT,
			       "log segment %08" PRIu32 ".wal is damaged at byte %" PRIu32
			       " (a later batch is behind, at %" PRIu32 "); " WAL_ADVICE,
			       f->segment->number, scan.pos, scan.later);
	if (result != WAL_SCAN_SEALED)
		return 0;
	f->sealed = f->begun = true;
	f->seal = scan.seal;
	f->seal_batch = scan.seal_batch;
	r->batch_last = wal__max(r->batch_last, scan.seal_batch);
	require(r, scan.seal.next_number, scan.seal.next_generation);
	if (scan.seal.next_number >= 1 && scan.seal.next_number <= r->count) {
		struct found *next = &r->found[scan.seal.next_number - 1];

		next->begun = next->begun || next->header.generation == scan.seal.next_generation;
	}
	return 0;
}

static bool seals_to(const struct found *before, const struct found *f)
{
	return before->sealed && before->seal.next_number == f->segment->number &&
	       before->seal.next_generation == f->header.generation;
}

/* What number the first batch of @f has, when the segment before it is still there to tell, or when
 * there was none before it. Otherwise that one was reused, and that only after @f's first batch was
 * on disk. */
static uint64_t expected_batch(const struct recovery *r, const struct found *f)
{
	if (f->header.active_number == 0)
		return f->header.used + 1;
	for (uint32_t i = 0; i < r->count; i++) {
		if (seals_to(&r->found[i], f))
			return r->found[i].seal_batch + 1;
	}
	return 0;
}

static int scan_all(struct recovery *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct found *f = r->order[i];
		int err;

		if (f->header.generation == 0)
			continue;
		r->synced_min = wal__max(r->synced_min, f->header.synced);
		require(r, f->header.active_number, f->header.active_generation);
		err = scan_one(r, f, expected_batch(r, f));
		if (err != 0)
			return err;
	}
	return 0;
}

/* ---- is anything missing? ---- */

static bool all_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* A file without a valid header that nothing refers to: its creation was the last thing to happen
 * before the end, if there is nothing in it. */
static int check_unused(struct recovery *r, const struct found *f)
{
	int err = r->w->device->ops->pread(f->segment->file, r->data, r->w->segment_size, 0, r->m);

	if (err != 0)
		return err;
	/* The first header may be torn; it fits one sector. */
	if (!all_zero(r->data + WAL_HEADER_SLOT, r->w->segment_size - WAL_HEADER_SLOT))
		return damaged(r, f->segment->number, "has lost its header");
	return 0;
}

static int check_complete(struct recovery *r)
{
	if (r->lost != 0)
		return damaged(r, r->lost, "is missing");
	for (uint32_t i = 0; i < r->count; i++) {
		struct found *f = &r->found[i];
		int err;

		if (f->header.generation < f->required)
			return damaged(r, f->segment->number,
				       "has lost its newest header, or is older than the rest");
		if (f->header.generation == 0) {
			err = check_unused(r, f);
			if (err != 0)
				return err;
		}
	}
	if (r->batch_last < r->synced_min)
		return msg_set(r->m, ERR_CORRUPT,
			       "the log ends at batch %" PRIu64 ", but batch %" PRIu64
			       " was on disk; " WAL_ADVICE,
			       r->batch_last, r->synced_min);
	return 0;
}

/* The last segment that was begun; all before it must be sealed. */
static int find_tail(struct recovery *r, struct found **tail)
{
	*tail = NULL;
	for (uint32_t i = 0; i < r->count; i++) {
		struct found *f = r->order[i];

		if (!f->begun)
			continue;
		if (*tail != NULL && !(*tail)->sealed)
			return damaged(r, (*tail)->segment->number,
				       "is not whole, and later ones follow");
		*tail = f;
	}
	if (*tail != NULL && (*tail)->sealed)
		return damaged(r, (*tail)->segment->number, "is the last, and must not be");
	return 0;
}

/* ---- second pass ---- */

static int replay_one(struct recovery *r, const struct found *f, wal_replay_fn *replay, void *ctx)
{
	struct wal_image image;
	struct wal_scan scan;
	struct wal_frame frame;
	struct wal_record record;
	struct wal_place place;
	uint32_t at;
	int err = image_read(r, f, &image);

	if (err != 0)
		return err;
	wal__scan_init(&scan, &image, expected_batch(r, f));
	while (wal__scan_next(&scan, &frame, &at) == WAL_SCAN_RECORD) {
		if (!to_record(&frame, f->segment->number, at, &record, &place) ||
		    !wal_index_is_live(&r->w->index, &record, &place))
			continue;
		err = replay(ctx, &record);
		if (err != 0)
			return msg_set(r->m, err, "the log's replay was given up: %s",
				       err_text(err));
	}
	return 0;
}

static int replay_all(struct recovery *r, wal_replay_fn *replay, void *ctx)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct found *f = r->order[i];
		int err = 0;

		if (f->segment->live_count > 0)
			err = replay_one(r, f, replay, ctx);
		if (err != 0)
			return err;
	}
	return 0;
}

static void go_on_behind(struct recovery *r, const struct found *tail)
{
	struct wal *w = r->w;
	uint64_t used = r->batch_last;

	for (uint32_t i = 0; i < r->count; i++) {
		const struct found *f = &r->found[i];

		used = wal__max(used, f->header.used);
		w->generation_last = wal__max(w->generation_last, f->header.generation);
	}
	w->number_found = r->batch_last;
	w->number_first = r->count > 0 ? used + WAL_NUMBER_JUMP : 1;
	w->number_next = w->number_first;
	atomic_store(&w->synced, w->number_first - 1);
	if (tail == NULL)
		return;
	if (tail->torn)
		log_warn("log segment %08" PRIu32 ".wal: cut a torn tail at byte %" PRIu32
			 ", behind batch %" PRIu64,
			 tail->segment->number, tail->cut, r->batch_last);
	/* What tells of the tail must stay until the tail is sealed. */
	for (uint32_t i = 0; i < r->count; i++) {
		if (seals_to(&r->found[i], tail))
			r->found[i].segment->free_after = w->number_first;
	}
	w->active = tail->segment;
	w->active->role = WAL_ACTIVE;
	w->cut = tail->cut;
	w->tail = wal__align(tail->cut, tail->segment->block);
}

static int recover(struct recovery *r, wal_replay_fn *replay, void *ctx)
{
	struct found *tail = NULL;
	int err = files_open(r);

	if (err == 0 && r->count > 0) {
		r->data = mem_try_alloc(r->w->segment_size);
		err = r->data != NULL ? 0 : ERR_NOMEM;
		qsort(r->order, r->count, sizeof(struct found *), by_generation);
	}
	if (err == 0)
		err = scan_all(r);
	if (err == 0)
		err = check_complete(r);
	if (err == 0)
		err = find_tail(r, &tail);
	if (err == 0)
		err = replay_all(r, replay, ctx);
	if (err == 0)
		go_on_behind(r, tail);
	return err;
}

int wal__recover(struct wal *w, wal_replay_fn *replay, void *replay_ctx, struct msg *m)
{
	struct recovery r = {.w = w, .m = m};
	int err = recover(&r, replay, replay_ctx);

	mem_free(r.found);
	mem_free(r.order);
	mem_free(r.data);
	return err;
}
