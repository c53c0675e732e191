/* From the tables of a scan: what does not fit together. */
#include "fs/fsck.h"

static int ask(struct ck *c, const struct ck_suspect *s)
{
	if (s->kind == CK_LINKS || s->kind == CK_DATA)
		return ck__suspect(&c->now, s);
	return c->round > 0 ? 0 : ck__suspect(&c->verify, s); /* the first round asked it all */
}

static int ask_name(struct ck *c, enum ck_kind kind, fs_ino dir, uint64_t hash, fs_ino ino)
{
	struct ck_suspect s = {.kind = kind, .dir = dir, .hash = hash, .ino = ino};

	return ask(c, &s);
}

static int ask_ino(struct ck *c, enum ck_kind kind, fs_ino ino)
{
	struct ck_suspect s = {.kind = kind, .ino = ino};

	return ask(c, &s);
}

static struct ck_data *data_find(struct ck *c, uint64_t id)
{
	struct ck_data *e;

	HASH_FIND(hh, c->data, &id, sizeof(id), e);
	return e;
}

static bool is_dir(const struct ck_inode *e)
{
	return e->present && !e->bad && e->rec.nlink > 0 && e->rec.type == FS_T_DIR;
}

/* ---- inodes ---- */

static int collect_gone(struct ck *c, const struct ck_inode *e)
{
	const struct ck_data *g = data_find(c, e->ino);
	int err = 0;

	if (e->names > 0)
		err = ask_name(c, CK_DANGLING, e->dir, e->hash, e->ino);
	if (!err && e->twice)
		err = ask_name(c, CK_DANGLING, e->dir2, e->hash2, e->ino);
	if (!err && e->has_entry)
		err = ask_name(c, CK_NO_DIR, e->ino, e->entry_hash, e->entry_ino);
	if (!err && !e->present && e->has_xattr)
		err = ask_ino(c, CK_XATTR, e->ino);
	if (!err && e->present && !(g && g->reaped))
		err = ask_ino(c, CK_NO_REAP, e->ino);
	return err;
}

static int collect_links(struct ck *c, const struct ck_inode *e)
{
	bool dir = e->rec.type == FS_T_DIR;
	uint32_t count = dir ? 2 + e->subdirs : e->names;
	struct ck_suspect s = {
		.kind = CK_LINKS, .ino = e->ino, .version = e->version, .hash = e->rec.nlink};
	int err = 0;

	s.count = count;
	if (count != e->rec.nlink)
		err = ask(c, &s);
	s.count = 0;
	s.dir = 1; /* nobody names it */
	if (!err && dir && e->names == 0 && e->ino != FS_ROOT_INO)
		err = ask(c, &s);
	return err;
}

static int collect_dir(struct ck *c, const struct ck_inode *e)
{
	bool first = e->dir == e->rec.parent && e->hash == e->rec.name_hash;

	if (e->ino == FS_ROOT_INO || e->names == 0)
		return 0;
	if (e->twice)
		return first ? ask_name(c, CK_TWICE, e->dir2, e->hash2, e->ino)
			     : ask_name(c, CK_TWICE, e->dir, e->hash, e->ino);
	return first ? 0 : ask_name(c, CK_PARENT, e->dir, e->hash, e->ino);
}

static int collect_data(struct ck *c, const struct ck_inode *e)
{
	const struct ck_data *d = data_find(c, e->rec.data_id);
	struct ck_suspect s = {.kind = CK_BEYOND, .ino = e->ino, .data_id = e->rec.data_id};

	int err = 0;

	if (c->round == 0 && !e->rec.holes &&
	    (d ? d->count : 0) < fs__blocks_end(e->rec.size) / BLOCK_SIZE)
		err = ask_ino(c, CK_GAP, e->ino);
	if (err || !d || !d->stored || d->end <= e->rec.size)
		return err;
	s.block = d->block;
	return ask(c, &s);
}

static int collect_inode(struct ck *c, const struct ck_inode *e)
{
	int err;

	if (e->bad)
		return 0; /* reported; nothing can be said of it */
	if (!e->present || e->rec.nlink == 0)
		return collect_gone(c, e);
	err = collect_links(c, e);
	if (!err && e->names > 0 && e->type != e->rec.type)
		err = ask_name(c, CK_TYPE, e->dir, e->hash, e->ino);
	if (!err && e->has_entry && e->rec.type != FS_T_DIR)
		err = ask_name(c, CK_NO_DIR, e->ino, e->entry_hash, e->entry_ino);
	if (!err && ck__suspect_xattr(e))
		err = ask_ino(c, CK_XATTR, e->ino);
	if (!err && e->rec.type == FS_T_DIR)
		err = collect_dir(c, e);
	if (!err && e->rec.type == FS_T_FILE)
		err = collect_data(c, e);
	return err;
}

/* ---- ways up ---- */

static struct ck_inode *up(struct ck *c, const struct ck_inode *e)
{
	struct ck_inode *p;

	if (e->names == 0)
		return NULL; /* told of as such */
	HASH_FIND(hh, c->inodes, &e->rec.parent, sizeof(fs_ino), p);
	return p && is_dir(p) ? p : NULL;
}

enum { WALKING = 1, SEEN = 2 };

/* Marks the way up from @e. One directory of each cycle is asked about. */
static int walk_up(struct ck *c, struct ck_inode *e)
{
	struct ck_inode *at = e;
	int err = 0;

	while (at && at->walk == 0 && at->ino != FS_ROOT_INO) {
		at->walk = WALKING;
		at = up(c, at);
	}
	if (at && at->walk == WALKING)
		err = ask_ino(c, CK_CYCLE, at->ino);
	for (at = e; at && at->walk == WALKING; at = up(c, at))
		at->walk = SEEN;
	return err;
}

/* ---- all ---- */

int ck__collect(struct ck *c)
{
	struct ck_inode *i;
	struct ck_data *d;
	int err = 0;

	for (i = c->inodes; i && !err; i = i->hh.next) {
		err = collect_inode(c, i);
		if (!err && is_dir(i) && c->round == 0)
			err = walk_up(c, i);
	}
	for (d = c->data; d && !err; d = d->hh.next) {
		struct ck_suspect s = {.kind = CK_DATA, .data_id = d->id};

		if (d->stored && !d->owner && !d->reaped)
			err = ask(c, &s);
	}
	for (uint32_t n = 0; n < c->reap_count && !err; n++) {
		struct ck_suspect s = {
			.kind = CK_REAP, .ino = c->reaps[n].object, .count = c->reaps[n].what};

		d = data_find(c, s.ino);
		s.dir = d ? d->owner : 0;
		err = ask(c, &s);
	}
	return err;
}
