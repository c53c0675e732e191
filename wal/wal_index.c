#include "wal/wal_index.h"

#include <uthash.h>
#include <bsd/sys/tree.h>

#include "base/check.h"
#include "base/mem.h"

/* Slots are dense but for jumps (a snapshot was installed), so entries are kept in pages of
 * consecutive slots, and only pages with entries exist. */
#define PAGE_SLOTS 128u

struct entry {
	uint64_t ballot;
	struct wal_place at; /* at.segment 0: no entry */
};

struct page {
	RB_ENTRY(page) node;
	uint64_t number; /* slot / PAGE_SLOTS */
	uint32_t used;
	struct entry entries[PAGE_SLOTS];
};

RB_HEAD(page_tree, page);

struct wal_index_group {
	uint32_t id;
	uint64_t mark;
	uint64_t promise;
	struct wal_place mark_at, promise_at;
	struct page_tree pages;
	struct page *last; /* most recently used page, or NULL */
	UT_hash_handle hh;
};

static int page_cmp(const struct page *a, const struct page *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

RB_GENERATE_INTERNAL(page_tree, page, node, page_cmp, __attribute__((unused)) static)

void wal_index_init(struct wal_index *x, void (*count)(void *, const struct wal_place *, bool),
		    void *ctx)
{
	*x = (struct wal_index){.count = count, .ctx = ctx};
}

static void page_drop(struct wal_index_group *g, struct page *p)
{
	if (g->last == p)
		g->last = NULL;
	RB_REMOVE(page_tree, &g->pages, p);
	mem_free(p);
}

void wal_index_release(struct wal_index *x)
{
	struct wal_index_group *g, *next;
	struct page *p;

	HASH_ITER(hh, x->groups, g, next) {
		while ((p = RB_MIN(page_tree, &g->pages)) != NULL)
			page_drop(g, p);
		HASH_DEL(x->groups, g);
		mem_free(g);
	}
}

static struct wal_index_group *group_find(const struct wal_index *x, uint32_t id)
{
	struct wal_index_group *g;

	HASH_FIND(hh, x->groups, &id, sizeof(id), g);
	return g;
}

static struct wal_index_group *group_get(struct wal_index *x, uint32_t id)
{
	struct wal_index_group *g = group_find(x, id);

	if (g != NULL)
		return g;
	g = mem_must_alloc(sizeof(*g));
	g->id = id;
	RB_INIT(&g->pages);
	HASH_ADD(hh, x->groups, id, sizeof(g->id), g);
	return g;
}

static struct page *page_find(struct wal_index_group *g, uint64_t slot)
{
	struct page key = {.number = slot / PAGE_SLOTS};

	if (g->last == NULL || g->last->number != key.number) {
		struct page *p = RB_FIND(page_tree, &g->pages, &key);

		if (p != NULL)
			g->last = p;
		return p;
	}
	return g->last;
}

static struct page *page_get(struct wal_index_group *g, uint64_t slot)
{
	struct page *p = page_find(g, slot);

	if (p != NULL)
		return p;
	p = mem_must_alloc(sizeof(*p));
	p->number = slot / PAGE_SLOTS;
	RB_INSERT(page_tree, &g->pages, p);
	g->last = p;
	return p;
}

/* @kept now holds a live record at @at instead of what it held. */
static void supersede(struct wal_index *x, struct wal_place *kept, const struct wal_place *at)
{
	x->count(x->ctx, at, true);
	if (kept->segment != 0)
		x->count(x->ctx, kept, false);
	*kept = *at;
}

static void entry_add(struct wal_index *x, struct wal_index_group *g, const struct wal_record *r,
		      const struct wal_place *at)
{
	struct page *p;
	struct entry *e;

	if (r->slot < g->mark)
		return;
	p = page_get(g, r->slot);
	e = &p->entries[r->slot % PAGE_SLOTS];
	if (e->at.segment != 0 && r->ballot < e->ballot)
		return;
	if (e->at.segment == 0)
		p->used++;
	e->ballot = r->ballot;
	supersede(x, &e->at, at);
}

static void page_cut(struct wal_index *x, struct page *p, uint64_t slot)
{
	for (uint32_t i = 0; i < PAGE_SLOTS && p->number * PAGE_SLOTS + i < slot; i++) {
		struct entry *e = &p->entries[i];

		if (e->at.segment == 0)
			continue;
		x->count(x->ctx, &e->at, false);
		*e = (struct entry){0};
		p->used--;
	}
}

static void mark_add(struct wal_index *x, struct wal_index_group *g, const struct wal_record *r,
		     const struct wal_place *at)
{
	struct page *p, *next;

	if (r->slot < g->mark)
		return;
	g->mark = r->slot;
	supersede(x, &g->mark_at, at);
	for (p = RB_MIN(page_tree, &g->pages); p != NULL; p = next) {
		if (p->number * PAGE_SLOTS >= r->slot)
			break;
		next = RB_NEXT(page_tree, &g->pages, p);
		page_cut(x, p, r->slot);
		if (p->used == 0)
			page_drop(g, p);
	}
}

void wal_index_add(struct wal_index *x, const struct wal_record *r, const struct wal_place *at)
{
	struct wal_index_group *g = group_get(x, r->group);

	CHECK(at->segment != 0);
	switch (r->type) {
	case WAL_PROMISE:
		if (g->promise_at.segment != 0 && r->ballot < g->promise)
			return;
		g->promise = r->ballot;
		supersede(x, &g->promise_at, at);
		return;
	case WAL_ENTRY:
		entry_add(x, g, r, at);
		return;
	case WAL_MARK:
		mark_add(x, g, r, at);
		return;
	}
	CHECK(!"a record type of the log's users");
}

static bool same_place(const struct wal_place *a, const struct wal_place *b)
{
	return a->segment == b->segment && a->offset == b->offset;
}

bool wal_index_is_live(const struct wal_index *x, const struct wal_record *r,
		       const struct wal_place *at)
{
	struct wal_index_group *g = group_find(x, r->group);
	struct wal_place found;
	uint64_t ballot;

	if (g == NULL)
		return false;
	switch (r->type) {
	case WAL_PROMISE:
		return same_place(&g->promise_at, at);
	case WAL_MARK:
		return same_place(&g->mark_at, at);
	case WAL_ENTRY:
		return wal_index_find(x, r->group, r->slot, &ballot, &found) &&
		       same_place(&found, at);
	}
	return false;
}

bool wal_index_find(const struct wal_index *x, uint32_t group, uint64_t slot, uint64_t *ballot,
		    struct wal_place *at)
{
	struct wal_index_group *g = group_find(x, group);
	struct page *p = g != NULL ? page_find(g, slot) : NULL;
	const struct entry *e;

	if (p == NULL)
		return false;
	e = &p->entries[slot % PAGE_SLOTS];
	if (e->at.segment == 0)
		return false;
	*ballot = e->ballot;
	*at = e->at;
	return true;
}

uint64_t wal_index_mark(const struct wal_index *x, uint32_t group)
{
	const struct wal_index_group *g = group_find(x, group);

	return g != NULL ? g->mark : 0;
}
