/* Dropping the kernel's cached pages of an inode.
 *
 * notify_inval_inode waits for pages that are being read, whose READs this mount's loop must answer
 * meanwhile: so it is called from a thread of its own, while the fiber that wants it is parked.
 */
#include "base/err.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

struct inval_item {
	fs_ino ino;
	struct fiber *fiber;
	bool done;
	STAILQ_ENTRY(inval_item) link;
};
STAILQ_HEAD(inval_queue, inval_item);

struct mount_inval {
	struct mount *mount;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct inval_queue todo, finished; /* guarded by lock */
	bool stop;
	struct loop_async *async;
};

static void *inval_main(void *arg)
{
	struct mount_inval *iv = arg;
	struct inval_item *it;

	pthread_mutex_lock(&iv->lock);
	for (;;) {
		while (STAILQ_EMPTY(&iv->todo) && !iv->stop)
			pthread_cond_wait(&iv->wake, &iv->lock);
		it = STAILQ_FIRST(&iv->todo);
		if (!it)
			break;
		STAILQ_REMOVE_HEAD(&iv->todo, link);
		pthread_mutex_unlock(&iv->lock);
		/* ENOENT: the kernel does not know the inode (any more): nothing is cached */
		(void)fuse_lowlevel_notify_inval_inode(iv->mount->session, it->ino, 0, 0);
		pthread_mutex_lock(&iv->lock);
		STAILQ_INSERT_TAIL(&iv->finished, it, link);
		loop_async_send(iv->async);
	}
	pthread_mutex_unlock(&iv->lock);
	return NULL;
}

static void on_finished(void *ctx)
{
	struct mount_inval *iv = ctx;
	struct inval_queue done = STAILQ_HEAD_INITIALIZER(done);
	struct inval_item *it, *next;

	pthread_mutex_lock(&iv->lock);
	STAILQ_CONCAT(&done, &iv->finished);
	pthread_mutex_unlock(&iv->lock);
	STAILQ_FOREACH_SAFE(it, &done, link, next) { /* items live on their fibers' stacks */
		it->done = true;
		fiber_wake(it->fiber);
	}
}

void mount__inval_data(struct mount_inval *iv, fs_ino ino)
{
	struct inval_item it = {.ino = ino, .fiber = fiber_self()};

	pthread_mutex_lock(&iv->lock);
	STAILQ_INSERT_TAIL(&iv->todo, &it, link);
	pthread_cond_signal(&iv->wake);
	pthread_mutex_unlock(&iv->lock);
	while (!it.done)
		fiber_park();
}

int mount__inval_new(struct mount *mt, struct mount_inval **out)
{
	struct mount_inval *iv = mem_must_alloc(sizeof(*iv));
	int err;

	iv->mount = mt;
	STAILQ_INIT(&iv->todo);
	STAILQ_INIT(&iv->finished);
	pthread_mutex_init(&iv->lock, NULL);
	pthread_cond_init(&iv->wake, NULL);
	err = loop_async_new(mt->loop, on_finished, iv, &iv->async);
	if (!err && pthread_create(&iv->thread, NULL, inval_main, iv) != 0) {
		loop_async_free(iv->async);
		err = ERR_NOMEM;
	}
	if (err) {
		mem_free(iv);
		return err;
	}
	*out = iv;
	return 0;
}

void mount__inval_free(struct mount_inval *iv)
{
	if (!iv)
		return;
	pthread_mutex_lock(&iv->lock);
	iv->stop = true;
	pthread_cond_signal(&iv->wake);
	pthread_mutex_unlock(&iv->lock);
	pthread_join(iv->thread, NULL);
	loop_async_free(iv->async);
	pthread_mutex_destroy(&iv->lock);
	pthread_cond_destroy(&iv->wake);
	mem_free(iv);
}
