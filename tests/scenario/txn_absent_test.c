/* Reads of several groups that find something absent. An absent key has no version: that it was absent
 * in two rounds does not say that it was absent between them. What such a read returns has to have been
 * true at one moment all the same.
 *
 * One writer makes and deletes a record in group 0 and says so, in the same transaction, in group 1. For
 * a reader the record is there exactly if group 1 says so. Or it is always there, its number changes
 * back and forth, and a condition looks at that: it returns no version either.
 */
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_fixture.h"

#define SEEDS  40u
#define WRITES 60u
#define READS  60u

static struct txf f;
static struct txf_client writer, reader;
static struct txf_key record, flag, end, far_end;
static bool writing, in_place;
static unsigned wrong;

static void write_all(void *arg)
{
	const uint8_t there[8] = {1}, gone[8] = {0};
	struct txn_mini m;
	struct txn_result r;

	(void)arg;
	txn_mini_init(&m);
	txn_result_init(&r);
	for (unsigned i = 0; i < WRITES; i++) {
		txn_mini_reset(&m);
		if (in_place || i % 2 == 0)
			txn_put(&m, txf_slice(&record), slice_of(i % 2 == 0 ? there : gone, 8));
		else
			txn_delete(&m, txf_slice(&record));
		txn_put(&m, txf_slice(&flag), slice_of(i % 2 == 0 ? there : gone, 8));
		CHECK_OK(txf_exec(&writer, &m, &r));
		if (txf_chance(&f, 300))
			txf_sleep(&f, txf_below(&f, 2000000));
	}
	writing = false;
	txn_result_release(&r);
	txn_mini_release(&m);
}

/* How a reader looks at the record. */
enum look { LOOK_GET, LOOK_SCAN, LOOK_ABSENT, LOOK_EMPTY, LOOKS };

static const struct txn_field number = {.offset = 0, .width = 8};

static bool look(struct txn_mini *m, struct txn_result *r, enum look how, bool *there, bool *said)
{
	bool scan = how == LOOK_SCAN, get = how == LOOK_GET;
	int err;

	txn_mini_reset(m);
	(void)txn_get(m, txf_slice(&flag));
	if (in_place)
		(void)txn_if_field_u64(m, txf_slice(&record), number, 0);
	else if (get)
		(void)txn_get(m, txf_slice(&record));
	else if (scan)
		(void)txn_scan(m, txf_slice(&record), txf_slice(&end), 10);
	else if (how == LOOK_ABSENT)
		(void)txn_if_absent(m, txf_slice(&record));
	else
		(void)txn_if_range_empty(m, txf_slice(&record), txf_slice(&far_end));
	err = txf_exec(&reader, m, r);
	if (err == ERR_CONDITION || r->reads[0].value.status != 0)
		return false; /* it was there: nothing else is known */
	CHECK_OK(err);
	*there = !in_place && (get ? r->reads[1].value.status == 0
				   : scan && r->reads[1].item_count > 0);
	*said = r->reads[0].value.value.p[0] != 0;
	return true;
}

static void read_all(void *arg)
{
	struct txn_mini m;
	struct txn_result r;

	(void)arg;
	txn_mini_init(&m);
	txn_result_init(&r);
	for (unsigned i = 0; i < READS && writing; i++) {
		bool there = false, said = false;

		if (look(&m, &r, (enum look)(i % LOOKS), &there, &said))
			wrong += there != said;
	}
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void run(uint64_t seed, bool faults, bool one_record)
{
	struct txf_config cfg;

	in_place = one_record;
	if (faults) {
		txf_config_faulty(&cfg, seed);
	} else {
		txf_config_default(&cfg);
		cfg.seed = seed;
	}
	cfg.groups = 2;
	cfg.delay_ns_min = 10000;
	cfg.delay_ns_max = 4000000; /* one round sees the groups at moments far apart */
	txf_open(&f, &cfg);
	txf_client_init(&writer, &f);
	txf_client_init(&reader, &f);
	record = txf_key(0, 1, 'T', "record");
	end = txf_key(0, 1, 'T', "recore");
	far_end = txf_key(0, 9, 'T', "");
	flag = txf_key(1, 1, 'T', "flag");
	writing = true;
	wrong = 0;
	txf_spawn(&f, write_all, NULL);
	txf_spawn(&f, read_all, NULL);
	CHECK_TRUE(txf_run(&f));
	txf_settle(&f);
	txf_client_release(&writer);
	txf_client_release(&reader);
	txf_close(&f);
	if (wrong > 0)
		CHECK_FAIL("seed %llu: %u reads saw what never was", (unsigned long long)seed, wrong);
}

static void absence_is_of_the_same_moment(void)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed, false, false);
}

static void conditions_are_of_the_same_moment(void)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed, false, true);
}

static void and_so_it_is_with_faults(void)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run(seed, true, seed % 2);
}

static const struct check_test tests[] = {
	CHECK_TEST(absence_is_of_the_same_moment),
	CHECK_TEST(conditions_are_of_the_same_moment),
	CHECK_TEST(and_so_it_is_with_faults),
};
CHECK_MAIN(tests)
