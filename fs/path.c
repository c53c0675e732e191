/* Paths, walked as POSIX says: one request a component; symlinks are followed from the root of this
 * file system. */
#include "fs/fs_internal.h"

#define MAKE_TRIES 16u /* a directory that comes and goes while it is made */

int fs__walk_begin(struct fs_walk *w, struct fs *fs, struct slice path,
		   const struct fs_cred *make)
{
	*w = (struct fs_walk){.fs = fs, .make = make, .dir = FS_ROOT_INO};
	if (path.len == 0)
		return ERR_NOT_FOUND;
	if (path.len > FS_PATH_MAX)
		return ERR_NAME_TOO_LONG;
	return buf_set(&w->text, path);
}

void fs__walk_end(struct fs_walk *w)
{
	buf_release(&w->text);
}

static void skip_slashes(struct fs_walk *w)
{
	while (w->at < w->text.len && w->text.data[w->at] == '/')
		w->at++;
}

static struct slice component(struct fs_walk *w)
{
	size_t from;

	skip_slashes(w);
	from = w->at;
	while (w->at < w->text.len && w->text.data[w->at] != '/')
		w->at++;
	return slice_of(w->text.data + from, w->at - from);
}

static bool nothing_behind(const struct fs_walk *w)
{
	for (size_t i = w->at; i < w->text.len; i++)
		if (w->text.data[i] != '/')
			return false;
	return true;
}

static int make_dir(struct fs_walk *w, struct slice name, fs_ino *ino)
{
	struct fs_make q = {.cred = w->make,
			    .parent = w->dir,
			    .name = name,
			    .mode = S_IFDIR | 0777,
			    .lenient = true};
	struct fs_inode rec;

	return fs__make(w->fs, &q, ino, &rec);
}

/* Replaces the component just taken by the symlink's target. */
static int follow(struct fs_walk *w, fs_ino link)
{
	struct buf text = BUF_INIT;
	int err;

	if (++w->links > FS_LINKS_MAX)
		return ERR_LOOP;
	err = fs_readlink(w->fs, link, &text);
	if (!err && text.len == 0)
		err = ERR_NOT_FOUND;
	if (err)
		goto out_text;
	if (text.data[0] == '/')
		w->dir = FS_ROOT_INO;
	buf_add(&text, w->text.data + w->at, w->text.len - w->at);
	err = !buf_ok(&text) ? ERR_NOMEM : text.len > 2 * FS_PATH_MAX ? ERR_NAME_TOO_LONG : 0;
	if (err)
		goto out_text;
	buf_move(&w->text, &text);
	w->at = 0;
	return 0;
out_text:
	buf_release(&text);
	return err;
}

/* Into the directory of that name, made if it may be; a symlink goes into the text. */
static int enter(struct fs_walk *w, struct slice name)
{
	for (unsigned tries = 0; tries < MAKE_TRIES; tries++) {
		struct fs_name n;
		fs_ino made;
		int err = fs__name_init(w->fs, w->dir, name, &n);

		if (!err)
			err = fs__name_get(w->fs, &n);
		if (err)
			return err;
		if (n.present && n.entry.type == FS_T_SYMLINK)
			return follow(w, n.entry.ino);
		if (n.present && n.entry.type != FS_T_DIR)
			return ERR_NOT_DIR;
		if (n.present) {
			w->dir = n.entry.ino;
			return 0;
		}
		if (!w->make)
			return ERR_NOT_FOUND;
		err = make_dir(w, name, &made);
		if (!err)
			w->dir = made;
		if (err != ERR_EXISTS)
			return err;
	}
	return ERR_BUSY;
}

static int go_up(struct fs_walk *w)
{
	struct fs_inode rec;
	int err = fs__inode_get(w->fs, w->dir, &rec);

	if (err || rec.nlink == 0)
		return err && err != ERR_STALE ? err : ERR_NOT_FOUND;
	w->dir = rec.parent;
	return 0;
}

int fs__walk_on(struct fs_walk *w)
{
	for (;;) {
		struct slice name = component(w);
		int err;

		w->want_dir = w->at < w->text.len;
		w->name = (struct slice){0};
		if (name.len == 0)
			return 0;
		if (fs__name_is_dot(name)) {
			err = name.len == 2 ? go_up(w) : 0;
		} else if (nothing_behind(w)) {
			w->name = name;
			return 0;
		} else {
			err = enter(w, name);
		}
		if (err)
			return err;
	}
}

int fs__walk_follow(struct fs_walk *w, fs_ino link)
{
	int err = follow(w, link);

	return err ? err : fs__walk_on(w);
}

static int lookup_last(struct fs_walk *w, bool follows, struct fs_attr *a)
{
	int err = fs__walk_on(w);

	for (;;) {
		if (err)
			return err;
		if (w->name.len == 0)
			return fs_getattr(w->fs, w->dir, a);
		err = fs_lookup(w->fs, w->dir, w->name, a);
		if (err)
			return err;
		if (!S_ISLNK(a->mode) || !(follows || w->want_dir))
			return w->want_dir && !S_ISDIR(a->mode) ? ERR_NOT_DIR : 0;
		err = fs__walk_follow(w, a->ino);
	}
}

int fs_path_lookup(struct fs *fs, struct slice path, bool follows, struct fs_attr *a)
{
	struct fs_walk w;
	int err = ERR_STALE;

	/* Stale: what a name just led to is gone, so the name has changed. */
	for (unsigned tries = 0; err == ERR_STALE && tries < FS_CONFLICTS_MAX; tries++) {
		err = fs__walk_begin(&w, fs, path, NULL);
		if (!err)
			err = lookup_last(&w, follows, a);
		fs__walk_end(&w);
	}
	return err;
}
