/* link, unlink, files that are open without a name, and what is deleted when. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define MIB  (1024u * 1024u)

static size_t keys_of_files(struct fsx_mount *m)
{
	struct fsx *x = m->x;

	return fsx_count(x, 'I') - 1 + fsx_count(x, 'B') + fsx_count(x, 'S') + fsx_count(x, 'X') +
	       fsx_count(x, 'G');
}

/* ---- link ---- */

FSC_CASE(two_names_of_a_file)
{
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT), f = fsc_file(m, ROOT, "f", "text");
	struct fs_attr before = fsc_attr(m, f), a, b;

	m->x->now_ns += NS_PER_S;
	CHECK_OK(fs_link(m->fs, f, d, slice_str("g"), &a));
	CHECK_U64_EQ(a.ino, f);
	CHECK_U64_EQ(a.nlink, 2);
	CHECK_TRUE(a.ctime_ns > before.ctime_ns);
	CHECK_U64_EQ(a.mtime_ns, before.mtime_ns);
	b = fsc_attr(m, f);
	CHECK_MEM_EQ(&a, &b, sizeof(a));
	CHECK_U64_EQ(fsc_ino(m, d, "g"), f); /* in another group than its inode */
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 1);
	fsc_contents(m, f, "text");
	CHECK_OK(fsc_unlink(m, d, "g"));
	CHECK_ERR(fs_getattr(m->fs, f, &a), ERR_STALE);
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 0);
}

FSC_CASE(links_that_cannot_be)
{
	fs_ino f = fsc_file(m, ROOT, "f", ""), d = fsc_mkdir(m, ROOT, "d");

	CHECK_ERR(fsc_link(m, d, ROOT, "e"), ERR_PERM);
	CHECK_ERR(fsc_link(m, f, ROOT, "d"), ERR_EXISTS);
	CHECK_ERR(fsc_link(m, f, ROOT, "f"), ERR_EXISTS);
	CHECK_ERR(fsc_link(m, f, ROOT, "."), ERR_EXISTS);
	CHECK_ERR(fsc_link(m, f, f, "x"), ERR_NOT_DIR);
	CHECK_OK(fsc_rmdir(m, ROOT, "d"));
	CHECK_ERR(fsc_link(m, f, d, "x"), ERR_NOT_FOUND);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_ERR(fsc_link(m, f, ROOT, "x"), ERR_STALE);
	CHECK_U64_EQ(fsc_entries(m, ROOT), 0);
}

FSC_CASE(many_links)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");
	char name[16];

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		CHECK_OK(fsc_link(m, f, ROOT, name));
	}
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 101);
	for (int i = 0; i < 100; i += 2) {
		snprintf(name, sizeof(name), "l%d", i);
		CHECK_OK(fsc_unlink(m, ROOT, name));
	}
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 51);
}

/* ---- unlink ---- */

FSC_CASE(unlink_is_one_transaction)
{
	struct fs_attr before = fsc_attr(m, ROOT), after;
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	uint64_t writes;

	CHECK_U64_EQ(keys_of_files(m), 2);
	writes = m->x->writes;
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_U64_EQ(m->x->writes, writes + 1);
	CHECK_ERR(fs_getattr(m->fs, f, &after), ERR_STALE); /* from now on */
	after = fsc_attr(m, ROOT);
	CHECK_U64_EQ(after.data_version, before.data_version + 2);
	CHECK_ERR(fsc_lookup(m, ROOT, "f"), ERR_NOT_FOUND);
	CHECK_ERR(fs_file_open(m->fs, f, FS_O_READ, &(struct fs_file *){NULL}), ERR_STALE);
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
	CHECK_U64_EQ(m->x->writes, writes + 2);
}

/* ... and what is left of many goes together. */
FSC_CASE(small_files_are_deleted_many_at_a_time)
{
	uint64_t writes;
	char name[16];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		(void)fsc_file(m, ROOT, name, i % 2 ? "text" : "");
	}
	writes = m->x->writes;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		CHECK_OK(fsc_unlink(m, ROOT, name));
	}
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
	CHECK_U64_EQ(m->x->writes, writes + 100 + 2);
}

static void write_at(struct fsx_mount *m, fs_ino ino, uint64_t offset, size_t len)
{
	struct fs_file *f = fsc_open(m, ino, FS_O_WRITE);
	uint8_t *p = malloc(len);

	memset(p, 0x5a, len);
	fsc_write(f, offset, slice_of(p, len));
	free(p);
	fs_file_close(f);
}

FSC_CASE(a_big_file_is_deleted_later)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");

	write_at(m, f, 0, 5 * MIB);
	write_at(m, f, 3 * STRIPE_SIZE - MIB, 2 * MIB);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 7 * MIB / BLOCK_SIZE);
	CHECK_U64_EQ(fsx_count(m->x, 'S'), 1);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_ERR(fsc_lookup(m, ROOT, "f"), ERR_NOT_FOUND);
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
}

FSC_CASE(a_sparse_file_is_deleted_whole)
{
	fs_ino f = fsc_file(m, ROOT, "f", "");

	for (uint64_t s = 1; s < 5000; s += 700)
		write_at(m, f, s * STRIPE_SIZE + 17, 1);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 8);
	CHECK_U64_EQ(fsx_count(m->x, 'S'), 2);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
}

FSC_CASE(xattrs_go_with_their_file)
{
	fs_ino f = fsc_file(m, ROOT, "f", "x");

	CHECK_OK(fs_setxattr(m->fs, f, slice_str("user.a"), slice_str("1"), 0));
	CHECK_OK(fs_setxattr(m->fs, f, slice_str("user.b"), slice_str("2"), 0));
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
}

/* ---- open without a name ---- */

FSC_CASE(an_open_file_outlives_its_name)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ | FS_O_WRITE), *second;
	struct buf b = BUF_INIT;

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_ERR(fsc_lookup(m, ROOT, "f"), ERR_NOT_FOUND);
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 0);
	fsc_write(file, 4, slice_str(" and more"));
	second = fsc_open(m, f, FS_O_READ); /* as through /proc/self/fd */
	fs_file_close(file);
	fsc_idle(m);
	CHECK_OK(fs_read(second, 0, 100, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("text and more"));
	CHECK_ERR(fsc_link(m, f, ROOT, "again"), ERR_NOT_FOUND);
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 1);
	fs_file_close(second);
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
	buf_release(&b);
}

FSC_CASE(an_open_file_with_another_name_is_no_orphan)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ);

	CHECK_OK(fsc_link(m, f, ROOT, "g"));
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
	fs_file_close(file);
	fsc_idle(m);
	fsc_contents(m, f, "text");
}

FSC_CASE(an_orphan_is_truncated_and_grows)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ | FS_O_WRITE);
	struct fs_attr in = {.size = 0}, a;
	uint8_t *p = calloc(1, MIB);

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	for (unsigned i = 0; i < 6; i++)
		fsc_write(file, i * MIB, slice_of(p, MIB));
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_SIZE, &in, &a)); /* new data id */
	CHECK_U64_EQ(a.size, 0);
	fsc_write(file, STRIPE_SIZE * 2, slice_str("far"));
	fs_file_close(file);
	fsc_idle(m);
	CHECK_U64_EQ(keys_of_files(m), 0);
	free(p);
}

FSC_CASE(closing_the_mount_reaps)
{
	fs_ino f;

	f = fsc_file(m, ROOT, "f", "");
	write_at(m, f, 0, 5 * MIB);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsx_umount(fsx_mount(m->x)); /* another mount's end does not matter */
	/* fsc_run closes at once, and finds no leftovers */
}

/* A mount dies: its orphans stay behind, with a record that says so. */
static void death_in(void *arg)
{
	struct fsx_mount *m = arg;
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ);

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsx_kill(m);
	fs_file_close(file);
}

static void a_dead_mounts_orphan_is_on_record(void)
{
	struct fsx *x = fsx_new(4, 1);
	struct fsx_mount *m = fsx_mount(x);

	fsx_call(x, death_in, m);
	fsx_umount(m);
	CHECK_U64_EQ(fsx_count(x, 'G'), 1);
	CHECK_U64_EQ(fsx_count(x, 'I'), 2);
	fsx_check(x, true);
	fsx_free(x);
}

/* A record that speaks of what has a name is wrong: it goes, the file stays. */
FSC_CASE(a_named_file_is_never_reaped)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_reap g = {.what = FS_REAP_INODE, .session = 4711};
	uint8_t b[FS_REAP_SIZE];
	struct fs_key k;

	fs__reap_encode(b, &g);
	fs__key_reap(&k, f, FS_REAP_INODE);
	fsx_put(m->x, fs__key_slice(&k), slice_of(b, sizeof(b)));
	CHECK_OK(fs__reap_now(m->fs, f, FS_REAP_INODE));
	CHECK_U64_EQ(fsx_count(m->x, 'G'), 0);
	fsc_contents(m, f, "text");
}

/* What has no name any more is opened only where it is open already. */
FSC_CASE(an_orphan_of_another_mount_is_not_opened)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ), *none = NULL;

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_ERR(fs_file_open(n->fs, f, FS_O_READ, &none), ERR_STALE);
	CHECK_NULL(none);
	fs_file_close(file);
}

/* Where it is open it is written while others ask for it: nothing of that may stay. */
static struct late_write {
	struct fs_file *file;
	unsigned at, seen, done;
} late;

static void write_late(struct fsx *x, const struct txn_mini *mini)
{
	int err;

	(void)x;
	(void)mini;
	if (++late.seen != late.at)
		return;
	err = fs_write(late.file, 2 * STRIPE_SIZE, slice_str("late"), NULL);
	if (err)
		CHECK_ERR(err, ERR_STALE);
	else
		late.done++;
}

FSC_CASE(an_orphan_is_written_while_it_is_reaped)
{
	struct fsx_mount *n = fsx_mount(m->x);

	late.done = 0;
	for (unsigned at = 1; at <= 6; at++) {
		fs_ino f = fsc_file(m, ROOT, "f", "text");
		struct fs_file *file = fsc_open(m, f, FS_O_READ);

		late.file = fsc_open(n, f, FS_O_WRITE);
		CHECK_OK(fsc_unlink(m, ROOT, "f"));
		late.at = at;
		late.seen = 0;
		m->x->before = write_late;
		fs_file_close(file);
		fsc_idle(m);
		m->x->before = NULL;
		CHECK_U64_EQ(fsx_count(m->x, 'I'), 2); /* the other mount has it open */
		fs_file_close(late.file);
		fsc_idle(m);
		CHECK_U64_EQ(keys_of_files(m), 0);
	}
	CHECK_U64_EQ(late.done, 6);
}

/* ---- open and unlink at the same time, in one mount ---- */

struct race {
	struct fsx_mount *m;
	fs_ino f;
	struct fs_file *file;
	int err, unlink_err;
};

static void open_fiber(void *arg)
{
	struct race *r = arg;

	CHECK_OK(fiber_sleep(fsx_random(r->m->x) % (4 * NS_PER_MS)));
	r->err = fs_file_open(r->m->fs, r->f, FS_O_READ, &r->file);
}

static void unlink_fiber(void *arg)
{
	struct race *r = arg;

	r->unlink_err = fsc_unlink(r->m, ROOT, "f");
}

static void make_fiber(void *arg)
{
	struct race *r = arg;

	r->f = fsc_file(r->m, ROOT, "f", "text");
}

static void read_fiber(void *arg)
{
	struct race *r = arg;
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(r->file, 0, 10, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str("text"));
	buf_release(&b);
	fs_file_close(r->file);
}

static void an_open_never_passes_an_unlink(void)
{
	unsigned opened = 0, refused = 0;

	for (uint64_t seed = 1; seed < 60; seed++) {
		struct fsx *x = fsx_new(4, seed);
		struct race r = {.m = fsx_mount(x)};

		fsx_call(x, make_fiber, &r);
		x->delay_ns = NS_PER_MS;
		fsx_start(x, open_fiber, &r);
		fsx_start(x, unlink_fiber, &r);
		fsx_settle(x);
		CHECK_OK(r.unlink_err);
		if (r.err) {
			CHECK_ERR(r.err, ERR_STALE);
			refused++;
		} else {
			opened++;
			fsx_call(x, read_fiber, &r);
		}
		fsx_umount_all(x);
		fsx_check(x, false);
		fsx_free(x);
	}
	CHECK_TRUE(opened > 0 && refused > 0);
}

static const struct check_test tests[] = {
	CHECK_TEST(two_names_of_a_file),
	CHECK_TEST(links_that_cannot_be),
	CHECK_TEST(many_links),
	CHECK_TEST(unlink_is_one_transaction),
	CHECK_TEST(small_files_are_deleted_many_at_a_time),
	CHECK_TEST(a_big_file_is_deleted_later),
	CHECK_TEST(a_sparse_file_is_deleted_whole),
	CHECK_TEST(xattrs_go_with_their_file),
	CHECK_TEST(an_open_file_outlives_its_name),
	CHECK_TEST(an_open_file_with_another_name_is_no_orphan),
	CHECK_TEST(an_orphan_is_truncated_and_grows),
	CHECK_TEST(closing_the_mount_reaps),
	CHECK_TEST(a_dead_mounts_orphan_is_on_record),
	CHECK_TEST(a_named_file_is_never_reaped),
	CHECK_TEST(an_orphan_of_another_mount_is_not_opened),
	CHECK_TEST(an_orphan_is_written_while_it_is_reaped),
	CHECK_TEST(an_open_never_passes_an_unlink),
};
CHECK_MAIN(tests)
