#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "tests/lib/check.h"

static char dir[64], path[128];

static void setup(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/paxfs-logger-XXXXXX");
	CHECK_NOT_NULL(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	logger_set_level(LOG_INFO_);
	logger_set_tag(NULL);
	CHECK_OK(logger_open(path, NULL));
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
}

/* The whole log; freed by the caller. */
static char *log_text(void)
{
	FILE *f = fopen(path, "r");
	size_t size = 1 << 20, len;
	char *text = mem_must_alloc(size);

	CHECK_NOT_NULL(f);
	len = fread(text, 1, size - 1, f);
	text[len] = '\0';
	fclose(f);
	return text;
}

static unsigned count_of(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
		n++;
	return n;
}

static void a_line_has_time_level_tag_and_text(void)
{
	unsigned year, month, day, hour, minute, second, us;
	int end = 0;
	char *text;

	logger_set_tag("node=2");
	log_warn("group=%d: leader %d silent", 3, 1);
	text = log_text();
	CHECK_INT_EQ(sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u.%6uZ%n", &year, &month, &day, &hour,
			    &minute, &second, &us, &end),
		     7);
	CHECK_INT_EQ(end, (int)strlen("2026-11-21T06:30:00.123456Z"));
	CHECK_TRUE(year >= 2024 && month >= 1 && month <= 12);
	CHECK_STR_EQ(text + end, " warn  node=2 group=3: leader 1 silent\n");
	mem_free(text);
}

static void levels_below_the_minimum_are_dropped(void)
{
	enum log_level level = LOG_ERROR_;
	char *text;

	log_debug("one");
	log_info("two");
	logger_set_level(LOG_ERROR_);
	log_warn("three");
	log_error("four");
	CHECK_OK(logger_level_parse("debug", &level));
	logger_set_level(level);
	log_debug("five");
	text = log_text();
	CHECK_NULL(strstr(text, "one"));
	CHECK_CONTAINS(text, "info  two\n");
	CHECK_NULL(strstr(text, "three"));
	CHECK_CONTAINS(text, "error four\n");
	CHECK_CONTAINS(text, "debug five\n");
	mem_free(text);
}

static void level_names_are_parsed(void)
{
	enum log_level level = LOG_DEBUG_;

	CHECK_OK(logger_level_parse("info", &level));
	CHECK_INT_EQ(level, LOG_INFO_);
	CHECK_OK(logger_level_parse("warn", &level));
	CHECK_INT_EQ(level, LOG_WARN_);
	CHECK_OK(logger_level_parse("error", &level));
	CHECK_INT_EQ(level, LOG_ERROR_);
	CHECK_ERR(logger_level_parse("loud", &level), ERR_INVAL);
	CHECK_ERR(logger_level_parse("", &level), ERR_INVAL);
	CHECK_INT_EQ(level, LOG_ERROR_); /* untouched on failure */
}

static void an_event_is_one_line(void)
{
	char *text;

	log_info("evil\nname\r\x1b[2J\ttail");
	text = log_text();
	CHECK_U64_EQ(count_of(text, "\n"), 1);
	CHECK_CONTAINS(text, "evil name  [2J tail\n");
	mem_free(text);
}

static void long_lines_are_cut_and_say_so(void)
{
	char *long_text = mem_must_alloc(10000);
	char *text;

	memset(long_text, 'x', 9999);
	log_info("%s", long_text);
	log_info("next");
	text = log_text();
	CHECK_U64_EQ(count_of(text, "\n"), 2);
	CHECK_CONTAINS(text, "xxx...\n");
	CHECK_CONTAINS(text, "info  next\n");
	CHECK_TRUE(strlen(text) < 2200);
	mem_free(text);
	mem_free(long_text);
}

static void reopening_follows_a_rotated_file(void)
{
	char moved[160];
	char *text;

	log_info("before");
	(void)snprintf(moved, sizeof(moved), "%s.1", path);
	CHECK_INT_EQ(rename(path, moved), 0);
	log_info("still the old file");
	CHECK_OK(logger_open(path, NULL));
	log_info("after");
	CHECK_OK(logger_open(path, NULL)); /* appends */
	log_info("more");
	text = log_text();
	CHECK_U64_EQ(count_of(text, "\n"), 2);
	CHECK_CONTAINS(text, "after\n");
	CHECK_CONTAINS(text, "more\n");
	mem_free(text);
	unlink(moved);
}

static void opening_an_impossible_path_says_why(void)
{
	struct msg m = {""};
	char *text;

	CHECK_ERR(logger_open("/nonexistent/dir/log", &m), ERR_NOT_FOUND);
	CHECK_STR_EQ(m.text, "open log file /nonexistent/dir/log: No such file or directory");
	log_info("the old one goes on");
	text = log_text();
	CHECK_CONTAINS(text, "the old one goes on");
	mem_free(text);
}

/* ---- rate limit ---- */

/* Writes @n lines within one second of the logger's clock: starts over when a second passed. */
static void burst(struct logger_limit *l, unsigned per_s, unsigned n)
{
	for (;;) {
		struct logger_limit fresh = {0};

		CHECK_OK(logger_open(path, NULL));
		CHECK_INT_EQ(truncate(path, 0), 0);
		for (unsigned i = 0; i < n; i++) {
			unsigned long long window = fresh.window_s;

			logger_write_limited(&fresh, per_s, LOG_WARN_, "line %u", i);
			if (i > 0 && fresh.window_s != window)
				break;
			if (i + 1 == n) {
				*l = fresh;
				return;
			}
		}
	}
}

static void a_call_site_is_limited(void)
{
	struct logger_limit l;
	char *text;

	burst(&l, 5, 100);
	CHECK_U64_EQ(l.dropped, 95);
	text = log_text();
	CHECK_U64_EQ(count_of(text, "\n"), 5);
	CHECK_CONTAINS(text, "line 4\n");
	mem_free(text);
}

static void the_next_window_says_how_many_were_dropped(void)
{
	struct logger_limit l;
	char *text;

	burst(&l, 2, 9);
	l.window_s--; /* as if a second had passed */
	logger_write_limited(&l, 2, LOG_WARN_, "again");
	CHECK_U64_EQ(l.dropped, 0);
	text = log_text();
	CHECK_U64_EQ(count_of(text, "\n"), 3);
	CHECK_CONTAINS(text, "again (7 more like this were dropped)\n");
	mem_free(text);
}

static void a_limit_below_the_level_counts_nothing(void)
{
	struct logger_limit l = {0};

	for (int i = 0; i < 10; i++)
		logger_write_limited(&l, 1, LOG_DEBUG_, "quiet");
	CHECK_U64_EQ(l.dropped, 0);
	CHECK_U64_EQ(l.count, 0);
}

/* ---- threads and death ---- */

#define THREADS 4
#define LINES 500

static void *writes_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("%s-%s-%s", (char *)arg, (char *)arg, (char *)arg);
	return NULL;
}

static void threads_do_not_mix_their_lines(void)
{
	static char *names[THREADS] = {"aaaa", "bbbb", "cccc", "dddd"};
	pthread_t threads[THREADS];
	char *text;

	for (int i = 0; i < THREADS; i++)
		CHECK_INT_EQ(pthread_create(&threads[i], NULL, writes_lines, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT_EQ(pthread_join(threads[i], NULL), 0);
	text = log_text();
	CHECK_U64_EQ(count_of(text, "\n"), THREADS * LINES);
	CHECK_U64_EQ(count_of(text, " aaaa-aaaa-aaaa\n"), LINES);
	CHECK_U64_EQ(count_of(text, " dddd-dddd-dddd\n"), LINES);
	mem_free(text);
}

static void dies(void *arg)
{
	logger_die("disk %s failed", (char *)arg);
}

static void die_writes_one_line_and_aborts(void)
{
	char *text;

	logger_set_level(LOG_ERROR_);
	CHECK_ABORTS(dies, "sda");
	text = log_text();
	CHECK_CONTAINS(text, "error disk sda failed\n");
	CHECK_U64_EQ(count_of(text, "\n"), 1);
	mem_free(text);
}

#define TEST(fn) CHECK_TEST_WITH(setup, teardown, fn)

static const struct check_test tests[] = {
	TEST(a_line_has_time_level_tag_and_text),
	TEST(levels_below_the_minimum_are_dropped),
	TEST(level_names_are_parsed),
	TEST(an_event_is_one_line),
	TEST(long_lines_are_cut_and_say_so),
	TEST(reopening_follows_a_rotated_file),
	TEST(opening_an_impossible_path_says_why),
	TEST(a_call_site_is_limited),
	TEST(the_next_window_says_how_many_were_dropped),
	TEST(a_limit_below_the_level_counts_nothing),
	TEST(threads_do_not_mix_their_lines),
	TEST(die_writes_one_line_and_aborts),
};
CHECK_MAIN(tests)
