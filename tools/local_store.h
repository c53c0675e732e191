/* A store on this machine: its directory and its description (DATA/local.json). */
#ifndef PAXFS_TOOLS_LOCAL_STORE_H
#define PAXFS_TOOLS_LOCAL_STORE_H

#include "tools/cli.h"

#define LOCAL_NODES_MAX 31u

struct local_node {
	uint32_t id;
	char address[ADDRESS_SIZE_MAX]; /* "" until its first start */
};

struct local_store {
	char *data;  /* absolute; owned */
	char *mount; /* absolute, or NULL; owned */
	uint32_t groups;
	uint32_t node_count;
	struct local_node nodes[LOCAL_NODES_MAX];
};

/* ERR_NOT_FOUND when there is none at @data. */
int local_store_load(struct local_store *s, const char *data, struct msg *m);
int local_store_save(const struct local_store *s, struct msg *m); /* atomic; and DATA/endpoints */
void local_store_release(struct local_store *s);

/* Paths, owned by the caller. id 0: the mount's. */
char *local_store_pid_path(const struct local_store *s, uint32_t id);
char *local_store_log_path(const struct local_store *s, uint32_t id);
char *local_store_node_dir(const struct local_store *s, uint32_t id);
char *local_store_endpoints(const struct local_store *s);

/* One node and a mount: one process holds both. */
static inline bool local_store_embedded(const struct local_store *s)
{
	return s->node_count == 1 && s->mount;
}

bool local_store_mount_runs(const struct local_store *s); /* the process of the mount, if any */
/* The FUSE connection of the mount, asked for while it is mounted; 0: there is none. */
unsigned local_store_connection(const struct local_store *s);
/* A mount whose process does not end: every call on it fails from now on, and whoever waits in the
 * kernel for an answer of that process goes on. Also when it has been taken off its place already. */
void local_store_abort_mount(const struct local_store *s, unsigned connection);
/* Takes away what a mount process that died has left at the mount point: until then everything there
 * fails with ENOTCONN. Nothing else is unmounted. */
void local_store_drop_dead_mount(const struct local_store *s);

#endif
