/* The key-value calls: whole files by path. */
#include "fs/kv_items.h"

/* ---- get ---- */

/* Too large for one reply: piece by piece, and all of it again when it changes meanwhile. */
static int read_pieces(struct kv_set *s, struct kv_one *one, struct buf *value)
{
	struct fs_inode rec = one->rec;
	uint64_t size = rec.size, version = rec.data_version;
	int err = size > KV_VALUE_MAX ? ERR_TOO_BIG : buf_reserve(value, (size_t)size);

	for (uint64_t at = 0; !err && at < size;) {
		uint64_t n = size - at < WRITE_SIZE_MAX ? size - at : WRITE_SIZE_MAX;

		err = fs__read_stripe(s->fs, one->ino, &rec, at, (size_t)n, value);
		if (!err && rec.data_version != version)
			err = ERR_ABORTED;
		at += n;
	}
	return err;
}

/* ... and at the end the name must still lead to that file. */
static int get_big(struct kv_set *s, struct kv_one *one, struct buf *value)
{
	uint64_t version = one->rec.data_version;
	fs_ino ino = one->ino;
	int err;

	buf_reset(value);
	err = read_pieces(s, one, value);
	if (err)
		return err == ERR_STALE ? ERR_ABORTED : err;
	err = fs__kv_look(s);
	if (err)
		return err;
	return !one->missing && one->n.present && one->ino == ino &&
			       one->rec.data_version == version
		       ? 0
		       : ERR_ABORTED;
}

static int judge_get(const struct kv_one *one)
{
	if (one->missing)
		return ERR_NOT_FOUND;
	if (one->w.name.len == 0)
		return ERR_IS_DIR;
	if (!one->n.present)
		return ERR_NOT_FOUND;
	if (one->rec.type == FS_T_DIR)
		return ERR_IS_DIR;
	if (one->w.want_dir)
		return ERR_NOT_DIR;
	return one->rec.type == FS_T_FILE ? 0 : ERR_INVAL;
}

static int get_once(struct kv_set *s, struct buf *value)
{
	struct kv_one *one = &s->ones[0];
	int err = fs__kv_place(s);

	if (!err)
		err = fs__kv_look(s);
	if (!err)
		err = judge_get(one);
	if (err)
		return err;
	return one->big ? get_big(s, one, value) : buf_set(value, buf_slice(&one->value));
}

int fs_kv_get(struct fs *fs, struct slice path, struct buf *value, uint64_t *version)
{
	struct kv_set s;
	struct fs_op waits; /* never executed: counts and waits between tries */
	int err = fs__kv_begin(&s, fs, 1);

	if (err)
		return err;
	s.contents = true;
	s.ones[0].path = path;
	fs__op_begin(&waits, fs);
	for (;;) {
		err = get_once(&s, value);
		if (err != ERR_STALE && err != ERR_ABORTED)
			break;
		err = fs__op_conflict(&waits);
		if (err)
			break;
	}
	fs__op_end(&waits);
	if (!err && version)
		*version = s.ones[0].version;
	fs__kv_end(&s);
	return err;
}

/* Values go into one buffer, which moves while it grows: slices last. */
static int give_out(struct kv_set *s, struct fs_kv_item *items, struct buf *store)
{
	size_t at = 0;

	buf_reset(store);
	for (uint32_t i = 0; i < s->count; i++) {
		int err = judge_get(&s->ones[i]);

		if (err && err != ERR_NOT_FOUND)
			return err;
		if (!err)
			buf_add_slice(store, buf_slice(&s->ones[i].value));
	}
	if (!buf_ok(store))
		return ERR_NOMEM;
	for (uint32_t i = 0; i < s->count; i++) {
		const struct kv_one *one = &s->ones[i];

		items[i].absent = judge_get(one) != 0;
		items[i].version = items[i].absent ? 0 : one->version;
		items[i].value = (struct slice){0};
		if (items[i].absent)
			continue;
		items[i].value = slice_of(store->data + at, one->value.len);
		at += one->value.len;
	}
	return 0;
}

int fs_kv_mget(struct fs *fs, struct fs_kv_item *items, uint32_t count, struct buf *store)
{
	struct kv_set s;
	int err = fs__kv_begin(&s, fs, count);

	if (err)
		return err;
	s.contents = true;
	for (uint32_t i = 0; i < count; i++)
		s.ones[i].path = items[i].path;
	err = ERR_STALE;
	for (unsigned tries = 0; err == ERR_STALE && tries < FS_CONFLICTS_MAX; tries++) {
		err = fs__kv_place(&s);
		if (!err)
			err = fs__kv_look(&s);
	}
	if (!err && count == 1 && s.ones[0].big)
		err = ERR_TOO_BIG;
	if (!err)
		err = give_out(&s, items, store);
	fs__kv_end(&s);
	return err;
}

/* ---- put, del, cas, swap ---- */

int fs_kv_put(struct fs *fs, const struct fs_cred *cred, struct slice path, struct slice value,
	      bool make_parents)
{
	struct kv_set s;
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err && value.len > KV_VALUE_MAX)
		err = ERR_TOO_BIG;
	if (!err)
		err = fs__kv_begin(&s, fs, 1);
	if (err)
		return err;
	s.cred = cred;
	s.make_parents = make_parents;
	s.ones[0].act = KV_PUT;
	s.ones[0].path = path;
	s.ones[0].data = value;
	err = fs__kv_change(&s);
	fs__kv_end(&s);
	return err;
}

int fs_kv_del(struct fs *fs, struct slice path)
{
	int err = ERR_STALE;

	for (unsigned tries = 0; err == ERR_STALE && tries < FS_CONFLICTS_MAX; tries++) {
		struct fs_walk w;

		err = fs__walk_begin(&w, fs, path, NULL);
		if (!err)
			err = fs__walk_on(&w);
		if (!err && (w.name.len == 0 || w.want_dir))
			err = ERR_IS_DIR;
		if (!err)
			err = fs_unlink(fs, w.dir, w.name);
		fs__walk_end(&w);
	}
	return err;
}

int fs_kv_mput(struct fs *fs, const struct fs_cred *cred, const struct fs_kv_item *items,
	       uint32_t count, bool make_parents, uint32_t *failed)
{
	struct kv_set s;
	uint64_t sum = 0;
	int err = FS_READ_ONLY_CHECK(fs);

	for (uint32_t i = 0; i < count; i++)
		sum += items[i].absent ? 0 : items[i].value.len;
	if (!err && sum > KV_TOGETHER_MAX)
		err = ERR_TOO_BIG;
	if (!err)
		err = fs__kv_begin(&s, fs, count);
	if (err)
		return err;
	s.cred = cred;
	s.make_parents = make_parents;
	for (uint32_t i = 0; i < count; i++) {
		s.ones[i].act = items[i].absent ? KV_DELETE : KV_PUT;
		s.ones[i].path = items[i].path;
		s.ones[i].data = items[i].value;
	}
	err = count ? fs__kv_change(&s) : 0;
	if (err && failed && s.failed < count)
		*failed = s.failed;
	fs__kv_end(&s);
	return err;
}

int fs_kv_cas(struct fs *fs, const struct fs_cred *cred, struct slice path, bool expect_absent,
	      struct slice expected, struct slice value, struct buf *current)
{
	struct kv_set s;
	int err = FS_READ_ONLY_CHECK(fs);

	if (!err && (value.len > KV_VALUE_MAX || expected.len > KV_TOGETHER_MAX))
		err = ERR_TOO_BIG;
	if (!err)
		err = fs__kv_begin(&s, fs, 1);
	if (err)
		return err;
	s.cred = cred;
	s.contents = true;
	s.make_parents = expect_absent;
	s.ones[0].act = KV_PUT;
	s.ones[0].path = path;
	s.ones[0].data = value;
	s.ones[0].expect = expect_absent ? KV_EXPECT_ABSENT : KV_EXPECT_VALUE;
	s.ones[0].expected = expected;
	err = fs__kv_change(&s);
	if (err == ERR_CONDITION && s.ones[0].big)
		err = ERR_TOO_BIG; /* it is another value, but does not fit */
	if (err == ERR_CONDITION && current && buf_set(current, buf_slice(&s.ones[0].value)))
		err = ERR_NOMEM;
	fs__kv_end(&s);
	return err;
}

static int swap_once(struct fs *fs, struct fs_walk *a, struct fs_walk *b)
{
	int err = fs__walk_on(a);

	if (!err)
		err = fs__walk_on(b);
	if (!err && (a->name.len == 0 || b->name.len == 0))
		err = ERR_BUSY; /* a root, or "..": no name to exchange */
	return err ? err : fs_rename(fs, a->dir, a->name, b->dir, b->name, FS_RENAME_EXCHANGE);
}

int fs_kv_swap(struct fs *fs, struct slice a, struct slice b)
{
	int err = ERR_STALE;

	for (unsigned tries = 0; err == ERR_STALE && tries < FS_CONFLICTS_MAX; tries++) {
		struct fs_walk wa, wb;
		int err_b;

		err = fs__walk_begin(&wa, fs, a, NULL);
		err_b = fs__walk_begin(&wb, fs, b, NULL);
		if (!err)
			err = err_b;
		if (!err)
			err = swap_once(fs, &wa, &wb);
		fs__walk_end(&wa);
		fs__walk_end(&wb);
	}
	return err;
}
