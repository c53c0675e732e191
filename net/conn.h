/* Frames on a stream. A connection belongs to an owner, a listener or a peer, which hears of it
 * before the user's handler does. State diagram: net/README.md. */
#ifndef PAXFS_NET_CONN_H
#define PAXFS_NET_CONN_H

#include "base/list.h"
#include "net/address.h"
#include "net/hub.h"
#include "net/net.h"

struct conn_owner {
	struct hub *hub;
	struct net_handler handler;
	LIST_HEAD(conn_list, net_conn) conns; /* whose on_close was not called yet */

	/* None of these calls the user. All but broken may be NULL. */
	void (*opened)(struct conn_owner *o, struct net_conn *c); /* before on_open */
	void (*ready)(struct conn_owner *o, struct net_conn *c);  /* after it, if still open */
	bool (*frame)(struct conn_owner *o,
		      const struct net_frame *f); /* true: it was for the owner */
	/* Not usable any more, or never was; before on_close. Once. Not from conn_owner_release().
	 */
	void (*broken)(struct conn_owner *o, struct net_conn *c);
};

void conn_owner_init(struct conn_owner *o, struct loop *l, const struct net_handler *h);

/* Ends all its connections, on_close included; the owner's memory may go then. */
void conn_owner_release(struct conn_owner *o);

/* Begins to connect; opened or broken follows. @name is for logs. 0 or a code (then nothing). */
int conn_connect(struct conn_owner *o, const struct address *to, const char *name,
		 struct net_conn **out);

/* Takes a waiting connection from @server; conn_open() or conn_abort() is to follow. */
struct uv_stream_s;
int conn_accept(struct conn_owner *o, struct uv_stream_s *server, const char *name,
		struct net_conn **out);
void conn_open(struct net_conn *c);

/* Ends a connection that is not open yet, without a word to anyone. */
void conn_abort(struct net_conn *c);

/* Did it bring a frame, or live for a while? */
bool conn_was_healthy(const struct net_conn *c);

#endif
