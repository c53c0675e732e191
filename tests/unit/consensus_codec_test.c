/* Entries and messages as bytes: what was encoded comes back, and no other bytes do harm. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "consensus/paxos.h"
#include "tests/lib/check.h"

#define BALLOT PAXOS_BALLOT(12, 3)

static struct buf bytes;

static void setup(void)
{
	buf_init(&bytes);
}

static void teardown(void)
{
	buf_release(&bytes);
}

static struct paxos_entry *entry(enum paxos_kind kind, uint64_t slot, const char *text)
{
	struct paxos_entry *e =
		paxos_entry_new(kind, BALLOT, slot, 77, slice_of(text, strlen(text)));

	CHECK_NOT_NULL(e);
	e->chosen = slot - 1;
	return e;
}

static void check_same_entry(const struct paxos_entry *a, const struct paxos_entry *b)
{
	CHECK_U64_EQ(a->kind, b->kind);
	CHECK_U64_EQ(a->ballot, b->ballot);
	CHECK_U64_EQ(a->slot, b->slot);
	CHECK_U64_EQ(a->clock_ns, b->clock_ns);
	CHECK_U64_EQ(a->chosen, b->chosen);
	CHECK_SLICE_EQ(slice_of(a->data, a->len), slice_of(b->data, b->len));
}

/* ---- entries ---- */

static void entry_round_trip(void)
{
	static const enum paxos_kind kinds[] = {PAXOS_NOOP, PAXOS_COMMANDS, PAXOS_STOP_SIGN};

	for (size_t i = 0; i < 3; i++) {
		struct paxos_entry *e = entry(kinds[i], 9, i == 0 ? "" : "some commands");
		struct paxos_entry *back = NULL;

		buf_reset(&bytes);
		paxos_entry_encode(e, &bytes);
		CHECK_TRUE(buf_ok(&bytes));
		CHECK_OK(paxos_entry_decode(BALLOT, 9, buf_slice(&bytes), &back));
		check_same_entry(e, back);
		CHECK_U64_EQ(back->refs, 1);
		paxos_entry_unref(e);
		paxos_entry_unref(back);
	}
}

static void entry_prefixes_are_refused(void)
{
	struct paxos_entry *e = entry(PAXOS_COMMANDS, 9, "some commands"), *back = NULL;

	paxos_entry_encode(e, &bytes);
	for (size_t len = 0; len < bytes.len; len++)
		CHECK_ERR(paxos_entry_decode(BALLOT, 9, slice_of(bytes.data, len), &back),
			  ERR_PROTO);
	buf_add_u8(&bytes, 0);
	CHECK_ERR(paxos_entry_decode(BALLOT, 9, buf_slice(&bytes), &back), ERR_PROTO);
	CHECK_NULL(back);
	paxos_entry_unref(e);
}

static void entry_rules(void)
{
	struct paxos_entry *e = entry(PAXOS_COMMANDS, 9, "x"), *back = NULL;

	paxos_entry_encode(e, &bytes);
	/* chosen = 8 is impossible in an entry for slot 8. */
	CHECK_ERR(paxos_entry_decode(BALLOT, 8, buf_slice(&bytes), &back), ERR_PROTO);
	CHECK_ERR(paxos_entry_decode(0, 9, buf_slice(&bytes), &back), ERR_PROTO);
	CHECK_ERR(paxos_entry_decode(BALLOT, 0, buf_slice(&bytes), &back), ERR_PROTO);
	bytes.data[0] = PAXOS_STOP_SIGN + 1;
	CHECK_ERR(paxos_entry_decode(BALLOT, 9, buf_slice(&bytes), &back), ERR_PROTO);
	CHECK_NULL(back);
	paxos_entry_unref(e);
}

static void entry_without_memory(void)
{
	struct paxos_entry *e = entry(PAXOS_COMMANDS, 9, "x"), *back = NULL;

	paxos_entry_encode(e, &bytes);
	mem_fail_nth(1);
	CHECK_ERR(paxos_entry_decode(BALLOT, 9, buf_slice(&bytes), &back), ERR_NOMEM);
	mem_fail_nth(1);
	CHECK_NULL(paxos_entry_new(PAXOS_NOOP, BALLOT, 1, 1, slice_of(NULL, 0)));
	mem_fail_nth(0);
	CHECK_NULL(back);
	paxos_entry_unref(e);
}

static void too_large(void *arg)
{
	(void)arg;
	paxos_entry_new(PAXOS_COMMANDS, BALLOT, 1, 1, slice_of(NULL, ENTRY_SIZE_MAX + 1));
}

static void entry_references(void)
{
	struct paxos_entry *e = entry(PAXOS_COMMANDS, 1, "x");

	CHECK_PTR_EQ(paxos_entry_ref(e), e);
	CHECK_U64_EQ(e->refs, 2);
	paxos_entry_unref(e);
	CHECK_U64_EQ(e->refs, 1);
	paxos_entry_unref(e);
	paxos_entry_unref(NULL);
	CHECK_ABORTS(too_large, NULL);
}

/* ---- messages ---- */

enum { ENTRIES = 3 };

static struct paxos_entry *list[ENTRIES];

static void full_message(struct paxos_message *m, enum paxos_message_type type, uint32_t count)
{
	static const char *const texts[ENTRIES] = {"one", "", "three"};

	*m = (struct paxos_message){
		.type = (uint8_t)type, .group = 5, .from = 1, .to = 2, .epoch = 1ull << 40,
		.ballot = BALLOT, .promised = BALLOT + 1, .token = BALLOT + 2, .first = 100,
		.last = 102, .commit = 99, .applied = 98, .log_start = 50,
		.send_ns = UINT64_MAX, .echo_ns = 123456789012, .round = 17, .span_ns = 250,
		.page = 60, .more = true, .ok = true, .count = count, .entries = list,
	};
	for (uint32_t i = 0; i < count; i++)
		list[i] = entry(texts[i][0] == 0 ? PAXOS_NOOP : PAXOS_COMMANDS, 100 + i, texts[i]);
}

static void free_list(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		paxos_entry_unref(list[i]);
}

static void check_same_message(const struct paxos_message *a, const struct paxos_message *b)
{
	CHECK_U64_EQ(a->type, b->type);
	CHECK_U64_EQ(a->group, b->group);
	CHECK_U64_EQ(a->from, b->from);
	CHECK_U64_EQ(a->to, b->to);
	CHECK_U64_EQ(a->epoch, b->epoch);
	CHECK_U64_EQ(a->ballot, b->ballot);
	CHECK_U64_EQ(a->promised, b->promised);
	CHECK_U64_EQ(a->token, b->token);
	CHECK_U64_EQ(a->first, b->first);
	CHECK_U64_EQ(a->last, b->last);
	CHECK_U64_EQ(a->commit, b->commit);
	CHECK_U64_EQ(a->applied, b->applied);
	CHECK_U64_EQ(a->log_start, b->log_start);
	CHECK_U64_EQ(a->send_ns, b->send_ns);
	CHECK_U64_EQ(a->echo_ns, b->echo_ns);
	CHECK_U64_EQ(a->round, b->round);
	CHECK_U64_EQ(a->span_ns, b->span_ns);
	CHECK_U64_EQ(a->page, b->page);
	CHECK_U64_EQ(a->more, b->more);
	CHECK_U64_EQ(a->ok, b->ok);
	CHECK_U64_EQ(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++)
		check_same_entry(a->entries[i], b->entries[i]);
}

static void message_round_trip(void)
{
	for (int type = PAXOS_PREVOTE; type <= PAXOS_TIMEOUT_NOW; type++) {
		for (uint32_t count = 0; count <= ENTRIES; count += ENTRIES) {
			struct paxos_message m, back;

			full_message(&m, (enum paxos_message_type)type, count);
			buf_reset(&bytes);
			paxos_message_encode(&m, &bytes);
			CHECK_TRUE(buf_ok(&bytes));
			CHECK_OK(paxos_message_decode(buf_slice(&bytes), &back));
			check_same_message(&m, &back);
			paxos_message_release(&back);
			CHECK_U64_EQ(back.count, 0);
			free_list(count);
		}
	}
}

static void message_prefixes_are_refused(void)
{
	struct paxos_message m, back = {.type = 99};

	full_message(&m, PAXOS_ACCEPT, ENTRIES);
	paxos_message_encode(&m, &bytes);
	for (size_t len = 0; len < bytes.len; len++)
		CHECK_ERR(paxos_message_decode(slice_of(bytes.data, len), &back), ERR_PROTO);
	buf_add_u8(&bytes, 0);
	CHECK_ERR(paxos_message_decode(buf_slice(&bytes), &back), ERR_PROTO);
	CHECK_U64_EQ(back.type, 99); /* untouched on failure */
	free_list(ENTRIES);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Every byte with every value, then many bytes at once: an error, or a message whose every entry
 * can be read and which encodes to what it was decoded from in the same number of fields. */
static void check_mutant(const struct buf *b, unsigned *accepted)
{
	struct paxos_message m;
	struct buf again;
	int err = paxos_message_decode(buf_slice(b), &m);

	if (err != 0) {
		CHECK_INT_EQ(err, ERR_PROTO);
		return;
	}
	(*accepted)++;
	CHECK_TRUE(m.type >= PAXOS_PREVOTE && m.type <= PAXOS_TIMEOUT_NOW);
	CHECK_TRUE(m.from > 0 && m.from < NODES_MAX && m.to > 0 && m.to < NODES_MAX);
	CHECK_TRUE(m.group < GROUPS_MAX);
	for (uint32_t i = 0; i < m.count; i++) {
		CHECK_U64_EQ(m.entries[i]->slot, m.first + i);
		CHECK_TRUE(m.entries[i]->ballot > 0);
		CHECK_TRUE(m.entries[i]->chosen < m.entries[i]->slot);
	}
	buf_init(&again);
	paxos_message_encode(&m, &again);
	CHECK_TRUE(buf_ok(&again) && again.len > 0);
	buf_release(&again);
	paxos_message_release(&m);
}

static void mutated_messages(void)
{
	struct paxos_message m;
	struct buf mutant;
	unsigned accepted = 0;
	uint32_t rng = 42;

	full_message(&m, PAXOS_LEARN, ENTRIES);
	paxos_message_encode(&m, &bytes);
	buf_init(&mutant);
	for (size_t at = 0; at < bytes.len; at++) {
		for (unsigned v = 0; v < 256; v++) {
			CHECK_OK(buf_set(&mutant, buf_slice(&bytes)));
			mutant.data[at] = (uint8_t)v;
			check_mutant(&mutant, &accepted);
		}
	}
	CHECK_TRUE(accepted >= bytes.len); /* the unchanged ones at least */
	for (unsigned round = 0; round < 20000; round++) {
		CHECK_OK(buf_set(&mutant, buf_slice(&bytes)));
		for (unsigned k = next_random(&rng) % 8 + 1; k > 0; k--)
			mutant.data[next_random(&rng) % mutant.len] = (uint8_t)next_random(&rng);
		buf_resize(&mutant, next_random(&rng) % 4 ? mutant.len
							  : next_random(&rng) % mutant.len);
		check_mutant(&mutant, &accepted);
	}
	buf_release(&mutant);
	free_list(ENTRIES);
}

static void random_bytes(void)
{
	uint32_t rng = 7;
	unsigned accepted = 0;

	for (unsigned round = 0; round < 20000; round++) {
		buf_reset(&bytes);
		for (unsigned k = next_random(&rng) % 64; k > 0; k--)
			buf_add_u8(&bytes, (uint8_t)next_random(&rng));
		check_mutant(&bytes, &accepted);
	}
	CHECK_U64_EQ(accepted, 0);
}

/* A count beyond the bytes that are there allocates nothing: it is refused before. */
static void count_without_entries(void)
{
	struct paxos_message m, back;

	full_message(&m, PAXOS_ACCEPT, 0);
	paxos_message_encode(&m, &bytes);
	CHECK_U64_EQ(bytes.data[bytes.len - 1], 0);
	bytes.data[bytes.len - 1] = 100;
	CHECK_ERR(paxos_message_decode(buf_slice(&bytes), &back), ERR_PROTO);
}

static void message_without_memory(void)
{
	struct paxos_message m, back = {.type = 99};
	unsigned long n;

	full_message(&m, PAXOS_ACCEPT, ENTRIES);
	paxos_message_encode(&m, &bytes);
	for (n = 1; n <= 1 + ENTRIES; n++) {
		mem_fail_nth(n);
		CHECK_ERR(paxos_message_decode(buf_slice(&bytes), &back), ERR_NOMEM);
		CHECK_U64_EQ(back.type, 99);
	}
	mem_fail_nth(n);
	CHECK_OK(paxos_message_decode(buf_slice(&bytes), &back));
	mem_fail_nth(0);
	paxos_message_release(&back);
	free_list(ENTRIES);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, entry_round_trip),
	CHECK_TEST_WITH(setup, teardown, entry_prefixes_are_refused),
	CHECK_TEST_WITH(setup, teardown, entry_rules),
	CHECK_TEST_WITH(setup, teardown, entry_without_memory),
	CHECK_TEST_WITH(setup, teardown, entry_references),
	CHECK_TEST_WITH(setup, teardown, message_round_trip),
	CHECK_TEST_WITH(setup, teardown, message_prefixes_are_refused),
	CHECK_TEST_WITH(setup, teardown, mutated_messages),
	CHECK_TEST_WITH(setup, teardown, random_bytes),
	CHECK_TEST_WITH(setup, teardown, count_without_entries),
	CHECK_TEST_WITH(setup, teardown, message_without_memory),
};

CHECK_MAIN(tests)
