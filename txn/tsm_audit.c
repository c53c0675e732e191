/* What must hold between entries; and the machine's state in lines for people. */
#include <inttypes.h>
#include <stdio.h>

#include "txn/tsm_internal.h"

/* Nobody holds what another holds in a conflicting mode, unless the one is the lock transaction of the
 * other. */
static void audit_holders(const struct lock_list *list)
{
	const struct lock *a, *b;

	TAILQ_FOREACH(a, list, link) {
		for (b = TAILQ_NEXT(a, link); b; b = TAILQ_NEXT(b, link)) {
			const struct tx *o = a->owner, *p = b->owner;

			if (o == p || o->waiting || p->waiting ||
			    lock_modes_compatible(a->mode, b->mode))
				continue;
			CHECK(o->id.client == p->id.client);
			CHECK((p->lock_only && o->lock == p->id.sequence) ||
			      (o->lock_only && p->lock == o->id.sequence));
		}
	}
}

static uint32_t audit_txs(const struct tsm *t)
{
	const struct tx *tx, *last = NULL;
	uint32_t waiting = 0, prepared = 0, locks = 0;

	TAILQ_FOREACH(tx, &t->waiting, link) {
		CHECK(tx->waiting);
		CHECK(!last || last->slot < tx->slot ||
		      (last->slot == tx->slot && last->index < tx->index));
		last = tx;
		waiting++;
		if (tx->id.client == 0)
			locks += tx->lock_count;
	}
	for (tx = t->txs; tx; tx = tx->hh.next) {
		prepared += !tx->waiting;
		locks += tx->lock_count;
		CHECK(tx->body.len > 0);
		CHECK(tx->waiting || tx->vote.len > 0);
		CHECK(tx->waiting || tx->role != TX_SINGLE);
	}
	CHECK(waiting == t->waiting_count);
	CHECK(prepared == t->prepared_count);
	return locks;
}

/* Who waits is barred, or about to be looked at. */
static void audit_notes(struct tsm *t)
{
	struct tx *tx;

	TAILQ_FOREACH(tx, &t->waiting, link) {
		CHECK(tx->candidate == !tx->blocker);
		if (tx->candidate || t->err)
			continue;
		CHECK(txn__decode_part(t, tx->body));
		txn__wants(t, tx->lock_only);
		CHECK(txn__blocker(t, tx, tx->id, tx->lock, false) != NULL);
	}
	TAILQ_FOREACH(tx, &t->candidates, note)
		CHECK(tx->candidate && tx->waiting);
}

static void audit_coords(const struct tsm *t)
{
	const struct coord *c;

	for (c = t->coords; c; c = c->hh.next) {
		CHECK((c->state == COORD_PREPARING || c->state == COORD_LOCKED) == (c->own != NULL));
		CHECK(c->state != COORD_LOCKED || (c->lock_only && !c->own->waiting));
		CHECK(c->state != COORD_PROPOSED || t->leading);
		CHECK(!c->own || c->own->role == TX_COORDINATOR);
		CHECK(c->part_count > 0 && c->parts[0].group == t->cfg.group);
	}
}

void tsm_audit(const struct tsm *t)
{
	struct tsm *mut = (struct tsm *)(uintptr_t)t; /* the tree's walk takes no const */
	const struct client *cl;
	struct lock_point *p;
	uint32_t locks, replies = 0;

	CHECK(!t->in_entry && RB_EMPTY(&t->overlay));
	locks = audit_txs(t);
	CHECK(locks == t->lock_count);
	audit_coords(t);
	audit_notes(mut);
	for (p = RB_ROOT(&mut->points); p && RB_LEFT(p, node); p = RB_LEFT(p, node))
		;
	for (; p; p = txn__point_next(p)) {
		CHECK(!TAILQ_EMPTY(&p->locks));
		audit_holders(&p->locks);
	}
	for (cl = t->clients; cl; cl = cl->hh.next)
		replies += cl->reply_count;
	CHECK(replies == t->reply_count);
}

/* ---- for people ---- */

static const char *role_name(const struct tx *tx)
{
	switch (tx->role) {
	case TX_SINGLE:
		return "request";
	case TX_COORDINATOR:
		return "coordinator";
	case TX_PARTICIPANT:
		break;
	}
	return "participant";
}

static const char *state_name(enum coord_state s)
{
	switch (s) {
	case COORD_PROPOSED:
		return "proposed";
	case COORD_PREPARING:
		return "preparing";
	case COORD_LOCKED:
		return "locked";
	case COORD_COMMITTED:
		break;
	}
	return "committed";
}

static void describe_tx(const struct tx *tx, void (*fn)(void *ctx, const char *line), void *ctx)
{
	char line[160];

	snprintf(line, sizeof(line),
		 "txn %" PRIu64 ".%" PRIu64 " %s %s locks=%" PRIu32 " coordinator=%" PRIu32,
		 tx->id.client, tx->id.sequence, role_name(tx), tx->waiting ? "waiting" : "prepared",
		 tx->lock_count, tx->coordinator);
	fn(ctx, line);
}

void tsm_describe(const struct tsm *t, void (*fn)(void *ctx, const char *line), void *ctx)
{
	const struct coord *c;
	const struct tx *tx;
	char line[160];

	for (c = t->coords; c; c = c->hh.next) {
		snprintf(line, sizeof(line),
			 "txn %" PRIu64 ".%" PRIu64 " coordinated %s participants=%" PRIu32,
			 c->id.client, c->id.sequence, state_name(c->state), c->part_count - 1);
		fn(ctx, line);
	}
	for (tx = t->txs; tx; tx = tx->hh.next)
		describe_tx(tx, fn, ctx);
	TAILQ_FOREACH(tx, &t->waiting, link)
		if (tx->id.client == 0)
			describe_tx(tx, fn, ctx);
}
