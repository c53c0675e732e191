/* Extended attributes: what of them depends on the caller, and what is answered from memory. */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "mount/mount_internal.h"

#define STATUS_MAX                                                                                 \
	4096u /* of /proc/PID/status, as far as it is read; the groups' line may be long */

static struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static bool is_capability(const char *name)
{
	return strcmp(name, "security.capability") == 0;
}

static bool is_acl(const char *name)
{
	return strncmp(name, "system.posix_acl_", 17) == 0;
}

/* A list that the kernel would not obey must not be kept: the tools then fall back to chmod. */
static bool refused(fuse_req_t req, const char *name)
{
	if (!is_acl(name) || mount_of(req)->acl)
		return false;
	mount__reply_err(req, ERR_UNSUPPORTED);
	return true;
}

/* ---- the caller ---- */

/* The status of the calling thread: what its request's header does not tell. Empty when it is gone.
 */
static char *caller_status(fuse_req_t req, char text[STATUS_MAX])
{
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/status", (long)fuse_req_ctx(req)->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, STATUS_MAX - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static bool has_capability(const char *status, unsigned cap)
{
	const char *line = strstr(status, "\nCapEff:");

	return line && strtoull(line + 8, NULL, 16) >> cap & 1;
}

static bool in_group(fuse_req_t req, const char *status, uint32_t gid)
{
	const char *at = strstr(status, "\nGroups:");
	char *end;

	if (fuse_req_ctx(req)->gid == gid)
		return true;
	for (at = at ? at + 8 : NULL; at; at = end) {
		unsigned long g = strtoul(at, &end, 10);

		if (end == at)
			return false;
		if (g == gid)
			return true;
		if (*end == '\n')
			return false;
	}
	return false;
}

/* May the caller keep set-group-id of that group? The kernel says so in a flag of the request, which
 * libfuse 3.14 does not pass on. */
static bool may_keep_setgid(void *ctx, uint32_t gid)
{
	fuse_req_t req = ctx;
	char status[STATUS_MAX];

	caller_status(req, status);
	return in_group(req, status, gid) || has_capability(status, CAP_FSETID);
}

/* ---- operations ---- */

void mount__setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		     size_t size, int flags)
{
	const struct fs_writer w = {.in_group = may_keep_setgid, .ctx = req};
	struct fs *fs = mount__fs_of(req);
	unsigned f = 0;

	if (refused(req, name))
		return;
	f |= flags & 1 ? FS_XATTR_CREATE : 0;  /* XATTR_CREATE */
	f |= flags & 2 ? FS_XATTR_REPLACE : 0; /* XATTR_REPLACE */
	mount__reply_err(req, fs_setxattr_by(fs, ino, slice_str(name), slice_of(value, size), f, &w));
}

static void reply_xattr(fuse_req_t req, int err, const struct buf *b, size_t size)
{
	if (!err && size != 0 && b->len > size)
		err = ERR_RANGE;
	if (err)
		mount__reply_err(req, err);
	else if (size == 0)
		fuse_reply_xattr(req, b->len);
	else
		fuse_reply_buf(req, (const char *)b->data, b->len);
}

/* Before every write the kernel asks for the size of security.capability, to take it away. The
 * write's own transaction does that, so the answer may be as old as the last look at the file. */
void mount__getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = mount__fs_of(req);
	struct buf value = BUF_INIT;

	if (refused(req, name))
		return;
	if (ino == FS_ROOT_INO && strcmp(name, MOUNT_STATS_XATTR) == 0) {
		char line[MOUNT_STATS_MAX];

		mount__inodes_describe(mount_of(req), line, sizeof(line));
		buf_add(&value, line, strlen(line));
		reply_xattr(req, buf_ok(&value) ? 0 : ERR_NOMEM, &value, size);
	} else if (size == 0 && is_capability(name) && fs_capability_known_absent(fs, ino))
		mount__reply_err(req, ERR_NO_DATA);
	else
		reply_xattr(req, fs_getxattr(fs, ino, slice_str(name), &value), &value, size);
	buf_release(&value);
}

static bool is_trusted(const char *name)
{
	return strncmp(name, "trusted.", 8) == 0;
}

/* Only who may read them sees the names of trusted attributes. */
static void hide_trusted(fuse_req_t req, struct buf *names)
{
	char status[STATUS_MAX];
	bool asked = false;
	size_t to = 0, n;

	for (size_t at = 0; at < names->len; at += n) {
		const char *name = (const char *)names->data + at;

		n = strlen(name) + 1;
		if (is_trusted(name)) {
			if (!asked && has_capability(caller_status(req, status), CAP_SYS_ADMIN))
				return;
			asked = true;
			continue;
		}
		memmove(names->data + to, name, n);
		to += n;
	}
	buf_resize(names, to);
}

void mount__listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct buf names = BUF_INIT;
	int err = fs_listxattr(mount__fs_of(req), ino, &names);

	if (!err)
		hide_trusted(req, &names);
	reply_xattr(req, err, &names, size);
	buf_release(&names);
}

void mount__removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs *fs = mount__fs_of(req);
	int err;

	if (refused(req, name))
		return;
	err = fs_removexattr(fs, ino, slice_str(name));
	/* a write that takes it away through here comes second to one whose transaction already did
	 */
	if (err == ERR_NO_DATA && is_capability(name) && fs_written_here(fs, ino))
		err = 0;
	mount__reply_err(req, err);
}
