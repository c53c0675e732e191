/* The checker of transactions on random histories: small ones against a search through all orders, large
 * ones of a model store, and the same when the store is not serialisable. */
#include "tests/check/serial.h"

#include <string.h>
#include <time.h>

#include "tests/lib/check.h"
#include "tests/lib/check_fixture.h"
#include "tests/unit/check_random.h"

#define MOPS_MAX 4
#define KEYS_MAX 64
#define LIST_MAX 256 /* then a key is retired, as Elle does */

/* ---- lists, and transactions on them ---- */

struct lists {
	uint64_t keys[KEYS_MAX]; /* name of the list that stands at each place */
	uint64_t values[KEYS_MAX][LIST_MAX];
	size_t counts[KEYS_MAX];
};

/* Runs @mops; what is read is borrowed from @l and holds until it is changed by another transaction. */
static void lists_run(struct lists *l, struct history_mop *mops, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t k = mops[i].key % KEYS_MAX;

		if (mops[i].append && l->counts[k] < LIST_MAX) {
			l->values[k][l->counts[k]++] = mops[i].value;
		} else if (!mops[i].append) {
			mops[i].list = l->values[k];
			mops[i].count = l->counts[k];
		}
	}
}

/* ---- all orders ---- */

/* Whether the transaction can come next; if so, it runs. */
static bool brute_step(const struct history_op *op, void *lists)
{
	struct history_mop mops[MOPS_MAX + 4];

	memcpy(mops, op->mops, op->mop_count * sizeof(mops[0]));
	lists_run(lists, mops, op->mop_count);
	for (size_t i = 0; i < op->mop_count; i++) {
		const struct history_mop *m = &op->mops[i];

		if (m->append || op->outcome != HISTORY_OK)
			continue;
		if (m->count != mops[i].count ||
		    (m->count > 0 &&
		     memcmp(m->list, mops[i].list, m->count * sizeof(uint64_t)) != 0))
			return false;
	}
	return true;
}

static bool brute_check(void)
{
	static const struct lists empty;

	return chf_some_order(brute_step, &empty, sizeof(empty));
}

static size_t any_mops(struct rng *r, struct history_mop *mops, uint64_t keys, uint64_t *value)
{
	size_t count = 1 + rng_below(r, 3);

	memset(mops, 0, MOPS_MAX * sizeof(*mops));
	for (size_t i = 0; i < count; i++) {
		mops[i].append = rng_below(r, 2) == 0;
		mops[i].key = rng_below(r, keys);
		mops[i].value = mops[i].append ? ++*value : 0;
	}
	return count;
}

/* Transactions that ran one after another in the order of their calls, or of their returns, or in none
 * that time allows; and one list may be read wrongly. */
static void small_history(struct rng *r)
{
	struct history_mop mops[5][MOPS_MAX];
	size_t counts[5], ids[5], txns = 2 + rng_below(r, 4), odd = rng_below(r, 12);
	uint64_t keys = 1 + rng_below(r, 3), value = 0, span = 1 + rng_below(r, 20), from[5];
	static struct lists l;

	memset(&l, 0, sizeof(l));
	chf_start_over();
	for (size_t i = 0; i < txns; i++) {
		struct history_op op = {.client = (uint32_t)i, .kind = HISTORY_TXN};

		counts[i] = any_mops(r, mops[i], keys, &value);
		op.mops = mops[i];
		op.mop_count = counts[i];
		from[i] = i * 3 + rng_below(r, span);
		ids[i] = history_invoke(&chf.h, from[i], &op);
	}
	for (size_t i = 0; i < txns; i++) {
		struct history_result res = {.mops = mops[i], .mop_count = counts[i]};
		uint64_t luck = rng_below(r, 10);
		struct lists before;

		memcpy(&before, &l, sizeof(l));
		lists_run(&l, mops[i], counts[i]);
		if (odd == i && counts[i] > 0 && !mops[i][0].append && mops[i][0].count > 0)
			mops[i][0].count--;
		if (odd == i + 5) /* its appends are lost */
			memcpy(&l, &before, sizeof(l));
		if (luck == 0)
			history_return(&chf.h, ids[i], from[i] + 5, HISTORY_UNKNOWN, &res);
		else if (luck == 1)
			history_return(&chf.h, ids[i], from[i] + 5, HISTORY_FAILED, &res);
		else if (luck != 2)
			history_return(&chf.h, ids[i], from[i] + rng_below(r, span), HISTORY_OK, &res);
		if (luck == 1 && rng_below(r, 2) == 0)
			memcpy(&l, &before, sizeof(l));
	}
}

static void compare(uint64_t seed, unsigned rounds)
{
	struct rng r = {seed};
	unsigned right = 0;

	for (unsigned n = 0; n < rounds; n++) {
		bool want;

		small_history(&r);
		want = brute_check();
		right += want;
		serial_check(&chf.h, &chf.v);
		if ((chf.v.code == VERDICT_OK) == want)
			continue;
		chf_show();
		CHECK_FAIL("seed %llu, round %u: %s", (unsigned long long)seed, n,
			   chf.v.code == VERDICT_OK ? "not refused" : chf.v.text);
	}
	CHECK_TRUE(right > rounds / 20 && right < rounds - rounds / 20); /* both kinds occurred */
}

static void against_all_orders(void)
{
	compare(1, 20000);
	compare(rng_fresh_seed(), 20000);
}

/* ---- a model store ---- */

#define CLIENTS_MAX 16

/* How the store misbehaves. */
enum flaw { SOUND, STALE_READS, LOSES_APPENDS, DIRTY };

struct client {
	bool called, happened;
	size_t id, count;
	struct history_mop mops[MOPS_MAX];
	uint64_t read[MOPS_MAX][LIST_MAX];
};

struct model {
	struct rng r;
	struct lists now, old; /* old: a state of a while ago */
	uint64_t time, next_key, value;
	struct client clients[CLIENTS_MAX];
	enum flaw flaw;
};

static void model_call(struct model *m, uint32_t c)
{
	struct client *x = &m->clients[c];
	struct history_op op = {.client = c, .kind = HISTORY_TXN, .mops = x->mops};

	x->count = 1 + rng_below(&m->r, MOPS_MAX);
	memset(x->mops, 0, sizeof(x->mops));
	for (size_t i = 0; i < x->count; i++) {
		size_t place = rng_below(&m->r, KEYS_MAX / 4);

		if (m->now.counts[place] >= LIST_MAX - CLIENTS_MAX * MOPS_MAX) {
			m->now.counts[place] = m->old.counts[place] = 0;
			m->now.keys[place] += KEYS_MAX;
		}
		x->mops[i].key = m->now.keys[place] + place;
		x->mops[i].append = rng_below(&m->r, 2) == 0;
		x->mops[i].value = x->mops[i].append ? ++m->value : 0;
	}
	op.mop_count = x->count;
	x->id = history_invoke(&chf.h, m->time, &op);
	x->called = true;
	x->happened = false;
}

/* A key that was retired after the call: the transaction must not happen. */
static bool is_late(const struct model *m, const struct client *x)
{
	for (size_t i = 0; i < x->count; i++) {
		size_t place = x->mops[i].key % KEYS_MAX;

		if (m->now.keys[place] + place != x->mops[i].key)
			return true;
	}
	return false;
}

static void model_happen(struct model *m, struct client *x)
{
	struct lists *from = &m->now;
	bool odd = rng_below(&m->r, 8) == 0;
	struct history_mop mops[MOPS_MAX];

	if (odd && m->flaw == STALE_READS)
		from = &m->old;
	memcpy(mops, x->mops, sizeof(mops));
	if (from == &m->old)
		for (size_t i = 0; i < x->count; i++)
			if (mops[i].append)
				return; /* it reads only */
	if (odd && m->flaw == LOSES_APPENDS && x->count == 1 && mops[0].append) {
		x->happened = true; /* it says so */
		return;
	}
	lists_run(from, mops, x->count);
	for (size_t i = 0; i < x->count; i++) {
		if (mops[i].append)
			continue;
		memcpy(x->read[i], mops[i].list, mops[i].count * sizeof(uint64_t));
		x->mops[i].list = x->read[i];
		x->mops[i].count = mops[i].count;
	}
	x->happened = true;
}

static void model_step(struct model *m, uint32_t clients)
{
	uint32_t c = (uint32_t)rng_below(&m->r, clients);
	struct client *x = &m->clients[c];
	struct history_result res = {.mops = x->mops, .mop_count = x->count};
	uint64_t luck = rng_below(&m->r, 100);
	enum history_outcome outcome = HISTORY_OK;

	m->time += rng_below(&m->r, 3);
	if (m->flaw == STALE_READS && rng_below(&m->r, 50) == 0)
		memcpy(&m->old, &m->now, sizeof(m->old));
	if (!x->called) {
		model_call(m, c);
	} else if (!x->happened && luck > 2 && !is_late(m, x)) {
		model_happen(m, x);
	} else {
		if (!x->happened)
			outcome = luck & 1 ? HISTORY_FAILED : HISTORY_UNKNOWN;
		else if (luck < 3)
			outcome = m->flaw == DIRTY ? HISTORY_FAILED : HISTORY_UNKNOWN;
		history_return(&chf.h, x->id, m->time, outcome, &res);
		x->called = false;
	}
}

static void model_run(uint64_t seed, uint32_t clients, size_t txns, enum flaw flaw)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	m.r.state = seed;
	m.time = 1;
	m.flaw = flaw;
	chf_start_over();
	while (chf.h.count < txns)
		model_step(&m, clients);
}

static void model_histories_are_accepted(void)
{
	uint64_t seeds[] = {100, rng_fresh_seed()};

	for (unsigned n = 0; n < 2000; n++) {
		uint64_t seed = seeds[n % 2] + n * 7919;

		model_run(seed, 1 + n % CLIENTS_MAX, 20 + n % 300, SOUND);
		serial_check(&chf.h, &chf.v);
		if (chf.v.code != VERDICT_OK)
			CHECK_FAIL("seed %llu, round %u: %s", (unsigned long long)seed, n, chf.v.text);
	}
}

/* Of @rounds histories of a store with @flaw, at least @wanted are refused. */
static void caught(enum flaw flaw, unsigned rounds, unsigned wanted)
{
	uint64_t seed = rng_fresh_seed();
	unsigned found = 0;

	for (unsigned n = 0; n < rounds; n++) {
		model_run(seed + n * 7919, 8, 500, flaw);
		serial_check(&chf.h, &chf.v);
		CHECK_TRUE(chf.v.code == VERDICT_OK || chf.v.code == VERDICT_WRONG);
		found += chf.v.code == VERDICT_WRONG;
	}
	if (found < wanted)
		CHECK_FAIL("caught in %u of %u histories", found, rounds);
}

static void stale_reads_are_caught(void)
{
	caught(STALE_READS, 200, 150);
}

static void lost_appends_are_caught(void)
{
	caught(LOSES_APPENDS, 200, 190);
	CHECK_STR_EQ(chf.v.name, "lost append");
}

static void dirty_reads_are_caught(void)
{
	caught(DIRTY, 200, 150);
	CHECK_STR_EQ(chf.v.name, "G1a");
}

/* One step of a store with snapshots and without a check for conflicts: each transaction reads one of
 * three lists at its call, and appends to one at its end. */
static void snapshot_step(struct model *m)
{
	struct client *x = &m->clients[rng_below(&m->r, 4)];
	struct history_result res = {.mops = x->mops, .mop_count = 2};
	struct history_mop *read = &x->mops[0], *append = &x->mops[1];
	struct history_op op = {.kind = HISTORY_TXN, .mops = x->mops, .mop_count = 2};

	m->time += 1 + rng_below(&m->r, 2);
	if (x->called) {
		x->called = false;
		lists_run(&m->now, append, 1);
		history_return(&chf.h, x->id, m->time, HISTORY_OK, &res);
		return;
	}
	*read = (struct history_mop){.key = rng_below(&m->r, 3)};
	*append = (struct history_mop){true, rng_below(&m->r, 3), ++m->value, NULL, 0};
	x->id = history_invoke(&chf.h, m->time, &op);
	x->called = true;
	lists_run(&m->now, read, 1);
	memcpy(x->read[0], read->list, read->count * sizeof(uint64_t));
	read->list = x->read[0];
}

/* Lost updates and write skew. */
static void snapshots_are_caught(void)
{
	static struct model m;

	for (unsigned n = 0; n < 200; n++) {
		memset(&m, 0, sizeof(m));
		m.r.state = 900 + n;
		chf_start_over();
		while (chf.h.count < 100)
			snapshot_step(&m);
		serial_check(&chf.h, &chf.v);
		CHECK_INT_EQ(chf.v.code, VERDICT_WRONG);
	}
}

static void fifty_thousand_transactions(void)
{
	clock_t begin;

	model_run(7, CLIENTS_MAX, 50000, SOUND);
	begin = clock();
	serial_check(&chf.h, &chf.v);
	printf("50,000 transactions: %.2f s\n", (double)(clock() - begin) / CLOCKS_PER_SEC);
	CHECK_STR_EQ(chf.v.name, "ok");
	CHECK_U64_EQ(chf.v.checked, chf.h.count);
	model_run(8, CLIENTS_MAX, 50000, STALE_READS);
	begin = clock();
	serial_check(&chf.h, &chf.v);
	printf("50,000 transactions, many of them wrong: %.2f s: %s\n",
	       (double)(clock() - begin) / CLOCKS_PER_SEC, chf.v.name);
	CHECK_INT_EQ(chf.v.code, VERDICT_WRONG);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(chf_setup, chf_teardown, against_all_orders),
	CHECK_TEST_WITH(chf_setup, chf_teardown, model_histories_are_accepted),
	CHECK_TEST_WITH(chf_setup, chf_teardown, stale_reads_are_caught),
	CHECK_TEST_WITH(chf_setup, chf_teardown, lost_appends_are_caught),
	CHECK_TEST_WITH(chf_setup, chf_teardown, dirty_reads_are_caught),
	CHECK_TEST_WITH(chf_setup, chf_teardown, snapshots_are_caught),
	CHECK_TEST_WITH(chf_setup, chf_teardown, fifty_thousand_transactions),
};

CHECK_MAIN(tests)
