/* Locks of a group (README.md, "Lock modes"). Points are keys, in a tree so that a range finds
 * those inside it; ranges are few and stand in a list. Held and asked-for locks stand together, so
 * "conflicts with a holder or an earlier waiter" is one walk.
 *
 * Several uses of a key by one transaction stay beside each other instead of being joined: what any
 * of them conflicts with bars it. */
#include "txn/tsm_internal.h"

static int point_cmp(const struct lock_point *a, const struct lock_point *b)
{
	return slice_cmp(slice_of(a->key, a->key_len), slice_of(b->key, b->key_len));
}

RB_GENERATE_INTERNAL(lock_points, lock_point, node, point_cmp, static __attribute__((unused)))

/* ---- what a part needs ---- */

static void want(struct want_set *w, struct slice key, struct slice to, enum lock_mode mode,
		 bool derived)
{
	if (w->count == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 32;
		w->items = mem_must_realloc(w->items, w->cap * sizeof(*w->items));
	}
	w->items[w->count++] =
		(struct want){.key = key, .to = to, .mode = mode, .derived = derived};
}

/* The record that a reference leads to, when this group owns it. */
static void want_ref(struct tsm *t, const struct txn_read *r, struct slice value, struct buf *key)
{
	struct slice copy;

	if (!txn__ref_key(t, r, value, key) ||
	    !t->cfg.store->owns(t->cfg.store, buf_slice(key), (struct slice){0}))
		return;
	copy = txn__arena_dup(&t->wants.keys, buf_slice(key));
	if (!copy.p)
		txn__fail(t, ERR_NOMEM);
	else
		want(&t->wants, copy, (struct slice){0}, LOCK_S, true);
}

static void want_get_ref(struct tsm *t, const struct txn_read *r, struct slice *keys, uint32_t i)
{
	struct buf key = BUF_INIT;
	struct slice value;
	uint64_t version;
	uint32_t before = t->wants.count;

	if (keys[r->from].len && txn__get(t, keys[r->from], &version, &value) == 0)
		want_ref(t, r, value, &key);
	if (t->wants.count > before)
		keys[i] = t->wants.items[before].key;
	buf_release(&key);
}

struct want_scan {
	struct tsm *t;
	const struct txn_read *read;
	struct buf key;
	uint32_t count;
};

/* Those that the scan returns, if they do not become too many bytes. */
static bool want_scan_item(void *ctx, struct slice key, struct slice stored)
{
	struct want_scan *s = ctx;
	uint64_t version;
	struct slice value = txn__header_skip(stored, &version);

	(void)key;
	if (value.p)
		want_ref(s->t, s->read, value, &s->key);
	return ++s->count < txn__scan_limit(s->read);
}

static void want_scan_refs(struct tsm *t, const struct txn_read *r)
{
	struct want_scan s = {.t = t, .read = r};
	int err = t->cfg.store->scan(t->cfg.store, TXN_TABLE_DATA, r->key, r->to, want_scan_item,
				     &s);

	if (err)
		txn__fail(t, err);
	buf_release(&s.key);
}

static void want_reads(struct tsm *t, bool lock_only)
{
	const struct part *p = &t->part;
	struct slice keys[TXN_READS_MAX]; /* what each read reads, for references to it */

	for (uint32_t i = 0; i < p->read_count; i++) {
		const struct txn_read *r = &p->reads[i];

		keys[i] = r->kind == TXN_GET ? r->key : (struct slice){0};
		if (r->kind != TXN_GET_REF)
			want(&t->wants, r->key, r->to, LOCK_S, false);
		else if (!lock_only)
			want_get_ref(t, r, keys, i);
		if (r->kind == TXN_SCAN_REF && !lock_only)
			want_scan_refs(t, r);
	}
}

static enum lock_mode cond_mode(const struct txn_cond *c)
{
	if (c->kind == TXN_EXISTS || (c->kind == TXN_FIELD && !c->field.commutes))
		return LOCK_E;
	return LOCK_S;
}

static enum lock_mode mut_mode(const struct txn_mut *u)
{
	if (u->kind == TXN_MAX || u->kind == TXN_TOUCH ||
	    (u->kind == TXN_ADD && !u->want_result))
		return LOCK_I;
	return LOCK_X;
}

void txn__wants(struct tsm *t, bool lock_only)
{
	const struct part *p = &t->part;

	t->wants.count = 0;
	txn__arena_reset(&t->wants.keys);
	for (uint32_t i = 0; i < p->cond_count; i++)
		want(&t->wants, p->conds[i].key, p->conds[i].to, cond_mode(&p->conds[i]), false);
	for (uint32_t i = 0; i < p->mut_count; i++)
		want(&t->wants, p->muts[i].key, p->muts[i].to, mut_mode(&p->muts[i]), false);
	if (p->read_count)
		want_reads(t, lock_only);
}

/* ---- who bars whom ---- */

struct asker { /* whose wants are looked at, and what is done with those who bar it */
	const struct tx *self;
	struct txn_id lock;
	bool holders_only;
	txn_holder_fn *fn; /* NULL: the first one is enough */
	void *ctx;
	struct tx *found;
};

static bool stands_before(const struct tx *a, const struct tx *b)
{
	if (!b)
		return true; /* b comes now */
	return a->slot < b->slot || (a->slot == b->slot && a->index < b->index);
}

static bool bars(const struct asker *a, const struct lock *l, enum lock_mode mode)
{
	const struct tx *o = l->owner;

	if (o == a->self || lock_modes_compatible(l->mode, mode))
		return false;
	if (a->lock.sequence && o->lock_only && txn_id_eq(o->id, a->lock))
		return false; /* of an ordinary transaction's id the request may say what it likes */
	if (!o->waiting)
		return true;
	/* who uses locks taken up front has stood in line for them: those who came since wait for it,
	 * not it for them */
	return !a->holders_only && !a->lock.sequence && stands_before(o, a->self);
}

static bool overlaps(const struct lock *range, const struct want *w)
{
	if (range->to.len == 0)
		return true; /* not a range: of the point that is asked for */
	if (slice_cmp(w->key, range->to) >= 0)
		return false;
	if (w->to.len == 0)
		return slice_cmp(range->key, w->key) <= 0;
	return slice_cmp(range->key, w->to) < 0;
}

/* The one that bars nearest before, for a note: then not all of a line are awake when its first goes. */
static bool ask_last(struct asker *a, const struct lock_list *list, const struct want *w)
{
	struct lock *l;

	TAILQ_FOREACH_REVERSE(l, list, lock_list, link) {
		if (overlaps(l, w) && bars(a, l, w->mode)) {
			a->found = l->owner;
			return true;
		}
	}
	return false;
}

/* True: enough is known. */
static bool ask_list(struct asker *a, const struct lock_list *list, const struct want *w)
{
	struct lock *l;

	if (!a->holders_only)
		return ask_last(a, list, w);
	TAILQ_FOREACH(l, list, link) {
		if (l->owner->waiting)
			break; /* holders stand first */
		if (!overlaps(l, w) || !bars(a, l, w->mode))
			continue;
		if (!a->fn) {
			a->found = l->owner;
			return true;
		}
		a->fn(a->ctx, l->owner);
	}
	return false;
}

static struct lock_point *point_from(struct tsm *t, struct slice key)
{
	union {
		struct lock_point point;
		uint8_t room[sizeof(struct lock_point) + KEY_SIZE_MAX];
	} probe;

	CHECK(key.len <= KEY_SIZE_MAX);
	probe.point.key_len = (uint32_t)key.len;
	memcpy(probe.point.key, key.p, key.len);
	return RB_NFIND(lock_points, &t->points, &probe.point);
}

static bool point_is(const struct lock_point *p, struct slice key)
{
	return p && slice_eq(slice_of(p->key, p->key_len), key);
}

static bool ask_want(struct tsm *t, struct asker *a, const struct want *w)
{
	struct lock_point *p = point_from(t, w->key);

	if (ask_list(a, &t->ranges, w))
		return true;
	if (w->to.len == 0)
		return point_is(p, w->key) && ask_list(a, &p->locks, w);
	for (; p && slice_cmp(slice_of(p->key, p->key_len), w->to) < 0;
	     p = RB_NEXT(lock_points, &t->points, p))
		if (ask_list(a, &p->locks, w))
			return true;
	return false;
}

static bool ask_all(struct tsm *t, struct asker *a, bool derived)
{
	for (uint32_t i = 0; i < t->wants.count; i++)
		if (t->wants.items[i].derived == derived && ask_want(t, a, &t->wants.items[i]))
			return true;
	return false;
}

/* Derived wants last: who is barred by another too need not look again when data change. */
static void ask(struct tsm *t, struct asker *a)
{
	t->by_reference = false;
	if (t->lock_count > 0 && !ask_all(t, a, false))
		t->by_reference = ask_all(t, a, true);
}

struct tx *txn__blocker(struct tsm *t, const struct tx *self, struct txn_id id, uint64_t lock,
			bool holders_only)
{
	struct asker a = {.self = self, .holders_only = holders_only};

	a.lock = txn_id_of(id.client, lock);
	ask(t, &a);
	return a.found;
}

void txn__holders(struct tsm *t, const struct tx *self, struct txn_id id, uint64_t lock,
		  txn_holder_fn *fn, void *ctx)
{
	struct asker a = {.self = self, .holders_only = true, .fn = fn, .ctx = ctx};

	a.lock = txn_id_of(id.client, lock);
	ask(t, &a);
}

bool txn__line_full(struct tsm *t, size_t part_len)
{
	if (t->waiting_bytes + part_len > TSM_WAITING_BYTES_MAX)
		return true;
	for (uint32_t i = 0; i < t->wants.count; i++) {
		const struct want *w = &t->wants.items[i];
		struct lock_point *p;

		if (w->derived)
			continue;
		if (w->to.len && t->ranges_waiting >= TXN_WAITERS_PER_KEY_MAX)
			return true;
		p = point_from(t, w->key);
		if (point_is(p, w->key) && p->waiting >= TXN_WAITERS_PER_KEY_MAX)
			return true;
	}
	return false;
}

/* ---- taking and giving back ---- */

static struct lock_point *point_get(struct tsm *t, struct slice key)
{
	struct lock_point *p = point_from(t, key);

	if (point_is(p, key))
		return p;
	p = mem_must_alloc(sizeof(*p) + key.len);
	TAILQ_INIT(&p->locks);
	p->key_len = (uint32_t)key.len;
	memcpy(p->key, key.p, key.len);
	CHECK(!RB_INSERT(lock_points, &t->points, p));
	return p;
}

/* Holders stand first, then those who wait, in the order of their places. */
static void lock_add(struct tsm *t, struct tx *tx, const struct want *w)
{
	struct lock *l = &tx->locks[tx->lock_count++];
	const struct lock *last;
	struct lock_list *list;

	l->owner = tx;
	l->mode = w->mode;
	l->key = txn__arena_dup(&tx->lock_keys, w->key);
	l->to = txn__arena_dup(&tx->lock_keys, w->to);
	if (!l->key.p || (w->to.len && !l->to.p)) {
		txn__fail(t, ERR_NOMEM);
		tx->lock_count--;
		return;
	}
	l->point = w->to.len ? NULL : point_get(t, w->key);
	list = l->point ? &l->point->locks : &t->ranges;
	last = TAILQ_LAST(list, lock_list);
	l->counted = tx->waiting && (!last || last->owner != tx);
	if (tx->waiting)
		TAILQ_INSERT_TAIL(list, l, link);
	else
		TAILQ_INSERT_HEAD(list, l, link);
	if (l->point)
		l->point->waiting += l->counted;
	else
		t->ranges_waiting += l->counted;
	t->lock_count++;
}

void txn__lock(struct tsm *t, struct tx *tx)
{
	CHECK(tx->lock_count == 0 && !tx->locks);
	tx->locks = mem_must_alloc((t->wants.count + 1) * sizeof(*tx->locks));
	for (uint32_t i = 0; i < t->wants.count; i++)
		if (!tx->waiting || !t->wants.items[i].derived)
			lock_add(t, tx, &t->wants.items[i]);
}

static void lock_remove(struct tsm *t, struct lock *l)
{
	struct lock_point *p = l->point;

	CHECK(t->lock_count > 0);
	t->lock_count--;
	if (!p) {
		TAILQ_REMOVE(&t->ranges, l, link);
		t->ranges_waiting -= l->counted;
		return;
	}
	TAILQ_REMOVE(&p->locks, l, link);
	p->waiting -= l->counted;
	if (TAILQ_EMPTY(&p->locks)) {
		RB_REMOVE(lock_points, &t->points, p);
		mem_free(p);
	}
}

void txn__unlock(struct tsm *t, struct tx *tx)
{
	for (uint32_t i = 0; i < tx->lock_count; i++)
		lock_remove(t, &tx->locks[i]);
	mem_free(tx->locks);
	tx->locks = NULL;
	tx->lock_count = 0;
	txn__arena_release(&tx->lock_keys);
	txn__freed(t, tx);
}

void txn__changed(struct tsm *t)
{
	struct tx *w;

	CHECK(t->in_entry);
	if (!t->any_by_reference)
		return;
	t->any_by_reference = false;
	TAILQ_FOREACH(w, &t->waiting, link) {
		if (w->blocker && w->by_reference) {
			txn__unnote(t, w);
			txn__candidate(t, w);
		}
	}
}

struct lock_point *txn__point_next(struct lock_point *p)
{
	return RB_NEXT(lock_points, NULL, p);
}
