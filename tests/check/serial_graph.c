#include "tests/check/serial_graph.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define NONE	   UINT32_MAX
#define BUDGET_MAX (200u * 1000 * 1000) /* edges looked at in the search for a shortest cycle */

void graph_init(struct graph *g, uint32_t txns)
{
	*g = (struct graph){.txns = txns, .nodes = txns};
}

void graph_release(struct graph *g)
{
	mem_free(g->edges);
	mem_free(g->first);
	*g = (struct graph){0};
}

uint32_t graph_helper(struct graph *g)
{
	return g->nodes++;
}

void graph_add(struct graph *g, const struct graph_edge *e)
{
	CHECK(e->from != e->to && e->from < g->nodes && e->to < g->nodes);
	if (g->count == g->cap) {
		g->cap = g->cap > 0 ? 2 * g->cap : 256;
		g->edges = mem_must_realloc(g->edges, g->cap * sizeof(*g->edges));
	}
	g->edges[g->count++] = *e;
}

/* Sorts the edges by origin, otherwise in the order in which they came. */
void graph_close(struct graph *g)
{
	struct graph_edge *sorted = mem_must_alloc((g->count + 1) * sizeof(*sorted));
	size_t *at = mem_must_alloc(((size_t)g->nodes + 1) * sizeof(*at));

	g->first = mem_must_alloc(((size_t)g->nodes + 2) * sizeof(*g->first));
	for (size_t i = 0; i < g->count; i++)
		g->first[g->edges[i].from + 1]++;
	for (uint32_t n = 0; n < g->nodes; n++)
		g->first[n + 1] += g->first[n];
	memcpy(at, g->first, (size_t)g->nodes * sizeof(*at));
	for (size_t i = 0; i < g->count; i++)
		sorted[at[g->edges[i].from]++] = g->edges[i];
	mem_free(at);
	mem_free(g->edges);
	g->edges = sorted;
	g->cap = g->count + 1;
}

/* ---- components ---- */

struct tarjan {
	const struct graph *g;
	uint32_t kinds;
	uint32_t *index, *low; /* 0: not seen yet */
	uint32_t *component;   /* NONE: still open */
	uint32_t *size;	       /* of each component */
	size_t *next;	       /* edge to look at, per node */
	uint32_t *open, *path; /* stacks */
	uint32_t open_count, path_count, seen, components;
};

static void tarjan_enter(struct tarjan *t, uint32_t n)
{
	t->index[n] = t->low[n] = ++t->seen;
	t->next[n] = t->g->first[n];
	t->open[t->open_count++] = n;
	t->path[t->path_count++] = n;
}

static void tarjan_leave(struct tarjan *t, uint32_t n)
{
	uint32_t member;

	t->path_count--;
	if (t->path_count > 0 && t->low[n] < t->low[t->path[t->path_count - 1]])
		t->low[t->path[t->path_count - 1]] = t->low[n];
	if (t->low[n] != t->index[n])
		return;
	do {
		member = t->open[--t->open_count];
		t->component[member] = t->components;
		t->size[t->components]++;
	} while (member != n);
	t->components++;
}

static void tarjan_from(struct tarjan *t, uint32_t start)
{
	tarjan_enter(t, start);
	while (t->path_count > 0) {
		uint32_t n = t->path[t->path_count - 1], to;
		const struct graph_edge *e;

		if (t->next[n] == t->g->first[n + 1]) {
			tarjan_leave(t, n);
			continue;
		}
		e = &t->g->edges[t->next[n]++];
		to = e->to;
		if ((e->kind & t->kinds) == 0)
			continue;
		if (t->index[to] == 0)
			tarjan_enter(t, to);
		else if (t->component[to] == NONE && t->index[to] < t->low[n])
			t->low[n] = t->index[to];
	}
}

/* Returns whether a component has more than one node. */
static bool tarjan_run(struct tarjan *t, const struct graph *g, uint32_t kinds)
{
	size_t n = (size_t)g->nodes + 1;
	bool cyclic = false;

	*t = (struct tarjan){.g = g, .kinds = kinds | GRAPH_ON};
	t->index = mem_must_alloc(n * sizeof(uint32_t));
	t->low = mem_must_alloc(n * sizeof(uint32_t));
	t->component = mem_must_alloc(n * sizeof(uint32_t));
	t->size = mem_must_alloc(n * sizeof(uint32_t));
	t->open = mem_must_alloc(n * sizeof(uint32_t));
	t->path = mem_must_alloc(n * sizeof(uint32_t));
	t->next = mem_must_alloc(n * sizeof(size_t));
	memset(t->component, 0xff, n * sizeof(uint32_t));
	for (uint32_t i = 0; i < g->nodes; i++)
		if (t->index[i] == 0)
			tarjan_from(t, i);
	for (uint32_t c = 0; c < t->components; c++)
		cyclic |= t->size[c] > 1;
	return cyclic;
}

static void tarjan_release(struct tarjan *t)
{
	mem_free(t->index);
	mem_free(t->low);
	mem_free(t->component);
	mem_free(t->size);
	mem_free(t->open);
	mem_free(t->path);
	mem_free(t->next);
}

bool graph_cyclic(const struct graph *g, uint32_t kinds)
{
	struct tarjan t;
	bool cyclic = tarjan_run(&t, g, kinds);

	tarjan_release(&t);
	return cyclic;
}

/* ---- shortest paths ---- */

/* Breadth first by number of transactions: edges out of helpers cost nothing. */
struct paths {
	const struct graph *g;
	const struct tarjan *t; /* paths stay in one component of it */
	uint32_t kinds;
	uint32_t *round;     /* in which a node was reached last */
	uint32_t *distance;
	size_t *by;	     /* the edge that led there */
	struct queue {
		uint32_t *nodes;
		size_t count, cap;
	} now, next;
	uint32_t rounds;
	uint64_t budget;
};

static void queue_push(struct queue *q, uint32_t n)
{
	if (q->count == q->cap) {
		q->cap = q->cap > 0 ? 2 * q->cap : 64;
		q->nodes = mem_must_realloc(q->nodes, q->cap * sizeof(*q->nodes));
	}
	q->nodes[q->count++] = n;
}

static void paths_init(struct paths *p, const struct tarjan *t, uint32_t kinds)
{
	size_t n = (size_t)t->g->nodes + 1;

	*p = (struct paths){.g = t->g, .t = t, .kinds = kinds | GRAPH_ON, .budget = BUDGET_MAX};
	p->round = mem_must_alloc(n * sizeof(uint32_t));
	p->distance = mem_must_alloc(n * sizeof(uint32_t));
	p->by = mem_must_alloc(n * sizeof(size_t));
}

static void paths_release(struct paths *p)
{
	mem_free(p->round);
	mem_free(p->distance);
	mem_free(p->by);
	mem_free(p->now.nodes);
	mem_free(p->next.nodes);
}

static void reach(struct paths *p, size_t edge, uint32_t distance)
{
	uint32_t n = p->g->edges[edge].to;

	if (p->round[n] == p->rounds && p->distance[n] <= distance)
		return;
	p->round[n] = p->rounds;
	p->distance[n] = distance;
	p->by[n] = edge;
	queue_push(p->g->edges[edge].kind == GRAPH_ON ? &p->now : &p->next, n);
}

static void expand(struct paths *p, uint32_t n, uint32_t distance)
{
	for (size_t i = p->g->first[n]; i < p->g->first[n + 1]; i++) {
		const struct graph_edge *e = &p->g->edges[i];

		p->budget -= p->budget > 0;
		if ((e->kind & p->kinds) == 0 || p->t->component[e->to] != p->t->component[n])
			continue;
		reach(p, i, distance + (e->kind != GRAPH_ON));
	}
}

/* From the head of edge @start to @goal, in less than @limit steps. The edge counts as the first.
 * Returns its length, NONE if there is no such path. */
static uint32_t paths_find(struct paths *p, size_t start, uint32_t goal, uint32_t limit)
{
	uint32_t distance = 1;

	p->rounds++;
	p->now.count = p->next.count = 0;
	reach(p, start, distance);
	while (p->now.count + p->next.count > 0 && distance < limit && p->budget > 0) {
		struct queue was = p->now;

		if (p->round[goal] == p->rounds && p->distance[goal] <= distance)
			return p->distance[goal];
		if (was.count == 0) { /* the first node, and from one distance to the next */
			p->now = p->next;
			p->next = was;
			distance = p->distance[p->now.nodes[0]];
			continue;
		}
		uint32_t n = p->now.nodes[--p->now.count];

		if (p->distance[n] == distance)
			expand(p, n, distance);
	}
	return p->round[goal] == p->rounds && p->distance[goal] < limit ? p->distance[goal] : NONE;
}

static void keep(const struct paths *p, size_t start, uint32_t goal, struct graph_cycle *out)
{
	size_t count = 1, at;

	for (at = p->by[goal]; at != start; at = p->by[p->g->edges[at].from])
		count++;
	mem_free(out->edges);
	out->edges = mem_must_alloc(count * sizeof(*out->edges));
	out->count = count;
	for (at = p->by[goal]; count > 0; at = p->by[p->g->edges[at].from]) {
		out->edges[--count] = at;
		if (at == start)
			break;
	}
}

/* The edge @i may begin a cycle of @kinds that stays in a component. */
static bool may_begin(const struct tarjan *t, size_t i, uint32_t kinds)
{
	const struct graph_edge *e = &t->g->edges[i];

	return (e->kind & kinds) != 0 && e->kind != GRAPH_ON &&
	       t->component[e->from] == t->component[e->to];
}

bool graph_find(const struct graph *g, uint32_t kinds, bool one_rw, struct graph_cycle *out)
{
	struct tarjan t;
	struct paths p;

	*out = (struct graph_cycle){.length = NONE};
	if (!tarjan_run(&t, g, kinds)) {
		tarjan_release(&t);
		return false;
	}
	paths_init(&p, &t, one_rw ? kinds & ~(uint32_t)GRAPH_RW : kinds);
	for (size_t i = 0; i < g->count && p.budget > 0 && out->length > 2; i++) {
		uint32_t goal = g->edges[i].from, length;

		if (!may_begin(&t, i, one_rw ? GRAPH_RW : kinds))
			continue;
		length = paths_find(&p, i, goal, out->length);
		if (length == NONE)
			continue;
		out->length = length;
		keep(&p, i, goal, out);
	}
	paths_release(&p);
	tarjan_release(&t);
	return out->length != NONE;
}

void graph_cycle_release(struct graph_cycle *c)
{
	mem_free(c->edges);
	*c = (struct graph_cycle){0};
}
