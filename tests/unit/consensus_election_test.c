/* Who leads, and how soon, when something happens to the one that led. */
#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_cluster.h"

#define MS NS_PER_MS

static struct paxos_cluster *c;

static void start(uint32_t nodes, uint64_t lease_ns)
{
	struct cluster_config cfg;

	cluster_config_default(&cfg, 42);
	cfg.nodes = nodes;
	cfg.timing.lease = lease_ns;
	c = cluster_new(&cfg);
}

static void start_three(void)
{
	start(3, 250 * MS);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	CHECK_U64_EQ(cluster_leader(c), 0);
	cluster_run(c, NS_PER_S);
}

static void teardown(void)
{
	cluster_free(c);
	c = NULL;
}

static paxos_ballot ballot_of(uint32_t node)
{
	struct paxos_status s;

	cluster_status(c, node, &s);
	return s.ballot;
}

static enum paxos_role role_of(uint32_t node)
{
	struct paxos_status s;

	cluster_status(c, node, &s);
	return s.role;
}

/* How long until another than @old serves. */
static uint64_t until_other(uint32_t old, uint64_t max)
{
	uint64_t from = cluster_now(c);

	while (cluster_leader(c) == CLUSTER_NONE || cluster_leader(c) == old) {
		CHECK_TRUE(cluster_now(c) - from < max);
		cluster_run(c, MS);
	}
	return cluster_now(c) - from;
}

static void propose_chosen(uint32_t node, uint32_t count)
{
	uint64_t slot = 0;

	for (uint32_t i = 0; i < count; i++)
		CHECK_OK(cluster_propose(c, node, 100, &slot));
	CHECK_TRUE(cluster_await_slot(c, node, slot, NS_PER_S));
}

/* ---- from nothing ---- */

static void first_in_succession_leads_a_fresh_group(void)
{
	start(5, 250 * MS);
	CHECK_TRUE(cluster_await_leader(c, 400 * MS));
	CHECK_U64_EQ(cluster_leader(c), 0);
}

static void group_of_one_leads_at_once(void)
{
	start(1, 250 * MS);
	CHECK_TRUE(cluster_await_leader(c, 20 * MS));
	propose_chosen(0, 10);
	CHECK_OK(cluster_read(c, 0));
	CHECK_U64_EQ(cluster_reads_served(c), 1);
}

static void group_of_one_leads_again_after_a_crash(void)
{
	start(1, 250 * MS);
	CHECK_TRUE(cluster_await_leader(c, 20 * MS));
	propose_chosen(0, 10);
	cluster_crash(c, 0);
	cluster_restart(c, 0);
	CHECK_TRUE(cluster_await_leader(c, 20 * MS));
	CHECK_TRUE(cluster_await_slot(c, 0, 11, 100 * MS));
}

static void idle_leader_keeps_leading(void)
{
	paxos_ballot b = ballot_of(0);

	cluster_run(c, 60 * NS_PER_S);
	CHECK_U64_EQ(cluster_leader(c), 0);
	CHECK_U64_EQ(ballot_of(0), b);
}

/* ---- it dies, or seems to ---- */

static void broken_connection_costs_one_lease(void)
{
	cluster_crash(c, 0);
	CHECK_TRUE(until_other(0, NS_PER_S) < 300 * MS);
	CHECK_U64_EQ(cluster_leader(c), 1);
}

static void silence_costs_less_than_half_a_second(void)
{
	cluster_faults(c)->no_break = true;
	cluster_crash(c, 0);
	CHECK_TRUE(until_other(0, NS_PER_S) < 500 * MS);
	CHECK_U64_EQ(cluster_leader(c), 1);
}

static void lease_promises_are_kept(void)
{
	teardown();
	start(3, 3 * NS_PER_S);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	cluster_run(c, NS_PER_S);
	cluster_crash(c, 0);
	CHECK_TRUE(until_other(0, 4 * NS_PER_S) > 2900 * MS);
}

static void without_leases_nobody_waits_for_them(void)
{
	teardown();
	start(3, 0);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	cluster_run(c, NS_PER_S);
	cluster_crash(c, 0);
	CHECK_TRUE(until_other(0, NS_PER_S) < 50 * MS);
}

static void frozen_leader_finds_its_successor_and_follows(void)
{
	cluster_pause(c, 0, 2 * NS_PER_S);
	CHECK_TRUE(until_other(0, NS_PER_S) < 700 * MS);
	cluster_run(c, 3 * NS_PER_S);
	CHECK_INT_EQ(role_of(0), PAXOS_FOLLOWER);
	CHECK_U64_EQ(cluster_leader(c), 1);
	CHECK_U64_EQ(ballot_of(0), ballot_of(1));
}

static void dead_follower_changes_nothing(void)
{
	paxos_ballot b = ballot_of(0);

	cluster_crash(c, 1);
	propose_chosen(0, 10);
	cluster_restart(c, 1);
	CHECK_TRUE(cluster_await_slot(c, 1, cluster_chosen(c), NS_PER_S));
	CHECK_U64_EQ(ballot_of(0), b);
}

static void second_successor_leads_when_the_first_is_dead_too(void)
{
	teardown();
	start(5, 250 * MS);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	cluster_run(c, NS_PER_S);
	cluster_crash(c, 0);
	cluster_crash(c, 1);
	CHECK_TRUE(until_other(0, NS_PER_S) < 400 * MS);
	CHECK_U64_EQ(cluster_leader(c), 2);
}

static void no_majority_no_leader(void)
{
	cluster_crash(c, 1);
	cluster_crash(c, 2);
	cluster_run(c, 2 * NS_PER_S);
	CHECK_U64_EQ(cluster_leader(c), CLUSTER_NONE);
	CHECK_ERR(cluster_propose(c, 0, 10, NULL), ERR_NOT_LEADER);
	cluster_restart(c, 2);
	CHECK_TRUE(cluster_await_leader(c, 2 * NS_PER_S));
}

static void everybody_dies_and_all_is_there_again(void)
{
	uint64_t chosen;

	propose_chosen(0, 200);
	chosen = cluster_chosen(c);
	for (uint32_t i = 0; i < 3; i++)
		cluster_crash(c, i);
	for (uint32_t i = 0; i < 3; i++)
		cluster_restart(c, i);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	for (uint32_t i = 0; i < 3; i++)
		CHECK_TRUE(cluster_await_slot(c, i, chosen, NS_PER_S));
}

/* ---- networks ---- */

/* "Pre-vote keeps a rejoining node from deposing a healthy leader." */
static void rejoining_node_deposes_nobody(void)
{
	paxos_ballot b = ballot_of(0);

	cluster_split(c, 1u << 2);
	cluster_run(c, 5 * NS_PER_S);
	CHECK_INT_EQ(role_of(2), PAXOS_CANDIDATE);
	CHECK_U64_EQ(ballot_of(2), b); /* it has promised itself nothing */
	cluster_heal(c);
	cluster_run(c, NS_PER_S);
	CHECK_U64_EQ(ballot_of(0), b);
	CHECK_U64_EQ(cluster_leader(c), 0);
	CHECK_INT_EQ(role_of(2), PAXOS_FOLLOWER);
}

static void follower_that_hears_nothing_deposes_nobody(void)
{
	paxos_ballot b = ballot_of(0);

	cluster_cut(c, 0, 2, true);
	cluster_run(c, 5 * NS_PER_S);
	CHECK_U64_EQ(ballot_of(0), b);
	CHECK_U64_EQ(cluster_leader(c), 0);
}

static void cut_off_leader_gives_up(void)
{
	cluster_split(c, 1u << 0);
	CHECK_TRUE(until_other(0, NS_PER_S) < 500 * MS);
	cluster_run(c, NS_PER_S);
	CHECK_TRUE(role_of(0) != PAXOS_LEADER);
	propose_chosen(1, 10);
	cluster_heal(c);
	CHECK_TRUE(cluster_await_slot(c, 0, cluster_chosen(c), NS_PER_S));
	CHECK_U64_EQ(cluster_leader(c), 1);
}

/* "A leader steps down, and stands back in the next election, when no majority has acknowledged for
 * an election timeout (one-way loss)" */
static void leader_that_nobody_reaches_stands_back(void)
{
	cluster_cut(c, 1, 0, true);
	cluster_cut(c, 2, 0, true);
	CHECK_TRUE(until_other(0, 3 * NS_PER_S) < 1500 * MS);
	CHECK_U64_EQ(cluster_leader(c), 1);
	CHECK_TRUE(role_of(0) != PAXOS_LEADER);
}

static void split_of_five_leaves_the_majority_serving(void)
{
	teardown();
	start(5, 250 * MS);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	cluster_split(c, 0x3); /* 0 and 1 */
	CHECK_TRUE(until_other(0, NS_PER_S) < 600 * MS);
	CHECK_TRUE(cluster_leader(c) >= 2);
	cluster_run(c, NS_PER_S);
	CHECK_TRUE(role_of(0) != PAXOS_LEADER && role_of(1) != PAXOS_LEADER);
}

/* ---- slow hardware ---- */

static void leader_with_a_hanging_disk_stands_back(void)
{
	cluster_disk(c, 0, (struct cluster_range){3 * NS_PER_S, 3 * NS_PER_S});
	CHECK_OK(cluster_propose(c, 0, 100, NULL));
	CHECK_TRUE(until_other(0, 2 * NS_PER_S) < 800 * MS);
	cluster_run(c, 200 * MS);
	CHECK_TRUE(cluster_leader(c) != 0);
}

static void leader_with_a_hanging_engine_stands_back(void)
{
	cluster_apply(c, 0, (struct cluster_range){3 * NS_PER_S, 3 * NS_PER_S});
	CHECK_OK(cluster_propose(c, 0, 100, NULL));
	CHECK_TRUE(until_other(0, 2 * NS_PER_S) < 800 * MS);
}

static void slow_disks_of_all_depose_nobody(void)
{
	paxos_ballot b = ballot_of(0);

	for (uint32_t i = 0; i < 3; i++)
		cluster_disk(c, i, (struct cluster_range){700 * MS, 700 * MS});
	CHECK_OK(cluster_propose(c, 0, 100, NULL));
	cluster_run(c, 3 * NS_PER_S);
	CHECK_U64_EQ(ballot_of(0), b);
}

/* ---- hand-over ---- */

static void hand_over_takes_no_lease_time(void)
{
	propose_chosen(0, 20);
	cluster_hand_over(c, 0);
	CHECK_TRUE(role_of(0) != PAXOS_LEADER);
	CHECK_TRUE(until_other(0, NS_PER_S) < 10 * MS);
	cluster_run(c, NS_PER_S);
	CHECK_TRUE(cluster_leader(c) != 0);
}

/* "stands back in the next election": also when that comes soon, and it would be the first in line.
 */
static void who_gave_up_stands_back(void)
{
	cluster_hand_over(c, 0);
	(void)until_other(0, NS_PER_S);
	CHECK_U64_EQ(cluster_leader(c), 1);
	cluster_run(c, 100 * MS);
	cluster_crash(c, 1);
	(void)until_other(1, NS_PER_S);
	CHECK_U64_EQ(cluster_leader(c), 2);
}

static void hand_over_keeps_what_is_proposed(void)
{
	uint64_t slot = 0;

	for (int i = 0; i < 50; i++)
		CHECK_OK(cluster_propose(c, 0, 100, &slot));
	cluster_run(c, MS / 10); /* on its way */
	cluster_hand_over(c, 0);
	(void)until_other(0, NS_PER_S);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_TRUE(cluster_await_slot(c, i, slot, NS_PER_S));
}

static void hand_over_tries_the_next_when_one_is_gone(void)
{
	cluster_faults(c)->no_break = true;
	cluster_crash(c, 1);
	cluster_hand_over(c, 0);
	CHECK_TRUE(until_other(0, NS_PER_S) < 200 * MS);
	CHECK_U64_EQ(cluster_leader(c), 2);
}

static void follower_has_nothing_to_hand_over(void)
{
	paxos_ballot b = ballot_of(0);

	cluster_hand_over(c, 1);
	cluster_run(c, NS_PER_S);
	CHECK_U64_EQ(ballot_of(0), b);
	CHECK_U64_EQ(cluster_sent(c, PAXOS_TIMEOUT_NOW), 0);
}

static void forged_token_frees_no_promise(void)
{
	struct paxos_message m = {.type = PAXOS_PREPARE,
				  .group = 3,
				  .epoch = 7,
				  .from = 3,
				  .to = 2,
				  .ballot = PAXOS_BALLOT(9, 3),
				  .token = PAXOS_BALLOT(8, 1),
				  .first = 1};
	paxos_ballot b = ballot_of(1);

	cluster_inject(c, &m);
	CHECK_U64_EQ(ballot_of(1), b);
	m.token = b; /* the lease that it promised: that one frees */
	cluster_inject(c, &m);
	CHECK_U64_EQ(ballot_of(1), PAXOS_BALLOT(9, 3));
}

/* ---- a candidate that lacks something ---- */

static void candidate_fetches_what_is_chosen_before_it_leads(void)
{
	uint64_t chosen;

	cluster_split(c, 1u << 1);
	propose_chosen(0, 200);
	cluster_run(c, NS_PER_S);
	chosen = cluster_chosen(c);
	CHECK_TRUE(cluster_given(c, 1) < chosen);
	cluster_crash(c, 0);
	cluster_heal(c);
	(void)until_other(0, 2 * NS_PER_S);
	CHECK_TRUE(cluster_given(c, cluster_leader(c)) >= chosen);
	CHECK_TRUE(cluster_await_slot(c, 1, chosen, NS_PER_S));
	CHECK_TRUE(cluster_await_slot(c, 2, chosen, NS_PER_S));
}

static void candidate_behind_the_log_lets_another_lead(void)
{
	struct cluster_config cfg;
	struct paxos_status s;

	teardown();
	cluster_config_default(&cfg, 7);
	cfg.retain_bytes = 4096;
	c = cluster_new(&cfg);
	CHECK_TRUE(cluster_await_leader(c, NS_PER_S));
	cluster_split(c, 1u << 1);
	for (int i = 0; i < 10; i++)
		propose_chosen(0, 100);
	cluster_run(c, NS_PER_S);
	cluster_flush(c, 0);
	cluster_flush(c, 2);
	cluster_status(c, 2, &s);
	CHECK_TRUE(s.log_start > cluster_given(c, 1) + 1);
	cluster_crash(c, 0);
	cluster_heal(c);
	(void)until_other(0, 2 * NS_PER_S);
	CHECK_U64_EQ(cluster_leader(c), 2);
	CHECK_TRUE(cluster_await_slot(c, 1, cluster_chosen(c), 2 * NS_PER_S));
	CHECK_TRUE(cluster_snapshots(c) > 0);
}

/* ---- nonsense ---- */

static void entry_of_another_ballot_is_not_accepted(void)
{
	struct paxos_entry *e =
		paxos_entry_new(PAXOS_NOOP, PAXOS_BALLOT(98, 3), 2, 1, (struct slice){0});
	struct paxos_message m = {.type = PAXOS_ACCEPT,
				  .group = 3,
				  .epoch = 7,
				  .from = 3,
				  .to = 2,
				  .ballot = PAXOS_BALLOT(99, 3),
				  .first = 2,
				  .last = 2,
				  .count = 1,
				  .entries = &e};
	struct paxos_status before, after;

	cluster_status(c, 1, &before);
	cluster_inject(c, &m);
	cluster_status(c, 1, &after);
	CHECK_U64_EQ(after.dropped, before.dropped + 1);
	CHECK_U64_EQ(after.last, before.last);
	paxos_entry_unref(e);
}

static void nonsense_is_dropped_and_counted(void)
{
	struct paxos_status before, after;
	struct paxos_message m = {.type = PAXOS_ACCEPT, .group = 3, .epoch = 7, .from = 3, .to = 2};
	uint64_t dropped = 0;

	cluster_status(c, 1, &before);
	m.ballot = PAXOS_BALLOT(99, 1); /* of another node */
	cluster_inject(c, &m);
	dropped++;
	m.ballot = 0;
	cluster_inject(c, &m);
	dropped++;
	m.ballot = PAXOS_BALLOT(1ull << 45, 3); /* beyond all rounds */
	cluster_inject(c, &m);
	dropped++;
	m.ballot = PAXOS_BALLOT(99, 3);
	m.epoch = 6;
	cluster_inject(c, &m);
	dropped++;
	m.epoch = 7;
	m.group = 4;
	cluster_inject(c, &m);
	dropped++;
	m.group = 3;
	m.from = 9; /* no member */
	cluster_inject(c, &m);
	dropped++;
	m.from = 3;
	m.commit = UINT64_MAX;
	cluster_inject(c, &m);
	dropped++;
	m.commit = 0;
	m.type = 77;
	cluster_inject(c, &m);
	dropped++;
	cluster_status(c, 1, &after);
	CHECK_U64_EQ(after.dropped - before.dropped, dropped);
	CHECK_U64_EQ(after.ballot, before.ballot);
	CHECK_U64_EQ(cluster_leader(c), 0);
}

#define T(fn)	CHECK_TEST_WITH(start_three, teardown, fn)
#define OWN(fn) CHECK_TEST_WITH(NULL, teardown, fn)

static const struct check_test tests[] = {
	OWN(first_in_succession_leads_a_fresh_group),
	OWN(group_of_one_leads_at_once),
	OWN(group_of_one_leads_again_after_a_crash),
	T(idle_leader_keeps_leading),
	T(broken_connection_costs_one_lease),
	T(silence_costs_less_than_half_a_second),
	T(lease_promises_are_kept),
	T(without_leases_nobody_waits_for_them),
	T(frozen_leader_finds_its_successor_and_follows),
	T(dead_follower_changes_nothing),
	T(second_successor_leads_when_the_first_is_dead_too),
	T(no_majority_no_leader),
	T(everybody_dies_and_all_is_there_again),
	T(rejoining_node_deposes_nobody),
	T(follower_that_hears_nothing_deposes_nobody),
	T(cut_off_leader_gives_up),
	T(leader_that_nobody_reaches_stands_back),
	T(split_of_five_leaves_the_majority_serving),
	T(leader_with_a_hanging_disk_stands_back),
	T(leader_with_a_hanging_engine_stands_back),
	T(slow_disks_of_all_depose_nobody),
	T(hand_over_takes_no_lease_time),
	T(who_gave_up_stands_back),
	T(hand_over_keeps_what_is_proposed),
	T(hand_over_tries_the_next_when_one_is_gone),
	T(follower_has_nothing_to_hand_over),
	T(forged_token_frees_no_promise),
	T(candidate_fetches_what_is_chosen_before_it_leads),
	T(candidate_behind_the_log_lets_another_lead),
	T(entry_of_another_ballot_is_not_accepted),
	T(nonsense_is_dropped_and_counted),
};
CHECK_MAIN(tests)
