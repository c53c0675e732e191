/* Shared parts of the subcommands; see cli.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/net.h"
#include "tools/cli.h"

int cli_error(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("paxfs: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

int cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "paxfs %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see paxfs %s --help\n", command);
	return CLI_USAGE;
}

static const struct option *option_of(const struct option *longs, int c)
{
	for (; longs->name; longs++)
		if (longs->val == c)
			return longs;
	return NULL;
}

int cli_bad_option(const char *command, char *const *argv, const struct option *longs, int c)
{
	const struct option *o = option_of(longs, c == '?' ? optopt : c);

	if (c != '?')
		return cli_usage(command, "--%s: bad value \"%s\"", o ? o->name : "?",
				 optarg ? optarg : "");
	if (o && o->has_arg != no_argument)
		return cli_usage(command, "option --%s wants a value", o->name);
	if (o && strncmp(argv[optind - 1], "--", 2) == 0)
		return cli_usage(command, "option --%s takes no value", o->name);
	if (optopt)
		return cli_usage(command, "unknown option -%c", optopt);
	return cli_usage(command, "unknown option %s", argv[optind - 1]);
}

int cli_exit_code(int err)
{
	switch (err) {
	case 0:
		return CLI_OK;
	case ERR_USAGE:
		return CLI_USAGE;
	case ERR_UNREACHABLE:
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		return CLI_UNREACHABLE;
	default:
		return CLI_FAILED;
	}
}

bool cli_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long v;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool cli_parse_size(const char *s, uint64_t *out)
{
	static const char units[] = "KMGT";
	char *end;
	unsigned long long v;
	unsigned shift = 0;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno)
		return false;
	if (*end) {
		const char *u = strchr(units, *end);

		if (!u || end[1])
			return false;
		shift = 10 * (unsigned)(u - units + 1);
	}
	if (v > UINT64_MAX >> shift)
		return false;
	*out = (uint64_t)v << shift;
	return true;
}

bool cli_parse_seconds(const char *s, uint64_t *ns)
{
	char *end;
	double v;

	if ((*s < '0' || *s > '9') && *s != '.')
		return false;
	v = strtod(s, &end);
	if (*end || v < 0 || v > 1e9)
		return false;
	*ns = (uint64_t)(v * 1e9);
	return true;
}

void cli_client_options_init(struct cli_client_options *o)
{
	*o = (struct cli_client_options){.timeout_ns = 10 * NS_PER_S};
}

void cli_client_options_release(struct cli_client_options *o)
{
	mem_free(o->endpoints);
	o->endpoints = NULL;
}

int cli_client_option(const char *command, struct cli_client_options *o, int opt, const char *arg)
{
	switch (opt) {
	case 'e':
		mem_free(o->endpoints);
		o->endpoints = mem_must_strdup(arg);
		return 1;
	case 't':
		if (cli_parse_seconds(arg, &o->timeout_ns))
			return 1;
		cli_usage(command, "--timeout wants a number of seconds, not \"%s\"", arg);
		return -1;
	case 'o':
		o->json = strcmp(arg, "json") == 0;
		if (o->json || strcmp(arg, "text") == 0)
			return 1;
		cli_usage(command, "--output is text or json, not \"%s\"", arg);
		return -1;
	default:
		return 0;
	}
}

char *cli_resolve_list(const char *list, struct msg *m)
{
	char *copy = mem_must_strdup(list), *rest = copy, *item, *out = NULL;
	char numeric[ADDRESS_SIZE_MAX];

	while ((item = strsep(&rest, ",")) != NULL) {
		char *longer;

		if (*item == '\0')
			continue;
		if (net_resolve(item, numeric, m) != 0) {
			mem_free(out);
			mem_free(copy);
			return NULL;
		}
		longer = out ? mem_must_printf("%s,%s", out, numeric) : mem_must_strdup(numeric);
		mem_free(out);
		out = longer;
	}
	mem_free(copy);
	if (!out)
		msg_set(m, ERR_INVAL, "the list of endpoints is empty");
	return out;
}

char *cli_local_endpoints(const char *data)
{
	char *path = mem_must_printf("%s/endpoints", data), *text = NULL;
	struct buf b = BUF_INIT;

	if (cli_read_file(path, 65536, &b) == 0 && b.len > 0) {
		buf_add_u8(&b, 0);
		text = mem_must_strdup((const char *)b.data);
		text[strcspn(text, "\r\n")] = '\0';
	}
	buf_release(&b);
	mem_free(path);
	return text;
}

int cli_read_file(const char *path, size_t max, struct buf *out)
{
	int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	int err = 0;
	ssize_t n;

	if (fd < 0)
		return err_from_errno(errno);
	do {
		err = buf_reserve(out, 65536);
		if (err)
			break;
		n = read(fd, out->data + out->len, 65536);
		if (n < 0 && errno != EINTR)
			err = err_from_errno(errno);
		if (n > 0)
			out->len += (size_t)n;
		if (out->len > max)
			err = ERR_TOO_BIG;
	} while (!err && n != 0);
	if (fd != STDIN_FILENO)
		close(fd);
	return err;
}

/* ---- running in a fiber ---- */

struct cli_job {
	struct cli_session session;
	enum cli_need need;
	int (*fn)(struct cli_session *s, void *ctx);
	void *ctx;
	struct fiber *fiber;
	int exit_code;
};

static int connect_client(struct cli_session *s, enum cli_need need)
{
	struct kv_client_config cfg = {.endpoints = s->endpoints,
				       .transport = s->transport,
				       .env = loop_env(s->loop),
				       .fibers = loop_fibers(s->loop),
				       .timeout_ns = s->options->timeout_ns,
				       .connect_timeout_ns = s->options->timeout_ns,
				       .name = "paxfs command"};
	struct msg m = {""};
	int err;

	if (need == CLI_NO_CLIENT)
		return CLI_OK;
	err = kv_client_open(&cfg, &s->client, &m);
	if (err == ERR_NOT_READY)
		return cli_error(CLI_FAILED, "the store at %s is not initialised: run `paxfs init`",
				 s->endpoints);
	if (err)
		return cli_error(cli_exit_code(err), "cannot reach the store at %s: %s",
				 s->endpoints, m.text[0] ? m.text : err_text(err));
	if (need != CLI_FS)
		return CLI_OK;
	fs_backend_kv(&s->backend, s->client, loop_env(s->loop), loop_fibers(s->loop));
	err = fs_open(&s->backend, &(struct fs_options){0}, &s->fs, &m);
	if (err)
		return cli_error(cli_exit_code(err), "open the file system: %s",
				 m.text[0] ? m.text : err_text(err));
	return CLI_OK;
}

static void job_main(void *arg)
{
	struct cli_job *j = arg;

	j->fiber = fiber_self();
	j->exit_code = connect_client(&j->session, j->need);
	if (j->exit_code == CLI_OK)
		j->exit_code = j->fn(&j->session, j->ctx);
	fs_close(j->session.fs);
	kv_client_close(j->session.client);
	j->fiber = NULL;
	loop_stop(j->session.loop);
}

static void on_interrupt(void *ctx, int signum)
{
	struct cli_job *j = ctx;

	(void)signum;
	if (j->fiber)
		fiber_interrupt(j->fiber);
}

static char *find_endpoints(const struct cli_client_options *o, struct msg *m)
{
	const char *env = getenv("PAXFS_ENDPOINTS");
	char *local, *out;

	if (o->endpoints)
		return cli_resolve_list(o->endpoints, m);
	if (env && *env)
		return cli_resolve_list(env, m);
	local = cli_local_endpoints(CLI_LOCAL_DATA);
	if (!local) {
		msg_set(m, ERR_USAGE, "which store? Give --endpoints or set PAXFS_ENDPOINTS "
				      "(there is no local store in ./%s)",
			CLI_LOCAL_DATA);
		return NULL;
	}
	out = cli_resolve_list(local, m);
	mem_free(local);
	return out;
}

int cli_run(const struct cli_client_options *o, enum cli_need need,
	    int (*fn)(struct cli_session *s, void *ctx), void *ctx)
{
	struct cli_job j = {.need = need, .fn = fn, .ctx = ctx, .exit_code = CLI_FAILED};
	struct loop_signal *sig = NULL;
	struct msg m = {""};

	signal(SIGPIPE, SIG_IGN);
	j.session.options = o;
	j.session.endpoints = find_endpoints(o, &m);
	if (!j.session.endpoints)
		return cli_error(CLI_USAGE, "%s", m.text);
	if (loop_new(&j.session.loop, &m) != 0)
		return cli_error(CLI_FAILED, "%s", m.text);
	if (kv_transport_net_new(j.session.loop, &j.session.transport) == 0 &&
	    loop_signal_new(j.session.loop, SIGINT, on_interrupt, &j, &sig) == 0 &&
	    fiber_start(loop_fibers(j.session.loop), job_main, &j) == 0)
		loop_run(j.session.loop);
	else
		cli_error(CLI_FAILED, "out of memory");
	loop_signal_free(sig);
	kv_transport_net_free(j.session.transport);
	mem_free(j.session.endpoints);
	/* the loop goes with the process: closing handles may still be under way */
	if (fflush(stdout) != 0)
		return cli_error(CLI_FAILED, "write to standard output: %s", err_text(ERR_IO));
	return j.exit_code;
}
