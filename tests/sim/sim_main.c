/* paxfs-sim: runs seeds of the simulator, each in a process of its own. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim_internal.h"
#include "tests/sim/sim_swarm.h"

#ifndef SIM_COMMIT
#define SIM_COMMIT "unknown"
#endif

#define JOBS_MAX 64u

struct options {
	uint64_t first, count; /* seeds */
	bool fresh;
	double hours; /* of real time; 0: count decides */
	unsigned jobs;
	unsigned limit_s; /* of real time for one seed */
	bool quiet, twice, first_only;
	struct sim_swarm_options swarm;
};

struct child {
	pid_t pid;
	int fd;
	uint64_t seed;
};

struct totals {
	struct sim_result sum;
	uint64_t passed, failed;
	uint64_t hash;
};

static volatile sig_atomic_t told_to_stop; /* what is under way ends; the sum is printed */

static void on_signal(int signum)
{
	(void)signum;
	told_to_stop = 1;
}

static double now_s(void)
{
	struct timespec t;

	timespec_get(&t, TIME_UTC);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void usage(FILE *f)
{
	fputs("usage: paxfs-sim [OPTION]...\n"
	      "Runs the whole store in a simulated world under faults, and checks it.\n"
	      "  -s, --seed N       this seed only (with --trace: shows what happens)\n"
	      "  -f, --from N       the first seed (default 1)\n"
	      "  -n, --seeds N      how many (default 20)\n"
	      "      --fresh        seeds that nobody knows; the first one is printed\n"
	      "      --hours H      goes on for H hours\n"
	      "  -j, --jobs N       processes at a time (default 1)\n"
	      "      --first        stops at the first failure\n"
	      "  -t, --trace        prints every event to stderr\n"
	      "      --twice        runs each seed twice, and compares\n"
	      "      --calm         no faults, a light load: for measuring speed\n"
	      "      --load KIND    kv, fs or both (default: drawn)\n"
	      "      --attack NAME  a directed attack instead of random faults; ? lists them\n"
	      "      --seconds N    of simulated time before healing (default: drawn)\n"
	      "      --limit S      seconds of real time after which a seed counts as hung (300)\n"
	      "  -q, --quiet        prints failures and the sum only\n"
	      "SIGINT: ends after the seeds under way, and prints the sum.\n"
	      "Exit: 0 all passed, 1 some failed, 2 usage.\n",
	      f);
}

static uint64_t number(const char *what, const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-') {
		fprintf(stderr, "paxfs-sim: %s: not a number: %s\n", what, text);
		exit(2);
	}
	return n;
}

static enum sim_load load_kind(const char *text)
{
	if (strcmp(text, "kv") == 0)
		return SIM_LOAD_KV;
	if (strcmp(text, "fs") == 0)
		return SIM_LOAD_FS;
	if (strcmp(text, "both") == 0)
		return SIM_LOAD_BOTH;
	fprintf(stderr, "paxfs-sim: --load: kv, fs or both, not %s\n", text);
	exit(2);
}

static enum sim_attack attack(const char *text)
{
	enum sim_attack a = sim_attack_find(text);

	if (a)
		return a;
	for (unsigned i = 1; i < SIM_ATTACK_COUNT; i++)
		fprintf(stderr, "  %-10s %s\n", sim_attack_name((enum sim_attack)i),
			sim_attack_text((enum sim_attack)i));
	exit(2);
}

enum { FRESH = 256, HOURS, TWICE, CALM, SECONDS, LIMIT, LOAD, FIRST, ATTACK };
static const struct option longs[] = {
	{"seed", required_argument, NULL, 's'},	   {"from", required_argument, NULL, 'f'},
	{"seeds", required_argument, NULL, 'n'},   {"fresh", no_argument, NULL, FRESH},
	{"hours", required_argument, NULL, HOURS}, {"jobs", required_argument, NULL, 'j'},
	{"trace", no_argument, NULL, 't'},	   {"twice", no_argument, NULL, TWICE},
	{"calm", no_argument, NULL, CALM},	   {"seconds", required_argument, NULL, SECONDS},
	{"limit", required_argument, NULL, LIMIT}, {"quiet", no_argument, NULL, 'q'},
	{"load", required_argument, NULL, LOAD},   {"attack", required_argument, NULL, ATTACK},
	{"first", no_argument, NULL, FIRST},	   {"help", no_argument, NULL, 'h'},
	{0}};

static void parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){.first = 1, .count = 20, .jobs = 1, .limit_s = 300};
	while ((c = getopt_long(argc, argv, "s:f:n:j:tqh", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->first = number("--seed", optarg);
			o->count = 1;
			break;
		case 'f':
			o->first = number("--from", optarg);
			break;
		case 'n':
			o->count = number("--seeds", optarg);
			break;
		case FRESH:
			o->fresh = true;
			break;
		case HOURS:
			o->hours = strtod(optarg, NULL);
			o->fresh = true;
			break;
		case 'j':
			o->jobs = (unsigned)number("--jobs", optarg);
			break;
		case 't':
			sim_trace_on = true;
			break;
		case FIRST:
			o->first_only = true;
			break;
		case TWICE:
			o->twice = true;
			break;
		case CALM:
			o->swarm.profile = SIM_QUIET;
			break;
		case SECONDS:
			o->swarm.safety_ns = number("--seconds", optarg) * NS_PER_S;
			break;
		case LOAD:
			o->swarm.load = load_kind(optarg);
			break;
		case ATTACK:
			o->swarm.attack = attack(optarg);
			break;
		case LIMIT:
			o->limit_s = (unsigned)number("--limit", optarg);
			break;
		case 'q':
			o->quiet = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc || o->jobs == 0 || o->jobs > JOBS_MAX) {
		usage(stderr);
		exit(2);
	}
}

/* ---- one seed ---- */

static void run_child(const struct options *o, uint64_t seed, int fd)
{
	struct sim_result r;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	alarm(o->limit_s);
	sim_swarm_run(seed, &o->swarm, &r);
	if (write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
		_Exit(1);
	_Exit(0);
}

static void start(const struct options *o, uint64_t seed, struct child *c)
{
	int fds[2];

	fflush(NULL);
	if (pipe(fds) != 0 || (c->pid = fork()) < 0) {
		perror("paxfs-sim");
		exit(1);
	}
	if (c->pid == 0) {
		close(fds[0]);
		run_child(o, seed, fds[1]);
	}
	close(fds[1]);
	c->fd = fds[0];
	c->seed = seed;
}

static void add(struct totals *t, const struct sim_result *r)
{
	struct sim_result *s = &t->sum;

	s->simulated_ns += r->simulated_ns;
	s->calls += r->calls;
	s->ok += r->ok;
	s->failed += r->failed;
	s->unknown += r->unknown;
	s->judged += r->judged;
	s->fs_calls += r->fs_calls;
	s->fs_ok += r->fs_ok;
	s->fs_failed += r->fs_failed;
	s->fs_unknown += r->fs_unknown;
	s->fs_judged += r->fs_judged;
	s->steps += r->steps;
	s->entries += r->entries;
	s->batches += r->batches;
	s->elections += r->elections;
	s->snapshots += r->snapshots;
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		s->faults[i] += r->faults[i];
	t->hash = r->hash;
}

static bool take(const struct options *o, struct totals *t, struct child *c, int status)
{
	struct sim_result r;
	bool ok = read(c->fd, &r, sizeof(r)) == (ssize_t)sizeof(r);

	close(c->fd);
	c->pid = 0;
	if (ok && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		add(t, &r);
		t->passed++;
		if (!o->quiet)
			printf("seed %llu: ok, %.0f s, %llu + %llu calls, %llu elections, "
			       "hash %016llx\n",
			       (unsigned long long)c->seed, (double)r.simulated_ns / NS_PER_S,
			       (unsigned long long)r.calls, (unsigned long long)r.fs_calls,
			       (unsigned long long)r.elections,
			       (unsigned long long)r.hash);
		return true;
	}
	t->failed++;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		printf("seed %llu: HANGS (more than %u s)\n", (unsigned long long)c->seed,
		       o->limit_s);
	else if (WIFSIGNALED(status))
		printf("seed %llu: DIED by signal %d (%s)\n", (unsigned long long)c->seed,
		       WTERMSIG(status), strsignal(WTERMSIG(status)));
	printf("seed %llu: FAILED at commit %s; replay: make sim SEED=%llu\n",
	       (unsigned long long)c->seed, SIM_COMMIT, (unsigned long long)c->seed);
	fflush(stdout);
	return false;
}

static struct child *child_of(struct child *children, unsigned n, pid_t pid)
{
	for (unsigned i = 0; i < n; i++)
		if (children[i].pid == pid)
			return &children[i];
	return NULL;
}

static void wait_one(const struct options *o, struct totals *t, struct child *children)
{
	int status;
	pid_t pid = wait(&status);
	struct child *c = child_of(children, o->jobs, pid);

	if (c)
		take(o, t, c, status);
}

/* Twice the same: the same hash of all that happened. */
static void run_twice(const struct options *o, struct totals *t, uint64_t seed)
{
	struct child c[1];
	struct options one = *o;
	uint64_t first;

	one.jobs = 1;
	start(o, seed, c);
	wait_one(&one, t, c);
	first = t->hash;
	start(o, seed, c);
	wait_one(&one, t, c);
	if (t->hash != first) {
		printf("seed %llu: FAILED: two runs differ\n", (unsigned long long)seed);
		t->failed++;
	}
}

static bool goes_on(const struct options *o, const struct totals *t, uint64_t i, double begin)
{
	if (told_to_stop || (o->first_only && t->failed))
		return false;
	return o->hours > 0 ? now_s() - begin < o->hours * 3600 : i < o->count;
}

static void run_all(const struct options *o, struct totals *t, double begin)
{
	struct child children[JOBS_MAX] = {{0}};
	unsigned running = 0;

	for (uint64_t i = 0; goes_on(o, t, i, begin); i++) {
		if (o->twice) {
			run_twice(o, t, o->first + i);
			continue;
		}
		if (running == o->jobs) {
			wait_one(o, t, children);
			running--;
		}
		start(o, o->first + i, child_of(children, o->jobs, 0));
		running++;
	}
	for (; running > 0; running--)
		wait_one(o, t, children);
}

static void print_totals(const struct totals *t, double took)
{
	const struct sim_result *s = &t->sum;
	double simulated = (double)s->simulated_ns / NS_PER_S;

	printf("simulated %.2f hours in %.1f s (%.0f times real time)\n", simulated / 3600, took,
	       took > 0 ? simulated / took : 0);
	printf("calls %llu (ok %llu, failed %llu, unknown %llu), judged %llu; steps %llu, entries %llu, "
	       "batches %llu, elections %llu, snapshots %llu\n",
	       (unsigned long long)s->calls, (unsigned long long)s->ok,
	       (unsigned long long)s->failed, (unsigned long long)s->unknown,
	       (unsigned long long)s->judged, (unsigned long long)s->steps,
	       (unsigned long long)s->entries, (unsigned long long)s->batches,
	       (unsigned long long)s->elections, (unsigned long long)s->snapshots);
	printf("file system calls %llu (ok %llu, refused %llu, unknown %llu), judged %llu\n",
	       (unsigned long long)s->fs_calls, (unsigned long long)s->fs_ok,
	       (unsigned long long)s->fs_failed, (unsigned long long)s->fs_unknown,
	       (unsigned long long)s->fs_judged);
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		if (s->faults[i])
			printf("  %-34s %llu\n", sim_fault_text(i), (unsigned long long)s->faults[i]);
	printf("%llu passed, %llu failed\n", (unsigned long long)t->passed,
	       (unsigned long long)t->failed);
}

int main(int argc, char **argv)
{
	struct options o;
	struct totals t = {0};
	double begin = now_s();

	parse(argc, argv, &o);
	if (o.fresh && getrandom(&o.first, sizeof(o.first), 0) != (ssize_t)sizeof(o.first)) {
		perror("paxfs-sim: getrandom");
		return 1;
	}
	if (o.fresh) {
		o.first >>= 20; /* easier to read */
		printf("fresh seeds from %llu on\n", (unsigned long long)o.first);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	run_all(&o, &t, begin);
	print_totals(&t, now_s() - begin);
	return t.failed ? 1 : 0;
}
