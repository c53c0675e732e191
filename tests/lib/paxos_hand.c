#include "tests/lib/paxos_hand.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static char text_of[ENTRY_SIZE_MAX + 1];

/* ---- disk ---- */

static int read_entry(void *ctx, uint64_t slot, struct paxos_entry **out)
{
	struct hand *h = ctx;
	struct paxos_entry *best = NULL;

	if (slot == h->read_fault_slot)
		return ERR_CORRUPT;
	for (size_t i = 0; i < h->disk_count; i++) {
		struct paxos_entry *e = h->disk[i].entry;

		if (e != NULL && e->slot == slot && (best == NULL || e->ballot > best->ballot))
			best = e;
	}
	if (best == NULL)
		return ERR_NOT_FOUND;
	*out = paxos_entry_ref(best);
	return 0;
}

static void disk_cut(struct hand *h, size_t count)
{
	while (h->disk_count > count)
		paxos_entry_unref(h->disk[--h->disk_count].entry);
}

/* ---- life ---- */

void hand_config(struct hand *h, uint32_t self, uint32_t members)
{
	memset(h, 0, sizeof(*h));
	h->now_ns = 1000 * HAND_MS;
	h->wall_ns = 5000000 * HAND_MS;
	h->cfg = (struct paxos_config){
		.group = 7,
		.self = self,
		.member_count = members,
		.epoch = 3,
		.seed = self,
		.retain_bytes = 1 << 20,
		.read_entry = read_entry,
		.read_ctx = h,
		.cache_bytes = 1 << 20,
	};
	for (uint32_t i = 0; i < members; i++)
		h->cfg.members[i] = i + 1;
	paxos_timing_default(&h->cfg.timing);
}

int hand_try_start(struct hand *h, uint64_t applied, bool fresh)
{
	int err;

	CHECK_OK(paxos_new(&h->cfg, &h->p));
	for (size_t i = 0; i < h->disk_count; i++) {
		if (h->disk[i].promise)
			paxos_restore_promise(h->p, h->disk[i].ballot);
		else
			paxos_restore_entry(h->p, h->disk[i].entry);
	}
	err = paxos_start(h->p, applied, fresh, h->now_ns);
	h->audit = (struct paxos_audit){0};
	h->applied = h->chosen_last = applied;
	h->seq = 0;
	if (err == 0)
		paxos_audit(h->p, &h->audit);
	return err;
}

void hand_start(struct hand *h, uint64_t applied, bool fresh)
{
	CHECK_OK(hand_try_start(h, applied, fresh));
}

void hand_init(struct hand *h, uint32_t self, uint32_t members)
{
	hand_config(h, self, members);
	hand_start(h, 0, true);
}

static void forget_chosen(struct hand *h)
{
	for (size_t i = 0; i < HAND_SLOTS_MAX; i++) {
		paxos_entry_unref(h->chosen[i]);
		h->chosen[i] = NULL;
	}
}

void hand_release(struct hand *h)
{
	hand_clear(h);
	disk_cut(h, 0);
	forget_chosen(h);
	paxos_free(h->p);
	h->p = NULL;
}

void hand_restart(struct hand *h, uint64_t applied)
{
	hand_clear(h);
	disk_cut(h, h->disk_synced);
	forget_chosen(h);
	paxos_free(h->p);
	h->p = NULL;
	h->read_count = 0;
	hand_start(h, applied, false);
}

/* ---- steps ---- */

static void keep_messages(struct hand *h, const struct paxos_update *up)
{
	for (size_t i = 0; i < up->message_count; i++) {
		struct paxos_message *m = &h->out[h->out_count];

		CHECK_TRUE(h->out_count < HAND_MESSAGES_MAX);
		*m = up->messages[i];
		m->entries = NULL;
		if (m->count > 0)
			m->entries = mem_must_alloc(m->count * sizeof(struct paxos_entry *));
		for (uint32_t k = 0; k < m->count; k++)
			m->entries[k] = paxos_entry_ref(up->messages[i].entries[k]);
		h->out_count++;
	}
}

static void keep_records(struct hand *h, const struct paxos_update *up)
{
	for (size_t i = 0; i < up->persist_count; i++) {
		const struct paxos_persist *r = &up->persist[i];

		CHECK_TRUE(h->disk_count < HAND_RECORDS_MAX);
		h->disk[h->disk_count++] = (struct hand_record){
			.promise = r->promise,
			.ballot = r->ballot,
			.entry = r->promise ? NULL : paxos_entry_ref(r->entry),
		};
	}
	h->seq = up->persist_seq;
}

static void keep_chosen(struct hand *h, const struct paxos_update *up)
{
	for (size_t i = 0; i < up->committed_count; i++) {
		struct paxos_entry *e = up->committed[i];

		CHECK_U64_EQ(e->slot, h->chosen_last + 1);
		CHECK_TRUE(e->slot < HAND_SLOTS_MAX);
		h->chosen[e->slot] = paxos_entry_ref(e);
		h->chosen_last = e->slot;
	}
}

int hand_step(struct hand *h, struct paxos_event *ev)
{
	struct paxos_update up = {0};
	int err;

	ev->now_ns = h->now_ns;
	ev->wall_ns = h->wall_ns;
	err = paxos_step(h->p, ev, &up);
	paxos_audit(h->p, &h->audit);
	if (err != 0)
		return err;
	keep_messages(h, &up);
	keep_records(h, &up);
	keep_chosen(h, &up);
	for (size_t i = 0; i < up.read_count; i++) {
		CHECK_TRUE(h->read_count < HAND_READS_MAX);
		h->reads[h->read_count++] = up.reads[i];
	}
	h->proposed_slot = up.proposed_slot;
	h->truncate_below = up.truncate_below;
	h->snapshot_from = up.snapshot_from;
	h->role_changed = up.role_changed;
	return 0;
}

void hand_event(struct hand *h, enum paxos_event_kind kind, uint64_t arg)
{
	struct paxos_event ev = {.kind = kind};

	if (kind == PAXOS_EV_PEER_DOWN || kind == PAXOS_EV_PEER_UP)
		ev.node = (uint32_t)arg;
	else
		ev.slot = arg; /* seq, slot and read_id share the place */
	if (kind == PAXOS_EV_SNAPSHOT_INSTALLED && arg > h->chosen_last)
		h->chosen_last = h->applied = arg;
	CHECK_OK(hand_step(h, &ev));
}

void hand_tick(struct hand *h, uint64_t after_ns)
{
	h->now_ns += after_ns;
	h->wall_ns += after_ns;
	hand_event(h, PAXOS_EV_TICK, 0);
}

void hand_run(struct hand *h, uint64_t span_ns)
{
	uint64_t end = h->now_ns + span_ns;

	for (unsigned ticks = 0;; ticks++) {
		uint64_t at = paxos_next_deadline(h->p);

		if (at > end)
			break;
		/* A deadline that a tick does not move would have a driver spin. */
		CHECK_TRUE(ticks < 10000);
		hand_tick(h, at > h->now_ns ? at - h->now_ns : 0);
	}
	h->wall_ns += end - h->now_ns;
	h->now_ns = end;
}

void hand_persist(struct hand *h)
{
	h->disk_synced = h->disk_count;
	hand_event(h, PAXOS_EV_PERSISTED, h->seq);
}

void hand_apply(struct hand *h)
{
	h->applied = h->chosen_last;
	hand_event(h, PAXOS_EV_APPLIED, h->applied);
}

int hand_propose(struct hand *h, const char *text)
{
	struct paxos_event ev = {.kind = PAXOS_EV_PROPOSE};

	ev.propose.kind = PAXOS_COMMANDS;
	ev.propose.data = slice_of(text, strlen(text));
	return hand_step(h, &ev);
}

int hand_read(struct hand *h, uint64_t id)
{
	struct paxos_event ev = {.kind = PAXOS_EV_READ, .read_id = id};

	return hand_step(h, &ev);
}

/* ---- messages ---- */

struct paxos_message hand_message(const struct hand *h, enum paxos_message_type type,
				  uint32_t from)
{
	return (struct paxos_message){
		.type = (uint8_t)type,
		.group = h->cfg.group,
		.epoch = h->cfg.epoch,
		.from = from,
		.to = h->cfg.self,
		.log_start = 1,
		.send_ns = h->now_ns,
	};
}

void hand_recv(struct hand *h, const struct paxos_message *m)
{
	struct paxos_event ev = {.kind = PAXOS_EV_MESSAGE, .message = m};

	CHECK_OK(hand_step(h, &ev));
}

struct paxos_entry *hand_entry(paxos_ballot ballot, uint64_t slot, const char *text)
{
	struct paxos_entry *e =
		paxos_entry_new(text[0] == 0 ? PAXOS_NOOP : PAXOS_COMMANDS, ballot, slot, 1,
				slice_of(text, strlen(text)));

	CHECK_NOT_NULL(e);
	return e;
}

void hand_recv_entries(struct hand *h, struct paxos_message *m, paxos_ballot ballot, uint32_t count,
		       const char *const *texts)
{
	struct paxos_entry **entries = mem_must_alloc((count + 1) * sizeof(*entries));

	for (uint32_t i = 0; i < count; i++)
		entries[i] = hand_entry(ballot, m->first + i, texts[i]);
	m->entries = entries;
	m->count = count;
	m->last = m->first + count - 1;
	hand_recv(h, m);
	for (uint32_t i = 0; i < count; i++)
		paxos_entry_unref(entries[i]);
	mem_free(entries);
	m->entries = NULL;
	m->count = 0;
}

size_t hand_count(const struct hand *h, enum paxos_message_type type, uint32_t to)
{
	size_t n = 0;

	for (size_t i = 0; i < h->out_count; i++)
		n += h->out[i].type == type && (to == 0 || h->out[i].to == to);
	return n;
}

static void take_at(struct hand *h, size_t i, struct paxos_message *m)
{
	*m = h->out[i];
	h->out_count--;
	memmove(&h->out[i], &h->out[i + 1], (h->out_count - i) * sizeof(h->out[0]));
}

void hand_take(struct hand *h, enum paxos_message_type type, uint32_t to, struct paxos_message *m)
{
	for (size_t i = 0; i < h->out_count; i++) {
		if (h->out[i].type == type && (to == 0 || h->out[i].to == to)) {
			take_at(h, i, m);
			return;
		}
	}
	CHECK_FAIL("no message of type %d to node %u", (int)type, to);
}

void hand_drop(struct paxos_message *m)
{
	paxos_message_release(m);
}

void hand_clear(struct hand *h)
{
	for (size_t i = 0; i < h->out_count; i++)
		paxos_message_release(&h->out[i]);
	h->out_count = 0;
}

size_t hand_carry(struct hand *from, struct hand *to)
{
	size_t n = 0;

	for (size_t i = 0; i < from->out_count;) {
		struct paxos_message m;

		if (from->out[i].to != to->cfg.self) {
			i++;
			continue;
		}
		take_at(from, i, &m);
		hand_recv(to, &m);
		hand_drop(&m);
		n++;
	}
	return n;
}

/* ---- played peers ---- */

void hand_ack_full(struct hand *h, uint32_t from, uint64_t last, uint64_t first, uint64_t echo_ns,
		   uint64_t round)
{
	struct paxos_message m = hand_message(h, PAXOS_ACCEPTED, from);

	m.ballot = hand_status(h).ballot;
	m.first = first;
	m.last = last;
	m.echo_ns = echo_ns;
	m.round = round;
	m.span_ns = h->cfg.timing.lease;
	m.commit = m.applied = hand_status(h).commit < last ? hand_status(h).commit : last;
	hand_recv(h, &m);
}

void hand_ack(struct hand *h, uint32_t from, uint64_t last)
{
	hand_ack_full(h, from, last, last + 1, h->now_ns, 0);
}

static void answer_prevotes(struct hand *h)
{
	while (hand_count(h, PAXOS_PREVOTE, 0) > 0) {
		struct paxos_message ask, m;

		hand_take(h, PAXOS_PREVOTE, 0, &ask);
		m = hand_message(h, PAXOS_PREVOTE_REPLY, ask.to);
		m.ballot = ask.ballot;
		m.ok = true;
		hand_recv(h, &m);
	}
}

static void answer_prepares(struct hand *h)
{
	while (hand_count(h, PAXOS_PREPARE, 0) > 0) {
		struct paxos_message ask, m;

		hand_take(h, PAXOS_PREPARE, 0, &ask);
		m = hand_message(h, PAXOS_PROMISE, ask.to);
		m.ballot = ask.ballot;
		m.page = m.first = ask.first;
		hand_recv(h, &m);
	}
}

void hand_lead(struct hand *h)
{
	for (unsigned i = 0; i < 100 && !hand_is(h, PAXOS_LEADER); i++) {
		uint64_t at = paxos_next_deadline(h->p);

		hand_tick(h, at > h->now_ns ? at - h->now_ns : 0);
		answer_prevotes(h);
		hand_persist(h);
		answer_prepares(h);
	}
	CHECK_TRUE(hand_is(h, PAXOS_LEADER));
	hand_persist(h);
	for (uint32_t i = 0; i < h->cfg.member_count; i++) {
		if (h->cfg.members[i] != h->cfg.self)
			hand_ack(h, h->cfg.members[i], hand_status(h).last);
	}
	hand_apply(h);
	CHECK_TRUE(hand_status(h).serving);
	hand_clear(h);
}

/* ---- state ---- */

struct paxos_status hand_status(const struct hand *h)
{
	struct paxos_status s;

	paxos_status(h->p, h->now_ns, &s);
	return s;
}

bool hand_is(const struct hand *h, enum paxos_role role)
{
	return hand_status(h).role == role;
}

const char *hand_chosen(const struct hand *h, uint64_t slot)
{
	const struct paxos_entry *e = slot < HAND_SLOTS_MAX ? h->chosen[slot] : NULL;

	if (e == NULL)
		return NULL;
	memcpy(text_of, e->data, e->len);
	text_of[e->len] = 0;
	return text_of;
}
