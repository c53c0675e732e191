/* The pieces that transactions of several calls are made of. */
#include "base/bytes.h"
#include "fs/fs_internal.h"

void fs__put_dentry(struct fs_op *op, const struct fs_name *n, fs_ino ino, uint16_t type,
		    uint8_t tie)
{
	struct fs_dentry d = {.ino = ino, .type = (uint8_t)type, .tie = tie};
	uint8_t b[FS_DENTRY_SIZE];

	fs__dentry_encode(b, &d);
	txn_put(&op->m, fs__key_slice(&n->key), slice_of(b, sizeof(b)));
}

void fs__put_inode(struct fs_op *op, fs_ino ino, const struct fs_inode *rec, struct slice tail)
{
	uint8_t b[FS_INODE_SIZE + FS_SYMLINK_MAX];
	struct fs_key k;

	CHECK(tail.len <= FS_SYMLINK_MAX);
	fs__inode_encode(b, rec);
	if (tail.len > 0)
		memcpy(b + FS_INODE_SIZE, tail.p, tail.len);
	fs__key_inode(&k, ino);
	txn_put(&op->m, fs__key_slice(&k), slice_of(b, FS_INODE_SIZE + tail.len));
	txn_set_now(&op->m, fs__key_slice(&k), FS_F_ATIME);
	txn_set_now(&op->m, fs__key_slice(&k), FS_F_MTIME);
	txn_set_now(&op->m, fs__key_slice(&k), FS_F_CTIME);
	txn_set_now(&op->m, fs__key_slice(&k), FS_F_BTIME);
}

void fs__touch_dir(struct fs_op *op, fs_ino dir, int nlink_change)
{
	struct fs_key k;

	fs__key_inode(&k, dir);
	txn_touch(&op->m, fs__key_slice(&k), FS_F_MTIME);
	txn_touch(&op->m, fs__key_slice(&k), FS_F_CTIME);
	txn_add(&op->m, fs__key_slice(&k), FS_F_DATA_VERSION, 1, false);
	if (nlink_change != 0)
		txn_add(&op->m, fs__key_slice(&k), FS_F_NLINK, nlink_change, false);
}

void fs__touch_ctime(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_touch(&op->m, fs__key_slice(&k), FS_F_CTIME);
}

void fs__add_write_times(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_touch(&op->m, fs__key_slice(&k), FS_F_MTIME);
	txn_touch(&op->m, fs__key_slice(&k), FS_F_CTIME);
	txn_add(&op->m, fs__key_slice(&k), FS_F_DATA_VERSION, 1, false);
}

void fs__add_holes(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_max(&op->m, fs__key_slice(&k), FS_F_HOLES, 1);
}

static struct slice field_bytes(uint8_t b[8], struct txn_field f, uint64_t v)
{
	le64_put(b, v);
	return slice_of(b, f.width);
}

uint32_t fs__if_inode_u64(struct fs_op *op, fs_ino ino, struct txn_field f, uint64_t v)
{
	struct fs_key k;
	uint8_t b[8];

	fs__key_inode(&k, ino);
	return txn_if_field(&op->m, fs__key_slice(&k), f, field_bytes(b, f, v));
}

uint32_t fs__if_inode_exists(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	return txn_if_exists(&op->m, fs__key_slice(&k));
}

uint32_t fs__if_inode_usable(struct fs_op *op, fs_ino ino)
{
	struct txn_field nlink = FS_F_NLINK;
	struct fs_key k;

	if (fs__is_held(op->fs, ino))
		return fs__if_inode_exists(op, ino);
	fs__key_inode(&k, ino);
	nlink.commutes = true;
	return txn_if_field_min(&op->m, fs__key_slice(&k), nlink, 1);
}

void fs__set_inode(struct fs_op *op, fs_ino ino, struct txn_field f, uint64_t v)
{
	struct fs_key k;
	uint8_t b[8];

	fs__key_inode(&k, ino);
	txn_set(&op->m, fs__key_slice(&k), f, field_bytes(b, f, v));
}

void fs__set_inode_now(struct fs_op *op, fs_ino ino, struct txn_field f)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_set_now(&op->m, fs__key_slice(&k), f);
}

void fs__put_reap(struct fs_op *op, uint64_t object, enum fs_reap_what what)
{
	struct fs_reap g = {.what = (uint8_t)what, .session = op->fs->b.session};
	uint8_t b[FS_REAP_SIZE];
	struct fs_key k;

	fs__key_reap(&k, object, (uint8_t)what);
	fs__reap_encode(b, &g);
	txn_put(&op->m, fs__key_slice(&k), slice_of(b, sizeof(b)));
	txn_set_now(&op->m, fs__key_slice(&k), FS_F_SINCE);
}

void fs__range_piece(const struct fs *fs, const struct fs_key *from, const struct fs_key *to,
		     struct fs_key *end)
{
	struct slice border = {0};

	fs->b.range(fs->b.ctx, fs__key_slice(from), &border);
	*end = *to;
	if (border.len > 0 && slice_cmp(border, fs__key_slice(to)) < 0) {
		end->len = 0;
		fs__key_bytes(end, border);
	}
}

uint32_t fs__if_range_empty(struct fs_op *op, const struct fs_key *from, const struct fs_key *to,
			    uint32_t *count)
{
	struct fs_key at = *from, end;
	uint32_t first = op->m.cond_count;

	*count = 0;
	while (slice_cmp(fs__key_slice(&at), fs__key_slice(to)) < 0) {
		fs__range_piece(op->fs, &at, to, &end);
		txn_if_range_empty(&op->m, fs__key_slice(&at), fs__key_slice(&end));
		(*count)++;
		at = end;
	}
	return first;
}

void fs__delete_range(struct fs_op *op, const struct fs_key *from, const struct fs_key *to)
{
	struct fs_key at = *from, end;

	while (slice_cmp(fs__key_slice(&at), fs__key_slice(to)) < 0) {
		fs__range_piece(op->fs, &at, to, &end);
		txn_delete_range(&op->m, fs__key_slice(&at), fs__key_slice(&end));
		at = end;
	}
}

/* ---- the directory in which a name is made ---- */

static int parent_usable(const struct fs_inode *rec)
{
	if (rec->type != FS_T_DIR)
		return ERR_NOT_DIR;
	return rec->nlink == 0 ? ERR_NOT_FOUND : 0;
}

int fs__parent_known(struct fs *fs, struct fs_parent *p)
{
	int err = fs__inode_known(fs, p->ino, &p->rec);

	if (err == ERR_STALE)
		return ERR_NOT_FOUND;
	return err ? err : parent_usable(&p->rec);
}

void fs__if_parent(struct fs_op *op, struct fs_parent *p)
{
	p->cond = fs__if_inode_u64(op, p->ino, FS_F_PERM_VERSION, p->rec.perm_version);
}

/* What an access list says is not in the record: then any change may have changed who may do what. */
static bool same_permissions(const struct fs_inode *a, const struct fs_inode *b)
{
	if (a->perm_version == b->perm_version)
		return true;
	return a->perm == b->perm && a->uid == b->uid && a->gid == b->gid &&
	       !((a->xattrs | b->xattrs) & FS_HAS_ACCESS_ACL);
}

int fs__parent_check(const struct fs_parent *p, const struct fs_inode *was)
{
	int err = parent_usable(&p->rec);

	if (!err && p->strict && !same_permissions(was, &p->rec))
		err = ERR_STALE;
	return err;
}

int fs__parent_changed(struct fs_op *op, struct fs_parent *p)
{
	struct fs_inode was = p->rec;
	int err = fs__op_current_inode(op, p->ino, &p->rec);

	if (!err)
		err = fs__parent_check(p, &was);
	if (err == ERR_NOT_FOUND)
		p->rec = was; /* a removed directory's version must not let the next try through */
	return err;
}
