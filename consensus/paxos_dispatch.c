/* From a message to its receiver. What no replica in its right mind sends is dropped here and counted,
 * so that the receivers may rely on the shape of a message. */
#include "consensus/paxos_private.h"

static bool sane_ballot(paxos_ballot b)
{
	return b == 0 || (PAXOS_BALLOT_ROUND(b) > 0 && PAXOS_BALLOT_ROUND(b) <= PAXOS_ROUND_MAX &&
			  PAXOS_BALLOT_NODE(b) > 0);
}

static bool sane_entries(const struct paxos_message *m)
{
	if (m->count > 0 && m->type != PAXOS_ACCEPT && m->type != PAXOS_PROMISE &&
	    m->type != PAXOS_LEARN)
		return false;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct paxos_entry *e = m->entries[i];

		if (e->slot != m->first + i || e->ballot == 0 || !sane_ballot(e->ballot))
			return false;
		if (m->type == PAXOS_ACCEPT && e->ballot != m->ballot)
			return false;
	}
	return true;
}

static bool sane_numbers(const struct paxos_message *m)
{
	if (m->count > PAXOS_PAGE_ENTRIES_MAX || (m->count > 0 && m->first == 0))
		return false;
	if (m->first > PAXOS_SLOT_MAX || m->last > PAXOS_SLOT_MAX || m->commit > PAXOS_SLOT_MAX)
		return false;
	if (m->log_start > PAXOS_SLOT_MAX || m->page > PAXOS_SLOT_MAX)
		return false;
	return sane_ballot(m->ballot) && sane_ballot(m->promised) && sane_ballot(m->token);
}

/* A ballot belongs to a node: who leads or stands names its own, who answers that of the receiver. */
static bool sane_owner(const struct paxos *p, const struct paxos_message *m)
{
	switch (m->type) {
	case PAXOS_PREVOTE:
	case PAXOS_ACCEPT:
		return m->ballot != 0 && PAXOS_BALLOT_NODE(m->ballot) == m->from;
	case PAXOS_PREPARE:
		return m->ballot != 0 && PAXOS_BALLOT_NODE(m->ballot) == m->from && m->first > 0;
	case PAXOS_PREVOTE_REPLY:
	case PAXOS_ACCEPTED:
	case PAXOS_REJECT:
		return m->ballot != 0 && PAXOS_BALLOT_NODE(m->ballot) == p->cfg.self;
	case PAXOS_PROMISE:
		return m->ballot != 0 && PAXOS_BALLOT_NODE(m->ballot) == p->cfg.self &&
		       m->page > 0 && m->first >= m->page;
	case PAXOS_LEARN_REQUEST:
	case PAXOS_LEARN:
	case PAXOS_TIMEOUT_NOW:
		return true;
	}
	return false;
}

static int dispatch(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	switch (m->type) {
	case PAXOS_PREVOTE:
		return paxos__recv_prevote(p, q, m);
	case PAXOS_PREVOTE_REPLY:
		return paxos__recv_prevote_reply(p, q, m);
	case PAXOS_PREPARE:
		return paxos__recv_prepare(p, q, m);
	case PAXOS_PROMISE:
		return paxos__recv_promise(p, q, m);
	case PAXOS_ACCEPT:
		return paxos__recv_accept(p, q, m);
	case PAXOS_ACCEPTED:
		return paxos__recv_accepted(p, q, m);
	case PAXOS_REJECT:
		return paxos__recv_reject(p, q, m);
	case PAXOS_LEARN_REQUEST:
		return paxos__recv_learn_request(p, q, m);
	case PAXOS_LEARN:
		return paxos__recv_learn(p, q, m);
	case PAXOS_TIMEOUT_NOW:
		return paxos__recv_timeout_now(p, q, m);
	}
	return 0;
}

int paxos__recv(struct paxos *p, const struct paxos_message *m)
{
	struct paxos_peer *q = paxos__peer(p, m->from);

	CHECK(p->started);
	CHECK(q == NULL || q->node == m->from);
	if (q == NULL || m->group != p->cfg.group || m->to != p->cfg.self ||
	    m->epoch != p->cfg.epoch || !sane_numbers(m) || !sane_owner(p, m) ||
	    !sane_entries(m)) {
		p->dropped++;
		return 0;
	}
	q->heard_ns = p->now_ns;
	return dispatch(p, q, m);
}
