/* Messages of consensus (paxos_message_decode) and its entries as the log keeps them
 * (paxos_entry_decode). Byte 0: bit 0 picks one of the two. */
#include "consensus/paxos.h"
#include "tests/fuzz/fuzz.h"

static int message(struct slice in, struct buf *out)
{
	struct paxos_message m;
	int err = paxos_message_decode(in, &m);

	if (err)
		return err;
	CHECK(m.from > 0 && m.from < NODES_MAX && m.to > 0 && m.to < NODES_MAX);
	for (uint32_t i = 0; i < m.count; i++) {
		CHECK(m.entries[i]->slot == m.first + i && m.entries[i]->ballot != 0);
		CHECK(m.entries[i]->chosen < m.entries[i]->slot);
	}
	paxos_message_encode(&m, out);
	paxos_message_release(&m);
	return 0;
}

static int entry(struct slice in, struct buf *out)
{
	struct paxos_entry *e;
	int err = paxos_entry_decode(7, 9, in, &e);

	if (err)
		return err;
	CHECK(e->slot == 9 && e->ballot == 7 && e->len <= in.len);
	paxos_entry_encode(e, out);
	paxos_entry_unref(e);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	fuzz_code_fn *code = fuzz_u8(&in) & 1 ? entry : message;

	fuzz_round_trip(code, fuzz_rest(&in));
	return 0;
}
