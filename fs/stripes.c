/* S records: which stripes of a data id may hold data. */
#include "base/bytes.h"
#include "fs/fs_internal.h"

#define SCAN_CHUNKS 256u

void fs__stripes_release(struct fs_stripe_set *s)
{
	mem_free(s->stripes);
	*s = (struct fs_stripe_set){0};
}

static int add(struct fs_stripe_set *s, uint64_t stripe)
{
	if (s->count == s->cap) {
		uint32_t cap = s->cap ? s->cap * 2 : 64;
		uint64_t *p = mem_try_realloc(s->stripes, sizeof(*p) * cap);

		if (!p)
			return ERR_NOMEM;
		s->stripes = p;
		s->cap = cap;
	}
	s->stripes[s->count++] = stripe;
	return 0;
}

static int take_chunk(struct fs_stripe_set *s, const struct txn_item *it)
{
	struct fs_key_parts p;
	uint64_t first;

	if (!fs__key_parse(it->key, &p) || p.rest.len != 8)
		return ERR_CORRUPT;
	if (it->value.len > FS_STRIPES_CHUNK_BYTES)
		return ERR_CORRUPT;
	first = be64_get(p.rest.p) * FS_STRIPES_PER_CHUNK;
	for (size_t i = 0; i < it->value.len * 8; i++) {
		int err;

		if (!(it->value.p[i / 8] >> i % 8 & 1))
			continue;
		err = add(s, first + i);
		if (err)
			return err;
	}
	return 0;
}

static int scan_piece(struct fs_op *op, struct fs_stripe_set *s, struct fs_key *at,
		      const struct fs_key *end)
{
	const struct txn_read_result *r;
	int err;

	fs__op_reset(op);
	txn_scan(&op->m, fs__key_slice(at), fs__key_slice(end), SCAN_CHUNKS);
	err = fs__op_read(op);
	if (err)
		return err;
	r = &op->r.reads[0];
	for (uint32_t i = 0; i < r->item_count; i++) {
		err = take_chunk(s, &r->items[i]);
		if (err)
			return err;
	}
	if (!r->more) {
		*at = *end;
		return 0;
	}
	at->len = 0;
	fs__key_bytes(at, r->items[r->item_count - 1].key);
	fs__key_bytes(at, slice_of("", 1));
	return 0;
}

int fs__stripes_get(struct fs *fs, uint64_t data_id, struct fs_stripe_set *out)
{
	struct fs_key at, to, end;
	struct fs_op op;
	int err = 0;

	*out = (struct fs_stripe_set){0};
	fs__range_kind(&at, &to, data_id, FS_KIND_STRIPES);
	fs__op_begin(&op, fs);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0) {
		fs__range_piece(fs, &at, &to, &end);
		err = scan_piece(&op, out, &at, &end);
	}
	fs__op_end(&op);
	return err;
}

static void mark(struct fs_op *op, uint64_t data_id, uint64_t stripe)
{
	uint8_t bits[FS_STRIPES_CHUNK_BYTES] = {0};
	uint64_t bit = stripe % FS_STRIPES_PER_CHUNK;
	struct fs_key k;

	bits[bit / 8] = (uint8_t)(1u << bit % 8);
	fs__key_stripes(&k, data_id, stripe / FS_STRIPES_PER_CHUNK);
	txn_or(&op->m, fs__key_slice(&k), slice_of(bits, bit / 8 + 1));
}

void fs__add_stripes(struct fs_op *op, uint64_t data_id, uint64_t offset, size_t len)
{
	uint64_t first = offset / STRIPE_SIZE, last = (offset + len - 1) / STRIPE_SIZE;

	CHECK(len > 0);
	for (uint64_t s = first; s <= last; s++)
		if (s > 0)
			mark(op, data_id, s);
}
