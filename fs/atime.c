/* Access times, lazily: remembered, shown by this mount at once, written in the background, many in
 * one transaction. */
#include "fs/fs_internal.h"

#define FLUSH_NS  (5 * NS_PER_S)
#define DAY_NS	  (24 * 3600 * NS_PER_S)
#define BATCH_MAX 64u

static bool due(const struct fs *fs, const struct fs_inode *rec, uint64_t now)
{
	if (fs->o.atime)
		return true;
	return rec->atime_ns <= rec->mtime_ns || rec->atime_ns <= rec->ctime_ns ||
	       rec->atime_ns + DAY_NS <= now;
}

uint64_t fs__atime_pending(const struct fs *fs, fs_ino ino)
{
	struct fs_atime *p = NULL;

	if (fs->atime.count > 0)
		HASH_FIND(hh, fs->atime.pending, &ino, sizeof(ino), p);
	return p ? p->ns : 0;
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
		batch[n].ino = p->ino;
		batch[n++].ns = p->ns;
	}
	return n;
}

static void done_with(struct fs *fs, const struct fs_atime *batch, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct fs_atime *p;

		HASH_FIND(hh, fs->atime.pending, &batch[i].ino, sizeof(fs_ino), p);
		if (!p || p->ns != batch[i].ns)
			continue; /* read again meanwhile: stays */
		HASH_DEL(fs->atime.pending, p);
		fs->atime.count--;
		mem_free(p);
	}
}

/* An inode that is gone makes the transaction fail at its condition: without it, again. Other
 * failures drop the batch: an access time is worth no more. */
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
			cond[i] = fs__if_inode_exists(&op, batch[i].ino);
			fs__key_inode(&k, batch[i].ino);
			txn_max(&op.m, fs__key_slice(&k), FS_F_ATIME, batch[i].ns);
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

void fs__atime_read(struct fs *fs, struct fs_node *n)
{
	uint64_t now = env_wall_ns(fs->b.env);
	struct fs_atime *p;

	if (fs->o.read_only || fs->o.noatime || (n->atime_seen && !fs->o.atime))
		return;
	n->atime_seen = true;
	if (!due(fs, &n->seen, now))
		return;
	HASH_FIND(hh, fs->atime.pending, &n->ino, sizeof(n->ino), p);
	if (p) {
		p->ns = now;
		return;
	}
	if (fs->atime.count >= FS_ATIME_WAITING_MAX)
		return;
	if (!fs->atime.running) {
		if (fs__background(fs, flush, 0))
			return;
		fs->atime.running = true;
	}
	p = mem_must_alloc(sizeof(*p));
	*p = (struct fs_atime){.ino = n->ino, .ns = now};
	HASH_ADD(hh, fs->atime.pending, ino, sizeof(p->ino), p);
	fs->atime.count++;
}
