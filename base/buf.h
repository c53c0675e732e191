/* A growable byte string that owns its memory.
 *
 * Appends never fail halfway: when memory runs out the buffer is marked `failed`, keeps what it
 * had, and ignores further appends; the writer checks buf_ok() once, at the end.
 */
#ifndef PAXFS_BASE_BUF_H
#define PAXFS_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
	uint8_t *data; /* owned; NULL while cap is 0 */
	size_t len;    /* bytes in use */
	size_t cap;
	bool failed;
};

#define BUF_INIT {0}

void buf_init(struct buf *b);    /* allocates nothing */
void buf_release(struct buf *b); /* frees the contents; the buffer is as after buf_init */
void buf_reset(struct buf *b);   /* len = 0, failed = false, keeps the memory */
int buf_reserve(struct buf *b, size_t more); /* 0 or ERR_NOMEM; room for @more bytes after len */
void buf_add(struct buf *b, const void *p, size_t len);
void buf_add_slice(struct buf *b, struct slice s);
void buf_add_zeros(struct buf *b, size_t len);
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_be16(struct buf *b, uint16_t v);
void buf_add_be32(struct buf *b, uint32_t v);
void buf_add_be64(struct buf *b, uint64_t v);
void buf_resize(struct buf *b, size_t len); /* cuts, or extends with zeros */
void buf_consume(struct buf *b, size_t len); /* drops @len bytes from the front */
void buf_move(struct buf *to, struct buf *from); /* releases @to, takes @from's memory */
int buf_set(struct buf *b, struct slice s); /* reset + add; 0 or ERR_NOMEM */
/* Ends the process, as mem_must_*() does, when it has failed: where there is no way to go on. */
void buf_must(const struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){.p = b->data, .len = b->len};
}

static inline bool buf_ok(const struct buf *b)
{
	return !b->failed;
}

#endif
