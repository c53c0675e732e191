/* The apply side of a group (kv/apply.h) on an engine in memory: entries of the log, whose data is
 * a batch of commands or is not, parts of reads and messages as they come from the network.
 * Whatever they are, the group goes on; opened anew from its engine it has the same state. An
 * input: jobs (1 byte) with their operands. */
#include "kv/apply.h"
#include "kv/engine.h"
#include "tests/fuzz/fuzz_txn.h"

#define STEPS_MAX 48u
#define GROUP	  1u

struct run {
	struct fuzz_in in;
	struct kv_apply_config cfg;
	struct kv_layout layout;
	struct kv_apply *apply;
	uint64_t now_ns;
};

static void open_apply(struct run *r)
{
	struct msg m = {""};

	CHECK(kv_apply_open(&r->cfg, &r->apply, &m) == 0);
}

static struct kv_job *job_of(struct run *r, enum kv_job_kind kind)
{
	return kv_job_new(kind, r->apply);
}

/* Runs it; what came out is well-formed. */
static int carry_out(struct run *r, struct kv_job *job)
{
	struct kv_result *res;
	struct command c;
	struct message m;
	struct reply_head h;
	struct slice items;
	int err;

	kv_apply_run(job, r->now_ns);
	CHECK(!job->fatal);
	STAILQ_FOREACH(res, &job->results, link) {
		struct slice s = slice_of(res->data, res->len);

		if (res->kind == KV_RESULT_PROPOSE)
			CHECK(txn__command_decode(s, &c) == 0);
		else if (res->kind == KV_RESULT_SEND)
			CHECK(txn__message_decode(s, &m) == 0);
		else
			CHECK(txn__reply_decode_head(s, &h, &items) == 0);
	}
	err = job->err;
	kv_job_free(job);
	return err;
}

static void make_batch(struct run *r, uint8_t how, struct buf *data)
{
	if (how & 1) {
		buf_add_slice(data, fuzz_item(&r->in));
		return;
	}
	for (unsigned n = 1 + (how >> 1 & 3); n > 0; n--) {
		struct buf command = BUF_INIT;

		fuzz_txn_command(&r->in, &command);
		enc_bytes(data, buf_slice(&command));
		buf_release(&command);
	}
}

static void entry(struct run *r)
{
	struct kv_job *job = job_of(r, KV_JOB_ENTRY);
	struct buf data = BUF_INIT;
	uint8_t how = fuzz_u8(&r->in);

	make_batch(r, how, &data);
	job->entry = paxos_entry_new(how & 0x80 ? PAXOS_NOOP : PAXOS_COMMANDS, 65537,
				     kv_apply_applied(r->apply) + 1, r->now_ns, buf_slice(&data));
	buf_release(&data);
	CHECK(job->entry && carry_out(r, job) == 0);
}

static void bytes(struct run *r, enum kv_job_kind kind)
{
	struct kv_job *job = job_of(r, kind);
	uint8_t how = fuzz_u8(&r->in);
	int err;

	job->token = how;
	if (how & 1)
		buf_add_slice(&job->bytes, fuzz_item(&r->in));
	else if (kind == KV_JOB_READ)
		fuzz_txn_part(&r->in, &job->bytes, false);
	else if (kind == KV_JOB_MESSAGE)
		fuzz_txn_message(&r->in, &job->bytes);
	else
		fuzz_txn_command(&r->in, &job->bytes);
	err = carry_out(r, job);
	CHECK(err == 0 || err == ERR_PROTO);
}

static void plain(struct run *r, enum kv_job_kind kind)
{
	struct kv_job *job = job_of(r, kind);

	job->flag = fuzz_u8(&r->in) & 1;
	if (kind == KV_JOB_TICK)
		r->now_ns += fuzz_u8(&r->in) * 10000000ull;
	CHECK(carry_out(r, job) == 0);
}

/* A new process finds in the engine what this one left. */
static void restart(struct run *r)
{
	uint32_t before, after;

	CHECK(engine_checksum(kv_apply_engine(r->apply), &before) == 0);
	kv_apply_close(r->apply);
	open_apply(r);
	CHECK(engine_checksum(kv_apply_engine(r->apply), &after) == 0 && before == after);
}

static void step(struct run *r)
{
	switch (fuzz_u8(&r->in) % 10) {
	case 0:
	case 1:
	case 2:
		entry(r);
		break;
	case 3:
		bytes(r, KV_JOB_READ);
		break;
	case 4:
		bytes(r, KV_JOB_MESSAGE);
		break;
	case 5:
		bytes(r, KV_JOB_PROPOSED);
		break;
	case 6:
		plain(r, KV_JOB_TICK);
		break;
	case 7:
		plain(r, KV_JOB_LEADING);
		break;
	case 8:
		plain(r, fuzz_u8(&r->in) & 1 ? KV_JOB_STATS : KV_JOB_DESCRIBE);
		break;
	default:
		restart(r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kv_layout_node node = {1, "127.0.0.1:1"};
	static const uint8_t cluster[KV_CLUSTER_ID_SIZE] = {1};
	struct run r = {.in = fuzz_in_of(data, size), .now_ns = 1000000000};
	struct msg m;

	CHECK(kv_layout_make(&r.layout, cluster, &node, 1, 1, 1, &m) == 0);
	CHECK(engine_mem_open(&r.cfg.engine) == 0);
	r.cfg.group = fuzz_u8(&r.in) & 1 ? GROUP : 0;
	r.cfg.layout = &r.layout;
	tsm_config_default(&r.cfg.tsm);
	open_apply(&r);
	for (unsigned i = 0; i < STEPS_MAX && r.in.left.len > 0; i++)
		step(&r);
	restart(&r);
	kv_apply_close(r.apply);
	engine_close(r.cfg.engine);
	kv_layout_release(&r.layout);
	return 0;
}
