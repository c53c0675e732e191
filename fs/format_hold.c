/* The records of files that are held open across mounts (README.md, "Orphans and reaping"). */
#include "base/bytes.h"
#include "base/err.h"
#include "fs/format.h"

static void key_of_root(struct fs_key *k, uint8_t kind)
{
	fs__key_head(k, fs__place(FS_ROOT_INO), FS_ROOT_INO, kind);
}

void fs__key_mount(struct fs_key *k, uint64_t session)
{
	key_of_root(k, FS_KIND_MOUNT);
	fs__key_u64(k, session);
}

void fs__key_queue(struct fs_key *k)
{
	key_of_root(k, FS_KIND_QUEUE);
}

void fs__key_batch(struct fs_key *k, uint64_t number)
{
	key_of_root(k, FS_KIND_QUEUE);
	fs__key_u64(k, number);
}

void fs__key_hold(struct fs_key *k, fs_ino ino, uint64_t session)
{
	key_of_root(k, FS_KIND_HOLD);
	fs__key_u64(k, ino);
	fs__key_u64(k, session);
}

void fs__mount_encode(uint8_t out[FS_MOUNT_SIZE], const struct fs_mount_rec *in)
{
	le64_put(out, in->cursor);
	le64_put(out + 8, in->cleaner);
}

int fs__mount_decode(struct slice value, struct fs_mount_rec *out)
{
	if (value.len != FS_MOUNT_SIZE)
		return ERR_CORRUPT;
	*out = (struct fs_mount_rec){.cursor = le64_get(value.p),
				     .cleaner = le64_get(value.p + 8)};
	return 0;
}

void fs__queue_encode(uint8_t out[FS_QUEUE_SIZE], const struct fs_queue *in)
{
	le64_put(out, in->head);
	le64_put(out + 8, in->changes);
}

int fs__queue_decode(struct slice value, struct fs_queue *out)
{
	if (value.len != FS_QUEUE_SIZE)
		return ERR_CORRUPT;
	*out = (struct fs_queue){.head = le64_get(value.p), .changes = le64_get(value.p + 8)};
	return 0;
}

int fs__batch_decode(struct slice value, uint64_t *owner, uint32_t *count)
{
	if (value.len < FS_BATCH_HEAD || value.len % 8 != 0 ||
	    value.len > FS_BATCH_HEAD + 8 * FS_BATCH_MAX)
		return ERR_CORRUPT;
	*owner = le64_get(value.p);
	*count = (uint32_t)(value.len - FS_BATCH_HEAD) / 8;
	return 0;
}
