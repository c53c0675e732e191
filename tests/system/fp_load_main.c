/* Load for the tests that kill nodes, with its own checks. Reads commands from standard input, one a line,
 * answers each with one line.
 *
 *   fp_load ENDPOINTS [calm]   -> "ready"; `calm`: counters only, none of the rest
 *
 *   check      all stop between two operations; every counter must be what was acknowledged, in all groups the
 *              same; the two swapped files are whole; no lock, no prepared transaction stays; replicas are
 *              equal; then the load goes on -> "ok ..." or "BAD ..."
 *   mark       forgets the longest stall
 *   after      forgets how often each counter was added to
 *   stall      -> longest stall in ms since `mark` (also of an operation under way), and how often the
 *              slowest counter was added to since `after`
 *   leaders    -> GROUP:NODE ...
 *   aim N C|P  transactions are coordinated by a group that node N leads, or by one that it does not lead
 *   give G     the leader of group G hands over; `give *`: of every group
 *   floor      sessions are opened that last, and tell the floor of client ids
 *   quit
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "kv/wire.h"
#include "tools/cli.h"

#define PAIRS	    3u /* fibers that add to a counter in each group, in one transaction */
#define SINGLES	    2u /* fibers that count in one group, a different one each time */
#define RIVALS	    3u /* fibers that add to the same counters: they wait, and deadlock */
#define GROUPS	    8u
#define PACE_NS	    (2 * NS_PER_MS)
#define HOLD_NS	    (1300 * NS_PER_MS)
#define BULK_SIZE   16384u
#define SETTLE_NS   (30 * NS_PER_S)
#define CALL_NS	    (1 * NS_PER_S)
#define FLOOR_IDS   80u
#define SETTLE_STEP (10 * NS_PER_MS)

enum what { KEY_PAIR = 1, KEY_SINGLE, KEY_RIVAL, KEY_HELD, KEY_BULK, KEY_SESSION };

struct counter {
	struct load *load;
	uint32_t index;
	uint64_t acked[GROUPS]; /* singles: per group; others: [0] */
	uint64_t unknown;	/* interrupted: perhaps done */
	uint64_t begun_ns;	/* of the operation under way; 0: none */
	uint64_t rounds;	/* begun and ended since `after` */
	struct fiber *fiber;
};

struct load {
	struct cli_session *s;
	struct env *env;
	struct kv_client *client;
	struct fs_backend backend;
	struct fs *fs;
	bool calm, stop, paused;
	uint32_t groups[GROUPS], group_count; /* data groups */
	uint32_t home;			      /* index of the group that coordinates */
	uint32_t busy;			      /* fibers inside an operation */
	uint32_t fibers;
	uint64_t ops, stall_ns, marked_ns, after_ns;
	struct counter pairs[PAIRS], singles[SINGLES], rivals[RIVALS];
	uint64_t swaps;
	char bad[256];
};

static uint64_t now(const struct load *l)
{
	return env_mono_ns(l->env);
}

__attribute__((format(printf, 2, 3))) static void bad(struct load *l, const char *fmt, ...)
{
	va_list ap;

	if (l->bad[0])
		return;
	va_start(ap, fmt);
	vsnprintf(l->bad, sizeof(l->bad), fmt, ap);
	va_end(ap);
}

/* ---- keys: place(2) | number(8) | 'K' of the shards of a group ---- */

static struct slice key_of(const struct load *l, uint8_t out[11], uint32_t group, enum what what, uint32_t i)
{
	const struct kv_layout *map = kv_client_layout(l->client);
	uint64_t place = 0;

	for (uint32_t k = 0; k < map->shard_count; k++) {
		const struct kv_layout_shard *sh = &map->shards[k];

		if (sh->group != l->groups[group])
			continue;
		place = sh->from_len < 2 ? 0 : be16_get(sh->from);
		break;
	}
	be16_put(out, (uint16_t)place);
	be64_put(out + 2, place << 48 | 0xfa0000000000ull | (uint64_t)what << 32 | i);
	out[10] = 'K';
	return slice_of(out, 11);
}

/* ---- between two operations ---- */

static bool may_go_on(struct load *l)
{
	(void)fiber_sleep(PACE_NS);
	fiber_interrupt_clear();
	while (l->paused && !l->stop)
		(void)fiber_sleep(SETTLE_STEP);
	return !l->stop;
}

static void begin(struct counter *c)
{
	c->begun_ns = now(c->load);
	c->load->busy++;
}

static void end(struct counter *c)
{
	struct load *l = c->load;
	uint64_t from = c->begun_ns > l->marked_ns ? c->begun_ns : l->marked_ns;
	uint64_t took = now(l) - from;

	l->stall_ns = took > l->stall_ns ? took : l->stall_ns;
	l->ops++;
	l->busy--;
	if (c->begun_ns >= l->after_ns)
		c->rounds++;
	c->begun_ns = 0;
}

/* ---- counters ---- */

static const struct txn_field number = {.width = 8};

static int add_everywhere(struct load *l, enum what what, uint32_t index, uint32_t first)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t k[11];
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	for (uint32_t i = 0; i < l->group_count; i++)
		txn_add(&m, key_of(l, k, (first + i) % l->group_count, what, index), number, 1, true);
	err = txn_exec(kv_client_executor(l->client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static int put_one(struct kv_client *client, struct slice key, struct slice value)
{
	struct txn_mini m;
	struct txn_result r;
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_put(&m, key, value);
	err = txn_exec(kv_client_executor(client), &m, &r);
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static int put_number(struct load *l, enum what what, uint32_t group, uint32_t index, uint64_t v)
{
	uint8_t k[11], bytes[8];

	le64_put(bytes, v);
	return put_one(l->client, key_of(l, k, group, what, index), slice_of(bytes, 8));
}

static int get_number(struct load *l, enum what what, uint32_t group, uint32_t index, uint64_t *v)
{
	struct txn_mini m;
	struct txn_result r;
	uint8_t k[11];
	int err;

	txn_mini_init(&m);
	txn_result_init(&r);
	txn_get(&m, key_of(l, k, group, what, index));
	err = txn_exec(kv_client_executor(l->client), &m, &r);
	if (!err)
		err = r.reads[0].value.status;
	if (!err)
		*v = r.reads[0].value.value.len == 8 ? le64_get(r.reads[0].value.value.p) : 0;
	txn_result_release(&r);
	txn_mini_release(&m);
	return err;
}

static void pair_main(void *arg)
{
	struct counter *c = arg;
	struct load *l = c->load;

	while (may_go_on(l)) {
		int err;

		begin(c);
		err = add_everywhere(l, KEY_PAIR, c->index, l->home);
		end(c);
		if (err)
			bad(l, "counter %u in all groups: %s", c->index, err_text(err));
		else
			c->acked[0]++;
	}
	l->fibers--;
}

static void single_main(void *arg)
{
	struct counter *c = arg;
	struct load *l = c->load;

	for (uint32_t g = 0; may_go_on(l); g = (g + 1) % l->group_count) {
		int err;

		begin(c);
		err = put_number(l, KEY_SINGLE, g, c->index, c->acked[g] + 1);
		end(c);
		if (err)
			bad(l, "put in group %u: %s", l->groups[g], err_text(err));
		else
			c->acked[g]++;
	}
	l->fibers--;
}

/* These are interrupted now and then: what became of that one is not known. */
static void rival_main(void *arg)
{
	struct counter *c = arg;
	struct load *l = c->load;

	c->fiber = fiber_self();
	while (may_go_on(l)) {
		int err;

		l->busy++;
		err = add_everywhere(l, KEY_RIVAL, 0, c->index);
		l->busy--;
		if (!err)
			c->acked[0]++;
		else if (err == ERR_INTERRUPTED)
			c->unknown++;
		else
			bad(l, "rival %u: %s", c->index, err_text(err));
	}
	c->fiber = NULL;
	l->fibers--;
}

/* ---- the rest of the load ---- */

static void interrupt_main(void *arg)
{
	struct load *l = arg;

	for (uint32_t i = 0; !l->stop; i++) {
		(void)fiber_sleep(50 * NS_PER_MS);
		if (l->rivals[i % RIVALS].fiber && !l->paused)
			fiber_interrupt(l->rivals[i % RIVALS].fiber);
	}
	l->fibers--;
}

/* Holds locks for longer than a command may wait in line. */
static void hold_main(void *arg)
{
	struct load *l = arg;

	while (may_go_on(l)) {
		struct txn_executor *x = kv_client_executor(l->client);
		struct txn_mini m;
		struct txn_lock lock;
		uint8_t k[11];
		int err;

		txn_mini_init(&m);
		for (uint32_t g = 0; g < l->group_count; g++)
			txn_put(&m, key_of(l, k, g, KEY_HELD, 0), slice_str("x"));
		l->busy++;
		err = x->lock(x, &m, &lock);
		for (uint32_t i = 0; !err && i < 100 && !l->paused && !l->stop; i++)
			(void)fiber_sleep(HOLD_NS / 100);
		if (!err)
			x->unlock(x, &lock);
		l->busy--;
		txn_mini_release(&m);
	}
	l->fibers--;
}

/* Reads what is locked: waits in line, and is dropped from there. */
static void read_main(void *arg)
{
	struct load *l = arg;

	for (uint32_t g = 0; may_go_on(l); g = (g + 1) % l->group_count) {
		uint64_t v;
		int err;

		l->busy++;
		err = get_number(l, KEY_HELD, g, 0, &v);
		l->busy--;
		if (err && err != ERR_NOT_FOUND && err != ERR_BUSY && err != ERR_ABORTED)
			bad(l, "read in group %u: %s", l->groups[g], err_text(err));
	}
	l->fibers--;
}

static void bulk_main(void *arg)
{
	struct load *l = arg;
	uint8_t *value = mem_must_alloc(BULK_SIZE), k[11];

	for (uint32_t i = 0; may_go_on(l); i++) {
		int err;

		memset(value, (int)(i & 0xff), BULK_SIZE);
		l->busy++;
		err = put_one(l->client, key_of(l, k, i % l->group_count, KEY_BULK, i % 64),
			      slice_of(value, BULK_SIZE));
		l->busy--;
		if (err)
			bad(l, "bulk put: %s", err_text(err));
		(void)fiber_sleep(4 * PACE_NS);
	}
	mem_free(value);
	l->fibers--;
}

static int open_session(struct load *l, struct kv_client **out)
{
	struct kv_client_config cfg = {.endpoints = l->s->endpoints,
				       .transport = l->s->transport,
				       .env = l->env,
				       .fibers = loop_fibers(l->s->loop),
				       .name = "load",
				       .session = true};
	struct msg m = {""};

	return kv_client_open(&cfg, out, &m);
}

static void session_main(void *arg)
{
	struct load *l = arg;
	uint8_t k[11];

	for (uint32_t i = 0; may_go_on(l); i++) {
		struct kv_client *c = NULL;
		int err;

		l->busy++;
		err = open_session(l, &c);
		if (!err)
			err = put_one(c, key_of(l, k, i % l->group_count, KEY_SESSION, 0), slice_str("x"));
		kv_client_close(c);
		l->busy--;
		if (err)
			bad(l, "session: %s", err_text(err));
		(void)fiber_sleep(30 * NS_PER_MS);
	}
	l->fibers--;
}

static void floor_main(void *arg)
{
	struct load *l = arg;
	struct kv_client *c = NULL;

	if (open_session(l, &c) == 0)
		for (uint32_t i = 0; i < 1200 && !l->stop; i++)
			(void)fiber_sleep(10 * NS_PER_MS);
	kv_client_close(c);
	l->fibers--;
}

/* ---- files: two that change places over groups ---- */

static void path_of(char out[32], uint32_t dir)
{
	snprintf(out, 32, "fp/d%u/f", dir);
}

static uint32_t other_dir; /* its names are in another group than those of fp/d0 */

static int files_make(struct load *l)
{
	const struct fs_cred cred = {.uid = 0};
	uint32_t first = 0;

	for (uint32_t i = 0; i < 40; i++) {
		struct fs_where w = {.inode_key = BUF_INIT};
		char path[32];
		int err;

		path_of(path, i);
		err = fs_kv_put(l->fs, &cred, slice_str(path), slice_str(i ? "two" : "one"), true);
		if (!err)
			err = fs_where(l->fs, slice_str(path), &w);
		buf_release(&w.inode_key);
		if (err)
			return err;
		if (i == 0)
			first = w.dentry_group;
		other_dir = i;
		if (w.dentry_group != first)
			return 0;
	}
	return ERR_NOT_FOUND;
}

static void files_main(void *arg)
{
	struct load *l = arg;
	const struct fs_cred cred = {.uid = 0};
	char one[32], two[32], text[32];

	path_of(one, 0);
	path_of(two, other_dir);
	while (may_go_on(l)) {
		int err;

		l->busy++;
		err = fs_kv_swap(l->fs, slice_str(one), slice_str(two));
		if (!err)
			l->swaps++;
		snprintf(text, sizeof(text), "%llu", (unsigned long long)l->swaps);
		if (!err)
			err = fs_kv_put(l->fs, &cred, slice_str("fp/count"), slice_str(text), true);
		l->busy--;
		if (err)
			bad(l, "swap of files: %s", err_text(err));
		(void)fiber_sleep(4 * PACE_NS);
	}
	l->fibers--;
}

static bool file_is(struct load *l, const char *path, const char *text)
{
	struct buf b = BUF_INIT;
	uint64_t version;
	int err = fs_kv_get(l->fs, slice_str(path), &b, &version);
	bool same = !err && b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;

	buf_release(&b);
	return same;
}

static void check_files(struct load *l)
{
	char one[32], two[32], text[32];
	bool odd = l->swaps % 2;

	path_of(one, 0);
	path_of(two, other_dir);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)l->swaps);
	if (!file_is(l, one, odd ? "two" : "one") || !file_is(l, two, odd ? "one" : "two"))
		bad(l, "after %s swaps the files are not where they belong", text);
	if (l->swaps && !file_is(l, "fp/count", text))
		bad(l, "fp/count is not %s", text);
}

/* ---- checks ---- */

static void check_counter(struct load *l, enum what what, const struct counter *c, uint64_t low,
			  uint64_t high)
{
	uint64_t first = 0;

	for (uint32_t g = 0; g < l->group_count; g++) {
		uint64_t v = 0;
		int err = get_number(l, what, g, what == KEY_RIVAL ? 0 : c->index, &v);

		if (err)
			bad(l, "read back, group %u: %s", l->groups[g], err_text(err));
		else if (v < low || v > high)
			bad(l, "kind %d counter %u in group %u: %llu, acknowledged %llu to %llu", (int)what,
			    c->index, l->groups[g], (unsigned long long)v, (unsigned long long)low,
			    (unsigned long long)high);
		if (g == 0)
			first = v;
		else if (v != first)
			bad(l, "kind %d counter %u: %llu in group %u, %llu in group %u: not atomic", (int)what,
			    c->index, (unsigned long long)first, l->groups[0], (unsigned long long)v,
			    l->groups[g]);
	}
}

static void check_counters(struct load *l)
{
	uint64_t acked = 0, unknown = 0;

	for (uint32_t i = 0; i < PAIRS; i++)
		check_counter(l, KEY_PAIR, &l->pairs[i], l->pairs[i].acked[0], l->pairs[i].acked[0]);
	for (uint32_t i = 0; i < RIVALS; i++) {
		acked += l->rivals[i].acked[0];
		unknown += l->rivals[i].unknown;
	}
	if (!l->calm)
		check_counter(l, KEY_RIVAL, &l->rivals[0], acked, acked + unknown);
	for (uint32_t i = 0; i < SINGLES; i++)
		for (uint32_t g = 0; g < l->group_count; g++) {
			uint64_t v = 0;
			int err = get_number(l, KEY_SINGLE, g, i, &v);

			if ((err && err != ERR_NOT_FOUND) || v != l->singles[i].acked[g])
				bad(l, "single %u in group %u: %llu, acknowledged %llu (%s)", i, l->groups[g],
				    (unsigned long long)v, (unsigned long long)l->singles[i].acked[g],
				    err_text(err));
		}
}

static const char *address_of(struct load *l, uint32_t node)
{
	return kv_layout_node(kv_client_layout(l->client), node)->address;
}

/* "" when nothing is locked or prepared anywhere. */
static void look_for_locks(struct load *l, char *why, size_t size)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	why[0] = '\0';
	for (uint32_t i = 0; i < map->node_count; i++) {
		struct kv_node_status st;
		struct buf reply = BUF_INIT;
		uint32_t id = map->nodes[i].id;
		int err = kv_client_admin(l->s->transport, l->env, map->nodes[i].address, KV_STATUS,
					  (struct slice){0}, CALL_NS, &reply);

		if (!err)
			err = kv_node_status_decode(buf_slice(&reply), &st);
		buf_release(&reply);
		if (err) {
			snprintf(why, size, "status of node %u: %s", id, err_text(err));
			continue;
		}
		for (uint32_t k = 0; k < st.group_count; k++)
			if (st.groups[k].locks || st.groups[k].prepared || st.groups[k].waiting)
				snprintf(why, size, "node %u, group %u: %llu locks, %llu prepared, %llu waiting",
					 id, st.groups[k].group, (unsigned long long)st.groups[k].locks,
					 (unsigned long long)st.groups[k].prepared,
					 (unsigned long long)st.groups[k].waiting);
		kv_node_status_release(&st);
	}
}

static int checksum(struct load *l, uint32_t node, uint32_t group, uint64_t *slot, uint64_t *crc)
{
	struct buf q = BUF_INIT, reply = BUF_INIT;
	struct dec d;
	int err;

	kv_group_request_encode(&q, group, (struct slice){0});
	err = kv_client_admin(l->s->transport, l->env, address_of(l, node), KV_CHECKSUM, buf_slice(&q),
			      CALL_NS, &reply);
	if (!err) {
		dec_init(&d, buf_slice(&reply));
		*slot = dec_u64(&d);
		*crc = dec_u64(&d);
		err = dec_end(&d);
	}
	buf_release(&q);
	buf_release(&reply);
	return err;
}

/* "" when all replicas of all groups are at the same slot and equal. Unequal ones at the same slot are bad at
 * once: that never passes. */
static void compare_replicas(struct load *l, char *why, size_t size)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	why[0] = '\0';
	for (uint32_t i = 0; i < map->group_count; i++) {
		const struct kv_layout_group *g = &map->groups[i];
		uint64_t slot[8] = {0}, crc[8] = {0};

		for (uint32_t k = 0; k < g->member_count; k++) {
			int err = checksum(l, g->members[k], g->id, &slot[k], &crc[k]);

			if (err)
				snprintf(why, size, "checksum of group %u at node %u: %s", g->id,
					 g->members[k], err_text(err));
			for (uint32_t j = 0; !err && j < k; j++) {
				if (slot[j] == slot[k] && crc[j] != crc[k])
					bad(l, "group %u differs at nodes %u and %u, slot %llu", g->id,
					    g->members[j], g->members[k], (unsigned long long)slot[k]);
				if (slot[j] != slot[k])
					snprintf(why, size, "group %u is at slot %llu and %llu", g->id,
						 (unsigned long long)slot[j], (unsigned long long)slot[k]);
			}
		}
	}
}

static void settle(struct load *l, void (*look)(struct load *l, char *why, size_t size))
{
	uint64_t limit = now(l) + SETTLE_NS;
	char why[160];

	for (;;) {
		look(l, why, sizeof(why));
		if (!why[0])
			return;
		if (now(l) >= limit) {
			bad(l, "%s", why);
			return;
		}
		(void)fiber_sleep(SETTLE_STEP);
	}
}

static void look_at_busy(struct load *l, char *why, size_t size)
{
	why[0] = '\0';
	if (l->busy)
		snprintf(why, size, "%u operations do not end", l->busy);
}

static void do_check(struct load *l)
{
	uint64_t t0 = now(l);

	l->paused = true;
	settle(l, look_at_busy);
	if (!l->bad[0])
		check_counters(l);
	if (!l->bad[0] && !l->calm)
		check_files(l);
	if (!l->bad[0])
		settle(l, look_for_locks);
	if (!l->bad[0])
		settle(l, compare_replicas);
	l->paused = false;
	if (l->bad[0])
		printf("BAD %s\n", l->bad);
	else
		printf("ok ops %llu settle_ms %llu\n", (unsigned long long)l->ops,
		       (unsigned long long)((now(l) - t0) / NS_PER_MS));
}

/* ---- other commands ---- */

static void do_stall(struct load *l)
{
	uint64_t t = now(l), longest = l->stall_ns;
	const struct counter *all[] = {l->pairs, l->singles};
	const uint32_t counts[] = {PAIRS, SINGLES};
	uint64_t rounds = UINT64_MAX;

	for (uint32_t k = 0; k < 2; k++)
		for (uint32_t i = 0; i < counts[k]; i++) {
			uint64_t from = all[k][i].begun_ns;

			rounds = all[k][i].rounds < rounds ? all[k][i].rounds : rounds;
			if (from && from < l->marked_ns)
				from = l->marked_ns;
			if (from && t - from > longest)
				longest = t - from;
		}
	printf("%llu %llu\n", (unsigned long long)(longest / NS_PER_MS), (unsigned long long)rounds);
}

static void do_after(struct load *l)
{
	l->after_ns = now(l);
	for (uint32_t i = 0; i < PAIRS; i++)
		l->pairs[i].rounds = 0;
	for (uint32_t i = 0; i < SINGLES; i++)
		l->singles[i].rounds = 0;
	printf("after\n");
}

/* The node that leads @group by its own word; 0: none does. */
static uint32_t leader_of(struct load *l, uint32_t group)
{
	const struct kv_layout *map = kv_client_layout(l->client);
	uint32_t leader = 0;
	uint64_t ballot = 0;

	for (uint32_t i = 0; i < map->node_count; i++) {
		struct kv_node_status st;
		struct buf reply = BUF_INIT;
		int err = kv_client_admin(l->s->transport, l->env, map->nodes[i].address, KV_STATUS,
					  (struct slice){0}, CALL_NS / 2, &reply);

		if (!err)
			err = kv_node_status_decode(buf_slice(&reply), &st);
		buf_release(&reply);
		if (err)
			continue;
		for (uint32_t k = 0; k < st.group_count; k++)
			if (st.groups[k].group == group && st.groups[k].serving &&
			    st.groups[k].ballot > ballot) {
				leader = map->nodes[i].id;
				ballot = st.groups[k].ballot;
			}
		kv_node_status_release(&st);
	}
	return leader;
}

static void do_leaders(struct load *l)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	for (uint32_t i = 0; i < map->group_count; i++)
		printf("%u:%u ", map->groups[i].id, leader_of(l, map->groups[i].id));
	printf("\n");
}

static void do_give(struct load *l, const char *which)
{
	const struct kv_layout *map = kv_client_layout(l->client);

	for (uint32_t i = 0; i < map->group_count; i++) {
		uint32_t id = map->groups[i].id, leader;
		struct buf q = BUF_INIT, reply = BUF_INIT;

		if (which[0] != '*' && (uint32_t)atoi(which) != id)
			continue;
		leader = leader_of(l, id);
		kv_group_request_encode(&q, id, (struct slice){0});
		if (leader)
			(void)kv_client_admin(l->s->transport, l->env, address_of(l, leader), KV_HAND_OVER,
					      buf_slice(&q), CALL_NS, &reply);
		buf_release(&q);
		buf_release(&reply);
	}
	printf("given\n");
}

/* -> "aimed", or "cannot" when the leaders are not so. */
static void do_aim(struct load *l, const char *args)
{
	uint32_t node = 0;
	char role = 0;
	bool lead, other = false;

	if (sscanf(args, "%u %c", &node, &role) != 2)
		node = 0;
	for (uint32_t i = 0; i < l->group_count; i++) {
		lead = leader_of(l, l->groups[i]) == node;
		if (lead == (role == 'C'))
			l->home = i;
		else
			other = true;
	}
	lead = leader_of(l, l->groups[l->home]) == node;
	printf("%s\n", other && lead == (role == 'C') ? "aimed" : "cannot");
}

static void spawn(struct load *l, fiber_fn *fn, void *arg)
{
	if (fiber_start(loop_fibers(l->s->loop), fn, arg) == 0)
		l->fibers++;
	else
		bad(l, "no memory for a fiber");
}

static void flush_main(void *arg)
{
	struct load *l = arg;

	while (!l->stop) {
		const struct kv_layout *map = kv_client_layout(l->client);

		for (uint32_t i = 0; i < map->node_count && !l->stop; i++) {
			struct buf reply = BUF_INIT;

			(void)kv_client_admin(l->s->transport, l->env, map->nodes[i].address, KV_FLUSH,
					      (struct slice){0}, CALL_NS, &reply);
			buf_release(&reply);
			(void)fiber_sleep(100 * NS_PER_MS);
		}
	}
	l->fibers--;
}

static void command(struct load *l, const char *line)
{
	if (strcmp(line, "check") == 0) {
		do_check(l);
	} else if (strcmp(line, "mark") == 0) {
		l->stall_ns = l->ops = 0;
		l->marked_ns = now(l);
		printf("marked\n");
	} else if (strcmp(line, "after") == 0) {
		do_after(l);
	} else if (strcmp(line, "stall") == 0) {
		do_stall(l);
	} else if (strcmp(line, "leaders") == 0) {
		do_leaders(l);
	} else if (strncmp(line, "aim ", 4) == 0) {
		do_aim(l, line + 4);
	} else if (strncmp(line, "give ", 5) == 0) {
		do_give(l, line + 5);
	} else if (strcmp(line, "floor") == 0) {
		for (uint32_t i = 0; i < 6; i++)
			spawn(l, floor_main, l);
		printf("floor\n");
	} else {
		l->stop = true;
		printf("bye\n");
	}
	fflush(stdout);
}

/* ---- start ---- */

static int counters_make(struct load *l)
{
	int err = 0;

	for (uint32_t g = 0; g < l->group_count && !err; g++) {
		for (uint32_t i = 0; i < PAIRS && !err; i++)
			err = put_number(l, KEY_PAIR, g, i, 0);
		if (!err)
			err = put_number(l, KEY_RIVAL, g, 0, 0);
	}
	for (uint32_t i = 0; i < PAIRS; i++)
		l->pairs[i] = (struct counter){.load = l, .index = i};
	for (uint32_t i = 0; i < SINGLES; i++)
		l->singles[i] = (struct counter){.load = l, .index = i};
	for (uint32_t i = 0; i < RIVALS; i++)
		l->rivals[i] = (struct counter){.load = l, .index = i};
	return err;
}

static int prepare(struct load *l)
{
	const struct kv_layout *map;
	struct msg m = {""};
	int err = open_session(l, &l->client);

	/* Ids below the lowest open session are closed for good once there are FLOOR_IDS of them. */
	while (!err && !l->calm && kv_client_id(l->client) < FLOOR_IDS) {
		kv_client_close(l->client);
		err = open_session(l, &l->client);
	}
	if (err)
		return err;
	map = kv_client_layout(l->client);
	for (uint32_t i = 0; i < map->group_count && l->group_count < GROUPS; i++)
		if (map->groups[i].id != 0)
			l->groups[l->group_count++] = map->groups[i].id;
	fs_backend_kv(&l->backend, l->client, l->env, loop_fibers(l->s->loop));
	err = fs_open(&l->backend, &(struct fs_options){0}, &l->fs, &m);
	if (!err)
		err = counters_make(l);
	return err || l->calm ? err : files_make(l);
}

static void start(struct load *l)
{
	static fiber_fn *const rest[] = {interrupt_main, hold_main, read_main, bulk_main,
					 session_main,	 files_main, flush_main};

	for (uint32_t i = 0; i < PAIRS; i++)
		spawn(l, pair_main, &l->pairs[i]);
	for (uint32_t i = 0; i < SINGLES; i++)
		spawn(l, single_main, &l->singles[i]);
	for (uint32_t i = 0; i < RIVALS && !l->calm; i++)
		spawn(l, rival_main, &l->rivals[i]);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]) && !l->calm; i++)
		spawn(l, rest[i], l);
}

/* The next whole line of standard input; false at its end. */
static bool next_line(struct load *l, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		struct pollfd p = {.fd = 0, .events = POLLIN};

		if (poll(&p, 1, 0) == 0) {
			(void)fiber_sleep(2 * NS_PER_MS);
			continue;
		}
		if (read(0, line + len, 1) != 1)
			return false;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	(void)l;
	return true;
}

static int run(struct cli_session *s, void *ctx)
{
	struct load *l = ctx;
	char line[64];
	int err;

	l->s = s;
	l->env = loop_env(s->loop);
	err = prepare(l);
	if (err)
		return cli_error(CLI_FAILED, "load: %s", err_text(err));
	start(l);
	puts("ready");
	fflush(stdout);
	while (!l->stop && next_line(l, line, sizeof(line)))
		command(l, line);
	_exit(l->bad[0] != 0); /* operations may be under way in a store that is down */
}

int main(int argc, char **argv)
{
	static struct load l;
	struct cli_client_options o;

	if (argc < 2) {
		fputs("usage: fp_load ENDPOINTS [calm]\n", stderr);
		return 2;
	}
	cli_client_options_init(&o);
	o.endpoints = mem_must_strdup(argv[1]);
	l.calm = argc > 2;
	return cli_run(&o, CLI_NO_CLIENT, run, &l);
}
