#include "kv/replica.h"

#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "kv/replica_internal.h"

#define ENTRY_OVERHEAD 128u /* bytes of a record around an entry's data, at most */

void kv__reply(struct kv_replica *r, const struct kv_caller *c, int err, struct slice body)
{
	r->io->reply(r->io_ctx, r, c, err, body);
}

void kv__schedule(struct kv_replica *r, struct kv_job *job)
{
	job->owner = r;
	r->io->schedule(r->io_ctx, job);
}

/* ---- carrying out an update: persist, send, apply ---- */

static void mark_persist(struct kv_replica *r, uint64_t batch, uint64_t seq)
{
	struct persist_mark *last;

	if (r->mark_count > r->mark_first) {
		last = &r->marks[r->mark_count - 1];
		CHECK(last->batch <= batch);
		if (last->batch == batch) {
			last->seq = seq;
			return;
		}
	} else {
		r->mark_first = r->mark_count = 0;
	}
	if (r->mark_count == r->mark_cap) {
		r->mark_cap = r->mark_cap ? r->mark_cap * 2 : 16;
		r->marks = mem_must_realloc(r->marks, sizeof(*r->marks) * r->mark_cap);
	}
	r->marks[r->mark_count++] = (struct persist_mark){batch, seq};
}

static uint64_t append(struct kv_replica *r, const struct paxos_persist *p)
{
	struct wal_record rec = {.type = WAL_PROMISE, .group = r->group, .ballot = p->ballot};

	if (p->promise)
		return r->io->log_append(r->io_ctx, &rec);
	rec.type = WAL_ENTRY;
	rec.ballot = p->entry->ballot;
	rec.slot = p->entry->slot;
	buf_reset(&r->scratch);
	paxos_entry_encode(p->entry, &r->scratch);
	buf_must(&r->scratch);
	rec.payload = buf_slice(&r->scratch);
	return r->io->log_append(r->io_ctx, &rec);
}

static void persist(struct kv_replica *r, const struct paxos_update *up)
{
	uint64_t batch = 0;

	for (size_t i = 0; i < up->persist_count; i++)
		batch = append(r, &up->persist[i]);
	if (up->persist_count)
		mark_persist(r, batch, up->persist_seq);
}

static void schedule_committed(struct kv_replica *r, const struct paxos_update *up)
{
	for (size_t i = 0; i < up->committed_count; i++) {
		struct kv_job *job = kv_job_new(KV_JOB_ENTRY, r->apply);

		job->entry = paxos_entry_ref(up->committed[i]);
		r->scheduled = job->entry->slot;
		kv__schedule(r, job);
	}
	if (up->committed_count)
		kv__read_scheduled(r);
}

/* The apply side leads while this replica serves. Calls that wait die with the leadership: whether
 * their commands will be chosen is not known here any more. */
static void follow_role(struct kv_replica *r, const struct kv_time *t)
{
	struct paxos_status s;

	paxos_status(r->paxos, t->mono_ns, &s);
	r->leading = s.role == PAXOS_LEADER;
	if (s.serving != r->serving) {
		struct kv_job *job = kv_job_new(KV_JOB_LEADING, r->apply);

		r->serving = job->flag = s.serving;
		kv__schedule(r, job);
	}
	if (!r->leading) {
		r->proposed = 0;
		kv_replica_fail_calls(r, ERR_NOT_LEADER);
	}
	r->io->changed(r->io_ctx, r);
}

int kv__step(struct kv_replica *r, struct paxos_event *ev, const struct kv_time *t,
	     struct paxos_update *up)
{
	int err;

	if (r->refused)
		return r->refused;
	ev->now_ns = t->mono_ns;
	ev->wall_ns = t->wall_ns;
	*up = (struct paxos_update){0};
	err = paxos_step(r->paxos, ev, up);
	if (err == ERR_CORRUPT)
		kv_replica_refuse(r, err, "a log entry is damaged: rebuild this node");
	if (err)
		return err;
	persist(r, up);
	for (size_t i = 0; i < up->message_count; i++)
		r->io->send(r->io_ctx, &up->messages[i]);
	schedule_committed(r, up);
	for (size_t i = 0; i < up->read_count; i++)
		kv__read_ready(r, &up->reads[i]);
	if (up->truncate_below)
		r->io->log_truncate(r->io_ctx, r->group, up->truncate_below);
	if (up->snapshot_from)
		r->io->snapshot(r->io_ctx, r, up->snapshot_from);
	if (up->role_changed)
		follow_role(r, t);
	return 0;
}

static void step(struct kv_replica *r, struct paxos_event *ev, const struct kv_time *t)
{
	struct paxos_update up;

	(void)kv__step(r, ev, t, &up); /* NOMEM: as if the event was lost; CORRUPT: refused */
}

/* ---- life ---- */

static int read_entry(void *ctx, uint64_t slot, struct paxos_entry **out)
{
	struct kv_replica *r = ctx;
	struct buf payload = BUF_INIT;
	uint64_t ballot;
	int err = r->io->log_read(r->io_ctx, r->group, slot, &ballot, &payload);

	if (!err)
		err = paxos_entry_decode(ballot, slot, buf_slice(&payload), out);
	buf_release(&payload);
	return err == ERR_PROTO ? ERR_CORRUPT : err;
}

int kv_replica_new(const struct kv_replica_config *cfg, struct kv_replica **out)
{
	struct kv_replica *r = mem_must_alloc(sizeof(*r));
	struct paxos_config pc = cfg->paxos;
	int err;

	r->group = pc.group;
	r->apply = cfg->apply;
	r->io = cfg->io;
	r->io_ctx = cfg->io_ctx;
	r->user = cfg->user;
	r->apply_deadline_ns = UINT64_MAX;
	STAILQ_INIT(&r->queue);
	STAILQ_INIT(&r->admins);
	TAILQ_INIT(&r->blocked);
	TAILQ_INIT(&r->watch_due);
	RB_INIT(&r->watches);
	pc.read_entry = read_entry;
	pc.read_ctx = r;
	err = paxos_new(&pc, &r->paxos);
	if (err) {
		mem_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void kv_replica_free(struct kv_replica *r)
{
	if (!r)
		return;
	r->ending = true;
	kv_replica_fail_calls(r, ERR_CLOSED);
	paxos_free(r->paxos);
	mem_free(r->marks);
	buf_release(&r->scratch);
	mem_free(r);
}

int kv_replica_restore(struct kv_replica *r, const struct wal_record *rec)
{
	struct paxos_entry *e;
	int err;

	r->restored_any = true;
	switch (rec->type) {
	case WAL_PROMISE:
		if (rec->ballot > r->restored_promise)
			r->restored_promise = rec->ballot;
		paxos_restore_promise(r->paxos, rec->ballot);
		return 0;
	case WAL_ENTRY:
		err = paxos_entry_decode(rec->ballot, rec->slot, rec->payload, &e);
		if (err)
			return err;
		if (rec->slot > r->restored_slot)
			r->restored_slot = rec->slot;
		if (rec->ballot > r->restored_promise)
			r->restored_promise = rec->ballot;
		paxos_restore_entry(r->paxos, e);
		paxos_entry_unref(e);
		return 0;
	case WAL_MARK:
		if (rec->slot > r->restored_slot + 1)
			r->restored_slot = rec->slot - 1;
		paxos_restore_mark(r->paxos, rec->slot);
		return 0;
	}
	return ERR_PROTO;
}

int kv_replica_start(struct kv_replica *r, const struct kv_time *t)
{
	uint64_t applied = kv_apply_applied(r->apply);
	bool fresh = !r->restored_any && applied == 0;

	CHECK(!r->started);
	r->started = true;
	r->applied = r->scheduled = applied;
	if (applied > r->restored_slot)
		r->restored_slot = applied;
	return paxos_start(r->paxos, applied, fresh, t->mono_ns);
}

/* ---- events ---- */

static bool can_take(struct kv_replica *r, const struct paxos_message *m)
{
	uint64_t bytes = 0;

	if (m->count == 0 || (m->type != PAXOS_ACCEPT && m->type != PAXOS_LEARN))
		return true;
	for (uint32_t i = 0; i < m->count; i++)
		bytes += m->entries[i]->len + ENTRY_OVERHEAD;
	return r->io->log_can_take(r->io_ctx, bytes);
}

/* Entries that the disk has no room for count as lost on the way; the leader is heard all the same. It
 * sends them again. */
void kv_replica_message(struct kv_replica *r, const struct paxos_message *m,
			const struct kv_time *t)
{
	struct paxos_message bare = *m;
	struct paxos_event ev = {.kind = PAXOS_EV_MESSAGE, .message = m};

	if (!r->refused && !can_take(r, m)) {
		if (m->type == PAXOS_LEARN)
			return;
		bare.count = 0;
		bare.entries = NULL;
		ev.message = &bare;
	}
	step(r, &ev, t);
}

bool kv_replica_synced(struct kv_replica *r, uint64_t batch, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_PERSISTED};
	bool any = false;

	while (r->mark_first < r->mark_count && r->marks[r->mark_first].batch <= batch) {
		ev.seq = r->marks[r->mark_first++].seq;
		any = true;
	}
	if (any)
		step(r, &ev, t);
	return any;
}

void kv_replica_tick(struct kv_replica *r, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_TICK};

	if (r->refused)
		return;
	kv__watch_tick(r, t);
	if (paxos_next_deadline(r->paxos) <= t->mono_ns)
		step(r, &ev, t);
	if (r->apply_deadline_ns <= t->mono_ns && !r->tick_scheduled) {
		r->tick_scheduled = true;
		kv__schedule(r, kv_job_new(KV_JOB_TICK, r->apply));
	}
}

uint64_t kv_replica_deadline(const struct kv_replica *r)
{
	uint64_t a = r->tick_scheduled ? UINT64_MAX : r->apply_deadline_ns, p, w;

	if (r->refused)
		return UINT64_MAX;
	p = paxos_next_deadline(r->paxos);
	w = kv__watch_deadline(r);
	if (w < p)
		p = w;
	return a < p ? a : p;
}

void kv_replica_peer(struct kv_replica *r, uint32_t node, bool up, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = up ? PAXOS_EV_PEER_UP : PAXOS_EV_PEER_DOWN, .node = node};

	step(r, &ev, t);
}

void kv_replica_durable(struct kv_replica *r, uint64_t slot, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_DURABLE, .slot = slot};

	step(r, &ev, t);
}

static void note_applied(struct kv_replica *r, uint64_t slot, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_APPLIED, .slot = slot};

	if (slot <= r->applied)
		return;
	r->applied = slot;
	step(r, &ev, t);
	kv__exec_applied(r);
}

void kv_replica_installed(struct kv_replica *r, uint64_t slot, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_SNAPSHOT_INSTALLED, .slot = slot};

	if (slot <= r->scheduled)
		return; /* the log has overtaken it: its entries are under way, or applied */
	r->applied = r->scheduled = slot;
	step(r, &ev, t);
	kv__read_scheduled(r);
}

void kv_replica_hand_over(struct kv_replica *r, const struct kv_time *t)
{
	struct paxos_event ev = {.kind = PAXOS_EV_HAND_OVER};

	step(r, &ev, t);
}

/* ---- results of jobs ---- */

static void take_result(struct kv_replica *r, const struct kv_result *res, const struct kv_time *t)
{
	struct slice bytes = slice_of(res->data, res->len);
	struct wait_key key = {res->client, res->sequence};

	switch (res->kind) {
	case KV_RESULT_PROPOSE:
		kv__enqueue_own(r, bytes);
		break;
	case KV_RESULT_SEND:
		if (r->serving)
			r->io->send_txn(r->io_ctx, r->group, res->group, bytes);
		break;
	case KV_RESULT_REPLY:
		kv__exec_reply(r, &key, bytes);
		break;
	case KV_RESULT_READ:
		kv__read_done(r, res->token, bytes, t);
		break;
	case KV_RESULT_WRITTEN:
		kv__watch_written(r, bytes);
		break;
	}
}

/* A damaged state: this replica cannot go on. Other errors are those of one job. */
static void take_error(struct kv_replica *r, const struct kv_job *job)
{
	char why[sizeof(r->why)];

	if (!job->fatal)
		return;
	snprintf(why, sizeof(why), "engine: %s: rebuild this node", err_text(job->err));
	kv_replica_refuse(r, job->err, why);
}

void kv_replica_done(struct kv_replica *r, struct kv_job *job, const struct kv_time *t)
{
	struct kv_result *res;

	if (job->kind == KV_JOB_TICK)
		r->tick_scheduled = false;
	if (job->kind == KV_JOB_MESSAGE) {
		r->message_count--;
		r->message_bytes -= job->bytes.len;
	}
	r->apply_deadline_ns = job->deadline_ns;
	STAILQ_FOREACH(res, &job->results, link)
		take_result(r, res, t);
	take_error(r, job);
	if (job->kind == KV_JOB_ENTRY && !job->err)
		note_applied(r, job->entry->slot, t);
	if (job->done)
		job->done(job);
	kv_job_free(job);
}

void kv_replica_txn(struct kv_replica *r, struct slice bytes)
{
	struct kv_job *job;

	if (!r->serving || r->refused || r->message_count >= KV_MESSAGES_MAX ||
	    r->message_bytes + bytes.len > KV_MESSAGE_BYTES_MAX)
		return;
	job = kv_job_new(KV_JOB_MESSAGE, r->apply);
	if (buf_set(&job->bytes, bytes) != 0) {
		kv_job_free(job); /* as if lost: it will be sent again */
		return;
	}
	r->message_count++;
	r->message_bytes += bytes.len;
	kv__schedule(r, job);
}

/* ---- ending ---- */

void kv_replica_fail_calls(struct kv_replica *r, int err)
{
	kv__exec_fail(r, err);
	kv__read_fail(r, err);
	kv__watch_fail(r, err);
}

void kv_replica_refuse(struct kv_replica *r, int code, const char *why)
{
	if (r->refused)
		return;
	r->refused = code;
	snprintf(r->why, sizeof(r->why), "%s", why);
	if (r->serving) {
		struct kv_job *job = kv_job_new(KV_JOB_LEADING, r->apply);

		kv__schedule(r, job);
	}
	r->serving = r->leading = false;
	kv_replica_fail_calls(r, ERR_AMNESIA);
	r->io->changed(r->io_ctx, r);
}

/* ---- looking in ---- */

uint32_t kv_replica_group(const struct kv_replica *r)
{
	return r->group;
}

void *kv_replica_user(const struct kv_replica *r)
{
	return r->user;
}

struct kv_apply *kv_replica_apply(const struct kv_replica *r)
{
	return r->apply;
}

bool kv_replica_serving(const struct kv_replica *r)
{
	return r->serving;
}

void kv_replica_status(const struct kv_replica *r, uint64_t now_ns, struct paxos_status *out)
{
	paxos_status(r->paxos, now_ns, out);
}

uint32_t kv_replica_leader(const struct kv_replica *r, uint64_t now_ns)
{
	struct paxos_status s;

	if (r->refused)
		return 0;
	paxos_status(r->paxos, now_ns, &s);
	return s.leader;
}

int kv_replica_refused(const struct kv_replica *r, const char **why)
{
	if (why)
		*why = r->why;
	return r->refused;
}

void kv_replica_restored(const struct kv_replica *r, paxos_ballot *promise, uint64_t *slot)
{
	*promise = r->restored_promise;
	*slot = r->restored_slot;
}
