/* Checked here:
 *  - consensus/invariants.c after each step of a core, txn/tsm_audit.c after each entry;
 *  - agreement: all replicas of a group are given the same entry for a slot;
 *  - all replicas come to the same state: the engine's batch of a slot is the same bytes everywhere;
 *  - at most one replica of a group holds a valid lease at any moment;
 *  - no node whose disk was left alone starts with less than it had acknowledged or promised.
 */
#include "tests/sim/sim_watch.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "consensus/paxos_private.h"
#include "kv/apply.h"
#include "tests/sim/sim_attack.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_internal.h"
#include "txn/tsm.h"

#define CORES_MAX 512u

struct core { /* a consensus core that is alive */
	struct paxos *p;
	struct sim_proc *proc;
	struct paxos_audit audit;
	bool audited;
};

struct mark { /* what is known of a slot */
	uint32_t entry, batch; /* CRCs; */
	bool has_entry, has_batch;
};

struct group {
	struct mark *marks; /* by slot */
	uint64_t cap;
	uint64_t acked[SIM_NODES_MAX + 1]; /* by node: slots that it said were on its disk, */
	paxos_ballot promised[SIM_NODES_MAX + 1];
};

struct sim_watch_stats sim_watch_stats;
static struct core cores[CORES_MAX];
static unsigned core_count;
static struct group groups[GROUPS_MAX];
static bool forgot[SIM_NODES_MAX + 1];
static uint64_t answered_ns[SIM_NODES_MAX + 1];

static struct mark *mark_of(uint32_t group, uint64_t slot)
{
	struct group *g = &groups[group];

	CHECK(group < GROUPS_MAX && slot < (1u << 28));
	if (slot >= g->cap) {
		uint64_t cap = slot * 2 + 1024;

		g->marks = mem_must_realloc(g->marks, cap * sizeof(*g->marks));
		memset(g->marks + g->cap, 0, (cap - g->cap) * sizeof(*g->marks));
		g->cap = cap;
	}
	return &g->marks[slot];
}

/* ---- cores ---- */

static void forget(unsigned i)
{
	cores[i] = cores[--core_count];
}

static struct core *core_of(const struct paxos *p)
{
	for (unsigned i = 0; i < core_count; i++)
		if (cores[i].p == p)
			return &cores[i];
	return NULL;
}

int __real_paxos_start(struct paxos *p, uint64_t applied, bool fresh, uint64_t now_ns);
int __wrap_paxos_start(struct paxos *p, uint64_t applied, bool fresh, uint64_t now_ns);
void __real_paxos_free(struct paxos *p);
void __wrap_paxos_free(struct paxos *p);
int __real_paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up);
int __wrap_paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up);

bool sim_watch_forgot(uint32_t node)
{
	return forgot[node];
}

uint64_t sim_watch_answered_ns(uint32_t node)
{
	return answered_ns[node];
}

static void raise(uint64_t *to, uint64_t v, uint32_t node)
{
	if (v <= *to)
		return;
	*to = v;
	answered_ns[node] = sim_now();
}

static void check_memory(const struct paxos *p)
{
	const struct group *g = &groups[p->cfg.group];
	uint64_t last = p->window.last > p->applied ? p->window.last : p->applied;

	if (last >= g->acked[p->cfg.self] && p->promised >= g->promised[p->cfg.self])
		return;
	if (!sim_cluster.nodes[p->cfg.self].damaged)
		sim_violation("group %u of node %u has forgotten: slot %llu of %llu, "
			      "promise %llx of %llx",
			      p->cfg.group, p->cfg.self, (unsigned long long)last,
			      (unsigned long long)g->acked[p->cfg.self],
			      (unsigned long long)p->promised,
			      (unsigned long long)g->promised[p->cfg.self]);
	forgot[p->cfg.self] = true;
}

/* What a replica answers is what it must never forget. */
static void note_answers(const struct paxos *p, const struct paxos_update *up)
{
	struct group *g = &groups[p->cfg.group];

	for (size_t i = 0; i < up->message_count; i++) {
		const struct paxos_message *m = &up->messages[i];

		if (m->type == PAXOS_ACCEPTED)
			raise(&g->acked[p->cfg.self], m->last, p->cfg.self);
		if (m->type == PAXOS_ACCEPTED || m->type == PAXOS_PROMISE)
			raise(&g->promised[p->cfg.self], m->ballot, p->cfg.self);
	}
}

int __wrap_paxos_start(struct paxos *p, uint64_t applied, bool fresh, uint64_t now_ns)
{
	int err = __real_paxos_start(p, applied, fresh, now_ns);

	for (unsigned i = core_count; i > 0; i--)
		if (cores[i - 1].proc->dead)
			forget(i - 1);
	CHECK(core_count < CORES_MAX);
	cores[core_count++] = (struct core){.p = p, .proc = sim_self()};
	if (!err)
		check_memory(p);
	return err;
}

void __wrap_paxos_free(struct paxos *p)
{
	struct core *c = core_of(p);

	if (c)
		forget((unsigned)(c - cores));
	__real_paxos_free(p);
}

static void check_committed(const struct paxos *p, const struct paxos_entry *e)
{
	struct mark *m = mark_of(p->cfg.group, e->slot);
	uint32_t crc = crc32c(crc32c(0, &e->kind, sizeof(e->kind)), e->data, e->len);

	sim_watch_stats.entries++;
	if (m->has_entry && m->entry != crc)
		sim_violation("group %u slot %llu: two values were chosen", p->cfg.group,
			      (unsigned long long)e->slot);
	m->has_entry = true;
	m->entry = crc;
}

static bool holds_lease(const struct core *c)
{
	return !c->proc->dead && c->p->cfg.timing.lease > 0 &&
	       paxos_lease_valid(c->p, sim_clock_mono(&c->proc->machine->clock));
}

static void check_leases(const struct core *c)
{
	if (!holds_lease(c))
		return;
	for (unsigned i = 0; i < core_count; i++) {
		const struct core *o = &cores[i];

		if (o != c && o->p->cfg.group == c->p->cfg.group && holds_lease(o))
			sim_violation("group %u: %s and %s hold leases", c->p->cfg.group,
				      c->proc->name, o->proc->name);
	}
}

static uint64_t last_committed(const struct paxos_update *up)
{
	return up->committed_count ? up->committed[up->committed_count - 1]->slot : 0;
}

int __wrap_paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up)
{
	int err = __real_paxos_step(p, ev, up);
	struct core *c = core_of(p);

	sim_watch_stats.steps++;
	if (!c)
		return err;
	if (err) {
		c->audited = false;
		return err;
	}
	if (!c->audited)
		c->audit = (struct paxos_audit){0};
	c->audited = true;
	paxos_audit(p, &c->audit);
	note_answers(p, up);
	for (size_t i = 0; i < up->committed_count; i++)
		check_committed(p, up->committed[i]);
	if (up->role_changed || up->committed_count) {
		uint64_t v[3] = {p->cfg.group, p->cfg.self, last_committed(up)};

		sim_hash(v, sizeof(v));
	}
	if (up->role_changed && p->state == PAXOS_ST_LEADING)
		sim_watch_stats.elections++;
	check_leases(c);
	return err;
}

/* ---- state machines ---- */

int __real_tsm_end_entry(struct tsm *t);
int __wrap_tsm_end_entry(struct tsm *t);

int __wrap_tsm_end_entry(struct tsm *t)
{
	int err = __real_tsm_end_entry(t);

	tsm_audit(t);
	sim_attack_on_entry(t);
	return err;
}

/* ---- engines ---- */

static void on_committed(struct sim_disk *d, uint32_t group, uint64_t slot, uint32_t crc)
{
	struct mark *m = mark_of(group, slot);

	sim_watch_stats.batches++;
	if (m->has_batch && m->batch != crc)
		sim_violation("group %u slot %llu: disk %s came to another state than others", group,
			      (unsigned long long)slot, sim_disk_name(d));
	m->has_batch = true;
	m->batch = crc;
	sim_hash(&crc, sizeof(crc));
}

static void on_installed(struct sim_disk *d, uint32_t group, uint64_t slot)
{
	sim_watch_stats.snapshots++;
	sim_trace("disk %s: group %u installed at slot %llu", sim_disk_name(d), group,
		  (unsigned long long)slot);
}

static void on_reverted(struct sim_disk *d, uint32_t group, uint64_t slot)
{
	sim_trace("disk %s: group %u is back at slot %llu", sim_disk_name(d), group,
		  (unsigned long long)slot);
}

void sim_watch_init(void)
{
	static const struct sim_engine_watch watch = {
		.committed = on_committed,
		.installed = on_installed,
		.reverted = on_reverted,
	};

	sim_engine_watch = &watch;
}
