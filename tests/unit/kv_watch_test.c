/* Watches at replicas of one group, on virtual time: who is woken, by what, and who is not. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_replica_fixture.h"
#include "txn/tsm_internal.h"

#define CLIENT	    9u
#define OTHER_GROUP 2u

static struct krf f;
static uint64_t sequence;

static void one(void)
{
	krf_open(&f, 1);
}

static void three(void)
{
	krf_open(&f, 3);
}

static void teardown(void)
{
	krf_close(&f);
}

static struct kv_time now(void)
{
	return (struct kv_time){f.now_ns, f.now_ns + 1000 * NS_PER_S};
}

/* ---- calls ---- */

static uint64_t watch_bytes(uint32_t id, uint64_t conn, struct slice body)
{
	struct kv_caller c = {.conn = conn, .call = ++f.last_call, .type = KV_WATCH};
	struct kv_time t = now();

	kv_replica_watch(f.members[id].replica, &c, body, &t);
	return c.call;
}

static uint64_t watch_for(uint32_t id, uint64_t conn, const char *key, uint64_t version,
			  uint64_t wait_ns)
{
	uint8_t k[64];
	struct kv_watch_request q = {version, wait_ns, krf_key(key, k)};
	struct buf body = BUF_INIT;
	uint64_t call;

	kv_watch_request_encode(&body, &q);
	call = watch_bytes(id, conn, buf_slice(&body));
	buf_release(&body);
	return call;
}

/* Begun, and parked if the version is that. */
static uint64_t watch(uint32_t id, const char *key, uint64_t version)
{
	uint64_t call = watch_for(id, 1, key, version, 20 * NS_PER_S);

	krf_settle(&f);
	return call;
}

/* 1: there is no answer; else the error, and the version. */
static int answer(uint64_t call, uint64_t *version)
{
	int err = 1;
	uint64_t unused;

	for (uint32_t id = 1; id <= f.count; id++) {
		const struct krf_answer *a;

		STAILQ_FOREACH(a, &f.members[id].answers, link) {
			if (a->caller.call != call)
				continue;
			CHECK_INT_EQ(err, 1); /* one answer to one call */
			err = a->err;
			if (!err)
				CHECK_OK(kv_watch_reply_decode(buf_slice(&a->body),
							       version ? version : &unused));
		}
	}
	return err;
}

static uint64_t answered(uint64_t call)
{
	uint64_t version = UINT64_MAX;

	CHECK_OK(answer(call, &version));
	return version;
}

static uint64_t version_of(uint32_t id, const char *key)
{
	uint64_t call = watch(id, key, UINT64_MAX);

	krf_pass(&f, 5 * NS_PER_MS);
	return answered(call);
}

/* Keys that begin with '2' are another group's. */
static int route(void *ctx, struct slice key, struct slice to, uint32_t *group)
{
	(void)ctx;
	(void)to;
	*group = key.p[TXN_KEY_HEAD] == '2' ? OTHER_GROUP : KRF_GROUP;
	return 0;
}

static uint64_t exec(uint32_t id, struct txn_mini *m)
{
	struct txn_part parts[TXN_GROUPS_MAX];
	struct tsm_request q = {.client = CLIENT,
				.sequence = ++sequence,
				.age = f.now_ns,
				.home = m->muts[0].key,
				.parts = parts};
	struct buf bytes = BUF_INIT;
	uint64_t call;

	CHECK_OK(txn_split(m, route, NULL, parts, &q.part_count));
	tsm_request_encode(&q, &bytes);
	call = krf_exec_bytes(&f, id, buf_slice(&bytes));
	txn_parts_release(parts, q.part_count);
	buf_release(&bytes);
	txn_mini_release(m);
	krf_pass(&f, 5 * NS_PER_MS);
	return call;
}

static void put(uint32_t id, const char *key, const char *value)
{
	uint64_t call = krf_put(&f, id, key, value);

	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_OK(krf_answer(&f, call, NULL));
}

/* ---- what wakes ---- */

static void another_version_is_answered_at_once(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call, v;

	put(id, "a", "1");
	call = watch(id, "a", 0);
	v = answered(call);
	CHECK_TRUE(v != 0);
	CHECK_U64_EQ(answered(watch(id, "a", v + 1)), v);
	CHECK_U64_EQ(answered(watch(id, "absent", 5)), 0);
}

static void a_put_wakes(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call = watch(id, "a", 0), v;

	CHECK_INT_EQ(answer(call, &v), 1);
	put(id, "a", "1");
	v = answered(call);
	CHECK_U64_EQ(v, version_of(id, "a"));
	call = watch(id, "a", v);
	put(id, "a", "1");
	CHECK_TRUE(answered(call) > v);
}

static void a_delete_wakes(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call;

	put(id, "a", "1");
	call = watch(id, "a", version_of(id, "a"));
	CHECK_INT_EQ(answer(call, NULL), 1);
	CHECK_TRUE(krf_del(&f, id, "a") > 0);
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_U64_EQ(answered(call), 0);
}

static void a_patch_wakes(void)
{
	uint32_t id = krf_elect(&f);
	struct txn_mini m;
	uint64_t call, v;
	uint8_t k[64];

	put(id, "a", "1");
	v = version_of(id, "a");
	call = watch(id, "a", v);
	txn_mini_init(&m);
	txn_patch(&m, krf_key("a", k), 3, slice_str("x"));
	exec(id, &m);
	CHECK_TRUE(answered(call) > v);
}

static void a_range_delete_wakes(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t inside, beside, before;
	struct txn_mini m;
	uint8_t from[64], to[64];

	put(id, "b1", "1");
	put(id, "c", "1");
	inside = watch(id, "b1", version_of(id, "b1"));
	beside = watch(id, "c", version_of(id, "c"));
	before = watch(id, "b2", 0);
	txn_mini_init(&m);
	txn_delete_range(&m, krf_key("b", from), krf_key("c", to));
	exec(id, &m);
	CHECK_U64_EQ(answered(inside), 0);
	CHECK_INT_EQ(answer(beside, NULL), 1);
	CHECK_INT_EQ(answer(before, NULL), 1); /* absent, and still is */
}

static void writes_elsewhere_wake_nobody(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call;

	put(id, "a", "1");
	call = watch(id, "a", version_of(id, "a"));
	put(id, "ab", "1");
	put(id, "b", "1");
	krf_pass(&f, NS_PER_S);
	CHECK_INT_EQ(answer(call, NULL), 1);
}

static void all_who_watch_are_woken(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t first, second, third, b, v;

	put(id, "a", "1");
	v = version_of(id, "a");
	first = watch(id, "a", v);
	second = watch(id, "a", v);
	b = watch(id, "b", 0);
	put(id, "a", "2");
	CHECK_U64_EQ(answered(first), answered(second));
	CHECK_INT_EQ(answer(b, NULL), 1);
	third = watch(id, "a", answered(first));
	CHECK_INT_EQ(answer(third, NULL), 1);
	put(id, "a", "3");
	CHECK_TRUE(answered(third) > answered(first));
	put(id, "b", "1");
	CHECK_TRUE(answered(b) != 0);
}

/* Nothing is lost between the look and the parking: the write is applied right behind the read. */
static void a_write_behind_the_look_wakes(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call, write;

	f.members[id].hold_jobs = true;
	call = watch(id, "a", 0);
	write = krf_put(&f, id, "a", "1");
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_INT_EQ(answer(call, NULL), 1);
	f.members[id].hold_jobs = false;
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_OK(krf_answer(&f, write, NULL));
	CHECK_TRUE(answered(call) != 0);
}

/* A look that is under way may see what is older than the second call; so it is not for that one. */
static void each_look_is_as_new_as_its_call(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t v, old, young;

	put(id, "a", "1");
	v = version_of(id, "a");
	f.members[id].hold_jobs = true;
	old = watch(id, "a", v + 1);
	(void)krf_put(&f, id, "a", "2");
	krf_pass(&f, 5 * NS_PER_MS);
	while (answer(old, NULL) == 1) /* up to the look, and not to the write */
		CHECK_TRUE(krf_run_job(&f, id));
	CHECK_U64_EQ(answered(old), v);
	young = watch(id, "a", v);
	f.members[id].hold_jobs = false;
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_TRUE(answered(young) > v);
}

/* What a look sees may be older than a call that came when it was under way. */
static void who_comes_late_waits_for_the_next_look(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t v, first, second;

	put(id, "a", "1");
	v = version_of(id, "a");
	f.members[id].hold_jobs = true;
	first = watch(id, "a", v + 1);
	second = watch(id, "a", v + 1);
	while (answer(first, NULL) == 1)
		CHECK_TRUE(krf_run_job(&f, id));
	CHECK_INT_EQ(answer(second, NULL), 1);
	f.members[id].hold_jobs = false;
	krf_settle(&f);
	CHECK_U64_EQ(answered(first), v);
	CHECK_U64_EQ(answered(second), v);
}

/* ---- two-phase commit ---- */

static void message(uint32_t id, const struct message *m)
{
	struct buf b = BUF_INIT;

	f.others = true;
	txn__enc_message(&b, m);
	kv_replica_txn(f.members[id].replica, buf_slice(&b));
	buf_release(&b);
	krf_pass(&f, 20 * NS_PER_MS);
}

/* Group 2 coordinates: this group's part is prepared, or decided. */
static void prepare(uint32_t id, const char *key)
{
	struct message p = {.kind = MSG_PREPARE,
			    .from = OTHER_GROUP,
			    .id = {.client = CLIENT, .sequence = ++sequence},
			    .age = f.now_ns};
	struct txn_part parts[TXN_GROUPS_MAX];
	uint32_t n = 0;
	struct txn_mini m;
	uint8_t k[64], k2[64];

	txn_mini_init(&m);
	txn_put(&m, krf_key(key, k), slice_str("prepared"));
	txn_put(&m, krf_key("2", k2), slice_str("prepared"));
	CHECK_OK(txn_split(&m, route, NULL, parts, &n));
	CHECK_U64_EQ(n, 2);
	p.body = buf_slice(&parts[parts[0].group == KRF_GROUP ? 0 : 1].body);
	message(id, &p);
	txn_parts_release(parts, n);
	txn_mini_release(&m);
}

static void decide(uint32_t id, bool commit)
{
	struct message d = {.kind = MSG_DECISION,
			    .from = OTHER_GROUP,
			    .id = {.client = CLIENT, .sequence = sequence},
			    .commit = commit};

	d.stamp = now().wall_ns + NS_PER_S;
	message(id, &d);
}

static void a_commit_of_two_groups_wakes(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t parked, later, v;

	put(id, "a", "1");
	v = version_of(id, "a");
	parked = watch(id, "a", v);
	prepare(id, "a");
	later = watch(id, "a", v); /* its look waits for the decision */
	krf_pass(&f, 20 * NS_PER_MS);
	CHECK_INT_EQ(answer(parked, NULL), 1);
	CHECK_INT_EQ(answer(later, NULL), 1);
	decide(id, true);
	CHECK_TRUE(answered(parked) > v);
	CHECK_U64_EQ(answered(later), answered(parked));
}

static void an_abort_of_two_groups_wakes_nobody(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t parked, later, v;

	put(id, "a", "1");
	v = version_of(id, "a");
	parked = watch(id, "a", v);
	prepare(id, "a");
	later = watch(id, "a", v);
	decide(id, false);
	krf_pass(&f, NS_PER_S);
	CHECK_INT_EQ(answer(parked, NULL), 1);
	CHECK_INT_EQ(answer(later, NULL), 1);
	put(id, "a", "2");
	CHECK_TRUE(answered(parked) > v && answered(later) > v);
}

/* ---- what ends ---- */

static void the_wait_ends(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t brief = watch_for(id, 1, "a", 0, 100 * NS_PER_MS);
	uint64_t once = watch_for(id, 1, "a", 0, 0);
	uint64_t for_ever = watch_for(id, 1, "a", 0, UINT64_MAX);

	krf_settle(&f);
	CHECK_ERR(answer(once, NULL), ERR_TIMEOUT); /* looked at, and not parked */
	krf_pass(&f, 99 * NS_PER_MS);
	CHECK_INT_EQ(answer(brief, NULL), 1);
	krf_pass(&f, 2 * NS_PER_MS);
	CHECK_ERR(answer(brief, NULL), ERR_TIMEOUT);
	krf_pass(&f, KV_WATCH_NS_MAX - NS_PER_S);
	CHECK_INT_EQ(answer(for_ever, NULL), 1);
	krf_pass(&f, NS_PER_S);
	CHECK_ERR(answer(for_ever, NULL), ERR_TIMEOUT);
	put(id, "a", "1"); /* to nobody */
}

static void a_wait_ends_behind_a_lock(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call;

	put(id, "a", "1");
	prepare(id, "a");
	call = watch_for(id, 1, "a", 1, 300 * NS_PER_MS);
	krf_pass(&f, 290 * NS_PER_MS);
	CHECK_INT_EQ(answer(call, NULL), 1);
	krf_pass(&f, 20 * NS_PER_MS);
	CHECK_ERR(answer(call, NULL), ERR_TIMEOUT);
	decide(id, true); /* the look ends, for nobody */
	call = watch(id, "a", 1);
	krf_pass(&f, 20 * NS_PER_MS);
	CHECK_TRUE(answered(call) > 1);
}

static void a_closed_connection_is_forgotten(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t gone = watch_for(id, 5, "a", 0, 20 * NS_PER_S), there = watch(id, "a", 0);
	uint64_t looking;

	kv_replica_forget(f.members[id].replica, 5);
	f.members[id].hold_jobs = true;
	looking = watch_for(id, 5, "b", 1, 20 * NS_PER_S);
	krf_settle(&f);
	kv_replica_forget(f.members[id].replica, 5);
	f.members[id].hold_jobs = false;
	put(id, "a", "1");
	CHECK_TRUE(answered(there) != 0);
	krf_pass(&f, 30 * NS_PER_S);
	CHECK_INT_EQ(answer(gone, NULL), 1);
	CHECK_INT_EQ(answer(looking, NULL), 1);
}

static void too_many_are_told_busy(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t last = 0;

	for (uint32_t i = 0; i < KV_WATCHES_MAX; i++)
		last = watch_for(id, 3, "a", 0, 20 * NS_PER_S);
	CHECK_ERR(answer(watch_for(id, 4, "a", 0, 20 * NS_PER_S), NULL), ERR_BUSY);
	krf_settle(&f);
	CHECK_INT_EQ(answer(last, NULL), 1);
	kv_replica_forget(f.members[id].replica, 3);
	CHECK_INT_EQ(answer(watch(id, "a", 0), NULL), 1);
}

static void nonsense_is_refused(void)
{
	uint32_t id = krf_elect(&f);
	struct kv_watch_request q = {.version = 1};
	struct buf b = BUF_INIT;

	CHECK_ERR(answer(watch_bytes(id, 1, slice_str("")), NULL), ERR_PROTO);
	CHECK_ERR(answer(watch_bytes(id, 1, slice_str("nonsense")), NULL), ERR_PROTO);
	kv_watch_request_encode(&b, &q); /* no key */
	CHECK_ERR(answer(watch_bytes(id, 1, buf_slice(&b)), NULL), ERR_PROTO);
	buf_release(&b);
}

static void followers_send_away_watches(void)
{
	uint32_t id = krf_elect(&f);

	CHECK_ERR(answer(watch(id % 3 + 1, "a", 0), NULL), ERR_NOT_LEADER);
}

static void a_leader_that_goes_sends_away(void)
{
	uint32_t id = krf_elect(&f), next;
	uint64_t parked = watch(id, "a", 0), new, v;
	struct kv_time t = now();

	kv_replica_hand_over(f.members[id].replica, &t);
	krf_pass(&f, NS_PER_S);
	CHECK_ERR(answer(parked, NULL), ERR_NOT_LEADER);
	next = krf_serving(&f);
	CHECK_TRUE(next != 0 && next != id);
	new = watch(next, "a", 0);
	CHECK_INT_EQ(answer(new, NULL), 1);
	put(next, "a", "1");
	v = answered(new);
	CHECK_U64_EQ(v, version_of(next, "a"));
}

static bool any_answer(uint64_t call)
{
	return answer(call, NULL) != 1;
}

/* Cut off, it cannot know of writes: it answers none of its watches with a version of its own. */
static void one_that_is_cut_off_answers_nothing_old(void)
{
	uint32_t id = krf_elect(&f), next;
	uint64_t parked, new, v = 0;

	put(id, "a", "1");
	parked = watch(id, "a", version_of(id, "a"));
	f.members[id].cut = true;
	next = krf_elect(&f);
	CHECK_TRUE(next != id);
	put(next, "a", "2");
	new = watch_for(id, 1, "a", 0, 20 * NS_PER_S);
	krf_pass(&f, 3 * NS_PER_S);
	CHECK_ERR(answer(parked, NULL), ERR_NOT_LEADER);
	CHECK_TRUE(!any_answer(new) || answer(new, &v) == ERR_NOT_LEADER);
	f.members[id].cut = false;
	krf_pass(&f, NS_PER_S);
	CHECK_ERR(answer(new, NULL), ERR_NOT_LEADER);
}

static void a_refusing_replica_answers_watches(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t parked = watch(id, "a", 0);

	kv_replica_refuse(f.members[id].replica, ERR_AMNESIA, "test");
	CHECK_ERR(answer(parked, NULL), ERR_AMNESIA);
	CHECK_ERR(answer(watch(id, "a", 0), NULL), ERR_AMNESIA);
}

#define T1(fn) CHECK_TEST_WITH(one, teardown, fn)
#define T3(fn) CHECK_TEST_WITH(three, teardown, fn)

static const struct check_test tests[] = {
	T1(another_version_is_answered_at_once),
	T1(a_put_wakes),
	T1(a_delete_wakes),
	T1(a_patch_wakes),
	T1(a_range_delete_wakes),
	T1(writes_elsewhere_wake_nobody),
	T1(all_who_watch_are_woken),
	T1(a_write_behind_the_look_wakes),
	T1(each_look_is_as_new_as_its_call),
	T1(who_comes_late_waits_for_the_next_look),
	T1(a_commit_of_two_groups_wakes),
	T1(an_abort_of_two_groups_wakes_nobody),
	T1(the_wait_ends),
	T1(a_wait_ends_behind_a_lock),
	T1(a_closed_connection_is_forgotten),
	T1(too_many_are_told_busy),
	T1(nonsense_is_refused),
	T3(all_who_watch_are_woken),
	T3(a_commit_of_two_groups_wakes),
	T3(followers_send_away_watches),
	T3(a_leader_that_goes_sends_away),
	T3(one_that_is_cut_off_answers_nothing_old),
	T3(a_refusing_replica_answers_watches),
};

CHECK_MAIN(tests)
