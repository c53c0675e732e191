/* Anything may arrive at the port: it is answered with an error or the connection is closed; the node
 * goes on. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "consensus/paxos.h"
#include "kv/node_wire.h"
#include "kv/snapshot_wire.h"
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

static int dial(struct kvf *k, uint32_t id)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct timeval patience = {.tv_sec = 5};
	const char *colon = strrchr(k->nodes[id].address, ':');
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_port = htons((uint16_t)atoi(colon + 1));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		abort();
	return fd;
}

static void send_bytes(int fd, struct slice s)
{
	while (s.len) {
		ssize_t n = send(fd, s.p, s.len, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* closed on us: that is an answer too */
		s.p += n;
		s.len -= (size_t)n;
	}
}

/* True when the node closes the connection. */
static bool is_closed(int fd)
{
	uint8_t b[4096];
	ssize_t n;

	while ((n = recv(fd, b, sizeof(b), 0)) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

static void check_alive(struct kvf *k)
{
	uint8_t key[64];

	for (uint32_t id = 1; id <= k->count; id++) {
		struct kv_node_status s;

		CHECK_OK(kvf_status(k, id, &s));
		kv_node_status_release(&s);
	}
	CHECK_OK(kvf_put(k, kvf_key(k, 1, "alive", key), slice_str("yes")));
}

static void random_bytes(struct buf *b, size_t n)
{
	buf_reset(b);
	for (size_t i = 0; i < n; i++)
		buf_add_u8(b, (uint8_t)rand());
}

/* ---- what is no frame ---- */

static void noise_story(struct kvf *k)
{
	struct buf b = BUF_INIT;

	CHECK_OK(kvf_init(k, 1, 3));
	srand(1);
	for (unsigned i = 0; i < 50; i++) {
		int fd = dial(k, 1 + i % 3);

		random_bytes(&b, 1 + (size_t)rand() % 5000);
		b.data[0] |= 0x80; /* an absurd length */
		send_bytes(fd, buf_slice(&b));
		shutdown(fd, SHUT_WR);
		CHECK_TRUE(is_closed(fd));
		close(fd);
	}
	check_alive(k);
	buf_release(&b);
}

static void noise_gets_the_connection_closed(void)
{
	kvf_run(&f, noise_story);
}

/* ---- frames whose body is garbage ---- */

static void garbage_bodies_story(struct kvf *k)
{
	struct buf b = BUF_INIT, frame = BUF_INIT;

	CHECK_OK(kvf_init(k, 1, 3));
	CHECK_TRUE(kvf_leader(k, 1) != 0);
	srand(2);
	for (unsigned i = 0; i < 600; i++) {
		int fd = dial(k, 1 + i % 3);

		for (unsigned j = 0; j < 4; j++) {
			random_bytes(&b, (size_t)rand() % 300);
			buf_reset(&frame);
			net_frame_encode(&frame, (uint8_t)(rand() % 40), 0, (uint64_t)rand(),
					 buf_slice(&b));
			send_bytes(fd, buf_slice(&frame));
		}
		close(fd);
	}
	check_alive(k);
	buf_release(&b);
	buf_release(&frame);
}

static void garbage_bodies(void)
{
	kvf_run(&f, garbage_bodies_story);
}

/* Calls are answered, each with its id. */
static void calls_story(struct kvf *k)
{
	static const uint8_t types[] = {KV_EXEC,     KV_READ,	  KV_INIT,   KV_SNAPSHOT,
					KV_HAND_OVER, KV_DESCRIBE, KV_CHECKSUM, KV_ADMIN};
	struct buf b = BUF_INIT;

	CHECK_OK(kvf_init(k, 1, 3));
	for (unsigned i = 0; i < sizeof(types); i++) {
		CHECK_ERR(kvf_call(k, 1, types[i], slice_str("garbage"), NS_PER_S, NULL, NULL),
			  ERR_PROTO);
		CHECK_ERR(kvf_call(k, 1, types[i], (struct slice){0}, NS_PER_S, NULL, NULL),
			  ERR_PROTO);
	}
	CHECK_ERR(kvf_call(k, 1, 99, slice_str("x"), NS_PER_S, NULL, NULL), ERR_UNSUPPORTED);
	kv_group_request_encode(&b, 77, slice_str("x"));
	CHECK_ERR(kvf_call(k, 1, KV_EXEC, buf_slice(&b), NS_PER_S, NULL, NULL), ERR_NO_GROUP);
	CHECK_ERR(kvf_call(k, 1, KV_CHECKSUM, buf_slice(&b), NS_PER_S, NULL, NULL), ERR_NO_GROUP);
	buf_reset(&b);
	kv_group_request_encode(&b, 1, slice_str("no command"));
	CHECK_ERR(kvf_call(k, kvf_leader(k, 1), KV_EXEC, buf_slice(&b), NS_PER_S, NULL, NULL),
		  ERR_PROTO);
	check_alive(k);
	buf_release(&b);
}

static void malformed_calls_are_answered(void)
{
	kvf_run(&f, calls_story);
}

/* What KV_ADMIN proposes is executed on every replica: as nothing, when it is none. */
static void admin_story(struct kvf *k)
{
	struct buf b = BUF_INIT, noise = BUF_INIT;

	CHECK_OK(kvf_init(k, 1, 3));
	srand(3);
	for (unsigned i = 0; i < 50; i++) {
		random_bytes(&noise, 1 + (size_t)rand() % 200);
		noise.data[0] = (uint8_t)(i % 16); /* a number, as a kind would be */
		buf_reset(&b);
		kv_group_request_encode(&b, 1, buf_slice(&noise));
		(void)kvf_call(k, kvf_leader(k, 1), KV_ADMIN, buf_slice(&b), NS_PER_S, NULL, NULL);
	}
	check_alive(k);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	buf_release(&b);
	buf_release(&noise);
}

static void malformed_commands_are_nothing_everywhere(void)
{
	kvf_run(&f, admin_story);
}

/* ---- strangers among the nodes ---- */

static void frame_of(struct buf *out, uint8_t type, struct slice body)
{
	buf_reset(out);
	net_frame_encode(out, type, 0, 0, body);
}

static void hello_of(struct kvf *k, uint32_t from, uint32_t to, struct buf *out)
{
	struct kv_hello h = {.from = from, .to = to, .boot = 5, .birth = 6};
	struct buf b = BUF_INIT;

	memcpy(h.cluster, k->layout.cluster, sizeof(h.cluster));
	kv_hello_encode(&b, &h);
	frame_of(out, KV_NODE_HELLO, buf_slice(&b));
	buf_release(&b);
}

static void check_closed_after(struct kvf *k, const struct buf *frame)
{
	int fd = dial(k, 1);

	send_bytes(fd, buf_slice(frame));
	CHECK_TRUE(is_closed(fd));
	close(fd);
}

static void strangers_story(struct kvf *k)
{
	struct paxos_message m = {.type = PAXOS_PREPARE,
				  .group = 1,
				  .from = 2,
				  .to = 1,
				  .epoch = 1,
				  .ballot = PAXOS_BALLOT(1000, 2)};
	struct buf body = BUF_INIT, frame = BUF_INIT;

	CHECK_OK(kvf_init(k, 1, 3));
	CHECK_TRUE(kvf_leader(k, 1) != 0);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	paxos_message_encode(&m, &body);
	frame_of(&frame, KV_PAXOS, buf_slice(&body));
	check_closed_after(k, &frame); /* without a greeting */
	frame_of(&frame, KV_TXN, slice_str("x"));
	check_closed_after(k, &frame);
	hello_of(k, 9, 1, &frame); /* not in the layout */
	check_closed_after(k, &frame);
	hello_of(k, 1, 1, &frame); /* itself */
	check_closed_after(k, &frame);
	hello_of(k, 2, 3, &frame); /* takes it for another */
	check_closed_after(k, &frame);
	hello_of(k, 2, 1, &frame); /* another directory than node 2 has */
	check_closed_after(k, &frame);
	k->layout.cluster[0] ^= 1;
	hello_of(k, 2, 1, &frame);
	k->layout.cluster[0] ^= 1;
	check_closed_after(k, &frame);
	frame_of(&frame, KV_NODE_HELLO, slice_str("hello"));
	check_closed_after(k, &frame);
	buf_reset(&frame);
	net_frame_encode(&frame, KV_STATUS, NET_FLAG_REPLY, 1, (struct slice){0});
	check_closed_after(k, &frame); /* an answer to no question */
	check_alive(k);
	buf_release(&body);
	buf_release(&frame);
}

static void strangers_are_shown_the_door(void)
{
	kvf_run(&f, strangers_story);
}

/* Snapshots are for nodes. */
static void snapshot_story(struct kvf *k)
{
	struct kv_snapshot_request q = {.group = 1};
	struct buf b = BUF_INIT;

	CHECK_OK(kvf_init(k, 1, 3));
	kv_snapshot_request_encode(&b, &q);
	CHECK_ERR(kvf_call(k, 1, KV_SNAPSHOT, buf_slice(&b), NS_PER_S, NULL, NULL), ERR_ACCESS);
	buf_release(&b);
}

static void snapshots_are_for_nodes(void)
{
	kvf_run(&f, snapshot_story);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, noise_gets_the_connection_closed),
	CHECK_TEST_WITH(setup, teardown, garbage_bodies),
	CHECK_TEST_WITH(setup, teardown, malformed_calls_are_answered),
	CHECK_TEST_WITH(setup, teardown, malformed_commands_are_nothing_everywhere),
	CHECK_TEST_WITH(setup, teardown, strangers_are_shown_the_door),
	CHECK_TEST_WITH(setup, teardown, snapshots_are_for_nodes),
};
CHECK_MAIN(tests)
