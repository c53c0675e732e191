/* Many who wait for one key: what it costs when the first goes on, and deadlocks behind a crowd. */
#include "base/bytes.h"
#include "base/err.h"
#include "tests/lib/txn_hand.h"

#define CROWD 1000u
#define MS_NS 1000000ull

/* A store that counts what is asked of it. */
struct counting {
	struct txn_store base;
	struct txn_store *below;
	uint64_t gets;
};

static struct txh h;
static struct txn_mini m;
static struct txf_key key, target, elsewhere;
static struct counting counting;

static int counting_get(struct txn_store *s, enum txn_table t, struct slice k, struct buf *out)
{
	struct counting *c = container_of(s, struct counting, base);

	c->gets++;
	return c->below->get(c->below, t, k, out);
}

static void counting_put(struct txn_store *s, enum txn_table t, struct slice k, struct slice v)
{
	struct counting *c = container_of(s, struct counting, base);

	c->below->put(c->below, t, k, v);
}

static void counting_del(struct txn_store *s, enum txn_table t, struct slice k)
{
	struct counting *c = container_of(s, struct counting, base);

	c->below->del(c->below, t, k);
}

static int counting_scan(struct txn_store *s, enum txn_table t, struct slice from, struct slice to,
			 bool (*fn)(void *ctx, struct slice k, struct slice v), void *ctx)
{
	struct counting *c = container_of(s, struct counting, base);

	return c->below->scan(c->below, t, from, to, fn, ctx);
}

static bool counting_owns(struct txn_store *s, struct slice k, struct slice to)
{
	struct counting *c = container_of(s, struct counting, base);

	return c->below->owns(c->below, k, to);
}

static void put_number(const struct txf_key *k, uint64_t n)
{
	uint8_t room[8];

	le64_put(room, n);
	(void)txn_put(&m, txf_slice(k), slice_of(room, 8));
}

static void apply(struct buf b)
{
	txh_apply(&h, &b);
}

static void setup(void)
{
	txh_open(&h);
	txn_mini_init(&m);
	key = txf_key(0, 1, 'N', "");
	target = txf_key(0, 2, 'N', "");
	elsewhere = txf_key(1, 1, 'N', "");
	put_number(&key, 2);
	put_number(&target, 1);
	apply(txh_request(&(struct txh_request){.client = 10, .sequence = 1}, &m));
	CHECK_OK(txh_reply(&h, 10, 1));
}

static void teardown(void)
{
	txn_mini_release(&m);
	txh_close(&h);
}

/* The leader's machine, on a store that counts. */
static void count(void)
{
	struct tsm_config cfg = h.cfg;

	counting = (struct counting){.below = txn_mem_store(h.mem[0])};
	counting.base = (struct txn_store){.get = counting_get,
					   .put = counting_put,
					   .del = counting_del,
					   .scan = counting_scan,
					   .owns = counting_owns};
	cfg.store = &counting.base;
	h.unaudited = true;
	tsm_close(h.tsm[0]);
	CHECK_OK(tsm_open(&cfg, &h.tsm[0]));
	tsm_set_leading(h.tsm[0], true, h.now_ns);
}

static void hold(struct txn_id id, const struct txf_key *k)
{
	txn_mini_reset(&m);
	put_number(k, 2);
	apply(txh_prepare(id, 2, 0, false, &m));
}

static struct tsm_stats stats(void)
{
	struct tsm_stats s;

	tsm_stats_get(h.tsm[0], &s);
	return s;
}

/* Follows a reference, and writes the key: it waits for all before it. */
static struct buf one_of_crowd(unsigned i, bool prepare)
{
	struct txh_request q = {.client = 100 + i, .sequence = 1};

	txn_mini_reset(&m);
	(void)txn_get_ref(&m, txn_get(&m, txf_slice(&key)), 0, 'N', (struct slice){0});
	put_number(&key, 2);
	return prepare ? txh_prepare(txn_id_of(100 + i, 1), 2, 0, false, &m) : txh_request(&q, &m);
}

static void crowd(bool prepare)
{
	for (unsigned i = 0; i < CROWD; i += 50) {
		for (unsigned k = 0; k < 50; k++) {
			struct buf b = one_of_crowd(i + k, prepare);

			txh_add(&h, &b);
		}
		txh_entry(&h);
		txh_forget_outs(&h);
	}
	CHECK_U64_EQ(stats().waiting, CROWD); /* each counts once, however often it uses the key */
}

static void a_crowd_goes_on_in_linear_time(void)
{
	hold(txn_id_of(11, 1), &key);
	count();
	crowd(false);
	counting.gets = 0;
	apply(txh_outcome(txn_id_of(11, 1), 2, false, 0));
	CHECK_U64_EQ(stats().waiting, 0);
	CHECK_TRUE(counting.gets < CROWD * 20);
}

/* One that gets its locks must not wake all those behind it. */
static void the_next_of_a_crowd_wakes_alone(void)
{
	hold(txn_id_of(11, 1), &key);
	count();
	crowd(true);
	apply(txh_outcome(txn_id_of(11, 1), 2, false, 0));
	for (unsigned i = 0; i < 10; i++) {
		counting.gets = 0;
		apply(txh_outcome(txn_id_of(100 + i, 1), 2, false, 0));
		CHECK_U64_EQ(stats().waiting, CROWD - i - 2);
		CHECK_TRUE(counting.gets < 20);
	}
}

/* Commands about other keys must not look at every read that waits. */
static void waiting_reads_cost_others_nothing(void)
{
	struct buf part;

	count();
	hold(txn_id_of(11, 1), &key);
	txn_mini_reset(&m);
	(void)txn_get_ref(&m, txn_get(&m, txf_slice(&key)), 0, 'N', (struct slice){0});
	part = txh_part(&m);
	for (unsigned i = 0; i < CROWD; i++)
		tsm_read(h.tsm[0], i, buf_slice(&part), h.now_ns);
	buf_release(&part);
	CHECK_U64_EQ(stats().reads_waiting, CROWD);
	counting.gets = 0;
	txn_mini_reset(&m);
	put_number(&target, 1);
	apply(txh_request(&(struct txh_request){.client = 10, .sequence = 2}, &m));
	CHECK_TRUE(counting.gets < 20);
	apply(txh_outcome(txn_id_of(11, 1), 2, false, 0));
	CHECK_U64_EQ(stats().reads_waiting, 0);
}

/* Each transaction makes its leader look at all objects soon, but not each at once. */
static void ticks_are_not_wanted_for_each_command(void)
{
	uint64_t now;

	txh_tick(&h, 1000 * MS_NS);
	for (unsigned i = 0; i < 10; i++) {
		hold(txn_id_of(11, i + 1), i == 0 ? &key : &target);
		now = h.now_ns;
		CHECK_TRUE(tsm_next_deadline(h.tsm[0]) > now);
		CHECK_TRUE(tsm_next_deadline(h.tsm[0]) <= now + 200 * MS_NS);
	}
}

/* ---- deadlocks ---- */

static const struct txn_id holder = {11, 1}, waiter = {90, 1};

/* The holder reads the key and has a part in group 1, which has not voted; the crowd wants to
 * write; then comes one that reads. Nobody bars that one but the crowd. */
static void behind_a_crowd_of_writers(void)
{
	txn_mini_reset(&m);
	(void)txn_get(&m, txf_slice(&key));
	put_number(&elsewhere, 1);
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 1, .age = 5}, &m));
	CHECK_U64_EQ(stats().prepared, 1);
	crowd(true);
	txn_mini_reset(&m);
	(void)txn_get(&m, txf_slice(&key));
	put_number(&target, 1);
	apply(txh_prepare(waiter, 2, 0, false, &m));
	CHECK_U64_EQ(stats().waiting, CROWD + 1);
}

static bool is_probe_of_waiter(const struct txh_out *out, struct message *p)
{
	if (out->out.kind != TSM_SEND || out->out.group != 1)
		return false;
	CHECK_OK(txn__message_decode(out->out.bytes, p));
	return p->kind == MSG_PROBE_ON && txn_id_eq(p->probe.initiator, waiter);
}

static void probes_find_their_way_through_a_crowd(void)
{
	struct message p;
	bool found = false;

	h.unaudited = true;
	behind_a_crowd_of_writers();
	/* most of the crowd are not asked: the outputs kept are bounded */
	for (unsigned i = 0; i < CROWD; i++) {
		struct tx *tx = txn__tx_find(h.tsm[0], txn_id_of(100 + i, 1));

		tx->since_ns = h.now_ns;
		tx->due_ns = h.now_ns + 10000 * MS_NS;
	}
	for (unsigned i = 0; i < 4 && !found; i++) {
		txh_tick(&h, 20 * MS_NS);
		for (unsigned k = 0; k < h.out_count && !found; k++)
			found = is_probe_of_waiter(&h.outs[k], &p);
	}
	CHECK_TRUE(found);
	CHECK_TRUE(txn_id_eq(p.id, holder));
}

/* One that comes back to its initiator names the youngest. */
static void a_probe_that_comes_back_names_the_youngest(void)
{
	struct message p = {.kind = MSG_PROBE_ON, .from = 1, .id = waiter}, cancel;

	h.unaudited = true;
	behind_a_crowd_of_writers();
	p.probe = (struct probe){.initiator = holder,
				 .serial = 1,
				 .hops = TSM_PROBE_HOPS,
				 .victim = {95, 1},
				 .victim_age = 9,
				 .victim_group = 3};
	txh_forget_outs(&h);
	txh_message(&h, &p);
	CHECK_NOT_NULL(txh_last_message(&h, MSG_CANCEL, &cancel));
	CHECK_U64_EQ(cancel.id.client, 95);
	CHECK_INT_EQ(cancel.why, ERR_DEADLOCK);
}

/* After a restart nobody has looked at the line yet, and perhaps no command comes: probes must
 * go out. */
static void probes_go_out_after_a_restart(void)
{
	struct message p;
	bool found = false;

	txn_mini_reset(&m);
	(void)txn_get(&m, txf_slice(&key));
	put_number(&elsewhere, 1);
	apply(txh_request(&(struct txh_request){.client = 11, .sequence = 1, .age = 5}, &m));
	hold(waiter, &key);
	txh_restart(&h);
	for (unsigned i = 0; i < 4; i++)
		txh_tick(&h, 20 * MS_NS);
	for (unsigned k = 0; k < h.out_count && !found; k++)
		found = is_probe_of_waiter(&h.outs[k], &p);
	CHECK_TRUE(found);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(a_crowd_goes_on_in_linear_time),
	T(the_next_of_a_crowd_wakes_alone),
	T(waiting_reads_cost_others_nothing),
	T(ticks_are_not_wanted_for_each_command),
	T(probes_find_their_way_through_a_crowd),
	T(a_probe_that_comes_back_names_the_youngest),
	T(probes_go_out_after_a_restart),
};
CHECK_MAIN(tests)
