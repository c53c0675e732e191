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

/* With one of its names, and how many links it should have. */
static int ask_whole(struct ck *c, enum ck_kind kind, const struct ck_inode *e)
{
	struct ck_suspect s = {
		.kind = kind, .ino = e->ino, .dir = e->dir, .hash = e->hash, .count = e->names};

	if (e->has_entry || (e->names > 0 && e->name_type == FS_T_DIR))
		s.count = 2 + e->subdirs;
	return ask(c, &s);
}

static bool is_dir(const struct ck_inode *e)
{
	return e->present && !e->bad && e->nlink > 0 && e->type == FS_T_DIR;
}

/* Contents of no file, as it looks, which make a file of this number. */
static bool has_own_data(struct ck *c, fs_ino ino)
{
	const struct ck_data *d = ck__data(c, ino);

	return d && d->blocks && !d->owner && !d->reaped;
}

/* ---- inodes ---- */

/* Nothing has this number: is anything there that says something had? */
static int collect_absent(struct ck *c, const struct ck_inode *e)
{
	int err = 0;

	if (e->has_entry)
		err = ask_whole(c, CK_LOST, e);
	else if (e->names > 0 && !has_own_data(c, e->ino)) /* else its data will have its say */
		err = ask_name(c, CK_DANGLING, e->dir, e->hash, e->ino);
	if (!err && e->names > 1 && !e->has_entry && !has_own_data(c, e->ino))
		err = ask_name(c, CK_DANGLING, e->dir2, e->hash2, e->ino);
	if (!err && e->has_xattr && !e->has_entry)
		err = ask_ino(c, CK_XATTR, e->ino);
	return err;
}

static int collect_removed(struct ck *c, const struct ck_inode *e)
{
	const struct ck_data *g = ck__data(c, e->ino);

	if (e->names > 0 || e->has_entry)
		return ask_whole(c, CK_NO_LINKS, e);
	return g && g->reaped ? 0 : ask_ino(c, CK_NO_REAP, e->ino);
}

static int collect_links(struct ck *c, const struct ck_inode *e)
{
	bool dir = e->type == FS_T_DIR, root = e->ino == FS_ROOT_INO;
	uint32_t count = dir ? 2 + e->subdirs : e->names;
	struct ck_suspect s = {
		.kind = CK_LINKS, .ino = e->ino, .version = e->version, .hash = e->nlink};
	int err = 0;

	s.count = count;
	if (count != e->nlink)
		err = ask(c, &s);
	s.count = 0;
	s.dir = 1; /* nobody names it */
	if (!err && dir && e->names == 0 && !root)
		err = ask(c, &s);
	return err;
}

static int collect_dir(struct ck *c, const struct ck_inode *e)
{
	bool first = e->dir == e->parent && e->hash == e->name_hash;

	if (e->names == 0)
		return 0;
	if (e->ino == FS_ROOT_INO && e->names == 1)
		return ask_name(c, CK_TWICE, e->dir, e->hash, e->ino);
	if (e->names > 1)
		return first ? ask_name(c, CK_TWICE, e->dir2, e->hash2, e->ino)
			     : ask_name(c, CK_TWICE, e->dir, e->hash, e->ino);
	return first ? 0 : ask_name(c, CK_PARENT, e->dir, e->hash, e->ino);
}

static int collect_data(struct ck *c, const struct ck_inode *e)
{
	const struct ck_data *d = ck__data(c, e->data_id);
	struct ck_suspect s = {.kind = CK_BEYOND, .ino = e->ino, .data_id = e->data_id};
	uint64_t count = d ? d->count : 0;
	int err = 0;

	/* With nothing where it should be, and data of its own that nobody has: told of as that. */
	if (c->round == 0 && !e->holes && count < fs__blocks_end(e->size) / BLOCK_SIZE &&
	    !(count == 0 && has_own_data(c, e->ino)))
		err = ask_ino(c, CK_GAP, e->ino);
	if (err || !d || !d->stored || d->shared || d->end <= e->size)
		return err;
	s.block = d->block;
	return ask(c, &s);
}

/* What its names and its contents agree on, when its record says something else; 0: they do not. */
static uint16_t other_type(struct ck *c, const struct ck_inode *e)
{
	uint8_t named = e->name_type;

	if (e->ino == FS_ROOT_INO)
		return e->type == FS_T_DIR ? 0 : FS_T_DIR;
	if (e->names == 0 || named == e->type || (e->names > 1 && e->name_type2 != named))
		return 0;
	if (!ck__known_type(e->type) || (e->type == FS_T_SYMLINK && e->odd)) /* a target is odd */
		return ck__known_type(named) ? named : 0;
	if (named == FS_T_DIR && e->has_entry)
		return FS_T_DIR;
	return named == FS_T_FILE && !e->has_entry && has_own_data(c, e->ino) ? FS_T_FILE : 0;
}

static int collect_type(struct ck *c, const struct ck_inode *e)
{
	int err = 0;

	if (e->names > 0 && e->name_type != e->type)
		err = ask_name(c, CK_TYPE, e->dir, e->hash, e->ino);
	if (!err && e->names > 1 && e->name_type2 != e->type)
		err = ask_name(c, CK_TYPE, e->dir2, e->hash2, e->ino);
	if (!err && e->has_entry && e->type != FS_T_DIR)
		err = ask_ino(c, CK_NO_DIR, e->ino);
	return err;
}

static int collect_odd(struct ck *c, const struct ck_inode *e)
{
	bool removed = e->nlink == 0, held = e->names > 0 || e->has_entry;

	return e->odd || (e->orphan != removed && !(removed && held))
		       ? ask_ino(c, CK_FIELDS, e->ino)
		       : 0;
}

static int collect_inode(struct ck *c, const struct ck_inode *e)
{
	struct ck_suspect typed = {
		.kind = CK_WRONG_TYPE, .ino = e->ino, .dir = e->dir, .hash = e->hash};
	int err;

	if (!e->present && e->ino != FS_ROOT_INO)
		return collect_absent(c, e);
	if (e->ino == FS_ROOT_INO && (!e->present || e->bad || e->nlink == 0))
		return 0; /* collect_root */
	if (e->bad)
		return ask_whole(c, CK_LOST, e); /* nothing else can be said of it */
	typed.count = e->nlink > 0 ? other_type(c, e) : 0;
	if (typed.count)
		return ask(c, &typed); /* then the rest can be said */
	err = collect_odd(c, e);
	if (!err && e->nlink == 0)
		return collect_removed(c, e);
	if (!err)
		err = collect_links(c, e);
	if (!err)
		err = collect_type(c, e);
	if (!err && ck__suspect_xattr(e))
		err = ask_ino(c, CK_XATTR, e->ino);
	if (!err && e->type == FS_T_DIR)
		err = collect_dir(c, e);
	if (!err && e->type == FS_T_FILE)
		err = collect_data(c, e);
	return err;
}

static int collect_root(struct ck *c)
{
	const struct ck_inode *e = ck__inode(c, FS_ROOT_INO);
	struct ck_suspect s = {.kind = CK_ROOT, .ino = FS_ROOT_INO, .count = 2};

	if (e)
		s.count += e->subdirs;
	if (e && e->present && !e->bad && e->nlink > 0 && e->parent == FS_ROOT_INO)
		return 0;
	return ask(c, &s);
}

/* ---- ways up ---- */

static struct ck_inode *up(struct ck *c, const struct ck_inode *e)
{
	struct ck_inode *p;

	if (e->names == 0)
		return NULL; /* told of as such */
	p = ck__inode(c, e->parent);
	return p && is_dir(p) ? p : NULL;
}

/* Marks the way up from @e. One directory of each cycle is asked about. */
static int walk_up(struct ck *c, struct ck_inode *e)
{
	struct ck_inode *at = e;
	int err = 0;

	while (at && !at->walking && !at->walked && at->ino != FS_ROOT_INO) {
		at->walking = true;
		at = up(c, at);
	}
	if (at && at->walking)
		err = ask_ino(c, CK_CYCLE, at->ino);
	for (at = e; at && at->walking; at = up(c, at)) {
		at->walking = false;
		at->walked = true;
	}
	return err;
}

/* ---- all ---- */

static int collect_inodes(struct ck *c)
{
	int err = collect_root(c);

	for (uint32_t n = 0; n < c->inodes.count && !err; n++) {
		struct ck_inode *i = ck__row_at(&c->inodes, n);

		err = collect_inode(c, i);
		if (!err && is_dir(i) && c->round == 0)
			err = walk_up(c, i);
	}
	return err;
}

static int collect_unowned(struct ck *c)
{
	int err = 0;

	for (uint32_t n = 0; n < c->data.count && !err; n++) {
		const struct ck_data *d = ck__row_at(&c->data, n);
		const struct ck_inode *e = ck__inode(c, d->id);
		struct ck_suspect s = {.kind = CK_DATA, .data_id = d->id};

		if (!d->stored || d->owner || d->reaped)
			continue;
		if (e && e->present && (e->bad || other_type(c, e) == FS_T_FILE))
			continue; /* its own, as will be seen */
		if (e && !e->present && e->names > 0) { /* it would be this name's */
			s.dir = e->dir;
			s.hash = e->hash;
			s.count = e->names;
		}
		err = ask(c, &s);
	}
	return err;
}

int ck__collect(struct ck *c)
{
	int err = collect_inodes(c);

	if (!err)
		err = collect_unowned(c);
	for (uint32_t n = 0; n < c->reap_count && !err; n++) {
		const struct ck_data *d = ck__data(c, c->reaps[n].object);
		struct ck_suspect s = {.kind = CK_REAP,
				       .ino = c->reaps[n].object,
				       .dir = d ? d->owner : 0,
				       .count = c->reaps[n].what};

		err = ask(c, &s);
	}
	return err;
}
