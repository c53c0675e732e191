/* Processes and their threads: stacks switched by hand, one running at a time, each until it waits. The
 * pthread functions that the product uses are linked to these (--wrap). Stacks are switched as in
 * base/fiber.c, and apart from it: a fiber keeps its own on a mapping, pooled, and tells TSan too. */
#undef _FORTIFY_SOURCE /* its longjmp() refuses to go to a frame that is not an outer one */

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/check.h"
#include "base/fiber.h"
#include "base/mem.h"
#include "tests/sim/sim_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_SIZE	(512u * 1024u)
#define STACKS_KEPT	64u
#define WAKE_MAX_NS	(40 * NS_PER_US) /* until a woken thread runs */
#define SPURIOUS_PPM	2000u		 /* waits on a condition that end for no reason */
#define CONTENTION_NS	NS_PER_US

struct context {
	jmp_buf env;
	const void *stack;
	size_t stack_size;
	void *fake_stack; /* ASan's */
};

struct sim_thread {
	struct context ctx;
	struct sim_proc *proc;
	void *(*fn)(void *arg);
	void *arg, *map;
	bool started, done, token, asleep;
	bool scheduled; /* a wake is due at: */
	uint64_t wake_at, generation;
	bool held; /* it was due, but its process is paused */
	pthread_cond_t *cond; /* that it waits for */
	uint64_t cond_order;
	struct sim_thread *joiner;
	TAILQ_ENTRY(sim_thread) link;
};

static TAILQ_HEAD(, sim_proc) procs = TAILQ_HEAD_INITIALIZER(procs);
static TAILQ_HEAD(, sim_proc) dead_procs = TAILQ_HEAD_INITIALIZER(dead_procs);
static struct sim_thread *running;
static struct context scheduler;
static uint64_t cond_orders;
static void *stacks[STACKS_KEPT];
static unsigned stack_count;

struct sim_thread *sim_thread_self(void)
{
	return running;
}

struct sim_proc *sim_self(void)
{
	return running ? running->proc : NULL;
}

bool sim_thread_is_main(void)
{
	return running && TAILQ_FIRST(&running->proc->threads) == running;
}

/* ---- switching ---- */

static void before_switch(struct context *from, const struct context *to, bool from_ends)
{
#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_start_switch_fiber(from_ends ? NULL : &from->fake_stack, to->stack,
				       to->stack_size);
#endif
	(void)from;
	(void)to;
	(void)from_ends;
}

static void after_switch(struct context *self, struct context *came_from)
{
#if defined(__SANITIZE_ADDRESS__)
	const void *stack;
	size_t size;

	__sanitizer_finish_switch_fiber(self->fake_stack, &stack, &size);
	if (came_from) {
		came_from->stack = stack;
		came_from->stack_size = size;
	}
#endif
	(void)self;
	(void)came_from;
}

_Noreturn static void leave_for_good(void)
{
	before_switch(&running->ctx, &scheduler, true);
	_longjmp(scheduler.env, 1);
}

static void thread_main(void)
{
	struct sim_thread *t = running;
	bool is_main;

	after_switch(&t->ctx, &scheduler);
	(void)t->fn(t->arg);
	is_main = sim_thread_is_main();
	t->done = true;
	if (t->joiner)
		sim_unpark(t->joiner, sim_now());
	if (is_main)
		sim_proc_die(NULL);
	leave_for_good();
}

/* makecontext() takes no pointer: thread_main() finds its thread in `running`. */
__attribute__((no_sanitize("address"))) _Noreturn static void context_start(struct sim_thread *t)
{
	ucontext_t uc;

	CHECK(getcontext(&uc) == 0);
	uc.uc_stack.ss_sp = (void *)t->ctx.stack;
	uc.uc_stack.ss_size = t->ctx.stack_size;
	uc.uc_link = NULL;
	makecontext(&uc, thread_main, 0);
	setcontext(&uc);
	CHECK(!"setcontext returned");
	__builtin_unreachable();
}

static void switch_to(struct sim_thread *t)
{
	running = t;
	if (_setjmp(scheduler.env) == 0) {
		before_switch(&scheduler, &t->ctx, false);
		if (t->started)
			_longjmp(t->ctx.env, 1);
		t->started = true;
		context_start(t);
	}
	after_switch(&scheduler, NULL);
	running = NULL;
}

static void switch_back(void)
{
	struct sim_thread *t = running;

	if (_setjmp(t->ctx.env) == 0) {
		before_switch(&t->ctx, &scheduler, false);
		_longjmp(scheduler.env, 1);
	}
	after_switch(&t->ctx, &scheduler);
}

/* ---- waiting ---- */

static void wake_at(struct sim_thread *t, uint64_t at_ns)
{
	if (t->scheduled && t->wake_at <= at_ns)
		return;
	t->scheduled = true;
	t->wake_at = at_ns;
	sim__schedule(t, at_ns, ++t->generation);
}

void sim_sleep(uint64_t ns)
{
	struct sim_thread *t = running;

	CHECK(t != NULL);
	t->asleep = true;
	t->scheduled = false;
	wake_at(t, sim_now() + ns);
	switch_back();
	t->asleep = false;
}

void sim_park_until(uint64_t at_ns)
{
	struct sim_thread *t = running;

	CHECK(t != NULL);
	if (t->token) {
		t->token = false;
		return;
	}
	t->scheduled = false;
	if (at_ns != UINT64_MAX)
		wake_at(t, at_ns);
	switch_back();
	t->token = false;
}

void sim_unpark(struct sim_thread *t, uint64_t at_ns)
{
	if (t == running || t->asleep) {
		t->token = true;
		return;
	}
	wake_at(t, at_ns);
}

void sim__thread_due(struct sim_thread *t, uint64_t generation)
{
	struct sim_proc *p = t->proc;

	if (p->dead || t->done || generation != t->generation)
		return;
	CHECK(t->scheduled);
	if (p->paused_until_ns > sim_now()) {
		t->held = true;
		sim__schedule(t, p->paused_until_ns, t->generation);
		return;
	}
	t->scheduled = t->held = false;
	switch_to(t);
}

void sim__wake_mains(const struct sim_machine *m)
{
	struct sim_proc *p;

	TAILQ_FOREACH(p, &procs, link)
		if (p->machine == m)
			sim_unpark(TAILQ_FIRST(&p->threads), sim_now());
}

/* ---- threads ---- */

static void *stack_get(void)
{
	void *map;

	if (stack_count > 0)
		return stacks[--stack_count];
	map = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	CHECK(map != MAP_FAILED);
	CHECK(mprotect(map, 4096, PROT_NONE) == 0);
	return map;
}

static void stack_put(void *map)
{
#if defined(__SANITIZE_ADDRESS__)
	__asan_unpoison_memory_region((char *)map + 4096, STACK_SIZE - 4096);
#endif
	if (stack_count < STACKS_KEPT)
		stacks[stack_count++] = map;
	else
		munmap(map, STACK_SIZE);
}

static struct sim_thread *thread_new(struct sim_proc *p, void *(*fn)(void *), void *arg)
{
	struct sim_thread *t = mem_must_alloc(sizeof(*t));

	t->proc = p;
	t->fn = fn;
	t->arg = arg;
	t->map = stack_get();
	t->ctx.stack = (const char *)t->map + 4096;
	t->ctx.stack_size = STACK_SIZE - 4096;
	TAILQ_INSERT_TAIL(&p->threads, t, link);
	wake_at(t, sim_now() + sim_below(WAKE_MAX_NS));
	return t;
}

/* ---- processes ---- */

struct entry {
	void (*main)(void *arg);
	void *arg;
};

static void *run_entry(void *arg)
{
	struct entry e = *(struct entry *)arg;

	mem_free(arg);
	e.main(e.arg);
	return NULL;
}

void sim_machine_init(struct sim_machine *m, uint32_t id, struct sim_disk *disk)
{
	CHECK(id > 0 && id < SIM_MACHINES_MAX);
	memset(m, 0, sizeof(*m));
	m->id = id;
	m->disk = disk;
	m->clock.ref_ns = sim_now();
	m->clock.mono_ns = NS_PER_S + sim_below(1000 * NS_PER_S);
	m->clock.wall_offset_ns = (int64_t)(1700000000 * NS_PER_S + sim_below(NS_PER_S));
	snprintf(m->address, sizeof(m->address), "10.0.0.%u", id);
}

struct sim_proc *sim_proc_start(const char *name, struct sim_machine *m, void (*main)(void *arg),
				void *arg)
{
	struct sim_proc *p = mem_must_alloc(sizeof(*p));
	struct entry *e = mem_must_alloc(sizeof(*e));

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->machine = m;
	p->started_ns = sim_now();
	TAILQ_INIT(&p->threads);
	TAILQ_INIT(&p->streams);
	TAILQ_INIT(&p->listeners);
	TAILQ_INSERT_TAIL(&procs, p, link);
	*e = (struct entry){main, arg};
	thread_new(p, run_entry, e);
	return p;
}

static void bury(struct sim_proc *p)
{
	CHECK(!p->dead);
	p->dead = true;
	sim__streams_abandon(p);
	TAILQ_REMOVE(&procs, p, link);
	TAILQ_INSERT_TAIL(&dead_procs, p, link);
}

void sim_proc_kill(struct sim_proc *p)
{
	CHECK(sim_self() != p);
	bury(p);
}

void sim_proc_die(const char *why)
{
	struct sim_proc *p = sim_self();

	CHECK(p != NULL);
	fiber_abandon();
	bury(p);
	if (p->on_exit)
		p->on_exit(p, why);
	leave_for_good();
}

void sim_proc_pause(struct sim_proc *p, uint64_t ns)
{
	if (p->paused_until_ns < sim_now() + ns)
		p->paused_until_ns = sim_now() + ns;
}

void sim_proc_resume(struct sim_proc *p)
{
	struct sim_thread *t;

	p->paused_until_ns = 0;
	TAILQ_FOREACH(t, &p->threads, link) {
		if (t->held)
			sim__schedule(t, sim_now(), ++t->generation);
	}
}

/* Threads that died are left in memory as long as events may name them: their stacks go, they are
 * small. */
void sim__reap(void)
{
	struct sim_proc *p;
	struct sim_thread *t;

	while ((p = TAILQ_FIRST(&dead_procs)) != NULL) {
		TAILQ_REMOVE(&dead_procs, p, link);
		TAILQ_FOREACH(t, &p->threads, link) {
			if (t->map)
				stack_put(t->map);
			t->map = NULL;
		}
	}
}

/* ---- pthread.h, as far as the product uses it ---- */

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_signal(pthread_cond_t *c);
int __wrap_malloc_trim(size_t pad);

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	(void)attr;
	CHECK(running != NULL);
	*out = (pthread_t)thread_new(running->proc, fn, arg);
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
	struct sim_thread *t = (struct sim_thread *)thread;

	CHECK(result == NULL && t->joiner == NULL);
	t->joiner = running;
	while (!t->done)
		sim_park_until(UINT64_MAX);
	TAILQ_REMOVE(&t->proc->threads, t, link);
	stack_put(t->map);
	t->map = NULL;
	return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
	(void)thread;
	(void)name;
	return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
	while (pthread_mutex_trylock(m) != 0)
		sim_sleep(CONTENTION_NS);
	return 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	struct sim_thread *t = running;

	CHECK(pthread_mutex_unlock(m) == 0);
	t->cond = c;
	t->cond_order = ++cond_orders;
	if (sim_chance(SPURIOUS_PPM)) {
		t->cond = NULL;
		sim_sleep(sim_below(WAKE_MAX_NS));
	}
	while (t->cond)
		sim_park_until(UINT64_MAX);
	return __wrap_pthread_mutex_lock(m);
}

int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
	struct sim_thread *t, *first = NULL;

	TAILQ_FOREACH(t, &running->proc->threads, link)
		if (t->cond == c && (!first || t->cond_order < first->cond_order))
			first = t;
	if (!first)
		return 0;
	first->cond = NULL;
	sim_unpark(first, sim_now() + sim_below(WAKE_MAX_NS));
	return 0;
}

int __wrap_malloc_trim(size_t pad)
{
	(void)pad;
	return 0;
}
