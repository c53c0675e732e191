/* Which version of a file's data the kernel's page cache may hold.
 *
 * Every answer with attributes notes the version that it tells; a different one than before means
 * that somebody else wrote, and the pages go first. A write of this mount raises the version by
 * exactly one, and the kernel's pages follow it, so it is counted here too. When an answer and a
 * write of our own cross, nobody can say which was first: the entry is then `uncertain`, and the
 * next answer without a write in flight drops the pages and starts anew. Errors of this table can
 * only drop pages needlessly, never keep them wrongly. An entry lives as long as the kernel knows
 * the inode: FORGET drops it, with the kernel's pages.
 */
#include <uthash.h>

#include "base/mem.h"
#include "mount/mount_internal.h"

struct version_entry {
	fs_ino ino;
	uint64_t version;
	uint32_t writes; /* of this mount, in flight */
	bool uncertain;
	UT_hash_handle hh;
};

struct mount_versions {
	struct version_entry *entries;
};

struct mount_versions *mount__versions_new(void)
{
	return mem_must_alloc(sizeof(struct mount_versions));
}

void mount__versions_free(struct mount_versions *v)
{
	struct version_entry *e, *next;

	if (!v)
		return;
	HASH_ITER(hh, v->entries, e, next) {
		HASH_DEL(v->entries, e);
		mem_free(e);
	}
	mem_free(v);
}

static struct version_entry *find(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e;

	HASH_FIND(hh, v->entries, &ino, sizeof(ino), e);
	return e;
}

static struct version_entry *add(struct mount_versions *v, fs_ino ino, uint64_t version)
{
	struct version_entry *e = mem_must_alloc(sizeof(*e));

	e->ino = ino;
	e->version = version;
	HASH_ADD(hh, v->entries, ino, sizeof(e->ino), e);
	return e;
}

bool mount__versions_note(struct mount_versions *v, fs_ino ino, uint64_t version)
{
	struct version_entry *e = find(v, ino);
	bool drop;

	if (!e) {
		add(v, ino, version);
		return false;
	}
	drop = e->version != version || e->uncertain;
	if (e->writes > 0) {
		e->uncertain |= drop;
		return drop;
	}
	e->version = version;
	e->uncertain = false;
	return drop;
}

void mount__versions_write_begin(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e = find(v, ino);

	if (!e) {
		e = add(v, ino, 0);
		e->uncertain = true;
	}
	e->writes++;
}

void mount__versions_write_end(struct mount_versions *v, fs_ino ino, bool done)
{
	struct version_entry *e = find(v, ino);

	if (!e) /* forgotten meanwhile */
		return;
	e->writes -= e->writes > 0;
	if (done)
		e->version++;
	else
		e->uncertain = true; /* it may or may not have happened */
}

bool mount__versions_current(struct mount_versions *v, fs_ino ino, uint64_t version)
{
	struct version_entry *e = find(v, ino);

	return e && !e->uncertain && e->writes == 0 && e->version == version;
}

void mount__versions_forget(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e = find(v, ino);

	if (e && e->writes == 0) {
		HASH_DEL(v->entries, e);
		mem_free(e);
	}
}
