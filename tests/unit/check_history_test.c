/* Histories in memory and as text, and the program that judges files of them. */
#include "tests/check/history.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/check/judge.h"
#include "tests/lib/check.h"
#include "tests/lib/check_fixture.h"

static char out[65536];

static int read_text(const char *text, struct msg *m)
{
	FILE *f = fmemopen((char *)text, strlen(text), "r");
	int code;

	CHECK_NOT_NULL(f);
	code = history_read(&chf.h, f, m);
	fclose(f);
	return code;
}

static void write_out(void)
{
	FILE *f = fmemopen(out, sizeof(out), "w");

	CHECK_NOT_NULL(f);
	CHECK_OK(history_write(&chf.h, f));
	fclose(f);
}

/* One of each kind, with each outcome. */
static const char everything[] = "paxfs-history 1\n"
				 "bank 2 -7 1\n"
				 "i 0 1 10 read 5\n"
				 "r 0 20 ok 18446744073709551614\n"
				 "i 1 2 10 read 5\n"
				 "r 1 20 ok -\n"
				 "i 2 1 30 write 5 0\n"
				 "r 2 40 ok\n"
				 "i 3 1 50 cas 5 - 6\n"
				 "r 3 60 ok 0\n"
				 "i 4 1 70 cas 5 0 -\n"
				 "r 4 80 ok 1\n"
				 "i 5 1 90 delete 5\n"
				 "r 5 90 ok\n"
				 "i 6 1 90 delete 5\n"
				 "r 6 90 ok 0\n"
				 "i 7 1 90 delete 5\n"
				 "r 7 90 failed\n"
				 "i 8 1 90 txn a 1 2 r 3 r 6\n"
				 "r 8 95 ok a 1 2 r 3 [4,5] r 6 []\n"
				 "i 9 1 90 txn r 3\n"
				 "r 9 95 unknown\n"
				 "i 10 1 90 txn\n"
				 "r 10 95 ok\n"
				 "i 11 1 90 add 1 2\n"
				 "i 12 1 90 get 1\n"
				 "r 12 91 ok 0\n"
				 "i 13 1 90 insert 1 7\n"
				 "i 14 1 90 members 1\n"
				 "r 14 91 ok [7]\n"
				 "i 15 1 90 balances\n"
				 "r 15 91 ok [-9223372036854775808,9223372036854775807]\n";

static void text_survives_a_round_trip(void)
{
	struct msg m = {""};

	if (read_text(everything, &m) != 0)
		CHECK_FAIL("%s", m.text);
	CHECK_U64_EQ(chf.h.count, 16);
	CHECK_U64_EQ(chf.h.ops[0].result, UINT64_MAX - 1);
	CHECK_U64_EQ(chf.h.ops[1].result, HISTORY_ABSENT);
	CHECK_U64_EQ(chf.h.ops[3].arg, HISTORY_ABSENT);
	CHECK_U64_EQ(chf.h.ops[5].result, HISTORY_UNTOLD);
	CHECK_U64_EQ(chf.h.ops[8].mop_count, 3);
	CHECK_U64_EQ(chf.h.ops[8].mops[1].list[1], 5);
	CHECK_INT_EQ(chf.h.ops[11].outcome, HISTORY_UNKNOWN);
	CHECK_U64_EQ(chf.h.ops[11].return_ns, HISTORY_NEVER);
	CHECK_INT_EQ(chf.h.ops[15].list[0], INT64_MIN);
	CHECK_TRUE(chf.h.has_bank && chf.h.bank_negative_ok && chf.h.bank_total == -7);
	write_out();
	CHECK_STR_EQ(out, everything);
}

static void comments_and_a_torn_end_are_skipped(void)
{
	struct msg m = {""};

	CHECK_OK(read_text("paxfs-history 1\n\n# hello\ni 0 1 10 read 5\nr 0 20 ok 1", &m));
	CHECK_U64_EQ(chf.h.count, 1);
	CHECK_INT_EQ(chf.h.ops[0].outcome, HISTORY_UNKNOWN);
}

static void files_are_merged(void)
{
	struct msg m = {""};

	CHECK_OK(read_text("paxfs-history 1\nbank 2 5 0\ni 0 1 10 write 5 1\nr 0 20 ok\n", &m));
	CHECK_OK(read_text("paxfs-history 1\nbank 2 5 0\ni 0 2 30 read 5\nr 0 40 ok 1\n", &m));
	CHECK_U64_EQ(chf.h.count, 2);
	CHECK_U64_EQ(chf.h.ops[1].result, 1);
	CHECK_ERR(read_text("paxfs-history 1\nbank 2 6 0\n", &m), ERR_PROTO);
	CHECK_CONTAINS(m.text, "line 2: another bank than before");
}

static void streams_are_read_back(void)
{
	static const uint64_t list[] = {1, 2};
	const struct history_mop called[] = {{.append = true, .key = 1, .value = 9}, {.key = 2}};
	const struct history_mop done[] = {{.append = true, .key = 1, .value = 9},
					   {.key = 2, .list = list, .count = 2}};
	struct history_op op = {.client = 3, .kind = HISTORY_TXN, .mops = called, .mop_count = 2};
	struct history_result res = {.mops = done, .mop_count = 2};
	FILE *f = fmemopen(out, sizeof(out), "w");
	struct history_stream s;
	struct msg m = {""};
	uint64_t id, add;

	CHECK_NOT_NULL(f);
	CHECK_OK(history_stream_open(&s, f));
	CHECK_OK(history_stream_bank(&s, 2, 5, false));
	CHECK_OK(history_stream_invoke(&s, 10, &op, &id));
	CHECK_OK(history_stream_invoke(
		&s, 11, &(struct history_op){.kind = HISTORY_ADD, .key = 4, .arg = 1}, &add));
	CHECK_OK(history_stream_return(&s, id, 20, HISTORY_TXN, HISTORY_OK, &res));
	CHECK_CONTAINS(out, "r 0 20 ok a 1 9 r 2 [1,2]\n"); /* before it is closed */
	fclose(f);
	CHECK_OK(read_text(out, &m));
	CHECK_U64_EQ(chf.h.count, 2);
	CHECK_U64_EQ(chf.h.ops[0].mops[1].list[1], 2);
	CHECK_U64_EQ(chf.h.ops[0].client, 3);
	CHECK_INT_EQ(chf.h.ops[1].outcome, HISTORY_UNKNOWN);
}

static void a_full_disk_is_told(void)
{
	struct history_stream s;
	FILE *f = fopen("/dev/full", "w");

	if (f == NULL)
		CHECK_FAIL("no /dev/full");
	CHECK_ERR(history_stream_open(&s, f), ERR_IO);
	fclose(f);
}

static void bad_lines_are_told(void)
{
	static const char *const lines[][2] = {
		{"x", "a line begins with"},
		{"i", "id: a number is expected"},
		{"i 1 1 10 read 5", "id 1: the next one is 0"},
		{"i 0 1 10", "an operation is expected"},
		{"i 0 1 10 jump 5", "no such operation: jump"},
		{"i 0 4294967296 10 read 5", "too big"},
		{"i 0 1 18446744073709551615 read 5", "too big"},
		{"i 0 1 18446744073709551616 read 5", "time: a number"},
		{"i 0 1 -1 read 5", "time: a number"},
		{"i 0 1 10 read", "key: a number"},
		{"i 0 1 10 read 5 6", "too much:  6"},
		{"i 0 1 10 write 5 -", "use delete"},
		{"i 0 1 10 write 5 18446744073709551615", "too big"},
		{"i 0 1 10 cas 5 1", "new value: a number"},
		{"i 0 1 10 txn b 1", "a step is"},
		{"i 0 1 10 txn a 1", "value: a number"},
		{"r 0 10 ok", "id 0 was never called"},
		{"i 0 1 10 read 5\nr 0 9 ok 1", "returns before it was called"},
		{"i 0 1 10 read 5\nr 0 10 okay 1", "an outcome is"},
		{"i 0 1 10 read 5\nr 0 10", "an outcome is"},
		{"i 0 1 10 read 5\nr 0 10 ok", "result: a number"},
		{"i 0 1 10 read 5\nr 0 10 failed 1", "too much"},
		{"i 0 1 10 cas 5 1 2\nr 0 10 ok 2", "0 or 1"},
		{"i 0 1 10 write 5 1\nr 0 10 ok\nr 0 11 ok", "returned before"},
		{"i 0 1 10 txn r 5\nr 0 10 ok", "has to tell what"},
		{"i 0 1 10 txn r 5\nr 0 10 ok r 5", "a list [N,N,...]"},
		{"i 0 1 10 txn r 5\nr 0 10 ok r 5 [1;2]", "a comma or ]"},
		{"i 0 1 10 members 5\nr 0 10 ok [1,]", "a number is expected in a list"},
		{"i 0 1 10 members 5\nr 0 10 ok [-1]", "a number is expected in a list"},
		{"i 0 1 10 members 5\nr 0 10 ok [1", "a comma or ]"},
		{"bank 1", "total"},
		{"bank 1 5 2", "0 or 1"},
		{"bank 1 9223372036854775808 0", "total"},
	};
	char text[256], want[32];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct msg m = {""};
		int line = 2;

		(void)snprintf(text, sizeof(text), "paxfs-history 1\n%s\n", lines[i][0]);
		for (const char *p = lines[i][0]; *p != '\0'; p++)
			line += *p == '\n';
		(void)snprintf(want, sizeof(want), "line %d: ", line);
		CHECK_ERR(read_text(text, &m), ERR_PROTO);
		CHECK_CONTAINS(m.text, want);
		CHECK_CONTAINS(m.text, lines[i][1]);
		chf_start_over();
	}
}

static void foreign_files_are_refused(void)
{
	struct msg m = {""};

	CHECK_ERR(read_text("i 0 1 10 read 5\n", &m), ERR_PROTO);
	CHECK_CONTAINS(m.text, "line 1: the first line is paxfs-history 1");
	CHECK_ERR(read_text("\n", &m), ERR_PROTO);
	CHECK_ERR(read_text("paxfs-history", &m), ERR_PROTO); /* torn: nothing is there */
}

static void texts_for_people_are_short(void)
{
	uint64_t list[100];
	struct history_op op = {.client = 3, .kind = HISTORY_MEMBERS, .key = 7, .list = list};
	char text[256], tiny[16];

	for (uint64_t i = 0; i < 100; i++)
		list[i] = i;
	op.list_count = 100;
	op.invoke_ns = 1;
	op.return_ns = 2;
	CHECK_STR_EQ(history_op_text(&op, text, sizeof(text)),
		     "client 3 [1, 2] members 7 -> ok [0,1,2,3]..84.. "
		     "[88,89,90,91,92,93,94,95,96,97,98,99]");
	CHECK_U64_EQ(strlen(history_op_text(&op, tiny, sizeof(tiny))), sizeof(tiny) - 1);
}

static void return_twice(void *arg)
{
	(void)arg;
	history_return(&chf.h, 0, 3, HISTORY_OK, NULL);
}

static void misuse_aborts(void)
{
	size_t id = history_invoke(&chf.h, 2, &(struct history_op){.kind = HISTORY_WRITE, .key = 1});

	history_return(&chf.h, id, 2, HISTORY_OK, NULL);
	CHECK_ABORTS(return_twice, NULL);
}

/* ---- histcheck ---- */

/* Runs histcheck on a file with @text; its output goes into @out. Returns its exit status. */
static int histcheck(const char *text)
{
	char self[1024], command[4096], path[] = "/tmp/check_history_XXXXXX";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd = mkstemp(path), status;
	FILE *p;

	CHECK_TRUE(n > 0 && fd >= 0);
	self[n] = '\0';
	CHECK_INT_EQ(write(fd, text, strlen(text)), (int64_t)strlen(text));
	close(fd);
	*strrchr(self, '/') = '\0';
	(void)snprintf(command, sizeof(command), "'%s/../check/histcheck' '%s' 2>&1", self, path);
	p = popen(command, "r");
	CHECK_NOT_NULL(p);
	n = (ssize_t)fread(out, 1, sizeof(out) - 1, p);
	out[n] = '\0';
	status = pclose(p);
	unlink(path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_program_says_what_is_wrong(void)
{
	CHECK_INT_EQ(histcheck("paxfs-history 1\ni 0 1 10 read 5\nr 0 20 ok -\n"), 0);
	CHECK_STR_EQ(out, "ok: 1 operations recorded, 1 judged\n");
	CHECK_INT_EQ(histcheck("paxfs-history 1\ni 0 1 10 read 5\nr 0 20 ok 7\n"), 1);
	CHECK_CONTAINS(out, "WRONG: not linearizable\nkey 5");
	CHECK_INT_EQ(histcheck("paxfs-history 1\ni 0 1 10 reed 5\n"), 2);
	CHECK_CONTAINS(out, "line 2: no such operation: reed");
	CHECK_INT_EQ(histcheck("paxfs-history 1\ni 0 1 1 txn a 1 1\ni 1 1 1 txn a 1 1\n"), 2);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(chf_setup, chf_teardown, text_survives_a_round_trip),
	CHECK_TEST_WITH(chf_setup, chf_teardown, comments_and_a_torn_end_are_skipped),
	CHECK_TEST_WITH(chf_setup, chf_teardown, files_are_merged),
	CHECK_TEST_WITH(chf_setup, chf_teardown, streams_are_read_back),
	CHECK_TEST_WITH(chf_setup, chf_teardown, a_full_disk_is_told),
	CHECK_TEST_WITH(chf_setup, chf_teardown, bad_lines_are_told),
	CHECK_TEST_WITH(chf_setup, chf_teardown, foreign_files_are_refused),
	CHECK_TEST_WITH(chf_setup, chf_teardown, texts_for_people_are_short),
	CHECK_TEST_WITH(chf_setup, chf_teardown, misuse_aborts),
	CHECK_TEST_WITH(chf_setup, chf_teardown, the_program_says_what_is_wrong),
};

CHECK_MAIN(tests)
