/* The session of a client: its id, the record that keeps it alive, and its end.
 *
 * Record in group 0 under KV_KEY_SESSION + be64(id): renewed u64 le (stamp, ns) | opened u64 le |
 * name. The holder renews it; who finds the dead, and buries them: client_bury.c.
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

static void record_value(struct buf *out, const char *name)
{
	buf_add_zeros(out, SESSION_HEAD);
	buf_add(out, name ? name : "", name ? strlen(name) : 0);
}

/* Under the id just issued, which becomes the client's when this has worked. */
static int put_record(struct kv_client *c, uint64_t id)
{
	struct buf key = BUF_INIT, value = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&key, id);
	record_value(&value, c->cfg.name);
	txn_if_absent(&m, buf_slice(&key));
	txn_put(&m, buf_slice(&key), buf_slice(&value));
	txn_set_now(&m, buf_slice(&key), SESSION_RENEWED);
	txn_set_now(&m, buf_slice(&key), FIELD_OPENED);
	err = buf_ok(&value) ? kv__exec_as(c, &m, id, &r) : ERR_NOMEM;
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&key);
	buf_release(&value);
	return err;
}

static int renew(struct kv_client *c)
{
	struct buf key = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&key, c->id);
	txn_if_exists(&m, buf_slice(&key));
	txn_set_now(&m, buf_slice(&key), SESSION_RENEWED);
	err = kv__exec(&c->executor, &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&key);
	return err;
}

/* ---- closing ---- */

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
	err = kv__exec_as(c, &m, 0, &r);
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

static void keeper_main(void *arg)
{
	struct kv_client *c = arg;

	c->keeper = fiber_self();
	while (!c->closing && !c->session_lost) {
		int err = fiber_sleep(SESSION_RENEW_NS / 2 +
				      env_random(c->cfg.env) % (SESSION_RENEW_NS / 2));

		if (c->closing || err)
			break;
		err = renew(c);
		if (err == ERR_CONDITION || err == ERR_SESSION)
			c->session_lost = true;
		else if (!err)
			kv__bury_dead(c);
	}
	c->keeper = NULL;
	c->keeping = false;
	if (c->closer)
		fiber_wake(c->closer);
}

static int open_new(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t id;
	int err = issue_id(c, deadline_ns, &id);

	if (!err)
		err = put_record(c, id);
	if (err)
		return err; /* a record that was written after all is buried by others */
	err = fiber_start(c->cfg.fibers, keeper_main, c);
	if (err)
		return err;
	c->keeping = true;
	c->id = id;
	return 0;
}

int kv__session_open(struct kv_client *c, uint64_t deadline_ns)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	int err;

	while (!c->id && c->opening) { /* another fiber does it */
		err = kv__pause(c, &backoff, deadline_ns);
		if (err)
			return err;
	}
	if (c->session_lost)
		return ERR_SESSION;
	if (c->id)
		return 0;
	c->opening = true;
	do {
		err = open_new(c, deadline_ns);
	} while (err == ERR_SESSION && env_mono_ns(c->cfg.env) < deadline_ns); /* see raise_floor */
	c->opening = false;
	return err;
}

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
