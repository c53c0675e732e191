/* What does not fit together, and a second look at each of it, in one transaction. */
#include "base/bytes.h"
#include "fs/fsck.h"
#include "kv/layout.h"

typedef unsigned long long ull;

int ck__suspect(struct ck_list *l, const struct ck_suspect *s)
{
	if (l->count == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 64;
		struct ck_suspect *v = mem_try_realloc(l->v, sizeof(*v) * cap);

		if (!v)
			return ERR_NOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = *s;
	return 0;
}

/* ---- a name, its inode and its directory, of one moment ---- */

struct seen {
	bool found, inode, dir; /* there; and whole */
	struct fs_inode rec, dir_rec;
	struct fs_dentry d;
};

static int decode(const struct txn_value *v, struct fs_inode *rec, bool *there)
{
	*there = v->status == 0;
	if (v->status)
		return v->status == ERR_NOT_FOUND ? 0 : v->status;
	return fs__inode_decode(v->value, rec);
}

static int see(struct ck *c, const struct ck_suspect *s, struct seen *out)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	*out = (struct seen){.found = false};
	fs__op_begin(&op, c->fs);
	fs__range_hash(&from, &to, s->dir, s->hash);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), FS_TIES_MAX);
	fs__key_inode(&from, s->ino);
	txn_get(&op.m, fs__key_slice(&from));
	fs__key_inode(&from, s->dir);
	txn_get(&op.m, fs__key_slice(&from));
	err = fs__op_read(&op);
	for (uint32_t i = 0; !err && i < op.r.reads[0].item_count && !out->found; i++)
		out->found = !fs__dentry_decode(op.r.reads[0].items[i].value, &out->d) &&
			     out->d.ino == s->ino;
	if (!err)
		err = decode(fs__op_value(&op, 1), &out->rec, &out->inode);
	if (!err)
		err = decode(fs__op_value(&op, 2), &out->dir_rec, &out->dir);
	fs__op_end(&op);
	return err;
}

static bool lives(bool there, const struct fs_inode *rec)
{
	return there && rec->nlink > 0;
}

static int verify_entry(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), points_back;
	struct seen e;
	int err = see(c, s, &e), mend = 0;

	if (err || !e.found)
		return err == ERR_CORRUPT ? 0 : err; /* a damaged inode has been reported as such */
	points_back = e.rec.parent == s->dir && e.rec.name_hash == s->hash;
	if (s->kind == CK_NO_DIR && !(lives(e.dir, &e.dir_rec) && e.dir_rec.type == FS_T_DIR)) {
		ck__line(c, "inode %llu has a name in %llu, which is no directory", (ull)s->ino,
			 (ull)s->dir);
		mend = tried ? ck__delete_entry(c, s) : 0;
	} else if (s->kind == CK_DANGLING && !lives(e.inode, &e.rec)) {
		ck__line(c, "a name in directory %llu leads to inode %llu, which is not there",
			 (ull)s->dir, (ull)s->ino);
		mend = tried ? ck__delete_entry(c, s) : 0;
	} else if (s->kind == CK_TYPE && e.inode && e.rec.type != e.d.type) {
		ck__line(c, "a name in directory %llu takes inode %llu for another type",
			 (ull)s->dir, (ull)s->ino);
		mend = tried ? ck__fix_type(c, s, e.rec.type) : 0;
	} else if (s->kind == CK_PARENT && e.inode && !points_back) {
		ck__line(c, "directory %llu does not know that it is in %llu", (ull)s->ino,
			 (ull)s->dir);
		mend = tried ? ck__fix_parent(c, s) : 0;
	} else if (s->kind == CK_TWICE && e.inode && !points_back) {
		ck__line(c, "directory %llu has a second name, in %llu", (ull)s->ino, (ull)s->dir);
		mend = tried ? ck__delete_entry(c, s) : 0;
	} else {
		return 0;
	}
	ck__problem(c, tried, mend);
	return 0;
}

/* ---- the others ---- */

static int verify_links(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);

	if (s->dir)
		ck__line(c, "directory %llu has no name", (ull)s->ino);
	else
		ck__line(c, "inode %llu counts %llu links, %llu were found", (ull)s->ino,
			 (ull)s->hash, (ull)s->count);
	ck__problem(c, tried, tried ? ck__fix_links(c, s) : 0);
	return 0;
}

/* The way up, while no directory changes its parent. */
static int verify_cycle(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);
	struct ck_suspect entry = *s;
	struct fs_order before, after;
	struct fs_inode rec;
	int err = fs__order_begin(c->fs, &before), walk;

	if (!err)
		err = fs__inode_get(c->fs, s->ino, &rec);
	if (err)
		return err == ERR_STALE ? 0 : err;
	walk = fs__order_walk(c->fs, s->ino, rec.parent);
	if (walk != ERR_INVAL)
		return walk == ERR_INTERRUPTED ? walk : 0;
	err = fs__order_begin(c->fs, &after);
	if (err || after.version != before.version)
		return err;
	ck__line(c, "directory %llu lies in itself", (ull)s->ino);
	entry.dir = rec.parent;
	entry.hash = rec.name_hash;
	ck__problem(c, tried, tried ? ck__delete_entry(c, &entry) : 0);
	return 0;
}

static int verify_no_reap(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), there;
	struct fs_inode rec;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, s->ino);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_reap(&k, s->ino, FS_REAP_INODE);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = decode(fs__op_value(&op, 0), &rec, &there);
	if (!err && there && rec.nlink == 0 && fs__op_value(&op, 1)->status == ERR_NOT_FOUND) {
		ck__line(c, "inode %llu has no names, and nobody will remove it", (ull)s->ino);
		ck__problem(c, tried, tried ? ck__fix_no_reap(c, s->ino) : 0);
	}
	fs__op_end(&op);
	return err;
}

static void session_key(struct fs_key *k, uint64_t session)
{
	fs__meta_key(k, KV_KEY_SESSION);
	fs__key_u64(k, session);
}

/* What a G record says, who wrote it, and whether it may be true. */
static int read_reap(struct ck *c, const struct ck_suspect *s, struct fs_reap *g, bool *alive,
		     bool *wrong)
{
	struct fs_inode rec = {0};
	struct fs_key k;
	struct fs_op op;
	bool there;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_reap(&k, s->ino, (uint8_t)s->count);
	txn_get(&op.m, fs__key_slice(&k));
	fs__key_inode(&k, s->count == FS_REAP_INODE ? s->ino : s->dir);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err)
		err = fs__op_value(&op, 0)->status;
	if (!err)
		err = fs__reap_decode(fs__op_value(&op, 0)->value, g);
	if (!err)
		err = decode(fs__op_value(&op, 1), &rec, &there);
	if (err)
		goto out_op;
	*wrong = s->count == FS_REAP_INODE ? lives(there, &rec)
					   : s->dir && there && rec.data_id == s->ino;
	fs__op_reset(&op);
	session_key(&k, g->session);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	*alive = !err && g->session && fs__op_value(&op, 0)->status == 0;
out_op:
	fs__op_end(&op);
	return err;
}

static int verify_reap(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), alive, wrong;
	struct fs_reap g;
	struct fs_key k;
	int err = read_reap(c, s, &g, &alive, &wrong), mend = 0;

	if (!err && !alive && !wrong) /* it may have been the last thing that its mount did */
		err = read_reap(c, s, &g, &alive, &wrong);
	if (err == ERR_NOT_FOUND || err == ERR_CORRUPT)
		return 0; /* done meanwhile; or reported already */
	if (err || (alive && !wrong))
		return err;
	if (wrong)
		ck__line(c, "%llu is in use, but marked to be removed", (ull)s->ino);
	else
		ck__line(c, "%llu waits to be removed since its mount died", (ull)s->ino);
	fs__key_reap(&k, s->ino, (uint8_t)s->count);
	if (tried && wrong)
		mend = ck__delete_key(c, fs__key_slice(&k), 0);
	else if (tried)
		mend = fs__reap_now(c->fs, s->ino, (enum fs_reap_what)s->count);
	ck__problem(c, tried, mend);
	return 0;
}

/* A damaged inode does not say which data it has: then none is removed. */
static int verify_data(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c) && c->bad_inodes == 0;

	ck__line(c, "data %llu belongs to no file", (ull)s->data_id);
	ck__problem(c, tried, tried ? fs__reap_blocks(c->fs, s->data_id) : 0);
	return 0;
}

static int verify_beyond(struct ck *c, const struct ck_suspect *s)
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
		err = decode(fs__op_value(&op, 0), &rec, &there);
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
static int verify_gap(struct ck *c, const struct ck_suspect *s)
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

static int verify_stripe(struct ck *c, const struct ck_suspect *s)
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

int ck__verify(struct ck *c, const struct ck_suspect *s)
{
	switch ((enum ck_kind)s->kind) {
	case CK_DANGLING:
	case CK_TYPE:
	case CK_NO_DIR:
	case CK_PARENT:
	case CK_TWICE:
		return verify_entry(c, s);
	case CK_LINKS:
		return verify_links(c, s);
	case CK_CYCLE:
		return verify_cycle(c, s);
	case CK_NO_REAP:
		return verify_no_reap(c, s);
	case CK_REAP:
		return verify_reap(c, s);
	case CK_DATA:
		return verify_data(c, s);
	case CK_BEYOND:
		return verify_beyond(c, s);
	case CK_GAP:
		return verify_gap(c, s);
	case CK_STRIPE:
		return verify_stripe(c, s);
	case CK_XATTR:
		return ck__verify_xattr(c, s);
	case CK_LOCKS:
		return ck__verify_locks(c, s);
	}
	return 0;
}
