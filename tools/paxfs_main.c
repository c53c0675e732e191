/* The `paxfs` command: one binary, a table of subcommands; called as mount.paxfs it is the helper of
 * mount(8). */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/commands.h"

static const struct cli_command commands[] = {
	{"local", cmd_local, "start, stop or show a store on this machine"},
	{"node", cmd_node, "run one server"},
	{"init", cmd_init, "make servers into a cluster, once"},
	{"mount", cmd_mount, "mount the file system"},
	{"status", cmd_status, "nodes, groups, leaders, lag"},
	{"get", cmd_get, "print a key's value"},
	{"put", cmd_put, "store a value under a key"},
	{"del", cmd_del, "delete a key"},
	{"ls", cmd_ls, "list keys"},
	{"mget", cmd_mget, "read several keys at one moment"},
	{"mput", cmd_mput, "store several keys, all or none"},
	{"cas", cmd_cas, "replace a value only if it is what you think"},
	{"swap", cmd_swap, "exchange two keys, atomically"},
	{"where", cmd_where, "shard, group, leader and replicas of a file"},
	{"watch", cmd_watch, "print a file's version whenever it changes"},
	{"locks", cmd_locks, "who holds locks, who waits"},
	{"clients", cmd_clients, "who has a session; end one"},
	{"fsck", cmd_fsck, "check the file system, online"},
	{"bench", cmd_bench, "measure the key-value store"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void help(FILE *to)
{
	fputs("usage: paxfs COMMAND [OPTIONS] [ARGUMENTS]\n\n"
	      "A replicated, transactional file system and key-value store. Keys are files.\n\n",
	      to);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("\npaxfs COMMAND --help tells more; so do paxfs(1) and mount.paxfs(8).\n"
	      "Exit status: 0 ok, 1 failed, 2 wrong usage, 3 store unreachable.\n",
	      to);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
	const char *name;

	opterr = 0; /* cli_bad_option() says it, in one line */
	if (argc > 0 && (strcmp(base_name(argv[0]), "mount.paxfs") == 0 ||
			 strcmp(base_name(argv[0]), "mount.fuse.paxfs") == 0))
		return cmd_mount_helper(argc, argv);
	name = argc > 1 ? argv[1] : "";
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		help(stdout);
		return CLI_OK;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("paxfs " PAXFS_VERSION);
		return CLI_OK;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].main(argc - 1, argv + 1);
	if (*name)
		return cli_error(CLI_USAGE, "there is no command \"%s\"; see paxfs --help", name);
	help(stderr);
	return CLI_USAGE;
}
