/* net/stream.h and net_listen() over the simulated network. A connection has two ends, each in a
 * process; what one end flushes at the end of a turn is looked at frame by frame, and arrives as an
 * item on the other's loop. */
#include "net/stream.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/wire.h"
#include "net/conn.h"
#include "net/frame.h"
#include "net/net_stats.h"
#include "tests/sim/sim_internal.h"
#include "tests/sim/sim_net.h"

#define GIVE_UP_NS	(5 * NS_PER_S)	 /* bytes not acknowledged for so long: it breaks */
#define RESEND_NS	(200 * NS_PER_MS) /* after a cut is healed, TCP tries again */
#define RESET_MAX_NS	(100 * NS_PER_MS) /* until somebody sends to a machine that was away */
#define FRAME_TYPE_AT	9u
#define STRAGGLER_NS	(20 * NS_PER_MS) /* what is doubled or overtaken comes so much later */

struct link {
	bool cut;
	uint64_t slow_ns;
};

struct chunk { /* bytes on their way, or the end of the stream */
	struct sim_item item;
	struct pipe *pipe;
	unsigned to; /* which end */
	bool end;
	int err; /* of the end */
	TAILQ_ENTRY(chunk) link;
	uint64_t held_since;
	struct buf bytes;
};

struct stream;

struct pipe { /* a connection */
	struct stream *end[2]; /* 0: the one who connected; NULL: not accepted yet, or gone */
	struct loop *loop[2];  /* of the ends; NULL: gone, nothing goes there any more */
	uint32_t machine[2];
	uint64_t arrival[2]; /* of the last chunk to that end: the next one is later */
	TAILQ_HEAD(chunks, chunk) held[2]; /* to that end; the link is cut */
	bool broken, over[2]; /* over: nothing more is to be sent to that end */
	TAILQ_ENTRY(pipe) link;
};

struct stream {
	struct hub *hub;
	const struct stream_ops *ops;
	void *ctx;
	struct pipe *pipe;
	unsigned side;
	bool closing;
	struct sim_proc *proc;
	struct buf in, out;
	struct hub_item item;
	TAILQ_ENTRY(stream) link;
};

struct net_listener {
	struct conn_owner owner;
	struct loop *loop;
	struct sim_proc *proc;
	unsigned port;
	char address[ADDRESS_SIZE_MAX];
	TAILQ_ENTRY(net_listener) link;
};

static struct sim_net_faults faults = {.delay_min_ns = 20 * NS_PER_US, .delay_max_ns = 120 * NS_PER_US};
static struct link links[SIM_MACHINES_MAX][SIM_MACHINES_MAX];
static TAILQ_HEAD(, pipe) pipes = TAILQ_HEAD_INITIALIZER(pipes);
static struct net_listener *listeners[SIM_MACHINES_MAX]; /* one a machine */

struct sim_net_faults *sim_net_faults(void)
{
	return &faults;
}

static uint32_t machine_of(const struct address *a)
{
	const struct sockaddr_in *in = (const void *)&a->sock.storage;

	CHECK(!a->is_unix && in->sin_family == AF_INET);
	return ntohl(in->sin_addr.s_addr) & 0xff;
}

static uint64_t travel_ns(uint32_t from, uint32_t to)
{
	if (from == to)
		return sim_between(5 * NS_PER_US, 30 * NS_PER_US);
	return sim_between(faults.delay_min_ns, faults.delay_max_ns) + links[from][to].slow_ns;
}

/* ---- ends ---- */

static void pipe_unref(struct pipe *p)
{
	struct chunk *c;

	if (p->loop[0] || p->loop[1] || p->broken)
		return;
	p->broken = true;
	TAILQ_REMOVE(&pipes, p, link);
	for (unsigned i = 0; i < 2; i++)
		while ((c = TAILQ_FIRST(&p->held[i])) != NULL) {
			TAILQ_REMOVE(&p->held[i], c, link);
			buf_release(&c->bytes);
			mem_free(c);
		}
	/* Chunks on their way may still name it: it stays in memory. */
}

static void end_gone(struct pipe *p, unsigned side)
{
	p->end[side] = NULL;
	p->loop[side] = NULL;
	pipe_unref(p);
}

struct gone_item {
	struct sim_item item;
	struct stream *stream;
};

static void gone_run(struct sim_item *i)
{
	struct gone_item *g = container_of(i, struct gone_item, item);
	struct stream *s = g->stream;

	mem_free(g);
	s->ops->on_gone(s->ctx);
	buf_release(&s->in);
	buf_release(&s->out);
	mem_free(s);
}

/* From now on nothing arrives; its memory goes from the loop. */
static void begin_close(struct stream *s)
{
	struct gone_item *g = mem_must_alloc(sizeof(*g));

	CHECK(!s->closing);
	s->closing = true;
	hub_unqueue(s->hub, &s->item);
	TAILQ_REMOVE(&s->proc->streams, s, link);
	if (s->pipe->end[s->side] == s)
		end_gone(s->pipe, s->side);
	g->stream = s;
	g->item.run = gone_run;
	sim__loop_post(s->hub->loop, &g->item, sim_now());
}

static void send_end(struct pipe *p, unsigned to, int err, uint64_t after_ns);

static void stream_break(struct stream *s, int err)
{
	if (s->closing)
		return;
	begin_close(s);
	send_end(s->pipe, 1 - s->side, ERR_CLOSED, 0);
	s->ops->on_down(s->ctx, err);
}

/* ---- arrivals ---- */

static void take_bytes(struct stream *s, struct slice bytes)
{
	size_t want = 0;
	long taken;

	if (s->in.len > 0) {
		buf_add(&s->in, bytes.p, bytes.len);
		bytes = buf_slice(&s->in);
	}
	net_stat_add(NET_STAT_BYTES_IN, bytes.len);
	taken = s->ops->on_bytes(s->ctx, bytes, &want);
	if (taken < 0) {
		stream_break(s, (int)taken);
		return;
	}
	CHECK((size_t)taken <= bytes.len);
	if (s->closing || ((size_t)taken == bytes.len && s->in.len == 0))
		return;
	if (s->in.len > 0) {
		memmove(s->in.data, s->in.data + taken, s->in.len - (size_t)taken);
		s->in.len -= (size_t)taken;
	} else {
		buf_add(&s->in, bytes.p + taken, bytes.len - (size_t)taken);
	}
}

static void chunk_run(struct sim_item *i)
{
	struct chunk *c = container_of(i, struct chunk, item);
	struct stream *s = c->pipe->end[c->to];

	if (s && !s->closing) {
		if (c->end)
			stream_break(s, c->err);
		else
			take_bytes(s, buf_slice(&c->bytes));
	}
	buf_release(&c->bytes);
	mem_free(c);
}

static void pipe_break(struct pipe *p, int err);

static void give_up(void *ctx)
{
	struct pipe *p = ctx;

	for (unsigned i = 0; i < 2; i++) {
		struct chunk *c = TAILQ_FIRST(&p->held[i]);

		if (!p->broken && c && sim_now() - c->held_since >= GIVE_UP_NS) {
			pipe_break(p, ERR_TIMEOUT);
			return;
		}
	}
}

/* Sends a chunk on its way, to arrive at @at_ns at the earliest, or keeps it before the cut. */
static void chunk_send(struct chunk *c, uint64_t at_ns, bool in_order)
{
	struct pipe *p = c->pipe;
	uint32_t from = p->machine[1 - c->to], to = p->machine[c->to];

	if (p->broken || !p->loop[c->to]) {
		buf_release(&c->bytes);
		mem_free(c);
		return;
	}
	if (links[from][to].cut || !TAILQ_EMPTY(&p->held[c->to])) {
		c->held_since = sim_now();
		TAILQ_INSERT_TAIL(&p->held[c->to], c, link);
		sim_at(sim_now() + GIVE_UP_NS, give_up, p);
		return;
	}
	if (in_order) {
		if (at_ns <= p->arrival[c->to])
			at_ns = p->arrival[c->to];
		p->arrival[c->to] = at_ns;
	}
	c->item.run = chunk_run;
	sim__loop_post(p->loop[c->to], &c->item, at_ns);
}

static void note_pipe(const struct pipe *p, const char *what)
{
	sim_note("connection %u-%u: %s", p->machine[0], p->machine[1], what);
}

static struct chunk *chunk_new(struct pipe *p, unsigned to)
{
	struct chunk *c = mem_must_alloc(sizeof(*c));

	c->pipe = p;
	c->to = to;
	return c;
}

static void send_end(struct pipe *p, unsigned to, int err, uint64_t after_ns)
{
	struct chunk *c;

	if (p->over[to] || !p->loop[to])
		return;
	p->over[to] = true;
	c = chunk_new(p, to);
	c->end = true;
	c->err = err;
	chunk_send(c, sim_now() + after_ns + travel_ns(p->machine[1 - to], p->machine[to]), true);
}

/* Though the end of the stream may be on its way already, and late. */
static void send_reset(struct pipe *p, unsigned to)
{
	struct chunk *c;

	if (!p->end[to])
		return;
	p->over[to] = true;
	c = chunk_new(p, to);
	c->end = true;
	c->err = ERR_CLOSED;
	chunk_send(c, sim_now() + sim_below(RESET_MAX_NS), false);
}

/* Both ends hear of it, each in its own time, cut or not. */
static void pipe_break(struct pipe *p, int err)
{
	note_pipe(p, "breaks");
	for (unsigned to = 0; to < 2; to++) {
		struct chunk *c;

		while ((c = TAILQ_FIRST(&p->held[to])) != NULL) {
			TAILQ_REMOVE(&p->held[to], c, link);
			buf_release(&c->bytes);
			mem_free(c);
		}
		if (!p->loop[to])
			continue;
		p->over[to] = true;
		c = chunk_new(p, to);
		c->end = true;
		c->err = err;
		c->item.run = chunk_run;
		sim__loop_post(p->loop[to], &c->item, sim_now() + sim_below(NS_PER_MS));
	}
}

/* ---- faults of links ---- */

static void release(void *ctx)
{
	struct pipe *p = ctx;

	for (unsigned to = 0; to < 2; to++) {
		struct chunks held = TAILQ_HEAD_INITIALIZER(held);
		struct chunk *c;

		if (p->broken || links[p->machine[1 - to]][p->machine[to]].cut)
			continue;
		TAILQ_CONCAT(&held, &p->held[to], link);
		while ((c = TAILQ_FIRST(&held)) != NULL) {
			TAILQ_REMOVE(&held, c, link);
			chunk_send(c, sim_now() + travel_ns(p->machine[1 - to], p->machine[to]),
				   true);
		}
	}
}

void sim_net_cut(uint32_t from, uint32_t to, bool cut)
{
	struct pipe *p;

	CHECK(from < SIM_MACHINES_MAX && to < SIM_MACHINES_MAX);
	if (links[from][to].cut == cut || from == to)
		return;
	links[from][to].cut = cut;
	if (cut)
		return;
	TAILQ_FOREACH(p, &pipes, link)
		for (unsigned i = 0; i < 2; i++)
			if (p->machine[1 - i] == from && p->machine[i] == to &&
			    !TAILQ_EMPTY(&p->held[i]))
				sim_at(sim_now() + sim_below(RESEND_NS), release, p);
}

bool sim_net_is_cut(uint32_t from, uint32_t to)
{
	return links[from][to].cut;
}

void sim_net_slow(uint32_t from, uint32_t to, uint64_t ns)
{
	links[from][to].slow_ns = ns;
}

void sim_net_heal(void)
{
	for (uint32_t i = 0; i < SIM_MACHINES_MAX; i++)
		for (uint32_t k = 0; k < SIM_MACHINES_MAX; k++) {
			sim_net_cut(i, k, false);
			links[i][k].slow_ns = 0;
		}
}

void sim_net_break(uint32_t a, uint32_t b)
{
	struct pipe *p, *next;

	TAILQ_FOREACH_SAFE(p, &pipes, link, next)
		if ((p->machine[0] == a && p->machine[1] == b) ||
		    (p->machine[0] == b && p->machine[1] == a))
			pipe_break(p, ERR_CLOSED);
}

/* ---- sending ---- */

static uint64_t late_ns(void)
{
	if (!sim_chance(faults.late_ppm))
		return 0;
	sim_fault_note(SIM_FAULT_DELAY);
	return sim_below(faults.late_ns);
}

static void send_bytes(struct stream *s, struct slice bytes, uint64_t after_ns, bool in_order)
{
	struct pipe *p = s->pipe;
	struct chunk *c = chunk_new(p, 1 - s->side);
	uint64_t at = sim_now() + after_ns + travel_ns(p->machine[s->side], p->machine[1 - s->side]);

	buf_add(&c->bytes, bytes.p, bytes.len);
	CHECK(buf_ok(&c->bytes));
	chunk_send(c, at, in_order);
}

static void send_in_order(struct stream *s, struct slice bytes)
{
	if (bytes.len == 0)
		return;
	if (bytes.len > 1 && !faults.double_ppm && !faults.reorder_ppm &&
	    sim_chance(faults.split_ppm)) {
		size_t first = 1 + sim_below(bytes.len - 1);

		send_bytes(s, slice_of(bytes.p, first), 0, true);
		bytes = slice_of(bytes.p + first, bytes.len - first);
	}
	send_bytes(s, bytes, late_ns(), true);
}

static size_t frame_len(struct slice in)
{
	size_t n = frame_size(in);

	CHECK(n > 0 && n <= in.len);
	return n;
}

static bool any_frame_faults(void)
{
	return faults.loss_ppm || faults.double_ppm || faults.reorder_ppm || faults.corrupt_ppm ||
	       faults.break_ppm;
}

/* True when the frame was dealt with; false: it goes with the others. */
static bool frame_fault(struct stream *s, struct slice frame)
{
	uint8_t type = frame.p[FRAME_TYPE_AT];

	if (type == KV_NODE_HELLO)
		return false;
	if (sim_chance(faults.loss_ppm)) {
		sim_fault_note(SIM_FAULT_LOSS);
		return true;
	}
	if (type != KV_PAXOS && type != KV_TXN)
		return false;
	if (sim_chance(faults.double_ppm)) {
		sim_fault_note(SIM_FAULT_DUPLICATE);
		send_bytes(s, frame, sim_below(STRAGGLER_NS), false);
		return false;
	}
	if (sim_chance(faults.reorder_ppm)) {
		sim_fault_note(SIM_FAULT_REORDER);
		send_bytes(s, frame, sim_below(STRAGGLER_NS), false);
		return true;
	}
	return false;
}

/* Frames that come out of order are whole chunks; they must not land inside of another frame: so
 * nothing is split while such faults are on. */
static void send_out(struct stream *s, struct slice out)
{
	size_t from = 0, at = 0;

	while (at < out.len) {
		struct slice frame = slice_of(out.p + at, frame_len(slice_of(out.p + at, out.len - at)));
		bool gone = frame_fault(s, frame);

		if (!gone && sim_chance(faults.corrupt_ppm)) {
			sim_fault_note(SIM_FAULT_CORRUPT_FRAME);
			((uint8_t *)frame.p)[sim_below(frame.len)] ^= (uint8_t)(1u << sim_below(8));
		}
		if (gone) {
			send_in_order(s, slice_of(out.p + from, at - from));
			from = at + frame.len;
		}
		at += frame.len;
	}
	send_in_order(s, slice_of(out.p + from, at - from));
}

static void send_all(struct stream *s)
{
	struct buf out = BUF_INIT;

	if (s->out.len == 0)
		return;
	buf_move(&out, &s->out);
	net_stat_add(NET_STAT_BYTES_OUT, out.len);
	sim_hash(out.data + 4, 4); /* its first frame's CRC */
	if (sim_chance(faults.break_ppm)) {
		sim_fault_note(SIM_FAULT_BREAK);
		pipe_break(s->pipe, ERR_CLOSED);
	} else if (any_frame_faults()) {
		send_out(s, buf_slice(&out));
	} else {
		send_in_order(s, buf_slice(&out));
	}
	buf_release(&out);
}

static void flush(struct hub_item *i)
{
	send_all(container_of(i, struct stream, item));
}

size_t stream_queued(const struct stream *s)
{
	return s->out.len;
}

int stream_reserve(struct stream *s, size_t size, uint8_t **at)
{
	int err = buf_reserve(&s->out, size);

	CHECK(!s->closing);
	if (err)
		return err;
	*at = s->out.data + s->out.len;
	s->out.len += size;
	hub_queue(s->hub, &s->item);
	return 0;
}

void stream_close(struct stream *s)
{
	struct pipe *p = s->pipe;
	unsigned other = 1 - s->side;

	if (s->closing)
		return;
	if (p->loop[other])
		send_all(s);
	begin_close(s);
	send_end(p, other, ERR_CLOSED, 0);
}

bool stream_remote(struct stream *s, char out[ADDRESS_SIZE_MAX])
{
	snprintf(out, ADDRESS_SIZE_MAX, "10.0.0.%u", s->pipe->machine[1 - s->side]);
	return true;
}

/* ---- beginning ---- */

static struct stream *stream_new(struct hub *h, const struct stream_ops *ops, void *ctx,
				 struct pipe *p, unsigned side)
{
	struct stream *s = mem_must_alloc(sizeof(*s));

	s->hub = h;
	s->ops = ops;
	s->ctx = ctx;
	s->pipe = p;
	s->side = side;
	s->proc = sim__loop_proc(h->loop);
	s->item.flush = flush;
	TAILQ_INSERT_TAIL(&s->proc->streams, s, link);
	p->end[side] = s;
	p->loop[side] = h->loop;
	return s;
}

struct pipe_item {
	struct sim_item item;
	struct pipe *pipe;
	struct net_listener *listener;
};

/* On the server's loop: a connection waits. */
static void accept_run(struct sim_item *i)
{
	struct pipe_item *pi = container_of(i, struct pipe_item, item);
	struct net_listener *l = pi->listener;
	struct pipe *p = pi->pipe;
	struct net_conn *c;

	mem_free(pi);
	if (p->broken || !p->loop[1] || listeners[p->machine[1]] != l)
		return;
	if (conn_accept(&l->owner, (struct uv_stream_s *)p, l->address, &c) == 0) {
		net_stat_add(NET_STAT_ACCEPTS, 1);
		conn_open(c);
	}
}

/* On the client's: it is up; or refused. */
static void connected_run(struct sim_item *i)
{
	struct pipe_item *pi = container_of(i, struct pipe_item, item);
	struct stream *s = pi->pipe->end[0];

	mem_free(pi);
	if (s && !s->closing)
		s->ops->on_up(s->ctx);
}

static void refused_run(struct sim_item *i)
{
	struct pipe_item *pi = container_of(i, struct pipe_item, item);
	struct stream *s = pi->pipe->end[0];

	mem_free(pi);
	if (s && !s->closing)
		stream_break(s, ERR_UNREACHABLE);
}

static void post(struct loop *l, struct pipe *p, struct net_listener *s,
		 void (*run)(struct sim_item *), uint64_t at_ns)
{
	struct pipe_item *pi = mem_must_alloc(sizeof(*pi));

	pi->pipe = p;
	pi->listener = s;
	pi->item.run = run;
	sim__loop_post(l, &pi->item, at_ns);
}

/* The first packet has arrived, at the other machine's kernel. */
static void knock(void *ctx)
{
	struct pipe *p = ctx;
	struct net_listener *s = listeners[p->machine[1]];
	uint64_t back;

	if (p->broken || !p->end[0])
		return;
	note_pipe(p, s ? "knocks" : "knocks, nobody there");
	if (links[p->machine[0]][p->machine[1]].cut || links[p->machine[1]][p->machine[0]].cut)
		return; /* the peer's own limit ends the attempt */
	back = sim_now() + travel_ns(p->machine[1], p->machine[0]);
	if (!s) {
		post(p->end[0]->hub->loop, p, NULL, refused_run, back);
		return;
	}
	p->loop[1] = s->loop;
	post(s->loop, p, s, accept_run, sim_now() + sim_below(10 * NS_PER_US));
	post(p->end[0]->hub->loop, p, NULL, connected_run, back);
	p->arrival[0] = p->arrival[1] = back;
}

int stream_connect(struct hub *h, const struct address *to, const struct stream_ops *ops, void *ctx,
		   struct stream **out)
{
	struct pipe *p = mem_must_alloc(sizeof(*p));

	TAILQ_INIT(&p->held[0]);
	TAILQ_INIT(&p->held[1]);
	TAILQ_INSERT_TAIL(&pipes, p, link);
	*out = stream_new(h, ops, ctx, p, 0);
	p->machine[0] = (*out)->proc->machine->id;
	p->machine[1] = machine_of(to);
	CHECK(p->machine[1] < SIM_MACHINES_MAX);
	sim_at(sim_now() + travel_ns(p->machine[0], p->machine[1]), knock, p);
	return 0;
}

int stream_accept(struct hub *h, struct uv_stream_s *server, const struct stream_ops *ops,
		  void *ctx, struct stream **out)
{
	*out = stream_new(h, ops, ctx, (struct pipe *)server, 1);
	return 0;
}

/* ---- listening ---- */

static void listener_broken(struct conn_owner *o, struct net_conn *c)
{
	(void)o;
	(void)c;
}

/* The machine is back: its kernel knows nothing of connections of before, and says so to who sends. */
static void reset_old(uint32_t machine)
{
	struct pipe *p;

	TAILQ_FOREACH(p, &pipes, link)
		for (unsigned i = 0; i < 2; i++)
			if (p->machine[i] == machine && !p->loop[i] && p->arrival[1 - i] > 0)
				send_reset(p, 1 - i);
}

int net_listen(struct loop *l, const char *address, const struct net_handler *h,
	       struct net_listener **out, struct msg *m)
{
	struct address a;
	struct net_listener *s;
	int err = address_parse(address, &a, m);

	if (err)
		return err;
	s = mem_must_alloc(sizeof(*s));
	conn_owner_init(&s->owner, l, h);
	s->owner.broken = listener_broken;
	s->loop = l;
	s->proc = sim__loop_proc(l);
	snprintf(s->address, sizeof(s->address), "%s", address);
	reset_old(s->proc->machine->id);
	CHECK(machine_of(&a) == s->proc->machine->id && !listeners[s->proc->machine->id]);
	listeners[s->proc->machine->id] = s;
	TAILQ_INSERT_TAIL(&s->proc->listeners, s, link);
	*out = s;
	return 0;
}

const char *net_listener_address(const struct net_listener *s)
{
	return s->address;
}

/* Connections that nobody will accept any more. */
static void refuse_waiting(const struct net_listener *s)
{
	struct pipe *p, *next;

	TAILQ_FOREACH_SAFE(p, &pipes, link, next)
		if (p->loop[1] == s->loop && !p->end[1]) {
			send_end(p, 0, ERR_CLOSED, 0);
			end_gone(p, 1);
		}
}

void net_listener_free(struct net_listener *s)
{
	if (!s)
		return;
	refuse_waiting(s);
	listeners[s->proc->machine->id] = NULL;
	TAILQ_REMOVE(&s->proc->listeners, s, link);
	conn_owner_release(&s->owner);
	mem_free(s);
}

/* A dead process's sockets are closed by its kernel, which often says so at once; if the machine went
 * with it, the other side finds out later. */
void sim__streams_abandon(struct sim_proc *p)
{
	bool silent = sim_chance(300000);
	struct net_listener *l;
	struct stream *s;

	TAILQ_FOREACH(l, &p->listeners, link) {
		listeners[p->machine->id] = NULL;
		refuse_waiting(l);
	}
	TAILQ_FOREACH(s, &p->streams, link) {
		send_end(s->pipe, 1 - s->side, ERR_CLOSED, silent ? sim_below(GIVE_UP_NS) : 0);
		end_gone(s->pipe, s->side);
	}
}
