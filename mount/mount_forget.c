/* A limit on the inodes that the kernel knows, and with it on this mount's memory of them: beyond it
 * the kernel is asked to forget those that were not used for the longest time.
 *
 *            one more than the limit                done                 the pause is over
 *   IDLE ------------------------------> ASKING -----------> PAUSING ----------------------.
 *    ^                                     ^                                               |
 *    |                                     `------------ still more: the next ones --------|
 *    `---------------------------------------------------------------- not any more -------'
 *
 * The kernel keeps what is in use: open files, working directories, mount points, directories with
 * children that it knows. All else it gives back with FORGETs, which come while it is asked or right
 * after: that is what the pause is for. When asking was of little use the pause grows.
 *
 * Two ways to ask:
 *
 *   FUSE_NOTIFY_PRUNE     a list of inodes, from FUSE 7.45 (Linux 6.18) on
 *   a remount that        drops all names that are not in use, of whatever age. Needs CAP_SYS_ADMIN.
 *   changes nothing
 *
 * Not with FUSE_NOTIFY_INVAL_ENTRY: it takes a name away also from who uses it (a working directory
 * has no path any more, what is mounted there is gone).
 *
 * The kernel may have to write pages back for it, and holds its locks while it does: from a thread
 * (mount_inval.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#undef BLOCK_SIZE /* of <linux/fs.h> */
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

#define NOTIFY_PRUNE	  9 /* FUSE_NOTIFY_PRUNE of <linux/fuse.h> */
#define PRUNE_MINOR	  45u
#define BATCH_MAX	  4096u
#define PAUSE_MIN_NS	  (10 * NS_PER_MS)
#define PAUSE_MAX_NS	  (1 * NS_PER_S)
#define SPARE_PART	  16u /* 1/16 of the limit is freed, so that asking is rare */

struct prune_message { /* struct fuse_out_header, struct fuse_notify_prune_out */
	uint32_t len;
	int32_t code;
	uint64_t unique; /* 0: a notification */
	uint32_t count, padding;
	uint64_t spare;
};
_Static_assert(sizeof(struct prune_message) == 32, "as the kernel has it");

struct mount_forget {
	struct mount *mount;
	bool prune; /* the kernel takes lists */
	bool asking, stopped;
	struct env_timer pause;
	uint64_t pause_ns;
	uint64_t before; /* how many there were when it was asked last */
	uint64_t batches, asked, refused;
	uint32_t count;
	fs_ino list[BATCH_MAX]; /* the thread's while `asking` */
	int error;		/* errno of the thread's last call */
};

/* ---- on the thread ---- */

static int prune_listed(const struct mount_forget *f)
{
	struct prune_message m = {.len = (uint32_t)(sizeof(m) + f->count * sizeof(f->list[0])),
				  .code = NOTIFY_PRUNE,
				  .count = f->count};
	struct iovec v[2] = {{.iov_base = &m, .iov_len = sizeof(m)},
			     {.iov_base = (void *)(uintptr_t)f->list,
			      .iov_len = f->count * sizeof(f->list[0])}};

	return writev(fuse_session_fd(f->mount->session), v, 2) < 0 ? errno : 0;
}

static int remount_unchanged(const struct mount_forget *f)
{
	struct statx sx;
	int fd, error = 0;

	/* nothing is asked of this mount; and nothing is done to what may be below it */
	if (statx(AT_FDCWD, f->mount->cfg->mountpoint, AT_STATX_DONT_SYNC, 0, &sx) != 0)
		return errno;
	if (makedev(sx.stx_dev_major, sx.stx_dev_minor) != f->mount->device)
		return ENOENT;
	fd = fspick(AT_FDCWD, f->mount->cfg->mountpoint, FSPICK_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) != 0)
		error = errno;
	close(fd);
	return error;
}

static void ask_kernel(void *ctx)
{
	struct mount_forget *f = ctx;

	f->error = f->prune ? prune_listed(f) : remount_unchanged(f);
}

/* ---- on the loop ---- */

static void asked(void *ctx)
{
	struct mount_forget *f = ctx;
	struct env *env = loop_env(f->mount->loop);
	static struct logger_limit limit;

	f->asking = false;
	if (f->error) {
		f->refused++;
		f->pause_ns = PAUSE_MAX_NS;
		logger_write_limited(&limit, 1, LOG_WARN_, "the kernel does not forget inodes: %s",
				     strerror(f->error));
	}
	if (!f->stopped)
		env_timer_set(env, &f->pause, env_mono_ns(env) + f->pause_ns);
}

static void ask(struct mount_forget *f)
{
	struct mount_inodes *v = f->mount->inodes;
	uint64_t limit = f->mount->cfg->options->max_inodes, count = mount__inodes_count(v);
	uint64_t want = count - (limit - limit / SPARE_PART);

	f->before = count;
	f->count = mount__inodes_oldest(v, f->list, want < BATCH_MAX ? (uint32_t)want : BATCH_MAX);
	f->asking = true;
	f->batches++;
	f->asked += f->count;
	mount__inval_run(f->mount->inval, ask_kernel, asked, f);
}

static bool too_many(const struct mount_forget *f)
{
	return mount__inodes_count(f->mount->inodes) > f->mount->cfg->options->max_inodes;
}

static void pause_ends(struct env_timer *t)
{
	struct mount_forget *f = container_of(t, struct mount_forget, pause);
	uint64_t count = mount__inodes_count(f->mount->inodes);
	bool useful = count + f->count / 4 < f->before;

	f->pause_ns = useful || !too_many(f) ? PAUSE_MIN_NS : 2 * f->pause_ns;
	if (f->pause_ns > PAUSE_MAX_NS)
		f->pause_ns = PAUSE_MAX_NS;
	if (too_many(f))
		ask(f);
}

void mount__forget_check(struct mount_forget *f)
{
	if (f && !f->asking && !f->pause.armed && !f->stopped && too_many(f))
		ask(f);
}

void mount__forget_new(struct mount *mt, unsigned kernel_minor)
{
	struct mount_forget *f = mem_must_alloc(sizeof(*f));

	f->mount = mt;
	f->prune = kernel_minor >= PRUNE_MINOR && !mt->cfg->options->no_prune;
	f->pause.fire = pause_ends;
	f->pause_ns = PAUSE_MIN_NS;
	mt->forget = f;
}

void mount__forget_stop(struct mount_forget *f)
{
	if (!f)
		return;
	f->stopped = true;
	env_timer_cancel(loop_env(f->mount->loop), &f->pause);
}

void mount__forget_free(struct mount_forget *f)
{
	mem_free(f);
}

void mount__inodes_describe(const struct mount *mt, char *out, size_t size)
{
	uint64_t count = mount__inodes_count(mt->inodes), bytes = mount__inodes_bytes(mt->inodes);

	snprintf(out, size,
		 "inodes %" PRIu64 " bytes %" PRIu64 " each %" PRIu64 " max_inodes %" PRIu32
		 " batches %" PRIu64 " asked_to_forget %" PRIu64 " refused %" PRIu64,
		 count, bytes, count ? bytes / count : 0, mt->cfg->options->max_inodes,
		 mt->forget ? mt->forget->batches : 0, mt->forget ? mt->forget->asked : 0,
		 mt->forget ? mt->forget->refused : 0);
}
