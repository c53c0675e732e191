#include "tests/lib/txn_hand.h"

#include <stdlib.h>

#include "base/bytes.h"

#define CLOCK_STEP_NS 10000u

static bool owns(void *ctx, struct slice key, struct slice to)
{
	const struct txh *h = ctx;

	(void)to;
	return !h->owns_nothing && key.len >= 2 && be16_get(key.p) < TXF_PLACE_STEP;
}

static void open_one(struct txh *h, int i)
{
	struct tsm_config cfg = h->cfg;

	cfg.store = txn_mem_store(h->mem[i]);
	CHECK_OK(tsm_open(&cfg, &h->tsm[i]));
}

void txh_open(struct txh *h)
{
	*h = (struct txh){.clock_ns = NS_PER_S, .now_ns = NS_PER_S};
	tsm_config_default(&h->cfg);
	for (int i = 0; i < 2; i++) {
		h->mem[i] = txn_mem_new();
		txn_mem_set_owner(h->mem[i], owns, h);
		open_one(h, i);
	}
	tsm_set_leading(h->tsm[0], true, h->now_ns);
}

void txh_close(struct txh *h)
{
	txh_forget_outs(h);
	while (h->command_count > 0)
		buf_release(&h->entry[--h->command_count]);
	for (int i = 0; i < 2; i++) {
		tsm_close(h->tsm[i]);
		txn_mem_free(h->mem[i]);
	}
	*h = (struct txh){0};
}

static void take_outs(struct txh *h, int i)
{
	struct tsm_output o;

	while (tsm_output_next(h->tsm[i], &o)) {
		struct txh_out *out;

		if (i != 0 || h->out_count == TXH_OUTS_MAX)
			continue;
		out = &h->outs[h->out_count++];
		*out = (struct txh_out){.out = o};
		CHECK(buf_set(&out->bytes, o.bytes) == 0);
		out->out.bytes = buf_slice(&out->bytes);
	}
}

void txh_forget_outs(struct txh *h)
{
	while (h->out_count > 0)
		buf_release(&h->outs[--h->out_count].bytes);
}

void txh_add(struct txh *h, struct buf *command)
{
	CHECK(h->command_count < sizeof(h->entry) / sizeof(h->entry[0]) && buf_ok(command));
	buf_move(&h->entry[h->command_count++], command);
}

static void execute(struct txh *h, int i)
{
	tsm_set_time(h->tsm[i], h->now_ns);
	txn_mem_begin(h->mem[i]);
	tsm_begin_entry(h->tsm[i], h->slot, h->clock_ns);
	for (unsigned k = 0; k < h->command_count; k++)
		CHECK_OK(tsm_apply(h->tsm[i], buf_slice(&h->entry[k])));
	CHECK_OK(tsm_end_entry(h->tsm[i]));
	txn_mem_commit(h->mem[i]);
	if (!h->unaudited)
		tsm_audit(h->tsm[i]);
	take_outs(h, i);
}

void txh_entry(struct txh *h)
{
	h->slot++;
	h->clock_ns += CLOCK_STEP_NS;
	h->now_ns += CLOCK_STEP_NS;
	tsm_close(h->tsm[1]);
	h->tsm[1] = NULL;
	open_one(h, 1);
	execute(h, 0);
	execute(h, 1);
	while (h->command_count > 0)
		buf_release(&h->entry[--h->command_count]);
	if (!txn_mem_equal(h->mem[0], h->mem[1])) {
		h->differs = true;
		if (getenv("TXH_DUMP")) {
			txn_mem_dump(h->mem[0], stdout);
			printf("-----\n");
			txn_mem_dump(h->mem[1], stdout);
		}
		CHECK_FAIL("slot %llu: a machine opened anew has done something else",
			   (unsigned long long)h->slot);
	}
}

void txh_apply(struct txh *h, struct buf *command)
{
	txh_add(h, command);
	txh_entry(h);
}

void txh_restart(struct txh *h)
{
	tsm_close(h->tsm[0]);
	h->tsm[0] = NULL;
	open_one(h, 0);
	tsm_set_leading(h->tsm[0], true, h->now_ns);
	take_outs(h, 0);
}

void txh_message(struct txh *h, const struct message *m)
{
	struct buf b = BUF_INIT;

	txn__enc_message(&b, m);
	CHECK_OK(tsm_message(h->tsm[0], buf_slice(&b), h->now_ns));
	buf_release(&b);
	take_outs(h, 0);
}

void txh_tick(struct txh *h, uint64_t after_ns)
{
	h->now_ns += after_ns;
	tsm_tick(h->tsm[0], h->now_ns);
	take_outs(h, 0);
}

/* ---- what came out ---- */

const struct txh_out *txh_last(const struct txh *h, enum tsm_output_kind kind)
{
	for (unsigned i = h->out_count; i-- > 0;)
		if (h->outs[i].out.kind == kind)
			return &h->outs[i];
	return NULL;
}

const struct txh_out *txh_last_message(const struct txh *h, enum message_kind kind,
				       struct message *m)
{
	for (unsigned i = h->out_count; i-- > 0;) {
		if (h->outs[i].out.kind != TSM_SEND)
			continue;
		CHECK_OK(txn__message_decode(buf_slice(&h->outs[i].bytes), m));
		if (m->kind == kind)
			return &h->outs[i];
	}
	return NULL;
}

int txh_reply(const struct txh *h, uint64_t client, uint64_t sequence)
{
	for (unsigned i = h->out_count; i-- > 0;) {
		const struct tsm_output *o = &h->outs[i].out;
		struct reply_head head;
		struct slice items;

		if (o->kind != TSM_REPLY || o->client != client || o->sequence != sequence)
			continue;
		CHECK_OK(txn__reply_decode_head(o->bytes, &head, &items));
		return head.status;
	}
	return 1;
}

/* ---- commands ---- */

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)to;
	*group = key.len >= 2 ? be16_get(key.p) / TXF_PLACE_STEP : 0;
	return 0;
}

static uint32_t split(const struct txn_mini *m, struct txn_part *parts)
{
	uint32_t count = 0;

	CHECK(m->err == 0 && txn_split(m, route, NULL, parts, &count) == 0);
	for (uint32_t i = 1; i < count; i++) {
		struct txn_part first = parts[i];

		if (first.group != 0)
			continue;
		parts[i] = parts[0];
		parts[0] = first;
	}
	CHECK(count > 0);
	return count;
}

static struct slice home_of(const struct txn_mini *m)
{
	struct slice home = {0};

	for (uint32_t i = m->read_count; i-- > 0;)
		if (m->reads[i].kind != TXN_GET_REF && be16_get(m->reads[i].key.p) == 0)
			home = m->reads[i].key;
	for (uint32_t i = m->cond_count; i-- > 0;)
		if (be16_get(m->conds[i].key.p) == 0)
			home = m->conds[i].key;
	for (uint32_t i = m->mut_count; i-- > 0;)
		if (be16_get(m->muts[i].key.p) == 0)
			home = m->muts[i].key;
	return home;
}

struct buf txh_request(const struct txh_request *r, const struct txn_mini *m)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct buf b = BUF_INIT;
	struct tsm_request q = {.client = r->client,
				.sequence = r->sequence,
				.mark = r->mark,
				.age = r->age,
				.lock = r->lock,
				.lock_only = r->lock_only,
				.parts = parts};

	q.part_count = split(m, parts);
	q.home = home_of(m);
	tsm_request_encode(&q, &b);
	txn_parts_release(parts, q.part_count);
	return b;
}

struct buf txh_part(const struct txn_mini *m)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	uint32_t count = split(m, parts);
	struct buf b = BUF_INIT;

	buf_move(&b, &parts[0].body);
	txn_parts_release(parts, count);
	return b;
}

struct buf txh_prepare(struct txn_id id, uint32_t coordinator, uint64_t lock, bool lock_only,
		       const struct txn_mini *m)
{
	struct buf body = txh_part(m), b = BUF_INIT;
	struct command c = {.kind = CMD_PREPARE,
			    .id = id,
			    .coordinator = coordinator,
			    .lock = lock,
			    .lock_only = lock_only,
			    .body = buf_slice(&body)};

	txn__enc_prepare(&b, &c);
	buf_release(&body);
	return b;
}

struct buf txh_decide(struct txn_id id, bool commit, uint64_t stamp)
{
	struct reply_head h = {.status = commit ? 0 : ERR_ABORTED, .stamp = stamp};
	struct buf reply = BUF_INIT, b = BUF_INIT;

	txn__reply_head(&reply, &h);
	txn__enc_decide(&b, id, commit, stamp, buf_slice(&reply));
	buf_release(&reply);
	return b;
}

struct buf txh_outcome(struct txn_id id, uint32_t coordinator, bool commit, uint64_t stamp)
{
	struct buf b = BUF_INIT;

	txn__enc_outcome(&b, id, commit, stamp, coordinator);
	return b;
}
