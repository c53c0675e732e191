/* Can this directory be mounted on? */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "mount/mount_internal.h"

/* The type of what is mounted exactly on @path, looked up without touching it (a dead mount blocks
 * or fails there). */
static bool mounted_on(const char *path, char type[64])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *e;
	bool found = false;

	while (f && (e = getmntent(f)) != NULL) {
		if (strcmp(e->mnt_dir, path) == 0) {
			snprintf(type, 64, "%s", e->mnt_type);
			found = true;
		}
	}
	if (f)
		endmntent(f);
	return found;
}

static int check_empty(const char *path, struct msg *m)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int err = 0;

	if (!d)
		return msg_set(m, err_from_errno(errno), "mount point %s: %s", path,
			       strerror(errno));
	while (!err && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			err = msg_set(m, ERR_NOT_EMPTY,
				      "mount point %s is not empty: what it holds would be hidden",
				      path);
	closedir(d);
	return err;
}

static int check_device(struct msg *m)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return msg_set(m, ERR_UNSUPPORTED,
			       "there is no /dev/fuse: load the kernel module (modprobe fuse), or "
			       "give the container the device");
	return msg_set(m, err_from_errno(errno), "cannot open /dev/fuse: %s", strerror(errno));
}

int mount_check_point(const char *path, struct msg *m)
{
	char type[64], real[PATH_MAX];
	struct stat st;
	int err = check_device(m);

	if (err)
		return err;
	if (mounted_on(path, type))
		return msg_set(m, ERR_EXISTS, "mount point %s is busy: a %s is mounted there", path,
			       type);
	if (stat(path, &st) != 0) {
		if (errno == ENOENT)
			return msg_set(m, ERR_NOT_FOUND, "mount point %s does not exist", path);
		return msg_set(m, err_from_errno(errno), "mount point %s: %s", path,
			       strerror(errno));
	}
	if (!S_ISDIR(st.st_mode))
		return msg_set(m, ERR_NOT_DIR, "mount point %s is not a directory", path);
	if (realpath(path, real) && strcmp(real, path) != 0 && mounted_on(real, type))
		return msg_set(m, ERR_EXISTS, "mount point %s is busy: a %s is mounted there", real,
			       type);
	if (geteuid() != 0 && access(path, W_OK) != 0)
		return msg_set(m, ERR_ACCESS, "mount point %s: you may not write there, so you may "
					      "not mount there",
			       path);
	return check_empty(path, m);
}
