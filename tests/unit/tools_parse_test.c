/* Numbers, sizes and seconds on command lines; exit codes. */
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tools/cli.h"

static void numbers(void)
{
	uint64_t v = 77;

	CHECK_TRUE(cli_parse_u64("12", 1, 12, &v));
	CHECK_U64_EQ(v, 12);
	CHECK_TRUE(cli_parse_u64("18446744073709551615", 0, UINT64_MAX, &v));
	static const char *const bad[] = {"", "-1", "+1", " 1", "1x", "13", "0",
					  "18446744073709551616"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_FALSE(cli_parse_u64(bad[i], 1, 12, &v));
}

static void sizes(void)
{
	uint64_t v;

	CHECK_TRUE(cli_parse_size("4096", &v) && v == 4096);
	CHECK_TRUE(cli_parse_size("64K", &v) && v == 65536);
	CHECK_TRUE(cli_parse_size("2G", &v) && v == 2ull << 30);
	CHECK_FALSE(cli_parse_size("2Q", &v));
	CHECK_FALSE(cli_parse_size("2KB", &v));
	CHECK_FALSE(cli_parse_size("", &v));
	CHECK_FALSE(cli_parse_size("99999999999999T", &v));
}

static void seconds(void)
{
	uint64_t v;

	CHECK_TRUE(cli_parse_seconds("1.5", &v) && v == 1500000000);
	CHECK_TRUE(cli_parse_seconds("0", &v) && v == 0);
	CHECK_FALSE(cli_parse_seconds("-1", &v));
	CHECK_FALSE(cli_parse_seconds("1s", &v));
	CHECK_FALSE(cli_parse_seconds("nan", &v));
	CHECK_FALSE(cli_parse_seconds("1e99", &v));
}

static void exit_codes(void)
{
	CHECK_INT_EQ(cli_exit_code(0), CLI_OK);
	CHECK_INT_EQ(cli_exit_code(ERR_NOT_FOUND), CLI_FAILED);
	CHECK_INT_EQ(cli_exit_code(ERR_UNREACHABLE), CLI_UNREACHABLE);
	CHECK_INT_EQ(cli_exit_code(ERR_TIMEOUT), CLI_UNREACHABLE);
	CHECK_INT_EQ(cli_exit_code(ERR_USAGE), CLI_USAGE);
}

static void endpoint_lists(void)
{
	struct msg m = {""};
	char *list = cli_resolve_list("127.0.0.1:1,,localhost:2", &m);

	CHECK_STR_EQ(list, "127.0.0.1:1,127.0.0.1:2");
	mem_free(list);
	CHECK_NULL(cli_resolve_list("", &m));
	CHECK_NULL(cli_resolve_list("nonsense", &m));
	CHECK_TRUE(m.text[0] != '\0');
}

static const struct check_test tests[] = {
	CHECK_TEST(numbers),	CHECK_TEST(sizes),	    CHECK_TEST(seconds),
	CHECK_TEST(exit_codes), CHECK_TEST(endpoint_lists),
};
CHECK_MAIN(tests)
