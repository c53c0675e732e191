/* The sessions of a store: mounts and other clients that write. */
#ifndef PAXFS_TOOLS_SESSIONS_H
#define PAXFS_TOOLS_SESSIONS_H

#include "tools/cli.h"

struct session_entry {
	uint64_t id;
	uint64_t opened_ns, renewed_ns; /* stamps: since 1970, by the clocks of the store's nodes */
	char name[256];			/* host and mount point, for people */
};

struct session_list {
	struct session_entry *v; /* owned; by id, ascending */
	uint32_t count, cap;
};

/* All of them, as of about now. */
int sessions_read(struct cli_session *s, struct session_list *out);
void sessions_release(struct session_list *l);
const struct session_entry *sessions_find(const struct session_list *l, uint64_t id); /* or NULL */

#endif
