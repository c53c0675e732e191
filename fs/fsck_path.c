/* A path of what is told of, for people: by the names that the scan found, looked up one by one. */
#include <stdio.h>

#include "fs/fsck.h"

#define DEPTH_MAX 64u

/* Puts "/name" before what is in @out. False: it does not fit. */
static bool put_before(char out[CK_PATH_MAX], struct slice name)
{
	size_t len = strlen(out);

	if (name.len + 1 + len >= CK_PATH_MAX)
		return false;
	memmove(out + name.len + 1, out, len + 1);
	out[0] = '/';
	memcpy(out + 1, name.p, name.len);
	return true;
}

static bool name_before(struct ck *c, fs_ino dir, uint64_t hash, fs_ino ino, char out[CK_PATH_MAX])
{
	struct fs_key from, to;
	struct fs_op op;
	bool found = false;

	fs__op_begin(&op, c->fs);
	fs__range_hash(&from, &to, dir, hash);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), FS_TIES_MAX);
	if (!fs__op_read(&op)) {
		for (uint32_t i = 0; i < op.r.reads[0].item_count && !found; i++) {
			const struct txn_item *it = &op.r.reads[0].items[i];
			struct fs_dentry d;

			found = !fs__dentry_decode(it->value, &d) && d.ino == ino &&
				put_before(out, slice_of(it->key.p + FS_DENTRY_HEAD,
							 it->key.len - FS_DENTRY_HEAD));
		}
	}
	fs__op_end(&op);
	return found;
}

void ck__path(struct ck *c, char out[CK_PATH_MAX])
{
	fs_ino ino = c->at.ino, dir = c->at.dir;
	uint64_t hash = c->at.hash;
	const struct ck_inode *e;

	out[0] = '\0';
	if (ino == FS_ROOT_INO && !dir)
		snprintf(out, CK_PATH_MAX, "/");
	for (unsigned i = 0; ino != FS_ROOT_INO && i < DEPTH_MAX; i++) {
		if (!dir || !name_before(c, dir, hash, ino, out))
			break;
		ino = dir;
		e = ck__inode(c, ino);
		dir = e && e->names > 0 ? e->dir : 0;
		hash = e ? e->hash : 0;
	}
	if (out[0] && ino != FS_ROOT_INO) /* from somewhere on: of a part that hangs on nothing */
		memmove(out, out + 1, strlen(out));
}
