/* kill -9 in the middle of things: no acknowledged write is lost, no transaction is half done. */
#include <signal.h>
#include <stdio.h>

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

static struct slice numbered(struct kvf *k, uint32_t group, unsigned i, uint8_t out[64])
{
	char name[32];

	snprintf(name, sizeof(name), "key-%06u", i);
	return kvf_key(k, group, name, out);
}

static void put_numbered(struct kvf *k, uint32_t group, unsigned i)
{
	uint8_t key[64], value[8];

	le64_put(value, i);
	CHECK_OK(kvf_put(k, numbered(k, group, i, key), slice_of(value, 8)));
}

static void check_numbered(struct kvf *k, uint32_t group, unsigned n)
{
	struct buf v = BUF_INIT;
	uint8_t key[64];

	for (unsigned i = 0; i < n; i++) {
		CHECK_OK(kvf_get(k, numbered(k, group, i, key), &v));
		CHECK_TRUE(v.len == 8 && le64_get(v.data) == i);
	}
	buf_release(&v);
}

/* ---- one after another ---- */

static void kill_each_story(struct kvf *k)
{
	unsigned n = 0;

	CHECK_OK(kvf_init(k, 2, 3));
	for (unsigned round = 0; round < 3; round++) {
		uint32_t leader = kvf_leader(k, 1);

		CHECK_TRUE(leader != 0);
		for (unsigned i = 0; i < 10; i++)
			put_numbered(k, 1, n++);
		kvf_kill(k, leader);
		for (unsigned i = 0; i < 10; i++)
			put_numbered(k, 1, n++);
		CHECK_OK(kvf_start(k, leader));
	}
	check_numbered(k, 1, n);
	CHECK_TRUE(kvf_wait_equal(k, 0));
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait_equal(k, 2));
}

static void leaders_killed_one_after_another(void)
{
	kvf_run(&f, kill_each_story);
}

/* ---- all at once ---- */

static void fill_story(struct kvf *k)
{
	CHECK_OK(kvf_init(k, 2, 3));
	for (unsigned i = 0; i < 40; i++)
		put_numbered(k, 1 + i % 2, i / 2);
}

static void check_story(struct kvf *k)
{
	check_numbered(k, 1, 20);
	check_numbered(k, 2, 20);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait_equal(k, 2));
}

static void all_killed_and_restarted(void)
{
	kvf_run(&f, fill_story);
	kvf_kill_all(&f);
	kvf_start_all(&f);
	kvf_run(&f, check_story);
	kvf_kill_all(&f); /* and right away again */
	kvf_start_all(&f);
	kvf_run(&f, check_story);
}

/* ---- in the middle of two-phase commits ---- */

struct transfer {
	struct kvf *k;
	bool in_flight, ended;
	unsigned done;
};

static int transfer_once(struct kvf *k, unsigned i)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t a[64], b[64], value[8];
	int err;

	le64_put(value, i);
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, numbered(k, 1, 0, a), slice_of(value, 8));
	txn_put(&m, numbered(k, 2, 0, b), slice_of(value, 8));
	err = kvf_exec(k, &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static void transfer_main(void *arg)
{
	struct transfer *t = arg;

	while (t->done < 60) {
		int err;

		t->in_flight = true;
		err = transfer_once(t->k, t->done + 1);
		t->in_flight = false;
		CHECK_TRUE(err == 0 || err == ERR_ABORTED);
		if (!err)
			t->done++;
		fiber_yield();
	}
	t->ended = true;
}

static bool reached(struct kvf *k, void *ctx)
{
	(void)k;
	return ((struct transfer *)ctx)->ended;
}

static void read_both(struct kvf *k, uint64_t *a, uint64_t *b)
{
	struct buf v = BUF_INIT;
	uint8_t key[64];

	*a = *b = 0;
	if (kvf_get(k, numbered(k, 1, 0, key), &v) == 0 && v.len == 8)
		*a = le64_get(v.data);
	if (kvf_get(k, numbered(k, 2, 0, key), &v) == 0 && v.len == 8)
		*b = le64_get(v.data);
	buf_release(&v);
}

static bool nothing_prepared(struct kvf *k, void *ctx)
{
	bool clean = true;

	(void)ctx;
	for (uint32_t g = 1; g <= 2; g++) {
		uint32_t leader = kvf_leader(k, g);
		struct kv_node_status s;

		if (kvf_status(k, leader, &s) != 0)
			return false;
		clean &= kvf_group(&s, g)->prepared == 0 && kvf_group(&s, g)->locks == 0;
		kv_node_status_release(&s);
	}
	return clean;
}

/* Whoever leads a group is killed while a transaction is under way. */
static void kill_in_2pc_story(struct kvf *k)
{
	struct transfer t = {.k = k};
	uint64_t a, b;

	CHECK_OK(kvf_init(k, 2, 3));
	CHECK_TRUE(kvf_leader(k, 1) != 0 && kvf_leader(k, 2) != 0);
	CHECK_OK(fiber_start(loop_fibers(k->loop), transfer_main, &t));
	for (unsigned round = 1; round <= 4; round++) {
		uint32_t victim;

		while (!t.ended && t.done < round * 12)
			fiber_sleep(NS_PER_MS);
		victim = kvf_leader(k, 1 + round % 2);
		while (!t.ended && !t.in_flight)
			fiber_yield();
		kvf_kill(k, victim);
		CHECK_TRUE(kvf_leader(k, 1 + round % 2) != 0);
		CHECK_OK(kvf_start(k, victim));
	}
	CHECK_TRUE(kvf_wait(k, reached, &t));
	CHECK_TRUE(kvf_wait(k, nothing_prepared, NULL));
	read_both(k, &a, &b);
	CHECK_U64_EQ(a, 60);
	CHECK_U64_EQ(b, 60);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait_equal(k, 2));
}

static void leaders_killed_inside_2pc(void)
{
	kvf_run(&f, kill_in_2pc_story);
}

/* ---- a minority serves nothing ---- */

static int get_at(struct kvf *k, uint32_t id, uint32_t group, struct slice key)
{
	struct txn_mini m;
	struct buf body = BUF_INIT, part = BUF_INIT;
	int err;

	txn_mini_init(&m);
	txn_get(&m, key);
	kvf_part(k, &m, &part);
	kv_group_request_encode(&body, group, buf_slice(&part));
	err = kvf_call(k, id, KV_READ, buf_slice(&body), 300 * NS_PER_MS, NULL, NULL);
	txn_mini_release(&m);
	buf_release(&part);
	buf_release(&body);
	return err;
}

struct lonely {
	uint32_t leader;
	uint8_t key[64];
	struct slice at;
};

static bool serves_no_more(struct kvf *k, void *ctx)
{
	struct lonely *l = ctx;

	return get_at(k, l->leader, 1, l->at) == ERR_NOT_LEADER;
}

static void minority_story(struct kvf *k)
{
	struct lonely l;

	CHECK_OK(kvf_init(k, 1, 3));
	put_numbered(k, 1, 0);
	l.leader = kvf_leader(k, 1);
	l.at = numbered(k, 1, 0, l.key);
	CHECK_OK(get_at(k, l.leader, 1, l.at));
	for (uint32_t id = 1; id <= 3; id++)
		if (id != l.leader)
			kvf_signal(k, id, SIGSTOP);
	CHECK_TRUE(kvf_wait(k, serves_no_more, &l));
	for (uint32_t id = 1; id <= 3; id++)
		kvf_signal(k, id, SIGCONT);
	put_numbered(k, 1, 1);
	check_numbered(k, 1, 2);
}

static void a_leader_without_majority_steps_down(void)
{
	kvf_run(&f, minority_story);
}

/* A frozen leader: the others go on; thawed, it answers nothing stale. */
static void frozen_story(struct kvf *k)
{
	uint32_t frozen, now;
	uint8_t key[64];

	CHECK_OK(kvf_init(k, 1, 3));
	put_numbered(k, 1, 0);
	frozen = kvf_leader(k, 1);
	kvf_signal(k, frozen, SIGSTOP);
	put_numbered(k, 1, 1);
	now = k->leader[1];
	CHECK_TRUE(now != frozen);
	kvf_signal(k, frozen, SIGCONT);
	CHECK_ERR(get_at(k, frozen, 1, numbered(k, 1, 1, key)), ERR_NOT_LEADER);
	check_numbered(k, 1, 2);
	CHECK_TRUE(kvf_wait_equal(k, 1));
}

static void a_frozen_leader_is_replaced(void)
{
	kvf_run(&f, frozen_story);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, leaders_killed_one_after_another),
	CHECK_TEST_WITH(setup, teardown, all_killed_and_restarted),
	CHECK_TEST_WITH(setup, teardown, leaders_killed_inside_2pc),
	CHECK_TEST_WITH(setup, teardown, a_leader_without_majority_steps_down),
	CHECK_TEST_WITH(setup, teardown, a_frozen_leader_is_replaced),
};
CHECK_MAIN(tests)
