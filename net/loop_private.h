/* What net/'s own files may ask of a loop, beyond net/loop.h. */
#ifndef PAXFS_NET_LOOP_PRIVATE_H
#define PAXFS_NET_LOOP_PRIVATE_H

#include "net/loop.h"

struct uv_loop_s;

struct uv_loop_s *loop__uv(struct loop *l);

/* The next poll does not sleep, so that fibers and turn callbacks run after what was just done. To
 * be called with every callback into the user's code. */
void loop__kick(struct loop *l);

/* The one extension of a loop: the hub of its sockets. */
struct loop_ext {
	void (*flush)(struct loop_ext *x);   /* at the end of each turn */
	bool (*pending)(struct loop_ext *x); /* is there something to flush? */
	void (*release)(struct loop_ext *x); /* when the loop is freed */
};

void loop__set_ext(struct loop *l, struct loop_ext *x);
struct loop_ext *loop__ext(struct loop *l); /* NULL until set */

#endif
