/* Load that records what it did and saw, for tests/check.
 *
 *   histload ENDPOINTS DIR NUMBER SEED [SPACE [CLIENTS [TIMEOUT_S]]]
 *
 * CLIENTS fibers (default 2) for each of: registers, lists (transactions over groups), bank,
 * counters, sets. Several processes (NUMBER) of one SPACE share keys and make one history:
 * DIR/NUMBER.hist each. Keys change every few seconds, so that no single history gets long. A call
 * that does not end within TIMEOUT_S (default 5) is of unknown outcome, and whoever made it goes on
 * as another client.
 *
 * Prints a line `at N ok A failed B unknown C longest_ms D` every half second: D is the longest
 * call that ended, since the last SIGUSR1 (which prints `mark N ... `). At SIGTERM all keys that
 * were used are read once more; then `done N ...`, exit 0.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/system/histload.h"

static void tell(struct load *l, const char *word)
{
	uint64_t longest = l->longest_ns, now = load_now(l);

	for (uint32_t i = 0; i < l->worker_count; i++) {
		const struct worker *w = &l->workers[i];

		if (w->busy && now - w->busy_since_ns > longest)
			longest = now - w->busy_since_ns;
	}
	printf("%s %llu ok %llu failed %llu unknown %llu longest_ms %llu%s%s\n", word,
	       (unsigned long long)(l->ok + l->failed + l->unknown), (unsigned long long)l->ok,
	       (unsigned long long)l->failed, (unsigned long long)l->unknown,
	       (unsigned long long)(longest / NS_PER_MS), l->last_error ? " last: " : "",
	       l->last_error ? err_text(l->last_error) : "");
	fflush(stdout);
}

static void on_term(void *ctx, int signum)
{
	struct load *l = ctx;

	(void)signum;
	l->stopping = true;
	fiber_wake(l->main);
}

static void on_mark(void *ctx, int signum)
{
	struct load *l = ctx;

	(void)signum;
	tell(l, "mark");
	l->longest_ns = 0;
	for (uint32_t i = 0; i < l->worker_count; i++)
		l->workers[i].busy_since_ns = load_now(l);
}

static void tell_main(void *arg)
{
	struct load *l = arg;

	while (!l->stopping && fiber_sleep(500 * NS_PER_MS) == 0)
		tell(l, "at");
	if (--l->live == 0)
		fiber_wake(l->main);
}

static void worker_main(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;

	while (!l->stopping && !l->broken) {
		w->op(w);
		fiber_sleep(load_dice(l) % (10 * NS_PER_MS));
	}
	if (--l->live == 0)
		fiber_wake(l->main);
}

static void start_fiber(struct load *l, fiber_fn *fn, void *arg)
{
	if (fiber_start(loop_fibers(l->s->loop), fn, arg) == 0)
		l->live++;
	else
		l->broken = true;
}

static void start_workers(struct load *l)
{
	static void (*const ops[])(struct worker *) = {register_op, list_op, bank_op, counter_op,
						       set_op};

	for (uint32_t k = 0; k < sizeof(ops) / sizeof(ops[0]); k++)
		for (uint32_t i = 0; i < l->clients; i++) {
			struct worker *w = &l->workers[l->worker_count];

			*w = (struct worker){.load = l, .number = l->worker_count++, .op = ops[k]};
			start_fiber(l, worker_main, w);
		}
	start_fiber(l, tell_main, l);
}

/* Everything that was ever used is read at the end: what was acknowledged must be there. */
static void read_all(struct load *l)
{
	struct worker *w = &l->workers[0];
	uint64_t last = load_epoch(l);

	for (uint64_t epoch = l->first_epoch; epoch <= last && !l->broken; epoch++) {
		register_read_all(w, epoch);
		list_read_all(w, epoch);
		set_read_all(w, epoch);
	}
	for (uint64_t k = 0; k < COUNTERS; k++)
		counter_read(w, k);
	bank_read(w);
}

static int run(struct cli_session *s, void *ctx)
{
	struct load *l = ctx;
	struct loop_signal *term, *usr;
	uint64_t failed_before;

	l->s = s;
	l->x = kv_client_executor(s->client);
	l->main = fiber_self();
	l->first_epoch = load_epoch(l);
	if (loop_signal_new(s->loop, SIGTERM, on_term, l, &term) != 0 ||
	    loop_signal_new(s->loop, SIGUSR1, on_mark, l, &usr) != 0)
		return cli_error(CLI_FAILED, "signals");
	if (history_stream_open(&l->stream, l->file) != 0 || !bank_fill(l) || !counters_fill(l))
		return cli_error(CLI_FAILED, "cannot begin");
	start_workers(l);
	while (l->live > 0)
		fiber_park();
	failed_before = l->failed;
	read_all(l);
	loop_signal_free(term);
	loop_signal_free(usr);
	if (l->failed > failed_before)
		return cli_error(CLI_FAILED, "a last read failed");
	if (l->broken)
		return cli_error(CLI_FAILED, "gave up");
	tell(l, "done");
	return CLI_OK;
}

int main(int argc, char **argv)
{
	struct cli_client_options o;
	struct load l = {.clients = 2};
	char path[4096];
	int rc;

	if (argc < 5 || argc > 8) {
		fputs("usage: histload ENDPOINTS DIR NUMBER SEED [SPACE [CLIENTS [TIMEOUT_S]]]\n",
		      stderr);
		return CLI_USAGE;
	}
	cli_client_options_init(&o);
	o.endpoints = mem_must_strdup(argv[1]);
	o.timeout_ns = (argc > 7 ? strtoull(argv[7], NULL, 10) : 5) * NS_PER_S;
	l.number = (uint32_t)strtoul(argv[3], NULL, 10);
	l.seed = strtoull(argv[4], NULL, 10) * 2654435761u + 88172645463325252ull;
	if (argc > 5)
		l.space = strtoull(argv[5], NULL, 10) & 0xff;
	if (argc > 6)
		l.clients = (uint32_t)strtoul(argv[6], NULL, 10);
	snprintf(path, sizeof(path), "%s/%u.hist", argv[2], l.number);
	l.file = fopen(path, "w");
	if (!l.file || l.clients == 0 || l.clients > CLIENTS_MAX) {
		perror(path);
		return CLI_FAILED;
	}
	rc = cli_run(&o, CLI_CLIENT, run, &l);
	if (fclose(l.file) != 0)
		rc = CLI_FAILED;
	cli_client_options_release(&o);
	return rc;
}
