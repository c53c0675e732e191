/* What follows when others have closed this mount's session and the client has another one (README.md,
 * "Sessions"): locks are lost, and who took them learns it; what is open without a name is held anew. */
#include "fs/fs_internal.h"
#include "fs/hold.h"
#include "fs/lock_internal.h"

#define RENEW_NS (1 * NS_PER_S)

int fs__session_confirm(struct fs *fs)
{
	return fs->b.confirm ? fs->b.confirm(fs->b.ctx) : 0;
}

bool fs__locks_lost(struct fs *fs, fs_ino ino, uint64_t epoch)
{
	const struct fs_node *n = fs->epoch == epoch ? NULL : fs__node_find(fs, ino);

	return n && n->lost_epoch > epoch;
}

/* ---- telling, once for each open file ---- */

static void is_told(struct fs_file *f)
{
	f->lock_lost = false;
	f->vain_from = f->vain_to = 0;
}

int fs_file_lost_lock(struct fs_file *f)
{
	bool lost = f->lock_lost;

	is_told(f);
	return lost ? ERR_LOCK_LOST : 0;
}

int fs__file_enter(struct fs_file *f, uint64_t *epoch)
{
	*epoch = f->fs->epoch;
	return fs_file_lost_lock(f);
}

int fs__file_leave(struct fs_file *f, int err)
{
	if (err == ERR_LOCK_LOST)
		is_told(f);
	return err;
}

void fs__file_leave_pages(struct fs_file *f, uint64_t from, uint64_t to)
{
	if (f->vain_from <= from && to <= f->vain_to) {
		is_told(f);
	} else if (f->vain_to == 0) {
		f->vain_from = from;
		f->vain_to = to;
	} else {
		f->vain_from = from < f->vain_from ? from : f->vain_from;
		f->vain_to = to > f->vain_to ? to : f->vain_to;
	}
}

bool fs__untold(const struct fs_node *n, const struct fs *fs)
{
	const struct fs_file *f;

	if (n->lost_epoch == 0)
		return false;
	LIST_FOREACH(f, &fs->files, link)
		if (f->node == n && f->lock_lost)
			return true;
	return false;
}

/* ---- who took locks through which file ---- */

static bool holds_any(struct fs *fs, fs_ino ino, const struct fs_locker *by)
{
	const struct lock_node *n = lock__node_find(fs, ino);

	for (uint32_t i = 0; n && i < n->mine.held.count; i++)
		if (n->mine.held.v[i].kind == by->kind && n->mine.held.v[i].owner == by->owner)
			return true;
	return false;
}

/* Before the lock is there: it may be lost as soon as it is. Those that have none any more make way. */
static void note_locker(struct fs_file *f, const struct fs_lock *want)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->locker_count; i++) {
		const struct fs_locker *l = &f->lockers[i];

		if (l->kind == want->kind && l->owner == want->owner)
			continue;
		if (holds_any(f->fs, f->node->ino, l))
			f->lockers[n++] = *l;
	}
	f->lockers = mem_must_realloc(f->lockers, (n + 1) * sizeof(*f->lockers));
	f->lockers[n] = (struct fs_locker){.owner = want->owner, .kind = want->kind};
	f->locker_count = n + 1;
}

/* Did it fail for the end of the session? What it had by then, a place in the queue, has gone. */
static bool again(struct fs *fs, uint64_t epoch, int err)
{
	if (!err || err == ERR_INTERRUPTED)
		return false;
	if (err == ERR_SESSION && fs->epoch == epoch)
		(void)fs__session_confirm(fs);
	return fs->epoch != epoch;
}

int fs_file_lock(struct fs_file *f, const struct fs_lock *want, struct fs_lock_wait *w)
{
	struct fs *fs = f->fs;
	fs_ino ino = f->node->ino;
	uint64_t began, epoch;
	int err = fs__file_enter(f, &began);

	if (!err && want->mode != FS_LOCK_NONE) {
		err = fs__session_confirm(fs); /* what is decided in memory depends on it */
		note_locker(f, want);
	}
	while (!err) {
		if (f->lock_lost)
			return fs_file_lost_lock(f);
		epoch = fs->epoch;
		err = fs_lock_set(fs, ino, want, w);
		if (!again(fs, epoch, err))
			break;
		err = 0;
	}
	return err;
}

int fs_file_lock_get(struct fs_file *f, const struct fs_lock *want, struct fs_lock *found)
{
	struct fs *fs = f->fs;
	uint64_t epoch;
	int err = fs__file_enter(f, &epoch);

	if (!err)
		err = fs__session_confirm(fs);
	if (err)
		return err;
	do {
		epoch = fs->epoch;
		err = fs_lock_get(fs, f->node->ino, want, found);
	} while (again(fs, epoch, err));
	return err ? err : fs_file_lost_lock(f);
}

/* ---- the end of a session ---- */

static void tell_files(struct fs *fs, const struct lock_node *n, struct fs_session_report *r)
{
	struct fs_node *node = fs__node_find(fs, n->ino);
	struct fs_file *f;

	if (node)
		node->lost_epoch = fs->epoch;
	LIST_FOREACH(f, &fs->files, link) {
		bool lost = f->lock_lost;

		for (uint32_t i = 0; f->node == node && !lost && i < f->locker_count; i++)
			lost = holds_any(fs, n->ino, &f->lockers[i]);
		r->files += lost && !f->lock_lost;
		f->lock_lost = lost;
	}
}

static void lose_locks(struct fs *fs, struct fs_session_report *r)
{
	struct lock_node *n;

	if (!fs->locks)
		return;
	for (n = fs->locks->nodes; n; n = n->hh.next) {
		r->locks += n->mine.held.count;
		if (n->mine.held.count > 0)
			tell_files(fs, n, r);
	}
}

/* Of files that have no name, or lose it from now on: until it is done, they may go. */
static void hold_orphans(struct fs *fs, struct fs_task *t, struct fs_session_report *r)
{
	uint64_t epoch = fs->epoch;

	while (fs__holds_renew(fs) && fs->epoch == epoch && fs__task_sleep(t, RENEW_NS))
		;
	r->orphans = fs->holds->vanished;
}

static void report(struct fs *fs, struct fs_session_report *r)
{
	if (fs->o.session_ended)
		fs->o.session_ended(fs->o.session_ctx, r);
}

static void after(struct fs *fs, struct fs_task *t)
{
	struct fs_session_report *r = (struct fs_session_report *)(uintptr_t)t->arg;

	hold_orphans(fs, t, r);
	report(fs, r);
	mem_free(r);
}

void fs__session_changed(struct fs *fs, uint64_t was, uint64_t now, uint32_t calls)
{
	struct fs_session_report *r = mem_must_alloc(sizeof(*r));

	*r = (struct fs_session_report){.was = was, .now = now, .calls = calls};
	fs->epoch++;
	lose_locks(fs, r); /* while it is known what they were */
	fs->b.session = now;
	fs->holds->lost = fs->holds->session != 0;
	lock__session_changed(fs);
	fs__hints_forget(&fs->hints);
	if (fs__background(fs, after, (uint64_t)(uintptr_t)r) == 0)
		return;
	report(fs, r);
	mem_free(r);
}
