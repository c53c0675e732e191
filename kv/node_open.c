/* KV_OPEN: the meta group issues client ids, by one anonymous ADD. An id whose answer is lost is never
 * used by anybody. */
#include "base/err.h"
#include "base/failpoint.h"
#include "kv/node_internal.h"
#include "txn/tsm.h"

static const struct txn_field counter = {.width = 8};

static int route_to_meta(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)key;
	(void)to;
	*group = 0;
	return 0;
}

static int encode_add(struct slice key, uint64_t sequence, uint64_t age, struct buf *out)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct tsm_request q = {.sequence = sequence, .age = age, .home = key, .parts = parts};
	struct txn_mini m;
	int err;

	txn_mini_init(&m);
	(void)txn_add(&m, key, counter, 1, true);
	err = m.err ? m.err : txn_split(&m, route_to_meta, NULL, parts, &q.part_count);
	txn_mini_release(&m);
	if (err)
		return err;
	tsm_request_encode(&q, out);
	txn_parts_release(parts, q.part_count);
	return buf_ok(out) ? 0 : ERR_NOMEM;
}

void kv__open_client(struct kv_node *n, const struct kv_caller *c)
{
	struct node_group *meta = n->groups[0];
	struct kv_time t = kv__now(n);
	struct buf key = BUF_INIT, request = BUF_INIT;
	int err;

	if (!n->has_layout || !meta) {
		kv__answer(n, c, n->has_layout ? ERR_NO_GROUP : ERR_NOT_READY, n->hint[0],
			   (struct slice){0});
		return;
	}
	FAILPOINT(session_open);
	kv_meta_key(&key, KV_KEY_CLIENTS);
	err = buf_ok(&key) ? encode_add(buf_slice(&key), ++n->anonymous, t.wall_ns, &request)
			   : ERR_NOMEM;
	if (err)
		kv__answer(n, c, err, 0, (struct slice){0});
	else
		kv_replica_exec(meta->replica, c, buf_slice(&request), &t);
	buf_release(&key);
	buf_release(&request);
	kv__touch(meta);
}

int kv__opened_id(struct slice reply, uint64_t *id)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	(void)txn_add(&m, slice_str("counter"), counter, 1, true); /* the shape of the result */
	txn_result_prepare(&r, &m);
	err = m.err ? m.err : txn_result_merge(&r, reply);
	if (!err)
		err = r.status;
	if (!err)
		*id = r.numbers[0];
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}
