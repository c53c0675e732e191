/* Are all replicas of all groups the same?
 *
 *   replicasame ENDPOINTS SECONDS flush   only makes every node flush its engine
 *   replicasame ENDPOINTS SECONDS   -> "same N groups"; exit 1 when two that have applied the same
 *                                      slots differ, or when they do not all come to one slot in time
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/wire.h"
#include "tools/cli.h"

#define CALL_NS (2 * NS_PER_S)

struct same {
	struct cli_session *s;
	uint64_t seconds;
	bool flush;
};

struct sum {
	int err;
	uint64_t slot, crc;
};

static struct sum ask(struct cli_session *s, const char *address, uint32_t group)
{
	struct buf body = BUF_INIT, reply = BUF_INIT;
	struct sum out = {0};
	struct dec d;

	kv_group_request_encode(&body, group, (struct slice){0});
	out.err = kv_client_admin(s->transport, loop_env(s->loop), address, KV_CHECKSUM,
				  buf_slice(&body), CALL_NS, &reply);
	if (!out.err) {
		dec_init(&d, buf_slice(&reply));
		out.slot = dec_u64(&d);
		out.crc = dec_u64(&d);
		out.err = dec_end(&d);
	}
	buf_release(&body);
	buf_release(&reply);
	return out;
}

/* 1: same; 0: not yet; -1: they differ. */
static int compare(struct same *a, const struct kv_layout *l, const struct kv_layout_group *g,
		   bool tell)
{
	struct sum sums[GROUP_REPLICAS_MAX];
	int verdict = 1;

	for (uint32_t i = 0; i < g->member_count; i++) {
		sums[i] = ask(a->s, kv_layout_node(l, g->members[i])->address, g->id);
		if (sums[i].err || sums[i].slot != sums[0].slot)
			verdict = verdict < 0 ? -1 : 0;
		for (uint32_t k = 0; k < i; k++)
			if (!sums[i].err && !sums[k].err && sums[i].slot == sums[k].slot &&
			    sums[i].crc != sums[k].crc)
				verdict = -1;
	}
	for (uint32_t i = 0; (tell || verdict < 0) && verdict <= 0 && i < g->member_count; i++)
		fprintf(stderr, "replicasame: group %u, node %u: slot %llu checksum %llx %s\n",
			g->id, g->members[i], (unsigned long long)sums[i].slot,
			(unsigned long long)sums[i].crc, sums[i].err ? err_text(sums[i].err) : "");
	return verdict;
}

static void flush_all(struct cli_session *s, const struct kv_layout *l)
{
	for (uint32_t i = 0; i < l->node_count; i++) {
		struct buf reply = BUF_INIT;
		int err = kv_client_admin(s->transport, loop_env(s->loop), l->nodes[i].address, KV_FLUSH,
					  (struct slice){0}, CALL_NS, &reply);

		printf("node %u: flush: %s\n", l->nodes[i].id, err ? err_text(err) : "done");
		buf_release(&reply);
	}
}

static int run(struct cli_session *s, void *ctx)
{
	struct same *a = ctx;
	struct kv_layout l = {0};
	uint64_t end = env_mono_ns(loop_env(s->loop)) + a->seconds * NS_PER_S;
	int rc = CLI_OK;

	a->s = s;
	if (kv_layout_copy(&l, kv_client_layout(s->client)) != 0)
		return CLI_FAILED;
	if (a->flush)
		flush_all(s, &l);
	for (uint32_t i = 0; i < l.group_count && rc == CLI_OK && !a->flush; i++) {
		int verdict = 0;

		while (verdict == 0) {
			bool last = env_mono_ns(loop_env(s->loop)) >= end;

			verdict = compare(a, &l, &l.groups[i], last);
			if (verdict == 0 && (last || fiber_sleep(100 * NS_PER_MS) != 0))
				break;
		}
		rc = verdict == 1 ? CLI_OK : CLI_FAILED;
	}
	if (rc == CLI_OK && !a->flush)
		printf("same %u groups\n", l.group_count);
	kv_layout_release(&l);
	return rc;
}

int main(int argc, char **argv)
{
	struct cli_client_options o;
	struct same a = {0};
	int rc;

	a.flush = argc == 4 && strcmp(argv[3], "flush") == 0;
	if (argc != 3 && !a.flush) {
		fputs("usage: replicasame ENDPOINTS SECONDS [flush]\n", stderr);
		return CLI_USAGE;
	}
	a.seconds = strtoull(argv[2], NULL, 10);
	cli_client_options_init(&o);
	o.endpoints = mem_must_strdup(argv[1]);
	o.timeout_ns = a.seconds * NS_PER_S;
	rc = cli_run(&o, CLI_CLIENT, run, &a);
	cli_client_options_release(&o);
	return rc;
}
