/* txn, on the side of those who ask: every allocation fails once. Building, cutting, encoding, merging,
 * interactive transactions: ERR_NOMEM, nothing half done, and it works when there is memory again. */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/txn_executor_mem.h"
#include "tests/lib/txn_fixture.h"
#include "txn/reply_codec.h"

static const struct txn_field n8 = {.offset = 0, .width = 8};

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)to;
	*group = key.p[0] < 'm';
	return 0;
}

static void build(struct txn_mini *m)
{
	static uint8_t block[6000];

	for (unsigned i = 0; i < 20; i++) { /* more than the lists begin with */
		char key[32];

		snprintf(key, sizeof(key), "%c-key-%02u", i % 2 ? 'a' : 'z', i);
		(void)txn_if_exists(m, slice_str(key));
		(void)txn_if_field_u64(m, slice_str(key), n8, i);
		(void)txn_get(m, slice_str(key));
		(void)txn_put(m, slice_str(key), slice_of(block, i * 300));
		(void)txn_add(m, slice_str(key), n8, 1, true);
	}
	(void)txn_scan(m, slice_str("a"), slice_str("b"), 10);
	(void)txn_patch(m, slice_str("a"), 10, slice_str("bytes"));
}

static void encode(const struct txn_part *parts, uint32_t n, struct buf *b)
{
	struct tsm_request q = {.client = 7,
				.sequence = 9,
				.home = slice_str("home"),
				.parts = parts,
				.part_count = n};

	tsm_request_encode(&q, b);
}

static void requests(struct fault *f)
{
	struct txn_part parts[TXN_GROUPS_MAX] = {{0}};
	struct buf b = BUF_INIT;
	struct txn_mini m;
	uint64_t client, sequence;
	uint32_t n = 77;
	bool adds;
	int err;

	txn_mini_init(&m);
	fault_arm(f);
	build(&m);
	if (fault_hit(f, m.err)) {
		CHECK_ERR(txn_split(&m, route, NULL, parts, &n), ERR_NOMEM);
		CHECK_INT_EQ(n, 77);
		txn_mini_reset(&m);
		CHECK_OK(m.err);
		build(&m);
	}
	CHECK_OK(m.err);
	CHECK_INT_EQ(m.cond_count, 40);
	CHECK_INT_EQ(m.read_count, 21);
	CHECK_INT_EQ(m.mut_count, 41);
	fault_arm(f);
	err = txn_split(&m, route, NULL, parts, &n);
	if (fault_hit(f, err)) {
		CHECK_INT_EQ(n, 77);
		CHECK_OK(txn_split(&m, route, NULL, parts, &n));
	}
	CHECK_INT_EQ(n, 2);
	fault_arm(f);
	encode(parts, n, &b);
	if (fault_hit(f, buf_ok(&b) ? 0 : ERR_NOMEM)) {
		buf_reset(&b);
		encode(parts, n, &b);
	}
	CHECK_OK(tsm_request_check(buf_slice(&b), &client, &sequence, &adds));
	CHECK_U64_EQ(sequence, 9);
	txn_parts_release(parts, n);
	txn_mini_release(&m);
	buf_release(&b);
}

static void requests_are_built_or_refused(void)
{
	fault_every("request: build, split, encode", requests, NULL);
}

/* ---- results ---- */

static void make_reply(struct buf *b, unsigned part)
{
	struct reply_head head = {.stamp = 100};
	uint8_t bytes[200] = {(uint8_t)part};
	struct reply_value v = {.version = 5, .value = slice_of(bytes, sizeof(bytes))};

	txn__reply_head(b, &head);
	if (part == 0) {
		enc_u64(b, REPLY_GET);
		enc_u64(b, 0);
		txn__reply_value(b, &v);
		return;
	}
	enc_u64(b, REPLY_SCAN);
	enc_u64(b, 1);
	for (unsigned i = 0; i < 70; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key-%02u", i);
		enc_u64(b, REPLY_ITEM);
		enc_bytes(b, slice_str(key));
		enc_u64(b, i + 1);
		enc_bytes(b, slice_of(bytes, sizeof(bytes)));
	}
	enc_u64(b, REPLY_DONE);
}

static int merge_both(struct txn_result *r, const struct txn_mini *m, const struct buf *replies)
{
	int err;

	txn_result_prepare(r, m);
	err = txn_result_merge(r, buf_slice(&replies[0]));
	return err ? err : txn_result_merge(r, buf_slice(&replies[1]));
}

static void results(struct fault *f)
{
	struct buf replies[2] = {BUF_INIT, BUF_INIT};
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_get(&m, slice_str("k"));
	(void)txn_scan(&m, slice_str("a"), slice_str("z"), 100);
	make_reply(&replies[0], 0);
	make_reply(&replies[1], 1);
	fault_arm(f);
	err = merge_both(&r, &m, replies);
	if (fault_hit(f, err))
		CHECK_OK(merge_both(&r, &m, replies));
	CHECK_OK(r.status);
	CHECK_INT_EQ(r.reads[0].value.value.len, 200);
	CHECK_INT_EQ(r.reads[1].item_count, 70);
	CHECK_SLICE_EQ(r.reads[1].items[69].key, slice_str("key-69"));
	CHECK_INT_EQ(r.reads[1].items[69].value.p[0], 1);
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&replies[0]);
	buf_release(&replies[1]);
}

static void results_are_merged_or_refused(void)
{
	fault_every("result: merge", results, NULL);
}

/* ---- interactive ---- */

static bool count_items(void *ctx, struct slice key, struct slice value)
{
	unsigned *n = ctx;

	CHECK_TRUE(key.len > 0 && value.len > 0);
	(*n)++;
	return true;
}

struct story {
	struct txn_mem_executor ex;
	struct txn_interactive *t;
	struct buf value;
	unsigned items;
	uint64_t stamp;
};

static int step(struct story *s, unsigned i)
{
	switch (i) {
	case 0: return txn_i_get(s->t, slice_str("a"), &s->value, NULL);
	case 1: return txn_i_put(s->t, slice_str("b"), slice_str("own"));
	case 2:
		s->items = 0;
		return txn_i_scan(s->t, slice_str("a"), slice_str("z"), 0, count_items, &s->items);
	case 3: return txn_i_delete(s->t, slice_str("c"));
	case 4: return txn_i_put(s->t, slice_str("a"), slice_str("a longer value than before"));
	case 5: return txn_i_get(s->t, slice_str("a"), &s->value, NULL);
	default: return txn_commit(s->t, &s->stamp);
	}
}

/* Each step again when it had no memory: nothing of it was kept that would show. */
static void interactive(struct fault *f)
{
	struct story s = {.value = BUF_INIT};
	uint64_t version;

	txn_mem_executor_init(&s.ex);
	s.ex.page = 2;
	txn_mem_executor_put(&s.ex, slice_str("a"), slice_str("1"));
	txn_mem_executor_put(&s.ex, slice_str("c"), slice_str("3"));
	txn_mem_executor_put(&s.ex, slice_str("d"), slice_str("4"));
	s.t = txn_begin(&s.ex.x);
	for (unsigned i = 0; i <= 6; i++) {
		int err;

		fault_arm(f);
		err = step(&s, i);
		if (fault_hit(f, err) && i == 6) { /* a commit that failed is over: from the start */
			CHECK_U64_EQ(s.ex.commits, 0);
			CHECK_OK(txn_retry(s.t));
			for (i = 0; i < 6; i++)
				CHECK_OK(step(&s, i));
			CHECK_OK(step(&s, i));
		} else if (err) {
			CHECK_U64_EQ(s.ex.commits, 0);
			CHECK_OK(step(&s, i));
		}
		if (i == 2)
			CHECK_INT_EQ(s.items, 4);
	}
	CHECK_SLICE_EQ(buf_slice(&s.value), slice_str("a longer value than before"));
	version = txn_mem_executor_version(&s.ex, slice_str("a"));
	CHECK_U64_EQ(version, txn_mem_executor_version(&s.ex, slice_str("b")));
	CHECK_U64_EQ(txn_mem_executor_version(&s.ex, slice_str("c")), 0);
	txn_rollback(s.t);
	buf_release(&s.value);
	txn_mem_executor_release(&s.ex);
}

static void an_interactive_step_is_done_or_not(void)
{
	fault_every("interactive: get, put, scan, commit", interactive, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, fault_teardown, requests_are_built_or_refused),
	CHECK_TEST_WITH(NULL, fault_teardown, results_are_merged_or_refused),
	CHECK_TEST_WITH(NULL, fault_teardown, an_interactive_step_is_done_or_not),
};
CHECK_MAIN(tests)
