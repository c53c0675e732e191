/* `paxfs watch`: prints the version of a file's inode, or of a stored key, whenever it is another. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tools/cli.h"
#include "tools/commands.h"
#include "tools/mounted.h"

#define RELOOK_NS  (10 * NS_PER_S)	/* the path may lead elsewhere by now */
#define ABSENT_NS  (200 * NS_PER_MS)	/* how often to look for what is not there */
#define UNKNOWN	   UINT64_MAX		/* no version */

static const char help[] =
	"usage: paxfs watch [-n COUNT] PATH | -k HEX\n\n"
	"Prints the version of a file now, and each new one as it comes (of several changes at\n"
	"once, the last): it changes with contents, attributes and links. `absent` while there is\n"
	"no such file. PATH is a path inside a mount of paxfs, or a key. Until COUNT lines, the\n"
	"timeout, or SIGINT. Exit status 1 when the timeout comes before COUNT lines.\n\n"
	"  -n, --count N          so many lines (default: any number)\n"
	"  -k, --stored-key HEX   a key as it is stored, in hexadecimal digits\n"
	"  -e, --endpoints A,B,C  nodes to ask (any of them; default: the mount's,\n"
	"                         $PAXFS_ENDPOINTS, or the store in ./run/data)\n"
	"  -t, --timeout SECONDS  end after so long (default 0: never)\n"
	"  -o, --output FORMAT    text (default) or json\n"
	"  -h, --help             this text\n";

struct watch_args {
	struct cli_client_options o;
	const char *path; /* NULL: stored */
	char *own_path;	  /* what it is in the store; NULL: as given */
	struct buf stored;
	uint64_t count; /* 0: no end */
	bool timed;
};

/* ---- watching ---- */

struct watching {
	struct cli_session *s;
	const struct watch_args *a;
	struct buf key; /* of the inode that the path led to last, or as given */
	uint64_t known; /* version that was printed last, 0: absent */
	uint64_t until_ns, printed;
};

static uint64_t left(const struct watching *w)
{
	uint64_t now = env_mono_ns(w->s->backend.env);

	return w->until_ns == UINT64_MAX ? UINT64_MAX : now < w->until_ns ? w->until_ns - now : 0;
}

static void print(struct watching *w, uint64_t version)
{
	if (w->s->options->json) {
		json_t *o = json_pack("{s:I, s:b}", "version", (json_int_t)version, "absent",
				      version == 0);

		if (w->a->path)
			json_object_set_new(o, "path", json_string(w->a->path));
		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(o);
	} else if (version == 0) {
		puts("absent");
	} else {
		printf("%llu\n", (unsigned long long)version);
	}
	fflush(stdout);
	w->known = version;
	w->printed++;
}

/* Where the path leads now. *changed: to another inode than before. ERR_NOT_FOUND. */
static int look(struct watching *w, bool *changed)
{
	const struct watch_args *a = w->a;
	struct fs_where at = {.ino = 0};
	int err;

	*changed = false;
	if (!a->path)
		return 0;
	err = fs_where(w->s->fs, slice_str(a->own_path ? a->own_path : a->path), &at);
	if (!err && !slice_eq(buf_slice(&w->key), buf_slice(&at.inode_key))) {
		*changed = true;
		err = buf_set(&w->key, buf_slice(&at.inode_key));
	}
	buf_release(&at.inode_key);
	return err;
}

static int wait_for_it(struct watching *w)
{
	uint64_t span = left(w) < ABSENT_NS ? left(w) : ABSENT_NS;

	if (w->known != 0) {
		print(w, 0);
		return 0;
	}
	buf_reset(&w->key);
	return span == 0 ? ERR_TIMEOUT : fiber_sleep(span);
}

/* Until the next version, or the time for another look at the path. */
static int step(struct watching *w)
{
	const struct fs_backend *b = &w->s->backend;
	uint64_t wait = left(w) < RELOOK_NS ? left(w) : RELOOK_NS, now = 0;
	bool changed;
	int err = look(w, &changed);

	if (err == ERR_NOT_FOUND)
		return wait_for_it(w);
	if (!err)
		err = b->watch(b->ctx, buf_slice(&w->key), changed ? UNKNOWN : w->known, wait, &now);
	if (err == ERR_TIMEOUT && left(w) > 0)
		return 0;
	if (!err && (now != 0 || !w->a->path)) /* else: another file may have the name now */
		print(w, now);
	return err;
}

static int run(struct cli_session *s, void *ctx)
{
	const struct watch_args *a = ctx;
	struct watching w = {.s = s, .a = a, .known = UNKNOWN, .until_ns = UINT64_MAX};
	int err = a->path ? 0 : buf_set(&w.key, buf_slice(&a->stored));

	if (a->timed)
		w.until_ns = env_mono_ns(s->backend.env) + s->options->timeout_ns;
	while (!err && (a->count == 0 || w.printed < a->count))
		err = step(&w);
	buf_release(&w.key);
	if (err == ERR_TIMEOUT && a->timed && a->count == 0)
		return CLI_OK;
	if (err == ERR_TIMEOUT && a->timed)
		return cli_error(CLI_FAILED, "watch: %llu of %llu lines, and the time is over",
				 (unsigned long long)w.printed, (unsigned long long)a->count);
	return err ? cli_error(cli_exit_code(err), "%s: %s", a->path ? a->path : "watch",
			       err_text(err))
		   : CLI_OK;
}

/* ---- arguments ---- */

static bool parse_hex(const char *text, struct buf *out)
{
	size_t n = strlen(text);

	if (n == 0 || n % 2 || n / 2 > KEY_SIZE_MAX || strspn(text, "0123456789abcdefABCDEF") != n)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		char two[3] = {text[i], text[i + 1], '\0'};

		buf_add_u8(out, (uint8_t)strtoul(two, NULL, 16));
	}
	buf_must(out);
	return true;
}

/* -1: go on; else the exit code. */
static int option(struct watch_args *a, char **argv, const struct option *longs, int c)
{
	int handled = cli_client_option("watch", &a->o, c, optarg);

	if (c == 't')
		a->timed = handled > 0 && a->o.timeout_ns > 0;
	if (handled)
		return handled > 0 ? -1 : CLI_USAGE;
	if (c == 'h') {
		fputs(help, stdout);
		return CLI_OK;
	}
	if (c == 'n' && cli_parse_u64(optarg, 1, UINT64_MAX, &a->count))
		return -1;
	if (c == 'k' && a->stored.len == 0 && parse_hex(optarg, &a->stored))
		return -1;
	return cli_bad_option("watch", argv, longs, c);
}

static int words(struct watch_args *a, int count, char **list)
{
	char *source = NULL;

	if (count > 1)
		return cli_usage("watch", "unexpected argument \"%s\"", list[1]);
	if ((count == 1) == (a->stored.len > 0))
		return cli_usage("watch", "one path, or one stored key");
	if (count == 0)
		return -1;
	a->path = list[0];
	a->own_path = mounted_key(a->path, &source);
	mem_free(source);
	if (!a->o.endpoints)
		a->o.endpoints = mounted_store(a->path);
	return -1;
}

int cmd_watch(int argc, char **argv)
{
	static const struct option longs[] = {{"count", required_argument, NULL, 'n'},
					      {"stored-key", required_argument, NULL, 'k'},
					      CLI_CLIENT_OPTIONS,
					      {0}};
	struct watch_args a = {.count = 0};
	int c, rc = -1;

	cli_client_options_init(&a.o);
	while (rc < 0 && (c = getopt_long(argc, argv, "n:k:" CLI_CLIENT_SHORT, longs, NULL)) != -1)
		rc = option(&a, argv, longs, c);
	if (rc < 0)
		rc = words(&a, argc - optind, argv + optind);
	if (rc < 0)
		rc = cli_run(&a.o, CLI_FS, run, &a);
	buf_release(&a.stored);
	mem_free(a.own_path);
	cli_client_options_release(&a.o);
	return rc;
}
