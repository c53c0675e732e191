/* The checker of registers on random histories: small ones against a search through all orders, large
 * ones of a model register, and the same with one result changed. */
#include "tests/check/linear.h"

#include <time.h>

#include "tests/lib/check.h"
#include "tests/lib/check_fixture.h"
#include "tests/unit/check_random.h"

/* ---- all orders ---- */

/* Written apart from the checker: what an operation does to a register, by the rules of history.h. */
static bool brute_step(const struct history_op *op, void *state)
{
	uint64_t *value = state;
	bool told = op->outcome == HISTORY_OK;

	switch (op->kind) {
	case HISTORY_READ:
		return !told || op->result == *value;
	case HISTORY_WRITE:
		*value = op->arg;
		return true;
	case HISTORY_CAS:
		if (told && (op->result == 1) != (*value == op->arg))
			return false;
		*value = *value == op->arg ? op->arg2 : *value;
		return true;
	default:
		if (told && op->result != HISTORY_UNTOLD &&
		    (op->result == 1) != (*value != HISTORY_ABSENT))
			return false;
		*value = HISTORY_ABSENT;
		return true;
	}
}

static bool brute_check(void)
{
	uint64_t absent = HISTORY_ABSENT;

	return chf_some_order(brute_step, &absent, sizeof(absent));
}

static uint64_t any_value(struct rng *r, uint64_t values)
{
	uint64_t n = rng_below(r, values + 1);

	return n == values ? HISTORY_ABSENT : n;
}

/* Any operation, with any result. @weights: how often READ, WRITE, CAS, DELETE. */
static void any_op(struct rng *r, const unsigned weights[4], uint64_t span, uint64_t values)
{
	struct history_op op = {.client = (uint32_t)chf.h.count};
	uint64_t pick = rng_below(r, weights[0] + weights[1] + weights[2] + weights[3]);
	uint64_t from = rng_below(r, 20), kind = 0;
	struct history_result res = {0};
	size_t id;

	while (pick >= weights[kind])
		pick -= weights[kind++];
	op.kind = (enum history_kind)(HISTORY_READ + kind);
	op.arg = op.kind == HISTORY_WRITE ? rng_below(r, values) : any_value(r, values);
	op.arg2 = any_value(r, values);
	res.value = op.kind == HISTORY_READ ? any_value(r, values) : rng_below(r, 2);
	if (op.kind == HISTORY_DELETE && rng_below(r, 2) == 0)
		res.value = HISTORY_UNTOLD;
	id = history_invoke(&chf.h, from, &op);
	if (rng_below(r, 12) == 0)
		return;
	history_return(&chf.h, id, from + rng_below(r, span),
		       rng_below(r, 10) == 0   ? HISTORY_FAILED
		       : rng_below(r, 5) == 0 ? HISTORY_UNKNOWN
					      : HISTORY_OK,
		       &res);
}

static void compare(uint64_t seed, const unsigned weights[4], size_t ops_max, unsigned rounds)
{
	struct rng r = {seed};
	unsigned right = 0;

	for (unsigned n = 0; n < rounds; n++) {
		uint64_t span = 1 + rng_below(&r, 20), values = 1 + rng_below(&r, 4);
		size_t ops = 1 + rng_below(&r, ops_max);
		bool want;

		chf_start_over();
		for (size_t i = 0; i < ops; i++)
			any_op(&r, weights, span, values);
		want = brute_check();
		right += want;
		linear_check(&chf.h, NULL, &chf.v);
		if ((chf.v.code == VERDICT_OK) != want) {
			chf_show();
			CHECK_FAIL("seed %llu, round %u: %s", (unsigned long long)seed, n, chf.v.text);
		}
	}
	CHECK_TRUE(right > rounds / 50 && right < rounds - rounds / 50); /* both kinds occurred */
}

static void all_kinds_against_all_orders(void)
{
	static const unsigned weights[4] = {4, 3, 3, 2};

	compare(1, weights, 6, 60000);
	compare(rng_fresh_seed(), weights, 6, 60000);
}

static void reads_and_writes_against_all_orders(void)
{
	static const unsigned weights[4] = {3, 3, 0, 0};

	compare(2, weights, 7, 40000);
	compare(rng_fresh_seed(), weights, 7, 40000);
}

static void cas_against_all_orders(void)
{
	static const unsigned weights[4] = {1, 1, 5, 0};

	compare(3, weights, 7, 20000);
	compare(rng_fresh_seed(), weights, 7, 20000);
}

/* ---- a model register ---- */

#define CLIENTS_MAX 12
#define LATE_MAX    64

enum phase { IDLE, CALLED, DONE };

struct client {
	enum phase phase;
	size_t id; /* of the running operation */
	uint64_t result;
};

struct model {
	struct rng r;
	uint64_t value, next_value, now;
	struct client clients[CLIENTS_MAX];
	size_t late[LATE_MAX]; /* unknown ones that have not happened yet */
	size_t late_count;
	unsigned unknown_ppm;
};

static uint64_t model_apply(struct model *m, size_t id)
{
	const struct history_op *op = &chf.h.ops[id];
	uint64_t was = m->value;

	switch (op->kind) {
	case HISTORY_READ:
		return was;
	case HISTORY_WRITE:
		m->value = op->arg;
		return 0;
	case HISTORY_CAS:
		m->value = was == op->arg ? op->arg2 : was;
		return was == op->arg;
	default:
		m->value = HISTORY_ABSENT;
		return was != HISTORY_ABSENT;
	}
}

static void model_call(struct model *m, uint32_t c)
{
	struct history_op op = {.client = c, .key = 3};
	uint64_t pick = rng_below(&m->r, 20);

	op.kind = pick < 9    ? HISTORY_READ
		  : pick < 16 ? HISTORY_WRITE
		  : pick < 19 ? HISTORY_CAS
			      : HISTORY_DELETE;
	op.arg = op.kind == HISTORY_CAS ? m->value : m->next_value++;
	op.arg2 = m->next_value++;
	m->clients[c].id = history_invoke(&chf.h, m->now, &op);
	m->clients[c].phase = CALLED;
}

/* The call ends without an answer, before it happened. */
static void model_lose(struct model *m, struct client *c)
{
	c->phase = IDLE;
	if (rng_below(&m->r, 2) == 0) {
		history_return(&chf.h, c->id, m->now, HISTORY_FAILED, NULL);
		return;
	}
	history_return(&chf.h, c->id, m->now, HISTORY_UNKNOWN, NULL);
	if (m->late_count < LATE_MAX)
		m->late[m->late_count++] = c->id;
}

static void model_step(struct model *m, uint32_t clients)
{
	uint32_t i = (uint32_t)rng_below(&m->r, clients);
	struct client *c = &m->clients[i];
	bool unlucky = rng_below(&m->r, 1000000) < m->unknown_ppm;
	struct history_result res;

	m->now += rng_below(&m->r, 3);
	if (m->late_count > 0 && rng_below(&m->r, 200) == 0) {
		size_t j = rng_below(&m->r, m->late_count);

		(void)model_apply(m, m->late[j]);
		m->late[j] = m->late[--m->late_count];
		return;
	}
	if (c->phase == IDLE) {
		model_call(m, i);
	} else if (c->phase == CALLED && unlucky) {
		model_lose(m, c);
	} else if (c->phase == CALLED) {
		c->result = model_apply(m, c->id);
		c->phase = DONE;
	} else {
		res = (struct history_result){.value = c->result};
		history_return(&chf.h, c->id, m->now, unlucky ? HISTORY_UNKNOWN : HISTORY_OK, &res);
		c->phase = IDLE;
	}
}

static void model_run(uint64_t seed, uint32_t clients, size_t ops, unsigned unknown_ppm)
{
	struct model m = {.r = {seed}, .value = HISTORY_ABSENT, .now = 1, .unknown_ppm = unknown_ppm};

	chf_start_over();
	while (chf.h.count < ops)
		model_step(&m, clients);
}

static void model_histories_are_accepted(void)
{
	uint64_t seeds[] = {100, rng_fresh_seed()};

	for (unsigned n = 0; n < 3000; n++) {
		uint64_t seed = seeds[n % 2] + n * 7919;

		model_run(seed, 1 + n % 8, 20 + n % 200, n % 3 * 50000);
		linear_check(&chf.h, NULL, &chf.v);
		if (chf.v.code != VERDICT_OK)
			CHECK_FAIL("seed %llu, round %u: %s", (unsigned long long)seed, n, chf.v.text);
	}
}

/* Changes the result of the @nth OK read, if there is one. */
static struct history_op *nth_read(uint64_t nth)
{
	for (size_t i = 0; i < chf.h.count; i++) {
		struct history_op *op = &chf.h.ops[i];

		if (op->kind == HISTORY_READ && op->outcome == HISTORY_OK && nth-- == 0)
			return op;
	}
	return NULL;
}

/* A value that was surely overwritten before @read began: the write of it was acknowledged, and later
 * began and was acknowledged another one. HISTORY_ABSENT if there is none. */
static uint64_t overwritten_before(const struct history_op *read)
{
	const struct history_op *old = NULL;

	for (size_t i = 0; i < chf.h.count; i++) {
		const struct history_op *op = &chf.h.ops[i];

		if (op->kind != HISTORY_WRITE || op->outcome != HISTORY_OK ||
		    op->return_ns >= read->invoke_ns)
			continue;
		if (old == NULL)
			old = op;
		else if (old->return_ns < op->invoke_ns)
			return old->arg;
	}
	return HISTORY_ABSENT;
}

static void changed_histories_are_refused(void)
{
	uint64_t seeds[] = {200, rng_fresh_seed()};
	struct rng r = {seeds[1]};
	unsigned refused = 0;

	for (unsigned n = 0; n < 3000; n++) {
		uint64_t seed = seeds[n % 2] + n * 7919;
		struct history_op *read;
		uint64_t value;

		model_run(seed, 1 + n % 8, 20 + n % 200, n % 3 * 50000);
		read = nth_read(rng_below(&r, 30));
		value = read == NULL ? HISTORY_ABSENT
			: n % 4 == 0 ? 1000000000
				     : overwritten_before(read);
		if (value == HISTORY_ABSENT)
			continue;
		read->result = value;
		linear_check(&chf.h, NULL, &chf.v);
		if (chf.v.code != VERDICT_WRONG)
			CHECK_FAIL("seed %llu, round %u: %s", (unsigned long long)seed, n, chf.v.name);
		refused++;
	}
	CHECK_TRUE(refused > 1000);
}

static void twenty_thousand_operations(void)
{
	clock_t begin = clock();

	for (uint32_t clients = 1; clients <= CLIENTS_MAX; clients += 5) {
		struct history_op *last;

		model_run(300 + clients, clients, 20000, 10000);
		linear_check(&chf.h, NULL, &chf.v);
		CHECK_STR_EQ(chf.v.name, "ok");
		last = nth_read(8000);
		if (last == NULL)
			CHECK_FAIL("too few reads");
		else
			last->result = overwritten_before(last);
		linear_check(&chf.h, NULL, &chf.v);
		CHECK_STR_EQ(chf.v.name, "not linearizable");
	}
	printf("six histories of 20,000 operations: %.1f s\n",
	       (double)(clock() - begin) / CLOCKS_PER_SEC);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(chf_setup, chf_teardown, all_kinds_against_all_orders),
	CHECK_TEST_WITH(chf_setup, chf_teardown, reads_and_writes_against_all_orders),
	CHECK_TEST_WITH(chf_setup, chf_teardown, cas_against_all_orders),
	CHECK_TEST_WITH(chf_setup, chf_teardown, model_histories_are_accepted),
	CHECK_TEST_WITH(chf_setup, chf_teardown, changed_histories_are_refused),
	CHECK_TEST_WITH(chf_setup, chf_teardown, twenty_thousand_operations),
};

CHECK_MAIN(tests)
