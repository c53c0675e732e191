/* Operations on the data of files beside reading and writing: fallocate, SEEK_DATA and SEEK_HOLE,
 * copy_file_range. The kernel drops its own pages of what they change; other mounts see another data
 * version. */
#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "base/err.h"
#include "mount/mount_internal.h"

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	return (struct fs_file *)(uintptr_t)fi->fh;
}

/* False: a mode that there is not here (COLLAPSE_RANGE, INSERT_RANGE, ...). */
static bool falloc_mode(int mode, unsigned *out)
{
	static const struct {
		int kernel;
		unsigned fs;
	} map[] = {
		{FALLOC_FL_KEEP_SIZE, FS_FALLOC_KEEP_SIZE},
		{FALLOC_FL_PUNCH_HOLE, FS_FALLOC_PUNCH_HOLE},
		{FALLOC_FL_ZERO_RANGE, FS_FALLOC_ZERO_RANGE},
	};

	*out = 0;
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		*out |= mode & map[i].kernel ? map[i].fs : 0;
		mode &= ~map[i].kernel;
	}
	return mode == 0;
}

/* Several transactions, or none: how much the version has risen is not known here. */
static void change_begin(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *mt = fuse_req_userdata(req);

	mount__versions_write_begin(mt->inodes, ino);
}

static void change_end(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *mt = fuse_req_userdata(req);

	mount__versions_write_end(mt->inodes, ino, false);
}

void mount__fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		      struct fuse_file_info *fi)
{
	struct mount_caller caller;
	const struct fs_writer *w = mount__writer(&caller, req, NULL);
	unsigned m;
	int err;

	(void)mount__fs_of(req);
	if (offset < 0 || length <= 0) {
		err = ERR_INVAL;
	} else if (!falloc_mode(mode, &m)) {
		err = ERR_UNSUPPORTED;
	} else {
		change_begin(req, ino);
		err = fs_fallocate(file_of(fi), m, (uint64_t)offset, (uint64_t)length, w);
		change_end(req, ino);
	}
	mount__reply_err(req, err);
}

void mount__lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct fs *fs = mount__fs_of(req);
	uint64_t at;
	int err;

	(void)fi;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		mount__reply_err(req, ERR_INVAL); /* the kernel does the others itself */
		return;
	}
	err = offset < 0 ? ERR_NO_DATA
			 : fs_seek(fs, ino, (uint64_t)offset, whence == SEEK_HOLE, &at);
	if (err == ERR_NO_DATA)
		fuse_reply_err(req, ENXIO);
	else if (err)
		mount__reply_err(req, err);
	else
		fuse_reply_lseek(req, (off_t)at);
}

void mount__copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			    struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			    struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct mount_caller caller;
	const struct fs_writer *w = mount__writer(&caller, req, NULL);
	uint64_t copied = 0;
	int err = ERR_INVAL;

	(void)ino_in;
	(void)mount__fs_of(req);
	if (off_in >= 0 && off_out >= 0 && flags == 0) {
		change_begin(req, ino_out);
		err = fs_copy_range(file_of(fi_in), (uint64_t)off_in, file_of(fi_out),
				    (uint64_t)off_out, len, w, &copied);
		change_end(req, ino_out);
	}
	if (err)
		mount__reply_err(req, err);
	else
		fuse_reply_write(req, (size_t)copied);
}
