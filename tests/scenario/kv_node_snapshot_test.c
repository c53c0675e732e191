/* A node that was down too long for the log catches up by snapshot, while the others serve. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_fixture.h"

#define VALUE_SIZE 4096u

static struct kvf f;

static void setup(void)
{
	struct kv_node_config cfg;

	kv_node_config_default(&cfg);
	cfg.flush_bytes = 256 * 1024;
	cfg.retain_bytes = 32 * 1024;
	cfg.segment_bytes = 256 * 1024;
	cfg.log_bytes = 16 * 1024 * 1024;
	kvf_open(&f, 3, &cfg);
}

static void teardown(void)
{
	kvf_close(&f);
}

static void value_of(unsigned i, uint8_t out[VALUE_SIZE])
{
	srand(i + 1); /* does not compress */
	for (size_t k = 0; k < VALUE_SIZE; k++)
		out[k] = (uint8_t)rand();
}

static void put_some(struct kvf *k, unsigned from, unsigned to)
{
	uint8_t key[64], value[VALUE_SIZE];
	char name[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "key-%06u", i);
		value_of(i, value);
		CHECK_OK(kvf_put(k, kvf_key(k, 1, name, key), slice_of(value, sizeof(value))));
	}
}

static void check_some(struct kvf *k, unsigned n)
{
	uint8_t key[64], value[VALUE_SIZE];
	struct buf v = BUF_INIT;
	char name[32];

	for (unsigned i = 0; i < n; i += 7) {
		snprintf(name, sizeof(name), "key-%06u", i);
		value_of(i, value);
		CHECK_OK(kvf_get(k, kvf_key(k, 1, name, key), &v));
		CHECK_MEM_EQ(v.data, value, v.len);
		CHECK_U64_EQ(v.len, VALUE_SIZE);
	}
	buf_release(&v);
}

struct cut {
	uint32_t node;
	uint64_t beyond;
};

static bool log_is_cut(struct kvf *k, void *ctx)
{
	struct cut *c = ctx;
	struct kv_node_status s;
	bool done = false;

	(void)kvf_call(k, c->node, KV_FLUSH, (struct slice){0}, 5 * NS_PER_S, NULL, NULL);
	if (kvf_status(k, c->node, &s) != 0)
		return false;
	done = kvf_group(&s, 1)->log_start > c->beyond;
	kv_node_status_release(&s);
	return done;
}

static uint64_t applied(struct kvf *k, uint32_t id)
{
	struct kv_node_status s;
	uint64_t slot;

	CHECK_OK(kvf_status(k, id, &s));
	slot = kvf_group(&s, 1)->applied;
	kv_node_status_release(&s);
	return slot;
}

static bool log_has(struct kvf *k, uint32_t id, const char *text)
{
	char command[512];

	snprintf(command, sizeof(command), "grep -q '%s' %s.log", text, k->nodes[id].dir);
	return system(command) == 0;
}

static void lag(struct kvf *k, uint32_t sleeper)
{
	CHECK_OK(kvf_init(k, 1, 3));
	put_some(k, 0, 10);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	kvf_kill(k, sleeper);
	put_some(k, 10, 400);
	for (uint32_t id = 1; id <= 3; id++) {
		struct cut c = {.node = id, .beyond = 15};

		if (id != sleeper)
			CHECK_TRUE(kvf_wait(k, log_is_cut, &c));
	}
}

static void catch_up_story(struct kvf *k)
{
	lag(k, 3);
	CHECK_OK(kvf_start(k, 3));
	put_some(k, 400, 440); /* serving goes on */
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait_equal(k, 0));
	CHECK_TRUE(log_has(k, 3, "group=1: snapshot of slot .* installed"));
	CHECK_TRUE(applied(k, 3) >= 440);
	kvf_kill(k, 1); /* now it counts */
	check_some(k, 440);
	put_some(k, 440, 450);
}

static void catches_up_by_snapshot(void)
{
	kvf_run(&f, catch_up_story);
}

/* Killed again and again while it receives: a half-received snapshot is never visible. */
static void interrupted_story(struct kvf *k)
{
	lag(k, 3);
	for (unsigned i = 0; i < 5; i++) {
		CHECK_OK(kvf_start(k, 3));
		fiber_sleep((10 + 13 * i) * NS_PER_MS);
		kvf_kill(k, 3);
	}
	CHECK_OK(kvf_start(k, 3));
	CHECK_TRUE(kvf_wait_equal(k, 1));
	check_some(k, 400);
}

static void interrupted_receivers_start_over(void)
{
	kvf_run(&f, interrupted_story);
}

/* The source dies: the receiver finds another. */
static void source_story(struct kvf *k)
{
	lag(k, 3);
	CHECK_OK(kvf_start(k, 3));
	fiber_sleep(30 * NS_PER_MS);
	kvf_kill(k, kvf_leader(k, 1));
	kvf_start_all(k);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	check_some(k, 400);
}

static void a_dead_source_is_replaced(void)
{
	kvf_run(&f, source_story);
}

/* More groups than transfers that may be open at a time: each is over when all is sent. */
#define MANY_GROUPS 12u

static bool all_cut(struct kvf *k, void *ctx)
{
	bool all = true;

	(void)ctx;
	for (uint32_t id = 1; id <= 2; id++) {
		struct kv_node_status s;

		(void)kvf_call(k, id, KV_FLUSH, (struct slice){0}, 5 * NS_PER_S, NULL, NULL);
		if (kvf_status(k, id, &s) != 0)
			return false;
		for (uint32_t g = 1; g <= MANY_GROUPS; g++)
			all &= kvf_group(&s, g)->log_start > 5;
		kv_node_status_release(&s);
	}
	return all;
}

static void put_everywhere(struct kvf *k, unsigned rounds)
{
	uint8_t key[64], value[VALUE_SIZE];
	char name[32];

	value_of(1, value);
	for (unsigned i = 0; i < rounds; i++)
		for (uint32_t g = 1; g <= MANY_GROUPS; g++) {
			snprintf(name, sizeof(name), "key-%u", i);
			CHECK_OK(kvf_put(k, kvf_key(k, g, name, key),
					 slice_of(value, sizeof(value))));
		}
}

static void many_groups_story(struct kvf *k)
{
	uint64_t start;

	CHECK_OK(kvf_init(k, MANY_GROUPS, 3));
	put_everywhere(k, 1);
	for (uint32_t g = 1; g <= MANY_GROUPS; g++)
		CHECK_TRUE(kvf_wait_equal(k, g));
	kvf_kill(k, 3);
	put_everywhere(k, 40);
	CHECK_TRUE(kvf_wait(k, all_cut, NULL));
	CHECK_OK(kvf_start(k, 3));
	start = env_mono_ns(loop_env(k->loop));
	for (uint32_t g = 1; g <= MANY_GROUPS; g++)
		CHECK_TRUE(kvf_wait_equal(k, g));
	CHECK_TRUE(env_mono_ns(loop_env(k->loop)) - start < 20 * NS_PER_S);
}

static void many_groups_catch_up_one_after_the_other(void)
{
	kvf_run(&f, many_groups_story);
}

/* After a snapshot the log is short: all die, all come back. */
static void power_cut_story(struct kvf *k)
{
	CHECK_TRUE(kvf_wait_equal(k, 1));
	check_some(k, 440);
}

static void survives_a_power_cut_afterwards(void)
{
	kvf_run(&f, catch_up_story);
	kvf_kill_all(&f);
	kvf_start_all(&f);
	kvf_run(&f, power_cut_story);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, catches_up_by_snapshot),
	CHECK_TEST_WITH(setup, teardown, interrupted_receivers_start_over),
	CHECK_TEST_WITH(setup, teardown, a_dead_source_is_replaced),
	CHECK_TEST_WITH(setup, teardown, many_groups_catch_up_one_after_the_other),
	CHECK_TEST_WITH(setup, teardown, survives_a_power_cut_afterwards),
};
CHECK_MAIN(tests)
