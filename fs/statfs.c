/* statfs(2): what room there is, as the store says, and inode numbers. */
#include "base/bytes.h"
#include "fs/fs_internal.h"
#include "kv/layout.h"

#define STATFS_BLOCK 4096u
#define STATFS_BYTES (1ull << 50) /* of a store that does not say what it can hold */
#define STATFS_OLD   (3 * NS_PER_S)
#define STATFS_WAIT  (2 * NS_PER_S) /* for newer figures */
#define STATFS_STEP  (2 * NS_PER_MS)

/* The counter: numbers that were given out, to inodes and to contents, or are in some mount's hand. */
static int numbers_used(struct fs *fs, uint64_t *used)
{
	const struct txn_value *v;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__meta_key(&k, KV_KEY_INODES);
	txn_get(&op.m, fs__key_slice(&k));
	err = fs__op_read(&op);
	if (!err) {
		v = fs__op_value(&op, 0);
		err = v->status ? v->status : v->value.len == 8 ? 0 : ERR_CORRUPT;
		if (!err)
			*used = le64_get(v->value.p);
	}
	fs__op_end(&op);
	return err;
}

static int ask(struct fs *fs, struct fs_statfs *out)
{
	uint64_t total = STATFS_BYTES, free = STATFS_BYTES, used = 0;
	int err = fs->b.space ? fs->b.space(fs->b.ctx, &total, &free) : 0;

	if (!err)
		err = numbers_used(fs, &used);
	if (err)
		return err;
	*out = (struct fs_statfs){.block_size = STATFS_BLOCK,
				  .blocks = total / STATFS_BLOCK,
				  .blocks_free = free / STATFS_BLOCK,
				  .files = FS_COUNTER_MASK,
				  .files_free = FS_COUNTER_MASK - (used & FS_COUNTER_MASK)};
	return 0;
}

static int ask_now(struct fs *fs)
{
	uint64_t now = env_mono_ns(fs->b.env);
	struct fs_statfs s;
	int err = ask(fs, &s);

	if (err)
		return err;
	fs->space.last = s;
	fs->space.at_ns = now ? now : 1;
	return 0;
}

static void ask_task(struct fs *fs, struct fs_task *t)
{
	(void)t;
	(void)ask_now(fs);
	fs->space.asking = false;
}

/* While a majority is down, df tells what was so before: it is what one looks at then. */
int fs_statfs(struct fs *fs, struct fs_statfs *out)
{
	int err = fs->space.at_ns ? 0 : ask_now(fs);

	if (!err && !fs->space.asking && env_mono_ns(fs->b.env) - fs->space.at_ns > STATFS_OLD)
		fs->space.asking = fs__background(fs, ask_task, 0) == 0;
	for (uint64_t ns = 0; !err && fs->space.asking && ns < STATFS_WAIT; ns += STATFS_STEP)
		err = fiber_sleep(STATFS_STEP);
	if (err)
		return err;
	*out = fs->space.last;
	return 0;
}
