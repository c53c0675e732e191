/* The file system's backend over the routing client. */
#include "fs/fs_internal.h"
#include "kv/kv.h"

static void range(void *ctx, struct slice from, struct slice *end)
{
	kv_client_range(ctx, from, end);
}

static uint32_t group_of(void *ctx, struct slice key)
{
	return kv_layout_group_of(kv_client_layout(ctx), key);
}

static int watch(void *ctx, struct slice key, uint64_t version, uint64_t wait_ns, uint64_t *now)
{
	return kv_client_watch(ctx, key, version, wait_ns, now);
}

static bool session_lost(void *ctx)
{
	return kv_client_session_lost(ctx);
}

static int space(void *ctx, uint64_t *total, uint64_t *free)
{
	struct kv_space s;
	int err = kv_client_space(ctx, &s);

	if (!err) {
		*total = s.total;
		*free = s.free;
	}
	return err;
}

static int confirm(void *ctx)
{
	return kv_client_session_confirm(ctx);
}

static void session_changed(void *ctx, const struct kv_session_change *x)
{
	fs__session_changed(ctx, x->was, x->now, x->calls);
}

static void on_session(void *ctx, struct fs *fs)
{
	kv_client_on_session(ctx, fs ? session_changed : NULL, fs);
}

void fs_backend_kv(struct fs_backend *b, struct kv_client *c, struct env *env,
		   struct fiber_sched *fibers)
{
	*b = (struct fs_backend){.executor = kv_client_executor(c),
				 .range = range,
				 .group_of = group_of,
				 .watch = watch,
				 .confirm = confirm,
				 .on_session = on_session,
				 .space = space,
				 .session_lost = session_lost,
				 .ctx = c,
				 .env = env,
				 .fibers = fibers,
				 .session = kv_client_id(c)};
}
