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

/* ---- a session that others closed ---- */

static struct kv_session_change heard;
static uint32_t heard_count;

static void hear(void *ctx, const struct kv_session_change *x)
{
	CHECK_PTR_EQ(ctx, &k);
	CHECK_U64_EQ(kv_client_id(k.client), x->now);
	heard = *x;
	heard_count++;
}

static void listen(struct kcf *f)
{
	heard_count = 0;
	kcf_client(f, true);
	kv_client_on_session(f->client, hear, f);
}

static void record_1_is_gone(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_EXEC && c->group == 0 && c->client == 1)
		fate->status = ERR_CONDITION;
}

static void lost_session_story(struct kcf *f)
{
	listen(f);
	CHECK_OK(kcf_write(f, 1, 0));
	f->script = record_1_is_gone;
	fiber_sleep(15 * NS_PER_S); /* at the next renewal it turns out */
	CHECK_U64_EQ(heard_count, 1);
	CHECK_U64_EQ(heard.was, 1);
	CHECK_U64_EQ(heard.now, 2);
	CHECK_U64_EQ(heard.calls, 0);
	kcf_forget(f);
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->client, 2);
	fiber_sleep(60 * NS_PER_S); /* which is kept alive in its turn */
	CHECK_U64_EQ(heard_count, 1);
	CHECK_TRUE(count_exec(f, KCF_REQUEST) >= 6);
	for (uint32_t i = 1; i <= kcf_count(f, KV_EXEC); i++)
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, i)->client, 2);
}

static void a_lost_session_is_replaced(void)
{
	kcf_run(&k, lost_session_story);
	CHECK_U64_EQ(count_exec(&k, KCF_CLOSE), 2); /* the second one's, at the end */
	CHECK_U64_EQ(kcf_nth(&k, KV_ADMIN, 1)->client, 2);
}

static void session_1_is_closed(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_EXEC && c->client == 1)
		fate->status = ERR_SESSION;
}

static uint32_t count_requests(const struct kcf *f, uint32_t group, uint64_t client)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i <= kcf_count(f, KV_EXEC); i++) {
		const struct kcf_call *c = kcf_nth(f, KV_EXEC, i);

		n += c->group == group && c->client == client && c->command == KCF_REQUEST;
	}
	return n;
}

static void refused_session_story(struct kcf *f)
{
	listen(f);
	f->script = session_1_is_closed;
	kcf_forget(f);
	CHECK_ERR(kcf_write(f, 1, 0), ERR_SESSION);
	CHECK_U64_EQ(heard_count, 1); /* before the caller: who has locks must know first */
	CHECK_U64_EQ(heard.calls, 0);
	CHECK_U64_EQ(count_requests(f, 1, 1), 1);
	CHECK_U64_EQ(count_requests(f, 1, 2), 0); /* never sent under another session */
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(count_requests(f, 1, 2), 1);
}

static void a_refused_write_is_not_sent_under_the_next_session(void)
{
	kcf_run(&k, refused_session_story);
}

static void lost_then_closed(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type != KV_EXEC || c->client != 1)
		return;
	if (c->group == 1 && f->counter++ == 0)
		fate->before = ERR_CLOSED; /* on the way there, or on the way back: who knows */
	else
		fate->status = ERR_SESSION;
}

static void outcome_story(struct kcf *f)
{
	listen(f);
	f->script = lost_then_closed;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_OUTCOME);
	fiber_sleep(NS_PER_S); /* without another call, and long before the next renewal */
	CHECK_U64_EQ(heard_count, 1);
	CHECK_OK(kcf_write(f, 1, 0));
}

static void a_write_without_an_answer_has_an_unknown_outcome(void)
{
	kcf_run(&k, outcome_story);
}

static void crowd_story(struct kcf *f)
{
	struct kcf_writer w[4];

	listen(f);
	f->script = requests_of_group_1_vanish;
	for (uint32_t i = 0; i < 4; i++)
		kcf_start_writer(f, &w[i], 1);
	f->script = session_1_is_closed;
	CHECK_ERR(kcf_write(f, 2, 0), ERR_SESSION);
	CHECK_U64_EQ(heard_count, 1);
	CHECK_U64_EQ(heard.calls, 4); /* they have not heard yet */
	for (uint32_t i = 0; i < 4; i++) {
		kcf_await_writer(&w[i]);
		CHECK_ERR(w[i].err, ERR_OUTCOME);
	}
	CHECK_U64_EQ(heard_count, 1);
	CHECK_U64_EQ(f->last_id, 2);
	CHECK_OK(kcf_write(f, 1, 0));
}

static void one_session_follows_for_all_calls(void)
{
	kcf_run(&k, crowd_story);
}

static void lost_while_away(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (f->counter)
		fate->before = ERR_UNREACHABLE;
	else
		session_1_is_closed(f, c, fate);
}

/* It is known to be lost, and there is no next one yet. */
static void between_story(struct kcf *f)
{
	f->cfg.timeout_ns = 3 * NS_PER_S;
	listen(f);
	f->counter = 1;
	f->script = lost_while_away;
	f->now_ns += 300 * NS_PER_S;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_TIMEOUT);
	CHECK_U64_EQ(heard_count, 0);
	f->counter = 0;
	kcf_forget(f);
	CHECK_ERR(kcf_write(f, 1, 0), ERR_SESSION);
	CHECK_U64_EQ(heard_count, 1);
	/* asked before it was sent */
	CHECK_U64_EQ(count_requests(f, 1, 1) + count_requests(f, 1, 2), 0);
	CHECK_OK(kcf_write(f, 1, 0));
}

static void the_next_session_waits_for_the_cluster(void)
{
	kcf_run(&k, between_story);
}

static void confirm_story(struct kcf *f)
{
	uint64_t versions[2];

	listen(f);
	kcf_forget(f);
	CHECK_OK(kv_client_session_confirm(f->client));
	CHECK_OK(kcf_read(f, 1, 0, versions));
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 0); /* renewed a moment ago */
	f->now_ns += 55 * NS_PER_S;		/* frozen, or suspended */
	CHECK_OK(kv_client_session_confirm(f->client));
	CHECK_TRUE(count_requests(f, 0, 1) >= 1);
	CHECK_U64_EQ(heard_count, 0); /* nobody has closed it */
	f->now_ns += 300 * NS_PER_S;
	f->script = record_1_is_gone;
	CHECK_OK(kv_client_session_confirm(f->client));
	CHECK_U64_EQ(heard_count, 1);
}

static void a_session_is_sure_for_its_time_only(void)
{
	kcf_run(&k, confirm_story);
}

/* What was read when it had been closed must not be taken for what a lock protects. */
static void frozen_read_story(struct kcf *f)
{
	uint64_t versions[2];

	listen(f);
	f->now_ns += 300 * NS_PER_S;
	f->script = record_1_is_gone;
	CHECK_OK(kcf_read(f, 1, 0, versions));
	CHECK_U64_EQ(heard_count, 1); /* before the read returned */
}

static void a_read_tells_of_a_session_that_ended_before(void)
{
	kcf_run(&k, frozen_read_story);
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
	f->script = kcf_all_down;
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
	f->script = kcf_all_down;
	fiber_sleep(11 * NS_PER_S); /* the keeper is in the middle of a renewal */
	f->counter = (unsigned)(f->now_ns / NS_PER_MS);
}

static void closing_interrupts_the_renewal(void)
{
	kcf_run(&k, busy_close_story);
	CHECK_TRUE(k.now_ns / NS_PER_MS - k.counter < 7000);
}

static void short_session_story(struct kcf *f)
{
	f->cfg.session_ns = 6 * NS_PER_S;
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(12 * NS_PER_S);
	CHECK_TRUE(count_exec(f, KCF_REQUEST) >= 12);
}

static void a_short_session_is_renewed_more_often(void)
{
	kcf_run(&k, short_session_story);
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

static void lock_outlived_story(struct kcf *f)
{
	struct txn_lock lock = {0};
	struct txn_executor *x;
	struct txn_mini m;
	struct txn_result r;

	listen(f);
	x = kv_client_executor(f->client);
	lock_mini(f, &m);
	txn_result_init(&r);
	CHECK_OK(x->lock(x, &m, &lock));
	CHECK_U64_EQ(lock.session, 1);
	f->script = session_1_is_closed;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_SESSION);
	CHECK_U64_EQ(kv_client_id(f->client), 2);
	kcf_forget(f);
	CHECK_ERR(x->exec_locked(x, &m, &lock, &r), ERR_SESSION);
	x->unlock(x, &lock);
	fiber_sleep(NS_PER_S);
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 0); /* nothing of it belongs to the new one */
	CHECK_OK(x->lock(x, &m, &lock));
	CHECK_U64_EQ(lock.session, 2);
	CHECK_OK(x->exec_locked(x, &m, &lock, &r));
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void a_lock_ends_with_its_session(void)
{
	kcf_run(&k, lock_outlived_story);
}

static void foreign_lock_story(struct kcf *f)
{
	struct txn_executor *x;
	struct txn_lock lock = {.session = 1, .sequence = 1};
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
	T(a_lost_session_is_replaced),
	T(a_refused_write_is_not_sent_under_the_next_session),
	T(a_write_without_an_answer_has_an_unknown_outcome),
	T(one_session_follows_for_all_calls),
	T(the_next_session_waits_for_the_cluster),
	T(a_session_is_sure_for_its_time_only),
	T(a_read_tells_of_a_session_that_ended_before),
	T(closing_closes_where_it_wrote),
	T(closing_does_not_wait_long_for_a_dead_cluster),
	T(closing_interrupts_the_renewal),
	T(a_short_session_is_renewed_more_often),
	T(locks_are_taken_and_used),
	T(a_lock_is_retried_and_its_use_is_not),
	T(unlocking_cancels_and_does_not_wait),
	T(a_lock_whose_answer_is_lost_is_given_up),
	T(a_lock_ends_with_its_session),
	T(a_lock_of_another_group_is_refused),
};

CHECK_MAIN(tests)
