/* Executing mini-transactions: split by group, read-only ones directly, others through the leader of
 * the home key's group, exactly once (DESIGN section 6). */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"
#include "txn/tsm.h"

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
	fan_done(f, f->fn(f->ctx, it->index));
	it->fiber = NULL;
	if (f->left == 0)
		fiber_wake(f->waiter);
}

static void fan_interrupt(struct fan *f)
{
	for (uint32_t i = 1; i < f->count; i++)
		if (f->items[i].fiber)
			fiber_interrupt(f->items[i].fiber);
}

int kv__fan_out(struct kv_client *c, uint32_t n, kv_fan_fn *fn, void *ctx)
{
	struct fan f = {.fn = fn, .ctx = ctx, .waiter = fiber_self(), .count = n, .left = n};
	bool passed_on = false;

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
		if (fiber_interrupted() && !passed_on) {
			fan_interrupt(&f);
			passed_on = true;
		}
		fiber_park();
	}
	mem_free(f.items);
	return f.err;
}

uint64_t kv__deadline(const struct kv_client *c)
{
	return c->cfg.timeout_ns ? env_mono_ns(c->cfg.env) + c->cfg.timeout_ns : UINT64_MAX;
}

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	struct kv_client *c = ctx;
	struct slice end;

	if (to.len == 0) {
		*group = kv_layout_group_of(&c->layout, key);
		return 0;
	}
	return kv_layout_range_group(&c->layout, key, to, group, &end);
}

/* ---- reading ---- */

struct read_round {
	struct kv_client *c;
	struct txn_part *parts;
	struct buf replies[TXN_GROUPS_MAX];
	struct slice bodies[TXN_GROUPS_MAX];
	uint64_t deadline_ns;
};

static int read_part(void *ctx, uint32_t i)
{
	struct read_round *r = ctx;
	bool unknown = false;

	return kv__call_group(r->c, r->parts[i].group, KV_READ, buf_slice(&r->parts[i].body),
			      r->deadline_ns, &unknown, &r->replies[i], &r->bodies[i]);
}

static struct read_round *read_round_new(struct kv_client *c, struct txn_part *parts,
					 uint64_t deadline_ns)
{
	struct read_round *r = mem_must_alloc(sizeof(*r));

	r->c = c;
	r->parts = parts;
	r->deadline_ns = deadline_ns;
	return r;
}

static void read_round_free(struct read_round *r)
{
	for (uint32_t i = 0; i < TXN_GROUPS_MAX; i++)
		buf_release(&r->replies[i]);
	mem_free(r);
}

static bool rounds_agree(const struct read_round *a, const struct read_round *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!slice_eq(a->bodies[i], b->bodies[i]))
			return false;
	return true;
}

static int merge_round(const struct txn_mini *m, const struct read_round *rr, uint32_t n,
		       struct txn_result *r)
{
	txn_result_prepare(r, m);
	for (uint32_t i = 0; i < n; i++) {
		int err = txn_result_merge(r, rr->bodies[i]);

		if (err)
			return err;
	}
	return 0;
}

/* One group: one request. Several: rounds until two in a row saw the same versions; the second
 * starts after all of the first have returned, so that there is a moment at which all held. */
static int exec_read(struct kv_client *c, const struct txn_mini *m, struct txn_part *parts,
		     uint32_t n, uint64_t deadline_ns, struct txn_result *r)
{
	struct read_round *last = NULL, *now = NULL;
	uint64_t backoff = BACKOFF_NS_MIN;
	int err;

	for (;;) {
		now = read_round_new(c, parts, deadline_ns);
		err = kv__fan_out(c, n, read_part, now);
		if (err || n == 1 || (last && rounds_agree(last, now, n)))
			break;
		if (last) {
			read_round_free(last);
			err = kv__pause(c, &backoff, deadline_ns);
		}
		last = now;
		now = NULL;
		if (err)
			break;
	}
	if (!err)
		err = merge_round(m, now, n, r);
	if (last)
		read_round_free(last);
	if (now)
		read_round_free(now);
	c->stats.reads++;
	return err;
}

/* ---- writing ---- */

static uint64_t acknowledged_mark(const struct kv_client *c)
{
	struct kv_inflight *first = TAILQ_FIRST(&c->inflight);

	return first ? first->sequence - 1 : c->sequence;
}

/* The coordinator is the group of the first mutation; its part goes first. */
static struct slice put_home_first(struct kv_client *c, const struct txn_mini *m,
				   struct txn_part *parts, uint32_t n)
{
	struct slice home = m->muts[0].key;
	uint32_t group = kv_layout_group_of(&c->layout, home);

	for (uint32_t i = 0; i < n; i++) {
		if (parts[i].group == group && i != 0) {
			struct txn_part p = parts[0];

			parts[0] = parts[i];
			parts[i] = p;
		}
	}
	CHECK(parts[0].group == group);
	return home;
}

/* An interrupted request may have been executed. Ask for its cancellation: whichever is executed
 * first, request or CANCEL, is the result. Shielded from further interrupts, but bounded. */
static int settle_interrupted(struct kv_client *c, uint32_t group, uint64_t sequence,
			      struct buf *reply, struct slice *body)
{
	struct buf cancel = BUF_INIT;
	bool unknown = true;
	int err;

	fiber_interrupt_clear();
	tsm_command_cancel(&cancel, c->id, sequence, ERR_INTERRUPTED);
	err = buf_ok(&cancel) ? kv__call_group(c, group, KV_EXEC, buf_slice(&cancel),
					       env_mono_ns(c->cfg.env) + CANCEL_NS, &unknown,
					       reply, body)
			      : ERR_NOMEM;
	buf_release(&cancel);
	return err ? ERR_INTERRUPTED : 0;
}

struct write {
	struct kv_client *c;
	const struct txn_mini *m;
	struct txn_part *parts;
	uint32_t part_count;
	struct slice home;
	uint64_t age, deadline_ns;
};

/* One try under a sequence of its own. The result is merged into @r. */
static int write_once(struct write *w, struct txn_result *r)
{
	struct kv_client *c = w->c;
	struct kv_inflight self;
	struct buf request = BUF_INIT, reply = BUF_INIT;
	struct slice body = {0};
	bool unknown = false;
	uint32_t group = w->parts[0].group;
	int err;

	struct tsm_request q = {.client = c->id,
				.mark = acknowledged_mark(c),
				.age = w->age,
				.home = w->home,
				.parts = w->parts,
				.part_count = w->part_count};

	self.sequence = q.sequence = ++c->sequence;
	TAILQ_INSERT_TAIL(&c->inflight, &self, link);
	for (uint32_t i = 0; i < w->part_count; i++)
		c->used[w->parts[i].group] = true;
	tsm_request_encode(&q, &request);
	err = buf_ok(&request) ? kv__call_group(c, group, KV_EXEC, buf_slice(&request),
						w->deadline_ns, &unknown, &reply, &body)
			       : ERR_NOMEM;
	if (err == ERR_INTERRUPTED && unknown)
		err = settle_interrupted(c, group, q.sequence, &reply, &body);
	TAILQ_REMOVE(&c->inflight, &self, link);
	if (!err) {
		txn_result_prepare(r, w->m);
		err = txn_result_merge(r, body);
	}
	buf_release(&request);
	buf_release(&reply);
	return err;
}

static bool worth_another_try(int status)
{
	return status == ERR_ABORTED || status == ERR_DEADLOCK || status == ERR_BUSY;
}

static int exec_write(struct kv_client *c, const struct txn_mini *m, struct txn_part *parts,
		      uint32_t n, uint64_t age, uint64_t deadline_ns, struct txn_result *r)
{
	struct write w = {.c = c,
			  .m = m,
			  .parts = parts,
			  .part_count = n,
			  .age = age,
			  .deadline_ns = deadline_ns};
	uint64_t backoff = BACKOFF_NS_MIN;
	int err = kv__session_open(c, deadline_ns);

	if (err)
		return err;
	c->stats.execs++;
	c->stats.cross_group += n > 1;
	w.home = put_home_first(c, m, parts, n);
	for (;;) {
		err = write_once(&w, r);
		if (err == ERR_SESSION || (!err && r->status == ERR_SESSION))
			c->session_lost = true;
		if (err || !worth_another_try(r->status))
			return err;
		err = kv__pause(c, &backoff, deadline_ns);
		if (err)
			return err;
	}
}

int kv__exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	struct kv_client *c = container_of(x, struct kv_client, executor);
	struct txn_part *parts;
	uint32_t n = 0;
	uint64_t deadline = kv__deadline(c), age = env_wall_ns(c->cfg.env), backoff = BACKOFF_NS_MIN;
	int err;

	if (m->err)
		return m->err;
	parts = mem_must_alloc(sizeof(*parts) * TXN_GROUPS_MAX);
	for (;;) {
		uint64_t version = c->layout.version;

		err = txn_split(m, route, c, parts, &n);
		if (err)
			break;
		err = m->mut_count == 0 ? exec_read(c, m, parts, n, deadline, r)
					: exec_write(c, m, parts, n, age, deadline, r);
		txn_parts_release(parts, n);
		if (err || r->status != ERR_WRONG_SHARD)
			break;
		err = kv__layout_refresh(c, version, deadline, NULL);
		if (!err && c->layout.version == version)
			err = kv__pause(c, &backoff, deadline);
		if (err)
			break;
	}
	mem_free(parts);
	return err ? err : r->status;
}
