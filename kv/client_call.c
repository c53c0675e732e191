/* Finding the leader of a group, and calling it until somebody accepts the request. */
#include <stdio.h>

#include "base/err.h"
#include "kv/client_internal.h"

int kv__pause(struct kv_client *c, uint64_t *backoff_ns, uint64_t deadline_ns)
{
	uint64_t now = env_mono_ns(c->cfg.env), wait = *backoff_ns;

	if (now >= deadline_ns)
		return ERR_TIMEOUT;
	wait = wait / 2 + env_random(c->cfg.env) % (wait / 2 + 1);
	if (wait > deadline_ns - now)
		wait = deadline_ns - now;
	*backoff_ns = *backoff_ns * 2 > BACKOFF_NS_MAX ? BACKOFF_NS_MAX : *backoff_ns * 2;
	return fiber_sleep(wait);
}

static const char *node_address(struct kv_client *c, uint32_t node)
{
	const struct kv_layout_node *n = kv_layout_node(&c->layout, node);

	return n ? n->address : NULL;
}

/* Did it fail a moment ago? Then a call would only wait for its connection to come back. */
static bool is_suspect(struct kv_client *c, uint32_t node)
{
	return env_mono_ns(c->cfg.env) < c->suspect_ns[node % NODES_MAX];
}

/* The node to try next: the known leader, else the members in turn, suspects last. */
static uint32_t pick_node(struct kv_client *c, uint32_t group)
{
	const struct kv_layout_group *g = kv_layout_group(&c->layout, group);
	uint32_t node = 0;

	if (!g || g->member_count == 0)
		return 0;
	if (c->leader[group])
		return c->leader[group];
	for (uint32_t i = 0; i < g->member_count; i++) {
		node = g->members[c->round[group]++ % g->member_count];
		if (!is_suspect(c, node))
			break;
	}
	return node;
}

/* What an answer from @node says about who leads. Returns true when there is somebody else to ask
 * at once. A hint to a node that just failed is older than the failure. */
static bool learn_leader(struct kv_client *c, uint32_t group, uint32_t node, uint32_t hint)
{
	if (hint && hint != node && node_address(c, hint) && !is_suspect(c, hint)) {
		c->leader[group] = hint;
		c->stats.redirects++;
		return true;
	}
	c->leader[group] = 0;
	return false;
}

struct attempt {
	struct kv_client *c;
	uint32_t group, node;
	uint64_t timeout_ns, timeout_max_ns, backoff_ns, deadline_ns;
	unsigned silences;  /* nodes that answered nothing */
	unsigned redirects; /* in a row, without a pause */
	unsigned nomem;	    /* answers that did not fit memory */
	bool *unknown;
};

static void suspect(struct attempt *a, uint64_t span_ns)
{
	struct kv_client *c = a->c;

	if (c->leader[a->group] == a->node)
		c->leader[a->group] = 0;
	c->suspect_ns[a->node % NODES_MAX] = env_mono_ns(c->cfg.env) + span_ns;
}

/* No answer in time. If the node has answered others lately, it is well, and the request waits for a
 * lock: it is sent there again. Else another is asked, at first no longer than this one. */
static int after_timeout(struct attempt *a)
{
	uint64_t now = env_mono_ns(a->c->cfg.env), heard = a->c->heard_ns[a->node % NODES_MAX];
	bool silent = now - heard >= a->timeout_ns / 2;

	if (silent)
		suspect(a, SILENT_NS);
	if (!silent || a->silences++ > 0)
		a->timeout_ns = a->timeout_ns * 2 > a->timeout_max_ns ? a->timeout_max_ns
								      : a->timeout_ns * 2;
	return now >= a->deadline_ns ? ERR_TIMEOUT : 0;
}

/* After a transport error. 0: try again. */
static int after_transport_error(struct attempt *a, int err)
{
	switch (err) {
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		*a->unknown = true;
		break;
	case ERR_UNREACHABLE:
	case ERR_BUSY:
		break;
	case ERR_NOMEM: /* for the request, or for its answer: it is asked for again */
		*a->unknown = true;
		if (++a->nomem == NOMEM_TRIES)
			return err;
		break;
	case ERR_INTERRUPTED:
		*a->unknown = true;
		return err;
	default:
		return err;
	}
	a->c->stats.retries++;
	if (err == ERR_TIMEOUT)
		return after_timeout(a);
	if (err != ERR_BUSY && err != ERR_NOMEM)
		suspect(a, SUSPECT_NS);
	return kv__pause(a->c, &a->backoff_ns, a->deadline_ns);
}

/* After an envelope with an error. 0: try again; else final. A replica that stopped leading, or takes
 * part no more, gives up those who wait as well as those who come: the command may yet be executed. */
static int after_envelope_error(struct attempt *a, const struct kv_envelope *e)
{
	if (e->err == ERR_NOT_LEADER || e->err == ERR_AMNESIA)
		*a->unknown = true;
	switch (e->err) {
	case ERR_NOT_LEADER:
	case ERR_NO_GROUP:
		a->c->stats.retries++;
		if (learn_leader(a->c, a->group, a->node, e->leader) && ++a->redirects % 4 != 0)
			return env_mono_ns(a->c->cfg.env) >= a->deadline_ns ? ERR_TIMEOUT : 0;
		break;
	case ERR_AMNESIA:
	case ERR_NOT_READY:
		a->c->stats.retries++;
		a->c->leader[a->group] = 0;
		break;
	case ERR_BUSY:
		a->c->stats.retries++;
		break;
	case ERR_TIMEOUT: /* of a watch, by the leader */
		a->c->leader[a->group] = a->node;
		return e->err;
	default:
		return e->err;
	}
	return kv__pause(a->c, &a->backoff_ns, a->deadline_ns);
}

static int call_node(struct attempt *a, uint8_t type, struct slice request, struct buf *reply)
{
	struct env *env = a->c->cfg.env;
	const char *known = node_address(a->c, a->node);
	char address[ADDRESS_SIZE_MAX]; /* the layout may be replaced meanwhile */
	struct buf head = BUF_INIT;
	struct slice parts[2];
	uint64_t until = env_mono_ns(env) + a->timeout_ns;
	int err;

	if (!known)
		return ERR_UNREACHABLE;
	snprintf(address, sizeof(address), "%s", known);
	/* kv_group_request, with the body's bytes behind the head instead of copied into it */
	kv_group_request_head(&head, a->group, request.len);
	parts[0] = buf_slice(&head);
	parts[1] = request;
	a->c->stats.calls++;
	err = buf_ok(&head) ? a->c->cfg.transport->call(a->c->cfg.transport, address, type, parts, 2,
							until < a->deadline_ns ? until
									       : a->deadline_ns,
							reply)
			    : ERR_NOMEM;
	buf_release(&head);
	if (!err) {
		a->c->heard_ns[a->node % NODES_MAX] = env_mono_ns(env);
		a->c->suspect_ns[a->node % NODES_MAX] = 0;
	}
	return err;
}

static int attempts(struct attempt *a, uint8_t type, struct slice request, struct buf *reply,
		    struct slice *body)
{
	struct kv_envelope e;
	int err;

	if (a->group >= GROUPS_MAX)
		return ERR_NO_GROUP;
	for (;;) {
		a->node = pick_node(a->c, a->group);
		err = call_node(a, type, request, reply);
		if (err) {
			err = after_transport_error(a, err);
		} else if (kv_envelope_decode(buf_slice(reply), &e) != 0) {
			return ERR_PROTO;
		} else if (e.err == 0) {
			a->c->leader[a->group] = a->node;
			*body = e.body;
			return 0;
		} else {
			err = after_envelope_error(a, &e);
		}
		if (err)
			return err;
	}
}

int kv__call_group(struct kv_client *c, uint32_t group, uint8_t type, struct slice request,
		   uint64_t deadline_ns, bool *unknown, struct buf *reply, struct slice *body)
{
	struct attempt a = {.c = c,
			    .group = group,
			    .timeout_ns = ATTEMPT_NS_MIN,
			    .timeout_max_ns = ATTEMPT_NS_MAX,
			    .backoff_ns = BACKOFF_NS_MIN,
			    .deadline_ns = deadline_ns,
			    .unknown = unknown};

	return attempts(&a, type, request, reply, body);
}

int kv__call_group_late(struct kv_client *c, uint32_t group, uint8_t type, struct slice request,
			uint64_t answer_ns, uint64_t deadline_ns, struct buf *reply,
			struct slice *body)
{
	bool unknown = false;
	struct attempt a = {.c = c,
			    .group = group,
			    .timeout_ns = answer_ns + LATE_NS,
			    .timeout_max_ns = answer_ns + LATE_NS,
			    .backoff_ns = BACKOFF_NS_MIN,
			    .deadline_ns = deadline_ns,
			    .unknown = &unknown};

	return attempts(&a, type, request, reply, body);
}

/* ---- the layout ---- */

static int fetch_layout(struct kv_client *c, const char *address, uint64_t deadline_ns,
			struct kv_layout *out)
{
	struct buf reply = BUF_INIT;
	struct kv_envelope e;
	uint64_t until = env_mono_ns(c->cfg.env) + ATTEMPT_NS_MIN;
	int err;

	err = c->cfg.transport->call(c->cfg.transport, address, KV_MAP, NULL, 0,
				     until < deadline_ns ? until : deadline_ns, &reply);
	if (!err)
		err = kv_envelope_decode(buf_slice(&reply), &e);
	if (!err)
		err = e.err;
	if (!err)
		err = kv_layout_decode(e.body, out);
	buf_release(&reply);
	return err;
}

static void adopt_layout(struct kv_client *c, struct kv_layout *l)
{
	if (c->has_layout)
		kv_layout_release(&c->layout);
	c->layout = *l;
	c->has_layout = true;
}

/* The address to ask for the layout next: the endpoints given, then the nodes of the layout. A copy,
 * because the layout may be replaced meanwhile. */
static void map_address(struct kv_client *c, char out[ADDRESS_SIZE_MAX])
{
	unsigned known = c->has_layout ? c->layout.node_count : 0;
	unsigned i = c->endpoint_next++ % (c->endpoint_count + known);

	snprintf(out, ADDRESS_SIZE_MAX, "%s",
		 i < c->endpoint_count ? c->endpoints[i]
				       : c->layout.nodes[i - c->endpoint_count].address);
}

int kv__layout_refresh(struct kv_client *c, uint64_t newer_than, uint64_t deadline_ns,
		       struct msg *m)
{
	uint64_t backoff = BACKOFF_NS_MIN;
	struct kv_layout l;
	unsigned tried = 0;
	int err;

	c->stats.map_refreshes++;
	for (;;) {
		char address[ADDRESS_SIZE_MAX];

		map_address(c, address);
		err = fetch_layout(c, address, deadline_ns, &l);
		if (!err && (!c->has_layout || l.version > newer_than)) {
			adopt_layout(c, &l);
			return 0;
		}
		if (!err) {
			kv_layout_release(&l);
			return 0; /* nobody has a newer one: the caller tries again with the old */
		}
		msg_set(m, err, "%s: %s", address, err_text(err));
		if (err == ERR_INTERRUPTED)
			return err;
		tried++;
		if (err == ERR_NOT_READY && tried >= c->endpoint_count)
			return err;
		if (tried % c->endpoint_count == 0 && kv__pause(c, &backoff, deadline_ns) != 0)
			return err == ERR_TIMEOUT || err == ERR_CLOSED ? ERR_UNREACHABLE : err;
	}
}

int kv_client_admin(struct kv_transport *t, struct env *env, const char *address, uint8_t type,
		    struct slice body, uint64_t timeout_ns, struct buf *reply)
{
	struct buf raw = BUF_INIT;
	struct kv_envelope e;
	int err = t->call(t, address, type, &body, 1, env_mono_ns(env) + timeout_ns, &raw);

	if (!err)
		err = kv_envelope_decode(buf_slice(&raw), &e);
	if (!err)
		err = e.err;
	if (!err)
		err = buf_set(reply, e.body);
	buf_release(&raw);
	return err;
}
