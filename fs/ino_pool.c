/* Inode numbers in hand: ranges reserved from the cluster's counter, used once. */
#include "fs/fs_internal.h"

#include "base/bytes.h"
#include "kv/layout.h"

#define COUNTER ((struct txn_field){.offset = 0, .width = 8})

void fs__meta_key(struct fs_key *k, const char *name)
{
	struct buf b = BUF_INIT;

	kv_meta_key(&b, name);
	buf_must(&b);
	k->len = 0;
	fs__key_bytes(k, buf_slice(&b));
	buf_release(&b);
}

/* One entry: the counter moves on by a batch, and the batch is ours. One that may have been reserved
 * without our knowing is nobody's. */
static int reserve(struct fs *fs, uint64_t *next, uint64_t *end)
{
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__meta_key(&k, KV_KEY_INODES);
	do {
		fs__op_reset(&op);
		txn_add(&op.m, fs__key_slice(&k), COUNTER, FS_INO_BATCH, true);
		err = fs__op_exec(&op);
	} while ((fs__err_transient(err) || err == ERR_OUTCOME) && !(err = fs__op_conflict(&op)));
	if (!err && op.r.numbers[0] > FS_COUNTER_MASK)
		err = ERR_NOSPACE;
	if (!err) {
		*end = op.r.numbers[0] + 1;
		*next = *end - FS_INO_BATCH;
	}
	fs__op_end(&op);
	return err;
}

static void fill(struct fs *fs, struct fs_task *t)
{
	uint64_t next = 0, end = 0;

	(void)t;
	fs->pool.err = reserve(fs, &next, &end);
	if (!fs->pool.err) {
		fs->pool.spare_next = next;
		fs->pool.spare_end = end;
	}
	fs->pool.filling = false;
	fs__wake_all(&fs->pool.waiters);
}

static int start_filling(struct fs *fs)
{
	int err;

	if (fs->pool.filling || fs->pool.spare_next < fs->pool.spare_end)
		return 0;
	err = fs__background(fs, fill, 0);
	if (!err)
		fs->pool.filling = true;
	return err;
}

/* Nothing in hand: waits for the filling, which one failure of which ends the call. */
static int wait_filled(struct fs *fs)
{
	int err = start_filling(fs);

	if (err)
		return err;
	while (fs->pool.filling) {
		err = fs__wait(&fs->pool.waiters);
		if (err)
			return err;
	}
	return fs->pool.spare_next < fs->pool.spare_end || fs->pool.next < fs->pool.end
		       ? 0
		       : fs->pool.err;
}

int fs__ino_next(struct fs *fs, uint64_t *counter)
{
	while (fs->pool.next == fs->pool.end) {
		if (fs->pool.spare_next == fs->pool.spare_end) {
			int err = wait_filled(fs);

			if (err)
				return err;
			continue;
		}
		fs->pool.next = fs->pool.spare_next;
		fs->pool.end = fs->pool.spare_end;
		fs->pool.spare_next = fs->pool.spare_end;
	}
	*counter = fs->pool.next++;
	if (fs->pool.end - fs->pool.next < FS_INO_LOW)
		(void)start_filling(fs); /* early; a failure shows when the numbers run out */
	return 0;
}
