/* A node's data directory: exclusive lock, identity, and small files replaced atomically.
 *
 * A small file is magic(8) | crc32c u32 | length u32 | payload, little-endian; the CRC covers the
 * length and the payload. */
#ifndef PAXFS_KV_DATADIR_H
#define PAXFS_KV_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/msg.h"

#define DATADIR_FILE_SIZE_MAX (16u * 1024u * 1024u) /* of a small file */

struct datadir {
	char *path;	     /* owned */
	int fd, lock_fd;
	uint32_t node;	     /* id */
	uint64_t birth;	     /* random, made with the directory: tells a blank one from the old one */
	uint64_t created_ns; /* wall clock */
	bool created;	     /* by this open */
};

/* Opens, or creates with parents, and locks. @node 0: whatever it says. @birth and @wall_ns are used
 * for a new one. ERR_LOCKED, ERR_IDENTITY (another node's, or not a data directory), ERR_CORRUPT,
 * ERR_INVAL (new, but no id), ERR_IO, ERR_NOSPACE, ERR_ACCESS; @m says what and where. */
int datadir_open(const char *path, uint32_t node, uint64_t birth, uint64_t wall_ns,
		 struct datadir *out, struct msg *m);
void datadir_close(struct datadir *d); /* unlocks; takes one that was never opened if zeroed */

/* ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
int datadir_read(const struct datadir *d, const char *name, struct buf *out, struct msg *m);
/* Temporary file, fsync, rename, fsync of the directory. Any thread. */
int datadir_write(const struct datadir *d, const char *name, struct slice payload, struct msg *m);

bool datadir_has(const struct datadir *d, const char *name); /* a non-empty file or directory */
char *datadir_path(const struct datadir *d, const char *name); /* the caller frees it */

#endif
