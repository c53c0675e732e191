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
 * it finds makes the entry uncertain. An entry lives as long as the kernel knows the inode: FORGET
 * drops it, with the kernel's pages.
 */
#include <uthash.h>

#include "base/mem.h"
#include "mount/mount_internal.h"

struct version_entry {
	fs_ino ino;
	uint64_t version;
	uint64_t size; /* what the kernel believes, as far as is known here, and of the time */
	int64_t mtime_ns;
	uint32_t writes;	 /* of this mount, in flight */
	bool uncertain;
	bool blind; /* size and time are not known */
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

static struct version_entry *add(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e = mem_must_alloc(sizeof(*e));

	*e = (struct version_entry){.ino = ino};
	HASH_ADD(hh, v->entries, ino, sizeof(e->ino), e);
	return e;
}

static void told(struct version_entry *e, const struct fs_attr *a)
{
	e->size = a->size;
	e->mtime_ns = a->mtime_ns;
	e->blind = false;
}

bool mount__versions_tell(struct mount_versions *v, const struct fs_attr *a)
{
	struct version_entry *e = find(v, a->ino);
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

void mount__versions_doubt(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e = find(v, ino);

	if (e)
		e->uncertain = true;
}

void mount__versions_opened(struct mount_versions *v, const struct fs_attr *a, bool truncated)
{
	struct version_entry *e = find(v, a->ino);

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

void mount__versions_write_begin(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e = find(v, ino);

	if (!e) {
		e = add(v, ino);
		e->uncertain = e->blind = true;
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

void mount__versions_write_none(struct mount_versions *v, fs_ino ino)
{
	struct version_entry *e = find(v, ino);

	if (e)
		e->writes -= e->writes > 0;
}

void mount__versions_extended(struct mount_versions *v, fs_ino ino, uint64_t end)
{
	struct version_entry *e = find(v, ino);

	if (e && e->size < end)
		e->size = end;
}

void mount__versions_ended(struct mount_versions *v, fs_ino ino, uint64_t end)
{
	struct version_entry *e = find(v, ino);

	if (e && e->size > end)
		e->size = end;
}

void mount__versions_set(struct mount_versions *v, const struct fs_attr *a)
{
	struct version_entry *e = find(v, a->ino);

	if (!e) {
		e = add(v, a->ino);
		e->uncertain = true;
	}
	e->uncertain |= e->version != a->data_version || e->writes > 0;
	if (e->writes == 0)
		e->version = a->data_version;
	told(e, a);
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
