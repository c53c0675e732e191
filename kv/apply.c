#include "kv/apply.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/apply_watch.h"
#include "kv/store_engine.h"

struct kv_apply {
	uint32_t group;
	struct engine_group *engine;
	struct store_engine store;
	struct tsm_config tsm_cfg;
	struct tsm *tsm;
	struct apply_watch watch;
	bool leading;
	bool installing; /* between begin and finish */
	int failed;	 /* of an entry or an install: nothing more is executed */
	uint64_t keys, bytes;
};

/* ---- jobs ---- */

struct kv_job *kv_job_new(enum kv_job_kind kind, struct kv_apply *a)
{
	struct kv_job *job = mem_must_alloc(sizeof(*job));

	job->kind = kind;
	job->apply = a;
	STAILQ_INIT(&job->results);
	return job;
}

void kv_job_free(struct kv_job *job)
{
	struct kv_result *r;

	if (!job)
		return;
	while ((r = STAILQ_FIRST(&job->results)) != NULL) {
		STAILQ_REMOVE_HEAD(&job->results, link);
		mem_free(r);
	}
	paxos_entry_unref(job->entry);
	buf_release(&job->bytes);
	buf_release(&job->out);
	mem_free(job);
}

static enum kv_result_kind result_kind(enum tsm_output_kind kind)
{
	switch (kind) {
	case TSM_PROPOSE:
		return KV_RESULT_PROPOSE;
	case TSM_SEND:
		return KV_RESULT_SEND;
	case TSM_REPLY:
		return KV_RESULT_REPLY;
	case TSM_READ_DONE:
		break;
	}
	return KV_RESULT_READ;
}

/* A follower executes the same commands and has the same outputs; only the leader acts upon them.
 * Reads are answered in any case: those who wait were taken under a leadership. */
static void collect(struct kv_apply *a, struct kv_job *job)
{
	struct tsm_output o;

	while (tsm_output_next(a->tsm, &o)) {
		struct kv_result *r;

		if (!a->leading && o.kind != TSM_READ_DONE)
			continue;
		r = mem_must_alloc(sizeof(*r) + o.bytes.len);
		r->kind = result_kind(o.kind);
		r->group = o.group;
		r->client = o.client;
		r->sequence = o.sequence;
		r->token = o.token;
		r->len = o.bytes.len;
		if (o.bytes.len)
			memcpy(r->data, o.bytes.p, o.bytes.len);
		STAILQ_INSERT_TAIL(&job->results, r, link);
	}
}

static void collect_written(struct kv_apply *a, struct kv_job *job)
{
	struct slice key;

	while (apply_watch_take(&a->watch, &key)) {
		struct kv_result *r = mem_must_alloc(sizeof(*r) + key.len);

		r->kind = KV_RESULT_WRITTEN;
		r->len = key.len;
		memcpy(r->data, key.p, key.len);
		STAILQ_INSERT_TAIL(&job->results, r, link);
	}
}

/* ---- entries ---- */

static int run_commands(struct kv_apply *a, const struct paxos_entry *e)
{
	struct dec d;
	int err = 0;

	dec_init(&d, slice_of(e->data, e->len));
	while (!err && dec_rest(&d).len > 0) {
		struct slice command = dec_bytes(&d, COMMAND_SIZE_MAX);

		if (d.err)
			break; /* malformed: what is left is nothing, on every replica */
		err = tsm_apply(a->tsm, command);
	}
	return err;
}

static int run_entry(struct kv_apply *a, const struct paxos_entry *e)
{
	int err = 0;

	if (e->slot <= engine_applied(a->engine))
		return 0; /* a snapshot held it already */
	CHECK(e->slot == engine_applied(a->engine) + 1);
	engine_begin(a->engine);
	tsm_begin_entry(a->tsm, e->slot, e->clock_ns);
	if (e->kind == PAXOS_COMMANDS)
		err = run_commands(a, e);
	if (!err)
		err = tsm_end_entry(a->tsm);
	if (err == ERR_NOMEM) /* the others execute it: so must we, from the log, when we can */
		logger_die("group %u: out of memory in slot %" PRIu64, a->group, e->slot);
	if (err)
		engine_abandon(a->engine);
	FAILPOINT(engine_before_commit);
	if (!err)
		engine_commit(a->engine, e->slot);
	FAILPOINT(engine_after_commit);
	a->failed = err;
	return err;
}

/* ---- snapshots ---- */

static int reopen(struct kv_apply *a)
{
	int err;

	tsm_close(a->tsm);
	a->tsm = NULL;
	a->leading = false;
	err = store_engine_load(&a->store);
	if (err == ERR_NOT_FOUND)
		err = ERR_CORRUPT;
	return err ? err : tsm_open(&a->tsm_cfg, &a->tsm);
}

/* The group's own log may have overtaken the snapshot meanwhile: then it is dropped. */
static int install_finish(struct kv_apply *a, uint64_t slot)
{
	int err;

	if (!a->installing)
		return ERR_INVAL;
	a->installing = false;
	if (engine_applied(a->engine) >= slot)
		return 0;
	FAILPOINT(install_finish_before);
	err = engine_install_finish(a->engine, slot);
	FAILPOINT(install_finish_after);
	if (err)
		return err; /* nothing was replaced: the fetch starts over */
	a->failed = reopen(a);
	if (a->failed == ERR_NOMEM) /* the snapshot is fine: a new start can read it */
		logger_die("group %u: out of memory behind a snapshot of slot %" PRIu64, a->group,
			   slot);
	return a->failed;
}

static int install_begin(struct kv_apply *a)
{
	int err;

	FAILPOINT(install_begin);
	err = engine_install_begin(a->engine);
	a->installing = err == 0;
	return err;
}

static int install_chunk(struct kv_apply *a, struct slice chunk)
{
	int err = FAILPOINT_ERROR(install_chunk, ERR_CORRUPT);

	if (err)
		return err;
	return a->installing ? engine_install_chunk(a->engine, chunk) : ERR_INVAL;
}

/* ---- looking in ---- */

static int checksum(struct kv_apply *a, struct buf *out)
{
	uint32_t crc;
	int err = engine_checksum(a->engine, &crc);

	if (err)
		return err;
	enc_u64(out, engine_applied(a->engine));
	enc_u64(out, crc);
	return buf_ok(out) ? 0 : ERR_NOMEM;
}

static void add_line(void *ctx, const char *line)
{
	struct buf *out = ctx;

	if (out->len + strlen(line) + 1 > REPLY_SIZE_MAX)
		return;
	buf_add(out, line, strlen(line));
	buf_add_u8(out, '\n');
}

static void stats(struct kv_apply *a, struct kv_job *job)
{
	if (job->flag) {
		a->keys = a->bytes = 0;
		for (uint32_t i = 0; i < a->store.range_count; i++) {
			uint64_t keys = 0, bytes = 0;

			engine_estimate(a->engine, a->store.ranges[i].from, a->store.ranges[i].to,
					&keys, &bytes);
			a->keys += keys;
			a->bytes += bytes;
		}
	}
	tsm_stats_get(a->tsm, &job->stats.tsm);
	job->stats.keys = a->keys;
	job->stats.bytes = a->bytes;
}

static int execute(struct kv_apply *a, struct kv_job *job, uint64_t now_ns)
{
	switch (job->kind) {
	case KV_JOB_ENTRY:
		return run_entry(a, job->entry);
	case KV_JOB_READ:
		tsm_read(a->tsm, job->token, buf_slice(&job->bytes), now_ns);
		return 0;
	case KV_JOB_MESSAGE:
		(void)tsm_message(a->tsm, buf_slice(&job->bytes), now_ns); /* a bad one is dropped */
		return 0;
	case KV_JOB_PROPOSED:
		tsm_request_proposed(a->tsm, buf_slice(&job->bytes), now_ns);
		return 0;
	case KV_JOB_TICK:
		tsm_tick(a->tsm, now_ns);
		return 0;
	case KV_JOB_WATCH:
		apply_watch_set(&a->watch, &a->store, buf_slice(&job->bytes), job->flag);
		return 0;
	case KV_JOB_LEADING:
		if (a->leading != job->flag) {
			a->leading = job->flag;
			tsm_set_leading(a->tsm, job->flag, now_ns);
		}
		return 0;
	case KV_JOB_INSTALL_BEGIN:
		return install_begin(a);
	case KV_JOB_INSTALL_CHUNK:
		return install_chunk(a, buf_slice(&job->bytes));
	case KV_JOB_INSTALL_FINISH:
		return install_finish(a, job->slot);
	case KV_JOB_CHECKSUM:
		return checksum(a, &job->out);
	case KV_JOB_DESCRIBE:
		tsm_describe(a->tsm, add_line, &job->out);
		return buf_ok(&job->out) ? 0 : ERR_NOMEM;
	case KV_JOB_STATS:
		stats(a, job);
		return 0;
	}
	return ERR_INVAL;
}

/* Damage that a read or a tick met. No memory is a matter of the next entry. */
static int damage(const struct kv_apply *a)
{
	int err = !a->failed && a->tsm ? tsm_failed(a->tsm) : 0;

	return err == ERR_NOMEM ? 0 : err;
}

void kv_apply_run(struct kv_job *job, uint64_t now_ns)
{
	struct kv_apply *a = job->apply;
	int err;

	job->deadline_ns = UINT64_MAX;
	job->err = a->failed;
	if (!a->failed) {
		tsm_set_time(a->tsm, now_ns);
		job->err = execute(a, job, now_ns);
		err = damage(a);
		if (err)
			job->err = a->failed = err;
	}
	job->applied = engine_applied(a->engine);
	job->fatal = a->failed != 0;
	if (a->failed)
		return;
	collect(a, job);
	collect_written(a, job);
	job->deadline_ns = tsm_next_deadline(a->tsm);
}

/* ---- opening ---- */

static int load(struct kv_apply *a, const struct kv_layout *l, struct msg *m)
{
	int err = store_engine_load(&a->store);

	if (err == ERR_NOT_FOUND && engine_applied(a->engine) == 0) {
		kv_apply_format(a->engine, l, a->group);
		err = store_engine_load(&a->store);
	}
	if (err)
		return msg_set(m, err == ERR_NOT_FOUND ? ERR_CORRUPT : err,
			       "group %u: the engine has no owned ranges: %s", a->group,
			       err_text(err));
	err = tsm_open(&a->tsm_cfg, &a->tsm);
	if (err)
		return msg_set(m, err, "group %u: open the state machine: %s", a->group,
			       err_text(err));
	return 0;
}

int kv_apply_open(const struct kv_apply_config *cfg, struct kv_apply **out, struct msg *m)
{
	struct kv_apply *a = mem_must_alloc(sizeof(*a));
	int err;

	a->group = cfg->group;
	a->engine = engine_group_open(cfg->engine, cfg->group);
	store_engine_init(&a->store, a->engine);
	apply_watch_init(&a->watch);
	a->tsm_cfg = cfg->tsm;
	a->tsm_cfg.group = cfg->group;
	a->tsm_cfg.store = &a->store.base;
	err = load(a, cfg->layout, m);
	if (err) {
		kv_apply_close(a);
		return err;
	}
	*out = a;
	return 0;
}

void kv_apply_close(struct kv_apply *a)
{
	if (!a)
		return;
	tsm_close(a->tsm);
	apply_watch_release(&a->watch, &a->store);
	store_engine_release(&a->store);
	engine_group_close(a->engine);
	mem_free(a);
}

uint64_t kv_apply_applied(const struct kv_apply *a)
{
	return engine_applied(a->engine);
}

struct engine_group *kv_apply_engine(struct kv_apply *a)
{
	return a->engine;
}
