/* Sessions, as far as locks depend on them: those of others that may be dead, and the mount's own. */
#include "fs/lock_internal.h"
#include "kv/layout.h"

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

static void session_key(struct fs_key *k, uint64_t id)
{
	fs__meta_key(k, KV_KEY_SESSION);
	fs__key_u64(k, id);
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
		session_key(&k, locks[i]->session);
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
		const struct fs_lock *w = &t->waiters.v[i];

		if (w->session == c->want.session && w->ticket == c->want.ticket)
			break;
		if (fs__lock_conflict(w, &c->want))
			locks[n++] = w;
	}
	return lock__sessions_of(c->fs, locks, n);
}
