/* Watching a key of the fixture's store: every execution that may have written wakes those who wait, and
 * each looks whether it was its key. */
#include "base/err.h"
#include "fs/format.h"
#include "tests/lib/fs_fixture.h"

struct fsx_watcher {
	struct env_timer timer;
	struct fiber *fiber;
	bool fired;
	LIST_ENTRY(fsx_watcher) link;
};

static void on_time(struct env_timer *t)
{
	struct fsx_watcher *w = container_of(t, struct fsx_watcher, timer);

	w->fired = true;
	fiber_wake(w->fiber);
}

static uint64_t version_of(struct fsx *x, struct slice key)
{
	const struct fsx_rec *r = fsx_find(x, key);

	return r ? r->version : 0;
}

/* What mounts do all the time, or until another one has moved: the keys of fs/README.md, "Orphans". */
static bool is_idle(struct slice key)
{
	struct fs_key_parts p;

	return fs__key_parse(key, &p) && p.number == FS_ROOT_INO &&
	       (p.kind == FS_KIND_QUEUE || p.kind == FS_KIND_MOUNT);
}

int fsx_watch(struct fsx *x, struct slice key, uint64_t version, uint64_t wait_ns, uint64_t *now)
{
	struct fsx_watcher w = {.timer = {.fire = on_time}, .fiber = fiber_self()};
	int err = 0;

	x->watches++;
	env_timer_set(&x->env, &w.timer,
		      wait_ns < UINT64_MAX - x->now_ns ? x->now_ns + wait_ns : UINT64_MAX);
	LIST_INSERT_HEAD(&x->watchers, &w, link);
	x->idle += is_idle(key);
	while (!err && (*now = version_of(x, key)) == version) {
		if (w.fired)
			err = ERR_TIMEOUT;
		else if (fiber_interrupted())
			err = ERR_INTERRUPTED;
		else
			fiber_park();
	}
	LIST_REMOVE(&w, link);
	x->idle -= is_idle(key);
	env_timer_cancel(&x->env, &w.timer);
	return err;
}

void fsx_wake(struct fsx *x)
{
	struct fsx_watcher *w;

	LIST_FOREACH(w, &x->watchers, link)
		fiber_wake(w->fiber);
}
