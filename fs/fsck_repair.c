/* Mending what the check found. Each repair is one transaction under conditions that what was found
 * is still so; what a repair leaves over, the next pass finds. */
#include <stdio.h>

#include "base/bytes.h"
#include "fs/fsck.h"

#define LOST_NAME_MAX 40u
#define LOST_NAMES    100u /* tried for one inode */

int ck__exec(struct fs_op *op)
{
	int err;

	do {
		txn_result_release(&op->r);
		txn_result_init(&op->r);
		err = fs__op_exec(op);
	} while (fs__op_again(op, &err));
	return err;
}

int ck__finish(struct fs_op *op)
{
	int err = ck__exec(op);

	fs__op_end(op);
	return err;
}

int ck__delete_key(struct ck *c, struct slice key, uint64_t version)
{
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	if (version)
		txn_if_version(&op.m, key, version);
	txn_delete(&op.m, key);
	return ck__finish(&op);
}

/* ---- names ---- */

struct found {
	struct fs_key key;
	struct fs_dentry d;
	uint64_t version;
};

/* The entry of this hash that leads to that inode. */
static int find_entry(struct ck *c, const struct ck_suspect *s, struct found *out)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__range_hash(&from, &to, s->dir, s->hash);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), FS_TIES_MAX);
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	err = ERR_NOT_FOUND;
	for (uint32_t i = 0; i < op.r.reads[0].item_count && err; i++) {
		const struct txn_item *it = &op.r.reads[0].items[i];

		if (fs__dentry_decode(it->value, &out->d) || out->d.ino != s->ino)
			continue;
		out->key.len = 0;
		fs__key_bytes(&out->key, it->key);
		out->version = it->version;
		err = 0;
	}
out_op:
	fs__op_end(&op);
	return err;
}

int ck__delete_entry(struct ck *c, const struct ck_suspect *s, ck_also_fn *also, const void *ctx)
{
	struct found f;
	struct fs_op op;
	int err = find_entry(c, s, &f);

	if (err)
		return err;
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, fs__key_slice(&f.key), f.version);
	if (also)
		also(&op, ctx);
	txn_delete(&op.m, fs__key_slice(&f.key));
	return ck__finish(&op);
}

int ck__fix_type(struct ck *c, const struct ck_suspect *s, uint16_t type)
{
	uint8_t b[FS_DENTRY_SIZE];
	struct found f;
	struct fs_op op;
	int err = find_entry(c, s, &f);

	if (err)
		return err;
	f.d.type = (uint8_t)type;
	fs__dentry_encode(b, &f.d);
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, fs__key_slice(&f.key), f.version);
	txn_put(&op.m, fs__key_slice(&f.key), slice_of(b, sizeof(b)));
	return ck__finish(&op);
}

int ck__fix_parent(struct ck *c, const struct ck_suspect *s)
{
	struct found f;
	struct fs_op op;
	int err = find_entry(c, s, &f);

	if (err)
		return err;
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, fs__key_slice(&f.key), f.version);
	fs__set_inode(&op, s->ino, FS_F_PARENT, s->dir);
	fs__set_inode(&op, s->ino, FS_F_NAME_HASH, s->hash);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, s->ino);
	return err;
}

/* What comes nearest to it among the names that can be. */
static struct slice usable_name(struct slice name, fs_ino ino, char buf[FS_NAME_MAX])
{
	size_t len = name.len < FS_NAME_MAX ? name.len : FS_NAME_MAX;

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(name.p[i] == '/' || name.p[i] == 0 ? '_' : name.p[i]);
	if (fs__name_is_dot(slice_of(buf, len)))
		memset(buf, '_', len);
	if (len == 0)
		len = (size_t)snprintf(buf, FS_NAME_MAX, "#%llu", (unsigned long long)ino);
	return slice_of(buf, len);
}

static int put_renamed(struct ck *c, struct slice key, uint64_t version, const struct fs_dentry *d,
		       const struct fs_name *n)
{
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, key, version);
	fs__if_free(&op, n);
	txn_delete(&op.m, key);
	fs__put_dentry(&op, n, d->ino, d->type, n->tie);
	if (d->type == FS_T_DIR) {
		fs__if_inode_exists(&op, d->ino);
		fs__set_inode(&op, d->ino, FS_F_NAME_HASH, n->hash);
	}
	return ck__finish(&op);
}

/* To where its name belongs, or to the nearest name that can be. Where somebody is already it goes
 * away, and what it led to gets a name in lost+found when it has no other. */
int ck__rename_entry(struct ck *c, struct slice key, uint64_t version, const struct fs_dentry *d)
{
	char buf[FS_NAME_MAX];
	struct fs_key_parts p;
	struct fs_name n;
	int err;

	if (!fs__key_parse(key, &p) || p.rest.len < 8)
		return ERR_CORRUPT;
	err = fs__name_init(c->fs, p.number,
			    usable_name(slice_of(p.rest.p + 8, p.rest.len - 8), d->ino, buf), &n);
	if (!err)
		err = fs__name_taken(c->fs, &n);
	if (err == ERR_EXISTS || err == ERR_NOSPACE)
		return ck__delete_key(c, key, version);
	return err ? err : put_renamed(c, key, version, d, &n);
}

/* The run of entries with the same hash: gives this one a tie that no other has. */
int ck__fix_cookie(struct ck *c, struct slice key, const struct fs_dentry *d)
{
	uint64_t used[FS_TIES_MAX / 64] = {0}, h = 0;
	const struct txn_read_result *run;
	uint8_t b[FS_DENTRY_SIZE];
	struct fs_dentry new = *d, o;
	struct fs_key from, to;
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__range_hash(&from, &to, be64_get(key.p + 2), be64_get(key.p + FS_KEY_HEAD));
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), FS_TIES_MAX);
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	run = &op.r.reads[0];
	for (uint32_t i = 0; i < run->item_count; i++) {
		h = txn_range_hash(h, run->items[i].key, run->items[i].version);
		if (!fs__dentry_decode(run->items[i].value, &o))
			used[o.tie / 64] |= 1ull << o.tie % 64;
	}
	for (new.tie = 0; new.tie < FS_TIES_MAX && used[new.tie / 64] >> new.tie % 64 & 1;)
		new.tie++;
	if (new.tie == FS_TIES_MAX || run->more) {
		err = ERR_NOSPACE;
		goto out_op;
	}
	uint32_t count = run->item_count;

	fs__dentry_encode(b, &new);
	fs__op_reset(&op);
	txn_if_range_same(&op.m, fs__key_slice(&from), fs__key_slice(&to), count, h);
	txn_put(&op.m, key, slice_of(b, sizeof(b)));
	err = ck__exec(&op);
out_op:
	fs__op_end(&op);
	return err;
}

/* ---- links ---- */

static const struct fs_cred root_cred = {.uid = 0, .gid = 0, .umask = 077};

int ck__lost_and_found(struct ck *c, fs_ino *dir)
{
	struct fs_make q = {.cred = &root_cred,
			    .parent = FS_ROOT_INO,
			    .name = slice_str("lost+found"),
			    .mode = S_IFDIR | 0700,
			    .lenient = true};
	struct fs_inode rec;
	struct fs_attr a;
	int err = fs__make(c->fs, &q, dir, &rec);

	if (err != ERR_EXISTS)
		return err;
	err = fs_lookup(c->fs, FS_ROOT_INO, q.name, &a);
	*dir = a.ino;
	return err ? err : S_ISDIR(a.mode) ? 0 : ERR_NOT_DIR;
}

/* "#INO", or, where something else has that name, "#INO.1", "#INO.2" and so on. */
static int lost_name(struct fs *fs, fs_ino dir, fs_ino ino, char name[LOST_NAME_MAX],
		     struct fs_name *n)
{
	int len = snprintf(name, LOST_NAME_MAX, "#%llu", (unsigned long long)ino);
	int err = ERR_EXISTS;

	for (unsigned i = 1; err == ERR_EXISTS && i <= LOST_NAMES; i++) {
		err = fs__name_init(fs, dir, slice_str(name), n);
		if (!err)
			err = fs__name_taken(fs, n);
		if (err == ERR_EXISTS)
			snprintf(name + len, LOST_NAME_MAX - (size_t)len, ".%u", i);
	}
	return err;
}

static int add_adoption(struct fs_op *op, fs_ino dir, fs_ino ino, uint64_t version)
{
	bool is_dir;
	struct fs_inode rec;
	struct fs_name n;
	struct fs_key k;
	char name[LOST_NAME_MAX];
	int err = fs__inode_get(op->fs, ino, &rec);

	if (!err)
		err = lost_name(op->fs, dir, ino, name, &n);
	if (err)
		return err;
	is_dir = rec.type == FS_T_DIR;
	fs__key_inode(&k, ino);
	txn_if_version(&op->m, fs__key_slice(&k), version);
	fs__if_inode_usable(op, dir); /* it may be removed meanwhile, and be open */
	fs__if_free(op, &n);
	fs__put_dentry(op, &n, ino, rec.type, n.tie);
	if (is_dir) {
		fs__set_inode(op, ino, FS_F_PARENT, dir);
		fs__set_inode(op, ino, FS_F_NAME_HASH, n.hash);
	} else {
		fs__set_inode(op, ino, FS_F_NLINK, 1);
	}
	fs__touch_ctime(op, ino);
	fs__touch_dir(op, dir, is_dir ? 1 : 0);
	return 0;
}

int ck__adopt(struct ck *c, fs_ino ino, uint64_t version)
{
	struct fs_op op;
	fs_ino dir;
	int err = ck__lost_and_found(c, &dir);

	if (err)
		return err;
	fs__op_begin(&op, c->fs);
	err = add_adoption(&op, dir, ino, version);
	if (!err)
		err = ck__exec(&op);
	fs__op_end(&op);
	fs__hint_inode_drop(c->fs, ino);
	return err;
}

int ck__fix_links(struct ck *c, const struct ck_suspect *s)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	if (s->dir || s->count == 0)
		return ck__adopt(c, s->ino, s->version);
	fs__op_begin(&op, c->fs);
	fs__key_inode(&k, s->ino);
	txn_if_version(&op.m, fs__key_slice(&k), s->version);
	fs__set_inode(&op, s->ino, FS_F_NLINK, s->count);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, s->ino);
	return err;
}

int ck__fix_no_reap(struct ck *c, fs_ino ino)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__if_inode_u64(&op, ino, FS_F_NLINK, 0);
	fs__put_reap(&op, ino, FS_REAP_INODE);
	err = ck__finish(&op);
	return err ? err : fs__orphan_now(c->fs, ino);
}

/* ---- data ---- */

static void if_unchanged(struct fs_op *op, const struct ck_suspect *s, const struct fs_inode *rec)
{
	fs__if_inode_u64(op, s->ino, FS_F_DATA_ID, rec->data_id);
	fs__if_inode_u64(op, s->ino, FS_F_SIZE, rec->size);
}

/* Blocks from @first on to the end of its stripe. */
static int drop_blocks(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec,
		       uint64_t first)
{
	struct fs_key from, to;
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	if_unchanged(&op, s, rec);
	fs__range_blocks(&from, &to, rec->data_id, first, UINT64_MAX);
	fs__delete_range(&op, &from, &to);
	return ck__finish(&op);
}

static int cut_block(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec)
{
	struct fs_key k;
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	if_unchanged(&op, s, rec);
	fs__key_block(&k, rec->data_id, rec->size / BLOCK_SIZE);
	txn_cut(&op.m, fs__key_slice(&k), rec->size % BLOCK_SIZE);
	return ck__finish(&op);
}

int ck__fix_beyond(struct ck *c, const struct ck_suspect *s, const struct fs_inode *rec)
{
	uint64_t first = (rec->size + BLOCK_SIZE - 1) / BLOCK_SIZE;
	struct fs_stripe_set far;
	int err = fs__stripes_get(c->fs, rec->data_id, &far);

	if (!err && rec->size % BLOCK_SIZE)
		err = cut_block(c, s, rec);
	if (!err && first <= s->block)
		err = drop_blocks(c, s, rec, first);
	if (!err && first <= s->block &&
	    fs__stripe_of_block(s->block) != fs__stripe_of_block(first))
		err = drop_blocks(c, s, rec, s->block - s->block % FS_BLOCKS_PER_STRIPE);
	for (uint32_t i = 0; !err && i < far.count; i++) {
		uint64_t start = far.stripes[i] * FS_BLOCKS_PER_STRIPE;

		if (start >= first)
			err = drop_blocks(c, s, rec, start);
	}
	fs__stripes_release(&far);
	return err;
}

int ck__fix_gap(struct ck *c, fs_ino ino, uint64_t data_id)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	fs__if_inode_u64(&op, ino, FS_F_DATA_ID, data_id);
	fs__add_holes(&op, ino);
	err = ck__finish(&op);
	fs__hint_inode_drop(c->fs, ino);
	return err;
}

int ck__fix_stripe(struct ck *c, const struct ck_suspect *s)
{
	struct fs_key k;
	struct fs_op op;

	fs__op_begin(&op, c->fs);
	fs__key_block(&k, s->data_id, s->block);
	txn_if_exists(&op.m, fs__key_slice(&k));
	fs__add_stripes(&op, s->data_id, s->block * BLOCK_SIZE, 1);
	return ck__finish(&op);
}
