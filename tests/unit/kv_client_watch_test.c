/* The routing client: watching a key. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_client_fixture.h"

static struct kcf k;
static uint8_t key_bytes[64];

static void setup(void)
{
	kcf_open(&k);
}

static void teardown(void)
{
	kcf_close(&k);
}

static struct slice the_key(const struct kcf *f)
{
	return kcf_key(f, 1, "watched", key_bytes);
}

static void open_with(struct kcf *f, uint64_t version)
{
	kcf_client(f, false);
	if (version)
		kcf_put(f, the_key(f), slice_str("v"), version);
}

/* ---- a change on another fiber, later ---- */

struct later {
	struct kcf *k;
	uint64_t after_ns;
	void (*act)(struct kcf *k);
};

static void later_fiber(void *arg)
{
	struct later *l = arg;

	CHECK_OK(fiber_sleep(l->after_ns));
	l->act(l->k);
}

static void later(struct later *l)
{
	CHECK_OK(fiber_start(l->k->fibers, later_fiber, l));
}

static void put_8(struct kcf *f)
{
	kcf_put(f, the_key(f), slice_str("v"), 8);
}

static void move_leader(struct kcf *f)
{
	f->leader[1] = f->leader[1] % 3 + 1;
}

/* ---- stories ---- */

static void at_once_story(struct kcf *f)
{
	uint64_t now = 99, begin;
	uint8_t other[64];

	open_with(f, 7);
	begin = f->now_ns;
	CHECK_OK(kv_client_watch(f->client, the_key(f), 3, 60 * NS_PER_S, &now));
	CHECK_U64_EQ(now, 7);
	CHECK_OK(kv_client_watch(f->client, kcf_key(f, 2, "absent", other), 3, 60 * NS_PER_S, &now));
	CHECK_U64_EQ(now, 0);
	CHECK_TRUE(f->now_ns - begin < 100 * NS_PER_MS);
}

static void another_version_is_returned_at_once(void)
{
	kcf_run(&k, at_once_story);
}

static void wake_story(struct kcf *f)
{
	struct later l = {f, 12 * NS_PER_S, put_8};
	uint64_t now = 0, begin;
	struct kv_client_stats s;

	open_with(f, 7);
	begin = f->now_ns;
	later(&l);
	CHECK_OK(kv_client_watch(f->client, the_key(f), 7, UINT64_MAX, &now));
	CHECK_U64_EQ(now, 8);
	CHECK_TRUE(f->now_ns - begin < 12 * NS_PER_S + 10 * NS_PER_MS);
	CHECK_U64_EQ(kcf_count(f, KV_WATCH), 3); /* 5, 10, 12 seconds */
	CHECK_U64_EQ(kcf_count(f, KV_EXEC) + kcf_count(f, KV_READ), 0);
	kv_client_stats_get(f->client, &s);
	CHECK_U64_EQ(s.watches, 1);
}

static void a_change_wakes(void)
{
	kcf_run(&k, wake_story);
}

static void wait_story(struct kcf *f)
{
	uint64_t now = 0, begin;

	open_with(f, 7);
	begin = f->now_ns;
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 7, 7 * NS_PER_S, &now), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin >= 7 * NS_PER_S);
	CHECK_TRUE(f->now_ns - begin < 7 * NS_PER_S + 300 * NS_PER_MS);
	begin = f->now_ns;
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 7, 0, &now), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin < 100 * NS_PER_MS);
	CHECK_OK(kv_client_watch(f->client, the_key(f), 6, 0, &now));
	CHECK_ERR(kv_client_watch(f->client, slice_str(""), 6, 0, &now), ERR_INVAL);
}

static void the_wait_ends(void)
{
	kcf_run(&k, wait_story);
}

static void leader_story(struct kcf *f)
{
	struct later l = {f, 2 * NS_PER_S, move_leader}, l2 = {f, 3 * NS_PER_S, put_8};
	uint64_t now = 0, begin;

	open_with(f, 7);
	move_leader(f);
	begin = f->now_ns;
	later(&l);
	later(&l2);
	CHECK_OK(kv_client_watch(f->client, the_key(f), 7, 60 * NS_PER_S, &now));
	CHECK_U64_EQ(now, 8);
	CHECK_TRUE(f->now_ns - begin < 3 * NS_PER_S + 20 * NS_PER_MS);
}

static void leaders_are_followed(void)
{
	kcf_run(&k, leader_story);
}

static void rounds_story(struct kcf *f)
{
	uint64_t now;
	uint32_t first;

	open_with(f, 7);
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 7, 5 * NS_PER_S, &now), ERR_TIMEOUT);
	first = kcf_count(f, KV_WATCH);
	CHECK_U64_EQ(kv_client_leader(f->client, 1), f->leader[1]);
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 7, 20 * NS_PER_S, &now), ERR_TIMEOUT);
	CHECK_U64_EQ(kcf_count(f, KV_WATCH) - first, 4); /* all to the leader */
}

static void the_leader_is_learned_from_its_timeouts(void)
{
	kcf_run(&k, rounds_story);
}

/* Frozen: its connection stays, and nothing comes. */
static void first_is_silent(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	if (c->type != KV_WATCH || c->nth > 1)
		return;
	fate->before = ERR_TIMEOUT;
	f->leader[1] = c->node % 3 + 1;
}

static void silent_story(struct kcf *f)
{
	struct later l = {f, NS_PER_S, put_8};
	uint64_t now = 0, begin;

	open_with(f, 7);
	f->script = first_is_silent;
	begin = f->now_ns;
	later(&l);
	CHECK_OK(kv_client_watch(f->client, the_key(f), 7, 60 * NS_PER_S, &now));
	CHECK_U64_EQ(now, 8);
	CHECK_TRUE(f->now_ns - begin < 6 * NS_PER_S + 200 * NS_PER_MS);
}

static void a_frozen_leader_is_left(void)
{
	kcf_run(&k, silent_story);
}

static void first_ten_are_busy(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_WATCH && c->nth <= 10)
		fate->envelope = ERR_BUSY;
}

static void busy_story(struct kcf *f)
{
	uint64_t now = 0;

	open_with(f, 7);
	f->script = first_ten_are_busy;
	CHECK_OK(kv_client_watch(f->client, the_key(f), 6, 60 * NS_PER_S, &now));
	CHECK_TRUE(kcf_count(f, KV_WATCH) >= 11);
}

static void a_busy_leader_is_asked_again(void)
{
	kcf_run(&k, busy_story);
}

static void first_is_of_an_old_map(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_WATCH && c->nth == 1)
		fate->envelope = ERR_WRONG_SHARD;
}

static void old_map_story(struct kcf *f)
{
	uint64_t now = 0;
	uint32_t maps;

	open_with(f, 7);
	maps = kcf_count(f, KV_MAP);
	f->script = first_is_of_an_old_map;
	CHECK_OK(kv_client_watch(f->client, the_key(f), 6, 60 * NS_PER_S, &now));
	CHECK_U64_EQ(kcf_count(f, KV_MAP), maps + 1);
}

static void an_old_map_is_replaced(void)
{
	kcf_run(&k, old_map_story);
}

static void knows_no_watches(struct kcf *f, const struct kcf_call *c, struct kcf_fate *fate)
{
	(void)f;
	if (c->type == KV_WATCH)
		fate->envelope = ERR_UNSUPPORTED;
}

static void old_node_story(struct kcf *f)
{
	uint64_t now = 0;

	open_with(f, 7);
	f->script = knows_no_watches;
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 7, 60 * NS_PER_S, &now), ERR_UNSUPPORTED);
}

static void an_old_node_says_so(void)
{
	kcf_run(&k, old_node_story);
}

static struct fiber *watcher;

static void interrupt_watcher(struct kcf *f)
{
	(void)f;
	fiber_interrupt(watcher);
}

static void interrupt_story(struct kcf *f)
{
	struct later l = {f, 2 * NS_PER_S, interrupt_watcher};
	uint64_t now = 0, begin;

	open_with(f, 7);
	begin = f->now_ns;
	watcher = fiber_self();
	later(&l);
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 7, 60 * NS_PER_S, &now), ERR_INTERRUPTED);
	CHECK_TRUE(f->now_ns - begin < 2 * NS_PER_S + 10 * NS_PER_MS);
	fiber_interrupt_clear();
}

static void an_interrupt_ends_it(void)
{
	kcf_run(&k, interrupt_story);
}

static void nobody_story(struct kcf *f)
{
	uint64_t now = 0, begin;

	open_with(f, 7);
	f->script = kcf_all_down;
	begin = f->now_ns;
	CHECK_ERR(kv_client_watch(f->client, the_key(f), 6, 2 * NS_PER_S, &now), ERR_TIMEOUT);
	CHECK_TRUE(f->now_ns - begin < 2 * NS_PER_S + 400 * NS_PER_MS);
}

static void the_wait_ends_without_a_cluster(void)
{
	kcf_run(&k, nobody_story);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(another_version_is_returned_at_once),
	T(a_change_wakes),
	T(the_wait_ends),
	T(leaders_are_followed),
	T(the_leader_is_learned_from_its_timeouts),
	T(a_frozen_leader_is_left),
	T(a_busy_leader_is_asked_again),
	T(an_old_map_is_replaced),
	T(an_old_node_says_so),
	T(an_interrupt_ends_it),
	T(the_wait_ends_without_a_cluster),
};

CHECK_MAIN(tests)
