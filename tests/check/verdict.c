#include "tests/check/verdict.h"

#include <stdarg.h>
#include <stdio.h>

void verdict_init(struct verdict *v)
{
	v->checked = 0;
	verdict_set(v, VERDICT_OK, "ok");
}

void verdict_set(struct verdict *v, enum verdict_code code, const char *name)
{
	v->code = code;
	v->name = name;
	v->len = 0;
	v->text[0] = '\0';
}

void verdict_add(struct verdict *v, const char *fmt, ...)
{
	size_t room = sizeof(v->text) - v->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(v->text + v->len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		v->len += (size_t)n < room ? (size_t)n : room - 1;
}
