/* A whole node starts while a file call or an allocation fails, or its process dies there: an error
 * with a message that says what and where, no hang, nothing lost; the next start works. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_fixture.h"
#include "tests/unit/nth_files.h"

#define KEYS	   25u
#define POINTS_MAX 14u /* of a kind of fault: two processes each */

static struct kvf f;
static char saved[160], mark[160], place[80];

static void setup(void)
{
	kvf_open(&f, 1, NULL);
	kvf_kill_all(&f);
	/* In memory where there is such a place: the calls are the same, and quicker. */
	snprintf(place, sizeof(place), "%s/paxfs-nths-%d",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	snprintf(f.nodes[1].dir, sizeof(f.nodes[1].dir), "%s/n1", place);
	snprintf(saved, sizeof(saved), "%s/saved", place);
	snprintf(mark, sizeof(mark), "%s/mark", f.root);
	kvf_remove(place);
	if (mkdir(place, 0700) != 0)
		abort();
}

static void teardown(void)
{
	nth_env_clear();
	kvf_close(&f);
	kvf_remove(place);
}

/* ---- what is in the store ---- */

static void fill(struct kvf *k)
{
	char name[32];
	uint8_t key[64];

	CHECK_OK(kvf_init(k, 2, 1));
	CHECK_OK(kvf_open_client(k));
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		CHECK_OK(kvf_put(k, kvf_key(k, 1 + i % 2, name, key), slice_str(name)));
	}
}

static void look(struct kvf *k)
{
	struct buf v = BUF_INIT;
	char name[32];
	uint8_t key[64];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		CHECK_OK(kvf_get(k, kvf_key(k, 1 + i % 2, name, key), &v));
		CHECK_SLICE_EQ(buf_slice(&v), slice_str(name));
	}
	buf_release(&v);
}

static void must_start(void)
{
	int err = kvf_start(&f, 1);

	if (err)
		CHECK_FAIL("start afterwards: %s: %s", err_name(err), f.error.text);
}

/* The last lines of the node's log are where a process that ended says why. */
static bool log_says(const char *a, const char *b)
{
	char path[160], line[1024];
	bool found = false;
	FILE *log;

	snprintf(path, sizeof(path), "%s.log", f.nodes[1].dir);
	log = fopen(path, "r");
	while (log && !found && fgets(line, sizeof(line), log))
		found = strstr(line, a) != NULL || (b && strstr(line, b) != NULL);
	if (log)
		fclose(log);
	return found;
}

/* ---- one start ---- */

enum outcome { STARTED, REFUSED, ENDED };

static enum outcome start_with(unsigned long nth_file, int how, unsigned long nth_mem)
{
	char log[160], inside[160];
	int err;

	snprintf(inside, sizeof(inside), "%s/", f.nodes[1].dir); /* not its log */
	snprintf(log, sizeof(log), "%s.log", f.nodes[1].dir);
	(void)unlink(log);
	nth_env_set(nth_file, how, nth_mem, inside, mark);
	f.nodes[1].address[0] = '\0';
	f.error.text[0] = '\0';
	err = kvf_start(&f, 1);
	nth_env_clear();
	if (err == 0)
		return STARTED;
	if (err == ERR_CLOSED && f.error.text[0] == '\0')
		return ENDED;
	/* People are told what it was, and of what. */
	if (nth_mem)
		CHECK_CONTAINS(f.error.text, "memory");
	else
		CHECK_CONTAINS(f.error.text, place);
	return REFUSED;
}

struct kind {
	const char *name;
	int how; /* 0: memory */
};
static const struct kind kinds[] = {
	{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"death", NTH_DIE}, {"memory", 0}};

/* Which call it was. */
static const char *mark_text(void)
{
	static char text[512];
	FILE *at = fopen(mark, "r");

	text[0] = '\0';
	if (at && !fgets(text, sizeof(text), at))
		text[0] = '\0';
	if (at)
		fclose(at);
	return text;
}

static void check_end(const struct kind *k)
{
	if (k->how == 0 && !log_says("out of memory", NULL))
		CHECK_FAIL("it ended without a word");
	if ((k->how == EIO || k->how == ENOSPC) && !log_says(place, "rocksdb::"))
		CHECK_FAIL("call %s: it ended without a word of what", mark_text());
}

/* Starts with the fault further and further on, until it does not happen any more. @renew: the state
 * that each begins with. */
static void every_start(const char *name, const struct kind *k, void (*renew)(void),
			void (*verify)(struct kvf *f))
{
	unsigned long nth = 1, points = 0, refused = 0, ended = 0, calm = 0;

	while (calm < (k->how ? 1u : 3u) && points < 10 * POINTS_MAX) {
		enum outcome o;
		bool fired;

		renew();
		o = start_with(k->how ? nth : 0, k->how, k->how ? 0 : nth);
		fired = k->how ? access(mark, F_OK) == 0 : o != STARTED;
		calm = fired ? 0 : calm + 1;
		if (!fired)
			CHECK_INT_EQ(o, STARTED);
		if (o == ENDED)
			check_end(k);
		points += fired;
		refused += o == REFUSED;
		ended += o == ENDED;
		kvf_kill_all(&f);
		must_start();
		if (verify)
			kvf_run(&f, verify);
		kvf_kill_all(&f);
		nth += 1 + nth / 4;
	}
	printf("     %-30s %-7s %3lu points up to %lu, %lu errors, %lu end it\n", name, k->name,
	       points, nth, refused, ended);
	CHECK_TRUE(points > 5);
	CHECK_TRUE(refused + ended > 3);
}

static void blank(void)
{
	kvf_remove(f.nodes[1].dir);
}

static void restore(void)
{
	kvf_remove(f.nodes[1].dir);
	kvf_copy(saved, f.nodes[1].dir);
}

static void a_new_node(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		every_start("node: first start", &kinds[i], blank, NULL);
}

static void a_node_with_data(void)
{
	must_start();
	kvf_run(&f, fill);
	kvf_kill_all(&f);
	kvf_copy(f.nodes[1].dir, saved);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		every_start("node: recovery", &kinds[i], restore, look);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, a_new_node),
	CHECK_TEST_WITH(setup, teardown, a_node_with_data),
};
CHECK_MAIN(tests)
