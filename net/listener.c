#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/net_stats.h"

#define BACKLOG		  1024
#define ACCEPT_LOGS_PER_S 1u

struct net_listener {
	struct conn_owner owner;
	union {
		uv_handle_t any;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} uv;
	bool is_unix;
	unsigned conn_count; /* usable ones */
	char address[ADDRESS_SIZE_MAX];
};

static void listener_broken(struct conn_owner *o, struct net_conn *c)
{
	struct net_listener *s = container_of(o, struct net_listener, owner);

	(void)c;
	CHECK(s->conn_count > 0);
	s->conn_count--;
}

static void on_connection(uv_stream_t *h, int status)
{
	static struct logger_limit limit;
	struct net_listener *s = h->data;
	struct net_conn *c;

	if (uv_is_closing((uv_handle_t *)h))
		return;
	if (status < 0 || conn_accept(&s->owner, h, s->address, &c)) {
		logger_write_limited(&limit, ACCEPT_LOGS_PER_S, LOG_WARN_, "accept on %s: %s",
				     s->address,
				     status < 0 ? uv_strerror(status) : "connection lost");
		return;
	}
	if (s->conn_count >= NET_CONNS_MAX) {
		logger_write_limited(&limit, ACCEPT_LOGS_PER_S, LOG_WARN_,
				     "accept on %s: %u connections are open; one refused",
				     s->address, s->conn_count);
		conn_abort(c);
		return;
	}
	s->conn_count++;
	net_stat_add(NET_STAT_ACCEPTS, 1);
	conn_open(c);
}

/* Does anyone listen on the Unix socket? 0: no; ERR_ADDR_IN_USE; else it cannot be told. */
static int probe_unix(const struct address *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return err_from_errno(errno);
	if (connect(fd, &a->sock.any, sizeof(a->sock.un)) == 0 || errno == EAGAIN)
		err = ERR_ADDR_IN_USE;
	else if (errno == ECONNREFUSED || errno == ENOENT)
		err = 0;
	else
		err = err_from_errno(errno);
	close(fd);
	return err;
}

/* A killed process leaves its socket file behind; bind() would fail on it for ever. */
static int remove_stale_unix(const struct address *a, const char *text, struct msg *m)
{
	const char *path = a->sock.un.sun_path;
	struct stat st;
	int err;

	if (lstat(path, &st))
		return 0; /* absent, or bind() will say why not */
	if (!S_ISSOCK(st.st_mode))
		return msg_set(m, ERR_INVAL, "listen on %s: the file exists and is no socket",
			       text);
	err = probe_unix(a);
	if (err == ERR_ADDR_IN_USE)
		return msg_set(m, err, "listen on %s: another process listens there", text);
	if (err)
		return msg_set(m, err, "listen on %s: %s", text, err_text(err));
	if (unlink(path) && errno != ENOENT)
		return msg_set(m, ERR_IO, "listen on %s: unlink the stale socket: %s", text,
			       strerror(errno));
	return 0;
}

static int bind_and_listen(struct net_listener *s, const struct address *a)
{
	int status = s->is_unix ? uv_pipe_bind(&s->uv.pipe, a->sock.un.sun_path)
				: uv_tcp_bind(&s->uv.tcp, &a->sock.any, 0);

	return status ? status : uv_listen(&s->uv.stream, BACKLOG, on_connection);
}

static int listen_error(int status, const char *text, struct msg *m)
{
	if (status == UV_EADDRINUSE)
		return msg_set(m, ERR_ADDR_IN_USE,
			       "listen on %s: the address is in use by another process", text);
	if (status == UV_EADDRNOTAVAIL)
		return msg_set(m, ERR_INVAL, "listen on %s: not an address of this machine", text);
	return msg_set(m, ERR_IO, "listen on %s: %s", text, uv_strerror(status));
}

static void name_listener(struct net_listener *s, const char *text)
{
	struct sockaddr_storage here = {0};
	int len = sizeof(here);

	snprintf(s->address, sizeof(s->address), "%s", text);
	if (!s->is_unix && !uv_tcp_getsockname(&s->uv.tcp, (struct sockaddr *)&here, &len))
		address_format((struct sockaddr *)&here, s->address);
}

static void on_listener_closed(uv_handle_t *h)
{
	mem_free(h->data);
}

int net_listen(struct loop *l, const char *address, const struct net_handler *h,
	       struct net_listener **out, struct msg *m)
{
	struct net_listener *s;
	struct address a;
	int err = address_parse(address, &a, m);
	int status;

	if (!err && a.is_unix)
		err = remove_stale_unix(&a, address, m);
	if (err)
		return err;
	s = mem_must_alloc(sizeof(*s));
	conn_owner_init(&s->owner, l, h);
	s->owner.broken = listener_broken;
	s->is_unix = a.is_unix;
	s->uv.any.data = s;
	status = a.is_unix ? uv_pipe_init(loop__uv(l), &s->uv.pipe, 0)
			   : uv_tcp_init(loop__uv(l), &s->uv.tcp);
	CHECK(status == 0); /* makes no system call yet */
	status = bind_and_listen(s, &a);
	if (status) {
		uv_close(&s->uv.any, on_listener_closed);
		return listen_error(status, address, m);
	}
	name_listener(s, address);
	*out = s;
	return 0;
}

const char *net_listener_address(const struct net_listener *s)
{
	return s->address;
}

void net_listener_free(struct net_listener *s)
{
	if (!s)
		return;
	uv_close(&s->uv.any, on_listener_closed);
	conn_owner_release(&s->owner);
}
