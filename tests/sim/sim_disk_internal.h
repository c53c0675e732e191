/* Shared inside tests/sim/sim_{disk,disk_log,disk_damage,datadir,engine,engine_disk}.c only: what lies
 * on a disk. All of it is the disk's own memory: a process that is killed leaves pointers into its
 * stacks nowhere in here.
 *
 *   sim_disk.c         disks by name, how long things take, what is under way, crashes, copies
 *   sim_disk_log.c     files of the log, as a wal_device
 *   sim_disk_damage.c  rot, lost and misdirected writes of the log
 *   sim_datadir.c      small files, mkdir
 *   sim_engine_disk.c  the engine's part of the disk
 *   sim_engine.c       the engine as a process sees it
 */
#ifndef PAXFS_TESTS_SIM_SIM_DISK_INTERNAL_H
#define PAXFS_TESTS_SIM_SIM_DISK_INTERNAL_H

#include "base/list.h"
#include "kv/engine_layer.h"
#include "tests/sim/sim_disk.h"
#include "wal/wal_device.h"

#define SIM_SECTOR     512u
#define SIM_NAME_MAX   32u /* of files, NUL included */
#define SIM_PAST_MAX   32u /* completed writes that can still be lost or misdirected */
#define SIM_DISK_ROOT  "/sim/"

struct sim_file { /* of the log */
	TAILQ_ENTRY(sim_file) link; /* by name */
	char name[SIM_NAME_MAX];
	uint64_t size;
	uint64_t high; /* bytes from here on are zero */
	uint8_t *bytes;
};

struct sim_small { /* of the data directory */
	TAILQ_ENTRY(sim_small) link; /* by name */
	char name[SIM_NAME_MAX];
	uint8_t *bytes;
	size_t len;
};

/* Something that a thread sleeps for. It may never wake up again. */
struct sim_op {
	TAILQ_ENTRY(sim_op) link; /* oldest first */
	enum sim_op_kind { SIM_OP_WRITE, SIM_OP_CREATE, SIM_OP_SMALL } kind;
	char name[SIM_NAME_MAX];
	uint64_t offset, len; /* CREATE: `len` is the file's size */
	uint8_t *bytes;	      /* CREATE: NULL */
};

struct sim_past { /* a write that took effect, and what it replaced; nothing wrote there since */
	TAILQ_ENTRY(sim_past) link; /* oldest first */
	char name[SIM_NAME_MAX];
	uint64_t offset;
	size_t len;
	uint8_t before[];
};

struct sim_group { /* of the engine: what is flushed */
	TAILQ_ENTRY(sim_group) link; /* by id */
	uint32_t id;
	uint64_t slot;
	struct engine_layer *state; /* may be shared: see sim_layer_own */
	struct engine_layer *rot;   /* positions that cannot be read; NULL: none */
};

struct sim_batch { /* committed, not flushed */
	TAILQ_ENTRY(sim_batch) link; /* in the order of commits, over all groups */
	uint64_t number;
	struct sim_group *group;
	uint64_t slot;
	size_t count;
	struct engine_node *nodes[];
};

TAILQ_HEAD(sim_files, sim_file);
TAILQ_HEAD(sim_smalls, sim_small);
TAILQ_HEAD(sim_ops, sim_op);
TAILQ_HEAD(sim_pasts, sim_past);
TAILQ_HEAD(sim_groups, sim_group);
TAILQ_HEAD(sim_batches, sim_batch);

struct sim_disk {
	TAILQ_ENTRY(sim_disk) link; /* of those with a name */
	char *name;		    /* NULL: a copy */
	struct sim_disk_faults faults;
	uint32_t block;

	bool made, made_log, made_engine; /* directories */
	bool locked;
	struct sim_files files;
	struct sim_smalls smalls;
	struct sim_ops ops;
	struct sim_pasts pasts;
	uint32_t past_count;

	struct sim_groups groups;
	struct sim_batches batches;
	uint64_t batch_number; /* of the newest */
	struct sim_engine *engine; /* that a process has open; NULL: none */
};

/* ---- sim_disk.c ---- */

/* Sleeps as long as @times writes take, off the main thread of a process. */
void sim_disk__wait(struct sim_disk *d, unsigned times);
bool sim_disk__fails(struct sim_disk *d, const char *what); /* by chance, now; noted */

struct sim_op *sim_disk__begin(struct sim_disk *d, enum sim_op_kind kind, const char *name,
			       uint64_t offset, const void *p, uint64_t len);
void sim_disk__done(struct sim_disk *d, struct sim_op *op); /* takes effect; frees it */
void sim_disk__drop(struct sim_disk *d, struct sim_op *op); /* failed: part of it, or nothing */

/* ---- sim_disk_log.c ---- */

struct sim_file *sim_disk__file(struct sim_disk *d, const char *name); /* NULL: not there */
struct sim_file *sim_disk__file_add(struct sim_disk *d, const char *name, uint64_t size);
void sim_disk__file_remove(struct sim_disk *d, struct sim_file *f);
/* The bytes of @f there are another's now; nothing that was written there can be undone. */
void sim_disk__touch(struct sim_disk *d, const struct sim_file *f, uint64_t offset, size_t len);
void sim_disk__write(struct sim_disk *d, struct sim_file *f, uint64_t offset, const void *p,
		     size_t len);
/* Some of its sectors, in no order, some of them in part; true when it was neither all nor nothing. */
bool sim_disk__tear(struct sim_disk *d, struct sim_file *f, uint64_t offset, const uint8_t *p,
		    size_t len);
void sim_disk__past_free(struct sim_disk *d, struct sim_past *p);
uint64_t sim_disk__log_bytes(const struct sim_disk *d);

/* ---- sim_datadir.c ---- */

void sim_datadir__put(struct sim_disk *d, const char *name, const void *p, size_t len);
void sim_datadir__clear(struct sim_disk *d);

/* ---- sim_engine_disk.c ---- */

/* Makes the layer one that nobody else refers to, by a copy if need be. */
void sim_layer_own(struct engine_layer **l);
struct sim_group *sim_engine__group(struct sim_disk *d, uint32_t id); /* makes it */
void sim_engine__add(struct sim_disk *d, struct sim_batch *b); /* takes it */
void sim_engine__fold(struct sim_disk *d, uint64_t number);    /* flushes all up to that batch */
void sim_engine__replace(struct sim_group *g, struct engine_layer *state, uint64_t slot);
void sim_engine__settle(struct sim_disk *d); /* nobody has it open: what survives? */
void sim_engine__clear(struct sim_disk *d);
void sim_engine__copy(struct sim_disk *to, const struct sim_disk *from);
uint64_t sim_engine__bytes(const struct sim_disk *d);

/* ---- sim_engine.c ---- */

void sim_engine__abandon(struct sim_disk *d); /* its process is gone */

#endif
