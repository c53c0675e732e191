/* From an orphan to its end: the list, grace periods, and holds that are given up. */
#include <stdlib.h>

#include "base/bytes.h"
#include "fs/hold.h"

/* ---- who holds ---- */

struct search {
	const struct hold_list *inos; /* sorted */
	struct hold_list *held;
};

static int by_number(const void *a, const void *b)
{
	fs_ino x = *(const fs_ino *)a, y = *(const fs_ino *)b;

	return x < y ? -1 : x > y;
}

static bool note_held(void *ctx, const struct txn_item *it)
{
	struct search *s = ctx;
	fs_ino ino;

	if (it->key.len != FS_KEY_HEAD + 16u)
		return true;
	ino = be64_get(it->key.p + FS_KEY_HEAD);
	if (ino > s->inos->v[s->inos->count - 1])
		return false;
	if (bsearch(&ino, s->inos->v, s->inos->count, sizeof(ino), by_number) &&
	    (s->held->count == 0 || s->held->v[s->held->count - 1] != ino))
		hold__add(s->held, ino);
	return true;
}

static void sort(struct hold_list *l)
{
	if (l->count > 1)
		qsort(l->v, l->count, sizeof(*l->v), by_number);
}

/* All H between the first and the last of them: there are few. */
int hold__find_held(struct fs *fs, const struct hold_list *inos, struct hold_list *held)
{
	struct hold_list sorted = {0};
	struct search s = {.inos = &sorted, .held = held};
	struct fs_key after;
	int err = 0;

	if (inos->count == 0)
		return 0;
	hold__add_all(&sorted, inos);
	sort(&sorted);
	fs__key_hold(&after, sorted.v[0], 0);
	err = hold__scan(fs, FS_KIND_HOLD, &after, true, note_held, &s);
	hold__release(&sorted);
	return err;
}

/* @held is sorted. */
static void without(struct hold_list *rest, const struct hold_list *inos, const struct hold_list *held)
{
	for (uint32_t i = 0; i < inos->count; i++)
		if (held->count == 0 ||
		    !bsearch(&inos->v[i], held->v, held->count, sizeof(*held->v), by_number))
			hold__add(rest, inos->v[i]);
}

/* Those that nobody holds. */
static int reap_free(struct fs *fs, const struct hold_list *inos, struct hold_list *held)
{
	struct hold_list rest = {0};
	int err = hold__find_held(fs, inos, held);

	if (!err) {
		without(&rest, inos, held);
		err = hold__reap(fs, &rest);
	}
	hold__release(&rest);
	return err;
}

/* ---- the end of a grace period ---- */

int hold__mark_asked(struct fs *fs, fs_ino ino)
{
	static const uint8_t one = 1;
	struct fs_key k;
	struct fs_op op;
	int err;

	fs__op_begin(&op, fs);
	fs__key_reap(&k, ino, FS_REAP_INODE);
	do {
		fs__op_reset(&op);
		txn_set(&op.m, fs__key_slice(&k), FS_F_ASKED, slice_of(&one, 1));
		err = fs__op_exec(&op);
	} while (fs__op_again(&op, &err));
	fs__op_end(&op);
	return err == ERR_ABSENT_RECORD ? 0 : err;
}

static int batch_delete(struct fs *fs, uint64_t number)
{
	struct fs_key k;

	fs__key_batch(&k, number);
	return fs__delete_record(fs, &k);
}

/* Who closes it last sees the mark, or this sees that H is gone. */
int hold__finish(struct fs *fs, const struct hold_batch *b)
{
	struct hold_list held = {0}, still = {0};
	int err = reap_free(fs, &b->inos, &held);

	for (uint32_t i = 0; !err && i < held.count; i++)
		err = hold__mark_asked(fs, held.v[i]);
	if (!err && held.count > 0)
		err = reap_free(fs, &held, &still);
	if (!err)
		err = batch_delete(fs, b->number);
	hold__release(&held);
	hold__release(&still);
	return err;
}

/* How far all have read; a mount that has not got to @number is put into *slow. */
static uint64_t passed(const struct hold_mounts *m, uint64_t number, struct hold_mount *slow)
{
	uint64_t min = UINT64_MAX;

	*slow = (struct hold_mount){.session = 0};
	for (uint32_t i = 0; i < m->count; i++) {
		if (!m->v[i].alive)
			continue;
		if (m->v[i].rec.cursor < min)
			min = m->v[i].rec.cursor;
		if (m->v[i].rec.cursor < number)
			*slow = m->v[i];
	}
	return min;
}

static int wait_for(struct fs *fs, struct fs_task *t, const struct hold_mount *slow)
{
	struct fs_key k;
	uint64_t now;
	int err;

	fs__key_mount(&k, slow->session);
	t->sleeping = true;
	if (fs->b.watch)
		err = fs->b.watch(fs->b.ctx, fs__key_slice(&k), slow->version, HOLD_LAGGARD_NS,
				  &now);
	else
		err = fiber_sleep(HOLD_POLL_NS);
	t->sleeping = false;
	return err;
}

/* This mount's own cursor: its keeper may not have got to a batch that it was given. */
static bool ready(const struct fs_holds *h, const struct hold_batch *b, uint64_t min)
{
	return b->number <= min && b->number <= h->cursor;
}

/* Not on the list while it is worked on: it may be handed over, or found in the queue once more. */
static int finish_passed(struct fs *fs, uint64_t min)
{
	struct hold_batch *b;
	int err;

	TAILQ_FOREACH(b, &fs->holds->batches, link)
		if (ready(fs->holds, b, min))
			break;
	if (!b)
		return 0;
	TAILQ_REMOVE(&fs->holds->batches, b, link);
	err = hold__finish(fs, b);
	TAILQ_INSERT_HEAD(&fs->holds->batches, b, link);
	if (!err)
		hold__batch_drop(fs, b);
	return err;
}

static bool any_ready(const struct fs_holds *h, uint64_t min)
{
	const struct hold_batch *b;

	TAILQ_FOREACH(b, &h->batches, link)
		if (ready(h, b, min))
			return true;
	return false;
}

/* One look at the others. *suspect: it has waited for one in vain. */
static int finish_once(struct fs *fs, struct fs_task *t, bool *suspect)
{
	struct fs_holds *h = fs->holds;
	struct hold_mounts m = {0};
	struct hold_mount slow;
	uint64_t min;
	int err = hold__mounts_read(fs, &m);

	if (!err && *suspect)
		err = hold__mounts_alive(fs, &m);
	if (err)
		goto out;
	min = passed(&m, TAILQ_FIRST(&h->batches)->number, &slow);
	while (!err && any_ready(h, min))
		err = finish_passed(fs, min);
	if (err || t->stop || TAILQ_EMPTY(&h->batches))
		goto out;
	if (slow.session == 0) { /* this one's own keeper comes to it */
		(void)fs__task_sleep(t, HOLD_GATHER_NS);
		goto out;
	}
	err = wait_for(fs, t, &slow);
	*suspect = err == ERR_TIMEOUT;
	if (err == ERR_TIMEOUT)
		err = 0;
out:
	hold__mounts_release(&m);
	return err;
}

static void finisher(struct fs *fs, struct fs_task *t)
{
	struct fs_holds *h = fs->holds;
	bool suspect = false;
	int err;

	while (!t->stop && !h->lost && !TAILQ_EMPTY(&h->batches)) {
		err = finish_once(fs, t, &suspect);
		if (err == ERR_SESSION)
			h->lost = true;
		if (err)
			fiber_interrupt_clear();
		if (err)
			(void)fs__task_sleep(t, HOLD_RETRY_NS);
	}
	fiber_interrupt_clear();
	h->finishing = false;
}

void hold__kick_batches(struct fs *fs)
{
	struct fs_holds *h = fs->holds;

	if (!h->finishing && !h->lost && !TAILQ_EMPTY(&h->batches))
		h->finishing = fs__background(fs, finisher, 0) == 0;
}

/* ---- the list ---- */

/* Nobody else was there after they became orphans: nobody else can have them open. */
static int settle_alone(struct fs *fs, const struct hold_list *inos, bool *alone)
{
	struct hold_mounts m = {0};
	int err = hold__mounts_read(fs, &m);

	*alone = !err && m.count == 0;
	if (*alone)
		err = hold__reap(fs, inos);
	hold__mounts_release(&m);
	return err;
}

/* Who cannot wait for the others leaves it to one of them. */
static int settle_elsewhere(struct fs *fs, const struct hold_list *inos)
{
	uint64_t owner;
	int err;

	do {
		err = hold__heir(fs, &owner);
		if (err)
			return err;
		if (owner == 0) /* they are all dead */
			return hold__reap(fs, inos);
		err = hold__enqueue(fs, inos, owner);
	} while (err == ERR_CONDITION);
	return err;
}

int hold__settle(struct fs *fs, const struct hold_list *inos)
{
	struct fs_holds *h = fs->holds;
	bool alone;
	int err = settle_alone(fs, inos, &alone);

	if (err || alone)
		return err;
	if (h->session == 0 || h->lost || fs->closing)
		return settle_elsewhere(fs, inos);
	return hold__enqueue(fs, inos, h->session);
}

/* H goes. Of what only H kept, G comes onto this session's list with it: should this mount die before
 * it has deleted that, whoever clears up finds it. What is open here again is passed over. */
static void add_giving_up(struct fs_op *op, const struct fs_op *reads, const struct hold_list *l,
			  uint64_t session, struct hold_list *asked)
{
	struct fs *fs = op->fs;
	struct fs_reap g;
	struct fs_key k;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct fs_node *n = fs__node_find(fs, l->v[i]);
		const struct txn_value *v = fs__op_value(reads, i);
		uint8_t mark;

		if (n && n->held && session == fs->holds->session)
			continue;
		fs__key_hold(&k, l->v[i], session);
		txn_delete(&op->m, fs__key_slice(&k));
		if (v->status || fs__reap_decode(v->value, &g))
			continue;
		mark = g.asked;
		fs__key_reap(&k, l->v[i], FS_REAP_INODE);
		txn_if_field(&op->m, fs__key_slice(&k), FS_F_ASKED, slice_of(&mark, 1));
		if (!g.asked)
			continue;
		txn_set_u64(&op->m, fs__key_slice(&k), FS_F_REAPER, fs->b.session);
		hold__add(asked, l->v[i]);
	}
}

static int give_up_once(struct fs_op *reads, struct fs_op *op, const struct hold_list *l,
			uint64_t session, struct hold_list *asked)
{
	struct fs_key k;
	int err;

	fs__op_reset(reads);
	fs__op_reset(op);
	for (uint32_t i = 0; i < l->count; i++) {
		fs__key_reap(&k, l->v[i], FS_REAP_INODE);
		txn_get(&reads->m, fs__key_slice(&k));
	}
	err = fs__op_read(reads);
	if (err)
		return err;
	add_giving_up(op, reads, l, session, asked);
	return op->m.mut_count > 0 ? fs__op_exec(op) : 0;
}

/* Adds to @asked what the closer has to look after. What was not marked when H went, the owner of the
 * batch marks later, and then it sees that H is gone. */
static int give_up(struct fs *fs, const struct hold_list *l, uint64_t session, struct hold_list *asked)
{
	uint32_t before = asked->count;
	struct fs_op reads, op;
	int err;

	fs__op_begin(&reads, fs);
	fs__op_begin(&op, fs);
	for (;;) {
		asked->count = before;
		err = give_up_once(&reads, &op, l, session, asked);
		if (err != ERR_CONDITION && err != ERR_ABSENT_RECORD && !fs__err_transient(err))
			break;
		err = fs__op_conflict(&op);
		if (err)
			break;
	}
	fs__op_end(&op);
	fs__op_end(&reads);
	return err;
}

int hold__let_go(struct fs *fs, const struct hold_list *inos, uint64_t session)
{
	struct hold_list asked = {0}, held = {0};
	int err = hold__turn_take(fs);

	if (err)
		return err;
	for (uint32_t i = 0; !err && i < inos->count; i += HOLD_GATHER_MAX) {
		uint32_t n = inos->count - i < HOLD_GATHER_MAX ? inos->count - i : HOLD_GATHER_MAX;
		struct hold_list piece = {.v = inos->v + i, .count = n};

		err = give_up(fs, &piece, session, &asked);
	}
	hold__turn_give(fs);
	if (!err)
		err = reap_free(fs, &asked, &held);
	hold__release(&asked);
	hold__release(&held);
	return err;
}

static int work_off(struct fs *fs, struct hold_list *from, struct hold_list *now, uint32_t max,
		    int (*work)(struct fs *fs, const struct hold_list *l))
{
	int err;

	now->count = 0;
	hold__take(now, from, max);
	err = now->count > 0 ? work(fs, now) : 0;
	if (hold__may_work_later(err))
		hold__add_all(from, now);
	return err;
}

static int let_go(struct fs *fs, const struct hold_list *l)
{
	return hold__let_go(fs, l, fs->holds->session);
}

/* What has been opened since it came to the list (FS_O_FOUND) comes again when it is closed. */
static int settle_unopened(struct fs *fs, const struct hold_list *inos)
{
	struct hold_list rest = {0};
	int err;

	for (uint32_t i = 0; i < inos->count; i++) {
		if (fs__orphan_is_open(fs, inos->v[i]))
			continue;
		hold__gone(fs, inos->v[i]);
		hold__add(&rest, inos->v[i]);
	}
	err = rest.count > 0 ? hold__settle(fs, &rest) : 0;
	hold__release(&rest);
	return err;
}

static void lister(struct fs *fs, struct fs_task *t)
{
	struct fs_holds *h = fs->holds;
	struct hold_list now = {0};
	int err;

	while ((h->fresh.count > 0 || h->released.count > 0) && !fs->abandoned) {
		if (h->fresh.count < HOLD_GATHER_MAX && !t->stop)
			(void)fs__task_sleep(t, HOLD_GATHER_NS);
		err = work_off(fs, &h->released, &now, HOLD_WRITE_MAX, let_go);
		if (!err)
			err = work_off(fs, &h->fresh, &now, FS_BATCH_MAX, settle_unopened);
		fs__wake_all(&h->room);
		if (!hold__may_work_later(err))
			continue;
		fiber_interrupt_clear();
		if (t->stop) /* G and H stay, till the session is over */
			break;
		(void)fs__task_sleep(t, HOLD_RETRY_NS);
	}
	fiber_interrupt_clear();
	hold__release(&now);
	h->listing = false;
	fs__wake_all(&h->room);
}

void hold__kick(struct fs *fs)
{
	struct fs_holds *h = fs->holds;

	if (!h->listing && !fs->closing && (h->fresh.count > 0 || h->released.count > 0))
		h->listing = fs__background(fs, lister, 0) == 0;
}
