/* The small file `node` of a data directory: whose it is. By datadir_read() and datadir_write() only, so
 * that the simulator's directory has the same one. */
#ifndef PAXFS_KV_DATADIR_IDENTITY_H
#define PAXFS_KV_DATADIR_IDENTITY_H

#include "kv/datadir.h"

/* Fills @d from the file; ERR_IDENTITY if it is not that of @node (0: of any), ERR_CORRUPT. */
int datadir__identity_read(struct datadir *d, uint32_t node, struct msg *m);

/* Makes an empty directory that of @node; ERR_INVAL if that is 0. */
int datadir__identity_write(struct datadir *d, uint32_t node, uint64_t birth, uint64_t wall_ns,
			    struct msg *m);

#endif
