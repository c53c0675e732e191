/* Requests of clients at execution, and what ends them early: CANCEL, CLOSE, FLOOR. */
#include "txn/tsm_internal.h"

/* ---- may it be executed? ---- */

/* Was the request executed, refused or begun before? Then what there is to say has been said. */
static bool seen_before(struct tsm *t, struct txn_id id)
{
	struct slice reply;

	if (txn__reply_kept(t, id)) {
		if (txn__reply_get(t, id, &reply) == 0)
			txn__reply(t, id, reply);
		return true;
	}
	return txn__tx_find(t, id) || txn__coord_find(t, id);
}

/* Answers without keeping the answer: it will be the same at any later time. */
static void refuse(struct tsm *t, struct txn_id id, int status)
{
	struct buf reply = BUF_INIT;

	txn__status_reply(&reply, status);
	txn__reply(t, id, buf_slice(&reply));
	buf_release(&reply);
	txn__coord_refused(t, id);
}

static bool client_admits(struct tsm *t, const struct command *c)
{
	struct client *client;

	if (c->id.client == 0)
		return true;
	if (txn__client_closed(t, c->id.client)) {
		refuse(t, c->id, ERR_SESSION);
		return false;
	}
	client = txn__client(t, c->id.client);
	txn__client_mark(t, client, c->mark);
	if (c->id.sequence <= client->mark) {
		refuse(t, c->id, ERR_FORGOTTEN);
		return false;
	}
	return !seen_before(t, c->id);
}

/* 0, or what the request is answered with at once. */
static int check(struct tsm *t, const struct command *c)
{
	struct coord *lock;

	if (!txn__decode_part(t, c->parts[0].body) || c->parts[0].group != t->cfg.group)
		return ERR_PROTO;
	if (!t->cfg.store->owns(t->cfg.store, c->home, (struct slice){0}) || !txn__part_owned(t))
		return ERR_WRONG_SHARD;
	if (!c->lock)
		return 0;
	lock = txn__coord_find(t, txn_id_of(c->id.client, c->lock));
	return lock && lock->state == COORD_LOCKED ? 0 : ERR_CONDITION;
}

/* ---- one part ---- */

/* t->part is the transaction's, and nobody bars it. */
static void single_execute(struct tsm *t, struct txn_id id, uint64_t lock, struct slice home)
{
	bool writes = t->part.mut_count > 0;
	uint64_t stamp = writes ? txn__stamp_next(t) : 0;
	/* an anonymous reply is not stored: what this replica adds to it is no other's business */
	bool read = id.client == 0 && !writes;
	int status = read ? txn__evaluate_read(t) : txn__evaluate(t, stamp);

	if (t->err)
		return;
	if (status == 0 && writes)
		txn__changes_write(t, stamp);
	else
		txn__changes_drop(t);
	t->stats.commits += status == 0;
	t->stats.conflicts += status == ERR_CONDITION;
	txn__finish(t, id, home, buf_slice(&t->reply));
	if (lock)
		txn__coord_unlock(t, txn_id_of(id.client, lock));
}

/* One that waited: decodes again, for the part in memory is another's by now. */
void txn__single_run(struct tsm *t, struct tx *tx)
{
	struct command c;
	int err = txn__command_decode(buf_slice(&tx->command), &c);

	CHECK(err == 0 && txn__decode_part(t, c.parts[0].body));
	single_execute(t, c.id, c.lock, c.home);
	txn__tx_free(t, tx);
}

static struct tx *single_new(struct tsm *t, struct slice bytes)
{
	struct command c;
	struct tx *tx;
	int err = txn__command_decode(bytes, &c);

	CHECK(err == 0 && c.kind == CMD_REQUEST);
	tx = txn__tx_new(t, c.id, TX_SINGLE);
	if (buf_set(&tx->command, bytes) != 0) {
		txn__fail(t, ERR_NOMEM);
		return tx;
	}
	err = txn__command_decode(buf_slice(&tx->command), &c);
	CHECK(err == 0);
	tx->coordinator = t->cfg.group;
	tx->age = c.age;
	tx->lock = c.lock;
	tx->body = c.parts[0].body;
	return tx;
}

static void single_wait(struct tsm *t, struct slice bytes, struct tx *blocker)
{
	struct tx *tx = single_new(t, bytes);

	tx->writes = t->part.mut_count > 0;
	if (t->err)
		return;
	txn__barred(t, tx, blocker);
	txn__enqueue(t, tx);
}

void txn__single_waits(struct tsm *t, struct slice command)
{
	struct tx *tx = single_new(t, command);

	if (!t->err)
		txn__requeue(t, tx);
	if (!t->err)
		tx->writes = t->part.mut_count > 0;
}

static void single_begin(struct tsm *t, struct slice bytes, const struct command *c)
{
	struct tx *blocker = NULL;

	if (t->lock_count > 0) {
		txn__wants(t, false);
		blocker = txn__blocker(t, NULL, c->id, c->lock, false);
	}
	if (!blocker)
		single_execute(t, c->id, c->lock, c->home);
	else if (txn__line_full(t, c->parts[0].body.len))
		txn__finish_status(t, c->id, c->home, ERR_BUSY);
	else
		single_wait(t, bytes, blocker);
}

/* ---- requests ---- */

void txn__on_request(struct tsm *t, struct slice bytes, const struct command *c)
{
	bool single = c->part_count == 1 && !c->lock_only;
	int status;

	if (!client_admits(t, c))
		return;
	status = check(t, c);
	if (status == ERR_PROTO || (status == ERR_WRONG_SHARD && single)) {
		refuse(t, c->id, status);
	} else if (status) {
		/* others may have been asked to prepare: that it never happens is on record */
		txn__finish_status(t, c->id, c->home, status);
		txn__coord_refused(t, c->id);
	} else if (single) {
		single_begin(t, bytes, c);
	} else {
		txn__coord_begin(t, bytes, c);
	}
}

/* ---- ending them ---- */

static void notify(struct tsm *t, const struct command *c, bool commit, uint64_t stamp)
{
	struct message m = {
		.kind = MSG_DECISION, .id = c->id, .commit = commit, .stamp = stamp};

	if (c->notify)
		txn__send(t, c->notify - 1, &m);
}

static void single_end(struct tsm *t, struct tx *tx, int why)
{
	struct txn_id id = tx->id;
	struct command c;
	int err = txn__command_decode(buf_slice(&tx->command), &c);

	CHECK(err == 0 && tx->role == TX_SINGLE && tx->waiting);
	txn__dequeue(t, tx);
	txn__finish_status(t, id, c.home, why);
	if (c.lock)
		txn__coord_unlock(t, txn_id_of(id.client, c.lock));
	txn__tx_free(t, tx);
}

/* The request with this id will not happen, if it has not yet. */
static void cancel_known(struct tsm *t, const struct command *c)
{
	struct coord *co = txn__coord_find(t, c->id);
	struct tx *tx = txn__tx_find(t, c->id);
	struct slice reply;

	if (co && co->state == COORD_COMMITTED) {
		notify(t, c, true, co->stamp);
	} else if (co && co->state == COORD_LOCKED) {
		txn__coord_unlock(t, c->id);
		notify(t, c, false, 0);
	} else if (co) {
		txn__coord_abort_status(t, co, c->why);
		notify(t, c, false, 0);
		return;
	} else if (tx && tx->role == TX_SINGLE) {
		single_end(t, tx, c->why);
		return;
	} else {
		notify(t, c, false, 0);
	}
	if (txn__reply_kept(t, c->id)) {
		if (txn__reply_get(t, c->id, &reply) == 0)
			txn__reply(t, c->id, reply);
	} else if (!co) {
		txn__finish_status(t, c->id, (struct slice){0}, c->why);
	}
}

/* A transaction that another group coordinates is not cancelled here: its id means nothing to us. */
void txn__on_cancel(struct tsm *t, const struct command *c)
{
	const struct tx *tx = txn__tx_find(t, c->id);
	const struct coord *co = txn__coord_find(t, c->id);

	if (tx && tx->role == TX_PARTICIPANT)
		return;
	if (txn__client_closed(t, c->id.client)) {
		/* what was committed before is still to be carried out */
		bool committed = co && co->state == COORD_COMMITTED;

		notify(t, c, committed, committed ? co->stamp : 0);
		refuse(t, c->id, ERR_SESSION);
	} else if (!tx && !co &&
		   c->id.sequence <= txn__client(t, c->id.client)->mark) {
		notify(t, c, false, 0);
		refuse(t, c->id, ERR_FORGOTTEN);
	} else {
		cancel_known(t, c);
		txn__coord_refused(t, c->id);
	}
}

/* An anonymous request that has waited too long. */
void txn__on_drop(struct tsm *t, const struct command *c)
{
	struct tx *tx;

	TAILQ_FOREACH(tx, &t->waiting, link) {
		if (tx->slot == c->number && tx->index == c->index && tx->id.client == 0) {
			single_end(t, tx, ERR_BUSY);
			return;
		}
	}
}

/* Of the clients @first to @last. In what order does not matter: what is left is the same. */
static bool end_one_of(struct tsm *t, uint64_t first, uint64_t last)
{
	struct coord *c, *next;
	struct tx *tx;

	HASH_ITER(hh, t->coords, c, next) {
		if (c->id.client < first || c->id.client > last)
			continue;
		if (c->state == COORD_LOCKED) {
			txn__coord_unlock(t, c->id);
			return true;
		}
		if (c->state == COORD_PREPARING) {
			txn__coord_abort_status(t, c, ERR_SESSION);
			return true;
		}
	}
	TAILQ_FOREACH(tx, &t->waiting, link) {
		if (tx->id.client >= first && tx->id.client <= last && tx->role == TX_SINGLE) {
			single_end(t, tx, ERR_SESSION);
			return true;
		}
	}
	return false;
}

/* Everything that the client has under way ends, then its replies go. Committed transactions go on to
 * their end, and so do parts of transactions that other groups coordinate: those get their CLOSE. */
void txn__on_close(struct tsm *t, const struct command *c)
{
	uint64_t id = c->id.client;

	if (id != 0 && id >= t->floor) {
		while (end_one_of(t, id, id) && !t->err)
			;
		txn__client_close(t, txn__client(t, id));
	}
	refuse(t, txn_id_of(id, 0), 0);
}

/* What clients have under way is looked for by itself: a client of whom nothing is stored yet is not
 * among the clients after a restart. */
static void floor_clients(struct tsm *t)
{
	struct client *c, *next;

	while (end_one_of(t, 1, t->floor - 1) && !t->err)
		;
	HASH_ITER(hh, t->clients, c, next)
		if (c->id < t->floor)
			txn__client_drop(t, c);
}

void txn__on_floor(struct tsm *t, const struct command *c)
{
	if (c->number > t->floor) {
		t->floor = c->number;
		buf_reset(&t->enc);
		enc_u64(&t->enc, t->floor);
		txn__store_put(t, TXN_TABLE_STATE, slice_str("tf"), buf_slice(&t->enc));
		floor_clients(t);
	}
	refuse(t, txn_id_of(0, 0), 0);
}
