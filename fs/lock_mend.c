/* Changes of a record whose outcome is not known, mended in the background; and the end. */
#include "fs/lock_internal.h"

int lock__edit_nothing(struct lock_call *c, struct lock_table *t)
{
	(void)c;
	(void)t;
	return LOCK_SAME;
}

/* A node that is unsure is read, and written as `mine` says, by its next change whatever that is. */
static void mend(struct fs *fs, struct fs_task *t)
{
	struct lock_node *n = lock__node_get(fs, t->arg);
	struct lock_call c = {.fs = fs, .n = n};
	int err = 0;

	while (n->unsure && err != ERR_SESSION && fs__task_sleep(t, n->soon ? 0 : FS_LOCK_MEND_NS)) {
		n->soon = false;
		err = lock__turn_take_as_task(n);
		if (!err) {
			err = lock__change(&c, lock__edit_nothing, false);
			lock__turn_give(n);
		}
		if (err == ERR_INTERRUPTED)
			fiber_interrupt_clear();
	}
	n->mending = false;
	lock__node_put(fs, n);
}

static void start_mending(struct fs *fs, struct lock_node *n)
{
	if (n->mending || fs->closing)
		return;
	n->mending = fs__background(fs, mend, n->ino) == 0;
	if (!n->mending)
		lock__mend_later(fs);
}

void lock__be_unsure(struct fs *fs, struct lock_node *n, int err)
{
	n->version = FS_LOCK_VERSION_ANY;
	if (err == ERR_SESSION || n->delegated)
		return; /* nothing is ours any more; or all is */
	n->unsure = true;
	n->soon = err == ERR_INTERRUPTED; /* the store is well */
	start_mending(fs, n);
}

/* ---- without memory for a fiber ---- */

static void on_retry(struct env_timer *t)
{
	struct fs_locks *l = container_of(t, struct fs_locks, retry);

	for (struct lock_node *n = l->nodes; n; n = n->hh.next)
		if (n->unsure)
			start_mending(l->fs, n);
}

void lock__mend_later(struct fs *fs)
{
	struct env *env = fs->b.env;

	fs->locks->retry.fire = on_retry;
	if (!fs->locks->retry.armed && !fs->closing)
		env_timer_set(env, &fs->locks->retry, env_mono_ns(env) + FS_LOCK_MEND_NS);
}

/* ---- the end ---- */

static int edit_drop(struct lock_call *c, struct lock_table *t)
{
	return lock_table_drop_session(t, c->fs->locks->session) > 0 ? LOCK_CHANGED : LOCK_SAME;
}

static struct lock_node *something_left(struct fs *fs)
{
	struct lock_node *n;

	for (n = fs->locks->nodes; n; n = n->hh.next)
		if (!n->busy && (n->delegated || n->unsure || !lock_table_empty(&n->mine)))
			return n;
	return NULL;
}

void lock__drop_all(struct fs *fs)
{
	struct lock_node *n;

	while (fs->locks && !fs->abandoned && (n = something_left(fs)) != NULL) {
		struct lock_call c = {.fs = fs, .n = n};

		n->users++;
		n->busy = true;
		lock_table_release(&n->mine);
		lock__give_back(fs, n);
		(void)lock__change(&c, edit_drop, false); /* what stays ends with the session */
		lock_table_release(&n->mine);
		n->unsure = false;
		lock__turn_give(n);
		lock__node_put(fs, n);
	}
}

void lock__free(struct fs *fs)
{
	struct lock_session *s, *snext;
	struct lock_node *n, *next;

	if (!fs->locks)
		return;
	env_timer_cancel(fs->b.env, &fs->locks->retry);
	HASH_ITER(hh, fs->locks->nodes, n, next)
		lock__node_free(fs->locks, n);
	HASH_ITER(hh, fs->locks->sessions, s, snext) {
		HASH_DEL(fs->locks->sessions, s);
		mem_free(s);
	}
	mem_free(fs->locks);
}
