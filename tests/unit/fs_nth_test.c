/* fs: every allocation of every call fails once. ERR_NOMEM and nothing seen of it, so that the same call
 * works when there is memory again; or it went on without. What is stored is whole in any case. */
#include <stdio.h>

#include "base/mem.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/fs_case.h"

#define LONG_LEN (300u * 1024) /* blocks, stripes, several transactions */

static char long_text[LONG_LEN];

struct world {
	struct fsx_mount *m;
	fs_ino dir, far, file, link;
	struct fs_file *open;
	struct buf out, more;
	unsigned entries;
};

/* A call that may fail, and what must be true when it has returned 0. */
struct op {
	const char *name;
	int (*call)(struct world *w);
	void (*check)(struct world *w); /* may be NULL */
	void (*prepare)(struct world *w); /* may be NULL */
};

#define NAME slice_str("name-of-some-length")

static bool is_there(struct world *w, fs_ino dir, const char *name)
{
	return fsc_ino(w->m, dir, name) != 0;
}

static int op_lookup(struct world *w)
{
	struct fs_attr a;
	int err = fs_lookup(w->m->fs, w->dir, slice_str("file"), &a);

	if (!err)
		CHECK_U64_EQ(a.ino, w->file);
	return err;
}

static int op_getattr(struct world *w)
{
	struct fs_attr a;
	int err = fs_getattr(w->m->fs, w->file, &a);

	if (!err)
		CHECK_U64_EQ(a.size, 5);
	return err;
}

static int op_chmod(struct world *w)
{
	struct fs_attr in = {.mode = 0600, .uid = 5, .mtime_ns = 77}, out;

	return fs_setattr(w->m->fs, w->file, FS_SET_MODE | FS_SET_UID | FS_SET_MTIME, &in, &out);
}

static void check_chmod(struct world *w)
{
	CHECK_INT_EQ(fsc_attr(w->m, w->file).mode, S_IFREG | 0600);
	CHECK_INT_EQ(fsc_attr(w->m, w->file).uid, 5);
}

static int op_truncate(struct world *w)
{
	struct fs_attr in = {.size = 2}, out;

	return fs_setattr(w->m->fs, w->file, FS_SET_SIZE, &in, &out);
}

static void check_truncate(struct world *w)
{
	fsc_contents(w->m, w->file, "he");
}

static int op_mkdir(struct world *w)
{
	struct fs_attr a;

	return fs_mkdir(w->m->fs, &fsc_cred, w->dir, NAME, S_IFDIR | 0755, &a);
}

static int op_mknod(struct world *w)
{
	struct fs_attr a;

	return fs_mknod(w->m->fs, &fsc_cred, w->dir, NAME, S_IFIFO | 0644, 0, &a);
}

static int op_symlink(struct world *w)
{
	struct fs_attr a;

	return fs_symlink(w->m->fs, &fsc_cred, w->dir, NAME, slice_str("where/it/leads"), &a);
}

static void check_name(struct world *w)
{
	CHECK_TRUE(is_there(w, w->dir, "name-of-some-length"));
	CHECK_U64_EQ(fsc_entries(w->m, w->dir), 2);
}

static void make_link(struct world *w)
{
	CHECK_OK(op_symlink(w));
	w->link = fsc_ino(w->m, w->dir, "name-of-some-length");
}

static int op_readlink(struct world *w)
{
	return fs_readlink(w->m->fs, w->link, &w->out);
}

static void check_readlink(struct world *w)
{
	CHECK_SLICE_EQ(buf_slice(&w->out), slice_str("where/it/leads"));
}

static int op_link(struct world *w)
{
	struct fs_attr a;

	return fs_link(w->m->fs, w->file, w->far, NAME, &a);
}

static void check_link(struct world *w)
{
	CHECK_INT_EQ(fsc_attr(w->m, w->file).nlink, 2);
	CHECK_TRUE(is_there(w, w->far, "name-of-some-length"));
}

static int op_unlink(struct world *w)
{
	return fsc_unlink(w->m, w->dir, "file");
}

static void check_gone(struct world *w)
{
	CHECK_FALSE(is_there(w, w->dir, "file"));
	CHECK_U64_EQ(fsc_entries(w->m, w->dir), 0);
}

static void make_dir(struct world *w)
{
	CHECK_OK(op_mkdir(w));
}

static int op_rmdir(struct world *w)
{
	return fsc_rmdir(w->m, w->dir, "name-of-some-length");
}

static void check_rmdir(struct world *w)
{
	CHECK_U64_EQ(fsc_entries(w->m, w->dir), 1);
}

static int op_rename_far(struct world *w)
{
	return fsc_rename(w->m, w->dir, "file", w->far, "name-of-some-length", 0);
}

static void check_rename_far(struct world *w)
{
	check_gone(w);
	CHECK_U64_EQ(fsc_ino(w->m, w->far, "name-of-some-length"), w->file);
}

static int op_rename_dir(struct world *w)
{
	return fsc_rename(w->m, w->dir, "name-of-some-length", w->far, "moved", 0);
}

static void check_rename_dir(struct world *w)
{
	CHECK_TRUE(is_there(w, w->far, "moved"));
	CHECK_U64_EQ(fsc_entries(w->m, w->dir), 1);
}

static void make_target(struct world *w)
{
	(void)fsc_file(w->m, w->far, "target", "old");
}

static int op_rename_over(struct world *w)
{
	return fsc_rename(w->m, w->dir, "file", w->far, "target", 0);
}

static void check_rename_over(struct world *w)
{
	check_gone(w);
	CHECK_U64_EQ(fsc_ino(w->m, w->far, "target"), w->file);
}

static int op_exchange(struct world *w)
{
	return fsc_rename(w->m, w->dir, "file", w->far, "target", FS_RENAME_EXCHANGE);
}

static void check_exchange(struct world *w)
{
	CHECK_U64_EQ(fsc_ino(w->m, w->far, "target"), w->file);
	CHECK_TRUE(is_there(w, w->dir, "file"));
}

/* ---- data ---- */

static int op_create(struct world *w)
{
	struct fs_attr a;

	return fs_create(w->m->fs, &fsc_cred, w->dir, NAME, S_IFREG | 0644, FS_O_WRITE, &a,
			 &w->open);
}

static int op_open(struct world *w)
{
	return fs_file_open(w->m->fs, w->file, FS_O_READ | FS_O_WRITE, &w->open);
}

static void open_it(struct world *w)
{
	CHECK_OK(op_open(w));
}

static int op_open_trunc(struct world *w)
{
	return fs_file_open(w->m->fs, w->file, FS_O_WRITE | FS_O_TRUNC, &w->open);
}

static void check_empty(struct world *w)
{
	fsc_contents(w->m, w->file, "");
}

static int op_write(struct world *w)
{
	uint64_t end;

	return fs_write(w->open, 5, slice_str(" world"), &end);
}

static void check_write(struct world *w)
{
	fsc_contents(w->m, w->file, "hello world");
}

static int op_write_long(struct world *w)
{
	uint64_t end;

	return fs_write(w->open, 3, slice_of(long_text, LONG_LEN), &end);
}

static void check_write_long(struct world *w)
{
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(w->open, 0, 2 * LONG_LEN, &b));
	CHECK_U64_EQ(b.len, LONG_LEN + 3);
	CHECK_MEM_EQ(b.data, "hel", 3);
	CHECK_MEM_EQ(b.data + 3, long_text, LONG_LEN);
	buf_release(&b);
}

static void write_long(struct world *w)
{
	open_it(w);
	CHECK_OK(op_write_long(w));
}

static int op_read_long(struct world *w)
{
	return fs_read(w->open, 0, 2 * LONG_LEN, &w->out);
}

static void check_read_long(struct world *w)
{
	CHECK_U64_EQ(w->out.len, LONG_LEN + 3);
	CHECK_MEM_EQ(w->out.data + 3, long_text, LONG_LEN);
}

/* ---- listing, attributes ---- */

static void fill_dir(struct world *w)
{
	for (int i = 0; i < 40; i++) {
		char name[32];

		snprintf(name, sizeof(name), "entry-%02d", i);
		(void)fsc_file(w->m, w->dir, name, "");
	}
}

static bool count_entry(void *ctx, const struct fs_dirent *d)
{
	struct world *w = ctx;

	CHECK_TRUE(d->name.len > 0);
	w->entries++;
	return true;
}

static int op_readdir(struct world *w)
{
	w->entries = 0;
	return fs_readdir(w->m->fs, w->dir, 0, true, count_entry, w);
}

static void check_readdir(struct world *w)
{
	CHECK_INT_EQ(w->entries, 43);
}

static int op_setxattr(struct world *w)
{
	return fs_setxattr(w->m->fs, w->file, slice_str("user.some-name"),
			   slice_of(long_text, 3000), 0);
}

static int op_getxattr(struct world *w)
{
	return fs_getxattr(w->m->fs, w->file, slice_str("user.some-name"), &w->out);
}

static void set_it(struct world *w)
{
	CHECK_OK(op_setxattr(w));
}

static void check_xattr(struct world *w)
{
	CHECK_OK(op_getxattr(w));
	CHECK_SLICE_EQ(buf_slice(&w->out), slice_of(long_text, 3000));
}

static int op_listxattr(struct world *w)
{
	return fs_listxattr(w->m->fs, w->file, &w->out);
}

static void check_list(struct world *w)
{
	CHECK_SLICE_EQ(buf_slice(&w->out), slice_of("user.some-name", 15));
}

static int op_removexattr(struct world *w)
{
	return fs_removexattr(w->m->fs, w->file, slice_str("user.some-name"));
}

static void check_removed(struct world *w)
{
	CHECK_ERR(op_getxattr(w), ERR_NO_DATA);
}

/* ---- keys ---- */

#define KEY slice_str("keys/of some/depth/key")

static int op_kv_put(struct world *w)
{
	return fs_kv_put(w->m->fs, &fsc_cred, KEY, slice_of(long_text, 50000), true);
}

static int op_kv_get(struct world *w)
{
	return fs_kv_get(w->m->fs, KEY, &w->out, NULL);
}

static void put_it(struct world *w)
{
	CHECK_OK(op_kv_put(w));
}

static void check_kv(struct world *w)
{
	CHECK_OK(op_kv_get(w));
	CHECK_SLICE_EQ(buf_slice(&w->out), slice_of(long_text, 50000));
}

static int op_kv_del(struct world *w)
{
	return fs_kv_del(w->m->fs, KEY);
}

static void check_kv_gone(struct world *w)
{
	CHECK_ERR(op_kv_get(w), ERR_NOT_FOUND);
}

static int op_kv_cas(struct world *w)
{
	return fs_kv_cas(w->m->fs, &fsc_cred, KEY, false, slice_of(long_text, 50000),
			 slice_str("swapped"), &w->more);
}

static void check_kv_cas(struct world *w)
{
	CHECK_OK(op_kv_get(w));
	CHECK_SLICE_EQ(buf_slice(&w->out), slice_str("swapped"));
}

static int op_kv_swap(struct world *w)
{
	return fs_kv_swap(w->m->fs, KEY, slice_str("dir/file"));
}

static void check_kv_swap(struct world *w)
{
	CHECK_OK(op_kv_get(w));
	CHECK_SLICE_EQ(buf_slice(&w->out), slice_str("hello"));
}

static int op_kv_mput(struct world *w)
{
	struct fs_kv_item items[3] = {
		{.path = slice_str("far0/one"), .value = slice_str("1")},
		{.path = slice_str("keys/two"), .value = slice_of(long_text, 40000)},
		{.path = slice_str("dir/file"), .absent = true},
	};
	uint32_t failed;

	return fs_kv_mput(w->m->fs, &fsc_cred, items, 3, true, &failed);
}

static int op_kv_mget(struct world *w)
{
	struct fs_kv_item items[3] = {{.path = slice_str("far0/one")},
				      {.path = slice_str("keys/two")},
				      {.path = slice_str("dir/file")}};
	int err = fs_kv_mget(w->m->fs, items, 3, &w->out);

	if (err)
		return err;
	CHECK_SLICE_EQ(items[0].value, slice_str("1"));
	CHECK_SLICE_EQ(items[1].value, slice_of(long_text, 40000));
	CHECK_TRUE(items[2].absent);
	return 0;
}

static void mput_it(struct world *w)
{
	CHECK_OK(op_kv_mput(w));
}

static void check_mput(struct world *w)
{
	CHECK_OK(op_kv_mget(w));
}

static int op_path_lookup(struct world *w)
{
	struct fs_attr a;

	return fs_path_lookup(w->m->fs, slice_str("/dir/../dir/./file"), true, &a);
}

static int op_where(struct world *w)
{
	struct fs_where where = {0};
	int err = fs_where(w->m->fs, slice_str("/dir/file"), &where);

	buf_release(&where.inode_key);
	return err;
}

static void no_report(void *ctx, const char *line)
{
	(void)ctx;
	CHECK_FAIL("fsck: %s", line);
}

/* owner rwx, user 7 rw-, group r-x, mask rwx, other r-x */
static const char list[] = "\2\0\0\0"
			   "\1\0\7\0\377\377\377\377\2\0\6\0\7\0\0\0\4\0\5\0\377\377\377\377"
			   "\20\0\7\0\377\377\377\377\40\0\5\0\377\377\377\377";

static int op_setacl(struct world *w)
{
	return fs_setxattr(w->m->fs, w->file, slice_str("system.posix_acl_access"),
			   slice_of(list, 44), 0);
}

static void check_setacl(struct world *w)
{
	CHECK_INT_EQ(fsc_attr(w->m, w->file).mode, S_IFREG | 0775);
}

static void set_acl(struct world *w)
{
	CHECK_OK(op_setacl(w));
}

static void set_default(struct world *w)
{
	CHECK_OK(fs_setxattr(w->m->fs, w->dir, slice_str("system.posix_acl_default"),
			     slice_of(list, 44), 0));
}

static void check_chmod_acl(struct world *w)
{
	check_chmod(w);
	CHECK_OK(fs_getxattr(w->m->fs, w->file, slice_str("system.posix_acl_access"), &w->out));
	CHECK_INT_EQ(w->out.data[30], 0); /* the mask */
}

static void check_inherited(struct world *w)
{
	struct fs_attr a;

	CHECK_OK(fs_lookup(w->m->fs, w->dir, NAME, &a));
	CHECK_OK(fs_getxattr(w->m->fs, a.ino, slice_str("system.posix_acl_access"), &w->out));
	CHECK_U64_EQ(w->out.len, 44);
}

static int op_fsck(struct world *w)
{
	struct fs_fsck_options o = {.report = no_report};
	struct fs_fsck_result r = {0};
	struct msg m = {""};
	int err = fs_fsck(w->m->fs, &o, &r, &m);

	if (err == 0)
		CHECK_U64_EQ(r.problems, 0);
	else
		CHECK_CONTAINS(m.text, "out of memory");
	return err;
}

static struct fs_lock some_lock(uint8_t mode, uint64_t owner)
{
	return (struct fs_lock){
		.kind = FS_LOCK_POSIX, .mode = mode, .start = 10, .end = 19, .owner = owner};
}

static uint8_t held_by_others(struct world *w, uint64_t than)
{
	struct fs_lock want = some_lock(FS_LOCK_EXCLUSIVE, than), found;

	CHECK_OK(fs_lock_get(w->m->fs, w->file, &want, &found));
	return found.mode;
}

static int op_lock(struct world *w)
{
	struct fs_lock want = some_lock(FS_LOCK_EXCLUSIVE, 1);

	return fs_lock_set(w->m->fs, w->file, &want, NULL);
}

static void check_locked(struct world *w)
{
	CHECK_U64_EQ(held_by_others(w, 2), FS_LOCK_EXCLUSIVE);
}

static void lock_it(struct world *w)
{
	CHECK_OK(op_lock(w));
}

static int op_unlock(struct world *w)
{
	return fs_lock_release(w->m->fs, w->file, FS_LOCK_POSIX, 1);
}

static void check_unlocked(struct world *w)
{
	CHECK_U64_EQ(held_by_others(w, 2), FS_LOCK_NONE);
}

static int op_get_lock(struct world *w)
{
	struct fs_lock want = some_lock(FS_LOCK_SHARED, 2), found;
	int err = fs_lock_get(w->m->fs, w->file, &want, &found);

	if (!err)
		CHECK_U64_EQ(found.mode, FS_LOCK_EXCLUSIVE);
	return err;
}

static bool count_lock(void *ctx, const struct fs_lock_item *it)
{
	(void)it;
	++*(unsigned *)ctx;
	return true;
}

static int op_list_locks(struct world *w)
{
	unsigned n = 0;
	int err = fs_locks_list(w->m->fs, count_lock, &n);

	if (!err)
		CHECK_INT_EQ(n, 1);
	return err;
}

static const struct op ops[] = {
	{"lookup", op_lookup, NULL, NULL},
	{"getattr", op_getattr, NULL, NULL},
	{"setattr", op_chmod, check_chmod, NULL},
	{"setattr size", op_truncate, check_truncate, NULL},
	{"mkdir", op_mkdir, check_name, NULL},
	{"mknod", op_mknod, check_name, NULL},
	{"symlink", op_symlink, check_name, NULL},
	{"readlink", op_readlink, check_readlink, make_link},
	{"link", op_link, check_link, NULL},
	{"unlink", op_unlink, check_gone, NULL},
	{"unlink of an open file", op_unlink, check_gone, open_it},
	{"rmdir", op_rmdir, check_rmdir, make_dir},
	{"rename", op_rename_far, check_rename_far, NULL},
	{"rename of a directory", op_rename_dir, check_rename_dir, make_dir},
	{"rename over a file", op_rename_over, check_rename_over, make_target},
	{"rename, exchange", op_exchange, check_exchange, make_target},
	{"create", op_create, check_name, NULL},
	{"open, truncate", op_open_trunc, check_empty, NULL},
	{"write", op_write, check_write, open_it},
	{"write of 300 KiB", op_write_long, check_write_long, open_it},
	{"read of 300 KiB", op_read_long, check_read_long, write_long},
	{"readdir", op_readdir, check_readdir, fill_dir},
	{"setxattr", op_setxattr, check_xattr, NULL},
	{"getxattr", op_getxattr, check_xattr, set_it},
	{"listxattr", op_listxattr, check_list, set_it},
	{"removexattr", op_removexattr, check_removed, set_it},
	{"access list", op_setacl, check_setacl, NULL},
	{"chmod with a list", op_chmod, check_chmod_acl, set_acl},
	{"mkdir, inheriting", op_mkdir, check_inherited, set_default},
	{"mknod, inheriting", op_mknod, check_inherited, set_default},
	{"kv put", op_kv_put, check_kv, NULL},
	{"kv put over", op_kv_put, check_kv, put_it},
	{"kv get", op_kv_get, check_kv, put_it},
	{"kv del", op_kv_del, check_kv_gone, put_it},
	{"kv cas", op_kv_cas, check_kv_cas, put_it},
	{"kv swap", op_kv_swap, check_kv_swap, put_it},
	{"kv mput", op_kv_mput, check_mput, NULL},
	{"kv mget", op_kv_mget, NULL, mput_it},
	{"path lookup", op_path_lookup, NULL, NULL},
	{"where", op_where, NULL, NULL},
	{"lock", op_lock, check_locked, NULL},
	{"unlock", op_unlock, check_unlocked, lock_it},
	{"get lock", op_get_lock, NULL, lock_it},
	{"list locks", op_list_locks, NULL, lock_it},
	{"fsck", op_fsck, NULL, put_it},
};

static struct fault *fault;

static void run_op(void *arg)
{
	struct world *w = arg;
	const struct op *op = fault->ctx;
	int err;

	w->dir = fsc_mkdir(w->m, FS_ROOT_INO, "dir");
	w->far = fsc_mkdir_far(w->m, FS_ROOT_INO, "far", w->dir);
	w->file = fsc_file(w->m, w->dir, "file", "hello");
	if (op->prepare)
		op->prepare(w);
	fault_arm(fault);
	err = op->call(w);
	if (fault_hit(fault, err))
		CHECK_OK(op->call(w));
	if (op->check)
		op->check(w);
	if (w->open) {
		fault_arm(fault);
		fs_file_close(w->open);
		fault_disarm(fault);
	}
	buf_release(&w->out);
	buf_release(&w->more);
}

/* The background goes on without memory too; what it leaves is reaped by somebody else. */
static void scenario(struct fault *f)
{
	struct fsx *x = fsx_new(4, 1);
	struct world w = {.m = fsx_mount(x)};

	fault = f;
	fsx_call(x, run_op, &w);
	fault_arm(f);
	fsx_settle(x);
	fault_disarm(f);
	fsx_umount_all(x);
	fsx_check(x, f->fired);
	fsx_free(x);
}

static void every_operation(void)
{
	for (size_t i = 0; i < LONG_LEN; i++)
		long_text[i] = (char)('a' + i % 26);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		fault_every_forked(ops[i].name, scenario, (void *)&ops[i], NULL);
}

/* ---- opening ---- */

static void open_again(void *arg)
{
	struct fsx_mount *m = arg;
	struct fs *fs = NULL;
	struct msg msg = {""};
	int err;

	fault_arm(fault);
	err = fs_format(&m->b);
	fault_disarm(fault);
	CHECK_TRUE(err == ERR_EXISTS || (err == ERR_NOMEM && fault->fired));
	fault_arm(fault);
	err = fs_open(&m->b, NULL, &fs, &msg);
	if (fault_hit(fault, err)) {
		CHECK_NULL(fs);
		CHECK_CONTAINS(msg.text, "out of memory");
		CHECK_OK(fs_open(&m->b, NULL, &fs, &msg));
	}
	fault_arm(fault);
	fs_close(fs);
	fault_disarm(fault);
}

static void opening(struct fault *f)
{
	struct fsx *x = fsx_new(4, 1);

	fault = f;
	fsx_call(x, open_again, fsx_mount(x));
	fsx_umount_all(x);
	fsx_check(x, false);
	fsx_free(x);
}

static void open_and_close(void)
{
	fault_every_forked("format, open, close", opening, NULL, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, fault_teardown, open_and_close),
	CHECK_TEST_WITH(NULL, fault_teardown, every_operation),
};
CHECK_MAIN(tests)
