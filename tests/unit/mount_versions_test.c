/* Which versions the kernel's pages may have: never kept wrongly. */
#include "mount/mount_internal.h"
#include "tests/lib/check.h"

static struct mount_versions *v;

static void setup(void)
{
	v = mount__versions_new();
}

static void teardown(void)
{
	mount__versions_free(v);
}

static void the_first_answer_drops_nothing(void)
{
	CHECK_FALSE(mount__versions_note(v, 7, 3));
	CHECK_FALSE(mount__versions_note(v, 7, 3));
	CHECK_TRUE(mount__versions_current(v, 7, 3));
	CHECK_FALSE(mount__versions_current(v, 8, 3));
}

static void a_write_by_somebody_else_drops(void)
{
	mount__versions_note(v, 7, 3);
	CHECK_FALSE(mount__versions_current(v, 7, 4));
	CHECK_TRUE(mount__versions_note(v, 7, 4));
	CHECK_FALSE(mount__versions_note(v, 7, 4));
}

static void own_writes_keep_the_pages(void)
{
	mount__versions_note(v, 7, 3);
	for (int i = 0; i < 5; i++) {
		mount__versions_write_begin(v, 7);
		mount__versions_write_end(v, 7, true);
	}
	CHECK_FALSE(mount__versions_note(v, 7, 8));
	CHECK_TRUE(mount__versions_current(v, 7, 8));
}

static void a_foreign_write_between_own_ones_drops(void)
{
	mount__versions_note(v, 7, 3);
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, true);
	CHECK_TRUE(mount__versions_note(v, 7, 5));
}

static void an_answer_during_a_write_leaves_doubt(void)
{
	/* the answer may be from before or after the write: either way the next one starts anew */
	mount__versions_note(v, 7, 3);
	mount__versions_write_begin(v, 7);
	CHECK_TRUE(mount__versions_note(v, 7, 4));
	CHECK_FALSE(mount__versions_current(v, 7, 4));
	mount__versions_write_end(v, 7, true);
	CHECK_TRUE(mount__versions_note(v, 7, 4));
	CHECK_FALSE(mount__versions_note(v, 7, 4));
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
		mount__versions_note(v, 7, truth);
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
				dropped_after_foreign |=
					mount__versions_note(v, 7, truth) && foreign_done;
		}
		dropped_after_foreign |= mount__versions_note(v, 7, truth);
		CHECK_TRUE(dropped_after_foreign);
		teardown();
	}
}

static void a_failed_write_leaves_doubt(void)
{
	mount__versions_note(v, 7, 3);
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, false);
	CHECK_FALSE(mount__versions_current(v, 7, 3));
	CHECK_TRUE(mount__versions_note(v, 7, 3));
}

static void forget_starts_anew(void)
{
	mount__versions_note(v, 7, 3);
	mount__versions_forget(v, 7);
	CHECK_FALSE(mount__versions_current(v, 7, 3));
	CHECK_FALSE(mount__versions_note(v, 7, 9));
	mount__versions_forget(v, 12345);
}

static void a_write_without_an_answer_before_it(void)
{
	mount__versions_write_begin(v, 7);
	mount__versions_write_end(v, 7, true);
	CHECK_TRUE(mount__versions_note(v, 7, 1));
	CHECK_FALSE(mount__versions_note(v, 7, 1));
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, the_first_answer_drops_nothing),
	CHECK_TEST_WITH(setup, teardown, a_write_by_somebody_else_drops),
	CHECK_TEST_WITH(setup, teardown, own_writes_keep_the_pages),
	CHECK_TEST_WITH(setup, teardown, a_foreign_write_between_own_ones_drops),
	CHECK_TEST_WITH(setup, teardown, an_answer_during_a_write_leaves_doubt),
	CHECK_TEST(crossing_answers_never_hide_a_foreign_write),
	CHECK_TEST_WITH(setup, teardown, a_failed_write_leaves_doubt),
	CHECK_TEST_WITH(setup, teardown, forget_starts_anew),
	CHECK_TEST_WITH(setup, teardown, a_write_without_an_answer_before_it),
};
CHECK_MAIN(tests)
