#include "net/net_peer.h"

#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define CONNECT_TIMEOUT_NS (1 * NS_PER_S)
#define WAIT_NS_MIN	   (10 * NS_PER_MS)
#define WAIT_NS_MAX	   (500 * NS_PER_MS)

/* The next attempt: after a time from the upper half of wait_ns, so that peers that lost the same
 * server do not come back together. */
static void wait_to_connect(struct net_peer *p)
{
	struct env *e = peer_env(p);
	uint64_t half = p->wait_ns / 2;

	CHECK(!p->conn && !p->connecting);
	env_timer_set(e, &p->timer, env_mono_ns(e) + half + env_random(e) % (half + 1));
	p->wait_ns = p->wait_ns * 2 < WAIT_NS_MAX ? p->wait_ns * 2 : WAIT_NS_MAX;
}

static void connect_now(struct net_peer *p)
{
	struct env *e = peer_env(p);

	CHECK(!p->conn && !p->connecting);
	if (conn_connect(&p->owner, &p->to, p->address, &p->connecting))
		wait_to_connect(p);
	else
		env_timer_set(e, &p->timer, env_mono_ns(e) + CONNECT_TIMEOUT_NS);
}

static void on_timer(struct env_timer *t)
{
	struct net_peer *p = container_of(t, struct net_peer, timer);
	struct net_conn *c = p->connecting;

	if (!c) {
		connect_now(p);
		return;
	}
	p->connecting = NULL;
	conn_abort(c);
	wait_to_connect(p);
}

/* ---- the connection's calls ---- */

static void peer_opened(struct conn_owner *o, struct net_conn *c)
{
	struct net_peer *p = container_of(o, struct net_peer, owner);

	CHECK(p->connecting == c && !p->conn);
	p->connecting = NULL;
	p->conn = c;
	env_timer_cancel(peer_env(p), &p->timer);
}

static void peer_ready(struct conn_owner *o, struct net_conn *c)
{
	(void)c;
	calls_send_waiting(container_of(o, struct net_peer, owner));
}

static bool peer_frame(struct conn_owner *o, const struct net_frame *f)
{
	if (!(f->flags & NET_FLAG_REPLY))
		return false;
	calls_take_reply(container_of(o, struct net_peer, owner), f);
	return true;
}

static void peer_broken(struct conn_owner *o, struct net_conn *c)
{
	struct net_peer *p = container_of(o, struct net_peer, owner);

	if (p->freed)
		return;
	if (c == p->connecting) {
		p->connecting = NULL;
		wait_to_connect(p);
		return;
	}
	CHECK(c == p->conn);
	p->conn = NULL;
	calls_fail_sent(p);
	/* A server that takes connections and drops them must not be asked in a tight loop. */
	if (conn_was_healthy(c)) {
		p->wait_ns = WAIT_NS_MIN;
		connect_now(p);
	} else {
		wait_to_connect(p);
	}
}

/* ---- the user's calls ---- */

int net_peer_new(struct loop *l, const char *address, const struct net_handler *h,
		 struct net_peer **out)
{
	struct address to;
	struct net_peer *p;

	if (strlen(address) >= ADDRESS_SIZE_MAX || address_parse(address, &to, NULL) ||
	    (!to.is_unix && address_port(&to) == 0))
		return ERR_INVAL;
	p = mem_must_alloc(sizeof(*p));
	conn_owner_init(&p->owner, l, h);
	p->owner.opened = peer_opened;
	p->owner.ready = peer_ready;
	p->owner.frame = peer_frame;
	p->owner.broken = peer_broken;
	p->to = to;
	snprintf(p->address, sizeof(p->address), "%s", address);
	p->timer.fire = on_timer;
	p->wait_ns = WAIT_NS_MIN;
	calls_init(p);
	connect_now(p);
	*out = p;
	return 0;
}

void net_peer_free(struct net_peer *p)
{
	if (!p)
		return;
	p->freed = true;
	p->conn = NULL;
	p->connecting = NULL;
	env_timer_cancel(peer_env(p), &p->timer);
	calls_fail_sent(p);
	calls_fail_waiting(p);
	conn_owner_release(&p->owner);
	CHECK(p->call_count == 0 && !p->timer.armed);
	mem_free(p);
}

struct net_conn *net_peer_conn(struct net_peer *p)
{
	return p->conn;
}

const char *net_peer_address(const struct net_peer *p)
{
	return p->address;
}

int net_peer_send(struct net_peer *p, uint8_t type, const struct slice *parts, unsigned n)
{
	return p->conn ? net_send(p->conn, type, 0, 0, parts, n) : ERR_UNREACHABLE;
}
