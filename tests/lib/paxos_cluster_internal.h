/* Shared by the files of the cluster of cores; not for tests. */
#ifndef PAXFS_TESTS_LIB_PAXOS_CLUSTER_INTERNAL_H
#define PAXFS_TESTS_LIB_PAXOS_CLUSTER_INTERNAL_H

#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/paxos_cluster.h"

enum {
	NODES = GROUP_REPLICAS_MAX,
	TURNS = 100000, /* at one moment: time stands still */
	READS = 512,	/* of which the newest are remembered */
	EPOCH = 7,
	GROUP = 3,
};

#define WALL_START (1700000000ull * NS_PER_S)

enum event_kind { DELIVER, SYNCED, APPLIED, SNAPSHOT, READ_AGAIN, LINK };

struct event {
	uint64_t at, order;
	enum event_kind kind;
	uint32_t node, from;
	uint64_t life, arg, seq;
	struct buf body;
};

enum record_kind { PROMISE, ENTRY, MARK };

struct record {
	enum record_kind kind;
	uint64_t number;	   /* ballot, or slot of a mark */
	struct paxos_entry *entry; /* a reference */
};

struct disk {
	struct record *records;
	size_t count, synced, cap;
	uint64_t seq; /* of the last record */
	bool syncing;
	struct cluster_range delay;

	/* indexes, by slot: the newest appended, and the newest synced (both borrowed) */
	struct paxos_entry **appended, **stored;
	size_t slots;
	uint64_t whole; /* all slots up to it are stored, or were applied */
	uint64_t mark;
	paxos_ballot promise;
};

struct node {
	struct paxos *core; /* NULL: down */
	uint64_t life;
	struct disk disk;
	uint64_t given, applied, durable, applying;
	uint64_t generation; /* of apply jobs */
	struct cluster_range apply_delay;
	uint64_t clock_base, paused_until;
	int64_t ppm;
	struct paxos_audit audit;
	bool fetching;
};

struct read {
	uint64_t id, floor, slot;
	uint32_t node;
	uint64_t life;
	bool waits, ready, under_lease;
};

struct paxos_cluster {
	struct cluster_config cfg;
	struct cluster_faults faults;
	uint64_t now, rng, order;
	uint32_t turns;
	bool trace;
	struct event *heap;
	size_t count, cap;
	struct node nodes[NODES];
	bool cut[NODES][NODES];
	uint64_t link_last[NODES][NODES];
	uint64_t *chosen; /* fingerprint by slot; 0: not yet */
	size_t chosen_cap;
	uint64_t chosen_last;
	struct read reads[READS];
	uint64_t read_id, served, values, snapshots;
	uint64_t sent[PAXOS_TIMEOUT_NOW + 1];
};

#define FAIL(c, ...)                                                                               \
	do {                                                                                       \
		fprintf(stderr, "seed %llu, at %.6f s:\n", (unsigned long long)(c)->cfg.seed,      \
			(double)(c)->now / 1e9);                                                   \
		CHECK_FAIL(__VA_ARGS__);                                                           \
	} while (0)

#define MUST(c, cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL(c, "%s", #cond);                                                      \
	} while (0)

/* ---- paxos_cluster.c ---- */
void cluster__push(struct paxos_cluster *c, struct event e);
uint64_t cluster__in_range(struct paxos_cluster *c, struct cluster_range r);
uint64_t cluster__mono(const struct paxos_cluster *c, const struct node *n);
uint32_t cluster__index_of(uint32_t node);
void cluster__must_step(struct paxos_cluster *c, uint32_t i, struct paxos_event ev);
void cluster__boot(struct paxos_cluster *c, uint32_t i, bool fresh);

/* ---- paxos_cluster_disk.c ---- */
void cluster__disk_append(struct disk *d, struct record r);
void cluster__disk_stored(struct disk *d, const struct record *r);
void cluster__disk_kick(struct paxos_cluster *c, uint32_t i);
void cluster__disk_crash(struct paxos_cluster *c, struct node *n);
void cluster__disk_release(struct disk *d);
int cluster__read_entry(void *ctx, uint64_t slot, struct paxos_entry **out);

/* ---- paxos_cluster_check.c ---- */
void cluster__check_given(struct paxos_cluster *c, uint32_t i, const struct paxos_entry *e);
void cluster__check_sent(struct paxos_cluster *c, const struct node *n,
			 const struct paxos_message *m);
void cluster__serve_all(struct paxos_cluster *c, uint32_t i);
void cluster__read_ready(struct paxos_cluster *c, uint32_t i, const struct paxos_read_ready *ready);

#endif
