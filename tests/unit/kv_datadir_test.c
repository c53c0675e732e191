/* kv/datadir: lock, identity, small files. */
#include "kv/datadir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/check.h"
#include "tests/lib/scratch.h"

static char root[64];
static struct datadir dir;
static struct msg m;

static void setup(void)
{
	scratch_make(root, sizeof(root), "datadir");
	dir = (struct datadir){0};
	m.text[0] = '\0';
}

static void teardown(void)
{
	datadir_close(&dir);
	scratch_remove(root);
}

static int open_dir(uint32_t node)
{
	return datadir_open(root, node, 77, 88, &dir, &m);
}

static void creates_with_parents_and_remembers(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/a/b/c", root);
	CHECK_OK(datadir_open(path, 3, 77, 88, &dir, &m));
	CHECK_TRUE(dir.created);
	datadir_close(&dir);
	CHECK_OK(datadir_open(path, 0, 1, 2, &dir, &m));
	CHECK_FALSE(dir.created);
	CHECK_U64_EQ(dir.node, 3);
	CHECK_U64_EQ(dir.birth, 77);
	CHECK_U64_EQ(dir.created_ns, 88);
}

static void refuses_another_node(void)
{
	CHECK_OK(open_dir(3));
	datadir_close(&dir);
	CHECK_ERR(open_dir(4), ERR_IDENTITY);
	CHECK_CONTAINS(m.text, "node 3");
	CHECK_CONTAINS(m.text, "node 4");
	CHECK_CONTAINS(m.text, root);
}

static void refuses_a_strangers_directory(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/letters", root);
	CHECK_INT_EQ(mkdir(path, 0700), 0);
	CHECK_ERR(open_dir(1), ERR_IDENTITY);
	CHECK_CONTAINS(m.text, "letters");
}

static void a_new_one_needs_an_id(void)
{
	CHECK_ERR(open_dir(0), ERR_INVAL);
	CHECK_OK(open_dir(1)); /* and nothing was left behind */
}

static void is_locked(void)
{
	struct datadir second;
	int status;
	pid_t pid;

	CHECK_OK(open_dir(1));
	pid = fork();
	if (pid == 0) {
		close(dir.lock_fd);
		_exit(datadir_open(root, 1, 7, 7, &second, &m) == ERR_LOCKED &&
				      strstr(m.text, "in use by process") != NULL
			      ? 0
			      : 1);
	}
	CHECK_TRUE(waitpid(pid, &status, 0) == pid);
	CHECK_INT_EQ(status, 0);
	datadir_close(&dir);
	CHECK_OK(open_dir(1));
}

static void replaces_files(void)
{
	struct buf b = BUF_INIT;

	CHECK_OK(open_dir(1));
	CHECK_ERR(datadir_read(&dir, "cluster", &b, &m), ERR_NOT_FOUND);
	CHECK_FALSE(datadir_has(&dir, "cluster"));
	CHECK_OK(datadir_write(&dir, "cluster", slice_str("first"), &m));
	CHECK_OK(datadir_write(&dir, "cluster", slice_str("2nd"), &m));
	CHECK_TRUE(datadir_has(&dir, "cluster"));
	CHECK_OK(datadir_read(&dir, "cluster", &b, &m));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("2nd"));
	CHECK_OK(datadir_write(&dir, "cluster", (struct slice){0}, &m));
	CHECK_OK(datadir_read(&dir, "cluster", &b, &m));
	CHECK_U64_EQ(b.len, 0);
	buf_release(&b);
}

static void sees_damage_in_every_byte(void)
{
	struct buf b = BUF_INIT;
	char path[128];
	struct stat st;
	int fd;

	CHECK_OK(open_dir(1));
	CHECK_OK(datadir_write(&dir, "cluster", slice_str("payload"), &m));
	snprintf(path, sizeof(path), "%s/cluster", root);
	fd = open(path, O_RDWR);
	CHECK_TRUE(fd >= 0);
	CHECK_INT_EQ(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		uint8_t keep, bad;

		CHECK_INT_EQ(pread(fd, &keep, 1, at), 1);
		bad = keep ^ 0x10;
		CHECK_INT_EQ(pwrite(fd, &bad, 1, at), 1);
		CHECK_ERR(datadir_read(&dir, "cluster", &b, &m), ERR_CORRUPT);
		CHECK_CONTAINS(m.text, path);
		CHECK_INT_EQ(pwrite(fd, &keep, 1, at), 1);
	}
	CHECK_OK(datadir_read(&dir, "cluster", &b, &m));
	for (off_t len = st.st_size - 1; len >= 0; len--) {
		CHECK_INT_EQ(ftruncate(fd, len), 0);
		CHECK_ERR(datadir_read(&dir, "cluster", &b, &m), ERR_CORRUPT);
	}
	close(fd);
	buf_release(&b);
}

static void a_damaged_identity_is_told(void)
{
	char path[128];

	CHECK_OK(open_dir(1));
	datadir_close(&dir);
	snprintf(path, sizeof(path), "%s/node", root);
	CHECK_INT_EQ(truncate(path, 20), 0);
	CHECK_ERR(open_dir(1), ERR_CORRUPT);
	CHECK_CONTAINS(m.text, path);
}

static void knows_empty_from_absent(void)
{
	char path[128];

	CHECK_OK(open_dir(1));
	snprintf(path, sizeof(path), "%s/log", root);
	CHECK_FALSE(datadir_has(&dir, "log"));
	CHECK_INT_EQ(mkdir(path, 0700), 0);
	CHECK_FALSE(datadir_has(&dir, "log"));
	snprintf(path, sizeof(path), "%s/log/x", root);
	CHECK_INT_EQ(mkdir(path, 0700), 0);
	CHECK_TRUE(datadir_has(&dir, "log"));
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, creates_with_parents_and_remembers),
	CHECK_TEST_WITH(setup, teardown, refuses_another_node),
	CHECK_TEST_WITH(setup, teardown, refuses_a_strangers_directory),
	CHECK_TEST_WITH(setup, teardown, a_new_one_needs_an_id),
	CHECK_TEST_WITH(setup, teardown, is_locked),
	CHECK_TEST_WITH(setup, teardown, replaces_files),
	CHECK_TEST_WITH(setup, teardown, sees_damage_in_every_byte),
	CHECK_TEST_WITH(setup, teardown, a_damaged_identity_is_told),
	CHECK_TEST_WITH(setup, teardown, knows_empty_from_absent),
};
CHECK_MAIN(tests)
