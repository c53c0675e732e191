/* Random use against a model, with power cuts: at every step of a run, at random steps of many runs
 * one after another, and with the writer and helper threads. A failure prints seed and step. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "tests/lib/wal_fault.h"
#include "tests/lib/wal_fixture.h"

static struct wal_fault *fault;
static struct wal_fixture f;
static uint64_t seed, cut;

static bool power_is_off(void *ctx)
{
	return wal_fault_dead(ctx);
}

static void start(uint64_t s)
{
	seed = s;
	cut = 0;
	fault = wal_fault_new(s);
	wal_fixture_init(&f, wal_fault_device(fault), s);
	f.power_is_off = power_is_off;
	f.ctx = fault;
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
	logger_set_level(LOG_ERROR_); /* torn tails are cut all the time here */
}

static void teardown(void)
{
	stop();
	logger_set_level(LOG_INFO_);
}

static void fail(const char *what)
{
	CHECK_FAIL("seed %" PRIu64 ", power cut at step %" PRIu64 ": %s", seed, cut, what);
}

static void open_and_verify(void)
{
	const char *wrong;

	if (wal_fixture_open(&f) != 0)
		fail(f.msg.text);
	wrong = wal_fixture_verify(&f);
	if (wrong != NULL)
		fail(wrong);
}

static void run(unsigned steps)
{
	for (unsigned i = 0; i < steps && !wal_fault_dead(fault); i++)
		wal_fixture_step(&f);
}

static void reboot(void)
{
	wal_fixture_close(&f);
	wal_fault_reboot(fault);
}

/* One run with the power cut at step @at; false when the run had fewer steps. */
static bool cut_once(uint64_t s, unsigned steps, uint64_t at)
{
	bool was_cut;

	start(s);
	cut = at;
	wal_fault_cut_at(fault, at);
	if (wal_fixture_open(&f) != 0)
		fail(f.msg.text);
	run(steps);
	wal_fixture_close(&f);
	was_cut = wal_fault_dead(fault);
	wal_fault_reboot(fault);
	open_and_verify();
	run(20);
	reboot();
	open_and_verify();
	stop();
	return was_cut;
}

static void power_cut_at_every_step(void)
{
	for (uint64_t s = 1; s <= 6; s++) {
		uint64_t at = 1;

		while (cut_once(s, 250, at))
			at++;
		CHECK_TRUE(at > 100); /* there was something to cut */
	}
}

/* The first steps after a start are the cut, the seal behind it and the next segment's start. */
static void power_cut_at_every_step_after_a_power_cut(void)
{
	for (uint64_t s = 100; s < 130; s++) {
		for (uint64_t at = 1; at <= 14; at++) {
			start(s);
			cut = at;
			wal_fault_cut_at(fault, 1 + s % 37);
			if (wal_fixture_open(&f) != 0)
				fail(f.msg.text);
			run(300);
			reboot();
			wal_fault_cut_at(fault, at);
			open_and_verify();
			run(60);
			reboot();
			open_and_verify();
			run(20);
			reboot();
			open_and_verify();
			stop();
		}
	}
}

static void life(uint64_t s, bool threads)
{
	start(s);
	f.cfg.inline_io = !threads;
	if (s % 3 == 0)
		wal_fault_block(fault, 4096);
	for (unsigned round = 0; round < 8; round++) {
		cut = 1 + wal_fixture_random(&f, 120);
		if (round % 4 == 3)
			cut = 0; /* a clean stop */
		wal_fault_cut_at(fault, cut);
		open_and_verify();
		run(400);
		wal_fixture_note_synced(&f);
		reboot();
	}
	open_and_verify();
	stop();
}

static uint64_t runs(uint64_t otherwise)
{
	const char *s = getenv("WAL_CRASH_RUNS");

	return s != NULL ? strtoull(s, NULL, 10) : otherwise;
}

static void many_lives(void)
{
	for (uint64_t s = 1000, n = runs(150); n > 0; s++, n--)
		life(s, false);
}

static void many_lives_with_threads(void)
{
	for (uint64_t s = 50000, n = runs(60); n > 0; s++, n--)
		life(s, true);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, power_cut_at_every_step),
	CHECK_TEST_WITH(setup, teardown, power_cut_at_every_step_after_a_power_cut),
	CHECK_TEST_WITH(setup, teardown, many_lives),
	CHECK_TEST_WITH(setup, teardown, many_lives_with_threads),
};

CHECK_MAIN(tests)
