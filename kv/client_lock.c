/* Locks taken up front, for interactive transactions that lost too often (txn/txn.h): a request of its
 * own sequence that changes nothing and holds its locks until the request that names it is decided, or
 * until it is cancelled, or its session is closed. */
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"
#include "txn/tsm.h"

/* The first mutation's key, else the first read's, else the first condition's. */
static int home_of(const struct txn_mini *m, struct slice *home)
{
	if (m->mut_count)
		*home = m->muts[0].key;
	else if (m->read_count)
		*home = m->reads[0].key;
	else if (m->cond_count)
		*home = m->conds[0].key;
	else
		return ERR_INVAL;
	return home->len > 0 && home->len <= KEY_SIZE_MAX ? 0 : ERR_INVAL;
}

static void remember(struct txn_lock *lock, uint64_t session, uint64_t sequence, struct slice home)
{
	lock->session = session;
	lock->sequence = sequence;
	lock->home_len = (uint32_t)home.len;
	memcpy(lock->home, home.p, home.len);
}

/* ---- giving up ---- */

struct unlocking {
	struct kv_client *c;
	uint64_t client, sequence;
	uint32_t group;
};

static void unlock_main(void *arg)
{
	struct unlocking *u = arg;
	struct kv_client *c = u->c;
	struct buf cancel = BUF_INIT, reply = BUF_INIT;
	struct slice body;
	bool unknown = false;

	tsm_command_cancel(&cancel, u->client, u->sequence, ERR_CANCELED);
	/* lost in the end: the locks go with the session */
	if (buf_ok(&cancel))
		(void)kv__call_group(c, u->group, KV_EXEC, buf_slice(&cancel),
				     env_mono_ns(c->cfg.env) + UNLOCK_NS, &unknown, &reply, &body);
	buf_release(&cancel);
	buf_release(&reply);
	mem_free(u);
	kv__background_end(c);
}

static void give_up(struct kv_client *c, uint64_t session, uint64_t sequence, struct slice home)
{
	struct unlocking *u;

	if (session != c->id || c->session_lost)
		return; /* CLOSE frees the locks */
	u = mem_must_alloc(sizeof(*u));
	*u = (struct unlocking){.c = c,
				.client = session,
				.sequence = sequence,
				.group = kv_layout_group_of(&c->layout, home)};
	if (kv__background_start(c, unlock_main, u) != 0)
		mem_free(u);
}

void kv__unlock(struct txn_executor *x, const struct txn_lock *lock)
{
	struct kv_client *c = container_of(x, struct kv_client, executor);

	give_up(c, lock->session, lock->sequence, slice_of(lock->home, lock->home_len));
}

/* ---- taking ---- */

static int lock_once(struct kv_write *w, struct txn_result *r)
{
	int err = kv__split(w->c, w->m, w->home, w->parts, &w->part_count);

	if (err)
		return err;
	err = kv__write_once(w, r);
	txn_parts_release(w->parts, w->part_count);
	if (err && w->undecided)
		give_up(w->c, w->client, w->sequence, w->home);
	return err;
}

static int lock_loop(struct kv_write *w)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	struct txn_result r;
	int err;

	txn_result_init(&r);
	for (;;) {
		uint64_t version = w->c->layout.version;

		err = lock_once(w, &r);
		if (err)
			break;
		if (r.status == ERR_WRONG_SHARD)
			err = kv__map_was_stale(w->c, version, &backoff, w->deadline_ns);
		else if (kv__worth_another_try(r.status))
			err = kv__pause(w->c, &backoff, w->deadline_ns);
		else
			break;
		if (err)
			break;
	}
	err = err ? err : r.status;
	txn_result_release(&r);
	return err;
}

int kv__lock(struct txn_executor *x, const struct txn_mini *m, struct txn_lock *lock)
{
	struct kv_client *c = container_of(x, struct kv_client, executor);
	struct kv_write w = {.c = c,
			     .m = m,
			     .age = env_wall_ns(c->cfg.env),
			     .deadline_ns = kv__deadline(c),
			     .lock_only = true};
	int err = m->err ? m->err : home_of(m, &w.home);

	if (!err)
		err = kv__session_for_call(c, w.deadline_ns);
	if (err)
		return err;
	w.client = c->id;
	w.parts = mem_must_alloc(sizeof(*w.parts) * TXN_GROUPS_MAX);
	err = lock_loop(&w);
	if (!err)
		remember(lock, w.client, w.sequence, w.home);
	mem_free(w.parts);
	return err;
}

/* One try only: whatever is decided ends the locks, so another would run without them. */
int kv__exec_locked(struct txn_executor *x, const struct txn_mini *m, const struct txn_lock *lock,
		    struct txn_result *r)
{
	struct kv_client *c = container_of(x, struct kv_client, executor);
	struct kv_write w = {.c = c,
			     .m = m,
			     .client = c->id,
			     .age = env_wall_ns(c->cfg.env),
			     .deadline_ns = kv__deadline(c),
			     .home = slice_of(lock->home, lock->home_len),
			     .lock = lock->sequence};
	int err;

	if (m->err)
		return m->err;
	if (!c->id || c->session_lost || lock->session != c->id)
		return ERR_SESSION; /* its locks have gone, and the transaction with them */
	w.parts = mem_must_alloc(sizeof(*w.parts) * TXN_GROUPS_MAX);
	err = kv__split(c, m, w.home, w.parts, &w.part_count);
	if (!err) {
		c->stats.execs++;
		c->stats.cross_group += w.part_count > 1;
		err = kv__write_once(&w, r);
		txn_parts_release(w.parts, w.part_count);
	}
	mem_free(w.parts);
	return err ? err : r->status;
}
