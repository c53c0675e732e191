/* How much of the log is kept. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

static struct hand h;
static char kib[1025];

static void start(uint32_t members, uint64_t retain)
{
	memset(kib, 'x', sizeof(kib) - 1);
	hand_config(&h, 1, members);
	h.cfg.retain_bytes = retain;
	hand_start(&h, 0, true);
}

static void setup(void)
{
	start(3, 64 * 1024);
	hand_lead(&h);
}

static void teardown(void)
{
	hand_release(&h);
}

/* @n entries of 1 KiB that node 2 has; node 3 has them too if @all. */
static void write_entries(unsigned n, bool all)
{
	for (unsigned i = 0; i < n; i++) {
		CHECK_OK(hand_propose(&h, kib));
		hand_persist(&h);
		if (h.cfg.member_count > 1)
			hand_ack(&h, 2, hand_status(&h).last);
		if (h.cfg.member_count > 1 && all)
			hand_ack(&h, 3, hand_status(&h).last);
		hand_apply(&h);
		hand_clear(&h);
	}
}

static void nothing_before_it_is_durable(void)
{
	write_entries(200, true);
	CHECK_U64_EQ(hand_status(&h).log_start, 1);
	hand_event(&h, PAXOS_EV_DURABLE, 100);
	CHECK_U64_EQ(h.truncate_below, 101);
	CHECK_U64_EQ(hand_status(&h).log_start, 101);
	hand_event(&h, PAXOS_EV_DURABLE, 100);
	CHECK_U64_EQ(h.truncate_below, 0); /* told once */
	hand_event(&h, PAXOS_EV_DURABLE, 90);
	CHECK_U64_EQ(h.truncate_below, 0);
}

static void durable_counts_up_to_applied_only(void)
{
	write_entries(10, true);
	CHECK_OK(hand_propose(&h, kib));
	hand_persist(&h);
	hand_ack(&h, 2, 12); /* chosen, not applied */
	hand_event(&h, PAXOS_EV_DURABLE, 12);
	CHECK_U64_EQ(h.truncate_below, 12);
}

/* The leader keeps what a follower lacks, but not for ever. */
static void lagging_follower_holds_back_within_bounds(void)
{
	write_entries(30, false);
	hand_event(&h, PAXOS_EV_DURABLE, 31);
	CHECK_U64_EQ(h.truncate_below, 2); /* node 3 has slot 1 only */
	write_entries(170, false);
	hand_event(&h, PAXOS_EV_DURABLE, 201);
	/* 64 KiB are kept: some 60 entries with their headers */
	CHECK_TRUE(h.truncate_below > 201 - 64);
	CHECK_TRUE(h.truncate_below < 201 - 50);
}

static void follower_keeps_what_it_may(void)
{
	struct paxos_message m;
	const char *text = kib;

	hand_release(&h);
	start(3, 64 * 1024);
	for (uint64_t slot = 1; slot <= 200; slot++) {
		m = hand_message(&h, PAXOS_ACCEPT, 2);
		m.ballot = PAXOS_BALLOT(1, 2);
		m.first = slot;
		m.commit = slot;
		hand_recv_entries(&h, &m, m.ballot, 1, &text);
		hand_clear(&h);
	}
	hand_persist(&h);
	hand_apply(&h);
	hand_event(&h, PAXOS_EV_DURABLE, 200);
	CHECK_TRUE(h.truncate_below > 200 - 64);
	CHECK_TRUE(h.truncate_below < 200 - 50);
}

static void group_of_one_keeps_nothing(void)
{
	hand_release(&h);
	start(1, 64 * 1024);
	hand_run(&h, HAND_MS);
	hand_persist(&h);
	hand_persist(&h);
	hand_apply(&h);
	write_entries(20, false);
	hand_event(&h, PAXOS_EV_DURABLE, 21);
	CHECK_U64_EQ(h.truncate_below, 22);
}

/* Many more sizes than there are marks. */
static void marks_thin_out(void)
{
	write_entries(1500, false);
	hand_event(&h, PAXOS_EV_DURABLE, 1501);
	CHECK_TRUE(h.truncate_below > 1501 - 64);
	CHECK_TRUE(h.truncate_below <= 1501 - 32);
}

static void goes_on_after_truncation(void)
{
	write_entries(200, true);
	hand_event(&h, PAXOS_EV_DURABLE, 201);
	CHECK_U64_EQ(hand_status(&h).log_start, 201); /* node 2 has applied 200, it said */
	write_entries(3, true);
	CHECK_U64_EQ(hand_status(&h).commit, 204);
	hand_ack(&h, 2, 204); /* and now all */
	hand_event(&h, PAXOS_EV_DURABLE, 204);
	CHECK_U64_EQ(h.truncate_below, 205);
}

/* A lagging follower behind the start is told so, and is not sent entries meanwhile. */
static void too_far_behind_is_told(void)
{
	struct paxos_message m;

	write_entries(200, false);
	hand_event(&h, PAXOS_EV_DURABLE, 201);
	CHECK_TRUE(hand_status(&h).log_start > 2);
	hand_clear(&h);
	hand_ack_full(&h, 3, 1, 2, h.now_ns, 0);
	m = hand_message(&h, PAXOS_LEARN_REQUEST, 3);
	m.first = 2;
	hand_recv(&h, &m);
	hand_take(&h, PAXOS_LEARN, 3, &m);
	CHECK_U64_EQ(m.count, 0);
	CHECK_U64_EQ(m.log_start, hand_status(&h).log_start);
	hand_drop(&m);
	hand_clear(&h);
	CHECK_OK(hand_propose(&h, "y"));
	hand_take(&h, PAXOS_ACCEPT, 2, &m);
	hand_drop(&m);
	CHECK_U64_EQ(hand_count(&h, PAXOS_LEARN, 3), 0); /* not with every step */
	/* It installs the snapshot and goes on from there. */
	hand_ack_full(&h, 3, 201, 202, h.now_ns, 0);
	hand_run(&h, h.cfg.timing.retransmit + HAND_MS);
	hand_take(&h, PAXOS_ACCEPT, 3, &m);
	while (m.count == 0) {
		hand_drop(&m);
		hand_take(&h, PAXOS_ACCEPT, 3, &m);
	}
	CHECK_U64_EQ(m.first, 202);
	hand_drop(&m);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, nothing_before_it_is_durable),
	CHECK_TEST_WITH(setup, teardown, durable_counts_up_to_applied_only),
	CHECK_TEST_WITH(setup, teardown, lagging_follower_holds_back_within_bounds),
	CHECK_TEST_WITH(setup, teardown, follower_keeps_what_it_may),
	CHECK_TEST_WITH(setup, teardown, group_of_one_keeps_nothing),
	CHECK_TEST_WITH(setup, teardown, marks_thin_out),
	CHECK_TEST_WITH(setup, teardown, goes_on_after_truncation),
	CHECK_TEST_WITH(setup, teardown, too_far_behind_is_told),
};

CHECK_MAIN(tests)
