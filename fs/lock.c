/* The lock calls (README.md, "Locks"). */
#include "fs/lock_internal.h"

void fs_lock_interrupt(struct fs_lock_wait *w)
{
	w->interrupted = true;
	if (w->waiting)
		fiber_interrupt(w->fiber);
}

static bool wants_out(const struct lock_call *c)
{
	return (c->wait && c->wait->interrupted) || fiber_interrupted();
}

/* ---- the changes ---- */

static int grant(struct lock_call *c, struct lock_table *t)
{
	bool left = lock_table_leave(t, c->want.session, c->want.ticket);
	int err;

	c->granted = true;
	c->stray = c->queued && !left;
	if (!left && lock_table_covers(t, &c->want))
		return LOCK_SAME;
	err = lock_table_set(t, &c->want);
	return err ? err : LOCK_CHANGED;
}

/* flock(2) gives up what it has before it waits: two that upgrade at once do not wait for each other. */
static int enqueue(struct lock_call *c, struct lock_table *t)
{
	int err;

	if (c->want.kind == FS_LOCK_FLOCK)
		(void)lock_table_drop_owner(t, &c->want);
	err = lock_table_wait(t, &c->want);
	return err ? err : LOCK_CHANGED;
}

static int edit_acquire(struct lock_call *c, struct lock_table *t)
{
	uint32_t at = 0;
	bool behind;

	c->granted = false;
	if (c->probe && !lock__is_foreign(c->fs, t)) {
		c->by_lock = true;
		return LOCK_SAME;
	}
	c->by_lock = lock_table_blocker(t, &c->want, &at) != NULL;
	behind = !c->by_lock && c->wait && !c->recalls && !c->pass && lock_table_ahead(t, &c->want);
	if (!c->by_lock && !behind)
		return grant(c, t);
	if (!c->wait)
		return LOCK_UNSETTLED;
	return lock_table_waits(t, &c->want) ? LOCK_SAME : enqueue(c, t); /* stale: the watch tells */
}

/* What is not in a guess may be in the record. */
static int edit_give_up(struct lock_call *c, struct lock_table *t)
{
	int err;

	if (!lock_table_holds(t, &c->want))
		return c->n->delegated ? LOCK_SAME : LOCK_UNSETTLED;
	err = lock_table_set(t, &c->want);
	return err ? err : LOCK_CHANGED;
}

static int edit_leave(struct lock_call *c, struct lock_table *t)
{
	return lock_table_leave(t, c->want.session, c->want.ticket) ? LOCK_CHANGED
								    : LOCK_UNSETTLED;
}

/* ---- waiting ---- */

static void record_key(struct fs_key *k, fs_ino ino)
{
	fs__key_head(k, fs__place(ino), ino, FS_KIND_LOCK);
}

/* Until the record is not the one of @version any more, or it is time to look around, or to push. */
static int watch(struct lock_call *c, uint64_t version)
{
	const struct fs_backend *b = &c->fs->b;
	uint64_t wait_ns = FS_LOCK_WATCH_NS, now;
	struct fs_key k;
	int err;

	record_key(&k, c->n->ino);
	if (c->behind_ns && !c->pass)
		wait_ns = FS_LOCK_PATIENCE_NS;
	c->wait->waiting = true;
	if (b->watch)
		err = b->watch(b->ctx, fs__key_slice(&k), version, wait_ns, &now);
	else
		err = fiber_sleep(FS_LOCK_POLL_NS);
	c->wait->waiting = false;
	return err;
}

/* Behind waiters alone, who may wait for what this owner holds elsewhere: not for ever. After
 * FS_LOCK_PATIENCE_NS without a break it passes them, and all that come, until its wait is over. True:
 * from now on. */
static bool loses_patience(struct lock_call *c)
{
	uint64_t now = env_mono_ns(c->fs->b.env);

	if (c->by_lock)
		c->behind_ns = 0;
	else if (c->behind_ns == 0)
		c->behind_ns = now;
	else if (!c->pass && now - c->behind_ns >= FS_LOCK_PATIENCE_NS)
		return c->pass = true;
	return false;
}

/* Sessions and circles, when it is time. ERR_DEADLOCK, ERR_INTERRUPTED, ERR_SESSION; 1: what was in the
 * way is dead. Other trouble is the search's: the wait goes on, and so does the search, later. */
static int look_around(struct lock_call *c)
{
	uint64_t now = env_mono_ns(c->fs->b.env);
	bool found = false;
	int err;

	if (now < c->look_ns)
		return 0;
	c->look_ns = now + FS_LOCK_WATCH_NS;
	err = lock__look_at_sessions(c);
	if (!err)
		err = lock__cycle(c, &found);
	if (lock__is_foreign(c->fs, &c->n->table))
		c->look_ns = 0; /* who is behind it is not known yet */
	if (err > 0 || err == ERR_INTERRUPTED || err == ERR_SESSION)
		return err;
	return found ? ERR_DEADLOCK : 0;
}

/* The waiters of a session that is over wait in vain, and nobody has to tell them. */
static bool session_lost(const struct fs *fs)
{
	return fs->b.session_lost && fs->b.session_lost(fs->b.ctx);
}

/* With the turn, as is its return; the last try says that it is not granted. */
static int wait_turn(struct lock_call *c)
{
	struct lock_node *n = c->n;
	uint64_t version = n->version;
	int err;

	if (version == FS_LOCK_VERSION_ANY) /* decide on a state that can be watched */
		return lock__refresh(c->fs, n);
	err = look_around(c);
	if (err)
		return err > 0 ? 0 : err;
	if (loses_patience(c))
		return 0;
	lock__turn_give(n);
	err = wants_out(c) ? ERR_INTERRUPTED : watch(c, version);
	if (err == ERR_TIMEOUT || (!c->fs->b.watch && !err))
		err = session_lost(c->fs) ? ERR_SESSION : 0;
	if (!err)
		err = lock__turn_take(n, c->wait);
	if (!err)
		return lock__refresh(c->fs, n);
	if (c->wait->interrupted) /* of the wait, not of what ends it */
		fiber_interrupt_clear();
	lock__turn_must_take(n);
	return err;
}

static void leave_queue(struct lock_call *c)
{
	int err;

	c->queued = false;
	LIST_REMOVE(c, link);
	err = lock__change(c, edit_leave, false);
	if (err)
		lock__be_unsure(c->fs, c->n, err); /* who mends it finds a waiter that is none */
	else if (lock_table_empty(&c->n->table))
		lock__index_drop(c->fs, &c->want); /* perhaps the inode went, with the record */
}

/* Who does not wait for locks waits until it can be told who has them. */
static void recall(struct lock_call *c)
{
	c->recalls = true;
	c->want.no_cycle = true;
	c->own_wait.fiber = fiber_self();
	c->wait = &c->own_wait;
}

static int acquire(struct lock_call *c)
{
	int err;

	for (;;) {
		err = lock__change(c, edit_acquire, true);
		if (!err && !c->granted && c->recalls && !lock__is_foreign(c->fs, &c->n->table))
			err = ERR_WOULD_BLOCK;
		if (err || c->granted)
			break;
		if (!c->wait && lock__is_foreign(c->fs, &c->n->table)) {
			recall(c);
			continue;
		}
		if (!c->wait) {
			err = lock__look_at_sessions(c);
			if (err <= 0) {
				err = err ? err : ERR_WOULD_BLOCK;
				break;
			}
			continue;
		}
		if (!c->queued)
			LIST_INSERT_HEAD(&c->n->queued, c, link);
		c->queued = true;
		err = wait_turn(c);
		if (err)
			break;
	}
	if (c->queued && err)
		leave_queue(c);
	else if (c->queued)
		LIST_REMOVE(c, link);
	if (!err && c->stray)
		lock__index_drop(c->fs, &c->want);
	return err;
}

static int give_up(struct lock_call *c)
{
	struct lock_node *n = c->n;
	int err;

	if (!n->unsure && !lock_table_holds(&n->mine, &c->want))
		return 0;
	/* from now on it is not ours, even if the store does not answer: then it is mended */
	err = lock_table_set(&n->mine, &c->want);
	if (err)
		return err;
	n->news = true;
	err = lock__change(c, edit_give_up, false);
	if (err)
		lock__be_unsure(c->fs, n, err);
	return err;
}

/* ---- the calls ---- */

int fs_lock_set(struct fs *fs, fs_ino ino, const struct fs_lock *want, struct fs_lock_wait *w)
{
	struct lock_call c = {.fs = fs, .want = *want, .wait = w};
	int err;

	if (fs->b.session == 0)
		return ERR_UNSUPPORTED;
	if (want->start > want->end)
		return ERR_INVAL;
	c.n = lock__node_get(fs, ino);
	c.want.session = fs->locks->session;
	c.want.ticket = ++fs->locks->tickets;
	c.want.since_ns = env_wall_ns(fs->b.env);
	if (w)
		w->fiber = fiber_self();
	if (want->mode == FS_LOCK_NONE) { /* a close is not asked again */
		lock__turn_must_take(c.n);
		err = give_up(&c);
		lock__turn_give(c.n);
	} else {
		err = lock__turn_take(c.n, w);
		if (!err) {
			err = acquire(&c);
			lock__turn_give(c.n);
		}
	}
	lock__node_put(fs, c.n);
	return err;
}

/* The record as it is, once nobody has it for himself. */
static int look(struct lock_call *c)
{
	int err;

	do { /* another one may take a delegation as soon as there is none */
		err = lock__refresh(c->fs, c->n);
		if (!err)
			err = lock__look_at_sessions(c);
		if (err < 0 || !lock__is_foreign(c->fs, &c->n->table) || c->fs->b.session == 0)
			return err;
		c->probe = true;
		recall(c);
		err = acquire(c);
	} while (err == ERR_WOULD_BLOCK);
	return err;
}

static const struct fs_lock *first_of(const struct fs_lock *a, const struct fs_lock *b)
{
	return a && a->start <= b->start ? a : b;
}

/* The first in the file (POSIX.1-2017, fcntl, F_GETLK). Of this mount's owners `mine` is the truth:
 * the record may not say it yet. */
static const struct fs_lock *in_the_way(const struct lock_call *c)
{
	const struct lock_node *n = c->n;
	const struct fs_lock *l, *first = NULL;
	uint32_t at = 0;

	while ((l = lock_table_blocker(&n->mine, &c->want, &at)) != NULL)
		first = first_of(first, l);
	at = 0;
	while (!n->delegated && (l = lock_table_blocker(&n->table, &c->want, &at)) != NULL)
		if (l->session != c->want.session && !lock__session_dead(c->fs, l->session))
			first = first_of(first, l);
	return first;
}

int fs_lock_get(struct fs *fs, fs_ino ino, const struct fs_lock *want, struct fs_lock *found)
{
	struct lock_call c = {.fs = fs, .want = *want};
	const struct fs_lock *l;
	int err;

	c.n = lock__node_get(fs, ino);
	c.want.ticket = ++fs->locks->tickets;
	err = lock__turn_take(c.n, NULL);
	if (!err) {
		c.want.session = fs->locks->session; /* `mine` is of this one */
		err = c.n->delegated ? 0 : look(&c);
		l = err < 0 ? NULL : in_the_way(&c);
		*found = l ? *l : (struct fs_lock){.mode = FS_LOCK_NONE};
		lock__turn_give(c.n);
	}
	lock__node_put(fs, c.n);
	return err < 0 ? err : 0;
}

bool fs_lock_may_hold(const struct fs *fs, fs_ino ino, uint8_t kind, uint64_t owner)
{
	const struct lock_node *n = NULL;
	struct fs_lock all = {.kind = kind, .end = UINT64_MAX, .owner = owner};

	if (fs->locks)
		HASH_FIND(hh, fs->locks->nodes, &ino, sizeof(ino), n);
	if (!n)
		return false;
	all.session = fs->locks->session;
	return n->busy || n->unsure || lock_table_holds(&n->mine, &all);
}

int fs_lock_release(struct fs *fs, fs_ino ino, uint8_t kind, uint64_t owner)
{
	struct fs_lock all = {.kind = kind, .mode = FS_LOCK_NONE, .end = UINT64_MAX, .owner = owner};

	if (fs->b.session == 0 || !fs->locks || !lock__node_find(fs, ino))
		return 0;
	return fs_lock_set(fs, ino, &all, NULL);
}

uint64_t fs_session(const struct fs *fs)
{
	return fs->b.session;
}
