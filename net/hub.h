/* What the sockets of one loop share: who has bytes to write at the end of the turn, and a small
 * pool of buffers, so that idle connections own none. */
#ifndef PAXFS_NET_HUB_H
#define PAXFS_NET_HUB_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "net/loop_private.h"

#define HUB_BUF_SIZE	   (64u * 1024u) /* capacity of a small pooled buffer; one read */
#define HUB_SMALL_BUFS_MAX 16u
#define HUB_LARGE_BUFS_MAX 2u
#define HUB_LARGE_SIZE_MAX (FRAME_SIZE_MAX + HUB_BUF_SIZE) /* larger ones are not kept */

struct hub_item {
	TAILQ_ENTRY(hub_item) link;
	bool queued;
	void (*flush)(struct hub_item *i); /* already off the queue when called */
};
TAILQ_HEAD(hub_queue, hub_item);

struct hub {
	struct loop_ext ext;
	struct loop *loop;
	struct hub_queue dirty;
	struct buf small[HUB_SMALL_BUFS_MAX];
	struct buf large[HUB_LARGE_BUFS_MAX];
	unsigned small_count, large_count;
};

struct hub *hub_of(struct loop *l); /* made at the first call; the loop frees it */

/* Has @i flushed at the end of this turn. */
void hub_queue(struct hub *h, struct hub_item *i);
void hub_unqueue(struct hub *h, struct hub_item *i); /* no-op if not queued */

/* An empty buffer of at least @cap bytes; the caller owns it till hub_buf_put(). 0, ERR_NOMEM. */
int hub_buf_get(struct hub *h, size_t cap, struct buf *out);
void hub_buf_put(struct hub *h, struct buf *b); /* takes the memory; @b is empty afterwards */

#endif
