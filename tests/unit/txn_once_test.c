/* Requests of one group are executed exactly once; what is malformed, closed, forgotten or not of
 * the group is refused; a store that fails stops the replica. */
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_fixture.h"

static struct txf f;
static struct txf_client c;
static struct txn_mini m;
static struct txn_result r;
static struct buf value;
static struct txf_key ka, kb;
static const struct txn_field n8 = {.offset = 0, .width = 8};

static void setup(void)
{
	struct txf_config cfg;

	txf_config_default(&cfg);
	cfg.groups = 2;
	txf_open(&f, &cfg);
	txf_client_init(&c, &f);
	txn_mini_init(&m);
	txn_result_init(&r);
	ka = txf_key(0, 1, 'T', "a");
	kb = txf_key(0, 1, 'T', "b");
}

static void teardown(void)
{
	txn_mini_release(&m);
	txn_result_release(&r);
	buf_release(&value);
	txf_client_release(&c);
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

/* Runs what was put into m, and empties it. */
static int go(void)
{
	int err = txf_exec(&c, &m, &r);

	txn_mini_reset(&m);
	return err;
}

static void store(struct slice key, struct slice bytes)
{
	(void)txn_put(&m, key, bytes);
	CHECK_OK(go());
}

static void check_number(struct slice key, uint64_t want)
{
	CHECK_OK(txf_get(&c, key, &value, NULL));
	CHECK_INT_EQ(value.len, 8);
	CHECK_U64_EQ(le64_get(value.data), want);
}

static void store_number(struct slice key, uint64_t n)
{
	uint8_t bytes[8];

	le64_put(bytes, n);
	store(key, slice_of(bytes, 8));
}

/* ---- exactly once ---- */

static struct buf request_bytes(uint64_t sequence, uint64_t mark, const struct txn_mini *mini)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct buf bytes = BUF_INIT;
	uint32_t n = 0;
	struct tsm_request q = {.client = c.id,
				.sequence = sequence,
				.mark = mark,
				.home = mini->muts[0].key,
				.parts = parts};

	CHECK_OK(txn_split(mini, txf_route, &f, parts, &n));
	q.part_count = n;
	tsm_request_encode(&q, &bytes);
	txn_parts_release(parts, n);
	return bytes;
}

static int send(const struct buf *bytes, uint64_t sequence)
{
	return txf_await(txf_send_raw(&c, 0, sequence, buf_slice(bytes)), &m, &r);
}

static void a_request_is_executed_once(void)
{
	struct buf bytes;
	uint64_t stamp;

	store_number(a(), 0);
	(void)txn_add(&m, a(), n8, 1, true);
	bytes = request_bytes(100, 0, &m);
	CHECK_OK(send(&bytes, 100));
	stamp = r.stamp;
	for (int i = 0; i < 6; i++) {
		if (i & 1) {
			txf_leader_loss(&f, 0, 0, UINT64_MAX);
			txf_restart(&f, 0, (unsigned)i % 3);
			txf_elect(&f, 0, (unsigned)i % 3);
		}
		CHECK_OK(send(&bytes, 100));
		CHECK_U64_EQ(r.numbers[0], 1);
		CHECK_U64_EQ(r.stamp, stamp);
	}
	check_number(a(), 1);
	buf_release(&bytes);
}

static void failures_are_remembered_too(void)
{
	struct buf bytes;

	(void)txn_add(&m, a(), n8, 1, true);
	bytes = request_bytes(100, 0, &m);
	CHECK_ERR(send(&bytes, 100), ERR_ABSENT_RECORD);
	buf_release(&bytes);
	txn_mini_reset(&m);
	store_number(a(), 0);
	(void)txn_add(&m, a(), n8, 1, true);
	bytes = request_bytes(100, 0, &m);
	CHECK_ERR(send(&bytes, 100), ERR_ABSENT_RECORD);
	check_number(a(), 0);
	buf_release(&bytes);
}

static void the_mark_forgets(void)
{
	struct tsm_stats s;
	struct buf bytes;

	store_number(a(), 0);
	(void)txn_add(&m, a(), n8, 1, true);
	for (uint64_t i = 100; i < 110; i++) {
		bytes = request_bytes(i, 0, &m);
		CHECK_OK(send(&bytes, i));
		buf_release(&bytes);
	}
	txf_stats(&f, 0, &s);
	CHECK_TRUE(s.replies >= 10);
	bytes = request_bytes(110, 107, &m);
	CHECK_OK(send(&bytes, 110));
	buf_release(&bytes);
	txf_stats(&f, 0, &s);
	CHECK_INT_EQ(s.replies, 3);
	bytes = request_bytes(107, 0, &m);
	CHECK_ERR(send(&bytes, 107), ERR_FORGOTTEN);
	buf_release(&bytes);
	bytes = request_bytes(108, 0, &m);
	CHECK_OK(send(&bytes, 108));
	CHECK_U64_EQ(r.numbers[0], 9);
	buf_release(&bytes);
	check_number(a(), 11);
}

static void replies_and_marks_survive_a_restart(void)
{
	struct buf bytes;

	store_number(a(), 0);
	(void)txn_add(&m, a(), n8, 1, true);
	bytes = request_bytes(100, 50, &m);
	CHECK_OK(send(&bytes, 100));
	txf_leader_loss(&f, 0, 0, UINT64_MAX);
	for (unsigned i = 0; i < 3; i++)
		txf_restart(&f, 0, i);
	txf_elect(&f, 0, 2);
	CHECK_OK(send(&bytes, 100));
	CHECK_U64_EQ(r.numbers[0], 1);
	buf_release(&bytes);
	bytes = request_bytes(50, 0, &m);
	CHECK_ERR(send(&bytes, 50), ERR_FORGOTTEN);
	buf_release(&bytes);
}

static void anonymous_requests_leave_no_reply(void)
{
	uint64_t id = c.id;
	struct tsm_stats s;
	struct buf bytes;

	store_number(a(), 0);
	txf_stats(&f, 0, &s);
	c.id = 0;
	(void)txn_add(&m, a(), n8, 1, true);
	bytes = request_bytes(7, 0, &m);
	for (uint64_t i = 1; i <= 3; i++) {
		CHECK_OK(send(&bytes, 7));
		CHECK_U64_EQ(r.numbers[0], i); /* it runs each time */
	}
	buf_release(&bytes);
	c.id = id;
	{
		struct tsm_stats after;

		txf_stats(&f, 0, &after);
		CHECK_U64_EQ(after.replies, s.replies);
	}
}

static void closed_clients_are_refused(void)
{
	struct buf close = BUF_INIT;
	struct txf_client next;
	struct tsm_stats s;

	store_number(a(), 0);
	tsm_command_close(&close, c.id);
	txf_apply(&f, 0, buf_slice(&close));
	txf_apply(&f, 0, buf_slice(&close)); /* twice is once */
	buf_release(&close);
	(void)txn_put(&m, a(), slice_str("x"));
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_SESSION);
	txf_stats(&f, 0, &s);
	CHECK_INT_EQ(s.replies, 0);
	txf_leader_loss(&f, 0, 0, UINT64_MAX);
	txf_restart(&f, 0, 1);
	txf_elect(&f, 0, 1);
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_SESSION);
	txf_client_init(&next, &f);
	CHECK_OK(txf_exec(&next, &m, &r));
	txf_client_release(&next);
}

static void the_floor_closes_all_below(void)
{
	struct buf floor = BUF_INIT;
	struct txf_client next;

	store_number(a(), 0);
	CHECK_TRUE(txn_mem_count(txf_mem(&f, 0), TXN_TABLE_REPLY) > 0);
	tsm_command_floor(&floor, c.id + 1);
	txf_apply(&f, 0, buf_slice(&floor));
	CHECK_INT_EQ(txn_mem_count(txf_mem(&f, 0), TXN_TABLE_REPLY), 0);
	(void)txn_put(&m, a(), slice_str("x"));
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_SESSION);
	buf_reset(&floor);
	tsm_command_floor(&floor, 1); /* it never sinks */
	txf_apply(&f, 0, buf_slice(&floor));
	CHECK_ERR(txf_exec(&c, &m, &r), ERR_SESSION);
	txf_client_init(&next, &f);
	CHECK_OK(txf_exec(&next, &m, &r));
	txf_client_release(&next);
	buf_release(&floor);
}

/* ---- what is not for this group, and what is nothing ---- */

static void keys_of_others_are_refused(void)
{
	struct txf_key far = txf_key(1, 1, 'T', "x");
	struct buf bytes;

	(void)txn_put(&m, txf_slice(&far), slice_str("x"));
	bytes = request_bytes(100, 0, &m);
	CHECK_ERR(send(&bytes, 100), ERR_PROTO); /* the part says itself that it is group 1's */
	buf_release(&bytes);
}

static void garbage_is_executed_as_nothing(void)
{
	struct txn_mem *mem = txf_mem(&f, 0);
	uint8_t bytes[200];
	struct buf good;
	uint64_t hash;

	f.strays = true;
	store_number(a(), 0);
	(void)txn_add(&m, a(), n8, 1, true);
	good = request_bytes(100, 0, &m);
	hash = txn_mem_hash(mem);
	for (int i = 0; i < 3000; i++) {
		size_t len = txf_below(&f, sizeof(bytes));

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)txf_below(&f, i % 2 ? 256 : 16);
		txf_apply(&f, 0, slice_of(bytes, len));
		(void)tsm_message(txf_leader(&f, 0), slice_of(bytes, len), f.now_ns);
	}
	for (size_t len = 0; len < good.len; len++)
		txf_apply(&f, 0, slice_of(good.data, len));
	CHECK_INT_EQ(txn_mem_count(mem, TXN_TABLE_QUEUE), 0);
	if (hash != txn_mem_hash(mem)) /* by chance there may have been a CLOSE or a FLOOR */
		check_number(a(), 0);
	txf_check_replicas(&f);
	buf_release(&good);
}

static void mutated_requests_do_no_harm(void)
{
	struct buf good, bad = BUF_INIT;

	store_number(a(), 0);
	(void)txn_add(&m, a(), n8, 1, true);
	(void)txn_if_exists(&m, a());
	(void)txn_scan(&m, a(), b(), 10);
	(void)txn_put(&m, b(), slice_str("bytes"));
	good = request_bytes(100, 0, &m);
	for (int i = 0; i < 5000; i++) {
		uint64_t client, sequence;
		bool adds;
		int err;

		CHECK_OK(buf_set(&bad, buf_slice(&good)));
		for (uint64_t k = 1 + txf_below(&f, 3); k > 0; k--)
			bad.data[txf_below(&f, bad.len)] = (uint8_t)txf_random(&f);
		err = tsm_request_check(buf_slice(&bad), &client, &sequence, &adds);
		if (err)
			CHECK_ERR(err, ERR_PROTO);
		txf_apply(&f, 0, buf_slice(&bad));
	}
	txf_check_replicas(&f);
	buf_release(&good);
	buf_release(&bad);
}

static void checks_tell_what_a_request_is(void)
{
	uint64_t client = 0, sequence = 0;
	struct buf bytes;
	bool adds = false;

	(void)txn_put(&m, a(), slice_str("x"));
	bytes = request_bytes(100, 0, &m);
	CHECK_OK(tsm_request_check(buf_slice(&bytes), &client, &sequence, &adds));
	CHECK_U64_EQ(client, c.id);
	CHECK_U64_EQ(sequence, 100);
	CHECK_TRUE(adds);
	CHECK_FALSE(tsm_request_several(buf_slice(&bytes)));
	for (size_t len = 0; len < bytes.len; len++)
		CHECK_ERR(tsm_request_check(slice_of(bytes.data, len), &client, &sequence, &adds),
			  ERR_PROTO);
	buf_release(&bytes);
	txn_mini_reset(&m);
	(void)txn_delete(&m, a());
	bytes = request_bytes(101, 0, &m);
	CHECK_OK(tsm_request_check(buf_slice(&bytes), &client, &sequence, &adds));
	CHECK_FALSE(adds);
	buf_release(&bytes);
}

/* ---- a store that fails ---- */

/* The replica must stop: errors are never taken for absence. */
static void errors_of_the_store_stop_the_replica(void)
{
	struct txn_mem *mem = txn_mem_new();
	struct tsm_config cfg;
	struct tsm *t = NULL;
	struct buf bytes;
	int failed = 0;

	(void)txn_add(&m, a(), n8, 1, true);
	(void)txn_if_absent(&m, b());
	(void)txn_scan(&m, a(), b(), 10);
	(void)txn_delete_range(&m, b(), (struct slice){0});
	m.muts[1].to = b(); /* in group 0 */
	bytes = request_bytes(1, 0, &m);
	tsm_config_default(&cfg);
	cfg.store = txn_mem_store(mem);
	for (unsigned long n = 1; n < 30; n++) {
		int err;

		txn_mem_fail_nth(mem, n, ERR_IO);
		err = tsm_open(&cfg, &t);
		if (err) {
			CHECK_ERR(err, ERR_IO);
			failed++;
			continue;
		}
		txn_mem_begin(mem);
		tsm_begin_entry(t, 1, 1000);
		err = tsm_apply(t, buf_slice(&bytes));
		if (!err)
			err = tsm_end_entry(t);
		else
			CHECK_ERR(tsm_end_entry(t), ERR_IO);
		txn_mem_fail_nth(mem, 0, 0);
		txn_mem_discard(mem);
		tsm_close(t);
		if (err)
			CHECK_ERR(err, ERR_IO);
		failed += err != 0;
	}
	CHECK_TRUE(failed > 8);
	buf_release(&bytes);
	txn_mem_free(mem);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(a_request_is_executed_once),
	T(failures_are_remembered_too),
	T(the_mark_forgets),
	T(replies_and_marks_survive_a_restart),
	T(anonymous_requests_leave_no_reply),
	T(closed_clients_are_refused),
	T(the_floor_closes_all_below),
	T(keys_of_others_are_refused),
	T(garbage_is_executed_as_nothing),
	T(mutated_requests_do_no_harm),
	T(checks_tell_what_a_request_is),
	T(errors_of_the_store_stop_the_replica),
};
CHECK_MAIN(tests)
