/* Locks when something goes wrong: interrupts, lost answers, deaf watches, damaged records. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "tests/lib/lock_case.h"

#define FAR posix(9, SH, 500, 500) /* keeps other mounts from having the inode for themselves */

static struct fsx_rec *lock_record(struct fsx *x, fs_ino f)
{
	struct fs_key k;

	fs__key_head(&k, fs__place(f), f, FS_KIND_LOCK);
	return fsx_find(x, fs__key_slice(&k));
}

static void read_record(struct fsx *x, fs_ino f, struct lock_table *t)
{
	const struct fsx_rec *r = lock_record(x, f);

	lock_table_init(t);
	if (r)
		CHECK_OK(lock_table_decode(buf_slice(&r->value), t));
}

static uint32_t waiters_of(struct fsx *x, fs_ino f)
{
	struct lock_table t;
	uint32_t n;

	read_record(x, f, &t);
	n = t.waiters.count;
	lock_table_release(&t);
	return n;
}

/* ---- a close, in a fiber of its own ---- */

struct closing {
	struct fsx_mount *m;
	fs_ino f;
	uint64_t owner;
	struct fiber *fiber;
	bool done;
};

static void closing_fiber(void *arg)
{
	struct closing *c = arg;

	c->fiber = fiber_self();
	(void)fs_lock_release(c->m->fs, c->f, FS_LOCK_POSIX, c->owner);
	c->done = true;
}

static void start_close(struct closing *c, struct fsx_mount *m, fs_ino f, uint64_t owner)
{
	*c = (struct closing){.m = m, .f = f, .owner = owner};
	fsx_start(m->x, closing_fiber, c);
	pass(NS_PER_MS);
}

/* Another call has the turn when the close comes, and the caller is interrupted. */
LOCK_CASE(an_interrupted_close_gives_up)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting busy;
	struct closing c;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	CHECK_OK(set(n, f, FAR));
	m->x->delay_ns = 4 * NS_PER_S;
	start(&busy, m, f, posix(2, EX, 100, 109));
	pass(NS_PER_MS);
	start_close(&c, m, f, 1);
	CHECK_FALSE(busy.done || c.done);
	fiber_interrupt(c.fiber);
	pass(20 * NS_PER_S);
	CHECK_TRUE(c.done);
	m->x->delay_ns = 0;
	pass(10 * NS_PER_S);
	CHECK_U64_EQ(in_the_way(n, f, posix(7, EX, 0, 9)).mode, NONE);
	CHECK_OK(set(m, f, posix(2, NONE, 0, UINT64_MAX)));
	CHECK_OK(set(n, f, posix(9, NONE, 0, UINT64_MAX)));
	expect_nothing_left(m);
}

static int (*near_exec)(struct txn_executor *ex, const struct txn_mini *m, struct txn_result *res);
static bool away;

static int away_exec(struct txn_executor *ex, const struct txn_mini *m, struct txn_result *res)
{
	int err = away ? fiber_sleep(1000 * NS_PER_S) : 0;

	return err ? err : near_exec(ex, m, res);
}

/* The store is away, and a background fiber waits for it with the turn: leaving does not. */
FSC_CASE(an_interrupted_close_does_not_wait_for_the_background)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;
	struct closing c;

	m->fs->o.keep_locks = true;
	near_exec = m->executor.exec;
	m->executor.exec = away_exec;
	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	pass(100 * NS_PER_MS); /* its keeper watches */
	away = true;
	start(&w, n, f, posix(2, EX, 100, 109));
	pass(100 * NS_PER_MS);
	start_close(&c, m, f, 1);
	CHECK_FALSE(c.done);
	fiber_interrupt(c.fiber);
	pass(NS_PER_MS);
	CHECK_TRUE(c.done);
	away = false;
	pass(1001 * NS_PER_S); /* what has begun meanwhile */
	expect_done(&w, 0);
	CHECK_U64_EQ(in_the_way(n, f, posix(7, EX, 0, 9)).mode, NONE);
	CHECK_OK(set(n, f, posix(2, NONE, 0, UINT64_MAX)));
	expect_nothing_left(m);
}

struct interrupted {
	struct waiting w;
	struct fiber *fiber;
};

static void interrupted_fiber(void *arg)
{
	struct interrupted *i = arg;

	i->fiber = fiber_self();
	waiting_fiber(&i->w);
}

/* At whatever point the fiber is interrupted: who does not wait is no waiter. */
LOCK_CASE(an_interrupted_wait_leaves_the_queue)
{
	struct fsx_mount *n = other(m);

	for (uint64_t at = 0; at < 60; at++) {
		char name[8];
		fs_ino f;
		struct interrupted i;

		snprintf(name, sizeof(name), "f%u", (unsigned)at);
		f = fsc_file(m, ROOT, name, "");
		i = (struct interrupted){.w = {.m = n, .f = f, .l = posix(2, EX, 0, 9)}};
		CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
		fsx_start(m->x, interrupted_fiber, &i);
		pass(3 * NS_PER_S);
		m->x->delay_ns = 100 * NS_PER_MS;
		CHECK_OK(set(m, f, posix(1, EX, 20, 29))); /* it looks again */
		pass(at * 5 * NS_PER_MS);
		CHECK_FALSE(i.w.done);
		fiber_interrupt(i.fiber);
		pass(5 * NS_PER_S);
		m->x->delay_ns = 0;
		pass(5 * NS_PER_S);
		CHECK_TRUE(i.w.done);
		CHECK_ERR(i.w.err, ERR_INTERRUPTED);
		CHECK_U64_EQ(waiters_of(m->x, f), 0);
		CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	}
	expect_nothing_left(m);
}

/* The record cannot be read when the wait ends for that, nor when it is left. */
LOCK_CASE(a_wait_that_fails_leaves_the_queue)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct buf was = BUF_INIT;
	struct waiting w;
	struct fsx_rec *r;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	start(&w, n, f, posix(2, EX, 0, 9));
	pass(NS_PER_S);
	CHECK_U64_EQ(waiters_of(m->x, f), 1);
	r = lock_record(m->x, f);
	CHECK_OK(buf_set(&was, buf_slice(&r->value)));
	CHECK_OK(buf_set(&r->value, slice_str("damaged")));
	expect_done(&w, ERR_CORRUPT);
	CHECK_OK(buf_set(&r->value, buf_slice(&was)));
	buf_release(&was);
	pass(5 * NS_PER_S);
	CHECK_U64_EQ(waiters_of(m->x, f), 0);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	expect_nothing_left(m);
}

/* ---- guesses ---- */

/* A record that could not be read says nothing about what is ours. */
FSC_CASE(what_could_not_be_read_is_given_up)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct buf was = BUF_INIT;
	struct fsx_rec *r;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	r = lock_record(m->x, f);
	CHECK_OK(buf_set(&was, buf_slice(&r->value)));
	CHECK_OK(buf_set(&r->value, slice_str("damaged")));
	CHECK_ERR(set(m, f, posix(2, EX, 0, 9)), ERR_CORRUPT);
	CHECK_OK(buf_set(&r->value, buf_slice(&was)));
	buf_release(&was);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	expect_nothing_left(m);
}

/* ---- delegations ---- */

/* The holder could have more than fits into the record beside those who queue up. */
FSC_CASE(many_ranges_are_handed_over)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	uint32_t count = 0;
	struct waiting w;
	int err = 0;

	m->fs->o.keep_locks = true;
	while (count < 2 * FS_LOCKS_MAX && !err) {
		err = set(m, f, posix(1, EX, 10 * count, 10 * count));
		count += !err;
	}
	CHECK_ERR(err, ERR_TOO_BIG);
	CHECK_U64_EQ(count, FS_LOCKS_MAX);
	start(&w, n, f, posix(2, EX, 1000000, 1000000)); /* there is no room in the record */
	expect_done(&w, ERR_TOO_BIG);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 99)));
	start(&w, n, f, posix(2, EX, 1000000, 1000000));
	expect_done(&w, 0);
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	CHECK_OK(fs_lock_release(n->fs, f, FS_LOCK_POSIX, 2));
	expect_nothing_left(m);
}

static int deaf(void *ctx, struct slice key, uint64_t version, uint64_t wait_ns, uint64_t *now)
{
	int err = fiber_sleep(wait_ns);

	(void)ctx;
	(void)key;
	(void)version;
	(void)now;
	return err ? err : ERR_TIMEOUT;
}

/* A watch that cannot reach anybody ends like one that saw nothing. */
FSC_CASE(a_deaf_watch_is_no_news)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;

	m->fs->o.keep_locks = true;
	m->fs->b.watch = deaf;
	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	start(&w, n, f, posix(2, EX, 100, 109));
	expect_done(&w, 0);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	CHECK_OK(set(n, f, posix(2, NONE, 0, UINT64_MAX)));
	m->fs->b.watch = m->b.watch; /* else its queue keeps it awake */
	expect_nothing_left(m);
}

static void sleeping_fiber(void *arg)
{
	(void)arg;
	(void)fiber_sleep(NS_PER_S / 2);
}

/* From now on, for half a second, a fiber needs memory. */
static void use_up_fibers(struct fsx *x)
{
	for (uint32_t i = 0; i < 32; i++)
		fsx_start(x, sleeping_fiber, NULL);
	pass(NS_PER_MS);
}

static uint64_t fails; /* so many executions are followed by a lack of memory */

static void fail_after(struct fsx *x, const struct txn_mini *t)
{
	(void)x;
	if (t->mut_count > 0 && fails > 0) {
		fails--;
		mem_fail_nth(1);
	}
}

FSC_CASE(without_a_fiber_for_its_keeper)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;

	m->fs->o.keep_locks = true;
	use_up_fibers(m->x);
	m->x->before = fail_after;
	fails = 1;
	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	CHECK_U64_EQ(mem_fail_left(), 0);
	m->x->before = NULL;
	pass(NS_PER_S);
	start(&w, n, f, posix(2, EX, 100, 109));
	expect_done(&w, 0); /* nothing was asked of the first mount meanwhile */
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	CHECK_OK(set(n, f, posix(2, NONE, 0, UINT64_MAX)));
	expect_nothing_left(m);
}

FSC_CASE(without_a_fiber_to_mend)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(set(m, f, posix(1, EX, 20, 29))); /* the next request is a change */
	use_up_fibers(m->x);
	m->x->before = fail_after;
	fails = 1;
	m->lose_reply = 1;
	CHECK_ERR(set(m, f, posix(1, EX, 0, 9)), ERR_TIMEOUT);
	CHECK_U64_EQ(fails, 0);
	CHECK_U64_EQ(mem_fail_left(), 0);
	m->x->before = NULL;
	pass(5 * NS_PER_S);
	CHECK_OK(set(n, f, posix(2, EX, 0, 9)));
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	CHECK_OK(set(m, f, posix(1, NONE, 0, UINT64_MAX)));
	expect_nothing_left(m);
}

/* ---- the search ---- */

/* What one waits for another is read of the record of a third, which is damaged. */
LOCK_CASE(a_damaged_record_elsewhere_ends_no_wait)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", ""), h = fsc_file(m, ROOT, "h", "");
	struct buf was = BUF_INIT;
	struct waiting a, b;
	struct fsx_rec *r;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	CHECK_OK(set(n, h, posix(3, EX, 0, 9)));
	start(&a, m, h, posix(1, EX, 0, 9));
	pass(NS_PER_S);
	r = lock_record(m->x, h);
	CHECK_OK(buf_set(&was, buf_slice(&r->value)));
	CHECK_OK(buf_set(&r->value, slice_str("damaged")));
	start(&b, n, f, posix(2, EX, 0, 9));
	pass(NS_PER_S / 2);
	CHECK_FALSE(a.done || b.done);
	CHECK_OK(buf_set(&r->value, buf_slice(&was)));
	buf_release(&was);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	expect_done(&b, 0);
	CHECK_OK(set(n, h, posix(3, NONE, 0, 9)));
	expect_done(&a, 0);
	CHECK_OK(set(m, h, posix(1, NONE, 0, 9)));
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	expect_nothing_left(m);
}

static struct fsx_mount *unlucky;
static uint32_t lost;

/* Whatever is read of group 0's records has no answer. */
static void lose_searches(struct fsx *x, const struct txn_mini *t)
{
	struct buf meta = BUF_INIT;

	(void)x;
	kv_meta_key(&meta, "");
	if (t->mut_count == 0 && t->read_count > 0 &&
	    slice_has_prefix(t->reads[0].key, buf_slice(&meta))) {
		unlucky->lose_reply = 1;
		lost++;
	}
	buf_release(&meta);
}

LOCK_CASE(a_search_without_an_answer_ends_no_wait)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	unlucky = n;
	lost = 0;
	m->x->before = lose_searches;
	start(&w, n, f, posix(2, EX, 0, 9));
	pass(5 * NS_PER_S);
	m->x->before = NULL;
	CHECK_TRUE(lost > 1);
	CHECK_FALSE(w.done);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	expect_done(&w, 0);
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	expect_nothing_left(m);
}

/* Waiters of two sessions may have one number. */
FSC_CASE(a_dead_waiter_with_the_same_ticket)
{
	struct fsx_mount *n = fsx_mount(m->x), *dead = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w, d;

	CHECK_OK(set(n, f, posix(1, EX, 0, 9)));
	start(&d, dead, f, posix(2, EX, 0, 9)); /* ticket 1 */
	pass(NS_PER_S);
	end_session(dead);
	pass(5 * NS_PER_S);
	CHECK_TRUE(d.done);
	CHECK_U64_EQ(waiters_of(m->x, f), 1);
	start(&w, m, f, posix(3, EX, 0, 9)); /* ticket 1 */
	pass(NS_PER_S);
	CHECK_U64_EQ(w.l.ticket, d.l.ticket);
	CHECK_U64_EQ(waiters_of(m->x, f), 1);
	CHECK_OK(set(n, f, posix(1, NONE, 0, 9)));
	expect_done(&w, 0);
	CHECK_OK(set(m, f, posix(3, NONE, 0, 9)));
	expect_nothing_left(m);
}

static void add_index_entry(struct fsx *x, uint64_t session, uint64_t ticket, fs_ino ino)
{
	struct fs_lock l = posix(1, EX, 0, 9);
	struct fs_key k;
	uint8_t v[8];

	l.session = session;
	l.ticket = ticket;
	lock__index_key(&k, &l);
	le64_put(v, ino);
	fsx_put(x, fs__key_slice(&k), slice_of(v, sizeof(v)));
}

/* More waiters than one reply holds, and they come first. */
FSC_CASE(a_circle_among_very_many_waiters)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", ""), g = fsc_file(m, ROOT, "g", "");
	struct fs_fsck_options o = {.repair = true};
	struct fs_fsck_result r;
	struct waiting a, b;
	struct msg msg;

	for (uint64_t i = 0; i < 5000; i++) /* of nobody */
		add_index_entry(m->x, 0, i, f);
	CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
	CHECK_OK(set(n, g, posix(1, EX, 0, 0)));
	start(&a, m, g, posix(1, EX, 0, 0));
	pass(NS_PER_S);
	start(&b, n, f, posix(1, EX, 0, 0));
	expect_done(&b, ERR_DEADLOCK);
	CHECK_OK(fs_fsck(m->fs, &o, &r, &msg));
	CHECK_U64_EQ(r.problems, 5000);
	CHECK_U64_EQ(r.repaired, 5000);
	CHECK_U64_EQ(index_entries(m->x), 1); /* the one that waits */
	CHECK_OK(set(n, g, posix(1, NONE, 0, 0)));
	expect_done(&a, 0);
	CHECK_OK(set(m, g, posix(1, NONE, 0, 0)));
	CHECK_OK(set(m, f, posix(1, NONE, 0, 0)));
	expect_nothing_left(m);
}

/* ---- the order of waiters ---- */

/* Settling a change that had no answer leaves the queue as it is. */
FSC_CASE(mending_keeps_the_order)
{
	struct fsx_mount *n = fsx_mount(m->x), *o = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct lock_table t;
	struct waiting a, b;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	start(&a, n, f, posix(2, EX, 0, 9));
	pass(NS_PER_S);
	start(&b, o, f, posix(3, EX, 0, 9));
	pass(NS_PER_S);
	n->lose_reply = 1;
	CHECK_ERR(set(n, f, posix(4, EX, 100, 109)), ERR_TIMEOUT);
	pass(5 * NS_PER_S);
	read_record(m->x, f, &t);
	CHECK_U64_EQ(t.held.count, 1);
	CHECK_U64_EQ(t.waiters.count, 2);
	CHECK_U64_EQ(t.waiters.v[0].owner, 2);
	CHECK_U64_EQ(t.waiters.v[1].owner, 3);
	lock_table_release(&t);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	expect_done(&a, 0);
	CHECK_FALSE(b.done);
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	expect_done(&b, 0);
	CHECK_OK(set(o, f, posix(3, NONE, 0, 9)));
	expect_nothing_left(m);
}

/* A second behind waiters alone, no more. */
LOCK_CASE(patience_is_a_second)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting writer, reader;
	uint64_t began;

	CHECK_OK(set(m, f, posix(1, SH, 0, 9)));
	start(&writer, n, f, posix(2, EX, 0, 9));
	pass(5 * NS_PER_S);
	began = m->x->now_ns;
	start(&reader, n, f, posix(3, SH, 0, 9));
	pass(NS_PER_S / 2);
	CHECK_FALSE(reader.done);
	expect_done(&reader, 0);
	CHECK_TRUE(m->x->now_ns - began <= 3 * NS_PER_S / 2);
	CHECK_FALSE(writer.done);
	CHECK_OK(set(n, f, posix(3, NONE, 0, 9)));
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	expect_done(&writer, 0);
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	expect_nothing_left(m);
}

/* ---- who gives way in a circle ---- */

static uint32_t deadlocks(const struct waiting *w)
{
	return w->done && w->err == ERR_DEADLOCK;
}

static void end_wait(struct waiting *w)
{
	if (!w->done)
		fs_lock_interrupt(&w->w);
	pass(NS_PER_S);
	CHECK_TRUE(w->done);
}

/* Both begin at once: one of them, and only one, is told. */
LOCK_CASE(one_of_a_circle_gives_way)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", ""), g = fsc_file(m, ROOT, "g", "");
	struct waiting a, b;

	for (uint32_t round = 0; round < 40; round++) {
		CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
		CHECK_OK(set(n, g, posix(1, EX, 0, 0)));
		m->x->delay_ns = 20 * NS_PER_MS;
		start(&a, m, g, posix(1, EX, 0, 0));
		if (round % 2)
			pass(fsx_random(m->x) % (50 * NS_PER_MS));
		start(&b, n, f, posix(1, EX, 0, 0));
		pass(5 * NS_PER_S);
		m->x->delay_ns = 0;
		CHECK_U64_EQ(deadlocks(&a) + deadlocks(&b), 1);
		end_wait(&a);
		end_wait(&b);
		CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
		CHECK_OK(fs_lock_release(n->fs, g, FS_LOCK_POSIX, 1));
	}
	expect_nothing_left(m);
}

/* A thread of a process in a circle waits for something else. */
LOCK_CASE(a_bystander_waits_on)
{
	struct fsx_mount *n = other(m);
	fs_ino x = fsc_file(m, ROOT, "x", ""), y = fsc_file(m, ROOT, "y", "");
	fs_ino z = fsc_file(m, ROOT, "z", "");
	struct waiting by, p, q;

	for (uint32_t round = 0; round < 40; round++) {
		CHECK_OK(set(n, x, posix(5, EX, 0, 0)));
		CHECK_OK(set(n, y, posix(3, EX, 0, 0)));
		CHECK_OK(set(m, z, posix(1, EX, 0, 0)));
		m->x->delay_ns = 20 * NS_PER_MS;
		start(&by, m, x, posix(1, EX, 0, 0));
		start(&p, n, z, posix(3, EX, 0, 0));
		pass(2 * NS_PER_S - 50 * NS_PER_MS + fsx_random(m->x) % (300 * NS_PER_MS));
		start(&q, m, y, posix(1, EX, 0, 0));
		pass(5 * NS_PER_S);
		m->x->delay_ns = 0;
		CHECK_FALSE(by.done);
		CHECK_U64_EQ(deadlocks(&p) + deadlocks(&q), 1);
		end_wait(&p);
		end_wait(&q);
		end_wait(&by);
		CHECK_OK(fs_lock_release(m->fs, z, FS_LOCK_POSIX, 1));
		CHECK_OK(fs_lock_release(n->fs, x, FS_LOCK_POSIX, 5));
		CHECK_OK(fs_lock_release(n->fs, y, FS_LOCK_POSIX, 3));
	}
	expect_nothing_left(m);
}

static const struct check_test tests[] = {
	CHECK_TEST(an_interrupted_close_gives_up),
	CHECK_TEST(an_interrupted_close_gives_up_kept),
	CHECK_TEST(an_interrupted_close_does_not_wait_for_the_background),
	CHECK_TEST(an_interrupted_wait_leaves_the_queue),
	CHECK_TEST(an_interrupted_wait_leaves_the_queue_kept),
	CHECK_TEST(a_wait_that_fails_leaves_the_queue),
	CHECK_TEST(a_wait_that_fails_leaves_the_queue_kept),
	CHECK_TEST(what_could_not_be_read_is_given_up),
	CHECK_TEST(many_ranges_are_handed_over),
	CHECK_TEST(a_deaf_watch_is_no_news),
	CHECK_TEST(without_a_fiber_for_its_keeper),
	CHECK_TEST(without_a_fiber_to_mend),
	CHECK_TEST(a_damaged_record_elsewhere_ends_no_wait),
	CHECK_TEST(a_damaged_record_elsewhere_ends_no_wait_kept),
	CHECK_TEST(a_search_without_an_answer_ends_no_wait),
	CHECK_TEST(a_search_without_an_answer_ends_no_wait_kept),
	CHECK_TEST(a_dead_waiter_with_the_same_ticket),
	CHECK_TEST(a_circle_among_very_many_waiters),
	CHECK_TEST(mending_keeps_the_order),
	CHECK_TEST(patience_is_a_second),
	CHECK_TEST(patience_is_a_second_kept),
	CHECK_TEST(one_of_a_circle_gives_way),
	CHECK_TEST(one_of_a_circle_gives_way_kept),
	CHECK_TEST(a_bystander_waits_on),
	CHECK_TEST(a_bystander_waits_on_kept),
};

CHECK_MAIN(tests)
