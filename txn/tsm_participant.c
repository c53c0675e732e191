/* Two-phase commit, the participant's side. In the store: P | id -> PREPARED, stamp, the PREPARE
 * command; or OUTCOME, coordinator: committed, kept until the coordinator says END. An abort leaves
 * nothing. */
#include "txn/tsm_internal.h"

#define ASK_AFTER_PROBES 3u

enum { RECORD_PREPARED = 1, RECORD_OUTCOME };

static struct outcome *outcome_find(struct tsm *t, struct txn_id id)
{
	struct outcome *o = NULL;

	HASH_FIND(hh, t->outcomes, &id, sizeof(id), o);
	return o;
}

static struct outcome *outcome_new(struct tsm *t, struct txn_id id, uint32_t coordinator)
{
	struct outcome *o = mem_must_alloc(sizeof(*o));

	CHECK(!outcome_find(t, id));
	o->id = id;
	o->coordinator = coordinator;
	HASH_ADD(hh, t->outcomes, id, sizeof(o->id), o);
	txn__look_soon(t);
	return o;
}

static void outcome_free(struct tsm *t, struct outcome *o)
{
	HASH_DELETE(hh, t->outcomes, o);
	mem_free(o);
}

void txn__vote_send(struct tsm *t, uint32_t to, struct txn_id id, struct slice reply)
{
	struct message m = {.kind = MSG_VOTE, .id = id, .body = reply};

	txn__send(t, to, &m);
}

static void send_plain(struct tsm *t, uint32_t to, struct txn_id id, enum message_kind kind)
{
	struct message m = {.kind = kind, .id = id};

	txn__send(t, to, &m);
}

static void vote_no(struct tsm *t, const struct command *c, int status)
{
	struct buf reply = BUF_INIT;

	txn__status_reply(&reply, status);
	txn__vote_send(t, c->coordinator, c->id, buf_slice(&reply));
	buf_release(&reply);
}

/* ---- being prepared ---- */

/* t->wants are its locks, t->reply is its vote. */
void txn__prepared(struct tsm *t, struct tx *tx, uint64_t stamp)
{
	CHECK(!tx->waiting && tx->lock_count == 0);
	CHECK(!tx->blocker && !tx->candidate);
	tx->stamp = stamp;
	tx->due_ns = 0;
	tx->tries = 0;
	txn__look_soon(t);
	txn__lock(t, tx);
	buf_move(&tx->vote, &t->reply);
	t->prepared_count++;
}

/* After a restart. Its locks have kept everything as it was when it voted: so it votes the same. */
void txn__prepared_again(struct tsm *t, struct tx *tx, uint64_t stamp)
{
	int status;

	if (!txn__decode_part(t, tx->body)) {
		txn__fail(t, ERR_CORRUPT);
		return;
	}
	txn__wants(t, tx->lock_only);
	status = tx->lock_only ? txn__evaluate_nothing(t, stamp)
			       : txn__evaluate_again(t, stamp);
	txn__changes_drop(t);
	if (status)
		txn__fail(t, t->err ? t->err : ERR_CORRUPT);
	else
		txn__prepared(t, tx, stamp);
}

static void record_prepared(struct tsm *t, const struct tx *tx)
{
	buf_reset(&t->enc);
	enc_u64(&t->enc, RECORD_PREPARED);
	enc_u64(&t->enc, tx->stamp);
	enc_bytes(&t->enc, buf_slice(&tx->command));
	txn__store_put(t, TXN_TABLE_TXN, txn__key_id(t, 'P', tx->id), buf_slice(&t->enc));
}

static void record_outcome(struct tsm *t, const struct outcome *o)
{
	buf_reset(&t->enc);
	enc_u64(&t->enc, RECORD_OUTCOME);
	enc_u64(&t->enc, o->coordinator);
	txn__store_put(t, TXN_TABLE_TXN, txn__key_id(t, 'P', o->id), buf_slice(&t->enc));
}

/* Its locks are free, t->part and t->wants are its own. */
void txn__participant_run(struct tsm *t, struct tx *tx)
{
	uint64_t stamp = txn__stamp_next(t);
	int status = tx->lock_only ? txn__evaluate_nothing(t, stamp)
				   : txn__evaluate_vote(t, stamp);

	CHECK(tx->role == TX_PARTICIPANT && !tx->waiting);
	txn__changes_drop(t);
	if (t->err)
		return;
	if (status) {
		t->stats.conflicts += status == ERR_CONDITION;
		txn__vote_send(t, tx->coordinator, tx->id, buf_slice(&t->reply));
		txn__tx_free(t, tx);
		return;
	}
	txn__prepared(t, tx, stamp);
	record_prepared(t, tx);
	txn__vote_send(t, tx->coordinator, tx->id, buf_slice(&tx->vote));
}

static struct tx *participant_new(struct tsm *t, struct slice bytes)
{
	struct command c;
	struct tx *tx;
	int err = txn__command_decode(bytes, &c);

	CHECK(err == 0 && c.kind == CMD_PREPARE);
	tx = txn__tx_new(t, c.id, TX_PARTICIPANT);
	if (buf_set(&tx->command, bytes) != 0) {
		txn__fail(t, ERR_NOMEM);
		return tx;
	}
	err = txn__command_decode(buf_slice(&tx->command), &c);
	CHECK(err == 0);
	tx->coordinator = c.coordinator;
	tx->age = c.age;
	tx->lock = c.lock;
	tx->lock_only = c.lock_only;
	tx->body = c.body;
	return tx;
}

static void prepare_begin(struct tsm *t, struct slice bytes, const struct command *c)
{
	struct tx *blocker, *tx;

	if (!txn__decode_part(t, c->body)) {
		vote_no(t, c, ERR_PROTO);
		return;
	}
	if (!txn__part_owned(t)) {
		vote_no(t, c, ERR_WRONG_SHARD);
		return;
	}
	txn__wants(t, c->lock_only);
	blocker = txn__blocker(t, NULL, c->id, c->lock, false);
	if (blocker && txn__line_full(t, c->body.len)) {
		vote_no(t, c, ERR_BUSY);
		return;
	}
	tx = participant_new(t, bytes);
	tx->writes = t->part.mut_count > 0 && !tx->lock_only;
	if (t->err)
		return;
	txn__barred(t, tx, blocker);
	if (blocker)
		txn__enqueue(t, tx);
	else
		txn__participant_run(t, tx);
}

void txn__on_prepare(struct tsm *t, struct slice bytes, const struct command *c)
{
	const struct tx *tx = txn__tx_find(t, c->id);

	if (outcome_find(t, c->id)) {
		send_plain(t, c->coordinator, c->id, MSG_ACK);
	} else if (tx) {
		if (tx->role == TX_PARTICIPANT && !tx->waiting)
			txn__vote_send(t, tx->coordinator, tx->id, buf_slice(&tx->vote));
	} else if (c->coordinator == t->cfg.group || txn__coord_find(t, c->id)) {
		return; /* nobody's */
	} else if (txn__client_closed(t, c->id.client)) {
		vote_no(t, c, ERR_SESSION);
	} else {
		prepare_begin(t, bytes, c);
	}
}

/* ---- outcomes ---- */

static void commit(struct tsm *t, struct tx *tx, uint64_t stamp)
{
	bool decoded = txn__decode_part(t, tx->body);

	CHECK(decoded && !tx->waiting);
	if (tx->writes) {
		txn__carry_out(t, stamp);
		record_outcome(t, outcome_new(t, tx->id, tx->coordinator));
		send_plain(t, tx->coordinator, tx->id, MSG_ACK);
	} else {
		txn__store_del(t, TXN_TABLE_TXN, txn__key_id(t, 'P', tx->id));
	}
	txn__tx_free(t, tx);
}

/* Without effect on data. */
static void release(struct tsm *t, struct tx *tx)
{
	CHECK(tx->role == TX_PARTICIPANT && !outcome_find(t, tx->id));
	if (tx->waiting)
		txn__dequeue(t, tx);
	else
		txn__store_del(t, TXN_TABLE_TXN, txn__key_id(t, 'P', tx->id));
	txn__tx_free(t, tx);
}

/* Is it prepared because of a PREPARE that came again, when the commit had been carried out and
 * forgotten? That commit has raised the group's clock to its stamp, so ours is above it; while
 * the stamp of a commit that counts our vote is not below ours. And who is still in line has
 * never voted. */
static bool spurious(const struct tx *tx, const struct command *c)
{
	return tx->waiting || c->stamp < tx->stamp;
}

/* Whoever does not know a commit has carried it out: commits need this group's vote, and that
 * its locks. So it is acknowledged, but here only: the memory of one who leads no longer may be
 * older. */
void txn__on_outcome(struct tsm *t, const struct command *c)
{
	struct tx *tx = txn__tx_find(t, c->id);

	if (tx && tx->role != TX_PARTICIPANT)
		return;
	if (tx && c->commit && !spurious(tx, c)) {
		commit(t, tx, c->stamp);
		return;
	}
	if (tx)
		release(t, tx);
	if (c->commit)
		send_plain(t, c->coordinator, c->id, MSG_ACK);
}

void txn__on_forget(struct tsm *t, const struct command *c)
{
	for (uint32_t i = 0; i < c->id_count; i++) {
		struct outcome *o = outcome_find(t, c->ids[i]);

		if (!o)
			continue;
		txn__store_del(t, TXN_TABLE_TXN, txn__key_id(t, 'P', o->id));
		outcome_free(t, o);
	}
}

/* ---- messages to the leader ---- */

static void on_prepare_message(struct tsm *t, const struct message *m)
{
	const struct tx *tx = txn__tx_find(t, m->id);
	struct command c = {.id = m->id, .coordinator = m->from, .age = m->age, .lock = m->lock};
	struct buf b = BUF_INIT;

	if (outcome_find(t, m->id)) {
		send_plain(t, m->from, m->id, MSG_ACK);
		return;
	}
	if (tx) {
		if (tx->role == TX_PARTICIPANT && !tx->waiting)
			txn__vote_send(t, tx->coordinator, tx->id, buf_slice(&tx->vote));
		return;
	}
	c.lock_only = m->lock_only;
	c.body = m->body;
	txn__enc_prepare(&b, &c);
	txn__propose(t, &b);
}

static void on_decision_message(struct tsm *t, const struct message *m)
{
	const struct tx *tx = txn__tx_find(t, m->id);
	struct buf b = BUF_INIT;

	if (tx && (tx->role != TX_PARTICIPANT || tx->coordinator != m->from))
		return;
	if (!tx && outcome_find(t, m->id)) {
		send_plain(t, m->from, m->id, MSG_ACK);
	} else if (tx || m->commit) {
		txn__enc_outcome(&b, m->id, m->commit, m->stamp, m->from);
		txn__propose(t, &b);
	}
}

static void on_end_message(struct tsm *t, const struct message *m)
{
	struct outcome *o = outcome_find(t, m->id);

	if (!o || o->ending || o->coordinator != m->from)
		return;
	o->ending = true;
	txn__lazy_add(t, &t->forgets, CMD_FORGET, o->id);
}

void txn__participant_message(struct tsm *t, const struct message *m)
{
	switch (m->kind) {
	case MSG_PREPARE:
		on_prepare_message(t, m);
		break;
	case MSG_DECISION:
		on_decision_message(t, m);
		break;
	case MSG_END:
		on_end_message(t, m);
		break;
	default:
		break;
	}
}

/* ---- time ---- */

static uint64_t backoff(const struct tsm *t, uint32_t *tries)
{
	uint64_t ns = t->cfg.resend_ns << *tries;

	*tries += *tries < 5;
	return ns;
}

void txn__participant_lead(struct tsm *t)
{
	struct outcome *o, *no;
	struct tx *tx, *nt;

	t->forgets.count = 0;
	HASH_ITER(hh, t->outcomes, o, no) {
		o->due_ns = 0;
		o->tries = 0;
		o->ending = false;
	}
	HASH_ITER(hh, t->txs, tx, nt) {
		tx->due_ns = tx->since_ns = 0;
		tx->tries = 0;
		if (tx->role == TX_PARTICIPANT && !tx->waiting)
			txn__vote_send(t, tx->coordinator, tx->id, buf_slice(&tx->vote));
	}
	TAILQ_FOREACH(tx, &t->waiting, link)
		tx->due_ns = tx->since_ns = 0;
	txn__look_soon(t);
}

/* Too long in line, whatever the reason. */
static void give_up(struct tsm *t, const struct tx *tx)
{
	struct buf b = BUF_INIT;
	struct message m = {.kind = MSG_CANCEL, .id = tx->id, .why = ERR_ABORTED};

	if (tx->role == TX_PARTICIPANT) {
		txn__send(t, tx->coordinator, &m);
		return;
	}
	if (tx->id.client != 0)
		txn__enc_cancel(&b, tx->id, ERR_ABORTED, 0);
	else
		txn__enc_drop(&b, tx->slot, tx->index);
	txn__propose(t, &b);
}

static void waiting_tick(struct tsm *t, struct tx *tx)
{
	if (tx->since_ns == 0) {
		tx->since_ns = t->now_ns;
		txn__arm(t, &tx->due_ns, t->cfg.probe_after_ns);
		return;
	}
	if (!txn__due(t, tx->due_ns)) {
		if (tx->due_ns < t->deadline_ns)
			t->deadline_ns = tx->due_ns;
		return;
	}
	txn__arm(t, &tx->due_ns, t->cfg.probe_after_ns << tx->tries);
	tx->tries += tx->tries < 5;
	if (tx->role == TX_PARTICIPANT && tx->tries > ASK_AFTER_PROBES)
		send_plain(t, tx->coordinator, tx->id, MSG_ASK); /* the abort may have been lost */
	if (t->now_ns - tx->since_ns >= t->cfg.lock_wait_ns_max)
		give_up(t, tx);
	else if (tx->role != TX_SINGLE || tx->lock)
		txn__probe_start(t, tx);
}

static void prepared_tick(struct tsm *t, struct tx *tx)
{
	if (tx->due_ns == 0) {
		txn__arm(t, &tx->due_ns, backoff(t, &tx->tries));
	} else if (txn__due(t, tx->due_ns)) {
		txn__arm(t, &tx->due_ns, backoff(t, &tx->tries));
		send_plain(t, tx->coordinator, tx->id, MSG_ASK);
	} else if (tx->due_ns < t->deadline_ns) {
		t->deadline_ns = tx->due_ns;
	}
}

static void outcome_tick(struct tsm *t, struct outcome *o)
{
	if (o->due_ns == 0) {
		txn__arm(t, &o->due_ns, backoff(t, &o->tries));
	} else if (txn__due(t, o->due_ns)) {
		txn__arm(t, &o->due_ns, backoff(t, &o->tries));
		o->ending = false;
		send_plain(t, o->coordinator, o->id, MSG_ACK);
	} else if (o->due_ns < t->deadline_ns) {
		t->deadline_ns = o->due_ns;
	}
}

void txn__participant_tick(struct tsm *t)
{
	struct outcome *o, *no;
	struct tx *tx, *nt;

	TAILQ_FOREACH(tx, &t->waiting, link)
		waiting_tick(t, tx);
	HASH_ITER(hh, t->txs, tx, nt)
		if (tx->role == TX_PARTICIPANT && !tx->waiting)
			prepared_tick(t, tx);
	HASH_ITER(hh, t->outcomes, o, no)
		outcome_tick(t, o);
	if (t->forgets.count && txn__due(t, t->forgets.due_ns))
		txn__lazy_flush(t, &t->forgets, CMD_FORGET);
	else if (t->forgets.count && t->forgets.due_ns < t->deadline_ns)
		t->deadline_ns = t->forgets.due_ns;
}

/* ---- loading ---- */

void txn__participant_load(struct tsm *t, struct slice record, struct txn_id id)
{
	struct slice command;
	struct command c;
	struct dec d;
	uint64_t kind, stamp;

	dec_init(&d, record);
	kind = dec_u64(&d);
	if (kind == RECORD_OUTCOME) {
		(void)outcome_new(t, id, (uint32_t)dec_u64_max(&d, GROUPS_MAX - 1));
		if (dec_end(&d) != 0)
			txn__fail(t, ERR_CORRUPT);
		return;
	}
	stamp = dec_u64(&d);
	command = dec_bytes(&d, COMMAND_SIZE_MAX);
	if (kind != RECORD_PREPARED || dec_end(&d) != 0 ||
	    txn__command_decode(command, &c) != 0 || c.kind != CMD_PREPARE ||
	    !txn_id_eq(c.id, id) || txn__tx_find(t, id)) {
		txn__fail(t, ERR_CORRUPT);
		return;
	}
	txn__participant_again(t, command, stamp);
}

void txn__participant_again(struct tsm *t, struct slice command, uint64_t stamp)
{
	struct tx *tx = participant_new(t, command);

	if (t->err)
		return;
	txn__prepared_again(t, tx, stamp);
	tx->writes = t->part.mut_count > 0 && !tx->lock_only;
}

/* From the queue: it waits at the place of t->slot, t->index. */
void txn__participant_waits(struct tsm *t, struct slice command)
{
	struct tx *tx = participant_new(t, command);

	if (!t->err)
		txn__requeue(t, tx);
	if (!t->err)
		tx->writes = t->part.mut_count > 0 && !tx->lock_only;
}
