/* Cutting a mini-transaction by group. */
#include "base/check.h"
#include "base/err.h"
#include "txn/mini_codec.h"

#define PART_HEAD_ROOM 4096u /* what a command or message puts around a part */
#define NO_PART	       UINT8_MAX

struct split {
	const struct txn_mini *m;
	txn_route_fn *route;
	void *ctx;
	uint32_t groups[TXN_GROUPS_MAX];
	uint32_t count;
	uint8_t cond_part[TXN_CONDS_MAX]; /* which part an item belongs to */
	uint8_t read_part[TXN_READS_MAX];
	uint8_t mut_part[TXN_MUTS_MAX];
};

_Static_assert(TXN_GROUPS_MAX < NO_PART, "a part's number fits a byte");

static int part_of(struct split *s, struct slice key, struct slice to, uint8_t *part)
{
	uint32_t group = 0;
	int err = s->route(s->ctx, key, to, &group);

	if (err)
		return err;
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->groups[i] == group) {
			*part = (uint8_t)i;
			return 0;
		}
	}
	if (s->count == TXN_GROUPS_MAX)
		return ERR_TOO_BIG;
	*part = (uint8_t)s->count;
	s->groups[s->count++] = group;
	return 0;
}

static int route_all(struct split *s)
{
	const struct txn_mini *m = s->m;
	int err = 0;

	for (uint32_t i = 0; i < m->cond_count && !err; i++)
		err = part_of(s, m->conds[i].key, m->conds[i].to, &s->cond_part[i]);
	for (uint32_t i = 0; i < m->read_count && !err; i++) {
		if (m->reads[i].kind == TXN_GET_REF)
			s->read_part[i] = s->read_part[m->reads[i].from];
		else
			err = part_of(s, m->reads[i].key, m->reads[i].to, &s->read_part[i]);
	}
	for (uint32_t i = 0; i < m->mut_count && !err; i++)
		err = part_of(s, m->muts[i].key, m->muts[i].to, &s->mut_part[i]);
	return err;
}

static uint32_t count_of(const uint8_t *parts, uint32_t n, uint8_t part)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += parts[i] == part;
	return count;
}

static void encode_part(const struct split *s, uint8_t part, struct txn_part *out)
{
	const struct txn_mini *m = s->m;
	uint32_t flags = 0;

	for (uint32_t i = 0; i < m->mut_count; i++)
		if (s->mut_part[i] == part)
			flags |= txn__mut_flags(&m->muts[i]);
	out->group = s->groups[part];
	out->writes = (flags & PART_WRITES) != 0;
	buf_init(&out->body);
	txn__part_head(&out->body, flags, count_of(s->cond_part, m->cond_count, part),
		       count_of(s->read_part, m->read_count, part),
		       count_of(s->mut_part, m->mut_count, part));
	for (uint32_t i = 0; i < m->cond_count; i++)
		if (s->cond_part[i] == part)
			txn__part_cond(&out->body, &m->conds[i], i);
	for (uint32_t i = 0; i < m->read_count; i++)
		if (s->read_part[i] == part)
			txn__part_read(&out->body, &m->reads[i], i);
	for (uint32_t i = 0; i < m->mut_count; i++)
		if (s->mut_part[i] == part)
			txn__part_mut(&out->body, &m->muts[i], i);
}

int txn_split(const struct txn_mini *m, txn_route_fn *route, void *ctx, struct txn_part *parts,
	      uint32_t *part_count)
{
	struct split s = {.m = m, .route = route, .ctx = ctx};
	size_t total = 0;
	int err = m->err;

	if (!err)
		err = route_all(&s);
	if (err)
		return err;
	for (uint32_t i = 0; i < s.count; i++) {
		encode_part(&s, (uint8_t)i, &parts[i]);
		total += parts[i].body.len;
		if (!buf_ok(&parts[i].body))
			err = ERR_NOMEM;
	}
	/* all parts travel in one request, each again in a command of its own */
	if (!err && total > COMMAND_SIZE_MAX - PART_HEAD_ROOM)
		err = ERR_TOO_BIG;
	if (err) {
		txn_parts_release(parts, s.count);
		return err;
	}
	CHECK(s.count <= TXN_GROUPS_MAX);
	*part_count = s.count;
	return 0;
}

void txn_parts_release(struct txn_part *parts, uint32_t count)
{
	CHECK(count <= TXN_GROUPS_MAX);
	for (uint32_t i = 0; i < count; i++)
		buf_release(&parts[i].body);
}
