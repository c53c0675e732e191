/* Frames on a stream (net/frame.h): what the bytes say must not depend on how they arrive, and a frame
 * that is taken is the one that encoding its fields gives. Byte 0: the size of the pieces; bit 7: the
 * CRCs are made right first. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "net/frame.h"
#include "tests/fuzz/fuzz.h"

static void check_again(const struct net_frame *f, struct slice bytes)
{
	struct buf b = BUF_INIT;

	net_frame_encode(&b, f->type, f->flags, f->id, f->body);
	CHECK(buf_ok(&b) && slice_eq(buf_slice(&b), bytes));
	buf_release(&b);
}

/* Frames of the stream so far, until it is used up or broken; *err says why it broke. */
static size_t take(struct slice s, unsigned *frames, long *err, bool again)
{
	size_t at = 0;

	while (*err == 0) {
		struct slice rest = slice_of(s.p + at, s.len - at);
		struct net_frame f;
		long n = net_frame_parse(rest, &f);

		if (n == 0)
			break;
		if (n < 0) {
			CHECK(n == ERR_PROTO || n == ERR_WIRE_VERSION);
			*err = n;
			break;
		}
		CHECK((size_t)n <= rest.len && (size_t)n == frame_size(rest));
		CHECK(f.body.len == (size_t)n - FRAME_HEADER_SIZE);
		if (again)
			check_again(&f, slice_of(rest.p, (size_t)n));
		(*frames)++;
		at += (size_t)n;
	}
	return at;
}

static void fix_crcs(uint8_t *p, size_t len)
{
	while (len >= FRAME_HEADER_SIZE) {
		uint32_t length = be32_get(p) & 0xffffff;

		if (length < FRAME_FIXED_SIZE || length > len - FRAME_PREFIX_SIZE)
			return;
		frame_length_put(p, length);
		be32_put(p + 4, crc32c(0, p + FRAME_PREFIX_SIZE, length));
		p += FRAME_PREFIX_SIZE + length;
		len -= FRAME_PREFIX_SIZE + length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	uint8_t how = fuzz_u8(&in);
	struct slice s = fuzz_rest(&in);
	uint8_t *bytes = fuzz_exact(s);
	unsigned whole = 0, pieces = 0;
	long whole_err = 0, pieces_err = 0;
	size_t whole_at, at = 0, piece = (how & 0x7f) + 1u;

	if (how & 0x80)
		fix_crcs(bytes, s.len);
	whole_at = take(slice_of(bytes, s.len), &whole, &whole_err, true);
	for (size_t have = 0; have < s.len && !pieces_err;) {
		uint8_t *some;

		have += piece < s.len - have ? piece : s.len - have;
		some = fuzz_exact(slice_of(bytes + at, have - at));
		at += take(slice_of(some, have - at), &pieces, &pieces_err, false);
		mem_free(some);
	}
	CHECK(whole == pieces && whole_at == at && whole_err == pieces_err);
	mem_free(bytes);
	return 0;
}
