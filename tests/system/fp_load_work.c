/* The fibers of fp_load. */
#include "tests/system/fp_load.h"

#include <stdarg.h>
#include <stdio.h>

uint64_t load_now(const struct load *l)
{
	return env_mono_ns(l->env);
}

void load_bad(struct load *l, const char *fmt, ...)
{
	va_list ap;

	if (l->bad[0])
		return;
	va_start(ap, fmt);
	vsnprintf(l->bad, sizeof(l->bad), fmt, ap);
	va_end(ap);
}

/* ---- keys: place(2) | number(8) | 'K' of the shards of a group ---- */

static struct slice key_of(const struct load *l, uint8_t out[11], uint32_t group, enum what what,
			   uint32_t i)
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
	c->begun_ns = load_now(c->load);
	c->load->busy++;
}

static void end(struct counter *c)
{
	struct load *l = c->load;
	uint64_t from = c->begun_ns > l->marked_ns ? c->begun_ns : l->marked_ns;
	uint64_t took = load_now(l) - from;

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

int load_get(struct load *l, enum what what, uint32_t group, uint32_t index, uint64_t *v)
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
			load_bad(l, "counter %u in all groups: %s", c->index, err_text(err));
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
			load_bad(l, "put in group %u: %s", l->groups[g], err_text(err));
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
			load_bad(l, "rival %u: %s", c->index, err_text(err));
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
		err = load_get(l, KEY_HELD, g, 0, &v);
		l->busy--;
		if (err && err != ERR_NOT_FOUND && err != ERR_BUSY && err != ERR_ABORTED)
			load_bad(l, "read in group %u: %s", l->groups[g], err_text(err));
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
			load_bad(l, "bulk put: %s", err_text(err));
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
			err = put_one(c, key_of(l, k, i % l->group_count, KEY_SESSION, 0),
				      slice_str("x"));
		kv_client_close(c);
		l->busy--;
		if (err)
			load_bad(l, "session: %s", err_text(err));
		(void)fiber_sleep(30 * NS_PER_MS);
	}
	l->fibers--;
}

void load_floor_main(void *arg)
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
			load_bad(l, "swap of files: %s", err_text(err));
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

void load_check_files(struct load *l)
{
	char one[32], two[32], text[32];
	bool odd = l->swaps % 2;

	path_of(one, 0);
	path_of(two, other_dir);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)l->swaps);
	if (!file_is(l, one, odd ? "two" : "one") || !file_is(l, two, odd ? "one" : "two"))
		load_bad(l, "after %s swaps the files are not where they belong", text);
	if (l->swaps && !file_is(l, "fp/count", text))
		load_bad(l, "fp/count is not %s", text);
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
/* ---- start ---- */

void load_spawn(struct load *l, fiber_fn *fn, void *arg)
{
	if (fiber_start(loop_fibers(l->s->loop), fn, arg) == 0)
		l->fibers++;
	else
		load_bad(l, "no memory for a fiber");
}

static int counters_make(struct load *l)
{
	int err = 0;

	for (uint32_t g = 0; g < l->group_count && !err; g++) {
		for (uint32_t i = 0; i < PAIRS && !err; i++)
			err = put_number(l, KEY_PAIR, g, i, 0);
		for (uint32_t i = 0; i < SINGLES && !err; i++)
			err = put_number(l, KEY_SINGLE, g, i, 0);
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

int load_prepare(struct load *l)
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

void load_start(struct load *l)
{
	static fiber_fn *const rest[] = {interrupt_main, hold_main, read_main, bulk_main,
					 session_main,	 files_main, flush_main};

	for (uint32_t i = 0; i < PAIRS; i++)
		load_spawn(l, pair_main, &l->pairs[i]);
	for (uint32_t i = 0; i < SINGLES; i++)
		load_spawn(l, single_main, &l->singles[i]);
	for (uint32_t i = 0; i < RIVALS && !l->calm; i++)
		load_spawn(l, rival_main, &l->rivals[i]);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]) && !l->calm; i++)
		load_spawn(l, rest[i], l);
}
