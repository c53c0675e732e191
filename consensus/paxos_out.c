/* The update of a step. Arrays are reused from step to step; message entries are kept as offsets until
 * the step ends, because their array may move while it grows. */
#include "consensus/paxos_private.h"

void *paxos__grow(void *items, size_t count, size_t *cap, size_t size)
{
	CHECK(count <= *cap);
	CHECK(size > 0);
	if (count < *cap)
		return items;
	*cap = *cap > 0 ? *cap * 2 : 16;
	return mem_must_realloc(items, *cap * size);
}

void paxos__out_reset(struct paxos *p)
{
	struct paxos_out *o = &p->out;

	for (size_t i = 0; i < o->dropped_count; i++)
		paxos_entry_unref(o->dropped[i]);
	o->dropped_count = 0;
	o->persist_count = o->message_count = o->entry_count = 0;
	o->committed_count = o->read_count = 0;
	o->proposed_slot = o->truncate_below = 0;
	o->snapshot_from = 0;
}

void paxos__out_finish(struct paxos *p, struct paxos_update *up)
{
	struct paxos_out *o = &p->out;

	for (size_t i = 0; i < o->message_count; i++)
		o->messages[i].entries =
			o->messages[i].count > 0 ? o->entries + o->entries_at[i] : NULL;
	*up = (struct paxos_update){
		.persist = o->persist,
		.persist_count = o->persist_count,
		.persist_seq = p->seq,
		.messages = o->messages,
		.message_count = o->message_count,
		.committed = o->committed,
		.committed_count = o->committed_count,
		.reads = o->reads,
		.read_count = o->read_count,
		.proposed_slot = o->proposed_slot,
		.truncate_below = o->truncate_below,
		.snapshot_from = o->snapshot_from,
	};
}

void paxos__out_release(struct paxos *p)
{
	struct paxos_out *o = &p->out;

	paxos__out_reset(p);
	mem_free(o->persist);
	mem_free(o->messages);
	mem_free(o->entries_at);
	mem_free(o->entries);
	mem_free(o->committed);
	mem_free(o->reads);
	mem_free(o->dropped);
	*o = (struct paxos_out){0};
}

static uint64_t persist(struct paxos *p, const struct paxos_persist *r)
{
	struct paxos_out *o = &p->out;

	CHECK(r->ballot > 0);
	CHECK(r->promise == (r->entry == NULL));
	o->persist = paxos__grow(o->persist, o->persist_count, &o->persist_cap, sizeof(*r));
	o->persist[o->persist_count++] = *r;
	return ++p->seq;
}

uint64_t paxos__persist_promise(struct paxos *p, paxos_ballot b)
{
	return persist(p, &(struct paxos_persist){.promise = true, .ballot = b});
}

uint64_t paxos__persist_entry(struct paxos *p, struct paxos_entry *e)
{
	return persist(p, &(struct paxos_persist){.ballot = e->ballot, .entry = e});
}

struct paxos_message *paxos__send(struct paxos *p, enum paxos_message_type type, uint32_t to)
{
	struct paxos_out *o = &p->out;
	struct paxos_message *m;
	size_t cap = o->message_cap;

	CHECK(to != p->cfg.self);
	CHECK(to > 0);
	o->messages = paxos__grow(o->messages, o->message_count, &cap, sizeof(*m));
	o->entries_at = paxos__grow(o->entries_at, o->message_count, &o->message_cap,
				    sizeof(*o->entries_at));
	o->entries_at[o->message_count] = o->entry_count;
	m = &o->messages[o->message_count++];
	*m = (struct paxos_message){
		.type = (uint8_t)type,
		.group = p->cfg.group,
		.from = p->cfg.self,
		.to = to,
		.epoch = p->cfg.epoch,
		.commit = p->commit,
		.applied = p->applied,
		.log_start = p->log_start,
		.send_ns = p->now_ns,
	};
	return m;
}

void paxos__send_entry(struct paxos *p, struct paxos_entry *e)
{
	struct paxos_out *o = &p->out;
	struct paxos_message *m;

	CHECK(o->message_count > 0);
	m = &o->messages[o->message_count - 1];
	CHECK(e->slot == m->first + m->count);
	o->entries = paxos__grow(o->entries, o->entry_count, &o->entry_cap, sizeof(*o->entries));
	o->entries[o->entry_count++] = e;
	m->count++;
	m->last = e->slot;
}

void paxos__drop_entry(struct paxos *p, struct paxos_entry *e)
{
	struct paxos_out *o = &p->out;

	CHECK(e != NULL);
	CHECK(e->slot > 0);
	o->dropped = paxos__grow(o->dropped, o->dropped_count, &o->dropped_cap,
				 sizeof(*o->dropped));
	o->dropped[o->dropped_count++] = e;
}

void paxos__emit_committed(struct paxos *p)
{
	struct paxos_out *o = &p->out;

	CHECK(p->emitted <= p->commit);
	CHECK(p->emitted >= p->applied);
	while (p->emitted < p->commit) {
		o->committed = paxos__grow(o->committed, o->committed_count, &o->committed_cap,
					   sizeof(*o->committed));
		o->committed[o->committed_count++] = paxos__slot(p, ++p->emitted)->entry;
	}
}

void paxos__emit_read(struct paxos *p, const struct paxos_read_ready *r)
{
	struct paxos_out *o = &p->out;

	CHECK(r->err == 0 || !r->under_lease);
	o->reads = paxos__grow(o->reads, o->read_count, &o->read_cap, sizeof(*o->reads));
	o->reads[o->read_count++] = *r;
}
