/* Pseudo-random numbers that follow from a seed. Not for secrets. */
#ifndef PAXFS_BASE_RANDOM_H
#define PAXFS_BASE_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014): any @state will do. Also spreads one number over 64 bits: each
 * bit of @state reaches all of the result. */
uint64_t splitmix64(uint64_t *state);

/* xoshiro256** (Blackman, Vigna 2018): for many numbers. All four words 0 is a state that it never
 * leaves. */
struct xoshiro {
	uint64_t s[4];
};

void xoshiro_seed(struct xoshiro *x, uint64_t seed); /* by splitmix64, as its authors advise */
uint64_t xoshiro_next(struct xoshiro *x);

#endif
