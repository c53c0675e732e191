/* The test layer itself: a binary of failing tests must say so and exit with 1. This binary runs
 * itself with "--inner" for the tables that are to fail. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fiber.h"
#include "tests/lib/check.h"

static char self[4096];

/* ---- the inner tables ---- */

static bool torn_down;

static void inner_setup(void)
{
	torn_down = false;
}

static void inner_teardown(void)
{
	torn_down = true;
}

static void inner_passes(void)
{
	CHECK_TRUE(true);
}

static void inner_ends_at_the_first_failure(void)
{
	CHECK_INT_EQ(1 + 1, 3);
	puts("not reached");
}

static void inner_was_torn_down(void)
{
	if (torn_down)
		puts("torn down");
}

static void inner_err(void)
{
	CHECK_ERR(ERR_IO, ERR_BUSY);
}

static void inner_ok(void)
{
	CHECK_OK(ERR_IO);
}

static void inner_u64(void)
{
	CHECK_U64_EQ(UINT64_MAX, 1);
}

static void inner_slice(void)
{
	CHECK_SLICE_EQ(slice_of("ab\1", 3), slice_of("ab\2", 3));
}

static void inner_str(void)
{
	CHECK_STR_EQ("left", "right");
}

static void inner_str_null(void)
{
	CHECK_STR_EQ(NULL, "right");
}

static void inner_contains(void)
{
	CHECK_CONTAINS("abc", "z");
}

static void inner_null(void)
{
	CHECK_NULL("x");
}

static void does_not_abort(void *arg)
{
	(void)arg;
}

static void exits_with_3(void *arg)
{
	(void)arg;
	_exit(3);
}

static void dies_otherwise(void *arg)
{
	(void)arg;
	(void)raise(SIGKILL);
}

static void inner_abort_returned(void)
{
	CHECK_ABORTS(does_not_abort, NULL);
}

static void inner_abort_exited(void)
{
	CHECK_ABORTS(exits_with_3, NULL);
}

static void inner_abort_killed(void)
{
	CHECK_ABORTS(dies_otherwise, NULL);
}

static void fails_on_a_fiber(void *arg)
{
	(void)arg;
	CHECK_INT_EQ(4, 5);
	puts("fiber went on");
}

static void inner_fiber(void)
{
	struct fiber_sched *s = fiber_sched_new(NULL, NULL, NULL);

	CHECK_OK(fiber_start(s, fails_on_a_fiber, NULL));
	fiber_sched_run(s);
	fiber_sched_free(s);
}

static void *fails_on_a_thread(void *arg)
{
	CHECK_INT_EQ(6, 7);
	return arg;
}

static void inner_thread(void)
{
	pthread_t t;

	CHECK_INT_EQ(pthread_create(&t, NULL, fails_on_a_thread, NULL), 0);
	CHECK_INT_EQ(pthread_join(t, NULL), 0);
}

#define INNER(fn) CHECK_TEST_WITH(inner_setup, inner_teardown, fn)

static const struct check_test inner[] = {
	INNER(inner_passes),
	INNER(inner_ends_at_the_first_failure),
	CHECK_TEST(inner_was_torn_down),
	CHECK_TEST(inner_err),
	CHECK_TEST(inner_ok),
	CHECK_TEST(inner_u64),
	CHECK_TEST(inner_slice),
	CHECK_TEST(inner_str),
	CHECK_TEST(inner_str_null),
	CHECK_TEST(inner_contains),
	CHECK_TEST(inner_null),
	CHECK_TEST(inner_abort_returned),
	CHECK_TEST(inner_abort_exited),
	CHECK_TEST(inner_abort_killed),
	CHECK_TEST(inner_fiber),
	CHECK_TEST(inner_thread),
};

/* ---- the outer tests ---- */

static char output[16384];

/* Runs the inner tests that @word selects; returns the exit status. */
static int run_inner(const char *word)
{
	char command[4300];
	size_t len;
	int status;
	FILE *p;

	(void)snprintf(command, sizeof(command), "'%s' --inner %s 2>&1", self, word);
	fflush(NULL);
	p = popen(command, "r");
	CHECK_NOT_NULL(p);
	len = fread(output, 1, sizeof(output) - 1, p);
	output[len] = '\0';
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void passing_tests_exit_with_0(void)
{
	CHECK_INT_EQ(run_inner("inner_passes"), 0);
	CHECK_STR_EQ(output, "ok   inner_passes\n1 passed, 0 failed\n");
}

static void no_test_at_all_is_a_failure(void)
{
	CHECK_INT_EQ(run_inner("no_such_test"), 1);
	CHECK_STR_EQ(output, "0 passed, 0 failed\n");
}

static void a_failure_ends_its_test_and_runs_the_teardown(void)
{
	CHECK_INT_EQ(run_inner("inner_ends inner_was"), 1);
	CHECK_CONTAINS(output, "CHECK_INT_EQ(1 + 1, 3): 2 != 3 (0x2, 0x3)\n");
	CHECK_CONTAINS(output, "base_check_test.c:");
	CHECK_NULL(strstr(output, "not reached"));
	CHECK_CONTAINS(output, "torn down");
	CHECK_CONTAINS(output, "1 passed, 1 failed\n");
}

static void every_kind_of_check_can_fail(void)
{
	static const char *const kinds[][2] = {
		{"inner_err", "got IO (-20), want BUSY (-3)"},
		{"inner_ok", "got IO (-20), want OK (0)"},
		{"inner_u64", "18446744073709551615 != 1 ("},
		{"inner_slice", "3 and 3 bytes, from byte 2 on: \"\\x01\" != \"\\x02\""},
		{"inner_str", "\"left\" != \"right\""},
		{"inner_str_null", "NULL != right"},
		{"inner_contains", "\"z\" is not in \"abc\""},
		{"inner_null", "CHECK_NULL"},
		{"inner_abort_returned", "did not abort, exit status 0"},
		{"inner_abort_exited", "did not abort, exit status 3"},
		{"inner_abort_killed", "died by signal 9, not SIGABRT"},
		{"inner_fiber", "4 != 5"},
		{"inner_thread", "6 != 7"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		CHECK_INT_EQ(run_inner(kinds[i][0]), 1);
		CHECK_CONTAINS(output, kinds[i][1]);
		CHECK_NULL(strstr(output, " 0 failed"));
	}
}

static void a_failure_on_a_fiber_does_not_leave_it(void)
{
	CHECK_INT_EQ(run_inner("inner_fiber"), 1);
	CHECK_CONTAINS(output, "fiber went on");
	CHECK_CONTAINS(output, "0 passed, 1 failed\n");
}

static void all_tests_run_after_failures(void)
{
	CHECK_INT_EQ(run_inner(""), 1);
	CHECK_CONTAINS(output, "2 passed, 14 failed\n");
}

static const struct check_test tests[] = {
	CHECK_TEST(passing_tests_exit_with_0),
	CHECK_TEST(no_test_at_all_is_a_failure),
	CHECK_TEST(a_failure_ends_its_test_and_runs_the_teardown),
	CHECK_TEST(every_kind_of_check_can_fail),
	CHECK_TEST(a_failure_on_a_fiber_does_not_leave_it),
	CHECK_TEST(all_tests_run_after_failures),
};

int main(int argc, char **argv)
{
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return 1;
	self[len] = '\0';
	if (argc > 1 && strcmp(argv[1], "--inner") == 0)
		return check_main(inner, sizeof(inner) / sizeof(inner[0]), argc - 1, argv + 1);
	return check_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
