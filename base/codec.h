/* Encoding of messages and log commands: a flat sequence of msgpack scalars and byte strings, no
 * maps or arrays. A list is its count followed by its items. A decoder therefore never allocates,
 * whatever the bytes say; counts and lengths are checked against limits and against what is left.
 *
 * Encoders append to a buf (check buf_ok() at the end). The decoder has a sticky error: after the
 * first failure every call returns zero values, and dec_end() tells.
 */
#ifndef PAXFS_BASE_CODEC_H
#define PAXFS_BASE_CODEC_H

#include "base/buf.h"

void enc_u64(struct buf *b, uint64_t v);
void enc_i64(struct buf *b, int64_t v);
void enc_bool(struct buf *b, bool v);
void enc_bytes(struct buf *b, struct slice s); /* msgpack bin, at most UINT32_MAX bytes */
void enc_str(struct buf *b, const char *s);    /* as bytes, without the NUL */

struct dec {
	struct slice in; /* borrowed for the life of the decoder and of every slice it returns */
	size_t off;
	int err; /* 0 or ERR_PROTO */
};

void dec_init(struct dec *d, struct slice in);
uint64_t dec_u64(struct dec *d);
uint64_t dec_u64_max(struct dec *d, uint64_t max); /* above @max is an error */
uint32_t dec_u32(struct dec *d);
uint8_t dec_u8(struct dec *d);
int64_t dec_i64(struct dec *d);
bool dec_bool(struct dec *d);
struct slice dec_bytes(struct dec *d, size_t max); /* points into the input */

/* A count of items to follow, at most @max, and no more than the bytes left can hold (an item
 * takes at least one byte). */
uint32_t dec_count(struct dec *d, uint32_t max);

/* What has not been read yet, without consuming it. */
struct slice dec_rest(const struct dec *d);

/* Marks the input as bad (a value that the caller's rules forbid). */
void dec_fail(struct dec *d);

/* 0 when all went well and nothing is left over, else ERR_PROTO. */
int dec_end(struct dec *d);

#endif
