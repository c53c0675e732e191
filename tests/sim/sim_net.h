/* The network between simulated machines: links with delays, loss and cuts. What runs over it are
 * connections (sim_stream.c), as the product's frames need them: whatever is not lost arrives in
 * order, unless a fault says otherwise. */
#ifndef PAXFS_TESTS_SIM_SIM_NET_H
#define PAXFS_TESTS_SIM_SIM_NET_H

#include "tests/sim/sim.h"

struct sim_net_faults { /* may be changed at any time; rates are per frame */
	uint64_t delay_min_ns, delay_max_ns; /* one way */
	uint32_t loss_ppm;		     /* never of greetings */
	uint32_t double_ppm, reorder_ppm;    /* of what nodes tell each other unasked */
	uint32_t corrupt_ppm;		     /* bits flipped: the receiver closes the connection */
	uint32_t late_ppm;		     /* held back by late_ns, with all behind it */
	uint64_t late_ns;
	uint32_t break_ppm; /* the connection breaks instead */
	uint32_t split_ppm; /* arrives in two pieces */
};

struct sim_net_faults *sim_net_faults(void);

/* One way, between machines. What is sent into a cut waits, as TCP keeps it: it arrives late if the
 * cut is healed in time, else the connection breaks. */
void sim_net_cut(uint32_t from, uint32_t to, bool cut);
bool sim_net_is_cut(uint32_t from, uint32_t to);
void sim_net_slow(uint32_t from, uint32_t to, uint64_t ns); /* each frame takes so much longer */
void sim_net_heal(void); /* all cuts and slow links */
void sim_net_break(uint32_t a, uint32_t b); /* connections between the two, now */

#endif
