#include "tests/lib/fault_every.h"

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/forked.h"

static struct fault running; /* the last run; nth 0: it ended well */

void fault_arm(struct fault *f)
{
	if (!f)
		return;
	f->armed = !f->fired;
	if (f->armed)
		mem_fail_nth(f->left);
}

void fault_disarm(struct fault *f)
{
	if (!f || !f->armed)
		return;
	f->left = mem_fail_left();
	f->fired = f->left == 0;
	f->armed = false;
	mem_fail_nth(0);
}

bool fault_has_fired(const struct fault *f)
{
	return f->fired || (f->armed && mem_fail_left() == 0);
}

bool fault_hit(struct fault *f, int err)
{
	fault_disarm(f);
	if (err != ERR_NOMEM) {
		CHECK_OK(err);
		return false;
	}
	CHECK_TRUE(f->fired);
	return true;
}

/* Did it fail? */
static bool run_once(struct fault *f, fault_fn *fn)
{
	long before = mem_live(), after;

	f->left = f->nth;
	f->armed = f->fired = false;
	running = *f;
	fn(f);
	CHECK_FALSE(f->armed);
	after = mem_live();
	if (after != before)
		CHECK_FAIL("%ld blocks leaked", after - before);
	running.nth = 0;
	return f->fired;
}

unsigned long fault_every_nth(const char *name, fault_fn *fn, void *ctx, unsigned long step)
{
	const char *only = getenv("FAULT_NTH");
	struct fault f = {.name = name, .ctx = ctx, .nth = 1};
	unsigned long n = 0;

	mem_count_live(true);
	if (only) {
		f.nth = strtoul(only, NULL, 10);
		(void)run_once(&f, fn);
		mem_count_live(false);
		return 1;
	}
	for (; run_once(&f, fn); f.nth += step) {
		n++;
		CHECK_TRUE(n < FAULT_RUNS_MAX);
	}
	mem_count_live(false);
	printf("     %-44s %5lu allocations\n", name, n);
	CHECK_TRUE(n > 0);
	return n;
}

unsigned long fault_every(const char *name, fault_fn *fn, void *ctx)
{
	return fault_every_nth(name, fn, ctx, 1);
}

/* ---- runs in processes ---- */

enum { CHILD_FIRED = 40, CHILD_DONE, CHILD_FAILED };

struct child {
	struct fault *f;
	fault_fn *fn;
};

static void child(void *ctx)
{
	const struct child *c = ctx;
	struct rlimit no_core = {0, 0};
	unsigned before = check_failures();
	bool fired;

	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)signal(SIGABRT, SIG_DFL);
	/* A failed check must not go on with the parent's tests in here. */
	if (CU_get_current_test() != NULL)
		CU_get_current_test()->pJumpBuf = NULL;
	fired = run_once(c->f, c->fn);
	_exit(check_failures() > before ? CHILD_FAILED : fired ? CHILD_FIRED : CHILD_DONE);
}

unsigned long fault_every_forked(const char *name, fault_fn *fn, void *ctx, const char *why)
{
	const char *only = getenv("FAULT_NTH");
	struct fault f = {.name = name, .ctx = ctx, .nth = only ? strtoul(only, NULL, 10) : 1};
	struct child c = {&f, fn};
	unsigned long n = 0, died = 0;
	static char text[16384];

	mem_count_live(true);
	for (;; f.nth++) {
		int status = forked(child, &c, text, sizeof(text));

		running = f;
		if (status == CHILD_DONE)
			break;
		n++;
		died += status == -SIGABRT;
		if (status == -SIGABRT && strstr(text, why ? why : "out of memory") == NULL)
			CHECK_FAIL("it ended, and did not say why: %s", text);
		if (status != -SIGABRT && status != CHILD_FIRED)
			CHECK_FAIL("exit status %d: %s", status, text);
		CHECK_TRUE(n < FAULT_RUNS_MAX);
		if (only)
			break;
	}
	running.nth = 0;
	mem_count_live(false);
	printf("     %-44s %5lu allocations, %lu end the process\n", name, n, died);
	CHECK_TRUE(n > 0);
	return n;
}

void fault_teardown(void)
{
	mem_fail_nth(0);
	mem_count_live(false);
	if (running.nth > 0)
		fprintf(stderr, "... while allocation %lu of `%s` failed\n", running.nth,
			running.name);
	running.nth = 0;
}
