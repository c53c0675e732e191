/* The routing client, and the wire forms of kv: every allocation fails once. A call returns
 * ERR_NOMEM and nothing has happened, or works; nothing is executed twice. */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "kv/node_wire.h"
#include "tests/lib/check.h"
#include "tests/lib/fault_every.h"
#include "tests/lib/kv_client_fixture.h"

static struct kcf k;
static struct fault *fault;

/* Writes that were executed with success: one for each sequence. */
static uint32_t executed(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k.reply_count; i++)
		n += k.replies[i].status == 0 && k.replies[i].client != 0;
	return n;
}

static void write_one(uint32_t a, uint32_t b)
{
	uint32_t before = executed();
	int err;

	fault_arm(fault);
	err = kcf_write(&k, a, b);
	if (fault_hit(fault, err)) {
		CHECK_INT_EQ(executed(), before); /* "nothing has happened" */
		err = kcf_write(&k, a, b);
	}
	CHECK_OK(err);
	CHECK_INT_EQ(executed(), before + 1);
}

static void read_one(uint32_t a, uint32_t b)
{
	uint64_t versions[2] = {0};
	int err;

	fault_arm(fault);
	err = kcf_read(&k, a, b, versions);
	if (fault_hit(fault, err))
		CHECK_OK(kcf_read(&k, a, b, versions));
	CHECK_U64_EQ(versions[0], 7);
}

static void open_client(bool session)
{
	struct msg m = {""};
	int err;

	k.cfg.session = session;
	fault_arm(fault);
	err = kv_client_open(&k.cfg, &k.client, &m);
	if (fault_hit(fault, err)) {
		CHECK_NULL(k.client);
		CHECK_TRUE(m.text[0] != '\0');
		CHECK_OK(kv_client_open(&k.cfg, &k.client, &m));
	}
}

static void watch_one(void)
{
	uint8_t key[64];
	struct slice s = kcf_key(&k, 1, "a", key);
	uint64_t now = 0;
	int err;

	fault_arm(fault);
	err = kv_client_watch(k.client, s, 6, NS_PER_S, &now);
	if (fault_hit(fault, err))
		CHECK_OK(kv_client_watch(k.client, s, 6, NS_PER_S, &now));
	CHECK_U64_EQ(now, 7);
}

static void story(struct kcf *unused)
{
	uint8_t key[64];

	(void)unused;
	kcf_put(&k, kcf_key(&k, 1, "a", key), slice_str("1"), 7);
	kcf_put(&k, kcf_key(&k, 2, "b", key), slice_str("2"), 8);
	open_client(true);
	write_one(1, 0);
	read_one(1, 0);
	watch_one();
	write_one(1, 2);
	read_one(1, 2);
	k.leader[1] = k.leader[1] % 3 + 1; /* somebody else leads from here */
	write_one(1, 0);
	read_one(1, 2);
	fault_arm(fault);
	kv_client_close(k.client);
	fault_disarm(fault);
	k.client = NULL;
}

static void client(struct fault *f)
{
	fault = f;
	kcf_open(&k);
	kcf_run(&k, story);
	kcf_close(&k);
}

static void calls(void)
{
	fault_every_forked("client: open, write, read, close", client, NULL, NULL);
}

/* ---- wire forms ---- */

static void layouts(struct fault *f)
{
	struct kv_layout_node nodes[3] = {{.id = 1, .address = "127.0.0.1:1"},
					  {.id = 2, .address = "127.0.0.1:2"},
					  {.id = 3, .address = "127.0.0.1:3"}};
	struct kv_layout made = {0}, copy = {0}, back = {0};
	struct buf b = BUF_INIT;
	struct msg m = {""};
	int err;

	fault_arm(f);
	err = kv_layout_make(&made, (const uint8_t *)"0123456789abcdef", nodes, 3, 4, 3, &m);
	if (fault_hit(f, err))
		CHECK_OK(kv_layout_make(&made, (const uint8_t *)"0123456789abcdef", nodes, 3, 4, 3,
					&m));
	fault_arm(f);
	err = kv_layout_copy(&copy, &made);
	if (fault_hit(f, err)) {
		CHECK_NULL(copy.nodes);
		CHECK_OK(kv_layout_copy(&copy, &made));
	}
	fault_arm(f);
	kv_layout_encode(&b, &copy);
	if (fault_hit(f, buf_ok(&b) ? 0 : ERR_NOMEM)) {
		buf_reset(&b);
		kv_layout_encode(&b, &copy);
	}
	fault_arm(f);
	err = kv_layout_decode(buf_slice(&b), &back);
	if (fault_hit(f, err)) {
		CHECK_NULL(back.nodes);
		CHECK_OK(kv_layout_decode(buf_slice(&b), &back));
	}
	CHECK_INT_EQ(back.shard_count, made.shard_count);
	CHECK_STR_EQ(back.nodes[2].address, "127.0.0.1:3");
	kv_layout_release(&made);
	kv_layout_release(&copy);
	kv_layout_release(&back);
	buf_release(&b);
}

static void hellos(struct fault *f)
{
	struct kv_acks acks[40] = {{.group = 1}};
	struct kv_hello h = {.from = 1, .to = 2, .boot = 3, .acks = acks, .count = 40}, back = {0};
	struct buf b = BUF_INIT;
	int err;

	for (uint32_t i = 0; i < 40; i++)
		acks[i].group = i;
	fault_arm(f);
	kv_hello_encode(&b, &h);
	if (fault_hit(f, buf_ok(&b) ? 0 : ERR_NOMEM)) {
		buf_reset(&b);
		kv_hello_encode(&b, &h);
	}
	fault_arm(f);
	err = kv_hello_decode(buf_slice(&b), &back);
	if (fault_hit(f, err)) {
		CHECK_NULL(back.acks);
		CHECK_OK(kv_hello_decode(buf_slice(&b), &back));
	}
	CHECK_INT_EQ(back.count, 40);
	CHECK_INT_EQ(back.acks[39].group, 39);
	kv_hello_release(&back);
	buf_release(&b);
}

static void wire_forms(void)
{
	fault_every("layout: make, copy, encode, decode", layouts, NULL);
	fault_every("hello: encode, decode", hellos, NULL);
}

static const struct check_test tests[] = {
	CHECK_TEST_WITH(NULL, fault_teardown, wire_forms),
	CHECK_TEST_WITH(NULL, fault_teardown, calls),
};
CHECK_MAIN(tests)
