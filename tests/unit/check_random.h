/* Random numbers for the tests of the checkers: the seed is all there is. */
#ifndef PAXFS_TESTS_UNIT_CHECK_RANDOM_H
#define PAXFS_TESTS_UNIT_CHECK_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	return splitmix64(&r->state);
}

static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return n > 0 ? rng_next(r) % n : 0;
}

/* A fresh seed a run, printed; SEED=n in the environment repeats it. */
static inline uint64_t rng_fresh_seed(void)
{
	const char *given = getenv("SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);

	printf("seed %llu\n", (unsigned long long)seed);
	return seed;
}

#endif
