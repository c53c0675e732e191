/* Replicas of one group, loop side and apply side together, on virtual time. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_replica_fixture.h"

static struct krf f;

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

static void check_put(uint32_t id, const char *key, const char *value)
{
	uint64_t call = krf_put(&f, id, key, value);

	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_OK(krf_answer(&f, call, NULL));
}

static void check_get(uint32_t id, const char *key, const char *want)
{
	struct buf v = BUF_INIT;
	uint64_t call = krf_get(&f, id, key);
	int err;

	krf_pass(&f, 5 * NS_PER_MS);
	err = krf_answer(&f, call, &v);
	if (!err && !slice_eq(buf_slice(&v), slice_str(want)))
		err = ERR_CORRUPT;
	buf_release(&v);
	CHECK_OK(err);
}

static uint32_t other(uint32_t id)
{
	return id % f.count + 1;
}

/* ---- alone ---- */

static void a_single_replica_writes_and_reads(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call;

	check_put(id, "a", "1");
	check_put(id, "a", "2");
	check_get(id, "a", "2");
	call = krf_get(&f, id, "absent");
	krf_settle(&f);
	CHECK_ERR(krf_answer(&f, call, NULL), ERR_NOT_FOUND);
}

static void a_single_replica_restarts_from_its_log(void)
{
	uint32_t id = krf_elect(&f);

	check_put(id, "a", "1");
	krf_stop(&f, 1);
	krf_start(&f, 1);
	check_get(krf_elect(&f), "a", "1");
	krf_stop(&f, 1);
	engine_close(f.members[1].engine); /* never flushed: the log has all of it */
	CHECK_OK(engine_mem_open(&f.members[1].engine));
	krf_start(&f, 1);
	check_get(krf_elect(&f), "a", "1");
}

/* "An acceptor MUST have its ... accepted entry on disk before it answers": and so the caller. */
static void nothing_is_answered_before_it_is_on_disk(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call;

	f.members[1].hold_log = true;
	call = krf_put(&f, id, "a", "1");
	krf_pass(&f, 100 * NS_PER_MS);
	CHECK_INT_EQ(krf_answer(&f, call, NULL), 1);
	f.members[1].hold_log = false;
	krf_settle(&f);
	CHECK_OK(krf_answer(&f, call, NULL));
}

static void a_read_waits_for_what_was_chosen_before_it(void)
{
	uint32_t id = krf_elect(&f);
	struct buf v = BUF_INIT;
	uint64_t put, get;

	f.members[1].hold_jobs = true;
	put = krf_put(&f, id, "a", "new");
	krf_settle(&f); /* chosen, not applied */
	get = krf_get(&f, id, "a");
	krf_settle(&f);
	CHECK_INT_EQ(krf_answer(&f, get, NULL), 1);
	f.members[1].hold_jobs = false;
	krf_settle(&f);
	CHECK_OK(krf_answer(&f, put, NULL));
	CHECK_OK(krf_answer(&f, get, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("new"));
	buf_release(&v);
}

/* ---- the queue ---- */

static void commands_gather_while_the_log_writes(void)
{
	uint32_t id = krf_elect(&f);
	struct krf_member *m = &f.members[id];
	uint64_t calls[50], before, held;
	char key[16];

	m->hold_log = m->busy = true;
	before = m->entries;
	held = krf_put(&f, id, "first", "1");
	krf_settle(&f); /* under way */
	CHECK_U64_EQ(m->entries, before + 1);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		calls[i] = krf_put(&f, id, key, "v");
		krf_settle(&f);
	}
	CHECK_U64_EQ(m->entries, before + 1); /* they wait */
	m->hold_log = m->busy = false;
	krf_settle(&f);
	CHECK_U64_EQ(m->entries, before + 2); /* for one entry */
	CHECK_OK(krf_answer(&f, held, NULL));
	for (unsigned i = 0; i < 50; i++)
		CHECK_OK(krf_answer(&f, calls[i], NULL));
}

static void a_full_queue_says_busy(void)
{
	uint32_t id = krf_elect(&f);
	struct krf_member *m = &f.members[id];
	uint64_t first, last = 0;
	unsigned n = 0;

	m->hold_log = m->busy = true;
	first = krf_put(&f, id, "a", "1");
	krf_settle(&f);
	while (n <= KV_QUEUE_COMMANDS_MAX + 1) {
		last = krf_put(&f, id, "a", "1");
		n++;
		if (!STAILQ_EMPTY(&m->answers) &&
		    STAILQ_LAST(&m->answers, krf_answer, link)->err == ERR_BUSY)
			break;
	}
	CHECK_U64_EQ(n, KV_QUEUE_COMMANDS_MAX + 1);
	CHECK_ERR(krf_answer(&f, last, NULL), ERR_BUSY);
	m->hold_log = m->busy = false;
	krf_pass(&f, NS_PER_S);
	CHECK_OK(krf_answer(&f, first, NULL));
	check_put(id, "b", "1"); /* room again */
}

static void a_slow_apply_side_says_busy(void)
{
	uint32_t id = krf_elect(&f);
	struct krf_member *m = &f.members[id];
	uint64_t last = 0;
	unsigned n = 0;

	m->hold_jobs = true;
	while (n < 2 * KV_APPLY_LAG_MAX) { /* an entry each */
		last = krf_put(&f, id, "a", "1");
		krf_settle(&f);
		n++;
		if (!STAILQ_EMPTY(&m->answers) &&
		    STAILQ_LAST(&m->answers, krf_answer, link)->err == ERR_BUSY)
			break;
	}
	CHECK_TRUE(n < 2 * KV_APPLY_LAG_MAX);
	CHECK_ERR(krf_answer(&f, last, NULL), ERR_BUSY);
	m->hold_jobs = false;
	krf_settle(&f);
	check_put(krf_elect(&f), "b", "1");
}

static void a_full_log_takes_what_frees(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t put, del;

	check_put(id, "a", "1");
	f.members[id].full = true;
	put = krf_put(&f, id, "b", "1");
	del = krf_del(&f, id, "a");
	krf_settle(&f);
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_NOSPACE);
	CHECK_OK(krf_answer(&f, del, NULL));
	f.members[id].full = false;
	check_put(id, "b", "1");
}

static void a_brimful_log_refuses_all_and_recovers(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t put, del;

	check_put(id, "a", "1");
	f.members[id].brimful = true;
	put = krf_put(&f, id, "b", "1");
	del = krf_del(&f, id, "a");
	krf_settle(&f);
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_NOSPACE);
	CHECK_ERR(krf_answer(&f, del, NULL), ERR_NOSPACE);
	f.members[id].brimful = false;
	check_put(id, "b", "1");
}

static void a_full_follower_takes_nothing_and_catches_up(void)
{
	uint32_t id = krf_elect(&f), full = id % 3 + 1;
	struct krf_member *m = &f.members[full];
	uint64_t before;

	check_put(id, "a", "1");
	krf_pass(&f, NS_PER_S);
	before = m->entries;
	m->brimful = true;
	check_put(id, "b", "1");
	krf_pass(&f, 5 * NS_PER_S); /* it hears the leader, and does not stand for election */
	check_put(id, "c", "1");
	CHECK_U64_EQ(krf_serving(&f), id);
	CHECK_U64_EQ(m->entries, before);
	m->brimful = false;
	krf_pass(&f, 5 * NS_PER_S);
	CHECK_TRUE(m->entries >= before + 2);
	CHECK_TRUE(krf_equal(&f));
}

static void nonsense_is_refused(void)
{
	uint32_t id = krf_elect(&f);
	struct buf close = BUF_INIT;
	uint64_t a = krf_exec_bytes(&f, id, slice_str("nonsense")), b;

	tsm_command_close(&close, 99);
	b = krf_exec_bytes(&f, id, buf_slice(&close)); /* not a client's */
	krf_settle(&f);
	CHECK_ERR(krf_answer(&f, a, NULL), ERR_PROTO);
	CHECK_ERR(krf_answer(&f, b, NULL), ERR_PROTO);
	buf_release(&close);
}

/* ---- the same request again ---- */

static void a_retry_joins_its_twin(void)
{
	uint32_t id = krf_elect(&f);
	struct krf_member *m = &f.members[id];
	uint64_t a, b, before;

	m->hold_jobs = true;
	before = m->entries;
	a = krf_put_as(&f, id, 1000, "a", "1");
	krf_settle(&f);
	b = krf_put_as(&f, id, 1000, "a", "1");
	krf_settle(&f);
	CHECK_U64_EQ(m->entries, before + 1); /* proposed once */
	m->hold_jobs = false;
	krf_settle(&f);
	CHECK_OK(krf_answer(&f, a, NULL));
	CHECK_OK(krf_answer(&f, b, NULL));
}

static void a_retry_after_the_answer_gets_the_same_answer(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t a, b;

	a = krf_put_as(&f, id, 1000, "a", "1");
	krf_settle(&f);
	check_put(id, "a", "2");
	b = krf_put_as(&f, id, 1000, "a", "1");
	krf_settle(&f);
	CHECK_OK(krf_answer(&f, a, NULL));
	CHECK_OK(krf_answer(&f, b, NULL));
	check_get(id, "a", "2"); /* it was not done again */
}

static void only_the_newest_callers_wait(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t calls[KV_CALLERS_MAX + 2];

	f.members[id].hold_jobs = true;
	for (unsigned i = 0; i < KV_CALLERS_MAX + 2; i++)
		calls[i] = krf_put_as(&f, id, 1000, "a", "1");
	krf_settle(&f);
	CHECK_ERR(krf_answer(&f, calls[0], NULL), ERR_BUSY);
	CHECK_ERR(krf_answer(&f, calls[1], NULL), ERR_BUSY);
	f.members[id].hold_jobs = false;
	krf_settle(&f);
	for (unsigned i = 2; i < KV_CALLERS_MAX + 2; i++)
		CHECK_OK(krf_answer(&f, calls[i], NULL));
}

static void a_closed_client_is_refused(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t call, put;

	check_put(id, "a", "1");
	call = krf_close_client(&f, id, 7);
	krf_settle(&f);
	CHECK_OK(krf_answer(&f, call, NULL));
	put = krf_put(&f, id, "a", "2");
	krf_settle(&f);
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_SESSION);
	check_get(id, "a", "1");
}

/* ---- three ---- */

static void three_replicas_agree(void)
{
	uint32_t id = krf_elect(&f);
	char key[16];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		check_put(id, key, "v");
	}
	check_get(id, "k7", "v");
	CHECK_TRUE(krf_equal(&f));
}

static void followers_send_away(void)
{
	uint32_t id = krf_elect(&f), follower;
	uint64_t put, get;

	krf_pass(&f, 500 * NS_PER_MS);
	follower = other(id);
	put = krf_put(&f, follower, "a", "1");
	get = krf_get(&f, follower, "a");
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_NOT_LEADER);
	CHECK_ERR(krf_answer(&f, get, NULL), ERR_NOT_LEADER);
	CHECK_U64_EQ(kv_replica_leader(f.members[follower].replica, f.now_ns), id);
}

/* The leader proposes, is cut off before anybody hears of it, and is replaced. */
static void what_is_lost_with_the_leader_is_answered(void)
{
	uint32_t old = krf_elect(&f), id;
	uint64_t put, get, close, again;

	check_put(old, "a", "1");
	f.members[old].cut = true;
	put = krf_put_as(&f, old, 1000, "a", "2");
	close = krf_close_client(&f, old, 99);
	krf_settle(&f);
	CHECK_INT_EQ(krf_answer(&f, put, NULL), 1);
	id = krf_elect(&f);
	CHECK_TRUE(id != old);
	again = krf_put_as(&f, id, 1000, "a", "2");
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_OK(krf_answer(&f, again, NULL));
	krf_pass(&f, 3 * NS_PER_S);
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_NOT_LEADER); /* it stepped down by itself */
	CHECK_ERR(krf_answer(&f, close, NULL), ERR_NOT_LEADER);
	get = krf_get(&f, old, "a");
	krf_pass(&f, 2 * NS_PER_S);
	CHECK_ERR(krf_answer(&f, get, NULL), ERR_NOT_LEADER);
	f.members[old].cut = false;
	krf_pass(&f, NS_PER_S);
	CHECK_TRUE(krf_equal(&f));
	check_get(krf_elect(&f), "a", "2");
}

/* Chosen by the old leader, executed by the new one: the retry finds the reply. */
static void a_command_that_was_chosen_is_executed_once(void)
{
	uint32_t old = krf_elect(&f), id;
	uint64_t put, again;

	f.members[old].hold_jobs = true;
	put = krf_put_as(&f, old, 1000, "a", "1");
	krf_pass(&f, 2 * NS_PER_MS); /* everybody has it */
	krf_stop(&f, old);
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_CLOSED);
	f.members[old].hold_jobs = false;
	id = krf_elect(&f);
	check_put(id, "a", "2");
	again = krf_put_as(&f, id, 1000, "a", "1");
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_OK(krf_answer(&f, again, NULL));
	check_get(id, "a", "2");
	krf_start(&f, old);
	krf_pass(&f, 2 * NS_PER_S);
	CHECK_TRUE(krf_equal(&f));
}

/* "The check comes after the read and before the answer." */
static void a_read_whose_lease_ran_out_is_not_answered(void)
{
	uint32_t old = krf_elect(&f), id;
	struct buf v = BUF_INIT;
	uint64_t get;
	int err;

	check_put(old, "a", "old");
	f.members[old].hold_jobs = true;
	get = krf_get(&f, old, "a"); /* under the lease: a job that has not run */
	krf_settle(&f);
	f.members[old].cut = true;
	id = krf_elect(&f);
	CHECK_TRUE(id != old);
	check_put(id, "a", "new");
	f.members[old].hold_jobs = false; /* reads "old" */
	krf_settle(&f);
	err = krf_answer(&f, get, &v);
	CHECK_TRUE(err == 1 || err == ERR_NOT_LEADER);
	krf_pass(&f, 3 * NS_PER_S);
	CHECK_ERR(krf_answer(&f, get, NULL), ERR_NOT_LEADER);
	buf_release(&v);
}

static void the_dead_leader_is_replaced_within_a_second(void)
{
	uint32_t old = krf_elect(&f);
	uint64_t begin;

	check_put(old, "a", "1");
	krf_stop(&f, old);
	begin = f.now_ns;
	check_get(krf_elect(&f), "a", "1");
	CHECK_TRUE(f.now_ns - begin < NS_PER_S);
	krf_start(&f, old);
	CHECK_TRUE(krf_equal(&f));
}

static void all_die_and_come_back(void)
{
	check_put(krf_elect(&f), "a", "1");
	for (uint32_t id = 1; id <= 3; id++)
		krf_stop(&f, id);
	for (uint32_t id = 1; id <= 3; id++)
		krf_start(&f, id);
	check_get(krf_elect(&f), "a", "1");
	CHECK_TRUE(krf_equal(&f));
}

static void leadership_is_handed_over(void)
{
	uint32_t old = krf_elect(&f), id;
	struct kv_time t;
	uint64_t begin;

	check_put(old, "a", "1");
	krf_pass(&f, 100 * NS_PER_MS);
	begin = f.now_ns;
	t = (struct kv_time){f.now_ns, f.now_ns};
	kv_replica_hand_over(f.members[old].replica, &t);
	krf_pass(&f, 2 * NS_PER_MS);
	id = krf_elect(&f);
	CHECK_TRUE(id != old);
	CHECK_TRUE(f.now_ns - begin < 100 * NS_PER_MS);
	check_get(id, "a", "1");
}

/* ---- falling behind ---- */

static void make_durable(uint32_t id)
{
	struct krf_member *m = &f.members[id];
	struct kv_time t = {f.now_ns, f.now_ns};

	CHECK_OK(engine_flush(m->engine));
	kv_replica_durable(m->replica, engine_durable(kv_apply_engine(m->apply)), &t);
}

static void write_much(uint32_t id, unsigned n)
{
	char key[16], value[1000];

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "m%u", i % 50);
		check_put(id, key, value);
	}
}

static void one_that_was_away_catches_up_from_the_log(void)
{
	uint32_t id = krf_elect(&f), away = other(id);

	krf_pass(&f, 100 * NS_PER_MS);
	f.members[away].cut = true;
	write_much(id, 200);
	f.members[away].cut = false;
	krf_pass(&f, 2 * NS_PER_S);
	CHECK_U64_EQ(f.members[away].snapshot_from, 0);
	CHECK_TRUE(krf_equal(&f));
}

static void cut_behind(uint32_t away, uint32_t id)
{
	krf_pass(&f, 100 * NS_PER_MS);
	f.members[away].cut = true;
	write_much(id, 300);
	for (uint32_t i = 1; i <= 3; i++)
		make_durable(i);
	krf_pass(&f, 100 * NS_PER_MS);
	CHECK_TRUE(f.members[id].truncated_below > 1);
	f.members[away].cut = false;
	for (unsigned i = 0; i < 200 && !f.members[away].snapshot_from; i++)
		krf_pass(&f, 50 * NS_PER_MS);
	CHECK_TRUE(f.members[away].snapshot_from != 0);
}

static void small_log(void)
{
	krf_open(&f, 3);
	for (uint32_t id = 1; id <= 3; id++)
		krf_stop(&f, id);
	f.retain_bytes = 16 * 1024;
	for (uint32_t id = 1; id <= 3; id++)
		krf_start(&f, id);
}

static void one_that_is_behind_the_log_installs_a_snapshot(void)
{
	uint32_t id = krf_elect(&f), away = other(id);

	cut_behind(away, id);
	krf_fetch(&f, away);
	write_much(krf_elect(&f), 20);
	krf_pass(&f, 2 * NS_PER_S);
	CHECK_TRUE(krf_equal(&f));
	krf_stop(&f, away);
	krf_start(&f, away);
	CHECK_TRUE(krf_equal(&f));
}

/* Entries that were given to the apply side before the snapshot are skipped behind it. */
static void a_snapshot_overtakes_queued_entries(void)
{
	uint32_t id = krf_elect(&f), away = other(id);

	krf_pass(&f, 100 * NS_PER_MS);
	f.members[away].hold_jobs = true;
	write_much(id, 10);
	krf_pass(&f, 100 * NS_PER_MS);
	CHECK_FALSE(STAILQ_EMPTY(&f.members[away].jobs));
	f.members[away].hold_jobs = false; /* the fetch runs them: entries, then the snapshot's jobs */
	f.members[away].snapshot_from = id;
	krf_fetch(&f, away);
	write_much(id, 10);
	CHECK_TRUE(krf_equal(&f));
}

/* While the snapshot waits to be installed, the log brings what is in it, and more. */
static void entries_behind_a_snapshot_are_skipped(void)
{
	uint32_t id = krf_elect(&f), away = other(id);
	struct krf_member *m = &f.members[away];
	uint64_t slot, before;

	krf_pass(&f, 100 * NS_PER_MS);
	m->cut = true;
	write_much(id, 10);
	m->hold_jobs = true;
	slot = krf_fetch_begin(&f, away, id);
	before = kv_apply_applied(m->apply);
	CHECK_TRUE(slot > before);
	write_much(id, 5);
	m->cut = false;
	krf_pass(&f, 2 * NS_PER_S); /* learned, and queued behind it */
	while (kv_apply_applied(m->apply) < slot)
		CHECK_TRUE(krf_run_job(&f, away));
	CHECK_U64_EQ(kv_apply_applied(m->apply), slot); /* in one go */
	CHECK_FALSE(STAILQ_EMPTY(&m->jobs));
	krf_fetch_end(&f, away, slot);
	m->hold_jobs = false;
	write_much(krf_elect(&f), 5);
	CHECK_TRUE(krf_equal(&f));
}

/* The log has overtaken the snapshot: it is dropped, and nothing is lost. */
static void an_old_snapshot_is_dropped(void)
{
	uint32_t id = krf_elect(&f), away = other(id);
	struct krf_member *m = &f.members[away];
	struct engine_snapshot *s;
	struct kv_time t;
	struct kv_job *job;
	uint64_t slot;

	write_much(id, 5);
	CHECK_OK(engine_snapshot_new(kv_apply_engine(f.members[id].apply), &s));
	slot = engine_snapshot_applied(s);
	engine_snapshot_free(s);
	write_much(id, 5);
	krf_pass(&f, 500 * NS_PER_MS);
	job = kv_job_new(KV_JOB_INSTALL_BEGIN, m->apply);
	job->owner = m->replica;
	STAILQ_INSERT_TAIL(&m->jobs, &job->work, link);
	job = kv_job_new(KV_JOB_INSTALL_FINISH, m->apply);
	job->owner = m->replica;
	job->slot = slot;
	STAILQ_INSERT_TAIL(&m->jobs, &job->work, link);
	krf_settle(&f);
	t = (struct kv_time){f.now_ns, f.now_ns};
	kv_replica_installed(m->replica, slot, &t);
	write_much(id, 5);
	CHECK_TRUE(krf_equal(&f));
}

/* ---- damage ---- */

static void a_damaged_entry_stops_the_replica(void)
{
	uint32_t id = krf_elect(&f), away = other(id);
	const char *why;
	uint64_t put;

	krf_pass(&f, 100 * NS_PER_MS);
	f.members[away].cut = true;
	write_much(id, 300); /* more than the cache */
	f.members[id].damaged = true;
	f.members[away].cut = false;
	krf_pass(&f, 2 * NS_PER_S);
	CHECK_ERR(kv_replica_refused(f.members[id].replica, &why), ERR_CORRUPT);
	CHECK_CONTAINS(why, "rebuild");
	put = krf_put(&f, id, "a", "1");
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_AMNESIA);
	CHECK_U64_EQ(kv_replica_deadline(f.members[id].replica), UINT64_MAX);
	check_put(krf_elect(&f), "a", "1"); /* the others go on */
}

/* Makes the first record of the group unreadable. */
static void damage_record(struct engine_group *g)
{
	struct engine_iter *it =
		engine_iter_new(g, TABLE_DATA, (struct slice){0}, (struct slice){0});
	struct buf key = BUF_INIT;

	CHECK_TRUE(engine_iter_valid(it));
	CHECK_OK(buf_set(&key, engine_iter_key(it)));
	engine_iter_free(it);
	engine_begin(g);
	engine_put(g, TABLE_DATA, buf_slice(&key), slice_str("short"));
	engine_commit(g, engine_applied(g));
	buf_release(&key);
}

/* "Nothing", says the table of failures of what clients see: no read is answered with the damage. */
static void a_read_that_meets_damage_stops_the_replica(void)
{
	uint32_t id = krf_elect(&f);
	const char *why;
	uint64_t get;

	check_put(id, "a", "1");
	krf_pass(&f, 100 * NS_PER_MS);
	damage_record(kv_apply_engine(f.members[id].apply));
	get = krf_get(&f, id, "a");
	krf_pass(&f, 5 * NS_PER_MS);
	CHECK_ERR(krf_answer(&f, get, NULL), ERR_AMNESIA);
	CHECK_ERR(kv_replica_refused(f.members[id].replica, &why), ERR_CORRUPT);
	CHECK_CONTAINS(why, "rebuild");
	check_get(krf_elect(&f), "a", "1"); /* the others have it */
}

static void a_refusing_replica_answers_those_who_wait(void)
{
	uint32_t id = krf_elect(&f);
	uint64_t put, get;

	f.members[id].hold_jobs = true;
	put = krf_put(&f, id, "a", "1");
	get = krf_get(&f, id, "a");
	krf_settle(&f);
	kv_replica_refuse(f.members[id].replica, ERR_AMNESIA, "told so");
	CHECK_ERR(krf_answer(&f, put, NULL), ERR_AMNESIA);
	CHECK_ERR(krf_answer(&f, get, NULL), ERR_AMNESIA);
	f.members[id].hold_jobs = false;
	krf_pass(&f, NS_PER_S);
	CHECK_FALSE(kv_replica_serving(f.members[id].replica));
	get = krf_get(&f, id, "a");
	CHECK_ERR(krf_answer(&f, get, NULL), ERR_AMNESIA);
}

#define T1(fn) CHECK_TEST_WITH(one, teardown, fn)
#define T3(fn) CHECK_TEST_WITH(three, teardown, fn)
#define TS(fn) CHECK_TEST_WITH(small_log, teardown, fn)

static const struct check_test tests[] = {
	T1(a_single_replica_writes_and_reads),
	T1(a_single_replica_restarts_from_its_log),
	T1(nothing_is_answered_before_it_is_on_disk),
	T1(a_read_waits_for_what_was_chosen_before_it),
	T1(commands_gather_while_the_log_writes),
	T1(a_full_queue_says_busy),
	T1(a_slow_apply_side_says_busy),
	T1(a_full_log_takes_what_frees),
	T1(a_brimful_log_refuses_all_and_recovers),
	T3(a_full_follower_takes_nothing_and_catches_up),
	T1(nonsense_is_refused),
	T1(a_retry_joins_its_twin),
	T1(a_retry_after_the_answer_gets_the_same_answer),
	T1(only_the_newest_callers_wait),
	T1(a_closed_client_is_refused),
	T3(three_replicas_agree),
	T3(followers_send_away),
	T3(what_is_lost_with_the_leader_is_answered),
	T3(a_command_that_was_chosen_is_executed_once),
	T3(a_read_whose_lease_ran_out_is_not_answered),
	T3(the_dead_leader_is_replaced_within_a_second),
	T3(all_die_and_come_back),
	T3(leadership_is_handed_over),
	T3(one_that_was_away_catches_up_from_the_log),
	TS(one_that_is_behind_the_log_installs_a_snapshot),
	T3(a_snapshot_overtakes_queued_entries),
	T3(entries_behind_a_snapshot_are_skipped),
	T3(an_old_snapshot_is_dropped),
	T3(a_damaged_entry_stops_the_replica),
	T3(a_read_that_meets_damage_stops_the_replica),
	T1(a_refusing_replica_answers_those_who_wait),
};

CHECK_MAIN(tests)
