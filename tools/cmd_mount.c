/* `paxfs mount`, and mount.paxfs with the conventions of mount(8). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "mount/mount.h"
#include "tools/cli.h"
#include "tools/commands.h"
#include "tools/remount.h"

/* Exit codes of mount(8). */
enum { MOUNT_OK = 0, MOUNT_USAGE = 1, MOUNT_SYSTEM = 2, MOUNT_FAILED = 32 };

static const char help[] =
	"usage: paxfs mount A,B,C MNT [-o OPTIONS] [-f] [-t SECONDS]\n"
	"       mount -t paxfs A,B,C MNT [-o OPTIONS]\n\n"
	"Mounts the store whose nodes listen at A,B,C on the directory MNT; umount MNT ends it.\n"
	"Returns once the mount answers.\n\n"
	"  -o, --options LIST   ro, noatime, allow_other, default_permissions, timeout=SECONDS,\n"
	"                       max_inodes=N (files the kernel may remember; default 1000000),\n"
	"                       ...: see mount.paxfs(8)\n"
	"  -f, --foreground     stay in the foreground\n"
	"  -t, --timeout SECS   how long to try to reach the store (default 30; 0: for ever)\n"
	"  -L, --log FILE       append log lines to FILE (default: standard error with -f, else\n"
	"                       none)\n"
	"      --ready-fd FD    write a newline to FD once mounted\n"
	"  -v, --verbose        debug lines too\n"
	"  -h, --help           this text\n";

struct mount_args {
	const char *source, *log;
	char *mountpoint; /* absolute; owned */
	struct mount_options options;
	uint64_t timeout_ns;
	bool foreground;
	int ready_fd; /* -1: none */
};

static void on_ready(void *ctx, struct mount *mt)
{
	struct mount_args *a = ctx;

	(void)mt;
	if (a->ready_fd < 0)
		return;
	if (write(a->ready_fd, "\n", 1) != 1)
		log_warn("cannot tell that the mount is ready");
	close(a->ready_fd);
	a->ready_fd = -1;
}

/* Mounts and serves; 0 or an error with its message. */
static int serve(struct mount_args *a, const char *endpoints, struct msg *m)
{
	struct mount_config cfg = {.endpoints = endpoints,
				   .mountpoint = a->mountpoint,
				   .options = &a->options,
				   .connect_timeout_ns = a->timeout_ns};

	signal(SIGPIPE, SIG_IGN);
	if (chdir("/") != 0)
		return msg_set(m, ERR_IO, "chdir /: %s", strerror(errno));
	return mount_run(&cfg, true, on_ready, a, m);
}

static void detach_output(const struct mount_args *a)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (null < 0)
		return;
	dup2(null, 0);
	dup2(null, 1);
	if (!a->log)
		dup2(null, 2);
	close(null);
}

/* Child of daemonize: reports to @report "\n" when mounted, or the error's text. */
static _Noreturn void background_child(struct mount_args *a, const char *endpoints, int report)
{
	struct msg m = {""};
	int err;

	detach_output(a);
	if (report > 3)
		close_range(3, (unsigned)report - 1, 0); /* what the caller has open is not ours */
	close_range((unsigned)report + 1, ~0u, 0);
	a->ready_fd = report;
	err = serve(a, endpoints, &m);
	if (err && a->ready_fd >= 0)
		dprintf(report, "%d %s\n", err, m.text[0] ? m.text : err_text(err));
	_exit(err ? CLI_FAILED : CLI_OK);
}

/* Starts the daemon and waits until it has mounted or failed: 0 or its error and message. */
static int run_background(struct mount_args *a, const char *endpoints, struct msg *m)
{
	char text[MSG_SIZE + 16];
	size_t len = 0;
	int fds[2], code;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return msg_set(m, ERR_IO, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return msg_set(m, ERR_IO, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		background_child(a, endpoints, fds[1]);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0 ||
	       (n < 0 && errno == EINTR)) {
		len += n > 0 ? (size_t)n : 0;
		if (len == sizeof(text) - 1 || (len > 0 && text[len - 1] == '\n'))
			break;
	}
	close(fds[0]);
	text[len] = '\0';
	if (len == 1 && text[0] == '\n')
		return 0;
	waitpid(pid, NULL, 0);
	text[strcspn(text, "\n")] = '\0';
	code = atoi(text);
	if (code >= 0)
		return msg_set(m, ERR_IO, "the mount process ended unexpectedly");
	return msg_set(m, code, "%s", strchr(text, ' ') ? strchr(text, ' ') + 1 : text);
}

static int run(struct mount_args *a, struct msg *m)
{
	char *endpoints;
	int err;

	err = mount_check_point(a->mountpoint, m);
	if (err)
		return err;
	endpoints = cli_resolve_list(a->source, m);
	if (!endpoints)
		return ERR_USAGE;
	if (!a->options.fsname)
		a->options.fsname = mem_must_strdup(endpoints);
	if (a->log)
		err = logger_open(a->log, m);
	if (!err)
		err = a->foreground ? serve(a, endpoints, m) : run_background(a, endpoints, m);
	mem_free(endpoints);
	return err;
}

static char *absolute_mountpoint(const char *path)
{
	char cwd[PATH_MAX];

	if (path[0] == '/' || !getcwd(cwd, sizeof(cwd)))
		return mem_must_strdup(path);
	return mem_must_printf("%s/%s", cwd, path);
}

static void args_init(struct mount_args *a)
{
	*a = (struct mount_args){.ready_fd = -1, .timeout_ns = 30 * NS_PER_S};
	mount_options_default(&a->options, geteuid() == 0);
}

static void args_release(struct mount_args *a)
{
	mount_options_release(&a->options);
	mem_free(a->mountpoint);
}

static int parse(int argc, char **argv, struct mount_args *a)
{
	static const struct option longs[] = {{"options", required_argument, NULL, 'o'},
					      {"foreground", no_argument, NULL, 'f'},
					      {"timeout", required_argument, NULL, 't'},
					      {"log", required_argument, NULL, 'L'},
					      {"ready-fd", required_argument, NULL, 'R'},
					      {"verbose", no_argument, NULL, 'v'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	struct msg m = {""};
	uint64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "o:ft:L:vh", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return 1 + CLI_OK;
		} else if (c == 'o') {
			if (mount_options_parse(&a->options, optarg, &m) != 0)
				return 1 + cli_usage("mount", "%s", m.text);
		} else if (c == 'f') {
			a->foreground = true;
		} else if (c == 'L') {
			a->log = optarg;
		} else if (c == 'v') {
			logger_set_level(LOG_DEBUG_);
		} else if (c == 'R' && cli_parse_u64(optarg, 0, 65535, &n)) {
			a->ready_fd = (int)n;
		} else if (c != 't' || !cli_parse_seconds(optarg, &a->timeout_ns)) {
			return 1 + cli_bad_option("mount", argv, longs, c);
		}
	}
	if (argc - optind != 2)
		return 1 + cli_usage("mount", "say which store and where: A,B,C MNT");
	a->source = argv[optind];
	a->mountpoint = absolute_mountpoint(argv[optind + 1]);
	return 0;
}

int cmd_mount(int argc, char **argv)
{
	struct mount_args a;
	struct msg m = {""};
	int rc, err;

	args_init(&a);
	rc = parse(argc, argv, &a);
	if (rc == 0) {
		err = run(&a, &m);
		rc = err ? cli_error(cli_exit_code(err), "mount %s: %s", a.mountpoint,
				     m.text[0] ? m.text : err_text(err))
			 : CLI_OK;
	} else {
		rc--;
	}
	args_release(&a);
	return rc;
}

/* ---- mount.paxfs SOURCE DIR [-sfnv] [-N ns] [-o options] [-t type] ---- */

static const char usage_helper[] = "mount.paxfs A,B,C MNT [-sfnv] [-o OPTIONS]";
static const char help_helper[] =
	"usage: mount.paxfs A,B,C MNT [-sfnv] [-o OPTIONS]\n\n"
	"Mounts the store whose nodes listen at A,B,C on the directory MNT. mount(8) calls it for\n"
	"file systems of type paxfs. Exit status: that of mount(8).\n\n"
	"  -s              ignore unknown mount options\n"
	"  -f              check the command line only, do not mount\n"
	"  -n, -v          no effect\n"
	"  -o OPTIONS      ro, noatime, timeout=SECONDS, ...: see mount.paxfs(8)\n"
	"  -h, --help      this text\n";

/* What /proc/mounts has of a mount, from where mount(8) takes it for `-o remount`. */
static bool of_kernel(const char *item)
{
	return strncmp(item, "user_id=", 8) == 0 || strncmp(item, "group_id=", 9) == 0 ||
	       strncmp(item, "max_read=", 9) == 0;
}

/* One at a time: with @sloppy an unknown one is passed over, not those behind it. */
static int helper_options(struct mount_args *a, const char *list, bool sloppy, bool *again)
{
	char *copy = mem_must_strdup(list), *rest = copy, *item;
	struct msg m = {""};
	int err = 0;

	while (!err && (item = strsep(&rest, ",")) != NULL) {
		if (strcmp(item, "remount") == 0)
			*again = true;
		else if (mount_options_parse(&a->options, item, &m) != 0 && !sloppy && !of_kernel(item))
			err = cli_error(MOUNT_USAGE, "%s", m.text);
	}
	mem_free(copy);
	return err;
}

static int helper_parse(int argc, char **argv, struct mount_args *a, bool *fake, bool *again)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	const char *list = NULL;
	bool sloppy = false;
	int c;

	while ((c = getopt_long(argc, argv, "sfnvhN:o:t:", longs, NULL)) != -1) {
		switch (c) {
		case 's': sloppy = true; break;
		case 'f': *fake = true; break;
		case 'n':
		case 'v':
		case 't':
		case 'N': break;
		case 'o': list = optarg; break;
		case 'h': fputs(help_helper, stdout); return -1;
		default:
			return cli_error(MOUNT_USAGE, "unknown or incomplete option; usage: %s",
					 usage_helper);
		}
	}
	if (argc - optind != 2) {
		cli_error(0, "usage: %s", usage_helper);
		return MOUNT_USAGE;
	}
	a->source = argv[optind];
	a->mountpoint = absolute_mountpoint(argv[optind + 1]);
	return list ? helper_options(a, list, sloppy, again) : 0;
}

int cmd_mount_helper(int argc, char **argv)
{
	struct mount_args a;
	struct msg m = {""};
	bool fake = false, again = false;
	int rc, err;

	args_init(&a);
	rc = helper_parse(argc, argv, &a, &fake, &again);
	if (rc == -1) {
		rc = MOUNT_OK;
	} else if (rc == 0 && !fake) {
		err = again ? remount(a.mountpoint, &a.options, &m) : run(&a, &m);
		if (err) {
			cli_error(0, "mount %s: %s", a.mountpoint,
				  m.text[0] ? m.text : err_text(err));
			rc = err == ERR_NOMEM ? MOUNT_SYSTEM : MOUNT_FAILED;
		}
	}
	args_release(&a);
	return rc;
}
