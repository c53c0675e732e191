/* A second look at what does not fit together, in one transaction: names, counts, loops. */
#include "fs/fsck.h"

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

int ck__decode(const struct txn_value *v, struct fs_inode *rec, bool *there)
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
		err = ck__decode(fs__op_value(&op, 1), &out->rec, &out->inode);
	if (!err)
		err = ck__decode(fs__op_value(&op, 2), &out->dir_rec, &out->dir);
	fs__op_end(&op);
	return err;
}

/* ---- names ---- */

static void if_inode_absent(struct fs_op *op, const void *ctx)
{
	const struct ck_suspect *s = ctx;
	struct fs_key k;

	fs__key_inode(&k, s->ino);
	txn_if_absent(&op->m, fs__key_slice(&k));
}

/* It stays where it is, so that the other name is its name. */
static void if_parent_same(struct fs_op *op, const void *ctx)
{
	const struct seen *e = ctx;

	fs__if_inode_u64(op, e->d.ino, FS_F_PARENT, e->rec.parent);
	fs__if_inode_u64(op, e->d.ino, FS_F_NAME_HASH, e->rec.name_hash);
}

int ck__verify_entry(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), points_back;
	struct seen e;
	int err = see(c, s, &e), mend = 0;

	if (err || !e.found)
		return err == ERR_CORRUPT ? 0 : err; /* a damaged inode is told of as such */
	points_back = e.rec.parent == s->dir && e.rec.name_hash == s->hash;
	if (s->kind == CK_DANGLING && !e.inode) {
		ck__line(c, "a name in directory %llu leads to inode %llu, which is not there",
			 (ull)s->dir, (ull)s->ino);
		mend = tried ? ck__delete_entry(c, s, if_inode_absent, s) : 0;
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
		mend = tried ? ck__delete_entry(c, s, if_parent_same, &e) : 0;
	} else {
		return 0;
	}
	ck__problem(c, tried, mend);
	return 0;
}

/* Entries of what is no directory: what they lead to will be nameless then, and get new names. */
static int drop_entries(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec)
{
	struct fs_key from, to;
	struct fs_op op;
	uint64_t gone = 0;
	int err;

	do {
		fs__op_begin(&op, c->fs);
		fs__if_inode_u64(&op, s->ino, FS_F_TYPE, rec->type);
		fs__range_kind(&from, &to, s->ino, FS_KIND_DENTRY);
		fs__delete_range(&op, &from, &to);
		err = ck__exec(&op);
		gone = err ? 0 : op.r.numbers[0];
		fs__op_end(&op);
	} while (!err && gone >= TXN_SCAN_ITEMS_MAX);
	return err;
}

int ck__verify_no_dir(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c), there, any = false;
	struct fs_key from, to;
	struct fs_inode rec;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__key_inode(&from, s->ino);
	txn_get(&op.m, fs__key_slice(&from));
	fs__range_kind(&from, &to, s->ino, FS_KIND_DENTRY);
	fs__range_piece(c->fs, &from, &to, &to);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), 1);
	err = fs__op_read(&op);
	if (!err)
		err = ck__decode(fs__op_value(&op, 0), &rec, &there);
	if (!err)
		any = there && rec.type != FS_T_DIR && op.r.reads[1].item_count > 0;
	fs__op_end(&op);
	if (!any)
		return err == ERR_CORRUPT ? 0 : err;
	ck__line(c, "inode %llu has names in it, but is no directory", (ull)s->ino);
	ck__problem(c, tried, tried ? drop_entries(c, s, &rec) : 0);
	return 0;
}

/* ---- the others ---- */

static int verify_links(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);

	if (s->dir || s->count == 0)
		c->at.kind = CK_NO_NAME;
	if (s->dir)
		ck__line(c, "directory %llu has no name", (ull)s->ino);
	else
		ck__line(c, "inode %llu counts %llu links, %llu were found", (ull)s->ino,
			 (ull)s->hash, (ull)s->count);
	ck__problem(c, tried, tried ? ck__fix_links(c, s) : 0);
	return 0;
}

static void if_order_same(struct fs_op *op, const void *ctx)
{
	const struct fs_order *o = ctx;

	txn_if_version(&op->m, fs__key_slice(&o->key), o->version);
}

/* The way up, while no directory changes its parent. */
int ck__verify_cycle(struct ck *c, const struct ck_suspect *s)
{
	bool tried = ck__repairs(c);
	struct ck_suspect entry = *s;
	struct fs_order before, after;
	struct fs_inode rec;
	int err = fs__order_begin(c->fs, &before), walk;

	if (!err)
		err = fs__inode_get(c->fs, s->ino, &rec);
	if (err)
		return err == ERR_STALE || err == ERR_CORRUPT ? 0 : err;
	walk = fs__order_walk(c->fs, s->ino, rec.parent);
	if (walk != ERR_INVAL)
		return walk == ERR_INTERRUPTED ? walk : 0;
	err = fs__order_begin(c->fs, &after);
	if (err || after.version != before.version)
		return err;
	ck__line(c, "directory %llu lies in itself", (ull)s->ino);
	entry.dir = rec.parent;
	entry.hash = rec.name_hash;
	ck__problem(c, tried, tried ? ck__delete_entry(c, &entry, if_order_same, &before) : 0);
	return 0;
}

int ck__verify(struct ck *c, const struct ck_suspect *s)
{
	ck__about(c, (enum ck_kind)s->kind, s->ino ? s->ino : s->data_id);
	if (s->dir && s->hash && s->kind != CK_LINKS)
		ck__about_name(c, (enum ck_kind)s->kind, s->dir, s->hash, c->at.ino);
	switch ((enum ck_kind)s->kind) {
	case CK_DANGLING:
	case CK_TYPE:
	case CK_PARENT:
	case CK_TWICE:
		return ck__verify_entry(c, s);
	case CK_NO_DIR:
		return ck__verify_no_dir(c, s);
	case CK_NO_LINKS:
		return ck__verify_no_links(c, s);
	case CK_LINKS:
		return verify_links(c, s);
	case CK_CYCLE:
		return ck__verify_cycle(c, s);
	case CK_LOST:
		return ck__verify_lost(c, s);
	case CK_FIELDS:
		return ck__verify_fields(c, s);
	case CK_WRONG_TYPE:
		return ck__verify_wrong_type(c, s);
	case CK_ROOT:
		return ck__verify_root(c, s);
	case CK_NO_REAP:
		return ck__verify_no_reap(c, s);
	case CK_REAP:
		return ck__verify_reap(c, s);
	case CK_DATA:
		return ck__verify_data(c, s);
	case CK_SHARED:
		return ck__verify_shared(c, s);
	case CK_BEYOND:
		return ck__verify_beyond(c, s);
	case CK_GAP:
		return ck__verify_gap(c, s);
	case CK_STRIPE:
		return ck__verify_stripe(c, s);
	case CK_XATTR:
		return ck__verify_xattr(c, s);
	case CK_LOCKS:
		return ck__verify_locks(c, s);
	default:
		return 0;
	}
}
