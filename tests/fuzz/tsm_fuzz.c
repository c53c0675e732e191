/* The transaction state machine (txn/tsm.h) executes what a log, other groups and clients may hold.
 * An input is a program: an operation (1 byte) and its operands. Bytes from the log must never
 * crash it; all it knows is in its store, so a machine that is opened anew before each entry must
 * do the same; and its invariants hold after every step (tsm_audit). */
#include "tests/fuzz/fuzz_txn.h"
#include "tests/lib/txn_store_mem.h"

#define STEPS_MAX    96u
#define COMMANDS_MAX 8u
#define KEPT_MAX     16u

struct machine {
	struct txn_mem *mem[2];
	struct tsm *tsm[2]; /* [0] leads, [1] is opened before each entry */
	uint64_t slot, clock_ns, now_ns;
	struct buf commands[COMMANDS_MAX];
	unsigned count;
	struct buf kept[KEPT_MAX]; /* what [0] proposed; a ring */
	uint64_t proposed;
};

static void open_one(struct machine *m, int i)
{
	struct tsm_config cfg;

	tsm_config_default(&cfg);
	cfg.store = txn_mem_store(m->mem[i]);
	CHECK(tsm_open(&cfg, &m->tsm[i]) == 0);
}

static void take_outs(struct machine *m, int i)
{
	struct command c;
	struct message msg;
	struct reply_head h;
	struct slice items;
	struct tsm_output o;

	while (tsm_output_next(m->tsm[i], &o)) {
		switch (o.kind) {
		case TSM_PROPOSE:
			CHECK(txn__command_decode(o.bytes, &c) == 0);
			if (i == 0)
				CHECK(!buf_set(&m->kept[m->proposed++ % KEPT_MAX], o.bytes));
			break;
		case TSM_SEND:
			CHECK(txn__message_decode(o.bytes, &msg) == 0);
			break;
		default:
			CHECK(txn__reply_decode_head(o.bytes, &h, &items) == 0);
		}
	}
}

static void execute(struct machine *m, int i)
{
	tsm_set_time(m->tsm[i], m->now_ns);
	txn_mem_begin(m->mem[i]);
	tsm_begin_entry(m->tsm[i], m->slot, m->clock_ns);
	for (unsigned k = 0; k < m->count; k++)
		CHECK(tsm_apply(m->tsm[i], buf_slice(&m->commands[k])) == 0);
	CHECK(tsm_end_entry(m->tsm[i]) == 0);
	txn_mem_commit(m->mem[i]);
	tsm_audit(m->tsm[i]);
	take_outs(m, i);
}

static void entry(struct machine *m)
{
	m->slot++;
	m->clock_ns += 10;
	tsm_close(m->tsm[1]);
	open_one(m, 1);
	execute(m, 0);
	execute(m, 1);
	CHECK(txn_mem_equal(m->mem[0], m->mem[1]));
	for (unsigned i = 0; i < m->count; i++)
		buf_release(&m->commands[i]);
	m->count = 0;
}

static void add(struct machine *m, struct buf *b)
{
	CHECK(buf_ok(b));
	if (b->len <= COMMAND_SIZE_MAX)
		buf_move(&m->commands[m->count++], b);
	buf_release(b);
	if (m->count == COMMANDS_MAX)
		entry(m);
}

static void say(struct machine *m, struct buf *b)
{
	int err;

	CHECK(buf_ok(b));
	err = tsm_message(m->tsm[0], buf_slice(b), m->now_ns);
	CHECK(err == 0 || err == ERR_PROTO);
	buf_release(b);
	take_outs(m, 0);
}

static void ask(struct machine *m, struct fuzz_in *in, bool raw)
{
	struct buf part = BUF_INIT;

	if (raw)
		buf_add_slice(&part, fuzz_item(in));
	else
		fuzz_txn_part(in, &part, false);
	tsm_read(m->tsm[0], m->now_ns, buf_slice(&part), m->now_ns);
	buf_release(&part);
	take_outs(m, 0);
}

static void lead(struct machine *m, uint8_t how)
{
	if (how & 1) { /* a restart */
		tsm_close(m->tsm[0]);
		open_one(m, 0);
	}
	tsm_set_leading(m->tsm[0], (how & 2) != 0, m->now_ns);
	take_outs(m, 0);
}

static void step(struct machine *m, struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in), how;
	struct buf b = BUF_INIT;

	switch (op % 10) {
	case 0:
		buf_add_slice(&b, fuzz_item(in));
		add(m, &b);
		break;
	case 1:
	case 2:
		fuzz_txn_command(in, &b);
		add(m, &b);
		break;
	case 3: /* what it proposed comes true */
		if (m->proposed) {
			struct buf *kept = &m->kept[fuzz_below(in, KEPT_MAX)];

			CHECK(!buf_set(&b, buf_slice(kept->len ? kept : &m->kept[0])));
			add(m, &b);
		}
		break;
	case 4:
		entry(m);
		break;
	case 5:
		buf_add_slice(&b, fuzz_item(in));
		say(m, &b);
		break;
	case 6:
		fuzz_txn_message(in, &b);
		say(m, &b);
		break;
	case 7:
		ask(m, in, op >= 200);
		break;
	case 8:
		m->now_ns += (uint64_t)fuzz_u8(in) * 10000000;
		tsm_tick(m->tsm[0], m->now_ns);
		take_outs(m, 0);
		break;
	default:
		how = fuzz_u8(in);
		if (how & 0x80 && m->count)
			tsm_request_proposed(m->tsm[0], buf_slice(&m->commands[m->count - 1]),
					     m->now_ns);
		else
			lead(m, how);
		take_outs(m, 0);
	}
}

static void line(void *ctx, const char *text)
{
	*(size_t *)ctx += strlen(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	struct machine m = {.now_ns = 1000000000, .clock_ns = 1000};
	size_t described = 0;

	for (int i = 0; i < 2; i++) {
		m.mem[i] = txn_mem_new();
		txn_mem_set_owner(m.mem[i], fuzz_txn_owns, NULL);
		open_one(&m, i);
	}
	tsm_set_leading(m.tsm[0], true, m.now_ns);
	for (unsigned i = 0; i < STEPS_MAX && in.left.len > 0; i++)
		step(&m, &in);
	entry(&m);
	tsm_describe(m.tsm[0], line, &described);
	for (int i = 0; i < 2; i++) {
		tsm_close(m.tsm[i]);
		txn_mem_free(m.mem[i]);
	}
	for (unsigned i = 0; i < KEPT_MAX; i++)
		buf_release(&m.kept[i]);
	return 0;
}
