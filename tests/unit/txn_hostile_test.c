/* What peers and clients may send that no honest one does: sizes and numbers at and beyond the
 * limits. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_hand.h"

static struct txh h;
static struct txn_mini m;
static struct txf_key key, remote;

static void setup(void)
{
	txh_open(&h);
	txn_mini_init(&m);
	key = txf_key(0, 1, 'N', "");
	remote = txf_key(1, 1, 'N', "");
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

/* Sequences with this bit belong to reads that the machine itself has proposed. */
static void an_anonymous_request_answers_no_read(void)
{
	struct txh_request q = {.sequence = TSM_READ_SEQ_BIT | 1};
	uint64_t client, sequence;
	struct buf b;
	bool adds;

	(void)txn_put(&m, txf_slice(&key), slice_str("x"));
	b = txh_request(&q, &m);
	CHECK_ERR(tsm_request_check(buf_slice(&b), &client, &sequence, &adds), ERR_PROTO);
	buf_release(&b);
	q.sequence = 1;
	b = txh_request(&q, &m);
	CHECK_OK(tsm_request_check(buf_slice(&b), &client, &sequence, &adds));
	buf_release(&b);
}

/* What cannot be proposed later must not wait now: nobody would ever answer it. */
static void a_read_too_big_to_be_proposed(void)
{
	static uint8_t bytes[UINT16_MAX];
	enum { COUNT = 32 };
	struct tsm_output o;
	struct slice items;
	struct reply_head head;
	struct buf part = BUF_INIT;

	(void)txn_put(&m, txf_slice(&key), slice_str("x"));
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, false, &m));
	txn__part_head(&part, 0, COUNT, 0, 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct txn_cond c = {.kind = TXN_FIELD, .key = txf_slice(&key)};

		c.field.width = UINT16_MAX;
		if (i + 1 == COUNT)
			c.field.width = (uint16_t)(COMMAND_SIZE_MAX - 64 - part.len);
		c.value = slice_of(bytes, c.field.width);
		txn__part_cond(&part, &c, i);
	}
	CHECK_TRUE(part.len < COMMAND_SIZE_MAX && part.len > COMMAND_SIZE_MAX - 100);
	tsm_read(h.tsm[0], 7, buf_slice(&part), h.now_ns);
	buf_release(&part);
	while (tsm_output_next(h.tsm[0], &o) && o.kind != TSM_READ_DONE)
		;
	CHECK_INT_EQ(o.kind, TSM_READ_DONE);
	CHECK_OK(txn__reply_decode_head(o.bytes, &head, &items));
	CHECK_ERR(head.status, ERR_TOO_BIG);
}

static void a_refusal_as_big_as_a_frame(void)
{
	struct reply_head head = {.status = ERR_CONDITION, .failed = 0};
	struct message vote = {.kind = MSG_VOTE, .from = 1, .id = {11, 1}};
	const struct txh_out *p;
	struct buf reply = BUF_INIT, big = BUF_INIT, b = BUF_INIT;

	(void)txn_put(&m, txf_slice(&key), slice_str("x"));
	(void)txn_put(&m, txf_slice(&remote), slice_str("y"));
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 1}, &m));
	buf_add_zeros(&big, COMMAND_SIZE_MAX + 5);
	head.current.value = buf_slice(&big);
	txn__reply_head(&reply, &head);
	vote.body = buf_slice(&reply);
	txh_forget_outs(&h);
	txh_message(&h, &vote);
	p = txh_last(&h, TSM_PROPOSE);
	CHECK_NOT_NULL(p);
	CHECK_TRUE(p->out.bytes.len <= COMMAND_SIZE_MAX);
	CHECK_OK(buf_set(&b, p->out.bytes));
	apply(b);
	CHECK_ERR(txh_reply(&h, 11, 1), ERR_CONDITION);
	buf_release(&big);
	buf_release(&reply);
}

/* A PREPARE that no command holds must not be on record: the record could not be read again. */
static void a_command_above_the_limit_is_nothing(void)
{
	struct buf body = BUF_INIT, b = BUF_INIT;
	struct command c = {.kind = CMD_PREPARE, .id = {11, 1}, .coordinator = 2};

	buf_add_zeros(&body, COMMAND_SIZE_MAX);
	c.body = buf_slice(&body);
	txn__enc_prepare(&b, &c);
	CHECK_TRUE(b.len > COMMAND_SIZE_MAX);
	CHECK_ERR(txn__command_decode(buf_slice(&b), &c), ERR_PROTO);
	buf_release(&b);
	buf_release(&body);
}

/* What no DECIDE could carry is refused where it is read: it would stay in memory until the end. */
static void a_vote_too_big_to_be_decided(void)
{
	static uint8_t bytes[60000];
	struct tsm_stats s;

	for (unsigned i = 0; i < 40; i += 20) {
		txn_mini_reset(&m);
		for (unsigned k = 0; k < 20; k++) {
			struct txf_key at = txf_key(0, 100 + i + k, 'N', "");

			(void)txn_put(&m, txf_slice(&at), slice_of(bytes, sizeof(bytes)));
		}
		apply(txh_request(&(struct txh_request){.client = 10, .sequence = i + 1}, &m));
	}
	txn_mini_reset(&m);
	for (unsigned i = 0; i < 40; i++) {
		struct txf_key at = txf_key(0, 100 + i, 'N', "");

		(void)txn_get(&m, txf_slice(&at));
	}
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, false, &m));
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.prepared, 0);
	(void)txn_put(&m, txf_slice(&remote), slice_str("y"));
	apply(txh_request(&(struct txh_request){.client = 12, .sequence = 1}, &m));
	CHECK_ERR(txh_reply(&h, 12, 1), ERR_TOO_BIG);
}

/* Bodies of those in line stand in memory. */
static void a_line_has_room_for_so_many_bytes(void)
{
	static uint8_t bytes[60000];
	struct tsm_stats s;
	unsigned busy = 0;

	(void)txn_put(&m, txf_slice(&key), slice_str("x"));
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, false, &m));
	for (unsigned i = 0; i < 40; i++) {
		struct txh_request q = {.client = 20 + i, .sequence = 1};
		struct buf b;

		txn_mini_reset(&m);
		for (unsigned k = 0; k < 34; k++)
			(void)txn_put_ref(&m, txf_slice(&key), slice_of(bytes, sizeof(bytes)));
		b = txh_request(&q, &m);
		txh_add(&h, &b);
	}
	txh_entry(&h);
	for (unsigned i = 0; i < 40; i++)
		busy += txh_reply(&h, 20 + i, 1) == ERR_BUSY;
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.waiting + busy, 40);
	CHECK_U64_EQ(s.waiting, TSM_WAITING_BYTES_MAX / (34 * sizeof(bytes) + 34 * 20));
	apply(txh_outcome(txn_id_of(11, 1), 2, false, 0));
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.waiting, 0);
	CHECK_U64_EQ(h.tsm[0]->waiting_bytes, 0);
}

/* Of a listing of few items not the references of all are looked up and locked. */
static void a_scan_locks_what_it_returns(void)
{
	struct txf_key to = txf_key(0, 50, 'N', "");
	struct tsm_stats s;

	for (unsigned i = 1; i < 40; i++) {
		struct txf_key at = txf_key(0, i, 'N', "");
		uint8_t number[8];

		le64_put(number, 100 + i);
		(void)txn_put(&m, txf_slice(&at), slice_of(number, 8));
	}
	apply(txh_request(&(struct txh_request){.client = 10, .sequence = 1}, &m));
	txn_mini_reset(&m);
	(void)txn_scan_ref(&m, txf_slice(&key), txf_slice(&to), 3, 0, 'N', (struct slice){0});
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, false, &m));
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.prepared, 1);
	CHECK_U64_EQ(s.locks, 1 + 3);
}

/* A PREPARE may name as its lock transaction any of the client's, whatever the coordinator will
 * say of it later: an ordinary one's locks are for ordinary ones too. */
static void an_ordinary_transaction_is_no_lock(void)
{
	static const struct txn_field number = {.width = 8};
	struct tsm_stats s;

	(void)txn_put(&m, txf_slice(&key), slice_str("12345678"));
	apply(txh_request(&(struct txh_request){.client = 10, .sequence = 1}, &m));
	txn_mini_reset(&m);
	(void)txn_delete(&m, txf_slice(&key));
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, false, &m));
	txn_mini_reset(&m);
	(void)txn_add(&m, txf_slice(&key), number, 1, false);
	apply(txh_prepare(txn_id_of(11, 2), 2, 1, false, &m));
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.waiting, 1);
	apply(txh_outcome(txn_id_of(11, 1), 2, true, h.clock_ns));
	apply(txh_outcome(txn_id_of(11, 2), 2, false, 0)); /* opens a machine, which loads */
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.prepared + s.waiting, 0);
}

/* No coordinator commits a lock transaction: its mutations were never tried. */
static void a_lock_transaction_is_not_carried_out(void)
{
	static const struct txn_field number = {.width = 8};
	struct tsm_stats s;

	(void)txn_add(&m, txf_slice(&key), number, 1, false);
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, true, &m));
	apply(txh_outcome(txn_id_of(11, 1), 2, true, h.clock_ns));
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.prepared, 0);
	CHECK_U64_EQ(txn_mem_count(h.mem[0], TXN_TABLE_TXN), 0);
}

/* A CANCEL asked for when the request was not known yet, and executed behind its commit and the client's
 * CLOSE: the participant that asked is still to carry the commit out. */
static void a_commit_outlives_its_client(void)
{
	struct txn_id id = txn_id_of(11, 1);
	struct buf cancel = BUF_INIT, close = BUF_INIT;
	struct message d;

	(void)txn_put(&m, txf_slice(&key), slice_str("x"));
	(void)txn_put(&m, txf_slice(&remote), slice_str("y"));
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 1}, &m));
	apply(txh_decide(id, true, h.clock_ns));
	tsm_command_close(&close, id.client);
	apply(close);
	txh_forget_outs(&h);
	txn__enc_cancel(&cancel, id, ERR_ABORTED, 1 + 1);
	apply(cancel);
	CHECK_NOT_NULL(txh_last_message(&h, MSG_DECISION, &d));
	CHECK_TRUE(d.commit);
	CHECK_INT_EQ(txh_reply(&h, id.client, id.sequence), ERR_SESSION);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(an_anonymous_request_answers_no_read),
	T(a_read_too_big_to_be_proposed),
	T(a_refusal_as_big_as_a_frame),
	T(a_command_above_the_limit_is_nothing),
	T(a_vote_too_big_to_be_decided),
	T(a_line_has_room_for_so_many_bytes),
	T(a_scan_locks_what_it_returns),
	T(an_ordinary_transaction_is_no_lock),
	T(a_lock_transaction_is_not_carried_out),
	T(a_commit_outlives_its_client),
};
CHECK_MAIN(tests)
