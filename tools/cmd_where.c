/* `paxfs where`: on which shard, group and nodes a file lives. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tools/cli.h"
#include "tools/commands.h"
#include "tools/mounted.h"

static const char help[] =
	"usage: paxfs where PATH...\n\n"
	"Shard, group, leader and replicas of files. PATH is a path inside a mount of paxfs, or a\n"
	"key. A file's inode and first 64 MiB live with the directory that it was made in; a\n"
	"directory's own inode has a place of its own. A last symlink is not followed.\n\n"
	CLI_CLIENT_HELP;

struct where_args {
	struct cli_client_options o;
	char **paths;
	int count;
};

static void group_text(const struct kv_layout *l, uint32_t group, char out[128])
{
	const struct kv_layout_group *g = kv_layout_group(l, group);

	out[0] = '\0';
	for (uint32_t i = 0; g && i < g->member_count; i++)
		snprintf(out + strlen(out), 128 - strlen(out), i ? ",%u" : "%u", g->members[i]);
}

/* Asks any key of the group once, so that the client knows who leads. */
static uint32_t leader_of(struct cli_session *s, struct slice key, uint32_t group)
{
	struct txn_mini m;
	struct txn_result r;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, key);
	(void)txn_exec(kv_client_executor(s->client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return kv_client_leader(s->client, group);
}

static void show(struct cli_session *s, const char *path, const struct fs_where *w)
{
	const struct kv_layout *l = kv_client_layout(s->client);
	uint32_t shard = kv_layout_shard_of(l, buf_slice(&w->inode_key));
	uint32_t leader = leader_of(s, buf_slice(&w->inode_key), w->inode_group);
	char replicas[128];

	group_text(l, w->inode_group, replicas);
	if (s->options->json) {
		json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "path", path,
				      "ino", (json_int_t)w->ino, "shard", (json_int_t)shard,
				      "group", (json_int_t)w->inode_group, "dentry_group",
				      (json_int_t)w->dentry_group, "data_group",
				      (json_int_t)w->data_group, "leader", (json_int_t)leader,
				      "replicas", replicas);

		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(o);
	} else {
		printf("%s: inode %llu, shard %u, group %u (leader node %u, replicas %s); name in "
		       "group %u, data in group %u\n",
		       path, (unsigned long long)w->ino, shard, w->inode_group, leader, replicas,
		       w->dentry_group, w->data_group);
	}
}

static int run(struct cli_session *s, void *ctx)
{
	struct where_args *a = ctx;
	int rc = CLI_OK;

	for (int i = 0; i < a->count; i++) {
		char *endpoints = NULL, *key = mounted_key(a->paths[i], &endpoints);
		struct fs_where w = {.ino = 0};
		int err = fs_where(s->fs, slice_str(key ? key : a->paths[i]), &w);

		if (err)
			rc = cli_error(cli_exit_code(err), "%s: %s", a->paths[i], err_text(err));
		else
			show(s, a->paths[i], &w);
		buf_release(&w.inode_key);
		mem_free(key);
		mem_free(endpoints);
	}
	return rc;
}

int cmd_where(int argc, char **argv)
{
	static const struct option longs[] = {CLI_CLIENT_OPTIONS, {0}};
	struct where_args a = {.count = 0};
	int c, rc = -1;

	cli_client_options_init(&a.o);
	while (rc < 0 && (c = getopt_long(argc, argv, CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("where", &a.o, c, optarg);

		if (c == 'h') {
			fputs(help, stdout);
			rc = CLI_OK;
		} else if (handled <= 0) {
			rc = handled ? CLI_USAGE
				     : cli_bad_option("where", argv, longs, c);
		}
	}
	a.paths = argv + optind;
	a.count = argc - optind;
	if (rc < 0 && a.count == 0)
		rc = cli_usage("where", "which file?");
	if (rc < 0 && !a.o.endpoints)
		a.o.endpoints = mounted_store(a.paths[0]);
	if (rc < 0)
		rc = cli_run(&a.o, CLI_FS, run, &a);
	cli_client_options_release(&a.o);
	return rc;
}
