/* The state machine of one group: conditions, reads, each mutation, exactly-once replies. */
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

static void check_stored(struct slice key, struct slice want)
{
	CHECK_OK(txf_get(&c, key, &value, NULL));
	CHECK_SLICE_EQ(buf_slice(&value), want);
}

static void check_absent(struct slice key)
{
	CHECK_ERR(txf_get(&c, key, NULL, NULL), ERR_NOT_FOUND);
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

static uint64_t version_of(struct slice key)
{
	uint64_t v = 0;

	CHECK_OK(txf_get(&c, key, NULL, &v));
	return v;
}

/* ---- conditions ---- */

/* The condition in m holds, or does not: then nothing is done, and the value is told. */
static void check_cond(bool holds)
{
	(void)txn_put(&m, b(), slice_str("done"));
	if (holds) {
		CHECK_OK(go());
		(void)txn_delete(&m, b());
		CHECK_OK(go());
	} else {
		CHECK_ERR(go(), ERR_CONDITION);
		CHECK_INT_EQ(r.failed, 0);
		check_absent(b());
	}
}

static void exists_and_absent(void)
{
	(void)txn_if_exists(&m, a());
	check_cond(false);
	CHECK_ERR(r.current.status, ERR_NOT_FOUND);
	(void)txn_if_absent(&m, a());
	check_cond(true);
	store(a(), slice_str("here"));
	(void)txn_if_exists(&m, a());
	check_cond(true);
	(void)txn_if_absent(&m, a());
	check_cond(false);
	CHECK_SLICE_EQ(r.current.value, slice_str("here"));
}

static void versions(void)
{
	uint64_t v;

	(void)txn_if_version(&m, a(), 0); /* absent */
	check_cond(true);
	store(a(), slice_str("1"));
	v = version_of(a());
	(void)txn_if_version(&m, a(), v);
	check_cond(true);
	(void)txn_if_version(&m, a(), 0);
	check_cond(false);
	store(a(), slice_str("2"));
	(void)txn_if_version(&m, a(), v);
	check_cond(false);
	CHECK_U64_EQ(r.current.version, version_of(a()));
	CHECK_SLICE_EQ(r.current.value, slice_str("2"));
}

static void versions_rise_over_deletions(void)
{
	uint64_t v, last = 0;

	for (int i = 0; i < 5; i++) {
		store(a(), slice_str("x"));
		v = version_of(a());
		CHECK_TRUE(v > last);
		last = v;
		(void)txn_delete(&m, a());
		CHECK_OK(go());
	}
}

static void fields(void)
{
	struct txn_field mid = {.offset = 2, .width = 3}, out = {.offset = 6, .width = 3};

	(void)txn_if_field(&m, a(), mid, slice_str("cde"));
	check_cond(false); /* absent */
	store(a(), slice_str("abcdefgh"));
	(void)txn_if_field(&m, a(), mid, slice_str("cde"));
	check_cond(true);
	(void)txn_if_field(&m, a(), mid, slice_str("cdx"));
	check_cond(false);
	(void)txn_if_field(&m, a(), out, slice_str("ghi"));
	CHECK_ERR(go(), ERR_BAD_FIELD);
}

static void field_minimum(void)
{
	struct txn_field narrow = {.offset = 0, .width = 2};

	store(a(), slice_of("\x05\x01\xff", 3)); /* 0x105 */
	(void)txn_if_field_min(&m, a(), narrow, 0x105);
	check_cond(true);
	(void)txn_if_field_min(&m, a(), narrow, 0x106);
	check_cond(false);
}

static void ranges(void)
{
	struct txf_key end = txf_key(0, 1, 'T', "az");
	struct txf_key k2 = txf_key(0, 1, 'T', "a2");
	uint64_t hash;

	(void)txn_if_range_empty(&m, a(), txf_slice(&end));
	check_cond(true);
	store(a(), slice_str("1"));
	store(txf_slice(&k2), slice_str("2"));
	(void)txn_if_range_empty(&m, a(), txf_slice(&end));
	check_cond(false);
	hash = txn_range_hash(txn_range_hash(0, a(), version_of(a())), txf_slice(&k2),
			      version_of(txf_slice(&k2)));
	(void)txn_if_range_same(&m, a(), txf_slice(&end), 2, hash);
	check_cond(true);
	(void)txn_if_range_same(&m, a(), txf_slice(&end), 3, hash);
	check_cond(false);
	store(a(), slice_str("1")); /* the same value, another version */
	(void)txn_if_range_same(&m, a(), txf_slice(&end), 2, hash);
	check_cond(false);
}

static void the_first_that_fails_is_named(void)
{
	(void)txn_if_absent(&m, a());
	(void)txn_if_exists(&m, a());
	(void)txn_if_exists(&m, b());
	(void)txn_put(&m, a(), slice_str("x"));
	CHECK_ERR(go(), ERR_CONDITION);
	CHECK_INT_EQ(r.failed, 1);
}

/* ---- reads ---- */

static void reads_come_before_mutations(void)
{
	store(a(), slice_str("before"));
	(void)txn_put(&m, a(), slice_str("after"));
	(void)txn_get(&m, a());
	(void)txn_get(&m, b());
	CHECK_OK(go());
	CHECK_SLICE_EQ(r.reads[0].value.value, slice_str("before"));
	CHECK_ERR(r.reads[1].value.status, ERR_NOT_FOUND);
	check_stored(a(), slice_str("after"));
}

static void fill_names(unsigned count)
{
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		struct txf_key k;

		snprintf(name, sizeof(name), "n%05u", i);
		k = txf_key(0, 3, 'T', name);
		(void)txn_put(&m, txf_slice(&k), slice_str(name));
		if (m.mut_count == TXN_MUTS_MAX || i + 1 == count)
			CHECK_OK(go());
	}
}

static void scans_have_limits(void)
{
	struct txf_key from = txf_key(0, 3, 'T', "n"), to = txf_key(0, 3, 'T', "o");

	fill_names(10);
	(void)txn_scan(&m, txf_slice(&from), txf_slice(&to), 4);
	(void)txn_scan(&m, txf_slice(&from), txf_slice(&to), 10);
	(void)txn_scan(&m, txf_slice(&from), txf_slice(&to), 100);
	CHECK_OK(go());
	CHECK_INT_EQ(r.reads[0].item_count, 4);
	CHECK_TRUE(r.reads[0].more);
	CHECK_SLICE_EQ(r.reads[0].items[3].value, slice_str("n00003"));
	CHECK_TRUE(r.reads[0].items[3].version > 0);
	CHECK_INT_EQ(r.reads[1].item_count, 10);
	CHECK_FALSE(r.reads[1].more);
	CHECK_INT_EQ(r.reads[2].item_count, 10);
	CHECK_FALSE(r.reads[2].more);
}

static void scans_stop_before_a_reply_is_too_big(void)
{
	static uint8_t big[60000];
	struct txf_key from = txf_key(0, 3, 'T', "v"), to = txf_key(0, 3, 'T', "w");
	char name[16];

	for (unsigned i = 0; i < 60; i++) {
		struct txf_key k;

		snprintf(name, sizeof(name), "v%02u", i);
		k = txf_key(0, 3, 'T', name);
		store(txf_slice(&k), slice_of(big, sizeof(big)));
	}
	(void)txn_scan(&m, txf_slice(&from), txf_slice(&to), 1000);
	CHECK_OK(go());
	CHECK_TRUE(r.reads[0].more);
	CHECK_TRUE(r.reads[0].item_count > 20 && r.reads[0].item_count < 50);
}

static void store_reference(struct slice key, uint64_t number)
{
	uint8_t bytes[12] = "head";

	le64_put(bytes + 4, number);
	store(key, slice_of(bytes, 12));
}

static void references_are_followed(void)
{
	struct txf_key inode = txf_key(0, 77, 'I', ""), block = txf_key(0, 77, 'B', "0");
	struct txf_key far = txf_key(1, 78, 'I', "");

	store_reference(a(), be64_get(inode.bytes + 2));
	store_reference(txf_slice(&inode), be64_get(block.bytes + 2));
	store(txf_slice(&block), slice_str("block"));
	(void)txn_get(&m, a());
	(void)txn_get_ref(&m, 0, 4, 'I', (struct slice){0});
	(void)txn_get_ref(&m, 1, 4, 'B', slice_str("0"));
	(void)txn_get_ref(&m, 1, 4, 'B', slice_str("1"));
	(void)txn_get_ref(&m, 3, 4, 'B', slice_str("1")); /* of an absent one */
	(void)txn_get_ref(&m, 0, 5, 'I', (struct slice){0}); /* behind the value's end */
	CHECK_OK(go());
	CHECK_INT_EQ(r.reads[1].value.value.len, 12);
	CHECK_SLICE_EQ(r.reads[2].value.value, slice_str("block"));
	CHECK_U64_EQ(r.reads[2].value.version, version_of(txf_slice(&block)));
	CHECK_ERR(r.reads[3].value.status, ERR_NOT_FOUND);
	CHECK_ERR(r.reads[4].value.status, ERR_NOT_FOUND);
	CHECK_ERR(r.reads[5].value.status, ERR_CORRUPT);
	store_reference(a(), be64_get(far.bytes + 2));
	(void)txn_get(&m, a());
	(void)txn_get_ref(&m, 0, 4, 'I', (struct slice){0});
	CHECK_OK(go());
	CHECK_ERR(r.reads[1].value.status, ERR_ELSEWHERE);
}

static void scans_follow_references(void)
{
	struct txf_key inode = txf_key(0, 77, 'I', ""), far = txf_key(1, 78, 'I', "");
	struct txf_key gone = txf_key(0, 79, 'I', ""), end = txf_key(0, 1, 'T', "z");
	struct txf_key kc = txf_key(0, 1, 'T', "c"), kd = txf_key(0, 1, 'T', "d");

	store_reference(a(), be64_get(inode.bytes + 2));
	store_reference(b(), be64_get(far.bytes + 2));
	store_reference(txf_slice(&kc), be64_get(gone.bytes + 2));
	store(txf_slice(&kd), slice_str("short"));
	store(txf_slice(&inode), slice_str("the inode"));
	(void)txn_scan_ref(&m, a(), txf_slice(&end), 10, 4, 'I', (struct slice){0});
	CHECK_OK(go());
	CHECK_INT_EQ(r.reads[0].item_count, 4);
	CHECK_OK(r.reads[0].items[0].ref.status);
	CHECK_SLICE_EQ(r.reads[0].items[0].ref.value, slice_str("the inode"));
	CHECK_ERR(r.reads[0].items[1].ref.status, ERR_ELSEWHERE);
	CHECK_ERR(r.reads[0].items[2].ref.status, ERR_NOT_FOUND);
	CHECK_ERR(r.reads[0].items[3].ref.status, ERR_CORRUPT);
}

static void reads_by_log_are_the_same(void)
{
	struct txf_key inode = txf_key(0, 77, 'I', "");

	store_reference(a(), be64_get(inode.bytes + 2));
	store(txf_slice(&inode), slice_str("the inode"));
	c.reads_by_log = true;
	(void)txn_get(&m, a());
	(void)txn_get_ref(&m, 0, 4, 'I', (struct slice){0});
	(void)txn_if_exists(&m, a());
	CHECK_OK(go());
	CHECK_SLICE_EQ(r.reads[1].value.value, slice_str("the inode"));
	CHECK_U64_EQ(r.stamp, 0); /* nothing was written */
	(void)txn_if_absent(&m, a());
	CHECK_ERR(go(), ERR_CONDITION);
}

/* ---- mutations ---- */

static void put_and_delete(void)
{
	store(a(), slice_str("1"));
	check_stored(a(), slice_str("1"));
	store(a(), (struct slice){0});
	check_stored(a(), (struct slice){0}); /* empty is not absent */
	(void)txn_delete(&m, a());
	(void)txn_delete(&m, b()); /* absent is fine */
	CHECK_OK(go());
	check_absent(a());
}

static void delete_range_tells_how_many(void)
{
	struct txf_key from = txf_key(0, 3, 'T', "n"), to = txf_key(0, 3, 'T', "o");
	struct txf_key made = txf_key(0, 3, 'T', "nz");

	fill_names(TXN_SCAN_ITEMS_MAX + 5);
	(void)txn_delete_range(&m, txf_slice(&from), txf_slice(&to));
	CHECK_OK(go());
	CHECK_U64_EQ(r.numbers[0], TXN_SCAN_ITEMS_MAX);
	(void)txn_put(&m, txf_slice(&made), slice_str("x"));
	(void)txn_delete_range(&m, txf_slice(&from), txf_slice(&to));
	(void)txn_delete_range(&m, txf_slice(&from), txf_slice(&to));
	CHECK_OK(go());
	CHECK_U64_EQ(r.numbers[1], 6); /* the one made just before too */
	CHECK_U64_EQ(r.numbers[2], 0);
	check_absent(txf_slice(&made));
}

static void patch(void)
{
	(void)txn_patch(&m, a(), 2, slice_str("cd")); /* absent starts from zeros */
	CHECK_OK(go());
	check_stored(a(), slice_of("\0\0cd", 4));
	(void)txn_patch(&m, a(), 0, slice_str("ab"));
	(void)txn_patch(&m, a(), 6, slice_str("gh"));
	CHECK_OK(go());
	check_stored(a(), slice_of("abcd\0\0gh", 8));
}

static void cut(void)
{
	store(a(), slice_str("abcdef"));
	(void)txn_cut(&m, a(), 10);
	(void)txn_cut(&m, b(), 1);
	CHECK_OK(go());
	check_stored(a(), slice_str("abcdef"));
	check_absent(b());
	(void)txn_cut(&m, a(), 2);
	CHECK_OK(go());
	check_stored(a(), slice_str("ab"));
	(void)txn_patch(&m, a(), 3, slice_str("d"));
	CHECK_OK(go());
	check_stored(a(), slice_of("ab\0d", 4)); /* what was cut does not come back */
}

static void or_sets_bits(void)
{
	(void)txn_or(&m, a(), slice_of("\x01\x80", 2));
	CHECK_OK(go());
	(void)txn_or(&m, a(), slice_of("\x02\x00\x10", 3));
	CHECK_OK(go());
	check_stored(a(), slice_of("\x03\x80\x10", 3));
}

static void add(void)
{
	store_number(a(), 10);
	(void)txn_add(&m, a(), n8, -3, true);
	(void)txn_add(&m, a(), n8, 5, false);
	CHECK_OK(go());
	CHECK_U64_EQ(r.numbers[0], 7);
	CHECK_U64_EQ(r.numbers[1], 0); /* not wanted */
	check_number(a(), 12);
	(void)txn_add(&m, a(), n8, -13, true);
	CHECK_OK(go());
	CHECK_U64_EQ(r.numbers[0], UINT64_MAX);
}

static void narrow_fields_wrap_alone(void)
{
	static const uint16_t widths[] = {1, 2, 4};

	for (size_t i = 0; i < 3; i++) {
		struct txn_field fld = {.offset = 2, .width = widths[i]};
		uint8_t want[8];

		memset(want, 0xff, 8);
		store(a(), slice_of(want, 8));
		(void)txn_add(&m, a(), fld, 1, true);
		CHECK_OK(go());
		CHECK_U64_EQ(r.numbers[0], 0);
		memset(want + 2, 0, widths[i]);
		check_stored(a(), slice_of(want, 8));
	}
}

static void max_and_set(void)
{
	store_number(a(), 10);
	(void)txn_max(&m, a(), n8, 5);
	CHECK_OK(go());
	check_number(a(), 10);
	(void)txn_max(&m, a(), n8, UINT64_MAX); /* unsigned */
	CHECK_OK(go());
	check_number(a(), UINT64_MAX);
	(void)txn_set_u64(&m, a(), n8, 3);
	CHECK_OK(go());
	check_number(a(), 3);
}

static void now_is_the_stamp(void)
{
	uint64_t stamp = 0;

	store_number(a(), 0);
	store_number(b(), UINT64_MAX);
	(void)txn_set_now(&m, a(), n8);
	(void)txn_max_now(&m, b(), n8);
	CHECK_OK(go());
	stamp = r.stamp;
	CHECK_TRUE(stamp > 0);
	check_number(a(), stamp);
	check_number(b(), UINT64_MAX);
	(void)txn_max_now(&m, a(), n8);
	CHECK_OK(go());
	CHECK_TRUE(r.stamp > stamp);
	check_number(a(), r.stamp);
}

static void mutations_see_those_before(void)
{
	(void)txn_put(&m, a(), slice_str("abc"));
	(void)txn_delete(&m, a());
	(void)txn_patch(&m, a(), 1, slice_str("x"));
	(void)txn_or(&m, a(), slice_str("A"));
	(void)txn_cut(&m, a(), 1);
	CHECK_OK(go());
	check_stored(a(), slice_str("A"));
}

static void a_failed_mutation_undoes_all(void)
{
	struct txn_field out = {.offset = 1, .width = 8};

	store_number(b(), 1);
	(void)txn_put(&m, a(), slice_str("x"));
	(void)txn_add(&m, b(), out, 1, false);
	CHECK_ERR(go(), ERR_BAD_FIELD);
	CHECK_INT_EQ(r.failed, 1);
	check_absent(a());
	(void)txn_delete(&m, b());
	(void)txn_set_u64(&m, b(), n8, 1);
	CHECK_ERR(go(), ERR_ABSENT_RECORD);
	CHECK_INT_EQ(r.failed, 1);
	check_number(b(), 1);
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
	T(exists_and_absent),
	T(versions),
	T(versions_rise_over_deletions),
	T(fields),
	T(field_minimum),
	T(ranges),
	T(the_first_that_fails_is_named),
	T(reads_come_before_mutations),
	T(scans_have_limits),
	T(scans_stop_before_a_reply_is_too_big),
	T(references_are_followed),
	T(scans_follow_references),
	T(reads_by_log_are_the_same),
	T(put_and_delete),
	T(delete_range_tells_how_many),
	T(patch),
	T(cut),
	T(or_sets_bits),
	T(add),
	T(narrow_fields_wrap_alone),
	T(max_and_set),
	T(now_is_the_stamp),
	T(mutations_see_those_before),
	T(a_failed_mutation_undoes_all),
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
