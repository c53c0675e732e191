/* The routing client: opening, closing, small questions. Calls are in client_call.c, transactions in
 * client_exec.c, the session in client_session.c. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"

static void split_endpoints(struct kv_client *c, const char *list)
{
	char *copy = mem_must_strdup(list), *rest = copy, *item;

	while ((item = strsep(&rest, ",")) != NULL) {
		if (*item == '\0')
			continue;
		c->endpoints = mem_must_realloc(c->endpoints,
						(c->endpoint_count + 1) * sizeof(char *));
		c->endpoints[c->endpoint_count++] = mem_must_strdup(item);
	}
	mem_free(copy);
}

static void client_free(struct kv_client *c)
{
	for (unsigned i = 0; i < c->endpoint_count; i++)
		mem_free(c->endpoints[i]);
	mem_free(c->endpoints);
	if (c->has_layout)
		kv_layout_release(&c->layout);
	mem_free((char *)(uintptr_t)c->cfg.name);
	mem_free(c);
}

int kv_client_open(const struct kv_client_config *cfg, struct kv_client **out, struct msg *m)
{
	struct kv_client *c = mem_must_alloc(sizeof(*c));
	uint64_t deadline = cfg->connect_timeout_ns
				    ? env_mono_ns(cfg->env) + cfg->connect_timeout_ns
				    : UINT64_MAX;
	int err;

	c->cfg = *cfg;
	c->cfg.name = mem_must_strdup(cfg->name ? cfg->name : "");
	c->session_ns = cfg->session_ns ? cfg->session_ns : KV_SESSION_NS_DEFAULT;
	CHECK(c->session_ns >= KV_SESSION_NS_MIN && c->session_ns <= KV_SESSION_NS_MAX);
	c->executor.exec = kv__exec;
	c->executor.lock = kv__lock;
	c->executor.exec_locked = kv__exec_locked;
	c->executor.unlock = kv__unlock;
	TAILQ_INIT(&c->inflight);
	split_endpoints(c, cfg->endpoints);
	if (c->endpoint_count == 0) {
		err = msg_set(m, ERR_INVAL, "no endpoints given");
		goto out_free;
	}
	err = kv__layout_refresh(c, 0, deadline, m);
	if (!err && cfg->session) {
		err = kv__session_open(c, deadline);
		if (err)
			msg_set(m, err, "open a session: %s", err_text(err));
	}
	if (err)
		goto out_free;
	*out = c;
	return 0;
out_free:
	client_free(c); /* no fiber of its own runs: a session that failed to open has none */
	return err;
}

int kv__background_start(struct kv_client *c, fiber_fn *fn, void *arg)
{
	int err = fiber_start(c->cfg.fibers, fn, arg);

	c->background += err == 0;
	return err;
}

void kv__background_end(struct kv_client *c)
{
	CHECK(c->background > 0);
	c->background--;
	if (c->closer)
		fiber_wake(c->closer);
}

void kv_client_close(struct kv_client *c)
{
	if (!c)
		return;
	c->closing = true;
	c->closer = fiber_self();
	fiber_interrupt_clear(); /* leaving is bounded */
	while (c->background > 0) /* locks that are being given up: bounded */
		fiber_park();
	kv__session_close(c);
	kv__bury_release(c);
	client_free(c);
}

struct txn_executor *kv_client_executor(struct kv_client *c)
{
	return &c->executor;
}

const struct kv_layout *kv_client_layout(struct kv_client *c)
{
	return &c->layout;
}

void kv_client_range(struct kv_client *c, struct slice from, struct slice *end)
{
	uint32_t group;

	/* to the end of the key space: ERR_ELSEWHERE is fine, the end is what is wanted */
	(void)kv_layout_range_group(&c->layout, from, (struct slice){0}, &group, end);
}

uint64_t kv_client_id(const struct kv_client *c)
{
	return c->id;
}

bool kv_client_session_lost(const struct kv_client *c)
{
	return c->session_lost;
}

uint32_t kv_client_leader(struct kv_client *c, uint32_t group)
{
	return group < GROUPS_MAX ? c->leader[group] : 0;
}

void kv_client_stats_get(const struct kv_client *c, struct kv_client_stats *out)
{
	*out = c->stats;
}
