/* Records of locks, without an inode, or of sessions that ended. And the index of waits:
 * keys that lead to no waiter. */
#include "fs/fsck.h"
#include "fs/lock_internal.h"

typedef unsigned long long ull;

static uint32_t count_dead(struct ck *c, const struct lock_list *l)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->count; i++)
		n += lock__session_dead(c->fs, l->v[i].session);
	return n;
}

static int ask_sessions(struct ck *c, const struct lock_list *l)
{
	int err = 0;

	for (uint32_t i = 0; i < l->count && err >= 0; i++) {
		const struct fs_lock *one = &l->v[i];

		err = lock__sessions_of(c->fs, &one, 1);
	}
	return err < 0 ? err : 0;
}

/* A mount gives its locks up before its session ends: so the record is read after the sessions. */
static int of_the_dead(struct ck *c, struct lock_node *n)
{
	bool tried = ck__repairs(c);
	uint32_t dead;
	int err = ask_sessions(c, &n->table.held);

	if (!err)
		err = ask_sessions(c, &n->table.waiters);
	if (!err)
		err = lock__refresh(c->fs, n);
	dead = err ? 0 : count_dead(c, &n->table.held) + count_dead(c, &n->table.waiters);
	if (dead == 0)
		return err;
	ck__line(c, "inode %llu has %lu locks of mounts that ended", (ull)n->ino,
		 (unsigned long)dead);
	ck__problem(c, tried, tried ? lock__drop_dead(c->fs, n) : 0);
	return 0;
}

/* Also one without names, which others may have open. */
static int inode_present(struct fs *fs, fs_ino ino, bool *present)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	*present = !err && fs__op_value(&op, 0)->status != ERR_NOT_FOUND;
	fs__op_end(&op);
	return err;
}

/* Read in this order: the record goes with its inode, in one transaction. */
static int without_inode(struct ck *c, struct lock_node *n)
{
	bool tried = ck__repairs(c), present;
	struct fs_key k;
	int err = inode_present(c->fs, n->ino, &present);

	if (err || present)
		return err;
	err = lock__refresh(c->fs, n);
	if (err || lock_table_empty(&n->table))
		return err;
	fs__key_head(&k, fs__place(n->ino), n->ino, FS_KIND_LOCK);
	ck__line(c, "inode %llu is not there, but has locks", (ull)n->ino);
	ck__problem(c, tried, tried ? ck__delete_key(c, fs__key_slice(&k), n->version) : 0);
	return 1;
}

int ck__verify_locks(struct ck *c, const struct ck_suspect *s)
{
	struct lock_node *n = lock__node_get(c->fs, s->ino);
	int err = lock__turn_take(n, NULL);

	if (!err) {
		err = lock__refresh(c->fs, n);
		if (!err && !lock_table_empty(&n->table))
			err = without_inode(c, n);
		if (!err && !lock_table_empty(&n->table))
			err = of_the_dead(c, n);
		lock__turn_give(n);
	}
	lock__node_put(c->fs, n);
	return err > 0 || err == ERR_CORRUPT ? 0 : err;
}

/* ---- the index of waits ---- */

/* Both of one moment: a wait that is over takes its key along. 1: it leads nowhere. */
static int leads_nowhere(struct ck *c, const struct txn_item *it, uint64_t *version)
{
	struct lock_table t;
	struct fs_lock who;
	struct fs_key k;
	struct fs_op op;
	fs_ino ino;
	int err;

	*version = it->version;
	if (!lock__index_parse(it, &who, &ino))
		return 1;
	lock_table_init(&t);
	fs__op_begin(&op, c->fs);
	txn_get(&op.m, it->key);
	fs__key_head(&k, fs__place(ino), ino, FS_KIND_LOCK);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err && fs__op_value(&op, 1)->status == 0)
		err = lock_table_decode(fs__op_value(&op, 1)->value, &t);
	if (!err && fs__op_value(&op, 0)->status == 0) {
		*version = fs__op_value(&op, 0)->version;
		err = !lock_table_waits(&t, &who);
	}
	fs__op_end(&op);
	lock_table_release(&t);
	return err == ERR_CORRUPT ? 0 : err; /* told of as such */
}

static int verify_wait(struct ck *c, const struct txn_item *it)
{
	bool tried = ck__repairs(c);
	struct fs_lock who;
	uint64_t version;
	fs_ino ino;
	int err = leads_nowhere(c, it, &version);

	if (err <= 0)
		return err;
	if (lock__index_parse(it, &who, &ino))
		ck__line(c, "wait %llu of client %llu for a lock of inode %llu is over, but listed",
			 (ull)who.ticket, (ull)who.session, (ull)ino);
	else
		ck__line(c, "damaged entry in the list of waits for locks");
	ck__problem(c, tried, tried ? ck__delete_key(c, it->key, version) : 0);
	return 0;
}

int ck__verify_waits(struct ck *c)
{
	struct fs_key from, to;
	struct fs_op op;
	bool more = true;
	int err = 0;

	lock__index_range(&from, &to);
	fs__op_begin(&op, c->fs);
	while (!err && more) {
		const struct txn_read_result *r;

		fs__op_reset(&op);
		txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), CK_PAGE);
		err = fiber_interrupted() ? ERR_INTERRUPTED : fs__op_read(&op);
		r = &op.r.reads[0];
		for (uint32_t i = 0; !err && i < r->item_count; i++)
			err = verify_wait(c, &r->items[i]);
		more = !err && r->more && r->item_count > 0;
		if (more) {
			from.len = 0;
			fs__key_bytes(&from, r->items[r->item_count - 1].key);
			fs__key_bytes(&from, slice_of("", 1));
		}
	}
	fs__op_end(&op);
	return err;
}
