/* The store of the fixture: records in a tree, and mini-transactions on them as txn/txn.h defines
 * them, written apart from the code that nodes run. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/fs_fixture.h"

static int fsx_rec_cmp(struct fsx_rec *a, struct fsx_rec *b)
{
	return slice_cmp(buf_slice(&a->key), buf_slice(&b->key));
}

RB_GENERATE(fsx_tree, fsx_rec, link, fsx_rec_cmp)

/* ---- records ---- */

struct fsx_rec *fsx_find(struct fsx *x, struct slice key)
{
	struct fsx_rec want = {.key = {.data = (uint8_t *)(uintptr_t)key.p, .len = key.len}};

	return RB_FIND(fsx_tree, &x->tree, &want);
}

static struct fsx_rec *first_from(struct fsx *x, struct slice key)
{
	struct fsx_rec want = {.key = {.data = (uint8_t *)(uintptr_t)key.p, .len = key.len}};

	return RB_NFIND(fsx_tree, &x->tree, &want);
}

static bool below(const struct fsx_rec *r, struct slice to)
{
	return to.len == 0 || slice_cmp(buf_slice(&r->key), to) < 0;
}

void fsx_rec_free(struct fsx_rec *r)
{
	buf_release(&r->key);
	buf_release(&r->value);
	mem_free(r);
}

void fsx_put(struct fsx *x, struct slice key, struct slice value)
{
	struct fsx_rec *r = fsx_find(x, key);

	if (!r) {
		r = mem_must_alloc(sizeof(*r));
		buf_add_slice(&r->key, key);
		RB_INSERT(fsx_tree, &x->tree, r);
	}
	buf_set(&r->value, value);
	r->version = x->version;
}

void fsx_delete(struct fsx *x, struct slice key)
{
	struct fsx_rec *r = fsx_find(x, key);

	if (!r)
		return;
	RB_REMOVE(fsx_tree, &x->tree, r);
	fsx_rec_free(r);
}

size_t fsx_count(struct fsx *x, uint8_t kind)
{
	struct fsx_rec *r;
	size_t n = 0;

	RB_FOREACH(r, fsx_tree, &x->tree)
		n += r->key.len > 10 && r->key.data[10] == kind;
	return n;
}

/* ---- conditions ---- */

static uint64_t le_number(const uint8_t *p, size_t width)
{
	uint64_t v = 0;

	for (size_t i = width; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static bool field_ok(const struct fsx_rec *r, const struct txn_field *f)
{
	return (size_t)f->offset + f->width <= r->value.len;
}

static bool range_same(struct fsx *x, const struct txn_cond *c)
{
	uint64_t h = 0;
	uint32_t n = 0;

	for (struct fsx_rec *r = first_from(x, c->key); r && below(r, c->to);
	     r = RB_NEXT(fsx_tree, &x->tree, r)) {
		h = txn_range_hash(h, buf_slice(&r->key), r->version);
		n++;
	}
	return n == c->count && h == c->number;
}

static bool holds(struct fsx *x, const struct txn_cond *c)
{
	struct fsx_rec *r = fsx_find(x, c->key);

	switch (c->kind) {
	case TXN_EXISTS:
		return r;
	case TXN_ABSENT:
		return !r;
	case TXN_VERSION:
		return (r ? r->version : 0) == c->number;
	case TXN_FIELD:
		return r && field_ok(r, &c->field) &&
		       memcmp(r->value.data + c->field.offset, c->value.p, c->field.width) == 0;
	case TXN_FIELD_MIN:
		return r && field_ok(r, &c->field) &&
		       le_number(r->value.data + c->field.offset, c->field.width) >= c->number;
	case TXN_RANGE_EMPTY:
		r = first_from(x, c->key);
		return !r || !below(r, c->to);
	case TXN_RANGE_SAME:
		return range_same(x, c);
	}
	return false;
}

/* ---- reads: slices hold offsets into the bytes until the end ---- */

static struct slice keep(struct txn_result *res, struct slice s)
{
	size_t at = res->bytes.len;

	buf_add_slice(&res->bytes, s);
	return (struct slice){.p = (const uint8_t *)at, .len = s.len};
}

static void fix(struct txn_result *res, struct slice *s)
{
	s->p = s->len ? res->bytes.data + (size_t)s->p : NULL;
}

static void fix_all(struct txn_result *res)
{
	fix(res, &res->current.value);
	for (uint32_t i = 0; i < res->read_count; i++) {
		fix(res, &res->reads[i].value.value);
		for (uint32_t k = 0; k < res->reads[i].item_count; k++) {
			struct txn_item *it = &res->reads[i].items[k];

			fix(res, &it->key);
			fix(res, &it->value);
			fix(res, &it->ref.value);
		}
	}
}

static struct txn_value value_of(struct txn_result *res, const struct fsx_rec *r)
{
	if (!r)
		return (struct txn_value){.status = ERR_NOT_FOUND};
	return (struct txn_value){.version = r->version,
				  .value = keep(res, buf_slice(&r->value))};
}

/* @target, if given, gets the record that it leads to, for references from there. */
static struct txn_value ref_of(struct fsx *x, struct txn_result *res, const struct txn_read *rd,
			       const struct fsx_rec *base, struct fsx_rec **target)
{
	struct fsx_rec *found = NULL;
	struct buf key = BUF_INIT;
	struct txn_value v = {.status = ERR_NOT_FOUND};
	uint64_t number;

	if (!base || (size_t)rd->offset + 8 > base->value.len)
		return v;
	number = le64_get(base->value.data + rd->offset);
	buf_add_be16(&key, (uint16_t)(number >> 48 & 0x7fff));
	buf_add_be64(&key, number);
	buf_add_u8(&key, rd->ref_kind);
	buf_add_slice(&key, rd->suffix);
	if (fsx_group_of(x, buf_slice(&key)) != fsx_group_of(x, buf_slice(&base->key)))
		v.status = ERR_ELSEWHERE;
	else
		v = value_of(res, found = fsx_find(x, buf_slice(&key)));
	if (target)
		*target = found;
	buf_release(&key);
	return v;
}

static void scan(struct fsx *x, const struct txn_read *rd, struct txn_result *res,
		 struct txn_read_result *out)
{
	size_t start = res->bytes.len, passed = 0;
	struct fsx_rec *r;

	out->value.status = 0;
	out->items = mem_must_alloc(sizeof(*out->items) * (rd->limit + 1));
	for (r = first_from(x, rd->key); r && below(r, rd->to);
	     r = RB_NEXT(fsx_tree, &x->tree, r)) {
		struct txn_item *it = &out->items[out->item_count];

		if (out->item_count == rd->limit || res->bytes.len - start > REPLY_SIZE_MAX / 2 ||
		    passed >= TXN_SCAN_PASSED_MAX) {
			out->more = true;
			return;
		}
		it->key = keep(res, buf_slice(&r->key));
		if (rd->kind != TXN_SCAN_KEYS)
			it->value = keep(res, buf_slice(&r->value));
		else
			passed += r->value.len;
		x->passed += rd->kind == TXN_SCAN_KEYS ? r->value.len : 0;
		it->version = r->version;
		it->ref.status = ERR_NOT_FOUND;
		if (rd->kind == TXN_SCAN_REF)
			it->ref = ref_of(x, res, rd, r, NULL);
		out->item_count++;
	}
}

static void do_reads(struct fsx *x, const struct txn_mini *m, struct txn_result *res)
{
	struct fsx_rec **recs = mem_must_alloc(sizeof(struct fsx_rec *) * (m->read_count + 1));

	for (uint32_t i = 0; i < m->read_count; i++) {
		const struct txn_read *rd = &m->reads[i];

		if (rd->kind == TXN_GET) {
			recs[i] = fsx_find(x, rd->key);
			res->reads[i].value = value_of(res, recs[i]);
		} else if (rd->kind == TXN_GET_REF) {
			CHECK(rd->from < i);
			res->reads[i].value = ref_of(x, res, rd, recs[rd->from], &recs[i]);
		} else {
			scan(x, rd, res, &res->reads[i]);
		}
	}
	mem_free(recs);
}

/* ---- mutations, with undo ---- */

struct undo {
	struct buf key, value;
	uint64_t version;
	bool present;
	struct undo *next;
};

static void remember(struct fsx *x, struct undo **u, struct slice key)
{
	struct fsx_rec *r = fsx_find(x, key);
	struct undo *n = mem_must_alloc(sizeof(*n));

	buf_add_slice(&n->key, key);
	if (r) {
		buf_add_slice(&n->value, buf_slice(&r->value));
		n->version = r->version;
		n->present = true;
	}
	n->next = *u;
	*u = n;
}

static void undo_all(struct fsx *x, struct undo *u, bool back)
{
	while (u) {
		struct undo *next = u->next;

		if (back && u->present) {
			fsx_put(x, buf_slice(&u->key), buf_slice(&u->value));
			fsx_find(x, buf_slice(&u->key))->version = u->version;
		} else if (back) {
			fsx_delete(x, buf_slice(&u->key));
		}
		buf_release(&u->key);
		buf_release(&u->value);
		mem_free(u);
		u = next;
	}
}

static void delete_range(struct fsx *x, const struct txn_mut *mu, struct undo **u, uint64_t *number)
{
	struct fsx_rec *r = first_from(x, mu->key);

	while (r && below(r, mu->to) && *number < TXN_SCAN_ITEMS_MAX) {
		struct fsx_rec *next = RB_NEXT(fsx_tree, &x->tree, r);

		remember(x, u, buf_slice(&r->key));
		RB_REMOVE(fsx_tree, &x->tree, r);
		fsx_rec_free(r);
		r = next;
		(*number)++;
	}
}

static void write_at(struct buf *v, uint64_t at, struct slice s, bool or)
{
	if (v->len < at + s.len)
		buf_resize(v, at + s.len);
	for (size_t i = 0; i < s.len; i++)
		v->data[at + i] = or ? v->data[at + i] | s.p[i] : s.p[i];
}

/* There is one clock of all groups here, and an automatic time is never beyond it. */
static uint64_t touched(uint64_t at, uint64_t clock, uint64_t old)
{
	bool by_hand = old > clock;

	return by_hand || at > old ? at : old;
}

static int field_mut(struct fsx *x, const struct txn_mut *mu, struct fsx_rec *r, uint64_t stamp,
		     uint64_t *number)
{
	uint64_t old, operand = mu->now ? stamp : mu->number;
	uint8_t b[8];

	if (!r)
		return ERR_ABSENT_RECORD;
	if (!field_ok(r, &mu->field))
		return ERR_BAD_FIELD;
	r->version = x->version;
	if (mu->kind == TXN_SET && !mu->now) {
		CHECK(mu->value.len == mu->field.width);
		memcpy(r->value.data + mu->field.offset, mu->value.p, mu->value.len);
		return 0;
	}
	old = le_number(r->value.data + mu->field.offset, mu->field.width);
	if (mu->kind == TXN_ADD)
		operand += old;
	else if (mu->kind == TXN_TOUCH)
		operand = touched(mu->number < stamp ? mu->number : stamp, x->stamp, old);
	else if (mu->kind == TXN_MAX && old > operand)
		operand = old;
	le64_put(b, operand);
	memcpy(r->value.data + mu->field.offset, b, mu->field.width);
	if (mu->want_result)
		*number = operand;
	return 0;
}

static int mutate(struct fsx *x, const struct txn_mut *mu, uint64_t stamp, struct undo **u,
		  uint64_t *number)
{
	struct fsx_rec *r;

	if (mu->kind == TXN_DELETE_RANGE) {
		delete_range(x, mu, u, number);
		return 0;
	}
	remember(x, u, mu->key);
	r = fsx_find(x, mu->key);
	switch (mu->kind) {
	case TXN_PUT:
		fsx_put(x, mu->key, mu->value);
		return 0;
	case TXN_DELETE:
		fsx_delete(x, mu->key);
		return 0;
	case TXN_PATCH:
	case TXN_OR:
		if (!r) {
			fsx_put(x, mu->key, (struct slice){0});
			r = fsx_find(x, mu->key);
		}
		write_at(&r->value, mu->kind == TXN_OR ? 0 : mu->number, mu->value,
			 mu->kind == TXN_OR);
		r->version = x->version;
		return 0;
	case TXN_CUT:
		if (r && r->value.len > mu->number) {
			buf_resize(&r->value, mu->number);
			r->version = x->version;
		}
		return 0;
	default:
		return field_mut(x, mu, r, stamp, number);
	}
}

static void do_mutations(struct fsx *x, const struct txn_mini *m, struct txn_result *res)
{
	struct undo *u = NULL;
	uint64_t stamp;
	int err = 0;

	x->version++;
	x->stamp = x->now_ns > x->stamp ? x->now_ns : x->stamp + 1;
	stamp = x->stamp - x->lag_ns;
	for (uint32_t i = 0; i < m->mut_count && !err; i++) {
		err = mutate(x, &m->muts[i], stamp, &u, &res->numbers[i]);
		if (err)
			res->failed = i;
	}
	undo_all(x, u, err != 0);
	res->status = err;
	res->stamp = err ? 0 : stamp;
}

/* ---- all of it ---- */

int fsx_run_mini(struct fsx *x, const struct txn_mini *m, struct txn_result *res)
{
	for (uint32_t i = 0; i < m->cond_count; i++) {
		if (holds(x, &m->conds[i]))
			continue;
		res->failed = i;
		res->current = value_of(res, fsx_find(x, m->conds[i].key));
		fix_all(res);
		return res->status = ERR_CONDITION;
	}
	do_reads(x, m, res);
	if (m->mut_count > 0)
		do_mutations(x, m, res);
	fix_all(res);
	return res->status;
}
