#include "tests/check/order.h"

#include <stdlib.h>

#include "base/mem.h"

int order_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_key(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x < y ? -1 : x > y;
}

const struct history_op **order_by_key(const struct history *h,
				       bool (*wanted)(const struct history_op *op), size_t *count)
{
	const struct history_op **ops = mem_must_alloc((h->count + 1) * sizeof(*ops));

	*count = 0;
	for (size_t i = 0; i < h->count; i++)
		if (wanted(&h->ops[i]))
			ops[(*count)++] = &h->ops[i];
	qsort(ops, *count, sizeof(*ops), by_key);
	return ops;
}
