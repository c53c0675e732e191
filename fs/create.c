/* Making names with new inodes: mknod, mkdir, symlink, create. */
#include "fs/acl.h"

/* A file lives at its directory's place, a directory at a place of its own. */
fs_ino fs__new_number(uint64_t counter, fs_ino parent, uint32_t mode)
{
	return fs__number(S_ISDIR(mode) ? fs__place_hash(counter, 0) : fs__place(parent), counter);
}

void fs__new_inode(const struct fs_make *q, const struct fs_inode *parent, fs_ino ino,
		   struct fs_inode *rec)
{
	bool dir = S_ISDIR(q->mode);

	*rec = (struct fs_inode){
		.perm = (uint16_t)(q->mode & 07777 & ~q->cred->umask),
		.type = FS_TYPE(q->mode),
		.uid = q->cred->uid,
		.gid = q->cred->gid,
		.nlink = dir ? 2 : 1,
		.rdev = q->rdev,
		.size = q->target.len,
		.data_id = ino,
		.data_version = 1,
		.perm_version = 1,
		.parent = dir ? q->parent : 0,
	};
	if (S_ISLNK(q->mode))
		rec->perm = 0777;
	if (parent->perm & S_ISGID) {
		rec->gid = parent->gid;
		rec->perm |= dir ? S_ISGID : 0;
	}
}

static int try_make(struct fs_op *op, const struct fs_make *q, struct fs_parent *p,
		    struct fs_default *d, struct fs_name *n, fs_ino ino, struct fs_inode *rec)
{
	uint32_t free_cond;
	int err = fs__default_known(op->fs, p, d);

	if (err)
		return err;
	fs__op_reset(op);
	fs__new_inode(q, &p->rec, ino, rec);
	if (rec->type == FS_T_DIR)
		rec->name_hash = n->hash;
	err = fs__default_add(op, q, d, ino, rec);
	if (err)
		return err;
	fs__if_parent(op, p);
	free_cond = fs__if_free(op, n);
	fs__put_dentry(op, n, ino, rec->type, n->tie);
	fs__put_inode(op, ino, rec, q->target);
	fs__touch_dir(op, p->ino, rec->type == FS_T_DIR ? 1 : 0);
	err = fs__op_exec(op);
	if (fs__failed_at(op, err, p->cond))
		err = fs__parent_changed(op, p);
	else if (fs__failed_at(op, err, free_cond))
		err = fs__name_taken(op->fs, n);
	else
		return err;
	return err ? err : ERR_ABORTED;
}

int fs__make(struct fs *fs, const struct fs_make *q, fs_ino *ino, struct fs_inode *rec)
{
	struct fs_parent p = {.ino = q->parent, .strict = !q->lenient};
	struct fs_default d = {.value = BUF_INIT};
	struct fs_name n;
	struct fs_op op;
	uint64_t counter;
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err && fs__name_is_dot(q->name))
		err = ERR_EXISTS;
	if (!err)
		err = fs__name_init(fs, q->parent, q->name, &n);
	if (!err)
		err = fs__parent_known(fs, &p);
	if (!err)
		err = fs__ino_next(fs, &counter);
	if (err)
		return err;
	*ino = fs__new_number(counter, q->parent, q->mode);
	fs__op_begin(&op, fs);
	for (;;) {
		err = try_make(&op, q, &p, &d, &n, *ino, rec);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	if (!err) {
		rec->atime_ns = rec->mtime_ns = rec->ctime_ns = rec->btime_ns =
			(int64_t)op.r.stamp;
		fs__hint_inode_set(fs, *ino, rec);
	}
	fs__op_end(&op);
	fs__default_release(&d);
	return err;
}

static int make_attr(struct fs *fs, const struct fs_make *q, struct fs_attr *a)
{
	struct fs_inode rec;
	fs_ino ino;
	int err = fs__make(fs, q, &ino, &rec);

	if (!err && a)
		fs__attr(fs, ino, &rec, a);
	return err;
}

int fs_mknod(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	     uint32_t mode, uint64_t rdev, struct fs_attr *a)
{
	struct fs_make q = {
		.cred = cred, .parent = parent, .name = name, .mode = mode, .rdev = rdev};

	if ((mode & S_IFMT) == 0)
		q.mode |= S_IFREG;
	if (S_ISDIR(q.mode) || S_ISLNK(q.mode))
		return ERR_INVAL;
	return make_attr(fs, &q, a);
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	     uint32_t mode, struct fs_attr *a)
{
	struct fs_make q = {
		.cred = cred, .parent = parent, .name = name, .mode = S_IFDIR | (mode & 07777)};

	return make_attr(fs, &q, a);
}

int fs_symlink(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	       struct slice target, struct fs_attr *a)
{
	struct fs_make q = {.cred = cred,
			    .parent = parent,
			    .name = name,
			    .mode = S_IFLNK | 0777,
			    .target = target};

	if (target.len == 0)
		return ERR_NOT_FOUND;
	if (target.len > FS_SYMLINK_MAX)
		return ERR_NAME_TOO_LONG;
	return make_attr(fs, &q, a);
}

/* ---- create: make and open ---- */

static int open_existing(struct fs *fs, fs_ino parent, struct slice name, unsigned flags,
			 struct fs_attr *a, struct fs_file **out)
{
	int err = fs_lookup(fs, parent, name, a);

	if (err)
		return err;
	if (S_ISLNK(a->mode))
		return ERR_STALE; /* the kernel has to look again, and to follow it */
	err = fs_file_open(fs, a->ino, flags, out);
	if (err == ERR_STALE)
		return ERR_NOT_FOUND; /* it was removed after it was found */
	if (!err && flags & FS_O_TRUNC)
		err = fs_getattr(fs, a->ino, a);
	if (err && *out) {
		fs_file_close(*out);
		*out = NULL;
	}
	return err;
}

int fs_create(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	      uint32_t mode, unsigned flags, struct fs_attr *a, struct fs_file **out)
{
	struct fs_make q = {
		.cred = cred, .parent = parent, .name = name, .mode = S_IFREG | (mode & 07777)};
	struct fs_file *f = NULL;
	struct fs_inode rec;
	fs_ino ino;
	int err;

	for (unsigned tries = 0; tries < FS_CONFLICTS_MAX; tries++) {
		err = fs__make(fs, &q, &ino, &rec);
		if (!err)
			break;
		if (err != ERR_EXISTS || flags & FS_O_EXCL)
			return err;
		err = open_existing(fs, parent, name, flags, a, &f);
		if (!err)
			*out = f;
		if (err != ERR_NOT_FOUND) /* gone again between the two: make it */
			return err;
	}
	if (err)
		return err;
	err = fs_file_open(fs, ino, flags & ~FS_O_TRUNC, &f);
	if (err)
		return err;
	fs__attr(fs, ino, &rec, a);
	*out = f;
	return 0;
}
