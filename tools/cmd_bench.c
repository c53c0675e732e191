/* `paxfs bench`: how fast the key-value store is from here. Keys are raw records in a directory-less
 * part of the key space (kind 'K'), so that the figures are the store's, not the file system's. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tools/cli.h"
#include "tools/commands.h"

static const char help[] =
	"usage: paxfs bench [-c CLIENTS] [-s SIZE] [-r SHARE] [-d SECONDS] [-k KEYS] [-T KEYS]\n\n"
	"Measures durable writes and linearizable reads of small keys; the keys are deleted\n"
	"afterwards. SIGINT ends it early.\n\n"
	"  -c, --clients N        at the same time (default 1)\n"
	"  -s, --size BYTES       of a value (default 256)\n"
	"  -r, --reads PERCENT    share of reads (default 0)\n"
	"  -d, --duration SECS    (default 5)\n"
	"  -k, --keys N           how many different keys (default 1000)\n"
	"  -T, --transaction N    each write is one transaction over N keys, in N groups where\n"
	"                         there are so many (default 1)\n" CLI_CLIENT_HELP;

#define SAMPLES_MAX 4000000u

struct bench {
	struct cli_client_options o;
	uint64_t clients, size, read_percent, keys, duration_ns, keys_per_txn;
	struct cli_session *s;
	uint64_t end_ns, live;
	struct fiber *waiter;
	struct samples {
		uint32_t *us10; /* tenths of a microsecond */
		uint32_t count;
	} reads, writes;
	uint64_t errors;
	int first_error;
	uint8_t *value;
};

static void add_sample(struct samples *s, uint64_t ns)
{
	uint64_t v = ns / 100;

	if (s->count < SAMPLES_MAX)
		s->us10[s->count++] = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

#define PLACES 0x8000u /* of data; what is above belongs to group 0 */

static uint64_t shard_begin(const struct kv_layout *l, uint32_t shard)
{
	return l->shards[shard].from_len < 2 ? 0 : be16_get(l->shards[shard].from);
}

/* place | number | 'K': places are spread over all shards, evenly. Key @slot of transaction @i lies as
 * many shards further; neighbours belong to different groups, where there are so many. */
static struct slice bench_key(const struct bench *b, uint8_t out[11], uint64_t i, uint64_t slot)
{
	const struct kv_layout *l = kv_client_layout(b->s->client);
	uint64_t place = i * 2654435761u % PLACES, offset, end;
	uint32_t shards = l->shard_count - 1, shard;

	be16_put(out, (uint16_t)place);
	shard = kv_layout_shard_of(l, slice_of(out, 2));
	offset = place - shard_begin(l, shard);
	shard = (uint32_t)((shard + slot) % shards);
	end = shard_begin(l, shard + 1);
	place = shard_begin(l, shard) + offset;
	if (place >= end)
		place = end - 1;
	be16_put(out, (uint16_t)place);
	be64_put(out + 2, place << 48 | 0xbe0000000000ull | slot << 32 | i);
	out[10] = 'K';
	return slice_of(out, 11);
}

static int one_op(struct bench *b, uint64_t key, bool read)
{
	struct txn_executor *x = kv_client_executor(b->s->client);
	uint8_t k[11];
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	if (read)
		txn_get(&m, bench_key(b, k, key, 0));
	for (uint64_t i = 0; !read && i < b->keys_per_txn; i++)
		txn_put(&m, bench_key(b, k, key, i), slice_of(b->value, (size_t)b->size));
	err = txn_exec(x, &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static void client_main(void *arg)
{
	struct bench *b = arg;
	struct env *env = loop_env(b->s->loop);

	while (!b->first_error) {
		uint64_t t0 = env_mono_ns(env), dice = env_random(env);
		bool read = dice % 100 < b->read_percent;
		int err;

		if (t0 >= b->end_ns)
			break;
		err = one_op(b, (dice >> 8) % b->keys, read);
		if (err) {
			b->errors++;
			b->first_error = err;
		} else {
			add_sample(read ? &b->reads : &b->writes, env_mono_ns(env) - t0);
		}
	}
	if (--b->live == 0)
		fiber_wake(b->waiter);
}

static int compare(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

static double percentile(const struct samples *s, double p)
{
	uint32_t i = (uint32_t)((double)s->count * p);

	if (s->count == 0)
		return 0;
	return (double)s->us10[i < s->count ? i : s->count - 1] / 10000.0;
}

static json_t *report(const struct bench *b, const char *what, struct samples *s)
{
	double rate = (double)s->count / ((double)b->duration_ns / 1e9);

	qsort(s->us10, s->count, sizeof(*s->us10), compare);
	if (!b->o.json)
		printf("%-6s %8.0f/s  p50 %.3f ms  p99 %.3f ms  max %.3f ms\n", what, rate,
		       percentile(s, 0.5), percentile(s, 0.99), percentile(s, 1));
	return json_pack("{s:f, s:f, s:f, s:f}", "per_second", rate, "p50_ms",
			 percentile(s, 0.5), "p99_ms", percentile(s, 0.99), "max_ms",
			 percentile(s, 1));
}

static int clean_up(struct bench *b)
{
	uint64_t slots = b->keys_per_txn;
	int err = 0;

	for (uint64_t i = 0; i < b->keys * slots && !err; i += 256) {
		struct txn_mini m;
		struct txn_result r;
		uint8_t k[11];

		txn_mini_init(&m);
		txn_result_init(&r);
		for (uint64_t j = i; j < i + 256 && j < b->keys * slots; j++)
			txn_delete(&m, bench_key(b, k, j / slots, j % slots));
		err = txn_exec(kv_client_executor(b->s->client), &m, &r);
		txn_result_release(&r);
		txn_mini_release(&m);
	}
	return err;
}

/* Reads need something to find. */
static int fill(struct bench *b)
{
	for (uint64_t i = 0; b->read_percent && i < b->keys; i += 64) {
		struct txn_mini m;
		struct txn_result r;
		uint8_t k[11];
		int err;

		txn_mini_init(&m);
		txn_result_init(&r);
		for (uint64_t j = i; j < i + 64 && j < b->keys; j++)
			txn_put(&m, bench_key(b, k, j, 0), slice_of(b->value, (size_t)b->size));
		err = txn_exec(kv_client_executor(b->s->client), &m, &r);
		txn_result_release(&r);
		txn_mini_release(&m);
		if (err)
			return err;
	}
	return 0;
}

/* SIGINT ends it early: what was measured until then counts. */
static void wait_for_clients(struct bench *b, uint64_t begin_ns)
{
	struct env *env = loop_env(b->s->loop);

	while (b->live > 0) {
		fiber_park();
		if (!fiber_interrupted())
			continue;
		fiber_interrupt_clear();
		b->end_ns = env_mono_ns(env);
		b->duration_ns = b->end_ns - begin_ns;
	}
}

static int measure(struct bench *b)
{
	uint64_t begin_ns;
	int err = fill(b);

	if (err)
		return err;
	b->waiter = fiber_self();
	begin_ns = env_mono_ns(loop_env(b->s->loop));
	b->end_ns = begin_ns + b->duration_ns;
	for (uint64_t i = 0; i < b->clients; i++) {
		err = fiber_start(loop_fibers(b->s->loop), client_main, b);
		if (err) {
			b->first_error = err;
			break;
		}
		b->live++;
	}
	wait_for_clients(b, begin_ns);
	return b->first_error;
}

static int run(struct cli_session *s, void *ctx)
{
	struct bench *b = ctx;
	json_t *root = json_object();
	int err, err2;

	b->s = s;
	b->value = mem_must_alloc((size_t)b->size + 1);
	b->reads.us10 = mem_must_alloc(sizeof(uint32_t) * SAMPLES_MAX);
	b->writes.us10 = mem_must_alloc(sizeof(uint32_t) * SAMPLES_MAX);
	err = measure(b);
	if (!err) {
		json_object_set_new(root, "clients", json_integer((json_int_t)b->clients));
		if (b->read_percent < 100)
			json_object_set_new(root, "writes", report(b, "writes", &b->writes));
		if (b->read_percent > 0)
			json_object_set_new(root, "reads", report(b, "reads", &b->reads));
		if (b->o.json) {
			json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
			putchar('\n');
		}
	}
	json_decref(root);
	fiber_interrupt_clear(); /* the keys go in any case */
	err2 = clean_up(b);
	mem_free(b->value);
	mem_free(b->reads.us10);
	mem_free(b->writes.us10);
	err = err ? err : err2;
	return err ? cli_error(cli_exit_code(err), "bench: %s", err_text(err)) : CLI_OK;
}

static int parse(int argc, char **argv, struct bench *b)
{
	static const struct option longs[] = {{"clients", required_argument, NULL, 'c'},
					      {"size", required_argument, NULL, 's'},
					      {"reads", required_argument, NULL, 'r'},
					      {"duration", required_argument, NULL, 'd'},
					      {"keys", required_argument, NULL, 'k'},
					      {"transaction", required_argument, NULL, 'T'},
					      CLI_CLIENT_OPTIONS,
					      {0}};
	int c;

	while ((c = getopt_long(argc, argv, "c:s:r:d:k:T:" CLI_CLIENT_SHORT, longs, NULL)) != -1) {
		int handled = cli_client_option("bench", &b->o, c, optarg);

		if (handled < 0)
			return 1 + CLI_USAGE;
		if (handled)
			continue;
		if (c == 'h') {
			fputs(help, stdout);
			return 1 + CLI_OK;
		}
		if ((c == 'c' && cli_parse_u64(optarg, 1, 10000, &b->clients)) ||
		    (c == 's' && cli_parse_u64(optarg, 1, BLOCK_SIZE, &b->size)) ||
		    (c == 'r' && cli_parse_u64(optarg, 0, 100, &b->read_percent)) ||
		    (c == 'k' && cli_parse_u64(optarg, 1, 1000000, &b->keys)) ||
		    (c == 'T' && cli_parse_u64(optarg, 1, TXN_GROUPS_MAX, &b->keys_per_txn)) ||
		    (c == 'd' && cli_parse_seconds(optarg, &b->duration_ns) && b->duration_ns > 0))
			continue;
		return 1 + cli_bad_option("bench", argv, longs, c);
	}
	if (optind < argc)
		return 1 + cli_usage("bench", "unexpected argument \"%s\"", argv[optind]);
	return 0;
}

int cmd_bench(int argc, char **argv)
{
	struct bench b = {.clients = 1,
			  .size = 256,
			  .keys = 1000,
			  .duration_ns = 5 * NS_PER_S,
			  .keys_per_txn = 1};
	int rc;

	cli_client_options_init(&b.o);
	rc = parse(argc, argv, &b);
	rc = rc ? rc - 1 : cli_run(&b.o, CLI_CLIENT, run, &b);
	cli_client_options_release(&b.o);
	return rc;
}
