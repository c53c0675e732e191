/* fallocate(2). Blocks are never there before they are written, so room cannot be kept: the calls that
 * would are those that only look whether there is any. What is zeroed is deleted, a stripe at a time. */
#include "fs/fs_internal.h"

struct punch {
	fs_ino ino;
	uint64_t offset, end; /* wanted */
	const struct fs_writer *writer;
	struct fs_inode rec;  /* as known now */
	struct fs_stripe_set far; /* of rec.data_id: what is not in it was empty after the call began */
	bool known, changed;
};

/* ---- the part of one stripe ---- */

/* Whatever others write meanwhile, the transaction zeroes what it finds: its conditions are only on
 * the edges. Of the block in which the range begins the rest is cut off: a short block reads as zeros.
 * The one in which it ends is PATCHed, if it is there; but no block may reach beyond the file's end. */
struct part {
	uint64_t offset, end;	/* bytes */
	uint64_t first, last;	/* whole blocks [first, last) go */
	bool head;		/* block first - 1 is cut at `offset` */
	uint64_t zeros, zeros_end; /* bytes of one block of which the end stays; equal: there is none */
	bool there;		/* that block */
};

static void part_init(struct part *p, uint64_t offset, uint64_t end)
{
	*p = (struct part){.offset = offset, .end = end};
	p->first = fs__blocks_end(offset) / BLOCK_SIZE;
	p->last = end / BLOCK_SIZE;
	p->zeros_end = end;
	if (p->last < p->first) { /* all within one block, of which both ends stay */
		p->last = p->first;
		p->zeros = offset;
		return;
	}
	p->head = offset % BLOCK_SIZE != 0;
	p->zeros = p->last * BLOCK_SIZE;
}

static bool has_zeros(const struct part *p)
{
	return p->zeros < p->zeros_end;
}

/* Is the block whose end stays there at all? Zeros are not written where nothing is. */
static int part_look(struct fs_op *op, const struct fs_inode *rec, struct part *p)
{
	uint64_t block = p->zeros / BLOCK_SIZE;
	struct fs_key from, to;
	int err;

	if (!has_zeros(p))
		return 0;
	fs__op_reset(op);
	fs__range_blocks(&from, &to, rec->data_id, block, block + 1);
	txn_scan_keys(&op->m, fs__key_slice(&from), fs__key_slice(&to), 1);
	err = fs__op_read(op);
	if (!err)
		p->there = op->r.reads[0].item_count > 0;
	return err;
}

/* The block whose end stays. True: it is taken away, for the file ends in the range. */
static bool add_zeros(struct fs_op *op, fs_ino ino, const struct fs_inode *rec, const struct part *p)
{
	static const uint8_t zeros[BLOCK_SIZE];
	struct fs_key block, inode;

	fs__key_inode(&inode, ino);
	fs__key_block(&block, rec->data_id, p->zeros / BLOCK_SIZE);
	if (!p->there) {
		txn_if_absent(&op->m, fs__key_slice(&block));
		return false;
	}
	txn_if_exists(&op->m, fs__key_slice(&block));
	if (rec->size > p->zeros_end) {
		txn_if_field_min(&op->m, fs__key_slice(&inode), FS_F_SIZE, p->zeros_end + 1);
		fs__add_blocks(op, rec->data_id, p->zeros,
			       slice_of(zeros, (size_t)(p->zeros_end - p->zeros)));
		return false;
	}
	fs__if_inode_u64(op, ino, FS_F_SIZE, rec->size);
	if (p->zeros % BLOCK_SIZE == 0)
		txn_delete(&op->m, fs__key_slice(&block));
	else
		txn_cut(&op->m, fs__key_slice(&block), p->zeros % BLOCK_SIZE);
	return p->zeros % BLOCK_SIZE == 0;
}

/* True: blocks were taken away. */
static bool part_add(struct fs_op *op, fs_ino ino, const struct fs_inode *rec, const struct part *p)
{
	bool holes = p->first < p->last;
	struct fs_key from, to;

	if (p->head) {
		fs__key_block(&from, rec->data_id, p->offset / BLOCK_SIZE);
		txn_cut(&op->m, fs__key_slice(&from), p->offset % BLOCK_SIZE);
	}
	if (p->first < p->last) {
		fs__range_blocks(&from, &to, rec->data_id, p->first, p->last);
		fs__delete_range(op, &from, &to);
	}
	if (has_zeros(p))
		holes |= add_zeros(op, ino, rec, p);
	return holes;
}

/* ---- the file ---- */

static int usable(const struct fs_inode *rec)
{
	if (rec->type == FS_T_DIR)
		return ERR_IS_DIR;
	return rec->type == FS_T_FILE ? 0 : ERR_INVAL;
}

static int know(struct fs *fs, struct punch *z)
{
	int err = fs__inode_get(fs, z->ino, &z->rec);

	fs__stripes_release(&z->far);
	if (!err)
		err = usable(&z->rec);
	if (!err && z->rec.size > STRIPE_SIZE)
		err = fs__stripes_get(fs, z->rec.data_id, &z->far);
	z->known = err == 0;
	return err;
}

/* The next part that may hold data, from @offset on. False: none. */
static bool next_part(const struct punch *z, uint64_t offset, struct part *p)
{
	uint64_t stripe = offset / STRIPE_SIZE, found = stripe == 0 ? 0 : UINT64_MAX, start, end;

	for (uint32_t i = 0; found == UINT64_MAX && i < z->far.count; i++)
		if (z->far.stripes[i] >= stripe)
			found = z->far.stripes[i];
	if (found > z->rec.size / STRIPE_SIZE)
		return false;
	start = found * STRIPE_SIZE > offset ? found * STRIPE_SIZE : offset;
	end = (found + 1) * STRIPE_SIZE < z->end ? (found + 1) * STRIPE_SIZE : z->end;
	if (start >= end || start >= z->rec.size)
		return false;
	part_init(p, start, end);
	return true;
}

/* As next_part; but a range within the file has at least one, if only for the times. */
static bool part_to_do(const struct punch *z, uint64_t offset, struct part *p)
{
	if (offset >= z->end)
		return false;
	if (next_part(z, offset, p))
		return true;
	*p = (struct part){.offset = offset, .end = z->end};
	return !z->changed && z->offset < z->rec.size;
}

static void add_record(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
}

static int punched(struct fs_op *op, struct punch *z, bool holes, const uint16_t *perm)
{
	struct fs_inode rec;
	int err = fs__inode_take(op->fs, z->ino, fs__op_value(op, 0), &rec);

	if (err)
		return err;
	fs__inode_written(&rec, perm, op->r.stamp);
	rec.holes = rec.holes || holes;
	fs__hint_inode_set(op->fs, z->ino, &rec);
	z->rec = rec;
	z->changed = true;
	return 0;
}

static int punch_part(struct fs_op *op, struct punch *z, struct part *p)
{
	bool holes, kills;
	uint16_t perm;
	int err = part_look(op, &z->rec, p);

	if (err)
		return err;
	fs__op_reset(op);
	fs__if_inode_u64(op, z->ino, FS_F_DATA_ID, z->rec.data_id);
	fs__add_capability_kill(op, z->ino, &z->rec);
	kills = fs__add_setid_kill(op, z->ino, &z->rec, z->writer, &perm);
	add_record(op, z->ino);
	holes = part_add(op, z->ino, &z->rec, p);
	if (holes)
		fs__add_holes(op, z->ino);
	fs__add_write_times(op, z->ino);
	err = fs__op_exec(op);
	return err ? err : punched(op, z, holes, kills ? &perm : NULL);
}

/* Stripe after stripe; when the file has changed meanwhile, on from where it was. */
static int punch_all(struct fs_op *op, struct punch *z)
{
	uint64_t at = z->offset;
	struct part p;
	int err = 0;

	while (!err) {
		if (!z->known)
			err = know(op->fs, z);
		if (err || !part_to_do(z, at, &p))
			break;
		err = punch_part(op, z, &p);
		if (!err) {
			at = p.end;
			op->conflicts = 0;
			continue;
		}
		if (err != ERR_CONDITION && !fs__err_transient(err))
			break;
		z->known = false;
		err = fs__op_conflict(op);
	}
	return err;
}

int fs__punch(struct fs *fs, fs_ino ino, uint64_t epoch, uint64_t offset, uint64_t end,
	      const struct fs_writer *w)
{
	struct punch z = {.ino = ino, .offset = offset, .end = end, .writer = w};
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	op.epoch = epoch;
	op.guard = ino;
	err = punch_all(&op, &z);
	fs__op_end(&op);
	fs__stripes_release(&z.far);
	return err;
}

/* ---- the size ---- */

static int try_extend(struct fs_op *op, struct fs_node *n, uint64_t end, const struct fs_writer *w)
{
	struct fs_inode rec = n->seen;
	bool longer = end > rec.size, gap = fs__leaves_gap(rec.size, fs__blocks_end(end));
	struct fs_key k;
	uint16_t perm;
	int err;

	fs__op_reset(op);
	fs__if_inode_u64(op, n->ino, FS_F_DATA_ID, rec.data_id);
	fs__if_inode_u64(op, n->ino, FS_F_CUT_VERSION, rec.cut_version);
	if (longer)
		fs__if_inode_u64(op, n->ino, FS_F_SIZE, rec.size);
	fs__add_capability_kill(op, n->ino, &rec);
	(void)fs__add_setid_kill(op, n->ino, &rec, w, &perm);
	add_record(op, n->ino);
	if (longer && gap)
		fs__add_holes(op, n->ino);
	fs__key_inode(&k, n->ino);
	if (longer)
		txn_max(&op->m, fs__key_slice(&k), FS_F_SIZE, end);
	fs__add_write_times(op, n->ino);
	err = fs__op_exec(op);
	if (!err) {
		fs__hint_inode_drop(op->fs, n->ino);
		return fs__inode_get(op->fs, n->ino, &rec); /* a second request; a rare call */
	}
	if (err != ERR_CONDITION)
		return err;
	err = fs__op_current_inode(op, n->ino, &rec); /* into n->seen, too */
	if (err)
		return err == ERR_NOT_FOUND ? ERR_STALE : err;
	return ERR_ABORTED;
}

int fs__extend(struct fs *fs, struct fs_node *n, uint64_t epoch, uint64_t end,
	       const struct fs_writer *w)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	op.epoch = epoch;
	op.guard = n->ino;
	do {
		err = try_extend(&op, n, end, w);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err;
}

/* For what lies behind the present end. */
static int room_for(struct fs *fs, const struct fs_inode *rec, uint64_t offset, uint64_t end)
{
	uint64_t from = offset > rec->size ? offset : rec->size;
	struct fs_statfs s;
	int err = end > from ? fs_statfs(fs, &s) : 0;

	if (err || end <= from)
		return err == ERR_INTERRUPTED ? err : 0;
	return (end - from) / s.block_size > s.blocks_free ? ERR_NOSPACE : 0;
}

static int allocate(struct fs_file *f, uint64_t epoch, unsigned mode, uint64_t offset, uint64_t len,
		    const struct fs_writer *w)
{
	unsigned what = mode & ~FS_FALLOC_KEEP_SIZE;
	int err = FS_READ_ONLY_CHECK(f->fs);

	if (!err && !(f->flags & FS_O_WRITE))
		err = ERR_BAD_HANDLE;
	if (!err)
		err = usable(&f->node->seen);
	if (!err && len == 0)
		err = ERR_INVAL;
	if (!err && (offset > FS_FILE_SIZE_MAX || len > FS_FILE_SIZE_MAX - offset))
		err = ERR_FILE_TOO_BIG;
	if (err)
		return err;
	if (what & ~(FS_FALLOC_PUNCH_HOLE | FS_FALLOC_ZERO_RANGE) ||
	    what == (FS_FALLOC_PUNCH_HOLE | FS_FALLOC_ZERO_RANGE) ||
	    mode == FS_FALLOC_PUNCH_HOLE)
		return ERR_UNSUPPORTED;
	if (what == 0)
		err = room_for(f->fs, &f->node->seen, offset, offset + len);
	else
		err = fs__punch(f->fs, f->node->ino, epoch, offset, offset + len, w);
	if (err || what & FS_FALLOC_PUNCH_HOLE)
		return err;
	return fs__extend(f->fs, f->node, epoch, mode & FS_FALLOC_KEEP_SIZE ? 0 : offset + len, w);
}

int fs_fallocate(struct fs_file *f, unsigned mode, uint64_t offset, uint64_t len,
		 const struct fs_writer *w)
{
	uint64_t epoch;
	int err = fs__file_enter(f, &epoch);

	return fs__file_leave(f, err ? err : allocate(f, epoch, mode, offset, len, w));
}
