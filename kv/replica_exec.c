/* Commands: from the call to the proposal, and from the reply of the state machine to the callers. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/replica_internal.h"

#define COMMAND_HEAD_MAX 5u /* bytes that enc_bytes puts before a command */

_Static_assert(ENTRY_SIZE_MAX >= COMMAND_SIZE_MAX + COMMAND_HEAD_MAX, "one command always fits");

/* ---- the queue ---- */

static struct command *command_new(enum command_from from, struct slice bytes)
{
	struct command *c = mem_try_alloc(sizeof(*c) + bytes.len);

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->from = from;
	c->len = bytes.len;
	if (bytes.len)
		memcpy(c->data, bytes.p, bytes.len);
	return c;
}

static void enqueue(struct kv_replica *r, struct command *c)
{
	STAILQ_INSERT_TAIL(&r->queue, c, link);
	r->queue_count++;
	r->queue_bytes += c->len;
}

static bool queue_full(const struct kv_replica *r, size_t len)
{
	return r->queue_count >= KV_QUEUE_COMMANDS_MAX ||
	       r->queue_bytes + len > KV_QUEUE_BYTES_MAX ||
	       r->scheduled - r->applied > KV_APPLY_LAG_MAX;
}

/* The state machine's own commands are bounded by what it has prepared; it makes them again when they
 * are lost. */
void kv__enqueue_own(struct kv_replica *r, struct slice bytes)
{
	struct command *c;

	if (!r->serving || bytes.len > COMMAND_SIZE_MAX)
		return;
	c = command_new(COMMAND_OWN, bytes);
	if (c)
		enqueue(r, c);
}

/* ---- who waits for which reply ---- */

static struct wait *wait_find(struct kv_replica *r, const struct wait_key *key)
{
	struct wait *w = NULL;

	HASH_FIND(hh, r->waits, key, sizeof(*key), w);
	return w;
}

static struct wait *wait_add(struct kv_replica *r, const struct wait_key *key)
{
	struct wait *w = mem_must_alloc(sizeof(*w));

	w->key = *key;
	HASH_ADD(hh, r->waits, key, sizeof(w->key), w);
	return w;
}

static void wait_free(struct kv_replica *r, struct wait *w)
{
	HASH_DEL(r->waits, w);
	mem_free(w);
}

/* The newest callers count: older ones have given up, or lost their connection. */
static void wait_add_caller(struct kv_replica *r, struct wait *w, const struct kv_caller *c)
{
	if (w->caller_count == KV_CALLERS_MAX) {
		kv__reply(r, &w->callers[0], ERR_BUSY, (struct slice){0});
		memmove(w->callers, w->callers + 1, sizeof(*c) * (KV_CALLERS_MAX - 1));
		w->caller_count--;
	}
	w->callers[w->caller_count++] = *c;
}

static void wait_answer(struct kv_replica *r, struct wait *w, int err, struct slice body)
{
	for (uint32_t i = 0; i < w->caller_count; i++)
		kv__reply(r, &w->callers[i], err, body);
	wait_free(r, w);
}

void kv__exec_reply(struct kv_replica *r, const struct wait_key *key, struct slice body)
{
	struct wait *w = wait_find(r, key);

	if (w)
		wait_answer(r, w, 0, body);
}

/* ---- calls ---- */

/* Why this replica cannot take a command now; 0 if it can. */
static int cannot_take(struct kv_replica *r, size_t len, bool adds_data)
{
	if (r->refused)
		return ERR_AMNESIA;
	if (!r->leading)
		return ERR_NOT_LEADER;
	if (queue_full(r, len) || HASH_COUNT(r->waits) >= KV_WAITS_MAX)
		return ERR_BUSY;
	if (adds_data && !r->io->log_has_room(r->io_ctx, len))
		return ERR_NOSPACE;
	return 0;
}

/* Remembers the caller. False when the same command was queued a moment ago: then the caller only
 * joins those who wait. Anonymous sequences are the senders' own: no two of them join. */
static int join_waiters(struct kv_replica *r, const struct kv_caller *c,
			const struct wait_key *key, struct slice command, uint64_t now_ns,
			bool *queue_it)
{
	uint32_t crc = crc32c(0, command.p, command.len);
	struct wait *w = wait_find(r, key);

	if (w && key->client == 0)
		return ERR_BUSY;
	*queue_it = !w || w->crc != crc || now_ns - w->queued_ns > KV_REPROPOSE_NS;
	if (!w)
		w = wait_add(r, key);
	wait_add_caller(r, w, c);
	if (*queue_it) {
		w->crc = crc;
		w->queued_ns = now_ns;
	}
	return 0;
}

void kv_replica_exec(struct kv_replica *r, const struct kv_caller *c, struct slice command,
		     const struct kv_time *t)
{
	struct wait_key key = {0, 0};
	struct command *cmd = NULL;
	bool adds_data = false, queue_it = false;
	int err = tsm_request_check(command, &key.client, &key.sequence, &adds_data);

	if (!err && key.sequence == 0)
		err = ERR_PROTO; /* CLOSE, FLOOR: see kv_replica_admin */
	if (!err)
		err = cannot_take(r, command.len, adds_data);
	if (!err) {
		cmd = command_new(COMMAND_CLIENT, command);
		err = cmd ? join_waiters(r, c, &key, command, t->mono_ns, &queue_it) : ERR_NOMEM;
	}
	if (err)
		kv__reply(r, c, err, (struct slice){0});
	if (err || !queue_it) {
		mem_free(cmd);
		return;
	}
	cmd->parts = tsm_request_several(command);
	enqueue(r, cmd);
}

void kv_replica_admin(struct kv_replica *r, const struct kv_caller *c, struct slice command,
		      const struct kv_time *t)
{
	struct command *cmd = NULL;
	uint64_t client, sequence;
	bool adds_data;
	int err = tsm_request_check(command, &client, &sequence, &adds_data);

	(void)t;
	if (!err && sequence != 0)
		err = ERR_PROTO; /* requests and CANCELs wait for their replies: kv_replica_exec */
	if (!err)
		err = cannot_take(r, command.len, false);
	if (!err) {
		cmd = command_new(COMMAND_ADMIN, command);
		err = cmd ? 0 : ERR_NOMEM;
	}
	if (err) {
		kv__reply(r, c, err, (struct slice){0});
		return;
	}
	cmd->caller = *c;
	enqueue(r, cmd);
}

/* ---- proposing ---- */

/* Moves commands that fit one entry to @batch, encoded in @data. */
static void gather(struct kv_replica *r, struct command_list *batch, struct buf *data)
{
	struct command *c;
	unsigned n = 0;

	while ((c = STAILQ_FIRST(&r->queue)) != NULL && n < COMMANDS_PER_ENTRY_MAX) {
		if (data->len + c->len + COMMAND_HEAD_MAX > ENTRY_SIZE_MAX)
			break;
		enc_bytes(data, slice_of(c->data, c->len));
		STAILQ_REMOVE_HEAD(&r->queue, link);
		STAILQ_INSERT_TAIL(batch, c, link);
		r->queue_count--;
		r->queue_bytes -= c->len;
		n++;
	}
}

static void put_back(struct kv_replica *r, struct command_list *batch)
{
	struct command *c;

	STAILQ_FOREACH(c, batch, link) {
		r->queue_count++;
		r->queue_bytes += c->len;
	}
	STAILQ_CONCAT(batch, &r->queue);
	STAILQ_CONCAT(&r->queue, batch);
}

/* After the proposal of its entry; the same step may have ended the leadership. */
static void proposed(struct kv_replica *r, struct command *c, uint64_t slot)
{
	if (c->from == COMMAND_ADMIN && !r->leading) {
		kv__reply(r, &c->caller, ERR_NOT_LEADER, (struct slice){0});
		return;
	}
	if (c->from == COMMAND_ADMIN) {
		struct admin_wait *w = mem_must_alloc(sizeof(*w));

		w->slot = slot;
		w->caller = c->caller;
		STAILQ_INSERT_TAIL(&r->admins, w, link);
	}
	if (c->parts) {
		struct kv_job *job = kv_job_new(KV_JOB_PROPOSED, r->apply);

		if (buf_set(&job->bytes, slice_of(c->data, c->len)) == 0)
			kv__schedule(r, job);
		else
			kv_job_free(job); /* only later, then: when the entry is applied */
	}
}

static void drop(struct kv_replica *r, struct command *c, int err)
{
	if (c->from == COMMAND_ADMIN)
		kv__reply(r, &c->caller, err, (struct slice){0});
	mem_free(c);
}

/* The log has not even room on its reserve. What clients sent is theirs to send again, what the state
 * machine wanted it will want again. */
static void refuse_batch(struct kv_replica *r, struct command_list *batch)
{
	struct wait_key key;
	struct command *c;
	struct wait *w;
	bool adds_data;

	while ((c = STAILQ_FIRST(batch)) != NULL) {
		STAILQ_REMOVE_HEAD(batch, link);
		if (c->from == COMMAND_CLIENT &&
		    tsm_request_check(slice_of(c->data, c->len), &key.client, &key.sequence,
				      &adds_data) == 0 &&
		    (w = wait_find(r, &key)) != NULL)
			wait_answer(r, w, ERR_NOSPACE, (struct slice){0});
		drop(r, c, ERR_NOSPACE);
	}
}

static int propose(struct kv_replica *r, const struct kv_time *t)
{
	struct command_list batch = STAILQ_HEAD_INITIALIZER(batch);
	struct paxos_event ev = {.kind = PAXOS_EV_PROPOSE};
	struct paxos_update up;
	struct command *c;
	struct buf data = BUF_INIT;
	uint64_t slot = 0;
	int err;

	gather(r, &batch, &data);
	ev.propose.kind = PAXOS_COMMANDS;
	ev.propose.data = buf_slice(&data);
	err = buf_ok(&data) ? 0 : ERR_NOMEM;
	if (!err && !r->io->log_can_take(r->io_ctx, data.len))
		err = ERR_NOSPACE;
	if (!err)
		err = kv__step(r, &ev, t, &up);
	if (err == ERR_NOSPACE) {
		refuse_batch(r, &batch);
	} else if (err) { /* BUSY, NOMEM: later. NOT_LEADER: the change of role answers the callers */
		put_back(r, &batch);
	} else {
		slot = up.proposed_slot;
		CHECK(slot > 0);
		r->proposed = slot;
	}
	while (!err && (c = STAILQ_FIRST(&batch)) != NULL) {
		STAILQ_REMOVE_HEAD(&batch, link);
		proposed(r, c, slot);
		mem_free(c);
	}
	buf_release(&data);
	return err;
}

/* Group commit: while the log writes, and an earlier entry is under way, the next one grows. */
static bool worth_waiting(const struct kv_replica *r)
{
	return r->proposed > r->scheduled && r->io->log_busy(r->io_ctx);
}

static bool has_commands(const struct kv_replica *r)
{
	return r->serving && !STAILQ_EMPTY(&r->queue);
}

bool kv_replica_wants_turn(const struct kv_replica *r)
{
	return has_commands(r) || !TAILQ_EMPTY(&r->watch_due);
}

void kv_replica_turn(struct kv_replica *r, const struct kv_time *t)
{
	while (has_commands(r) && !worth_waiting(r))
		if (propose(r, t) != 0)
			break;
	kv__watch_turn(r, t);
}

/* ---- applied, or lost ---- */

void kv__exec_applied(struct kv_replica *r)
{
	struct admin_wait *w;

	while ((w = STAILQ_FIRST(&r->admins)) != NULL && w->slot <= r->applied) {
		STAILQ_REMOVE_HEAD(&r->admins, link);
		kv__reply(r, &w->caller, 0, (struct slice){0});
		mem_free(w);
	}
}

void kv__exec_fail(struct kv_replica *r, int err)
{
	struct admin_wait *a;
	struct wait *w, *next;
	struct command *c;

	while ((a = STAILQ_FIRST(&r->admins)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->admins, link);
		kv__reply(r, &a->caller, err, (struct slice){0});
		mem_free(a);
	}
	while ((c = STAILQ_FIRST(&r->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->queue, link);
		drop(r, c, err);
	}
	r->queue_count = r->queue_bytes = 0;
	HASH_ITER(hh, r->waits, w, next)
		wait_answer(r, w, err, (struct slice){0});
}
