/* The layout of a frame (net/README.md), shared by encoder, parser and connection. */
#ifndef PAXFS_NET_FRAME_H
#define PAXFS_NET_FRAME_H

#include "base/limits.h"
#include "net/net.h"

#define FRAME_PREFIX_SIZE 8u  /* length and CRC: not counted in the length, nor in the CRC */
#define FRAME_FIXED_SIZE  12u /* version, type, flags, id: the smallest length */
#define FRAME_HEADER_SIZE (FRAME_PREFIX_SIZE + FRAME_FIXED_SIZE)
#define FRAME_BODY_MAX	  (FRAME_SIZE_MAX - FRAME_FIXED_SIZE)

/* The first four bytes: CRC-8 of the length, length(3). Without a check of its own a damaged length
 * would not be noticed before so many bytes have come: on a quiet connection, never. False: damaged. */
void frame_length_put(uint8_t at[4], uint32_t length);
bool frame_length_get(const uint8_t at[4], uint32_t *length);

/* Writes a frame of @body_len bytes of body in @n parts to @at, which has room for it. */
void frame_put(uint8_t *at, const struct net_frame *f, const struct slice *parts, unsigned n,
	       size_t body_len);

/* Bytes of the whole frame at the front of @in, 0 if they do not tell yet. Its length was accepted
 * by net_frame_parse(). */
size_t frame_size(struct slice in);

#endif
