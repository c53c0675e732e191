#include "tests/check/linear_search.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* ---- the register ---- */

bool linear_observes(const struct history_op *op)
{
	switch (op->kind) {
	case HISTORY_READ:
	case HISTORY_CAS:
		return true;
	case HISTORY_DELETE:
		return op->outcome == HISTORY_OK && op->result != HISTORY_UNTOLD;
	default:
		return false;
	}
}

static bool apply_delete(const struct history_op *op, uint64_t *value)
{
	bool there = *value != HISTORY_ABSENT;

	*value = HISTORY_ABSENT;
	return !linear_observes(op) || there == (op->result == 1);
}

bool linear_apply(const struct history_op *op, uint64_t *value)
{
	switch (op->kind) {
	case HISTORY_READ:
		return *value == op->result;
	case HISTORY_WRITE:
		*value = op->arg;
		return true;
	case HISTORY_CAS:
		if (op->outcome == HISTORY_OK && op->result == 0)
			return *value != op->arg;
		if (*value != op->arg)
			return false;
		*value = op->arg2;
		return true;
	case HISTORY_DELETE:
		return apply_delete(op, value);
	default:
		return false;
	}
}

/* ---- configurations that were entered ---- */

struct cache {
	struct linear_hash *slots; /* {0, 0}: free */
	size_t size, count, max;
};

static void cache_init(struct cache *c, uint64_t max)
{
	*c = (struct cache){.size = 1024, .max = max};
	c->slots = mem_must_alloc(c->size * sizeof(*c->slots));
}

/* False if it is there. */
static bool cache_put(struct linear_hash *slots, size_t size, struct linear_hash x)
{
	size_t i = x.a & (size - 1);

	for (; (slots[i].a | slots[i].b) != 0; i = (i + 1) & (size - 1))
		if (slots[i].a == x.a && slots[i].b == x.b)
			return false;
	slots[i] = x;
	return true;
}

static void cache_grow(struct cache *c)
{
	struct linear_hash *old = c->slots;
	size_t old_size = c->size;

	c->size *= 2;
	c->slots = mem_must_alloc(c->size * sizeof(*c->slots));
	for (size_t i = 0; i < old_size; i++)
		if ((old[i].a | old[i].b) != 0)
			(void)cache_put(c->slots, c->size, old[i]);
	mem_free(old);
}

static bool cache_add(struct cache *c, struct linear_hash x)
{
	if (!cache_put(c->slots, c->size, x))
		return false;
	c->count++;
	if (c->count > c->size / 2)
		cache_grow(c);
	return true;
}

/* ---- hashes ---- */

static uint64_t mix(uint64_t x) /* splitmix64 */
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static struct linear_hash hash_config(struct linear_hash set, uint64_t value, bool must_observe)
{
	uint64_t v = mix(value ^ 0x5bf03635u);
	uint64_t seen = must_observe ? 0xa0761d6478bd642fu : 0;

	return (struct linear_hash){mix(set.a ^ v ^ seen), mix(set.b + mix(v) + seen) | 1};
}

/* ---- the search ---- */

struct step { /* of the order that is tried */
	uint32_t op;
	bool only;  /* there was no alternative to it */
	bool along; /* taken with the step before it, in front of that one */
	bool must_observe; /* before it */
	uint64_t value;	   /* before it */
};

struct search {
	struct linear_key *k;
	struct linear_op *ops;
	struct step *steps;
	size_t depth;
	struct linear_hash set;
	uint64_t value;
	bool must_observe; /* a maybe was taken last: whoever comes next sees its effect */
	struct cache cache;
	uint64_t tried;
	uint32_t best_rank; /* + 1, of the furthest return that blocked; 0: none yet */
};

/* Heads of the rings. */
static uint32_t definite_head(const struct linear_key *k)
{
	return k->count;
}

static uint32_t maybe_head(const struct linear_key *k)
{
	return k->count + 1;
}

static void ring_append(struct linear_op *ops, uint32_t head, uint32_t i)
{
	uint32_t last = ops[head].prev;

	ops[i].prev = last;
	ops[i].next = head;
	ops[last].next = i;
	ops[head].prev = i;
}

static int by_done(const void *a, const void *b, void *arg)
{
	const struct linear_op *ops = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (ops[x].done_ns != ops[y].done_ns)
		return ops[x].done_ns < ops[y].done_ns ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void link_by_done(struct linear_key *k)
{
	struct linear_op *ops = k->ops;
	uint32_t *order = mem_must_alloc((k->count + 1) * sizeof(*order));
	uint32_t n = 0, last = definite_head(k);

	for (uint32_t i = 0; i < k->count; i++)
		if (!ops[i].maybe)
			order[n++] = i;
	qsort_r(order, n, sizeof(*order), by_done, ops);
	for (uint32_t j = 0; j < n; j++) {
		ops[order[j]].done_rank = j;
		ops[order[j]].done_prev = last;
		ops[last].done_next = order[j];
		last = order[j];
	}
	ops[last].done_next = definite_head(k);
	ops[definite_head(k)].done_prev = last;
	mem_free(order);
}

static void link_all(struct linear_key *k)
{
	uint32_t heads[] = {definite_head(k), maybe_head(k)};

	for (size_t i = 0; i < 2; i++) {
		k->ops[heads[i]] = (struct linear_op){.prev = heads[i], .next = heads[i]};
		k->ops[heads[i]].invoke_ns = HISTORY_NEVER;
	}
	for (uint32_t i = 0; i < k->count; i++) {
		k->ops[i].hash = (struct linear_hash){mix(2 * (uint64_t)i + 1), mix(~(uint64_t)i)};
		ring_append(k->ops, heads[k->ops[i].maybe ? 1 : 0], i);
	}
	link_by_done(k);
}

static void unlink_op(struct search *s, uint32_t i)
{
	struct linear_op *o = &s->ops[i];

	s->ops[o->prev].next = o->next;
	s->ops[o->next].prev = o->prev;
	if (!o->maybe) {
		s->ops[o->done_prev].done_next = o->done_next;
		s->ops[o->done_next].done_prev = o->done_prev;
	}
	o->taken = true;
	s->set.a ^= o->hash.a;
	s->set.b ^= o->hash.b;
}

/* Undoes unlink_op(); they nest. */
static void relink_op(struct search *s, uint32_t i)
{
	struct linear_op *o = &s->ops[i];

	s->ops[o->prev].next = i;
	s->ops[o->next].prev = i;
	if (!o->maybe) {
		s->ops[o->done_prev].done_next = i;
		s->ops[o->done_next].done_prev = i;
	}
	o->taken = false;
	s->set.a ^= o->hash.a;
	s->set.b ^= o->hash.b;
}

static void push(struct search *s, uint32_t i, bool only, bool along)
{
	s->steps[s->depth++] = (struct step){.op = i,
					     .only = only,
					     .along = along,
					     .must_observe = s->must_observe,
					     .value = s->value};
	unlink_op(s, i);
}

/* The first return among those not taken: nothing called after it may be taken. */
static uint64_t bound_ns(const struct search *s)
{
	uint32_t first = s->ops[definite_head(s->k)].done_next;

	return first == definite_head(s->k) ? HISTORY_NEVER : s->ops[first].done_ns;
}

static bool overwrites(const struct linear_op *o)
{
	return !linear_observes(o->op);
}

/* Unseen ones may as well happen directly before one that overwrites: takes all that can be. */
static void take_unseen_along(struct search *s, uint64_t bound)
{
	uint32_t next;

	for (uint32_t i = s->ops[definite_head(s->k)].next; s->ops[i].invoke_ns <= bound; i = next) {
		if (i == definite_head(s->k))
			break;
		next = s->ops[i].next;
		if (s->ops[i].unseen)
			push(s, i, true, true);
	}
}

static void pop(struct search *s)
{
	struct step *t;

	do {
		t = &s->steps[--s->depth];
		relink_op(s, t->op);
	} while (t->along);
	s->value = t->value;
	s->must_observe = t->must_observe;
}

/* Takes @i, if it fits and leads where the search has not been. */
static bool take(struct search *s, uint32_t i, bool only)
{
	const struct linear_op *o = &s->ops[i];
	uint64_t value = s->value, bound = bound_ns(s);

	s->tried++;
	if (!linear_apply(o->op, &value))
		return false;
	push(s, i, only, false);
	if (!o->maybe && overwrites(o))
		take_unseen_along(s, bound);
	s->value = o->unseen ? s->k->unseen_value : value;
	s->must_observe = o->maybe;
	if (cache_add(&s->cache, hash_config(s->set, s->value, s->must_observe)))
		return true;
	pop(s);
	return false;
}

/* One that fits and changes nothing can be taken without loss: it is in nobody's way later. */
static uint32_t find_harmless(const struct search *s, uint64_t bound)
{
	uint32_t head = definite_head(s->k);

	for (uint32_t i = s->ops[head].next; i != head && s->ops[i].invoke_ns <= bound;
	     i = s->ops[i].next) {
		uint64_t value = s->value;

		if (linear_observes(s->ops[i].op) && linear_apply(s->ops[i].op, &value) &&
		    value == s->value)
			return i;
	}
	return LINEAR_NONE;
}

/* Whether it is worth to try the maybe @i: equal ones in order, and only if it changes something. */
static bool maybe_helps(const struct search *s, uint32_t i)
{
	const struct linear_op *o = &s->ops[i];
	uint64_t value = s->value;

	if (o->same != LINEAR_NONE && !s->ops[o->same].taken)
		return false;
	if (s->must_observe && !linear_observes(o->op))
		return false;
	return linear_apply(o->op, &value) && value != s->value;
}

/* An unseen one overwrites, and so do its like that go along: the first stands for all of them. */
static bool definite_helps(const struct search *s, uint32_t i)
{
	const struct linear_op *o = &s->ops[i];

	if (s->must_observe && !linear_observes(o->op))
		return false;
	for (uint32_t j = o->prev; o->unseen && j != definite_head(s->k); j = s->ops[j].prev)
		if (s->ops[j].unseen)
			return false;
	return true;
}

/* Takes the first possible operation from @i on, which is in the list of definite ones, or behind them
 * in that of the maybes. */
static bool advance(struct search *s, uint32_t i)
{
	uint32_t definite = definite_head(s->k), maybe = maybe_head(s->k);
	uint64_t bound = bound_ns(s);

	if (i != maybe && !s->ops[i].maybe) {
		for (; i != definite && s->ops[i].invoke_ns <= bound; i = s->ops[i].next)
			if (definite_helps(s, i) && take(s, i, false))
				return true;
		i = s->ops[maybe].next;
	}
	for (; i != maybe && s->ops[i].invoke_ns <= bound; i = s->ops[i].next)
		if (maybe_helps(s, i) && take(s, i, false))
			return true;
	return false;
}

/* The last steps in the order of effect: those taken along stand before their step. */
static void note_last(const struct search *s, struct linear_stuck *stuck)
{
	size_t end = s->depth, n = 0;
	uint32_t reversed[LINEAR_SHOWN];

	while (end > 0 && n < LINEAR_SHOWN) {
		size_t begin = end - 1;

		while (s->steps[begin].along)
			begin--;
		reversed[n++] = s->steps[begin].op;
		for (size_t j = end - 1; j > begin && n < LINEAR_SHOWN; j--)
			reversed[n++] = s->steps[j].op;
		end = begin;
	}
	for (size_t j = 0; j < n; j++)
		stuck->last[j] = reversed[n - 1 - j];
	stuck->last_count = n;
	stuck->taken = s->depth;
}

static void note_stuck(struct search *s)
{
	struct linear_stuck *stuck = &s->k->stuck;
	uint32_t head = definite_head(s->k);
	uint32_t blocked = s->ops[head].done_next;
	uint64_t bound = s->ops[blocked].done_ns;

	if (s->must_observe || s->ops[blocked].done_rank < s->best_rank)
		return;
	s->best_rank = s->ops[blocked].done_rank + 1;
	stuck->blocked = blocked;
	stuck->value = s->value;
	note_last(s, stuck);
	stuck->pending_count = 0;
	for (uint32_t i = s->ops[head].next; i != head && s->ops[i].invoke_ns <= bound;
	     i = s->ops[i].next)
		if (i != blocked && stuck->pending_count < LINEAR_SHOWN)
			stuck->pending[stuck->pending_count++] = i;
	for (uint32_t i = s->ops[head + 1].next; i != head + 1 && s->ops[i].invoke_ns <= bound;
	     i = s->ops[i].next)
		if (stuck->pending_count < LINEAR_SHOWN)
			stuck->pending[stuck->pending_count++] = i;
}

/* Steps back to where there is another way, and takes it. */
static bool step_back(struct search *s)
{
	note_stuck(s);
	while (s->depth > 0) {
		size_t at = s->depth - 1;
		uint32_t i;
		bool only;

		while (s->steps[at].along)
			at--;
		i = s->steps[at].op;
		only = s->steps[at].only;
		pop(s);
		if (only)
			continue;
		if (advance(s, s->ops[i].next))
			return true;
		note_stuck(s);
	}
	return false;
}

static enum linear_answer run(struct search *s, const struct linear_limits *limits)
{
	uint32_t head = definite_head(s->k);

	while (s->ops[head].done_next != head) {
		uint32_t i = find_harmless(s, bound_ns(s));
		bool on;

		if (s->tried > limits->steps_max || s->cache.count > limits->cached_max)
			return LINEAR_GAVE_UP;
		on = i != LINEAR_NONE ? take(s, i, true) : advance(s, s->ops[head].next);
		if (!on && !step_back(s))
			return LINEAR_NO;
	}
	return LINEAR_YES;
}

enum linear_answer linear_search(struct linear_key *k, const struct linear_limits *limits)
{
	struct search s = {.k = k, .ops = k->ops, .value = HISTORY_ABSENT};
	enum linear_answer answer;

	link_all(k);
	s.steps = mem_must_alloc(((size_t)k->count + 1) * sizeof(*s.steps));
	cache_init(&s.cache, limits->cached_max);
	k->stuck.blocked = LINEAR_NONE;
	answer = run(&s, limits);
	CHECK(answer != LINEAR_NO || k->stuck.blocked != LINEAR_NONE);
	mem_free(s.steps);
	mem_free(s.cache.slots);
	return answer;
}
