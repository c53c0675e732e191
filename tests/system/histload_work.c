/* The workloads of histload: one operation each time they are called. */
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/system/histload.h"

#define FIELD ((struct txn_field){.offset = 0, .width = 8})

/* A mini-transaction, its result, and room for keys' bytes (which are copied). */
struct call {
	struct txn_mini m;
	struct txn_result r;
	uint8_t key[LOAD_KEY_SIZE], bytes[8];
};

static void call_init(struct call *c)
{
	txn_mini_init(&c->m);
	txn_result_init(&c->r);
}

static void call_release(struct call *c)
{
	txn_mini_release(&c->m);
	txn_result_release(&c->r);
}

static struct slice number(struct call *c, uint64_t v)
{
	le64_put(c->bytes, v);
	return slice_of(c->bytes, 8);
}

static uint64_t number_read(const struct call *c, uint32_t read, uint64_t absent)
{
	const struct txn_value *v = &c->r.reads[read].value;

	return v->status == 0 && v->value.len == 8 ? le64_get(v->value.p) : absent;
}

/* ---- registers: small values, so that a CAS finds what it expects now and then ---- */

static void register_read(struct worker *w, uint64_t k)
{
	struct history_result res = {0};
	struct call c;
	int err;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_READ, .key = k});
	txn_get(&c.m, load_key(w->load, FAMILY_REGISTER, k, c.key));
	err = txn_exec(w->load->x, &c.m, &c.r);
	if (!err)
		res.value = number_read(&c, 0, HISTORY_ABSENT);
	op_end(w, err, true, &res);
	call_release(&c);
}

static void register_write(struct worker *w, uint64_t k)
{
	uint64_t v = load_dice(w->load) % 5;
	struct call c;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_WRITE, .key = k, .arg = v});
	txn_put(&c.m, load_key(w->load, FAMILY_REGISTER, k, c.key), number(&c, v));
	op_end(w, txn_exec(w->load->x, &c.m, &c.r), false, NULL);
	call_release(&c);
}

static void register_cas(struct worker *w, uint64_t k)
{
	uint64_t from = load_dice(w->load) % 5, to = load_dice(w->load) % 5;
	struct history_result res = {0};
	struct slice key;
	struct call c;
	int err;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_CAS, .key = k, .arg = from, .arg2 = to});
	key = load_key(w->load, FAMILY_REGISTER, k, c.key);
	txn_if_field_u64(&c.m, key, FIELD, from);
	txn_put(&c.m, key, number(&c, to));
	err = txn_exec(w->load->x, &c.m, &c.r);
	res.value = err == 0;
	op_end(w, err == ERR_CONDITION ? 0 : err, false, &res);
	call_release(&c);
}

static void register_delete(struct worker *w, uint64_t k)
{
	struct history_result res = {0};
	struct slice key;
	struct call c;
	int err;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_DELETE, .key = k});
	key = load_key(w->load, FAMILY_REGISTER, k, c.key);
	txn_get(&c.m, key);
	txn_delete(&c.m, key);
	err = txn_exec(w->load->x, &c.m, &c.r);
	if (!err)
		res.value = c.r.reads[0].value.status == 0;
	op_end(w, err, false, &res);
	call_release(&c);
}

void register_op(struct worker *w)
{
	uint64_t dice = load_dice(w->load);
	uint64_t k = load_epoch(w->load) * REGISTERS + dice / 100 % REGISTERS;

	if (dice % 100 < 40)
		register_read(w, k);
	else if (dice % 100 < 65)
		register_write(w, k);
	else if (dice % 100 < 95)
		register_cas(w, k);
	else
		register_delete(w, k);
}

void register_read_all(struct worker *w, uint64_t epoch)
{
	for (uint64_t i = 0; i < REGISTERS; i++)
		register_read(w, epoch * REGISTERS + i);
}

/* ---- lists: transactions of several keys, in several groups ---- */

#define STEPS_MAX 8u

struct lists {
	struct history_mop mops[STEPS_MAX];
	uint64_t *read[STEPS_MAX]; /* owned */
	uint32_t count;
};

static void lists_release(struct lists *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		mem_free(t->read[i]);
		t->read[i] = NULL;
	}
}

static void lists_take(struct lists *t, uint32_t i, struct slice value)
{
	mem_free(t->read[i]);
	t->read[i] = mem_must_alloc(value.len + 8);
	for (size_t k = 0; k < value.len / 8; k++)
		t->read[i][k] = le64_get(value.p + k * 8);
	t->mops[i].list = t->read[i];
	t->mops[i].count = value.len / 8;
}

static int list_step(struct worker *w, struct txn_interactive *x, struct lists *t, uint32_t i)
{
	struct history_mop *mop = &t->mops[i];
	uint8_t key[LOAD_KEY_SIZE], bytes[8];
	struct slice k = load_key(w->load, FAMILY_LIST, mop->key, key);
	struct buf value = BUF_INIT;
	int err = txn_i_get(x, k, &value, NULL);

	if (err == ERR_NOT_FOUND)
		err = 0;
	if (!err && mop->append) {
		le64_put(bytes, mop->value);
		buf_add(&value, bytes, 8);
		err = txn_i_put(x, k, buf_slice(&value));
	} else if (!err) {
		lists_take(t, i, buf_slice(&value));
	}
	buf_release(&value);
	return err;
}

/* @sent is set when a commit was tried: then an error leaves it open. */
static int list_try(struct worker *w, struct txn_interactive *x, struct lists *t, bool *sent)
{
	int err = 0;

	for (uint32_t i = 0; i < t->count && !err; i++)
		err = list_step(w, x, t, i);
	if (err)
		return err;
	*sent = true;
	return txn_commit(x, NULL);
}

static void list_write(struct worker *w, struct lists *t)
{
	struct history_result res = {.mops = t->mops, .mop_count = t->count};
	struct txn_interactive *x = txn_begin(w->load->x);
	bool sent = false;
	int err;

	op_begin(w, &(struct history_op){
			    .kind = HISTORY_TXN, .mops = t->mops, .mop_count = t->count});
	err = list_try(w, x, t, &sent);
	for (int tries = 0; err == ERR_CONDITION && tries < 8; tries++) {
		sent = false; /* a conflict is an answer: that try has come to nothing */
		err = txn_retry(x);
		if (!err)
			err = list_try(w, x, t, &sent);
	}
	op_end(w, err, !sent, &res);
	txn_rollback(x);
}

/* All keys at once, as one mini-transaction over groups that writes nothing. */
static void list_read(struct worker *w, struct lists *t)
{
	struct history_result res = {.mops = t->mops, .mop_count = t->count};
	struct call c;
	int err;

	call_init(&c);
	op_begin(w, &(struct history_op){
			    .kind = HISTORY_TXN, .mops = t->mops, .mop_count = t->count});
	for (uint32_t i = 0; i < t->count; i++)
		txn_get(&c.m, load_key(w->load, FAMILY_LIST, t->mops[i].key, c.key));
	err = txn_exec(w->load->x, &c.m, &c.r);
	for (uint32_t i = 0; i < t->count && !err; i++)
		lists_take(t, i,
			   c.r.reads[i].value.status == 0 ? c.r.reads[i].value.value
							  : (struct slice){0});
	op_end(w, err, true, &res);
	call_release(&c);
}

void list_op(struct worker *w)
{
	uint64_t dice = load_dice(w->load), epoch = load_epoch(w->load);
	struct lists t = {.count = 1 + (uint32_t)(dice >> 8) % 4};
	bool reads = dice % 3 == 0;

	for (uint32_t i = 0; i < t.count; i++) {
		dice = load_dice(w->load);
		t.mops[i].key = epoch * LISTS + dice % LISTS;
		t.mops[i].append = !reads && dice / LISTS % 3 != 0;
		if (t.mops[i].append)
			t.mops[i].value = load_value(w->load);
	}
	if (reads)
		list_read(w, &t);
	else
		list_write(w, &t);
	lists_release(&t);
}

void list_read_all(struct worker *w, uint64_t epoch)
{
	struct lists t = {.count = LISTS};

	for (uint32_t i = 0; i < LISTS; i++)
		t.mops[i].key = epoch * LISTS + i;
	list_read(w, &t);
	lists_release(&t);
}

/* ---- records that must be there before the rest begins ---- */

static bool fill(struct load *l, enum family f, uint64_t count, uint64_t value)
{
	struct call c;
	int err;

	do { /* whoever comes second finds them there */
		call_init(&c);
		txn_if_absent(&c.m, load_key(l, f, 0, c.key));
		for (uint64_t k = 0; k < count; k++)
			txn_put(&c.m, load_key(l, f, k, c.key), number(&c, value));
		err = txn_exec(l->x, &c.m, &c.r);
		call_release(&c);
	} while (err == ERR_TIMEOUT);
	return err == 0 || err == ERR_CONDITION;
}

/* ---- bank: accounts in different groups ---- */

bool bank_fill(struct load *l)
{
	return history_stream_bank(&l->stream, ACCOUNTS, (int64_t)ACCOUNTS * BALANCE, false) == 0 &&
	       fill(l, FAMILY_ACCOUNT, ACCOUNTS, BALANCE);
}

void bank_read(struct worker *w)
{
	uint64_t balances[ACCOUNTS];
	struct history_result res = {.list = balances, .list_count = ACCOUNTS};
	struct call c;
	int err;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_BALANCES});
	for (uint64_t k = 0; k < ACCOUNTS; k++)
		txn_get(&c.m, load_key(w->load, FAMILY_ACCOUNT, k, c.key));
	err = txn_exec(w->load->x, &c.m, &c.r);
	for (uint32_t k = 0; k < ACCOUNTS && !err; k++)
		balances[k] = number_read(&c, k, 0);
	op_end(w, err, true, &res);
	call_release(&c);
}

/* Not in the history: the sum is what is judged. */
static void bank_transfer(struct worker *w)
{
	uint64_t dice = load_dice(w->load), from = dice % ACCOUNTS;
	uint64_t to = (from + 1 + dice / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
	int64_t amount = 1 + (int64_t)(dice >> 20) % 60;
	struct slice key;
	struct call c;
	int err;

	call_init(&c);
	key = load_key(w->load, FAMILY_ACCOUNT, from, c.key);
	txn_if_field_min(&c.m, key, FIELD, (uint64_t)amount);
	txn_add(&c.m, key, FIELD, -amount, false);
	txn_add(&c.m, load_key(w->load, FAMILY_ACCOUNT, to, c.key), FIELD, amount, false);
	err = txn_exec(w->load->x, &c.m, &c.r);
	if (err == ERR_ABSENT_RECORD) {
		cli_error(CLI_FAILED, "an account is gone");
		w->load->broken = true;
	}
	call_release(&c);
}

void bank_op(struct worker *w)
{
	if (load_dice(w->load) % 4 == 0)
		bank_read(w);
	else
		bank_transfer(w);
}

/* ---- counters ---- */

bool counters_fill(struct load *l)
{
	return fill(l, FAMILY_COUNTER, COUNTERS, 0);
}

void counter_read(struct worker *w, uint64_t k)
{
	struct history_result res = {0};
	struct call c;
	int err;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_GET, .key = k});
	txn_get(&c.m, load_key(w->load, FAMILY_COUNTER, k, c.key));
	err = txn_exec(w->load->x, &c.m, &c.r);
	if (!err)
		res.value = number_read(&c, 0, 0);
	op_end(w, err, true, &res);
	call_release(&c);
}

void counter_op(struct worker *w)
{
	uint64_t dice = load_dice(w->load), k = dice % COUNTERS, n = 1 + (dice >> 16) % 9;
	struct call c;

	if (dice / COUNTERS % 4 == 0) {
		counter_read(w, k);
		return;
	}
	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_ADD, .key = k, .arg = n});
	txn_add(&c.m, load_key(w->load, FAMILY_COUNTER, k, c.key), FIELD, (int64_t)n, false);
	op_end(w, txn_exec(w->load->x, &c.m, &c.r), false, NULL);
	call_release(&c);
}

/* ---- sets: a key per element, read by scanning ---- */

#define ELEMENT_KEY_SIZE (LOAD_KEY_SIZE + 8)

static struct slice element_key(struct load *l, uint64_t set, uint64_t element,
				uint8_t out[ELEMENT_KEY_SIZE])
{
	load_key(l, FAMILY_SET, set, out);
	be64_put(out + LOAD_KEY_SIZE, element);
	return slice_of(out, ELEMENT_KEY_SIZE);
}

static void set_insert(struct worker *w, uint64_t set)
{
	uint64_t element = load_value(w->load);
	uint8_t key[ELEMENT_KEY_SIZE];
	struct call c;

	call_init(&c);
	op_begin(w, &(struct history_op){.kind = HISTORY_INSERT, .key = set, .arg = element});
	txn_put(&c.m, element_key(w->load, set, element, key), number(&c, element));
	op_end(w, txn_exec(w->load->x, &c.m, &c.r), false, NULL);
	call_release(&c);
}

/* One page behind @from, whose next one goes there. */
static int set_page(struct worker *w, uint64_t set, uint64_t *from, struct buf *elements,
		    bool *more)
{
	uint8_t a[ELEMENT_KEY_SIZE], b[ELEMENT_KEY_SIZE];
	struct call c;
	int err;

	call_init(&c);
	txn_scan(&c.m, element_key(w->load, set, *from, a),
		 element_key(w->load, set, UINT64_MAX, b), TXN_SCAN_ITEMS_MAX);
	err = txn_exec(w->load->x, &c.m, &c.r);
	for (uint32_t i = 0; !err && i < c.r.reads[0].item_count; i++) {
		const struct txn_item *item = &c.r.reads[0].items[i];
		uint64_t element = be64_get(item->key.p + LOAD_KEY_SIZE);

		buf_add(elements, &element, sizeof(element));
		*from = element + 1;
	}
	*more = !err && c.r.reads[0].more;
	call_release(&c);
	return err;
}

static void set_read(struct worker *w, uint64_t set)
{
	struct history_result res = {0};
	struct buf elements = BUF_INIT;
	uint64_t from = 0, *list;
	bool more = true;
	int err = 0;

	op_begin(w, &(struct history_op){.kind = HISTORY_MEMBERS, .key = set});
	while (more && !err)
		err = set_page(w, set, &from, &elements, &more);
	list = mem_must_alloc(elements.len + 8);
	if (elements.len)
		memcpy(list, elements.data, elements.len);
	res.list = list;
	res.list_count = elements.len / sizeof(uint64_t);
	op_end(w, err, true, &res);
	mem_free(list);
	buf_release(&elements);
}

void set_op(struct worker *w)
{
	uint64_t dice = load_dice(w->load);
	uint64_t set = load_epoch(w->load) * SETS + dice / 10 % SETS;

	if (dice % 10 == 0)
		set_read(w, set);
	else
		set_insert(w, set);
}

void set_read_all(struct worker *w, uint64_t epoch)
{
	for (uint64_t i = 0; i < SETS; i++)
		set_read(w, epoch * SETS + i);
}
