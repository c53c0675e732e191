#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/msg.h"
#include "tests/lib/check.h"

static const int codes[] = {
#define X(name, number, text) -(number),
	ERR_MAP(X)
#undef X
};

#define CODES (sizeof(codes) / sizeof(codes[0]))

static void every_code_has_its_own_name_and_text(void)
{
	for (size_t i = 0; i < CODES; i++) {
		CHECK_TRUE(codes[i] < 0);
		CHECK_TRUE(strcmp(err_name(codes[i]), "UNKNOWN") != 0);
		CHECK_TRUE(strcmp(err_text(codes[i]), "unknown error") != 0);
		for (size_t k = 0; k < i; k++) {
			CHECK_TRUE(codes[i] != codes[k]);
			CHECK_TRUE(strcmp(err_name(codes[i]), err_name(codes[k])) != 0);
			CHECK_TRUE(strcmp(err_text(codes[i]), err_text(codes[k])) != 0);
		}
	}
}

static void names_and_texts(void)
{
	CHECK_STR_EQ(err_name(0), "OK");
	CHECK_STR_EQ(err_text(0), "ok");
	CHECK_STR_EQ(err_name(ERR_NOT_LEADER), "NOT_LEADER");
	CHECK_STR_EQ(err_text(ERR_NOMEM), "out of memory");
	CHECK_STR_EQ(err_name(-9999), "UNKNOWN");
	CHECK_STR_EQ(err_text(1), "unknown error");
}

static void errno_values_become_codes(void)
{
	CHECK_ERR(err_from_errno(ENOENT), ERR_NOT_FOUND);
	CHECK_ERR(err_from_errno(EEXIST), ERR_EXISTS);
	CHECK_ERR(err_from_errno(ENOSPC), ERR_NOSPACE);
	CHECK_ERR(err_from_errno(EADDRINUSE), ERR_ADDR_IN_USE);
	CHECK_ERR(err_from_errno(ECONNREFUSED), ERR_UNREACHABLE);
	CHECK_ERR(err_from_errno(EAGAIN), ERR_WOULD_BLOCK);
	CHECK_ERR(err_from_errno(ENOTSUP), ERR_UNSUPPORTED);
	CHECK_ERR(err_from_errno(EIO), ERR_IO);
	CHECK_ERR(err_from_errno(ENOTTY), ERR_IO);
	for (int e = 1; e < 200; e++)
		CHECK_TRUE(err_from_errno(e) < 0);
}

static void messages_are_wrapped_on_the_way_up(void)
{
	struct msg m;

	CHECK_ERR(msg_set(&m, ERR_CORRUPT, "bad CRC at %d", 7), ERR_CORRUPT);
	CHECK_STR_EQ(m.text, "bad CRC at 7");
	CHECK_ERR(msg_wrap(&m, ERR_CORRUPT, "segment %d", 3), ERR_CORRUPT);
	CHECK_ERR(msg_wrap(&m, ERR_IO, "open log"), ERR_IO);
	CHECK_STR_EQ(m.text, "open log: segment 3: bad CRC at 7");
	CHECK_ERR(msg_set(&m, ERR_IO, "%s, again", m.text), ERR_IO);
	CHECK_STR_EQ(m.text, "open log: segment 3: bad CRC at 7, again");
	m.text[0] = '\0';
	CHECK_ERR(msg_wrap(&m, ERR_IO, "alone"), ERR_IO);
	CHECK_STR_EQ(m.text, "alone");
}

static void messages_may_be_absent(void)
{
	CHECK_ERR(msg_set(NULL, ERR_IO, "x"), ERR_IO);
	CHECK_ERR(msg_wrap(NULL, ERR_IO, "x"), ERR_IO);
}

static void long_messages_are_cut(void)
{
	char text[2 * MSG_SIZE];
	struct msg m;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	msg_set(&m, ERR_IO, "%s", text);
	CHECK_U64_EQ(strlen(m.text), MSG_SIZE - 1);
	for (int i = 0; i < 3; i++) {
		msg_wrap(&m, ERR_IO, "prefix");
		CHECK_U64_EQ(strlen(m.text), MSG_SIZE - 1);
		CHECK_INT_EQ(strncmp(m.text, "prefix: ", 8), 0);
	}
	msg_set(&m, ERR_IO, "%.*s", MSG_SIZE - 4, text);
	msg_wrap(&m, ERR_IO, "ab");
	CHECK_U64_EQ(strlen(m.text), MSG_SIZE - 1);
}

static void checks_two(void *arg)
{
	CHECK(*(int *)arg == 2);
}

static void check_aborts_only_when_false(void)
{
	int two = 2, three = 3;

	checks_two(&two);
	CHECK_ABORTS(checks_two, &three);
}

static const struct check_test tests[] = {
	CHECK_TEST(every_code_has_its_own_name_and_text),
	CHECK_TEST(names_and_texts),
	CHECK_TEST(errno_values_become_codes),
	CHECK_TEST(messages_are_wrapped_on_the_way_up),
	CHECK_TEST(messages_may_be_absent),
	CHECK_TEST(long_messages_are_cut),
	CHECK_TEST(check_aborts_only_when_false),
};
CHECK_MAIN(tests)
