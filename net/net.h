/* Framed, checksummed messages over TCP, and calls on top of them.
 *
 * Frame, big-endian:
 *   crc8 u8 | length u24 | crc32c u32 | version u8 | type u8 | flags u16 | id u64 | body
 *   crc8    of the length, which is relied upon before the rest is there
 *   length  bytes after the crc32c field (12 + body); at most FRAME_SIZE_MAX, checked before any
 *           allocation
 *   crc32c  over everything behind it
 *   version NET_PROTOCOL_VERSION; another one gets the connection closed, with a log line
 *   id      of a call: chosen by the caller, echoed in the reply (flag NET_FLAG_REPLY)
 * A bad frame closes the connection; it is logged (rate limited) and counted in net_stats.
 *
 * All functions and callbacks run on the loop's thread. Addresses are "host:port" with a numeric
 * IPv4 or [IPv6] host, or "unix:/path"; names are resolved by net_resolve() in tools only.
 */
#ifndef PAXFS_NET_NET_H
#define PAXFS_NET_NET_H

#include "base/buf.h"
#include "net/loop.h"

#define NET_PROTOCOL_VERSION 3
#define NET_FLAG_REPLY	     1u /* answers the call with this id */
#define NET_CALLS_MAX	     65536u /* in flight, per peer */
#define NET_CONNS_MAX	     16384u /* open, per listener */

struct net_conn; /* one established connection, either side */

struct net_frame {
	uint8_t type;
	uint16_t flags;
	uint64_t id;
	struct slice body; /* borrowed: dies when the callback returns */
};

struct net_handler {
	/* Copied where it is given. on_open and on_close come in pairs. Any function of this header
	 * may be called from any of these, also to close or free what calls. */
	void *ctx;
	void (*on_open)(void *ctx, struct net_conn *c);             /* may be NULL */
	void (*on_frame)(void *ctx, struct net_conn *c, const struct net_frame *f);
	void (*on_close)(void *ctx, struct net_conn *c, int err);   /* may be NULL; c dies after */
};

/* Sends one frame; the body is the concatenation of @n parts, copied. Frames of one turn of the
 * loop go out in one write. 0; ERR_BUSY when more than NET_SEND_QUEUE_MAX bytes wait;
 * ERR_CLOSED; ERR_TOO_BIG. Never blocks, never calls back before returning. */
#define NET_SEND_QUEUE_MAX (64u * 1024u * 1024u)
int net_send(struct net_conn *c, uint8_t type, uint16_t flags, uint64_t id,
	     const struct slice *parts, unsigned n);
void net_close(struct net_conn *c); /* sends what it can; on_close follows, later, with ERR_CLOSED */
void net_conn_set_user(struct net_conn *c, void *user);
void *net_conn_user(const struct net_conn *c);
const char *net_conn_remote(const struct net_conn *c); /* address text, for logs */
uint64_t net_conn_id(const struct net_conn *c); /* unique in the process, never reused, > 0 */

/* Server side. */
struct net_listener;
int net_listen(struct loop *l, const char *address, const struct net_handler *h,
	       struct net_listener **out, struct msg *m); /* ERR_ADDR_IN_USE, ERR_INVAL, ERR_IO */
const char *net_listener_address(const struct net_listener *s); /* the real port, for port 0 */
/* Closes its connections too, calling their on_close before it returns; takes NULL. */
void net_listener_free(struct net_listener *s);

/* Client side: a peer keeps one connection to an address, reconnecting with backoff and jitter
 * (10 ms doubling to 500 ms) while it lives. Sends without a connection: dropped with
 * ERR_UNREACHABLE for net_peer_send (messages that may be lost). */
struct net_peer;
int net_peer_new(struct loop *l, const char *address, const struct net_handler *h,
		 struct net_peer **out);
/* Calls in flight end with ERR_CLOSED, those not sent yet with ERR_UNREACHABLE; on_close of the
 * connection is called before it returns; takes NULL. */
void net_peer_free(struct net_peer *p);
struct net_conn *net_peer_conn(struct net_peer *p); /* NULL while not connected */
const char *net_peer_address(const struct net_peer *p);
int net_peer_send(struct net_peer *p, uint8_t type, const struct slice *parts, unsigned n);

/* A call: sends, parks the fiber until the reply, the deadline (env mono time), a broken
 * connection, or an interrupt. Waits for the connection to come up, within the deadline; calls
 * that waited are sent after on_open. @deadline_ns UINT64_MAX: none.
 * 0 with the reply's body in @reply (caller-owned buf, replaced); ERR_TIMEOUT, ERR_CLOSED (sent,
 * fate unknown), ERR_UNREACHABLE (surely not sent), ERR_INTERRUPTED, ERR_BUSY, ERR_TOO_BIG,
 * ERR_NOMEM. */
int net_call(struct net_peer *p, uint8_t type, const struct slice *parts, unsigned n,
	     uint64_t deadline_ns, struct buf *reply);

/* Frames and bytes, and what was refused, process-wide; for status. */
struct net_stats {
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
	uint64_t bad_frames, connects, accepts, disconnects;
};
void net_stats_get(struct net_stats *out);

/* Encodes one frame into @out, and the incremental parser; pure, for tests and fuzzers.
 * net_frame_parse: > 0 bytes consumed with @f filled (body points into @in), 0 for "need more",
 * ERR_PROTO or ERR_WIRE_VERSION. Encoding a body that is too big marks @out failed. */
void net_frame_encode(struct buf *out, uint8_t type, uint16_t flags, uint64_t id, struct slice body);
long net_frame_parse(struct slice in, struct net_frame *f);

/* "name:port" -> numeric, blocking (getaddrinfo): for command lines, never on a fiber. */
int net_resolve(const char *address, char out[256], struct msg *m);

#endif
