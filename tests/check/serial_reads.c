#include "tests/check/serial_reads.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/check/order.h"

void serial_add_txn(const struct serial *s, uint32_t txn, struct verdict *v)
{
	char text[1024];

	verdict_add(v, "%s\n", history_op_text(&s->h->ops[txn], text, sizeof(text)));
}

static void wrong(const struct serial *s, const char *name, uint32_t txn, struct verdict *v)
{
	verdict_set(v, VERDICT_WRONG, name);
	verdict_add(v, "transactions: %s\n  ", name);
	serial_add_txn(s, txn, v);
}

/* ---- appends ---- */

static int append_cmp(const void *a, const void *b)
{
	const struct serial_append *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->txn < y->txn ? -1 : x->txn > y->txn;
}

static void gather_appends(struct serial *s, uint32_t txn)
{
	const struct history_op *op = &s->h->ops[txn];

	for (size_t i = 0; i < op->mop_count; i++) {
		struct serial_append a = {.key = op->mops[i].key,
					  .value = op->mops[i].value,
					  .txn = txn,
					  .last = true,
					  .position = SERIAL_NONE};

		if (!op->mops[i].append)
			continue;
		for (size_t j = 0; j < op->mop_count; j++) {
			if (!op->mops[j].append || op->mops[j].key != a.key)
				continue;
			a.nth += j < i;
			a.last &= j <= i;
		}
		s->appends[s->append_count++] = a;
	}
}

static void check_unique(const struct serial *s, struct verdict *v)
{
	for (size_t i = 1; i < s->append_count; i++) {
		const struct serial_append *a = &s->appends[i - 1], *b = &s->appends[i];

		if (a->key != b->key || a->value != b->value)
			continue;
		verdict_set(v, VERDICT_UNFIT, "unfit");
		verdict_add(v, "transactions: the history appends %" PRIu64 " twice to key %" PRIu64
			       "\n  ", a->value, a->key);
		serial_add_txn(s, a->txn, v);
		verdict_add(v, "  ");
		serial_add_txn(s, b->txn, v);
		return;
	}
}

/* ---- one transaction alone ---- */

static bool same_list(const uint64_t *a, const uint64_t *b, size_t count)
{
	return count == 0 || memcmp(a, b, count * sizeof(*a)) == 0;
}

/* What the read that is step @at must end with: its transaction's appends since step @from. Returns
 * their number, or SIZE_MAX when the list ends otherwise. */
static size_t own_tail(const struct history_op *op, size_t from, size_t at)
{
	const struct history_mop *read = &op->mops[at];
	size_t count = 0;

	for (size_t i = at; i-- > from;) {
		if (!op->mops[i].append || op->mops[i].key != read->key)
			continue;
		if (count == read->count || read->list[read->count - 1 - count] != op->mops[i].value)
			return SIZE_MAX;
		count++;
	}
	return count;
}

/* The read at step @at agrees with the steps before it. *@before: elements of others at its head. */
static bool agrees(const struct history_op *op, size_t at, size_t *before)
{
	const struct history_mop *read = &op->mops[at];
	size_t own = own_tail(op, 0, at);

	if (own == SIZE_MAX)
		return false;
	*before = read->count - own;
	for (size_t i = at; i-- > 0;) {
		const struct history_mop *earlier = &op->mops[i];

		if (earlier->append || earlier->key != read->key)
			continue;
		return read->count == earlier->count + own_tail(op, i, at) &&
		       same_list(read->list, earlier->list, earlier->count);
	}
	return true;
}

static void gather_reads(struct serial *s, uint32_t txn, struct verdict *v)
{
	const struct history_op *op = &s->h->ops[txn];

	for (size_t i = 0; i < op->mop_count && v->code == VERDICT_OK; i++) {
		const struct history_mop *m = &op->mops[i];
		struct serial_read r = {m->key, txn, m->list, m->count, 0};

		if (m->append)
			continue;
		if (!agrees(op, i, &r.before)) {
			wrong(s, "internal", txn, v);
			verdict_add(v, "  step %zu, a read of key %" PRIu64
				       ", contradicts the steps before it\n", i + 1, m->key);
		}
		s->reads[s->read_count++] = r;
	}
}

static int read_cmp(const void *a, const void *b)
{
	const struct serial_read *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->txn < y->txn ? -1 : x->txn > y->txn;
}

static void gather(struct serial *s, struct verdict *v)
{
	size_t mops = 1;

	for (size_t i = 0; i < s->h->count; i++)
		mops += s->h->ops[i].mop_count;
	s->appends = mem_must_alloc(mops * sizeof(*s->appends));
	s->reads = mem_must_alloc(mops * sizeof(*s->reads));
	s->keys = mem_must_alloc(mops * sizeof(*s->keys));
	s->counts = mem_must_alloc((s->h->count + 1) * sizeof(*s->counts));
	for (size_t i = 0; i < s->h->count && v->code == VERDICT_OK; i++) {
		if (s->h->ops[i].kind != HISTORY_TXN)
			continue;
		v->checked++;
		gather_appends(s, (uint32_t)i);
		s->counts[i] = s->h->ops[i].outcome == HISTORY_OK;
		if (s->counts[i])
			gather_reads(s, (uint32_t)i, v);
	}
	qsort(s->appends, s->append_count, sizeof(*s->appends), append_cmp);
	qsort(s->reads, s->read_count, sizeof(*s->reads), read_cmp);
}

/* ---- keys ---- */

static struct serial_append *find_append(const struct serial_key *k, uint64_t value)
{
	size_t low = 0, high = k->append_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (k->appends[middle].value < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low < k->append_count && k->appends[low].value == value ? &k->appends[low] : NULL;
}

/* Points each key at its reads and appends. */
static void find_keys(struct serial *s)
{
	size_t a = 0, longest = 1;

	for (size_t from = 0, to; from < s->read_count; from = to) {
		struct serial_key *k = &s->keys[s->key_count++];

		*k = (struct serial_key){.key = s->reads[from].key, .reads = &s->reads[from]};
		k->longest = k->latest = k->reads;
		for (to = from; to < s->read_count && s->reads[to].key == k->key; to++) {
			const struct serial_read *r = &s->reads[to];

			if (r->count > k->longest->count)
				k->longest = r;
			if (s->h->ops[r->txn].invoke_ns > s->h->ops[k->latest->txn].invoke_ns)
				k->latest = r;
		}
		k->read_count = to - from;
		longest += k->longest->count;
		while (a < s->append_count && s->appends[a].key < k->key)
			a++;
		k->appends = &s->appends[a];
		while (a < s->append_count && s->appends[a].key == k->key)
			a++;
		k->append_count = (size_t)(&s->appends[a] - k->appends);
	}
	s->elements = mem_must_alloc(longest * sizeof(struct serial_append *));
}

static void check_duplicates(const struct serial *s, const struct serial_read *r, struct verdict *v)
{
	uint64_t *sorted = mem_must_dup(r->list, r->count * sizeof(*sorted));

	qsort(sorted, r->count, sizeof(*sorted), order_u64);
	for (size_t i = 1; i < r->count && v->code == VERDICT_OK; i++) {
		if (sorted[i] != sorted[i - 1])
			continue;
		wrong(s, "duplicate element", r->txn, v);
		verdict_add(v, "  key %" PRIu64 " has %" PRIu64 " twice\n", r->key, sorted[i]);
	}
	mem_free(sorted);
}

/* Each element of @r from @from on was appended, and not by one that failed. */
static void check_elements(const struct serial *s, const struct serial_key *k,
			   const struct serial_read *r, size_t from, struct verdict *v)
{
	check_duplicates(s, r, v);
	for (size_t i = from; i < r->count && v->code == VERDICT_OK; i++) {
		const struct serial_append *a = find_append(k, r->list[i]);

		if (a == NULL) {
			wrong(s, "garbage read", r->txn, v);
			verdict_add(v, "  nobody appended %" PRIu64 " to key %" PRIu64 "\n",
				    r->list[i], k->key);
		} else if (s->h->ops[a->txn].outcome == HISTORY_FAILED) {
			wrong(s, "G1a", r->txn, v);
			verdict_add(v, "  read %" PRIu64 " of key %" PRIu64
				       ", which was appended by one that failed:\n  ",
				    r->list[i], k->key);
			serial_add_txn(s, a->txn, v);
		}
	}
}

/* What others appended does not end in the middle of one of them. */
static void check_intermediate(const struct serial *s, const struct serial_key *k,
			       const struct serial_read *r, struct verdict *v)
{
	const struct serial_append *a;

	if (r->before == 0)
		return;
	a = find_append(k, r->list[r->before - 1]);
	if (a == NULL || a->last || a->txn == r->txn)
		return;
	wrong(s, "G1b", r->txn, v);
	verdict_add(v, "  read key %" PRIu64 " up to %" PRIu64
		       ", after which this one appended more to it:\n  ",
		    k->key, r->list[r->before - 1]);
	serial_add_txn(s, a->txn, v);
}

static void check_prefix(const struct serial *s, const struct serial_key *k,
			 const struct serial_read *r, struct verdict *v)
{
	size_t same = 0;

	if (same_list(r->list, k->longest->list, r->count))
		return;
	while (r->list[same] == k->longest->list[same])
		same++;
	check_elements(s, k, r, same, v);
	if (v->code != VERDICT_OK)
		return;
	wrong(s, "incompatible order", r->txn, v);
	verdict_add(v, "  element %zu of key %" PRIu64 " is %" PRIu64 " there, but %" PRIu64
		       " here:\n  ",
		    same + 1, k->key, r->list[same], k->longest->list[same]);
	serial_add_txn(s, k->longest->txn, v);
}

static void note_elements(struct serial *s, struct serial_key *k, struct serial_append **elements)
{
	k->elements = elements;
	for (size_t i = 0; i < k->longest->count; i++) {
		struct serial_append *a = find_append(k, k->longest->list[i]);

		a->position = (uint32_t)i;
		s->counts[a->txn] = true;
		elements[i] = a;
	}
}

/* The append of the same transaction to the same key before @b, which is not the first. */
static const struct serial_append *previous_own(const struct serial *s, const struct serial_key *k,
						const struct serial_append *b)
{
	const struct history_op *op = &s->h->ops[b->txn];
	uint32_t nth = 0;

	for (size_t i = 0; i < op->mop_count; i++) {
		if (!op->mops[i].append || op->mops[i].key != k->key)
			continue;
		if (++nth == b->nth)
			return find_append(k, op->mops[i].value);
	}
	return NULL;
}

/* The appends of one transaction stand in the order in which it made them, and none is left out before
 * one that was seen. (That nothing of others stands between them is the graph's business.) */
static void check_whole(const struct serial *s, const struct serial_key *k, struct verdict *v)
{
	for (size_t i = 0; i < k->longest->count && v->code == VERDICT_OK; i++) {
		const struct serial_append *b = k->elements[i], *a;

		a = b->nth > 0 ? previous_own(s, k, b) : NULL;
		if (a == NULL || a->position < b->position)
			continue;
		wrong(s, a->position == SERIAL_NONE ? "lost append" : "incompatible order", b->txn, v);
		verdict_add(v, "  of its appends to key %" PRIu64 ", %" PRIu64 " is %s %" PRIu64
			       ", as read by\n  ", k->key, a->value,
			    a->position == SERIAL_NONE ? "missing before" : "behind", b->value);
		serial_add_txn(s, k->longest->txn, v);
	}
}

static void check_lost(const struct serial *s, const struct serial_key *k, struct verdict *v)
{
	const struct history_op *reader = &s->h->ops[k->latest->txn];

	for (size_t i = 0; i < k->append_count && v->code == VERDICT_OK; i++) {
		const struct serial_append *a = &k->appends[i];

		if (a->position != SERIAL_NONE ||
		    history_done_ns(&s->h->ops[a->txn]) >= reader->invoke_ns)
			continue;
		wrong(s, "lost append", a->txn, v);
		verdict_add(v, "  its %" PRIu64 " on key %" PRIu64
			       " is in no list; one that was read later:\n  ", a->value, k->key);
		serial_add_txn(s, k->latest->txn, v);
	}
}

static void check_keys(struct serial *s, struct verdict *v)
{
	struct serial_append **elements = s->elements;

	for (size_t i = 0; i < s->key_count && v->code == VERDICT_OK; i++) {
		struct serial_key *k = &s->keys[i];

		check_elements(s, k, k->longest, 0, v);
		for (size_t j = 0; j < k->read_count && v->code == VERDICT_OK; j++)
			check_prefix(s, k, &k->reads[j], v);
		for (size_t j = 0; j < k->read_count && v->code == VERDICT_OK; j++)
			check_intermediate(s, k, &k->reads[j], v);
		if (v->code != VERDICT_OK)
			return;
		note_elements(s, k, elements);
		elements += k->longest->count;
		check_whole(s, k, v);
	}
	for (size_t i = 0; i < s->key_count && v->code == VERDICT_OK; i++)
		check_lost(s, &s->keys[i], v);
}

void serial_reads_init(struct serial *s, const struct history *h, struct verdict *v)
{
	*s = (struct serial){.h = h};
	gather(s, v);
	if (v->code == VERDICT_OK)
		check_unique(s, v);
	if (v->code != VERDICT_OK)
		return;
	find_keys(s);
	check_keys(s, v);
}

void serial_release(struct serial *s)
{
	mem_free(s->appends);
	mem_free(s->reads);
	mem_free(s->keys);
	mem_free(s->elements);
	mem_free(s->counts);
	*s = (struct serial){0};
}
