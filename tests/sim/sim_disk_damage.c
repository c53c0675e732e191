/* Damage at rest, to the log. What the log can tell by itself from a torn tail is damaged: something
 * with a later batch behind it. (sim_disk_lose_write alone takes the tail: that is what it is for.) */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/sim/sim_disk_internal.h"
#include "wal/wal_format.h"
#include "wal/wal_scan.h"

#define TRIES_MAX     64u
#define HEADER_IN     16u /* one rot in so many is of a segment's header */

struct record {
	struct sim_file *file;
	uint32_t at, len; /* bytes, without the padding */
	uint64_t batch;
};

struct records {
	struct record *items;
	size_t count, cap;
	uint64_t last; /* batch of the log */
};

/* ---- which records there are ---- */

static bool newest_header(const struct sim_file *f, struct wal_header *out, uint64_t *at)
{
	struct wal_header h;
	bool found = false;

	for (uint64_t slot = 0; slot < WAL_DATA_START; slot += WAL_HEADER_SLOT) {
		if (wal__header_get(f->bytes + slot, &h) != WAL_HEADER_OK)
			continue;
		if (found && h.generation < out->generation)
			continue;
		*out = h;
		*at = slot;
		found = true;
	}
	return found;
}

static bool image_of(const struct sim_file *f, struct wal_image *image)
{
	struct wal_header h;
	uint64_t at;

	if (f->size < WAL_DATA_START || !newest_header(f, &h, &at) || h.size != f->size)
		return false;
	*image = (struct wal_image){.data = f->bytes,
				    .size = h.size,
				    .generation = h.generation,
				    .salt = h.salt,
				    .block = h.block};
	return true;
}

static void add_record(struct records *l, struct sim_file *f, uint32_t at,
		       const struct wal_frame *frame)
{
	if (l->count == l->cap) {
		l->cap = l->cap > 0 ? 2 * l->cap : 64;
		l->items = mem_must_realloc(l->items, l->cap * sizeof(*l->items));
	}
	l->items[l->count++] =
		(struct record){.file = f,
				.at = at,
				.len = WAL_RECORD_HEADER + (uint32_t)frame->payload.len,
				.batch = frame->batch};
	if (frame->batch > l->last)
		l->last = frame->batch;
}

static void list_file(struct records *l, struct sim_file *f)
{
	enum wal_scan_result result;
	struct wal_image image;
	struct wal_frame frame;
	struct wal_scan scan;
	uint32_t at;

	if (!image_of(f, &image))
		return;
	wal__scan_init(&scan, &image, 0);
	while ((result = wal__scan_next(&scan, &frame, &at)) == WAL_SCAN_RECORD)
		add_record(l, f, at, &frame);
	if (result == WAL_SCAN_SEALED && wal__record_get(&image, scan.pos, &frame))
		add_record(l, f, scan.pos, &frame);
}

static void list_records(struct sim_disk *d, struct records *l)
{
	struct sim_file *f;

	*l = (struct records){0};
	CHECK(TAILQ_EMPTY(&d->ops));
	TAILQ_FOREACH(f, &d->files, link)
		list_file(l, f);
}

/* The highest batch among the records that lie whole in that range; 0: none does. */
static uint64_t batch_within(const struct records *l, const struct sim_file *f, uint64_t offset,
			     size_t len)
{
	uint64_t batch = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct record *r = &l->items[i];

		if (r->file == f && r->at >= offset && r->at + r->len <= offset + len &&
		    r->batch > batch)
			batch = r->batch;
	}
	return batch;
}

/* ---- rot ---- */

static void flip(struct sim_disk *d, struct sim_file *f, uint64_t at, const char *of)
{
	sim_disk__touch(d, f, at, 1);
	f->bytes[at] ^= (uint8_t)(1 + sim_below(255));
	sim_fault_note(SIM_FAULT_LOG_ROT);
	sim_trace("disk %s: %s: byte %" PRIu64 " of %s rots", sim_disk_name(d), f->name, at, of);
}

static bool rot_header(struct sim_disk *d)
{
	struct sim_file *f;
	struct wal_header h;
	uint64_t count = 0, slot, n;

	TAILQ_FOREACH(f, &d->files, link)
		count += newest_header(f, &h, &slot);
	if (count == 0)
		return false;
	n = sim_below(count);
	TAILQ_FOREACH(f, &d->files, link)
		if (newest_header(f, &h, &slot) && n-- == 0)
			break;
	flip(d, f, slot + sim_below(WAL_HEADER_SIZE), "a header");
	return true;
}

bool sim_disk_rot_log(struct sim_disk *d)
{
	struct records l;
	size_t count = 0, n;

	if (sim_below(HEADER_IN) == 0)
		return rot_header(d);
	list_records(d, &l);
	for (size_t i = 0; i < l.count; i++)
		if (l.items[i].batch < l.last)
			l.items[count++] = l.items[i];
	if (count > 0) {
		const struct record *r;

		n = sim_below(count);
		r = &l.items[n];
		flip(d, r->file, r->at + sim_below(r->len), "a record");
	}
	mem_free(l.items);
	return count > 0;
}

/* ---- writes that got lost or went astray ---- */

/* Puts back what @p replaced, and forgets @p. */
static void undo(struct sim_disk *d, struct sim_past *p)
{
	struct sim_file *f = sim_disk__file(d, p->name);

	CHECK(f != NULL && p->offset + p->len <= f->size);
	memcpy(f->bytes + p->offset, p->before, p->len);
	sim_disk__past_free(d, p);
}

bool sim_disk_lose_write(struct sim_disk *d)
{
	struct sim_past *p = TAILQ_LAST(&d->pasts, sim_pasts);

	CHECK(TAILQ_EMPTY(&d->ops));
	if (p == NULL)
		return false;
	sim_fault_note(SIM_FAULT_LOST_WRITE);
	sim_trace("disk %s: %s: the write at %" PRIu64 ", %zu bytes, is lost", sim_disk_name(d),
		  p->name, p->offset, p->len);
	undo(d, p);
	return true;
}

static bool overlap(uint64_t a, size_t a_len, uint64_t b, size_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* A place for @len bytes that holds data, neither where @p was nor with anything of the log's last
 * batch: behind what is bad now, something must tell that it was good. */
static struct sim_file *elsewhere(struct sim_disk *d, const struct records *l,
				  const struct sim_past *p, uint64_t *offset)
{
	struct sim_file *f;
	uint64_t n = 0, blocks;

	TAILQ_FOREACH(f, &d->files, link)
		n++;
	n = sim_below(n);
	TAILQ_FOREACH(f, &d->files, link)
		if (n-- == 0)
			break;
	if (f == NULL || f->high < WAL_DATA_START + p->len)
		return NULL;
	blocks = (f->high - WAL_DATA_START - p->len) / d->block + 1;
	*offset = WAL_DATA_START + sim_below(blocks) * d->block;
	if (strcmp(f->name, p->name) == 0 && overlap(*offset, p->len, p->offset, p->len))
		return NULL;
	for (size_t i = 0; i < l->count; i++)
		if (l->items[i].batch == l->last && l->items[i].file == f &&
		    overlap(*offset, p->len, l->items[i].at, l->items[i].len))
			return NULL;
	return f;
}

static struct sim_past *older_write(struct sim_disk *d, const struct records *l)
{
	struct sim_past *p;
	uint64_t n = d->past_count > 0 ? sim_below(d->past_count) : 0;

	TAILQ_FOREACH(p, &d->pasts, link)
		if (n-- == 0)
			break;
	if (p == NULL || p->offset < WAL_DATA_START)
		return NULL;
	n = batch_within(l, sim_disk__file(d, p->name), p->offset, p->len);
	return n > 0 && n < l->last ? p : NULL;
}

static bool misdirect(struct sim_disk *d, const struct records *l)
{
	struct sim_past *p = older_write(d, l);
	uint64_t offset = 0;
	struct sim_file *to = p != NULL ? elsewhere(d, l, p, &offset) : NULL;
	struct sim_file *from;
	uint8_t *bytes;
	size_t len;

	if (to == NULL)
		return false;
	from = sim_disk__file(d, p->name);
	sim_fault_note(SIM_FAULT_MISDIRECTED_WRITE);
	sim_trace("disk %s: %zu bytes of %s at %" PRIu64 " went to %s at %" PRIu64,
		  sim_disk_name(d), p->len, p->name, p->offset, to->name, offset);
	len = p->len;
	bytes = mem_must_dup(from->bytes + p->offset, len);
	undo(d, p);
	sim_disk__touch(d, to, offset, len);
	memcpy(to->bytes + offset, bytes, len);
	mem_free(bytes);
	return true;
}

bool sim_disk_misdirect(struct sim_disk *d)
{
	struct records l;
	bool done = false;

	list_records(d, &l);
	for (unsigned i = 0; i < TRIES_MAX && !done && l.count > 0; i++)
		done = misdirect(d, &l);
	mem_free(l.items);
	return done;
}
