/* A log, and a model of what it must hold. Every payload says which append it came from, so that
 * whatever the log hands out can be compared with what was put in. */
#ifndef PAXFS_TESTS_LIB_WAL_FIXTURE_H
#define PAXFS_TESTS_LIB_WAL_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>

#include "wal/wal.h"
#include "wal/wal_device.h"

#define WAL_FIXTURE_GROUPS 4u

struct wal_fixture_append {
	struct wal_record r; /* payload.len only */
	uint64_t number;
	bool synced; /* acknowledged, or seen at a later start */
	bool seen;   /* at the last start */
};

struct wal_fixture {
	struct wal_config cfg;
	struct wal *wal; /* NULL while closed */
	struct wal_fixture_append *appends;
	size_t count, cap;
	size_t run_first; /* of the appends since the log was opened */
	uint64_t seed;
	bool (*power_is_off)(void *ctx); /* then nothing counts as synced any more; may be NULL */
	void *ctx;
	uint64_t slot[WAL_FIXTURE_GROUPS], mark[WAL_FIXTURE_GROUPS], ballot[WAL_FIXTURE_GROUPS];
	unsigned wrong; /* replayed records that were never appended, or not so */
	struct msg msg;
	pthread_mutex_t lock; /* with a writer thread: */
	pthread_cond_t woken; /* on_synced was called */
};

void wal_fixture_init(struct wal_fixture *f, struct wal_device *device, uint64_t seed);
void wal_fixture_release(struct wal_fixture *f); /* closes the log too */

int wal_fixture_open(struct wal_fixture *f); /* result of wal_open; notes what was replayed */
void wal_fixture_close(struct wal_fixture *f);

uint64_t wal_fixture_append(struct wal_fixture *f, enum wal_type type, uint32_t group,
			    uint64_t ballot, uint64_t slot, size_t len);
void wal_fixture_note_synced(struct wal_fixture *f); /* all up to wal_synced() */
void wal_fixture_wait(struct wal_fixture *f, uint64_t number); /* until it is synced; notes it */
void wal_fixture_truncate(struct wal_fixture *f, uint32_t group, uint64_t slot);

uint64_t wal_fixture_random(struct wal_fixture *f, uint64_t below);
void wal_fixture_step(struct wal_fixture *f); /* one random operation, like a node's */

/* NULL, or what is wrong: after wal_fixture_open(), everything synced must have been seen, and what
 * was seen must be readable. */
const char *wal_fixture_verify(struct wal_fixture *f);

#endif
