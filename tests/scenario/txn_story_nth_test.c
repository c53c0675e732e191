/* txn: every allocation of the state machine fails once, in a story with all kinds of commands. Either
 * the call says so (ERR_NOMEM: the driver ends the process, which goes on from its log), or the process
 * ends itself, or it does not matter: then all replicas are equal and every client gets its answer.
 *
 * Linked with --wrap for the calls of txn/tsm.h: whatever drives a machine comes by here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/txn_fixture.h"

static struct fault *fault;

/* An armed call of the machine. What the fixture does in between has its memory. */
#define ARMED(call)                                                                                \
	do {                                                                                       \
		fault_arm(fault);                                                                  \
		call;                                                                              \
		fault_disarm(fault);                                                               \
	} while (0)

/* The driver ends the process then. */
static int or_end(int err)
{
	if (err != ERR_NOMEM)
		return err;
	CHECK_TRUE(fault && fault->fired);
	fprintf(stderr, "out of memory, says tsm\n");
	abort();
}

int __real_tsm_open(const struct tsm_config *cfg, struct tsm **out);
int __wrap_tsm_open(const struct tsm_config *cfg, struct tsm **out);
int __wrap_tsm_open(const struct tsm_config *cfg, struct tsm **out)
{
	struct tsm *const before = *out;
	int err;

	ARMED(err = __real_tsm_open(cfg, out));
	if (err) {
		CHECK_PTR_EQ(*out, before);
		CHECK_ERR(err, ERR_NOMEM);
		CHECK_TRUE(fault && fault->fired);
		err = __real_tsm_open(cfg, out); /* of the same store */
	}
	return err;
}

int __real_tsm_apply(struct tsm *t, struct slice command);
int __wrap_tsm_apply(struct tsm *t, struct slice command);
int __wrap_tsm_apply(struct tsm *t, struct slice command)
{
	int err;

	ARMED(err = __real_tsm_apply(t, command));
	return or_end(err);
}

int __real_tsm_end_entry(struct tsm *t);
int __wrap_tsm_end_entry(struct tsm *t);
int __wrap_tsm_end_entry(struct tsm *t)
{
	int err;

	ARMED(err = __real_tsm_end_entry(t));
	return or_end(err);
}

int __real_tsm_message(struct tsm *t, struct slice bytes, uint64_t now_ns);
int __wrap_tsm_message(struct tsm *t, struct slice bytes, uint64_t now_ns);
int __wrap_tsm_message(struct tsm *t, struct slice bytes, uint64_t now_ns)
{
	int err;

	ARMED(err = __real_tsm_message(t, bytes, now_ns));
	return or_end(err);
}

void __real_tsm_tick(struct tsm *t, uint64_t now_ns);
void __wrap_tsm_tick(struct tsm *t, uint64_t now_ns);
void __wrap_tsm_tick(struct tsm *t, uint64_t now_ns)
{
	ARMED(__real_tsm_tick(t, now_ns));
}

void __real_tsm_set_leading(struct tsm *t, bool leading, uint64_t now_ns);
void __wrap_tsm_set_leading(struct tsm *t, bool leading, uint64_t now_ns);
void __wrap_tsm_set_leading(struct tsm *t, bool leading, uint64_t now_ns)
{
	ARMED(__real_tsm_set_leading(t, leading, now_ns));
}

void __real_tsm_request_proposed(struct tsm *t, struct slice command, uint64_t now_ns);
void __wrap_tsm_request_proposed(struct tsm *t, struct slice command, uint64_t now_ns);
void __wrap_tsm_request_proposed(struct tsm *t, struct slice command, uint64_t now_ns)
{
	ARMED(__real_tsm_request_proposed(t, command, now_ns));
}

void __real_tsm_read(struct tsm *t, uint64_t token, struct slice part, uint64_t now_ns);
void __wrap_tsm_read(struct tsm *t, uint64_t token, struct slice part, uint64_t now_ns);
void __wrap_tsm_read(struct tsm *t, uint64_t token, struct slice part, uint64_t now_ns)
{
	ARMED(__real_tsm_read(t, token, part, now_ns));
}

/* ---- the story ---- */

static struct txf f;
static struct txf_client clients[3];
static const struct txn_field n8 = {.offset = 0, .width = 8};

static void start(struct fault *the_fault, unsigned replicas)
{
	struct txf_config cfg;

	txf_config_default(&cfg);
	cfg.groups = 2;
	cfg.replicas = replicas;
	fault = the_fault;
	txf_open(&f, &cfg);
	for (int i = 0; i < 3; i++)
		txf_client_init(&clients[i], &f);
}

static void finish(void)
{
	txf_settle(&f);
	fault = NULL;
	for (int i = 0; i < 3; i++)
		txf_client_release(&clients[i]);
	txf_close(&f);
}

/* A read, or a coordinator, may answer that it has no memory: then nothing was done. */
static int exec(struct txf_client *c, const struct txn_mini *m, struct txn_result *r)
{
	int err = txf_exec(c, m, r);

	if (err == ERR_NOMEM && fault->fired)
		err = txf_exec(c, m, r);
	return err;
}

static struct txf_key key(uint32_t group, const char *name)
{
	return txf_key(group, 1, 'T', name);
}

/* Every kind of condition, read and mutation, in one group and in two. */
static void all_kinds(struct txf_client *c, uint32_t a, uint32_t b)
{
	struct txf_key ka = key(a, "a"), kb = key(b, "b"), kn = key(a, "n"), kz = key(a, "z");
	struct txn_mini m;
	struct txn_result r;
	uint8_t ref[8];

	txn_mini_init(&m);
	txn_result_init(&r);
	be64_put(ref, (uint64_t)a * TXF_PLACE_STEP << 48 | 1);
	le64_put(ref, be64_get(ref));
	(void)txn_if_absent(&m, txf_slice(&ka));
	(void)txn_put(&m, txf_slice(&ka), slice_of(ref, 8));
	(void)txn_put(&m, txf_slice(&kb), slice_str("a value that is long enough to need memory, "
						     "when it is copied here and there"));
	(void)txn_patch(&m, txf_slice(&kn), 8, slice_str("behind the number"));
	CHECK_OK(exec(c, &m, &r));

	txn_mini_reset(&m);
	(void)txn_if_absent(&m, txf_slice(&ka)); /* does not hold: the present value comes back */
	(void)txn_put(&m, txf_slice(&kb), slice_str("never"));
	CHECK_ERR(exec(c, &m, &r), ERR_CONDITION);
	CHECK_SLICE_EQ(r.current.value, slice_of(ref, 8));

	txn_mini_reset(&m);
	(void)txn_if_exists(&m, txf_slice(&kb));
	(void)txn_if_field_u64(&m, txf_slice(&kn), n8, 0);
	(void)txn_add(&m, txf_slice(&kn), n8, 7, true);
	(void)txn_or(&m, txf_slice(&kz), slice_str("bits that make a value of some length"));
	(void)txn_get_ref(&m, txn_get(&m, txf_slice(&ka)), 0, 'T', slice_str("n"));
	(void)txn_scan(&m, txf_slice(&ka), txf_slice(&kz), 10);
	CHECK_OK(exec(c, &m, &r));
	CHECK_U64_EQ(r.numbers[0], 7);
	CHECK_OK(r.reads[1].value.status);
	CHECK_INT_EQ(r.reads[1].value.value.len, 25);

	txn_mini_reset(&m);
	(void)txn_max(&m, txf_slice(&kn), n8, 70);
	(void)txn_cut(&m, txf_slice(&kz), 3);
	(void)txn_delete(&m, txf_slice(&kb));
	CHECK_OK(exec(c, &m, &r));

	txn_mini_reset(&m);
	(void)txn_get_ref(&m, txn_get(&m, txf_slice(&ka)), 0, 'T', slice_str("n"));
	(void)txn_scan(&m, txf_slice(&ka), txf_slice(&kz), 10);
	(void)txn_get(&m, txf_slice(&kb));
	CHECK_OK(exec(c, &m, &r));
	CHECK_U64_EQ(le64_get(r.reads[1].value.value.p), 70);
	CHECK_ERR(r.reads[3].value.status, ERR_NOT_FOUND);

	txn_mini_reset(&m);
	(void)txn_delete_range(&m, txf_slice(&ka), txf_slice(&kz));
	(void)txn_delete(&m, txf_slice(&kz));
	CHECK_OK(exec(c, &m, &r));
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void one_group(struct fault *the_fault)
{
	start(the_fault, 2);
	all_kinds(&clients[0], 0, 0);
	CHECK_OK(txf_close_session(&clients[0]));
	finish();
}

static void two_groups(struct fault *the_fault)
{
	start(the_fault, 2);
	all_kinds(&clients[0], 0, 1);
	finish();
}

/* Two who lock each other out across groups, one who locks up front, one who reads: waiting, deadlock,
 * probes, votes, cancellation. */
static void rival(void *arg)
{
	struct txf_client *c = arg;
	unsigned first = c == &clients[0];
	struct txf_key k[2] = {key(first, "k"), key(!first, "k")};
	struct txn_mini m;
	struct txn_result r;

	txn_mini_init(&m);
	txn_result_init(&r);
	for (int i = 0; i < 2; i++) {
		txn_mini_reset(&m);
		for (int n = 0; n < 2; n++) {
			(void)txn_get(&m, txf_slice(&k[n]));
			(void)txn_put(&m, txf_slice(&k[n]), slice_str("value"));
		}
		CHECK_OK(exec(c, &m, &r));
	}
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void locker(void *arg)
{
	struct txf_client *c = arg;
	struct txf_key k[2] = {key(0, "k"), key(1, "k")};
	struct txn_lock lock;
	struct txn_mini m;
	int err;

	txn_mini_init(&m);
	(void)txn_delete(&m, txf_slice(&k[0]));
	(void)txn_delete(&m, txf_slice(&k[1]));
	err = c->executor.lock(&c->executor, &m, &lock);
	if (err == ERR_NOMEM && fault->fired)
		err = c->executor.lock(&c->executor, &m, &lock);
	CHECK_OK(err);
	txf_sleep(&f, 15 * NS_PER_S); /* longer than anybody may wait */
	txn_mini_release(&m);
	c->executor.unlock(&c->executor, &lock);
}

static void reader(void *arg)
{
	struct txf_key k = key(0, "k");

	for (int i = 0; i < 3; i++, txf_sleep(&f, NS_PER_MS)) {
		int err = txf_get(arg, txf_slice(&k), NULL, NULL);

		CHECK_TRUE(err == 0 || (err == ERR_NOMEM && fault->fired));
	}
}

static void rivals(struct fault *the_fault)
{
	start(the_fault, 2);
	for (int i = 0; i < 2; i++)
		txf_spawn(&f, rival, &clients[i]);
	CHECK_TRUE(txf_run(&f));
	txf_spawn(&f, locker, &clients[0]);
	txf_spawn(&f, reader, &clients[2]);
	CHECK_TRUE(txf_run(&f));
	finish();
}

/* A machine opened from what others left: prepared, waiting, decided, with another leader. */
static void restarts(struct fault *the_fault)
{
	struct txn_mini m;
	struct txf_key k[2] = {key(0, "k"), key(1, "k")};
	struct txf_call *calls[3];

	start(the_fault, 2);
	txn_mini_init(&m);
	for (int n = 0; n < 2; n++)
		(void)txn_put(&m, txf_slice(&k[n]), slice_str("a value of a certain length, as "
							       "values have it"));
	for (int i = 0; i < 3; i++)
		CHECK_OK(txf_send(&clients[i], &m, &(struct txf_options){0}, &calls[i]));
	for (int i = 0; i < 12; i++) {
		(void)txf_step(&f);
		txf_restart(&f, (uint32_t)i % 2, (unsigned)i / 2 % 2);
		if (i % 4 == 3)
			txf_elect(&f, (uint32_t)i % 2, (unsigned)i / 4 % 2);
	}
	for (int i = 0; i < 3; i++) {
		int err = txf_await(calls[i], NULL, NULL);

		CHECK_TRUE(err == 0 || (err == ERR_NOMEM && the_fault->fired));
	}
	txn_mini_release(&m);
	finish();
}

static const struct {
	const char *name;
	fault_fn *fn;
} stories[] = {
	{"one group: all kinds of items, close", one_group},
	{"two groups: all kinds of items", two_groups},
	{"two groups: deadlock, locks, reads", rivals},
	{"two groups: restarts, new leaders", restarts},
};

static void run_story(size_t i)
{
	fault_every_forked(stories[i].name, stories[i].fn, NULL, NULL);
}

static void in_one_group(void)
{
	run_story(0);
}

static void in_two_groups(void)
{
	run_story(1);
}

static void in_a_deadlock(void)
{
	run_story(2);
}

static void in_a_restart(void)
{
	run_story(3);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, fault_teardown, in_one_group),
	CHECK_TEST_WITH(NULL, fault_teardown, in_two_groups),
	CHECK_TEST_WITH(NULL, fault_teardown, in_a_deadlock),
	CHECK_TEST_WITH(NULL, fault_teardown, in_a_restart),
};
CHECK_MAIN(tests)
