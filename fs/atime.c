/* Access times, lazily: remembered, shown by this mount at once, written in the background, many in
 * one transaction. A time that utimens has set after a read is never overwritten by that read: the
 * inode tells when it was last set, and what is remembered counts only while that has not changed. */
#include "fs/fs_internal.h"

#define FLUSH_NS  (5 * NS_PER_S)
#define DAY_NS	  (24 * 3600 * (int64_t)NS_PER_S)
#define SKEW_NS	  (60 * (int64_t)NS_PER_S) /* a time ahead by less may be that of another clock */
#define BATCH_MAX 64u

static int64_t now_of(const struct fs *fs)
{
	return (int64_t)env_wall_ns(fs->b.env);
}

static int64_t behind(int64_t now, int64_t change)
{
	return change >= now && change - now < SKEW_NS ? change + 1 : now;
}

/* Now; and behind the changes that the read saw, though the clock that stamped them be ahead of
 * ours: else the file would look unread, and each read be due again. */
static int64_t time_of_read(const struct fs *fs, const struct fs_inode *rec)
{
	return behind(behind(now_of(fs), rec->mtime_ns), rec->ctime_ns);
}

static bool due(const struct fs *fs, int64_t atime, const struct fs_inode *rec, int64_t now)
{
	if (fs->o.atime)
		return true;
	return atime <= rec->mtime_ns || atime <= rec->ctime_ns || atime <= now - DAY_NS;
}

static struct fs_atime *find(const struct fs *fs, fs_ino ino)
{
	struct fs_atime *p = NULL;

	if (fs->atime.count > 0)
		HASH_FIND(hh, fs->atime.pending, &ino, sizeof(ino), p);
	return p;
}

int64_t fs__atime_shown(const struct fs *fs, fs_ino ino, const struct fs_inode *rec)
{
	const struct fs_atime *p = find(fs, ino);

	if (!p || p->set != rec->atime_set)
		return rec->atime_ns;
	/* as the store will have it: a time in the future was set before the read, and gives way */
	return rec->atime_ns < p->ns || rec->atime_ns > now_of(fs) + SKEW_NS ? p->ns
									       : rec->atime_ns;
}

/* ---- writing ---- */

/* Takes up to BATCH_MAX of one place, which is one group as a rule. */
static uint32_t take_batch(struct fs *fs, struct fs_atime *batch)
{
	struct fs_atime *p, *next;
	uint32_t n = 0;

	HASH_ITER(hh, fs->atime.pending, p, next) {
		if (n > 0 && fs__place(p->ino) != fs__place(batch[0].ino))
			continue;
		if (n == BATCH_MAX)
			break;
		batch[n++] = (struct fs_atime){.ino = p->ino, .set = p->set, .ns = p->ns};
	}
	return n;
}

static void done_with(struct fs *fs, const struct fs_atime *batch, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct fs_atime *p = find(fs, batch[i].ino);

		if (!p || p->ns != batch[i].ns || p->set != batch[i].set)
			continue; /* read again meanwhile: stays */
		HASH_DEL(fs->atime.pending, p);
		fs->atime.count--;
		mem_free(p);
	}
}

/* An inode that is gone, or whose access time has been set since it was read, makes the transaction
 * fail at its condition: without it, again. Other failures drop the batch: an access time is worth
 * no more. */
static void write_batch(struct fs *fs, struct fs_atime *batch, uint32_t n)
{
	uint32_t left = n;
	bool gone[BATCH_MAX] = {false};
	uint32_t cond[BATCH_MAX];
	struct fs_op op;
	int err = ERR_CONDITION;

	fs__op_begin(&op, fs);
	while (left > 0 && err == ERR_CONDITION) {
		struct fs_key k;

		fs__op_reset(&op);
		for (uint32_t i = 0; i < n; i++) {
			if (gone[i])
				continue;
			cond[i] = fs__if_inode_u64(&op, batch[i].ino, FS_F_ATIME_SET, batch[i].set);
			fs__key_inode(&k, batch[i].ino);
			txn_touch_at(&op.m, fs__key_slice(&k), FS_F_ATIME, (uint64_t)batch[i].ns);
		}
		err = fs__op_exec(&op);
		for (uint32_t i = 0; i < n && err == ERR_CONDITION; i++)
			if (!gone[i] && cond[i] == op.r.failed) {
				gone[i] = true;
				left--;
				break;
			}
	}
	fs__op_end(&op);
}

static void flush(struct fs *fs, struct fs_task *t)
{
	struct fs_atime *batch = mem_must_alloc(sizeof(*batch) * BATCH_MAX);

	while (fs->atime.count > 0) {
		uint32_t n;

		(void)fs__task_sleep(t, FLUSH_NS);
		for (;;) {
			n = take_batch(fs, batch);
			if (n == 0)
				break;
			write_batch(fs, batch, n);
			done_with(fs, batch, n);
			if (n < BATCH_MAX && !t->stop && fs->atime.count < BATCH_MAX)
				break;
		}
	}
	fs->atime.running = false;
	mem_free(batch);
}

static void add(struct fs *fs, fs_ino ino, uint64_t set, int64_t now)
{
	struct fs_atime *p;

	if (fs->atime.count >= FS_ATIME_WAITING_MAX)
		return;
	if (!fs->atime.running) {
		if (fs__background(fs, flush, 0))
			return;
		fs->atime.running = true;
	}
	p = mem_must_alloc(sizeof(*p));
	*p = (struct fs_atime){.ino = ino, .set = set, .ns = now};
	HASH_ADD(hh, fs->atime.pending, ino, sizeof(p->ino), p);
	fs->atime.count++;
}

void fs__atime_touch(struct fs *fs, fs_ino ino, const struct fs_inode *rec)
{
	int64_t now = time_of_read(fs, rec);
	struct fs_atime *p;

	if (fs->o.read_only || fs->o.noatime || !due(fs, fs__atime_shown(fs, ino, rec), rec, now))
		return;
	p = find(fs, ino);
	if (!p) {
		add(fs, ino, rec->atime_set, now);
	} else if (rec->atime_set >= p->set) { /* else @rec is an old one */
		p->set = rec->atime_set;
		p->ns = now;
	}
}

void fs__atime_read(struct fs *fs, struct fs_node *n)
{
	fs__atime_touch(fs, n->ino, &n->seen);
}
