/* The snapshot stream (kv/engine.h, engine_install_*). Byte 0: bit 0: chunks are what the input
 * says, CRCs made right; bit 1: they are those of a real snapshot, of which some are changed. What
 * was installed is streamed again, to the same state; a refused chunk or stream changes nothing. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "kv/engine_internal.h"
#include "tests/fuzz/fuzz.h"

#define CHUNKS_MAX 64u

static void fix_crc(struct buf *c)
{
	if (c->len >= CHUNK_HEADER_SIZE)
		le32_put(c->data + CHUNK_CRC_AT,
			 crc32c(0, c->data + CHUNK_CRC_AT + 4, c->len - CHUNK_CRC_AT - 4));
}

static void fill(struct engine_group *g, struct fuzz_in *in)
{
	unsigned records = fuzz_u8(in) % 32u;

	engine_begin(g);
	for (unsigned i = 0; i < records; i++) {
		uint8_t how = fuzz_u8(in);
		uint8_t key[2] = {how, (uint8_t)i};
		struct slice value = fuzz_bytes(in, how % 32u);

		engine_put(g, (enum engine_table)(how % TABLE_COUNT), slice_of(key, 1 + how % 2u),
			   value);
	}
	engine_commit(g, 1 + fuzz_u8(in));
}

static unsigned stream(struct engine_group *g, size_t chunk_max, struct buf *chunks)
{
	struct engine_snapshot *s;
	unsigned n = 0;

	CHECK(engine_snapshot_new(g, &s) == 0);
	do
		CHECK(engine_snapshot_next(s, chunk_max, &chunks[n]) == 0);
	while (chunks[n].len > 0 && ++n < CHUNKS_MAX);
	engine_snapshot_free(s);
	return n;
}

static void release(struct buf *chunks)
{
	for (unsigned i = 0; i <= CHUNKS_MAX; i++)
		buf_release(&chunks[i]);
}

/* What @g has, installed from its own stream into another group, is the same. */
static void check_again(struct engine *e, struct engine_group *g)
{
	struct buf chunks[CHUNKS_MAX + 1] = {{0}};
	struct engine_group *to = engine_group_open(e, 3);
	uint32_t crc, again;
	unsigned n = stream(g, 4096, chunks);

	if (n < CHUNKS_MAX) {
		CHECK(engine_install_begin(to) == 0);
		for (unsigned i = 0; i < n; i++)
			CHECK(engine_install_chunk(to, buf_slice(&chunks[i])) == 0);
		CHECK(engine_install_finish(to, engine_applied(g)) == 0);
		CHECK(engine_checksum(g, &crc) == 0 && engine_checksum(to, &again) == 0);
		CHECK(crc == again && engine_applied(to) == engine_applied(g));
	}
	release(chunks);
	engine_group_close(to);
}

static void change(struct buf *c, struct fuzz_in *in)
{
	size_t at = fuzz_u16(in);
	struct slice s = fuzz_bytes(in, fuzz_u8(in) % 16u);

	for (size_t i = 0; i < s.len && at + i < c->len; i++)
		c->data[at + i] = s.p[i];
}

static unsigned make_chunks(struct engine_group *from, struct fuzz_in *in, uint8_t how,
			    struct buf *chunks)
{
	unsigned n = 0;

	if (how & 2) {
		fill(from, in);
		n = stream(from, 64 + fuzz_u8(in), chunks);
		for (unsigned left = fuzz_u8(in) % 8u; left > 0 && n > 0; left--) {
			struct buf *c = &chunks[fuzz_below(in, n)];

			change(c, in);
			if (how & 1)
				fix_crc(c);
		}
		return n;
	}
	for (; n < CHUNKS_MAX && in->left.len > 0; n++) {
		buf_add_slice(&chunks[n], fuzz_item(in));
		if (how & 1)
			fix_crc(&chunks[n]);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	uint8_t how = fuzz_u8(&in);
	struct buf chunks[CHUNKS_MAX + 1] = {{0}};
	struct engine *e;
	struct engine_group *from, *to;
	uint64_t applied;
	uint32_t before, after;
	unsigned n;
	int err;

	CHECK(engine_mem_open(&e) == 0);
	from = engine_group_open(e, 1);
	to = engine_group_open(e, 2);
	engine_begin(to);
	engine_put(to, TABLE_DATA, slice_str("old"), slice_str("state"));
	engine_commit(to, how >> 4);
	n = make_chunks(from, &in, how, chunks);
	applied = how & 4 ? engine_applied(from) : n > 0 && chunks[0].len >= CHUNK_HEADER_SIZE
			  ? le64_get(chunks[0].data + 16) : 1;
	CHECK(engine_checksum(to, &before) == 0);
	CHECK(engine_install_begin(to) == 0);
	for (unsigned i = 0; i < n; i++) {
		err = engine_install_chunk(to, buf_slice(&chunks[i]));
		CHECK(err == 0 || err == ERR_CORRUPT);
		CHECK(err == 0 || engine_install_why(to)[0]);
	}
	err = engine_install_finish(to, applied);
	CHECK(err == 0 || err == ERR_CORRUPT || err == ERR_INVAL);
	CHECK(engine_checksum(to, &after) == 0);
	if (err)
		CHECK(before == after);
	else
		check_again(e, to);
	release(chunks);
	engine_group_close(from);
	engine_group_close(to);
	engine_close(e);
	return 0;
}
