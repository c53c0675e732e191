/* Commands that wait for locks. They stand in line by place (slot, index) and are tried in that
 * order whenever locks are given back. */
#include "txn/tsm_internal.h"

struct tx *txn__tx_find(struct tsm *t, struct txn_id id)
{
	struct tx *tx = NULL;

	if (id.client != 0)
		HASH_FIND(hh, t->txs, &id, sizeof(id), tx);
	return tx;
}

struct tx *txn__tx_new(struct tsm *t, struct txn_id id, enum tx_role role)
{
	struct tx *tx = mem_must_alloc(sizeof(*tx));

	CHECK(!txn__tx_find(t, id));
	tx->id = id;
	tx->role = role;
	TAILQ_INIT(&tx->barred);
	TAILQ_INIT(&tx->barred_reads);
	if (id.client != 0)
		HASH_ADD(hh, t->txs, id, sizeof(tx->id), tx);
	return tx;
}

static void line_leave(struct tsm *t, struct tx *tx)
{
	CHECK(t->waiting_count > 0 && t->waiting_bytes >= tx->body.len);
	TAILQ_REMOVE(&t->waiting, tx, link);
	t->waiting_count--;
	t->waiting_bytes -= tx->body.len;
}

void txn__tx_free(struct tsm *t, struct tx *tx)
{
	if (tx->waiting) {
		line_leave(t, tx);
	} else if (tx->vote.len) { /* it was prepared */
		t->prepared_count--;
	}
	txn__unlock(t, tx);
	txn__unnote(t, tx);
	if (tx->id.client != 0)
		HASH_DELETE(hh, t->txs, tx);
	buf_release(&tx->command);
	buf_release(&tx->vote);
	mem_free(tx);
}

bool txn__decode_part(struct tsm *t, struct slice body)
{
	return txn__part_decode(&t->part, body) == 0;
}

static void queue_put(struct tsm *t, const struct tx *tx)
{
	struct slice value = buf_slice(&tx->command);

	if (tx->role == TX_COORDINATOR) {
		buf_reset(&t->enc);
		txn__enc_own(&t->enc, tx->id);
		value = buf_slice(&t->enc);
	}
	CHECK(value.len > 0 || !buf_ok(&t->enc));
	txn__store_put(t, TXN_TABLE_QUEUE, txn__key_place(t, tx->slot, tx->index), value);
}

/* t->wants are its locks. */
static void stand_in_line(struct tsm *t, struct tx *tx)
{
	CHECK(!tx->waiting && tx->lock_count == 0);
	tx->slot = t->slot;
	tx->index = t->index;
	tx->waiting = true;
	TAILQ_INSERT_TAIL(&t->waiting, tx, link);
	t->waiting_count++;
	t->waiting_bytes += tx->body.len;
	txn__lock(t, tx);
	tx->since_ns = 0;
	tx->due_ns = 0;
	txn__look_soon(t);
}

/* ---- notes of who bars whom ---- */

void txn__barred(struct tsm *t, struct tx *tx, struct tx *blocker)
{
	CHECK(blocker != tx && !tx->blocker && !tx->candidate);
	if (!blocker)
		return;
	tx->blocker = blocker;
	TAILQ_INSERT_TAIL(&blocker->barred, tx, note);
	tx->by_reference = t->by_reference;
	t->any_by_reference = t->any_by_reference || tx->by_reference;
}

void txn__unnote(struct tsm *t, struct tx *tx)
{
	CHECK(!tx->blocker || !tx->candidate);
	if (tx->blocker)
		TAILQ_REMOVE(&tx->blocker->barred, tx, note);
	if (tx->candidate)
		TAILQ_REMOVE(&t->candidates, tx, note);
	tx->blocker = NULL;
	tx->candidate = false;
}

static bool before(const struct tx *a, const struct tx *b)
{
	return a->slot < b->slot || (a->slot == b->slot && a->index < b->index);
}

void txn__candidate(struct tsm *t, struct tx *tx)
{
	struct tx *last = TAILQ_LAST(&t->candidates, tx_list);

	CHECK(tx->waiting && !tx->blocker && !tx->candidate);
	while (last && before(tx, last))
		last = TAILQ_PREV(last, tx_list, note);
	if (last)
		TAILQ_INSERT_AFTER(&t->candidates, last, tx, note);
	else
		TAILQ_INSERT_HEAD(&t->candidates, tx, note);
	tx->candidate = true;
}

void txn__freed(struct tsm *t, struct tx *blocker)
{
	struct tx *tx;

	while ((tx = TAILQ_FIRST(&blocker->barred)) != NULL) {
		txn__unnote(t, tx);
		txn__candidate(t, tx);
	}
	txn__reads_freed(t, blocker);
}

/* ---- the line ---- */

void txn__enqueue(struct tsm *t, struct tx *tx)
{
	stand_in_line(t, tx);
	queue_put(t, tx);
	t->stats.waits++;
}

void txn__requeue(struct tsm *t, struct tx *tx)
{
	if (!txn__decode_part(t, tx->body)) {
		txn__fail(t, ERR_CORRUPT);
		return;
	}
	txn__wants(t, tx->lock_only);
	stand_in_line(t, tx);
	txn__candidate(t, tx); /* who bars whom is found out at the next command */
}

void txn__dequeue(struct tsm *t, struct tx *tx)
{
	CHECK(tx->waiting && t->waiting_count > 0);
	txn__unlock(t, tx);
	txn__unnote(t, tx);
	tx->waiting = false;
	line_leave(t, tx);
	txn__store_del(t, TXN_TABLE_QUEUE, txn__key_place(t, tx->slot, tx->index));
}

/* Its locks are free: on it goes, and may be gone afterwards. */
static void run(struct tsm *t, struct tx *tx)
{
	txn__dequeue(t, tx);
	tx->due_ns = 0;
	tx->tries = 0;
	switch (tx->role) {
	case TX_SINGLE:
		txn__single_run(t, tx);
		break;
	case TX_COORDINATOR:
		txn__coord_own_run(t, tx);
		break;
	case TX_PARTICIPANT:
		txn__participant_run(t, tx);
		break;
	}
}

/* The first of the candidates is looked at until there is none: who goes on may free others, and
 * an abort that it causes even such as stand before it. */
void txn__examine(struct tsm *t)
{
	struct tx *tx;

	while (!t->err && (tx = TAILQ_FIRST(&t->candidates)) != NULL) {
		bool decoded = txn__decode_part(t, tx->body);

		CHECK(decoded && tx->waiting); /* it was when it came */
		txn__unnote(t, tx);
		txn__wants(t, tx->lock_only);
		txn__barred(t, tx, txn__blocker(t, tx, tx->id, tx->lock, false));
		if (!tx->blocker)
			run(t, tx);
	}
	txn__reads_examine(t);
}
