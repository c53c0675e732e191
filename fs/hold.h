/* Files that are held open without a name, across mounts (README.md, "Orphans and reaping"): what the
 * files of it share. */
#ifndef PAXFS_FS_HOLD_H
#define PAXFS_FS_HOLD_H

#include "fs/fs_internal.h"

#define HOLD_GATHER_NS	  (100 * NS_PER_MS) /* orphans are collected so long */
#define HOLD_GATHER_MAX	  128u		    /* or until there are so many */
#define HOLD_LIST_MAX	  8192u		    /* then who unlinks waits */
#define HOLD_RETRY_NS	  (1 * NS_PER_S)
#define HOLD_LAGGARD_NS	  (2 * NS_PER_S)  /* a mount that has not looked for so long may be dead */
#define HOLD_LOOK_NS	  (10 * NS_PER_S) /* between looks for the dead; and up to as much again */
#define HOLD_POLL_NS	  (1 * NS_PER_S)  /* with a backend that cannot watch */
#define HOLD_PAGE	  16u		  /* batches read at once */
#define HOLD_WRITE_MAX	  256u		  /* H records in a transaction */
#define HOLD_GONE	  4096u		  /* direct-mapped */
#define HOLD_LEAVE_TRIES  100u
#define HOLD_VERSION_ANY  UINT64_MAX /* of Q: not known */

struct hold_list { /* of inodes */
	fs_ino *v; /* owned */
	uint32_t count, cap;
};
void hold__add(struct hold_list *l, fs_ino ino);
void hold__add_all(struct hold_list *l, const struct hold_list *from);
void hold__take(struct hold_list *to, struct hold_list *from, uint32_t max); /* the first ones */
void hold__release(struct hold_list *l);

struct hold_batch { /* one that this mount has to finish */
	uint64_t number;
	struct hold_list inos;
	TAILQ_ENTRY(hold_batch) link;
};

struct fs_holds {
	uint64_t session; /* has joined with it; 0: not */
	bool lost;	  /* that session is over: until fs__holds_renew */
	uint32_t vanished; /* open files that this did not find any more */
	struct fs_waiters renewed;
	bool unsure;	  /* there may be H records of it that nobody here knows of */
	uint64_t cursor;  /* batches up to it have been looked at, and it is stored */
	uint64_t version; /* of Q, as seen last; or HOLD_VERSION_ANY */
	struct fs_queue queue; /* as seen last */
	bool others; /* there were other mounts when `changes` of that came to be known */
	uint64_t look_ns; /* when the dead are to be looked for */

	bool busy; /* H records are being written or deleted */
	struct fs_waiters turn;

	struct hold_list pending; /* held, and H to be written */

	struct hold_list fresh;	   /* orphans that nobody was asked for yet */
	struct hold_list released; /* held ones that are closed now */
	bool listing;	       /* a fiber works them off */
	struct fs_waiters room; /* for `fresh` to get shorter */
	TAILQ_HEAD(, hold_batch) batches;
	bool finishing; /* a fiber waits for their grace periods */
	bool cleaning;	/* one clears up after a dead mount */

	fs_ino gone[HOLD_GONE]; /* orphans that will never be opened here any more */
};

/* Errors that another try may cure. */
static inline bool hold__may_work_later(int err)
{
	return err && err != ERR_CORRUPT && err != ERR_SESSION;
}

/* ---- hold.c: nodes; joining and leaving ---- */
int hold__turn_take(struct fs *fs); /* ERR_INTERRUPTED */
void hold__turn_give(struct fs *fs);
void hold__gone(struct fs *fs, fs_ino ino);
bool hold__is_kept(const struct fs_node *n);
bool hold__may_be_kept(const struct fs *fs, fs_ino ino);
int hold__join(struct fs *fs); /* ERR_SESSION: there is another one by now */

/* ---- hold_queue.c ---- */
void hold__keeper(struct fs *fs, struct fs_task *t); /* watches the queue, all the time */
/* Makes a batch of them, for @owner to finish. ERR_CONDITION: that one has left, or is dead. */
int hold__enqueue(struct fs *fs, const struct hold_list *inos, uint64_t owner);
/* Takes what is to be finished by this mount and is not known here. @of: first makes it the owner of
 * that one's batches (0: of nobody's). */
int hold__adopt(struct fs *fs, uint64_t of);
/* Gives all its batches to another mount. ERR_CONDITION: that one has left. */
int hold__hand_over(struct fs *fs, uint64_t to);
void hold__batch_drop(struct fs *fs, struct hold_batch *b); /* from memory */

/* ---- hold_reap.c ---- */
void hold__kick(struct fs *fs); /* there is something on the lists */
void hold__kick_batches(struct fs *fs);
/* Deletes H of that session, and what nobody holds any more. */
int hold__let_go(struct fs *fs, const struct hold_list *inos, uint64_t session);
/* From the list on its way: 0 when deleted, or in a batch. */
int hold__settle(struct fs *fs, const struct hold_list *inos);
int hold__mark_asked(struct fs *fs, fs_ino ino);
int hold__finish(struct fs *fs, const struct hold_batch *b); /* its grace period is over */

/* ---- hold_mounts.c ---- */
struct hold_mount {
	uint64_t session, version;
	struct fs_mount_rec rec;
	bool alive; /* set by hold__mounts_alive; till then true */
};
struct hold_mounts {
	struct hold_mount *v;	/* owned; those of other sessions */
	uint32_t count, cap;
};
int hold__mounts_read(struct fs *fs, struct hold_mounts *m);
int hold__mounts_alive(struct fs *fs, struct hold_mounts *m);
int hold__queue_read(struct fs *fs, struct fs_queue *q); /* zeros: there is none */
/* A mount that may be given work; 0: there is none. */
int hold__heir(struct fs *fs, uint64_t *session);
void hold__mounts_release(struct hold_mounts *m);
void hold__look_for_dead(struct fs *fs);

/* Scans the root's keys of a kind behind @after (may be NULL). false ends it. */
typedef bool hold_scan_fn(void *ctx, const struct txn_item *it);
int hold__scan(struct fs *fs, uint8_t kind, const struct fs_key *after, bool keys_only,
	       hold_scan_fn *fn, void *ctx);
/* Adds to @held, in order, those of @inos that have an H record of anybody. */
int hold__find_held(struct fs *fs, const struct hold_list *inos, struct hold_list *held);

/* ---- orphan_many.c ---- */
/* Deletes orphans that nobody holds. What fails for good is left to fsck; an error: some may work
 * later. */
int hold__reap(struct fs *fs, const struct hold_list *inos);

#endif
