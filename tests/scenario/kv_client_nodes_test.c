/* The routing client on real nodes: counts and sums that must come out right while leaders die. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_fixture.h"

#define WORKERS 8u
#define ROUNDS	25u

static struct kvf f;
static struct kv_client *client;

static const struct txn_field counter = {.width = 8};

static void setup(void)
{
	kvf_open(&f, 3, NULL);
}

static void teardown(void)
{
	kvf_close(&f);
}

static struct kv_client *open_client(struct kvf *k, uint64_t timeout_ns)
{
	static char endpoints[256];
	struct kv_client_config cfg = {.endpoints = endpoints,
				       .transport = k->transport,
				       .env = loop_env(k->loop),
				       .fibers = loop_fibers(k->loop),
				       .timeout_ns = timeout_ns,
				       .connect_timeout_ns = 10 * NS_PER_S,
				       .name = "test",
				       .session = true};
	struct kv_client *c = NULL;
	struct msg m = {""};
	int err;

	snprintf(endpoints, sizeof(endpoints), "%s,%s,%s", k->nodes[1].address,
		 k->nodes[2].address, k->nodes[3].address);
	err = kv_client_open(&cfg, &c, &m);
	if (err)
		CHECK_FAIL("open: %s: %s", err_name(err), m.text);
	return c;
}

static void begin(struct kvf *k, uint32_t groups)
{
	CHECK_OK(kvf_init(k, groups, 3));
	client = open_client(k, KVF_DEADLINE_NS);
}

static void end(void)
{
	kv_client_close(client);
	client = NULL;
}

/* ---- single transactions ---- */

static int put_u64(struct slice key, uint64_t v)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t value[8];
	int err;

	le64_put(value, v);
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, key, slice_of(value, 8));
	err = txn_exec(kv_client_executor(client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

/* The values of all @keys at one moment. */
static int get_all(const struct slice *keys, uint64_t *values, unsigned n)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	for (unsigned i = 0; i < n; i++)
		txn_get(&m, keys[i]);
	err = txn_exec(kv_client_executor(client), &m, &r);
	for (unsigned i = 0; !err && i < n; i++) {
		const struct txn_value *v = &r.reads[i].value;

		if (v->status || v->value.len != 8)
			err = v->status ? v->status : ERR_CORRUPT;
		else
			values[i] = le64_get(v->value.p);
	}
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static int add_one(const struct slice *keys, unsigned n)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	for (unsigned i = 0; i < n; i++)
		txn_add(&m, keys[i], counter, 1, false);
	err = txn_exec(kv_client_executor(client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

/* ---- workers ---- */

struct work {
	int (*fn)(unsigned worker, unsigned round);
	unsigned left, done; /* workers; rounds */
	int err;
};

struct worker {
	struct work *work;
	unsigned index;
};

static void worker_main(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		int err = w->work->fn(w->index, i);

		if (err && !w->work->err)
			w->work->err = err;
		w->work->done++;
	}
	w->work->left--;
}

/* Runs @fn in WORKERS fibers; leaders of @group die and come back meanwhile. */
static void work(struct kvf *k, int (*fn)(unsigned worker, unsigned round), uint32_t group)
{
	struct work w = {.fn = fn, .left = WORKERS};
	struct worker workers[WORKERS];
	unsigned next_death = WORKERS * ROUNDS / 4;
	uint32_t dead = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){&w, i};
		CHECK_OK(fiber_start(loop_fibers(k->loop), worker_main, &workers[i]));
	}
	while (w.left > 0) {
		fiber_sleep(5 * NS_PER_MS);
		if (!group || w.done < next_death)
			continue;
		next_death += WORKERS * ROUNDS / 4;
		if (dead)
			CHECK_OK(kvf_start(k, dead));
		dead = kv_client_leader(client, group);
		if (dead)
			kvf_kill(k, dead);
	}
	if (dead)
		CHECK_OK(kvf_start(k, dead));
	CHECK_OK(w.err);
}

/* ---- exactly once ---- */

static struct slice count_keys[2];
static uint8_t count_bytes[2][64];

static int count(unsigned worker, unsigned round)
{
	(void)worker;
	return add_one(count_keys, round % 3 == 0 ? 2 : 1);
}

static void count_story(struct kvf *k)
{
	uint64_t values[2] = {0};
	unsigned both = WORKERS * ((ROUNDS + 2) / 3);

	begin(k, 2);
	count_keys[0] = kvf_key(k, 1, "count", count_bytes[0]);
	count_keys[1] = kvf_key(k, 2, "count", count_bytes[1]);
	CHECK_OK(put_u64(count_keys[0], 0));
	CHECK_OK(put_u64(count_keys[1], 0));
	work(k, count, 1);
	CHECK_OK(get_all(count_keys, values, 2));
	CHECK_U64_EQ(values[0], WORKERS * ROUNDS);
	CHECK_U64_EQ(values[1], both);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait_equal(k, 2));
	end();
}

static void every_increment_counts_once(void)
{
	kvf_run(&f, count_story);
}

/* ---- sums ---- */

#define ACCOUNTS 4u
#define BALANCE	 1000u

static struct slice accounts[ACCOUNTS];
static uint8_t account_bytes[ACCOUNTS][64];

static int move_one(unsigned from, unsigned to)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_if_field_min(&m, accounts[from], counter, 1);
	txn_add(&m, accounts[from], counter, -1, false);
	txn_add(&m, accounts[to], counter, 1, false);
	err = txn_exec(kv_client_executor(client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err == ERR_CONDITION ? 0 : err;
}

static int read_sum(void)
{
	uint64_t v[ACCOUNTS], sum = 0;
	int err = get_all(accounts, v, ACCOUNTS);

	for (unsigned i = 0; !err && i < ACCOUNTS; i++)
		sum += v[i];
	return err ? err : sum == ACCOUNTS * BALANCE ? 0 : ERR_CORRUPT;
}

static int bank(unsigned worker, unsigned round)
{
	if (worker < 2)
		return read_sum();
	return move_one((worker + round) % ACCOUNTS, (worker + 3 * round + 1) % ACCOUNTS);
}

static void bank_story(struct kvf *k)
{
	char name[16];

	begin(k, 2);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		snprintf(name, sizeof(name), "account%u", i);
		accounts[i] = kvf_key(k, i % 2 + 1, name, account_bytes[i]);
		CHECK_OK(put_u64(accounts[i], BALANCE));
	}
	work(k, bank, 2);
	CHECK_OK(read_sum());
	end();
}

static void money_is_neither_made_nor_lost(void)
{
	kvf_run(&f, bank_story);
}

/* ---- interactive transactions ---- */

static int increment_slowly(struct txn_interactive *t)
{
	struct buf v = BUF_INIT;
	uint64_t version;
	uint8_t bytes[8];
	int err = 0;

	for (unsigned i = 0; !err && i < 2; i++) {
		err = txn_i_get(t, count_keys[i], &v, &version);
		if (!err && v.len != 8)
			err = ERR_CORRUPT;
		if (err)
			break;
		le64_put(bytes, le64_get(v.data) + 1);
		fiber_sleep(NS_PER_MS); /* others come in between */
		err = txn_i_put(t, count_keys[i], slice_of(bytes, 8));
	}
	buf_release(&v);
	return err ? err : txn_commit(t, &version);
}

static unsigned conflicts, most_conflicts;

static int interactive(unsigned worker, unsigned round)
{
	struct txn_interactive *t = txn_begin(kv_client_executor(client));
	unsigned tries = 0;
	int err;

	(void)worker;
	(void)round;
	while ((err = increment_slowly(t)) == ERR_CONDITION && tries++ < 200) {
		conflicts++;
		err = txn_retry(t);
		if (err)
			break;
	}
	if (tries > most_conflicts)
		most_conflicts = tries;
	txn_rollback(t);
	return err;
}

static void interactive_story(struct kvf *k)
{
	uint64_t values[2] = {0};

	begin(k, 2);
	conflicts = most_conflicts = 0;
	count_keys[0] = kvf_key(k, 1, "count", count_bytes[0]);
	count_keys[1] = kvf_key(k, 2, "count", count_bytes[1]);
	CHECK_OK(put_u64(count_keys[0], 0));
	CHECK_OK(put_u64(count_keys[1], 0));
	work(k, interactive, 0);
	CHECK_OK(get_all(count_keys, values, 2));
	CHECK_U64_EQ(values[0], WORKERS * ROUNDS);
	CHECK_U64_EQ(values[1], WORKERS * ROUNDS);
	CHECK_TRUE(conflicts > 0);
	CHECK_TRUE(most_conflicts < 50); /* who loses too often takes locks */
	end();
}

static void those_who_lose_too_often_take_locks(void)
{
	kvf_run(&f, interactive_story);
}

/* ---- locks and ends ---- */

static int take_locks(struct kv_client *c, struct txn_lock *lock)
{
	struct txn_executor *x = kv_client_executor(c);
	struct txn_mini m;
	int err;

	txn_mini_init(&m);
	for (unsigned i = 0; i < 2; i++)
		txn_put(&m, count_keys[i], slice_str("locked"));
	err = x->lock(x, &m, lock);
	txn_mini_release(&m);
	return err;
}

struct blocked {
	struct fiber *fiber;
	bool done;
	int err;
};

static void blocked_main(void *arg)
{
	struct blocked *b = arg;

	b->fiber = fiber_self();
	b->err = put_u64(count_keys[1], 77);
	b->done = true;
}

static void start_blocked(struct kvf *k, struct blocked *b)
{
	*b = (struct blocked){0};
	CHECK_OK(fiber_start(loop_fibers(k->loop), blocked_main, b));
	fiber_sleep(100 * NS_PER_MS);
	CHECK_FALSE(b->done); /* it waits for the lock */
}

static bool is_done(struct kvf *k, void *ctx)
{
	const struct blocked *b = ctx;

	(void)k;
	return b->done;
}

static void lock_story(struct kvf *k)
{
	struct kv_client *holder;
	struct txn_lock lock;
	struct blocked b;
	uint64_t values[2];

	begin(k, 2);
	holder = open_client(k, KVF_DEADLINE_NS);
	count_keys[0] = kvf_key(k, 1, "count", count_bytes[0]);
	count_keys[1] = kvf_key(k, 2, "count", count_bytes[1]);
	CHECK_OK(put_u64(count_keys[0], 1));
	CHECK_OK(put_u64(count_keys[1], 2));

	CHECK_OK(take_locks(holder, &lock)); /* interrupted while it waits: it never happens */
	start_blocked(k, &b);
	fiber_interrupt(b.fiber);
	CHECK_TRUE(kvf_wait(k, is_done, &b));
	CHECK_ERR(b.err, ERR_INTERRUPTED);

	start_blocked(k, &b); /* given up: it goes on */
	kv_client_executor(holder)->unlock(kv_client_executor(holder), &lock);
	CHECK_TRUE(kvf_wait(k, is_done, &b));
	CHECK_OK(b.err);
	CHECK_OK(put_u64(count_keys[1], 2));

	CHECK_OK(take_locks(holder, &lock)); /* the holder ends: it goes on */
	start_blocked(k, &b);
	kv_client_close(holder);
	CHECK_TRUE(kvf_wait(k, is_done, &b));
	CHECK_OK(b.err);
	CHECK_OK(get_all(count_keys, values, 2));
	CHECK_U64_EQ(values[0], 1);
	CHECK_U64_EQ(values[1], 77);
	end();
}

static void locks_end_with_their_holder(void)
{
	kvf_run(&f, lock_story);
}

static bool scan_is_empty(struct kvf *k, void *ctx)
{
	struct buf from = BUF_INIT, to = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	bool empty;

	(void)k;
	txn_mini_init(&m);
	txn_result_init(&r);
	kv_meta_key(&from, KV_KEY_SESSION);
	kv_meta_key(&to, KV_KEY_SESSION);
	buf_add_be64(&from, 0);
	buf_add_be64(&to, UINT64_MAX);
	txn_scan(&m, buf_slice(&from), buf_slice(&to), 10);
	empty = kvf_read(ctx, &m, &r) == 0 && r.reads[0].item_count == 0;
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&from);
	buf_release(&to);
	return empty;
}

static void session_story(struct kvf *k)
{
	begin(k, 1);
	CHECK_TRUE(kv_client_id(client) > 0);
	CHECK_FALSE(scan_is_empty(k, k)); /* its record */
	end();
	CHECK_TRUE(kvf_wait(k, scan_is_empty, k));
}

static void a_session_leaves_nothing_behind(void)
{
	kvf_run(&f, session_story);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, every_increment_counts_once),
	CHECK_TEST_WITH(setup, teardown, money_is_neither_made_nor_lost),
	CHECK_TEST_WITH(setup, teardown, those_who_lose_too_often_take_locks),
	CHECK_TEST_WITH(setup, teardown, locks_end_with_their_holder),
	CHECK_TEST_WITH(setup, teardown, a_session_leaves_nothing_behind),
};

CHECK_MAIN(tests)
