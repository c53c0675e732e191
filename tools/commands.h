/* The subcommands, one file each. */
#ifndef PAXFS_TOOLS_COMMANDS_H
#define PAXFS_TOOLS_COMMANDS_H

int cmd_node(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_local(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_put(int argc, char **argv);
int cmd_del(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_mget(int argc, char **argv);
int cmd_mput(int argc, char **argv);
int cmd_cas(int argc, char **argv);
int cmd_swap(int argc, char **argv);
int cmd_where(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_locks(int argc, char **argv);
int cmd_clients(int argc, char **argv);
int cmd_fsck(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* argv[0] is mount.paxfs: the conventions of mount(8) (cmd_mount.c). */
int cmd_mount_helper(int argc, char **argv);

#endif
