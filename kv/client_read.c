/* Read-only mini-transactions: they log nothing. One group: one request. Several: rounds until two in
 * a row saw the same; the second starts after all of the first have returned, so that there is a
 * moment at which all of it held (kv/README.md). Others' writes can keep that from happening for ever:
 * after READ_ROUNDS_MAX rounds the caller takes another way. */
#include "base/err.h"
#include "base/mem.h"
#include "kv/client_internal.h"

#define READ_ROUNDS_MAX 8u

struct read_round {
	struct kv_client *c;
	struct txn_part *parts;
	struct buf replies[TXN_GROUPS_MAX];
	struct slice bodies[TXN_GROUPS_MAX];
	uint64_t deadline_ns;
};

static int read_part(void *ctx, uint32_t i)
{
	struct read_round *r = ctx;
	bool unknown = false;

	return kv__call_group(r->c, r->parts[i].group, KV_READ, buf_slice(&r->parts[i].body),
			      r->deadline_ns, &unknown, &r->replies[i], &r->bodies[i]);
}

static struct read_round *round_new(struct kv_client *c, struct txn_part *parts,
				    uint64_t deadline_ns)
{
	struct read_round *r = mem_must_alloc(sizeof(*r));

	r->c = c;
	r->parts = parts;
	r->deadline_ns = deadline_ns;
	return r;
}

static void round_free(struct read_round *r) /* takes NULL */
{
	if (!r)
		return;
	for (uint32_t i = 0; i < TXN_GROUPS_MAX; i++)
		buf_release(&r->replies[i]);
	mem_free(r);
}

/* The same bytes: the same values at the same versions. */
static bool rounds_agree(const struct read_round *a, const struct read_round *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!slice_eq(a->bodies[i], b->bodies[i]))
			return false;
	return true;
}

static int merge_round(const struct txn_mini *m, const struct read_round *rr, uint32_t n,
		       struct txn_result *r)
{
	txn_result_prepare(r, m);
	for (uint32_t i = 0; i < n; i++) {
		int err = txn_result_merge(r, rr->bodies[i]);

		if (err)
			return err;
	}
	return 0;
}

int kv__read(struct kv_client *c, const struct txn_mini *m, struct txn_part *parts, uint32_t n,
	     uint64_t deadline_ns, bool *starved, struct txn_result *r)
{
	struct read_round *last = NULL, *now;
	uint64_t backoff = BACKOFF_NS_MIN;
	bool agreed = false;
	uint32_t rounds = 0;
	int err = 0;

	c->stats.reads++;
	while (!err && !agreed && !*starved) {
		now = round_new(c, parts, deadline_ns);
		err = kv__fan_out(c, n, read_part, now);
		if (!err)
			err = merge_round(m, now, n, r);
		agreed = n == 1 || (last && !err && rounds_agree(last, now, n));
		if (!err && r->status != 0 && r->status != ERR_CONDITION)
			agreed = true; /* no part of an answer: the caller tries again, or not */
		round_free(last);
		last = now;
		if (err || agreed || ++rounds < 2)
			continue;
		if (rounds >= READ_ROUNDS_MAX) {
			*starved = true;
		} else if (rounds % 2 == 0) {
			/* Nothing agrees with what was read before a pause, while others write. */
			round_free(last);
			last = NULL;
			err = kv__pause(c, &backoff, deadline_ns);
		}
	}
	round_free(last);
	return err;
}
