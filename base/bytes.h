/* Fixed-width integers in byte strings: big-endian in keys (so that byte order is number order),
 * little-endian in fixed-layout records. */
#ifndef PAXFS_BASE_BYTES_H
#define PAXFS_BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSOR(bits, order)                                                                \
	static inline uint##bits##_t order##bits##_get(const void *p)                              \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof(v));                                                          \
		return order##bits##toh(v);                                                        \
	}                                                                                          \
	static inline void order##bits##_put(void *p, uint##bits##_t value)                        \
	{                                                                                          \
		uint##bits##_t v = hto##order##bits(value);                                        \
		memcpy(p, &v, sizeof(v));                                                          \
	}

BYTES_ACCESSOR(16, be)
BYTES_ACCESSOR(32, be)
BYTES_ACCESSOR(64, be)
BYTES_ACCESSOR(16, le)
BYTES_ACCESSOR(32, le)
BYTES_ACCESSOR(64, le)
#undef BYTES_ACCESSOR

#endif
