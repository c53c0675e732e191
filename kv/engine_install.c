/* The snapshot stream, checked and installed. A chunk is checked as a whole before anything of
 * it is taken, so that a damaged one can be replaced by the right one. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_internal.h"

struct engine_install {
	uint32_t index;   /* of the chunk that comes next */
	uint64_t applied; /* of the stream, from its first chunk on */
	bool ended;	  /* the last chunk came, and its totals were right */
	struct engine_digest digest;
	unsigned last_table; /* of the last record taken; positions ascend */
	uint16_t last_len;
	uint8_t last_key[ENGINE_KEY_SIZE_MAX];
	struct msg why;
};

void engine__install_free(struct engine_install *in)
{
	mem_free(in);
}

const char *engine_install_why(const struct engine_group *g)
{
	return g->install ? g->install->why.text : "no snapshot is being installed";
}

int engine_install_begin(struct engine_group *g)
{
	int err;

	CHECK(g->opened && !g->in_batch);
	engine__install_free(g->install);
	g->install = NULL;
	err = g->engine->ops->install_begin(g);
	if (!err)
		g->install = mem_must_alloc(sizeof(*g->install));
	return err;
}

/* ---- checking ---- */

static int bad(struct engine_install *in, size_t byte, const char *what)
{
	return msg_set(&in->why, ERR_CORRUPT, "chunk %u, byte %zu: %s", in->index, byte, what);
}

static int check_header(struct engine_install *in, struct slice c)
{
	const size_t begin = CHUNK_CRC_AT + 4;

	if (in->ended)
		return bad(in, 0, "it comes behind the last chunk");
	if (c.len < CHUNK_HEADER_SIZE)
		return bad(in, c.len, "it ends inside its header");
	if (le32_get(c.p) != CHUNK_MAGIC)
		return bad(in, 0, "not a chunk of a snapshot");
	if (le32_get(c.p + CHUNK_CRC_AT) != crc32c(0, c.p + begin, c.len - begin))
		return bad(in, CHUNK_CRC_AT, "wrong checksum");
	if (le32_get(c.p + 8) != in->index)
		return bad(in, 8, "another chunk of the snapshot is due");
	if (le32_get(c.p + 12) != CHUNK_RECORDS && le32_get(c.p + 12) != CHUNK_END)
		return bad(in, 12, "a kind of chunk that is not known");
	if (in->index > 0 && le64_get(c.p + 16) != in->applied)
		return bad(in, 16, "a chunk of a snapshot of another slot");
	return 0;
}

struct record {
	struct engine_pos pos;
	struct slice value;
	size_t size; /* with its header */
};

/* The record at @at. False: there is none in what is left. */
static bool read_record(struct slice c, size_t at, struct record *r)
{
	size_t left = c.len - at - CHUNK_RECORD_HEADER, key_len, value_len;

	if (c.len - at < CHUNK_RECORD_HEADER)
		return false;
	key_len = le16_get(c.p + at + 2);
	value_len = le32_get(c.p + at + 4);
	if (key_len > left || value_len > left - key_len)
		return false;
	r->pos.table = c.p[at];
	r->pos.key = slice_of(c.p + at + CHUNK_RECORD_HEADER, key_len);
	r->value = slice_of(r->pos.key.p + key_len, value_len);
	r->size = CHUNK_RECORD_HEADER + key_len + value_len;
	return true;
}

static int check_records(struct engine_install *in, struct slice c)
{
	struct engine_pos last = {.table = in->last_table,
				  .key = slice_of(in->last_key, in->last_len)};
	bool first = in->digest.records == 0;
	struct record r;

	for (size_t at = CHUNK_HEADER_SIZE; at < c.len; at += r.size) {
		if (!read_record(c, at, &r))
			return bad(in, at, "a record goes beyond the end of the chunk");
		if (r.pos.table >= TABLE_COUNT || c.p[at + 1] != 0)
			return bad(in, at, "a record of a table that is not known");
		if (r.pos.key.len > ENGINE_KEY_SIZE_MAX)
			return bad(in, at, "a key is too long");
		if (!first && engine_pos_cmp(last, r.pos) >= 0)
			return bad(in, at, "records are out of order");
		last = r.pos;
		first = false;
	}
	return 0;
}

static int check_totals(struct engine_install *in, struct slice c)
{
	const uint8_t *totals = c.p + CHUNK_HEADER_SIZE;

	if (c.len != CHUNK_HEADER_SIZE + CHUNK_TOTALS_SIZE)
		return bad(in, CHUNK_HEADER_SIZE, "the totals have another size");
	if (le64_get(totals) != in->digest.records || le64_get(totals + 8) != in->digest.bytes)
		return bad(in, CHUNK_HEADER_SIZE, "records are missing, or too many");
	if (le32_get(totals + 16) != in->digest.crc)
		return bad(in, CHUNK_HEADER_SIZE + 16, "the records are not those that were sent");
	return 0;
}

/* ---- installing ---- */

static void take_records(struct engine_group *g, struct engine_install *in, struct slice c)
{
	struct record r = {0};

	for (size_t at = CHUNK_HEADER_SIZE; at < c.len; at += r.size) {
		CHECK(read_record(c, at, &r));
		engine__digest_add(&in->digest, r.pos, r.value);
		g->engine->ops->install_put(g, r.pos, r.value);
	}
	g->engine->ops->install_write(g);
	if (r.size == 0)
		return;
	in->last_table = r.pos.table;
	in->last_len = (uint16_t)r.pos.key.len;
	if (r.pos.key.len)
		memcpy(in->last_key, r.pos.key.p, r.pos.key.len);
}

int engine_install_chunk(struct engine_group *g, struct slice chunk)
{
	struct engine_install *in = g->install;
	enum chunk_kind kind;
	int err;

	CHECK(g->opened && !g->in_batch);
	if (!in)
		return ERR_INVAL;
	err = check_header(in, chunk);
	if (err)
		return err;
	kind = le32_get(chunk.p + 12);
	err = kind == CHUNK_END ? check_totals(in, chunk) : check_records(in, chunk);
	if (err)
		return err;
	in->applied = le64_get(chunk.p + 16);
	if (kind == CHUNK_END)
		in->ended = true;
	else
		take_records(g, in, chunk);
	in->index++;
	return 0;
}

int engine_install_finish(struct engine_group *g, uint64_t applied_slot)
{
	struct engine_install *in = g->install;
	int err;

	CHECK(g->opened && !g->in_batch);
	if (!in)
		return ERR_INVAL;
	if (!in->ended)
		return bad(in, 0, "the snapshot ends before its last chunk");
	if (applied_slot != in->applied || applied_slot < engine_applied(g))
		return msg_set(&in->why, ERR_INVAL,
			       "a snapshot of slot %llu, to be installed as %llu over %llu",
			       (unsigned long long)in->applied, (unsigned long long)applied_slot,
			       (unsigned long long)engine_applied(g));
	err = g->engine->ops->install_finish(g, applied_slot);
	if (err)
		return msg_set(&in->why, err, "the new state could not be written: %s",
			       err_text(err));
	CHECK(engine_applied(g) == applied_slot && engine_durable(g) == applied_slot);
	engine__install_free(in);
	g->install = NULL;
	return 0;
}
