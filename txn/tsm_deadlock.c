/* Deadlock detection by edge chasing (Chandy, Misra and Haas, "Distributed Deadlock Detection", 1983).
 * A probe starts where a transaction waits, goes to those that bar it, from each to the groups where
 * that one itself still waits (its coordinator knows which have not voted), and so on. When it meets
 * its initiator there is a cycle, and the youngest transaction that it came by is the victim.
 * Waiting edges go to holders, and through earlier waiters to those that bar these. */
#include "txn/tsm_internal.h"

#define CHASE_MAX 64u /* waiters of this group that one probe goes through; others have their own */

struct chase {
	struct tsm *t;
	struct probe probe;
	struct tx *visited[CHASE_MAX];
	uint32_t visited_count;
};

static bool younger(uint64_t age, struct txn_id id, const struct probe *p)
{
	if (age != p->victim_age)
		return age > p->victim_age;
	if (id.client != p->victim.client)
		return id.client > p->victim.client;
	return id.sequence > p->victim.sequence;
}

static void consider(struct probe *p, uint64_t age, struct txn_id id, uint32_t group)
{
	if (!younger(age, id, p))
		return;
	p->victim = id;
	p->victim_age = age;
	p->victim_group = group;
}

static void deadlock_found(struct tsm *t, const struct probe *p)
{
	struct message m = {.kind = MSG_CANCEL, .id = p->victim, .why = ERR_DEADLOCK};

	if (p->victim_group == t->cfg.group) {
		m.from = t->cfg.group;
		txn__coord_message(t, &m);
	} else {
		txn__send(t, p->victim_group, &m);
	}
}

/* On to the transaction that holds what is wanted. */
static void chase_holder(struct chase *ch, const struct tx *h)
{
	struct tsm *t = ch->t;
	struct message m = {.kind = MSG_PROBE, .id = h->id, .probe = ch->probe};
	struct probe *p = &m.probe;

	if (txn_id_eq(h->id, p->initiator) ||
	    (h->id.client == p->initiator.client && p->initiator_lock &&
	     h->id.sequence == p->initiator_lock)) {
		deadlock_found(t, p);
		return;
	}
	if (p->hops == 0)
		return;
	p->hops--;
	consider(p, h->age, h->id, h->coordinator);
	if (h->coordinator == t->cfg.group) {
		m.from = t->cfg.group;
		txn__probe_message(t, &m);
	} else {
		txn__send(t, h->coordinator, &m);
	}
}

/* Notes a transaction once. */
static void note(void *ctx, struct tx *blocker)
{
	struct chase *ch = ctx;

	for (uint32_t i = 0; i < ch->visited_count; i++)
		if (ch->visited[i] == blocker)
			return;
	if (ch->visited_count < CHASE_MAX)
		ch->visited[ch->visited_count++] = blocker;
}

/* Breadth first through those who wait here, and on to each holder. */
static void chase_all(struct chase *ch)
{
	struct tsm *t = ch->t;

	for (uint32_t i = 0; i < ch->visited_count; i++) {
		struct tx *w = ch->visited[i];

		if (!w->waiting) {
			chase_holder(ch, w);
			continue;
		}
		if (!txn__decode_part(t, w->body))
			continue;
		txn__wants(t, w->lock_only);
		txn__blockers(t, w, w->id, w->lock, note, ch);
	}
}

static void chase_from(struct tsm *t, struct tx *w, const struct probe *p)
{
	struct chase ch = {.t = t, .probe = *p};

	note(&ch, w);
	chase_all(&ch);
}

void txn__probe_start(struct tsm *t, struct tx *w)
{
	struct probe p = {.initiator = w->id,
			  .initiator_group = w->coordinator,
			  .initiator_lock = w->lock,
			  .serial = ++t->probe_serial * GROUPS_MAX + t->cfg.group,
			  .hops = TSM_PROBE_HOPS,
			  .victim = w->id,
			  .victim_age = w->age,
			  .victim_group = w->coordinator};

	CHECK(w->waiting && (w->role != TX_SINGLE || w->lock)); /* others hold nothing */
	chase_from(t, w, &p);
}

/* ---- passing on ---- */

/* Each probe passes a transaction once. */
static bool passed_before(struct coord *c, const struct probe *p)
{
	for (uint32_t i = 0; i < TSM_PROBES_SEEN; i++)
		if (c->seen[i].serial == p->serial && txn_id_eq(c->seen[i].initiator, p->initiator))
			return true;
	c->seen[c->seen_next] = (struct probe_mark){.initiator = p->initiator, .serial = p->serial};
	c->seen_next = (c->seen_next + 1) % TSM_PROBES_SEEN;
	return false;
}

static void at_participant(struct tsm *t, struct txn_id id, const struct probe *p)
{
	struct tx *tx = txn__tx_find(t, id);

	if (tx && tx->waiting)
		chase_from(t, tx, p);
}

/* A granted lock transaction waits where the request does that uses it: in this group alone, or as a
 * transaction. */
static struct tx *single_under(struct tsm *t, struct txn_id lock)
{
	struct tx *tx;

	TAILQ_FOREACH(tx, &t->waiting, link)
		if (tx->role == TX_SINGLE && tx->id.client == lock.client &&
		    tx->lock == lock.sequence)
			return tx;
	return NULL;
}

static struct coord *transaction_under(struct tsm *t, struct txn_id lock)
{
	struct coord *c, *next;

	HASH_ITER(hh, t->coords, c, next)
		if (c->id.client == lock.client && c->lock == lock.sequence)
			return c;
	return NULL;
}

static void at_waiting_coordinator(struct tsm *t, struct coord *c, const struct probe *p)
{
	struct message m = {.kind = MSG_PROBE_ON, .id = c->id, .probe = *p};

	if (c->state != COORD_PREPARING || passed_before(c, p))
		return;
	/* the same victim for every probe of a cycle, though some come by way of its locks */
	consider(&m.probe, c->age, c->id, t->cfg.group);
	for (uint32_t i = 1; i < c->part_count; i++)
		if (!c->parts[i].voted)
			txn__send(t, c->parts[i].group, &m);
	at_participant(t, c->id, &m.probe);
}

static void at_coordinator(struct tsm *t, struct txn_id id, const struct probe *p)
{
	struct coord *c = txn__coord_find(t, id);
	struct probe on = *p;
	struct tx *single;

	if (!c)
		return;
	if (c->state != COORD_LOCKED) {
		at_waiting_coordinator(t, c, p);
		return;
	}
	single = single_under(t, id);
	c = single ? NULL : transaction_under(t, id);
	if (c)
		at_waiting_coordinator(t, c, p);
	if (!single || on.hops == 0)
		return;
	on.hops--;
	consider(&on, single->age, single->id, t->cfg.group);
	chase_from(t, single, &on);
}

void txn__probe_message(struct tsm *t, const struct message *m)
{
	if (m->kind == MSG_PROBE)
		at_coordinator(t, m->id, &m->probe);
	else
		at_participant(t, m->id, &m->probe);
}
