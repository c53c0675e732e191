/* Parts and replies on the wire: what comes in is what went out, and no bytes do harm. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/random.h"
#include "tests/lib/check.h"
#include "txn/mini_codec.h"
#include "txn/reply_codec.h"
#include "txn/txn.h"

#define SEED	  20260101u
#define MUTATIONS 60000u

static struct txn_mini m;
static struct txn_part whole;
static struct part p;
static struct txn_result r;
static uint64_t random_state;

static uint64_t rnd(uint64_t n)
{
	return splitmix64(&random_state) % n;
}

static int one_group(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)key;
	(void)to;
	*group = 5;
	return 0;
}

/* One of each kind. */
static void build(void)
{
	struct slice k = slice_str("key"), to = slice_str("kez"), v = slice_str("value");
	struct txn_field f = {.offset = 8, .width = 4}, f8 = {.offset = 16, .width = 8};
	struct txn_field any = {.offset = 3, .width = 5, .commutes = true};

	(void)txn_if_exists(&m, k);
	(void)txn_if_absent(&m, k);
	(void)txn_if_version(&m, k, UINT64_MAX);
	(void)txn_if_field(&m, k, any, v);
	(void)txn_if_field_min(&m, k, f, 77);
	(void)txn_if_range_empty(&m, k, to);
	(void)txn_if_range_same(&m, k, to, 12, 34);
	(void)txn_get(&m, k);
	(void)txn_get_ref(&m, 0, 9, 'I', slice_str("suffix"));
	(void)txn_get_ref(&m, 1, 10, 'D', (struct slice){0});
	(void)txn_scan(&m, k, to, 100);
	(void)txn_scan_keys(&m, k, to, 300);
	(void)txn_scan_ref(&m, k, to, 200, 11, 'I', slice_str("s"));
	(void)txn_put(&m, k, v);
	(void)txn_put(&m, k, (struct slice){0});
	(void)txn_delete(&m, k);
	(void)txn_delete_range(&m, k, to);
	(void)txn_patch(&m, k, 1000, v);
	(void)txn_cut(&m, k, 99);
	(void)txn_or(&m, k, v);
	(void)txn_add(&m, k, f, -5, true);
	(void)txn_add(&m, k, f8, 5, false);
	(void)txn_max(&m, k, f, 6);
	(void)txn_touch(&m, k, f8);
	(void)txn_touch_at(&m, k, f8, 8);
	(void)txn_set(&m, k, any, v);
	(void)txn_set_now(&m, k, f8);
	CHECK_OK(m.err);
}

static void setup(void)
{
	uint32_t n = 0;

	random_state = SEED;
	txn_mini_init(&m);
	txn_result_init(&r);
	build();
	CHECK_OK(txn_split(&m, one_group, NULL, &whole, &n));
	CHECK_INT_EQ(n, 1);
}

static void teardown(void)
{
	txn_parts_release(&whole, 1);
	txn__part_release(&p);
	txn_mini_release(&m);
	txn_result_release(&r);
}

/* ---- parts ---- */

static void check_field(struct txn_field a, struct txn_field b, bool commutes)
{
	CHECK_INT_EQ(a.offset, b.offset);
	CHECK_INT_EQ(a.width, b.width);
	if (commutes)
		CHECK_INT_EQ(a.commutes, b.commutes);
}

static void conditions_come_back(void)
{
	CHECK_OK(txn__part_decode(&p, buf_slice(&whole.body)));
	CHECK_INT_EQ(p.cond_count, m.cond_count);
	for (uint32_t i = 0; i < m.cond_count; i++) {
		CHECK_INT_EQ(p.cond_index[i], i);
		CHECK_INT_EQ(p.conds[i].kind, m.conds[i].kind);
		CHECK_SLICE_EQ(p.conds[i].key, m.conds[i].key);
		CHECK_SLICE_EQ(p.conds[i].to, m.conds[i].to);
		CHECK_SLICE_EQ(p.conds[i].value, m.conds[i].value);
		CHECK_U64_EQ(p.conds[i].number, m.conds[i].number);
		CHECK_INT_EQ(p.conds[i].count, m.conds[i].count);
		check_field(p.conds[i].field, m.conds[i].field, m.conds[i].kind == TXN_FIELD);
	}
}

static void reads_come_back(void)
{
	CHECK_OK(txn__part_decode(&p, buf_slice(&whole.body)));
	CHECK_INT_EQ(p.read_count, m.read_count);
	for (uint32_t i = 0; i < m.read_count; i++) {
		CHECK_INT_EQ(p.read_index[i], i);
		CHECK_INT_EQ(p.reads[i].kind, m.reads[i].kind);
		CHECK_SLICE_EQ(p.reads[i].key, m.reads[i].key);
		CHECK_SLICE_EQ(p.reads[i].to, m.reads[i].to);
		CHECK_SLICE_EQ(p.reads[i].suffix, m.reads[i].suffix);
		CHECK_INT_EQ(p.reads[i].limit, m.reads[i].limit);
		CHECK_INT_EQ(p.reads[i].from, m.reads[i].from);
		CHECK_INT_EQ(p.reads[i].offset, m.reads[i].offset);
		CHECK_INT_EQ(p.reads[i].ref_kind, m.reads[i].ref_kind);
	}
}

static void mutations_come_back(void)
{
	CHECK_OK(txn__part_decode(&p, buf_slice(&whole.body)));
	CHECK_INT_EQ(p.mut_count, m.mut_count);
	CHECK_INT_EQ(p.flags, PART_WRITES | PART_ADDS_DATA | PART_FREES);
	for (uint32_t i = 0; i < m.mut_count; i++) {
		CHECK_INT_EQ(p.mut_index[i], i);
		CHECK_INT_EQ(p.muts[i].kind, m.muts[i].kind);
		CHECK_SLICE_EQ(p.muts[i].key, m.muts[i].key);
		CHECK_SLICE_EQ(p.muts[i].to, m.muts[i].to);
		CHECK_SLICE_EQ(p.muts[i].value, m.muts[i].value);
		CHECK_U64_EQ(p.muts[i].number, m.muts[i].number);
		CHECK_INT_EQ(p.muts[i].now, m.muts[i].now);
		CHECK_INT_EQ(p.muts[i].want_result, m.muts[i].want_result);
		check_field(p.muts[i].field, m.muts[i].field, false);
	}
}

/* In memory of its own, so that sanitizers see a byte too far. */
static int decode_copy(struct slice bytes)
{
	uint8_t *copy = malloc(bytes.len + 1);
	int err;

	memcpy(copy, bytes.p, bytes.len);
	err = txn__part_decode(&p, slice_of(copy, bytes.len));
	free(copy);
	return err;
}

static void every_prefix_of_a_part_is_refused(void)
{
	for (size_t len = 0; len < whole.body.len; len++)
		CHECK_ERR(decode_copy(slice_of(whole.body.data, len)), ERR_PROTO);
}

static void bytes_behind_a_part_are_refused(void)
{
	buf_add_u8(&whole.body, 0);
	CHECK_ERR(decode_copy(buf_slice(&whole.body)), ERR_PROTO);
}

static void check_decoded_limits(void)
{
	for (uint32_t i = 0; i < p.cond_count; i++) {
		CHECK_TRUE(p.conds[i].key.len > 0 && p.conds[i].key.len <= KEY_SIZE_MAX);
		CHECK_TRUE(p.conds[i].value.len <= VALUE_SIZE_MAX);
		CHECK_TRUE(p.cond_index[i] < TXN_CONDS_MAX);
	}
	for (uint32_t i = 0; i < p.read_count; i++) {
		CHECK_TRUE(p.reads[i].kind == TXN_GET_REF ? p.reads[i].from < i
							   : p.reads[i].key.len > 0);
		CHECK_TRUE(p.read_index[i] < TXN_READS_MAX);
	}
	for (uint32_t i = 0; i < p.mut_count; i++) {
		CHECK_TRUE(p.muts[i].key.len > 0 && p.muts[i].key.len <= KEY_SIZE_MAX);
		CHECK_TRUE(p.muts[i].kind >= TXN_PUT && p.muts[i].kind <= TXN_TOUCH);
		CHECK_TRUE(p.mut_index[i] < TXN_MUTS_MAX);
	}
	CHECK_INT_EQ((p.flags & PART_WRITES) != 0, p.mut_count > 0);
}

static void mutated_parts_do_no_harm(void)
{
	size_t len = whole.body.len;
	uint8_t *copy = malloc(len);
	unsigned refused = 0;

	for (unsigned n = 0; n < MUTATIONS; n++) {
		size_t use = rnd(8) ? len : 1 + rnd(len);
		int err;

		memcpy(copy, whole.body.data, len);
		for (uint64_t k = 1 + rnd(3); k > 0; k--)
			copy[rnd(use)] = rnd(2) ? (uint8_t)rnd(256)
						: (uint8_t)(copy[rnd(use)] ^ (1u << rnd(8)));
		err = decode_copy(slice_of(copy, use));
		if (err == 0)
			check_decoded_limits();
		else
			CHECK_ERR(err, ERR_PROTO);
		refused += err != 0;
	}
	free(copy);
	CHECK_TRUE(refused > MUTATIONS / 4 && refused < MUTATIONS);
}

/* A part of one item with a head of our own, encoded by hand. */
static int decode_by_hand(uint32_t flags, uint32_t conds, uint32_t reads, uint32_t muts,
			  void (*items)(struct buf *b))
{
	struct buf b = BUF_INIT;
	int err;

	enc_u64(&b, flags);
	enc_u64(&b, conds);
	enc_u64(&b, reads);
	enc_u64(&b, muts);
	items(&b);
	err = decode_copy(buf_slice(&b));
	buf_release(&b);
	return err;
}

static void item(struct buf *b, uint64_t kind, uint64_t index, size_t key_len)
{
	static uint8_t key[KEY_SIZE_MAX + 1];

	enc_u64(b, kind);
	enc_u64(b, index);
	enc_bytes(b, slice_of(key, key_len));
}

static void fine(struct buf *b)
{
	item(b, TXN_EXISTS, TXN_CONDS_MAX - 1, KEY_SIZE_MAX);
}

static void empty_key(struct buf *b)
{
	item(b, TXN_EXISTS, 0, 0);
}

static void long_key(struct buf *b)
{
	item(b, TXN_EXISTS, 0, KEY_SIZE_MAX + 1);
}

static void high_index(struct buf *b)
{
	item(b, TXN_EXISTS, TXN_CONDS_MAX, 3);
}

static void unknown_kind(struct buf *b)
{
	item(b, TXN_RANGE_SAME + 1, 0, 3);
}

static void kind_zero(struct buf *b)
{
	item(b, 0, 0, 3);
}

static void repeated_index(struct buf *b)
{
	item(b, TXN_EXISTS, 4, 3);
	item(b, TXN_EXISTS, 4, 3);
}

static void deletion(struct buf *b)
{
	item(b, TXN_DELETE, 0, 3);
}

static void odd_width(struct buf *b)
{
	item(b, TXN_ADD, 0, 3);
	enc_u64(b, 0);
	enc_u64(b, 3);
	enc_u64(b, 1);
	enc_bool(b, false);
}

static void patch_too_far(struct buf *b)
{
	item(b, TXN_PATCH, 0, 3);
	enc_u64(b, VALUE_SIZE_MAX);
	enc_bytes(b, slice_str("x"));
}

static void set_of_no_bytes(struct buf *b)
{
	item(b, TXN_SET, 0, 3);
	enc_u64(b, 0);
	enc_u64(b, 0);
	enc_bool(b, false);
	enc_bytes(b, (struct slice){0});
}

static void stamp_too_narrow(struct buf *b)
{
	item(b, TXN_TOUCH, 0, 3);
	enc_u64(b, 0);
	enc_u64(b, 4);
	enc_bool(b, true);
}

/* As version 0.1.0 wrote it, for every automatic time; and for all else. */
static void max_now(struct buf *b)
{
	item(b, TXN_MAX, 0, 3);
	enc_u64(b, 48);
	enc_u64(b, 8);
	enc_bool(b, true);
}

static void max_number(struct buf *b)
{
	item(b, TXN_MAX, 0, 3);
	enc_u64(b, 32);
	enc_u64(b, 8);
	enc_bool(b, false);
	enc_u64(b, 77);
}

static void max_now_too_narrow(struct buf *b)
{
	item(b, TXN_MAX, 0, 3);
	enc_u64(b, 48);
	enc_u64(b, 4);
	enc_bool(b, true);
}

static void reference_forward(struct buf *b)
{
	enc_u64(b, TXN_GET_REF);
	enc_u64(b, 0);
	enc_u64(b, 0); /* itself */
	enc_u64(b, 0);
	enc_u64(b, 'I');
	enc_bytes(b, (struct slice){0});
}

static void limits_hold_on_the_wire(void)
{
	CHECK_OK(decode_by_hand(0, 1, 0, 0, fine));
	CHECK_ERR(decode_by_hand(0, 1, 0, 0, empty_key), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 1, 0, 0, long_key), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 1, 0, 0, high_index), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 1, 0, 0, unknown_kind), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 1, 0, 0, kind_zero), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 2, 0, 0, repeated_index), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, TXN_CONDS_MAX + 1, 0, 0, fine), ERR_PROTO);
	CHECK_OK(decode_by_hand(PART_WRITES | PART_FREES, 0, 0, 1, deletion));
	CHECK_ERR(decode_by_hand(PART_WRITES, 0, 0, 1, deletion), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 0, 0, 1, deletion), ERR_PROTO);
	CHECK_ERR(decode_by_hand(PART_WRITES, 0, 0, 1, odd_width), ERR_PROTO);
	CHECK_ERR(decode_by_hand(PART_WRITES | PART_ADDS_DATA, 0, 0, 1, patch_too_far), ERR_PROTO);
	CHECK_ERR(decode_by_hand(PART_WRITES, 0, 0, 1, set_of_no_bytes), ERR_PROTO);
	CHECK_ERR(decode_by_hand(PART_WRITES, 0, 0, 1, stamp_too_narrow), ERR_PROTO);
	CHECK_ERR(decode_by_hand(0, 0, 1, 0, reference_forward), ERR_PROTO);
}

/* What an older version has logged must mean the same. */
static void older_entries_are_understood(void)
{
	CHECK_OK(decode_by_hand(PART_WRITES, 0, 0, 1, max_now));
	CHECK_INT_EQ(p.muts[0].kind, TXN_MAX);
	CHECK_TRUE(p.muts[0].now);
	CHECK_INT_EQ(p.muts[0].field.offset, 48);
	CHECK_OK(decode_by_hand(PART_WRITES, 0, 0, 1, max_number));
	CHECK_INT_EQ(p.muts[0].kind, TXN_MAX);
	CHECK_FALSE(p.muts[0].now);
	CHECK_U64_EQ(p.muts[0].number, 77);
	CHECK_ERR(decode_by_hand(PART_WRITES, 0, 0, 1, max_now_too_narrow), ERR_PROTO);
}

/* ---- replies ---- */

static void enc_value(struct buf *b, int status, uint64_t version, const char *value)
{
	struct reply_value v = {.status = status, .version = version, .value = slice_str(value)};

	txn__reply_value(b, &v);
}

/* A reply to what build() makes. */
static void reply_build(struct buf *b)
{
	txn__reply_head(b, &(struct reply_head){.stamp = 123456789});
	enc_u64(b, REPLY_GET);
	enc_u64(b, 0);
	enc_value(b, 0, 42, "got");
	enc_u64(b, REPLY_GET);
	enc_u64(b, 1);
	enc_value(b, ERR_ELSEWHERE, 0, "");
	enc_u64(b, REPLY_SCAN);
	enc_u64(b, 4);
	for (int i = 0; i < 3; i++) {
		enc_u64(b, i == 1 ? REPLY_ITEM : REPLY_ITEM_REF);
		enc_str(b, i == 0 ? "a" : i == 1 ? "b" : "c");
		enc_u64(b, 100 + (unsigned)i);
		enc_str(b, "item");
		if (i != 1)
			enc_value(b, 0, 9, "referred");
	}
	enc_u64(b, REPLY_MORE);
	enc_u64(b, REPLY_NUMBER);
	enc_u64(b, 7);
	enc_u64(b, 1000);
}

static int merge_copy(struct slice bytes)
{
	uint8_t *copy = malloc(bytes.len + 1);
	int err;

	memcpy(copy, bytes.p, bytes.len);
	txn_result_prepare(&r, &m);
	err = txn_result_merge(&r, slice_of(copy, bytes.len));
	free(copy); /* the result holds its own */
	return err;
}

static void replies_come_back(void)
{
	struct buf b = BUF_INIT;

	reply_build(&b);
	CHECK_OK(merge_copy(buf_slice(&b)));
	buf_release(&b);
	CHECK_OK(r.status);
	CHECK_U64_EQ(r.stamp, 123456789);
	CHECK_SLICE_EQ(r.reads[0].value.value, slice_str("got"));
	CHECK_U64_EQ(r.reads[0].value.version, 42);
	CHECK_ERR(r.reads[1].value.status, ERR_ELSEWHERE);
	CHECK_ERR(r.reads[2].value.status, ERR_NOT_FOUND);
	CHECK_INT_EQ(r.reads[4].item_count, 3);
	CHECK_TRUE(r.reads[4].more);
	CHECK_SLICE_EQ(r.reads[4].items[2].key, slice_str("c"));
	CHECK_SLICE_EQ(r.reads[4].items[2].ref.value, slice_str("referred"));
	CHECK_ERR(r.reads[4].items[1].ref.status, ERR_NOT_FOUND);
	CHECK_U64_EQ(r.reads[4].items[1].version, 101);
	CHECK_U64_EQ(r.numbers[7], 1000);
	CHECK_U64_EQ(r.numbers[6], 0);
}

static void failures_carry_the_current_value(void)
{
	static const int with_item[] = {ERR_CONDITION, ERR_ABSENT_RECORD, ERR_BAD_FIELD};

	for (size_t i = 0; i < sizeof(with_item) / sizeof(with_item[0]); i++) {
		struct reply_head h = {.status = with_item[i], .failed = 3};
		struct buf b = BUF_INIT;

		h.current = (struct reply_value){.version = 8, .value = slice_str("now")};
		txn__reply_head(&b, &h);
		CHECK_OK(merge_copy(buf_slice(&b)));
		for (size_t len = 0; len < b.len; len++)
			CHECK_ERR(merge_copy(slice_of(b.data, len)), ERR_PROTO);
		CHECK_OK(merge_copy(buf_slice(&b)));
		buf_release(&b);
		CHECK_ERR(r.status, with_item[i]);
		CHECK_INT_EQ(r.failed, 3);
		CHECK_SLICE_EQ(r.current.value, slice_str("now"));
		CHECK_U64_EQ(r.current.version, 8);
	}
}

/* Items stand one behind the other, so a reply cut between two is one with fewer. */
static void prefixes_of_replies_do_no_harm(void)
{
	struct buf b = BUF_INIT;
	unsigned whole_items = 0;

	reply_build(&b);
	for (size_t len = 0; len < b.len; len++) {
		int err = merge_copy(slice_of(b.data, len));

		if (err)
			CHECK_ERR(err, ERR_PROTO);
		whole_items += err == 0;
	}
	CHECK_INT_EQ(whole_items, 4); /* behind the head and three of the four items */
	buf_release(&b);
}

static void mutated_replies_do_no_harm(void)
{
	struct buf b = BUF_INIT;
	uint8_t *copy;
	unsigned refused = 0;

	reply_build(&b);
	copy = malloc(b.len);
	for (unsigned n = 0; n < MUTATIONS; n++) {
		size_t use = rnd(8) ? b.len : 1 + rnd(b.len);
		int err;

		memcpy(copy, b.data, b.len);
		for (uint64_t k = 1 + rnd(3); k > 0; k--)
			copy[rnd(use)] = (uint8_t)rnd(256);
		err = merge_copy(slice_of(copy, use));
		if (err)
			CHECK_ERR(err, ERR_PROTO);
		refused += err != 0;
	}
	free(copy);
	buf_release(&b);
	CHECK_TRUE(refused > MUTATIONS / 4 && refused < MUTATIONS);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, conditions_come_back),
	CHECK_TEST_WITH(setup, teardown, reads_come_back),
	CHECK_TEST_WITH(setup, teardown, mutations_come_back),
	CHECK_TEST_WITH(setup, teardown, every_prefix_of_a_part_is_refused),
	CHECK_TEST_WITH(setup, teardown, bytes_behind_a_part_are_refused),
	CHECK_TEST_WITH(setup, teardown, mutated_parts_do_no_harm),
	CHECK_TEST_WITH(setup, teardown, limits_hold_on_the_wire),
	CHECK_TEST_WITH(setup, teardown, older_entries_are_understood),
	CHECK_TEST_WITH(setup, teardown, replies_come_back),
	CHECK_TEST_WITH(setup, teardown, failures_carry_the_current_value),
	CHECK_TEST_WITH(setup, teardown, prefixes_of_replies_do_no_harm),
	CHECK_TEST_WITH(setup, teardown, mutated_replies_do_no_harm),
};
CHECK_MAIN(tests)
