/* The log's files in a real directory. Writes go around the page cache where the file system allows
 * (O_DIRECT | O_DSYNC: no copy, no second system call for the sync, and only the sectors of the
 * batch travel); reads go through it, for read-ahead. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "wal/wal_device.h"

#define ZERO_CHUNK (1024u * 1024u)
#define TMP_SUFFIX ".tmp"

struct dir_device {
	struct wal_device device;
	int fd;
	bool direct; /* direct I/O works here */
	char *path;
};

struct dir_file {
	struct wal_file file;
	int fd;		/* through the page cache; O_DSYNC */
	int direct;	/* -1: not possible here */
	uint32_t block; /* that direct I/O wants */
};

static struct dir_device *dir_of(struct wal_device *d)
{
	return container_of(d, struct dir_device, device);
}

static struct dir_file *file_of(struct wal_file *f)
{
	return container_of(f, struct dir_file, file);
}

static int failed(struct msg *m, const char *what, const char *path, const char *name)
{
	int errnum = errno;

	return msg_set(m, err_from_errno(errnum), "%s %s/%s: %s", what, path, name,
		       strerror(errnum));
}

/* ---- files ---- */

static int dir_list(struct wal_device *d, wal_device_each *each, void *ctx, struct msg *m)
{
	struct dir_device *dd = dir_of(d);
	int fd = openat(dd->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	struct stat st;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return failed(m, "list", dd->path, ".");
	}
	if (fsync(fd) != 0) { /* a file may have been renamed, and that not be on disk */
		closedir(dir);
		return failed(m, "sync", dd->path, ".");
	}
	while ((e = readdir(dir)) != NULL) {
		size_t len = strlen(e->d_name);

		if (len >= WAL_DEVICE_NAME_MAX || fstatat(dd->fd, e->d_name, &st, 0) != 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (len < 4 || strcmp(e->d_name + len - 4, TMP_SUFFIX) != 0)
			each(ctx, e->d_name, (uint64_t)st.st_size);
		else /* its creation was interrupted */
			(void)unlinkat(dd->fd, e->d_name, 0);
	}
	closedir(dir);
	return 0;
}

static struct wal_file *file_new(struct dir_device *dd, const char *name, int fd)
{
	struct dir_file *f = mem_must_alloc(sizeof(*f));

	f->file.device = &dd->device;
	f->fd = fd;
	f->block = dd->device.block;
	f->direct = -1;
	if (dd->direct)
		f->direct = openat(dd->fd, name, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
	return &f->file;
}

static int dir_open(struct wal_device *d, const char *name, struct wal_file **out, struct msg *m)
{
	struct dir_device *dd = dir_of(d);
	int fd = openat(dd->fd, name, O_RDWR | O_DSYNC | O_CLOEXEC);

	if (fd < 0)
		return failed(m, "open", dd->path, name);
	if (fsync(fd) != 0) {
		close(fd);
		return failed(m, "sync", dd->path, name);
	}
	/* After a sync that failed, memory may hold what the disk does not. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	*out = file_new(dd, name, fd);
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* Zeros are written, not only allocated: a later write changes no metadata. */
static int zero_fill(int fd, uint64_t size)
{
	uint8_t *zeros = aligned_alloc(WAL_DEVICE_ALIGN, ZERO_CHUNK);
	int rc = 0;

	if (zeros == NULL) {
		errno = ENOMEM;
		return -1;
	}
	memset(zeros, 0, ZERO_CHUNK);
	/* All or nothing, before anything is written; where it is not supported, writing tells. */
	if (fallocate(fd, 0, 0, (off_t)size) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
		rc = -1;
	for (uint64_t at = 0; at < size && rc == 0; at += ZERO_CHUNK) {
		uint64_t left = size - at;

		rc = write_all(fd, zeros, left < ZERO_CHUNK ? (size_t)left : ZERO_CHUNK, at);
	}
	free(zeros);
	return rc == 0 ? fsync(fd) : rc;
}

static int dir_create(struct wal_device *d, const char *name, uint64_t size, struct wal_file **out,
		      struct msg *m)
{
	struct dir_device *dd = dir_of(d);
	char tmp[WAL_DEVICE_NAME_MAX + sizeof(TMP_SUFFIX)];
	int fd, err;

	CHECK(size % WAL_DEVICE_BLOCK_MAX == 0);
	(void)snprintf(tmp, sizeof(tmp), "%s" TMP_SUFFIX, name);
	fd = openat(dd->fd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | (dd->direct ? O_DIRECT : 0),
		    0600);
	if (fd < 0)
		return failed(m, "create", dd->path, tmp);
	err = zero_fill(fd, size) != 0 ? failed(m, "fill", dd->path, tmp) : 0;
	close(fd);
	if (err == 0 && renameat2(dd->fd, tmp, dd->fd, name, RENAME_NOREPLACE) != 0)
		err = failed(m, "rename to", dd->path, name);
	if (err != 0) {
		(void)unlinkat(dd->fd, tmp, 0);
		return err;
	}
	if (fsync(dd->fd) != 0)
		return failed(m, "sync", dd->path, ".");
	return dir_open(d, name, out, m);
}

static void dir_close(struct wal_file *file)
{
	struct dir_file *f;

	if (file == NULL)
		return;
	f = file_of(file);
	if (f->direct >= 0)
		close(f->direct);
	close(f->fd);
	mem_free(f);
}

static int dir_pread(struct wal_file *file, void *p, size_t len, uint64_t offset, struct msg *m)
{
	struct dir_file *f = file_of(file);
	uint8_t *at = p;

	while (len > 0) {
		ssize_t n = pread(f->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(m, "read", dir_of(file->device)->path, "a log segment");
		if (n == 0)
			return msg_set(m, ERR_IO, "read a log segment: it ends too early");
		at += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int dir_pwrite_sync(struct wal_file *file, const void *p, size_t len, uint64_t offset,
			   struct msg *m)
{
	struct dir_file *f = file_of(file);
	bool aligned = ((uintptr_t)p | len | offset) % f->block == 0;
	int fd = f->direct >= 0 && aligned ? f->direct : f->fd;

	if (write_all(fd, p, len, offset) != 0)
		return failed(m, "write", dir_of(file->device)->path, "a log segment");
	return 0;
}

static int dir_remove(struct wal_device *d, const char *name, struct msg *m)
{
	struct dir_device *dd = dir_of(d);

	if (unlinkat(dd->fd, name, 0) != 0 || fsync(dd->fd) != 0)
		return failed(m, "remove", dd->path, name);
	return 0;
}

static uint64_t dir_free_bytes(struct wal_device *d)
{
	struct statvfs v;

	if (fstatvfs(dir_of(d)->fd, &v) != 0)
		return 0;
	return (uint64_t)v.f_bavail * v.f_frsize;
}

static uint64_t dir_random(struct wal_device *d)
{
	uint64_t v = 0;
	ssize_t n;

	(void)d;
	do
		n = getrandom(&v, sizeof(v), 0);
	while (n < 0 && errno == EINTR);
	CHECK(n == (ssize_t)sizeof(v));
	return v;
}

static void dir_free(struct wal_device *d)
{
	struct dir_device *dd = dir_of(d);

	close(dd->fd);
	mem_free(dd->path);
	mem_free(dd);
}

static const struct wal_device_ops dir_ops = {
	.list = dir_list,
	.open = dir_open,
	.create = dir_create,
	.close = dir_close,
	.pread = dir_pread,
	.pwrite_sync = dir_pwrite_sync,
	.remove = dir_remove,
	.free_bytes = dir_free_bytes,
	.random = dir_random,
	.free = dir_free,
};

/* ---- which block ---- */

/* A write smaller than the disk's physical sector makes the disk rewrite what is beside it: a power
 * cut could then take acknowledged records along. Partitions have the figure one level up. */
static uint32_t physical_block(int fd)
{
	static const char *const places[] = {"queue/physical_block_size",
					     "../queue/physical_block_size"};
	struct stat st;
	uint32_t block = 0;

	if (fstat(fd, &st) != 0)
		return 512;
	for (size_t i = 0; i < 2 && block == 0; i++) {
		char path[128];
		FILE *file;

		(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(st.st_dev),
			       minor(st.st_dev), places[i]);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%" SCNu32, &block) != 1)
			block = 0;
		fclose(file);
	}
	if (block < 512 || (block & (block - 1)) != 0)
		return 512;
	return block < WAL_DEVICE_BLOCK_MAX ? block : WAL_DEVICE_BLOCK_MAX;
}

/* Whether direct writes of @block bytes go. */
static bool direct_works(struct dir_device *dd, uint32_t block)
{
	static const char name[] = "probe" TMP_SUFFIX;
	int fd = openat(dd->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT, 0600);
	void *p = aligned_alloc(WAL_DEVICE_ALIGN, WAL_DEVICE_ALIGN);
	bool works = false;

	if (fd >= 0 && p != NULL) {
		memset(p, 0, WAL_DEVICE_ALIGN);
		works = pwrite(fd, p, block, block) == (ssize_t)block;
	}
	free(p);
	if (fd >= 0)
		close(fd);
	(void)unlinkat(dd->fd, name, 0);
	return works;
}

int wal_device_dir(const char *path, struct wal_device **out, struct msg *m)
{
	struct dir_device *dd;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return failed(m, "open", path, "");
	dd = mem_must_alloc(sizeof(*dd));
	dd->device.ops = &dir_ops;
	dd->fd = fd;
	dd->path = mem_must_strdup(path);
	dd->device.block = physical_block(fd);
	dd->direct = direct_works(dd, dd->device.block);
	if (!dd->direct && dd->device.block < WAL_DEVICE_BLOCK_MAX) {
		dd->direct = direct_works(dd, WAL_DEVICE_BLOCK_MAX);
		if (dd->direct)
			dd->device.block = WAL_DEVICE_BLOCK_MAX;
	}
	*out = &dd->device;
	return 0;
}
