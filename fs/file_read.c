/* Reading: inode and blocks of one moment. */
#include "fs/fs_internal.h"

#define READ_SIZE_MAX  WRITE_SIZE_MAX
#define FAR_TRIES_MAX  4u /* of the two-request way, before one transaction over both groups */

static uint32_t block_count(uint64_t offset, size_t len)
{
	return (uint32_t)((offset + len - 1) / BLOCK_SIZE - offset / BLOCK_SIZE + 1);
}

static void get_blocks(struct fs_op *op, uint64_t data_id, uint64_t offset, size_t len)
{
	uint64_t first = offset / BLOCK_SIZE;
	uint32_t n = block_count(offset, len);
	struct fs_key k;

	for (uint32_t i = 0; i < n; i++) {
		fs__key_block(&k, data_id, first + i);
		txn_get(&op->m, fs__key_slice(&k));
	}
}

static void get_inode(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
}

/* Bytes [offset, end) from the blocks that reads @from.. returned; absent ones are zeros. */
static int take_blocks(const struct fs_op *op, uint32_t from, uint64_t offset, uint64_t end,
		       struct buf *out)
{
	uint64_t first = offset / BLOCK_SIZE;

	while (offset < end) {
		uint64_t block = offset / BLOCK_SIZE;
		size_t at = offset % BLOCK_SIZE;
		size_t n = BLOCK_SIZE - at < end - offset ? BLOCK_SIZE - at : (size_t)(end - offset);
		const struct txn_value *v = fs__op_value(op, from + (uint32_t)(block - first));
		size_t have = 0;

		if (v->status && v->status != ERR_NOT_FOUND)
			return v->status;
		if (!v->status && v->value.len > at)
			have = v->value.len - at < n ? v->value.len - at : n;
		if (have > 0)
			buf_add(out, v->value.p + at, have);
		buf_add_zeros(out, n - have);
		offset += n;
	}
	return buf_ok(out) ? 0 : ERR_NOMEM;
}

static int take_inode(struct fs_op *op, fs_ino ino, uint32_t read, struct fs_inode *rec)
{
	int err = fs__inode_take(op->fs, ino, fs__op_value(op, read), rec);

	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

static uint64_t clamp_end(const struct fs_inode *rec, uint64_t offset, size_t len)
{
	uint64_t end = offset + len;

	return rec->size < end ? rec->size : end;
}

/* Inode and blocks in one transaction. ERR_ABORTED: the data id was another one. */
static int read_together(struct fs_op *op, fs_ino ino, struct fs_inode *rec, uint64_t offset,
			 size_t len, struct buf *out)
{
	uint64_t data_id = rec->data_id;
	int err;

	fs__op_reset(op);
	get_inode(op, ino);
	get_blocks(op, data_id, offset, len);
	err = fs__op_read(op);
	if (!err)
		err = take_inode(op, ino, 0, rec);
	if (err)
		return err;
	if (rec->data_id != data_id)
		return ERR_ABORTED;
	return take_blocks(op, 1, offset, clamp_end(rec, offset, len), out);
}

/* Blocks of another group, then the inode: they belong together if the inode is what it was before
 * the blocks were read. */
static int read_apart(struct fs_op *op, fs_ino ino, struct fs_inode *rec, uint64_t offset,
		      size_t len, struct buf *out)
{
	struct fs_inode before = *rec;
	size_t mark = out->len;
	int err;

	fs__op_reset(op);
	get_blocks(op, before.data_id, offset, len);
	err = fs__op_read(op);
	if (!err)
		err = take_blocks(op, 0, offset, clamp_end(&before, offset, len), out);
	if (err)
		return err;
	err = fs__inode_get(op->fs, ino, rec);
	if (!err && (rec->data_version != before.data_version || rec->data_id != before.data_id))
		err = ERR_ABORTED;
	if (err)
		buf_resize(out, mark);
	return err;
}

int fs__read_stripe(struct fs *fs, fs_ino ino, struct fs_inode *rec, uint64_t offset, size_t len,
		    struct buf *out)
{
	bool far = offset >= STRIPE_SIZE;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	for (;;) {
		if (far && op.conflicts < FAR_TRIES_MAX)
			err = read_apart(&op, ino, rec, offset, len, out);
		else
			err = read_together(&op, ino, rec, offset, len, out);
		if (err != ERR_ABORTED)
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	return err;
}

static int readable(const struct fs_file *f)
{
	if (!(f->flags & FS_O_READ))
		return ERR_BAD_HANDLE;
	if (f->node->seen.type == FS_T_DIR)
		return ERR_IS_DIR;
	return f->node->seen.type == FS_T_FILE ? 0 : ERR_INVAL;
}

static int read_range(struct fs_file *f, uint64_t offset, size_t len, struct buf *out)
{
	struct fs_inode rec = f->node->seen;
	int err = readable(f);

	if (err)
		return err;
	buf_reset(out);
	if (offset >= FS_FILE_SIZE_MAX)
		return 0;
	if (len > FS_FILE_SIZE_MAX - offset)
		len = (size_t)(FS_FILE_SIZE_MAX - offset);
	while (len > 0) {
		size_t before = out->len;
		uint64_t in_stripe = STRIPE_SIZE - offset % STRIPE_SIZE;
		size_t n = len < READ_SIZE_MAX ? len : READ_SIZE_MAX;

		if (n > in_stripe)
			n = (size_t)in_stripe;
		err = fs__read_stripe(f->fs, f->node->ino, &rec, offset, n, out);
		if (err)
			return err;
		if (out->len - before < n)
			break;
		offset += n;
		len -= n;
	}
	return 0;
}

int fs_read_noatime(struct fs_file *f, uint64_t offset, size_t len, struct buf *out)
{
	uint64_t epoch;
	int err = fs__file_enter(f, &epoch);

	if (!err)
		err = read_range(f, offset, len, out);
	return err ? err : fs_file_lost_lock(f); /* it was read without the lock, perhaps */
}

int fs_read_pages(struct fs_file *f, uint64_t offset, size_t len, bool atime, struct buf *out)
{
	int err = f->lock_lost ? ERR_LOCK_LOST : read_range(f, offset, len, out);

	if (!err && f->lock_lost)
		err = ERR_LOCK_LOST;
	if (err == ERR_LOCK_LOST)
		fs__file_leave_pages(f, offset, offset + len);
	if (!err && atime && offset < FS_FILE_SIZE_MAX)
		fs__atime_read(f->fs, f->node);
	return err;
}

int fs_read(struct fs_file *f, uint64_t offset, size_t len, struct buf *out)
{
	int err = fs_read_noatime(f, offset, len, out);

	if (!err && offset < FS_FILE_SIZE_MAX)
		fs__atime_read(f->fs, f->node);
	return err;
}
