#include "tests/sim/sim_load.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/kv.h"
#include "net/loop.h"
#include "tests/check/judge.h"
#include "tests/sim/sim_bells.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_evict.h"

#define CLIENTS_MAX    8u
#define FIBERS_MAX     8u
#define OPEN_RETRY_NS  (50 * NS_PER_MS)
#define REPLACE_MIN_NS (100 * NS_PER_MS)
#define REPLACE_MAX_NS (3 * NS_PER_S)
#define BALANCE_EACH   100
#define LIST_MAX       512u
#define KEY_KIND       'Z' /* of no file system's */

enum what { REGISTER = 1, LIST, ACCOUNT, COUNTER, SET, BELL };

struct client {
	struct sim_machine machine;
	struct sim_client_env env;
	struct sim_proc *proc;
	uint32_t number;
	struct kv_client *kv;
	uint32_t fibers_left;
	struct fiber *waiter;
	bool replacing;
	struct sim_bell_client bells;
	uint64_t evicted_ns, evicted; /* closed in every group: when (0: never), which */
	uint64_t call_since[FIBERS_MAX]; /* 0: none is under way */
};

struct worker { /* a fiber of a client */
	struct client *c;
	uint32_t index, id; /* id: unique in the history */
	uint64_t began_ns, session; /* its present call; under which it began */
};

struct history sim_history;
struct sim_load_stats sim_load_stats;
static struct sim_load_config cfg;
static struct client clients[CLIENTS_MAX];
static bool finishing;
static uint32_t last_worker;
static uint64_t last_value;

/* ---- keys and values ---- */

/* Spread over places, so over groups. */
static struct slice key_of(enum what what, uint64_t n, uint64_t rest, uint8_t out[64])
{
	uint64_t place = ((uint64_t)what * 7919 + n * 104729) % 0x8000;
	uint64_t number = place << 48 | (uint64_t)what << 32 | (n + 1);
	size_t len = TXN_KEY_HEAD;

	be16_put(out, (uint16_t)place);
	be64_put(out + 2, number);
	out[10] = KEY_KIND;
	if (what == SET) {
		be64_put(out + len, rest);
		len += 8;
	}
	return slice_of(out, len);
}

static const struct txn_field value_field = {.offset = 0, .width = 8};

static uint64_t new_value(void)
{
	return ++last_value;
}

/* Did the call surely have no effect? */
static enum history_outcome outcome_of(int err, bool wrote)
{
	switch (err) {
	case 0:
		return HISTORY_OK;
	case ERR_CONDITION:
	case ERR_ABSENT_RECORD:
	case ERR_BAD_FIELD:
	case ERR_ABORTED:
	case ERR_DEADLOCK:
	case ERR_BUSY:
	case ERR_NOSPACE:
	case ERR_TOO_BIG:
	case ERR_SESSION: /* what it promises; the other case is ERR_OUTCOME */
		return HISTORY_FAILED;
	default:
		return wrote ? HISTORY_UNKNOWN : HISTORY_FAILED;
	}
}

static size_t begin(struct worker *w, const struct history_op *op)
{
	struct history_op o = *op;

	o.client = w->id;
	w->c->call_since[w->index] = w->began_ns = sim_now();
	w->session = kv_client_id(w->c->kv);
	sim_load_stats.calls++;
	sim_note("call %zu: kind %d key %llu", sim_history.count, (int)o.kind,
		 (unsigned long long)o.key);
	return history_invoke(&sim_history, sim_now(), &o);
}

static void end(struct worker *w, size_t id, int err, bool wrote, const struct history_result *r)
{
	enum history_outcome o = outcome_of(err, wrote);
	uint64_t v[3] = {id, (uint64_t)o, r ? r->value : 0};

	sim_note("call %zu: %s", id, err_text(err));
	/* With another one by now: a transaction that was refused may have been tried again. */
	if (wrote && o == HISTORY_OK && w->c->evicted_ns && w->began_ns > w->c->evicted_ns &&
	    w->session == w->c->evicted && kv_client_id(w->c->kv) == w->c->evicted)
		sim_violation("client %u has written though its session was closed", w->c->number);
	w->c->call_since[w->index] = 0;
	sim_load_stats.ok += o == HISTORY_OK;
	sim_load_stats.failed += o == HISTORY_FAILED;
	sim_load_stats.unknown += o == HISTORY_UNKNOWN;
	sim_hash(v, sizeof(v));
	history_return(&sim_history, id, sim_now(), o, o == HISTORY_OK ? r : NULL);
}

/* A mini-transaction, to be filled and run. */
struct call {
	struct txn_mini m;
	struct txn_result r;
	size_t id;
};

static void call_init(struct call *call)
{
	txn_mini_init(&call->m);
	txn_result_init(&call->r);
}

static void call_release(struct call *call)
{
	txn_result_release(&call->r);
	txn_mini_release(&call->m);
}

static int call_exec(struct call *call, const struct client *c)
{
	return txn_exec(kv_client_executor(c->kv), &call->m, &call->r);
}

/* One that the history has: as @op. */
static int call_run(struct call *call, struct worker *w, const struct history_op *op)
{
	call->id = begin(w, op);
	return call_exec(call, w->c);
}

static void call_end(struct call *call, struct worker *w, int err, bool wrote,
		     const struct history_result *res)
{
	end(w, call->id, err, wrote, res);
	call_release(call);
}

static uint64_t number_of(const struct txn_value *v)
{
	if (v->status == ERR_NOT_FOUND)
		return HISTORY_ABSENT;
	if (v->status != 0 || v->value.len != 8)
		sim_violation("a register holds %zu bytes, status %s", v->value.len,
			      err_text(v->status));
	return le64_get(v->value.p);
}

/* ---- registers ---- */

static void read_register(struct worker *w, uint64_t n)
{
	struct history_op op = {.kind = HISTORY_READ, .key = n};
	struct history_result res = {0};
	struct call call;
	uint8_t key[64];
	int err;

	call_init(&call);
	txn_get(&call.m, key_of(REGISTER, n, 0, key));
	err = call_run(&call, w, &op);
	if (!err)
		res.value = number_of(&call.r.reads[0].value);
	call_end(&call, w, err, false, &res);
}

static void change_register(struct worker *w, uint64_t n, enum history_kind kind)
{
	struct history_op op = {.kind = kind, .key = n};
	struct history_result res = {.value = HISTORY_UNTOLD};
	struct call call;
	uint8_t key[64], value[8];
	struct slice k = key_of(REGISTER, n, 0, key);
	int err;

	call_init(&call);
	if (kind == HISTORY_CAS) {
		op.arg = last_value > 3 ? last_value - sim_below(3) : 1;
		op.arg2 = new_value();
		txn_if_field_u64(&call.m, k, value_field, op.arg);
		res.value = 1;
	} else if (kind == HISTORY_WRITE) {
		op.arg = new_value();
	}
	le64_put(value, kind == HISTORY_CAS ? op.arg2 : op.arg);
	if (kind == HISTORY_DELETE)
		txn_delete(&call.m, k);
	else
		txn_put(&call.m, k, slice_of(value, 8));
	err = call_run(&call, w, &op);
	if (kind == HISTORY_CAS && (err == ERR_CONDITION || err == ERR_ABSENT_RECORD)) {
		res.value = 0;
		err = 0;
	}
	call_end(&call, w, err, true, &res);
}

static void do_register(struct worker *w)
{
	uint64_t n = sim_below(cfg.registers);

	switch (sim_below(8)) {
	case 0:
	case 1:
		change_register(w, n, HISTORY_WRITE);
		break;
	case 2:
		change_register(w, n, HISTORY_CAS);
		break;
	case 3:
		change_register(w, n, HISTORY_DELETE);
		break;
	default:
		read_register(w, n);
	}
}

/* ---- lists ---- */

#define MOPS_MAX 4u

struct list_txn {
	struct history_mop mops[MOPS_MAX];
	size_t count;
	uint64_t *lists[MOPS_MAX];
	bool writes;
};

static void list_txn_make(struct list_txn *t)
{
	t->count = 1 + sim_below(MOPS_MAX);
	for (size_t i = 0; i < t->count; i++) {
		struct history_mop *m = &t->mops[i];

		m->key = sim_below(cfg.lists);
		m->append = sim_chance(500000);
		if (m->append)
			m->value = new_value();
		t->writes |= m->append;
	}
}

static void list_keep(struct list_txn *t, size_t i, struct slice bytes)
{
	size_t n = bytes.len / 8;

	if (bytes.len % 8 != 0)
		sim_violation("a list of %zu bytes", bytes.len);
	mem_free(t->lists[i]);
	t->lists[i] = mem_must_alloc(n * 8 + 8);
	for (size_t k = 0; k < n; k++)
		t->lists[i][k] = le64_get(bytes.p + 8 * k);
	t->mops[i].list = t->lists[i];
	t->mops[i].count = n;
}

/* One step; a list that has grown too long begins... nothing anew: it is only read from then on. */
static int list_step(struct list_txn *t, size_t i, struct txn_interactive *x)
{
	struct history_mop *m = &t->mops[i];
	struct buf b = BUF_INIT;
	uint8_t key[64], value[8];
	struct slice k = key_of(LIST, m->key, 0, key);
	int err = txn_i_get(x, k, &b, NULL);

	if (err == ERR_NOT_FOUND) {
		buf_reset(&b);
		err = 0;
	}
	if (!err && m->append) {
		le64_put(value, m->value);
		buf_add(&b, value, 8);
		err = b.len / 8 > cfg.list_len_max ? ERR_TOO_BIG
						   : txn_i_put(x, k, buf_slice(&b));
	} else if (!err) {
		list_keep(t, i, buf_slice(&b));
	}
	buf_release(&b);
	return err;
}

static int list_attempt(struct list_txn *t, struct txn_interactive *x, bool *committing)
{
	int err = 0;

	*committing = false;
	for (size_t i = 0; i < t->count && !err; i++)
		err = list_step(t, i, x);
	if (err)
		return err;
	*committing = true;
	return txn_commit(x, NULL);
}

static void do_list(struct worker *w)
{
	struct list_txn t = {0};
	struct history_op op = {.kind = HISTORY_TXN};
	struct history_result res = {0};
	struct txn_interactive *x = txn_begin(kv_client_executor(w->c->kv));
	unsigned tries = 1 + (unsigned)sim_below(6);
	bool committing;
	size_t id;
	int err;

	list_txn_make(&t);
	op.mops = t.mops;
	op.mop_count = t.count;
	id = begin(w, &op);
	err = list_attempt(&t, x, &committing);
	while (err == ERR_CONDITION && --tries > 0 && (err = txn_retry(x)) == 0)
		err = list_attempt(&t, x, &committing);
	txn_rollback(x);
	res.mops = t.mops;
	res.mop_count = t.count;
	end(w, id, err, committing && t.writes, &res);
	for (size_t i = 0; i < t.count; i++)
		mem_free(t.lists[i]);
}

/* All lists at once, without locks: several groups, no log. */
static void read_lists(struct worker *w)
{
	struct list_txn t = {0};
	struct history_op op = {.kind = HISTORY_TXN};
	struct history_result res = {0};
	struct call call;
	uint8_t key[64];
	int err;

	call_init(&call);
	t.count = 2 + sim_below(MOPS_MAX - 1);
	for (size_t i = 0; i < t.count; i++) {
		t.mops[i].key = sim_below(cfg.lists);
		txn_get(&call.m, key_of(LIST, t.mops[i].key, 0, key));
	}
	op.mops = t.mops;
	op.mop_count = t.count;
	err = call_run(&call, w, &op);
	for (size_t i = 0; i < t.count && !err; i++)
		list_keep(&t, i, call.r.reads[i].value.status ? (struct slice){0}
							      : call.r.reads[i].value.value);
	res.mops = t.mops;
	res.mop_count = t.count;
	call_end(&call, w, err, false, &res);
	for (size_t i = 0; i < t.count; i++)
		mem_free(t.lists[i]);
}

/* ---- the bank ---- */

static void transfer(struct worker *w)
{
	uint64_t from = sim_below(cfg.accounts), to = sim_below(cfg.accounts);
	uint64_t amount = 1 + sim_below(20);
	struct call call;
	uint8_t a[64], b[64];

	if (from == to)
		return;
	call_init(&call);
	txn_if_field_min(&call.m, key_of(ACCOUNT, from, 0, a), value_field, amount);
	txn_add(&call.m, key_of(ACCOUNT, from, 0, a), value_field, -(int64_t)amount, false);
	txn_add(&call.m, key_of(ACCOUNT, to, 0, b), value_field, (int64_t)amount, false);
	w->c->call_since[w->index] = sim_now();
	sim_load_stats.calls++;
	(void)call_exec(&call, w->c);
	w->c->call_since[w->index] = 0;
	call_release(&call);
}

static void read_balances(struct worker *w)
{
	struct history_op op = {.kind = HISTORY_BALANCES};
	uint64_t list[64];
	struct history_result res = {.list = list, .list_count = cfg.accounts};
	struct call call;
	uint8_t key[64];
	int err;

	CHECK(cfg.accounts <= 64);
	call_init(&call);
	for (uint32_t i = 0; i < cfg.accounts; i++)
		txn_get(&call.m, key_of(ACCOUNT, i, 0, key));
	err = call_run(&call, w, &op);
	for (uint32_t i = 0; i < cfg.accounts && !err; i++)
		list[i] = number_of(&call.r.reads[i].value);
	call_end(&call, w, err, false, &res);
}

static void do_account(struct worker *w)
{
	if (sim_chance(250000))
		read_balances(w);
	else
		transfer(w);
}

/* ---- counters ---- */

static void do_counter(struct worker *w)
{
	bool add = sim_chance(600000);
	struct history_op op = {.kind = add ? HISTORY_ADD : HISTORY_GET,
				.key = sim_below(cfg.counters),
				.arg = 1 + sim_below(9)};
	struct history_result res = {0};
	struct call call;
	uint8_t key[64];
	struct slice k = key_of(COUNTER, op.key, 0, key);
	int err;

	call_init(&call);
	if (add)
		txn_add(&call.m, k, value_field, (int64_t)op.arg, sim_chance(300000));
	else
		txn_get(&call.m, k);
	err = call_run(&call, w, &op);
	if (!err && !add)
		res.value = number_of(&call.r.reads[0].value);
	call_end(&call, w, err, add, &res);
}

/* ---- sets ---- */

static void insert(struct worker *w, uint64_t set)
{
	struct history_op op = {.kind = HISTORY_INSERT, .key = set, .arg = new_value()};
	struct call call;
	uint8_t key[64];
	struct slice k = key_of(SET, set, op.arg, key);

	call_init(&call);
	if (sim_chance(500000))
		txn_if_absent(&call.m, k);
	txn_put(&call.m, k, slice_of("x", 1));
	call_end(&call, w, call_run(&call, w, &op), true, NULL);
}

static int scan_page(struct worker *w, struct slice from, struct slice to, uint64_t *list,
		     size_t *count, bool *more)
{
	struct call call;
	int err;

	call_init(&call);
	txn_scan(&call.m, from, to, LIST_MAX);
	err = call_exec(&call, w->c);
	for (uint32_t i = 0; !err && i < call.r.reads[0].item_count; i++)
		list[(*count)++] = be64_get(call.r.reads[0].items[i].key.p + TXN_KEY_HEAD);
	*more = !err && call.r.reads[0].more;
	call_release(&call);
	return err;
}

static void members(struct worker *w, uint64_t set)
{
	struct history_op op = {.kind = HISTORY_MEMBERS, .key = set};
	static uint64_t list[CLIENTS_MAX * FIBERS_MAX][LIST_MAX];
	uint64_t *mine = list[(w->c->number * FIBERS_MAX + w->index) % (CLIENTS_MAX * FIBERS_MAX)];
	struct history_result res = {.list = mine};
	uint8_t from[64], to[64];
	bool more = false;
	size_t id = begin(w, &op);
	int err = scan_page(w, key_of(SET, set, 0, from), key_of(SET, set, UINT64_MAX, to), mine,
			    &res.list_count, &more);

	if (!err && more)
		err = ERR_TOO_BIG; /* several pages are not one moment */
	end(w, id, err, false, &res);
}

static void do_set(struct worker *w)
{
	uint64_t set = sim_below(cfg.sets);

	if (sim_chance(650000))
		insert(w, set);
	else
		members(w, set);
}

/* ---- clients ---- */

static void one_call(struct worker *w)
{
	switch (1 + sim_below(cfg.bells ? 6 : 5)) {
	case REGISTER:
		if (cfg.registers)
			do_register(w);
		break;
	case LIST:
		if (cfg.lists && sim_chance(700000))
			do_list(w);
		else if (cfg.lists)
			read_lists(w);
		break;
	case ACCOUNT:
		if (cfg.accounts > 1)
			do_account(w);
		break;
	case COUNTER:
		if (cfg.counters)
			do_counter(w);
		break;
	case SET:
		if (cfg.sets)
			do_set(w);
		break;
	case BELL:
		w->c->call_since[w->index] = sim_now();
		sim_bell_ring(&w->c->bells);
		w->c->call_since[w->index] = 0;
	}
}

static void last_calls(struct worker *w)
{
	sim_bell_ring_last(&w->c->bells);
	for (uint32_t i = 0; i < cfg.registers; i++)
		read_register(w, i);
	for (uint32_t i = 0; i < cfg.sets; i++)
		members(w, i);
	if (cfg.accounts > 1)
		read_balances(w);
	for (uint32_t i = 0; cfg.lists && i < 4; i++)
		read_lists(w);
	for (uint32_t i = 0; cfg.counters && i < 8; i++)
		do_counter(w);
}

static void fiber_ended(void *ctx)
{
	struct client *c = ctx;

	if (--c->fibers_left == 0)
		fiber_wake(c->waiter);
}

static void worker_fiber(void *arg)
{
	struct worker *w = arg;
	struct client *c = w->c;

	while (!finishing) {
		one_call(w);
		(void)fiber_sleep(sim_between(cfg.think_min_ns, cfg.think_max_ns));
	}
	if (w->index == 0)
		last_calls(w);
	mem_free(w);
	fiber_ended(c);
}

static int open_accounts(struct client *c)
{
	struct call call;
	uint8_t key[64], value[8];
	int err;

	call_init(&call);
	le64_put(value, BALANCE_EACH);
	for (uint32_t i = 0; i < cfg.accounts; i++) {
		struct slice k = key_of(ACCOUNT, i, 0, key);

		txn_if_absent(&call.m, k);
		txn_put(&call.m, k, slice_of(value, 8));
	}
	le64_put(value, 0);
	for (uint32_t i = 0; i < cfg.counters; i++) {
		struct slice k = key_of(COUNTER, i, 0, key);

		txn_if_absent(&call.m, k);
		txn_put(&call.m, k, slice_of(value, 8));
	}
	err = call_exec(&call, c);
	call_release(&call);
	return err == ERR_CONDITION ? 0 : err;
}

static int open_kv(struct client *c, struct sim_client_env *e)
{
	struct kv_client_config kc = {.endpoints = sim_cluster.endpoints,
				      .transport = e->transport,
				      .env = loop_env(e->loop),
				      .fibers = loop_fibers(e->loop),
				      .timeout_ns = cfg.timeout_ns,
				      .connect_timeout_ns = 5 * NS_PER_S,
				      .name = "load",
				      .session = true};
	struct msg m = {""};

	return kv_client_open(&kc, &c->kv, &m);
}

static void client_fn(struct sim_client_env *e)
{
	struct client *c = e->arg;

	while (open_kv(c, e) != 0)
		fiber_sleep(OPEN_RETRY_NS);
	while (cfg.accounts + cfg.counters > 0 && open_accounts(c) != 0)
		fiber_sleep(OPEN_RETRY_NS);
	c->waiter = fiber_self();
	c->bells = (struct sim_bell_client){.kv = c->kv, .bells = cfg.bells, .stop = &finishing,
					    .ended = fiber_ended, .ctx = c};
	c->fibers_left = cfg.fibers + sim_bell_listen(&c->bells, loop_fibers(e->loop));
	for (uint32_t i = 0; i < cfg.fibers; i++) {
		struct worker *w = mem_must_alloc(sizeof(*w));

		*w = (struct worker){.c = c, .index = i, .id = ++last_worker};
		CHECK(fiber_start(loop_fibers(e->loop), worker_fiber, w) == 0);
	}
	while (c->fibers_left > 0)
		fiber_park();
	kv_client_close(c->kv);
}

static void client_start(void *ctx);

static void replace(struct client *c)
{
	c->replacing = true;
	sim_at(sim_now() + sim_between(REPLACE_MIN_NS, REPLACE_MAX_NS), client_start, c);
}

static void client_exit(struct sim_proc *p, const char *why)
{
	struct client *c = p->user;

	(void)why;
	c->proc = NULL;
	if (!finishing)
		replace(c);
}

static void client_start(void *ctx)
{
	struct client *c = ctx;
	char name[24];

	c->replacing = false;
	c->evicted_ns = 0;
	c->fibers_left = 0;
	c->kv = NULL;
	memset(c->call_since, 0, sizeof(c->call_since));
	c->env = (struct sim_client_env){.fn = client_fn, .arg = c};
	snprintf(name, sizeof(name), "client %u", c->number);
	c->proc = sim_proc_start(name, &c->machine, sim_client_main, &c->env);
	c->proc->on_exit = client_exit;
	c->proc->user = c;
}

void sim_load_start(const struct sim_load_config *config)
{
	cfg = *config;
	CHECK(cfg.clients <= CLIENTS_MAX && cfg.fibers <= FIBERS_MAX);
	history_init(&sim_history);
	if (cfg.accounts > 1)
		history_bank(&sim_history, cfg.accounts, (int64_t)cfg.accounts * BALANCE_EACH, false);
	for (uint32_t i = 0; i < cfg.clients; i++) {
		clients[i].number = i + 1;
		sim_machine_init(&clients[i].machine, SIM_CLIENT_MACHINE + i, NULL);
		client_start(&clients[i]);
	}
}

static struct client *some_client(void)
{
	struct client *c = &clients[sim_below(cfg.clients)];

	return cfg.clients && c->proc && !finishing ? c : NULL;
}

void sim_load_kill_one(void)
{
	struct client *c = some_client();

	if (!c)
		return;
	sim_trace("client %u is killed", c->number);
	sim_fault_note(SIM_FAULT_CLIENT_CRASH);
	sim_proc_kill(c->proc);
	c->proc = NULL;
	replace(c);
}

static struct client *evictee;
static bool evicting;

/* In every group; unless it has another session by now. */
static void evicted(uint64_t session, bool closed)
{
	evicting = false;
	if (closed && evictee->proc && evictee->kv && kv_client_id(evictee->kv) == session) {
		evictee->evicted_ns = sim_now();
		evictee->evicted = session;
	}
}

void sim_load_evict_one(void)
{
	struct client *c = some_client();

	if (!c || !c->kv || !c->fibers_left || kv_client_id(c->kv) == 0 || evicting ||
	    sim_evict_busy())
		return;
	evicting = true;
	evictee = c;
	sim_trace("the session of client %u is closed", c->number);
	sim_evict(kv_client_id(c->kv), evicted);
}

void sim_load_pause_one(uint64_t ns)
{
	struct client *c = some_client();

	if (c) {
		sim_fault_note(SIM_FAULT_PAUSE);
		sim_proc_pause(c->proc, ns);
	}
}

void sim_load_finish(void)
{
	finishing = true;
}

bool sim_load_finished(void)
{
	if (evicting)
		return false;
	for (uint32_t i = 0; i < cfg.clients; i++)
		if (clients[i].proc || clients[i].replacing)
			return false;
	return true;
}

uint64_t sim_load_oldest_ns(void)
{
	uint64_t oldest = 0;

	for (uint32_t i = 0; i < cfg.clients; i++)
		for (uint32_t k = 0; clients[i].proc && k < FIBERS_MAX; k++) {
			uint64_t t = clients[i].call_since[k];

			if (t && (!oldest || t < oldest))
				oldest = t;
		}
	return oldest;
}

uint64_t sim_load_judge(void)
{
	static struct verdict v;

	judge_history(&sim_history, NULL, &v);
	if (v.code == VERDICT_WRONG || v.code == VERDICT_UNFIT)
		sim_violation("history: %s\n%s", v.name, v.text);
	if (v.code == VERDICT_GAVE_UP)
		sim_trace("history: not judged in full: %s", v.text);
	return v.checked;
}
