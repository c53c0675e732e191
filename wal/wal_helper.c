/* The helper: creates segments, writes their headers, reads those that are to be rewritten. So
 * neither an append nor a batch on its way to disk waits for any of it. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "wal/wal_internal.h"

static struct wal_header header_of(struct wal *w, const struct wal_segment *s)
{
	uint64_t synced = atomic_load(&w->synced);
	struct wal_header h = {
		.generation = s->generation,
		.salt = s->salt,
		.number = s->number,
		.size = w->segment_size,
		.block = s->block,
		.synced = synced >= w->number_first ? synced : w->number_found,
		.used = w->number_next - 1,
	};

	if (w->active != NULL) {
		h.active_number = w->active->number;
		h.active_generation = w->active->durable;
	}
	return h;
}

/* Writes the header of the segment's generation into the slot that does not hold the present one:
 * torn, it leaves the segment with its old generation. */
static int header_write(struct wal *w, struct wal_segment *s, struct msg *m)
{
	uint8_t *bytes = aligned_alloc(WAL_DEVICE_ALIGN, WAL_HEADER_SLOT);
	struct wal_header h;
	uint32_t slot;
	int err;

	if (bytes == NULL)
		return ERR_NOMEM;
	wal__lock(w);
	h = header_of(w, s);
	slot = s->durable > 0 ? 1 - s->slot : 0;
	wal__unlock(w);
	wal__header_put(bytes, &h);
	FAILPOINT_IF(s->durable > 0, log_header_before);
	err = w->device->ops->pwrite_sync(s->file, bytes, WAL_HEADER_SLOT,
					  (uint64_t)slot * WAL_HEADER_SLOT, m);
	free(bytes);
	if (err != 0)
		return err;
	FAILPOINT_IF(s->durable > 0, log_header_after);
	wal__lock(w);
	s->slot = slot;
	s->durable = h.generation;
	wal__unlock(w);
	return 0;
}

int wal__prepare(struct wal *w, struct wal_segment *s, struct msg *m)
{
	char name[WAL_DEVICE_NAME_MAX];
	struct wal_file *file = NULL;
	int err = 0;

	wal__segment_name(name, s->number);
	if (s->file == NULL) {
		FAILPOINT(log_create_before);
		err = w->device->ops->create(w->device, name, w->segment_size, &file, m);
		FAILPOINT(log_create_after);
		if (err != 0)
			return msg_wrap(m, err, "create log segment %s", name);
		wal__lock(w);
		s->file = file;
		wal__unlock(w);
	}
	err = header_write(w, s, m);
	return err != 0 ? msg_wrap(m, err, "write the header of log segment %s", name) : 0;
}

void wal__job_add(struct wal *w, struct wal_segment *s)
{
	CHECK(!s->queued);
	s->queued = true;
	TAILQ_INSERT_TAIL(&w->jobs, s, job);
	if (w->threads)
		pthread_cond_signal(&w->jobs_ready);
}

/* File numbers have no gaps: a file that is missing at a start is a lost one. */
static bool is_its_turn(struct wal *w, const struct wal_segment *s)
{
	bool yes;

	wal__lock(w);
	yes = s->number == 1 || w->segments[s->number - 2]->file != NULL;
	wal__unlock(w);
	return yes;
}

static void created(struct wal *w, bool creates, bool ok)
{
	if (!creates)
		return;
	wal__lock(w);
	w->create_failed = !ok;
	w->create_failed_ns = wal__now_ns();
	wal__unlock(w);
}

/* A file that cannot be created is an operating error: the log has room no more. A header that
 * cannot be written is a failed write, and fatal like any. */
static void prepare_or_fail(struct wal *w, struct wal_segment *s)
{
	bool creates = s->file == NULL;
	struct msg m = {{0}};
	int err = ERR_NOSPACE;

	if (is_its_turn(w, s))
		err = wal__prepare(w, s, &m);
	if (err == 0) {
		created(w, creates, true);
		return;
	}
	if (s->file != NULL)
		logger_die("%s", m.text);
	if (m.text[0] != '\0')
		log_error("%s", m.text);
	created(w, creates, false);
	wal__lock(w);
	s->failed = true;
	wal__unlock(w);
}

/* Under lock, which is released meanwhile. */
static void job_run(struct wal *w)
{
	struct wal_segment *s = TAILQ_FIRST(&w->jobs);
	bool load = s->load;

	TAILQ_REMOVE(&w->jobs, s, job);
	wal__unlock(w);
	if (load)
		wal__rewrite_load(w, s);
	else
		prepare_or_fail(w, s);
	wal__lock(w);
	s->load = false;
	s->queued = false;
	pthread_cond_signal(&w->prepared);
}

void wal__jobs_run(struct wal *w)
{
	wal__lock(w);
	while (!TAILQ_EMPTY(&w->jobs))
		job_run(w);
	wal__unlock(w);
}

static void *helper_main(void *arg)
{
	struct wal *w = arg;

	wal__lock(w);
	while (!w->stop_helper) {
		if (TAILQ_EMPTY(&w->jobs))
			pthread_cond_wait(&w->jobs_ready, &w->lock);
		else
			job_run(w);
	}
	wal__unlock(w);
	return NULL;
}

int wal__helper_start(struct wal *w, struct msg *m)
{
	if (pthread_create(&w->helper, NULL, helper_main, w) != 0)
		return msg_set(m, ERR_NOMEM, "start the log's helper thread");
	return 0;
}

void wal__helper_stop(struct wal *w)
{
	wal__lock(w);
	w->stop_helper = true;
	pthread_cond_signal(&w->jobs_ready);
	wal__unlock(w);
	pthread_join(w->helper, NULL);
}
