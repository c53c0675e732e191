/* The snapshot stream, written; and the digest of a state, which the stream carries too. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/engine_internal.h"

_Static_assert(ENGINE_KEY_SIZE_MAX <= UINT16_MAX, "a key's length fits its field");

/* ---- the digest ---- */

void engine__record_header(uint8_t out[8], struct engine_pos pos, size_t value_len)
{
	CHECK(pos.table < TABLE_COUNT && pos.key.len <= ENGINE_KEY_SIZE_MAX);
	CHECK(value_len <= UINT32_MAX);
	out[0] = (uint8_t)pos.table;
	out[1] = 0;
	le16_put(out + 2, (uint16_t)pos.key.len);
	le32_put(out + 4, (uint32_t)value_len);
}

void engine__digest_add(struct engine_digest *d, struct engine_pos pos, struct slice value)
{
	uint8_t header[CHUNK_RECORD_HEADER];

	engine__record_header(header, pos, value.len);
	d->crc = crc32c(d->crc, header, sizeof(header));
	d->crc = crc32c(d->crc, pos.key.p, pos.key.len);
	d->crc = crc32c(d->crc, value.p, value.len);
	d->records++;
	d->bytes += pos.key.len + value.len;
}

int engine_checksum(struct engine_group *g, uint32_t *out)
{
	struct engine_pos end = {.table = TABLE_COUNT};
	struct engine_iter *it = engine__iter_new(g, (struct engine_pos){0}, end, false);
	struct engine_digest d = {0};
	int err;

	for (; engine_iter_valid(it); engine_iter_next(it))
		engine__digest_add(&d, engine__iter_pos(it), engine_iter_value(it));
	err = engine_iter_err(it);
	engine_iter_free(it);
	if (!err)
		*out = d.crc;
	return err;
}

/* ---- the stream ---- */

struct engine_snapshot {
	struct engine *engine;
	struct engine_view *view;
	struct engine_digest digest; /* of what was given out */
	uint32_t index;		     /* of the next chunk */
	bool ended;
	int err; /* sticky: a record that was read and not given out does not come again */
};

int engine_snapshot_new(struct engine_group *g, struct engine_snapshot **out)
{
	struct engine_view *view;
	struct engine_snapshot *s;
	int err = g->engine->ops->view_new(g, &view);

	if (err)
		return err;
	s = mem_must_alloc(sizeof(*s));
	s->engine = g->engine;
	s->view = view;
	*out = s;
	return 0;
}

void engine_snapshot_free(struct engine_snapshot *s)
{
	if (!s)
		return;
	s->engine->ops->view_free(s->view);
	mem_free(s);
}

uint64_t engine_snapshot_applied(const struct engine_snapshot *s)
{
	return s->view->applied;
}

static void add_record(struct engine_snapshot *s, struct buf *chunk)
{
	const struct engine_source *src = s->view->source;
	uint8_t header[CHUNK_RECORD_HEADER];

	CHECK(!src->deleted);
	engine__record_header(header, src->pos, src->value.len);
	buf_add(chunk, header, sizeof(header));
	buf_add_slice(chunk, src->pos.key);
	buf_add_slice(chunk, src->value);
	engine__digest_add(&s->digest, src->pos, src->value);
}

/* As many as fit, and one at least: a record may be larger than what is asked for. */
static bool add_records(struct engine_snapshot *s, size_t chunk_max, struct buf *chunk)
{
	struct engine_source *src = s->view->source;
	bool any = false;

	for (; src->valid && buf_ok(chunk); src->ops->next(src)) {
		size_t size = CHUNK_RECORD_HEADER + src->pos.key.len + src->value.len;

		if (any && chunk->len + size > chunk_max)
			break;
		add_record(s, chunk);
		any = true;
	}
	s->err = src->err;
	return any;
}

static void add_totals(struct engine_snapshot *s, struct buf *chunk)
{
	uint8_t totals[CHUNK_TOTALS_SIZE];

	le64_put(totals, s->digest.records);
	le64_put(totals + 8, s->digest.bytes);
	le32_put(totals + 16, s->digest.crc);
	buf_add(chunk, totals, sizeof(totals));
	s->ended = true;
}

static void seal(struct engine_snapshot *s, enum chunk_kind kind, struct buf *chunk)
{
	uint8_t *h = chunk->data;
	const size_t begin = CHUNK_CRC_AT + 4;

	le32_put(h, CHUNK_MAGIC);
	le32_put(h + 8, s->index++);
	le32_put(h + 12, kind);
	le64_put(h + 16, s->view->applied);
	le32_put(h + CHUNK_CRC_AT, crc32c(0, h + begin, chunk->len - begin));
}

int engine_snapshot_next(struct engine_snapshot *s, size_t chunk_max, struct buf *chunk)
{
	enum chunk_kind kind = CHUNK_RECORDS;

	buf_reset(chunk);
	if (s->err || s->ended)
		return s->err;
	buf_add_zeros(chunk, CHUNK_HEADER_SIZE);
	if (!add_records(s, chunk_max, chunk) && !s->err) {
		kind = CHUNK_END;
		add_totals(s, chunk);
	}
	if (!s->err && !buf_ok(chunk))
		s->err = ERR_NOMEM;
	if (s->err) {
		buf_reset(chunk);
		return s->err;
	}
	seal(s, kind, chunk);
	return 0;
}
