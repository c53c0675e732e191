/* Time, chance, order: what happens next in the world, and the record of it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/random.h"
#include "tests/sim/sim_internal.h"

#define TRACE_KEPT 400u /* lines shown after a violation */
#define TRACE_LINE 240u

struct event {
	uint64_t at, order;
	struct sim_thread *thread; /* or NULL: */
	uint64_t generation;	   /* of the thread's wake; another one: it is void */
	void (*fn)(void *ctx);
	void *ctx;
};

static struct {
	uint64_t now, seed, order;
	struct xoshiro random;
	bool stopped;
	struct event *heap;
	size_t count, cap;
	uint64_t hash;
	uint64_t faults[SIM_FAULT_COUNT];
	char (*lines)[TRACE_LINE];
	uint64_t line_count;
} world;

bool sim_trace_on;

/* ---- chance ---- */

uint64_t sim_random(void)
{
	return xoshiro_next(&world.random);
}

__extension__ typedef unsigned __int128 wide;

uint64_t sim_below(uint64_t n)
{
	return n ? (uint64_t)(((wide)sim_random() * n) >> 64) : 0;
}

uint64_t sim_between(uint64_t min, uint64_t max)
{
	CHECK(min <= max);
	return min + sim_below(max - min + 1);
}

bool sim_chance(uint32_t ppm)
{
	return ppm && sim_below(1000000) < ppm;
}

/* ---- what happens next ---- */

static bool earlier(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(const struct event *e)
{
	size_t i = world.count++;

	if (world.count > world.cap) {
		world.cap = world.cap ? world.cap * 2 : 256;
		world.heap = mem_must_realloc(world.heap, world.cap * sizeof(*world.heap));
	}
	for (; i > 0 && earlier(e, &world.heap[(i - 1) / 2]); i = (i - 1) / 2)
		world.heap[i] = world.heap[(i - 1) / 2];
	world.heap[i] = *e;
}

static struct event heap_pop(void)
{
	struct event top = world.heap[0];
	struct event last = world.heap[--world.count];
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < world.count; i = child) {
		if (child + 1 < world.count &&
		    earlier(&world.heap[child + 1], &world.heap[child]))
			child++;
		if (!earlier(&world.heap[child], &last))
			break;
		world.heap[i] = world.heap[child];
	}
	world.heap[i] = last;
	return top;
}

static uint64_t not_past(uint64_t at_ns)
{
	return at_ns > world.now ? at_ns : world.now;
}

void sim_at(uint64_t at_ns, void (*fn)(void *ctx), void *ctx)
{
	heap_push(&(struct event){
		.at = not_past(at_ns), .order = ++world.order, .fn = fn, .ctx = ctx});
}

void sim__schedule(struct sim_thread *t, uint64_t at_ns, uint64_t generation)
{
	heap_push(&(struct event){.at = not_past(at_ns),
				  .order = ++world.order,
				  .thread = t,
				  .generation = generation});
}

static void happen(const struct event *e)
{
	if (!e->thread)
		e->fn(e->ctx);
	else
		sim__thread_due(e->thread, e->generation);
	sim__reap();
}

void sim_run(uint64_t until_ns)
{
	world.stopped = false;
	while (!world.stopped && world.count > 0 && world.heap[0].at <= until_ns) {
		struct event e = heap_pop();

		CHECK(e.at >= world.now);
		world.now = e.at;
		happen(&e);
	}
	if (!world.stopped && world.now < until_ns)
		world.now = until_ns;
}

void sim_stop(void)
{
	world.stopped = true;
}

uint64_t sim_now(void)
{
	return world.now;
}

uint64_t sim_seed(void)
{
	return world.seed;
}

void sim_world_init(uint64_t seed)
{
	CHECK(world.count == 0);
	world.seed = seed;
	world.now = NS_PER_S; /* no clock begins at zero */
	xoshiro_seed(&world.random, seed);
	world.hash = seed;
	world.lines = mem_must_alloc(sizeof(*world.lines) * TRACE_KEPT);
}

/* ---- the record ---- */

static uint64_t rotate_left(uint64_t x, unsigned n)
{
	return (x << n) | (x >> (64 - n));
}

void sim_hash(const void *p, size_t n)
{
	const uint8_t *bytes = p;
	uint64_t h = world.hash;

	for (; n >= 8; n -= 8, bytes += 8) {
		uint64_t word;

		memcpy(&word, bytes, 8);
		h = rotate_left((h ^ word) * 0x9e3779b97f4a7c15u, 29);
	}
	for (; n > 0; n--)
		h = (h ^ *bytes++) * 0x100000001b3u;
	world.hash = h;
}

uint64_t sim_trace_hash(void)
{
	return world.hash;
}

static void put_line(char *line, const char *fmt, va_list ap)
{
	const struct sim_proc *p = sim_self();
	int n = snprintf(line, TRACE_LINE, "%12.6f %-10s ", (double)world.now / NS_PER_S,
			 p ? p->name : "-");

	vsnprintf(line + n, TRACE_LINE - (size_t)n, fmt, ap);
}

void sim_note(const char *fmt, ...)
{
	char line[TRACE_LINE];
	va_list ap;

	if (!sim_trace_on)
		return;
	va_start(ap, fmt);
	put_line(line, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", line);
}

void sim_trace(const char *fmt, ...)
{
	char *line = world.lines[world.line_count++ % TRACE_KEPT];
	va_list ap;

	va_start(ap, fmt);
	put_line(line, fmt, ap);
	va_end(ap);
	sim_hash(line, strlen(line));
	if (sim_trace_on)
		fprintf(stderr, "%s\n", line);
}

static void show_trace(void)
{
	uint64_t i = world.line_count > TRACE_KEPT ? world.line_count - TRACE_KEPT : 0;

	if (sim_trace_on)
		return; /* it is there already */
	for (; i < world.line_count; i++)
		fprintf(stderr, "%s\n", world.lines[i % TRACE_KEPT]);
}

void sim_violation(const char *fmt, ...)
{
	const struct sim_proc *p = sim_self();
	va_list ap;

	show_trace();
	fprintf(stderr, "VIOLATION seed %llu at %.6f s, %s: ", (unsigned long long)world.seed,
		(double)world.now / NS_PER_S, p ? p->name : "world");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	fflush(stderr);
	if (getenv("SIM_ABORT"))
		abort();
	_Exit(SIM_EXIT_VIOLATION);
}

/* ---- faults ---- */

void sim_fault_note(enum sim_fault f)
{
	world.faults[f]++;
}

uint64_t sim_fault_count(enum sim_fault f)
{
	return world.faults[f];
}

const char *sim_fault_text(enum sim_fault f)
{
	static const char *const texts[] = {
#define X(name, text) text,
		SIM_FAULTS(X)
#undef X
	};

	return texts[f];
}
