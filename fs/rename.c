/* rename(2): one transaction over up to four inodes and two names. */
#include "fs/fs_internal.h"

struct move {
	struct fs_name from, to;
	struct fs_parent parent; /* of `to`, used under its permission version */
	bool parent_known;
	unsigned flags;
	uint32_t from_cond, to_cond;
	struct fs_victim victim; /* what `to` named; victim.node is set while it is in use */
	struct fs_order order;
	bool ordered; /* a directory changes its parent */
	const struct fs_cred *cred; /* whose the whiteout is; NULL: none is left behind */
	uint64_t counter;	    /* its number's */
	bool nothing; /* both names are the same inode: done */
	bool denied;  /* the new parent's permissions have changed: the kernel looks again */
	uint64_t absent_from, absent_to; /* versions of the names under which an inode was absent */
};

static bool is_dir(const struct fs_name *n)
{
	return n->entry.type == FS_T_DIR;
}

static bool exchange(const struct move *v)
{
	return v->flags & FS_RENAME_EXCHANGE;
}

static bool other_parent(const struct move *v)
{
	return v->from.dir != v->to.dir;
}

/* ---- looking ---- */

/* Both names, with their inodes, from one request. */
static int look(struct fs *fs, struct move *v)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__name_read(&op, &v->from);
	fs__name_read(&op, &v->to);
	err = fs__op_read(&op);
	if (!err)
		err = fs__name_take(&op, &v->from, 0);
	if (!err)
		err = fs__name_take(&op, &v->to, 2);
	fs__op_end(&op);
	return err;
}

/* What the names are decides whether it can be done at all. */
static int judge(struct move *v)
{
	v->nothing = false;
	if (!v->from.present)
		return ERR_NOT_FOUND;
	if (!v->to.present)
		return exchange(v) ? ERR_NOT_FOUND : 0;
	if (v->flags & FS_RENAME_NOREPLACE)
		return ERR_EXISTS;
	if (v->from.entry.ino == v->to.entry.ino) {
		v->nothing = true;
		return 0;
	}
	if (exchange(v))
		return 0;
	if (is_dir(&v->from) && !is_dir(&v->to))
		return ERR_NOT_DIR;
	if (!is_dir(&v->from) && is_dir(&v->to))
		return ERR_IS_DIR;
	return 0;
}

static uint64_t version_at(const struct fs_op *op, uint32_t read)
{
	const struct txn_value *v = fs__op_value(op, read);

	return v->status == 0 ? v->version : 0;
}

/* The walk met the directory itself. It took several reads: were names and way so at one moment? No
 * directory has moved since the walk began if the order is what it was. ERR_INVAL, ERR_CONDITION. */
static int confirm_inside(struct fs *fs, const struct move *v)
{
	uint64_t to_version = v->to.present ? v->to.version : 0;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	txn_get(&op.m, fs__key_slice(&v->from.key));
	txn_get(&op.m, fs__key_slice(&v->to.key));
	txn_get(&op.m, fs__key_slice(&v->order.key));
	err = fs__op_read(&op);
	if (!err)
		err = version_at(&op, 0) == v->from.version && version_at(&op, 1) == to_version &&
				      version_at(&op, 2) == v->order.version
			      ? ERR_INVAL
			      : ERR_CONDITION;
	fs__op_end(&op);
	return err;
}

/* A directory that changes its parent must not come to lie in itself. */
static int check_order(struct fs *fs, struct move *v)
{
	bool back = exchange(v) && is_dir(&v->to);
	int err = 0;

	v->ordered = other_parent(v) && (is_dir(&v->from) || back);
	if (!v->ordered)
		return 0;
	err = fs__order_begin(fs, &v->order);
	if (!err && is_dir(&v->from))
		err = fs__order_walk(fs, v->from.entry.ino, v->to.dir);
	if (!err && back)
		err = fs__order_walk(fs, v->to.entry.ino, v->from.dir);
	return err == ERR_INVAL ? confirm_inside(fs, v) : err;
}

/* ---- doing ---- */

static void add_conditions(struct fs_op *op, struct move *v)
{
	v->from_cond = txn_if_version(&op->m, fs__key_slice(&v->from.key), v->from.version);
	if (v->to.present)
		v->to_cond = txn_if_version(&op->m, fs__key_slice(&v->to.key), v->to.version);
	else
		v->to_cond = fs__if_free(op, &v->to);
	fs__if_parent(op, &v->parent);
	if (v->ordered)
		fs__order_add(op, &v->order);
}

/* The inode's side of its new name: ctime; a directory knows where it is. */
static void add_moved(struct fs_op *op, const struct fs_dentry *d, const struct fs_name *to)
{
	if (d->type == FS_T_DIR) {
		fs__set_inode(op, d->ino, FS_F_PARENT, to->dir);
		fs__set_inode(op, d->ino, FS_F_NAME_HASH, to->hash);
	}
	fs__touch_ctime(op, d->ino);
}

/* A character device 0:0 where the name was: for overlayfs, "deleted here". */
static void add_whiteout(struct fs_op *op, const struct move *v)
{
	struct fs_inode none = {.perm = 0}, rec; /* it inherits nothing: nobody uses it */
	struct fs_make q = {.cred = v->cred, .parent = v->from.dir, .mode = S_IFCHR};
	fs_ino ino = fs__new_number(v->counter, v->from.dir, q.mode);

	fs__new_inode(&q, &none, ino, &rec);
	fs__put_dentry(op, &v->from, ino, rec.type, v->from.entry.tie);
	fs__put_inode(op, ino, &rec, (struct slice){0});
}

static void add_move(struct fs_op *op, struct move *v)
{
	int out = is_dir(&v->from) ? 1 : 0; /* directories that leave, arrive */
	int in = v->to.present && is_dir(&v->to) ? 1 : 0;
	uint8_t tie = v->to.present ? v->to.entry.tie : v->to.tie;

	fs__put_dentry(op, &v->to, v->from.entry.ino, v->from.entry.type, tie);
	add_moved(op, &v->from.entry, &v->to);
	if (exchange(v)) {
		fs__put_dentry(op, &v->from, v->to.entry.ino, v->to.entry.type, v->from.entry.tie);
		add_moved(op, &v->to.entry, &v->from);
	} else if (v->cred) {
		add_whiteout(op, v);
	} else {
		txn_delete(&op->m, fs__key_slice(&v->from.key));
	}
	if (other_parent(v)) {
		fs__touch_dir(op, v->from.dir, exchange(v) ? in - out : -out);
		fs__touch_dir(op, v->to.dir, out - in);
	} else {
		fs__touch_dir(op, v->to.dir, exchange(v) ? 0 : -in);
	}
	if (v->victim.node)
		fs__victim_add(op, &v->victim);
}

/* 0: done. ERR_ABORTED: again, with what is known now. ERR_CONDITION: look again. */
static int try_move(struct fs_op *op, struct move *v)
{
	int err, whose;

	fs__op_reset(op);
	add_conditions(op, v);
	add_move(op, v);
	err = fs__op_exec(op);
	if (fs__failed_at(op, err, v->from_cond))
		return ERR_CONDITION;
	if (fs__failed_at(op, err, v->to_cond)) {
		if (v->to.present)
			return ERR_CONDITION;
		err = fs__name_taken(op->fs, &v->to);
		return err == ERR_EXISTS ? ERR_CONDITION : err ? err : ERR_ABORTED;
	}
	if (fs__failed_at(op, err, v->parent.cond)) {
		err = fs__parent_changed(op, &v->parent);
		v->denied = err == ERR_STALE;
		return err ? err : ERR_ABORTED;
	}
	if (v->ordered && fs__failed_at(op, err, v->order.cond))
		return ERR_CONDITION;
	if (!v->victim.node)
		return err;
	whose = fs__victim_failed(op, &v->victim, err);
	if (whose == 0)
		return ERR_ABORTED;
	return whose < 0 ? whose : err;
}

static int move_known(struct fs_op *op, struct move *v)
{
	struct fs *fs = op->fs;
	int err = judge(v);

	if (err || v->nothing)
		return err;
	if (!v->parent_known) { /* what the kernel has seen; the walk below sees more */
		err = fs__parent_known(fs, &v->parent);
		v->parent_known = err == 0;
	}
	if (!err)
		err = check_order(fs, v);
	if (!err && v->to.present && !exchange(v))
		err = fs__victim_begin(fs, &v->victim, v->to.entry.ino);
	if (err)
		return err;
	for (;;) {
		err = try_move(op, v);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(op);
		if (err)
			break;
	}
	fs__victim_end(fs, &v->victim, err);
	return err;
}

/* An inode that is to be moved is gone: its name is in another group, which has not said so yet. Only if
 * the same names lead to it twice is that an answer. */
static bool absent_twice(struct move *v)
{
	uint64_t to_version = v->to.present ? v->to.version : 0;
	bool twice = v->absent_from == v->from.version && v->absent_to == to_version;

	v->absent_from = v->from.version;
	v->absent_to = to_version;
	return twice;
}

/* As for unlink: only a fresh look leads to an answer; a stale target only if seen twice. */
static bool conclusive(int err, bool fresh, struct move *v, uint64_t *stale)
{
	if ((err == 0 && (fresh || !v->nothing)) || v->denied)
		return true;
	if (err != 0 && !fs__err_of_state(err))
		return true;
	if (err == ERR_CONDITION || !fresh)
		return false;
	if (err == ERR_ABSENT_RECORD)
		return absent_twice(v);
	if (err != ERR_STALE || !v->to.present)
		return true;
	if (*stale == v->to.version)
		return true;
	*stale = v->to.version;
	return false;
}

static int run(struct fs_op *op, struct move *v)
{
	/* The target's absence is no hint: the kernel has asked, but nothing is remembered. */
	bool fresh = !(fs__name_hint(op->fs, &v->from) &&
		       (fs__name_hint(op->fs, &v->to) || !exchange(v)));
	uint64_t stale = 0;
	int err = 0;

	for (;;) {
		if (fresh)
			err = look(op->fs, v);
		if (!err)
			err = move_known(op, v);
		if (conclusive(err, fresh, v, &stale))
			return err;
		err = fresh ? fs__op_conflict(op) : 0;
		if (err)
			return err;
		fresh = true;
	}
}

static void forget(struct fs *fs, const struct move *v)
{
	fs__name_drop(fs, &v->from);
	fs__name_drop(fs, &v->to);
	fs__hint_inode_drop(fs, v->from.entry.ino);
	if (v->to.present)
		fs__hint_inode_drop(fs, v->to.entry.ino);
}

static int init(struct fs *fs, struct move *v, fs_ino parent, struct slice name,
		fs_ino new_parent, struct slice new_name, unsigned flags)
{
	int err;

	if (flags & ~(FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE) ||
	    flags == (FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE))
		return ERR_INVAL;
	if (fs__name_is_dot(name) || fs__name_is_dot(new_name))
		return flags & FS_RENAME_NOREPLACE && fs__name_is_dot(new_name) ? ERR_EXISTS
										: ERR_BUSY;
	*v = (struct move){.flags = flags, .parent = {.ino = new_parent, .strict = true}};
	err = fs__name_init(fs, parent, name, &v->from);
	return err ? err : fs__name_init(fs, new_parent, new_name, &v->to);
}

static int rename_as(struct fs *fs, const struct fs_cred *whiteout, fs_ino parent, struct slice name,
		     fs_ino new_parent, struct slice new_name, unsigned flags)
{
	struct fs_op op;
	struct move v;
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err)
		err = init(fs, &v, parent, name, new_parent, new_name, flags);
	if (!err && whiteout) {
		v.cred = whiteout;
		err = exchange(&v) ? ERR_INVAL : fs__ino_next(fs, &v.counter);
	}
	if (err)
		return err;
	fs__op_begin(&op, fs);
	err = run(&op, &v);
	if (!err && !v.nothing)
		forget(fs, &v);
	fs__op_end(&op);
	if (err == ERR_ABSENT_RECORD || (err == ERR_STALE && v.to.present && !v.denied))
		return ERR_CORRUPT;
	return err;
}

int fs_rename(struct fs *fs, fs_ino parent, struct slice name, fs_ino new_parent,
	      struct slice new_name, unsigned flags)
{
	return rename_as(fs, NULL, parent, name, new_parent, new_name, flags);
}

int fs_rename_whiteout(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
		       fs_ino new_parent, struct slice new_name, unsigned flags)
{
	return rename_as(fs, cred, parent, name, new_parent, new_name, flags);
}
