/* What the files of the locks share (README.md, "Locks"). */
#ifndef PAXFS_FS_LOCK_INTERNAL_H
#define PAXFS_FS_LOCK_INTERNAL_H

#include "fs/fs_internal.h"
#include "fs/lock_table.h"

#define FS_LOCK_WATCH_NS    (2 * NS_PER_S) /* then the sessions in the way are looked at */
#define FS_LOCK_POLL_NS	    (50 * NS_PER_MS) /* with a backend that cannot watch */
#define FS_LOCK_ALIVE_NS    (1 * NS_PER_S) /* a session seen is believed to live so long */
#define FS_LOCK_PATIENCE_NS (1 * NS_PER_S) /* behind waiters that hold nothing: then past them */
#define FS_LOCK_KEEP_NS	    (2 * NS_PER_S) /* a delegation that is not used is given back */
#define FS_LOCK_COOL_NS	    (10 * NS_PER_S) /* no delegation of what others wanted so lately */
#define FS_LOCK_DELEGATIONS 64u		   /* of a mount */
#define FS_LOCK_COOL	    256u	   /* inodes remembered, direct-mapped */
#define FS_LOCK_SESSIONS    1024u	   /* remembered */
#define FS_LOCK_MEND_NS	    (1 * NS_PER_S) /* between tries to mend a record */
#define FS_LOCK_CYCLE_MAX   64u		   /* inodes that one search for a deadlock reads */
#define FS_LOCK_OWNERS_MAX  1024u	   /* and owners that it looks up */
#define FS_LOCK_VERSION_ANY UINT64_MAX	   /* not known */

struct lock_session { /* whether a session lives, as seen last */
	uint64_t id, seen_ns;
	bool dead; /* for ever: ids are not used again */
	UT_hash_handle hh;
};

struct lock_call;

/* An inode of which this mount holds locks, or is about to. */
struct lock_node {
	fs_ino ino;
	uint32_t users; /* calls */
	bool busy;	/* one call changes the record at a time */
	struct fs_waiters turn;
	struct fiber *task; /* in the background, that has the turn; NULL: none has */
	uint64_t version;	 /* of the record when `table` was read; FS_LOCK_VERSION_ANY */
	struct lock_table table; /* the record as seen last, a guess */
	struct lock_table mine;	 /* what owners of this mount hold: the truth about them */
	bool delegated; /* only this mount has to do with the inode: `mine` is all there is */
	bool news; /* `mine` is not as the record shows it */
	uint64_t used_ns; /* when that was of use last */
	bool unsure; /* a change had no answer: the record may hold of ours what `mine` does not */
	bool mending, soon; /* soon: without a pause first */
	LIST_HEAD(, lock_call) queued; /* calls of this mount that are waiters in the record */
	UT_hash_handle hh;
};

struct fs_locks {
	uint64_t session; /* whose locks these are */
	uint64_t tickets;
	struct lock_node *nodes;
	struct lock_session *sessions;
	uint32_t delegations;
	struct fs *fs;
	struct env_timer retry; /* armed: a node is unsure, and there was no fiber to mend it */
	struct {
		fs_ino ino;
		uint64_t until_ns;
	} cool[FS_LOCK_COOL];
};

struct lock_call {
	struct fs *fs;
	struct lock_node *n;
	struct fs_lock want;
	struct fs_lock_wait *wait; /* NULL: does not wait */
	bool granted, by_lock; /* of the last try; by_lock: else only waiters are in the way */
	bool stray; /* it was granted, but was no waiter of the record any more */
	bool recalls; /* does not wait for locks, but for a delegation to be given back */
	bool probe;   /* nor takes any */
	struct fs_lock_wait own_wait;
	bool queued, pass;     /* pass: goes ahead of waiters */
	uint64_t behind_ns;    /* since when only waiters have been in the way; 0: not */
	uint64_t look_ns;      /* when to look at sessions and for circles again */
	LIST_ENTRY(lock_call) link;
};

/* ---- lock_node.c ---- */
struct lock_node *lock__node_get(struct fs *fs, fs_ino ino);
struct lock_node *lock__node_find(struct fs *fs, fs_ino ino); /* borrowed, or NULL */
void lock__node_put(struct fs *fs, struct lock_node *n);
/* ERR_INTERRUPTED, also by fs_lock_interrupt. @w may be NULL. */
int lock__turn_take(struct lock_node *n, struct fs_lock_wait *w);
/* However long it takes, interrupted or not: an interrupt is seen afterwards. For what must be done. */
void lock__turn_must_take(struct lock_node *n);
int lock__turn_take_as_task(struct lock_node *n); /* in the background */
void lock__turn_give(struct lock_node *n);
int lock__refresh(struct fs *fs, struct lock_node *n); /* reads the record */

/* Changes a copy of the record: LOCK_SAME, LOCK_CHANGED or an error. Is called again when the record
 * turns out to be another one. */
enum lock_verdict { LOCK_SAME = 0, LOCK_CHANGED = 1, LOCK_UNSETTLED = 2 /* SAME, if that is fresh */ };
typedef int lock_edit_fn(struct lock_call *c, struct lock_table *t);
/* With the turn. @adds: only while there is such an inode (ERR_STALE). When there was no answer the
 * node is unsure, and mended in the background. */
int lock__change(struct lock_call *c, lock_edit_fn *edit, bool adds);
int lock__drop_dead(struct fs *fs, struct lock_node *n); /* what sessions known to be dead left */
void lock__node_free(struct fs_locks *l, struct lock_node *n);

/* ---- lock_mend.c ---- */
/* The record may not say what `mine` says: it is mended in the background. */
void lock__be_unsure(struct fs *fs, struct lock_node *n, int err);
void lock__mend_later(struct fs *fs); /* there is no fiber for an unsure node now */
void lock__drop_all(struct fs *fs); /* at the end */
void lock__free(struct fs *fs);
int lock__edit_nothing(struct lock_call *c, struct lock_table *t);
void lock__session_changed(struct fs *fs); /* fs->b.session: the locks of the one before are gone */

/* ---- lock_keep.c: delegations ---- */
/* May this change, which made @t of an empty record, come with a delegation? Then it is in @t. */
bool lock__delegate(struct lock_call *c, struct lock_table *t);
void lock__keep(struct fs *fs, struct lock_node *n); /* it has been written: from now on delegated */
/* A change in memory. 1: that does not do; the delegation is over. */
int lock__change_here(struct lock_call *c, lock_edit_fn *edit);
void lock__give_back(struct fs *fs, struct lock_node *n); /* in memory: the next change writes it */
bool lock__is_foreign(const struct fs *fs, const struct lock_table *t); /* delegated to others */

/* ---- lock_cycle.c ---- */
/* The waiters that went and came between two states: what leads from an owner to where it waits. */
void lock__add_index(struct fs_op *op, const struct lock_node *n, const struct lock_table *to);
void lock__index_drop(struct fs *fs, const struct fs_lock *l); /* without its record: best effort */
void lock__index_key(struct fs_key *k, const struct fs_lock *l);
void lock__index_range(struct fs_key *from, struct fs_key *to); /* of all of it */
bool lock__index_parse(const struct txn_item *it, struct fs_lock *who, fs_ino *ino);
/* Does @c, which waits, wait for itself in the end, and is it the one to give way? */
int lock__cycle(struct lock_call *c, bool *found);

/* ---- lock_session.c ---- */
/* Looks at the sessions in the way of @c: 1 when one is dead, which the next change drops. */
int lock__look_at_sessions(struct lock_call *c);
/* Those of a list of locks that are not known well enough; 1 as above. */
int lock__sessions_of(struct fs *fs, const struct fs_lock *const *locks, uint32_t count);
bool lock__session_dead(const struct fs *fs, uint64_t session);

#endif
