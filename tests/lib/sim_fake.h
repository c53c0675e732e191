/* A world without a scheduler, for tests of the simulated disk by itself: random numbers of a seed,
 * time that passes when something sleeps, and a process that can be killed while it does. */
#ifndef PAXFS_TESTS_LIB_SIM_FAKE_H
#define PAXFS_TESTS_LIB_SIM_FAKE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_fake {
	bool main_thread;      /* what runs is the main thread: nothing sleeps */
	uint64_t sleeps;       /* so far */
	void (*on_sleep)(void); /* called in the next one, once; may be NULL */
};
extern struct sim_fake sim_fake;

void sim_fake_reset(uint64_t seed);

/* Runs @fn as a process until it returns, or is killed in its @kill_at-th sleep (0: never). True when
 * it was killed: then its stack is gone, and what it had allocated stays behind. */
bool sim_fake_run(void (*fn)(void *arg), void *arg, uint64_t kill_at);
void sim_fake_abandon(const void *p); /* stays behind too: a killed process had it */

#endif
