/* The session of a client: its id, the record that keeps it alive, what follows when others have closed
 * it, and its end (README.md, "Sessions").
 *
 * Record in group 0 under KV_KEY_SESSION + be64(id): renewed u64 le (stamp, ns) | opened u64 le |
 * patience u64 le (ns) | name. The holder renews it; who finds the dead, and buries them: client_bury.c.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/client_internal.h"
#include "txn/tsm.h"

#define FIELD_OPENED ((struct txn_field){.offset = 8, .width = 8})
#define LEAVE_NS     (2 * NS_PER_S) /* a clean end waits so long for a cluster that is away */

void kv__session_key(struct buf *out, uint64_t id)
{
	kv_meta_key(out, KV_KEY_SESSION);
	buf_add_be64(out, id);
	buf_must(out); /* an empty one would stand for all keys */
}

static int issue_id(struct kv_client *c, uint64_t deadline_ns, uint64_t *id)
{
	struct buf reply = BUF_INIT;
	struct slice body;
	struct dec d;
	bool unknown = false;
	int err = kv__call_group(c, 0, KV_OPEN, (struct slice){0}, deadline_ns, &unknown, &reply,
				 &body);

	if (!err) {
		dec_init(&d, body);
		*id = dec_u64(&d);
		err = dec_end(&d);
	}
	buf_release(&reply);
	return err;
}

static void record_value(struct buf *out, const struct kv_client *c)
{
	uint8_t ns[8];

	le64_put(ns, c->session_ns);
	buf_add_zeros(out, SESSION_HEAD_OLD);
	buf_add(out, ns, sizeof(ns));
	buf_add(out, c->cfg.name, strlen(c->cfg.name));
}

/* Under the id just issued, which becomes the client's when this has worked. */
static int put_record(struct kv_client *c, uint64_t id, uint64_t deadline_ns)
{
	struct buf key = BUF_INIT, value = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&key, id);
	record_value(&value, c);
	txn_if_absent(&m, buf_slice(&key));
	txn_put(&m, buf_slice(&key), buf_slice(&value));
	txn_set_now(&m, buf_slice(&key), SESSION_RENEWED);
	txn_set_now(&m, buf_slice(&key), FIELD_OPENED);
	err = buf_ok(&value) ? kv__exec_as(c, &m, id, deadline_ns, &r) : ERR_NOMEM;
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&key);
	buf_release(&value);
	return err;
}

/* ---- telling groups ---- */

struct telling { /* one command to several groups */
	struct kv_client *c;
	struct slice command;
	const uint32_t *groups;
	uint64_t deadline_ns;
};

static int tell_group(void *ctx, uint32_t i)
{
	struct telling *k = ctx;
	struct buf reply = BUF_INIT;
	struct slice body;
	bool unknown = false;
	int err = kv__call_group(k->c, k->groups[i], KV_ADMIN, k->command, k->deadline_ns, &unknown,
				 &reply, &body);

	buf_release(&reply);
	return err;
}

/* Meta first, then everywhere else. */
int kv__tell_all(struct kv_client *c, struct slice command, const uint32_t *groups, uint32_t n,
		    uint64_t deadline_ns)
{
	const uint32_t meta = 0;
	struct telling k = {
		.c = c, .command = command, .groups = &meta, .deadline_ns = deadline_ns};
	int err = tell_group(&k, 0);

	if (err)
		return err;
	k.groups = groups;
	return kv__fan_out(c, n, tell_group, &k);
}

/* Deletes the record of @id, which has been closed: so anonymously. @renewed: only if nobody has renewed
 * it since. Twice is as good as once. */
int kv__session_delete(struct kv_client *c, uint64_t id, uint64_t renewed)
{
	struct buf key = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&key, id);
	if (renewed)
		txn_if_field_u64(&m, buf_slice(&key), SESSION_RENEWED, renewed);
	txn_delete(&m, buf_slice(&key));
	err = kv__exec_as(c, &m, 0, kv__deadline(c), &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&key);
	return err;
}

int kv__session_end(struct kv_client *c, uint64_t id, const uint32_t *groups, uint32_t n,
			    uint64_t deadline_ns)
{
	struct buf command = BUF_INIT;
	int err;

	tsm_command_close(&command, id);
	err = buf_ok(&command) ? kv__tell_all(c, buf_slice(&command), groups, n, deadline_ns)
			       : ERR_NOMEM;
	buf_release(&command);
	return err;
}

/* Groups other than meta: all of them, or only those in @used. */
uint32_t kv__list_groups(const struct kv_client *c, const bool *used, uint32_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->layout.group_count; i++) {
		uint32_t id = c->layout.groups[i].id;

		if (id != 0 && (!used || used[id]))
			out[n++] = id;
	}
	return n;
}

/* ---- keeping alive ---- */

/* 0: it was alive when this began; or it is known to be lost. */
static int renew(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t id = c->id, begin_ns = env_mono_ns(c->cfg.env);
	struct buf key = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	c->renewing = true;
	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&key, id);
	txn_if_exists(&m, buf_slice(&key));
	txn_set_now(&m, buf_slice(&key), SESSION_RENEWED);
	err = kv__exec_as(c, &m, id, deadline_ns, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&key);
	c->renewing = false;
	if (err == ERR_CONDITION || err == ERR_SESSION || err == ERR_OUTCOME) {
		c->session_lost |= id == c->id;
		return 0;
	}
	if (!err && id == c->id)
		c->confirmed_ns = begin_ns;
	return err;
}

/* By this client's clock, with something to spare for those of others that run faster. */
static bool is_sure(const struct kv_client *c)
{
	return !c->session_lost && env_mono_ns(c->cfg.env) - c->confirmed_ns <
					   c->session_ns - c->session_ns / 8;
}

int kv__session_confirm(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	int err = 0;

	while (!err && c->id && !is_sure(c)) {
		if (c->session_lost)
			err = kv__session_open(c, deadline_ns);
		else if (c->renewing)
			err = kv__pause(c, &backoff, deadline_ns);
		else
			err = renew(c, deadline_ns);
	}
	return err;
}

int kv_client_session_confirm(struct kv_client *c)
{
	return kv__session_confirm(c, kv__deadline(c));
}

/* Often enough to be seen alive, and to see whether others are. */
static uint64_t period(const struct kv_client *c)
{
	uint64_t ns = c->session_ns;

	if (c->shortest_ns && c->shortest_ns < ns)
		ns = c->shortest_ns;
	ns /= SESSION_RENEWALS;
	return ns < SESSION_RENEW_NS ? ns : SESSION_RENEW_NS;
}

static void keeper_main(void *arg)
{
	struct kv_client *c = arg;
	int err;

	c->keeper = fiber_self();
	while (!c->closing) {
		uint64_t ns = period(c) / 2;

		c->keeper_sleeps = true;
		(void)fiber_sleep(ns + env_random(c->cfg.env) % ns);
		c->keeper_sleeps = false;
		if (c->closing)
			break;
		fiber_interrupt_clear(); /* it was lost */
		err = c->session_lost ? 0 : renew(c, kv__deadline(c));
		if (c->session_lost)
			err = kv__session_open(c, kv__deadline(c));
		if (!err && !c->closing)
			kv__bury_dead(c);
	}
	c->keeper = NULL;
	c->keeping = false;
	if (c->closer)
		fiber_wake(c->closer);
}

void kv__session_refused(struct kv_client *c, uint64_t client)
{
	if (client != c->id)
		return;
	c->session_lost = true;
	if (c->keeper_sleeps)
		fiber_interrupt(c->keeper);
}

/* ---- opening ---- */

/* The id is known to be good: it takes the place of the one that was lost, if any. */
static void adopt(struct kv_client *c, uint64_t id, uint64_t confirmed_ns)
{
	struct kv_session_change x = {.was = c->id, .now = id};
	struct kv_inflight *f;

	TAILQ_FOREACH(f, &c->inflight, link)
		x.calls++;
	c->id = id;
	c->session_lost = false;
	c->confirmed_ns = confirmed_ns;
	if (!x.was)
		return;
	c->stats.sessions_lost++;
	if (c->session_fn)
		c->session_fn(c->session_ctx, &x);
}

static int open_new(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t id, begin_ns;
	int err = issue_id(c, deadline_ns, &id);

	begin_ns = env_mono_ns(c->cfg.env);
	if (!err)
		err = put_record(c, id, deadline_ns);
	if (err)
		return err; /* a record that was written after all is buried by others */
	if (!c->keeping) {
		err = fiber_start(c->cfg.fibers, keeper_main, c);
		if (err)
			return err;
		c->keeping = true;
	}
	adopt(c, id, begin_ns);
	return 0;
}

int kv__session_open(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	int err;

	while ((!c->id || c->session_lost) && c->opening) { /* another fiber does it */
		err = kv__pause(c, &backoff, deadline_ns);
		if (err)
			return err;
	}
	if (c->id && !c->session_lost)
		return 0;
	c->opening = true;
	do {
		err = open_new(c, deadline_ns);
	} while ((err == ERR_SESSION || err == ERR_OUTCOME) &&
		 env_mono_ns(c->cfg.env) < deadline_ns); /* see raise_floor */
	c->opening = false;
	return err;
}

int kv__session_for_call(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t was = c->id;
	/* who was away finds out here, by a request of which nothing depends, and not by the call's own,
	 * whose fate might stay open */
	int err = was ? kv__session_confirm(c, deadline_ns) : kv__session_open(c, deadline_ns);

	if (err)
		return err;
	return was && c->id != was ? ERR_SESSION : 0;
}

void kv_client_on_session(struct kv_client *c, kv_session_fn *fn, void *ctx)
{
	c->session_fn = fn;
	c->session_ctx = ctx;
}

/* ---- the end ---- */

/* CLOSE everywhere, then the record: whoever dies in between leaves one to be found. */
void kv__session_close(struct kv_client *c)
{
	uint32_t *groups;
	uint32_t n;
	uint64_t deadline;

	while (c->keeping) {
		if (c->keeper)
			fiber_interrupt(c->keeper);
		fiber_park();
	}
	if (!c->id || c->session_lost)
		return;
	deadline = env_mono_ns(c->cfg.env) + LEAVE_NS;
	c->cfg.timeout_ns = LEAVE_NS; /* leaving: nobody waits longer for a dead cluster */
	groups = mem_must_alloc(sizeof(uint32_t) * GROUPS_MAX);
	n = kv__list_groups(c, c->used, groups);
	if (kv__session_end(c, c->id, groups, n, deadline) == 0)
		(void)kv__session_delete(c, c->id, 0); /* else it expires, and others do it */
	mem_free(groups);
}
