#include "tests/lib/fs_case.h"

#include <stdio.h>

const struct fs_cred fsc_cred = {.uid = 1000, .gid = 100, .umask = 022};

struct run {
	fsc_fn *fn;
	struct fsx_mount *m;
};

static void run_fiber(void *arg)
{
	struct run *r = arg;

	r->fn(r->m);
}

void fsc_run(fsc_fn *fn)
{
	fsc_run_on(fsx_new(4, 1), fn);
}

void fsc_run_on(struct fsx *x, fsc_fn *fn)
{
	struct run r = {.fn = fn, .m = fsx_mount(x)};

	fsx_call(x, run_fiber, &r);
	fsx_umount_all(x);
	fsx_check(x, false);
	fsx_free(x);
}

fs_ino fsc_mkdir(struct fsx_mount *m, fs_ino parent, const char *name)
{
	struct fs_attr a = {0};

	CHECK_OK(fs_mkdir(m->fs, &fsc_cred, parent, slice_str(name), S_IFDIR | 0777, &a));
	return a.ino;
}

fs_ino fsc_file(struct fsx_mount *m, fs_ino parent, const char *name, const char *contents)
{
	struct fs_file *f = NULL;
	struct fs_attr a = {0};

	CHECK_OK(fs_create(m->fs, &fsc_cred, parent, slice_str(name), S_IFREG | 0666, FS_O_WRITE,
			   &a, &f));
	if (!f)
		return 0;
	if (*contents)
		fsc_write(f, 0, slice_str(contents));
	fs_file_close(f);
	return a.ino;
}

uint32_t fsc_group(struct fsx_mount *m, fs_ino ino)
{
	struct fs_key k;

	fs__key_inode(&k, ino);
	return fsx_group_of(m->x, fs__key_slice(&k));
}

fs_ino fsc_mkdir_far(struct fsx_mount *m, fs_ino parent, const char *prefix, fs_ino ino)
{
	for (int i = 0; i < 100; i++) {
		char name[32];
		fs_ino dir;

		snprintf(name, sizeof(name), "%.20s%d", prefix, i);
		dir = fsc_mkdir(m, parent, name);
		if (fsc_group(m, dir) != fsc_group(m, ino))
			return dir;
	}
	CHECK_FAIL("no directory in another group");
	return 0;
}

int fsc_lookup(struct fsx_mount *m, fs_ino parent, const char *name)
{
	struct fs_attr a;

	return fs_lookup(m->fs, parent, slice_str(name), &a);
}

fs_ino fsc_ino(struct fsx_mount *m, fs_ino parent, const char *name)
{
	struct fs_attr a = {0};
	int err = fs_lookup(m->fs, parent, slice_str(name), &a);

	if (err != ERR_NOT_FOUND)
		CHECK_OK(err);
	return err ? 0 : a.ino;
}

struct fs_attr fsc_attr(struct fsx_mount *m, fs_ino ino)
{
	struct fs_attr a = {0};

	CHECK_OK(fs_getattr(m->fs, ino, &a));
	return a;
}

int fsc_unlink(struct fsx_mount *m, fs_ino parent, const char *name)
{
	return fs_unlink(m->fs, parent, slice_str(name));
}

int fsc_rmdir(struct fsx_mount *m, fs_ino parent, const char *name)
{
	return fs_rmdir(m->fs, parent, slice_str(name));
}

int fsc_rename(struct fsx_mount *m, fs_ino parent, const char *name, fs_ino to, const char *new,
	       unsigned flags)
{
	return fs_rename(m->fs, parent, slice_str(name), to, slice_str(new), flags);
}

int fsc_link(struct fsx_mount *m, fs_ino ino, fs_ino parent, const char *name)
{
	struct fs_attr a;

	return fs_link(m->fs, ino, parent, slice_str(name), &a);
}

struct fs_file *fsc_open(struct fsx_mount *m, fs_ino ino, unsigned flags)
{
	struct fs_file *f = NULL;

	CHECK_OK(fs_file_open(m->fs, ino, flags, &f));
	CHECK(f); /* nothing can go on without it */
	return f;
}

void fsc_write(struct fs_file *f, uint64_t offset, struct slice data)
{
	uint64_t end = 0;

	CHECK_OK(fs_write(f, offset, data, &end));
	if (!(f->flags & FS_O_APPEND))
		CHECK_U64_EQ(end, offset + data.len);
}

void fsc_contents(struct fsx_mount *m, fs_ino ino, const char *want)
{
	struct fs_file *f = fsc_open(m, ino, FS_O_READ);
	struct buf b = BUF_INIT;

	CHECK_OK(fs_read(f, 0, WRITE_SIZE_MAX, &b));
	CHECK_SLICE_EQ(buf_slice(&b), slice_str(want));
	buf_release(&b);
	fs_file_close(f);
}

static bool count_entry(void *ctx, const struct fs_dirent *d)
{
	(void)d;
	++*(unsigned *)ctx;
	return true;
}

unsigned fsc_entries(struct fsx_mount *m, fs_ino dir)
{
	unsigned n = 0;

	CHECK_OK(fs_readdir(m->fs, dir, 0, false, count_entry, &n));
	CHECK_TRUE(n >= 2);
	return n - 2;
}

void fsc_idle(struct fsx_mount *m)
{
	(void)m;
	CHECK_OK(fiber_sleep(60 * NS_PER_S));
}
