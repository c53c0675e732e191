/* Who breaks things, at random times and rates, within what the fault atlas allows:
 *
 *  - Anything that a restart, or time, puts right may happen to any number of nodes at once.
 *  - What destroys data (bit rot, lost and misdirected writes, old copies) happens to so few nodes that
 *    each group keeps a majority of undamaged replicas.
 *  - A node whose disk lost what it had acknowledged is started only while all others are up and
 *    reachable, and remember it: two faults at once are more than can be noticed.
 *  - With leases on, clocks stay within the drift margin of one another; beyond it leases are off, as
 *    the documentation asks for.
 */
#ifndef PAXFS_TESTS_SIM_SIM_NEMESIS_H
#define PAXFS_TESTS_SIM_SIM_NEMESIS_H

void sim_nemesis_start(void);	    /* draws kinds and rates */
void sim_nemesis_heal_quorum(void); /* no new faults; a random majority of nodes is well again */
void sim_nemesis_heal_all(void);

#endif
