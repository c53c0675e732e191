#include "net/hub.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

/* Flushing can close connections, whose handlers can send elsewhere: until the queue is empty. */
static void hub_flush(struct loop_ext *x)
{
	struct hub *h = container_of(x, struct hub, ext);
	struct hub_item *i;

	while ((i = TAILQ_FIRST(&h->dirty))) {
		hub_unqueue(h, i);
		i->flush(i);
	}
}

static bool hub_pending(struct loop_ext *x)
{
	return !TAILQ_EMPTY(&container_of(x, struct hub, ext)->dirty);
}

static void hub_release(struct loop_ext *x)
{
	struct hub *h = container_of(x, struct hub, ext);

	CHECK(TAILQ_EMPTY(&h->dirty));
	while (h->small_count)
		buf_release(&h->small[--h->small_count]);
	while (h->large_count)
		buf_release(&h->large[--h->large_count]);
	mem_free(h);
}

struct hub *hub_of(struct loop *l)
{
	struct loop_ext *x = loop__ext(l);
	struct hub *h;

	if (x)
		return container_of(x, struct hub, ext);
	h = mem_must_alloc(sizeof(*h));
	h->ext = (struct loop_ext){
		.flush = hub_flush, .pending = hub_pending, .release = hub_release};
	h->loop = l;
	TAILQ_INIT(&h->dirty);
	loop__set_ext(l, &h->ext);
	return h;
}

void hub_queue(struct hub *h, struct hub_item *i)
{
	if (i->queued)
		return;
	i->queued = true;
	TAILQ_INSERT_TAIL(&h->dirty, i, link);
}

void hub_unqueue(struct hub *h, struct hub_item *i)
{
	if (!i->queued)
		return;
	i->queued = false;
	TAILQ_REMOVE(&h->dirty, i, link);
}

int hub_buf_get(struct hub *h, size_t cap, struct buf *out)
{
	struct buf b = BUF_INIT;

	if (cap <= HUB_BUF_SIZE) {
		cap = HUB_BUF_SIZE;
		if (h->small_count)
			b = h->small[--h->small_count];
	} else if (h->large_count) {
		b = h->large[--h->large_count];
	}
	if (b.cap < cap) {
		/* Not buf_reserve(): that grows in steps, and copies. */
		uint8_t *data = mem_try_alloc(cap);

		buf_release(&b);
		if (!data)
			return ERR_NOMEM;
		b = (struct buf){.data = data, .cap = cap};
	}
	*out = b;
	return 0;
}

void hub_buf_put(struct hub *h, struct buf *b)
{
	buf_reset(b);
	if (b->cap == HUB_BUF_SIZE && h->small_count < HUB_SMALL_BUFS_MAX)
		h->small[h->small_count++] = *b;
	else if (b->cap > HUB_BUF_SIZE && b->cap <= HUB_LARGE_SIZE_MAX &&
		 h->large_count < HUB_LARGE_BUFS_MAX)
		h->large[h->large_count++] = *b;
	else
		buf_release(b);
	buf_init(b);
}
