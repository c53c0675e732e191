/* Dropping the kernel's cached pages of an inode; and whatever else waits for the kernel while it may
 * wait for this mount (mount_forget.c).
 *
 * notify_inval_inode waits for pages that are being read or written back, whose READs and WRITEs this
 * mount's loop must answer meanwhile: so it is called from threads of their own, while the fiber that
 * wants it is parked. It can take as long as such a request does (a majority may be down): a thread for
 * each inode that is waited for, so that none waits for another's, and a fiber that is interrupted
 * leaves.
 *
 * Never before the answer to a SETATTR: while the kernel truncates it sends no WRITE of that inode
 * (FUSE_NOWRITE), and a dirty page of it would be waited for until the answer that waits for us.
 */
#include "base/err.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

#define THREADS_MAX 64u

struct inval_item {
	fs_ino ino;
	struct fiber *fiber; /* NULL: it left */
	bool done;	     /* then the fiber frees it, else on_finished */
	void (*work)(void *ctx); /* instead of dropping pages; then nobody waits */
	void (*tell)(void *ctx);
	void *ctx;
	STAILQ_ENTRY(inval_item) link;
};
STAILQ_HEAD(inval_queue, inval_item);

struct mount_inval {
	struct mount *mount;
	pthread_t threads[THREADS_MAX];
	unsigned thread_count; /* of the loop's thread */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct inval_queue todo, finished; /* guarded by lock, as what follows */
	unsigned idle, running, todo_count;
	bool stop;
	struct loop_async *async;
};

static void *inval_main(void *arg)
{
	struct mount_inval *iv = arg;
	struct inval_item *it;

	pthread_mutex_lock(&iv->lock);
	for (;;) {
		iv->idle++;
		while (STAILQ_EMPTY(&iv->todo) && !iv->stop)
			pthread_cond_wait(&iv->wake, &iv->lock);
		iv->idle--;
		it = STAILQ_FIRST(&iv->todo);
		if (!it)
			break;
		STAILQ_REMOVE_HEAD(&iv->todo, link);
		iv->todo_count--;
		iv->running++;
		pthread_mutex_unlock(&iv->lock);
		/* ENOENT: the kernel does not know the inode (any more): nothing is cached */
		if (it->work)
			it->work(it->ctx);
		else
			(void)fuse_lowlevel_notify_inval_inode(iv->mount->session, it->ino, 0, 0);
		pthread_mutex_lock(&iv->lock);
		iv->running--;
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
	STAILQ_FOREACH_SAFE(it, &done, link, next) {
		if (it->tell)
			it->tell(it->ctx);
		if (!it->fiber) {
			mem_free(it);
			continue;
		}
		it->done = true;
		fiber_wake(it->fiber);
	}
}

/* One more thread when all have something to do. Without one the item waits for those that are there. */
static void hand_over(struct mount_inval *iv, struct inval_item *it)
{
	bool more;

	pthread_mutex_lock(&iv->lock);
	STAILQ_INSERT_TAIL(&iv->todo, it, link);
	iv->todo_count++;
	more = iv->idle < iv->todo_count;
	pthread_cond_signal(&iv->wake);
	pthread_mutex_unlock(&iv->lock);
	if (more && iv->thread_count < THREADS_MAX &&
	    pthread_create(&iv->threads[iv->thread_count], NULL, inval_main, iv) == 0)
		iv->thread_count++;
}

int mount__inval_data(struct mount_inval *iv, fs_ino ino)
{
	struct inval_item *it = mem_must_alloc(sizeof(*it));

	*it = (struct inval_item){.ino = ino, .fiber = fiber_self()};
	hand_over(iv, it);
	while (!it->done && !fiber_interrupted())
		fiber_park();
	if (!it->done) {
		it->fiber = NULL;
		return ERR_INTERRUPTED;
	}
	mem_free(it);
	return 0;
}

void mount__inval_run(struct mount_inval *iv, void (*work)(void *ctx), void (*done)(void *ctx),
		      void *ctx)
{
	struct inval_item *it = mem_must_alloc(sizeof(*it));

	*it = (struct inval_item){.work = work, .tell = done, .ctx = ctx};
	hand_over(iv, it);
}

bool mount__inval_busy(struct mount_inval *iv)
{
	bool busy;

	if (!iv)
		return false;
	pthread_mutex_lock(&iv->lock);
	busy = iv->running > 0 || iv->todo_count > 0;
	pthread_mutex_unlock(&iv->lock);
	return busy;
}

int mount__inval_new(struct mount *mt, struct mount_inval **out)
{
	struct mount_inval *iv = mem_must_alloc(sizeof(*iv));
	int err;

	*iv = (struct mount_inval){.mount = mt};
	STAILQ_INIT(&iv->todo);
	STAILQ_INIT(&iv->finished);
	pthread_mutex_init(&iv->lock, NULL);
	pthread_cond_init(&iv->wake, NULL);
	err = loop_async_new(mt->loop, on_finished, iv, &iv->async);
	if (!err && pthread_create(&iv->threads[0], NULL, inval_main, iv) != 0) {
		loop_async_free(iv->async);
		err = ERR_NOMEM;
	}
	if (err) {
		mem_free(iv);
		return err;
	}
	iv->thread_count = 1;
	*out = iv;
	return 0;
}

void mount__inval_free(struct mount_inval *iv)
{
	struct inval_item *it;

	if (!iv)
		return;
	pthread_mutex_lock(&iv->lock);
	iv->stop = true;
	pthread_cond_broadcast(&iv->wake);
	pthread_mutex_unlock(&iv->lock);
	for (unsigned i = 0; i < iv->thread_count; i++)
		pthread_join(iv->threads[i], NULL);
	while ((it = STAILQ_FIRST(&iv->finished)) != NULL) { /* their fibers have left */
		STAILQ_REMOVE_HEAD(&iv->finished, link);
		mem_free(it);
	}
	loop_async_free(iv->async);
	pthread_mutex_destroy(&iv->lock);
	pthread_cond_destroy(&iv->wake);
	mem_free(iv);
}
