/* See fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/logger.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	logger_set_level(LOG_ERROR_);
	return 0;
}

struct slice fuzz_bytes(struct fuzz_in *in, size_t n)
{
	struct slice s = slice_of(in->left.p, n < in->left.len ? n : in->left.len);

	if (s.len) {
		in->left.p += s.len;
		in->left.len -= s.len;
	}
	return s;
}

static uint64_t number(struct fuzz_in *in, size_t width)
{
	struct slice s = fuzz_bytes(in, width);
	uint8_t b[8] = {0};

	if (s.len)
		memcpy(b, s.p, s.len);
	return le64_get(b);
}

uint8_t fuzz_u8(struct fuzz_in *in)
{
	return (uint8_t)number(in, 1);
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
	return (uint16_t)number(in, 2);
}

uint32_t fuzz_u32(struct fuzz_in *in)
{
	return (uint32_t)number(in, 4);
}

uint64_t fuzz_u64(struct fuzz_in *in)
{
	return number(in, 8);
}

uint64_t fuzz_below(struct fuzz_in *in, uint64_t n)
{
	return (n <= 256 ? fuzz_u8(in) : n <= 65536 ? fuzz_u16(in) : fuzz_u64(in)) % n;
}

struct slice fuzz_item(struct fuzz_in *in)
{
	return fuzz_bytes(in, fuzz_u16(in));
}

struct slice fuzz_rest(struct fuzz_in *in)
{
	return fuzz_bytes(in, in->left.len);
}

char *fuzz_text(struct fuzz_in *in)
{
	struct slice s = fuzz_rest(in);
	char *text = mem_must_alloc(s.len + 1);

	if (s.len)
		memcpy(text, s.p, s.len);
	return text;
}

void fuzz_put_u16(struct buf *b, uint16_t v)
{
	uint8_t at[2];

	le16_put(at, v);
	buf_add(b, at, sizeof(at));
}

void fuzz_put_item(struct buf *b, struct slice s)
{
	CHECK(s.len <= UINT16_MAX);
	fuzz_put_u16(b, (uint16_t)s.len);
	buf_add_slice(b, s);
}

uint8_t *fuzz_exact(struct slice s)
{
	return mem_must_dup(s.p ? s.p : (const uint8_t *)"", s.len);
}

void fuzz_same(struct buf *once, struct buf *again)
{
	CHECK(buf_ok(once) && buf_ok(again));
	CHECK(slice_eq(buf_slice(once), buf_slice(again)));
	buf_release(once);
	buf_release(again);
}

void fuzz_round_trip(fuzz_code_fn *code, struct slice body)
{
	struct buf once = BUF_INIT, again = BUF_INIT;
	int err = code(body, &once);

	CHECK(err == 0 || err == ERR_PROTO);
	if (err) {
		CHECK(once.len == 0);
		return;
	}
	CHECK(once.len <= body.len);
	CHECK(code(buf_slice(&once), &again) == 0);
	fuzz_same(&once, &again);
}
