#include "tests/lib/wal_disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "wal/wal.h"
#include "wal/wal_scan.h"

void wal_disk_init(struct wal_disk *d, uint64_t seed)
{
	*d = (struct wal_disk){.fault = wal_fault_new(seed)};
	d->cfg = (struct wal_config){.segment_size = WAL_DISK_SEGMENT,
				     .size_max = 64 * WAL_DISK_SEGMENT,
				     .inline_io = true};
}

void wal_disk_release(struct wal_disk *d)
{
	wal_disk_close(d);
	wal_fault_free(d->fault);
	d->fault = NULL;
}

static int on_replay(void *ctx, const struct wal_record *r)
{
	struct wal_disk *d = ctx;

	if (r->type != WAL_ENTRY)
		return 0;
	CHECK(r->slot >= 1 && r->slot <= WAL_DISK_SLOTS && !d->seen[r->slot]);
	for (size_t i = 0; i < r->payload.len; i++)
		CHECK(r->payload.p[i] == (uint8_t)(r->slot * 31 + i));
	d->seen[r->slot] = true;
	d->seen_count++;
	return 0;
}

int wal_disk_open(struct wal_disk *d)
{
	int err;

	memset(d->seen, 0, sizeof(d->seen));
	d->seen_count = 0;
	d->msg.text[0] = '\0';
	d->cfg.device = wal_fault_device(d->fault);
	err = wal_open(&d->cfg, on_replay, d, &d->wal, &d->msg);
	if (err != 0)
		d->wal = NULL;
	return err;
}

void wal_disk_close(struct wal_disk *d)
{
	wal_close(d->wal);
	d->wal = NULL;
}

void wal_disk_crash(struct wal_disk *d)
{
	wal_fault_cut(d->fault);
	wal_disk_close(d);
	wal_fault_reboot(d->fault);
}

void wal_disk_batch(struct wal_disk *d, unsigned count, size_t len)
{
	uint8_t *payload = mem_must_alloc(len + 1);

	for (; count > 0; count--) {
		struct wal_record r = {.type = WAL_ENTRY, .group = 1, .ballot = 1};

		r.slot = ++d->slots;
		r.payload = slice_of(payload, len);
		for (size_t i = 0; i < len; i++)
			payload[i] = (uint8_t)(r.slot * 31 + i);
		wal_append(d->wal, &r);
	}
	wal_submit(d->wal);
	mem_free(payload);
}

void wal_disk_truncate(struct wal_disk *d, uint64_t slot)
{
	wal_truncate(d->wal, 1, slot);
	wal_submit(d->wal);
}

void wal_disk_restore(struct wal_disk *d, const struct wal_fault *from)
{
	CHECK(d->wal == NULL);
	wal_fault_free(d->fault);
	d->fault = wal_fault_clone(from, 99);
}

bool wal_disk_same(struct wal_fault *a, struct wal_fault *b)
{
	if (wal_fault_count(a) != wal_fault_count(b))
		return false;
	for (uint32_t i = 0; i < wal_fault_count(a); i++) {
		uint64_t size, other_size;
		const uint8_t *p = wal_fault_bytes(a, i, &size);
		const uint8_t *q = wal_fault_bytes(b, i, &other_size);

		if (size != other_size || memcmp(p, q, size) != 0)
			return false;
	}
	return true;
}

int wal_disk_header(struct wal_fault *f, uint32_t file, struct wal_header *out)
{
	uint64_t size;
	const uint8_t *p = wal_fault_bytes(f, file, &size);
	struct wal_header h;
	int slot = -1;

	for (int i = 0; i < 2; i++) {
		if (wal__header_get(p + i * WAL_HEADER_SLOT, &h) != WAL_HEADER_OK)
			continue;
		if (slot < 0 || h.generation > out->generation) {
			*out = h;
			slot = i;
		}
	}
	return slot;
}

/* ---- records ---- */

struct list {
	struct wal_disk_record *items;
	size_t count, cap;
};

static void list_add(struct list *l, uint32_t file, uint32_t at, const struct wal_frame *f)
{
	if (l->count == l->cap) {
		l->cap = l->cap > 0 ? 2 * l->cap : 64;
		l->items = mem_must_realloc(l->items, l->cap * sizeof(*l->items));
	}
	l->items[l->count++] = (struct wal_disk_record){
		.file = file,
		.at = at,
		.size = wal__record_size((uint32_t)f->payload.len),
		.len = (uint32_t)f->payload.len,
		.batch = f->batch,
		.type = f->type,
		.slot = f->slot,
	};
}

static void list_file(struct list *l, struct wal_fault *f, uint32_t file)
{
	struct wal_header h;
	struct wal_scan scan;
	struct wal_frame frame;
	struct wal_image image = {0};
	enum wal_scan_result result;
	uint64_t size;
	uint32_t at;

	if (wal_disk_header(f, file, &h) < 0)
		return;
	image.data = wal_fault_bytes(f, file, &size);
	image.size = h.size;
	image.generation = h.generation;
	image.salt = h.salt;
	image.block = h.block;
	wal__scan_init(&scan, &image, 0);
	while ((result = wal__scan_next(&scan, &frame, &at)) == WAL_SCAN_RECORD)
		list_add(l, file, at, &frame);
	if (result == WAL_SCAN_SEALED && wal__record_get(&image, scan.pos, &frame))
		list_add(l, file, scan.pos, &frame);
}

static int by_batch(const void *a, const void *b)
{
	const struct wal_disk_record *x = a, *y = b;

	if (x->batch != y->batch)
		return x->batch < y->batch ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

size_t wal_disk_records(struct wal_fault *f, struct wal_disk_record **out)
{
	struct list l = {0};

	for (uint32_t i = 0; i < wal_fault_count(f); i++)
		list_file(&l, f, i);
	CHECK(l.count > 0);
	qsort(l.items, l.count, sizeof(*l.items), by_batch);
	*out = l.items;
	return l.count;
}
