/* The check's look at files that are held open without a name: the records' form, and whether an
 * orphan whose maker is gone is in somebody's hands. */
#include "base/bytes.h"
#include "fs/fsck.h"
#include "fs/hold.h"

bool ck__hold_record_ok(const struct fs_key_parts *p, struct slice value)
{
	struct fs_mount_rec m;
	struct fs_queue q;
	uint64_t owner;
	uint32_t count;

	if (p->number != FS_ROOT_INO)
		return false;
	if (p->kind == FS_KIND_HOLD)
		return p->rest.len == 16 && value.len == FS_HOLD_SIZE;
	if (p->kind == FS_KIND_MOUNT)
		return p->rest.len == 8 && fs__mount_decode(value, &m) == 0;
	if (p->rest.len == 0)
		return fs__queue_decode(value, &q) == 0;
	return p->rest.len == 8 && fs__batch_decode(value, &owner, &count) == 0;
}

/* ---- mending them ---- */

static bool highest_batch(void *ctx, const struct txn_item *it)
{
	uint64_t *highest = ctx, n = 0;

	if (it->key.len == FS_KEY_HEAD + 8u)
		n = be64_get(it->key.p + FS_KEY_HEAD);
	if (n > *highest)
		*highest = n;
	return true;
}

static bool highest_cursor(void *ctx, const struct txn_item *it)
{
	uint64_t *highest = ctx;
	struct fs_mount_rec m;

	if (!fs__mount_decode(it->value, &m) && m.cursor > *highest)
		*highest = m.cursor;
	return true;
}

/* No batch gets the number of one that a mount may have seen. The other count has to be a new one. */
static int queue_anew(struct ck *c, struct fs_queue *q)
{
	int err = hold__scan(c->fs, FS_KIND_QUEUE, NULL, true, highest_batch, &q->head);

	if (!err)
		err = hold__scan(c->fs, FS_KIND_MOUNT, NULL, false, highest_cursor, &q->head);
	q->changes = env_random(c->fs->b.env) >> 1;
	return err;
}

/* What keeps more: a mount has seen nothing yet, so that all wait for it; a hold stays one. */
static int mend_hold(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	uint8_t b[FS_QUEUE_SIZE] = {0};
	struct fs_mount_rec m = {.cursor = 0};
	struct fs_queue q = {.head = 0};
	bool head = p->kind == FS_KIND_QUEUE && p->rest.len == 0;
	size_t len = head ? FS_QUEUE_SIZE : p->kind == FS_KIND_MOUNT ? FS_MOUNT_SIZE : FS_HOLD_SIZE;
	struct fs_op op;
	int err = head ? queue_anew(c, &q) : 0;

	if (err)
		return err;
	if (p->kind == FS_KIND_QUEUE && !head)
		return ck__delete_key(c, it->key, it->version);
	if (p->rest.len != (head ? 0u : p->kind == FS_KIND_MOUNT ? 8u : 16u))
		return ck__delete_key(c, it->key, it->version);
	if (head)
		fs__queue_encode(b, &q);
	else if (p->kind == FS_KIND_MOUNT)
		fs__mount_encode(b, &m);
	fs__op_begin(&op, c->fs);
	txn_if_version(&op.m, it->key, it->version);
	txn_put(&op.m, it->key, slice_of(b, len));
	return ck__finish(&op);
}

void ck__bad_hold(struct ck *c, const struct fs_key_parts *p, const struct txn_item *it)
{
	ck__bad_value(c, p, it, "damaged record of open files", mend_hold);
}

/* ---- orphans ---- */

struct search {
	fs_ino ino;
	bool found;
};

static bool in_batch(void *ctx, const struct txn_item *it)
{
	struct search *s = ctx;
	uint64_t owner;
	uint32_t count;

	if (it->key.len != FS_KEY_HEAD + 8u || fs__batch_decode(it->value, &owner, &count))
		return true;
	for (uint32_t i = 0; i < count && !s->found; i++)
		s->found = le64_get(it->value.p + FS_BATCH_HEAD + 8 * i) == s->ino;
	return !s->found;
}

int ck__orphan_wanted(struct ck *c, fs_ino ino, bool *wanted)
{
	struct hold_list one = {.v = &ino, .count = 1}, held = {0};
	struct search s = {.ino = ino};
	int err = hold__find_held(c->fs, &one, &held);

	*wanted = held.count > 0;
	hold__release(&held);
	if (!err && !*wanted)
		err = hold__scan(c->fs, FS_KIND_QUEUE, NULL, false, in_batch, &s);
	*wanted = *wanted || s.found;
	return err;
}
