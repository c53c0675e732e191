#include "consensus/paxos_private.h"

#include <string.h>

struct paxos_entry *paxos_entry_new(enum paxos_kind kind, paxos_ballot ballot, uint64_t slot,
				    uint64_t clock_ns, struct slice data)
{
	struct paxos_entry *e;

	CHECK(kind <= PAXOS_STOP_SIGN);
	CHECK(data.len <= ENTRY_SIZE_MAX);
	e = mem_try_alloc(sizeof(*e) + data.len);
	if (e == NULL)
		return NULL;
	*e = (struct paxos_entry){.refs = 1,
				  .kind = (uint8_t)kind,
				  .ballot = ballot,
				  .slot = slot,
				  .clock_ns = clock_ns,
				  .len = data.len};
	if (data.len > 0)
		memcpy(e->data, data.p, data.len);
	return e;
}

struct paxos_entry *paxos_entry_ref(struct paxos_entry *e)
{
	uint32_t before = __atomic_fetch_add(&e->refs, 1, __ATOMIC_RELAXED);

	CHECK(before > 0);
	CHECK(before < UINT32_MAX);
	return e;
}

void paxos_entry_unref(struct paxos_entry *e)
{
	uint32_t before;

	if (e == NULL)
		return;
	before = __atomic_fetch_sub(&e->refs, 1, __ATOMIC_ACQ_REL);
	CHECK(before > 0);
	if (before == 1)
		mem_free(e);
}

/* ---- stored form: kind, clock_ns, chosen, data ---- */

void paxos_entry_encode(const struct paxos_entry *e, struct buf *out)
{
	CHECK(e->kind <= PAXOS_STOP_SIGN);
	CHECK(e->len <= ENTRY_SIZE_MAX);
	enc_u64(out, e->kind);
	enc_u64(out, e->clock_ns);
	enc_u64(out, e->chosen);
	enc_bytes(out, slice_of(e->data, e->len));
}

int paxos__entry_decode_next(struct dec *d, paxos_ballot ballot, uint64_t slot,
			     struct paxos_entry **out)
{
	enum paxos_kind kind = (enum paxos_kind)dec_u64_max(d, PAXOS_STOP_SIGN);
	uint64_t clock_ns = dec_u64(d);
	uint64_t chosen = dec_u64(d);
	struct slice data = dec_bytes(d, ENTRY_SIZE_MAX);
	struct paxos_entry *e;

	/* A leader cannot know a slot as chosen that it is only proposing. */
	if (chosen >= slot)
		dec_fail(d);
	if (d->err != 0)
		return d->err;
	e = paxos_entry_new(kind, ballot, slot, clock_ns, data);
	if (e == NULL)
		return ERR_NOMEM;
	e->chosen = chosen;
	*out = e;
	return 0;
}

int paxos_entry_decode(paxos_ballot ballot, uint64_t slot, struct slice in,
		       struct paxos_entry **out)
{
	struct paxos_entry *e = NULL;
	struct dec d;
	int err;

	dec_init(&d, in);
	if (ballot == 0 || slot == 0)
		return ERR_PROTO;
	err = paxos__entry_decode_next(&d, ballot, slot, &e);
	if (err != 0)
		return err;
	err = dec_end(&d);
	if (err != 0) {
		paxos_entry_unref(e);
		return err;
	}
	*out = e;
	return 0;
}
