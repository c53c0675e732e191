/* A write or sync that fails is never retried and never ignored: it ends the process. A file that
 * cannot be created only means that there is no room. Each step of a run is made to fail. */
#include <inttypes.h>

#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_fault.h"
#include "tests/lib/wal_fixture.h"

#define STEPS 260u
#define SEED  31u

static struct wal_fault *fault;
static struct wal_fixture f;

static void start(uint64_t fail_at, bool threads)
{
	fault = wal_fault_new(SEED);
	wal_fixture_init(&f, wal_fault_device(fault), SEED);
	f.cfg.inline_io = !threads;
	/* Which step is which differs with threads, so there the disk stays broken. */
	if (threads)
		wal_fault_fail_from(fault, fail_at);
	else
		wal_fault_fail_at(fault, fail_at);
}

static void stop(void)
{
	if (fault == NULL)
		return;
	wal_fixture_release(&f);
	wal_fault_free(fault);
	fault = NULL;
}

static void setup(void)
{
	logger_set_level(LOG_ERROR_);
}

static void teardown(void)
{
	stop();
	logger_set_level(LOG_INFO_);
}

static void run(void)
{
	for (unsigned i = 0; i < STEPS; i++)
		wal_fixture_step(&f);
	wal_submit(f.wal);
}

struct plan {
	uint64_t fail_at;
	bool threads;
};

static void run_to_the_failure(void *arg)
{
	const struct plan *p = arg;

	start(p->fail_at, p->threads);
	if (wal_fixture_open(&f) != 0)
		return; /* told to the caller */
	run();
	wal_fixture_wait(&f, f.appends[f.count - 1].number);
}

static void survives(uint64_t step)
{
	const char *wrong;

	start(step, false);
	CHECK_OK(wal_fixture_open(&f));
	run();
	CHECK_TRUE(wal_fault_steps(fault) > step);
	wal_fixture_close(&f);
	wal_fault_reboot(fault);
	CHECK_OK(wal_fixture_open(&f));
	wrong = wal_fixture_verify(&f);
	if (wrong != NULL)
		CHECK_FAIL("create at step %" PRIu64 " failed: %s", step, wrong);
	stop();
}

static void every_step_fails_once(void)
{
	struct wal_fault *plain;
	uint64_t open_steps, steps;
	unsigned creates = 0, writes = 0;

	start(0, false);
	CHECK_OK(wal_fixture_open(&f));
	open_steps = wal_fault_steps(fault);
	run();
	steps = wal_fault_steps(fault);
	plain = fault;
	wal_fixture_release(&f);
	fault = NULL;
	logger_set_level(LOG_ERROR_ + 1); /* a file that cannot be created is logged */
	for (uint64_t at = open_steps + 1; at <= steps; at++) {
		if (wal_fault_was_create(plain, at)) {
			creates++;
			survives(at);
		} else {
			writes++;
			CHECK_ABORTS(run_to_the_failure, &((struct plan){at, false}));
		}
	}
	wal_fault_free(plain);
	CHECK_TRUE(creates > 3);
	CHECK_TRUE(writes > 100);
}

static void the_writer_thread_ends_the_process_too(void)
{
	for (uint64_t at = 20; at < 60; at += 7)
		CHECK_ABORTS(run_to_the_failure, &((struct plan){at, true}));
}

static void a_failure_while_opening_is_told(void)
{
	for (uint64_t at = 1; at <= 3; at++) {
		start(at, false);
		CHECK_ERR(wal_fixture_open(&f), ERR_IO);
		CHECK_CONTAINS(f.msg.text, "00000001.wal");
		CHECK_CONTAINS(f.msg.text, "was made to fail");
		wal_fault_fail_at(fault, 0);
		CHECK_OK(wal_fixture_open(&f));
		stop();
	}
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, every_step_fails_once),
	CHECK_TEST_WITH(setup, teardown, the_writer_thread_ends_the_process_too),
	CHECK_TEST_WITH(setup, teardown, a_failure_while_opening_is_told),
};

CHECK_MAIN(tests)
