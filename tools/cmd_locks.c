/* `paxfs locks`: who holds locks, and who waits for them. */
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tools/commands.h"
#include "tools/sessions.h"

static const char help[] =
	"usage: paxfs locks [MNT] [-o json]\n\n"
	"All locks of the store, of all mounts: file, kind, range, mode, who holds it or waits for it.\n"
	"MNT is a mount of paxfs: its store is asked. Reads the whole name space: takes time in a\n"
	"large one.\n\n" CLI_CLIENT_HELP;

struct locks_args {
	struct cli_client_options o;
	const char *mount;
};

struct listing {
	struct cli_session *s;
	struct session_list sessions;
	json_t *json; /* NULL: text */
	uint64_t count;
};

static const char *kind_text(const struct fs_lock *l)
{
	return l->kind == FS_LOCK_FLOCK ? "flock" : "posix";
}

static const char *mode_text(const struct fs_lock *l)
{
	return l->mode == FS_LOCK_SHARED ? "shared" : "exclusive";
}

static void range_text(const struct fs_lock *l, char out[64])
{
	if (l->end == UINT64_MAX)
		snprintf(out, 64, "%" PRIu64 "-end", l->start);
	else
		snprintf(out, 64, "%" PRIu64 "-%" PRIu64, l->start, l->end);
}

static void add_json(struct listing *k, const struct fs_lock_item *it, const char *name)
{
	const struct fs_lock *l = it->lock;
	json_t *o = json_pack("{s:s%, s:I, s:s, s:s, s:I, s:I, s:s%, s:i, s:b}", "path", it->path,
			      strlen(it->path), "ino", (json_int_t)it->ino, "kind", kind_text(l),
			      "mode", mode_text(l), "start", (json_int_t)l->start, "session",
			      (json_int_t)l->session, "client", name, strlen(name), "pid",
			      (int)l->pid, "waits", it->waits);

	if (!o) /* a path that is no UTF-8 */
		o = json_pack("{s:I, s:s, s:s, s:I, s:I, s:i, s:b}", "ino", (json_int_t)it->ino,
			      "kind", kind_text(l), "mode", mode_text(l), "start",
			      (json_int_t)l->start, "session", (json_int_t)l->session, "pid",
			      (int)l->pid, "waits", it->waits);
	json_object_set_new(o, "end",
			    l->end == UINT64_MAX ? json_null() : json_integer((json_int_t)l->end));
	json_array_append_new(k->json, o);
}

static bool show(void *ctx, const struct fs_lock_item *it)
{
	struct listing *k = ctx;
	const struct session_entry *e = sessions_find(&k->sessions, it->lock->session);
	const char *name = e ? e->name : "(session ended)";
	char range[64];

	if (k->json) {
		add_json(k, it, name);
		return true;
	}
	if (k->count++ == 0)
		printf("%-5s  %-9s  %-5s  %-20s  %7s  %7s  %-24s  %s\n", "kind", "mode", "state",
		       "bytes", "pid", "session", "client", "file");
	range_text(it->lock, range);
	printf("%-5s  %-9s  %-5s  %-20s  %7u  %7" PRIu64 "  %-24s  ", kind_text(it->lock),
	       mode_text(it->lock), it->waits ? "waits" : "held", range, it->lock->pid,
	       it->lock->session, name);
	if (it->path[0])
		printf("%s\n", it->path);
	else
		printf("inode %" PRIu64 "\n", it->ino);
	return true;
}

static int run(struct cli_session *s, void *ctx)
{
	struct listing k = {.s = s};
	int err = sessions_read(s, &k.sessions);

	(void)ctx;
	if (!err && s->options->json)
		k.json = json_array();
	if (!err)
		err = fs_locks_list(s->fs, show, &k);
	if (!err && k.json) {
		json_dumpf(k.json, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(k.json);
	sessions_release(&k.sessions);
	return err ? cli_error(cli_exit_code(err), "locks: %s", err_text(err)) : CLI_OK;
}

/* The store that is mounted there. false: told why not. */
static bool store_of(struct locks_args *a)
{
	char real[PATH_MAX], *source = NULL;
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *e;
	struct msg m = {""};

	if (!realpath(a->mount, real))
		snprintf(real, sizeof(real), "%s", a->mount);
	while (mounts && (e = getmntent(mounts)) != NULL) {
		if (strcmp(e->mnt_type, "fuse.paxfs") != 0 || strcmp(e->mnt_dir, real) != 0)
			continue;
		mem_free(source);
		source = mem_must_strdup(e->mnt_fsname);
	}
	if (mounts)
		endmntent(mounts);
	if (!source) {
		cli_error(CLI_FAILED, "locks: %s is no mount of paxfs", a->mount);
		return false;
	}
	if (!a->o.endpoints)
		a->o.endpoints = cli_resolve_list(source, &m);
	mem_free(source);
	if (!a->o.endpoints)
		cli_error(CLI_FAILED, "locks: %s; say which store with --endpoints", m.text);
	return a->o.endpoints != NULL;
}

int cmd_locks(int argc, char **argv)
{
	static const struct option longs[] = {CLI_CLIENT_OPTIONS, {0}};
	struct locks_args a = {.mount = NULL};
	int c, rc = -1;

	cli_client_options_init(&a.o);
	while (rc < 0 && (c = getopt_long(argc, argv, CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("locks", &a.o, c, optarg);

		if (c == 'h') {
			fputs(help, stdout);
			rc = CLI_OK;
		} else if (handled <= 0) {
			rc = handled ? CLI_USAGE : cli_bad_option("locks", argv, longs, c);
		}
	}
	a.mount = argv[optind];
	if (rc < 0 && argc - optind > 1)
		rc = cli_usage("locks", "unexpected argument \"%s\"", argv[optind + 1]);
	if (rc < 0 && a.mount && !store_of(&a))
		rc = CLI_FAILED;
	if (rc < 0)
		rc = cli_run(&a.o, CLI_FS, run, &a);
	cli_client_options_release(&a.o);
	return rc;
}
