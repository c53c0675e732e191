/* Watching a key: a call that its group's leader keeps until the version is another one, or for a while;
 * then it is asked again. */
#include "base/err.h"
#include "kv/client_internal.h"

static uint64_t plus(uint64_t a, uint64_t b)
{
	return b < UINT64_MAX - a ? a + b : UINT64_MAX;
}

/* One round, answered after @wait_ns at the latest. */
static int watch_round(struct kv_client *c, const struct kv_watch_request *q, uint64_t deadline_ns,
		       uint64_t *now)
{
	uint32_t group = kv_layout_group_of(&c->layout, q->key);
	struct buf request = BUF_INIT, reply = BUF_INIT;
	struct slice body = {0};
	int err;

	kv_watch_request_encode(&request, q);
	err = buf_ok(&request) ? kv__call_group_late(c, group, KV_WATCH, buf_slice(&request),
						     q->wait_ns, deadline_ns, &reply, &body)
			       : ERR_NOMEM;
	buf_release(&request);
	if (!err)
		err = kv_watch_reply_decode(body, now);
	buf_release(&reply);
	return err;
}

int kv_client_watch(struct kv_client *c, struct slice key, uint64_t version, uint64_t wait_ns,
		    uint64_t *now)
{
	uint64_t at = env_mono_ns(c->cfg.env), end = plus(at, wait_ns);
	uint64_t deadline = plus(end, ATTEMPT_NS_MIN); /* the first look takes its time */
	uint64_t backoff = BACKOFF_NS_MIN;
	int err;

	if (key.len == 0 || key.len > KEY_SIZE_MAX)
		return ERR_INVAL;
	c->stats.watches++;
	for (;;) {
		struct kv_watch_request q = {.version = version, .key = key};
		uint64_t map = c->layout.version;

		q.wait_ns = end - at < WATCH_ROUND_NS ? end - at : WATCH_ROUND_NS;
		err = watch_round(c, &q, deadline, now);
		if (err == ERR_WRONG_SHARD)
			err = kv__map_was_stale(c, map, &backoff, deadline);
		else if (kv__worth_another_try(err))
			err = kv__pause(c, &backoff, deadline);
		else if (err != ERR_TIMEOUT)
			return err;
		at = env_mono_ns(c->cfg.env);
		if (err == ERR_TIMEOUT && at < end)
			err = 0;
		if (err)
			return err;
		if (at > end)
			at = end;
	}
}
