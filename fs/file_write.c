/* Writing: blocks, size and times in one transaction. */
#include "fs/fs_internal.h"

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

/* The bits are never cleared while the data id lives: once set by this node is enough. */
static void mark_stripes(struct fs_op *op, const struct fs_node *n, uint64_t offset, size_t len)
{
	uint64_t stripe = offset / STRIPE_SIZE;
	bool one = stripe == (offset + len - 1) / STRIPE_SIZE;

	if (one && n->marked_id == n->seen.data_id && n->marked_stripe == stripe)
		return;
	fs__add_stripes(op, n->seen.data_id, offset, len);
}

static void written(struct fs *fs, struct fs_node *n, uint64_t data_id, uint64_t end,
		    uint64_t stamp)
{
	struct fs_inode rec = n->seen;

	if (rec.data_id != data_id)
		return;
	n->marked_id = data_id;
	n->marked_stripe = (end - 1) / STRIPE_SIZE;
	rec.size = rec.size > end ? rec.size : end;
	rec.data_version++;
	rec.xattrs &= (uint8_t)~FS_HAS_CAPABILITY;
	rec.mtime_ns = rec.ctime_ns = (int64_t)stamp;
	fs__hint_inode_set(fs, n->ino, &rec);
}

static int try_write(struct fs_op *op, struct fs_node *n, uint64_t offset, struct slice data,
		     bool append)
{
	uint64_t data_id = n->seen.data_id, end = offset + data.len;
	struct fs_inode rec;
	struct fs_key k;
	int err;

	fs__op_reset(op);
	fs__if_inode_u64(op, n->ino, FS_F_DATA_ID, data_id);
	if (append)
		fs__if_inode_u64(op, n->ino, FS_F_SIZE, offset);
	fs__add_capability_kill(op, n->ino, &n->seen);
	fs__add_blocks(op, data_id, offset, data);
	mark_stripes(op, n, offset, data.len);
	fs__key_inode(&k, n->ino);
	txn_max(&op->m, fs__key_slice(&k), FS_F_SIZE, end);
	fs__add_write_times(op, n->ino);
	err = fs__op_exec(op);
	if (!err)
		written(op->fs, n, data_id, end, op->r.stamp);
	if (err != ERR_CONDITION)
		return err;
	err = fs__op_current_inode(op, n->ino, &rec); /* into n->seen, too */
	if (err)
		return err == ERR_NOT_FOUND ? ERR_STALE : err;
	return ERR_ABORTED;
}

/* At most WRITE_SIZE_MAX bytes: one transaction. */
static int write_piece(struct fs_file *f, uint64_t offset, struct slice data, uint64_t *end)
{
	bool append = f->flags & FS_O_APPEND;
	struct fs_op op;
	int err;

	fs__op_begin(&op, f->fs);
	for (;;) {
		if (append)
			offset = f->node->seen.size;
		if (offset > FS_FILE_SIZE_MAX || data.len > FS_FILE_SIZE_MAX - offset)
			err = ERR_FILE_TOO_BIG;
		else
			err = try_write(&op, f->node, offset, data, append);
		if (!fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	if (!err)
		*end = offset + data.len;
	return err;
}

int fs_write(struct fs_file *f, uint64_t offset, struct slice data, uint64_t *end)
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
		int err = write_piece(f, at, slice_of(data.p, n), &at);

		if (err)
			return err;
		data = slice_of(data.p + n, data.len - n);
	}
	if (end)
		*end = at;
	return 0;
}
