/* Locks between mounts, as their callers see them, and counters that only who holds one may raise.
 *
 * What each owner holds is known between answers only, so each hold has four times: the call that
 * asked for it (from then on it may be there), its answer (from then on it is), the call that gives it
 * up (it may be gone), that one's answer (it is). What is sure must never conflict, unless the session
 * of one of the two has been closed: then nothing of that mount may be committed from now on. */
#ifndef PAXFS_TESTS_SIM_SIM_FS_LOCKS_H
#define PAXFS_TESTS_SIM_SIM_FS_LOCKS_H

#include "tests/sim/sim_fs_internal.h"

int fsim__locks_make(struct fsim_worker *w); /* the files; again after a failure */
void fsim__locks_call(struct fsim_worker *w);
void fsim__locks_end(struct fsim_worker *w); /* gives up all, as at the end of a process */
/* Interrupts those who wait, now and then, until @m's other fibers have ended. */
void fsim__locks_interrupt(struct fsim_mount *m);
/* A session begins, or is closed in the first of the groups. */
void fsim__locks_session(uint32_t mount, uint64_t session);
void fsim__locks_closed(uint64_t session);
uint64_t fsim__locks_closed_at(uint32_t mount); /* FSIM_NEVER: it is not */
/* The first replica has carried out a change of this mount's. */
void fsim__locks_committed(const struct fsim_call *c, uint64_t session);
uint64_t fsim__locks_judge(void);

#endif
