/* Borrowed bytes: a pointer and a length. Owns nothing. */
#ifndef PAXFS_BASE_SLICE_H
#define PAXFS_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *p; /* may be NULL when len is 0 */
	size_t len;
};

static inline struct slice slice_of(const void *p, size_t len)
{
	return (struct slice){.p = p, .len = len};
}

static inline struct slice slice_str(const char *s)
{
	return (struct slice){.p = (const uint8_t *)s, .len = strlen(s)};
}

/* Byte order: a prefix sorts before what it is a prefix of. */
static inline int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	if (c != 0)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool slice_has_prefix(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

#endif
