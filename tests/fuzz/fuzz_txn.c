/* See fuzz_txn.h. */
#include "tests/fuzz/fuzz_txn.h"

#include "base/bytes.h"

#define ITEMS_MAX 4u

struct key {
	uint8_t b[TXN_KEY_HEAD + 2];
	uint8_t len;
};

struct value {
	uint8_t b[64];
	uint8_t len;
};

bool fuzz_txn_owns(void *ctx, struct slice key, struct slice to)
{
	(void)ctx;
	if (key.len < 2 || be16_get(key.p) >= FUZZ_TXN_FOREIGN)
		return false;
	return to.len == 0 || (to.len >= 2 && be16_get(to.p) <= FUZZ_TXN_FOREIGN);
}

/* Keys of two places here and, seldom, of one elsewhere. */
static struct slice make_key(struct fuzz_in *in, struct key *k)
{
	uint8_t pick = fuzz_u8(in);
	uint16_t place = pick >= 0xf8 ? FUZZ_TXN_FOREIGN : pick & 1;

	be16_put(k->b, place);
	be64_put(k->b + 2, (uint64_t)place << 48 | (pick >> 1 & 3));
	k->b[10] = pick & 8 ? TXN_KEY_KIND_BLOCK : 'N';
	k->len = TXN_KEY_HEAD + (pick >> 4 & 1);
	k->b[TXN_KEY_HEAD] = 'x';
	return slice_of(k->b, k->len);
}

static struct slice make_value(struct fuzz_in *in, struct value *v, size_t len)
{
	struct slice s = fuzz_bytes(in, len < sizeof(v->b) ? len : sizeof(v->b));

	memset(v->b, 0, sizeof(v->b));
	if (s.len)
		memcpy(v->b, s.p, s.len);
	v->len = (uint8_t)(len < sizeof(v->b) ? len : sizeof(v->b));
	return slice_of(v->b, v->len);
}

static struct txn_field make_field(struct fuzz_in *in)
{
	static const uint16_t widths[] = {1, 2, 4, 8};
	uint8_t pick = fuzz_u8(in);

	return (struct txn_field){.offset = pick >> 3, .width = widths[pick & 3],
				  .commutes = (pick & 4) != 0};
}

static void make_cond(struct fuzz_in *in, struct buf *out, uint32_t index)
{
	struct txn_cond c = {.kind = (enum txn_cond_kind)(1 + fuzz_below(in, TXN_RANGE_SAME))};
	struct key k, to;
	struct value v;

	c.key = make_key(in, &k);
	c.to = make_key(in, &to);
	c.field = make_field(in);
	c.number = fuzz_u8(in);
	c.count = (uint32_t)c.number & 3;
	c.value = make_value(in, &v, c.field.width);
	txn__part_cond(out, &c, index);
}

static void make_read(struct fuzz_in *in, struct buf *out, uint32_t index, bool *got)
{
	enum txn_read_kind kind = (enum txn_read_kind)(1 + fuzz_below(in, TXN_SCAN_KEYS));
	struct txn_read r = {.kind = *got || kind != TXN_GET_REF ? kind : TXN_GET};
	struct key k, to;

	r.key = make_key(in, &k);
	r.to = make_key(in, &to);
	r.limit = fuzz_u8(in) & 7;
	r.offset = r.limit;
	r.ref_kind = 'N';
	if (r.kind == TXN_GET)
		*got = *got || index == 0;
	txn__part_read(out, &r, index);
}

static uint32_t make_mut(struct fuzz_in *in, struct buf *out, uint32_t index)
{
	struct txn_mut u = {.kind = (enum txn_mut_kind)(1 + fuzz_below(in, TXN_TOUCH))};
	struct key k, to;
	struct value v;
	uint8_t how;

	u.key = make_key(in, &k);
	u.to = make_key(in, &to);
	u.field = make_field(in);
	how = fuzz_u8(in);
	u.number = how & 31;
	u.want_result = (how & 32) != 0;
	u.now = (how & 64) != 0 && u.kind == TXN_SET;
	if (u.kind == TXN_TOUCH && (how & 64) != 0)
		u.number = UINT64_MAX;
	if (u.now || u.kind == TXN_TOUCH)
		u.field.width = 8;
	u.value = make_value(in, &v, u.kind == TXN_SET ? u.field.width : how >> 3);
	txn__part_mut(out, &u, index);
	return txn__mut_flags(&u);
}

void fuzz_txn_part(struct fuzz_in *in, struct buf *out, bool writes)
{
	uint8_t counts = fuzz_u8(in);
	uint32_t conds = counts & 3, reads = counts >> 2 & 3, muts = counts >> 4 & 3, flags = 0;
	struct buf items = BUF_INIT;
	bool got = false;

	if (!writes)
		muts = 0;
	for (uint32_t i = 0; i < conds; i++)
		make_cond(in, &items, i);
	for (uint32_t i = 0; i < reads; i++)
		make_read(in, &items, i, &got);
	for (uint32_t i = 0; i < muts; i++)
		flags |= make_mut(in, &items, i);
	txn__part_head(out, flags, conds, reads, muts);
	buf_add_slice(out, buf_slice(&items));
	buf_release(&items);
}

/* Clients 1..3 (0: anonymous), sequences 1..4. */
static struct txn_id make_id(struct fuzz_in *in, bool anonymous)
{
	uint8_t pick = fuzz_u8(in);

	return txn_id_of(anonymous && (pick & 3) == 0 ? 0 : 1 + (pick & 3) % 3, 1 + (pick >> 2 & 3));
}

static void make_request(struct fuzz_in *in, struct buf *out)
{
	struct txn_part parts[3] = {{0}};
	struct txn_id id = make_id(in, true);
	uint8_t how = fuzz_u8(in);
	struct key home;
	struct tsm_request q = {.client = id.client, .sequence = id.sequence, .parts = parts,
				.part_count = 1 + how % 3u};

	q.mark = id.client && how & 0x80 ? id.sequence - 1 : 0;
	q.age = fuzz_u8(in);
	q.home = make_key(in, &home);
	q.lock_only = (how & 0x40) != 0;
	if (how & 0x20 && !q.lock_only)
		q.lock = 1 + (how >> 2 & 3);
	if (id.client == 0) {
		q.part_count = 1;
		q.lock_only = false;
		q.lock = 0;
	}
	for (uint32_t i = 0; i < q.part_count; i++) {
		parts[i].group = i;
		fuzz_txn_part(in, &parts[i].body, true);
	}
	tsm_request_encode(&q, out);
	for (uint32_t i = 0; i < q.part_count; i++)
		buf_release(&parts[i].body);
}

static void make_prepare(struct fuzz_in *in, struct buf *out)
{
	struct command c = {.kind = CMD_PREPARE, .id = make_id(in, false)};
	struct buf part = BUF_INIT;
	uint8_t how = fuzz_u8(in);

	c.coordinator = how & 3;
	c.age = how >> 2;
	c.lock_only = (how & 0x80) != 0;
	c.lock = !c.lock_only && how & 0x40 ? 1 + (how & 3) : 0;
	fuzz_txn_part(in, &part, true);
	c.body = buf_slice(&part);
	txn__enc_prepare(out, &c);
	buf_release(&part);
}

static void make_reply(struct fuzz_in *in, struct buf *out)
{
	uint8_t how = fuzz_u8(in);
	struct reply_head h = {.stamp = fuzz_u8(in)};

	if (how & 1)
		h.status = how & 2 ? ERR_CONDITION : ERR_ABORTED;
	h.failed = how >> 2;
	txn__reply_head(out, &h);
}

void fuzz_txn_command(struct fuzz_in *in, struct buf *out)
{
	enum command_kind kind = (enum command_kind)(1 + fuzz_below(in, CMD_LAST));
	struct lazy ids = {.count = 2};
	struct buf reply = BUF_INIT;
	struct txn_id id;
	uint8_t how;

	if (kind == CMD_REQUEST) {
		make_request(in, out);
		return;
	}
	if (kind == CMD_PREPARE) {
		make_prepare(in, out);
		return;
	}
	id = make_id(in, false);
	how = fuzz_u8(in);
	switch (kind) {
	case CMD_CANCEL:
		txn__enc_cancel(out, id, how & 1 ? ERR_DEADLOCK : ERR_TIMEOUT, how >> 1 & 3);
		break;
	case CMD_CLOSE:
		tsm_command_close(out, id.client);
		break;
	case CMD_FLOOR:
		tsm_command_floor(out, how & 3);
		break;
	case CMD_OUTCOME:
		txn__enc_outcome(out, id, how & 1, how >> 1, how >> 1 & 3);
		break;
	case CMD_FORGET:
	case CMD_END:
		ids.ids[0] = id;
		ids.ids[1] = make_id(in, false);
		txn__enc_ids(out, kind, &ids);
		break;
	case CMD_DECIDE:
		make_reply(in, &reply);
		txn__enc_decide(out, id, how & 1, how >> 1, buf_slice(&reply));
		buf_release(&reply);
		break;
	case CMD_DROP:
		txn__enc_drop(out, how & 15, how >> 4);
		break;
	default:
		txn__enc_own(out, id);
	}
}

void fuzz_txn_message(struct fuzz_in *in, struct buf *out)
{
	struct message m = {.kind = (enum message_kind)(1 + fuzz_below(in, MSG_LAST))};
	uint8_t how = fuzz_u8(in);
	struct buf body = BUF_INIT;

	m.from = how & 3;
	m.commit = (how & 4) != 0;
	m.stamp = how >> 3;
	m.age = how >> 3;
	m.lock_only = (how & 0x80) != 0;
	m.lock = !m.lock_only && how & 0x40 ? 1 : 0;
	m.id = make_id(in, false);
	m.why = ERR_DEADLOCK;
	m.probe = (struct probe){.initiator = make_id(in, false), .initiator_group = how & 3,
				 .serial = how >> 4, .hops = how >> 5, .victim = make_id(in, false),
				 .victim_age = how >> 2, .victim_group = how >> 2 & 3};
	if (m.kind == MSG_PREPARE)
		fuzz_txn_part(in, &body, true);
	if (m.kind == MSG_VOTE)
		make_reply(in, &body);
	m.body = buf_slice(&body);
	txn__enc_message(out, &m);
	buf_release(&body);
}
