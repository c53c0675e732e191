#include "tests/lib/fault_every.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static struct fault running; /* the last run; nth 0: it ended well */

void fault_arm(struct fault *f)
{
	f->armed = !f->fired;
	if (f->armed)
		mem_fail_nth(f->left);
}

void fault_disarm(struct fault *f)
{
	if (!f->armed)
		return;
	f->left = mem_fail_left();
	f->fired = f->left == 0;
	f->armed = false;
	mem_fail_nth(0);
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

void fault_teardown(void)
{
	mem_fail_nth(0);
	mem_count_live(false);
	if (running.nth > 0)
		fprintf(stderr, "... while allocation %lu of `%s` failed\n", running.nth,
			running.name);
	running.nth = 0;
}
