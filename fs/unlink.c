/* Taking names away: unlink, rmdir, and what becomes of an inode that loses its last name. */
#include "fs/fs_internal.h"

/* ---- victims ---- */

int fs__victim_begin(struct fs *fs, struct fs_victim *v, fs_ino ino)
{
	int err;

	*v = (struct fs_victim){.ino = ino, .node = fs__node_get(fs, ino)};
	err = fs__node_lock(v->node);
	if (err) {
		fs__node_put(fs, v->node);
		v->node = NULL;
		return err;
	}
	err = fs__inode_known(fs, ino, &v->rec);
	if (err)
		fs__victim_end(fs, v, err);
	return err;
}

static bool may_be_done(int err)
{
	return !fs__err_transient(err) && !fs__err_of_state(err) && err != ERR_SESSION;
}

void fs__victim_end(struct fs *fs, struct fs_victim *v, int err)
{
	struct fs_node *n = v->node;

	if (!n)
		return;
	if (!err)
		fs__hint_inode_drop(fs, v->ino);
	else if (v->orphaned && may_be_done(err))
		fs__orphan_unsure(fs, v->ino);
	if (!err && v->orphaned) {
		if (n->opens > 0) {
			n->orphan = true;
			fs->stats.orphans_held++;
		} else {
			fs__orphan_later(fs, v->ino);
		}
	}
	fs__node_unlock(n);
	fs__node_put(fs, n);
	v->node = NULL;
}

static void make_orphan(struct fs_op *op, struct fs_victim *v)
{
	v->orphaned = true;
	fs__set_inode(op, v->ino, FS_F_NLINK, 0);
	fs__set_inode(op, v->ino, FS_F_ORPHAN, 1);
	fs__set_inode_now(op, v->ino, FS_F_PERM_VERSION);
	fs__touch_ctime(op, v->ino);
	fs__put_reap(op, v->ino, FS_REAP_INODE);
}

/* Files and directories may be open somewhere. */
static bool may_delete_now(const struct fs_victim *v)
{
	return !v->not_now && v->rec.type != FS_T_FILE && v->rec.type != FS_T_DIR && !v->rec.xattrs;
}

static void add_dir(struct fs_op *op, struct fs_victim *v)
{
	struct fs_key from, to;

	v->cond = fs__if_inode_exists(op, v->ino);
	fs__range_kind(&from, &to, v->ino, FS_KIND_DENTRY);
	v->empty = fs__if_range_empty(op, &from, &to, &v->empty_count);
	v->cond_count = 1;
	v->last = true;
}

static void add_file(struct fs_op *op, struct fs_victim *v)
{
	v->cond = fs__if_inode_u64(op, v->ino, FS_F_NLINK, v->rec.nlink);
	v->cond_count = 1;
	v->last = v->rec.nlink <= 1;
	if (v->last && may_delete_now(v)) {
		fs__if_inode_u64(op, v->ino, FS_F_XATTRS, v->rec.xattrs);
		v->cond_count = 2;
	}
}

void fs__victim_add(struct fs_op *op, struct fs_victim *v)
{
	v->orphaned = v->deleted = false;
	v->empty_count = 0;
	if (v->rec.type == FS_T_DIR)
		add_dir(op, v);
	else
		add_file(op, v);
	if (!v->last) {
		fs__set_inode(op, v->ino, FS_F_NLINK, v->rec.nlink - 1);
		fs__touch_ctime(op, v->ino);
	} else if (may_delete_now(v)) {
		v->deleted = true;
		fs__delete_inode(op, v->ino, &v->rec);
	} else {
		make_orphan(op, v);
	}
}

int fs__victim_failed(struct fs_op *op, struct fs_victim *v, int err)
{
	uint32_t at = op->r.failed;

	if (err == ERR_ELSEWHERE && v->deleted) { /* its keys are not all in one group */
		v->not_now = true;
		return 0;
	}
	if (err != ERR_CONDITION)
		return 1;
	if (v->empty_count > 0 && at >= v->empty && at < v->empty + v->empty_count)
		return ERR_NOT_EMPTY;
	if (at < v->cond || at >= v->cond + v->cond_count)
		return 1;
	err = fs__op_current_inode(op, v->ino, &v->rec);
	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

/* ---- unlink and rmdir ---- */

static int type_fits(const struct fs_name *n, bool dir)
{
	bool is_dir = n->entry.type == FS_T_DIR;

	if (dir)
		return is_dir ? 0 : ERR_NOT_DIR;
	return is_dir ? ERR_IS_DIR : 0;
}

static int try_remove(struct fs_op *op, struct fs_name *n, struct fs_victim *v)
{
	bool dir = n->entry.type == FS_T_DIR;
	uint32_t name_cond;
	int err, whose;

	fs__op_reset(op);
	name_cond = txn_if_version(&op->m, fs__key_slice(&n->key), n->version);
	txn_delete(&op->m, fs__key_slice(&n->key));
	fs__touch_dir(op, n->dir, dir ? -1 : 0);
	fs__victim_add(op, v);
	err = fs__op_exec(op);
	if (fs__failed_at(op, err, name_cond))
		return ERR_CONDITION;
	whose = fs__victim_failed(op, v, err);
	if (whose == 0)
		return ERR_ABORTED;
	return whose < 0 ? whose : err;
}

/* One name as it is known now. ERR_CONDITION: it has changed, look again. */
static int remove_known(struct fs_op *op, struct fs_name *n, bool dir)
{
	struct fs_victim v;
	int err = type_fits(n, dir);

	if (!err)
		err = fs__victim_begin(op->fs, &v, n->entry.ino);
	if (err)
		return err;
	for (;;) {
		err = try_remove(op, n, &v);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(op);
		if (err)
			break;
	}
	fs__victim_end(op->fs, &v, err);
	return err;
}

/* Only what a fresh look led to is an answer; ERR_STALE (the name is there, its inode is not) only
 * if the same entry led to it twice. */
static bool conclusive(int err, bool fresh, const struct fs_name *n, uint64_t *stale)
{
	if (err == 0 || !fs__err_of_state(err))
		return true;
	if (err == ERR_CONDITION || !fresh)
		return false;
	if (err != ERR_STALE)
		return true;
	if (*stale == n->version)
		return true;
	*stale = n->version;
	return false;
}

static int remove_name(struct fs *fs, fs_ino parent, struct slice name, bool dir)
{
	uint64_t stale = 0;
	struct fs_name n;
	struct fs_op op;
	int err = fs__name_init(fs, parent, name, &n);
	bool fresh;

	if (err)
		return err;
	fs__op_begin(&op, fs);
	fresh = !fs__name_hint(fs, &n);
	for (;;) {
		if (fresh)
			err = fs__name_get(fs, &n);
		if (!err && !n.present)
			err = ERR_NOT_FOUND;
		if (!err)
			err = remove_known(&op, &n, dir);
		if (conclusive(err, fresh, &n, &stale))
			break;
		err = fresh ? fs__op_conflict(&op) : 0;
		if (err)
			break;
		fresh = true;
	}
	if (!err)
		fs__name_drop(fs, &n);
	fs__op_end(&op);
	return err == ERR_STALE ? ERR_CORRUPT : err;
}

int fs_unlink(struct fs *fs, fs_ino parent, struct slice name)
{
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err && fs__name_is_dot(name))
		err = ERR_IS_DIR;
	return err ? err : remove_name(fs, parent, name, false);
}

int fs_rmdir(struct fs *fs, fs_ino parent, struct slice name)
{
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err && fs__name_is_dot(name))
		err = name.len == 1 ? ERR_INVAL : ERR_NOT_EMPTY;
	return err ? err : remove_name(fs, parent, name, true);
}
