/* Locks of a group: which modes go together, who waits for whom, and for how long. */
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_fixture.h"

static struct txf f;
static struct txf_client c, other;
static struct txn_mini m;
static struct txn_result r;
static struct txf_key ka, kb, kend;
static const struct txn_field n8 = {.offset = 0, .width = 8};

static void setup(void)
{
	static const uint8_t zero[8];
	struct txf_config cfg;

	txf_config_default(&cfg);
	cfg.groups = 2;
	txf_open(&f, &cfg);
	txf_client_init(&c, &f);
	txf_client_init(&other, &f);
	txn_mini_init(&m);
	txn_result_init(&r);
	ka = txf_key(0, 1, 'T', "a");
	kb = txf_key(0, 1, 'T', "b");
	kend = txf_key(0, 1, 'T', "c");
	CHECK_OK(txf_put(&c, txf_slice(&ka), slice_of(zero, 8)));
	CHECK_OK(txf_put(&c, txf_slice(&kb), slice_of(zero, 8)));
}

static void teardown(void)
{
	txn_mini_release(&m);
	txn_result_release(&r);
	txf_client_release(&c);
	txf_client_release(&other);
	txf_close(&f);
}

static struct slice a(void)
{
	return txf_slice(&ka);
}

static struct slice b(void)
{
	return txf_slice(&kb);
}

/* Uses of key a, or of a range with it. */
enum use {
	USE_EXISTS,	/* E */
	USE_FIELD,	/* E */
	USE_FIELD_MOVES, /* S: ADD, MAX or TOUCH may change the field */
	USE_VERSION,	/* S */
	USE_READ,	/* S */
	USE_SCAN,	/* S on a range */
	USE_RANGE,	/* S on a range */
	USE_ADD,	/* I */
	USE_MAX,	/* I */
	USE_TOUCH,	/* I */
	USE_ADD_READ,	/* X: its result is wanted */
	USE_SET,	/* X */
	USE_PUT,	/* X */
	USE_DELETE_RANGE, /* X on a range */
	USE_COUNT,
};

static const char modes[USE_COUNT + 1] = "EESSSSSIIIXXXX";

static void use(struct txn_mini *mini, enum use u)
{
	static const uint8_t zero[8];
	struct txn_field moves = {.offset = 0, .width = 8, .commutes = true};

	switch (u) {
	case USE_EXISTS:
		(void)txn_if_exists(mini, a());
		break;
	case USE_FIELD:
		(void)txn_if_field(mini, a(), n8, slice_of(zero, 8));
		break;
	case USE_FIELD_MOVES:
		(void)txn_if_field(mini, a(), moves, slice_of(zero, 8));
		break;
	case USE_VERSION:
		(void)txn_if_version(mini, a(), 1);
		break;
	case USE_READ:
		(void)txn_get(mini, a());
		break;
	case USE_SCAN:
		(void)txn_scan(mini, a(), txf_slice(&kend), 10);
		break;
	case USE_RANGE:
		(void)txn_if_range_empty(mini, a(), b());
		break;
	case USE_ADD:
		(void)txn_add(mini, a(), n8, 0, false);
		break;
	case USE_MAX:
		(void)txn_max(mini, a(), n8, 0);
		break;
	case USE_TOUCH:
		(void)txn_touch(mini, a(), n8);
		break;
	case USE_ADD_READ:
		(void)txn_add(mini, a(), n8, 0, true);
		break;
	case USE_SET:
		(void)txn_set_u64(mini, a(), n8, 0);
		break;
	case USE_PUT:
		(void)txn_put(mini, a(), slice_of(zero, 8));
		break;
	default:
		(void)txn_delete_range(mini, a(), b());
		break;
	}
}

static bool go_together(enum use x, enum use y)
{
	char p = modes[x], q = modes[y];

	if (p == 'X' || q == 'X')
		return false;
	return p == q || p == 'E' || q == 'E';
}

static struct txf_call *take(struct txf_client *who, enum use u, uint64_t *sequence)
{
	struct txf_options o = {.lock_only = true};
	struct txf_call *call;
	struct txn_mini mini;

	txn_mini_init(&mini);
	use(&mini, u);
	CHECK_OK(txf_send(who, &mini, &o, &call));
	if (sequence)
		*sequence = call->sequence;
	txn_mini_release(&mini);
	return call;
}

static void hold(enum use u, uint64_t *sequence)
{
	CHECK_OK(txf_await(take(&c, u, sequence), NULL, NULL));
}

static struct txf_call *start(struct txf_client *who, enum use u)
{
	struct txf_call *call;
	struct txn_mini mini;

	txn_mini_init(&mini);
	use(&mini, u);
	CHECK_OK(txf_send(who, &mini, NULL, &call));
	txn_mini_release(&mini);
	return call;
}

/* The cluster goes on for a while. */
static void pass(uint64_t ns)
{
	uint64_t until = f.now_ns + ns;

	while (f.now_ns < until && txf_step(&f))
		;
}

static void give_back(uint64_t sequence)
{
	struct buf cancel = BUF_INIT;
	struct txf_call *call;

	tsm_command_cancel(&cancel, c.id, sequence, ERR_CANCELED);
	call = txf_send_raw(&c, 0, sequence, buf_slice(&cancel));
	(void)txf_await(call, NULL, NULL);
	buf_release(&cancel);
}

static void modes_are_as_designed(void)
{
	for (int x = 0; x < USE_COUNT; x++)
		for (int y = 0; y < USE_COUNT; y++) {
			struct txf_call *call;
			uint64_t sequence;

			hold((enum use)x, &sequence);
			call = start(&other, (enum use)y);
			pass(3 * NS_PER_MS);
			if (call->done != go_together((enum use)x, (enum use)y))
				CHECK_FAIL("use %d while %d is held: %s", y, x,
					   call->done ? "granted" : "waits");
			give_back(sequence);
			(void)txf_await(call, NULL, NULL);
			if (y == USE_DELETE_RANGE) /* it is gone now */
				CHECK_OK(txf_put(&c, a(), slice_of("\0\0\0\0\0\0\0", 8)));
		}
	txf_settle(&f);
}

static void other_keys_are_free(void)
{
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	CHECK_OK(txf_put(&other, b(), slice_str("12345678")));
	give_back(sequence);
	hold(USE_DELETE_RANGE, &sequence); /* [a, b) */
	CHECK_OK(txf_put(&other, b(), slice_str("12345678")));
	give_back(sequence);
	txf_settle(&f);
}

/* All or nothing: who waits holds nothing. */
static void who_waits_holds_nothing(void)
{
	struct txf_call *call;
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	(void)txn_set_u64(&m, a(), n8, 1);
	(void)txn_if_exists(&m, b());
	CHECK_OK(txf_send(&other, &m, NULL, &call));
	pass(2 * NS_PER_MS);
	CHECK_FALSE(call->done);
	/* b is asked for in mode E by an earlier waiter: E and I go together, E and X do not */
	txn_mini_reset(&m);
	(void)txn_add(&m, b(), n8, 1, false);
	CHECK_OK(txf_exec(&c, &m, &r));
	give_back(sequence);
	CHECK_OK(txf_await(call, NULL, NULL));
	txf_settle(&f);
}

static void nobody_overtakes_who_waits(void)
{
	struct txf_call *x, *s;
	uint64_t sequence;

	hold(USE_READ, &sequence);
	x = start(&other, USE_PUT);
	pass(2 * NS_PER_MS);
	s = start(&c, USE_READ); /* would go with the holder, not with the waiter */
	pass(2 * NS_PER_MS);
	CHECK_FALSE(x->done);
	CHECK_FALSE(s->done);
	give_back(sequence);
	CHECK_OK(txf_await(x, NULL, NULL));
	CHECK_OK(txf_await(s, NULL, NULL));
	txf_settle(&f);
}

static void waiters_go_on_in_order(void)
{
	struct txf_call *calls[5];
	uint64_t sequence;
	struct txn_mini mini;

	txn_mini_init(&mini);
	(void)txn_add(&mini, a(), n8, 1, true);
	hold(USE_PUT, &sequence);
	for (int i = 0; i < 5; i++) {
		CHECK_OK(txf_send(&other, &mini, NULL, &calls[i]));
		pass(NS_PER_MS);
	}
	give_back(sequence);
	for (uint64_t i = 0; i < 5; i++) {
		CHECK_OK(txf_await(calls[i], &mini, &r));
		CHECK_U64_EQ(r.numbers[0], i + 1);
	}
	txn_mini_release(&mini);
	txf_settle(&f);
}

static void waiting_survives_restarts(void)
{
	struct txf_call *calls[3];
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	for (int i = 0; i < 3; i++) {
		calls[i] = start(&other, USE_ADD_READ);
		pass(NS_PER_MS);
	}
	txf_leader_loss(&f, 0, 100, UINT64_MAX);
	for (unsigned i = 0; i < 3; i++)
		txf_restart(&f, 0, i);
	txf_elect(&f, 0, 2);
	pass(2 * NS_PER_MS);
	for (int i = 0; i < 3; i++)
		CHECK_FALSE(calls[i]->done);
	give_back(sequence);
	for (int i = 0; i < 3; i++)
		CHECK_OK(txf_await(calls[i], NULL, NULL));
	txf_settle(&f);
}

static void a_cancelled_waiter_lets_others_pass(void)
{
	struct txf_call *x, *s, *cancelled;
	struct buf cancel = BUF_INIT;
	uint64_t sequence;

	hold(USE_READ, &sequence);
	x = start(&other, USE_PUT);
	pass(2 * NS_PER_MS);
	s = start(&c, USE_READ);
	pass(2 * NS_PER_MS);
	tsm_command_cancel(&cancel, other.id, x->sequence, ERR_INTERRUPTED);
	cancelled = txf_send_raw(&other, 0, x->sequence, buf_slice(&cancel));
	CHECK_ERR(txf_await(cancelled, NULL, NULL), ERR_INTERRUPTED);
	CHECK_ERR(txf_await(x, NULL, NULL), ERR_INTERRUPTED);
	CHECK_OK(txf_await(s, NULL, NULL));
	give_back(sequence);
	buf_release(&cancel);
	txf_settle(&f);
}

static void too_many_waiters_are_busy(void)
{
	static struct txf_call *calls[TXN_WAITERS_PER_KEY_MAX];
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	for (unsigned i = 0; i < TXN_WAITERS_PER_KEY_MAX; i++)
		calls[i] = start(&other, USE_ADD);
	pass(5 * NS_PER_MS);
	CHECK_ERR(txf_await(start(&other, USE_ADD), NULL, NULL), ERR_BUSY);
	CHECK_OK(txf_put(&c, b(), slice_str("12345678"))); /* another key's line is empty */
	give_back(sequence);
	for (unsigned i = 0; i < TXN_WAITERS_PER_KEY_MAX; i++)
		CHECK_OK(txf_await(calls[i], NULL, NULL));
	txf_settle(&f);
}

static void waiting_has_an_end(void)
{
	uint64_t sequence, begin;
	struct tsm_config cfg;

	tsm_config_default(&cfg);
	hold(USE_PUT, &sequence);
	begin = f.now_ns;
	CHECK_ERR(txf_await(start(&other, USE_PUT), NULL, NULL), ERR_ABORTED);
	CHECK_TRUE(f.now_ns - begin >= cfg.lock_wait_ns_max);
	CHECK_TRUE(f.now_ns - begin < 2 * cfg.lock_wait_ns_max);
	give_back(sequence);
	txf_settle(&f);
}

/* ---- local reads ---- */

static bool read_done;
static int read_err;

static void reader(void *arg)
{
	struct txn_mini mini;
	struct txn_result res;

	(void)arg;
	txn_mini_init(&mini);
	txn_result_init(&res);
	(void)txn_get(&mini, a());
	read_err = txf_exec(&other, &mini, &res);
	read_done = true;
	txn_result_release(&res);
	txn_mini_release(&mini);
}

/* Whether a read is answered within @ns, while locks are held in the way of @u. */
static bool read_passes(enum use u, uint64_t ns)
{
	uint64_t sequence, until;
	bool passed;

	hold(u, &sequence);
	read_done = false;
	txf_spawn(&f, reader, NULL);
	fiber_sched_run(f.fibers);
	for (until = f.now_ns + ns; f.now_ns < until && txf_step(&f);)
		fiber_sched_run(f.fibers);
	passed = read_done;
	give_back(sequence);
	CHECK_TRUE(txf_run(&f));
	CHECK_TRUE(read_done);
	CHECK_OK(read_err);
	return passed;
}

static void reads_wait_for_exclusive_and_increment(void)
{
	for (int u = 0; u < USE_COUNT; u++) {
		CHECK_INT_EQ(read_passes((enum use)u, 3 * NS_PER_MS),
			     go_together((enum use)u, USE_READ));
		/* then it stands in line, and still is answered when its turn comes */
		CHECK_INT_EQ(read_passes((enum use)u, 40 * NS_PER_MS),
			     go_together((enum use)u, USE_READ));
	}
	txf_settle(&f);
}

/* What waits has not happened, so a read that comes now may come before it. */
static void reads_pass_those_who_wait(void)
{
	struct txf_call *x;
	uint64_t sequence;

	hold(USE_READ, &sequence);
	x = start(&other, USE_PUT);
	pass(2 * NS_PER_MS);
	CHECK_OK(txf_get(&c, a(), NULL, NULL));
	CHECK_FALSE(x->done);
	give_back(sequence);
	CHECK_OK(txf_await(x, NULL, NULL));
	txf_settle(&f);
}

static void reads_go_to_the_next_leader(void)
{
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	read_done = false;
	txf_spawn(&f, reader, NULL);
	fiber_sched_run(f.fibers);
	pass(2 * NS_PER_MS);
	txf_leader_loss(&f, 0, 100, 5 * NS_PER_MS);
	pass(100 * NS_PER_MS);
	CHECK_FALSE(read_done);
	give_back(sequence);
	CHECK_TRUE(txf_run(&f));
	CHECK_TRUE(read_done);
	CHECK_OK(read_err);
	txf_settle(&f);
}

/* What a reference leads to is read under a lock of its own. */
static void references_wait_for_their_targets(void)
{
	struct txf_key target = txf_key(0, 50, 'I', "");
	struct txf_options lock = {.lock_only = true};
	struct txf_call *call;
	uint8_t number[8];

	le64_put(number, be64_get(target.bytes + 2));
	CHECK_OK(txf_put(&c, a(), slice_of(number, 8)));
	CHECK_OK(txf_put(&c, txf_slice(&target), slice_of(number, 8)));
	for (int scans = 0; scans < 2; scans++) {
		uint64_t sequence;

		txn_mini_reset(&m);
		(void)txn_delete(&m, txf_slice(&target));
		CHECK_OK(txf_send(&c, &m, &lock, &call));
		sequence = call->sequence;
		CHECK_OK(txf_await(call, NULL, NULL));
		txn_mini_reset(&m);
		if (scans) {
			(void)txn_scan_ref(&m, a(), b(), 9, 0, 'I', (struct slice){0});
		} else {
			(void)txn_get(&m, a());
			(void)txn_get_ref(&m, 0, 0, 'I', (struct slice){0});
			(void)txn_get_ref(&m, 1, 0, 'I', (struct slice){0}); /* to itself */
		}
		CHECK_OK(txf_send(&other, &m, NULL, &call));
		pass(3 * NS_PER_MS);
		CHECK_FALSE(call->done);
		give_back(sequence);
		CHECK_OK(txf_await(call, &m, &r));
		CHECK_OK(scans ? r.reads[0].items[0].ref.status : r.reads[2].value.status);
	}
	txf_settle(&f);
}

static bool scan_done;

static void scanner(void *arg)
{
	struct txn_mini mini;
	struct txn_result res;

	(void)arg;
	txn_mini_init(&mini);
	txn_result_init(&res);
	(void)txn_get(&mini, b());
	(void)txn_scan(&mini, a(), txf_slice(&kend), 10);
	CHECK_OK(txf_exec(&c, &mini, &res));
	CHECK_INT_EQ(res.read_count, 2);
	CHECK_INT_EQ(res.reads[1].item_count, 2);
	scan_done = true;
	txn_result_release(&res);
	txn_mini_release(&mini);
}

/* A read that one leader has put in line is answered while another leads, who has readers of its
 * own: each gets the answer to its own question. */
static void reads_of_former_leaders_are_not_ours(void)
{
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	read_done = scan_done = false;
	txf_spawn(&f, reader, NULL);
	fiber_sched_run(f.fibers);
	pass(15 * NS_PER_MS); /* by now it is a command in line */
	txf_leader_loss(&f, 0, 100, UINT64_MAX);
	txf_elect(&f, 0, 1);
	txf_spawn(&f, scanner, NULL);
	fiber_sched_run(f.fibers);
	pass(15 * NS_PER_MS);
	CHECK_FALSE(read_done || scan_done);
	give_back(sequence);
	CHECK_TRUE(txf_run(&f));
	CHECK_TRUE(read_done && scan_done);
	CHECK_OK(read_err);
	txf_settle(&f);
}

/* ---- for people ---- */

static char text[4096];

static void add_line(void *ctx, const char *line)
{
	(void)ctx;
	strncat(text, line, sizeof(text) - strlen(text) - 2);
	strcat(text, "\n");
}

static void locks_are_described(void)
{
	struct txf_call *x;
	struct tsm_stats s;
	uint64_t sequence;

	hold(USE_PUT, &sequence);
	x = start(&other, USE_PUT);
	pass(2 * NS_PER_MS);
	txf_stats(&f, 0, &s);
	CHECK_INT_EQ(s.prepared, 1);
	CHECK_INT_EQ(s.waiting, 1);
	CHECK_INT_EQ(s.locks, 2);
	text[0] = '\0';
	tsm_describe(txf_leader(&f, 0), add_line, NULL);
	CHECK_TRUE(strlen(text) > 0);
	CHECK_CONTAINS(text, "waiting");
	give_back(sequence);
	CHECK_OK(txf_await(x, NULL, NULL));
	txf_settle(&f);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(modes_are_as_designed),
	T(other_keys_are_free),
	T(who_waits_holds_nothing),
	T(nobody_overtakes_who_waits),
	T(waiters_go_on_in_order),
	T(waiting_survives_restarts),
	T(a_cancelled_waiter_lets_others_pass),
	T(too_many_waiters_are_busy),
	T(waiting_has_an_end),
	T(reads_wait_for_exclusive_and_increment),
	T(reads_pass_those_who_wait),
	T(reads_go_to_the_next_leader),
	T(reads_of_former_leaders_are_not_ours),
	T(references_wait_for_their_targets),
	T(locks_are_described),
};
CHECK_MAIN(tests)
