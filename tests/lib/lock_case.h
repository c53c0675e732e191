/* Steps that tests of locks are made of: fs_case.h, and owners, waits in fibers of their own, what is
 * left in the store. */
#ifndef PAXFS_TESTS_LIB_LOCK_CASE_H
#define PAXFS_TESTS_LIB_LOCK_CASE_H

#include "fs/lock_internal.h"
#include "kv/layout.h"
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define EX   FS_LOCK_EXCLUSIVE
#define SH   FS_LOCK_SHARED
#define NONE FS_LOCK_NONE

static inline struct fs_lock posix(uint64_t owner, uint8_t mode, uint64_t start, uint64_t end)
{
	return (struct fs_lock){.kind = FS_LOCK_POSIX,
				.mode = mode,
				.start = start,
				.end = end,
				.owner = owner,
				.pid = (uint32_t)(100 + owner)};
}

static inline int set(struct fsx_mount *m, fs_ino f, struct fs_lock l)
{
	return fs_lock_set(m->fs, f, &l, NULL);
}

static inline int flock_as(struct fsx_mount *m, fs_ino f, uint64_t owner, uint8_t mode)
{
	struct fs_lock l = {
		.kind = FS_LOCK_FLOCK, .mode = mode, .end = UINT64_MAX, .owner = owner};

	return fs_lock_set(m->fs, f, &l, NULL);
}

static inline struct fs_lock in_the_way(struct fsx_mount *m, fs_ino f, struct fs_lock l)
{
	struct fs_lock found = {0};

	CHECK_OK(fs_lock_get(m->fs, f, &l, &found));
	return found;
}

/* ---- a call that waits, in a fiber of its own ---- */

struct waiting {
	struct fsx_mount *m;
	fs_ino f;
	struct fs_lock l;
	struct fs_lock_wait w;
	int err;
	bool done;
	uint64_t order, *next;
};

static inline void waiting_fiber(void *arg)
{
	struct waiting *w = arg;

	w->err = fs_lock_set(w->m->fs, w->f, &w->l, &w->w);
	w->done = true;
	if (w->next)
		w->order = ++*w->next;
}

static inline void start(struct waiting *w, struct fsx_mount *m, fs_ino f, struct fs_lock l)
{
	*w = (struct waiting){.m = m, .f = f, .l = l};
	fsx_start(m->x, waiting_fiber, w);
}

static inline void pass(uint64_t ns)
{
	CHECK_OK(fiber_sleep(ns));
}

static inline void expect_done(struct waiting *w, int err)
{
	for (int i = 0; i < 100 && !w->done; i++)
		pass(100 * NS_PER_MS);
	CHECK_TRUE(w->done);
	CHECK_ERR(w->err, err);
}

static inline uint32_t index_entries(struct fsx *x)
{
	struct buf prefix = BUF_INIT;
	struct fsx_rec *r;
	uint32_t n = 0;

	kv_meta_key(&prefix, "lock-wait/");
	RB_FOREACH(r, fsx_tree, &x->tree)
		n += slice_has_prefix(buf_slice(&r->key), buf_slice(&prefix));
	buf_release(&prefix);
	return n;
}

static inline void expect_nothing_left(struct fsx_mount *m)
{
	if (m->fs->o.keep_locks)
		pass(10 * NS_PER_S);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 0);
	CHECK_U64_EQ(index_entries(m->x), 0);
}

/* Each case twice: with delegations, and without. */
static bool keeping;

#define LOCK_CASE(name)                                                                            \
	static void name##_do(struct fsx_mount *m);                                                \
	FSC_CASE(name)                                                                             \
	{                                                                                          \
		keeping = m->fs->o.keep_locks = false;                                             \
		name##_do(m);                                                                      \
	}                                                                                          \
	FSC_CASE(name##_kept)                                                                      \
	{                                                                                          \
		keeping = m->fs->o.keep_locks = true;                                              \
		name##_do(m);                                                                      \
	}                                                                                          \
	static void name##_do(struct fsx_mount *m)

static inline struct fsx_mount *other(struct fsx_mount *m)
{
	struct fsx_mount *n = fsx_mount(m->x);

	n->fs->o.keep_locks = keeping;
	return n;
}

static inline void end_session(struct fsx_mount *m)
{
	struct buf key = BUF_INIT;

	fsx_kill(m);
	kv_meta_key(&key, KV_KEY_SESSION);
	buf_add_be64(&key, m->b.session);
	fsx_delete(m->x, buf_slice(&key));
	buf_release(&key);
}

#endif
