#include <string.h>

#include "base/crc32c.h"
#include "tests/lib/check.h"

typedef uint32_t crc_fn(uint32_t crc, const void *p, size_t len);

static crc_fn *const both[] = {crc32c, crc32c_software};

/* "The following table summarizes the CRC for several test patterns" (RFC 3720, appendix B.4; its
 * bytes are listed least significant first). */
static void rfc_3720_vectors(void)
{
	static const uint8_t read_command[48] = {
		[0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
		[27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};
	uint8_t p[32];

	for (size_t f = 0; f < 2; f++) {
		memset(p, 0, sizeof(p));
		CHECK_U64_EQ(both[f](0, p, 32), 0x8a9136aau);
		memset(p, 0xff, sizeof(p));
		CHECK_U64_EQ(both[f](0, p, 32), 0x62a8ab43u);
		for (uint8_t i = 0; i < 32; i++)
			p[i] = i;
		CHECK_U64_EQ(both[f](0, p, 32), 0x46dd794eu);
		for (uint8_t i = 0; i < 32; i++)
			p[i] = (uint8_t)(31 - i);
		CHECK_U64_EQ(both[f](0, p, 32), 0x113fdb5cu);
		CHECK_U64_EQ(both[f](0, read_command, 48), 0xd9963a56u);
		CHECK_U64_EQ(both[f](0, "123456789", 9), 0xe3069283u);
		CHECK_U64_EQ(both[f](0, NULL, 0), 0);
		CHECK_U64_EQ(both[f](0x12345678, NULL, 0), 0x12345678);
	}
}

/* Bit by bit, straight from the definition. */
static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

static uint8_t data[20000];

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void fill(void)
{
	uint64_t x = 42;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)next_random(&x);
}

static void all_agree_on_short_lengths_and_alignments(void)
{
	fill();
	for (size_t align = 0; align < 16; align++) {
		for (size_t len = 0; len < 100; len++) {
			uint32_t want = crc_slow(7, data + align, len);

			CHECK_U64_EQ(crc32c(7, data + align, len), want);
			CHECK_U64_EQ(crc32c_software(7, data + align, len), want);
		}
	}
}

static void all_agree_on_random_pieces(void)
{
	uint64_t x = 99;

	fill();
	for (int i = 0; i < 300; i++) {
		size_t at = next_random(&x) % sizeof(data);
		size_t len = next_random(&x) % (sizeof(data) - at + 1);
		uint32_t start = (uint32_t)next_random(&x);
		uint32_t want = crc_slow(start, data + at, len);

		CHECK_U64_EQ(crc32c(start, data + at, len), want);
		CHECK_U64_EQ(crc32c_software(start, data + at, len), want);
	}
}

/* Around the lengths where the interleaved loop starts and repeats. */
static void all_agree_around_the_lanes(void)
{
	fill();
	for (size_t base = 3072; base <= 3 * 3072; base += 3072) {
		for (size_t len = base - 9; len <= base + 9; len++) {
			uint32_t want = crc_slow(0, data + 1, len);

			CHECK_U64_EQ(crc32c(0, data + 1, len), want);
			CHECK_U64_EQ(crc32c_software(0, data + 1, len), want);
		}
	}
}

static void extends_in_pieces(void)
{
	uint32_t whole, crc;

	fill();
	whole = crc32c(0, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut += 997) {
		crc = crc32c(0, data, cut);
		CHECK_U64_EQ(crc32c(crc, data + cut, sizeof(data) - cut), whole);
	}
}

static void sees_every_flipped_bit(void)
{
	uint32_t whole;

	fill();
	whole = crc32c(0, data, 4000);
	for (size_t bit = 0; bit < 4000ul * 8; bit += 7) {
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_TRUE(crc32c(0, data, 4000) != whole);
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST(rfc_3720_vectors),
	CHECK_TEST(all_agree_on_short_lengths_and_alignments),
	CHECK_TEST(all_agree_on_random_pieces),
	CHECK_TEST(all_agree_around_the_lanes),
	CHECK_TEST(extends_in_pieces),
	CHECK_TEST(sees_every_flipped_bit),
};
CHECK_MAIN(tests)
