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

/* ---- damaged state ---- */

static int open_copy(struct txn_mem *mem)
{
	struct tsm_config cfg;
	struct tsm *t = NULL;
	int err;

	tsm_config_default(&cfg);
	cfg.store = txn_mem_store(mem);
	err = tsm_open(&cfg, &t);
	if (!err)
		tsm_audit(t);
	tsm_close(t);
	return err;
}

struct record {
	enum txn_table table;
	struct buf key, value;
};

struct record_list {
	enum txn_table table;
	struct record items[64];
	unsigned count;
};

static bool collect(void *ctx, struct slice key, struct slice v)
{
	struct record_list *l = ctx;
	struct record *rec = &l->items[l->count];

	*rec = (struct record){.table = l->table};
	CHECK_OK(buf_set(&rec->key, key));
	CHECK_OK(buf_set(&rec->value, v));
	return ++l->count < sizeof(l->items) / sizeof(l->items[0]);
}

/* Every table gets something: replies, a lock transaction of two groups, those who wait for it. */
static void fill_tables(struct record_list *l)
{
	struct txf_key far = txf_key(1, 1, 'T', "far");
	struct txf_options lock = {.lock_only = true};
	struct txn_store *st = txn_mem_store(txf_mem(&f, 0));
	struct txf_call *call;

	store_number(a(), 0);
	(void)txn_delete(&m, a());
	(void)txn_delete(&m, txf_slice(&far));
	CHECK_OK(txf_send(&c, &m, &lock, &call));
	CHECK_OK(txf_await(call, NULL, NULL));
	CHECK_OK(txf_send(&c, &m, NULL, &call)); /* several groups */
	txn_mini_reset(&m);
	(void)txn_delete(&m, a());
	CHECK_OK(txf_send(&c, &m, NULL, &call));
	for (int i = 0; i < 30; i++)
		txf_step(&f);
	for (l->table = TXN_TABLE_TXN; l->table <= TXN_TABLE_STATE; l->table++)
		CHECK_OK(st->scan(st, l->table, (struct slice){0}, (struct slice){0}, collect, l));
	CHECK_INT_EQ(txn_mem_count(txf_mem(&f, 0), TXN_TABLE_TXN), 2);
	CHECK_INT_EQ(txn_mem_count(txf_mem(&f, 0), TXN_TABLE_QUEUE), 2);
}

/* Cut short, a record is damage, or (a counter or a flag) still something; nothing breaks. */
static void damaged_state_is_noticed(void)
{
	struct txn_mem *mem = txn_mem_new();
	struct txn_store *st = txn_mem_store(mem);
	struct record_list list = {0};
	unsigned noticed = 0, tried = 0;

	fill_tables(&list);
	for (unsigned i = 0; i < list.count; i++) {
		struct record *rec = &list.items[i];

		for (size_t len = 0; len < rec->value.len; len++) {
			int err;

			txn_mem_copy(mem, txf_mem(&f, 0));
			CHECK_OK(open_copy(mem));
			txn_mem_begin(mem);
			st->put(st, rec->table, buf_slice(&rec->key),
				slice_of(rec->value.data, len));
			txn_mem_commit(mem);
			err = open_copy(mem);
			if (err)
				CHECK_ERR(err, ERR_CORRUPT);
			noticed += err != 0;
			tried++;
			if (rec->table == TXN_TABLE_TXN || rec->table == TXN_TABLE_QUEUE)
				CHECK_ERR(err, ERR_CORRUPT);
		}
		buf_release(&rec->key);
		buf_release(&rec->value);
	}
	CHECK_TRUE(tried > 100 && noticed > tried / 2);
	txn_mem_free(mem);
}

/* A value without its header: the replica stops instead of calling it absent or empty. */
static void damaged_values_stop_the_replica(void)
{
	struct txn_mem *mem = txn_mem_new();
	struct txn_store *st = txn_mem_store(mem);
	struct tsm_config cfg;
	struct tsm *t = NULL;
	struct buf bytes;

	(void)txn_add(&m, a(), n8, 1, true);
	(void)txn_scan(&m, a(), b(), 10);
	bytes = request_bytes(1, 0, &m);
	tsm_config_default(&cfg);
	cfg.store = st;
	CHECK_OK(tsm_open(&cfg, &t));
	txn_mem_begin(mem);
	st->put(st, TXN_TABLE_DATA, a(), slice_str("short"));
	tsm_begin_entry(t, 1, 1000);
	CHECK_ERR(tsm_apply(t, buf_slice(&bytes)), ERR_CORRUPT);
	CHECK_ERR(tsm_end_entry(t), ERR_CORRUPT);
	txn_mem_discard(mem);
	tsm_close(t);
	buf_release(&bytes);
	txn_mem_free(mem);
}

/* ---- local reads that cannot be ---- */

static int read_directly(struct tsm *t, struct slice part)
{
	struct tsm_output o;
	int status = 1;

	tsm_read(t, 77, part, f.now_ns);
	while (tsm_output_next(t, &o)) {
		if (o.kind != TSM_READ_DONE)
			continue;
		CHECK_U64_EQ(o.token, 77);
		CHECK_OK(txn_result_merge(&r, o.bytes));
		status = r.status;
	}
	return status;
}

static void reads_that_cannot_be_are_refused(void)
{
	struct txf_key far = txf_key(1, 1, 'T', "far");
	struct txn_part parts[TXN_GROUPS_MAX];
	uint32_t n = 0;

	(void)txn_get(&m, txf_slice(&far));
	CHECK_OK(txn_split(&m, txf_route, &f, parts, &n));
	txn_result_prepare(&r, &m);
	CHECK_ERR(read_directly(txf_leader(&f, 0), buf_slice(&parts[0].body)), ERR_WRONG_SHARD);
	txn_result_prepare(&r, &m);
	CHECK_ERR(read_directly(txf_leader(&f, 1), slice_str("garbage")), ERR_PROTO);
	txn_result_prepare(&r, &m);
	CHECK_OK(read_directly(txf_leader(&f, 1), buf_slice(&parts[0].body)));
	txn_parts_release(parts, n);
	txn_mini_reset(&m);
	(void)txn_put(&m, a(), slice_str("x"));
	CHECK_OK(txn_split(&m, txf_route, &f, parts, &n));
	txn_result_prepare(&r, &m);
	CHECK_ERR(read_directly(txf_leader(&f, 0), buf_slice(&parts[0].body)), ERR_PROTO);
	txn_parts_release(parts, n);
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
	T(damaged_state_is_noticed),
	T(damaged_values_stop_the_replica),
	T(reads_that_cannot_be_are_refused),
};
CHECK_MAIN(tests)
