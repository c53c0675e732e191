/* Several calls of one client at the same time: a fiber each, and one that waits for them. */
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"

struct fan_item {
	struct fan *fan;
	struct fiber *fiber; /* NULL before it runs and after it has ended */
	uint32_t index;
};

struct fan {
	kv_fan_fn *fn;
	void *ctx;
	struct fiber *waiter;
	struct fan_item *items;
	uint32_t count, left;
	bool interrupted; /* those that have not begun take the mark when they do */
	int err;
};

static void fan_done(struct fan *f, int err)
{
	if (err && !f->err)
		f->err = err;
	f->left--;
}

static void fan_fiber(void *arg)
{
	struct fan_item *it = arg;
	struct fan *f = it->fan;

	it->fiber = fiber_self();
	if (f->interrupted)
		fiber_interrupt(it->fiber);
	fan_done(f, f->fn(f->ctx, it->index));
	it->fiber = NULL;
	if (f->left == 0)
		fiber_wake(f->waiter);
}

static void fan_interrupt(struct fan *f)
{
	f->interrupted = true;
	for (uint32_t i = 1; i < f->count; i++)
		if (f->items[i].fiber)
			fiber_interrupt(f->items[i].fiber);
}

int kv__fan_out(struct kv_client *c, uint32_t n, kv_fan_fn *fn, void *ctx)
{
	struct fan f = {.fn = fn, .ctx = ctx, .waiter = fiber_self(), .count = n, .left = n};

	if (n <= 1)
		return n == 0 ? 0 : fn(ctx, 0);
	f.items = mem_must_alloc(sizeof(*f.items) * n);
	for (uint32_t i = 1; i < n; i++) {
		int err;

		f.items[i] = (struct fan_item){.fan = &f, .index = i};
		err = fiber_start(c->cfg.fibers, fan_fiber, &f.items[i]);
		if (err)
			fan_done(&f, err);
	}
	fan_done(&f, fn(ctx, 0));
	while (f.left > 0) { /* the others use this frame: an interrupt is passed on to them */
		if (fiber_interrupted() && !f.interrupted)
			fan_interrupt(&f);
		fiber_park();
	}
	mem_free(f.items);
	return f.err;
}
