/* The check's scan: every key once, into the tables. */
#include <stdio.h>

#include "base/bytes.h"
#include "fs/fsck.h"
#include "fs/lock_table.h"

static struct ck_inode *inode_of(struct ck *c, fs_ino ino)
{
	struct ck_inode *e;

	HASH_FIND(hh, c->inodes, &ino, sizeof(ino), e);
	if (e)
		return e;
	e = mem_must_alloc(sizeof(*e));
	e->ino = ino;
	HASH_ADD(hh, c->inodes, ino, sizeof(e->ino), e);
	return e;
}

static struct ck_data *data_of(struct ck *c, uint64_t id)
{
	struct ck_data *e;

	HASH_FIND(hh, c->data, &id, sizeof(id), e);
	if (e)
		return e;
	e = mem_must_alloc(sizeof(*e));
	e->id = id;
	HASH_ADD(hh, c->data, id, sizeof(e->id), e);
	return e;
}

void ck__clear(struct ck *c)
{
	struct ck_inode *i, *inext;
	struct ck_data *d, *dnext;

	HASH_ITER(hh, c->inodes, i, inext) {
		HASH_DEL(c->inodes, i);
		mem_free(i);
	}
	HASH_ITER(hh, c->data, d, dnext) {
		HASH_DEL(c->data, d);
		mem_free(d);
	}
	c->reap_count = 0;
	c->bad_inodes = 0;
	c->last_dir = c->last_hash = 0;
	c->far_data = c->far_stripe = 0;
}

/* The totals are those of the first time round. */
static bool counting(const struct ck *c)
{
	return c->pass == 0 && c->round == 0;
}

/* A record that is wrong in itself needs no second look, and is told of once a pass. */
static void bad_record(struct ck *c, const struct txn_item *it, const char *what, bool drop)
{
	char hex[2 * 48 + 1] = "";
	bool tried = drop && ck__repairs(c);

	if (c->round > 0)
		return;
	for (size_t i = 0; i < it->key.len && i < 48; i++)
		snprintf(hex + 2 * i, 3, "%02x", it->key.p[i]);
	ck__line(c, "%s, key %s%s", what, hex, it->key.len > 48 ? "..." : "");
	ck__problem(c, tried, tried ? ck__delete_key(c, it->key, it->version) : 0);
}

/* ---- kinds ---- */

static void count_inode(struct ck *c, const struct fs_inode *rec)
{
	if (!counting(c))
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

static void take_inode(struct ck *c, fs_ino ino, const struct txn_item *it)
{
	struct ck_inode *e = inode_of(c, ino);

	e->present = true;
	e->version = it->version;
	if (fs__inode_decode(it->value, &e->rec)) {
		e->bad = true;
		c->bad_inodes++;
		bad_record(c, it, "damaged inode", false);
		return;
	}
	count_inode(c, &e->rec);
	if (e->rec.type == FS_T_FILE)
		data_of(c, e->rec.data_id)->owner = ino;
}

/* Two entries of one hash must not have one tie. */
static void check_tie(struct ck *c, fs_ino dir, uint64_t hash, uint8_t tie,
		      const struct txn_item *it)
{
	if (dir != c->last_dir || hash != c->last_hash)
		c->ties[0] = c->ties[1] = 0;
	c->last_dir = dir;
	c->last_hash = hash;
	if (c->ties[tie / 64] >> tie % 64 & 1)
		bad_record(c, it, "two names with one cookie", false);
	c->ties[tie / 64] |= 1ull << tie % 64;
}

static void note_name(struct ck_inode *e, fs_ino dir, uint64_t hash, uint8_t type)
{
	if (e->names++ > 0) {
		e->twice = true;
		e->dir2 = dir;
		e->hash2 = hash;
		return;
	}
	e->dir = dir;
	e->hash = hash;
	e->type = type;
}

static void misnamed(struct ck *c, const struct txn_item *it, const struct fs_dentry *d)
{
	bool tried = ck__repairs(c);

	if (c->round > 0)
		return;
	ck__line(c, "name \"%.*s\" in directory %llu is filed under a wrong hash",
		 (int)(it->key.len - FS_DENTRY_HEAD), (const char *)it->key.p + FS_DENTRY_HEAD,
		 (unsigned long long)be64_get(it->key.p + 2));
	ck__problem(c, tried, tried ? ck__rename_entry(c, it->key, it->version, d) : 0);
}

static void take_dentry(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct ck_inode *dir, *e;
	struct fs_dentry d;
	struct fs_name n;
	uint64_t hash;

	if (p->rest.len <= 8 || p->rest.len > 8 + FS_NAME_MAX ||
	    fs__dentry_decode(it->value, &d)) {
		bad_record(c, it, "damaged name", true);
		return;
	}
	hash = be64_get(p->rest.p);
	if (counting(c))
		c->r->dentries++;
	if (fs__name_init(c->fs, p->number, slice_of(p->rest.p + 8, p->rest.len - 8), &n) ||
	    n.hash != hash)
		misnamed(c, it, &d);
	check_tie(c, p->number, hash, d.tie, it);
	e = inode_of(c, d.ino);
	note_name(e, p->number, hash, d.type);
	dir = inode_of(c, p->number);
	dir->has_entry = true;
	dir->entry_hash = hash;
	dir->entry_ino = d.ino;
	if (d.type == FS_T_DIR)
		dir->subdirs++;
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
	struct ck_data *e;
	uint64_t block, end;

	if (p->rest.len != 8 || it->value.len > BLOCK_SIZE) {
		bad_record(c, it, "damaged block", false);
		return 0;
	}
	block = be64_get(p->rest.p);
	if (block >= FS_FILE_SIZE_MAX / BLOCK_SIZE ||
	    p->place != fs__stripe_place(p->number, fs__stripe_of_block(block))) {
		bad_record(c, it, "block in a place where nobody looks", true);
		return 0;
	}
	if (counting(c))
		c->r->blocks++;
	e = data_of(c, p->number);
	e->stored = true;
	e->count++;
	end = block * BLOCK_SIZE + it->value.len;
	if (end > e->end || e->end == 0) {
		e->end = end;
		e->block = block;
	}
	return note_stripe(c, p->number, block);
}

static int take_reap(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct fs_reap g;

	if (p->rest.len != 1 || fs__reap_decode(it->value, &g) || g.what != p->rest.p[0]) {
		bad_record(c, it, "damaged reaping record", false);
		return 0;
	}
	data_of(c, p->number)->reaped = true;
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
	if (p->rest.len != 0 || err == ERR_CORRUPT) {
		bad_record(c, it, "damaged record of locks", true);
		return 0;
	}
	return err || c->round > 0 ? err : ck__suspect(&c->verify, &s);
}

static int take_item(struct ck *c, const struct txn_item *it)
{
	struct fs_key_parts p;

	if (!fs__key_parse(it->key, &p)) {
		bad_record(c, it, "a key that means nothing", false);
		return 0;
	}
	if (p.kind != FS_KIND_BLOCK && p.place != fs__place(p.number)) {
		bad_record(c, it, "record in a place where nobody looks", false);
		return 0;
	}
	switch (p.kind) {
	case FS_KIND_INODE:
		take_inode(c, p.number, it);
		return 0;
	case FS_KIND_DENTRY:
		take_dentry(c, &p, it);
		return 0;
	case FS_KIND_BLOCK:
		return take_block(c, &p, it);
	case FS_KIND_STRIPES:
		data_of(c, p.number)->stored = true;
		return 0;
	case FS_KIND_REAP:
		return take_reap(c, &p, it);
	case FS_KIND_XATTR:
		c->r->xattrs += counting(c);
		ck__take_xattr(inode_of(c, p.number), p.rest, it->value);
		return 0;
	case FS_KIND_LOCK:
		return take_locks(c, &p, it);
	case FS_KIND_SYSTEM:
		return 0;
	default:
		bad_record(c, it, "a key of no kind", false);
		return 0;
	}
}

/* ---- pages ---- */

/* Later rounds want to know who uses a data id, not each of its blocks. */
static void go_on_behind(struct ck *c, struct fs_key *at, struct slice last)
{
	struct fs_key_parts p;

	at->len = 0;
	if (c->round > 0 && fs__key_parse(last, &p) && p.kind == FS_KIND_BLOCK) {
		fs__key_head(at, p.place, p.number, FS_KIND_BLOCK + 1);
		return;
	}
	fs__key_bytes(at, last);
	fs__key_bytes(at, slice_of("", 1));
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
		go_on_behind(c, at, r->items[r->item_count - 1].key);
	else
		*at = end;
	if (c->o->progress)
		c->o->progress(c->o->ctx, c->keys);
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
