/* Evaluating one group's part: conditions, then reads, then mutations, all against the state before;
 * mutations work on an overlay, which is written only when all of them succeeded. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "txn/tsm_internal.h"

#define NEAR_BYTES  10u /* place and number of an inode */
#define HEADER_SIZE 16u /* of a stored value: version be64 | timestamp be64 */

struct overlay_node {
	RB_ENTRY(overlay_node) node;
	struct slice key; /* data */
	struct buf value;
	uint64_t version; /* before */
	bool existed, exists;
	uint8_t data[];
};

static int overlay_cmp(const struct overlay_node *a, const struct overlay_node *b)
{
	return slice_cmp(a->key, b->key);
}

RB_GENERATE_INTERNAL(overlay, overlay_node, node, overlay_cmp, static __attribute__((unused)))

/* ---- stored values ---- */

struct slice txn__header_skip(struct slice stored, uint64_t *version)
{
	if (stored.len < HEADER_SIZE)
		return (struct slice){0};
	*version = be64_get(stored.p);
	return slice_of(stored.p + HEADER_SIZE, stored.len - HEADER_SIZE);
}

int txn__get(struct tsm *t, struct slice key, uint64_t *version, struct slice *value)
{
	int err;

	*version = 0;
	*value = (struct slice){0};
	buf_reset(&t->value);
	err = t->cfg.store->get(t->cfg.store, TXN_TABLE_DATA, key, &t->value);
	if (err == ERR_NOT_FOUND)
		return err;
	if (!err && !buf_ok(&t->value))
		err = ERR_NOMEM;
	if (!err) {
		*value = txn__header_skip(buf_slice(&t->value), version);
		if (!value->p)
			err = ERR_CORRUPT;
	}
	if (err)
		txn__fail(t, err);
	return err;
}

/* ---- ownership ---- */

static bool owned(struct tsm *t, struct slice key, struct slice to)
{
	return t->cfg.store->owns(t->cfg.store, key, to);
}

bool txn__part_owned(struct tsm *t)
{
	const struct part *p = &t->part;

	for (uint32_t i = 0; i < p->cond_count; i++)
		if (!owned(t, p->conds[i].key, p->conds[i].to))
			return false;
	for (uint32_t i = 0; i < p->read_count; i++)
		if (p->reads[i].kind != TXN_GET_REF &&
		    !owned(t, p->reads[i].key, p->reads[i].to))
			return false;
	for (uint32_t i = 0; i < p->mut_count; i++)
		if (!owned(t, p->muts[i].key, p->muts[i].to))
			return false;
	return true;
}

/* ---- failures ---- */

static int fail_item(struct tsm *t, int status, uint32_t index, const struct reply_value *current)
{
	struct reply_head h = {.status = status, .failed = index};

	CHECK(txn__reply_names_item(status));
	h.current = current ? *current : (struct reply_value){.status = ERR_NOT_FOUND};
	buf_reset(&t->reply);
	txn__reply_head(&t->reply, &h);
	return status;
}

static int fail_whole(struct tsm *t, int status)
{
	buf_reset(&t->reply);
	txn__status_reply(&t->reply, status);
	return status;
}

/* ---- what a read has seen ---- */

/* A read of several groups compares replies of two rounds, and what is the same in both has to have been
 * so all the time between. Versions show that of records that are returned. For the rest the reply ends
 * with a stamp: of the latest change to a record that a condition looked at, and, when the answer rests
 * on something being absent (or there, but not returned), of the latest deletion thereabouts; for what
 * comes and goes, or goes and comes back, is deleted in between. Whatever changes something after a read
 * has a stamp above all that it saw: who was prepared before bars the read. */
static void saw_version(struct tsm *t, uint64_t version)
{
	t->seen = version > t->seen ? version : t->seen;
}

/* By its first bytes: of a file system, the keys of one inode. */
static uint64_t *deleted_near(struct tsm *t, struct slice key)
{
	size_t len = key.len < NEAR_BYTES ? key.len : NEAR_BYTES;

	return &t->deleted_near[crc32c(0, key.p, len) % TSM_DELETED];
}

static void deleted(struct tsm *t, struct slice key, uint64_t stamp)
{
	uint64_t *near = deleted_near(t, key);

	t->deleted = stamp > t->deleted ? stamp : t->deleted;
	*near = stamp > *near ? stamp : *near;
}

/* What it was is not known any more, but that it was not later. */
void txn__deleted_load(struct tsm *t)
{
	t->deleted = t->last;
	for (unsigned i = 0; i < TSM_DELETED; i++)
		t->deleted_near[i] = t->last;
}

static void saw_absence(struct tsm *t, struct slice key)
{
	saw_version(t, *deleted_near(t, key));
}

/* All keys between two that begin alike begin so. */
static void saw_range(struct tsm *t, struct slice from, struct slice to)
{
	bool near = from.len >= NEAR_BYTES && to.len >= NEAR_BYTES &&
		    memcmp(from.p, to.p, NEAR_BYTES) == 0;

	saw_version(t, near ? *deleted_near(t, from) : t->deleted);
}

/* ---- conditions ---- */

struct range_check {
	uint32_t count, limit;
	uint64_t hash;
	bool damaged;
};

static bool range_key(void *ctx, struct slice key, struct slice value)
{
	struct range_check *r = ctx;
	uint64_t version = 0;

	if (!txn__header_skip(value, &version).p) {
		r->damaged = true;
		return false;
	}
	r->count++;
	r->hash = txn_range_hash(r->hash, key, version);
	return r->count <= r->limit;
}

static int cond_range(struct tsm *t, const struct txn_cond *c, uint32_t index)
{
	struct range_check r = {.limit = c->kind == TXN_RANGE_EMPTY ? 0 : c->count};
	int err = t->cfg.store->scan(t->cfg.store, TXN_TABLE_DATA, c->key, c->to, range_key, &r);

	saw_range(t, c->key, c->to);
	if (!err && r.damaged)
		err = ERR_CORRUPT;
	if (err) {
		txn__fail(t, err);
		return fail_whole(t, err);
	}
	if (c->kind == TXN_RANGE_EMPTY ? r.count == 0 : r.count == c->count && r.hash == c->number)
		return 0;
	return fail_item(t, ERR_CONDITION, index, NULL);
}

static uint64_t field_get(struct slice value, struct txn_field f)
{
	uint64_t v = 0;

	CHECK(f.width <= 8 && (size_t)f.offset + f.width <= value.len);
	for (uint32_t i = f.width; i-- > 0;)
		v = v << 8 | value.p[f.offset + i];
	return v;
}

static bool cond_holds(const struct txn_cond *c, int status, const struct reply_value *v)
{
	bool absent = status == ERR_NOT_FOUND;

	switch (c->kind) {
	case TXN_EXISTS:
		return !absent;
	case TXN_ABSENT:
		return absent;
	case TXN_VERSION:
		return absent ? c->number == 0 : v->version == c->number;
	case TXN_FIELD:
		return !absent && slice_eq(slice_of(v->value.p + c->field.offset, c->field.width),
					   c->value);
	case TXN_FIELD_MIN:
		return !absent && field_get(v->value, c->field) >= c->number;
	case TXN_RANGE_EMPTY:
	case TXN_RANGE_SAME:
		break;
	}
	return false;
}

/* The record that the last condition looked at, which is in t->value: a write has up to five on one. */
struct looked {
	struct slice key; /* empty: none */
	struct reply_value v;
};

static void look(struct tsm *t, struct slice key, struct looked *l)
{
	if (l->key.len > 0 && slice_eq(l->key, key))
		return;
	l->v = (struct reply_value){0};
	l->v.status = txn__get(t, key, &l->v.version, &l->v.value);
	l->key = key;
}

static int cond_check(struct tsm *t, const struct txn_cond *c, uint32_t index, struct looked *l)
{
	struct reply_value v;
	bool field = c->kind == TXN_FIELD || c->kind == TXN_FIELD_MIN;

	if (c->kind == TXN_RANGE_EMPTY || c->kind == TXN_RANGE_SAME)
		return cond_range(t, c, index);
	look(t, c->key, l);
	v = l->v;
	if (v.status != 0 && v.status != ERR_NOT_FOUND)
		return fail_whole(t, v.status);
	saw_absence(t, c->key);
	if (field)
		saw_version(t, v.version);
	if (field && v.status == 0 && (size_t)c->field.offset + c->field.width > v.value.len)
		return fail_item(t, ERR_BAD_FIELD, index, &v);
	return cond_holds(c, v.status, &v) ? 0 : fail_item(t, ERR_CONDITION, index, &v);
}

/* ---- reads ---- */

bool txn__ref_key(struct tsm *t, const struct txn_read *r, struct slice value, struct buf *key)
{
	uint64_t number = 0;

	buf_reset(key);
	if ((size_t)r->offset + 8 > value.len)
		return false;
	for (int i = 8; i-- > 0;)
		number = number << 8 | value.p[r->offset + i];
	buf_add_be16(key, (uint16_t)(number >> 48 & 0x7fff));
	buf_add_be64(key, number);
	buf_add_u8(key, r->ref_kind);
	buf_add_slice(key, r->suffix);
	if (!buf_ok(key))
		txn__fail(t, ERR_NOMEM); /* not the same as a bad reference: others follow it */
	return buf_ok(key) && key->len <= KEY_SIZE_MAX;
}

static void read_key(struct tsm *t, struct slice key, struct reply_value *v)
{
	v->status = owned(t, key, (struct slice){0}) ? txn__get(t, key, &v->version, &v->value)
						     : ERR_ELSEWHERE;
	if (v->status == ERR_NOT_FOUND)
		saw_absence(t, key);
}

/* The value that a reference leads to, given the one that holds it. */
static void read_ref(struct tsm *t, const struct txn_read *r, const struct reply_value *from,
		     struct reply_value *v)
{
	struct buf key = BUF_INIT;

	*v = (struct reply_value){.status = from->status};
	if (from->status == 0) {
		if (txn__ref_key(t, r, from->value, &key))
			read_key(t, buf_slice(&key), v);
		else
			v->status = ERR_CORRUPT;
	}
	buf_release(&key);
}

/* What read @i of the part returns; references are followed from their beginning. */
static void read_value(struct tsm *t, uint32_t i, struct reply_value *v)
{
	const struct part *p = &t->part;
	uint32_t chain[16], depth = 0;

	while (p->reads[i].kind == TXN_GET_REF && depth < 16) {
		chain[depth++] = i;
		i = p->reads[i].from;
	}
	*v = (struct reply_value){.status = ERR_CORRUPT};
	if (p->reads[i].kind != TXN_GET)
		return; /* a longer chain than anybody needs */
	read_key(t, p->reads[i].key, v);
	while (depth > 0) {
		struct reply_value from = *v;

		read_ref(t, &p->reads[chain[--depth]], &from, v);
	}
}

static void do_get(struct tsm *t, uint32_t i)
{
	struct reply_value v;

	read_value(t, i, &v);
	if (v.status != 0)
		v.value = (struct slice){0};
	enc_u64(&t->reply, REPLY_GET);
	enc_u64(&t->reply, t->part.read_index[i]);
	txn__reply_value(&t->reply, &v);
}

struct scan {
	struct tsm *t;
	const struct txn_read *read;
	uint32_t count, limit;
	size_t end; /* of the reply: no item begins behind */
	size_t passed; /* bytes of values that are not in the reply */
	bool more, damaged;
};

static bool scan_item(void *ctx, struct slice key, struct slice stored)
{
	struct scan *s = ctx;
	struct tsm *t = s->t;
	struct reply_value v = {0}, ref;

	if (s->count == s->limit || t->reply.len >= s->end || s->passed >= TXN_SCAN_PASSED_MAX) {
		s->more = true;
		return false;
	}
	v.value = txn__header_skip(stored, &v.version);
	if (!v.value.p) {
		s->damaged = true;
		return false;
	}
	if (s->read->kind == TXN_SCAN_KEYS) {
		s->passed += stored.len;
		v.value = (struct slice){0};
	}
	enc_u64(&t->reply, s->read->kind == TXN_SCAN_REF ? REPLY_ITEM_REF : REPLY_ITEM);
	enc_bytes(&t->reply, key);
	enc_u64(&t->reply, v.version);
	enc_bytes(&t->reply, v.value);
	if (s->read->kind == TXN_SCAN_REF) {
		read_ref(t, s->read, &v, &ref);
		if (ref.status != 0)
			ref.value = (struct slice){0};
		txn__reply_value(&t->reply, &ref);
	}
	s->count++;
	return true;
}

uint32_t txn__scan_limit(const struct txn_read *r)
{
	return r->limit == 0 || r->limit > TXN_SCAN_ITEMS_MAX ? TXN_SCAN_ITEMS_MAX : r->limit;
}

static int do_scan(struct tsm *t, uint32_t i)
{
	const struct txn_read *r = &t->part.reads[i];
	struct scan s = {.t = t, .read = r, .limit = txn__scan_limit(r)};
	size_t room = REPLY_SIZE_MAX - 4 * VALUE_SIZE_MAX;
	int err;

	enc_u64(&t->reply, REPLY_SCAN);
	enc_u64(&t->reply, t->part.read_index[i]);
	s.end = t->reply.len + REPLY_SIZE_MAX / 2 < room ? t->reply.len + REPLY_SIZE_MAX / 2 : room;
	saw_range(t, r->key, r->to);
	err = t->cfg.store->scan(t->cfg.store, TXN_TABLE_DATA, r->key, r->to, scan_item, &s);
	if (!err && s.damaged)
		err = ERR_CORRUPT;
	if (err) {
		txn__fail(t, err);
		return fail_whole(t, err);
	}
	enc_u64(&t->reply, s.more ? REPLY_MORE : REPLY_DONE);
	return 0;
}

static int do_reads(struct tsm *t)
{
	int status = 0;

	for (uint32_t i = 0; i < t->part.read_count && !status; i++) {
		if (t->part.reads[i].kind == TXN_GET || t->part.reads[i].kind == TXN_GET_REF)
			do_get(t, i);
		else
			status = do_scan(t, i);
		if (!status && t->reply.len > REPLY_SIZE_MAX)
			status = fail_item(t, ERR_TOO_BIG, t->part.read_index[i], NULL);
		if (!status && t->err)
			status = fail_whole(t, t->err);
	}
	return status;
}

/* ---- the overlay ---- */

static struct overlay_node *node_find(struct tsm *t, struct slice key)
{
	struct overlay_node probe = {.key = key};

	return RB_FIND(overlay, &t->overlay, &probe);
}

static struct overlay_node *node_add(struct tsm *t, struct slice key)
{
	struct overlay_node *n = mem_must_alloc(sizeof(*n) + key.len);

	memcpy(n->data, key.p, key.len);
	n->key = slice_of(n->data, key.len);
	CHECK(!RB_INSERT(overlay, &t->overlay, n));
	return n;
}

/* The working copy of a key; NULL when the store failed. */
static struct overlay_node *working(struct tsm *t, struct slice key)
{
	struct overlay_node *n = node_find(t, key);
	struct slice value;
	uint64_t version;
	int err;

	if (n)
		return n;
	err = txn__get(t, key, &version, &value);
	if (err && err != ERR_NOT_FOUND)
		return NULL;
	n = node_add(t, key);
	n->existed = n->exists = err == 0;
	n->version = version;
	buf_add_slice(&n->value, value);
	if (!buf_ok(&n->value)) {
		txn__fail(t, ERR_NOMEM); /* a shorter record would change what the rest does */
		return NULL;
	}
	return n;
}

void txn__changes_drop(struct tsm *t)
{
	struct overlay_node *n, *next;

	for (n = RB_MIN(overlay, &t->overlay); n; n = next) {
		next = RB_NEXT(overlay, &t->overlay, n);
		RB_REMOVE(overlay, &t->overlay, n);
		buf_release(&n->value);
		mem_free(n);
	}
	CHECK(RB_EMPTY(&t->overlay));
}

/* A key's versions rise for ever, over deletions too: each is at least the stamp, and the group's
 * clock passes it. So a version never means two values. */
void txn__changes_write(struct tsm *t, uint64_t stamp)
{
	struct overlay_node *n;

	CHECK(t->in_entry);
	for (n = RB_MIN(overlay, &t->overlay); n; n = RB_NEXT(overlay, &t->overlay, n)) {
		uint64_t version = n->version >= stamp ? n->version + 1 : stamp;

		if (!n->exists) {
			if (n->existed)
				txn__store_del(t, TXN_TABLE_DATA, n->key);
			if (n->existed)
				deleted(t, n->key, stamp);
			continue;
		}
		buf_reset(&t->enc);
		buf_add_be64(&t->enc, version);
		buf_add_be64(&t->enc, stamp);
		buf_add_slice(&t->enc, buf_slice(&n->value));
		if (!buf_ok(&t->enc) || !buf_ok(&n->value))
			txn__fail(t, ERR_NOMEM);
		else
			txn__store_put(t, TXN_TABLE_DATA, n->key, buf_slice(&t->enc));
		txn__stamp_raise(t, version);
	}
	txn__stamp_raise(t, stamp);
	txn__changes_drop(t);
	txn__changed(t);
}

/* ---- mutations ---- */

static void field_put(struct buf *value, struct txn_field f, uint64_t v)
{
	for (uint32_t i = 0; i < f.width; i++)
		value->data[f.offset + i] = (uint8_t)(v >> 8 * i);
}

/* What an automatic update makes of a time. None gives one beyond the group's clock, which passes
 * every stamp before its changes are seen: what lies there (or, as a signed number, before 1970) is
 * explicit. */
static uint64_t touched(const struct tsm *t, const struct txn_mut *u, uint64_t stamp, uint64_t time)
{
	uint64_t clock = t->last > stamp ? t->last : stamp;
	uint64_t at = u->number < stamp ? u->number : stamp;

	CHECK(at <= clock);
	return time > clock || time < at ? at : time;
}

static int mutate_field(struct tsm *t, struct overlay_node *n, const struct txn_mut *u, uint64_t stamp,
			uint64_t *number)
{
	uint64_t operand = u->now ? stamp : u->number, v;

	if (!n->exists)
		return ERR_ABSENT_RECORD;
	if ((size_t)u->field.offset + u->field.width > n->value.len)
		return ERR_BAD_FIELD;
	if (u->kind == TXN_SET && !u->now) {
		memcpy(n->value.data + u->field.offset, u->value.p, u->value.len);
		return 0;
	}
	v = field_get(buf_slice(&n->value), u->field);
	if (u->kind == TXN_ADD)
		v += operand;
	else if (u->kind == TXN_TOUCH)
		v = touched(t, u, stamp, v);
	else if (u->kind == TXN_SET || operand > v)
		v = operand;
	field_put(&n->value, u->field, v);
	*number = field_get(buf_slice(&n->value), u->field);
	return 0;
}

static int mutate_bytes(struct overlay_node *n, const struct txn_mut *u)
{
	size_t at = u->kind == TXN_PATCH ? (size_t)u->number : 0;
	size_t end = at + u->value.len;

	if (end > VALUE_SIZE_MAX)
		return ERR_TOO_BIG;
	if (!n->exists)
		buf_reset(&n->value);
	n->exists = true;
	if (n->value.len < end)
		buf_resize(&n->value, end);
	if (!buf_ok(&n->value))
		return ERR_NOMEM;
	for (size_t i = 0; u->kind == TXN_OR && i < u->value.len; i++)
		n->value.data[i] |= u->value.p[i];
	if (u->kind == TXN_PATCH && u->value.len)
		memcpy(n->value.data + at, u->value.p, u->value.len);
	return 0;
}

struct range_delete {
	struct tsm *t;
	uint32_t count;
};

static bool range_delete_key(void *ctx, struct slice key, struct slice stored)
{
	struct range_delete *r = ctx;
	struct overlay_node *n = node_find(r->t, key);

	if (n && !n->exists)
		return true; /* deleted earlier in this transaction */
	if (r->count == TXN_SCAN_ITEMS_MAX)
		return false;
	if (!n) {
		n = node_add(r->t, key);
		n->existed = true;
		(void)txn__header_skip(stored, &n->version);
	}
	n->exists = false;
	r->count++;
	return true;
}

static int delete_range(struct tsm *t, const struct txn_mut *u, uint64_t *number)
{
	struct range_delete r = {.t = t};
	struct overlay_node probe = {.key = u->key}, *n;
	int err;

	/* what this transaction has made in the range goes first: the scan does not see it */
	for (n = RB_NFIND(overlay, &t->overlay, &probe); n && slice_cmp(n->key, u->to) < 0;
	     n = RB_NEXT(overlay, &t->overlay, n)) {
		if (n->exists && !n->existed && r.count < TXN_SCAN_ITEMS_MAX) {
			n->exists = false;
			r.count++;
		}
	}
	err = t->cfg.store->scan(t->cfg.store, TXN_TABLE_DATA, u->key, u->to, range_delete_key, &r);
	if (err)
		txn__fail(t, err);
	*number = r.count;
	return err;
}

static int mutate(struct tsm *t, const struct txn_mut *u, uint64_t stamp, uint64_t *number)
{
	struct overlay_node *n;

	if (u->kind == TXN_DELETE_RANGE)
		return delete_range(t, u, number);
	n = working(t, u->key);
	if (!n)
		return t->err;
	switch (u->kind) {
	case TXN_PUT:
		n->exists = true;
		return buf_set(&n->value, u->value);
	case TXN_DELETE:
		n->exists = false;
		return 0;
	case TXN_CUT:
		if (n->exists && n->value.len > u->number)
			buf_resize(&n->value, (size_t)u->number);
		return 0;
	case TXN_PATCH:
	case TXN_OR:
		return mutate_bytes(n, u);
	case TXN_ADD:
	case TXN_MAX:
	case TXN_SET:
	case TXN_TOUCH:
		return mutate_field(t, n, u, stamp, number);
	case TXN_DELETE_RANGE:
		break;
	}
	return ERR_PROTO;
}

static int do_mutations(struct tsm *t, uint64_t stamp)
{
	for (uint32_t i = 0; i < t->part.mut_count; i++) {
		const struct txn_mut *u = &t->part.muts[i];
		uint64_t number = 0;
		int err = mutate(t, u, stamp, &number);

		if (err && txn__reply_names_item(err))
			return fail_item(t, err, t->part.mut_index[i], NULL);
		if (err) {
			txn__fail(t, err);
			return fail_whole(t, err);
		}
		if (u->kind == TXN_DELETE_RANGE || (u->kind == TXN_ADD && u->want_result)) {
			enc_u64(&t->reply, REPLY_NUMBER);
			enc_u64(&t->reply, t->part.mut_index[i]);
			enc_u64(&t->reply, number);
		}
	}
	return 0;
}

/* Part of a reply is none. */
static int whole_reply(struct tsm *t, int status)
{
	if (buf_ok(&t->reply))
		return status;
	txn__fail(t, ERR_NOMEM);
	return fail_whole(t, ERR_NOMEM);
}

int txn__evaluate(struct tsm *t, uint64_t stamp)
{
	struct looked l = {.key = {0}};
	int status = 0;

	t->seen = 0;
	for (uint32_t i = 0; i < t->part.cond_count && !status; i++)
		status = cond_check(t, &t->part.conds[i], t->part.cond_index[i], &l);
	return status ? whole_reply(t, status) : txn__evaluate_again(t, stamp);
}

int txn__evaluate_again(struct tsm *t, uint64_t stamp)
{
	struct reply_head h = {.stamp = stamp};
	int status;

	txn__changes_drop(t);
	buf_reset(&t->reply);
	txn__reply_head(&t->reply, &h);
	status = do_reads(t);
	if (!status)
		status = do_mutations(t, stamp);
	status = whole_reply(t, status);
	if (status)
		txn__changes_drop(t);
	return status;
}

int txn__evaluate_read(struct tsm *t)
{
	int status = txn__evaluate(t, 0);

	if (t->err || status || t->seen == 0)
		return status;
	enc_u64(&t->reply, REPLY_SEEN);
	enc_u64(&t->reply, t->seen);
	return whole_reply(t, 0);
}

int txn__evaluate_vote(struct tsm *t, uint64_t stamp)
{
	int status = txn__evaluate(t, stamp);

	if (t->err || status || t->reply.len <= TSM_VOTE_SIZE_MAX)
		return status;
	return fail_item(t, ERR_TOO_BIG, UINT32_MAX, NULL);
}

int txn__evaluate_nothing(struct tsm *t, uint64_t stamp)
{
	struct reply_head h = {.stamp = stamp};

	txn__changes_drop(t);
	buf_reset(&t->reply);
	txn__reply_head(&t->reply, &h);
	return whole_reply(t, 0);
}

void txn__carry_out(struct tsm *t, uint64_t stamp)
{
	int status;

	txn__changes_drop(t);
	buf_reset(&t->reply);
	status = do_mutations(t, stamp);
	if (t->err) {
		txn__changes_drop(t);
		return;
	}
	CHECK(status == 0); /* it was tried when the locks were taken */
	txn__changes_write(t, stamp);
}
