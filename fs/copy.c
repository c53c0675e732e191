/* copy_file_range(2): from file to file without the kernel in between. */
#include "fs/fs_internal.h"

/* The part of a hole that is looked for at once; the rest is another piece. */
#define HOLE_MAX (16 * STRIPE_SIZE)

struct copy {
	struct fs_file *from, *to;
	uint64_t epoch; /* in which the call began */
	uint64_t offset, to_offset, left, done;
	const struct fs_writer *writer;
	struct fs_inode rec; /* of the source */
	struct buf data;
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* One that ends with the source's stripe, and the target's blocks where it can. */
static size_t piece_len(const struct copy *c)
{
	uint64_t n = least(c->left, WRITE_SIZE_MAX - c->to_offset % BLOCK_SIZE);

	return (size_t)least(n, STRIPE_SIZE - c->offset % STRIPE_SIZE);
}

static void advance(struct copy *c, uint64_t n)
{
	c->offset += n;
	c->to_offset += n;
	c->left -= n;
	c->done += n;
}

/* *hole: how many bytes from here on are in no block, of those that are wanted and there are. */
static int hole_here(struct copy *c, uint64_t *hole)
{
	struct fs *fs = c->from->fs;
	uint64_t end, data;
	int err = fs__inode_get(fs, c->from->node->ino, &c->rec);

	*hole = 0;
	if (err || !c->rec.holes || c->offset >= c->rec.size)
		return err;
	end = least(c->rec.size, c->offset + least(c->left, HOLE_MAX));
	err = fs_seek(fs, c->from->node->ino, c->offset, false, &data);
	if (err && err != ERR_NO_DATA)
		return err;
	if (err || data > end)
		data = end;
	*hole = data - c->offset;
	return 0;
}

static int copy_hole(struct copy *c, uint64_t n)
{
	struct fs_file *to = c->to;
	int err = fs__punch(to->fs, to->node->ino, c->epoch, c->to_offset, c->to_offset + n,
			    c->writer);

	if (!err)
		err = fs__extend(to->fs, to->node, c->epoch, c->to_offset + n, c->writer);
	if (!err)
		advance(c, n);
	return fs__file_leave(to, err);
}

static int copy_data(struct copy *c, bool *end)
{
	size_t n = piece_len(c);
	struct fs_write_how how = {.sparse = true, .writer = c->writer};
	uint64_t at;
	int err;

	buf_reset(&c->data);
	err = fs__read_stripe(c->from->fs, c->from->node->ino, &c->rec, c->offset, n, &c->data);
	*end = !err && c->data.len < n;
	if (!err)
		err = fs_file_lost_lock(c->from); /* it was read without the lock, perhaps */
	if (!err && c->data.len > 0)
		err = fs__write_since(c->to, c->epoch, c->to_offset, buf_slice(&c->data), &how, &at);
	if (!err)
		advance(c, c->data.len);
	return err;
}

static int copy_all(struct copy *c)
{
	uint64_t hole;
	bool end = false;
	int err = 0;

	while (!err && !end && c->left > 0) {
		if (fiber_interrupted())
			return ERR_INTERRUPTED;
		err = hole_here(c, &hole);
		if (!err)
			err = fs_file_lost_lock(c->from);
		if (!err && hole >= BLOCK_SIZE)
			err = copy_hole(c, hole);
		else if (!err)
			err = copy_data(c, &end);
	}
	return err;
}

static int check(const struct copy *c)
{
	if (c->to->fs->o.read_only)
		return ERR_READ_ONLY;
	if (!(c->from->flags & FS_O_READ) || !(c->to->flags & FS_O_WRITE) || c->to->flags & FS_O_APPEND)
		return ERR_BAD_HANDLE;
	if (c->from->node->seen.type == FS_T_DIR || c->to->node->seen.type == FS_T_DIR)
		return ERR_IS_DIR;
	if (c->from->node->seen.type != FS_T_FILE || c->to->node->seen.type != FS_T_FILE)
		return ERR_INVAL;
	return c->to_offset >= FS_FILE_SIZE_MAX ? ERR_FILE_TOO_BIG : 0;
}

/* The source ends where it ends now: within one file, the copy may make it longer. */
static int clamp(struct copy *c)
{
	int err = fs__inode_get(c->from->fs, c->from->node->ino, &c->rec);

	if (err)
		return err;
	c->left = c->offset < c->rec.size ? least(c->left, c->rec.size - c->offset) : 0;
	c->left = least(c->left, FS_FILE_SIZE_MAX - c->to_offset);
	if (c->from->node == c->to->node && c->offset < c->to_offset + c->left &&
	    c->to_offset < c->offset + c->left)
		return ERR_INVAL;
	return 0;
}

int fs_copy_range(struct fs_file *from, uint64_t offset, struct fs_file *to, uint64_t to_offset,
		  uint64_t len, const struct fs_writer *w, uint64_t *copied)
{
	struct copy c = {.from = from,
			 .to = to,
			 .epoch = from->fs->epoch,
			 .offset = offset,
			 .to_offset = to_offset,
			 .left = len,
			 .writer = w};
	int err;

	err = check(&c);
	if (!err)
		err = fs_file_lost_lock(from);
	if (!err)
		err = fs_file_lost_lock(to);
	if (!err)
		err = clamp(&c);
	if (!err)
		err = copy_all(&c);
	buf_release(&c.data);
	if (!err || c.done > 0)
		err = err == ERR_LOCK_LOST ? err : fs_file_lost_lock(from);
	if (c.done > 0)
		fs__atime_read(from->fs, from->node);
	if (!err)
		*copied = c.done;
	return err;
}
