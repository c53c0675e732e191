/* The disk of a simulated machine: what a node keeps in its data directory, beyond the life of its
 * processes. Three faces of it replace product code at link time:
 *
 *   sim_disk.c     wal_device_dir()      files of the log, in sectors
 *   sim_datadir.c  datadir_*(), mkdir()  small files, replaced atomically
 *   sim_engine.c   engine_rocks_open()   the engine: a state on disk and what is not flushed yet
 *
 * A disk is found by its path: a data directory "/sim/NAME" lies on the disk of that name.
 *
 * Writes take time: pwrite_sync and engine_flush sleep (sim_sleep) on the thread that calls them, if
 * it is not the main one, before they take effect. While one is under way a crash may leave any
 * subset of its sectors, in no order, one of them torn.
 */
#ifndef PAXFS_TESTS_SIM_SIM_DISK_H
#define PAXFS_TESTS_SIM_SIM_DISK_H

#include "base/msg.h"
#include "tests/sim/sim.h"

struct sim_disk_faults { /* may be changed at any time; all 0: a quick, perfect disk */
	uint64_t sync_min_ns, sync_max_ns; /* of a write; of an engine flush ten times that */
	uint64_t slow_until_ns, slow_ns;   /* world: until then each write takes slow_ns more */
	uint32_t slow_sync_ppm;		   /* single writes that take slow_sync_ns more */
	uint64_t slow_sync_ns;
	uint32_t fail_ppm;	  /* writes, creates, flushes that fail with ERR_IO (the node dies) */
	uint32_t torn_ppm;	  /* crashes that tear what is under way (else: none or all of it) */
	uint32_t auto_flush_ppm;  /* engine commits that are flushed by themselves, all before too */
	uint32_t engine_stall_ppm; /* engine batches, off the main thread, that take stall_ns */
	uint64_t engine_stall_ns;
	uint64_t capacity; /* bytes of log files and engine; 0: unlimited. Beyond: ERR_NOSPACE of
			    * create, and free_bytes says how much is left */
};

struct sim_disk *sim_disk_new(const char *name);
void sim_disk_free(struct sim_disk *d);
struct sim_disk_faults *sim_disk_faults(struct sim_disk *d);
struct sim_disk *sim_disk_find(const char *path); /* NULL: none */
const char *sim_disk_name(const struct sim_disk *d);
uint64_t sim_disk_used(const struct sim_disk *d);

/* The process that used it is gone, or its power: what was under way is torn or done or not begun, of
 * the engine's unflushed batches a random prefix survives (often none), the lock is free again. */
void sim_disk_crash(struct sim_disk *d);

/* Damage at rest, for a disk that no process uses. They return false when there is nothing to damage;
 * what they did is traced and counted. But for a lost write it is damage that the log can tell from a
 * torn tail: not of its last batch. A rollback, a full disk and a slow one are counted by whoever
 * brings them about. */
bool sim_disk_rot_log(struct sim_disk *d);    /* flips bits in a record that is synced, or a header */
bool sim_disk_rot_engine(struct sim_disk *d); /* a flushed record cannot be read any more: ERR_CORRUPT */
bool sim_disk_lose_write(struct sim_disk *d); /* the newest write of the log never happened */
bool sim_disk_misdirect(struct sim_disk *d);  /* an older write went elsewhere in the log, over others */
struct sim_disk *sim_disk_copy(const struct sim_disk *d); /* as it is; has no name, holds no lock */
void sim_disk_restore(struct sim_disk *d, const struct sim_disk *copy); /* rolled back to it */

/* What the checkers want to know: called by the engine at each commit, with the CRC32C of the batch
 * (its changes in key order) and at each install; NULL: nobody. */
struct sim_engine_watch {
	void (*committed)(struct sim_disk *d, uint32_t group, uint64_t slot, uint32_t crc);
	void (*installed)(struct sim_disk *d, uint32_t group, uint64_t slot);
	void (*reverted)(struct sim_disk *d, uint32_t group, uint64_t slot); /* after a crash: this
									       * is what is left */
};
extern const struct sim_engine_watch *sim_engine_watch;

/* The state of a group on a disk that no process uses: CRC32C of all records as engine_checksum gives
 * it, and the applied slot. */
bool sim_disk_engine_state(struct sim_disk *d, uint32_t group, uint64_t *slot, uint32_t *crc);

#endif
