/* Space set aside for a disk that gets full: a file of allocated blocks beside the database. What is
 * in memory must reach the disk, or the log is never cut and nothing can be deleted any more; so where
 * there is less room than a flush needs, the file is shortened first. Not earlier: whoever fills the
 * disk would take that, too. It is made whole when there is room for it twice over; meanwhile
 * engine_reserve_missing() has the log leave that room alone.
 *
 *   whole --(too little for a flush)--> shorter, in steps, down to nothing --(room)--> whole
 *
 * If RocksDB finds no space nevertheless it refuses writes, looks every 5 s whether what a write buffer
 * takes is free, then flushes by itself and goes on: whoever writes waits for that. */
#include <rocksdb/c.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/engine_rocks.h"

#define WAIT_NS	 20000000u     /* between two looks for room */
#define WAIT_MAX 30000000000u  /* then there is none */
#define FULL_TRIES 60
#define FLUSH_MORE (4u << 20)  /* bytes: what RocksDB has to note about a flush */
#define STEP_MORE  (8u << 20)

static uint64_t free_bytes(const struct rocks *r)
{
	struct statvfs v;

	if (statvfs(r->dir, &v) != 0)
		return UINT64_MAX; /* then writes tell */
	return (uint64_t)v.f_bavail * v.f_frsize;
}

static uint64_t missing(const struct rocks *r)
{
	return atomic_load(&r->base.reserve_missing);
}

static void set_kept(struct rocks *r, uint64_t bytes)
{
	atomic_store(&r->base.reserve_missing, r->reserve.size - bytes);
}

/* A file that a crash left half made, or that was copied without its blocks, reserves nothing. */
static bool is_whole(const struct rocks *r)
{
	struct stat st;

	return stat(r->reserve.path, &st) == 0 && (uint64_t)st.st_size == r->reserve.size &&
	       (uint64_t)st.st_blocks * 512 >= r->reserve.size;
}

/* Bytes of the file that are more than its name, of those that are wanted. */
static uint64_t blocks_there(const struct rocks *r)
{
	struct stat st;
	uint64_t n;

	if (stat(r->reserve.path, &st) != 0 || !S_ISREG(st.st_mode))
		return 0;
	n = (uint64_t)st.st_blocks * 512;
	if (n > (uint64_t)st.st_size)
		n = (uint64_t)st.st_size;
	return n < r->reserve.size ? n : r->reserve.size;
}

/* Under the lock. */
static bool make_file(struct rocks *r)
{
	int fd = open(r->reserve.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return false;
	err = posix_fallocate(fd, 0, (off_t)r->reserve.size);
	close(fd);
	if (err)
		(void)unlink(r->reserve.path);
	return err == 0;
}

/* Under the lock. Shortens the file so that @need bytes are free, if it can. */
static void give_up(struct rocks *r, uint64_t need)
{
	uint64_t kept = r->reserve.size - missing(r), step;

	if (kept == 0 || free_bytes(r) >= need)
		return;
	step = need + STEP_MORE < kept ? need + STEP_MORE : kept;
	set_kept(r, kept - step); /* first: nobody else is to take it */
	if (truncate(r->reserve.path, (off_t)(kept - step)) != 0)
		log_warn("engine %s: shorten %s: %s", r->dir, r->reserve.path, strerror(errno));
	log_warn("engine %s: the disk is full: %" PRIu64 " of %" PRIu64 " MiB set aside are left",
		 r->dir, (kept - step) >> 20, r->reserve.size >> 20);
}

bool rocks__reserve_covers_flush(struct rocks *r)
{
	uint64_t need = atomic_load(&r->memtable_bytes) + FLUSH_MORE;

	if (r->reserve.size == 0)
		return true;
	pthread_mutex_lock(&r->reserve.lock);
	give_up(r, need);
	pthread_mutex_unlock(&r->reserve.lock);
	return free_bytes(r) >= need;
}

void rocks__reserve_tend(struct rocks *r)
{
	if (missing(r) == 0)
		return;
	pthread_mutex_lock(&r->reserve.lock);
	if (free_bytes(r) / 2 >= r->reserve.size && make_file(r)) {
		log_info("engine %s: there is room again", r->dir);
		set_kept(r, r->reserve.size);
	}
	pthread_mutex_unlock(&r->reserve.lock);
}

void rocks__reserve_open(struct rocks *r, uint64_t size)
{
	r->reserve.size = size;
	r->reserve.path = mem_must_printf("%s.reserve", r->dir);
	if (r->reserve.size == 0)
		return;
	if (is_whole(r)) {
		(void)rocks__reserve_covers_flush(r); /* opening needs room, too */
		return;
	}
	if (free_bytes(r) / 2 >= r->reserve.size) {
		(void)unlink(r->reserve.path);
		if (make_file(r))
			return;
	}
	set_kept(r, blocks_there(r));
	log_warn("engine %s: the disk has no room to set %" PRIu64 " MiB aside: %" PRIu64 " are",
		 r->dir, r->reserve.size >> 20, (r->reserve.size - missing(r)) >> 20);
	(void)rocks__reserve_covers_flush(r);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void rocks__wait_for_room(struct rocks *r, uint64_t *since_ns)
{
	static struct logger_limit limit;
	const struct timespec pause = {.tv_nsec = WAIT_NS};

	if (*since_ns == 0)
		*since_ns = now_ns();
	if (r->reserve.size == 0 || now_ns() - *since_ns >= WAIT_MAX)
		logger_die("engine %s: no space left on the disk, nor of what was set aside; make room "
			   "and start again", r->dir);
	atomic_store(&r->full_tries, FULL_TRIES);
	pthread_mutex_lock(&r->reserve.lock);
	give_up(r, atomic_load(&r->memtable_bytes) + r->write_buffer);
	pthread_mutex_unlock(&r->reserve.lock);
	logger_write_limited(&limit, 1, LOG_ERROR_, "engine %s: no space left; it waits for room",
			     r->dir);
	(void)nanosleep(&pause, NULL);
}
