#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static struct buf b;

static void setup(void)
{
	buf_init(&b);
}

static void teardown(void)
{
	mem_fail_nth(0);
	buf_release(&b);
}

static void starts_without_memory(void)
{
	CHECK_NULL(b.data);
	CHECK_U64_EQ(b.cap, 0);
	CHECK_U64_EQ(buf_slice(&b).len, 0);
	buf_add(&b, NULL, 0);
	buf_add_slice(&b, slice_of(NULL, 0));
	buf_add_zeros(&b, 0);
	buf_consume(&b, 0);
	buf_resize(&b, 0);
	CHECK_NULL(b.data);
	CHECK_TRUE(buf_ok(&b));
}

static void appends_of_every_kind(void)
{
	static const uint8_t want[] = {1,    2,	   3,	 0xff, 0x01, 0x02, 0x01, 0x02, 0x03, 0x04,
				       0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0,    0,
				       'a',  'b'};

	buf_add(&b, "\1\2\3", 3);
	buf_add_u8(&b, 0xff);
	buf_add_be16(&b, 0x0102);
	buf_add_be32(&b, 0x01020304);
	buf_add_be64(&b, 0x0102030405060708);
	buf_add_zeros(&b, 2);
	buf_add_slice(&b, slice_str("ab"));
	CHECK_SLICE_EQ(buf_slice(&b), slice_of(want, sizeof(want)));
}

static void grows_and_keeps_the_content(void)
{
	for (uint32_t i = 0; i < 100000; i++)
		buf_add_be32(&b, i);
	CHECK_TRUE(buf_ok(&b));
	CHECK_U64_EQ(b.len, 400000);
	CHECK_TRUE(b.cap >= b.len);
	CHECK_TRUE(b.cap <= 2 * b.len);
	for (uint32_t i = 0; i < 100000; i++)
		CHECK_U64_EQ(be32_get(b.data + (size_t)i * 4), i);
}

static void reserve_makes_room_for_more(void)
{
	const uint8_t *data;

	CHECK_OK(buf_reserve(&b, 1000));
	CHECK_TRUE(b.cap >= 1000);
	CHECK_U64_EQ(b.len, 0);
	data = b.data;
	buf_add_zeros(&b, 1000);
	CHECK_PTR_EQ(b.data, data);
	CHECK_ERR(buf_reserve(&b, SIZE_MAX), ERR_NOMEM);
	CHECK_ERR(buf_reserve(&b, SIZE_MAX / 2), ERR_NOMEM);
	CHECK_TRUE(buf_ok(&b)); /* the caller was told */
	CHECK_U64_EQ(b.len, 1000);
}

/* Each attempt at a growth fails once; whatever was appended before stays as it was. */
static void fails_whole_at_every_allocation(void)
{
	unsigned long failed = 0;

	for (unsigned long nth = 1; nth <= 12; nth++) {
		size_t added = 0;

		buf_release(&b);
		mem_fail_nth(nth);
		for (int i = 0; i < 200; i++) {
			buf_add(&b, "0123456789", 10);
			if (buf_ok(&b))
				added += 10;
			else
				CHECK_U64_EQ(b.len, added);
		}
		mem_fail_nth(0);
		failed += !buf_ok(&b);
		CHECK_U64_EQ(b.len, added);
		for (size_t i = 0; i < b.len; i++)
			CHECK_INT_EQ(b.data[i], '0' + (int)(i % 10));
	}
	CHECK_TRUE(failed >= 5);
	CHECK_TRUE(failed < 12); /* and without a failure all of it is there */
	CHECK_U64_EQ(b.len, 2000);
}

static void reset_forgets_a_failure(void)
{
	mem_fail_nth(1);
	buf_add_u8(&b, 1);
	CHECK_FALSE(buf_ok(&b));
	buf_add_u8(&b, 2); /* ignored: a failure sticks */
	CHECK_U64_EQ(b.len, 0);
	buf_reset(&b);
	buf_add_u8(&b, 3);
	CHECK_TRUE(buf_ok(&b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("\3"));
}

static void resize_cuts_and_extends_with_zeros(void)
{
	buf_add_slice(&b, slice_str("abcdef"));
	buf_resize(&b, 3);
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("abc"));
	buf_resize(&b, 5);
	CHECK_SLICE_EQ(buf_slice(&b), slice_of("abc\0\0", 5));
}

static void consume_drops_from_the_front(void)
{
	buf_add_slice(&b, slice_str("abcdef"));
	buf_consume(&b, 2);
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("cdef"));
	buf_consume(&b, 0);
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("cdef"));
	buf_consume(&b, 4);
	CHECK_U64_EQ(b.len, 0);
	buf_add_slice(&b, slice_str("x"));
	buf_consume(&b, 100);
	CHECK_U64_EQ(b.len, 0);
}

static void move_takes_the_memory(void)
{
	struct buf other = BUF_INIT;
	const uint8_t *data;

	buf_add_slice(&other, slice_str("old"));
	buf_add_slice(&b, slice_str("new"));
	data = b.data;
	buf_move(&other, &b);
	CHECK_PTR_EQ(other.data, data);
	CHECK_NULL(b.data);
	CHECK_U64_EQ(b.len, 0);
	CHECK_SLICE_EQ(buf_slice(&other), slice_str("new"));
	buf_move(&other, &other);
	CHECK_SLICE_EQ(buf_slice(&other), slice_str("new"));
	buf_release(&other);
	CHECK_NULL(other.data);
}

static void set_replaces_the_content(void)
{
	CHECK_OK(buf_set(&b, slice_str("first")));
	CHECK_OK(buf_set(&b, slice_str("2nd")));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("2nd"));
	CHECK_OK(buf_set(&b, slice_of(NULL, 0)));
	CHECK_U64_EQ(b.len, 0);
	buf_release(&b);
	mem_fail_nth(1);
	CHECK_ERR(buf_set(&b, slice_str("third")), ERR_NOMEM);
}

static void slices_compare_by_bytes(void)
{
	CHECK_TRUE(slice_cmp(slice_str("a"), slice_str("b")) < 0);
	CHECK_TRUE(slice_cmp(slice_str("b"), slice_str("ab")) > 0);
	CHECK_TRUE(slice_cmp(slice_str("ab"), slice_str("abc")) < 0);
	CHECK_TRUE(slice_cmp(slice_of("a\xff", 2), slice_of("a\1", 2)) > 0);
	CHECK_INT_EQ(slice_cmp(slice_of(NULL, 0), slice_str("")), 0);
	CHECK_TRUE(slice_eq(slice_of(NULL, 0), slice_str("")));
	CHECK_FALSE(slice_eq(slice_str("a"), slice_str("b")));
	CHECK_TRUE(slice_has_prefix(slice_str("abc"), slice_str("ab")));
	CHECK_TRUE(slice_has_prefix(slice_str("abc"), slice_of(NULL, 0)));
	CHECK_FALSE(slice_has_prefix(slice_str("ab"), slice_str("abc")));
}

static void integers_have_their_byte_order(void)
{
	uint8_t p[8];

	be64_put(p, 0x0102030405060708);
	CHECK_MEM_EQ(p, "\1\2\3\4\5\6\7\10", 8);
	CHECK_U64_EQ(be64_get(p), 0x0102030405060708);
	CHECK_U64_EQ(le64_get(p), 0x0807060504030201);
	le32_put(p, 0x01020304);
	CHECK_MEM_EQ(p, "\4\3\2\1", 4);
	CHECK_U64_EQ(be16_get(p), 0x0403);
	CHECK_U64_EQ(le16_get(p), 0x0304);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static void needs_it(void *arg)
{
	buf_must(arg);
}

static void must_ends_the_process_of_a_failed_buffer(void)
{
	struct buf own = BUF_INIT;

	buf_must(&own);
	buf_add_u8(&own, 1);
	buf_must(&own);
	mem_fail_nth(1);
	buf_add_zeros(&own, 1000);
	mem_fail_nth(0);
	CHECK_ABORTS(needs_it, &own);
	buf_release(&own);
}

static const struct check_test tests[] = {
	TEST(starts_without_memory),
	TEST(appends_of_every_kind),
	TEST(grows_and_keeps_the_content),
	TEST(reserve_makes_room_for_more),
	TEST(fails_whole_at_every_allocation),
	TEST(reset_forgets_a_failure),
	TEST(resize_cuts_and_extends_with_zeros),
	TEST(consume_drops_from_the_front),
	TEST(move_takes_the_memory),
	TEST(set_replaces_the_content),
	TEST(slices_compare_by_bytes),
	TEST(integers_have_their_byte_order),
	CHECK_TEST(must_ends_the_process_of_a_failed_buffer),
};
CHECK_MAIN(tests)
