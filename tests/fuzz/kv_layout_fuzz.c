/* The layout of a cluster (kv/layout.h), as it comes from other nodes and from the file `cluster`: what
 * decodes obeys all rules, so look-ups in it never fail; and the ranges that a group owns by it
 * (kv/store_engine.h) can be stored and read back. */
#include "kv/layout.h"
#include "kv/store_engine.h"
#include "tests/fuzz/fuzz.h"

static void check_rules(const struct kv_layout *l)
{
	CHECK(l->shard_count > 0 && l->shards[0].from_len == 0);
	CHECK(l->group_count > 0 && l->groups[0].id == 0);
	for (uint32_t i = 0; i < l->shard_count; i++)
		CHECK(kv_layout_group(l, l->shards[i].group) != NULL);
	for (uint32_t i = 0; i < l->group_count; i++) {
		const struct kv_layout_group *g = &l->groups[i];

		CHECK(g->member_count > 0 && g->member_count <= GROUP_REPLICAS_MAX);
		for (uint32_t k = 0; k < g->member_count; k++)
			CHECK(kv_layout_node(l, g->members[k]) != NULL);
	}
}

static void look_up(const struct kv_layout *l, struct slice key, struct slice to)
{
	uint32_t at = kv_layout_shard_of(l, key), group = 0;
	struct slice end = {0};

	CHECK(at < l->shard_count && kv_layout_group_of(l, key) == l->shards[at].group);
	CHECK(slice_cmp(slice_of(l->shards[at].from, l->shards[at].from_len), key) <= 0);
	if (to.len && slice_cmp(key, to) >= 0)
		return;
	if (kv_layout_range_group(l, key, to, &group, &end) == 0)
		CHECK(group == l->shards[at].group);
}

/* What group @id owns by the layout, read back from a store, agrees with the layout. */
static void check_ranges(const struct kv_layout *l, uint32_t id, struct slice key)
{
	struct buf b = BUF_INIT;
	struct engine *e;
	struct engine_group *g;
	struct store_engine s;

	store_ranges_encode(&b, l, id);
	CHECK(buf_ok(&b) && engine_mem_open(&e) == 0);
	g = engine_group_open(e, id);
	engine_begin(g);
	engine_put(g, TABLE_STATE, slice_str(STORE_KEY_RANGES), buf_slice(&b));
	engine_commit(g, 0);
	store_engine_init(&s, g);
	CHECK(store_engine_load(&s) == 0);
	if (key.len)
		CHECK(s.base.owns(&s.base, key, (struct slice){0}) ==
		      (kv_layout_group_of(l, key) == id));
	store_engine_release(&s);
	engine_group_close(g);
	engine_close(e);
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	uint8_t key_len = fuzz_u8(&in);
	struct slice key = fuzz_bytes(&in, key_len % 16), to = fuzz_bytes(&in, key_len / 16);
	struct slice body = fuzz_rest(&in);
	struct buf once = BUF_INIT, again = BUF_INIT;
	struct kv_layout l, copy;
	int err = kv_layout_decode(body, &l);

	CHECK(err == 0 || err == ERR_PROTO);
	if (err)
		return 0;
	check_rules(&l);
	look_up(&l, key, to);
	check_ranges(&l, l.groups[key_len % l.group_count].id, key);
	kv_layout_encode(&once, &l);
	CHECK(kv_layout_copy(&copy, &l) == 0);
	kv_layout_release(&l);
	CHECK(kv_layout_decode(buf_slice(&once), &l) == 0);
	kv_layout_release(&l);
	kv_layout_encode(&again, &copy);
	kv_layout_release(&copy);
	fuzz_same(&once, &again);
	return 0;
}
