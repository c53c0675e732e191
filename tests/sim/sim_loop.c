/* net/loop.h on virtual time. A turn is as in net/loop.c: what has arrived, due timers, ready fibers,
 * turn callbacks, then the sockets' writes. What needs no poll is shared: net/loop_parts.h. */
#include "net/loop.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/loop_parts.h"
#include "net/loop_private.h"
#include "tests/sim/sim_internal.h"

#define TURN_MIN_NS	500u		    /* a turn takes so long at least, */
#define TURN_MAX_NS	(5 * NS_PER_US)	    /* at most */
#define ASYNC_MAX_NS	(30 * NS_PER_US)    /* until a wake-up arrives */
#define FREE_ROUNDS_MAX 64u

struct loop {
	struct env env;
	struct sim_proc *proc;
	struct sim_thread *thread;
	struct loop_timers timers;
	bool kicked, stopped;
	struct fiber_sched *fibers;
	struct loop_turns turns;
	struct loop_ext *ext;
	struct sim_item **items; /* a heap by (at, order) */
	size_t item_count, item_cap;
	uint64_t item_order;
};

/* ---- env ---- */

static struct loop *loop_of(struct env *e)
{
	return container_of(e, struct loop, env);
}

static uint64_t env_mono(struct env *e)
{
	return sim_clock_mono(&loop_of(e)->proc->machine->clock);
}

static uint64_t env_wall(struct env *e)
{
	return sim_clock_wall(&loop_of(e)->proc->machine->clock);
}

static uint64_t env_rand(struct env *e)
{
	(void)e;
	return sim_random();
}

static void timer_cancel(struct env *e, struct env_timer *t)
{
	loop_timers_cancel(&loop_of(e)->timers, t);
}

static void timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
	loop_timers_set(&loop_of(e)->timers, t, at_ns);
}

/* ---- what arrives ---- */

static bool earlier(const struct sim_item *a, const struct sim_item *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim__loop_post(struct loop *l, struct sim_item *item, uint64_t at_ns)
{
	size_t i = l->item_count++;

	item->at = at_ns;
	item->order = ++l->item_order;
	if (l->item_count > l->item_cap) {
		l->item_cap = l->item_cap ? l->item_cap * 2 : 64;
		l->items = mem_must_realloc(l->items, l->item_cap * sizeof(struct sim_item *));
	}
	for (; i > 0 && earlier(item, l->items[(i - 1) / 2]); i = (i - 1) / 2)
		l->items[i] = l->items[(i - 1) / 2];
	l->items[i] = item;
	sim_unpark(l->thread, at_ns);
}

static struct sim_item *take_item(struct loop *l)
{
	struct sim_item *top = l->items[0];
	struct sim_item *last = l->items[--l->item_count];
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < l->item_count; i = child) {
		if (child + 1 < l->item_count && earlier(l->items[child + 1], l->items[child]))
			child++;
		if (!earlier(l->items[child], last))
			break;
		l->items[i] = l->items[child];
	}
	l->items[i] = last;
	return top;
}

struct sim_proc *sim__loop_proc(struct loop *l)
{
	return l->proc;
}

/* ---- the turn ---- */

static void run_items(struct loop *l)
{
	uint64_t now = sim_now();

	while (l->item_count > 0 && l->items[0]->at <= now) {
		struct sim_item *i = take_item(l);

		i->run(i);
	}
}

static void turn(struct loop *l)
{
	run_items(l);
	if (l->timers.heap.root)
		loop_timers_fire(&l->timers, env_mono(&l->env));
	fiber_sched_run(l->fibers);
	l->kicked = false;
	loop_turns_run(&l->turns);
	if (l->ext)
		l->ext->flush(l->ext);
}

static uint64_t next_due(const struct loop *l)
{
	uint64_t at = UINT64_MAX;

	if (l->kicked || (l->ext && l->ext->pending(l->ext)))
		return sim_now();
	if (l->timers.heap.root && l->timers.heap.root->at_ns != UINT64_MAX)
		at = sim_clock_world(&l->proc->machine->clock, l->timers.heap.root->at_ns);
	if (l->item_count > 0 && l->items[0]->at < at)
		at = l->items[0]->at;
	return at;
}

void loop_run(struct loop *l)
{
	CHECK(fiber_self() == NULL && sim_thread_self() == l->thread);
	l->stopped = false;
	l->kicked = true;
	while (!l->stopped) {
		uint64_t due = next_due(l);

		if (due > sim_now())
			sim_park_until(due);
		turn(l);
		sim_sleep(sim_between(TURN_MIN_NS, TURN_MAX_NS));
	}
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

void loop__kick(struct loop *l)
{
	l->kicked = true;
}

static void on_fibers_ready(void *ctx)
{
	loop__kick(ctx);
}

void loop_on_turn(struct loop *l, struct loop_turn *t)
{
	loop_turns_add(&l->turns, t);
	loop__kick(l);
}

void loop_off_turn(struct loop *l, struct loop_turn *t)
{
	loop_turns_remove(&l->turns, t);
}

/* ---- life ---- */

int loop_new(struct loop **out, struct msg *m)
{
	struct loop *l = mem_must_alloc(sizeof(*l));

	(void)m;
	CHECK(sim_thread_is_main());
	l->proc = sim_self();
	l->thread = sim_thread_self();
	loop_turns_init(&l->turns);
	l->env = (struct env){
		.mono_ns = env_mono,
		.wall_ns = env_wall,
		.random = env_rand,
		.timer_set = timer_set,
		.timer_cancel = timer_cancel,
	};
	l->fibers = fiber_sched_new(&l->env, on_fibers_ready, l);
	*out = l;
	return 0;
}

/* Lets what was closed end, and the fibers that heard of it. */
void loop_free(struct loop *l)
{
	if (!l)
		return;
	loop_turns_init(&l->turns);
	for (unsigned i = 0; i < FREE_ROUNDS_MAX; i++) {
		turn(l);
		sim_sleep(NS_PER_US);
	}
	if (l->ext)
		l->ext->release(l->ext);
	fiber_sched_free(l->fibers);
	mem_free(l->items);
	mem_free(l);
}

struct env *loop_env(struct loop *l)
{
	return &l->env;
}

struct fiber_sched *loop_fibers(struct loop *l)
{
	return l->fibers;
}

struct uv_loop_s *loop__uv(struct loop *l)
{
	(void)l;
	CHECK(!"there is no libuv in the simulator");
	return NULL;
}

void loop__set_ext(struct loop *l, struct loop_ext *x)
{
	CHECK(l->ext == NULL);
	l->ext = x;
}

struct loop_ext *loop__ext(struct loop *l)
{
	return l->ext;
}

/* ---- wake-ups from other threads ---- */

struct loop_async {
	struct loop *loop;
	void (*fn)(void *ctx);
	void *ctx;
	struct async_item *pending;
};

struct async_item {
	struct sim_item item;
	struct loop_async *async; /* NULL: it was freed meanwhile */
};

static void async_run(struct sim_item *i)
{
	struct async_item *ai = container_of(i, struct async_item, item);
	struct loop_async *a = ai->async;

	mem_free(ai);
	if (!a)
		return;
	a->pending = NULL;
	a->fn(a->ctx);
}

int loop_async_new(struct loop *l, void (*fn)(void *ctx), void *ctx, struct loop_async **out)
{
	struct loop_async *a = mem_must_alloc(sizeof(*a));

	*a = (struct loop_async){.loop = l, .fn = fn, .ctx = ctx};
	*out = a;
	return 0;
}

void loop_async_send(struct loop_async *a)
{
	if (a->pending)
		return;
	a->pending = mem_must_alloc(sizeof(*a->pending));
	a->pending->async = a;
	a->pending->item.run = async_run;
	sim__loop_post(a->loop, &a->pending->item, sim_now() + sim_below(ASYNC_MAX_NS));
}

void loop_async_free(struct loop_async *a)
{
	if (!a)
		return;
	if (a->pending)
		a->pending->async = NULL;
	mem_free(a);
}
