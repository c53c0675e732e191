#include "net/loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/logger.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/loop_parts.h"
#include "net/loop_private.h"

#define NOT_ARMED	UINT64_MAX
#define FREE_ROUNDS_MAX 64u /* turns that loop_free() gives to what is being closed */

struct loop {
	uv_loop_t uv;
	struct env env;

	struct loop_timers timers;
	int timer_fd;
	uint64_t timer_armed_ns; /* NOT_ARMED, or when timer_fd expires */
	uv_poll_t timer_poll;

	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* active: the next poll does not sleep */
	bool kicked;
	struct fiber_sched *fibers;
	struct loop_turns turns;
	struct loop_ext *ext;
	struct xoshiro random;
};

/* ---- env ---- */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	CHECK(clock_gettime(id, &ts) == 0);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t loop_mono_ns(struct env *e)
{
	(void)e;
	return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t loop_wall_ns(struct env *e)
{
	(void)e;
	return clock_ns(CLOCK_REALTIME);
}

static uint64_t loop_random(struct env *e)
{
	return xoshiro_next(&container_of(e, struct loop, env)->random);
}

static void loop_timer_cancel(struct env *e, struct env_timer *t)
{
	loop_timers_cancel(&container_of(e, struct loop, env)->timers, t);
}

static void loop_timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
	loop_timers_set(&container_of(e, struct loop, env)->timers, t, at_ns);
}

static void env_setup(struct loop *l)
{
	l->env = (struct env){
		.mono_ns = loop_mono_ns,
		.wall_ns = loop_wall_ns,
		.random = loop_random,
		.timer_set = loop_timer_set,
		.timer_cancel = loop_timer_cancel,
	};
}

/* ---- the turn ---- */

/* After the poll. */
static void on_check(uv_check_t *h)
{
	struct loop *l = h->data;

	if (l->timers.heap.root)
		loop_timers_fire(&l->timers, clock_ns(CLOCK_BOOTTIME));
	fiber_sched_run(l->fibers);
	l->kicked = false;
	loop_turns_run(&l->turns);
	if (l->ext)
		l->ext->flush(l->ext);
}

static void on_idle(uv_idle_t *h)
{
	(void)h;
}

static void on_timer_fd(uv_poll_t *h, int status, int events)
{
	struct loop *l = h->data;
	uint64_t expirations;

	(void)status;
	(void)events;
	if (read(l->timer_fd, &expirations, sizeof(expirations)) < 0)
		CHECK(errno == EAGAIN || errno == ECANCELED || errno == EINTR);
	l->timer_armed_ns = NOT_ARMED;
}

/* True when the earliest timer is due already. An expiry that is left armed for a canceled timer
 * costs one empty turn; that is cheaper than disarming each time. */
static bool arm_timer_fd(struct loop *l)
{
	const struct env_timer *t = l->timers.heap.root;
	struct itimerspec at = {0};

	if (!t || t->at_ns >= l->timer_armed_ns)
		return false;
	if (t->at_ns <= clock_ns(CLOCK_BOOTTIME))
		return true;
	at.it_value.tv_sec = (time_t)(t->at_ns / NS_PER_S);
	at.it_value.tv_nsec = (long)(t->at_ns % NS_PER_S);
	CHECK(timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
	l->timer_armed_ns = t->at_ns;
	return false;
}

/* Before the poll: may it sleep? */
static void on_prepare(uv_prepare_t *h)
{
	struct loop *l = h->data;
	bool due = arm_timer_fd(l);

	if (due || l->kicked || (l->ext && l->ext->pending(l->ext)))
		uv_idle_start(&l->idle, on_idle);
	else
		uv_idle_stop(&l->idle);
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

static int seed_random(struct loop *l, struct msg *m)
{
	uint64_t *s = l->random.s;
	size_t size = sizeof(l->random.s);

	do {
		if (getrandom(s, size, 0) != (ssize_t)size)
			return msg_set(m, ERR_IO, "getrandom: %s", strerror(errno));
	} while (!(s[0] | s[1] | s[2] | s[3])); /* the one state that it never leaves */
	return 0;
}

static void ignore_signal(int signum)
{
	(void)signum;
}

/* A write to a connection that broke a moment ago must fail, not end the process. With a handler
 * rather than SIG_IGN, so that programs started by this one get the default back. */
static void catch_sigpipe(void)
{
	struct sigaction now;
	struct sigaction ours = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};

	CHECK(sigaction(SIGPIPE, NULL, &now) == 0);
	if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
		CHECK(sigaction(SIGPIPE, &ours, NULL) == 0);
}

static void start_handles(struct loop *l)
{
	CHECK(uv_prepare_init(&l->uv, &l->prepare) == 0);
	CHECK(uv_check_init(&l->uv, &l->check) == 0);
	CHECK(uv_idle_init(&l->uv, &l->idle) == 0);
	l->prepare.data = l;
	l->check.data = l;
	l->idle.data = l;
	l->timer_poll.data = l;
	CHECK(uv_prepare_start(&l->prepare, on_prepare) == 0);
	CHECK(uv_check_start(&l->check, on_check) == 0);
}

int loop_new(struct loop **out, struct msg *m)
{
	struct loop *l = mem_must_alloc(sizeof(*l));
	int err = seed_random(l, m);

	if (err)
		goto out_free;
	catch_sigpipe();
	loop_turns_init(&l->turns);
	l->timer_armed_ns = NOT_ARMED;
	env_setup(l);
	l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->timer_fd < 0) {
		err = msg_set(m, err_from_errno(errno), "timerfd: %s", strerror(errno));
		goto out_free;
	}
	err = uv_loop_init(&l->uv);
	if (err) {
		err = msg_set(m, err_from_errno(-err), "event loop: %s", uv_strerror(err));
		goto out_close_timer;
	}
	err = uv_poll_init(&l->uv, &l->timer_poll, l->timer_fd);
	if (err) {
		err = msg_set(m, err_from_errno(-err), "poll timerfd: %s", uv_strerror(err));
		goto out_close_loop;
	}
	start_handles(l);
	CHECK(uv_poll_start(&l->timer_poll, UV_READABLE, on_timer_fd) == 0);
	l->fibers = fiber_sched_new(&l->env, on_fibers_ready, l);
	*out = l;
	return 0;

out_close_loop:
	CHECK(uv_loop_close(&l->uv) == 0);
out_close_timer:
	close(l->timer_fd);
out_free:
	mem_free(l);
	return err;
}

static bool is_own(const struct loop *l, const uv_handle_t *h)
{
	return h == (const uv_handle_t *)&l->prepare || h == (const uv_handle_t *)&l->check ||
	       h == (const uv_handle_t *)&l->idle || h == (const uv_handle_t *)&l->timer_poll;
}

static void note_closing(uv_handle_t *h, void *arg)
{
	if (uv_is_closing(h))
		*(bool *)arg = true;
}

static bool is_closing_any(struct loop *l)
{
	bool any = false;

	uv_walk(&l->uv, note_closing, &any);
	return any;
}

static void close_own(uv_handle_t *h, void *arg)
{
	struct loop *l = arg;

	if (is_own(l, h))
		uv_close(h, NULL);
	else
		log_error("loop freed with an open %s on it", uv_handle_type_name(h->type));
}

void loop_free(struct loop *l)
{
	unsigned rounds = 0;

	if (!l)
		return;
	loop_turns_init(&l->turns); /* their owners are gone, likely */
	/* Let what was closed end, and the fibers that heard of it. */
	loop__kick(l);
	while ((l->kicked || is_closing_any(l)) && rounds++ < FREE_ROUNDS_MAX)
		uv_run(&l->uv, UV_RUN_NOWAIT);
	if (l->ext)
		l->ext->release(l->ext);
	fiber_sched_free(l->fibers);
	uv_walk(&l->uv, close_own, l);
	uv_run(&l->uv, UV_RUN_NOWAIT);
	CHECK(uv_loop_close(&l->uv) == 0);
	close(l->timer_fd);
	mem_free(l);
}

void loop_run(struct loop *l)
{
	CHECK(fiber_self() == NULL);
	loop__kick(l);
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
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
	return &l->uv;
}

void loop__kick(struct loop *l)
{
	l->kicked = true;
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
