/* Deletes all raw keys (kind 'K': those of histload), for fsck knows no such kind.
 *
 *   rawwipe ENDPOINTS   -> "wiped N"
 */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "tools/cli.h"

#define PAGE 400u /* below TXN_MUTS_MAX */

static int page(struct cli_session *s, struct buf *from, struct slice end, bool *more,
		unsigned *wiped)
{
	struct txn_executor *x = kv_client_executor(s->client);
	struct txn_mini scan, del;
	struct txn_result r, done;
	int err;

	txn_mini_init(&scan);
	txn_mini_init(&del);
	txn_result_init(&r);
	txn_result_init(&done);
	txn_scan(&scan, buf_slice(from), end, PAGE);
	err = txn_exec(x, &scan, &r);
	*more = !err && r.reads[0].more;
	for (uint32_t i = 0; !err && i < r.reads[0].item_count; i++) {
		struct slice key = r.reads[0].items[i].key;

		if (key.len >= TXN_KEY_HEAD && key.p[TXN_KEY_HEAD - 1] == 'K')
			txn_delete(&del, key);
		buf_reset(from);
		buf_add_slice(from, key);
		buf_add_u8(from, 0);
	}
	*wiped += del.mut_count;
	if (!err && del.mut_count)
		err = txn_exec(x, &del, &done);
	txn_mini_release(&scan);
	txn_mini_release(&del);
	txn_result_release(&r);
	txn_result_release(&done);
	return err;
}

static int run(struct cli_session *s, void *ctx)
{
	const struct kv_layout *l = kv_client_layout(s->client);
	struct buf from = BUF_INIT, end = BUF_INIT;
	uint32_t shards = l->shard_count;
	unsigned wiped = 0;
	int err = 0;

	(void)ctx;
	for (uint32_t i = 0; i < shards && !err; i++) {
		bool more = true;

		l = kv_client_layout(s->client);
		buf_reset(&from);
		buf_reset(&end);
		buf_add(&from, l->shards[i].from, l->shards[i].from_len);
		if (from.len == 0)
			buf_add_u8(&from, 0); /* no key is empty */
		if (i + 1 < shards)
			buf_add(&end, l->shards[i + 1].from, l->shards[i + 1].from_len);
		else
			buf_add(&end, "\xff\xff\xff\xff", 4);
		while (more && !err)
			err = page(s, &from, buf_slice(&end), &more, &wiped);
	}
	buf_release(&from);
	buf_release(&end);
	if (err)
		return cli_error(cli_exit_code(err), "wipe: %s", err_text(err));
	printf("wiped %u\n", wiped);
	return CLI_OK;
}

int main(int argc, char **argv)
{
	struct cli_client_options o;
	int rc;

	if (argc != 2) {
		fputs("usage: rawwipe ENDPOINTS\n", stderr);
		return CLI_USAGE;
	}
	cli_client_options_init(&o);
	o.endpoints = mem_must_strdup(argv[1]);
	o.timeout_ns = 30 * NS_PER_S;
	rc = cli_run(&o, CLI_CLIENT, run, NULL);
	cli_client_options_release(&o);
	return rc;
}
