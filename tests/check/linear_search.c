#include "tests/check/linear_search.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"

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

struct linear_hash {
	uint64_t a, b;
};

struct config {
	struct linear_hash hash; /* of definite operations taken, value, must_observe */
	uint32_t next;		 /* in its chain */
};

struct cache {
	struct config *configs;
	uint64_t *taken; /* a row of @words bits per configuration: the maybes it has taken */
	size_t count, cap, words;
	uint32_t *chains;
	size_t chain_count; /* a power of two */
};

static void cache_init(struct cache *c, uint32_t maybes)
{
	*c = (struct cache){.cap = 1024, .chain_count = 1024, .words = maybes / 64 + 1};
	c->configs = mem_must_alloc(c->cap * sizeof(*c->configs));
	c->taken = mem_must_alloc(c->cap * c->words * sizeof(*c->taken));
	c->chains = mem_must_alloc(c->chain_count * sizeof(*c->chains));
	memset(c->chains, 0xff, c->chain_count * sizeof(*c->chains));
}

static void cache_release(struct cache *c)
{
	mem_free(c->configs);
	mem_free(c->taken);
	mem_free(c->chains);
}

static void cache_grow(struct cache *c)
{
	c->cap *= 2;
	c->configs = mem_must_realloc(c->configs, c->cap * sizeof(*c->configs));
	c->taken = mem_must_realloc(c->taken, c->cap * c->words * sizeof(*c->taken));
	c->chain_count = c->cap;
	c->chains = mem_must_realloc(c->chains, c->chain_count * sizeof(*c->chains));
	memset(c->chains, 0xff, c->chain_count * sizeof(*c->chains));
	for (size_t i = 0; i < c->count; i++) {
		uint32_t *chain = &c->chains[c->configs[i].hash.a & (c->chain_count - 1)];

		c->configs[i].next = *chain;
		*chain = (uint32_t)i;
	}
}

static bool is_subset(const uint64_t *a, const uint64_t *b, size_t words)
{
	for (size_t w = 0; w < words; w++)
		if ((a[w] & ~b[w]) != 0)
			return false;
	return true;
}

/* False if one was entered from which all can be done that can be done from this: it differs at most
 * in that it has taken fewer of the maybes. */
static bool cache_add(struct cache *c, struct linear_hash hash, const uint64_t *taken)
{
	uint32_t *chain;

	if (c->count == c->cap)
		cache_grow(c);
	chain = &c->chains[hash.a & (c->chain_count - 1)];
	for (uint32_t i = *chain; i != LINEAR_NONE; i = c->configs[i].next) {
		const struct config *x = &c->configs[i];

		if (x->hash.a == hash.a && x->hash.b == hash.b &&
		    is_subset(c->taken + (size_t)i * c->words, taken, c->words))
			return false;
	}
	c->configs[c->count] = (struct config){.hash = hash, .next = *chain};
	memcpy(c->taken + c->count * c->words, taken, c->words * sizeof(*taken));
	*chain = (uint32_t)c->count++;
	return true;
}

/* ---- hashes ---- */

static uint64_t mix(uint64_t x)
{
	return splitmix64(&x);
}

/* The share of operation @i in the hash of a set. */
static struct linear_hash hash_op(uint32_t i)
{
	return (struct linear_hash){mix(2 * (uint64_t)i + 1), mix(~(uint64_t)i)};
}

static struct linear_hash hash_config(struct linear_hash set, uint64_t value, bool must_observe)
{
	uint64_t v = mix(value ^ 0x5bf03635u);
	uint64_t seen = must_observe ? 0xa0761d6478bd642fu : 0;

	return (struct linear_hash){mix(set.a ^ v ^ seen), mix(set.b + mix(v) + seen)};
}

/* ---- the search ---- */

struct step { /* of the order that is tried */
	uint32_t op;
	bool only;  /* there was no alternative to it */
	bool along; /* taken with the step before it, in front of that one */
	bool must_observe; /* before it, */
	uint64_t value;
	uint32_t name;
};

struct search {
	struct linear_key *k;
	struct linear_op *ops;
	struct step *steps;
	size_t depth;
	struct linear_hash set; /* of the definite ones taken */
	uint64_t *maybes;	/* taken: a bit each */
	uint64_t value;
	uint32_t name;	   /* of the value, or LINEAR_NONE */
	uint32_t *missing; /* by name: definite operations, not taken, that must find it */
	uint32_t *makers;  /* by name: operations, not taken, that leave it */
	bool must_observe; /* a maybe was taken last: whoever comes next sees its effect */
	struct cache cache;
	uint64_t tried;
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
		ops[order[j]].done_prev = last;
		ops[last].done_next = order[j];
		last = order[j];
	}
	ops[last].done_next = definite_head(k);
	ops[definite_head(k)].done_prev = last;
	mem_free(order);
}

/* Returns the number of maybes. */
static uint32_t link_all(struct linear_key *k)
{
	uint32_t maybes = 0;
	uint32_t heads[] = {definite_head(k), maybe_head(k)};

	for (size_t i = 0; i < 2; i++) {
		k->ops[heads[i]] = (struct linear_op){.prev = heads[i], .next = heads[i]};
		k->ops[heads[i]].invoke_ns = HISTORY_NEVER;
	}
	for (uint32_t i = 0; i < k->count; i++) {
		if (k->ops[i].maybe)
			k->ops[i].maybe_index = maybes++;
		ring_append(k->ops, heads[k->ops[i].maybe ? 1 : 0], i);
	}
	link_by_done(k);
	return maybes;
}

/* Operation @i is taken (@by -1), or no longer (1). */
static void count(struct search *s, uint32_t i, uint32_t by)
{
	struct linear_op *o = &s->ops[i];
	struct linear_hash hash = hash_op(i);

	o->taken = by != 1;
	if (o->finds != LINEAR_NONE)
		s->missing[o->finds] += by;
	if (o->leaves != LINEAR_NONE)
		s->makers[o->leaves] += by;
	if (o->maybe) {
		s->maybes[o->maybe_index / 64] ^= UINT64_C(1) << (o->maybe_index % 64);
		return;
	}
	s->set.a ^= hash.a;
	s->set.b ^= hash.b;
}

static void unlink_op(struct search *s, uint32_t i)
{
	const struct linear_op *o = &s->ops[i];

	s->ops[o->prev].next = o->next;
	s->ops[o->next].prev = o->prev;
	if (!o->maybe) {
		s->ops[o->done_prev].done_next = o->done_next;
		s->ops[o->done_next].done_prev = o->done_prev;
	}
	count(s, i, (uint32_t)-1);
}

/* Undoes unlink_op(); they nest. */
static void relink_op(struct search *s, uint32_t i)
{
	const struct linear_op *o = &s->ops[i];

	s->ops[o->prev].next = i;
	s->ops[o->next].prev = i;
	if (!o->maybe) {
		s->ops[o->done_prev].done_next = i;
		s->ops[o->done_next].done_prev = i;
	}
	count(s, i, 1);
}

static void push(struct search *s, uint32_t i, bool only, bool along)
{
	s->steps[s->depth++] = (struct step){.op = i,
					     .only = only,
					     .along = along,
					     .must_observe = s->must_observe,
					     .value = s->value,
					     .name = s->name};
	unlink_op(s, i);
}

/* The first return among those not taken: nothing called after it may be taken. */
static uint64_t bound_ns(const struct search *s)
{
	uint32_t first = s->ops[definite_head(s->k)].done_next;

	return first == definite_head(s->k) ? HISTORY_NEVER : s->ops[first].done_ns;
}

/* Leaves a value of its own, should it be equal to the one before or not. */
static bool changes(const struct linear_op *o)
{
	return o->leaves != LINEAR_NONE || o->unnamed;
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
	s->name = t->name;
	s->must_observe = t->must_observe;
}

/* The value that was there before is gone for good, and somebody must still find it. */
static bool is_dead(const struct search *s, uint32_t before)
{
	return before != LINEAR_NONE && before != s->name && s->missing[before] > 0 &&
	       s->makers[before] == 0;
}

/* Takes @i, if it fits and leads where the search has not been. */
static bool take(struct search *s, uint32_t i, bool only)
{
	const struct linear_op *o = &s->ops[i];
	uint64_t value = s->value, bound = bound_ns(s);
	uint32_t before = s->name;

	s->tried++;
	if (!linear_apply(o->op, &value))
		return false;
	push(s, i, only, false);
	if (!o->maybe && overwrites(o))
		take_unseen_along(s, bound);
	if (changes(o)) {
		s->value = o->unnamed ? s->k->unnamed_value : value;
		s->name = o->leaves;
	}
	s->must_observe = o->maybe;
	if (!is_dead(s, before) &&
	    cache_add(&s->cache, hash_config(s->set, s->value, s->must_observe), s->maybes))
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
static void note_order(const struct search *s, struct linear_order *order)
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
		order->last[j] = reversed[n - 1 - j];
	order->last_count = n;
	order->count = s->depth;
}

/* Steps back to where there is another way, and takes it. */
static bool step_back(struct search *s)
{
	while (s->depth > 0) {
		size_t at = s->depth - 1;
		uint32_t i;
		bool only;

		while (s->steps[at].along)
			at--;
		i = s->steps[at].op;
		only = s->steps[at].only;
		pop(s);
		if (!only && advance(s, s->ops[i].next))
			return true;
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

static void search_init(struct search *s, struct linear_key *k)
{
	uint32_t maybes = link_all(k);

	*s = (struct search){.k = k, .ops = k->ops, .value = HISTORY_ABSENT, .name = k->absent_name};
	s->steps = mem_must_alloc(((size_t)k->count + 1) * sizeof(*s->steps));
	s->maybes = mem_must_alloc((maybes / 64 + 1) * sizeof(*s->maybes));
	s->missing = mem_must_alloc(((size_t)k->names + 1) * sizeof(*s->missing));
	s->makers = mem_must_alloc(((size_t)k->names + 1) * sizeof(*s->makers));
	for (uint32_t i = 0; i < k->count; i++) {
		if (k->ops[i].finds != LINEAR_NONE)
			s->missing[k->ops[i].finds]++;
		if (k->ops[i].leaves != LINEAR_NONE)
			s->makers[k->ops[i].leaves]++;
	}
	cache_init(&s->cache, maybes);
}

enum linear_answer linear_search(struct linear_key *k, const struct linear_limits *limits)
{
	struct search s;
	enum linear_answer answer;

	search_init(&s, k);
	answer = run(&s, limits);
	note_order(&s, &k->order);
	mem_free(s.steps);
	mem_free(s.maybes);
	mem_free(s.missing);
	mem_free(s.makers);
	cache_release(&s.cache);
	return answer;
}
