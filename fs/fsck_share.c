/* Two files with the same data. One keeps it: whose number it has, else the older one. The other gets
 * its own back, if there is such data and it is nobody's; else a copy. */
#include "base/bytes.h"
#include "fs/fsck.h"

typedef unsigned long long ull;

#define COPY_BLOCKS 16u /* that one transaction writes */

struct pair {
	fs_ino keeper, other;
	struct fs_inode keeper_rec, other_rec;
};

static int look(struct ck *c, const struct ck_suspect *s, struct pair *p, bool *shared)
{
	struct fs_key k;
	struct fs_op op;
	bool one, two = false;
	int err;

	p->keeper = s->dir == s->data_id || (s->ino != s->data_id && s->dir < s->ino) ? s->dir : s->ino;
	p->other = p->keeper == s->dir ? s->ino : s->dir;
	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, p->keeper);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_inode(&k, p->other);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = ck__decode(fs__op_value(&op, 0), &p->keeper_rec, &one);
	if (!err)
		err = ck__decode(fs__op_value(&op, 1), &p->other_rec, &two);
	fs__op_end(&op);
	*shared = !err && one && two && p->keeper_rec.type == FS_T_FILE &&
		  p->other_rec.type == FS_T_FILE && p->keeper_rec.data_id == s->data_id &&
		  p->other_rec.data_id == s->data_id;
	return err;
}

static void if_same(struct fs_op *op, fs_ino ino, const struct fs_inode *rec)
{
	fs__if_inode_u64(op, ino, FS_F_DATA_ID, rec->data_id);
	fs__if_inode_u64(op, ino, FS_F_DATA_VERSION, rec->data_version);
	fs__if_inode_u64(op, ino, FS_F_SIZE, rec->size);
}

static void set_data(struct fs_op *op, fs_ino ino, uint64_t data_id)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	fs__set_inode(op, ino, FS_F_DATA_ID, data_id);
	txn_add(&op->m, fs__key_slice(&k), FS_F_DATA_VERSION, 1, false);
	fs__add_holes(op, ino);
	fs__touch_ctime(op, ino);
}

int ck__give_back(struct ck *c, fs_ino ino, const struct fs_inode *rec)
{
	struct fs_op op;
	struct fs_key k;
	int err;

	fs__op_begin(&op, c->fs);
	if_same(&op, ino, rec);
	fs__key_reap(&k, ino, FS_REAP_DATA);
	txn_if_absent(&op.m, fs__key_slice(&k));
	set_data(&op, ino, ino);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, ino);
	return err;
}

/* ---- copying ---- */

/* Blocks from *at on, of one stripe, to the same places under @to: *at is where to go on. */
static int copy_page(struct ck *c, uint64_t to, struct fs_key *at, const struct fs_key *end, bool *more)
{
	struct fs_op in, out;
	struct fs_key k;
	int err;

	fs__op_begin(&in, c->fs);
	txn_scan(&in.m, fs__key_slice(at), fs__key_slice(end), COPY_BLOCKS);
	err = fs__op_read(&in);
	*more = !err && in.r.reads[0].item_count > 0;
	if (!*more) {
		fs__op_end(&in);
		return err;
	}
	fs__op_begin(&out, c->fs);
	fs__key_reap(&k, to, FS_REAP_STAGED);
	txn_if_exists(&out.m, fs__key_slice(&k));
	for (uint32_t i = 0; i < in.r.reads[0].item_count; i++) {
		const struct txn_item *it = &in.r.reads[0].items[i];
		uint64_t block = be64_get(it->key.p + FS_KEY_HEAD);

		fs__key_block(&k, to, block);
		txn_put_ref(&out.m, fs__key_slice(&k), it->value);
		fs__add_stripes(&out, to, block * BLOCK_SIZE, 1);
		at->len = 0;
		fs__key_bytes(at, it->key);
	}
	fs__key_bytes(at, slice_of("", 1));
	err = ck__finish(&out);
	fs__op_end(&in);
	return err;
}

static int copy_stripe(struct ck *c, uint64_t from, uint64_t to, uint64_t stripe)
{
	struct fs_key at, end;
	bool more = true;
	int err = 0;

	fs__range_blocks(&at, &end, from, stripe * FS_BLOCKS_PER_STRIPE, UINT64_MAX);
	while (!err && more)
		err = copy_page(c, to, &at, &end, &more);
	return err;
}

static int stage(struct ck *c, uint64_t id)
{
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	fs__put_reap(&op, id, FS_REAP_STAGED);
	return ck__finish(&op);
}

/* Neither file has changed since before the copy was begun. */
static int switch_over(struct ck *c, const struct pair *p, uint64_t id)
{
	struct fs_op op;
	struct fs_key g;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_reap(&g, id, FS_REAP_STAGED);
	txn_if_exists(&op.m, fs__key_slice(&g));
	if_same(&op, p->keeper, &p->keeper_rec);
	if_same(&op, p->other, &p->other_rec);
	txn_delete(&op.m, fs__key_slice(&g));
	set_data(&op, p->other, id);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, p->other);
	return err;
}

static int give_copy(struct ck *c, const struct pair *p)
{
	uint64_t from = p->keeper_rec.data_id, counter, id;
	struct fs_stripe_set far;
	int err = fs__ino_next(c->fs, &counter);

	if (err)
		return err;
	id = fs__number(fs__place(p->other), counter);
	err = stage(c, id);
	if (err)
		return err;
	err = fs__stripes_get(c->fs, from, &far);
	if (!err)
		err = copy_stripe(c, from, id, 0);
	for (uint32_t i = 0; !err && i < far.count; i++)
		err = copy_stripe(c, from, id, far.stripes[i]);
	fs__stripes_release(&far);
	if (!err)
		err = switch_over(c, p, id);
	if (err)
		fs__reap_later(c->fs, id, FS_REAP_STAGED);
	return err;
}

int ck__verify_shared(struct ck *c, const struct ck_suspect *s)
{
	const struct ck_data *own;
	bool tried = ck__repairs(c), shared;
	struct pair p;
	int err = look(c, s, &p, &shared), mend = 0;

	if (err || !shared)
		return err == ERR_CORRUPT ? 0 : err;
	ck__about(c, CK_SHARED, p.other);
	ck__line(c, "file %llu has the data of file %llu", (ull)p.other, (ull)p.keeper);
	own = ck__data(c, p.other);
	if (tried && own && own->blocks && !own->owner && !own->reaped)
		mend = ck__give_back(c, p.other, &p.other_rec);
	else if (tried)
		mend = give_copy(c, &p);
	ck__problem(c, tried, mend);
	return 0;
}
