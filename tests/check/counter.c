#include "tests/check/counter.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/check/order.h"

#define SUM_MAX (INT64_MAX / 4) /* of all additions, so that sums of two never overflow */

/* ---- a segment tree: add to the first so many, largest of the first so many ---- */

struct tree {
	size_t leaves; /* a power of two */
	struct tree_node {
		int64_t largest; /* of the leaves below, with all that was added here and below */
		int64_t added;	 /* to all below */
		size_t leaf;	 /* the one that is largest */
	} *nodes;
};

static void tree_pull(struct tree *t, size_t n)
{
	const struct tree_node *a = &t->nodes[2 * n], *b = &t->nodes[2 * n + 1];
	const struct tree_node *best = a->largest >= b->largest ? a : b;

	t->nodes[n].largest = best->largest + t->nodes[n].added;
	t->nodes[n].leaf = best->leaf;
}

/* Leaf i begins with values[i]. */
static void tree_init(struct tree *t, const int64_t *values, size_t count)
{
	t->leaves = 1;
	while (t->leaves < count)
		t->leaves *= 2;
	t->nodes = mem_must_alloc(2 * t->leaves * sizeof(*t->nodes));
	for (size_t i = 0; i < t->leaves; i++)
		t->nodes[t->leaves + i] = (struct tree_node){
			.largest = i < count ? values[i] : INT64_MIN / 2, .leaf = i};
	for (size_t n = t->leaves - 1; n > 0; n--)
		tree_pull(t, n);
}

static void tree_add_below(struct tree *t, size_t n, size_t width, size_t count, int64_t by)
{
	if (count == 0)
		return;
	if (count >= width) {
		t->nodes[n].largest += by;
		t->nodes[n].added += by;
		return;
	}
	width /= 2;
	tree_add_below(t, 2 * n, width, count < width ? count : width, by);
	tree_add_below(t, 2 * n + 1, width, count < width ? 0 : count - width, by);
	tree_pull(t, n);
}

static void tree_add(struct tree *t, size_t count, int64_t by)
{
	tree_add_below(t, 1, t->leaves, count, by);
}

/* The largest of the first @count > 0 leaves. */
static struct tree_node tree_largest(const struct tree *t, size_t n, size_t width, size_t count)
{
	struct tree_node best, other;

	if (count >= width)
		return t->nodes[n];
	width /= 2;
	best = tree_largest(t, 2 * n, width, count < width ? count : width);
	if (count > width) {
		other = tree_largest(t, 2 * n + 1, width, count - width);
		if (other.largest > best.largest)
			best = other;
	}
	best.largest += t->nodes[n].added;
	return best;
}

/* ---- one counter ---- */

struct count { /* the operations of one key */
	const struct history_op **adds, **reads;
	size_t add_count, read_count;
};

static int by_invoke(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;

	if (x->invoke_ns != y->invoke_ns)
		return x->invoke_ns < y->invoke_ns ? -1 : 1;
	return x < y ? -1 : x > y;
}

static int by_done(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;
	uint64_t x_done = history_done_ns(x), y_done = history_done_ns(y);

	if (x_done != y_done)
		return x_done < y_done ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void sort(const struct history_op **ops, size_t count,
		 int (*cmp)(const void *a, const void *b))
{
	qsort(ops, count, sizeof(*ops), cmp);
}

/* How many of @ops, sorted by return, returned before @at_ns. */
static size_t returned_before(const struct history_op **ops, size_t count, uint64_t at_ns)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (history_done_ns(ops[middle]) < at_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void wrong(const char *name, const struct history_op *read, const char *bound, int64_t value,
		  struct verdict *v)
{
	char text[256];

	verdict_set(v, VERDICT_WRONG, name);
	verdict_add(v, "counter %" PRIu64 ": %s\n  %s\n  must be at %s %" PRId64, read->key, name,
		    history_op_text(read, text, sizeof(text)), bound, value);
}

/* The tree has the 0 of the beginning, and then each read. */
static void plant(struct tree *t, const struct count *c)
{
	int64_t *values = mem_must_alloc((c->read_count + 1) * sizeof(*values));

	for (size_t i = 0; i < c->read_count; i++)
		values[i + 1] = (int64_t)c->reads[i]->result;
	tree_init(t, values, c->read_count + 1);
	mem_free(values);
}

static void too_small(const struct history_op *read, const struct history_op *since, int64_t least,
		      struct verdict *v)
{
	char text[256];

	wrong("too small", read, "least", least, v);
	verdict_add(v, ", with what was acknowledged since\n  %s\n",
		    since != NULL ? history_op_text(since, text, sizeof(text))
				  : "the beginning, when it was 0");
}

/* No read is less than an earlier one and what was surely added between them. */
static void check_least(const struct count *c, struct verdict *v)
{
	const struct history_op **later = mem_must_dup(c->reads, c->read_count * sizeof(*later));
	struct tree t;
	size_t a = 0;

	sort(c->reads, c->read_count, by_done);
	sort(c->adds, c->add_count, by_done);
	sort(later, c->read_count, by_invoke);
	plant(&t, c);
	for (size_t i = 0; i < c->read_count && v->code == VERDICT_OK; i++) {
		struct tree_node n;

		for (; a < c->add_count && history_done_ns(c->adds[a]) < later[i]->invoke_ns; a++)
			tree_add(&t, 1 + returned_before(c->reads, c->read_count,
							 c->adds[a]->invoke_ns),
				 (int64_t)c->adds[a]->arg);
		n = tree_largest(&t, 1, t.leaves,
				 1 + returned_before(c->reads, c->read_count,
						     later[i]->invoke_ns));
		if ((int64_t)later[i]->result < n.largest)
			too_small(later[i], n.leaf > 0 ? c->reads[n.leaf - 1] : NULL, n.largest, v);
	}
	mem_free(t.nodes);
	mem_free(later);
}

/* No read is more than all that may have been added before it returned. (A bound by way of another read
 * follows from this and the one above.) */
static void check_most(const struct count *c, struct verdict *v)
{
	int64_t most = 0;
	size_t a = 0;

	sort(c->reads, c->read_count, by_done);
	sort(c->adds, c->add_count, by_invoke);
	for (size_t i = 0; i < c->read_count && v->code == VERDICT_OK; i++) {
		for (; a < c->add_count && c->adds[a]->invoke_ns <= c->reads[i]->return_ns; a++)
			most += (int64_t)c->adds[a]->arg;
		if (c->reads[i]->result <= (uint64_t)most)
			continue;
		wrong("too big", c->reads[i], "most", most, v);
		verdict_add(v, ", which is all that was begun and did not fail\n");
	}
}

/* Whether the additions are small enough to be added. */
static bool check_sums(const struct count *c, struct verdict *v)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->add_count; i++) {
		if (c->adds[i]->arg > SUM_MAX - sum) {
			verdict_set(v, VERDICT_UNFIT, "unfit");
			verdict_add(v, "counter %" PRIu64 ": the sum of its additions overflows\n",
				    c->adds[i]->key);
			return false;
		}
		sum += c->adds[i]->arg;
	}
	return true;
}

/* ---- all counters ---- */

static bool can_matter(const struct history_op *op)
{
	return (op->kind == HISTORY_ADD && op->outcome != HISTORY_FAILED) ||
	       (op->kind == HISTORY_GET && op->outcome == HISTORY_OK);
}

void counter_check(const struct history *h, struct verdict *v)
{
	size_t count;
	const struct history_op **ops = order_by_key(h, can_matter, &count);

	verdict_init(v);
	v->checked = count;
	for (size_t from = 0, to = 0; from < count && v->code == VERDICT_OK; from = to) {
		struct count c = {.adds = ops + from};

		for (; to < count && ops[to]->key == ops[from]->key; to++)
			*(ops[to]->kind == HISTORY_ADD ? &c.add_count : &c.read_count) += 1;
		c.reads = ops + from + c.add_count;
		if (!check_sums(&c, v))
			continue;
		check_most(&c, v); /* first: then results are small enough to be added to */
		if (v->code == VERDICT_OK)
			check_least(&c, v);
	}
	mem_free(ops);
}
