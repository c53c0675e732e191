#include "fs/lock_table.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define RECORD_VERSION 1u

void lock_table_init(struct lock_table *t)
{
	*t = (struct lock_table){.tag = 0};
}

void lock_table_release(struct lock_table *t)
{
	mem_free(t->held.v);
	mem_free(t->waiters.v);
	lock_table_init(t);
}

/* ---- lists ---- */

static int list_reserve(struct lock_list *l, uint32_t count)
{
	uint32_t cap = l->cap ? l->cap : 4;
	struct fs_lock *v;

	if (count <= l->cap)
		return 0;
	while (cap < count)
		cap *= 2;
	v = mem_try_realloc(l->v, sizeof(*v) * cap);
	if (!v)
		return ERR_NOMEM;
	l->v = v;
	l->cap = cap;
	return 0;
}

static int list_copy(struct lock_list *to, const struct lock_list *from)
{
	int err = list_reserve(to, from->count);

	if (err)
		return err;
	if (from->count > 0)
		memcpy(to->v, from->v, sizeof(*to->v) * from->count);
	to->count = from->count;
	return 0;
}

static void list_remove(struct lock_list *l, uint32_t at)
{
	CHECK(at < l->count);
	l->count--;
	memmove(l->v + at, l->v + at + 1, sizeof(*l->v) * (l->count - at));
}

int lock_table_copy(struct lock_table *to, const struct lock_table *from)
{
	int err = list_copy(&to->held, &from->held);

	if (!err)
		err = list_copy(&to->waiters, &from->waiters);
	to->tag = from->tag;
	return err;
}

/* ---- looking ---- */

static bool overlap(const struct fs_lock *a, const struct fs_lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

bool fs__lock_conflict(const struct fs_lock *a, const struct fs_lock *b)
{
	if (a->kind == FS_LOCK_DELEGATION || b->kind == FS_LOCK_DELEGATION)
		return a->session != b->session;
	return a->kind == b->kind && !fs__lock_same_owner(a, b) && overlap(a, b) &&
	       (a->mode == FS_LOCK_EXCLUSIVE || b->mode == FS_LOCK_EXCLUSIVE);
}

const struct fs_lock *lock_table_blocker(const struct lock_table *t, const struct fs_lock *want,
					 uint32_t *at)
{
	while (*at < t->held.count) {
		const struct fs_lock *l = &t->held.v[(*at)++];

		if (fs__lock_conflict(l, want))
			return l;
	}
	return NULL;
}

/* Whoever holds what a waiter waits for may take more: that one cannot go before it anyway. */
static bool waits_for_owner(const struct lock_table *t, const struct fs_lock *w,
			    const struct fs_lock *owner)
{
	uint32_t at = 0;
	const struct fs_lock *l;

	while ((l = lock_table_blocker(t, w, &at)) != NULL)
		if (fs__lock_same_owner(l, owner))
			return true;
	return false;
}

const struct fs_lock *lock_table_ahead(const struct lock_table *t, const struct fs_lock *want)
{
	for (uint32_t i = 0; i < t->waiters.count; i++) {
		const struct fs_lock *w = &t->waiters.v[i];

		if (w->session == want->session && w->ticket == want->ticket)
			return NULL;
		if (fs__lock_conflict(w, want) && !waits_for_owner(t, w, want))
			return w;
	}
	return NULL;
}

bool lock_table_holds(const struct lock_table *t, const struct fs_lock *l)
{
	for (uint32_t i = 0; i < t->held.count; i++)
		if (fs__lock_same_owner(&t->held.v[i], l) && overlap(&t->held.v[i], l))
			return true;
	return false;
}

/* Neighbours of one mode are merged, so that one entry must cover it. */
bool lock_table_covers(const struct lock_table *t, const struct fs_lock *l)
{
	for (uint32_t i = 0; i < t->held.count; i++) {
		const struct fs_lock *h = &t->held.v[i];

		if (fs__lock_same_owner(h, l) && h->mode == l->mode && h->start <= l->start &&
		    l->end <= h->end)
			return true;
	}
	return false;
}

bool lock_table_waits(const struct lock_table *t, const struct fs_lock *l)
{
	for (uint32_t i = 0; i < t->waiters.count; i++)
		if (t->waiters.v[i].session == l->session && t->waiters.v[i].ticket == l->ticket)
			return true;
	return false;
}

/* ---- changing ---- */

/* @want grows over an entry of its owner and mode that overlaps it or lies next to it. */
static bool absorb(struct fs_lock *want, const struct fs_lock *h)
{
	if (h->mode != want->mode)
		return false;
	if ((h->end != UINT64_MAX && h->end + 1 < want->start) ||
	    (want->end != UINT64_MAX && want->end + 1 < h->start))
		return false;
	want->start = h->start < want->start ? h->start : want->start;
	want->end = h->end > want->end ? h->end : want->end;
	return true;
}

/* What is left of @h beside @want: 0 to 2 pieces. */
static uint32_t cut(const struct fs_lock *h, const struct fs_lock *want, struct fs_lock piece[2])
{
	uint32_t n = 0;

	if (h->start < want->start) {
		piece[n] = *h;
		piece[n++].end = want->start - 1;
	}
	if (h->end > want->end) {
		piece[n] = *h;
		piece[n++].start = want->end + 1;
	}
	return n;
}

int lock_table_set(struct lock_table *t, const struct fs_lock *want)
{
	struct fs_lock l = *want, piece[2];
	struct lock_list out = {0};
	int err = list_reserve(&out, t->held.count + 2); /* at most one entry is split */

	for (uint32_t i = 0; !err && i < t->held.count; i++) {
		const struct fs_lock *h = &t->held.v[i];
		uint32_t n = 0;

		if (!fs__lock_same_owner(h, want) || !overlap(h, want)) {
			if (!fs__lock_same_owner(h, want) || l.mode == FS_LOCK_NONE || !absorb(&l, h))
				out.v[out.count++] = *h;
			continue;
		}
		if (l.mode == FS_LOCK_NONE || !absorb(&l, h))
			n = cut(h, want, piece);
		for (uint32_t p = 0; p < n; p++)
			out.v[out.count++] = piece[p];
	}
	if (!err && l.mode != FS_LOCK_NONE)
		out.v[out.count++] = l;
	if (!err && out.count > t->held.count && out.count + t->waiters.count > FS_LOCKS_MAX)
		err = ERR_TOO_BIG;
	if (err) {
		mem_free(out.v);
		return err;
	}
	mem_free(t->held.v);
	t->held = out;
	return 0;
}

int lock_table_wait(struct lock_table *t, const struct fs_lock *want)
{
	int err;

	if (t->held.count + t->waiters.count >= FS_LOCKS_MAX)
		return ERR_TOO_BIG;
	/* the holder of a delegation has yet to write down what it is about */
	if (lock_table_delegation(t) && t->waiters.count + 1 >= FS_LOCKS_ALONE)
		return ERR_TOO_BIG;
	err = list_reserve(&t->waiters, t->waiters.count + 1);
	if (!err)
		t->waiters.v[t->waiters.count++] = *want;
	return err;
}

bool lock_table_leave(struct lock_table *t, uint64_t session, uint64_t ticket)
{
	for (uint32_t i = 0; i < t->waiters.count; i++) {
		if (t->waiters.v[i].session == session && t->waiters.v[i].ticket == ticket) {
			list_remove(&t->waiters, i);
			return true;
		}
	}
	return false;
}

static uint32_t drop_from(struct lock_list *l, uint64_t session)
{
	uint32_t n = l->count;

	for (uint32_t i = n; i > 0; i--)
		if (l->v[i - 1].session == session)
			list_remove(l, i - 1);
	return n - l->count;
}

uint32_t lock_table_drop_session(struct lock_table *t, uint64_t session)
{
	return drop_from(&t->held, session) + drop_from(&t->waiters, session);
}

uint32_t lock_table_drop_held(struct lock_table *t, uint64_t session)
{
	return drop_from(&t->held, session);
}

uint32_t lock_table_drop_owner(struct lock_table *t, const struct fs_lock *of)
{
	uint32_t n = t->held.count;

	for (uint32_t i = n; i > 0; i--)
		if (fs__lock_same_owner(&t->held.v[i - 1], of))
			list_remove(&t->held, i - 1);
	return n - t->held.count;
}

const struct fs_lock *lock_table_delegation(const struct lock_table *t)
{
	for (uint32_t i = 0; i < t->held.count; i++)
		if (t->held.v[i].kind == FS_LOCK_DELEGATION)
			return &t->held.v[i];
	return NULL;
}

/* ---- record ---- */

static void encode_one(struct buf *out, const struct fs_lock *l)
{
	uint8_t b[FS_LOCK_SIZE] = {l->kind, l->mode, l->no_cycle};

	le32_put(b + 4, l->pid);
	le64_put(b + 8, l->start);
	le64_put(b + 16, l->end);
	le64_put(b + 24, l->owner);
	le64_put(b + 32, l->session);
	le64_put(b + 40, l->ticket);
	le64_put(b + 48, l->since_ns);
	buf_add(out, b, sizeof(b));
}

void lock_table_encode(struct buf *out, const struct lock_table *t)
{
	uint8_t b[FS_LOCK_HEAD] = {RECORD_VERSION};

	CHECK(t->held.count + t->waiters.count <= FS_LOCKS_MAX);
	le16_put(b + 2, (uint16_t)t->held.count);
	le16_put(b + 4, (uint16_t)t->waiters.count);
	le64_put(b + 8, t->tag);
	buf_add(out, b, sizeof(b));
	for (uint32_t i = 0; i < t->held.count; i++)
		encode_one(out, &t->held.v[i]);
	for (uint32_t i = 0; i < t->waiters.count; i++)
		encode_one(out, &t->waiters.v[i]);
}

static bool decode_one(const uint8_t *p, struct fs_lock *l)
{
	*l = (struct fs_lock){.kind = p[0],
			      .mode = p[1],
			      .no_cycle = p[2] != 0,
			      .pid = le32_get(p + 4),
			      .start = le64_get(p + 8),
			      .end = le64_get(p + 16),
			      .owner = le64_get(p + 24),
			      .session = le64_get(p + 32),
			      .ticket = le64_get(p + 40),
			      .since_ns = le64_get(p + 48)};
	return l->kind >= FS_LOCK_FLOCK && l->kind <= FS_LOCK_DELEGATION &&
	       (l->mode == FS_LOCK_SHARED || l->mode == FS_LOCK_EXCLUSIVE) && l->start <= l->end;
}

static int decode_list(const uint8_t *p, uint32_t count, struct lock_list *l)
{
	int err = list_reserve(l, count);

	for (uint32_t i = 0; !err && i < count; i++, l->count++)
		if (!decode_one(p + i * FS_LOCK_SIZE, &l->v[i]))
			return ERR_CORRUPT;
	return err;
}

int lock_table_decode(struct slice value, struct lock_table *t)
{
	uint32_t held, waiters;
	int err;

	CHECK(lock_table_empty(t));
	if (value.len < FS_LOCK_HEAD || value.p[0] != RECORD_VERSION)
		return ERR_CORRUPT;
	held = le16_get(value.p + 2);
	waiters = le16_get(value.p + 4);
	if (held + waiters == 0 || held + waiters > FS_LOCKS_MAX ||
	    value.len != FS_LOCK_HEAD + (size_t)(held + waiters) * FS_LOCK_SIZE)
		return ERR_CORRUPT;
	t->tag = le64_get(value.p + 8);
	err = decode_list(value.p + FS_LOCK_HEAD, held, &t->held);
	if (!err)
		err = decode_list(value.p + FS_LOCK_HEAD + held * FS_LOCK_SIZE, waiters,
				  &t->waiters);
	return err;
}
