/* The routing client against a make-believe cluster: leaders that move, answers that get lost, maps that
 * are old, sessions that end, locks. */
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

static int put_in(struct kcf *f, uint32_t a, uint32_t b) /* b 0: one group only */
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t ka[64], kb[64];
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, kcf_key(f, a, "a", ka), slice_str("1"));
	if (b)
		txn_put(&m, kcf_key(f, b, "b", kb), slice_str("2"));
	err = txn_exec(kv_client_executor(f->client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static int get_from(struct kcf *f, uint32_t a, uint32_t b, uint64_t versions[2])
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t ka[64], kb[64];
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, kcf_key(f, a, "a", ka));
	if (b)
		txn_get(&m, kcf_key(f, b, "b", kb));
	err = txn_exec(kv_client_executor(f->client), &m, &r);
	for (uint32_t i = 0; !err && i < r.read_count; i++)
		versions[i] = r.reads[i].value.version;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
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

static void all_down(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	(void)c;
	fate->before = ERR_UNREACHABLE;
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
	f->script = all_down;
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
	CHECK_OK(put_in(f, 1, 0));
	CHECK_U64_EQ(kv_client_leader(f->client, 1), was);
	f->leader[1] = other_than(f, 1);
	kcf_forget(f);
	CHECK_OK(put_in(f, 1, 0));
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 2);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->node, was);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 2)->node, f->leader[1]);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 2)->sequence, kcf_nth(f, KV_EXEC, 1)->sequence);
	CHECK_TRUE(stats_of(f).redirects >= 1);
	kcf_forget(f);
	CHECK_OK(put_in(f, 1, 0));
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
	CHECK_OK(put_in(f, 1, 0));
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
	CHECK_OK(put_in(f, 1, 0));
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
	CHECK_OK(put_in(f, 1, 0));
	f->now_ns = 2 * NS_PER_S - 450 * NS_PER_MS; /* it is replaced in 450 ms */
	f->script = the_first_leader_is_dead;
	CHECK_OK(put_in(f, 1, 0));
	CHECK_U64_EQ(f->counter, 1);
	CHECK_TRUE(f->now_ns < 2 * NS_PER_S + 150 * NS_PER_MS);
}

static void a_dead_node_is_not_asked_again_at_once(void)
{
	kcf_run(&k, dead_leader_story);
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
	CHECK_OK(put_in(f, 1, 0));
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
		CHECK_ERR(put_in(f, 1, 0), final[i]);
		if (final[i] != ERR_SESSION)
			CHECK_U64_EQ(kcf_count(f, KV_EXEC), 1);
		else
			break; /* no more writes after that */
	}
	f->script = NULL;
	CHECK_ERR(put_in(f, 2, 0), ERR_SESSION);
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
	CHECK_OK(put_in(f, 1, 0));
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
	CHECK_OK(put_in(f, 1, 2));
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
	CHECK_ERR(put_in(f, 1, 0), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin >= 30 * NS_PER_S && f->now_ns - begin < 31 * NS_PER_S);
	begin = f->now_ns;
	CHECK_ERR(get_from(f, 1, 2, versions), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin >= 30 * NS_PER_S && f->now_ns - begin < 31 * NS_PER_S);
	f->script = NULL;
	CHECK_OK(put_in(f, 1, 0));
}

static void every_wait_ends_at_the_deadline(void)
{
	kcf_run(&k, deadline_story);
}

/* ---- marks ---- */

struct writer {
	struct kcf *f;
	uint32_t group;
	bool done;
	int err;
	struct fiber *fiber;
};

static void writer_main(void *arg)
{
	struct writer *w = arg;

	w->fiber = fiber_self();
	w->err = put_in(w->f, w->group, 0);
	w->done = true;
}

static void start_writer(struct kcf *f, struct writer *w, uint32_t group)
{
	*w = (struct writer){.f = f, .group = group};
	CHECK_OK(fiber_start(f->fibers, writer_main, w));
	fiber_sleep(5 * NS_PER_MS); /* it has sent */
}

static void await_writer(struct writer *w)
{
	while (!w->done)
		fiber_sleep(NS_PER_MS);
}

static void hold_group_1(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	fate->hold = c->type == KV_EXEC && c->group == 1 && c->command == KCF_REQUEST;
}

static void mark_story(struct kcf *f)
{
	struct writer w;
	uint64_t held;
	uint32_t n;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = hold_group_1;
	start_writer(f, &w, 1);
	held = kcf_nth(f, KV_EXEC, 1)->sequence;
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->mark, held - 1);
	for (uint32_t i = 1; i <= 3; i++) {
		CHECK_OK(put_in(f, 2, 0));
		n = kcf_count(f, KV_EXEC);
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, n)->sequence, held + i);
		CHECK_U64_EQ(kcf_nth(f, KV_EXEC, n)->mark, held - 1); /* `held` has no answer yet */
	}
	CHECK_FALSE(w.done);
	f->release = true;
	await_writer(&w);
	CHECK_OK(w.err);
	CHECK_OK(put_in(f, 2, 0));
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, kcf_count(f, KV_EXEC))->mark, held + 3);
}

static void the_mark_waits_for_the_oldest_request(void)
{
	kcf_run(&k, mark_story);
}

/* ---- interrupts ---- */

static const struct kcf_call *last_cancel(const struct kcf *f)
{
	for (uint32_t i = kcf_count(f, KV_EXEC); i > 0; i--)
		if (kcf_nth(f, KV_EXEC, i)->command == KCF_CANCEL)
			return kcf_nth(f, KV_EXEC, i);
	return NULL;
}

static void interrupt_executed_story(struct kcf *f)
{
	const struct kcf_call *c;
	struct writer w;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = hold_group_1;
	start_writer(f, &w, 1); /* executed; its answer is held back */
	fiber_interrupt(w.fiber);
	await_writer(&w);
	CHECK_OK(w.err); /* the CANCEL came second */
	c = last_cancel(f);
	CHECK_NOT_NULL(c);
	CHECK_U64_EQ(c->sequence, kcf_nth(f, KV_EXEC, 1)->sequence);
	CHECK_U64_EQ(c->client, kv_client_id(f->client));
	CHECK_INT_EQ(c->why, ERR_INTERRUPTED);
}

static void an_interrupted_request_that_was_executed_succeeds(void)
{
	kcf_run(&k, interrupt_executed_story);
}

static void requests_of_group_1_vanish(struct kcf *f, const struct kcf_call *c,
				       struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_EXEC && c->group == 1 && c->command == KCF_REQUEST)
		fate->before = ERR_TIMEOUT;
}

static void interrupt_lost_story(struct kcf *f)
{
	struct writer w;
	uint64_t begin;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = requests_of_group_1_vanish;
	start_writer(f, &w, 1);
	begin = f->now_ns;
	fiber_interrupt(w.fiber);
	await_writer(&w);
	CHECK_ERR(w.err, ERR_INTERRUPTED); /* the CANCEL came first: it will never be executed */
	CHECK_NOT_NULL(last_cancel(f));
	CHECK_TRUE(f->now_ns - begin < 100 * NS_PER_MS);
}

static void an_interrupted_request_that_was_lost_is_cancelled(void)
{
	kcf_run(&k, interrupt_lost_story);
}

static void interrupt_away_story(struct kcf *f)
{
	struct writer w;
	uint64_t begin;

	kcf_client(f, true);
	f->script = group_1_is_silent;
	start_writer(f, &w, 1);
	begin = f->now_ns;
	fiber_interrupt(w.fiber);
	await_writer(&w);
	CHECK_ERR(w.err, ERR_INTERRUPTED);
	CHECK_TRUE(f->now_ns - begin < 3 * NS_PER_S); /* bounded, though nobody answers */
	f->script = NULL;
}

static void an_interrupt_ends_the_wait_for_a_dead_group(void)
{
	kcf_run(&k, interrupt_away_story);
}

static void group_1_is_unreachable(struct kcf *f, const struct kcf_call *c,
				   struct kcf_fate *fate)
{
	(void)f;
	if (c->group == 1 && c->type == KV_EXEC)
		fate->before = ERR_UNREACHABLE;
}

static void interrupt_unsent_story(struct kcf *f)
{
	struct writer w;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = group_1_is_unreachable;
	start_writer(f, &w, 1);
	fiber_sleep(200 * NS_PER_MS);
	fiber_interrupt(w.fiber);
	await_writer(&w);
	CHECK_ERR(w.err, ERR_INTERRUPTED);
	CHECK_NULL(last_cancel(f)); /* surely not sent: nothing to cancel */
	f->script = NULL;
}

static void what_was_never_sent_needs_no_cancel(void)
{
	kcf_run(&k, interrupt_unsent_story);
}

/* A leader took the command, lost its office, and the next one is out of room: did it happen? */
static void full_after_a_doubt(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type != KV_EXEC || c->group != 1 || c->command != KCF_REQUEST)
		return;
	if (f->counter++ == 0)
		fate->after = ERR_CLOSED;
	else
		fate->envelope = ERR_NOSPACE;
}

static void doubt_story(struct kcf *f)
{
	kcf_client(f, true);
	kcf_forget(f);
	f->script = full_after_a_doubt;
	CHECK_OK(put_in(f, 1, 0)); /* it did */
	CHECK_NOT_NULL(last_cancel(f));
}

static void no_room_is_not_said_of_what_was_executed(void)
{
	kcf_run(&k, doubt_story);
}

/* ---- the map ---- */

/* The nodes have moved all shards of group 1 to group 2. */
static void wrong_shard(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->group != 1 || (c->type != KV_EXEC && c->type != KV_READ))
		return;
	if (f->layout.version == 1) {
		f->layout.version = 2;
		for (uint32_t i = 0; i < f->layout.shard_count; i++)
			if (f->layout.shards[i].group == 1)
				f->layout.shards[i].group = 2;
	}
	fate->status = ERR_WRONG_SHARD;
}

static void move_story(struct kcf *f)
{
	uint64_t versions[2] = {0};
	uint32_t maps;
	uint8_t key[64];
	struct txn_mini m;
	struct txn_result r;

	kcf_client(f, true);
	kcf_key(f, 1, "a", key);
	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, slice_of(key, 12), slice_str("1"));
	kcf_forget(f);
	f->script = wrong_shard;
	CHECK_OK(txn_exec(kv_client_executor(f->client), &m, &r));
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 2);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->group, 1);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 2)->group, 2);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 2)->sequence, kcf_nth(f, KV_EXEC, 1)->sequence + 1);
	maps = kcf_count(f, KV_MAP);
	CHECK_U64_EQ(maps, 1);
	CHECK_U64_EQ(kv_client_layout(f->client)->version, 2);
	CHECK_OK(get_from(f, 2, 0, versions));
	CHECK_U64_EQ(kcf_count(f, KV_MAP), maps);
	txn_result_release(&r);
	txn_mini_release(&m);
}

static void a_stale_map_is_fetched_again(void)
{
	kcf_run(&k, move_story);
}

static void wrong_shard_for_a_while(struct kcf *f, const struct kcf_call *c,
				    struct kcf_fate *fate)
{
	if (c->group == 1 && c->type == KV_READ && f->counter++ < 5)
		fate->status = ERR_WRONG_SHARD;
}

static void move_under_way_story(struct kcf *f)
{
	uint64_t versions[2] = {0}, begin;
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 9);
	kcf_client(f, false);
	f->script = wrong_shard_for_a_while;
	begin = f->now_ns;
	CHECK_OK(get_from(f, 1, 0, versions));
	CHECK_U64_EQ(versions[0], 9);
	CHECK_TRUE(f->now_ns - begin > 20 * NS_PER_MS); /* nobody knew better: it waited */
}

static void a_move_under_way_is_waited_for(void)
{
	kcf_run(&k, move_under_way_story);
}

/* ---- reads ---- */

static void read_story(struct kcf *f)
{
	uint64_t versions[2] = {0};
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 5);
	kcf_client(f, false);
	CHECK_OK(get_from(f, 1, 0, versions));
	CHECK_U64_EQ(versions[0], 5);
	CHECK_TRUE(kcf_count(f, KV_READ) >= 1);
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 0); /* and no session */
	CHECK_U64_EQ(kcf_count(f, KV_OPEN), 0);
}

static void a_read_logs_nothing(void)
{
	kcf_run(&k, read_story);
}

/* Each round of the first three sees another version in group 2. */
static void someone_writes(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	uint8_t key[64];

	(void)fate;
	if (c->type == KV_READ && c->group == 2 && c->node == f->leader[2] && ++f->counter <= 3)
		kcf_put(f, kcf_key(f, 2, "b", key), slice_str("v"), 100 + f->counter);
}

static void double_read_story(struct kcf *f)
{
	uint64_t versions[2] = {0};
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 7);
	kcf_put(f, kcf_key(f, 2, "b", key), slice_str("v"), 100);
	kcf_client(f, false);
	f->script = someone_writes;
	CHECK_OK(get_from(f, 1, 2, versions));
	CHECK_U64_EQ(f->counter, 4); /* 101, 102, 103, 103 */
	CHECK_U64_EQ(versions[0], 7);
	CHECK_U64_EQ(versions[1], 103);
}

static void reads_of_several_groups_repeat_until_they_agree(void)
{
	kcf_run(&k, double_read_story);
}

static void quiet_double_read_story(struct kcf *f)
{
	uint64_t versions[2] = {0}, last_of_first = 0;
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 7);
	kcf_put(f, kcf_key(f, 2, "b", key), slice_str("v"), 8);
	kcf_client(f, false);
	CHECK_OK(get_from(f, 1, 2, versions)); /* leaders are known from here on */
	kcf_forget(f);
	CHECK_OK(get_from(f, 1, 2, versions));
	CHECK_U64_EQ(kcf_count(f, KV_READ), 4);
	for (uint32_t i = 1; i <= 2; i++)
		if (kcf_nth(f, KV_READ, i)->at_ns > last_of_first)
			last_of_first = kcf_nth(f, KV_READ, i)->at_ns;
	/* the second round began after all of the first had returned */
	CHECK_TRUE(kcf_nth(f, KV_READ, 3)->at_ns >= last_of_first + 2 * KCF_LATENCY_NS);
	CHECK_U64_EQ(versions[0], 7);
	CHECK_U64_EQ(versions[1], 8);
}

static void the_second_round_starts_after_the_first(void)
{
	kcf_run(&k, quiet_double_read_story);
}

static void reads_busy_at_first(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	static const int statuses[] = {ERR_BUSY, ERR_ABORTED, ERR_NOT_LEADER};

	if (c->type == KV_READ && c->group == 1 && c->node == f->leader[1] && f->counter < 3)
		fate->status = statuses[f->counter++];
}

static void busy_read_story(struct kcf *f)
{
	uint64_t versions[2] = {0};
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 7);
	kcf_client(f, false);
	f->script = reads_busy_at_first;
	CHECK_OK(get_from(f, 1, 0, versions));
	CHECK_U64_EQ(versions[0], 7);
	f->counter = 0;
	CHECK_OK(get_from(f, 1, 2, versions));
	CHECK_U64_EQ(versions[0], 7);
}

static void a_read_that_could_not_wait_is_tried_again(void)
{
	kcf_run(&k, busy_read_story);
}

struct reader {
	struct kcf *f;
	struct fiber *fiber;
	bool done;
	int err;
};

static void reader_main(void *arg)
{
	struct reader *r = arg;
	uint64_t versions[2];

	r->fiber = fiber_self();
	r->err = get_from(r->f, 1, 2, versions);
	r->done = true;
}

static void interrupted_read_story(struct kcf *f)
{
	struct reader r = {.f = f};
	uint64_t begin;

	kcf_client(f, false);
	f->script = group_1_is_silent;
	CHECK_OK(fiber_start(f->fibers, reader_main, &r));
	fiber_sleep(5 * NS_PER_MS);
	begin = f->now_ns;
	fiber_interrupt(r.fiber);
	while (!r.done)
		fiber_sleep(NS_PER_MS);
	CHECK_ERR(r.err, ERR_INTERRUPTED);
	CHECK_TRUE(f->now_ns - begin < 100 * NS_PER_MS);
}

static void an_interrupt_reaches_all_parts_of_a_read(void)
{
	kcf_run(&k, interrupted_read_story);
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
	struct writer a, b;

	kcf_client(f, false);
	start_writer(f, &a, 1);
	start_writer(f, &b, 2); /* while the first one still opens it */
	await_writer(&a);
	await_writer(&b);
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

static void record_fails_once(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type == KV_EXEC && c->group == 0 && f->counter++ == 0)
		fate->envelope = ERR_NOMEM;
}

static void session_fails_story(struct kcf *f)
{
	kcf_client(f, false);
	f->script = record_fails_once;
	CHECK_ERR(put_in(f, 1, 0), ERR_NOMEM);
	CHECK_U64_EQ(kv_client_id(f->client), 0);
	CHECK_OK(put_in(f, 1, 0));
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
	CHECK_OK(put_in(f, 1, 0));
	f->script = record_is_gone;
	fiber_sleep(15 * NS_PER_S);
	CHECK_ERR(put_in(f, 1, 0), ERR_SESSION);
	CHECK_OK(get_from(f, 1, 0, versions)); /* reading needs none */
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
	CHECK_ERR(put_in(f, 1, 0), ERR_SESSION);
	CHECK_ERR(put_in(f, 2, 0), ERR_SESSION);
}

static void a_refused_session_is_lost(void)
{
	kcf_run(&k, refused_session_story);
}

static void close_story(struct kcf *f)
{
	kcf_client(f, true);
	CHECK_OK(put_in(f, 2, 0));
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
	CHECK_OK(put_in(f, 2, 0));
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
	put_session(f, 50, 1000 * NS_PER_S + f->now_ns - 120 * NS_PER_S); /* dead for long */
	put_session(f, 51, 1000 * NS_PER_S + f->now_ns - 20 * NS_PER_S);  /* alive */
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(11 * NS_PER_S);
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
	c = last_cancel(&k);
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
	CHECK_NOT_NULL(last_cancel(f)); /* it may be taken yet: given up again */
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
	T(opening_fetches_the_layout),
	T(opening_tries_every_endpoint),
	T(opening_fails_with_a_reason),
	T(a_redirect_is_followed_and_remembered),
	T(an_election_is_waited_for),
	T(redirects_in_a_circle_do_not_spin),
	T(a_dead_node_is_not_asked_again_at_once),
	T(a_lost_answer_is_asked_for_with_the_same_request),
	T(final_errors_are_not_retried),
	T(passing_trouble_is_waited_out),
	T(an_aborted_transaction_runs_again_at_its_age),
	T(every_wait_ends_at_the_deadline),
	T(the_mark_waits_for_the_oldest_request),
	T(an_interrupted_request_that_was_executed_succeeds),
	T(an_interrupted_request_that_was_lost_is_cancelled),
	T(an_interrupt_ends_the_wait_for_a_dead_group),
	T(what_was_never_sent_needs_no_cancel),
	T(no_room_is_not_said_of_what_was_executed),
	T(a_stale_map_is_fetched_again),
	T(a_move_under_way_is_waited_for),
	T(a_read_logs_nothing),
	T(reads_of_several_groups_repeat_until_they_agree),
	T(the_second_round_starts_after_the_first),
	T(a_read_that_could_not_wait_is_tried_again),
	T(an_interrupt_reaches_all_parts_of_a_read),
	T(a_session_is_renewed),
	T(the_first_write_opens_one_session),
	T(a_session_without_a_record_is_none),
	T(a_lost_session_writes_no_more),
	T(a_refused_session_is_lost),
	T(closing_closes_where_it_wrote),
	T(closing_does_not_wait_long_for_a_dead_cluster),
	T(closing_interrupts_the_renewal),
	T(the_dead_are_buried_in_every_group),
	T(locks_are_taken_and_used),
	T(a_lock_is_retried_and_its_use_is_not),
	T(unlocking_cancels_and_does_not_wait),
	T(a_lock_whose_answer_is_lost_is_given_up),
	T(a_lock_of_another_group_is_refused),
};

CHECK_MAIN(tests)
