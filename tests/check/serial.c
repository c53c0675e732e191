#include "tests/check/serial.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/check/serial_graph.h"
#include "tests/check/serial_reads.h"

/* The graph, and what its transactions are. */
struct order {
	const struct serial *s;
	struct graph g;
	uint32_t *txn_of;  /* node -> operation */
	uint32_t *node_of; /* operation -> node, or SERIAL_NONE */
	struct place {
		const struct serial_key *key;
		uint32_t index;
	} *unseen; /* operation -> its place in the struct unseen of that key */
};

/* ---- nodes ---- */

static void order_init(struct order *o, const struct serial *s)
{
	uint32_t n = 0;

	*o = (struct order){.s = s};
	o->txn_of = mem_must_alloc((s->h->count + 1) * sizeof(uint32_t));
	o->node_of = mem_must_alloc((s->h->count + 1) * sizeof(uint32_t));
	o->unseen = mem_must_alloc((s->h->count + 1) * sizeof(struct place));
	for (uint32_t i = 0; i < s->h->count; i++) {
		o->node_of[i] = s->counts[i] ? n : SERIAL_NONE;
		if (s->counts[i])
			o->txn_of[n++] = i;
	}
	graph_init(&o->g, n);
}

static void order_release(struct order *o)
{
	graph_release(&o->g);
	mem_free(o->txn_of);
	mem_free(o->node_of);
	mem_free(o->unseen);
}

/* @from and @to are operations. Nothing depends on itself. */
static void add(struct order *o, uint32_t from, uint32_t to, struct graph_edge e)
{
	if (from == to)
		return;
	e.from = o->node_of[from];
	e.to = o->node_of[to];
	graph_add(&o->g, &e);
}

/* ---- what nobody saw ---- */

/* Appends that no read shows come after all that any read shows. Helper nodes lead there from the last
 * writer and from those who read all: forwards[i] to the unseen 0..i, backwards[i] to i and above, so
 * that a transaction that is among them goes to all but itself. */
struct unseen {
	const struct serial_key *key;
	struct serial_append **appends; /* of different transactions */
	uint32_t count;
	uint32_t *forwards, *backwards; /* nodes */
};

static void unseen_link(struct order *o, uint32_t from, uint32_t to, const struct unseen *u, uint32_t i)
{
	struct graph_edge e = {from, to, GRAPH_ON, false, u->key->key, 0, u->appends[i]->value};

	graph_add(&o->g, &e);
}

static void unseen_init(struct unseen *u, struct order *o, const struct serial_key *k)
{
	*u = (struct unseen){.key = k};
	u->appends = mem_must_alloc((k->append_count + 1) * sizeof(struct serial_append *));
	for (size_t i = 0; i < k->append_count; i++) {
		struct serial_append *a = &k->appends[i];

		if (a->position != SERIAL_NONE || !o->s->counts[a->txn] ||
		    o->unseen[a->txn].key == k)
			continue;
		o->unseen[a->txn] = (struct place){k, u->count};
		u->appends[u->count++] = a;
	}
	u->forwards = mem_must_alloc((u->count + 1) * sizeof(uint32_t));
	u->backwards = mem_must_alloc((u->count + 1) * sizeof(uint32_t));
	for (uint32_t i = 0; i < u->count; i++) {
		u->forwards[i] = graph_helper(&o->g);
		u->backwards[i] = graph_helper(&o->g);
	}
	for (uint32_t i = 0; i < u->count; i++) {
		uint32_t node = o->node_of[u->appends[i]->txn];

		unseen_link(o, u->forwards[i], node, u, i);
		unseen_link(o, u->backwards[i], node, u, i);
		if (i > 0)
			unseen_link(o, u->forwards[i], u->forwards[i - 1], u, i);
		if (i + 1 < u->count)
			unseen_link(o, u->backwards[i], u->backwards[i + 1], u, i);
	}
}

static void unseen_release(struct unseen *u)
{
	mem_free(u->appends);
	mem_free(u->forwards);
	mem_free(u->backwards);
}

/* From operation @from to all unseen but itself. */
static void unseen_add(struct order *o, const struct unseen *u, uint32_t from, struct graph_edge e)
{
	bool among = o->unseen[from].key == u->key;
	uint32_t below = among ? o->unseen[from].index : u->count;

	e.from = o->node_of[from];
	if (below > 0) {
		e.to = u->forwards[below - 1];
		graph_add(&o->g, &e);
	}
	if (below + 1 < u->count) {
		e.to = u->backwards[below + 1];
		graph_add(&o->g, &e);
	}
}

/* ---- edges ---- */

static void add_read(struct order *o, const struct serial_key *k, const struct unseen *u,
		     const struct serial_read *r)
{
	struct graph_edge wr = {.kind = GRAPH_WR, .key = k->key};
	struct graph_edge rw = {.kind = GRAPH_RW, .key = k->key, .empty = r->before == 0};

	if (r->before > 0) {
		wr.a = r->list[r->before - 1];
		add(o, k->elements[r->before - 1]->txn, r->txn, wr);
		rw.a = wr.a;
	}
	if (r->before < k->longest->count) {
		rw.b = k->elements[r->before]->value;
		add(o, r->txn, k->elements[r->before]->txn, rw);
	} else {
		unseen_add(o, u, r->txn, rw);
	}
}

static void add_key(struct order *o, const struct serial_key *k)
{
	size_t n = k->longest->count;
	struct unseen u;

	unseen_init(&u, o, k);
	for (size_t i = 1; i < n; i++) {
		struct graph_edge ww = {.kind = GRAPH_WW, .key = k->key};

		ww.a = k->elements[i - 1]->value;
		ww.b = k->elements[i]->value;
		add(o, k->elements[i - 1]->txn, k->elements[i]->txn, ww);
	}
	if (n > 0) {
		struct graph_edge ww = {.kind = GRAPH_WW, .key = k->key};

		ww.a = k->elements[n - 1]->value;
		unseen_add(o, &u, k->elements[n - 1]->txn, ww);
	}
	for (size_t i = 0; i < k->read_count; i++)
		add_read(o, k, &u, &k->reads[i]);
	unseen_release(&u);
}

struct event {
	uint64_t at_ns;
	uint32_t node;
	bool returned;
};

/* At the same time, calls come first: then the two are concurrent. */
static int event_cmp(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	if (x->returned != y->returned)
		return x->returned ? 1 : -1;
	return x->node < y->node ? -1 : x->node > y->node;
}

/* A helper node per return, each leading to the next, and to those that are called before the next. */
static void add_real_time(struct order *o)
{
	struct event *events = mem_must_alloc(((size_t)o->g.txns * 2 + 1) * sizeof(*events));
	uint32_t last = SERIAL_NONE;
	size_t n = 0;

	for (uint32_t i = 0; i < o->g.txns; i++) {
		const struct history_op *op = &o->s->h->ops[o->txn_of[i]];

		events[n++] = (struct event){op->invoke_ns, i, false};
		if (history_done_ns(op) != HISTORY_NEVER)
			events[n++] = (struct event){op->return_ns, i, true};
	}
	qsort(events, n, sizeof(*events), event_cmp);
	for (size_t i = 0; i < n; i++) {
		struct graph_edge e = {.from = last, .to = events[i].node, .kind = GRAPH_ON};

		if (!events[i].returned) {
			if (last != SERIAL_NONE)
				graph_add(&o->g, &e);
			continue;
		}
		e = (struct graph_edge){.from = events[i].node, .kind = GRAPH_RT};
		e.to = graph_helper(&o->g);
		graph_add(&o->g, &e);
		e = (struct graph_edge){.from = last, .to = e.to, .kind = GRAPH_ON};
		if (last != SERIAL_NONE)
			graph_add(&o->g, &e);
		last = e.to;
	}
	mem_free(events);
}

/* ---- report ---- */

/* The number that stands for the transaction of @node in the report of cycle @c: 1, 2, ... */
static unsigned number_of(const struct graph *g, const struct graph_cycle *c, uint32_t node)
{
	unsigned number = 0;

	for (size_t i = 0; i < c->count; i++) {
		uint32_t from = g->edges[c->edges[i]].from;

		if (from >= g->txns)
			continue;
		number++;
		if (from == node)
			break;
	}
	return number;
}

static void add_read_list(const struct graph_edge *e, unsigned reader, struct verdict *v)
{
	verdict_add(v, "T%u read key %" PRIu64, reader, e->key);
	if (e->empty)
		verdict_add(v, " before anyone had appended to it");
	else
		verdict_add(v, " up to %" PRIu64, e->a);
}

/* @e, which leads over helpers to the transaction @b, there to the element @value. */
static void add_edge(const struct order *o, const struct graph_edge *e, uint32_t to, unsigned a,
		     unsigned b, uint64_t value, struct verdict *v)
{
	const struct history_op *ops = o->s->h->ops;

	verdict_add(v, "  T%u before T%u: ", a, b);
	switch (e->kind) {
	case GRAPH_WW:
		verdict_add(v, "T%u appended %" PRIu64 " to key %" PRIu64 ", T%u then %" PRIu64
			       " (ww)\n", a, e->a, e->key, b, value);
		break;
	case GRAPH_WR:
		add_read_list(e, b, v);
		verdict_add(v, ", which T%u appended (wr)\n", a);
		break;
	case GRAPH_RW:
		add_read_list(e, a, v);
		verdict_add(v, ", to which T%u then appended %" PRIu64 " (rw)\n", b, value);
		break;
	default:
		verdict_add(v, "T%u returned at %" PRIu64 ", T%u was called at %" PRIu64
			       " (realtime)\n", a, ops[o->txn_of[e->from]].return_ns, b,
			    ops[o->txn_of[to]].invoke_ns);
	}
}

static void report(const struct order *o, const char *name, const struct graph_cycle *c,
		   struct verdict *v)
{
	const struct graph *g = &o->g;

	verdict_set(v, VERDICT_WRONG, name);
	verdict_add(v, "transactions: %s, a cycle of %" PRIu32 "\n", name, c->length);
	for (size_t i = 0; i < c->count; i++) {
		uint32_t from = g->edges[c->edges[i]].from;

		if (from >= g->txns)
			continue;
		verdict_add(v, "  T%u = ", number_of(g, c, from));
		serial_add_txn(o->s, o->txn_of[from], v);
	}
	for (size_t i = 0, j; i < c->count; i = j) {
		const struct graph_edge *e = &g->edges[c->edges[i]], *last = e;

		for (j = i + 1; j < c->count && g->edges[c->edges[j]].kind == GRAPH_ON; j++)
			last = &g->edges[c->edges[j]];
		add_edge(o, e, last->to, number_of(g, c, e->from), number_of(g, c, last->to),
			 last->b, v);
	}
}

/* ---- cycles ---- */

static void find_cycle(const struct order *o, struct verdict *v)
{
	enum { WW = GRAPH_WW, WWR = GRAPH_WW | GRAPH_WR, ALL = WWR | GRAPH_RW, RT = GRAPH_RT };
	static const struct {
		const char *name;
		uint32_t kinds;
		bool one_rw;
	} classes[] = {
		{"G0", WW, false},
		{"G1c", WWR, false},
		{"G-single", ALL, true},
		{"G2", ALL, false},
		{"G0 realtime", WW | RT, false},
		{"G1c realtime", WWR | RT, false},
		{"G-single realtime", ALL | RT, true},
		{"G2 realtime", ALL | RT, false},
	};
	struct graph_cycle cycle;

	if (!graph_cyclic(&o->g, ALL | RT))
		return;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (!graph_find(&o->g, classes[i].kinds, classes[i].one_rw, &cycle))
			continue;
		report(o, classes[i].name, &cycle, v);
		graph_cycle_release(&cycle);
		return;
	}
}

void serial_check(const struct history *h, struct verdict *v)
{
	struct serial s;
	struct order o;

	verdict_init(v);
	serial_reads_init(&s, h, v);
	if (v->code == VERDICT_OK) {
		order_init(&o, &s);
		for (size_t i = 0; i < s.key_count; i++)
			add_key(&o, &s.keys[i]);
		add_real_time(&o);
		graph_close(&o.g);
		find_cycle(&o, v);
		order_release(&o);
	}
	serial_release(&s);
}
