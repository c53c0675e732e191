/* Recently seen inodes and dentries: bounded, direct-mapped, always used under a condition. */
#include "fs/fs_internal.h"

void fs__hints_init(struct fs_hints *h)
{
	h->inodes = mem_must_alloc(sizeof(*h->inodes) * FS_HINTS);
	h->dentries = mem_must_alloc(sizeof(*h->dentries) * FS_HINTS);
}

void fs__hints_release(struct fs_hints *h)
{
	mem_free(h->inodes);
	mem_free(h->dentries);
}

void fs__hints_forget(struct fs_hints *h)
{
	memset(h->inodes, 0, sizeof(*h->inodes) * FS_HINTS);
	memset(h->dentries, 0, sizeof(*h->dentries) * FS_HINTS);
}

bool fs__hint_inode(const struct fs *fs, fs_ino ino, struct fs_inode *rec)
{
	const struct fs_inode_hint *h = fs__hint_slot(fs, ino);

	if (h->ino != ino)
		return false;
	*rec = h->rec;
	return true;
}

void fs__hint_inode_suppose(struct fs *fs, fs_ino ino, const struct fs_inode *rec)
{
	struct fs_inode_hint *h = fs__hint_slot(fs, ino);
	struct fs_node *n = fs__node_find(fs, ino);

	h->ino = ino;
	h->rec = *rec;
	if (n)
		n->seen = *rec;
}

void fs__hint_inode_set(struct fs *fs, fs_ino ino, const struct fs_inode *rec)
{
	struct fs_node *n = fs__node_find(fs, ino);

	fs__hint_inode_suppose(fs, ino, rec);
	if (n)
		n->looks++;
}

void fs__hint_inode_drop(struct fs *fs, fs_ino ino)
{
	struct fs_inode_hint *h = fs__hint_slot(fs, ino);

	if (h->ino == ino)
		h->ino = 0;
}

static struct fs_dentry_hint *dentry_slot(const struct fs *fs, const struct fs_name *n)
{
	return &fs->hints.dentries[n->check % FS_HINTS];
}

static bool same_name(const struct fs_dentry_hint *h, const struct fs_name *n)
{
	return h->dir == n->dir && h->hash == n->hash && h->check == n->check;
}

bool fs__name_hint(const struct fs *fs, struct fs_name *n)
{
	const struct fs_dentry_hint *h = dentry_slot(fs, n);

	if (!same_name(h, n))
		return false;
	n->present = true;
	n->entry = h->entry;
	n->version = h->version;
	return true;
}

void fs__name_drop(struct fs *fs, const struct fs_name *n)
{
	struct fs_dentry_hint *h = dentry_slot(fs, n);

	if (same_name(h, n))
		h->dir = 0;
}

void fs__name_set(struct fs *fs, struct fs_name *n, uint64_t version, const struct fs_dentry *d)
{
	struct fs_dentry_hint *h = dentry_slot(fs, n);

	n->present = true;
	n->entry = *d;
	n->version = version;
	*h = (struct fs_dentry_hint){.dir = n->dir,
				     .hash = n->hash,
				     .check = n->check,
				     .version = version,
				     .entry = *d};
}
