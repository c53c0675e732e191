/* `paxfs status`: what an operator wants to see at a glance, and why something is not well. */
#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/wire.h"
#include "tools/cli.h"
#include "tools/cluster_init.h"
#include "tools/commands.h"

static const char help[] =
	"usage: paxfs status [--endpoints A,B,C] [-o json]\n\n"
	"Nodes, groups, who leads them, ballots, slots, who lags and why, shards, keys, bytes.\n"
	"Exit status 1 when a node does not answer or a group has no serving leader.\n\n"
	CLI_CLIENT_HELP;

struct node_view {
	uint32_t id;
	const char *address;
	int err;
	struct kv_node_status status;
};

struct cluster_view {
	const struct kv_layout *layout;
	struct node_view *nodes;
	uint32_t count;
};

static void ask(struct cli_session *s, struct node_view *v)
{
	struct buf reply = BUF_INIT;

	v->err = kv_client_admin(s->transport, loop_env(s->loop), v->address, KV_STATUS,
				 (struct slice){0}, NS_PER_S, &reply);
	if (!v->err)
		v->err = kv_node_status_decode(buf_slice(&reply), &v->status);
	buf_release(&reply);
}

static const char *role_text(const struct kv_group_status *g)
{
	static const char *const roles[] = {"follower", "candidate", "leader"};

	if (g->role == 2)
		return g->serving ? "leader" : "leader (not serving yet)";
	return g->role < 3 ? roles[g->role] : "?";
}

/* The view of a group that knows most: its serving leader's, else the highest ballot's. */
static const struct kv_group_status *best_view(const struct cluster_view *v, uint32_t group,
					       uint32_t *node)
{
	const struct kv_group_status *best = NULL;

	for (uint32_t i = 0; i < v->count; i++) {
		for (uint32_t j = 0; !v->nodes[i].err && j < v->nodes[i].status.group_count; j++) {
			const struct kv_group_status *g = &v->nodes[i].status.groups[j];

			if (g->group != group)
				continue;
			if (!best || (g->serving && !best->serving) ||
			    (g->serving == best->serving && g->ballot > best->ballot)) {
				best = g;
				*node = v->nodes[i].id;
			}
		}
	}
	return best;
}

static uint32_t shards_of(const struct kv_layout *l, uint32_t group)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->shard_count; i++)
		n += l->shards[i].group == group;
	return n;
}

/* ---- JSON ---- */

static json_t *u64(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/* null: this replica has not heard of it. */
static json_t *silence(uint64_t ns)
{
	return ns == UINT64_MAX ? json_null() : u64(ns / NS_PER_MS);
}

static json_t *group_json(const struct kv_group_status *g)
{
	json_t *o = json_object(), *members = json_array();

	json_object_set_new(o, "group", u64(g->group));
	json_object_set_new(o, "role", json_string(role_text(g)));
	json_object_set_new(o, "serving", json_boolean(g->serving));
	json_object_set_new(o, "leader", u64(g->leader));
	json_object_set_new(o, "ballot", u64(g->ballot));
	json_object_set_new(o, "commit", u64(g->commit));
	json_object_set_new(o, "applied", u64(g->applied));
	json_object_set_new(o, "last", u64(g->last));
	json_object_set_new(o, "log_start", u64(g->log_start));
	json_object_set_new(o, "keys", u64(g->keys));
	json_object_set_new(o, "bytes", u64(g->bytes));
	json_object_set_new(o, "prepared", u64(g->prepared));
	json_object_set_new(o, "waiting", u64(g->waiting));
	json_object_set_new(o, "locks", u64(g->locks));
	json_object_set_new(o, "commands", u64(g->commands));
	json_object_set_new(o, "conflicts", u64(g->conflicts));
	json_object_set_new(o, "deadlocks", u64(g->deadlocks));
	json_object_set_new(o, "note", json_string(g->note));
	for (uint32_t i = 0; i < g->member_count; i++)
		json_array_append_new(members,
				      json_pack("{s:o, s:o, s:o}", "node", u64(g->members[i]),
						"accepted", u64(g->member_accepted[i]),
						"silent_ms",
						silence(g->member_silent_ns[i])));
	json_object_set_new(o, "members", members);
	return o;
}

static json_t *node_json(const struct node_view *v)
{
	const struct kv_node_status *n = &v->status;
	json_t *o = json_object(), *groups = json_array();

	json_object_set_new(o, "id", u64(v->id));
	json_object_set_new(o, "address", json_string(v->address));
	json_object_set_new(o, "up", json_boolean(!v->err));
	if (v->err) {
		json_object_set_new(o, "error", json_string(err_text(v->err)));
		json_decref(groups);
		return o;
	}
	json_object_set_new(o, "version", json_string(n->version));
	json_object_set_new(o, "pid", u64(n->pid));
	json_object_set_new(o, "uptime_s", u64(n->uptime_ns / NS_PER_S));
	json_object_set_new(o, "rss_bytes", u64(n->rss_bytes));
	json_object_set_new(o, "log_bytes", u64(n->wal_bytes));
	json_object_set_new(o, "engine_disk_bytes", u64(n->engine_disk_bytes));
	json_object_set_new(o, "engine_memory_bytes", u64(n->engine_memory_bytes));
	json_object_set_new(o, "sync_us_last", u64(n->sync_ns_last / 1000));
	json_object_set_new(o, "sync_us_max", u64(n->sync_ns_max / 1000));
	json_object_set_new(o, "frames_in", u64(n->frames_in));
	json_object_set_new(o, "frames_out", u64(n->frames_out));
	json_object_set_new(o, "bytes_in", u64(n->bytes_in));
	json_object_set_new(o, "bytes_out", u64(n->bytes_out));
	json_object_set_new(o, "bad_frames", u64(n->bad_frames));
	json_object_set_new(o, "disk_total_bytes", u64(n->disk_total));
	json_object_set_new(o, "disk_free_bytes", u64(n->disk_free));
	for (uint32_t i = 0; i < n->group_count; i++)
		json_array_append_new(groups, group_json(&n->groups[i]));
	json_object_set_new(o, "groups", groups);
	return o;
}

static void print_json(const struct cluster_view *v)
{
	json_t *root = json_object(), *nodes = json_array();
	char id[33];

	cluster_id_text(v->layout->cluster, id);
	json_object_set_new(root, "cluster", json_string(id));
	json_object_set_new(root, "map_version", u64(v->layout->version));
	json_object_set_new(root, "shards", u64(v->layout->shard_count));
	for (uint32_t i = 0; i < v->count; i++)
		json_array_append_new(nodes, node_json(&v->nodes[i]));
	json_object_set_new(root, "nodes", nodes);
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

/* ---- text ---- */

static void print_size(char out[16], uint64_t bytes)
{
	static const char units[] = "BKMGTP";
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1024 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	snprintf(out, 16, u ? "%.1f%c" : "%.0f%c", v, units[u]);
}

static void print_nodes(const struct cluster_view *v)
{
	printf("%-5s %-24s %-8s %8s %9s %9s %9s %10s\n", "node", "address", "state", "pid",
	       "memory", "log", "data", "sync ms");
	for (uint32_t i = 0; i < v->count; i++) {
		const struct node_view *n = &v->nodes[i];
		char rss[16], log[16], disk[16];

		if (n->err) {
			printf("%-5u %-24s DOWN: %s\n", n->id, n->address, err_text(n->err));
			continue;
		}
		print_size(rss, n->status.rss_bytes);
		print_size(log, n->status.wal_bytes);
		print_size(disk, n->status.engine_disk_bytes);
		printf("%-5u %-24s %-8s %8llu %9s %9s %9s %10.2f\n", n->id, n->address, "up",
		       (unsigned long long)n->status.pid, rss, log, disk,
		       (double)n->status.sync_ns_last / 1e6);
	}
}

/* One replica's own note, or how far it is behind the leader. */
static void print_lag(const struct cluster_view *v, const struct kv_group_status *lead)
{
	for (uint32_t i = 0; i < v->count; i++) {
		for (uint32_t j = 0; !v->nodes[i].err && j < v->nodes[i].status.group_count; j++) {
			const struct kv_group_status *g = &v->nodes[i].status.groups[j];

			if (g->group == lead->group && g->note[0])
				printf("      node %u: %s\n", v->nodes[i].id, g->note);
			else if (g->group == lead->group && g->applied + 64 < lead->commit)
				printf("      node %u: behind by %llu slots\n", v->nodes[i].id,
				       (unsigned long long)(lead->commit - g->applied));
		}
	}
}

static bool print_groups(const struct cluster_view *v)
{
	bool all_serve = true;

	printf("\n%-5s %-6s %-9s %-10s %12s %12s %7s %10s %9s %6s\n", "group", "leader", "ballot",
	       "members", "commit", "applied", "shards", "keys", "bytes", "locks");
	for (uint32_t i = 0; i < v->layout->group_count; i++) {
		const struct kv_layout_group *lg = &v->layout->groups[i];
		uint32_t node = 0;
		const struct kv_group_status *g = best_view(v, lg->id, &node);
		char members[64] = "", bytes[16], ballot[32];

		for (uint32_t j = 0; j < lg->member_count; j++)
			snprintf(members + strlen(members), sizeof(members) - strlen(members),
				 j ? ",%u" : "%u", lg->members[j]);
		if (!g || !g->serving)
			all_serve = false;
		if (!g) {
			printf("%-5u %-6s nobody answers for it\n", lg->id, "-");
			continue;
		}
		print_size(bytes, g->bytes);
		snprintf(ballot, sizeof(ballot), "%llu.%llu", (unsigned long long)(g->ballot >> 16),
			 (unsigned long long)(g->ballot & 0xffff));
		if (g->serving)
			printf("%-5u %-6u ", lg->id, node);
		else
			printf("%-5u %-6s ", lg->id, "none");
		printf("%-9s %-10s %12llu %12llu %7u %10llu %9s %6llu\n", ballot, members,
		       (unsigned long long)g->commit, (unsigned long long)g->applied,
		       shards_of(v->layout, lg->id), (unsigned long long)g->keys, bytes,
		       (unsigned long long)g->locks);
		print_lag(v, g);
	}
	return all_serve;
}

static bool all_served(const struct cluster_view *v)
{
	for (uint32_t i = 0; i < v->layout->group_count; i++) {
		uint32_t node;
		const struct kv_group_status *g = best_view(v, v->layout->groups[i].id, &node);

		if (!g || !g->serving)
			return false;
	}
	return true;
}

static int run(struct cli_session *s, void *ctx)
{
	struct cluster_view v = {.layout = kv_client_layout(s->client)};
	bool fine;
	char id[33];

	(void)ctx;
	v.count = v.layout->node_count;
	v.nodes = mem_must_alloc(v.count * sizeof(*v.nodes));
	for (uint32_t i = 0; i < v.count; i++) {
		v.nodes[i].id = v.layout->nodes[i].id;
		v.nodes[i].address = v.layout->nodes[i].address;
		ask(s, &v.nodes[i]);
	}
	if (s->options->json) {
		print_json(&v);
		fine = all_served(&v);
	} else {
		cluster_id_text(v.layout->cluster, id);
		printf("cluster %s, shard map version %llu, %u shards\n\n", id,
		       (unsigned long long)v.layout->version, v.layout->shard_count);
		print_nodes(&v);
		fine = print_groups(&v);
	}
	for (uint32_t i = 0; i < v.count; i++) {
		fine = fine && !v.nodes[i].err;
		if (!v.nodes[i].err)
			kv_node_status_release(&v.nodes[i].status);
	}
	mem_free(v.nodes);
	return fine ? CLI_OK : CLI_FAILED;
}

int cmd_status(int argc, char **argv)
{
	static const struct option longs[] = {CLI_CLIENT_OPTIONS, {0}};
	struct cli_client_options o;
	int c, rc = -1;

	cli_client_options_init(&o);
	while (rc < 0 && (c = getopt_long(argc, argv, CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("status", &o, c, optarg);

		if (c == 'h') {
			fputs(help, stdout);
			rc = CLI_OK;
		} else if (handled <= 0) {
			rc = handled ? CLI_USAGE
				     : cli_bad_option("status", argv, longs, c);
		}
	}
	if (rc < 0 && optind < argc)
		rc = cli_usage("status", "unexpected argument \"%s\"", argv[optind]);
	if (rc < 0)
		rc = cli_run(&o, CLI_CLIENT, run, NULL);
	cli_client_options_release(&o);
	return rc;
}
