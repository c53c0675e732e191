#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lib/check.h"

static void must_alloc_is_zeroed(void)
{
	static const uint8_t zeros[100];
	uint8_t *p = mem_must_alloc(100);

	CHECK_MEM_EQ(p, zeros, 100);
	mem_free(p);
}

static void empty_requests_give_a_pointer(void)
{
	void *a = mem_must_alloc(0), *d = mem_must_dup(NULL, 0), *t = mem_try_alloc(0);

	CHECK_NOT_NULL(a);
	CHECK_NOT_NULL(d);
	CHECK_NOT_NULL(t);
	a = mem_must_realloc(a, 0);
	t = mem_try_realloc(t, 0);
	CHECK_NOT_NULL(a);
	CHECK_NOT_NULL(t);
	mem_free(a);
	mem_free(d);
	mem_free(t);
	mem_free(NULL);
}

static void copies(void)
{
	char *s = mem_must_strdup("hello"), *f = mem_must_printf("%d-%s", 7, "x");
	char *d = mem_must_dup("a\0b", 3);

	CHECK_STR_EQ(s, "hello");
	CHECK_STR_EQ(f, "7-x");
	CHECK_MEM_EQ(d, "a\0b", 3);
	s = mem_must_realloc(s, 1000);
	CHECK_STR_EQ(s, "hello");
	mem_free(s);
	mem_free(f);
	mem_free(d);
}

static void the_nth_try_fails_and_only_it(void)
{
	for (unsigned long nth = 1; nth <= 5; nth++) {
		mem_fail_nth(nth);
		for (unsigned long i = 1; i <= 6; i++) {
			void *must = mem_must_alloc(8); /* does not count */
			void *p = i % 2 ? mem_try_alloc(8) : mem_try_realloc(NULL, 8);

			CHECK_INT_EQ(p == NULL, i == nth);
			mem_free(p);
			mem_free(must);
		}
	}
	mem_fail_nth(1);
	mem_fail_nth(0);
	for (int i = 0; i < 3; i++) {
		void *p = mem_try_alloc(8);

		CHECK_NOT_NULL(p);
		mem_free(p);
	}
}

static void a_failed_realloc_keeps_the_block(void)
{
	char *p = mem_try_alloc(6);

	memcpy(p, "hello", 6);
	mem_fail_nth(1);
	CHECK_NULL(mem_try_realloc(p, 100));
	CHECK_STR_EQ(p, "hello");
	mem_free(p);
}

static void what_is_left_tells_whether_it_failed(void)
{
	void *p;

	mem_fail_nth(2);
	CHECK_U64_EQ(mem_fail_left(), 2);
	mem_fail_pause(true);
	p = mem_try_alloc(8); /* does not count */
	mem_fail_pause(false);
	CHECK_NOT_NULL(p);
	CHECK_U64_EQ(mem_fail_left(), 2);
	p = mem_try_realloc(p, 16);
	CHECK_NOT_NULL(p);
	CHECK_U64_EQ(mem_fail_left(), 1);
	CHECK_NULL(mem_try_alloc(8));
	CHECK_U64_EQ(mem_fail_left(), 0);
	mem_free(p);
}

static void blocks_are_counted(void)
{
	void *before = mem_try_alloc(1), *a, *b, *c;

	mem_count_live(true);
	CHECK_INT_EQ(mem_live(), 0);
	a = mem_must_alloc(1);
	b = mem_must_strdup("b");
	c = mem_try_realloc(NULL, 1);
	CHECK_INT_EQ(mem_live(), 3);
	c = mem_must_realloc(c, 1000);
	c = mem_try_realloc(c, 2000);
	mem_fail_nth(1);
	CHECK_NULL(mem_try_alloc(1));
	CHECK_INT_EQ(mem_live(), 3);
	mem_free(NULL);
	mem_free(a);
	mem_free(mem_must_printf("%s", "d"));
	CHECK_INT_EQ(mem_live(), 2);
	mem_free(b);
	mem_free(c);
	mem_free(before);
	CHECK_INT_EQ(mem_live(), -1);
	mem_count_live(false);
}

static void dies_at_the_second(void *arg)
{
	(void)arg;
	mem_fail_must_too(true);
	mem_fail_nth(2);
	mem_free(mem_must_alloc(1));
	mem_free(mem_must_dup("x", 1));
}

static void must_may_be_made_to_fail_too(void)
{
	CHECK_ABORTS(dies_at_the_second, NULL);
}

/* Sanitizers end the process themselves on an absurd size. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ABSURD_SIZES 1

static size_t opaque_huge(void)
{
	volatile size_t size = SIZE_MAX / 4; /* hidden from -Walloc-size-larger-than */

	return size;
}

static void asks_too_much(void *arg)
{
	(void)arg;
	mem_free(mem_must_alloc(opaque_huge()));
}

static void grows_too_much(void *arg)
{
	(void)arg;
	mem_free(mem_must_realloc(NULL, opaque_huge()));
}

static void copies_too_much(void *arg)
{
	mem_free(mem_must_dup(arg, opaque_huge()));
}

static void must_ends_the_process(void)
{
	CHECK_ABORTS(asks_too_much, NULL);
	CHECK_ABORTS(grows_too_much, NULL);
	CHECK_ABORTS(copies_too_much, "x");
}

static void try_returns_null(void)
{
	void *p = mem_try_alloc(opaque_huge());

	CHECK_NULL(p);
	mem_free(p);
}
#endif

static const struct check_test tests[] = {
	CHECK_TEST(must_alloc_is_zeroed),
	CHECK_TEST(empty_requests_give_a_pointer),
	CHECK_TEST(copies),
	CHECK_TEST(the_nth_try_fails_and_only_it),
	CHECK_TEST(a_failed_realloc_keeps_the_block),
	CHECK_TEST(what_is_left_tells_whether_it_failed),
	CHECK_TEST(blocks_are_counted),
	CHECK_TEST(must_may_be_made_to_fail_too),
#ifdef ABSURD_SIZES
	CHECK_TEST(must_ends_the_process),
	CHECK_TEST(try_returns_null),
#endif
};
CHECK_MAIN(tests)
