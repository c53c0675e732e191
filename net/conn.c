#include "net/conn.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/frame.h"
#include "net/net_stats.h"
#include "net/stream.h"

#define HEALTHY_AGE_NS	     (100 * NS_PER_MS)
#define BAD_FRAME_LOGS_PER_S 5u

_Static_assert(NET_SEND_QUEUE_MAX > FRAME_SIZE_MAX + 1024u, "an empty queue takes any frame");
_Static_assert(NET_SEND_QUEUE_MAX <= UINT32_MAX / 2, "uv buffer lengths are 32 bits on the way");

enum conn_state {
	CONN_CONNECTING, /* or accepted and not yet opened */
	CONN_OPEN,	 /* the only state in which the user may send */
	CONN_CLOSING,	 /* net_close() was called; on_close is due */
	CONN_DEAD,	 /* on_close was called, or never will be; owner is NULL */
};

struct net_conn {
	enum conn_state state;
	struct conn_owner *owner;
	LIST_ENTRY(net_conn) link; /* of the owner's, while not dead */
	struct loop *loop;
	struct stream *stream; /* alive as long as the connection's memory */
	struct net_handler handler;
	uint64_t id;
	void *user;
	uint64_t opened_ns;
	bool had_frame;
	char remote[ADDRESS_SIZE_MAX];
};

static _Atomic uint64_t last_id;

/* ---- ends ---- */

static void leave_owner(struct net_conn *c)
{
	CHECK(c->state != CONN_DEAD && c->owner != NULL);
	c->state = CONN_DEAD;
	LIST_REMOVE(c, link);
	c->owner = NULL;
}

/* The last word to the user about an opened connection. */
static void deliver_close(struct net_conn *c, int err)
{
	CHECK(c->state == CONN_OPEN || c->state == CONN_CLOSING);
	leave_owner(c);
	net_stat_add(NET_STAT_DISCONNECTS, 1);
	loop__kick(c->loop);
	if (c->handler.on_close)
		c->handler.on_close(c->handler.ctx, c, err);
}

void conn_abort(struct net_conn *c)
{
	CHECK(c->state == CONN_CONNECTING);
	leave_owner(c);
	stream_close(c->stream);
}

void conn_owner_release(struct conn_owner *o)
{
	struct net_conn *c;

	while ((c = LIST_FIRST(&o->conns))) {
		if (c->state == CONN_CONNECTING) {
			conn_abort(c);
			continue;
		}
		stream_close(c->stream);
		deliver_close(c, ERR_CLOSED);
	}
}

void net_close(struct net_conn *c)
{
	if (c->state != CONN_OPEN)
		return;
	c->state = CONN_CLOSING;
	stream_close(c->stream);
	c->owner->broken(c->owner, c);
}

/* ---- the stream's calls ---- */

static void conn_on_up(void *ctx)
{
	struct net_conn *c = ctx;

	net_stat_add(NET_STAT_CONNECTS, 1);
	conn_open(c);
}

static void conn_on_down(void *ctx, int err)
{
	struct net_conn *c = ctx;
	struct conn_owner *o = c->owner;

	if (c->state == CONN_CONNECTING) {
		leave_owner(c);
		o->broken(o, c);
		return;
	}
	CHECK(c->state == CONN_OPEN);
	o->broken(o, c);
	deliver_close(c, err);
}

static void conn_on_gone(void *ctx)
{
	struct net_conn *c = ctx;

	if (c->state == CONN_CLOSING)
		deliver_close(c, ERR_CLOSED);
	CHECK(c->state == CONN_DEAD);
	mem_free(c);
}

static void refuse_frame(struct net_conn *c, int err)
{
	static struct logger_limit limit;

	net_stat_add(NET_STAT_BAD_FRAMES, 1);
	logger_write_limited(&limit, BAD_FRAME_LOGS_PER_S, LOG_WARN_,
			     "bad frame from %s: %s; connection closed", c->remote, err_text(err));
}

static void handle_frame(struct net_conn *c, const struct net_frame *f)
{
	struct conn_owner *o = c->owner;

	c->had_frame = true;
	if (o->frame && o->frame(o, f))
		return;
	c->handler.on_frame(c->handler.ctx, c, f);
}

static long conn_on_bytes(void *ctx, struct slice in, size_t *want)
{
	struct net_conn *c = ctx;
	uint64_t frames = 0;
	size_t off = 0;
	long n = 0;

	while (c->state == CONN_OPEN) {
		struct slice rest = slice_of(in.p + off, in.len - off);
		struct net_frame f;

		n = net_frame_parse(rest, &f);
		if (n <= 0) {
			*want = n == 0 ? frame_size(rest) : 0;
			break;
		}
		off += (size_t)n;
		frames++;
		handle_frame(c, &f);
	}
	net_stat_add(NET_STAT_FRAMES_IN, frames);
	if (n >= 0)
		return (long)off;
	refuse_frame(c, (int)n);
	return n;
}

static const struct stream_ops stream_ops = {
	.on_up = conn_on_up,
	.on_bytes = conn_on_bytes,
	.on_down = conn_on_down,
	.on_gone = conn_on_gone,
};

/* ---- begins ---- */

void conn_owner_init(struct conn_owner *o, struct loop *l, const struct net_handler *h)
{
	CHECK(h->on_frame != NULL);
	o->hub = hub_of(l);
	o->handler = *h;
	LIST_INIT(&o->conns);
}

static struct net_conn *conn_new(struct conn_owner *o, const char *name)
{
	struct net_conn *c = mem_must_alloc(sizeof(*c));

	c->state = CONN_CONNECTING;
	c->owner = o;
	c->loop = o->hub->loop;
	c->handler = o->handler;
	c->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
	snprintf(c->remote, sizeof(c->remote), "%s", name);
	LIST_INSERT_HEAD(&o->conns, c, link);
	return c;
}

static void conn_discard(struct net_conn *c)
{
	leave_owner(c);
	mem_free(c);
}

int conn_connect(struct conn_owner *o, const struct address *to, const char *name,
		 struct net_conn **out)
{
	struct net_conn *c = conn_new(o, name);
	int err = stream_connect(o->hub, to, &stream_ops, c, &c->stream);

	if (err)
		conn_discard(c);
	else
		*out = c;
	return err;
}

int conn_accept(struct conn_owner *o, struct uv_stream_s *server, const char *name,
		struct net_conn **out)
{
	struct net_conn *c = conn_new(o, name);
	int err = stream_accept(o->hub, server, &stream_ops, c, &c->stream);

	if (err)
		conn_discard(c);
	else
		*out = c;
	return err;
}

void conn_open(struct net_conn *c)
{
	CHECK(c->state == CONN_CONNECTING);
	c->state = CONN_OPEN;
	c->opened_ns = env_mono_ns(loop_env(c->loop));
	(void)stream_remote(c->stream, c->remote); /* else it keeps the name it was given */
	loop__kick(c->loop);
	if (c->owner->opened)
		c->owner->opened(c->owner, c);
	if (c->handler.on_open)
		c->handler.on_open(c->handler.ctx, c);
	if (c->state == CONN_OPEN && c->owner->ready)
		c->owner->ready(c->owner, c);
}

bool conn_was_healthy(const struct net_conn *c)
{
	return c->had_frame || env_mono_ns(loop_env(c->loop)) - c->opened_ns >= HEALTHY_AGE_NS;
}

/* ---- the user's calls ---- */

int net_send(struct net_conn *c, uint8_t type, uint16_t flags, uint64_t id,
	     const struct slice *parts, unsigned n)
{
	struct net_frame f = {.type = type, .flags = flags, .id = id};
	size_t body_len = 0;
	uint8_t *at;
	int err;

	if (c->state != CONN_OPEN)
		return ERR_CLOSED;
	for (unsigned i = 0; i < n; i++) {
		if (parts[i].len > FRAME_BODY_MAX - body_len)
			return ERR_TOO_BIG;
		body_len += parts[i].len;
	}
	if (stream_queued(c->stream) + FRAME_HEADER_SIZE + body_len > NET_SEND_QUEUE_MAX)
		return ERR_BUSY;
	err = stream_reserve(c->stream, FRAME_HEADER_SIZE + body_len, &at);
	if (err)
		return err;
	frame_put(at, &f, parts, n, body_len);
	net_stat_add(NET_STAT_FRAMES_OUT, 1);
	return 0;
}

void net_conn_set_user(struct net_conn *c, void *user)
{
	c->user = user;
}

void *net_conn_user(const struct net_conn *c)
{
	return c->user;
}

const char *net_conn_remote(const struct net_conn *c)
{
	return c->remote;
}

uint64_t net_conn_id(const struct net_conn *c)
{
	return c->id;
}
