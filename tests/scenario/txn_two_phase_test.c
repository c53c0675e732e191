/* Two-phase commit across groups: what happens to one transaction when a leader is lost, a replica
 * restarts, a message is lost or a CANCEL comes at each single step of its life. */
#include <stdio.h>

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

static void setup_with(void (*change)(struct txf_config *cfg))
{
	static const uint8_t zero[8];
	struct txf_config cfg;

	txf_config_default(&cfg);
	cfg.groups = GROUPS;
	if (change)
		change(&cfg);
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

static void setup(void)
{
	setup_with(NULL);
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

/* ---- commit and abort ---- */

static void both_groups_or_none(void)
{
	set(&key[0], 7);
	set(&key[1], 8);
	CHECK_OK(txf_exec(&c, &m, &r));
	CHECK_TRUE(r.stamp > 0);
	check_values(7, 8);
	txn_mini_reset(&m);
	set(&key[0], 9);
	set(&key[1], 9);
	(void)txn_if_exists(&m, txf_slice(&key[0]));
	(void)txn_if_absent(&m, txf_slice(&key[1]));
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_CONDITION);
	CHECK_INT_EQ(r.failed, 1); /* as numbered in the whole */
	CHECK_INT_EQ(r.current.value.len, 8);
	CHECK_U64_EQ(le64_get(r.current.value.p), 8);
	check_values(7, 8);
	txf_settle(&f);
}

static void a_condition_at_the_coordinator_aborts_too(void)
{
	set(&key[0], 9);
	set(&key[1], 9);
	(void)txn_if_absent(&m, txf_slice(&key[0]));
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_CONDITION);
	check_values(0, 0);
	txf_settle(&f);
}

static void reads_and_numbers_of_all_parts_come_back(void)
{
	for (uint32_t g = 0; g < GROUPS; g++) {
		(void)txn_get(&m, txf_slice(&key[g]));
		(void)txn_add(&m, txf_slice(&key[g]), number, 10 + g, true);
	}
	CHECK_OK(txf_exec(&c, &m, &r));
	for (uint32_t g = 0; g < GROUPS; g++) {
		CHECK_U64_EQ(le64_get(r.reads[g].value.value.p), 0); /* before the mutations */
		CHECK_U64_EQ(r.numbers[g], 10 + g);
	}
	txf_settle(&f);
}

/* All records of a transaction carry its one stamp, and versions of their group. */
static void one_stamp_for_all(void)
{
	uint64_t stamp[2], version[2];

	set(&key[0], 1);
	set(&key[1], 1);
	CHECK_OK(txf_exec(&c, &m, &r));
	txf_settle(&f);
	for (uint32_t g = 0; g < 2; g++)
		CHECK_OK(txn_mem_record(txf_mem(&f, g), txf_slice(&key[g]), NULL, &version[g],
					&stamp[g]));
	CHECK_U64_EQ(stamp[0], r.stamp);
	CHECK_U64_EQ(stamp[1], r.stamp);
	CHECK_TRUE(version[0] > 0 && version[1] > 0);
}

/* What comes behind a transaction has a later stamp in every group that it wrote to, whatever their
 * clocks say. */
static void stamps_follow_what_was_written(void)
{
	uint64_t last, stamp[2];

	f.groups[0].skew_ns = 3600 * (int64_t)NS_PER_S;
	f.groups[1].skew_ns = -3600 * (int64_t)NS_PER_S;
	set(&key[0], 1);
	set(&key[1], 1);
	CHECK_OK(txf_exec(&c, &m, &r));
	last = r.stamp;
	txf_settle(&f);
	txn_mini_reset(&m);
	set(&second[1], 2); /* in the group whose clock is behind */
	CHECK_OK(txf_exec(&c, &m, &r));
	CHECK_TRUE(r.stamp > last);
	last = r.stamp;
	txn_mini_reset(&m);
	set(&key[1], 3);
	set(&key[2], 3);
	CHECK_OK(txf_exec(&c, &m, &r));
	CHECK_TRUE(r.stamp > last);
	txf_settle(&f);
	for (uint32_t g = 1; g < 3; g++)
		CHECK_OK(txn_mem_record(txf_mem(&f, g), txf_slice(&key[g]), NULL, NULL,
					&stamp[g - 1]));
	CHECK_U64_EQ(stamp[0], r.stamp);
	CHECK_U64_EQ(stamp[1], r.stamp);
}

static void deletions_move_the_clock_too(void)
{
	uint64_t last;

	f.groups[0].skew_ns = 3600 * (int64_t)NS_PER_S;
	set(&key[0], 1);
	(void)txn_delete(&m, txf_slice(&key[1]));
	CHECK_OK(txf_exec(&c, &m, &r));
	last = r.stamp;
	txf_settle(&f);
	CHECK_OK(txf_put(&c, txf_slice(&key[1]), slice_str("12345678")));
	txn_mini_reset(&m);
	set(&key[1], 1);
	CHECK_OK(txf_exec(&c, &m, &r));
	CHECK_TRUE(r.stamp > last);
	txf_settle(&f);
}

static bool cut_from_2_to_1(struct txf *x, uint32_t from, uint32_t to, struct slice bytes)
{
	(void)x;
	(void)bytes;
	return from == 2 && to == 1;
}

/* ADDs do not wait for each other, so one with an earlier stamp may come later. Versions rise all
 * the same. */
static void versions_rise_whatever_the_stamps(void)
{
	uint64_t v1, v2, stamp;
	struct txf_call *call;
	struct tsm_stats s;

	add(&key[2], 1); /* the coordinator */
	add(&key[1], 1);
	CHECK_OK(txf_send(&c, &m, NULL, &call));
	do {
		txf_step(&f);
		txf_stats(&f, 1, &s);
	} while (s.prepared == 0);
	f.drop = cut_from_2_to_1; /* the decision does not arrive */
	CHECK_OK(txf_await(call, &m, &r));
	stamp = r.stamp;

	f.groups[0].skew_ns = 3600 * (int64_t)NS_PER_S;
	txn_mini_reset(&m);
	add(&key[0], 1);
	add(&key[1], 1);
	CHECK_OK(txf_exec(&other, &m, &r));
	CHECK_TRUE(r.stamp > stamp);
	for (int i = 0; i < 20; i++)
		txf_step(&f);
	CHECK_OK(txn_mem_record(txf_mem(&f, 1), txf_slice(&key[1]), NULL, &v1, NULL));
	CHECK_TRUE(v1 >= r.stamp);
	txf_settle(&f);
	CHECK_OK(txn_mem_record(txf_mem(&f, 1), txf_slice(&key[1]), NULL, &v2, NULL));
	CHECK_TRUE(v2 > v1);
	CHECK_U64_EQ(value_of(&key[1]), 2);
}

static void readers_only_are_asked_once(void)
{
	c.reads_by_log = true;
	for (uint32_t g = 0; g < GROUPS; g++)
		(void)txn_get(&m, txf_slice(&key[g]));
	CHECK_OK(txf_exec(&c, &m, &r));
	txf_settle(&f);
	for (uint32_t g = 0; g < GROUPS; g++)
		CHECK_INT_EQ(txn_mem_count(txf_mem(&f, g), TXN_TABLE_TXN), 0);
}

/* Nothing stays in the tables of those that took part but the reply, until it is acknowledged. */
static void nothing_is_left_behind(void)
{
	set(&key[0], 1);
	set(&key[1], 1);
	CHECK_OK(txf_exec(&c, &m, &r));
	txf_settle(&f);
	for (uint32_t g = 0; g < 2; g++) {
		CHECK_INT_EQ(txn_mem_count(txf_mem(&f, g), TXN_TABLE_TXN), 0);
		CHECK_INT_EQ(txn_mem_count(txf_mem(&f, g), TXN_TABLE_QUEUE), 0);
	}
}

/* ---- a fault at each step ---- */

struct fault {
	uint64_t at, seen; /* steps */
	uint32_t group;
	unsigned what;
	bool struck;
};

static void fault_at_step(struct txf *x, void *ctx)
{
	struct fault *t = ctx;

	if (t->seen++ != t->at)
		return;
	t->struck = true;
	if (t->what < TXF_REPLICAS_MAX)
		txf_restart(x, t->group, t->what);
	else /* with nothing, or all, of what was proposed kept */
		txf_leader_loss(x, t->group, t->what == TXF_REPLICAS_MAX ? 0 : 100,
				30 * NS_PER_MS);
}

static void one_each_exactly_once(void)
{
	add(&key[0], 1);
	add(&key[1], 1);
	set(&second[2], 1);
	(void)txn_if_exists(&m, txf_slice(&key[3])); /* a part that writes nothing */
	CHECK_OK(txf_exec(&c, &m, &r));
	txn_mini_reset(&m);
}

static void check_one_each(void)
{
	txf_settle(&f);
	check_values(1, 1);
	CHECK_U64_EQ(value_of(&second[2]), 1);
}

/* The same story for each step of it: the fault strikes at step 0, 1, ... until it ends before. */
static unsigned strike_everywhere(uint32_t group, unsigned what, bool until_settled)
{
	struct fault t = {.group = group, .what = what};
	unsigned strikes = 0;

	do {
		teardown();
		setup();
		t.seen = 0;
		t.struck = false;
		f.on_step = fault_at_step;
		f.ctx = &t;
		one_each_exactly_once();
		for (int i = 0; until_settled && i < 60 && txf_step(&f); i++)
			;
		check_one_each();
		strikes += t.struck;
		t.at++;
	} while (t.struck && t.at < 400);
	CHECK_TRUE(t.at < 400);
	return strikes;
}

static void a_leader_is_lost_at_each_step(void)
{
	for (uint32_t g = 0; g < GROUPS; g++)
		for (unsigned what = TXF_REPLICAS_MAX; what < TXF_REPLICAS_MAX + 2; what++)
			CHECK_TRUE(strike_everywhere(g, what, true) > 15);
}

static void a_replica_restarts_at_each_step(void)
{
	for (uint32_t g = 0; g < GROUPS; g++)
		for (unsigned replica = 0; replica < 3; replica++)
			CHECK_TRUE(strike_everywhere(g, replica, false) > 10);
}

/* ---- lost and repeated messages ---- */

struct loss {
	uint64_t first, last, seen;
};

static bool drop_some(struct txf *x, uint32_t from, uint32_t to, struct slice bytes)
{
	struct loss *l = x->drop_ctx;
	uint64_t n = l->seen++;

	(void)from;
	(void)to;
	(void)bytes;
	return n >= l->first && n < l->last;
}

static void lose_messages(unsigned width)
{
	struct loss l = {0};

	do {
		teardown();
		setup();
		l.last = l.first + width;
		l.seen = 0;
		f.drop = drop_some;
		f.drop_ctx = &l;
		one_each_exactly_once();
		check_one_each();
		l.first++;
	} while (l.seen > l.first && l.first < 200);
	CHECK_TRUE(l.first > 5 && l.first < 200);
}

static void each_message_is_lost_once(void)
{
	lose_messages(1);
}

static void many_messages_in_a_row_are_lost(void)
{
	lose_messages(7);
}

static void everything_comes_twice(struct txf_config *cfg)
{
	cfg->repeat = 1000;
	cfg->delay_ns_max = 20 * NS_PER_MS; /* and in any order */
	cfg->log_ns_max = NS_PER_MS;
}

static void repeated_messages_change_nothing(void)
{
	for (int i = 0; i < 30; i++) {
		teardown();
		setup_with(everything_comes_twice);
		f.random += (uint64_t)i;
		one_each_exactly_once();
		one_each_exactly_once();
		txf_settle(&f);
		check_values(2, 2);
	}
}

/* A PREPARE that comes when all is over finds nobody. */
static struct buf late;
static uint32_t late_group;

static bool keep_prepare(struct txf *x, uint32_t from, uint32_t to, struct slice bytes)
{
	(void)x;
	if (from == 0 && to == 1 && late.len == 0) {
		late_group = to;
		CHECK_OK(buf_set(&late, bytes));
	}
	return false;
}

static void a_late_prepare_does_nothing(void)
{
	struct tsm *t;

	f.drop = keep_prepare;
	add(&key[0], 1);
	add(&key[1], 1);
	CHECK_OK(txf_exec(&c, &m, &r));
	CHECK_TRUE(late.len > 0);
	txf_settle(&f); /* the outcome is forgotten everywhere */
	t = txf_leader(&f, late_group);
	CHECK_OK(tsm_message(t, buf_slice(&late), f.now_ns));
	buf_release(&late);
	CHECK_OK(txf_put(&other, txf_slice(&second[1]), slice_str("12345678")));
	txf_settle(&f);
	check_values(1, 1);
}

/* ---- CANCEL ---- */

struct racing {
	uint64_t at, seen, sequence;
	struct txf_call *call;
};

static void cancel_at_step(struct txf *x, void *ctx)
{
	struct racing *t = ctx;
	struct buf cancel = BUF_INIT;

	(void)x;
	if (t->seen++ != t->at)
		return;
	tsm_command_cancel(&cancel, c.id, t->sequence, ERR_INTERRUPTED);
	t->call = txf_send_raw(&c, 0, t->sequence, buf_slice(&cancel));
	buf_release(&cancel);
}

static void check_racing(struct racing *t, unsigned *commits, unsigned *cancels)
{
	struct txf_call *call;
	int err, cancelled;

	f.on_step = cancel_at_step;
	f.ctx = t;
	add(&key[0], 1);
	add(&key[1], 1);
	CHECK_OK(txf_send(&c, &m, NULL, &call));
	t->sequence = call->sequence;
	err = txf_await(call, &m, &r);
	if (t->call) {
		cancelled = txf_await(t->call, &m, &r);
		CHECK_ERR(cancelled, err); /* there is one result */
	}
	f.on_step = NULL;
	txf_settle(&f);
	if (err == 0) {
		check_values(1, 1);
		++*commits;
	} else {
		CHECK_ERR(err, ERR_INTERRUPTED);
		check_values(0, 0);
		++*cancels;
	}
}

static void cancel_races_at_each_step(void)
{
	unsigned commits = 0, cancels = 0;
	struct racing t = {0};

	do {
		teardown();
		setup();
		t.seen = 0;
		t.call = NULL;
		check_racing(&t, &commits, &cancels);
		t.at++;
	} while (t.seen > t.at && t.at < 100);
	CHECK_TRUE(commits > 1 && cancels > 1);
}

static void cancel_before_the_request(void)
{
	struct buf cancel = BUF_INIT;
	struct txf_call *call, *request;

	tsm_command_cancel(&cancel, c.id, c.sequence + 1, ERR_INTERRUPTED);
	call = txf_send_raw(&c, 0, c.sequence + 1, buf_slice(&cancel));
	CHECK_ERR(txf_await(call, &m, &r), ERR_INTERRUPTED);
	add(&key[0], 1);
	add(&key[1], 1);
	CHECK_OK(txf_send(&c, &m, NULL, &request));
	CHECK_ERR(txf_await(request, &m, &r), ERR_INTERRUPTED);
	buf_release(&cancel);
	txf_settle(&f);
	check_values(0, 0);
}

/* ---- the end of a client ---- */

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

static void close_ends_what_is_under_way(void)
{
	struct txn_lock lock;
	struct txf_call *call;
	struct buf close = BUF_INIT;

	lock_keys(&key[0], &key[1], &lock);
	add(&key[1], 1);
	/* it waits for our own locks, which it does not name */
	CHECK_OK(txf_send(&c, &m, NULL, &call));
	for (int i = 0; i < 20; i++)
		txf_step(&f);
	tsm_command_close(&close, c.id);
	for (uint32_t g = 0; g < GROUPS; g++)
		txf_apply(&f, g, buf_slice(&close));
	buf_release(&close);
	CHECK_ERR(txf_await(call, &m, &r), ERR_SESSION);
	txf_settle(&f);
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_SESSION);
	CHECK_OK(txf_exec(&other, &m, &r));
	txf_settle(&f);
}

static void close_at_each_step_leaves_both_or_none(void)
{
	struct buf close = BUF_INIT;
	unsigned commits = 0, at;

	for (at = 0; at < 40; at++) {
		struct txf_call *call;
		int err;

		teardown();
		setup();
		add(&key[0], 1);
		add(&key[1], 1);
		CHECK_OK(txf_send(&c, &m, NULL, &call));
		for (unsigned i = 0; i < at; i++)
			txf_step(&f);
		buf_reset(&close);
		tsm_command_close(&close, c.id);
		for (uint32_t g = 0; g < GROUPS; g++)
			txf_apply(&f, (g + at) % GROUPS, buf_slice(&close));
		err = call->done ? 0 : txf_await(call, &m, &r);
		if (err)
			CHECK_ERR(err, ERR_SESSION);
		txf_settle(&f);
		CHECK_U64_EQ(value_of(&key[0]), value_of(&key[1]));
		commits += value_of(&key[0]) == 1;
	}
	buf_release(&close);
	CHECK_TRUE(commits > 0 && commits < at);
}

/* ---- keys of others ---- */

static int lying_route(void *ctx, struct slice k, struct slice to, uint32_t *group)
{
	int err = txf_route(ctx, k, to, group);

	if (!err && *group == 1)
		*group = 2;
	return err;
}

static void a_part_that_is_not_its_groups_fails_all(void)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	uint32_t n = 0;
	struct tsm_request q = {.client = c.id,
				.sequence = 1000,
				.home = txf_slice(&key[0]),
				.parts = parts};
	struct buf request = BUF_INIT;
	struct txf_call *call;

	set(&key[0], 1);
	set(&key[1], 1);
	CHECK_OK(txn_split(&m, lying_route, &f, parts, &n));
	q.part_count = n;
	tsm_request_encode(&q, &request);
	call = txf_send_raw(&c, 0, 1000, buf_slice(&request));
	CHECK_ERR(txf_await(call, &m, &r), ERR_WRONG_SHARD);
	txn_parts_release(parts, n);
	buf_release(&request);
	txf_settle(&f);
	check_values(0, 0);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(both_groups_or_none),
	T(a_condition_at_the_coordinator_aborts_too),
	T(reads_and_numbers_of_all_parts_come_back),
	T(one_stamp_for_all),
	T(stamps_follow_what_was_written),
	T(deletions_move_the_clock_too),
	T(versions_rise_whatever_the_stamps),
	T(readers_only_are_asked_once),
	T(nothing_is_left_behind),
	T(a_leader_is_lost_at_each_step),
	T(a_replica_restarts_at_each_step),
	T(each_message_is_lost_once),
	T(many_messages_in_a_row_are_lost),
	T(repeated_messages_change_nothing),
	T(a_late_prepare_does_nothing),
	T(cancel_races_at_each_step),
	T(cancel_before_the_request),
	T(close_ends_what_is_under_way),
	T(close_at_each_step_leaves_both_or_none),
	T(a_part_that_is_not_its_groups_fails_all),
};
CHECK_MAIN(tests)
