/* `paxfs fsck`: checks the file system of a running store. */
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "tools/cli.h"
#include "tools/commands.h"

static const char help[] =
	"usage: paxfs fsck [--repair] [--quiet]\n\n"
	"Checks dentries, inodes, link counts, parents, sizes, blocks, attributes and orphans of a\n"
	"running store, while it is in use. What looks wrong is looked at again before it is\n"
	"reported. Exit status 1 when problems remain.\n\n"
	"  -R, --repair           mend what can be mended\n"
	"  -q, --quiet            no progress\n" CLI_CLIENT_HELP;

struct fsck_args {
	struct cli_client_options o;
	bool repair, quiet;
	uint64_t shown;
};

static void report(void *ctx, const char *line)
{
	(void)ctx;
	printf("%s\n", line);
}

static void progress(void *ctx, const struct fs_fsck_progress *p)
{
	struct fsck_args *a = ctx;

	if (a->quiet || p->keys < a->shown + 10000)
		return;
	a->shown = p->keys;
	fprintf(stderr, "\rchecked %llu keys", (unsigned long long)p->keys);
}

static int run(struct cli_session *s, void *ctx)
{
	struct fsck_args *a = ctx;
	struct fs_fsck_options o = {
		.repair = a->repair, .report = report, .progress = progress, .ctx = a};
	struct fs_fsck_result r = {0};
	struct msg m = {""};
	int err = fs_fsck(s->fs, &o, &r, &m);

	if (a->shown)
		fputc('\n', stderr);
	if (err)
		return cli_error(cli_exit_code(err), "fsck: %s",
				 m.text[0] ? m.text : err_text(err));
	if (s->options->json)
		printf("{\"directories\":%llu,\"files\":%llu,\"symlinks\":%llu,\"others\":%llu,"
		       "\"dentries\":%llu,\"blocks\":%llu,\"xattrs\":%llu,\"bytes\":%llu,"
		       "\"orphans\":%llu,\"problems\":%llu,\"repaired\":%llu}\n",
		       (unsigned long long)r.directories, (unsigned long long)r.files,
		       (unsigned long long)r.symlinks, (unsigned long long)r.others,
		       (unsigned long long)r.dentries, (unsigned long long)r.blocks,
		       (unsigned long long)r.xattrs, (unsigned long long)r.bytes,
		       (unsigned long long)r.orphans, (unsigned long long)r.problems,
		       (unsigned long long)r.repaired);
	else
		printf("%llu directories, %llu files, %llu symlinks, %llu others, %llu names, "
		       "%llu blocks, %llu bytes, %llu orphans: %llu problems, %llu repaired\n",
		       (unsigned long long)r.directories, (unsigned long long)r.files,
		       (unsigned long long)r.symlinks, (unsigned long long)r.others,
		       (unsigned long long)r.dentries, (unsigned long long)r.blocks,
		       (unsigned long long)r.bytes, (unsigned long long)r.orphans,
		       (unsigned long long)r.problems, (unsigned long long)r.repaired);
	return r.problems > r.repaired ? CLI_FAILED : CLI_OK;
}

int cmd_fsck(int argc, char **argv)
{
	static const struct option longs[] = {{"repair", no_argument, NULL, 'R'},
					      {"quiet", no_argument, NULL, 'q'},
					      CLI_CLIENT_OPTIONS,
					      {0}};
	struct fsck_args a = {.quiet = !isatty(STDERR_FILENO)};
	int c, rc = -1;

	cli_client_options_init(&a.o);
	while (rc < 0 && (c = getopt_long(argc, argv, "Rq" CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("fsck", &a.o, c, optarg);

		if (c == 'h') {
			fputs(help, stdout);
			rc = CLI_OK;
		} else if (c == 'R') {
			a.repair = true;
		} else if (c == 'q') {
			a.quiet = true;
		} else if (handled <= 0) {
			rc = handled ? CLI_USAGE : cli_bad_option("fsck", argv, longs, c);
		}
	}
	if (rc < 0 && optind < argc)
		rc = cli_usage("fsck", "unexpected argument \"%s\"", argv[optind]);
	if (rc < 0)
		rc = cli_run(&a.o, CLI_FS, run, &a);
	cli_client_options_release(&a.o);
	return rc;
}
