/* "tsm_open rebuilds the cache, and the machine goes on exactly as one that never stopped"
 * (README). Random commands of every kind, and the rare ways in which a machine that remembers
 * could know more, or less, than its store. */
#include "base/bytes.h"
#include "base/err.h"
#include "base/random.h"
#include "tests/lib/txn_hand.h"

#define KEYS	 6u
#define CLIENTS	 6u
#define RECENT	 24u
#define ENTRIES	 150u
#define SEEDS	 40u
#define LATE	 1000000u /* a commit's stamp is above any vote's so far by less than this */

static struct txh h;
static struct txn_mini m;
static struct txf_key key[KEYS], remote;
static struct txn_id recent[RECENT];
static uint64_t sequences[CLIENTS + 1], chance;
static uint64_t floor_id;

static void setup(void)
{
	txh_open(&h);
	txn_mini_init(&m);
	for (unsigned i = 0; i < KEYS; i++)
		key[i] = txf_key(0, i + 1, 'N', "");
	remote = txf_key(1, 1, 'N', "");
	memset(recent, 0, sizeof(recent));
	memset(sequences, 0, sizeof(sequences));
	floor_id = 0;
}

static void teardown(void)
{
	txn_mini_release(&m);
	txh_close(&h);
}

static uint64_t draw(void)
{
	return splitmix64(&chance);
}

static uint64_t below(uint64_t n)
{
	return draw() % n;
}

static struct slice any_key(void)
{
	return txf_slice(&key[below(KEYS)]);
}

/* Each value is the number of a key: references lead from one to another. */
static struct slice value_for(unsigned number, uint8_t *room)
{
	le64_put(room, number);
	return slice_of(room, 8);
}

static void put_number(struct slice k, unsigned number)
{
	uint8_t room[8];

	(void)txn_put(&m, k, value_for(number, room));
}

static void range(struct slice *from, struct slice *to)
{
	unsigned a = (unsigned)below(KEYS - 1), b = a + 1 + (unsigned)below(KEYS - 1 - a);

	*from = txf_slice(&key[a]);
	*to = txf_slice(&key[b]);
}

static void any_read(void)
{
	struct slice from, to;
	uint32_t i;

	range(&from, &to);
	switch (below(5)) {
	case 0:
		(void)txn_get(&m, any_key());
		break;
	case 1:
		i = txn_get(&m, any_key());
		(void)txn_get_ref(&m, i, 0, 'N', (struct slice){0});
		break;
	case 2:
		i = txn_get(&m, any_key());
		i = txn_get_ref(&m, i, 0, 'N', (struct slice){0});
		(void)txn_get_ref(&m, i, 0, 'N', (struct slice){0});
		break;
	case 3:
		(void)txn_scan(&m, from, to, (uint32_t)below(4));
		break;
	case 4:
		(void)txn_scan_ref(&m, from, to, 3, 0, 'N', (struct slice){0});
		break;
	}
}

static void any_cond(void)
{
	static const struct txn_field number = {.width = 8};
	struct slice from, to;

	range(&from, &to);
	switch (below(6)) {
	case 0:
		(void)txn_if_exists(&m, any_key());
		break;
	case 1:
		(void)txn_if_absent(&m, any_key());
		break;
	case 2:
		(void)txn_if_field_u64(&m, any_key(), number, 1 + below(KEYS));
		break;
	case 3:
		(void)txn_if_range_empty(&m, from, to);
		break;
	default:
		break;
	}
}

static void any_mutation(void)
{
	static const struct txn_field number = {.width = 8};
	struct slice from, to;

	range(&from, &to);
	switch (below(8)) {
	case 0:
		(void)txn_delete(&m, any_key());
		break;
	case 1:
		(void)txn_delete_range(&m, from, to);
		break;
	case 2:
		(void)txn_add(&m, any_key(), number, (int64_t)below(3) - 1, below(2));
		break;
	case 3:
		(void)txn_max(&m, any_key(), number, 1 + below(KEYS));
		break;
	case 4:
		(void)txn_touch_at(&m, any_key(), number, 1 + below(KEYS));
		break;
	default:
		put_number(any_key(), 1 + (unsigned)below(KEYS));
		break;
	}
}

static void any_mini(void)
{
	txn_mini_reset(&m);
	any_cond();
	if (below(2))
		any_read();
	if (below(3) || m.read_count + m.cond_count == 0)
		any_mutation();
	if (below(3) == 0)
		any_mutation();
}

static struct txn_id new_id(void)
{
	uint64_t client = floor_id + 1 + below(CLIENTS - floor_id);
	struct txn_id id = txn_id_of(client, ++sequences[client]);

	recent[below(RECENT)] = id;
	return id;
}

static struct txn_id old_id(void)
{
	struct txn_id id = recent[below(RECENT)];

	return id.client ? id : new_id();
}

static struct buf any_request(bool several)
{
	struct txn_id id = below(9) ? new_id() : old_id();
	struct txh_request q = {.client = id.client, .sequence = id.sequence, .age = draw()};

	any_mini();
	if (id.sequence > 30)
		q.mark = id.sequence - 30;
	if (several)
		put_number(txf_slice(&remote), 1);
	q.lock_only = below(6) == 0;
	if (!q.lock_only && below(3) == 0) { /* under a lock of this client's, perhaps */
		for (unsigned i = 0; i < RECENT; i++)
			if (recent[i].client == id.client && recent[i].sequence < id.sequence)
				q.lock = recent[i].sequence;
	}
	if (!several && !q.lock && !q.lock_only && below(10) == 0)
		q.client = q.mark = 0;
	return txh_request(&q, &m);
}

static struct buf any_ids(enum command_kind kind)
{
	struct lazy l = {.count = 3};
	struct buf b = BUF_INIT;

	for (unsigned i = 0; i < 3; i++)
		l.ids[i] = old_id();
	txn__enc_ids(&b, kind, &l);
	return b;
}

static struct buf any_prepare(void)
{
	struct txn_id id = below(5) ? new_id() : old_id();
	uint64_t lock = below(3) == 0 ? id.sequence - 1 - below(3) : 0;

	any_mini();
	return txh_prepare(id, 2, lock > id.sequence ? 0 : lock, below(6) == 0, &m);
}

static struct buf any_ending(void)
{
	struct buf b = BUF_INIT;

	switch (below(24)) {
	case 0:
		tsm_command_close(&b, floor_id + 1 + below(CLIENTS - floor_id));
		return b;
	case 1:
		if (floor_id < CLIENTS - 2 && below(4) == 0)
			floor_id++;
		tsm_command_floor(&b, floor_id + 1);
		return b;
	case 2:
	case 3:
		txn__enc_drop(&b, h.slot - below(9), 1 + (uint32_t)below(2));
		return b;
	default:
		txn__enc_cancel(&b, old_id(), ERR_ABORTED, 0);
		return b;
	}
}

static struct buf any_command(void)
{
	switch (below(16)) {
	case 0:
	case 1:
		return txh_decide(old_id(), below(4) > 0, h.clock_ns + LATE);
	case 2:
	case 3:
		return txh_outcome(old_id(), 2, below(4) > 0, h.clock_ns + LATE);
	case 4:
		return any_ids(below(2) ? CMD_END : CMD_FORGET);
	case 5:
		return any_ending();
	case 6:
	case 7:
	case 8:
		return any_prepare();
	case 9:
	case 10:
		return any_request(true);
	default:
		return any_request(false);
	}
}

static void run_seed(uint64_t seed)
{
	chance = seed;
	for (unsigned i = 0; i < KEYS; i++) {
		struct txh_request q = {.client = 1, .sequence = ++sequences[1]};
		struct buf b;

		txn_mini_reset(&m);
		put_number(txf_slice(&key[i]), 1 + (unsigned)below(KEYS));
		b = txh_request(&q, &m);
		txh_apply(&h, &b);
	}
	for (unsigned n = 0; n < ENTRIES && !h.differs; n++) {
		unsigned commands = 1 + (unsigned)below(3);

		for (unsigned i = 0; i < commands; i++) {
			struct buf b = any_command();

			txh_add(&h, &b);
		}
		txh_entry(&h);
		txh_forget_outs(&h);
	}
}

static void random_commands(void)
{
	for (uint64_t seed = 1; seed <= SEEDS && check_failures() == 0; seed++) {
		run_seed(seed);
		if (h.differs)
			fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
		teardown();
		setup();
	}
}

/* ---- what a machine that remembers could know more of ---- */

static const struct txn_id first = {11, 1}, second = {12, 1};

static void apply(struct buf b)
{
	txh_apply(&h, &b);
}

static struct buf request(struct txn_id id)
{
	struct txh_request q = {.client = id.client, .sequence = id.sequence, .age = id.client};

	return txh_request(&q, &m);
}

static void store_number(unsigned at, unsigned number)
{
	static uint64_t sequence;

	txn_mini_reset(&m);
	put_number(txf_slice(&key[at]), number);
	apply(request(txn_id_of(10, ++sequence)));
	CHECK_OK(txh_reply(&h, 10, sequence));
}

/* Prepares a transaction of group 2's that holds the key in X. */
static void hold(struct txn_id id, unsigned at)
{
	txn_mini_reset(&m);
	put_number(txf_slice(&key[at]), 1);
	apply(txh_prepare(id, 2, 0, false, &m));
}

static void waiting_is(unsigned count)
{
	struct tsm_stats s;

	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.waiting, count);
}

/* Nothing is stored of the client but its request in the queue. */
static void floor_ends_who_only_waits(void)
{
	struct buf b = BUF_INIT;

	hold(txn_id_of(30, 1), 0);
	txn_mini_reset(&m);
	put_number(txf_slice(&key[0]), 2);
	apply(request(first));
	waiting_is(1);
	tsm_command_floor(&b, first.client + 1);
	apply(b);
	waiting_is(0);
}

static void floor_ends_lock_transactions(void)
{
	struct txh_request q = {.client = 11, .sequence = 1, .lock_only = true};
	struct tsm_stats s;
	struct buf b = BUF_INIT;

	txn_mini_reset(&m);
	put_number(txf_slice(&key[0]), 2);
	apply(txh_request(&q, &m));
	txh_restart(&h);
	tsm_command_floor(&b, 12);
	apply(b);
	tsm_stats_get(h.tsm[0], &s);
	CHECK_U64_EQ(s.locks, 0);
	CHECK_U64_EQ(s.replies, 0);
}

/* key 0 -> key 1 -> key 2, which is held; then key 1, that nobody keeps in place, leads
 * elsewhere. */
static void references_that_lead_elsewhere(void)
{
	uint32_t i;

	store_number(0, 2);
	store_number(1, 3);
	store_number(2, 1);
	hold(first, 2);
	txn_mini_reset(&m);
	i = txn_get(&m, txf_slice(&key[0]));
	i = txn_get_ref(&m, i, 0, 'N', (struct slice){0});
	(void)txn_get_ref(&m, i, 0, 'N', (struct slice){0});
	apply(request(second));
	CHECK_INT_EQ(txh_reply(&h, second.client, second.sequence), 1);
	store_number(1, 4);
	CHECK_OK(txh_reply(&h, second.client, second.sequence));
	waiting_is(0);
}

/* A client may say of a field that nobody adds to it, and somebody does. */
static void a_condition_that_no_lock_keeps(void)
{
	static const struct txn_field number = {.width = 8};

	store_number(0, 5);
	txn_mini_reset(&m);
	(void)txn_if_field_u64(&m, txf_slice(&key[0]), number, 5);
	put_number(txf_slice(&key[1]), 1);
	apply(txh_prepare(first, 2, 0, false, &m));
	txn_mini_reset(&m);
	(void)txn_add(&m, txf_slice(&key[0]), number, 1, false);
	apply(request(second));
	CHECK_OK(txh_reply(&h, second.client, second.sequence));
	txh_restart(&h);
	apply(txh_outcome(first, 2, true, h.clock_ns));
}

/* A lock transaction keeps its locks when the request under it moves a reference. */
static void locks_up_front_take_no_references(void)
{
	struct txh_request q = {.client = 11, .sequence = 2, .lock = 1};

	store_number(0, 2);
	store_number(1, 1);
	store_number(2, 1);
	txn_mini_reset(&m);
	(void)txn_get_ref(&m, txn_get(&m, txf_slice(&key[0])), 0, 'N', (struct slice){0});
	apply(txh_prepare(txn_id_of(11, 1), 2, 0, true, &m));
	txn_mini_reset(&m);
	put_number(txf_slice(&key[0]), 3);
	apply(txh_prepare(txn_id_of(11, 2), 2, q.lock, false, &m));
	apply(txh_outcome(txn_id_of(11, 2), 2, true, h.clock_ns));
	store_number(1, 2);
	store_number(2, 2);
}

#define T(fn) CHECK_TEST_WITH(setup, teardown, fn)
static const struct check_test tests[] = {
	T(random_commands),
	T(floor_ends_who_only_waits),
	T(floor_ends_lock_transactions),
	T(references_that_lead_elsewhere),
	T(a_condition_that_no_lock_keeps),
	T(locks_up_front_take_no_references),
};
CHECK_MAIN(tests)
