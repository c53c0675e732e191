/* The inodes that the kernel knows, counted as it counts them: every answer that gives one to it adds
 * one, FORGET takes back what it says. In the order of their last use here: names are looked up anew
 * with each path (timeouts are 0), so that this is about the order of their use at all.
 */
#include "base/mem.h"
#include "mount/mount_internal.h"

struct mount_inodes {
	struct mount_inode *table;
	TAILQ_HEAD(mount_inode_list, mount_inode) used; /* the last one first */
	uint64_t count;
};

struct mount_inodes *mount__inodes_new(void)
{
	struct mount_inodes *v = mem_must_alloc(sizeof(*v));

	TAILQ_INIT(&v->used);
	return v;
}

void mount__inodes_free(struct mount_inodes *v)
{
	struct mount_inode *e, *next;

	if (!v)
		return;
	HASH_CLEAR(hh, v->table);
	TAILQ_FOREACH_SAFE(e, &v->used, link, next)
		mem_free(e);
	mem_free(v);
}

struct mount_inode *mount__inode_find(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e;

	HASH_FIND(hh, v->table, &ino, sizeof(ino), e);
	if (e && e != TAILQ_FIRST(&v->used)) {
		TAILQ_REMOVE(&v->used, e, link);
		TAILQ_INSERT_HEAD(&v->used, e, link);
	}
	return e;
}

struct mount_inode *mount__inode_get(struct mount_inodes *v, fs_ino ino)
{
	struct mount_inode *e = mount__inode_find(v, ino);

	if (e)
		return e;
	e = mem_must_alloc(sizeof(*e));
	e->ino = ino;
	HASH_ADD(hh, v->table, ino, sizeof(e->ino), e);
	TAILQ_INSERT_HEAD(&v->used, e, link);
	v->count++;
	return e;
}

void mount__inode_settle(struct mount_inodes *v, struct mount_inode *e)
{
	if (e->lookups > 0 || e->writes > 0)
		return;
	HASH_DEL(v->table, e);
	TAILQ_REMOVE(&v->used, e, link);
	v->count--;
	mem_free(e);
}

void mount__inode_given(struct mount_inodes *v, fs_ino ino)
{
	if (ino != FS_ROOT_INO)
		mount__inode_get(v, ino)->lookups++;
}

void mount__inode_back(struct mount_inodes *v, fs_ino ino, uint64_t count)
{
	struct mount_inode *e = mount__inode_find(v, ino);

	if (!e)
		return;
	e->lookups -= count < e->lookups ? count : e->lookups;
	mount__inode_settle(v, e);
}

uint64_t mount__inodes_count(const struct mount_inodes *v)
{
	return v->count;
}

uint64_t mount__inodes_bytes(const struct mount_inodes *v)
{
	uint64_t handles = v->count * sizeof(UT_hash_handle); /* inside of the entries */

	return v->count * sizeof(struct mount_inode) +
	       (v->table ? HASH_OVERHEAD(hh, v->table) - handles : 0);
}

uint32_t mount__inodes_oldest(struct mount_inodes *v, fs_ino *out, uint32_t max)
{
	struct mount_inode *e;
	uint32_t n = 0;

	for (uint64_t left = v->count; left > 0 && n < max; left--) {
		e = TAILQ_LAST(&v->used, mount_inode_list);
		TAILQ_REMOVE(&v->used, e, link);
		TAILQ_INSERT_HEAD(&v->used, e, link);
		if (e->lookups > 0)
			out[n++] = e->ino;
		else
			mount__inode_settle(v, e); /* told of in an answer that did not leave */
	}
	return n;
}
