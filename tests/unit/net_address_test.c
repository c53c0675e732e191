/* Address texts, listeners on them, name resolution. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "net/address.h"
#include "tests/lib/check.h"
#include "tests/lib/net_fixture.h"

static char dir[64];
static char path[96];	  /* of a socket in dir */
static char unix_at[128]; /* its address */

static void setup(void)
{
	net_fix_setup();
	snprintf(dir, sizeof(dir), "/tmp/paxfs-net-XXXXXX");
	CHECK_NOT_NULL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(unix_at, sizeof(unix_at), "unix:%s", path);
}

static void teardown(void)
{
	net_fix_teardown();
	unlink(path);
	rmdir(dir);
}

static void good_addresses_keep_their_text(void)
{
	static const char *const good[] = {"127.0.0.1:7000", "0.0.0.0:0", "255.255.255.255:65535",
					   "[::1]:80", "[2001:db8::ff]:1"};
	char text[ADDRESS_SIZE_MAX];
	struct address a;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_OK(address_parse(good[i], &a, NULL));
		CHECK_FALSE(a.is_unix);
		address_format(&a.sock.any, text);
		CHECK_STR_EQ(text, good[i]);
	}
	CHECK_OK(address_parse("[::1]:80", &a, NULL));
	CHECK_INT_EQ(address_port(&a), 80);
	CHECK_OK(address_parse("unix:/a/b", &a, NULL));
	CHECK_TRUE(a.is_unix);
	CHECK_STR_EQ(a.sock.un.sun_path, "/a/b");
}

static void bad_addresses_are_refused_with_their_text(void)
{
	static const char *const bad[] = {
		"",
		":",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:65536",
		":7000",
		"127.0.0.1:-1",
		"127.0.0.1:+1",
		"127.0.0.1: 1",
		"127.0.0.1:1x",
		"::1:80",
		"[::1]",
		"[::1:80",
		"[]:80",
		"[127.0.0.1]:80",
		"1.2.3:80",
		"1.2.3.4.5:80",
		"host:80",
		"unix:",
		"unix:relative",
		"UNIX:/path",
		"127.0.0.1:99999999999",
	};
	struct address a = {.is_unix = true};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct msg m = {.text = ""};

		CHECK_ERR(address_parse(bad[i], &a, &m), ERR_INVAL);
		CHECK_CONTAINS(m.text, bad[i]);
	}
	CHECK_TRUE(a.is_unix);
}

static void long_texts_are_refused(void)
{
	char text[2000];
	struct address a;
	struct msg m;

	memset(text, 'a', sizeof(text));
	memcpy(text, "unix:/", 6);
	text[sizeof(text) - 1] = '\0';
	CHECK_ERR(address_parse(text, &a, &m), ERR_INVAL);
	memset(text, '1', 10);
	memcpy(text + sizeof(text) - 4, ":80", 4);
	CHECK_ERR(address_parse(text, &a, &m), ERR_INVAL);
	CHECK_ERR(net_resolve(text, text, &m), ERR_INVAL);

	snprintf(text, sizeof(text), "unix:/%0106d", 0); /* 107 bytes: the most */
	CHECK_OK(address_parse(text, &a, &m));
	snprintf(text, sizeof(text), "unix:/%0107d", 0);
	CHECK_ERR(address_parse(text, &a, &m), ERR_INVAL);
}

static void resolves_names_and_passes_numbers(void)
{
	struct msg m = {.text = ""};
	char out[256];

	CHECK_OK(net_resolve("localhost:7000", out, &m));
	CHECK_STR_EQ(out, "127.0.0.1:7000");
	CHECK_OK(net_resolve("[::0001]:80", out, &m));
	CHECK_STR_EQ(out, "[::1]:80");
	CHECK_OK(net_resolve("unix:/x/y", out, &m));
	CHECK_STR_EQ(out, "unix:/x/y");
	CHECK_ERR(net_resolve("localhost", out, &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, "localhost");
	CHECK_ERR(net_resolve("unix:x", out, &m), ERR_INVAL);
	CHECK_ERR(net_resolve("[localhost]:80", out, &m), ERR_INVAL);
	CHECK_ERR(net_resolve("bad..name:80", out, &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, "bad..name:80");
	CHECK_STR_EQ(out, "unix:/x/y");
}

/* ---- listeners ---- */

static void ignore(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)c;
	(void)f;
}

static const struct net_handler handler = {.on_frame = ignore};

static int try_listen(const char *address, struct msg *m)
{
	struct net_listener *s = NULL;
	int err;

	m->text[0] = '\0';
	err = net_listen(fix.loop, address, &handler, &s, m);
	if (err == 0)
		net_listener_free(s);
	else
		CHECK_NULL(s);
	return err;
}

static void a_listener_names_its_real_port(void)
{
	CHECK_TRUE(strncmp(fix.address, "127.0.0.1:", 10) == 0);
	CHECK_TRUE(atoi(fix.address + 10) > 0);
	CHECK_STR_EQ(fix.address, net_listener_address(fix.server));
}

static void a_port_in_use_is_said_so(void)
{
	struct msg m;

	CHECK_ERR(try_listen(fix.address, &m), ERR_ADDR_IN_USE);
	CHECK_CONTAINS(m.text, fix.address);
	CHECK_CONTAINS(m.text, "in use");
}

static void addresses_of_others_are_refused(void)
{
	struct msg m;

	CHECK_ERR(try_listen("192.0.2.1:0", &m), ERR_INVAL); /* TEST-NET-1: nobody's */
	CHECK_CONTAINS(m.text, "192.0.2.1:0");
	CHECK_ERR(try_listen("nonsense", &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, "nonsense");
}

static void a_unix_socket_in_use_is_said_so(void)
{
	struct net_listener *s = NULL;
	struct msg m;

	CHECK_OK(net_listen(fix.loop, unix_at, &handler, &s, &m));
	CHECK_STR_EQ(net_listener_address(s), unix_at);
	CHECK_ERR(try_listen(unix_at, &m), ERR_ADDR_IN_USE);
	CHECK_CONTAINS(m.text, unix_at);
	CHECK_INT_EQ(access(path, F_OK), 0);
	net_listener_free(s);
	CHECK_TRUE(access(path, F_OK) != 0);
}

static void a_stale_unix_socket_is_replaced(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct msg m;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	CHECK_INT_EQ(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	CHECK_INT_EQ(listen(fd, 1), 0);
	CHECK_ERR(try_listen(unix_at, &m), ERR_ADDR_IN_USE);
	close(fd); /* as after kill -9: the file stays */
	CHECK_INT_EQ(access(path, F_OK), 0);
	CHECK_OK(try_listen(unix_at, &m));
}

static void a_file_that_is_no_socket_is_left_alone(void)
{
	FILE *f = fopen(path, "w");
	struct msg m;

	CHECK_NOT_NULL(f);
	fclose(f);
	CHECK_ERR(try_listen(unix_at, &m), ERR_INVAL);
	CHECK_CONTAINS(m.text, "no socket");
	CHECK_INT_EQ(access(path, F_OK), 0);
}

static void a_missing_directory_is_an_error(void)
{
	struct msg m;

	CHECK_ERR(try_listen("unix:/nonexistent/dir/sock", &m), ERR_IO);
	CHECK_CONTAINS(m.text, "/nonexistent/dir/sock");
}

/* ---- the same frames over every kind of address ---- */

static void call_echo(void *arg)
{
	struct slice body = slice_str("over any address");
	struct net_peer *p = arg;
	struct buf reply = BUF_INIT;

	CHECK_OK(net_call(p, FIX_ECHO, &body, 1, net_fix_in_ms(30000), &reply));
	CHECK_SLICE_EQ(buf_slice(&reply), body);
	buf_release(&reply);
}

static void echo_over(const char *address)
{
	struct net_peer *p;

	net_fix_stop_server();
	net_fix_serve(address);
	p = net_fix_peer();
	net_fix_start(call_echo, p);
	net_fix_run_fibers();
	CHECK_NOT_NULL(net_peer_conn(p));
	CHECK_STR_EQ(net_conn_remote(net_peer_conn(p)), fix.address);
	CHECK_TRUE(net_conn_id(net_peer_conn(p)) > 0);
	net_peer_free(p);
}

static void calls_go_over_unix_sockets(void)
{
	echo_over(unix_at);
	CHECK_STR_EQ(fix.address, unix_at);
}

static int raw;

static void vanish_and_send(void *arg)
{
	struct slice body = slice_str("too late");

	(void)arg;
	close(raw);
	CHECK_OK(net_send(fix.server_conn, 1, 0, 0, &body, 1));
}

static bool has_opened(void *ctx)
{
	(void)ctx;
	return fix.opened == 1;
}

static bool has_closed(void *ctx)
{
	(void)ctx;
	return fix.closed == 1;
}

/* The write at the end of that turn meets EPIPE, and would raise SIGPIPE. */
static void a_write_to_a_broken_connection_closes_it(void)
{
	struct address a;

	net_fix_stop_server();
	net_fix_serve(unix_at);
	CHECK_OK(address_parse(unix_at, &a, NULL));
	raw = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_INT_EQ(connect(raw, &a.sock.any, sizeof(a.sock.un)), 0);
	net_fix_run_until(has_opened, NULL);
	net_fix_start(vanish_and_send, NULL);
	net_fix_run_until(has_closed, NULL);
	CHECK_ERR(fix.close_err, ERR_CLOSED);
}

static bool has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct address a;
	bool has;

	CHECK_OK(address_parse("[::1]:0", &a, NULL));
	has = fd >= 0 && bind(fd, &a.sock.any, sizeof(a.sock.storage)) == 0;
	if (fd >= 0)
		close(fd);
	return has;
}

static void calls_go_over_ipv6(void)
{
	if (!has_ipv6()) {
		printf("    no IPv6 here\n");
		return;
	}
	echo_over("[::1]:0");
}

static void a_peer_refuses_bad_addresses(void)
{
	struct net_peer *p = NULL;

	CHECK_ERR(net_peer_new(fix.loop, "host:1", &handler, &p), ERR_INVAL);
	CHECK_ERR(net_peer_new(fix.loop, "127.0.0.1:0", &handler, &p), ERR_INVAL);
	CHECK_ERR(net_peer_new(fix.loop, "unix:x", &handler, &p), ERR_INVAL);
	CHECK_NULL(p);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(good_addresses_keep_their_text),
	TEST(bad_addresses_are_refused_with_their_text),
	TEST(long_texts_are_refused),
	TEST(resolves_names_and_passes_numbers),
	TEST(a_listener_names_its_real_port),
	TEST(a_port_in_use_is_said_so),
	TEST(addresses_of_others_are_refused),
	TEST(a_unix_socket_in_use_is_said_so),
	TEST(a_stale_unix_socket_is_replaced),
	TEST(a_file_that_is_no_socket_is_left_alone),
	TEST(a_missing_directory_is_an_error),
	TEST(calls_go_over_unix_sockets),
	TEST(a_write_to_a_broken_connection_closes_it),
	TEST(calls_go_over_ipv6),
	TEST(a_peer_refuses_bad_addresses),
};
CHECK_MAIN(tests)
