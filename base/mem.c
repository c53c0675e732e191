#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"

static atomic_ulong fail_countdown;

void mem_fail_nth(unsigned long n)
{
	atomic_store(&fail_countdown, n);
}

static bool must_fail_now(void)
{
	unsigned long n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

	while (n > 0) {
		if (atomic_compare_exchange_weak(&fail_countdown, &n, n - 1))
			return n == 1;
	}
	return false;
}

/* malloc(0) may return NULL, which callers would take for a failure. */
static size_t at_least_one(size_t size)
{
	return size > 0 ? size : 1;
}

static void *or_die(void *p, size_t size)
{
	if (p == NULL)
		logger_die("out of memory: %zu bytes", size);
	return p;
}

void *mem_must_alloc(size_t size)
{
	return or_die(calloc(1, at_least_one(size)), size);
}

void *mem_must_realloc(void *p, size_t size)
{
	return or_die(realloc(p, at_least_one(size)), size);
}

void *mem_must_dup(const void *p, size_t size)
{
	void *copy = or_die(malloc(at_least_one(size)), size);

	if (size > 0)
		memcpy(copy, p, size);
	return copy;
}

char *mem_must_strdup(const char *s)
{
	return mem_must_dup(s, strlen(s) + 1);
}

char *mem_must_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		logger_die("out of memory: formatting a string");
	return text;
}

void *mem_try_alloc(size_t size)
{
	return must_fail_now() ? NULL : malloc(at_least_one(size));
}

void *mem_try_realloc(void *p, size_t size)
{
	return must_fail_now() ? NULL : realloc(p, at_least_one(size));
}

void mem_free(void *p)
{
	free(p);
}
