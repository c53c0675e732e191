/* Changes of contents by those who may not keep set-id bits; writes that stay within the file. */
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define RW   (FS_O_READ | FS_O_WRITE)
#define BIG  (FS_DELETE_NOW_MAX + 100)

static bool is_member(void *ctx, uint32_t gid)
{
	return *(const uint32_t *)ctx == gid;
}

static uint32_t group = 100; /* of the files here */
static const struct fs_writer outsider = {.in_group = is_member, .ctx = &(uint32_t){4711}};
static const struct fs_writer insider = {.in_group = is_member, .ctx = &group};

static void chmod_to(struct fsx_mount *m, fs_ino f, uint32_t mode)
{
	struct fs_attr in = {.mode = mode};

	CHECK_OK(fs_setattr(m->fs, f, FS_SET_MODE, &in, NULL));
}

static uint32_t mode_of(struct fsx_mount *m, fs_ino f)
{
	return fsc_attr(m, f).mode & 07777;
}

static void write_by(struct fs_file *f, const struct fs_writer *w)
{
	struct fs_write_how how = {.writer = w};
	uint64_t end = 0;

	CHECK_OK(fs_write_how(f, 0, slice_str("new"), &how, &end));
	CHECK_U64_EQ(end, 3);
}

static const struct {
	uint32_t before, by_outsider, by_insider;
} rules[] = {{06777, 0777, 0777},   {04755, 0755, 0755},   {02767, 0767, 02767},
	     {06666, 0666, 02666}, {02710, 0710, 0710}, {0777, 0777, 0777},
	     {01777, 01777, 01777}};

#define FOR_EACH_RULE for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)

FSC_CASE(a_write_kills_what_the_writer_may_not_keep)
{
	fs_ino f = fsc_file(m, ROOT, "f", "old");
	struct fs_file *file = fsc_open(m, f, RW);

	FOR_EACH_RULE {
		chmod_to(m, f, rules[i].before);
		write_by(file, &insider);
		CHECK_U64_EQ(mode_of(m, f), rules[i].by_insider);
		chmod_to(m, f, rules[i].before);
		write_by(file, &outsider);
		CHECK_U64_EQ(mode_of(m, f), rules[i].by_outsider);
		chmod_to(m, f, rules[i].before);
		write_by(file, NULL);
		CHECK_U64_EQ(mode_of(m, f), rules[i].before);
	}
	fs_file_close(file);
}

FSC_CASE(a_truncation_kills_it_too)
{
	static const uint64_t sizes[] = {0, 1, 3, 100, STRIPE_SIZE + 5, BIG, 0};
	fs_ino f = fsc_file(m, ROOT, "f", "old");

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		FOR_EACH_RULE {
			struct fs_attr in = {.size = sizes[s]}, out;

			chmod_to(m, f, rules[i].before);
			CHECK_OK(fs_setattr_by(m->fs, f, FS_SET_SIZE, &in, &outsider, &out));
			CHECK_U64_EQ(out.mode & 07777, rules[i].by_outsider);
			CHECK_U64_EQ(out.size, sizes[s]);
			CHECK_U64_EQ(mode_of(m, f), rules[i].by_outsider);
			chmod_to(m, f, rules[i].before);
			CHECK_OK(fs_setattr(m->fs, f, FS_SET_SIZE, &in, &out));
			CHECK_U64_EQ(out.mode & 07777, rules[i].before);
		}
	}
}

FSC_CASE(so_does_an_open_that_truncates)
{
	fs_ino f = fsc_file(m, ROOT, "f", "old");
	struct fs_attr big = {.size = BIG};

	FOR_EACH_RULE {
		struct fs_file *file = NULL;

		CHECK_OK(fs_setattr(m->fs, f, FS_SET_SIZE, i % 2 ? &big : &(struct fs_attr){.size = 9},
				    NULL));
		chmod_to(m, f, rules[i].before);
		CHECK_OK(fs_file_open_by(m->fs, f, RW, &outsider, &file));
		fs_file_close(file);
		CHECK_U64_EQ(mode_of(m, f), rules[i].before);
		CHECK_OK(fs_file_open_by(m->fs, f, RW | FS_O_TRUNC, &outsider, &file));
		fs_file_close(file);
		CHECK_U64_EQ(mode_of(m, f), rules[i].by_outsider);
		CHECK_U64_EQ(fsc_attr(m, f).size, 0);
	}
}

FSC_CASE(bits_that_another_mount_just_set_are_seen)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "old");
	struct fs_file *file = fsc_open(m, f, RW);
	struct fs_attr in = {.gid = 4711};

	chmod_to(n, f, 06777);
	write_by(file, &outsider);
	CHECK_U64_EQ(mode_of(n, f), 0777);
	CHECK_U64_EQ(mode_of(m, f), 0777);
	/* the group, too, is that of the moment */
	chmod_to(m, f, 02767);
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_GID, &in, NULL));
	write_by(file, &outsider);
	CHECK_U64_EQ(mode_of(n, f), 02767);
	fs_file_close(file);
}

/* ---- within the file ---- */

static void within(struct fs_file *f, uint64_t offset, const char *text, uint64_t end_wanted)
{
	struct fs_write_how how = {.within = true, .append = true};
	uint64_t end = 0;

	CHECK_OK(fs_write_how(f, offset, slice_str(text), &how, &end));
	CHECK_U64_EQ(end, end_wanted);
}

FSC_CASE(a_write_within_the_file_is_cut_at_its_end)
{
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *file = fsc_open(m, f, RW | FS_O_APPEND);
	uint64_t version;

	within(file, 2, "ab", 4);
	fsc_contents(m, f, "01ab456789");
	within(file, 8, "xyz", 10);
	fsc_contents(m, f, "01ab4567xy");
	within(file, 5, "vwxyz", 10);
	fsc_contents(m, f, "01ab4vwxyz");
	version = fsc_attr(m, f).data_version;
	within(file, 10, "no", 10);
	within(file, 500, "no", 500);
	fsc_contents(m, f, "01ab4vwxyz");
	CHECK_U64_EQ(fsc_attr(m, f).data_version, version);
	fs_file_close(file);
}

FSC_CASE(at_the_end_that_another_mount_made)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "0123456789");
	struct fs_file *file = fsc_open(m, f, RW);
	struct fs_attr in = {.size = 5};

	within(file, 0, "a", 1);
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_SIZE, &in, NULL));
	within(file, 2, "wxyz", 5);
	fsc_contents(n, f, "a1wxy");
	in.size = 1;
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_SIZE, &in, NULL));
	within(file, 2, "wxyz", 2);
	fsc_contents(n, f, "a");
	in.size = 8;
	CHECK_OK(fs_setattr(n->fs, f, FS_SET_SIZE, &in, NULL));
	within(file, 7, "long", 8);
	CHECK_U64_EQ(fsc_attr(n, f).size, 8);
	fs_file_close(file);
}

FSC_CASE(reads_that_leave_the_access_time)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ);
	int64_t before = fsc_attr(m, f).atime_ns;
	struct buf b = BUF_INIT;

	m->x->now_ns += 10 * NS_PER_S;
	CHECK_OK(fs_read_noatime(file, 0, 10, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("text"));
	CHECK_TRUE(fsc_attr(m, f).atime_ns == before);
	CHECK_OK(fs_read(file, 0, 10, &b));
	CHECK_TRUE(fsc_attr(m, f).atime_ns > before);
	buf_release(&b);
	fs_file_close(file);
	fsc_idle(m);
}

static const struct check_test tests[] = {
	CHECK_TEST(a_write_kills_what_the_writer_may_not_keep),
	CHECK_TEST(a_truncation_kills_it_too),
	CHECK_TEST(so_does_an_open_that_truncates),
	CHECK_TEST(bits_that_another_mount_just_set_are_seen),
	CHECK_TEST(a_write_within_the_file_is_cut_at_its_end),
	CHECK_TEST(at_the_end_that_another_mount_made),
	CHECK_TEST(reads_that_leave_the_access_time),
};
CHECK_MAIN(tests)
