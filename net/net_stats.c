#include "net/net_stats.h"

#include <stdatomic.h>

#include "net/net.h"

static _Atomic uint64_t counters[NET_STAT_COUNT];

void net_stat_add(enum net_stat which, uint64_t n)
{
	atomic_fetch_add_explicit(&counters[which], n, memory_order_relaxed);
}

static uint64_t get(enum net_stat which)
{
	return atomic_load_explicit(&counters[which], memory_order_relaxed);
}

void net_stats_get(struct net_stats *out)
{
	*out = (struct net_stats){
		.frames_in = get(NET_STAT_FRAMES_IN),
		.frames_out = get(NET_STAT_FRAMES_OUT),
		.bytes_in = get(NET_STAT_BYTES_IN),
		.bytes_out = get(NET_STAT_BYTES_OUT),
		.bad_frames = get(NET_STAT_BAD_FRAMES),
		.connects = get(NET_STAT_CONNECTS),
		.accepts = get(NET_STAT_ACCEPTS),
		.disconnects = get(NET_STAT_DISCONNECTS),
	};
}
