#include "tests/check/judge.h"

#include "base/mem.h"
#include "tests/check/bank.h"
#include "tests/check/counter.h"
#include "tests/check/serial.h"
#include "tests/check/setcheck.h"

void judge_history(const struct history *h, const struct linear_limits *limits, struct verdict *v)
{
	static void (*const others[])(const struct history *h, struct verdict *v) = {
		serial_check, bank_check, counter_check, set_check};
	struct verdict *one = mem_must_alloc(sizeof(*one));
	size_t checked;

	linear_check(h, limits, v);
	checked = v->checked;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (v->code == VERDICT_WRONG || v->code == VERDICT_UNFIT)
			break;
		others[i](h, one);
		checked += one->checked;
		if (one->code != VERDICT_OK)
			*v = *one;
	}
	v->checked = checked;
	mem_free(one);
}
