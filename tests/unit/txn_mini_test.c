/* Building mini-transactions: copies, limits, errors that stick. */
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "txn/arena.h"
#include "txn/txn.h"

static struct txn_mini m;
static const struct txn_field u64_at_0 = {.offset = 0, .width = 8};

static void setup(void)
{
	txn_mini_init(&m);
}

static void teardown(void)
{
	mem_fail_nth(0);
	txn_mini_release(&m);
}

static struct slice long_key(size_t len)
{
	static uint8_t bytes[KEY_SIZE_MAX + 1];

	memset(bytes, 'k', sizeof(bytes));
	return slice_of(bytes, len);
}

static struct slice zeros(size_t len)
{
	static uint8_t bytes[VALUE_SIZE_MAX + 1];

	return slice_of(bytes, len);
}

/* ---- copies ---- */

static void keys_and_values_are_copied(void)
{
	char key[] = "key", value[] = "value";

	(void)txn_put(&m, slice_str(key), slice_str(value));
	memset(key, 'x', 3);
	memset(value, 'x', 5);
	CHECK_SLICE_EQ(m.muts[0].key, slice_str("key"));
	CHECK_SLICE_EQ(m.muts[0].value, slice_str("value"));
	CHECK_OK(m.err);
}

static void values_by_reference_are_not(void)
{
	static const char value[] = "value";

	(void)txn_put_ref(&m, slice_str("a"), slice_str(value));
	(void)txn_patch_ref(&m, slice_str("a"), 3, slice_str(value));
	CHECK_PTR_EQ(m.muts[0].value.p, value);
	CHECK_PTR_EQ(m.muts[1].value.p, value);
	CHECK_U64_EQ(m.muts[1].number, 3);
}

static void copies_stay_where_they_are(void)
{
	struct slice first;

	(void)txn_put(&m, slice_str("first"), slice_str("1"));
	first = m.muts[0].key;
	for (int i = 0; i < 400; i++)
		(void)txn_put(&m, long_key(100), zeros(100));
	CHECK_SLICE_EQ(first, slice_str("first"));
	CHECK_PTR_EQ(m.muts[0].key.p, first.p);
}

static void reset_empties_and_allows_more(void)
{
	for (int i = 0; i < 100; i++)
		(void)txn_put(&m, long_key(200), zeros(3000));
	(void)txn_get(&m, long_key(KEY_SIZE_MAX + 1));
	CHECK_ERR(m.err, ERR_NAME_TOO_LONG);
	txn_mini_reset(&m);
	CHECK_OK(m.err);
	CHECK_INT_EQ(m.mut_count, 0);
	CHECK_INT_EQ(m.read_count, 0);
	CHECK_INT_EQ(txn_get(&m, slice_str("a")), 0);
	CHECK_OK(m.err);
}

/* ---- indexes ---- */

static void each_returns_its_index(void)
{
	struct slice k = slice_str("k"), to = slice_str("l");

	CHECK_INT_EQ(txn_if_exists(&m, k), 0);
	CHECK_INT_EQ(txn_if_absent(&m, k), 1);
	CHECK_INT_EQ(txn_if_version(&m, k, 7), 2);
	CHECK_INT_EQ(txn_if_field_u64(&m, k, u64_at_0, 9), 3);
	CHECK_INT_EQ(txn_if_field_min(&m, k, u64_at_0, 1), 4);
	CHECK_INT_EQ(txn_if_range_empty(&m, k, to), 5);
	CHECK_INT_EQ(txn_if_range_same(&m, k, to, 3, 4), 6);
	CHECK_INT_EQ(txn_get(&m, k), 0);
	CHECK_INT_EQ(txn_get_ref(&m, 0, 8, 'I', slice_str("")), 1);
	CHECK_INT_EQ(txn_scan(&m, k, to, 10), 2);
	CHECK_INT_EQ(txn_scan_ref(&m, k, to, 10, 0, 'I', slice_str("x")), 3);
	CHECK_INT_EQ(txn_put(&m, k, k), 0);
	CHECK_INT_EQ(txn_delete(&m, k), 1);
	CHECK_INT_EQ(txn_delete_range(&m, k, to), 2);
	CHECK_INT_EQ(txn_patch(&m, k, 1, k), 3);
	CHECK_INT_EQ(txn_cut(&m, k, 1), 4);
	CHECK_INT_EQ(txn_or(&m, k, k), 5);
	CHECK_INT_EQ(txn_add(&m, k, u64_at_0, -1, true), 6);
	CHECK_INT_EQ(txn_max(&m, k, u64_at_0, 1), 7);
	CHECK_INT_EQ(txn_touch(&m, k, u64_at_0), 8);
	CHECK_INT_EQ(txn_set_u64(&m, k, u64_at_0, 1), 9);
	CHECK_INT_EQ(txn_set_now(&m, k, u64_at_0), 10);
	CHECK_OK(m.err);
	CHECK_INT_EQ(m.cond_count, 7);
	CHECK_INT_EQ(m.read_count, 4);
	CHECK_INT_EQ(m.mut_count, 11);
}

static void numbers_become_little_endian_fields(void)
{
	struct txn_field narrow = {.offset = 4, .width = 2};

	(void)txn_if_field_u64(&m, slice_str("k"), narrow, 0x1234);
	(void)txn_set_u64(&m, slice_str("k"), narrow, 0x5678);
	CHECK_SLICE_EQ(m.conds[0].value, slice_of("\x34\x12", 2));
	CHECK_SLICE_EQ(m.muts[0].value, slice_of("\x78\x56", 2));
}

static void an_empty_end_is_behind_every_key(void)
{
	(void)txn_scan(&m, slice_str("a"), (struct slice){0}, 1);
	(void)txn_if_range_empty(&m, slice_str("a"), (struct slice){0});
	(void)txn_delete_range(&m, slice_str("a"), (struct slice){0});
	CHECK_TRUE(slice_cmp(m.reads[0].to, long_key(KEY_SIZE_MAX)) > 0);
	CHECK_SLICE_EQ(m.conds[0].to, m.reads[0].to);
	CHECK_SLICE_EQ(m.muts[0].to, m.reads[0].to);
}

/* ---- errors ---- */

static void bad_keys_are_refused(void)
{
	(void)txn_get(&m, (struct slice){0});
	CHECK_ERR(m.err, ERR_INVAL);
	txn_mini_reset(&m);
	(void)txn_get(&m, long_key(KEY_SIZE_MAX));
	CHECK_OK(m.err);
	(void)txn_put(&m, long_key(KEY_SIZE_MAX + 1), slice_str("v"));
	CHECK_ERR(m.err, ERR_NAME_TOO_LONG);
	txn_mini_reset(&m);
	(void)txn_scan(&m, slice_str("a"), long_key(KEY_SIZE_MAX + 1), 1);
	CHECK_ERR(m.err, ERR_NAME_TOO_LONG);
}

static void big_values_are_refused(void)
{
	(void)txn_put(&m, slice_str("k"), zeros(VALUE_SIZE_MAX));
	CHECK_OK(m.err);
	(void)txn_put(&m, slice_str("k"), zeros(VALUE_SIZE_MAX + 1));
	CHECK_ERR(m.err, ERR_TOO_BIG);
	txn_mini_reset(&m);
	(void)txn_put_ref(&m, slice_str("k"), zeros(VALUE_SIZE_MAX + 1));
	CHECK_ERR(m.err, ERR_TOO_BIG);
}

static void patches_end_within_the_limit(void)
{
	(void)txn_patch(&m, slice_str("k"), VALUE_SIZE_MAX - 1, zeros(1));
	CHECK_OK(m.err);
	(void)txn_patch(&m, slice_str("k"), VALUE_SIZE_MAX, zeros(1));
	CHECK_ERR(m.err, ERR_TOO_BIG);
	txn_mini_reset(&m);
	(void)txn_patch_ref(&m, slice_str("k"), UINT64_MAX, zeros(2));
	CHECK_ERR(m.err, ERR_TOO_BIG);
}

static void fields_have_known_widths(void)
{
	static const uint16_t bad[] = {0, 3, 5, 6, 7, 9, 16, UINT16_MAX};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct txn_field f = {.offset = 0, .width = bad[i]};

		txn_mini_reset(&m);
		(void)txn_add(&m, slice_str("k"), f, 1, false);
		CHECK_ERR(m.err, ERR_INVAL);
		txn_mini_reset(&m);
		(void)txn_max(&m, slice_str("k"), f, 1);
		CHECK_ERR(m.err, ERR_INVAL);
		txn_mini_reset(&m);
		(void)txn_if_field_min(&m, slice_str("k"), f, 1);
		CHECK_ERR(m.err, ERR_INVAL);
		txn_mini_reset(&m);
		(void)txn_if_field_u64(&m, slice_str("k"), f, 1);
		CHECK_ERR(m.err, ERR_INVAL);
		txn_mini_reset(&m);
		(void)txn_set_u64(&m, slice_str("k"), f, 1);
		CHECK_ERR(m.err, ERR_INVAL);
	}
}

static void a_stamp_needs_eight_bytes(void)
{
	struct txn_field narrow = {.offset = 0, .width = 4};

	(void)txn_set_now(&m, slice_str("k"), narrow);
	CHECK_ERR(m.err, ERR_INVAL);
	txn_mini_reset(&m);
	(void)txn_touch(&m, slice_str("k"), narrow);
	CHECK_ERR(m.err, ERR_INVAL);
	txn_mini_reset(&m);
	(void)txn_touch_at(&m, slice_str("k"), narrow, 1);
	CHECK_ERR(m.err, ERR_INVAL);
}

static void a_field_is_as_wide_as_its_value(void)
{
	struct txn_field f = {.offset = 0, .width = 5};

	(void)txn_set(&m, slice_str("k"), f, slice_str("12345"));
	(void)txn_if_field(&m, slice_str("k"), f, slice_str("12345"));
	CHECK_OK(m.err);
	(void)txn_set(&m, slice_str("k"), f, slice_str("1234"));
	CHECK_ERR(m.err, ERR_INVAL);
	txn_mini_reset(&m);
	(void)txn_if_field(&m, slice_str("k"), f, slice_str("123456"));
	CHECK_ERR(m.err, ERR_INVAL);
}

static void references_follow_an_earlier_get(void)
{
	struct slice none = {0};

	(void)txn_get_ref(&m, 0, 0, 'I', none);
	CHECK_ERR(m.err, ERR_INVAL);
	txn_mini_reset(&m);
	(void)txn_scan(&m, slice_str("a"), slice_str("b"), 1);
	(void)txn_get_ref(&m, 0, 0, 'I', none);
	CHECK_ERR(m.err, ERR_INVAL);
	txn_mini_reset(&m);
	(void)txn_get(&m, slice_str("a"));
	(void)txn_get_ref(&m, 0, 0, 'I', long_key(KEY_SIZE_MAX - TXN_KEY_HEAD));
	(void)txn_get_ref(&m, 1, 0, 'I', none);
	CHECK_OK(m.err);
	(void)txn_get_ref(&m, 0, 0, 'I', long_key(KEY_SIZE_MAX - TXN_KEY_HEAD + 1));
	CHECK_ERR(m.err, ERR_NAME_TOO_LONG);
}

static void lists_have_limits(void)
{
	for (uint32_t i = 0; i < TXN_MUTS_MAX; i++)
		CHECK_INT_EQ(txn_delete(&m, slice_str("k")), i);
	for (uint32_t i = 0; i < TXN_CONDS_MAX; i++)
		CHECK_INT_EQ(txn_if_exists(&m, slice_str("k")), i);
	for (uint32_t i = 0; i < TXN_READS_MAX; i++)
		CHECK_INT_EQ(txn_get(&m, slice_str("k")), i);
	CHECK_OK(m.err);
	CHECK_INT_EQ(txn_delete(&m, slice_str("k")), UINT32_MAX);
	CHECK_ERR(m.err, ERR_TOO_BIG);
	m.err = 0;
	CHECK_INT_EQ(txn_if_exists(&m, slice_str("k")), UINT32_MAX);
	CHECK_ERR(m.err, ERR_TOO_BIG);
	m.err = 0;
	CHECK_INT_EQ(txn_get(&m, slice_str("k")), UINT32_MAX);
	CHECK_ERR(m.err, ERR_TOO_BIG);
	CHECK_INT_EQ(m.mut_count, TXN_MUTS_MAX);
}

static void the_first_error_stays(void)
{
	(void)txn_get(&m, (struct slice){0});
	(void)txn_get(&m, long_key(KEY_SIZE_MAX + 1));
	CHECK_ERR(m.err, ERR_INVAL);
}

static void missing_memory_is_an_error(void)
{
	for (unsigned long n = 1; n < 6; n++) {
		txn_mini_release(&m);
		mem_fail_nth(n);
		(void)txn_put(&m, slice_str("k"), slice_str("v"));
		(void)txn_get(&m, slice_str("k"));
		(void)txn_if_exists(&m, slice_str("k"));
		mem_fail_nth(0);
		/* an arena chunk and the three lists: four requests for memory */
		CHECK_ERR(m.err, n <= 4 ? ERR_NOMEM : 0);
	}
}

/* ---- the arena below ---- */

static void arena_aligns_and_reuses(void)
{
	struct txn_arena_chunk *arena = NULL;
	uint8_t *p, *big;

	for (size_t size = 1; size < 600; size += 7) {
		p = txn__arena_alloc(&arena, size);
		CHECK_NOT_NULL(p);
		CHECK_U64_EQ((uintptr_t)p % 16, 0);
		memset(p, 0xaa, size);
	}
	big = txn__arena_alloc(&arena, 100000);
	CHECK_NOT_NULL(big);
	memset(big, 0xbb, 100000);
	txn__arena_reset(&arena); /* gives an unusually large chunk back */
	CHECK_NULL(arena);
	p = txn__arena_alloc(&arena, 10);
	txn__arena_reset(&arena);
	CHECK_PTR_EQ(txn__arena_alloc(&arena, 10), p);
	CHECK_NULL(txn__arena_alloc(&arena, SIZE_MAX - 3));
	txn__arena_release(&arena);
	CHECK_NULL(arena);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, keys_and_values_are_copied),
	CHECK_TEST_WITH(setup, teardown, values_by_reference_are_not),
	CHECK_TEST_WITH(setup, teardown, copies_stay_where_they_are),
	CHECK_TEST_WITH(setup, teardown, reset_empties_and_allows_more),
	CHECK_TEST_WITH(setup, teardown, each_returns_its_index),
	CHECK_TEST_WITH(setup, teardown, numbers_become_little_endian_fields),
	CHECK_TEST_WITH(setup, teardown, an_empty_end_is_behind_every_key),
	CHECK_TEST_WITH(setup, teardown, bad_keys_are_refused),
	CHECK_TEST_WITH(setup, teardown, big_values_are_refused),
	CHECK_TEST_WITH(setup, teardown, patches_end_within_the_limit),
	CHECK_TEST_WITH(setup, teardown, fields_have_known_widths),
	CHECK_TEST_WITH(setup, teardown, a_stamp_needs_eight_bytes),
	CHECK_TEST_WITH(setup, teardown, a_field_is_as_wide_as_its_value),
	CHECK_TEST_WITH(setup, teardown, references_follow_an_earlier_get),
	CHECK_TEST_WITH(setup, teardown, lists_have_limits),
	CHECK_TEST_WITH(setup, teardown, the_first_error_stays),
	CHECK_TEST_WITH(setup, teardown, missing_memory_is_an_error),
	CHECK_TEST(arena_aligns_and_reuses),
};
CHECK_MAIN(tests)
