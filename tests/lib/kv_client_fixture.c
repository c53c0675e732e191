#include "tests/lib/kv_client_fixture.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "txn/tsm_internal.h"

#define HANG_NS (3600 * NS_PER_S)

/* ---- time ---- */

static struct kcf *of_env(struct env *e)
{
	return container_of(e, struct kcf, env);
}

static uint64_t mono_ns(struct env *e)
{
	return of_env(e)->now_ns;
}

static uint64_t wall_ns(struct env *e)
{
	return of_env(e)->now_ns + 1000 * NS_PER_S;
}

static uint64_t random_bits(struct env *e)
{
	struct kcf *k = of_env(e);

	k->seed = k->seed * 6364136223846793005ull + 1442695040888963407ull;
	return k->seed ^ k->seed >> 29;
}

static void timer_cancel(struct env *e, struct env_timer *t)
{
	struct kcf *k = of_env(e);

	if (!t->armed)
		return;
	if (t->prev)
		t->prev->next = t->next;
	else
		k->timers = t->next;
	if (t->next)
		t->next->prev = t->prev;
	t->armed = false;
}

static void timer_set(struct env *e, struct env_timer *t, uint64_t at_ns)
{
	struct kcf *k = of_env(e);
	struct env_timer *before = NULL, *next;

	timer_cancel(e, t);
	for (next = k->timers; next && next->at_ns <= at_ns; next = next->next)
		before = next;
	t->at_ns = at_ns;
	t->prev = before;
	t->next = next;
	if (before)
		before->next = t;
	else
		k->timers = t;
	if (next)
		next->prev = t;
	t->armed = true;
}

/* ---- the cluster ---- */

static void decode_command(struct kcf_call *c)
{
	struct command *cmd = mem_must_alloc(sizeof(*cmd));

	if (txn__command_decode(buf_slice(&c->body), cmd) != 0) {
		CHECK_FAIL("malformed command");
		mem_free(cmd);
		return;
	}
	c->command = cmd->kind == CMD_REQUEST  ? KCF_REQUEST
		     : cmd->kind == CMD_CANCEL ? KCF_CANCEL
		     : cmd->kind == CMD_CLOSE  ? KCF_CLOSE
		     : cmd->kind == CMD_FLOOR  ? KCF_FLOOR
					       : KCF_NONE;
	c->client = cmd->kind == CMD_FLOOR ? cmd->number : cmd->id.client;
	c->sequence = cmd->id.sequence;
	c->mark = cmd->mark;
	c->age = cmd->age;
	c->lock = cmd->lock;
	c->lock_only = cmd->lock_only;
	c->part_count = cmd->part_count;
	c->why = cmd->why;
	if (cmd->part_count)
		CHECK_U64_EQ(cmd->parts[0].group, c->group);
	mem_free(cmd);
}

static struct kcf_call *record(struct kcf *k, const char *address, uint8_t type,
			       const struct slice *parts, unsigned n)
{
	struct kcf_call *c = &k->calls[k->call_count];
	struct kv_group_request q;
	struct buf all = BUF_INIT;

	if (k->call_count + 1 >= KCF_CALLS_MAX) {
		CHECK_FAIL("too many calls");
		abort();
	}
	*c = (struct kcf_call){.type = type, .at_ns = k->now_ns};
	c->nth = kcf_count(k, type) + 1;
	c->node = (uint32_t)atoi(strrchr(address, ':') + 1) - 100;
	for (unsigned i = 0; i < n; i++)
		buf_add_slice(&all, parts[i]);
	if (type == KV_EXEC || type == KV_READ || type == KV_ADMIN || type == KV_WATCH) {
		CHECK_OK(kv_group_request_decode(buf_slice(&all), &q));
		c->group = q.group;
		CHECK_OK(buf_set(&c->body, q.body));
	}
	if (type == KV_EXEC || type == KV_ADMIN)
		decode_command(c);
	k->call_count++;
	buf_release(&all);
	return c;
}

static int lookup(struct kcf *k, const struct kcf_call *c, int status)
{
	struct kcf_reply *r;

	for (uint32_t i = 0; c->client && i < k->reply_count; i++)
		if (k->replies[i].client == c->client && k->replies[i].sequence == c->sequence)
			return k->replies[i].status;
	if (k->reply_count == KCF_REPLIES_MAX)
		abort();
	r = &k->replies[k->reply_count++];
	*r = (struct kcf_reply){c->client, c->sequence, status};
	return status;
}

/* "Whichever is executed first, command or CANCEL, is the caller's result." */
static void execute(struct kcf *k, const struct kcf_call *c, int status, struct buf *out)
{
	struct reply_head h = {.status = lookup(k, c, c->command == KCF_CANCEL ? c->why : status),
			       .stamp = 1000 * NS_PER_S + k->now_ns,
			       .current = {.status = ERR_NOT_FOUND}};

	txn__reply_head(out, &h);
}

static const struct kcf_key *find(const struct kcf *k, struct slice key)
{
	for (uint32_t i = 0; i < k->key_count; i++)
		if (slice_eq(slice_of(k->keys[i].key, k->keys[i].key_len), key))
			return &k->keys[i];
	return NULL;
}

static void reply_get(const struct kcf *k, struct slice key, uint32_t index, struct buf *out)
{
	const struct kcf_key *e = find(k, key);
	struct reply_value v = {.status = ERR_NOT_FOUND};

	if (e)
		v = (struct reply_value){0, e->version, slice_of(e->value, e->value_len)};
	enc_u64(out, REPLY_GET);
	enc_u64(out, index);
	txn__reply_value(out, &v);
}

static void reply_scan(const struct kcf *k, const struct txn_read *r, uint32_t index,
		       struct buf *out)
{
	enc_u64(out, REPLY_SCAN);
	enc_u64(out, index);
	for (uint32_t i = 0; i < k->key_count; i++) {
		const struct kcf_key *e = &k->keys[i];
		struct slice key = slice_of(e->key, e->key_len);

		if (slice_cmp(key, r->key) < 0 || slice_cmp(key, r->to) >= 0)
			continue;
		enc_u64(out, REPLY_ITEM);
		enc_bytes(out, key);
		enc_u64(out, e->version);
		enc_bytes(out, slice_of(e->value, e->value_len));
	}
	enc_u64(out, REPLY_DONE);
}

static void do_read(struct kcf *k, const struct kcf_call *c, int status, struct buf *out)
{
	struct reply_head h = {.status = status, .current = {.status = ERR_NOT_FOUND}};
	struct part p = {0};

	txn__reply_head(out, &h);
	if (status)
		return;
	CHECK_OK(txn__part_decode(&p, buf_slice(&c->body)));
	for (uint32_t i = 0; i < p.read_count; i++) {
		if (p.reads[i].kind == TXN_GET)
			reply_get(k, p.reads[i].key, p.read_index[i], out);
		else
			reply_scan(k, &p.reads[i], p.read_index[i], out);
	}
	txn__part_release(&p);
}

static bool unchanged(const struct kcf *k, const struct kv_watch_request *q, uint64_t *version)
{
	const struct kcf_key *e = find(k, q->key);

	*version = e ? e->version : 0;
	return *version == q->version;
}

/* At the leader: until the version is another, or the wait is over. */
static int await_change(const struct kcf *k, const struct kcf_call *c, uint64_t deadline_ns)
{
	struct kv_watch_request q;
	uint64_t begin = k->now_ns, version;

	CHECK_OK(kv_watch_request_decode(buf_slice(&c->body), &q));
	while (k->leader[c->group] == c->node && unchanged(k, &q, &version) &&
	       k->now_ns - begin < q.wait_ns) {
		if (k->now_ns >= deadline_ns)
			return ERR_TIMEOUT;
		if (fiber_sleep(KCF_LATENCY_NS) != 0)
			return ERR_INTERRUPTED;
	}
	return 0;
}

static int serve_watch(const struct kcf *k, const struct kcf_call *c, struct buf *out)
{
	struct kv_watch_request q;
	uint64_t version;

	CHECK_OK(kv_watch_request_decode(buf_slice(&c->body), &q));
	if (unchanged(k, &q, &version))
		return ERR_TIMEOUT;
	kv_watch_reply_encode(out, version);
	return 0;
}

static int serve(struct kcf *k, const struct kcf_call *c, const struct kcf_fate *f,
		 uint32_t *hint, struct buf *out)
{
	if (f->envelope) {
		*hint = f->hint;
		return f->envelope;
	}
	if (c->type == KV_MAP) {
		kv_layout_encode(out, &k->layout);
		return 0;
	}
	if (k->leader[c->group] != c->node) {
		*hint = k->leader[c->group];
		return ERR_NOT_LEADER;
	}
	if (c->type == KV_EXEC)
		execute(k, c, f->status, out);
	else if (c->type == KV_READ)
		do_read(k, c, f->status, out);
	else if (c->type == KV_WATCH)
		return serve_watch(k, c, out);
	else if (c->type == KV_OPEN)
		enc_u64(out, ++k->last_id);
	return 0;
}

/* Silence until the deadline. */
static int be_silent(struct kcf *k, uint64_t deadline_ns)
{
	if (fiber_sleep(deadline_ns - k->now_ns) != 0)
		return ERR_INTERRUPTED;
	return ERR_TIMEOUT;
}

static int deliver(struct kcf *k, struct kcf_call *c, const struct kcf_fate *f,
		   uint64_t deadline_ns, struct buf *reply)
{
	struct buf body = BUF_INIT;
	uint32_t hint = 0;
	int err = c->type == KV_WATCH && !f->envelope ? await_change(k, c, deadline_ns) : 0;

	if (err)
		return err;
	mem_fail_pause(true); /* the cluster has its memory, when a client runs out of it */
	err = serve(k, c, f, &hint, &body);
	mem_fail_pause(false);
	buf_reset(reply);
	kv_envelope_encode(reply, err, hint, k->layout.version, buf_slice(&body));
	buf_release(&body);
	if (!buf_ok(reply))
		return ERR_NOMEM; /* it was executed, though */
	if (f->after)
		return f->after == ERR_TIMEOUT ? be_silent(k, deadline_ns) : f->after;
	while (f->hold && !k->release) {
		if (k->now_ns >= deadline_ns)
			return ERR_TIMEOUT;
		if (fiber_sleep(KCF_LATENCY_NS) != 0)
			return ERR_INTERRUPTED;
	}
	return fiber_sleep(KCF_LATENCY_NS) != 0 ? ERR_INTERRUPTED : 0;
}

static int transport_call(struct kv_transport *t, const char *address, uint8_t type,
			  const struct slice *parts, unsigned n, uint64_t deadline_ns,
			  struct buf *reply)
{
	struct kcf *k = container_of(t, struct kcf, transport);
	struct kcf_fate f = {0};
	struct kcf_call *c;

	if (fiber_interrupted())
		return ERR_INTERRUPTED;
	if (k->now_ns >= deadline_ns)
		return ERR_UNREACHABLE;
	mem_fail_pause(true);
	c = record(k, address, type, parts, n);
	mem_fail_pause(false);
	if (k->script)
		k->script(k, c, &f);
	if (fiber_sleep(KCF_LATENCY_NS) != 0)
		return ERR_INTERRUPTED;
	if (f.before)
		return f.before == ERR_TIMEOUT ? be_silent(k, deadline_ns) : f.before;
	return deliver(k, c, &f, deadline_ns, reply);
}

/* ---- life ---- */

static void make_layout(struct kcf *k)
{
	static const uint8_t cluster[KV_CLUSTER_ID_SIZE] = "client-fixture";
	struct kv_layout_node nodes[3];
	struct msg m;

	for (uint32_t i = 0; i < 3; i++) {
		nodes[i] = (struct kv_layout_node){.id = i + 1};
		snprintf(nodes[i].address, sizeof(nodes[i].address), "127.0.0.1:%u", 101 + i);
	}
	if (kv_layout_make(&k->layout, cluster, nodes, 3, 2, 3, &m) != 0)
		abort();
}

void kcf_open(struct kcf *k)
{
	memset(k, 0, sizeof(*k));
	k->env = (struct env){.mono_ns = mono_ns,
			      .wall_ns = wall_ns,
			      .random = random_bits,
			      .timer_set = timer_set,
			      .timer_cancel = timer_cancel};
	k->now_ns = NS_PER_S;
	k->seed = 42;
	k->fibers = fiber_sched_new(&k->env, NULL, NULL);
	k->transport.call = transport_call;
	make_layout(k);
	for (uint32_t g = 0; g < 3; g++)
		k->leader[g] = k->layout.groups[g].members[0];
	k->cfg = (struct kv_client_config){.endpoints = "127.0.0.1:101,127.0.0.1:102",
					   .transport = &k->transport,
					   .env = &k->env,
					   .fibers = k->fibers,
					   .timeout_ns = 30 * NS_PER_S,
					   .connect_timeout_ns = 5 * NS_PER_S,
					   .name = "test"};
}

void kcf_close(struct kcf *k)
{
	kcf_forget(k);
	kv_layout_release(&k->layout);
	fiber_sched_free(k->fibers);
}

static void story_main(void *arg)
{
	struct kcf *k = arg;

	k->story(k);
	if (k->client)
		kv_client_close(k->client);
	k->client = NULL;
}

void kcf_run(struct kcf *k, void (*story)(struct kcf *k))
{
	uint64_t end = k->now_ns + HANG_NS;

	k->story = story;
	if (fiber_start(k->fibers, story_main, k) != 0)
		abort();
	for (;;) {
		struct env_timer *t;

		fiber_sched_run(k->fibers);
		if (fiber_count(k->fibers) == 0)
			return;
		t = k->timers;
		if (!t || t->at_ns > end) { /* its fibers cannot be freed any more */
			fprintf(stderr, "the story hangs\n");
			abort();
		}
		timer_cancel(&k->env, t);
		if (t->at_ns > k->now_ns)
			k->now_ns = t->at_ns;
		t->fire(t);
	}
}

void kcf_client(struct kcf *k, bool session)
{
	struct msg m = {""};
	int err;

	k->cfg.session = session;
	err = kv_client_open(&k->cfg, &k->client, &m);
	if (err)
		CHECK_FAIL("open: %s: %s", err_name(err), m.text);
}

/* ---- looking in ---- */

struct slice kcf_key(const struct kcf *k, uint32_t group, const char *name, uint8_t out[64])
{
	size_t len = strlen(name);
	uint16_t place = 0x8000;

	for (uint32_t i = 0; group && i < k->layout.shard_count; i++)
		if (k->layout.shards[i].group == group) {
			place = k->layout.shards[i].from_len ? be16_get(k->layout.shards[i].from)
							     : 0;
			break;
		}
	be16_put(out, place);
	be64_put(out + 2, (uint64_t)place << 48 | 5);
	out[10] = 'T';
	memcpy(out + 11, name, len);
	return slice_of(out, 11 + len);
}

void kcf_put(struct kcf *k, struct slice key, struct slice value, uint64_t version)
{
	struct kcf_key *e = (struct kcf_key *)(uintptr_t)find(k, key);

	if (!e) {
		if (k->key_count == KCF_KEYS_MAX)
			abort();
		e = &k->keys[k->key_count++];
	}
	memcpy(e->key, key.p, key.len);
	e->key_len = (uint32_t)key.len;
	memcpy(e->value, value.p, value.len);
	e->value_len = (uint32_t)value.len;
	e->version = version;
}

uint32_t kcf_count(const struct kcf *k, uint8_t type)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->call_count; i++)
		n += k->calls[i].type == type;
	return n;
}

const struct kcf_call *kcf_nth(const struct kcf *k, uint8_t type, uint32_t nth)
{
	for (uint32_t i = 0; i < k->call_count; i++)
		if (k->calls[i].type == type && --nth == 0)
			return &k->calls[i];
	return NULL;
}

void kcf_forget(struct kcf *k)
{
	for (uint32_t i = 0; i < k->call_count; i++)
		buf_release(&k->calls[i].body);
	k->call_count = 0;
}

/* ---- transactions ---- */

int kcf_write(struct kcf *k, uint32_t a, uint32_t b) /* b 0: one group only */
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t ka[64], kb[64];
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, kcf_key(k, a, "a", ka), slice_str("1"));
	if (b)
		txn_put(&m, kcf_key(k, b, "b", kb), slice_str("2"));
	err = txn_exec(kv_client_executor(k->client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

int kcf_read(struct kcf *k, uint32_t a, uint32_t b, uint64_t versions[2])
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t ka[64], kb[64];
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, kcf_key(k, a, "a", ka));
	if (b)
		txn_get(&m, kcf_key(k, b, "b", kb));
	err = txn_exec(kv_client_executor(k->client), &m, &r);
	for (uint32_t i = 0; !err && i < r.read_count; i++)
		versions[i] = r.reads[i].value.version;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static void writer_main(void *arg)
{
	struct kcf_writer *w = arg;

	w->fiber = fiber_self();
	w->err = kcf_write(w->k, w->group, 0);
	w->done = true;
}

void kcf_start_writer(struct kcf *k, struct kcf_writer *w, uint32_t group)
{
	*w = (struct kcf_writer){.k = k, .group = group};
	CHECK_OK(fiber_start(k->fibers, writer_main, w));
	fiber_sleep(5 * NS_PER_MS); /* it has sent */
}

void kcf_await_writer(struct kcf_writer *w)
{
	while (!w->done)
		fiber_sleep(NS_PER_MS);
}

const struct kcf_call *kcf_last_cancel(const struct kcf *k)
{
	for (uint32_t i = k->call_count; i > 0; i--)
		if (k->calls[i - 1].type == KV_EXEC && k->calls[i - 1].command == KCF_CANCEL)
			return &k->calls[i - 1];
	return NULL;
}

void kcf_all_down(struct kcf *k, const struct kcf_call *c, struct kcf_fate *f)
{
	(void)k;
	(void)c;
	f->before = ERR_UNREACHABLE;
}
