/* The table of an inode's locks, against a model that knows every byte. */
#include "base/err.h"
#include "fs/lock_table.h"
#include "tests/lib/check.h"

#define BYTES  24u
#define OWNERS 3u

static struct fs_lock lock_of(uint64_t owner, uint8_t mode, uint64_t start, uint64_t end)
{
	return (struct fs_lock){.kind = FS_LOCK_POSIX,
				.mode = mode,
				.start = start,
				.end = end,
				.owner = owner,
				.session = 7};
}

static struct lock_table held(const struct fs_lock *l, uint32_t count)
{
	struct lock_table t;

	lock_table_init(&t);
	for (uint32_t i = 0; i < count; i++)
		CHECK_OK(lock_table_set(&t, &l[i]));
	return t;
}

static const struct fs_lock *blocker(const struct lock_table *t, const struct fs_lock *want)
{
	uint32_t at = 0;

	return lock_table_blocker(t, want, &at);
}

static void expect_range(const struct fs_lock *l, uint8_t mode, uint64_t start, uint64_t end)
{
	CHECK_U64_EQ(l->mode, mode);
	CHECK_U64_EQ(l->start, start);
	CHECK_U64_EQ(l->end, end);
}

static void shared_and_exclusive(void)
{
	struct fs_lock one = lock_of(1, FS_LOCK_SHARED, 0, 9);
	struct lock_table t = held(&one, 1);
	struct fs_lock two = lock_of(2, FS_LOCK_SHARED, 5, 5);

	CHECK_TRUE(blocker(&t, &two) == NULL);
	two.mode = FS_LOCK_EXCLUSIVE;
	CHECK_TRUE(blocker(&t, &two) == &t.held.v[0]);
	two.start = two.end = 10;
	CHECK_TRUE(blocker(&t, &two) == NULL);
	two = lock_of(1, FS_LOCK_EXCLUSIVE, 0, 9); /* its own */
	CHECK_TRUE(blocker(&t, &two) == NULL);
	two.session = 8; /* the same number in another session is another owner */
	CHECK_TRUE(blocker(&t, &two) != NULL);
	two.kind = FS_LOCK_FLOCK;
	CHECK_TRUE(blocker(&t, &two) == NULL);
	lock_table_release(&t);
}

static void a_hole_splits(void)
{
	struct fs_lock l[] = {lock_of(1, FS_LOCK_EXCLUSIVE, 0, UINT64_MAX),
			      lock_of(1, FS_LOCK_NONE, 10, 19)};
	struct lock_table t = held(l, 2);

	CHECK_U64_EQ(t.held.count, 2);
	expect_range(&t.held.v[0], FS_LOCK_EXCLUSIVE, 0, 9);
	expect_range(&t.held.v[1], FS_LOCK_EXCLUSIVE, 20, UINT64_MAX);
	lock_table_release(&t);
}

static void neighbours_merge(void)
{
	struct fs_lock l[] = {lock_of(1, FS_LOCK_SHARED, 0, 4), lock_of(1, FS_LOCK_SHARED, 10, 14),
			      lock_of(1, FS_LOCK_SHARED, 5, 9)};
	struct lock_table t = held(l, 3);

	CHECK_U64_EQ(t.held.count, 1);
	expect_range(&t.held.v[0], FS_LOCK_SHARED, 0, 14);
	lock_table_release(&t);
}

static void a_conversion_in_the_middle(void)
{
	struct fs_lock l[] = {lock_of(1, FS_LOCK_SHARED, 0, 99),
			      lock_of(1, FS_LOCK_EXCLUSIVE, 40, 49)};
	struct lock_table t = held(l, 2);
	struct fs_lock two = lock_of(2, FS_LOCK_SHARED, 45, 45);

	CHECK_U64_EQ(t.held.count, 3);
	CHECK_TRUE(blocker(&t, &two) != NULL);
	two.start = two.end = 50;
	CHECK_TRUE(blocker(&t, &two) == NULL);
	l[1].mode = FS_LOCK_SHARED;
	CHECK_OK(lock_table_set(&t, &l[1]));
	CHECK_U64_EQ(t.held.count, 1);
	lock_table_release(&t);
}

static void waiters_in_order(void)
{
	struct fs_lock one = lock_of(1, FS_LOCK_SHARED, 0, 9);
	struct lock_table t = held(&one, 1);
	struct fs_lock two = lock_of(2, FS_LOCK_EXCLUSIVE, 0, 9);
	struct fs_lock three = lock_of(3, FS_LOCK_SHARED, 3, 3);

	two.ticket = 1;
	three.ticket = 2;
	CHECK_OK(lock_table_wait(&t, &two));
	CHECK_TRUE(lock_table_ahead(&t, &two) == NULL);
	CHECK_TRUE(lock_table_ahead(&t, &three) == &t.waiters.v[0]); /* does not overtake */
	one.start = 3; /* who holds what the waiter waits for does */
	CHECK_TRUE(lock_table_ahead(&t, &one) == NULL);
	three.start = three.end = 10;
	CHECK_TRUE(lock_table_ahead(&t, &three) == NULL);
	CHECK_TRUE(lock_table_leave(&t, 7, 1));
	CHECK_FALSE(lock_table_leave(&t, 7, 1));
	CHECK_U64_EQ(t.waiters.count, 0);
	lock_table_release(&t);
}

static void a_session_goes(void)
{
	struct fs_lock l[] = {lock_of(1, FS_LOCK_SHARED, 0, 4), lock_of(2, FS_LOCK_SHARED, 0, 4)};
	struct lock_table t = held(l, 2);
	struct fs_lock other = lock_of(1, FS_LOCK_SHARED, 0, 4);

	other.session = 9;
	CHECK_OK(lock_table_set(&t, &other));
	CHECK_OK(lock_table_wait(&t, &l[0]));
	CHECK_U64_EQ(lock_table_drop_session(&t, 7), 3);
	CHECK_U64_EQ(t.held.count, 1);
	CHECK_U64_EQ(t.held.v[0].session, 9);
	CHECK_U64_EQ(lock_table_drop_owner(&t, &other), 1);
	CHECK_TRUE(lock_table_empty(&t));
	lock_table_release(&t);
}

static void a_full_table(void)
{
	struct lock_table t;
	struct fs_lock l = lock_of(1, FS_LOCK_EXCLUSIVE, 0, 0);

	lock_table_init(&t);
	for (uint32_t i = 0; i < FS_LOCKS_MAX; i++) {
		l.start = 4ull * i;
		l.end = l.start + 2;
		CHECK_OK(lock_table_set(&t, &l));
	}
	l.start = l.end = 4ull * FS_LOCKS_MAX + 8;
	CHECK_ERR(lock_table_set(&t, &l), ERR_TOO_BIG);
	CHECK_ERR(lock_table_wait(&t, &l), ERR_TOO_BIG);
	l = lock_of(1, FS_LOCK_NONE, 1, 1); /* would be one more */
	CHECK_ERR(lock_table_set(&t, &l), ERR_TOO_BIG);
	CHECK_U64_EQ(t.held.count, FS_LOCKS_MAX);
	l = lock_of(1, FS_LOCK_NONE, 0, 2);
	CHECK_OK(lock_table_set(&t, &l));
	CHECK_U64_EQ(t.held.count, FS_LOCKS_MAX - 1);
	lock_table_release(&t);
}

static void expect_same(const struct lock_list *a, const struct lock_list *b)
{
	CHECK_U64_EQ(a->count, b->count);
	for (uint32_t i = 0; i < a->count && i < b->count; i++) {
		const struct fs_lock *x = &a->v[i], *y = &b->v[i];

		CHECK_TRUE(fs__lock_same_owner(x, y) && x->start == y->start && x->end == y->end);
		CHECK_TRUE(x->mode == y->mode && x->pid == y->pid && x->ticket == y->ticket);
		CHECK_TRUE(x->since_ns == y->since_ns && x->no_cycle == y->no_cycle);
	}
}

static void room_for_what_a_delegation_stands_for(void)
{
	struct fs_lock d = {.kind = FS_LOCK_DELEGATION,
			    .mode = FS_LOCK_EXCLUSIVE,
			    .end = UINT64_MAX,
			    .session = 1};
	struct fs_lock w = lock_of(1, FS_LOCK_EXCLUSIVE, 0, 0);
	struct lock_table t;
	uint32_t n = 0;

	lock_table_init(&t);
	CHECK_OK(lock_table_set(&t, &d));
	w.session = 2;
	for (w.ticket = 1; lock_table_wait(&t, &w) == 0; w.ticket++)
		n++;
	CHECK_U64_EQ(n, FS_LOCKS_ALONE - 1);
	CHECK_FALSE(lock_table_waits(&t, &w));
	w.ticket--;
	CHECK_TRUE(lock_table_waits(&t, &w));
	CHECK_U64_EQ(lock_table_drop_held(&t, 2), 0);
	CHECK_U64_EQ(lock_table_drop_held(&t, 1), 1);
	CHECK_U64_EQ(t.waiters.count, n);
	for (uint32_t i = 0; i < FS_LOCKS_ALONE; i++) { /* now its holder writes down all it has */
		struct fs_lock l = lock_of(1, FS_LOCK_EXCLUSIVE, 4ull * i, 4ull * i + 2);

		CHECK_OK(lock_table_set(&t, &l));
	}
	lock_table_release(&t);
}

static void record_there_and_back(void)
{
	struct fs_lock l[] = {lock_of(1, FS_LOCK_SHARED, 0, 4),
			      lock_of(UINT64_MAX, FS_LOCK_EXCLUSIVE, 5, UINT64_MAX)};
	struct lock_table t = held(l, 2), back;
	struct buf b = BUF_INIT;

	l[0].ticket = 5;
	l[0].pid = 4711;
	l[0].no_cycle = true;
	l[0].since_ns = 1;
	t.tag = 0x0123456789abcdefull;
	CHECK_OK(lock_table_wait(&t, &l[0]));
	lock_table_encode(&b, &t);
	CHECK_U64_EQ(b.len, FS_LOCK_HEAD + 3 * FS_LOCK_SIZE);
	lock_table_init(&back);
	CHECK_OK(lock_table_decode(buf_slice(&b), &back));
	CHECK_U64_EQ(back.tag, t.tag);
	expect_same(&t.held, &back.held);
	expect_same(&t.waiters, &back.waiters);
	lock_table_release(&back);
	lock_table_release(&t);
	buf_release(&b);
}

static void damaged_records(void)
{
	struct fs_lock l = lock_of(1, FS_LOCK_SHARED, 3, 4);
	struct lock_table t = held(&l, 1), back;
	struct buf b = BUF_INIT;
	/* version, count, kind, mode, start beyond the end */
	static const size_t at[] = {0, 2, FS_LOCK_HEAD, FS_LOCK_HEAD + 1, FS_LOCK_HEAD + 8 + 7};

	lock_table_encode(&b, &t);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		b.data[at[i]] ^= 0x40;
		lock_table_init(&back);
		CHECK_ERR(lock_table_decode(buf_slice(&b), &back), ERR_CORRUPT);
		lock_table_release(&back);
		b.data[at[i]] ^= 0x40;
	}
	for (size_t len = 0; len < b.len; len++) {
		lock_table_init(&back);
		CHECK_ERR(lock_table_decode(slice_of(b.data, len), &back), ERR_CORRUPT);
		lock_table_release(&back);
	}
	lock_table_release(&t);
	buf_release(&b);
}

/* ---- every byte ---- */

static uint64_t seed = 88172645463325252ull;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void compare(const struct lock_table *t, uint8_t model[OWNERS][BYTES])
{
	uint8_t seen[OWNERS][BYTES] = {{0}};

	for (uint32_t i = 0; i < t->held.count; i++) {
		const struct fs_lock *l = &t->held.v[i];

		for (uint64_t b = l->start; b <= l->end && b < BYTES; b++) {
			CHECK_U64_EQ(seen[l->owner][b], 0); /* no overlap with its own */
			seen[l->owner][b] = l->mode;
		}
		for (uint32_t k = 0; k < t->held.count; k++) /* all neighbours are merged */
			CHECK_FALSE(k != i && fs__lock_same_owner(l, &t->held.v[k]) &&
				    l->mode == t->held.v[k].mode && l->end + 1 == t->held.v[k].start);
	}
	CHECK_TRUE(memcmp(seen, model, sizeof(seen)) == 0);
}

static bool model_blocks(uint8_t model[OWNERS][BYTES], const struct fs_lock *l)
{
	for (uint64_t o = 0; o < OWNERS; o++)
		for (uint64_t b = l->start; o != l->owner && b <= l->end; b++)
			if (model[o][b] == FS_LOCK_EXCLUSIVE ||
			    (model[o][b] && l->mode == FS_LOCK_EXCLUSIVE))
				return true;
	return false;
}

static void like_a_model(void)
{
	for (int run = 0; run < 200; run++) {
		uint8_t model[OWNERS][BYTES] = {{0}};
		struct lock_table t;

		lock_table_init(&t);
		for (int step = 0; step < 100; step++) {
			uint64_t start = draw(BYTES), end = start + draw(BYTES - start);
			struct fs_lock l = lock_of(draw(OWNERS), (uint8_t)draw(3), start, end);

			if (l.mode != FS_LOCK_NONE) {
				CHECK_TRUE(model_blocks(model, &l) == (blocker(&t, &l) != NULL));
				if (blocker(&t, &l))
					continue;
			}
			CHECK_OK(lock_table_set(&t, &l));
			memset(&model[l.owner][start], l.mode, end - start + 1);
			compare(&t, model);
		}
		lock_table_release(&t);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST(shared_and_exclusive),
	CHECK_TEST(a_hole_splits),
	CHECK_TEST(neighbours_merge),
	CHECK_TEST(a_conversion_in_the_middle),
	CHECK_TEST(waiters_in_order),
	CHECK_TEST(a_session_goes),
	CHECK_TEST(a_full_table),
	CHECK_TEST(room_for_what_a_delegation_stands_for),
	CHECK_TEST(record_there_and_back),
	CHECK_TEST(damaged_records),
	CHECK_TEST(like_a_model),
};

CHECK_MAIN(tests)
