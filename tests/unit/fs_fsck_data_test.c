/* Each kind of damage to data, to what waits to be removed, to attributes and locks: fsck tells of
 * exactly that, mends it, and costs nobody anything that could be reached. */
#include <stdio.h>

#include "base/bytes.h"
#include "fs/lock_internal.h"
#include "tests/lib/fs_damage.h"

#define ROOT FS_ROOT_INO
#define DEAD 4711u /* a session that is no more */

static uint64_t data_of(struct fsx_mount *m, fs_ino ino)
{
	struct fs_inode rec;

	CHECK_OK(fs__inode_get(m->fs, ino, &rec));
	return rec.data_id;
}

static struct fsx_rec *block(struct fsx_mount *m, uint64_t data_id, uint64_t n, struct fs_key *k)
{
	fs__key_block(k, data_id, n);
	return fsx_find(m->x, fs__key_slice(k));
}

static unsigned found(struct fsx_mount *m)
{
	fs_ino dir = fsc_ino(m, ROOT, "lost+found");

	return dir ? fsc_entries(m, dir) : 0;
}

static void nothing_found(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	CHECK_U64_EQ(found(m), 0);
}

static void one_found(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	CHECK_U64_EQ(found(m), 1);
}

/* ---- blocks and stripes ---- */

static void beyond(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_block(&k, t->f, 3);
	fsd_put(m, &k, slice_str("beyond"));
	fs__key_block(&k, t->g, 0);
	fsd_put(m, &k, slice_str("linked, and more"));
	fs__key_block(&k, t->big, 2 * FS_BLOCKS_PER_STRIPE);
	fsd_put(m, &k, slice_str("far beyond"));
	fs__key_stripes(&k, t->big, 0);
	fsd_rec(m, &k)->value.data[0] |= 4;
}

static void nothing_appears(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_file *f = fsc_open(m, t->f, FS_O_READ | FS_O_WRITE);
	struct buf v = BUF_INIT;

	fsc_write(f, 4 * BLOCK_SIZE, slice_str("x"));
	CHECK_OK(fs_read(f, 3 * BLOCK_SIZE, 6, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_of("\0\0\0\0\0\0", 6));
	buf_release(&v);
	fs_file_close(f);
}

static void gaps(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_inode(m, t->big)->value.data[3] = 0;
	fsd_set_field(m, t->f, FS_F_SIZE, 5 * BLOCK_SIZE);
}

static void the_gap_is_known(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_inode rec;

	CHECK_OK(fs__inode_get(m->fs, t->big, &rec));
	CHECK_TRUE(rec.holes);
	CHECK_OK(fs__inode_get(m->fs, t->f, &rec));
	CHECK_TRUE(rec.holes);
}

static void unmarked(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_stripes(&k, t->big, 0);
	fsd_delete(m, &k);
}

static void bits_too_many(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_stripes(&k, t->big, 0);
	fsd_resize(m, &k, FS_STRIPES_CHUNK_BYTES + 9);
}

static void odd_stripes(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_stripes(&k, t->big, UINT64_MAX / 2);
	fsd_put(m, &k, slice_str("x"));
	fs__key_head(&k, fs__place(t->big), t->big, FS_KIND_STRIPES);
	fsd_put(m, &k, slice_str("x"));
}

static void block_misplaced(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key from, to;

	CHECK_TRUE(block(m, t->big, FS_BLOCKS_PER_STRIPE, &from) != NULL);
	to = from;
	be16_put(to.b, (uint16_t)(be16_get(to.b) ^ 1));
	fsd_move(m, &from, &to);
	fs__key_head(&to, fs__place(t->f), t->f, FS_KIND_BLOCK); /* and one with half a number */
	fs__key_bytes(&to, slice_str("half"));
	fsd_put(m, &to, slice_str("x"));
}

static void block_too_long(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_block(&k, data_of(m, t->put), 0);
	fsd_resize(m, &k, BLOCK_SIZE + 100);
}

/* ---- data ids ---- */

static void nobodys(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	(void)t;
	fs__key_block(&k, fs__number(77, 1999), 0);
	fsd_put(m, &k, slice_str("lost"));
	fs__key_block(&k, fs__number(77, 1999), 3 * FS_BLOCKS_PER_STRIPE);
	fsd_put(m, &k, slice_str("and far"));
	fs__key_stripes(&k, fs__number(77, 1999), 0);
	fsd_put(m, &k, slice_str("\x08"));
}

static void nobodys_is_found(struct fsx_mount *m, struct fsd_tree *t)
{
	fs_ino dir = fsc_ino(m, ROOT, "lost+found"), ino = fs__number(77, 1999);
	struct buf v = BUF_INIT;
	struct fs_file *f;
	char name[32];

	(void)t;
	snprintf(name, sizeof(name), "#%llu", (unsigned long long)ino);
	CHECK_U64_EQ(fsc_ino(m, dir, name), ino);
	CHECK_U64_EQ(fsc_attr(m, ino).size, 3 * STRIPE_SIZE + 7);
	f = fsc_open(m, ino, FS_O_READ);
	CHECK_OK(fs_read(f, 0, 4, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("lost"));
	CHECK_OK(fs_read(f, 3 * STRIPE_SIZE, 9, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("and far"));
	fs_file_close(f);
	buf_release(&v);
}

static void stripes_of_nobody(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	(void)t;
	fs__key_stripes(&k, fs__number(77, 1999), 0);
	fsd_put(m, &k, slice_str("\x08"));
}

static void file_lost(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_delete_inode(m, t->f);
	fsd_delete_inode(m, t->g);
	fsd_delete_inode(m, t->big);
}

static void file_with_other_data_lost(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_delete_inode(m, t->put);
}

static void other_data(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->f, FS_F_DATA_ID, fs__number(fs__place(t->f), 1998));
}

/* It said that it has holes: then they may be what it is, and what was its own is beside it. */
static void other_data_with_holes(struct fsx_mount *m, struct fsd_tree *t)
{
	other_data(m, t);
	fsd_inode(m, t->f)->value.data[3] = 1;
}

static void text_is_found(struct fsx_mount *m, struct fsd_tree *t)
{
	fs_ino dir = fsc_ino(m, ROOT, "lost+found");

	CHECK_U64_EQ(fsc_attr(m, t->f).size, 4);
	CHECK_U64_EQ(fsc_entries(m, dir), 1);
}

static void shared(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->f, FS_F_DATA_ID, t->g);
}

/* Its own is gone: it keeps a copy of what it shows. */
static void shared_without_own(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_block(&k, t->f, 0);
	fsd_delete(m, &k);
	fsd_set_field(m, t->f, FS_F_DATA_ID, t->big);
	fsd_set_field(m, t->f, FS_F_SIZE, STRIPE_SIZE + 8);
	fsd_inode(m, t->f)->value.data[3] = 1;
}

static void f_has_a_copy(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_file *f = fsc_open(m, t->f, FS_O_READ | FS_O_WRITE);
	struct buf v = BUF_INIT;

	CHECK_TRUE(data_of(m, t->f) != data_of(m, t->big));
	CHECK_OK(fs_read(f, STRIPE_SIZE + 5, 10, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("far"));
	fsc_write(f, STRIPE_SIZE + 5, slice_str("own"));
	fs_file_close(f);
	f = fsc_open(m, t->big, FS_O_READ);
	CHECK_OK(fs_read(f, STRIPE_SIZE + 5, 10, &v));
	CHECK_SLICE_EQ(buf_slice(&v), slice_str("far"));
	fs_file_close(f);
	buf_release(&v);
}

/* ---- what waits to be removed ---- */

static void in_use(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_put_reap(m, t->f, FS_REAP_INODE, DEAD);
	fsd_put_reap(m, t->g, FS_REAP_DATA, m->b.session);
	fsd_put_reap(m, data_of(m, t->put), FS_REAP_STAGED, 0);
	fsd_put_reap(m, data_of(m, t->put), FS_REAP_INODE, DEAD);
	fsd_put_reap(m, t->sub, FS_REAP_INODE, m->b.session);
}

static void left(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fsd_drop_dentry(m, t->d, "f");
	fsd_set_field(m, t->f, FS_F_NLINK, 0);
	fsd_set_field(m, t->f, FS_F_ORPHAN, 1);
	fsd_put_reap(m, t->f, FS_REAP_INODE, DEAD);
	for (uint64_t id = 1990; id < 1993; id++) {
		fs__key_block(&k, fs__number(5, id), 0);
		fsd_put(m, &k, slice_str("old"));
		fsd_put_reap(m, fs__number(5, id), (uint8_t)(id - 1989), id == 1992 ? 0 : DEAD);
	}
}

static void left_is_gone(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_attr a;

	CHECK_ERR(fs_getattr(m->fs, t->f, &a), ERR_STALE);
	CHECK_U64_EQ(found(m), 0);
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_REAP), 1); /* of what is open */
}

static void records_of_removal(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_reap(&k, t->put, FS_REAP_DATA); /* it has other data: nothing to be removed */
	fsd_put(m, &k, slice_str("rubbish"));
	fs__key_reap(&k, t->f, 9);
	fsd_put(m, &k, slice_str("rubbish"));
}

/* ---- who has what open ---- */

static void mounts_damaged(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_hold(&k, t->open, m->b.session);
	fsd_put(m, &k, slice_str("odd"));
	fs__key_mount(&k, m->b.session);
	fsd_resize(m, &k, 3);
	fs__key_batch(&k, 77);
	fsd_put(m, &k, slice_str("no batch"));
	fsd_resize(m, &k, 5);
	fs__key_queue(&k);
	fsd_resize(m, &k, 1);
}

static void mounts_are_known(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_mount_rec rec;
	struct fs_queue q;
	struct fs_key k;

	fs__key_mount(&k, m->b.session);
	CHECK_OK(fs__mount_decode(buf_slice(&fsd_rec(m, &k)->value), &rec));
	fs__key_queue(&k);
	CHECK_OK(fs__queue_decode(buf_slice(&fsd_rec(m, &k)->value), &q));
	fs__key_hold(&k, t->open, m->b.session);
	CHECK_U64_EQ(fsd_rec(m, &k)->value.len, FS_HOLD_SIZE);
	fsd_delete(m, &k); /* this mount does not know of it */
}

/* ---- attributes ---- */

static void of_nobody(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	(void)t;
	fs__key_xattr(&k, fs__number(5, 1999), slice_str("user.y"));
	fsd_put(m, &k, slice_str("v"));
}

static void marks(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->listed, FS_F_XATTRS, 0);
	fsd_set_field(m, t->f, FS_F_XATTRS, FS_HAS_ACCESS_ACL | FS_HAS_XATTRS);
	fsd_set_field(m, t->d, FS_F_XATTRS, FS_HAS_DEFAULT_ACL);
	fsd_set_field(m, t->g, FS_F_XATTRS, 0x40);
}

static void a_list_of_another_mode(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->listed, FS_F_PERM, 0711);
}

static void the_mode_wins(struct fsx_mount *m, struct fsd_tree *t)
{
	struct buf v = BUF_INIT;

	CHECK_U64_EQ(fsc_attr(m, t->listed).mode & 07777, 0711);
	CHECK_OK(fs_getxattr(m->fs, t->listed, slice_str("system.posix_acl_access"), &v));
	CHECK_U64_EQ(v.len, 44);
	CHECK_U64_EQ(v.data[30], 1); /* the mask is the mode's group now */
	buf_release(&v);
}

static void no_lists(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_xattr(&k, t->listed, slice_str("system.posix_acl_access"));
	fsd_resize(m, &k, 17);
	fs__key_xattr(&k, t->f, slice_str("system.posix_acl_default"));
	fsd_put(m, &k, slice_of("\2\0\0\0\1\0\7\0\377\377\377\377\4\0\5\0\377\377\377\377"
				"\40\0\5\0\377\377\377\377",
				28));
}

static void lists_are_gone(struct fsx_mount *m, struct fsd_tree *t)
{
	struct buf v = BUF_INIT;

	CHECK_ERR(fs_getxattr(m->fs, t->listed, slice_str("system.posix_acl_access"), &v),
		  ERR_NO_DATA);
	CHECK_OK(fs_getxattr(m->fs, t->listed, slice_str("user.x"), &v));
	CHECK_ERR(fs_getxattr(m->fs, t->f, slice_str("system.posix_acl_default"), &v), ERR_NO_DATA);
	CHECK_U64_EQ(fsc_attr(m, t->listed).mode & 07777, 0775);
	buf_release(&v);
}

static void odd_attributes(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_xattr(&k, t->listed, slice_str(""));
	fsd_put(m, &k, slice_str("v"));
	fs__key_xattr(&k, t->listed, slice_of("user.\0x", 7));
	fsd_put(m, &k, slice_str("v"));
	fs__key_xattr(&k, t->listed, slice_str("other.x"));
	fsd_put(m, &k, slice_str("v"));
}

/* ---- locks ---- */

static void put_lock(struct fsx_mount *m, fs_ino ino, uint64_t session)
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
	lock_table_encode(&b, &t);
	fs__key_head(&k, fs__place(ino), ino, FS_KIND_LOCK);
	fsd_put(m, &k, buf_slice(&b));
	lock_table_release(&t);
	buf_release(&b);
}

static void locks_of_the_dead(struct fsx_mount *m, struct fsd_tree *t)
{
	put_lock(m, t->f, DEAD);
	put_lock(m, fs__number(9, 1999), DEAD);
}

static void no_locks(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	CHECK_U64_EQ(fsx_count(m->x, FS_KIND_LOCK), 0);
}

static void locks_damaged(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_head(&k, fs__place(t->f), t->f, FS_KIND_LOCK);
	fsd_put(m, &k, slice_str("locks"));
}

static void a_wait(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_lock l = {.kind = FS_LOCK_POSIX, .session = DEAD, .owner = 1, .ticket = 2};
	struct fs_key k;
	uint8_t b[8];

	le64_put(b, t->f);
	lock__index_key(&k, &l);
	fsd_put(m, &k, slice_of(b, sizeof(b)));
	fs__key_u64(&k, 3);
	fsd_put(m, &k, slice_of(b, sizeof(b)));
}

static const struct fsd_case data[] = {
	{"beyond", beyond, "data-beyond-end", 0, nothing_appears, 0, 0},
	{"gaps", gaps, "holes-unmarked", FSD_F, the_gap_is_known, 0, 0},
	{"unmarked", unmarked, "stripe-unmarked", 0, NULL, 0, 0},
	{"bits too many", bits_too_many, "record-damaged", 0, NULL, 0, 0},
	{"odd stripes", odd_stripes, "record-misplaced", 0, NULL, 0, 0},
	{"block misplaced", block_misplaced, "record-misplaced", 0, NULL, 0, 0},
	{"block too long", block_too_long, "record-damaged", 0, NULL, 0, 0},
	{"nobody's", nobodys, "data-without-file", 0, nobodys_is_found, 0, 0},
	{"stripes of nobody", stripes_of_nobody, "data-without-file", 0, nothing_found, 0, 0},
	{"files lost", file_lost, "data-without-file", 0, nothing_found, 0, 0},
	{"a file lost, with other data", file_with_other_data_lost,
	 "dangling-name data-without-file", FSD_PUT, one_found, 0, 0},
	{"other data", other_data, "data-without-file", 0, nothing_found, 0, 0},
	{"other data, with holes", other_data_with_holes, "data-without-file", FSD_F, text_is_found, 0,
	 0},
	{"shared", shared, "data-shared data-without-file", 0, nothing_found, 0, 0},
	{"shared, without own", shared_without_own, "data-shared", FSD_F, f_has_a_copy, 0, 0},
};

static const struct fsd_case reaping[] = {
	{"in use", in_use, "in-use-but-reaped", 0, nothing_found, 0, 0},
	{"left", left, "reap-left", FSD_F, left_is_gone, 0, 0},
	{"mounts damaged", mounts_damaged, "record-damaged", 0, mounts_are_known, 0, 0},
	{"records of removal", records_of_removal, "record-damaged record-misplaced", 0, NULL, 0, 0},
};

static const struct fsd_case attributes[] = {
	{"of nobody", of_nobody, "attributes", 0, NULL, 0, 0},
	{"marks", marks, "attributes", 0, NULL, 0, 0},
	{"a list of another mode", a_list_of_another_mode, "attributes", FSD_LISTED, the_mode_wins, 0,
	 0},
	{"no lists", no_lists, "attributes", FSD_LISTED, lists_are_gone, 0, 0},
	{"odd attributes", odd_attributes, "record-damaged", 0, NULL, 0, 0},
};

static const struct fsd_case locks[] = {
	{"locks of the dead", locks_of_the_dead, "locks", 0, no_locks, 0, 0},
	{"locks damaged", locks_damaged, "record-damaged", 0, no_locks, 0, 0},
	{"a wait", a_wait, "lock-wait", 0, NULL, 0, 0},
};

#define RUN(table)                                                                                 \
	static void damaged_##table(void)                                                          \
	{                                                                                          \
		fsd_run_cases(table, sizeof(table) / sizeof((table)[0]));                          \
	}
RUN(data)
RUN(reaping)
RUN(attributes)
RUN(locks)

static const struct check_test tests[] = {
	CHECK_TEST(damaged_data),
	CHECK_TEST(damaged_reaping),
	CHECK_TEST(damaged_attributes),
	CHECK_TEST(damaged_locks),
};
CHECK_MAIN(tests)
