/* Shared by the parts of histload: who asks, what is noted, and the workloads. */
#ifndef PAXFS_TESTS_SYSTEM_HISTLOAD_H
#define PAXFS_TESTS_SYSTEM_HISTLOAD_H

#include "tests/check/history.h"
#include "tools/cli.h"

#define CLIENTS_MAX 16u /* of one workload */
#define WORKERS_MAX (5u * CLIENTS_MAX)
#define EPOCH_NS    (4 * NS_PER_S) /* registers, lists and sets are others after it */

#define REGISTERS 6u /* per epoch */
#define LISTS	  5u
#define SETS	  2u
#define ACCOUNTS  7u
#define BALANCE	  100
#define COUNTERS  4u

struct load;
struct worker {
	struct load *load;
	uint32_t number, generation;
	void (*op)(struct worker *w);
	bool busy;
	uint64_t busy_since_ns; /* of the call, or the last mark */
	uint64_t id;	       /* of the operation in the history */
	enum history_kind kind;
};

struct load {
	struct cli_session *s;
	struct txn_executor *x;
	struct history_stream stream;
	FILE *file;
	struct fiber *main;
	uint32_t number, clients, worker_count, live;
	uint64_t space, seed, first_epoch, values; /* values: how many were made up */
	uint64_t ok, failed, unknown, longest_ns;
	int last_error; /* of what did not end well */
	bool stopping, broken;
	struct worker workers[WORKERS_MAX];
};

uint64_t load_now(struct load *l);
uint64_t load_dice(struct load *l);
uint64_t load_epoch(struct load *l);
uint64_t load_value(struct load *l); /* never given before, by any process */

enum family { FAMILY_REGISTER = 1, FAMILY_LIST, FAMILY_ACCOUNT, FAMILY_COUNTER, FAMILY_SET };
#define LOAD_KEY_SIZE 19u
/* Spread over all places, hence groups. */
struct slice load_key(const struct load *l, enum family f, uint64_t k, uint8_t out[LOAD_KEY_SIZE]);

/* Notes the invocation, and what came of it. @err as from txn_exec; @reads: it changes nothing, so that
 * no error is of unknown outcome. */
void op_begin(struct worker *w, const struct history_op *op);
void op_end(struct worker *w, int err, bool reads, const struct history_result *res);

bool bank_fill(struct load *l);
bool counters_fill(struct load *l);
void register_op(struct worker *w);
void list_op(struct worker *w);
void bank_op(struct worker *w);
void counter_op(struct worker *w);
void set_op(struct worker *w);
void register_read_all(struct worker *w, uint64_t epoch);
void list_read_all(struct worker *w, uint64_t epoch);
void set_read_all(struct worker *w, uint64_t epoch);
void counter_read(struct worker *w, uint64_t k);
void bank_read(struct worker *w);

#endif
