/* The loop without sockets: turns, timers, fibers, wake-ups, descriptors, signals. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/list.h"
#include "tests/lib/check.h"
#include "tests/lib/net_fixture.h"

static char trace[256]; /* what happened, a letter each */

static void note(char c)
{
	size_t len = strlen(trace);

	if (len + 1 < sizeof(trace)) {
		trace[len] = c;
		trace[len + 1] = '\0';
	}
}

static void setup(void)
{
	trace[0] = '\0';
	net_fix_setup();
}

static bool traced(void *want_len)
{
	return strlen(trace) >= (size_t)want_len;
}

static void run_until_traced(size_t len)
{
	net_fix_run_until(traced, (void *)len);
}

/* ---- timers ---- */

struct timer {
	struct env_timer t;
	char name;
	uint64_t fired_ns;
	unsigned left; /* to be set again, so often, for the past */
};

static void fire(struct env_timer *t)
{
	struct timer *x = container_of(t, struct timer, t);

	x->fired_ns = net_fix_now();
	note(x->name);
	if (x->left > 0) {
		x->left--;
		env_timer_set(loop_env(fix.loop), t, 1);
	}
}

static void set(struct timer *t, char name, uint64_t at_ns)
{
	t->t.fire = fire;
	t->name = name;
	env_timer_set(loop_env(fix.loop), &t->t, at_ns);
}

static void timers_fire_in_order_of_their_nanosecond(void)
{
	uint64_t at = net_fix_now() + 300 * NS_PER_US;
	struct timer t[6] = {0};

	set(&t[0], 'e', at + 2);
	set(&t[1], 'c', at + 1);
	set(&t[2], 'a', at);
	set(&t[3], 'd', at + 1); /* a tie: in order of setting */
	set(&t[4], 'b', at);
	set(&t[5], 'x', at);
	env_timer_cancel(loop_env(fix.loop), &t[5].t);
	CHECK_FALSE(t[5].t.armed);
	run_until_traced(5);
	CHECK_STR_EQ(trace, "abcde");
}

static void timers_are_never_early_and_soon(void)
{
	uint64_t late_min = UINT64_MAX;

	for (unsigned i = 0; i < 50; i++) {
		struct timer t = {0};
		uint64_t at = net_fix_now() + 100 * NS_PER_US;

		set(&t, 't', at);
		run_until_traced(i + 1);
		CHECK_TRUE(t.fired_ns >= at);
		if (t.fired_ns - at < late_min)
			late_min = t.fired_ns - at;
	}
	printf("    a timer of 100 us fires %llu us late at best\n",
	       (unsigned long long)(late_min / NS_PER_US));
	/* Not the grain of a millisecond that poll timeouts have. */
	CHECK_TRUE(late_min < 500 * NS_PER_US);
}

static void an_earlier_timer_overtakes_a_later_one(void)
{
	struct timer late = {0}, soon = {0};

	set(&late, 'l', net_fix_now() + 3600 * NS_PER_S);
	net_fix_run_until(traced, (void *)0); /* armed for the late one */
	set(&soon, 's', net_fix_now() + NS_PER_MS);
	run_until_traced(1);
	CHECK_STR_EQ(trace, "s");
	CHECK_TRUE(late.t.armed);
	env_timer_cancel(loop_env(fix.loop), &late.t);
}

static void a_timer_can_be_set_anew(void)
{
	struct timer a = {0}, b = {0};

	set(&a, 'a', net_fix_now() + NS_PER_MS);
	set(&b, 'b', net_fix_now() + 2 * NS_PER_MS);
	set(&a, 'a', net_fix_now() + 3 * NS_PER_MS);
	run_until_traced(2);
	CHECK_STR_EQ(trace, "ba");
}

static void a_timer_set_for_the_past_starves_nobody(void)
{
	struct timer greedy = {.left = 5}, other = {0};

	set(&greedy, 'g', 1);
	set(&other, 'o', 2);
	run_until_traced(7);
	CHECK_STR_EQ(trace, "goggggg");
}

static void cancel_other(struct env_timer *t)
{
	struct timer *x = container_of(t, struct timer, t);

	env_timer_cancel(loop_env(fix.loop), &(x + 1)->t);
	note('c');
}

static void a_due_timer_can_be_canceled_by_another(void)
{
	struct timer t[3] = {0};

	t[0].t.fire = cancel_other;
	env_timer_set(loop_env(fix.loop), &t[0].t, 1);
	set(&t[1], 'x', 1);
	set(&t[2], 'z', 2);
	run_until_traced(2);
	CHECK_STR_EQ(trace, "cz");
}

static void many_timers_fire_all(void)
{
	static struct timer many[5000];
	uint64_t now = net_fix_now();

	memset(many, 0, sizeof(many));
	for (unsigned i = 0; i < 5000; i++)
		set(&many[i], '.', now + env_random(loop_env(fix.loop)) % (5 * NS_PER_MS));
	for (unsigned i = 0; i < 5000; i += 2)
		env_timer_cancel(loop_env(fix.loop), &many[i].t);
	set(&many[0], '.', now + 6 * NS_PER_MS);
	trace[0] = '\0';
	while (many[0].t.armed) {
		trace[0] = '\0';
		run_until_traced(1);
	}
	for (unsigned i = 1; i < 5000; i++)
		CHECK_TRUE(!many[i].t.armed && (many[i].fired_ns != 0) == (i % 2 == 1));
}

/* ---- turns ---- */

struct marker {
	struct loop_turn turn;
	char name;
	fiber_fn *start; /* once */
};

static void mark_turn(struct loop_turn *t)
{
	struct marker *m = container_of(t, struct marker, turn);
	fiber_fn *fn = m->start;

	note(m->name);
	m->start = NULL;
	if (fn)
		net_fix_start(fn, NULL);
}

static void mark_fiber(void *arg)
{
	(void)arg;
	note('f');
}

static void turns_follow_timers_and_fibers_in_order(void)
{
	struct marker a = {.turn = {.run = mark_turn}, .name = 'A'};
	struct marker b = {.turn = {.run = mark_turn}, .name = 'B'};
	struct timer t = {0};

	loop_on_turn(fix.loop, &a.turn);
	loop_on_turn(fix.loop, &b.turn);
	set(&t, 't', 1);
	net_fix_start(mark_fiber, NULL);
	run_until_traced(2); /* the fixture's turn was registered first: it stops before A */
	CHECK_STR_EQ(trace, "tfAB");
}

static void a_fiber_started_by_a_turn_runs_without_sleeping(void)
{
	struct marker a = {.turn = {.run = mark_turn}, .name = 'A', .start = mark_fiber};

	loop_on_turn(fix.loop, &a.turn);
	run_until_traced(2);
	CHECK_STR_EQ(trace, "AfA");
}

static void leave_turns(struct loop_turn *t)
{
	struct marker *m = container_of(t, struct marker, turn);

	note(m->name);
	loop_off_turn(fix.loop, t);
	loop_off_turn(fix.loop, &(m + 1)->turn);
}

static void a_turn_can_take_itself_and_the_next_one_off(void)
{
	struct marker m[4] = {
		{.turn = {.run = mark_turn}, .name = 'A'},
		{.turn = {.run = leave_turns}, .name = 'B'},
		{.turn = {.run = mark_turn}, .name = 'C'},
		{.turn = {.run = mark_turn}, .name = 'D'},
	};
	struct marker late = {.turn = {.run = mark_turn}, .name = 'E'};

	for (unsigned i = 0; i < 4; i++)
		loop_on_turn(fix.loop, &m[i].turn);
	run_until_traced(0);
	CHECK_STR_EQ(trace, "ABD");
	loop_off_turn(fix.loop, &m[3].turn);
	loop_off_turn(fix.loop, &m[3].turn);
	loop_on_turn(fix.loop, &late.turn);
	run_until_traced(0);
	CHECK_STR_EQ(trace, "ABDAE");
}

static void sleeper(void *arg)
{
	CHECK_OK(fiber_sleep(*(uint64_t *)arg));
	note('0' + (char)(*(uint64_t *)arg / NS_PER_MS));
}

static void fibers_sleep_by_the_loops_timers(void)
{
	uint64_t ns[3] = {3 * NS_PER_MS, 1 * NS_PER_MS, 2 * NS_PER_MS};

	for (unsigned i = 0; i < 3; i++)
		net_fix_start(sleeper, &ns[i]);
	net_fix_run_fibers();
	CHECK_STR_EQ(trace, "123");
}

static void a_stop_before_the_run_ends_it_at_once(void)
{
	loop_stop(fix.loop);
	loop_run(fix.loop);
	loop_stop(fix.loop); /* and one that nobody consumes */
}

/* ---- async ---- */

struct wake {
	struct loop_async *async;
	atomic_uint sent;
	unsigned seen;
};

static void on_wake(void *ctx)
{
	struct wake *w = ctx;

	w->seen = atomic_load(&w->sent);
	note('w');
}

static void *wake_often(void *arg)
{
	struct wake *w = arg;

	for (unsigned i = 0; i < 10000; i++) {
		atomic_fetch_add(&w->sent, 1);
		loop_async_send(w->async);
	}
	return NULL;
}

static bool all_seen(void *ctx)
{
	return ((struct wake *)ctx)->seen == 10000;
}

static void other_threads_wake_the_loop_and_no_wake_is_lost(void)
{
	struct wake w = {0};
	pthread_t thread;

	CHECK_OK(loop_async_new(fix.loop, on_wake, &w, &w.async));
	CHECK_INT_EQ(pthread_create(&thread, NULL, wake_often, &w), 0);
	net_fix_run_until(all_seen, &w);
	CHECK_INT_EQ(pthread_join(thread, NULL), 0);
	loop_async_free(w.async);
}

static void free_own_async(void *ctx)
{
	struct wake *w = ctx;

	loop_async_free(w->async);
	w->async = NULL;
	note('w');
}

static void an_async_can_free_itself(void)
{
	struct wake w = {0};

	CHECK_OK(loop_async_new(fix.loop, free_own_async, &w, &w.async));
	loop_async_send(w.async);
	run_until_traced(1);
	CHECK_NULL(w.async);
	loop_async_free(NULL);
}

/* ---- poll ---- */

struct watched {
	int fd;
	struct loop_poll *poll;
	bool free_it;
};

static void on_readable(void *ctx)
{
	struct watched *w = ctx;
	uint64_t n;

	CHECK_INT_EQ(read(w->fd, &n, sizeof(n)), sizeof(n));
	note((char)('0' + n));
	if (w->free_it) {
		loop_poll_free(w->poll);
		w->poll = NULL;
	}
}

static void a_readable_descriptor_is_reported(void)
{
	struct watched w = {.fd = eventfd(0, 0)};

	CHECK_OK(loop_poll_new(fix.loop, w.fd, on_readable, &w, &w.poll));
	CHECK_INT_EQ(eventfd_write(w.fd, 3), 0);
	run_until_traced(1);
	w.free_it = true;
	CHECK_INT_EQ(eventfd_write(w.fd, 4), 0);
	run_until_traced(2);
	CHECK_STR_EQ(trace, "34");
	CHECK_NULL(w.poll);
	loop_poll_free(NULL);
	close(w.fd);
}

static void on_hangup(void *ctx)
{
	struct watched *w = ctx;
	char c;

	CHECK_INT_EQ(read(w->fd, &c, 1), 0);
	note('h');
	loop_poll_free(w->poll);
}

static void an_end_of_file_is_reported(void)
{
	struct watched w;
	int fds[2];

	CHECK_INT_EQ(pipe(fds), 0);
	w.fd = fds[0];
	CHECK_OK(loop_poll_new(fix.loop, w.fd, on_hangup, &w, &w.poll));
	close(fds[1]);
	run_until_traced(1);
	close(fds[0]);
}

static void a_bad_descriptor_is_refused(void)
{
	struct loop_poll *p = NULL;

	CHECK_TRUE(loop_poll_new(fix.loop, 9999, on_readable, NULL, &p) < 0);
	CHECK_NULL(p);
}

/* ---- signals ---- */

static void on_signal(void *ctx, int signum)
{
	CHECK_INT_EQ(signum, *(int *)ctx);
	note('s');
}

static void a_signal_is_reported(void)
{
	struct loop_signal *s = NULL;
	int signum = SIGUSR1;

	CHECK_OK(loop_signal_new(fix.loop, signum, on_signal, &signum, &s));
	CHECK_INT_EQ(raise(signum), 0);
	run_until_traced(1);
	CHECK_STR_EQ(trace, "s");
	loop_signal_free(s);
	loop_signal_free(NULL);
	CHECK_ERR(loop_signal_new(fix.loop, SIGKILL, on_signal, &signum, &s), ERR_INVAL);
}

/* ---- env ---- */

static void clocks_and_randomness(void)
{
	struct env *e = loop_env(fix.loop);
	uint64_t a = env_mono_ns(e), b = env_mono_ns(e);
	uint64_t bits_or = 0, bits_and = UINT64_MAX;

	CHECK_TRUE(b >= a);
	CHECK_TRUE(env_wall_ns(e) > 1600000000 * NS_PER_S);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t r = env_random(e);

		bits_or |= r;
		bits_and &= r;
	}
	CHECK_U64_EQ(bits_or, UINT64_MAX);
	CHECK_U64_EQ(bits_and, 0);
}

static void a_loop_that_never_ran_can_be_freed(void)
{
	struct loop *l = NULL;
	struct loop_async *a;

	CHECK_OK(loop_new(&l, NULL));
	CHECK_OK(loop_async_new(l, on_wake, NULL, &a));
	loop_async_free(a);
	loop_free(l);
	loop_free(NULL);
}

static void free_with_open_handle(void *arg)
{
	struct loop_async *a;
	struct loop *l;

	(void)arg;
	loop_new(&l, NULL);
	loop_async_new(l, on_wake, NULL, &a);
	loop_free(l);
}

static void freeing_a_loop_with_something_open_aborts(void)
{
	CHECK_ABORTS(free_with_open_handle, NULL);
}

#define TEST(fn) CHECK_TEST_WITH(setup, net_fix_teardown, fn)

static const struct check_test tests[] = {
	TEST(timers_fire_in_order_of_their_nanosecond),
	TEST(timers_are_never_early_and_soon),
	TEST(an_earlier_timer_overtakes_a_later_one),
	TEST(a_timer_can_be_set_anew),
	TEST(a_timer_set_for_the_past_starves_nobody),
	TEST(a_due_timer_can_be_canceled_by_another),
	TEST(many_timers_fire_all),
	TEST(turns_follow_timers_and_fibers_in_order),
	TEST(a_fiber_started_by_a_turn_runs_without_sleeping),
	TEST(a_turn_can_take_itself_and_the_next_one_off),
	TEST(fibers_sleep_by_the_loops_timers),
	TEST(a_stop_before_the_run_ends_it_at_once),
	TEST(other_threads_wake_the_loop_and_no_wake_is_lost),
	TEST(an_async_can_free_itself),
	TEST(a_readable_descriptor_is_reported),
	TEST(an_end_of_file_is_reported),
	TEST(a_bad_descriptor_is_refused),
	TEST(a_signal_is_reported),
	TEST(clocks_and_randomness),
	TEST(a_loop_that_never_ran_can_be_freed),
	TEST(freeing_a_loop_with_something_open_aborts),
};
CHECK_MAIN(tests)
