/* All locks of the store, with a path of each inode: for people. Two scans of all keys but file data,
 * the second one, for the names, only when there are locks. */
#include "fs/lock_internal.h"

#define LIST_PAGE 1024u
#define DEPTH_MAX 1024u

struct entry {
	fs_ino ino;
	struct fs_lock lock;
	bool waits;
};

struct place { /* where an inode has a name */
	fs_ino ino, dir;
	char name[FS_NAME_MAX + 1];
	bool found;
	UT_hash_handle hh;
};

struct list {
	struct fs *fs;
	struct entry *v; /* owned */
	uint32_t count, cap;
	struct place *places; /* by ino */
};

typedef int item_fn(struct list *l, const struct fs_key_parts *p, const struct txn_item *it);

/* ---- scans ---- */

static int scan_page(struct list *l, struct fs_op *op, struct fs_key *at, const struct fs_key *to,
		     item_fn *fn)
{
	const struct txn_read_result *r;
	struct fs_key_parts p;
	struct fs_key end;
	int err;

	fs__range_piece(l->fs, at, to, &end);
	fs__op_reset(op);
	txn_scan(&op->m, fs__key_slice(at), fs__key_slice(&end), LIST_PAGE);
	err = fs__op_read(op);
	if (err == ERR_ELSEWHERE)
		return fs__op_conflict(op);
	if (err)
		return err;
	op->conflicts = 0;
	r = &op->r.reads[0];
	for (uint32_t i = 0; !err && i < r->item_count; i++)
		if (fs__key_parse(r->items[i].key, &p))
			err = fn(l, &p, &r->items[i]);
	if (r->more && r->item_count > 0)
		fs__key_behind(at, r->items[r->item_count - 1].key, true);
	else
		*at = end;
	return err;
}

static int scan(struct list *l, item_fn *fn)
{
	struct fs_key at = {.len = 2}, to = {.len = 2};
	struct fs_op op;
	int err = 0;

	to.b[0] = FS_PLACE_COUNT >> 8;
	fs__op_begin(&op, l->fs);
	while (!err && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0)
		err = fiber_interrupted() ? ERR_INTERRUPTED : scan_page(l, &op, &at, &to, fn);
	fs__op_end(&op);
	return err;
}

/* ---- what the scans look for ---- */

static int add(struct list *l, fs_ino ino, const struct fs_lock *lock, bool waits)
{
	if (l->count == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 64;
		struct entry *v = mem_try_realloc(l->v, sizeof(*v) * cap);

		if (!v)
			return ERR_NOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = (struct entry){.ino = ino, .lock = *lock, .waits = waits};
	return 0;
}

static struct place *place_of(struct list *l, fs_ino ino)
{
	struct place *p;

	HASH_FIND(hh, l->places, &ino, sizeof(ino), p);
	return p;
}

static int take_lock(struct list *l, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct lock_table t;
	struct place *where;
	int err;

	if (p->kind != FS_KIND_LOCK)
		return 0;
	lock_table_init(&t);
	err = lock_table_decode(it->value, &t);
	for (uint32_t i = 0; !err && i < t.held.count; i++)
		err = t.held.v[i].kind == FS_LOCK_DELEGATION
			      ? 0
			      : add(l, p->number, &t.held.v[i], false);
	for (uint32_t i = 0; !err && i < t.waiters.count; i++)
		err = add(l, p->number, &t.waiters.v[i], true);
	lock_table_release(&t);
	if (!err && !place_of(l, p->number)) {
		where = mem_must_alloc(sizeof(*where));
		where->ino = p->number;
		HASH_ADD(hh, l->places, ino, sizeof(where->ino), where);
	}
	return err == ERR_CORRUPT ? 0 : err; /* for fsck to tell */
}

static int take_name(struct list *l, const struct fs_key_parts *p, const struct txn_item *it)
{
	struct fs_dentry d;
	struct place *where;
	size_t n = p->rest.len - 8;

	if (p->kind != FS_KIND_DENTRY || p->rest.len <= 8 || n > FS_NAME_MAX ||
	    fs__dentry_decode(it->value, &d))
		return 0;
	where = place_of(l, d.ino);
	if (!where || where->found)
		return 0;
	where->found = true;
	where->dir = p->number;
	memcpy(where->name, p->rest.p + 8, n);
	where->name[n] = '\0';
	return 0;
}

/* ---- paths ---- */

static void put_before(struct buf *path, struct slice name)
{
	struct buf longer = BUF_INIT;

	buf_add(&longer, "/", 1);
	buf_add_slice(&longer, name);
	buf_add_slice(&longer, buf_slice(path));
	buf_release(path);
	*path = longer;
}

/* The name of a directory in its parent, put before the path. ERR_NOT_FOUND: it was moved meanwhile. */
static int up(struct fs *fs, fs_ino *dir, struct buf *path)
{
	struct fs_key from, to;
	struct fs_inode rec;
	struct fs_op op;
	int err = fs__inode_get(fs, *dir, &rec);
	bool found = false;

	if (err)
		return err;
	fs__op_begin(&op, fs);
	fs__range_hash(&from, &to, rec.parent, rec.name_hash);
	txn_scan(&op.m, fs__key_slice(&from), fs__key_slice(&to), FS_TIES_MAX);
	err = fs__op_read(&op);
	for (uint32_t i = 0; !err && !found && i < op.r.reads[0].item_count; i++) {
		const struct txn_item *it = &op.r.reads[0].items[i];
		struct fs_dentry d;

		found = !fs__dentry_decode(it->value, &d) && d.ino == *dir;
		if (found)
			put_before(path, slice_of(it->key.p + FS_DENTRY_HEAD,
						  it->key.len - FS_DENTRY_HEAD));
	}
	fs__op_end(&op);
	*dir = rec.parent;
	return err ? err : found ? 0 : ERR_NOT_FOUND;
}

static int path_of(struct list *l, fs_ino ino, struct buf *path)
{
	const struct place *where = place_of(l, ino);
	fs_ino dir;
	int err = 0;

	buf_release(path);
	if (ino == FS_ROOT_INO) {
		buf_add(path, "/", 1);
	} else if (where && where->found) {
		put_before(path, slice_str(where->name));
		dir = where->dir;
		for (unsigned i = 0; !err && dir != FS_ROOT_INO && i < DEPTH_MAX; i++)
			err = up(l->fs, &dir, path);
	}
	if (err == ERR_NOT_FOUND || err == ERR_STALE) { /* not there any more */
		buf_release(path);
		err = 0;
	}
	buf_add_u8(path, 0);
	return err ? err : buf_ok(path) ? 0 : ERR_NOMEM;
}

int fs_locks_list(struct fs *fs, fs_lock_fn *fn, void *ctx)
{
	struct list l = {.fs = fs};
	struct buf path = BUF_INIT;
	struct place *p, *next;
	bool go_on = true;
	int err = scan(&l, take_lock);

	if (!err && l.count > 0)
		err = scan(&l, take_name);
	for (uint32_t i = 0; !err && go_on && i < l.count; i++) {
		struct fs_lock_item it = {
			.ino = l.v[i].ino, .lock = &l.v[i].lock, .waits = l.v[i].waits};

		if (i == 0 || l.v[i - 1].ino != it.ino)
			err = path_of(&l, it.ino, &path);
		it.path = (const char *)path.data;
		go_on = !err && fn(ctx, &it);
	}
	HASH_ITER(hh, l.places, p, next) {
		HASH_DEL(l.places, p);
		mem_free(p);
	}
	mem_free(l.v);
	buf_release(&path);
	return err;
}
