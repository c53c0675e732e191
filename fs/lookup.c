/* From a name to an inode. */
#include "fs/fs_internal.h"

/* "." and "..", which no kernel asks for but handles do. */
static int lookup_dot(struct fs *fs, fs_ino parent, struct slice name, struct fs_attr *a)
{
	int err = fs_getattr(fs, parent, a);

	if (!err && a->nlink != 0 && name.len == 2)
		err = a->mode >> 12 == FS_T_DIR ? fs_getattr(fs, a->parent, a) : ERR_NOT_DIR;
	return err;
}

/* A directory has one name, and knows it: so its inode alone says whether the name is still its. */
static bool named_here(const struct fs_inode *rec, const struct fs_name *n)
{
	return rec->nlink > 0 && rec->parent == n->dir && rec->name_hash == n->hash;
}

/* A directory that was found under this name before: one request instead of two. Equal hashes of
 * two names are out of the question unless tests have shortened them. ERR_STALE: not so. */
static int lookup_known_dir(struct fs *fs, struct fs_name *n, struct fs_inode *rec)
{
	int err;

	if (fs->hash_mask != UINT64_MAX || !fs__name_hint(fs, n) || n->entry.type != FS_T_DIR)
		return ERR_STALE;
	err = fs__inode_get(fs, n->entry.ino, rec);
	if (err)
		return err;
	return rec->type == FS_T_DIR && named_here(rec, n) ? 0 : ERR_STALE;
}

/* The inode lies in another group: a second request. When it is gone, or a directory that has moved,
 * either the name has changed meanwhile (then again), or something is wrong with it. */
static int lookup_elsewhere(struct fs *fs, const struct fs_name *n, struct fs_inode *rec,
			    uint64_t *dangling)
{
	int err = fs__inode_get(fs, n->entry.ino, rec);

	if (!err && rec->nlink > 0 && (rec->type != FS_T_DIR || named_here(rec, n)))
		return 0;
	if (err && err != ERR_STALE)
		return err;
	if (*dangling == n->version)
		return !err && rec->nlink > 0 ? 0 : ERR_CORRUPT; /* the first: fsck mends it */
	*dangling = n->version;
	return ERR_ABORTED;
}

static int lookup_once(struct fs_op *op, struct fs_name *n, struct fs_inode *rec,
		       uint64_t *dangling)
{
	int err;

	fs__op_reset(op);
	fs__name_read(op, n);
	err = fs__op_read(op);
	if (!err)
		err = fs__name_take(op, n, 0);
	if (err)
		return err;
	if (!n->present)
		return ERR_NOT_FOUND;
	if (fs__op_value(op, 1)->status == ERR_ELSEWHERE)
		return lookup_elsewhere(op->fs, n, rec, dangling);
	return fs__inode_decode(fs__op_value(op, 1)->value, rec);
}

int fs_lookup(struct fs *fs, fs_ino parent, struct slice name, struct fs_attr *a)
{
	uint64_t dangling = 0;
	struct fs_inode rec;
	struct fs_name n;
	struct fs_op op;
	int err;

	if (fs__name_is_dot(name))
		return lookup_dot(fs, parent, name, a);
	err = fs__name_init(fs, parent, name, &n);
	if (err)
		return err;
	err = lookup_known_dir(fs, &n, &rec);
	fs__op_begin(&op, fs);
	while (err == ERR_STALE || err == ERR_ABORTED) {
		err = lookup_once(&op, &n, &rec, &dangling);
		if (err != ERR_ABORTED)
			break;
		err = fs__op_conflict(&op);
		if (!err)
			err = ERR_ABORTED;
	}
	fs__op_end(&op);
	if (!err)
		fs__attr(fs, n.entry.ino, &rec, a);
	return err;
}
