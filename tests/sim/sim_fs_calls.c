/* What the mounts do: random calls in a small tree, in each other's way; and a file that wanders. */
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_fs_internal.h"
#include "tests/sim/sim_fs_locks.h"

#define ROOT FS_ROOT_INO
#define DIRS 6u
#define INOS 16u

/* Of the random calls; some are gone. */
static uint64_t dirs[DIRS] = {ROOT, ROOT, ROOT, ROOT, ROOT, ROOT};
static uint64_t inos[INOS]; /* seen lately, of any type */
static uint64_t wander_dirs[FSIM_WANDER_DIRS];
static uint64_t pair[2]; /* p and q */
static uint64_t last_value;

static const char *const name_texts[] = {
#define X(name, text) text,
	FSIM_NAMES(X)
#undef X
};

struct slice fsim__name(enum fsim_name n)
{
	return slice_str(name_texts[n]);
}

struct slice fsim__xattr_name(unsigned x)
{
	static const char *const names[FSIM_XATTRS] = {"user.x", "user.y", "trusted.z",
							"system.posix_acl_access",
							"system.posix_acl_default",
							"security.capability"};

	return slice_str(names[x]);
}

static enum fsim_name any_name(void)
{
	return (enum fsim_name)sim_below(FSIM_TREE_NAMES);
}

static uint64_t any_dir(void)
{
	return dirs[sim_below(DIRS)];
}

static uint64_t any_ino(void)
{
	uint64_t ino = inos[sim_below(INOS)];

	return ino ? ino : ROOT;
}

uint64_t fsim__any_file(struct fsim_worker *w)
{
	const struct fsim_handle *h = fsim__some_handle(w, true);

	return h && sim_chance(750000) ? h->ino : any_ino();
}

static void note_ino(uint64_t ino)
{
	inos[sim_below(INOS)] = ino;
}

void fsim__note_dir(uint64_t ino)
{
	dirs[1 + sim_below(DIRS - 1)] = ino;
}

/* So many bytes that nobody else writes. */
static struct slice new_bytes(size_t len)
{
	uint8_t *p = mem_must_alloc(len + 8);

	last_value++;
	for (size_t i = 0; i < len; i += 8)
		le64_put(p + i, last_value << 8 | (i / 8 & 0xff));
	return slice_of(p, len);
}

static void keep(struct slice *to, const struct buf *b)
{
	*to = slice_of(mem_must_dup(b->data, b->len), b->len);
}

static void keep_attr(struct fsim_call *c, int err, const struct fs_attr *a)
{
	if (err)
		return;
	c->has_attr = true;
	c->attr = *a;
	if (c->name >= NAME_L0 && c->name < NAME_COUNT)
		return; /* nobody else writes to these */
	note_ino(a->ino);
	if (S_ISDIR(a->mode) && c->name < FSIM_TREE_NAMES)
		fsim__note_dir(a->ino);
}

/* ---- names ---- */

static void make(struct fsim_worker *w, enum fsim_kind kind, uint64_t dir, enum fsim_name name)
{
	static const uint32_t modes[] = {0644, 0600, 0755, 0777};
	struct fsim_call *c = fsim__call_of(w, kind);
	struct fs *fs = w->m->fs;
	struct slice n = fsim__name(name);
	struct fs_attr a;
	int err;

	c->dir = dir;
	c->name = name;
	c->mode = modes[sim_below(4)];
	if (kind == CALL_SYMLINK)
		c->data = new_bytes(8 + sim_below(100));
	fsim__run(w, c);
	if (kind == CALL_MKDIR)
		err = fs_mkdir(fs, &fsim_cred, dir, n, c->mode, &a);
	else if (kind == CALL_SYMLINK)
		err = fs_symlink(fs, &fsim_cred, dir, n, c->data, &a);
	else
		err = fs_mknod(fs, &fsim_cred, dir, n, S_IFREG | c->mode, 0, &a);
	keep_attr(c, err, &a);
	fsim__end(w, c, err);
}

struct fsim_handle *fsim__free_handle(struct fsim_worker *w)
{
	struct fsim_handle *h = &w->handles[sim_below(FSIM_HANDLES)];

	if (h->file)
		fs_file_close(h->file);
	*h = (struct fsim_handle){0};
	return h;
}

static void create(struct fsim_worker *w)
{
	struct fsim_handle *h = fsim__free_handle(w);
	struct fsim_call *c = fsim__call_of(w, CALL_CREATE);
	struct fs_file *f = NULL;
	struct fs_attr a;
	int err;

	c->dir = any_dir();
	c->name = any_name();
	c->mode = 0640;
	c->flags = sim_chance(300000) ? FS_O_EXCL : 0;
	h->append = sim_chance(500000);
	fsim__run(w, c);
	err = fs_create(w->m->fs, &fsim_cred, c->dir, fsim__name(c->name), c->mode,
			FS_O_READ | FS_O_WRITE | c->flags | (h->append ? FS_O_APPEND : 0), &a, &f);
	keep_attr(c, err, &a);
	fsim__end(w, c, err);
	if (!err)
		*h = (struct fsim_handle){f, a.ino, sim_now(), h->append};
}

static void add_link(struct fsim_worker *w)
{
	struct fsim_call *c = fsim__call_of(w, CALL_LINK);
	struct fs_attr a;
	int err;

	c->ino = any_ino();
	c->dir = any_dir();
	c->name = any_name();
	fsim__run(w, c);
	err = fs_link(w->m->fs, c->ino, c->dir, fsim__name(c->name), &a);
	keep_attr(c, err, &a);
	fsim__end(w, c, err);
}

static void take_name(struct fsim_worker *w, enum fsim_kind kind)
{
	struct fsim_call *c = fsim__call_of(w, kind);

	c->dir = any_dir();
	c->name = any_name();
	fsim__run(w, c);
	fsim__end(w, c,
		  kind == CALL_RMDIR ? fs_rmdir(w->m->fs, c->dir, fsim__name(c->name))
				     : fs_unlink(w->m->fs, c->dir, fsim__name(c->name)));
}

static void rename_to(struct fsim_worker *w, uint64_t dir, enum fsim_name name, uint64_t dir2,
		      enum fsim_name name2, unsigned flags)
{
	struct fsim_call *c = fsim__call_of(w, CALL_RENAME);
	int err;

	c->dir = dir;
	c->name = name;
	c->dir2 = dir2;
	c->name2 = name2;
	c->flags = flags;
	fsim__run(w, c);
	if (flags & FSIM_WHITEOUT)
		err = fs_rename_whiteout(w->m->fs, &fsim_cred, dir, fsim__name(name), dir2,
					 fsim__name(name2), flags & ~FSIM_WHITEOUT);
	else
		err = fs_rename(w->m->fs, dir, fsim__name(name), dir2, fsim__name(name2), flags);
	fsim__end(w, c, err);
}

static void any_rename(struct fsim_worker *w)
{
	static const unsigned flags[] = {0,
					 0,
					 0,
					 FS_RENAME_NOREPLACE,
					 FS_RENAME_EXCHANGE,
					 FS_RENAME_EXCHANGE,
					 FSIM_WHITEOUT,
					 FSIM_WHITEOUT | FS_RENAME_NOREPLACE};

	rename_to(w, any_dir(), any_name(), any_dir(), any_name(), flags[sim_below(8)]);
}

/* ---- inodes ---- */

static void set_attr(struct fsim_worker *w, enum fsim_kind kind)
{
	struct fsim_call *c = fsim__call_of(w, kind);
	struct fs_attr in = {0}, out = {0};
	int err;

	c->ino = any_ino();
	if (kind == CALL_CHMOD)
		in.mode = c->mode = (uint32_t)sim_below(01000);
	else
		in.size = c->offset = sim_chance(950000) ? sim_below(300) : sim_below(3 * BLOCK_SIZE);
	fsim__run(w, c);
	err = fs_setattr(w->m->fs, c->ino, kind == CALL_CHMOD ? FS_SET_MODE : FS_SET_SIZE, &in, &out);
	keep_attr(c, err, &out);
	fsim__end(w, c, err);
}

/* 2001, 2100 or 1960, and some ns, so that they are told apart. */
static void set_times(struct fsim_worker *w)
{
	static const int64_t years[] = {978307200, 4102444800, -315619200};
	struct fsim_call *c = fsim__call_of(w, CALL_UTIMES);
	struct fs_attr in = {0}, out = {0};
	int err;

	c->ino = any_ino();
	in.mtime_ns = years[sim_below(3)] * (int64_t)NS_PER_S + (int64_t)sim_below(NS_PER_S);
	in.atime_ns = in.mtime_ns;
	c->offset = (uint64_t)in.mtime_ns;
	fsim__run(w, c);
	err = fs_setattr(w->m->fs, c->ino, FS_SET_ATIME | FS_SET_MTIME, &in, &out);
	keep_attr(c, err, &out);
	fsim__end(w, c, err);
}

static void xattr(struct fsim_worker *w, enum fsim_kind kind)
{
	static const unsigned flags[] = {0, 0, FS_XATTR_CREATE, FS_XATTR_REPLACE};
	struct fsim_call *c = fsim__call_of(w, kind);
	struct slice name;
	struct buf b = BUF_INIT;
	int err;

	c->ino = any_ino();
	c->xattr = (unsigned)sim_below(FSIM_XATTRS);
	name = fsim__xattr_name(c->xattr);
	if (kind == CALL_SETXATTR) {
		c->flags = fsim__is_list(c->xattr) ? 0 : flags[sim_below(4)];
		c->data = fsim__is_list(c->xattr)
				  ? fsim__list((uint32_t)sim_below(01000), sim_chance(700000),
					       (unsigned)sim_below(64))
				  : new_bytes(8 * (1 + sim_below(4)));
	}
	fsim__run(w, c);
	if (kind == CALL_SETXATTR)
		err = fs_setxattr(w->m->fs, c->ino, name, c->data, c->flags);
	else if (kind == CALL_REMOVEXATTR)
		err = fs_removexattr(w->m->fs, c->ino, name);
	else
		err = fs_getxattr(w->m->fs, c->ino, name, &b);
	if (!err)
		keep(&c->out, &b);
	buf_release(&b);
	fsim__end(w, c, err);
}

static void list_xattrs(struct fsim_worker *w)
{
	struct fsim_call *c = fsim__call_of(w, CALL_LISTXATTR);
	struct buf b = BUF_INIT;
	int err;

	c->ino = any_ino();
	fsim__run(w, c);
	err = fs_listxattr(w->m->fs, c->ino, &b);
	for (size_t at = 0; !err && at < b.len; at += strlen((char *)b.data + at) + 1) {
		unsigned x = 0;

		while (x < FSIM_XATTRS &&
		       !slice_eq(slice_str((char *)b.data + at), fsim__xattr_name(x)))
			x++;
		if (x == FSIM_XATTRS)
			sim_violation("inode %llu has an attribute %s", (unsigned long long)c->ino,
				      (char *)b.data + at);
		c->listed[x]++;
	}
	buf_release(&b);
	fsim__end(w, c, err);
}

static void stat_one(struct fsim_worker *w)
{
	struct fsim_call *c = fsim__call_of(w, CALL_STAT);
	int err;

	c->ino = any_ino();
	c->flags = sim_chance(500000);
	fsim__run(w, c);
	err = c->flags ? fs_stat(w->m->fs, c->ino, &c->attr)
		       : fs_getattr(w->m->fs, c->ino, &c->attr);
	c->has_attr = !err;
	fsim__end(w, c, err);
}

static void read_link(struct fsim_worker *w)
{
	struct fsim_call *c = fsim__call_of(w, CALL_READLINK);
	struct buf b = BUF_INIT;
	int err;

	c->ino = any_ino();
	fsim__run(w, c);
	err = fs_readlink(w->m->fs, c->ino, &b);
	if (!err)
		keep(&c->out, &b);
	buf_release(&b);
	fsim__end(w, c, err);
}

/* ---- directories ---- */

static uint64_t look_up(struct fsim_worker *w, uint64_t dir, enum fsim_name name)
{
	struct fsim_call *c = fsim__call_of(w, CALL_LOOKUP);
	int err;

	c->dir = dir;
	c->name = name;
	fsim__run(w, c);
	err = fs_lookup(w->m->fs, dir, fsim__name(name), &c->attr);
	if (!err)
		keep_attr(c, err, &c->attr);
	fsim__end(w, c, err);
	return err ? 0 : c->attr.ino;
}

static bool list_entry(void *ctx, const struct fs_dirent *d)
{
	struct fsim_call *c = ctx;

	if (d->cookie < 3)
		return true;
	for (unsigned n = 0; n < NAME_COUNT; n++) {
		if (!slice_eq(d->name, fsim__name(n)))
			continue;
		if (c->listed[n])
			sim_violation("directory %llu lists %s twice", (unsigned long long)c->dir,
				      name_texts[n]);
		c->listed[n] = d->ino;
		return true;
	}
	sim_violation("directory %llu lists %.*s", (unsigned long long)c->dir, (int)d->name.len,
		      (const char *)d->name.p);
}

static void read_dir(struct fsim_worker *w, uint64_t dir)
{
	struct fsim_call *c = fsim__call_of(w, CALL_READDIR);

	c->dir = dir;
	fsim__run(w, c);
	fsim__end(w, c, fs_readdir(w->m->fs, dir, 0, false, list_entry, c));
}

/* ---- open files ---- */

static void open_file(struct fsim_worker *w)
{
	struct fsim_handle *h = fsim__free_handle(w);
	uint64_t ino = sim_chance(500000) ? any_ino() : look_up(w, any_dir(), any_name());
	struct fs_file *f;
	bool append = sim_chance(500000);
	int err;

	if (!ino)
		return;
	fsim__other_begin(w);
	err = fs_file_open(w->m->fs, ino, FS_O_READ | FS_O_WRITE | (append ? FS_O_APPEND : 0), &f);
	fsim__other_end(w, err);
	if (!err)
		*h = (struct fsim_handle){f, ino, sim_now(), append};
}

static struct fsim_handle *open_handle(struct fsim_worker *w)
{
	for (unsigned i = 0; i < FSIM_HANDLES; i++)
		if (w->handles[i].file && sim_chance(700000))
			return &w->handles[i];
	return NULL;
}

struct fsim_handle *fsim__some_handle(struct fsim_worker *w, bool append)
{
	uint64_t first = sim_below(FSIM_HANDLES);

	for (unsigned i = 0; i < FSIM_HANDLES; i++) {
		struct fsim_handle *h = &w->handles[(first + i) % FSIM_HANDLES];

		if (h->file && (append || !h->append))
			return h;
	}
	return NULL;
}

struct fsim_call *fsim__call_with(struct fsim_worker *w, const struct fsim_handle *h,
				  enum fsim_kind kind)
{
	struct fsim_call *c = fsim__call_of(w, kind);

	c->ino = h->ino;
	c->opened_ns = h->opened_ns;
	return c;
}

static void write_file(struct fsim_worker *w)
{
	struct fsim_handle *h = open_handle(w);
	struct fsim_call *c;
	int err;

	if (!h)
		return;
	c = fsim__call_with(w, h, h->append ? CALL_APPEND : CALL_WRITE);
	if (!h->append)
		c->offset = sim_chance(850000) ? sim_below(200)
					       : sim_between(1, 3) * BLOCK_SIZE - 20 + sim_below(40);
	c->data = new_bytes(8 + sim_below(60));
	fsim__run(w, c);
	err = fs_write(h->file, c->offset, c->data, &c->end);
	fsim__end(w, c, err);
}

static void read_file(struct fsim_worker *w)
{
	struct fsim_handle *h = open_handle(w);
	struct buf b = BUF_INIT;
	struct fsim_call *c;
	int err;

	if (!h)
		return;
	c = fsim__call_with(w, h, CALL_READ);
	c->offset = sim_chance(800000) ? 0 : sim_below(200);
	fsim__run(w, c);
	err = fs_read(h->file, c->offset, FSIM_READ_MAX, &b);
	if (!err)
		keep(&c->out, &b);
	buf_release(&b);
	fsim__end(w, c, err);
}

void fsim__tree_call(struct fsim_worker *w)
{
	static const enum fsim_kind makes[] = {CALL_MKNOD, CALL_MKDIR, CALL_MKDIR, CALL_SYMLINK};
	static const enum fsim_kind xattrs[] = {CALL_SETXATTR, CALL_SETXATTR, CALL_REMOVEXATTR,
						CALL_GETXATTR};

	switch (sim_below(18)) {
	case 0:
		make(w, makes[sim_below(4)], any_dir(), any_name());
		break;
	case 1:
		create(w);
		break;
	case 2:
		add_link(w);
		break;
	case 3:
		take_name(w, sim_chance(300000) ? CALL_RMDIR : CALL_UNLINK);
		break;
	case 4:
	case 5:
		any_rename(w);
		break;
	case 6:
		if (sim_chance(330000))
			set_times(w);
		else
			set_attr(w, sim_chance(500000) ? CALL_CHMOD : CALL_TRUNCATE);
		break;
	case 7:
		xattr(w, xattrs[sim_below(4)]);
		break;
	case 8:
		list_xattrs(w);
		break;
	case 9:
		stat_one(w);
		break;
	case 10:
		read_link(w);
		break;
	case 11:
		(void)look_up(w, any_dir(), any_name());
		break;
	case 12:
		read_dir(w, any_dir());
		break;
	case 13:
		open_file(w);
		break;
	case 14:
	case 15:
		write_file(w);
		break;
	default:
		read_file(w);
	}
}

/* ---- the wanderer ---- */

/* One request over all places it may be: it is at exactly one. */
static void look_everywhere(struct fsim_worker *w)
{
	struct fs_kv_item items[FSIM_WANDER_DIRS] = {0};
	static const char *const paths[FSIM_WANDER_DIRS] = {"ma/m", "mb/m", "mc/m"};
	struct buf b = BUF_INIT;
	unsigned found = 0;
	int err;

	for (unsigned i = 0; i < FSIM_WANDER_DIRS; i++)
		items[i].path = slice_str(paths[i]);
	fsim__other_begin(w);
	err = fs_kv_mget(w->m->fs, items, FSIM_WANDER_DIRS, &b);
	for (unsigned i = 0; i < FSIM_WANDER_DIRS; i++)
		found += !items[i].absent;
	fsim__other_end(w, err);
	buf_release(&b);
	if (!err && found != 1)
		sim_violation("a file that is renamed again and again was seen under %u names at once",
			      found);
	if (err && !fsim__is_outage(err))
		sim_violation("mget of a file that is renamed: %s", err_text(err));
}

/* Two directories, each to be moved into the other, and out again: they must not make a cycle. */
static void pair_call(struct fsim_worker *w)
{
	unsigned i = (unsigned)sim_below(2);
	enum fsim_name name = NAME_P + i;

	if (sim_chance(500000))
		rename_to(w, ROOT, name, pair[!i], name, 0);
	else
		rename_to(w, pair[!i], name, ROOT, name, 0);
}

void fsim__wander_call(struct fsim_worker *w)
{
	unsigned from = (unsigned)sim_below(FSIM_WANDER_DIRS);
	unsigned to = (unsigned)sim_below(FSIM_WANDER_DIRS);

	switch (sim_below(8)) {
	case 0:
	case 1:
		look_everywhere(w);
		break;
	case 2:
		(void)look_up(w, wander_dirs[from], NAME_M);
		break;
	case 3:
		for (unsigned i = 0; i < FSIM_WANDER_DIRS; i++)
			read_dir(w, wander_dirs[i]);
		break;
	case 4:
	case 5:
		pair_call(w);
		break;
	default:
		rename_to(w, wander_dirs[from], NAME_M, wander_dirs[to], NAME_M,
			  sim_chance(500000) ? FS_RENAME_NOREPLACE : 0);
	}
}

/* ---- the beginning ---- */

static uint64_t made_dir(struct fsim_worker *w, enum fsim_name name)
{
	make(w, CALL_MKDIR, ROOT, name);
	return look_up(w, ROOT, name);
}

uint64_t fsim__make_file(struct fsim_worker *w, enum fsim_name name)
{
	make(w, CALL_MKNOD, ROOT, name);
	return look_up(w, ROOT, name);
}

int fsim__make_first(struct fsim_worker *w)
{
	int err;

	for (unsigned i = 0; i < FSIM_WANDER_DIRS; i++) {
		wander_dirs[i] = made_dir(w, FSIM_WANDER_FIRST + i);
		if (!wander_dirs[i])
			return ERR_NOT_FOUND;
	}
	for (unsigned i = 0; i < 2; i++) {
		pair[i] = made_dir(w, NAME_P + i);
		if (!pair[i])
			return ERR_NOT_FOUND;
	}
	if (!look_up(w, wander_dirs[0], NAME_M))
		make(w, CALL_MKNOD, wander_dirs[0], NAME_M);
	if (!look_up(w, wander_dirs[0], NAME_M) || !made_dir(w, NAME_REG) || !made_dir(w, NAME_LOG))
		return ERR_NOT_FOUND;
	err = fsim__locks_make(w);
	return err ? err : fsim__files_make(w);
}
