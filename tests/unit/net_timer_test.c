/* The timer heap against a model. */
#include <stdlib.h>

#include "net/timer_heap.h"
#include "tests/lib/check.h"

#define COUNT 2000

static struct env_timer timers[COUNT];
static struct timer_heap heap;

static void setup(void)
{
	heap.root = NULL;
	for (unsigned i = 0; i < COUNT; i++)
		timers[i] = (struct env_timer){.order = i};
	srandom(7);
}

static void insert(unsigned i, uint64_t at_ns)
{
	timers[i].at_ns = at_ns;
	timers[i].armed = true;
	timer_heap_insert(&heap, &timers[i]);
}

static struct env_timer *pop(void)
{
	struct env_timer *t = heap.root;

	timer_heap_remove(&heap, t);
	t->armed = false;
	return t;
}

/* The earliest of the armed ones, the slow way. */
static struct env_timer *model_first(void)
{
	struct env_timer *first = NULL;

	for (unsigned i = 0; i < COUNT; i++) {
		struct env_timer *t = &timers[i];

		if (t->armed && (!first || t->at_ns < first->at_ns ||
				 (t->at_ns == first->at_ns && t->order < first->order)))
			first = t;
	}
	return first;
}

static void pops_in_order_of_time_then_of_setting(void)
{
	for (unsigned i = 0; i < COUNT; i++)
		insert(i, (uint64_t)random() % 100);
	for (unsigned i = 0; i < COUNT; i++) {
		struct env_timer *want = model_first();

		CHECK_PTR_EQ(pop(), want);
	}
	CHECK_NULL(heap.root);
}

static void agrees_with_the_model_under_random_use(void)
{
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = (unsigned)random() % COUNT;

		if (!timers[i].armed) {
			insert(i, (uint64_t)random() % 1000);
		} else if (random() % 2) {
			timer_heap_remove(&heap, &timers[i]);
			timers[i].armed = false;
		} else {
			struct env_timer *want = heap.root;

			CHECK_PTR_EQ(pop(), want);
		}
		if (step % 16 == 0)
			CHECK_PTR_EQ(heap.root, model_first());
	}
	while (heap.root) {
		struct env_timer *want = model_first();

		CHECK_PTR_EQ(pop(), want);
	}
	CHECK_NULL(model_first());
}

static void removes_from_any_place(void)
{
	for (unsigned i = 0; i < 100; i++)
		insert(i, 100 - i);
	(void)pop(); /* gives the heap its shape */
	for (unsigned i = 0; i < 99; i += 2) {
		timer_heap_remove(&heap, &timers[i]);
		timers[i].armed = false;
		CHECK_PTR_EQ(heap.root, model_first());
	}
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, NULL, pops_in_order_of_time_then_of_setting),
	CHECK_TEST_WITH(setup, NULL, agrees_with_the_model_under_random_use),
	CHECK_TEST_WITH(setup, NULL, removes_from_any_place),
};
CHECK_MAIN(tests)
