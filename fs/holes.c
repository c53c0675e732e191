/* Where a file holds data: SEEK_DATA and SEEK_HOLE, and the count for st_blocks. Only the keys of blocks
 * are looked at, and only in stripes that S says may hold any. */
#include "base/bytes.h"
#include "fs/fs_internal.h"

#define KEYS_PER_SCAN  128u /* the store reads the values, though it does not send them: 4 MiB */
#define LOOKS_MAX      4u    /* at a file that others change all the time; then what was seen counts */
#define COUNT_SCANS_MAX 8u /* of one call; the next one goes on where it ended */
#define SECTORS	       (BLOCK_SIZE / 512u)

/* A walk over the blocks that are there, [at, end). */
struct walk {
	struct fs *fs;
	uint64_t data_id, at, end; /* blocks */
	const struct fs_stripe_set *far;
	uint32_t scans, scans_max;
};
/* Blocks [first, end) are there. False: that is enough. */
typedef bool walk_fn(void *ctx, uint64_t first, uint64_t end);

static int block_of(const struct txn_item *it, uint64_t *block)
{
	struct fs_key_parts p;

	if (!fs__key_parse(it->key, &p) || p.kind != FS_KIND_BLOCK || p.rest.len != 8)
		return ERR_CORRUPT;
	*block = be64_get(p.rest.p);
	return 0;
}

/* Tells of what one scan found, run by run; w->at: where the next one begins. */
static int tell(struct fs_op *op, struct walk *w, uint64_t end, walk_fn *fn, void *ctx, bool *go)
{
	const struct txn_read_result *r = &op->r.reads[0];
	uint64_t first = 0, next = 0, block;

	for (uint32_t i = 0; i < r->item_count && *go; i++) {
		int err = block_of(&r->items[i], &block);

		if (err)
			return err;
		if (i > 0 && block == next) {
			next++;
			continue;
		}
		if (i > 0)
			*go = fn(ctx, first, next);
		first = block;
		next = block + 1;
	}
	if (r->item_count > 0 && *go)
		*go = fn(ctx, first, next);
	w->at = r->more ? next : end;
	return 0;
}

/* The blocks from w->at on that one request can tell of; all lie in one stripe. */
static int walk_scan(struct fs_op *op, struct walk *w, uint32_t limit, walk_fn *fn, void *ctx, bool *go)
{
	struct fs_key from, to, end;
	uint64_t stop;
	int err;

	fs__range_blocks(&from, &to, w->data_id, w->at, w->end);
	fs__range_piece(op->fs, &from, &to, &end);
	/* a group's border may lie between any two keys */
	stop = end.len == FS_KEY_HEAD + 8 && memcmp(end.b, to.b, FS_KEY_HEAD) == 0
		       ? be64_get(end.b + FS_KEY_HEAD)
		       : be64_get(to.b + FS_KEY_HEAD);
	if (stop <= w->at)
		stop = w->at + 1;
	fs__op_reset(op);
	txn_scan_keys(&op->m, fs__key_slice(&from), fs__key_slice(&end), limit);
	err = fs__op_read(op);
	w->scans++;
	return err ? err : tell(op, w, stop, fn, ctx, go);
}

/* The first stripe from @stripe on that may hold data. */
static uint64_t next_stripe(const struct walk *w, uint64_t stripe)
{
	if (stripe == 0)
		return 0;
	for (uint32_t i = 0; i < w->far->count; i++)
		if (w->far->stripes[i] >= stripe)
			return w->far->stripes[i];
	return UINT64_MAX;
}

/* Ends with w->at < w->end when fn has said so, or after scans_max. */
static int walk_blocks(struct walk *w, uint32_t limit, walk_fn *fn, void *ctx)
{
	struct fs_op op;
	bool go = true;
	int err = 0;

	fs__op_begin(&op, w->fs);
	while (!err && go && w->at < w->end && w->scans < w->scans_max) {
		uint64_t stripe = fs__stripe_of_block(w->at), found = next_stripe(w, stripe);

		if (found >= fs__stripe_of_block(w->end - 1) + 1) {
			w->at = w->end;
			break;
		}
		if (found > stripe)
			w->at = found * FS_BLOCKS_PER_STRIPE;
		err = walk_scan(&op, w, limit, fn, ctx, &go);
	}
	fs__op_end(&op);
	return err;
}

/* ---- SEEK_DATA, SEEK_HOLE ---- */

struct seek {
	bool hole;
	uint64_t at; /* block: hole: the first not known to be there; data: the first that is */
	bool found;
};

static bool seek_run(void *ctx, uint64_t first, uint64_t end)
{
	struct seek *s = ctx;

	if (!s->hole) {
		s->at = first;
		s->found = true;
		return false;
	}
	if (first > s->at) {
		s->found = true;
		return false;
	}
	s->at = end;
	return true;
}

static int look(struct fs *fs, const struct fs_inode *rec, uint64_t offset, bool hole, uint64_t *out)
{
	struct fs_stripe_set far = {0};
	struct walk w = {.fs = fs,
			 .data_id = rec->data_id,
			 .at = offset / BLOCK_SIZE,
			 .end = fs__blocks_end(rec->size) / BLOCK_SIZE,
			 .far = &far,
			 .scans_max = UINT32_MAX};
	struct seek s = {.hole = hole, .at = w.at};
	uint64_t at;
	int err = 0;

	if (rec->size > STRIPE_SIZE)
		err = fs__stripes_get(fs, rec->data_id, &far);
	if (!err)
		err = walk_blocks(&w, hole ? KEYS_PER_SCAN : 1, seek_run, &s);
	fs__stripes_release(&far);
	if (err)
		return err;
	if (!hole && !s.found)
		return ERR_NO_DATA;
	at = s.at * BLOCK_SIZE;
	at = at > offset ? at : offset;
	*out = at < rec->size ? at : rec->size;
	return 0;
}

static int seekable(const struct fs_inode *rec, uint64_t offset)
{
	if (rec->type != FS_T_FILE)
		return ERR_INVAL;
	return offset >= rec->size ? ERR_NO_DATA : 0;
}

/* Inode and blocks are of one moment if the inode is what it was before. Of contents that have been
 * replaced meanwhile nothing is said: their blocks may be gone. ERR_ABORTED: again, with the new one. */
static int unchanged(struct fs *fs, fs_ino ino, struct fs_inode *rec, bool enough)
{
	struct fs_inode was = *rec;
	int err = fs__inode_get(fs, ino, rec);

	if (err || (rec->data_id == was.data_id && (enough || rec->data_version == was.data_version)))
		return err;
	return ERR_ABORTED;
}

/* The mark of a file in which no gap was found goes; if it has not changed since. */
static void unmark(struct fs *fs, fs_ino ino, struct fs_inode *rec)
{
	struct fs_op op;

	if (fs->o.read_only)
		return;
	fs__op_begin(&op, fs);
	fs__if_inode_u64(&op, ino, FS_F_DATA_ID, rec->data_id);
	fs__if_inode_u64(&op, ino, FS_F_DATA_VERSION, rec->data_version);
	fs__set_inode(&op, ino, FS_F_HOLES, 0);
	if (fs__op_exec(&op) == 0) {
		rec->holes = false;
		fs__hint_inode_set(fs, ino, rec);
	}
	fs__op_end(&op);
}

static int seek(struct fs_op *op, fs_ino ino, uint64_t offset, bool hole, uint64_t *out)
{
	struct fs *fs = op->fs;
	struct fs_inode rec;
	int err = fs__inode_get(fs, ino, &rec), found = 0;

	while (!err) {
		err = seekable(&rec, offset);
		if (err)
			return err;
		if (!rec.holes) { /* one run of data, up to the end */
			*out = hole ? rec.size : offset;
			return 0;
		}
		found = look(fs, &rec, offset, hole, out);
		if (found && found != ERR_NO_DATA)
			return found;
		err = unchanged(fs, ino, &rec, op->conflicts + 1 >= LOOKS_MAX);
		if (err != ERR_ABORTED)
			break;
		err = fs__op_conflict(op);
	}
	if (!err && !found && hole && offset < BLOCK_SIZE && *out == rec.size && op->conflicts == 0)
		unmark(fs, ino, &rec);
	return err ? err : found;
}

int fs_seek(struct fs *fs, fs_ino ino, uint64_t offset, bool hole, uint64_t *out)
{
	uint64_t at = 0;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	err = seek(&op, ino, offset, hole, &at);
	fs__op_end(&op);
	if (!err)
		*out = at;
	return err;
}

/* ---- st_blocks ---- */

static struct fs_block_count *count_slot(struct fs *fs, uint64_t data_id)
{
	if (!fs->counts)
		fs->counts = mem_must_alloc(sizeof(*fs->counts) * FS_BLOCK_COUNTS);
	return &fs->counts[(data_id ^ data_id >> FS_NUMBER_BITS) % FS_BLOCK_COUNTS];
}

static bool count_run(void *ctx, uint64_t first, uint64_t end)
{
	struct fs_block_count *c = ctx;

	c->blocks += end - first;
	c->last = end - 1;
	return true;
}

/* As if every block of the stripes that may hold data, from the one counted last on, were there. */
static uint64_t at_most(const struct walk *w)
{
	uint64_t n = 0, stripe = fs__stripe_of_block(w->at);

	if (w->at >= w->end)
		return 0;
	for (uint32_t i = 0; i < w->far->count; i++) {
		uint64_t first = w->far->stripes[i] * FS_BLOCKS_PER_STRIPE;
		uint64_t end = first + FS_BLOCKS_PER_STRIPE;

		if (w->far->stripes[i] < stripe)
			continue;
		first = first > w->at ? first : w->at;
		end = end < w->end ? end : w->end;
		n += end > first ? end - first : 0;
	}
	return n + (stripe == 0 ? FS_BLOCKS_PER_STRIPE - w->at : 0);
}

static uint64_t sectors(const struct fs_block_count *c, uint64_t more, uint64_t size)
{
	uint64_t n = (c->blocks + more) * SECTORS, cut = fs__blocks_end(size) - size;

	if (c->blocks > 0 && c->last == fs__blocks_end(size) / BLOCK_SIZE - 1)
		n -= cut / 512;
	return n;
}

static int count(struct fs *fs, const struct fs_inode *rec, struct fs_block_count *c, uint64_t *out)
{
	struct fs_stripe_set far = {0};
	struct walk w = {.fs = fs,
			 .data_id = rec->data_id,
			 .at = c->at,
			 .end = fs__blocks_end(rec->size) / BLOCK_SIZE,
			 .far = &far,
			 .scans_max = COUNT_SCANS_MAX};
	int err = 0;

	if (w.at < w.end && rec->size > STRIPE_SIZE)
		err = fs__stripes_get(fs, rec->data_id, &far);
	if (!err && w.at < w.end)
		err = walk_blocks(&w, KEYS_PER_SCAN, count_run, c);
	if (!err) {
		c->at = w.at;
		*out = sectors(c, at_most(&w), rec->size);
	}
	fs__stripes_release(&far);
	return err;
}

static bool counts_for(const struct fs_block_count *c, const struct fs_inode *rec)
{
	return c->data_id == rec->data_id && c->data_version == rec->data_version;
}

static bool complete(const struct fs_block_count *c, const struct fs_inode *rec)
{
	uint64_t all = fs__blocks_end(rec->size) / BLOCK_SIZE;

	return c->at >= all && c->blocks == all;
}

static uint64_t if_full(const struct fs_inode *rec)
{
	return (rec->size + 511) / 512;
}

/* Of the state that @rec is, if the file is left alone meanwhile; at last of what was seen. */
static int count_current(struct fs *fs, fs_ino ino, struct fs_inode *rec, uint64_t *out)
{
	struct fs_block_count *kept = count_slot(fs, rec->data_id), c;
	struct fs_inode now;
	int err;

	for (unsigned i = 0;; i++) {
		c = (struct fs_block_count){.data_id = rec->data_id,
					    .data_version = rec->data_version};
		if (counts_for(kept, rec))
			c = *kept;
		err = count(fs, rec, &c, out);
		if (err || (counts_for(kept, rec) && c.at == kept->at))
			return err;
		err = fs__inode_get(fs, ino, &now);
		if (err)
			return err;
		if (counts_for(&c, &now)) {
			*kept = c;
			*rec = now;
			if (rec->holes && complete(&c, rec))
				unmark(fs, ino, rec);
			return 0;
		}
		if (i + 1 == LOOKS_MAX && now.data_id == rec->data_id)
			return 0;
		*rec = now;
		if (!rec->holes || i + 1 == LOOKS_MAX) {
			*out = if_full(rec);
			return 0;
		}
		kept = count_slot(fs, rec->data_id);
	}
}

int fs__unmarked_gap(struct fs *fs, fs_ino ino, struct fs_inode *rec, bool *gap)
{
	struct fs_inode now;
	uint64_t at = 0;
	int err = fs__inode_get(fs, ino, rec);

	*gap = false;
	for (unsigned i = 0; !err && i < LOOKS_MAX; i++) {
		if (rec->type != FS_T_FILE || rec->holes || rec->size == 0)
			return 0;
		err = look(fs, rec, 0, true, &at);
		if (!err)
			err = fs__inode_get(fs, ino, &now);
		if (!err && now.data_version == rec->data_version && now.data_id == rec->data_id) {
			*gap = at < rec->size;
			return 0;
		}
		*rec = now;
	}
	return err;
}

int fs_stat(struct fs *fs, fs_ino ino, struct fs_attr *a)
{
	struct fs_inode rec;
	uint64_t blocks = 0;
	int err = fs__inode_get(fs, ino, &rec);
	bool counted;

	if (err)
		return err;
	counted = rec.type == FS_T_FILE && rec.holes;
	if (counted)
		err = count_current(fs, ino, &rec, &blocks);
	if (err)
		return err;
	fs__attr(fs, ino, &rec, a);
	if (counted)
		a->blocks = blocks;
	return 0;
}
