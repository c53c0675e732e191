/* The session of a mount ends between two steps of a call. */
#include "base/bytes.h"
#include "tests/lib/lock_case.h"

#define RDWR (FS_O_READ | FS_O_WRITE)

static struct fsx_mount *victim;
static unsigned steps_left;

/* @before ends the victim's session before the step of that number, of those that it is for. */
static void arm(struct fsx_mount *m, unsigned step,
		void (*before)(struct fsx *x, const struct txn_mini *t))
{
	victim = m;
	steps_left = step;
	m->x->before = before;
}

static bool is_the_step(bool it_is_for)
{
	return it_is_for && steps_left > 0 && --steps_left == 0;
}

static void check_it_happened(struct fsx_mount *m)
{
	m->x->before = NULL;
	CHECK_U64_EQ(steps_left, 0);
}

static int lock_by(struct fs_file *f, struct fs_lock l)
{
	return fs_file_lock(f, &l, NULL);
}

static int write_at(struct fs_file *f, uint64_t offset, const char *text)
{
	return fs_write(f, offset, slice_str(text), NULL);
}

/* ---- locks ---- */

struct locking {
	struct fs_file *f;
	struct fs_lock l;
	struct fs_lock_wait w, *wait;
	int err;
	bool done;
	struct fiber *fiber;
};

static void locking_fiber(void *arg)
{
	struct locking *k = arg;

	k->fiber = fiber_self();
	k->err = fs_file_lock(k->f, &k->l, k->wait);
	k->done = true;
}

/* Two calls come one after the other; the session ends under the first. What the second gets is the next
 * session's, or nothing. */
FSC_CASE(the_turn_comes_after_the_session)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(m, f, RDWR);
	struct locking low = {.f = a, .l = posix(1, EX, 0, 9)};
	struct locking high = {.f = a, .l = posix(2, EX, 20, 29)};

	m->fs->o.keep_locks = true;
	m->x->delay_ns = NS_PER_S;
	fsx_start(m->x, locking_fiber, &low);
	fsx_start(m->x, locking_fiber, &high);
	pass(NS_PER_US);
	CHECK_FALSE(low.done || high.done);
	fsx_end_session(m);
	pass(30 * NS_PER_S);
	m->x->delay_ns = 0;
	CHECK_TRUE(low.done && high.done);
	CHECK_OK(low.err);
	CHECK_OK(high.err);
	CHECK_ERR(set(n, f, posix(7, EX, 20, 29)), ERR_WOULD_BLOCK);
	CHECK_ERR(set(n, f, posix(7, EX, 0, 9)), ERR_WOULD_BLOCK);
	CHECK_OK(lock_by(a, posix(1, NONE, 0, 9)));
	CHECK_OK(lock_by(a, posix(2, NONE, 20, 29)));
	CHECK_OK(set(n, f, posix(7, EX, 0, 29)));
	CHECK_OK(set(n, f, posix(7, NONE, 0, 29)));
	fs_file_close(a);
}

static struct fsx_mount *thief;
static fs_ino stolen;

static bool reads_lock(const struct txn_mini *t)
{
	struct fs_key k;

	fs__key_head(&k, fs__place(stolen), stolen, FS_KIND_LOCK);
	return t->mut_count == 0 && t->read_count == 1 &&
	       slice_eq(t->reads[0].key, fs__key_slice(&k));
}

static void steal_at_a_look(struct fsx *x, const struct txn_mini *t)
{
	(void)x;
	if (!is_the_step(reads_lock(t)))
		return;
	fsx_end_session(victim);
	CHECK_OK(set(thief, stolen, posix(1, EX, 0, UINT64_MAX)));
}

/* The mount is frozen while it writes down what it holds, and others take over. At whichever of its
 * looks at the record that was, it has no say afterwards. */
static void stolen_at(struct fsx_mount *m, struct fsx_mount *n, unsigned look)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(m, f, RDWR);

	m->fs->o.keep_locks = true;
	CHECK_OK(lock_by(a, posix(1, EX, 0, 9)));
	CHECK_OK(lock_by(a, posix(1, EX, 20, 29))); /* in memory: it is to be written down */
	thief = n;
	stolen = f;
	arm(m, look, steal_at_a_look);
	for (int i = 0; i < 500 && steps_left > 0; i++)
		pass(10 * NS_PER_MS);
	check_it_happened(m);
	pass(10 * NS_PER_MS);
	CHECK_ERR(lock_by(a, posix(2, EX, 0, 9)), ERR_LOCK_LOST);
	CHECK_ERR(lock_by(a, posix(2, EX, 0, 9)), ERR_WOULD_BLOCK);
	CHECK_OK(set(n, f, posix(1, NONE, 0, UINT64_MAX)));
	CHECK_OK(lock_by(a, posix(2, EX, 0, 9)));
	CHECK_OK(lock_by(a, posix(2, NONE, 0, 9)));
	fs_file_close(a);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
}

FSC_CASE(a_delegation_is_not_renewed_for_another_session)
{
	struct fsx_mount *n = fsx_mount(m->x);

	for (unsigned look = 1; look <= 3; look++)
		stolen_at(m, n, look);
}

static void end_at_a_write(struct fsx *x, const struct txn_mini *t)
{
	(void)x;
	if (!is_the_step(t->mut_count > 0))
		return;
	fiber_interrupt_clear(); /* as the client does, which has heard it */
	fsx_end_session(victim);
}

/* Who asks what locks there are has lost nothing. */
FSC_CASE(a_question_is_asked_again)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(n, f, RDWR);
	struct fs_lock want = posix(1, EX, 0, 9), found;

	n->fs->o.keep_locks = true;
	CHECK_OK(lock_by(b, posix(3, SH, 5, 5)));
	arm(m, 1, end_at_a_write); /* it queues up to be told */
	CHECK_OK(fs_file_lock_get(a, &want, &found));
	check_it_happened(m);
	CHECK_U64_EQ(found.mode, SH);
	CHECK_U64_EQ(found.session, n->b.session);
	CHECK_OK(lock_by(b, posix(3, NONE, 5, 5)));
	fs_file_close(a);
	fs_file_close(b);
}

FSC_CASE(an_interrupted_wait_does_not_begin_anew)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct locking k = {.f = fsc_open(m, f, RDWR), .l = posix(1, EX, 0, 9), .wait = &k.w};

	CHECK_OK(set(n, f, posix(1, EX, 0, 9)));
	fsx_start(m->x, locking_fiber, &k);
	pass(NS_PER_S);
	arm(m, 1, end_at_a_write); /* it leaves the queue */
	fiber_interrupt(k.fiber);
	pass(10 * NS_PER_S);
	check_it_happened(m);
	CHECK_TRUE(k.done);
	CHECK_ERR(k.err, ERR_INTERRUPTED);
	CHECK_OK(set(n, f, posix(1, NONE, 0, 9)));
	pass(10 * NS_PER_S);
	fs_file_close(k.f);
}

/* ---- data ---- */

/* It was carried out, and the answer came when there was another session. */
static void next_session_at_a_write(struct fsx *x, const struct txn_mini *t)
{
	(void)x;
	if (is_the_step(t->mut_count > 0))
		fsx_next_session(victim);
}

FSC_CASE(an_allocation_ends_where_the_lock_did)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, f, RDWR);

	CHECK_OK(lock_by(a, posix(1, EX, 0, UINT64_MAX)));
	arm(m, 1, next_session_at_a_write); /* zeros first, then the size */
	CHECK_ERR(fs_fallocate(b, FS_FALLOC_ZERO_RANGE, 5, 100, NULL), ERR_LOCK_LOST);
	check_it_happened(m);
	CHECK_U64_EQ(fsc_attr(m, f).size, 10);
	CHECK_ERR(write_at(a, 0, "a"), ERR_LOCK_LOST);
	CHECK_OK(fs_fallocate(b, FS_FALLOC_ZERO_RANGE, 5, 100, NULL));
	CHECK_U64_EQ(fsc_attr(m, f).size, 105);
	fs_file_close(a);
	fs_file_close(b);
}

static void next_session_at_a_read(struct fsx *x, const struct txn_mini *t)
{
	(void)x;
	if (is_the_step(t->mut_count == 0))
		fsx_next_session(victim);
}

/* It began under the lock of another open file, and cuts nothing without it. */
FSC_CASE(an_open_that_cuts_ends_where_the_lock_did)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR), *b;

	CHECK_OK(lock_by(a, posix(1, EX, 0, UINT64_MAX)));
	fs__hints_forget(&m->fs->hints);
	arm(m, 1, next_session_at_a_read); /* what it opens, then the size */
	CHECK_ERR(fs_file_open(m->fs, f, RDWR | FS_O_TRUNC, &b), ERR_LOCK_LOST);
	check_it_happened(m);
	CHECK_U64_EQ(fsc_attr(m, f).size, 10);
	CHECK_ERR(write_at(a, 0, "a"), ERR_LOCK_LOST);
	CHECK_OK(fs_file_open(m->fs, f, RDWR | FS_O_TRUNC, &b));
	CHECK_U64_EQ(fsc_attr(m, f).size, 0);
	fs_file_close(a);
	fs_file_close(b);
}

static void end_at_a_read(struct fsx *x, const struct txn_mini *t)
{
	(void)x;
	if (is_the_step(t->mut_count == 0))
		fsx_end_session(victim);
}

/* The lock is on the source or on the target, and was taken by that file or by another one. */
static void copy_ends(struct fsx_mount *m, bool on_source, bool elsewhere, bool hole)
{
	fs_ino f = fsc_file(m, ROOT, "f", hole ? "" : "source"), g = fsc_file(m, ROOT, "g", "target");
	struct fs_file *from = fsc_open(m, f, RDWR), *to = fsc_open(m, g, RDWR), *holder;
	uint64_t n;

	if (hole)
		fsc_write(from, 200000, slice_str("end"));
	holder = elsewhere ? fsc_open(m, on_source ? f : g, RDWR) : on_source ? from : to;
	CHECK_OK(lock_by(holder, posix(1, EX, 0, UINT64_MAX)));
	arm(m, 1, end_at_a_read);
	CHECK_ERR(fs_copy_range(from, 0, to, 0, hole ? 100000 : 6, NULL, &n), ERR_LOCK_LOST);
	check_it_happened(m);
	fsc_contents(m, g, "target");
	if (elsewhere)
		CHECK_ERR(write_at(holder, 0, "x"), ERR_LOCK_LOST);
	CHECK_OK(fs_copy_range(from, 0, to, 0, 6, NULL, &n)); /* told, once */
	if (elsewhere)
		fs_file_close(holder);
	fs_file_close(from);
	fs_file_close(to);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
}

FSC_CASE(a_copy_ends_where_the_lock_did)
{
	for (unsigned hole = 0; hole < 2; hole++) {
		copy_ends(m, true, false, hole);
		copy_ends(m, false, false, hole);
		copy_ends(m, false, true, hole);
	}
}

static int read_page(struct fs_file *f, uint64_t page, uint64_t count)
{
	struct buf b = BUF_INIT;
	int err = fs_read_pages(f, page * 4096, count * 4096, true, &b);

	buf_release(&b);
	return err;
}

/* The kernel reads ahead, says nothing of what failed, and asks for the page that is wanted again. */
FSC_CASE(pages_read_ahead_tell_nobody)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR);

	CHECK_OK(lock_by(a, posix(1, EX, 0, UINT64_MAX)));
	arm(m, 1, end_at_a_read);
	CHECK_ERR(read_page(a, 0, 8), ERR_LOCK_LOST);
	check_it_happened(m);
	CHECK_ERR(read_page(a, 8, 8), ERR_LOCK_LOST); /* under way at the same time */
	CHECK_ERR(read_page(a, 0, 1), ERR_LOCK_LOST); /* that is heard */
	CHECK_OK(read_page(a, 0, 1));
	CHECK_OK(write_at(a, 0, "x"));
	for (unsigned pages = 1; pages <= 8; pages += 7) {
		CHECK_OK(lock_by(a, posix(1, EX, 0, UINT64_MAX)));
		fsx_next_session(m);
		CHECK_ERR(read_page(a, 8, pages), ERR_LOCK_LOST);
		CHECK_ERR(write_at(a, 0, "y"), ERR_LOCK_LOST); /* heard by another call */
		CHECK_OK(read_page(a, 8, 1));
		CHECK_OK(write_at(a, 0, "z"));
	}
	fs_file_close(a);
}

static const struct check_test tests[] = {
	CHECK_TEST(pages_read_ahead_tell_nobody),
	CHECK_TEST(the_turn_comes_after_the_session),
	CHECK_TEST(a_delegation_is_not_renewed_for_another_session),
	CHECK_TEST(a_question_is_asked_again),
	CHECK_TEST(an_interrupted_wait_does_not_begin_anew),
	CHECK_TEST(an_allocation_ends_where_the_lock_did),
	CHECK_TEST(an_open_that_cuts_ends_where_the_lock_did),
	CHECK_TEST(a_copy_ends_where_the_lock_did),
};
CHECK_MAIN(tests)
