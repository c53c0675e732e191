/* A replica (consensus/paxos.h) that is told nonsense: messages of any shape from its peers, in any
 * state. They are dropped, never a failed CHECK, and no invariant of its own breaks (paxos_audit).
 * An input: events (1 byte) with their operands. Peers here break the protocol, so what they make a
 * replica believe to be chosen says nothing; only memory, CHECKs and the replica's own bookkeeping
 * are looked at. */
#include "consensus/paxos.h"
#include "tests/fuzz/fuzz.h"

#define STEPS_MAX   128u
#define ENTRIES_MAX 512u
#define GROUP	    7u
#define EPOCH	    3u

struct run {
	struct paxos *p;
	struct fuzz_in in;
	uint64_t now_ns, seq, chosen;
	struct paxos_audit audit;
	struct paxos_entry *disk[ENTRIES_MAX]; /* what was persisted */
	unsigned count;
};

static int read_entry(void *ctx, uint64_t slot, struct paxos_entry **out)
{
	struct run *r = ctx;
	struct paxos_entry *best = NULL;

	for (unsigned i = 0; i < r->count; i++)
		if (r->disk[i]->slot == slot && (!best || r->disk[i]->ballot >= best->ballot))
			best = r->disk[i];
	if (!best)
		return ERR_NOT_FOUND;
	*out = paxos_entry_ref(best);
	return 0;
}

/* What it sends is what others can decode. */
static void check_sent(const struct paxos_message *m)
{
	struct paxos_message d;
	struct buf b = BUF_INIT;

	paxos_message_encode(m, &b);
	CHECK(buf_ok(&b) && paxos_message_decode(buf_slice(&b), &d) == 0);
	CHECK(d.type == m->type && d.count == m->count && d.ballot == m->ballot);
	paxos_message_release(&d);
	buf_release(&b);
}

static void step(struct run *r, struct paxos_event *ev)
{
	struct paxos_update up = {0};
	int err;

	ev->now_ns = r->now_ns;
	ev->wall_ns = r->now_ns;
	err = paxos_step(r->p, ev, &up);
	CHECK(err == 0 || err == ERR_BUSY || err == ERR_NOT_LEADER || err == ERR_TOO_BIG);
	paxos_audit(r->p, &r->audit);
	if (err)
		return;
	for (size_t i = 0; i < up.persist_count; i++)
		if (!up.persist[i].promise && r->count < ENTRIES_MAX)
			r->disk[r->count++] = paxos_entry_ref(up.persist[i].entry);
	for (size_t i = 0; i < up.message_count; i++)
		check_sent(&up.messages[i]);
	for (size_t i = 0; i < up.committed_count; i++) {
		CHECK(up.committed[i]->slot == r->chosen + 1);
		r->chosen++;
	}
	if (up.persist_count > 0)
		r->seq = up.persist_seq;
}

static paxos_ballot some_ballot(struct fuzz_in *in, uint32_t node)
{
	uint8_t pick = fuzz_u8(in);

	if (pick == 0xff)
		return fuzz_u64(in);
	return pick ? PAXOS_BALLOT(1 + pick % 8u, pick & 0x80 ? 1 + pick % 3u : node) : 0;
}

static uint64_t some_slot(struct fuzz_in *in)
{
	uint8_t pick = fuzz_u8(in);

	return pick == 0xff ? fuzz_u64(in) : pick % 24u;
}

static void told(struct run *r)
{
	static const unsigned owners_are_receivers =
		1u << PAXOS_PREVOTE_REPLY | 1u << PAXOS_PROMISE | 1u << PAXOS_ACCEPTED |
		1u << PAXOS_REJECT;
	struct fuzz_in *in = &r->in;
	struct paxos_entry *entries[4];
	struct paxos_message m = {.group = GROUP, .epoch = EPOCH, .to = 1, .entries = entries};
	struct paxos_event ev = {.kind = PAXOS_EV_MESSAGE, .message = &m};
	uint8_t how;

	m.type = (uint8_t)(1 + fuzz_below(in, PAXOS_TIMEOUT_NOW));
	how = fuzz_u8(in);
	m.from = 2 + (how & 1);
	m.ballot = some_ballot(in, owners_are_receivers >> m.type & 1 ? 1 : m.from);
	m.promised = some_ballot(in, m.from);
	m.token = how & 0x40 ? some_ballot(in, 1) : 0;
	m.first = some_slot(in);
	m.last = some_slot(in);
	m.commit = some_slot(in);
	m.applied = some_slot(in);
	m.log_start = some_slot(in);
	m.page = how & 0x20 ? some_slot(in) : m.first;
	m.send_ns = r->now_ns;
	m.echo_ns = how & 0x10 ? fuzz_u64(in) : r->now_ns;
	m.round = fuzz_u8(in);
	m.span_ns = how & 0x10 ? fuzz_u64(in) : fuzz_u16(in) * 10000ull;
	m.more = how & 8;
	m.ok = !(how & 4);
	m.count = how & 0x80 ? 1 + (how >> 1 & 3) % 4u : 0;
	for (uint32_t i = 0; i < m.count; i++) {
		paxos_ballot b = m.type == PAXOS_ACCEPT ? m.ballot : some_ballot(in, 2);

		entries[i] = paxos_entry_new((enum paxos_kind)(fuzz_u8(in) % 3u), b, m.first + i, 1,
					     fuzz_bytes(in, fuzz_u8(in) % 8u));
		CHECK(entries[i]);
		entries[i]->chosen = entries[i]->slot ? some_slot(in) % entries[i]->slot : 0;
	}
	step(r, &ev);
	for (uint32_t i = 0; i < m.count; i++)
		paxos_entry_unref(entries[i]);
}

static void told_raw(struct run *r)
{
	struct paxos_message m;
	struct paxos_event ev = {.kind = PAXOS_EV_MESSAGE, .message = &m};

	if (paxos_message_decode(fuzz_item(&r->in), &m) != 0)
		return;
	step(r, &ev);
	paxos_message_release(&m);
}

static void event(struct run *r)
{
	uint8_t op = fuzz_u8(&r->in);
	struct paxos_event ev = {.kind = PAXOS_EV_TICK};

	switch (op % 12) {
	case 0:
		told_raw(r);
		return;
	case 1:
		r->now_ns += fuzz_u16(&r->in) * 100000ull;
		break;
	case 2: { /* to its next deadline */
		uint64_t at = paxos_next_deadline(r->p);

		if (at != UINT64_MAX && at > r->now_ns)
			r->now_ns = at;
		break;
	}
	case 3:
		ev = (struct paxos_event){.kind = PAXOS_EV_PERSISTED, .seq = r->seq};
		break;
	case 4:
		ev = (struct paxos_event){.kind = PAXOS_EV_APPLIED, .slot = r->chosen};
		break;
	case 5:
		ev = (struct paxos_event){.kind = PAXOS_EV_PROPOSE,
					  .propose = {PAXOS_COMMANDS, slice_str("x")}};
		break;
	case 6:
		ev = (struct paxos_event){.kind = PAXOS_EV_READ, .read_id = op};
		break;
	case 7:
		ev = (struct paxos_event){.kind = op & 0x80 ? PAXOS_EV_PEER_DOWN : PAXOS_EV_PEER_UP,
					  .node = 2 + (op >> 4 & 1u)};
		break;
	default:
		if (op == 0xff)
			ev.kind = PAXOS_EV_HAND_OVER;
		else {
			told(r);
			return;
		}
	}
	step(r, &ev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = {.in = fuzz_in_of(data, size), .now_ns = 1000000000};
	struct paxos_config cfg = {.group = GROUP, .self = 1, .members = {1, 2, 3}, .member_count = 3,
				   .epoch = EPOCH, .seed = 1, .retain_bytes = 1 << 20,
				   .cache_bytes = 64, .read_entry = read_entry, .read_ctx = &r};

	paxos_timing_default(&cfg.timing);
	CHECK(paxos_new(&cfg, &r.p) == 0);
	CHECK(paxos_start(r.p, 0, fuzz_u8(&r.in) & 1, r.now_ns) == 0);
	for (unsigned i = 0; i < STEPS_MAX && r.in.left.len > 0; i++)
		event(&r);
	paxos_free(r.p);
	for (unsigned i = 0; i < r.count; i++)
		paxos_entry_unref(r.disk[i]);
	return 0;
}
