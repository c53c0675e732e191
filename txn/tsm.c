/* The machine's life: entries, outputs, leadership, time. */
#include "base/failpoint.h"
#include "txn/tsm_internal.h"

#define MS_NS 1000000ull

void tsm_config_default(struct tsm_config *c)
{
	*c = (struct tsm_config){
		.read_wait_ns_max = 10 * MS_NS,
		.lock_wait_ns_max = 10000 * MS_NS,
		.probe_after_ns = 10 * MS_NS,
		.resend_ns = 200 * MS_NS,
	};
}

int tsm_open(const struct tsm_config *cfg, struct tsm **out)
{
	struct tsm *t = mem_must_alloc(sizeof(*t));
	int err;

	CHECK(cfg->store && cfg->resend_ns > 0 && cfg->probe_after_ns > 0);
	t->cfg = *cfg;
	TAILQ_INIT(&t->waiting);
	TAILQ_INIT(&t->candidates);
	TAILQ_INIT(&t->ranges);
	TAILQ_INIT(&t->readings);
	TAILQ_INIT(&t->readings_free);
	RB_INIT(&t->points);
	RB_INIT(&t->overlay);
	STAILQ_INIT(&t->outs);
	t->deadline_ns = UINT64_MAX;
	err = txn__load(t);
	if (err) {
		tsm_close(t);
		return err;
	}
	*out = t;
	return 0;
}

static void out_free(struct out_item *o)
{
	if (o)
		buf_release(&o->bytes);
	mem_free(o);
}

static void outs_release(struct tsm *t)
{
	struct out_item *o;

	out_free(t->taken);
	t->taken = NULL;
	while ((o = STAILQ_FIRST(&t->outs)) != NULL) {
		STAILQ_REMOVE_HEAD(&t->outs, link);
		out_free(o);
	}
}

static void client_free(struct tsm *t, struct client *c)
{
	struct kept_reply *r, *next;

	for (r = RB_ROOT(&c->replies); r; r = next) { /* in no order: the whole tree goes */
		next = RB_LEFT(r, node) ? RB_LEFT(r, node) : RB_RIGHT(r, node);
		if (next) {
			if (RB_LEFT(r, node) == next)
				RB_LEFT(r, node) = NULL;
			else
				RB_RIGHT(r, node) = NULL;
			continue;
		}
		next = RB_PARENT(r, node);
		mem_free(r);
	}
	HASH_DELETE(hh, t->clients, c);
	mem_free(c);
}

static void all_release(struct tsm *t)
{
	struct coord *c, *nc;
	struct tx *tx, *nt;
	struct outcome *o, *no;
	struct client *cl, *ncl;

	HASH_ITER(hh, t->coords, c, nc) {
		c->own = NULL;
		txn__coord_free(t, c);
	}
	HASH_ITER(hh, t->txs, tx, nt)
		txn__tx_free(t, tx);
	while ((tx = TAILQ_FIRST(&t->waiting)) != NULL)
		txn__tx_free(t, tx); /* anonymous ones */
	HASH_ITER(hh, t->outcomes, o, no) {
		HASH_DELETE(hh, t->outcomes, o);
		mem_free(o);
	}
	HASH_ITER(hh, t->clients, cl, ncl)
		client_free(t, cl);
}

void tsm_close(struct tsm *t)
{
	if (!t)
		return;
	txn__reads_fail(t, ERR_NOT_LEADER);
	all_release(t);
	CHECK(t->lock_count == 0 && RB_EMPTY(&t->points));
	outs_release(t);
	txn__changes_drop(t);
	txn__part_release(&t->part);
	mem_free(t->wants.items);
	txn__arena_release(&t->wants.keys);
	buf_release(&t->value);
	buf_release(&t->reply);
	buf_release(&t->enc);
	buf_release(&t->store_key);
	mem_free(t);
}

/* ---- the store ---- */

void txn__fail(struct tsm *t, int err)
{
	CHECK(err != 0);
	if (t->err == 0)
		t->err = err;
}

static void key_begin(struct tsm *t, char kind)
{
	buf_reset(&t->store_key);
	buf_add_u8(&t->store_key, (uint8_t)kind);
}

struct slice txn__key_id(struct tsm *t, char kind, struct txn_id id)
{
	key_begin(t, kind);
	buf_add_be64(&t->store_key, id.client);
	buf_add_be64(&t->store_key, id.sequence);
	buf_must(&t->store_key);
	return buf_slice(&t->store_key);
}

struct slice txn__key_u64(struct tsm *t, char kind, uint64_t v)
{
	key_begin(t, kind);
	buf_add_be64(&t->store_key, v);
	buf_must(&t->store_key);
	return buf_slice(&t->store_key);
}

struct slice txn__key_place(struct tsm *t, uint64_t slot, uint32_t index)
{
	buf_reset(&t->store_key);
	buf_add_be64(&t->store_key, slot);
	buf_add_be32(&t->store_key, index);
	buf_must(&t->store_key);
	return buf_slice(&t->store_key);
}

void txn__store_put(struct tsm *t, enum txn_table table, struct slice key, struct slice value)
{
	CHECK(t->in_entry);
	if (!buf_ok(&t->enc)) /* where most values are made: never half of one */
		txn__fail(t, ERR_NOMEM);
	else
		t->cfg.store->put(t->cfg.store, table, key, value);
}

void txn__store_del(struct tsm *t, enum txn_table table, struct slice key)
{
	CHECK(t->in_entry);
	t->cfg.store->del(t->cfg.store, table, key);
}

/* ---- the group's clock ---- */

uint64_t txn__stamp_next(struct tsm *t)
{
	uint64_t stamp = t->entry_clock > t->last ? t->entry_clock : t->last + 1;

	CHECK(t->in_entry);
	txn__stamp_raise(t, stamp);
	return stamp;
}

void txn__stamp_raise(struct tsm *t, uint64_t stamp)
{
	if (stamp <= t->last)
		return;
	t->last = stamp;
	t->last_dirty = true;
}

/* ---- execution ---- */

void tsm_begin_entry(struct tsm *t, uint64_t slot, uint64_t clock_ns)
{
	CHECK(!t->in_entry && slot > t->slot);
	t->in_entry = true;
	t->slot = slot;
	t->entry_clock = clock_ns;
	t->index = 0;
}

static void failpoints_before(enum command_kind kind)
{
	FAILPOINT_IF(kind == CMD_REQUEST, apply_request_before);
	FAILPOINT_IF(kind == CMD_CANCEL, apply_cancel_before);
	FAILPOINT_IF(kind == CMD_CLOSE, apply_close_before);
	FAILPOINT_IF(kind == CMD_FLOOR, apply_floor_before);
	FAILPOINT_IF(kind == CMD_PREPARE, apply_prepare_before);
	FAILPOINT_IF(kind == CMD_OUTCOME, apply_outcome_before);
	FAILPOINT_IF(kind == CMD_FORGET, apply_forget_before);
	FAILPOINT_IF(kind == CMD_DECIDE, apply_decide_before);
	FAILPOINT_IF(kind == CMD_END, apply_end_before);
	FAILPOINT_IF(kind == CMD_DROP, apply_drop_before);
	(void)kind;
}

static void failpoints_after(enum command_kind kind)
{
	FAILPOINT_IF(kind == CMD_REQUEST, apply_request_after);
	FAILPOINT_IF(kind == CMD_CANCEL, apply_cancel_after);
	FAILPOINT_IF(kind == CMD_CLOSE, apply_close_after);
	FAILPOINT_IF(kind == CMD_FLOOR, apply_floor_after);
	FAILPOINT_IF(kind == CMD_PREPARE, apply_prepare_after);
	FAILPOINT_IF(kind == CMD_OUTCOME, apply_outcome_after);
	FAILPOINT_IF(kind == CMD_FORGET, apply_forget_after);
	FAILPOINT_IF(kind == CMD_DECIDE, apply_decide_after);
	FAILPOINT_IF(kind == CMD_END, apply_end_after);
	FAILPOINT_IF(kind == CMD_DROP, apply_drop_after);
	(void)kind;
}

static void failpoints_of(enum message_kind kind)
{
	FAILPOINT_IF(kind == MSG_PREPARE, send_txn_prepare);
	FAILPOINT_IF(kind == MSG_VOTE, send_txn_vote);
	FAILPOINT_IF(kind == MSG_DECISION, send_txn_decision);
	FAILPOINT_IF(kind == MSG_ACK, send_txn_ack);
	FAILPOINT_IF(kind == MSG_END, send_txn_end);
	FAILPOINT_IF(kind == MSG_ASK, send_txn_ask);
	FAILPOINT_IF(kind == MSG_PROBE, send_txn_probe);
	FAILPOINT_IF(kind == MSG_PROBE_ON, send_txn_probe_on);
	FAILPOINT_IF(kind == MSG_CANCEL, send_txn_cancel);
	(void)kind;
}

static void dispatch(struct tsm *t, struct slice bytes, const struct command *c)
{
	switch (c->kind) {
	case CMD_REQUEST:
		txn__on_request(t, bytes, c);
		break;
	case CMD_CANCEL:
		txn__on_cancel(t, c);
		break;
	case CMD_CLOSE:
		txn__on_close(t, c);
		break;
	case CMD_FLOOR:
		txn__on_floor(t, c);
		break;
	case CMD_PREPARE:
		txn__on_prepare(t, bytes, c);
		break;
	case CMD_OUTCOME:
		txn__on_outcome(t, c);
		break;
	case CMD_FORGET:
		txn__on_forget(t, c);
		break;
	case CMD_DECIDE:
		txn__on_decide(t, c);
		break;
	case CMD_END:
		txn__on_end(t, c);
		break;
	case CMD_DROP:
		txn__on_drop(t, c);
		break;
	case CMD_OWN: /* stands only in the queue */
		break;
	}
}

int tsm_apply(struct tsm *t, struct slice bytes)
{
	struct command c;

	CHECK(t->in_entry);
	if (t->err)
		return t->err;
	t->index++;
	t->stats.commands++;
	if (txn__command_decode(bytes, &c) != 0)
		return 0;
	failpoints_before(c.kind);
	dispatch(t, bytes, &c);
	failpoints_after(c.kind);
	txn__examine(t);
	return t->err;
}

int tsm_end_entry(struct tsm *t)
{
	CHECK(t->in_entry);
	if (t->last_dirty) {
		buf_reset(&t->enc);
		enc_u64(&t->enc, t->last);
		txn__store_put(t, TXN_TABLE_STATE, slice_str("tc"), buf_slice(&t->enc));
		t->last_dirty = false;
	}
	t->in_entry = false;
	return t->err;
}

int tsm_failed(const struct tsm *t)
{
	CHECK(!t->in_entry);
	return t->err;
}

/* ---- outputs ---- */

static struct out_item *out_new(struct tsm *t, enum tsm_output_kind kind)
{
	struct out_item *o = mem_must_alloc(sizeof(*o));

	o->out.kind = kind;
	STAILQ_INSERT_TAIL(&t->outs, o, link);
	return o;
}

void txn__propose(struct tsm *t, struct buf *b)
{
	buf_must(b);
	if (t->leading)
		buf_move(&out_new(t, TSM_PROPOSE)->bytes, b);
	buf_release(b);
}

void txn__send(struct tsm *t, uint32_t group, const struct message *m)
{
	struct message copy = *m;
	struct out_item *o;

	if (!t->leading)
		return;
	copy.from = t->cfg.group;
	o = out_new(t, TSM_SEND);
	o->out.group = group;
	txn__enc_message(&o->bytes, &copy);
	buf_must(&o->bytes);
	failpoints_of(m->kind);
}

void txn__reply(struct tsm *t, struct txn_id id, struct slice reply)
{
	struct out_item *o;

	if (!t->leading)
		return;
	if (id.client == 0 && (id.sequence & TSM_READ_SEQ_BIT) &&
	    txn__reads_answer(t, id.sequence, reply))
		return;
	o = out_new(t, TSM_REPLY);
	o->out.client = id.client;
	o->out.sequence = id.sequence;
	buf_add_slice(&o->bytes, reply);
	buf_must(&o->bytes); /* somebody waits for it */
}

void txn__read_done(struct tsm *t, uint64_t token, struct slice reply)
{
	struct out_item *o = out_new(t, TSM_READ_DONE);

	o->out.token = token;
	if (buf_set(&o->bytes, reply) != 0) {
		buf_reset(&o->bytes);
		txn__status_reply(&o->bytes, ERR_NOMEM);
		buf_must(&o->bytes);
	}
}

bool tsm_output_next(struct tsm *t, struct tsm_output *out)
{
	out_free(t->taken);
	t->taken = STAILQ_FIRST(&t->outs);
	if (!t->taken)
		return false;
	STAILQ_REMOVE_HEAD(&t->outs, link);
	*out = t->taken->out;
	out->bytes = buf_slice(&t->taken->bytes);
	return true;
}

/* ---- leadership and time ---- */

static void now_is(struct tsm *t, uint64_t now_ns)
{
	if (now_ns > t->now_ns)
		t->now_ns = now_ns;
}

void txn__arm(struct tsm *t, uint64_t *due_ns, uint64_t after_ns)
{
	*due_ns = t->now_ns + after_ns;
	if (*due_ns < t->deadline_ns)
		t->deadline_ns = *due_ns;
}

/* An object without a due time has come to be: a tick gives it one. That looks at all objects, so many
 * new ones share a tick. */
void txn__look_soon(struct tsm *t)
{
	uint64_t due_ns;

	txn__arm(t, &due_ns, t->cfg.probe_after_ns);
}

/* What a leader had to say as one is not for anybody any longer; answers to reads are. */
static void outs_of_leader_drop(struct tsm *t)
{
	struct out_item *o, *next;

	STAILQ_FOREACH_SAFE(o, &t->outs, link, next) {
		if (o->out.kind == TSM_READ_DONE)
			continue;
		STAILQ_REMOVE(&t->outs, o, out_item, link);
		out_free(o);
	}
}

void tsm_set_time(struct tsm *t, uint64_t now_ns)
{
	now_is(t, now_ns);
}

void tsm_set_leading(struct tsm *t, bool leading, uint64_t now_ns)
{
	CHECK(!t->in_entry);
	now_is(t, now_ns);
	if (!leading)
		txn__reads_fail(t, ERR_NOT_LEADER);
	t->leading = leading;
	t->deadline_ns = leading ? t->now_ns : UINT64_MAX;
	txn__coord_lead(t, leading);
	if (leading) {
		txn__participant_lead(t);
		txn__reads_lead(t);
	} else {
		outs_of_leader_drop(t);
	}
}

void tsm_tick(struct tsm *t, uint64_t now_ns)
{
	CHECK(!t->in_entry);
	now_is(t, now_ns);
	if (!t->leading)
		return;
	t->deadline_ns = UINT64_MAX;
	txn__coord_tick(t);
	txn__participant_tick(t);
	txn__reads_tick(t);
}

uint64_t tsm_next_deadline(const struct tsm *t)
{
	if (!t->leading)
		return UINT64_MAX;
	return t->deadline_ns;
}

int tsm_message(struct tsm *t, struct slice bytes, uint64_t now_ns)
{
	struct message m;

	CHECK(!t->in_entry);
	now_is(t, now_ns);
	if (txn__message_decode(bytes, &m) != 0)
		return ERR_PROTO;
	if (!t->leading)
		return 0;
	switch (m.kind) {
	case MSG_VOTE:
	case MSG_ASK:
	case MSG_ACK:
	case MSG_CANCEL:
		txn__coord_message(t, &m);
		break;
	case MSG_PREPARE:
	case MSG_DECISION:
	case MSG_END:
		txn__participant_message(t, &m);
		break;
	case MSG_PROBE:
	case MSG_PROBE_ON:
		txn__probe_message(t, &m);
		break;
	}
	return 0;
}

void tsm_request_proposed(struct tsm *t, struct slice bytes, uint64_t now_ns)
{
	struct command c;

	now_is(t, now_ns);
	if (!t->leading || txn__command_kind(bytes) != CMD_REQUEST ||
	    txn__command_decode(bytes, &c) != 0)
		return;
	txn__coord_proposed(t, bytes, &c);
}

void tsm_stats_get(const struct tsm *t, struct tsm_stats *out)
{
	*out = t->stats;
	out->prepared = t->prepared_count;
	out->waiting = t->waiting_count;
	out->locks = t->lock_count;
	out->replies = t->reply_count;
	out->reads_waiting = t->reading_count;
}
