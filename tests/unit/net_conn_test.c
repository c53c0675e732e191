/* Connections: bad input, limits, and closing from every callback. */
#include <linux/tcp.h> /* its tcp_info has more than netinet's */
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/logger.h"
#include "net/frame.h"
#include "tests/lib/check.h"
#include "tests/lib/net_fixture.h"

#define HEADER 20u

static struct buf bytes; /* to be sent raw */
static int raw;

static void setup(void)
{
	logger_set_level(LOG_ERROR_); /* the tests provoke warnings */
	net_fix_setup();
	buf_init(&bytes);
	raw = net_fix_raw();
}

static void teardown(void)
{
	if (raw >= 0)
		close(raw);
	buf_release(&bytes);
	net_fix_teardown();
}

static bool has_opened(void *ctx)
{
	return fix.opened >= *(unsigned *)ctx;
}

static bool has_closed(void *ctx)
{
	return fix.closed >= *(unsigned *)ctx;
}

static bool has_frames(void *ctx)
{
	return fix.frames >= *(unsigned *)ctx;
}

static void run_until_opened(unsigned n)
{
	net_fix_run_until(has_opened, &n);
}

static void run_until_closed(unsigned n)
{
	net_fix_run_until(has_closed, &n);
}

static void run_until_frames(unsigned n)
{
	net_fix_run_until(has_frames, &n);
}

static void send_raw(int fd, const void *p, size_t n)
{
	CHECK_INT_EQ(send(fd, p, n, MSG_NOSIGNAL), n);
}

static void add_frame(enum net_fix_type type, uint64_t id, struct slice body)
{
	net_frame_encode(&bytes, (uint8_t)type, 0, id, body);
	CHECK_TRUE(buf_ok(&bytes));
}

static void call_echo(void *arg)
{
	struct slice body = slice_str("still here");
	struct buf reply = BUF_INIT;

	CHECK_OK(net_call(arg, FIX_ECHO, &body, 1, net_fix_in_ms(30000), &reply));
	CHECK_SLICE_EQ(buf_slice(&reply), body);
	buf_release(&reply);
}

static void check_echo(struct net_peer *p)
{
	net_fix_start(call_echo, p);
	net_fix_run_fibers();
}

static uint64_t bad_frames(void)
{
	struct net_stats s;

	net_stats_get(&s);
	return s.bad_frames;
}

/* ---- bad input ---- */

/* Sends the bytes on a connection of their own; it must end by @want, and others go on. */
static void expect_refusal(int want)
{
	struct net_peer *p = net_fix_peer();
	uint64_t bad = bad_frames();

	check_echo(p);
	send_raw(raw, bytes.data, bytes.len);
	run_until_closed(1);
	CHECK_ERR(fix.close_err, want);
	CHECK_U64_EQ(bad_frames() - bad, 1);
	check_echo(p);
	CHECK_INT_EQ(fix.closed, 1);
	net_peer_free(p);
}

static void a_corrupt_frame_closes_its_connection_only(void)
{
	add_frame(FIX_ECHO, 1, slice_str("body"));
	bytes.data[bytes.len - 1] ^= 1;
	expect_refusal(ERR_PROTO);
}

static void an_oversized_length_closes_its_connection_only(void)
{
	buf_add_zeros(&bytes, 4);
	frame_length_put(bytes.data, FRAME_SIZE_MAX + 1);
	expect_refusal(ERR_PROTO);
}

static void an_absurd_length_closes_its_connection_only(void)
{
	buf_add_be32(&bytes, UINT32_MAX);
	expect_refusal(ERR_PROTO);
}

static void a_short_length_closes_its_connection_only(void)
{
	buf_add_be32(&bytes, 11);
	expect_refusal(ERR_PROTO);
}

static void another_version_closes_its_connection_only(void)
{
	add_frame(FIX_ECHO, 1, slice_str("body"));
	bytes.data[8] = NET_PROTOCOL_VERSION + 1;
	expect_refusal(ERR_WIRE_VERSION);
}

static void text_of_another_protocol_closes_its_connection_only(void)
{
	buf_add_slice(&bytes, slice_str("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
	expect_refusal(ERR_PROTO);
}

static void good_frames_before_a_bad_one_are_handled(void)
{
	for (unsigned i = 0; i < 3; i++)
		add_frame(FIX_SILENT, 1, slice_str("good"));
	buf_add_be32(&bytes, 3);
	send_raw(raw, bytes.data, bytes.len);
	run_until_closed(1);
	CHECK_INT_EQ(fix.frames, 3);
}

static void a_truncated_frame_is_never_delivered(void)
{
	uint64_t bad = bad_frames();

	add_frame(FIX_ECHO, 1, slice_str("a body that never comes whole"));
	for (size_t n = 1; n < bytes.len; n++) {
		int fd = net_fix_raw();

		send_raw(fd, bytes.data, n);
		close(fd);
		run_until_closed((unsigned)n);
		CHECK_ERR(fix.close_err, ERR_CLOSED);
	}
	CHECK_INT_EQ(fix.frames, 0);
	CHECK_U64_EQ(bad_frames(), bad);
}

static void a_reset_is_a_closed_connection(void)
{
	struct linger hard = {.l_onoff = 1};

	run_until_opened(1);
	CHECK_INT_EQ(setsockopt(raw, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	close(raw);
	raw = -1;
	run_until_closed(1);
	CHECK_ERR(fix.close_err, ERR_CLOSED);
}

static void random_bytes_hurt_nobody(void)
{
	struct net_peer *p = net_fix_peer();
	uint8_t noise[3000];

	srandom(3);
	for (unsigned round = 1; round <= 150; round++) {
		int fd = net_fix_raw();
		size_t n = (size_t)random() % sizeof(noise);

		for (size_t i = 0; i < n; i++)
			noise[i] = (uint8_t)random();
		if (n > 9 && round % 2) { /* gets past the first checks */
			frame_length_put(noise, (uint32_t)random() % 4000);
			noise[8] = NET_PROTOCOL_VERSION;
		}
		if (n)
			send_raw(fd, noise, n);
		close(fd);
		run_until_closed(round);
	}
	check_echo(p);
	CHECK_INT_EQ(fix.frames, 1);
	net_peer_free(p);
}

static void a_frame_may_come_byte_by_byte(void)
{
	add_frame(FIX_SILENT, 1, slice_str("drip"));
	add_frame(FIX_SILENT, 1, slice_str("drop"));
	run_until_opened(1);
	for (size_t i = 0; i < bytes.len; i++) {
		struct net_stats before;

		net_stats_get(&before);
		send_raw(raw, bytes.data + i, 1);
		for (struct net_stats now = before; now.bytes_in == before.bytes_in;) {
			unsigned none = 0;

			net_fix_run_until(has_frames, &none);
			net_stats_get(&now);
		}
	}
	CHECK_INT_EQ(fix.frames, 2);
}

static void promised_bytes_that_do_not_come_block_nobody(void)
{
	struct net_peer *p = net_fix_peer();
	int fds[50];

	add_frame(FIX_SILENT, 1, slice_of(NULL, 0));
	frame_length_put(bytes.data, FRAME_SIZE_MAX);
	for (unsigned i = 0; i < 50; i++) {
		fds[i] = net_fix_raw();
		send_raw(fds[i], bytes.data, bytes.len);
	}
	run_until_opened(50);
	check_echo(p);
	CHECK_INT_EQ(fix.closed, 0);
	for (unsigned i = 0; i < 50; i++)
		close(fds[i]);
	run_until_closed(50);
	net_peer_free(p);
}

/* ---- no descriptors left ---- */

static int fillers[64];
static unsigned filler_count;
static struct rlimit limit_before;

static void use_up_descriptors(void)
{
	struct rlimit low;
	int fd;

	CHECK_INT_EQ(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
	low = limit_before;
	low.rlim_cur = 60;
	CHECK_INT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	filler_count = 0;
	while (filler_count < 64 && (fd = dup(raw)) >= 0)
		fillers[filler_count++] = fd;
	CHECK_TRUE(filler_count < 64);
}

static void return_descriptors(void)
{
	while (filler_count)
		close(fillers[--filler_count]);
	CHECK_INT_EQ(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static bool raw_is_readable(void *ctx)
{
	struct pollfd p = {.fd = *(int *)ctx, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void without_descriptors_an_accept_is_refused_and_others_go_on(void)
{
	struct net_peer *p = net_fix_peer();
	int late;
	char c;

	check_echo(p);
	run_until_opened(2);
	late = net_fix_raw();
	use_up_descriptors();
	while (!raw_is_readable(&late))
		check_echo(p);
	CHECK_TRUE(recv(late, &c, 1, 0) <= 0);
	return_descriptors();
	close(late);
	late = net_fix_raw();
	run_until_opened(3);
	CHECK_INT_EQ(fix.closed, 0);
	close(late);
	net_peer_free(p);
}

static void without_descriptors_a_peer_tries_later(void)
{
	struct net_peer *p;

	run_until_opened(1);
	use_up_descriptors();
	p = net_fix_peer();
	CHECK_NULL(net_peer_conn(p));
	return_descriptors();
	check_echo(p);
	net_peer_free(p);
}

/* ---- sending ---- */

static void frames_of_a_turn_leave_in_one_segment(void)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	char in[100 * (HEADER + 4)];

	for (unsigned i = 0; i < 100; i++)
		add_frame(FIX_PUSH, 0, slice_str("push"));
	send_raw(raw, bytes.data, bytes.len);
	run_until_frames(100);
	CHECK_INT_EQ(recv(raw, in, sizeof(in), MSG_WAITALL), sizeof(in));
	CHECK_MEM_EQ(in, bytes.data, sizeof(in));
	CHECK_INT_EQ(getsockopt(raw, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	CHECK_INT_EQ(info.tcpi_data_segs_in, 1);
}

/* Reading the raw side from the loop. */
struct reader {
	struct loop_poll *poll;
	uint64_t total, want;
};

static void read_some(void *ctx)
{
	static uint8_t in[1 << 20];
	struct reader *r = ctx;
	ssize_t n = recv(raw, in, sizeof(in), 0);

	CHECK_TRUE(n > 0);
	r->total += (uint64_t)n;
}

static bool has_read(void *ctx)
{
	struct reader *r = ctx;

	return r->total >= r->want;
}

/* Reads at least @want bytes; returns how many. */
static uint64_t drain(uint64_t want)
{
	struct reader r = {.want = want};

	CHECK_OK(loop_poll_new(fix.loop, raw, read_some, &r, &r.poll));
	net_fix_run_until(has_read, &r);
	loop_poll_free(r.poll);
	return r.total;
}

static void the_send_queue_is_bounded(void)
{
	static uint8_t body[1 << 20];
	struct slice part = slice_of(body, sizeof(body));
	uint64_t queued = 0, read_bytes;
	int err;

	run_until_opened(1);
	while ((err = net_send(fix.server_conn, 1, 0, 0, &part, 1)) == 0)
		queued += HEADER + part.len;
	CHECK_ERR(err, ERR_BUSY);
	CHECK_TRUE(queued <= NET_SEND_QUEUE_MAX && queued + HEADER + part.len > NET_SEND_QUEUE_MAX);
	read_bytes = drain(1); /* the kernel took some; the rest waits */
	while ((err = net_send(fix.server_conn, 1, 0, 0, &part, 1)) == 0)
		queued += HEADER + part.len;
	CHECK_ERR(err, ERR_BUSY);
	CHECK_U64_EQ(read_bytes + drain(queued - read_bytes), queued);
	CHECK_OK(net_send(fix.server_conn, 1, 0, 0, &part, 1));
	CHECK_U64_EQ(drain(HEADER + part.len), HEADER + part.len);
}

static void a_reader_that_vanishes_drops_the_queue(void)
{
	static uint8_t body[1 << 20];
	struct slice part = slice_of(body, sizeof(body));

	run_until_opened(1);
	for (unsigned i = 0; i < 30; i++)
		CHECK_OK(net_send(fix.server_conn, 1, 0, 0, &part, 1));
	CHECK_TRUE(drain(1) > 0);
	close(raw);
	raw = -1;
	run_until_closed(1);
	CHECK_ERR(fix.close_err, ERR_CLOSED);
}

static void what_was_sent_before_a_close_arrives(void)
{
	struct slice part = slice_str("last words");
	char in[64];

	run_until_opened(1);
	CHECK_OK(net_send(fix.server_conn, 1, 0, 0, &part, 1));
	net_close(fix.server_conn);
	CHECK_ERR(net_send(fix.server_conn, 1, 0, 0, &part, 1), ERR_CLOSED);
	net_close(fix.server_conn);
	CHECK_INT_EQ(fix.closed, 0); /* not from inside net_close() */
	run_until_closed(1);
	CHECK_ERR(fix.close_err, ERR_CLOSED);
	CHECK_INT_EQ(recv(raw, in, sizeof(in), MSG_WAITALL), HEADER + part.len);
}

static void nothing_is_delivered_behind_a_close(void)
{
	add_frame(FIX_SILENT, 1, slice_of(NULL, 0));
	add_frame(FIX_CLOSE, 1, slice_of(NULL, 0));
	add_frame(FIX_SILENT, 1, slice_of(NULL, 0));
	buf_add_be32(&bytes, 1); /* nor judged */
	send_raw(raw, bytes.data, bytes.len);
	run_until_closed(1);
	CHECK_INT_EQ(fix.frames, 2);
	CHECK_ERR(fix.close_err, ERR_CLOSED);
}

static void a_freed_listener_has_closed_its_connections(void)
{
	int other = net_fix_raw();
	char c;

	run_until_opened(2);
	net_close(fix.server_conn); /* its on_close is due */
	net_fix_stop_server();
	CHECK_INT_EQ(fix.closed, 2);
	net_fix_serve("127.0.0.1:0"); /* a turn for the loop to end them */
	close(other);
	other = net_fix_raw();
	run_until_opened(3);
	CHECK_TRUE(recv(raw, &c, 1, 0) <= 0);
	close(other);
}

/* ---- callbacks that close and free ---- */

enum action { NOTHING, CLOSE, FREE_PEER, FREE_LISTENER, SEND };

static struct client {
	struct net_peer *peer;
	enum action on_open, on_frame, on_close;
	unsigned opens, frames, closes;
	int close_err;
} client;

static void act(enum action a, struct net_conn *c)
{
	struct slice body = slice_str("from a callback");
	struct net_peer *p = client.peer;

	switch (a) {
	case NOTHING:
		break;
	case CLOSE:
		net_close(c);
		break;
	case FREE_PEER:
		client.peer = NULL;
		net_peer_free(p);
		break;
	case FREE_LISTENER:
		net_fix_stop_server();
		break;
	case SEND:
		(void)net_send(c, FIX_PUSH, 0, 0, &body, 1);
		break;
	}
}

static void client_open(void *ctx, struct net_conn *c)
{
	(void)ctx;
	client.opens++;
	net_conn_set_user(c, &client);
	act(client.on_open, c);
}

static void client_frame(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)f;
	client.frames++;
	CHECK_PTR_EQ(net_conn_user(c), &client);
	act(client.on_frame, c);
}

static void client_close(void *ctx, struct net_conn *c, int err)
{
	(void)ctx;
	client.closes++;
	client.close_err = err;
	CHECK_PTR_EQ(net_conn_user(c), &client);
	CHECK_ERR(net_send(c, 1, 0, 0, NULL, 0), ERR_CLOSED);
	act(client.on_close, c);
}

static void start_client(enum action on_open, enum action on_frame, enum action on_close)
{
	const struct net_handler h = {
		.on_open = client_open, .on_frame = client_frame, .on_close = client_close};

	client = (struct client){.on_open = on_open, .on_frame = on_frame, .on_close = on_close};
	CHECK_OK(net_peer_new(fix.loop, fix.address, &h, &client.peer));
	CHECK_NULL(net_peer_conn(client.peer)); /* nothing happens before the loop turns */
}

static bool client_has_closed(void *ctx)
{
	return client.closes >= *(unsigned *)ctx;
}

static void run_until_client_closed(unsigned n)
{
	net_fix_run_until(client_has_closed, &n);
}

static bool client_has_frames(void *ctx)
{
	return client.frames >= *(unsigned *)ctx;
}

static void end_client(void)
{
	net_peer_free(client.peer);
	client.peer = NULL;
	CHECK_INT_EQ(client.opens, client.closes);
}

static void a_peer_hears_what_is_pushed(void)
{
	struct slice part = slice_str("there and back");
	unsigned two = 2;

	start_client(SEND, NOTHING, NOTHING);
	run_until_frames(1);
	CHECK_OK(net_peer_send(client.peer, FIX_PUSH, &part, 1));
	net_fix_run_until(client_has_frames, &two);
	CHECK_STR_EQ(net_peer_address(client.peer), fix.address);
	end_client();
}

static void on_open_can_close(void)
{
	start_client(CLOSE, NOTHING, NOTHING);
	run_until_client_closed(2); /* and comes back */
	CHECK_ERR(client.close_err, ERR_CLOSED);
	end_client();
}

static void on_open_can_free_the_peer(void)
{
	start_client(FREE_PEER, NOTHING, NOTHING);
	run_until_client_closed(1);
	CHECK_NULL(client.peer);
	end_client();
}

static void on_frame_can_close(void)
{
	start_client(SEND, CLOSE, NOTHING);
	run_until_client_closed(1);
	CHECK_INT_EQ(client.frames, 1);
	end_client();
}

static void on_frame_can_free_the_peer(void)
{
	start_client(SEND, FREE_PEER, NOTHING);
	run_until_client_closed(1);
	CHECK_INT_EQ(client.frames, 1);
	end_client();
}

static void on_close_can_free_the_peer(void)
{
	start_client(SEND, CLOSE, FREE_PEER);
	run_until_client_closed(1);
	CHECK_NULL(client.peer);
	end_client();
}

static void on_close_of_a_broken_connection_can_free_the_peer(void)
{
	start_client(NOTHING, NOTHING, FREE_PEER);
	run_until_opened(2);
	net_close(fix.server_conn);
	run_until_client_closed(1);
	CHECK_ERR(client.close_err, ERR_CLOSED);
	CHECK_NULL(client.peer);
	end_client();
}

static void callbacks_can_free_the_listener(void)
{
	static const enum action actions[3][3] = {
		{FREE_LISTENER, NOTHING, NOTHING},
		{SEND, FREE_LISTENER, NOTHING},
		{SEND, CLOSE, FREE_LISTENER},
	};

	for (unsigned i = 0; i < 3; i++) {
		start_client(actions[i][0], actions[i][1], actions[i][2]);
		run_until_client_closed(1);
		CHECK_NULL(fix.server);
		end_client();
		net_fix_serve("127.0.0.1:0");
	}
}

static struct net_listener *suicidal;
static unsigned accepted;

static void free_own_listener(void *ctx, struct net_conn *c)
{
	struct net_listener *s = suicidal;

	(void)ctx;
	(void)c;
	accepted++;
	suicidal = NULL;
	net_listener_free(s);
}

static bool is_suicidal_gone(void *ctx)
{
	(void)ctx;
	return !suicidal;
}

static void ignore(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)c;
	(void)f;
}

static void an_accept_can_free_its_listener(void)
{
	const struct net_handler h = {.on_open = free_own_listener, .on_frame = ignore};
	struct net_peer *p[3];

	CHECK_OK(net_listen(fix.loop, "127.0.0.1:0", &h, &suicidal, NULL));
	accepted = 0;
	for (unsigned i = 0; i < 3; i++)
		CHECK_OK(net_peer_new(fix.loop, net_listener_address(suicidal), &h, &p[i]));
	for (unsigned i = 0; i < 3; i++)
		net_peer_free(p[i]); /* one that never connected */
	for (unsigned i = 0; i < 3; i++) {
		const struct net_handler quiet = {.on_frame = ignore};

		CHECK_OK(net_peer_new(fix.loop, net_listener_address(suicidal), &quiet, &p[i]));
	}
	net_fix_run_until(is_suicidal_gone, NULL);
	CHECK_INT_EQ(accepted, 1);
	for (unsigned i = 0; i < 3; i++)
		net_peer_free(p[i]);
}

/* ---- on_open comes before calls that waited ---- */

static void greetings_precede_waiting_calls(void)
{
	start_client(SEND, NOTHING, NOTHING);
	net_fix_start(call_echo, client.peer); /* waits: nothing is connected yet */
	net_fix_run_fibers();
	CHECK_INT_EQ(client.frames, 1); /* the push was answered before the call */
	CHECK_INT_EQ(fix.frames, 2);
	end_client();
}

static void connection_ids_are_unique(void)
{
	int other = net_fix_raw();
	uint64_t first;

	run_until_opened(2);
	first = net_conn_id(fix.server_conn);
	close(other);
	other = net_fix_raw();
	run_until_opened(3);
	CHECK_TRUE(net_conn_id(fix.server_conn) > first);
	close(other);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(a_corrupt_frame_closes_its_connection_only),
	TEST(an_oversized_length_closes_its_connection_only),
	TEST(an_absurd_length_closes_its_connection_only),
	TEST(a_short_length_closes_its_connection_only),
	TEST(another_version_closes_its_connection_only),
	TEST(text_of_another_protocol_closes_its_connection_only),
	TEST(good_frames_before_a_bad_one_are_handled),
	TEST(a_truncated_frame_is_never_delivered),
	TEST(a_reset_is_a_closed_connection),
	TEST(random_bytes_hurt_nobody),
	TEST(a_frame_may_come_byte_by_byte),
	TEST(promised_bytes_that_do_not_come_block_nobody),
	TEST(without_descriptors_an_accept_is_refused_and_others_go_on),
	TEST(without_descriptors_a_peer_tries_later),
	TEST(frames_of_a_turn_leave_in_one_segment),
	TEST(the_send_queue_is_bounded),
	TEST(a_reader_that_vanishes_drops_the_queue),
	TEST(what_was_sent_before_a_close_arrives),
	TEST(nothing_is_delivered_behind_a_close),
	TEST(a_freed_listener_has_closed_its_connections),
	TEST(a_peer_hears_what_is_pushed),
	TEST(on_open_can_close),
	TEST(on_open_can_free_the_peer),
	TEST(on_frame_can_close),
	TEST(on_frame_can_free_the_peer),
	TEST(on_close_can_free_the_peer),
	TEST(on_close_of_a_broken_connection_can_free_the_peer),
	TEST(callbacks_can_free_the_listener),
	TEST(an_accept_can_free_its_listener),
	TEST(greetings_precede_waiting_calls),
	TEST(connection_ids_are_unique),
};
CHECK_MAIN(tests)
