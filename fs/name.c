/* A name in a directory: its key, its tie, what is found under it. */
#include "fs/fs_internal.h"

#include "base/bytes.h"

#define RUN_LIMIT (FS_TIES_MAX * 2)

bool fs__name_is_dot(struct slice name)
{
	return (name.len == 1 && name.p[0] == '.') ||
	       (name.len == 2 && name.p[0] == '.' && name.p[1] == '.');
}

int fs__name_init(const struct fs *fs, fs_ino dir, struct slice name, struct fs_name *n)
{
	if (name.len == 0)
		return ERR_NOT_FOUND;
	if (name.len > FS_NAME_MAX)
		return ERR_NAME_TOO_LONG;
	if (memchr(name.p, '/', name.len) || memchr(name.p, 0, name.len))
		return ERR_INVAL;
	*n = (struct fs_name){.dir = dir, .name = name};
	n->check = fs__name_digest(fs->hash_key, dir, name);
	n->hash = fs__name_hash(n->check & fs->hash_mask);
	fs__key_dentry(&n->key, dir, n->hash, name);
	return 0;
}

uint32_t fs__name_read(struct fs_op *op, const struct fs_name *n)
{
	uint32_t at = txn_get(&op->m, fs__key_slice(&n->key));

	txn_get_ref(&op->m, at, 0, FS_KIND_INODE, (struct slice){0});
	return at;
}

int fs__name_take(struct fs_op *op, struct fs_name *n, uint32_t read)
{
	const struct txn_value *v = fs__op_value(op, read);
	const struct txn_value *ref = fs__op_value(op, read + 1);
	struct fs_dentry d;
	struct fs_inode rec;
	int err;

	n->present = false;
	if (v->status == ERR_NOT_FOUND) {
		fs__name_drop(op->fs, n);
		return 0;
	}
	if (v->status)
		return v->status;
	err = fs__dentry_decode(v->value, &d);
	if (err)
		return err;
	fs__name_set(op->fs, n, v->version, &d);
	if (ref->status == ERR_ELSEWHERE) {
		fs__hint_inode_drop(op->fs, d.ino);
		return 0;
	}
	err = fs__inode_take(op->fs, d.ino, ref, &rec);
	return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

int fs__name_get(struct fs *fs, struct fs_name *n)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__name_read(&op, n);
	err = fs__op_read(&op);
	if (!err)
		err = fs__name_take(&op, n, 0);
	fs__op_end(&op);
	return err;
}

uint32_t fs__if_free(struct fs_op *op, const struct fs_name *n)
{
	struct fs_key from, to;

	fs__range_hash(&from, &to, n->dir, n->hash);
	if (n->run_count == 0)
		return txn_if_range_empty(&op->m, fs__key_slice(&from), fs__key_slice(&to));
	return txn_if_range_same(&op->m, fs__key_slice(&from), fs__key_slice(&to), n->run_count,
				 n->run_hash);
}

/* The entries of equal hash: is the name among them, and which ties are free? */
static int take_run(struct fs *fs, struct fs_name *n, const struct txn_read_result *run)
{
	uint64_t used[FS_TIES_MAX / 64] = {0};
	uint64_t h = 0;

	for (uint32_t i = 0; i < run->item_count; i++) {
		const struct txn_item *it = &run->items[i];
		struct fs_dentry d;
		int err = fs__dentry_decode(it->value, &d);

		if (err)
			return err;
		if (slice_eq(it->key, fs__key_slice(&n->key))) {
			fs__name_set(fs, n, it->version, &d);
			return ERR_EXISTS;
		}
		used[d.tie / 64] |= 1ull << d.tie % 64;
		h = txn_range_hash(h, it->key, it->version);
	}
	n->run_count = run->item_count;
	n->run_hash = h;
	for (n->tie = n->tie_min; n->tie < FS_TIES_MAX; n->tie++)
		if (!(used[n->tie / 64] >> n->tie % 64 & 1))
			return 0;
	return ERR_NOSPACE;
}

int fs__name_taken(struct fs *fs, struct fs_name *n)
{
	struct fs_key from, to;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	n->present = false;
	fs__name_drop(fs, n);
	fs__range_hash(&from, &to, n->dir, n->hash);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), RUN_LIMIT);
	err = fs__op_read(&op);
	if (!err)
		err = take_run(fs, n, &op.r.reads[0]);
	fs__op_end(&op);
	return err;
}
