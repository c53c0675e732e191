#include <string.h>

#include "base/err.h"
#include "base/fiber.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "tests/lib/check.h"

/* ---- a virtual clock with a list of timers ---- */

#define TIMERS_MAX 16

struct fake_env {
	struct env env;
	uint64_t now_ns;
	struct env_timer *timers[TIMERS_MAX];
};

static uint64_t fake_mono(struct env *e)
{
	return container_of(e, struct fake_env, env)->now_ns;
}

static void fake_cancel(struct env *e, struct env_timer *t)
{
	struct fake_env *fe = container_of(e, struct fake_env, env);

	for (size_t i = 0; i < TIMERS_MAX; i++) {
		if (fe->timers[i] == t)
			fe->timers[i] = NULL;
	}
	t->armed = false;
}

static void fake_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
	struct fake_env *fe = container_of(e, struct fake_env, env);

	fake_cancel(e, t);
	t->at_ns = at_ns;
	t->armed = true;
	for (size_t i = 0; i < TIMERS_MAX; i++) {
		if (fe->timers[i] == NULL) {
			fe->timers[i] = t;
			return;
		}
	}
	CHECK_FAIL("too many timers");
}

static void fake_advance(struct fake_env *fe, uint64_t to_ns)
{
	fe->now_ns = to_ns;
	for (size_t i = 0; i < TIMERS_MAX; i++) {
		struct env_timer *t = fe->timers[i];

		if (t != NULL && t->at_ns <= to_ns) {
			fe->timers[i] = NULL;
			t->armed = false;
			t->fire(t);
		}
	}
}

static size_t fake_armed(const struct fake_env *fe)
{
	size_t n = 0;

	for (size_t i = 0; i < TIMERS_MAX; i++)
		n += fe->timers[i] != NULL;
	return n;
}

/* ---- fixture ---- */

static struct fake_env fe;
static struct fiber_sched *sched;
static int ready_calls;
static char trail[256]; /* what happened, one letter a step */

static void count_ready(void *ctx)
{
	int *count = ctx;

	(*count)++;
}

static void note(char c)
{
	size_t n = strlen(trail);

	if (n + 1 < sizeof(trail)) {
		trail[n] = c;
		trail[n + 1] = '\0';
	}
}

static void setup(void)
{
	memset(&fe, 0, sizeof(fe));
	fe.env.mono_ns = fake_mono;
	fe.env.timer_set = fake_set;
	fe.env.timer_cancel = fake_cancel;
	trail[0] = '\0';
	ready_calls = 0;
	sched = fiber_sched_new(&fe.env, count_ready, &ready_calls);
}

static void teardown(void)
{
	fiber_sched_free(sched);
}

static void start(fiber_fn *fn, void *arg)
{
	CHECK_OK(fiber_start(sched, fn, arg));
}

/* ---- start, park, wake ---- */

static struct fiber *parked;

static void parks_once(void *arg)
{
	(void)arg;
	parked = fiber_self();
	note('a');
	fiber_park();
	note('b');
}

static void starts_at_the_next_run(void)
{
	start(parks_once, NULL);
	CHECK_STR_EQ(trail, "");
	CHECK_U64_EQ(fiber_count(sched), 1);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "a");
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "a");
	fiber_wake(parked);
	CHECK_STR_EQ(trail, "a"); /* never inside the waker */
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "ab");
	CHECK_U64_EQ(fiber_count(sched), 0);
}

static void two_wakes_resume_one_park(void)
{
	start(parks_once, NULL);
	fiber_sched_run(sched);
	fiber_wake(parked);
	fiber_wake(parked);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "ab");
	CHECK_U64_EQ(fiber_count(sched), 0);
}

static void wakes_itself_then_parks(void *arg)
{
	(void)arg;
	parked = fiber_self();
	fiber_wake(fiber_self());
	fiber_park();
	note('1');
	fiber_park();
	note('2');
}

static void wake_before_park_is_kept_once(void)
{
	start(wakes_itself_then_parks, NULL);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "1");
	fiber_wake(parked);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "12");
}

static void wakes_parked(void *arg)
{
	(void)arg;
	note('w');
	fiber_wake(parked);
	note('x');
}

static void a_fiber_wakes_another_in_the_same_run(void)
{
	start(parks_once, NULL);
	start(wakes_parked, NULL);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "awxb");
}

static void on_ready_tells_of_the_first_only(void)
{
	start(parks_once, NULL);
	start(wakes_parked, NULL);
	CHECK_INT_EQ(ready_calls, 1);
	fiber_sched_run(sched); /* a wake inside the run needs no call: the run drains the queue */
	CHECK_INT_EQ(ready_calls, 1);
	start(parks_once, NULL);
	CHECK_INT_EQ(ready_calls, 2);
	fiber_sched_run(sched);
	fiber_wake(parked);
	CHECK_INT_EQ(ready_calls, 3);
	fiber_sched_run(sched);
}

static void self_checks(void *arg)
{
	struct fiber_sched *s = arg;

	CHECK_NOT_NULL(fiber_self());
	CHECK_PTR_EQ(fiber_sched_self(), s);
	note('s');
}

static void self_is_known_inside_only(void)
{
	CHECK_NULL(fiber_self());
	CHECK_NULL(fiber_sched_self());
	start(self_checks, sched);
	fiber_sched_run(sched);
	CHECK_NULL(fiber_self());
	CHECK_NULL(fiber_sched_self());
	CHECK_STR_EQ(trail, "s");
}

static void yields(void *arg)
{
	const char *name = arg;

	for (int i = 0; i < 3; i++) {
		note(*name);
		fiber_yield();
	}
}

static void yield_takes_turns(void)
{
	start(yields, "a");
	start(yields, "b");
	start(yields, "c");
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "abcabcabc");
}

static void yields_then_parks(void *arg)
{
	(void)arg;
	parked = fiber_self();
	fiber_yield();
	note('y');
	fiber_park();
	note('p');
}

static void wake_during_yield_is_kept_for_the_park(void)
{
	start(yields_then_parks, NULL);
	start(wakes_parked, NULL);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "wxyp");
}

static void starts_another(void *arg)
{
	(void)arg;
	note('1');
	CHECK_OK(fiber_start(fiber_sched_self(), yields, "n"));
	note('2');
}

static void a_fiber_starts_a_fiber(void)
{
	start(starts_another, NULL);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "12nnn");
}

/* ---- interruption and sleep ---- */

static void waits_until_interrupted(void *arg)
{
	parked = fiber_self();
	CHECK_FALSE(fiber_interrupted());
	while (!fiber_interrupted())
		fiber_park();
	note('i');
	fiber_interrupt_clear();
	CHECK_FALSE(fiber_interrupted());
	(void)arg;
}

static void interrupt_wakes_and_marks(void)
{
	start(waits_until_interrupted, NULL);
	fiber_sched_run(sched);
	fiber_wake(parked);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "");
	fiber_interrupt(parked);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "i");
	CHECK_FALSE(fiber_interrupted()); /* outside of fibers */
}

static void a_reused_fiber_is_not_interrupted(void)
{
	start(parks_once, NULL);
	fiber_sched_run(sched);
	fiber_interrupt(parked);
	fiber_sched_run(sched);
	trail[0] = '\0';
	start(parks_once, NULL); /* neither the mark nor the wake may be left over */
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "a");
	start(waits_until_interrupted, NULL);
	fiber_wake(parked);
	fiber_sched_run(sched);
	fiber_interrupt(parked);
	fiber_sched_run(sched);
	CHECK_U64_EQ(fiber_count(sched), 0);
}

struct sleep_result {
	uint64_t ns;
	int err;
	uint64_t woke_ns;
};

static void sleeps(void *arg)
{
	struct sleep_result *r = arg;

	parked = fiber_self();
	r->err = fiber_sleep(r->ns);
	r->woke_ns = env_mono_ns(&fe.env);
}

static void sleep_waits_for_the_clock(void)
{
	struct sleep_result a = {.ns = 100, .err = 1}, b = {.ns = 50, .err = 1};

	fe.now_ns = 1000;
	start(sleeps, &a);
	start(sleeps, &b);
	fiber_sched_run(sched);
	fake_advance(&fe, 1049);
	fiber_sched_run(sched);
	CHECK_U64_EQ(fiber_count(sched), 2);
	fake_advance(&fe, 1050);
	fiber_sched_run(sched);
	CHECK_INT_EQ(a.err, 1);
	CHECK_INT_EQ(b.err, 0);
	fake_advance(&fe, 1100);
	fiber_sched_run(sched);
	CHECK_INT_EQ(a.err, 0);
	CHECK_U64_EQ(a.woke_ns, 1100);
}

static void sleep_ignores_other_wakes(void)
{
	struct sleep_result r = {.ns = 100, .err = 1};

	start(sleeps, &r);
	fiber_sched_run(sched);
	fiber_wake(parked);
	fiber_sched_run(sched);
	CHECK_INT_EQ(r.err, 1);
	fake_advance(&fe, 100);
	fiber_sched_run(sched);
	CHECK_INT_EQ(r.err, 0);
}

static void sleep_is_interrupted_and_disarmed(void)
{
	struct sleep_result r = {.ns = 100, .err = 1};

	start(sleeps, &r);
	fiber_sched_run(sched);
	CHECK_U64_EQ(fake_armed(&fe), 1);
	fiber_interrupt(parked);
	fiber_sched_run(sched);
	CHECK_ERR(r.err, ERR_INTERRUPTED);
	CHECK_U64_EQ(fake_armed(&fe), 0);
}

static void sleeps_after_interrupt(void *arg)
{
	fiber_interrupt(fiber_self());
	sleeps(arg);
}

static void sleep_of_an_interrupted_fiber_returns_at_once(void)
{
	struct sleep_result r = {.ns = 100, .err = 1};

	start(sleeps_after_interrupt, &r);
	fiber_sched_run(sched);
	CHECK_ERR(r.err, ERR_INTERRUPTED);
	CHECK_U64_EQ(fake_armed(&fe), 0);
}

static void an_endless_sleep_does_not_wrap(void)
{
	struct sleep_result r = {.ns = UINT64_MAX, .err = 1};

	fe.now_ns = 5;
	start(sleeps, &r);
	fiber_sched_run(sched);
	fake_advance(&fe, 1000000);
	fiber_sched_run(sched);
	CHECK_INT_EQ(r.err, 1);
	fiber_interrupt(parked);
	fiber_sched_run(sched);
	CHECK_ERR(r.err, ERR_INTERRUPTED);
}

/* ---- mutex ---- */

static struct fiber_mutex mutex;
static struct fiber *in_section;

static void locks(void *arg)
{
	const char *name = arg;

	fiber_mutex_lock(&mutex);
	CHECK_NULL(in_section);
	in_section = fiber_self();
	note(*name);
	fiber_yield();
	fiber_yield();
	in_section = NULL;
	note('.');
	fiber_mutex_unlock(&mutex);
}

static void mutex_is_exclusive_and_fifo(void)
{
	start(locks, "a");
	start(locks, "b");
	start(locks, "c");
	start(locks, "d");
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "a.b.c.d.");
	CHECK_NULL(mutex.holder);
	CHECK_NULL(mutex.first);
	CHECK_NULL(mutex.last);
}

static void locks_again_at_once(void *arg)
{
	const char *name = arg;

	for (int i = 0; i < 2; i++) {
		fiber_mutex_lock(&mutex);
		note(*name);
		fiber_yield();
		fiber_mutex_unlock(&mutex);
	}
}

static void mutex_lets_nobody_jump_the_queue(void)
{
	start(locks_again_at_once, "a");
	start(locks_again_at_once, "b");
	start(locks_again_at_once, "c");
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "abcabc");
}

static void holds_until_woken(void *arg)
{
	(void)arg;
	fiber_mutex_lock(&mutex);
	note('h');
	fiber_park();
	fiber_mutex_unlock(&mutex);
	note('u');
}

static struct fiber *waiter;

static void waits_for_mutex(void *arg)
{
	(void)arg;
	waiter = fiber_self();
	fiber_mutex_lock(&mutex);
	note(fiber_interrupted() ? 'I' : 'l');
	fiber_mutex_unlock(&mutex);
}

static struct fiber *holder;

static void holds(void *arg)
{
	holder = fiber_self();
	holds_until_woken(arg);
}

static void a_wake_does_not_open_the_mutex(void)
{
	start(holds, NULL);
	start(waits_for_mutex, NULL);
	fiber_sched_run(sched);
	fiber_wake(waiter);
	fiber_sched_run(sched);
	fiber_interrupt(waiter);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "h");
	fiber_wake(holder);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "huI"); /* the interruption is still known after the lock */
}

/* ---- many, deep, failing ---- */

#if defined(__SANITIZE_THREAD__)
#define MANY 500 /* TSan keeps megabytes for each */
#else
#define MANY 10000
#endif

static struct fiber *many[MANY];
static unsigned long many_sum;

static void one_of_many(void *arg)
{
	size_t i = (size_t)(uintptr_t)arg;
	volatile size_t local = i; /* each stack keeps its own */

	many[i] = fiber_self();
	fiber_park();
	many_sum += local;
}

static void ten_thousand_fibers(void)
{
	many_sum = 0;
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < MANY; i++)
			start(one_of_many, (void *)(uintptr_t)i);
		fiber_sched_run(sched);
		CHECK_U64_EQ(fiber_count(sched), MANY);
		for (size_t i = 0; i < MANY; i++)
			fiber_wake(many[(i * 7919) % MANY]);
		fiber_sched_run(sched);
		CHECK_U64_EQ(fiber_count(sched), 0);
	}
	CHECK_U64_EQ(many_sum, 2ul * MANY * (MANY - 1) / 2);
}

static struct fiber *deep_fibers[2];

static int deep(int depth)
{
	volatile char page[512];

	memset((void *)page, depth, sizeof(page));
	if (depth == 0)
		return page[17];
	return deep(depth - 1) + (page[511] == (char)depth);
}

static void goes_deep(void *arg)
{
	int *sum = arg;

	deep_fibers[deep_fibers[0] != NULL] = fiber_self();
	*sum = deep(100); /* half of the stack */
	fiber_park();
	*sum += deep(100);
}

static void a_stack_is_deep_and_survives_a_park(void)
{
	int a = 0, b = 0;

	start(goes_deep, &a);
	fiber_sched_run(sched);
	start(goes_deep, &b);
	fiber_sched_run(sched);
	CHECK_INT_EQ(a, 100);
	CHECK_INT_EQ(b, 100);
	fiber_wake(deep_fibers[0]);
	fiber_wake(deep_fibers[1]);
	fiber_sched_run(sched);
	CHECK_INT_EQ(a, 200);
	CHECK_INT_EQ(b, 200);
}

static void ends(void *arg)
{
	(void)arg;
	note('e');
}

static void start_reports_lack_of_memory(void)
{
	mem_fail_nth(1);
	CHECK_ERR(fiber_start(sched, ends, NULL), ERR_NOMEM);
	mem_fail_nth(0);
	CHECK_U64_EQ(fiber_count(sched), 0);
	CHECK_INT_EQ(ready_calls, 0);
	start(ends, NULL);
	fiber_sched_run(sched);
	mem_fail_nth(1);
	start(ends, NULL); /* from the pool: needs none */
	mem_fail_nth(0);
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "ee");
}

/* ---- misuse ---- */

static void parks_outside(void *arg)
{
	(void)arg;
	fiber_park();
}

static void runs_inside(void *arg)
{
	fiber_sched_run(arg);
}

static void runs_inside_a_fiber(void *arg)
{
	start(runs_inside, arg);
	fiber_sched_run(arg);
}

static void frees_with_live_fibers(void *arg)
{
	start(parks_once, NULL);
	fiber_sched_run(arg);
	fiber_sched_free(arg);
}

static void locks_twice(void *arg)
{
	(void)arg;
	fiber_mutex_lock(&mutex);
	fiber_mutex_lock(&mutex);
}

static void runs_locks_twice(void *arg)
{
	start(locks_twice, NULL);
	fiber_sched_run(arg);
}

static void misuse_aborts(void)
{
	CHECK_ABORTS(parks_outside, NULL);
	CHECK_ABORTS(runs_inside_a_fiber, sched);
	CHECK_ABORTS(frees_with_live_fibers, sched);
	CHECK_ABORTS(runs_locks_twice, sched);
}

/* ---- two schedulers on one thread ---- */

static void schedulers_are_independent(void)
{
	struct fiber_sched *other = fiber_sched_new(&fe.env, NULL, NULL);

	start(parks_once, NULL);
	fiber_sched_run(sched);
	CHECK_OK(fiber_start(other, self_checks, other));
	fiber_sched_run(other);
	CHECK_U64_EQ(fiber_count(sched), 1);
	CHECK_U64_EQ(fiber_count(other), 0);
	fiber_wake(parked);
	fiber_sched_run(other);
	CHECK_STR_EQ(trail, "as");
	fiber_sched_run(sched);
	CHECK_STR_EQ(trail, "asb");
	fiber_sched_free(other);
	fiber_sched_free(NULL);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(starts_at_the_next_run),
	TEST(two_wakes_resume_one_park),
	TEST(wake_before_park_is_kept_once),
	TEST(a_fiber_wakes_another_in_the_same_run),
	TEST(on_ready_tells_of_the_first_only),
	TEST(self_is_known_inside_only),
	TEST(yield_takes_turns),
	TEST(wake_during_yield_is_kept_for_the_park),
	TEST(a_fiber_starts_a_fiber),
	TEST(interrupt_wakes_and_marks),
	TEST(a_reused_fiber_is_not_interrupted),
	TEST(sleep_waits_for_the_clock),
	TEST(sleep_ignores_other_wakes),
	TEST(sleep_is_interrupted_and_disarmed),
	TEST(sleep_of_an_interrupted_fiber_returns_at_once),
	TEST(an_endless_sleep_does_not_wrap),
	TEST(mutex_is_exclusive_and_fifo),
	TEST(mutex_lets_nobody_jump_the_queue),
	TEST(a_wake_does_not_open_the_mutex),
	TEST(ten_thousand_fibers),
	TEST(a_stack_is_deep_and_survives_a_park),
	TEST(start_reports_lack_of_memory),
	TEST(misuse_aborts),
	TEST(schedulers_are_independent),
};
CHECK_MAIN(tests)
