/* `paxfs fsck`: checks the file system of a running store. */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>
#include <uthash.h>

#include "base/err.h"
#include "base/mem.h"
#include "tools/cli.h"
#include "tools/commands.h"

static const char help[] =
	"usage: paxfs fsck [--repair] [--quiet | --progress] [-o json]\n\n"
	"Checks all that the file system of a running store keeps, while it is in use: names,\n"
	"inodes, link counts, parents, sizes, blocks, holes, attributes, access lists, locks, what\n"
	"waits to be removed. What looks wrong is looked at again before it is reported. Each line\n"
	"says what it is, and in parentheses the group that has it and a path, if there is one.\n\n"
	"  -R, --repair           mend what can be mended; what has lost its name goes to /lost+found\n"
	"  -q, --quiet            no progress (the default when stderr is no terminal)\n"
	"  -P, --progress         progress, also when it is none\n" CLI_CLIENT_HELP
	"\nExit status, as of fsck(8): 0 nothing is wrong, 1 all that was wrong is mended, 4 problems\n"
	"remain, 8 the check failed, 16 wrong usage, 32 interrupted.\n";

enum fsck_exit {
	FSCK_CLEAN = 0,
	FSCK_MENDED = 1,
	FSCK_LEFT = 4,
	FSCK_ERROR = 8,
	FSCK_USAGE = 16,
	FSCK_CANCELED = 32,
};

#define PROGRESS_KEYS 10000u

struct told { /* a problem; a later pass may have mended what an earlier one did not */
	char *text, *path; /* owned */
	const char *kind;
	fs_ino ino;
	uint32_t group;
	int outcome; /* enum fs_fsck_outcome; -1: not told of yet */
	UT_hash_handle hh;
};

struct fsck_args {
	struct cli_client_options o;
	bool repair, quiet, progress;
	struct told *told;
	uint64_t shown;
	int rc; /* enum fsck_exit */
};

/* ---- problems ---- */

static struct told *told_of(struct fsck_args *a, const struct fs_fsck_problem *p)
{
	struct told *t;

	HASH_FIND_STR(a->told, p->text, t);
	if (t)
		return t;
	t = mem_must_alloc(sizeof(*t));
	*t = (struct told){.text = mem_must_strdup(p->text),
			   .path = mem_must_strdup(p->path),
			   .kind = p->kind,
			   .ino = p->ino,
			   .group = p->group,
			   .outcome = -1};
	HASH_ADD_KEYPTR(hh, a->told, t->text, strlen(t->text), t);
	return t;
}

static void show(const struct fsck_args *a, const struct told *t, int err)
{
	printf("%s (group %u%s%s)", t->text, (unsigned)t->group, t->path[0] ? ", " : "", t->path);
	if (a->repair && err)
		printf(": not repaired: %s", err_text(err));
	else if (a->repair)
		printf(t->outcome == FS_FSCK_MENDED ? ": repaired" : ": not repaired");
	putchar('\n');
}

static void problem(void *ctx, const struct fs_fsck_problem *p)
{
	struct fsck_args *a = ctx;
	struct told *t = told_of(a, p);

	if (t->outcome == (int)p->outcome)
		return;
	t->outcome = (int)p->outcome;
	if (!a->o.json)
		show(a, t, p->err);
}

static void progress(void *ctx, const struct fs_fsck_progress *p)
{
	struct fsck_args *a = ctx;

	if (a->quiet || p->keys < a->shown + PROGRESS_KEYS)
		return;
	a->shown = p->keys;
	fprintf(stderr, "\rpass %u, round %u: %3u %%, %llu keys", p->pass, p->round, p->percent,
		(unsigned long long)p->keys);
}

/* ---- results ---- */

static json_t *found_json(const struct fsck_args *a)
{
	json_t *all = json_array();

	for (const struct told *t = a->told; t; t = t->hh.next) {
		json_t *o = json_object();

		json_object_set_new(o, "kind", json_string(t->kind));
		json_object_set_new(o, "ino", json_integer((json_int_t)t->ino));
		json_object_set_new(o, "group", json_integer((json_int_t)t->group));
		if (t->path[0]) /* one that is no UTF-8 is left out */
			json_object_set_new(o, "path", json_string(t->path));
		json_object_set_new(o, "text", json_string(t->text));
		json_object_set_new(o, "repaired", json_boolean(t->outcome == FS_FSCK_MENDED));
		json_array_append_new(all, o);
	}
	return all;
}

static void show_json(const struct fsck_args *a, const struct fs_fsck_result *r)
{
	const struct {
		const char *name;
		uint64_t n;
	} counts[] = {{"directories", r->directories}, {"files", r->files},
		      {"symlinks", r->symlinks},       {"others", r->others},
		      {"dentries", r->dentries},       {"blocks", r->blocks},
		      {"xattrs", r->xattrs},	       {"bytes", r->bytes},
		      {"orphans", r->orphans},	       {"problems", r->problems},
		      {"repaired", r->repaired}};
	json_t *root = json_object();

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		json_object_set_new(root, counts[i].name, json_integer((json_int_t)counts[i].n));
	json_object_set_new(root, "found", found_json(a));
	json_dumpf(root, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(root);
}

static void show_text(const struct fs_fsck_result *r)
{
	printf("%llu directories, %llu files, %llu symlinks, %llu others, %llu names, "
	       "%llu blocks, %llu bytes, %llu orphans: %llu problems, %llu repaired\n",
	       (unsigned long long)r->directories, (unsigned long long)r->files,
	       (unsigned long long)r->symlinks, (unsigned long long)r->others,
	       (unsigned long long)r->dentries, (unsigned long long)r->blocks,
	       (unsigned long long)r->bytes, (unsigned long long)r->orphans,
	       (unsigned long long)r->problems, (unsigned long long)r->repaired);
}

static int run(struct cli_session *s, void *ctx)
{
	struct fsck_args *a = ctx;
	struct fs_fsck_options o = {
		.repair = a->repair, .problem = problem, .progress = progress, .ctx = a};
	struct fs_fsck_result r = {0};
	struct msg m = {""};
	int err = fs_fsck(s->fs, &o, &r, &m);

	if (a->shown)
		fputc('\n', stderr);
	if (err) {
		a->rc = err == ERR_INTERRUPTED ? FSCK_CANCELED : FSCK_ERROR;
		return cli_error(CLI_FAILED, "fsck: %s", m.text[0] ? m.text : err_text(err));
	}
	if (a->o.json)
		show_json(a, &r);
	else
		show_text(&r);
	a->rc = r.problems == 0 ? FSCK_CLEAN : r.problems > r.repaired ? FSCK_LEFT : FSCK_MENDED;
	return CLI_OK;
}

static void release(struct fsck_args *a)
{
	struct told *t, *next;

	HASH_ITER(hh, a->told, t, next) {
		HASH_DEL(a->told, t);
		mem_free(t->text);
		mem_free(t->path);
		mem_free(t);
	}
	cli_client_options_release(&a->o);
}

/* Options: -1 go on, else the exit status. */
static int parse(struct fsck_args *a, int argc, char **argv)
{
	static const struct option longs[] = {{"repair", no_argument, NULL, 'R'},
					      {"quiet", no_argument, NULL, 'q'},
					      {"progress", no_argument, NULL, 'P'},
					      CLI_CLIENT_OPTIONS,
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "RqP" CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("fsck", &a->o, c, optarg);

		if (c == 'h') {
			fputs(help, stdout);
			return FSCK_CLEAN;
		}
		if (c == 'R') {
			a->repair = true;
		} else if (c == 'q') {
			a->quiet = true;
		} else if (c == 'P') {
			a->progress = true;
		} else if (handled <= 0) {
			if (handled == 0)
				(void)cli_bad_option("fsck", argv, longs, c);
			return FSCK_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	(void)cli_usage("fsck", "unexpected argument \"%s\"", argv[optind]);
	return FSCK_USAGE;
}

int cmd_fsck(int argc, char **argv)
{
	struct fsck_args a = {.rc = FSCK_ERROR};
	int rc, ran;

	cli_client_options_init(&a.o);
	rc = parse(&a, argc, argv);
	a.quiet = a.quiet || (!a.progress && !isatty(STDERR_FILENO));
	if (rc < 0) {
		ran = cli_run(&a.o, CLI_FS, run, &a);
		rc = ran == CLI_USAGE ? (int)FSCK_USAGE : a.rc;
		if (ran != CLI_OK && rc <= FSCK_LEFT) /* what it found could not be written */
			rc = FSCK_ERROR;
	}
	release(&a);
	return rc;
}
