/* Chunked memory that is given back all at once: what it holds does not move. */
#ifndef PAXFS_TXN_ARENA_H
#define PAXFS_TXN_ARENA_H

#include "base/slice.h"
#include "txn/txn.h"

struct txn_arena_chunk {
	struct txn_arena_chunk *next;
	size_t used, size;
	_Alignas(16) uint8_t data[];
};

/* 16-byte aligned, not zeroed; NULL without memory. */
void *txn__arena_alloc(struct txn_arena_chunk **arena, size_t size);
/* A copy of @s; p is NULL without memory (and for an empty @s). */
struct slice txn__arena_dup(struct txn_arena_chunk **arena, struct slice s);
void txn__arena_reset(struct txn_arena_chunk **arena); /* keeps one chunk */
void txn__arena_release(struct txn_arena_chunk **arena);

#endif
