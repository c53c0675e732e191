/* What the reads of a list-append history tell: the order of the elements of each key, and anomalies
 * that show without a graph. Shared by serial.c only. */
#ifndef PAXFS_TESTS_CHECK_SERIAL_READS_H
#define PAXFS_TESTS_CHECK_SERIAL_READS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/check/history.h"
#include "tests/check/verdict.h"

#define SERIAL_NONE UINT32_MAX

struct serial_append {
	uint64_t key, value;
	uint32_t txn; /* index of the operation in the history */
	uint32_t nth; /* among the appends of its transaction to this key: 0, 1, ... */
	bool last;    /* of those */
	uint32_t position; /* in the list of the key, or SERIAL_NONE: nobody saw it */
};

struct serial_read {
	uint64_t key;
	uint32_t txn;
	const uint64_t *list;
	size_t count;  /* of all it saw */
	size_t before; /* of what others had appended, which stands first */
};

struct serial_key {
	uint64_t key;
	struct serial_read *reads;
	size_t read_count;
	struct serial_append *appends; /* by value */
	size_t append_count;
	const struct serial_read *longest; /* its list is the order of the elements */
	const struct serial_read *latest;  /* the read that was called last */
	struct serial_append **elements;   /* who appended each */
};

struct serial {
	const struct history *h;
	struct serial_append *appends; /* by key, value */
	size_t append_count;
	struct serial_read *reads; /* by key */
	size_t read_count;
	struct serial_key *keys; /* those that were read */
	size_t key_count;
	struct serial_append **elements; /* of all keys */
	bool *counts; /* per operation: a transaction that surely happened */
};

/* Fills in all of @s. What is wrong goes into @v; then there is nothing more to do but to release. */
void serial_reads_init(struct serial *s, const struct history *h, struct verdict *v);
void serial_release(struct serial *s);

/* "client 3 [1, 2] txn ... -> ok" and a newline. */
void serial_add_txn(const struct serial *s, uint32_t txn, struct verdict *v);

#endif
