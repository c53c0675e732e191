#include "tests/check/history.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void history_init(struct history *h)
{
	*h = (struct history){0};
}

static void mops_free(const struct history_mop *mops, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free((void *)mops[i].list);
	mem_free((void *)mops);
}

void history_release(struct history *h)
{
	for (size_t i = 0; i < h->count; i++) {
		mops_free(h->ops[i].mops, h->ops[i].mop_count);
		mem_free((void *)h->ops[i].list);
	}
	mem_free(h->ops);
	*h = (struct history){0};
}

/* NULL for an empty list. */
static const uint64_t *list_copy(const uint64_t *list, size_t count)
{
	return count > 0 ? mem_must_dup(list, count * sizeof(*list)) : NULL;
}

static const struct history_mop *mops_copy(const struct history_mop *mops, size_t count)
{
	struct history_mop *copy;

	if (count == 0)
		return NULL;
	copy = mem_must_dup(mops, count * sizeof(*mops));
	for (size_t i = 0; i < count; i++) {
		if (copy[i].append)
			copy[i].count = 0;
		copy[i].list = list_copy(mops[i].list, copy[i].count);
	}
	return copy;
}

size_t history_invoke(struct history *h, uint64_t now, const struct history_op *op)
{
	struct history_op *o;

	CHECK(op->kind < HISTORY_KINDS);
	CHECK(now != HISTORY_NEVER);
	if (h->count == h->cap) {
		h->cap = h->cap > 0 ? 2 * h->cap : 64;
		h->ops = mem_must_realloc(h->ops, h->cap * sizeof(*h->ops));
	}
	o = &h->ops[h->count];
	*o = *op;
	o->invoke_ns = now;
	o->return_ns = HISTORY_NEVER;
	o->outcome = HISTORY_UNKNOWN;
	o->result = 0;
	o->mops = mops_copy(op->mops, op->mop_count);
	o->list = NULL;
	o->list_count = 0;
	return h->count++;
}

static bool reads(const struct history_op *op)
{
	for (size_t i = 0; i < op->mop_count; i++)
		if (!op->mops[i].append)
			return true;
	return false;
}

void history_return(struct history *h, size_t id, uint64_t now, enum history_outcome outcome,
		    const struct history_result *res)
{
	struct history_op *o;

	CHECK(id < h->count);
	o = &h->ops[id];
	CHECK(o->return_ns == HISTORY_NEVER);
	CHECK(now >= o->invoke_ns && now != HISTORY_NEVER);
	o->return_ns = now;
	o->outcome = outcome;
	if (o->kind == HISTORY_TXN && outcome == HISTORY_OK && reads(o))
		CHECK(res != NULL && res->mops != NULL); /* what did it read? */
	if (res == NULL)
		return;
	o->result = res->value;
	o->list = list_copy(res->list, res->list_count);
	o->list_count = res->list_count;
	if (res->mops != NULL) {
		mops_free(o->mops, o->mop_count);
		o->mops = mops_copy(res->mops, res->mop_count);
		o->mop_count = res->mop_count;
	}
}

void history_bank(struct history *h, uint64_t accounts, int64_t total, bool negative_ok)
{
	h->has_bank = true;
	h->bank_accounts = accounts;
	h->bank_total = total;
	h->bank_negative_ok = negative_ok;
}
