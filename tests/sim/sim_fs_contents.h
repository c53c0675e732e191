/* Files' contents in the model: shared inside tests/sim/sim_fs*.c only. */
#ifndef PAXFS_TESTS_SIM_SIM_FS_CONTENTS_H
#define PAXFS_TESTS_SIM_SIM_FS_CONTENTS_H

#include "tests/sim/sim_fs_internal.h"

struct fsim_effect { /* on the blocks [first, end) */
	uint64_t first, end, at; /* bytes in */
	struct slice bytes;	 /* owned; NULL: the blocks go */
	bool cut;		 /* but for their first bytes, up to `at` */
};

/* Of the transaction that is being sent for @c. */
void fsim__note_effects(struct fsim_call *c, const struct txn_mini *m);
void fsim__do_data(struct fsim_call *c); /* replays a call, or a step of one */

uint64_t fsim__sectors(const struct fsim_version *v); /* st_blocks */
/* SEEK_HOLE, SEEK_DATA. False: ENXIO. */
bool fsim__sought(const struct fsim_version *v, uint64_t offset, bool hole, uint64_t *at);
bool fsim__zeros(const struct fsim_version *v, uint64_t offset, uint64_t len); /* as far as it goes */

#endif
