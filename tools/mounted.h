/* Paths inside mounts of paxfs on this machine. */
#ifndef PAXFS_TOOLS_MOUNTED_H
#define PAXFS_TOOLS_MOUNTED_H

/* The key of @path when it lies inside a mount, and what the mount says of its endpoints (replaces
 * *endpoints); both owned by the caller. NULL if it does not. The last component is not followed: of a
 * symlink, its own place is meant. */
char *mounted_key(const char *path, char **endpoints);

/* The endpoints, numeric, of the mount that holds @path: it names its store, unless it was given another
 * name (fsname=). NULL if there is none. Owned. */
char *mounted_store(const char *path);

#endif
