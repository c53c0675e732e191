#include "tests/lib/sim_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "tests/sim/sim.h"

/* Of the leak checker, when there is one: what a killed process leaves behind is no leak. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));
void __lsan_ignore_object(const void *p) __attribute__((weak));

struct sim_fake sim_fake;

static struct {
	uint64_t random, now, kill_at;
	uint32_t hash;
	uint64_t faults[SIM_FAULT_COUNT];
	jmp_buf dead;
} world;

void sim_fake_reset(uint64_t seed)
{
	sim_fake = (struct sim_fake){0};
	memset(&world, 0, sizeof(world));
	world.random = seed;
}

bool sim_fake_run(void (*fn)(void *arg), void *arg, uint64_t kill_at)
{
	volatile bool killed = true;

	world.kill_at = kill_at != 0 ? sim_fake.sleeps + kill_at : 0;
	if (__lsan_disable != NULL)
		__lsan_disable();
	if (setjmp(world.dead) == 0) {
		fn(arg);
		killed = false;
	}
	if (__lsan_enable != NULL)
		__lsan_enable();
	world.kill_at = 0;
	return killed;
}

void sim_fake_abandon(const void *p)
{
	if (__lsan_ignore_object != NULL)
		__lsan_ignore_object(p);
}

/* ---- sim.h ---- */

uint64_t sim_now(void)
{
	return world.now;
}

uint64_t sim_random(void)
{
	return splitmix64(&world.random);
}

uint64_t sim_below(uint64_t n)
{
	return n == 0 ? 0 : sim_random() % n;
}

uint64_t sim_between(uint64_t min, uint64_t max)
{
	CHECK(min <= max);
	return min + sim_below(max - min + 1);
}

bool sim_chance(uint32_t ppm)
{
	return sim_below(1000000) < ppm;
}

void sim_hash(const void *p, size_t n)
{
	world.hash = crc32c(world.hash, p, n);
}

uint64_t sim_trace_hash(void)
{
	return world.hash;
}

void sim_trace(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sim_hash(line, strlen(line));
}

struct sim_thread *sim_thread_self(void)
{
	return (struct sim_thread *)&world; /* some thread; nobody looks inside */
}

bool sim_thread_is_main(void)
{
	return sim_fake.main_thread;
}

void sim_sleep(uint64_t ns)
{
	void (*on_sleep)(void) = sim_fake.on_sleep;

	CHECK(!sim_fake.main_thread);
	world.now += ns;
	sim_fake.sleeps++;
	sim_fake.on_sleep = NULL;
	if (on_sleep != NULL)
		on_sleep();
	if (world.kill_at != 0 && sim_fake.sleeps >= world.kill_at)
		longjmp(world.dead, 1);
}

void sim_fault_note(enum sim_fault f)
{
	world.faults[f]++;
}

uint64_t sim_fault_count(enum sim_fault f)
{
	return world.faults[f];
}
