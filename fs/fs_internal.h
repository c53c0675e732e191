/* What the files of fs/ share. */
#ifndef PAXFS_FS_INTERNAL_H
#define PAXFS_FS_INTERNAL_H

#include <uthash.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "fs/format.h"
#include "fs/fs.h"

/* ---- limits of a mount's memory ---- */

#define FS_HINTS	     4096u /* of each kind; direct-mapped */
#define FS_INO_BATCH	     1024u /* numbers reserved by one entry */
#define FS_INO_LOW	     256u  /* refilled in the background below this */
#define FS_REAPERS_MAX	     8u
#define FS_REAP_WAITING_MAX  256u
#define FS_ATIME_WAITING_MAX 4096u
#define FS_CONFLICTS_MAX     1000u /* of one call; each one means that another call got through */
#define FS_DELETE_NOW_MAX    (4ull << 20) /* bytes of a file that go with its last name at once */

/* ---- waiting between fibers, interruptible ---- */

struct fs_waiter {
	struct fiber *fiber;
	TAILQ_ENTRY(fs_waiter) link;
};
TAILQ_HEAD(fs_waiters, fs_waiter);

/* Parks once, until fs__wake_all or anything else wakes the fiber: callers loop over their own
 * condition. ERR_INTERRUPTED. */
int fs__wait(struct fs_waiters *q);
void fs__wake_all(struct fs_waiters *q);

/* ---- hints ---- */

struct fs_inode_hint {
	fs_ino ino; /* 0: empty */
	struct fs_inode rec;
};

struct fs_dentry_hint {
	fs_ino dir; /* 0: empty */
	uint64_t hash, check, version;
	struct fs_dentry entry;
};

struct fs_hints {
	struct fs_inode_hint *inodes;
	struct fs_dentry_hint *dentries;
};

/* ---- counted blocks of files with holes (holes.c) ---- */

#define FS_BLOCK_COUNTS 4096u /* direct-mapped */

struct fs_block_count {
	uint64_t data_id, data_version; /* what was counted; 0: nothing */
	uint64_t at;		  /* blocks before it have been */
	uint64_t blocks, last;	  /* how many are there; the last of them */
};

/* ---- nodes: inodes that this mount holds open or is busy with ---- */

struct fs_node {
	fs_ino ino;
	uint32_t refs;	/* opens, and calls that use the node now */
	uint32_t opens; /* open files */
	uint32_t writers; /* of them, open for writing */
	uint32_t opening; /* opens under way */
	uint32_t finding; /* of them, with FS_O_FOUND */
	bool busy;	/* its last name may be going: opens wait */
	bool orphan;	/* made here; nobody was asked for it yet: that comes at the last close */
	bool held;	/* made elsewhere: there is, or will be, an H record of this mount */
	struct fs_inode seen; /* last record seen; a hint */
	uint64_t looks; /* how often it was seen, and not just supposed to be so after a write */
	uint64_t marked_id, marked_stripe; /* its bit in S is known to be set */
	uint64_t lost_epoch; /* when locks of it were lost last; 0: never */
	struct fs_waiters waiters;
	UT_hash_handle hh;
};

/* ---- the file system object ---- */

struct fs_task { /* a background fiber */
	struct fs *fs;
	void (*run)(struct fs *fs, struct fs_task *t);
	uint64_t arg;
	struct fiber *fiber;
	bool stop; /* set by fs_close */
	bool sleeping;
	LIST_ENTRY(fs_task) link;
};

struct fs_reap_job {
	uint64_t object;
	uint8_t what; /* enum fs_reap_what */
	TAILQ_ENTRY(fs_reap_job) link;
};

struct fs_atime { /* a read that the store does not know of yet */
	fs_ino ino;
	uint64_t set; /* the inode's atime_set, as the read saw it */
	int64_t ns;
	UT_hash_handle hh;
};

struct fs {
	struct fs_backend b;
	struct fs_options o;
	uint8_t hash_key[16];
	uint64_t hash_mask; /* all ones; tests make ties with fewer */
	uint64_t epoch; /* how many sessions of this mount have ended */
	struct fs_hints hints;
	struct fs_block_count *counts; /* NULL: none yet */
	struct {
		struct fs_statfs last;
		uint64_t at_ns; /* when it was asked for; 0: never */
		bool asking;
	} space;
	struct fs_node *nodes;
	struct fs_holds *holds; /* hold.h */
	struct fs_locks *locks; /* lock_internal.h; NULL: none were asked for yet */
	LIST_HEAD(fs_files, fs_file) files; /* open ones */
	struct {
		uint64_t next, end, spare_next, spare_end; /* numbers in hand */
		bool filling;
		int err; /* of the last filling */
		struct fs_waiters waiters;
	} pool;
	struct {
		TAILQ_HEAD(fs_reap_jobs, fs_reap_job) jobs;
		uint32_t waiting, running;
	} reap;
	struct {
		struct fs_atime *pending;
		uint32_t count;
		bool running;
	} atime;
	LIST_HEAD(fs_tasks, fs_task) tasks;
	bool closing;
	bool abandoned; /* closing was interrupted: nothing is asked of the store any more */
	struct fs_waiters closers;
	struct fs_stats stats;
};

/* Starts a background fiber; ERR_NOMEM, ERR_CANCELED when closing. */
int fs__background(struct fs *fs, void (*run)(struct fs *fs, struct fs_task *t), uint64_t arg);
/* Sleeps; false when the file system is closing. */
bool fs__task_sleep(struct fs_task *t, uint64_t ns);

/* ---- one call ---- */

struct fs_op {
	struct fs *fs;
	struct txn_mini m;
	struct txn_result r;
	unsigned conflicts;
	uint64_t epoch; /* when the call began */
	fs_ino guard;	/* it changes the contents of this one: not once locks of it are lost; 0: none */
};

void fs__op_begin(struct fs_op *op, struct fs *fs);
void fs__op_reset(struct fs_op *op); /* empty lists and result, for another try */
int fs__op_exec(struct fs_op *op);
void fs__op_end(struct fs_op *op);
/* After a conflict, before the next try: waits a little after several. ERR_INTERRUPTED, ERR_BUSY. */
int fs__op_conflict(struct fs_op *op);
/* May this failure be cured by another try? (Aborts, full queues; conditions are the caller's.) */
bool fs__err_transient(int err);
/* For do ... while: it was such a failure, and there is another try. Else *err is how it ends. */
bool fs__op_again(struct fs_op *op, int *err);
int fs__delete_record(struct fs *fs, const struct fs_key *k); /* whether it is there or not */
/* Does it follow from what names and inodes are, so that a fresh look may give another answer? What
 * the executor could not do, or does not know to have done, is final. */
bool fs__err_of_state(int err);
static inline bool fs__failed_at(const struct fs_op *op, int err, uint32_t cond)
{
	return err == ERR_CONDITION && op->r.failed == cond;
}
static inline const struct txn_value *fs__op_value(const struct fs_op *op, uint32_t read)
{
	return &op->r.reads[read].value;
}
/* The inode that a condition found instead, also put into the hints: 0, ERR_NOT_FOUND,
 * ERR_CORRUPT. */
int fs__op_current_inode(struct fs_op *op, fs_ino ino, struct fs_inode *rec);
/* Executes what has only reads, trying again while that may help. */
int fs__op_read(struct fs_op *op);

/* ---- hint ---- */

void fs__hints_init(struct fs_hints *h);
void fs__hints_release(struct fs_hints *h);
void fs__hints_forget(struct fs_hints *h); /* all of them */
bool fs__hint_inode(const struct fs *fs, fs_ino ino, struct fs_inode *rec);
void fs__hint_inode_set(struct fs *fs, fs_ino ino, const struct fs_inode *rec);
/* The same after a write, of which only this is known: */
void fs__hint_inode_suppose(struct fs *fs, fs_ino ino, const struct fs_inode *rec);
void fs__hint_inode_drop(struct fs *fs, fs_ino ino);

/* ---- inodes ---- */

static inline struct fs_inode_hint *fs__hint_slot(const struct fs *fs, fs_ino ino)
{
	return &fs->hints.inodes[(ino ^ ino >> FS_NUMBER_BITS) % FS_HINTS];
}

/* Decodes, and remembers. ERR_NOT_FOUND (also of an orphan that is not open here), ERR_CORRUPT or the
 * value's status. */
int fs__inode_take(struct fs *fs, fs_ino ino, const struct txn_value *v, struct fs_inode *rec);
/* The same, of what has been changed together with the read: then it was there. */
int fs__inode_changed(struct fs *fs, fs_ino ino, const struct txn_value *v, struct fs_inode *rec);
int fs__inode_get(struct fs *fs, fs_ino ino, struct fs_inode *rec); /* a request; ERR_STALE */
int fs__inode_known(struct fs *fs, fs_ino ino, struct fs_inode *rec); /* hint, or a request */
void fs__attr(const struct fs *fs, fs_ino ino, const struct fs_inode *rec, struct fs_attr *a);
/* What a TOUCH with this stamp has made of a time. False: it was later already, and nobody but its group
 * knows whether it has been set into the future, and gives way: it is left as it is. */
bool fs__touched(int64_t *time, uint64_t stamp);
/* What a change of contents has made of @rec, which came with it, as it was before; @perm: the bits that
 * are left, NULL: all. False: as fs__touched says, of one of the times. */
bool fs__inode_written(struct fs_inode *rec, const uint16_t *perm, uint64_t stamp);

/* ---- inode numbers ---- */

int fs__ino_next(struct fs *fs, uint64_t *counter);
void fs__meta_key(struct fs_key *k, const char *name);

/* ---- names ---- */

struct fs_name { /* a name in a directory, and what the last look found there */
	fs_ino dir;
	struct slice name;
	uint64_t hash, check;
	struct fs_key key;
	/* as found */
	bool present;
	struct fs_dentry entry;
	uint64_t version;
	/* to make it: the run of entries with the same hash */
	uint8_t tie, tie_min; /* the tie to give it; not below tie_min */
	uint32_t run_count;
	uint64_t run_hash;
};

/* ERR_NAME_TOO_LONG, ERR_INVAL ('/' or NUL), ERR_NOT_FOUND (empty). Borrows @name. */
int fs__name_init(const struct fs *fs, fs_ino dir, struct slice name, struct fs_name *n);
bool fs__name_is_dot(struct slice name); /* "." or ".." */
bool fs__name_hint(const struct fs *fs, struct fs_name *n); /* fills `present` etc. from a hint */
void fs__name_drop(struct fs *fs, const struct fs_name *n);
void fs__name_set(struct fs *fs, struct fs_name *n, uint64_t version, const struct fs_dentry *d);
/* Adds the reads of name and inode; returns the index of the first of the two. */
uint32_t fs__name_read(struct fs_op *op, const struct fs_name *n);
/* What they found; a file's inode goes to the hints. ERR_CORRUPT. */
int fs__name_take(struct fs_op *op, struct fs_name *n, uint32_t read);
int fs__name_get(struct fs *fs, struct fs_name *n); /* a request; sets `present` */
/* The condition under which the name may be made. */
uint32_t fs__if_free(struct fs_op *op, const struct fs_name *n);
/* After that condition failed: looks at the run (a request). ERR_EXISTS with n->present, or 0: try
 * again with the tie found. */
int fs__name_taken(struct fs *fs, struct fs_name *n);

/* ---- pieces of transactions ---- */

void fs__put_dentry(struct fs_op *op, const struct fs_name *n, fs_ino ino, uint16_t type,
		    uint8_t tie);
void fs__put_inode(struct fs_op *op, fs_ino ino, const struct fs_inode *rec, struct slice tail);
void fs__touch_dir(struct fs_op *op, fs_ino dir, int nlink_change);
void fs__touch_ctime(struct fs_op *op, fs_ino ino);
uint32_t fs__if_inode_u64(struct fs_op *op, fs_ino ino, struct txn_field f, uint64_t v);
uint32_t fs__if_inode_exists(struct fs_op *op, fs_ino ino);
uint32_t fs__if_inode_usable(struct fs_op *op, fs_ino ino); /* and it has a name, or is open here */
void fs__set_inode(struct fs_op *op, fs_ino ino, struct txn_field f, uint64_t v);
void fs__set_inode_now(struct fs_op *op, fs_ino ino, struct txn_field f);
void fs__put_reap(struct fs_op *op, uint64_t object, enum fs_reap_what what);
/* Adds RANGE_EMPTY for [from, to), cut where groups begin; the index of the first one, and the count. */
uint32_t fs__if_range_empty(struct fs_op *op, const struct fs_key *from, const struct fs_key *to,
			    uint32_t *count);
/* Where the part of [from, to) that belongs to one group ends. */
void fs__range_piece(const struct fs *fs, const struct fs_key *from, const struct fs_key *to,
		     struct fs_key *end);

/* Adds DELETE_RANGE of [from, to), cut where groups begin. */
void fs__delete_range(struct fs_op *op, const struct fs_key *from, const struct fs_key *to);

/* A directory in which names are made, used under its permission version. */
struct fs_parent {
	fs_ino ino;
	struct fs_inode rec;
	bool strict; /* the kernel checked permissions: ERR_STALE when they have changed */
	uint32_t cond;
};
int fs__parent_known(struct fs *fs, struct fs_parent *p);  /* ERR_NOT_FOUND, ERR_NOT_DIR */
void fs__if_parent(struct fs_op *op, struct fs_parent *p);
int fs__parent_changed(struct fs_op *op, struct fs_parent *p); /* 0: try again */
/* p->rec is newer than @was, which permissions were checked with: ERR_STALE if they have changed. */
int fs__parent_check(const struct fs_parent *p, const struct fs_inode *was);

/* ---- extended attributes ---- */

#define FS_X_CAPABILITY "security.capability"

/* The contents of @ino change: its capabilities go, under the condition that @rec (as known) tells
 * whether it has any. Whoever adds this refreshes the record when a condition fails. */
void fs__add_capability_kill(struct fs_op *op, fs_ino ino, const struct fs_inode *rec);
/* The record, and one of its attributes (empty: it has none), of one moment. ERR_NOT_FOUND: there is no
 * such inode. */
int fs__xattr_read(struct fs *fs, fs_ino ino, struct slice name, struct fs_inode *rec,
		   struct buf *value);

/* ---- nodes and open files ---- */

struct fs_locker { /* an owner that took locks through an open file */
	uint64_t owner;
	uint8_t kind;
};

struct fs_file {
	LIST_ENTRY(fs_file) link;
	struct fs *fs;
	struct fs_node *node;
	unsigned flags;
	bool lock_lost; /* and its next call will say so */
	uint64_t vain_from, vain_to; /* of which pages were refused for that (fs_read_pages) */
	struct fs_locker *lockers; /* owned */
	uint32_t locker_count;
};

struct fs_node *fs__node_get(struct fs *fs, fs_ino ino);
struct fs_node *fs__node_find(struct fs *fs, fs_ino ino); /* borrowed, or NULL */
void fs__node_put(struct fs *fs, struct fs_node *n);
int fs__node_lock(struct fs_node *n); /* ERR_INTERRUPTED */
void fs__node_unlock(struct fs_node *n);

/* ---- sessions: fs_session.c ---- */

/* The client's session ended: @now has taken the place of @was, with so many @calls under way. */
void fs__session_changed(struct fs *fs, uint64_t was, uint64_t now, uint32_t calls);
int fs__session_confirm(struct fs *fs);
/* Were locks of it lost since then? A call that began before must not change what they protected. */
bool fs__locks_lost(struct fs *fs, fs_ino ino, uint64_t epoch);
/* Around a call that works on a file. ERR_LOCK_LOST: of it, or of what went before. */
int fs__file_enter(struct fs_file *f, uint64_t *epoch);
int fs__file_leave(struct fs_file *f, int err);
/* After ERR_LOCK_LOST for pages: that is told only when they are asked for the second time. */
void fs__file_leave_pages(struct fs_file *f, uint64_t from, uint64_t to);
/* A write of a call that began in @epoch. */
int fs__write_since(struct fs_file *f, uint64_t epoch, uint64_t offset, struct slice data,
		    const struct fs_write_how *how, uint64_t *end);
/* For pages written back, which nobody's descriptor comes with: is there a file that is to be told? */
bool fs__untold(const struct fs_node *n, const struct fs *fs);

/* ---- what loses its last name ---- */

struct fs_victim {
	fs_ino ino;
	struct fs_inode rec;
	struct fs_node *node; /* locked */
	bool not_now; /* deleting with the name does not work: through an orphan */
	bool orphaned, deleted, last; /* what the transaction does */
	uint32_t cond, cond_count;
	uint32_t empty, empty_count; /* conditions that a directory is empty */
};
/* Locks the node and knows the inode. ERR_INTERRUPTED, ERR_STALE. */
int fs__victim_begin(struct fs *fs, struct fs_victim *v, fs_ino ino);
void fs__victim_add(struct fs_op *op, struct fs_victim *v);
/* Whose failure is it? 1: not this one's; 0: known now, try again; else the error. */
int fs__victim_failed(struct fs_op *op, struct fs_victim *v, int err);
void fs__victim_end(struct fs *fs, struct fs_victim *v, int err); /* err of the whole call */

/* ---- reaping ---- */

/* Deletes an inode that has its keys at its own place only, and no xattrs: in one transaction. */
void fs__delete_inode(struct fs_op *op, fs_ino ino, const struct fs_inode *rec);
void fs__reap_later(struct fs *fs, uint64_t object, enum fs_reap_what what);
/* At once; of an inode it must be known that nobody holds it. */
int fs__reap_now(struct fs *fs, uint64_t object, enum fs_reap_what what);
/* Deletes all blocks and S records of a data id. */
int fs__reap_blocks(struct fs *fs, uint64_t data_id);

/* ---- files held open without a name (README.md, "Orphans and reaping"; hold.h) ---- */

/* From a fiber, when fs->b.session is another one than before (the old one is closed): the mount joins
 * the others anew, and files that it has open are held by the new session, as far as they are still
 * there; of those that are not, every call says ERR_STALE. Until it has returned 0, an open file
 * that another mount unlinks may be deleted. May be called again when it failed. */
int fs__holds_renew(struct fs *fs);

void fs__holds_init(struct fs *fs);
void fs__holds_free(struct fs *fs);
int fs__holds_join(struct fs *fs);   /* before anything is looked up */
void fs__holds_leave(struct fs *fs); /* without background fibers */
/* Has this mount an orphan (or whatever it is) open? Only then it is there for calls by number. */
bool fs__is_held(struct fs *fs, fs_ino ino);
bool fs__may_open(struct fs *fs, const struct fs_node *n, const struct fs_inode *rec);
/* It is an orphan and about to be open here, where it may not have been. From then on it is kept.
 * ERR_STALE: it is too late. */
int fs__hold_found(struct fs *fs, struct fs_node *n);
void fs__hold_unused(struct fs *fs, struct fs_node *n); /* an open file, or an open, has gone */
/* An orphan that is not open here: is deleted when no other mount has it open. */
void fs__orphan_later(struct fs *fs, fs_ino ino);
void fs__orphan_unsure(struct fs *fs, fs_ino ino); /* the same, if it is one: there was no answer */
int fs__orphan_now(struct fs *fs, fs_ino ino); /* the same, without delay; or it is in the queue */
/* It is an orphan of nobody who lives. If it is open here it is this mount's from now on. */
bool fs__orphan_is_open(struct fs *fs, fs_ino ino);

/* ---- data ---- */

struct fs_stripe_set { /* stripes >= 1 that may hold data, ascending */
	uint64_t *stripes; /* owned */
	uint32_t count, cap;
};
int fs__stripes_get(struct fs *fs, uint64_t data_id, struct fs_stripe_set *out);
void fs__stripes_release(struct fs_stripe_set *s);
void fs__add_blocks(struct fs_op *op, uint64_t data_id, uint64_t offset, struct slice data);
/* A file of @size had all its blocks, and now data comes at @offset (the end is set: no data before the
 * end of its blocks): are blocks absent then? */
static inline bool fs__leaves_gap(uint64_t size, uint64_t offset)
{
	return offset / BLOCK_SIZE > fs__blocks_end(size) / BLOCK_SIZE;
}
void fs__add_holes(struct fs_op *op, fs_ino ino); /* it may have holes */
/* Are blocks absent in a file that is not marked? False when others change it too often. ERR_STALE. */
int fs__unmarked_gap(struct fs *fs, fs_ino ino, struct fs_inode *rec, bool *gap);
/* [offset, end) reads as zeros, without blocks; the end stays. A transaction for each stripe. */
int fs__punch(struct fs *fs, fs_ino ino, uint64_t epoch, uint64_t offset, uint64_t end,
	      const struct fs_writer *w);
/* The file ends at @end or behind; its times change. */
int fs__extend(struct fs *fs, struct fs_node *n, uint64_t epoch, uint64_t end,
	       const struct fs_writer *w);
void fs__add_write_times(struct fs_op *op, fs_ino ino);
/* Changes the size, in a call that began in @epoch, and with it what @also adds to the last
 * transaction (may be NULL). */
typedef void fs_also_fn(struct fs_op *op, void *ctx);
int fs__set_size(struct fs *fs, fs_ino ino, uint64_t epoch, uint64_t size,
		const struct fs_writer *w, fs_also_fn *also, void *ctx, struct fs_inode *rec,
		uint64_t *stamp);
/* The set-id bits of what @w (may be NULL) changes: the condition that @rec, as known, tells which
 * there are, and what takes them off. Returns whether it does, then with *perm as it will be. */
bool fs__add_setid_kill(struct fs_op *op, fs_ino ino, const struct fs_inode *rec,
			const struct fs_writer *w, uint16_t *perm);
/* What is there of [offset, offset + len), which lies in one stripe, appended to @out; @rec: the
 * inode of that moment. */
int fs__read_stripe(struct fs *fs, fs_ino ino, struct fs_inode *rec, uint64_t offset, size_t len,
		    struct buf *out);
/* Marks the stripes >= 1 of [offset, offset + len) as holding data. */
void fs__add_stripes(struct fs_op *op, uint64_t data_id, uint64_t offset, size_t len);

/* It has been read, when its record was @rec. Never waits. */
void fs__atime_touch(struct fs *fs, fs_ino ino, const struct fs_inode *rec);
void fs__atime_read(struct fs *fs, struct fs_node *n); /* the same, of an open file */
/* The time of @rec, or that of a later read that is not written yet. */
int64_t fs__atime_shown(const struct fs *fs, fs_ino ino, const struct fs_inode *rec);

/* ---- making names ---- */

struct fs_make {
	const struct fs_cred *cred;
	fs_ino parent;
	struct slice name;
	uint32_t mode;
	uint64_t rdev;
	struct slice target;
	bool lenient; /* no kernel has checked permissions */
};
int fs__make(struct fs *fs, const struct fs_make *q, fs_ino *ino, struct fs_inode *rec);
void fs__new_inode(const struct fs_make *q, const struct fs_inode *parent, fs_ino ino,
		   struct fs_inode *rec);
fs_ino fs__new_number(uint64_t counter, fs_ino parent, uint32_t mode);

/* ---- directory moves ---- */

struct fs_order {
	struct fs_key key;
	uint64_t version, value;
	uint32_t cond;
};
int fs__order_begin(struct fs *fs, struct fs_order *o); /* reads the key */
/* From @dir up to the root: ERR_INVAL if @moved is on the way. */
int fs__order_walk(struct fs *fs, fs_ino moved, fs_ino dir);
void fs__order_add(struct fs_op *op, struct fs_order *o);

/* ---- paths ---- */

#define FS_PATH_MAX  4096u
#define FS_LINKS_MAX 40u /* symlinks on the way, as Linux has it */

struct fs_walk { /* a path on its way to its last component */
	struct fs *fs;
	const struct fs_cred *make; /* missing directories are made as theirs; NULL: not made */
	struct buf text;	    /* what is left is behind `at` */
	size_t at;
	unsigned links;
	fs_ino dir;
	struct slice name; /* borrowed from text; empty: the path is `dir` itself */
	bool want_dir;	   /* a slash follows */
};
int fs__walk_begin(struct fs_walk *w, struct fs *fs, struct slice path,
		   const struct fs_cred *make);
/* To the last component, which is not looked up. ERR_STALE: again from the beginning. */
int fs__walk_on(struct fs_walk *w);
/* The last component is this symlink: on to the last component of where it leads. */
int fs__walk_follow(struct fs_walk *w, fs_ino link);
void fs__walk_end(struct fs_walk *w); /* also after a failed begin */

#define FS_READ_ONLY_CHECK(fs)                                                                     \
	((fs)->o.read_only ? ERR_READ_ONLY : 0)

#endif
