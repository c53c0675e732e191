/* Which version of a file's data the kernel's page cache may hold, and which size and time of change
 * the kernel was last told.
 *
 * Every answer with attributes notes the version that it tells; a different one than before means
 * that somebody else wrote, and the pages have to go. The kernel drops them by itself when it learns
 * of another size or time of change (AUTO_INVAL_DATA), and takes the size from the same answer: then
 * nothing is to be done here, and nothing may be: a notification makes the kernel throw away the very
 * answer that it precedes. Only where size and time are the same again (utimens can set any) has a
 * notification to come first; the answer that is lost thereby says nothing new.
 *
 * A write of this mount raises the version by exactly one, and the kernel's pages follow it, so it is
 * counted here too. When an answer and a write of our own cross, nobody can say which was first: the
 * entry is then `uncertain`, and the next answer without a write in flight drops the pages and starts
 * anew. SETATTR may not drop pages before it is answered (the kernel writes none back meanwhile): what
 * it finds makes the entry uncertain. What is known lives as long as the kernel knows the inode
 * (mount_inodes.c): FORGET drops it, with the kernel's pages.
 */
#include "mount/mount_internal.h"

static struct mount_inode *find(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e = mount__inode_find(v, ino);

	return e && e->versioned ? e : NULL;
}

static struct mount_inode *add(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e = mount__inode_get(v, ino);

	e->versioned = true;
	return e;
}

static void told(struct mount_inode *e, const struct fs_attr *a)
{
	e->size = a->size;
	e->mtime_ns = a->mtime_ns;
	e->blind = false;
}

bool mount__versions_tell(struct mount_inodes *v, const struct fs_attr *a)
{
	struct mount_inode *e = find(v, a->ino);
	bool old, seen;

	if (!e) {
		e = add(v, a->ino);
		e->version = a->data_version;
		told(e, a);
		return false;
	}
	old = e->version != a->data_version || e->uncertain;
	seen = !e->blind && (e->size != a->size || e->mtime_ns != a->mtime_ns);
	if (e->writes > 0) {
		e->uncertain |= old; /* and the kernel may not take this answer: nothing was told */
		return old && !seen;
	}
	e->version = a->data_version;
	e->uncertain = false;
	told(e, a);
	return old && !seen;
}

void mount__versions_doubt(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e = find(v, ino);

	if (e)
		e->uncertain = true;
}

void mount__versions_opened(struct mount_inodes *v, const struct fs_attr *a, bool truncated)
{
	struct mount_inode *e = find(v, a->ino);

	if (!e) {
		e = add(v, a->ino);
		told(e, a);
	}
	if (truncated)
		e->size = 0;
	if (e->writes > 0) {
		e->uncertain |= e->version != a->data_version;
		return;
	}
	e->version = a->data_version;
	e->uncertain = false;
}

void mount__versions_write_begin(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e = find(v, ino);

	if (!e) {
		e = add(v, ino);
		e->uncertain = e->blind = true;
	}
	e->writes++;
}

void mount__versions_write_end(struct mount_inodes *v, fs_ino ino, bool done)
{
	struct mount_inode *e = find(v, ino);

	if (!e)
		return;
	e->writes -= e->writes > 0;
	if (done)
		e->version++;
	else
		e->uncertain = true; /* it may or may not have happened */
	mount__inode_settle(v, e);
}

void mount__versions_write_none(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e = find(v, ino);

	if (!e)
		return;
	e->writes -= e->writes > 0;
	mount__inode_settle(v, e);
}

void mount__versions_extended(struct mount_inodes *v, fs_ino ino, uint64_t end)
{
	struct mount_inode *e = find(v, ino);

	if (e && e->size < end)
		e->size = end;
}

void mount__versions_ended(struct mount_inodes *v, fs_ino ino, uint64_t end)
{
	struct mount_inode *e = find(v, ino);

	if (e && e->size > end)
		e->size = end;
}

void mount__versions_set(struct mount_inodes *v, const struct fs_attr *a)
{
	struct mount_inode *e = find(v, a->ino);

	if (!e) {
		e = add(v, a->ino);
		e->uncertain = true;
	}
	e->uncertain |= e->version != a->data_version || e->writes > 0;
	if (e->writes == 0)
		e->version = a->data_version;
	told(e, a);
}

bool mount__versions_current(struct mount_inodes *v, fs_ino ino, uint64_t version)
{
	struct mount_inode *e = find(v, ino);

	return e && !e->uncertain && e->writes == 0 && e->version == version;
}
