/* consensus: every allocation of every step fails once. "Errors leave the state as it was", and what
 * was swallowed is made up for: a step that could not answer is a message lost.
 *
 * The binary is linked with --wrap=paxos_step: whatever drives a core comes by here. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "consensus/paxos_private.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/paxos_cluster.h"
#include "tests/lib/paxos_hand.h"

int __real_paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up);
int __wrap_paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up);

static struct fault *fault; /* of the scenario that runs */
static unsigned refused, swallowed; /* steps that failed; that went on without the memory */

struct state {
	struct paxos core;
	struct paxos_slot *slots;
};

/* All of the core but its arrays for the update, and the time. */
static struct state state_of(const struct paxos *p)
{
	struct state s = {.core = *p};

	memset(&s.core.out, 0, sizeof(s.core.out));
	s.core.now_ns = s.core.wall_ns = 0;
	s.slots = mem_must_dup(p->window.slots, p->window.cap * sizeof(*s.slots));
	return s;
}

static bool same_state(const struct state *a, const struct state *b)
{
	return memcmp(&a->core, &b->core, sizeof(a->core)) == 0 &&
	       (a->core.window.cap == 0 ||
		memcmp(a->slots, b->slots, a->core.window.cap * sizeof(*a->slots)) == 0);
}

int __wrap_paxos_step(struct paxos *p, const struct paxos_event *ev, struct paxos_update *up)
{
	struct paxos_update untouched = *up;
	struct state before, after;
	int err;

	if (fault == NULL || fault->fired)
		return __real_paxos_step(p, ev, up);
	before = state_of(p);
	fault_arm(fault);
	err = __real_paxos_step(p, ev, up);
	fault_disarm(fault);
	swallowed += fault->fired && err != ERR_NOMEM;
	if (err == ERR_NOMEM) {
		CHECK_TRUE(fault->fired);
		refused++;
		after = state_of(p);
		CHECK_TRUE(same_state(&before, &after));
		CHECK_MEM_EQ(up, &untouched, sizeof(*up));
		mem_free(after.slots);
		err = __real_paxos_step(p, ev, up);
	}
	mem_free(before.slots);
	return err;
}

static void setup(void)
{
	refused = swallowed = 0;
}

static void teardown(void)
{
	fault = NULL;
	fault_teardown();
}

/* ---- by hand: one leader, everything that it does ---- */

static struct hand h[3];

static void carry_all(void)
{
	for (unsigned again = 1; again > 0;) {
		again = 0;
		for (int i = 0; i < 3; i++) {
			hand_persist(&h[i]);
			if (h[i].applied < h[i].chosen_last)
				hand_apply(&h[i]);
		}
		for (int i = 0; i < 3; i++)
			for (int k = 0; k < 3; k++)
				if (i != k)
					again += (unsigned)hand_carry(&h[i], &h[k]);
	}
}

static void pass(uint64_t ns)
{
	for (uint64_t t = 0; t < ns; t += 5 * HAND_MS) {
		for (int i = 0; i < 3; i++)
			hand_tick(&h[i], 5 * HAND_MS);
		carry_all();
	}
}

static int leader_of(void)
{
	for (unsigned tries = 0; tries < 2000; tries++) {
		for (int i = 0; i < 3; i++)
			if (hand_is(&h[i], PAXOS_LEADER) && hand_status(&h[i]).serving)
				return i;
		pass(5 * HAND_MS);
	}
	CHECK_FAIL("nobody leads after ten seconds");
	return 0;
}

static void three_nodes(struct fault *f)
{
	int leader;

	fault = f;
	for (uint32_t i = 0; i < 3; i++)
		hand_init(&h[i], i + 1, 3);
	leader = leader_of();
	for (unsigned i = 0; i < 12; i++) {
		char text[32];

		snprintf(text, sizeof(text), "value-%u", i);
		CHECK_OK(hand_propose(&h[leader], text));
		if (i % 3 == 0)
			CHECK_OK(hand_read(&h[leader], i + 1));
		carry_all();
	}
	/* The leader dies with entries that one follower alone has. */
	CHECK_OK(hand_propose(&h[leader], "in doubt"));
	hand_persist(&h[leader]);
	hand_carry(&h[leader], &h[(leader + 1) % 3]);
	hand_restart(&h[leader], 0);
	pass(3000 * HAND_MS);
	leader = leader_of();
	CHECK_OK(hand_propose(&h[leader], "last"));
	pass(1000 * HAND_MS);
	fault = NULL;
	for (int i = 0; i < 3; i++) {
		uint64_t last = hand_status(&h[leader]).commit;

		CHECK_U64_EQ(h[i].chosen_last, last);
		CHECK_STR_EQ(hand_chosen(&h[i], last), "last");
		for (uint64_t s = 1; s <= last; s++)
			CHECK_SLICE_EQ(slice_of(h[i].chosen[s]->data, h[i].chosen[s]->len),
				       slice_of(h[0].chosen[s]->data, h[0].chosen[s]->len));
	}
	for (int i = 0; i < 3; i++)
		hand_release(&h[i]);
}

static void elects_proposes_and_fails_over(void)
{
	fault_every("three cores: propose, read, fail over", three_nodes, NULL);
	CHECK_TRUE(refused > 5 && swallowed > 0);
	printf("     refused %u, made up for %u\n", refused, swallowed);
}

/* ---- a cluster with faults of the network, crashes, snapshots ---- */

static void cluster(struct fault *f)
{
	struct cluster_config cfg;
	struct paxos_cluster *c;
	uint64_t last = 0;

	cluster_config_default(&cfg, 77);
	cfg.nodes = 3;
	cfg.retain_bytes = 4096;
	cfg.cache_bytes = 2048;
	fault = f;
	c = cluster_new(&cfg);
	cluster_faults(c)->loss_ppm = 30000;
	CHECK_TRUE(cluster_await_leader(c, 20 * NS_PER_S));
	for (unsigned i = 0; i < 24; i++) {
		uint32_t leader;

		CHECK_TRUE(cluster_await_leader(c, 60 * NS_PER_S));
		leader = cluster_leader(c);
		CHECK_OK(cluster_propose(c, leader, 700, &last));
		CHECK_OK(cluster_read(c, leader));
		if (i == 8)
			cluster_crash(c, (leader + 1) % 3);
		if (i == 16)
			cluster_restart(c, cluster_up(c, 0) ? cluster_up(c, 1) ? 2 : 1 : 0);
		if (i == 20)
			cluster_crash(c, leader);
		cluster_run(c, 20 * NS_PER_MS);
		if (i == 20)
			cluster_restart(c, leader);
	}
	cluster_faults(c)->loss_ppm = 0;
	CHECK_TRUE(cluster_await_leader(c, 60 * NS_PER_S));
	CHECK_OK(cluster_propose(c, cluster_leader(c), 10, &last));
	for (uint32_t i = 0; i < 3; i++)
		CHECK_TRUE(cluster_await_slot(c, i, last, 60 * NS_PER_S));
	fault = NULL;
	cluster_free(c);
}

static void a_cluster_gets_on(void)
{
	fault_every("cluster: loss, crashes, catching up", cluster, NULL);
	printf("     refused %u, made up for %u\n", refused, swallowed);
}

/* ---- messages and entries ---- */

static void make_message(struct paxos_message *m, struct paxos_entry **entries)
{
	*m = (struct paxos_message){.type = PAXOS_ACCEPT,
				    .group = 1,
				    .epoch = 1,
				    .from = 1,
				    .to = 2,
				    .ballot = PAXOS_BALLOT(3, 1),
				    .first = 5,
				    .last = 7,
				    .log_start = 1,
				    .count = 3,
				    .entries = entries};
	for (uint64_t i = 0; i < 3; i++)
		entries[i] = hand_entry(m->ballot, 5 + i, i == 1 ? "" : "some text");
}

static void codec(struct fault *f)
{
	static const struct paxos_message none;
	struct paxos_entry *entries[3];
	struct paxos_message m, got = none;
	struct buf b = BUF_INIT;
	int err;

	make_message(&m, entries);
	fault_arm(f);
	paxos_message_encode(&m, &b);
	if (fault_hit(f, buf_ok(&b) ? 0 : ERR_NOMEM)) {
		buf_reset(&b);
		paxos_message_encode(&m, &b);
	}
	fault_arm(f);
	err = paxos_message_decode(buf_slice(&b), &got);
	if (fault_hit(f, err)) {
		CHECK_MEM_EQ(&got, &none, sizeof(got));
		CHECK_OK(paxos_message_decode(buf_slice(&b), &got));
	}
	CHECK_INT_EQ(got.count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_U64_EQ(got.entries[i]->slot, 5 + i);
		CHECK_SLICE_EQ(slice_of(got.entries[i]->data, got.entries[i]->len),
			       slice_of(entries[i]->data, entries[i]->len));
		paxos_entry_unref(entries[i]);
	}
	paxos_message_release(&got);
	buf_release(&b);
}

static void entry_codec(struct fault *f)
{
	struct paxos_entry *e = hand_entry(PAXOS_BALLOT(3, 1), 9, "payload"), *got = NULL;
	struct buf b = BUF_INIT;
	int err;

	fault_arm(f);
	paxos_entry_encode(e, &b);
	if (fault_hit(f, buf_ok(&b) ? 0 : ERR_NOMEM)) {
		buf_reset(&b);
		paxos_entry_encode(e, &b);
	}
	fault_arm(f);
	err = paxos_entry_decode(e->ballot, e->slot, buf_slice(&b), &got);
	if (fault_hit(f, err)) {
		CHECK_NULL(got);
		CHECK_OK(paxos_entry_decode(e->ballot, e->slot, buf_slice(&b), &got));
	}
	CHECK_U64_EQ(got->slot, 9);
	CHECK_SLICE_EQ(slice_of(got->data, got->len), slice_str("payload"));
	paxos_entry_unref(got);
	paxos_entry_unref(e);
	buf_release(&b);
}

static void messages_are_coded_or_refused(void)
{
	fault_every("message: encode, decode", codec, NULL);
	fault_every("entry: encode, decode", entry_codec, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, messages_are_coded_or_refused),
	CHECK_TEST_WITH(setup, teardown, elects_proposes_and_fails_over),
	CHECK_TEST_WITH(setup, teardown, a_cluster_gets_on),
};
CHECK_MAIN(tests)
