/* The world of a simulation: virtual time, one stream of random numbers, machines with clocks of their
 * own, processes, and their threads. One world per operating system process; everything in it runs
 * on one thread, in an order that follows from the seed alone.
 *
 * The code under test is the product's own, from POSIX calls down to log sectors. What it stands on is
 * replaced at link time: threads (sim_thread.c, --wrap=pthread_...), clocks (sim_clock.c,
 * --wrap=clock_gettime), the event loop and sockets (sim_loop.c, sim_stream.c), log device, data
 * directory and engine (sim_disk.c, sim_datadir.c, sim_engine.c), logger (sim_logger.c).
 *
 * A process is a set of threads, each a stack of its own that runs until it waits. Killing one leaves
 * its memory as it is, unreachable: no code of it ever runs again.
 */
#ifndef PAXFS_TESTS_SIM_SIM_H
#define PAXFS_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/list.h"

struct sim_disk;
struct sim_thread;

/* ---- world ---- */

void sim_world_init(uint64_t seed);
uint64_t sim_now(void); /* ns since the world began */
uint64_t sim_seed(void);

/* Random numbers: one stream for all that happens. */
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);			      /* uniform in [0, n); 0 for n = 0 */
uint64_t sim_between(uint64_t min, uint64_t max);     /* uniform in [min, max] */
bool sim_chance(uint32_t ppm);			      /* true in so many of a million cases */

/* Runs threads and callbacks until the world's time is @until_ns, or sim_stop(). */
void sim_run(uint64_t until_ns);
void sim_stop(void);

/* Calls @fn on the scheduler's stack at @at_ns of the world (now, if that has passed). */
void sim_at(uint64_t at_ns, void (*fn)(void *ctx), void *ctx);

/* ---- trace ---- */

/* One line of what happens. Goes into the world's hash, and to stderr when sim_trace_on is set. */
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for what is too much otherwise: only when sim_trace_on is set, and not in the hash. */
void sim_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_hash(const void *p, size_t n); /* into the hash only */
uint64_t sim_trace_hash(void);
extern bool sim_trace_on;

/* A promise was broken: prints what, seed, time and the last lines of the trace, and ends the run. */
_Noreturn void sim_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- machines and processes ---- */

struct sim_clock { /* of a machine; world time at `ref_ns` is mono_ns there, then it runs at rate */
	uint64_t ref_ns, mono_ns;
	int64_t rate_ppm; /* too fast by so much */
	int64_t wall_offset_ns;
};

struct sim_machine { /* zeroed, then sim_machine_init */
	uint32_t id; /* 1 .. SIM_MACHINES_MAX - 1 */
	struct sim_clock clock;
	struct sim_disk *disk; /* NULL: none */
	char address[32];      /* "10.0.0.ID": the port is the process's business */
};

#define SIM_MACHINES_MAX 32u

struct sim_proc {
	char name[24]; /* "node 2", "client 7" */
	struct sim_machine *machine;
	bool dead;
	uint64_t paused_until_ns; /* world; its threads do not run before */
	/* Died by itself: its main returned (why NULL), or logger_die(). May be NULL. */
	void (*on_exit)(struct sim_proc *p, const char *why);
	void *user;
	TAILQ_ENTRY(sim_proc) link;
	TAILQ_HEAD(sim_threads, sim_thread) threads;
	TAILQ_HEAD(sim_streams, stream) streams;     /* sim_stream.c's */
	TAILQ_HEAD(sim_listeners, net_listener) listeners;
	uint64_t started_ns;
};

void sim_machine_init(struct sim_machine *m, uint32_t id, struct sim_disk *disk);

/* A process whose main thread runs @main(@arg), from the next moment on. */
struct sim_proc *sim_proc_start(const char *name, struct sim_machine *m, void (*main)(void *arg),
				void *arg);
void sim_proc_kill(struct sim_proc *p); /* now: SIGKILL. Not from one of its own threads */
_Noreturn void sim_proc_die(const char *why); /* the running process ends itself */
void sim_proc_pause(struct sim_proc *p, uint64_t ns); /* SIGSTOP, SIGCONT after so long */
void sim_proc_resume(struct sim_proc *p);
struct sim_proc *sim_self(void); /* the process of the running thread; NULL: the world itself */

uint64_t sim_clock_mono(const struct sim_clock *c);
uint64_t sim_clock_wall(const struct sim_clock *c);
uint64_t sim_clock_world(const struct sim_clock *c, uint64_t mono_ns); /* when that will be */
void sim_clock_set_rate(struct sim_clock *c, int64_t rate_ppm);
void sim_clock_jump(struct sim_clock *c, int64_t mono_ns, int64_t wall_ns); /* mono: forwards */

/* ---- threads: of the running one ---- */

struct sim_thread *sim_thread_self(void); /* NULL on the scheduler's stack */
bool sim_thread_is_main(void);
void sim_sleep(uint64_t ns); /* of world time */
/* Until sim_unpark() or that time of the world, whichever is first. An unpark that came before the
 * park counts. */
void sim_park_until(uint64_t at_ns);
void sim_unpark(struct sim_thread *t, uint64_t at_ns); /* it runs at @at_ns or earlier */

/* ---- faults, counted by kind ---- */

#define SIM_FAULTS(X)                                                                               \
	X(LOSS, "messages lost")                                                                    \
	X(DUPLICATE, "messages doubled")                                                            \
	X(REORDER, "messages overtaken")                                                            \
	X(DELAY, "messages held back")                                                              \
	X(CORRUPT_FRAME, "frames damaged on the way")                                               \
	X(BREAK, "connections broken")                                                              \
	X(PARTITION, "two-way partitions")                                                          \
	X(ONE_WAY, "one-way partitions")                                                            \
	X(SLOW_LINK, "slow links")                                                                  \
	X(CRASH, "nodes killed")                                                                    \
	X(CLEAN_STOP, "nodes stopped cleanly")                                                      \
	X(POWER_CUT, "power cuts of all nodes")                                                     \
	X(PAUSE, "processes paused")                                                                \
	X(EVICTION, "clients' sessions closed by others")                                           \
	X(CLIENT_CRASH, "clients killed")                                                           \
	X(CLOCK_DRIFT, "clock rates changed")                                                       \
	X(CLOCK_JUMP, "clock jumps")                                                                \
	X(TORN_WRITE, "log writes torn")                                                            \
	X(LOST_WRITE, "log writes lost")                                                            \
	X(MISDIRECTED_WRITE, "log writes misdirected")                                              \
	X(LOG_ROT, "bits flipped in logs")                                                          \
	X(ENGINE_ROT, "records damaged in engines")                                                 \
	X(SLOW_DISK, "disks slow for a while")                                                      \
	X(SLOW_SYNC, "single slow writes")                                                          \
	X(SYNC_FAIL, "writes failed")                                                               \
	X(DISK_FULL, "disks full")                                                                  \
	X(ENGINE_STALL, "engine stalls")                                                            \
	X(UNFLUSHED_LOST, "engine batches lost in crashes")                                         \
	X(OLD_COPY, "data directories rolled back")

enum sim_fault {
#define X(name, text) SIM_FAULT_##name,
	SIM_FAULTS(X)
#undef X
		SIM_FAULT_COUNT
};

void sim_fault_note(enum sim_fault f);
uint64_t sim_fault_count(enum sim_fault f);
const char *sim_fault_text(enum sim_fault f);

#endif
