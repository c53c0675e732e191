/* Execution of one call's mini-transaction, retries and waiting. */
#include "fs/fs_internal.h"

#define BACKOFF_FREE  3u /* conflicts before the first wait */
#define BACKOFF_BASE  (100 * NS_PER_US)
#define BACKOFF_MAX   (20 * NS_PER_MS)
#define BACKOFF_STEPS 8u

int fs__wait(struct fs_waiters *q)
{
	struct fs_waiter w = {.fiber = fiber_self()};

	if (fiber_interrupted())
		return ERR_INTERRUPTED;
	TAILQ_INSERT_TAIL(q, &w, link);
	fiber_park();
	TAILQ_REMOVE(q, &w, link);
	return fiber_interrupted() ? ERR_INTERRUPTED : 0;
}

void fs__wake_all(struct fs_waiters *q)
{
	struct fs_waiter *w;

	TAILQ_FOREACH(w, q, link)
		fiber_wake(w->fiber);
}

void fs__op_begin(struct fs_op *op, struct fs *fs)
{
	op->fs = fs;
	op->conflicts = 0;
	op->epoch = fs->epoch;
	op->guard = 0;
	txn_mini_init(&op->m);
	txn_result_init(&op->r);
}

void fs__op_reset(struct fs_op *op)
{
	txn_mini_reset(&op->m);
	txn_result_release(&op->r);
	txn_result_init(&op->r);
}

void fs__op_end(struct fs_op *op)
{
	txn_result_release(&op->r);
	txn_mini_release(&op->m);
}

int fs__op_exec(struct fs_op *op)
{
	struct fs *fs = op->fs;
	uint64_t epoch = fs->epoch;
	int err;

	if (fs->abandoned)
		return ERR_INTERRUPTED;
	if (op->guard && fs__locks_lost(fs, op->guard, op->epoch))
		return ERR_LOCK_LOST;
	fs->stats.requests++;
	err = txn_exec(fs->b.executor, &op->m, &op->r);
	if (err == ERR_SESSION && fs->epoch != epoch)
		err = ERR_ABORTED; /* nothing was done: built anew, under the present session */
	if (err == ERR_CONDITION)
		fs->stats.conflicts++;
	return err;
}

bool fs__err_transient(int err)
{
	return err == ERR_ABORTED || err == ERR_DEADLOCK || err == ERR_BUSY ||
	       err == ERR_WRONG_SHARD;
}

bool fs__err_of_state(int err)
{
	switch (err) {
	case ERR_CONDITION:
	case ERR_ABSENT_RECORD:
	case ERR_NOT_FOUND:
	case ERR_EXISTS:
	case ERR_NOT_DIR:
	case ERR_IS_DIR:
	case ERR_NOT_EMPTY:
	case ERR_STALE:
	case ERR_INVAL:
	case ERR_CORRUPT:
		return true;
	default:
		return false;
	}
}

int fs__op_conflict(struct fs_op *op)
{
	struct env *env = op->fs->b.env;
	uint64_t top;
	unsigned step;

	op->fs->stats.retries++;
	if (fiber_interrupted())
		return ERR_INTERRUPTED;
	if (++op->conflicts > FS_CONFLICTS_MAX)
		return ERR_BUSY;
	if (op->conflicts <= BACKOFF_FREE)
		return 0;
	step = op->conflicts - BACKOFF_FREE - 1;
	top = BACKOFF_BASE << (step < BACKOFF_STEPS ? step : BACKOFF_STEPS);
	if (top > BACKOFF_MAX)
		top = BACKOFF_MAX;
	return fiber_sleep(top / 2 + env_random(env) % (top / 2));
}

bool fs__op_again(struct fs_op *op, int *err)
{
	if (!fs__err_transient(*err))
		return false;
	*err = fs__op_conflict(op);
	return *err == 0;
}

int fs__delete_record(struct fs *fs, const struct fs_key *k)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	do {
		fs__op_reset(&op);
		txn_delete(&op.m, fs__key_slice(k));
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err;
}

int fs__op_read(struct fs_op *op)
{
	for (;;) {
		int err = fs__op_exec(op);

		if (!fs__err_transient(err))
			return err;
		err = fs__op_conflict(op);
		if (err)
			return err;
		txn_result_release(&op->r);
		txn_result_init(&op->r);
	}
}

int fs__op_current_inode(struct fs_op *op, fs_ino ino, struct fs_inode *rec)
{
	return fs__inode_take(op->fs, ino, &op->r.current, rec);
}

/* ---- background fibers ---- */

static void task_fiber(void *arg)
{
	struct fs_task *t = arg;
	struct fs *fs = t->fs;

	t->fiber = fiber_self();
	t->run(fs, t);
	LIST_REMOVE(t, link);
	mem_free(t);
	fs__wake_all(&fs->closers);
}

int fs__background(struct fs *fs, void (*run)(struct fs *fs, struct fs_task *t), uint64_t arg)
{
	struct fs_task *t;
	int err;

	if (fs->closing)
		return ERR_CANCELED;
	t = mem_must_alloc(sizeof(*t));
	*t = (struct fs_task){.fs = fs, .run = run, .arg = arg};
	err = fiber_start(fs->b.fibers, task_fiber, t);
	if (err) {
		mem_free(t);
		return err;
	}
	LIST_INSERT_HEAD(&fs->tasks, t, link);
	return 0;
}

bool fs__task_sleep(struct fs_task *t, uint64_t ns)
{
	if (t->stop)
		return false;
	t->sleeping = true;
	(void)fiber_sleep(ns);
	t->sleeping = false;
	if (t->stop)
		fiber_interrupt_clear();
	return !t->stop;
}
