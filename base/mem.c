#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"

static atomic_ulong fail_countdown;
static atomic_bool fail_must, counting;
static atomic_long live;
static _Thread_local int paused;

void mem_fail_nth(unsigned long n)
{
	atomic_store(&fail_countdown, n);
}

unsigned long mem_fail_left(void)
{
	return atomic_load(&fail_countdown);
}

void mem_fail_must_too(bool yes)
{
	atomic_store(&fail_must, yes);
}

void mem_fail_pause(bool yes)
{
	paused += yes ? 1 : -1;
}

void mem_count_live(bool yes)
{
	atomic_store(&live, 0);
	atomic_store(&counting, yes);
}

long mem_live(void)
{
	return atomic_load(&live);
}

static bool must_fail_now(void)
{
	unsigned long n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

	while (n > 0 && paused == 0) {
		if (atomic_compare_exchange_weak(&fail_countdown, &n, n - 1))
			return n == 1;
	}
	return false;
}

static bool must_die_now(void)
{
	return atomic_load_explicit(&fail_must, memory_order_relaxed) && must_fail_now();
}

static void *counted(void *p)
{
	if (p != NULL && atomic_load_explicit(&counting, memory_order_relaxed))
		atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
	return p;
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
	return counted(or_die(must_die_now() ? NULL : calloc(1, at_least_one(size)), size));
}

void *mem_must_realloc(void *p, size_t size)
{
	void *q = or_die(must_die_now() ? NULL : realloc(p, at_least_one(size)), size);

	return p == NULL ? counted(q) : q;
}

void *mem_must_dup(const void *p, size_t size)
{
	void *copy = or_die(must_die_now() ? NULL : malloc(at_least_one(size)), size);

	if (size > 0)
		memcpy(copy, p, size);
	return counted(copy);
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
	n = must_die_now() ? -1 : vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		logger_die("out of memory: formatting a string");
	return counted(text);
}

void *mem_try_alloc(size_t size)
{
	return counted(must_fail_now() ? NULL : malloc(at_least_one(size)));
}

void *mem_try_realloc(void *p, size_t size)
{
	void *q = must_fail_now() ? NULL : realloc(p, at_least_one(size));

	return p == NULL ? counted(q) : q;
}

void mem_free(void *p)
{
	if (p != NULL && atomic_load_explicit(&counting, memory_order_relaxed))
		atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
	free(p);
}
