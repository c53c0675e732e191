/* The state machine of one group: conditions, reads, each kind of mutation. */
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

/* Large values in any number: only their keys come. */
static void scans_of_keys_bring_no_values(void)
{
	static uint8_t big[60000];
	struct txf_key from = txf_key(0, 3, 'T', "v"), to = txf_key(0, 3, 'T', "w"), k;
	char name[8];

	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "v%02u", i);
		k = txf_key(0, 3, 'T', name);
		store(txf_slice(&k), slice_of(big, sizeof(big)));
	}
	(void)txn_scan_keys(&m, txf_slice(&from), txf_slice(&to), 1000);
	(void)txn_scan_keys(&m, txf_slice(&from), txf_slice(&to), 7);
	CHECK_OK(go());
	CHECK_INT_EQ(r.reads[0].item_count, 60);
	CHECK_FALSE(r.reads[0].more);
	CHECK_SLICE_EQ(r.reads[0].items[59].key, txf_slice(&k));
	CHECK_INT_EQ(r.reads[0].items[59].value.len, 0);
	CHECK_TRUE(r.reads[0].items[59].version > 0);
	CHECK_INT_EQ(r.reads[1].item_count, 7);
	CHECK_TRUE(r.reads[1].more);
}

/* But the store reads them: there is an end to it. */
static void scans_of_keys_pass_over_so_much(void)
{
	static uint8_t big[64000];
	struct txf_key from = txf_key(0, 3, 'T', "v"), to = txf_key(0, 3, 'T', "w"), k;
	uint32_t most = TXN_SCAN_PASSED_MAX / sizeof(big) + 1, n;
	char name[8];

	for (unsigned i = 0; i < 80; i++) {
		snprintf(name, sizeof(name), "v%02u", i);
		k = txf_key(0, 3, 'T', name);
		store(txf_slice(&k), slice_of(big, sizeof(big)));
	}
	(void)txn_scan_keys(&m, txf_slice(&from), txf_slice(&to), 1000);
	CHECK_OK(go());
	n = r.reads[0].item_count;
	CHECK_TRUE(n <= most && n + 2 > most);
	CHECK_TRUE(r.reads[0].more);
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
	store_number(b(), 0);
	(void)txn_set_now(&m, a(), n8);
	(void)txn_touch(&m, b(), n8);
	CHECK_OK(go());
	stamp = r.stamp;
	CHECK_TRUE(stamp > 0);
	check_number(a(), stamp);
	check_number(b(), stamp);
	(void)txn_touch(&m, a(), n8);
	CHECK_OK(go());
	CHECK_TRUE(r.stamp > stamp);
	check_number(a(), r.stamp);
}

/* Nobody asks for it any more, but it is in the logs of older versions. */
static void the_largest_of_now_as_it_was(void)
{
	store_number(a(), 1);
	store_number(b(), INT64_MAX);
	m.muts[txn_max(&m, a(), n8, 0)].now = true;
	m.muts[txn_max(&m, b(), n8, 0)].now = true;
	CHECK_OK(go());
	check_number(a(), r.stamp);
	check_number(b(), INT64_MAX);
}

/* 2100; the end of 64 bits; 1960. */
static void what_was_set_by_hand_gives_way(void)
{
	const uint64_t by_hand[] = {4102444800000000000u, INT64_MAX, (uint64_t)-315619200000000000};

	for (size_t i = 0; i < sizeof(by_hand) / sizeof(by_hand[0]); i++) {
		store_number(a(), by_hand[i]);
		(void)txn_touch(&m, a(), n8);
		CHECK_OK(go());
		check_number(a(), r.stamp);
		store_number(a(), by_hand[i]);
		(void)txn_touch_at(&m, a(), n8, 5);
		CHECK_OK(go());
		check_number(a(), 5);
	}
}

static void a_time_given_is_no_later_than_now(void)
{
	uint64_t stamp = 0;

	store_number(a(), 7);
	(void)txn_touch_at(&m, a(), n8, 6);
	CHECK_OK(go());
	check_number(a(), 7); /* not back */
	(void)txn_touch_at(&m, a(), n8, 8);
	CHECK_OK(go());
	check_number(a(), 8);
	(void)txn_touch_at(&m, a(), n8, UINT64_MAX - 1);
	CHECK_OK(go());
	stamp = r.stamp;
	check_number(a(), stamp);
	store_number(b(), stamp + 1); /* the group's clock is there by now */
	(void)txn_touch_at(&m, b(), n8, 9);
	CHECK_OK(go());
	check_number(b(), stamp + 1);
}

static void a_time_needs_its_field(void)
{
	(void)txn_touch(&m, a(), n8);
	CHECK_ERR(go(), ERR_ABSENT_RECORD);
	store(a(), slice_str("1234567"));
	(void)txn_touch(&m, a(), n8);
	CHECK_ERR(go(), ERR_BAD_FIELD);
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
	T(scans_of_keys_bring_no_values),
	T(scans_of_keys_pass_over_so_much),
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
	T(the_largest_of_now_as_it_was),
	T(what_was_set_by_hand_gives_way),
	T(a_time_given_is_no_later_than_now),
	T(a_time_needs_its_field),
	T(mutations_see_those_before),
	T(a_failed_mutation_undoes_all),
};
CHECK_MAIN(tests)
