/* Looking at several paths at once: names, inodes and contents from one state of the store. */
#include "fs/kv_items.h"

#define GUESSED_BLOCKS 4u /* read along before anything is known of the file */
#define LOOKS_MAX      64u /* knowledge grows with each; symlinks and renames take a few */

int fs__kv_begin(struct kv_set *s, struct fs *fs, uint32_t count)
{
	*s = (struct kv_set){.fs = fs, .count = count, .failed = count};
	if (count > KV_ITEMS_MAX)
		return ERR_TOO_BIG;
	s->ones = mem_must_alloc(sizeof(*s->ones) * (count ? count : 1));
	return 0;
}

void fs__kv_end(struct kv_set *s)
{
	for (uint32_t i = 0; s->ones && i < s->count; i++) {
		fs__walk_end(&s->ones[i].w);
		fs__default_release(&s->ones[i].inherit);
		buf_release(&s->ones[i].value);
	}
	mem_free(s->ones);
	s->ones = NULL;
}

/* ---- places ---- */

/* Length of the path up to and with its last slash; 0 if it ends with one. */
static size_t dir_len(struct slice path)
{
	size_t n = path.len;

	while (n > 0 && path.p[n - 1] != '/')
		n--;
	return n == path.len ? 0 : n;
}

/* Items often are neighbours: the directory of the one before need not be looked for again. */
static bool same_dir(const struct kv_one *one, const struct kv_one *before)
{
	size_t n = dir_len(one->path);

	return n > 0 && before->dir != 0 && dir_len(before->path) == n &&
	       memcmp(one->path.p, before->path.p, n) == 0;
}

static int name_it(struct kv_one *one)
{
	if (one->w.name.len == 0)
		return 0; /* a directory; judged later */
	return fs__name_init(one->w.fs, one->w.dir, one->w.name, &one->n);
}

static int place(struct kv_set *s, uint32_t i)
{
	struct kv_one *one = &s->ones[i];
	bool makes = s->make_parents && one->act == KV_PUT;
	int err;

	fs__walk_end(&one->w);
	one->dir = 0;
	one->missing = false;
	err = fs__walk_begin(&one->w, s->fs, one->path, makes ? s->cred : NULL);
	if (!err && i > 0 && same_dir(one, one - 1)) {
		one->w.dir = one[-1].dir;
		one->w.at = dir_len(one->path);
	}
	if (!err)
		err = fs__walk_on(&one->w);
	if (err == ERR_NOT_FOUND && one->path.len > 0 &&
	    (one->act != KV_PUT || one->expect == KV_EXPECT_VALUE)) {
		one->missing = true;
		return 0;
	}
	if (!err && one->w.name.len > 0)
		one->dir = one->w.dir;
	return err ? err : name_it(one);
}

int fs__kv_place(struct kv_set *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		int err = place(s, i);

		if (err) {
			s->failed = i;
			return err;
		}
	}
	return 0;
}

/* ---- one look ---- */

static bool lookable(const struct kv_one *one)
{
	return !one->missing && one->w.name.len > 0;
}

static uint32_t blocks_of(uint64_t size)
{
	return (uint32_t)((size + BLOCK_SIZE - 1) / BLOCK_SIZE);
}

static void add_by_key(struct fs_op *op, const struct kv_one *one, bool contents)
{
	struct fs_key k;

	fs__key_inode(&k, one->ino);
	txn_get(&op->m, fs__key_slice(&k));
	for (uint32_t b = 0; contents && b < one->blocks; b++) {
		fs__key_block(&k, one->data_id, b);
		txn_get(&op->m, fs__key_slice(&k));
	}
}

static void add_by_ref(struct fs_op *op, const struct kv_one *one, bool contents)
{
	struct txn_field id = FS_F_DATA_ID;
	struct fs_key block = {.len = 0};
	uint32_t inode = txn_get_ref(&op->m, one->read, 0, FS_KIND_INODE, (struct slice){0});

	for (uint32_t b = 0; contents && b < GUESSED_BLOCKS; b++) {
		block.len = 0;
		fs__key_u64(&block, b);
		txn_get_ref(&op->m, inode, id.offset, FS_KIND_BLOCK, fs__key_slice(&block));
	}
}

static void add_reads(struct fs_op *op, struct kv_one *one, bool contents)
{
	struct fs_key k;

	if (one->act == KV_PUT) { /* will be wanted if a name has to be made */
		fs__key_inode(&k, one->n.dir);
		one->dir_read = txn_get(&op->m, fs__key_slice(&k));
	}
	one->read = txn_get(&op->m, fs__key_slice(&one->n.key));
	if (one->known)
		add_by_key(op, one, contents);
	else
		add_by_ref(op, one, contents);
}

/* From now on the inode, and what it has, are read by their keys. */
static void know(struct kv_one *one, fs_ino ino, const struct fs_inode *rec)
{
	one->known = true;
	one->ino = ino;
	one->data_id = rec->data_id;
	one->blocks = rec->type == FS_T_FILE && rec->size <= KV_TOGETHER_MAX
			      ? blocks_of(rec->size)
			      : 0;
}

/* The inode lies elsewhere, or is not the one that was read: learn of it, then all together. */
static int learn(struct fs *fs, struct kv_one *one, fs_ino ino)
{
	struct fs_inode rec;
	int err = fs__inode_get(fs, ino, &rec);

	if (err == ERR_STALE)
		return ERR_ABORTED; /* the name has changed meanwhile, or the next look tells */
	if (err)
		return err;
	know(one, ino, &rec);
	return ERR_ABORTED;
}

static int take_contents(struct fs_op *op, struct kv_one *one)
{
	uint32_t n = blocks_of(one->rec.size), have = one->known ? one->blocks : GUESSED_BLOCKS;
	uint64_t left = one->rec.size;

	buf_reset(&one->value);
	one->big = one->rec.size > KV_TOGETHER_MAX;
	if (one->big)
		return 0;
	if (n > have || (one->known && one->data_id != one->rec.data_id)) {
		know(one, one->ino, &one->rec);
		return ERR_ABORTED;
	}
	for (uint32_t b = 0; b < n; b++) {
		const struct txn_value *v = fs__op_value(op, one->read + 2 + b);
		size_t len = left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE, got = 0;

		if (v->status == ERR_ELSEWHERE) {
			know(one, one->ino, &one->rec);
			return ERR_ABORTED;
		}
		if (v->status && v->status != ERR_NOT_FOUND)
			return v->status;
		if (!v->status)
			got = v->value.len < len ? v->value.len : len;
		buf_add(&one->value, v->value.p, got);
		buf_add_zeros(&one->value, len - got);
		left -= len;
	}
	return buf_ok(&one->value) ? 0 : ERR_NOMEM;
}

static int follow(struct kv_one *one)
{
	int err;

	one->known = false;
	err = fs__walk_follow(&one->w, one->ino);
	if (err == ERR_NOT_FOUND && one->act != KV_PUT) {
		one->missing = true;
		return 0;
	}
	if (!err)
		err = name_it(one);
	return err ? err : ERR_ABORTED;
}

/* ERR_ABORTED: look again, more is known now. */
static int take(struct kv_set *s, struct fs_op *op, struct kv_one *one)
{
	const struct txn_value *v = fs__op_value(op, one->read);
	const struct txn_value *inode = fs__op_value(op, one->read + 1);
	struct fs_dentry d;
	int err = v->status;

	one->n.present = false;
	if (one->act == KV_PUT)
		(void)fs__inode_take(s->fs, one->n.dir, fs__op_value(op, one->dir_read),
				     &one->parent.rec); /* only a hint */
	if (err == ERR_NOT_FOUND) {
		fs__name_drop(s->fs, &one->n);
		return 0;
	}
	if (!err)
		err = fs__dentry_decode(v->value, &d);
	if (err)
		return err;
	fs__name_set(s->fs, &one->n, v->version, &d);
	if (inode->status == ERR_ELSEWHERE || (one->known && d.ino != one->ino))
		return learn(s->fs, one, d.ino);
	one->ino = d.ino;
	one->version = inode->version;
	err = fs__inode_take(s->fs, d.ino, inode, &one->rec);
	if (err)
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	if (one->rec.type == FS_T_SYMLINK && (one->act != KV_DELETE || one->w.want_dir))
		return follow(one);
	if (!s->contents || one->rec.type != FS_T_FILE)
		return 0;
	return take_contents(op, one);
}

static int check_sizes(struct kv_set *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; s->contents && i < s->count; i++) {
		const struct kv_one *one = &s->ones[i];

		if (!lookable(one) || !one->n.present || one->rec.type != FS_T_FILE)
			continue;
		sum += one->rec.size;
		if (sum > KV_TOGETHER_MAX && s->count > 1) {
			s->failed = i;
			return ERR_TOO_BIG;
		}
	}
	return 0;
}

static int look_once(struct kv_set *s, struct fs_op *op)
{
	int result = 0, err;

	fs__op_reset(op);
	for (uint32_t i = 0; i < s->count; i++)
		if (lookable(&s->ones[i]))
			add_reads(op, &s->ones[i], s->contents);
	if (op->m.read_count == 0)
		return 0;
	err = fs__op_read(op);
	if (err)
		return err;
	for (uint32_t i = 0; i < s->count; i++) {
		if (!lookable(&s->ones[i]))
			continue;
		err = take(s, op, &s->ones[i]);
		if (err && err != ERR_ABORTED) {
			s->failed = i;
			return err;
		}
		if (err)
			result = err;
	}
	err = check_sizes(s);
	return err ? err : result;
}

int fs__kv_look(struct kv_set *s)
{
	struct fs_op op;
	int err = ERR_ABORTED;

	fs__op_begin(&op, s->fs);
	for (unsigned looks = 0; err == ERR_ABORTED && looks < LOOKS_MAX; looks++) {
		err = fiber_interrupted() ? ERR_INTERRUPTED : look_once(s, &op);
		if (err == ERR_ABORTED && looks > 2) { /* somebody keeps changing it */
			int wait = fs__op_conflict(&op);

			err = wait ? wait : err;
		}
	}
	fs__op_end(&op);
	return err == ERR_ABORTED ? ERR_BUSY : err;
}
