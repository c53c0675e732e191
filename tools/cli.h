/* What the subcommands of `paxfs` share: exit codes, options, a fiber to run in, a client. */
#ifndef PAXFS_TOOLS_CLI_H
#define PAXFS_TOOLS_CLI_H

#include <getopt.h>
#include <stdbool.h>

#include "fs/fs.h"
#include "kv/kv.h"
#include "net/loop.h"

#define PAXFS_VERSION "0.1.0"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,
};

struct cli_command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary;
};

/* "paxfs: " + text on stderr. Returns @code. */
int cli_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The exit code that goes with an error of base/err.h. */
int cli_exit_code(int err);

/* Prints "paxfs NAME: text; see paxfs NAME --help" and returns CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The one line for what getopt_long() answered with @c: an option that is unknown, lacks its value or
 * takes none, or (@c is that of an option) a value that is no good. Returns CLI_USAGE. */
int cli_bad_option(const char *command, char *const *argv, const struct option *longs, int c);

/* Parsing of numbers: the whole word, within [min, max]. false if not. */
bool cli_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);
bool cli_parse_size(const char *s, uint64_t *out);    /* 4096, 64K, 16M, 2G */
bool cli_parse_seconds(const char *s, uint64_t *ns); /* 1.5 */

/* Options that every client command takes. */
struct cli_client_options {
	char *endpoints; /* owned; NULL: $PAXFS_ENDPOINTS, or the local store's */
	uint64_t timeout_ns;
	bool json;
};
#define CLI_CLIENT_OPTIONS                                                                         \
	{"endpoints", required_argument, NULL, 'e'}, {"timeout", required_argument, NULL, 't'},    \
		{"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}
#define CLI_CLIENT_SHORT "e:t:o:h"
#define CLI_CLIENT_HELP                                                                            \
	"  -e, --endpoints A,B,C  nodes to ask (any of them; default: $PAXFS_ENDPOINTS, or the\n"  \
	"                         store that `paxfs local up` started in ./run/data)\n"            \
	"  -t, --timeout SECONDS  give up after so long (default 10; 0: never)\n"                  \
	"  -o, --output FORMAT    text (default) or json\n"                                        \
	"  -h, --help             this text\n"
void cli_client_options_init(struct cli_client_options *o);
void cli_client_options_release(struct cli_client_options *o);
/* Handles one of the options above: 1 handled, 0 not one of them, -1 usage error (told). */
int cli_client_option(const char *command, struct cli_client_options *o, int opt, const char *arg);

/* What a command's fiber has. */
struct cli_session {
	struct loop *loop;
	struct kv_transport *transport;
	struct kv_client *client; /* NULL with CLI_NO_CLIENT */
	struct fs *fs;		  /* with CLI_FS */
	struct fs_backend backend;
	char *endpoints; /* numeric; owned */
	const struct cli_client_options *options;
};

enum cli_need { CLI_NO_CLIENT, CLI_CLIENT, CLI_FS };

/* Runs fn in a fiber with what it needs connected; returns the exit code. SIGINT interrupts it. */
int cli_run(const struct cli_client_options *o, enum cli_need need,
	    int (*fn)(struct cli_session *s, void *ctx), void *ctx);

/* Resolves each of a comma-separated list to numeric addresses. NULL with a message. Owned. */
char *cli_resolve_list(const char *list, struct msg *m);

/* The endpoints file of a local store ("DATA/endpoints"), or NULL. Owned. */
char *cli_local_endpoints(const char *data);

/* Reads a whole file or "-" (stdin), at most @max bytes. 0, ERR_TOO_BIG, ERR_NOT_FOUND, ERR_IO. */
int cli_read_file(const char *path, size_t max, struct buf *out);

#define CLI_LOCAL_DATA "run/data"

#endif
