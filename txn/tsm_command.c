/* Codecs of what goes through logs (commands) and between groups (messages). */
#include "txn/tsm_internal.h"

#define CLIENT_MAX   (UINT64_MAX >> 1)
#define WHY_MAX	     4095
#define SMALL_REQUEST 4096u /* bytes */
#define REPLY_LEN_MAX COMMAND_SIZE_MAX

static void enc_id(struct buf *b, struct txn_id id)
{
	enc_u64(b, id.client);
	enc_u64(b, id.sequence);
}

static struct txn_id dec_id(struct dec *d)
{
	uint64_t client = dec_u64_max(d, CLIENT_MAX);

	return txn_id_of(client, dec_u64(d));
}

static int dec_why(struct dec *d)
{
	return -(int)dec_u64_max(d, WHY_MAX);
}

/* ---- requests of clients ---- */

void tsm_request_encode(const struct tsm_request *q, struct buf *out)
{
	CHECK(q->part_count > 0 && q->part_count <= TXN_GROUPS_MAX);
	CHECK(q->home.len > 0);
	enc_u64(out, CMD_REQUEST);
	enc_id(out, txn_id_of(q->client, q->sequence));
	enc_bool(out, q->lock_only);
	enc_u64(out, q->mark);
	enc_u64(out, q->age);
	enc_u64(out, q->lock);
	enc_bytes(out, q->home);
	enc_u64(out, q->part_count);
	for (uint32_t i = 0; i < q->part_count; i++) {
		enc_u64(out, q->parts[i].group);
		enc_bool(out, q->parts[i].writes);
		enc_bytes(out, buf_slice(&q->parts[i].body));
	}
}

/* What a part does is for its body to say. */
static uint32_t part_flags(struct dec *d, struct slice body)
{
	struct dec inner;
	uint32_t flags;

	dec_init(&inner, body);
	flags = dec_u32(&inner);
	if (inner.err)
		dec_fail(d);
	return flags;
}

static void dec_parts(struct dec *d, struct command *c)
{
	c->part_count = dec_count(d, TXN_GROUPS_MAX);
	if (c->part_count == 0)
		dec_fail(d);
	for (uint32_t i = 0; i < c->part_count && !d->err; i++) {
		struct request_part *p = &c->parts[i];

		p->group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
		(void)dec_bool(d);
		p->body = dec_bytes(d, COMMAND_SIZE_MAX);
		p->writes = (part_flags(d, p->body) & PART_WRITES) != 0;
		for (uint32_t k = 0; k < i; k++)
			if (c->parts[k].group == p->group)
				dec_fail(d);
	}
}

/* An anonymous request has no reply record and no outcome: one part only, and no locks. */
static void dec_request(struct dec *d, struct command *c)
{
	c->id = dec_id(d);
	c->lock_only = dec_bool(d);
	c->mark = dec_u64(d);
	c->age = dec_u64(d);
	c->lock = dec_u64(d);
	c->home = dec_bytes(d, KEY_SIZE_MAX);
	dec_parts(d, c);
	if (c->home.len == 0 || (c->id.client != 0 && c->mark >= c->id.sequence))
		dec_fail(d);
	if (c->id.client == 0 && (c->part_count != 1 || c->lock_only || c->lock))
		dec_fail(d);
	if (c->lock_only && c->lock)
		dec_fail(d);
}

void tsm_command_close(struct buf *out, uint64_t client)
{
	enc_u64(out, CMD_CLOSE);
	enc_u64(out, client);
}

void tsm_command_floor(struct buf *out, uint64_t lowest_live)
{
	enc_u64(out, CMD_FLOOR);
	enc_u64(out, lowest_live);
}

void txn__enc_cancel(struct buf *b, struct txn_id id, int why, uint32_t notify)
{
	CHECK(why < 0 && -why <= WHY_MAX);
	enc_u64(b, CMD_CANCEL);
	enc_id(b, id);
	enc_u64(b, (uint64_t)-why);
	enc_u64(b, notify);
}

void tsm_command_cancel(struct buf *out, uint64_t client, uint64_t sequence, int why)
{
	txn__enc_cancel(out, txn_id_of(client, sequence), why, 0);
}

/* ---- commands of the machines' own ---- */

void txn__enc_prepare(struct buf *b, const struct command *c)
{
	enc_u64(b, CMD_PREPARE);
	enc_id(b, c->id);
	enc_u64(b, c->coordinator);
	enc_u64(b, c->age);
	enc_bool(b, c->lock_only);
	enc_u64(b, c->lock);
	enc_bytes(b, c->body);
}

static void dec_prepare(struct dec *d, struct command *c)
{
	c->id = dec_id(d);
	c->coordinator = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
	c->age = dec_u64(d);
	c->lock_only = dec_bool(d);
	c->lock = dec_u64(d);
	c->body = dec_bytes(d, COMMAND_SIZE_MAX);
	if (c->id.client == 0)
		dec_fail(d);
}

void txn__enc_outcome(struct buf *b, struct txn_id id, bool commit, uint64_t stamp,
		      uint32_t coordinator)
{
	enc_u64(b, CMD_OUTCOME);
	enc_id(b, id);
	enc_bool(b, commit);
	enc_u64(b, stamp);
	enc_u64(b, coordinator);
}

void txn__enc_decide(struct buf *b, struct txn_id id, bool commit, uint64_t stamp,
		     struct slice reply)
{
	enc_u64(b, CMD_DECIDE);
	enc_id(b, id);
	enc_bool(b, commit);
	enc_u64(b, stamp);
	enc_bytes(b, reply);
}

void txn__enc_ids(struct buf *b, enum command_kind kind, const struct lazy *l)
{
	enc_u64(b, kind);
	enc_u64(b, l->count);
	for (uint32_t i = 0; i < l->count; i++)
		enc_id(b, l->ids[i]);
}

static void dec_ids(struct dec *d, struct command *c)
{
	c->id_count = dec_count(d, TSM_LAZY_MAX);
	for (uint32_t i = 0; i < c->id_count; i++)
		c->ids[i] = dec_id(d);
}

void txn__enc_drop(struct buf *b, uint64_t slot, uint32_t index)
{
	enc_u64(b, CMD_DROP);
	enc_u64(b, slot);
	enc_u64(b, index);
}

void txn__enc_own(struct buf *b, struct txn_id id)
{
	enc_u64(b, CMD_OWN);
	enc_id(b, id);
}

static void dec_cancel(struct dec *d, struct command *c)
{
	c->id = dec_id(d);
	c->why = dec_why(d);
	c->notify = (uint32_t)dec_u64_max(d, GROUPS_MAX);
	if (c->why == 0 || c->id.client == 0)
		dec_fail(d);
}

static void dec_decision(struct dec *d, struct command *c)
{
	c->id = dec_id(d);
	c->commit = dec_bool(d);
	c->stamp = dec_u64(d);
	if (c->kind == CMD_DECIDE)
		c->body = dec_bytes(d, REPLY_LEN_MAX);
	else
		c->coordinator = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
}

static void dec_fields(struct dec *d, struct command *c)
{
	switch (c->kind) {
	case CMD_REQUEST:
		dec_request(d, c);
		break;
	case CMD_CANCEL:
		dec_cancel(d, c);
		break;
	case CMD_CLOSE:
		c->id.client = dec_u64_max(d, CLIENT_MAX);
		break;
	case CMD_FLOOR:
		c->number = dec_u64_max(d, CLIENT_MAX);
		break;
	case CMD_PREPARE:
		dec_prepare(d, c);
		break;
	case CMD_OUTCOME:
	case CMD_DECIDE:
		dec_decision(d, c);
		break;
	case CMD_FORGET:
	case CMD_END:
		dec_ids(d, c);
		break;
	case CMD_DROP:
		c->number = dec_u64(d);
		c->index = dec_u32(d);
		break;
	case CMD_OWN:
		c->id = dec_id(d);
		break;
	}
}

int txn__command_decode(struct slice bytes, struct command *c)
{
	struct dec d;

	memset(c, 0, offsetof(struct command, parts));
	c->part_count = c->id_count = 0;
	dec_init(&d, bytes);
	c->kind = (enum command_kind)dec_u64_max(&d, CMD_LAST);
	if (c->kind == 0 || bytes.len > COMMAND_SIZE_MAX)
		dec_fail(&d);
	if (!d.err)
		dec_fields(&d, c);
	return dec_end(&d);
}

int txn__command_kind(struct slice bytes)
{
	struct dec d;

	dec_init(&d, bytes);
	return (int)dec_u64_max(&d, CMD_LAST);
}

/* ---- what the driver asks about a command ---- */

/* A small request that also deletes is let through on a full disk: what an unlink has to note down
 * is little, and makes room for much. */
static bool adds_data_of(const struct command *c, size_t size)
{
	struct dec none;
	uint32_t flags = 0;

	dec_init(&none, (struct slice){0});
	for (uint32_t i = 0; i < c->part_count; i++)
		flags |= part_flags(&none, c->parts[i].body);
	if (flags & PART_FREES && size <= SMALL_REQUEST)
		return false;
	return (flags & PART_ADDS_DATA) != 0;
}

int tsm_request_check(struct slice command, uint64_t *client, uint64_t *sequence, bool *adds_data)
{
	struct command c;
	bool adds = false;
	int err;

	if (command.len > COMMAND_SIZE_MAX)
		return ERR_TOO_BIG;
	err = txn__command_decode(command, &c);
	if (err)
		return err;
	if (c.kind == CMD_REQUEST && c.id.client == 0 && (c.id.sequence & TSM_READ_SEQ_BIT))
		return ERR_PROTO; /* it would answer a read */
	if (c.kind == CMD_REQUEST)
		adds = adds_data_of(&c, command.len);
	else if (c.kind != CMD_CANCEL && c.kind != CMD_CLOSE && c.kind != CMD_FLOOR)
		return ERR_PROTO;
	*client = c.id.client;
	*sequence = c.id.sequence;
	*adds_data = adds;
	return 0;
}

bool tsm_request_several(struct slice command)
{
	struct command c;

	return txn__command_kind(command) == CMD_REQUEST &&
	       txn__command_decode(command, &c) == 0 && c.part_count > 1;
}

void tsm_reply_encode_error(struct buf *out, int err)
{
	txn__status_reply(out, err);
}

/* ---- messages ---- */

static void enc_probe(struct buf *b, const struct probe *p)
{
	enc_id(b, p->initiator);
	enc_u64(b, p->initiator_group);
	enc_u64(b, p->initiator_lock);
	enc_u64(b, p->serial);
	enc_u64(b, p->hops);
	enc_id(b, p->victim);
	enc_u64(b, p->victim_age);
	enc_u64(b, p->victim_group);
}

static void dec_probe(struct dec *d, struct probe *p)
{
	p->initiator = dec_id(d);
	p->initiator_group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
	p->initiator_lock = dec_u64(d);
	p->serial = dec_u64(d);
	p->hops = (uint32_t)dec_u64_max(d, TSM_PROBE_HOPS);
	p->victim = dec_id(d);
	p->victim_age = dec_u64(d);
	p->victim_group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
}

void txn__enc_message(struct buf *b, const struct message *m)
{
	CHECK(m->kind >= MSG_PREPARE && m->kind <= MSG_LAST);
	enc_u64(b, m->kind);
	enc_u64(b, m->from);
	enc_id(b, m->id);
	switch (m->kind) {
	case MSG_PREPARE:
		enc_u64(b, m->age);
		enc_bool(b, m->lock_only);
		enc_u64(b, m->lock);
		enc_bytes(b, m->body);
		break;
	case MSG_VOTE:
		enc_bytes(b, m->body);
		break;
	case MSG_DECISION:
		enc_bool(b, m->commit);
		enc_u64(b, m->stamp);
		break;
	case MSG_CANCEL:
		enc_u64(b, (uint64_t)-m->why);
		break;
	case MSG_PROBE:
	case MSG_PROBE_ON:
		enc_probe(b, &m->probe);
		break;
	case MSG_ACK:
	case MSG_END:
	case MSG_ASK:
		break;
	}
}

static void dec_message_fields(struct dec *d, struct message *m)
{
	switch (m->kind) {
	case MSG_PREPARE:
		m->age = dec_u64(d);
		m->lock_only = dec_bool(d);
		m->lock = dec_u64(d);
		m->body = dec_bytes(d, COMMAND_SIZE_MAX);
		break;
	case MSG_VOTE:
		m->body = dec_bytes(d, FRAME_SIZE_MAX);
		break;
	case MSG_DECISION:
		m->commit = dec_bool(d);
		m->stamp = dec_u64(d);
		break;
	case MSG_CANCEL:
		m->why = dec_why(d);
		if (m->why == 0)
			dec_fail(d);
		break;
	case MSG_PROBE:
	case MSG_PROBE_ON:
		dec_probe(d, &m->probe);
		break;
	case MSG_ACK:
	case MSG_END:
	case MSG_ASK:
		break;
	}
}

int txn__message_decode(struct slice bytes, struct message *m)
{
	struct dec d;

	*m = (struct message){0};
	dec_init(&d, bytes);
	m->kind = (enum message_kind)dec_u64_max(&d, MSG_LAST);
	m->from = (uint32_t)dec_u64_max(&d, GROUPS_MAX - 1);
	m->id = dec_id(&d);
	if (m->kind == 0 || m->id.client == 0)
		dec_fail(&d);
	if (!d.err)
		dec_message_fields(&d, m);
	return dec_end(&d);
}
