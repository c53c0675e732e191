/* Messages and commands that come when what they are about is over, or is not known: what they
 * must not do, and that nobody waits for ever because of them. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_hand.h"

#define MS_NS 1000000ull

static struct txh h;
static struct txn_mini m;
static struct txf_key key, other, remote;
static const struct txn_field number = {.width = 8};
static const struct txn_id id = {11, 1};

static void setup(void)
{
	uint8_t zero[8] = {0};
	struct txh_request q = {.client = 10, .sequence = 1};
	struct buf b;

	txh_open(&h);
	txn_mini_init(&m);
	key = txf_key(0, 1, 'N', "");
	other = txf_key(0, 2, 'N', "");
	remote = txf_key(1, 1, 'N', "");
	(void)txn_put(&m, txf_slice(&key), slice_of(zero, 8));
	b = txh_request(&q, &m);
	txh_apply(&h, &b);
}

static void teardown(void)
{
	txn_mini_release(&m);
	txh_close(&h);
}

static void apply(struct buf b)
{
	txh_apply(&h, &b);
}

static void add_one(void)
{
	txn_mini_reset(&m);
	(void)txn_add(&m, txf_slice(&key), number, 1, false);
}

static void number_is(uint64_t want)
{
	struct buf value = BUF_INIT;

	CHECK_OK(txn_mem_record(h.mem[0], txf_slice(&key), &value, NULL, NULL));
	CHECK_U64_EQ(le64_get(value.data), want);
	buf_release(&value);
}

static struct tsm_stats stats(void)
{
	struct tsm_stats s;

	tsm_stats_get(h.tsm[0], &s);
	return s;
}

static uint64_t vote_stamp(void)
{
	struct reply_head head;
	struct slice items;
	struct message v;

	if (!txh_last_message(&h, MSG_VOTE, &v))
		CHECK_FAIL("no vote");
	CHECK_OK(txn__reply_decode_head(v.body, &head, &items));
	CHECK_OK(head.status);
	return head.stamp;
}

static void forget(void)
{
	struct lazy l = {.ids = {id}, .count = 1};
	struct buf b = BUF_INIT;

	txn__enc_ids(&b, CMD_FORGET, &l);
	apply(b);
}

static void decision(bool commit, uint64_t stamp)
{
	struct message d = {.kind = MSG_DECISION, .from = 2, .id = id, .commit = commit};

	d.stamp = stamp;
	txh_message(&h, &d);
}

/* What the machine proposed last is executed; false: nothing was. */
static bool execute_proposed(void)
{
	const struct txh_out *p = txh_last(&h, TSM_PROPOSE);
	struct buf b = BUF_INIT;

	if (!p)
		return false;
	CHECK_OK(buf_set(&b, p->out.bytes));
	txh_forget_outs(&h);
	apply(b);
	return true;
}

/* Prepared, committed, ended, forgotten; then all of it comes once more. */
static void a_commit_that_comes_again_is_not_carried_out_again(void)
{
	struct message ack;
	uint64_t stamp;

	add_one();
	apply(txh_prepare(id, 2, 0, false, &m));
	stamp = vote_stamp();
	apply(txh_outcome(id, 2, true, stamp));
	number_is(1);
	forget();
	apply(txh_prepare(id, 2, 0, false, &m));
	CHECK_U64_EQ(stats().prepared, 1);
	txh_forget_outs(&h);
	decision(true, stamp);
	CHECK_TRUE(execute_proposed());
	number_is(1);
	CHECK_U64_EQ(stats().locks, 0);
	CHECK_NOT_NULL(txh_last_message(&h, MSG_ACK, &ack)); /* else it is sent for ever */
	CHECK_U64_EQ(txn_mem_count(h.mem[0], TXN_TABLE_TXN), 0);
}

/* The same when the PREPARE that came again has to wait. */
static void a_spurious_prepare_in_line_is_released(void)
{
	uint64_t stamp;

	add_one();
	apply(txh_prepare(id, 2, 0, false, &m));
	stamp = vote_stamp();
	apply(txh_outcome(id, 2, true, stamp));
	forget();
	txn_mini_reset(&m);
	(void)txn_delete(&m, txf_slice(&key));
	apply(txh_prepare(txn_id_of(12, 1), 2, 0, false, &m));
	add_one();
	apply(txh_prepare(id, 2, 0, false, &m));
	CHECK_U64_EQ(stats().waiting, 1);
	decision(true, stamp);
	CHECK_TRUE(execute_proposed());
	CHECK_U64_EQ(stats().waiting, 0);
}

/* A leader that has been deposed without knowing has not seen the PREPARE that its successor
 * executed. If it acknowledged the commit, the coordinator would forget it, and the successor's
 * part would abort. */
static void an_unknown_commit_is_acknowledged_by_the_log_only(void)
{
	struct message ack;

	decision(true, h.clock_ns);
	CHECK_NULL(txh_last_message(&h, MSG_ACK, &ack));
	CHECK_TRUE(execute_proposed());
	CHECK_NOT_NULL(txh_last_message(&h, MSG_ACK, &ack));
	CHECK_U64_EQ(ack.id.client, id.client);
}

/* The abort was lost; who waits in line holds nothing, but bars who came later. */
static void who_waits_asks_too(void)
{
	struct message ask;

	add_one();
	apply(txh_prepare(txn_id_of(12, 1), 2, 0, false, &m));
	txn_mini_reset(&m);
	(void)txn_delete(&m, txf_slice(&key));
	apply(txh_prepare(id, 3, 0, false, &m));
	CHECK_U64_EQ(stats().waiting, 1);
	for (unsigned i = 0; i < 40; i++)
		txh_tick(&h, 10 * MS_NS);
	CHECK_NOT_NULL(txh_last_message(&h, MSG_ASK, &ask));
	while (ask.from == 0 && ask.id.client != id.client && h.out_count > 0) {
		buf_release(&h.outs[--h.out_count].bytes);
		CHECK_NOT_NULL(txh_last_message(&h, MSG_ASK, &ask));
	}
	CHECK_U64_EQ(ask.id.client, id.client);
}

/* A participant's wish to cancel what the coordinator does not know: it waits for nobody. */
static void a_wish_about_the_unknown_is_answered(void)
{
	struct message wish = {.kind = MSG_CANCEL, .from = 1, .id = id, .why = ERR_ABORTED}, d;

	txh_message(&h, &wish);
	CHECK_TRUE(execute_proposed());
	CHECK_NOT_NULL(txh_last_message(&h, MSG_DECISION, &d));
	CHECK_FALSE(d.commit);
	add_one();
	(void)txn_put(&m, txf_slice(&remote), slice_str("x"));
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 1}, &m));
	CHECK_ERR(txh_reply(&h, 11, 1), ERR_ABORTED); /* it can never come to be */
	CHECK_U64_EQ(stats().locks, 0);
}

/* A client may acknowledge what it has given up. It can still be cancelled. */
static void cancel_behind_the_mark(void)
{
	struct buf b = BUF_INIT;

	add_one();
	apply(txh_prepare(txn_id_of(12, 1), 2, 0, false, &m));
	txn_mini_reset(&m);
	(void)txn_delete(&m, txf_slice(&key));
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 1}, &m));
	CHECK_U64_EQ(stats().waiting, 1);
	txn_mini_reset(&m);
	(void)txn_put(&m, txf_slice(&other), slice_str("x"));
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 2, .mark = 1}, &m));
	tsm_command_cancel(&b, 11, 1, ERR_CANCELED);
	apply(b);
	CHECK_U64_EQ(stats().waiting, 0);
}

/* With one replica a request is executed before the leader is told that it has proposed it. One that
 * was refused leaves no trace, so the PREPAREs leave; but not for ever. */
static void told_too_late_of_a_refused_request(void)
{
	struct txh_request q = {.client = 11, .sequence = 1, .age = 5};
	struct message p;
	struct buf b;

	txn_mini_reset(&m);
	(void)txn_put(&m, txf_slice(&other), slice_str("x"));
	(void)txn_put(&m, txf_slice(&remote), slice_str("x"));
	b = txh_request(&q, &m);
	h.owns_nothing = true; /* not recorded here: its home key is elsewhere */
	tsm_request_proposed(h.tsm[0], buf_slice(&b), h.now_ns);
	buf_release(&b);
	for (unsigned i = 0; i < 60; i++)
		txh_tick(&h, 100 * MS_NS);
	CHECK_NOT_NULL(txh_last_message(&h, MSG_PREPARE, &p));
	txh_forget_outs(&h);
	for (unsigned i = 0; i < 60; i++)
		txh_tick(&h, 100 * MS_NS);
	CHECK_NULL(txh_last_message(&h, MSG_PREPARE, &p));
	p = (struct message){.kind = MSG_ASK, .from = 1, .id = id};
	txh_message(&h, &p); /* who has prepared learns that it is over */
	CHECK_TRUE(execute_proposed());
	CHECK_NOT_NULL(txh_last_message(&h, MSG_DECISION, &p));
	CHECK_FALSE(p.commit);
}

static void told_too_late_of_a_forgotten_request(void)
{
	struct txh_request q = {.client = 11, .sequence = 2, .mark = 1};
	struct message p;
	struct buf b;

	add_one();
	apply(txh_request(&q, &m));
	q = (struct txh_request){.client = 11, .sequence = 1};
	(void)txn_put(&m, txf_slice(&remote), slice_str("x"));
	b = txh_request(&q, &m);
	tsm_request_proposed(h.tsm[0], buf_slice(&b), h.now_ns);
	buf_release(&b);
	for (unsigned i = 0; i < 5; i++)
		txh_tick(&h, 100 * MS_NS);
	CHECK_NULL(txh_last_message(&h, MSG_PREPARE, &p));
}

/* ---- a cluster in which messages come again, seconds later ---- */

#define ADDERS 4u
#define ADDS   60u

static struct txf f;
static struct txf_key counter[2];

static void adder(void *arg)
{
	struct txf_client *c = arg;
	struct txn_mini mini;
	struct txn_result r;

	txn_mini_init(&mini);
	txn_result_init(&r);
	for (unsigned i = 0; i < ADDS; i++) {
		txn_mini_reset(&mini);
		for (unsigned k = 0; k < 2; k++)
			(void)txn_add(&mini, txf_slice(&counter[k]), number, 1, false);
		CHECK_OK(txf_exec(c, &mini, &r));
		txf_sleep(&f, (1 + txf_below(&f, 60)) * MS_NS);
	}
	txn_result_release(&r);
	txn_mini_release(&mini);
}

static void run_late(uint64_t seed)
{
	static const uint8_t zero[8];
	struct txf_client clients[ADDERS];
	struct txf_config cfg;
	struct buf value = BUF_INIT;

	txf_config_faulty(&cfg, seed);
	cfg.groups = 2;
	cfg.late = 150;
	txf_open(&f, &cfg);
	for (unsigned i = 0; i < ADDERS; i++)
		txf_client_init(&clients[i], &f);
	for (uint32_t k = 0; k < 2; k++) {
		counter[k] = txf_key(k, 1, 'N', "counter");
		CHECK_OK(txf_put(&clients[0], txf_slice(&counter[k]), slice_of(zero, 8)));
	}
	for (unsigned i = 0; i < ADDERS; i++)
		txf_spawn(&f, adder, &clients[i]);
	CHECK_TRUE(txf_run(&f));
	txf_settle(&f);
	for (uint32_t k = 0; k < 2; k++) {
		CHECK_OK(txn_mem_record(txf_mem(&f, k), txf_slice(&counter[k]), &value, NULL, NULL));
		CHECK_U64_EQ(le64_get(value.data), ADDERS * ADDS);
	}
	buf_release(&value);
	for (unsigned i = 0; i < ADDERS; i++)
		txf_client_release(&clients[i]);
	txf_close(&f);
}

static void additions_count_once(void)
{
	for (uint64_t seed = 1; seed <= 20 && check_failures() == 0; seed++)
		run_late(seed);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(a_commit_that_comes_again_is_not_carried_out_again),
	T(a_spurious_prepare_in_line_is_released),
	T(an_unknown_commit_is_acknowledged_by_the_log_only),
	T(who_waits_asks_too),
	T(a_wish_about_the_unknown_is_answered),
	T(cancel_behind_the_mark),
	T(told_too_late_of_a_refused_request),
	T(told_too_late_of_a_forgotten_request),
	CHECK_TEST(additions_count_once),
};
CHECK_MAIN(tests)
