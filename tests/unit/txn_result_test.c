/* Merging the replies of parts, and hashing ranges. */
#include <stdio.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "txn/reply_codec.h"
#include "txn/txn.h"

static struct txn_mini m;
static struct txn_result r;
static struct buf b;

static void setup(void)
{
	txn_mini_init(&m);
	txn_result_init(&r);
	buf_init(&b);
}

static void teardown(void)
{
	buf_release(&b);
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void reply_ok(uint64_t stamp)
{
	buf_reset(&b);
	txn__reply_head(&b, &(struct reply_head){.stamp = stamp});
}

static void reply_failure(int status, uint32_t failed)
{
	buf_reset(&b);
	txn__reply_head(&b, &(struct reply_head){.status = status, .failed = failed});
}

static void add_get(uint32_t index, const char *value)
{
	struct reply_value v = {.version = index + 1, .value = slice_str(value)};

	enc_u64(&b, REPLY_GET);
	enc_u64(&b, index);
	txn__reply_value(&b, &v);
}

static void three_gets(void)
{
	for (int i = 0; i < 3; i++)
		(void)txn_get(&m, slice_str("k"));
	txn_result_prepare(&r, &m);
}

static void prepared_is_not_found(void)
{
	three_gets();
	CHECK_INT_EQ(r.read_count, 3);
	for (int i = 0; i < 3; i++)
		CHECK_ERR(r.reads[i].value.status, ERR_NOT_FOUND);
	CHECK_ERR(r.current.status, ERR_NOT_FOUND);
	CHECK_OK(r.status);
}

static void parts_fill_in_what_is_theirs(void)
{
	three_gets();
	reply_ok(10);
	add_get(1, "one");
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	reply_ok(30);
	add_get(2, "two");
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	reply_ok(20);
	add_get(0, "null");
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	CHECK_SLICE_EQ(r.reads[0].value.value, slice_str("null"));
	CHECK_SLICE_EQ(r.reads[1].value.value, slice_str("one"));
	CHECK_SLICE_EQ(r.reads[2].value.value, slice_str("two"));
	CHECK_U64_EQ(r.stamp, 30);
}

/* Each merge moves the bytes; everything that points into them follows. */
static void many_parts_keep_all_slices(void)
{
	char text[64];

	for (int i = 0; i < 300; i++)
		(void)txn_get(&m, slice_str("k"));
	txn_result_prepare(&r, &m);
	for (uint32_t i = 0; i < 300; i++) {
		reply_ok(1);
		snprintf(text, sizeof(text), "the value of read number %u", i);
		add_get(i, text);
		CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	}
	for (uint32_t i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "the value of read number %u", i);
		CHECK_SLICE_EQ(r.reads[i].value.value, slice_str(text));
	}
}

static void scanned_items_follow_too(void)
{
	(void)txn_scan(&m, slice_str("a"), slice_str("b"), 100);
	(void)txn_get(&m, slice_str("k"));
	txn_result_prepare(&r, &m);
	reply_ok(1);
	enc_u64(&b, REPLY_SCAN);
	enc_u64(&b, 0);
	for (int i = 0; i < 100; i++) {
		enc_u64(&b, REPLY_ITEM);
		enc_str(&b, "item");
		enc_u64(&b, 5);
		enc_str(&b, "value");
	}
	enc_u64(&b, REPLY_DONE);
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	for (int i = 0; i < 20; i++) {
		reply_ok(1);
		add_get(1, "0123456789012345678901234567890123456789");
		CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	}
	CHECK_INT_EQ(r.reads[0].item_count, 100);
	CHECK_FALSE(r.reads[0].more);
	CHECK_SLICE_EQ(r.reads[0].items[99].key, slice_str("item"));
	CHECK_SLICE_EQ(r.reads[0].items[99].value, slice_str("value"));
}

static void the_first_failure_counts(void)
{
	three_gets();
	reply_ok(5);
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	reply_failure(ERR_CONDITION, 2);
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	reply_failure(ERR_BAD_FIELD, 1);
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	CHECK_ERR(r.status, ERR_CONDITION);
	CHECK_INT_EQ(r.failed, 2);
}

static void indexes_out_of_range_are_refused(void)
{
	three_gets();
	(void)txn_delete(&m, slice_str("k"));
	txn_result_prepare(&r, &m);
	reply_ok(1);
	add_get(3, "x");
	CHECK_ERR(txn_result_merge(&r, buf_slice(&b)), ERR_PROTO);
	reply_ok(1);
	enc_u64(&b, REPLY_NUMBER);
	enc_u64(&b, 1);
	enc_u64(&b, 1);
	CHECK_ERR(txn_result_merge(&r, buf_slice(&b)), ERR_PROTO);
	reply_ok(1);
	enc_u64(&b, REPLY_SCAN);
	enc_u64(&b, 3);
	enc_u64(&b, REPLY_DONE);
	CHECK_ERR(txn_result_merge(&r, buf_slice(&b)), ERR_PROTO);
	reply_ok(1);
	enc_u64(&b, REPLY_DONE);
	CHECK_ERR(txn_result_merge(&r, buf_slice(&b)), ERR_PROTO);
}

static void an_error_made_by_a_driver_is_a_reply(void)
{
	three_gets();
	reply_failure(ERR_NOT_LEADER, 0);
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	CHECK_ERR(r.status, ERR_NOT_LEADER);
}

static void results_can_be_used_again(void)
{
	three_gets();
	reply_failure(ERR_CONDITION, 2);
	CHECK_OK(txn_result_merge(&r, buf_slice(&b)));
	txn_result_prepare(&r, &m);
	CHECK_OK(r.status);
	CHECK_INT_EQ(r.failed, 0);
	txn_result_release(&r);
	txn_result_release(&r); /* is as after init */
}

static void range_hashes_tell_ranges_apart(void)
{
	struct slice a = slice_str("a"), c = slice_str("b");
	uint64_t ab = txn_range_hash(txn_range_hash(0, a, 1), c, 2);

	CHECK_U64_EQ(ab, txn_range_hash(txn_range_hash(0, a, 1), c, 2));
	CHECK_TRUE(ab != txn_range_hash(txn_range_hash(0, c, 2), a, 1)); /* order */
	CHECK_TRUE(ab != txn_range_hash(txn_range_hash(0, a, 2), c, 1)); /* versions */
	CHECK_TRUE(ab != txn_range_hash(txn_range_hash(0, a, 1), c, 3));
	CHECK_TRUE(ab != txn_range_hash(0, a, 1));
	CHECK_TRUE(txn_range_hash(0, slice_str("ab"), 1) !=
		   txn_range_hash(txn_range_hash(0, a, 1), c, 1));
	CHECK_TRUE(txn_range_hash(0, a, 1) != 0);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, prepared_is_not_found),
	CHECK_TEST_WITH(setup, teardown, parts_fill_in_what_is_theirs),
	CHECK_TEST_WITH(setup, teardown, many_parts_keep_all_slices),
	CHECK_TEST_WITH(setup, teardown, scanned_items_follow_too),
	CHECK_TEST_WITH(setup, teardown, the_first_failure_counts),
	CHECK_TEST_WITH(setup, teardown, indexes_out_of_range_are_refused),
	CHECK_TEST_WITH(setup, teardown, an_error_made_by_a_driver_is_a_reply),
	CHECK_TEST_WITH(setup, teardown, results_can_be_used_again),
	CHECK_TEST_WITH(setup, teardown, range_hashes_tell_ranges_apart),
};
CHECK_MAIN(tests)
