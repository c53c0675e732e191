/* The routing client: its session, from the first write to the end, and locks. */
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_client_fixture.h"

static struct kcf k;

static void setup(void)
{
	kcf_open(&k);
}

static void teardown(void)
{
	kcf_close(&k);
}

static void all_down(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	(void)c;
	fate->before = ERR_UNREACHABLE;
}

static void conflicts_at_first(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	static const int statuses[] = {ERR_ABORTED, ERR_DEADLOCK, ERR_BUSY};

	if (c->type == KV_EXEC && c->group == 1 && f->counter < 3)
		fate->status = statuses[f->counter++];
}

static void requests_of_group_1_vanish(struct kcf *f, const struct kcf_call *c,
				       struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_EXEC && c->group == 1 && c->command == KCF_REQUEST)
		fate->before = ERR_TIMEOUT;
}

/* ---- the session ---- */

static uint32_t count_exec(const struct kcf *f, enum kcf_command command)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->call_count; i++)
		n += f->calls[i].command == command &&
		     (f->calls[i].type == KV_EXEC || f->calls[i].type == KV_ADMIN);
	return n;
}

static void renew_story(struct kcf *f)
{
	kcf_client(f, true);
	CHECK_U64_EQ(kv_client_id(f->client), 1);
	CHECK_U64_EQ(count_exec(f, KCF_REQUEST), 1); /* its record */
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->client, 1);
	kcf_forget(f);
	fiber_sleep(60 * NS_PER_S);
	CHECK_TRUE(count_exec(f, KCF_REQUEST) >= 6 && count_exec(f, KCF_REQUEST) <= 12);
}

static void a_session_is_renewed(void)
{
	kcf_run(&k, renew_story);
}

static void lazy_session_story(struct kcf *f)
{
	struct kcf_writer a, b;

	kcf_client(f, false);
	kcf_start_writer(f, &a, 1);
	kcf_start_writer(f, &b, 2); /* while the first one still opens it */
	kcf_await_writer(&a);
	kcf_await_writer(&b);
	CHECK_OK(a.err);
	CHECK_OK(b.err);
	CHECK_U64_EQ(f->last_id, 1);
	for (uint32_t i = 1; i <= kcf_count(f, KV_EXEC); i++)
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, i)->client, 1);
}

static void the_first_write_opens_one_session(void)
{
	kcf_run(&k, lazy_session_story);
}

static void meta_is_silent(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_OPEN)
		fate->before = ERR_TIMEOUT;
}

static void impatient_story(struct kcf *f)
{
	struct kcf_writer a, b;
	uint64_t begin;

	kcf_client(f, false);
	f->script = meta_is_silent;
	kcf_start_writer(f, &a, 1);
	kcf_start_writer(f, &b, 2);
	begin = f->now_ns;
	fiber_interrupt(b.fiber);
	kcf_await_writer(&b);
	CHECK_ERR(b.err, ERR_INTERRUPTED); /* though the other one goes on */
	CHECK_TRUE(f->now_ns - begin < 20 * NS_PER_MS);
	CHECK_FALSE(a.done);
	f->script = NULL;
	kcf_await_writer(&a);
	CHECK_OK(a.err);
}

static void who_waits_for_the_session_can_be_interrupted(void)
{
	kcf_run(&k, impatient_story);
}

static void record_fails_once(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type == KV_EXEC && c->group == 0 && f->counter++ == 0)
		fate->envelope = ERR_NOMEM;
}

static void session_fails_story(struct kcf *f)
{
	kcf_client(f, false);
	f->script = record_fails_once;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_NOMEM);
	CHECK_U64_EQ(kv_client_id(f->client), 0);
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(kv_client_id(f->client), 2); /* an id is used once */
}

static void a_session_without_a_record_is_none(void)
{
	kcf_run(&k, session_fails_story);
}

/* The record is gone: others have closed this session. */
static void record_is_gone(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_EXEC && c->group == 0)
		fate->status = ERR_CONDITION;
}

static void lost_session_story(struct kcf *f)
{
	uint64_t versions[2];

	kcf_client(f, true);
	CHECK_OK(kcf_write(f, 1, 0));
	f->script = record_is_gone;
	fiber_sleep(15 * NS_PER_S);
	CHECK_ERR(kcf_write(f, 1, 0), ERR_SESSION);
	CHECK_OK(kcf_read(f, 1, 0, versions)); /* reading needs none */
	kcf_forget(f);
	fiber_sleep(60 * NS_PER_S);
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 0);
}

static void a_lost_session_writes_no_more(void)
{
	kcf_run(&k, lost_session_story);
	CHECK_U64_EQ(count_exec(&k, KCF_CLOSE), 0);
}

static void session_closed_at_group_1(struct kcf *f, const struct kcf_call *c,
				      struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_EXEC && c->group == 1)
		fate->status = ERR_SESSION;
}

static void refused_session_story(struct kcf *f)
{
	kcf_client(f, true);
	f->script = session_closed_at_group_1;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_SESSION);
	CHECK_ERR(kcf_write(f, 2, 0), ERR_SESSION);
}

static void a_refused_session_is_lost(void)
{
	kcf_run(&k, refused_session_story);
}

static void close_story(struct kcf *f)
{
	kcf_client(f, true);
	CHECK_OK(kcf_write(f, 2, 0));
	kcf_forget(f);
}

static void closing_closes_where_it_wrote(void)
{
	const struct kcf_call *a, *b;

	kcf_run(&k, close_story);
	CHECK_U64_EQ(count_exec(&k, KCF_CLOSE), 2);
	a = kcf_nth(&k, KV_ADMIN, 1);
	b = kcf_nth(&k, KV_ADMIN, 2);
	CHECK_U64_EQ(a->group, 0);
	CHECK_U64_EQ(b->group, 2);
	CHECK_TRUE(b->at_ns > a->at_ns);
	CHECK_U64_EQ(kcf_count(&k, KV_EXEC), 1); /* the record, anonymously */
	CHECK_U64_EQ(kcf_nth(&k, KV_EXEC, 1)->client, 0);
	CHECK_TRUE(kcf_nth(&k, KV_EXEC, 1)->at_ns > b->at_ns);
}

static void away_close_story(struct kcf *f)
{
	kcf_client(f, true);
	CHECK_OK(kcf_write(f, 2, 0));
	f->script = all_down;
	f->counter = (unsigned)(f->now_ns / NS_PER_MS);
}

static void closing_does_not_wait_long_for_a_dead_cluster(void)
{
	kcf_run(&k, away_close_story);
	CHECK_TRUE(k.now_ns / NS_PER_MS - k.counter < 5000);
}

static void busy_close_story(struct kcf *f)
{
	kcf_client(f, true);
	f->script = all_down;
	fiber_sleep(11 * NS_PER_S); /* the keeper is in the middle of a renewal */
	f->counter = (unsigned)(f->now_ns / NS_PER_MS);
}

static void closing_interrupts_the_renewal(void)
{
	kcf_run(&k, busy_close_story);
	CHECK_TRUE(k.now_ns / NS_PER_MS - k.counter < 7000);
}

static void put_session(struct kcf *f, uint64_t id, uint64_t renewed)
{
	struct buf key = BUF_INIT;
	uint8_t value[20] = {0};

	kv_meta_key(&key, KV_KEY_SESSION);
	buf_add_be64(&key, id);
	le64_put(value, renewed);
	kcf_put(f, buf_slice(&key), slice_of(value, sizeof(value)), 1);
	buf_release(&key);
}

static void bury_story(struct kcf *f)
{
	bool closed[3] = {false};

	f->last_id = 100;
	f->now_ns = 500 * NS_PER_S;
	put_session(f, 50, 7);
	kcf_client(f, true);
	kcf_forget(f);
	for (uint64_t i = 1; i <= 8; i++) {
		/* Alive, however old its stamps look: a leader's wall clock may have jumped. */
		put_session(f, 51, i);
		CHECK_TRUE(kcf_count(f, KV_ADMIN) == 0 || i > 5);
		fiber_sleep(10 * NS_PER_S);
	}
	CHECK_TRUE(kcf_count(f, KV_ADMIN) >= 3);
	for (uint32_t i = 1; i <= kcf_count(f, KV_ADMIN); i++) {
		const struct kcf_call *c = kcf_nth(f, KV_ADMIN, i);

		CHECK_U64_EQ(c->client, 50);
		closed[c->group] = true;
	}
	CHECK_U64_EQ(kcf_nth(f, KV_ADMIN, 1)->group, 0);
	CHECK_TRUE(closed[0] && closed[1] && closed[2]);
}

static void the_dead_are_buried_in_every_group(void)
{
	kcf_run(&k, bury_story);
}

static uint32_t count_closes(struct kcf *f, uint64_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i <= kcf_count(f, KV_ADMIN); i++)
		n += kcf_nth(f, KV_ADMIN, i)->command == KCF_CLOSE &&
		     kcf_nth(f, KV_ADMIN, i)->client == id;
	return n;
}

static void hold_a_look(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type != KV_READ || f->counter)
		return;
	f->counter = 1;
	fate->hold = true;
}

/* A watcher that is frozen with an answer in its hands: what it saw is old, not the session. */
static void frozen_watcher_story(struct kcf *f)
{
	f->last_id = 100;
	f->now_ns = 500 * NS_PER_S;
	put_session(f, 90, 1);
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(12 * NS_PER_S); /* it has looked */
	CHECK_TRUE(kcf_count(f, KV_READ) > 0);
	f->script = hold_a_look;
	while (!f->counter)
		fiber_sleep(100 * NS_PER_MS);
	f->now_ns += 300 * NS_PER_S;
	f->release = true;
	for (uint64_t i = 2; i < 8; i++) {
		put_session(f, 90, i);
		fiber_sleep(10 * NS_PER_S);
	}
	CHECK_U64_EQ(count_closes(f, 90), 0);
}

static void a_frozen_watcher_buries_nobody(void)
{
	kcf_run(&k, frozen_watcher_story);
}

/* Nobody can renew while the cluster is away: the first one back must not bury the others. */
static void outage_story(struct kcf *f)
{
	uint64_t until;

	f->last_id = 100;
	f->now_ns = 500 * NS_PER_S;
	put_session(f, 50, 7); /* of a dead one */
	put_session(f, 90, 1);
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(12 * NS_PER_S);
	CHECK_TRUE(kcf_count(f, KV_READ) > 0); /* it has looked */
	f->script = all_down;
	fiber_sleep(300 * NS_PER_S);
	kcf_forget(f);
	f->script = NULL;
	while (kcf_count(f, KV_READ) == 0)
		fiber_sleep(100 * NS_PER_MS);
	fiber_sleep(5 * NS_PER_S); /* the other one takes a moment longer */
	CHECK_U64_EQ(count_closes(f, 90), 0);
	until = f->now_ns + 75 * NS_PER_S;
	for (uint64_t i = 2; f->now_ns < until; i++) {
		put_session(f, 90, i);
		fiber_sleep(10 * NS_PER_S);
	}
	CHECK_U64_EQ(count_closes(f, 90), 0);
	CHECK_TRUE(count_closes(f, 50) >= 3);
}

static void an_outage_buries_nobody(void)
{
	kcf_run(&k, outage_story);
}

static void floor_story(struct kcf *f)
{
	bool told[3] = {false};

	f->last_id = 100;
	f->now_ns = 500 * NS_PER_S;
	put_session(f, 90, 5000 * NS_PER_S); /* alive; ids below it are over */
	put_session(f, 95, 5000 * NS_PER_S);
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(25 * NS_PER_S); /* looked twice at least, told once */
	CHECK_U64_EQ(kcf_count(f, KV_ADMIN), 3);
	for (uint32_t i = 1; i <= 3; i++) {
		const struct kcf_call *c = kcf_nth(f, KV_ADMIN, i);

		CHECK_INT_EQ(c->command, KCF_FLOOR);
		CHECK_U64_EQ(c->client, 90);
		told[c->group] = true;
	}
	CHECK_TRUE(told[0] && told[1] && told[2]);
}

static void the_floor_follows_the_lowest_session(void)
{
	kcf_run(&k, floor_story);
}

/* ---- locks ---- */

static void lock_mini(struct kcf *f, struct txn_mini *m)
{
	static uint8_t ka[64], kb[64];

	txn_mini_init(m);
	txn_get(m, kcf_key(f, 1, "a", ka));
	txn_put(m, kcf_key(f, 2, "b", kb), slice_str("2"));
}

static void lock_story(struct kcf *f)
{
	struct txn_executor *x;
	struct txn_lock lock = {0};
	const struct kcf_call *c;
	struct txn_mini m;
	struct txn_result r;

	kcf_client(f, true);
	x = kv_client_executor(f->client);
	lock_mini(f, &m);
	txn_result_init(&r);
	kcf_forget(f);
	CHECK_OK(x->lock(x, &m, &lock));
	c = kcf_nth(f, KV_EXEC, kcf_count(f, KV_EXEC));
	CHECK_TRUE(c->lock_only);
	CHECK_U64_EQ(c->lock, 0);
	CHECK_U64_EQ(c->group, 2); /* of the mutation */
	CHECK_U64_EQ(c->part_count, 2);
	CHECK_U64_EQ(c->sequence, lock.sequence);
	CHECK_SLICE_EQ(slice_of(lock.home, lock.home_len), m.muts[0].key);

	kcf_forget(f);
	CHECK_OK(x->exec_locked(x, &m, &lock, &r));
	c = kcf_nth(f, KV_EXEC, 1);
	CHECK_FALSE(c->lock_only);
	CHECK_U64_EQ(c->lock, lock.sequence);
	CHECK_U64_EQ(c->sequence, lock.sequence + 1);
	CHECK_U64_EQ(c->group, 2);
	CHECK_TRUE(r.stamp > 0);
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 1);
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void locks_are_taken_and_used(void)
{
	kcf_run(&k, lock_story);
}

static void lock_conflict_story(struct kcf *f)
{
	struct txn_executor *x;
	struct txn_lock lock = {0};
	struct txn_mini m;
	struct txn_result r;
	uint8_t key[64];

	kcf_client(f, true);
	x = kv_client_executor(f->client);
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, kcf_key(f, 1, "a", key));
	kcf_forget(f);
	f->script = conflicts_at_first;
	CHECK_OK(x->lock(x, &m, &lock)); /* a deadlock among those who lock: tried again */
	CHECK_U64_EQ(f->counter, 3);
	CHECK_U64_EQ(lock.sequence, kcf_nth(f, KV_EXEC, kcf_count(f, KV_EXEC))->sequence);
	f->counter = 0;
	kcf_forget(f);
	CHECK_ERR(x->exec_locked(x, &m, &lock, &r), ERR_ABORTED); /* decided: the locks are gone */
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 1);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->command, KCF_REQUEST);
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void a_lock_is_retried_and_its_use_is_not(void)
{
	kcf_run(&k, lock_conflict_story);
}

static void unlock_story(struct kcf *f)
{
	struct txn_executor *x;
	struct txn_lock lock = {0};
	struct txn_mini m;
	uint64_t begin;

	kcf_client(f, true);
	x = kv_client_executor(f->client);
	lock_mini(f, &m);
	CHECK_OK(x->lock(x, &m, &lock));
	kcf_forget(f);
	begin = f->now_ns;
	x->unlock(x, &lock);
	CHECK_U64_EQ(f->now_ns, begin); /* it does not wait */
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 0);
	txn_mini_release(&m);
} /* and closing does not forget it */

static void unlocking_cancels_and_does_not_wait(void)
{
	const struct kcf_call *c;

	kcf_run(&k, unlock_story);
	c = kcf_last_cancel(&k);
	CHECK_NOT_NULL(c);
	CHECK_U64_EQ(c->group, 2);
	CHECK_TRUE(c->at_ns <= kcf_nth(&k, KV_ADMIN, 1)->at_ns);
}

static void lost_lock_story(struct kcf *f)
{
	struct txn_executor *x;
	struct txn_lock lock = {0};
	struct txn_mini m;
	uint8_t key[64];

	f->cfg.timeout_ns = 2 * NS_PER_S;
	kcf_client(f, true);
	x = kv_client_executor(f->client);
	txn_mini_init(&m);
	txn_get(&m, kcf_key(f, 1, "a", key));
	f->script = requests_of_group_1_vanish;
	kcf_forget(f);
	CHECK_ERR(x->lock(x, &m, &lock), ERR_TIMEOUT);
	fiber_sleep(100 * NS_PER_MS);
	CHECK_NOT_NULL(kcf_last_cancel(f)); /* it may be taken yet: given up again */
	CHECK_U64_EQ(lock.sequence, 0);
	txn_mini_reset(&m);
	CHECK_ERR(x->lock(x, &m, &lock), ERR_INVAL); /* nothing to lock */
	txn_mini_release(&m);
}

static void a_lock_whose_answer_is_lost_is_given_up(void)
{
	kcf_run(&k, lost_lock_story);
}

static void foreign_lock_story(struct kcf *f)
{
	struct txn_executor *x;
	struct txn_lock lock = {.sequence = 1};
	struct txn_mini m;
	struct txn_result r;
	uint8_t key[64];
	struct slice home;

	kcf_client(f, true);
	x = kv_client_executor(f->client);
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, kcf_key(f, 1, "a", key), slice_str("1"));
	home = kcf_key(f, 2, "b", key);
	memcpy(lock.home, home.p, home.len);
	lock.home_len = (uint32_t)home.len;
	CHECK_ERR(x->exec_locked(x, &m, &lock, &r), ERR_INVAL); /* nothing of it is in that group */
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void a_lock_of_another_group_is_refused(void)
{
	kcf_run(&k, foreign_lock_story);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(a_session_is_renewed),
	T(the_first_write_opens_one_session),
	T(who_waits_for_the_session_can_be_interrupted),
	T(a_session_without_a_record_is_none),
	T(a_lost_session_writes_no_more),
	T(a_refused_session_is_lost),
	T(closing_closes_where_it_wrote),
	T(closing_does_not_wait_long_for_a_dead_cluster),
	T(closing_interrupts_the_renewal),
	T(the_dead_are_buried_in_every_group),
	T(a_frozen_watcher_buries_nobody),
	T(an_outage_buries_nobody),
	T(the_floor_follows_the_lowest_session),
	T(locks_are_taken_and_used),
	T(a_lock_is_retried_and_its_use_is_not),
	T(unlocking_cancels_and_does_not_wait),
	T(a_lock_whose_answer_is_lost_is_given_up),
	T(a_lock_of_another_group_is_refused),
};

CHECK_MAIN(tests)
