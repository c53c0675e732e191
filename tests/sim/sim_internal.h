/* Shared inside tests/sim/sim_{world,thread,clock,loop,stream,logger}.c only. */
#ifndef PAXFS_TESTS_SIM_SIM_INTERNAL_H
#define PAXFS_TESTS_SIM_SIM_INTERNAL_H

#include "base/slice.h"
#include "tests/sim/sim.h"

#define SIM_EXIT_VIOLATION 3

/* ---- sim_world.c ---- */
void sim__schedule(struct sim_thread *t, uint64_t at_ns, uint64_t generation);

/* ---- sim_thread.c ---- */
void sim__thread_due(struct sim_thread *t, uint64_t generation); /* runs it, if that wake still counts */
void sim__reap(void); /* frees what died while it ran; on the scheduler's stack */
void sim__wake_mains(const struct sim_machine *m); /* its clock is another now: look at timers again */

/* ---- sim_loop.c: what is to be done on a loop, at a time of the world ---- */
struct loop;
struct sim_item {
	uint64_t at, order;
	void (*run)(struct sim_item *i); /* on the loop; owns it */
};
void sim__loop_post(struct loop *l, struct sim_item *i, uint64_t at_ns);
struct sim_proc *sim__loop_proc(struct loop *l);

/* ---- sim_stream.c ---- */
void sim__streams_abandon(struct sim_proc *p); /* it has died: its kernel closes its sockets */

#endif
