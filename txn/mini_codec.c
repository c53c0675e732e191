#include "txn/mini_codec.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- encoding ---- */

uint32_t txn__mut_flags(const struct txn_mut *u)
{
	switch (u->kind) {
	case TXN_PUT:
	case TXN_PATCH:
	case TXN_OR:
		return PART_WRITES | PART_ADDS_DATA;
	case TXN_DELETE:
	case TXN_DELETE_RANGE:
	case TXN_CUT:
		return PART_WRITES | PART_FREES;
	default:
		return PART_WRITES;
	}
}

void txn__part_head(struct buf *b, uint32_t flags, uint32_t conds, uint32_t reads, uint32_t muts)
{
	CHECK(conds <= TXN_CONDS_MAX && reads <= TXN_READS_MAX);
	CHECK(muts <= TXN_MUTS_MAX && (muts > 0) == ((flags & PART_WRITES) != 0));
	enc_u64(b, flags);
	enc_u64(b, conds);
	enc_u64(b, reads);
	enc_u64(b, muts);
}

static void enc_field(struct buf *b, struct txn_field f)
{
	enc_u64(b, f.offset);
	enc_u64(b, f.width);
}

void txn__part_cond(struct buf *b, const struct txn_cond *c, uint32_t index)
{
	enc_u64(b, c->kind);
	enc_u64(b, index);
	enc_bytes(b, c->key);
	switch (c->kind) {
	case TXN_EXISTS:
	case TXN_ABSENT:
		break;
	case TXN_VERSION:
		enc_u64(b, c->number);
		break;
	case TXN_FIELD:
		enc_field(b, c->field);
		enc_bool(b, c->field.commutes);
		enc_bytes(b, c->value);
		break;
	case TXN_FIELD_MIN:
		enc_field(b, c->field);
		enc_u64(b, c->number);
		break;
	case TXN_RANGE_EMPTY:
		enc_bytes(b, c->to);
		break;
	case TXN_RANGE_SAME:
		enc_bytes(b, c->to);
		enc_u64(b, c->count);
		enc_u64(b, c->number);
		break;
	}
}

static void enc_ref(struct buf *b, const struct txn_read *r)
{
	enc_u64(b, r->offset);
	enc_u64(b, r->ref_kind);
	enc_bytes(b, r->suffix);
}

void txn__part_read(struct buf *b, const struct txn_read *r, uint32_t index)
{
	enc_u64(b, r->kind);
	enc_u64(b, index);
	switch (r->kind) {
	case TXN_GET:
		enc_bytes(b, r->key);
		break;
	case TXN_GET_REF:
		enc_u64(b, r->from);
		enc_ref(b, r);
		break;
	case TXN_SCAN:
	case TXN_SCAN_REF:
	case TXN_SCAN_KEYS:
		enc_bytes(b, r->key);
		enc_bytes(b, r->to);
		enc_u64(b, r->limit);
		if (r->kind == TXN_SCAN_REF)
			enc_ref(b, r);
		break;
	}
}

void txn__part_mut(struct buf *b, const struct txn_mut *u, uint32_t index)
{
	enc_u64(b, u->kind);
	enc_u64(b, index);
	enc_bytes(b, u->key);
	switch (u->kind) {
	case TXN_DELETE:
		break;
	case TXN_DELETE_RANGE:
		enc_bytes(b, u->to);
		break;
	case TXN_CUT:
		enc_u64(b, u->number);
		break;
	case TXN_PATCH:
		enc_u64(b, u->number);
		enc_bytes(b, u->value);
		break;
	case TXN_PUT:
	case TXN_OR:
		enc_bytes(b, u->value);
		break;
	case TXN_ADD:
		enc_field(b, u->field);
		enc_u64(b, u->number);
		enc_bool(b, u->want_result);
		break;
	case TXN_MAX:
		enc_field(b, u->field);
		enc_bool(b, u->now);
		if (!u->now)
			enc_u64(b, u->number);
		break;
	case TXN_TOUCH:
		enc_field(b, u->field);
		enc_bool(b, u->number == UINT64_MAX);
		if (u->number != UINT64_MAX)
			enc_u64(b, u->number);
		break;
	case TXN_SET:
		enc_field(b, u->field);
		enc_bool(b, u->now);
		if (!u->now)
			enc_bytes(b, u->value);
		break;
	}
}

/* ---- decoding ---- */

static struct slice dec_key(struct dec *d)
{
	struct slice key = dec_bytes(d, KEY_SIZE_MAX);

	if (key.len == 0)
		dec_fail(d);
	return key;
}

static struct txn_field dec_field(struct dec *d)
{
	struct txn_field f = {.offset = (uint16_t)dec_u64_max(d, UINT16_MAX)};

	f.width = (uint16_t)dec_u64_max(d, UINT16_MAX);
	return f;
}

static struct txn_field dec_number_field(struct dec *d)
{
	struct txn_field f = dec_field(d);

	if (f.width != 1 && f.width != 2 && f.width != 4 && f.width != 8)
		dec_fail(d);
	return f;
}

static void dec_cond(struct dec *d, struct txn_cond *c, uint32_t *index)
{
	*c = (struct txn_cond){0};
	c->kind = (enum txn_cond_kind)dec_u64_max(d, TXN_RANGE_SAME);
	*index = (uint32_t)dec_u64_max(d, TXN_CONDS_MAX - 1);
	c->key = dec_key(d);
	switch (c->kind) {
	case TXN_EXISTS:
	case TXN_ABSENT:
		return;
	case TXN_VERSION:
		c->number = dec_u64(d);
		return;
	case TXN_FIELD:
		c->field = dec_field(d);
		c->field.commutes = dec_bool(d);
		c->value = dec_bytes(d, VALUE_SIZE_MAX);
		if (c->value.len != c->field.width)
			dec_fail(d);
		return;
	case TXN_FIELD_MIN:
		c->field = dec_number_field(d);
		c->number = dec_u64(d);
		return;
	case TXN_RANGE_EMPTY:
		c->to = dec_key(d);
		return;
	case TXN_RANGE_SAME:
		c->to = dec_key(d);
		c->count = dec_u32(d);
		c->number = dec_u64(d);
		return;
	}
	dec_fail(d);
}

static void dec_ref(struct dec *d, struct txn_read *r)
{
	r->offset = (uint16_t)dec_u64_max(d, UINT16_MAX);
	r->ref_kind = dec_u8(d);
	r->suffix = dec_bytes(d, KEY_SIZE_MAX - TXN_KEY_HEAD);
}

static void dec_read(struct dec *d, struct txn_read *r, uint32_t *index)
{
	*r = (struct txn_read){0};
	r->kind = (enum txn_read_kind)dec_u64_max(d, TXN_SCAN_KEYS);
	*index = (uint32_t)dec_u64_max(d, TXN_READS_MAX - 1);
	switch (r->kind) {
	case TXN_GET:
		r->key = dec_key(d);
		return;
	case TXN_GET_REF:
		r->from = dec_u32(d);
		dec_ref(d, r);
		return;
	case TXN_SCAN:
	case TXN_SCAN_REF:
	case TXN_SCAN_KEYS:
		r->key = dec_key(d);
		r->to = dec_key(d);
		r->limit = dec_u32(d);
		if (r->kind == TXN_SCAN_REF)
			dec_ref(d, r);
		return;
	}
	dec_fail(d);
}

static void dec_set(struct dec *d, struct txn_mut *u)
{
	u->field = dec_field(d);
	u->now = dec_bool(d);
	if (!u->now)
		u->value = dec_bytes(d, VALUE_SIZE_MAX);
	if (u->field.width == 0 || (u->now ? 8 : u->value.len) != u->field.width)
		dec_fail(d);
}

/* NOW was what an automatic time was made of, up to format 1: what is in the log must still mean it. */
static void dec_max(struct dec *d, struct txn_mut *u)
{
	u->field = dec_number_field(d);
	u->now = dec_bool(d);
	if (!u->now)
		u->number = dec_u64(d);
	else if (u->field.width != 8)
		dec_fail(d);
}

static void dec_touch(struct dec *d, struct txn_mut *u)
{
	u->field = dec_number_field(d);
	u->number = dec_bool(d) ? UINT64_MAX : dec_u64(d);
	if (u->field.width != 8)
		dec_fail(d);
}

static void dec_patch(struct dec *d, struct txn_mut *u)
{
	u->number = dec_u64(d);
	u->value = dec_bytes(d, VALUE_SIZE_MAX);
	if (u->number > VALUE_SIZE_MAX - u->value.len)
		dec_fail(d);
}

static void dec_mut(struct dec *d, struct txn_mut *u, uint32_t *index)
{
	*u = (struct txn_mut){0};
	u->kind = (enum txn_mut_kind)dec_u64_max(d, TXN_TOUCH);
	*index = (uint32_t)dec_u64_max(d, TXN_MUTS_MAX - 1);
	u->key = dec_key(d);
	switch (u->kind) {
	case TXN_DELETE:
		return;
	case TXN_DELETE_RANGE:
		u->to = dec_key(d);
		return;
	case TXN_CUT:
		u->number = dec_u64(d);
		return;
	case TXN_PATCH:
		dec_patch(d, u);
		return;
	case TXN_PUT:
	case TXN_OR:
		u->value = dec_bytes(d, VALUE_SIZE_MAX);
		return;
	case TXN_ADD:
		u->field = dec_number_field(d);
		u->number = dec_u64(d);
		u->want_result = dec_bool(d);
		return;
	case TXN_MAX:
		dec_max(d, u);
		return;
	case TXN_SET:
		dec_set(d, u);
		return;
	case TXN_TOUCH:
		dec_touch(d, u);
		return;
	}
	dec_fail(d);
}

/* Arrays for @count items, kept over decodings. */
static void reserve(void **items, uint32_t **index, uint32_t *cap, uint32_t count, size_t size)
{
	CHECK(count <= TXN_CONDS_MAX || count <= TXN_READS_MAX || count <= TXN_MUTS_MAX);
	if (count <= *cap)
		return;
	*items = mem_must_realloc(*items, count * size);
	*index = mem_must_realloc(*index, count * sizeof(**index));
	*cap = count;
}

static void part_reserve(struct part *p)
{
	void *items = p->conds;

	reserve(&items, &p->cond_index, &p->cond_cap, p->cond_count, sizeof(*p->conds));
	p->conds = items;
	items = p->reads;
	reserve(&items, &p->read_index, &p->read_cap, p->read_count, sizeof(*p->reads));
	p->reads = items;
	items = p->muts;
	reserve(&items, &p->mut_index, &p->mut_cap, p->mut_count, sizeof(*p->muts));
	p->muts = items;
}

/* A reference follows an earlier read of this part: its `from`, an index of the whole, is replaced
 * by the place in the part. */
static void resolve_from(struct dec *d, struct part *p, uint32_t at)
{
	struct txn_read *r = &p->reads[at];

	if (r->kind != TXN_GET_REF)
		return;
	for (uint32_t i = 0; i < at; i++) {
		if (p->read_index[i] == r->from &&
		    (p->reads[i].kind == TXN_GET || p->reads[i].kind == TXN_GET_REF)) {
			r->from = i;
			return;
		}
	}
	dec_fail(d);
}

/* Items come in the order of the whole. */
static void check_ascending(struct dec *d, const uint32_t *index, uint32_t at)
{
	if (at > 0 && index[at] <= index[at - 1])
		dec_fail(d);
}

int txn__part_decode(struct part *p, struct slice body)
{
	struct dec d;
	uint32_t flags = 0;

	dec_init(&d, body);
	p->flags = dec_u32(&d);
	p->cond_count = dec_count(&d, TXN_CONDS_MAX);
	p->read_count = dec_count(&d, TXN_READS_MAX);
	p->mut_count = dec_count(&d, TXN_MUTS_MAX);
	if (d.err)
		return ERR_PROTO;
	part_reserve(p);
	for (uint32_t i = 0; i < p->cond_count && !d.err; i++) {
		dec_cond(&d, &p->conds[i], &p->cond_index[i]);
		check_ascending(&d, p->cond_index, i);
	}
	for (uint32_t i = 0; i < p->read_count && !d.err; i++) {
		dec_read(&d, &p->reads[i], &p->read_index[i]);
		check_ascending(&d, p->read_index, i);
		resolve_from(&d, p, i);
	}
	for (uint32_t i = 0; i < p->mut_count && !d.err; i++) {
		dec_mut(&d, &p->muts[i], &p->mut_index[i]);
		check_ascending(&d, p->mut_index, i);
		flags |= txn__mut_flags(&p->muts[i]);
	}
	if (flags != p->flags)
		dec_fail(&d);
	return dec_end(&d);
}

void txn__part_release(struct part *p)
{
	mem_free(p->conds);
	mem_free(p->reads);
	mem_free(p->muts);
	mem_free(p->cond_index);
	mem_free(p->read_index);
	mem_free(p->mut_index);
	*p = (struct part){0};
}
