/* What goes through logs and between groups, as it was in a story with everything in it: no prefix
 * of it is taken for something, and no change of it does harm. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/txn_fixture.h"
#include "txn/tsm_internal.h"

#define MUTATIONS 200u /* of each */

struct sample {
	struct buf bytes;
	int kind;
};

static struct txf f;
static struct sample *commands, *messages;
static size_t command_count, message_count;
static uint32_t commands_seen, messages_seen; /* bits: kinds */

/* At most a few of each kind. */
static void keep(struct sample **list, size_t *count, struct slice bytes, int kind)
{
	unsigned same = 0;

	for (size_t i = 0; i < *count; i++)
		same += (*list)[i].kind == kind;
	if (same >= 6)
		return;
	*list = mem_must_realloc(*list, (*count + 1) * sizeof(**list));
	(*list)[*count] = (struct sample){.kind = kind};
	CHECK_OK(buf_set(&(*list)[*count].bytes, bytes));
	++*count;
}

static bool note_message(struct txf *x, uint32_t from, uint32_t to, struct slice bytes)
{
	struct message msg;

	(void)x;
	(void)to;
	CHECK_OK(txn__message_decode(bytes, &msg));
	CHECK_INT_EQ(msg.from, from);
	messages_seen |= 1u << msg.kind;
	keep(&messages, &message_count, bytes, (int)msg.kind);
	return false;
}

/* Two who lock each other out, across groups, again and again; and one who locks up front. */
static struct txf_client clients[3];

static void rival(void *arg)
{
	struct txf_client *c = arg;
	unsigned first = c == &clients[0];
	struct txf_key k[2] = {txf_key(first, 1, 'T', "k"), txf_key(!first, 1, 'T', "k")};
	struct txn_mini m;
	struct txn_result r;

	txn_mini_init(&m);
	txn_result_init(&r);
	for (int i = 0; i < 4; i++) {
		txn_mini_reset(&m);
		for (int n = 0; n < 2; n++) {
			(void)txn_get(&m, txf_slice(&k[n]));
			(void)txn_put(&m, txf_slice(&k[n]), slice_str("value"));
		}
		CHECK_OK(txf_exec(c, &m, &r));
	}
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void locker(void *arg)
{
	struct txf_client *c = arg;
	struct txf_key k[2] = {txf_key(0, 1, 'T', "k"), txf_key(1, 1, 'T', "k")};
	struct txn_lock lock;
	struct txn_mini m;

	txn_mini_init(&m);
	(void)txn_delete(&m, txf_slice(&k[0]));
	(void)txn_delete(&m, txf_slice(&k[1]));
	CHECK_OK(c->executor.lock(&c->executor, &m, &lock));
	txf_sleep(&f, 15 * NS_PER_S); /* longer than anybody may wait */
	txn_mini_release(&m);
	c->executor.unlock(&c->executor, &lock);
}

static void waiting_reader(void *arg)
{
	struct txf_key k = txf_key(0, 1, 'T', "k");

	for (int i = 0; i < 5; i++, txf_sleep(&f, NS_PER_MS))
		CHECK_OK(txf_get(arg, txf_slice(&k), NULL, NULL));
}

static void collect_commands(void)
{
	for (unsigned g = 0; g < f.cfg.groups; g++)
		for (size_t i = 0; i < f.groups[g].log_len; i++)
			for (unsigned n = 0; n < f.groups[g].log[i].count; n++) {
				struct slice bytes = buf_slice(&f.groups[g].log[i].commands[n]);
				struct command c;

				CHECK_OK(txn__command_decode(bytes, &c));
				CHECK_INT_EQ(txn__command_kind(bytes), c.kind);
				commands_seen |= 1u << c.kind;
				keep(&commands, &command_count, bytes, (int)c.kind);
			}
}

static void setup(void)
{
	struct txf_config cfg;
	struct buf b = BUF_INIT;

	txf_config_default(&cfg);
	cfg.groups = 2;
	cfg.delay_ns_max = 2 * NS_PER_MS;
	txf_open(&f, &cfg);
	f.drop = note_message;
	for (int i = 0; i < 3; i++)
		txf_client_init(&clients[i], &f);
	for (int i = 0; i < 2; i++)
		txf_spawn(&f, rival, &clients[i]);
	CHECK_TRUE(txf_run(&f));
	txf_spawn(&f, locker, &clients[0]);
	txf_spawn(&f, waiting_reader, &clients[1]);
	CHECK_TRUE(txf_run(&f));
	tsm_command_close(&b, clients[2].id);
	txf_apply(&f, 0, buf_slice(&b));
	buf_reset(&b);
	tsm_command_floor(&b, 1);
	txf_apply(&f, 0, buf_slice(&b));
	buf_release(&b);
	for (int i = 0; i < 3000 && txf_step(&f); i++)
		;
	collect_commands();
}

static void samples_free(struct sample **list, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		buf_release(&(*list)[i].bytes);
	mem_free(*list);
	*list = NULL;
	*count = 0;
}

static void teardown(void)
{
	samples_free(&commands, &command_count);
	samples_free(&messages, &message_count);
	commands_seen = messages_seen = 0;
	for (int i = 0; i < 3; i++)
		txf_client_release(&clients[i]);
	txf_close(&f);
}

/* The story has in it what the tests below rely on. */
static void the_story_is_complete(void)
{
	static const int want_commands[] = {CMD_REQUEST, CMD_CANCEL, CMD_CLOSE,	 CMD_FLOOR,
					    CMD_PREPARE, CMD_OUTCOME, CMD_FORGET, CMD_DECIDE,
					    CMD_END,	 CMD_DROP};
	static const int want_messages[] = {MSG_PREPARE, MSG_VOTE, MSG_DECISION, MSG_ACK,
					    MSG_END,	 MSG_ASK,  MSG_PROBE_ON};

	for (size_t i = 0; i < sizeof(want_commands) / sizeof(int); i++)
		if (!(commands_seen & 1u << want_commands[i]))
			CHECK_FAIL("no command of kind %d", want_commands[i]);
	for (size_t i = 0; i < sizeof(want_messages) / sizeof(int); i++)
		if (!(messages_seen & 1u << want_messages[i]))
			CHECK_FAIL("no message of kind %d", want_messages[i]);
}

/* In memory of its own length, so that sanitizers see a byte too far. */
static int decode(bool message, struct slice bytes)
{
	uint8_t *copy = malloc(bytes.len + 1);
	struct command c;
	struct message m;
	int err;

	memcpy(copy, bytes.p, bytes.len);
	err = message ? txn__message_decode(slice_of(copy, bytes.len), &m)
		      : txn__command_decode(slice_of(copy, bytes.len), &c);
	free(copy);
	return err;
}

static void check_prefixes(bool message, struct buf *b)
{
	CHECK_OK(decode(message, buf_slice(b)));
	for (size_t len = 0; len < b->len; len++)
		CHECK_ERR(decode(message, slice_of(b->data, len)), ERR_PROTO);
	buf_add_u8(b, 0);
	CHECK_ERR(decode(message, buf_slice(b)), ERR_PROTO);
}

static void prefixes_are_refused(void)
{
	for (size_t i = 0; i < command_count; i++)
		check_prefixes(false, &commands[i].bytes);
	for (size_t i = 0; i < message_count; i++)
		check_prefixes(true, &messages[i].bytes);
}

static void mutate(struct buf *to, const struct buf *from)
{
	CHECK_OK(buf_set(to, buf_slice(from)));
	for (uint64_t k = 1 + txf_below(&f, 3); k > 0; k--)
		to->data[txf_below(&f, to->len)] = (uint8_t)txf_random(&f);
}

/* Executed and received they may change things, but every replica alike, and nothing breaks. */
static void mutations_do_no_harm(void)
{
	struct buf bad = BUF_INIT;

	f.drop = NULL;
	f.strays = true;
	for (size_t i = 0; i < command_count; i++)
		for (unsigned n = 0; n < MUTATIONS; n++) {
			mutate(&bad, &commands[i].bytes);
			txf_apply(&f, (uint32_t)(n % 2), buf_slice(&bad));
		}
	for (size_t i = 0; i < message_count; i++)
		for (unsigned n = 0; n < MUTATIONS; n++) {
			int err;

			mutate(&bad, &messages[i].bytes);
			err = tsm_message(txf_leader(&f, n % 2), buf_slice(&bad), f.now_ns);
			if (err)
				CHECK_ERR(err, ERR_PROTO);
			txf_step(&f);
		}
	txf_check_replicas(&f);
	buf_release(&bad);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, the_story_is_complete),
	CHECK_TEST_WITH(setup, teardown, prefixes_are_refused),
	CHECK_TEST_WITH(setup, teardown, mutations_do_no_harm),
};
CHECK_MAIN(tests)
