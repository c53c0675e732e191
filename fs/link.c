/* Another name for a file. */
#include "fs/fs_internal.h"

#define NLINK_MAX 0x7fffffffu

static int usable(const struct fs_inode *rec)
{
	if (rec->type == FS_T_DIR)
		return ERR_PERM;
	if (rec->nlink == 0)
		return ERR_NOT_FOUND;
	return rec->nlink >= NLINK_MAX ? ERR_TOO_MANY_LINKS : 0;
}

static int try_link(struct fs_op *op, fs_ino ino, struct fs_parent *p, struct fs_name *n,
		    struct fs_inode *rec)
{
	struct txn_field nlink = FS_F_NLINK;
	uint32_t free_cond, nlink_cond;
	struct fs_key k;
	int err;

	fs__op_reset(op);
	fs__key_inode(&k, ino);
	nlink.commutes = true;
	fs__if_parent(op, p);
	free_cond = fs__if_free(op, n);
	nlink_cond = txn_if_field_min(&op->m, fs__key_slice(&k), nlink, 1);
	txn_get(&op->m, fs__key_slice(&k));
	fs__put_dentry(op, n, ino, rec->type, n->tie);
	txn_add(&op->m, fs__key_slice(&k), FS_F_NLINK, 1, false);
	fs__touch_ctime(op, ino);
	fs__touch_dir(op, p->ino, 0);
	err = fs__op_exec(op);
	if (fs__failed_at(op, err, p->cond)) {
		err = fs__parent_changed(op, p);
	} else if (fs__failed_at(op, err, free_cond)) {
		err = fs__name_taken(op->fs, n);
	} else if (fs__failed_at(op, err, nlink_cond)) {
		err = fs__op_current_inode(op, ino, rec);
		return err == ERR_NOT_FOUND ? ERR_STALE : err ? err : ERR_NOT_FOUND;
	} else {
		return err;
	}
	return err ? err : ERR_ABORTED;
}

static int run_link(struct fs_op *op, fs_ino ino, struct fs_parent *p, struct fs_name *n,
		    struct fs_inode *rec)
{
	int err;

	for (;;) {
		err = try_link(op, ino, p, n, rec);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(op);
		if (err)
			return err;
	}
	if (err)
		return err;
	err = fs__inode_take(op->fs, ino, fs__op_value(op, 0), rec); /* as it was before */
	if (err)
		return err;
	rec->nlink++;
	if (!fs__touched(&rec->ctime_ns, op->r.stamp))
		return fs__inode_get(op->fs, ino, rec);
	fs__hint_inode_set(op->fs, ino, rec);
	return 0;
}

int fs_link(struct fs *fs, fs_ino ino, fs_ino parent, struct slice name, struct fs_attr *a)
{
	struct fs_parent p = {.ino = parent, .strict = true};
	struct fs_inode rec;
	struct fs_name n;
	struct fs_op op;
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err && fs__name_is_dot(name))
		err = ERR_EXISTS;
	if (!err)
		err = fs__name_init(fs, parent, name, &n);
	if (!err)
		err = fs__parent_known(fs, &p);
	if (!err)
		err = fs__inode_known(fs, ino, &rec);
	if (!err)
		err = usable(&rec);
	if (err)
		return err;
	fs__op_begin(&op, fs);
	err = run_link(&op, ino, &p, &n, &rec);
	fs__op_end(&op);
	if (!err && a)
		fs__attr(fs, ino, &rec, a);
	return err;
}
