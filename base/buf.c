#include "base/buf.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"

#define BUF_CAP_MIN 64u

void buf_init(struct buf *b)
{
	*b = (struct buf)BUF_INIT;
}

void buf_release(struct buf *b)
{
	mem_free(b->data);
	buf_init(b);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

/* At least @need, by a factor that keeps appends O(1) amortised. */
static size_t grown_cap(size_t cap, size_t need)
{
	if (cap < BUF_CAP_MIN)
		cap = BUF_CAP_MIN;
	while (cap < need)
		cap += cap / 2; /* does not wrap: need <= PTRDIFF_MAX */
	return cap;
}

int buf_reserve(struct buf *b, size_t more)
{
	uint8_t *data;
	size_t cap;

	if (more <= b->cap - b->len)
		return 0;
	if (more > (size_t)PTRDIFF_MAX - b->len) /* no object is larger */
		return ERR_NOMEM;
	cap = grown_cap(b->cap, b->len + more);
	data = mem_try_realloc(b->data, cap);
	if (data == NULL)
		return ERR_NOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

/* Where @len more bytes go, already counted in; NULL when the buffer has failed. */
static uint8_t *buf_extend(struct buf *b, size_t len)
{
	uint8_t *at;

	if (b->failed)
		return NULL;
	if (buf_reserve(b, len) != 0) {
		b->failed = true;
		return NULL;
	}
	at = b->data + b->len;
	b->len += len;
	return at;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
	uint8_t *at;

	if (len == 0)
		return;
	at = buf_extend(b, len);
	if (at != NULL)
		memcpy(at, p, len);
}

void buf_add_slice(struct buf *b, struct slice s)
{
	buf_add(b, s.p, s.len);
}

void buf_add_zeros(struct buf *b, size_t len)
{
	uint8_t *at;

	if (len == 0)
		return;
	at = buf_extend(b, len);
	if (at != NULL)
		memset(at, 0, len);
}

void buf_add_u8(struct buf *b, uint8_t v)
{
	uint8_t *at = buf_extend(b, sizeof(v));

	if (at != NULL)
		*at = v;
}

void buf_add_be16(struct buf *b, uint16_t v)
{
	uint8_t *at = buf_extend(b, sizeof(v));

	if (at != NULL)
		be16_put(at, v);
}

void buf_add_be32(struct buf *b, uint32_t v)
{
	uint8_t *at = buf_extend(b, sizeof(v));

	if (at != NULL)
		be32_put(at, v);
}

void buf_add_be64(struct buf *b, uint64_t v)
{
	uint8_t *at = buf_extend(b, sizeof(v));

	if (at != NULL)
		be64_put(at, v);
}

void buf_resize(struct buf *b, size_t len)
{
	if (len <= b->len)
		b->len = len;
	else
		buf_add_zeros(b, len - b->len);
}

void buf_consume(struct buf *b, size_t len)
{
	if (len >= b->len) {
		b->len = 0;
		return;
	}
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
}

void buf_move(struct buf *to, struct buf *from)
{
	if (to == from)
		return;
	mem_free(to->data);
	*to = *from;
	buf_init(from);
}

int buf_set(struct buf *b, struct slice s)
{
	buf_reset(b);
	buf_add_slice(b, s);
	return b->failed ? ERR_NOMEM : 0;
}

void buf_must(const struct buf *b)
{
	if (b->failed)
		logger_die("out of memory: a buffer of more than %zu bytes", b->len);
}
