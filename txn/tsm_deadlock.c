/* Deadlock detection by edge chasing (Chandy, Misra and Haas, "Distributed Deadlock Detection",
 * 1983). A probe starts where a transaction waits, goes to those that bar it, from each to the
 * groups where that one itself still waits (its coordinator knows which have not voted), and so
 * on. When it meets its initiator there is a cycle, and the youngest transaction that it came by
 * is the victim.
 *
 * From a waiting part the probe goes to each holder that bars it, and to the holder at the end
 * of its notes (tx.blocker, from waiter to waiter in the line): not along every edge, which in a
 * long line would be quadratic for each of those who wait. That suffices. In a deadlock nobody's
 * note changes any more; each note leads to a holder, and each holder that is stuck has a part
 * that waits; so the notes of the stuck ones lead into a cycle, and who stands in it finds it.
 */
#include "txn/tsm_internal.h"

#define HOLDERS_MAX 64u /* of those that bar one part: more are not chased */

struct chase {
	const struct tx *holders[HOLDERS_MAX];
	uint32_t count;
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
static void chase_holder(struct tsm *t, const struct tx *h, const struct probe *from)
{
	struct message m = {.kind = MSG_PROBE, .id = h->id, .probe = *from};
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

/* Notes a holder once. */
static void note(void *ctx, const struct tx *holder)
{
	struct chase *ch = ctx;

	for (uint32_t i = 0; i < ch->count; i++)
		if (ch->holders[i] == holder)
			return;
	if (ch->count < HOLDERS_MAX)
		ch->holders[ch->count++] = holder;
}

static bool wants_of(struct tsm *t, const struct tx *w)
{
	if (!txn__decode_part(t, w->body))
		return false;
	txn__wants(t, w->lock_only);
	return true;
}

/* The holder at the end of the notes; NULL: nobody bars any more. */
static const struct tx *end_of_notes(struct tsm *t, const struct tx *w)
{
	while (w && w->waiting) {
		if (w->blocker)
			w = w->blocker;
		else if (wants_of(t, w)) /* no command has come since a restart */
			w = txn__blocker(t, w, w->id, w->lock, false);
		else
			w = NULL;
	}
	return w;
}

static void chase_from(struct tsm *t, const struct tx *w, const struct probe *p)
{
	struct chase ch = {.count = 0};
	const struct tx *last = end_of_notes(t, w);

	if (last)
		note(&ch, last);
	if (wants_of(t, w))
		txn__holders(t, w, w->id, w->lock, note, &ch);
	for (uint32_t i = 0; i < ch.count; i++)
		chase_holder(t, ch.holders[i], p);
}

/* Not the same again, after a restart either; and of two groups only by chance. */
static uint64_t probe_serial(struct tsm *t)
{
	t->probe_serial = t->now_ns > t->probe_serial ? t->now_ns : t->probe_serial + 1;
	return t->probe_serial * GROUPS_MAX + t->cfg.group;
}

void txn__probe_start(struct tsm *t, struct tx *w)
{
	struct probe p = {.initiator = w->id,
			  .initiator_group = w->coordinator,
			  .initiator_lock = w->lock,
			  .serial = probe_serial(t),
			  .hops = TSM_PROBE_HOPS,
			  .victim = w->id,
			  .victim_age = w->age,
			  .victim_group = w->coordinator};

	CHECK(w->waiting && (w->role != TX_SINGLE || w->lock)); /* others hold nothing */
	chase_from(t, w, &p);
}

/* ---- passing on ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* Each probe passes a transaction once: as long as it is remembered, and TSM_PROBE_HOPS in any
 * case. */
static bool passed_before(struct tsm *t, const struct coord *c, const struct probe *p)
{
	uint64_t h = mix(mix(c->id.client, c->id.sequence), p->serial);
	uint64_t *seen;

	h = mix(mix(h, p->initiator.client), p->initiator.sequence);
	seen = &t->probes_seen[h % TSM_PROBES_SEEN];
	if (*seen == h)
		return true;
	*seen = h;
	return false;
}

static void at_participant(struct tsm *t, struct txn_id id, const struct probe *p)
{
	struct tx *tx = txn__tx_find(t, id);

	if (tx && tx->waiting)
		chase_from(t, tx, p);
}

/* A granted lock transaction waits where the request does that uses it: in this group alone, or
 * as a transaction. */
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

	if (c->state != COORD_PREPARING || passed_before(t, c, p))
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
