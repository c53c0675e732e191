/* Inodes: reading, attributes, changing them. */
#include "fs/acl.h"

int fs__inode_take(struct fs *fs, fs_ino ino, const struct txn_value *v, struct fs_inode *rec)
{
	int err = fs__inode_changed(fs, ino, v, rec);

	if (!err && rec->nlink == 0 && !fs__is_held(fs, ino)) {
		fs__hint_inode_drop(fs, ino);
		err = ERR_NOT_FOUND; /* an orphan */
	}
	return err;
}

int fs__inode_changed(struct fs *fs, fs_ino ino, const struct txn_value *v, struct fs_inode *rec)
{
	int err = v->status;

	if (!err)
		err = fs__inode_decode(v->value, rec);
	if (err)
		fs__hint_inode_drop(fs, ino);
	else
		fs__hint_inode_set(fs, ino, rec);
	return err;
}

int fs__inode_get(struct fs *fs, fs_ino ino, struct fs_inode *rec)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__inode_take(fs, ino, fs__op_value(&op, 0), rec);
	fs__op_end(&op);
	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

int fs__inode_known(struct fs *fs, fs_ino ino, struct fs_inode *rec)
{
	return fs__hint_inode(fs, ino, rec) ? 0 : fs__inode_get(fs, ino, rec);
}

bool fs__touched(int64_t *time, uint64_t stamp)
{
	if (*time >= 0 && (uint64_t)*time > stamp)
		return false;
	*time = (int64_t)stamp;
	return true;
}

bool fs__inode_written(struct fs_inode *rec, const uint16_t *perm, uint64_t stamp)
{
	bool mtime = fs__touched(&rec->mtime_ns, stamp), ctime = fs__touched(&rec->ctime_ns, stamp);

	if (perm) {
		rec->perm = *perm;
		rec->perm_version = stamp;
	}
	rec->xattrs &= (uint8_t)~FS_HAS_CAPABILITY;
	rec->data_version++;
	return mtime && ctime;
}

void fs__attr(const struct fs *fs, fs_ino ino, const struct fs_inode *rec, struct fs_attr *a)
{
	*a = (struct fs_attr){
		.ino = ino,
		.mode = fs__inode_mode(rec),
		.nlink = rec->nlink,
		.uid = rec->uid,
		.gid = rec->gid,
		.rdev = rec->rdev,
		.size = rec->size,
		.blocks = rec->type == FS_T_FILE ? (rec->size + 511) / 512 : 0,
		.atime_ns = fs__atime_shown(fs, ino, rec),
		.mtime_ns = rec->mtime_ns,
		.ctime_ns = rec->ctime_ns,
		.btime_ns = rec->btime_ns,
		.data_id = rec->data_id,
		.data_version = rec->data_version,
		.parent = rec->type == FS_T_DIR ? rec->parent : 0,
	};
}

int fs_getattr(struct fs *fs, fs_ino ino, struct fs_attr *a)
{
	struct fs_inode rec;
	int err = fs__inode_get(fs, ino, &rec);

	if (!err)
		fs__attr(fs, ino, &rec, a);
	return err;
}

int fs_readlink(struct fs *fs, fs_ino ino, struct buf *target)
{
	const struct txn_value *v;
	struct fs_inode rec;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_inode(&k, ino);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	v = fs__op_value(&op, 0);
	err = fs__inode_take(fs, ino, v, &rec);
	if (err == ERR_NOT_FOUND)
		err = ERR_STALE;
	if (!err && rec.type != FS_T_SYMLINK)
		err = ERR_INVAL;
	if (!err)
		err = buf_set(target,
			      slice_of(v->value.p + FS_INODE_SIZE, v->value.len - FS_INODE_SIZE));
	if (!err)
		fs__atime_touch(fs, ino, &rec);
out_op:
	fs__op_end(&op);
	return err;
}

/* ---- setattr ---- */

struct change {
	fs_ino ino;
	unsigned set;
	const struct fs_attr *in;
	uint16_t killed; /* FS_KILL_SUID: the permission bits to go to */
	struct fs_inode known; /* if what to do depends on it: the change is made under its conditions */
	struct buf acl;	       /* owned; chmod: the access list of `known`, empty if it has none */
};

/* chmod also changes an access list, chown takes capabilities away. */
#define PERMISSIONS (FS_SET_MODE | FS_SET_UID | FS_SET_GID | FS_KILL_SUID)

static bool changes_permissions(unsigned set)
{
	return set & PERMISSIONS;
}

static void add_time(struct fs_op *op, const struct change *c, unsigned now, unsigned given,
		     struct txn_field f, int64_t v)
{
	if (c->set & now)
		fs__set_inode_now(op, c->ino, f);
	else if (c->set & given)
		fs__set_inode(op, c->ino, f, (uint64_t)v);
}

static bool changes_atime(unsigned set)
{
	return set & (FS_SET_ATIME | FS_SET_ATIME_NOW);
}

static void add_change(struct fs_op *op, void *ctx)
{
	const struct change *c = ctx;

	if (c->set & FS_SET_MODE)
		fs__set_inode(op, c->ino, FS_F_PERM, c->in->mode & 07777);
	else if (c->set & FS_KILL_SUID)
		fs__set_inode(op, c->ino, FS_F_PERM, c->killed);
	if (c->set & FS_SET_UID)
		fs__set_inode(op, c->ino, FS_F_UID, c->in->uid);
	if (c->set & FS_SET_GID)
		fs__set_inode(op, c->ino, FS_F_GID, c->in->gid);
	add_time(op, c, FS_SET_ATIME_NOW, FS_SET_ATIME, FS_F_ATIME, c->in->atime_ns);
	if (changes_atime(c->set))
		fs__set_inode_now(op, c->ino, FS_F_ATIME_SET);
	add_time(op, c, FS_SET_MTIME_NOW, FS_SET_MTIME, FS_F_MTIME, c->in->mtime_ns);
	if (changes_permissions(c->set))
		fs__set_inode_now(op, c->ino, FS_F_PERM_VERSION);
	add_time(op, c, 0, FS_SET_CTIME, FS_F_CTIME, c->in->ctime_ns);
	if (!(c->set & FS_SET_CTIME))
		fs__touch_ctime(op, c->ino);
}

/* What the record is after the change, given that its times of now are @stamp. False: but for ctime. */
static bool apply_change(struct fs_inode *rec, const struct change *c, uint64_t stamp)
{
	if (c->set & FS_SET_MODE)
		rec->perm = c->in->mode & 07777;
	else if (c->set & FS_KILL_SUID)
		rec->perm = c->killed;
	if (c->set & FS_SET_UID)
		rec->uid = c->in->uid;
	if (c->set & FS_SET_GID)
		rec->gid = c->in->gid;
	if (c->set & FS_SET_ATIME_NOW)
		rec->atime_ns = (int64_t)stamp;
	else if (c->set & FS_SET_ATIME)
		rec->atime_ns = c->in->atime_ns;
	if (c->set & FS_SET_MTIME_NOW)
		rec->mtime_ns = (int64_t)stamp;
	else if (c->set & FS_SET_MTIME)
		rec->mtime_ns = c->in->mtime_ns;
	if (changes_permissions(c->set))
		rec->perm_version = stamp;
	if (changes_atime(c->set))
		rec->atime_set = stamp;
	if (!(c->set & FS_SET_CTIME))
		return fs__touched(&rec->ctime_ns, stamp);
	rec->ctime_ns = c->in->ctime_ns;
	return true;
}

static uint16_t without_suid(uint16_t perm)
{
	if (perm & S_IXGRP)
		perm &= (uint16_t)~S_ISGID;
	return perm & (uint16_t)~S_ISUID;
}

/* The conditions, and what changes beside the record's fields. */
static int add_known(struct fs_op *op, struct change *c)
{
	if (!changes_permissions(c->set)) {
		fs__if_inode_exists(op, c->ino);
		return 0;
	}
	if (c->set & FS_KILL_SUID && !(c->set & FS_SET_MODE)) {
		c->killed = without_suid(c->known.perm);
		fs__if_inode_u64(op, c->ino, FS_F_PERM, c->known.perm);
	}
	if (c->set & (FS_SET_UID | FS_SET_GID))
		fs__add_capability_kill(op, c->ino, &c->known);
	else
		fs__if_inode_u64(op, c->ino, FS_F_XATTRS, c->known.xattrs);
	if (!(c->set & FS_SET_MODE) || c->acl.len == 0)
		return 0;
	fs__if_inode_u64(op, c->ino, FS_F_PERM_VERSION, c->known.perm_version);
	return fs__acl_add_chmod(op, c->ino, buf_slice(&c->acl), c->in->mode & 0777);
}

/* Everything but the size. The record before the change comes with it: one request. */
static int try_change(struct fs_op *op, struct change *c, struct fs_inode *rec)
{
	struct fs_key k;
	int err;

	fs__op_reset(op);
	err = add_known(op, c);
	if (err)
		return err;
	fs__key_inode(&k, c->ino);
	txn_get(&op->m, fs__key_slice(&k));
	add_change(op, c);
	err = fs__op_exec(op);
	if (!err) {
		err = fs__inode_changed(op->fs, c->ino, fs__op_value(op, 0), rec);
		if (!err && !apply_change(rec, c, op->r.stamp))
			(void)fs__inode_get(op->fs, c->ino, rec); /* done it is, even if gone by now */
		if (c->set & (FS_SET_UID | FS_SET_GID))
			rec->xattrs &= (uint8_t)~FS_HAS_CAPABILITY;
	} else if (err == ERR_CONDITION) {
		int found = fs__op_current_inode(op, c->ino, rec);

		err = found ? found : ERR_CONDITION;
	}
	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

/* chmod of what has an access list needs to see it. */
static int know_acl(struct fs *fs, struct change *c)
{
	buf_reset(&c->acl);
	if (!(c->set & FS_SET_MODE) || !(c->known.xattrs & FS_HAS_ACCESS_ACL))
		return 0;
	return fs__xattr_read(fs, c->ino, slice_str(FS_X_ACL_ACCESS), &c->known, &c->acl);
}

static int change_fields(struct fs *fs, struct change *c, struct fs_inode *rec)
{
	struct fs_op op;
	int err = 0;

	c->acl = (struct buf)BUF_INIT;
	fs__op_begin(&op, fs);
	if (changes_permissions(c->set))
		err = fs__inode_known(fs, c->ino, &c->known);
	while (!err) {
		err = know_acl(fs, c);
		if (!err)
			err = try_change(&op, c, rec);
		if (err != ERR_CONDITION && !fs__err_transient(err))
			break;
		if (err == ERR_CONDITION)
			c->known = *rec;
		err = fs__op_conflict(&op);
	}
	fs__op_end(&op);
	buf_release(&c->acl);
	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

int fs_setattr_by(struct fs *fs, fs_ino ino, unsigned set, const struct fs_attr *in,
		  const struct fs_writer *w, struct fs_attr *out)
{
	struct change c = {.ino = ino, .set = set, .in = in};
	struct fs_inode rec;
	uint64_t epoch = fs->epoch, stamp;
	int err = FS_READ_ONLY_CHECK(fs);

	if (err)
		return err;
	if (set & FS_SET_SIZE && changes_permissions(set)) {
		/* they need conditions of their own: first these, then the size */
		c.set = set & (unsigned)PERMISSIONS;
		err = change_fields(fs, &c, &rec);
		if (err)
			return err;
		c.set = set & ~(unsigned)PERMISSIONS;
	}
	if (set & FS_SET_SIZE) {
		err = fs__set_size(fs, ino, epoch, in->size, w, add_change, &c, &rec, &stamp);
		if (!err && !apply_change(&rec, &c, stamp))
			(void)fs__inode_get(fs, ino, &rec); /* as above */
	} else {
		err = change_fields(fs, &c, &rec);
	}
	if (err)
		return err;
	fs__hint_inode_set(fs, ino, &rec);
	if (out)
		fs__attr(fs, ino, &rec, out);
	return 0;
}

int fs_setattr(struct fs *fs, fs_ino ino, unsigned set, const struct fs_attr *in,
	       struct fs_attr *out)
{
	return fs_setattr_by(fs, ino, set, in, NULL, out);
}
