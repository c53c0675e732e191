/* flock, fcntl and open file description locks, between all mounts (fs/README.md, "Locks").
 *
 * What the kernel tells when a file is closed: FLUSH for each descriptor, with the process's lock owner;
 * RELEASE after the last one, with the owner of flock if there was one. The locks of an open file
 * description have an owner of their own, which no FLUSH names: so it is remembered by which open file
 * each owner took locks, and those who have not flushed it by its RELEASE have gone with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uthash.h>

#include "base/err.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

#define WHOLE_FILE_END ((uint64_t)INT64_MAX) /* what the kernel calls the end: OFFSET_MAX */
#define OFD_SETLKW     38			/* F_OFD_SETLKW */

struct mount_lock_user { /* an owner that took locks by an open file */
	struct {
		uint64_t fh, owner;
	} key;
	fs_ino ino;
	UT_hash_handle hh;
};

static struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* ---- who took locks by which open file ---- */

static void note_user(struct mount *mt, uint64_t fh, uint64_t owner, fs_ino ino)
{
	struct mount_lock_user *u = mem_must_alloc(sizeof(*u)), *known;

	u->key.fh = fh;
	u->key.owner = owner;
	u->ino = ino;
	HASH_FIND(hh, mt->lock_users, &u->key, sizeof(u->key), known);
	if (known)
		mem_free(u);
	else
		HASH_ADD(hh, mt->lock_users, key, sizeof(u->key), u);
}

static bool forget_user(struct mount *mt, uint64_t fh, uint64_t owner)
{
	struct mount_lock_user u = {.key = {fh, owner}}, *known;

	HASH_FIND(hh, mt->lock_users, &u.key, sizeof(u.key), known);
	if (!known)
		return false;
	HASH_DEL(mt->lock_users, known);
	mem_free(known);
	return true;
}

void mount__locks_free(struct mount *mt)
{
	struct mount_lock_user *u, *next;

	HASH_ITER(hh, mt->lock_users, u, next) {
		HASH_DEL(mt->lock_users, u);
		mem_free(u);
	}
}

/* ---- closing ---- */

bool mount__locks_flush_is_idle(const struct mount *mt, struct slice request)
{
	struct fuse_in_header head;
	struct fuse_flush_in in;

	if (request.len < sizeof(head) + sizeof(in) || !mt->fs)
		return false;
	memcpy(&head, request.p, sizeof(head));
	if (head.opcode != FUSE_FLUSH)
		return false;
	memcpy(&in, request.p + sizeof(head), sizeof(in));
	return !fs_lock_may_hold(mt->fs, head.nodeid, FS_LOCK_POSIX, in.lock_owner);
}

void mount__locks_flush(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct mount *mt = mount_of(req);

	(void)forget_user(mt, fi->fh, fi->lock_owner);
	if (!fs_lock_may_hold(mt->fs, ino, FS_LOCK_POSIX, fi->lock_owner))
		return;
	/* one that has no answer is mended in the background, and the session's end ends all */
	(void)fs_lock_release(mount__fs_of(req), ino, FS_LOCK_POSIX, fi->lock_owner);
}

void mount__locks_release(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct mount *mt = mount_of(req);
	struct mount_lock_user *u, *next;
	uint64_t owner;

	if (fi->flock_release)
		(void)fs_lock_release(mt->fs, ino, FS_LOCK_FLOCK, fi->lock_owner);
again:
	HASH_ITER(hh, mt->lock_users, u, next) {
		if (u->key.fh != fi->fh)
			continue;
		owner = u->key.owner;
		(void)forget_user(mt, fi->fh, owner);
		(void)fs_lock_release(mt->fs, ino, FS_LOCK_POSIX, owner);
		goto again; /* others may have come and gone */
	}
}

/* ---- taking ---- */

static void lock_interrupted(fuse_req_t req, void *wait)
{
	struct fs_lock_wait *w = wait;

	fs_lock_interrupt(w); /* at once, where it waits for the lock; else as every request */
	if (w->fiber)
		mount__interrupted(mount_of(req), w->fiber);
}

/* Does the caller wait for a lock of an open file description? The kernel does not say it with the
 * request, but the caller is in its system call: number, descriptor, command. Not to be known (another
 * user's process): no. */
static bool waits_as_description(fuse_req_t req)
{
	unsigned long fd, command;
	char path[64];
	long number;
	bool yes;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)fuse_req_ctx(req)->pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	yes = fscanf(f, "%ld %lx %lx", &number, &fd, &command) == 3 && number == SYS_fcntl &&
	      command == OFD_SETLKW;
	fclose(f);
	return yes;
}

static void reply_lock(fuse_req_t req, int err)
{
	if (err == ERR_DEADLOCK)
		fuse_reply_err(req, EDEADLK);
	else if (err == ERR_TOO_BIG)
		fuse_reply_err(req, ENOLCK);
	else
		mount__reply_err(req, err);
}

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	return (struct fs_file *)(uintptr_t)fi->fh;
}

static void set_lock(fuse_req_t req, const struct fuse_file_info *fi, const struct fs_lock *want,
		     bool sleep)
{
	struct fs_lock_wait w = {.fiber = fiber_self()};

	(void)mount__fs_of(req);
	if (sleep)
		fuse_req_interrupt_func(req, lock_interrupted, &w);
	reply_lock(req, fs_file_lock(file_of(fi), want, sleep ? &w : NULL));
}

static uint8_t mode_of(int type)
{
	switch (type) {
	case F_RDLCK: return FS_LOCK_SHARED;
	case F_WRLCK: return FS_LOCK_EXCLUSIVE;
	default: return FS_LOCK_NONE;
	}
}

static struct fs_lock posix_lock(const struct fuse_file_info *fi, const struct flock *l)
{
	struct fs_lock want = {.kind = FS_LOCK_POSIX,
			       .mode = mode_of(l->l_type),
			       .pid = (uint32_t)l->l_pid,
			       .start = (uint64_t)l->l_start,
			       .owner = fi->lock_owner};

	/* the end of all files is one, however the caller said it */
	want.end = l->l_len == 0 ? WHOLE_FILE_END : want.start + (uint64_t)l->l_len - 1;
	if (want.end >= WHOLE_FILE_END)
		want.end = UINT64_MAX;
	return want;
}

void mount__op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *l,
		     int sleep)
{
	struct fs_lock want = posix_lock(fi, l);

	if (want.mode != FS_LOCK_NONE)
		note_user(mount_of(req), fi->fh, fi->lock_owner, ino);
	want.no_cycle = sleep && waits_as_description(req);
	set_lock(req, fi, &want, sleep && want.mode != FS_LOCK_NONE);
}

void mount__op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *l)
{
	struct fs_lock want = posix_lock(fi, l), found;
	struct fs *fs = mount__fs_of(req);
	struct flock out = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	int err = fs_file_lock_get(file_of(fi), &want, &found);

	(void)ino;
	if (err) {
		reply_lock(req, err);
		return;
	}
	if (found.mode != FS_LOCK_NONE) {
		out.l_type = found.mode == FS_LOCK_SHARED ? F_RDLCK : F_WRLCK;
		out.l_start = (off_t)found.start;
		out.l_len = found.end == UINT64_MAX ? 0 : (off_t)(found.end - found.start + 1);
		/* a process of another mount means nothing here */
		out.l_pid = found.session == fs_session(fs) ? (pid_t)found.pid : 0;
	}
	fuse_reply_lock(req, &out);
}

void mount__op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct fs_lock want = {.kind = FS_LOCK_FLOCK,
			       .mode = op & LOCK_SH   ? FS_LOCK_SHARED
				       : op & LOCK_EX ? FS_LOCK_EXCLUSIVE
						      : FS_LOCK_NONE,
			       .pid = (uint32_t)fuse_req_ctx(req)->pid,
			       .end = UINT64_MAX,
			       .owner = fi->lock_owner};

	(void)ino;
	set_lock(req, fi, &want, !(op & LOCK_NB) && want.mode != FS_LOCK_NONE);
}
