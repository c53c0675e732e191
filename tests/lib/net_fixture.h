/* A loop with an echo server on it, for the tests of net/. One at a time, in `fix`.
 *
 * Nothing here sleeps: net_fix_run_until() runs the loop until a condition holds, and fails the
 * test when that takes longer than NET_FIX_LIMIT_NS. */
#ifndef PAXFS_TESTS_LIB_NET_FIXTURE_H
#define PAXFS_TESTS_LIB_NET_FIXTURE_H

#include "net/net.h"

#define NET_FIX_LIMIT_NS (60 * NS_PER_S)

/* What the server does with a frame, by its type. */
enum net_fix_type {
	FIX_ECHO = 1, /* replies with the body */
	FIX_SILENT,   /* nothing */
	FIX_CLOSE,    /* closes the connection */
	FIX_HOLD,     /* replies when the next frame of type FIX_RELEASE comes */
	FIX_RELEASE,  /* replies itself too */
	FIX_PUSH,     /* sends the body back, not as a reply */
	FIX_STRAY,    /* a reply to a call that nobody made, then the echo, twice */
	FIX_FREE,     /* frees the listener */
};

struct net_fix {
	struct loop *loop;
	struct net_listener *server;
	char address[256]; /* of the server; stays when it is freed */

	struct net_conn *server_conn; /* the last one opened; NULL when it closed */
	unsigned opened, closed, frames;
	int close_err; /* of the last on_close */
	uint64_t held_id;
	struct net_conn *held;
};

extern struct net_fix fix;

void net_fix_setup(void);    /* loop and server on a free loopback port */
void net_fix_teardown(void); /* checks that no descriptor leaked */

void net_fix_serve(const char *address); /* (re)starts the server; fails the test if it cannot */
void net_fix_stop_server(void);

void net_fix_run_until(bool (*holds)(void *ctx), void *ctx);

/* Runs the loop until all fibers ended. */
void net_fix_run_fibers(void);
void net_fix_start(fiber_fn *fn, void *arg);

uint64_t net_fix_now(void);
uint64_t net_fix_in_ms(uint64_t ms); /* a deadline */

struct net_peer *net_fix_peer(void); /* to the server; the caller frees it */

int net_fix_raw(void); /* a plain, blocking socket connected to the server */

#endif
