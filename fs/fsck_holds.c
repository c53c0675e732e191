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
