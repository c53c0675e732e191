/* The session of a mount is closed by others: what is lost, who is told, and that it goes on. */
#include "base/bytes.h"
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define EX   FS_LOCK_EXCLUSIVE
#define SH   FS_LOCK_SHARED
#define NONE FS_LOCK_NONE
#define RDWR (FS_O_READ | FS_O_WRITE)

static struct fs_session_report told;
static uint32_t told_count;

static void on_end(void *ctx, const struct fs_session_report *r)
{
	(void)ctx;
	told = *r;
	told_count++;
}

static void hear(struct fsx_mount *m)
{
	told_count = 0;
	m->fs->o.session_ended = on_end;
}

static int lock(struct fs_file *f, uint8_t kind, uint64_t owner, uint8_t mode)
{
	struct fs_lock l = {.kind = kind, .mode = mode, .end = UINT64_MAX, .owner = owner};

	return fs_file_lock(f, &l, NULL);
}

static int write_at(struct fs_file *f, uint64_t offset, const char *text)
{
	return fs_write(f, offset, slice_str(text), NULL);
}

static int read_first(struct fs_file *f)
{
	struct buf b = BUF_INIT;
	int err = fs_read(f, 0, 1, &b);

	CHECK_TRUE(err == 0 || b.len <= 1);
	buf_release(&b);
	return err;
}

static void expect_report(uint32_t locks, uint32_t files, uint32_t orphans)
{
	CHECK_OK(fiber_sleep(NS_PER_S));
	CHECK_U64_EQ(told_count, 1);
	CHECK_U64_EQ(told.locks, locks);
	CHECK_U64_EQ(told.files, files);
	CHECK_U64_EQ(told.orphans, orphans);
	told_count = 0;
}

FSC_CASE(nothing_is_lost_without_locks)
{
	fs_ino f = fsc_file(m, ROOT, "f", "before");
	struct fs_file *a = fsc_open(m, f, RDWR);
	uint64_t was = m->b.session;

	hear(m);
	fsx_end_session(m);
	CHECK_OK(write_at(a, 6, " after"));
	CHECK_TRUE(m->b.session != was);
	CHECK_U64_EQ(fs_session(m->fs), m->b.session);
	fsc_contents(m, f, "before after");
	fsx_end_session(m);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsx_end_session(m);
	CHECK_TRUE(fsc_mkdir(m, ROOT, "d") != 0);
	fs_file_close(a);
	CHECK_OK(fiber_sleep(NS_PER_S));
	CHECK_U64_EQ(told_count, 3);
	CHECK_U64_EQ(told.locks + told.files + told.orphans, 0);
}

/* Each call that works on a file says it, once. */
enum call { WRITE, READ, LOCK, UNLOCK, GETLK, ALLOCATE, COPY_FROM, COPY_TO, TOLD, CALLS };

static int make_call(struct fs_file *f, struct fs_file *other, enum call call)
{
	struct fs_lock l = {.kind = FS_LOCK_POSIX, .mode = EX, .end = 9, .owner = 7}, found;
	uint64_t n;

	switch (call) {
	case WRITE: return write_at(f, 0, "X");
	case READ: return read_first(f);
	case LOCK: return lock(f, FS_LOCK_POSIX, 1, SH);
	case UNLOCK: return lock(f, FS_LOCK_POSIX, 1, NONE);
	case GETLK: return fs_file_lock_get(f, &l, &found);
	case ALLOCATE: return fs_fallocate(f, 0, 0, 10, NULL);
	case COPY_FROM: return fs_copy_range(f, 0, other, 0, 1, NULL, &n);
	case COPY_TO: return fs_copy_range(other, 0, f, 0, 1, NULL, &n);
	default: return fs_file_lost_lock(f);
	}
}

static void told_once(struct fsx_mount *m, enum call call, bool kept)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789"), g = fsc_file(m, ROOT, "g", "abc");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, f, RDWR);
	struct fs_file *other = fsc_open(m, g, RDWR);

	m->fs->o.keep_locks = kept;
	hear(m);
	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX));
	fsx_end_session(m);
	CHECK_OK(write_at(other, 0, "a")); /* so the mount knows by now */
	CHECK_OK(make_call(b, other, call == TOLD ? TOLD : READ));
	CHECK_ERR(make_call(a, other, call), ERR_LOCK_LOST);
	fsc_contents(m, f, "0123456789");
	CHECK_OK(make_call(a, other, call));
	expect_report(1, 1, 0);
	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX)); /* and it can be had again */
	fsx_end_session(m);
	CHECK_OK(write_at(other, 0, "a"));
	CHECK_ERR(read_first(a), ERR_LOCK_LOST);
	CHECK_OK(read_first(a));
	expect_report(1, 1, 0);
	fs_file_close(a);
	fs_file_close(b);
	fs_file_close(other);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
}

FSC_CASE(every_call_tells_once)
{
	for (unsigned i = 0; i < CALLS; i++) {
		told_once(m, (enum call)i, false);
		told_once(m, (enum call)i, true);
	}
}

/* The call that finds out is the one under the lock: it is not sent under the next session. */
FSC_CASE(a_write_under_a_lost_lock_is_not_sent_again)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, f, RDWR);

	hear(m);
	CHECK_OK(lock(a, FS_LOCK_FLOCK, 5, SH));
	fsx_end_session(m);
	CHECK_ERR(write_at(a, 0, "stolen"), ERR_LOCK_LOST);
	fsc_contents(m, f, "0123456789");
	CHECK_OK(write_at(a, 0, "mine"));
	CHECK_OK(write_at(b, 4, "b"));
	fsc_contents(m, f, "mineb56789");
	expect_report(1, 1, 0);
	fs_file_close(a);
	fs_file_close(b);
}

static struct fsx_mount *victim;
static uint64_t writes_left;

static void end_in_the_middle(struct fsx *x, const struct txn_mini *m)
{
	(void)x;
	if (m->mut_count && writes_left > 0 && --writes_left == 0)
		fsx_end_session(victim);
}

static void of_many_pieces(struct fsx_mount *m, bool locked)
{
	static uint8_t data[3 * WRITE_SIZE_MAX];
	struct fs_file *a = fsc_open(m, fsc_file(m, ROOT, "f", ""), RDWR);

	memset(data, 'x', sizeof(data));
	if (locked)
		CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX));
	victim = m;
	writes_left = 2;
	m->x->before = end_in_the_middle;
	CHECK_ERR(fs_write(a, 0, slice_of(data, sizeof(data)), NULL), locked ? ERR_LOCK_LOST : 0);
	m->x->before = NULL;
	CHECK_U64_EQ(fsc_attr(m, fs_file_ino(a)).size, locked ? WRITE_SIZE_MAX : sizeof(data));
	CHECK_OK(write_at(a, 0, "y")); /* it has been told */
	fs_file_close(a);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
}

FSC_CASE(a_long_write_ends_where_the_lock_did)
{
	of_many_pieces(m, true);
	of_many_pieces(m, false);
}

/* The lock was its process's, perhaps: any descriptor's call under way may have relied on it. */
FSC_CASE(a_write_under_way_by_another_descriptor_ends_too)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, f, RDWR);

	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX));
	fsx_end_session(m);
	CHECK_ERR(write_at(b, 0, "b"), ERR_LOCK_LOST);
	CHECK_ERR(write_at(a, 0, "a"), ERR_LOCK_LOST);
	CHECK_OK(write_at(b, 0, "b"));
	CHECK_OK(write_at(a, 1, "a"));
	fsc_contents(m, f, "ba23456789");
	fs_file_close(a);
	fs_file_close(b);
}

FSC_CASE(a_read_is_not_of_a_time_after_the_lock)
{
	fs_ino f = fsc_file(m, ROOT, "f", "mine");
	struct fs_file *a = fsc_open(m, f, RDWR);
	struct fsx_mount *n = fsx_mount(m->x);
	struct fs_file *thief;

	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, SH));
	fsx_end_session(m); /* it was frozen, and does not know */
	thief = fsc_open(n, f, RDWR);
	CHECK_OK(lock(thief, FS_LOCK_POSIX, 1, EX));
	CHECK_OK(write_at(thief, 0, "half"));
	CHECK_ERR(read_first(a), ERR_LOCK_LOST);
	CHECK_OK(read_first(a));
	CHECK_ERR(lock(a, FS_LOCK_POSIX, 1, SH), ERR_WOULD_BLOCK);
	fs_file_close(a);
	CHECK_OK(fs_lock_release(n->fs, f, FS_LOCK_POSIX, 1));
	fs_file_close(thief);
}

/* What this mount decides alone, it decides only while its session is sure to live. */
FSC_CASE(no_lock_from_memory_without_a_session)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(m, f, RDWR), *thief;
	struct fs_lock low = {.kind = FS_LOCK_POSIX, .mode = EX, .start = 0, .end = 9, .owner = 1};
	struct fs_lock high = {.kind = FS_LOCK_POSIX, .mode = EX, .start = 10, .end = 19, .owner = 1};
	uint64_t execs;

	m->fs->o.keep_locks = true;
	CHECK_OK(fs_file_lock(a, &low, NULL));
	execs = m->x->execs;
	CHECK_OK(fs_file_lock(a, &high, NULL));
	CHECK_U64_EQ(m->x->execs, execs); /* no request */
	fsx_end_session(m);
	thief = fsc_open(n, f, RDWR);
	CHECK_OK(lock(thief, FS_LOCK_POSIX, 1, EX));
	low.owner = 2;
	CHECK_ERR(fs_file_lock(a, &low, NULL), ERR_LOCK_LOST);
	CHECK_ERR(fs_file_lock(a, &low, NULL), ERR_WOULD_BLOCK);
	fs_file_close(a);
	CHECK_OK(fs_lock_release(n->fs, f, FS_LOCK_POSIX, 1));
	fs_file_close(thief);
}

FSC_CASE(who_has_given_up_has_nothing_to_lose)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, f, RDWR);

	hear(m);
	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX));
	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, NONE));
	CHECK_OK(lock(b, FS_LOCK_POSIX, 1, EX)); /* the same process, by another descriptor */
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1)); /* which closed one */
	CHECK_OK(lock(a, FS_LOCK_POSIX, 2, SH));
	CHECK_OK(lock(b, FS_LOCK_POSIX, 3, SH));
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 3));
	fsx_next_session(m);
	CHECK_OK(write_at(b, 0, "b"));
	CHECK_ERR(write_at(a, 0, "a"), ERR_LOCK_LOST);
	expect_report(1, 1, 0);
	fs_file_close(a);
	fs_file_close(b);
}

struct waiting {
	struct fs_file *f;
	struct fs_lock_wait w;
	uint8_t mode;
	int err;
	bool done;
};

static void wait_fiber(void *arg)
{
	struct waiting *w = arg;
	struct fs_lock l = {
		.kind = FS_LOCK_POSIX, .mode = w->mode, .end = UINT64_MAX, .owner = 1};

	w->err = fs_file_lock(w->f, &l, &w->w);
	w->done = true;
}

FSC_CASE(a_wait_goes_on_under_the_next_session)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(n, f, RDWR);
	struct waiting w = {.f = fsc_open(m, f, RDWR), .mode = EX};

	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX));
	fsx_start(m->x, wait_fiber, &w);
	CHECK_OK(fiber_sleep(5 * NS_PER_S));
	fsx_next_session(m);
	CHECK_OK(fiber_sleep(5 * NS_PER_S));
	CHECK_FALSE(w.done);
	CHECK_OK(fs_lock_release(n->fs, f, FS_LOCK_POSIX, 1));
	CHECK_OK(fiber_sleep(5 * NS_PER_S));
	CHECK_TRUE(w.done);
	CHECK_OK(w.err);
	CHECK_ERR(lock(a, FS_LOCK_POSIX, 1, EX), ERR_WOULD_BLOCK);
	CHECK_OK(fs_lock_release(m->fs, f, FS_LOCK_POSIX, 1));
	fs_file_close(a);
	fs_file_close(w.f);
}

/* It waits to have its shared lock made exclusive: that one is lost. */
FSC_CASE(a_wait_of_a_holder_ends)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "");
	struct fs_file *a = fsc_open(n, f, RDWR);
	struct waiting w = {.f = fsc_open(m, f, RDWR), .mode = EX};

	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, SH));
	CHECK_OK(lock(w.f, FS_LOCK_POSIX, 1, SH));
	fsx_start(m->x, wait_fiber, &w);
	CHECK_OK(fiber_sleep(5 * NS_PER_S));
	fsx_next_session(m);
	CHECK_OK(fiber_sleep(5 * NS_PER_S));
	CHECK_TRUE(w.done);
	CHECK_ERR(w.err, ERR_LOCK_LOST);
	CHECK_OK(write_at(w.f, 0, "x")); /* once */
	CHECK_OK(fs_lock_release(n->fs, f, FS_LOCK_POSIX, 1));
	fs_file_close(a);
	fs_file_close(w.f);
}

/* Pages of a shared mapping come by any descriptor of the inode, for nobody. */
FSC_CASE(mapped_pages_wait_until_it_is_told)
{
	struct fs_write_how page = {.within = true};
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, f, RDWR);
	uint64_t end;

	CHECK_OK(lock(a, FS_LOCK_POSIX, 1, EX));
	fsx_next_session(m);
	CHECK_ERR(fs_write_how(b, 0, slice_str("page"), &page, &end), ERR_LOCK_LOST);
	CHECK_ERR(fs_write_how(b, 0, slice_str("page"), &page, &end), ERR_LOCK_LOST);
	CHECK_ERR(write_at(a, 0, "w"), ERR_LOCK_LOST);
	CHECK_OK(fs_write_how(b, 0, slice_str("page"), &page, &end));
	fsc_contents(m, f, "page456789");
	fs_file_close(a);
	fs_file_close(b);
}

FSC_CASE(an_unknown_outcome_is_an_error_once)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *a = fsc_open(m, f, RDWR);

	m->lose_outcome = 1;
	CHECK_ERR(write_at(a, 0, "abc"), ERR_OUTCOME); /* not done */
	fsc_contents(m, f, "0123456789");
	m->lose_outcome = 1;
	m->outcome_done = true;
	CHECK_ERR(write_at(a, 0, "abc"), ERR_OUTCOME); /* done, once */
	fsc_contents(m, f, "abc3456789");
	CHECK_OK(write_at(a, 3, "def"));
	fsc_contents(m, f, "abcdef6789");
	fs_file_close(a);
}

/* Numbers that may have been reserved are nobody's: others are taken, and the caller hears nothing. */
FSC_CASE(numbers_are_reserved_again)
{
	m->fs->pool.next = m->fs->pool.end = 0;
	m->fs->pool.spare_next = m->fs->pool.spare_end = 0;
	m->lose_outcome = 1;
	m->outcome_done = true;
	CHECK_TRUE(fsc_file(m, ROOT, "f", "") != 0);
}

static bool is_held(struct fsx_mount *m, fs_ino ino)
{
	struct fs_key k;

	fs__key_hold(&k, ino, m->b.session);
	return fsx_find(m->x, fs__key_slice(&k)) != NULL;
}

FSC_CASE(what_has_no_name_is_held_anew)
{
	fs_ino f = fsc_file(m, ROOT, "f", "hidden"), g = fsc_file(m, ROOT, "g", "gone");
	struct fs_file *a = fsc_open(m, f, RDWR), *b = fsc_open(m, g, RDWR);
	struct fs_key k;

	hear(m);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
	CHECK_OK(fiber_sleep(5 * NS_PER_S));
	fs__key_reap(&k, g, FS_REAP_INODE); /* cleared away meanwhile */
	fsx_delete(m->x, fs__key_slice(&k));
	fs__key_inode(&k, g);
	fsx_delete(m->x, fs__key_slice(&k));
	fs__key_block(&k, g, 0);
	fsx_delete(m->x, fs__key_slice(&k));
	fsx_next_session(m);
	expect_report(0, 0, 1);
	CHECK_TRUE(is_held(m, f));
	fsc_contents(m, f, "hidden");
	CHECK_OK(write_at(a, 0, "H"));
	CHECK_ERR(read_first(b), ERR_STALE);
	fs_file_close(a);
	fs_file_close(b);
	fsc_idle(m);
	CHECK_FALSE(is_held(m, f));
}

static const struct check_test tests[] = {
	CHECK_TEST(nothing_is_lost_without_locks),
	CHECK_TEST(every_call_tells_once),
	CHECK_TEST(a_write_under_a_lost_lock_is_not_sent_again),
	CHECK_TEST(a_long_write_ends_where_the_lock_did),
	CHECK_TEST(a_write_under_way_by_another_descriptor_ends_too),
	CHECK_TEST(a_read_is_not_of_a_time_after_the_lock),
	CHECK_TEST(no_lock_from_memory_without_a_session),
	CHECK_TEST(who_has_given_up_has_nothing_to_lose),
	CHECK_TEST(a_wait_goes_on_under_the_next_session),
	CHECK_TEST(a_wait_of_a_holder_ends),
	CHECK_TEST(mapped_pages_wait_until_it_is_told),
	CHECK_TEST(an_unknown_outcome_is_an_error_once),
	CHECK_TEST(numbers_are_reserved_again),
	CHECK_TEST(what_has_no_name_is_held_anew),
};
CHECK_MAIN(tests)
