/* Three nodes: init, writes and reads, transactions over two groups, status, restarts. */
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_fixture.h"

static struct kvf f;

static void setup(void)
{
	kvf_open(&f, 3, NULL);
}

static void teardown(void)
{
	kvf_close(&f);
}

static void check_value(struct kvf *k, struct slice key, const char *want)
{
	struct buf v = BUF_INIT;

	CHECK_OK(kvf_get(k, key, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str(want));
	buf_release(&v);
}

/* ---- before and at init ---- */

static void before_init_story(struct kvf *k)
{
	struct buf reply = BUF_INIT, body = BUF_INIT;
	struct kv_node_status s;
	struct slice cluster;
	struct dec d;

	CHECK_ERR(kvf_call(k, 1, KV_MAP, (struct slice){0}, NS_PER_S, NULL, NULL), ERR_NOT_READY);
	CHECK_ERR(kvf_call(k, 1, KV_OPEN, (struct slice){0}, NS_PER_S, NULL, NULL), ERR_NOT_READY);
	kv_group_request_encode(&body, 1, slice_str("x"));
	CHECK_ERR(kvf_call(k, 1, KV_EXEC, buf_slice(&body), NS_PER_S, NULL, NULL), ERR_NOT_READY);
	CHECK_OK(kvf_status(k, 1, &s));
	CHECK_U64_EQ(s.group_count, 0);
	CHECK_U64_EQ(s.node, 1);
	kv_node_status_release(&s);
	CHECK_OK(kvf_call(k, 2, KV_IDENTITY, (struct slice){0}, NS_PER_S, &reply, NULL));
	dec_init(&d, buf_slice(&reply));
	CHECK_U64_EQ(dec_u64(&d), 2);
	CHECK_SLICE_EQ(dec_bytes(&d, 256), slice_str(k->nodes[2].address));
	cluster = dec_bytes(&d, 16);
	CHECK_U64_EQ(cluster.len, 0);
	CHECK_OK(dec_end(&d));
	CHECK_OK(kvf_call(k, 1, KV_FLUSH, (struct slice){0}, 5 * NS_PER_S, NULL, NULL));
	buf_release(&reply);
	buf_release(&body);
}

static void before_init_it_says_so(void)
{
	kvf_run(&f, before_init_story);
}

static void init_story(struct kvf *k)
{
	struct kv_layout other;
	struct buf body = BUF_INIT, reply = BUF_INIT;

	CHECK_OK(kvf_init(k, 2, 3));
	kv_layout_encode(&body, &k->layout);
	CHECK_OK(kvf_call(k, 1, KV_INIT, buf_slice(&body), NS_PER_S, NULL, NULL));
	CHECK_OK(kvf_call(k, 3, KV_MAP, (struct slice){0}, NS_PER_S, &reply, NULL));
	CHECK_SLICE_EQ(buf_slice(&reply), buf_slice(&body));
	CHECK_OK(kv_layout_copy(&other, &k->layout));
	other.cluster[0]++;
	buf_reset(&body);
	kv_layout_encode(&body, &other);
	CHECK_ERR(kvf_call(k, 1, KV_INIT, buf_slice(&body), NS_PER_S, &reply, NULL),
		  ERR_EXISTS_CLUSTER);
	CHECK_TRUE(reply.len > 0 && memmem(reply.data, reply.len, "6b762d", 6) != NULL); /* "kv-" */
	buf_resize(&body, body.len / 2);
	CHECK_ERR(kvf_call(k, 1, KV_INIT, buf_slice(&body), NS_PER_S, NULL, NULL), ERR_PROTO);
	kv_layout_release(&other);
	buf_release(&body);
	buf_release(&reply);
}

static void init_is_idempotent(void)
{
	kvf_run(&f, init_story);
}

static void stranger_story(struct kvf *k)
{
	struct kv_layout_node nodes[1] = {{.id = 9, .address = "127.0.0.1:1"}};
	struct kv_layout l;
	struct buf body = BUF_INIT;
	struct msg m;

	CHECK_OK(kv_layout_make(&l, (const uint8_t *)"some other thing", nodes, 1, 1, 1, &m));
	kv_layout_encode(&body, &l);
	CHECK_ERR(kvf_call(k, 1, KV_INIT, buf_slice(&body), NS_PER_S, NULL, NULL), ERR_IDENTITY);
	kv_layout_release(&l);
	buf_release(&body);
}

static void a_layout_without_it_is_refused(void)
{
	kvf_run(&f, stranger_story);
}

/* ---- writing and reading ---- */

static void put_get_story(struct kvf *k)
{
	struct buf v = BUF_INIT;
	uint8_t a[64], b[64];

	CHECK_OK(kvf_init(k, 2, 3));
	CHECK_ERR(kvf_get(k, kvf_key(k, 1, "absent", a), &v), ERR_NOT_FOUND);
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "one", a), slice_str("first")));
	CHECK_OK(kvf_put(k, kvf_key(k, 2, "two", b), slice_str("second")));
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "one", a), slice_str("third")));
	check_value(k, kvf_key(k, 1, "one", a), "third");
	check_value(k, kvf_key(k, 2, "two", b), "second");
	for (uint32_t g = 0; g <= 2; g++)
		CHECK_TRUE(kvf_wait_equal(k, g));
	buf_release(&v);
}

static void puts_and_gets(void)
{
	kvf_run(&f, put_get_story);
}

static void meta_story(struct kvf *k)
{
	struct buf key = BUF_INIT, v = BUF_INIT;
	struct kv_layout l;
	uint64_t first;

	CHECK_OK(kvf_init(k, 2, 3));
	kv_meta_key(&key, KV_KEY_MAP);
	CHECK_OK(kvf_get(k, buf_slice(&key), &v));
	CHECK_OK(kv_layout_decode(buf_slice(&v), &l));
	CHECK_U64_EQ(l.group_count, 3);
	kv_layout_release(&l);
	buf_reset(&key);
	kv_meta_key(&key, KV_KEY_INODES);
	CHECK_OK(kvf_get(k, buf_slice(&key), &v));
	CHECK_U64_EQ(v.len, 8);
	CHECK_U64_EQ(le64_get(v.data), 1024);
	CHECK_OK(kvf_open_client(k));
	first = k->client;
	CHECK_OK(kvf_open_client(k));
	CHECK_TRUE(first > 0 && k->client > first);
	buf_reset(&key);
	kv_meta_key(&key, KV_KEY_CLIENTS);
	CHECK_OK(kvf_get(k, buf_slice(&key), &v));
	CHECK_U64_EQ(le64_get(v.data), k->client);
	buf_release(&key);
	buf_release(&v);
}

static void meta_has_map_and_counters(void)
{
	kvf_run(&f, meta_story);
}

static void two_groups_story(struct kvf *k)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t a[64], b[64];
	struct slice ka, kb;

	CHECK_OK(kvf_init(k, 2, 3));
	ka = kvf_key(k, 1, "left", a);
	kb = kvf_key(k, 2, "right", b);
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_if_absent(&m, ka);
	txn_if_absent(&m, kb);
	txn_put(&m, ka, slice_str("L"));
	txn_put(&m, kb, slice_str("R"));
	CHECK_OK(kvf_exec(k, &m, &r));
	CHECK_TRUE(r.stamp > 0);
	txn_result_release(&r);
	check_value(k, ka, "L");
	check_value(k, kb, "R");
	txn_result_init(&r);
	CHECK_ERR(kvf_exec(k, &m, &r), ERR_CONDITION); /* and nothing is written */
	txn_result_release(&r);
	txn_mini_reset(&m);
	txn_result_init(&r);
	txn_put(&m, ka, slice_str("L2"));
	txn_if_absent(&m, kb);
	CHECK_ERR(kvf_exec(k, &m, &r), ERR_CONDITION);
	check_value(k, ka, "L");
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait_equal(k, 2));
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void two_groups_commit_together_or_not(void)
{
	kvf_run(&f, two_groups_story);
}

/* The client's map says that group 2 owns everything. */
static void wrong_shard_story(struct kvf *k)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t a[64];
	struct slice key;

	CHECK_OK(kvf_init(k, 2, 3));
	key = kvf_key(k, 1, "x", a);
	CHECK_OK(kvf_put(k, key, slice_str("here")));
	for (uint32_t i = 0; i < k->layout.shard_count; i++)
		k->layout.shards[i].group = 2;
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, key);
	CHECK_ERR(kvf_read(k, &m, &r), ERR_WRONG_SHARD);
	txn_result_release(&r);
	txn_mini_release(&m);
	CHECK_ERR(kvf_put(k, key, slice_str("there")), ERR_WRONG_SHARD);
}

static void a_group_without_the_key_says_so(void)
{
	kvf_run(&f, wrong_shard_story);
}

/* ---- the same request again ---- */

static void resend_story(struct kvf *k)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t a[64];
	struct slice key;
	struct buf v = BUF_INIT;

	CHECK_OK(kvf_init(k, 2, 3));
	key = kvf_key(k, 1, "counter", a);
	CHECK_OK(kvf_put(k, key, slice_of("\0\0\0\0\0\0\0\0", 8)));
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_add(&m, key, (struct txn_field){.width = 8}, 1, true);
	CHECK_OK(kvf_exec(k, &m, &r));
	CHECK_U64_EQ(r.numbers[0], 1);
	txn_result_release(&r);
	k->sequence--; /* as if the answer had been lost */
	txn_result_init(&r);
	CHECK_OK(kvf_exec(k, &m, &r));
	CHECK_U64_EQ(r.numbers[0], 1);
	CHECK_OK(kvf_get(k, key, &v));
	CHECK_U64_EQ(le64_get(v.data), 1);
	buf_release(&v);
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void a_resent_request_is_executed_once(void)
{
	kvf_run(&f, resend_story);
}

/* ---- administration ---- */

static void admin_story(struct kvf *k)
{
	struct buf command = BUF_INIT, body = BUF_INIT, reply = BUF_INIT;
	uint32_t leader, next, hint = 0;
	struct kv_node_status s;
	uint8_t a[64];

	CHECK_OK(kvf_init(k, 2, 3));
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "a", a), slice_str("b")));
	leader = kvf_leader(k, 1);
	CHECK_TRUE(leader != 0);
	next = leader % 3 + 1;
	kv_group_request_encode(&body, 1, (struct slice){0});
	CHECK_ERR(kvf_call(k, next, KV_HAND_OVER, buf_slice(&body), NS_PER_S, NULL, &hint),
		  ERR_NOT_LEADER);
	CHECK_U64_EQ(hint, leader);
	CHECK_OK(kvf_call(k, leader, KV_DESCRIBE, buf_slice(&body), NS_PER_S, &reply, NULL));
	CHECK_OK(kvf_call(k, leader, KV_CHECKSUM, buf_slice(&body), NS_PER_S, &reply, NULL));
	CHECK_OK(kvf_status(k, leader, &s));
	CHECK_U64_EQ(s.group_count, 3);
	CHECK_TRUE(kvf_group(&s, 1)->serving);
	CHECK_U64_EQ(kvf_group(&s, 1)->member_count, 3);
	CHECK_TRUE(kvf_group(&s, 1)->applied > 0);
	CHECK_TRUE(kvf_group(&s, 1)->commands > 0);
	CHECK_STR_EQ(kvf_group(&s, 1)->note, "");
	CHECK_TRUE(s.rss_bytes > 0 && s.wal_bytes > 0 && s.pid > 0 && s.frames_in > 0);
	kv_node_status_release(&s);
	tsm_command_close(&command, k->client);
	buf_reset(&body);
	kv_group_request_encode(&body, 1, buf_slice(&command));
	CHECK_OK(kvf_call(k, leader, KV_ADMIN, buf_slice(&body), NS_PER_S, NULL, NULL));
	CHECK_ERR(kvf_put(k, kvf_key(k, 1, "a", a), slice_str("c")), ERR_SESSION);
	CHECK_OK(kvf_call(k, leader, KV_FLUSH, (struct slice){0}, 5 * NS_PER_S, NULL, NULL));
	buf_release(&command);
	buf_release(&body);
	buf_release(&reply);
}

static void administration(void)
{
	kvf_run(&f, admin_story);
}

struct other_leader {
	uint32_t group, not;
};

static bool somebody_else_serves(struct kvf *k, void *ctx)
{
	struct other_leader *o = ctx;
	uint32_t now = kvf_leader(k, o->group);

	return now != 0 && now != o->not;
}

static void hand_over_story(struct kvf *k)
{
	struct other_leader o = {.group = 1};
	struct buf body = BUF_INIT;
	uint8_t a[64];

	CHECK_OK(kvf_init(k, 2, 3));
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "a", a), slice_str("b")));
	o.not = kvf_leader(k, 1);
	kv_group_request_encode(&body, 1, (struct slice){0});
	CHECK_OK(kvf_call(k, o.not, KV_HAND_OVER, buf_slice(&body), NS_PER_S, NULL, NULL));
	CHECK_TRUE(kvf_wait(k, somebody_else_serves, &o));
	check_value(k, kvf_key(k, 1, "a", a), "b");
	buf_release(&body);
}

static void leadership_is_handed_over(void)
{
	kvf_run(&f, hand_over_story);
}

/* ---- clean stop ---- */

static void write_story(struct kvf *k)
{
	uint8_t a[64];

	CHECK_OK(kvf_init(k, 2, 3));
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "kept", a), slice_str("over stops")));
}

static void read_story(struct kvf *k)
{
	uint8_t a[64];

	check_value(k, kvf_key(k, 1, "kept", a), "over stops");
	CHECK_TRUE(kvf_wait_equal(k, 1));
}

static void stops_and_starts(void)
{
	kvf_run(&f, write_story);
	for (uint32_t id = 1; id <= 3; id++)
		CHECK_INT_EQ(kvf_stop(&f, id), 0);
	kvf_start_all(&f);
	kvf_run(&f, read_story);
	for (uint32_t id = 1; id <= 3; id++) /* one after another, the others serving */ {
		CHECK_INT_EQ(kvf_stop(&f, id), 0);
		kvf_run(&f, read_story);
		CHECK_OK(kvf_start(&f, id));
	}
}

static void single_story(struct kvf *k)
{
	uint8_t a[64];

	if (!k->has_layout)
		CHECK_OK(kvf_init(k, 2, 1));
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "kept", a), slice_str("alone")));
	check_value(k, kvf_key(k, 1, "kept", a), "alone");
}

static void a_single_node_works(void)
{
	struct kvf one;

	kvf_open(&one, 1, NULL);
	kvf_run(&one, single_story);
	kvf_kill_all(&one);
	kvf_start_all(&one);
	kvf_run(&one, single_story);
	CHECK_INT_EQ(kvf_stop(&one, 1), 0);
	kvf_close(&one);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, before_init_it_says_so),
	CHECK_TEST_WITH(setup, teardown, init_is_idempotent),
	CHECK_TEST_WITH(setup, teardown, a_layout_without_it_is_refused),
	CHECK_TEST_WITH(setup, teardown, puts_and_gets),
	CHECK_TEST_WITH(setup, teardown, meta_has_map_and_counters),
	CHECK_TEST_WITH(setup, teardown, two_groups_commit_together_or_not),
	CHECK_TEST_WITH(setup, teardown, a_group_without_the_key_says_so),
	CHECK_TEST_WITH(setup, teardown, a_resent_request_is_executed_once),
	CHECK_TEST_WITH(setup, teardown, administration),
	CHECK_TEST_WITH(setup, teardown, leadership_is_handed_over),
	CHECK_TEST_WITH(setup, teardown, stops_and_starts),
	CHECK_TEST(a_single_node_works),
};
CHECK_MAIN(tests)
