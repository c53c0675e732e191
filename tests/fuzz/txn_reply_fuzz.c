/* Replies as a client merges them (txn_result_merge): items of several parts in any order, none of them
 * about what was not asked. Byte 0: how many reads and mutations were asked; then replies, each with its
 * length. */
#include "tests/fuzz/fuzz.h"
#include "txn/reply_codec.h"
#include "txn/txn.h"

static void check_slice(const struct txn_result *r, struct slice s)
{
	if (s.len)
		CHECK(s.p >= r->bytes.data && s.p + s.len <= r->bytes.data + r->bytes.len);
}

static void check_result(const struct txn_result *r)
{
	check_slice(r, r->current.value);
	for (uint32_t i = 0; i < r->read_count; i++) {
		const struct txn_read_result *rr = &r->reads[i];

		check_slice(r, rr->value.value);
		CHECK(rr->item_count == 0 || rr->items);
		for (uint32_t k = 0; k < rr->item_count; k++) {
			check_slice(r, rr->items[k].key);
			check_slice(r, rr->items[k].value);
			check_slice(r, rr->items[k].ref.value);
		}
	}
}

/* A head that decodes is encoded to one that decodes to the same. */
static void check_head(struct slice reply)
{
	struct reply_head h, g;
	struct slice items, none;
	struct buf b = BUF_INIT;

	if (txn__reply_decode_head(reply, &h, &items) != 0)
		return;
	CHECK(h.status <= 0 && items.len <= reply.len);
	txn__reply_head(&b, &h);
	CHECK(txn__reply_decode_head(buf_slice(&b), &g, &none) == 0 && none.len == 0);
	CHECK(g.status == h.status && g.stamp == h.stamp && g.failed == h.failed);
	CHECK(g.current.status == h.current.status && g.current.version == h.current.version);
	CHECK(slice_eq(g.current.value, h.current.value));
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	uint8_t asked = fuzz_u8(&in);
	struct txn_mini m;
	struct txn_result r;
	int err = 0;

	txn_mini_init(&m);
	for (unsigned i = 0; i < asked % 16u; i++)
		(void)txn_get(&m, slice_str("k"));
	for (unsigned i = 0; i < asked / 16u; i++)
		(void)txn_delete(&m, slice_str("k"));
	txn_result_init(&r);
	txn_result_prepare(&r, &m);
	while (!err && in.left.len > 0) {
		struct slice reply = fuzz_item(&in);

		check_head(reply);
		err = txn_result_merge(&r, reply);
		CHECK(err == 0 || err == ERR_PROTO);
		check_result(&r);
	}
	txn_result_release(&r);
	txn_mini_release(&m);
	return 0;
}
