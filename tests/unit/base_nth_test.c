/* base: every allocation fails once. What failed leaves things as they were, and works again. */
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/fiber.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"

/* ---- buffers ---- */

struct piece {
	const char *name;
	void (*add)(struct buf *b);
};

static uint8_t big[5000];

static void add_bytes(struct buf *b)
{
	buf_add(b, big, sizeof(big));
}

static void add_slice(struct buf *b)
{
	buf_add_slice(b, slice_of(big, sizeof(big)));
}

static void add_zeros(struct buf *b)
{
	buf_add_zeros(b, sizeof(big));
}

static void add_numbers(struct buf *b)
{
	for (unsigned i = 0; i < 400; i++) {
		buf_add_u8(b, 1);
		buf_add_be16(b, 2);
		buf_add_be32(b, 3);
		buf_add_be64(b, 4);
	}
}

static void add_by_resize(struct buf *b)
{
	buf_resize(b, b->len + sizeof(big));
}

static void encode(struct buf *b)
{
	for (unsigned i = 0; i < 60; i++) {
		enc_u64(b, UINT64_MAX - i);
		enc_i64(b, -1000000 - (int64_t)i);
		enc_bool(b, true);
		enc_bytes(b, slice_of(big, 70));
		enc_str(b, "text");
	}
}

static const struct piece pieces[] = {
	{"buf: bytes", add_bytes},	   {"buf: slice", add_slice},
	{"buf: zeros", add_zeros},	   {"buf: numbers", add_numbers},
	{"buf: resize", add_by_resize}, {"codec: encode", encode},
};

static void appends(struct fault *f)
{
	const struct piece *p = f->ctx;
	struct buf b = BUF_INIT, want = BUF_INIT;
	size_t len;

	buf_add(&want, "head", 4);
	p->add(&want);
	buf_add(&b, "head", 4);
	fault_arm(f);
	p->add(&b);
	fault_disarm(f);
	CHECK_INT_EQ(buf_ok(&b), !f->fired);
	if (f->fired) {
		/* A prefix of it, and deaf from then on. */
		CHECK_TRUE(b.len >= 4 && b.len < want.len);
		CHECK_MEM_EQ(b.data, want.data, b.len);
		len = b.len;
		buf_add_u8(&b, 1);
		buf_resize(&b, b.len + 1);
		CHECK_U64_EQ(b.len, len);
		CHECK_FALSE(buf_ok(&b));
		buf_reset(&b);
		CHECK_TRUE(buf_ok(&b));
		buf_add(&b, "head", 4);
		p->add(&b);
	}
	CHECK_TRUE(buf_ok(&b));
	CHECK_SLICE_EQ(buf_slice(&b), buf_slice(&want));
	buf_release(&b);
	buf_release(&want);
}

static void buffers_append_all_or_a_prefix(void)
{
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		fault_every(pieces[i].name, appends, (void *)&pieces[i]);
}

static void sets_and_reserves(struct fault *f)
{
	struct buf b = BUF_INIT;
	int err;

	buf_add(&b, "old", 3);
	fault_arm(f);
	err = buf_reserve(&b, 1000);
	if (fault_hit(f, err)) {
		CHECK_SLICE_EQ(buf_slice(&b), slice_str("old"));
		CHECK_TRUE(buf_ok(&b)); /* asking is no append */
	}
	fault_arm(f);
	err = buf_set(&b, slice_of(big, sizeof(big)));
	if (fault_hit(f, err))
		CHECK_OK(buf_set(&b, slice_of(big, sizeof(big))));
	CHECK_MEM_EQ(b.data, big, sizeof(big));
	buf_release(&b);
}

static void buffers_are_set_or_say_so(void)
{
	fault_every("buf: set, reserve", sets_and_reserves, NULL);
}

/* A decoder allocates nothing, so it cannot fail that way. */
static void decoding_needs_no_memory(void)
{
	struct fault f = {.name = "decode", .nth = 1, .left = 1};
	struct buf b = BUF_INIT;
	struct dec d;

	encode(&b);
	fault_arm(&f);
	dec_init(&d, buf_slice(&b));
	for (unsigned i = 0; i < 60; i++) {
		CHECK_U64_EQ(dec_u64(&d), UINT64_MAX - i);
		CHECK_INT_EQ(dec_i64(&d), -1000000 - (int64_t)i);
		CHECK_TRUE(dec_bool(&d));
		CHECK_SLICE_EQ(dec_bytes(&d, 70), slice_of(big, 70));
		CHECK_SLICE_EQ(dec_bytes(&d, 70), slice_str("text"));
	}
	CHECK_OK(dec_end(&d));
	fault_disarm(&f);
	CHECK_FALSE(f.fired);
	buf_release(&b);
}

/* ---- fibers ---- */

static uint64_t no_time(struct env *env)
{
	(void)env;
	return 0;
}

static void count_up(void *arg)
{
	unsigned *n = arg;

	fiber_yield();
	(*n)++;
}

static void fibers_start(struct fault *f)
{
	struct env env = {.mono_ns = no_time, .wall_ns = no_time};
	struct fiber_sched *s = fiber_sched_new(&env, NULL, NULL);
	unsigned n = 0, started = 0;

	for (unsigned i = 0; i < 5; i++) {
		int err;

		fault_arm(f);
		err = fiber_start(s, count_up, &n);
		if (fault_hit(f, err))
			err = fiber_start(s, count_up, &n);
		started += err == 0;
		CHECK_U64_EQ(fiber_count(s), started);
	}
	fault_arm(f);
	fiber_sched_run(s);
	fault_disarm(f);
	CHECK_INT_EQ(n, 5);
	CHECK_U64_EQ(fiber_count(s), 0);
	fiber_sched_free(s);
}

static void a_fiber_starts_or_does_not(void)
{
	fault_every("fiber: start", fibers_start, NULL);
}

/* ---- the harness itself ---- */

static unsigned long runs;

static void three(struct fault *f)
{
	struct buf b[3] = {BUF_INIT, BUF_INIT, BUF_INIT};

	runs++;
	for (unsigned i = 0; i < 3; i++) {
		fault_arm(f);
		buf_add_u8(&b[i], 1);
		fault_disarm(f);
		CHECK_INT_EQ(buf_ok(&b[i]), f->nth != i + 1);
	}
	CHECK_INT_EQ(f->fired, f->nth <= 3);
	for (unsigned i = 0; i < 3; i++)
		buf_release(&b[i]);
}

static void every_allocation_has_its_turn(void)
{
	runs = 0;
	CHECK_U64_EQ(fault_every("harness", three, NULL), 3);
	CHECK_U64_EQ(runs, 4);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, fault_teardown, every_allocation_has_its_turn),
	CHECK_TEST_WITH(NULL, fault_teardown, buffers_append_all_or_a_prefix),
	CHECK_TEST_WITH(NULL, fault_teardown, buffers_are_set_or_say_so),
	CHECK_TEST_WITH(NULL, fault_teardown, decoding_needs_no_memory),
	CHECK_TEST_WITH(NULL, fault_teardown, a_fiber_starts_or_does_not),
};
CHECK_MAIN(tests)
