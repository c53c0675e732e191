/* The engine on RocksDB: each file call of opening, flushing and installing fails once, or is the
 * last one of its process. Afterwards the engine opens, holds a prefix of what was applied, and
 * all that was said to
 * be durable; a snapshot is installed or not. Children are this program again (exec, since RocksDB has
 * threads): see main(). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/forked.h"
#include "tests/lib/kv_engine_fixture.h"
#include "tests/lib/scratch.h"
#include "tests/unit/nth_files.h"

#define SEED	    3u
#define FIRST	    40u /* slots flushed first, and then */
#define SECOND	    70u
#define POINTS_MAX  45ul /* of a kind of fault: a process each */
#define CHILD_ERROR 33
#ifdef __SANITIZE_ADDRESS__
#define SPREAD 1u /* of the points: fewer, where each takes long */
#else
#define SPREAD 4u
#endif

/* ---- in the child ---- */

static void report(const char *what, uint64_t n)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%s %llu\n", what, (unsigned long long)n);

	if (write(STDOUT_FILENO, line, (size_t)len) != len)
		_exit(3);
}

static void need(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err_text(err));
	_exit(CHILD_ERROR);
}

static void install_in(struct engine_group *to, struct engine_group *from)
{
	struct engine_snapshot *s;
	struct buf chunk = BUF_INIT;
	uint64_t slot;

	need(engine_snapshot_new(from, &s), "snapshot");
	slot = engine_snapshot_applied(s);
	need(engine_install_begin(to), "install");
	do {
		need(engine_snapshot_next(s, 8192, &chunk), "next");
		if (chunk.len)
			need(engine_install_chunk(to, buf_slice(&chunk)), "chunk");
	} while (chunk.len);
	need(engine_install_finish(to, slot), "finish");
	report("installed", slot);
	engine_snapshot_free(s);
	buf_release(&chunk);
}

static int child_main(const char *dir)
{
	struct engine_fixture f = {0};
	struct engine_group *g, *h;
	struct msg m = {""};
	struct rlimit no_core = {0, 0};
	int err;

	(void)setrlimit(RLIMIT_CORE, &no_core);
	snprintf(f.dir, sizeof(f.dir), "%s", dir);
	err = ef_try_open(&f, &m);
	if (err) {
		fprintf(stderr, "%s\n", m.text);
		return CHILD_ERROR;
	}
	report("open", 0);
	g = engine_group_open(f.engine, 1);
	h = engine_group_open(f.engine, 2);
	ef_work(g, SEED, FIRST);
	need(engine_flush(f.engine), "flush");
	report("durable", engine_durable(g));
	ef_work(g, SEED, SECOND);
	need(engine_flush(f.engine), "flush");
	report("durable", engine_durable(g));
	install_in(h, g);
	engine_close(f.engine);
	report("closed", 0);
	return 0;
}

/* ---- in the parent ---- */

static struct engine_fixture fx;
static char mark[128], output[65536];

static void setup(void)
{
	scratch_make(fx.dir, sizeof(fx.dir), "nthe");
	snprintf(mark, sizeof(mark), "/tmp/paxfs-nthm-%d", (int)getpid());
}

static void teardown(void)
{
	ef_close(&fx);
	nth_env_clear();
	(void)unlink(mark);
	fault_teardown();
}

static void this_program(void *ctx)
{
	(void)ctx;
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	execl("/proc/self/exe", "nth-engine", (char *)NULL);
	_exit(3);
}

static int run_child(unsigned long nth, int how)
{
	int status;

	nth_env_set(nth, how, 0, fx.dir, mark);
	setenv("NTH_ENGINE", fx.dir, 1);
	status = forked(this_program, NULL, output, sizeof(output));
	nth_env_clear();
	unsetenv("NTH_ENGINE");
	return status;
}

static uint64_t said(const char *what)
{
	char *at = output, *found = NULL;
	unsigned long long n = 0;

	while ((at = strstr(at, what)) != NULL)
		found = at++;
	if (found)
		(void)sscanf(found + strlen(what), "%llu", &n);
	return n;
}

/* It opens, and holds what it must. */
static void verify(uint64_t *checksums)
{
	struct engine_group *g, *h;
	uint64_t applied;
	struct msg m = {""};
	int err = ef_try_open(&fx, &m);

	if (err)
		CHECK_FAIL("open afterwards: %s", m.text);
	g = engine_group_open(fx.engine, 1);
	h = engine_group_open(fx.engine, 2);
	applied = engine_applied(g);
	CHECK_TRUE(applied >= said("durable "));
	CHECK_TRUE(applied == 0 || applied == FIRST || applied == SECOND);
	CHECK_INT_EQ(ef_checksum(g), checksums[applied]);
	applied = engine_applied(h);
	CHECK_TRUE(applied == SECOND || (applied == 0 && said("installed ") == 0));
	CHECK_INT_EQ(ef_checksum(h), checksums[applied]);
	ef_work(g, SEED, SECOND);
	CHECK_OK(engine_flush(fx.engine));
	CHECK_INT_EQ(ef_checksum(g), checksums[SECOND]);
	ef_shut(&fx);
}

static void every_call(int how, const char *name)
{
	uint64_t checksums[SECOND + 1];
	unsigned long nth, step = 1, points = 0, refused = 0, ended = 0, total = 0;
	char dir[64];

	for (uint64_t s = 0; s <= SECOND; s++)
		checksums[s] = ef_work_checksum(SEED, s);
	snprintf(dir, sizeof(dir), "%s", fx.dir);
	for (nth = 1;; nth += step) {
		int status = run_child(nth, how);

		if (access(mark, F_OK) != 0) {
			CHECK_INT_EQ(status, 0);
			total = nth;
			verify(checksums);
			break;
		}
		points++;
		if (how == NTH_DIE && status != NTH_DEAD_STATUS)
			CHECK_FAIL("call %lu: status %d: %s", nth, status, output);
		if (status == CHILD_ERROR || status == -SIGABRT) {
			refused += status == CHILD_ERROR;
			ended += status == -SIGABRT;
			/* RocksDB, as Debian builds it, asserts here and there that files work. */
			if (!strstr(output, "rocksdb::") && !strstr(output, "open 0"))
				CHECK_CONTAINS(output, fx.dir);
		} else if (status != 0 && how != NTH_DIE) {
			CHECK_FAIL("call %lu: status %d: %s", nth, status, output);
		}
		verify(checksums);
		ef_close(&fx);
		snprintf(fx.dir, sizeof(fx.dir), "%s", dir);
		step = 1 + points / SPREAD; /* the first ones each, then fewer and fewer */
		CHECK_TRUE(points < 4 * POINTS_MAX);
	}
	printf("     engine: open, flush, install: %-7s %3lu points of %lu, %lu errors, %lu end it\n",
	       name, points, total, refused, ended);
	CHECK_TRUE(points > 10);
}

static void io_errors(void)
{
	every_call(EIO, "EIO");
}

static void a_full_disk(void)
{
	every_call(ENOSPC, "ENOSPC");
}

static void deaths(void)
{
	every_call(NTH_DIE, "death");
}

/* ---- memory: streaming and installing, in memory ---- */

static int copy_group(struct engine_group *from, struct engine_group *to)
{
	struct engine_snapshot *s = NULL;
	struct buf chunk = BUF_INIT;
	int err = engine_snapshot_new(from, &s);

	if (!err)
		err = engine_install_begin(to);
	while (!err) {
		buf_reset(&chunk);
		err = engine_snapshot_next(s, 4096, &chunk);
		if (err || chunk.len == 0)
			break;
		err = engine_install_chunk(to, buf_slice(&chunk));
	}
	if (!err)
		err = engine_install_finish(to, engine_snapshot_applied(s));
	engine_snapshot_free(s);
	buf_release(&chunk);
	return err;
}

static void in_memory(struct fault *f)
{
	struct engine_fixture mem;
	struct engine_group *g, *h;
	struct buf value = BUF_INIT;
	int err;

	ef_open_mem(&mem);
	g = engine_group_open(mem.engine, 1);
	h = engine_group_open(mem.engine, 2);
	ef_work(g, SEED, 20);
	ef_commit_put(g, 21, TABLE_DATA, "key", "a value");
	fault_arm(f);
	err = engine_get(g, TABLE_DATA, slice_str("key"), &value);
	if (fault_hit(f, err))
		CHECK_OK(engine_get(g, TABLE_DATA, slice_str("key"), &value));
	CHECK_SLICE_EQ(buf_slice(&value), slice_str("a value"));
	fault_arm(f);
	err = copy_group(g, h);
	if (fault_hit(f, err)) {
		CHECK_U64_EQ(engine_applied(h), 0);
		CHECK_OK(copy_group(g, h));
	}
	CHECK_U64_EQ(engine_applied(h), 21);
	CHECK_INT_EQ(ef_checksum(h), ef_checksum(g));
	buf_release(&value);
	ef_close(&mem);
}

static void allocations(void)
{
	fault_every("engine: get, snapshot, install", in_memory, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, allocations),
	CHECK_TEST_WITH(setup, teardown, io_errors),
	CHECK_TEST_WITH(setup, teardown, a_full_disk),
	CHECK_TEST_WITH(setup, teardown, deaths),
};

int main(int argc, char **argv)
{
	const char *dir = getenv("NTH_ENGINE");

	if (dir)
		return child_main(dir);
	return check_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
