/* Writing: blocks, size and times in one transaction. */
#include "fs/fs_internal.h"

#define GAP_TRIES_MAX 3u /* to learn the exact end, before a file is marked that may have no gap */

void fs__add_blocks(struct fs_op *op, uint64_t data_id, uint64_t offset, struct slice data)
{
	struct fs_key k;

	while (data.len > 0) {
		uint64_t block = offset / BLOCK_SIZE;
		size_t at = offset % BLOCK_SIZE;
		size_t n = BLOCK_SIZE - at < data.len ? BLOCK_SIZE - at : data.len;

		fs__key_block(&k, data_id, block);
		if (n == BLOCK_SIZE)
			txn_put_ref(&op->m, fs__key_slice(&k), slice_of(data.p, n));
		else
			txn_patch_ref(&op->m, fs__key_slice(&k), at, slice_of(data.p, n));
		offset += n;
		data = slice_of(data.p + n, data.len - n);
	}
}

static bool all_zeros(struct slice s)
{
	return s.len == 0 || (s.p[0] == 0 && memcmp(s.p, s.p + 1, s.len - 1) == 0);
}

/* As fs__add_blocks, but whole blocks of zeros are deleted. True: there were any. */
static bool add_sparse(struct fs_op *op, const struct fs_node *node, uint64_t offset, struct slice data)
{
	uint64_t data_id = node->seen.data_id;
	bool gaps = false;
	struct fs_key k;

	while (data.len > 0) {
		size_t at = offset % BLOCK_SIZE;
		size_t n = BLOCK_SIZE - at < data.len ? BLOCK_SIZE - at : data.len;
		struct slice part = slice_of(data.p, n);

		if (n == BLOCK_SIZE && all_zeros(part)) {
			fs__key_block(&k, data_id, offset / BLOCK_SIZE);
			txn_delete(&op->m, fs__key_slice(&k));
			gaps = true;
		} else {
			fs__add_blocks(op, data_id, offset, part);
		}
		offset += n;
		data = slice_of(data.p + n, data.len - n);
	}
	if (gaps)
		fs__add_holes(op, node->ino);
	return gaps;
}

/* The bits are never cleared while the data id lives: once set by this node is enough. */
static void mark_stripes(struct fs_op *op, const struct fs_node *n, uint64_t offset, size_t len)
{
	uint64_t stripe = offset / STRIPE_SIZE;
	bool one = stripe == (offset + len - 1) / STRIPE_SIZE;

	if (one && n->marked_id == n->seen.data_id && n->marked_stripe == stripe)
		return;
	fs__add_stripes(op, n->seen.data_id, offset, len);
}

bool fs__add_setid_kill(struct fs_op *op, fs_ino ino, const struct fs_inode *rec,
			const struct fs_writer *w, uint16_t *perm)
{
	if (!w)
		return false;
	fs__if_inode_u64(op, ino, FS_F_PERM_VERSION, rec->perm_version);
	*perm = rec->perm & (uint16_t)~S_ISUID;
	if (*perm & S_ISGID && (*perm & S_IXGRP || !w->in_group(w->ctx, rec->gid)))
		*perm &= (uint16_t)~S_ISGID;
	if (*perm == rec->perm)
		return false;
	fs__set_inode(op, ino, FS_F_PERM, *perm);
	fs__set_inode_now(op, ino, FS_F_PERM_VERSION);
	return true;
}

/* What a write does to the record, apart from its times; and what it relied on. */
struct effect {
	uint64_t data_id, cut_version, perm_version, looks;
	uint8_t xattrs;
	uint64_t end;
	bool kills, gap;
	uint16_t perm; /* then */
};

static struct effect effect_of(const struct fs_node *n, uint64_t end)
{
	return (struct effect){.data_id = n->seen.data_id,
			       .cut_version = n->seen.cut_version,
			       .perm_version = n->seen.perm_version,
			       .xattrs = n->seen.xattrs,
			       .looks = n->looks,
			       .end = end};
}

/* The answer may be late: what is known by now may be of before the write or of after it, and may
 * have been cut since. What is made of it must be no mixture: with this cut version the file was once
 * so long, and the data version is not above the true one at the write (reads rely on it). */
static void written(struct fs *fs, struct fs_node *n, const struct effect *x, uint64_t stamp)
{
	struct fs_inode rec = n->seen;

	if (rec.data_id != x->data_id)
		return;
	n->marked_id = x->data_id;
	n->marked_stripe = (x->end - 1) / STRIPE_SIZE;
	if (rec.cut_version != x->cut_version)
		return;
	rec.size = rec.size > x->end ? rec.size : x->end;
	if (x->kills && rec.perm_version == x->perm_version) {
		rec.perm = x->perm;
		rec.perm_version = stamp;
	}
	rec.holes = rec.holes || x->gap;
	rec.data_version += n->looks == x->looks;
	if (rec.xattrs == x->xattrs)
		rec.xattrs &= (uint8_t)~FS_HAS_CAPABILITY;
	(void)fs__touched(&rec.mtime_ns, stamp);
	(void)fs__touched(&rec.ctime_ns, stamp);
	fs__hint_inode_suppose(fs, n->ino, &rec);
}

/* A write behind the end leaves a gap if the file is as short as it is believed to be: it is not
 * shorter, by the condition on its last cut; it may be longer. After some tries it is marked anyway. */
static bool add_gap(struct fs_op *op, const struct fs_node *n, uint64_t offset, bool append)
{
	const struct fs_inode *rec = &n->seen;

	if (!fs__leaves_gap(rec->size, offset))
		return false;
	if (!append && !rec->holes && op->conflicts < GAP_TRIES_MAX)
		fs__if_inode_u64(op, n->ino, FS_F_SIZE, rec->size);
	fs__add_holes(op, n->ino);
	return true;
}

static int try_write(struct fs_op *op, struct fs_node *n, uint64_t offset, struct slice data,
		     const struct fs_write_how *how)
{
	struct effect x = effect_of(n, offset + data.len);
	uint64_t data_id = x.data_id;
	struct fs_inode rec;
	struct fs_key k;
	int err;

	fs__op_reset(op);
	fs__if_inode_u64(op, n->ino, FS_F_DATA_ID, data_id);
	fs__if_inode_u64(op, n->ino, FS_F_CUT_VERSION, n->seen.cut_version);
	fs__key_inode(&k, n->ino);
	if (how->within && x.end < n->seen.size)
		txn_if_field_min(&op->m, fs__key_slice(&k), FS_F_SIZE, x.end);
	else if (how->within) /* it may have been cut at this size */
		fs__if_inode_u64(op, n->ino, FS_F_SIZE, n->seen.size);
	else if (how->append)
		fs__if_inode_u64(op, n->ino, FS_F_SIZE, offset);
	fs__add_capability_kill(op, n->ino, &n->seen);
	x.kills = fs__add_setid_kill(op, n->ino, &n->seen, how->writer, &x.perm);
	x.gap = add_gap(op, n, offset, how->append);
	if (how->sparse)
		x.gap |= add_sparse(op, n, offset, data);
	else
		fs__add_blocks(op, data_id, offset, data);
	mark_stripes(op, n, offset, data.len);
	txn_max(&op->m, fs__key_slice(&k), FS_F_SIZE, x.end);
	fs__add_write_times(op, n->ino);
	err = fs__op_exec(op);
	if (!err)
		written(op->fs, n, &x, op->r.stamp);
	if (err != ERR_CONDITION)
		return err;
	err = fs__op_current_inode(op, n->ino, &rec); /* into n->seen, too */
	if (err)
		return err == ERR_NOT_FOUND ? ERR_STALE : err;
	return ERR_ABORTED;
}

/* What of @data lies before the end, if it has to; nothing: as long as the file is so short. */
static int cut_at_end(struct fs *fs, struct fs_node *n, uint64_t offset, struct slice *data)
{
	struct fs_inode rec;
	int err = 0;

	if (n->seen.size <= offset) /* what is known may be old, and no transaction would tell */
		err = fs__inode_get(fs, n->ino, &rec); /* into n->seen, too */
	if (err)
		return err;
	if (n->seen.size <= offset)
		data->len = 0;
	else if (data->len > n->seen.size - offset)
		data->len = (size_t)(n->seen.size - offset);
	return 0;
}

static int try_piece(struct fs_op *op, struct fs_node *n, uint64_t offset, struct slice *data,
		     const struct fs_write_how *how)
{
	if (offset > FS_FILE_SIZE_MAX || data->len > FS_FILE_SIZE_MAX - offset)
		return ERR_FILE_TOO_BIG;
	if (how->within) {
		int err = cut_at_end(op->fs, n, offset, data);

		if (err || data->len == 0)
			return err;
	}
	return try_write(op, n, offset, *data, how);
}

/* At most WRITE_SIZE_MAX bytes: one transaction. */
static int write_piece(struct fs_file *f, uint64_t epoch, uint64_t offset, struct slice data,
		       const struct fs_write_how *how, uint64_t *end)
{
	struct slice now;
	struct fs_op op;
	int err;

	fs__op_begin(&op, f->fs);
	op.epoch = epoch;
	op.guard = f->node->ino;
	for (;;) {
		if (how->append && !how->within)
			offset = f->node->seen.size;
		now = data;
		err = try_piece(&op, f->node, offset, &now, how);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	if (!err)
		*end = offset + now.len;
	return err;
}

static int write_range(struct fs_file *f, uint64_t epoch, uint64_t offset, struct slice data,
		       const struct fs_write_how *how, uint64_t *end)
{
	uint64_t at = offset;

	if (f->fs->o.read_only)
		return ERR_READ_ONLY;
	if (!(f->flags & FS_O_WRITE))
		return ERR_BAD_HANDLE;
	if (f->node->seen.type != FS_T_FILE)
		return ERR_INVAL;
	while (data.len > 0) {
		size_t n = data.len < WRITE_SIZE_MAX ? data.len : WRITE_SIZE_MAX;
		uint64_t from = at;
		int err = write_piece(f, epoch, at, slice_of(data.p, n), how, &at);

		if (err)
			return err;
		if (how->within && at - from < n)
			break; /* the end */
		data = slice_of(data.p + n, data.len - n);
	}
	if (end)
		*end = at;
	return 0;
}

int fs__write_since(struct fs_file *f, uint64_t epoch, uint64_t offset, struct slice data,
		    const struct fs_write_how *how, uint64_t *end)
{
	int err = fs_file_lost_lock(f);

	if (!err)
		err = write_range(f, epoch, offset, data, how, end);
	return fs__file_leave(f, err);
}

int fs_write_how(struct fs_file *f, uint64_t offset, struct slice data,
		 const struct fs_write_how *how, uint64_t *end)
{
	uint64_t epoch = f->fs->epoch;

	if (how->within) /* by the kernel: nobody would learn of it in this way */
		return fs__untold(f->node, f->fs) ? ERR_LOCK_LOST
						  : write_range(f, epoch, offset, data, how, end);
	return fs__write_since(f, epoch, offset, data, how, end);
}

int fs_write(struct fs_file *f, uint64_t offset, struct slice data, uint64_t *end)
{
	struct fs_write_how how = {.append = f->flags & FS_O_APPEND};

	return fs_write_how(f, offset, data, &how, end);
}
