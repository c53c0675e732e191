/* Wire forms of txn/: commands, messages between groups, parts. Byte 0 picks one. Beside the round trip:
 * what clients may send (tsm_request_check) are commands that decode. */
#include "tests/fuzz/fuzz.h"
#include "txn/tsm_internal.h"

static void encode_request(const struct command *c, struct buf *out)
{
	struct txn_part parts[TXN_GROUPS_MAX] = {0};
	struct tsm_request q = {.client = c->id.client,
				.sequence = c->id.sequence,
				.mark = c->mark,
				.age = c->age,
				.lock = c->lock,
				.lock_only = c->lock_only,
				.home = c->home,
				.parts = parts,
				.part_count = c->part_count};

	for (uint32_t i = 0; i < c->part_count; i++) {
		parts[i].group = c->parts[i].group;
		parts[i].writes = c->parts[i].writes;
		CHECK(buf_set(&parts[i].body, c->parts[i].body) == 0);
	}
	tsm_request_encode(&q, out);
	for (uint32_t i = 0; i < c->part_count; i++)
		buf_release(&parts[i].body);
}

static void encode_command(const struct command *c, struct buf *out)
{
	struct lazy ids = {.count = c->id_count};

	switch (c->kind) {
	case CMD_REQUEST:
		encode_request(c, out);
		break;
	case CMD_CANCEL:
		txn__enc_cancel(out, c->id, c->why, c->notify);
		break;
	case CMD_CLOSE:
		tsm_command_close(out, c->id.client);
		break;
	case CMD_FLOOR:
		tsm_command_floor(out, c->number);
		break;
	case CMD_PREPARE:
		txn__enc_prepare(out, c);
		break;
	case CMD_OUTCOME:
		txn__enc_outcome(out, c->id, c->commit, c->stamp, c->coordinator);
		break;
	case CMD_FORGET:
	case CMD_END:
		CHECK(c->id_count <= TSM_LAZY_MAX);
		memcpy(ids.ids, c->ids, c->id_count * sizeof(ids.ids[0]));
		txn__enc_ids(out, c->kind, &ids);
		break;
	case CMD_DECIDE:
		txn__enc_decide(out, c->id, c->commit, c->stamp, c->body);
		break;
	case CMD_DROP:
		txn__enc_drop(out, c->number, c->index);
		break;
	case CMD_OWN:
		txn__enc_own(out, c->id);
		break;
	}
}

static int command(struct slice in, struct buf *out)
{
	struct command c;
	uint64_t client, sequence;
	bool adds;
	int err = txn__command_decode(in, &c), check;

	check = tsm_request_check(in, &client, &sequence, &adds);
	CHECK(check == 0 || check == ERR_PROTO);
	CHECK(err == 0 || check != 0);
	if (err) {
		CHECK(!tsm_request_several(in));
		return err;
	}
	CHECK(txn__command_kind(in) == (int)c.kind);
	CHECK(tsm_request_several(in) == (c.kind == CMD_REQUEST && c.part_count > 1));
	encode_command(&c, out);
	return 0;
}

static int message(struct slice in, struct buf *out)
{
	struct message m;
	int err = txn__message_decode(in, &m);

	if (!err)
		txn__enc_message(out, &m);
	return err;
}

/* Decoding turns a reference's `from` into a place in the part: back to the index of the whole. */
static int part(struct slice in, struct buf *out)
{
	struct part p = {0};
	int err = txn__part_decode(&p, in);

	for (uint32_t i = 0; !err && i < p.read_count; i++)
		if (p.reads[i].kind == TXN_GET_REF) {
			CHECK(p.reads[i].from < i);
			p.reads[i].from = p.read_index[p.reads[i].from];
		}
	if (!err) {
		txn__part_head(out, p.flags, p.cond_count, p.read_count, p.mut_count);
		for (uint32_t i = 0; i < p.cond_count; i++)
			txn__part_cond(out, &p.conds[i], p.cond_index[i]);
		for (uint32_t i = 0; i < p.read_count; i++)
			txn__part_read(out, &p.reads[i], p.read_index[i]);
		for (uint32_t i = 0; i < p.mut_count; i++)
			txn__part_mut(out, &p.muts[i], p.mut_index[i]);
	}
	txn__part_release(&p);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static fuzz_code_fn *const codes[] = {command, message, part};
	struct fuzz_in in = fuzz_in_of(data, size);
	fuzz_code_fn *code = codes[fuzz_below(&in, 3)];

	fuzz_round_trip(code, fuzz_rest(&in));
	return 0;
}
