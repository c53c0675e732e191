/* Directed attacks: what random faults seldom hit, again and again, at the moment that hurts most. Each
 * is a schedule of faults on top of a heavy key-value load; what is checked is what is checked of any
 * run. */
#ifndef PAXFS_TESTS_SIM_SIM_ATTACK_H
#define PAXFS_TESTS_SIM_SIM_ATTACK_H

#include <stdbool.h>

struct tsm;
struct sim_cluster_config;
struct sim_load_config;

/* X(name, what happens) */
#define SIM_ATTACKS(X)                                                                              \
	X(lease, "a leader is cut off for about the length of its lease, clients stay with it")     \
	X(oblivion, "a follower restarts inside the lease it promised, and its leader is cut off")  \
	X(freeze, "a leader is stopped for about the length of its lease")                          \
	X(decision, "a coordinator dies between its decision and its messages, others' leaders too") \
	X(client, "clients die after any of their frames")                                          \
	X(snapshot, "nodes fall behind the log, and leaders die while they catch up")               \
	X(handover, "leaders hand over under loss")                                                 \
	X(recycle, "power cuts while segments are recycled")                                        \
	X(full, "disks fill up while leaders change")                                               \
	X(all, "all of these in turn")

enum sim_attack {
	SIM_ATTACK_NONE,
#define X(name, text) SIM_ATTACK_##name,
	SIM_ATTACKS(X)
#undef X
		SIM_ATTACK_COUNT
};

enum sim_attack sim_attack_find(const char *name); /* NONE: there is no such */
const char *sim_attack_name(enum sim_attack a);
const char *sim_attack_text(enum sim_attack a);

/* Cluster and load as the attack needs them: changes what was drawn. */
void sim_attack_configure(enum sim_attack a, struct sim_cluster_config *c, struct sim_load_config *l);
void sim_attack_start(enum sim_attack a);
void sim_attack_stop(void); /* nothing new; what is down is for the nemesis to heal */

/* Called behind each entry that a state machine has executed. */
void sim_attack_on_entry(struct tsm *t);

#endif
