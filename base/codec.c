#include "base/codec.h"

#include <msgpack.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

/* ---- encoding ---- */

static int pack_write(void *data, const char *bytes, size_t len)
{
	struct buf *b = data;

	buf_add(b, bytes, len);
	return b->failed ? -1 : 0;
}

static msgpack_packer packer_of(struct buf *b)
{
	msgpack_packer p;

	msgpack_packer_init(&p, b, pack_write);
	return p;
}

void enc_u64(struct buf *b, uint64_t v)
{
	msgpack_packer p = packer_of(b);

	(void)msgpack_pack_uint64(&p, v); /* a failure is kept in the buffer */
}

void enc_i64(struct buf *b, int64_t v)
{
	msgpack_packer p = packer_of(b);

	(void)msgpack_pack_int64(&p, v);
}

void enc_bool(struct buf *b, bool v)
{
	msgpack_packer p = packer_of(b);

	(void)(v ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
}

void enc_bytes(struct buf *b, struct slice s)
{
	msgpack_packer p = packer_of(b);

	if (s.len > UINT32_MAX) {
		b->failed = true;
		return;
	}
	(void)msgpack_pack_bin(&p, s.len);
	buf_add_slice(b, s);
}

void enc_str(struct buf *b, const char *s)
{
	enc_bytes(b, slice_str(s));
}

/* ---- decoding ---- */

/* The type bytes that the encoders produce (the msgpack specification, "Formats"). */
enum {
	MP_POSITIVE_FIXINT_LAST = 0x7f,
	MP_FALSE = 0xc2,
	MP_TRUE = 0xc3,
	MP_BIN8 = 0xc4,
	MP_BIN16 = 0xc5,
	MP_BIN32 = 0xc6,
	MP_UINT8 = 0xcc,
	MP_UINT16 = 0xcd,
	MP_UINT32 = 0xce,
	MP_UINT64 = 0xcf,
	MP_INT8 = 0xd0,
	MP_INT16 = 0xd1,
	MP_INT32 = 0xd2,
	MP_INT64 = 0xd3,
	MP_NEGATIVE_FIXINT_FIRST = 0xe0,
};

/* Bytes of the scalar that begins with @type, itself included; 0 when it is no scalar of ours. The
 * library allocates for every other type, and must not see one. */
static size_t scalar_size(uint8_t type)
{
	if (type <= MP_POSITIVE_FIXINT_LAST || type >= MP_NEGATIVE_FIXINT_FIRST)
		return 1;
	switch (type) {
	case MP_FALSE:
	case MP_TRUE:
		return 1;
	case MP_UINT8:
	case MP_INT8:
		return 2;
	case MP_UINT16:
	case MP_INT16:
		return 3;
	case MP_UINT32:
	case MP_INT32:
		return 5;
	case MP_UINT64:
	case MP_INT64:
		return 9;
	default:
		return 0;
	}
}

void dec_init(struct dec *d, struct slice in)
{
	*d = (struct dec){.in = in};
}

void dec_fail(struct dec *d)
{
	d->err = ERR_PROTO;
}

static size_t left(const struct dec *d)
{
	return d->in.len - d->off;
}

/* The next scalar; the type is MSGPACK_OBJECT_NIL when there is none. */
static msgpack_object next_scalar(struct dec *d)
{
	msgpack_unpacked u = {0};
	size_t off = d->off;
	size_t size;

	if (d->err != 0 || left(d) == 0)
		goto out_fail;
	size = scalar_size(d->in.p[off]);
	if (size == 0 || size > left(d))
		goto out_fail;
	if (msgpack_unpack_next(&u, (const char *)d->in.p, off + size, &off) !=
		    MSGPACK_UNPACK_SUCCESS ||
	    off != d->off + size)
		goto out_fail;
	d->off = off;
	return u.data;

out_fail:
	dec_fail(d);
	return (msgpack_object){.type = MSGPACK_OBJECT_NIL};
}

uint64_t dec_u64(struct dec *d)
{
	return dec_u64_max(d, UINT64_MAX);
}

uint64_t dec_u64_max(struct dec *d, uint64_t max)
{
	msgpack_object o = next_scalar(d);

	if (o.type == MSGPACK_OBJECT_POSITIVE_INTEGER && o.via.u64 <= max)
		return o.via.u64;
	dec_fail(d);
	return 0;
}

uint32_t dec_u32(struct dec *d)
{
	return (uint32_t)dec_u64_max(d, UINT32_MAX);
}

uint8_t dec_u8(struct dec *d)
{
	return (uint8_t)dec_u64_max(d, UINT8_MAX);
}

int64_t dec_i64(struct dec *d)
{
	msgpack_object o = next_scalar(d);

	if (o.type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		return o.via.i64;
	if (o.type == MSGPACK_OBJECT_POSITIVE_INTEGER && o.via.u64 <= INT64_MAX)
		return (int64_t)o.via.u64;
	dec_fail(d);
	return 0;
}

bool dec_bool(struct dec *d)
{
	msgpack_object o = next_scalar(d);

	if (o.type == MSGPACK_OBJECT_BOOLEAN)
		return o.via.boolean;
	dec_fail(d);
	return false;
}

/* Bytes of the header of a byte string, and in *len what it announces; 0 when there is none. The
 * library is not asked: it allocates a zone of 8 KiB for each byte string. */
static size_t bin_header(const uint8_t *p, size_t avail, size_t *len)
{
	if (avail >= 2 && p[0] == MP_BIN8) {
		*len = p[1];
		return 2;
	}
	if (avail >= 3 && p[0] == MP_BIN16) {
		*len = be16_get(p + 1);
		return 3;
	}
	if (avail >= 5 && p[0] == MP_BIN32) {
		*len = be32_get(p + 1);
		return 5;
	}
	return 0;
}

struct slice dec_bytes(struct dec *d, size_t max)
{
	size_t header, len = 0;
	struct slice s;

	if (d->err != 0 || left(d) == 0)
		goto out_fail;
	header = bin_header(d->in.p + d->off, left(d), &len);
	if (header == 0 || len > max || len > left(d) - header)
		goto out_fail;
	s = slice_of(d->in.p + d->off + header, len);
	d->off += header + len;
	return s;

out_fail:
	dec_fail(d);
	return slice_of(NULL, 0);
}

uint32_t dec_count(struct dec *d, uint32_t max)
{
	uint64_t count = dec_u64_max(d, max);

	if (count <= left(d))
		return (uint32_t)count;
	dec_fail(d);
	return 0;
}

struct slice dec_rest(const struct dec *d)
{
	if (d->err != 0 || left(d) == 0)
		return slice_of(NULL, 0);
	return slice_of(d->in.p + d->off, left(d));
}

int dec_end(struct dec *d)
{
	if (left(d) > 0)
		dec_fail(d);
	return d->err;
}
