/* Clocks of machines: each runs at its own rate, and may jump. */
#include <time.h>

#include "base/check.h"
#include "tests/sim/sim_internal.h"

#define MILLION 1000000

__extension__ typedef __int128 wide; /* ns times ppm */

uint64_t sim_clock_mono(const struct sim_clock *c)
{
	uint64_t passed = sim_now() - c->ref_ns;

	return c->mono_ns + passed + (uint64_t)((wide)passed * c->rate_ppm / MILLION);
}

uint64_t sim_clock_wall(const struct sim_clock *c)
{
	return sim_clock_mono(c) + (uint64_t)c->wall_offset_ns;
}

uint64_t sim_clock_world(const struct sim_clock *c, uint64_t mono_ns)
{
	uint64_t left, world;

	if (mono_ns <= sim_clock_mono(c))
		return sim_now();
	left = mono_ns - c->mono_ns;
	world = c->ref_ns + (uint64_t)((wide)left * MILLION / (MILLION + c->rate_ppm));
	return world + 1; /* rounded up: a timer must be due when its time has come */
}

static void rebase(struct sim_clock *c)
{
	c->mono_ns = sim_clock_mono(c);
	c->ref_ns = sim_now();
}

static void changed(struct sim_clock *c)
{
	sim__wake_mains(container_of(c, struct sim_machine, clock));
}

void sim_clock_set_rate(struct sim_clock *c, int64_t rate_ppm)
{
	CHECK(rate_ppm > -MILLION);
	rebase(c);
	c->rate_ppm = rate_ppm;
	changed(c);
}

void sim_clock_jump(struct sim_clock *c, int64_t mono_ns, int64_t wall_ns)
{
	CHECK(mono_ns >= 0);
	rebase(c);
	c->mono_ns += (uint64_t)mono_ns;
	c->wall_offset_ns += wall_ns;
	changed(c);
}

/* What the log's statistics read. */
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
	const struct sim_proc *p = sim_self();
	uint64_t ns = sim_now();

	if (p && id == CLOCK_REALTIME)
		ns = sim_clock_wall(&p->machine->clock);
	else if (p)
		ns = sim_clock_mono(&p->machine->clock);
	out->tv_sec = (time_t)(ns / NS_PER_S);
	out->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}
