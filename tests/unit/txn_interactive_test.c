/* The client half of interactive transactions, over an executor in memory. */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/txn_executor_mem.h"
#include "txn/mini_codec.h"
#include "txn/txn.h"

static struct txn_mem_executor ex;
static struct txn_interactive *t;
static struct buf value;

static uint64_t version_of(struct slice key)
{
	return txn_mem_executor_version(&ex, key);
}

static void outside_put(const char *key, const char *bytes)
{
	txn_mem_executor_put(&ex, slice_str(key), slice_str(bytes));
}

static void outside_delete(const char *key)
{
	txn_mem_executor_delete(&ex, slice_str(key));
}

static void setup(void)
{
	txn_mem_executor_init(&ex);
	t = txn_begin(&ex.x);
}

static void teardown(void)
{
	mem_fail_nth(0);
	txn_rollback(t);
	t = NULL;
	txn_mem_executor_release(&ex);
	buf_release(&value);
}

/* ---- helpers ---- */

static int get(const char *key)
{
	return txn_i_get(t, slice_str(key), &value, NULL);
}

static void put(const char *key, const char *bytes)
{
	CHECK_OK(txn_i_put(t, slice_str(key), slice_str(bytes)));
}

static void del(const char *key)
{
	CHECK_OK(txn_i_delete(t, slice_str(key)));
}

static void check_get(const char *key, const char *want)
{
	CHECK_OK(get(key));
	CHECK_SLICE_EQ(buf_slice(&value), slice_str(want));
}

static void check_stored(const char *key, const char *want)
{
	struct buf b = BUF_INIT;
	int err = txn_mem_record(ex.mem, slice_str(key), &b, NULL, NULL);

	CHECK_ERR(err, want ? 0 : ERR_NOT_FOUND);
	if (want)
		CHECK_SLICE_EQ(buf_slice(&b), slice_str(want));
	buf_release(&b);
}

static char seen[1024]; /* "key=value " of each item */
static unsigned stop_after;

static bool see(void *ctx, struct slice key, struct slice v)
{
	size_t len = strlen(seen);

	(void)ctx;
	snprintf(seen + len, sizeof(seen) - len, "%.*s=%.*s ", (int)key.len, (const char *)key.p,
		 (int)v.len, (const char *)v.p);
	return stop_after == 0 || --stop_after > 0;
}

static int scan(const char *from, const char *to, uint32_t limit)
{
	seen[0] = '\0';
	return txn_i_scan(t, slice_str(from), slice_str(to), limit, see, NULL);
}

static void check_scan(const char *from, const char *to, uint32_t limit, const char *want)
{
	CHECK_OK(scan(from, to, limit));
	CHECK_STR_EQ(seen, want);
}

/* ---- reading and writing ---- */

static void own_writes_are_seen(void)
{
	outside_put("a", "old");
	put("a", "new");
	check_get("a", "new");
	del("a");
	CHECK_ERR(get("a"), ERR_NOT_FOUND);
	put("a", "again");
	check_get("a", "again");
	CHECK_INT_EQ(ex.execs, 0); /* blind writes read nothing */
	check_stored("a", "old");
	CHECK_OK(txn_commit(t, NULL));
	check_stored("a", "again");
}

static void rollback_writes_nothing(void)
{
	put("a", "1");
	txn_rollback(t);
	t = NULL;
	check_stored("a", NULL);
	CHECK_INT_EQ(ex.execs, 0);
	txn_rollback(NULL);
}

static void reads_are_repeatable(void)
{
	uint64_t version = 0, stamp = 0;

	outside_put("a", "1");
	CHECK_OK(txn_i_get(t, slice_str("a"), &value, &version));
	CHECK_U64_EQ(version, version_of(slice_str("a")));
	outside_put("a", "2");
	check_get("a", "1");
	CHECK_INT_EQ(ex.execs, 1);
	CHECK_OK(txn_i_get(t, slice_str("a"), NULL, NULL));
	put("b", "x");
	CHECK_ERR(txn_commit(t, &stamp), ERR_CONDITION);
	CHECK_U64_EQ(stamp, 0); /* untouched */
	check_stored("b", NULL);
}

static void absence_is_remembered(void)
{
	CHECK_ERR(get("a"), ERR_NOT_FOUND);
	CHECK_ERR(get("a"), ERR_NOT_FOUND);
	CHECK_INT_EQ(ex.execs, 1);
	put("b", "x");
	outside_put("a", "1");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
	check_stored("b", NULL);
}

static void presence_is_remembered(void)
{
	outside_put("a", "1");
	check_get("a", "1");
	put("b", "x");
	outside_delete("a");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
}

static void a_read_then_written_key_keeps_its_condition(void)
{
	outside_put("a", "1");
	check_get("a", "1");
	put("a", "2");
	outside_put("a", "other");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
	check_stored("a", "other");
}

static void commits_have_a_stamp(void)
{
	uint64_t stamp = 0;

	put("a", "1");
	CHECK_OK(txn_commit(t, &stamp));
	CHECK_U64_EQ(stamp, ex.stamp);
}

/* One read is atomic as it is; several are compared at the end. */
static void reading_alone_is_checked_if_it_took_several_requests(void)
{
	outside_put("a", "1");
	outside_put("b", "1");
	check_get("a", "1");
	CHECK_OK(txn_commit(t, NULL));
	CHECK_INT_EQ(ex.commits, 0);
	CHECK_OK(txn_retry(t));
	check_get("a", "1");
	outside_put("a", "2");
	outside_put("b", "2");
	check_get("b", "2");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
	CHECK_INT_EQ(ex.commits, 1);
}

static void bad_arguments_are_refused(void)
{
	static uint8_t bytes[VALUE_SIZE_MAX + 1];
	struct slice key = slice_of(bytes, KEY_SIZE_MAX + 1), none = {0};

	CHECK_ERR(txn_i_get(t, none, NULL, NULL), ERR_INVAL);
	CHECK_ERR(txn_i_put(t, none, none), ERR_INVAL);
	CHECK_ERR(txn_i_delete(t, none), ERR_INVAL);
	CHECK_ERR(txn_i_scan(t, none, none, 1, see, NULL), ERR_INVAL);
	CHECK_ERR(txn_i_get(t, key, NULL, NULL), ERR_NAME_TOO_LONG);
	CHECK_ERR(txn_i_put(t, key, none), ERR_NAME_TOO_LONG);
	CHECK_ERR(txn_i_delete(t, key), ERR_NAME_TOO_LONG);
	CHECK_ERR(txn_i_scan(t, slice_str("a"), key, 1, see, NULL), ERR_NAME_TOO_LONG);
	CHECK_ERR(txn_i_put(t, slice_str("a"), slice_of(bytes, sizeof(bytes))), ERR_TOO_BIG);
	CHECK_OK(txn_commit(t, NULL));
	CHECK_INT_EQ(ex.execs, 0);
}

static void errors_of_the_executor_come_back(void)
{
	ex.fail = ERR_TIMEOUT;
	CHECK_ERR(get("a"), ERR_TIMEOUT);
	CHECK_ERR(get("a"), ERR_NOT_FOUND); /* nothing was remembered */
	ex.fail = ERR_INTERRUPTED;
	CHECK_ERR(scan("a", "b", 0), ERR_INTERRUPTED);
	put("a", "1");
	ex.fail = ERR_UNREACHABLE;
	CHECK_ERR(txn_commit(t, NULL), ERR_UNREACHABLE);
}

static void too_many_keys_are_an_error_at_commit(void)
{
	char key[16];

	for (unsigned i = 0; i <= TXN_MUTS_MAX; i++) {
		snprintf(key, sizeof(key), "%u", i);
		put(key, "v");
	}
	CHECK_ERR(txn_commit(t, NULL), ERR_TOO_BIG);
	CHECK_INT_EQ(ex.execs, 0);
}

static void missing_memory_is_an_error(void)
{
	for (unsigned long n = 1; n < 12; n++) {
		int err;

		mem_fail_nth(n);
		err = txn_i_put(t, slice_str("key"), slice_str("value"));
		if (!err)
			err = txn_commit(t, NULL);
		mem_fail_nth(0);
		if (err)
			CHECK_ERR(err, ERR_NOMEM);
		CHECK_OK(txn_retry(t));
		txn_rollback(t);
		t = txn_begin(&ex.x);
	}
}

/* ---- scans ---- */

static void fill(void)
{
	outside_put("a", "1");
	outside_put("c", "3");
	outside_put("e", "5");
}

static void scans_merge_own_writes(void)
{
	fill();
	put("b", "2");
	put("c", "three");
	del("e");
	put("g", "7");
	del("h");
	check_scan("a", "z", 0, "a=1 b=2 c=three g=7 ");
	check_scan("b", "c", 0, "b=2 ");
	check_scan("d", "f", 0, "");
	check_scan("a", "z", 3, "a=1 b=2 c=three ");
	CHECK_OK(txn_commit(t, NULL));
	check_stored("e", NULL);
}

static void an_empty_end_scans_to_the_end(void)
{
	fill();
	outside_put("\xff\xff", "last");
	CHECK_OK(txn_i_scan(t, slice_str("c"), (struct slice){0}, 0, see, (seen[0] = '\0', NULL)));
	CHECK_STR_EQ(seen, "c=3 e=5 \xff\xff=last ");
}

static void an_empty_range_is_remembered(void)
{
	check_scan("a", "z", 0, "");
	put("zz", "x");
	outside_put("m", "1");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
}

static void changes_in_a_scanned_range_are_conflicts(void)
{
	static const char *const keys[] = {"a", "b", "c", "e", "ez"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		fill();
		outside_delete("b");
		outside_delete("ez");
		CHECK_OK(scan("a", "f", 0));
		put("zz", "x");
		outside_put(keys[i], "changed");
		CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
		txn_rollback(t);
		t = txn_begin(&ex.x);
	}
}

static void changes_outside_of_it_are_not(void)
{
	fill();
	check_scan("b", "d", 0, "c=3 ");
	put("zz", "x");
	outside_put("a", "changed");
	outside_put("d", "changed");
	CHECK_OK(txn_commit(t, NULL));
}

/* A scan that stopped depends on nothing behind the last item. */
static void what_was_not_looked_at_does_not_count(void)
{
	fill();
	check_scan("a", "z", 2, "a=1 c=3 ");
	put("zz", "x");
	outside_put("d", "changed");
	CHECK_OK(txn_commit(t, NULL));
	CHECK_OK(txn_retry(t));
	stop_after = 2;
	check_scan("a", "z", 0, "a=1 c=3 ");
	put("zz", "x");
	outside_put("b", "changed");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
}

static void a_scan_stops_at_an_own_item_too(void)
{
	fill();
	put("b", "2");
	check_scan("a", "z", 2, "a=1 b=2 ");
	outside_put("bb", "behind");
	CHECK_OK(txn_commit(t, NULL));
}

static void pages_make_one_scan(void)
{
	for (char c = 'a'; c <= 'j'; c++)
		outside_put((char[]){c, '\0'}, "v");
	ex.page = 3;
	put("bb", "own");
	del("c");
	del("d");
	del("e"); /* hides most of the second page */
	check_scan("a", "z", 0, "a=v b=v bb=own f=v g=v h=v i=v j=v ");
	check_scan("a", "z", 5, "a=v b=v bb=own f=v g=v ");
	outside_put("hh", "new");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
}

static void pages_that_did_not_change_commit(void)
{
	for (char c = 'a'; c <= 'j'; c++)
		outside_put((char[]){c, '\0'}, "v");
	ex.page = 2;
	CHECK_OK(scan("a", "z", 0));
	put("zz", "x");
	CHECK_OK(txn_commit(t, NULL));
}

static bool put_while_scanning(void *ctx, struct slice key, struct slice v)
{
	if (key.p[0] == 'a' || key.p[0] == 'c')
		CHECK_OK(txn_i_put(t, slice_str(key.p[0] == 'a' ? "b" : "c"), slice_str("mine")));
	return see(ctx, key, v);
}

static void the_callback_may_write(void)
{
	fill();
	seen[0] = '\0';
	CHECK_OK(txn_i_scan(t, slice_str("a"), slice_str("z"), 0, put_while_scanning, NULL));
	CHECK_STR_EQ(seen, "a=1 b=mine c=3 e=5 ");
	CHECK_OK(txn_commit(t, NULL));
	check_stored("b", "mine");
	check_stored("c", "mine");
}

static void contradicting_reads_fail_at_once(void)
{
	fill();
	check_get("c", "3");
	outside_put("c", "other");
	CHECK_ERR(scan("a", "z", 0), ERR_CONDITION);
}

static void keys_of_the_longest_length_are_scanned(void)
{
	uint8_t bytes[KEY_SIZE_MAX + 1];

	memset(bytes, 'a', sizeof(bytes));
	bytes[KEY_SIZE_MAX - 1] = 0xff;
	bytes[KEY_SIZE_MAX] = '\0';
	outside_put((char *)bytes, "long");
	outside_put("b", "next");
	ex.page = 1;
	seen[0] = '\0';
	CHECK_OK(txn_i_scan(t, slice_of(bytes, KEY_SIZE_MAX), slice_str("z"), 0, see, NULL));
	CHECK_CONTAINS(seen, "=long b=next ");
	put("zz", "x");
	CHECK_OK(txn_commit(t, NULL));
}

/* ---- conflicts and locks ---- */

#define OBJECT(name) "\x01\x02" "number__" "D" name /* place, number, kind */

static void conflict(void)
{
	outside_put(OBJECT("a"), "by another");
}

static void lose(void)
{
	(void)get(OBJECT("a"));
	put(OBJECT("a"), "mine");
	ex.before_commit = conflict;
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
	CHECK_OK(txn_retry(t));
}

static void locks_come_after_some_conflicts(void)
{
	for (unsigned i = 0; i < TXN_OPTIMISTIC_TRIES; i++) {
		CHECK_INT_EQ(ex.locks, 0);
		lose();
	}
	CHECK_INT_EQ(ex.locks, 1);
	check_get(OBJECT("a"), "by another");
	put(OBJECT("a"), "mine");
	CHECK_OK(txn_commit(t, NULL));
	CHECK_INT_EQ(ex.locked_execs, 1);
	CHECK_INT_EQ(ex.unlocks, 0); /* the commit ended them */
	check_stored(OBJECT("a"), "mine");
}

/* Shared on what was used, exclusive on a key beside it. */
static void the_last_try_says_what_is_locked(void)
{
	struct part p = {0};

	for (unsigned i = 1; i < TXN_OPTIMISTIC_TRIES; i++)
		lose();
	CHECK_OK(scan(OBJECT("k"), OBJECT("p"), 0));
	(void)get(OBJECT("m")); /* within the range: no lock of its own */
	put(OBJECT("x"), "blind");
	lose();
	CHECK_INT_EQ(ex.locks, 1);
	CHECK_OK(txn__part_decode(&p, buf_slice(&ex.lock_body)));
	CHECK_INT_EQ(p.cond_count, 0);
	CHECK_INT_EQ(p.read_count, 3);
	CHECK_INT_EQ(p.reads[0].kind, TXN_SCAN);
	CHECK_SLICE_EQ(p.reads[0].to, slice_str(OBJECT("p")));
	CHECK_SLICE_EQ(p.reads[1].key, slice_str(OBJECT("a")));
	CHECK_SLICE_EQ(p.reads[2].key, slice_str(OBJECT("x")));
	CHECK_INT_EQ(p.mut_count, 1);
	CHECK_INT_EQ(p.muts[0].kind, TXN_DELETE);
	CHECK_SLICE_EQ(p.muts[0].key, slice_of("\x01\x02number__\0", TXN_KEY_HEAD));
	txn__part_release(&p);
}

static void lock_now(void)
{
	for (unsigned i = 0; i < TXN_OPTIMISTIC_TRIES; i++)
		lose();
	CHECK_INT_EQ(ex.locks, 1);
}

static void a_read_elsewhere_gives_locks_up(void)
{
	lock_now();
	(void)get(OBJECT("a"));
	CHECK_INT_EQ(ex.unlocks, 0);
	(void)get("elsewhere");
	CHECK_INT_EQ(ex.unlocks, 1);
	put(OBJECT("a"), "mine");
	CHECK_OK(txn_commit(t, NULL));
	CHECK_INT_EQ(ex.locked_execs, 0);
	CHECK_INT_EQ(ex.unlocks, 1);
}

static void rollback_gives_locks_up(void)
{
	lock_now();
	txn_rollback(t);
	t = NULL;
	CHECK_INT_EQ(ex.unlocks, 1);
}

static void an_undecided_commit_gives_locks_up(void)
{
	lock_now();
	put(OBJECT("a"), "mine");
	ex.fail = ERR_TIMEOUT;
	CHECK_ERR(txn_commit(t, NULL), ERR_TIMEOUT);
	CHECK_INT_EQ(ex.unlocks, 1);
}

/* The locks were lost: that is a conflict as any other. */
static void lost_locks_are_a_conflict(void)
{
	lock_now();
	put(OBJECT("a"), "mine");
	ex.fail = ERR_CONDITION;
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
	CHECK_INT_EQ(ex.unlocks, 0);
	CHECK_OK(txn_retry(t));
	CHECK_INT_EQ(ex.locks, 2);
}

static void a_failed_lock_is_an_error(void)
{
	for (unsigned i = 1; i < TXN_OPTIMISTIC_TRIES; i++)
		lose();
	(void)get(OBJECT("a"));
	ex.before_commit = conflict;
	put(OBJECT("a"), "mine");
	CHECK_ERR(txn_commit(t, NULL), ERR_CONDITION);
	ex.fail = ERR_INTERRUPTED;
	CHECK_ERR(txn_retry(t), ERR_INTERRUPTED);
	CHECK_INT_EQ(ex.unlocks, 0);
}

static void without_locks_it_stays_optimistic(void)
{
	ex.x.lock = NULL;
	for (unsigned i = 0; i < 3 * TXN_OPTIMISTIC_TRIES; i++)
		lose();
	put(OBJECT("a"), "mine");
	CHECK_OK(txn_commit(t, NULL));
	CHECK_INT_EQ(ex.locks, 0);
}

static void what_is_too_much_to_lock_stays_optimistic(void)
{
	char key[16];

	for (unsigned i = 1; i < TXN_OPTIMISTIC_TRIES; i++)
		lose();
	for (unsigned i = 0; i <= TXN_READS_MAX; i++) {
		snprintf(key, sizeof(key), "%u", i);
		put(key, "v");
	}
	CHECK_OK(txn_retry(t));
	CHECK_INT_EQ(ex.locks, 0);
	put(OBJECT("a"), "mine");
	CHECK_OK(txn_commit(t, NULL));
}

static void retry_forgets_reads_and_writes(void)
{
	outside_put("a", "1");
	check_get("a", "1");
	put("b", "x");
	outside_put("a", "2");
	CHECK_OK(txn_retry(t));
	check_get("a", "2");
	CHECK_ERR(get("b"), ERR_NOT_FOUND);
	put("c", "x");
	CHECK_OK(txn_commit(t, NULL));
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(own_writes_are_seen),
	T(rollback_writes_nothing),
	T(reads_are_repeatable),
	T(absence_is_remembered),
	T(presence_is_remembered),
	T(a_read_then_written_key_keeps_its_condition),
	T(commits_have_a_stamp),
	T(reading_alone_is_checked_if_it_took_several_requests),
	T(bad_arguments_are_refused),
	T(errors_of_the_executor_come_back),
	T(too_many_keys_are_an_error_at_commit),
	T(missing_memory_is_an_error),
	T(scans_merge_own_writes),
	T(an_empty_end_scans_to_the_end),
	T(an_empty_range_is_remembered),
	T(changes_in_a_scanned_range_are_conflicts),
	T(changes_outside_of_it_are_not),
	T(what_was_not_looked_at_does_not_count),
	T(a_scan_stops_at_an_own_item_too),
	T(pages_make_one_scan),
	T(pages_that_did_not_change_commit),
	T(the_callback_may_write),
	T(contradicting_reads_fail_at_once),
	T(keys_of_the_longest_length_are_scanned),
	T(locks_come_after_some_conflicts),
	T(the_last_try_says_what_is_locked),
	T(a_read_elsewhere_gives_locks_up),
	T(rollback_gives_locks_up),
	T(an_undecided_commit_gives_locks_up),
	T(lost_locks_are_a_conflict),
	T(a_failed_lock_is_an_error),
	T(without_locks_it_stays_optimistic),
	T(what_is_too_much_to_lock_stays_optimistic),
	T(retry_forgets_reads_and_writes),
};
CHECK_MAIN(tests)
