/* `paxfs local`: a whole store on this machine, started and stopped with one command. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "mount/mount.h"
#include "tools/cluster_init.h"
#include "tools/commands.h"
#include "tools/local_store.h"
#include "tools/process.h"

#define START_NS (60 * NS_PER_S)
#define STOP_NS	 (15 * NS_PER_S)

static const char help[] =
	"usage: paxfs local up     [--nodes N] [--groups G] [--data DIR] [--mount MNT]\n"
	"       paxfs local down   [--data DIR]\n"
	"       paxfs local status [--data DIR] [-o json]\n\n"
	"A store on this machine. `up` starts what is not running yet: N servers on loopback, makes\n"
	"them a cluster of G Paxos groups at the first time, and mounts it. With one node, one\n"
	"process holds store and mount. `down` unmounts and stops; the data stays.\n\n"
	"  -n, --nodes N       servers (default 3 at the first `up`, then what there is)\n"
	"  -g, --groups G      Paxos groups for data (default 4 at the first `up`)\n"
	"  -d, --data DIR      where the servers keep their data (default ./run/data)\n"
	"  -m, --mount MNT     where to mount (made if missing; default: no mount)\n"
	"  -o, --output FORMAT text (default) or json\n"
	"  -h, --help          this text\n";

struct local_args {
	uint64_t nodes, groups; /* 0: not given */
	const char *data, *mount;
	bool json;
};

/* ---- up ---- */

static int make_dirs(const char *path, struct msg *m)
{
	char *copy = mem_must_strdup(path);
	int err = 0;

	for (char *p = copy + 1; !err; p++) {
		if (*p && *p != '/')
			continue;
		char was = *p;

		*p = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			err = msg_set(m, err_from_errno(errno), "make directory %s: %s", copy,
				      strerror(errno));
		*p = was;
		if (!was)
			break;
	}
	mem_free(copy);
	return err;
}

static char *absolute(const char *path, struct msg *m)
{
	char resolved[PATH_MAX];

	if (make_dirs(path, m) != 0)
		return NULL;
	if (!realpath(path, resolved)) {
		msg_set(m, ERR_IO, "%s: %s", path, strerror(errno));
		return NULL;
	}
	return mem_must_strdup(resolved);
}

static int check_conflicts(const struct local_store *s, const struct local_args *a, struct msg *m)
{
	if (a->nodes && a->nodes != s->node_count)
		return msg_set(m, ERR_INVAL, "the store in %s has %u nodes, not %llu", s->data,
			       s->node_count, (unsigned long long)a->nodes);
	if (a->groups && a->groups != s->groups)
		return msg_set(m, ERR_INVAL, "the store in %s has %u groups, not %llu", s->data,
			       s->groups, (unsigned long long)a->groups);
	return 0;
}

/* As absolute(), without asking the last component, which is mounted. */
static char *absolute_mounted(const char *path, struct msg *m)
{
	char *copy = mem_must_strdup(path), *parent, *out = NULL, *slash;
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (slash)
		*slash = '\0';
	parent = absolute(!slash ? "." : slash == copy ? "/" : copy, m);
	if (parent)
		out = mem_must_printf("%s/%s", strcmp(parent, "/") == 0 ? "" : parent,
				      slash ? slash + 1 : copy);
	mem_free(parent);
	mem_free(copy);
	return out;
}

static int set_mount(struct local_store *s, const char *path, struct msg *m)
{
	char *mount;

	if (!path)
		return 0;
	mount = local_store_mount_runs(s) ? absolute_mounted(path, m) : absolute(path, m);
	if (!mount)
		return ERR_IO;
	if (strncmp(s->data, mount, strlen(mount)) == 0 &&
	    (s->data[strlen(mount)] == '/' || s->data[strlen(mount)] == '\0')) {
		msg_set(m, ERR_INVAL, "the data directory %s lies inside the mount point %s",
			s->data, mount);
		mem_free(mount);
		return ERR_INVAL;
	}
	mem_free(s->mount);
	s->mount = mount;
	return 0;
}

static int open_or_create(struct local_store *s, const struct local_args *a, struct msg *m)
{
	char *data = absolute(a->data, m);
	int err;

	if (!data)
		return ERR_IO;
	err = local_store_load(s, data, m);
	if (err == ERR_NOT_FOUND) {
		memset(s, 0, sizeof(*s));
		s->data = mem_must_strdup(data);
		s->groups = a->groups ? (uint32_t)a->groups : 4;
		s->node_count = a->nodes ? (uint32_t)a->nodes : 3;
		for (uint32_t i = 0; i < s->node_count; i++)
			s->nodes[i].id = i + 1;
		err = 0;
	} else if (!err) {
		local_store_drop_dead_mount(s); /* its mount point could not be looked at */
		err = check_conflicts(s, a, m);
	}
	mem_free(data);
	return err ? err : set_mount(s, a->mount, m);
}

static int start_node(struct local_store *s, struct local_node *n, struct msg *m)
{
	char *pid = local_store_pid_path(s, n->id), *log = local_store_log_path(s, n->id);
	char *dir = local_store_node_dir(s, n->id), *id = mem_must_printf("%u", n->id);
	char *groups = mem_must_printf("%u", s->groups);
	const char *argv[20] = {"paxfs",   "node",
				"--id",	   id,
				"--data",  dir,
				"--listen", n->address[0] ? n->address : "127.0.0.1:0"};
	unsigned argc = 8;
	char line[256];
	int err = 0;

	if (s->node_count == 1) {
		argv[argc++] = "--bootstrap";
		argv[argc++] = groups;
	}
	if (local_store_embedded(s)) {
		argv[argc++] = "--mount";
		argv[argc++] = s->mount;
	}
	if (!process_running(pid)) {
		err = process_start((char *const *)(uintptr_t)argv, log, pid, START_NS, line, m);
		if (err)
			msg_wrap(m, err, "node %u", n->id);
		else
			snprintf(n->address, sizeof(n->address), "%s", line);
	}
	mem_free(pid);
	mem_free(log);
	mem_free(dir);
	mem_free(id);
	mem_free(groups);
	return err;
}

static int run_init(struct cli_session *cs, void *ctx)
{
	struct local_store *s = ctx;
	struct cluster_init_options o = {.groups = s->groups,
					 .replicas = s->node_count >= 3 ? 3 : 1,
					 .timeout_ns = START_NS};
	struct cluster_init_result res;
	struct msg m = {""};
	int err = cluster_init(cs->loop, cs->transport, cs->endpoints, &o, &res, &m);

	if (err)
		return cli_error(cli_exit_code(err), "initialise: %s",
				 m.text[0] ? m.text : err_text(err));
	return CLI_OK;
}

static int start_mount(struct local_store *s, struct msg *m)
{
	char *pid = local_store_pid_path(s, 0), *log = local_store_log_path(s, 0);
	char *endpoints = local_store_endpoints(s);
	const char *argv[] = {"paxfs", "mount", "-f", endpoints, s->mount, NULL, NULL, NULL};
	int err = 0;

	if (!process_running(pid)) {
		err = mount_check_point(s->mount, m);
		if (!err)
			err = process_start((char *const *)(uintptr_t)argv, log, pid, START_NS,
					    NULL, m);
		if (err)
			msg_wrap(m, err, "mount");
	}
	mem_free(pid);
	mem_free(log);
	mem_free(endpoints);
	return err;
}

static void tell_up(const struct local_store *s, const struct local_args *a)
{
	char *endpoints = local_store_endpoints(s);

	printf("paxfs is up: %u node%s, %u data groups, data in %s\n", s->node_count,
	       s->node_count == 1 ? "" : "s", s->groups, s->data);
	printf("  endpoints  %s\n", endpoints);
	if (s->mount)
		printf("  mounted at %s\n", s->mount);
	else
		printf("  mount it   paxfs mount %s MNT\n", endpoints);
	printf("  look       paxfs status --endpoints %s\n", endpoints);
	printf("  stop       paxfs local down --data %s\n", a->data);
	mem_free(endpoints);
}

static int up(const struct local_args *a)
{
	struct cli_client_options o;
	struct local_store s;
	struct msg m = {""};
	int err = open_or_create(&s, a, &m), rc = CLI_OK;

	if (!err && local_store_embedded(&s)) {
		char *pid = local_store_pid_path(&s, s.nodes[0].id);

		err = process_running(pid) ? 0 : mount_check_point(s.mount, &m);
		mem_free(pid);
	}
	for (uint32_t i = 0; i < s.node_count && !err; i++) {
		err = start_node(&s, &s.nodes[i], &m);
		if (!err)
			err = local_store_save(&s, &m);
	}
	if (err) {
		rc = cli_error(cli_exit_code(err), "%s", m.text[0] ? m.text : err_text(err));
		goto out;
	}
	cli_client_options_init(&o);
	o.endpoints = local_store_endpoints(&s);
	if (s.node_count > 1)
		rc = cli_run(&o, CLI_NO_CLIENT, run_init, &s);
	cli_client_options_release(&o);
	if (rc == CLI_OK && s.mount && !local_store_embedded(&s)) {
		err = start_mount(&s, &m);
		if (err)
			rc = cli_error(cli_exit_code(err), "%s",
				       m.text[0] ? m.text : err_text(err));
	}
	if (rc == CLI_OK)
		tell_up(&s, a);
out:
	local_store_release(&s);
	return rc;
}

/* ---- down, status ---- */

struct mounted {
	const struct local_store *store;
	unsigned connection;
};

static void abort_mount(const void *ctx)
{
	const struct mounted *mt = ctx;

	if (!mt->connection)
		return;
	local_store_abort_mount(mt->store, mt->connection);
	printf("the mount hangs: its connection to the kernel was cut\n");
}

/* Process @id of the store (0: the mount); false when it still runs. */
static bool stop_one(const struct local_store *s, uint32_t id, unsigned *stopped)
{
	char *path = local_store_pid_path(s, id);
	bool mounts = id == 0 || local_store_embedded(s);
	struct mounted mt = {.store = s, .connection = mounts ? local_store_connection(s) : 0};
	pid_t pid = process_running(path);
	enum process_end end = PROCESS_ENDED;

	if (pid) {
		end = process_stop(path, STOP_NS, abort_mount, &mt);
		*stopped += end != PROCESS_STAYS;
	}
	if (end == PROCESS_KILLED)
		printf("%s%.0u did not stop in time and was killed\n", id ? "node " : "the mount", id);
	if (end == PROCESS_STAYS)
		cli_error(0, "%s%.0u (process %d) did not end, not even by SIGKILL: the kernel holds it",
			  id ? "node " : "the mount", id, (int)pid);
	mem_free(path);
	return end != PROCESS_STAYS;
}

static int down(const struct local_args *a)
{
	struct local_store s;
	struct msg m = {""};
	unsigned stopped = 0;
	int err = local_store_load(&s, a->data, &m);
	bool all;

	if (err)
		return cli_error(CLI_FAILED, "%s", m.text);
	all = stop_one(&s, 0, &stopped); /* the mount, first */
	for (uint32_t i = 0; i < s.node_count; i++)
		all &= stop_one(&s, s.nodes[i].id, &stopped);
	local_store_drop_dead_mount(&s);
	printf("stopped %u process%s; the data stays in %s\n", stopped,
	       stopped == 1 ? "" : "es", s.data);
	local_store_release(&s);
	return all ? CLI_OK : CLI_FAILED;
}

static json_t *process_json(const struct local_store *s, uint32_t id, const char *address)
{
	char *pid = local_store_pid_path(s, id), *dir = local_store_node_dir(s, id);
	char *log = local_store_log_path(s, id);
	pid_t p = process_running(pid);
	json_t *o = json_object();

	json_object_set_new(o, "kind",
			    json_string(id == 0			  ? "mount"
					: local_store_embedded(s) ? "node+mount"
								  : "node"));
	json_object_set_new(o, "id", id ? json_integer(id) : json_null());
	json_object_set_new(o, "pid", p ? json_integer(p) : json_null());
	json_object_set_new(o, "address", json_string(address));
	json_object_set_new(o, "data", json_string(id ? dir : s->mount));
	json_object_set_new(o, "log", json_string(log));
	mem_free(pid);
	mem_free(dir);
	mem_free(log);
	return o;
}

static json_t *all_json(const struct local_store *s)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < s->node_count; i++)
		json_array_append_new(list,
				      process_json(s, s->nodes[i].id, s->nodes[i].address));
	if (s->mount && !local_store_embedded(s)) {
		char *endpoints = local_store_endpoints(s);

		json_array_append_new(list, process_json(s, 0, endpoints));
		mem_free(endpoints);
	}
	return list;
}

static int status(const struct local_args *a)
{
	struct local_store s;
	struct msg m = {""};
	json_t *list, *o;
	size_t i;
	int err = local_store_load(&s, a->data, &m), rc = CLI_OK;

	if (err)
		return cli_error(CLI_FAILED, "%s", m.text);
	list = all_json(&s);
	if (a->json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		printf("%-10s %4s %8s  %-24s %s\n", "kind", "id", "pid", "address", "data");
	}
	json_array_foreach(list, i, o) {
		json_int_t pid = json_integer_value(json_object_get(o, "pid"));
		char pid_text[24], id_text[24] = "-";

		if (!pid)
			rc = CLI_FAILED;
		if (a->json)
			continue;
		snprintf(pid_text, sizeof(pid_text), "%lld", (long long)pid);
		if (json_is_integer(json_object_get(o, "id")))
			snprintf(id_text, sizeof(id_text), "%lld",
				 (long long)json_integer_value(json_object_get(o, "id")));
		printf("%-10s %4s %8s  %-24s %s\n", json_string_value(json_object_get(o, "kind")),
		       id_text, pid ? pid_text : "down",
		       json_string_value(json_object_get(o, "address")),
		       json_string_value(json_object_get(o, "data")));
	}
	json_decref(list);
	local_store_release(&s);
	return rc;
}

static int parse(int argc, char **argv, struct local_args *a)
{
	static const struct option longs[] = {{"nodes", required_argument, NULL, 'n'},
					      {"groups", required_argument, NULL, 'g'},
					      {"data", required_argument, NULL, 'd'},
					      {"mount", required_argument, NULL, 'm'},
					      {"output", required_argument, NULL, 'o'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "n:g:d:m:o:h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return 1 + CLI_OK;
		} else if (c == 'd') {
			a->data = optarg;
		} else if (c == 'm') {
			a->mount = optarg;
		} else if (c == 'o' &&
			   (strcmp(optarg, "json") == 0 || strcmp(optarg, "text") == 0)) {
			a->json = strcmp(optarg, "json") == 0;
		} else if ((c == 'n' && cli_parse_u64(optarg, 1, LOCAL_NODES_MAX, &a->nodes)) ||
			   (c == 'g' && cli_parse_u64(optarg, 1, GROUPS_MAX - 1, &a->groups))) {
			continue;
		} else {
			return 1 + cli_bad_option("local", argv, longs, c);
		}
	}
	return 0;
}

int cmd_local(int argc, char **argv)
{
	struct local_args a = {.data = CLI_LOCAL_DATA};
	int rc = parse(argc, argv, &a);

	if (rc)
		return rc - 1;
	if (optind + 1 != argc)
		return cli_usage("local", "say up, down or status");
	if (strcmp(argv[optind], "up") == 0)
		return up(&a);
	if (a.nodes || a.groups || a.mount)
		return cli_usage("local", "--nodes, --groups and --mount go with `up`");
	if (strcmp(argv[optind], "down") == 0)
		return down(&a);
	if (strcmp(argv[optind], "status") == 0)
		return status(&a);
	return cli_usage("local", "say up, down or status, not \"%s\"", argv[optind]);
}
