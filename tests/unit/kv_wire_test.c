/* kv/wire, kv/node_wire, kv/snapshot_wire: bodies of frames. */
#include "kv/wire.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/node_wire.h"
#include "kv/snapshot_wire.h"
#include "tests/lib/check.h"

static void envelope_round_trip(void)
{
	struct buf b = BUF_INIT, head = BUF_INIT;
	struct kv_envelope e;

	kv_envelope_encode(&b, ERR_NOT_LEADER, 3, 17, slice_str("body"));
	kv_envelope_head(&head, ERR_NOT_LEADER, 3, 17, 4);
	buf_add(&head, "body", 4);
	CHECK_SLICE_EQ(buf_slice(&b), buf_slice(&head));
	CHECK_OK(kv_envelope_decode(buf_slice(&b), &e));
	CHECK_ERR(e.err, ERR_NOT_LEADER);
	CHECK_U64_EQ(e.leader, 3);
	CHECK_U64_EQ(e.map_version, 17);
	CHECK_SLICE_EQ(e.body, slice_str("body"));
	for (size_t n = 0; n < b.len; n++)
		CHECK_ERR(kv_envelope_decode(slice_of(b.data, n), &e), ERR_PROTO);
	buf_add_u8(&b, 0);
	CHECK_ERR(kv_envelope_decode(buf_slice(&b), &e), ERR_PROTO);
	buf_release(&b);
	buf_release(&head);
}

static void envelope_has_no_positive_code(void)
{
	struct buf b = BUF_INIT;
	struct kv_envelope e;

	kv_envelope_encode(&b, 1, 0, 0, (struct slice){0});
	CHECK_ERR(kv_envelope_decode(buf_slice(&b), &e), ERR_PROTO);
	buf_reset(&b);
	kv_envelope_encode(&b, INT32_MIN, 0, 0, (struct slice){0});
	CHECK_ERR(kv_envelope_decode(buf_slice(&b), &e), ERR_PROTO);
	buf_release(&b);
}

static void group_request_round_trip(void)
{
	struct buf b = BUF_INIT;
	struct kv_group_request q;

	kv_group_request_encode(&b, 1023, slice_str("part"));
	CHECK_OK(kv_group_request_decode(buf_slice(&b), &q));
	CHECK_U64_EQ(q.group, 1023);
	CHECK_SLICE_EQ(q.body, slice_str("part"));
	buf_consume(&b, 1);
	CHECK_ERR(kv_group_request_decode(buf_slice(&b), &q), ERR_PROTO);
	buf_reset(&b);
	kv_group_request_encode(&b, GROUPS_MAX, (struct slice){0});
	CHECK_ERR(kv_group_request_decode(buf_slice(&b), &q), ERR_PROTO);
	buf_reset(&b);
	kv_group_request_head(&b, 1, 5); /* promises more than comes */
	buf_add(&b, "four", 4);
	CHECK_ERR(kv_group_request_decode(buf_slice(&b), &q), ERR_PROTO);
	buf_release(&b);
}

static void watch_round_trip(void)
{
	uint8_t longest[KEY_SIZE_MAX + 1] = {1};
	struct kv_watch_request q = {.version = UINT64_MAX,
				     .wait_ns = 5,
				     .key = slice_of(longest, KEY_SIZE_MAX)};
	struct kv_watch_request back;
	struct buf b = BUF_INIT;
	uint64_t version = 3;

	kv_watch_request_encode(&b, &q);
	CHECK_OK(kv_watch_request_decode(buf_slice(&b), &back));
	CHECK_U64_EQ(back.version, UINT64_MAX);
	CHECK_U64_EQ(back.wait_ns, 5);
	CHECK_SLICE_EQ(back.key, q.key);
	for (size_t n = 0; n < b.len; n++)
		CHECK_ERR(kv_watch_request_decode(slice_of(b.data, n), &back), ERR_PROTO);
	buf_add_u8(&b, 0);
	CHECK_ERR(kv_watch_request_decode(buf_slice(&b), &back), ERR_PROTO);
	q.key.len++; /* longer than a key can be */
	buf_reset(&b);
	kv_watch_request_encode(&b, &q);
	CHECK_ERR(kv_watch_request_decode(buf_slice(&b), &back), ERR_PROTO);
	q.key.len = 0;
	buf_reset(&b);
	kv_watch_request_encode(&b, &q);
	CHECK_ERR(kv_watch_request_decode(buf_slice(&b), &back), ERR_PROTO);
	buf_reset(&b);
	kv_watch_reply_encode(&b, 1234567);
	CHECK_OK(kv_watch_reply_decode(buf_slice(&b), &version));
	CHECK_U64_EQ(version, 1234567);
	CHECK_ERR(kv_watch_reply_decode(slice_of(b.data, b.len - 1), &version), ERR_PROTO);
	CHECK_ERR(kv_watch_reply_decode((struct slice){0}, &version), ERR_PROTO);
	CHECK_U64_EQ(version, 1234567);
	buf_release(&b);
}

static void fill_status(struct kv_node_status *s, struct kv_group_status *groups, uint32_t n)
{
	*s = (struct kv_node_status){.node = 2,
				     .address = "127.0.0.1:7001",
				     .version = "1.2.3",
				     .pid = 99,
				     .uptime_ns = 5,
				     .rss_bytes = 6,
				     .wal_bytes = 7,
				     .engine_disk_bytes = 8,
				     .engine_memory_bytes = 9,
				     .sync_ns_last = 10,
				     .sync_ns_max = 11,
				     .frames_in = 12,
				     .frames_out = 13,
				     .bytes_in = 14,
				     .bytes_out = 15,
				     .bad_frames = 16,
				     .disk_id = UINT64_MAX,
				     .disk_total = 18,
				     .disk_free = 17,
				     .group_count = n,
				     .groups = groups};
	for (uint32_t i = 0; i < n; i++) {
		groups[i] = (struct kv_group_status){.group = i,
						     .leader = 1,
						     .role = 2,
						     .serving = true,
						     .ballot = 3,
						     .commit = 4,
						     .applied = 5,
						     .last = 6,
						     .log_start = 7,
						     .epoch = 8,
						     .keys = 9,
						     .bytes = 10,
						     .prepared = 11,
						     .waiting = 12,
						     .locks = 13,
						     .commands = 14,
						     .conflicts = 15,
						     .deadlocks = 16,
						     .member_count = 3,
						     .members = {1, 2, 3},
						     .member_accepted = {7, 8, 9},
						     .member_silent_ns = {1, 0, 2}};
		snprintf(groups[i].note, sizeof(groups[i].note), "note %u", i);
	}
}

static void status_round_trip(void)
{
	struct kv_group_status groups[3];
	struct kv_node_status s, back;
	struct buf a = BUF_INIT, b = BUF_INIT;

	fill_status(&s, groups, 3);
	kv_node_status_encode(&a, &s);
	CHECK_OK(kv_node_status_decode(buf_slice(&a), &back));
	CHECK_STR_EQ(back.address, s.address);
	CHECK_STR_EQ(back.groups[2].note, "note 2");
	CHECK_U64_EQ(back.groups[1].member_accepted[2], 9);
	CHECK_U64_EQ(back.bad_frames, 16);
	CHECK_U64_EQ(back.disk_free, 17);
	kv_node_status_encode(&b, &back);
	CHECK_SLICE_EQ(buf_slice(&a), buf_slice(&b));
	kv_node_status_release(&back);
	buf_release(&a);
	buf_release(&b);
}

static void status_believes_no_garbage(void)
{
	struct kv_group_status groups[2];
	struct kv_node_status s, back;
	struct buf b = BUF_INIT;

	fill_status(&s, groups, 2);
	kv_node_status_encode(&b, &s);
	for (size_t n = 0; n < b.len; n++)
		CHECK_ERR(kv_node_status_decode(slice_of(b.data, n), &back), ERR_PROTO);
	srand(11);
	for (unsigned i = 0; i < 20000; i++) {
		size_t at = (size_t)rand() % b.len;
		uint8_t keep = b.data[at];

		b.data[at] = (uint8_t)rand();
		if (kv_node_status_decode(buf_slice(&b), &back) == 0) {
			CHECK_TRUE(strlen(back.address) < sizeof(back.address));
			CHECK_TRUE(back.group_count == 0 ||
				   back.groups[0].member_count <= KV_STATUS_MEMBERS_MAX);
			kv_node_status_release(&back);
		}
		b.data[at] = keep;
	}
	mem_fail_nth(1);
	CHECK_ERR(kv_node_status_decode(buf_slice(&b), &back), ERR_NOMEM);
	buf_release(&b);
}

static void hello_round_trip(void)
{
	struct kv_acks acks[2] = {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}};
	struct kv_hello h = {.cluster = "fifteen letters",
			     .from = 1,
			     .to = 2,
			     .boot = 3,
			     .birth = 4,
			     .to_boot = 5,
			     .to_birth = 6,
			     .count = 2,
			     .acks = acks};
	struct kv_hello back;
	struct buf b = BUF_INIT;

	kv_hello_encode(&b, &h);
	CHECK_OK(kv_hello_decode(buf_slice(&b), &back));
	CHECK_MEM_EQ(back.cluster, h.cluster, sizeof(h.cluster));
	CHECK_U64_EQ(back.to_birth, 6);
	CHECK_U64_EQ(back.count, 2);
	CHECK_U64_EQ(back.acks[1].old_slot, 8);
	CHECK_U64_EQ(back.acks[1].slot, 10);
	kv_hello_release(&back);
	for (size_t n = 0; n < b.len; n++)
		CHECK_ERR(kv_hello_decode(slice_of(b.data, n), &back), ERR_PROTO);
	buf_release(&b);
}

static void txn_frame_round_trip(void)
{
	struct kv_txn_frame f = {3, 4, 1, slice_str("message")}, back;
	struct buf b = BUF_INIT;

	kv_txn_frame_head(&b, &f);
	buf_add_slice(&b, f.bytes);
	CHECK_OK(kv_txn_frame_decode(buf_slice(&b), &back));
	CHECK_U64_EQ(back.to_group, 3);
	CHECK_U64_EQ(back.from_group, 4);
	CHECK_U64_EQ(back.hops, 1);
	CHECK_SLICE_EQ(back.bytes, f.bytes);
	for (size_t n = 0; n < b.len; n++)
		CHECK_ERR(kv_txn_frame_decode(slice_of(b.data, n), &back), ERR_PROTO);
	buf_reset(&b);
	f.hops = KV_TXN_HOPS_MAX + 1;
	kv_txn_frame_head(&b, &f);
	buf_add_slice(&b, f.bytes);
	CHECK_ERR(kv_txn_frame_decode(buf_slice(&b), &back), ERR_PROTO);
	buf_release(&b);
}

static void snapshot_round_trip(void)
{
	struct kv_snapshot_request q = {1, 2, 3}, q2;
	struct kv_snapshot_reply r = {4, 5, 6, 7, slice_str("chunk")}, r2;
	struct buf b = BUF_INIT;

	kv_snapshot_request_encode(&b, &q);
	CHECK_OK(kv_snapshot_request_decode(buf_slice(&b), &q2));
	CHECK_U64_EQ(q2.chunk, 3);
	buf_reset(&b);
	q.transfer = 0; /* a new transfer begins with chunk 0 */
	kv_snapshot_request_encode(&b, &q);
	CHECK_ERR(kv_snapshot_request_decode(buf_slice(&b), &q2), ERR_PROTO);
	buf_reset(&b);
	kv_snapshot_reply_encode(&b, &r);
	CHECK_OK(kv_snapshot_reply_decode(buf_slice(&b), &r2));
	CHECK_U64_EQ(r2.applied, 6);
	CHECK_SLICE_EQ(r2.data, r.data);
	for (size_t n = 0; n < b.len; n++)
		CHECK_ERR(kv_snapshot_reply_decode(slice_of(b.data, n), &r2), ERR_PROTO);
	buf_release(&b);
}

/* Greetings of a dead process may come late. */
static void boots_are_ordered_by_the_starts_of_the_log(void)
{
	uint64_t first = kv__boot_make(7, UINT64_MAX), next = kv__boot_make(8, 0);
	uint64_t copy = kv__boot_make(7, 12345);

	CHECK_TRUE(first != 0 && copy != first);
	CHECK_TRUE(kv__boot_later(next, first));
	CHECK_FALSE(kv__boot_later(first, next));
	CHECK_FALSE(kv__boot_later(copy, first)); /* the same start again: an old copy */
	CHECK_TRUE(kv__boot_later(first, 0));
	CHECK_TRUE(kv__boot_later(next, 0xffffffffffffff00u)); /* one of before boots were ordered */
}

static const struct check_test tests[] = {
	CHECK_TEST(boots_are_ordered_by_the_starts_of_the_log),
	CHECK_TEST(envelope_round_trip),
	CHECK_TEST(envelope_has_no_positive_code),
	CHECK_TEST(group_request_round_trip),
	CHECK_TEST(watch_round_trip),
	CHECK_TEST(status_round_trip),
	CHECK_TEST(status_believes_no_garbage),
	CHECK_TEST(hello_round_trip),
	CHECK_TEST(txn_frame_round_trip),
	CHECK_TEST(snapshot_round_trip),
};
CHECK_MAIN(tests)
