/* Transactions of several groups that wait for each other, and those that take locks up front. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_fixture.h"

#define GROUPS 4u

static struct txf f;
static struct txf_client c, other;
static struct txn_mini m;
static struct txn_result r;
static struct txf_key key[GROUPS], second[GROUPS];
static const struct txn_field number = {.offset = 0, .width = 8};

static void setup(void)
{
	static const uint8_t zero[8];
	struct txf_config cfg;

	txf_config_default(&cfg);
	cfg.groups = GROUPS;
	txf_open(&f, &cfg);
	txf_client_init(&c, &f);
	txf_client_init(&other, &f);
	txn_mini_init(&m);
	txn_result_init(&r);
	for (uint32_t g = 0; g < GROUPS; g++) {
		key[g] = txf_key(g, 1, 'N', "number");
		second[g] = txf_key(g, 2, 'N', "number");
		CHECK_OK(txf_put(&c, txf_slice(&key[g]), slice_of(zero, 8)));
		CHECK_OK(txf_put(&c, txf_slice(&second[g]), slice_of(zero, 8)));
	}
}

static void teardown(void)
{
	txn_mini_release(&m);
	txn_result_release(&r);
	if (f.fibers) {
		txf_client_release(&c);
		txf_client_release(&other);
		txf_close(&f);
	}
}

static uint64_t value_of(const struct txf_key *k)
{
	struct buf b = BUF_INIT;
	uint64_t v;

	CHECK_OK(txf_get(&other, txf_slice(k), &b, NULL));
	v = b.len == 8 ? le64_get(b.data) : UINT64_MAX;
	buf_release(&b);
	return v;
}

static void add(const struct txf_key *k, int64_t n)
{
	(void)txn_add(&m, txf_slice(k), number, n, false);
}

static void set(const struct txf_key *k, uint64_t n)
{
	(void)txn_set_u64(&m, txf_slice(k), number, n);
}

static void check_values(uint64_t a, uint64_t b)
{
	CHECK_U64_EQ(value_of(&key[0]), a);
	CHECK_U64_EQ(value_of(&key[1]), b);
}

/* ---- deadlocks ---- */

/* Transaction i has its home in group i and also wants the key of group i + 1: each gets its own
 * and waits for its neighbour. */
static void ring(unsigned n, unsigned youngest)
{
	struct txf_call *call[GROUPS];
	struct txn_mini minis[GROUPS];
	uint64_t start = f.now_ns;

	for (unsigned i = 0; i < n; i++) {
		struct txf_options o = {.age = i == youngest ? 1000 : 10 + i};

		txn_mini_init(&minis[i]);
		(void)txn_set_u64(&minis[i], txf_slice(&key[i]), number, i + 1);
		(void)txn_set_u64(&minis[i], txf_slice(&key[(i + 1) % n]), number, i + 1);
		CHECK_OK(txf_send(&c, &minis[i], &o, &call[i]));
	}
	for (unsigned i = 0; i < n; i++) {
		int err = txf_await(call[i], &minis[i], &r);

		CHECK_ERR(err, i == youngest ? ERR_DEADLOCK : 0);
		txn_mini_release(&minis[i]);
	}
	CHECK_TRUE(f.now_ns - start < 2 * NS_PER_S); /* far below the backstop */
	txf_settle(&f);
}

static void the_youngest_of_a_ring_is_the_victim(void)
{
	for (unsigned n = 2; n <= GROUPS; n++)
		for (unsigned youngest = 0; youngest < n; youngest++) {
			teardown();
			setup();
			ring(n, youngest);
		}
}

struct ringer {
	struct txf_client client;
	unsigned i, n;
};

static void ringer_main(void *arg)
{
	struct ringer *w = arg;
	struct txn_mini mini;
	struct txn_result res;

	txn_mini_init(&mini);
	txn_result_init(&res);
	for (int k = 0; k < 5; k++) {
		txn_mini_reset(&mini);
		for (unsigned g = 0; g < 2; g++)
			(void)txn_add(&mini, txf_slice(&key[(w->i + g) % w->n]), number, 1, true);
		CHECK_OK(txf_exec(&w->client, &mini, &res));
	}
	txn_result_release(&res);
	txn_mini_release(&mini);
}

static void victims_try_again_and_all_succeed(void)
{
	static struct ringer w[GROUPS];

	for (unsigned i = 0; i < GROUPS; i++) {
		txf_client_init(&w[i].client, &f);
		w[i].i = i;
		w[i].n = GROUPS;
		txf_spawn(&f, ringer_main, &w[i]);
	}
	CHECK_TRUE(txf_run(&f));
	for (unsigned i = 0; i < GROUPS; i++)
		CHECK_U64_EQ(value_of(&key[i]), 10);
	CHECK_TRUE(f.now_ns < 1000 * NS_PER_S + 10 * NS_PER_S);
	txf_settle(&f);
	for (unsigned i = 0; i < GROUPS; i++)
		txf_client_release(&w[i].client);
}

/* ---- locks up front ---- */

static void lock_keys(const struct txf_key *a, const struct txf_key *b, struct txn_lock *lock)
{
	struct txn_mini l;

	txn_mini_init(&l);
	(void)txn_delete(&l, txf_slice(a));
	if (b)
		(void)txn_delete(&l, txf_slice(b));
	CHECK_OK(c.executor.lock(&c.executor, &l, lock));
	txn_mini_release(&l);
}

static void nobody_else_gets_in(void)
{
	struct txn_lock lock;
	struct txf_call *call;
	struct txn_mini theirs;
	struct txn_result res;

	txn_mini_init(&theirs);
	txn_result_init(&res);
	lock_keys(&key[0], &key[1], &lock);
	(void)txn_add(&theirs, txf_slice(&key[1]), number, 100, true);
	CHECK_OK(txf_send(&other, &theirs, NULL, &call));
	for (int i = 0; i < 20; i++)
		txf_step(&f);
	CHECK_FALSE(call->done);
	set(&key[0], 5);
	set(&key[1], 6);
	(void)txn_get(&m, slice_of(lock.home, lock.home_len));
	CHECK_OK(c.executor.exec_locked(&c.executor, &m, &lock, &r));
	CHECK_OK(txf_await(call, &theirs, &res));
	CHECK_U64_EQ(res.numbers[0], 106); /* after us */
	txn_result_release(&res);
	txn_mini_release(&theirs);
	txf_settle(&f);
	check_values(5, 106);
}

/* Who waits for our locks does not bar us, though it stands in line before our request. */
static void waiters_do_not_bar_who_holds_the_locks(void)
{
	struct txn_lock lock;
	struct txf_call *call[2];
	struct txn_mini theirs;
	uint64_t start;

	txn_mini_init(&theirs);
	lock_keys(&key[0], &key[1], &lock);
	(void)txn_set_u64(&theirs, txf_slice(&key[0]), number, 50);
	(void)txn_set_u64(&theirs, txf_slice(&key[1]), number, 50);
	for (int i = 0; i < 2; i++)
		CHECK_OK(txf_send(&other, &theirs, NULL, &call[i]));
	for (int i = 0; i < 20; i++)
		txf_step(&f);
	set(&key[0], 5);
	set(&key[1], 6);
	(void)txn_get(&m, slice_of(lock.home, lock.home_len));
	start = f.now_ns;
	CHECK_OK(c.executor.exec_locked(&c.executor, &m, &lock, &r));
	CHECK_TRUE(f.now_ns - start < 5 * NS_PER_MS); /* nobody had to be cancelled for it */
	for (int i = 0; i < 2; i++)
		CHECK_OK(txf_await(call[i], &theirs, &r));
	txn_mini_release(&theirs);
	txf_settle(&f);
	check_values(50, 50);
}

static void one_group_locks_do_so_too(void)
{
	struct txn_lock lock;
	struct txf_call *call;
	struct txn_mini theirs;
	uint64_t start;

	txn_mini_init(&theirs);
	lock_keys(&key[0], NULL, &lock);
	(void)txn_set_u64(&theirs, txf_slice(&key[0]), number, 50);
	CHECK_OK(txf_send(&other, &theirs, NULL, &call));
	for (int i = 0; i < 20; i++)
		txf_step(&f);
	set(&key[0], 5);
	start = f.now_ns;
	CHECK_OK(c.executor.exec_locked(&c.executor, &m, &lock, &r));
	CHECK_TRUE(f.now_ns - start < 5 * NS_PER_MS);
	CHECK_OK(txf_await(call, &theirs, &r));
	txn_mini_release(&theirs);
	txf_settle(&f);
	check_values(50, 0);
}

static void given_up_locks_let_others_in(void)
{
	struct txn_lock lock;

	lock_keys(&key[0], &key[1], &lock);
	c.executor.unlock(&c.executor, &lock);
	txf_settle(&f);
	set(&key[0], 1);
	set(&key[1], 1);
	CHECK_OK(txf_exec(&other, &m, &r));
	txn_mini_reset(&m);
	set(&key[0], 2);
	(void)txn_get(&m, slice_of(lock.home, lock.home_len));
	CHECK_ERR(c.executor.exec_locked(&c.executor, &m, &lock, &r), ERR_CONDITION);
	CHECK_INT_EQ(r.failed, UINT32_MAX);
	check_values(1, 1);
	txf_settle(&f);
}

static void a_failed_condition_ends_the_locks(void)
{
	struct txn_lock lock;

	lock_keys(&key[0], &key[1], &lock);
	(void)txn_if_absent(&m, txf_slice(&key[1]));
	set(&key[0], 2);
	CHECK_ERR(c.executor.exec_locked(&c.executor, &m, &lock, &r), ERR_CONDITION);
	CHECK_INT_EQ(r.failed, 0);
	txf_settle(&f); /* no lock is left */
}

static void locks_survive_their_leaders(void)
{
	struct txn_lock lock;
	struct txf_call *call;

	lock_keys(&key[0], &key[1], &lock);
	for (uint32_t g = 0; g < 2; g++) {
		txf_leader_loss(&f, g, 0, UINT64_MAX);
		for (unsigned i = 0; i < 3; i++)
			txf_restart(&f, g, i);
		txf_elect(&f, g, 1);
	}
	add(&key[0], 1);
	CHECK_OK(txf_send(&other, &m, NULL, &call));
	for (int i = 0; i < 30; i++)
		txf_step(&f);
	CHECK_FALSE(call->done);
	c.executor.unlock(&c.executor, &lock);
	CHECK_OK(txf_await(call, &m, &r));
	txf_settle(&f);
}

/* Two who hold shared locks and both want to write: one of them has to give way, and only one. */
static void upgrade(const struct txf_key *a, const struct txf_key *b)
{
	struct txf_call *call[2];
	struct txf_client *who[2] = {&c, &other};
	struct txn_lock lock[2];
	uint64_t start;
	int err[2];

	(void)txn_get(&m, txf_slice(a));
	(void)txn_get(&m, txf_slice(b));
	for (int i = 0; i < 2; i++)
		CHECK_OK(who[i]->executor.lock(&who[i]->executor, &m, &lock[i]));
	start = f.now_ns;
	txn_mini_reset(&m);
	set(a, 1);
	set(b, 1);
	for (int i = 0; i < 2; i++) {
		struct txf_options o = {.lock = lock[i].sequence,
					.home = slice_of(lock[i].home, lock[i].home_len)};

		CHECK_OK(txf_send(who[i], &m, &o, &call[i]));
	}
	for (int i = 0; i < 2; i++)
		err[i] = txf_await(call[i], &m, &r);
	CHECK_TRUE((err[0] == 0) != (err[1] == 0));
	CHECK_ERR(err[0] ? err[0] : err[1], ERR_DEADLOCK);
	CHECK_TRUE(f.now_ns - start < 2 * NS_PER_S);
	txf_settle(&f);
}

static void upgrades_that_deadlock_are_found(void)
{
	upgrade(&key[0], &key[1]);
}

static void in_one_group_too(void)
{
	upgrade(&key[0], &second[0]);
}

/* ---- many ---- */

static void a_full_line_is_busy_for_all_groups(void)
{
	static struct txf_call *calls[TXN_WAITERS_PER_KEY_MAX];
	struct txf_options home = {.home = txf_slice(&key[1])};
	struct txf_call *call;
	struct txn_lock lock;

	lock_keys(&key[0], NULL, &lock);
	add(&key[0], 1);
	for (unsigned i = 0; i < TXN_WAITERS_PER_KEY_MAX; i++)
		CHECK_OK(txf_send(&other, &m, NULL, &calls[i]));
	for (unsigned i = 0; i < 2 * TXN_WAITERS_PER_KEY_MAX; i++)
		txf_step(&f);
	add(&key[1], 1);
	CHECK_OK(txf_send(&c, &m, NULL, &call)); /* coordinated where the line is full */
	CHECK_ERR(txf_await(call, NULL, NULL), ERR_BUSY);
	CHECK_OK(txf_send(&c, &m, &home, &call)); /* where it is not */
	CHECK_ERR(txf_await(call, NULL, NULL), ERR_BUSY);
	c.executor.unlock(&c.executor, &lock);
	for (unsigned i = 0; i < TXN_WAITERS_PER_KEY_MAX; i++)
		CHECK_OK(txf_await(calls[i], NULL, NULL));
	CHECK_U64_EQ(value_of(&key[0]), TXN_WAITERS_PER_KEY_MAX);
	CHECK_U64_EQ(value_of(&key[1]), 0);
	txf_settle(&f);
}

static void many_transactions_end_together(void)
{
	static struct txf_call *calls[300];

	add(&key[0], 1);
	add(&key[1], 1);
	add(&key[2], 1);
	for (unsigned i = 0; i < 300; i++)
		CHECK_OK(txf_send(&c, &m, NULL, &calls[i]));
	for (unsigned i = 0; i < 300; i++)
		CHECK_OK(txf_await(calls[i], NULL, NULL));
	txf_settle(&f);
	for (uint32_t g = 0; g < 3; g++) {
		CHECK_U64_EQ(value_of(&key[g]), 300);
		CHECK_INT_EQ(txn_mem_count(txf_mem(&f, g), TXN_TABLE_TXN), 0);
	}
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(the_youngest_of_a_ring_is_the_victim),
	T(victims_try_again_and_all_succeed),
	T(nobody_else_gets_in),
	T(waiters_do_not_bar_who_holds_the_locks),
	T(one_group_locks_do_so_too),
	T(given_up_locks_let_others_in),
	T(a_failed_condition_ends_the_locks),
	T(locks_survive_their_leaders),
	T(upgrades_that_deadlock_are_found),
	T(in_one_group_too),
	T(a_full_line_is_busy_for_all_groups),
	T(many_transactions_end_together),
};
CHECK_MAIN(tests)
