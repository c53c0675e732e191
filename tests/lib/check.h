/* A thin layer over CUnit for the test binaries.
 *
 *     static void grows(void) { CHECK_INT_EQ(1 + 1, 2); }
 *
 *     static const struct check_test tests[] = {
 *             CHECK_TEST(grows),
 *             CHECK_TEST_WITH(setup, teardown, reads_back),
 *     };
 *     CHECK_MAIN(tests)
 *
 * `binary` runs all tests, `binary WORD...` those whose name contains a WORD, `binary -l` lists
 * them. The last line is `N passed, N failed`; the exit status is 0 only when at least one test
 * ran and none failed.
 *
 * A failed check prints file, line, expression and values, and ends the test (its teardown runs).
 * On a fiber, or on a thread other than the one that runs the tests, it cannot end the test: it
 * counts as failed and goes on. So a check there must not guard what follows it. Every macro
 * evaluates each argument once.
 */
#ifndef PAXFS_TESTS_LIB_CHECK_H
#define PAXFS_TESTS_LIB_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct check_test {
	const char *name;
	void (*run)(void);
	void (*setup)(void);    /* may be NULL */
	void (*teardown)(void); /* may be NULL */
};

#define CHECK_TEST(fn)			     {#fn, fn, NULL, NULL}
#define CHECK_TEST_WITH(setup, teardown, fn) {#fn, fn, setup, teardown}

int check_main(const struct check_test *tests, size_t count, int argc, char **argv);

#define CHECK_MAIN(table)                                                                          \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return check_main(table, sizeof(table) / sizeof((table)[0]), argc, argv);          \
	}

/* Where a check stands in the source. */
struct check_at {
	const char *file;
	int line;
	const char *what;
};

#define CHECK_AT(text) (&(const struct check_at){__FILE__, __LINE__, text})

/* Counts a failure, prints it, and ends the test where it can (see above). */
void check_fail(const struct check_at *at, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void check_true(const struct check_at *at, bool got);
void check_int_eq(const struct check_at *at, int64_t a, int64_t b);
void check_u64_eq(const struct check_at *at, uint64_t a, uint64_t b);
void check_ptr_eq(const struct check_at *at, const void *a, const void *b);
void check_err_eq(const struct check_at *at, int got, int want);
void check_slice_eq(const struct check_at *at, struct slice a, struct slice b);
void check_str_eq(const struct check_at *at, const char *a, const char *b);
void check_contains(const struct check_at *at, const char *text, const char *part);

#define CHECK_FAIL(...)	   check_fail(CHECK_AT("CHECK_FAIL"), __VA_ARGS__)
#define CHECK_TRUE(cond)   check_true(CHECK_AT("CHECK_TRUE(" #cond ")"), (cond))
#define CHECK_FALSE(cond)  check_true(CHECK_AT("CHECK_FALSE(" #cond ")"), !(cond))
#define CHECK_NULL(p)	   check_ptr_eq(CHECK_AT("CHECK_NULL(" #p ")"), p, NULL)
#define CHECK_NOT_NULL(p)  check_true(CHECK_AT("CHECK_NOT_NULL(" #p ")"), (p) != NULL)
#define CHECK_PTR_EQ(a, b) check_ptr_eq(CHECK_AT("CHECK_PTR_EQ(" #a ", " #b ")"), a, b)

/* Signed and unsigned comparison; both print decimal and hexadecimal. */
#define CHECK_INT_EQ(a, b)                                                                         \
	check_int_eq(CHECK_AT("CHECK_INT_EQ(" #a ", " #b ")"), (int64_t)(a), (int64_t)(b))
#define CHECK_U64_EQ(a, b)                                                                         \
	check_u64_eq(CHECK_AT("CHECK_U64_EQ(" #a ", " #b ")"), (uint64_t)(a), (uint64_t)(b))

/* The call returns 0, or the given code (ERR_X); prints the names of the codes. */
#define CHECK_OK(call)	      check_err_eq(CHECK_AT("CHECK_OK(" #call ")"), call, 0)
#define CHECK_ERR(call, code) check_err_eq(CHECK_AT("CHECK_ERR(" #call ", " #code ")"), call, code)

#define CHECK_SLICE_EQ(a, b) check_slice_eq(CHECK_AT("CHECK_SLICE_EQ(" #a ", " #b ")"), a, b)
#define CHECK_MEM_EQ(a, b, len)                                                                    \
	check_slice_eq(CHECK_AT("CHECK_MEM_EQ(" #a ", " #b ", " #len ")"), slice_of(a, len),       \
		       slice_of(b, len))
#define CHECK_STR_EQ(a, b)	   check_str_eq(CHECK_AT("CHECK_STR_EQ(" #a ", " #b ")"), a, b)
#define CHECK_CONTAINS(text, part) check_contains(CHECK_AT("CHECK_CONTAINS"), text, part)

/* fn(arg), run in a child process with stderr silenced, must end it by SIGABRT. */
void check_aborts(const struct check_at *at, void (*fn)(void *arg), void *arg);
#define CHECK_ABORTS(fn, arg) check_aborts(CHECK_AT("CHECK_ABORTS(" #fn ")"), fn, arg)

/* Failures so far, over all tests: for a loop that wants to stop at the first. */
unsigned check_failures(void);

#endif
