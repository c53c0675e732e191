/* Two-phase commit, the coordinator's side: a group, so its state is replicated. Votes are the leader's
 * memory and are collected again by the next one; the first DECIDE in the log is the decision. */
#include "txn/tsm_internal.h"

#define TRIES_MAX 4u /* the pauses between grow so often */

/* ---- the record: C | id -> state, stamp, then the request or (committed) the writers ---- */

static void record_put(struct tsm *t, const struct coord *c)
{
	uint64_t writers = 0;

	CHECK(c->state != COORD_PROPOSED);
	buf_reset(&t->enc);
	enc_u64(&t->enc, c->state);
	enc_bool(&t->enc, c->own && !c->own->waiting);
	enc_u64(&t->enc, c->own ? c->own->stamp : c->stamp);
	if (c->state != COORD_COMMITTED) {
		enc_bytes(&t->enc, buf_slice(&c->command));
	} else {
		for (uint32_t i = 1; i < c->part_count; i++)
			writers += c->parts[i].writes;
		enc_u64(&t->enc, writers);
		for (uint32_t i = 1; i < c->part_count; i++)
			if (c->parts[i].writes)
				enc_u64(&t->enc, c->parts[i].group);
	}
	txn__store_put(t, TXN_TABLE_TXN, txn__key_id(t, 'C', c->id), buf_slice(&t->enc));
}

static void record_del(struct tsm *t, struct txn_id id)
{
	txn__store_del(t, TXN_TABLE_TXN, txn__key_id(t, 'C', id));
}

/* ---- life ---- */

static struct coord *find_any(struct tsm *t, struct txn_id id)
{
	struct coord *c = NULL;

	HASH_FIND(hh, t->coords, &id, sizeof(id), c);
	return c;
}

struct coord *txn__coord_find(struct tsm *t, struct txn_id id)
{
	struct coord *c = find_any(t, id);

	return c && c->state != COORD_PROPOSED ? c : NULL;
}

static void parts_release(struct coord *c)
{
	for (uint32_t i = 0; i < c->part_count; i++)
		buf_release(&c->parts[i].reply);
	mem_free(c->parts);
	c->parts = NULL;
	c->part_count = 0;
}

void txn__coord_free(struct tsm *t, struct coord *c)
{
	CHECK(!c->own);
	HASH_DELETE(hh, t->coords, c);
	parts_release(c);
	buf_release(&c->command);
	mem_free(c);
}

static struct coord *coord_add(struct tsm *t, struct txn_id id, enum coord_state state)
{
	struct coord *c = mem_must_alloc(sizeof(*c));

	CHECK(!find_any(t, id));
	c->id = id;
	c->state = state;
	HASH_ADD(hh, t->coords, id, sizeof(c->id), c);
	return c;
}

static struct coord *coord_new(struct tsm *t, struct slice bytes, enum coord_state state)
{
	struct command cmd;
	struct coord *c;
	int err;

	err = txn__command_decode(bytes, &cmd);
	CHECK(err == 0 && cmd.kind == CMD_REQUEST);
	c = coord_add(t, cmd.id, state);
	if (buf_set(&c->command, bytes) != 0) {
		txn__fail(t, ERR_NOMEM);
		return c;
	}
	err = txn__command_decode(buf_slice(&c->command), &cmd);
	CHECK(err == 0);
	c->age = cmd.age;
	c->lock = cmd.lock;
	c->lock_only = cmd.lock_only;
	c->home = cmd.home;
	c->part_count = cmd.part_count;
	c->parts = mem_must_alloc(cmd.part_count * sizeof(*c->parts));
	for (uint32_t i = 0; i < cmd.part_count; i++) {
		c->parts[i].group = cmd.parts[i].group;
		c->parts[i].writes = cmd.parts[i].writes;
		c->parts[i].body = cmd.parts[i].body;
	}
	return c;
}

/* ---- what the leader sends ---- */

static void send_prepare(struct tsm *t, const struct coord *c, const struct part_ref *p)
{
	struct message m = {.kind = MSG_PREPARE,
			    .id = c->id,
			    .age = c->age,
			    .lock = c->lock,
			    .lock_only = c->lock_only,
			    .body = p->body};

	txn__send(t, p->group, &m);
}

static void send_prepares(struct tsm *t, const struct coord *c)
{
	for (uint32_t i = 1; i < c->part_count; i++)
		if (!c->parts[i].voted)
			send_prepare(t, c, &c->parts[i]);
}

static void send_decision(struct tsm *t, uint32_t group, struct txn_id id, bool commit,
			  uint64_t stamp)
{
	struct message m = {
		.kind = MSG_DECISION, .id = id, .commit = commit, .stamp = stamp};

	txn__send(t, group, &m);
}

static void send_aborts(struct tsm *t, const struct coord *c)
{
	for (uint32_t i = 1; i < c->part_count; i++)
		send_decision(t, c->parts[i].group, c->id, false, 0);
}

/* ---- ends ---- */

static void own_end(struct tsm *t, struct coord *c)
{
	struct tx *own = c->own;

	c->own = NULL;
	if (!own)
		return;
	if (own->waiting)
		txn__dequeue(t, own);
	txn__tx_free(t, own);
}

void txn__coord_unlock(struct tsm *t, struct txn_id lock)
{
	struct coord *c = txn__coord_find(t, lock);

	if (!c || c->state != COORD_LOCKED)
		return;
	send_aborts(t, c);
	own_end(t, c);
	record_del(t, c->id);
	txn__coord_free(t, c);
}

void txn__coord_abort(struct tsm *t, struct coord *c, struct slice reply)
{
	struct txn_id lock = txn_id_of(c->id.client, c->lock);

	CHECK(c->state == COORD_PREPARING);
	txn__finish(t, c->id, c->home, reply);
	send_aborts(t, c);
	own_end(t, c);
	record_del(t, c->id);
	txn__coord_free(t, c);
	if (lock.sequence)
		txn__coord_unlock(t, lock);
	t->stats.aborts++;
}

void txn__coord_abort_status(struct tsm *t, struct coord *c, int status)
{
	struct buf reply = BUF_INIT;

	txn__status_reply(&reply, status);
	txn__coord_abort(t, c, buf_slice(&reply));
	buf_release(&reply);
}

/* The request did not become a transaction, though others may have been asked to prepare. */
void txn__coord_refused(struct tsm *t, struct txn_id id)
{
	struct coord *c = find_any(t, id);

	if (!c || c->state != COORD_PROPOSED)
		return;
	send_aborts(t, c);
	txn__coord_free(t, c);
}

/* ---- decisions ---- */

static bool all_voted(const struct coord *c, const struct part_ref **no)
{
	bool all = true;

	*no = NULL;
	for (uint32_t i = 1; i < c->part_count; i++) {
		struct reply_head h;
		struct slice items;

		if (!c->parts[i].voted) {
			all = false;
			continue;
		}
		if (txn__reply_decode_head(buf_slice(&c->parts[i].reply), &h, &items) != 0 ||
		    h.status != 0)
			*no = &c->parts[i];
	}
	return all;
}

/* The reply of the whole: all items, the largest of the stamps. */
static int merged_reply(const struct coord *c, struct buf *out, uint64_t *stamp)
{
	struct reply_head h = {0}, whole = {0};
	struct slice items[TXN_GROUPS_MAX];
	bool writes = false;
	int err = 0;

	for (uint32_t i = 0; i < c->part_count && !err; i++) {
		const struct buf *reply = i == 0 ? &c->own->vote : &c->parts[i].reply;

		err = txn__reply_decode_head(buf_slice(reply), &h, &items[i]);
		writes = writes || c->parts[i].writes;
		if (h.stamp > *stamp)
			*stamp = h.stamp;
	}
	if (err)
		return err;
	whole.stamp = writes ? *stamp : 0;
	txn__reply_head(out, &whole);
	for (uint32_t i = 0; i < c->part_count; i++)
		buf_add_slice(out, items[i]);
	if (!buf_ok(out))
		return ERR_NOMEM;
	return out->len > TSM_VOTE_SIZE_MAX ? ERR_TOO_BIG : 0;
}

static void propose_decision(struct tsm *t, struct coord *c, bool commit, uint64_t stamp,
			     struct slice reply)
{
	struct buf b = BUF_INIT;

	c->deciding = true;
	txn__enc_decide(&b, c->id, commit, stamp, reply);
	txn__propose(t, &b);
	txn__arm(t, &c->due_ns, t->cfg.resend_ns);
}

/* Decides if enough is known. */
static void progress(struct tsm *t, struct coord *c)
{
	const struct part_ref *no;
	struct buf reply = BUF_INIT;
	uint64_t stamp = 0;
	bool all;
	int err;

	if (!t->leading || c->state != COORD_PREPARING || c->deciding)
		return;
	all = all_voted(c, &no);
	if (no) {
		propose_decision(t, c, false, 0, buf_slice(&no->reply));
	} else if (all && !c->own->waiting) {
		err = merged_reply(c, &reply, &stamp);
		if (err) {
			buf_reset(&reply);
			txn__status_reply(&reply, err);
		}
		propose_decision(t, c, err == 0, stamp, buf_slice(&reply));
	}
	buf_release(&reply);
}

static void granted(struct tsm *t, struct coord *c, struct slice reply)
{
	CHECK(c->lock_only && c->own && !c->own->waiting);
	c->state = COORD_LOCKED;
	c->deciding = false;
	c->due_ns = UINT64_MAX;
	record_put(t, c);
	txn__finish(t, c->id, c->home, reply);
}

static bool others_write(const struct coord *c)
{
	for (uint32_t i = 1; i < c->part_count; i++)
		if (c->parts[i].writes)
			return true;
	return false;
}

static void commit(struct tsm *t, struct coord *c, uint64_t stamp, struct slice reply)
{
	struct txn_id lock = txn_id_of(c->id.client, c->lock);
	bool decoded = txn__decode_part(t, c->own->body);

	CHECK(decoded);
	c->stamp = stamp > c->own->stamp ? stamp : c->own->stamp;
	txn__carry_out(t, c->stamp);
	txn__finish(t, c->id, c->home, reply);
	own_end(t, c);
	for (uint32_t i = 1; i < c->part_count; i++)
		send_decision(t, c->parts[i].group, c->id, true, c->stamp);
	if (others_write(c)) {
		c->state = COORD_COMMITTED;
		c->deciding = c->ending = false;
		c->due_ns = 0;
		c->tries = 0;
		txn__look_soon(t);
		record_put(t, c);
	} else {
		record_del(t, c->id);
		txn__coord_free(t, c);
	}
	if (lock.sequence)
		txn__coord_unlock(t, lock);
	t->stats.commits++;
}

void txn__on_decide(struct tsm *t, const struct command *cmd)
{
	struct coord *c = txn__coord_find(t, cmd->id);

	if (!c || c->state != COORD_PREPARING)
		return; /* decided before: the first decision counts */
	if (!cmd->commit)
		txn__coord_abort(t, c, cmd->body);
	else if (!c->own || c->own->waiting)
		return; /* no leader proposes this */
	else if (c->lock_only)
		granted(t, c, cmd->body);
	else
		commit(t, c, cmd->stamp, cmd->body);
}

/* ---- the own part ---- */

/* Its locks are free, t->part and t->wants are its own. */
void txn__coord_own_run(struct tsm *t, struct tx *tx)
{
	struct coord *c = txn__coord_find(t, tx->id);
	uint64_t stamp = txn__stamp_next(t);
	struct slice reply;
	int status;

	CHECK(c && c->own == tx && c->state == COORD_PREPARING);
	status = c->lock_only ? txn__evaluate_nothing(t, stamp) : txn__evaluate_vote(t, stamp);
	txn__changes_drop(t);
	if (t->err)
		return;
	if (status) {
		struct buf copy = BUF_INIT;

		buf_move(&copy, &t->reply);
		t->stats.conflicts += status == ERR_CONDITION;
		txn__coord_abort(t, c, buf_slice(&copy));
		buf_release(&copy);
		return;
	}
	txn__prepared(t, tx, stamp);
	reply = buf_slice(&tx->vote);
	if (c->part_count == 1) {
		granted(t, c, reply);
		return;
	}
	record_put(t, c);
	progress(t, c);
}

static void own_begin(struct tsm *t, struct coord *c)
{
	struct tx *tx = txn__tx_new(t, c->id, TX_COORDINATOR);

	c->own = tx;
	tx->coordinator = t->cfg.group;
	tx->age = c->age;
	tx->lock = c->lock;
	tx->lock_only = c->lock_only;
	tx->writes = c->parts[0].writes;
	tx->body = c->parts[0].body;
	txn__wants(t, c->lock_only);
	txn__barred(t, tx, txn__blocker(t, NULL, c->id, c->lock, false));
	if (!tx->blocker) {
		txn__coord_own_run(t, tx);
	} else if (txn__line_full(t, tx->body.len)) {
		txn__unnote(t, tx);
		txn__coord_abort_status(t, c, ERR_BUSY);
	} else {
		txn__enqueue(t, tx);
		record_put(t, c);
		progress(t, c); /* another may have refused already */
	}
}

/* t->part is the own part, checked. */
void txn__coord_begin(struct tsm *t, struct slice bytes, const struct command *cmd)
{
	struct coord *c = find_any(t, cmd->id);

	CHECK(!c || c->state == COORD_PROPOSED);
	if (c && !slice_eq(buf_slice(&c->command), bytes)) {
		txn__coord_free(t, c); /* votes for other parts do not count */
		c = NULL;
	}
	if (!c) {
		c = coord_new(t, bytes, COORD_PREPARING);
		send_prepares(t, c);
	}
	if (t->err)
		return;
	c->state = COORD_PREPARING;
	c->due_ns = 0;
	txn__look_soon(t);
	own_begin(t, c);
}

/* ---- END ---- */

void txn__lazy_flush(struct tsm *t, struct lazy *l, enum command_kind kind)
{
	struct buf b = BUF_INIT;

	if (l->count == 0)
		return;
	txn__enc_ids(&b, kind, l);
	l->count = 0;
	txn__propose(t, &b);
}

/* Nobody waits for these: many share one command. */
void txn__lazy_add(struct tsm *t, struct lazy *l, enum command_kind kind, struct txn_id id)
{
	CHECK(l->count < TSM_LAZY_MAX);
	if (l->count == 0)
		txn__arm(t, &l->due_ns, TSM_LAZY_NS);
	l->ids[l->count++] = id;
	if (l->count == TSM_LAZY_MAX)
		txn__lazy_flush(t, l, kind);
}

static void end_if_acked(struct tsm *t, struct coord *c)
{
	if (c->ending)
		return;
	for (uint32_t i = 1; i < c->part_count; i++)
		if (c->parts[i].writes && !c->parts[i].acked)
			return;
	c->ending = true;
	txn__lazy_add(t, &t->ends, CMD_END, c->id);
}

static void send_end(struct tsm *t, uint32_t group, struct txn_id id)
{
	struct message m = {.kind = MSG_END, .id = id};

	txn__send(t, group, &m);
}

void txn__on_end(struct tsm *t, const struct command *cmd)
{
	for (uint32_t k = 0; k < cmd->id_count; k++) {
		struct coord *c = txn__coord_find(t, cmd->ids[k]);

		if (!c || c->state != COORD_COMMITTED)
			continue;
		for (uint32_t i = 1; i < c->part_count; i++)
			if (c->parts[i].writes)
				send_end(t, c->parts[i].group, c->id);
		record_del(t, c->id);
		txn__coord_free(t, c);
	}
}

/* ---- messages to the leader ---- */

static struct part_ref *part_of(struct coord *c, uint32_t group)
{
	for (uint32_t i = 1; c && i < c->part_count; i++)
		if (c->parts[i].group == group)
			return &c->parts[i];
	return NULL;
}

/* A participant is prepared for a transaction that is not under way here. Presumed abort: but if the
 * request could still come, it is first made impossible. */
static void resolve_unknown(struct tsm *t, struct txn_id id, uint32_t group)
{
	const struct client *cl = txn__client_find(t, id.client);
	struct buf b = BUF_INIT;

	if (group == t->cfg.group)
		return; /* of our own: nobody waits */
	if (txn__client_closed(t, id.client) || (cl && id.sequence <= cl->mark) ||
	    txn__reply_kept(t, id)) {
		send_decision(t, group, id, false, 0);
		return;
	}
	txn__enc_cancel(&b, id, ERR_ABORTED, group + 1);
	txn__propose(t, &b);
}

/* A vote that no DECIDE holds (no honest part makes one) is a refusal by its status alone. */
static void keep_vote(struct part_ref *p, struct slice reply, int status)
{
	buf_reset(&p->reply);
	if (reply.len <= TSM_VOTE_SIZE_MAX)
		buf_add_slice(&p->reply, reply);
	else
		txn__status_reply(&p->reply, status ? status : ERR_TOO_BIG);
	p->voted = buf_ok(&p->reply);
}

static void on_vote(struct tsm *t, const struct message *m)
{
	struct coord *c = find_any(t, m->id);
	struct part_ref *p = part_of(c, m->from);
	struct reply_head h;
	struct slice items;

	if (txn__reply_decode_head(m->body, &h, &items) != 0)
		return;
	if (!c && h.status == 0)
		resolve_unknown(t, m->id, m->from);
	if (!p)
		return;
	if (c->state == COORD_COMMITTED) {
		send_decision(t, m->from, m->id, true, c->stamp);
	} else if (c->state != COORD_LOCKED && !p->voted) {
		keep_vote(p, m->body, h.status);
		progress(t, c);
	}
}

static void on_ask(struct tsm *t, const struct message *m)
{
	struct coord *c = find_any(t, m->id);

	if (!c)
		resolve_unknown(t, m->id, m->from);
	else if (c->state == COORD_COMMITTED)
		send_decision(t, m->from, m->id, true, c->stamp);
}

static void on_ack(struct tsm *t, const struct message *m)
{
	struct coord *c = find_any(t, m->id);
	struct part_ref *p = part_of(c, m->from);

	if (!c)
		send_end(t, m->from, m->id);
	if (!p || c->state != COORD_COMMITTED)
		return;
	p->acked = true;
	end_if_acked(t, c);
}

static void on_cancel_wish(struct tsm *t, const struct message *m)
{
	struct coord *c = txn__coord_find(t, m->id);
	const struct tx *tx = txn__tx_find(t, m->id);
	struct buf b = BUF_INIT;

	if (!find_any(t, m->id) && !tx)
		resolve_unknown(t, m->id, m->from); /* it waits there for nothing */
	if (c ? c->state == COORD_COMMITTED : !tx || tx->role != TX_SINGLE)
		return;
	t->stats.deadlocks += m->why == ERR_DEADLOCK;
	txn__enc_cancel(&b, m->id, m->why, 0);
	txn__propose(t, &b);
}

void txn__coord_message(struct tsm *t, const struct message *m)
{
	switch (m->kind) {
	case MSG_VOTE:
		on_vote(t, m);
		break;
	case MSG_ASK:
		on_ask(t, m);
		break;
	case MSG_ACK:
		on_ack(t, m);
		break;
	case MSG_CANCEL:
		on_cancel_wish(t, m);
		break;
	default:
		break;
	}
}

/* ---- leadership ---- */

void txn__coord_proposed(struct tsm *t, struct slice bytes, const struct command *cmd)
{
	const struct client *cl = txn__client_find(t, cmd->id.client);
	struct coord *c;

	if (cl && cmd->id.sequence <= cl->mark)
		return;
	if (cmd->part_count < 2 || cmd->id.client == 0 || find_any(t, cmd->id) ||
	    txn__tx_find(t, cmd->id) || txn__reply_kept(t, cmd->id) ||
	    txn__client_closed(t, cmd->id.client))
		return;
	c = coord_new(t, bytes, COORD_PROPOSED);
	send_prepares(t, c);
	txn__arm(t, &c->due_ns, t->cfg.resend_ns);
}

static void take_over(struct tsm *t, struct coord *c)
{
	for (uint32_t i = 0; i < c->part_count; i++) {
		c->parts[i].voted = c->parts[i].acked = false;
		buf_reset(&c->parts[i].reply);
	}
	c->deciding = c->ending = false;
	c->tries = 0;
	c->due_ns = c->state == COORD_LOCKED ? UINT64_MAX : t->now_ns;
}

void txn__coord_lead(struct tsm *t, bool leading)
{
	struct coord *c, *next;

	t->ends.count = 0;
	HASH_ITER(hh, t->coords, c, next) {
		if (c->state == COORD_PROPOSED)
			txn__coord_free(t, c);
		else if (leading)
			take_over(t, c);
	}
}

static void again(struct tsm *t, struct coord *c)
{
	switch (c->state) {
	case COORD_PROPOSED: /* not executed for so long: it was refused before it was shown to us */
		if (c->tries == TRIES_MAX)
			txn__coord_free(t, c); /* without ABORTs: it may come yet. Who asks is told */
		else
			send_prepares(t, c);
		break;
	case COORD_PREPARING:
		c->deciding = false;
		send_prepares(t, c);
		progress(t, c);
		break;
	case COORD_COMMITTED:
		for (uint32_t i = 1; i < c->part_count; i++)
			if (c->parts[i].writes && !c->parts[i].acked)
				send_decision(t, c->parts[i].group, c->id, true, c->stamp);
		c->ending = false;
		end_if_acked(t, c);
		break;
	case COORD_LOCKED:
		break;
	}
}

void txn__coord_tick(struct tsm *t)
{
	struct coord *c, *next;

	HASH_ITER(hh, t->coords, c, next) {
		if (c->due_ns == 0)
			txn__arm(t, &c->due_ns, t->cfg.resend_ns);
		if (txn__due(t, c->due_ns)) {
			c->tries += c->tries < TRIES_MAX;
			txn__arm(t, &c->due_ns, t->cfg.resend_ns << (c->tries - 1));
			again(t, c);
		} else if (c->due_ns < t->deadline_ns) {
			t->deadline_ns = c->due_ns;
		}
	}
	if (t->ends.count && txn__due(t, t->ends.due_ns))
		txn__lazy_flush(t, &t->ends, CMD_END);
	else if (t->ends.count && t->ends.due_ns < t->deadline_ns)
		t->deadline_ns = t->ends.due_ns;
}

/* ---- loading ---- */

static void load_committed(struct tsm *t, struct dec *d, struct txn_id id, uint64_t stamp)
{
	struct coord *c = coord_add(t, id, COORD_COMMITTED);
	uint32_t n = dec_count(d, TXN_GROUPS_MAX);

	c->stamp = stamp;
	c->part_count = n + 1;
	c->parts = mem_must_alloc((n + 1) * sizeof(*c->parts));
	c->parts[0].group = t->cfg.group;
	for (uint32_t i = 1; i <= n; i++) {
		c->parts[i].group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
		c->parts[i].writes = true;
	}
}

static void load_undecided(struct tsm *t, struct txn_id id, struct slice request,
			   enum coord_state state, bool own_prepared, uint64_t stamp)
{
	struct command cmd;
	struct coord *c;
	struct tx *tx;

	if (txn__command_decode(request, &cmd) != 0 || cmd.kind != CMD_REQUEST ||
	    !txn_id_eq(cmd.id, id) || txn__tx_find(t, id) ||
	    (state == COORD_LOCKED && !cmd.lock_only)) {
		txn__fail(t, ERR_CORRUPT);
		return;
	}
	c = coord_new(t, request, state);
	if (t->err)
		return;
	tx = c->own = txn__tx_new(t, c->id, TX_COORDINATOR);
	tx->coordinator = t->cfg.group;
	tx->age = c->age;
	tx->lock = c->lock;
	tx->lock_only = c->lock_only;
	tx->writes = c->parts[0].writes;
	tx->body = c->parts[0].body;
	if (own_prepared)
		txn__prepared_again(t, tx, stamp);
	else if (state != COORD_PREPARING)
		txn__fail(t, ERR_CORRUPT);
}

void txn__coord_load(struct tsm *t, struct slice record, struct txn_id id)
{
	enum coord_state state;
	struct slice request;
	bool own_prepared;
	uint64_t stamp;
	struct dec d;

	dec_init(&d, record);
	state = (enum coord_state)dec_u64_max(&d, COORD_COMMITTED);
	own_prepared = dec_bool(&d);
	stamp = dec_u64(&d);
	if (d.err || state == COORD_PROPOSED) {
		txn__fail(t, ERR_CORRUPT);
	} else if (state == COORD_COMMITTED) {
		load_committed(t, &d, id, stamp);
	} else {
		request = dec_bytes(&d, COMMAND_SIZE_MAX);
		load_undecided(t, id, request, state, own_prepared, stamp);
	}
	if (dec_end(&d) != 0)
		txn__fail(t, ERR_CORRUPT);
}
