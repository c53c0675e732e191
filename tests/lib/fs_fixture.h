/* A cluster for the file system's tests, in memory and in one process: an executor with the
 * semantics of txn/txn.h over several groups, virtual time, and faults on request.
 *
 *     struct fsx *x = fsx_new(4, seed);
 *     struct fsx_mount *m = fsx_mount(x);
 *     fsx_call(x, fn, arg);       runs fn(arg) in a fiber until it returns
 *     fsx_settle(x);              until no fiber has anything to do
 *     fsx_free(x);
 */
#ifndef PAXFS_TESTS_LIB_FS_FIXTURE_H
#define PAXFS_TESTS_LIB_FS_FIXTURE_H

#include <bsd/sys/tree.h>
#include <stddef.h>

#include "base/fiber.h"
#include "base/list.h"
#include "fs/fs.h"

struct fsx_rec {
	RB_ENTRY(fsx_rec) link;
	struct buf key, value;
	uint64_t version;
};
RB_HEAD(fsx_tree, fsx_rec);

struct fsx_border { /* from this key on, up to the next border, `group` owns */
	struct buf from;
	uint32_t group;
};

struct fsx_mount {
	struct fsx *x;
	struct txn_executor executor;
	struct fs_backend b;
	struct fs *fs;
	int64_t lives; /* executions until this client is dead: ERR_SESSION; < 0: for ever */
	bool closed; /* others have closed its session: the next execution finds out (fs_sessions.c) */
	int64_t lose_outcome; /* the n-th write from now meets the end of the session: ERR_OUTCOME */
	bool outcome_done;    /* and happens */
	int64_t lose_reply; /* the n-th execution from now runs, but answers ERR_TIMEOUT; 0: none */
	LIST_ENTRY(fsx_mount) link;
};

struct fsx {
	struct env env;
	uint64_t now_ns, seed;
	TAILQ_HEAD(fsx_timers, env_timer_box) timers;
	struct fiber_sched *fibers;
	struct fsx_tree tree;
	struct fsx_border *borders;
	uint32_t border_count, groups;
	uint64_t stamp, version;
	uint64_t lag_ns; /* the stamps of changes are that much behind the groups' clocks, as those of
			  * a change in several groups may be */
	uint64_t hash_mask; /* of new mounts (struct fs): fewer bits make ties */
	LIST_HEAD(fsx_mounts, fsx_mount) mounts;
	LIST_HEAD(, fsx_watcher) watchers;

	uint64_t delay_ns; /* each execution waits up to this, before and after */
	unsigned fault_percent; /* of executions: aborted, refused, or timed out (done or not) */
	bool no_timeouts;	/* only those faults that did nothing, and say so */
	uint64_t timeouts;	/* answers ERR_TIMEOUT so far */
	/* Called before each execution, on the caller's fiber; may run calls of its own. */
	void (*before)(struct fsx *x, const struct txn_mini *m);
	bool in_before;

	uint64_t execs, reads, writes, cross; /* so far; cross: writes over several groups */
	uint64_t watches;
	uint64_t passed; /* bytes of values that scans of keys have read */
	unsigned idle; /* watches of what other mounts do about orphans: fsx_settle lets them be */
	unsigned timer_count;
};

struct fsx *fsx_new(uint32_t groups, uint64_t seed);
void fsx_free(struct fsx *x); /* closes the mounts first */

/* A mount with a session of its own; the file system is formatted by the first one. */
struct fsx_mount *fsx_mount(struct fsx *x);
struct fsx_mount *fsx_mount_with(struct fsx *x, const struct fs_options *o);
void fsx_umount(struct fsx_mount *m); /* fs_close */
void fsx_umount_all(struct fsx *x);   /* when nothing has anything to do any more */
/* The session that is in m->b is another one: it begins, the one before ends. */
void fsx_new_session(struct fsx_mount *m, uint64_t before);
void fsx_kill(struct fsx_mount *m);   /* dies now: nothing it does reaches the store any more */

/* Others close its session. As the client does, it goes on with another: after a write that was refused,
 * before a read returns, or when asked to make sure. */
void fsx_end_session(struct fsx_mount *m);
void fsx_next_session(struct fsx_mount *m); /* of that: now */
void fsx_session_key(struct buf *key, uint64_t session);
uint64_t fsx_first_session(struct fsx *x); /* a new one, with its record */

void fsx_call(struct fsx *x, fiber_fn *fn, void *arg);
void fsx_start(struct fsx *x, fiber_fn *fn, void *arg); /* starts only */
void fsx_settle(struct fsx *x); /* until nobody waits for anything but other mounts' doings */
uint64_t fsx_random(struct fsx *x);

/* From @key on, up to the next border, another group owns. */
void fsx_split(struct fsx *x, struct slice key, uint32_t group);
uint32_t fsx_group_of(struct fsx *x, struct slice key);

/* Direct access, for damage and for counting. */
struct fsx_rec *fsx_find(struct fsx *x, struct slice key);
void fsx_put(struct fsx *x, struct slice key, struct slice value);
void fsx_delete(struct fsx *x, struct slice key);
size_t fsx_count(struct fsx *x, uint8_t kind); /* stored keys of a kind */

/* What fs/README.md says must hold, checked on the stored records alone (fs_checker.c). @leftovers:
 * G records and what belongs to them may be there. Prints what is wrong, and fails the test. */
void fsx_check(struct fsx *x, bool leftovers);

/* Among the files of the fixture (fs_ministore.c). */
int fsx_run_mini(struct fsx *x, const struct txn_mini *m, struct txn_result *res);
void fsx_rec_free(struct fsx_rec *r);

/* The backend's watch, and what wakes it (fs_watching.c): called after each execution that writes; a
 * test that writes by fsx_put calls it itself. */
int fsx_watch(struct fsx *x, struct slice key, uint64_t version, uint64_t wait_ns, uint64_t *now);
void fsx_wake(struct fsx *x);

RB_PROTOTYPE(fsx_tree, fsx_rec, link, fsx_rec_cmp)

#endif
