#include "tests/lib/paxos_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

enum {
	NODES = GROUP_REPLICAS_MAX,
	TURNS = 100000, /* at one moment: time stands still */
	READS = 4096, /* of which the newest are remembered */
	EPOCH = 7,
	GROUP = 3,
};

#define WALL_START (1700000000ull * NS_PER_S)

/* ---- shapes ---- */

enum event_kind { DELIVER, SYNCED, APPLIED, SNAPSHOT, READ_AGAIN, LINK };

struct event {
	uint64_t at, order;
	enum event_kind kind;
	uint32_t node, from;
	uint64_t life, arg, seq;
	struct buf body;
};

enum record_kind { PROMISE, ENTRY, MARK };

struct record {
	enum record_kind kind;
	uint64_t number;	   /* ballot, or slot of a mark */
	struct paxos_entry *entry; /* a reference */
};

struct disk {
	struct record *records;
	size_t count, synced, cap;
	uint64_t seq; /* of the last record */
	bool syncing;
	struct cluster_range delay;

	/* indexes, by slot: the newest appended, and the newest synced (both borrowed) */
	struct paxos_entry **appended, **stored;
	size_t slots;
	uint64_t whole; /* all slots up to it are stored, or were applied */
	uint64_t mark;
	paxos_ballot promise;
};

struct node {
	struct paxos *core; /* NULL: down */
	uint64_t life;
	struct disk disk;
	uint64_t given, applied, durable, applying;
	uint64_t generation; /* of apply jobs */
	struct cluster_range apply_delay;
	uint64_t clock_base, paused_until;
	int64_t ppm;
	struct paxos_audit audit;
	bool fetching;
};

struct read {
	uint64_t id, floor, slot;
	uint32_t node;
	uint64_t life;
	bool waits, ready, under_lease;
};

struct paxos_cluster {
	struct cluster_config cfg;
	struct cluster_faults faults;
	uint64_t now, rng, order;
	uint32_t turns;
	bool trace;
	struct event *heap;
	size_t count, cap;
	struct node nodes[NODES];
	bool cut[NODES][NODES];
	uint64_t link_last[NODES][NODES];
	uint64_t *chosen; /* fingerprint by slot; 0: not yet */
	size_t chosen_cap;
	uint64_t chosen_last;
	struct read reads[READS];
	uint64_t read_id, served, values, snapshots;
	uint64_t sent[PAXOS_TIMEOUT_NOW + 1];
};

#define FAIL(c, ...)                                                                               \
	do {                                                                                       \
		fprintf(stderr, "seed %llu, at %.6f s:\n", (unsigned long long)(c)->cfg.seed,      \
			(double)(c)->now / 1e9);                                                   \
		CHECK_FAIL(__VA_ARGS__);                                                           \
	} while (0)

#define MUST(c, cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL(c, "%s", #cond);                                                      \
	} while (0)

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

static uint64_t in_range(struct paxos_cluster *c, struct cluster_range r)
{
	return r.min + cluster_random(c, r.max - r.min + 1);
}

static uint64_t mono(const struct paxos_cluster *c, const struct node *n)
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

static uint32_t index_of(uint32_t node)
{
	return node - 1;
}

/* ---- the queue ---- */

static bool sooner(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct paxos_cluster *c, struct event e)
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

/* ---- disks ---- */

static void disk_room(struct disk *d, uint64_t slot)
{
	size_t old = d->slots;

	if (slot < old)
		return;
	d->slots = (size_t)slot * 2 + 64;
	d->appended = mem_must_realloc(d->appended, d->slots * sizeof(*d->appended));
	d->stored = mem_must_realloc(d->stored, d->slots * sizeof(*d->stored));
	memset(d->appended + old, 0, (d->slots - old) * sizeof(*d->appended));
	memset(d->stored + old, 0, (d->slots - old) * sizeof(*d->stored));
}

static void disk_append(struct disk *d, struct record r)
{
	if (d->count == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 64;
		d->records = mem_must_realloc(d->records, d->cap * sizeof(*d->records));
	}
	d->records[d->count++] = r;
	if (r.entry) {
		disk_room(d, r.entry->slot);
		d->appended[r.entry->slot] = r.entry;
	}
}

static void disk_stored(struct disk *d, const struct record *r)
{
	switch (r->kind) {
	case PROMISE:
		d->promise = r->number > d->promise ? r->number : d->promise;
		return;
	case MARK:
		d->mark = r->number > d->mark ? r->number : d->mark;
		return;
	case ENTRY:
		d->stored[r->entry->slot] = r->entry;
		while (d->whole + 1 < d->slots && d->stored[d->whole + 1])
			d->whole++;
		return;
	}
}

static void disk_kick(struct paxos_cluster *c, uint32_t i)
{
	struct node *n = &c->nodes[i];
	struct disk *d = &n->disk;

	if (d->syncing || d->synced == d->count)
		return;
	d->syncing = true;
	push(c, (struct event){.at = c->now + in_range(c, d->delay),
			       .kind = SYNCED,
			       .node = i,
			       .life = n->life,
			       .arg = d->count,
			       .seq = d->seq});
}

/* What a power cut leaves: all that was synced, and some of what was not. */
static void disk_crash(struct paxos_cluster *c, struct node *n)
{
	struct disk *d = &n->disk;
	size_t keep = d->synced + (size_t)cluster_random(c, d->count - d->synced + 1);

	for (size_t i = keep; i < d->count; i++)
		paxos_entry_unref(d->records[i].entry);
	d->count = d->synced = keep;
	d->syncing = false;
	if (d->slots) {
		memset(d->appended, 0, d->slots * sizeof(*d->appended));
		memset(d->stored, 0, d->slots * sizeof(*d->stored));
	}
	d->promise = 0;
	d->mark = 0;
	d->whole = n->durable;
	for (size_t i = 0; i < keep; i++) {
		if (d->records[i].entry)
			d->appended[d->records[i].entry->slot] = d->records[i].entry;
		disk_stored(d, &d->records[i]);
	}
}

static void disk_release(struct disk *d)
{
	for (size_t i = 0; i < d->count; i++)
		paxos_entry_unref(d->records[i].entry);
	mem_free(d->records);
	mem_free(d->appended);
	mem_free(d->stored);
}

static int read_entry(void *ctx, uint64_t slot, struct paxos_entry **out)
{
	const struct disk *d = ctx;

	if (slot >= d->slots || slot < d->mark || !d->appended[slot])
		return ERR_NOT_FOUND;
	*out = paxos_entry_ref(d->appended[slot]);
	return 0;
}

/* ---- the checker ---- */

static uint64_t fingerprint(const struct paxos_entry *e)
{
	uint64_t h = 0xcbf29ce484222325ull ^ e->kind ^ e->clock_ns;

	for (size_t i = 0; i < e->len; i++)
		h = (h ^ e->data[i]) * 0x100000001b3ull;
	return (h ^ e->len) | 1;
}

static void check_majority_has(struct paxos_cluster *c, uint64_t slot, uint64_t print)
{
	uint32_t have = 0;

	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		const struct node *n = &c->nodes[i];
		const struct disk *d = &n->disk;

		have += n->durable >= slot ||
			(slot < d->slots && d->stored[slot] && fingerprint(d->stored[slot]) == print);
	}
	if (have < c->cfg.nodes / 2 + 1)
		FAIL(c, "slot %llu is given out, but only %u disks have it",
		     (unsigned long long)slot, have);
}

static void check_given(struct paxos_cluster *c, uint32_t i, const struct paxos_entry *e)
{
	struct node *n = &c->nodes[i];
	uint64_t print = fingerprint(e);

	if (e->slot != n->given + 1)
		FAIL(c, "node %u: slot %llu behind %llu", i, (unsigned long long)e->slot,
		     (unsigned long long)n->given);
	n->given = e->slot;
	if (e->slot >= c->chosen_cap) {
		size_t cap = (size_t)e->slot * 2 + 64;

		c->chosen = mem_must_realloc(c->chosen, cap * sizeof(*c->chosen));
		memset(c->chosen + c->chosen_cap, 0, (cap - c->chosen_cap) * sizeof(*c->chosen));
		c->chosen_cap = cap;
	}
	if (!c->chosen[e->slot]) {
		check_majority_has(c, e->slot, print);
		c->chosen[e->slot] = print;
		c->chosen_last = e->slot > c->chosen_last ? e->slot : c->chosen_last;
	}
	if (c->chosen[e->slot] != print)
		FAIL(c, "node %u: another value for slot %llu", i, (unsigned long long)e->slot);
}

/* "An acceptor MUST have its promise or accepted entry on disk before it answers." */
static void check_sent(struct paxos_cluster *c, const struct node *n, const struct paxos_message *m)
{
	switch (m->type) {
	case PAXOS_ACCEPTED:
		MUST(c, m->last <= n->disk.whole || m->last <= n->durable);
		MUST(c, n->disk.promise >= m->ballot);
		return;
	case PAXOS_PREPARE:
	case PAXOS_PROMISE:
	case PAXOS_ACCEPT:
		MUST(c, n->disk.promise >= m->ballot);
		return;
	default:
		return;
	}
}

/* ---- reads ---- */

static void serve(struct paxos_cluster *c, struct read *r)
{
	struct node *n = &c->nodes[r->node];

	if (!r->ready || n->applied < r->slot)
		return;
	if (r->under_lease && !paxos_lease_valid(n->core, mono(c, n))) {
		r->ready = false;
		push(c, (struct event){.at = c->now,
				       .kind = READ_AGAIN,
				       .node = r->node,
				       .life = n->life,
				       .arg = r->id});
		return;
	}
	if (n->applied < r->floor)
		FAIL(c, "node %u: a read %s sees %llu, but %llu was chosen before", r->node,
		     r->under_lease ? "under lease" : "by index", (unsigned long long)n->applied,
		     (unsigned long long)r->floor);
	r->waits = false;
	c->served++;
}

static void serve_all(struct paxos_cluster *c, uint32_t i)
{
	for (size_t k = 0; k < READS; k++) {
		if (c->reads[k].waits && c->reads[k].node == i)
			serve(c, &c->reads[k]);
	}
}

static void read_ready(struct paxos_cluster *c, uint32_t i, const struct paxos_read_ready *ready)
{
	struct read *r = &c->reads[ready->read_id % READS];

	if (!r->waits || r->id != ready->read_id)
		return;
	MUST(c, r->node == i);
	if (ready->err) {
		MUST(c, ready->err == ERR_NOT_LEADER);
		r->waits = false;
		return;
	}
	r->ready = true;
	r->slot = ready->slot;
	r->under_lease = ready->under_lease;
	serve(c, r);
}

/* ---- the network ---- */

static void transmit(struct paxos_cluster *c, uint32_t from, uint32_t to, struct buf *frame)
{
	struct event e = {.kind = DELIVER, .node = to, .from = from, .life = c->nodes[to].life};
	uint64_t *last = &c->link_last[from][to];

	if (c->cut[from][to] || cluster_random(c, 1000000) < c->faults.loss_ppm)
		return;
	e.at = c->now + in_range(c, c->faults.delay);
	if (c->faults.fifo && e.at < *last)
		e.at = *last;
	*last = e.at > *last ? e.at : *last;
	buf_init(&e.body);
	buf_add_slice(&e.body, buf_slice(frame));
	push(c, e);
}

/* TRACE=1 in the environment: a line for each message. */
static void trace(const struct paxos_cluster *c, const struct paxos_message *m)
{
	static const char *const types[] = {
		"",	  "PREVOTE",  "PREVOTE_REPLY", "PREPARE",	    "PROMISE",	  "ACCEPT",
		"ACCEPTED", "REJECT", "LEARN_REQUEST", "LEARN", "TIMEOUT_NOW"};

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
	uint32_t to = index_of(m->to);

	MUST(c, to < c->cfg.nodes && to != i);
	check_sent(c, &c->nodes[i], m);
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
	push(c, (struct event){.at = c->now + in_range(c, n->apply_delay),
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

		disk_append(&n->disk, (struct record){
					      .kind = r->promise ? PROMISE : ENTRY,
					      .number = r->ballot,
					      .entry = r->promise ? NULL : paxos_entry_ref(r->entry),
				      });
	}
	n->disk.seq = up->persist_seq;
	if (up->truncate_below)
		disk_append(&n->disk,
			    (struct record){.kind = MARK, .number = up->truncate_below});
}

static void fetch_snapshot(struct paxos_cluster *c, uint32_t i, uint32_t from)
{
	struct node *n = &c->nodes[i];

	if (n->fetching)
		return;
	n->fetching = true;
	push(c, (struct event){.at = c->now + 5 * NS_PER_MS + cluster_random(c, 50 * NS_PER_MS),
			       .kind = SNAPSHOT,
			       .node = i,
			       .from = index_of(from),
			       .life = n->life});
}

static int step(struct paxos_cluster *c, uint32_t i, struct paxos_event *ev, uint64_t *slot)
{
	struct node *n = &c->nodes[i];
	struct paxos_update up = {0};
	int err;

	ev->now_ns = mono(c, n);
	ev->wall_ns = WALL_START + c->now;
	err = paxos_step(n->core, ev, &up);
	if (err)
		return err;
	paxos_audit(n->core, &n->audit);
	persist(n, &up);
	for (size_t k = 0; k < up.message_count; k++)
		send(c, i, &up.messages[k]);
	for (size_t k = 0; k < up.committed_count; k++)
		check_given(c, i, up.committed[k]);
	if (slot)
		*slot = up.proposed_slot;
	for (size_t k = 0; k < up.read_count; k++)
		read_ready(c, i, &up.reads[k]);
	if (up.snapshot_from)
		fetch_snapshot(c, i, up.snapshot_from);
	disk_kick(c, i);
	apply_kick(c, i);
	return 0;
}

static void must_step(struct paxos_cluster *c, uint32_t i, struct paxos_event ev)
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
	must_step(c, e->node, (struct paxos_event){.kind = PAXOS_EV_MESSAGE, .message = &m});
	paxos_message_release(&m);
}

static void on_synced(struct paxos_cluster *c, const struct event *e)
{
	struct disk *d = &c->nodes[e->node].disk;

	d->syncing = false;
	while (d->synced < e->arg)
		disk_stored(d, &d->records[d->synced++]);
	must_step(c, e->node, (struct paxos_event){.kind = PAXOS_EV_PERSISTED, .seq = e->seq});
	disk_kick(c, e->node);
}

static void on_applied(struct paxos_cluster *c, const struct event *e)
{
	struct node *n = &c->nodes[e->node];

	if (e->seq != n->generation)
		return;
	n->applied = e->arg;
	must_step(c, e->node, (struct paxos_event){.kind = PAXOS_EV_APPLIED, .slot = e->arg});
	serve_all(c, e->node);
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
	must_step(c, e->node,
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
		push(c, *e);
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
		must_step(c, who, (struct paxos_event){.kind = PAXOS_EV_TICK});
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

static void boot(struct paxos_cluster *c, uint32_t i, bool fresh)
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
		.read_entry = read_entry,
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
	CHECK_OK(paxos_start(n->core, n->applied, fresh, mono(c, n)));
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
		boot(c, i, true);
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
		disk_release(&c->nodes[i].disk);
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
	paxos_status(c->nodes[node].core, mono(c, &c->nodes[node]), out);
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

void cluster_dump(struct paxos_cluster *c)
{
	static const char *const roles[] = {"follower", "candidate", "leader"};

	fprintf(stderr, "seed %llu, at %.6f s, chosen %llu\n", (unsigned long long)c->cfg.seed,
		(double)c->now / 1e9, (unsigned long long)c->chosen_last);
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		const struct node *n = &c->nodes[i];
		struct paxos_status s;

		if (!n->core) {
			fprintf(stderr, "  node %u: down\n", i);
			continue;
		}
		cluster_status(c, i, &s);
		fprintf(stderr,
			"  node %u: %s%s of %u, ballot %llu.%u, log %llu applied %llu commit %llu last "
			"%llu; given %llu durable %llu, disk %zu of %zu%s\n",
			i, roles[s.role], s.serving ? " (serving)" : "", s.leader - 1,
			(unsigned long long)PAXOS_BALLOT_ROUND(s.ballot),
			PAXOS_BALLOT_NODE(s.ballot) - 1, (unsigned long long)s.log_start,
			(unsigned long long)s.applied, (unsigned long long)s.commit,
			(unsigned long long)s.last, (unsigned long long)n->given,
			(unsigned long long)n->durable, n->disk.synced, n->disk.count,
			n->fetching ? ", fetching" : "");
	}
}

/* ---- faults ---- */

static void tell_links(struct paxos_cluster *c, uint32_t node, bool up)
{
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		if (i == node || !c->nodes[i].core)
			continue;
		push(c, (struct event){.at = c->now + 100 * NS_PER_US,
				       .kind = LINK,
				       .node = i,
				       .from = node,
				       .life = c->nodes[i].life,
				       .arg = up});
	}
}

void cluster_crash(struct paxos_cluster *c, uint32_t node)
{
	struct node *n = &c->nodes[node];

	if (!n->core)
		return;
	paxos_free(n->core);
	n->core = NULL;
	n->life++;
	n->generation++;
	n->paused_until = 0;
	disk_crash(c, n);
	for (size_t k = 0; k < READS; k++) {
		if (c->reads[k].node == node)
			c->reads[k].waits = false;
	}
	if (!c->faults.no_break)
		tell_links(c, node, false);
}

void cluster_restart(struct paxos_cluster *c, uint32_t node)
{
	if (c->nodes[node].core)
		return;
	boot(c, node, c->nodes[node].disk.count == 0 && c->nodes[node].durable == 0);
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		if (i != node && c->nodes[i].core)
			cluster_link(c, node, i, true);
	}
	tell_links(c, node, true);
}

void cluster_pause(struct paxos_cluster *c, uint32_t node, uint64_t ns)
{
	c->nodes[node].paused_until = c->now + ns;
}

void cluster_cut(struct paxos_cluster *c, uint32_t from, uint32_t to, bool cut)
{
	c->cut[from][to] = cut;
}

void cluster_split(struct paxos_cluster *c, uint32_t mask)
{
	for (uint32_t i = 0; i < c->cfg.nodes; i++) {
		for (uint32_t k = 0; k < c->cfg.nodes; k++)
			c->cut[i][k] = (mask >> i & 1) != (mask >> k & 1);
	}
}

void cluster_heal(struct paxos_cluster *c)
{
	memset(c->cut, 0, sizeof(c->cut));
}

void cluster_disk(struct paxos_cluster *c, uint32_t node, struct cluster_range sync)
{
	c->nodes[node].disk.delay = sync;
}

void cluster_apply(struct paxos_cluster *c, uint32_t node, struct cluster_range apply)
{
	c->nodes[node].apply_delay = apply;
}

void cluster_flush(struct paxos_cluster *c, uint32_t node)
{
	struct node *n = &c->nodes[node];

	if (n->durable == n->applied)
		return;
	n->durable = n->applied;
	must_step(c, node, (struct paxos_event){.kind = PAXOS_EV_DURABLE, .slot = n->durable});
}

void cluster_hand_over(struct paxos_cluster *c, uint32_t node)
{
	must_step(c, node, (struct paxos_event){.kind = PAXOS_EV_HAND_OVER});
}

void cluster_link(struct paxos_cluster *c, uint32_t node, uint32_t peer, bool up)
{
	must_step(c, node, (struct paxos_event){.kind = up ? PAXOS_EV_PEER_UP : PAXOS_EV_PEER_DOWN,
						.node = peer + 1});
}

void cluster_inject(struct paxos_cluster *c, const struct paxos_message *m)
{
	must_step(c, index_of(m->to),
		  (struct paxos_event){.kind = PAXOS_EV_MESSAGE, .message = m});
}
