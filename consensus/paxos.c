/* Life of a replica, one step, and what it looks like from outside. */
#include "base/random.h"
#include "consensus/paxos_private.h"

void paxos_timing_default(struct paxos_timing *t)
{
	*t = (struct paxos_timing){
		.heartbeat = 60 * NS_PER_MS,
		.suspect_min = 150 * NS_PER_MS,
		.suspect_max = 600 * NS_PER_MS,
		.succession_step = 30 * NS_PER_MS,
		.lease = 250 * NS_PER_MS,
		.drift_margin = 25 * NS_PER_MS,
		.stall = 500 * NS_PER_MS,
		.retransmit = 100 * NS_PER_MS,
	};
}

/* ---- life ---- */

static bool timing_ok(const struct paxos_timing *t)
{
	return t->heartbeat > 0 && t->retransmit > 0 && t->stall > 0 &&
	       t->suspect_min > t->heartbeat && t->suspect_max >= t->suspect_min &&
	       (t->lease == 0 || t->lease > t->drift_margin);
}

static bool members_ok(const struct paxos_config *cfg)
{
	bool self = false;

	if (cfg->member_count != 1 && cfg->member_count != 3 && cfg->member_count != 5)
		return false;
	for (uint32_t i = 0; i < cfg->member_count; i++) {
		if (cfg->members[i] == 0 || cfg->members[i] >= NODES_MAX)
			return false;
		self = self || cfg->members[i] == cfg->self;
		for (uint32_t j = 0; j < i; j++) {
			if (cfg->members[i] == cfg->members[j])
				return false;
		}
	}
	return self;
}

int paxos_new(const struct paxos_config *cfg, struct paxos **out)
{
	struct paxos *p;

	if (!members_ok(cfg) || !timing_ok(&cfg->timing) || cfg->read_entry == NULL ||
	    cfg->group >= GROUPS_MAX)
		return ERR_INVAL;
	p = mem_must_alloc(sizeof(*p));
	p->cfg = *cfg;
	p->quorum = cfg->member_count / 2 + 1;
	p->rng = cfg->seed;
	p->window.first = p->log_start = 1;
	for (uint32_t i = 0; i < cfg->member_count; i++) {
		p->peers[i].node = cfg->members[i];
		if (cfg->members[i] == cfg->self)
			p->me = i;
	}
	CHECK(cfg->members[p->me] == cfg->self);
	CHECK(p->quorum * 2 > cfg->member_count);
	*out = p;
	return 0;
}

void paxos_free(struct paxos *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->restored_count; i++)
		paxos_entry_unref(p->restored[i]);
	mem_free(p->restored);
	for (uint64_t s = p->window.first; s <= p->window.last; s++)
		paxos_entry_unref(paxos__slot(p, s)->entry);
	mem_free(p->window.slots);
	paxos__adopt_release(p);
	mem_free(p->reads.items);
	paxos__out_release(p);
	mem_free(p);
}

/* ---- helpers ---- */

struct paxos_peer *paxos__peer(struct paxos *p, uint32_t node)
{
	CHECK(p->cfg.member_count <= GROUP_REPLICAS_MAX);
	PAXOS_FOR_EACH_PEER(p, q) {
		if (q->node == node)
			return q;
	}
	return NULL;
}

uint64_t paxos__random(struct paxos *p, uint64_t below)
{
	uint64_t bits = splitmix64(&p->rng);

	return below == 0 ? 0 : bits % below;
}

enum paxos_role paxos__role(const struct paxos *p)
{
	switch (p->state) {
	case PAXOS_ST_FOLLOWER:
		return PAXOS_FOLLOWER;
	case PAXOS_ST_LEADING:
		return PAXOS_LEADER;
	default:
		return PAXOS_CANDIDATE;
	}
}

uint64_t paxos__nth_largest(uint64_t *v, uint32_t n, uint32_t rank)
{
	CHECK(rank >= 1 && rank <= n);
	CHECK(n <= GROUP_REPLICAS_MAX);
	for (uint32_t i = 1; i < n; i++) {
		for (uint32_t j = i; j > 0 && v[j - 1] < v[j]; j--) {
			uint64_t t = v[j];

			v[j] = v[j - 1];
			v[j - 1] = t;
		}
	}
	return v[rank - 1];
}

/* ---- events ---- */

static void on_persisted(struct paxos *p, uint64_t seq)
{
	CHECK(seq <= p->seq);
	p->persisted = u64_max(p->persisted, seq);
}

static void on_peer_down(struct paxos *p, uint32_t node)
{
	struct paxos_peer *q = paxos__peer(p, node);

	if (q == NULL)
		return;
	CHECK(q->node == node);
	q->connected = false;
	if (p->leader == node)
		paxos__suspect_leader(p);
}

/* "Reconnecting does not repeat phase 1": it only asks, or tells, what may have been lost. */
static void on_peer_up(struct paxos *p, uint32_t node)
{
	struct paxos_peer *q = paxos__peer(p, node);

	if (q == NULL)
		return;
	CHECK(q->node == node);
	q->connected = true;
	q->ask_ns = p->now_ns;
	if (p->state == PAXOS_ST_LEADING)
		paxos__heartbeat(p, q);
	else if (p->state != PAXOS_ST_FOLLOWER)
		paxos__election_tick(p);
}

static void on_tick(struct paxos *p)
{
	CHECK(p->started);
	paxos__election_tick(p);
	if (p->state == PAXOS_ST_LEADING)
		paxos__leader_tick(p);
	paxos__hand_over_tick(p);
}

/* A message that memory did not suffice to answer is a lost one; damage is not. */
static int only_damage(int err)
{
	return err == ERR_CORRUPT ? err : 0;
}

static int on_event(struct paxos *p, const struct paxos_event *ev)
{
	switch (ev->kind) {
	case PAXOS_EV_TICK:
		on_tick(p);
		return 0;
	case PAXOS_EV_MESSAGE:
		return only_damage(paxos__recv(p, ev->message));
	case PAXOS_EV_PERSISTED:
		on_persisted(p, ev->seq);
		return 0;
	case PAXOS_EV_PROPOSE:
		return paxos__propose(p, ev->propose.kind, ev->propose.data);
	case PAXOS_EV_READ:
		return paxos__read(p, ev->read_id);
	case PAXOS_EV_APPLIED:
		paxos__set_applied(p, ev->slot);
		return 0;
	case PAXOS_EV_DURABLE:
		paxos__on_durable(p, ev->slot);
		return 0;
	case PAXOS_EV_SNAPSHOT_INSTALLED:
		paxos__on_snapshot_installed(p, ev->slot);
		return 0;
	case PAXOS_EV_PEER_DOWN:
		on_peer_down(p, ev->node);
		return 0;
	case PAXOS_EV_PEER_UP:
		on_peer_up(p, ev->node);
		return 0;
	case PAXOS_EV_HAND_OVER:
		paxos__hand_over(p);
		return 0;
	}
	return ERR_INVAL;
}

/* Whatever has become possible happens, whichever event made it possible. */
static int settle(struct paxos *p)
{
	int err = 0;

	CHECK(p->emitted <= p->commit);
	paxos__acceptor_settle(p);
	paxos__election_settle(p);
	if (p->state == PAXOS_ST_LEADING)
		err = only_damage(paxos__leader_settle(p));
	paxos__reads_settle(p);
	paxos__learn_settle(p);
	paxos__emit_committed(p);
	paxos__window_trim(p);
	CHECK(p->emitted == p->commit);
	return err;
}

struct seen { /* what a change of must be told */
	enum paxos_role role;
	bool serving;
	uint32_t leader;
};

static uint32_t known_leader(const struct paxos *p)
{
	if (p->state == PAXOS_ST_LEADING)
		return p->cfg.self;
	return p->leader_heard_ns > 0 ? p->leader : 0;
}

static struct seen seen_now(const struct paxos *p)
{
	return (struct seen){.role = paxos__role(p),
			     .serving = p->state == PAXOS_ST_LEADING && p->serving,
			     .leader = known_leader(p)};
}

int paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up)
{
	struct seen before = seen_now(p), after;
	int err;

	CHECK(p->started);
	paxos__out_reset(p);
	/* Callers cache their clock: a step that took it earlier than the one before is no harm. */
	p->now_ns = u64_max(p->now_ns, ev->now_ns);
	p->wall_ns = ev->wall_ns;
	err = on_event(p, ev);
	if (err == 0)
		err = settle(p);
	if (err != 0)
		return err;
	paxos__out_finish(p, up);
	after = seen_now(p);
	up->role_changed = before.role != after.role || before.serving != after.serving ||
			   before.leader != after.leader;
	CHECK(up->persist_seq >= p->persisted);
	return 0;
}

/* ---- from outside ---- */

uint64_t paxos_next_deadline(const struct paxos *p)
{
	uint64_t at = u64_min(paxos__election_deadline(p), paxos__learn_deadline(p));

	CHECK(p->started);
	if (p->state == PAXOS_ST_LEADING)
		at = u64_min(at, paxos__leader_deadline(p));
	if (p->handed != 0)
		at = u64_min(at, p->handed_ns);
	return at;
}

bool paxos_lease_valid(const struct paxos *p, uint64_t now_ns)
{
	return p->state == PAXOS_ST_LEADING && p->serving && paxos__lease_until(p) > now_ns;
}

static void member_status(const struct paxos *p, uint32_t i, uint64_t now_ns,
			  struct paxos_member_status *out)
{
	const struct paxos_peer *q = &p->peers[i];
	bool self = i == p->me;

	*out = (struct paxos_member_status){
		.node = q->node,
		.accepted = self ? p->synced : q->acked,
		.connected = self || q->connected,
		.silent_ns = UINT64_MAX,
	};
	if (self)
		out->silent_ns = 0;
	else if (q->heard_ns > 0)
		out->silent_ns = now_ns > q->heard_ns ? now_ns - q->heard_ns : 0;
}

void paxos_status(const struct paxos *p, uint64_t now_ns, struct paxos_status *out)
{
	CHECK(p->window.last >= p->commit || !p->started);
	*out = (struct paxos_status){
		.role = paxos__role(p),
		.serving = p->state == PAXOS_ST_LEADING && p->serving,
		.leader = known_leader(p),
		.ballot = p->promised,
		.commit = p->commit,
		.applied = p->applied,
		.last = p->window.last,
		.log_start = p->log_start,
		.epoch = p->cfg.epoch,
		.window_slots = p->window.last - p->commit,
		.window_bytes = p->window.open_bytes,
		.dropped = p->dropped,
		.member_count = p->cfg.member_count,
	};
	if (p->state == PAXOS_ST_LEADING)
		out->lease_until_ns = paxos__lease_until(p);
	for (uint32_t i = 0; i < p->cfg.member_count; i++)
		member_status(p, i, now_ns, &out->members[i]);
}
