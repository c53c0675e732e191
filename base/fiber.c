/* Contexts are started by setcontext() and switched by _setjmp()/_longjmp() from then on: a switch
 * of ucontext costs a system call for the signal mask, this one costs none. A fiber that ends goes
 * to a pool with its context still alive, parked in fiber_main(), so most starts cost none either.
 */
#undef _FORTIFY_SOURCE /* its longjmp() refuses to go to a frame that is not an outer one */

#include "base/fiber.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

/*                fiber_start
 *      (none), IDLE ------> READY <----------------- PARKED
 *                             |      fiber_wake        ^
 *         fiber_sched_run     v                        |
 *                          RUNNING --------------------+
 *                           |   |      fiber_park
 *           fn returns      |   +---> READY  fiber_yield
 *                 IDLE <----+
 */
enum fiber_state { FIBER_IDLE, FIBER_READY, FIBER_RUNNING, FIBER_PARKED };

/* One side of a switch: the scheduler's own stack or a fiber's. */
struct context {
	jmp_buf env;
	const void *stack; /* lowest usable byte; the scheduler's is told by ASan */
	size_t stack_size;
	void *fake_stack; /* ASan's, kept while switched away */
	void *tsan;       /* TSan's */
};

struct fiber {
	struct context ctx;
	struct fiber_sched *sched;
	fiber_fn *fn; /* NULL tells an idle fiber to leave its stack for good */
	void *arg;
	enum fiber_state state;
	bool started;     /* ctx.env may be jumped to */
	bool wake;        /* a wake that no park has consumed */
	bool interrupted; /* until fiber_interrupt_clear() */
	TAILQ_ENTRY(fiber) link;   /* in ready or idle */
	struct fiber *mutex_next;  /* in a fiber_mutex's waiters */
	void *map;                 /* guard page and stack */
	size_t map_size;
};

TAILQ_HEAD(fiber_queue, fiber);

struct fiber_sched {
	struct env *env;
	void (*on_ready)(void *ctx);
	void *on_ready_ctx;
	struct context main;
	struct fiber *current;
	struct fiber_queue ready;
	struct fiber_queue idle;
	size_t idle_count;
	size_t live;
	bool running; /* inside fiber_sched_run() */
};

static _Thread_local struct fiber_sched *running_sched;

struct fiber *fiber_self(void)
{
	return running_sched != NULL ? running_sched->current : NULL;
}

struct fiber_sched *fiber_sched_self(void)
{
	return fiber_self() != NULL ? running_sched : NULL;
}

void fiber_abandon(void)
{
	running_sched = NULL;
}

/* ---- switching ---- */

static void before_switch(struct context *from, const struct context *to, bool from_ends)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(from_ends ? NULL : &from->fake_stack, to->stack,
				       to->stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	(void)from;
	(void)to;
	(void)from_ends;
}

/* On @self's stack, just entered; @came_from, if given, learns the bounds of the stack left. */
static void after_switch(struct context *self, struct context *came_from)
{
#if defined(__SANITIZE_ADDRESS__)
	const void *stack;
	size_t size;

	__sanitizer_finish_switch_fiber(self->fake_stack, &stack, &size);
	if (came_from != NULL) {
		came_from->stack = stack;
		came_from->stack_size = size;
	}
#endif
	(void)self;
	(void)came_from;
}

_Noreturn static void fiber_main(void);

/* makecontext() takes no pointer: fiber_main() finds its fiber in running_sched->current. (setcontext
 * leaves this frame for good: AddressSanitizer must put no red zones into it.) */
__attribute__((no_sanitize("address"))) _Noreturn static void context_start(struct fiber *f)
{
	ucontext_t uc;

	CHECK(getcontext(&uc) == 0);
	uc.uc_stack.ss_sp = (char *)f->map + (f->map_size - f->ctx.stack_size);
	uc.uc_stack.ss_size = f->ctx.stack_size;
	uc.uc_link = NULL;
	makecontext(&uc, fiber_main, 0);
	setcontext(&uc);
	CHECK(!"setcontext returned");
	__builtin_unreachable();
}

/* Runs @f on its stack until it switches back. */
static void switch_to_fiber(struct fiber_sched *s, struct fiber *f)
{
	if (_setjmp(s->main.env) == 0) {
		before_switch(&s->main, &f->ctx, false);
		if (f->started)
			_longjmp(f->ctx.env, 1);
		f->started = true;
		context_start(f);
	}
	after_switch(&running_sched->main, NULL);
}

static void switch_to_sched(struct fiber *f)
{
	if (_setjmp(f->ctx.env) == 0) {
		before_switch(&f->ctx, &f->sched->main, false);
		_longjmp(f->sched->main.env, 1);
	}
	after_switch(&running_sched->current->ctx, &running_sched->main);
}

static void fiber_main(void)
{
	struct fiber *f = running_sched->current;

	after_switch(&f->ctx, &f->sched->main);
	while (f->fn != NULL) {
		f->fn(f->arg);
		f->state = FIBER_IDLE;
		switch_to_sched(f);
	}
	before_switch(&f->ctx, &f->sched->main, true);
	_longjmp(f->sched->main.env, 1);
}

/* ---- fibers and their stacks ---- */

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* The guard page lies below the stack, which grows down into it: an overflow is a SIGSEGV, not a
 * write into a neighbour. */
static int stack_map(struct fiber *f)
{
	size_t guard = page_size();

	f->map_size = guard + FIBER_STACK_SIZE;
	f->map = mmap(NULL, f->map_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (f->map == MAP_FAILED)
		return ERR_NOMEM;
	if (mprotect(f->map, guard, PROT_NONE) != 0) {
		munmap(f->map, f->map_size);
		return ERR_NOMEM;
	}
	f->ctx.stack = (const char *)f->map + guard;
	f->ctx.stack_size = FIBER_STACK_SIZE;
	return 0;
}

static int fiber_new(struct fiber_sched *s, struct fiber **out)
{
	struct fiber *f = mem_try_alloc(sizeof(*f));

	if (f == NULL)
		return ERR_NOMEM;
	*f = (struct fiber){.sched = s};
	if (stack_map(f) != 0) {
		mem_free(f);
		return ERR_NOMEM;
	}
#if defined(__SANITIZE_THREAD__)
	f->ctx.tsan = __tsan_create_fiber(0);
#endif
	*out = f;
	return 0;
}

/* Runs @f, which is current until it switches back. */
static void run_one(struct fiber_sched *s, struct fiber *f)
{
	s->current = f;
	running_sched = s;
	switch_to_fiber(s, f);
	running_sched = NULL;
	s->current = NULL;
}

static void fiber_free(struct fiber_sched *s, struct fiber *f)
{
	CHECK(f->state == FIBER_IDLE);
	f->fn = NULL;
	run_one(s, f); /* so that sanitizers see the stack left for good */
#if defined(__SANITIZE_ADDRESS__)
	__asan_unpoison_memory_region(f->ctx.stack, f->ctx.stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
	__tsan_destroy_fiber(f->ctx.tsan);
#endif
	munmap(f->map, f->map_size);
	mem_free(f);
}

static void fiber_retire(struct fiber_sched *s, struct fiber *f)
{
	s->live--;
	if (s->idle_count >= FIBER_IDLE_MAX) {
		fiber_free(s, f);
		return;
	}
	TAILQ_INSERT_HEAD(&s->idle, f, link); /* the warmest stack is the next to be used */
	s->idle_count++;
}

static void make_ready(struct fiber *f)
{
	struct fiber_sched *s = f->sched;
	bool was_empty = TAILQ_EMPTY(&s->ready);

	f->state = FIBER_READY;
	TAILQ_INSERT_TAIL(&s->ready, f, link);
	if (was_empty && !s->running && s->on_ready != NULL)
		s->on_ready(s->on_ready_ctx);
}

int fiber_start(struct fiber_sched *s, fiber_fn *fn, void *arg)
{
	struct fiber *f = TAILQ_FIRST(&s->idle);

	CHECK(fn != NULL);
	if (f != NULL) {
		TAILQ_REMOVE(&s->idle, f, link);
		s->idle_count--;
	} else if (fiber_new(s, &f) != 0) {
		return ERR_NOMEM;
	}
	f->fn = fn;
	f->arg = arg;
	f->wake = false;
	f->interrupted = false;
	s->live++;
	make_ready(f);
	return 0;
}

/* ---- the scheduler ---- */

struct fiber_sched *fiber_sched_new(struct env *env, void (*on_ready)(void *ctx), void *ctx)
{
	struct fiber_sched *s = mem_must_alloc(sizeof(*s));

	s->env = env;
	s->on_ready = on_ready;
	s->on_ready_ctx = ctx;
	TAILQ_INIT(&s->ready);
	TAILQ_INIT(&s->idle);
	return s;
}

void fiber_sched_free(struct fiber_sched *s)
{
	struct fiber *f;

	if (s == NULL)
		return;
	CHECK(s->live == 0);
	CHECK(running_sched == NULL);
#if defined(__SANITIZE_THREAD__)
	s->main.tsan = __tsan_get_current_fiber();
#endif
	while ((f = TAILQ_FIRST(&s->idle)) != NULL) {
		TAILQ_REMOVE(&s->idle, f, link);
		fiber_free(s, f);
	}
	mem_free(s);
}

void fiber_sched_run(struct fiber_sched *s)
{
	struct fiber *f;

	CHECK(running_sched == NULL);
	CHECK(!s->running);
#if defined(__SANITIZE_THREAD__)
	s->main.tsan = __tsan_get_current_fiber();
#endif
	s->running = true;
	while ((f = TAILQ_FIRST(&s->ready)) != NULL) {
		CHECK(f->state == FIBER_READY);
		TAILQ_REMOVE(&s->ready, f, link);
		f->state = FIBER_RUNNING;
		run_one(s, f);
		if (f->state == FIBER_IDLE)
			fiber_retire(s, f);
	}
	s->running = false;
}

size_t fiber_count(const struct fiber_sched *s)
{
	return s->live;
}

/* ---- waiting ---- */

void fiber_park(void)
{
	struct fiber *f = fiber_self();

	CHECK(f != NULL);
	if (!f->wake) {
		f->state = FIBER_PARKED;
		switch_to_sched(f);
	}
	f->wake = false;
}

void fiber_wake(struct fiber *f)
{
	CHECK(f->state != FIBER_IDLE);
	f->wake = true;
	if (f->state == FIBER_PARKED)
		make_ready(f);
}

void fiber_yield(void)
{
	struct fiber *f = fiber_self();

	CHECK(f != NULL);
	make_ready(f);
	switch_to_sched(f);
}

void fiber_interrupt(struct fiber *f)
{
	f->interrupted = true;
	fiber_wake(f);
}

bool fiber_interrupted(void)
{
	struct fiber *f = fiber_self();

	return f != NULL && f->interrupted;
}

void fiber_interrupt_clear(void)
{
	struct fiber *f = fiber_self();

	CHECK(f != NULL);
	f->interrupted = false;
}

struct sleeper {
	struct env_timer timer;
	struct fiber *fiber;
	bool fired;
};

static void sleeper_fire(struct env_timer *t)
{
	struct sleeper *sl = container_of(t, struct sleeper, timer);

	sl->fired = true;
	fiber_wake(sl->fiber);
}

int fiber_sleep(uint64_t ns)
{
	struct sleeper sl = {.timer = {.fire = sleeper_fire}, .fiber = fiber_self()};
	struct env *env;
	uint64_t now;

	CHECK(sl.fiber != NULL);
	if (fiber_interrupted())
		return ERR_INTERRUPTED;
	env = sl.fiber->sched->env;
	now = env_mono_ns(env);
	env_timer_set(env, &sl.timer, ns <= UINT64_MAX - now ? now + ns : UINT64_MAX);
	while (!sl.fired && !fiber_interrupted())
		fiber_park();
	if (sl.fired)
		return 0;
	env_timer_cancel(env, &sl.timer);
	return ERR_INTERRUPTED;
}

/* ---- mutex ---- */

void fiber_mutex_lock(struct fiber_mutex *m)
{
	struct fiber *f = fiber_self();

	CHECK(f != NULL);
	CHECK(m->holder != f);
	if (m->holder == NULL) {
		m->holder = f;
		return;
	}
	f->mutex_next = NULL;
	if (m->last != NULL)
		m->last->mutex_next = f;
	else
		m->first = f;
	m->last = f;
	while (m->holder != f) /* unlock hands over; other wakes do not count */
		fiber_park();
}

void fiber_mutex_unlock(struct fiber_mutex *m)
{
	struct fiber *next = m->first;

	CHECK(fiber_self() != NULL);
	CHECK(m->holder == fiber_self());
	m->holder = next;
	if (next == NULL)
		return;
	m->first = next->mutex_next;
	if (m->first == NULL)
		m->last = NULL;
	fiber_wake(next);
}
