/* Who is in the way: sessions that may be dead, and owners that wait in a circle.
 *
 * Each waiter for a POSIX lock has a key in group 0, lock-wait/ session owner ticket, which holds the
 * inode that it waits at; it comes and goes with the waiter, in one transaction. A search starts at the
 * inode at hand and follows waiters to further inodes. It reads the records of all inodes met so far in
 * one transaction: a circle among them is one that was there at that moment.
 */
#include "base/bytes.h"
#include "fs/lock_internal.h"
#include "kv/layout.h"

#define KEY_LOCK_WAIT "lock-wait/"

/* ---- the index of waiters ---- */

static void index_key(struct fs_key *k, const struct fs_lock *l)
{
	fs__meta_key(k, KEY_LOCK_WAIT);
	fs__key_u64(k, l->session);
	fs__key_u64(k, l->owner);
	fs__key_u64(k, l->ticket);
}

static bool indexed(const struct fs_lock *l)
{
	return l->kind == FS_LOCK_POSIX && !l->no_cycle;
}

static bool waits_in(const struct lock_table *t, const struct fs_lock *l)
{
	for (uint32_t i = 0; i < t->waiters.count; i++)
		if (t->waiters.v[i].session == l->session && t->waiters.v[i].ticket == l->ticket)
			return true;
	return false;
}

void lock__add_index(struct fs_op *op, const struct lock_node *n, const struct lock_table *to)
{
	struct fs_key k;
	uint8_t ino[8];

	le64_put(ino, n->ino);
	for (uint32_t i = 0; i < n->table.waiters.count; i++) {
		const struct fs_lock *l = &n->table.waiters.v[i];

		if (indexed(l) && !waits_in(to, l)) {
			index_key(&k, l);
			txn_delete(&op->m, fs__key_slice(&k));
		}
	}
	for (uint32_t i = 0; i < to->waiters.count; i++) {
		const struct fs_lock *l = &to->waiters.v[i];

		if (indexed(l) && !waits_in(&n->table, l)) {
			index_key(&k, l);
			txn_put(&op->m, fs__key_slice(&k), slice_of(ino, sizeof(ino)));
		}
	}
}

void lock__index_drop(struct fs *fs, const struct fs_lock *l)
{
	struct fs_key k;
	struct fs_op op;

	if (!indexed(l))
		return;
	fs__op_begin(&op, fs);
	index_key(&k, l);
	txn_delete(&op.m, fs__key_slice(&k));
	(void)fs__op_exec(&op);
	fs__op_end(&op);
}

/* ---- sessions ---- */

static struct lock_session *session_find(const struct fs *fs, uint64_t id)
{
	struct lock_session *s = NULL;

	if (fs->locks)
		HASH_FIND(hh, fs->locks->sessions, &id, sizeof(id), s);
	return s;
}

bool lock__session_dead(const struct fs *fs, uint64_t session)
{
	const struct lock_session *s = session_find(fs, session);

	return s && s->dead;
}

static void forget_sessions(struct fs_locks *l)
{
	struct lock_session *s, *next;

	HASH_ITER(hh, l->sessions, s, next) {
		HASH_DEL(l->sessions, s);
		mem_free(s);
	}
}

static void note_session(struct fs *fs, uint64_t id, bool dead)
{
	struct lock_session *s = session_find(fs, id);

	if (!s && HASH_COUNT(fs->locks->sessions) >= FS_LOCK_SESSIONS)
		forget_sessions(fs->locks);
	if (!s) {
		s = mem_must_alloc(sizeof(*s));
		s->id = id;
		HASH_ADD(hh, fs->locks->sessions, id, sizeof(s->id), s);
	}
	s->dead = dead;
	s->seen_ns = env_mono_ns(fs->b.env);
}

static bool to_be_asked(struct fs *fs, uint64_t id, const uint64_t *asked, uint32_t count)
{
	const struct lock_session *s = session_find(fs, id);

	for (uint32_t i = 0; i < count; i++)
		if (asked[i] == id)
			return false;
	return id != fs->b.session &&
	       (!s || (!s->dead && env_mono_ns(fs->b.env) - s->seen_ns >= FS_LOCK_ALIVE_NS));
}

#define ASK_MAX 32u

int lock__sessions_of(struct fs *fs, const struct fs_lock *const *locks, uint32_t count)
{
	uint64_t ids[ASK_MAX];
	uint32_t n = 0;
	struct fs_key k;
	struct fs_op op;
	int err = 0, dead = 0;

	fs__op_begin(&op, fs);
	for (uint32_t i = 0; i < count && n < ASK_MAX; i++) {
		if (lock__session_dead(fs, locks[i]->session))
			dead = 1;
		if (!to_be_asked(fs, locks[i]->session, ids, n))
			continue;
		ids[n++] = locks[i]->session;
		fs__meta_key(&k, KV_KEY_SESSION);
		fs__key_u64(&k, locks[i]->session);
		txn_get(&op.m, fs__key_slice(&k));
	}
	if (n > 0)
		err = fs__op_read(&op);
	for (uint32_t i = 0; !err && i < n; i++) {
		bool gone = fs__op_value(&op, i)->status == ERR_NOT_FOUND;

		note_session(fs, ids[i], gone);
		dead |= gone;
	}
	fs__op_end(&op);
	return err ? err : dead;
}

int lock__look_at_sessions(struct lock_call *c)
{
	const struct lock_table *t = &c->n->table;
	const struct fs_lock *locks[ASK_MAX], *l;
	uint32_t n = 0, at = 0;

	while (n < ASK_MAX && (l = lock_table_blocker(t, &c->want, &at)) != NULL)
		locks[n++] = l;
	for (uint32_t i = 0; i < t->waiters.count && n < ASK_MAX; i++) {
		if (waits_in(t, &c->want) && t->waiters.v[i].ticket == c->want.ticket)
			break;
		if (fs__lock_conflict(&t->waiters.v[i], &c->want))
			locks[n++] = &t->waiters.v[i];
	}
	return lock__sessions_of(c->fs, locks, n);
}

/* ---- circles ---- */

struct wait_at { /* from the index */
	struct fs_lock who; /* session, owner, ticket */
	fs_ino ino;
};

struct search {
	struct lock_call *c;
	struct wait_at *waits; /* owned */
	uint32_t wait_count;
	fs_ino inos[FS_LOCK_CYCLE_MAX];
	uint32_t ino_count;
	struct lock_table tables[FS_LOCK_CYCLE_MAX];
	struct fs_lock *reached; /* owners that the call waits for in the end; owned */
	uint32_t reached_count, reached_cap;
};

static int read_index(struct search *s)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	fs__op_begin(&op, s->c->fs);
	fs__meta_key(&from, KEY_LOCK_WAIT);
	fs__key_after(&to, &from);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), TXN_SCAN_ITEMS_MAX);
	err = fs__op_read(&op);
	if (!err)
		s->waits = mem_must_alloc(sizeof(*s->waits) * (op.r.reads[0].item_count + 1));
	for (uint32_t i = 0; !err && i < op.r.reads[0].item_count; i++) {
		const struct txn_item *it = &op.r.reads[0].items[i];
		const uint8_t *p = it->key.p + from.len;

		if (it->key.len != from.len + 24u || it->value.len != 8)
			continue;
		s->waits[s->wait_count++] = (struct wait_at){
			.who = {.kind = FS_LOCK_POSIX,
				.session = be64_get(p),
				.owner = be64_get(p + 8),
				.ticket = be64_get(p + 16)},
			.ino = le64_get(it->value.p),
		};
	}
	fs__op_end(&op);
	return err;
}

static void drop_tables(struct search *s)
{
	for (uint32_t i = 0; i < s->ino_count; i++)
		lock_table_release(&s->tables[i]);
}

/* All of one moment. */
static int read_tables(struct search *s)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	drop_tables(s);
	fs__op_begin(&op, s->c->fs);
	for (uint32_t i = 0; i < s->ino_count; i++) {
		fs__key_head(&k, fs__place(s->inos[i]), s->inos[i], FS_KIND_LOCK);
		txn_get(&op.m, fs__key_slice(&k));
	}
	err = fs__op_read(&op);
	for (uint32_t i = 0; !err && i < s->ino_count; i++) {
		const struct txn_value *v = fs__op_value(&op, i);

		if (v->status != ERR_NOT_FOUND)
			err = v->status ? v->status : lock_table_decode(v->value, &s->tables[i]);
	}
	fs__op_end(&op);
	return err;
}

static void reach(struct search *s, const struct fs_lock *l)
{
	for (uint32_t i = 0; i < s->reached_count; i++)
		if (fs__lock_same_owner(&s->reached[i], l))
			return;
	if (s->reached_count == s->reached_cap) {
		s->reached_cap = s->reached_cap ? 2 * s->reached_cap : 16;
		s->reached = mem_must_realloc(s->reached, sizeof(*l) * s->reached_cap);
	}
	s->reached[s->reached_count++] = *l;
}

/* Everybody who holds what one of @who's waits waits for. */
static void reach_from(struct search *s, const struct fs_lock *who)
{
	for (uint32_t i = 0; i < s->ino_count; i++) {
		const struct lock_list *w = &s->tables[i].waiters;

		for (uint32_t k = 0; k < w->count; k++) {
			const struct fs_lock *l;
			uint32_t at = 0;

			if (!indexed(&w->v[k]) || !fs__lock_same_owner(&w->v[k], who))
				continue;
			while ((l = lock_table_blocker(&s->tables[i], &w->v[k], &at)) != NULL)
				if (l->kind != FS_LOCK_DELEGATION)
					reach(s, l);
		}
	}
}

static bool circle(struct search *s)
{
	s->reached_count = 0;
	reach_from(s, &s->c->want);
	for (uint32_t i = 0; i < s->reached_count; i++) {
		struct fs_lock who = s->reached[i]; /* the list may move */

		if (fs__lock_same_owner(&who, &s->c->want))
			return true;
		if (!lock__session_dead(s->c->fs, who.session))
			reach_from(s, &who);
	}
	return false;
}

static bool knows_inode(const struct search *s, fs_ino ino)
{
	for (uint32_t i = 0; i < s->ino_count; i++)
		if (s->inos[i] == ino)
			return true;
	return false;
}

/* Inodes at which those reached wait; false: none is new. */
static bool add_inodes(struct search *s)
{
	uint32_t before = s->ino_count;

	for (uint32_t r = 0; r < s->reached_count; r++)
		for (uint32_t i = 0; i < s->wait_count && s->ino_count < FS_LOCK_CYCLE_MAX; i++)
			if (fs__lock_same_owner(&s->waits[i].who, &s->reached[r]) &&
			    !knows_inode(s, s->waits[i].ino))
				s->inos[s->ino_count++] = s->waits[i].ino;
	return s->ino_count > before;
}

int lock__cycle(struct lock_call *c, bool *found)
{
	struct search *s;
	int err;

	*found = false;
	if (!indexed(&c->want))
		return 0;
	s = mem_must_alloc(sizeof(*s));
	s->c = c;
	s->inos[s->ino_count++] = c->n->ino;
	err = read_index(s);
	while (!err && s->wait_count > 1) { /* not alone */
		err = read_tables(s);
		*found = !err && circle(s);
		if (*found || err || !add_inodes(s))
			break;
	}
	drop_tables(s);
	mem_free(s->waits);
	mem_free(s->reached);
	mem_free(s);
	return err;
}
