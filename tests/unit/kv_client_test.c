/* The routing client: opening, leaders that move, answers that get lost, marks. */
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

static struct kv_client_stats stats_of(struct kcf *f)
{
	struct kv_client_stats s;

	kv_client_stats_get(f->client, &s);
	return s;
}

static uint32_t other_than(const struct kcf *f, uint32_t group)
{
	return f->leader[group] % 3 + 1;
}

/* ---- opening ---- */

static void open_story(struct kcf *f)
{
	uint8_t key[64];
	struct slice end;

	kcf_client(f, false);
	CHECK_U64_EQ(kcf_count(f, KV_MAP), 1);
	CHECK_U64_EQ(kv_client_layout(f->client)->group_count, 3);
	CHECK_U64_EQ(kv_client_id(f->client), 0);
	kv_client_range(f->client, kcf_key(f, 1, "", key), &end);
	CHECK_TRUE(end.len > 0 && slice_cmp(kcf_key(f, 1, "", key), end) < 0);
}

static void opening_fetches_the_layout(void)
{
	kcf_run(&k, open_story);
	CHECK_U64_EQ(kcf_count(&k, KV_EXEC), 0);
}

static void first_endpoint_down(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->node == 1)
		fate->before = ERR_UNREACHABLE;
}

static void second_endpoint_story(struct kcf *f)
{
	kcf_client(f, false);
	CHECK_U64_EQ(kcf_count(f, KV_MAP), 2);
	CHECK_U64_EQ(kcf_nth(f, KV_MAP, 2)->node, 2);
}

static void opening_tries_every_endpoint(void)
{
	k.script = first_endpoint_down;
	kcf_run(&k, second_endpoint_story);
}

static void not_initialised(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	(void)c;
	fate->envelope = ERR_NOT_READY;
}

static void failing_open_story(struct kcf *f)
{
	struct kv_client *c = NULL;
	struct msg m = {""};
	uint64_t begin = f->now_ns;

	f->script = not_initialised;
	CHECK_ERR(kv_client_open(&f->cfg, &c, &m), ERR_NOT_READY);
	CHECK_CONTAINS(m.text, "127.0.0.1:10");
	CHECK_TRUE(f->now_ns - begin < NS_PER_S);
	f->script = kcf_all_down;
	begin = f->now_ns;
	CHECK_ERR(kv_client_open(&f->cfg, &c, &m), ERR_UNREACHABLE);
	CHECK_TRUE(f->now_ns - begin >= 5 * NS_PER_S && f->now_ns - begin < 6 * NS_PER_S);
	f->cfg.endpoints = ",";
	CHECK_ERR(kv_client_open(&f->cfg, &c, &m), ERR_INVAL);
	CHECK_NULL(c);
}

static void opening_fails_with_a_reason(void)
{
	kcf_run(&k, failing_open_story);
}

/* ---- finding the leader ---- */

static void redirect_story(struct kcf *f)
{
	uint32_t was = f->leader[1];

	kcf_client(f, true);
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(kv_client_leader(f->client, 1), was);
	f->leader[1] = other_than(f, 1);
	kcf_forget(f);
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 2);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->node, was);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 2)->node, f->leader[1]);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 2)->sequence, kcf_nth(f, KV_EXEC, 1)->sequence);
	CHECK_TRUE(stats_of(f).redirects >= 1);
	kcf_forget(f);
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 1); /* remembered */
}

static void a_redirect_is_followed_and_remembered(void)
{
	kcf_run(&k, redirect_story);
}

static void nobody_leads_at_first(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type == KV_EXEC && c->group == 1 && f->counter++ < 7)
		fate->envelope = ERR_NOT_LEADER;
}

static void election_story(struct kcf *f)
{
	bool seen[4] = {false};

	kcf_client(f, true);
	kcf_forget(f);
	f->script = nobody_leads_at_first;
	CHECK_OK(kcf_write(f, 1, 0));
	for (uint32_t i = 1; i <= kcf_count(f, KV_EXEC); i++)
		seen[kcf_nth(f, KV_EXEC, i)->node] = true;
	CHECK_TRUE(seen[1] && seen[2] && seen[3]);
}

static void an_election_is_waited_for(void)
{
	kcf_run(&k, election_story);
}

static void two_that_point_at_each_other(struct kcf *f, const struct kcf_call *c,
					 struct kcf_fate *fate)
{
	if (c->type != KV_EXEC || c->group != 1 || f->counter++ >= 40)
		return;
	fate->envelope = ERR_NOT_LEADER;
	fate->hint = c->node % 3 + 1;
}

static void circle_story(struct kcf *f)
{
	uint64_t begin;

	kcf_client(f, true);
	begin = f->now_ns;
	f->script = two_that_point_at_each_other;
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_TRUE(f->now_ns - begin > 100 * NS_PER_MS); /* it did not spin */
}

static void redirects_in_a_circle_do_not_spin(void)
{
	kcf_run(&k, circle_story);
}

/* A dead leader, whose followers still point at it for a while. */
static void the_first_leader_is_dead(struct kcf *f, const struct kcf_call *c,
				     struct kcf_fate *fate)
{
	uint32_t dead = f->layout.groups[1].members[0];

	if (c->type != KV_EXEC || c->group != 1)
		return;
	if (c->node == dead) {
		fate->before = ERR_TIMEOUT;
		f->counter++;
	} else if (f->leader[1] == dead && c->at_ns < 2 * NS_PER_S) {
		fate->envelope = ERR_NOT_LEADER;
		fate->hint = dead;
	} else {
		f->leader[1] = c->node;
	}
}

static void dead_leader_story(struct kcf *f)
{
	kcf_client(f, true);
	CHECK_OK(kcf_write(f, 1, 0));
	f->now_ns = 2 * NS_PER_S - 350 * NS_PER_MS; /* it is replaced in 350 ms */
	f->script = the_first_leader_is_dead;
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(f->counter, 1);
	CHECK_TRUE(f->now_ns < 2 * NS_PER_S + 150 * NS_PER_MS);
}

static void a_dead_node_is_not_asked_again_at_once(void)
{
	kcf_run(&k, dead_leader_story);
}

/* A request that waits for a lock is no reason to look for another leader: the node answers others. */
static void lock_wait(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	fate->hold = c->type == KV_EXEC && c->group == 1 && f->counter++ == 0;
}

static void lock_wait_story(struct kcf *f)
{
	struct kcf_writer w;
	uint64_t begin = 0;

	kcf_client(f, true);
	f->leader[2] = f->leader[1]; /* one node leads both */
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_OK(kcf_write(f, 2, 0));
	kcf_forget(f);
	f->script = lock_wait;
	kcf_start_writer(f, &w, 1);
	while (!w.done && begin < 200) { /* others go on at full speed */
		uint64_t at = f->now_ns;

		CHECK_OK(kcf_write(f, 2, 0));
		CHECK_TRUE(f->now_ns - at <= 2 * KCF_LATENCY_NS);
		begin++;
	}
	CHECK_TRUE(w.done); /* its second attempt was answered */
	CHECK_OK(w.err);
	for (uint32_t i = 1; i <= kcf_count(f, KV_EXEC); i++)
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, i)->node, f->leader[1]);
}

static void a_slow_request_does_not_slow_others(void)
{
	kcf_run(&k, lock_wait_story);
}

/* It answered a moment before it froze: that does not count as a sign of life when the time is up. */
static void freezes(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type != KV_EXEC || c->node != f->layout.groups[1].members[0])
		return;
	fate->before = ERR_TIMEOUT;
	f->counter++;
	f->leader[1] = c->node % 3 + 1;
}

static void frozen_story(struct kcf *f)
{
	uint64_t begin;

	kcf_client(f, true);
	f->leader[2] = f->leader[1];
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_OK(kcf_write(f, 2, 0));
	f->script = freezes;
	begin = f->now_ns;
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_U64_EQ(f->counter, 1);
	CHECK_TRUE(f->now_ns - begin < 400 * NS_PER_MS);
}

static void a_frozen_node_is_left_after_one_attempt(void)
{
	kcf_run(&k, frozen_story);
}

/* ---- exactly once ---- */

static void first_answer_lost(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	static const int ways[] = {ERR_TIMEOUT, ERR_CLOSED};

	if (c->type == KV_EXEC && c->group == 1 && f->counter < 2)
		fate->after = ways[f->counter++];
}

static void lost_answer_story(struct kcf *f)
{
	const struct kcf_call *a, *b;
	uint32_t replies;

	kcf_client(f, true);
	kcf_forget(f);
	replies = f->reply_count;
	f->script = first_answer_lost;
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_TRUE(kcf_count(f, KV_EXEC) >= 3);
	a = kcf_nth(f, KV_EXEC, 1);
	for (uint32_t i = 2; i <= kcf_count(f, KV_EXEC); i++) {
		b = kcf_nth(f, KV_EXEC, i);
		CHECK_SLICE_EQ(buf_slice(&b->body), buf_slice(&a->body));
	}
	CHECK_U64_EQ(f->reply_count, replies + 1);
}

static void a_lost_answer_is_asked_for_with_the_same_request(void)
{
	kcf_run(&k, lost_answer_story);
}

static void fails_as_told(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type == KV_EXEC && c->group == 1)
		fate->envelope = -(int)f->counter;
}

static void final_error_story(struct kcf *f)
{
	static const int final[] = {ERR_PROTO, ERR_TOO_BIG, ERR_NOSPACE, ERR_SESSION, ERR_NOMEM};

	kcf_client(f, true);
	f->script = fails_as_told;
	for (unsigned i = 0; i < sizeof(final) / sizeof(final[0]); i++) {
		kcf_forget(f);
		f->counter = (unsigned)-final[i];
		CHECK_ERR(kcf_write(f, 1, 0), final[i]);
		/* the end of a session is followed by the record of the next one */
		CHECK_U64_EQ(kcf_count(f, KV_EXEC), final[i] == ERR_SESSION ? 2 : 1);
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->group, 1);
	}
	f->script = NULL;
	CHECK_OK(kcf_write(f, 2, 0));
}

static void final_errors_are_not_retried(void)
{
	kcf_run(&k, final_error_story);
}

static void passing_trouble(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	static const int envelopes[] = {ERR_BUSY, ERR_NOT_READY, ERR_AMNESIA, ERR_NO_GROUP};

	if (c->type != KV_EXEC || c->group != 1)
		return;
	if (f->counter < 4)
		fate->envelope = envelopes[f->counter];
	else if (f->counter == 4)
		fate->before = ERR_BUSY;
	else if (f->counter == 5)
		fate->before = ERR_UNREACHABLE;
	f->counter++;
}

static void passing_trouble_story(struct kcf *f)
{
	uint32_t replies;

	kcf_client(f, true);
	replies = f->reply_count;
	f->script = passing_trouble;
	CHECK_OK(kcf_write(f, 1, 0));
	CHECK_TRUE(f->counter >= 7);
	CHECK_U64_EQ(f->reply_count, replies + 1);
}

static void passing_trouble_is_waited_out(void)
{
	kcf_run(&k, passing_trouble_story);
}

static void conflicts_at_first(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	static const int statuses[] = {ERR_ABORTED, ERR_DEADLOCK, ERR_BUSY};

	if (c->type == KV_EXEC && c->group == 1 && f->counter < 3)
		fate->status = statuses[f->counter++];
}

static void conflict_story(struct kcf *f)
{
	kcf_client(f, true);
	kcf_forget(f);
	f->script = conflicts_at_first;
	CHECK_OK(kcf_write(f, 1, 2));
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 4);
	for (uint32_t i = 2; i <= 4; i++) {
		const struct kcf_call *a = kcf_nth(f, KV_EXEC, i - 1), *b = kcf_nth(f, KV_EXEC, i);

		CHECK_U64_EQ(b->sequence, a->sequence + 1); /* another transaction */
		CHECK_U64_EQ(b->age, a->age);		    /* of the same age */
		CHECK_U64_EQ(b->mark, a->sequence);
		CHECK_U64_EQ(b->part_count, 2);
	}
	CHECK_U64_EQ(stats_of(f).cross_group, 4);
}

static void an_aborted_transaction_runs_again_at_its_age(void)
{
	kcf_run(&k, conflict_story);
}

static void group_1_is_silent(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->group == 1 && (c->type == KV_EXEC || c->type == KV_READ))
		fate->before = ERR_TIMEOUT;
}

static void deadline_story(struct kcf *f)
{
	uint64_t begin, versions[2];

	kcf_client(f, true);
	f->script = group_1_is_silent;
	begin = f->now_ns;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin >= 30 * NS_PER_S && f->now_ns - begin < 31 * NS_PER_S);
	begin = f->now_ns;
	CHECK_ERR(kcf_read(f, 1, 2, versions), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin >= 30 * NS_PER_S && f->now_ns - begin < 31 * NS_PER_S);
	f->script = NULL;
	CHECK_OK(kcf_write(f, 1, 0));
}

static void every_wait_ends_at_the_deadline(void)
{
	kcf_run(&k, deadline_story);
}

/* ---- marks ---- */

static void hold_group_1(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	fate->hold = c->type == KV_EXEC && c->group == 1 && c->command == KCF_REQUEST;
}

static void mark_story(struct kcf *f)
{
	struct kcf_writer w;
	uint64_t held;
	uint32_t n;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = hold_group_1;
	kcf_start_writer(f, &w, 1);
	held = kcf_nth(f, KV_EXEC, 1)->sequence;
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->mark, held - 1);
	for (uint32_t i = 1; i <= 3; i++) {
		CHECK_OK(kcf_write(f, 2, 0));
		n = kcf_count(f, KV_EXEC);
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, n)->sequence, held + i);
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, n)->mark, held - 1); /* `held` has no answer yet */
	}
	CHECK_FALSE(w.done);
	f->release = true;
	kcf_await_writer(&w);
	CHECK_OK(w.err);
	CHECK_OK(kcf_write(f, 2, 0));
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, kcf_count(f, KV_EXEC))->mark, held + 3);
}

static void the_mark_waits_for_the_oldest_request(void)
{
	kcf_run(&k, mark_story);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(opening_fetches_the_layout),
	T(opening_tries_every_endpoint),
	T(opening_fails_with_a_reason),
	T(a_redirect_is_followed_and_remembered),
	T(an_election_is_waited_for),
	T(redirects_in_a_circle_do_not_spin),
	T(a_dead_node_is_not_asked_again_at_once),
	T(a_slow_request_does_not_slow_others),
	T(a_frozen_node_is_left_after_one_attempt),
	T(a_lost_answer_is_asked_for_with_the_same_request),
	T(final_errors_are_not_retried),
	T(passing_trouble_is_waited_out),
	T(an_aborted_transaction_runs_again_at_its_age),
	T(every_wait_ends_at_the_deadline),
	T(the_mark_waits_for_the_oldest_request),
};

CHECK_MAIN(tests)
