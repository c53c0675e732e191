/* Which versions the kernel's pages may have: never kept wrongly. */
#include "mount/mount_internal.h"
#include "tests/lib/check.h"

static struct mount_inodes *v;

static void setup(void)
{
	v = mount__inodes_new();
	mount__inode_given(v, 7);
}

static void teardown(void)
{
	mount__inodes_free(v);
}

/* An answer that tells only another version: size and time of change are always the same. */
static bool forged(uint64_t version)
{
	struct fs_attr a = {.ino = 7, .data_version = version, .size = 100, .mtime_ns = 5};

	return mount__versions_tell(v, &a);
}

static bool tell(uint64_t version, uint64_t size, int64_t mtime_ns)
{
	struct fs_attr a = {
		.ino = 7, .data_version = version, .size = size, .mtime_ns = mtime_ns};

	return mount__versions_tell(v, &a);
}

static void set(uint64_t version)
{
	struct fs_attr a = {.ino = 7, .data_version = version, .size = 100, .mtime_ns = 5};

	mount__versions_set(v, &a);
}

static void the_first_answer_drops_nothing(void)
{
	CHECK_FALSE(forged(3));
	CHECK_FALSE(forged(3));
	CHECK_TRUE(mount__versions_current(v, 7, 3));
	CHECK_FALSE(mount__versions_current(v, 8, 3));
}

static void a_write_by_somebody_else_drops(void)
{
	forged(3);
	CHECK_FALSE(mount__versions_current(v, 7, 4));
	CHECK_TRUE(forged(4));
	CHECK_FALSE(forged(4));
}

static void what_the_kernel_sees_by_itself_needs_no_drop(void)
{
	tell(3, 100, 5);
	CHECK_FALSE(tell(4, 200, 5));
	CHECK_FALSE(tell(5, 200, 6));
	CHECK_TRUE(tell(6, 200, 6));
	CHECK_FALSE(tell(7, 100, 5));
	CHECK_FALSE(tell(7, 100, 5));
}

static void own_writes_keep_the_pages(void)
{
	forged(3);
	for (int i = 0; i < 5; i++) {
		mount__versions_write_begin(v, 7);
		mount__versions_write_end(v, 7, true);
	}
	CHECK_FALSE(forged(8));
	CHECK_TRUE(mount__versions_current(v, 7, 8));
}

static void the_size_moves_with_own_writes(void)
{
	tell(3, 100, 5);
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, true);
	mount__versions_extended(v, 7, 150);
	mount__versions_extended(v, 7, 120);
	/* the kernel believes 150 already: 150 again is nothing new to it */
	CHECK_TRUE(tell(5, 150, 5));
	CHECK_FALSE(tell(6, 120, 5));
}

static void the_size_moves_with_short_reads(void)
{
	tell(3, 100, 5);
	mount__versions_ended(v, 7, 60);
	mount__versions_ended(v, 7, 80);
	CHECK_FALSE(tell(5, 100, 5));
	mount__versions_ended(v, 7, 60);
	CHECK_TRUE(tell(6, 60, 5));
}

static void a_write_of_nothing_leaves_the_version(void)
{
	forged(3);
	mount__versions_write_begin(v, 7);
	mount__versions_write_none(v, 7);
	CHECK_FALSE(forged(3));
	CHECK_TRUE(mount__versions_current(v, 7, 3));
}

static void a_foreign_write_between_own_ones_drops(void)
{
	forged(3);
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, true);
	CHECK_TRUE(forged(5));
}

static void an_answer_during_a_write_leaves_doubt(void)
{
	/* the answer may be from before or after the write: either way the next one starts anew */
	forged(3);
	mount__versions_write_begin(v, 7);
	CHECK_TRUE(forged(4));
	CHECK_FALSE(mount__versions_current(v, 7, 4));
	mount__versions_write_end(v, 7, true);
	CHECK_TRUE(forged(4));
	CHECK_FALSE(forged(4));
}

static void crossing_answers_never_hide_a_foreign_write(void)
{
	/* every interleaving of: own write (begin, applied, end), foreign write, two answers that
	 * tell the version at their moment. At the end an answer with the true version must drop
	 * the pages if the foreign write came after the last drop. */
	for (unsigned order = 0; order < 6 * 6 * 6; order++) {
		unsigned foreign_at = order % 6, note_a = order / 6 % 6, note_b = order / 36;
		uint64_t truth = 10;
		bool dropped_after_foreign = false, foreign_done = false;

		setup();
		forged(truth);
		for (unsigned step = 0; step < 6; step++) {
			if (step == 1)
				mount__versions_write_begin(v, 7);
			if (step == 2)
				truth++; /* the own write is applied */
			if (step == 3)
				mount__versions_write_end(v, 7, true);
			if (step == foreign_at) {
				truth++;
				foreign_done = true;
			}
			if (step == note_a || step == note_b)
				dropped_after_foreign |= forged(truth) && foreign_done;
		}
		dropped_after_foreign |= forged(truth);
		CHECK_TRUE(dropped_after_foreign);
		teardown();
	}
}

static void a_failed_write_leaves_doubt(void)
{
	forged(3);
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, false);
	CHECK_FALSE(mount__versions_current(v, 7, 3));
	CHECK_TRUE(forged(3));
}

static void pages_that_stayed_leave_doubt(void)
{
	forged(3);
	CHECK_TRUE(forged(4));
	mount__versions_doubt(v, 7);
	CHECK_TRUE(forged(4));
	CHECK_FALSE(forged(4));
	mount__versions_doubt(v, 12345);
}

static void setattr_counts_its_own_change(void)
{
	forged(3);
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, true);
	set(4);
	CHECK_TRUE(mount__versions_current(v, 7, 4));
	CHECK_FALSE(forged(4));
	set(4); /* of a mode */
	CHECK_FALSE(forged(4));
}

static void setattr_hides_no_foreign_write(void)
{
	/* its answer brings the time of the foreign write, and drops no page */
	tell(3, 100, 4);
	set(4);
	CHECK_FALSE(mount__versions_current(v, 7, 4));
	CHECK_TRUE(forged(4));
	CHECK_FALSE(forged(4));
}

static void setattr_during_a_write_leaves_doubt(void)
{
	forged(3);
	mount__versions_write_begin(v, 7);
	set(3);
	mount__versions_write_end(v, 7, true);
	CHECK_TRUE(forged(4));
	CHECK_FALSE(forged(4));
}

static void an_open_that_drops_starts_anew(void)
{
	struct fs_attr a = {.ino = 7, .data_version = 9, .size = 100, .mtime_ns = 5};

	forged(3);
	mount__versions_opened(v, &a, false);
	CHECK_FALSE(forged(9));
	/* truncated: the kernel believes 0 from then on, whoever wrote meanwhile */
	a.data_version = 11;
	mount__versions_opened(v, &a, true);
	CHECK_FALSE(forged(12));
	CHECK_TRUE(forged(13));
}

static void an_open_during_a_write_leaves_doubt(void)
{
	struct fs_attr a = {.ino = 7, .data_version = 4, .size = 100, .mtime_ns = 5};

	forged(3);
	mount__versions_write_begin(v, 7);
	mount__versions_opened(v, &a, false);
	mount__versions_write_end(v, 7, true);
	CHECK_FALSE(mount__versions_current(v, 7, 4));
	CHECK_TRUE(forged(4));
}

static void forget_starts_anew(void)
{
	forged(3);
	mount__inode_back(v, 7, 1);
	CHECK_FALSE(mount__versions_current(v, 7, 3));
	CHECK_FALSE(forged(9));
	mount__inode_back(v, 12345, 1);
}

static void a_write_without_an_answer_before_it(void)
{
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, true);
	CHECK_FALSE(mount__versions_current(v, 7, 1));
	CHECK_TRUE(tell(1, 100, 5)); /* nobody knows what the kernel was told */
	CHECK_FALSE(tell(1, 100, 5));
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, the_first_answer_drops_nothing),
	CHECK_TEST_WITH(setup, teardown, a_write_by_somebody_else_drops),
	CHECK_TEST_WITH(setup, teardown, what_the_kernel_sees_by_itself_needs_no_drop),
	CHECK_TEST_WITH(setup, teardown, own_writes_keep_the_pages),
	CHECK_TEST_WITH(setup, teardown, the_size_moves_with_own_writes),
	CHECK_TEST_WITH(setup, teardown, the_size_moves_with_short_reads),
	CHECK_TEST_WITH(setup, teardown, a_write_of_nothing_leaves_the_version),
	CHECK_TEST_WITH(setup, teardown, a_foreign_write_between_own_ones_drops),
	CHECK_TEST_WITH(setup, teardown, an_answer_during_a_write_leaves_doubt),
	CHECK_TEST(crossing_answers_never_hide_a_foreign_write),
	CHECK_TEST_WITH(setup, teardown, a_failed_write_leaves_doubt),
	CHECK_TEST_WITH(setup, teardown, pages_that_stayed_leave_doubt),
	CHECK_TEST_WITH(setup, teardown, setattr_counts_its_own_change),
	CHECK_TEST_WITH(setup, teardown, setattr_hides_no_foreign_write),
	CHECK_TEST_WITH(setup, teardown, setattr_during_a_write_leaves_doubt),
	CHECK_TEST_WITH(setup, teardown, an_open_that_drops_starts_anew),
	CHECK_TEST_WITH(setup, teardown, an_open_during_a_write_leaves_doubt),
	CHECK_TEST_WITH(setup, teardown, forget_starts_anew),
	CHECK_TEST_WITH(setup, teardown, a_write_without_an_answer_before_it),
};
CHECK_MAIN(tests)
