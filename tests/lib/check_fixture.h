/* What the tests of tests/check/ share: a history, and what a checker says about it. */
#ifndef PAXFS_TESTS_LIB_CHECK_FIXTURE_H
#define PAXFS_TESTS_LIB_CHECK_FIXTURE_H

#include "tests/check/history.h"
#include "tests/check/verdict.h"

/* Of the test that runs: binaries have one thread. */
struct chf {
	struct history h;
	struct verdict v;
	void *states; /* of chf_some_order(), one behind the other */
	size_t states_size;
};

extern struct chf chf;

void chf_setup(void);
void chf_teardown(void);
void chf_start_over(void); /* an empty history */

/* The history becomes that of @lines (without the first one, which says what the file is). */
void chf_text(const char *lines);

/* Is there an order of the operations, at most 32, in which each can come next? All are tried: no
 * cleverness that a checker could share. Failed ones are left out, unknown ones may be, and real time
 * is kept. The state has @size bytes, and is @first before them; @step changes it by an operation, or
 * says false. */
bool chf_some_order(bool (*step)(const struct history_op *op, void *state), const void *first,
		    size_t size);

/* All operations, on stderr: before a check that fails. */
void chf_show(void);

/* What was judged last is right; or is @name, and @part stands in the report. */
void chf_accepted(void);
void chf_refused(const char *name, const char *part);

#endif
