/* Delegations: who locks an inode of which nobody has locks gets the say over all of them, and needs
 * no request for more. It is one more entry of the record, in the way of everybody else: they queue up,
 * the holder, who watches the record, sees it, and writes down what its owners hold, without it. As
 * soon as two owners of the mount itself get into each other's way it is given back, too: only who waits
 * in the record is seen by others. */
#include "fs/lock_internal.h"

bool lock__is_foreign(const struct fs *fs, const struct lock_table *t)
{
	const struct fs_lock *d = lock_table_delegation(t);

	return d && d->session != fs->locks->session;
}

/* ---- having one ---- */

static bool is_cool(const struct fs *fs, fs_ino ino)
{
	uint64_t until = fs->locks->cool[ino % FS_LOCK_COOL].until_ns;

	return fs->locks->cool[ino % FS_LOCK_COOL].ino != ino ||
	       env_mono_ns(fs->b.env) >= until;
}

static void heat(struct fs *fs, fs_ino ino)
{
	fs->locks->cool[ino % FS_LOCK_COOL].ino = ino;
	fs->locks->cool[ino % FS_LOCK_COOL].until_ns = env_mono_ns(fs->b.env) + FS_LOCK_COOL_NS;
}

static int add_delegation(struct fs *fs, struct lock_table *t)
{
	struct fs_lock all = {.kind = FS_LOCK_DELEGATION,
			      .mode = FS_LOCK_EXCLUSIVE,
			      .end = UINT64_MAX,
			      .session = fs->locks->session,
			      .since_ns = env_wall_ns(fs->b.env)};

	return lock_table_set(t, &all);
}

bool lock__delegate(struct lock_call *c, struct lock_table *t)
{
	struct fs *fs = c->fs;

	if (!fs->o.keep_locks || !fs->b.watch || fs->closing || !c->granted || c->n->unsure ||
	    fs->locks->delegations >= FS_LOCK_DELEGATIONS || !lock_table_empty(&c->n->table) ||
	    t->waiters.count > 0 || !is_cool(fs, c->n->ino))
		return false;
	return add_delegation(fs, t) == 0;
}

int lock__change_here(struct lock_call *c, lock_edit_fn *edit)
{
	struct lock_node *n = c->n;
	struct lock_table t;
	int verdict, err;

	lock_table_init(&t);
	err = lock_table_copy(&t, &n->mine);
	verdict = err ? err : edit(c, &t);
	n->used_ns = env_mono_ns(c->fs->b.env);
	if (verdict >= 0 && (verdict == LOCK_UNSETTLED || t.waiters.count > 0 ||
			     t.held.count > FS_LOCKS_ALONE)) {
		heat(c->fs, n->ino);
		lock__give_back(c->fs, n);
		err = 1;
	} else if (verdict == LOCK_CHANGED) {
		struct lock_table was = n->mine;

		n->mine = t;
		t = was;
		n->news = true;
	} else {
		err = verdict;
	}
	lock_table_release(&t);
	return err;
}

void lock__give_back(struct fs *fs, struct lock_node *n)
{
	if (!n->delegated)
		return;
	n->delegated = false;
	n->unsure = true; /* the next change reads the record, and writes what is ours */
	fs->locks->delegations--;
}

/* ---- watching ---- */

static bool unused(const struct fs *fs, const struct lock_node *n)
{
	return lock_table_empty(&n->mine) &&
	       env_mono_ns(fs->b.env) - n->used_ns >= FS_LOCK_KEEP_NS;
}

/* With the turn: the delegation ends, in the record too. */
static void hand_over(struct fs *fs, struct lock_node *n)
{
	struct lock_call c = {.fs = fs, .n = n};

	lock__give_back(fs, n);
	(void)lock__change(&c, lock__edit_nothing, false); /* a failure is mended in the background */
}

static int edit_show(struct lock_call *c, struct lock_table *t)
{
	int err;

	c->granted = t->waiters.count == 0;
	if (!c->granted)
		return LOCK_SAME;
	err = add_delegation(c->fs, t);
	return err ? err : LOCK_CHANGED;
}

/* With the turn: what is held is written down, for people to see; the delegation stays, unless somebody
 * has queued up. */
static void show(struct fs *fs, struct lock_node *n)
{
	struct lock_call c = {.fs = fs, .n = n};

	lock__give_back(fs, n);
	n->news = false;
	if (lock__change(&c, edit_show, true) == 0 && c.granted) {
		n->delegated = true;
		fs->locks->delegations++;
	}
}

static int watch(struct fs *fs, struct fs_task *t, struct lock_node *n, uint64_t version)
{
	struct fs_key k;
	uint64_t now;
	int err;

	fs__key_head(&k, fs__place(n->ino), n->ino, FS_KIND_LOCK);
	t->sleeping = true;
	err = fs->b.watch(fs->b.ctx, fs__key_slice(&k), version, FS_LOCK_KEEP_NS, &now);
	t->sleeping = false;
	return err;
}

/* Did it become known at which version the record is ours alone? */
static bool look(struct fs *fs, struct lock_node *n, uint64_t *version)
{
	uint64_t tag = n->table.tag;

	if (lock__refresh(fs, n) || n->table.tag != tag || lock_table_empty(&n->table))
		return false;
	*version = n->version;
	return true;
}

/* With the turn, when the watch has ended. That nothing came of it does not say that nothing happened:
 * perhaps it was not heard. */
static void keep_on(struct fs *fs, struct lock_node *n, int watched, uint64_t *version)
{
	if (watched == ERR_TIMEOUT && unused(fs, n)) {
		hand_over(fs, n);
	} else if (watched != ERR_TIMEOUT || !look(fs, n, version)) {
		heat(fs, n->ino);
		hand_over(fs, n);
	} else if (n->delegated && n->news) { /* the look may have met the end of the session */
		show(fs, n);
		*version = FS_LOCK_VERSION_ANY;
	}
}

static void keeper(struct fs *fs, struct fs_task *t)
{
	struct lock_node *n = lock__node_get(fs, t->arg);
	uint64_t version = FS_LOCK_VERSION_ANY;
	int err = 0;

	while (n->delegated && !t->stop) {
		if (version != FS_LOCK_VERSION_ANY)
			err = watch(fs, t, n, version);
		if (t->stop || lock__turn_take_as_task(n))
			break;
		if (n->delegated && version != FS_LOCK_VERSION_ANY)
			keep_on(fs, n, err, &version);
		else if (n->delegated && !look(fs, n, &version))
			hand_over(fs, n);
		if (!t->stop)
			fiber_interrupt_clear();
		lock__turn_give(n);
	}
	fiber_interrupt_clear();
	lock__node_put(fs, n);
}

/* Others may queue up, and nobody would see it. */
static void give_back_unwatched(struct fs *fs, struct lock_node *n)
{
	lock__give_back(fs, n);
	lock__mend_later(fs);
}

void lock__keep(struct fs *fs, struct lock_node *n)
{
	n->delegated = true;
	n->used_ns = env_mono_ns(fs->b.env);
	fs->locks->delegations++;
	if (fs__background(fs, keeper, n->ino) != 0)
		give_back_unwatched(fs, n);
}
