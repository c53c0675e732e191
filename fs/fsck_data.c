/* Data: what waits to be removed, what belongs to nobody, what is beyond an end, what is not marked. */
#include "base/bytes.h"
#include "fs/fsck.h"
#include "kv/layout.h"

typedef unsigned long long ull;

/* ---- what waits to be removed ---- */

static void session_key(struct fs_key *k, uint64_t session)
{
	fs__meta_key(k, KV_KEY_SESSION);
	fs__key_u64(k, session);
}

struct left { /* a G record */
	struct fs_reap g;
	uint64_t version;
	bool alive, wrong; /* its session is; what it speaks of is in use */
};

static bool in_use(const struct ck_suspect *s, bool there, const struct fs_inode *rec, bool owned,
		   const struct fs_inode *owner)
{
	if (s->count == FS_REAP_INODE && ck__lives(there, rec))
		return true;
	if (s->count == FS_REAP_INODE && (there || s->dir == s->ino))
		return false;
	return owned && owner->type == FS_T_FILE && owner->data_id == s->ino;
}

/* What a G record says, who wrote it, and whether it may be true. */
static int read_reap(struct ck *c, const struct ck_suspect *s, struct left *l)
{
	struct fs_inode rec = {0}, owner = {0};
	bool there, owned = false;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_reap(&k, s->ino, (uint8_t)s->count);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_inode(&k, s->ino);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_inode(&k, s->dir);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		err = fs__reap_decode(fs__op_value(&op, 0)->value, &l->g);
	if (!err)
		err = ck__decode(fs__op_value(&op, 1), &rec, &there);
	if (!err && s->dir)
		err = ck__decode(fs__op_value(&op, 2), &owner, &owned);
	if (err)
		goto out_op;
	l->version = fs__op_value(&op, 0)->version;
	l->wrong = in_use(s, there, &rec, owned, &owner);
	fs__op_reset(&op);
	session_key(&k, l->g.session);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	l->alive = !err && l->g.session && fs__op_value(&op, 0)->status == 0;
	if (!err && !l->alive && s->count == FS_REAP_INODE)
		err = ck__orphan_wanted(c, s->ino, &l->alive);
out_op:
	fs__op_end(&op);
	return err;
}

/* Not while anything speaks for what it was: that is looked into first. */
static bool may_go(struct ck *c, const struct ck_suspect *s)
{
	const struct ck_inode *e = ck__inode(c, s->ino);

	if (s->count == FS_REAP_INODE)
		return !e || (e->names == 0 && !e->has_entry);
	return c->bad_inodes == 0;
}

int ck__verify_reap(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);
	struct left l;
	struct fs_key k;
	int err = read_reap(c, s, &l), mend = 0;

	if (!err && !l.alive && !l.wrong) /* it may have been the last thing that its mount did */
		err = read_reap(c, s, &l);
	if (err == ERR_NOT_FOUND || err == ERR_CORRUPT)
		return 0; /* done meanwhile; or reported already */
	if (err || (l.alive && !l.wrong) || (!l.wrong && !may_go(c, s)))
		return err;
	c->at.kind = l.wrong ? CK_REAP_WRONG : CK_REAP;
	if (l.wrong)
		ck__line(c, "%llu is in use, but marked to be removed", (ull)s->ino);
	else
		ck__line(c, "%llu waits to be removed since its mount died", (ull)s->ino);
	fs__key_reap(&k, s->ino, (uint8_t)s->count);
	if (tried && l.wrong)
		mend = ck__delete_key(c, fs__key_slice(&k), l.version);
	else if (tried && s->count == FS_REAP_INODE)
		mend = fs__orphan_now(c->fs, s->ino);
	else if (tried)
		mend = fs__reap_now(c->fs, s->ino, (enum fs_reap_what)s->count);
	ck__problem(c, tried, mend);
	return 0;
}

/* ---- data of nobody ---- */

/* The last key of a range, of which the values are not asked for. */
static int last_block(struct ck *c, const struct fs_key *from, const struct fs_key *to,
		      struct fs_key *last)
{
	struct fs_key at = *from, end;
	struct fs_op op;
	int err = 0;

	last->len = 0;
	fs__op_begin(&op, c->fs);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(to)) < 0) {
		const struct txn_read_result *r;

		fs__range_piece(c->fs, &at, to, &end);
		fs__op_reset(&op);
		txn_scan_keys(&op.m, fs__key_slice(&at), fs__key_slice(&end), CK_PAGE);
		err = fs__op_read(&op);
		if (err == ERR_ELSEWHERE && !(err = fs__op_conflict(&op)))
			continue;
		if (err)
			break;
		r = &op.r.reads[0];
		if (r->item_count > 0) {
			last->len = 0;
			fs__key_bytes(last, r->items[r->item_count - 1].key);
		}
		at = end;
		if (r->more && r->item_count > 0) {
			at = *last;
			fs__key_bytes(&at, slice_of("", 1));
		}
	}
	fs__op_end(&op);
	return err;
}

static int end_of_block(struct ck *c, const struct fs_key *k, uint64_t *end)
{
	struct fs_key_parts p;
	struct fs_op op;
	int err;

	if (!fs__key_parse(fs__key_slice(k), &p) || p.rest.len != 8)
		return ERR_CORRUPT;
	fs__op_begin(&op, c->fs);
	txn_get(&op.m, fs__key_slice(k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		*end = be64_get(p.rest.p) * BLOCK_SIZE + fs__op_value(&op, 0)->value.len;
	fs__op_end(&op);
	return err;
}

int ck__data_end(struct ck *c, uint64_t data_id, uint64_t *end)
{
	struct fs_key from, to, last = {.len = 0};
	struct fs_stripe_set far;
	int err = fs__stripes_get(c->fs, data_id, &far);

	*end = 0;
	for (uint32_t i = far.count; !err && last.len == 0 && i > 0; i--) {
		fs__range_blocks(&from, &to, data_id, far.stripes[i - 1] * FS_BLOCKS_PER_STRIPE,
				 UINT64_MAX);
		err = last_block(c, &from, &to, &last);
	}
	fs__stripes_release(&far);
	if (!err && last.len == 0) {
		fs__range_blocks(&from, &to, data_id, 0, UINT64_MAX);
		err = last_block(c, &from, &to, &last);
	}
	return err || last.len == 0 ? err : end_of_block(c, &last, end);
}

int ck__block_seen(struct ck *c, uint64_t data_id, bool *any)
{
	uint64_t end;
	int err = ck__data_end(c, data_id, &end);

	*any = !err && end > 0;
	return err;
}

/* The file of this number says that all its blocks are there, under another number where none is. */
static int is_missed(struct ck *c, fs_ino ino, struct fs_inode *rec, bool *missed)
{
	bool any;
	int err = fs__inode_get(c->fs, ino, rec);

	*missed = false;
	if (err)
		return err == ERR_STALE || err == ERR_CORRUPT ? 0 : err;
	if (rec->type != FS_T_FILE || rec->nlink == 0 || rec->holes || rec->size == 0)
		return 0;
	err = ck__block_seen(c, rec->data_id, &any);
	*missed = !err && !any && rec->data_id != ino;
	return err;
}

static int mend_data(struct ck *c, const struct ck_suspect *s, bool any)
{
	struct fs_inode rec;
	bool missed;
	int err;

	if (!any)
		return fs__reap_blocks(c->fs, s->data_id);
	err = is_missed(c, s->data_id, &rec, &missed);
	if (err)
		return err;
	return missed ? ck__give_back(c, s->data_id, &rec) : ck__rebuild_file(c, s);
}

/* Its file's record is lost, or does not tell of it any more: what there is of it gets a file. Records
 * of stripes alone hold nothing. A damaged inode does not say which data it has: then it has to wait. */
int ck__verify_data(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c) && c->bad_inodes == 0, any;
	int err = ck__block_seen(c, s->data_id, &any);

	if (err)
		return err;
	ck__line(c, "data %llu belongs to no file", (ull)s->data_id);
	ck__problem(c, tried, tried ? mend_data(c, s, any) : 0);
	return 0;
}

/* ---- data of a file ---- */

int ck__verify_beyond(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), there;
	const struct txn_value *b;
	struct fs_inode rec;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, s->ino);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_block(&k, s->data_id, s->block);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = ck__decode(fs__op_value(&op, 0), &rec, &there);
	b = err ? NULL : fs__op_value(&op, 1);
	if (!err && there && rec.type == FS_T_FILE && rec.data_id == s->data_id &&
	    b->status == 0 && s->block * BLOCK_SIZE + b->value.len > rec.size) {
		ck__line(c, "file %llu of %llu bytes has data beyond its end, in block %llu",
			 (ull)s->ino, (ull)rec.size, (ull)s->block);
		ck__problem(c, tried, tried ? ck__fix_beyond(c, s, &rec) : 0);
	}
	fs__op_end(&op);
	return err;
}

/* Also what files are that were made before there was the mark. */
int ck__verify_gap(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), gap;
	struct fs_inode rec;
	int err = fs__unmarked_gap(c->fs, s->ino, &rec, &gap);

	if (err == ERR_STALE)
		return 0;
	if (!err && gap) {
		ck__line(c, "file %llu does not know that it has holes", (ull)s->ino);
		ck__problem(c, tried, tried ? ck__fix_gap(c, s->ino, rec.data_id) : 0);
	}
	return err;
}

int ck__verify_stripe(struct ck *c, const struct ck_suspect *s)
{
	uint64_t stripe = fs__stripe_of_block(s->block), bit = stripe % FS_STRIPES_PER_CHUNK;
	bool tried = ck__repairs(c), marked;
	const struct txn_value *v;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_stripes(&k, s->data_id, stripe / FS_STRIPES_PER_CHUNK);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_block(&k, s->data_id, s->block);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	v = fs__op_value(&op, 0);
	marked = v->status == 0 && v->value.len > bit / 8 && v->value.p[bit / 8] >> bit % 8 & 1;
	if (!marked && fs__op_value(&op, 1)->status == 0) {
		ck__line(c, "stripe %llu of data %llu is not marked", (ull)stripe,
			 (ull)s->data_id);
		ck__problem(c, tried, tried ? ck__fix_stripe(c, s) : 0);
	}
out_op:
	fs__op_end(&op);
	return err;
}

