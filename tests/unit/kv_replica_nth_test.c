/* A replica, its apply side and the engine in memory: every allocation fails once. What was asked is
 * answered with ERR_NOMEM, or done, or lost and done when it is asked again; an entry that cannot be
 * executed ends the process, with a line that says so. In the end all replicas are equal.
 *
 * Linked with --wrap for kv/replica.h and kv/apply.h: the fixture comes by here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/kv_replica_fixture.h"

static struct fault *fault;
static struct krf f;

static void end_process(int err, const char *what)
{
	if (err != ERR_NOMEM)
		return;
	CHECK_TRUE(fault && fault->fired);
	fprintf(stderr, "out of memory, says %s\n", what);
	abort();
}

FAULT_WRAP(fault, kv_replica_message,
     (struct kv_replica * r, const struct paxos_message *m, const struct kv_time *t), (r, m, t))
FAULT_WRAP(fault, kv_replica_tick, (struct kv_replica * r, const struct kv_time *t), (r, t))
FAULT_WRAP(fault, kv_replica_peer, (struct kv_replica * r, uint32_t n, bool up, const struct kv_time *t),
     (r, n, up, t))
FAULT_WRAP(fault, kv_replica_done, (struct kv_replica * r, struct kv_job *job, const struct kv_time *t),
     (r, job, t))
FAULT_WRAP(fault, kv_replica_turn, (struct kv_replica * r, const struct kv_time *t), (r, t))
FAULT_WRAP(fault, kv_replica_installed, (struct kv_replica * r, uint64_t slot, const struct kv_time *t),
     (r, slot, t))
FAULT_WRAP(fault, kv_replica_durable, (struct kv_replica * r, uint64_t slot, const struct kv_time *t),
     (r, slot, t))
FAULT_WRAP(fault, kv_replica_exec,
     (struct kv_replica * r, const struct kv_caller *c, struct slice s, const struct kv_time *t),
     (r, c, s, t))
FAULT_WRAP(fault, kv_replica_read,
     (struct kv_replica * r, const struct kv_caller *c, struct slice s, const struct kv_time *t),
     (r, c, s, t))
FAULT_WRAP(fault, kv_replica_watch,
     (struct kv_replica * r, const struct kv_caller *c, struct slice s, const struct kv_time *t),
     (r, c, s, t))
FAULT_WRAP(fault, kv_replica_admin,
     (struct kv_replica * r, const struct kv_caller *c, struct slice s, const struct kv_time *t),
     (r, c, s, t))
FAULT_WRAP(fault, kv_apply_run, (struct kv_job * job, uint64_t now_ns), (job, now_ns))

FAULT_WRAP_RESULT(fault, bool, kv_replica_synced,
		  (struct kv_replica * r, uint64_t batch, const struct kv_time *t), (r, batch, t))

/* A start that fails is told, and the process ends. */
int __real_kv_replica_restore(struct kv_replica *r, const struct wal_record *rec);
int __wrap_kv_replica_restore(struct kv_replica *r, const struct wal_record *rec);
int __wrap_kv_replica_restore(struct kv_replica *r, const struct wal_record *rec)
{
	int err;

	fault_arm(fault);
	err = __real_kv_replica_restore(r, rec);
	fault_disarm(fault);
	end_process(err, "restore");
	return err;
}

int __real_kv_replica_start(struct kv_replica *r, const struct kv_time *t);
int __wrap_kv_replica_start(struct kv_replica *r, const struct kv_time *t);
int __wrap_kv_replica_start(struct kv_replica *r, const struct kv_time *t)
{
	int err;

	fault_arm(fault);
	err = __real_kv_replica_start(r, t);
	fault_disarm(fault);
	end_process(err, "start");
	return err;
}

int __real_kv_apply_open(const struct kv_apply_config *c, struct kv_apply **out, struct msg *m);
int __wrap_kv_apply_open(const struct kv_apply_config *c, struct kv_apply **out, struct msg *m);
int __wrap_kv_apply_open(const struct kv_apply_config *c, struct kv_apply **out, struct msg *m)
{
	int err;

	fault_arm(fault);
	err = __real_kv_apply_open(c, out, m);
	fault_disarm(fault);
	if (err == ERR_NOMEM) {
		CHECK_TRUE(fault && fault->fired);
		CHECK_CONTAINS(m->text, "out of memory");
		err = __real_kv_apply_open(c, out, m);
	}
	return err;
}

/* ---- a client that does not give up ---- */

static bool may_try_again(int err)
{
	return err == 1 || err == ERR_NOT_LEADER || err == ERR_BUSY ||
	       (err == ERR_NOMEM && fault->fired);
}

static void put(const char *key, const char *value)
{
	uint64_t sequence = ++f.sequence;
	int err = 1;

	for (unsigned tries = 0; tries < 20 && may_try_again(err); tries++) {
		uint64_t call = krf_put_as(&f, krf_elect(&f), sequence, key, value);

		krf_pass(&f, 20 * NS_PER_MS);
		err = krf_answer(&f, call, NULL);
		if (err == 1)
			krf_pass(&f, NS_PER_S);
	}
	CHECK_OK(err);
}

static void get(const char *key, const char *want)
{
	struct buf v = BUF_INIT;
	int err = 1;

	for (unsigned tries = 0; tries < 20 && may_try_again(err); tries++) {
		uint64_t call = krf_get(&f, krf_elect(&f), key);

		krf_pass(&f, 20 * NS_PER_MS);
		err = krf_answer(&f, call, &v);
	}
	if (!want)
		CHECK_ERR(err, ERR_NOT_FOUND);
	else
		CHECK_OK(err);
	if (want)
		CHECK_SLICE_EQ(buf_slice(&v), slice_str(want));
	buf_release(&v);
}

static void close_client(uint64_t client)
{
	int err = 1;

	for (unsigned tries = 0; tries < 20 && may_try_again(err); tries++) {
		uint64_t call = krf_close_client(&f, krf_elect(&f), client);

		krf_pass(&f, 20 * NS_PER_MS);
		err = krf_answer(&f, call, NULL);
	}
	CHECK_OK(err);
}

static uint64_t watch(const char *key, uint64_t version)
{
	struct kv_caller c = {.conn = 1, .call = ++f.last_call, .type = KV_WATCH};
	struct kv_time t = {f.now_ns, f.now_ns};
	uint8_t k[64];
	struct kv_watch_request q = {version, 20 * NS_PER_S, krf_key(key, k)};
	struct buf b = BUF_INIT;

	kv_watch_request_encode(&b, &q);
	kv_replica_watch(f.members[krf_elect(&f)].replica, &c, buf_slice(&b), &t);
	buf_release(&b);
	krf_pass(&f, 20 * NS_PER_MS);
	return c.call;
}

/* 1: it waits. */
static int watch_answer(uint64_t call, uint64_t *version)
{
	const struct krf_answer *a;

	for (uint32_t id = 1; id <= f.count; id++)
		STAILQ_FOREACH(a, &f.members[id].answers, link)
			if (a->caller.call == call)
				return a->err ? a->err
					      : kv_watch_reply_decode(buf_slice(&a->body), version);
	return 1;
}

/* Until it waits for that version, or there is another. */
static int begin_watch(const char *key, uint64_t version, uint64_t *call, uint64_t *now)
{
	int err = ERR_BUSY;

	for (unsigned tries = 0; tries < 20 && err != 1 && may_try_again(err); tries++) {
		*call = watch(key, version);
		err = watch_answer(*call, now);
	}
	return err;
}

/* ---- stories ---- */

static void watching(struct fault *the_fault)
{
	uint64_t call = 0, first = 0, now = 0;
	int err;

	fault = the_fault;
	krf_open(&f, 1);
	put("a", "1");
	CHECK_OK(begin_watch("a", 0, &call, &first));
	CHECK_INT_EQ(begin_watch("a", first, &call, &now), 1);
	put("a", "2");
	err = watch_answer(call, &now);
	if (err && err != 1 && may_try_again(err)) /* its look had no memory */
		err = begin_watch("a", first, &call, &now);
	CHECK_OK(err);
	CHECK_TRUE(now > first);
	fault = NULL;
	krf_close(&f);
}

static void alone(struct fault *the_fault)
{
	fault = the_fault;
	krf_open(&f, 1);
	put("a", "1");
	put("b", "a longer value, so that the buffers have to grow for it at some time");
	get("a", "1");
	get("c", NULL);
	close_client(99);
	krf_stop(&f, 1);
	krf_start(&f, 1);
	get("b", "a longer value, so that the buffers have to grow for it at some time");
	put("a", "2");
	get("a", "2");
	fault = NULL;
	CHECK_TRUE(krf_equal(&f));
	krf_close(&f);
}

static void three(struct fault *the_fault)
{
	uint32_t leader;

	fault = the_fault;
	krf_open(&f, 3);
	put("a", "1");
	leader = krf_elect(&f);
	krf_stop(&f, leader);
	put("b", "2");
	get("a", "1");
	krf_start(&f, leader);
	put("c", "3");
	get("b", "2");
	fault = NULL;
	krf_pass(&f, 2 * NS_PER_S);
	CHECK_TRUE(krf_equal(&f));
	krf_close(&f);
}

static void make_durable(uint32_t id)
{
	struct krf_member *m = &f.members[id];
	struct kv_time t = {f.now_ns, f.now_ns};

	CHECK_OK(engine_flush(m->engine));
	kv_replica_durable(m->replica, engine_durable(kv_apply_engine(m->apply)), &t);
}

/* One falls behind the others' logs and installs a snapshot. */
static void snapshot(struct fault *the_fault)
{
	static char value[1500];
	uint32_t id, away;

	memset(value, 'x', sizeof(value) - 1);
	fault = NULL;
	krf_open(&f, 3);
	for (uint32_t i = 1; i <= 3; i++)
		krf_stop(&f, i);
	f.retain_bytes = 4096;
	for (uint32_t i = 1; i <= 3; i++)
		krf_start(&f, i);
	fault = the_fault;
	id = krf_elect(&f);
	away = id % 3 + 1;
	f.members[away].cut = true;
	for (unsigned i = 0; i < 12; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i % 3);
		put(key, value);
	}
	for (uint32_t i = 1; i <= 3; i++)
		make_durable(i);
	krf_pass(&f, 100 * NS_PER_MS);
	f.members[away].cut = false;
	for (unsigned again = 0; again < 3 && !krf_equal(&f); again++) {
		for (unsigned i = 0; i < 100 && !f.members[away].snapshot_from; i++)
			krf_pass(&f, 50 * NS_PER_MS);
		if (f.members[away].snapshot_from)
			krf_fetch(&f, away);
	}
	put("k", "last");
	fault = NULL;
	CHECK_TRUE(krf_equal(&f));
	krf_close(&f);
}

static void teardown(void)
{
	fault = NULL;
	fault_teardown();
}

static void a_watch(void)
{
	fault_every_forked("replica: a watch", watching, NULL, NULL);
}

static void a_single_replica(void)
{
	fault_every_forked("replica: alone, restart", alone, NULL, NULL);
}

static void three_replicas(void)
{
	fault_every_forked("three replicas: fail over", three, NULL, NULL);
}

static void a_snapshot(void)
{
	fault_every_forked("three replicas: snapshot", snapshot, NULL, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, teardown, a_single_replica),
	CHECK_TEST_WITH(NULL, teardown, a_watch),
	CHECK_TEST_WITH(NULL, teardown, three_replicas),
	CHECK_TEST_WITH(NULL, teardown, a_snapshot),
};
CHECK_MAIN(tests)
