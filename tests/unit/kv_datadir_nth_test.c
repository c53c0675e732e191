/* kv/datadir: each file call fails once, or is the last one of its process. Afterwards a file is
 * what it was or what it was to be, never half; and what was reported as written is there;
 * messages name the file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/datadir.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/forked.h"
#include "tests/lib/scratch.h"
#include "tests/unit/nth_files.h"

#define FIRED "(fired)" /* there was an n-th call */

enum { CHILD_OK = 10, CHILD_ERROR };

static char root[64], dir_path[128];

static void setup(void)
{
	scratch_make(root, sizeof(root), "nth");
	snprintf(dir_path, sizeof(dir_path), "%s/a/data", root);
}

static void teardown(void)
{
	(void)nth_files_disarm();
	fault_teardown();
	scratch_remove(root);
}

/* ---- one run in a process ---- */

struct run {
	int how;
	unsigned long nth;
	int (*body)(struct msg *m); /* its error */
};

static void child(void *ctx)
{
	const struct run *r = ctx;
	struct msg m = {""};
	int err;

	nth_files_arm(root, r->nth, r->how, false);
	err = r->body(&m);
	fprintf(stderr, "%s%s", nth_files_disarm() >= r->nth ? FIRED : "", m.text);
	_exit(err ? CHILD_ERROR : CHILD_OK);
}

static const int modes[] = {EIO, ENOSPC, NTH_DIE};
static const char *const mode_names[] = {"EIO", "ENOSPC", "death"};

static void every_call(const char *name, int (*body)(struct msg *m), void (*before)(void),
		       void (*after)(bool reported))
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct run r = {.how = modes[i], .body = body};
		unsigned long n = 0;
		bool fired = true;
		char text[600];

		for (; fired; n++) {
			int status;

			scratch_empty(root);
			before();
			r.nth = n + 1;
			status = forked(child, &r, text, sizeof(text));
			fired = status == NTH_DEAD_STATUS || strstr(text, FIRED) != NULL;
			if (fired && modes[i] == NTH_DIE)
				CHECK_INT_EQ(status, NTH_DEAD_STATUS);
			if (!fired)
				CHECK_INT_EQ(status, CHILD_OK);
			if (status == CHILD_ERROR) {
				CHECK_CONTAINS(text, root); /* which file, or directory */
				CHECK_CONTAINS(text, modes[i] == EIO ? "nput/output" : "o space");
			}
			after(status == CHILD_OK);
		}
		printf("     %-34s %-7s %4lu calls\n", name, mode_names[i], n - 1);
		CHECK_TRUE(n > 4);
	}
}

/* ---- creating one ---- */

static int create(struct msg *m)
{
	struct datadir d;

	return datadir_open(dir_path, 3, 77, 88, &d, m);
}

static void nothing(void)
{
}

/* The same command again: it is the new node's, whatever was left there. */
static void opens_as_3(bool reported)
{
	struct datadir d = {0};
	struct msg m = {""};
	int err = datadir_open(dir_path, 3, 99, 88, &d, &m);

	if (err)
		CHECK_FAIL("%s", m.text);
	CHECK_U64_EQ(d.node, 3);
	CHECK_TRUE(d.birth == 77 || (d.birth == 99 && !reported));
	datadir_close(&d);
	CHECK_ERR(datadir_open(dir_path, 4, 99, 88, &d, &m), ERR_IDENTITY);
}

static void creating(void)
{
	every_call("data directory: create", create, nothing, opens_as_3);
}

/* ---- replacing a file ---- */

static const char *file_name;
static struct buf old_value, new_value;

static void make_old(void)
{
	struct datadir d;
	struct msg m = {""};

	CHECK_OK(datadir_open(dir_path, 3, 77, 88, &d, &m));
	CHECK_OK(datadir_write(&d, file_name, buf_slice(&old_value), &m));
	datadir_close(&d);
}

static int replace(struct msg *m)
{
	struct datadir d;
	int err = datadir_open(dir_path, 3, 77, 88, &d, m);

	return err ? err : datadir_write(&d, file_name, buf_slice(&new_value), m);
}

static void old_or_new(bool reported)
{
	struct buf got = BUF_INIT;
	struct datadir d;
	struct msg m = {""};
	bool is_new;

	CHECK_OK(datadir_open(dir_path, 0, 1, 2, &d, &m));
	CHECK_U64_EQ(d.birth, 77);
	CHECK_OK(datadir_read(&d, file_name, &got, &m));
	is_new = slice_eq(buf_slice(&got), buf_slice(&new_value));
	CHECK_TRUE(is_new || (!reported && slice_eq(buf_slice(&got), buf_slice(&old_value))));
	CHECK_OK(datadir_write(&d, file_name, buf_slice(&new_value), &m));
	CHECK_OK(datadir_read(&d, file_name, &got, &m));
	CHECK_SLICE_EQ(buf_slice(&got), buf_slice(&new_value));
	datadir_close(&d);
	buf_release(&got);
}

static void replacing(void)
{
	buf_add(&old_value, "old", 3);
	for (unsigned i = 0; i < 5000; i++)
		buf_add_be32(&new_value, i);
	file_name = "cluster";
	every_call("`cluster`: replace", replace, make_old, old_or_new);
	file_name = "peers";
	every_call("`peers`: replace", replace, make_old, old_or_new);
	buf_release(&old_value);
	buf_release(&new_value);
}

/* ---- memory ---- */

static void without_memory(struct fault *f)
{
	struct datadir d = {0};
	struct msg m = {""};
	struct buf got = BUF_INIT;
	int err;

	scratch_empty(root);
	fault_arm(f);
	err = datadir_open(dir_path, 3, 77, 88, &d, &m);
	if (fault_hit(f, err)) {
		CHECK_CONTAINS(m.text, "out of memory");
		CHECK_CONTAINS(m.text, dir_path);
		CHECK_OK(datadir_open(dir_path, 3, 77, 88, &d, &m));
	}
	fault_arm(f);
	err = datadir_write(&d, "cluster", slice_str("value"), &m);
	if (fault_hit(f, err)) {
		CHECK_CONTAINS(m.text, "cluster");
		CHECK_OK(datadir_write(&d, "cluster", slice_str("value"), &m));
	}
	fault_arm(f);
	err = datadir_read(&d, "cluster", &got, &m);
	if (fault_hit(f, err)) {
		CHECK_CONTAINS(m.text, "cluster");
		CHECK_OK(datadir_read(&d, "cluster", &got, &m));
	}
	CHECK_SLICE_EQ(buf_slice(&got), slice_str("value"));
	datadir_close(&d);
	buf_release(&got);
	fault_arm(f);
	err = datadir_open(dir_path, 3, 77, 88, &d, &m);
	if (fault_hit(f, err)) {
		CHECK_CONTAINS(m.text, "out of memory");
		CHECK_OK(datadir_open(dir_path, 3, 77, 88, &d, &m));
	}
	CHECK_U64_EQ(d.birth, 77);
	datadir_close(&d);
}

static void allocations(void)
{
	fault_every("data directory: create, write, read, open", without_memory, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, creating),
	CHECK_TEST_WITH(setup, teardown, replacing),
	CHECK_TEST_WITH(setup, teardown, allocations),
};
CHECK_MAIN(tests)
