#include "net/timer_heap.h"

#include <stddef.h>

#include "base/check.h"

static bool before(const struct env_timer *a, const struct env_timer *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

/* Joins two roots; returns the new one. */
static struct env_timer *merge(struct env_timer *a, struct env_timer *b)
{
	struct env_timer *child;

	if (before(b, a)) {
		struct env_timer *t = a;
		a = b;
		b = t;
	}
	child = a->impl;
	b->prev = a;
	b->next = child;
	if (child)
		child->prev = b;
	a->impl = b;
	return a;
}

static struct env_timer *unlink_sibling(struct env_timer *t)
{
	struct env_timer *next = t->next;

	t->prev = NULL;
	t->next = NULL;
	return next;
}

/* Joins a list of siblings in two passes: pairs from the left, then the pairs from the right. */
static struct env_timer *merge_siblings(struct env_timer *first)
{
	struct env_timer *pairs = NULL;
	struct env_timer *root = NULL;

	while (first) {
		struct env_timer *a = first;
		struct env_timer *b = unlink_sibling(a);

		first = NULL;
		if (b) {
			first = unlink_sibling(b);
			a = merge(a, b);
		}
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct env_timer *a = pairs;

		pairs = unlink_sibling(a);
		root = root ? merge(root, a) : a;
	}
	return root;
}

void timer_heap_insert(struct timer_heap *h, struct env_timer *t)
{
	t->impl = NULL;
	t->prev = NULL;
	t->next = NULL;
	h->root = h->root ? merge(h->root, t) : t;
}

void timer_heap_remove(struct timer_heap *h, struct env_timer *t)
{
	struct env_timer *rest = merge_siblings(t->impl);

	CHECK(h->root != NULL);
	if (t == h->root) {
		h->root = rest;
	} else {
		CHECK(t->prev != NULL);
		if (t->prev->impl == t)
			t->prev->impl = t->next;
		else
			t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		if (rest)
			h->root = merge(h->root, rest);
	}
	t->impl = NULL;
	t->prev = NULL;
	t->next = NULL;
}
