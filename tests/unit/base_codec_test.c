#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static unsigned long allocations;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Every allocation of this process passes here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	allocations++;
	return __libc_realloc(p, size);
}
#endif

static struct buf b;
static struct dec d;

static void setup(void)
{
	buf_init(&b);
}

static void teardown(void)
{
	mem_fail_nth(0);
	buf_release(&b);
}

static void decode_buf(void)
{
	CHECK_TRUE(buf_ok(&b));
	dec_init(&d, buf_slice(&b));
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Both sides of every boundary between msgpack formats. */
static const uint64_t edges[] = {
	0, 1, 31, 32, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
	0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX,
};

#define EDGES (sizeof(edges) / sizeof(edges[0]))

/* ---- what was encoded comes back ---- */

static void unsigned_numbers(void)
{
	for (size_t i = 0; i < EDGES; i++)
		enc_u64(&b, edges[i]);
	decode_buf();
	for (size_t i = 0; i < EDGES; i++)
		CHECK_U64_EQ(dec_u64(&d), edges[i]);
	CHECK_OK(dec_end(&d));
}

static void signed_numbers(void)
{
	for (size_t i = 0; i < EDGES; i++) {
		enc_i64(&b, (int64_t)edges[i]);
		enc_i64(&b, (int64_t)(0 - edges[i]));
	}
	decode_buf();
	for (size_t i = 0; i < EDGES; i++) {
		CHECK_INT_EQ(dec_i64(&d), (int64_t)edges[i]);
		CHECK_INT_EQ(dec_i64(&d), (int64_t)(0 - edges[i]));
	}
	CHECK_OK(dec_end(&d));
}

static void narrow_numbers(void)
{
	enc_u64(&b, UINT32_MAX);
	enc_u64(&b, UINT8_MAX);
	enc_u64(&b, 1000);
	decode_buf();
	CHECK_U64_EQ(dec_u32(&d), UINT32_MAX);
	CHECK_U64_EQ(dec_u8(&d), UINT8_MAX);
	CHECK_U64_EQ(dec_u64_max(&d, 1000), 1000);
	CHECK_OK(dec_end(&d));
}

static void booleans(void)
{
	enc_bool(&b, true);
	enc_bool(&b, false);
	decode_buf();
	CHECK_TRUE(dec_bool(&d));
	CHECK_FALSE(dec_bool(&d));
	CHECK_OK(dec_end(&d));
}

static void byte_strings_point_into_the_input(void)
{
	static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 100000};
	uint8_t *bytes = mem_must_alloc(100000);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct slice got;

		buf_reset(&b);
		memset(bytes, (int)i + 1, sizes[i]);
		enc_bytes(&b, slice_of(bytes, sizes[i]));
		decode_buf();
		got = dec_bytes(&d, sizes[i]);
		CHECK_SLICE_EQ(got, slice_of(bytes, sizes[i]));
		CHECK_TRUE(got.p + got.len == b.data + b.len);
		CHECK_OK(dec_end(&d));
		if (sizes[i] == 0)
			continue;
		decode_buf();
		CHECK_U64_EQ(dec_bytes(&d, sizes[i] - 1).len, 0);
		CHECK_ERR(dec_end(&d), ERR_PROTO);
	}
	mem_free(bytes);
}

static void strings_are_bytes_without_the_nul(void)
{
	enc_str(&b, "name");
	enc_str(&b, "");
	decode_buf();
	CHECK_SLICE_EQ(dec_bytes(&d, 10), slice_str("name"));
	CHECK_SLICE_EQ(dec_bytes(&d, 10), slice_str(""));
	CHECK_OK(dec_end(&d));
}

static void rest_is_not_consumed(void)
{
	enc_u64(&b, 1);
	buf_add_slice(&b, slice_str("tail"));
	decode_buf();
	CHECK_U64_EQ(dec_u64(&d), 1);
	CHECK_SLICE_EQ(dec_rest(&d), slice_str("tail"));
	CHECK_SLICE_EQ(dec_rest(&d), slice_str("tail"));
	CHECK_ERR(dec_end(&d), ERR_PROTO);
	CHECK_U64_EQ(dec_rest(&d).len, 0);
}

static void nothing_is_a_whole_message(void)
{
	dec_init(&d, slice_of(NULL, 0));
	CHECK_U64_EQ(dec_rest(&d).len, 0);
	CHECK_OK(dec_end(&d));
	CHECK_U64_EQ(dec_u64(&d), 0);
	CHECK_ERR(dec_end(&d), ERR_PROTO);
}

/* ---- msgpack-c agrees ---- */

static void the_library_reads_what_we_write(void)
{
	msgpack_unpacked u;
	size_t off = 0;

	for (size_t i = 0; i < EDGES; i++) {
		enc_u64(&b, edges[i]);
		enc_i64(&b, (int64_t)edges[i]);
		enc_bytes(&b, slice_of(edges, i));
	}
	enc_bool(&b, true);
	msgpack_unpacked_init(&u);
	for (size_t i = 0; i < EDGES; i++) {
		CHECK_INT_EQ(msgpack_unpack_next(&u, (char *)b.data, b.len, &off), 2);
		CHECK_INT_EQ(u.data.type, MSGPACK_OBJECT_POSITIVE_INTEGER);
		CHECK_U64_EQ(u.data.via.u64, edges[i]);
		CHECK_INT_EQ(msgpack_unpack_next(&u, (char *)b.data, b.len, &off), 2);
		CHECK_INT_EQ(u.data.via.i64, (int64_t)edges[i]);
		CHECK_INT_EQ(msgpack_unpack_next(&u, (char *)b.data, b.len, &off), 2);
		CHECK_INT_EQ(u.data.type, MSGPACK_OBJECT_BIN);
		CHECK_SLICE_EQ(slice_of(u.data.via.bin.ptr, u.data.via.bin.size),
			       slice_of(edges, i));
	}
	CHECK_INT_EQ(msgpack_unpack_next(&u, (char *)b.data, b.len, &off), 2);
	CHECK_INT_EQ(u.data.type, MSGPACK_OBJECT_BOOLEAN);
	CHECK_TRUE(u.data.via.boolean);
	CHECK_U64_EQ(off, b.len);
	msgpack_unpacked_destroy(&u);
}

static int to_buf(void *data, const char *bytes, size_t len)
{
	buf_add(data, bytes, len);
	return 0;
}

/* Wider formats than needed are legal msgpack. */
static void we_read_every_integer_format(void)
{
	msgpack_packer p;

	msgpack_packer_init(&p, &b, to_buf);
	msgpack_pack_fix_uint8(&p, 5);
	msgpack_pack_fix_uint16(&p, 5);
	msgpack_pack_fix_uint32(&p, 5);
	msgpack_pack_fix_uint64(&p, 5);
	msgpack_pack_fix_int8(&p, 5);
	msgpack_pack_fix_int16(&p, 5);
	msgpack_pack_fix_int32(&p, 5);
	msgpack_pack_fix_int64(&p, 5);
	msgpack_pack_fix_int8(&p, -5);
	msgpack_pack_fix_int16(&p, -5);
	msgpack_pack_fix_int32(&p, -5);
	msgpack_pack_fix_int64(&p, -5);
	decode_buf();
	for (int i = 0; i < 8; i++)
		CHECK_U64_EQ(dec_u64(&d), 5);
	for (int i = 0; i < 4; i++)
		CHECK_INT_EQ(dec_i64(&d), -5);
	CHECK_OK(dec_end(&d));
	decode_buf();
	for (int i = 0; i < 8; i++)
		CHECK_INT_EQ(dec_i64(&d), 5);
	for (int i = 0; i < 4; i++)
		CHECK_U64_EQ(dec_i64(&d), (uint64_t)-5);
	CHECK_OK(dec_end(&d));
}

static bool is_container(int type)
{
	return (type >= 0x80 && type <= 0x9f) || (type >= 0xdc && type <= 0xdf);
}

/* The library's value of the first type byte in @in. It is not asked about arrays and maps: it
 * allocates whatever count they announce. */
static bool library_decodes(msgpack_unpacked *u, const uint8_t *in, size_t len, size_t *off)
{
	if (is_container(in[0]))
		return false;
	return msgpack_unpack_next(u, (const char *)in, len, off) == MSGPACK_UNPACK_SUCCESS;
}

/* For each type byte and random bytes behind it: where our decoder finds a value, the library finds
 * the same one; where the library finds a number, a boolean or a byte string, so do we. */
static void we_agree_on_every_type_byte(void)
{
	uint64_t x = 7;
	uint8_t in[300];

	for (int round = 0; round < 20; round++) {
		for (int type = 0; type < 256; type++) {
			msgpack_unpacked u;
			msgpack_object *o = &u.data;
			size_t off = 0;
			bool found;

			for (size_t i = 0; i < sizeof(in); i++)
				in[i] = (uint8_t)next_random(&x);
			in[0] = (uint8_t)type;
			in[1] &= round < 10 ? 0 : 0xff; /* small lengths, too */
			msgpack_unpacked_init(&u);
			found = library_decodes(&u, in, sizeof(in), &off);
			dec_init(&d, slice_of(in, sizeof(in)));
			if (found && o->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
				CHECK_U64_EQ(dec_u64(&d), o->via.u64);
			} else if (found && o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
				CHECK_INT_EQ(dec_i64(&d), o->via.i64);
			} else if (found && o->type == MSGPACK_OBJECT_BOOLEAN) {
				CHECK_INT_EQ(dec_bool(&d), o->via.boolean);
			} else if (found && o->type == MSGPACK_OBJECT_BIN) {
				CHECK_SLICE_EQ(dec_bytes(&d, sizeof(in)),
					       slice_of(o->via.bin.ptr, o->via.bin.size));
			} else {
				dec_u64(&d);
				CHECK_INT_EQ(d.err, ERR_PROTO);
				off = 0;
				for (int k = 0; k < 3; k++) {
					dec_init(&d, slice_of(in, sizeof(in)));
					if (k == 0)
						dec_i64(&d);
					else if (k == 1)
						dec_bool(&d);
					else
						dec_bytes(&d, sizeof(in));
					CHECK_INT_EQ(d.err, ERR_PROTO);
				}
			}
			CHECK_U64_EQ(d.off, off);
			msgpack_unpacked_destroy(&u);
		}
	}
}

/* ---- bad input ---- */

static void values_of_another_type_fail(void)
{
	enc_i64(&b, -1);
	decode_buf();
	CHECK_U64_EQ(dec_u64(&d), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
	decode_buf();
	CHECK_FALSE(dec_bool(&d));
	CHECK_INT_EQ(d.err, ERR_PROTO);
	decode_buf();
	CHECK_U64_EQ(dec_bytes(&d, 10).len, 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);

	buf_reset(&b);
	enc_bool(&b, true);
	decode_buf();
	CHECK_U64_EQ(dec_u64(&d), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);

	buf_reset(&b);
	enc_u64(&b, (uint64_t)INT64_MAX + 1);
	decode_buf();
	CHECK_INT_EQ(dec_i64(&d), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
}

static void values_above_the_limit_fail(void)
{
	enc_u64(&b, 256);
	decode_buf();
	CHECK_U64_EQ(dec_u8(&d), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
	decode_buf();
	CHECK_U64_EQ(dec_u64_max(&d, 255), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
	buf_reset(&b);
	enc_u64(&b, (uint64_t)UINT32_MAX + 1);
	decode_buf();
	CHECK_U64_EQ(dec_u32(&d), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
}

static void types_we_do_not_use_fail_without_allocation(void)
{
	/* nil, unused, ext, float 32 and 64, fixext, str, array, map; then the fix types */
	static const uint8_t foreign[] = {0xc0, 0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xd4,
					  0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc,
					  0xdd, 0xde, 0xdf, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf};
	uint8_t in[64] = {0};
	unsigned long before = allocations;

	for (size_t i = 0; i < sizeof(foreign); i++) {
		in[0] = foreign[i];
		dec_init(&d, slice_of(in, sizeof(in)));
		CHECK_U64_EQ(dec_u64(&d), 0);
		CHECK_INT_EQ(d.err, ERR_PROTO);
		dec_init(&d, slice_of(in, sizeof(in)));
		CHECK_U64_EQ(dec_bytes(&d, 64).len, 0);
		CHECK_INT_EQ(d.err, ERR_PROTO);
	}
	CHECK_U64_EQ(allocations, before);
}

static void absurd_lengths_fail(void)
{
	static const uint8_t lengths[][5] = {
		{0xc6, 0xff, 0xff, 0xff, 0xff},
		{0xc6, 0x7f, 0xff, 0xff, 0xff},
		{0xc6, 0x00, 0x00, 0x00, 0x01},
		{0xc5, 0xff, 0xff, 0x00, 0x00},
		{0xc4, 0xff, 0x00, 0x00, 0x00},
	};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		dec_init(&d, slice_of(lengths[i], 5));
		CHECK_NULL(dec_bytes(&d, SIZE_MAX).p);
		CHECK_ERR(dec_end(&d), ERR_PROTO);
	}
}

static void counts_are_bounded_by_what_is_left(void)
{
	enc_u64(&b, 3);
	buf_add_zeros(&b, 3);
	decode_buf();
	CHECK_U64_EQ(dec_count(&d, 3), 3);
	CHECK_INT_EQ(d.err, 0);
	decode_buf();
	CHECK_U64_EQ(dec_count(&d, 2), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
	buf_resize(&b, 3);
	decode_buf();
	CHECK_U64_EQ(dec_count(&d, 3), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);

	buf_reset(&b);
	enc_u64(&b, UINT32_MAX);
	decode_buf();
	CHECK_U64_EQ(dec_count(&d, UINT32_MAX), 0);
	CHECK_INT_EQ(d.err, ERR_PROTO);
}

static void errors_stick(void)
{
	enc_u64(&b, 1);
	enc_u64(&b, 2);
	enc_bool(&b, true);
	enc_str(&b, "x");
	decode_buf();
	CHECK_U64_EQ(dec_u64(&d), 1);
	dec_fail(&d);
	CHECK_U64_EQ(dec_u64(&d), 0);
	CHECK_INT_EQ(dec_i64(&d), 0);
	CHECK_FALSE(dec_bool(&d));
	CHECK_U64_EQ(dec_count(&d, 10), 0);
	CHECK_NULL(dec_bytes(&d, 10).p);
	CHECK_U64_EQ(d.off, 1);
	CHECK_ERR(dec_end(&d), ERR_PROTO);
}

static void leftovers_are_an_error(void)
{
	enc_u64(&b, 1);
	enc_u64(&b, 2);
	decode_buf();
	CHECK_U64_EQ(dec_u64(&d), 1);
	CHECK_ERR(dec_end(&d), ERR_PROTO);
}

/* ---- a whole message, cut and mangled ---- */

struct sample {
	uint64_t id;
	int64_t delta;
	bool flag;
	struct slice key;
	uint32_t count;
	struct slice items[4];
};

static void sample_encode(const struct sample *s)
{
	enc_u64(&b, s->id);
	enc_i64(&b, s->delta);
	enc_bool(&b, s->flag);
	enc_bytes(&b, s->key);
	enc_u64(&b, s->count);
	for (uint32_t i = 0; i < s->count; i++)
		enc_bytes(&b, s->items[i]);
}

static int sample_decode(struct slice in, struct sample *s)
{
	dec_init(&d, in);
	s->id = dec_u64(&d);
	s->delta = dec_i64(&d);
	s->flag = dec_bool(&d);
	s->key = dec_bytes(&d, 320);
	s->count = dec_count(&d, 4);
	for (uint32_t i = 0; i < s->count; i++)
		s->items[i] = dec_bytes(&d, 70000);
	return dec_end(&d);
}

static void sample_fill(struct sample *s)
{
	static uint8_t big[66000];

	*s = (struct sample){
		.id = 0x123456789abc,
		.delta = -70000,
		.flag = true,
		.key = slice_str("a key"),
		.count = 3,
		.items = {slice_str("one"), slice_of(big, 300), slice_of(big, sizeof(big))},
	};
	sample_encode(s);
}

/* The input is copied to its exact size, so that ASan sees any byte read behind it. */
static int sample_decode_exact(const uint8_t *p, size_t len, struct sample *s)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	int rc;

	memcpy(copy, p, len);
	rc = sample_decode(slice_of(copy, len), s);
	free(copy);
	return rc;
}

static void every_truncation_fails(void)
{
	struct sample s, got;

	sample_fill(&s);
	CHECK_OK(sample_decode(buf_slice(&b), &got));
	CHECK_U64_EQ(got.id, s.id);
	CHECK_INT_EQ(got.delta, s.delta);
	CHECK_SLICE_EQ(got.items[2], s.items[2]);
	for (size_t len = 0; len < b.len; len += len < 400 || len + 40 > b.len ? 1 : 97)
		CHECK_ERR(sample_decode_exact(b.data, len, &got), ERR_PROTO);
}

static void mangled_messages_stay_inside_their_bytes(void)
{
	uint64_t x = 1;
	struct sample s, got;
	unsigned rejected = 0;

	sample_fill(&s);
	buf_resize(&b, 420); /* heads and lengths; the tail is cut anyway */
	for (int i = 0; i < 20000; i++) {
		size_t at = next_random(&x) % 32;
		uint8_t old = b.data[at];

		b.data[at] = (uint8_t)next_random(&x);
		rejected += sample_decode_exact(b.data, b.len, &got) == ERR_PROTO;
		CHECK_TRUE(d.off <= b.len);
		b.data[at] = old;
	}
	CHECK_TRUE(rejected > 10000);
}

static void random_bytes_neither_crash_nor_allocate(void)
{
	static uint8_t in[256];
	uint64_t x = 3;
	unsigned long before = allocations;

	for (int i = 0; i < 50000; i++) {
		size_t len = next_random(&x) % sizeof(in);
		struct slice s;

		for (size_t k = 0; k < len; k++)
			in[k] = (uint8_t)(next_random(&x) >> 17);
		dec_init(&d, slice_of(in, len));
		while (d.err == 0) {
			switch (next_random(&x) % 5) {
			case 0:
				dec_u64(&d);
				break;
			case 1:
				dec_i64(&d);
				break;
			case 2:
				dec_bool(&d);
				break;
			case 3:
				CHECK_TRUE(dec_count(&d, UINT32_MAX) <= len);
				break;
			default:
				s = dec_bytes(&d, SIZE_MAX);
				CHECK_TRUE(s.len == 0 ||
					   (s.p >= in && s.p + s.len <= in + len));
			}
		}
		CHECK_TRUE(d.off <= len);
	}
	CHECK_U64_EQ(allocations, before);
}

static void encoding_reports_lack_of_memory(void)
{
	mem_fail_nth(1);
	enc_u64(&b, 1);
	CHECK_FALSE(buf_ok(&b));
	buf_reset(&b);
	enc_bytes(&b, slice_of("", (size_t)UINT32_MAX + 1)); /* its bytes are not looked at */
	CHECK_FALSE(buf_ok(&b));
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(unsigned_numbers),
	TEST(signed_numbers),
	TEST(narrow_numbers),
	TEST(booleans),
	TEST(byte_strings_point_into_the_input),
	TEST(strings_are_bytes_without_the_nul),
	TEST(rest_is_not_consumed),
	TEST(nothing_is_a_whole_message),
	TEST(the_library_reads_what_we_write),
	TEST(we_read_every_integer_format),
	TEST(we_agree_on_every_type_byte),
	TEST(values_of_another_type_fail),
	TEST(values_above_the_limit_fail),
	TEST(types_we_do_not_use_fail_without_allocation),
	TEST(absurd_lengths_fail),
	TEST(counts_are_bounded_by_what_is_left),
	TEST(errors_stick),
	TEST(leftovers_are_an_error),
	TEST(every_truncation_fails),
	TEST(mangled_messages_stay_inside_their_bytes),
	TEST(random_bytes_neither_crash_nor_allocate),
	TEST(encoding_reports_lack_of_memory),
};
CHECK_MAIN(tests)
