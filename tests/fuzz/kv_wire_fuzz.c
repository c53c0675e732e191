/* Bodies of frames: kv/wire.h, kv/node_wire.h, kv/snapshot_wire.h. Byte 0 picks the message. What is
 * decoded, encoded and decoded again must be encoded equally, and no longer than it came. */
#include "kv/node_wire.h"
#include "kv/snapshot_wire.h"
#include "kv/wire.h"
#include "tests/fuzz/fuzz.h"

static int envelope(struct slice in, struct buf *out)
{
	struct kv_envelope e;
	int err = kv_envelope_decode(in, &e);
	struct buf head = BUF_INIT;

	if (err)
		return err;
	CHECK(e.err <= 0);
	kv_envelope_encode(out, e.err, e.leader, e.map_version, e.body);
	kv_envelope_head(&head, e.err, e.leader, e.map_version, e.body.len);
	buf_add_slice(&head, e.body);
	CHECK(slice_eq(buf_slice(&head), buf_slice(out)));
	buf_release(&head);
	return 0;
}

static int group_request(struct slice in, struct buf *out)
{
	struct kv_group_request q;
	int err = kv_group_request_decode(in, &q);
	struct buf head = BUF_INIT;

	if (err)
		return err;
	CHECK(q.group < GROUPS_MAX);
	kv_group_request_encode(out, q.group, q.body);
	kv_group_request_head(&head, q.group, q.body.len);
	buf_add_slice(&head, q.body);
	CHECK(slice_eq(buf_slice(&head), buf_slice(out)));
	buf_release(&head);
	return 0;
}

static int node_status(struct slice in, struct buf *out)
{
	struct kv_node_status s;
	int err = kv_node_status_decode(in, &s);

	if (err)
		return err;
	CHECK(strnlen(s.address, sizeof(s.address)) < sizeof(s.address));
	for (uint32_t i = 0; i < s.group_count; i++)
		CHECK(s.groups[i].member_count <= KV_STATUS_MEMBERS_MAX);
	kv_node_status_encode(out, &s);
	kv_node_status_release(&s);
	return 0;
}

static int hello(struct slice in, struct buf *out)
{
	struct kv_hello h;
	int err = kv_hello_decode(in, &h);

	if (err)
		return err;
	for (uint32_t i = 0; i < h.count; i++)
		CHECK(h.acks[i].group < GROUPS_MAX);
	kv_hello_encode(out, &h);
	kv_hello_release(&h);
	return 0;
}

static int txn_frame(struct slice in, struct buf *out)
{
	struct kv_txn_frame f;
	int err = kv_txn_frame_decode(in, &f);

	if (err)
		return err;
	CHECK(f.hops <= KV_TXN_HOPS_MAX && f.to_group < GROUPS_MAX && f.from_group < GROUPS_MAX);
	kv_txn_frame_head(out, &f);
	buf_add_slice(out, f.bytes);
	return 0;
}

static int snapshot_request(struct slice in, struct buf *out)
{
	struct kv_snapshot_request q;
	int err = kv_snapshot_request_decode(in, &q);

	if (!err)
		kv_snapshot_request_encode(out, &q);
	return err;
}

static int snapshot_reply(struct slice in, struct buf *out)
{
	struct kv_snapshot_reply r;
	int err = kv_snapshot_reply_decode(in, &r);

	if (!err)
		kv_snapshot_reply_encode(out, &r);
	return err;
}

static int watch_request(struct slice in, struct buf *out)
{
	struct kv_watch_request q;
	int err = kv_watch_request_decode(in, &q);

	if (err)
		return err;
	CHECK(q.key.len > 0 && q.key.len <= KEY_SIZE_MAX);
	kv_watch_request_encode(out, &q);
	return 0;
}

static int watch_reply(struct slice in, struct buf *out)
{
	uint64_t version;
	int err = kv_watch_reply_decode(in, &version);

	if (!err)
		kv_watch_reply_encode(out, version);
	return err;
}

static fuzz_code_fn *const codes[] = {
	envelope,	  group_request,  node_status,	 hello,	     txn_frame,
	snapshot_request, snapshot_reply, watch_request, watch_reply,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	fuzz_code_fn *code = codes[fuzz_below(&in, sizeof(codes) / sizeof(codes[0]))];

	fuzz_round_trip(code, fuzz_rest(&in));
	return 0;
}
