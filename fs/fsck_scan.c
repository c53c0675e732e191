/* The check's scan: every key once, into the tables. */
#include "base/bytes.h"
#include "fs/fsck.h"
#include "fs/lock_table.h"

void ck__clear(struct ck *c)
{
	ck__table_clear(&c->inodes);
	ck__table_clear(&c->data);
	c->reap_count = 0;
	c->bad_inodes = c->highest = 0;
	c->last_dir = c->last_hash = 0;
	c->far_data = c->far_stripe = 0;
}

/* ---- kinds ---- */

static void count_inode(struct ck *c, const struct fs_inode *rec)
{
	if (!ck__counting(c))
		return;
	if (rec->nlink == 0)
		c->r->orphans++;
	else if (rec->type == FS_T_DIR)
		c->r->directories++;
	else if (rec->type == FS_T_FILE)
		c->r->files++;
	else if (rec->type == FS_T_SYMLINK)
		c->r->symlinks++;
	else
		c->r->others++;
	if (rec->type == FS_T_FILE)
		c->r->bytes += rec->size;
}

static void in_use(struct ck *c, uint64_t number)
{
	if ((number & FS_COUNTER_MASK) > c->highest)
		c->highest = number & FS_COUNTER_MASK;
}

static int own_data(struct ck *c, fs_ino ino, uint64_t data_id)
{
	struct ck_data *d = ck__row_get(&c->data, data_id);
	struct ck_suspect s = {.kind = CK_SHARED, .ino = ino, .data_id = data_id};

	if (!d)
		return ERR_NOMEM;
	in_use(c, data_id);
	s.dir = d->owner;
	d->shared = d->owner != 0;
	if (!d->owner)
		d->owner = ino;
	return s.dir && c->round == 0 ? ck__suspect(&c->verify, &s) : 0;
}

static void keep_inode(struct ck_inode *e, const struct fs_inode *rec)
{
	e->size = rec->size;
	e->data_id = rec->data_id;
	e->parent = rec->parent;
	e->name_hash = rec->name_hash;
	e->nlink = rec->nlink;
	e->perm = rec->perm;
	e->type = (uint8_t)rec->type;
	e->xattrs = rec->xattrs;
	e->holes = rec->holes;
	e->orphan = rec->orphan;
}

static int take_inode(struct ck *c, fs_ino ino, const struct txn_item *it)
{
	struct ck_inode *e = ck__row_get(&c->inodes, ino);
	struct fs_inode rec;

	if (!e)
		return ERR_NOMEM;
	e->present = true;
	e->version = it->version;
	in_use(c, ino);
	if (fs__inode_decode(it->value, &rec)) {
		e->bad = true;
		c->bad_inodes++;
		return 0;
	}
	keep_inode(e, &rec);
	e->odd = ck__odd(it->value, &rec);
	count_inode(c, &rec);
	return rec.type == FS_T_FILE ? own_data(c, ino, rec.data_id) : 0;
}

/* Two entries of one hash must not have one tie. */
static void check_tie(struct ck *c, fs_ino dir, uint64_t hash, const struct fs_dentry *d,
		      const struct txn_item *it)
{
	if (dir != c->last_dir || hash != c->last_hash)
		c->ties[0] = c->ties[1] = 0;
	c->last_dir = dir;
	c->last_hash = hash;
	if (c->ties[d->tie / 64] >> d->tie % 64 & 1)
		ck__bad_cookie(c, it, d);
	c->ties[d->tie / 64] |= 1ull << d->tie % 64;
}

/* Of two names: one of each type, if there are two types. */
static void note_name(struct ck_inode *e, fs_ino dir, uint64_t hash, uint8_t type)
{
	if (e->names++ == 0) {
		e->dir = dir;
		e->hash = hash;
		e->name_type = type;
	} else if (e->names == 2 || (e->name_type2 == e->name_type && type != e->name_type)) {
		e->dir2 = dir;
		e->hash2 = hash;
		e->name_type2 = type;
	}
}

static bool usable(struct slice name)
{
	return name.len > 0 && name.len <= FS_NAME_MAX && !fs__name_is_dot(name) &&
	       !memchr(name.p, '/', name.len) && !memchr(name.p, 0, name.len);
}

static int take_dentry(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_inode *dir, *e;
	struct fs_dentry d;
	struct fs_name n;
	uint64_t hash;

	if (p->rest.len < 8 || fs__dentry_decode(it->value, &d)) {
		ck__bad_record(c, CK_RECORD, it, "damaged name", true);
		return 0;
	}
	hash = be64_get(p->rest.p);
	if (ck__counting(c))
		c->r->dentries++;
	if (!usable(slice_of(p->rest.p + 8, p->rest.len - 8)) ||
	    fs__name_init(c->fs, p->number, slice_of(p->rest.p + 8, p->rest.len - 8), &n) ||
	    n.hash != hash)
		ck__bad_name(c, it, &d);
	check_tie(c, p->number, hash, &d, it);
	e = ck__row_get(&c->inodes, d.ino);
	dir = e ? ck__row_get(&c->inodes, p->number) : NULL;
	if (!dir)
		return ERR_NOMEM;
	note_name(e, p->number, hash, d.type);
	dir->has_entry = true;
	if (d.type == FS_T_DIR)
		dir->subdirs++;
	return 0;
}

/* One block of each stripe is asked for its mark. */
static int note_stripe(struct ck *c, uint64_t data_id, uint64_t block)
{
	uint64_t stripe = fs__stripe_of_block(block);
	struct ck_suspect s = {.kind = CK_STRIPE, .data_id = data_id, .block = block};

	if (stripe == 0 || (c->far_data == data_id && c->far_stripe == stripe))
		return 0;
	c->far_data = data_id;
	c->far_stripe = stripe;
	return c->round > 0 ? 0 : ck__suspect(&c->verify, &s);
}

static int take_block(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_data *e = ck__row_get(&c->data, p->number);
	uint64_t block = be64_get(p->rest.p), end;
	size_t len = it->value.len;

	if (!e)
		return ERR_NOMEM;
	if (len > BLOCK_SIZE) {
		ck__bad_block(c, it);
		len = BLOCK_SIZE;
	}
	if (ck__counting(c))
		c->r->blocks++;
	e->stored = e->blocks = true;
	e->count++;
	end = block * BLOCK_SIZE + len;
	if (end > e->end || e->end == 0) {
		e->end = end;
		e->block = block;
	}
	return note_stripe(c, p->number, block);
}

static int take_stripes(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_data *e = ck__row_get(&c->data, p->number);

	if (!e)
		return ERR_NOMEM;
	e->stored = true;
	if (it->value.len > FS_STRIPES_CHUNK_BYTES)
		ck__bad_stripes(c, it);
	return 0;
}

static int take_reap(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_data *d = ck__row_get(&c->data, p->number);
	struct fs_reap g;

	if (!d)
		return ERR_NOMEM;
	d->reaped = true; /* also when it is damaged: then it is made anew */
	if (fs__reap_decode(it->value, &g) || g.what != p->rest.p[0]) {
		ck__bad_reap(c, p, it);
		return 0;
	}
	if (c->reap_count == c->reap_cap) {
		uint32_t cap = c->reap_cap ? c->reap_cap * 2 : 64;
		struct ck_reap *v = mem_try_realloc(c->reaps, sizeof(*v) * cap);

		if (!v)
			return ERR_NOMEM;
		c->reaps = v;
		c->reap_cap = cap;
	}
	c->reaps[c->reap_count++] = (struct ck_reap){.object = p->number, .what = g.what};
	return 0;
}

static int take_locks(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_suspect s = {.kind = CK_LOCKS, .ino = p->number};
	struct lock_table t;
	int err;

	lock_table_init(&t);
	err = lock_table_decode(it->value, &t);
	lock_table_release(&t);
	if (err == ERR_CORRUPT) {
		ck__bad_record(c, CK_RECORD, it, "damaged record of locks", true);
		return 0;
	}
	return err || c->round > 0 ? err : ck__suspect(&c->verify, &s);
}

static int take_xattr(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_inode *e = ck__row_get(&c->inodes, p->number);

	if (!e)
		return ERR_NOMEM;
	c->r->xattrs += ck__counting(c);
	ck__take_xattr(c, e, p, it);
	return 0;
}

static int take_item(struct ck *c, const struct txn_item *it)
{
	struct fs_key_parts p;

	if (!fs__key_parse(it->key, &p)) {
		ck__bad_record(c, CK_UNKNOWN, it, "a key that means nothing", false);
		return 0;
	}
	if (ck__bad_key(c, &p, it))
		return 0;
	switch (p.kind) {
	case FS_KIND_INODE:
		return take_inode(c, p.number, it);
	case FS_KIND_DENTRY:
		return take_dentry(c, &p, it);
	case FS_KIND_BLOCK:
		return take_block(c, &p, it);
	case FS_KIND_STRIPES:
		return take_stripes(c, &p, it);
	case FS_KIND_REAP:
		return take_reap(c, &p, it);
	case FS_KIND_XATTR:
		return take_xattr(c, &p, it);
	case FS_KIND_LOCK:
		return take_locks(c, &p, it);
	case FS_KIND_HOLD:
	case FS_KIND_MOUNT:
	case FS_KIND_QUEUE:
		if (!ck__hold_record_ok(&p, it->value))
			ck__bad_hold(c, &p, it);
		return 0;
	default: /* the system's record: it was read when this file system was opened */
		return 0;
	}
}

/* ---- pages ---- */

static void tell_progress(struct ck *c, const struct fs_key *at)
{
	struct fs_fsck_progress p = {.pass = c->pass + 1, .round = c->round + 1, .keys = c->keys};

	if (!c->o->progress)
		return;
	p.percent = at->len < 2 ? 0 : (unsigned)be16_get(at->b) * 100u / FS_PLACE_COUNT;
	c->o->progress(c->o->ctx, &p);
}

static int scan_page(struct ck *c, struct fs_op *op, struct fs_key *at, const struct fs_key *to)
{
	const struct txn_read_result *r;
	struct fs_key end;
	int err;

	fs__range_piece(c->fs, at, to, &end);
	fs__op_reset(op);
	txn_scan(&op->m, fs__key_slice(at), fs__key_slice(&end), CK_PAGE);
	err = fs__op_read(op);
	if (err == ERR_ELSEWHERE)
		return fs__op_conflict(op);
	if (err)
		return err;
	op->conflicts = 0;
	r = &op->r.reads[0];
	for (uint32_t i = 0; !err && i < r->item_count; i++)
		err = take_item(c, &r->items[i]);
	c->keys += r->item_count;
	if (r->more && r->item_count > 0)
		/* later rounds want to know who uses a data id, not each of its blocks */
		fs__key_behind(at, r->items[r->item_count - 1].key, c->round > 0);
	else
		*at = end;
	tell_progress(c, at);
	return err;
}

int ck__scan(struct ck *c)
{
	struct fs_key at = {.len = 2}, to = {.len = 2};
	struct fs_op op;
	int err = 0;

	be16_put(at.b, 0);
	be16_put(to.b, FS_PLACE_COUNT);
	ck__clear(c);
	fs__op_begin(&op, c->fs);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0)
		err = fiber_interrupted() ? ERR_INTERRUPTED : scan_page(c, &op, &at, &to);
	fs__op_end(&op);
	return err;
}
