/* Shared inside wal/: the log's state, and who may touch what.
 *
 * "owner": only the thread that calls the API. "lock": under w->lock. "helper": the thread that
 * prepares segments. With inline_io the owner is all of them. Every record gets its place when it
 * is appended, by the owner; the writer only carries units to where they belong.
 */
#ifndef PAXFS_WAL_WAL_INTERNAL_H
#define PAXFS_WAL_WAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "wal/wal.h"
#include "wal/wal_device.h"
#include "wal/wal_format.h"
#include "wal/wal_index.h"

#define WAL_SEGMENT_SIZE_DEFAULT (16u * 1024u * 1024u)
#define WAL_SEGMENT_SIZE_MIN	 (20u * 1024u)
#define WAL_SEGMENT_SIZE_LIMIT	 (1u << 30)
#define WAL_FILES_MAX		 65536u
#define WAL_NUMBER_JUMP		 (1u << 20) /* batches that a crash may lose unseen */

/*          wal__space_next          wal__roll                 wal__roll
 *  (free) -----------------> SPARE -----------> ACTIVE ------------------> SEALED
 *     ^    new generation            SEAL in the one before       SEAL in it     |
 *     `--------------------------------------------------------------------------'
 *               no live record, and batch free_after is on disk
 *
 * Independent of that, the helper (or, when it failed, the writer) makes the header with the
 * segment's generation durable; no record is written to it before, nor a SEAL that names it.
 */
enum wal_role {
	WAL_SEALED, /* free when nothing in it is live */
	WAL_SPARE,
	WAL_ACTIVE,
};

struct wal_segment {
	uint32_t number; /* of the file: 1, 2, ... */
	enum wal_role role; /* owner */

	/* lock */
	uint64_t generation;
	uint32_t salt;
	uint32_t block;
	uint64_t durable; /* generation of its newest header on disk; 0: the file may not exist */
	bool queued;	  /* the helper has it */
	bool failed;	  /* the helper could not prepare it */
	bool load;	  /* the helper's job is to read it, not to prepare it */
	struct wal_file *file; /* constant once set */
	TAILQ_ENTRY(wal_segment) job;

	uint32_t slot; /* header slot of `durable`; whoever prepares it */

	/* owner */
	uint64_t live_count, live_bytes;
	uint64_t free_after;
	bool unreadable; /* could not be read for rewriting */
};

TAILQ_HEAD(wal_jobs, wal_segment);

/* What is written and synced as one: the batch of the format. Lies within one segment. */
struct wal_unit {
	uint64_t number;
	struct wal_segment *segment;
	struct wal_segment *next; /* named by the SEAL in this unit; or NULL */
	uint64_t generation;	  /* of the segment, */
	uint32_t salt;		  /* copied: the segment may be reused while this is in memory */
	uint32_t offset;	  /* in the segment */
	uint32_t used;		  /* bytes of records */
	uint32_t len;		  /* bytes; up to a multiple of the block once closed */
	size_t start;		  /* in the buffer */
};

/* Units that wait, or are being written. */
struct wal_fill {
	uint8_t *data; /* aligned to WAL_DEVICE_ALIGN */
	size_t len, cap;
	struct wal_unit *units;
	size_t count, units_cap;
};

enum wal_load { WAL_LOAD_IDLE, WAL_LOAD_RUNNING, WAL_LOAD_DONE, WAL_LOAD_FAILED };

struct wal {
	struct wal_device *device;
	uint32_t segment_size;
	uint32_t unit_max; /* bytes; a unit with one record may be longer */
	uint64_t size_max;
	bool inline_io;
	void (*on_synced)(void *ctx);
	uint64_t (*spared)(void *ctx);
	void *ctx;

	/* owner */
	struct wal_index index;
	struct wal_segment **segments; /* by file number - 1 */
	uint32_t segment_count, segment_cap;
	struct wal_segment *spare;  /* next active one; NULL when there is no room for it */
	struct wal_segment *victim; /* being rewritten; or NULL */
	bool look;		    /* for a victim */
	uint64_t generation_last;
	uint64_t run; /* generation of the first segment of this start */
	uint64_t cause; /* batch of the record that is being indexed */
	uint64_t live_bytes;
	uint64_t free_bytes, free_bytes_at_ns; /* of the device, as of then */
	uint64_t number_first;	/* of this run: constant after recovery, as is ... */
	uint64_t number_found;	/* ... the last batch that recovery saw on disk */
	struct buf scratch;

	pthread_mutex_t lock;
	pthread_cond_t work;	   /* the writer waits for: submitted, stop */
	pthread_cond_t jobs_ready; /* the helper waits for: jobs, stop_helper */
	pthread_cond_t prepared;   /* the writer waits for: !segment->queued */

	/* lock */
	struct wal_segment *active;
	uint32_t tail;	      /* where the next unit starts in the active segment */
	uint64_t number_next; /* of the next unit */
	uint32_t cut;	      /* after recovery: the active segment's records end here; else 0 */
	struct wal_fill fill, flight; /* flight's contents are the writer's, its units constant */
	bool open;		      /* the last unit of `fill` takes records */
	bool create_failed; /* the last attempt to make a file; when: */
	uint64_t create_failed_ns;
	bool submitted, writing;
	bool writer_waits;
	bool stop, stop_helper;
	struct wal_jobs jobs;
	enum wal_load load;
	struct wal_stats stats;

	uint8_t *load_data; /* the helper's while RUNNING, else the owner's */
	_Atomic uint64_t synced;
	_Atomic uint64_t write_since_ns; /* 0: no write in progress */
	bool threads;
	pthread_t writer, helper;
};

static inline void wal__lock(struct wal *w)
{
	pthread_mutex_lock(&w->lock);
}

static inline void wal__unlock(struct wal *w)
{
	pthread_mutex_unlock(&w->lock);
}

static inline uint64_t wal__max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t wal__now_ns(void);

/* wal_fill.c: memory of units */
void wal__fill_release(struct wal_fill *f);
void wal__fill_reset(struct wal_fill *f);	    /* keeps a moderate amount of memory */
struct wal_unit *wal__fill_unit(struct wal_fill *f); /* a new last one */
struct wal_unit *wal__fill_last(struct wal_fill *f); /* NULL when there is none */
uint8_t *wal__fill_grow(struct wal_fill *f, uint32_t len); /* the last unit; not zeroed */
/* The bytes at @offset of segment @number when a unit of @f holds them, else NULL. */
const uint8_t *wal__fill_find(const struct wal_fill *f, uint32_t number, uint32_t offset);

/* wal_place.c: which record goes where. Owner, under lock. */
uint64_t wal__place(struct wal *w, const struct wal_frame *f, struct wal_place *at);
void wal__close_unit(struct wal *w);
uint32_t wal__position(struct wal *w); /* end of what is placed in the active segment */
uint32_t wal__limit(const struct wal *w); /* where records of a segment must end */

/* wal_space.c: segments. Owner. */
void wal__segment_name(char out[WAL_DEVICE_NAME_MAX], uint32_t number);
struct wal_segment *wal__segment_add(struct wal *w); /* the next file number; no file yet */
struct wal_segment *wal__space_next(struct wal *w);  /* under lock: takes the spare, or another */
struct wal_segment *wal__space_pick(struct wal *w, bool beyond_limits); /* under lock */
void wal__space_tend(struct wal *w); /* sees to a spare */
bool wal__space_short(struct wal *w);		     /* little is left to be written to */
bool wal__space_present(struct wal *w, uint64_t bytes); /* in segments that are there */
bool wal__space_takes(struct wal *w, uint64_t bytes);	/* or in those that can be made */
void wal__space_count(void *ctx, const struct wal_place *at, bool live); /* for the index */

/* wal_rewrite.c: moves live records out of segments that hold few. Owner. */
void wal__rewrite_tend(struct wal *w);
void wal__rewrite_load(struct wal *w, struct wal_segment *s); /* helper */

/* wal_writer.c */
void wal__write_submitted(struct wal *w); /* inline_io; on the caller */
int wal__writer_start(struct wal *w, struct msg *m);
void wal__writer_stop(struct wal *w);

/* wal_helper.c */
int wal__prepare(struct wal *w, struct wal_segment *s, struct msg *m);
void wal__job_add(struct wal *w, struct wal_segment *s); /* under lock */
void wal__jobs_run(struct wal *w);			  /* inline_io; on the caller */
int wal__helper_start(struct wal *w, struct msg *m);
void wal__helper_stop(struct wal *w);

/* wal_recover.c: reads what is there; on success the log is ready for its first append. */
int wal__recover(struct wal *w, wal_replay_fn *replay, void *replay_ctx, struct msg *m);

#endif
