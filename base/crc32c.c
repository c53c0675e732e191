#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#define POLY 0x82f63b78u /* 0x1edc6f41, bits reversed */

/* table[k][b]: the CRC of byte b followed by k zero bytes ("slicing by 8"). */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLY : 0);
		table[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++) {
		for (int k = 1; k < 8; k++)
			table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xff];
	}
}

static uint32_t table_word(uint64_t x)
{
	uint32_t crc = 0;

	for (int k = 7; k >= 0; k--) {
		crc ^= table[k][x & 0xff];
		x >>= 8;
	}
	return crc;
}

uint32_t crc32c_software(uint32_t crc, const void *p, size_t len)
{
	const uint8_t *at = p;

	pthread_once(&table_once, table_fill);
	crc = ~crc;
	for (; len >= 8; len -= 8, at += 8)
		crc = table_word(le64_get(at) ^ crc);
	for (; len > 0; len--, at++)
		crc = (crc >> 8) ^ table[0][(crc ^ *at) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)

#include <nmmintrin.h>

/* The crc32 instruction has a latency of 3 cycles and a throughput of 1: three independent streams
 * of LANE bytes keep it busy. Their CRCs are joined by shifting two of them over the zeros that
 * stand for the bytes after them, which is a linear map: shift_table[i][b] is its value for byte b
 * at position i. */
#define LANE 1024u

static uint32_t shift_table[4][256];
static pthread_once_t shift_once = PTHREAD_ONCE_INIT;

static uint32_t append_zeros(uint32_t crc, size_t count)
{
	for (size_t i = 0; i < count; i++)
		crc = (crc >> 8) ^ table[0][crc & 0xff];
	return crc;
}

static void shift_fill(void)
{
	uint32_t bit[32];

	pthread_once(&table_once, table_fill);
	for (int i = 0; i < 32; i++)
		bit[i] = append_zeros(1u << i, LANE);
	for (int pos = 0; pos < 4; pos++) {
		for (int b = 0; b < 256; b++) {
			uint32_t crc = 0;

			for (int i = 0; i < 8; i++)
				crc ^= b & (1 << i) ? bit[pos * 8 + i] : 0;
			shift_table[pos][b] = crc;
		}
	}
}

static uint32_t shift_lane(uint32_t crc)
{
	return shift_table[0][crc & 0xff] ^ shift_table[1][(crc >> 8) & 0xff] ^
	       shift_table[2][(crc >> 16) & 0xff] ^ shift_table[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t three_lanes(uint32_t crc, const uint8_t *p)
{
	uint64_t a = crc, b = 0, c = 0;

	for (size_t i = 0; i < LANE; i += 8) {
		a = _mm_crc32_u64(a, le64_get(p + i));
		b = _mm_crc32_u64(b, le64_get(p + LANE + i));
		c = _mm_crc32_u64(c, le64_get(p + 2 * LANE + i));
	}
	return shift_lane(shift_lane((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *p,
								size_t len)
{
	const uint8_t *at = p;
	uint64_t wide;

	crc = ~crc;
	if (len >= 3 * LANE)
		pthread_once(&shift_once, shift_fill);
	for (; len >= 3 * LANE; len -= 3 * LANE, at += 3 * LANE)
		crc = three_lanes(crc, at);
	wide = crc;
	for (; len >= 8; len -= 8, at += 8)
		wide = _mm_crc32_u64(wide, le64_get(at));
	crc = (uint32_t)wide;
	for (; len > 0; len--, at++)
		crc = _mm_crc32_u8(crc, *at);
	return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, p, len);
	return crc32c_software(crc, p, len);
}

#else

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
	return crc32c_software(crc, p, len);
}

#endif
