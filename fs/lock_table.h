/* The locks of one inode, and who waits for them: ranges, owners, conflicts, merging and splitting; and
 * their record (README.md, "Locks"). Pure code: no store, no clock. */
#ifndef PAXFS_FS_LOCK_TABLE_H
#define PAXFS_FS_LOCK_TABLE_H

#include "base/buf.h"
#include "fs/fs.h"

#define FS_LOCKS_MAX	 1024u /* of one inode, waiters included: their record is one value */
#define FS_LOCKS_ALONE	 (FS_LOCKS_MAX / 2) /* with a delegation: of its holder, and as many waiters */
#define FS_LOCK_HEAD	 16u
#define FS_LOCK_SIZE	 56u
#define FS_F_LOCK_TAG	 ((struct txn_field){.offset = 8, .width = 8})

_Static_assert(FS_LOCK_HEAD + FS_LOCKS_MAX * FS_LOCK_SIZE <= VALUE_SIZE_MAX, "a full table fits");

/* A kind that only records know: the session decides alone about the locks of the inode, in its memory,
 * until somebody else queues up. Conflicts with everything of other sessions. */
#define FS_LOCK_DELEGATION 3u

struct lock_list {
	struct fs_lock *v; /* owned */
	uint32_t count, cap;
};

struct lock_table {
	uint64_t tag; /* another one with every change: the condition of the next */
	struct lock_list held, waiters; /* waiters: in the order of their coming */
};

void lock_table_init(struct lock_table *t);
void lock_table_release(struct lock_table *t);
int lock_table_copy(struct lock_table *to, const struct lock_table *from); /* ERR_NOMEM */

static inline bool lock_table_empty(const struct lock_table *t)
{
	return t->held.count == 0 && t->waiters.count == 0;
}

/* One that owns both: only its own locks are replaced by a new one, and never conflict with it. */
static inline bool fs__lock_same_owner(const struct fs_lock *a, const struct fs_lock *b)
{
	return a->kind == b->kind && a->owner == b->owner && a->session == b->session;
}
/* May they not be held at the same time? */
bool fs__lock_conflict(const struct fs_lock *a, const struct fs_lock *b);

/* A held lock that @want has to wait for, from number *@at on; *@at: the one to go on with. NULL: no
 * more. */
const struct fs_lock *lock_table_blocker(const struct lock_table *t, const struct fs_lock *want,
					 uint32_t *at);
/* A waiter that came before @want (which may be one, known by its ticket), wants what @want would take
 * from it, and does not itself wait for the owner of @want. NULL: none. */
const struct fs_lock *lock_table_ahead(const struct lock_table *t, const struct fs_lock *want);

/* What @want covers becomes its owner's in its mode, nothing with FS_LOCK_NONE. Does not look at what
 * others hold. ERR_TOO_BIG, ERR_NOMEM: the table is as it was. */
int lock_table_set(struct lock_table *t, const struct fs_lock *want);
/* Does the owner of @l hold anything that overlaps it? */
bool lock_table_holds(const struct lock_table *t, const struct fs_lock *l);
/* Does it hold all of it, in this mode? */
bool lock_table_covers(const struct lock_table *t, const struct fs_lock *l);

bool lock_table_waits(const struct lock_table *t, const struct fs_lock *l); /* by session and ticket */
int lock_table_wait(struct lock_table *t, const struct fs_lock *want); /* ERR_TOO_BIG, ERR_NOMEM */
/* The waiter goes; false: there is none. */
bool lock_table_leave(struct lock_table *t, uint64_t session, uint64_t ticket);
/* All that the session holds and waits for goes; how many entries that were. */
uint32_t lock_table_drop_session(struct lock_table *t, uint64_t session);
uint32_t lock_table_drop_held(struct lock_table *t, uint64_t session); /* what it holds */
/* What the owner of @of holds goes, whatever its ranges. */
uint32_t lock_table_drop_owner(struct lock_table *t, const struct fs_lock *of);

/* The delegation, if there is one. */
const struct fs_lock *lock_table_delegation(const struct lock_table *t);

/* ---- record ---- */

void lock_table_encode(struct buf *out, const struct lock_table *t);
/* Into an empty one; what is in it after ERR_CORRUPT or ERR_NOMEM is to be released. */
int lock_table_decode(struct slice value, struct lock_table *t);

#endif
