/* The file system's keys in group 0: the counter of numbers, the order of moves. */
#include "base/bytes.h"
#include "fs/fsck.h"
#include "kv/layout.h"

typedef unsigned long long ull;

/* Numbers that mounts have in hand are above all that are in use: a new counter leaves them out. */
#define IN_HAND_MAX (1u << 20)

static const struct txn_field whole = {.offset = 0, .width = 8};

static int read_key(struct fs_op *op, const struct fs_key *k, uint64_t *version, uint64_t *value,
		    bool *good)
{
	const struct txn_value *v;
	int err;

	fs__op_reset(op);
	txn_get(&op->m, fs__key_slice(k));
	err = fs__op_read(op);
	if (err)
		return err;
	v = fs__op_value(op, 0);
	*version = v->status ? 0 : v->version;
	*good = v->status == 0 && v->value.len == 8;
	*value = *good ? le64_get(v->value.p) : 0;
	return v->status == ERR_NOT_FOUND ? 0 : v->status;
}

static int put_u64(struct ck *c, const struct fs_key *k, uint64_t version, uint64_t value)
{
	uint8_t b[8];
	struct fs_op op;

	le64_put(b, value);
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, fs__key_slice(k), version);
	txn_put(&op.m, fs__key_slice(k), slice_of(b, sizeof(b)));
	return ck__finish(&op);
}

/* ---- the counter ---- */

static int fix_counter(struct ck *c, const struct fs_key *k, uint64_t version, bool good)
{
	uint64_t to = c->highest + IN_HAND_MAX;
	struct fs_op op;

	if (to > FS_COUNTER_MASK / 2)
		return ERR_RANGE; /* a damaged number: it would use up all that there are */
	if (!good)
		return put_u64(c, k, version, to);
	fs__op_begin(&op, c->fs);
	txn_max(&op.m, fs__key_slice(k), whole, to);
	return ck__finish(&op);
}

/* Read after the scan: it never goes back, so it is above all that the scan saw. */
static int check_counter(struct ck *c, struct fs_op *op)
{
	bool tried = ck__repairs(c), good;
	uint64_t version, value;
	struct fs_key k;
	int err;

	fs__meta_key(&k, KV_KEY_INODES);
	err = read_key(op, &k, &version, &value, &good);
	if (err || (good && value >= c->highest))
		return err;
	ck__about(c, CK_COUNTER, 0);
	ck__line(c, "the counter of numbers is at %llu, but %llu is in use", (ull)value,
		 (ull)c->highest);
	ck__problem(c, tried, tried ? fix_counter(c, &k, version, good) : 0);
	return 0;
}

/* ---- the order of moves ---- */

static int check_order(struct ck *c, struct fs_op *op)
{
	bool tried = ck__repairs(c), good;
	uint64_t version, value;
	struct fs_key k;
	int err;

	fs__meta_key(&k, KV_KEY_RENAME);
	err = read_key(op, &k, &version, &value, &good);
	if (err || good)
		return err;
	ck__about(c, CK_ORDER, 0);
	ck__line(c, "the order of moves is %s", version ? "damaged" : "not there");
	ck__problem(c, tried, tried ? put_u64(c, &k, version, 0) : 0);
	return 0;
}

int ck__check_meta(struct ck *c)
{
	struct fs_op op;
	int err;

	fs__op_begin(&op, c->fs);
	err = check_counter(c, &op);
	if (!err)
		err = check_order(c, &op);
	fs__op_end(&op);
	return err;
}
