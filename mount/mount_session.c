/* The FUSE session on the loop: a fiber per request, start and end.
 *
 *   connect -> open fs (the first quorum read) -> mount(2) -> INIT -> serve -> drain -> close
 *
 * Each request runs in a fiber of its own from receipt to reply; its arguments point into its
 * buffer. Nothing here blocks the loop but mount(2) itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#undef BLOCK_SIZE /* of <linux/fs.h> */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "mount/mount_internal.h"

#define LEAVE_NS (3 * NS_PER_S)

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

void mount__ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *mt = userdata;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
			FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_DONT_MASK;

	/* Explicit: writeback_cache would trust the kernel's file sizes over the store's;
	 * HANDLE_KILLPRIV v1, splice and readdirplus (nothing is leased) stay off. */
	if (mt->cfg->options->default_permissions) /* which it implies */
		want |= FUSE_CAP_POSIX_ACL;
	if (!mt->cfg->options->local_locks)
		want |= FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
	conn->want = conn->capable & want;
	mt->acl = conn->want & FUSE_CAP_POSIX_ACL;
	conn->max_write = WRITE_SIZE_MAX;
	conn->max_readahead = WRITE_SIZE_MAX;
	conn->max_background = mt->cfg->options->max_background;
	conn->congestion_threshold = conn->max_background * 3 / 4;
	conn->time_gran = 1;
	mount__forget_new(mt, conn->proto_major == 7 ? conn->proto_minor : 0);
	mt->inited = true;
	if (mt->starter)
		fiber_wake(mt->starter);
}

/* ---- requests ---- */

static char *take_large(struct mount *mt)
{
	if (mt->large_count > 0)
		return mt->large[--mt->large_count];
	return NULL; /* libfuse allocates one */
}

static void give_large(struct mount *mt, char *mem)
{
	if (mt->large_count < MOUNT_LARGE_BUFFERS)
		mt->large[mt->large_count++] = mem;
	else
		free(mem);
}

static void request_done(struct mount_request *r)
{
	struct mount *mt = r->mount;

	if (r->large)
		give_large(mt, r->buf.mem);
	else
		mem_free(r->buf.mem);
	TAILQ_REMOVE(&mt->requests, r, link);
	mem_free(r);
	mt->request_count--;
	if (mt->request_count == 0 && mt->drainer)
		fiber_wake(mt->drainer);
}

static void request_main(void *arg)
{
	struct mount_request *r = arg;

	r->fiber = fiber_self();
	r->mount->current = r;
	fuse_session_process_buf(r->mount->session, &r->buf);
	request_done(r);
}

/* Starts the fiber of one received request. Small ones move to a buffer of their own size. */
static void start_request(struct mount *mt, struct fuse_buf *buf)
{
	struct mount_request *r = mem_must_alloc(sizeof(*r));

	r->mount = mt;
	r->buf = *buf;
	if (buf->size <= MOUNT_SMALL_REQUEST) {
		r->buf.mem = mem_must_dup(buf->mem, buf->size);
		give_large(mt, buf->mem);
	} else {
		r->large = true;
	}
	TAILQ_INSERT_TAIL(&mt->requests, r, link);
	mt->request_count++;
	if (fiber_start(loop_fibers(mt->loop), request_main, r) != 0)
		logger_die("no memory for the stack of a request");
}

/* A close without locks changes nothing and waits for nothing: it is answered at once, before more is
 * read, without a fiber. The next open of the same process may be waiting for it. */
static bool answer_now(struct mount *mt, struct fuse_buf *buf)
{
	if (!mount__locks_flush_is_idle(mt, slice_of(buf->mem, buf->size)))
		return false;
	fuse_session_process_buf(mt->session, buf);
	give_large(mt, buf->mem);
	return true;
}

static void begin_stop(struct mount *mt);

static void on_readable(void *ctx)
{
	struct mount *mt = ctx;

	for (unsigned i = 0; i < MOUNT_REQUESTS_PER_POLL && !mt->stopping; i++) {
		struct fuse_buf buf = {.mem = take_large(mt)};
		int n = fuse_session_receive_buf(mt->session, &buf);

		if (n > 0) {
			if (!answer_now(mt, &buf))
				start_request(mt, &buf);
			continue;
		}
		if (buf.mem)
			give_large(mt, buf.mem);
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n != 0 && n != -ENODEV) {
			log_error("reading /dev/fuse: %s", strerror(-n));
			mt->err = ERR_IO;
		}
		begin_stop(mt); /* unmounted */
		return;
	}
}

/* ---- interrupts ---- */

void mount__interrupted(struct mount *mt, struct fiber *fiber)
{
	struct env *env = loop_env(mt->loop);
	struct mount_request *r;

	TAILQ_FOREACH(r, &mt->requests, link)
		if (r->fiber == fiber && r->interrupted_ns == 0)
			r->interrupted_ns = env_mono_ns(env);
	if (!mt->patience.armed && !mt->stopping)
		env_timer_set(env, &mt->patience, env_mono_ns(env) + MOUNT_PATIENCE_NS);
}

static void patience_ends(struct env_timer *t)
{
	struct mount *mt = container_of(t, struct mount, patience);
	struct env *env = loop_env(mt->loop);
	uint64_t now = env_mono_ns(env), oldest = 0;
	struct mount_request *r;

	TAILQ_FOREACH(r, &mt->requests, link) {
		if (r->interrupted_ns == 0)
			continue;
		if (now - r->interrupted_ns >= MOUNT_PATIENCE_NS) {
			fiber_interrupt(r->fiber);
			r->interrupted_ns = 0;
		} else if (oldest == 0 || r->interrupted_ns < oldest) {
			oldest = r->interrupted_ns;
		}
	}
	if (oldest != 0 && !mt->stopping)
		env_timer_set(env, t, oldest + MOUNT_PATIENCE_NS);
}

/* ---- the end ---- */

/* Leaving takes only so long when the store does not answer: what is left is for fsck to find. */
static void hurry_main(void *arg)
{
	struct mount *mt = arg;

	mt->hurrier = fiber_self();
	if (mt->fs && fiber_sleep(LEAVE_NS) == 0 && mt->fs)
		fiber_interrupt(mt->drainer);
	mt->hurrier = NULL;
	mt->hurrying = false;
	fiber_wake(mt->drainer);
}

static void close_fs(struct mount *mt)
{
	mt->hurrying = fiber_start(loop_fibers(mt->loop), hurry_main, mt) == 0;
	fs_close(mt->fs);
	mt->fs = NULL;
	if (mt->hurrier)
		fiber_interrupt(mt->hurrier);
	while (mt->hurrying)
		fiber_park();
}

static void drain_main(void *arg)
{
	struct mount *mt = arg;
	struct mount_request *r;

	mt->drainer = fiber_self();
	TAILQ_FOREACH(r, &mt->requests, link)
		if (r->fiber)
			fiber_interrupt(r->fiber);
	while (mt->request_count > 0)
		fiber_park();
	close_fs(mt);
	kv_client_close(mt->client);
	mt->client = NULL;
	loop_stop(mt->loop);
}

/* The kernel's side is gone (or about to be): answer what is in flight, close, leave. */
static void begin_stop(struct mount *mt)
{
	if (mt->stopping)
		return;
	mt->stopping = true;
	env_timer_cancel(loop_env(mt->loop), &mt->patience);
	mount__forget_stop(mt->forget);
	if (mt->starter)
		fiber_wake(mt->starter);
	loop_poll_free(mt->poll);
	mt->poll = NULL;
	if (fiber_start(loop_fibers(mt->loop), drain_main, mt) != 0)
		loop_stop(mt->loop);
}

static void on_stop(void *ctx)
{
	struct mount *mt = ctx;

	if (mt->stopping)
		return;
	log_info("unmounting %s", mt->cfg->mountpoint);
	/* what the kernel holds threads for is asked of the loop that ends: it gives that up first */
	if (mt->mounted && mount__inval_busy(mt->inval))
		(void)umount2(mt->cfg->mountpoint, MNT_FORCE | MNT_DETACH);
	if (mt->mounted)
		fuse_session_unmount(mt->session);
	mt->mounted = false;
	begin_stop(mt);
}

static void on_signal(void *ctx, int signum)
{
	(void)signum;
	on_stop(ctx);
}

static void on_usr1(void *ctx, int signum)
{
	char line[MOUNT_STATS_MAX];

	(void)signum;
	mount__inodes_describe(ctx, line, sizeof(line));
	log_info("%s", line);
}

void mount_stop(struct mount *mt)
{
	loop_async_send(mt->stop_async);
}

/* ---- the start ---- */

/* The one line that says what the end of a session has cost. */
static void session_ended(void *ctx, const struct fs_session_report *r)
{
	struct mount *mt = ctx;

	log_warn("%s: session %llu was closed by others; goes on with session %llu; lost: %u locks (%u "
		 "open files will be told), %u open files without a name; %u calls were under way",
		 mt->cfg->mountpoint, (unsigned long long)r->was, (unsigned long long)r->now, r->locks,
		 r->files, r->orphans, r->calls);
}

static int connect_store(struct mount *mt)
{
	char host[64] = "?";
	char *name;
	struct kv_client_config cfg = {.endpoints = mt->cfg->endpoints,
				       .transport = mt->transport,
				       .env = loop_env(mt->loop),
				       .fibers = loop_fibers(mt->loop),
				       .timeout_ns = mt->cfg->options->timeout_ns,
				       .connect_timeout_ns = mt->cfg->connect_timeout_ns,
				       .session = true,
				       .session_ns = mt->cfg->options->session_ns};
	struct fs_options o = {.session_ended = session_ended,
			       .session_ctx = mt,
			       .read_only = mt->cfg->options->read_only,
			       .noatime = mt->cfg->options->noatime,
			       .atime = mt->cfg->options->strictatime,
			       .keep_locks = true};
	int err;

	if (gethostname(host, sizeof(host) - 1) != 0)
		snprintf(host, sizeof(host), "?");
	name = mem_must_printf("%s:%s", host, mt->cfg->mountpoint);
	cfg.name = name;
	err = kv_client_open(&cfg, &mt->client, mt->msg);
	mem_free(name);
	if (err == ERR_NOT_READY)
		return msg_set(mt->msg, err, "the store at %s is not initialised: run `paxfs init`",
			       mt->cfg->endpoints);
	if (err)
		return msg_wrap(mt->msg, err, "the store at %s", mt->cfg->endpoints);
	fs_backend_kv(&mt->backend, mt->client, loop_env(mt->loop), loop_fibers(mt->loop));
	return fs_open(&mt->backend, &o, &mt->fs, mt->msg);
}

/* Commas separate mount options; inside the name they are escaped. */
static char *escape_commas(const char *s)
{
	char *out = mem_must_alloc(2 * strlen(s) + 1), *p = out;

	for (; *s; s++) {
		if (*s == ',' || *s == '\\')
			*p++ = '\\';
		*p++ = *s;
	}
	return out;
}

static char *libfuse_options(const struct mount_config *cfg)
{
	const struct mount_options *o = cfg->options;
	char *name = escape_commas(o->fsname ? o->fsname : cfg->endpoints), *out;

	out = mem_must_printf("fsname=%s,subtype=paxfs%s%s%s%s%s%s%s%s%s%s", name,
			      o->read_only ? ",ro" : ",rw", o->allow_other ? ",allow_other" : "",
			      o->default_permissions ? ",default_permissions" : "",
			      o->suid ? ",suid" : ",nosuid", o->dev ? ",dev" : ",nodev",
			      o->exec ? "" : ",noexec", o->noatime ? ",noatime" : "",
			      o->debug ? ",debug" : "", o->kernel ? "," : "",
			      o->kernel ? o->kernel : "");
	mem_free(name);
	return out;
}

/* What libfuse has to say becomes a log line; its trace (-o debug) stays as it is. */
static void fuse_line(enum fuse_log_level level, const char *format, va_list args)
{
	char text[512];

	if (level == FUSE_LOG_DEBUG) {
		vfprintf(stderr, format, args);
		return;
	}
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_warn("%s", text);
}

static int mount_session(struct mount *mt)
{
	char *options = libfuse_options(mt->cfg);
	char *argv[] = {(char *)(uintptr_t) "paxfs", (char *)(uintptr_t) "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct statx sx;
	int fd, err = 0;

	fuse_set_log_func(fuse_line);
	mt->session = fuse_session_new(&args, &mount__ops, sizeof(mount__ops), mt);
	fuse_opt_free_args(&args);
	mem_free(options);
	if (!mt->session)
		return msg_set(mt->msg, ERR_INVAL, "libfuse refused the mount options");
	if (fuse_session_mount(mt->session, mt->cfg->mountpoint) != 0)
		return msg_set(mt->msg, ERR_PERM, "cannot mount on %s: %s", mt->cfg->mountpoint,
			       geteuid() == 0 ? strerror(errno)
					      : "not permitted (see fusermount3(1) and "
						"user_allow_other in /etc/fuse.conf)");
	mt->mounted = true;
	if (statx(AT_FDCWD, mt->cfg->mountpoint, AT_STATX_DONT_SYNC, 0, &sx) == 0)
		mt->device = makedev(sx.stx_dev_major, sx.stx_dev_minor);
	fd = fuse_session_fd(mt->session);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		err = ERR_IO;
	if (!err)
		err = mount__inval_new(mt, &mt->inval);
	if (!err)
		err = loop_poll_new(mt->loop, fd, on_readable, mt, &mt->poll);
	if (err)
		msg_set(mt->msg, err, "serve %s: %s", mt->cfg->mountpoint, err_text(err));
	return err;
}

/* Told once INIT has been answered: from then on calls on the mount are served. The fiber of INIT
 * wakes this one, and sends its reply before this one runs. */
static void tell_when_inited(struct mount *mt)
{
	mt->starter = fiber_self();
	while (!mt->inited && !mt->stopping)
		fiber_park();
	mt->starter = NULL;
	if (mt->inited && mt->ready)
		mt->ready(mt->ready_ctx, mt);
}

static void start_main(void *arg)
{
	struct mount *mt = arg;
	int err = connect_store(mt);

	if (!err)
		err = mount_session(mt);
	if (!err) {
		log_info("mounted %s on %s", mt->cfg->endpoints, mt->cfg->mountpoint);
		tell_when_inited(mt);
		return;
	}
	mt->err = err;
	if (mt->mounted)
		fuse_session_unmount(mt->session);
	mt->mounted = false;
	begin_stop(mt);
}

static int start(struct mount *mt)
{
	int err = loop_new(&mt->loop, mt->msg);

	if (!err)
		err = kv_transport_net_new(mt->loop, &mt->transport);
	if (!err)
		err = loop_async_new(mt->loop, on_stop, mt, &mt->stop_async);
	if (!err && mt->handle_signals) {
		err = loop_signal_new(mt->loop, SIGINT, on_signal, mt, &mt->signals[0]);
		if (!err)
			err = loop_signal_new(mt->loop, SIGTERM, on_signal, mt, &mt->signals[1]);
		if (!err)
			err = loop_signal_new(mt->loop, SIGUSR1, on_usr1, mt, &mt->signals[2]);
	}
	if (!err)
		err = fiber_start(loop_fibers(mt->loop), start_main, mt);
	return err;
}

static void release(struct mount *mt)
{
	mount__inval_free(mt->inval);
	mount__forget_free(mt->forget);
	if (mt->session) {
		if (mt->mounted)
			fuse_session_unmount(mt->session);
		fuse_session_destroy(mt->session);
	}
	loop_signal_free(mt->signals[0]);
	loop_signal_free(mt->signals[1]);
	loop_signal_free(mt->signals[2]);
	loop_async_free(mt->stop_async);
	loop_poll_free(mt->poll);
	kv_transport_net_free(mt->transport);
	loop_free(mt->loop);
	while (mt->large_count > 0)
		free(mt->large[--mt->large_count]);
	mount__inodes_free(mt->inodes);
	mount__locks_free(mt);
	mem_free(mt);
}

int mount_run(const struct mount_config *cfg, bool handle_signals,
	      void (*ready)(void *ctx, struct mount *mt), void *ctx, struct msg *m)
{
	struct mount *mt = mem_must_alloc(sizeof(*mt));
	int err = mount_check_point(cfg->mountpoint, m);

	mt->cfg = cfg;
	mt->handle_signals = handle_signals;
	mt->ready = ready;
	mt->ready_ctx = ctx;
	mt->msg = m;
	mt->inodes = mount__inodes_new();
	TAILQ_INIT(&mt->requests);
	mt->patience.fire = patience_ends;
	/* memory pressure must not wait for writes that this process has to carry out */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	if (!err)
		err = start(mt);
	if (!err) {
		loop_run(mt->loop);
		err = mt->err;
	}
	release(mt);
	return err;
}
