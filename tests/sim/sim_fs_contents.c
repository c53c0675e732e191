/* The model's files: bytes, size, and which blocks are there. Calls of several transactions are replayed
 * step by step; what a step has to do follows from the call, and for a copy, whose bytes are another
 * file's at a moment that only the judge can find, from what was sent to the store. */
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_contents.h"

#define HEAD	11u /* of a block's key: place, number, kind; then the block */
#define SIZE_AT 32u /* in an inode's record */

static uint64_t blocks_for(uint64_t size)
{
	return (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

static uint64_t bits(uint64_t first, uint64_t end)
{
	uint64_t below_end = end >= 64 ? UINT64_MAX : (1ull << end) - 1;

	return first >= end ? 0 : below_end & ~((1ull << first) - 1);
}

/* ---- what a transaction does to blocks ---- */

void fsim__note_effects(struct fsim_call *c, const struct txn_mini *m)
{
	c->effect_count = 0;
	c->grows = 0;
	c->effects = mem_must_realloc(c->effects, (m->mut_count + 1) * sizeof(*c->effects));
	for (uint32_t i = 0; i < m->mut_count; i++) {
		const struct txn_mut *u = &m->muts[i];
		struct fsim_effect *e = &c->effects[c->effect_count];

		if (u->key.len < HEAD)
			continue;
		if (u->key.p[10] == 'I' && u->kind == TXN_MAX && u->field.offset == SIZE_AT)
			c->grows = u->number;
		if (u->key.p[10] != 'B' || u->key.len != HEAD + 8)
			continue;
		*e = (struct fsim_effect){.first = be64_get(u->key.p + HEAD)};
		e->end = e->first + 1;
		if (u->kind == TXN_DELETE_RANGE) /* it may end with the stripe */
			e->end = u->to.len == HEAD + 8 && memcmp(u->to.p, u->key.p, HEAD) == 0
					 ? be64_get(u->to.p + HEAD)
					 : UINT64_MAX;
		if (u->kind == TXN_PUT || u->kind == TXN_PATCH)
			e->bytes = slice_of(mem_must_dup(u->value.p, u->value.len), u->value.len);
		e->cut = u->kind == TXN_CUT;
		if (u->kind == TXN_PATCH || e->cut)
			e->at = u->number;
		c->effect_count++;
	}
}

/* ---- contents ---- */

struct contents {
	uint64_t size, blocks;
	uint8_t *p; /* of `room` bytes; zeros behind the size */
	size_t room;
};

static struct contents copy_of(const struct fsim_call *c, uint64_t room)
{
	const struct fsim_version *v = fsim__now(OBJ_DATA, c->ino, 0);
	struct contents x = {.size = v->value, .blocks = v->blocks};

	x.room = (size_t)(room > x.size ? room : x.size);
	x.p = mem_must_alloc(x.room + 1);
	if (v->data.len)
		memcpy(x.p, v->data.p, v->data.len);
	return x;
}

static void set_contents(const struct fsim_call *c, const struct contents *x)
{
	struct fsim_version *v = fsim__set(c, OBJ_DATA, c->ino, 0, x->size, slice_of(x->p, x->size));

	v->blocks = x->blocks & bits(0, blocks_for(x->size));
}

static void truncate_to(const struct fsim_call *c, uint64_t size)
{
	struct contents x = copy_of(c, size);

	if (size < x.size)
		memset(x.p + size, 0, x.size - size);
	x.size = size;
	set_contents(c, &x);
}

static void write_at(const struct fsim_call *c, uint64_t at)
{
	uint64_t end = at + c->data.len;
	struct contents x = copy_of(c, end);

	memcpy(x.p + at, c->data.p, c->data.len);
	x.blocks |= bits(at / BLOCK_SIZE, blocks_for(end));
	x.size = end > x.size ? end : x.size;
	set_contents(c, &x);
	if (c->return_ns != FSIM_NEVER && !c->err)
		fsim__must(c, c->end == end, "the write ended elsewhere");
}

/* Whole blocks go, parts of others become zeros. */
static void punch(const struct fsim_call *c)
{
	struct contents x = copy_of(c, 0);
	uint64_t end = c->offset + c->len < x.size ? c->offset + c->len : x.size;
	uint64_t last = end == x.size ? blocks_for(end) : end / BLOCK_SIZE;

	if (c->offset < end) {
		memset(x.p + c->offset, 0, end - c->offset);
		x.blocks &= ~bits(blocks_for(c->offset), last);
	}
	set_contents(c, &x);
}

static void fallocate_step(const struct fsim_call *c)
{
	bool zeroes = c->flags & (FS_FALLOC_PUNCH_HOLE | FS_FALLOC_ZERO_RANGE);
	struct contents x;

	fsim__must(c, zeroes || !c->effect_count, "it writes to blocks");
	fsim__must(c, !(c->flags & FS_FALLOC_KEEP_SIZE) || !c->grows, "it changes the size");
	fsim__must(c, !c->grows || c->grows == c->offset + c->len, "another size");
	if (c->effect_count) {
		fsim__must(c, !c->grows, "zeros and size in one step");
		punch(c);
		return;
	}
	x = copy_of(c, c->grows);
	x.size = c->grows > x.size ? c->grows : x.size;
	set_contents(c, &x);
}

/* As it was sent; *lo, *hi: the bytes of the range that were written. */
static void apply_effect(struct contents *x, const struct fsim_effect *e)
{
	uint64_t first = e->first * BLOCK_SIZE, end = e->end < 64 ? e->end * BLOCK_SIZE : UINT64_MAX;

	if (e->bytes.p) {
		memcpy(x->p + first + e->at, e->bytes.p, e->bytes.len);
		x->blocks |= bits(e->first, e->end);
		return;
	}
	if (first + e->at < x->room)
		memset(x->p + first + e->at, 0, (end < x->room ? end : x->room) - first - e->at);
	if (!e->cut)
		x->blocks &= ~bits(e->first, e->end);
}

static void copy_step(struct fsim_call *c)
{
	struct contents x = copy_of(c, c->offset + c->len);
	uint64_t lo = UINT64_MAX, hi = 0;

	fsim__must(c, c->grows <= c->offset + c->len, "another size");
	for (uint32_t i = 0; i < c->effect_count; i++) {
		const struct fsim_effect *e = &c->effects[i];
		uint64_t from = e->first * BLOCK_SIZE + e->at;
		uint64_t to = e->bytes.p ? from + e->bytes.len
					 : e->end < 64 ? e->end * BLOCK_SIZE : UINT64_MAX;

		lo = from < lo ? from : lo;
		hi = to > hi ? to : hi;
		fsim__must(c, from >= c->offset, "it writes before the range");
		fsim__must(c, !e->bytes.p || to <= c->offset + c->len, "it writes behind the range");
		apply_effect(&x, e);
	}
	x.size = c->grows > x.size ? c->grows : x.size;
	hi = hi < c->offset + c->len ? hi : c->offset + c->len;
	hi = hi < x.size ? hi : x.size;
	if (lo < hi) {
		c->copied_at = lo;
		c->out = slice_of(x.p + lo, hi - lo);
	}
	set_contents(c, &x);
}

void fsim__do_data(struct fsim_call *c)
{
	const struct fsim_inode *i = fsim__inode(c->ino);

	fsim__must(c, i && i->type == S_IFREG, "that is no file");
	fsim__changed(c, c->ino);
	switch (c->kind) {
	case CALL_TRUNCATE:
	case CALL_OPEN_TRUNC:
		truncate_to(c, c->offset);
		break;
	case CALL_APPEND:
		write_at(c, fsim__now(OBJ_DATA, c->ino, 0)->value);
		break;
	case CALL_FALLOCATE:
		fallocate_step(c);
		break;
	case CALL_COPY:
		copy_step(c);
		break;
	default:
		write_at(c, c->offset);
	}
}

/* ---- what may be asked of a version ---- */

uint64_t fsim__sectors(const struct fsim_version *v)
{
	uint64_t n = 0, end = blocks_for(v->value), last = end ? end - 1 : 0;

	for (uint64_t b = 0; b < end; b++)
		n += v->blocks >> b & 1 ? BLOCK_SIZE / 512 : 0;
	return n - (end && v->blocks >> last & 1 ? (end * BLOCK_SIZE - v->value) / 512 : 0);
}

bool fsim__sought(const struct fsim_version *v, uint64_t offset, bool hole, uint64_t *at)
{
	uint64_t b = offset / BLOCK_SIZE, end = blocks_for(v->value);

	if (offset >= v->value)
		return false;
	while (b < end && (v->blocks >> b & 1) == hole)
		b++;
	if (b == end && !hole)
		return false;
	*at = b * BLOCK_SIZE > offset ? b * BLOCK_SIZE : offset;
	*at = *at < v->value ? *at : v->value;
	return true;
}

bool fsim__zeros(const struct fsim_version *v, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len < v->data.len ? offset + len : v->data.len;

	for (uint64_t i = offset; i < end; i++)
		if (v->data.p[i])
			return false;
	return true;
}
