#include "net/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <uv.h>

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/net_stats.h"

#define USER_TIMEOUT_MS                                                                            \
	5000u	       /* sent bytes not acknowledged for so long: the connection is dead          \
			*/
#define KEEPALIVE_S 5u /* silence after which TCP probes */

union handle {
	uv_handle_t any;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct stream {
	union handle uv;
	struct hub *hub;
	const struct stream_ops *ops;
	void *ctx;
	bool is_unix;
	bool closing; /* uv_close was called */

	/* Received, not taken: in.data[in_off, in.len). No memory while that is empty. */
	struct buf in;
	size_t in_off;
	size_t in_limit; /* read no further than this offset */
	size_t want;	 /* of on_bytes */

	struct buf out;	      /* gathers until the flush */
	struct buf writing;   /* what a flush could not write at once: in uv's hands */
	size_t writing_off;   /* its first byte not written at the flush */
	struct hub_item item; /* queued while out has bytes to flush */
	uv_write_t write_req; /* of writing */
	uv_connect_t connect_req;
};

static int err_of_status(int status)
{
	switch (status) {
	case UV_EOF:
	case UV_ECONNRESET:
	case UV_ECONNABORTED:
	case UV_EPIPE:
		return ERR_CLOSED;
	case UV_ETIMEDOUT:
	case UV_EHOSTUNREACH:
		return ERR_TIMEOUT;
	case UV_ENOBUFS: /* our on_alloc had none */
		return ERR_NOMEM;
	default:
		return err_from_errno(-status);
	}
}

/* ---- close ---- */

static void on_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	hub_buf_put(s->hub, &s->in);
	hub_buf_put(s->hub, &s->out);
	hub_buf_put(s->hub, &s->writing);
	if (s->ops)
		s->ops->on_gone(s->ctx);
	mem_free(s);
}

static void begin_close(struct stream *s)
{
	CHECK(!s->closing);
	s->closing = true;
	hub_unqueue(s->hub, &s->item);
	uv_close(&s->uv.any, on_closed);
}

static void stream_break(struct stream *s, int err)
{
	if (s->closing)
		return;
	begin_close(s);
	s->ops->on_down(s->ctx, err);
}

void stream_close(struct stream *s)
{
	uv_buf_t b = uv_buf_init((char *)s->out.data, (unsigned)s->out.len);

	if (s->closing)
		return;
	if (b.len && uv_is_writable(&s->uv.stream))
		(void)uv_try_write(&s->uv.stream, &b, 1);
	begin_close(s);
}

/* ---- read ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	struct stream *s = h->data;

	(void)suggested;
	*b = uv_buf_init(NULL, 0); /* uv then reports UV_ENOBUFS */
	if (s->in.cap == 0) {
		if (hub_buf_get(s->hub, HUB_BUF_SIZE, &s->in))
			return;
		s->in_limit = HUB_BUF_SIZE;
	}
	CHECK(s->in.len < s->in_limit && s->in_limit <= s->in.cap);
	b->base = (char *)s->in.data + s->in.len;
	b->len = s->in_limit - s->in.len;
}

/* Moves the rest to the front, into a buffer of @cap bytes if the present one is smaller. */
static int move_rest(struct stream *s, size_t cap)
{
	size_t rest = s->in.len - s->in_off;
	struct buf larger;

	if (cap > s->in.cap) {
		int err = hub_buf_get(s->hub, cap, &larger);

		if (err)
			return err;
		memcpy(larger.data, s->in.data + s->in_off, rest);
		hub_buf_put(s->hub, &s->in);
		s->in = larger;
	} else {
		memmove(s->in.data, s->in.data + s->in_off, rest);
	}
	s->in.len = rest;
	s->in_off = 0;
	return 0;
}

/* Arranges for the rest of the front frame to be read behind what is there. */
static int settle(struct stream *s)
{
	int err = 0;

	if (s->in_off == s->in.len) {
		hub_buf_put(s->hub, &s->in);
		s->in_off = 0;
		return 0;
	}
	if (s->in.len == s->in.cap || s->in_off + s->want > s->in.cap)
		err = move_rest(s, s->want);
	/* Of a large frame read no further than its end: the buffer is then empty, and goes back.
	 */
	s->in_limit = s->want > HUB_BUF_SIZE ? s->in_off + s->want : s->in.cap;
	return err;
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	struct stream *s = h->data;
	long taken;
	int err;

	(void)b;
	if (n < 0) {
		stream_break(s, err_of_status((int)n));
		return;
	}
	s->in.len += (size_t)n;
	net_stat_add(NET_STAT_BYTES_IN, (uint64_t)n);
	s->want = 0;
	taken = s->ops->on_bytes(s->ctx, slice_of(s->in.data + s->in_off, s->in.len - s->in_off),
				 &s->want);
	if (taken < 0) {
		stream_break(s, (int)taken);
		return;
	}
	CHECK((size_t)taken <= s->in.len - s->in_off);
	s->in_off += (size_t)taken;
	if (s->closing)
		return;
	err = settle(s);
	if (err)
		stream_break(s, err);
}

/* ---- write ---- */

size_t stream_queued(const struct stream *s)
{
	return s->out.len + s->writing.len - s->writing_off;
}

int stream_reserve(struct stream *s, size_t size, uint8_t **at)
{
	int err = s->out.cap ? buf_reserve(&s->out, size) : hub_buf_get(s->hub, size, &s->out);

	CHECK(!s->closing);
	if (err)
		return err;
	*at = s->out.data + s->out.len;
	s->out.len += size;
	if (!s->writing.len)
		hub_queue(s->hub, &s->item);
	return 0;
}

static void on_written(uv_write_t *req, int status)
{
	struct stream *s = req->handle->data;

	if (s->closing)
		return;
	if (status < 0) {
		stream_break(s, err_of_status(status));
		return;
	}
	net_stat_add(NET_STAT_BYTES_OUT, s->writing.len - s->writing_off);
	hub_buf_put(s->hub, &s->writing);
	s->writing_off = 0;
	if (s->out.len)
		hub_queue(s->hub, &s->item);
}

/* The socket is full: uv writes the rest when it has room; what is sent meanwhile gathers. */
static int write_rest(struct stream *s, size_t written)
{
	uv_buf_t b = uv_buf_init((char *)s->out.data + written, (unsigned)(s->out.len - written));

	buf_move(&s->writing, &s->out);
	s->writing_off = written;
	return uv_write(&s->write_req, &s->uv.stream, &b, 1, on_written);
}

static void flush(struct hub_item *i)
{
	struct stream *s = container_of(i, struct stream, item);
	uv_buf_t b = uv_buf_init((char *)s->out.data, (unsigned)s->out.len);
	int n;

	CHECK(!s->closing && s->out.len && !s->writing.len);
	FAILPOINT(net_before_write);
	n = uv_try_write(&s->uv.stream, &b, 1);
	FAILPOINT(net_after_write);
	if (n == UV_EAGAIN)
		n = 0;
	if (n >= 0) {
		net_stat_add(NET_STAT_BYTES_OUT, (uint64_t)n);
		if ((size_t)n == s->out.len) {
			hub_buf_put(s->hub, &s->out);
			return;
		}
		n = write_rest(s, (size_t)n);
	}
	if (n < 0)
		stream_break(s, err_of_status(n));
}

/* ---- open ---- */

static struct stream *stream_new(struct hub *h, const struct stream_ops *ops, void *ctx)
{
	struct stream *s = mem_must_alloc(sizeof(*s));

	s->hub = h;
	s->ops = ops;
	s->ctx = ctx;
	s->item.flush = flush;
	return s;
}

static int init_handle(struct stream *s, bool is_unix)
{
	uv_loop_t *l = loop__uv(s->hub->loop);
	int status = is_unix ? uv_pipe_init(l, &s->uv.pipe, 0) : uv_tcp_init(l, &s->uv.tcp);

	s->is_unix = is_unix;
	s->uv.any.data = s;
	return status;
}

/* Options fail only on a socket that is broken already; its first read will say so. */
static void set_options(struct stream *s)
{
	unsigned timeout_ms = USER_TIMEOUT_MS;
	uv_os_fd_t fd;

	if (s->is_unix)
		return;
	(void)uv_tcp_nodelay(&s->uv.tcp, 1);
	(void)uv_tcp_keepalive(&s->uv.tcp, 1, KEEPALIVE_S);
	if (uv_fileno(&s->uv.any, &fd) == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
				 sizeof(timeout_ms));
}

/* The kernel may choose the port we connect to as our own, when nobody listens there. */
static bool is_connected_to_itself(struct stream *s)
{
	struct sockaddr_storage here = {0}, there = {0};
	int here_len = sizeof(here), there_len = sizeof(there);

	return !s->is_unix &&
	       uv_tcp_getsockname(&s->uv.tcp, (struct sockaddr *)&here, &here_len) == 0 &&
	       uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&there, &there_len) == 0 &&
	       here_len == there_len && memcmp(&here, &there, (size_t)here_len) == 0;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct stream *s = req->handle->data;

	if (s->closing)
		return;
	if (status == 0 && is_connected_to_itself(s))
		status = UV_ECONNREFUSED;
	if (status == 0) {
		set_options(s);
		status = uv_read_start(&s->uv.stream, on_alloc, on_read);
	}
	if (status == 0) {
		s->ops->on_up(s->ctx);
		return;
	}
	log_debug("connect: %s", uv_strerror(status));
	stream_break(s, ERR_UNREACHABLE);
}

/* Closes a stream that never came to be: without callbacks. */
static int give_up(struct stream *s, int status)
{
	s->ops = NULL;
	begin_close(s);
	return err_of_status(status);
}

int stream_connect(struct hub *h, const struct address *to, const struct stream_ops *ops, void *ctx,
		   struct stream **out)
{
	struct stream *s = stream_new(h, ops, ctx);
	int status = init_handle(s, to->is_unix);

	if (status) {
		mem_free(s);
		return err_of_status(status);
	}
	if (to->is_unix)
		uv_pipe_connect(&s->connect_req, &s->uv.pipe, to->sock.un.sun_path, on_connected);
	else
		status = uv_tcp_connect(&s->connect_req, &s->uv.tcp, &to->sock.any, on_connected);
	if (status)
		return give_up(s, status);
	*out = s;
	return 0;
}

int stream_accept(struct hub *h, struct uv_stream_s *server, const struct stream_ops *ops,
		  void *ctx, struct stream **out)
{
	struct stream *s = stream_new(h, ops, ctx);
	int status = init_handle(s, server->type == UV_NAMED_PIPE);

	if (status) {
		mem_free(s);
		return err_of_status(status);
	}
	status = uv_accept(server, &s->uv.stream);
	if (status == 0) {
		set_options(s);
		status = uv_read_start(&s->uv.stream, on_alloc, on_read);
	}
	if (status)
		return give_up(s, status);
	*out = s;
	return 0;
}

bool stream_remote(struct stream *s, char out[ADDRESS_SIZE_MAX])
{
	struct sockaddr_storage there = {0};
	int len = sizeof(there);

	if (s->is_unix || uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&there, &len))
		return false;
	address_format((struct sockaddr *)&there, out);
	return true;
}
