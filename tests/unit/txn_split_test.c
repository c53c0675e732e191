/* Cutting a mini-transaction by group. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/check.h"
#include "txn/mini_codec.h"
#include "txn/tsm.h"
#include "txn/txn.h"

static struct txn_mini m;
static struct txn_part parts[TXN_GROUPS_MAX];
static struct part p;
static uint32_t count;

/* The first letter says the group; a range must stay within one. */
static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	if (to.len && to.p[0] != key.p[0])
		return ERR_ELSEWHERE;
	if (key.p[0] == '?')
		return ERR_NO_GROUP;
	*group = key.p[0];
	return 0;
}

static void setup(void)
{
	count = 0;
	txn_mini_init(&m);
}

static void teardown(void)
{
	txn_parts_release(parts, count);
	txn__part_release(&p);
	txn_mini_release(&m);
}

static const struct txn_part *part_of(uint32_t group)
{
	for (uint32_t i = 0; i < count; i++)
		if (parts[i].group == group)
			return &parts[i];
	CHECK_FAIL("no part for group %u", group);
	return &parts[0]; /* not reached: a failure ends the test */
}

static void decode(uint32_t group)
{
	CHECK_OK(txn__part_decode(&p, buf_slice(&part_of(group)->body)));
}

static void items_go_to_their_groups(void)
{
	(void)txn_if_exists(&m, slice_str("a1"));
	(void)txn_if_exists(&m, slice_str("b1"));
	(void)txn_get(&m, slice_str("b2"));
	(void)txn_get(&m, slice_str("c2"));
	(void)txn_put(&m, slice_str("a3"), slice_str("v"));
	(void)txn_delete(&m, slice_str("c3"));
	(void)txn_put(&m, slice_str("a4"), slice_str("w"));
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	CHECK_INT_EQ(count, 3);
	CHECK_TRUE(part_of('a')->writes);
	CHECK_FALSE(part_of('b')->writes);
	CHECK_TRUE(part_of('c')->writes);

	decode('a');
	CHECK_INT_EQ(p.cond_count, 1);
	CHECK_INT_EQ(p.read_count, 0);
	CHECK_INT_EQ(p.mut_count, 2);
	CHECK_SLICE_EQ(p.muts[1].key, slice_str("a4"));
	CHECK_INT_EQ(p.flags, PART_WRITES | PART_ADDS_DATA);
	decode('b');
	CHECK_INT_EQ(p.flags, 0);
	decode('c');
	CHECK_INT_EQ(p.flags, PART_WRITES | PART_FREES);
}

static void items_keep_their_index(void)
{
	(void)txn_delete(&m, slice_str("a"));
	(void)txn_delete(&m, slice_str("b"));
	(void)txn_delete(&m, slice_str("a"));
	(void)txn_delete(&m, slice_str("b"));
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	decode('b');
	CHECK_INT_EQ(p.mut_count, 2);
	CHECK_INT_EQ(p.mut_index[0], 1);
	CHECK_INT_EQ(p.mut_index[1], 3);
}

static void references_go_with_what_they_refer_to(void)
{
	(void)txn_get(&m, slice_str("a"));
	(void)txn_get(&m, slice_str("b"));
	(void)txn_get_ref(&m, 1, 0, 'I', (struct slice){0});
	(void)txn_get_ref(&m, 2, 0, 'I', (struct slice){0});
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	decode('b');
	CHECK_INT_EQ(p.read_count, 3);
	CHECK_INT_EQ(p.reads[1].from, 0); /* places within the part */
	CHECK_INT_EQ(p.reads[2].from, 1);
	CHECK_INT_EQ(p.read_index[2], 3);
}

static void ranges_over_groups_are_refused(void)
{
	(void)txn_scan(&m, slice_str("a"), slice_str("az"), 1);
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	(void)txn_scan(&m, slice_str("a"), slice_str("b"), 1);
	CHECK_ERR(txn_split(&m, route, NULL, parts + 1, &count), ERR_ELSEWHERE);
	CHECK_INT_EQ(count, 1); /* untouched */
}

static void errors_of_the_router_come_back(void)
{
	(void)txn_put(&m, slice_str("a"), slice_str("v"));
	(void)txn_put(&m, slice_str("?"), slice_str("v"));
	CHECK_ERR(txn_split(&m, route, NULL, parts, &count), ERR_NO_GROUP);
}

static void errors_of_building_come_back(void)
{
	(void)txn_put(&m, (struct slice){0}, slice_str("v"));
	CHECK_ERR(txn_split(&m, route, NULL, parts, &count), ERR_INVAL);
}

static void groups_have_a_limit(void)
{
	char key[2] = {0};

	for (unsigned i = 0; i < TXN_GROUPS_MAX; i++) {
		key[0] = (char)('@' + i);
		(void)txn_delete(&m, slice_of(key, 1));
	}
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	CHECK_INT_EQ(count, TXN_GROUPS_MAX);
	key[0] = (char)('@' + TXN_GROUPS_MAX);
	(void)txn_delete(&m, slice_of(key, 1));
	txn_parts_release(parts, count);
	count = 0;
	CHECK_ERR(txn_split(&m, route, NULL, parts, &count), ERR_TOO_BIG);
}

static void sizes_have_a_limit(void)
{
	static uint8_t zeros[VALUE_SIZE_MAX];
	uint32_t fit = (COMMAND_SIZE_MAX - 8192u) / (VALUE_SIZE_MAX + 16u);

	for (uint32_t i = 0; i < fit; i++)
		(void)txn_put_ref(&m, slice_str("a"), slice_of(zeros, sizeof(zeros)));
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	CHECK_TRUE(parts[0].body.len < COMMAND_SIZE_MAX);
	txn_parts_release(parts, count);
	count = 0;
	(void)txn_put_ref(&m, slice_str("b"), slice_of(zeros, sizeof(zeros)));
	(void)txn_put_ref(&m, slice_str("b"), slice_of(zeros, sizeof(zeros)));
	CHECK_ERR(txn_split(&m, route, NULL, parts, &count), ERR_TOO_BIG);
}

/* A full write of the file system is one command: WRITE_SIZE_MAX in blocks. */
static void a_full_write_fits(void)
{
	static uint8_t block[BLOCK_SIZE];

	for (unsigned i = 0; i < WRITE_SIZE_MAX / BLOCK_SIZE; i++)
		(void)txn_patch_ref(&m, slice_str("a-key-of-a-block"), 0,
				    slice_of(block, sizeof(block)));
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	CHECK_INT_EQ(count, 1);
}

static void nothing_is_no_part(void)
{
	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	CHECK_INT_EQ(count, 0);
}

/* What a full disk refuses. */
static bool adds_data(void)
{
	struct tsm_request q = {.client = 7, .sequence = 1, .home = slice_str("a1"), .parts = parts};
	struct buf command = BUF_INIT;
	uint64_t client, sequence;
	bool adds = false;

	CHECK_OK(txn_split(&m, route, NULL, parts, &count));
	q.part_count = count;
	tsm_request_encode(&q, &command);
	CHECK_OK(tsm_request_check(buf_slice(&command), &client, &sequence, &adds));
	buf_release(&command);
	return adds;
}

static void a_write_adds_data(void)
{
	(void)txn_put(&m, slice_str("a1"), slice_str("v"));
	CHECK_TRUE(adds_data());
}

static void a_delete_with_a_note_adds_none(void)
{
	(void)txn_delete(&m, slice_str("a1"));
	(void)txn_put(&m, slice_str("b1"), slice_str("to be reaped"));
	CHECK_FALSE(adds_data());
}

static void a_delete_with_a_large_write_adds_data(void)
{
	static const uint8_t block[8192];

	(void)txn_delete(&m, slice_str("a1"));
	(void)txn_put(&m, slice_str("b1"), slice_of(block, sizeof(block)));
	CHECK_TRUE(adds_data());
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, items_go_to_their_groups),
	CHECK_TEST_WITH(setup, teardown, items_keep_their_index),
	CHECK_TEST_WITH(setup, teardown, references_go_with_what_they_refer_to),
	CHECK_TEST_WITH(setup, teardown, ranges_over_groups_are_refused),
	CHECK_TEST_WITH(setup, teardown, errors_of_the_router_come_back),
	CHECK_TEST_WITH(setup, teardown, errors_of_building_come_back),
	CHECK_TEST_WITH(setup, teardown, groups_have_a_limit),
	CHECK_TEST_WITH(setup, teardown, sizes_have_a_limit),
	CHECK_TEST_WITH(setup, teardown, a_full_write_fits),
	CHECK_TEST_WITH(setup, teardown, nothing_is_no_part),
	CHECK_TEST_WITH(setup, teardown, a_write_adds_data),
	CHECK_TEST_WITH(setup, teardown, a_delete_with_a_note_adds_none),
	CHECK_TEST_WITH(setup, teardown, a_delete_with_a_large_write_adds_data),
};
CHECK_MAIN(tests)
