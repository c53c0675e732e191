#include "tests/lib/kv_replica_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

#define CLIENT	    7u
#define STEPS_MAX   1000000u /* in one settling: more is a loop */

static struct kv_time now(const struct krf *f)
{
	return (struct kv_time){f->now_ns, f->now_ns + 1000 * NS_PER_S};
}

/* ---- what a replica asks for ---- */

static void records_drop(struct krf_member *m, uint64_t below)
{
	struct krf_record *r, *next;

	STAILQ_FOREACH_SAFE(r, &m->log, link, next) {
		if (below != UINT64_MAX && (r->rec.type != WAL_ENTRY || r->rec.slot >= below))
			continue;
		STAILQ_REMOVE(&m->log, r, krf_record, link);
		buf_release(&r->payload);
		mem_free(r);
	}
}

static uint64_t log_append(void *ctx, const struct wal_record *rec)
{
	struct krf_member *m = ctx;
	struct krf_record *r = mem_must_alloc(sizeof(*r));

	r->rec = *rec;
	mem_fail_pause(true); /* the fixture has its memory, when a replica runs out of it */
	buf_add_slice(&r->payload, rec->payload);
	mem_fail_pause(false);
	r->rec.payload = buf_slice(&r->payload);
	r->batch = m->batch + 1;
	STAILQ_INSERT_TAIL(&m->log, r, link);
	m->entries += rec->type == WAL_ENTRY && rec->payload.len > 64;
	return r->batch;
}

static bool log_busy(void *ctx)
{
	const struct krf_member *m = ctx;

	return m->busy;
}

static bool log_has_room(void *ctx, uint64_t bytes)
{
	const struct krf_member *m = ctx;

	(void)bytes;
	return !m->full;
}

static bool log_can_take(void *ctx, uint64_t bytes)
{
	struct krf_member *m = ctx;

	(void)bytes;
	return !m->brimful;
}

static int log_read(void *ctx, uint32_t group, uint64_t slot, uint64_t *ballot, struct buf *payload)
{
	struct krf_member *m = ctx;
	const struct krf_record *r, *best = NULL;

	CHECK_U64_EQ(group, KRF_GROUP);
	STAILQ_FOREACH(r, &m->log, link)
		if (r->rec.type == WAL_ENTRY && r->rec.slot == slot &&
		    (!best || r->rec.ballot >= best->rec.ballot))
			best = r;
	if (!best)
		return ERR_NOT_FOUND;
	if (m->damaged)
		return ERR_CORRUPT;
	*ballot = best->rec.ballot;
	return buf_set(payload, buf_slice(&best->payload));
}

static void log_truncate(void *ctx, uint32_t group, uint64_t slot)
{
	struct krf_member *m = ctx;
	const struct wal_record mark = {.type = WAL_MARK, .group = group, .slot = slot};

	records_drop(m, slot);
	m->truncated_below = slot;
	(void)log_append(m, &mark);
}

static void send(void *ctx, const struct paxos_message *msg)
{
	struct krf_member *m = ctx;
	struct krf_packet *p = mem_must_alloc(sizeof(*p));

	p->from = m->id;
	p->to = msg->to;
	p->at_ns = m->f->now_ns + KRF_HOP_NS;
	mem_fail_pause(true);
	paxos_message_encode(msg, &p->bytes);
	mem_fail_pause(false);
	STAILQ_INSERT_TAIL(&m->f->net, p, link);
}

static void send_txn(void *ctx, uint32_t from_group, uint32_t to_group, struct slice bytes)
{
	const struct krf_member *m = ctx;

	(void)from_group;
	(void)to_group;
	(void)bytes;
	if (m->f->others)
		return;
	CHECK_FAIL("one group alone has nobody to talk to");
}

static void schedule(void *ctx, struct kv_job *job)
{
	struct krf_member *m = ctx;

	STAILQ_INSERT_TAIL(&m->jobs, &job->work, link);
}

static void reply(void *ctx, struct kv_replica *r, const struct kv_caller *c, int err,
		  struct slice body)
{
	struct krf_member *m = ctx;
	struct krf_answer *a = mem_must_alloc(sizeof(*a));

	(void)r;
	a->caller = *c;
	a->err = err;
	mem_fail_pause(true);
	buf_add_slice(&a->body, body);
	mem_fail_pause(false);
	STAILQ_INSERT_TAIL(&m->answers, a, link);
}

static void changed(void *ctx, struct kv_replica *r)
{
	struct krf_member *m = ctx;

	(void)r;
	m->changes++;
}

static void snapshot(void *ctx, struct kv_replica *r, uint32_t from_node)
{
	struct krf_member *m = ctx;

	(void)r;
	m->snapshot_from = from_node;
}

static const struct kv_replica_io io = {
	.log_append = log_append,
	.log_busy = log_busy,
	.log_has_room = log_has_room,
	.log_can_take = log_can_take,
	.log_read = log_read,
	.log_truncate = log_truncate,
	.send = send,
	.send_txn = send_txn,
	.schedule = schedule,
	.reply = reply,
	.changed = changed,
	.snapshot = snapshot,
};

/* ---- life ---- */

static void make_apply(struct krf_member *m)
{
	struct kv_apply_config ac = {
		.group = KRF_GROUP, .engine = m->engine, .layout = &m->f->layout};
	struct msg text = {""};

	tsm_config_default(&ac.tsm);
	if (kv_apply_open(&ac, &m->apply, &text) != 0)
		CHECK_FAIL("apply: %s", text.text);
}

void krf_start(struct krf *f, uint32_t id)
{
	struct krf_member *m = &f->members[id];
	struct kv_replica_config rc = {.io = &io, .io_ctx = m, .user = m};
	struct kv_time t = now(f);
	const struct krf_record *r;

	make_apply(m);
	rc.apply = m->apply;
	rc.paxos = (struct paxos_config){.group = KRF_GROUP,
					 .self = id,
					 .member_count = f->count,
					 .epoch = 1,
					 .seed = id * 77 + f->now_ns,
					 .retain_bytes = f->retain_bytes,
					 .cache_bytes = 64 * 1024};
	for (uint32_t i = 0; i < f->count; i++)
		rc.paxos.members[i] = i + 1;
	paxos_timing_default(&rc.paxos.timing);
	CHECK_OK(kv_replica_new(&rc, &m->replica));
	STAILQ_FOREACH(r, &m->log, link)
		CHECK_OK(kv_replica_restore(m->replica, &r->rec));
	CHECK_OK(kv_replica_start(m->replica, &t));
	m->running = true;
	for (uint32_t i = 1; i <= f->count; i++) {
		if (i == id || !f->members[i].running)
			continue;
		kv_replica_peer(m->replica, i, true, &t);
		kv_replica_peer(f->members[i].replica, id, true, &t);
	}
}

static void drop_jobs(struct krf_member *m)
{
	struct kv_work *w;

	while ((w = STAILQ_FIRST(&m->jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&m->jobs, link);
		kv_job_free(container_of(w, struct kv_job, work));
	}
}

/* As kill -9: what was not synced is gone. */
void krf_stop(struct krf *f, uint32_t id)
{
	struct krf_member *m = &f->members[id];
	struct krf_record *r, *next;
	struct kv_time t = now(f);

	m->running = false;
	kv_replica_free(m->replica);
	m->replica = NULL;
	drop_jobs(m);
	kv_apply_close(m->apply);
	m->apply = NULL;
	STAILQ_FOREACH_SAFE(r, &m->log, link, next) {
		if (r->batch <= m->synced)
			continue;
		STAILQ_REMOVE(&m->log, r, krf_record, link);
		buf_release(&r->payload);
		mem_free(r);
	}
	for (uint32_t i = 1; i <= f->count; i++)
		if (f->members[i].running)
			kv_replica_peer(f->members[i].replica, id, false, &t);
}

void krf_open(struct krf *f, uint32_t members)
{
	static const uint8_t cluster[KV_CLUSTER_ID_SIZE] = "replica-fixture";
	struct kv_layout_node nodes[KRF_MEMBERS_MAX] = {{0}};
	struct msg text;

	memset(f, 0, sizeof(*f));
	f->count = members;
	f->now_ns = NS_PER_S;
	f->last_call = 0;
	f->retain_bytes = 1024 * 1024;
	STAILQ_INIT(&f->net);
	for (uint32_t i = 0; i < members; i++) {
		nodes[i] = (struct kv_layout_node){.id = i + 1};
		snprintf(nodes[i].address, sizeof(nodes[i].address), "127.0.0.1:%u", 101 + i);
	}
	if (kv_layout_make(&f->layout, cluster, nodes, members, 1, members, &text) != 0)
		abort();
	for (uint32_t id = 1; id <= members; id++) {
		struct krf_member *m = &f->members[id];

		m->f = f;
		m->id = id;
		STAILQ_INIT(&m->log);
		STAILQ_INIT(&m->jobs);
		STAILQ_INIT(&m->answers);
		if (engine_mem_open(&m->engine) != 0)
			abort();
	}
	for (uint32_t id = 1; id <= members; id++)
		krf_start(f, id);
}

static void packets_drop(struct krf *f)
{
	struct krf_packet *p;

	while ((p = STAILQ_FIRST(&f->net)) != NULL) {
		STAILQ_REMOVE_HEAD(&f->net, link);
		buf_release(&p->bytes);
		mem_free(p);
	}
}

void krf_close(struct krf *f)
{
	for (uint32_t id = 1; id <= f->count; id++) {
		struct krf_member *m = &f->members[id];
		struct krf_answer *a;

		if (m->running)
			krf_stop(f, id);
		records_drop(m, UINT64_MAX);
		engine_close(m->engine);
		while ((a = STAILQ_FIRST(&m->answers)) != NULL) {
			STAILQ_REMOVE_HEAD(&m->answers, link);
			buf_release(&a->body);
			mem_free(a);
		}
	}
	packets_drop(f);
	kv_layout_release(&f->layout);
}

/* ---- running ---- */

bool krf_run_job(struct krf *f, uint32_t id)
{
	struct krf_member *m = &f->members[id];
	struct kv_work *w = STAILQ_FIRST(&m->jobs);
	struct kv_time t = now(f);
	struct kv_job *job;

	if (!w)
		return false;
	STAILQ_REMOVE_HEAD(&m->jobs, link);
	job = container_of(w, struct kv_job, work);
	kv_apply_run(job, f->now_ns);
	kv_replica_done(m->replica, job, &t);
	return true;
}

static bool sync_log(struct krf_member *m)
{
	struct krf_record *last = STAILQ_LAST(&m->log, krf_record, link);
	struct kv_time t = now(m->f);

	if (!last || m->hold_log || last->batch <= m->synced)
		return false;
	m->synced = m->batch = last->batch;
	(void)kv_replica_synced(m->replica, m->synced, &t);
	return true;
}

static bool turn(struct krf_member *m)
{
	struct kv_time t = now(m->f);
	bool wanted = kv_replica_wants_turn(m->replica);

	kv_replica_turn(m->replica, &t);
	return wanted && !kv_replica_wants_turn(m->replica);
}

static bool step_members(struct krf *f)
{
	bool any = false;

	for (uint32_t id = 1; id <= f->count; id++) {
		struct krf_member *m = &f->members[id];

		if (!m->running)
			continue;
		any |= turn(m);
		any |= sync_log(m);
		any |= !m->hold_jobs && krf_run_job(f, id);
	}
	return any;
}

void krf_settle(struct krf *f)
{
	for (unsigned i = 0; step_members(f); i++)
		if (i > STEPS_MAX)
			abort();
}

static void deliver(struct krf *f, struct krf_packet *p)
{
	struct krf_member *from = &f->members[p->from], *to = &f->members[p->to];
	struct paxos_message msg;
	struct kv_time t = now(f);

	if (to->running && !from->cut && !to->cut) {
		CHECK_OK(paxos_message_decode(buf_slice(&p->bytes), &msg));
		kv_replica_message(to->replica, &msg, &t);
		paxos_message_release(&msg);
	}
	buf_release(&p->bytes);
	mem_free(p);
}

static uint64_t next_event(const struct krf *f)
{
	const struct krf_packet *p = STAILQ_FIRST(&f->net);
	uint64_t at = p ? p->at_ns : UINT64_MAX;

	for (uint32_t id = 1; id <= f->count; id++) {
		uint64_t d;

		if (!f->members[id].running)
			continue;
		d = kv_replica_deadline(f->members[id].replica);
		if (d < at)
			at = d;
	}
	return at;
}

void krf_pass(struct krf *f, uint64_t ns)
{
	uint64_t end = f->now_ns + ns;

	for (unsigned i = 0;; i++) {
		struct krf_packet *p;
		struct kv_time t;
		uint64_t at;

		krf_settle(f);
		at = next_event(f);
		if (at > end)
			break;
		if (i > STEPS_MAX)
			abort();
		if (at > f->now_ns)
			f->now_ns = at;
		t = now(f);
		while ((p = STAILQ_FIRST(&f->net)) != NULL && p->at_ns <= f->now_ns) {
			STAILQ_REMOVE_HEAD(&f->net, link);
			deliver(f, p);
		}
		for (uint32_t id = 1; id <= f->count; id++)
			if (f->members[id].running &&
			    kv_replica_deadline(f->members[id].replica) <= f->now_ns)
				kv_replica_tick(f->members[id].replica, &t);
	}
	f->now_ns = end;
	krf_settle(f);
}

uint32_t krf_serving(const struct krf *f)
{
	for (uint32_t id = 1; id <= f->count; id++) {
		const struct krf_member *m = &f->members[id];

		if (m->running && !m->cut && kv_replica_serving(m->replica))
			return id;
	}
	return 0;
}

uint32_t krf_elect(struct krf *f)
{
	for (unsigned i = 0; i < 1000 && !krf_serving(f); i++)
		krf_pass(f, 10 * NS_PER_MS);
	if (!krf_serving(f))
		CHECK_FAIL("nobody serves after ten seconds");
	return krf_serving(f);
}

/* ---- snapshots ---- */

static void install_job(struct krf_member *m, enum kv_job_kind kind, struct slice bytes,
			uint64_t slot)
{
	struct kv_job *job = kv_job_new(kind, m->apply);

	job->owner = m->replica;
	job->slot = slot;
	buf_add_slice(&job->bytes, bytes);
	schedule(m, job);
}

uint64_t krf_fetch_begin(struct krf *f, uint32_t id, uint32_t from)
{
	struct krf_member *m = &f->members[id];
	struct engine_snapshot *s;
	struct buf chunk = BUF_INIT;
	uint64_t slot;

	CHECK_OK(engine_snapshot_new(kv_apply_engine(f->members[from].apply), &s));
	slot = engine_snapshot_applied(s);
	install_job(m, KV_JOB_INSTALL_BEGIN, (struct slice){0}, 0);
	for (;;) {
		CHECK_OK(engine_snapshot_next(s, 256, &chunk));
		if (chunk.len == 0)
			break;
		install_job(m, KV_JOB_INSTALL_CHUNK, buf_slice(&chunk), 0);
		buf_reset(&chunk);
	}
	install_job(m, KV_JOB_INSTALL_FINISH, (struct slice){0}, slot);
	engine_snapshot_free(s);
	buf_release(&chunk);
	return slot;
}

void krf_fetch_end(struct krf *f, uint32_t id, uint64_t slot)
{
	struct kv_time t = now(f);

	kv_replica_installed(f->members[id].replica, slot, &t);
}

void krf_fetch(struct krf *f, uint32_t id)
{
	uint32_t from = f->members[id].snapshot_from;
	uint64_t slot;

	CHECK_TRUE(from != 0);
	f->members[id].snapshot_from = 0;
	slot = krf_fetch_begin(f, id, from);
	krf_settle(f);
	krf_fetch_end(f, id, slot);
}

/* ---- calls ---- */

struct slice krf_key(const char *name, uint8_t out[64])
{
	size_t len = strlen(name);

	memset(out, 0, 11);
	out[9] = 5;
	out[10] = 'T';
	memcpy(out + 11, name, len);
	return slice_of(out, 11 + len);
}

static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)key;
	(void)to;
	*group = KRF_GROUP;
	return 0;
}

static struct kv_caller new_caller(struct krf *f, uint8_t type)
{
	return (struct kv_caller){.conn = 1, .call = ++f->last_call, .type = type};
}

uint64_t krf_exec_bytes(struct krf *f, uint32_t id, struct slice command)
{
	struct kv_caller c = new_caller(f, KV_EXEC);
	struct kv_time t = now(f);

	kv_replica_exec(f->members[id].replica, &c, command, &t);
	return c.call;
}

static uint64_t exec_mini(struct krf *f, uint32_t id, uint64_t sequence, const struct txn_mini *m)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct tsm_request q = {.client = CLIENT,
				.sequence = sequence,
				.mark = 0,
				.age = f->now_ns,
				.home = m->muts[0].key,
				.parts = parts};
	struct buf bytes = BUF_INIT;
	uint64_t call;

	if (txn_split(m, route, NULL, parts, &q.part_count) != 0)
		abort();
	tsm_request_encode(&q, &bytes);
	call = krf_exec_bytes(f, id, buf_slice(&bytes));
	txn_parts_release(parts, q.part_count);
	buf_release(&bytes);
	return call;
}

uint64_t krf_put_as(struct krf *f, uint32_t id, uint64_t sequence, const char *key,
		    const char *value)
{
	struct txn_mini m;
	uint8_t k[64];
	uint64_t call;

	txn_mini_init(&m);
	txn_put(&m, krf_key(key, k), slice_str(value));
	call = exec_mini(f, id, sequence, &m);
	txn_mini_release(&m);
	return call;
}

uint64_t krf_put(struct krf *f, uint32_t id, const char *key, const char *value)
{
	return krf_put_as(f, id, ++f->sequence, key, value);
}

uint64_t krf_del(struct krf *f, uint32_t id, const char *key)
{
	struct txn_mini m;
	uint8_t k[64];
	uint64_t call;

	txn_mini_init(&m);
	txn_delete(&m, krf_key(key, k));
	call = exec_mini(f, id, ++f->sequence, &m);
	txn_mini_release(&m);
	return call;
}

uint64_t krf_get(struct krf *f, uint32_t id, const char *key)
{
	struct kv_caller c = new_caller(f, KV_READ);
	struct txn_part parts[TXN_GROUPS_MAX];
	struct kv_time t = now(f);
	struct txn_mini m;
	uint32_t n = 0;
	uint8_t k[64];

	txn_mini_init(&m);
	txn_get(&m, krf_key(key, k));
	if (txn_split(&m, route, NULL, parts, &n) != 0 || n != 1)
		abort();
	kv_replica_read(f->members[id].replica, &c, buf_slice(&parts[0].body), &t);
	txn_parts_release(parts, n);
	txn_mini_release(&m);
	return c.call;
}

uint64_t krf_close_client(struct krf *f, uint32_t id, uint64_t client)
{
	struct kv_caller c = new_caller(f, KV_ADMIN);
	struct buf command = BUF_INIT;
	struct kv_time t = now(f);

	tsm_command_close(&command, client);
	kv_replica_admin(f->members[id].replica, &c, buf_slice(&command), &t);
	buf_release(&command);
	return c.call;
}

static const struct krf_answer *find_answer(struct krf *f, uint64_t call)
{
	for (uint32_t id = 1; id <= f->count; id++) {
		const struct krf_answer *a, *found = NULL;

		STAILQ_FOREACH(a, &f->members[id].answers, link) {
			if (a->caller.call != call)
				continue;
			if (found)
				CHECK_FAIL("call %llu has two answers", (unsigned long long)call);
			found = a;
		}
		if (found)
			return found;
	}
	return NULL;
}

int krf_answer(struct krf *f, uint64_t call, struct buf *value)
{
	const struct krf_answer *a = find_answer(f, call);
	struct txn_mini shape;
	struct txn_result r;
	int err;

	if (!a)
		return 1;
	if (a->err || a->caller.type == KV_ADMIN)
		return a->err;
	txn_mini_init(&shape);
	txn_result_init(&r);
	if (a->caller.type == KV_READ)
		txn_get(&shape, slice_str("k"));
	else
		txn_put(&shape, slice_str("k"), slice_str("v"));
	txn_result_prepare(&r, &shape);
	err = txn_result_merge(&r, buf_slice(&a->body));
	if (!err)
		err = r.status;
	if (!err && a->caller.type == KV_READ)
		err = r.reads[0].value.status;
	if (!err && value && buf_set(value, r.reads[0].value.value) != 0)
		abort();
	txn_result_release(&r);
	txn_mini_release(&shape);
	return err;
}

bool krf_equal(struct krf *f)
{
	uint32_t first = 0, crc;
	uint64_t slot = 0;

	krf_pass(f, 500 * NS_PER_MS);
	for (uint32_t id = 1; id <= f->count; id++) {
		struct krf_member *m = &f->members[id];

		if (!m->running)
			continue;
		if (engine_checksum(kv_apply_engine(m->apply), &crc) != 0)
			return false;
		if (slot && (crc != first || kv_apply_applied(m->apply) != slot))
			return false;
		first = crc;
		slot = kv_apply_applied(m->apply);
	}
	return slot > 0;
}
