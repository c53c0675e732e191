/* Files that one mount removes and another one has open: who keeps them, and what ends it. */
#include <stdio.h>

#include "fs/hold.h"
#include "tests/lib/fs_case.h"

#define ROOT FS_ROOT_INO
#define MIB  (1024u * 1024u)

static void expect_records(struct fsx_mount *m, size_t inodes, size_t reaps, size_t holds)
{
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_INODE), inodes + 1); /* and the root */
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_REAP), reaps);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_HOLD), holds);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_QUEUE), 1); /* no batch */
}

static void expect_text(struct fs_file *f, const char *want)
{
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(f, 0, 100, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str(want));
	buf_release(&b);
}

FSC_CASE(a_file_is_read_after_another_mount_has_removed_it)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ | FS_O_WRITE), *again;
	struct fs_attr in = {.size = 2}, a;
	struct buf v = BUF_INIT;

	CHECK_OK(fsc_unlink(n, ROOT, "f"));
	expect_text(file, "text"); /* at once, */
	fsc_idle(m);
	expect_records(m, 1, 1, 1); /* and when all have been asked */
	expect_text(file, "text");
	fsc_write(file, 4, slice_str(" and more"));
	expect_text(file, "text and more");
	CHECK_OK(fs_setattr(m->fs, f, FS_SET_SIZE, &in, &a));
	CHECK_U64_EQ(a.size, 2);
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 0);
	CHECK_OK(fs_setxattr(m->fs, f, slice_str("user.a"), slice_str("1"), 0));
	CHECK_OK(fs_getxattr(m->fs, f, slice_str("user.a"), &v));
	CHECK_ERR(fsc_link(m, f, ROOT, "again"), ERR_NOT_FOUND);
	again = fsc_open(m, f, FS_O_READ); /* as through /proc/self/fd */
	fs_file_close(file);
	fsc_idle(m);
	expect_text(again, "te");
	/* elsewhere it is not there */
	CHECK_ERR(fs_getattr(n->fs, f, &a), ERR_STALE);
	CHECK_ERR(fs_file_open(n->fs, f, FS_O_READ, &file), ERR_STALE);
	CHECK_ERR(fs_getxattr(n->fs, f, slice_str("user.a"), &v), ERR_STALE);
	fs_file_close(again);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
	CHECK_ERR(fs_getattr(m->fs, f, &a), ERR_STALE);
	buf_release(&v);
}

static void open_late(struct fsx_mount *m, struct fsx_mount *remover)
{
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file;

	CHECK_OK(fsc_unlink(remover, ROOT, "f"));
	fs__hint_inode_drop(m->fs, f);
	CHECK_ERR(fs_file_open(m->fs, f, FS_O_READ, &file), ERR_STALE);
	CHECK_OK(fs_file_open(m->fs, f, FS_O_READ | FS_O_FOUND, &file));
	expect_text(file, "text");
	fsc_idle(m);
	expect_records(m, 1, 1, m != remover);
	expect_text(file, "text");
	CHECK_U64_EQ(fsc_attr(m, f).nlink, 0);
	fs_file_close(file);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
	CHECK_ERR(fs_file_open(m->fs, f, FS_O_READ | FS_O_FOUND, &file), ERR_STALE);
}

/* As when a name is replaced between the lookup of open(2) and its open. */
FSC_CASE(a_name_that_goes_before_the_open)
{
	struct fsx_mount *n = fsx_mount(m->x);

	open_late(m, m);
	open_late(m, n);
}

FSC_CASE(who_was_asked_comes_too_late)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ), *late;

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	CHECK_OK(fs_file_open(n->fs, f, FS_O_READ | FS_O_FOUND, &late));
	fs_file_close(late);
	fs_file_close(file);
	file = fsc_open(n, fsc_file(n, ROOT, "g", "text"), FS_O_READ);
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
	fsc_idle(m); /* the other mount keeps it, this one has been asked */
	CHECK_ERR(fs_file_open(m->fs, fs_file_ino(file), FS_O_READ | FS_O_FOUND, &late), ERR_STALE);
	expect_text(file, "text");
	fs_file_close(file);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

/* This mount has been asked, and has removed much since: it remembers only the last ones. Should it open
 * the file nevertheless, it keeps it. */
FSC_CASE(who_does_not_remember_that_it_was_asked)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *theirs = fsc_open(n, f, FS_O_READ), *late;

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	expect_records(m, 1, 1, 1);
	hold__gone(m->fs, f + HOLD_GONE);
	CHECK_OK(fs_file_open(m->fs, f, FS_O_READ | FS_O_FOUND, &late));
	fs_file_close(theirs);
	fsc_idle(m);
	expect_text(late, "text");
	fs_file_close(late);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
	hold__gone(m->fs, f + HOLD_GONE);
	CHECK_ERR(fs_file_open(m->fs, f, FS_O_READ | FS_O_FOUND, &late), ERR_STALE);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

static void lose_an_answer(struct fsx_mount *m, struct fsx_mount *opens, int64_t at)
{
	struct fs_file *file = fsc_open(opens, fsc_file(m, ROOT, "f", "text"), FS_O_READ);
	int err;

	m->lose_reply = at;
	err = fsc_unlink(m, ROOT, "f");
	m->lose_reply = 0;
	if (err) {
		CHECK_ERR(err, ERR_TIMEOUT);
		err = fsc_unlink(m, ROOT, "f"); /* was it done? */
		CHECK_TRUE(err == 0 || err == ERR_NOT_FOUND);
	}
	fsc_idle(m);
	expect_text(file, "text");
	expect_records(m, 1, 1, m != opens);
	fs_file_close(file);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

FSC_CASE(an_unlink_whose_answer_is_lost)
{
	struct fsx_mount *n = fsx_mount(m->x);

	for (int64_t at = 1; at <= 4; at++) {
		lose_an_answer(m, m, at);
		lose_an_answer(m, n, at);
	}
}

FSC_CASE(a_file_that_a_rename_replaces)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir_far(m, ROOT, "d", ROOT), f = fsc_file(m, d, "f", "old");
	struct fs_file *file = fsc_open(m, f, FS_O_READ);
	size_t inodes;

	fsc_file(m, ROOT, "g", "new");
	inodes = fsx_count(m->x, FS_KIND_INODE);
	CHECK_OK(fsc_rename(n, ROOT, "g", d, "f", 0));
	fsc_idle(m);
	expect_text(file, "old");
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_INODE), inodes);
	fs_file_close(file);
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_INODE), inodes - 1);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_HOLD), 0);
}

FSC_CASE(the_last_of_three_mounts_lets_it_go)
{
	struct fsx_mount *o[3] = {m, fsx_mount(m->x), fsx_mount(m->x)};
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *files[3];

	for (int i = 0; i < 3; i++)
		files[i] = fsc_open(o[i], f, FS_O_READ);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	expect_records(m, 1, 1, 0); /* its maker has it open: nobody is asked yet */
	fs_file_close(files[0]);
	fsc_idle(m);
	expect_records(m, 1, 1, 2);
	expect_text(files[1], "text");
	fs_file_close(files[1]);
	fsc_idle(m);
	expect_records(m, 1, 1, 1);
	expect_text(files[2], "text");
	fs_file_close(files[2]);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

FSC_CASE(a_removed_directory_is_held)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino d = fsc_mkdir(m, ROOT, "d");
	struct fs_file *file = fsc_open(m, d, FS_O_READ);

	CHECK_OK(fsc_rmdir(n, ROOT, "d"));
	fsc_idle(m);
	CHECK_U64_EQ(fsc_attr(m, d).nlink, 0);
	CHECK_U64_EQ(fsc_entries(m, d), 0);
	CHECK_ERR(fs_mkdir(m->fs, &fsc_cred, d, slice_str("x"), 0777 | S_IFDIR,
			   &(struct fs_attr){0}),
		  ERR_NOT_FOUND);
	fs_file_close(file);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

FSC_CASE(many_files_are_asked_for_together)
{
	struct fsx_mount *n = fsx_mount(m->x);
	struct fs_file *files[5];
	uint64_t writes;
	char name[16];

	for (int i = 0; i < 500; i++) {
		fs_ino f;

		snprintf(name, sizeof(name), "f%d", i);
		f = fsc_file(m, ROOT, name, "text");
		if (i % 100 == 0)
			files[i / 100] = fsc_open(n, f, FS_O_READ);
	}
	writes = m->x->writes;
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_OK(fsc_unlink(m, ROOT, name));
	}
	fsc_idle(m);
	expect_records(m, 5, 5, 5);
	CHECK_TRUE(m->x->writes - writes < 500 + 50);
	for (int i = 0; i < 5; i++) {
		expect_text(files[i], "text");
		fs_file_close(files[i]);
	}
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

/* ---- whoever leaves, or dies ---- */

FSC_CASE(the_maker_leaves_first)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(m, f, FS_O_READ);

	CHECK_OK(fsc_unlink(n, ROOT, "f"));
	fsx_umount(n); /* at once: this mount is left to ask */
	fsc_idle(m);
	expect_text(file, "text");
	fs_file_close(file);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

FSC_CASE(the_holder_leaves)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	(void)fsc_open(n, f, FS_O_READ);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	expect_records(m, 1, 1, 1);
	fsx_umount(n); /* closes what is open */
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

FSC_CASE(the_holder_dies)
{
	size_t mounts = fsx_count(m->x, FS_KIND_MOUNT); /* and the store's own keys */
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	(void)fsc_open(n, f, FS_O_READ);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	fsx_kill(n);
	fsc_idle(m);
	expect_records(m, 1, 1, 1); /* its session is not over */
	fsx_umount(n);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_MOUNT), mounts);
}

/* Dead before it is asked: the others wait until its session is over. */
FSC_CASE(a_mount_that_does_not_answer)
{
	size_t mounts = fsx_count(m->x, FS_KIND_MOUNT); /* and the store's own keys */
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");

	(void)fsc_open(n, f, FS_O_READ);
	fsx_kill(n);
	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_INODE), 2);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_QUEUE), 2);
	fsx_umount(n);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_MOUNT), mounts);
}

/* The maker dies after each of its executions: what it was about is finished by the other mount. */
FSC_CASE(the_maker_dies_anywhere)
{
	size_t mounts = fsx_count(m->x, FS_KIND_MOUNT); /* and the store's own keys */

	for (int64_t lives = 0; lives < 12; lives++) {
		struct fsx_mount *n = fsx_mount(m->x);
		fs_ino held = fsc_file(m, ROOT, "held", "text"), d = fsc_mkdir(m, ROOT, "d");
		struct fs_file *file = fsc_open(m, held, FS_O_READ);

		(void)fsc_file(m, d, "f", "text");
		fsc_idle(m);
		CHECK_OK(fsc_unlink(n, ROOT, "held"));
		CHECK_OK(fsc_unlink(n, d, "f"));
		n->lives = lives;
		fsc_idle(m);
		expect_text(file, "text");
		fsx_umount(n);
		fsc_idle(m);
		expect_text(file, "text");
		fs_file_close(file);
		CHECK_OK(fsc_rmdir(m, ROOT, "d"));
		fsc_idle(m);
		expect_records(m, 0, 0, 0);
		CHECK_U64_EQ(fsx_count(m->x, FS_KIND_MOUNT), mounts);
	}
}

/* The holder dies after each of its executions from its last close on. */
FSC_CASE(the_holder_dies_anywhere)
{
	size_t mounts = fsx_count(m->x, FS_KIND_MOUNT); /* and the store's own keys */

	for (int64_t lives = 0; lives < 12; lives++) {
		struct fsx_mount *n = fsx_mount(m->x);
		fs_ino f = fsc_file(m, ROOT, "f", "text");
		struct fs_file *file = fsc_open(n, f, FS_O_READ);

		CHECK_OK(fsc_unlink(m, ROOT, "f"));
		fsc_idle(m);
		expect_records(m, 1, 1, 1);
		n->lives = lives;
		fs_file_close(file);
		fsc_idle(m);
		fsx_umount(n);
		fsc_idle(m);
		expect_records(m, 0, 0, 0);
		CHECK_U64_EQ(fsx_count(m->x, FS_KIND_MOUNT), mounts);
	}
}

/* Open, and made an orphan by its own mount, which dies: found in the whole store. */
FSC_CASE(what_a_dead_mount_had_to_reap_is_found)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(n, ROOT, "f", "text");

	(void)fsc_open(n, f, FS_O_READ);
	CHECK_OK(fsc_unlink(n, ROOT, "f"));
	fsx_kill(n);
	fsx_umount(n);
	expect_records(m, 1, 1, 0);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

/* ---- closing while it is asked for ---- */

static struct close_at {
	struct fs_file *file;
	unsigned at, seen;
} closing;

static void close_then(struct fsx *x, const struct txn_mini *mini)
{
	(void)x;
	(void)mini;
	if (closing.file && ++closing.seen == closing.at) {
		fs_file_close(closing.file);
		closing.file = NULL;
	}
}

FSC_CASE(closed_at_any_moment)
{
	struct fsx_mount *n = fsx_mount(m->x);

	for (unsigned at = 1; at <= 20; at++) {
		fs_ino f = fsc_file(m, ROOT, "f", "text");

		closing.file = fsc_open(n, f, FS_O_READ);
		CHECK_OK(fsc_unlink(m, ROOT, "f"));
		closing.at = at;
		closing.seen = 0;
		m->x->before = close_then;
		fsc_idle(m);
		m->x->before = NULL;
		if (closing.file) {
			expect_text(closing.file, "text");
			fs_file_close(closing.file);
			fsc_idle(m);
		}
		expect_records(m, 0, 0, 0);
	}
}

/* ---- a new session ---- */

FSC_CASE(a_new_session_holds_what_is_still_there)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text"), g = fsc_file(m, ROOT, "g", "named");
	struct fs_file *file = fsc_open(n, f, FS_O_READ), *other = fsc_open(n, g, FS_O_READ);

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	expect_records(m, 2, 1, 1);
	n->b.session += 1000;
	n->fs->b.session = n->b.session;
	fsx_new_session(n, n->b.session - 1000);
	CHECK_OK(fs__holds_renew(n->fs));
	fsc_idle(m); /* what the old one held is cleared up */
	expect_records(m, 2, 1, 1);
	expect_text(file, "text");
	CHECK_OK(fsc_unlink(m, ROOT, "g"));
	fsc_idle(m);
	expect_records(m, 2, 2, 2);
	expect_text(other, "named");
	fs_file_close(file);
	fs_file_close(other);
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

/* What is closed between a renewal that fails and the next one is let go. */
FSC_CASE(a_renewal_in_two_goes)
{
	struct fsx_mount *n = fsx_mount(m->x);
	fs_ino f = fsc_file(m, ROOT, "f", "text");
	struct fs_file *file = fsc_open(n, f, FS_O_READ);

	CHECK_OK(fsc_unlink(m, ROOT, "f"));
	fsc_idle(m);
	n->b.session += 1000;
	n->fs->b.session = n->b.session;
	fsx_new_session(n, n->b.session - 1000);
	n->fs->holds->lost = true;
	CHECK_OK(fs__holds_renew(n->fs));
	fs_file_close(file);
	CHECK_OK(fs__holds_renew(n->fs));
	fsc_idle(m);
	expect_records(m, 0, 0, 0);
}

static void next_session(struct fsx_mount *n)
{
	fsx_end_session(n);
	fsx_next_session(n);
}

/* The next session is over at any moment of the joining with it. */
FSC_CASE(two_new_sessions)
{
	for (unsigned at = 0; at < 40; at++) {
		struct fsx_mount *n = fsx_mount(m->x);
		struct fs_file *file = fsc_open(n, fsc_file(m, ROOT, "f", "text"), FS_O_READ);

		m->x->delay_ns = 1000 * NS_PER_US;
		next_session(n);
		CHECK_OK(fiber_sleep(at * 100 * NS_PER_US));
		next_session(n);
		fsc_idle(m);
		m->x->delay_ns = 0;
		CHECK_OK(fsc_unlink(m, ROOT, "f"));
		fsc_idle(m);
		expect_text(file, "text");
		fs_file_close(file);
		fsc_idle(m);
		expect_records(m, 0, 0, 0);
		fsx_umount(n);
	}
}

static const struct check_test tests[] = {
	CHECK_TEST(a_file_is_read_after_another_mount_has_removed_it),
	CHECK_TEST(a_name_that_goes_before_the_open),
	CHECK_TEST(who_was_asked_comes_too_late),
	CHECK_TEST(who_does_not_remember_that_it_was_asked),
	CHECK_TEST(an_unlink_whose_answer_is_lost),
	CHECK_TEST(a_file_that_a_rename_replaces),
	CHECK_TEST(the_last_of_three_mounts_lets_it_go),
	CHECK_TEST(a_removed_directory_is_held),
	CHECK_TEST(many_files_are_asked_for_together),
	CHECK_TEST(the_maker_leaves_first),
	CHECK_TEST(the_holder_leaves),
	CHECK_TEST(the_holder_dies),
	CHECK_TEST(a_mount_that_does_not_answer),
	CHECK_TEST(the_maker_dies_anywhere),
	CHECK_TEST(the_holder_dies_anywhere),
	CHECK_TEST(what_a_dead_mount_had_to_reap_is_found),
	CHECK_TEST(closed_at_any_moment),
	CHECK_TEST(a_new_session_holds_what_is_still_there),
	CHECK_TEST(a_renewal_in_two_goes),
	CHECK_TEST(two_new_sessions),
};
CHECK_MAIN(tests)
