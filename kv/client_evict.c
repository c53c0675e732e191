/* The end of another client's session, by hand: what client_bury.c does for those that died. */
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"

#define EVICT_NS (10 * NS_PER_S) /* without a limit of the caller's */

static int record_there(struct kv_client *c, uint64_t id)
{
	struct buf key = BUF_INIT;
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	kv__session_key(&key, id);
	txn_get(&m, buf_slice(&key));
	err = kv__exec(&c->executor, &m, &r);
	if (!err)
		err = r.reads[0].value.status;
	txn_result_release(&r);
	txn_mini_release(&m);
	buf_release(&key);
	return err;
}

/* CLOSE everywhere before the record goes: who sees no record knows that nothing comes any more. */
int kv_client_evict(struct kv_client *c, uint64_t id)
{
	uint64_t limit = c->cfg.timeout_ns ? c->cfg.timeout_ns : EVICT_NS;
	uint64_t deadline = env_mono_ns(c->cfg.env) + limit;
	uint32_t *groups, n;
	int err = record_there(c, id);

	if (err)
		return err;
	groups = mem_must_alloc(sizeof(uint32_t) * GROUPS_MAX);
	n = kv__list_groups(c, NULL, groups);
	err = kv__session_end(c, id, groups, n, deadline);
	if (!err)
		err = kv__session_delete(c, id, 0);
	mem_free(groups);
	return err;
}
