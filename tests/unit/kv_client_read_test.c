/* The routing client: interrupts, maps that are old, reads of one group and of several. */
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

static void group_1_is_silent(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->group == 1 && (c->type == KV_EXEC || c->type == KV_READ))
		fate->before = ERR_TIMEOUT;
}

static void hold_group_1(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	fate->hold = c->type == KV_EXEC && c->group == 1 && c->command == KCF_REQUEST;
}

/* ---- interrupts ---- */

static void interrupt_executed_story(struct kcf *f)
{
	const struct kcf_call *c;
	struct kcf_writer w;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = hold_group_1;
	kcf_start_writer(f, &w, 1); /* executed; its answer is held back */
	fiber_interrupt(w.fiber);
	kcf_await_writer(&w);
	CHECK_OK(w.err); /* the CANCEL came second */
	c = kcf_last_cancel(f);
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
	struct kcf_writer w;
	uint64_t begin;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = requests_of_group_1_vanish;
	kcf_start_writer(f, &w, 1);
	begin = f->now_ns;
	fiber_interrupt(w.fiber);
	kcf_await_writer(&w);
	CHECK_ERR(w.err, ERR_INTERRUPTED); /* the CANCEL came first: it will never be executed */
	CHECK_NOT_NULL(kcf_last_cancel(f));
	CHECK_TRUE(f->now_ns - begin < 100 * NS_PER_MS);
}

static void an_interrupted_request_that_was_lost_is_cancelled(void)
{
	kcf_run(&k, interrupt_lost_story);
}

static void interrupt_away_story(struct kcf *f)
{
	struct kcf_writer w;
	uint64_t begin;

	kcf_client(f, true);
	f->script = group_1_is_silent;
	kcf_start_writer(f, &w, 1);
	begin = f->now_ns;
	fiber_interrupt(w.fiber);
	kcf_await_writer(&w);
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
	struct kcf_writer w;

	kcf_client(f, true);
	kcf_forget(f);
	f->script = group_1_is_unreachable;
	kcf_start_writer(f, &w, 1);
	fiber_sleep(200 * NS_PER_MS);
	fiber_interrupt(w.fiber);
	kcf_await_writer(&w);
	CHECK_ERR(w.err, ERR_INTERRUPTED);
	CHECK_NULL(kcf_last_cancel(f)); /* surely not sent: nothing to cancel */
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
	CHECK_OK(kcf_write(f, 1, 0)); /* it did */
	CHECK_NOT_NULL(kcf_last_cancel(f));
}

static void no_room_is_not_said_of_what_was_executed(void)
{
	kcf_run(&k, doubt_story);
}

/* Nor is there room for the CANCEL: then nobody knows. */
static void too_full_to_settle(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type != KV_EXEC || c->group != 1)
		return;
	if (f->counter++ == 0)
		fate->after = ERR_CLOSED;
	else
		fate->envelope = ERR_NOSPACE;
}

static void unsettled_story(struct kcf *f)
{
	kcf_client(f, true);
	kcf_forget(f);
	f->script = too_full_to_settle;
	CHECK_ERR(kcf_write(f, 1, 0), ERR_TIMEOUT);
}

static void no_room_is_not_said_when_nobody_knows(void)
{
	kcf_run(&k, unsettled_story);
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
	CHECK_OK(kcf_read(f, 2, 0, versions));
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
	CHECK_OK(kcf_read(f, 1, 0, versions));
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
	CHECK_OK(kcf_read(f, 1, 0, versions));
	CHECK_U64_EQ(versions[0], 5);
	CHECK_TRUE(kcf_count(f, KV_READ) >= 1);
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 0); /* and no session */
	CHECK_U64_EQ(kcf_count(f, KV_OPEN), 0);
}

static void a_read_logs_nothing(void)
{
	kcf_run(&k, read_story);
}

/* "a" in group 1, version 7, and "b" in group 2, version 100; and a client. */
static void two_values(struct kcf *f, bool sessions)
{
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 7);
	kcf_put(f, kcf_key(f, 2, "b", key), slice_str("v"), 100);
	kcf_client(f, sessions);
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

	two_values(f, false);
	f->script = someone_writes;
	CHECK_OK(kcf_read(f, 1, 2, versions));
	CHECK_U64_EQ(f->counter, 4); /* 101, 102, 103, 103 */
	CHECK_U64_EQ(versions[0], 7);
	CHECK_U64_EQ(versions[1], 103);
}

static void reads_of_several_groups_repeat_until_they_agree(void)
{
	kcf_run(&k, double_read_story);
}

static void someone_always_writes(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	uint8_t key[64];

	(void)fate;
	if (c->type == KV_READ && c->group == 2)
		kcf_put(f, kcf_key(f, 2, "b", key), slice_str("v"), 100 + ++f->counter);
}

static void starved_read_story(struct kcf *f)
{
	uint64_t versions[2] = {0};

	two_values(f, true);
	CHECK_OK(kcf_write(f, 1, 0)); /* opens the session */
	kcf_forget(f);
	f->script = someone_always_writes;
	CHECK_OK(kcf_read(f, 1, 2, versions));
	CHECK_TRUE(kcf_count(f, KV_READ) <= 32);
	CHECK_U64_EQ(kcf_count(f, KV_EXEC), 1);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, 1)->part_count, 2);
}

static void a_read_that_never_agrees_becomes_a_request(void)
{
	kcf_run(&k, starved_read_story);
}

static void request_is_lost(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	someone_always_writes(f, c, fate);
	if (c->type != KV_EXEC || c->client != 1)
		return;
	if (kcf_count(f, KV_EXEC) <= 1)
		fate->before = ERR_CLOSED; /* on the way there, or on the way back */
	else
		fate->status = ERR_SESSION;
}

/* That it may have been executed once means nothing: the caller can read again. */
static void starved_and_lost_story(struct kcf *f)
{
	uint64_t versions[2] = {0};

	two_values(f, true);
	kcf_forget(f);
	f->script = request_is_lost;
	CHECK_ERR(kcf_read(f, 1, 2, versions), ERR_SESSION);
	CHECK_U64_EQ(kv_client_id(f->client), 2);
	CHECK_OK(kcf_read(f, 1, 2, versions));
}

static void a_read_has_no_unknown_outcome(void)
{
	kcf_run(&k, starved_and_lost_story);
}

/* A client that has never written has no session; its reads end all the same. */
static void starved_stranger_story(struct kcf *f)
{
	uint64_t versions[2] = {0};

	f->cfg.timeout_ns = 20 * NS_PER_S;
	two_values(f, false);
	kcf_forget(f);
	f->script = someone_always_writes;
	CHECK_OK(kcf_read(f, 1, 2, versions));
	CHECK_TRUE(kcf_count(f, KV_READ) <= 32);
	CHECK_U64_EQ(kcf_nth(f, KV_EXEC, kcf_count(f, KV_EXEC))->part_count, 2);
	f->script = NULL;
}

static void so_does_one_of_a_client_without_a_session(void)
{
	kcf_run(&k, starved_stranger_story);
}

static void quiet_double_read_story(struct kcf *f)
{
	uint64_t versions[2] = {0}, last_of_first = 0;
	uint8_t key[64];

	kcf_put(f, kcf_key(f, 1, "a", key), slice_str("v"), 7);
	kcf_put(f, kcf_key(f, 2, "b", key), slice_str("v"), 8);
	kcf_client(f, false);
	CHECK_OK(kcf_read(f, 1, 2, versions)); /* leaders are known from here on */
	kcf_forget(f);
	CHECK_OK(kcf_read(f, 1, 2, versions));
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
	CHECK_OK(kcf_read(f, 1, 0, versions));
	CHECK_U64_EQ(versions[0], 7);
	f->counter = 0;
	CHECK_OK(kcf_read(f, 1, 2, versions));
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
	r->err = kcf_read(r->f, 1, 2, versions);
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

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(an_interrupted_request_that_was_executed_succeeds),
	T(an_interrupted_request_that_was_lost_is_cancelled),
	T(an_interrupt_ends_the_wait_for_a_dead_group),
	T(what_was_never_sent_needs_no_cancel),
	T(no_room_is_not_said_of_what_was_executed),
	T(no_room_is_not_said_when_nobody_knows),
	T(a_stale_map_is_fetched_again),
	T(a_move_under_way_is_waited_for),
	T(a_read_logs_nothing),
	T(reads_of_several_groups_repeat_until_they_agree),
	T(a_read_that_never_agrees_becomes_a_request),
	T(a_read_has_no_unknown_outcome),
	T(so_does_one_of_a_client_without_a_session),
	T(the_second_round_starts_after_the_first),
	T(a_read_that_could_not_wait_is_tried_again),
	T(an_interrupt_reaches_all_parts_of_a_read),
};

CHECK_MAIN(tests)
