/* Mounting: the FUSE session on the loop, its options, and the conventions of mount(8). */
#ifndef PAXFS_MOUNT_MOUNT_H
#define PAXFS_MOUNT_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/msg.h"

/* What -o takes (docs: mount.paxfs(8)). Unknown options are errors. */
struct mount_options {
	bool read_only, allow_other, default_permissions, suid, dev, exec;
	bool noatime, strictatime;
	bool local_locks; /* flock and fcntl locks between the processes of this mount alone */
	bool debug;	       /* libfuse's own trace */
	uint64_t timeout_ns;   /* of a call while a majority is down; 0 = wait (interruptible) */
	uint64_t session_ns; /* after so long a silence others close this mount's session */
	uint32_t max_background;
	uint32_t max_inodes; /* that the kernel may know; beyond that it is made to forget */
	bool no_prune;	     /* ... as on kernels before 6.18 */
	char *fsname;	       /* owned; default: the endpoints */
	char *kernel;	       /* owned; options handed to mount(2) through libfuse */
};
void mount_options_default(struct mount_options *o, bool root);
/* Parses "a,b=c"; drops what mount(8) hands to every helper (defaults auto noauto user users owner
 * group nofail _netdev comment= x-*). ERR_USAGE with a message that names the option. */
int mount_options_parse(struct mount_options *o, const char *list, struct msg *m);
void mount_options_release(struct mount_options *o);

struct mount_config {
	const char *endpoints;	/* numeric "host:port,..." */
	const char *mountpoint; /* absolute */
	const struct mount_options *options;
	uint64_t connect_timeout_ns; /* until the first quorum read; 0 = as long as it takes */
};

/* Mounts and serves until unmounted or SIGINT/SIGTERM (which unmount cleanly) or mount_stop().
 * @ready is called once, after INIT and the first quorum read have succeeded: only then is a mount
 * reported as done. Checks beforehand, each with a clear message: mount point missing, not a
 * directory, not empty, mounted already; no /dev/fuse; no permission; endpoints unreachable; store
 * not initialised or not formatted. Returns 0 after a clean unmount. Creates its own loop on the
 * calling thread. @handle_signals: false when embedded in a node process. */
struct mount;
int mount_run(const struct mount_config *cfg, bool handle_signals,
	      void (*ready)(void *ctx, struct mount *mt), void *ctx, struct msg *m);
void mount_stop(struct mount *mt); /* any thread: unmounts, mount_run returns */

/* ERR_* when @path cannot be a mount point now; see mount_run. */
int mount_check_point(const char *path, struct msg *m);

#endif
