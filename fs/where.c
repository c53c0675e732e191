/* Where a file lives: the groups of its name, its inode and its data. */
#include "fs/fs_internal.h"

static uint32_t group_of(const struct fs *fs, const struct fs_key *k)
{
	return fs->b.group_of(fs->b.ctx, fs__key_slice(k));
}

/* The last component is not followed: a symlink has a place, too. */
static int find(struct fs_walk *w, struct fs_attr *a, struct fs_key *dentry)
{
	struct fs_inode rec;
	struct fs_name n;
	int err = fs__walk_on(w);

	if (err)
		return err;
	if (w->name.len == 0) { /* "/", "a/..": a directory knows its name's hash */
		err = fs__inode_get(w->fs, w->dir, &rec);
		if (err)
			return err;
		fs__attr(w->fs, w->dir, &rec, a);
		fs__key_dentry(dentry, rec.parent, rec.name_hash, (struct slice){0});
		return 0;
	}
	err = fs__name_init(w->fs, w->dir, w->name, &n);
	if (err)
		return err;
	*dentry = n.key;
	return fs_lookup(w->fs, w->dir, w->name, a);
}

int fs_where(struct fs *fs, struct slice path, struct fs_where *out)
{
	struct fs_key dentry, inode, data;
	struct fs_attr a;
	struct fs_walk w;
	int err = fs__walk_begin(&w, fs, path, NULL);

	if (!err)
		err = find(&w, &a, &dentry);
	fs__walk_end(&w);
	if (err)
		return err;
	fs__key_inode(&inode, a.ino);
	fs__key_block(&data, a.data_id, 0);
	out->ino = a.ino;
	out->inode_group = group_of(fs, &inode);
	out->dentry_group = group_of(fs, &dentry);
	out->data_group = group_of(fs, &data);
	return buf_set(&out->inode_key, fs__key_slice(&inode));
}
