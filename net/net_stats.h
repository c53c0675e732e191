/* Process-wide counters: relaxed atomics, added to from every loop's thread. */
#ifndef PAXFS_NET_STATS_H
#define PAXFS_NET_STATS_H

#include <stdint.h>

enum net_stat {
	NET_STAT_FRAMES_IN,
	NET_STAT_FRAMES_OUT,
	NET_STAT_BYTES_IN,
	NET_STAT_BYTES_OUT,
	NET_STAT_BAD_FRAMES,
	NET_STAT_CONNECTS,
	NET_STAT_ACCEPTS,
	NET_STAT_DISCONNECTS,
	NET_STAT_COUNT,
};

void net_stat_add(enum net_stat which, uint64_t n);

#endif
