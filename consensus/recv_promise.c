#include "consensus/paxos_private.h"

static bool is_expected(const struct paxos *p, const struct paxos_peer *q,
			const struct paxos_message *m)
{
	if (p->state != PAXOS_ST_COLLECTING && p->state != PAXOS_ST_CATCHING_UP)
		return false;
	return m->ballot == p->ballot && !q->promised && m->page == q->promise_next &&
	       m->first >= m->page;
}

/* One page of a promise; the next is asked for at once. A page is the answer to one PREPARE, so a
 * doubled or late one does not match `promise_next`. */
int paxos__recv_promise(struct paxos *p, struct paxos_peer *q, const struct paxos_message *m)
{
	if (!is_expected(p, q, m))
		return 0;
	CHECK(p->ballot == p->promised);
	CHECK(p->promised_seq <= p->persisted);
	for (uint32_t i = 0; i < m->count; i++) {
		/* An acceptor that promised b has nothing of b: that ballot has proposed nothing */
		if (m->entries[i]->ballot >= p->ballot) {
			p->dropped++;
			return 0;
		}
	}
	for (uint32_t i = 0; i < m->count; i++) {
		if (!paxos__adopt(p, m->entries[i], m->commit)) {
			p->dropped++;
			return 0;
		}
	}
	q->chosen = u64_max(q->chosen, m->commit);
	q->log_start = m->log_start;
	q->promise_next = m->first + m->count;
	if (m->more && m->count > 0)
		paxos__prepare_ask(p, q);
	else
		q->promised = true;
	return 0;
}
