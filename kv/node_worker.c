#include "kv/node_worker.h"

#include <pthread.h>
#include <signal.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

struct kv_worker {
	struct loop_async *async;
	size_t pending; /* loop's */
	pthread_t thread;
	pthread_mutex_t mutex; /* for all below */
	pthread_cond_t wake;
	struct kv_work_list todo, finished;
	bool sleeping, stopping;
};

static void finish(struct kv_worker *w, struct kv_work *job)
{
	bool was_empty;

	pthread_mutex_lock(&w->mutex);
	was_empty = STAILQ_EMPTY(&w->finished);
	STAILQ_INSERT_TAIL(&w->finished, job, link);
	pthread_mutex_unlock(&w->mutex);
	if (was_empty)
		loop_async_send(w->async);
}

/* Everything that waits; sleeps until there is something. Empty: the end. */
static void take_all(struct kv_worker *w, struct kv_work_list *out)
{
	pthread_mutex_lock(&w->mutex);
	while (STAILQ_EMPTY(&w->todo) && !w->stopping) {
		w->sleeping = true;
		pthread_cond_wait(&w->wake, &w->mutex);
		w->sleeping = false;
	}
	STAILQ_CONCAT(out, &w->todo);
	pthread_mutex_unlock(&w->mutex);
}

static void *worker_main(void *arg)
{
	struct kv_worker *w = arg;
	struct kv_work_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
	struct kv_work *job;

	for (;;) {
		take_all(w, &jobs);
		if (STAILQ_EMPTY(&jobs))
			return NULL;
		while ((job = STAILQ_FIRST(&jobs)) != NULL) {
			STAILQ_REMOVE_HEAD(&jobs, link);
			job->run(job);
			finish(w, job);
		}
	}
}

static void deliver(void *ctx)
{
	struct kv_worker *w = ctx;
	struct kv_work_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
	struct kv_work *job;

	pthread_mutex_lock(&w->mutex);
	STAILQ_CONCAT(&jobs, &w->finished);
	pthread_mutex_unlock(&w->mutex);
	while ((job = STAILQ_FIRST(&jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&jobs, link);
		CHECK(w->pending > 0);
		w->pending--;
		job->done(job);
	}
}

/* Signals are for the loop's thread. */
static int start_thread(struct kv_worker *w, const char *name)
{
	sigset_t all, before;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return err_from_errno(failed);
	pthread_setname_np(w->thread, name);
	return 0;
}

int kv_worker_new(struct loop *l, const char *name, struct kv_worker **out)
{
	struct kv_worker *w = mem_must_alloc(sizeof(*w));
	int err;

	STAILQ_INIT(&w->todo);
	STAILQ_INIT(&w->finished);
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->wake, NULL);
	err = loop_async_new(l, deliver, w, &w->async);
	if (!err) {
		err = start_thread(w, name);
		if (err)
			loop_async_free(w->async);
	}
	if (err) {
		pthread_cond_destroy(&w->wake);
		pthread_mutex_destroy(&w->mutex);
		mem_free(w);
		return err;
	}
	*out = w;
	return 0;
}

void kv_worker_push(struct kv_worker *w, struct kv_work *job)
{
	bool wake;

	w->pending++;
	pthread_mutex_lock(&w->mutex);
	CHECK(!w->stopping);
	STAILQ_INSERT_TAIL(&w->todo, job, link);
	wake = w->sleeping;
	pthread_mutex_unlock(&w->mutex);
	if (wake)
		pthread_cond_signal(&w->wake);
}

size_t kv_worker_pending(const struct kv_worker *w)
{
	return w->pending;
}

void kv_worker_free(struct kv_worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->mutex);
	w->stopping = true;
	pthread_mutex_unlock(&w->mutex);
	pthread_cond_signal(&w->wake);
	pthread_join(w->thread, NULL);
	deliver(w);
	loop_async_free(w->async);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->mutex);
	mem_free(w);
}
