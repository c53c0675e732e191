/* Calls in flight: each a record on the stack of the fiber that made it. */
#include "base/check.h"
#include "base/err.h"
#include "base/fiber.h"
#include "base/mem.h"
#include "net/net_peer.h"

#define uthash_malloc(size)  mem_must_alloc(size)
#define uthash_free(p, size) mem_free(p)
#include <uthash.h>

struct call {
	UT_hash_handle hh;	/* in the peer's `sent` */
	TAILQ_ENTRY(call) link; /* in the peer's `waiting` */
	struct net_peer *peer;
	struct fiber *fiber;
	struct env_timer deadline;
	uint64_t id;
	const struct slice *parts;
	unsigned part_count;
	uint8_t type;
	bool sent;
	bool done; /* in no list, timer off; the peer may be gone */
	int result;
	struct buf *reply;
};

void calls_init(struct net_peer *p)
{
	TAILQ_INIT(&p->waiting);
}

/* Takes the call out of its peer. */
static void call_end(struct call *c, int result)
{
	struct net_peer *p = c->peer;

	CHECK(!c->done);
	if (c->sent)
		HASH_DELETE(hh, p->sent, c);
	else
		TAILQ_REMOVE(&p->waiting, c, link);
	CHECK(p->call_count > 0);
	p->call_count--;
	env_timer_cancel(peer_env(p), &c->deadline);
	c->done = true;
	c->result = result;
}

static void call_end_and_wake(struct call *c, int result)
{
	call_end(c, result);
	fiber_wake(c->fiber);
}

static void on_deadline(struct env_timer *t)
{
	struct call *c = container_of(t, struct call, deadline);

	call_end_and_wake(c, c->sent ? ERR_TIMEOUT : ERR_UNREACHABLE);
}

/* Hands a waiting call to the connection. */
static int call_send(struct call *c)
{
	struct net_peer *p = c->peer;
	int err = net_send(p->conn, c->type, 0, c->id, c->parts, c->part_count);

	if (err)
		return err;
	TAILQ_REMOVE(&p->waiting, c, link);
	c->sent = true;
	HASH_ADD(hh, p->sent, id, sizeof(c->id), c);
	return 0;
}

void calls_send_waiting(struct net_peer *p)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&p->waiting))) {
		int err = call_send(c);

		if (err)
			call_end_and_wake(c, err);
	}
}

void calls_fail_sent(struct net_peer *p)
{
	while (p->sent)
		call_end_and_wake(p->sent, ERR_CLOSED);
}

void calls_fail_waiting(struct net_peer *p)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&p->waiting)))
		call_end_and_wake(c, ERR_UNREACHABLE);
}

void calls_take_reply(struct net_peer *p, const struct net_frame *f)
{
	struct call *c;

	HASH_FIND(hh, p->sent, &f->id, sizeof(f->id), c);
	if (c)
		call_end_and_wake(c, buf_set(c->reply, f->body));
}

/* What forbids the call now, if anything. */
static int refuse(struct net_peer *p, uint64_t deadline_ns)
{
	if (fiber_interrupted())
		return ERR_INTERRUPTED;
	if (p->freed)
		return ERR_CLOSED;
	if (p->call_count >= NET_CALLS_MAX)
		return ERR_BUSY;
	if (env_mono_ns(peer_env(p)) >= deadline_ns)
		return p->conn ? ERR_TIMEOUT : ERR_UNREACHABLE;
	return 0;
}

int net_call(struct net_peer *p, uint8_t type, const struct slice *parts, unsigned n,
	     uint64_t deadline_ns, struct buf *reply)
{
	struct call c = {
		.peer = p,
		.fiber = fiber_self(),
		.type = type,
		.parts = parts,
		.part_count = n,
		.reply = reply,
		.deadline = {.fire = on_deadline},
	};
	int err;

	CHECK(c.fiber != NULL);
	err = refuse(p, deadline_ns);
	if (err)
		return err;
	c.id = ++p->last_call_id;
	p->call_count++;
	TAILQ_INSERT_TAIL(&p->waiting, &c, link);
	err = p->conn ? call_send(&c) : 0;
	if (err) {
		call_end(&c, err);
		return err;
	}
	if (deadline_ns != UINT64_MAX)
		env_timer_set(peer_env(p), &c.deadline, deadline_ns);
	while (!c.done) {
		fiber_park();
		if (!c.done && fiber_interrupted())
			call_end(&c, ERR_INTERRUPTED);
	}
	return c.result;
}
