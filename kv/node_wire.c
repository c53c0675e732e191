#include "kv/node_wire.h"

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"

void kv_hello_encode(struct buf *out, const struct kv_hello *h)
{
	enc_bytes(out, slice_of(h->cluster, KV_CLUSTER_ID_SIZE));
	enc_u64(out, h->from);
	enc_u64(out, h->to);
	enc_u64(out, h->boot);
	enc_u64(out, h->birth);
	enc_u64(out, h->to_boot);
	enc_u64(out, h->to_birth);
	enc_u64(out, h->count);
	for (uint32_t i = 0; i < h->count; i++) {
		const struct kv_acks *a = &h->acks[i];

		enc_u64(out, a->group);
		enc_u64(out, a->old_ballot);
		enc_u64(out, a->old_slot);
		enc_u64(out, a->ballot);
		enc_u64(out, a->slot);
	}
}

static void decode_acks(struct dec *d, struct kv_acks *a)
{
	a->group = (uint32_t)dec_u64_max(d, GROUPS_MAX - 1);
	a->old_ballot = dec_u64(d);
	a->old_slot = dec_u64(d);
	a->ballot = dec_u64(d);
	a->slot = dec_u64(d);
}

int kv_hello_decode(struct slice in, struct kv_hello *out)
{
	struct kv_hello h = {0};
	struct slice cluster;
	struct dec d;
	int err;

	dec_init(&d, in);
	cluster = dec_bytes(&d, KV_CLUSTER_ID_SIZE);
	if (cluster.len != KV_CLUSTER_ID_SIZE)
		return ERR_PROTO;
	memcpy(h.cluster, cluster.p, KV_CLUSTER_ID_SIZE);
	h.from = (uint32_t)dec_u64_max(&d, NODES_MAX - 1);
	h.to = (uint32_t)dec_u64_max(&d, NODES_MAX - 1);
	h.boot = dec_u64(&d);
	h.birth = dec_u64(&d);
	h.to_boot = dec_u64(&d);
	h.to_birth = dec_u64(&d);
	h.count = dec_count(&d, GROUPS_MAX);
	if (d.err)
		return d.err;
	if (h.count) {
		h.acks = mem_try_alloc(sizeof(*h.acks) * h.count);
		if (!h.acks)
			return ERR_NOMEM;
	}
	for (uint32_t i = 0; i < h.count; i++)
		decode_acks(&d, &h.acks[i]);
	err = dec_end(&d);
	if (err) {
		kv_hello_release(&h);
		return err;
	}
	*out = h;
	return 0;
}

void kv_hello_release(struct kv_hello *h)
{
	mem_free(h->acks);
	h->acks = NULL;
	h->count = 0;
}

void kv_txn_frame_head(struct buf *out, const struct kv_txn_frame *f)
{
	enc_u64(out, f->to_group);
	enc_u64(out, f->from_group);
	enc_u64(out, f->hops);
	enc_u64(out, f->bytes.len);
}

int kv_txn_frame_decode(struct slice in, struct kv_txn_frame *out)
{
	struct kv_txn_frame f;
	struct dec d;
	uint64_t len;

	dec_init(&d, in);
	f.to_group = (uint32_t)dec_u64_max(&d, GROUPS_MAX - 1);
	f.from_group = (uint32_t)dec_u64_max(&d, GROUPS_MAX - 1);
	f.hops = (uint32_t)dec_u64_max(&d, KV_TXN_HOPS_MAX);
	len = dec_u64(&d);
	if (d.err)
		return d.err;
	f.bytes = dec_rest(&d);
	if (f.bytes.len != len)
		return ERR_PROTO;
	*out = f;
	return 0;
}

/* ---- boots: run of the log(44) | random(12) | BOOT_MARK ---- */

#define BOOT_MARK     0xb7u /* boots of before had no order, and this mark by chance only */
#define BOOT_RUN_BITS 20u

uint64_t kv__boot_make(uint64_t log_run, uint64_t random)
{
	return log_run << BOOT_RUN_BITS | (random & 0xfff) << 8 | BOOT_MARK;
}

bool kv__boot_later(uint64_t a, uint64_t b)
{
	if (b == 0 || (a & 0xff) != BOOT_MARK || (b & 0xff) != BOOT_MARK)
		return true;
	return a >> BOOT_RUN_BITS > b >> BOOT_RUN_BITS;
}
