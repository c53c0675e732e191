/* How the client of kv/ reaches nodes: calls that block the fiber. Real: transport_net.c over
 * net/; the simulator has its own. */
#ifndef PAXFS_KV_TRANSPORT_H
#define PAXFS_KV_TRANSPORT_H

#include "base/buf.h"
#include "base/env.h"
#include "base/fiber.h"

struct loop;

struct kv_transport {
	/* Sends a frame of @type to the node at @address, and waits for the answer until
	 * @deadline_ns (mono). 0 and the reply's whole body (an envelope) in @reply; else ERR_TIMEOUT,
	 * ERR_CLOSED (sent; fate unknown), ERR_UNREACHABLE (surely not sent), ERR_INTERRUPTED,
	 * ERR_BUSY. */
	int (*call)(struct kv_transport *t, const char *address, uint8_t type,
		    const struct slice *parts, unsigned part_count, uint64_t deadline_ns,
		    struct buf *reply);
};

/* Over TCP: connections are made on demand, one per address, and kept. */
int kv_transport_net_new(struct loop *l, struct kv_transport **out);
void kv_transport_net_free(struct kv_transport *t); /* takes NULL */

#endif
