/* Watches on real nodes: many on one key, a commit of two groups, a leader that is killed. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_fixture.h"

#define WATCHERS 100u

static struct kvf f;
static struct kv_client *client;

static void setup(void)
{
	kvf_open(&f, 3, NULL);
}

static void teardown(void)
{
	kvf_close(&f);
}

static void begin(struct kvf *k)
{
	static char endpoints[256];
	struct kv_client_config cfg = {.endpoints = endpoints,
				       .transport = k->transport,
				       .env = loop_env(k->loop),
				       .fibers = loop_fibers(k->loop),
				       .timeout_ns = KVF_DEADLINE_NS,
				       .connect_timeout_ns = 10 * NS_PER_S,
				       .name = "test",
				       .session = true};
	struct msg m = {""};

	CHECK_OK(kvf_init(k, 2, 3));
	snprintf(endpoints, sizeof(endpoints), "%s,%s,%s", k->nodes[1].address,
		 k->nodes[2].address, k->nodes[3].address);
	CHECK_OK(kv_client_open(&cfg, &client, &m));
}

static void end(void)
{
	kv_client_close(client);
	client = NULL;
}

/* One transaction; @b may be empty. */
static int put(struct slice a, struct slice b)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, a, slice_str("value"));
	if (b.len)
		txn_put(&m, b, slice_str("value"));
	err = txn_exec(kv_client_executor(client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

/* ---- watchers ---- */

struct watching {
	struct slice key;
	uint64_t version, now, returned_ns;
	int err;
	unsigned *left;
	struct fiber *waiter;
};

static void watch_fiber(void *arg)
{
	struct watching *w = arg;

	w->err = kv_client_watch(client, w->key, w->version, KVF_DEADLINE_NS, &w->now);
	w->returned_ns = env_mono_ns(loop_env(f.loop));
	if (--*w->left == 0 && w->waiter)
		fiber_wake(w->waiter);
}

static void start(struct watching *w, unsigned *left)
{
	w->left = left;
	++*left;
	CHECK_OK(fiber_start(loop_fibers(f.loop), watch_fiber, w));
}

static void await_all(struct watching *ws, unsigned n, const unsigned *left)
{
	for (unsigned i = 0; i < n; i++)
		ws[i].waiter = fiber_self();
	while (*left > 0)
		fiber_park();
}

static uint64_t version_of(struct slice key)
{
	uint64_t v = 0;

	CHECK_OK(kv_client_watch(client, key, UINT64_MAX, KVF_DEADLINE_NS, &v));
	return v;
}

static void many_story(struct kvf *k)
{
	static struct watching ws[WATCHERS];
	uint8_t bytes[64];
	struct slice key = kvf_key(k, 1, "k", bytes);
	uint64_t was, is;
	unsigned left = 0;

	begin(k);
	CHECK_OK(put(key, (struct slice){0}));
	was = version_of(key);
	for (unsigned i = 0; i < WATCHERS; i++) {
		ws[i] = (struct watching){.key = key, .version = was};
		start(&ws[i], &left);
	}
	fiber_yield(); /* all have asked */
	CHECK_OK(put(key, (struct slice){0}));
	await_all(ws, WATCHERS, &left);
	is = version_of(key);
	CHECK_TRUE(is > was);
	for (unsigned i = 0; i < WATCHERS; i++) {
		CHECK_OK(ws[i].err);
		CHECK_U64_EQ(ws[i].now, is);
	}
	end();
}

static void one_write_wakes_many(void)
{
	kvf_run(&f, many_story);
}

static void two_groups_story(struct kvf *k)
{
	struct watching ws[3];
	uint8_t a[64], b[64], c[64];
	struct slice key[3] = {kvf_key(k, 1, "k", a), kvf_key(k, 2, "k", b), kvf_key(k, 2, "l", c)};
	unsigned both = 0, third = 0;

	begin(k);
	for (unsigned i = 0; i < 3; i++) {
		ws[i] = (struct watching){.key = key[i]};
		start(&ws[i], i < 2 ? &both : &third);
	}
	CHECK_ERR(kv_client_watch(client, key[0], 0, NS_PER_S / 10, &ws[0].now), ERR_TIMEOUT);
	CHECK_U64_EQ(both + third, 3);
	CHECK_OK(put(key[0], key[1]));
	await_all(ws, 2, &both);
	CHECK_U64_EQ(third, 1);
	CHECK_OK(ws[0].err);
	CHECK_OK(ws[1].err);
	CHECK_TRUE(ws[0].now > 0 && ws[1].now > 0);
	CHECK_OK(put(key[2], (struct slice){0}));
	await_all(&ws[2], 1, &third);
	CHECK_OK(ws[2].err);
	end();
}

static void a_commit_of_two_groups_wakes_both(void)
{
	kvf_run(&f, two_groups_story);
}

static void killed_story(struct kvf *k)
{
	struct watching w;
	uint8_t bytes[64];
	struct slice key = kvf_key(k, 1, "k", bytes);
	uint64_t acked_ns;
	uint32_t leader;
	unsigned left = 0;

	begin(k);
	CHECK_OK(put(key, (struct slice){0}));
	w = (struct watching){.key = key, .version = version_of(key)};
	start(&w, &left);
	leader = kvf_leader(k, 1);
	CHECK_TRUE(leader != 0);
	kvf_kill(k, leader);
	CHECK_OK(put(key, (struct slice){0}));
	acked_ns = env_mono_ns(loop_env(k->loop));
	await_all(&w, 1, &left);
	CHECK_OK(w.err);
	CHECK_TRUE(w.now > w.version);
	/* It was not the round that ended: the new leader was asked when the old one died. */
	CHECK_TRUE(w.returned_ns < acked_ns + 3 * NS_PER_S);
	end();
}

static void a_watch_outlives_the_leader(void)
{
	kvf_run(&f, killed_story);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(one_write_wakes_many),
	T(a_commit_of_two_groups_wakes_both),
	T(a_watch_outlives_the_leader),
};

CHECK_MAIN(tests)
