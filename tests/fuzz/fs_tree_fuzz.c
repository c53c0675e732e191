/* Names, paths, xattr names and values as a kernel and users give them (fs/fs.h), and a store whose
 * records were changed beneath: whatever they are, a call ends with a code, and a fresh tree on
 * which all was done by calls is clean for fsck. An input: operations (1 byte) with their operands. */
#include "fs/fs_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/fs_fixture.h"

#define STEPS_MAX 24u
#define NAMES	  4u

struct run {
	struct fuzz_in in;
	struct fs *fs;
	struct fsx *x;
	bool damaged;
	fs_ino inos[8]; /* seen; a ring */
	unsigned seen;
};

static const struct fs_cred cred = {.uid = 1, .gid = 1, .umask = 022};

static void check_err(int err)
{
	CHECK(err <= 0 && err > -4096 && err != ERR_INTERRUPTED && err != ERR_NOMEM);
}

static fs_ino some_ino(struct run *r)
{
	uint8_t pick = fuzz_u8(&r->in);

	if (pick >= 0xf0)
		return fuzz_u64(&r->in);
	return pick & 8 && r->seen ? r->inos[pick % (r->seen < 8 ? r->seen : 8)] : FS_ROOT_INO;
}

/* Names that meet, and such as nobody makes. */
static struct slice some_name(struct run *r)
{
	static const char *const names[NAMES] = {"a", "b", ".", ".."};
	uint8_t pick = fuzz_u8(&r->in);

	if (pick < 0xc0)
		return slice_str(names[pick % NAMES]);
	return fuzz_bytes(&r->in, fuzz_u16(&r->in) % 300u);
}

static struct slice some_path(struct run *r)
{
	static const char *const paths[] = {"a", "a/b", "/b/", "a/../b", "b/a", "//a//b", "a/./b/"};
	uint8_t pick = fuzz_u8(&r->in);

	return pick < 0xa0 ? slice_str(paths[pick % 7]) : fuzz_bytes(&r->in, fuzz_u16(&r->in) % 5000u);
}

static void note(struct run *r, int err, const struct fs_attr *a)
{
	check_err(err);
	if (!err)
		r->inos[r->seen++ % 8] = a->ino;
}

static bool each_entry(void *ctx, const struct fs_dirent *d)
{
	unsigned *left = ctx;

	CHECK(d->name.len > 0 && d->name.len <= FS_NAME_MAX);
	return (*left)-- > 0;
}

static void make(struct run *r)
{
	uint8_t how = fuzz_u8(&r->in);
	fs_ino dir = some_ino(r);
	struct slice name = some_name(r);
	struct fs_attr a;
	int err;

	switch (how % 4) {
	case 0:
		err = fs_mkdir(r->fs, &cred, dir, name, 0755, &a);
		break;
	case 1:
		err = fs_mknod(r->fs, &cred, dir, name, S_IFREG | 0644, 0, &a);
		break;
	case 2:
		err = fs_symlink(r->fs, &cred, dir, name, some_path(r), &a);
		break;
	default:
		err = fs_link(r->fs, some_ino(r), dir, name, &a);
	}
	note(r, err, &a);
}

static void move(struct run *r)
{
	uint8_t how = fuzz_u8(&r->in);
	fs_ino dir = some_ino(r);
	struct slice name = some_name(r);

	if (how % 4 == 0) {
		check_err(fs_unlink(r->fs, dir, name));
	} else if (how % 4 == 1) {
		check_err(fs_rmdir(r->fs, dir, name));
	} else {
		fs_ino to = some_ino(r);
		struct slice new_name = some_name(r);

		check_err(fs_rename(r->fs, dir, name, to, new_name, how >> 2 & 3));
	}
}

static void look(struct run *r)
{
	uint8_t how = fuzz_u8(&r->in);
	fs_ino ino = some_ino(r);
	struct fs_attr a = {0};
	struct buf b = BUF_INIT;
	unsigned left = 16;

	switch (how % 5) {
	case 0:
		note(r, fs_lookup(r->fs, ino, some_name(r), &a), &a);
		break;
	case 1:
		check_err(fs_getattr(r->fs, ino, &a));
		break;
	case 2:
		check_err(fs_readdir(r->fs, ino, how & 0x80 ? fuzz_u64(&r->in) : 0, how & 0x40,
				     each_entry, &left));
		break;
	case 3:
		check_err(fs_readlink(r->fs, ino, &b));
		break;
	default:
		note(r, fs_path_lookup(r->fs, some_path(r), how & 0x80, &a), &a);
	}
	buf_release(&b);
}

static void xattr(struct run *r)
{
	uint8_t how = fuzz_u8(&r->in);
	fs_ino ino = some_ino(r);
	struct slice name = slice_str("user.a");
	struct buf b = BUF_INIT;

	if (how & 0x80)
		name = fuzz_bytes(&r->in, fuzz_u8(&r->in) + (how & 0x40));
	switch (how % 4) {
	case 0:
		check_err(fs_setxattr(r->fs, ino, name, fuzz_bytes(&r->in, 8), how >> 2 & 3));
		break;
	case 1:
		check_err(fs_getxattr(r->fs, ino, name, &b));
		break;
	case 2:
		check_err(fs_listxattr(r->fs, ino, &b));
		break;
	default:
		check_err(fs_removexattr(r->fs, ino, name));
	}
	buf_release(&b);
}

static void kv(struct run *r)
{
	uint8_t how = fuzz_u8(&r->in);
	struct slice path = some_path(r), value, other;
	struct buf b = BUF_INIT;
	uint64_t version;
	int err;

	switch (how % 5) {
	case 0:
		value = fuzz_bytes(&r->in, fuzz_u8(&r->in));
		err = fs_kv_put(r->fs, &cred, path, value, how & 0x80);
		check_err(err);
		if (!err && !r->damaged) {
			CHECK(fs_kv_get(r->fs, path, &b, &version) == 0);
			CHECK(slice_eq(buf_slice(&b), value));
		}
		break;
	case 1:
		check_err(fs_kv_get(r->fs, path, &b, &version));
		break;
	case 2:
		check_err(fs_kv_del(r->fs, path));
		break;
	case 3:
		other = some_path(r);
		check_err(fs_kv_swap(r->fs, path, other));
		break;
	default:
		check_err(fs_kv_cas(r->fs, &cred, path, how & 0x80, slice_str("x"), slice_str("y"), &b));
	}
	buf_release(&b);
}

static void file(struct run *r)
{
	uint8_t how = fuzz_u8(&r->in);
	struct fs_attr in = {0}, a;
	struct fs_file *f;
	struct buf b = BUF_INIT;
	fs_ino ino = some_ino(r);
	uint64_t at = how & 0x80 ? fuzz_u64(&r->in) : fuzz_u16(&r->in), end;

	if (how % 3 == 0) {
		in.size = at;
		check_err(fs_setattr(r->fs, ino, FS_SET_SIZE, &in, &a));
		return;
	}
	if (fs_file_open(r->fs, ino, FS_O_READ | FS_O_WRITE | (how & 0x40 ? FS_O_TRUNC : 0), &f))
		return;
	if (how % 3 == 1)
		check_err(fs_write(f, at, fuzz_bytes(&r->in, 32), &end));
	else
		check_err(fs_read(f, at, 4096, &b));
	fs_file_close(f);
	buf_release(&b);
}

/* A record of the store is other bytes, or partly, or gone. */
static void damage(struct run *r)
{
	uint8_t which = fuzz_u8(&r->in), at = fuzz_u8(&r->in);
	struct slice s = fuzz_bytes(&r->in, fuzz_u8(&r->in) % 32u);
	struct fsx_rec *rec, *found = NULL;

	RB_FOREACH(rec, fsx_tree, &r->x->tree) {
		struct fs_key_parts p;

		if (!fs__key_parse(buf_slice(&rec->key), &p) || p.place >= FS_PLACE_COUNT)
			continue; /* meta's: no file system record */
		found = rec;
		if (which-- == 0)
			break;
	}
	if (!found)
		return;
	r->damaged = true;
	if (at & 0x80)
		(void)buf_set(&found->value, s);
	for (size_t i = 0; !(at & 0x80) && i < s.len && at + i < found->value.len; i++)
		found->value.data[at + i] = s.p[i];
	found->version = ++r->x->version;
}

static void report(void *ctx, const char *text)
{
	*(size_t *)ctx += strlen(text);
}

static void check_tree(struct run *r)
{
	size_t told = 0;
	struct fs_fsck_options o = {.repair = r->damaged, .report = report, .ctx = &told};
	struct fs_fsck_result res;
	struct msg m = {""};
	int err = fs_fsck(r->fs, &o, &res, &m);

	check_err(err);
	if (!r->damaged)
		CHECK(err == 0 && res.problems == 0);
}

static void run(void *arg)
{
	static void (*const steps[])(struct run *) = {make, make, move, look, xattr, kv, file, damage};
	struct run *r = arg;

	for (unsigned i = 0; i < STEPS_MAX && r->in.left.len > 0; i++) {
		uint8_t op = fuzz_u8(&r->in) % 16u;

		steps[op < 15 ? op % 7 : 7](r);
	}
	check_tree(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = {.in = fuzz_in_of(data, size)};

	r.x = fsx_new(2, 1);
	r.fs = fsx_mount(r.x)->fs;
	fsx_call(r.x, run, &r);
	fsx_free(r.x);
	return 0;
}
