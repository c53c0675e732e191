/* Wire form of a message: its fields as msgpack scalars in the order of the struct, then the entries:
 * ballot and stored form each. Slots are consecutive from `first` and not sent. */
#include "consensus/paxos_private.h"

static void encode_header(const struct paxos_message *m, struct buf *out)
{
	enc_u64(out, m->type);
	enc_u64(out, m->group);
	enc_u64(out, m->from);
	enc_u64(out, m->to);
	enc_u64(out, m->epoch);
	enc_u64(out, m->ballot);
	enc_u64(out, m->promised);
	enc_u64(out, m->token);
	enc_u64(out, m->first);
	enc_u64(out, m->last);
	enc_u64(out, m->commit);
	enc_u64(out, m->applied);
	enc_u64(out, m->log_start);
	enc_u64(out, m->send_ns);
	enc_u64(out, m->echo_ns);
	enc_u64(out, m->round);
	enc_u64(out, m->span_ns);
	enc_u64(out, m->page);
	enc_bool(out, m->more);
	enc_bool(out, m->ok);
}

void paxos_message_encode(const struct paxos_message *m, struct buf *out)
{
	CHECK(m->type >= PAXOS_PREVOTE && m->type <= PAXOS_TIMEOUT_NOW);
	CHECK(m->count <= PAXOS_PAGE_ENTRIES_MAX);
	encode_header(m, out);
	enc_u64(out, m->count);
	for (uint32_t i = 0; i < m->count; i++) {
		CHECK(m->entries[i]->slot == m->first + i);
		enc_u64(out, m->entries[i]->ballot);
		paxos_entry_encode(m->entries[i], out);
	}
}

static void decode_header(struct dec *d, struct paxos_message *m)
{
	m->type = (uint8_t)dec_u64_max(d, PAXOS_TIMEOUT_NOW);
	m->group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
	m->from = (uint32_t)dec_u64_max(d, NODES_MAX - 1);
	m->to = (uint32_t)dec_u64_max(d, NODES_MAX - 1);
	m->epoch = dec_u64(d);
	m->ballot = dec_u64(d);
	m->promised = dec_u64(d);
	m->token = dec_u64(d);
	m->first = dec_u64_max(d, PAXOS_SLOT_MAX);
	m->last = dec_u64_max(d, PAXOS_SLOT_MAX);
	m->commit = dec_u64_max(d, PAXOS_SLOT_MAX);
	m->applied = dec_u64_max(d, PAXOS_SLOT_MAX);
	m->log_start = dec_u64_max(d, PAXOS_SLOT_MAX);
	m->send_ns = dec_u64(d);
	m->echo_ns = dec_u64(d);
	m->round = dec_u64(d);
	m->span_ns = dec_u64(d);
	m->page = dec_u64_max(d, PAXOS_SLOT_MAX);
	m->more = dec_bool(d);
	m->ok = dec_bool(d);
	if (m->type == 0 || m->from == 0 || m->to == 0)
		dec_fail(d);
}

/* @m->count grows with the entries that are there, so that a release after a failure is right. */
static int decode_entries(struct dec *d, uint32_t count, struct paxos_message *m)
{
	int err;

	m->entries = mem_try_alloc(count * sizeof(struct paxos_entry *));
	if (m->entries == NULL)
		return ERR_NOMEM;
	while (m->count < count) {
		paxos_ballot ballot = dec_u64(d);

		if (ballot == 0)
			dec_fail(d);
		err = paxos__entry_decode_next(d, ballot, m->first + m->count,
					       &m->entries[m->count]);
		if (err != 0)
			return err;
		m->count++;
	}
	return 0;
}

int paxos_message_decode(struct slice in, struct paxos_message *out)
{
	struct paxos_message m = {0};
	struct dec d;
	uint32_t count;
	int err = 0;

	dec_init(&d, in);
	decode_header(&d, &m);
	count = dec_count(&d, PAXOS_PAGE_ENTRIES_MAX);
	if (count > 0 && m.first == 0)
		dec_fail(&d);
	if (d.err != 0)
		return d.err;
	if (count > 0)
		err = decode_entries(&d, count, &m);
	if (err == 0)
		err = dec_end(&d);
	if (err != 0) {
		paxos_message_release(&m);
		return err;
	}
	*out = m;
	return 0;
}

void paxos_message_release(struct paxos_message *m)
{
	for (uint32_t i = 0; i < m->count; i++)
		paxos_entry_unref(m->entries[i]);
	mem_free(m->entries);
	m->entries = NULL;
	m->count = 0;
}
