/* Keys without a mount: get put del ls mget mput cas swap. A key is a path. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tools/cli.h"
#include "tools/commands.h"

#define VALUE_MAX (64u * 1024 * 1024) /* of one value on the command line; larger: use the mount */

static const char help_get[] = "usage: paxfs get KEY [-f FILE]\n\n"
			       "Prints the value of KEY, or writes it to FILE.\n\n"
			       "  -f, --file FILE        write the value there\n" CLI_CLIENT_HELP;
static const char help_put[] =
	"usage: paxfs put KEY [VALUE | -f FILE]\n\n"
	"Stores VALUE, or what FILE holds, or standard input, under KEY. Directories on the way\n"
	"are made. Readers see the old value or the new one, never a mixture.\n\n"
	"  -f, --file FILE        take the value from FILE (-: standard input)\n" CLI_CLIENT_HELP;
static const char help_del[] = "usage: paxfs del KEY...\n\n"
			       "Deletes keys, one after another.\n\n" CLI_CLIENT_HELP;
static const char help_ls[] = "usage: paxfs ls [-l] [KEY]\n\n"
			      "Lists the keys in a directory (default: the root).\n\n"
			      "  -l, --long             with type, size and time\n" CLI_CLIENT_HELP;
static const char help_mget[] =
	"usage: paxfs mget KEY...\n\n"
	"Reads several keys as they were at one moment. Text output: one line per key,\n"
	"KEY=VALUE with \\ escapes, or KEY (absent).\n\n" CLI_CLIENT_HELP;
static const char help_mput[] =
	"usage: paxfs mput KEY=VALUE... | KEY=@FILE... | -KEY...\n\n"
	"Stores all of them or none, in one transaction over any number of groups. =@FILE takes\n"
	"the value from a file, -KEY deletes. Options go before the first item; if that begins\n"
	"with a dash, put -- before it.\n\n" CLI_CLIENT_HELP;
static const char help_cas[] =
	"usage: paxfs cas KEY (--absent | --expect OLD) NEW\n\n"
	"Stores NEW under KEY only if its value is OLD, or if there is none. Exit status 1 and\n"
	"the present value on standard output if not.\n\n"
	"  -x, --expect OLD       the value it must have\n"
	"  -a, --absent           it must not exist\n" CLI_CLIENT_HELP;
static const char help_swap[] =
	"usage: paxfs swap KEY1 KEY2\n\n"
	"Exchanges two keys in one transaction, wherever they live.\n\n" CLI_CLIENT_HELP;

struct kv_args {
	struct cli_client_options o;
	const char *name; /* of the command */
	const char *file;
	const char *expect;
	bool absent, longer;
	char **words;
	int word_count;
};

typedef int kv_fn(struct cli_session *s, void *ctx);

static struct fs_cred own_cred(void)
{
	return (struct fs_cred){.uid = geteuid(), .gid = getegid(), .umask = 022};
}

/* Parses what all of them take. 0, or an exit code + 1. */
static int parse(int argc, char **argv, const char *help, struct kv_args *a)
{
	static const struct option longs[] = {{"file", required_argument, NULL, 'f'},
					      {"expect", required_argument, NULL, 'x'},
					      {"absent", no_argument, NULL, 'a'},
					      {"long", no_argument, NULL, 'l'},
					      CLI_CLIENT_OPTIONS,
					      {0}};
	const char *shorts = strcmp(a->name, "cas") == 0				? "x:a"
			     : strcmp(a->name, "ls") == 0				? "l"
			     : strcmp(a->name, "get") == 0 || strcmp(a->name, "put") == 0 ? "f:"
											: "";
	char *accept = mem_must_printf("+%s%s", shorts, CLI_CLIENT_SHORT);
	bool permute = strcmp(a->name, "mput") != 0; /* -KEY deletes there */
	int c, rc = 0;

	while (!rc && (c = getopt_long(argc, argv, permute ? accept + 1 : accept, longs, NULL)) != -1) {
		int handled = cli_client_option(a->name, &a->o, c, optarg);

		if (handled < 0) {
			rc = 1 + CLI_USAGE;
		} else if (handled) {
			continue;
		} else if (c == 'h') {
			fputs(help, stdout);
			rc = 1 + CLI_OK;
		} else if (c != '?' && !strchr(shorts, c)) {
			rc = 1 + cli_usage(a->name, "it has no such option");
		} else if (c == 'f') {
			a->file = optarg;
		} else if (c == 'x') {
			a->expect = optarg;
		} else if (c == 'a') {
			a->absent = true;
		} else if (c == 'l') {
			a->longer = true;
		} else {
			rc = 1 + cli_bad_option(a->name, argv, longs, c);
		}
	}
	mem_free(accept);
	a->words = argv + optind;
	a->word_count = argc - optind;
	return rc;
}

static int run(int argc, char **argv, const char *help, int words_min, int words_max, kv_fn *fn)
{
	struct kv_args a = {.name = argv[0]};
	int rc;

	cli_client_options_init(&a.o);
	rc = parse(argc, argv, help, &a);
	if (rc)
		rc--;
	else if (a.word_count < words_min)
		rc = cli_usage(a.name, "too few arguments");
	else if (a.word_count > words_max)
		rc = cli_usage(a.name, "unexpected argument \"%s\"", a.words[words_max]);
	else
		rc = cli_run(&a.o, CLI_FS, fn, &a);
	cli_client_options_release(&a.o);
	return rc;
}

#define MANY_LIMITS "too big: at most 64 keys and 1 MiB of values together"

static int fail(const char *key, int err)
{
	return cli_error(cli_exit_code(err), "%s: %s", key, err_text(err));
}

/* Bytes as a JSON value: text where it is UTF-8, else {"base16": ...}. */
static json_t *json_bytes(struct slice v)
{
	json_t *s = json_stringn((const char *)v.p, v.len);
	char *hex;

	if (s)
		return s;
	hex = mem_must_alloc(2 * v.len + 1);
	for (size_t i = 0; i < v.len; i++)
		snprintf(hex + 2 * i, 3, "%02x", v.p[i]);
	s = json_pack("{s:s}", "base16", hex);
	mem_free(hex);
	return s;
}

static void print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

/* ---- get ---- */

static int write_out(const struct kv_args *a, struct slice v)
{
	int fd = a->file && strcmp(a->file, "-") != 0
			 ? open(a->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
			 : dup(STDOUT_FILENO);
	int err = fd < 0 ? errno : 0;

	while (!err && v.len > 0) {
		ssize_t n = write(fd, v.p, v.len);

		if (n < 0 && errno != EINTR) {
			err = errno;
		} else if (n > 0) {
			v.p += n;
			v.len -= (size_t)n;
		}
	}
	if (fd >= 0 && close(fd) != 0 && !err)
		err = errno;
	return err ? cli_error(CLI_FAILED, "write %s: %s", a->file ? a->file : "standard output",
			       strerror(err))
		   : CLI_OK;
}

static int do_get(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	struct buf value = BUF_INIT;
	uint64_t version;
	int err = fs_kv_get(s->fs, slice_str(a->words[0]), &value, &version), rc;

	if (err)
		rc = fail(a->words[0], err);
	else if (s->options->json) {
		print_json(json_pack("{s:s, s:I, s:o}", "key", a->words[0], "version",
				     (json_int_t)version, "value", json_bytes(buf_slice(&value))));
		rc = CLI_OK;
	} else {
		rc = write_out(a, buf_slice(&value));
	}
	buf_release(&value);
	return rc;
}

int cmd_get(int argc, char **argv)
{
	return run(argc, argv, help_get, 1, 1, do_get);
}

/* ---- put, del ---- */

static int do_put(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	struct fs_cred cred = own_cred();
	struct buf value = BUF_INIT;
	int err = 0;

	if (a->word_count == 2 && a->file)
		return cli_usage("put", "give a value or --file, not both");
	if (a->word_count == 2)
		err = buf_set(&value, slice_str(a->words[1]));
	else
		err = cli_read_file(a->file ? a->file : "-", VALUE_MAX, &value);
	if (err) {
		buf_release(&value);
		if (err == ERR_TOO_BIG)
			return cli_error(CLI_FAILED, "%s: above 64 MiB: use a mount",
					 a->file ? a->file : "the value");
		return fail(a->file ? a->file : "the value", err);
	}
	err = fs_kv_put(s->fs, &cred, slice_str(a->words[0]), buf_slice(&value), true);
	buf_release(&value);
	return err ? fail(a->words[0], err) : CLI_OK;
}

int cmd_put(int argc, char **argv)
{
	return run(argc, argv, help_put, 1, 2, do_put);
}

static int do_del(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	int rc = CLI_OK;

	for (int i = 0; i < a->word_count; i++) {
		int err = fs_kv_del(s->fs, slice_str(a->words[i]));

		if (err)
			rc = fail(a->words[i], err);
	}
	return rc;
}

int cmd_del(int argc, char **argv)
{
	return run(argc, argv, help_del, 1, 1000000, do_del);
}

/* ---- ls ---- */

struct lister {
	struct fs *fs;
	const struct kv_args *a;
	bool json;
};

static const char *type_name(uint8_t dtype)
{
	switch ((mode_t)dtype << 12) {
	case S_IFDIR: return "dir";
	case S_IFREG: return "file";
	case S_IFLNK: return "symlink";
	case S_IFIFO: return "fifo";
	case S_IFSOCK: return "socket";
	case S_IFCHR:
	case S_IFBLK: return "device";
	default: return "?";
	}
}

static bool print_entry(void *ctx, const struct fs_dirent *d)
{
	struct lister *l = ctx;
	struct fs_attr own;
	const struct fs_attr *attr = d->attr;
	bool known;
	uint64_t size;

	if ((d->name.len == 1 && d->name.p[0] == '.') ||
	    (d->name.len == 2 && memcmp(d->name.p, "..", 2) == 0))
		return true;
	/* a directory's inode mostly lies in another group than its name: ask there */
	if (!attr && (l->json || l->a->longer) && fs_getattr(l->fs, d->ino, &own) == 0)
		attr = &own;
	known = attr && attr->nlink != 0;
	size = known ? attr->size : 0;
	if (l->json) {
		json_t *o = json_pack("{s:o, s:s, s:I}", "name", json_bytes(d->name), "type",
				      type_name(d->type), "ino", (json_int_t)d->ino);

		if (known) {
			json_object_set_new(o, "size", json_integer((json_int_t)size));
			json_object_set_new(o, "mtime_ns",
					    json_integer((json_int_t)attr->mtime_ns));
		}
		print_json(o);
	} else if (l->a->longer) {
		char when[32] = "-";
		time_t t = known ? fs_time_split(attr->mtime_ns).tv_sec : 0;
		struct tm tm;

		if (known && localtime_r(&t, &tm))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		printf("%-7s %12llu  %-19s  %.*s\n", type_name(d->type), (unsigned long long)size,
		       when, (int)d->name.len, (const char *)d->name.p);
	} else {
		printf("%.*s%s\n", (int)d->name.len, (const char *)d->name.p,
		       d->type == S_IFDIR >> 12 ? "/" : "");
	}
	return true;
}

static int do_ls(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	const char *path = a->word_count ? a->words[0] : "/";
	struct lister l = {.fs = s->fs, .a = a, .json = s->options->json};
	struct fs_attr attr;
	int err = fs_path_lookup(s->fs, slice_str(path), true, &attr);

	if (err)
		return fail(path, err);
	if (!S_ISDIR(attr.mode)) {
		struct fs_dirent d = {.name = slice_str(path),
				      .ino = attr.ino,
				      .type = (uint8_t)((attr.mode & S_IFMT) >> 12),
				      .attr = &attr};

		print_entry(&l, &d);
		return CLI_OK;
	}
	err = fs_readdir(s->fs, attr.ino, 0, a->longer || l.json, print_entry, &l);
	return err ? fail(path, err) : CLI_OK;
}

int cmd_ls(int argc, char **argv)
{
	return run(argc, argv, help_ls, 0, 1, do_ls);
}

/* ---- mget, mput ---- */

static void print_escaped(struct slice v)
{
	for (size_t i = 0; i < v.len; i++) {
		uint8_t ch = v.p[i];

		if (ch == '\\')
			fputs("\\\\", stdout);
		else if (ch == '\n')
			fputs("\\n", stdout);
		else if (ch < 0x20 || ch == 0x7f)
			printf("\\x%02x", ch);
		else
			putchar(ch);
	}
}

static int do_mget(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	uint32_t n = (uint32_t)a->word_count;
	struct fs_kv_item *items = mem_must_alloc(n * sizeof(*items));
	struct buf store = BUF_INIT;
	int err;

	for (uint32_t i = 0; i < n; i++)
		items[i].path = slice_str(a->words[i]);
	err = fs_kv_mget(s->fs, items, n, &store);
	for (uint32_t i = 0; i < n && !err; i++) {
		if (s->options->json) {
			print_json(json_pack("{s:s, s:o}", "key", a->words[i], "value",
					     items[i].absent ? json_null()
							     : json_bytes(items[i].value)));
		} else if (items[i].absent) {
			print_escaped(slice_str(a->words[i]));
			puts(" (absent)");
		} else {
			print_escaped(slice_str(a->words[i]));
			putchar('=');
			print_escaped(items[i].value);
			putchar('\n');
		}
	}
	buf_release(&store);
	mem_free(items);
	if (err == ERR_TOO_BIG)
		return cli_error(CLI_FAILED, "mget: " MANY_LIMITS);
	return err ? fail("mget", err) : CLI_OK;
}

int cmd_mget(int argc, char **argv)
{
	return run(argc, argv, help_mget, 1, 100, do_mget);
}

/* One word of mput. The value of =@FILE goes to @file. */
static int parse_item(char *word, struct fs_kv_item *it, struct buf *file)
{
	char *eq = strchr(word, '=');
	int err;

	if (word[0] == '-' && !eq) {
		it->path = slice_str(word + 1);
		it->absent = true;
		return CLI_OK;
	}
	if (!eq || eq == word)
		return cli_usage("mput", "\"%s\" is not KEY=VALUE, KEY=@FILE or -KEY", word);
	it->path = slice_of(word, (size_t)(eq - word));
	it->value = slice_str(eq + 1);
	if (eq[1] != '@')
		return CLI_OK;
	err = cli_read_file(eq + 2, VALUE_MAX, file);
	it->value = buf_slice(file);
	return err ? fail(eq + 2, err) : CLI_OK;
}

static int do_mput(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	struct fs_cred cred = own_cred();
	uint32_t n = (uint32_t)a->word_count, failed = UINT32_MAX;
	struct fs_kv_item *items = mem_must_alloc(n * sizeof(*items));
	struct buf *files = mem_must_alloc(n * sizeof(*files));
	int rc = CLI_OK, err;

	for (uint32_t i = 0; i < n && rc == CLI_OK; i++)
		rc = parse_item(a->words[i], &items[i], &files[i]);
	if (rc == CLI_OK) {
		err = fs_kv_mput(s->fs, &cred, items, n, true, &failed);
		if (err == ERR_TOO_BIG)
			rc = cli_error(CLI_FAILED, "mput: " MANY_LIMITS);
		else if (err)
			rc = fail(failed < n ? a->words[failed] : "mput", err);
	}
	for (uint32_t i = 0; i < n; i++)
		buf_release(&files[i]);
	mem_free(files);
	mem_free(items);
	return rc;
}

int cmd_mput(int argc, char **argv)
{
	return run(argc, argv, help_mput, 1, 100, do_mput);
}

/* ---- cas, swap ---- */

static int do_cas(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	struct fs_cred cred = own_cred();
	struct buf current = BUF_INIT;
	int err, rc;

	if (a->absent == (a->expect != NULL))
		return cli_usage("cas", "give --expect OLD or --absent");
	err = fs_kv_cas(s->fs, &cred, slice_str(a->words[0]), a->absent,
			slice_str(a->expect ? a->expect : ""), slice_str(a->words[1]), &current);
	if (err == ERR_CONDITION || (err == ERR_EXISTS && a->absent)) {
		rc = write_out(a, buf_slice(&current));
		if (rc == CLI_OK)
			rc = cli_error(CLI_FAILED, "%s: %s", a->words[0],
				       a->absent ? "it exists" : "it has another value, or none");
	} else {
		rc = err ? fail(a->words[0], err) : CLI_OK;
	}
	buf_release(&current);
	return rc;
}

int cmd_cas(int argc, char **argv)
{
	return run(argc, argv, help_cas, 2, 2, do_cas);
}

static int do_swap(struct cli_session *s, void *ctx)
{
	struct kv_args *a = ctx;
	int err = fs_kv_swap(s->fs, slice_str(a->words[0]), slice_str(a->words[1]));

	return err ? cli_error(cli_exit_code(err), "swap %s and %s: %s", a->words[0], a->words[1],
			       err_text(err))
		   : CLI_OK;
}

int cmd_swap(int argc, char **argv)
{
	return run(argc, argv, help_swap, 2, 2, do_swap);
}
