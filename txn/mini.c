/* Building mini-transactions. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "txn/arena.h"

void txn_mini_init(struct txn_mini *m)
{
	*m = (struct txn_mini){0};
}

void txn_mini_reset(struct txn_mini *m)
{
	m->cond_count = m->read_count = m->mut_count = 0;
	m->err = 0;
	txn__arena_reset(&m->arena);
}

void txn_mini_release(struct txn_mini *m)
{
	mem_free(m->conds);
	mem_free(m->reads);
	mem_free(m->muts);
	txn__arena_release(&m->arena);
	txn_mini_init(m);
}

static void fail(struct txn_mini *m, int err)
{
	CHECK(err < 0);
	if (!m->err)
		m->err = err;
}

static struct slice copy(struct txn_mini *m, struct slice s)
{
	struct slice c = txn__arena_dup(&m->arena, s);

	if (s.len && !c.p)
		fail(m, ERR_NOMEM);
	return c;
}

static struct slice copy_key(struct txn_mini *m, struct slice key)
{
	if (key.len == 0)
		fail(m, ERR_INVAL);
	if (key.len > KEY_SIZE_MAX)
		fail(m, ERR_NAME_TOO_LONG);
	return copy(m, key);
}

static struct slice copy_value(struct txn_mini *m, struct slice value)
{
	if (value.len > VALUE_SIZE_MAX)
		fail(m, ERR_TOO_BIG);
	return copy(m, value);
}

/* The end of a range; an empty one means the end of the key space, which has a name of its own, so
 * that below here a range always has two ends. */
static struct slice copy_end(struct txn_mini *m, struct slice to)
{
	static uint8_t last[KEY_SIZE_MAX];

	if (to.len > KEY_SIZE_MAX)
		fail(m, ERR_NAME_TOO_LONG);
	if (to.len)
		return copy(m, to);
	memset(last, 0xff, sizeof(last));
	return slice_of(last, sizeof(last));
}

/* Room for one more item of @size in *@items; false when there is none. */
static bool grow(struct txn_mini *m, void **items, uint32_t count, uint32_t *cap, uint32_t max,
		 size_t size)
{
	uint32_t want = *cap ? *cap * 2 : 8;
	void *p;

	if (count < *cap)
		return true;
	if (count >= max) {
		fail(m, ERR_TOO_BIG);
		return false;
	}
	p = mem_try_realloc(*items, want * size);
	if (!p) {
		fail(m, ERR_NOMEM);
		return false;
	}
	*items = p;
	*cap = want;
	return true;
}

static uint32_t add_cond(struct txn_mini *m, struct txn_cond c)
{
	void *items = m->conds;
	bool ok = grow(m, &items, m->cond_count, &m->cond_cap, TXN_CONDS_MAX, sizeof(c));

	m->conds = items;
	if (!ok)
		return UINT32_MAX;
	m->conds[m->cond_count] = c;
	return m->cond_count++;
}

static uint32_t add_read(struct txn_mini *m, struct txn_read r)
{
	void *items = m->reads;
	bool ok = grow(m, &items, m->read_count, &m->read_cap, TXN_READS_MAX, sizeof(r));

	m->reads = items;
	if (!ok)
		return UINT32_MAX;
	m->reads[m->read_count] = r;
	return m->read_count++;
}

static uint32_t add_mut(struct txn_mini *m, struct txn_mut u)
{
	void *items = m->muts;
	bool ok = grow(m, &items, m->mut_count, &m->mut_cap, TXN_MUTS_MAX, sizeof(u));

	m->muts = items;
	if (!ok)
		return UINT32_MAX;
	m->muts[m->mut_count] = u;
	return m->mut_count++;
}

static void check_number_field(struct txn_mini *m, struct txn_field f)
{
	if (f.width != 1 && f.width != 2 && f.width != 4 && f.width != 8)
		fail(m, ERR_INVAL);
}

static struct slice number_bytes(struct txn_mini *m, struct txn_field f, uint64_t v, uint8_t out[8])
{
	check_number_field(m, f);
	le64_put(out, v);
	return slice_of(out, f.width <= 8 ? f.width : 8);
}

/* ---- conditions ---- */

uint32_t txn_if_exists(struct txn_mini *m, struct slice key)
{
	return add_cond(m, (struct txn_cond){.kind = TXN_EXISTS, .key = copy_key(m, key)});
}

uint32_t txn_if_absent(struct txn_mini *m, struct slice key)
{
	return add_cond(m, (struct txn_cond){.kind = TXN_ABSENT, .key = copy_key(m, key)});
}

uint32_t txn_if_version(struct txn_mini *m, struct slice key, uint64_t version)
{
	return add_cond(m, (struct txn_cond){.kind = TXN_VERSION,
					     .key = copy_key(m, key),
					     .number = version});
}

uint32_t txn_if_field(struct txn_mini *m, struct slice key, struct txn_field f, struct slice value)
{
	if (value.len != f.width)
		fail(m, ERR_INVAL);
	return add_cond(m, (struct txn_cond){.kind = TXN_FIELD,
					     .key = copy_key(m, key),
					     .field = f,
					     .value = copy_value(m, value)});
}

uint32_t txn_if_field_u64(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t value)
{
	uint8_t bytes[8];

	return txn_if_field(m, key, f, number_bytes(m, f, value, bytes));
}

uint32_t txn_if_field_min(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t min)
{
	check_number_field(m, f);
	return add_cond(m, (struct txn_cond){.kind = TXN_FIELD_MIN,
					     .key = copy_key(m, key),
					     .field = f,
					     .number = min});
}

uint32_t txn_if_range_empty(struct txn_mini *m, struct slice from, struct slice to)
{
	return add_cond(m, (struct txn_cond){.kind = TXN_RANGE_EMPTY,
					     .key = copy_key(m, from),
					     .to = copy_end(m, to)});
}

uint32_t txn_if_range_same(struct txn_mini *m, struct slice from, struct slice to, uint32_t count,
			   uint64_t hash)
{
	return add_cond(m, (struct txn_cond){.kind = TXN_RANGE_SAME,
					     .key = copy_key(m, from),
					     .to = copy_end(m, to),
					     .count = count,
					     .number = hash});
}

/* ---- reads ---- */

static void check_suffix(struct txn_mini *m, struct slice suffix)
{
	if (suffix.len > KEY_SIZE_MAX - TXN_KEY_HEAD)
		fail(m, ERR_NAME_TOO_LONG);
}

uint32_t txn_get(struct txn_mini *m, struct slice key)
{
	return add_read(m, (struct txn_read){.kind = TXN_GET, .key = copy_key(m, key)});
}

uint32_t txn_get_ref(struct txn_mini *m, uint32_t from, uint16_t offset, uint8_t kind,
		     struct slice suffix)
{
	check_suffix(m, suffix);
	if (from >= m->read_count || (m->reads[from].kind != TXN_GET &&
				      m->reads[from].kind != TXN_GET_REF))
		fail(m, ERR_INVAL);
	return add_read(m, (struct txn_read){.kind = TXN_GET_REF,
					     .from = from,
					     .offset = offset,
					     .ref_kind = kind,
					     .suffix = copy(m, suffix)});
}

static uint32_t add_scan(struct txn_mini *m, enum txn_read_kind kind, struct slice from,
			 struct slice to, uint32_t limit)
{
	return add_read(m, (struct txn_read){.kind = kind,
					     .key = copy_key(m, from),
					     .to = copy_end(m, to),
					     .limit = limit});
}

uint32_t txn_scan(struct txn_mini *m, struct slice from, struct slice to, uint32_t limit)
{
	return add_scan(m, TXN_SCAN, from, to, limit);
}

uint32_t txn_scan_keys(struct txn_mini *m, struct slice from, struct slice to, uint32_t limit)
{
	return add_scan(m, TXN_SCAN_KEYS, from, to, limit);
}

uint32_t txn_scan_ref(struct txn_mini *m, struct slice from, struct slice to, uint32_t limit,
		      uint16_t offset, uint8_t kind, struct slice suffix)
{
	check_suffix(m, suffix);
	return add_read(m, (struct txn_read){.kind = TXN_SCAN_REF,
					     .key = copy_key(m, from),
					     .to = copy_end(m, to),
					     .limit = limit,
					     .offset = offset,
					     .ref_kind = kind,
					     .suffix = copy(m, suffix)});
}

/* ---- mutations ---- */

uint32_t txn_put(struct txn_mini *m, struct slice key, struct slice value)
{
	return add_mut(m, (struct txn_mut){.kind = TXN_PUT,
					   .key = copy_key(m, key),
					   .value = copy_value(m, value)});
}

uint32_t txn_put_ref(struct txn_mini *m, struct slice key, struct slice value)
{
	if (value.len > VALUE_SIZE_MAX)
		fail(m, ERR_TOO_BIG);
	return add_mut(m, (struct txn_mut){.kind = TXN_PUT,
					   .key = copy_key(m, key),
					   .value = value});
}

uint32_t txn_delete(struct txn_mini *m, struct slice key)
{
	return add_mut(m, (struct txn_mut){.kind = TXN_DELETE, .key = copy_key(m, key)});
}

uint32_t txn_delete_range(struct txn_mini *m, struct slice from, struct slice to)
{
	return add_mut(m, (struct txn_mut){.kind = TXN_DELETE_RANGE,
					   .key = copy_key(m, from),
					   .to = copy_end(m, to)});
}

static uint32_t add_patch(struct txn_mini *m, struct slice key, uint64_t offset, struct slice value)
{
	if (value.len > VALUE_SIZE_MAX || offset > VALUE_SIZE_MAX - value.len)
		fail(m, ERR_TOO_BIG);
	return add_mut(m, (struct txn_mut){.kind = TXN_PATCH,
					   .key = copy_key(m, key),
					   .number = offset,
					   .value = value});
}

uint32_t txn_patch(struct txn_mini *m, struct slice key, uint64_t offset, struct slice value)
{
	return add_patch(m, key, offset, copy_value(m, value));
}

uint32_t txn_patch_ref(struct txn_mini *m, struct slice key, uint64_t offset, struct slice value)
{
	return add_patch(m, key, offset, value);
}

uint32_t txn_cut(struct txn_mini *m, struct slice key, uint64_t size)
{
	return add_mut(m, (struct txn_mut){.kind = TXN_CUT,
					   .key = copy_key(m, key),
					   .number = size});
}

uint32_t txn_or(struct txn_mini *m, struct slice key, struct slice bits)
{
	return add_mut(m, (struct txn_mut){.kind = TXN_OR,
					   .key = copy_key(m, key),
					   .value = copy_value(m, bits)});
}

uint32_t txn_add(struct txn_mini *m, struct slice key, struct txn_field f, int64_t n,
		 bool want_result)
{
	check_number_field(m, f);
	return add_mut(m, (struct txn_mut){.kind = TXN_ADD,
					   .key = copy_key(m, key),
					   .field = f,
					   .number = (uint64_t)n,
					   .want_result = want_result});
}

uint32_t txn_max(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t n)
{
	check_number_field(m, f);
	return add_mut(m, (struct txn_mut){.kind = TXN_MAX,
					   .key = copy_key(m, key),
					   .field = f,
					   .number = n});
}

uint32_t txn_touch_at(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t ns)
{
	if (f.width != 8)
		fail(m, ERR_INVAL);
	return add_mut(m, (struct txn_mut){.kind = TXN_TOUCH,
					   .key = copy_key(m, key),
					   .field = f,
					   .number = ns});
}

uint32_t txn_touch(struct txn_mini *m, struct slice key, struct txn_field f)
{
	return txn_touch_at(m, key, f, UINT64_MAX);
}

uint32_t txn_set(struct txn_mini *m, struct slice key, struct txn_field f, struct slice value)
{
	if (value.len != f.width || f.width == 0)
		fail(m, ERR_INVAL);
	return add_mut(m, (struct txn_mut){.kind = TXN_SET,
					   .key = copy_key(m, key),
					   .field = f,
					   .value = copy_value(m, value)});
}

uint32_t txn_set_u64(struct txn_mini *m, struct slice key, struct txn_field f, uint64_t value)
{
	uint8_t bytes[8];

	return txn_set(m, key, f, number_bytes(m, f, value, bytes));
}

uint32_t txn_set_now(struct txn_mini *m, struct slice key, struct txn_field f)
{
	if (f.width != 8)
		fail(m, ERR_INVAL);
	return add_mut(m, (struct txn_mut){.kind = TXN_SET,
					   .key = copy_key(m, key),
					   .field = f,
					   .now = true});
}
