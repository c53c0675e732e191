/* What the parts of fp_load share. See fp_load_main.c. */
#ifndef PAXFS_TESTS_SYSTEM_FP_LOAD_H
#define PAXFS_TESTS_SYSTEM_FP_LOAD_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "kv/wire.h"
#include "tools/cli.h"

#define PAIRS	    3u /* fibers that add to a counter in each group, in one transaction */
#define SINGLES	    2u /* fibers that count in one group, a different one each time */
#define RIVALS	    3u /* fibers that add to the same counters: they wait, and deadlock */
#define GROUPS	    8u
#define PACE_NS	    (2 * NS_PER_MS)
#define HOLD_NS	    (1300 * NS_PER_MS)
#define BULK_SIZE   16384u
#define SETTLE_NS   (30 * NS_PER_S)
#define CALL_NS	    (1 * NS_PER_S)
#define FLOOR_IDS   80u
#define SETTLE_STEP (10 * NS_PER_MS)

enum what { KEY_PAIR = 1, KEY_SINGLE, KEY_RIVAL, KEY_HELD, KEY_BULK, KEY_SESSION };

struct counter {
	struct load *load;
	uint32_t index;
	uint64_t acked[GROUPS]; /* singles: per group; others: [0] */
	uint64_t unknown;	/* interrupted: perhaps done */
	uint64_t begun_ns;	/* of the operation under way; 0: none */
	uint64_t rounds;	/* begun and ended since `after` */
	struct fiber *fiber;
};

struct load {
	struct cli_session *s;
	struct env *env;
	struct kv_client *client;
	struct fs_backend backend;
	struct fs *fs;
	bool calm, stop, paused;
	uint32_t groups[GROUPS], group_count; /* data groups */
	uint32_t home;			      /* index of the group that coordinates */
	uint32_t busy;			      /* fibers inside an operation */
	uint32_t fibers;
	uint64_t ops, stall_ns, marked_ns, after_ns;
	struct counter pairs[PAIRS], singles[SINGLES], rivals[RIVALS];
	uint64_t swaps;
	char bad[256];
};
/* ---- fp_load_work.c ---- */
uint64_t load_now(const struct load *l);
/* The first thing that is wrong is kept. */
void load_bad(struct load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int load_get(struct load *l, enum what what, uint32_t group, uint32_t index, uint64_t *v);
void load_check_files(struct load *l);
void load_spawn(struct load *l, fiber_fn *fn, void *arg);
void load_floor_main(void *arg);
int load_prepare(struct load *l);
void load_start(struct load *l);

/* ---- fp_load_checks.c ---- */
void load_check(struct load *l);
/* Ends what is under way, and the session: a client that just dies keeps its locks for a minute. */
void load_end(struct load *l);
const char *load_address_of(struct load *l, uint32_t node);

#endif
