/* Leases and reads: when a leader may answer alone, and what it does when it may not. */
#include <string.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_hand.h"

static struct hand h;

static void setup(void)
{
	hand_init(&h, 1, 3);
	hand_lead(&h);
}

static void setup_off(void)
{
	hand_config(&h, 1, 3);
	h.cfg.timing.lease = 0;
	hand_start(&h, 0, true);
	hand_lead(&h);
}

static void teardown(void)
{
	hand_release(&h);
}

static uint64_t lease_span(void)
{
	return h.cfg.timing.lease - h.cfg.timing.drift_margin;
}

/* An answer of @from whose clock differs from ours by @offset. */
static void ack_at_clock(uint32_t from, uint64_t echo_ns, int64_t offset)
{
	struct paxos_message m = hand_message(&h, PAXOS_ACCEPTED, from);

	m.ballot = hand_status(&h).ballot;
	m.last = hand_status(&h).last;
	m.first = m.last + 1;
	m.echo_ns = echo_ns;
	m.send_ns = h.now_ns + (uint64_t)offset;
	m.span_ns = h.cfg.timing.lease;
	hand_recv(&h, &m);
}

static void pass(uint64_t ns)
{
	h.now_ns += ns;
	h.wall_ns += ns;
}

static void expire(void)
{
	pass(h.cfg.timing.lease);
	hand_clear(&h);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

/* ---- the lease ---- */

static void counted_from_the_send_time(void)
{
	uint64_t sent_ns;

	expire();
	sent_ns = h.now_ns;
	pass(40 * HAND_MS); /* a slow way there or back */
	ack_at_clock(2, sent_ns, 0);
	CHECK_U64_EQ(hand_status(&h).lease_until_ns, sent_ns + lease_span());
	CHECK_TRUE(paxos_lease_valid(h.p, sent_ns + lease_span() - 1));
	CHECK_FALSE(paxos_lease_valid(h.p, sent_ns + lease_span()));
}

static void needs_a_majority(void)
{
	hand_release(&h);
	hand_init(&h, 1, 5);
	hand_lead(&h);
	expire();
	ack_at_clock(2, h.now_ns, 0);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
	ack_at_clock(2, h.now_ns, 0);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
	ack_at_clock(3, h.now_ns, 0);
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
}

static void no_longer_than_what_was_promised(void)
{
	struct paxos_message m;

	expire();
	m = hand_message(&h, PAXOS_ACCEPTED, 2);
	m.ballot = hand_status(&h).ballot;
	m.last = hand_status(&h).last;
	m.first = m.last + 1;
	m.echo_ns = h.now_ns;
	m.span_ns = 100 * HAND_MS; /* less than our own setting */
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).lease_until_ns,
		     h.now_ns + 100 * HAND_MS - h.cfg.timing.drift_margin);
	m.span_ns = 3600 * 1000 * HAND_MS; /* more */
	hand_recv(&h, &m);
	CHECK_U64_EQ(hand_status(&h).lease_until_ns, h.now_ns + lease_span());
	expire();
	m.echo_ns = h.now_ns;
	m.send_ns = h.now_ns;
	m.span_ns = 0; /* leases are off over there */
	hand_recv(&h, &m);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

static void ends_with_the_reign(void)
{
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
	hand_event(&h, PAXOS_EV_HAND_OVER, 0);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

static void starts_with_the_own_no_op_applied(void)
{
	hand_release(&h);
	hand_init(&h, 1, 3);
	for (unsigned i = 0; i < 20 && !hand_is(&h, PAXOS_LEADER); i++) {
		struct paxos_message ask, m;

		hand_run(&h, 100 * HAND_MS);
		hand_persist(&h);
		while (hand_count(&h, PAXOS_PREVOTE, 2) > 0) {
			hand_take(&h, PAXOS_PREVOTE, 2, &ask);
			m = hand_message(&h, PAXOS_PREVOTE_REPLY, 2);
			m.ballot = ask.ballot;
			m.ok = true;
			hand_recv(&h, &m);
			hand_persist(&h);
		}
		while (hand_count(&h, PAXOS_PREPARE, 2) > 0) {
			hand_take(&h, PAXOS_PREPARE, 2, &ask);
			m = hand_message(&h, PAXOS_PROMISE, 2);
			m.ballot = ask.ballot;
			m.page = m.first = ask.first;
			hand_recv(&h, &m);
		}
	}
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_OK(hand_read(&h, 1));
	ack_at_clock(2, h.now_ns, 0); /* a lease, but the no-op is not on the own disk */
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
	CHECK_U64_EQ(h.read_count, 0);
	hand_persist(&h);
	CHECK_STR_EQ(hand_chosen(&h, 1), "");
	CHECK_U64_EQ(h.read_count, 0); /* chosen, not applied */
	hand_apply(&h);
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
	CHECK_U64_EQ(h.read_count, 1);
	CHECK_OK(h.reads[0].err);
	CHECK_U64_EQ(h.reads[0].slot, 1);
}

/* The leader is an acceptor too: it promises nobody while its lease lasts. */
static void leader_promises_nobody_under_its_lease(void)
{
	struct paxos_message m = hand_message(&h, PAXOS_PREPARE, 2);
	paxos_ballot ballot = hand_status(&h).ballot;

	m.ballot = ballot + PAXOS_BALLOT(1, 0) + 1;
	m.first = 1;
	hand_recv(&h, &m);
	CHECK_TRUE(hand_is(&h, PAXOS_LEADER));
	CHECK_U64_EQ(hand_count(&h, PAXOS_REJECT, 2), 1);
	expire();
	hand_recv(&h, &m);
	CHECK_FALSE(hand_is(&h, PAXOS_LEADER));
	CHECK_U64_EQ(hand_status(&h).ballot, m.ballot);
}

/* ---- clocks that jump ---- */

static void offset_itself_is_no_matter(void)
{
	expire();
	hand_release(&h);
	hand_init(&h, 1, 3);
	hand_lead(&h);
	for (unsigned i = 0; i < 50; i++) {
		pass(60 * HAND_MS);
		/* 1 ms in a second: far less than the margin allows */
		ack_at_clock(3, h.now_ns, (int64_t)i * 60000);
	}
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
}

static void follower_whose_clock_jumps_does_not_count(void)
{
	uint64_t jumped_ns;

	expire();
	ack_at_clock(2, h.now_ns, 0);
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
	pass(50 * HAND_MS);
	ack_at_clock(2, h.now_ns, 500 * (int64_t)HAND_MS);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
	jumped_ns = h.now_ns;
	pass(50 * HAND_MS);
	ack_at_clock(2, h.now_ns, 500 * (int64_t)HAND_MS);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns)); /* not yet trusted */
	ack_at_clock(3, h.now_ns, 0);
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns)); /* the other one is */
	while (h.now_ns < jumped_ns + 11 * h.cfg.timing.lease) {
		pass(50 * HAND_MS);
		ack_at_clock(2, h.now_ns, 500 * (int64_t)HAND_MS);
	}
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
}

static void own_clock_jumps_and_nobody_counts(void)
{
	expire();
	ack_at_clock(2, h.now_ns, 0);
	ack_at_clock(3, h.now_ns, 0);
	CHECK_TRUE(paxos_lease_valid(h.p, h.now_ns));
	/* Frozen for 10 s without noticing: all others are ahead now. */
	pass(HAND_MS);
	ack_at_clock(2, h.now_ns, 10000 * (int64_t)HAND_MS);
	ack_at_clock(3, h.now_ns, 10000 * (int64_t)HAND_MS);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

static void many_small_steps_are_a_jump(void)
{
	int64_t offset = 0;
	unsigned i;

	expire();
	ack_at_clock(2, h.now_ns, 0);
	for (i = 0; i < 100 && hand_status(&h).lease_until_ns > h.now_ns; i++) {
		pass(HAND_MS);
		offset += 10 * (int64_t)HAND_MS; /* less than the margin, each */
		ack_at_clock(2, h.now_ns, offset);
	}
	CHECK_TRUE(i < 5);
}

static void absurd_clocks_are_not_trusted(void)
{
	expire();
	ack_at_clock(2, h.now_ns, INT64_MAX);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
	ack_at_clock(3, h.now_ns, INT64_MIN);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

/* ---- reads ---- */

static void read_under_lease_is_served_at_once(void)
{
	CHECK_OK(hand_read(&h, 77));
	CHECK_U64_EQ(h.read_count, 1);
	CHECK_U64_EQ(h.reads[0].read_id, 77);
	CHECK_TRUE(h.reads[0].under_lease);
	CHECK_U64_EQ(h.reads[0].slot, hand_status(&h).commit);
	CHECK_U64_EQ(h.out_count, 0); /* no message for it */
}

static void read_sees_what_is_chosen(void)
{
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	hand_ack(&h, 2, 2);
	CHECK_OK(hand_read(&h, 1));
	CHECK_U64_EQ(h.reads[0].slot, 2); /* chosen, not yet applied here: served once it is */
}

static void follower_serves_no_read(void)
{
	hand_release(&h);
	hand_init(&h, 1, 3);
	CHECK_OK(hand_read(&h, 5));
	CHECK_U64_EQ(h.read_count, 1);
	CHECK_U64_EQ(h.reads[0].read_id, 5);
	CHECK_ERR(h.reads[0].err, ERR_NOT_LEADER);
}

static uint64_t take_round(uint32_t to)
{
	struct paxos_message m;
	uint64_t round;

	hand_take(&h, PAXOS_ACCEPT, to, &m);
	round = m.round;
	hand_drop(&m);
	return round;
}

static void read_without_lease_waits_for_a_round(void)
{
	uint64_t old, round;

	CHECK_OK(hand_read(&h, 1));
	CHECK_U64_EQ(h.read_count, 0);
	round = take_round(2);
	CHECK_U64_EQ(take_round(3), round);
	old = round - 1;
	/* The answer to an earlier round says nothing about now. */
	hand_ack_full(&h, 2, 1, 2, h.now_ns, old);
	CHECK_U64_EQ(h.read_count, 0);
	hand_ack_full(&h, 2, 1, 2, h.now_ns, round);
	CHECK_U64_EQ(h.read_count, 1);
	CHECK_FALSE(h.reads[0].under_lease);
	CHECK_OK(h.reads[0].err);
	CHECK_FALSE(paxos_lease_valid(h.p, h.now_ns));
}

/* "a heartbeat round that *started* after the read arrived": one that is under way will not do. */
static void later_read_needs_a_later_round(void)
{
	uint64_t round;

	CHECK_OK(hand_read(&h, 1));
	round = take_round(2);
	hand_clear(&h);
	CHECK_OK(hand_propose(&h, "x"));
	hand_persist(&h);
	hand_ack_full(&h, 3, 2, 3, h.now_ns, round - 1);
	CHECK_U64_EQ(hand_status(&h).commit, 2);
	hand_clear(&h);
	CHECK_OK(hand_read(&h, 2));
	CHECK_OK(hand_read(&h, 3));
	CHECK_U64_EQ(h.out_count, 0); /* one round at a time */
	hand_ack_full(&h, 2, 2, 3, h.now_ns, round);
	CHECK_U64_EQ(h.read_count, 1);
	CHECK_U64_EQ(h.reads[0].read_id, 1);
	CHECK_U64_EQ(h.reads[0].slot, 1);
	CHECK_U64_EQ(take_round(2), round + 1); /* one for both */
	hand_ack_full(&h, 3, 2, 3, h.now_ns, round + 1);
	CHECK_U64_EQ(h.read_count, 3);
	CHECK_U64_EQ(h.reads[1].read_id, 2);
	CHECK_U64_EQ(h.reads[1].slot, 2);
	CHECK_U64_EQ(h.reads[2].slot, 2);
}

static void lost_round_is_repeated(void)
{
	uint64_t round;

	CHECK_OK(hand_read(&h, 1));
	round = take_round(2);
	hand_clear(&h);
	hand_run(&h, h.cfg.timing.retransmit);
	CHECK_U64_EQ(take_round(2), round);
	hand_ack_full(&h, 2, 1, 2, h.now_ns, round);
	CHECK_U64_EQ(h.read_count, 1);
}

static void waiting_reads_fail_with_the_reign(void)
{
	CHECK_OK(hand_read(&h, 1));
	CHECK_OK(hand_read(&h, 2));
	hand_event(&h, PAXOS_EV_HAND_OVER, 0);
	CHECK_U64_EQ(h.read_count, 2);
	CHECK_ERR(h.reads[0].err, ERR_NOT_LEADER);
	CHECK_ERR(h.reads[1].err, ERR_NOT_LEADER);
	CHECK_U64_EQ(h.reads[1].read_id, 2);
}

static void too_many_reads_are_refused(void)
{
	uint64_t n = 0;
	int err;

	while ((err = hand_read(&h, n)) == 0 && n < 1000000)
		n++;
	CHECK_ERR(err, ERR_BUSY);
	CHECK_U64_EQ(n, 65536);
	CHECK_U64_EQ(h.read_count, 0);
}

static void expired_lease_falls_back_to_a_round(void)
{
	expire();
	CHECK_OK(hand_read(&h, 1));
	CHECK_U64_EQ(h.read_count, 0);
	CHECK_U64_EQ(hand_count(&h, PAXOS_ACCEPT, 0), 2);
	/* The answer brings a new lease with it. */
	hand_ack_full(&h, 2, 1, 2, h.now_ns, 1);
	CHECK_U64_EQ(h.read_count, 1);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, counted_from_the_send_time),
	CHECK_TEST_WITH(setup, teardown, needs_a_majority),
	CHECK_TEST_WITH(setup, teardown, no_longer_than_what_was_promised),
	CHECK_TEST_WITH(setup, teardown, ends_with_the_reign),
	CHECK_TEST_WITH(setup, teardown, starts_with_the_own_no_op_applied),
	CHECK_TEST_WITH(setup, teardown, leader_promises_nobody_under_its_lease),
	CHECK_TEST_WITH(setup, teardown, offset_itself_is_no_matter),
	CHECK_TEST_WITH(setup, teardown, follower_whose_clock_jumps_does_not_count),
	CHECK_TEST_WITH(setup, teardown, own_clock_jumps_and_nobody_counts),
	CHECK_TEST_WITH(setup, teardown, many_small_steps_are_a_jump),
	CHECK_TEST_WITH(setup, teardown, absurd_clocks_are_not_trusted),
	CHECK_TEST_WITH(setup, teardown, read_under_lease_is_served_at_once),
	CHECK_TEST_WITH(setup, teardown, read_sees_what_is_chosen),
	CHECK_TEST_WITH(setup, teardown, follower_serves_no_read),
	CHECK_TEST_WITH(setup_off, teardown, read_without_lease_waits_for_a_round),
	CHECK_TEST_WITH(setup_off, teardown, later_read_needs_a_later_round),
	CHECK_TEST_WITH(setup_off, teardown, lost_round_is_repeated),
	CHECK_TEST_WITH(setup_off, teardown, waiting_reads_fail_with_the_reign),
	CHECK_TEST_WITH(setup_off, teardown, too_many_reads_are_refused),
	CHECK_TEST_WITH(setup, teardown, expired_lease_falls_back_to_a_round),
};

CHECK_MAIN(tests)
