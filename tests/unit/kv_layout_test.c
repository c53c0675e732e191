/* kv/layout: balance, ranges, encoding, and a decoder that believes nothing. */
#include "kv/layout.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static const uint8_t cluster[KV_CLUSTER_ID_SIZE] = "cluster-of-test";

static void make_nodes(struct kv_layout_node *nodes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		nodes[i] = (struct kv_layout_node){.id = n - i}; /* in no special order */
		snprintf(nodes[i].address, sizeof(nodes[i].address), "10.0.0.%u:7000", n - i);
	}
}

static void make(struct kv_layout *l, uint32_t nodes, uint32_t groups, uint32_t replicas)
{
	struct kv_layout_node list[64];
	struct msg m;

	make_nodes(list, nodes);
	CHECK_OK(kv_layout_make(l, cluster, list, nodes, groups, replicas, &m));
}

static void check_balance(uint32_t nodes, uint32_t groups, uint32_t replicas)
{
	uint32_t load[65] = {0}, first[65] = {0}, min = UINT32_MAX, max = 0, first_max = 0;
	struct kv_layout l;

	make(&l, nodes, groups, replicas);
	CHECK_U64_EQ(l.group_count, groups + 1);
	for (uint32_t g = 0; g < l.group_count; g++) {
		CHECK_U64_EQ(l.groups[g].id, g);
		CHECK_U64_EQ(l.groups[g].member_count, replicas);
		first[l.groups[g].members[0]]++;
		for (uint32_t k = 0; k < replicas; k++) {
			load[l.groups[g].members[k]]++;
			for (uint32_t j = 0; j < k; j++)
				CHECK_TRUE(l.groups[g].members[j] != l.groups[g].members[k]);
		}
	}
	for (uint32_t i = 1; i <= nodes; i++) {
		min = load[i] < min ? load[i] : min;
		max = load[i] > max ? load[i] : max;
		first_max = first[i] > first_max ? first[i] : first_max;
	}
	CHECK_TRUE(max - min <= 1);
	CHECK_TRUE(first_max <= (groups + 1 + nodes - 1) / nodes + 1);
	kv_layout_release(&l);
}

static void members_are_balanced_within_one(void)
{
	check_balance(1, 1, 1);
	check_balance(3, 4, 3);
	check_balance(5, 16, 3);
	check_balance(7, 10, 5);
	check_balance(64, 200, 3);
}

static void first_leaders_spread(void)
{
	uint32_t first[4] = {0};
	struct kv_layout l;

	make(&l, 3, 5, 3);
	for (uint32_t g = 0; g < l.group_count; g++)
		first[l.groups[g].members[0]]++;
	for (uint32_t i = 1; i <= 3; i++)
		CHECK_U64_EQ(first[i], 2);
	kv_layout_release(&l);
}

static void is_a_function_of_its_arguments(void)
{
	struct kv_layout_node list[5], reversed[5];
	struct kv_layout a, b;
	struct buf x = BUF_INIT, y = BUF_INIT;
	struct msg m;

	make_nodes(list, 5);
	for (unsigned i = 0; i < 5; i++) {
		reversed[i] = list[4 - i];
		memset(reversed[i].address + strlen(reversed[i].address) + 1, 'x', 8);
	}
	CHECK_OK(kv_layout_make(&a, cluster, list, 5, 8, 3, &m));
	CHECK_OK(kv_layout_make(&b, cluster, reversed, 5, 8, 3, &m));
	kv_layout_encode(&x, &a);
	kv_layout_encode(&y, &b);
	CHECK_SLICE_EQ(buf_slice(&x), buf_slice(&y));
	buf_release(&x);
	buf_release(&y);
	kv_layout_release(&a);
	kv_layout_release(&b);
}

static void refuses(uint32_t nodes, uint32_t groups, uint32_t replicas, const char *text)
{
	struct kv_layout_node list[8];
	struct kv_layout l;
	struct msg m = {""};

	make_nodes(list, nodes);
	CHECK_ERR(kv_layout_make(&l, cluster, list, nodes, groups, replicas, &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, text);
}

static void refuses_bad_arguments(void)
{
	struct kv_layout_node list[3];
	struct kv_layout l;
	struct msg m = {""};

	refuses(3, 4, 2, "replicas must be");
	refuses(2, 4, 3, "there are 2");
	refuses(3, 0, 3, "groups must be");
	refuses(3, GROUPS_MAX, 3, "groups must be");
	make_nodes(list, 3);
	list[2].id = list[0].id;
	CHECK_ERR(kv_layout_make(&l, cluster, list, 3, 4, 3, &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, "two nodes have id 3");
	make_nodes(list, 3);
	strcpy(list[2].address, list[0].address);
	CHECK_ERR(kv_layout_make(&l, cluster, list, 3, 4, 3, &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, "have the address");
	make_nodes(list, 3);
	list[1].id = 0;
	CHECK_ERR(kv_layout_make(&l, cluster, list, 3, 4, 3, &m), ERR_INVAL);
	make_nodes(list, 3);
	list[1].address[0] = '\0';
	CHECK_ERR(kv_layout_make(&l, cluster, list, 3, 4, 3, &m), ERR_INVAL);
}

static struct slice place_key(uint8_t out[10], uint16_t place)
{
	memset(out, 0x7f, 10);
	be16_put(out, place);
	return slice_of(out, 10);
}

static void every_key_has_one_shard(void)
{
	struct kv_layout l;
	uint32_t shards[5] = {0};
	struct buf key = BUF_INIT;
	uint8_t k[10];

	make(&l, 3, 4, 3);
	CHECK_U64_EQ(l.shard_count, 17);
	for (uint32_t i = 0; i < l.shard_count; i++)
		shards[l.shards[i].group]++;
	CHECK_U64_EQ(shards[0], 1);
	for (uint32_t g = 1; g <= 4; g++)
		CHECK_U64_EQ(shards[g], KV_SHARDS_PER_GROUP);
	for (uint32_t place = 0; place < 0x8000; place += 31)
		CHECK_TRUE(kv_layout_group_of(&l, place_key(k, (uint16_t)place)) != 0);
	CHECK_U64_EQ(kv_layout_shard_of(&l, (struct slice){0}), 0);
	CHECK_U64_EQ(kv_layout_shard_of(&l, place_key(k, 0x7fff)), 15);
	CHECK_U64_EQ(kv_layout_group_of(&l, place_key(k, 0x8000)), 0);
	CHECK_U64_EQ(kv_layout_group_of(&l, place_key(k, 0xffff)), 0);
	kv_meta_key(&key, KV_KEY_MAP);
	CHECK_U64_EQ(kv_layout_group_of(&l, buf_slice(&key)), 0);
	buf_release(&key);
	kv_layout_release(&l);
}

static void ranges_stay_inside_one_group(void)
{
	struct kv_layout l;
	uint8_t a[10], b[10];
	struct slice end;
	uint32_t group;

	make(&l, 3, 4, 3); /* a shard has 0x800 places */
	CHECK_OK(kv_layout_range_group(&l, place_key(a, 0x0801), place_key(b, 0x0fff), &group, &end));
	CHECK_U64_EQ(group, 2);
	CHECK_U64_EQ(be16_get(end.p), 0x1000);
	CHECK_OK(kv_layout_range_group(&l, place_key(a, 0x0801), end, &group, &end));
	CHECK_ERR(kv_layout_range_group(&l, place_key(a, 0x0801), place_key(b, 0x1000), &group,
					&end),
		  ERR_ELSEWHERE);
	CHECK_U64_EQ(group, 2);
	CHECK_U64_EQ(be16_get(end.p), 0x1000);
	CHECK_ERR(kv_layout_range_group(&l, place_key(a, 0x0801), (struct slice){0}, &group, &end),
		  ERR_ELSEWHERE);
	CHECK_OK(kv_layout_range_group(&l, place_key(a, 0x8001), (struct slice){0}, &group, &end));
	CHECK_U64_EQ(group, 0);
	CHECK_U64_EQ(end.len, 0);
	kv_layout_release(&l);
}

static void neighbours_of_one_group_are_one_range(void)
{
	struct kv_layout l;
	struct slice end;
	uint32_t group;

	make(&l, 1, 1, 1); /* all data shards belong to group 1 */
	CHECK_ERR(kv_layout_range_group(&l, (struct slice){0}, (struct slice){0}, &group, &end),
		  ERR_ELSEWHERE);
	CHECK_U64_EQ(group, 1);
	CHECK_U64_EQ(be16_get(end.p), 0x8000);
	kv_layout_release(&l);
}

static void decodes_what_it_encoded(void)
{
	struct kv_layout l, back, copy;
	struct buf a = BUF_INIT, b = BUF_INIT;

	make(&l, 5, 7, 3);
	kv_layout_encode(&a, &l);
	CHECK_OK(kv_layout_decode(buf_slice(&a), &back));
	CHECK_OK(kv_layout_copy(&copy, &back));
	kv_layout_release(&back);
	kv_layout_encode(&b, &copy);
	CHECK_SLICE_EQ(buf_slice(&a), buf_slice(&b));
	CHECK_STR_EQ(kv_layout_node(&copy, 4)->address, "10.0.0.4:7000");
	CHECK_NULL(kv_layout_node(&copy, 6));
	CHECK_U64_EQ(kv_layout_group(&copy, 7)->id, 7);
	CHECK_NULL(kv_layout_group(&copy, 8));
	buf_release(&a);
	buf_release(&b);
	kv_layout_release(&l);
	kv_layout_release(&copy);
}

static void believes_no_garbage(void)
{
	struct kv_layout l, out;
	struct buf good = BUF_INIT;
	unsigned accepted = 0;

	make(&l, 3, 2, 3);
	kv_layout_encode(&good, &l);
	for (size_t n = 0; n < good.len; n++)
		CHECK_ERR(kv_layout_decode(slice_of(good.data, n), &out), ERR_PROTO);
	srand(7);
	for (unsigned i = 0; i < 20000; i++) {
		size_t at = (size_t)rand() % good.len;
		uint8_t keep = good.data[at];

		good.data[at] = (uint8_t)rand();
		if (kv_layout_decode(buf_slice(&good), &out) == 0) {
			struct buf again = BUF_INIT;

			kv_layout_encode(&again, &out); /* whatever is accepted makes sense */
			CHECK_U64_EQ(out.groups[0].id, 0);
			CHECK_U64_EQ(out.shards[0].from_len, 0);
			(void)kv_layout_group_of(&out, slice_str("anything"));
			buf_release(&again);
			kv_layout_release(&out);
			accepted++;
		}
		good.data[at] = keep;
	}
	CHECK_TRUE(accepted > 0); /* an address byte, the cluster id */
	buf_add_u8(&good, 0);
	CHECK_ERR(kv_layout_decode(buf_slice(&good), &out), ERR_PROTO);
	buf_release(&good);
	kv_layout_release(&l);
}

/* Each breaks one rule that the encoder does not check. */
static void proves_its_rules(void)
{
	struct kv_layout l, out;
	struct buf b = BUF_INIT;

#define BROKEN(change)                                                                             \
	do {                                                                                       \
		make(&l, 3, 2, 3);                                                                 \
		change;                                                                            \
		buf_reset(&b);                                                                     \
		kv_layout_encode(&b, &l);                                                          \
		CHECK_ERR(kv_layout_decode(buf_slice(&b), &out), ERR_PROTO);                       \
		kv_layout_release(&l);                                                             \
	} while (0)
	BROKEN(l.nodes[1].id = 1);
	BROKEN(l.nodes[0].id = 0);
	BROKEN(l.nodes[2].id = NODES_MAX);
	BROKEN(l.nodes[1].address[0] = '\0');
	BROKEN(l.groups[0].id = 5);
	BROKEN(l.groups[2].id = 1);
	BROKEN(l.groups[1].member_count = 2);
	BROKEN(l.groups[1].members[0] = 9);
	BROKEN(l.groups[1].members[0] = l.groups[1].members[1]);
	BROKEN(l.shards[0].from_len = 1);
	BROKEN(l.shards[3].from[0] = 0);
	BROKEN(l.shards[3].group = 3);
	BROKEN(l.shard_count = 0);
	BROKEN(l.group_count = 0);
#undef BROKEN
	buf_release(&b);
}

static void survives_lack_of_memory(void)
{
	struct kv_layout l, out;
	struct buf b = BUF_INIT;

	make(&l, 3, 2, 3);
	kv_layout_encode(&b, &l);
	for (unsigned long nth = 1; nth <= 3; nth++) {
		mem_fail_nth(nth);
		CHECK_ERR(kv_layout_decode(buf_slice(&b), &out), ERR_NOMEM);
		mem_fail_nth(nth);
		CHECK_ERR(kv_layout_copy(&out, &l), ERR_NOMEM);
	}
	mem_fail_nth(0);
	buf_release(&b);
	kv_layout_release(&l);
}

static const struct check_test tests[] = {
	CHECK_TEST(members_are_balanced_within_one),
	CHECK_TEST(first_leaders_spread),
	CHECK_TEST(is_a_function_of_its_arguments),
	CHECK_TEST(refuses_bad_arguments),
	CHECK_TEST(every_key_has_one_shard),
	CHECK_TEST(ranges_stay_inside_one_group),
	CHECK_TEST(neighbours_of_one_group_are_one_range),
	CHECK_TEST(decodes_what_it_encoded),
	CHECK_TEST(believes_no_garbage),
	CHECK_TEST(proves_its_rules),
	CHECK_TEST(survives_lack_of_memory),
};
CHECK_MAIN(tests)
