#include "net/loop_parts.h"

#include <stddef.h>

#include "base/check.h"

/* ---- timers ---- */

void loop_timers_cancel(struct loop_timers *q, struct env_timer *t)
{
	if (!t->armed)
		return;
	timer_heap_remove(&q->heap, t);
	t->armed = false;
}

void loop_timers_set(struct loop_timers *q, struct env_timer *t, uint64_t at_ns)
{
	CHECK(t->fire != NULL);
	loop_timers_cancel(q, t);
	/* Behind all that is due now, so that a timer that re-arms itself starves nobody. */
	t->at_ns = at_ns > q->firing_ns ? at_ns : q->firing_ns;
	t->order = ++q->order;
	t->armed = true;
	timer_heap_insert(&q->heap, t);
}

void loop_timers_fire(struct loop_timers *q, uint64_t now_ns)
{
	uint64_t order_max = q->order;
	struct env_timer *t;

	q->firing_ns = now_ns;
	while ((t = q->heap.root) && t->at_ns <= now_ns && t->order <= order_max) {
		timer_heap_remove(&q->heap, t);
		t->armed = false;
		t->fire(t);
	}
	q->firing_ns = 0;
}

/* ---- turn callbacks ---- */

void loop_turns_init(struct loop_turns *q)
{
	*q = (struct loop_turns){.end = &q->first};
}

void loop_turns_add(struct loop_turns *q, struct loop_turn *t)
{
	t->next = NULL;
	*q->end = t;
	q->end = &t->next;
}

void loop_turns_remove(struct loop_turns *q, struct loop_turn *t)
{
	struct loop_turn **at = &q->first;

	while (*at && *at != t)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = t->next;
	if (q->end == &t->next)
		q->end = at;
	if (q->next == t)
		q->next = t->next;
}

void loop_turns_run(struct loop_turns *q)
{
	q->next = q->first;
	while (q->next) {
		struct loop_turn *t = q->next;

		q->next = t->next; /* loop_turns_remove() moves it on */
		t->run(t);
	}
}
