/* Wake-ups from other threads, readable descriptors, signals: each a uv handle that outlives its
 * free function until the loop has closed it. */
#include <uv.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/loop_private.h"

static void free_data(uv_handle_t *h)
{
	mem_free(h->data);
}

/* ---- async ---- */

struct loop_async {
	uv_async_t uv;
	void (*fn)(void *ctx);
	void *ctx;
};

static void on_async(uv_async_t *h)
{
	struct loop_async *a = h->data;

	if (!uv_is_closing((uv_handle_t *)h))
		a->fn(a->ctx);
}

int loop_async_new(struct loop *l, void (*fn)(void *ctx), void *ctx, struct loop_async **out)
{
	struct loop_async *a = mem_must_alloc(sizeof(*a));
	int status = uv_async_init(loop__uv(l), &a->uv, on_async);

	if (status) {
		mem_free(a);
		return err_from_errno(-status);
	}
	a->uv.data = a;
	a->fn = fn;
	a->ctx = ctx;
	*out = a;
	return 0;
}

void loop_async_send(struct loop_async *a)
{
	CHECK(uv_async_send(&a->uv) == 0);
}

void loop_async_free(struct loop_async *a)
{
	if (a)
		uv_close((uv_handle_t *)&a->uv, free_data);
}

/* ---- poll ---- */

struct loop_poll {
	uv_poll_t uv;
	void (*fn)(void *ctx);
	void *ctx;
};

/* An error condition on the descriptor is for the reader to find: its read will fail. uv has
 * stopped polling then. */
static void on_poll(uv_poll_t *h, int status, int events)
{
	struct loop_poll *p = h->data;

	(void)status;
	(void)events;
	p->fn(p->ctx);
}

int loop_poll_new(struct loop *l, int fd, void (*fn)(void *ctx), void *ctx, struct loop_poll **out)
{
	struct loop_poll *p = mem_must_alloc(sizeof(*p));
	int status = uv_poll_init(loop__uv(l), &p->uv, fd);

	if (status) {
		mem_free(p);
		return err_from_errno(-status);
	}
	p->uv.data = p;
	p->fn = fn;
	p->ctx = ctx;
	CHECK(uv_poll_start(&p->uv, UV_READABLE, on_poll) == 0);
	*out = p;
	return 0;
}

void loop_poll_free(struct loop_poll *p)
{
	if (p)
		uv_close((uv_handle_t *)&p->uv, free_data);
}

/* ---- signal ---- */

struct loop_signal {
	uv_signal_t uv;
	void (*fn)(void *ctx, int signum);
	void *ctx;
};

static void on_signal(uv_signal_t *h, int signum)
{
	struct loop_signal *s = h->data;

	s->fn(s->ctx, signum);
}

int loop_signal_new(struct loop *l, int signum, void (*fn)(void *ctx, int signum), void *ctx,
		    struct loop_signal **out)
{
	struct loop_signal *s = mem_must_alloc(sizeof(*s));
	int status = uv_signal_init(loop__uv(l), &s->uv);

	if (status) {
		mem_free(s);
		return err_from_errno(-status);
	}
	s->uv.data = s;
	s->fn = fn;
	s->ctx = ctx;
	status = uv_signal_start(&s->uv, on_signal, signum);
	if (status) {
		uv_close((uv_handle_t *)&s->uv, free_data);
		return err_from_errno(-status);
	}
	*out = s;
	return 0;
}

void loop_signal_free(struct loop_signal *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->uv, free_data);
}
