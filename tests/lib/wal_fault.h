/* A log device in memory that loses power, tears sectors, flips bits, fails and fills up.
 *
 * Every pwrite_sync is two steps (write, sync) and every create is one; they count from 1. A power
 * cut at a step leaves an arbitrary subset of the sectors of the write that was under way, one of
 * them possibly torn in the middle; from then on the device swallows everything, until
 * wal_fault_reboot(). Safe from several threads.
 */
#ifndef PAXFS_TESTS_LIB_WAL_FAULT_H
#define PAXFS_TESTS_LIB_WAL_FAULT_H

#include <stdbool.h>

#include "wal/wal_device.h"

struct wal_fault;

struct wal_fault *wal_fault_new(uint64_t seed);
struct wal_fault *wal_fault_clone(const struct wal_fault *f, uint64_t seed); /* content only */
void wal_fault_free(struct wal_fault *f);
struct wal_device *wal_fault_device(struct wal_fault *f); /* borrowed from @f */

uint64_t wal_fault_steps(const struct wal_fault *f);	  /* so far, since new or reboot */
void wal_fault_cut_at(struct wal_fault *f, uint64_t step); /* 0: never */
void wal_fault_cut(struct wal_fault *f); /* now, between two writes */
void wal_fault_fail_at(struct wal_fault *f, uint64_t step); /* that step returns ERR_IO */
void wal_fault_fail_from(struct wal_fault *f, uint64_t step); /* that step and all behind it */
bool wal_fault_was_create(const struct wal_fault *f, uint64_t step); /* of the first 4096 steps */
void wal_fault_capacity(struct wal_fault *f, uint64_t bytes); /* create beyond: ERR_NOSPACE */
void wal_fault_no_create(struct wal_fault *f, bool yes); /* ERR_NOSPACE, unforeseen */
void wal_fault_hold(struct wal_fault *f, bool yes); /* writes wait: a slow disk */
void wal_fault_wait_held(struct wal_fault *f);	    /* until one does */
void wal_fault_block(struct wal_fault *f, uint32_t block);
bool wal_fault_dead(struct wal_fault *f);   /* power is off */
void wal_fault_reboot(struct wal_fault *f); /* power is on again, nothing planned */

/* Files, by name order. */
uint32_t wal_fault_count(const struct wal_fault *f);
const char *wal_fault_name(const struct wal_fault *f, uint32_t i);
uint8_t *wal_fault_bytes(struct wal_fault *f, uint32_t i, uint64_t *size); /* the disk itself */
void wal_fault_lose(struct wal_fault *f, uint32_t i);		  /* the file disappears */

#endif
