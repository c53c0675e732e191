/* Where the log keeps its files: a real directory, or memory with faults (tests, simulator).
 *
 * A device holds fixed-size files. The only write there is returns when its bytes are on disk; a
 * power cut in the middle of it may leave any subset of its 512-byte sectors, and a sector may be
 * torn. Sectors beside the written range keep what they had: that is why the log aligns its
 * batches to @block. Functions return 0 or a code of base/err.h; @m may be NULL.
 *
 * Threads: pread from one thread, pwrite_sync and create from others, at the same time, but never
 * two writes to overlapping ranges.
 */
#ifndef PAXFS_WAL_WAL_DEVICE_H
#define PAXFS_WAL_WAL_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"

#define WAL_DEVICE_NAME_MAX 32u  /* bytes of a file name, NUL included */
#define WAL_DEVICE_BLOCK_MAX 4096u
#define WAL_DEVICE_ALIGN    4096u /* of the memory given to pwrite_sync, for direct I/O */

struct wal_device;

/* An open file; the provider embeds it. */
struct wal_file {
	struct wal_device *device;
};

typedef void wal_device_each(void *ctx, const char *name, uint64_t size);

struct wal_device_ops {
	/* Every file, in any order. Files whose creation was interrupted are not there; those that
	 * are stay there, whatever happens. */
	int (*list)(struct wal_device *d, wal_device_each *each, void *ctx, struct msg *m);

	/* A process may have died in a write: what is read from the file is on disk once this
	 * returned, and not in some cache from which a power cut still takes it away. */
	int (*open)(struct wal_device *d, const char *name, struct wal_file **out, struct msg *m);

	/* A new file of @size zero bytes, written and not just allocated. Atomic: after a power cut
	 * it is there as a whole or not at all. ERR_NOSPACE leaves nothing behind. */
	int (*create)(struct wal_device *d, const char *name, uint64_t size,
		      struct wal_file **out, struct msg *m);
	void (*close)(struct wal_file *f); /* takes NULL */

	int (*pread)(struct wal_file *f, void *p, size_t len, uint64_t offset, struct msg *m);
	int (*pwrite_sync)(struct wal_file *f, const void *p, size_t len, uint64_t offset,
			   struct msg *m);
	int (*remove)(struct wal_device *d, const char *name, struct msg *m);
	uint64_t (*free_bytes)(struct wal_device *d); /* what create could still take */
	uint64_t (*random)(struct wal_device *d);     /* 64 bits that users cannot guess */
	void (*free)(struct wal_device *d);
};

struct wal_device {
	const struct wal_device_ops *ops;
	uint32_t block; /* alignment of writes: 512 .. WAL_DEVICE_BLOCK_MAX, a power of two */
};

/* The directory @path, which must exist. Uses direct I/O where the file system has it. */
int wal_device_dir(const char *path, struct wal_device **out, struct msg *m);

static inline void wal_device_free(struct wal_device *d)
{
	if (d != NULL)
		d->ops->free(d);
}

#endif
