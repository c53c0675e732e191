/* Random transfers among accounts over four groups, with faults; what must hold of every history:
 *
 *  - The money is constant in every read of all accounts.
 *  - Histories are strictly serialisable. Each account's value names the transfer that wrote it, so
 *    who read what from whom is known. Writers before readers before the next writer, and whoever
 *    had its answer before another began: the graph of these must have no cycle.
 *  - A counter that many add to hands out each number once, in the order of real time.
 *  - A reference and what it leads to are of one moment.
 *  - Clients that die in the middle of something and are closed leave both sides or none.
 *  - At the end no lock, waiting or prepared transaction is left, and all replicas are equal.
 *
 * Seeds: SEEDS fixed ones, and some fresh ones that are printed. TXN_SEED=n runs one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/txn_fixture.h"

#define SEEDS	    500u
#define FRESH	    100u
#define ACCOUNTS    8u
#define COUNTERS    4u /* changed by ADDs that nobody reads at once */
#define CLIENTS	    5u
#define DOOMED	    2u
#define DOOMED_CALLS 3u
#define OPS	    8u /* of each client */
#define RECORDS_MAX (CLIENTS * OPS + 2) /* and the filling, and a last look */
#define START_MONEY 1000u

struct bank;

struct teller {
	struct bank *bank;
	struct txf_client client;
};

struct touch { /* of an account */
	unsigned account;
	unsigned from; /* the record that had written what was read */
	bool wrote;
};

struct record { /* of one transaction that took effect; record 0 filled the accounts */
	uint64_t begin, end; /* steps */
	struct touch touches[ACCOUNTS];
	unsigned touch_count;
	uint64_t ticket; /* 0: none */
};

struct bank {
	struct txf f;
	struct teller tellers[CLIENTS];
	struct record records[RECORDS_MAX];
	unsigned record_count;
	struct txf_client doomed[DOOMED];
	unsigned transfers, reads, conflicts;
};

static struct bank b;
static const struct txn_field money = {.offset = 0, .width = 8};

static struct txf_key account_key(unsigned i)
{
	char name[16];

	snprintf(name, sizeof(name), "account%u", i);
	return txf_key(i % b.f.cfg.groups, 1 + i, 'A', name);
}

static struct txf_key counter_key(unsigned i)
{
	return txf_key(i % b.f.cfg.groups, 100 + i, 'C', "counter");
}

static struct txf_key ticket_key(void)
{
	return txf_key(1, 200, 'T', "tickets");
}

/* A name that refers to an object; both count, and always the same. */
static struct txf_key object_key(void)
{
	return txf_key(2, 300, 'I', "");
}

static struct txf_key name_key(const char *name)
{
	return txf_key(2, 301, 'D', name);
}

static const struct txn_field count_field = {.offset = 8, .width = 8};

/* An account: money, and the record that wrote it. */
static void account_value(uint8_t out[16], uint64_t amount, uint64_t writer)
{
	le64_put(out, amount);
	le64_put(out + 8, writer);
}

/* ---- what tellers do ---- */

static struct record *record_new(uint64_t begin)
{
	struct record *r = &b.records[b.record_count++];

	CHECK_TRUE(b.record_count <= RECORDS_MAX);
	*r = (struct record){.begin = begin};
	return r;
}

static void touch(struct record *r, unsigned account, struct slice value, bool wrote)
{
	CHECK_INT_EQ(value.len, 16);
	if (value.len == 16)
		r->touches[r->touch_count++] =
			(struct touch){.account = account,
				       .from = (unsigned)le64_get(value.p + 8),
				       .wrote = wrote};
}

/* Reads two accounts, then moves money if they are still as read. */
static void transfer(struct teller *t)
{
	unsigned from = (unsigned)txf_below(&b.f, ACCOUNTS);
	unsigned to = (from + 1 + (unsigned)txf_below(&b.f, ACCOUNTS - 1)) % ACCOUNTS;
	struct txf_key kf = account_key(from), kt = account_key(to), kticket = ticket_key();
	bool ticket = txf_chance(&b.f, 300);
	uint64_t begin = b.f.steps, amount = 1 + txf_below(&b.f, 20);
	uint8_t vf[16], vt[16];
	struct txn_result seen, r;
	struct txn_mini m;
	unsigned id;
	int err;

	txn_mini_init(&m);
	txn_result_init(&seen);
	txn_result_init(&r);
	(void)txn_get(&m, txf_slice(&kf));
	(void)txn_get(&m, txf_slice(&kt));
	err = txf_exec(&t->client, &m, &seen);
	CHECK_OK(err);
	if (err)
		goto out;
	txn_mini_reset(&m);

	id = b.record_count;
	(void)record_new(begin); /* its number is in the values, so it is taken before */
	account_value(vf, le64_get(seen.reads[0].value.value.p) - amount, id);
	account_value(vt, le64_get(seen.reads[1].value.value.p) + amount, id);
	(void)txn_if_version(&m, txf_slice(&kf), seen.reads[0].value.version);
	(void)txn_if_version(&m, txf_slice(&kt), seen.reads[1].value.version);
	(void)txn_put(&m, txf_slice(&kf), slice_of(vf, 16));
	(void)txn_put(&m, txf_slice(&kt), slice_of(vt, 16));
	if (ticket)
		(void)txn_add(&m, txf_slice(&kticket), money, 1, true);
	err = txf_exec(&t->client, &m, &r);
	b.records[id].end = b.f.steps;
	if (err == 0) {
		touch(&b.records[id], from, seen.reads[0].value.value, true);
		touch(&b.records[id], to, seen.reads[1].value.value, true);
		b.records[id].ticket = ticket ? r.numbers[2] : 0;
		b.transfers++;
	} else {
		CHECK_ERR(err, ERR_CONDITION);
		b.conflicts++;
	}
out:
	txn_result_release(&seen);
	txn_result_release(&r);
	txn_mini_release(&m);
}

/* All accounts and counters at once. */
static void read_all(struct teller *t)
{
	struct record *rec;
	struct txn_result r;
	struct txn_mini m;
	uint64_t sum = 0, counted = 0, begin = b.f.steps;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		struct txf_key k = account_key(i);

		(void)txn_get(&m, txf_slice(&k));
	}
	for (unsigned i = 0; i < COUNTERS; i++) {
		struct txf_key k = counter_key(i);

		(void)txn_get(&m, txf_slice(&k));
	}
	t->client.reads_by_log = txf_chance(&b.f, 500);
	err = txf_exec(&t->client, &m, &r);
	CHECK_OK(err);
	t->client.reads_by_log = false;
	if (err)
		goto out;
	rec = record_new(begin);
	rec->end = b.f.steps;
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		touch(rec, i, r.reads[i].value.value, false);
		sum += le64_get(r.reads[i].value.value.p);
	}
	for (unsigned i = 0; i < COUNTERS; i++)
		counted += le64_get(r.reads[ACCOUNTS + i].value.value.p);
	CHECK_U64_EQ(sum, ACCOUNTS * START_MONEY);
	CHECK_U64_EQ(counted, 0);
	b.reads++;
out:
	txn_result_release(&r);
	txn_mini_release(&m);
}

/* Money between counters, by ADDs that do not wait for each other. */
static void count(struct teller *t)
{
	unsigned from = (unsigned)txf_below(&b.f, COUNTERS);
	unsigned to = (unsigned)txf_below(&b.f, COUNTERS);
	struct txf_key kf = counter_key(from), kt = counter_key(to);
	struct txf_key kname = name_key("a"), kobject = object_key();
	int64_t amount = 1 + (int64_t)txf_below(&b.f, 100);
	struct txn_result r;
	struct txn_mini m;

	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_add(&m, txf_slice(&kf), money, -amount, false);
	(void)txn_add(&m, txf_slice(&kt), money, amount, false);
	if (txf_chance(&b.f, 600)) {
		bool wanted = txf_chance(&b.f, 300); /* I or X */

		(void)txn_add(&m, txf_slice(&kname), count_field, 1, wanted);
		(void)txn_add(&m, txf_slice(&kobject), count_field, 1, false);
	}
	CHECK_OK(txf_exec(&t->client, &m, &r));
	txn_result_release(&r);
	txn_mini_release(&m);
}

static uint64_t count_in(const struct txn_value *v)
{
	CHECK_OK(v->status);
	CHECK_INT_EQ(v->value.len, 16);
	return v->value.len == 16 ? le64_get(v->value.p + 8) : UINT64_MAX;
}

/* Follows the reference, both ways. */
static void look_up(struct teller *t)
{
	struct txf_key name = name_key("a"), from = name_key(""), to = name_key("~");
	struct txn_result r;
	struct txn_mini m;
	uint64_t count;

	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_get(&m, txf_slice(&name));
	(void)txn_get_ref(&m, 0, 0, 'I', (struct slice){0});
	(void)txn_scan_ref(&m, txf_slice(&from), txf_slice(&to), 5, 0, 'I', (struct slice){0});
	t->client.reads_by_log = txf_chance(&b.f, 300);
	CHECK_OK(txf_exec(&t->client, &m, &r));
	t->client.reads_by_log = false;
	count = count_in(&r.reads[0].value);
	CHECK_U64_EQ(count_in(&r.reads[1].value), count);
	CHECK_INT_EQ(r.reads[2].item_count, 1);
	if (r.reads[2].item_count == 1)
		CHECK_U64_EQ(count_in(&r.reads[2].items[0].ref), count);
	txn_result_release(&r);
	txn_mini_release(&m);
}

/* Clients that begin things, take locks and are not heard of again, until somebody closes them. */
static void doomed_main(void *arg)
{
	struct txf_client *c = arg;
	struct txf_options lock = {.lock_only = true};
	struct txf_call *calls[DOOMED_CALLS];
	struct txn_mini m;

	txn_mini_init(&m);
	for (unsigned i = 0; i < DOOMED_CALLS; i++) {
		struct txf_key kf = counter_key((unsigned)txf_below(&b.f, COUNTERS));
		struct txf_key kt = counter_key((unsigned)txf_below(&b.f, COUNTERS));
		struct txf_key ka = account_key((unsigned)txf_below(&b.f, ACCOUNTS));
		bool locks = txf_chance(&b.f, 300);

		txn_mini_reset(&m);
		(void)txn_add(&m, txf_slice(&kf), money, -7, false);
		(void)txn_add(&m, txf_slice(&kt), money, 7, false);
		if (locks)
			(void)txn_delete(&m, txf_slice(&ka));
		CHECK_OK(txf_send(c, &m, locks ? &lock : NULL, &calls[i]));
		txf_sleep(&b.f, txf_below(&b.f, 10 * NS_PER_MS));
	}
	txf_sleep(&b.f, txf_below(&b.f, 10 * NS_PER_MS));
	CHECK_OK(txf_close_session(c));
	for (unsigned i = 0; i < DOOMED_CALLS; i++)
		txf_drop_call(calls[i]);
	txn_mini_release(&m);
}

static void teller_main(void *arg)
{
	struct teller *t = arg;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t what = txf_below(&b.f, 10);

		txf_sleep(&b.f, txf_below(&b.f, 5 * NS_PER_MS));
		if (what < 5)
			transfer(t);
		else if (what < 7)
			read_all(t);
		else if (what < 8)
			look_up(t);
		else
			count(t);
	}
}

/* ---- what must hold ---- */

/* Edges of the order that any serial history must keep. */
static bool before[RECORDS_MAX][RECORDS_MAX];

static bool took_effect(const struct record *r)
{
	return r->touch_count > 0;
}

static void edges_of(unsigned i)
{
	const struct record *r = &b.records[i];

	for (unsigned k = 0; k < r->touch_count; k++) {
		const struct touch *x = &r->touches[k];

		before[x->from][i] = true;
		/* whoever wrote over what it read comes behind it */
		for (unsigned j = 1; j < b.record_count; j++)
			for (unsigned n = 0; n < b.records[j].touch_count; n++) {
				const struct touch *y = &b.records[j].touches[n];

				if (j != i && y->wrote && y->account == x->account &&
				    y->from == x->from) {
					before[i][j] = true;
					/* two cannot both have written over the same */
					CHECK_FALSE(x->wrote);
				}
			}
	}
	for (unsigned j = 1; j < b.record_count; j++)
		if (took_effect(&b.records[j]) && r->end < b.records[j].begin)
			before[i][j] = true;
}

/* Takes away what nothing comes before, until nothing is left. */
static void check_no_cycle(void)
{
	static bool gone[RECORDS_MAX];
	unsigned left = b.record_count;
	bool moved = true;

	memset(gone, 0, sizeof(gone));
	while (moved) {
		moved = false;
		for (unsigned i = 0; i < b.record_count; i++) {
			bool first = !gone[i];

			for (unsigned j = 0; j < b.record_count && first; j++)
				first = gone[j] || !before[j][i];
			if (!first)
				continue;
			gone[i] = moved = true;
			left--;
		}
	}
	if (left)
		CHECK_FAIL("seed %llu: no order explains %u of %u transactions",
			   (unsigned long long)b.f.cfg.seed, left, b.record_count);
}

static void check_tickets(void)
{
	for (unsigned i = 1; i < b.record_count; i++)
		for (unsigned j = 1; j < b.record_count; j++) {
			const struct record *x = &b.records[i], *y = &b.records[j];

			if (i == j || !x->ticket || !y->ticket)
				continue;
			CHECK_TRUE(x->ticket != y->ticket);
			if (x->end < y->begin)
				CHECK_TRUE(x->ticket < y->ticket);
		}
}

static void check_history(void)
{
	memset(before, 0, sizeof(before));
	for (unsigned i = 1; i < b.record_count; i++)
		if (took_effect(&b.records[i]))
			edges_of(i);
	check_no_cycle();
	check_tickets();
}

/* ---- one seed ---- */

static void fill(void)
{
	static const uint8_t zero[8];
	struct txf_key k = ticket_key(), name = name_key("a"), object = object_key();
	uint8_t v[16];

	b.f.quiet = true;
	account_value(v, START_MONEY, 0);
	for (unsigned i = 0; i < ACCOUNTS; i++) {
		struct txf_key a = account_key(i);

		CHECK_OK(txf_put(&b.tellers[0].client, txf_slice(&a), slice_of(v, 16)));
	}
	for (unsigned i = 0; i < COUNTERS; i++) {
		struct txf_key c = counter_key(i);

		CHECK_OK(txf_put(&b.tellers[0].client, txf_slice(&c), slice_of(zero, 8)));
	}
	CHECK_OK(txf_put(&b.tellers[0].client, txf_slice(&k), slice_of(zero, 8)));
	account_value(v, be64_get(object.bytes + 2), 0);
	CHECK_OK(txf_put(&b.tellers[0].client, txf_slice(&name), slice_of(v, 16)));
	CHECK_OK(txf_put(&b.tellers[0].client, txf_slice(&object), slice_of(v, 16)));
	b.f.quiet = false;
}

static void run_seed(uint64_t seed)
{
	struct txf_config cfg;

	txf_config_faulty(&cfg, seed);
	b = (struct bank){.record_count = 1};
	txf_open(&b.f, &cfg);
	for (unsigned i = 0; i < CLIENTS; i++) {
		b.tellers[i].bank = &b;
		txf_client_init(&b.tellers[i].client, &b.f);
	}
	fill();
	for (unsigned i = 0; i < CLIENTS; i++)
		txf_spawn(&b.f, teller_main, &b.tellers[i]);
	for (unsigned i = 0; i < DOOMED; i++) {
		txf_client_init(&b.doomed[i], &b.f);
		txf_spawn(&b.f, doomed_main, &b.doomed[i]);
	}
	if (txf_run(&b.f)) {
		txf_settle(&b.f);
		check_history();
		read_all(&b.tellers[0]);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		txf_client_release(&b.tellers[i].client);
	for (unsigned i = 0; i < DOOMED; i++)
		txf_client_release(&b.doomed[i]);
	txf_close(&b.f);
}

static unsigned transfers, reads, conflicts;

static void run_and_add(uint64_t seed)
{
	unsigned failed = check_failures();

	run_seed(seed);
	transfers += b.transfers;
	reads += b.reads;
	conflicts += b.conflicts;
	if (check_failures() > failed)
		CHECK_FAIL("seed %llu failed; TXN_SEED=%llu runs it alone",
			   (unsigned long long)seed, (unsigned long long)seed);
}

static void fixed_seeds(void)
{
	const char *one = getenv("TXN_SEED");

	transfers = reads = conflicts = 0;
	if (one) {
		run_and_add(strtoull(one, NULL, 0));
		return;
	}
	for (unsigned seed = 1; seed <= SEEDS; seed++)
		run_and_add(seed);
	printf("  %u seeds: %u transfers, %u conflicts, %u reads of everything\n", SEEDS, transfers,
	       conflicts, reads);
	CHECK_TRUE(transfers > SEEDS * 5 && reads > SEEDS * 3 && conflicts > SEEDS / 10);
}

static void fresh_seeds(void)
{
	uint64_t seed = 0;

	if (getenv("TXN_SEED"))
		return;
	CHECK_INT_EQ(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	printf("  from seed %llu on\n", (unsigned long long)seed);
	for (unsigned i = 0; i < FRESH; i++)
		run_and_add(seed + i);
}

/* The check of histories finds what it is for. */
static void the_check_finds_lost_updates(void)
{
	b = (struct bank){.record_count = 3};
	for (unsigned i = 1; i < 3; i++) {
		b.records[i] = (struct record){.begin = 1, .end = 9, .touch_count = 2};
		b.records[i].touches[0] = (struct touch){.account = 0, .from = 0, .wrote = i == 1};
		b.records[i].touches[1] = (struct touch){.account = 1, .from = 0, .wrote = i == 2};
	}
	memset(before, 0, sizeof(before));
	edges_of(1);
	edges_of(2);
	CHECK_TRUE(before[1][2] && before[2][1]); /* write skew */
}

static const struct check_test tests[] = {
	CHECK_TEST(the_check_finds_lost_updates),
	CHECK_TEST(fixed_seeds),
	CHECK_TEST(fresh_seeds),
};
CHECK_MAIN(tests)
