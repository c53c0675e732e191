/* The writer: takes the units that were submitted, writes and syncs them one after another. */
#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/logger.h"
#include "wal/wal_internal.h"

/* The header of @s with @generation is on disk when this returns. */
static void wait_prepared(struct wal *w, struct wal_segment *s)
{
	struct msg m = {{0}};
	bool ready;

	if (!w->threads)
		wal__jobs_run(w);
	wal__lock(w);
	while (s->queued)
		pthread_cond_wait(&w->prepared, &w->lock);
	ready = s->durable == s->generation;
	wal__unlock(w);
	if (!ready && wal__prepare(w, s, &m) != 0)
		logger_die("%s", m.text);
}

static uint64_t unit_finish(const struct wal_fill *f, const struct wal_unit *u)
{
	uint8_t *bytes = f->data + u->start;
	uint64_t records = 0;

	for (uint32_t at = 0; at < u->used;) {
		uint32_t size = wal__record_size(wal__record_length(bytes + at));

		wal__record_finish(bytes + at, u->salt, at + size == u->used);
		at += size;
		records++;
	}
	return records;
}

static void stats_add(struct wal *w, const struct wal_unit *u, uint64_t records, uint64_t ns)
{
	wal__lock(w);
	w->stats.batches++;
	w->stats.syncs++;
	w->stats.records += records;
	w->stats.bytes += u->len;
	w->stats.sync_ns_last = ns;
	w->stats.sync_ns_max = wal__max(w->stats.sync_ns_max, ns);
	wal__unlock(w);
}

static void unit_write(struct wal *w, const struct wal_fill *f, const struct wal_unit *u)
{
	struct msg m = {{0}};
	uint64_t records, start, end;
	int err;

	wait_prepared(w, u->segment);
	if (u->next != NULL)
		wait_prepared(w, u->next);
	records = unit_finish(f, u);
	start = wal__now_ns();
	atomic_store(&w->write_since_ns, start);
	err = FAILPOINT_ERROR(log_before_write, ERR_IO);
	if (err == 0)
		err = w->device->ops->pwrite_sync(u->segment->file, f->data + u->start, u->len,
						  u->offset, &m);
	if (err != 0)
		logger_die("log segment %08" PRIu32 ".wal: write of %" PRIu32
			   " bytes at %" PRIu32 " failed: %s: %s",
			   u->segment->number, u->len, u->offset, err_text(err), m.text);
	FAILPOINT(log_after_write);
	end = wal__now_ns();
	atomic_store(&w->write_since_ns, 0);
	CHECK(u->number > atomic_load(&w->synced));
	stats_add(w, u, records, end - start);
	atomic_store(&w->synced, u->number);
	if (w->on_synced != NULL)
		w->on_synced(w->ctx);
	FAILPOINT(log_after_told);
}

/* Under lock, which is released while writing. */
static void take_and_write(struct wal *w)
{
	struct wal_fill taken;

	CHECK(w->flight.count == 0);
	wal__close_unit(w);
	taken = w->fill;
	w->fill = w->flight;
	w->flight = taken;
	w->submitted = false;
	w->writing = true;
	wal__unlock(w);
	for (size_t i = 0; i < taken.count; i++)
		unit_write(w, &taken, &taken.units[i]);
	wal__lock(w);
	wal__fill_reset(&w->flight);
	w->writing = false;
}

void wal__write_submitted(struct wal *w)
{
	wal__lock(w);
	while (w->submitted && !w->writing)
		take_and_write(w);
	wal__unlock(w);
}

static void *writer_main(void *arg)
{
	struct wal *w = arg;

	wal__lock(w);
	while (!w->stop || w->submitted) {
		if (w->submitted) {
			take_and_write(w);
			continue;
		}
		w->writer_waits = true;
		pthread_cond_wait(&w->work, &w->lock);
		w->writer_waits = false;
	}
	wal__unlock(w);
	return NULL;
}

int wal__writer_start(struct wal *w, struct msg *m)
{
	if (pthread_create(&w->writer, NULL, writer_main, w) != 0)
		return msg_set(m, ERR_NOMEM, "start the log's writer thread");
	return 0;
}

void wal__writer_stop(struct wal *w)
{
	wal__lock(w);
	w->stop = true;
	pthread_cond_signal(&w->work);
	wal__unlock(w);
	pthread_join(w->writer, NULL);
}
