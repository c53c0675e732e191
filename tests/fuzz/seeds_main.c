/* Writes seeds into corpora: `seeds tests/fuzz/corpus`. Made by the encoders, so that fuzzers begin
 * behind the first checks. Each becomes a file seed-N of its target's folder. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "consensus/paxos.h"
#include "fs/format.h"
#include "kv/layout.h"
#include "kv/node_wire.h"
#include "kv/snapshot_wire.h"
#include "kv/wire.h"
#include "net/net.h"
#include "tests/fuzz/fuzz_txn.h"

static const char *root;

/* Releases @b. The first byte of most inputs is a choice: @pick, when it is not negative. */
static void seed(const char *target, int pick, struct buf *b)
{
	static unsigned serial;
	char path[512];
	FILE *f;

	CHECK(buf_ok(b));
	snprintf(path, sizeof(path), "%s/%s", root, target);
	(void)mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/seed-%u", root, target, serial++);
	f = fopen(path, "wb");
	if (!f) {
		perror(path);
		exit(1);
	}
	if (pick >= 0)
		fputc(pick, f);
	fwrite(b->data, 1, b->len, f);
	if (fclose(f) != 0) {
		perror(path);
		exit(1);
	}
	buf_release(b);
}

static void seed_text(const char *target, int pick, const char *text)
{
	struct buf b = BUF_INIT;

	buf_add_slice(&b, slice_str(text));
	seed(target, pick, &b);
}

static void frames(void)
{
	struct buf b = BUF_INIT;

	net_frame_encode(&b, 17, 0, 1, slice_str("body"));
	net_frame_encode(&b, 17, 1, 2, (struct slice){0});
	seed("frame", 3, &b);
	net_frame_encode(&b, 255, 0xffff, UINT64_MAX, slice_str("other"));
	seed("frame", 0x80, &b);
}

static void codec(void)
{
	struct buf b = BUF_INIT;
	static const uint8_t calls[16] = {0, 4, 5, 6, 7, 1, 2, 3};

	buf_add(&b, calls, sizeof(calls));
	enc_u64(&b, UINT64_MAX);
	enc_i64(&b, -5);
	enc_bool(&b, true);
	enc_str(&b, "text");
	enc_u64(&b, 2);
	enc_u64(&b, 100);
	seed("codec", -1, &b);
}

static void kv_bodies(void)
{
	struct kv_group_status g = {.group = 1, .leader = 2, .member_count = 3, .members = {1, 2, 3},
				    .note = "lags"};
	struct kv_node_status s = {.node = 1, .address = "127.0.0.1:7000", .version = "1",
				   .group_count = 1, .groups = &g};
	struct kv_acks acks = {.group = 1, .ballot = 65537, .slot = 9};
	struct kv_hello h = {.from = 1, .to = 2, .boot = 5, .count = 1, .acks = &acks};
	struct kv_txn_frame t = {.to_group = 1, .from_group = 2, .bytes = slice_str("m")};
	struct kv_snapshot_request q = {.group = 1, .transfer = 7, .chunk = 2};
	struct kv_snapshot_reply r = {.transfer = 7, .chunk = 2, .applied = 9, .data = slice_str("d")};
	struct kv_watch_request w = {.version = 7, .wait_ns = 1000, .key = slice_str("key")};
	struct buf b = BUF_INIT;

	kv_envelope_encode(&b, ERR_NOT_LEADER, 2, 3, slice_str("body"));
	seed("kv_wire", 0, &b);
	kv_group_request_encode(&b, 3, slice_str("request"));
	seed("kv_wire", 1, &b);
	kv_node_status_encode(&b, &s);
	seed("kv_wire", 2, &b);
	kv_hello_encode(&b, &h);
	seed("kv_wire", 3, &b);
	kv_txn_frame_head(&b, &t);
	buf_add_slice(&b, t.bytes);
	seed("kv_wire", 4, &b);
	kv_snapshot_request_encode(&b, &q);
	seed("kv_wire", 5, &b);
	kv_snapshot_reply_encode(&b, &r);
	seed("kv_wire", 6, &b);
	kv_watch_request_encode(&b, &w);
	seed("kv_wire", 7, &b);
	kv_watch_reply_encode(&b, 7);
	seed("kv_wire", 8, &b);
}

static void layouts(void)
{
	struct kv_layout_node nodes[3] = {{1, "127.0.0.1:1"}, {2, "127.0.0.1:2"}, {3, "[::1]:3"}};
	static const uint8_t cluster[KV_CLUSTER_ID_SIZE] = {1, 2, 3};
	struct kv_layout l;
	struct buf b = BUF_INIT;
	struct msg m;

	for (uint32_t replicas = 1; replicas <= 3; replicas += 2) {
		CHECK(kv_layout_make(&l, cluster, nodes, 3, 2, replicas, &m) == 0);
		buf_add(&b, "\x01\x00", 2); /* a key, then the layout */
		kv_layout_encode(&b, &l);
		seed("kv_layout", -1, &b);
		kv_layout_release(&l);
	}
}

static void consensus(void)
{
	struct paxos_entry *e = paxos_entry_new(PAXOS_COMMANDS, 65537, 5, 1, slice_str("command"));
	struct buf b = BUF_INIT;

	for (uint8_t type = PAXOS_PREVOTE; type <= PAXOS_TIMEOUT_NOW; type++) {
		struct paxos_message m = {.type = type, .group = 1, .from = 1, .to = 2, .epoch = 1,
					  .ballot = 65537, .first = 5, .entries = &e};

		m.count = type == PAXOS_ACCEPT || type == PAXOS_PROMISE || type == PAXOS_LEARN;
		paxos_message_encode(&m, &b);
		seed("paxos_wire", 0, &b);
	}
	paxos_entry_encode(e, &b);
	seed("paxos_wire", 1, &b);
	paxos_entry_unref(e);
}

/* A few hundred pseudo-random bytes, from which the makers of fuzz_txn.c make everything. */
static void transactions(void)
{
	uint8_t bytes[256];
	uint32_t x = 12345;

	for (unsigned i = 0; i < 24; i++) {
		struct buf b = BUF_INIT, item = BUF_INIT;
		struct fuzz_in in = {.left = slice_of(bytes, sizeof(bytes))};

		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
		bytes[0] = (uint8_t)i;
		if (i % 3 == 0)
			fuzz_txn_command(&in, &b);
		else if (i % 3 == 1)
			fuzz_txn_message(&in, &b);
		else
			fuzz_txn_part(&in, &b, true);
		buf_add_slice(&item, buf_slice(&b));
		seed("txn_wire", (int)(i % 3), &b);
		if (i % 3 < 2) { /* as an operation of the machine */
			buf_add_u8(&b, i % 3 ? 5 : 0);
			fuzz_put_item(&b, buf_slice(&item));
			seed("tsm", -1, &b);
		}
		buf_release(&item);
	}
}

static void replies(void)
{
	struct reply_head done = {.stamp = 5},
			  failed = {.status = ERR_CONDITION, .failed = 1,
				    .current = {.version = 3, .value = slice_str("v")}};
	struct reply_value v = {.version = 3, .value = slice_str("value")};
	struct buf r = BUF_INIT, b = BUF_INIT;

	txn__reply_head(&r, &done);
	enc_u64(&r, REPLY_GET);
	enc_u64(&r, 0);
	txn__reply_value(&r, &v);
	enc_u64(&r, REPLY_SCAN);
	enc_u64(&r, 1);
	enc_u64(&r, REPLY_ITEM_REF);
	enc_str(&r, "key");
	enc_u64(&r, 1);
	enc_str(&r, "value");
	txn__reply_value(&r, &v);
	enc_u64(&r, REPLY_DONE);
	enc_u64(&r, REPLY_NUMBER);
	enc_u64(&r, 0);
	enc_u64(&r, 77);
	fuzz_put_item(&b, buf_slice(&r));
	buf_reset(&r);
	txn__reply_head(&r, &failed);
	fuzz_put_item(&b, buf_slice(&r));
	buf_release(&r);
	seed("txn_reply", 0x22, &b);
}

static void records(void)
{
	struct fs_inode i = {.perm = 0755, .type = FS_T_DIR, .nlink = 2, .parent = 1, .data_id = 9};
	struct fs_dentry d = {.ino = 5, .type = FS_T_FILE, .tie = 3};
	struct fs_reap r = {.what = FS_REAP_DATA, .session = 4, .since_ns = 5};
	struct fs_system s = {.version = FS_FORMAT_VERSION, .hash_key = {1, 2}};
	struct buf b = BUF_INIT;
	struct fs_key k;

	buf_resize(&b, FS_INODE_SIZE);
	fs__inode_encode(b.data, &i);
	seed("fs_format", 0, &b);
	buf_resize(&b, FS_DENTRY_SIZE);
	fs__dentry_encode(b.data, &d);
	seed("fs_format", 1, &b);
	buf_resize(&b, FS_REAP_SIZE);
	fs__reap_encode(b.data, &r);
	seed("fs_format", 2, &b);
	buf_resize(&b, FS_SYSTEM_SIZE);
	fs__system_encode(b.data, &s);
	seed("fs_format", 3, &b);
	fs__key_dentry(&k, 5, 77, slice_str("name"));
	buf_add_slice(&b, fs__key_slice(&k));
	seed("fs_format", 4, &b);
	buf_add(&b, k.b, k.len);
	seed("fs_format", 5, &b);
}

static void texts(void)
{
	static const struct {
		int pick;
		const char *text;
	} of_config[] = {
		{0, "1000"}, {1, "64K"}, {1, "18446744073709551615"}, {2, "1.5"}, {2, "1e9"},
		{3, "127.0.0.1:7000"}, {3, "[::1]:7000"}, {3, "unix:/tmp/x"},
		{4, "127.0.0.1:7000,[::1]:7001,,127.0.0.1:1"},
		{5, "ro,noatime,timeout=1.5,max_background=64,fsname=x,sync,_netdev,x-y=z,dev"},
	};

	for (size_t i = 0; i < sizeof(of_config) / sizeof(of_config[0]); i++)
		seed_text("config", of_config[i].pick, of_config[i].text);
}

static void files(void)
{
	struct kv_acks acks = {.group = 1, .ballot = 65537, .slot = 9};
	struct kv_hello h = {.from = 1, .to = 2, .to_boot = 5, .count = 1, .acks = &acks};
	struct buf b = BUF_INIT, one = BUF_INIT;

	enc_u64(&b, 1);
	enc_u64(&b, UINT64_MAX);
	enc_u64(&b, 1700000000);
	seed("files", 0x80, &b);
	kv_hello_encode(&one, &h);
	enc_u64(&b, 1);
	enc_bytes(&b, buf_slice(&one));
	seed("files", 0x81, &b);
	buf_release(&one);
	seed_text("files", 2, "{\"groups\": 4, \"mount\": \"/mnt\", \"nodes\": [{\"id\": 1, "
			      "\"address\": \"127.0.0.1:7000\"}, {\"id\": 2, \"address\": \"\"}]}");
	seed_text("files", 2, "{\"groups\": 1, \"mount\": null, \"nodes\": []}");
	seed_text("files", 3, "127.0.0.1:7000,127.0.0.1:7001\n");
	seed_text("files", 4, "1234 567890\n");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "seeds DIRECTORY\n");
		return 2;
	}
	root = argv[1];
	frames();
	codec();
	kv_bodies();
	layouts();
	consensus();
	transactions();
	replies();
	records();
	texts();
	files();
	return 0;
}
