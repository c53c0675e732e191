/* Locks between mounts: who gets them, who waits, and what ends a wait. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/lock_case.h"

/* ---- without waiting ---- */

LOCK_CASE(two_mounts_exclude_each_other)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	CHECK_ERR(set(n, f, posix(1, EX, 9, 9)), ERR_WOULD_BLOCK);
	CHECK_ERR(set(n, f, posix(1, SH, 0, UINT64_MAX)), ERR_WOULD_BLOCK);
	CHECK_OK(set(n, f, posix(1, EX, 10, 19)));
	CHECK_ERR(set(m, f, posix(1, EX, 0, 10)), ERR_WOULD_BLOCK);
	CHECK_OK(set(m, f, posix(1, NONE, 5, 9)));
	CHECK_OK(set(n, f, posix(1, SH, 5, 9)));
	CHECK_OK(set(m, f, posix(1, SH, 5, 9)));
	CHECK_ERR(set(m, f, posix(1, EX, 5, 9)), ERR_WOULD_BLOCK);
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	CHECK_OK(fs_lock_release(n->fs, f, FS_LOCK_POSIX, 1));
	expect_nothing_left(m);
}

LOCK_CASE(owners_of_one_mount)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(flock_as(m, f, 1, EX));
	CHECK_ERR(flock_as(m, f, 2, SH), ERR_WOULD_BLOCK);
	CHECK_OK(set(m, f, posix(2, EX, 0, UINT64_MAX))); /* the kinds do not meet */
	CHECK_OK(flock_as(m, f, 1, SH));
	CHECK_OK(flock_as(m, f, 2, SH));
	CHECK_ERR(flock_as(m, f, 1, EX), ERR_WOULD_BLOCK);
	CHECK_OK(flock_as(m, f, 2, NONE));
	CHECK_OK(flock_as(m, f, 1, EX));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_FLOCK, 1));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_FLOCK, 1));
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 1);
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 2));
	expect_nothing_left(m);
}

LOCK_CASE(who_is_in_the_way)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_lock l;

	CHECK_OK(set(m, f, posix(1, SH, 10, 19)));
	l = in_the_way(n, f, posix(1, EX, 0, 10));
	CHECK_U64_EQ(l.mode, SH);
	CHECK_U64_EQ(l.start, 10);
	CHECK_U64_EQ(l.end, 19);
	CHECK_U64_EQ(l.pid, 101);
	CHECK_U64_EQ(l.session, m->b.session);
	CHECK_U64_EQ(in_the_way(n, f, posix(1, SH, 0, 10)).mode, NONE);
	CHECK_U64_EQ(in_the_way(m, f, posix(1, EX, 0, 10)).mode, NONE);
	CHECK_U64_EQ(in_the_way(m, f, posix(2, EX, 0, 10)).mode, SH);
	CHECK_OK(set(m, f, posix(1, NONE, 0, UINT64_MAX)));
}

/* Whatever the order in which they came, and whoever has them. */
LOCK_CASE(the_first_in_the_way)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_lock all = posix(9, EX, 0, UINT64_MAX);

	CHECK_OK(set(m, f, posix(1, EX, 10, 14)));
	CHECK_OK(set(m, f, posix(1, SH, 5, 12)));
	CHECK_U64_EQ(in_the_way(m, f, all).start, 5);
	CHECK_U64_EQ(in_the_way(m, f, all).end, 12);
	CHECK_U64_EQ(in_the_way(n, f, all).start, 5);
	CHECK_U64_EQ(in_the_way(n, f, posix(9, SH, 0, UINT64_MAX)).start, 13);
	CHECK_OK(set(n, f, posix(1, EX, 2, 3)));
	CHECK_OK(set(m, f, posix(2, EX, 0, 0)));
	CHECK_U64_EQ(in_the_way(m, f, all).start, 0);
	CHECK_U64_EQ(in_the_way(n, f, all).start, 0);
	CHECK_OK(set(m, f, posix(2, NONE, 0, 0)));
	CHECK_U64_EQ(in_the_way(m, f, all).start, 2);
	CHECK_U64_EQ(in_the_way(n, f, all).start, 2);
	CHECK_OK(set(n, f, posix(1, NONE, 2, 3)));
	CHECK_OK(set(m, f, posix(1, NONE, 0, UINT64_MAX)));
	expect_nothing_left(m);
}

LOCK_CASE(of_nothing)
{
	CHECK_ERR(set(m, 4711, posix(1, EX, 0, 0)), ERR_STALE);
	CHECK_OK(set(m, 4711, posix(1, NONE, 0, 0)));
	CHECK_ERR(set(m, ROOT, posix(1, EX, 1, 0)), ERR_INVAL);
	expect_nothing_left(m);
}

FSC_CASE(no_request_at_all)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	uint64_t writes;

	m->fs->o.keep_locks = true;
	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	writes = m->x->writes;
	for (uint64_t i = 0; i < 100; i++) {
		CHECK_OK(set(m, f, posix(2, SH, 100, 109)));
		CHECK_OK(set(m, f, posix(1, i % 2 ? EX : SH, 0, 9)));
		CHECK_OK(flock_as(m, f, i, EX));
		CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_FLOCK, i));
		CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 2));
	}
	CHECK_U64_EQ(m->x->writes, writes);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	CHECK_U64_EQ(m->x->writes, writes);
	expect_nothing_left(m);
}

/* A close asks that first. */
LOCK_CASE(is_there_anything_to_give_up)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fsx_mount *n = other(m);

	CHECK_FALSE(fs_lock_may_hold(m->fs, f, FS_LOCK_POSIX, 1));
	CHECK_OK(set(m, f, posix(1, SH, 5, 5)));
	CHECK_TRUE(fs_lock_may_hold(m->fs, f, FS_LOCK_POSIX, 1));
	CHECK_FALSE(fs_lock_may_hold(m->fs, f, FS_LOCK_POSIX, 2));
	CHECK_FALSE(fs_lock_may_hold(m->fs, f, FS_LOCK_FLOCK, 1));
	CHECK_FALSE(fs_lock_may_hold(n->fs, f, FS_LOCK_POSIX, 1));
	m->lose_reply = 1;
	if (!keeping) { /* who knows what is held, without an answer? */
		CHECK_ERR(set(m, f, posix(1, NONE, 5, 5)), ERR_TIMEOUT);
		CHECK_TRUE(fs_lock_may_hold(m->fs, f, FS_LOCK_POSIX, 2));
		pass(5 * NS_PER_S);
	}
	m->lose_reply = 0;
	CHECK_OK(set(m, f, posix(1, NONE, 5, 5)));
	CHECK_FALSE(fs_lock_may_hold(m->fs, f, FS_LOCK_POSIX, 1));
	expect_nothing_left(m);
}

FSC_CASE(one_request_each)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	uint64_t execs = m->x->execs, cross = m->x->cross;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	CHECK_U64_EQ(m->x->execs, execs + 1);
	CHECK_OK(set(m, f, posix(1, EX, 3, 4))); /* has it */
	CHECK_U64_EQ(m->x->execs, execs + 1);
	CHECK_OK(set(m, f, posix(1, SH, 0, 4)));
	CHECK_U64_EQ(m->x->execs, execs + 2);
	CHECK_OK(set(m, f, posix(1, NONE, 20, 29)));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 2));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_FLOCK, 1));
	CHECK_U64_EQ(m->x->execs, execs + 2);
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	CHECK_U64_EQ(m->x->execs, execs + 3);
	CHECK_U64_EQ(m->x->cross, cross);
	expect_nothing_left(m);
}

LOCK_CASE(a_removed_file_has_no_locks)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text"), g;
	struct fsx_mount *n = other(m);
	struct fs_file *file;

	CHECK_OK(set(n, f, posix(1, EX, 0, 0)));
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	pass(100 * NS_PER_MS); /* a delegation ends when the record goes */
	CHECK_OK(set(n, f, posix(1, NONE, 0, 0)));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 0);
	g = fsc_file(m, ROOT, "g", "text"); /* an orphan can be locked until its last close */
	file = fsc_open(m, g, FS_O_READ | FS_O_WRITE);
	CHECK_OK(fs_setxattr(m->fs, g, slice_str("user.a"), slice_str("1"), 0));
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
	CHECK_OK(set(m, g, posix(1, EX, 0, 0)));
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 1);
	fs_file_close(file);
	fsc_idle(m);
	expect_nothing_left(m);
}

/* ---- waiting ---- */

LOCK_CASE(a_wait_ends_with_the_lock)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;

	CHECK_OK(set(m, f, posix(1, EX, 0, 9)));
	start(&w, n, f, posix(1, EX, 5, 5));
	pass(NS_PER_S);
	CHECK_FALSE(w.done);
	CHECK_U64_EQ(index_entries(m->x), 1);
	CHECK_OK(set(m, f, posix(1, NONE, 5, 5)));
	expect_done(&w, 0);
	CHECK_ERR(set(m, f, posix(1, EX, 5, 5)), ERR_WOULD_BLOCK);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	CHECK_OK(set(n, f, posix(1, NONE, 0, 9)));
	expect_nothing_left(m);
}

LOCK_CASE(an_interrupt_ends_it_at_once)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;

	CHECK_OK(flock_as(m, f, 1, EX));
	start(&w, n, f, (struct fs_lock){.kind = FS_LOCK_FLOCK, .mode = EX, .end = UINT64_MAX});
	pass(5 * NS_PER_S);
	CHECK_FALSE(w.done);
	fs_lock_interrupt(&w.w);
	pass(NS_PER_MS);
	CHECK_TRUE(w.done);
	CHECK_ERR(w.err, ERR_INTERRUPTED);
	CHECK_OK(flock_as(m, f, 1, NONE));
	expect_nothing_left(m);
}

LOCK_CASE(first_come_first_served)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w[4];
	uint64_t next = 0;

	CHECK_OK(set(m, f, posix(1, SH, 0, 9)));
	for (uint64_t i = 0; i < 4; i++) { /* writer, reader, writer, reader */
		start(&w[i], i % 2 ? m : n, f, posix(10 + i, i % 2 ? SH : EX, 0, 9));
		w[i].next = &next;
		pass(NS_PER_MS); /* well below the patience behind waiters */
	}
	CHECK_FALSE(w[1].done);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 9)));
	for (uint64_t i = 0; i < 4; i++) {
		expect_done(&w[i], 0);
		CHECK_U64_EQ(w[i].order, i + 1);
		CHECK_OK(set(w[i].m, f, posix(10 + i, NONE, 0, 9)));
	}
	expect_nothing_left(m);
}

/* One waits behind a waiter, who waits for what the first one holds elsewhere. */
LOCK_CASE(the_order_of_waiters_is_no_deadlock)
{
	struct fsx_mount *n = other(m);
	fs_ino x = fsc_file(m, ROOT, "x", ""), y = fsc_file(m, ROOT, "y", "");
	struct waiting b, c, a;

	CHECK_OK(set(m, x, posix(1, EX, 0, 0))); /* A */
	CHECK_OK(set(n, y, posix(3, SH, 0, 0))); /* C */
	start(&b, n, y, posix(2, EX, 0, 0));
	pass(100 * NS_PER_MS);
	start(&c, n, x, posix(3, EX, 0, 0));
	pass(100 * NS_PER_MS);
	start(&a, m, y, posix(1, SH, 0, 0)); /* could have it, but B came first */
	expect_done(&a, 0);
	CHECK_OK(set(m, y, posix(1, NONE, 0, 0)));
	CHECK_OK(set(m, x, posix(1, NONE, 0, 0)));
	expect_done(&c, 0);
	CHECK_OK(set(n, x, posix(3, NONE, 0, 0)));
	CHECK_OK(set(n, y, posix(3, NONE, 0, 0)));
	expect_done(&b, 0);
	CHECK_OK(set(n, y, posix(2, NONE, 0, 0)));
	expect_nothing_left(m);
}

/* ---- circles ---- */

LOCK_CASE(a_circle_of_two)
{
	struct fsx_mount *n = other(m);
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT);
	fs_ino f = fsc_file(m, ROOT, "f", ""), g = fsc_file(m, d, "g", "");
	struct waiting a, b;

	CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
	CHECK_OK(set(n, g, posix(1, EX, 0, 0))); /* the same number, another owner */
	start(&a, m, g, posix(1, EX, 0, 0));
	pass(NS_PER_S);
	CHECK_FALSE(a.done);
	start(&b, n, f, posix(1, SH, 0, 9));
	expect_done(&b, ERR_DEADLOCK);
	CHECK_FALSE(a.done);
	CHECK_OK(fs_lock_release(n->fs, g, FS_LOCK_POSIX, 1));
	expect_done(&a, 0);
	CHECK_OK(fs_lock_release(m->fs, g, FS_LOCK_POSIX, 1));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	expect_nothing_left(m);
}

LOCK_CASE(a_circle_of_five)
{
	struct fsx_mount *n = other(m);
	struct waiting w[5];
	fs_ino f[5];

	for (uint64_t i = 0; i < 5; i++) {
		const char name[2] = {(char)('a' + i), 0};

		f[i] = fsc_file(m, ROOT, name, "");
		CHECK_OK(set(i % 2 ? m : n, f[i], posix(i, EX, 0, 0)));
	}
	for (uint64_t i = 0; i < 5; i++) {
		start(&w[i], i % 2 ? m : n, f[(i + 1) % 5], posix(i, EX, 0, 0));
		pass(100 * NS_PER_MS);
	}
	expect_done(&w[4], ERR_DEADLOCK);
	for (uint64_t i = 5; i-- > 0;) {
		if (i < 4)
			expect_done(&w[i], 0);
		CHECK_OK(fs_lock_release(w[i].m->fs, f[i], FS_LOCK_POSIX, i));
		CHECK_OK(fs_lock_release(w[i].m->fs, f[(i + 1) % 5], FS_LOCK_POSIX, i));
	}
	expect_nothing_left(m);
}

LOCK_CASE(two_upgrades)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting a, b;

	CHECK_OK(set(m, f, posix(1, SH, 0, 0)));
	CHECK_OK(set(n, f, posix(2, SH, 0, 0)));
	start(&a, m, f, posix(1, EX, 0, 0));
	pass(NS_PER_S);
	start(&b, n, f, posix(2, EX, 0, 0));
	expect_done(&b, ERR_DEADLOCK);
	CHECK_U64_EQ(in_the_way(m, f, posix(1, EX, 0, 0)).mode, SH); /* it has what it had */
	CHECK_OK(set(n, f, posix(2, NONE, 0, 0)));
	expect_done(&a, 0);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 0)));
	CHECK_OK(flock_as(m, f, 1, SH)); /* of flock, one lets the other go first */
	CHECK_OK(flock_as(n, f, 2, SH));
	start(&a, m, f, (struct fs_lock){.kind = 1, .mode = EX, .end = UINT64_MAX, .owner = 1});
	pass(NS_PER_S);
	start(&b, n, f, (struct fs_lock){.kind = 1, .mode = EX, .end = UINT64_MAX, .owner = 2});
	expect_done(&b, 0);
	CHECK_FALSE(a.done);
	CHECK_OK(flock_as(n, f, 2, NONE));
	expect_done(&a, 0);
	CHECK_OK(flock_as(m, f, 1, NONE));
	expect_nothing_left(m);
}

LOCK_CASE(open_file_descriptions_wait_for_ever)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", ""), g = fsc_file(m, ROOT, "g", "");
	struct fs_lock l = posix(2, EX, 0, 0);
	struct waiting a, b;

	l.no_cycle = true;
	CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
	CHECK_OK(set(n, g, l));
	start(&a, m, g, posix(1, EX, 0, 0));
	start(&b, n, f, l);
	pass(20 * NS_PER_S);
	CHECK_FALSE(a.done || b.done);
	fs_lock_interrupt(&b.w);
	expect_done(&b, ERR_INTERRUPTED);
	CHECK_OK(fs_lock_release(n->fs, g, FS_LOCK_POSIX, 2));
	expect_done(&a, 0);
	CHECK_OK(fs_lock_release(m->fs, g, FS_LOCK_POSIX, 1));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	expect_nothing_left(m);
}

/* ---- ends of sessions, lost answers ---- */

LOCK_CASE(a_dead_session_holds_nothing)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting dead, w;

	CHECK_OK(set(n, f, posix(1, EX, 0, 0)));
	start(&dead, n, f, posix(2, EX, 0, 0));
	pass(NS_PER_S);
	start(&w, m, f, posix(3, EX, 0, 9));
	pass(5 * NS_PER_S);
	CHECK_FALSE(w.done);
	end_session(n);
	expect_done(&w, 0);
	expect_done(&dead, ERR_SESSION);
	CHECK_ERR(set(n, f, posix(1, EX, 0, 1)), ERR_SESSION);
	CHECK_OK(set(m, f, posix(3, NONE, 0, 9)));
	expect_nothing_left(m);
}

LOCK_CASE(a_dead_session_is_no_reason_to_refuse)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(set(n, f, posix(1, EX, 0, 0)));
	end_session(n);
	CHECK_U64_EQ(in_the_way(m, f, posix(1, EX, 0, 0)).mode, NONE);
	CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
	CHECK_OK(set(m, f, posix(1, NONE, 0, 0)));
	expect_nothing_left(m);
}

static bool always(void *ctx)
{
	(void)ctx;
	return true;
}

/* Nobody else is there who would drop its waiters. */
LOCK_CASE(a_wait_ends_with_the_session)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct waiting w;

	CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
	start(&w, m, f, posix(2, EX, 0, 0));
	pass(5 * NS_PER_S);
	CHECK_FALSE(w.done);
	m->fs->b.session_lost = always;
	expect_done(&w, ERR_SESSION);
}

LOCK_CASE(a_mount_that_ends_gives_up)
{
	struct fsx_mount *n = other(m);
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(set(n, f, posix(1, EX, 0, 0)));
	CHECK_OK(flock_as(n, f, 1, SH));
	fsx_umount(n);
	expect_nothing_left(m);
}

/* A lock whose answer was lost is given back, one given up without an answer is gone. */
FSC_CASE(lost_answers)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");

	CHECK_OK(set(m, f, posix(1, SH, 0, 4)));
	m->lose_reply = 1;
	CHECK_ERR(set(m, f, posix(1, EX, 0, 9)), ERR_TIMEOUT);
	CHECK_ERR(set(n, f, posix(2, SH, 9, 9)), ERR_WOULD_BLOCK);
	pass(5 * NS_PER_S);
	CHECK_OK(set(n, f, posix(2, SH, 0, 9)));
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	CHECK_ERR(set(n, f, posix(2, EX, 0, 9)), ERR_WOULD_BLOCK); /* the first one is as it was */
	m->lose_reply = 1;
	CHECK_ERR(set(m, f, posix(1, NONE, 0, 9)), ERR_TIMEOUT);
	pass(5 * NS_PER_S);
	CHECK_OK(set(n, f, posix(2, EX, 0, 9)));
	CHECK_ERR(set(m, f, posix(1, SH, 0, 9)), ERR_WOULD_BLOCK);
	CHECK_OK(set(n, f, posix(2, NONE, 0, 9)));
	expect_nothing_left(m);
}

/* ---- many, with faults: never two at a time ---- */

struct crowd {
	struct fsx *x;
	fs_ino f[2];
	uint32_t inside[2], readers[2], entered, left;
	bool wrong;
};

struct member {
	struct crowd *c;
	struct fsx_mount *m;
	uint64_t owner;
};

static void visit(struct crowd *c, uint32_t k, uint8_t mode)
{
	c->wrong |= c->inside[k] > 0 || (mode == EX && c->readers[k] > 0);
	c->inside[k] += mode == EX;
	c->readers[k] += mode == SH;
	pass(fsx_random(c->x) % (20 * NS_PER_MS));
	c->inside[k] -= mode == EX;
	c->readers[k] -= mode == SH;
	c->entered++;
}

static void member_fiber(void *arg)
{
	struct member *u = arg;
	struct crowd *c = u->c;

	for (int i = 0; i < 20; i++) {
		uint32_t k = (uint32_t)(fsx_random(c->x) % 2);
		uint8_t mode = fsx_random(c->x) % 3 ? EX : SH;
		struct fs_lock l = posix(u->owner, mode, 0, 9);
		struct fs_lock_wait w = {0};

		l.kind = k ? FS_LOCK_POSIX : FS_LOCK_FLOCK;
		if (fs_lock_set(u->m->fs, c->f[k], &l, &w) == 0)
			visit(c, k, mode);
		(void)fs_lock_release(u->m->fs, c->f[k], l.kind, u->owner);
	}
	c->left++;
}

static void crowd_run(struct fsx_mount *m)
{
	struct crowd c = {.x = m->x,
			  .f = {fsc_file(m, ROOT, "f", ""), fsc_file(m, ROOT, "g", "")}};
	struct fsx_mount *mounts[3] = {m, other(m), other(m)};
	struct member u[12];

	m->fs->o.keep_locks = keeping;
	m->x->delay_ns = 2 * NS_PER_MS;
	m->x->fault_percent = 3;
	for (uint32_t i = 0; i < 12; i++) {
		u[i] = (struct member){.c = &c, .m = mounts[i % 3], .owner = i};
		fsx_start(m->x, member_fiber, &u[i]);
	}
	for (int i = 0; i < 4000 && c.left < 12; i++)
		pass(100 * NS_PER_MS);
	CHECK_U64_EQ(c.left, 12);
	CHECK_FALSE(c.wrong);
	CHECK_TRUE(c.entered > 100);
	m->x->fault_percent = 0;
	pass(10 * NS_PER_S); /* what had no answer is mended */
	expect_nothing_left(m);
}

static void crowds_with_faults(void)
{
	keeping = false;
	for (uint64_t seed = 1; seed <= 10; seed++)
		fsc_run_on(fsx_new(4, seed), crowd_run);
}

static void crowds_with_faults_kept(void)
{
	keeping = true;
	for (uint64_t seed = 1; seed <= 10; seed++)
		fsc_run_on(fsx_new(4, seed), crowd_run);
}

/* ---- the list ---- */

struct list_seen {
	uint32_t held, waiting;
	char path[4][32];
};

static bool note(void *ctx, const struct fs_lock_item *it)
{
	struct list_seen *s = ctx;

	CHECK_TRUE(it->lock->session != 0);
	if (s->held + s->waiting < 4)
		snprintf(s->path[s->held + s->waiting], 32, "%s", it->path);
	s->held += !it->waits;
	s->waiting += it->waits;
	return true;
}

LOCK_CASE(the_list_of_all)
{
	struct fsx_mount *n = other(m);
	fs_ino g = fsc_mkdir_far(m, ROOT, "g", ROOT), h = fsc_mkdir(m, g, "h");
	fs_ino f = fsc_file(m, h, "f", "text");
	struct list_seen s = {0};
	struct waiting w;

	for (int i = 0; i < 5; i++) {
		const char name[2] = {(char)('0' + i), 0};

		fsc_file(m, g, name, "text");
	}
	CHECK_OK(fs_locks_list(m->fs, note, &s));
	CHECK_U64_EQ(s.held + s.waiting, 0);
	CHECK_OK(set(m, f, posix(1, EX, 0, 0)));
	CHECK_OK(flock_as(m, ROOT, 2, SH));
	start(&w, n, f, posix(1, EX, 0, 0));
	pass(NS_PER_S);

	CHECK_OK(fs_locks_list(n->fs, note, &s));
	CHECK_U64_EQ(s.held, 2);
	CHECK_U64_EQ(s.waiting, 1);
	CHECK_STR_EQ(s.path[0], "/"); /* place 0 comes first */
	CHECK_TRUE(strncmp(s.path[1], "/g", 2) == 0 && strcmp(s.path[1] + 3, "/h/f") == 0);
	CHECK_STR_EQ(s.path[1], s.path[2]);
	CHECK_OK(set(m, f, posix(1, NONE, 0, 0)));
	expect_done(&w, 0);
	CHECK_OK(set(n, f, posix(1, NONE, 0, 0)));
	CHECK_OK(flock_as(m, ROOT, 2, NONE));
}

static const struct check_test tests[] = {
	CHECK_TEST(two_mounts_exclude_each_other),
	CHECK_TEST(two_mounts_exclude_each_other_kept),
	CHECK_TEST(owners_of_one_mount),
	CHECK_TEST(owners_of_one_mount_kept),
	CHECK_TEST(who_is_in_the_way),
	CHECK_TEST(who_is_in_the_way_kept),
	CHECK_TEST(the_first_in_the_way),
	CHECK_TEST(the_first_in_the_way_kept),
	CHECK_TEST(of_nothing),
	CHECK_TEST(of_nothing_kept),
	CHECK_TEST(is_there_anything_to_give_up),
	CHECK_TEST(is_there_anything_to_give_up_kept),
	CHECK_TEST(one_request_each),
	CHECK_TEST(no_request_at_all),
	CHECK_TEST(a_removed_file_has_no_locks),
	CHECK_TEST(a_removed_file_has_no_locks_kept),
	CHECK_TEST(a_wait_ends_with_the_lock),
	CHECK_TEST(a_wait_ends_with_the_lock_kept),
	CHECK_TEST(an_interrupt_ends_it_at_once),
	CHECK_TEST(an_interrupt_ends_it_at_once_kept),
	CHECK_TEST(first_come_first_served),
	CHECK_TEST(first_come_first_served_kept),
	CHECK_TEST(the_order_of_waiters_is_no_deadlock),
	CHECK_TEST(the_order_of_waiters_is_no_deadlock_kept),
	CHECK_TEST(a_circle_of_two),
	CHECK_TEST(a_circle_of_two_kept),
	CHECK_TEST(a_circle_of_five),
	CHECK_TEST(a_circle_of_five_kept),
	CHECK_TEST(two_upgrades),
	CHECK_TEST(two_upgrades_kept),
	CHECK_TEST(open_file_descriptions_wait_for_ever),
	CHECK_TEST(open_file_descriptions_wait_for_ever_kept),
	CHECK_TEST(a_dead_session_holds_nothing),
	CHECK_TEST(a_dead_session_holds_nothing_kept),
	CHECK_TEST(a_dead_session_is_no_reason_to_refuse),
	CHECK_TEST(a_dead_session_is_no_reason_to_refuse_kept),
	CHECK_TEST(a_wait_ends_with_the_session),
	CHECK_TEST(a_wait_ends_with_the_session_kept),
	CHECK_TEST(a_mount_that_ends_gives_up),
	CHECK_TEST(a_mount_that_ends_gives_up_kept),
	CHECK_TEST(lost_answers),
	CHECK_TEST(crowds_with_faults),
	CHECK_TEST(crowds_with_faults_kept),
	CHECK_TEST(the_list_of_all),
	CHECK_TEST(the_list_of_all_kept),
};

CHECK_MAIN(tests)
