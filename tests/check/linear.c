#include "tests/check/linear.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/check/linear_search.h"

/* ---- what can have been seen ---- */

struct seen {
	uint64_t *values; /* that some operation found, sorted */
	size_t count;
	uint64_t other_ns; /* the last time that some operation found a value other than its own; any
			    * value may matter to it. 0: never */
};

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool seen_has(const struct seen *s, uint64_t value)
{
	return s->count > 0 &&
	       bsearch(&value, s->values, s->count, sizeof(value), u64_cmp) != NULL;
}

static void seen_note(struct seen *s, const struct linear_op *o)
{
	const struct history_op *op = o->op;
	bool ok = op->outcome == HISTORY_OK;

	if (!linear_observes(op))
		return;
	if (op->kind == HISTORY_READ)
		s->values[s->count++] = op->result;
	else if (op->kind == HISTORY_CAS && !(ok && op->result == 0))
		s->values[s->count++] = op->arg;
	else if (op->kind == HISTORY_DELETE && op->result == 0)
		s->values[s->count++] = HISTORY_ABSENT;
	else if (o->done_ns > s->other_ns)
		s->other_ns = o->done_ns;
}

static uint64_t value_left(const struct history_op *op)
{
	switch (op->kind) {
	case HISTORY_WRITE:
		return op->arg;
	case HISTORY_CAS:
		return op->arg2;
	default:
		return HISTORY_ABSENT;
	}
}

/* Nobody can tell whether @o left its value. */
static bool is_unseen(const struct seen *s, const struct linear_op *o)
{
	return s->other_ns < o->invoke_ns && !seen_has(s, value_left(o->op));
}

/* Marks unseen ones, and drops those of them that need not have happened. */
static void mark_unseen(struct linear_key *k)
{
	struct seen seen = {.values = mem_must_alloc(((size_t)k->count + 1) * sizeof(uint64_t))};
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->count; i++)
		seen_note(&seen, &k->ops[i]);
	qsort(seen.values, seen.count, sizeof(*seen.values), u64_cmp);
	for (uint32_t i = 0; i < k->count; i++) {
		struct linear_op o = k->ops[i];
		bool unseen = is_unseen(&seen, &o);

		if (o.maybe && unseen)
			continue;
		o.unseen = unseen && !linear_observes(o.op);
		if (o.unseen)
			k->unseen_value = value_left(o.op);
		k->ops[n++] = o;
	}
	k->count = n;
	mem_free(seen.values);
}

/* ---- equal maybes ---- */

static int maybe_cmp(const struct linear_op *x, const struct linear_op *y)
{
	if (x->op->kind != y->op->kind)
		return x->op->kind < y->op->kind ? -1 : 1;
	if (x->op->arg != y->op->arg)
		return x->op->arg < y->op->arg ? -1 : 1;
	if (x->op->arg2 != y->op->arg2)
		return x->op->arg2 < y->op->arg2 ? -1 : 1;
	return 0;
}

static int by_maybe(const void *a, const void *b, void *arg)
{
	const struct linear_op *ops = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int c = maybe_cmp(&ops[x], &ops[y]);

	return c != 0 ? c : x < y ? -1 : x > y;
}

static void link_equal_maybes(struct linear_key *k)
{
	uint32_t *order = mem_must_alloc(((size_t)k->count + 1) * sizeof(*order));
	size_t n = 0;

	for (uint32_t i = 0; i < k->count; i++) {
		k->ops[i].same = LINEAR_NONE;
		if (k->ops[i].maybe)
			order[n++] = i;
	}
	qsort_r(order, n, sizeof(*order), by_maybe, k->ops);
	for (size_t j = 1; j < n; j++)
		if (maybe_cmp(&k->ops[order[j - 1]], &k->ops[order[j]]) == 0)
			k->ops[order[j]].same = order[j - 1];
	mem_free(order);
}

/* ---- report ---- */

static void add_ops(const struct linear_key *k, const uint32_t *which, size_t count,
		    struct verdict *v)
{
	char text[512];

	for (size_t i = 0; i < count; i++)
		verdict_add(v, "    %s\n",
			    history_op_text(k->ops[which[i]].op, text, sizeof(text)));
}

static void add_value(const struct linear_key *k, struct verdict *v)
{
	const struct linear_stuck *s = &k->stuck;
	const struct linear_op *last = s->last_count > 0 ? &k->ops[s->last[s->last_count - 1]] : NULL;
	uint64_t value = last != NULL && last->unseen ? value_left(last->op) : s->value;

	if (value == HISTORY_ABSENT)
		verdict_add(v, "  then the key is absent\n");
	else
		verdict_add(v, "  then the value is %" PRIu64 "\n", value);
}

static void report(const struct linear_key *k, struct verdict *v)
{
	const struct linear_stuck *s = &k->stuck;

	verdict_set(v, VERDICT_WRONG, "not linearizable");
	verdict_add(v, "key %" PRIu64 ": not linearizable: no order explains what returned up to %" PRIu64
		       ", the return of\n",
		    k->key, k->ops[s->blocked].done_ns);
	add_ops(k, &s->blocked, 1, v);
	if (s->taken > s->last_count)
		verdict_add(v, "  the longest order of those before, from its operation %zu on:\n",
			    s->taken - s->last_count + 1);
	else
		verdict_add(v, "  the longest order of those before:\n");
	add_ops(k, s->last, s->last_count, v);
	add_value(k, v);
	if (s->pending_count == 0) {
		verdict_add(v, "  and nothing else was pending\n");
		return;
	}
	verdict_add(v, "  and pending were%s\n",
		    s->pending_count == LINEAR_SHOWN ? " (the first of them)" : "");
	add_ops(k, s->pending, s->pending_count, v);
}

/* ---- keys ---- */

static bool is_register(const struct history_op *op)
{
	return op->kind == HISTORY_READ || op->kind == HISTORY_WRITE || op->kind == HISTORY_CAS ||
	       op->kind == HISTORY_DELETE;
}

static bool can_matter(const struct history_op *op)
{
	return op->outcome == HISTORY_OK ||
	       (op->outcome == HISTORY_UNKNOWN && op->kind != HISTORY_READ);
}

static int by_key(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->invoke_ns != y->invoke_ns)
		return x->invoke_ns < y->invoke_ns ? -1 : 1;
	return x < y ? -1 : x > y;
}

static enum linear_answer judge_key(struct linear_key *k, const struct history_op **ops,
				    const struct linear_limits *limits)
{
	for (uint32_t i = 0; i < k->count; i++)
		k->ops[i] = (struct linear_op){.op = ops[i],
					       .invoke_ns = ops[i]->invoke_ns,
					       .done_ns = history_done_ns(ops[i]),
					       .maybe = ops[i]->outcome != HISTORY_OK};
	mark_unseen(k);
	link_equal_maybes(k);
	return linear_search(k, limits);
}

/* @ops: those of one key. */
static void check_key(const struct history_op **ops, uint32_t count,
		      const struct linear_limits *limits, struct verdict *v)
{
	struct linear_key k = {.key = ops[0]->key, .count = count};
	enum linear_answer answer;

	k.ops = mem_must_alloc(((size_t)count + 2) * sizeof(*k.ops));
	answer = judge_key(&k, ops, limits);
	if (answer == LINEAR_NO)
		report(&k, v);
	if (answer == LINEAR_GAVE_UP && v->code == VERDICT_OK) {
		verdict_set(v, VERDICT_GAVE_UP, "gave up");
		verdict_add(v, "key %" PRIu64 ": gave up: %" PRIu32 " operations, too many at once\n",
			    k.key, count);
	}
	mem_free(k.ops);
}

static bool is_unfit(const struct history_op *op, struct verdict *v)
{
	char text[256];

	if (op->kind != HISTORY_WRITE || op->arg != HISTORY_ABSENT)
		return false;
	verdict_set(v, VERDICT_UNFIT, "unfit");
	verdict_add(v, "a write of HISTORY_ABSENT: %s\n", history_op_text(op, text, sizeof(text)));
	return true;
}

void linear_check(const struct history *h, const struct linear_limits *limits, struct verdict *v)
{
	const struct history_op **ops = mem_must_alloc((h->count + 1) * sizeof(*ops));
	size_t count = 0;

	verdict_init(v);
	for (size_t i = 0; i < h->count; i++) {
		if (!is_register(&h->ops[i]) || !can_matter(&h->ops[i]))
			continue;
		if (is_unfit(&h->ops[i], v)) {
			count = 0;
			break;
		}
		ops[count++] = &h->ops[i];
	}
	qsort(ops, count, sizeof(*ops), by_key);
	for (size_t from = 0, to; from < count && v->code != VERDICT_WRONG; from = to) {
		for (to = from; to < count && ops[to]->key == ops[from]->key; to++)
			;
		check_key(ops + from, (uint32_t)(to - from),
			  limits != NULL ? limits : &LINEAR_LIMITS_DEFAULT, v);
	}
	v->checked = count;
	mem_free(ops);
}
