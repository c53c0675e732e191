/* What the fuzz targets share. A target defines LLVMFuzzerTestOneInput; what must hold is checked with
 * CHECK (base/check.h), which aborts. An input that runs leaves nothing behind for the next one. */
#ifndef PAXFS_TESTS_FUZZ_FUZZ_H
#define PAXFS_TESTS_FUZZ_FUZZ_H

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv); /* fuzz_input.c: quiet logger */

/* Takes an input apart from its front; at its end everything is zero and empty. */
struct fuzz_in {
	struct slice left;
};

static inline struct fuzz_in fuzz_in_of(const uint8_t *data, size_t size)
{
	return (struct fuzz_in){.left = slice_of(data, size)};
}

uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in); /* little-endian, like the others */
uint32_t fuzz_u32(struct fuzz_in *in);
uint64_t fuzz_u64(struct fuzz_in *in);
uint64_t fuzz_below(struct fuzz_in *in, uint64_t n); /* @n > 0 */
struct slice fuzz_bytes(struct fuzz_in *in, size_t n); /* at most */
struct slice fuzz_item(struct fuzz_in *in);	       /* its length u16, then that many */
struct slice fuzz_rest(struct fuzz_in *in);
char *fuzz_text(struct fuzz_in *in); /* the rest, up to a NUL if it has one; owned */

/* The other direction, for seeds. */
void fuzz_put_item(struct buf *b, struct slice s);
void fuzz_put_u16(struct buf *b, uint16_t v);

/* Copies @s to memory of exactly that size, so that reading beyond it is seen. NULL-safe; freed with
 * mem_free. */
uint8_t *fuzz_exact(struct slice s);

/* An encoding made from a decoded value: @again is what encoding gives once more after decoding @once.
 * Releases both. */
void fuzz_same(struct buf *once, struct buf *again);

/* Decodes @in and encodes what that is, at the end of @out: 0, or ERR_PROTO and @out is as it was. */
typedef int fuzz_code_fn(struct slice in, struct buf *out);

/* Any @body is refused; or what it means has an encoding that is no longer, and has the same one. */
void fuzz_round_trip(fuzz_code_fn *code, struct slice body);

#endif
