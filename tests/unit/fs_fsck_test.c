/* The online check: it finds every kind of damage, mends it, and tells of nothing else, not even while
 * others are at work. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "fs/lock_table.h"
#include "tests/lib/fs_damage.h"

#define ROOT FS_ROOT_INO

/* ---- running it ---- */

/* Told without repair, and nothing is changed; mended with it; then there is nothing more. */
static void expect_mended(struct fsx_mount *m, const char *what)
{
	uint64_t version = m->x->version;
	struct fsd_told t;

	fsd_fsck(m, false, &t);
	CHECK_TRUE(t.r.problems > 0);
	CHECK_U64_EQ(t.r.repaired, 0);
	CHECK_CONTAINS((const char *)t.text.data, what);
	CHECK_U64_EQ(m->x->version, version);
	fsd_release(&t);
	fsd_fsck(m, true, &t);
	CHECK_TRUE(t.r.repaired > 0);
	CHECK_U64_EQ(t.r.problems, t.r.repaired);
	fsd_release(&t);
	fsd_expect_clean(m);
	fsx_check(m->x, false);
}

/* ---- damage ---- */

struct tree {
	fs_ino d, sub, f, big;
};

static struct tree plant(struct fsx_mount *m)
{
	struct tree t = {.d = fsc_mkdir(m, ROOT, "d")};
	struct fs_file *f;

	t.sub = fsc_mkdir(m, t.d, "sub");
	t.f = fsc_file(m, t.d, "f", "text");
	t.big = fsc_file(m, ROOT, "big", "");
	f = fsc_open(m, t.big, FS_O_WRITE);
	fsc_write(f, STRIPE_SIZE + 5, slice_str("far"));
	fs_file_close(f);
	CHECK_OK(fs_setxattr(m->fs, t.big, slice_str("user.x"), slice_str("v"), 0));
	fsd_expect_clean(m);
	return t;
}

FSC_CASE(nothing_is_wrong)
{
	struct tree t = plant(m);
	struct fsd_told told;

	CHECK_TRUE(t.sub != 0);
	fsd_fsck(m, true, &told);
	CHECK_U64_EQ(told.r.problems, 0);
	CHECK_U64_EQ(told.r.directories, 3);
	CHECK_U64_EQ(told.r.files, 2);
	CHECK_U64_EQ(told.r.dentries, 4);
	CHECK_U64_EQ(told.r.blocks, 2);
	CHECK_U64_EQ(told.r.xattrs, 1);
	CHECK_U64_EQ(told.r.orphans, 0);
	fsd_release(&told);
}

FSC_CASE(a_name_without_an_inode)
{
	struct tree t = plant(m);
	struct fs_key k;

	m->x->version++;
	fs__key_inode(&k, t.f);
	fsx_delete(m->x, fs__key_slice(&k));
	fs__key_block(&k, t.f, 0);
	fsx_delete(m->x, fs__key_slice(&k)); /* else its data would make a file of it */
	expect_mended(m, "not there");
	CHECK_ERR(fsc_lookup(m, t.d, "f"), ERR_NOT_FOUND);
}

FSC_CASE(a_name_of_a_wrong_type)
{
	struct tree t = plant(m);

	fsd_put_dentry(m, t.d, "f", t.f, FS_T_SYMLINK);
	expect_mended(m, "another type");
	CHECK_U64_EQ(fsc_ino(m, t.d, "f"), t.f);
}

FSC_CASE(link_counts)
{
	struct tree t = plant(m);

	fsd_set_field(m, t.f, FS_F_NLINK, 7);
	expect_mended(m, "counts 7 links");
	CHECK_U64_EQ(fsc_attr(m, t.f).nlink, 1);
	fsd_set_field(m, t.d, FS_F_NLINK, 2);
	expect_mended(m, "counts 2 links");
	CHECK_U64_EQ(fsc_attr(m, t.d).nlink, 3);
}

FSC_CASE(a_directory_that_does_not_know_its_place)
{
	struct tree t = plant(m);

	fsd_set_field(m, t.sub, FS_F_PARENT, ROOT);
	expect_mended(m, "does not know");
	CHECK_U64_EQ(fsc_attr(m, t.sub).parent, t.d);
}

FSC_CASE(a_second_name_of_a_directory)
{
	struct tree t = plant(m);

	fsd_put_dentry(m, ROOT, "again", t.sub, FS_T_DIR);
	expect_mended(m, "second name");
	CHECK_U64_EQ(fsc_ino(m, t.d, "sub"), t.sub);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "again"), 0);
}

FSC_CASE(an_inode_without_names)
{
	struct tree t = plant(m);

	fsd_drop_dentry(m, t.d, "f");
	expect_mended(m, "counts 1 links, 0 were found");
}

FSC_CASE(an_orphan_that_nobody_removes)
{
	struct tree t = plant(m);

	fsd_drop_dentry(m, t.d, "f");
	fsd_set_field(m, t.f, FS_F_NLINK, 0);
	fsd_set_field(m, t.f, FS_F_ORPHAN, 1);
	expect_mended(m, "nobody will remove it");
}

FSC_CASE(a_directory_without_a_name)
{
	struct tree t = plant(m);

	fsc_file(m, t.sub, "inside", "precious");
	fsd_drop_dentry(m, t.d, "sub");
	expect_mended(m, "has no name");
	CHECK_U64_EQ(fsc_attr(m, t.sub).nlink, 2); /* it is somewhere again, with what is in it */
	CHECK_TRUE(fsc_ino(m, t.sub, "inside") != 0);
}

FSC_CASE(directories_in_a_ring)
{
	struct tree t = plant(m);
	fs_ino low = fsc_mkdir(m, t.sub, "low");
	struct fs_name n;

	fsd_drop_dentry(m, t.d, "sub");
	fsd_put_dentry(m, low, "sub", t.sub, FS_T_DIR);
	CHECK_OK(fs__name_init(m->fs, low, slice_str("sub"), &n));
	fsd_set_field(m, t.sub, FS_F_PARENT, low);
	fsd_set_field(m, t.sub, FS_F_NAME_HASH, n.hash);
	fsd_set_field(m, t.d, FS_F_NLINK, 2);
	fsd_set_field(m, low, FS_F_NLINK, 3);
	expect_mended(m, "lies in itself");
}

FSC_CASE(holes_that_nobody_knows_of)
{
	struct tree t = plant(m);
	struct fs_attr in = {.size = 3 * BLOCK_SIZE}, a;
	uint8_t b[FS_INODE_SIZE];
	struct fs_inode rec;
	struct fs_key k;

	CHECK_OK(fs_setattr(m->fs, t.f, FS_SET_SIZE, &in, &a));
	CHECK_OK(fs__inode_get(m->fs, t.f, &rec));
	CHECK_TRUE(rec.holes);
	rec.holes = false; /* as files were before there was the mark */
	fs__inode_encode(b, &rec);
	fs__key_inode(&k, t.f);
	fsd_put(m, &k, slice_of(b, sizeof(b)));
	expect_mended(m, "has holes");
	CHECK_OK(fs__inode_get(m->fs, t.f, &rec));
	CHECK_TRUE(rec.holes);
}

FSC_CASE(data_beyond_the_end)
{
	struct tree t = plant(m);
	struct fs_file *f;
	struct fs_key k;

	fs__key_block(&k, t.f, 3);
	fsd_put(m, &k, slice_str("beyond"));
	expect_mended(m, "beyond its end");
	f = fsc_open(m, t.f, FS_O_READ | FS_O_WRITE);
	fsc_write(f, 4 * BLOCK_SIZE, slice_str("x"));
	fs_file_close(f);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 3);
}

FSC_CASE(data_of_nobody)
{
	struct fs_key k;

	plant(m);
	fs__key_block(&k, fs__number(77, 99999), 0);
	fsd_put(m, &k, slice_str("lost"));
	expect_mended(m, "belongs to no file");
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 3); /* it might be somebody's */
	fsc_contents(m, fs__number(77, 99999), "lost");
}

FSC_CASE(a_stripe_without_its_mark)
{
	struct tree t = plant(m);
	struct fs_key k;

	m->x->version++;
	fs__key_stripes(&k, t.big, 0);
	CHECK_NOT_NULL(fsx_find(m->x, fs__key_slice(&k)));
	fsx_delete(m->x, fs__key_slice(&k));
	expect_mended(m, "not marked");
	CHECK_OK(fsc_unlink(m, ROOT, "big"));
	fsc_idle(m);
	CHECK_U64_EQ(fsx_count(m->x, 'B'), 1);
}

FSC_CASE(attributes_without_an_inode_or_a_mark)
{
	struct tree t = plant(m);
	struct fs_key k;

	fs__key_xattr(&k, fs__number(5, 88888), slice_str("user.y"));
	fsd_put(m, &k, slice_str("v"));
	expect_mended(m, "attributes");
	fsd_set_field(m, t.big, FS_F_XATTRS, 0);
	expect_mended(m, "does not know that it has attributes");
}

static struct slice list_of(uint8_t b[28], unsigned mode)
{
	static const uint8_t tags[] = {1, 4, 32};

	memset(b, 0xff, 28);
	le32_put(b, 2);
	for (unsigned i = 0; i < 3; i++) {
		le16_put(b + 4 + 8 * i, tags[i]);
		le16_put(b + 6 + 8 * i, (uint16_t)(mode >> (6 - 3 * i) & 7));
	}
	return slice_of(b, 28);
}

static uint8_t marks(struct fsx_mount *m, fs_ino ino)
{
	struct fs_inode rec;

	CHECK_OK(fs__inode_get(m->fs, ino, &rec));
	return rec.xattrs;
}

FSC_CASE(marks_of_lists_and_capabilities)
{
	struct tree t = plant(m);
	uint8_t b[28];

	CHECK_OK(fs_setxattr(m->fs, t.f, slice_str("security.capability"), slice_str("c"), 0));
	CHECK_OK(fs_setxattr(m->fs, t.d, slice_str("system.posix_acl_default"), list_of(b, 0750), 0));
	fsd_expect_clean(m);
	fsd_set_field(m, t.f, FS_F_XATTRS, FS_HAS_XATTRS);
	expect_mended(m, "or which");
	CHECK_U64_EQ(marks(m, t.f), FS_HAS_XATTRS | FS_HAS_CAPABILITY);
	fsd_set_field(m, t.f, FS_F_XATTRS, FS_HAS_XATTRS | FS_HAS_CAPABILITY | FS_HAS_ACCESS_ACL);
	expect_mended(m, "or which");
	CHECK_U64_EQ(marks(m, t.f), FS_HAS_XATTRS | FS_HAS_CAPABILITY);
	fsd_set_field(m, t.d, FS_F_XATTRS, 0);
	expect_mended(m, "or which");
	CHECK_U64_EQ(marks(m, t.d), FS_HAS_XATTRS | FS_HAS_DEFAULT_ACL);
}

FSC_CASE(lists_that_are_none_or_do_not_fit)
{
	struct tree t = plant(m);
	struct buf got = BUF_INIT;
	struct fs_key k;
	uint8_t b[28];

	fs__key_xattr(&k, t.d, slice_str("system.posix_acl_default"));
	fsd_put(m, &k, slice_str("rubbish"));
	fsd_set_field(m, t.d, FS_F_XATTRS, FS_HAS_XATTRS | FS_HAS_DEFAULT_ACL);
	expect_mended(m, "damaged system.posix_acl_default");
	CHECK_U64_EQ(marks(m, t.d), FS_HAS_XATTRS);
	CHECK_TRUE(!fsx_find(m->x, fs__key_slice(&k)));
	fs__key_xattr(&k, t.f, slice_str("system.posix_acl_default")); /* of what is no directory */
	fsd_put(m, &k, list_of(b, 0700));
	expect_mended(m, "damaged system.posix_acl_default");
	fs__key_xattr(&k, t.f, slice_str("system.posix_acl_access"));
	fsd_put(m, &k, list_of(b, 0711));
	fsd_set_field(m, t.f, FS_F_XATTRS, FS_HAS_XATTRS | FS_HAS_ACCESS_ACL);
	fsd_set_field(m, t.f, FS_F_PERM, 0640);
	expect_mended(m, "does not fit its mode");
	CHECK_OK(fs_getxattr(m->fs, t.f, slice_str("system.posix_acl_access"), &got));
	CHECK_SLICE_EQ(buf_slice(&got), list_of(b, 0640));
	CHECK_U64_EQ(fsc_attr(m, t.f).mode & 07777, 0640);
	buf_release(&got);
}

/* ---- what dead mounts left ---- */

struct death {
	struct fsx_mount *dying, *other;
};

static void die_fiber(void *arg)
{
	struct death *d = arg;
	fs_ino f = fsc_file(d->dying, ROOT, "f", "text");
	struct fs_file *file = fsc_open(d->dying, f, FS_O_READ);

	CHECK_OK(fsc_unlink(d->dying, ROOT, "f"));
	fsd_expect_clean(d->other); /* it is in use */
	fsx_kill(d->dying);
	fs_file_close(file);
}

static void mend_fiber(void *arg)
{
	struct death *d = arg;

	expect_mended(d->other, "since its mount died");
	CHECK_U64_EQ(fsx_count(d->other->x, 'I'), 1);
}

static void orphans_of_dead_mounts(void)
{
	struct fsx *x = fsx_new(4, 1);
	struct death d = {fsx_mount(x), fsx_mount(x)};

	fsx_call(x, die_fiber, &d);
	fsx_umount(d.dying);
	fsx_call(x, mend_fiber, &d);
	fsx_free(x);
}

/* ---- while others work ---- */

struct work {
	struct fsx *x;
	struct fsx_mount *m;
	fs_ino dirs[4];
	unsigned left, checks;
};

static void worker_fiber(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < 150; i++) {
		fs_ino d = w->dirs[fsx_random(w->x) % 4], e = w->dirs[fsx_random(w->x) % 4];
		static const char *names[] = {"a", "b", "c"};
		struct slice n = slice_str(names[fsx_random(w->x) % 3]);
		struct slice o = slice_str(names[fsx_random(w->x) % 3]);
		struct fs_attr a;
		struct fs_file *f;

		if (fs_create(w->m->fs, &fsc_cred, d, n, S_IFREG | 0644, FS_O_WRITE, &a, &f) == 0) {
			(void)fs_write(f, i % 5 ? 7 : STRIPE_SIZE, slice_str("data"), NULL);
			if (i % 3 == 0)
				(void)fs_setxattr(w->m->fs, a.ino, slice_str("user.x"), n, 0);
			fs_file_close(f);
		}
		(void)fs_rename(w->m->fs, d, n, e, o, i % 4 ? 0 : FS_RENAME_EXCHANGE);
		(void)fs_mkdir(w->m->fs, &fsc_cred, e, n, 0777, &a);
		(void)fs_unlink(w->m->fs, e, o);
		(void)fs_rmdir(w->m->fs, d, n);
	}
	w->left--;
}

static void checker_fiber(void *arg)
{
	struct work *w = arg;

	while (w->left > 0) {
		fsd_expect_clean(w->m);
		w->checks++;
	}
}

static void work_dirs_fiber(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "w%d", i);
		w->dirs[i] = fsc_mkdir(w->m, ROOT, name);
	}
}

static void nothing_is_told_of_work_in_progress(void)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct fsx *x = fsx_new(4, seed);
		struct work w = {.x = x, .m = fsx_mount(x), .left = 3};

		fsx_call(x, work_dirs_fiber, &w);
		x->delay_ns = NS_PER_MS;
		for (int i = 0; i < 3; i++)
			fsx_start(x, worker_fiber, &w);
		fsx_start(x, checker_fiber, &w);
		fsx_settle(x);
		CHECK_TRUE(w.checks > 3);
		fsx_umount_all(x);
		fsx_check(x, false);
		fsx_free(x);
	}
}

static void put_locks(struct fsx_mount *m, fs_ino ino, uint64_t session)
{
	struct fs_lock l = {.kind = FS_LOCK_POSIX,
			    .mode = FS_LOCK_EXCLUSIVE,
			    .end = 9,
			    .owner = 1,
			    .session = session};
	struct lock_table t;
	struct buf b = BUF_INIT;
	struct fs_key k;

	lock_table_init(&t);
	CHECK_OK(lock_table_set(&t, &l));
	l.session = m->b.session;
	CHECK_OK(lock_table_wait(&t, &l));
	lock_table_encode(&b, &t);
	fs__key_head(&k, fs__place(ino), ino, FS_KIND_LOCK);
	m->x->version++;
	fsx_put(m->x, fs__key_slice(&k), buf_slice(&b));
	lock_table_release(&t);
	buf_release(&b);
}

FSC_CASE(locks_that_nobody_holds)
{
	struct tree t = plant(m);
	struct lock_table left;
	struct fsx_rec *r;
	struct fs_key k;

	put_locks(m, 4711, m->b.session);
	expect_mended(m, "is not there, but has locks");
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 0);
	put_locks(m, t.f, 4711); /* its waiter lives */
	expect_mended(m, "1 locks of mounts that ended");
	fs__key_head(&k, fs__place(t.f), t.f, FS_KIND_LOCK);
	r = fsx_find(m->x, fs__key_slice(&k));
	CHECK_TRUE(r != NULL);
	lock_table_init(&left);
	CHECK_OK(lock_table_decode(buf_slice(&r->value), &left));
	CHECK_U64_EQ(left.held.count, 0);
	CHECK_U64_EQ(left.waiters.count, 1);
	lock_table_release(&left);
	m->x->version++;
	fsx_put(m->x, fs__key_slice(&k), slice_str("locks"));
	expect_mended(m, "damaged record of locks");
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 0);
}

static const struct check_test tests[] = {
	CHECK_TEST(nothing_is_wrong),
	CHECK_TEST(a_name_without_an_inode),
	CHECK_TEST(a_name_of_a_wrong_type),
	CHECK_TEST(link_counts),
	CHECK_TEST(a_directory_that_does_not_know_its_place),
	CHECK_TEST(a_second_name_of_a_directory),
	CHECK_TEST(an_inode_without_names),
	CHECK_TEST(an_orphan_that_nobody_removes),
	CHECK_TEST(a_directory_without_a_name),
	CHECK_TEST(directories_in_a_ring),
	CHECK_TEST(holes_that_nobody_knows_of),
	CHECK_TEST(data_beyond_the_end),
	CHECK_TEST(data_of_nobody),
	CHECK_TEST(a_stripe_without_its_mark),
	CHECK_TEST(attributes_without_an_inode_or_a_mark),
	CHECK_TEST(marks_of_lists_and_capabilities),
	CHECK_TEST(lists_that_are_none_or_do_not_fit),
	CHECK_TEST(locks_that_nobody_holds),
	CHECK_TEST(orphans_of_dead_mounts),
	CHECK_TEST(nothing_is_told_of_work_in_progress),
};
CHECK_MAIN(tests)
