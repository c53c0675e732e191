/* The scalars of base/codec.h: whatever the bytes, a decoder stays inside of them, is sticky about
 * errors, and what it took is what encoding gives back. Byte 0..15: which calls, the rest: the bytes. */
#include "base/codec.h"
#include "tests/fuzz/fuzz.h"

enum call { U64, U64_MAX, U32, U8, I64, BOOL, BYTES, COUNT, CALLS };

struct value {
	enum call call;
	uint64_t number;
	struct slice bytes;
};

static struct value take(struct dec *d, enum call call)
{
	struct value v = {.call = call};

	switch (call) {
	case U64:
		v.number = dec_u64(d);
		break;
	case U64_MAX:
		v.number = dec_u64_max(d, 1000);
		CHECK(v.number <= 1000);
		break;
	case U32:
		v.number = dec_u32(d);
		break;
	case U8:
		v.number = dec_u8(d);
		break;
	case I64:
		v.number = (uint64_t)dec_i64(d);
		break;
	case BOOL:
		v.number = dec_bool(d);
		break;
	case BYTES:
		v.bytes = dec_bytes(d, 300);
		CHECK(v.bytes.len <= 300);
		break;
	default:
		v.number = dec_count(d, 100);
		CHECK(v.number <= 100 && v.number <= dec_rest(d).len);
	}
	return v;
}

static void give(struct buf *b, const struct value *v)
{
	switch (v->call) {
	case I64:
		enc_i64(b, (int64_t)v->number);
		break;
	case BOOL:
		enc_bool(b, v->number);
		break;
	case BYTES:
		enc_bytes(b, v->bytes);
		break;
	default:
		enc_u64(b, v->number);
	}
}

static void check_back(const struct value *v)
{
	struct buf b = BUF_INIT;
	struct value w;
	struct dec d;

	give(&b, v);
	CHECK(buf_ok(&b));
	if (v->call == COUNT)
		buf_add_zeros(&b, v->number); /* as many items as it says */
	dec_init(&d, buf_slice(&b));
	w = take(&d, v->call);
	CHECK(!d.err && w.number == v->number && slice_eq(w.bytes, v->bytes));
	CHECK(v->call == COUNT || dec_end(&d) == 0);
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	struct slice calls = fuzz_bytes(&in, 16), s = fuzz_rest(&in);
	struct dec d;

	dec_init(&d, s);
	for (size_t i = 0; calls.len && i < 4 * calls.len; i++) {
		size_t off = d.off;
		bool failed = d.err != 0;
		struct value v = take(&d, calls.p[i % calls.len] % CALLS);

		CHECK(d.off <= s.len && d.off >= off && (!failed || d.err == ERR_PROTO));
		if (d.err) {
			CHECK(v.number == 0 && v.bytes.len == 0 && dec_rest(&d).len == 0);
			continue;
		}
		CHECK(d.off > off);
		if (v.bytes.len)
			CHECK(v.bytes.p >= s.p && v.bytes.p + v.bytes.len <= s.p + s.len);
		check_back(&v);
	}
	CHECK((dec_end(&d) == 0) == (!d.err && d.off == s.len));
	return 0;
}
