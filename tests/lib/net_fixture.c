#include "tests/lib/net_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/list.h"
#include "tests/lib/check.h"

struct net_fix fix;

static struct loop_turn turn;
static struct env_timer watchdog;
static bool (*until_holds)(void *ctx);
static void *until_ctx;
static unsigned fds_before;

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	CHECK_NOT_NULL(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- the server ---- */

static void reply(struct net_conn *c, const struct net_frame *f, uint64_t id)
{
	net_send(c, f->type, NET_FLAG_REPLY, id, &f->body, 1);
}

static void server_open(void *ctx, struct net_conn *c)
{
	(void)ctx;
	fix.opened++;
	fix.server_conn = c;
}

static void server_close(void *ctx, struct net_conn *c, int err)
{
	(void)ctx;
	fix.closed++;
	fix.close_err = err;
	if (fix.server_conn == c)
		fix.server_conn = NULL;
	if (fix.held == c)
		fix.held = NULL;
}

static void server_frame(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	fix.frames++;
	switch (f->type) {
	case FIX_ECHO:
		reply(c, f, f->id);
		break;
	case FIX_CLOSE:
		net_close(c);
		break;
	case FIX_HOLD:
		fix.held = c;
		fix.held_id = f->id;
		break;
	case FIX_RELEASE:
		if (fix.held)
			reply(fix.held, f, fix.held_id);
		reply(c, f, f->id);
		break;
	case FIX_PUSH:
		net_send(c, f->type, 0, 0, &f->body, 1);
		break;
	case FIX_STRAY:
		reply(c, f, f->id + 1000000);
		reply(c, f, f->id);
		reply(c, f, f->id);
		break;
	case FIX_FREE:
		net_fix_stop_server();
		break;
	default:
		break;
	}
}

void net_fix_serve(const char *address)
{
	const struct net_handler h = {
		.on_open = server_open, .on_frame = server_frame, .on_close = server_close};
	struct msg m = {.text = ""};
	int err = net_listen(fix.loop, address, &h, &fix.server, &m);

	if (err)
		CHECK_FAIL("%s", m.text);
	snprintf(fix.address, sizeof(fix.address), "%s", net_listener_address(fix.server));
}

void net_fix_stop_server(void)
{
	struct net_listener *s = fix.server;

	fix.server = NULL;
	net_listener_free(s);
}

/* ---- running ---- */

static void on_watchdog(struct env_timer *t)
{
	(void)t;
	fprintf(stderr, "the test waits for something that does not come\n");
	abort();
}

static void on_turn(struct loop_turn *t)
{
	(void)t;
	if (until_holds && until_holds(until_ctx))
		loop_stop(fix.loop);
}

uint64_t net_fix_now(void)
{
	return env_mono_ns(loop_env(fix.loop));
}

uint64_t net_fix_in_ms(uint64_t ms)
{
	return net_fix_now() + ms * NS_PER_MS;
}

void net_fix_run_until(bool (*holds)(void *ctx), void *ctx)
{
	watchdog.fire = on_watchdog;
	env_timer_set(loop_env(fix.loop), &watchdog, net_fix_now() + NET_FIX_LIMIT_NS);
	until_holds = holds;
	until_ctx = ctx;
	loop_run(fix.loop);
	until_holds = NULL;
	env_timer_cancel(loop_env(fix.loop), &watchdog);
}

static bool no_fibers(void *ctx)
{
	(void)ctx;
	return fiber_count(loop_fibers(fix.loop)) == 0;
}

void net_fix_run_fibers(void)
{
	net_fix_run_until(no_fibers, NULL);
}

void net_fix_start(fiber_fn *fn, void *arg)
{
	CHECK_OK(fiber_start(loop_fibers(fix.loop), fn, arg));
}

/* ---- setup ---- */

/* The first loop of a process opens descriptors that libuv keeps. */
static void warm_up(void)
{
	struct loop *l = NULL;

	CHECK_OK(loop_new(&l, NULL));
	loop_free(l);
}

void net_fix_setup(void)
{
	memset(&fix, 0, sizeof(fix));
	warm_up();
	fds_before = count_fds();
	CHECK_OK(loop_new(&fix.loop, NULL));
	turn.run = on_turn;
	loop_on_turn(fix.loop, &turn);
	net_fix_serve("127.0.0.1:0");
}

void net_fix_teardown(void)
{
	net_fix_stop_server();
	loop_free(fix.loop);
	fix.loop = NULL;
	if (check_failures() == 0 && count_fds() != fds_before) {
		fprintf(stderr, "the test leaks descriptors: %u, were %u\n", count_fds(),
			fds_before);
		abort();
	}
}

static void ignore_frame(void *ctx, struct net_conn *c, const struct net_frame *f)
{
	(void)ctx;
	(void)c;
	(void)f;
}

struct net_peer *net_fix_peer(void)
{
	const struct net_handler h = {.on_frame = ignore_frame};
	struct net_peer *p = NULL;

	CHECK_OK(net_peer_new(fix.loop, fix.address, &h, &p));
	return p;
}

int net_fix_raw(void)
{
	const char *port = strrchr(fix.address, ':');
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK_TRUE(fd >= 0 && port != NULL);
	to.sin_port = htons((uint16_t)atoi(port + 1));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_INT_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}
