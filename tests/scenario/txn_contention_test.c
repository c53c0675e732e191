/* Interactive transactions that all want the same few keys of several groups, with faults: all of
 * them come to their end, by locks when optimism fails, and none is lost. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_fixture.h"

#define SEEDS	100u
#define KEYS	3u
#define CLIENTS 6u
#define OPS	4u
#define TRIES_MAX 60u

struct writer {
	struct txf_client client;
	unsigned name;
};

static struct txf f;
static struct writer writers[CLIENTS];
static uint64_t done, conflicts, most_tries, inserted;

static struct txf_key key_of(unsigned i)
{
	return txf_key(i, 7, 'N', "hot");
}

static struct txf_key list_key(const char *name)
{
	return txf_key(2, 9, 'L', name);
}

/* Adds one to every key, reading each first. */
static int increment(struct txn_interactive *t)
{
	struct buf value = BUF_INIT;
	uint8_t bytes[8];
	int err = 0;

	for (unsigned i = 0; i < KEYS && !err; i++) {
		struct txf_key k = key_of(i);

		err = txn_i_get(t, txf_slice(&k), &value, NULL);
		le64_put(bytes, err ? 1 : le64_get(value.data) + 1);
		if (!err || err == ERR_NOT_FOUND)
			err = txn_i_put(t, txf_slice(&k), slice_of(bytes, 8));
	}
	buf_release(&value);
	return err;
}

static bool count_item(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	++*(unsigned *)ctx;
	return true;
}

/* Appends to a list of which nobody knows the length but by looking. */
static int append(struct txn_interactive *t)
{
	struct txf_key from = list_key(""), to = list_key("~"), k;
	unsigned count = 0;
	char name[16];
	int err = txn_i_scan(t, txf_slice(&from), txf_slice(&to), 0, count_item, &count);

	if (err)
		return err;
	snprintf(name, sizeof(name), "%06u", count);
	k = list_key(name);
	return txn_i_put(t, txf_slice(&k), slice_str("item"));
}

static void run_one(struct writer *w, int (*body)(struct txn_interactive *t))
{
	struct txn_interactive *t = txn_begin(&w->client.executor);
	uint64_t tries = 1;
	int err;

	for (;; tries++) {
		err = body(t);
		if (!err)
			err = txn_commit(t, NULL);
		if (err != ERR_CONDITION || tries > TRIES_MAX)
			break;
		conflicts++;
		err = txn_retry(t);
		CHECK_OK(err);
	}
	CHECK_OK(err);
	txn_rollback(t);
	if (tries > most_tries)
		most_tries = tries;
}

static void writer_main(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < OPS; i++) {
		bool appends = txf_chance(&f, 400);

		run_one(w, appends ? append : increment);
		inserted += appends;
		done += !appends;
	}
}

static void check_contents(void)
{
	struct txf_key from = list_key(""), to = list_key("~");
	struct buf value = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;

	for (unsigned i = 0; i < KEYS && done; i++) {
		struct txf_key k = key_of(i);

		CHECK_OK(txf_get(&writers[0].client, txf_slice(&k), &value, NULL));
		CHECK_U64_EQ(le64_get(value.data), done);
	}
	buf_release(&value);
	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_scan(&m, txf_slice(&from), txf_slice(&to), TXN_SCAN_ITEMS_MAX);
	CHECK_OK(txf_exec(&writers[0].client, &m, &r));
	CHECK_U64_EQ(r.reads[0].item_count, inserted);
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void run_seed(const struct txf_config *cfg)
{
	unsigned failed = check_failures();

	done = inserted = 0;
	txf_open(&f, cfg);
	for (unsigned i = 0; i < CLIENTS; i++) {
		txf_client_init(&writers[i].client, &f);
		writers[i].name = i;
		txf_spawn(&f, writer_main, &writers[i]);
	}
	if (txf_run(&f)) {
		txf_settle(&f);
		check_contents();
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		txf_client_release(&writers[i].client);
	txf_close(&f);
	if (check_failures() > failed)
		CHECK_FAIL("seed %llu failed; TXN_SEED=%llu runs it alone",
			   (unsigned long long)cfg->seed, (unsigned long long)cfg->seed);
}

static void all_come_to_their_end(void)
{
	const char *one = getenv("TXN_SEED");
	struct txf_config cfg;
	uint64_t longest = 0;

	conflicts = most_tries = 0;
	for (uint64_t seed = 1; seed <= (one ? 1 : SEEDS); seed++) {
		txf_config_faulty(&cfg, one ? strtoull(one, NULL, 0) : seed);
		run_seed(&cfg);
		if (most_tries > longest)
			longest = most_tries;
	}
	printf("  %llu conflicts; at most %llu tries of one transaction\n",
	       (unsigned long long)conflicts, (unsigned long long)longest);
	if (!one)
		CHECK_TRUE(conflicts > SEEDS * CLIENTS);
}

/* Without faults: with locks nobody tries much longer than the optimistic tries. */
static void locks_bound_the_tries(void)
{
	struct txf_config cfg;

	conflicts = most_tries = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		txf_config_default(&cfg);
		cfg.seed = seed;
		cfg.delay_ns_max = 3 * NS_PER_MS;
		run_seed(&cfg);
	}
	printf("  %llu conflicts; at most %llu tries of one transaction\n",
	       (unsigned long long)conflicts, (unsigned long long)most_tries);
	CHECK_TRUE(most_tries > TXN_OPTIMISTIC_TRIES && most_tries <= TXN_OPTIMISTIC_TRIES + 2);
}

static const struct check_test tests[] = {
	CHECK_TEST(locks_bound_the_tries),
	CHECK_TEST(all_come_to_their_end),
};
CHECK_MAIN(tests)
