/* Results, on the side of those who asked. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "txn/reply_codec.h"

void txn_result_init(struct txn_result *r)
{
	*r = (struct txn_result){0};
}

void txn_result_release(struct txn_result *r)
{
	for (uint32_t i = 0; i < r->read_count; i++)
		mem_free(r->reads[i].items);
	mem_free(r->reads);
	mem_free(r->numbers);
	buf_release(&r->bytes);
	txn_result_init(r);
}

void txn_result_prepare(struct txn_result *r, const struct txn_mini *m)
{
	txn_result_release(r);
	CHECK(m->read_count <= TXN_READS_MAX && m->mut_count <= TXN_MUTS_MAX);
	r->read_count = m->read_count;
	r->mut_count = m->mut_count;
	r->reads = mem_must_alloc(sizeof(*r->reads) * (m->read_count + 1));
	r->numbers = mem_must_alloc(sizeof(*r->numbers) * (m->mut_count + 1));
	r->current.status = ERR_NOT_FOUND;
	for (uint32_t i = 0; i < r->read_count; i++)
		r->reads[i].value.status = ERR_NOT_FOUND;
}

/* FNV-1a over the key, then a multiply-and-shift finisher (as in splitmix64) over what was there. */
uint64_t txn_range_hash(uint64_t h, struct slice key, uint64_t version)
{
	uint64_t k = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < key.len; i++)
		k = (k ^ key.p[i]) * 0x100000001b3ull;
	h = (h ^ k) * 0x9e3779b97f4a7c15ull + version;
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
	return h ^ (h >> 31);
}

/* ---- merging ---- */

static void rebase_slice(struct slice *s, const uint8_t *from, const uint8_t *to)
{
	if (s->len)
		s->p = to + (s->p - from);
}

/* The bytes have moved: everything that points into them follows. */
static void rebase(struct txn_result *r, const uint8_t *from, const uint8_t *to)
{
	rebase_slice(&r->current.value, from, to);
	for (uint32_t i = 0; i < r->read_count; i++) {
		rebase_slice(&r->reads[i].value.value, from, to);
		for (uint32_t k = 0; k < r->reads[i].item_count; k++) {
			struct txn_item *it = &r->reads[i].items[k];

			rebase_slice(&it->key, from, to);
			rebase_slice(&it->value, from, to);
			rebase_slice(&it->ref.value, from, to);
		}
	}
}

/* Copies @s behind what the result holds. */
static int keep_bytes(struct txn_result *r, struct slice s, struct slice *kept)
{
	struct buf grown = BUF_INIT;
	size_t at = r->bytes.len;

	if (r->bytes.cap - at < s.len) {
		if (buf_reserve(&grown, at + s.len) != 0)
			return ERR_NOMEM;
		buf_add_slice(&grown, buf_slice(&r->bytes));
		rebase(r, r->bytes.data, grown.data);
		buf_move(&r->bytes, &grown);
	}
	buf_add_slice(&r->bytes, s);
	CHECK(buf_ok(&r->bytes));
	*kept = s.len ? slice_of(r->bytes.data + at, s.len) : slice_of(NULL, 0);
	return 0;
}

static void dec_txn_value(struct dec *d, struct txn_value *v)
{
	v->status = -(int)dec_u64_max(d, INT16_MAX);
	v->version = dec_u64(d);
	v->value = dec_bytes(d, FRAME_SIZE_MAX);
}

static void merge_get(struct txn_result *r, struct dec *d)
{
	uint32_t i = dec_u32(d);
	struct txn_value v = {0};

	dec_txn_value(d, &v);
	if (i >= r->read_count)
		dec_fail(d);
	if (!d->err)
		r->reads[i].value = v;
}

static struct txn_item *item_add(struct txn_read_result *rr, uint32_t *cap)
{
	if (rr->item_count == *cap) {
		uint32_t want = *cap ? *cap * 2 : 32;
		struct txn_item *p = mem_try_realloc(rr->items, want * sizeof(*p));

		if (!p)
			return NULL;
		rr->items = p;
		*cap = want;
	}
	return &rr->items[rr->item_count];
}

static int merge_scan(struct txn_result *r, struct dec *d)
{
	uint32_t i = dec_u32(d), cap = 0;
	uint64_t tag;

	if (i >= r->read_count || d->err || r->reads[i].items) {
		dec_fail(d);
		return 0;
	}
	while (tag = dec_u64(d), tag == REPLY_ITEM || tag == REPLY_ITEM_REF) {
		struct txn_item *it = item_add(&r->reads[i], &cap);

		if (!it)
			return ERR_NOMEM;
		*it = (struct txn_item){.ref = {.status = ERR_NOT_FOUND}};
		it->key = dec_bytes(d, KEY_SIZE_MAX);
		it->version = dec_u64(d);
		it->value = dec_bytes(d, FRAME_SIZE_MAX);
		if (tag == REPLY_ITEM_REF)
			dec_txn_value(d, &it->ref);
		if (d->err)
			return 0;
		r->reads[i].item_count++;
	}
	r->reads[i].value.status = 0;
	r->reads[i].more = tag == REPLY_MORE;
	if (tag != REPLY_MORE && tag != REPLY_DONE)
		dec_fail(d);
	return 0;
}

static void merge_number(struct txn_result *r, struct dec *d)
{
	uint32_t i = dec_u32(d);
	uint64_t number = dec_u64(d);

	if (i >= r->mut_count)
		dec_fail(d);
	if (!d->err)
		r->numbers[i] = number;
}

static int merge_items(struct txn_result *r, struct slice items)
{
	struct dec d;
	int err = 0;

	dec_init(&d, items);
	while (!err && !d.err && dec_rest(&d).len > 0) {
		switch (dec_u64(&d)) {
		case REPLY_GET:
			merge_get(r, &d);
			break;
		case REPLY_SCAN:
			err = merge_scan(r, &d);
			break;
		case REPLY_NUMBER:
			merge_number(r, &d);
			break;
		case REPLY_SEEN: /* for whoever compares replies */
			(void)dec_u64(&d);
			break;
		default:
			dec_fail(&d);
		}
	}
	return err ? err : dec_end(&d);
}

int txn_result_merge(struct txn_result *r, struct slice part_reply)
{
	struct reply_head h;
	struct slice kept, items;
	int err = keep_bytes(r, part_reply, &kept);

	if (!err)
		err = txn__reply_decode_head(kept, &h, &items);
	if (err)
		return err;
	if (h.status != 0) { /* the first failure counts */
		if (r->status == 0) {
			r->status = h.status;
			r->failed = h.failed;
			r->current = (struct txn_value){.status = h.current.status,
							.version = h.current.version,
							.value = h.current.value};
		}
		return 0;
	}
	if (h.stamp > r->stamp)
		r->stamp = h.stamp;
	return merge_items(r, items);
}
