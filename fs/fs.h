/* A POSIX file system on transactions (see README.md). Fiber code: every call may block
 * the calling fiber on requests, none blocks the thread. Each call is one atomic, linearizable
 * operation unless its comment says otherwise. Errors are base/err.h codes.
 *
 * Permissions are the kernel's business (default_permissions) except where only the transaction can
 * check (sticky directories are the kernel's too); kv-style path calls act as the credentials given.
 */
#ifndef PAXFS_FS_FS_H
#define PAXFS_FS_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/fiber.h"
#include "base/limits.h"
#include "base/msg.h"
#include "txn/txn.h"

typedef uint64_t fs_ino;
#define FS_ROOT_INO 1ull /* place 0, number 1 */

struct fs;

/* What the file system stands on. kv_client gives the real one, tests an in-memory one. */
struct fs_backend {
	struct txn_executor *executor;
	/* [from, *end) belongs to one group; empty end: to the end of the key space */
	void (*range)(void *ctx, struct slice from, struct slice *end);
	/* The group of a key, for `where`; the text is for people. */
	uint32_t (*group_of)(void *ctx, struct slice key);
	/* What a user can store in all, and yet (bytes); from a fiber. NULL: without end. */
	int (*space)(void *ctx, uint64_t *total, uint64_t *free);
	/* Blocks the fiber until the version of @key is not @version (0: absent), and puts it into
	 * *now; or until @wait_ns passed (ERR_TIMEOUT). See kv_client_watch. */
	int (*watch)(void *ctx, struct slice key, uint64_t version, uint64_t wait_ns, uint64_t *now);
	/* Is it known that the session is over? NULL: it never is. */
	bool (*session_lost)(void *ctx);
	/* Blocks until it is certain that the session lives, or another one has taken its place and the
	 * listener has heard so; and who that is (NULL: nobody). Both NULL: it never ends. */
	int (*confirm)(void *ctx);
	void (*on_session)(void *ctx, struct fs *fs);
	void *ctx;
	struct env *env;
	struct fiber_sched *fibers; /* for background work (reaping) */
	uint64_t session;	    /* client id, written into orphans' records; 0: none */
};

/* The real one (backend_kv.c). @c outlives the backend. */
struct kv_client;
void fs_backend_kv(struct fs_backend *b, struct kv_client *c, struct env *env,
		   struct fiber_sched *fibers);

/* The mount was away for so long that others closed its session, or somebody did so by hand; it goes on
 * with a new one (README.md, "Sessions"). */
struct fs_session_report {
	uint64_t was, now; /* ids */
	uint32_t calls;	   /* transactions under way: each either goes on, or fails with ERR_OUTCOME */
	uint32_t locks, files; /* that are lost; and open files that learn of it by ERR_LOCK_LOST */
	uint32_t orphans;      /* open files without a name that are gone */
};
typedef void fs_session_fn(void *ctx, const struct fs_session_report *r);

struct fs_options {
	fs_session_fn *session_ended; /* in a fiber, once what is lost is known; may be NULL */
	void *session_ctx;
	bool read_only;
	bool atime; /* default: relatime */
	bool noatime;
	bool keep_locks; /* decide alone about locks of inodes that no other mount locks */
};

/* Makes the root directory etc.; conditional, so that a second run finds ERR_EXISTS. */
int fs_format(const struct fs_backend *b);

/* From a fiber: checks the format version, and raises an older one unless read-only. ERR_NOT_READY
 * when not formatted, ERR_UNSUPPORTED of a later version. */
int fs_open(const struct fs_backend *b, const struct fs_options *o, struct fs **out, struct msg *m);
/* Finishes the reaping of what this mount holds; from a fiber. Takes NULL. */
void fs_close(struct fs *fs);

struct fs_cred {
	uint32_t uid, gid, umask;
};

struct fs_attr {
	fs_ino ino;
	uint32_t mode; /* type and permission bits, as in struct stat */
	uint32_t nlink, uid, gid;
	uint64_t rdev, size, blocks; /* blocks of 512 bytes */
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns; /* since 1970; before it: negative */
	uint64_t data_id, data_version;
	fs_ino parent; /* of a directory */
};

/* Times reach from 1677-09-21 to 2262-04-11; beyond that they are the first, or the last, whole
 * second of it, as the kernel does it for file systems that it knows the limits of. */
int64_t fs_time_of(struct timespec t);
struct timespec fs_time_split(int64_t ns);

struct fs_first { /* what LOOKUP brought along: the first block of a small file, if in the group */
	bool present;
	struct buf data; /* owned by the caller who passed the struct */
};

int fs_lookup(struct fs *fs, fs_ino parent, struct slice name, struct fs_attr *a);
int fs_getattr(struct fs *fs, fs_ino ino, struct fs_attr *a);

/* As getattr, with `blocks` counted where there may be holes: elsewhere, and in all other calls, it is
 * the size. Of a file that is written all the time, about. */
int fs_stat(struct fs *fs, fs_ino ino, struct fs_attr *a);

enum fs_set { /* which fields setattr changes */
	FS_SET_MODE = 1,
	FS_SET_UID = 2,
	FS_SET_GID = 4,
	FS_SET_SIZE = 8,
	FS_SET_ATIME = 16,
	FS_SET_MTIME = 32,
	FS_SET_ATIME_NOW = 64,
	FS_SET_MTIME_NOW = 128,
	FS_SET_CTIME = 256,
	FS_KILL_SUID = 512,
};
int fs_setattr(struct fs *fs, fs_ino ino, unsigned set, const struct fs_attr *in,
	       struct fs_attr *out);

/* Who changes contents without the right to leave set-id bits as they are (CAP_FSETID): they go in the
 * transaction that changes, as on other file systems: set-user-id, and set-group-id if the group may
 * execute or is none of the writer's. Wherever one is passed NULL means: who may. */
struct fs_writer {
	bool (*in_group)(void *ctx, uint32_t gid); /* asked only where it matters */
	void *ctx;
};
/* As fs_setattr; a change of the size is one by @w. */
int fs_setattr_by(struct fs *fs, fs_ino ino, unsigned set, const struct fs_attr *in,
		  const struct fs_writer *w, struct fs_attr *out);

/* @mode with type; umask already applied by the kernel or by cred->umask. setgid inherited from the
 * parent as checked in the transaction. symlink: @target. */
int fs_mknod(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	     uint32_t mode, uint64_t rdev, struct fs_attr *a);
int fs_mkdir(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	     uint32_t mode, struct fs_attr *a);
int fs_symlink(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	       struct slice target, struct fs_attr *a);
int fs_readlink(struct fs *fs, fs_ino ino, struct buf *target);
int fs_link(struct fs *fs, fs_ino ino, fs_ino parent, struct slice name, struct fs_attr *a);
int fs_unlink(struct fs *fs, fs_ino parent, struct slice name);
int fs_rmdir(struct fs *fs, fs_ino parent, struct slice name);

#define FS_RENAME_NOREPLACE 1u
#define FS_RENAME_EXCHANGE  2u
int fs_rename(struct fs *fs, fs_ino parent, struct slice name, fs_ino new_parent,
	      struct slice new_name, unsigned flags);
/* RENAME_WHITEOUT: a character device 0:0 of @cred's takes the old name, in the same transaction. With
 * FS_RENAME_NOREPLACE or without; ERR_INVAL with EXCHANGE. */
int fs_rename_whiteout(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
		       fs_ino new_parent, struct slice new_name, unsigned flags);

/* ---- open files ---- */

#define FS_O_READ   1u
#define FS_O_WRITE  2u
#define FS_O_APPEND 4u
#define FS_O_TRUNC  8u
#define FS_O_EXCL   16u
/* A name has just led to it. Should that have gone since, it is opened all the same, as long as it can
 * still be kept for this mount. */
#define FS_O_FOUND  32u

struct fs_file; /* one open; keeps the inode alive after unlink within this fs */

int fs_file_open(struct fs *fs, fs_ino ino, unsigned flags, struct fs_file **out);
int fs_file_open_by(struct fs *fs, fs_ino ino, unsigned flags, const struct fs_writer *w,
		    struct fs_file **out); /* FS_O_TRUNC is a change by @w */
int fs_create(struct fs *fs, const struct fs_cred *cred, fs_ino parent, struct slice name,
	      uint32_t mode, unsigned flags, struct fs_attr *a, struct fs_file **out);
/* Reads up to @len bytes; @out is replaced; shorter only at the end of the file. One request per
 * group touched; atomic when the range lies in one stripe. */
int fs_read(struct fs_file *f, uint64_t offset, size_t len, struct buf *out);
/* As fs_read, leaving the access time alone. */
int fs_read_noatime(struct fs_file *f, uint64_t offset, size_t len, struct buf *out);
/* Into pages, of which the kernel reads more than it is asked for, and asks again for one that did
 * not come before it answers anybody. So ERR_LOCK_LOST comes twice for a page, and counts the second
 * time. */
int fs_read_pages(struct fs_file *f, uint64_t offset, size_t len, bool atime, struct buf *out);
/* All of it, durable and visible to every mount when it returns; one transaction per WRITE_SIZE_MAX.
 * With FS_O_APPEND @offset is ignored: the transaction chooses it. */
int fs_write(struct fs_file *f, uint64_t offset, struct slice data, uint64_t *end);

struct fs_write_how {
	bool append;
	bool within; /* never beyond the present end, where it is cut; wins over append */
	bool sparse; /* no blocks for whole blocks of zeros */
	const struct fs_writer *writer;
};
/* As fs_write, but for what @how says instead of the flags of the open. *end: where what was written
 * ends; with `within` it is @offset when nothing was. */
int fs_write_how(struct fs_file *f, uint64_t offset, struct slice data,
		 const struct fs_write_how *how, uint64_t *end);
int fs_fsync(struct fs_file *f);
void fs_file_close(struct fs_file *f); /* from a fiber: reaps an orphan at its last close */
fs_ino fs_file_ino(const struct fs_file *f);
/* ERR_LOCK_LOST, once, when a lock that was taken through the file (fs_file_lock) was lost with a
 * session. Reads, writes and lock calls say so by themselves. */
int fs_file_lost_lock(struct fs_file *f);

/* Where data (@hole: none) begins at or behind @offset, exact to blocks of BLOCK_SIZE; the end counts as
 * a hole. ERR_NO_DATA: @offset is not before the end, or no data is behind it. */
int fs_seek(struct fs *fs, fs_ino ino, uint64_t offset, bool hole, uint64_t *out);

#define FS_FALLOC_KEEP_SIZE  1u
#define FS_FALLOC_PUNCH_HOLE 2u /* with KEEP_SIZE */
#define FS_FALLOC_ZERO_RANGE 4u
/* Without mode: [offset, offset + len) lies within the file then. Room is looked for, not reserved.
 * PUNCH_HOLE, ZERO_RANGE: it reads as zeros, and its blocks are given back; a transaction for each
 * stripe, from the first on. ERR_NOSPACE, ERR_FILE_TOO_BIG, ERR_UNSUPPORTED for other modes. */
int fs_fallocate(struct fs_file *f, unsigned mode, uint64_t offset, uint64_t len,
		 const struct fs_writer *w);

/* Up to @len bytes from one file to another, or within one; *copied: less at the end of the source, and
 * when something went wrong after a part (which is then no error). Pieces of at most WRITE_SIZE_MAX are
 * read from one state and written by one transaction each. Absent blocks stay absent where both offsets
 * are equal within a block. ERR_INVAL: the ranges overlap. */
int fs_copy_range(struct fs_file *from, uint64_t offset, struct fs_file *to, uint64_t to_offset,
		  uint64_t len, const struct fs_writer *w, uint64_t *copied);

/* ---- directories ---- */

/* Calls fn for entries behind @cookie (0: from the start; "." and ".." included as the first two)
 * until it returns false (that entry is not consumed) or the end. Every entry that stays is
 * returned exactly once over the calls of one listing; bounded memory. @with_attr: the inodes are
 * fetched with the names where they share a group; a->ino is set in any case, a->nlink is 0 if the
 * attributes are not known. */
struct fs_dirent {
	struct slice name;
	fs_ino ino;
	uint8_t type;	 /* DT_* */
	uint64_t cookie; /* to continue behind this entry */
	const struct fs_attr *attr; /* NULL if not asked for or not at hand */
};
typedef bool fs_readdir_fn(void *ctx, const struct fs_dirent *d);
int fs_readdir(struct fs *fs, fs_ino dir, uint64_t cookie, bool with_attr, fs_readdir_fn *fn,
	       void *ctx);

/* ---- xattrs ---- */

#define FS_XATTR_CREATE	 1u
#define FS_XATTR_REPLACE 2u
/* Names: user.*, trusted.*, security.* and the two of POSIX access lists; others ERR_UNSUPPORTED. An
 * access list sets the permission bits in the same transaction; one that says no more than they do is
 * not kept. ERR_INVAL: not a list. ERR_ACCESS: a default list for what is no directory. */
int fs_setxattr(struct fs *fs, fs_ino ino, struct slice name, struct slice value, unsigned flags);
/* The same by one who may not keep set-group-id of a group that is not its own. */
int fs_setxattr_by(struct fs *fs, fs_ino ino, struct slice name, struct slice value, unsigned flags,
		   const struct fs_writer *w);
int fs_getxattr(struct fs *fs, fs_ino ino, struct slice name, struct buf *value);
int fs_listxattr(struct fs *fs, fs_ino ino, struct buf *names); /* NUL-terminated names */
int fs_removexattr(struct fs *fs, fs_ino ino, struct slice name);
bool fs_written_here(struct fs *fs, fs_ino ino); /* open for writing in this mount */
/* From memory: such a file had no security.capability when it was last seen or written. If it got one
 * since, elsewhere, a write takes it away all the same: its transaction checks. */
bool fs_capability_known_absent(struct fs *fs, fs_ino ino);

/* ---- locks: between all mounts (README.md, "Locks") ---- */

enum fs_lock_kind { FS_LOCK_FLOCK = 1, FS_LOCK_POSIX = 2 };
enum fs_lock_mode { FS_LOCK_NONE = 0, FS_LOCK_SHARED = 1, FS_LOCK_EXCLUSIVE = 2 };

struct fs_lock {
	uint8_t kind, mode;
	bool no_cycle; /* a wait for it is never ended with ERR_DEADLOCK (open file description locks) */
	uint32_t pid;
	uint64_t start, end; /* bytes, @end included; flock: 0 and UINT64_MAX */
	uint64_t owner;	     /* as the kernel names it: means something within the session */
	uint64_t session;    /* set by these calls, as is what follows */
	uint64_t ticket;     /* tells the waits of a session apart */
	uint64_t since_ns;   /* when it was asked for, by the asker's clock */
};

struct fs_lock_wait { /* one blocking call; zero-initialise */
	struct fiber *fiber;
	bool waiting, interrupted;
};
/* The call gives up with ERR_INTERRUPTED, at once where it waits for the lock. On the loop's thread. */
void fs_lock_interrupt(struct fs_lock_wait *w);

/* Takes, converts or (FS_LOCK_NONE) gives up. With @w it waits, else ERR_WOULD_BLOCK. ERR_DEADLOCK
 * (POSIX only), ERR_STALE, ERR_TOO_BIG (too many locks of one inode), ERR_UNSUPPORTED (no session),
 * ERR_SESSION. After an error the owner holds what it held before (flock: perhaps nothing). */
int fs_lock_set(struct fs *fs, fs_ino ino, const struct fs_lock *want, struct fs_lock_wait *w);
/* A lock that is in the way of @want; its mode is FS_LOCK_NONE when there is none. */
int fs_lock_get(struct fs *fs, fs_ino ino, const struct fs_lock *want, struct fs_lock *found);
/* May there be anything to give up? From memory, on the loop's thread, also outside of fibers. */
bool fs_lock_may_hold(const struct fs *fs, fs_ino ino, uint8_t kind, uint64_t owner);
/* Gives up all that the owner holds of the inode; no request when that is nothing. */
int fs_lock_release(struct fs *fs, fs_ino ino, uint8_t kind, uint64_t owner);

/* fs_lock_set and fs_lock_get, through an open file: it is told when the lock is lost. */
int fs_file_lock(struct fs_file *f, const struct fs_lock *want, struct fs_lock_wait *w);
int fs_file_lock_get(struct fs_file *f, const struct fs_lock *want, struct fs_lock *found);

uint64_t fs_session(const struct fs *fs); /* whose locks this file system's are; 0: none */

struct fs_lock_item {
	fs_ino ino;
	const char *path; /* one of its names; "" when it has none, or not any more */
	const struct fs_lock *lock;
	bool waits;
};
/* All locks of the store, those of an inode together, who waits in order. Reads all keys but file data.
 * false ends it. */
typedef bool fs_lock_fn(void *ctx, const struct fs_lock_item *it);
int fs_locks_list(struct fs *fs, fs_lock_fn *fn, void *ctx);

struct fs_statfs {
	uint64_t block_size, blocks, blocks_free, files, files_free;
};
/* Of the last few seconds. `files` are inode numbers, which are never used twice. */
int fs_statfs(struct fs *fs, struct fs_statfs *out);

/* ---- paths: the key-value face ---- */

/* Paths as users type them: components separated by '/', leading '/' optional, symlinks followed as
 * POSIX walks them (at most 40). The call is atomic from its last directory on. */
int fs_path_lookup(struct fs *fs, struct slice path, bool follow, struct fs_attr *a);

struct fs_kv_item {
	struct slice path;
	struct slice value;   /* put: the new contents; get: filled, owned by @store below */
	bool absent;	      /* put: delete it; get: there is no such file */
	uint64_t version;     /* get: changes with every change of the file (for cas) */
};
/* Whole-file get and put. Parents are made as needed by put (`make_parents`). */
int fs_kv_get(struct fs *fs, struct slice path, struct buf *value, uint64_t *version);
int fs_kv_put(struct fs *fs, const struct fs_cred *cred, struct slice path, struct slice value,
	      bool make_parents);
int fs_kv_del(struct fs *fs, struct slice path);
/* All of them or none, over any groups: one transaction. get: from one serialisable state. */
int fs_kv_mget(struct fs *fs, struct fs_kv_item *items, uint32_t count, struct buf *store);
int fs_kv_mput(struct fs *fs, const struct fs_cred *cred, const struct fs_kv_item *items,
	       uint32_t count, bool make_parents, uint32_t *failed);
/* Replace only if the contents are still @expected (or the file absent, expect_absent). ERR_CONDITION
 * with the present value in @current otherwise. */
int fs_kv_cas(struct fs *fs, const struct fs_cred *cred, struct slice path, bool expect_absent,
	      struct slice expected, struct slice value, struct buf *current);
int fs_kv_swap(struct fs *fs, struct slice a, struct slice b); /* exchange two files' names, atomic */

/* ---- where, fsck ---- */

struct fs_where {
	fs_ino ino;
	uint32_t inode_group, dentry_group, data_group;
	struct buf inode_key; /* owned by the caller */
};
int fs_where(struct fs *fs, struct slice path, struct fs_where *out);

enum fs_fsck_outcome { FS_FSCK_LEFT, FS_FSCK_MENDED };

struct fs_fsck_problem { /* all of it is borrowed for the call */
	const char *kind; /* a word for programs: "link-count" */
	const char *text; /* for people, without path and group */
	const char *path; /* "" when there is none, or it was told of before */
	fs_ino ino;	  /* what it is about; 0: no inode */
	uint32_t group;
	enum fs_fsck_outcome outcome;
	int err; /* of a repair that did not succeed */
};
struct fs_fsck_progress {
	unsigned pass, round, percent; /* from 1 on; of the round */
	uint64_t keys;		       /* so far, in all */
};
struct fs_fsck_options {
	bool repair;
	void (*report)(void *ctx, const char *line); /* one problem, or that it was not repaired */
	/* With its outcome; the same one again when a later pass meets it again. Both may be NULL. */
	void (*problem)(void *ctx, const struct fs_fsck_problem *p);
	void (*progress)(void *ctx, const struct fs_fsck_progress *p);
	void *ctx;
};
struct fs_fsck_result {
	uint64_t directories, files, symlinks, others, dentries, blocks, xattrs, bytes, orphans;
	uint64_t problems, repaired;
};
/* Online: what looks wrong is looked at again in one transaction before it is reported, and mended by
 * one under the condition that it is still so (README.md, "The online check"). ERR_NOMEM, errors of
 * the store. */
int fs_fsck(struct fs *fs, const struct fs_fsck_options *o, struct fs_fsck_result *out,
	    struct msg *m);

struct fs_stats {
	uint64_t requests, conflicts, retries, open_files, orphans_held;
};
void fs_stats_get(const struct fs *fs, struct fs_stats *out);

#endif
