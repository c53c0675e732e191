#include "tests/lib/txn_fixture.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"
#include "txn/reply_codec.h"

#define START_NS	(1000 * NS_PER_S)
#define WALL_BASE_NS	(1700000000ull * NS_PER_S)
#define TICKS_IN_A_ROW	10000u /* without anything else: the machine spins */
#define ELECT_NS_MIN	(5 * NS_PER_MS)
#define ELECT_NS_MAX	(60 * NS_PER_MS)
#define LATE_NS_MAX	(2 * NS_PER_S)
#define SKEW_NS_MAX	(40 * NS_PER_MS)

enum event_kind { EV_COMMAND, EV_REPLY, EV_MESSAGE, EV_CHOSEN, EV_ELECT, EV_WAKE, EV_RETRY };

struct txf_event {
	uint64_t at_ns, order;
	enum event_kind kind;
	uint32_t group;
	uint64_t call;
	struct fiber *fiber;
	struct buf bytes;
};

struct request_key {
	uint64_t client, sequence;
};

struct txf_answer { /* the first reply to a request */
	UT_hash_handle hh;
	struct request_key key;
	uint64_t hash;
	int status;
};

/* ---- chance ---- */

uint64_t txf_random(struct txf *f)
{
	return splitmix64(&f->random);
}

uint64_t txf_below(struct txf *f, uint64_t n)
{
	return n ? txf_random(f) % n : 0;
}

bool txf_chance(struct txf *f, unsigned of_1000)
{
	return of_1000 > 0 && txf_below(f, 1000) < of_1000;
}

static uint64_t between(struct txf *f, uint64_t lo, uint64_t hi)
{
	return lo + txf_below(f, hi - lo + 1);
}

void txf_config_default(struct txf_config *c)
{
	*c = (struct txf_config){.groups = 4,
				 .replicas = 3,
				 .seed = 1,
				 .delay_ns_min = 100 * NS_PER_US,
				 .delay_ns_max = 100 * NS_PER_US,
				 .log_ns_min = 200 * NS_PER_US,
				 .log_ns_max = 200 * NS_PER_US,
				 .limit_ns = 600 * NS_PER_S};
}

void txf_config_faulty(struct txf_config *c, uint64_t seed)
{
	struct txf f = {.random = seed};

	txf_config_default(c);
	c->seed = seed;
	c->delay_ns_min = 10 * NS_PER_US;
	c->delay_ns_max = between(&f, 100, 5000) * NS_PER_US;
	c->log_ns_min = 50 * NS_PER_US;
	c->log_ns_max = between(&f, 100, 3000) * NS_PER_US;
	c->loss = (unsigned)txf_below(&f, 4) * 30;
	c->repeat = (unsigned)txf_below(&f, 3) * 60;
	c->lag = (unsigned)txf_below(&f, 3) * 200;
	c->crash = (unsigned)txf_below(&f, 3) * 10;
	c->leader_loss = (unsigned)txf_below(&f, 4) * 3;
	c->restart = (unsigned)txf_below(&f, 3) * 3;
	c->late = (unsigned)txf_below(&f, 3) * 50;
	c->snapshot = (unsigned)txf_below(&f, 3) * 3;
}

/* ---- events ---- */

static bool sooner(const struct txf_event *a, const struct txf_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct txf *f, struct txf_event *e)
{
	size_t i = f->heap_len++;

	if (f->heap_len > f->heap_cap) {
		f->heap_cap = f->heap_cap ? f->heap_cap * 2 : 64;
		f->heap = mem_must_realloc(f->heap, f->heap_cap * sizeof(*f->heap));
	}
	for (; i > 0 && sooner(e, f->heap[(i - 1) / 2]); i = (i - 1) / 2)
		f->heap[i] = f->heap[(i - 1) / 2];
	f->heap[i] = e;
}

static struct txf_event *heap_pop(struct txf *f)
{
	struct txf_event *top = f->heap[0], *last = f->heap[--f->heap_len];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < f->heap_len) {
		if (child + 1 < f->heap_len && sooner(f->heap[child + 1], f->heap[child]))
			child++;
		if (!sooner(f->heap[child], last))
			break;
		f->heap[i] = f->heap[child];
		i = child;
	}
	f->heap[i] = last;
	return top;
}

static struct txf_event *event_at(struct txf *f, enum event_kind kind, uint64_t after_ns)
{
	struct txf_event *e = mem_must_alloc(sizeof(*e));

	e->kind = kind;
	e->at_ns = f->now_ns + after_ns;
	e->order = f->order++;
	heap_push(f, e);
	return e;
}

static void event_free(struct txf_event *e)
{
	buf_release(&e->bytes);
	mem_free(e);
}

/* A message: it may be lost, or arrive twice, at different times. */
static void transmit(struct txf *f, enum event_kind kind, uint32_t group, uint64_t call,
		     struct slice bytes)
{
	int copies = f->quiet ? 1 : !txf_chance(f, f->cfg.loss) + txf_chance(f, f->cfg.repeat);

	while (copies-- > 0) {
		struct txf_event *e = event_at(
			f, kind, between(f, f->cfg.delay_ns_min, f->cfg.delay_ns_max));

		e->group = group;
		e->call = call;
		CHECK(buf_set(&e->bytes, bytes) == 0);
	}
	if (!f->quiet && txf_chance(f, f->cfg.late)) {
		struct txf_event *e = event_at(f, kind, txf_below(f, LATE_NS_MAX));

		e->group = group;
		e->call = call;
		CHECK(buf_set(&e->bytes, bytes) == 0);
	}
}

/* ---- outputs ---- */

static bool is_about_now(int status)
{
	return status == ERR_FORGOTTEN || status == ERR_SESSION || status == ERR_BUSY ||
	       status == ERR_WRONG_SHARD || status == ERR_NOT_LEADER;
}

/* Whoever answers, and however often: a request has one answer. */
static void check_answer(struct txf *f, const struct tsm_output *o)
{
	struct request_key key = {.client = o->client, .sequence = o->sequence};
	uint64_t hash = txn_range_hash(0, o->bytes, o->bytes.len);
	struct txf_answer *a;
	struct reply_head head;
	struct slice items;

	CHECK_OK(txn__reply_decode_head(o->bytes, &head, &items));
	if (o->client == 0 || f->strays || is_about_now(head.status))
		return;
	HASH_FIND(hh, f->answers, &key, sizeof(key), a);
	if (!a) {
		a = mem_must_alloc(sizeof(*a));
		*a = (struct txf_answer){.key = key, .hash = hash, .status = head.status};
		HASH_ADD(hh, f->answers, key, sizeof(key), a);
	} else if (a->hash != hash) {
		CHECK_FAIL("seed %llu: request %llu.%llu answered %s, then %s",
			   (unsigned long long)f->cfg.seed, (unsigned long long)o->client,
			   (unsigned long long)o->sequence, err_name(a->status),
			   err_name(head.status));
	}
}

static void propose(struct txf_group *g, struct slice command)
{
	struct txf *f = g->f;

	if (g->pending_count == g->pending_cap) {
		g->pending_cap = g->pending_cap ? g->pending_cap * 2 : 8;
		g->pending = mem_must_realloc(g->pending, g->pending_cap * sizeof(*g->pending));
	}
	buf_init(&g->pending[g->pending_count]);
	CHECK(buf_set(&g->pending[g->pending_count++], command) == 0);
	if (g->choosing)
		return;
	g->choosing = true;
	event_at(f, EV_CHOSEN, between(f, f->cfg.log_ns_min, f->cfg.log_ns_max))->group = g->id;
}

static void send_out(struct txf_group *g, const struct tsm_output *o)
{
	struct txf *f = g->f;

	CHECK_TRUE(o->group < f->cfg.groups || f->strays);
	f->messages++;
	if (o->group < f->cfg.groups && !(f->drop && f->drop(f, g->id, o->group, o->bytes)))
		transmit(f, EV_MESSAGE, o->group, 0, o->bytes);
}

static void reply_out(struct txf_group *g, const struct tsm_output *o)
{
	struct txf *f = g->f;
	struct txf_call *call = NULL;

	check_answer(f, o);
	while ((call = txf__call_next(f, call, g->id, o->client, o->sequence)) != NULL)
		transmit(f, EV_REPLY, 0, call->id, o->bytes);
}

static void carry_out(struct txf_group *g, unsigned replica)
{
	struct tsm_output o;
	bool leads = g->leader == (int)replica;

	while (tsm_output_next(g->replicas[replica].tsm, &o)) {
		if (o.kind == TSM_READ_DONE)
			transmit(g->f, EV_REPLY, 0, o.token, o.bytes);
		else if (!leads)
			continue;
		else if (o.kind == TSM_PROPOSE)
			propose(g, o.bytes);
		else if (o.kind == TSM_SEND)
			send_out(g, &o);
		else
			reply_out(g, &o);
	}
}

/* ---- replicas and their log ---- */

static bool owns(void *ctx, struct slice key, struct slice to)
{
	struct txf_group *g = ctx;
	uint32_t group = 0;

	return txf_route(g->f, key, to, &group) == 0 && group == g->id;
}

static void replica_open(struct txf_group *g, unsigned i)
{
	struct tsm_config cfg;

	tsm_config_default(&cfg);
	cfg.group = g->id;
	cfg.store = txn_mem_store(g->replicas[i].mem);
	CHECK(tsm_open(&cfg, &g->replicas[i].tsm) == 0);
}

static void entry_execute(struct txf_group *g, struct txf_replica *r, unsigned commands)
{
	const struct txf_entry *e = &g->log[r->applied];

	txn_mem_begin(r->mem);
	tsm_begin_entry(r->tsm, r->applied + 1, e->clock_ns);
	for (unsigned i = 0; i < commands; i++)
		CHECK_OK(tsm_apply(r->tsm, buf_slice(&e->commands[i])));
}

/* The power goes in the middle of an entry. */
static void entry_tear(struct txf_group *g, unsigned i)
{
	struct txf_replica *r = &g->replicas[i];
	uint64_t hash = txn_mem_hash(r->mem);

	entry_execute(g, r, (unsigned)txf_below(g->f, g->log[r->applied].count + 1));
	txn_mem_discard(r->mem);
	CHECK_U64_EQ(txn_mem_hash(r->mem), hash);
	tsm_close(r->tsm);
	replica_open(g, i);
}

/* Both stores, as far as the other one has not gone on. */
static void show_difference(struct txf_group *g, unsigned i)
{
	for (unsigned k = 0; k < g->f->cfg.replicas; k++) {
		if (k == i || g->replicas[k].applied != g->replicas[i].applied)
			continue;
		fprintf(stderr, "replica %u:\n", k);
		txn_mem_dump(g->replicas[k].mem, stderr);
		fprintf(stderr, "replica %u:\n", i);
		txn_mem_dump(g->replicas[i].mem, stderr);
		return;
	}
}

static void entry_apply(struct txf_group *g, unsigned i)
{
	struct txf_replica *r = &g->replicas[i];
	struct txf_entry *e = &g->log[r->applied];

	if (g->leader != (int)i && !g->f->quiet && txf_chance(g->f, g->f->cfg.crash))
		entry_tear(g, i);
	entry_execute(g, r, e->count);
	CHECK_OK(tsm_end_entry(r->tsm));
	txn_mem_commit(r->mem);
	r->applied++;
	if (!e->hashed) {
		e->hash = txn_mem_hash(r->mem);
	} else if (e->hash != txn_mem_hash(r->mem)) {
		show_difference(g, i);
		CHECK_FAIL("seed %llu, step %llu: replica %u of group %u differs after entry %zu",
			   (unsigned long long)g->f->cfg.seed, (unsigned long long)g->f->steps, i,
			   g->id, r->applied);
	}
	e->hashed = true;
	tsm_audit(r->tsm);
	carry_out(g, i);
}

static void catch_up(struct txf_group *g, unsigned i)
{
	while (g->replicas[i].applied < g->log_len)
		entry_apply(g, i);
}

static uint64_t wall(const struct txf_group *g)
{
	return (uint64_t)((int64_t)(WALL_BASE_NS + g->f->now_ns) + g->skew_ns);
}

/* What was proposed becomes an entry; the leader, if any, applies it first. */
static void choose(struct txf_group *g)
{
	struct txf_entry *e;

	if (g->pending_count == 0)
		return;
	if (g->log_len == g->log_cap) {
		g->log_cap = g->log_cap ? g->log_cap * 2 : 64;
		g->log = mem_must_realloc(g->log, g->log_cap * sizeof(*g->log));
	}
	e = &g->log[g->log_len++];
	*e = (struct txf_entry){.clock_ns = wall(g),
				.commands = g->pending,
				.count = g->pending_count};
	g->pending = NULL;
	g->pending_count = g->pending_cap = 0;
	if (g->leader >= 0)
		catch_up(g, (unsigned)g->leader);
	for (unsigned i = 0; i < g->f->cfg.replicas; i++)
		if (g->f->quiet || !txf_chance(g->f, g->f->cfg.lag))
			catch_up(g, i);
}

/* ---- leaders ---- */

void txf_leader_loss(struct txf *f, uint32_t group, unsigned kept, uint64_t elect_after_ns)
{
	struct txf_group *g = &f->groups[group];
	int was = g->leader;

	if (was < 0)
		return;
	g->leader = -1;
	tsm_set_leading(g->replicas[was].tsm, false, f->now_ns);
	carry_out(g, (unsigned)was);
	while (g->pending_count > kept)
		buf_release(&g->pending[--g->pending_count]);
	if (elect_after_ns != UINT64_MAX)
		event_at(f, EV_ELECT, elect_after_ns)->group = group;
}

void txf_elect(struct txf *f, uint32_t group, unsigned replica)
{
	struct txf_group *g = &f->groups[group];

	if (g->leader >= 0)
		return;
	choose(g);
	catch_up(g, replica);
	if (!f->quiet && f->cfg.delay_ns_max > f->cfg.delay_ns_min)
		g->skew_ns = (int64_t)txf_below(f, 2 * SKEW_NS_MAX) - (int64_t)SKEW_NS_MAX;
	g->leader = (int)replica;
	tsm_set_leading(g->replicas[replica].tsm, true, f->now_ns);
	carry_out(g, replica);
}

void txf_restart(struct txf *f, uint32_t group, unsigned replica)
{
	struct txf_group *g = &f->groups[group];

	if (g->leader == (int)replica)
		txf_leader_loss(f, group, (unsigned)txf_below(f, g->pending_count + 1),
				between(f, ELECT_NS_MIN, ELECT_NS_MAX));
	tsm_close(g->replicas[replica].tsm);
	replica_open(g, replica);
}

void txf_snapshot(struct txf *f, uint32_t group, unsigned replica, unsigned from)
{
	struct txf_group *g = &f->groups[group];
	struct txf_replica *to = &g->replicas[replica];

	if (replica == from || g->leader == (int)replica)
		return;
	tsm_close(to->tsm);
	txn_mem_copy(to->mem, g->replicas[from].mem);
	to->applied = g->replicas[from].applied;
	replica_open(g, replica);
}

struct tsm *txf_leader(struct txf *f, uint32_t group)
{
	if (f->groups[group].leader < 0)
		txf_elect(f, group, 0);
	return f->groups[group].replicas[f->groups[group].leader].tsm;
}

void txf_stats(struct txf *f, uint32_t group, struct tsm_stats *out)
{
	tsm_stats_get(txf_leader(f, group), out);
}

struct txn_mem *txf_mem(struct txf *f, uint32_t group)
{
	(void)txf_leader(f, group);
	return f->groups[group].replicas[f->groups[group].leader].mem;
}

void txf_apply(struct txf *f, uint32_t group, struct slice command)
{
	struct txf_group *g = &f->groups[group];
	size_t before = g->log_len;

	propose(g, command);
	while (g->log_len == before && txf_step(f))
		;
	CHECK_TRUE(g->log_len > before);
}

/* ---- steps ---- */

/* A client's command, or its local read, at whoever leads. */
static void command_arrives(struct txf *f, const struct txf_event *e)
{
	struct txf_group *g = &f->groups[e->group];
	struct txf_call *call;
	uint64_t client = 0, sequence = 0;
	bool adds = false;
	struct tsm *t;
	int err;

	HASH_FIND(hh, f->calls, &e->call, sizeof(e->call), call);
	if (g->leader < 0 || !call)
		return; /* nobody is there, or nobody waits for it any longer */
	t = g->replicas[g->leader].tsm;
	if (call->read) {
		tsm_read(t, call->id, buf_slice(&e->bytes), f->now_ns);
	} else {
		err = tsm_request_check(buf_slice(&e->bytes), &client, &sequence, &adds);
		CHECK_OK(err);
		if (err)
			return;
		CHECK_U64_EQ(client, call->client);
		CHECK_U64_EQ(sequence, call->sequence);
		propose(g, buf_slice(&e->bytes));
		tsm_request_proposed(t, buf_slice(&e->bytes), f->now_ns);
	}
	carry_out(g, (unsigned)g->leader);
}

static void message_arrives(struct txf *f, const struct txf_event *e)
{
	struct txf_group *g = &f->groups[e->group];

	if (g->leader < 0)
		return;
	CHECK_OK(tsm_message(g->replicas[g->leader].tsm, buf_slice(&e->bytes), f->now_ns));
	carry_out(g, (unsigned)g->leader);
}

static void event_run(struct txf *f, struct txf_event *e)
{
	switch (e->kind) {
	case EV_COMMAND:
		command_arrives(f, e);
		break;
	case EV_MESSAGE:
		message_arrives(f, e);
		break;
	case EV_REPLY:
		txf__call_answered(f, e->call, buf_slice(&e->bytes));
		break;
	case EV_CHOSEN:
		f->groups[e->group].choosing = false;
		choose(&f->groups[e->group]);
		break;
	case EV_ELECT:
		txf_elect(f, e->group, (unsigned)txf_below(f, f->cfg.replicas));
		break;
	case EV_WAKE:
		fiber_wake(e->fiber);
		break;
	case EV_RETRY:
		txf__call_retry(f, e->call);
		break;
	}
}

static void faults(struct txf *f)
{
	uint32_t group = (uint32_t)txf_below(f, f->cfg.groups);
	struct txf_group *g = &f->groups[group];

	if (txf_chance(f, f->cfg.leader_loss))
		txf_leader_loss(f, group, (unsigned)txf_below(f, g->pending_count + 1),
				between(f, ELECT_NS_MIN, ELECT_NS_MAX));
	if (txf_chance(f, f->cfg.restart))
		txf_restart(f, group, (unsigned)txf_below(f, f->cfg.replicas));
	if (txf_chance(f, f->cfg.snapshot))
		txf_snapshot(f, group, (unsigned)txf_below(f, f->cfg.replicas),
			     (unsigned)txf_below(f, f->cfg.replicas));
}

/* The leader whose machine wants to be woken first. */
static struct txf_group *next_tick(struct txf *f, uint64_t *at_ns)
{
	struct txf_group *first = NULL;

	*at_ns = UINT64_MAX;
	for (unsigned i = 0; i < f->cfg.groups; i++) {
		struct txf_group *g = &f->groups[i];
		uint64_t at = g->leader < 0 ? UINT64_MAX
					    : tsm_next_deadline(g->replicas[g->leader].tsm);

		if (at < *at_ns) {
			*at_ns = at;
			first = g;
		}
	}
	return first;
}

static void tick(struct txf *f, struct txf_group *g, uint64_t at_ns)
{
	if (at_ns > f->now_ns)
		f->now_ns = at_ns;
	tsm_tick(g->replicas[g->leader].tsm, f->now_ns);
	carry_out(g, (unsigned)g->leader);
}

bool txf_step(struct txf *f)
{
	uint64_t tick_ns;
	struct txf_group *g = next_tick(f, &tick_ns);

	if (f->heap_len > 0 && f->heap[0]->at_ns <= tick_ns) {
		struct txf_event *e = heap_pop(f);

		f->idle_ticks = 0;
		f->now_ns = e->at_ns;
		event_run(f, e);
		event_free(e);
	} else if (g && f->idle_ticks++ < TICKS_IN_A_ROW) {
		tick(f, g, tick_ns);
	} else {
		if (g)
			CHECK_FAIL("seed %llu: group %u ticks for ever",
				   (unsigned long long)f->cfg.seed, g->id);
		return false;
	}
	f->steps++;
	if (!f->quiet)
		faults(f);
	if (f->on_step)
		f->on_step(f, f->ctx);
	return true;
}

void txf_spawn(struct txf *f, fiber_fn *fn, void *arg)
{
	CHECK(fiber_start(f->fibers, fn, arg) == 0);
}

static void describe_line(void *ctx, const char *line)
{
	fprintf(stderr, "  group %u: %s\n", *(uint32_t *)ctx, line);
}

static void describe(struct txf *f)
{
	for (uint32_t g = 0; g < f->cfg.groups; g++)
		if (f->groups[g].leader >= 0)
			tsm_describe(f->groups[g].replicas[f->groups[g].leader].tsm, describe_line,
				     &g);
}

bool txf_run(struct txf *f)
{
	uint64_t limit = f->now_ns + f->cfg.limit_ns;

	fiber_sched_run(f->fibers);
	while (fiber_count(f->fibers) > 0) {
		if (!txf_step(f) || f->now_ns > limit) {
			describe(f);
			CHECK_FAIL("seed %llu: clients hang", (unsigned long long)f->cfg.seed);
			return false;
		}
		fiber_sched_run(f->fibers);
	}
	return true;
}

void txf_sleep(struct txf *f, uint64_t ns)
{
	uint64_t until = f->now_ns + ns;

	event_at(f, EV_WAKE, ns)->fiber = fiber_self();
	while (f->now_ns < until)
		fiber_park();
}

/* ---- the end ---- */

static void check_stats(struct txf *f, struct txf_group *g, unsigned i)
{
	struct tsm_stats s;

	tsm_stats_get(g->replicas[i].tsm, &s);
	if (s.prepared || s.waiting || s.locks || s.reads_waiting) {
		describe(f);
		CHECK_FAIL("seed %llu: group %u replica %u: %llu prepared, %llu waiting, %llu "
			   "locks, %llu reads left",
			   (unsigned long long)f->cfg.seed, g->id, i,
			   (unsigned long long)s.prepared, (unsigned long long)s.waiting,
			   (unsigned long long)s.locks, (unsigned long long)s.reads_waiting);
	}
}

void txf_check_replicas(struct txf *f)
{
	for (unsigned n = 0; n < f->cfg.groups; n++) {
		struct txf_group *g = &f->groups[n];

		for (unsigned i = 0; i < f->cfg.replicas; i++) {
			catch_up(g, i);
			CHECK_TRUE(txn_mem_equal(g->replicas[i].mem, g->replicas[0].mem));
			tsm_audit(g->replicas[i].tsm);
		}
	}
}

void txf_settle(struct txf *f)
{
	uint64_t limit = f->now_ns + f->cfg.limit_ns;

	f->quiet = true;
	f->drop = NULL;
	f->on_step = NULL;
	for (unsigned n = 0; n < f->cfg.groups; n++)
		txf_elect(f, n, (unsigned)txf_below(f, f->cfg.replicas));
	while (txf_step(f) && f->now_ns < limit)
		;
	CHECK_TRUE(f->now_ns < limit);
	txf_check_replicas(f);
	for (unsigned n = 0; n < f->cfg.groups; n++)
		for (unsigned i = 0; i < f->cfg.replicas; i++)
			check_stats(f, &f->groups[n], i);
}

/* ---- open, close ---- */

static uint64_t env_now(struct env *e)
{
	return container_of(e, struct txf, env)->now_ns;
}

static uint64_t env_rnd(struct env *e)
{
	return txf_random(container_of(e, struct txf, env));
}

void txf_open(struct txf *f, const struct txf_config *cfg)
{
	*f = (struct txf){.cfg = *cfg, .random = cfg->seed, .now_ns = START_NS};
	CHECK(cfg->groups <= TXF_GROUPS_MAX && cfg->replicas <= TXF_REPLICAS_MAX);
	f->env = (struct env){.mono_ns = env_now, .wall_ns = env_now, .random = env_rnd};
	f->fibers = fiber_sched_new(&f->env, NULL, NULL);
	CHECK(f->fibers != NULL);
	for (unsigned n = 0; n < cfg->groups; n++) {
		struct txf_group *g = &f->groups[n];

		g->f = f;
		g->id = n;
		g->leader = -1;
		for (unsigned i = 0; i < cfg->replicas; i++) {
			g->replicas[i].mem = txn_mem_new();
			txn_mem_set_owner(g->replicas[i].mem, owns, g);
			replica_open(g, i);
		}
	}
	for (unsigned n = 0; n < cfg->groups; n++)
		txf_elect(f, n, (unsigned)txf_below(f, cfg->replicas));
}

static void group_release(struct txf_group *g, unsigned replicas)
{
	for (unsigned i = 0; i < replicas; i++) {
		tsm_close(g->replicas[i].tsm);
		txn_mem_free(g->replicas[i].mem);
	}
	for (size_t e = 0; e < g->log_len; e++) {
		for (unsigned i = 0; i < g->log[e].count; i++)
			buf_release(&g->log[e].commands[i]);
		mem_free(g->log[e].commands);
	}
	for (unsigned i = 0; i < g->pending_count; i++)
		buf_release(&g->pending[i]);
	mem_free(g->pending);
	mem_free(g->log);
}

void txf_close(struct txf *f)
{
	struct txf_call *call, *next_call;
	struct txf_answer *a, *next_answer;

	if (!f->fibers)
		return;
	while (f->heap_len > 0)
		event_free(heap_pop(f));
	mem_free(f->heap);
	HASH_ITER(hh, f->calls, call, next_call)
		txf_drop_call(call);
	HASH_ITER(hh, f->answers, a, next_answer) {
		HASH_DEL(f->answers, a);
		mem_free(a);
	}
	for (unsigned n = 0; n < f->cfg.groups; n++)
		group_release(&f->groups[n], f->cfg.replicas);
	if (fiber_count(f->fibers) == 0) /* else a test has failed, and they hang */
		fiber_sched_free(f->fibers);
	*f = (struct txf){0};
}

/* ---- for the clients' half ---- */

void txf__call_send(struct txf_call *call)
{
	struct txf *f = call->f;
	uint64_t again = between(f, 20, 60) * NS_PER_MS;

	call->attempts++;
	transmit(f, EV_COMMAND, call->group, call->id, buf_slice(&call->command));
	event_at(f, EV_RETRY, again << (call->attempts < 6 ? call->attempts : 6))->call = call->id;
}
