/* From suspicion to reign. "Followers have a fixed succession order: the first successor waits least.
 * A broken connection to the leader starts suspicion at once; silence starts it after an adaptive
 * timeout." */
#include "consensus/paxos_private.h"

void paxos__note_round(struct paxos *p, paxos_ballot b)
{
	p->max_round = u64_max(p->max_round, PAXOS_BALLOT_ROUND(b));
}

/* ---- suspicion ---- */

uint64_t paxos__suspect_after(const struct paxos *p)
{
	uint64_t adaptive = 3 * p->gap_mean_ns + 4 * p->gap_dev_ns;

	return u64_min(u64_max(adaptive, p->cfg.timing.suspect_min), p->cfg.timing.suspect_max);
}

/* Mean and deviation of the gaps between messages of the leader, as TCP measures round trips
 * (Jacobson 1988). A gap counts at most as the longest silence that is borne. */
static void note_gap(struct paxos *p)
{
	uint64_t gap, off;

	CHECK(p->leader_heard_ns <= p->now_ns);
	if (p->leader_heard_ns == 0)
		return;
	gap = u64_min(p->now_ns - p->leader_heard_ns, p->cfg.timing.suspect_max);
	off = gap > p->gap_mean_ns ? gap - p->gap_mean_ns : p->gap_mean_ns - gap;
	p->gap_mean_ns = p->gap_mean_ns - p->gap_mean_ns / 8 + gap / 8;
	p->gap_dev_ns = p->gap_dev_ns - p->gap_dev_ns / 4 + off / 4;
}

/* How many members stand before this one in the succession of the leader. */
static uint64_t rank(const struct paxos *p)
{
	uint64_t before = 0;

	CHECK(p->me < p->cfg.member_count);
	for (uint32_t i = 0; i < p->me; i++)
		before += p->peers[i].node != p->leader;
	return before;
}

/* Not before the own lease promise is over, and not while standing back. */
static void arm(struct paxos *p, uint64_t wait_ns)
{
	uint64_t wait = u64_max(wait_ns, paxos__lease_bar(p, p->cfg.self, 0));

	wait = u64_add(wait, rank(p) * p->cfg.timing.succession_step);
	p->election_ns = u64_max(u64_add(p->now_ns, wait), p->stand_back_ns);
}

void paxos__leader_heard(struct paxos *p)
{
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	CHECK(p->leader != 0);
	note_gap(p);
	p->leader_heard_ns = u64_max(p->now_ns, 1);
	arm(p, paxos__suspect_after(p));
}

void paxos__rearm_election(struct paxos *p)
{
	p->leader_heard_ns = 0;
	if (p->cfg.member_count == 1)
		p->election_ns = p->now_ns;
	else
		arm(p, paxos__suspect_after(p) +
			       paxos__random(p, p->cfg.timing.succession_step));
}

void paxos__retry_election(struct paxos *p, uint64_t wait_ns)
{
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	arm(p, wait_ns);
}

void paxos__suspect_leader(struct paxos *p)
{
	p->leader_heard_ns = 0;
	if (p->state == PAXOS_ST_FOLLOWER)
		arm(p, 0);
}

/* Is there a leader that nobody should depose? *wait_ns: when it is worth asking again. */
bool paxos__leader_alive(const struct paxos *p, uint64_t *wait_ns)
{
	uint64_t until;

	if (p->state == PAXOS_ST_LEADING) {
		*wait_ns = p->cfg.timing.suspect_min;
		return true;
	}
	if (p->leader == 0 || p->leader_heard_ns == 0)
		return false;
	until = u64_add(p->leader_heard_ns, paxos__suspect_after(p));
	if (p->now_ns >= until)
		return false;
	*wait_ns = until - p->now_ns;
	CHECK(*wait_ns > 0);
	return true;
}

/* ---- transitions ---- */

/* The own ballot is spent: what it stood for, a candidacy or a reign, is over. */
void paxos__follow(struct paxos *p)
{
	bool led = p->state == PAXOS_ST_LEADING;

	p->state = PAXOS_ST_FOLLOWER;
	p->ballot = p->token = 0;
	p->serving = false;
	p->catch_up_to = 0;
	paxos__adopt_reset(p, p->commit + 1);
	paxos__learn_reset(p);
	if (led)
		paxos__reads_fail(p);
	paxos__rearm_election(p);
	CHECK(p->state == PAXOS_ST_FOLLOWER);
}

static void mint(struct paxos *p)
{
	p->ballot = PAXOS_BALLOT(p->max_round + 1, p->cfg.self);
	CHECK(p->ballot > p->promised);
	CHECK(p->max_round < PAXOS_ROUND_MAX);
}

/* An own ballot that is promised stands until somebody has promised a higher one. */
static bool ballot_stands(const struct paxos *p)
{
	return p->ballot != 0 && p->ballot == p->promised &&
	       p->max_round <= PAXOS_BALLOT_ROUND(p->ballot);
}

void paxos__prevote_ask(struct paxos *p, struct paxos_peer *q)
{
	struct paxos_message *m = paxos__send(p, PAXOS_PREVOTE, q->node);

	CHECK(p->state == PAXOS_ST_PREVOTING);
	m->ballot = p->ballot;
	q->ask_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
}

void paxos__prevote_begin(struct paxos *p)
{
	CHECK(p->state != PAXOS_ST_LEADING);
	p->state = PAXOS_ST_PREVOTING;
	p->token = 0;
	if (!ballot_stands(p))
		mint(p);
	p->attempt_ns = u64_add(p->now_ns, p->cfg.timing.suspect_max);
	PAXOS_FOR_EACH_PEER(p, q) {
		q->voted = false;
		paxos__prevote_ask(p, q);
	}
	CHECK(p->ballot >= p->promised);
}

void paxos__prepare_ask(struct paxos *p, struct paxos_peer *q)
{
	struct paxos_message *m = paxos__send(p, PAXOS_PREPARE, q->node);

	CHECK(p->ballot == p->promised);
	CHECK(p->promised_seq <= p->persisted);
	m->ballot = p->ballot;
	m->token = p->token;
	m->first = q->promise_next;
	q->ask_ns = u64_add(p->now_ns, p->cfg.timing.retransmit);
}

void paxos__candidate_begin(struct paxos *p, paxos_ballot token)
{
	CHECK(p->state == PAXOS_ST_FOLLOWER || p->state == PAXOS_ST_PREVOTING);
	CHECK(paxos__lease_bar(p, p->cfg.self, token) == 0);
	p->token = token;
	p->attempt_ns = u64_add(p->now_ns, p->cfg.timing.suspect_max +
						   paxos__random(p, p->cfg.timing.suspect_min));
	p->state = PAXOS_ST_PROMISING;
	if (ballot_stands(p)) {
		PAXOS_FOR_EACH_PEER(p, q)
			q->ask_ns = p->now_ns;
		return;
	}
	if (p->ballot <= p->promised)
		mint(p);
	paxos__adopt_reset(p, p->commit + 1);
	PAXOS_FOR_EACH_PEER(p, q) {
		q->promised = false;
		q->promise_next = p->commit + 1;
		q->chosen = q->log_start = 0;
		q->ask_ns = p->now_ns;
	}
	paxos__raise_promise(p, p->ballot);
	CHECK(p->ballot == p->promised);
}

/* ---- what becomes possible ---- */

static bool has_votes(struct paxos *p)
{
	uint32_t votes = 1;

	if (paxos__lease_bar(p, p->cfg.self, 0) > 0)
		return false;
	PAXOS_FOR_EACH_PEER(p, q)
		votes += q->voted;
	CHECK(votes <= p->cfg.member_count);
	return votes >= p->quorum;
}

static void ask_due(struct paxos *p)
{
	PAXOS_FOR_EACH_PEER(p, q) {
		if (q->ask_ns > p->now_ns)
			continue;
		if (p->state == PAXOS_ST_PREVOTING && !q->voted)
			paxos__prevote_ask(p, q);
		else if (p->state == PAXOS_ST_COLLECTING && !q->promised)
			paxos__prepare_ask(p, q);
	}
}

/* "Slots below the highest of them in the quorum are chosen, so the new leader proposes nothing there
 * and first fetches them." What adoption has left out is chosen too. */
static bool has_promises(struct paxos *p)
{
	uint32_t promises = 1;

	p->catch_up_to = p->adopted.base - 1;
	PAXOS_FOR_EACH_PEER(p, q) {
		if (!q->promised)
			continue;
		promises++;
		p->catch_up_to = u64_max(p->catch_up_to, q->chosen);
	}
	CHECK(promises <= p->cfg.member_count);
	return promises >= p->quorum;
}

static void note_catching_up(struct paxos *p)
{
	if (p->commit > p->catch_up_from || p->catch_up_ns == 0) {
		p->catch_up_from = p->commit;
		p->catch_up_ns = u64_add(p->now_ns, p->cfg.timing.suspect_max);
	}
}

static void advance(struct paxos *p)
{
	switch (p->state) {
	case PAXOS_ST_PREVOTING:
		if (has_votes(p))
			paxos__candidate_begin(p, 0);
		return;
	case PAXOS_ST_PROMISING:
		if (p->promised_seq > p->persisted)
			return;
		p->state = PAXOS_ST_COLLECTING;
		ask_due(p);
		return;
	case PAXOS_ST_COLLECTING:
		if (!has_promises(p))
			return;
		p->state = PAXOS_ST_CATCHING_UP;
		p->catch_up_ns = 0;
		note_catching_up(p);
		return;
	case PAXOS_ST_CATCHING_UP:
		(void)has_promises(p); /* one more may have come */
		note_catching_up(p);
		if (p->commit >= p->catch_up_to)
			paxos__reign_begin(p);
		return;
	case PAXOS_ST_FOLLOWER:
	case PAXOS_ST_LEADING:
		return;
	}
}

void paxos__election_settle(struct paxos *p)
{
	enum paxos_state before;

	do {
		before = p->state;
		advance(p);
	} while (p->state != before && p->state != PAXOS_ST_LEADING);
	CHECK(p->state == PAXOS_ST_FOLLOWER || p->ballot != 0);
}

/* ---- time ---- */

static void suspicion_due(struct paxos *p)
{
	CHECK(p->state == PAXOS_ST_FOLLOWER);
	if (paxos__lease_bar(p, p->cfg.self, 0) > 0)
		arm(p, 0);
	else
		paxos__prevote_begin(p);
}

void paxos__election_tick(struct paxos *p)
{
	switch (p->state) {
	case PAXOS_ST_FOLLOWER:
		if (p->now_ns >= p->election_ns)
			suspicion_due(p);
		return;
	case PAXOS_ST_PREVOTING:
	case PAXOS_ST_COLLECTING:
		/* Old votes say little about now, and promises stand: ask again. */
		if (p->now_ns >= p->attempt_ns)
			paxos__prevote_begin(p);
		else
			ask_due(p);
		return;
	case PAXOS_ST_CATCHING_UP:
		if (p->now_ns >= p->catch_up_ns)
			paxos__step_down(p);
		return;
	case PAXOS_ST_PROMISING:
	case PAXOS_ST_LEADING:
		return;
	}
}

static uint64_t next_ask(const struct paxos *p)
{
	uint64_t at = UINT64_MAX;

	for (uint32_t i = 0; i < p->cfg.member_count; i++) {
		const struct paxos_peer *q = &p->peers[i];
		bool done = p->state == PAXOS_ST_PREVOTING ? q->voted : q->promised;

		if (i != p->me && !done)
			at = u64_min(at, q->ask_ns);
	}
	return at;
}

uint64_t paxos__election_deadline(const struct paxos *p)
{
	switch (p->state) {
	case PAXOS_ST_FOLLOWER:
		return p->election_ns;
	case PAXOS_ST_PREVOTING:
	case PAXOS_ST_COLLECTING:
		return u64_min(p->attempt_ns, next_ask(p));
	case PAXOS_ST_CATCHING_UP:
		if (p->commit < p->catch_up_to)
			return p->catch_up_ns;
		/* It lacks nothing but memory: every step tries again. */
		return u64_min(p->catch_up_ns, u64_add(p->now_ns, p->cfg.timing.retransmit));
	case PAXOS_ST_PROMISING:
	case PAXOS_ST_LEADING:
		break;
	}
	return UINT64_MAX;
}
