/* Records of locks, looked at again: without an inode, or of sessions that ended. */
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

/* Read in this order: the record goes with its inode, in one transaction. */
static int without_inode(struct ck *c, struct lock_node *n)
{
	bool tried = ck__repairs(c);
	struct fs_inode rec;
	struct fs_key k;
	int err = fs__inode_get(c->fs, n->ino, &rec);

	if (err != ERR_STALE)
		return err == ERR_CORRUPT ? 0 : err; /* told of as such */
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
