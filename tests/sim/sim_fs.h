/* What mounts do to a simulated cluster: the real fs/ on the real client, several mounts at once in a
 * small tree; and what is checked of it:
 *
 *  - the calls that changed something, replayed in the order in which the store committed them, by a
 *    model of a file system that shares no code with fs/: every result is the model's, and so is the
 *    final tree;
 *  - every other result was true at a moment between call and return;
 *  - small files as registers (linearizable), appended records (none lost, doubled or out of order), a
 *    file that wanders between directories of several groups (every reader finds it, once);
 *  - at the end fsck finds nothing but what mounts left that were killed, and repairs that.
 */
#ifndef PAXFS_TESTS_SIM_SIM_FS_H
#define PAXFS_TESTS_SIM_SIM_FS_H

#include <stdbool.h>
#include <stdint.h>

struct sim_fs_config {
	uint32_t mounts; /* processes, each on a machine of its own; 0: no file system */
	uint32_t fibers; /* calls at the same time, in each */
	uint64_t think_min_ns, think_max_ns;
	uint64_t timeout_ns; /* of one transaction; 0: none */
	uint32_t registers, logs;
	uint32_t locks; /* calls in a hundred */
};

struct sim_fs_stats {
	uint64_t calls, ok, failed, unknown; /* failed: refused; unknown: given up, or the mount died */
};

extern struct sim_fs_stats sim_fs_stats;

uint32_t sim_fs_mounts(void);
void sim_fs_start(const struct sim_fs_config *cfg); /* once the cluster is ready */
bool sim_fs_ready(void); /* the first directories are made: faults may begin */
void sim_fs_kill_one(void); /* a mount; another one takes its place later */
void sim_fs_pause_one(uint64_t ns);
void sim_fs_evict_one(void); /* its session is closed by another client, perhaps while it is stopped */
void sim_fs_finish(void);   /* no more calls */
bool sim_fs_finished(void); /* every mount that lives has been unmounted */
void sim_fs_tell(void); /* traces what is under way */
uint64_t sim_fs_oldest_ns(void); /* since when the oldest call is under way; 0: none is */

/* From a fresh mount: fsck, and the tree is read. */
void sim_fs_inspect(void);
bool sim_fs_inspected(void);
/* Runs all checks; a violation if something is wrong. Calls judged. */
uint64_t sim_fs_judge(void);

#endif
