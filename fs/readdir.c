/* Listing: pages of dentries in the order of their hashes; ties in the order of their numbers. */
#include "base/bytes.h"
#include "fs/fs_internal.h"

#define PAGE_FIRST 256u /* entries of the first request; more than there can be ties */
#define PAGE_MAX   1024u
#define COOKIE_DOT    1u
#define COOKIE_DOTDOT 2u

_Static_assert(PAGE_FIRST > FS_TIES_MAX, "a page holds a whole run of ties");

struct listing {
	struct fs *fs;
	fs_ino dir;
	bool with_attr;
	fs_readdir_fn *fn;
	void *ctx;
	uint64_t cookie; /* everything up to it has been given out */
	bool stopped;
	uint32_t page;
};

static void give(struct listing *l, struct slice name, fs_ino ino, uint8_t type, uint64_t cookie,
		 const struct fs_attr *attr)
{
	struct fs_dirent d = {
		.name = name, .ino = ino, .type = type, .cookie = cookie, .attr = attr};

	if (!l->fn(l->ctx, &d))
		l->stopped = true;
	else
		l->cookie = cookie;
}

static int give_dots(struct listing *l)
{
	struct fs_inode rec;
	struct fs_attr a;
	int err = fs__inode_get(l->fs, l->dir, &rec);

	if (err)
		return err;
	if (rec.type != FS_T_DIR)
		return ERR_NOT_DIR;
	fs__atime_touch(l->fs, l->dir, &rec);
	fs__attr(l->fs, l->dir, &rec, &a);
	if (l->cookie < COOKIE_DOT)
		give(l, slice_str("."), l->dir, FS_T_DIR, COOKIE_DOT, l->with_attr ? &a : NULL);
	if (!l->stopped && l->cookie < COOKIE_DOTDOT)
		give(l, slice_str(".."), rec.parent, FS_T_DIR, COOKIE_DOTDOT, NULL);
	return 0;
}

static uint64_t hash_of(const struct txn_item *it)
{
	return it->key.len < FS_DENTRY_HEAD ? 0 : be64_get(it->key.p + FS_KEY_HEAD);
}

static int give_item(struct listing *l, const struct txn_item *it, const struct fs_dentry *d)
{
	struct slice name = slice_of(it->key.p + FS_DENTRY_HEAD, it->key.len - FS_DENTRY_HEAD);
	struct fs_inode rec;
	struct fs_attr a;
	bool have = l->with_attr && it->ref.status == 0;

	if (have && fs__inode_take(l->fs, d->ino, &it->ref, &rec))
		have = false; /* damaged: the name is still listed */
	if (have)
		fs__attr(l->fs, d->ino, &rec, &a);
	give(l, name, d->ino, d->type, hash_of(it) | d->tie, have ? &a : NULL);
	return 0;
}

/* Entries of one hash, by their ties, those behind the cookie. */
static int give_run(struct listing *l, const struct txn_item *items, uint32_t n)
{
	uint64_t hash = hash_of(items);
	struct fs_dentry d;

	for (uint64_t tie = 0; tie < FS_TIES_MAX && !l->stopped; tie++) {
		if ((hash | tie) <= l->cookie)
			continue;
		for (uint32_t i = 0; i < n && !l->stopped; i++) {
			int err = fs__dentry_decode(items[i].value, &d);

			if (!err && d.tie == tie)
				err = give_item(l, &items[i], &d);
			if (err)
				return err;
		}
		if (n == 1 && d.tie <= tie)
			break;
	}
	return 0;
}

/* Runs of a page. The last one is left for the next page when it may not be whole. */
static int give_page(struct listing *l, const struct txn_read_result *r, uint64_t *next_hash)
{
	uint32_t i = 0;

	while (i < r->item_count && !l->stopped) {
		uint64_t hash = hash_of(&r->items[i]);
		uint32_t n = 1;
		int err;

		if (hash < FS_HASH_FIRST)
			return ERR_CORRUPT;
		while (i + n < r->item_count && hash_of(&r->items[i + n]) == hash)
			n++;
		*next_hash = hash;
		if (r->more && i + n == r->item_count && i > 0)
			return 0;
		err = give_run(l, &r->items[i], n);
		if (err)
			return err;
		*next_hash = (hash | FS_TIE_MASK) + 1;
		i += n;
	}
	return 0;
}

static void add_scan(struct listing *l, struct fs_op *op, const struct fs_key *from,
		     const struct fs_key *to)
{
	if (l->with_attr)
		txn_scan_ref(&op->m, fs__key_slice(from), fs__key_slice(to), l->page, 0,
			     FS_KIND_INODE, (struct slice){0});
	else
		txn_scan(&op->m, fs__key_slice(from), fs__key_slice(to), l->page);
}

static int give_entries(struct listing *l)
{
	struct fs_key at, to, end, first;
	uint64_t hash = l->cookie & ~FS_TIE_MASK;
	struct fs_op op;
	int err = 0;

	fs__range_kind(&first, &to, l->dir, FS_KIND_DENTRY);
	fs__key_dentry(&at, l->dir, hash, (struct slice){0});
	fs__op_begin(&op, l->fs);
	while (!err && !l->stopped && slice_cmp(fs__key_slice(&at), fs__key_slice(&to)) < 0) {
		fs__range_piece(l->fs, &at, &to, &end);
		fs__op_reset(&op);
		add_scan(l, &op, &at, &end);
		err = fs__op_read(&op);
		if (err == ERR_ELSEWHERE) { /* the map has just changed */
			err = fs__op_conflict(&op);
			continue;
		}
		if (!err)
			err = give_page(l, &op.r.reads[0], &hash);
		if (!err && op.r.reads[0].more)
			fs__key_dentry(&at, l->dir, hash, (struct slice){0});
		else
			at = end;
		l->page = l->page * 2 < PAGE_MAX ? l->page * 2 : PAGE_MAX;
	}
	fs__op_end(&op);
	return err;
}

int fs_readdir(struct fs *fs, fs_ino dir, uint64_t cookie, bool with_attr, fs_readdir_fn *fn,
	       void *ctx)
{
	struct listing l = {.fs = fs,
			    .dir = dir,
			    .with_attr = with_attr,
			    .fn = fn,
			    .ctx = ctx,
			    .cookie = cookie,
			    .page = PAGE_FIRST};

	if (cookie < COOKIE_DOTDOT) {
		int err = give_dots(&l);

		if (err || l.stopped)
			return err;
	}
	return give_entries(&l);
}
