/* The cluster around the store: time, groups, mounts, and an executor with delays and faults. */
#include "tests/lib/fs_fixture.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/fs_internal.h"
#include "kv/layout.h"
#include "tests/lib/check.h"

struct env_timer_box {
	struct env_timer *t;
	TAILQ_ENTRY(env_timer_box) link;
};

/* ---- environment ---- */

static struct fsx *of_env(struct env *e)
{
	return container_of(e, struct fsx, env);
}

static uint64_t now(struct env *e)
{
	return of_env(e)->now_ns;
}

uint64_t fsx_random(struct fsx *x)
{
	x->seed ^= x->seed << 13;
	x->seed ^= x->seed >> 7;
	x->seed ^= x->seed << 17;
	return x->seed * 0x2545f4914f6cdd1dull;
}

static uint64_t env_rand(struct env *e)
{
	return fsx_random(of_env(e));
}

static void timer_cancel(struct env *e, struct env_timer *t)
{
	struct fsx *x = of_env(e);

	if (!t->armed)
		return;
	TAILQ_REMOVE(&x->timers, (struct env_timer_box *)t->impl, link);
	x->timer_count--;
	mem_free(t->impl);
	t->impl = NULL;
	t->armed = false;
}

static void timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
	struct fsx *x = of_env(e);
	struct env_timer_box *b = mem_must_alloc(sizeof(*b)), *at;

	timer_cancel(e, t);
	b->t = t;
	t->impl = b;
	t->at_ns = at_ns;
	t->armed = true;
	x->timer_count++;
	TAILQ_FOREACH(at, &x->timers, link)
		if (at->t->at_ns > at_ns)
			break;
	if (at)
		TAILQ_INSERT_BEFORE(at, b, link);
	else
		TAILQ_INSERT_TAIL(&x->timers, b, link);
}

static bool fire_next(struct fsx *x)
{
	struct env_timer_box *b = TAILQ_FIRST(&x->timers);
	struct env_timer *t;

	if (!b)
		return false;
	t = b->t;
	if (t->at_ns > x->now_ns)
		x->now_ns = t->at_ns;
	timer_cancel(&x->env, t);
	t->fire(t);
	return true;
}

/* ---- groups ---- */

uint32_t fsx_group_of(struct fsx *x, struct slice key)
{
	uint32_t i = x->border_count - 1;

	while (i > 0 && slice_cmp(buf_slice(&x->borders[i].from), key) > 0)
		i--;
	return x->borders[i].group;
}

static void range_end(struct fsx *x, struct slice from, struct slice *end)
{
	uint32_t group = fsx_group_of(x, from);

	*end = (struct slice){0};
	for (uint32_t i = 1; i < x->border_count; i++) {
		struct slice b = buf_slice(&x->borders[i].from);

		if (slice_cmp(b, from) > 0 && x->borders[i].group != group) {
			*end = b;
			return;
		}
	}
}

static void b_range(void *ctx, struct slice from, struct slice *end)
{
	const struct fsx_mount *m = ctx;

	range_end(m->x, from, end);
}

static int b_confirm(void *ctx)
{
	struct fsx_mount *m = ctx;

	if (m->closed)
		fsx_next_session(m);
	return 0;
}

static int b_watch(void *ctx, struct slice key, uint64_t version, uint64_t wait_ns, uint64_t *found)
{
	const struct fsx_mount *m = ctx;

	return fsx_watch(m->x, key, version, wait_ns, found);
}

static uint32_t b_group_of(void *ctx, struct slice key)
{
	const struct fsx_mount *m = ctx;

	return fsx_group_of(m->x, key);
}

void fsx_split(struct fsx *x, struct slice key, uint32_t group)
{
	uint32_t at = 0;

	x->borders = mem_must_realloc(x->borders, sizeof(*x->borders) * (x->border_count + 1));
	while (at < x->border_count && slice_cmp(buf_slice(&x->borders[at].from), key) < 0)
		at++;
	memmove(x->borders + at + 1, x->borders + at,
		sizeof(*x->borders) * (x->border_count - at));
	x->borders[at] = (struct fsx_border){.group = group};
	buf_add_slice(&x->borders[at].from, key);
	x->border_count++;
}

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	struct slice end;

	*group = fsx_group_of(ctx, key);
	if (to.len == 0)
		return 0;
	range_end(ctx, key, &end);
	return end.len > 0 && slice_cmp(to, end) > 0 ? ERR_ELSEWHERE : 0;
}

/* ---- the executor ---- */

static int count_parts(struct fsx *x, const struct txn_mini *m)
{
	static struct txn_part parts[TXN_GROUPS_MAX];
	uint32_t n = 0;
	int err = txn_split(m, route, x, parts, &n);

	if (err)
		return err;
	txn_parts_release(parts, n);
	x->execs++;
	x->reads += m->mut_count == 0;
	x->writes += m->mut_count > 0;
	x->cross += m->mut_count > 0 && n > 1;
	return 0;
}

static int delay(struct fsx *x)
{
	if (x->delay_ns == 0)
		return 0;
	return fiber_sleep(fsx_random(x) % x->delay_ns);
}

/* What goes wrong with this execution: 0, or the answer; *done: it happens nevertheless. */
static int draw_fault(struct fsx *x, bool *done)
{
	static const int faults[] = {ERR_BUSY, ERR_DEADLOCK, ERR_ABORTED, ERR_TIMEOUT, ERR_TIMEOUT};
	uint64_t kind;

	*done = true;
	if (x->fault_percent == 0 || fsx_random(x) % 100 >= x->fault_percent)
		return 0;
	kind = fsx_random(x) % (x->no_timeouts ? 3 : sizeof(faults) / sizeof(faults[0]));
	*done = kind == 4;
	x->timeouts += faults[kind] == ERR_TIMEOUT;
	return faults[kind];
}

static int exec(struct txn_executor *ex, const struct txn_mini *m, struct txn_result *res)
{
	struct fsx_mount *mt = container_of(ex, struct fsx_mount, executor);
	struct fsx *x = mt->x;
	int err, fault;
	bool done;

	if (m->err)
		return m->err;
	if (x->before && !x->in_before) {
		x->in_before = true;
		x->before(x, m);
		x->in_before = false;
	}
	err = delay(x);
	if (err)
		return err;
	if (mt->lives == 0)
		return ERR_SESSION;
	if (mt->lives > 0)
		mt->lives--;
	if (mt->closed && m->mut_count) {
		fsx_next_session(mt);
		return res->status = ERR_SESSION;
	}
	mem_fail_pause(true); /* the store has its memory, when a mount runs out of it */
	txn_result_prepare(res, m);
	err = count_parts(x, m);
	if (err) {
		mem_fail_pause(false);
		return res->status = err;
	}
	fault = draw_fault(x, &done);
	if (m->mut_count && mt->lose_outcome == 1)
		done = mt->outcome_done;
	err = done ? fsx_run_mini(x, m, res) : 0;
	mem_fail_pause(false);
	if (done && m->mut_count)
		fsx_wake(x);
	if (mt->lose_reply > 0 && --mt->lose_reply == 0)
		fault = ERR_TIMEOUT;
	if (m->mut_count && mt->lose_outcome > 0 && --mt->lose_outcome == 0) {
		fsx_next_session(mt);
		fault = ERR_OUTCOME;
	}
	if (fault)
		return res->status = fault;
	(void)delay(x);
	if (mt->closed && !m->mut_count)
		fsx_next_session(mt);
	return err;
}

/* ---- life ---- */

struct fsx *fsx_new(uint32_t groups, uint64_t seed)
{
	struct fsx *x = mem_must_alloc(sizeof(*x));

	x->env = (struct env){.mono_ns = now,
			      .wall_ns = now,
			      .random = env_rand,
			      .timer_set = timer_set,
			      .timer_cancel = timer_cancel};
	x->now_ns = 1700000000ull * NS_PER_S;
	x->seed = seed * 2654435761u + 88172645463325252ull;
	x->groups = groups;
	x->hash_mask = UINT64_MAX;
	TAILQ_INIT(&x->timers);
	RB_INIT(&x->tree);
	LIST_INIT(&x->mounts);
	LIST_INIT(&x->watchers);
	for (uint32_t i = 0; i <= groups; i++) {
		uint8_t b[2];

		be16_put(b, (uint16_t)(0x8000u * i / groups));
		fsx_split(x, slice_of(b, i == 0 ? 0 : 2), i == groups ? 0 : i + 1);
	}
	x->fibers = fiber_sched_new(&x->env, NULL, NULL);
	return x;
}

static void close_fiber(void *arg)
{
	struct fsx_mount *m = arg;

	fs_close(m->fs);
	m->fs = NULL;
}

void fsx_umount(struct fsx_mount *m)
{
	struct buf key = BUF_INIT;

	fsx_call(m->x, close_fiber, m);
	fsx_session_key(&key, m->b.session);
	fsx_delete(m->x, buf_slice(&key));
	buf_release(&key);
	LIST_REMOVE(m, link);
	mem_free(m);
}

void fsx_new_session(struct fsx_mount *m, uint64_t before)
{
	struct buf key = BUF_INIT;

	fsx_session_key(&key, before);
	fsx_delete(m->x, buf_slice(&key));
	buf_reset(&key);
	fsx_session_key(&key, m->b.session);
	fsx_put(m->x, buf_slice(&key), slice_str("session"));
	buf_release(&key);
}

void fsx_kill(struct fsx_mount *m)
{
	m->lives = 0;
}

void fsx_umount_all(struct fsx *x)
{
	fsx_settle(x);
	while (!LIST_EMPTY(&x->mounts))
		fsx_umount(LIST_FIRST(&x->mounts));
	fsx_settle(x);
}

void fsx_free(struct fsx *x)
{
	struct fsx_rec *r, *next;

	fsx_umount_all(x);
	fiber_sched_free(x->fibers);
	RB_FOREACH_SAFE(r, fsx_tree, &x->tree, next) {
		RB_REMOVE(fsx_tree, &x->tree, r);
		fsx_rec_free(r);
	}
	for (uint32_t i = 0; i < x->border_count; i++)
		buf_release(&x->borders[i].from);
	mem_free(x->borders);
	mem_free(x);
}

struct opening {
	struct fsx_mount *m;
	const struct fs_options *o;
};

static void open_fiber(void *arg)
{
	struct opening *op = arg;
	struct msg msg = {{0}};
	int err = fs_format(&op->m->b);

	if (err != ERR_EXISTS)
		CHECK_OK(err);
	err = fs_open(&op->m->b, op->o, &op->m->fs, &msg);
	if (err)
		CHECK_FAIL("fs_open: %s", msg.text);
}

struct fsx_mount *fsx_mount_with(struct fsx *x, const struct fs_options *o)
{
	struct fsx_mount *m = mem_must_alloc(sizeof(*m));
	struct opening op = {m, o};

	m->x = x;
	m->lives = -1;
	m->executor.exec = exec;
	m->b = (struct fs_backend){.executor = &m->executor,
				   .range = b_range,
				   .group_of = b_group_of,
				   .watch = b_watch,
				   .confirm = b_confirm,
				   .ctx = m,
				   .env = &x->env,
				   .fibers = x->fibers,
				   .session = fsx_first_session(x)};
	LIST_INSERT_HEAD(&x->mounts, m, link);
	fsx_call(x, open_fiber, &op);
	m->fs->hash_mask = x->hash_mask;
	return m;
}

struct fsx_mount *fsx_mount(struct fsx *x)
{
	return fsx_mount_with(x, NULL);
}

/* ---- running ---- */

struct call {
	fiber_fn *fn;
	void *arg;
	bool done;
};

static void call_fiber(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	c->done = true;
}

void fsx_start(struct fsx *x, fiber_fn *fn, void *arg)
{
	CHECK(fiber_start(x->fibers, fn, arg) == 0);
}

void fsx_call(struct fsx *x, fiber_fn *fn, void *arg)
{
	struct call c = {fn, arg, false};

	if (fiber_self()) { /* from a hook: on the present fiber */
		fn(arg);
		return;
	}
	fsx_start(x, call_fiber, &c);
	for (;;) {
		fiber_sched_run(x->fibers);
		if (c.done)
			return;
		CHECK(fire_next(x)); /* else it waits for nothing */
	}
}

void fsx_settle(struct fsx *x)
{
	do
		fiber_sched_run(x->fibers);
	while (x->timer_count > x->idle && fire_next(x));
}
