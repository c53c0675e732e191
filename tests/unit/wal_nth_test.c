/* wal: every allocation fails once; on a real directory every file call fails once, or is the last
 * one of its process. A log that was opened holds all that was reported as synced. (What a power cut
 * leaves of a write: wal_crash_test; what a failed write does to a run: wal_fail_test.) */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/forked.h"
#include "tests/lib/scratch.h"
#include "tests/lib/wal_fault.h"
#include "tests/lib/wal_fixture.h"
#include "tests/unit/nth_files.h"

#define STEPS	    120u
#define CHILD_ERROR 33

static struct wal_fixture f;

/* ---- memory ---- */

static struct fault *fault;

/* Linked with --wrap: the fixture comes by here. What it does itself has its memory. */
struct replay {
	wal_replay_fn *fn;
	void *ctx;
};

static int replay_paused(void *ctx, const struct wal_record *r)
{
	const struct replay *p = ctx;
	int err;

	mem_fail_pause(true);
	err = p->fn(p->ctx, r);
	mem_fail_pause(false);
	return err;
}

int __real_wal_open(const struct wal_config *cfg, wal_replay_fn *fn, void *ctx, struct wal **out,
		    struct msg *m);
int __wrap_wal_open(const struct wal_config *cfg, wal_replay_fn *fn, void *ctx, struct wal **out,
		    struct msg *m);
int __wrap_wal_open(const struct wal_config *cfg, wal_replay_fn *fn, void *ctx, struct wal **out,
		    struct msg *m)
{
	struct replay p = {fn, ctx};
	int err;

	fault_arm(fault);
	err = __real_wal_open(cfg, replay_paused, &p, out, m);
	fault_disarm(fault);
	if (err == ERR_NOMEM) { /* told, and nothing was changed */
		CHECK_TRUE(fault && fault->fired);
		CHECK_TRUE(m->text[0] != '\0');
		err = __real_wal_open(cfg, replay_paused, &p, out, m);
	}
	return err;
}

FAULT_WRAP_RESULT(fault, uint64_t, wal_append, (struct wal * w, const struct wal_record *r), (w, r))
FAULT_WRAP(fault, wal_submit, (struct wal * w), (w))
FAULT_WRAP(fault, wal_truncate, (struct wal * w, uint32_t group, uint64_t slot), (w, group, slot))

int __real_wal_read(struct wal *w, uint32_t group, uint64_t slot, uint64_t *ballot,
		    struct buf *payload);
int __wrap_wal_read(struct wal *w, uint32_t group, uint64_t slot, uint64_t *ballot,
		    struct buf *payload);
int __wrap_wal_read(struct wal *w, uint32_t group, uint64_t slot, uint64_t *ballot,
		    struct buf *payload)
{
	int err;

	fault_arm(fault);
	err = __real_wal_read(w, group, slot, ballot, payload);
	fault_disarm(fault);
	if (err == ERR_NOMEM) {
		CHECK_TRUE(fault && fault->fired);
		err = __real_wal_read(w, group, slot, ballot, payload);
	}
	return err;
}

static void open_log(void)
{
	const char *wrong;

	CHECK_OK(wal_fixture_open(&f));
	wrong = wal_fixture_verify(&f); /* reads everything back, too */
	if (wrong)
		CHECK_FAIL("%s", wrong);
}

static void without_memory(struct fault *the_fault)
{
	struct wal_fault *disk = wal_fault_new(5);

	wal_fixture_init(&f, wal_fault_device(disk), 5);
	fault = the_fault;
	open_log();
	for (unsigned i = 0; i < STEPS; i++)
		wal_fixture_step(&f);
	wal_fixture_note_synced(&f);
	wal_fixture_close(&f);
	open_log();
	fault = NULL;
	wal_fixture_release(&f);
	wal_fault_free(disk);
}

static void allocations(void)
{
	fault_every_forked("log: open, append, read, reopen", without_memory, NULL, NULL);
}

/* ---- files ---- */

static char dir[64];

/* What the child said was synced, for the parent: it may die at any moment. */
static struct shared {
	size_t synced; /* appends */
	bool opened;
} *shared;

static void setup(void)
{
	logger_set_level(LOG_ERROR_);
	scratch_make(dir, sizeof(dir), "nthw");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK_TRUE(shared != MAP_FAILED);
}

static void teardown(void)
{
	(void)nth_files_disarm();
	fault_teardown();
	scratch_remove(dir);
	munmap(shared, sizeof(*shared));
	logger_set_level(LOG_INFO_);
}

/* The same appends each time: the seed says which. */
static void run(struct wal_fixture *x)
{
	for (unsigned i = 0; i < STEPS; i++) {
		wal_fixture_step(x);
		wal_fixture_note_synced(x);
		for (size_t k = shared->synced; k < x->count && x->appends[k].synced; k++)
			shared->synced = k + 1;
	}
}

struct point {
	unsigned long nth;
	int how;
};

static void child(void *ctx)
{
	const struct point *at = ctx;
	struct rlimit no_core = {0, 0};
	struct wal_device *device;
	struct msg m = {""};
	unsigned long calls;

	(void)setrlimit(RLIMIT_CORE, &no_core);
	nth_files_arm(dir, at->nth, at->how, false);
	if (wal_device_dir(dir, &device, &m) != 0) {
		fprintf(stderr, "%s\n", m.text);
		_exit(CHILD_ERROR);
	}
	wal_fixture_init(&f, device, 9);
	if (wal_fixture_open(&f) != 0) {
		fprintf(stderr, "%s\n", f.msg.text);
		_exit(CHILD_ERROR);
	}
	shared->opened = true;
	run(&f);
	wal_fixture_close(&f);
	calls = nth_files_disarm();
	_exit(calls >= at->nth ? 0 : 1);
}

static char output[8192];

static int run_child(unsigned long nth, int how)
{
	struct point at = {nth, how};

	*shared = (struct shared){0};
	return forked(child, &at, output, sizeof(output));
}

/* How many of the first appends are there. */
static size_t found;

static int count_entry(void *ctx, const struct wal_record *r)
{
	(void)ctx;
	found += r->type == WAL_ENTRY || r->type == WAL_PROMISE;
	return 0;
}

/* The model makes the same appends in memory, without a fault: what the child had synced is compared
 * with what a start finds. */
static void verify(void)
{
	struct wal_device *device;
	struct wal_config cfg;
	struct wal_fault *disk = wal_fault_new(9);
	struct wal_fixture model;
	struct msg m = {""};
	struct wal *w = NULL;
	struct buf got = BUF_INIT;

	wal_fixture_init(&model, wal_fault_device(disk), 9);
	CHECK_OK(wal_fixture_open(&model));
	for (unsigned i = 0; i < STEPS; i++)
		wal_fixture_step(&model);
	CHECK_OK(wal_device_dir(dir, &device, &m));
	cfg = model.cfg;
	cfg.device = device;
	cfg.on_synced = NULL;
	found = 0;
	if (wal_open(&cfg, count_entry, NULL, &w, &m) != 0)
		CHECK_FAIL("open afterwards: %s", m.text);
	for (size_t i = 0; i < shared->synced; i++) {
		const struct wal_fixture_append *a = &model.appends[i];
		uint64_t ballot;
		int err;

		if (a->r.type != WAL_ENTRY || a->r.slot < model.mark[a->r.group])
			continue; /* may have been truncated */
		err = wal_read(w, a->r.group, a->r.slot, &ballot, &got);
		if (err || ballot < a->r.ballot)
			CHECK_FAIL("append %zu of %zu is lost: %s", i, shared->synced, err_name(err));
	}
	buf_release(&got);
	wal_close(w);
	wal_device_free(device);
	wal_fixture_release(&model);
	wal_fault_free(disk);
}

static void every_call(const char *name, int how)
{
	unsigned long nth = 1, refused = 0, ended = 0, unnoticed = 0;

	for (;; nth++) {
		int status;

		scratch_empty(dir);
		status = run_child(nth, how);
		verify();
		if (status == 1) /* there was no such call */
			break;
		if (how == NTH_DIE)
			CHECK_INT_EQ(status, NTH_DEAD_STATUS);
		else if (status != 0 && status != CHILD_ERROR && status != -SIGABRT)
			CHECK_FAIL("call %lu: status %d: %s", nth, status, output);
		if (status == CHILD_ERROR || status == -SIGABRT)
			CHECK_CONTAINS(output, dir);
		CHECK_TRUE(status != CHILD_ERROR || !shared->opened);
		refused += status == CHILD_ERROR;
		ended += status == -SIGABRT;
		unnoticed += status == 0;
		CHECK_TRUE(nth < FAULT_RUNS_MAX);
	}
	printf("     log in a directory: %-7s %4lu calls, %lu errors, %lu end it, %lu no harm\n", name,
	       nth - 1, refused, ended, unnoticed);
	CHECK_TRUE(nth > 20);
}

static void io_errors(void)
{
	every_call("EIO", EIO);
}

static void a_full_disk(void)
{
	every_call("ENOSPC", ENOSPC);
}

static void deaths(void)
{
	every_call("death", NTH_DIE);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, allocations),
	CHECK_TEST_WITH(setup, teardown, io_errors),
	CHECK_TEST_WITH(setup, teardown, a_full_disk),
	CHECK_TEST_WITH(setup, teardown, deaths),
};
CHECK_MAIN(tests)
