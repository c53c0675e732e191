/* Calls over real sockets. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/net_peer.h"
#include "tests/lib/check.h"
#include "tests/lib/net_fixture.h"

static struct net_peer *peer;

static void setup(void)
{
	net_fix_setup();
	peer = net_fix_peer();
}

static void teardown(void)
{
	net_peer_free(peer);
	peer = NULL;
	net_fix_teardown();
}

/* One call by one fiber. */
struct job {
	enum net_fix_type type;
	struct slice body;
	uint64_t deadline_ns;
	struct fiber *self;
	bool started, ended;
	int err;
	struct buf reply;
};

static void do_call(void *arg)
{
	struct job *j = arg;

	j->self = fiber_self();
	j->started = true;
	j->err = net_call(peer, (uint8_t)j->type, &j->body, 1, j->deadline_ns, &j->reply);
	j->ended = true;
}

static void start(struct job *j, enum net_fix_type type, uint64_t ms)
{
	j->type = type;
	if (!j->body.p)
		j->body = slice_str("body");
	j->deadline_ns = ms == UINT64_MAX ? ms : net_fix_in_ms(ms);
	j->err = 1;
	net_fix_start(do_call, j);
}

static int call(enum net_fix_type type, uint64_t ms)
{
	struct job j = {0};

	start(&j, type, ms);
	net_fix_run_fibers();
	buf_release(&j.reply);
	return j.err;
}

static bool server_has_frames(void *ctx)
{
	return fix.frames >= *(unsigned *)ctx;
}

static void run_until_frames(unsigned n)
{
	net_fix_run_until(server_has_frames, &n);
}

/* ---- replies ---- */

static void a_call_returns_the_reply(void)
{
	struct job j = {.body = slice_str("payload")};

	start(&j, FIX_ECHO, 30000);
	net_fix_run_fibers();
	CHECK_OK(j.err);
	CHECK_SLICE_EQ(buf_slice(&j.reply), j.body);
	buf_release(&j.reply);
}

static void call_in_parts(void *arg)
{
	struct slice parts[3] = {slice_str("one "), slice_of(NULL, 0), slice_str("two")};
	struct buf reply = BUF_INIT;

	buf_add_zeros(&reply, 5000); /* replaced */
	*(int *)arg = net_call(peer, FIX_ECHO, parts, 3, UINT64_MAX, &reply);
	CHECK_SLICE_EQ(buf_slice(&reply), slice_str("one two"));
	CHECK_OK(net_call(peer, FIX_ECHO, NULL, 0, UINT64_MAX, &reply));
	CHECK_INT_EQ(reply.len, 0);
	buf_release(&reply);
}

static void parts_are_joined_and_replies_replace(void)
{
	int err = 1;

	net_fix_start(call_in_parts, &err);
	net_fix_run_fibers();
	CHECK_OK(err);
}

#define MANY 1000

static unsigned answered;

static void call_ten_times(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct buf reply = BUF_INIT;

	for (unsigned i = 0; i < 10; i++) {
		unsigned number = me * 10 + i;
		struct slice body = slice_of(&number, sizeof(number));
		int err = net_call(peer, FIX_ECHO, &body, 1, net_fix_in_ms(30000), &reply);

		if (err == 0 && slice_eq(buf_slice(&reply), body))
			answered++;
	}
	buf_release(&reply);
}

static void a_thousand_fibers_get_each_its_own_answers(void)
{
	answered = 0;
	for (unsigned i = 0; i < MANY; i++)
		net_fix_start(call_ten_times, (void *)(uintptr_t)i);
	net_fix_run_fibers();
	CHECK_INT_EQ(answered, MANY * 10);
	CHECK_INT_EQ(fix.opened, 1);
}

static void frames_and_bytes_are_counted(void)
{
	struct job j[100] = {0};
	struct net_stats before, after;

	CHECK_OK(call(FIX_ECHO, 30000));
	net_stats_get(&before);
	for (unsigned i = 0; i < 100; i++)
		start(&j[i], FIX_ECHO, 30000);
	net_fix_run_fibers();
	net_stats_get(&after);
	CHECK_INT_EQ(after.frames_in - before.frames_in, 200);
	CHECK_INT_EQ(after.frames_out - before.frames_out, 200);
	CHECK_INT_EQ(after.bytes_in - before.bytes_in, 200 * (20 + 4));
	CHECK_INT_EQ(after.bytes_out - before.bytes_out, 200 * (20 + 4));
	for (unsigned i = 0; i < 100; i++) {
		CHECK_OK(j[i].err);
		buf_release(&j[i].reply);
	}
}

static uint8_t *random_body(size_t n)
{
	uint8_t *p = malloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 2654435761u >> 13);
	return p;
}

static void bodies_of_many_sizes_come_back_whole(void)
{
	static const size_t sizes[] = {
		1,	65515,	 65516,		65517,	 65536,
		131072, 1 << 20, (1 << 20) + 1, 5 << 20, FRAME_SIZE_MAX - 12,
	};
	const unsigned n = sizeof(sizes) / sizeof(sizes[0]);
	struct job j[sizeof(sizes) / sizeof(sizes[0])] = {0};
	uint8_t *body = random_body(FRAME_SIZE_MAX);

	for (unsigned i = 0; i < n; i++) {
		j[i].body = slice_of(body + i, sizes[i]);
		start(&j[i], FIX_ECHO, 30000);
	}
	net_fix_run_fibers();
	for (unsigned i = 0; i < n; i++) {
		CHECK_OK(j[i].err);
		CHECK_SLICE_EQ(buf_slice(&j[i].reply), j[i].body);
		buf_release(&j[i].reply);
	}
	free(body);
}

static void large_and_small_frames_interleave(void)
{
	enum { COUNT = 200 };
	static struct job j[COUNT];
	uint8_t *body = random_body(1 << 20);

	memset(j, 0, sizeof(j));
	srandom(5);
	for (unsigned i = 0; i < COUNT; i++) {
		size_t off = (size_t)random() % 1000;
		size_t len = i % 3 ? (size_t)random() % 300 : (size_t)random() % 300000;

		j[i].body = slice_of(body + off, len + 1);
		start(&j[i], FIX_ECHO, 30000);
	}
	net_fix_run_fibers();
	for (unsigned i = 0; i < COUNT; i++) {
		CHECK_OK(j[i].err);
		CHECK_SLICE_EQ(buf_slice(&j[i].reply), j[i].body);
		buf_release(&j[i].reply);
	}
	free(body);
}

static void a_body_that_is_too_big_is_refused(void)
{
	uint8_t *body = random_body(FRAME_SIZE_MAX);
	struct job j = {.body = slice_of(body, FRAME_SIZE_MAX - 11)};

	CHECK_OK(call(FIX_ECHO, 30000));
	start(&j, FIX_ECHO, 30000);
	net_fix_run_fibers();
	CHECK_ERR(j.err, ERR_TOO_BIG);
	CHECK_OK(call(FIX_ECHO, 30000));
	free(body);
}

static void stray_and_doubled_replies_are_dropped(void)
{
	CHECK_OK(call(FIX_STRAY, 30000));
	CHECK_OK(call(FIX_STRAY, 30000));
	CHECK_OK(call(FIX_ECHO, 30000));
	CHECK_INT_EQ(fix.closed, 0);
}

static void replies_may_come_in_another_order(void)
{
	struct job held = {.body = slice_str("held")}, later = {.body = slice_str("later")};

	start(&held, FIX_HOLD, 30000);
	run_until_frames(1);
	start(&later, FIX_RELEASE, 30000);
	net_fix_run_fibers();
	CHECK_OK(held.err);
	CHECK_OK(later.err);
	buf_release(&held.reply);
	buf_release(&later.reply);
}

/* ---- deadlines and interrupts ---- */

static void a_call_ends_at_its_deadline(void)
{
	uint64_t before = net_fix_now();
	struct job j = {0};

	CHECK_OK(call(FIX_ECHO, 30000));
	start(&j, FIX_SILENT, 5);
	net_fix_run_fibers();
	CHECK_ERR(j.err, ERR_TIMEOUT);
	CHECK_TRUE(net_fix_now() - before >= 5 * NS_PER_MS);
	CHECK_INT_EQ(j.reply.cap, 0);
	CHECK_OK(call(FIX_ECHO, 30000)); /* the connection goes on */
	CHECK_INT_EQ(fix.opened, 1);
}

static void a_deadline_in_the_past_sends_nothing(void)
{
	struct job j = {.body = slice_str("x"), .type = FIX_ECHO, .deadline_ns = 1};

	CHECK_OK(call(FIX_ECHO, 30000));
	net_fix_start(do_call, &j);
	net_fix_run_fibers();
	CHECK_ERR(j.err, ERR_TIMEOUT);
	CHECK_OK(call(FIX_ECHO, 30000));
	CHECK_INT_EQ(fix.frames, 2);
}

static void a_late_reply_meets_nobody(void)
{
	struct job j = {0};

	start(&j, FIX_HOLD, 5);
	net_fix_run_fibers();
	CHECK_ERR(j.err, ERR_TIMEOUT);
	CHECK_OK(call(FIX_RELEASE, 30000)); /* answers the held one first */
	CHECK_INT_EQ(fix.closed, 0);
}

static void an_interrupt_ends_a_call(void)
{
	struct job j = {0};

	start(&j, FIX_SILENT, UINT64_MAX);
	run_until_frames(1);
	CHECK_FALSE(j.ended);
	fiber_interrupt(j.self);
	net_fix_run_fibers();
	CHECK_ERR(j.err, ERR_INTERRUPTED);
	CHECK_OK(call(FIX_ECHO, 30000));
}

static void interrupt_myself_and_call(void *arg)
{
	struct job *j = arg;

	fiber_interrupt(fiber_self());
	do_call(j);
	CHECK_ERR(j->err, ERR_INTERRUPTED);
	fiber_interrupt_clear();
	do_call(j);
}

static void an_interrupted_fiber_does_not_begin_a_call(void)
{
	struct job j = {.type = FIX_ECHO, .deadline_ns = UINT64_MAX, .body = slice_str("x")};

	net_fix_start(interrupt_myself_and_call, &j);
	net_fix_run_fibers();
	CHECK_OK(j.err);
	CHECK_INT_EQ(fix.frames, 1);
	buf_release(&j.reply);
}

/* ---- connections that break, or never come up ---- */

static void without_a_server_a_call_ends_unreachable(void)
{
	net_fix_stop_server();
	CHECK_ERR(call(FIX_ECHO, 30), ERR_UNREACHABLE);
	CHECK_NULL(net_peer_conn(peer));
	CHECK_ERR(net_peer_send(peer, FIX_ECHO, NULL, 0), ERR_UNREACHABLE);
}

static void a_call_in_flight_ends_when_the_connection_breaks(void)
{
	struct job silent = {0}, closer = {0};

	start(&silent, FIX_SILENT, UINT64_MAX);
	start(&closer, FIX_CLOSE, UINT64_MAX);
	net_fix_run_fibers();
	CHECK_ERR(silent.err, ERR_CLOSED);
	CHECK_ERR(closer.err, ERR_CLOSED);
	CHECK_OK(call(FIX_ECHO, 30000)); /* over a new connection */
	CHECK_INT_EQ(fix.opened, 2);
	CHECK_INT_EQ(fix.closed, 1);
}

static bool peer_is_down(void *ctx)
{
	(void)ctx;
	return net_peer_conn(peer) == NULL;
}

static void a_peer_comes_back_to_a_server_that_comes_back(void)
{
	struct job waiting = {0};

	for (unsigned round = 0; round < 3; round++) {
		CHECK_OK(call(FIX_ECHO, 30000));
		net_fix_stop_server();
		net_fix_run_until(peer_is_down, NULL);
		CHECK_ERR(call(FIX_ECHO, 25), ERR_UNREACHABLE);
		start(&waiting, FIX_ECHO, 30000); /* waits for the connection */
		net_fix_serve(fix.address);	  /* the same port */
		net_fix_run_fibers();
		CHECK_OK(waiting.err);
		buf_release(&waiting.reply);
	}
	CHECK_INT_EQ(fix.opened, 4);
}

static void a_server_that_drops_all_is_not_asked_in_a_tight_loop(void)
{
	uint64_t before = net_fix_now();

	for (unsigned i = 0; i < 5; i++)
		CHECK_ERR(call(FIX_CLOSE, 30000), ERR_CLOSED);
	CHECK_INT_EQ(fix.opened, 5);
	/* Between them at least the half of 10, 20, 40 and 80 ms. */
	CHECK_TRUE(net_fix_now() - before >= 75 * NS_PER_MS);
}

static void a_server_freed_by_a_frame_closes_all(void)
{
	struct job j[5] = {0};

	for (unsigned i = 0; i < 4; i++)
		start(&j[i], FIX_SILENT, UINT64_MAX);
	start(&j[4], FIX_FREE, UINT64_MAX);
	net_fix_run_fibers();
	for (unsigned i = 0; i < 5; i++)
		CHECK_ERR(j[i].err, ERR_CLOSED);
	CHECK_INT_EQ(fix.closed, 1);
}

static void free_the_peer(void *arg)
{
	(void)arg;
	net_peer_free(peer);
	peer = NULL;
}

static void freeing_a_peer_ends_its_calls(void)
{
	struct job sent = {0}, unsent = {0};

	start(&sent, FIX_SILENT, UINT64_MAX);
	run_until_frames(1);
	net_fix_start(free_the_peer, NULL);
	net_fix_run_fibers();
	CHECK_ERR(sent.err, ERR_CLOSED);

	net_fix_stop_server();
	peer = net_fix_peer();
	start(&unsent, FIX_SILENT, UINT64_MAX);
	net_fix_start(free_the_peer, NULL);
	net_fix_run_fibers();
	CHECK_ERR(unsent.err, ERR_UNREACHABLE);
}

/* A listener whose queue is full leaves connects unanswered, as a host that is gone does. */
struct hanging {
	int listener;
	int fill;
	struct sockaddr_in at;
};

static void hanging_start(struct hanging *h)
{
	socklen_t len = sizeof(h->at);

	h->at = (struct sockaddr_in){.sin_family = AF_INET};
	h->at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	h->listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT_EQ(bind(h->listener, (struct sockaddr *)&h->at, sizeof(h->at)), 0);
	CHECK_INT_EQ(listen(h->listener, 0), 0);
	CHECK_INT_EQ(getsockname(h->listener, (struct sockaddr *)&h->at, &len), 0);
	h->fill = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT_EQ(connect(h->fill, (struct sockaddr *)&h->at, sizeof(h->at)), 0);
	snprintf(fix.address, sizeof(fix.address), "127.0.0.1:%u", ntohs(h->at.sin_port));
}

static bool peer_is_up(void *ctx)
{
	(void)ctx;
	return net_peer_conn(peer) != NULL;
}

static void a_connect_that_hangs_is_tried_anew(void)
{
	struct hanging h;
	uint64_t before;
	int fd;

	hanging_start(&h);
	net_peer_free(peer);
	peer = net_fix_peer();
	before = net_fix_now();
	CHECK_ERR(call(FIX_ECHO, 200), ERR_UNREACHABLE);
	CHECK_NOT_NULL(peer->connecting);
	fd = accept(h.listener, NULL, NULL); /* makes room */
	CHECK_TRUE(fd >= 0);
	net_fix_run_until(peer_is_up, NULL);
	CHECK_TRUE(net_fix_now() - before < 10 * NS_PER_S);
	close(fd);
	close(h.fill);
	close(h.listener);
}

/* Every allocation of a call that can fail does, in turn; the next call finds all in order. */
static void any_allocation_may_fail(void)
{
	uint8_t *body = random_body(400000);
	unsigned failed = 0, n = 0;
	struct job j;

	do {
		/* Larger each time than what the pool kept. */
		j = (struct job){.body = slice_of(body, 300000 + n * 1000)};
		CHECK_OK(call(FIX_ECHO, 30000));
		start(&j, FIX_ECHO, 2000);
		mem_fail_nth(++n);
		net_fix_run_fibers();
		mem_fail_nth(0);
		if (j.err)
			failed++;
		CHECK_TRUE(j.err == 0 || j.err == ERR_NOMEM || j.err == ERR_CLOSED ||
			   j.err == ERR_TIMEOUT);
		buf_release(&j.reply);
	} while (n < 12);
	CHECK_TRUE(failed >= 3); /* sending, receiving, answering */
	CHECK_OK(j.err);	 /* and the last had nothing left to fail */
	free(body);
}

static void calls_in_flight_are_bounded(void)
{
	unsigned real;

	CHECK_OK(call(FIX_ECHO, 30000));
	real = peer->call_count;
	CHECK_INT_EQ(real, 0);
	peer->call_count = NET_CALLS_MAX; /* more fibers than a test should have */
	CHECK_ERR(call(FIX_ECHO, 30000), ERR_BUSY);
	peer->call_count = real;
	CHECK_OK(call(FIX_ECHO, 30000));
	CHECK_INT_EQ(fix.frames, 2);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(a_call_returns_the_reply),
	TEST(parts_are_joined_and_replies_replace),
	TEST(a_thousand_fibers_get_each_its_own_answers),
	TEST(frames_and_bytes_are_counted),
	TEST(bodies_of_many_sizes_come_back_whole),
	TEST(large_and_small_frames_interleave),
	TEST(a_body_that_is_too_big_is_refused),
	TEST(stray_and_doubled_replies_are_dropped),
	TEST(replies_may_come_in_another_order),
	TEST(a_call_ends_at_its_deadline),
	TEST(a_deadline_in_the_past_sends_nothing),
	TEST(a_late_reply_meets_nobody),
	TEST(an_interrupt_ends_a_call),
	TEST(an_interrupted_fiber_does_not_begin_a_call),
	TEST(without_a_server_a_call_ends_unreachable),
	TEST(a_call_in_flight_ends_when_the_connection_breaks),
	TEST(a_peer_comes_back_to_a_server_that_comes_back),
	TEST(a_server_that_drops_all_is_not_asked_in_a_tight_loop),
	TEST(a_server_freed_by_a_frame_closes_all),
	TEST(freeing_a_peer_ends_its_calls),
	TEST(a_connect_that_hangs_is_tried_anew),
	TEST(any_allocation_may_fail),
	TEST(calls_in_flight_are_bounded),
};
CHECK_MAIN(tests)
