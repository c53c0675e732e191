/* A thread that runs jobs in order, and gives each back to the loop. A wake-up is paid only when the
 * other side had nothing to do. */
#ifndef PAXFS_KV_NODE_WORKER_H
#define PAXFS_KV_NODE_WORKER_H

#include "base/list.h"
#include "net/loop.h"

struct kv_work { /* embedded in the job; owned by the worker from push until done is called */
	void (*run)(struct kv_work *w);	 /* on the worker's thread */
	void (*done)(struct kv_work *w); /* on the loop; may free it */
	STAILQ_ENTRY(kv_work) link;
};

STAILQ_HEAD(kv_work_list, kv_work);

struct kv_worker;

int kv_worker_new(struct loop *l, const char *name, struct kv_worker **out); /* ERR_NOMEM, ERR_IO */
void kv_worker_push(struct kv_worker *w, struct kv_work *job);		     /* loop thread */
size_t kv_worker_pending(const struct kv_worker *w); /* pushed and not done; loop thread */

/* Runs what was pushed, ends the thread, calls what is left of done. Loop thread; takes NULL. */
void kv_worker_free(struct kv_worker *w);

#endif
