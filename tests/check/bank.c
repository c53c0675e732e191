#include "tests/check/bank.h"

#include <inttypes.h>

__extension__ typedef __int128 wide; /* no number of 64-bit balances overflows it */

static wide sum_of(const struct history_op *op)
{
	wide sum = 0;

	for (size_t i = 0; i < op->list_count; i++)
		sum += (int64_t)op->list[i];
	return sum;
}

static void bank_wrong(struct verdict *v, const char *name, const struct history_op *op)
{
	char text[1024];

	verdict_set(v, VERDICT_WRONG, name);
	verdict_add(v, "bank: %s\n  %s\n", name, history_op_text(op, text, sizeof(text)));
}

static void check_read(const struct history *h, const struct history_op *op, struct verdict *v)
{
	wide sum = sum_of(op);

	if (op->list_count != h->bank_accounts) {
		bank_wrong(v, "wrong number of accounts", op);
		verdict_add(v, "  there are %" PRIu64 ", the read has %zu\n", h->bank_accounts,
			    op->list_count);
		return;
	}
	if (sum != h->bank_total) {
		bank_wrong(v, "wrong total", op);
		verdict_add(v, "  the total is %" PRId64 "; %s by %" PRIu64 "\n", h->bank_total,
			    sum < h->bank_total ? "too small" : "too big",
			    (uint64_t)(sum < h->bank_total ? h->bank_total - sum
							   : sum - h->bank_total));
		return;
	}
	for (size_t i = 0; i < op->list_count && !h->bank_negative_ok; i++) {
		if ((int64_t)op->list[i] >= 0)
			continue;
		bank_wrong(v, "negative", op);
		verdict_add(v, "  account %zu holds %" PRId64 "\n", i, (int64_t)op->list[i]);
		return;
	}
}

void bank_check(const struct history *h, struct verdict *v)
{
	verdict_init(v);
	for (size_t i = 0; i < h->count && v->code == VERDICT_OK; i++) {
		const struct history_op *op = &h->ops[i];

		if (op->kind != HISTORY_BALANCES || op->outcome != HISTORY_OK)
			continue;
		if (!h->has_bank) {
			verdict_set(v, VERDICT_UNFIT, "unfit");
			verdict_add(v, "bank: balances were read, but nobody said the total\n");
			return;
		}
		v->checked++;
		check_read(h, op, v);
	}
}
