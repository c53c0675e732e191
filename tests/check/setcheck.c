#include "tests/check/setcheck.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/check/order.h"

struct element {
	uint64_t value;
	uint64_t added_ns;   /* acknowledged first, or HISTORY_NEVER */
	uint64_t called_ns;  /* when an insert that may have happened was called first, or NEVER */
	uint64_t seen_ns;    /* when a read that had it returned first, or NEVER */
	bool failed;	     /* an insert of it failed */
	size_t mark;	     /* the read that was looked at last with it in its list */
};

struct set {
	const struct history_op **ops; /* inserts, then reads */
	size_t insert_count, read_count;
	struct element *elements; /* by value */
	size_t count;
	uint64_t *due; /* when each must be seen from, sorted */
};

/* The element must be in every read that is called later. */
static uint64_t due_ns(const struct element *e)
{
	return e->added_ns < e->seen_ns ? e->added_ns : e->seen_ns;
}

/* ---- what was inserted ---- */

static int element_cmp(const void *a, const void *b)
{
	const struct element *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

static struct element element_of(const struct history_op *op)
{
	struct element e = {op->arg, HISTORY_NEVER, HISTORY_NEVER, HISTORY_NEVER, false, 0};

	if (op->outcome == HISTORY_FAILED)
		e.failed = true;
	else
		e.called_ns = op->invoke_ns;
	e.added_ns = history_done_ns(op);
	return e;
}

/* Several inserts of one value become one element. */
static void gather(struct set *s)
{
	size_t n = 0;

	s->elements = mem_must_alloc((s->insert_count + 1) * sizeof(*s->elements));
	for (size_t i = 0; i < s->insert_count; i++)
		s->elements[i] = element_of(s->ops[i]);
	qsort(s->elements, s->insert_count, sizeof(*s->elements), element_cmp);
	for (size_t i = 0; i < s->insert_count; i++) {
		struct element e = s->elements[i], *last = n > 0 ? &s->elements[n - 1] : NULL;

		if (last == NULL || last->value != e.value) {
			s->elements[n++] = e;
			continue;
		}
		last->failed |= e.failed;
		if (e.called_ns < last->called_ns)
			last->called_ns = e.called_ns;
		if (e.added_ns < last->added_ns)
			last->added_ns = e.added_ns;
	}
	s->count = n;
}

static struct element *find(const struct set *s, uint64_t value)
{
	struct element key = {.value = value};

	return bsearch(&key, s->elements, s->count, sizeof(key), element_cmp);
}

/* ---- reads ---- */

static void wrong(const char *name, uint64_t value, const struct history_op *read, struct verdict *v)
{
	char text[512];

	verdict_set(v, VERDICT_WRONG, name);
	verdict_add(v, "set %" PRIu64 ": %s: element %" PRIu64 "\n  %s\n", read->key, name, value,
		    history_op_text(read, text, sizeof(text)));
}

/* All that @read, the @nth, has may be there, once. */
static void check_listed(const struct set *s, const struct history_op *read, size_t nth,
			 struct verdict *v)
{
	for (size_t i = 0; i < read->list_count && v->code == VERDICT_OK; i++) {
		uint64_t value = read->list[i];
		struct element *e = find(s, value);

		if (e == NULL || e->called_ns > read->return_ns) {
			wrong(e != NULL && e->failed ? "failed insert seen" : "from nowhere", value,
			      read, v);
			if (e != NULL && e->called_ns != HISTORY_NEVER)
				verdict_add(v, "  inserted by a call at %" PRIu64 "\n", e->called_ns);
			return;
		}
		if (e->mark == nth)
			wrong("duplicate element", value, read, v);
		e->mark = nth;
		if (read->return_ns < e->seen_ns)
			e->seen_ns = read->return_ns;
	}
}

static size_t count_due(const struct set *s, uint64_t at_ns)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->due[middle] < at_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void report_missing(const struct set *s, const struct history_op *read, size_t nth,
			   struct verdict *v)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct element *e = &s->elements[i];
		bool lost = e->added_ns < read->invoke_ns;

		if (due_ns(e) >= read->invoke_ns || e->mark == nth)
			continue;
		wrong(lost ? "lost" : "vanished", e->value, read, v);
		verdict_add(v, "  its insert was %s at %" PRIu64 "\n",
			    lost ? "acknowledged" : "of unknown outcome, and a read had it",
			    lost ? e->added_ns : e->seen_ns);
		return;
	}
}

/* All that is due is in @read. Marks are numbered above those of check_listed(). */
static void check_due(const struct set *s, const struct history_op *read, size_t nth,
		      struct verdict *v)
{
	size_t have = 0;

	for (size_t i = 0; i < read->list_count; i++) {
		struct element *e = find(s, read->list[i]);

		if (e == NULL)
			continue; /* check_listed() saw to it */
		e->mark = nth;
		have += due_ns(e) < read->invoke_ns;
	}
	if (have < count_due(s, read->invoke_ns))
		report_missing(s, read, nth, v);
}

static void check_set(struct set *s, struct verdict *v)
{
	const struct history_op **reads = s->ops + s->insert_count;
	size_t n = s->read_count;

	gather(s);
	for (size_t i = 0; i < n && v->code == VERDICT_OK; i++)
		check_listed(s, reads[i], i + 1, v);
	s->due = mem_must_alloc((s->count + 1) * sizeof(*s->due));
	for (size_t i = 0; i < s->count; i++)
		s->due[i] = due_ns(&s->elements[i]);
	qsort(s->due, s->count, sizeof(*s->due), order_u64);
	for (size_t i = 0; i < n && v->code == VERDICT_OK; i++)
		check_due(s, reads[i], n + i + 1, v);
	mem_free(s->due);
	mem_free(s->elements);
}

/* ---- all sets ---- */

static bool can_matter(const struct history_op *op)
{
	return op->kind == HISTORY_INSERT ||
	       (op->kind == HISTORY_MEMBERS && op->outcome == HISTORY_OK);
}

void set_check(const struct history *h, struct verdict *v)
{
	size_t count;
	const struct history_op **ops = order_by_key(h, can_matter, &count);

	verdict_init(v);
	v->checked = count;
	for (size_t from = 0, to = 0; from < count && v->code == VERDICT_OK; from = to) {
		struct set s = {.ops = ops + from};

		for (; to < count && ops[to]->key == ops[from]->key; to++)
			*(ops[to]->kind == HISTORY_INSERT ? &s.insert_count : &s.read_count) += 1;
		check_set(&s, v);
	}
	mem_free(ops);
}
