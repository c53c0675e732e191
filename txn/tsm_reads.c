/* Local reads: the driver has made sure that this replica's state is current. A read meets the
 * locks of transactions that may have been decided already (X and I), so it waits for them; and
 * when that takes long it is proposed and stands in line for its S locks as any command does. */
#include "txn/tsm_internal.h"

#define PROPOSAL_ROOM 1024u /* what a proposal puts around the part: its home key above all */

/* Where it is noted: with the one that bars it, or among those to be tried. */
static struct readings *notes_of(struct tsm *t, const struct reading *r)
{
	return r->blocker ? &r->blocker->barred_reads : &t->readings_free;
}

static void reading_barred(struct reading *r, struct tx *blocker)
{
	CHECK(blocker && !r->blocker);
	r->blocker = blocker;
	TAILQ_INSERT_TAIL(&blocker->barred_reads, r, note);
}

static void reading_free(struct tsm *t, struct reading *r)
{
	CHECK(t->reading_count > 0);
	TAILQ_REMOVE(notes_of(t, r), r, note);
	if (r->sequence)
		HASH_DELETE(hh, t->readings_proposed, r);
	TAILQ_REMOVE(&t->readings, r, link);
	t->reading_count--;
	buf_release(&r->part);
	mem_free(r);
}

static void reading_end(struct tsm *t, struct reading *r, struct slice reply)
{
	txn__read_done(t, r->token, reply);
	reading_free(t, r);
}

static void answer_status(struct tsm *t, uint64_t token, int status)
{
	struct buf reply = BUF_INIT;

	txn__status_reply(&reply, status);
	txn__read_done(t, token, buf_slice(&reply));
	buf_release(&reply);
}

/* t->part is its part. True: answered. */
static bool try_read(struct tsm *t, uint64_t token, struct tx **blocker)
{
	if (!txn__part_owned(t)) {
		answer_status(t, token, ERR_WRONG_SHARD);
		return true;
	}
	if (t->lock_count) {
		txn__wants(t, false);
		*blocker = txn__blocker(t, NULL, txn_id_of(0, 0), 0, true);
		if (*blocker)
			return false;
	}
	(void)txn__evaluate_read(t);
	txn__changes_drop(t);
	if (t->err == ERR_NOMEM) { /* the read's trouble, not the machine's: nothing was changed */
		t->err = 0;
		answer_status(t, token, ERR_NOMEM);
	} else {
		txn__read_done(t, token, buf_slice(&t->reply));
	}
	return true;
}

void tsm_read(struct tsm *t, uint64_t token, struct slice part, uint64_t now_ns)
{
	struct tx *blocker = NULL;
	struct reading *r;

	CHECK(!t->in_entry);
	if (now_ns > t->now_ns)
		t->now_ns = now_ns;
	if (t->err || !txn__decode_part(t, part) || t->part.mut_count) {
		answer_status(t, token, t->err ? t->err : ERR_PROTO);
		return;
	}
	if (part.len > COMMAND_SIZE_MAX - PROPOSAL_ROOM) {
		answer_status(t, token, ERR_TOO_BIG);
		return;
	}
	if (try_read(t, token, &blocker))
		return;
	if (!t->leading) {
		answer_status(t, token, ERR_NOT_LEADER);
		return;
	}
	r = mem_must_alloc(sizeof(*r));
	r->token = token;
	if (buf_set(&r->part, part) != 0) {
		mem_free(r);
		answer_status(t, token, ERR_NOMEM);
		return;
	}
	TAILQ_INSERT_TAIL(&t->readings, r, link);
	t->reading_count++;
	reading_barred(r, blocker);
	txn__arm(t, &r->due_ns, t->cfg.read_wait_ns_max);
}

void txn__reads_freed(struct tsm *t, struct tx *blocker)
{
	struct reading *r;

	TAILQ_FOREACH(r, &blocker->barred_reads, note)
		r->blocker = NULL;
	TAILQ_CONCAT(&t->readings_free, &blocker->barred_reads, note);
}

static void reading_retry(struct tsm *t, struct reading *r)
{
	struct tx *blocker = NULL;
	bool decoded = txn__decode_part(t, buf_slice(&r->part));

	CHECK(decoded && !r->blocker);
	if (try_read(t, r->token, &blocker)) {
		reading_free(t, r);
		return;
	}
	TAILQ_REMOVE(&t->readings_free, r, note);
	reading_barred(r, blocker);
}

/* After locks were given back. */
void txn__reads_examine(struct tsm *t)
{
	struct reading *r;

	while (!t->err && (r = TAILQ_FIRST(&t->readings_free)) != NULL)
		reading_retry(t, r);
}

/* The home key of a read: any that the group owns. */
static struct slice home_of(const struct part *p)
{
	if (p->cond_count)
		return p->conds[0].key;
	CHECK(p->read_count && p->reads[0].kind != TXN_GET_REF);
	return p->reads[0].key;
}

static void propose(struct tsm *t, struct reading *r)
{
	struct txn_part part = {.group = t->cfg.group, .body = r->part};
	struct tsm_request q = {.parts = &part, .part_count = 1};
	struct buf b = BUF_INIT;
	bool decoded = txn__decode_part(t, buf_slice(&r->part));

	CHECK(decoded);
	if (r->sequence)
		HASH_DELETE(hh, t->readings_proposed, r);
	r->sequence = q.sequence = ++t->read_sequence | TSM_READ_SEQ_BIT;
	HASH_ADD(hh, t->readings_proposed, sequence, sizeof(r->sequence), r);
	q.home = home_of(&t->part);
	tsm_request_encode(&q, &b);
	txn__propose(t, &b);
}

/* Reads that former leaders proposed may still stand in line. Their sequences must not come again:
 * their answers are not for our readers. */
void txn__reads_lead(struct tsm *t)
{
	const struct tx *tx;

	TAILQ_FOREACH(tx, &t->waiting, link) {
		uint64_t sequence = tx->id.sequence & ~TSM_READ_SEQ_BIT;

		if (tx->id.client == 0 && sequence != tx->id.sequence &&
		    sequence > t->read_sequence)
			t->read_sequence = sequence;
	}
	CHECK(!(t->read_sequence & TSM_READ_SEQ_BIT));
}

/* Once proposed it is proposed again only if that seems to have been lost. */
void txn__reads_tick(struct tsm *t)
{
	struct reading *r;

	TAILQ_FOREACH(r, &t->readings, link) {
		if (txn__due(t, r->due_ns)) {
			propose(t, r);
			txn__arm(t, &r->due_ns, t->cfg.lock_wait_ns_max * 2);
		} else if (r->due_ns < t->deadline_ns) {
			t->deadline_ns = r->due_ns;
		}
	}
}

bool txn__reads_answer(struct tsm *t, uint64_t sequence, struct slice reply)
{
	struct reading *r;

	HASH_FIND(hh, t->readings_proposed, &sequence, sizeof(sequence), r);
	if (r)
		reading_end(t, r, reply);
	return r != NULL;
}

void txn__reads_fail(struct tsm *t, int err)
{
	struct buf reply = BUF_INIT;
	struct reading *r;

	txn__status_reply(&reply, err);
	while ((r = TAILQ_FIRST(&t->readings)) != NULL)
		reading_end(t, r, buf_slice(&reply));
	buf_release(&reply);
}
