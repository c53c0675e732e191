/* Moves of directories to other parents are ordered by one key: who moves reads it, walks up from the
 * new parent, and commits only if it is unchanged, changing it. So of two moves that together would
 * make a cycle the second walks again, and sees the first. */
#include "base/bytes.h"
#include "fs/fs_internal.h"
#include "kv/layout.h"

#define DEPTH_MAX 100000u /* of a walk; deeper trees cannot be made with paths, but step by step */

int fs__order_begin(struct fs *fs, struct fs_order *o)
{
	const struct txn_value *v;
	struct fs_op op;
	int err;

	fs__meta_key(&o->key, KV_KEY_RENAME);
	fs__op_begin(&op, fs);
	txn_get(&op.m, fs__key_slice(&o->key));
	err = fs__op_read(&op);
	if (err)
		goto out_op;
	v = fs__op_value(&op, 0);
	o->version = o->value = 0;
	if (v->status == 0) {
		o->version = v->version;
		if (v->value.len == 8)
			o->value = le64_get(v->value.p);
	} else if (v->status != ERR_NOT_FOUND) {
		err = v->status;
	}
out_op:
	fs__op_end(&op);
	return err;
}

int fs__order_walk(struct fs *fs, fs_ino moved, fs_ino dir)
{
	struct fs_inode rec;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		int err;

		if (dir == moved)
			return ERR_INVAL;
		if (dir == FS_ROOT_INO)
			return 0;
		err = fs__inode_get(fs, dir, &rec);
		if (err)
			return err == ERR_STALE ? ERR_NOT_FOUND : err;
		if (rec.type != FS_T_DIR)
			return ERR_NOT_DIR;
		dir = rec.parent;
	}
	return ERR_LOOP;
}

void fs__order_add(struct fs_op *op, struct fs_order *o)
{
	uint8_t b[8];

	le64_put(b, o->value + 1);
	o->cond = txn_if_version(&op->m, fs__key_slice(&o->key), o->version);
	txn_put(&op->m, fs__key_slice(&o->key), slice_of(b, sizeof(b)));
}
