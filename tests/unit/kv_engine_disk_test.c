/* kv/engine on disk: what survives a close, a kill, a disk that fails; locks. Children are this
 * program again (exec, since RocksDB has threads): see main(). */
#include <pthread.h>
#include <rocksdb/c.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_engine_fixture.h"

static struct engine_fixture fx;
static struct engine_group *g;

static void setup(void)
{
	ef_open_rocks(&fx);
	g = engine_group_open(fx.engine, 1);
}

static void teardown(void)
{
	ef_close(&fx);
}

static void reopen(void)
{
	ef_reopen(&fx);
	g = engine_group_open(fx.engine, 1);
}

/* ---- closing and opening ---- */

static void what_was_flushed_is_there_again(void)
{
	struct engine_group *h = engine_group_open(fx.engine, 2);

	ef_work(g, 1, 200);
	ef_work(h, 2, 70);
	CHECK_OK(engine_flush(fx.engine));
	reopen();
	h = engine_group_open(fx.engine, 2);
	CHECK_U64_EQ(engine_applied(g), 200);
	CHECK_U64_EQ(engine_durable(g), 200);
	CHECK_U64_EQ(engine_applied(h), 70);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 200));
	CHECK_INT_EQ(ef_checksum(h), ef_work_checksum(2, 70));
	ef_work(g, 1, 260);
	CHECK_OK(engine_flush(fx.engine));
	reopen();
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 260));
}

static void a_close_without_flush_goes_back_to_what_is_durable(void)
{
	struct engine_group *h = engine_group_open(fx.engine, 2);

	ef_work(g, 1, 100);
	CHECK_OK(engine_flush(fx.engine));
	ef_work(g, 1, 130);
	ef_work(h, 2, 10);
	CHECK_U64_EQ(engine_durable(g), 100);
	reopen();
	h = engine_group_open(fx.engine, 2);
	CHECK_U64_EQ(engine_applied(g), 100);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 100));
	CHECK_U64_EQ(engine_applied(h), 0);
	CHECK_INT_EQ(ef_checksum(h), ef_work_checksum(2, 0));
	ef_work(g, 1, 130); /* as the log would: to the same state */
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 130));
}

static void a_new_engine_that_was_never_flushed_is_new_again(void)
{
	ef_work(g, 1, 5);
	reopen();
	CHECK_U64_EQ(engine_applied(g), 0);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 0));
	reopen();
	ef_work(g, 1, 5);
	CHECK_OK(engine_flush(fx.engine));
	reopen();
	CHECK_U64_EQ(engine_applied(g), 5);
}

/* Commits flush when memory is used up. RocksDB does not, by itself: nothing is on disk that the engine
 * does not know of. */
static void what_is_flushed_in_passing_is_a_state_of_some_slot(void)
{
	struct engine_group *h = engine_group_open(fx.engine, 2);
	uint64_t slot, durable;

	for (slot = 200; slot <= 3000; slot += 200) { /* about 15 MB over 4 MB of memory */
		ef_work(g, 1, slot);
		ef_work(h, 2, slot);
	}
	durable = engine_durable(g);
	CHECK_TRUE(durable > 0 && durable + engine_durable(h) < 6000);
	reopen();
	h = engine_group_open(fx.engine, 2);
	CHECK_U64_EQ(engine_applied(g), durable);
	CHECK_U64_EQ(engine_durable(g), durable);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, engine_applied(g)));
	CHECK_INT_EQ(ef_checksum(h), ef_work_checksum(2, engine_applied(h)));
}

static void flushes_without_changes_write_nothing(void)
{
	struct engine_stats a, b;

	ef_work(g, 1, 50);
	CHECK_OK(engine_flush(fx.engine));
	engine_stats_get(fx.engine, &a);
	for (int i = 0; i < 20; i++)
		CHECK_OK(engine_flush(fx.engine));
	engine_stats_get(fx.engine, &b);
	CHECK_U64_EQ(a.disk_bytes, b.disk_bytes);
}

/* ---- children ---- */

/* Runs this program with the arguments; its stdout is the descriptor returned. */
static pid_t child_start(const char *what, const char *arg, int *out)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) != 0)
		abort();
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execl("/proc/self/exe", "kv_engine_disk_test", what, fx.dir, arg, (char *)NULL);
		_exit(99);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

static int child_end(pid_t pid, int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int status;

	while (len < size - 1 && (n = read(fd, out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(fd);
	waitpid(pid, &status, 0);
	return status;
}

static struct engine_fixture child_engine(const char *dir)
{
	struct engine_fixture f = {0};
	struct msg m = {0};
	int err;

	snprintf(f.dir, sizeof(f.dir), "%s", dir);
	err = ef_try_open(&f, &m);
	if (err) {
		printf("%s: %s\n", err_name(err), m.text);
		exit(2);
	}
	return f;
}

/* ---- kill in the middle ---- */

static atomic_bool stop_reporting;

/* Flushes all the time, and says what is durable since. */
static void *flush_and_report(void *arg)
{
	struct engine_group **groups = arg;
	struct engine_fixture *f = (struct engine_fixture *)(void *)groups[2];

	while (!atomic_load(&stop_reporting)) {
		uint64_t report[2];

		if (engine_flush(f->engine) != 0)
			abort();
		report[0] = engine_durable(groups[0]);
		report[1] = engine_durable(groups[1]);
		if (write(1, report, sizeof(report)) != sizeof(report))
			abort();
	}
	return NULL;
}

static int child_work(const char *dir)
{
	struct engine_fixture f = child_engine(dir);
	struct engine_group *groups[3] = {engine_group_open(f.engine, 1),
					  engine_group_open(f.engine, 2), (void *)&f};
	pthread_t flusher;

	if (pthread_create(&flusher, NULL, flush_and_report, groups) != 0)
		abort();
	for (;;) { /* until it is killed; not so far ahead that the parent needs long to catch up */
		if (engine_applied(groups[0]) > engine_durable(groups[0]) + 150) {
			sched_yield();
			continue;
		}
		ef_work(groups[0], 1, engine_applied(groups[0]) + 3);
		ef_work(groups[1], 2, engine_applied(groups[1]) + 2);
	}
}

/* Kills the child after @reports of something new; the last one is in @last. */
static void kill_worker(unsigned reports, uint64_t last[2])
{
	int fd, status;
	uint64_t report[2];
	pid_t pid = child_start("--work", "", &fd);

	last[0] = last[1] = 0;
	while (reports > 0 && read(fd, report, sizeof(report)) == sizeof(report)) {
		reports -= report[0] > last[0];
		memcpy(last, report, sizeof(report));
	}
	kill(pid, SIGKILL);
	while (read(fd, report, sizeof(report)) == sizeof(report))
		memcpy(last, report, sizeof(report));
	close(fd);
	waitpid(pid, &status, 0);
	CHECK_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_after_kill(const uint64_t last[2])
{
	struct engine_group *h;

	reopen();
	h = engine_group_open(fx.engine, 2);
	CHECK_TRUE(last[0] > 0);
	CHECK_TRUE(engine_applied(g) >= last[0]);
	CHECK_TRUE(engine_applied(h) >= last[1]);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, engine_applied(g)));
	CHECK_INT_EQ(ef_checksum(h), ef_work_checksum(2, engine_applied(h)));
	ef_shut(&fx);
}

static void a_kill_leaves_a_state_of_some_slot_of_each_group(void)
{
	ef_shut(&fx);
	for (unsigned round = 0; round < 6; round++) {
		uint64_t last[2];

		kill_worker(1 + round * 2, last);
		check_after_kill(last);
	}
}

/* The first commits come while a flush begins, in tables that had nothing yet. */
static void a_kill_behind_the_first_flushes_leaves_whole_slots(void)
{
	for (unsigned round = 0; round < 40; round++) {
		uint64_t last[2];

		ef_close(&fx);
		ef_open_rocks(&fx);
		ef_shut(&fx);
		kill_worker(1, last);
		check_after_kill(last);
	}
}

/* ---- kill inside an install ---- */

/* Installs state after state over group 1, from a workload of seed 5 in memory. */
static int child_install(const char *dir)
{
	struct engine_fixture f = child_engine(dir), mem;
	struct engine_group *to = engine_group_open(f.engine, 1), *from;

	ef_open_mem(&mem);
	from = engine_group_open(mem.engine, 1);
	for (;;) {
		struct engine_snapshot *s;
		struct buf chunk = BUF_INIT;
		char byte = 'c';

		ef_work(from, 5, engine_applied(to) + 40);
		if (engine_snapshot_new(from, &s) != 0 || engine_install_begin(to) != 0)
			abort();
		while (engine_snapshot_next(s, 16384, &chunk) == 0 && chunk.len) {
			if (engine_install_chunk(to, buf_slice(&chunk)) != 0 ||
			    engine_flush(f.engine) != 0 || write(1, &byte, 1) != 1)
				abort();
		}
		if (engine_install_finish(to, engine_applied(from)) != 0)
			abort();
		engine_snapshot_free(s);
		buf_release(&chunk);
	}
}

/* Keys in the directory's tables, whatever they belong to. */
static uint64_t stored_keys(void)
{
	static const char *const names[] = {"default", "tick",	"data",	 "block", "txn",
					    "queue",   "reply", "state", "history"};
	enum { N = sizeof(names) / sizeof(names[0]) };
	rocksdb_options_t *o = rocksdb_options_create();
	const rocksdb_options_t *options[N];
	rocksdb_column_family_handle_t *families[N];
	rocksdb_readoptions_t *how = rocksdb_readoptions_create();
	char *text = NULL;
	rocksdb_t *db;
	uint64_t n = 0;

	for (int i = 0; i < N; i++)
		options[i] = o;
	db = rocksdb_open_for_read_only_column_families(o, fx.dir, N, names, options, families, 0,
							&text);
	CHECK_NULL(text);
	for (int i = 2; i < N; i++) {
		rocksdb_iterator_t *it = rocksdb_create_iterator_cf(db, how, families[i]);

		for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it))
			n++;
		rocksdb_iter_destroy(it);
	}
	for (int i = 0; i < N; i++)
		rocksdb_column_family_handle_destroy(families[i]);
	rocksdb_close(db);
	rocksdb_readoptions_destroy(how);
	rocksdb_options_destroy(o);
	return n;
}

static uint64_t visible_keys(void)
{
	uint64_t n = 0;

	for (int t = 0; t < TABLE_COUNT; t++) {
		struct engine_iter *it = engine_iter_new(g, (enum engine_table)t,
							 (struct slice){0}, (struct slice){0});

		for (; engine_iter_valid(it); engine_iter_next(it))
			n++;
		engine_iter_free(it);
	}
	return n;
}

static void a_kill_inside_an_install_leaves_the_old_state_or_the_new(void)
{
	uint64_t before = 0, keys;
	unsigned leftovers = 0;

	ef_shut(&fx);
	for (unsigned round = 0; round < 6; round++) {
		char bytes[256];
		size_t due = 3 + round * 4, got = 0;
		int fd, status;
		pid_t pid = child_start("--install", "", &fd);

		while (got < due && read(fd, bytes, 1) == 1)
			got++;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		close(fd);
		CHECK_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		keys = stored_keys();
		reopen();
		CHECK_TRUE(engine_applied(g) >= before);
		CHECK_U64_EQ(engine_applied(g) % 40, 0);
		before = engine_applied(g);
		CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(5, before));
		leftovers += keys > visible_keys();
		keys = visible_keys();
		ef_commit_put(g, before, TABLE_STATE, "mark", "1"); /* a reason to flush */
		engine_begin(g);
		ef_del(g, TABLE_STATE, "mark");
		engine_commit(g, before);
		CHECK_OK(engine_flush(fx.engine));
		ef_shut(&fx);
		CHECK_U64_EQ(stored_keys(), keys); /* nothing else is left */
	}
	CHECK_TRUE(leftovers > 0); /* there was something to remove */
	CHECK_TRUE(before > 0);
}

static void an_installed_snapshot_is_durable(void)
{
	struct engine_fixture mem;
	struct engine_group *h;
	struct buf *chunks;
	size_t count;

	ef_open_mem(&mem);
	h = engine_group_open(mem.engine, 1);
	ef_work(h, 4, 400);
	chunks = ef_chunks(h, 16384, &count);
	ef_close(&mem);
	ef_work(g, 1, 60);
	CHECK_OK(engine_flush(fx.engine));
	for (int i = 0; i < 3; i++) { /* again: over itself */
		ef_install(g, chunks, count, 400);
		reopen();
		CHECK_U64_EQ(engine_applied(g), 400);
		CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(4, 400));
	}
	ef_chunks_free(chunks, count);
}

/* ---- locks ---- */

static int child_open(const char *dir)
{
	struct engine_fixture f = child_engine(dir);

	ef_shut(&f);
	return 0;
}

static void a_directory_has_one_user(void)
{
	struct engine_fixture again = fx;
	struct msg m = {0};
	char out[1024];
	int fd, status;
	pid_t pid;

	CHECK_ERR(ef_try_open(&again, &m), ERR_LOCKED);
	pid = child_start("--open", "", &fd);
	status = child_end(pid, fd, out, sizeof(out));
	CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2);
	CHECK_CONTAINS(out, "LOCKED: engine /tmp/paxfs-engine-");
	CHECK_CONTAINS(out, "another process has it open");
	ef_shut(&fx);
	pid = child_start("--open", "", &fd);
	status = child_end(pid, fd, out, sizeof(out));
	CHECK_STR_EQ(out, "");
	CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_directory_that_cannot_be_made(void)
{
	struct engine_fixture f = {.dir = "/dev/null/engine"};
	struct msg m = {0};

	CHECK_TRUE(ef_try_open(&f, &m) != 0);
	CHECK_CONTAINS(m.text, "/dev/null/engine");
}

/* ---- a disk that does not take it ---- */

/* The directory is moved away under the engine: no new file can be made, and the flush fails. */
static int child_flush(const char *dir)
{
	struct engine_fixture f = child_engine(dir);
	struct engine_group *h = engine_group_open(f.engine, 1);
	char away[128];
	int err;

	snprintf(away, sizeof(away), "%s.away", dir);
	ef_work(h, 1, 400);
	if (rename(dir, away) != 0)
		abort();
	err = engine_flush(f.engine);
	if (rename(away, dir) != 0)
		abort();
	printf("%s %llu %llu %s", err_name(err), (unsigned long long)engine_durable(h),
	       (unsigned long long)engine_applied(h),
	       engine_unflushed_bytes(f.engine) > 0 ? "unflushed" : "flushed");
	fflush(stdout);
	_exit(0);
}

static void a_flush_that_fails_says_so(void)
{
	char out[1024];
	int fd, status;
	pid_t pid;

	ef_work(g, 1, 10);
	CHECK_OK(engine_flush(fx.engine));
	ef_shut(&fx);
	pid = child_start("--flush", "", &fd);
	status = child_end(pid, fd, out, sizeof(out));
	CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_STR_EQ(out, "IO 10 400 unflushed");
	reopen();
	CHECK_U64_EQ(engine_applied(g), 10);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 10));
}

/* Files may not grow: a table breaks off in the middle. (A RocksDB with assertions ends the process
 * there; one without reports the error.) */
static int child_flush_cut(const char *dir)
{
	struct engine_fixture f = child_engine(dir);
	struct engine_group *h = engine_group_open(f.engine, 1);
	struct rlimit limit = {.rlim_cur = 20000, .rlim_max = 20000};

	ef_work(h, 1, 400);
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		abort();
	close(2);
	_exit(engine_flush(f.engine) == 0 ? 0 : 1);
}

static void a_flush_that_breaks_off_changes_nothing(void)
{
	char out[1024];
	int fd, status;
	pid_t pid;

	ef_work(g, 1, 10);
	CHECK_OK(engine_flush(fx.engine));
	ef_shut(&fx);
	pid = child_start("--flush-cut", "", &fd);
	status = child_end(pid, fd, out, sizeof(out));
	CHECK_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	reopen();
	CHECK_U64_EQ(engine_applied(g), 10);
	CHECK_INT_EQ(ef_checksum(g), ef_work_checksum(1, 10));
	ef_work(g, 1, 20);
	CHECK_OK(engine_flush(fx.engine));
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, what_was_flushed_is_there_again),
	CHECK_TEST_WITH(setup, teardown, a_close_without_flush_goes_back_to_what_is_durable),
	CHECK_TEST_WITH(setup, teardown, a_new_engine_that_was_never_flushed_is_new_again),
	CHECK_TEST_WITH(setup, teardown, what_is_flushed_in_passing_is_a_state_of_some_slot),
	CHECK_TEST_WITH(setup, teardown, flushes_without_changes_write_nothing),
	CHECK_TEST_WITH(setup, teardown, a_kill_leaves_a_state_of_some_slot_of_each_group),
	CHECK_TEST_WITH(setup, teardown, a_kill_behind_the_first_flushes_leaves_whole_slots),
	CHECK_TEST_WITH(setup, teardown, a_kill_inside_an_install_leaves_the_old_state_or_the_new),
	CHECK_TEST_WITH(setup, teardown, an_installed_snapshot_is_durable),
	CHECK_TEST_WITH(setup, teardown, a_directory_has_one_user),
	CHECK_TEST(a_directory_that_cannot_be_made),
	CHECK_TEST_WITH(setup, teardown, a_flush_that_fails_says_so),
	CHECK_TEST_WITH(setup, teardown, a_flush_that_breaks_off_changes_nothing),
};

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const char *dir);
	} children[] = {
		{"--work", child_work},
		{"--install", child_install},
		{"--open", child_open},
		{"--flush", child_flush},
		{"--flush-cut", child_flush_cut},
	};

	for (size_t i = 0; argc > 2 && i < sizeof(children) / sizeof(children[0]); i++)
		if (strcmp(argv[1], children[i].name) == 0)
			return children[i].run(argv[2]);
	return check_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
