/* See remount.h. */
#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#undef BLOCK_SIZE /* of <linux/fs.h> */

#include "base/err.h"
#include "tools/remount.h"

static bool paxfs_on(const char *path)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *e;
	bool found = false;

	while (f && (e = getmntent(f)) != NULL)
		if (strcmp(e->mnt_dir, path) == 0) /* the last one is on top */
			found = strcmp(e->mnt_type, "fuse.paxfs") == 0;
	if (f)
		endmntent(f);
	return found;
}

static unsigned long flags_of(const struct mount_options *o)
{
	unsigned long f = MS_REMOUNT;

	f |= o->read_only ? MS_RDONLY : 0;
	f |= o->suid ? 0 : MS_NOSUID;
	f |= o->dev ? 0 : MS_NODEV;
	f |= o->exec ? 0 : MS_NOEXEC;
	f |= o->noatime ? MS_NOATIME : 0;
	return f;
}

static int change(const char *path, unsigned long flags, struct msg *m)
{
	if (mount("paxfs", path, "fuse.paxfs", flags, NULL) == 0)
		return 0;
	if (errno == EBUSY)
		return msg_set(m, ERR_BUSY, "files are open for writing");
	return msg_set(m, err_from_errno(errno), "remount: %s", strerror(errno));
}

int remount(const char *path, const struct mount_options *o, struct msg *m)
{
	unsigned long flags = flags_of(o);
	int err;

	if (!paxfs_on(path))
		return msg_set(m, ERR_NOT_FOUND, "no paxfs is mounted there");
	err = change(path, flags, m);
	if (err || o->read_only)
		return err;
	/* a change of nothing: is it the process behind the mount that refuses it? */
	if (lremovexattr(path, "user.paxfs.none") != 0 && errno == EROFS) {
		(void)change(path, flags | MS_RDONLY, m);
		return msg_set(m, ERR_READ_ONLY,
			       "it was mounted read-only: unmount it and mount it again");
	}
	return 0;
}
