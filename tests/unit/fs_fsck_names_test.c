/* Each kind of damage to names, inodes and the store's own keys: fsck tells of exactly that, mends it,
 * and costs nobody anything that could be reached. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kv/layout.h"
#include "tests/lib/fs_damage.h"

#define ROOT FS_ROOT_INO
#define DEAD 4711u /* a session that is no more */

static void lost_and_found(struct fsx_mount *m, fs_ino ino, const char *contents)
{
	fs_ino dir = fsc_ino(m, ROOT, "lost+found");
	char name[32];

	snprintf(name, sizeof(name), "#%llu", (unsigned long long)ino);
	CHECK_TRUE(dir != 0);
	CHECK_U64_EQ(fsc_ino(m, dir, name), ino);
	if (contents)
		fsc_contents(m, ino, contents);
}

/* ---- names ---- */

static void name_of_nothing(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_delete_inode(m, t->empty);
}

static void empty_is_gone(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	CHECK_U64_EQ(fsc_ino(m, ROOT, "empty"), 0);
}

static void names_of_nothing(struct fsx_mount *m, struct fsd_tree *t)
{
	static const char *const names[] = {"e1", "e2", "e3", "e4", "e5"};

	for (unsigned i = 0; i < 5; i++)
		CHECK_OK(fsc_link(m, t->empty, t->d, names[i]));
	fsd_delete_inode(m, t->empty);
}

static void a_type(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_put_dentry(m, t->d, "f", t->f, FS_T_SYMLINK);
}

static void a_type_of_two_names(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_put_dentry(m, t->d, "g", t->g, FS_T_DIR);
	fsd_put_dentry(m, ROOT, "empty", t->empty, 0);
}

static void the_other_type(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_put_dentry(m, ROOT, "g2", t->g, FS_TYPE(S_IFIFO));
}

static void names_in_a_file(struct fsx_mount *m, struct fsd_tree *t)
{
	static const char *const names[] = {"i1", "i2", "i3", "i4", "i5"};

	for (unsigned i = 0; i < 5; i++)
		fsd_put_dentry(m, t->f, names[i], t->g, FS_T_FILE);
}

static void a_parent(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->sub, FS_F_PARENT, ROOT);
}

static void a_name_hash(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->low, FS_F_NAME_HASH, 77u << FS_TIE_BITS);
}

static void two_names(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_put_dentry(m, ROOT, "again", t->sub, FS_T_DIR);
}

static void root_in_itself(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_put_dentry(m, t->d, "up", ROOT, FS_T_DIR);
}

static void a_loop(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fsd_drop_dentry(m, t->d, "sub");
	fsd_put_dentry(m, t->low, "sub", t->sub, FS_T_DIR);
	fsd_name_key(m, t->low, "sub", &k);
	fsd_set_field(m, t->sub, FS_F_PARENT, t->low);
	fsd_set_field(m, t->sub, FS_F_NAME_HASH, be64_get(k.b + FS_KEY_HEAD));
	fsd_set_field(m, t->d, FS_F_NLINK, 2);
	fsd_set_field(m, t->low, FS_F_NLINK, 3);
}

static void the_loop_is_open(struct fsx_mount *m, struct fsd_tree *t)
{
	CHECK_U64_EQ(fsc_ino(m, t->low, "deep"), t->deep);
	fsc_contents(m, t->deep, "deep");
	CHECK_TRUE(fsc_ino(m, ROOT, "lost+found") != 0);
}

static void no_name(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_drop_dentry(m, t->d, "f");
}

static void f_is_found(struct fsx_mount *m, struct fsd_tree *t)
{
	lost_and_found(m, t->f, "text");
}

static void no_name_and_it_is_taken(struct fsx_mount *m, struct fsd_tree *t)
{
	fs_ino dir = fsc_mkdir(m, ROOT, "lost+found");
	char name[32];

	snprintf(name, sizeof(name), "#%llu", (unsigned long long)t->f);
	fsc_file(m, dir, name, "other");
	strcat(name, ".1");
	fsc_file(m, dir, name, "another");
	fsd_drop_dentry(m, t->d, "f");
}

static void f_is_found_beside(struct fsx_mount *m, struct fsd_tree *t)
{
	char name[32];

	snprintf(name, sizeof(name), "#%llu.2", (unsigned long long)t->f);
	CHECK_U64_EQ(fsc_ino(m, fsc_ino(m, ROOT, "lost+found"), name), t->f);
	fsc_contents(m, t->f, "text");
}

static void no_name_of_a_directory(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_drop_dentry(m, t->d, "sub");
	fsd_set_field(m, t->d, FS_F_NLINK, 2);
}

static void sub_is_found(struct fsx_mount *m, struct fsd_tree *t)
{
	lost_and_found(m, t->sub, NULL);
	CHECK_U64_EQ(fsc_ino(m, t->sub, "low"), t->low);
	fsc_contents(m, t->deep, "deep");
}

static void filed_elsewhere(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key from, to;

	fsd_name_key(m, t->d, "f", &from);
	fs__key_dentry(&to, t->d, 5u << FS_TIE_BITS, slice_str("f"));
	fsd_move(m, &from, &to);
	fsd_name_key(m, t->d, "sub", &from);
	fs__key_dentry(&to, t->d, 6u << FS_TIE_BITS, slice_str("sub"));
	fsd_move(m, &from, &to);
	fsd_set_field(m, t->sub, FS_F_NAME_HASH, 6u << FS_TIE_BITS);
}

/* Under the hash that such a name would have. */
static void rename_raw(struct fsx_mount *m, fs_ino dir, const char *name, struct slice to)
{
	struct fs_key from, k;

	fsd_name_key(m, dir, name, &from);
	fs__key_dentry(&k, dir, fs__name_hash(fs__name_digest(m->fs->hash_key, dir, to)), to);
	fsd_move(m, &from, &k);
}

static void odd_names(struct fsx_mount *m, struct fsd_tree *t)
{
	rename_raw(m, t->d, "f", slice_str("a/b"));
	rename_raw(m, ROOT, "empty", slice_str(".."));
	rename_raw(m, ROOT, "g2", slice_of("x\0y", 3));
	rename_raw(m, ROOT, "big", slice_str(""));
}

static void odd_names_are_usable(struct fsx_mount *m, struct fsd_tree *t)
{
	char name[32];

	snprintf(name, sizeof(name), "#%llu", (unsigned long long)t->big);
	CHECK_U64_EQ(fsc_ino(m, t->d, "a_b"), t->f);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "__"), t->empty);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "x_y"), t->g);
	CHECK_U64_EQ(fsc_ino(m, ROOT, name), t->big);
}

static void odd_name_where_one_is(struct fsx_mount *m, struct fsd_tree *t)
{
	fsc_file(m, t->d, "a_b", "other");
	rename_raw(m, t->d, "f", slice_str("a/b"));
}

static void both_are_there(struct fsx_mount *m, struct fsd_tree *t)
{
	fsc_contents(m, fsc_ino(m, t->d, "a_b"), "other");
	lost_and_found(m, t->f, "text");
}

static void a_cookie(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fsx_rec *one = NULL, *r;
	unsigned planted = 0;

	(void)t;
	RB_FOREACH(r, fsx_tree, &m->x->tree) {
		bool name = r->key.len > FS_DENTRY_HEAD && r->key.data[10] == FS_KIND_DENTRY &&
			    r->key.data[0] < 0x80;

		if (name && one && memcmp(one->key.data, r->key.data, FS_DENTRY_HEAD) == 0) {
			r->value.data[9] = one->value.data[9];
			r->version = ++m->x->version;
			planted++;
		}
		one = name ? r : NULL;
	}
	CHECK_TRUE(planted > 0);
}

static void a_dentry_cut_short(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fsd_name_key(m, t->d, "f", &k);
	fsd_resize(m, &k, 3);
}

/* ---- links ---- */

static void counts(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->f, FS_F_NLINK, 7);
	fsd_set_field(m, t->g, FS_F_NLINK, 1);
	fsd_set_field(m, t->d, FS_F_NLINK, 2);
	fsd_set_field(m, ROOT, FS_F_NLINK, 99);
}

static void counts_none(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->g, FS_F_NLINK, 0);
	fsd_set_field(m, t->sub, FS_F_NLINK, 0);
	fsd_set_field(m, t->sub, FS_F_ORPHAN, 1);
	fsd_put_reap(m, t->sub, FS_REAP_INODE, DEAD);
	fsd_set_field(m, t->f, FS_F_NLINK, 0);
	fsd_put_reap(m, t->f, FS_REAP_INODE, m->b.session);
}

static void removed_but_not_empty(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_drop_dentry(m, t->d, "sub");
	fsd_set_field(m, t->d, FS_F_NLINK, 2);
	fsd_set_field(m, t->sub, FS_F_NLINK, 0);
	fsd_set_field(m, t->sub, FS_F_ORPHAN, 1);
	fsd_put_reap(m, t->sub, FS_REAP_INODE, DEAD);
}

static void forgotten(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_drop_dentry(m, t->d, "f");
	fsd_set_field(m, t->f, FS_F_NLINK, 0);
	fsd_set_field(m, t->f, FS_F_ORPHAN, 1);
}

static void f_is_gone(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_attr a;

	CHECK_ERR(fs_getattr(m->fs, t->f, &a), ERR_STALE);
	CHECK_U64_EQ(fsc_ino(m, ROOT, "lost+found"), 0);
}

static void orphan_marks(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->f, FS_F_ORPHAN, 1);
	fsd_set_field(m, t->open, FS_F_ORPHAN, 0);
}

/* ---- inodes ---- */

static void inode_key(fs_ino ino, struct fs_key *k)
{
	fs__key_inode(k, ino);
}

static void cut_short(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->f, &k);
	fsd_resize(m, &k, 20);
	inode_key(t->sub, &k);
	fsd_resize(m, &k, 0);
	inode_key(t->empty, &k);
	fsd_resize(m, &k, 127);
}

static void for_root_alone(struct fsx_mount *m, struct fsd_tree *t)
{
	CHECK_U64_EQ(fsc_attr(m, t->f).mode, S_IFREG | 0600);
	CHECK_U64_EQ(fsc_attr(m, t->f).uid, 0);
	CHECK_U64_EQ(fsc_attr(m, t->sub).mode, S_IFDIR | 0700);
	CHECK_U64_EQ(fsc_attr(m, t->empty).mode, S_IFREG | 0600);
	fsc_contents(m, t->empty, "");
}

static void cut_short_with_other_data(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->put, &k);
	fsd_resize(m, &k, 20);
}

static void put_is_found(struct fsx_mount *m, struct fsd_tree *t)
{
	fs_ino dir = fsc_ino(m, ROOT, "lost+found");

	CHECK_U64_EQ(fsc_ino(m, ROOT, "put"), t->put);
	CHECK_U64_EQ(fsc_attr(m, t->put).size, 0);
	CHECK_TRUE(dir != 0);
	CHECK_U64_EQ(fsc_entries(m, dir), 1);
}

static void unknown_version(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_inode(m, t->listed)->value.data[0] = 9;
	fsd_inode(m, t->put)->value.data[0] = 0;
	fsd_inode(m, t->link)->value.data[0] = 2;
}

static void damaged_with_nothing_left(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->link, &k);
	fsd_resize(m, &k, 3);
}

static void link_is_gone(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	CHECK_U64_EQ(fsc_ino(m, ROOT, "link"), 0);
}

static void a_directory_is_lost(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_delete_inode(m, t->sub);
}

static void a_directory_is_lost_with_its_name(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_delete_inode(m, t->sub);
	fsd_drop_dentry(m, t->d, "sub");
	fsd_set_field(m, t->d, FS_F_NLINK, 2);
}

static void bits(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_inode(m, t->f)->value.data[21] = 5;
	fsd_inode(m, t->f)->value.data[5] |= 0x80;
	fsd_inode(m, t->g)->value.data[3] = 3;
	fsd_inode(m, t->d)->value.data[7] = 1;
}

static void times(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->f, FS_F_MTIME, (uint64_t)INT64_MIN);
	fsd_set_field(m, t->d, FS_F_ATIME, (uint64_t)INT64_MAX);
}

static void times_are_possible(struct fsx_mount *m, struct fsd_tree *t)
{
	CHECK_TRUE(fsc_attr(m, t->f).mtime_ns == -(INT64_MAX / 1000000000 * 1000000000));
	CHECK_TRUE(fsc_attr(m, t->d).atime_ns == INT64_MAX / 1000000000 * 1000000000);
}

static void size(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->big, FS_F_SIZE, FS_FILE_SIZE_MAX + 1);
}

static void tails(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->f, &k);
	fsd_resize(m, &k, FS_INODE_SIZE + 7);
	fsd_set_field(m, t->link, FS_F_SIZE, 44);
}

static void no_target(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->link, &k);
	fsd_resize(m, &k, FS_INODE_SIZE);
}

static void long_target(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->link, &k);
	fsd_resize(m, &k, FS_INODE_SIZE + FS_SYMLINK_MAX + 1);
}

static void target_is_cut(struct fsx_mount *m, struct fsd_tree *t)
{
	struct buf v = BUF_INIT;

	CHECK_OK(fs_readlink(m->fs, t->link, &v));
	CHECK_U64_EQ(v.len, FS_SYMLINK_MAX);
	CHECK_U64_EQ(fsc_attr(m, t->link).size, FS_SYMLINK_MAX);
	buf_release(&v);
}

static void types(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, t->f, FS_F_TYPE, 0);
	fsd_set_field(m, t->sub, FS_F_TYPE, FS_T_FILE);
	fsd_set_field(m, t->g, FS_F_TYPE, FS_T_DIR);
	fsd_set_field(m, t->empty, FS_F_TYPE, FS_T_SYMLINK);
}

static void root_lost(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	fsd_delete_inode(m, ROOT);
}

static void root_damaged(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	(void)t;
	inode_key(ROOT, &k);
	fsd_resize(m, &k, 64);
}

static void root_removed(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	fsd_set_field(m, ROOT, FS_F_NLINK, 0);
	fsd_set_field(m, ROOT, FS_F_ORPHAN, 1);
}

static void root_elsewhere(struct fsx_mount *m, struct fsd_tree *t)
{
	fsd_set_field(m, ROOT, FS_F_PARENT, t->sub);
}

static void root_of_a_type(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	fsd_set_field(m, ROOT, FS_F_TYPE, FS_T_SYMLINK);
}

/* ---- keys ---- */

static void inode_misplaced(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key from, to;

	inode_key(t->d, &from);
	to = from;
	be16_put(to.b, (uint16_t)(be16_get(to.b) ^ 0x11));
	fsd_move(m, &from, &to);
	inode_key(t->empty, &from); /* one with something behind its key */
	to = from;
	fs__key_bytes(&to, slice_str("?"));
	fsd_move(m, &from, &to);
}

static void misplaced_twice(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	inode_key(t->d, &k);
	be16_put(k.b, (uint16_t)(be16_get(k.b) ^ 0x11));
	fsd_put(m, &k, slice_str("nobody reads it"));
}

static void unknown_kind(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k;

	fs__key_head(&k, fs__place(t->f), t->f, 'Z');
	fsd_put(m, &k, slice_str("whose?"));
}

static void no_meaning(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_key k = {.len = 5};

	(void)t;
	memset(k.b, 1, k.len);
	fsd_put(m, &k, slice_str("short"));
}

static void meta(struct fsx_mount *m, const char *name, struct slice value)
{
	struct fs_key k;

	fs__meta_key(&k, name);
	if (value.len > 0)
		fsd_put(m, &k, value);
	else
		fsd_delete(m, &k);
}

static void counter_back(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	meta(m, KV_KEY_INODES, slice_of("\2\0\0\0\0\0\0\0", 8));
}

static void counter_lost(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	meta(m, KV_KEY_INODES, slice_of(NULL, 0));
}

static void counter_is_ahead(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fsx_rec *r;
	struct fs_key k;

	fs__meta_key(&k, KV_KEY_INODES);
	r = fsd_rec(m, &k);
	CHECK_U64_EQ(r->value.len, 8);
	CHECK_TRUE(le64_get(r->value.data) > (t->open & FS_COUNTER_MASK) + 2048);
	CHECK_TRUE(fsc_file(m, ROOT, "new", "new") != 0);
}

/* A number that cannot have been given out must not use up all others. */
static void counter_absurd(struct fsx_mount *m, struct fsd_tree *t)
{
	struct fs_inode rec;
	uint8_t b[FS_INODE_SIZE];
	fs_ino ino = fs__number(3, FS_COUNTER_MASK - 5);
	struct fs_key k;

	CHECK_OK(fs__inode_get(m->fs, t->empty, &rec));
	rec.data_id = ino;
	fs__inode_encode(b, &rec);
	fs__key_inode(&k, ino);
	fsd_put(m, &k, slice_of(b, sizeof(b)));
	fsd_put_dentry(m, ROOT, "absurd", ino, FS_T_FILE);
}

static void order_damaged(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	meta(m, KV_KEY_RENAME, slice_str("abc"));
}

static void order_lost(struct fsx_mount *m, struct fsd_tree *t)
{
	(void)t;
	meta(m, KV_KEY_RENAME, slice_of(NULL, 0));
}

static void directories_can_move(struct fsx_mount *m, struct fsd_tree *t)
{
	CHECK_OK(fs_rename(m->fs, t->sub, slice_str("low"), t->d, slice_str("low"), 0));
}

#define TIES 0x700u /* bits of a hash: 8 values */

static const struct fsd_case names[] = {
	{"a name of nothing", name_of_nothing, "dangling-name", FSD_EMPTY, empty_is_gone, 0, 0},
	{"many names of nothing", names_of_nothing, "dangling-name", FSD_EMPTY, empty_is_gone, 0, 0},
	{"a type", a_type, "name-type", 0, NULL, 0, 0},
	{"a type of two names", a_type_of_two_names, "link-count name-type", 0, NULL, 0, 0},
	{"the other type", the_other_type, "name-type", 0, NULL, 0, 0},
	{"names in a file", names_in_a_file, "link-count name-in-no-directory", 0, NULL, 0, 0},
	{"a parent", a_parent, "directory-parent", 0, NULL, 0, 0},
	{"a name's hash", a_name_hash, "directory-parent", 0, NULL, 0, 0},
	{"two names", two_names, "directory-twice link-count", 0, NULL, 0, 0},
	{"root in itself", root_in_itself, "directory-twice link-count", 0, NULL, 0, 0},
	{"a loop", a_loop, "directory-loop", FSD_SUB, the_loop_is_open, 0, 0},
	{"no name", no_name, "no-name", FSD_F, f_is_found, 0, 0},
	{"no name, and it is taken", no_name_and_it_is_taken, "no-name", FSD_F, f_is_found_beside, 0, 0},
	{"no name, a directory", no_name_of_a_directory, "no-name", FSD_SUB, sub_is_found, 0, 0},
	{"filed elsewhere", filed_elsewhere, "name-hash", 0, NULL, 0, 0},
	{"odd names", odd_names, "name-invalid", FSD_F | FSD_G | FSD_EMPTY, odd_names_are_usable, 0,
	 0},
	{"odd name where one is", odd_name_where_one_is, "name-invalid", FSD_F, both_are_there, 0, 0},
	{"a cookie", a_cookie, "name-cookie", 0, NULL, 0, TIES},
	{"a dentry cut short", a_dentry_cut_short, "no-name record-damaged", FSD_F, f_is_found, 0, 0},
};

static const struct fsd_case links[] = {
	{"counts", counts, "link-count", 0, NULL, 0, 0},
	{"counts none", counts_none, "no-links", 0, NULL, 0, 0},
	{"removed but not empty", removed_but_not_empty, "no-links", FSD_SUB, sub_is_found, 0, 0},
	{"forgotten", forgotten, "orphan-forgotten", FSD_F, f_is_gone, 0, 0},
	{"orphan marks", orphan_marks, "inode-fields", 0, NULL, 0, 0},
};

static const struct fsd_case inodes[] = {
	{"cut short", cut_short, "inode-lost", 0, for_root_alone, 0, 0},
	{"cut short, with other data", cut_short_with_other_data, "data-without-file inode-lost",
	 FSD_PUT, put_is_found, 0, 0},
	{"unknown version", unknown_version, "data-without-file inode-lost", 0, NULL, 0, 0},
	{"damaged with nothing left", damaged_with_nothing_left, "inode-lost", FSD_LINK, link_is_gone,
	 0, 0},
	{"a directory is lost", a_directory_is_lost, "inode-lost", 0, NULL, 0, 0},
	{"a directory is lost, with its name", a_directory_is_lost_with_its_name, "inode-lost", FSD_SUB,
	 sub_is_found, 0, 0},
	{"bits", bits, "inode-fields", 0, NULL, 0, 0},
	{"times", times, "inode-fields", 0, times_are_possible, 0, 0},
	{"size", size, "inode-fields", 0, NULL, 0, 0},
	{"tails", tails, "inode-fields", 0, NULL, 0, 0},
	{"no target", no_target, "inode-fields", FSD_LINK, link_is_gone, 0, 0},
	{"long target", long_target, "inode-fields", FSD_LINK, target_is_cut, 0, 0},
	{"types", types, "inode-type", 0, NULL, 0, 0},
	{"root lost", root_lost, "root", 0, NULL, 0, 0},
	{"root damaged", root_damaged, "root", 0, NULL, 0, 0},
	{"root removed", root_removed, "root", 0, NULL, 0, 0},
	{"root elsewhere", root_elsewhere, "root", 0, NULL, 0, 0},
	{"root of a type", root_of_a_type, "inode-type", 0, NULL, 0, 0},
};

static const struct fsd_case keys[] = {
	{"inode misplaced", inode_misplaced, "dangling-name inode-lost record-misplaced", 0, NULL, 0, 0},
	{"misplaced twice", misplaced_twice, "record-misplaced", 0, NULL, 0, 0},
	{"unknown kind", unknown_kind, "key-unknown", 0, NULL, true, 0},
	{"no meaning", no_meaning, "key-unknown", 0, NULL, true, 0},
	{"counter back", counter_back, "number-counter", 0, counter_is_ahead, 0, 0},
	{"counter lost", counter_lost, "number-counter", 0, counter_is_ahead, 0, 0},
	{"counter absurd", counter_absurd, "number-counter", 0, NULL, true, 0},
	{"order damaged", order_damaged, "rename-order", FSD_SUB, directories_can_move, 0, 0},
	{"order lost", order_lost, "rename-order", FSD_SUB, directories_can_move, 0, 0},
};

#define RUN(table)                                                                                 \
	static void damaged_##table(void)                                                          \
	{                                                                                          \
		fsd_run_cases(table, sizeof(table) / sizeof((table)[0]));                          \
	}
RUN(names)
RUN(links)
RUN(inodes)
RUN(keys)

static const struct check_test tests[] = {
	CHECK_TEST(damaged_names),
	CHECK_TEST(damaged_links),
	CHECK_TEST(damaged_inodes),
	CHECK_TEST(damaged_keys),
};
CHECK_MAIN(tests)
