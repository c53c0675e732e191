/* The cluster of cores: time, network, engines, and the interface to it. */
#include "tests/lib/paxos_cluster_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- chance and time ---- */

uint64_t cluster_random(struct paxos_cluster *c, uint64_t below)
{
	uint64_t x = c->rng;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	c->rng = x;
	return below ? (x * 0x2545f4914f6cdd1dull >> 11) % below : 0;
}

uint64_t cluster__in_range(struct paxos_cluster *c, struct cluster_range r)
{
	return r.min + cluster_random(c, r.max - r.min + 1);
}

uint64_t cluster__mono(const struct paxos_cluster *c, const struct node *n)
{
	return n->clock_base + c->now + (uint64_t)((int64_t)(c->now / 1000000) * n->ppm);
}

/* The first moment at which the node's clock shows @ns at least. */
static uint64_t when(const struct node *n, uint64_t ns)
{
	uint64_t span;

	if (ns == UINT64_MAX)
		return UINT64_MAX;
	if (ns <= n->clock_base)
		return 0;
	span = ns - n->clock_base;
	return (uint64_t)((double)span / (1.0 + (double)n->ppm / 1e6)) + 2000 +
	       2 * (uint64_t)(n->ppm < 0 ? -n->ppm : n->ppm);
}

uint32_t cluster__index_of(uint32_t node)
{
	return node - 1;
}

/* ---- the queue ---- */

static bool sooner(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void cluster__push(struct paxos_cluster *c, struct event e)
{
	size_t i = c->count++;

	if (c->count > c->cap) {
		c->cap = c->cap ? c->cap * 2 : 256;
		c->heap = mem_must_realloc(c->heap, c->cap * sizeof(*c->heap));
	}
	e.order = c->order++;
	while (i > 0 && sooner(&e, &c->heap[(i - 1) / 2])) {
		c->heap[i] = c->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	c->heap[i] = e;
}

static struct event pop(struct paxos_cluster *c)
{
	struct event top = c->heap[0], last = c->heap[--c->count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= c->count)
			break;
		if (child + 1 < c->count && sooner(&c->heap[child + 1], &c->heap[child]))
			child++;
		if (!sooner(&c->heap[child], &last))
			break;
		c->heap[i] = c->heap[child];
		i = child;
	}
	if (c->count > 0)
		c->heap[i] = last;
	return top;
}

/* ---- the network ---- */

static void transmit(struct paxos_cluster *c, uint32_t from, uint32_t to, struct buf *frame)
{
	struct event e = {.kind = DELIVER, .node = to, .from = from, .life = c->nodes[to].life};
	uint64_t *last = &c->link_last[from][to];

	if (c->cut[from][to] || cluster_random(c, 1000000) < c->faults.loss_ppm)
		return;
	e.at = c->now + cluster__in_range(c, c->faults.delay);
	if (c->faults.fifo && e.at < *last)
		e.at = *last;
	*last = e.at > *last ? e.at : *last;
	buf_init(&e.body);
	buf_add_slice(&e.body, buf_slice(frame));
	cluster__push(c, e);
}

/* TRACE=1 in the environment: a line for each message. */
static void trace(const struct paxos_cluster *c, const struct paxos_message *m)
{
	static const char *const types[] = {
		"",	    "PREVOTE", "PREVOTE_REPLY", "PREPARE", "PROMISE",	 "ACCEPT",
		"ACCEPTED", "REJECT",  "LEARN_REQUEST", "LEARN",   "TIMEOUT_NOW"};

	fprintf(stderr,
		"%.6f %u>%u %s b=%llu.%u [%llu,%llu] n=%u commit=%llu applied=%llu start=%llu "
		"round=%llu span=%llu%s%s\n",
		(double)c->now / 1e9, m->from - 1, m->to - 1, types[m->type],
		(unsigned long long)PAXOS_BALLOT_ROUND(m->ballot), PAXOS_BALLOT_NODE(m->ballot) - 1,
		(unsigned long long)m->first, (unsigned long long)m->last, m->count,
		(unsigned long long)m->commit, (unsigned long long)m->applied,
		(unsigned long long)m->log_start, (unsigned long long)m->round,
		(unsigned long long)m->span_ns, m->more ? " more" : "", m->ok ? " ok" : "");
}

static void send(struct paxos_cluster *c, uint32_t i, const struct paxos_message *m)
{
	struct buf frame = BUF_INIT;
	uint32_t to = cluster__index_of(m->to);

	MUST(c, to < c->cfg.nodes && to != i);
	cluster__check_sent(c, &c->nodes[i], m);
	c->sent[m->type]++;
	if (c->trace)
		trace(c, m);
	paxos_message_encode(m, &frame);
	MUST(c, buf_ok(&frame) && frame.len <= FRAME_SIZE_MAX);
	transmit(c, i, to, &frame);
	if (cluster_random(c, 1000000) < c->faults.double_ppm)
		transmit(c, i, to, &frame);
	buf_release(&frame);
}

/* ---- a step ---- */

static void apply_kick(struct paxos_cluster *c, uint32_t i)
{
	struct node *n = &c->nodes[i];

	if (n->applying > n->applied || n->given == n->applied)
		return;
	n->applying = n->given;
	cluster__push(c, (struct event){.at = c->now + cluster__in_range(c, n->apply_delay),
					.kind = APPLIED,
					.node = i,
					.life = n->life,
					.arg = n->applying,
					.seq = n->generation});
}

static void persist(struct node *n, const struct paxos_update *up)
{
	for (size_t k = 0; k < up->persist_count; k++) {
		const struct paxos_persist *r = &up->persist[k];

		cluster__disk_append(&n->disk,
				     (struct record){
					     .kind = r->promise ? PROMISE : ENTRY,
					     .number = r->ballot,
					     .entry = r->promise ? NULL : paxos_entry_ref(r->entry),
				     });
	}
	n->disk.seq = up->persist_seq;
	if (up->truncate_below)
		cluster__disk_append(&n->disk,
				     (struct record){.kind = MARK, .number = up->truncate_below});
}

static void fetch_snapshot(struct paxos_cluster *c, uint32_t i, uint32_t from)
{
	struct node *n = &c->nodes[i];

	if (n->fetching)
		return;
	n->fetching = true;
	cluster__push(
		c, (struct event){.at = c->now + 5 * NS_PER_MS + cluster_random(c, 50 * NS_PER_MS),
				  .kind = SNAPSHOT,
				  .node = i,
				  .from = cluster__index_of(from),
				  .life = n->life});
}

static int step(struct paxos_cluster *c, uint32_t i, struct paxos_event *ev, uint64_t *slot)
{
	struct node *n = &c->nodes[i];
	struct paxos_update up = {0};
	int err;

	ev->now_ns = cluster__mono(c, n);
	ev->wall_ns = WALL_START + c->now;
	if (cluster_random(c, 1000000) < c->faults.nomem_ppm)
		mem_fail_nth(1 + cluster_random(c, 4));
	err = paxos_step(n->core, ev, &up);
	mem_fail_nth(0);
	if (err)
		return err;
	paxos_audit(n->core, &n->audit);
	persist(n, &up);
	for (size_t k = 0; k < up.message_count; k++)
		send(c, i, &up.messages[k]);
	for (size_t k = 0; k < up.committed_count; k++)
		cluster__check_given(c, i, up.committed[k]);
	if (slot)
		*slot = up.proposed_slot;
	for (size_t k = 0; k < up.read_count; k++)
		cluster__read_ready(c, i, &up.reads[k]);
	if (up.snapshot_from)
		fetch_snapshot(c, i, up.snapshot_from);
	cluster__disk_kick(c, i);
	apply_kick(c, i);
	return 0;
}

void cluster__must_step(struct paxos_cluster *c, uint32_t i, struct paxos_event ev)
{
	int err = step(c, i, &ev, NULL);

	if (err)
		FAIL(c, "node %u: step %d: %s", i, (int)ev.kind, err_name(err));
}

/* ---- what happens ---- */

static void on_deliver(struct paxos_cluster *c, struct event *e)
{
	struct paxos_message m;

	if (c->cut[e->from][e->node])
		return;
	CHECK_OK(paxos_message_decode(buf_slice(&e->body), &m));
	cluster__must_step(c, e->node,
			   (struct paxos_event){.kind = PAXOS_EV_MESSAGE, .message = &m});
	paxos_message_release(&m);
}

static void on_synced(struct paxos_cluster *c, const struct event *e)
{
	struct disk *d = &c->nodes[e->node].disk;

	d->syncing = false;
	while (d->synced < e->arg)
		cluster__disk_stored(d, &d->records[d->synced++]);
	cluster__must_step(c, e->node,
			   (struct paxos_event){.kind = PAXOS_EV_PERSISTED, .seq = e->seq});
	cluster__disk_kick(c, e->node);
}

static void on_applied(struct paxos_cluster *c, const struct event *e)
{
	struct node *n = &c->nodes[e->node];

	if (e->seq != n->generation)
		return;
	n->applied = e->arg;
	cluster__must_step(c, e->node,
			   (struct paxos_event){.kind = PAXOS_EV_APPLIED, .slot = e->arg});
	cluster__serve_all(c, e->node);
	if (cluster_random(c, 16) == 0)
		cluster_flush(c, e->node);
	apply_kick(c, e->node);
}

static void on_snapshot(struct paxos_cluster *c, const struct event *e)
{
	struct node *n = &c->nodes[e->node], *from = &c->nodes[e->from];

	n->fetching = false;
	if (!from->core || c->cut[e->from][e->node] || c->cut[e->node][e->from])
		return;
	cluster_flush(c, e->from);
	if (from->durable <= n->given)
		return;
	c->snapshots++;
	n->generation++;
	n->given = n->applied = n->applying = n->durable = from->durable;
	n->disk.whole = n->durable > n->disk.whole ? n->durable : n->disk.whole;
	cluster__must_step(
		c, e->node,
		(struct paxos_event){.kind = PAXOS_EV_SNAPSHOT_INSTALLED, .slot = n->durable});
}

static void ask_read(struct paxos_cluster *c, struct read *r)
{
	struct paxos_event ev = {.kind = PAXOS_EV_READ, .read_id = r->id};

	if (step(c, r->node, &ev, NULL))
		r->waits = false;
}

static void happen(struct paxos_cluster *c, struct event *e)
{
	struct node *n = &c->nodes[e->node];

	if (!n->core || e->life != n->life) {
		buf_release(&e->body);
		return;
	}
	if (n->paused_until > c->now) {
		e->at = n->paused_until;
		cluster__push(c, *e);
		return;
	}
	switch (e->kind) {
	case DELIVER:
		on_deliver(c, e);
		break;
	case SYNCED:
		on_synced(c, e);
		break;
	case APPLIED:
		on_applied(c, e);
		break;
	case SNAPSHOT:
		on_snapshot(c, e);
		break;
	case READ_AGAIN:
		if (c->reads[e->arg % READS].id == e->arg)
			ask_read(c, &c->reads[e->arg % READS]);
		break;
	case LINK:
		cluster_link(c, e->node, e->from, e->arg);
		break;
	}
	buf_release(&e->body);
}

static uint64_t deadline(const struct node *n)
{
	uint64_t at = n->core ? when(n, paxos_next_deadline(n->core)) : UINT64_MAX;

	return at > n->paused_until ? at : n->paused_until;
}

/* One event, or the ticks that are due, if there are any until @end. */
static bool turn(struct paxos_cluster *c, uint64_t end)
{
	uint64_t at = c->count ? c->heap[0].at : UINT64_MAX;
	uint32_t who = CLUSTER_NONE;
	struct event e;

	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		uint64_t d = deadline(&c->nodes[i]);

		if (c->nodes[i].core && d < at) {
			at = d;
			who = i;
		}
	}
	if (at > end) {
		c->now = end > c->now ? end : c->now;
		return false;
	}
	c->turns = at > c->now ? 0 : c->turns + 1;
	c->now = at > c->now ? at : c->now;
	if (c->turns > TURNS)
		FAIL(c, "node %u: time stands still", who);
	if (who != CLUSTER_NONE) {
		cluster__must_step(c, who, (struct paxos_event){.kind = PAXOS_EV_TICK});
		return true;
	}
	e = pop(c);
	happen(c, &e);
	return true;
}

/* ---- the interface ---- */

void cluster_config_default(struct cluster_config *cfg, uint64_t seed)
{
	*cfg = (struct cluster_config){
		.seed = seed,
		.nodes = 3,
		.retain_bytes = 1 << 20,
		.cache_bytes = 1 << 20,
		.drift_ppm = 1000,
	};
	paxos_timing_default(&cfg->timing);
}

void cluster__boot(struct paxos_cluster *c, uint32_t i, bool fresh)
{
	struct node *n = &c->nodes[i];
	struct paxos_config pc = {
		.group = GROUP,
		.self = i + 1,
		.member_count = c->cfg.nodes,
		.epoch = EPOCH,
		.seed = cluster_random(c, UINT64_MAX),
		.timing = c->cfg.timing,
		.retain_bytes = c->cfg.retain_bytes,
		.cache_bytes = c->cfg.cache_bytes,
		.read_entry = cluster__read_entry,
		.read_ctx = &n->disk,
	};

	for (uint32_t k = 0; k < c->cfg.nodes; k++)
		pc.members[k] = k + 1;
	CHECK_OK(paxos_new(&pc, &n->core));
	for (size_t k = 0; k < n->disk.count; k++) {
		const struct record *r = &n->disk.records[k];

		if (r->kind == PROMISE)
			paxos_restore_promise(n->core, r->number);
		else if (r->kind == MARK)
			paxos_restore_mark(n->core, r->number);
		else
			paxos_restore_entry(n->core, r->entry);
	}
	n->given = n->applied = n->applying = n->durable;
	n->audit = (struct paxos_audit){0};
	n->fetching = false;
	CHECK_OK(paxos_start(n->core, n->applied, fresh, cluster__mono(c, n)));
	paxos_audit(n->core, &n->audit);
}

struct paxos_cluster *cluster_new(const struct cluster_config *cfg)
{
	struct paxos_cluster *c = mem_must_alloc(sizeof(*c));

	c->cfg = *cfg;
	c->trace = getenv("TRACE") != NULL;
	c->rng = cfg->seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	c->faults.delay = (struct cluster_range){20 * NS_PER_US, 200 * NS_PER_US};
	c->faults.fifo = true;
	for (uint32_t i = 0; i < cfg->nodes; i++) {
		struct node *n = &c->nodes[i];

		n->disk.delay = (struct cluster_range){100 * NS_PER_US, 300 * NS_PER_US};
		n->apply_delay = (struct cluster_range){1 * NS_PER_US, 100 * NS_PER_US};
		n->clock_base = NS_PER_S + cluster_random(c, 1000 * NS_PER_S);
		n->ppm = (int64_t)cluster_random(c, 2 * cfg->drift_ppm + 1) - cfg->drift_ppm;
		cluster__boot(c, i, true);
	}
	for (uint32_t i = 0; i < cfg->nodes; i++) {
		for (uint32_t k = 0; k < cfg->nodes; k++) {
			if (i != k)
				cluster_link(c, i, k, true);
		}
	}
	return c;
}

void cluster_free(struct paxos_cluster *c)
{
	for (size_t i = 0; i < c->count; i++)
		buf_release(&c->heap[i].body);
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		paxos_free(c->nodes[i].core);
		cluster__disk_release(&c->nodes[i].disk);
	}
	mem_free(c->heap);
	mem_free(c->chosen);
	mem_free(c);
}

struct cluster_faults *cluster_faults(struct paxos_cluster *c)
{
	return &c->faults;
}

uint64_t cluster_now(const struct paxos_cluster *c)
{
	return c->now;
}

void cluster_run(struct paxos_cluster *c, uint64_t ns)
{
	uint64_t end = c->now + ns;

	while (turn(c, end))
		;
}

uint32_t cluster_leader(struct paxos_cluster *c)
{
	uint32_t best = CLUSTER_NONE;
	paxos_ballot ballot = 0;

	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		struct paxos_status s;

		if (!c->nodes[i].core)
			continue;
		cluster_status(c, i, &s);
		if (s.role == PAXOS_LEADER && s.serving && s.ballot > ballot) {
			ballot = s.ballot;
			best = i;
		}
	}
	return best;
}

bool cluster_await_leader(struct paxos_cluster *c, uint64_t ns)
{
	uint64_t end = c->now + ns;

	while (cluster_leader(c) == CLUSTER_NONE) {
		if (!turn(c, end))
			return false;
	}
	return true;
}

bool cluster_await_slot(struct paxos_cluster *c, uint32_t node, uint64_t slot, uint64_t ns)
{
	uint64_t end = c->now + ns;

	while (c->nodes[node].applied < slot) {
		if (!turn(c, end))
			return false;
	}
	return true;
}

bool cluster_await_reads(struct paxos_cluster *c, uint64_t served, uint64_t ns)
{
	uint64_t end = c->now + ns;

	while (c->served < served) {
		if (!turn(c, end))
			return false;
	}
	return true;
}

bool cluster_up(const struct paxos_cluster *c, uint32_t node)
{
	return c->nodes[node].core != NULL;
}

void cluster_status(struct paxos_cluster *c, uint32_t node, struct paxos_status *out)
{
	paxos_status(c->nodes[node].core, cluster__mono(c, &c->nodes[node]), out);
}

struct paxos *cluster_core(struct paxos_cluster *c, uint32_t node)
{
	return c->nodes[node].core;
}

int cluster_propose(struct paxos_cluster *c, uint32_t node, size_t len, uint64_t *slot)
{
	uint8_t *data = mem_must_alloc(len + sizeof(c->values));
	struct paxos_event ev = {.kind = PAXOS_EV_PROPOSE};
	int err;

	c->values++;
	memcpy(data, &c->values, sizeof(c->values));
	ev.propose.kind = PAXOS_COMMANDS;
	ev.propose.data = slice_of(data, len + sizeof(c->values));
	err = step(c, node, &ev, slot);
	mem_free(data);
	return err;
}

int cluster_read(struct paxos_cluster *c, uint32_t node)
{
	struct read *r = &c->reads[++c->read_id % READS];
	struct paxos_event ev = {.kind = PAXOS_EV_READ, .read_id = c->read_id};
	int err;

	*r = (struct read){.id = c->read_id,
			   .floor = c->chosen_last,
			   .node = node,
			   .life = c->nodes[node].life,
			   .waits = true};
	err = step(c, node, &ev, NULL);
	if (err)
		r->waits = false;
	return err;
}

uint64_t cluster_reads_served(const struct paxos_cluster *c)
{
	return c->served;
}

uint64_t cluster_chosen(const struct paxos_cluster *c)
{
	return c->chosen_last;
}

uint64_t cluster_given(const struct paxos_cluster *c, uint32_t node)
{
	return c->nodes[node].given;
}

uint64_t cluster_sent(const struct paxos_cluster *c, enum paxos_message_type type)
{
	return c->sent[type];
}

uint64_t cluster_snapshots(const struct paxos_cluster *c)
{
	return c->snapshots;
}
