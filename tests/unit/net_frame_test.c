/* Encoding and parsing of single frames. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/limits.h"
#include "net/frame.h"
#include "net/net.h"
#include "tests/lib/check.h"

#define HEADER 20u

static struct buf out;

static void setup(void)
{
	buf_init(&out);
	srandom(11);
}

static void teardown(void)
{
	buf_release(&out);
}

/* The n-byte text of a frame, parsed from memory of exactly that size, so that ASan sees any read
 * behind it. */
static long parse(const uint8_t *p, size_t n, struct net_frame *f)
{
	uint8_t *copy = malloc(n ? n : 1);
	long got;

	memcpy(copy, p, n);
	got = net_frame_parse(slice_of(copy, n), f);
	free(copy);
	return got;
}

static void lays_out_the_documented_bytes(void)
{
	static const uint8_t want[] = {
		0x78, 0, 0, 15, /* length and its check */
		0, 0, 0,    0,	/* crc, below */
		NET_PROTOCOL_VERSION, 7, 0x80, 1, /* version, type, flags */
		1, 2, 3,    4,	5, 6, 7, 8, 'a', 'b', 'c',
	};

	net_frame_encode(&out, 7, 0x8001, 0x0102030405060708, slice_str("abc"));
	CHECK_TRUE(buf_ok(&out));
	CHECK_INT_EQ(out.len, sizeof(want));
	CHECK_MEM_EQ(out.data, want, 4);
	CHECK_MEM_EQ(out.data + 8, want + 8, sizeof(want) - 8);
	CHECK_U64_EQ(be32_get(out.data + 4), crc32c(0, want + 8, sizeof(want) - 8));
}

static void parses_what_it_encoded(void)
{
	struct net_frame f = {0};

	net_frame_encode(&out, 200, 3, UINT64_MAX, slice_str("hello"));
	net_frame_encode(&out, 1, 0, 0, slice_of(NULL, 0));
	CHECK_INT_EQ(net_frame_parse(buf_slice(&out), &f), HEADER + 5);
	CHECK_INT_EQ(f.type, 200);
	CHECK_INT_EQ(f.flags, 3);
	CHECK_U64_EQ(f.id, UINT64_MAX);
	CHECK_SLICE_EQ(f.body, slice_str("hello"));
	CHECK_PTR_EQ(f.body.p, out.data + HEADER);

	CHECK_INT_EQ(net_frame_parse(slice_of(out.data + HEADER + 5, HEADER), &f), HEADER);
	CHECK_INT_EQ(f.type, 1);
	CHECK_INT_EQ(f.body.len, 0);
}

static void needs_more_at_every_shorter_length(void)
{
	struct net_frame f = {.type = 99};

	net_frame_encode(&out, 1, 0, 5, slice_str("some body"));
	for (size_t n = 0; n < out.len; n++)
		CHECK_INT_EQ(parse(out.data, n, &f), 0);
	CHECK_INT_EQ(f.type, 99);
	CHECK_INT_EQ(parse(out.data, out.len, &f), out.len);
}

static void takes_the_largest_frame_and_no_larger(void)
{
	static uint8_t body[FRAME_SIZE_MAX];
	struct net_frame f;

	net_frame_encode(&out, 1, 0, 5, slice_of(body, FRAME_SIZE_MAX - 12));
	CHECK_INT_EQ(net_frame_parse(buf_slice(&out), &f), FRAME_SIZE_MAX + 8);
	CHECK_INT_EQ(f.body.len, FRAME_SIZE_MAX - 12);

	buf_reset(&out);
	net_frame_encode(&out, 1, 0, 5, slice_of(body, FRAME_SIZE_MAX - 11));
	CHECK_FALSE(buf_ok(&out));
}

static void refuses_a_length_that_cannot_be_as_soon_as_it_is_there(void)
{
	uint8_t length[4];
	struct net_frame f;

	frame_length_put(length, FRAME_SIZE_MAX + 1);
	CHECK_ERR((int)parse(length, 4, &f), ERR_PROTO);
	be32_put(length, UINT32_MAX);
	CHECK_ERR((int)parse(length, 4, &f), ERR_PROTO);
	frame_length_put(length, 11);
	CHECK_ERR((int)parse(length, 4, &f), ERR_PROTO);
	frame_length_put(length, 0);
	CHECK_ERR((int)parse(length, 4, &f), ERR_PROTO);
	frame_length_put(length, 12);
	CHECK_INT_EQ(parse(length, 4, &f), 0);
	frame_length_put(length, FRAME_SIZE_MAX);
	CHECK_INT_EQ(parse(length, 4, &f), 0);
}

/* Else the receiver waits for bytes that nobody sends, and takes all frames behind for them. */
static void a_damaged_length_is_noticed_at_once(void)
{
	static const uint32_t lengths[] = {12, 13, 61, 4096, 1 << 20, FRAME_SIZE_MAX};
	uint8_t at[4];
	struct net_frame f;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (unsigned a = 0; a < 32; a++) {
			for (unsigned b = a; b < 32; b++) { /* one bit or two */
				frame_length_put(at, lengths[i]);
				at[a / 8] ^= (uint8_t)(1u << a % 8);
				if (b != a)
					at[b / 8] ^= (uint8_t)(1u << b % 8);
				CHECK_ERR((int)parse(at, 4, &f), ERR_PROTO);
			}
		}
	}
}

static void refuses_another_version_before_the_frame_is_complete(void)
{
	struct net_frame f;

	net_frame_encode(&out, 1, 0, 5, slice_str("body"));
	out.data[8] = NET_PROTOCOL_VERSION + 1;
	CHECK_INT_EQ(parse(out.data, 8, &f), 0);
	CHECK_ERR((int)parse(out.data, 9, &f), ERR_WIRE_VERSION);
	CHECK_ERR((int)parse(out.data, out.len, &f), ERR_WIRE_VERSION);
}

static void refuses_every_flipped_bit_behind_the_length(void)
{
	struct net_frame f;

	net_frame_encode(&out, 9, 1, 77, slice_str("precious"));
	for (size_t bit = 4 * 8; bit < out.len * 8; bit++) {
		out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_TRUE(parse(out.data, out.len, &f) < 0);
		out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK_INT_EQ(parse(out.data, out.len, &f), out.len);
}

static void never_takes_a_frame_from_a_flipped_length(void)
{
	struct net_frame f;

	net_frame_encode(&out, 9, 1, 77, slice_str("precious"));
	for (size_t bit = 0; bit < 32; bit++) {
		out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_TRUE(parse(out.data, out.len, &f) <= 0);
		out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void random_bytes_never_parse(void)
{
	uint8_t bytes[64];
	struct net_frame f;

	for (unsigned round = 0; round < 200000; round++) {
		size_t n = (size_t)random() % sizeof(bytes);

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)random();
		if (n >= 4 && random() % 2)
			frame_length_put(bytes, (uint32_t)(random() % 64));
		if (n > 8 && random() % 2)
			bytes[8] = NET_PROTOCOL_VERSION;
		CHECK_TRUE(parse(bytes, n, &f) <= 0); /* a CRC match: 1 in 40,000 such runs */
	}
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(lays_out_the_documented_bytes),
	TEST(parses_what_it_encoded),
	TEST(needs_more_at_every_shorter_length),
	TEST(takes_the_largest_frame_and_no_larger),
	TEST(a_damaged_length_is_noticed_at_once),
	TEST(refuses_a_length_that_cannot_be_as_soon_as_it_is_there),
	TEST(refuses_another_version_before_the_frame_is_complete),
	TEST(refuses_every_flipped_bit_behind_the_length),
	TEST(never_takes_a_frame_from_a_flipped_length),
	TEST(random_bytes_never_parse),
};
CHECK_MAIN(tests)
