/* `paxfs clients`: who has a session with the store, and the end of one. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "tools/commands.h"
#include "tools/sessions.h"

static const char help[] =
	"usage: paxfs clients [-o json]\n"
	"       paxfs clients --evict ID\n\n"
	"The sessions of a store: mounts, and other clients that write. --evict ends one: whatever\n"
	"is still sent under it is refused, and its locks are free. A mount that lives goes on with\n"
	"a new session.\n\n"
	"  -E, --evict ID         end the session of this number\n" CLI_CLIENT_HELP;

struct clients_args {
	struct cli_client_options o;
	uint64_t evict; /* 0: list */
};

/* By this machine's clock; never negative. */
static uint64_t seconds_since(struct cli_session *s, uint64_t stamp_ns)
{
	uint64_t now = env_wall_ns(loop_env(s->loop));

	return now > stamp_ns ? (now - stamp_ns) / NS_PER_S : 0;
}

static void show_json(struct cli_session *s, const struct session_list *l)
{
	json_t *all = json_array();

	for (uint32_t i = 0; i < l->count; i++) {
		const struct session_entry *e = &l->v[i];

		json_array_append_new(
			all, json_pack("{s:I, s:s%, s:I, s:I}", "id", (json_int_t)e->id, "name",
				       e->name, strlen(e->name), "age",
				       (json_int_t)seconds_since(s, e->opened_ns), "renewed",
				       (json_int_t)seconds_since(s, e->renewed_ns)));
	}
	json_dumpf(all, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(all);
}

static void show_text(struct cli_session *s, const struct session_list *l)
{
	printf("%8s  %10s  %12s  %s\n", "session", "open for", "last renewed", "name");
	for (uint32_t i = 0; i < l->count; i++) {
		const struct session_entry *e = &l->v[i];

		printf("%8" PRIu64 "  %8" PRIu64 " s  %8" PRIu64 " s ago  %s\n", e->id,
		       seconds_since(s, e->opened_ns), seconds_since(s, e->renewed_ns), e->name);
	}
}

static int run(struct cli_session *s, void *ctx)
{
	struct clients_args *a = ctx;
	struct session_list l;
	int err;

	if (a->evict) {
		err = kv_client_evict(s->client, a->evict);
		if (err == ERR_NOT_FOUND)
			return cli_error(CLI_FAILED, "clients: there is no session %" PRIu64, a->evict);
		return err ? cli_error(cli_exit_code(err), "clients: %s", err_text(err)) : CLI_OK;
	}
	err = sessions_read(s, &l);
	if (err)
		return cli_error(cli_exit_code(err), "clients: %s", err_text(err));
	if (s->options->json)
		show_json(s, &l);
	else
		show_text(s, &l);
	sessions_release(&l);
	return CLI_OK;
}

int cmd_clients(int argc, char **argv)
{
	static const struct option longs[] = {
		{"evict", required_argument, NULL, 'E'}, CLI_CLIENT_OPTIONS, {0}};
	struct clients_args a = {.evict = 0};
	int c, rc = -1;

	cli_client_options_init(&a.o);
	while (rc < 0 && (c = getopt_long(argc, argv, "E:" CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("clients", &a.o, c, optarg);

		if (c == 'h') {
			fputs(help, stdout);
			rc = CLI_OK;
		} else if (c == 'E') {
			if (!cli_parse_u64(optarg, 1, UINT64_MAX, &a.evict))
				rc = cli_bad_option("clients", argv, longs, c);
		} else if (handled <= 0) {
			rc = handled ? CLI_USAGE : cli_bad_option("clients", argv, longs, c);
		}
	}
	if (rc < 0 && optind < argc)
		rc = cli_usage("clients", "unexpected argument \"%s\"", argv[optind]);
	if (rc < 0)
		rc = cli_run(&a.o, CLI_CLIENT, run, &a);
	cli_client_options_release(&a.o);
	return rc;
}
