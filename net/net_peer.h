/* A peer, shared by net_peer.c (its connection) and net_call.c (its calls). */
#ifndef PAXFS_NET_NET_PEER_H
#define PAXFS_NET_NET_PEER_H

#include "net/conn.h"

struct call;

struct net_peer {
	struct conn_owner owner;
	struct address to;
	char address[ADDRESS_SIZE_MAX];

	struct net_conn *conn;	     /* open; or NULL */
	struct net_conn *connecting; /* or NULL. Neither: the timer runs */
	struct env_timer timer;	     /* limit of the attempt, or time of the next */
	uint64_t wait_ns;	     /* before the next attempt, if that must wait */
	bool freed;

	/* Calls in flight: in `sent` by id, or in `waiting` for a connection. */
	struct call *sent;
	TAILQ_HEAD(call_queue, call) waiting;
	unsigned call_count;
	uint64_t last_call_id;
};

static inline struct env *peer_env(const struct net_peer *p)
{
	return loop_env(p->owner.hub->loop);
}

void calls_init(struct net_peer *p);
void calls_send_waiting(struct net_peer *p); /* over p->conn, in order */
void calls_fail_sent(struct net_peer *p);    /* the connection broke: ERR_CLOSED */
void calls_fail_waiting(struct net_peer *p); /* ERR_UNREACHABLE */
void calls_take_reply(struct net_peer *p, const struct net_frame *f); /* dropped if nobody waits */

#endif
