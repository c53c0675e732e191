/* `mount -o remount`: what the kernel can change of a mount that is there. */
#ifndef PAXFS_TOOLS_REMOUNT_H
#define PAXFS_TOOLS_REMOUNT_H

#include "base/msg.h"
#include "mount/mount.h"

/* ro, rw, suid, dev, exec and their opposites, of the paxfs mounted on @path. ERR_NOT_FOUND: none is;
 * ERR_READ_ONLY: rw, but the mount was made read-only, in the process that serves it, too. */
int remount(const char *path, const struct mount_options *o, struct msg *m);

#endif
