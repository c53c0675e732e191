/* Putting a value: a new file, or other contents for one that is there. */
#include "fs/kv_items.h"

static fs_ino fresh_at(const struct kv_one *one, uint64_t number)
{
	return fs__number(fs__place(number), one->fresh);
}

static struct slice value_of(const struct kv_one *one)
{
	return one->data;
}

/* ---- staging ---- */

/* Runs what is in @op until it is through. A failed condition: the G record is gone, somebody has
 * taken the staged data for a leftover. */
static int exec_staging(struct fs_op *op)
{
	int err;

	do {
		err = fs__op_exec(op);
		if (!fs__err_transient(err))
			break;
		txn_result_release(&op->r);
		txn_result_init(&op->r);
		err = fs__op_conflict(op);
	} while (!err);
	return err == ERR_CONDITION ? ERR_CANCELED : err;
}

static int stage_piece(struct fs_op *op, uint64_t id, uint64_t offset, struct slice data)
{
	struct fs_key g;

	fs__op_reset(op);
	fs__key_reap(&g, id, FS_REAP_STAGED);
	txn_if_exists(&op->m, fs__key_slice(&g));
	fs__add_blocks(op, id, offset, data);
	return exec_staging(op);
}

int fs__kv_stage(struct kv_set *s, struct kv_one *one)
{
	struct slice v = value_of(one);
	uint64_t at = one->n.present ? one->ino : one->w.dir;
	uint64_t offset = 0, counter;
	struct fs_op op;
	int err = fs__ino_next(s->fs, &counter);

	if (err)
		return err;
	one->staged = fs__number(fs__place(at), counter);
	fs__op_begin(&op, s->fs);
	fs__put_reap(&op, one->staged, FS_REAP_STAGED);
	fs__add_stripes(&op, one->staged, 0, v.len);
	err = exec_staging(&op);
	while (!err && offset < v.len) {
		size_t n = v.len - offset < WRITE_SIZE_MAX ? v.len - offset : WRITE_SIZE_MAX;

		err = stage_piece(&op, one->staged, offset, slice_of(v.p + offset, n));
		offset += n;
	}
	fs__op_end(&op);
	return err;
}

/* ---- in the transaction ---- */

static bool in_place(const struct kv_one *one)
{
	return !one->staged && one->data.len <= KV_IN_PLACE_MAX &&
	       one->rec.size <= FS_DELETE_NOW_MAX;
}

/* Of the items that make a name in the same directory. Only its view of the directory is used, so that
 * all of them are made under the one state that its condition is about. */
static struct kv_one *first_new_in_dir(struct kv_set *s, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (s->ones[j].act == KV_PUT && !s->ones[j].n.present &&
		    s->ones[j].n.dir == s->ones[i].n.dir)
			return &s->ones[j];
	return &s->ones[i];
}

static int know_dir(struct kv_set *s, struct kv_one *one)
{
	int err;

	one->parent = (struct fs_parent){.ino = one->n.dir};
	err = fs__parent_known(s->fs, &one->parent);
	return err ? err : fs__default_known(s->fs, &one->parent, &one->inherit);
}

int fs__kv_prepare_put(struct kv_set *s, uint32_t i)
{
	struct kv_one *one = &s->ones[i];
	int err = 0;

	one->old_data = 0;
	one->n.tie_min = 0;
	if (one->n.present)
		return in_place(one) || one->staged || one->fresh
			       ? 0
			       : fs__ino_next(s->fs, &one->fresh);
	if (first_new_in_dir(s, i) == one)
		err = know_dir(s, one);
	if (!err && !one->fresh)
		err = fs__ino_next(s->fs, &one->fresh);
	for (uint32_t j = 0; !err && j < i; j++) { /* ties made in one transaction must differ */
		const struct fs_name *o = &s->ones[j].n;

		if (s->ones[j].act == KV_PUT && !o->present && o->dir == one->n.dir &&
		    o->hash == one->n.hash && o->tie >= one->n.tie_min)
			one->n.tie_min = (uint8_t)(o->tie + 1);
	}
	if (one->n.tie < one->n.tie_min)
		one->n.tie = one->n.tie_min;
	return err ? err : one->n.tie < FS_TIES_MAX ? 0 : ERR_NOSPACE;
}

/* Whole blocks: whatever a block held before is gone. */
static void put_blocks(struct fs_op *op, uint64_t data_id, struct slice v)
{
	struct fs_key k;

	for (uint64_t b = 0; b * BLOCK_SIZE < v.len; b++) {
		size_t at = b * BLOCK_SIZE;
		size_t n = v.len - at < BLOCK_SIZE ? v.len - at : BLOCK_SIZE;

		fs__key_block(&k, data_id, b);
		txn_put_ref(&op->m, fs__key_slice(&k), slice_of(v.p + at, n));
	}
}

/* The staged data becomes a file's: from now on nobody may reap it. */
static void adopt(struct fs_op *op, uint64_t staged)
{
	struct fs_key g;

	fs__key_reap(&g, staged, FS_REAP_STAGED);
	txn_if_exists(&op->m, fs__key_slice(&g));
	txn_delete(&op->m, fs__key_slice(&g));
}

static int add_new(struct fs_op *op, struct kv_set *s, struct kv_one *one, struct kv_one *first)
{
	struct fs_make q = {.cred = s->cred, .parent = one->n.dir, .mode = S_IFREG | 0666};
	fs_ino ino = fresh_at(one, one->n.dir);
	struct fs_inode rec;
	int err;

	if (first == one) {
		fs__if_parent(op, &one->parent);
		one->parent_cond = one->parent.cond;
	}
	one->free_cond = fs__if_free(op, &one->n);
	fs__new_inode(&q, &first->parent.rec, ino, &rec);
	err = fs__default_add(op, &q, &first->inherit, ino, &rec);
	if (err)
		return err;
	rec.size = one->data.len;
	if (one->staged) {
		rec.data_id = one->staged;
		adopt(op, one->staged);
	} else {
		put_blocks(op, rec.data_id, one->data);
	}
	fs__put_dentry(op, &one->n, ino, rec.type, one->n.tie);
	fs__put_inode(op, ino, &rec, (struct slice){0});
	return 0;
}

static void add_other_contents(struct fs_op *op, struct kv_one *one)
{
	uint64_t old = one->rec.data_id, id = one->staged;
	struct fs_key from, to;

	if (id) {
		adopt(op, id);
	} else {
		id = fresh_at(one, one->ino);
		put_blocks(op, id, one->data);
	}
	fs__set_inode(op, one->ino, FS_F_DATA_ID, id);
	if (one->rec.size > FS_DELETE_NOW_MAX) {
		fs__put_reap(op, old, FS_REAP_DATA);
		one->old_data = old;
		return;
	}
	fs__range_kind(&from, &to, old, FS_KIND_BLOCK);
	fs__delete_range(op, &from, &to);
	fs__range_kind(&from, &to, old, FS_KIND_STRIPES);
	fs__delete_range(op, &from, &to);
}

static void add_in_place(struct fs_op *op, const struct kv_one *one)
{
	uint64_t end = (one->data.len + BLOCK_SIZE - 1) / BLOCK_SIZE;
	struct fs_key from, to;

	put_blocks(op, one->rec.data_id, one->data);
	if (one->rec.size <= end * BLOCK_SIZE)
		return;
	fs__range_blocks(&from, &to, one->rec.data_id, end, UINT64_MAX);
	fs__delete_range(op, &from, &to);
}

static void add_replace(struct fs_op *op, struct kv_one *one)
{
	txn_if_version(&op->m, fs__key_slice(&one->n.key), one->n.version);
	fs__if_inode_u64(op, one->ino, FS_F_DATA_ID, one->rec.data_id);
	fs__if_inode_u64(op, one->ino, FS_F_SIZE, one->rec.size);
	if (one->expect == KV_EXPECT_VALUE)
		fs__if_inode_u64(op, one->ino, FS_F_DATA_VERSION, one->rec.data_version);
	fs__add_capability_kill(op, one->ino, &one->rec);
	if (in_place(one))
		add_in_place(op, one);
	else
		add_other_contents(op, one);
	fs__set_inode(op, one->ino, FS_F_SIZE, one->data.len);
	fs__set_inode(op, one->ino, FS_F_HOLES, 0);
	fs__set_inode_now(op, one->ino, FS_F_CUT_VERSION);
	fs__add_write_times(op, one->ino);
}

int fs__kv_add_put(struct fs_op *op, struct kv_set *s, uint32_t i)
{
	struct kv_one *one = &s->ones[i];

	if (!one->n.present)
		return add_new(op, s, one, first_new_in_dir(s, i));
	add_replace(op, one);
	return 0;
}

void fs__kv_put_done(struct kv_set *s, struct kv_one *one)
{
	one->staged = 0;
	one->fresh = 0;
	if (one->n.present)
		fs__hint_inode_drop(s->fs, one->ino);
	if (one->old_data)
		fs__reap_later(s->fs, one->old_data, FS_REAP_DATA);
}
