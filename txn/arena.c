#include "txn/arena.h"

#include "base/check.h"
#include "base/mem.h"

#define CHUNK_SIZE 4000u
#define ALIGNMENT  16u

static struct txn_arena_chunk *chunk_new(size_t size)
{
	struct txn_arena_chunk *c = mem_try_alloc(sizeof(*c) + size);

	if (!c)
		return NULL;
	c->next = NULL;
	c->used = 0;
	c->size = size;
	return c;
}

void *txn__arena_alloc(struct txn_arena_chunk **arena, size_t size)
{
	struct txn_arena_chunk *c = *arena;
	size_t need = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

	if (need < size)
		return NULL;
	if (!c || c->size - c->used < need) {
		c = chunk_new(need > CHUNK_SIZE ? need : CHUNK_SIZE);
		if (!c)
			return NULL;
		c->next = *arena;
		*arena = c;
	}
	c->used += need;
	CHECK(c->used <= c->size);
	return c->data + c->used - need;
}

struct slice txn__arena_dup(struct txn_arena_chunk **arena, struct slice s)
{
	uint8_t *p;

	if (s.len == 0)
		return (struct slice){0};
	p = txn__arena_alloc(arena, s.len);
	if (!p)
		return (struct slice){0};
	memcpy(p, s.p, s.len);
	return slice_of(p, s.len);
}

void txn__arena_reset(struct txn_arena_chunk **arena)
{
	struct txn_arena_chunk *keep = *arena;

	if (!keep)
		return;
	txn__arena_release(&keep->next);
	keep->used = 0;
	if (keep->size > CHUNK_SIZE)
		txn__arena_release(arena); /* an unusually large one */
}

void txn__arena_release(struct txn_arena_chunk **arena)
{
	struct txn_arena_chunk *c = *arena, *next;

	for (; c; c = next) {
		next = c->next;
		mem_free(c);
	}
	*arena = NULL;
}
