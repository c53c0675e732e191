/* What the kernel knows: counted as it counts, in the order of use, freed when nothing keeps it. */
#include "base/mem.h"
#include "mount/mount_internal.h"
#include "tests/lib/check.h"

static struct mount_inodes *v;
static fs_ino out[1000];

static void setup(void)
{
	v = mount__inodes_new();
}

static void teardown(void)
{
	mount__inodes_free(v);
}

static void give(fs_ino from, fs_ino to)
{
	for (fs_ino i = from; i <= to; i++)
		mount__inode_given(v, i);
}

static void it_goes_with_its_last_reference(void)
{
	give(10, 12);
	give(11, 11);
	CHECK_U64_EQ(mount__inodes_count(v), 3);
	mount__inode_back(v, 11, 1);
	CHECK_U64_EQ(mount__inodes_count(v), 3);
	mount__inode_back(v, 11, 1);
	CHECK_U64_EQ(mount__inodes_count(v), 2);
	CHECK_NULL(mount__inode_find(v, 11));
	mount__inode_back(v, 11, 1); /* unknown, and more than was given: nothing */
	mount__inode_back(v, 10, 99);
	CHECK_U64_EQ(mount__inodes_count(v), 1);
}

static void an_answer_that_crosses_a_forget_counts(void)
{
	give(10, 10);
	give(10, 10);		       /* the answer is on its way ... */
	mount__inode_back(v, 10, 1); /* ... and the kernel has given back what it had */
	CHECK_U64_EQ(mount__inodes_count(v), 1);
}

static void the_root_is_not_counted(void)
{
	mount__inode_given(v, FS_ROOT_INO);
	CHECK_U64_EQ(mount__inodes_count(v), 0);
}

static void the_oldest_are_those_used_longest_ago(void)
{
	give(10, 19);
	mount__inode_find(v, 10);
	mount__inode_find(v, 12);
	CHECK_U64_EQ(mount__inodes_oldest(v, out, 3), 3);
	CHECK_U64_EQ(out[0], 11);
	CHECK_U64_EQ(out[1], 13);
	CHECK_U64_EQ(out[2], 14);
	/* the kernel keeps them: others' turn first */
	CHECK_U64_EQ(mount__inodes_oldest(v, out, 1000), 10);
	CHECK_U64_EQ(out[0], 15);
	CHECK_U64_EQ(out[4], 19);
	CHECK_U64_EQ(out[5], 10);
	CHECK_U64_EQ(out[6], 12);
	CHECK_U64_EQ(out[7], 11);
	CHECK_U64_EQ(mount__inodes_count(v), 10);
}

static void what_was_never_given_is_freed_in_passing(void)
{
	struct fs_attr a = {.ino = 5, .data_version = 1};

	mount__versions_tell(v, &a); /* and the answer failed */
	give(10, 10);
	CHECK_U64_EQ(mount__inodes_count(v), 2);
	CHECK_U64_EQ(mount__inodes_oldest(v, out, 9), 1);
	CHECK_U64_EQ(out[0], 10);
	CHECK_U64_EQ(mount__inodes_count(v), 1);
}

static void a_write_keeps_it_until_it_ends(void)
{
	give(10, 11);
	mount__versions_write_begin(v, 10);
	mount__versions_write_begin(v, 11);
	mount__inode_back(v, 10, 1);
	mount__inode_back(v, 11, 1);
	CHECK_U64_EQ(mount__inodes_count(v), 2);
	mount__versions_write_end(v, 10, true);
	mount__versions_write_none(v, 11);
	CHECK_U64_EQ(mount__inodes_count(v), 0);
}

static void memory_follows_the_count(void)
{
	uint64_t full;
	long live;

	CHECK_U64_EQ(mount__inodes_bytes(v), 0);
	mem_count_live(true);
	give(2, 100001);
	CHECK_INT_EQ(mem_live(), 100000); /* one block each; the hash table is uthash's own */
	full = mount__inodes_bytes(v);
	CHECK_TRUE(full >= 100000 * sizeof(struct mount_inode));
	CHECK_TRUE(full <= 100000 * 160);
	for (fs_ino i = 2; i <= 100001; i++)
		mount__inode_back(v, i, 1);
	live = mem_live();
	mem_count_live(false);
	CHECK_INT_EQ(live, 0);
	CHECK_U64_EQ(mount__inodes_bytes(v), 0);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(setup, teardown, it_goes_with_its_last_reference),
	CHECK_TEST_WITH(setup, teardown, an_answer_that_crosses_a_forget_counts),
	CHECK_TEST_WITH(setup, teardown, the_root_is_not_counted),
	CHECK_TEST_WITH(setup, teardown, the_oldest_are_those_used_longest_ago),
	CHECK_TEST_WITH(setup, teardown, what_was_never_given_is_freed_in_passing),
	CHECK_TEST_WITH(setup, teardown, a_write_keeps_it_until_it_ends),
	CHECK_TEST_WITH(setup, teardown, memory_follows_the_count),
};
CHECK_MAIN(tests)
