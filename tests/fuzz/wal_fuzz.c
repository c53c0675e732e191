/* A log whose files were changed (wal/wal.h). The files begin as those of a real log (byte 0: which
 * one); then come changes: bytes, sectors, whole files, records and headers with their CRCs made
 * right again. A start either refuses, and has then changed nothing, or goes on: what it replayed
 * and what is appended behind it is there at the next start. */
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/wal_disk.h"
#include "wal/wal.h"
#include "wal/wal_internal.h"

#define BASES	    4u
#define SEGMENT	    WAL_SEGMENT_SIZE_MIN
#define CHANGES_MAX 32u
#define GROUP	    1u

/* ---- the logs to begin with ---- */

struct base {
	struct wal_fault *fault; /* made once, never changed */
	struct wal_disk_record *records;
	size_t count;
};

/* 0: opened once. 1: a few batches, cleanly stopped. 2: several segments, power lost. 3: recycled
 * ones. */
static void make_base(struct base *b, unsigned kind)
{
	struct wal_disk d;

	wal_disk_init(&d, kind + 1);
	d.cfg.segment_size = SEGMENT;
	CHECK(wal_disk_open(&d) == 0);
	for (unsigned i = 0; i < kind * 8; i++) {
		wal_disk_batch(&d, 1 + i % 3, i * 97 % 1500);
		if (kind == 3 && d.slots > 4)
			wal_disk_truncate(&d, d.slots - 3);
	}
	if (kind == 2)
		wal_disk_crash(&d);
	else
		wal_disk_close(&d);
	b->fault = wal_fault_clone(d.fault, 1);
	if (kind > 0)
		b->count = wal_disk_records(b->fault, &b->records);
	wal_disk_release(&d);
}

static struct base *base(unsigned kind)
{
	static struct base bases[BASES];

	if (!bases[kind].fault)
		make_base(&bases[kind], kind);
	return &bases[kind];
}

/* ---- changes ---- */

static uint8_t *file_of(struct wal_fault *f, struct fuzz_in *in, uint64_t *size, uint32_t *i)
{
	*size = 0;
	if (wal_fault_count(f) == 0)
		return NULL;
	*i = (uint32_t)fuzz_below(in, wal_fault_count(f));
	return wal_fault_bytes(f, *i, size);
}

static void change_bytes(struct wal_fault *f, struct fuzz_in *in, size_t align)
{
	uint64_t size, at;
	uint32_t i;
	uint8_t *p = file_of(f, in, &size, &i);
	struct slice s;

	at = fuzz_u16(in) * align;
	s = fuzz_item(in);
	if (at >= size || s.len == 0)
		return;
	memcpy(p + at, s.p, s.len < size - at ? s.len : size - at);
}

/* A sector turns into zeros, or into that of another place. */
static void change_sector(struct wal_fault *f, struct fuzz_in *in)
{
	uint64_t size, from_size, at, from;
	uint32_t i;
	uint8_t *p = file_of(f, in, &size, &i), *q = file_of(f, in, &from_size, &i);

	at = fuzz_u8(in) * 512ull;
	from = fuzz_u8(in) * 512ull;
	if (at + 512 > size || from + 512 > from_size)
		return;
	if (fuzz_u8(in) & 1)
		memset(p + at, 0, 512);
	else
		memmove(p + at, q + from, 512);
}

/* Bytes of a record, its CRC made right: the header's CRC and salt stand before and apart. */
static void change_record(struct wal_fault *f, const struct base *b, struct fuzz_in *in)
{
	struct wal_header h;
	struct wal_disk_record r;
	struct slice s;
	uint64_t size;
	uint8_t *p;
	size_t at;
	uint32_t len;

	if (b->count == 0)
		return;
	r = b->records[fuzz_below(in, b->count)];
	at = fuzz_u8(in) % (WAL_RECORD_HEADER + 16);
	s = fuzz_bytes(in, 1 + fuzz_u8(in) % 16u);
	if (r.file >= wal_fault_count(f) || wal_disk_header(f, r.file, &h) < 0)
		return;
	p = wal_fault_bytes(f, r.file, &size);
	if (r.at + r.size > size || at + s.len > r.size)
		return;
	if (s.len)
		memcpy(p + r.at + at, s.p, s.len);
	len = wal__record_length(p + r.at);
	if (le64_get(p + r.at + 16) >> 32 == WAL_NUMBER_MAX >> 32)
		return; /* the batch: see some_number */
	if (len <= size && r.at + wal__record_size(len) <= size)
		wal__record_finish(p + r.at, h.salt, false);
}

/* Not just below the largest: the next start would rightly refuse what comes behind. */
static uint64_t some_number(struct fuzz_in *in)
{
	uint64_t v = fuzz_u64(in);

	return v >> 32 == WAL_NUMBER_MAX >> 32 ? v >> 32 : v;
}

static void change_header(struct wal_fault *f, struct fuzz_in *in)
{
	uint64_t size;
	uint32_t i;
	uint8_t *p = file_of(f, in, &size, &i), which = fuzz_u8(in);
	struct wal_header h;

	if (!p || size < WAL_DATA_START || wal_disk_header(f, i, &h) < 0)
		return;
	switch (which % 9) {
	case 0:
		h.generation = some_number(in);
		break;
	case 1:
		h.salt = fuzz_u32(in);
		break;
	case 2:
		h.number = fuzz_u32(in);
		break;
	case 3:
		h.size = fuzz_u32(in);
		break;
	case 4:
		h.block = fuzz_u32(in);
		break;
	case 5:
		h.synced = some_number(in);
		break;
	case 6:
		h.used = some_number(in);
		break;
	case 7:
		h.active_number = fuzz_u32(in);
		break;
	default:
		h.active_generation = some_number(in);
	}
	wal__header_put(p + (which & 0x80 ? WAL_HEADER_SLOT : 0), &h);
}

static void change(struct wal_fault *f, const struct base *b, struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 6) {
	case 0:
		change_bytes(f, in, 1);
		break;
	case 1:
		change_bytes(f, in, WAL_RECORD_ALIGN);
		break;
	case 2:
		change_sector(f, in);
		break;
	case 3:
		change_record(f, b, in);
		break;
	case 4:
		change_header(f, in);
		break;
	default:
		if (wal_fault_count(f) > 0)
			wal_fault_lose(f, (uint32_t)fuzz_below(in, wal_fault_count(f)));
	}
}

/* ---- starts ---- */

struct seen {
	uint64_t entries, last; /* the last slot of GROUP's entries */
	uint32_t hash;		/* of entries, whatever their order */
	uint64_t mark, start;	/* no entry below `start` is counted */
};

static int on_replay(void *ctx, const struct wal_record *r)
{
	struct seen *s = ctx;

	CHECK(r->type == WAL_PROMISE || r->type == WAL_ENTRY || r->type == WAL_MARK);
	CHECK(r->payload.len <= SEGMENT);
	if (r->type == WAL_MARK && r->group == GROUP && r->slot > s->mark)
		s->mark = r->slot;
	if (r->type != WAL_ENTRY)
		return 0;
	for (size_t i = 0; i < r->payload.len; i++) /* read it all */
		s->hash += r->payload.p[i];
	s->hash += (uint32_t)(r->slot * 31 + r->ballot);
	s->entries++;
	if (r->group == GROUP && r->slot > s->last)
		s->last = r->slot;
	return 0;
}

static int start(struct wal_fault *f, struct seen *s, struct wal **w)
{
	struct wal_config cfg = {.device = wal_fault_device(f),
				 .segment_size = SEGMENT,
				 .size_max = 64 * SEGMENT,
				 .inline_io = true};
	struct msg m = {""};
	int err;

	*s = (struct seen){0};
	err = wal_open(&cfg, on_replay, s, w, &m);
	CHECK(err == 0 || err == ERR_CORRUPT || err == ERR_UNSUPPORTED || err == ERR_INVAL);
	CHECK(err == 0 || m.text[0]);
	return err;
}

static void use(struct wal *w, struct seen *s)
{
	struct wal_record r = {.type = WAL_ENTRY, .group = GROUP, .ballot = 7};
	struct buf payload = BUF_INIT;
	uint64_t ballot, batch;
	int err;

	if (s->last >= UINT64_MAX - 1)
		return;
	r.slot = s->last + 1 > s->mark ? s->last + 1 : s->mark;
	r.payload = slice_str("behind");
	batch = wal_append(w, &r);
	wal_submit(w);
	CHECK(wal_synced(w) >= batch);
	CHECK(wal_read(w, GROUP, r.slot, &ballot, &payload) == 0 && ballot == 7);
	CHECK(slice_eq(buf_slice(&payload), r.payload));
	if (s->last > 0) {
		err = wal_read(w, GROUP, s->last, &ballot, &payload);
		CHECK(err == 0 || err == ERR_NOT_FOUND);
	}
	(void)on_replay(s, &r);
	buf_release(&payload);
}

static void run(struct wal_fault *f)
{
	struct wal_fault *before = wal_fault_clone(f, 1);
	struct wal *w = NULL;
	struct seen first, second;

	if (start(f, &first, &w) != 0) {
		CHECK(wal_disk_same(f, before));
	} else {
		use(w, &first);
		wal_close(w);
		CHECK(start(f, &second, &w) == 0);
		wal_close(w);
		CHECK(second.entries == first.entries && second.hash == first.hash);
	}
	wal_fault_free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	const struct base *b = base(fuzz_u8(&in) % BASES);
	struct wal_fault *f = wal_fault_clone(b->fault, 1);

	for (unsigned i = 0; i < CHANGES_MAX && in.left.len > 0; i++)
		change(f, b, &in);
	run(f);
	wal_fault_free(f);
	return 0;
}
