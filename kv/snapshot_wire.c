#include "kv/snapshot_wire.h"

#include "base/codec.h"
#include "base/err.h"
#include "base/limits.h"

void kv_snapshot_request_encode(struct buf *out, const struct kv_snapshot_request *q)
{
	enc_u64(out, q->group);
	enc_u64(out, q->transfer);
	enc_u64(out, q->chunk);
}

int kv_snapshot_request_decode(struct slice in, struct kv_snapshot_request *out)
{
	struct kv_snapshot_request q;
	struct dec d;
	int err;

	dec_init(&d, in);
	q.group = (uint32_t)dec_u64_max(&d, GROUPS_MAX - 1);
	q.transfer = dec_u64(&d);
	q.chunk = dec_u64(&d);
	err = dec_end(&d);
	if (err)
		return err;
	if (q.transfer == 0 && q.chunk != 0)
		return ERR_PROTO;
	*out = q;
	return 0;
}

void kv_snapshot_reply_encode(struct buf *out, const struct kv_snapshot_reply *r)
{
	enc_u64(out, r->transfer);
	enc_u64(out, r->chunk);
	enc_u64(out, r->applied);
	enc_u64(out, r->bytes_total);
	enc_bytes(out, r->data);
}

int kv_snapshot_reply_decode(struct slice in, struct kv_snapshot_reply *out)
{
	struct kv_snapshot_reply r;
	struct dec d;
	int err;

	dec_init(&d, in);
	r.transfer = dec_u64(&d);
	r.chunk = dec_u64(&d);
	r.applied = dec_u64(&d);
	r.bytes_total = dec_u64(&d);
	r.data = dec_bytes(&d, FRAME_SIZE_MAX);
	err = dec_end(&d);
	if (err)
		return err;
	if (r.transfer == 0)
		return ERR_PROTO;
	*out = r;
	return 0;
}
