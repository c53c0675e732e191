/* The routing client: sessions of others, watched, and closed when they are silent for too long. */
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

static void put_session_of(struct kcf *f, uint64_t id, uint64_t renewed, uint64_t patience_ns)
{
	struct buf key = BUF_INIT;
	uint8_t value[28] = {0};

	kv_meta_key(&key, KV_KEY_SESSION);
	buf_add_be64(&key, id);
	le64_put(value, renewed);
	le64_put(value + 16, patience_ns);
	kcf_put(f, buf_slice(&key), slice_of(value, sizeof(value)), 1);
	buf_release(&key);
}

static void put_session(struct kcf *f, uint64_t id, uint64_t renewed)
{
	put_session_of(f, id, renewed, 60 * NS_PER_S);
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
	f->script = kcf_all_down;
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

static void patience_story(struct kcf *f)
{
	f->last_id = 100;
	f->now_ns = 500 * NS_PER_S;
	put_session_of(f, 50, 7, 5 * NS_PER_S);
	put_session_of(f, 60, 7, 3600 * NS_PER_S);
	put_session_of(f, 70, 7, UINT64_MAX / 3); /* of an older program: its name is there */
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(10 * NS_PER_S); /* its first look */
	CHECK_U64_EQ(count_closes(f, 50), 0);
	fiber_sleep(7 * NS_PER_S); /* it looks more often from now on */
	CHECK_TRUE(count_closes(f, 50) >= 3);
	CHECK_U64_EQ(count_closes(f, 70), 0);
	fiber_sleep(70 * NS_PER_S);
	CHECK_TRUE(count_closes(f, 70) >= 3);
	CHECK_U64_EQ(count_closes(f, 60), 0);
}

static void each_session_has_its_own_patience(void)
{
	kcf_run(&k, patience_story);
}

/* As an_outage_buries_nobody, where the time is shorter than the pause. */
static void short_outage_story(struct kcf *f)
{
	f->last_id = 100;
	f->now_ns = 500 * NS_PER_S;
	put_session_of(f, 50, 7, 6 * NS_PER_S);
	kcf_client(f, true);
	kcf_forget(f);
	fiber_sleep(12 * NS_PER_S);
	f->script = kcf_all_down;
	put_session_of(f, 50, 8, 6 * NS_PER_S); /* the last one that got through */
	fiber_sleep(30 * NS_PER_S);
	kcf_forget(f);
	f->script = NULL;
	while (kcf_count(f, KV_READ) == 0)
		fiber_sleep(100 * NS_PER_MS);
	fiber_sleep(4 * NS_PER_S); /* that one takes a while longer */
	CHECK_U64_EQ(count_closes(f, 50), 0);
	fiber_sleep(5 * NS_PER_S);
	CHECK_TRUE(count_closes(f, 50) >= 3);
}

static void a_short_patience_bears_an_outage(void)
{
	kcf_run(&k, short_outage_story);
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

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	T(the_dead_are_buried_in_every_group),
	T(a_frozen_watcher_buries_nobody),
	T(an_outage_buries_nobody),
	T(each_session_has_its_own_patience),
	T(a_short_patience_bears_an_outage),
	T(the_floor_follows_the_lowest_session),
};

CHECK_MAIN(tests)
