/* `paxfs node`: one server; with --mount also the mount (an embedded store: one process). */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/logger.h"
#include "base/mem.h"
#include "kv/node.h"
#include "mount/mount.h"
#include "tools/cluster_init.h"
#include "tools/commands.h"

static const char help[] =
	"usage: paxfs node --id N --listen ADDRESS --data DIR [--join A,B,C] [OPTIONS]\n\n"
	"Runs one server in the foreground. Stop it with SIGTERM: it hands its leaderships over.\n\n"
	"  -i, --id N             this node's id in the cluster, 1 to 1023\n"
	"  -l, --listen ADDRESS   host:port (port 0: any free one) or unix:/path\n"
	"  -a, --advertise ADDR   how others reach it (default: what it listens on)\n"
	"  -d, --data DIR         its data directory, made if missing\n"
	"  -j, --join A,B,C       other nodes\n"
	"  -m, --memory SIZE      for caches and write buffers (default 96M)\n"
	"  -L, --log FILE         append log lines to FILE instead of standard error\n"
	"  -v, --verbose          debug lines too\n"
	"      --no-leases        confirm every read with a majority\n"
	"      --ready-fd FD      write the address and a newline to FD once listening\n"
	"      --bootstrap N      if new, become a cluster of one node with N data groups\n"
	"      --mount DIR        and mount the store here, from the same process\n"
	"      --mount-options O  as mount -o\n"
	"  -h, --help             this text\n";

struct node_args {
	struct kv_node_config cfg;
	int ready_fd;
	uint32_t bootstrap_groups;
	const char *mountpoint, *mount_options;
};

struct node_run {
	struct node_args args;
	struct loop *loop;
	struct kv_node *node;
	struct kv_transport *transport; /* for bootstrap only */
	pthread_t mount_thread;
	bool mounting, stopping;
	struct mount *mount; /* set once mounted; guarded by lock */
	pthread_mutex_t lock;
	struct loop_async *mount_ended;
	struct mount_options mount_options;
	char *endpoint;
	int exit_code;
};

static void tell_ready(struct node_run *r)
{
	char line[ADDRESS_SIZE_MAX + 1];
	int n = snprintf(line, sizeof(line), "%s\n", kv_node_address(r->node));

	if (r->args.ready_fd < 0)
		return;
	if (write(r->args.ready_fd, line, (size_t)n) != n)
		log_warn("cannot tell that the node is ready: %s", err_text(ERR_IO));
	close(r->args.ready_fd);
	r->args.ready_fd = -1;
}

/* ---- the embedded mount, on a thread and loop of its own ---- */

static void on_mounted(void *ctx, struct mount *mt)
{
	struct node_run *r = ctx;

	pthread_mutex_lock(&r->lock);
	r->mount = mt;
	pthread_mutex_unlock(&r->lock);
	tell_ready(r);
}

static void *mount_main(void *arg)
{
	struct node_run *r = arg;
	struct mount_config cfg = {.endpoints = r->endpoint,
				   .mountpoint = r->args.mountpoint,
				   .options = &r->mount_options,
				   .connect_timeout_ns = 30 * NS_PER_S};
	struct msg m = {""};
	int err = mount_run(&cfg, false, on_mounted, r, &m);

	pthread_mutex_lock(&r->lock);
	r->mount = NULL;
	pthread_mutex_unlock(&r->lock);
	if (err) {
		cli_error(CLI_FAILED, "%s", m.text[0] ? m.text : err_text(err));
		r->exit_code = CLI_FAILED;
	}
	loop_async_send(r->mount_ended);
	return NULL;
}

static void start_mount(struct node_run *r)
{
	r->mounting = pthread_create(&r->mount_thread, NULL, mount_main, r) == 0;
	if (!r->mounting) {
		r->exit_code = cli_error(CLI_FAILED, "cannot start the mount's thread");
		loop_stop(r->loop);
	}
}

/* ---- stopping: the mount first, then the node ---- */

static void on_stopped(void *ctx)
{
	struct node_run *r = ctx;

	loop_stop(r->loop);
}

static void stop_node(struct node_run *r)
{
	kv_node_stop(r->node, 500 * NS_PER_MS, on_stopped, r);
}

static void on_mount_ended(void *ctx)
{
	struct node_run *r = ctx;

	if (!r->mounting)
		return;
	pthread_join(r->mount_thread, NULL);
	r->mounting = false;
	r->stopping = true;
	stop_node(r); /* an embedded store lives as long as its mount */
}

static void on_signal(void *ctx, int signum)
{
	struct node_run *r = ctx;

	if (r->stopping)
		return;
	log_info("signal %d: stopping", signum);
	if (!r->mounting) {
		r->stopping = true;
		stop_node(r);
		return;
	}
	pthread_mutex_lock(&r->lock);
	if (r->mount)
		mount_stop(r->mount); /* on_mount_ended goes on */
	pthread_mutex_unlock(&r->lock);
}

/* ---- a cluster of one ---- */

static void bootstrap_main(void *arg)
{
	struct node_run *r = arg;
	struct cluster_init_options o = {.groups = r->args.bootstrap_groups,
					 .replicas = 1,
					 .timeout_ns = 30 * NS_PER_S};
	struct cluster_init_result res;
	struct msg m = {""};
	int err = cluster_init(r->loop, r->transport, r->endpoint, &o, &res, &m);

	if (err) {
		r->exit_code = cli_error(CLI_FAILED, "make a cluster of one node: %s",
					 m.text[0] ? m.text : err_text(err));
		r->stopping = true;
		stop_node(r);
	} else if (r->args.mountpoint) {
		start_mount(r);
	} else {
		tell_ready(r);
	}
}

static int start(struct node_run *r)
{
	static const int signals[] = {SIGINT, SIGTERM};
	struct loop_signal *s;
	struct msg m = {""};
	int err = loop_new(&r->loop, &m);

	if (!err)
		err = kv_node_start(&r->args.cfg, r->loop, &r->node, &m);
	if (err)
		return cli_error(CLI_FAILED, "%s", m.text[0] ? m.text : err_text(err));
	r->endpoint = mem_must_strdup(kv_node_address(r->node));
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && !err; i++)
		err = loop_signal_new(r->loop, signals[i], on_signal, r, &s);
	if (!err)
		err = loop_async_new(r->loop, on_mount_ended, r, &r->mount_ended);
	if (!err && r->args.bootstrap_groups) {
		err = kv_transport_net_new(r->loop, &r->transport);
		if (!err)
			err = fiber_start(loop_fibers(r->loop), bootstrap_main, r);
	} else if (!err && r->args.mountpoint) {
		start_mount(r);
	} else if (!err) {
		tell_ready(r);
	}
	return err ? cli_error(CLI_FAILED, "%s", err_text(err)) : CLI_OK;
}

static int parse_number(int c, const char *arg, struct node_args *a)
{
	uint64_t n;

	switch (c) {
	case 'i':
		if (!cli_parse_u64(arg, 1, NODES_MAX - 1, &n))
			return cli_usage("node", "--id wants 1 to %u, not \"%s\"", NODES_MAX - 1,
					 arg);
		a->cfg.id = (uint32_t)n;
		return 0;
	case 'm':
		if (!cli_parse_size(arg, &a->cfg.memory_bytes) ||
		    a->cfg.memory_bytes < 16u * 1024 * 1024)
			return cli_usage("node", "--memory wants at least 16M, not \"%s\"", arg);
		return 0;
	case 'R':
		if (!cli_parse_u64(arg, 0, 65535, &n))
			return cli_usage("node", "--ready-fd wants a descriptor, not \"%s\"", arg);
		a->ready_fd = (int)n;
		return 0;
	default:
		if (!cli_parse_u64(arg, 1, GROUPS_MAX - 1, &n))
			return cli_usage("node", "--bootstrap wants a number of groups, not \"%s\"",
					 arg);
		a->bootstrap_groups = (uint32_t)n;
		return 0;
	}
}

/* 0; an exit code + 1 to leave with. */
static int parse(int argc, char **argv, struct node_args *a)
{
	static const struct option longs[] = {{"id", required_argument, NULL, 'i'},
					      {"listen", required_argument, NULL, 'l'},
					      {"advertise", required_argument, NULL, 'a'},
					      {"data", required_argument, NULL, 'd'},
					      {"join", required_argument, NULL, 'j'},
					      {"memory", required_argument, NULL, 'm'},
					      {"log", required_argument, NULL, 'L'},
					      {"verbose", no_argument, NULL, 'v'},
					      {"no-leases", no_argument, NULL, 'N'},
					      {"ready-fd", required_argument, NULL, 'R'},
					      {"bootstrap", required_argument, NULL, 'B'},
					      {"mount", required_argument, NULL, 'M'},
					      {"mount-options", required_argument, NULL, 'O'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	struct msg m = {""};
	int c;

	while ((c = getopt_long(argc, argv, "i:l:a:d:j:m:L:vh", longs, NULL)) != -1) {
		switch (c) {
		case 'l': a->cfg.listen = optarg; break;
		case 'a': a->cfg.advertise = optarg; break;
		case 'd': a->cfg.dir = optarg; break;
		case 'j': a->cfg.join = optarg; break;
		case 'v': logger_set_level(LOG_DEBUG_); break;
		case 'N': a->cfg.leases = false; break;
		case 'M': a->mountpoint = optarg; break;
		case 'O': a->mount_options = optarg; break;
		case 'L':
			if (logger_open(optarg, &m) != 0)
				return 1 + cli_error(CLI_FAILED, "%s", m.text);
			break;
		case 'i':
		case 'm':
		case 'R':
		case 'B':
			if (parse_number(c, optarg, a) != 0)
				return 1 + CLI_USAGE;
			break;
		case 'h':
			fputs(help, stdout);
			return 1 + CLI_OK;
		default:
			return 1 + cli_bad_option("node", argv, longs, c);
		}
	}
	if (optind < argc)
		return 1 + cli_usage("node", "unexpected argument \"%s\"", argv[optind]);
	if (!a->cfg.dir || !a->cfg.listen)
		return 1 + cli_usage("node", "--listen and --data are needed");
	return 0;
}

int cmd_node(int argc, char **argv)
{
	struct node_run r = {.args = {.ready_fd = -1}, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct msg m = {""};
	char *tag;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	kv_node_config_default(&r.args.cfg);
	rc = parse(argc, argv, &r.args);
	if (rc)
		return rc - 1;
	mount_options_default(&r.mount_options, geteuid() == 0);
	if (r.args.mount_options &&
	    mount_options_parse(&r.mount_options, r.args.mount_options, &m) != 0)
		return cli_usage("node", "%s", m.text);
	if (r.args.mountpoint && mount_check_point(r.args.mountpoint, &m) != 0)
		return cli_error(CLI_FAILED, "%s", m.text);
	tag = r.args.cfg.id ? mem_must_printf("node=%u", r.args.cfg.id) : NULL;
	logger_set_tag(tag);
	mem_free(tag);
	rc = start(&r);
	if (rc == CLI_OK) {
		loop_run(r.loop);
		rc = r.exit_code;
	}
	kv_node_free(r.node);
	mount_options_release(&r.mount_options);
	mem_free(r.endpoint);
	return rc;
}
