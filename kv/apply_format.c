/* The initial state of a group: a function of the layout alone, so that all members begin equal. */
#include "base/bytes.h"
#include "kv/apply.h"
#include "kv/store_engine.h"

#define FIRST_VERSION	1u /* of the records that no command made; also their timestamp */
#define FIRST_INODE	1024u /* numbers below are the file system's own */

static void put_record(struct engine_group *g, const char *name, struct slice value)
{
	struct buf key = BUF_INIT, stored = BUF_INIT;

	kv_meta_key(&key, name);
	buf_add_be64(&stored, FIRST_VERSION);
	buf_add_be64(&stored, FIRST_VERSION);
	buf_add_slice(&stored, value);
	buf_must(&key);
	buf_must(&stored);
	engine_put(g, TABLE_DATA, buf_slice(&key), buf_slice(&stored));
	buf_release(&key);
	buf_release(&stored);
}

static void put_number(struct engine_group *g, const char *name, uint64_t n)
{
	uint8_t v[8];

	le64_put(v, n);
	put_record(g, name, slice_of(v, sizeof(v)));
}

void kv_apply_format(struct engine_group *g, const struct kv_layout *l, uint32_t group)
{
	struct buf b = BUF_INIT;

	engine_begin(g);
	store_ranges_encode(&b, l, group);
	buf_must(&b);
	engine_put(g, TABLE_STATE, slice_str(STORE_KEY_RANGES), buf_slice(&b));
	if (group == 0) {
		buf_reset(&b);
		kv_layout_encode(&b, l);
		buf_must(&b);
		put_record(g, KV_KEY_MAP, buf_slice(&b));
		put_number(g, KV_KEY_CLIENTS, 0);
		put_number(g, KV_KEY_INODES, FIRST_INODE);
		put_number(g, KV_KEY_RENAME, 0);
	}
	engine_commit(g, 0);
	buf_release(&b);
}
