/* Shared inside mount/ only. */
#ifndef PAXFS_MOUNT_MOUNT_INTERNAL_H
#define PAXFS_MOUNT_MOUNT_INTERNAL_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <uthash.h>

#include "base/list.h"
#include "fs/fs.h"
#include "kv/kv.h"
#include "mount/mount.h"
#include "net/loop.h"

#define MOUNT_REQUESTS_PER_POLL 32u		/* then other events get their turn */
#define MOUNT_SMALL_REQUEST	(16u * 1024u)	/* copied out of the large receive buffer */
#define MOUNT_LARGE_BUFFERS	4u		/* kept for reuse */
/* The kernel interrupts a request for any signal that its caller gets, also for one that the call would
 * survive on a disk (SIGSTOP, a handler with SA_RESTART). So a request goes on after it for as long as a
 * store that works needs at most; what ends then is answered with EINTR. */
#define MOUNT_PATIENCE_NS	(1 * NS_PER_S)

#define MOUNT_STATS_MAX	  256u /* bytes of mount__inodes_describe */
#define MOUNT_STATS_XATTR "paxfs.mount" /* of the root: that line; in no list of names */

struct mount_inval; /* mount_inval.c: dropping the kernel's cached pages, from a thread of its own */
struct mount_inodes; /* mount_inodes.c: which inodes the kernel knows, and what of them */

struct mount {
	const struct mount_config *cfg;
	bool handle_signals;
	void (*ready)(void *ctx, struct mount *mt);
	void *ready_ctx;

	struct loop *loop;
	struct kv_transport *transport;
	struct kv_client *client;
	struct fs_backend backend;
	struct fs *fs;
	struct fuse_session *session;
	bool mounted, inited, stopping;
	uint64_t device; /* st_dev, once mounted */
	bool acl; /* the kernel checks access lists */
	struct loop_poll *poll;
	struct loop_async *stop_async;
	struct loop_signal *signals[3];
	struct mount_inval *inval;
	struct mount_inodes *inodes;
	struct mount_forget *forget; /* mount_forget.c */
	struct mount_lock_user *lock_users; /* mount_locks.c */

	TAILQ_HEAD(, mount_request) requests; /* in flight */
	uint64_t request_count;
	const struct mount_request *current; /* while libfuse reads it: valid when an operation begins */
	struct env_timer patience; /* with requests that were interrupted */
	struct fiber *starter; /* waits for INIT */
	struct fiber *drainer; /* waits for request_count == 0 */
	struct fiber *hurrier; /* interrupts the drainer when it takes too long */
	bool hurrying;	       /* that fiber lives */
	char *large[MOUNT_LARGE_BUFFERS];
	unsigned large_count;

	int err; /* of the start or the session */
	struct msg *msg;
};

/* One FUSE request: a fiber and the bytes it reads its arguments from. */
struct mount_request {
	struct mount *mount;
	struct fiber *fiber;
	struct fuse_buf buf; /* mem owned */
	bool large;	     /* mem is one of the large buffers */
	uint64_t interrupted_ns; /* when the kernel said so; 0: it has not */
	TAILQ_ENTRY(mount_request) link;
};

/* ---- mount_ops.c ---- */
extern const struct fuse_lowlevel_ops mount__ops;
/* The beginning of every request that may wait: an INTERRUPT of it, come or to come, reaches its
 * fiber. */
struct fs *mount__fs_of(fuse_req_t req);
void mount__reply_err(fuse_req_t req, int err); /* a code of base/err.h */

/* ---- mount_xattr.c ---- */
void mount__setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		     size_t size, int flags);
void mount__getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void mount__listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void mount__removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ---- mount_session.c ---- */
void mount__ops_init(void *userdata, struct fuse_conn_info *conn);
void mount__interrupted(struct mount *mt, struct fiber *fiber); /* by the kernel: that request */

/* ---- mount_data.c ---- */
void mount__fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		      struct fuse_file_info *fi);
void mount__lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void mount__copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			    struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			    struct fuse_file_info *fi_out, size_t len, int flags);

/* A positive errno for a code of base/err.h. */
int mount__errno(int err);

/* ---- mount_locks.c ---- */
void mount__op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *l);
void mount__op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *l,
		     int sleep);
void mount__op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);
/* What a FLUSH, or a RELEASE, gives up. */
void mount__locks_flush(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi);
/* Is this request, as the kernel wrote it, a FLUSH that has nothing to do? Then it may run outside of
 * fibers. */
bool mount__locks_flush_is_idle(const struct mount *mt, struct slice request);
void mount__locks_release(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi);
void mount__locks_free(struct mount *mt);

/* ---- mount_inval.c ---- */
int mount__inval_new(struct mount *mt, struct mount_inval **out);
/* Takes no more; from then on threads that the kernel holds are waited for: free its side first when
 * there are any. */
bool mount__inval_busy(struct mount_inval *iv);
void mount__inval_free(struct mount_inval *iv); /* joins the threads; takes NULL */
/* From a fiber: returns when the kernel has dropped the pages (and attributes) of @ino, which may take
 * as long as it has pages to write back. ERR_INTERRUPTED: it will, some time. Not from SETATTR, see
 * mount_inval.c. */
int mount__inval_data(struct mount_inval *iv, fs_ino ino);
/* Runs @work on such a thread, then @done on the loop; unless the mount ends before that. Both borrow
 * @ctx. */
void mount__inval_run(struct mount_inval *iv, void (*work)(void *ctx), void (*done)(void *ctx),
		      void *ctx);

/* ---- mount_inodes.c: what the kernel knows ---- */

/* One that the kernel has a reference to; or of which a write is on its way. */
struct mount_inode {
	fs_ino ino;
	uint64_t lookups; /* how often it was given to the kernel, less what came back */
	/* mount_versions.c; nothing of it is known unless `versioned` */
	uint64_t version;
	uint64_t size; /* what the kernel believes, as far as is known here, and of the time */
	int64_t mtime_ns;
	uint32_t writes; /* of this mount, in flight */
	bool versioned, uncertain;
	bool blind; /* size and time are not known */
	TAILQ_ENTRY(mount_inode) link; /* the last used first */
	UT_hash_handle hh;
};
struct mount_inodes *mount__inodes_new(void);
void mount__inodes_free(struct mount_inodes *v); /* takes NULL */
struct mount_inode *mount__inode_find(struct mount_inodes *v, fs_ino ino); /* counts as a use; or NULL */
struct mount_inode *mount__inode_get(struct mount_inodes *v, fs_ino ino);  /* the same, or a new one */
/* Frees it when nothing keeps it any more: neither the kernel nor a write. */
void mount__inode_settle(struct mount_inodes *v, struct mount_inode *e);
/* Before an answer gives it to the kernel (the root excepted, which it has for ever), and when it came
 * back @count times. */
void mount__inode_given(struct mount_inodes *v, fs_ino ino);
void mount__inode_back(struct mount_inodes *v, fs_ino ino, uint64_t count);
uint64_t mount__inodes_count(const struct mount_inodes *v);
uint64_t mount__inodes_bytes(const struct mount_inodes *v); /* of memory for all of them */
/* Up to @max of those that were not used for the longest time; they count as used now. */
uint32_t mount__inodes_oldest(struct mount_inodes *v, fs_ino *out, uint32_t max);

/* ---- mount_forget.c: a limit on them ---- */

struct mount_forget; /* NULL: none yet */
void mount__forget_new(struct mount *mt, unsigned kernel_minor); /* at INIT */
/* One more may have come. Never waits. */
void mount__forget_check(struct mount_forget *f);
void mount__forget_stop(struct mount_forget *f); /* takes NULL */
void mount__forget_free(struct mount_forget *f); /* after mount__inval_free; takes NULL */
/* One line: what is known, its memory, the limit, what the kernel was asked to forget. */
void mount__inodes_describe(const struct mount *mt, char *out, size_t size);

/* ---- mount_versions.c ---- */
/* An answer is about to tell the attributes of a regular file: true when the kernel may hold pages of
 * another version and will not notice by itself: they must be dropped before the answer. */
bool mount__versions_tell(struct mount_inodes *v, const struct fs_attr *a);
/* They were not dropped, or cannot be now: the next answer has to. */
void mount__versions_doubt(struct mount_inodes *v, fs_ino ino);
/* An answer to OPEN after which the kernel drops all pages; @truncated: and sets the size to 0. */
void mount__versions_opened(struct mount_inodes *v, const struct fs_attr *a, bool truncated);
/* Around a write of this mount, which raises the version by one. */
void mount__versions_write_begin(struct mount_inodes *v, fs_ino ino);
void mount__versions_write_end(struct mount_inodes *v, fs_ino ino, bool done);
void mount__versions_write_none(struct mount_inodes *v, fs_ino ino); /* nothing was to be written */
/* The kernel moves its own idea of the size: after a write up to there, after a read that ended
 * there. */
void mount__versions_extended(struct mount_inodes *v, fs_ino ino, uint64_t end);
void mount__versions_ended(struct mount_inodes *v, fs_ino ino, uint64_t end);
/* The answer to SETATTR, which the kernel always takes; after write_end if it changed the size. */
void mount__versions_set(struct mount_inodes *v, const struct fs_attr *a);
/* At open: may the kernel keep what pages it has? */
bool mount__versions_current(struct mount_inodes *v, fs_ino ino, uint64_t version);

/* ---- mount_caller.c ---- */
/* Whether the caller of a write may leave set-id bits as they are; and who it is, if not. */
struct mount_caller {
	fuse_req_t req;
	struct fs_writer writer;
};
/* NULL: it may. Else @c is filled, and lives as long as the request's operation. */
const struct fs_writer *mount__writer(struct mount_caller *c, fuse_req_t req,
				      const struct fuse_file_info *fi);

#endif
