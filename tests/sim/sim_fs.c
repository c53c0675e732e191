/* Mounts as processes, their workers, and the record of their calls. Which transaction is a call's, and
 * when it committed, is noted where requests leave (in the calling fiber) and where the state machine
 * answers them: so it is known of calls that never returned, too. */
#include "tests/sim/sim_fs.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/fs_internal.h"
#include "kv/kv.h"
#include "net/loop.h"
#include "tests/sim/sim_evict.h"
#include "tests/sim/sim_fs_contents.h"
#include "tests/sim/sim_fs_locks.h"
#include "txn/reply_codec.h"
#include "txn/tsm.h"
#include "txn/tsm_internal.h"

#define FIRST_MACHINE  (SIM_CLIENT_MACHINE + 4u)
#define LAST_MACHINE   (SIM_MACHINES_MAX - 2u)
#define RETRY_NS       (50 * NS_PER_MS)
#define REPLACE_MIN_NS (100 * NS_PER_MS)
#define REPLACE_MAX_NS (3 * NS_PER_S)
#define HOLES_AT       3u /* in an inode's record: whether it may have any */
#define STOP_MAX_NS    (8 * NS_PER_S) /* of a mount whose session is closed meanwhile */

struct request { /* that may be a call's change */
	struct request_id {
		uint64_t client, sequence;
	} id;
	struct fsim_call *call;
	bool committed;
	UT_hash_handle hh;
};

struct sim_fs_stats sim_fs_stats;
struct sim_fs_config fsim_cfg;
struct fsim_call **fsim_calls;
uint32_t fsim_call_count;
const struct fs_cred fsim_cred = {0};
static uint32_t call_cap;
static struct fsim_mount mounts[FSIM_MOUNTS_MAX];
static struct request *requests;
static uint32_t last_worker, last_incarnation;
static bool finishing, made, inspected, gives_up;
static bool killed[1u << 16]; /* mounts, by incarnation */
static struct sim_machine last_machine;
static bool evicting;

static void call_add(struct fsim_call *c)
{
	if (fsim_call_count == call_cap) {
		call_cap = call_cap * 2 + 1024;
		fsim_calls = mem_must_realloc(fsim_calls, call_cap * sizeof(*fsim_calls));
	}
	c->id = fsim_call_count;
	fsim_calls[fsim_call_count++] = c;
}

/* ---- which transaction is a call's ---- */

static struct fsim_worker *worker_here(void)
{
	struct fiber *f = fiber_self();

	for (uint32_t i = 0; f && i < fsim_cfg.mounts; i++)
		for (uint32_t k = 0; k < fsim_cfg.fibers; k++)
			if (mounts[i].workers[k].fiber == f)
				return &mounts[i].workers[k];
	return NULL;
}

/* That a file has no holes any more is noted by whoever has looked. */
static bool is_mark(const struct txn_mut *u)
{
	return u->kind == TXN_SET && u->key.p[10] == 'I' && u->field.offset == HOLES_AT;
}

/* Names, inodes, attributes, data; not numbers reserved, nor what is tidied up. */
static bool changes_tree(const struct txn_mini *m, uint64_t *inode_made)
{
	bool yes = false;

	for (uint32_t i = 0; i < m->mut_count; i++) {
		struct slice k = m->muts[i].key;

		if (k.len < TXN_KEY_HEAD)
			continue;
		yes |= memchr("DIXB", k.p[10], 4) != NULL && !is_mark(&m->muts[i]);
		if (k.p[10] == 'I' && m->muts[i].kind == TXN_PUT) {
			*inode_made = 0;
			for (unsigned b = 2; b < 10; b++)
				*inode_made = *inode_made << 8 | k.p[b];
		}
	}
	return yes;
}

static struct fsim_call *next_step(const struct fsim_call *c)
{
	struct fsim_call *s = mem_must_dup(c, sizeof(*c));

	s->whole = c->whole ? c->whole : fsim_calls[c->id];
	s->stamp = 0;
	s->commits = 0;
	s->effects = NULL;
	s->effect_count = 0;
	call_add(s);
	return s;
}

static int exec(struct txn_executor *x, const struct txn_mini *m, struct txn_result *r)
{
	struct fsim_executor *e = container_of(x, struct fsim_executor, x);
	struct fsim_worker *w = worker_here();
	struct fsim_call *c = w ? w->call : NULL;
	int err;

	if (!c || !changes_tree(m, &c->made))
		return txn_exec(e->real, m, r);
	if (c->stepwise && c->commits > 0)
		w->call = c = next_step(c);
	if (c->stepwise)
		fsim__note_effects(c, m);
	c->exec_ns = sim_now();
	c->exec_end_ns = FSIM_NEVER;
	w->main = true;
	err = txn_exec(e->real, m, r);
	w->main = false;
	(c->whole ? c->whole : c)->stopped = fsim__is_outage(err);
	if (!fsim__is_outage(err))
		c->exec_end_ns = sim_now();
	if (err)
		return err;
	if (c->stamp != r->stamp || !r->stamp)
		sim_violation("%s: committed at %llu, says the client; the store: %llu", fsim__text(c),
			      (unsigned long long)r->stamp, (unsigned long long)c->stamp);
	return 0;
}

void __real_tsm_request_encode(const struct tsm_request *q, struct buf *out);
void __wrap_tsm_request_encode(const struct tsm_request *q, struct buf *out);
void __real_txn__reply(struct tsm *t, struct txn_id id, struct slice reply);
void __wrap_txn__reply(struct tsm *t, struct txn_id id, struct slice reply);

/* A call that finds its session closed opens the next one, in its own fiber. */
static bool is_session_record(struct slice key)
{
	struct buf prefix = BUF_INIT;
	bool yes;

	kv_meta_key(&prefix, KV_KEY_SESSION);
	yes = slice_has_prefix(key, buf_slice(&prefix));
	buf_release(&prefix);
	return yes;
}

void __wrap_tsm_request_encode(const struct tsm_request *q, struct buf *out)
{
	struct fsim_worker *w = worker_here();
	struct request *r;

	if (w && w->main && !is_session_record(q->home)) {
		r = mem_must_alloc(sizeof(*r));
		r->id.client = q->client;
		r->id.sequence = q->sequence;
		r->call = w->call;
		HASH_ADD(hh, requests, id, sizeof(r->id), r);
	}
	__real_tsm_request_encode(q, out);
}

/* On every replica that executes it, and each time that it is asked for again. */
void __wrap_txn__reply(struct tsm *t, struct txn_id id, struct slice reply)
{
	struct request_id key = {.client = id.client, .sequence = id.sequence};
	struct request *r;
	struct reply_head h;
	struct slice items;

	HASH_FIND(hh, requests, &key, sizeof(key), r);
	if (r && txn__reply_decode_head(reply, &h, &items) == 0 && h.status == 0 && h.stamp) {
		if (r->committed && r->call->stamp != h.stamp)
			sim_violation("%s: has two stamps", fsim__text(r->call));
		if (!r->committed)
			fsim__locks_committed(r->call, id.client);
		r->call->commits += !r->committed;
		r->committed = true;
		r->call->stamp = h.stamp;
	}
	__real_txn__reply(t, id, reply);
}

void __real_txn__client_close(struct tsm *t, struct client *c);
void __wrap_txn__client_close(struct tsm *t, struct client *c);

void __wrap_txn__client_close(struct tsm *t, struct client *c)
{
	fsim__locks_closed(c->id);
	__real_txn__client_close(t, c);
}

/* ---- calls ---- */

bool fsim__is_outage(int err)
{
	switch (err) {
	case ERR_TIMEOUT:
	case ERR_UNREACHABLE:
	case ERR_SESSION:
	case ERR_OUTCOME:
	case ERR_LOCK_LOST:
	case ERR_INTERRUPTED:
	case ERR_NOSPACE:
	case ERR_CANCELED:
	case ERR_NOT_LEADER:
	case ERR_BUSY:
	case ERR_ABORTED:
	case ERR_DEADLOCK:
	case ERR_FORGOTTEN:
		return true;
	default:
		return false;
	}
}

void fsim__other_begin(struct fsim_worker *w)
{
	w->since_ns = sim_now();
	sim_fs_stats.calls++;
}

void fsim__other_end(struct fsim_worker *w, int err)
{
	uint64_t v[2] = {w->id, (uint64_t)(int64_t)err};

	w->since_ns = 0;
	w->m->lost |= err == ERR_SESSION;
	sim_fs_stats.ok += err == 0;
	sim_fs_stats.failed += err != 0 && !fsim__is_outage(err);
	sim_fs_stats.unknown += fsim__is_outage(err);
	sim_hash(v, sizeof(v));
}

struct fsim_call *fsim__call_of(const struct fsim_worker *w, enum fsim_kind kind)
{
	struct fsim_call *c = mem_must_alloc(sizeof(*c));

	c->kind = kind;
	c->mount = w->m->incarnation;
	c->return_ns = FSIM_NEVER;
	c->name = c->name2 = NAME_COUNT;
	return c;
}

void fsim__run(struct fsim_worker *w, struct fsim_call *c)
{
	call_add(c);
	c->invoke_ns = sim_now();
	w->call = c;
	fsim__other_begin(w);
}

void fsim__end(struct fsim_worker *w, struct fsim_call *c, int err)
{
	uint64_t v[2] = {c->id, c->stamp};

	for (uint32_t i = c->id; c->stepwise && i < fsim_call_count; i++)
		if (fsim_calls[i]->whole == c) {
			fsim_calls[i]->err = err;
			fsim_calls[i]->return_ns = sim_now();
		}
	c->err = err;
	c->return_ns = sim_now();
	w->call = NULL;
	sim_note("fs: %s", fsim__text(c));
	if (err == ERR_CORRUPT)
		sim_violation("%s", fsim__text(c));
	sim_hash(v, sizeof(v));
	fsim__other_end(w, err);
}

/* ---- mounts ---- */

/* What is under way goes on under the next session; then the mount ends, for the model of its locks
 * knows one session only. */
static void session_changed(void *ctx, const struct kv_session_change *x)
{
	struct fsim_mount *m = ctx;

	sim_trace("mount %u goes on with session %llu", m->number, (unsigned long long)x->now);
	m->lost = true;
	fs__session_changed(m->hears, x->was, x->now, x->calls);
}

int fsim__open(struct fsim_mount *m, struct sim_client_env *e, struct fs **out)
{
	struct kv_client_config kc = {.endpoints = sim_cluster.endpoints,
				      .transport = e->transport,
				      .env = loop_env(e->loop),
				      .fibers = loop_fibers(e->loop),
				      .timeout_ns = fsim_cfg.timeout_ns,
				      .connect_timeout_ns = 5 * NS_PER_S,
				      .name = "mount",
				      .session = true};
	struct msg msg = {""};
	struct fs_options o = {.keep_locks = m->keeps_locks};
	struct fs_backend b;
	int err = kv_client_open(&kc, &m->kv, &msg);

	if (err)
		return err;
	fs_backend_kv(&b, m->kv, loop_env(e->loop), loop_fibers(e->loop));
	m->executor.real = b.executor;
	m->executor.x = (struct txn_executor){.exec = exec};
	b.executor = &m->executor.x;
	err = fs_open(&b, &o, out, &msg);
	if (err) {
		kv_client_close(m->kv);
		m->kv = NULL;
		return err;
	}
	m->hears = *out;
	kv_client_on_session(m->kv, session_changed, m);
	return 0;
}

void fsim__forget_handles(struct fsim_worker *w, bool close)
{
	for (unsigned i = 0; i < FSIM_HANDLES; i++) {
		if (close && w->handles[i].file)
			fs_file_close(w->handles[i].file);
		w->handles[i] = (struct fsim_handle){0};
	}
}

static void one_call(struct fsim_worker *w)
{
	uint64_t n = sim_below(100);

	if (sim_below(100) < fsim_cfg.locks)
		fsim__locks_call(w);
	else if (n < 55)
		fsim__tree_call(w);
	else if (n < 65)
		fsim__data_call(w);
	else if (n < 80)
		fsim__wander_call(w);
	else
		fsim__files_call(w);
}

static void worker_fiber(void *arg)
{
	struct fsim_worker *w = arg;
	struct fsim_mount *m = w->m;

	w->fiber = fiber_self();
	while (!made) {
		int err = w == &mounts[0].workers[0] ? fsim__make_first(w) : ERR_BUSY;

		if (!err)
			made = true;
		else
			(void)fiber_sleep(RETRY_NS);
	}
	while (!finishing && !m->lost) {
		one_call(w);
		(void)fiber_sleep(sim_between(fsim_cfg.think_min_ns, fsim_cfg.think_max_ns));
	}
	fsim__locks_end(w);
	fsim__forget_handles(w, true);
	w->fiber = NULL;
	if (--m->fibers_left == 0)
		fiber_wake(m->waiter);
}

static void interrupter_fiber(void *arg)
{
	struct fsim_mount *m = arg;

	fsim__locks_interrupt(m);
	if (--m->fibers_left == 0)
		fiber_wake(m->waiter);
}

static void mount_fn(struct sim_client_env *e)
{
	struct fsim_mount *m = e->arg;

	while (fsim__open(m, e, &m->fs) != 0)
		fiber_sleep(RETRY_NS);
	fsim__locks_session(m->incarnation, fs_session(m->fs));
	m->waiter = fiber_self();
	m->fibers_left = fsim_cfg.fibers + 1;
	CHECK(fiber_start(loop_fibers(e->loop), interrupter_fiber, m) == 0);
	for (uint32_t i = 0; i < fsim_cfg.fibers; i++) {
		m->workers[i] = (struct fsim_worker){.m = m, .id = ++last_worker};
		CHECK(fiber_start(loop_fibers(e->loop), worker_fiber, &m->workers[i]) == 0);
	}
	while (m->fibers_left > 0)
		fiber_park();
	fs_close(m->fs);
	m->fs = NULL;
	kv_client_close(m->kv);
	m->kv = NULL;
}

static void mount_start(void *ctx);

static void replace(struct fsim_mount *m)
{
	killed[m->incarnation] = true;
	m->proc = NULL;
	m->replacing = true;
	sim_at(sim_now() + sim_between(REPLACE_MIN_NS, REPLACE_MAX_NS), mount_start, m);
}

static void mount_exit(struct sim_proc *p, const char *why)
{
	struct fsim_mount *m = p->user;

	(void)why;
	m->proc = NULL;
	if (m->lost)
		replace(m);
}

static void mount_start(void *ctx)
{
	struct fsim_mount *m = ctx;
	char name[24];

	m->replacing = m->lost = m->evicted = false;
	m->fs = NULL;
	m->kv = NULL;
	m->keeps_locks = sim_chance(700000);
	m->incarnation = ++last_incarnation;
	CHECK(m->incarnation < sizeof(killed));
	m->env = (struct sim_client_env){.fn = mount_fn, .arg = m};
	snprintf(name, sizeof(name), "mount %u", m->number);
	m->proc = sim_proc_start(name, &m->machine, sim_client_main, &m->env);
	m->proc->on_exit = mount_exit;
	m->proc->user = m;
}

void sim_fs_start(const struct sim_fs_config *cfg)
{
	fsim_cfg = *cfg;
	CHECK(cfg->mounts <= FSIM_MOUNTS_MAX && cfg->fibers <= FSIM_FIBERS_MAX);
	gives_up = cfg->timeout_ns != 0;
	fsim__files_init();
	for (uint32_t i = 0; i < cfg->mounts; i++) {
		mounts[i].number = i + 1;
		sim_machine_init(&mounts[i].machine, FIRST_MACHINE + i, NULL);
		mount_start(&mounts[i]);
	}
}

uint32_t sim_fs_mounts(void)
{
	return fsim_cfg.mounts;
}

bool sim_fs_ready(void)
{
	return made || fsim_cfg.mounts == 0;
}

static struct fsim_mount *some_mount(void)
{
	struct fsim_mount *m = &mounts[sim_below(fsim_cfg.mounts)];

	return fsim_cfg.mounts && m->proc && !finishing ? m : NULL;
}

void sim_fs_kill_one(void)
{
	struct fsim_mount *m = some_mount();

	if (!m)
		return;
	sim_trace("mount %u is killed", m->number);
	sim_fault_note(SIM_FAULT_CLIENT_CRASH);
	sim_proc_kill(m->proc);
	for (uint32_t i = 0; i < fsim_cfg.fibers; i++) {
		sim_fs_stats.unknown += m->workers[i].since_ns != 0;
		m->workers[i] = (struct fsim_worker){0};
	}
	replace(m);
}

static void evicted(uint64_t session, bool closed)
{
	sim_trace("the session %llu of a mount %s closed", (unsigned long long)session,
		  closed ? "is" : "could not be");
	evicting = false;
}

void sim_fs_evict_one(void)
{
	struct fsim_mount *m = some_mount();

	if (!m || !m->fs || m->evicted || evicting || sim_evict_busy())
		return;
	evicting = m->evicted = true;
	sim_trace("the session of mount %u is closed", m->number);
	if (sim_chance(600000))
		sim_proc_pause(m->proc, sim_between(NS_PER_MS, STOP_MAX_NS));
	sim_evict(fs_session(m->fs), evicted);
}

void sim_fs_pause_one(uint64_t ns)
{
	struct fsim_mount *m = some_mount();

	if (m) {
		sim_fault_note(SIM_FAULT_PAUSE);
		sim_proc_pause(m->proc, ns);
	}
}

void sim_fs_finish(void)
{
	finishing = true;
}

bool sim_fs_finished(void)
{
	for (uint32_t i = 0; i < fsim_cfg.mounts; i++)
		if (mounts[i].proc || mounts[i].replacing)
			return false;
	return !evicting;
}

uint64_t sim_fs_oldest_ns(void)
{
	uint64_t oldest = 0;

	for (uint32_t i = 0; i < fsim_cfg.mounts; i++)
		for (uint32_t k = 0; mounts[i].proc && k < fsim_cfg.fibers; k++) {
			uint64_t t = mounts[i].workers[k].since_ns;

			if (t && (!oldest || t < oldest))
				oldest = t;
		}
	return oldest;
}

void sim_fs_tell(void)
{
	for (uint32_t i = 0; i < fsim_cfg.mounts; i++) {
		const struct fsim_mount *m = &mounts[i];

		if (!m->proc)
			continue;
		sim_trace("mount %u is there still, paused until %.3f, %u workers", m->number,
			  (double)m->proc->paused_until_ns / NS_PER_S, m->fibers_left);
		for (uint32_t k = 0; k < fsim_cfg.fibers; k++)
			if (m->workers[k].since_ns)
				sim_trace("since %.3f: %s",
					  (double)m->workers[k].since_ns / NS_PER_S,
					  m->workers[k].call ? fsim__text(m->workers[k].call)
							     : "a file");
	}
}

/* A mount whose requests time out may give up reaping when it is unmounted. */
bool fsim__left_hastily(uint32_t mount)
{
	return killed[mount] || gives_up;
}

/* ---- the end ---- */

static void last_exit(struct sim_proc *p, const char *why)
{
	(void)p;
	if (why)
		sim_violation("the last mount died: %s", why);
	inspected = true;
}

void sim_fs_inspect(void)
{
	static struct sim_client_env env = {.fn = fsim__inspect};
	struct sim_proc *p;

	if (fsim_cfg.mounts == 0) {
		inspected = true;
		return;
	}
	sim_machine_init(&last_machine, LAST_MACHINE, NULL);
	fsim_cfg.timeout_ns = 0;
	p = sim_proc_start("last mount", &last_machine, sim_client_main, &env);
	p->on_exit = last_exit;
}

bool sim_fs_inspected(void)
{
	return inspected;
}

uint64_t sim_fs_judge(void)
{
	if (fsim_cfg.mounts == 0)
		return 0;
	fsim__replay();
	fsim__judge_calls();
	fsim__judge_tree();
	return fsim_call_count + fsim__files_judge() + fsim__locks_judge();
}
