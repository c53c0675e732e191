/* Automatic times (TOUCH) of two transactions that hold their I locks side by side, carried out in both
 * orders, over whatever time was there before; and that a machine which was opened anew in between, as
 * the fixture's second one is before each entry, makes the same of them. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_hand.h"

static struct txh h;
static struct txn_mini m;
static struct txf_key key;
static const struct txn_field time_field = {.width = 8};
static uint64_t sequence;

static void setup(void)
{
	txh_open(&h);
	txn_mini_init(&m);
	key = txf_key(0, 1, 'N', "");
	sequence = 0;
}

static void teardown(void)
{
	CHECK_TRUE(!h.differs);
	txn_mini_release(&m);
	txh_close(&h);
}

static void set_by_hand(uint64_t time)
{
	struct txh_request q = {.client = 10, .sequence = ++sequence};
	uint8_t bytes[8];
	struct buf b;

	le64_put(bytes, time);
	txn_mini_reset(&m);
	(void)txn_put(&m, txf_slice(&key), slice_of(bytes, 8));
	b = txh_request(&q, &m);
	txh_apply(&h, &b);
}

static uint64_t stored(void)
{
	struct buf value = BUF_INIT;
	uint64_t time;

	CHECK_OK(txn_mem_record(h.mem[0], txf_slice(&key), &value, NULL, NULL));
	time = le64_get(value.data);
	buf_release(&value);
	return time;
}

/* Prepares it; its stamp. */
static uint64_t touch(struct txn_id id)
{
	struct reply_head head;
	struct slice items;
	struct message v;
	struct buf b;

	txn_mini_reset(&m);
	(void)txn_touch(&m, txf_slice(&key), time_field);
	txh_forget_outs(&h);
	b = txh_prepare(id, 2, 0, false, &m);
	txh_apply(&h, &b);
	if (!txh_last_message(&h, MSG_VOTE, &v))
		CHECK_FAIL("it waits");
	CHECK_OK(txn__reply_decode_head(v.body, &head, &items));
	CHECK_OK(head.status);
	return head.stamp;
}

static void commit(struct txn_id id, uint64_t stamp)
{
	struct buf b = txh_outcome(id, 2, true, stamp);

	txh_apply(&h, &b);
}

/* The group's clock goes on to the stamp, by a transaction about another key. */
static void pass_until(uint64_t stamp)
{
	struct txf_key other = txf_key(0, 2, 'N', "");
	struct txn_id id = txn_id_of(13, ++sequence);
	struct buf b;

	txn_mini_reset(&m);
	(void)txn_put(&m, txf_slice(&other), slice_str("x"));
	b = txh_prepare(id, 2, 0, false, &m);
	txh_apply(&h, &b);
	commit(id, stamp);
}

/* What it is in the end. Another group may have given a commit a later stamp than its vote here. */
static uint64_t two_touches(uint64_t time, bool second_first, const uint64_t later_by[2])
{
	struct txn_id ids[2] = {txn_id_of(11, sequence + 1), txn_id_of(12, sequence + 1)};
	uint64_t stamps[2];

	set_by_hand(time);
	for (int i = 0; i < 2; i++)
		stamps[i] = touch(ids[i]) + later_by[i];
	commit(ids[second_first], stamps[second_first]);
	commit(ids[!second_first], stamps[!second_first]);
	CHECK_U64_EQ(stored(), stamps[0] > stamps[1] ? stamps[0] : stamps[1]);
	return stored();
}

/* The later of their stamps, whatever the order. */
static void order_does_not_matter(void)
{
	const uint64_t times[] = {0,	     1,	       4102444800000000000u, INT64_MAX,
				  UINT64_MAX, (uint64_t)INT64_MIN};
	const uint64_t later_by[][2] = {{0, 0}, {1000, 0}, {0, 1000}, {1000000, 1000000}};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		for (int k = 0; k < 4; k++) {
			uint64_t one = two_touches(times[i], false, later_by[k]);

			CHECK_TRUE(two_touches(times[i], true, later_by[k]) > one);
		}
}

/* It lay in the future when it was set, and does not when the last of them is carried out: there it is
 * a time like others, which does not go back. */
static void a_time_that_has_come_stays(void)
{
	const uint64_t none[2] = {0, 0};
	uint64_t last = two_touches(0, false, none), soon = last + 1000000000, stamp;

	set_by_hand(soon);
	stamp = touch(txn_id_of(21, 1));
	(void)touch(txn_id_of(21, 2));
	CHECK_TRUE(stamp < soon);
	commit(txn_id_of(21, 2), soon - 10);
	CHECK_U64_EQ(stored(), soon - 10); /* beyond the clock */
	commit(txn_id_of(21, 1), stamp);
	CHECK_U64_EQ(stored(), soon - 10);
	set_by_hand(soon + 1000);
	stamp = touch(txn_id_of(21, 3));
	pass_until(soon + 2000);
	commit(txn_id_of(21, 3), stamp);
	CHECK_U64_EQ(stored(), soon + 1000);
}

static void an_abort_leaves_what_was_set(void)
{
	struct buf b;

	set_by_hand(UINT64_MAX);
	(void)touch(txn_id_of(31, 1));
	b = txh_outcome(txn_id_of(31, 1), 2, false, 0);
	txh_apply(&h, &b);
	CHECK_U64_EQ(stored(), UINT64_MAX);
}

/* The vote is made again, the clock is that of the store. */
static void a_restart_changes_nothing(void)
{
	uint64_t stamps[2];

	set_by_hand(UINT64_MAX);
	stamps[0] = touch(txn_id_of(41, 1));
	stamps[1] = touch(txn_id_of(42, 1));
	txh_restart(&h);
	commit(txn_id_of(42, 1), stamps[1]);
	txh_restart(&h);
	commit(txn_id_of(41, 1), stamps[0]);
	CHECK_U64_EQ(stored(), stamps[1]);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(order_does_not_matter),
	T(a_time_that_has_come_stays),
	T(an_abort_leaves_what_was_set),
	T(a_restart_changes_nothing),
};
CHECK_MAIN(tests)
