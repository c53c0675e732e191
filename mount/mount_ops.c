/* The FUSE operations. Each runs in the fiber of its request (mount_session.c) and replies exactly
 * once. Kernel timeouts are 0: nothing is leased yet, so every answer is asked for again and two
 * mounts always agree; the kernel's page cache is kept as long as the data version says so. */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/check.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

static struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void on_interrupt(fuse_req_t req, void *fiber)
{
	mount__interrupted(mount_of(req), fiber);
}

/* The beginning of every request that may wait: an INTERRUPT of it, come or to come, reaches this
 * fiber. */
struct fs *mount__fs_of(fuse_req_t req)
{
	fuse_req_interrupt_func(req, on_interrupt, fiber_self());
	return mount_of(req)->fs;
}

static struct fs_cred cred_of(fuse_req_t req)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	/* FUSE_CAP_DONT_MASK: only the transaction knows whether a default access list replaces it */
	return (struct fs_cred){.uid = c->uid, .gid = c->gid, .umask = c->umask};
}

void mount__reply_err(fuse_req_t req, int err)
{
	static struct logger_limit limit;
	int e = mount__errno(err);

	if (e == EIO)
		logger_write_limited(&limit, 5, LOG_ERROR_, "a request failed: %s", err_text(err));
	fuse_reply_err(req, e);
}

static struct fs_file *file_of(const struct fuse_file_info *fi)
{
	return (struct fs_file *)(uintptr_t)fi->fh;
}

static void stat_of(const struct fs_attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = a->ino;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_rdev = a->rdev;
	st->st_size = (off_t)a->size;
	st->st_blocks = (blkcnt_t)a->blocks;
	st->st_blksize = WRITE_SIZE_MAX;
	st->st_atim = fs_time_split(a->atime_ns);
	st->st_mtim = fs_time_split(a->mtime_ns);
	st->st_ctim = fs_time_split(a->ctime_ns);
}

/* Before an answer tells attributes: pages of another version go. */
static int settle_pages(struct mount *mt, const struct fs_attr *a)
{
	int err = 0;

	if (S_ISREG(a->mode) && mount__versions_tell(mt->inodes, a))
		err = mount__inval_data(mt->inval, a->ino);
	if (err)
		mount__versions_doubt(mt->inodes, a->ino);
	return err;
}

static void entry_of(const struct fs_attr *a, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = a->ino;
	stat_of(a, &e->attr);
}

static void reply_entry(fuse_req_t req, int err, const struct fs_attr *a)
{
	struct mount *mt = mount_of(req);
	struct fuse_entry_param e;

	if (err) {
		mount__reply_err(req, err);
		return;
	}
	entry_of(a, &e);
	mount__inode_given(mt->inodes, a->ino);
	if (fuse_reply_entry(req, &e) != 0) /* nobody took it */
		mount__inode_back(mt->inodes, a->ino, 1);
	mount__forget_check(mt->forget);
}

static void reply_attr(fuse_req_t req, int err, const struct fs_attr *a)
{
	struct stat st;

	if (err) {
		mount__reply_err(req, err);
		return;
	}
	stat_of(a, &st);
	fuse_reply_attr(req, &st, 0);
}

/* ---- names and attributes ---- */

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_attr a;
	int err = fs_lookup(mount__fs_of(req), parent, slice_str(name), &a);

	if (!err)
		err = settle_pages(mount_of(req), &a);
	reply_entry(req, err, &a);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	mount__inode_back(mount_of(req)->inodes, ino, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		mount__inode_back(mount_of(req)->inodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = mount__fs_of(req);
	struct fs_attr a;
	/* With a file it is the kernel that asks, before it reads; stat(2) and fstat(2) come without:
	 * blocks are counted for them alone. */
	int err = fi ? fs_getattr(fs, ino, &a) : fs_stat(fs, ino, &a);

	if (!err && fi && S_ISREG(a.mode)) /* its pages may satisfy the read, which then does not come */
		err = fs_file_lost_lock(file_of(fi));
	if (!err)
		err = settle_pages(mount_of(req), &a);
	reply_attr(req, err, &a);
}

static unsigned set_of(int to_set)
{
	static const struct {
		int fuse;
		unsigned fs;
	} map[] = {
		{FUSE_SET_ATTR_MODE, FS_SET_MODE},	     {FUSE_SET_ATTR_UID, FS_SET_UID},
		{FUSE_SET_ATTR_GID, FS_SET_GID},	     {FUSE_SET_ATTR_SIZE, FS_SET_SIZE},
		{FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW}, {FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW},
		{FUSE_SET_ATTR_CTIME, FS_SET_CTIME},
	};
	unsigned set = 0;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		set |= to_set & map[i].fuse ? map[i].fs : 0;
	if ((to_set & FUSE_SET_ATTR_ATIME) && !(to_set & FUSE_SET_ATTR_ATIME_NOW))
		set |= FS_SET_ATIME;
	if ((to_set & FUSE_SET_ATTR_MTIME) && !(to_set & FUSE_SET_ATTR_MTIME_NOW))
		set |= FS_SET_MTIME;
	if (to_set & (FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID | FUSE_SET_ATTR_KILL_PRIV))
		set |= FS_KILL_SUID;
	return set;
}

/* A truncation counts as a write of this mount. No page may be dropped before the answer: the kernel
 * does it itself when the size changes. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		       struct fuse_file_info *fi)
{
	struct mount *mt = mount_of(req);
	unsigned set = set_of(to_set);
	struct fs_attr in = {.mode = st->st_mode,
			     .uid = st->st_uid,
			     .gid = st->st_gid,
			     .size = (uint64_t)st->st_size,
			     .atime_ns = fs_time_of(st->st_atim),
			     .mtime_ns = fs_time_of(st->st_mtim),
			     .ctime_ns = fs_time_of(st->st_ctim)};
	struct mount_caller caller;
	const struct fs_writer *w = mount__writer(&caller, req, NULL);
	struct fs_attr out;
	int err = fi && set & FS_SET_SIZE ? fs_file_lost_lock(file_of(fi)) : 0; /* ftruncate */

	if (err) {
		mount__reply_err(req, err);
		return;
	}
	if (set & FS_SET_SIZE) {
		/* a mode comes along only to take set-id bits off, by what the kernel last saw */
		set &= ~(unsigned)(FS_SET_MODE | FS_KILL_SUID);
		mount__versions_write_begin(mt->inodes, ino);
	}
	err = fs_setattr_by(mount__fs_of(req), ino, set, &in, w, &out);
	if (err == ERR_LOCK_LOST && fi)
		(void)fs_file_lost_lock(file_of(fi)); /* by this answer */
	if (set & FS_SET_SIZE)
		mount__versions_write_end(mt->inodes, ino, !err);
	if (!err && S_ISREG(out.mode))
		mount__versions_set(mt->inodes, &out);
	reply_attr(req, err, &out);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct buf target = BUF_INIT;
	int err = fs_readlink(mount__fs_of(req), ino, &target);

	buf_add_u8(&target, 0);
	if (!err && !buf_ok(&target))
		err = ERR_NOMEM;
	if (err)
		mount__reply_err(req, err);
	else
		fuse_reply_readlink(req, (const char *)target.data);
	buf_release(&target);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fs_cred cred = cred_of(req);
	struct fs_attr a;
	int err = fs_mknod(mount__fs_of(req), &cred, parent, slice_str(name), mode, rdev, &a);

	if (!err && S_ISREG(mode))
		mount__versions_tell(mount_of(req)->inodes, &a);
	reply_entry(req, err, &a);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs_cred cred = cred_of(req);
	struct fs_attr a;
	int err = fs_mkdir(mount__fs_of(req), &cred, parent, slice_str(name), mode, &a);

	reply_entry(req, err, &a);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fs_cred cred = cred_of(req);
	struct fs_attr a;
	int err = fs_symlink(mount__fs_of(req), &cred, parent, slice_str(name), slice_str(target), &a);

	reply_entry(req, err, &a);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fs_attr a;
	int err = fs_link(mount__fs_of(req), ino, parent, slice_str(name), &a);

	if (!err && S_ISREG(a.mode) && mount__versions_tell(mount_of(req)->inodes, &a))
		mount__versions_doubt(mount_of(req)->inodes, ino);
	reply_entry(req, err, &a);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	mount__reply_err(req, fs_unlink(mount__fs_of(req), parent, slice_str(name)));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	mount__reply_err(req, fs_rmdir(mount__fs_of(req), parent, slice_str(name)));
}

#define KERNEL_RENAME_NOREPLACE 1u
#define KERNEL_RENAME_EXCHANGE	2u
#define KERNEL_RENAME_WHITEOUT	4u

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned flags)
{
	struct fs_cred cred = cred_of(req);
	unsigned f = 0;
	int err;

	if (flags & ~(KERNEL_RENAME_NOREPLACE | KERNEL_RENAME_EXCHANGE | KERNEL_RENAME_WHITEOUT)) {
		mount__reply_err(req, ERR_INVAL);
		return;
	}
	f |= flags & KERNEL_RENAME_NOREPLACE ? FS_RENAME_NOREPLACE : 0;
	f |= flags & KERNEL_RENAME_EXCHANGE ? FS_RENAME_EXCHANGE : 0;
	err = flags & KERNEL_RENAME_WHITEOUT
		      ? fs_rename_whiteout(mount__fs_of(req), &cred, parent, slice_str(name),
					   new_parent, slice_str(new_name), f)
		      : fs_rename(mount__fs_of(req), parent, slice_str(name), new_parent,
				  slice_str(new_name), f);
	mount__reply_err(req, err);
}

/* ---- files ---- */

static unsigned open_flags(int flags)
{
	unsigned f = 0;

	switch (flags & O_ACCMODE) {
	case O_RDONLY: f = FS_O_READ; break;
	case O_WRONLY: f = FS_O_WRITE; break;
	default: f = FS_O_READ | FS_O_WRITE; break;
	}
	f |= flags & O_APPEND ? FS_O_APPEND : 0;
	f |= flags & O_TRUNC ? FS_O_TRUNC : 0;
	f |= flags & O_EXCL ? FS_O_EXCL : 0;
	return f;
}

/* An appended record is cached by the kernel at the size that it believes in: direct I/O there. With
 * strictatime each open reads anew, so that its reads are seen here. */
static void set_caching(const struct mount *mt, struct fuse_file_info *fi, bool pages_current)
{
	fi->direct_io = (fi->flags & (O_APPEND | O_DIRECT)) != 0;
	fi->keep_cache = pages_current && !fi->direct_io && !mt->cfg->options->strictatime;
	fi->noflush = 0;
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct mount *mt = mount_of(req);
	struct fs_cred cred = cred_of(req);
	struct fuse_entry_param e;
	struct fs_attr a;
	struct fs_file *f;
	int err = fs_create(mount__fs_of(req), &cred, parent, slice_str(name), mode,
			    open_flags(fi->flags), &a, &f);

	if (err) {
		mount__reply_err(req, err);
		return;
	}
	/* the kernel takes this answer in any case, and drops what pages there may be */
	mount__versions_tell(mt->inodes, &a);
	fi->fh = (uint64_t)(uintptr_t)f;
	set_caching(mt, fi, false);
	entry_of(&a, &e);
	mount__inode_given(mt->inodes, a.ino);
	if (fuse_reply_create(req, &e, fi) != 0) { /* the caller is gone: nobody will release it */
		mount__inode_back(mt->inodes, a.ino, 1);
		fs_file_close(f);
	}
	mount__forget_check(mt->forget);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *mt = mount_of(req);
	unsigned flags = open_flags(fi->flags);
	struct mount_caller caller;
	const struct fs_writer *w = mount__writer(&caller, req, NULL);
	struct fs_attr a;
	struct fs_file *f;
	int err = fs_file_open_by(mount__fs_of(req), ino, flags | FS_O_FOUND, w, &f);

	if (err) {
		mount__reply_err(req, err);
		return;
	}
	/* the version that open found decides whether the pages may stay */
	err = fs_getattr(mt->fs, ino, &a);
	if (err) {
		fs_file_close(f);
		mount__reply_err(req, err);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)f;
	set_caching(mt, fi, mount__versions_current(mt->inodes, ino, a.data_version));
	if (!fi->keep_cache && S_ISREG(a.mode))
		mount__versions_opened(mt->inodes, &a, flags & FS_O_TRUNC);
	if (fuse_reply_open(req, fi) != 0)
		fs_file_close(f);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct fs_file *f = file_of(fi);
	struct buf data = BUF_INIT;
	bool atime = !(fi->flags & O_NOATIME); /* what the flags are now: fcntl can change this one */
	int err;

	(void)mount__fs_of(req);
	if (!(fi->flags & (O_APPEND | O_DIRECT)))
		err = fs_read_pages(f, (uint64_t)offset, size, atime, &data);
	else if (atime)
		err = fs_read(f, (uint64_t)offset, size, &data);
	else
		err = fs_read_noatime(f, (uint64_t)offset, size, &data);
	if (!err && data.len < size)
		mount__versions_ended(mount_of(req)->inodes, ino, (uint64_t)offset + data.len);
	if (err)
		mount__reply_err(req, err);
	else
		fuse_reply_buf(req, (const char *)data.data, data.len);
	buf_release(&data);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	struct mount *mt = mount_of(req);
	struct mount_caller caller;
	struct fs_write_how how = {.append = fi->flags & O_APPEND,
				   .within = fi->writepage,
				   .writer = mount__writer(&caller, req, fi)};
	uint64_t end = (uint64_t)offset;
	int err;

	(void)mount__fs_of(req);
	mount__versions_write_begin(mt->inodes, ino);
	err = fs_write_how(file_of(fi), (uint64_t)offset, slice_of(bytes, size), &how, &end);
	if (!err && how.within && end == (uint64_t)offset)
		mount__versions_write_none(mt->inodes, ino);
	else
		mount__versions_write_end(mt->inodes, ino, !err);
	if (!err && how.append && end != (uint64_t)offset + size)
		mount__versions_doubt(mt->inodes, ino); /* the kernel has a page of it elsewhere */
	if (!err && !how.within) /* as the kernel counts: from where it believes that the write began */
		mount__versions_extended(mt->inodes, ino, (uint64_t)offset + size);
	if (err)
		mount__reply_err(req, err);
	else
		fuse_reply_write(req, size);
}

/* WRITE is answered after its transaction, so there is nothing left to flush. */
/* Every change is durable when it is answered: flush, fsync and fsyncdir have nothing to do here. ENOSYS
 * tells the kernel so, once; it goes on writing mapped pages back, and never asks again. */
static void reply_nothing_to_do(fuse_req_t req)
{
	fuse_reply_err(req, ENOSYS);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (mount_of(req)->cfg->options->local_locks) {
		reply_nothing_to_do(req);
		return;
	}
	mount__locks_flush(req, ino, fi); /* what was written is durable already */
	fuse_reply_err(req, 0);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	mount__locks_release(req, ino, fi); /* before anything else that a next request may overtake */
	fs_file_close(file_of(fi));
	fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	reply_nothing_to_do(req);
}

/* ---- directories ---- */

struct listing {
	fuse_req_t req;
	char *bytes; /* owned */
	size_t len, size;
};

static bool add_entry(void *ctx, const struct fs_dirent *d)
{
	struct listing *l = ctx;
	char name[FS_NAME_MAX + 1];
	struct stat st = {.st_ino = d->ino, .st_mode = (mode_t)d->type << 12};
	size_t n;

	CHECK(d->name.len <= FS_NAME_MAX);
	memcpy(name, d->name.p, d->name.len);
	name[d->name.len] = '\0';
	n = fuse_add_direntry(l->req, l->bytes + l->len, l->size - l->len, name, &st,
			      (off_t)d->cookie);
	if (n > l->size - l->len)
		return false;
	l->len += n;
	return true;
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_file *f; /* so that it stays, without a name, as long as it is open */
	int err = fs_file_open(mount__fs_of(req), ino, FS_O_READ | FS_O_FOUND, &f);

	if (err) {
		mount__reply_err(req, err);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)f;
	fi->cache_readdir = 0;
	if (fuse_reply_open(req, fi) != 0)
		fs_file_close(f); /* the caller is gone: nobody will release it */
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fs_file_close(file_of(fi));
	fuse_reply_err(req, 0);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	struct listing l = {.req = req, .size = size};
	int err;

	(void)fi;
	l.bytes = mem_try_alloc(size);
	err = l.bytes ? fs_readdir(mount__fs_of(req), ino, (uint64_t)offset, false, add_entry, &l)
		      : ERR_NOMEM;
	if (err)
		mount__reply_err(req, err);
	else
		fuse_reply_buf(req, l.bytes, l.len);
	mem_free(l.bytes);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	reply_nothing_to_do(req);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs_statfs s;
	struct statvfs v;
	int err = fs_statfs(mount__fs_of(req), &s);

	(void)ino;
	if (err) {
		mount__reply_err(req, err);
		return;
	}
	memset(&v, 0, sizeof(v));
	v.f_bsize = v.f_frsize = s.block_size;
	v.f_blocks = s.blocks;
	v.f_bfree = v.f_bavail = s.blocks_free;
	v.f_files = s.files;
	v.f_ffree = v.f_favail = s.files_free;
	v.f_namemax = FS_NAME_MAX;
	fuse_reply_statfs(req, &v);
}

const struct fuse_lowlevel_ops mount__ops = {
	.init = mount__ops_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.getlk = mount__op_getlk,
	.setlk = mount__op_setlk,
	.flock = mount__op_flock,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = mount__setxattr,
	.getxattr = mount__getxattr,
	.listxattr = mount__listxattr,
	.removexattr = mount__removexattr,
	.fallocate = mount__fallocate,
	.lseek = mount__lseek,
	.copy_file_range = mount__copy_file_range,
};
