/* Data directories that are not what they should be: refused, with a line that says why. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/kv_fixture.h"

static struct kvf f;

static void setup(void)
{
	kvf_open(&f, 3, NULL);
}

static void teardown(void)
{
	kvf_close(&f);
}

static bool log_has(struct kvf *k, uint32_t id, const char *text)
{
	char path[160], line[1024];
	bool found = false;
	FILE *log;

	snprintf(path, sizeof(path), "%s.log", k->nodes[id].dir);
	log = fopen(path, "r");
	while (log && !found && fgets(line, sizeof(line), log))
		found = strstr(line, text) != NULL;
	if (log)
		fclose(log);
	return found;
}

struct log_query {
	uint32_t id;
	const char *text;
};

static bool logged(struct kvf *k, void *ctx)
{
	struct log_query *q = ctx;

	return log_has(k, q->id, q->text);
}

static void write_some(struct kvf *k, unsigned n)
{
	char name[32];
	uint8_t key[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		CHECK_OK(kvf_put(k, kvf_key(k, 1, name, key), slice_str("needle-in-the-log")));
	}
}

static void begin_story(struct kvf *k)
{
	CHECK_OK(kvf_init(k, 1, 3));
	write_some(k, 5);
	CHECK_TRUE(kvf_wait_equal(k, 1));
}

static void more_story(struct kvf *k)
{
	write_some(k, 5);
}

/* The leader of group 1 has node 3's word for its last slot, which may be the leader itself: what node 3
 * did not acknowledge, it may forget. */
static bool acknowledged_by_3(struct kvf *k, void *ctx)
{
	uint32_t leader = kvf_leader(k, 1);
	const struct kv_group_status *g;
	struct kv_node_status s;
	bool yes = false;

	(void)ctx;
	if (leader == 0 || kvf_status(k, leader, &s) != 0)
		return false;
	g = kvf_group(&s, 1);
	for (uint32_t i = 0; g && i < g->member_count; i++)
		yes |= g->members[i] == 3 && g->member_accepted[i] == g->last;
	kv_node_status_release(&s);
	return yes;
}

static void more_and_equal_story(struct kvf *k)
{
	write_some(k, 5);
	CHECK_TRUE(kvf_wait_equal(k, 1));
	CHECK_TRUE(kvf_wait(k, acknowledged_by_3, NULL));
}

/* ---- refused at start ---- */

static void another_nodes_directory(void)
{
	kvf_kill(&f, 1);
	kvf_kill(&f, 2);
	strcpy(f.nodes[2].dir, f.nodes[1].dir);
	CHECK_ERR(kvf_start(&f, 2), ERR_IDENTITY);
	CHECK_CONTAINS(f.error.text, "node 1, not of node 2");
}

static void a_directory_in_use(void)
{
	struct kvf_node keep = f.nodes[1];

	f.nodes[1].address[0] = '\0';
	CHECK_ERR(kvf_start(&f, 1), ERR_LOCKED);
	CHECK_CONTAINS(f.error.text, "in use by process");
	f.nodes[1] = keep;
}

static void a_port_in_use(void)
{
	kvf_kill(&f, 2);
	strcpy(f.nodes[2].address, f.nodes[1].address);
	CHECK_ERR(kvf_start(&f, 2), ERR_ADDR_IN_USE);
	CHECK_CONTAINS(f.error.text, f.nodes[1].address);
}

static void a_lost_log(void)
{
	char path[160];

	kvf_run(&f, begin_story);
	kvf_kill(&f, 2);
	snprintf(path, sizeof(path), "%s/log", f.nodes[2].dir);
	kvf_remove(path);
	CHECK_ERR(kvf_start(&f, 2), ERR_AMNESIA);
	CHECK_CONTAINS(f.error.text, path);
	kvf_run(&f, more_story); /* the others do */
}

static void a_lost_cluster_file(void)
{
	char path[160];

	kvf_run(&f, begin_story);
	CHECK_INT_EQ(kvf_stop(&f, 2), 0);
	snprintf(path, sizeof(path), "%s/cluster", f.nodes[2].dir);
	CHECK_INT_EQ(unlink(path), 0);
	CHECK_ERR(kvf_start(&f, 2), ERR_AMNESIA);
	CHECK_CONTAINS(f.error.text, "cluster");
}

static void a_damaged_cluster_file(void)
{
	char path[160];
	int fd;

	kvf_run(&f, begin_story);
	kvf_kill(&f, 2);
	snprintf(path, sizeof(path), "%s/cluster", f.nodes[2].dir);
	fd = open(path, O_WRONLY);
	CHECK_INT_EQ(pwrite(fd, "XX", 2, 30), 2);
	close(fd);
	CHECK_ERR(kvf_start(&f, 2), ERR_CORRUPT);
	CHECK_CONTAINS(f.error.text, path);
}

/* Changes one byte of the first copy of @text in the files of @dir; false when there is none. */
static bool damage(const char *dir, const char *text)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "cd %s && for f in *; do o=$(grep -abo -m1 '%s' $f | head -1 | cut -d: -f1); "
		 "[ -n \"$o\" ] && printf '#' | dd of=$f bs=1 seek=$o conv=notrunc status=none && "
		 "exit 0; done; exit 1",
		 dir, text);
	return system(command) == 0;
}

/* In the last batch it could be a torn tail: every node has a later one. */
static void story_in_two_batches(struct kvf *k)
{
	begin_story(k);
	write_some(k, 5);
	CHECK_TRUE(kvf_wait_equal(k, 1));
}

static void a_damaged_log(void)
{
	char path[160];

	kvf_run(&f, story_in_two_batches);
	kvf_kill(&f, 2);
	snprintf(path, sizeof(path), "%s/log", f.nodes[2].dir);
	CHECK_TRUE(damage(path, "needle-in-the-log"));
	CHECK_ERR(kvf_start(&f, 2), ERR_CORRUPT);
	CHECK_CONTAINS(f.error.text, f.nodes[2].dir);
	kvf_run(&f, more_story);
}

/* ---- refused by the others ---- */

static int init_again(struct kvf *k, uint32_t id)
{
	struct buf body = BUF_INIT;
	int err;

	kv_layout_encode(&body, &k->layout);
	err = kvf_call(k, id, KV_INIT, buf_slice(&body), 5 * NS_PER_S, NULL, NULL);
	buf_release(&body);
	return err;
}

/* Refused at init when another node has already said what it knows; else when it does. */
static void blank_story(struct kvf *k)
{
	struct log_query q = {3, "data directory"};
	int err = init_again(k, 3);

	CHECK_TRUE(err == ERR_AMNESIA || err == 0);
	if (!err)
		q.text = "AMNESIA: not the data directory";
	CHECK_TRUE(kvf_wait(k, logged, &q));
	write_some(k, 3);
	CHECK_TRUE(kvf_leader(k, 1) != 3);
}

static void a_blank_directory_under_a_known_id(void)
{
	kvf_run(&f, begin_story);
	kvf_kill(&f, 3);
	kvf_remove(f.nodes[3].dir);
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, blank_story);
}

static void blank_join_story(struct kvf *k)
{
	struct log_query q = {3, "by another data directory"};
	struct kv_node_status s;

	CHECK_TRUE(kvf_wait(k, logged, &q));
	CHECK_OK(kvf_status(k, 3, &s));
	CHECK_U64_EQ(s.group_count, 0);
	kv_node_status_release(&s);
	write_some(k, 3);
}

static void a_blank_directory_that_joins(void)
{
	kvf_run(&f, begin_story);
	kvf_kill(&f, 3);
	kvf_remove(f.nodes[3].dir);
	f.cfg.join = f.nodes[1].address;
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, blank_join_story);
}

static char copy[160];

static void copy_directory(void)
{
	snprintf(copy, sizeof(copy), "%s.copy", f.nodes[3].dir);
	kvf_copy(f.nodes[3].dir, copy);
}

static void go_back_to_copy(void)
{
	kvf_remove(f.nodes[3].dir);
	CHECK_INT_EQ(rename(copy, f.nodes[3].dir), 0);
}

static void old_copy_story(struct kvf *k)
{
	struct log_query q = {3, "AMNESIA: an old copy"};
	struct kv_node_status s;

	CHECK_TRUE(kvf_wait(k, logged, &q));
	CHECK_OK(kvf_status(k, 3, &s));
	CHECK_CONTAINS(kvf_group(&s, 1)->note, "an old copy");
	CHECK_FALSE(kvf_group(&s, 1)->serving);
	kv_node_status_release(&s);
	write_some(k, 3);
	CHECK_TRUE(kvf_leader(k, 1) != 3);
}

static void still_fenced_story(struct kvf *k)
{
	struct kv_node_status s;

	CHECK_OK(kvf_status(k, 3, &s));
	CHECK_CONTAINS(kvf_group(&s, 1)->note, "an old copy");
	kv_node_status_release(&s);
}

/* Also after a restart, with nobody there to tell. */
static void an_old_copy_of_the_directory(void)
{
	kvf_run(&f, begin_story);
	kvf_kill(&f, 3);
	copy_directory();
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, more_and_equal_story);
	kvf_kill(&f, 3);
	go_back_to_copy();
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, old_copy_story);
	for (uint32_t i = 1; i <= 3; i++)
		kvf_kill(&f, i);
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, still_fenced_story);
}

static bool led_by_3(struct kvf *k, void *ctx)
{
	(void)ctx;
	return kvf_leader(k, 1) == 3;
}

/* The leader can hand over to node 3 only, for the other one is away. */
static void reign_story(struct kvf *k)
{
	uint32_t leader = kvf_leader(k, 1), away = 3 - leader;
	struct buf body = BUF_INIT;

	if (leader != 3) {
		CHECK_INT_EQ(kvf_stop(k, away), 0);
		CHECK_TRUE(kvf_wait_equal(k, 1));
		kv_group_request_encode(&body, 1, (struct slice){0});
		CHECK_OK(kvf_call(k, leader, KV_HAND_OVER, buf_slice(&body), 2 * NS_PER_S, NULL,
				  NULL));
		CHECK_TRUE(kvf_wait(k, led_by_3, NULL));
		CHECK_OK(kvf_start(k, away));
		buf_release(&body);
	}
	write_some(k, 3);
	CHECK_TRUE(kvf_wait_equal(k, 1));
}

/* It acknowledged nothing to anybody; but it has led, by a ballot that the copy does not know. */
static void an_old_copy_of_a_leader(void)
{
	kvf_run(&f, begin_story);
	kvf_kill(&f, 3);
	copy_directory();
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, reign_story);
	kvf_kill(&f, 3);
	go_back_to_copy();
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, old_copy_story);
}

static bool leads_and_has_it_on_disk(struct kvf *k, void *ctx)
{
	return led_by_3(k, ctx) && acknowledged_by_3(k, ctx);
}

static void reign_and_flush_story(struct kvf *k)
{
	reign_story(k);
	CHECK_OK(kvf_call(k, 3, KV_FLUSH, (struct slice){0}, 5 * NS_PER_S, NULL, NULL));
}

/* The second time, what it has on its disk is more than what the copy has: it says so to all. */
static void same_reign_story(struct kvf *k)
{
	for (int i = 0; i < 2; i++) {
		write_some(k, 3);
		CHECK_TRUE(kvf_wait(k, leads_and_has_it_on_disk, NULL));
	}
}

/* It leads all the time, by one ballot: nobody has an acknowledgement of it. */
static void an_old_copy_of_a_leader_that_stays_one(void)
{
	kvf_run(&f, begin_story);
	kvf_run(&f, reign_and_flush_story);
	copy_directory(); /* it runs, but is at rest */
	kvf_run(&f, same_reign_story);
	kvf_kill(&f, 3);
	go_back_to_copy();
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, old_copy_story);
}

/* All nodes stop in between: what they saw of each other is on disk. */
static void an_old_copy_after_a_full_stop(void)
{
	kvf_run(&f, begin_story);
	kvf_kill(&f, 3);
	copy_directory();
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, more_and_equal_story);
	for (uint32_t id = 1; id <= 3; id++)
		CHECK_INT_EQ(kvf_stop(&f, id), 0);
	go_back_to_copy();
	kvf_start_all(&f);
	kvf_run(&f, old_copy_story);
}

/* Node 3 is started on the directory of a node 3 of another cluster at the same addresses. */
static void stranger_init_story(struct kvf *k)
{
	struct buf body = BUF_INIT;

	k->layout.cluster[0] ^= 1;
	kv_layout_encode(&body, &k->layout);
	k->layout.cluster[0] ^= 1;
	CHECK_OK(kvf_call(k, 3, KV_INIT, buf_slice(&body), 5 * NS_PER_S, NULL, NULL));
	buf_release(&body);
}

static void stranger_story(struct kvf *k)
{
	struct log_query one = {1, "it belongs to another cluster"};
	struct log_query three = {3, "it belongs to another cluster"};

	CHECK_TRUE(kvf_wait(k, logged, &one));
	CHECK_TRUE(kvf_wait(k, logged, &three));
	write_some(k, 3);
	CHECK_TRUE(kvf_leader(k, 1) != 3);
}

static void another_clusters_directory(void)
{
	kvf_run(&f, begin_story);
	kvf_kill(&f, 3);
	kvf_remove(f.nodes[3].dir);
	CHECK_OK(kvf_start(&f, 3));
	kvf_run(&f, stranger_init_story);
	kvf_run(&f, stranger_story);
}

static void welcome_story(struct kvf *k)
{
	CHECK_TRUE(kvf_wait_equal(k, 1));
	for (uint32_t id = 1; id <= 3; id++) {
		CHECK_FALSE(log_has(k, id, "AMNESIA"));
		CHECK_FALSE(log_has(k, id, "refused"));
	}
}

/* The other side of the coin: kill -9 in any order is no amnesia. */
static void restarts_are_welcome(void)
{
	kvf_run(&f, begin_story);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t id = 1; id <= 3; id++) {
			kvf_kill(&f, id);
			kvf_run(&f, more_story);
			CHECK_OK(kvf_start(&f, id));
		}
		kvf_run(&f, welcome_story);
		kvf_kill_all(&f);
		kvf_start_all(&f);
		kvf_run(&f, welcome_story);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, another_nodes_directory),
	CHECK_TEST_WITH(setup, teardown, a_directory_in_use),
	CHECK_TEST_WITH(setup, teardown, a_port_in_use),
	CHECK_TEST_WITH(setup, teardown, a_lost_log),
	CHECK_TEST_WITH(setup, teardown, a_lost_cluster_file),
	CHECK_TEST_WITH(setup, teardown, a_damaged_cluster_file),
	CHECK_TEST_WITH(setup, teardown, a_damaged_log),
	CHECK_TEST_WITH(setup, teardown, a_blank_directory_under_a_known_id),
	CHECK_TEST_WITH(setup, teardown, a_blank_directory_that_joins),
	CHECK_TEST_WITH(setup, teardown, an_old_copy_of_the_directory),
	CHECK_TEST_WITH(setup, teardown, an_old_copy_of_a_leader),
	CHECK_TEST_WITH(setup, teardown, an_old_copy_of_a_leader_that_stays_one),
	CHECK_TEST_WITH(setup, teardown, an_old_copy_after_a_full_stop),
	CHECK_TEST_WITH(setup, teardown, another_clusters_directory),
	CHECK_TEST_WITH(setup, teardown, restarts_are_welcome),
};
CHECK_MAIN(tests)
