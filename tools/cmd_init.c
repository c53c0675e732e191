/* `paxfs init`: makes running servers into a cluster. */
#include <stdio.h>

#include "base/err.h"
#include "tools/cluster_init.h"
#include "tools/commands.h"

static const char help[] =
	"usage: paxfs init --endpoints A,B,C [--groups N] [--replicas N]\n\n"
	"Makes the running nodes at A,B,C into one cluster, cuts the key space into shards,\n"
	"assigns them to Paxos groups, and makes an empty file system. Once per cluster; running\n"
	"it again finishes an interrupted run and changes nothing else.\n\n"
	"  -g, --groups N         Paxos groups for data (default 4); one more holds the\n"
	"                         cluster's own state\n"
	"  -r, --replicas N       copies of each group: 1, 3 or 5 (default 3, or 1 for one node)\n"
	"  -e, --endpoints A,B,C  the addresses of all nodes\n"
	"  -t, --timeout SECONDS  give up after so long (default 30; 0: never)\n"
	"  -o, --output FORMAT    text (default) or json\n"
	"  -h, --help             this text\n";

struct init_args {
	struct cluster_init_options options;
};

static int run(struct cli_session *s, void *ctx)
{
	struct init_args *a = ctx;
	struct cluster_init_result res;
	struct msg m = {""};
	char id[33];
	int err = cluster_init(s->loop, s->transport, s->endpoints, &a->options, &res, &m);

	if (err)
		return cli_error(cli_exit_code(err), "%s", m.text[0] ? m.text : err_text(err));
	cluster_id_text(res.cluster, id);
	if (s->options->json)
		printf("{\"cluster\":\"%s\",\"nodes\":%u,\"groups\":%u,\"shards\":%u,"
		       "\"existed\":%s}\n",
		       id, res.nodes, res.groups, res.shards, res.existed ? "true" : "false");
	else
		printf("cluster %s%s: %u nodes, %u groups (group 0 is the cluster's own), "
		       "%u shards\n",
		       id, res.existed ? " was there already" : "", res.nodes, res.groups,
		       res.shards);
	return CLI_OK;
}

static uint32_t count_items(const char *list)
{
	uint32_t n = 0;

	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ",");

		n += len > 0;
		p += len + (p[len] == ',');
	}
	return n;
}

int cmd_init(int argc, char **argv)
{
	static const struct option longs[] = {{"groups", required_argument, NULL, 'g'},
					      {"replicas", required_argument, NULL, 'r'},
					      CLI_CLIENT_OPTIONS,
					      {0}};
	struct cli_client_options o;
	struct init_args a = {.options = {.groups = 4}};
	uint64_t n;
	int c, rc = CLI_USAGE;

	cli_client_options_init(&o);
	o.timeout_ns = 30 * NS_PER_S;
	while ((c = getopt_long(argc, argv, "g:r:" CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("init", &o, c, optarg);

		if (handled < 0)
			goto out;
		if (handled)
			continue;
		if (c == 'h') {
			fputs(help, stdout);
			rc = CLI_OK;
			goto out;
		} else if (c == 'g' && cli_parse_u64(optarg, 1, GROUPS_MAX - 1, &n)) {
			a.options.groups = (uint32_t)n;
		} else if (c == 'r' && cli_parse_u64(optarg, 1, GROUP_REPLICAS_MAX, &n)) {
			a.options.replicas = (uint32_t)n;
		} else {
			rc = cli_bad_option("init", argv, longs, c);
			goto out;
		}
	}
	if (optind < argc) {
		rc = cli_usage("init", "unexpected argument \"%s\"", argv[optind]);
		goto out;
	}
	if (!o.endpoints) {
		rc = cli_usage("init", "--endpoints is needed: the addresses of all nodes");
		goto out;
	}
	if (a.options.replicas == 0)
		a.options.replicas = count_items(o.endpoints) >= 3 ? 3 : 1;
	a.options.timeout_ns = o.timeout_ns ? o.timeout_ns : 3600 * NS_PER_S;
	rc = cli_run(&o, CLI_NO_CLIENT, run, &a);
out:
	cli_client_options_release(&o);
	return rc;
}
