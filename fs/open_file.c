/* Nodes (inodes that this mount holds open or is busy with) and open files. */
#include "fs/fs_internal.h"

struct fs_node *fs__node_find(struct fs *fs, fs_ino ino)
{
	struct fs_node *n;

	HASH_FIND(hh, fs->nodes, &ino, sizeof(ino), n);
	return n;
}

struct fs_node *fs__node_get(struct fs *fs, fs_ino ino)
{
	struct fs_node *n = fs__node_find(fs, ino);

	if (!n) {
		n = mem_must_alloc(sizeof(*n));
		n->ino = ino;
		TAILQ_INIT(&n->waiters);
		HASH_ADD(hh, fs->nodes, ino, sizeof(n->ino), n);
	}
	n->refs++;
	return n;
}

void fs__node_put(struct fs *fs, struct fs_node *n)
{
	CHECK(n->refs > 0);
	if (--n->refs > 0)
		return;
	CHECK(n->opens == 0 && !n->busy);
	HASH_DEL(fs->nodes, n);
	mem_free(n);
}

int fs__node_lock(struct fs_node *n)
{
	while (n->busy) {
		int err = fs__wait(&n->waiters);

		if (err)
			return err;
	}
	n->busy = true;
	return 0;
}

void fs__node_unlock(struct fs_node *n)
{
	CHECK(n->busy);
	n->busy = false;
	fs__wake_all(&n->waiters);
}

/* ---- open files ---- */

static int openable(struct fs *fs, const struct fs_inode *rec, const struct fs_node *n, unsigned flags)
{
	if (rec->type == FS_T_SYMLINK)
		return ERR_LOOP;
	if (rec->type == FS_T_DIR && flags & (FS_O_WRITE | FS_O_TRUNC))
		return ERR_IS_DIR;
	/* Without names: only where it is held open already, or a name has just led to it. */
	return fs__may_open(fs, n, rec) ? 0 : ERR_STALE;
}

/* The open counts before the inode is looked at, and an unlink of it that is in flight is waited
 * for: so an unlink either sees this open or is seen by it. */
static int open_node(struct fs *fs, struct fs_node *n, unsigned flags)
{
	struct fs_inode rec;
	int err;

	n->opening++;
	n->finding += (flags & FS_O_FOUND) != 0;
	err = fs__node_lock(n);
	if (err)
		goto out;
	err = fs__inode_known(fs, n->ino, &rec);
	if (!err)
		err = openable(fs, &rec, n, flags);
	if (!err && rec.nlink == 0)
		err = fs__hold_found(fs, n);
	if (!err) {
		n->opens++;
		n->writers += (flags & FS_O_WRITE) != 0;
		n->seen = rec;
		n->looks++;
	}
	fs__node_unlock(n);
out:
	n->opening--;
	n->finding -= (flags & FS_O_FOUND) != 0;
	fs__hold_unused(fs, n);
	return err;
}

int fs_file_open_by(struct fs *fs, fs_ino ino, unsigned flags, const struct fs_writer *w,
		    struct fs_file **out)
{
	uint64_t epoch = fs->epoch;
	struct fs_node *n;
	struct fs_file *f;
	int err;

	if (fs->o.read_only && flags & (FS_O_WRITE | FS_O_TRUNC))
		return ERR_READ_ONLY;
	n = fs__node_get(fs, ino);
	err = open_node(fs, n, flags);
	if (err) {
		fs__node_put(fs, n);
		return err;
	}
	f = mem_must_alloc(sizeof(*f));
	*f = (struct fs_file){.fs = fs, .node = n, .flags = flags};
	LIST_INSERT_HEAD(&fs->files, f, link);
	fs->stats.open_files++;
	if (flags & FS_O_TRUNC) {
		struct fs_inode rec;
		uint64_t stamp;

		err = fs__set_size(fs, ino, epoch, 0, w, NULL, NULL, &rec, &stamp);
	}
	if (err) {
		fs_file_close(f);
		return err;
	}
	*out = f;
	return 0;
}

int fs_file_open(struct fs *fs, fs_ino ino, unsigned flags, struct fs_file **out)
{
	return fs_file_open_by(fs, ino, flags, NULL, out);
}

void fs_file_close(struct fs_file *f)
{
	struct fs *fs = f->fs;
	struct fs_node *n = f->node;

	CHECK(n->opens > 0);
	LIST_REMOVE(f, link);
	n->opens--;
	n->writers -= (f->flags & FS_O_WRITE) != 0;
	fs->stats.open_files--;
	fs__hold_unused(fs, n);
	fs__node_put(fs, n);
	mem_free(f->lockers);
	mem_free(f);
}

fs_ino fs_file_ino(const struct fs_file *f)
{
	return f->node->ino;
}

int fs_fsync(struct fs_file *f)
{
	(void)f; /* every write was durable when it returned */
	return 0;
}
