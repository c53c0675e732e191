/* File systems of other format versions: older ones are raised to this one, later ones refused. */
#include "base/bytes.h"
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define B    ((uint64_t)BLOCK_SIZE)
#define RW   (FS_O_READ | FS_O_WRITE)

static void set_version(struct fsx *x, uint32_t version)
{
	struct fs_key k;

	fs__key_system(&k);
	le32_put(fsx_find(x, fs__key_slice(&k))->value.data, version);
}

static uint32_t version(struct fsx *x)
{
	struct fs_key k;

	fs__key_system(&k);
	return le32_get(fsx_find(x, fs__key_slice(&k))->value.data);
}

/* The record as version 1 had it: nothing of holes, cuts, access times set, access lists. */
static void make_old(struct fsx *x, fs_ino ino)
{
	struct fs_key k;
	uint8_t *p;

	fs__key_inode(&k, ino);
	p = fsx_find(x, fs__key_slice(&k))->value.data;
	p[2] &= 1;
	p[3] = 0;
	memset(p + 112, 0, 16);
}

FSC_CASE(an_older_one_becomes_one_of_this_version)
{
	static const struct fs_options read_only = {.read_only = true};

	CHECK_U64_EQ(version(m->x), 2);
	set_version(m->x, 1);
	(void)fsx_mount_with(m->x, &read_only);
	CHECK_U64_EQ(version(m->x), 1);
	(void)fsx_mount(m->x);
	CHECK_U64_EQ(version(m->x), 2);
	(void)fsx_mount(m->x);
	CHECK_U64_EQ(version(m->x), 2);
}

static void raise_it(struct fsx *x, const struct txn_mini *mini)
{
	if (mini->mut_count > 0)
		set_version(x, 2);
}

FSC_CASE(two_may_raise_it_at_once)
{
	set_version(m->x, 1);
	m->x->before = raise_it;
	(void)fsx_mount(m->x);
	m->x->before = NULL;
	CHECK_U64_EQ(version(m->x), 2);
}

static void outrun(struct fsx *x, const struct txn_mini *mini)
{
	if (mini->mut_count > 0)
		set_version(x, 3);
}

/* A newer program was faster: this one does not know what it would work on. */
FSC_CASE(one_raised_further_meanwhile_is_refused)
{
	struct msg msg = {""};
	struct fs *fs = NULL;

	set_version(m->x, 1);
	m->x->before = outrun;
	CHECK_ERR(fs_open(&m->b, NULL, &fs, &msg), ERR_UNSUPPORTED);
	m->x->before = NULL;
	CHECK_CONTAINS(msg.text, "the file system has format version 3, this program knows 2");
	CHECK_U64_EQ(version(m->x), 3);
	set_version(m->x, 2);
}

FSC_CASE(others_are_refused)
{
	static const uint32_t other[] = {0, 3, UINT32_MAX};
	struct msg msg = {""};
	struct fs *fs;

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		set_version(m->x, other[i]);
		CHECK_ERR(fs_open(&m->b, NULL, &fs, &msg), ERR_UNSUPPORTED);
		CHECK_U64_EQ(version(m->x), other[i]);
	}
	set_version(m->x, 3);
	CHECK_ERR(fs_open(&m->b, NULL, &fs, &msg), ERR_UNSUPPORTED);
	CHECK_CONTAINS(msg.text, "the file system has format version 3, this program knows 2");
	set_version(m->x, 2);
}

/* Whatever a later version keeps there besides. */
FSC_CASE(a_longer_record_is_another_version_not_damage)
{
	uint8_t b[FS_SYSTEM_SIZE + 8] = {3}, was[FS_SYSTEM_SIZE];
	struct msg msg = {""};
	struct fs_key k;
	struct fs *fs;

	fs__key_system(&k);
	memcpy(was, fsx_find(m->x, fs__key_slice(&k))->value.data, sizeof(was));
	fsx_put(m->x, fs__key_slice(&k), slice_of(b, sizeof(b)));
	CHECK_ERR(fs_open(&m->b, NULL, &fs, &msg), ERR_UNSUPPORTED);
	CHECK_CONTAINS(msg.text, "the file system has format version 3, this program knows 2");
	b[0] = 2;
	fsx_put(m->x, fs__key_slice(&k), slice_of(b, sizeof(b)));
	CHECK_ERR(fs_open(&m->b, NULL, &fs, &msg), ERR_CORRUPT);
	b[0] = 3;
	fsx_put(m->x, fs__key_slice(&k), slice_of(b, 3));
	CHECK_ERR(fs_open(&m->b, NULL, &fs, &msg), ERR_CORRUPT);
	fsx_put(m->x, fs__key_slice(&k), slice_of(was, sizeof(was)));
}

static uint64_t seek(struct fsx_mount *m, fs_ino ino, uint64_t from, bool hole)
{
	uint64_t at = UINT64_MAX;

	CHECK_OK(fs_seek(m->fs, ino, from, hole, &at));
	return at;
}

static struct fs_attr stat_of(struct fsx_mount *m, fs_ino ino)
{
	struct fs_attr a;

	CHECK_OK(fs_stat(m->fs, ino, &a));
	return a;
}

/* Zeros are "no holes known", "never cut": a file that has holes is told as if it were full, and else
 * all is as it should be. What changes it from then on is right, and makes it known where it can. */
FSC_CASE(old_records_are_used_as_they_are)
{
	struct fsx_mount *n;
	struct fs_file *f, *g;
	struct fs_attr in = {.size = 100 * B}, a;
	fs_ino ino = fsc_file(m, ROOT, "f", "start");

	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
	make_old(m->x, ino);
	set_version(m->x, 1);
	n = fsx_mount(m->x);
	CHECK_U64_EQ(seek(n, ino, 0, true), 100 * B);
	CHECK_U64_EQ(seek(n, ino, 7 * B + 1, false), 7 * B + 1);
	CHECK_U64_EQ(stat_of(n, ino).blocks, 100 * B / 512);
	f = fsc_open(n, ino, RW);
	g = fsc_open(m, ino, RW);
	fsc_write(f, 50 * B, slice_str("middle"));
	CHECK_U64_EQ(stat_of(n, ino).size, 100 * B);
	in.size = 10;
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a)); /* the first cut that is known */
	fsc_write(f, 60 * B, slice_str("far"));
	CHECK_U64_EQ(seek(n, ino, 0, true), B);
	CHECK_U64_EQ(seek(n, ino, B, false), 60 * B);
	CHECK_U64_EQ(stat_of(n, ino).blocks, 65);
	fs_file_close(f);
	fs_file_close(g);
}

FSC_CASE(old_holes_are_punched_filled_and_copied)
{
	struct fs_attr in = {.size = 100 * B}, a;
	fs_ino ino = fsc_file(m, ROOT, "f", "start"), to = fsc_file(m, ROOT, "g", "");
	struct fs_file *f, *g;
	uint64_t copied;

	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
	make_old(m->x, ino);
	(void)fsc_attr(m, ino);
	f = fsc_open(m, ino, RW);
	g = fsc_open(m, to, RW);
	fsc_write(f, 9 * B, slice_str("nine"));
	CHECK_OK(fs_copy_range(f, 0, g, 0, 100 * B, NULL, &copied));
	CHECK_U64_EQ(copied, 100 * B);
	CHECK_U64_EQ(seek(m, to, B, false), 9 * B);
	CHECK_OK(fs_fallocate(f, FS_FALLOC_PUNCH_HOLE | FS_FALLOC_KEEP_SIZE, 9 * B, B, NULL));
	CHECK_U64_EQ(seek(m, ino, 0, true), B); /* now it is known */
	CHECK_U64_EQ(stat_of(m, ino).blocks, 64);
	fs_file_close(f);
	fs_file_close(g);
}

static const struct check_test tests[] = {
	CHECK_TEST(an_older_one_becomes_one_of_this_version),
	CHECK_TEST(two_may_raise_it_at_once),
	CHECK_TEST(one_raised_further_meanwhile_is_refused),
	CHECK_TEST(others_are_refused),
	CHECK_TEST(a_longer_record_is_another_version_not_damage),
	CHECK_TEST(old_records_are_used_as_they_are),
	CHECK_TEST(old_holes_are_punched_filled_and_copied),
};
CHECK_MAIN(tests)
