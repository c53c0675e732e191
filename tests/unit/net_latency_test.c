/* Calls between two threads, each with its loop: that nothing is lost, and how long it takes. The
 * times are printed, not judged. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/net_fixture.h"

#define CALLS 20000

static struct remote {
	struct loop *loop;
	struct net_listener *server;
	struct loop_async *stop;
	pthread_t thread;
} remote;

static void echo(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	net_send(c, f->type, NET_FLAG_REPLY, f->id, &f->body, 1);
}

static void stop_remote(void *ctx)
{
	(void)ctx;
	loop_stop(remote.loop);
}

static void *run_remote(void *arg)
{
	(void)arg;
	loop_run(remote.loop);
	net_listener_free(remote.server);
	loop_async_free(remote.stop);
	loop_free(remote.loop);
	return NULL;
}

static struct net_peer *peer;

static void setup(void)
{
	const struct net_handler h = {.on_frame = echo};

	net_fix_setup();
	CHECK_OK(loop_new(&remote.loop, NULL));
	CHECK_OK(net_listen(remote.loop, "127.0.0.1:0", &h, &remote.server, NULL));
	CHECK_OK(loop_async_new(remote.loop, stop_remote, NULL, &remote.stop));
	CHECK_OK(net_peer_new(fix.loop, net_listener_address(remote.server), &h, &peer));
	CHECK_INT_EQ(pthread_create(&remote.thread, NULL, run_remote, NULL), 0);
}

static void teardown(void)
{
	net_peer_free(peer);
	loop_async_send(remote.stop);
	CHECK_INT_EQ(pthread_join(remote.thread, NULL), 0);
	net_fix_teardown();
}

static uint64_t times_ns[CALLS];
static unsigned calls_left, answered;

static void caller(void *arg)
{
	size_t body_len = (size_t)(uintptr_t)arg;
	uint8_t *bytes = calloc(1, body_len);
	struct slice body = slice_of(bytes, body_len);
	struct buf reply = BUF_INIT;

	while (calls_left > 0) {
		uint64_t start = net_fix_now();

		calls_left--;
		if (net_call(peer, 1, &body, 1, start + 30 * NS_PER_S, &reply) == 0 &&
		    slice_eq(buf_slice(&reply), body))
			times_ns[answered++] = net_fix_now() - start;
	}
	buf_release(&reply);
	free(bytes);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(unsigned fibers, size_t body_len, unsigned calls)
{
	uint64_t start = net_fix_now(), spent;

	calls_left = calls;
	answered = 0;
	for (unsigned i = 0; i < fibers; i++)
		net_fix_start(caller, (void *)(uintptr_t)body_len);
	net_fix_run_fibers();
	spent = net_fix_now() - start;
	CHECK_INT_EQ(answered, calls);
	qsort(times_ns, answered, sizeof(times_ns[0]), compare);
	printf("    %3u fibers, %7zu bytes: p50 %6.1f us, p99 %6.1f us, %.0f calls/s\n", fibers,
	       body_len, (double)times_ns[calls / 2] / 1000,
	       (double)times_ns[calls * 99 / 100] / 1000, calls / ((double)spent / NS_PER_S));
}

static void one_call_after_the_other(void)
{
	measure(1, 64, CALLS);
}

static void many_at_once(void)
{
	measure(32, 64, CALLS);
	measure(256, 64, CALLS);
}

static void large_bodies(void)
{
	measure(1, 1 << 20, 200);
	measure(4, 1 << 20, 200);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(one_call_after_the_other),
	TEST(many_at_once),
	TEST(large_bodies),
};
CHECK_MAIN(tests)
