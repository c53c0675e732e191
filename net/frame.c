#include "net/frame.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"

_Static_assert(FRAME_SIZE_MAX < 1u << 24, "a length has three bytes");

#define AT_CRC	   4
#define AT_VERSION 8
#define AT_TYPE	   9
#define AT_FLAGS   10
#define AT_ID	   12

/* CRC-8, polynomial x^8 + x^2 + x + 1: finds all errors of up to three bits here. */
static uint8_t length_check(uint32_t length)
{
	uint32_t rest = length << 8;

	for (uint32_t bit = 31; bit >= 8; bit--)
		if (rest >> bit & 1)
			rest ^= 0x107u << (bit - 8);
	return (uint8_t)(rest ^ 0x55); /* four zero bytes are no length */
}

void frame_length_put(uint8_t at[4], uint32_t length)
{
	CHECK(length < 1u << 24);
	be32_put(at, (uint32_t)length_check(length) << 24 | length);
}

bool frame_length_get(const uint8_t at[4], uint32_t *length)
{
	uint32_t word = be32_get(at);

	*length = word & 0xffffff;
	return word >> 24 == length_check(*length);
}

void frame_put(uint8_t *at, const struct net_frame *f, const struct slice *parts, unsigned n,
	       size_t body_len)
{
	uint8_t *end = at + FRAME_HEADER_SIZE;
	uint32_t length = (uint32_t)(FRAME_FIXED_SIZE + body_len);

	CHECK(body_len <= FRAME_BODY_MAX);
	frame_length_put(at, length);
	at[AT_VERSION] = NET_PROTOCOL_VERSION;
	at[AT_TYPE] = f->type;
	be16_put(at + AT_FLAGS, f->flags);
	be64_put(at + AT_ID, f->id);
	for (unsigned i = 0; i < n; i++) {
		if (parts[i].len)
			memcpy(end, parts[i].p, parts[i].len);
		end += parts[i].len;
	}
	CHECK(end == at + FRAME_PREFIX_SIZE + length);
	be32_put(at + AT_CRC, crc32c(0, at + FRAME_PREFIX_SIZE, length));
}

void net_frame_encode(struct buf *out, uint8_t type, uint16_t flags, uint64_t id, struct slice body)
{
	struct net_frame f = {.type = type, .flags = flags, .id = id};
	size_t size = FRAME_HEADER_SIZE + body.len;

	if (out->failed || body.len > FRAME_BODY_MAX || buf_reserve(out, size)) {
		out->failed = true;
		return;
	}
	frame_put(out->data + out->len, &f, &body, 1, body.len);
	out->len += size;
}

size_t frame_size(struct slice in)
{
	uint32_t length;

	if (in.len < sizeof(length))
		return 0;
	(void)frame_length_get(in.p, &length);
	return FRAME_PREFIX_SIZE + (size_t)length;
}

long net_frame_parse(struct slice in, struct net_frame *f)
{
	uint32_t length;

	if (in.len < sizeof(length))
		return 0;
	if (!frame_length_get(in.p, &length) || length < FRAME_FIXED_SIZE || length > FRAME_SIZE_MAX)
		return ERR_PROTO;
	if (in.len > AT_VERSION && in.p[AT_VERSION] != NET_PROTOCOL_VERSION)
		return ERR_WIRE_VERSION;
	if (in.len < FRAME_PREFIX_SIZE + (size_t)length)
		return 0;
	if (crc32c(0, in.p + FRAME_PREFIX_SIZE, length) != be32_get(in.p + AT_CRC))
		return ERR_PROTO;
	f->type = in.p[AT_TYPE];
	f->flags = be16_get(in.p + AT_FLAGS);
	f->id = be64_get(in.p + AT_ID);
	f->body = slice_of(in.p + FRAME_HEADER_SIZE, length - FRAME_FIXED_SIZE);
	return (long)(FRAME_PREFIX_SIZE + length);
}
