/* The record of an inode's locks: what is known of it, and how it is changed. */
#include "fs/lock_internal.h"

/* ---- nodes ---- */

void lock__node_free(struct fs_locks *l, struct lock_node *n)
{
	CHECK(n->users == 0 && !n->busy && LIST_EMPTY(&n->queued));
	HASH_DEL(l->nodes, n);
	lock_table_release(&n->table);
	lock_table_release(&n->mine);
	mem_free(n);
}

/* Another session has no locks yet; those of the old one are gone, for the store has closed it. */
static struct fs_locks *locks_of(struct fs *fs)
{
	struct lock_node *n, *next;

	if (!fs->locks) {
		fs->locks = mem_must_alloc(sizeof(*fs->locks));
		fs->locks->fs = fs;
		fs->locks->session = fs->b.session;
	}
	if (fs->locks->session == fs->b.session)
		return fs->locks;
	fs->locks->session = fs->b.session;
	fs->locks->delegations = 0;
	HASH_ITER(hh, fs->locks->nodes, n, next) {
		lock_table_release(&n->mine);
		n->unsure = n->delegated = false;
		if (n->users == 0 && !n->mending)
			lock__node_free(fs->locks, n);
	}
	return fs->locks;
}

void lock__session_changed(struct fs *fs)
{
	(void)locks_of(fs);
}

struct lock_node *lock__node_find(struct fs *fs, fs_ino ino)
{
	struct lock_node *n;

	HASH_FIND(hh, locks_of(fs)->nodes, &ino, sizeof(ino), n);
	return n;
}

struct lock_node *lock__node_get(struct fs *fs, fs_ino ino)
{
	struct lock_node *n = lock__node_find(fs, ino);

	if (!n) {
		n = mem_must_alloc(sizeof(*n));
		n->ino = ino;
		n->version = FS_LOCK_VERSION_ANY;
		TAILQ_INIT(&n->turn);
		LIST_INIT(&n->queued);
		HASH_ADD(hh, fs->locks->nodes, ino, sizeof(n->ino), n);
	}
	n->users++;
	return n;
}

void lock__node_put(struct fs *fs, struct lock_node *n)
{
	CHECK(n->users > 0);
	if (--n->users == 0 && lock_table_empty(&n->mine) && !n->unsure && !n->delegated && !n->mending)
		lock__node_free(fs->locks, n);
}

int lock__turn_take(struct lock_node *n, struct fs_lock_wait *w)
{
	int err = 0;

	while (n->busy && !err) {
		if (w && w->interrupted)
			return ERR_INTERRUPTED;
		if (w)
			w->waiting = true;
		err = fs__wait(&n->turn);
		if (w)
			w->waiting = false;
	}
	if (!err)
		n->busy = true;
	return err;
}

/* A background fiber may have the turn, and be at it for as long as the store is away: it is told to
 * hurry, since what it does is tried again. Other calls are interrupted as this one is. */
void lock__turn_must_take(struct lock_node *n)
{
	bool hurried = false;

	while (n->busy) {
		if (fiber_interrupted()) {
			hurried = true;
			fiber_interrupt_clear();
		}
		if (hurried && n->task)
			fiber_interrupt(n->task);
		(void)fs__wait(&n->turn);
	}
	n->busy = true;
	if (hurried)
		fiber_interrupt(fiber_self());
}

int lock__turn_take_as_task(struct lock_node *n)
{
	int err = lock__turn_take(n, NULL);

	if (!err)
		n->task = fiber_self();
	return err;
}

void lock__turn_give(struct lock_node *n)
{
	n->task = NULL;
	n->busy = false;
	fs__wake_all(&n->turn);
}

/* ---- the record ---- */

static void record_key(struct fs_key *k, fs_ino ino)
{
	fs__key_head(k, fs__place(ino), ino, FS_KIND_LOCK);
}

static void swap(struct lock_table *a, struct lock_table *b)
{
	struct lock_table x = *a;

	*a = *b;
	*b = x;
}

/* On failure what was known stays, as a guess. */
static int take_record(struct lock_node *n, const struct txn_value *v)
{
	struct lock_table t;
	int err = v->status == ERR_NOT_FOUND ? 0 : v->status;

	lock_table_init(&t);
	if (v->status == 0)
		err = lock_table_decode(v->value, &t);
	n->version = err ? FS_LOCK_VERSION_ANY : v->status ? 0 : v->version;
	if (!err)
		swap(&n->table, &t);
	lock_table_release(&t);
	return err;
}

int lock__refresh(struct fs *fs, struct lock_node *n)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	record_key(&k, n->ino);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = take_record(n, fs__op_value(&op, 0));
	fs__op_end(&op);
	return err;
}

/* ---- what is ours, when an answer is missing ---- */

static bool still_queued(const struct lock_node *n, uint64_t ticket)
{
	const struct lock_call *c;

	LIST_FOREACH(c, &n->queued, link)
		if (c->want.ticket == ticket)
			return true;
	return false;
}

/* Adds what both say, in the weaker mode. */
static int add_common(struct lock_table *t, const struct fs_lock *stored, const struct fs_lock *mine)
{
	struct fs_lock both = *mine;

	if (!fs__lock_same_owner(stored, mine) || stored->start > mine->end ||
	    mine->start > stored->end)
		return 0;
	both.start = stored->start > mine->start ? stored->start : mine->start;
	both.end = stored->end < mine->end ? stored->end : mine->end;
	both.mode = stored->mode < mine->mode ? stored->mode : mine->mode;
	return lock_table_set(t, &both);
}

/* Those that wait yet keep their places in the queue. */
static void drop_gone_waiters(const struct lock_node *n, uint64_t session, struct lock_table *t)
{
	for (uint32_t i = t->waiters.count; i > 0; i--) {
		const struct fs_lock *w = &t->waiters.v[i - 1];

		if (w->session == session && !still_queued(n, w->ticket))
			(void)lock_table_leave(t, session, w->ticket);
	}
}

/* Of ours, the record keeps what `mine` has too: never more than it had, so that it is no conflict. */
static int settle(struct lock_node *n, uint64_t session, struct lock_table *t)
{
	struct lock_table was;
	int err;

	const struct fs_lock *d = lock_table_delegation(t);
	bool alone = d && d->session == session; /* until now: nobody else got anything */

	lock_table_init(&was);
	err = lock_table_copy(&was, t);
	if (!err) {
		(void)lock_table_drop_held(t, session);
		drop_gone_waiters(n, session, t);
	}
	for (uint32_t m = 0; !err && alone && m < n->mine.held.count; m++)
		err = lock_table_set(t, &n->mine.held.v[m]);
	for (uint32_t i = 0; !err && !alone && i < was.held.count; i++)
		for (uint32_t m = 0; !err && m < n->mine.held.count; m++)
			err = add_common(t, &was.held.v[i], &n->mine.held.v[m]);
	lock_table_release(&was);
	return err;
}

static int ours_of(uint64_t session, const struct lock_table *t, struct lock_table *mine)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < t->held.count; i++)
		if (t->held.v[i].session == session && t->held.v[i].kind != FS_LOCK_DELEGATION)
			err = lock_table_set(mine, &t->held.v[i]);
	return err;
}

static uint32_t drop_dead(struct fs *fs, struct lock_table *t)
{
	struct lock_session *s, *next;
	uint32_t n = 0;

	HASH_ITER(hh, fs->locks->sessions, s, next)
		if (s->dead)
			n += lock_table_drop_session(t, s->id);
	return n;
}

/* ---- changing it ---- */

static void build(struct fs_op *op, const struct lock_node *n, struct lock_table *t, bool adds)
{
	struct buf value = BUF_INIT;
	struct fs_key k;

	fs__op_reset(op);
	record_key(&k, n->ino);
	if (lock_table_empty(&n->table))
		txn_if_absent(&op->m, fs__key_slice(&k));
	else
		txn_if_field_u64(&op->m, fs__key_slice(&k), FS_F_LOCK_TAG, n->table.tag);
	if (adds)
		fs__if_inode_usable(op, n->ino);
	t->tag = env_random(op->fs->b.env);
	if (lock_table_empty(t)) {
		txn_delete(&op->m, fs__key_slice(&k));
	} else {
		lock_table_encode(&value, t);
		buf_must(&value);
		txn_put(&op->m, fs__key_slice(&k), buf_slice(&value));
	}
	lock__add_index(op, n, t);
	buf_release(&value);
}

static void changed(struct lock_node *n, struct lock_table *t, struct lock_table *mine)
{
	swap(&n->table, t);
	swap(&n->mine, mine);
	n->version = FS_LOCK_VERSION_ANY;
	n->unsure = false;
}

/* One look and, where needed, one transaction. 1: again. */
static int change_once(struct lock_call *c, struct fs_op *op, lock_edit_fn *edit, bool adds, bool *fresh)
{
	uint64_t session = c->fs->locks->session;
	struct lock_node *n = c->n;
	struct lock_table t, mine;
	bool more, keep;
	int err, verdict;

	lock_table_init(&t);
	lock_table_init(&mine);
	err = lock_table_copy(&t, &n->table);
	more = !err && drop_dead(c->fs, &t) > 0;
	if (!err && n->unsure && *fresh)
		err = settle(n, session, &t);
	verdict = err ? err : edit(c, &t);
	if (verdict < 0) {
		err = verdict;
	} else if (!*fresh && (n->unsure || verdict == LOCK_UNSETTLED)) {
		err = lock__refresh(c->fs, n);
		*fresh = true;
		err = err ? err : 1;
	} else if (verdict == LOCK_CHANGED || more || n->unsure) {
		err = ours_of(session, &t, &mine);
		keep = !err && verdict == LOCK_CHANGED && adds && lock__delegate(c, &t);
		if (!err) {
			build(op, n, &t, adds && verdict == LOCK_CHANGED);
			err = fs__op_exec(op);
			if (c->fs->locks->session != session)
				err = ERR_SESSION; /* whatever it was, it has ended with that one */
		}
		if (!err)
			changed(n, &t, &mine);
		if (!err && keep)
			lock__keep(c->fs, n);
	}
	lock_table_release(&t);
	lock_table_release(&mine);
	return err;
}

int lock__change(struct lock_call *c, lock_edit_fn *edit, bool adds)
{
	uint64_t session = c->fs->locks->session;
	struct lock_node *n = c->n;
	bool fresh = false, unknown = false;
	struct fs_op op;
	int err;

	CHECK(n->busy);
	if (c->want.session && c->want.session != session)
		return ERR_SESSION; /* what is delegated by now is another session's */
	if (n->delegated) {
		err = lock__change_here(c, edit);
		if (err <= 0)
			return err;
	}
	fs__op_begin(&op, c->fs);
	for (;;) {
		if (c->fs->locks->session != session) {
			err = ERR_SESSION; /* what it was to say of that one is no more */
			break;
		}
		err = change_once(c, &op, edit, adds, &fresh);
		if (err == 1)
			continue;
		if (err == ERR_CONDITION && op.r.failed == 0) {
			err = take_record(n, &op.r.current);
			fresh = true;
			if (!err)
				err = fs__op_conflict(&op);
			if (!err)
				continue;
		} else if (err == ERR_CONDITION) {
			err = ERR_STALE;
		} else if (fs__err_transient(err)) {
			err = fs__op_conflict(&op);
			if (!err)
				continue;
		} else if (err && op.m.mut_count > 0 && !fs__err_of_state(err) && err != ERR_TOO_BIG) {
			unknown = true;
		}
		break;
	}
	fs__op_end(&op);
	if (err && (n->unsure || unknown))
		lock__be_unsure(c->fs, n, err);
	return err;
}

int lock__drop_dead(struct fs *fs, struct lock_node *n)
{
	struct lock_call c = {.fs = fs, .n = n};

	return lock__change(&c, lock__edit_nothing, false);
}
