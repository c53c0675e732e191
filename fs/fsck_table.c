/* The check's tables: rows in slabs, found by an index of their numbers. A few bytes more a row than the
 * row itself, and no allocation of its own for each: a million inodes are to fit. */
#include "fs/fsck.h"

#define INDEX_FIRST 1024u

void *ck__row_at(const struct ck_table *t, uint32_t i)
{
	return t->slabs[i / CK_SLAB] + i % CK_SLAB * t->row_size;
}

static uint64_t key_at(const struct ck_table *t, uint32_t i)
{
	uint64_t key;

	memcpy(&key, ck__row_at(t, i), sizeof(key));
	return key;
}

/* Numbers differ in their low bits (a counter) and in their high ones (a hash). */
static uint32_t slot_of(const struct ck_table *t, uint64_t key)
{
	return (uint32_t)((key ^ key >> 31) * 0x9e3779b97f4a7c15ull >> 32) & t->mask;
}

/* Its place in the index: of the row with this key, or the free one where it belongs. */
static uint32_t *slot(const struct ck_table *t, uint64_t key)
{
	uint32_t i = slot_of(t, key);

	while (t->index[i] && key_at(t, t->index[i] - 1) != key)
		i = (i + 1) & t->mask;
	return &t->index[i];
}

void *ck__row_find(const struct ck_table *t, uint64_t key)
{
	uint32_t at = t->index ? *slot(t, key) : 0;

	return at ? ck__row_at(t, at - 1) : NULL;
}

static bool grow_index(struct ck_table *t)
{
	uint32_t size = t->index ? (t->mask + 1) * 2 : INDEX_FIRST;
	uint32_t *index = mem_try_alloc(sizeof(*index) * size);

	if (!index)
		return false;
	memset(index, 0, sizeof(*index) * size);
	mem_free(t->index);
	t->index = index;
	t->mask = size - 1;
	for (uint32_t i = 0; i < t->count; i++)
		*slot(t, key_at(t, i)) = i + 1;
	return true;
}

static bool grow_rows(struct ck_table *t)
{
	if (t->slab_count == t->slab_cap) {
		uint32_t cap = t->slab_cap ? t->slab_cap * 2 : 16;
		uint8_t **p = mem_try_realloc(t->slabs, sizeof(*p) * cap);

		if (!p)
			return false;
		t->slabs = p;
		t->slab_cap = cap;
	}
	t->slabs[t->slab_count] = mem_try_alloc(t->row_size * CK_SLAB);
	if (!t->slabs[t->slab_count])
		return false;
	t->slab_count++;
	return true;
}

void *ck__row_get(struct ck_table *t, uint64_t key)
{
	uint8_t *row = ck__row_find(t, key);

	if (row)
		return row;
	if ((!t->index || t->count >= t->mask / 4 * 3) && !grow_index(t))
		return NULL;
	if (t->count == t->slab_count * CK_SLAB && !grow_rows(t))
		return NULL;
	row = ck__row_at(t, t->count);
	memset(row, 0, t->row_size);
	memcpy(row, &key, sizeof(key));
	*slot(t, key) = ++t->count;
	return row;
}

void ck__table_clear(struct ck_table *t)
{
	t->count = 0;
	if (t->index)
		memset(t->index, 0, sizeof(*t->index) * (t->mask + 1));
}

void ck__table_release(struct ck_table *t)
{
	for (uint32_t i = 0; i < t->slab_count; i++)
		mem_free(t->slabs[i]);
	mem_free(t->slabs);
	mem_free(t->index);
	*t = (struct ck_table){.row_size = t->row_size};
}
