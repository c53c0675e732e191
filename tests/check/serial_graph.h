/* A directed graph of dependencies, its strongly connected components, and short cycles in it. Shared by
 * serial.c only. */
#ifndef PAXFS_TESTS_CHECK_SERIAL_GRAPH_H
#define PAXFS_TESTS_CHECK_SERIAL_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* kinds of edges; a set of them is the sum */
	GRAPH_WW = 1,
	GRAPH_WR = 2,
	GRAPH_RW = 4,
	GRAPH_RT = 8,
	GRAPH_ON = 16, /* out of a helper node: goes on with the edge that led there */
};

struct graph_edge {
	uint32_t from, to;
	uint32_t kind;
	bool empty; /* these are for the report: of a RW, nothing of others was read; */
	uint64_t key, a, b; /* the elements of the first and of the second transaction */
};

struct graph {
	uint32_t txns;	/* nodes 0..txns-1 are transactions, */
	uint32_t nodes; /* those above are helpers */
	struct graph_edge *edges;
	size_t count, cap;
	size_t *first; /* of each node, after graph_close() */
};

struct graph_cycle {
	size_t *edges; /* indices, in order; the first one leaves a transaction */
	size_t count;
	uint32_t length; /* transactions in it */
};

void graph_init(struct graph *g, uint32_t txns);
void graph_release(struct graph *g);
uint32_t graph_helper(struct graph *g);			       /* a new node */
void graph_add(struct graph *g, const struct graph_edge *e); /* none from a node to itself */
void graph_close(struct graph *g);			       /* all edges are there */

/* Whether there is a cycle of edges of @kinds. */
bool graph_cyclic(const struct graph *g, uint32_t kinds);

/* A shortest cycle of edges of @kinds; with @one_rw: with exactly one GRAPH_RW. False: none, or (in a
 * large graph, with @one_rw) none found within the budget. */
bool graph_find(const struct graph *g, uint32_t kinds, bool one_rw, struct graph_cycle *out);
void graph_cycle_release(struct graph_cycle *c);

#endif
