/* fallocate(2). Blocks are never there before they are written, so room cannot be kept: the calls that
 * would are those that only look whether there is any. What is zeroed is deleted, a stripe at a time. */
#include "fs/fs_internal.h"

struct punch {
	fs_ino ino;
	uint64_t offset, end; /* wanted */
	const struct fs_writer *writer;
	struct fs_inode rec;  /* as known now */
	struct fs_stripe_set far; /* of rec.data_id, for rec.data_version */
	bool known;
};

/* ---- the part of one stripe ---- */

struct part {
	uint64_t offset, end;	/* bytes, before the end of the file */
	uint64_t first, last;	/* whole blocks [first, last) go */
	bool head, tail;	/* a part of block first - 1, of block last */
	bool head_there, tail_there;
};

static void part_init(struct part *p, uint64_t offset, uint64_t end, uint64_t size)
{
	*p = (struct part){.offset = offset, .end = end < size ? end : size};
	p->first = fs__blocks_end(offset) / BLOCK_SIZE;
	p->last = p->end == size ? fs__blocks_end(size) / BLOCK_SIZE : p->end / BLOCK_SIZE;
	p->head = offset % BLOCK_SIZE != 0;
	if (p->last < p->first) { /* all within one block, of which both ends stay */
		p->last = p->first;
		return;
	}
	p->tail = p->end < size && p->end % BLOCK_SIZE != 0;
}

static void add_look(struct fs_op *op, uint64_t data_id, uint64_t block)
{
	struct fs_key from, to;

	fs__key_block(&from, data_id, block);
	fs__range_blocks(&from, &to, data_id, block, block + 1);
	txn_scan_keys(&op->m, fs__key_slice(&from), fs__key_slice(&to), 1);
}

/* Which of the blocks that stay are there at all: zeros are not written where nothing is. */
static int part_look(struct fs_op *op, const struct fs_inode *rec, struct part *p)
{
	uint32_t at = 0;
	int err;

	if (!p->head && !p->tail)
		return 0;
	fs__op_reset(op);
	if (p->head)
		add_look(op, rec->data_id, p->first - 1);
	if (p->tail)
		add_look(op, rec->data_id, p->last);
	err = fs__op_read(op);
	if (err)
		return err;
	if (p->head)
		p->head_there = op->r.reads[at++].item_count > 0;
	if (p->tail)
		p->tail_there = op->r.reads[at].item_count > 0;
	return 0;
}

static void add_zeros(struct fs_op *op, uint64_t data_id, uint64_t offset, uint64_t end)
{
	static const uint8_t zeros[BLOCK_SIZE];

	if (end > offset)
		fs__add_blocks(op, data_id, offset, slice_of(zeros, (size_t)(end - offset)));
}

/* True: blocks were taken away. */
static bool part_add(struct fs_op *op, const struct fs_inode *rec, const struct part *p)
{
	uint64_t head_end = p->first * BLOCK_SIZE, tail = p->last * BLOCK_SIZE;
	struct fs_key from, to;

	if (p->head_there)
		add_zeros(op, rec->data_id, p->offset, head_end < p->end ? head_end : p->end);
	if (p->tail_there)
		add_zeros(op, rec->data_id, tail, p->end);
	if (p->first < p->last) {
		fs__range_blocks(&from, &to, rec->data_id, p->first, p->last);
		fs__delete_range(op, &from, &to);
	}
	return p->last > p->first;
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
	part_init(p, start, end, z->rec.size);
	return true;
}

static void add_record(struct fs_op *op, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	txn_get(&op->m, fs__key_slice(&k));
}

static void punched(struct fs_op *op, struct punch *z, bool holes, const uint16_t *perm)
{
	if (perm) {
		z->rec.perm = *perm;
		z->rec.perm_version = op->r.stamp;
	}
	z->rec.xattrs &= (uint8_t)~FS_HAS_CAPABILITY;
	z->rec.holes = z->rec.holes || holes;
	z->rec.data_version++;
	z->rec.mtime_ns = z->rec.ctime_ns = (int64_t)op->r.stamp;
	fs__hint_inode_set(op->fs, z->ino, &z->rec);
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
	fs__if_inode_u64(op, z->ino, FS_F_DATA_VERSION, z->rec.data_version);
	fs__add_capability_kill(op, z->ino, &z->rec);
	kills = fs__add_setid_kill(op, z->ino, &z->rec, z->writer, &perm);
	holes = part_add(op, &z->rec, p);
	if (holes)
		fs__add_holes(op, z->ino);
	fs__add_write_times(op, z->ino);
	err = fs__op_exec(op);
	if (!err)
		punched(op, z, holes, kills ? &perm : NULL);
	return err;
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
		if (err || !next_part(z, at, &p))
			break;
		err = punch_part(op, z, &p);
		if (!err) {
			at = (p.offset / STRIPE_SIZE + 1) * STRIPE_SIZE;
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

int fs__punch(struct fs *fs, fs_ino ino, uint64_t offset, uint64_t end, const struct fs_writer *w)
{
	struct punch z = {.ino = ino, .offset = offset, .end = end, .writer = w};
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
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

int fs__extend(struct fs *fs, struct fs_node *n, uint64_t end, const struct fs_writer *w)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	do {
		err = try_extend(&op, n, end, w);
	} while (fs__err_transient(err) && !(err = fs__op_conflict(&op)));
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

int fs_fallocate(struct fs_file *f, unsigned mode, uint64_t offset, uint64_t len,
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
		err = fs__punch(f->fs, f->node->ino, offset, offset + len, w);
	if (err || what & FS_FALLOC_PUNCH_HOLE)
		return err;
	return fs__extend(f->fs, f->node, mode & FS_FALLOC_KEEP_SIZE ? 0 : offset + len, w);
}
