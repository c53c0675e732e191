/* Who holds which lock, and who waits, as the answers tell it: inside tests/sim/sim_fs_*.c only. */
#ifndef PAXFS_TESTS_SIM_SIM_FS_HOLDS_H
#define PAXFS_TESTS_SIM_SIM_FS_HOLDS_H

#include "tests/sim/sim_fs_internal.h"

#define FSIM_LOCK_FILES	     3u
#define FSIM_LOCK_SLOTS	     4u /* ranges that locks are made of; flock has the first one only */
#define FSIM_LOCK_SLOT_BYTES 10u
#define FSIM_COUNTERS	     (FSIM_LOCK_SLOTS + 1u) /* one a slot, one under flock */

struct fsim_hold;

struct fsim_owner {
	uint32_t mount;
	uint64_t session, number;
	uint8_t kind;
	bool no_cycle;
	struct fsim_hold *now[FSIM_LOCK_FILES][FSIM_LOCK_SLOTS]; /* NULL: none that we know of */
};

struct fsim_lock_want {
	unsigned file, first, last; /* slots */
	uint8_t mode;
	bool wait;
};

struct fsim_lock_change {
	struct fsim_owner *owner;
	struct fsim_lock_want want;
	uint64_t begin_ns;
	struct fsim_wait *wait;
	struct fsim_hold *old[FSIM_LOCK_SLOTS], *during[FSIM_LOCK_SLOTS], *fresh[FSIM_LOCK_SLOTS];
};

/* Around each call that takes or gives up; end judges the answer. */
void fsim__hold_begin(struct fsim_lock_change *ch, struct fsim_owner *o, const struct fsim_lock_want *q);
void fsim__hold_end(struct fsim_lock_change *ch, int err);
/* F_GETLK said so. */
void fsim__hold_told(const struct fsim_owner *o, const struct fsim_lock_want *q, uint64_t begin_ns,
		     const struct fs_lock *found);
bool fsim__hold_sure(const struct fsim_hold *h, uint8_t mode);
uint64_t fsim__holds_judged(void);

#endif
