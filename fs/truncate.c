/* Changing the size. No state shows bytes that lay beyond an end: they go in the transaction that
 * cuts. What a file holds behind its first stripe goes from the tail, stripe by stripe. */
#include "fs/fs_internal.h"

struct resize {
	fs_ino ino;
	uint64_t size; /* wanted */
	const struct fs_writer *writer;
	fs_also_fn *also;
	void *ctx;
	struct fs_inode rec; /* as known now */
	uint16_t perm;	     /* after the step, if it kills set-id bits */
	uint64_t stamp, fresh_id;
	struct fs_stripe_set far; /* of rec.data_id, for rec.data_version */
	bool far_known;
	bool sure; /* all of rec is as it was after the last step */
};

static int resizable(const struct fs_inode *rec)
{
	if (rec->type == FS_T_DIR)
		return ERR_IS_DIR;
	return rec->type == FS_T_FILE ? 0 : ERR_INVAL;
}

static void add_conditions(struct fs_op *op, const struct resize *z)
{
	fs__if_inode_u64(op, z->ino, FS_F_DATA_ID, z->rec.data_id);
	fs__if_inode_u64(op, z->ino, FS_F_SIZE, z->rec.size);
	if (z->far_known) /* a write could fill a hole without changing the size */
		fs__if_inode_u64(op, z->ino, FS_F_DATA_VERSION, z->rec.data_version);
	fs__add_capability_kill(op, z->ino, &z->rec);
}

/* Blocks behind @size within its stripe go, the block that it cuts is cut. */
static void add_cut(struct fs_op *op, uint64_t data_id, uint64_t size)
{
	uint64_t first = size / BLOCK_SIZE;
	struct fs_key from, to;

	if (size % BLOCK_SIZE != 0) {
		fs__key_block(&from, data_id, first);
		txn_cut(&op->m, fs__key_slice(&from), size % BLOCK_SIZE);
		first++;
	}
	if (first % FS_BLOCKS_PER_STRIPE == 0 && size % STRIPE_SIZE != 0)
		return; /* the cut block is the stripe's last */
	fs__range_blocks(&from, &to, data_id, first, UINT64_MAX);
	fs__delete_range(op, &from, &to);
}

/* The record comes with the change, as it was before: the rest of it may be newer than known. */
static void add_get(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
}

/* What writers rely on: that the file is not shorter than they know, and who has holes says so. */
static void add_marks(struct fs_op *op, const struct resize *z, uint64_t size)
{
	if (size < z->rec.size)
		fs__set_inode_now(op, z->ino, FS_F_CUT_VERSION);
	if (size == 0)
		fs__set_inode(op, z->ino, FS_F_HOLES, 0);
	else if (fs__leaves_gap(z->rec.size, fs__blocks_end(size)))
		fs__add_holes(op, z->ino);
}

static int stepped(struct fs_op *op, struct resize *z, uint64_t size, bool killed,
		   uint64_t data_id)
{
	int err = fs__inode_changed(op->fs, z->ino, fs__op_value(op, 0), &z->rec);

	if (err)
		return err;
	z->sure = fs__inode_written(&z->rec, killed ? &z->perm : NULL, op->r.stamp);
	if (size < z->rec.size)
		z->rec.cut_version = op->r.stamp;
	z->rec.holes = size > 0 && (z->rec.holes ||
				    fs__leaves_gap(z->rec.size, fs__blocks_end(size)));
	z->rec.size = size;
	z->rec.data_id = data_id;
	z->stamp = op->r.stamp;
	return 0;
}

/* One step on the way: sets the size to @size. */
static int step(struct fs_op *op, struct resize *z, uint64_t size)
{
	bool shrinks = size < z->rec.size, last = size == z->size, kills;
	int err;

	fs__op_reset(op);
	add_conditions(op, z);
	kills = fs__add_setid_kill(op, z->ino, &z->rec, z->writer, &z->perm);
	add_get(op, z->ino);
	if (shrinks)
		add_cut(op, z->rec.data_id, size);
	add_marks(op, z, size);
	fs__set_inode(op, z->ino, FS_F_SIZE, size);
	fs__add_write_times(op, z->ino);
	if (last && z->also)
		z->also(op, z->ctx);
	err = fs__op_exec(op);
	return err ? err : stepped(op, z, size, kills, z->rec.data_id);
}

/* To 0 by new, empty contents; the old ones are deleted later. */
static int start_over(struct fs_op *op, struct resize *z)
{
	uint64_t old = z->rec.data_id, counter;
	bool kills;
	int err = 0;

	if (!z->fresh_id) {
		err = fs__ino_next(op->fs, &counter);
		if (err)
			return err;
		z->fresh_id = fs__number(fs__place(z->ino), counter);
	}
	fs__op_reset(op);
	add_conditions(op, z);
	kills = fs__add_setid_kill(op, z->ino, &z->rec, z->writer, &z->perm);
	add_get(op, z->ino);
	fs__set_inode(op, z->ino, FS_F_DATA_ID, z->fresh_id);
	add_marks(op, z, 0);
	fs__set_inode(op, z->ino, FS_F_SIZE, 0);
	fs__add_write_times(op, z->ino);
	fs__put_reap(op, old, FS_REAP_DATA);
	if (z->also)
		z->also(op, z->ctx);
	err = fs__op_exec(op);
	if (!err)
		err = stepped(op, z, 0, kills, z->fresh_id);
	if (err)
		return err;
	fs__reap_later(op->fs, old, FS_REAP_DATA);
	return 0;
}

/* Needs to know which stripes hold data, of the very contents that the record describes. */
static int know_far(struct fs *fs, struct resize *z)
{
	int err;

	fs__stripes_release(&z->far);
	z->far_known = false;
	err = fs__inode_get(fs, z->ino, &z->rec);
	if (!err)
		err = fs__stripes_get(fs, z->rec.data_id, &z->far);
	z->far_known = err == 0;
	return err;
}

/* The last stripe with data that begins at or behind the wanted size, before the present one. */
static bool next_far(const struct resize *z, uint64_t *start)
{
	for (uint32_t i = z->far.count; i > 0; i--) {
		uint64_t at = z->far.stripes[i - 1] * STRIPE_SIZE;

		if (at < z->rec.size && at > z->size) {
			*start = at;
			return true;
		}
	}
	return false;
}

/* One transaction towards the goal; *done when it is reached. */
static int advance(struct fs_op *op, struct resize *z, bool *done)
{
	uint64_t start;
	int err;

	if (z->size == 0 && z->rec.size > FS_DELETE_NOW_MAX) {
		z->far_known = false;
		err = start_over(op, z);
		*done = !err;
		return err;
	}
	if (z->size < z->rec.size && z->rec.size > STRIPE_SIZE && !z->far_known) {
		err = know_far(op->fs, z);
		*done = false;
		return err;
	}
	if (z->far_known && next_far(z, &start))
		return step(op, z, start);
	err = step(op, z, z->size);
	*done = !err;
	return err;
}

static int refresh(struct fs_op *op, struct resize *z)
{
	int err = fs__op_current_inode(op, z->ino, &z->rec);

	z->far_known = false;
	return err == ERR_NOT_FOUND ? ERR_STALE : err;
}

static int run(struct fs_op *op, struct resize *z)
{
	bool done = false;
	int err = fs__inode_known(op->fs, z->ino, &z->rec);

	if (!err)
		err = resizable(&z->rec);
	while (!err && !done) {
		err = advance(op, z, &done);
		if (err == ERR_CONDITION) {
			err = refresh(op, z);
			if (!err)
				err = fs__op_conflict(op);
		} else if (fs__err_transient(err)) {
			err = fs__op_conflict(op);
		}
	}
	return err;
}

int fs__set_size(struct fs *fs, fs_ino ino, uint64_t epoch, uint64_t size,
		const struct fs_writer *w, fs_also_fn *also, void *ctx, struct fs_inode *rec,
		uint64_t *stamp)
{
	struct resize z = {.ino = ino, .size = size, .writer = w, .also = also, .ctx = ctx};
	struct fs_op op;
	int err;

	if (size > FS_FILE_SIZE_MAX)
		return ERR_FILE_TOO_BIG;
	fs__op_begin(&op, fs);
	op.epoch = epoch;
	op.guard = ino;
	err = run(&op, &z);
	fs__op_end(&op);
	fs__stripes_release(&z.far);
	if (err)
		return err;
	if (!z.sure) /* done it is: should the file be gone by now, it was as known */
		(void)fs__inode_get(fs, ino, &z.rec);
	fs__hint_inode_set(fs, ino, &z.rec);
	*rec = z.rec;
	*stamp = z.stamp;
	return 0;
}
