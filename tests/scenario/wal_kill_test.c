/* A process that writes the log in a real directory is killed -9, again and again, wherever it is.
 * Whatever it said was acknowledged is there when the log is opened again. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/logger.h"
#include "tests/lib/check.h"
#include "wal/wal.h"
#include "wal/wal_device.h"

#define GROUPS	4u
#define ROUNDS	12u
#define KEPT	40u /* slots that stay behind a truncation */
#define SEGMENT (64u * 1024u)

/* What the writer tells after each acknowledgement, and before it truncates. */
struct news {
	uint64_t acked[GROUPS];	 /* the highest acknowledged slot; KEPT of them must be there */
	uint64_t ballot[GROUPS]; /* the highest acknowledged promise */
};

struct state {
	uint64_t slot[GROUPS], ballot[GROUPS]; /* the highest there is */
};

static char dir[64];
static struct wal_device *device;
static int ack_fd[2]; /* of the writer's own: its writer thread wakes it */

static void setup(void)
{
	struct msg m;

	logger_set_level(LOG_ERROR_);
	(void)snprintf(dir, sizeof(dir), "/tmp/wal_kill_test.XXXXXX");
	CHECK_NOT_NULL(mkdtemp(dir));
	CHECK_OK(wal_device_dir(dir, &device, &m));
}

static void teardown(void)
{
	char name[128];

	wal_device_free(device);
	for (unsigned i = 1; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "%s/%08u.wal", dir, i);
		(void)unlink(name);
		(void)snprintf(name, sizeof(name), "%s/%08u.wal.tmp", dir, i);
		(void)unlink(name);
	}
	CHECK_INT_EQ(rmdir(dir), 0);
	logger_set_level(LOG_INFO_);
}

/* ---- records ---- */

static size_t payload_len(uint64_t slot)
{
	return 8 + slot * 37 % 900;
}

static void payload_make(uint8_t *p, uint32_t group, uint64_t slot)
{
	le64_put(p, slot);
	for (size_t i = 8; i < payload_len(slot); i++)
		p[i] = (uint8_t)(group * 101 + slot * 7 + i);
}

static uint64_t append_entry(struct wal *w, uint32_t group, uint64_t slot)
{
	uint8_t payload[1024];

	payload_make(payload, group, slot);
	return wal_append(w, &(struct wal_record){.type = WAL_ENTRY,
						  .group = group,
						  .ballot = 1,
						  .slot = slot,
						  .payload = slice_of(payload, payload_len(slot))});
}

static int on_replay(void *ctx, const struct wal_record *r)
{
	struct state *s = ctx;

	if (r->group >= GROUPS)
		return ERR_CORRUPT;
	if (r->type == WAL_ENTRY && r->slot > s->slot[r->group])
		s->slot[r->group] = r->slot;
	if (r->type == WAL_PROMISE && r->ballot > s->ballot[r->group])
		s->ballot[r->group] = r->ballot;
	return 0;
}

/* ---- the writer's process ---- */

static void on_synced(void *ctx)
{
	(void)ctx;
	(void)!write(ack_fd[1], "", 1);
}

static void wait_for(struct wal *w, uint64_t batch)
{
	char c;

	while (wal_synced(w) < batch) {
		if (read(ack_fd[0], &c, 1) != 1)
			_exit(2);
	}
}

static void tell(int fd, const struct news *n)
{
	if (write(fd, n, sizeof(*n)) != (ssize_t)sizeof(*n))
		_exit(3); /* nobody listens: the test failed */
}

/* One batch over some groups, acknowledged; now and then a promise, and a truncation. */
static void turn(struct wal *w, struct state *s, struct news *n, int fd, uint64_t number)
{
	uint64_t batch = 0;

	for (uint64_t i = 0; i <= number % 7; i++) {
		uint32_t g = (uint32_t)((number + i) % GROUPS);

		batch = append_entry(w, g, ++s->slot[g]);
	}
	if (number % 10 == 0)
		batch = wal_append(w, &(struct wal_record){.type = WAL_PROMISE,
							   .group = 2,
							   .ballot = ++s->ballot[2]});
	wal_submit(w);
	wait_for(w, batch);
	memcpy(n->acked, s->slot, sizeof(n->acked));
	memcpy(n->ballot, s->ballot, sizeof(n->ballot));
	tell(fd, n);
	if (number % 5 == 0) {
		uint32_t g = (uint32_t)(number / 5 % GROUPS);

		if (s->slot[g] > KEPT)
			wal_truncate(w, g, s->slot[g] - KEPT);
	}
}

_Noreturn static void writer(int fd)
{
	struct wal_config cfg = {.device = device,
				 .segment_size = SEGMENT,
				 .size_max = 1 << 24,
				 .on_synced = on_synced};
	struct state s = {0};
	struct news n = {0};
	struct wal *w;
	struct msg m;

	if (pipe(ack_fd) != 0 || wal_open(&cfg, on_replay, &s, &w, &m) != 0)
		_exit(1);
	for (uint64_t number = 1;; number++)
		turn(w, &s, &n, fd, number);
}

/* ---- the test's ---- */

static void check_entry(struct wal *w, uint32_t group, uint64_t slot)
{
	struct buf b = BUF_INIT;
	uint8_t want[1024];
	uint64_t ballot;

	CHECK_OK(wal_read(w, group, slot, &ballot, &b));
	payload_make(want, group, slot);
	CHECK_SLICE_EQ(buf_slice(&b), slice_of(want, payload_len(slot)));
	buf_release(&b);
}

static void check_log(const struct news *n, uint64_t *entries)
{
	struct wal_config cfg = {
		.device = device, .segment_size = SEGMENT, .size_max = 1 << 24, .inline_io = true};
	struct state s = {0};
	struct wal *w;
	struct msg m = {{0}};

	if (wal_open(&cfg, on_replay, &s, &w, &m) != 0)
		CHECK_FAIL("%s", m.text);
	for (uint32_t g = 0; g < GROUPS; g++) {
		CHECK_TRUE(s.slot[g] >= n->acked[g]);
		CHECK_TRUE(s.ballot[g] >= n->ballot[g]);
		for (uint64_t i = 0; i < KEPT && i < n->acked[g]; i++) {
			check_entry(w, g, n->acked[g] - i);
			(*entries)++;
		}
	}
	wal_close(w);
}

/* Reads @count pieces of news, kills, and takes the last that was told before the end. */
static void kill_after(uint64_t count, struct news *last)
{
	int status, fds[2];
	struct news n;
	pid_t pid;

	CHECK_INT_EQ(pipe(fds), 0);
	pid = fork();
	CHECK_TRUE(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		writer(fds[1]);
	}
	close(fds[1]);
	while (read(fds[0], &n, sizeof(n)) == (ssize_t)sizeof(n)) {
		*last = n;
		if (count > 0 && --count == 0)
			CHECK_INT_EQ(kill(pid, SIGKILL), 0);
	}
	close(fds[0]);
	CHECK_INT_EQ(waitpid(pid, &status, 0), pid);
	CHECK_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_U64_EQ(count, 0);
}

static void acknowledged_records_survive_kill_9(void)
{
	uint64_t entries = 0, before = 0;
	struct news n = {0};

	srandom(9);
	for (unsigned round = 0; round < ROUNDS; round++) {
		kill_after(1 + (uint64_t)random() % 400, &n);
		check_log(&n, &entries);
		CHECK_TRUE(n.acked[0] + n.acked[1] + n.acked[2] + n.acked[3] > before);
		before = n.acked[0] + n.acked[1] + n.acked[2] + n.acked[3];
	}
	CHECK_TRUE(entries > 100);
	printf("%u kills, %" PRIu64 " entries acknowledged, %" PRIu64 " looked at\n", ROUNDS, before,
	       entries);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, acknowledged_records_survive_kill_9),
};

CHECK_MAIN(tests)
