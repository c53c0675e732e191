#include <stdlib.h>

#include "base/check.h"
#include "base/logger.h"
#include "base/mem.h"
#include "wal/wal_internal.h"

#define FILL_CAP_MIN  (256u * 1024u)
#define FILL_CAP_KEPT (8u * 1024u * 1024u) /* what a burst needed beyond it is given back */

void wal__fill_release(struct wal_fill *f)
{
	free(f->data);
	mem_free(f->units);
	*f = (struct wal_fill){0};
}

void wal__fill_reset(struct wal_fill *f)
{
	if (f->cap > FILL_CAP_KEPT)
		wal__fill_release(f);
	f->len = 0;
	f->count = 0;
}

static void data_grow(struct wal_fill *f, size_t more)
{
	size_t cap = f->cap > 0 ? f->cap : FILL_CAP_MIN;
	uint8_t *data;

	while (cap < f->len + more)
		cap *= 2;
	if (cap == f->cap)
		return;
	data = aligned_alloc(WAL_DEVICE_ALIGN, cap);
	if (data == NULL)
		logger_die("out of memory: %zu bytes for the log", cap);
	if (f->len > 0)
		memcpy(data, f->data, f->len);
	free(f->data);
	f->data = data;
	f->cap = cap;
}

struct wal_unit *wal__fill_unit(struct wal_fill *f)
{
	struct wal_unit *u;

	if (f->count == f->units_cap) {
		f->units_cap = f->units_cap > 0 ? 2 * f->units_cap : 8;
		f->units = mem_must_realloc(f->units, f->units_cap * sizeof(*f->units));
	}
	u = &f->units[f->count++];
	*u = (struct wal_unit){.start = f->len};
	return u;
}

struct wal_unit *wal__fill_last(struct wal_fill *f)
{
	return f->count > 0 ? &f->units[f->count - 1] : NULL;
}

uint8_t *wal__fill_grow(struct wal_fill *f, uint32_t len)
{
	struct wal_unit *u = wal__fill_last(f);
	uint8_t *at;

	CHECK(u != NULL && u->start + u->len == f->len);
	data_grow(f, len);
	at = f->data + f->len;
	f->len += len;
	u->len += len;
	return at;
}

const uint8_t *wal__fill_find(const struct wal_fill *f, uint32_t number, uint32_t offset)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct wal_unit *u = &f->units[i];

		if (u->segment->number == number && offset >= u->offset &&
		    offset - u->offset < u->used)
			return f->data + u->start + (offset - u->offset);
	}
	return NULL;
}
