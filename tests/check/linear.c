#include "tests/check/linear.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/check/linear_search.h"
#include "tests/check/order.h"

/* ---- what can have been seen ---- */

struct seen {
	uint64_t *values; /* that some operation named: read, or compared with; sorted */
	size_t count;
	uint64_t other_ns; /* the last time that an operation found another value than the one it
			    * named: any other may have made it so. 0: never */
};

/* The name of @value: a small number, or LINEAR_NONE. */
static uint32_t name_of(const struct seen *s, uint64_t value)
{
	const uint64_t *at = NULL;

	if (s->count > 0)
		at = bsearch(&value, s->values, s->count, sizeof(value), order_u64);
	return at != NULL ? (uint32_t)(at - s->values) : LINEAR_NONE;
}

static void sort_names(struct seen *s)
{
	size_t n = 0;

	qsort(s->values, s->count, sizeof(*s->values), order_u64);
	for (size_t i = 0; i < s->count; i++)
		if (n == 0 || s->values[n - 1] != s->values[i])
			s->values[n++] = s->values[i];
	s->count = n;
}

static void seen_note(struct seen *s, const struct linear_op *o)
{
	const struct history_op *op = o->op;
	bool ok = op->outcome == HISTORY_OK;
	bool found_other;

	if (!linear_observes(op))
		return;
	if (op->kind == HISTORY_READ)
		s->values[s->count++] = op->result;
	else
		s->values[s->count++] = op->kind == HISTORY_CAS ? op->arg : HISTORY_ABSENT;
	found_other = ok && ((op->kind == HISTORY_CAS && op->result == 0) ||
			     (op->kind == HISTORY_DELETE && op->result == 1));
	if (found_other && o->done_ns > s->other_ns)
		s->other_ns = o->done_ns;
}

/* Whether it changes the value. */
static bool may_leave(const struct history_op *op)
{
	bool ok = op->outcome == HISTORY_OK;

	return op->kind == HISTORY_WRITE || (op->kind == HISTORY_CAS && !(ok && op->result == 0)) ||
	       (op->kind == HISTORY_DELETE && !(ok && op->result == 0));
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

/* The value that a definite @op must find, if there is one. */
static bool must_find(const struct history_op *op, uint64_t *value)
{
	if (op->outcome != HISTORY_OK)
		return false;
	*value = op->kind == HISTORY_READ  ? op->result
		 : op->kind == HISTORY_CAS ? op->arg
					   : HISTORY_ABSENT;
	return op->kind == HISTORY_READ || (op->kind == HISTORY_CAS && op->result == 1) ||
	       (op->kind == HISTORY_DELETE && op->result == 0);
}

static void mark(const struct seen *seen, struct linear_op *o)
{
	uint64_t value;

	o->finds = !o->maybe && must_find(o->op, &value) ? name_of(seen, value) : LINEAR_NONE;
	o->leaves = may_leave(o->op) ? name_of(seen, value_left(o->op)) : LINEAR_NONE;
	o->unnamed = may_leave(o->op) && o->leaves == LINEAR_NONE;
	o->unseen = o->unnamed && seen->other_ns < o->invoke_ns;
}

/* Gives names to values, marks who leaves one that nobody can tell, and drops those that need not have
 * happened and of which nobody could tell. */
static void mark_all(struct linear_key *k)
{
	struct seen seen = {.values = mem_must_alloc(((size_t)k->count + 1) * sizeof(uint64_t))};
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->count; i++)
		seen_note(&seen, &k->ops[i]);
	sort_names(&seen);
	k->names = (uint32_t)seen.count;
	k->absent_name = name_of(&seen, HISTORY_ABSENT);
	for (uint32_t i = 0; i < k->count; i++) {
		struct linear_op o = k->ops[i];

		mark(&seen, &o);
		if (o.unnamed)
			k->unnamed_value = value_left(o.op);
		if (o.maybe && o.unseen)
			continue;
		o.unseen &= !linear_observes(o.op);
		k->ops[n++] = o;
	}
	k->count = n;
	mem_free(seen.values);
}

/* ---- equal maybes ---- */

/* What they leave, and what they need for it. All unnamed values are one. */
static int maybe_cmp(const struct linear_op *x, const struct linear_op *y)
{
	bool x_cas = x->op->kind == HISTORY_CAS, y_cas = y->op->kind == HISTORY_CAS;
	uint64_t x_left = value_left(x->op), y_left = value_left(y->op);

	if (x_cas != y_cas)
		return x_cas < y_cas ? -1 : 1;
	if (x_cas && x->op->arg != y->op->arg)
		return x->op->arg < y->op->arg ? -1 : 1;
	if (linear_observes(x->op) != linear_observes(y->op)) /* deletes */
		return linear_observes(x->op) ? -1 : 1;
	if (x->unnamed != y->unnamed)
		return x->unnamed < y->unnamed ? -1 : 1;
	if (!x->unnamed && x_left != y_left)
		return x_left < y_left ? -1 : 1;
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

/* All that is known of one key. */
struct record {
	const struct history_op *const *ops;
	uint32_t count;
	const struct linear_limits *limits;
};

/* Judges what had happened by @until_ns: what returned later is not known to have happened. */
static enum linear_answer judge(const struct record *r, uint64_t until_ns, struct linear_key *k)
{
	k->count = 0;
	for (uint32_t i = 0; i < r->count && r->ops[i]->invoke_ns <= until_ns; i++) {
		uint64_t done_ns = history_done_ns(r->ops[i]);

		if (done_ns > until_ns && !may_leave(r->ops[i]))
			continue;
		if (done_ns > until_ns)
			done_ns = HISTORY_NEVER;
		k->ops[k->count++] = (struct linear_op){.op = r->ops[i],
							.invoke_ns = r->ops[i]->invoke_ns,
							.done_ns = done_ns,
							.maybe = done_ns == HISTORY_NEVER};
	}
	mark_all(k);
	link_equal_maybes(k);
	return linear_search(k, r->limits);
}

/* ---- report ---- */

static void add_op(const struct history_op *op, struct verdict *v)
{
	char text[512];

	verdict_add(v, "    %s\n", history_op_text(op, text, sizeof(text)));
}

static void add_order(const struct linear_key *k, struct verdict *v)
{
	const struct linear_order *o = &k->order;
	uint64_t value = HISTORY_ABSENT;

	if (o->count > o->last_count)
		verdict_add(v, "  an order of those before, from its operation %zu on:\n",
			    o->count - o->last_count + 1);
	else
		verdict_add(v, "  an order of those before:\n");
	for (size_t i = 0; i < o->last_count; i++) {
		const struct history_op *op = k->ops[o->last[i]].op;

		add_op(op, v);
		if (may_leave(op))
			value = value_left(op);
		else if (op->kind == HISTORY_READ)
			value = op->result;
	}
	if (value == HISTORY_ABSENT)
		verdict_add(v, "  then the key is absent\n");
	else
		verdict_add(v, "  then the value is %" PRIu64 "\n", value);
}

static bool was_taken(const struct linear_key *k, const struct history_op *op)
{
	for (uint32_t i = 0; i < k->count; i++)
		if (k->ops[i].op == op)
			return k->ops[i].taken;
	return false;
}

/* Those that could have happened by @until_ns, and not in the order @k. */
static void add_pending(const struct record *r, const struct linear_key *k, uint64_t until_ns,
			struct verdict *v)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < r->count && r->ops[i]->invoke_ns <= until_ns; i++) {
		if (history_done_ns(r->ops[i]) <= until_ns || !may_leave(r->ops[i]) ||
		    was_taken(k, r->ops[i]))
			continue;
		if (count == 0)
			verdict_add(v, "  and pending, or unknown, were\n");
		if (count++ < LINEAR_SHOWN)
			add_op(r->ops[i], v);
	}
	if (count > LINEAR_SHOWN)
		verdict_add(v, "    and %u more\n", count - LINEAR_SHOWN);
	if (count == 0)
		verdict_add(v, "  and nothing else was pending\n");
}

static void report(const struct record *r, uint64_t until_ns, uint64_t before_ns,
		   struct linear_key *k, struct verdict *v)
{
	verdict_set(v, VERDICT_WRONG, "not linearizable");
	verdict_add(v,
		    "key %" PRIu64 ": not linearizable: no order explains what returned up to %" PRIu64
		    ", the return of\n",
		    r->ops[0]->key, until_ns);
	for (uint32_t i = 0; i < r->count; i++)
		if (history_done_ns(r->ops[i]) == until_ns)
			add_op(r->ops[i], v);
	if (judge(r, before_ns, k) != LINEAR_YES)
		return; /* gave up: no order to show */
	add_order(k, v);
	add_pending(r, k, until_ns, v);
}

/* The shortest prefix that is wrong, up to some return. */
static void find_shortest(const struct record *r, struct linear_key *k, struct verdict *v)
{
	uint64_t *ends = mem_must_alloc(((size_t)r->count + 1) * sizeof(*ends));
	size_t n = 1, good = 0, wrong; /* prefix 0 is empty */

	for (uint32_t i = 0; i < r->count; i++)
		if (history_done_ns(r->ops[i]) != HISTORY_NEVER)
			ends[n++] = r->ops[i]->return_ns;
	qsort(ends, n, sizeof(*ends), order_u64);
	wrong = n - 1;
	while (wrong - good > 1) {
		size_t middle = good + (wrong - good) / 2;

		if (judge(r, ends[middle], k) == LINEAR_NO)
			wrong = middle;
		else
			good = middle;
	}
	report(r, ends[wrong], ends[good], k, v);
	mem_free(ends);
}

static void check_key(const struct record *r, struct verdict *v)
{
	struct linear_key k = {0};
	enum linear_answer answer;

	k.ops = mem_must_alloc(((size_t)r->count + 2) * sizeof(*k.ops));
	answer = judge(r, HISTORY_NEVER - 1, &k);
	if (answer == LINEAR_NO)
		find_shortest(r, &k, v);
	if (answer == LINEAR_GAVE_UP && v->code == VERDICT_OK) {
		verdict_set(v, VERDICT_GAVE_UP, "gave up");
		verdict_add(v, "key %" PRIu64 ": gave up: %" PRIu32 " operations, too many at once\n",
			    r->ops[0]->key, r->count);
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
		struct record r = {.limits = limits != NULL ? limits : &LINEAR_LIMITS_DEFAULT};

		for (to = from; to < count && ops[to]->key == ops[from]->key; to++)
			;
		r.ops = ops + from;
		r.count = (uint32_t)(to - from);
		check_key(&r, v);
	}
	v->checked = count;
	mem_free(ops);
}
