/* The generators yield what their authors' C code does (splitmix64.c and xoshiro256starstar.c at
 * prng.di.unimi.it), from the states that other implementations are tested with too. */
#include "base/random.h"

#include "tests/lib/check.h"

static void splitmix64_is_the_reference(void)
{
	static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
					9817491932198370423u, 4593380528125082431u,
					16408922859458223821u};
	uint64_t state = 1234567;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_U64_EQ(splitmix64(&state), want[i]);
}

static void xoshiro_is_the_reference(void)
{
	static const uint64_t want[] = {11520u,
					0u,
					1509978240u,
					1215971899390074240u,
					1216172134540287360u,
					607988272756665600u,
					16172922978634559625u,
					8476171486693032832u,
					10595114339597558777u,
					2904607092377533576u};
	struct xoshiro x = {{1, 2, 3, 4}};

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_U64_EQ(xoshiro_next(&x), want[i]);
}

static void a_seed_fills_the_state(void)
{
	struct xoshiro x;

	xoshiro_seed(&x, 1234567);
	CHECK_U64_EQ(x.s[0], 6457827717110365317u);
	CHECK_U64_EQ(x.s[1], 3203168211198807973u);
	CHECK_U64_EQ(x.s[2], 9817491932198370423u);
	CHECK_U64_EQ(x.s[3], 4593380528125082431u);
}

static const struct check_test tests[] = {
	CHECK_TEST(splitmix64_is_the_reference),
	CHECK_TEST(xoshiro_is_the_reference),
	CHECK_TEST(a_seed_fills_the_state),
};
CHECK_MAIN(tests)
