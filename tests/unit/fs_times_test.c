/* Times of inodes: set by calls, set by hand, and which of the two stands. */
#include "tests/lib/fs_case.h"

#define ROOT	FS_ROOT_INO
#define SECOND	((int64_t)NS_PER_S)
#define Y1960	(-315619200 * SECOND)
#define Y2001	(978307200 * SECOND)
#define Y2100	(4102444800 * SECOND)
#define DAY	(24 * 3600 * SECOND)

static struct fs_attr set_times(struct fsx_mount *m, fs_ino ino, unsigned set, int64_t to)
{
	struct fs_attr in = {.atime_ns = to, .mtime_ns = to}, a = {0};

	CHECK_OK(fs_setattr(m->fs, ino, set, &in, &a));
	return a;
}

static void later(struct fsx_mount *m, uint64_t seconds)
{
	m->x->now_ns += seconds * NS_PER_S;
}

static int64_t now(struct fsx_mount *m)
{
	return (int64_t)m->x->now_ns;
}

/* To the second: stamps run a few ns ahead. */
static bool is_now(struct fsx_mount *m, int64_t time)
{
	return time >= now(m) - SECOND / 2 && time <= now(m) + SECOND / 2;
}

static int64_t atime(struct fsx_mount *m, fs_ino ino)
{
	return fsc_attr(m, ino).atime_ns;
}

static bool ignore(void *ctx, const struct fs_dirent *d)
{
	(void)ctx;
	(void)d;
	return true;
}

static void list(struct fsx_mount *m, fs_ino dir)
{
	CHECK_OK(fs_readdir(m->fs, dir, 0, false, ignore, NULL));
}

static fs_ino symlink_to(struct fsx_mount *m, const char *target, const char *name)
{
	struct fs_attr a = {0};

	CHECK_OK(fs_symlink(m->fs, &fsc_cred, ROOT, slice_str(name), slice_str(target), &a));
	return a.ino;
}

static void follow(struct fsx_mount *m, fs_ino link)
{
	struct buf target = BUF_INIT;

	CHECK_OK(fs_readlink(m->fs, link, &target));
	buf_release(&target);
}

/* ---- what changes a file gives it the time of now ---- */

FSC_CASE(a_write_ends_a_future)
{
	static const int64_t by_hand[] = {Y2100, INT64_MAX, Y1960, -1, INT64_MIN};
	fs_ino ino = fsc_file(m, ROOT, "f", "text");
	struct fs_file *f = fsc_open(m, ino, FS_O_WRITE);

	for (size_t i = 0; i < sizeof(by_hand) / sizeof(by_hand[0]); i++) {
		later(m, 10);
		CHECK_TRUE(set_times(m, ino, FS_SET_MTIME, by_hand[i]).mtime_ns == by_hand[i]);
		CHECK_TRUE(fsc_attr(m, ino).mtime_ns == by_hand[i]);
		later(m, 10);
		fsc_write(f, 4, slice_str("z"));
		CHECK_TRUE(is_now(m, fsc_attr(m, ino).mtime_ns));
		CHECK_TRUE(is_now(m, fsc_attr(m, ino).ctime_ns));
	}
	fs_file_close(f);
}

FSC_CASE(a_truncate_ends_a_future)
{
	fs_ino ino = fsc_file(m, ROOT, "f", "text");
	struct fs_attr in = {.size = 1}, a = {0};

	set_times(m, ino, FS_SET_MTIME, Y2100);
	later(m, 10);
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE, &in, &a));
	CHECK_TRUE(is_now(m, a.mtime_ns));
	CHECK_TRUE(a.mtime_ns == fsc_attr(m, ino).mtime_ns);
	in.mtime_ns = Y2100;
	CHECK_OK(fs_setattr(m->fs, ino, FS_SET_SIZE | FS_SET_MTIME, &in, &a)); /* asked for in one */
	CHECK_TRUE(a.mtime_ns == Y2100 && fsc_attr(m, ino).mtime_ns == Y2100);
}

FSC_CASE(a_name_in_it_ends_a_directorys_future)
{
	fs_ino dir = fsc_mkdir(m, ROOT, "d");

	set_times(m, dir, FS_SET_MTIME, Y2100);
	later(m, 10);
	fsc_file(m, dir, "f", "");
	CHECK_TRUE(is_now(m, fsc_attr(m, dir).mtime_ns));
	set_times(m, dir, FS_SET_MTIME, Y2100);
	later(m, 10);
	CHECK_OK(fsc_unlink(m, dir, "f"));
	CHECK_TRUE(is_now(m, fsc_attr(m, dir).mtime_ns));
	set_times(m, dir, FS_SET_MTIME, Y2100);
	later(m, 10);
	fsc_mkdir(m, dir, "sub"); /* over two groups, as a rule */
	CHECK_TRUE(is_now(m, fsc_attr(m, dir).mtime_ns));
}

FSC_CASE(ends_of_time_are_kept)
{
	static const int64_t ends[] = {INT64_MIN, Y1960, -1, 0, INT64_MAX};
	fs_ino ino = fsc_file(m, ROOT, "f", "");
	struct fs_attr a;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		set_times(m, ino, FS_SET_ATIME | FS_SET_MTIME, ends[i]);
		a = fsc_attr(m, ino);
		CHECK_TRUE(a.atime_ns == ends[i] && a.mtime_ns == ends[i]);
		CHECK_TRUE(is_now(m, a.ctime_ns));
	}
}

/* ---- access times and utimens ---- */

FSC_CASE(a_time_set_after_a_read_is_shown)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	later(m, 10);
	fsc_contents(m, f, "text");
	CHECK_TRUE(is_now(m, atime(m, f)));
	CHECK_TRUE(set_times(m, f, FS_SET_ATIME, Y2001).atime_ns == Y2001);
	CHECK_TRUE(atime(m, f) == Y2001);
	fsc_idle(m);
	CHECK_TRUE(atime(m, f) == Y2001);
}

FSC_CASE(a_time_set_elsewhere_after_a_read_stays)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	later(m, 10);
	fsc_contents(m, f, "text");
	set_times(n, f, FS_SET_ATIME, Y2001);
	CHECK_TRUE(atime(m, f) == Y2001);
	CHECK_TRUE(atime(n, f) == Y2001);
	fsc_idle(m);
	CHECK_TRUE(atime(m, f) == Y2001);
	CHECK_TRUE(atime(n, f) == Y2001);
}

/* As a backup does that hides its reading: set to what it was, so that the value has not changed. */
FSC_CASE(a_time_set_to_what_it_was_stays)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	int64_t was;

	later(m, 10);
	was = atime(m, f);
	fsc_contents(m, f, "text");
	set_times(n, f, FS_SET_ATIME, was);
	fsc_idle(m);
	CHECK_TRUE(atime(m, f) == was);
	CHECK_TRUE(atime(n, f) == was);
}

FSC_CASE(a_read_after_the_time_was_set_counts)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	later(m, 10);
	fsc_contents(m, f, "text");
	set_times(n, f, FS_SET_ATIME, Y2001);
	later(m, 1);
	fsc_contents(m, f, "text");
	CHECK_TRUE(is_now(m, atime(m, f)));
	CHECK_TRUE(atime(n, f) == Y2001); /* does not know yet */
	later(m, 2);
	set_times(n, f, FS_SET_ATIME, Y1960);
	fsc_contents(m, f, "text");
	fsc_idle(m);
	CHECK_TRUE(atime(n, f) > 0);
	CHECK_TRUE(atime(n, f) == atime(m, f));
}

/* Of a batch, those go that were set; the others are written. */
FSC_CASE(others_of_the_batch_are_written)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f[5];

	for (int i = 0; i < 5; i++)
		f[i] = fsc_file(m, ROOT, (char[]){(char)('a' + i), 0}, "text");
	later(m, 10);
	for (int i = 0; i < 5; i++)
		fsc_contents(m, f[i], "text");
	set_times(n, f[1], FS_SET_ATIME, Y2001);
	set_times(n, f[4], FS_SET_ATIME, Y2100);
	CHECK_OK(fsc_unlink(n, ROOT, "c"));
	fsc_idle(m);
	CHECK_TRUE(atime(n, f[0]) >= fsc_attr(n, f[0]).mtime_ns + 9 * SECOND);
	CHECK_TRUE(atime(n, f[1]) == Y2001);
	CHECK_TRUE(atime(n, f[3]) >= fsc_attr(n, f[3]).mtime_ns + 9 * SECOND);
	CHECK_TRUE(atime(n, f[4]) == Y2100);
}

/* A write between the read and its being written down does not lose it. */
FSC_CASE(a_write_after_the_read_changes_nothing)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino ino = fsc_file(m, ROOT, "f", "text");
	struct fs_file *f = fsc_open(n, ino, FS_O_WRITE);
	int64_t read;

	later(m, 10);
	fsc_contents(m, ino, "text");
	read = atime(m, ino);
	later(m, 1);
	fsc_write(f, 4, slice_str("z"));
	fsc_idle(m);
	CHECK_TRUE(atime(n, ino) == read);
	CHECK_TRUE(read < fsc_attr(n, ino).mtime_ns);
	fs_file_close(f);
}

/* The store's clock is ahead of this mount's: a read is later than what it saw all the same, what is
 * shown is what will be stored, and it is not done again and again. */
FSC_CASE(a_slow_clock_does_no_harm)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f;
	uint64_t writes;
	int64_t shown;

	m->x->stamp += 20 * NS_PER_S;
	f = fsc_file(m, ROOT, "f", "text");
	CHECK_TRUE(fsc_attr(m, f).mtime_ns > now(m) + 19 * SECOND);
	fsc_contents(m, f, "text");
	shown = atime(m, f);
	CHECK_TRUE(shown > fsc_attr(m, f).mtime_ns);
	fsc_idle(m);
	CHECK_TRUE(atime(n, f) == shown);
	writes = m->x->writes;
	fsc_contents(m, f, "text");
	fsc_idle(m);
	CHECK_U64_EQ(m->x->writes, writes);
}

/* ---- when reading counts ---- */

FSC_CASE(times_before_1970_are_old)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	set_times(m, f, FS_SET_ATIME, Y1960);
	later(m, 1);
	fsc_contents(m, f, "text");
	CHECK_TRUE(is_now(m, atime(m, f)));
	fsc_idle(m);
	CHECK_TRUE(atime(m, f) > 0);
}

static void strict_in(struct fsx_mount *m)
{
	struct fs_options o = {.atime = true};
	struct fsx_mount *s = fsx_mount_with(m->x, &o);
	fs_ino f = fsc_file(s, ROOT, "f", "text");

	for (int i = 0; i < 3; i++) {
		later(m, 10);
		fsc_contents(s, f, "text");
		CHECK_TRUE(is_now(s, atime(s, f)));
	}
	set_times(s, f, FS_SET_ATIME, Y2100);
	later(m, 10);
	fsc_contents(s, f, "text");
	CHECK_TRUE(is_now(s, atime(s, f)));
	fsc_idle(s);
	CHECK_TRUE(atime(m, f) < Y2100); /* and so it is stored */
}

static void strictly_each_read_counts(void)
{
	fsc_run(strict_in);
}

FSC_CASE(a_future_atime_is_left_by_relatime)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	set_times(m, f, FS_SET_ATIME, Y2100);
	later(m, 10);
	fsc_contents(m, f, "text");
	fsc_idle(m);
	CHECK_TRUE(atime(m, f) == Y2100);
}

/* A file that stays open and is read all the time gets a time each day, and one a day. */
FSC_CASE(once_a_day_while_open)
{
	fs_ino ino = fsc_file(m, ROOT, "f", "text");
	struct fs_file *f = fsc_open(m, ino, FS_O_READ);
	struct buf b = BUF_INIT;
	uint64_t writes;

	for (int day = 0; day < 3; day++) {
		later(m, DAY / SECOND + 1);
		CHECK_OK(fs_read(f, 0, 4, &b));
		CHECK_TRUE(is_now(m, atime(m, ino)));
		fsc_idle(m);
		writes = m->x->writes;
		for (int i = 0; i < 5; i++) {
			CHECK_OK(fs_read(f, 0, 4, &b));
			fsc_idle(m);
		}
		CHECK_U64_EQ(m->x->writes, writes);
	}
	buf_release(&b);
	fs_file_close(f);
}

FSC_CASE(directories_are_read_too)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino dir = fsc_mkdir(m, ROOT, "d");
	uint64_t writes;
	int64_t first;

	later(m, 10);
	list(m, dir);
	first = atime(m, dir);
	CHECK_TRUE(is_now(m, first));
	fsc_idle(m);
	CHECK_TRUE(atime(n, dir) == first);
	writes = m->x->writes;
	list(m, dir);
	fsc_idle(m);
	CHECK_TRUE(atime(m, dir) == first); /* relatime */
	CHECK_U64_EQ(m->x->writes, writes);
	fsc_file(m, dir, "f", "");
	later(m, 10);
	list(m, dir);
	CHECK_TRUE(is_now(m, atime(m, dir)));
	set_times(n, dir, FS_SET_ATIME, Y2001);
	fsc_idle(m);
	CHECK_TRUE(atime(m, dir) == Y2001);
}

FSC_CASE(symlinks_are_read_too)
{
	fs_ino link = symlink_to(m, "target", "l");
	int64_t first;

	later(m, 10);
	follow(m, link);
	first = atime(m, link);
	CHECK_TRUE(is_now(m, first));
	later(m, 10);
	follow(m, link);
	CHECK_TRUE(atime(m, link) == first);
	fsc_idle(m);
	CHECK_TRUE(atime(m, link) == first);
}

static void noatime_in(struct fsx_mount *m)
{
	struct fs_options o = {.noatime = true};
	struct fsx_mount *s = fsx_mount_with(m->x, &o);
	fs_ino dir = fsc_mkdir(s, ROOT, "d"), link = symlink_to(s, "target", "l");
	fs_ino f = fsc_file(s, ROOT, "f", "text");
	int64_t was = atime(s, dir);

	later(m, 100);
	list(s, dir);
	follow(s, link);
	fsc_contents(s, f, "text");
	fsc_idle(s);
	CHECK_TRUE(atime(s, dir) == was);
	CHECK_TRUE(atime(s, link) == fsc_attr(s, link).btime_ns);
	CHECK_TRUE(atime(s, f) == fsc_attr(s, f).btime_ns);
}

static void noatime_is_obeyed(void)
{
	fsc_run(noatime_in);
}

static const struct check_test tests[] = {
	CHECK_TEST(a_write_ends_a_future),
	CHECK_TEST(a_truncate_ends_a_future),
	CHECK_TEST(a_name_in_it_ends_a_directorys_future),
	CHECK_TEST(ends_of_time_are_kept),
	CHECK_TEST(a_time_set_after_a_read_is_shown),
	CHECK_TEST(a_time_set_elsewhere_after_a_read_stays),
	CHECK_TEST(a_time_set_to_what_it_was_stays),
	CHECK_TEST(a_read_after_the_time_was_set_counts),
	CHECK_TEST(others_of_the_batch_are_written),
	CHECK_TEST(a_write_after_the_read_changes_nothing),
	CHECK_TEST(a_slow_clock_does_no_harm),
	CHECK_TEST(times_before_1970_are_old),
	CHECK_TEST(strictly_each_read_counts),
	CHECK_TEST(a_future_atime_is_left_by_relatime),
	CHECK_TEST(once_a_day_while_open),
	CHECK_TEST(directories_are_read_too),
	CHECK_TEST(symlinks_are_read_too),
	CHECK_TEST(noatime_is_obeyed),
};
CHECK_MAIN(tests)
