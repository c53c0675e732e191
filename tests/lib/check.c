#include "tests/lib/check.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fiber.h"

#define SHOWN_BYTES 48 /* of a slice in a failure message, from the first difference on */

static pthread_t main_thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* CUnit's registry is not thread safe */
static atomic_uint failures;
static unsigned tests_passed, tests_failed;

/* ---- failures ---- */

void check_fail(const struct check_at *at, const char *fmt, ...)
{
	bool can_end_test = pthread_equal(pthread_self(), main_thread) && fiber_self() == NULL;
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s:%d: %s: %s\n", at->file, at->line, at->what, text);
	atomic_fetch_add(&failures, 1);

	/* A fatal failure jumps out of CU_assertImplementation, so the lock covers only the other
	 * kind; the main thread does not fail fatally while another thread is inside. */
	pthread_mutex_lock(&lock);
	CU_assertImplementation(CU_FALSE, (unsigned)at->line, text, at->file, "", CU_FALSE);
	pthread_mutex_unlock(&lock);
	if (can_end_test && CU_get_current_test() != NULL &&
	    CU_get_current_test()->pJumpBuf != NULL)
		longjmp(*CU_get_current_test()->pJumpBuf, 1);
}

unsigned check_failures(void)
{
	return atomic_load(&failures);
}

void check_true(const struct check_at *at, bool got)
{
	if (!got)
		check_fail(at, "does not hold");
}

void check_int_eq(const struct check_at *at, int64_t a, int64_t b)
{
	if (a != b)
		check_fail(at, "%" PRId64 " != %" PRId64 " (%#" PRIx64 ", %#" PRIx64 ")", a, b,
			   (uint64_t)a, (uint64_t)b);
}

void check_u64_eq(const struct check_at *at, uint64_t a, uint64_t b)
{
	if (a != b)
		check_fail(at, "%" PRIu64 " != %" PRIu64 " (%#" PRIx64 ", %#" PRIx64 ")", a, b, a,
			   b);
}

void check_ptr_eq(const struct check_at *at, const void *a, const void *b)
{
	if (a != b)
		check_fail(at, "%p != %p", a, b);
}

void check_err_eq(const struct check_at *at, int got, int want)
{
	if (got != want)
		check_fail(at, "got %s (%d), want %s (%d)", err_name(got), got, err_name(want),
			   want);
}

static size_t first_difference(struct slice a, struct slice b)
{
	size_t i = 0;

	while (i < a.len && i < b.len && a.p[i] == b.p[i])
		i++;
	return i;
}

static const char *slice_print(char *text, size_t size, struct slice s, size_t from)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = from; i < s.len && i < from + SHOWN_BYTES && used + 5 < size; i++) {
		int c = s.p[i];

		if (c >= ' ' && c < 0x7f && c != '\\')
			used += (size_t)snprintf(text + used, size - used, "%c", c);
		else
			used += (size_t)snprintf(text + used, size - used, "\\x%02x", c);
	}
	return text;
}

void check_slice_eq(const struct check_at *at, struct slice a, struct slice b)
{
	char ta[SHOWN_BYTES * 4 + 8], tb[SHOWN_BYTES * 4 + 8];
	size_t from = first_difference(a, b);

	if (!slice_eq(a, b))
		check_fail(at, "%zu and %zu bytes, from byte %zu on: \"%s\" != \"%s\"", a.len,
			   b.len, from, slice_print(ta, sizeof(ta), a, from),
			   slice_print(tb, sizeof(tb), b, from));
}

void check_str_eq(const struct check_at *at, const char *a, const char *b)
{
	if (a == NULL || b == NULL) {
		if (a != b)
			check_fail(at, "%s != %s", a ? a : "NULL", b ? b : "NULL");
	} else if (strcmp(a, b) != 0) {
		check_fail(at, "\"%s\" != \"%s\"", a, b);
	}
}

void check_contains(const struct check_at *at, const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		check_fail(at, "\"%s\" is not in \"%s\"", part, text);
}

/* ---- aborts ---- */

_Noreturn static void child_run(void (*fn)(void *arg), void *arg)
{
	struct rlimit no_core = {0, 0};
	int null = open("/dev/null", O_WRONLY);

	if (null >= 0)
		(void)dup2(null, STDERR_FILENO);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)signal(SIGABRT, SIG_DFL);
	fn(arg);
	_exit(0);
}

void check_aborts(const struct check_at *at, void (*fn)(void *arg), void *arg)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child_run(fn, arg);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		check_fail(at, "fork or waitpid failed");
	else if (!WIFSIGNALED(status))
		check_fail(at, "did not abort, exit status %d", WEXITSTATUS(status));
	else if (WTERMSIG(status) != SIGABRT)
		check_fail(at, "died by signal %d, not SIGABRT", WTERMSIG(status));
}

/* ---- running ---- */

static void on_test_complete(CU_pTest test, CU_pSuite suite, CU_pFailureRecord failure)
{
	(void)suite;
	if (failure == NULL)
		tests_passed++;
	else
		tests_failed++;
	printf("%s %s\n", failure == NULL ? "ok  " : "FAIL", test->pName);
	fflush(stdout);
}

static void fail_now(const char *what)
{
	fprintf(stderr, "CUnit: %s: %s\n", what, CU_get_error_msg());
	exit(1);
}

/* CUnit has setup and teardown per suite, so each test is a suite of its own. */
static void add_test(const struct check_test *t, size_t number)
{
	char name[64];
	CU_pSuite suite;

	(void)snprintf(name, sizeof(name), "%zu", number);
	suite = CU_add_suite_with_setup_and_teardown(name, NULL, NULL, t->setup, t->teardown);
	if (suite == NULL || CU_add_test(suite, t->name, t->run) == NULL)
		fail_now(t->name);
}

static bool is_wanted(const struct check_test *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strstr(t->name, argv[i]) != NULL)
			return true;
	}
	return argc < 2;
}

int check_main(const struct check_test *tests, size_t count, int argc, char **argv)
{
	main_thread = pthread_self();
	if (argc == 2 && strcmp(argv[1], "-l") == 0) {
		for (size_t i = 0; i < count; i++)
			puts(tests[i].name);
		return 0;
	}
	if (CU_initialize_registry() != CUE_SUCCESS)
		fail_now("start");
	for (size_t i = 0; i < count; i++) {
		if (is_wanted(&tests[i], argc, argv))
			add_test(&tests[i], i);
	}
	CU_set_test_complete_handler(on_test_complete);
	CU_set_error_action(CUEA_FAIL);
	if (CU_run_all_tests() != CUE_SUCCESS)
		fprintf(stderr, "CUnit: %s\n", CU_get_error_msg());
	CU_cleanup_registry();
	printf("%u passed, %u failed\n", tests_passed, tests_failed);
	return tests_passed > 0 && tests_failed == 0 ? 0 : 1;
}
